"""One image at a time: the exported model in its runtime, against Keras' ways to call a model, traced and not."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from effnet_helpers import data, export, models, runtime, training
from effnet_helpers.runtime import keras

import numpy as np
import tensorflow as tf

from .harness import Line, Row, Settings, Side, Target, interleaved, timed
from .lab import FROM_BLOCK, LESSON_05, VARIANT, in_memory, own_cache, textile

IMAGE_SIZE = 224
CALLS = 20
"""In a round; a single call is too short to time."""
REPRESENTATIVE = 100
UNIT = "ms"
CALLED = {"model(x)": 4, "model.predict": 8, "model.predict_on_batch": 2, "a traced tf.function": 2}
"""Ways to call a Keras model, and how many times as fast the best runtime is to be.

The first two prepare anew for every call, which is most of what they take for one image; against the other two a
runtime shows what it does better itself.
"""


def _trained(images: data.ImageDataset, image_size: int) -> keras.Model:
    """A classifier fine-tuned as in lesson 05, for smaller images: its weights fit any size.

    It is trained at the size at which nothing is resampled, since resampling destroys what distinguishes the textile; a
    model that cannot tell the classes apart is so unsure that rounding tips its decisions.
    """
    trained, smaller = (
        models.add_head(models.build_backbone(VARIANT, image_size=size), images.num_classes)
        for size in (images.image_size, image_size)
    )
    training.solve_head(trained, images)
    models.unfreeze_blocks(trained, from_block=FROM_BLOCK)
    training.fine_tune(trained, images, **LESSON_05)
    smaller.set_weights(trained.get_weights())
    return smaller


def _centres(images: data.ImageDataset, split: str, image_size: int) -> np.ndarray:
    """The middle of all images of a split, float32 (images, image_size, image_size, 3)."""
    start = (images.image_size - image_size) // 2
    middle = slice(start, start + image_size)
    return in_memory(images, split)[0][:, middle, middle].astype("float32")


def _exported(
    model: keras.Model, class_names: tuple[str, ...], representative: np.ndarray, val: np.ndarray, folder: Path
) -> dict[str, export.Exported]:
    """The model in every format that is installed, in float32 and, where there is that, int8."""
    card = models.ModelCard(class_names, val.shape[1], "crop", VARIANT, "imagenet")
    files = {}
    for format, properties in export.FORMATS.items():
        if export.why_unavailable(format):
            continue
        for precision in ("float32", "int8"):
            if precision not in properties.precisions:
                continue
            path = folder / f"{format}-{precision}{properties.suffix}"
            options = {"format": format, "precision": precision}
            if precision == "int8":
                # whatever it decides may be timed; whether that is good enough is judged with the times
                options |= {"representative": representative, "bound": export.Bound(difference=1.0, agreement=0.0)}
            files[f"{format} {precision}"] = export.export(model, path, card=card, images=val, **options)
    return files


def _eight_bit_products() -> str:
    """Whether the processor multiplies 8-bit numbers in one instruction, on which the gain of int8 depends."""
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:  # not Linux
        return "whether this processor has 8-bit products is not known"
    found = sorted({word for word in flags.split() if word.endswith("vnni") or word in ("amx_int8", "asimddp")})
    return f"this processor has {' and '.join(found)}" if found else "this processor has no 8-bit products (VNNI)"


def _calls(call: object, image: np.ndarray) -> Side:
    def work() -> None:
        for _ in range(CALLS):
            call(image)

    return timed(work, CALLS / 1000)


def _run(settings: Settings) -> Iterator[Line]:
    runtime.set_seed(0)
    images = textile(settings)
    image_size = 32 if settings.tiny else IMAGE_SIZE
    with own_cache(), tempfile.TemporaryDirectory(prefix="effnet-bench-") as folder:
        model = _trained(images, image_size)
        train, val = (_centres(images, split, image_size) for split in ("train", "val"))
        representative = train[:: max(1, len(train) // REPRESENTATIVE)]
        files = _exported(model, images.class_names, representative, val, Path(folder))
        image = val[:1]
        plain = keras.Model(model.input, model.output)  # without our own check of pixels in `predict`
        sides = {name: _calls(export.runner(file.path), image) for name, file in files.items()}
        sides["model(x)"] = _calls(lambda x: np.asarray(plain(x)), image)
        sides["model.predict"] = _calls(lambda x: plain.predict(x, verbose=0), image)
        sides["model.predict_on_batch"] = _calls(plain.predict_on_batch, image)
        traced = tf.function(lambda x: plain(x, training=False))
        sides["a traced tf.function"] = _calls(lambda x: traced(x).numpy(), image)
        measured = interleaved(sides, settings.rounds)
    best = measured.cheapest(name for name in files if name.endswith("float32"))
    others = ", ".join(f"{name} {measured.median(name):.3g} {UNIT}" for name in files)
    for side, bound in CALLED.items():
        detail = f"{VARIANT} at {image_size}; {files[best].parity}; all: {others}"
        what = f"one image, best float32 runtime ({best.split()[0]}), against {side}"
        yield measured.compare(what, best, side, Target("times", bound), UNIT, detail=detail)
    int8 = [name for name in files if name.endswith("int8")]
    if not int8:
        reasons = filter(None, map(export.why_unavailable, export.FORMATS))
        raise ImportError(f"No runtime for int8 is installed. {' '.join(reasons)}")
    sound = [name for name in int8 if files[name].parity.agreement >= export.BOUNDS["int8"].agreement]
    smallest = measured.cheapest(sound or int8)
    what = f"one image, best int8 runtime ({smallest.split()[0]}), against float32 ({best.split()[0]})"
    parities = ", ".join(f"{name.split()[0]} {files[name].parity}" for name in int8)
    detail = f"{_eight_bit_products()}; int8: {parities}"
    target = Target("times", 1.5)
    yield measured.compare(what, smallest, best, target, UNIT, detail=detail, as_good=bool(sound))


ROW = Row("serving", "one image at a time, exported, against Keras", lambda settings: 3.5 + settings.rounds * 0.1, _run)
