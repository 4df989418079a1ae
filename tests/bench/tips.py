"""The tips of Keras' EfficientNet example, each against what it advises against: a line of tips.csv for every run.

Small on purpose: simulated textile at 128 pixels, and the upper blocks only. What fine-tuning with live batch
normalization, half a block, an average of weights and so on are worth is in recipes.csv. A seed draws split, head and
order, so that runs of a seed are to be compared with each other; nothing is chosen by the test images they score.
"""

from __future__ import annotations

import functools
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields, replace

from effnet_helpers import data, evaluation, models, runtime, training
from effnet_helpers.runtime import keras

import numpy as np
import pandas as pd

from .harness import Line, Row, Settings
from .lab import own_cache, textile

OUT = evaluation.MEASURED / "tips.csv"
SEEDS, IMAGE_SIZE, FROM_BLOCK, BATCH_SIZE, STEPS, VALIDATIONS = (0, 1, 2), 128, "block6a", 16, 100, 5
SCRATCH, SCRATCH_SIZE, SCRATCH_IMAGES, SCRATCH_PASSES = "Adam 0.001", 64, 40, 20
"""From scratch: what it is called, side in pixels, training images of each class, passes."""
PUBLISHED = {"optimizer": "rmsprop", "rate": 0.256}
"""Tan and Le, arXiv 1905.11946, section 5: RMSprop, decay and momentum 0.9, for batches of 4,096 images."""


@dataclass(frozen=True)
class Choice:
    """How a run fine-tunes.

    Attributes:
        as_long: whether another batch size takes as many passes, rather than as many steps.
        optimizer: "adam", warmed up and annealed, or "rmsprop", at a constant rate.
        rate: at its peak.
    """

    variant: str = "Lite0"
    batch_size: int = BATCH_SIZE
    as_long: bool = True
    optimizer: str = "adam"
    rate: float = 5e-4


BASE = Choice()
CHOICES = {
    "base": BASE,
    "RMSprop as published": replace(BASE, **PUBLISHED),
    "batch of 8": replace(BASE, batch_size=8),
    "batch of 8, as many steps": replace(BASE, batch_size=8, as_long=False),
    "batch of 32": replace(BASE, batch_size=32),
    "Lite1": replace(BASE, variant="Lite1"),
    "Lite2": replace(BASE, variant="Lite2"),
}


@dataclass(frozen=True)
class Run:
    """A line of tips.csv.

    Attributes:
        kind: "fine-tuning", "frozen head", which is where fine-tuning starts, or "from scratch".
        highest_loss: on validation images, after any stretch; to be held against the logarithm of the number of
            classes.
        accuracy: at the end, on test images.
        trace: training accuracy and loss, then those on validation, after each stretch.
    """

    kind: str
    choice: str
    seed: int
    image_size: int
    train_images: int
    test_images: int
    steps: int
    highest_loss: float | None
    accuracy: float
    trace: str
    seconds: float


def optimizer(choice: Choice, steps: int) -> keras.optimizers.Optimizer:
    """Makes the optimizer of a run."""
    if choice.optimizer == "rmsprop":
        return keras.optimizers.RMSprop(choice.rate, rho=0.9, momentum=0.9, epsilon=1e-3)
    return keras.optimizers.Adam(training.warmup_cosine(choice.rate, steps, min(30, steps // 2)))


Start = tuple[keras.Model, dict[str, training.Features], list[np.ndarray]]


def start(images: data.ImageDataset, seed: int, variant: str) -> Start:
    """The part above the cut, with a solved head, what it is fed with, and its weights."""
    runtime.set_seed(seed)
    model = models.add_head(models.build_backbone(variant, image_size=images.image_size), images.num_classes)
    training.solve_head(model, images, seed=seed)
    models.unfreeze_blocks(model, from_block=FROM_BLOCK)
    frozen, part = models.split_at_block(model, FROM_BLOCK)
    return part, training.extract_features(frozen, images, ("train", "val", "test")), part.get_weights()


def measure(name: str, images: data.ImageDataset, seed: int, begin: Callable[[str], Start]) -> Iterator[Run]:
    """Scores a head and, first, what fine-tuning in Keras' own `fit` makes of it. `begin` is `start`, of a variant."""
    choice = CHOICES[name]
    part, found, weights = begin(choice.variant)
    part.set_weights(weights)
    train = found["train"].batches(choice.batch_size, shuffle=True, seed=seed)
    steps = STEPS * BATCH_SIZE // choice.batch_size if choice.as_long else STEPS
    steps = VALIDATIONS * math.ceil(steps / VALIDATIONS)
    runtime.set_seed(seed)
    training.compile_for_labels(part, optimizer(choice, steps))
    sample = list(found["train"].batches(32, shuffle=True, seed=seed).take(8))
    test = found["test"].batches(32)
    head = part.evaluate(test, verbose=0)[1]
    history = part.fit(
        train.repeat(),
        validation_data=found["val"].batches(32),
        callbacks=[training.ReestimateBatchNorm(sample)],
        steps_per_epoch=steps // VALIDATIONS,
        epochs=VALIDATIONS,
        verbose=0,
    ).history
    yield _run_of("fine-tuning", name, images, seed, steps, history, part.evaluate(test, verbose=0)[1])
    if choice == replace(BASE, variant=choice.variant):
        yield _run_of("frozen head", name, images, seed, 0, {}, head)


def from_scratch(images: data.ImageDataset, seed: int, passes: int) -> Run:
    """Trains the whole network from random weights, and watches it learn its images by heart."""
    runtime.set_seed(seed)
    backbone = models.build_backbone("Lite0", weights=None, image_size=images.image_size)
    model = models.add_head(backbone, images.num_classes)
    training.compile_for_labels(model, keras.optimizers.Adam(1e-3))
    train = images.batches("train", BATCH_SIZE, shuffle=True, seed=seed, cache=True)
    history = model.fit(train, validation_data=images.batches("val", 32, cache=True), epochs=passes, verbose=0).history
    score = model.evaluate(images.batches("test"), verbose=0)[1]
    return _run_of("from scratch", SCRATCH, images, seed, passes * len(train), history, score)


def _run_of(
    kind: str, name: str, images: data.ImageDataset, seed: int, steps: int, history: Mapping, accuracy: float
) -> Run:
    curves = [history.get(key, []) for key in ("accuracy", "loss", "val_accuracy", "val_loss")]
    trace = json.dumps([[round(value, 4) for value in values] for values in zip(*curves, strict=True)])
    loss = round(max(history["val_loss"]), 4) if history else None
    sizes = (images.image_size, images.sizes["train"], images.sizes["test"])
    return Run(kind, name, seed, *sizes, steps, loss, round(accuracy, 4), trace, 0.0)


def _runs(settings: Settings, done: pd.DataFrame) -> Iterator[Run]:
    """Measures what is not yet measured."""
    known = set(done[["choice", "seed"]].astype(str).itertuples(index=False, name=None))
    for seed in SEEDS[: 1 if settings.tiny else None]:
        if (SCRATCH, str(seed)) not in known:
            small = textile(settings, image_size=SCRATCH_SIZE, resize_mode="squash", split_seed=seed)
            yield from_scratch(small.with_fewer(SCRATCH_IMAGES), seed, 1 if settings.tiny else SCRATCH_PASSES)
        images = textile(settings, image_size=IMAGE_SIZE, resize_mode="squash", split_seed=seed)
        begin = functools.lru_cache(maxsize=1)(functools.partial(start, images, seed))
        for name in list(CHOICES)[: 2 if settings.tiny else None]:
            if (name, str(seed)) not in known:
                yield from measure(name, images, seed, begin)


def _run(settings: Settings) -> Iterator[Line]:
    out = settings.folder / OUT.name if settings.tiny else OUT
    columns = [field.name for field in fields(Run)]
    table = pd.read_csv(out)[columns] if out.exists() else pd.DataFrame(columns=columns)
    with own_cache():
        started = time.perf_counter()
        for run in _runs(settings, table):
            run = replace(run, seconds=round(time.perf_counter() - started, 1))
            print(f"{run.kind}, {run.choice}, seed {run.seed}: {run.accuracy}, {run.seconds} s", flush=True)
            table = pd.concat([table, pd.DataFrame([asdict(run)])], ignore_index=True)
            table.to_csv(out, index=False)
            started = time.perf_counter()
    wrong = 100 * (1 - table[table["kind"] == "fine-tuning"].set_index("choice")["accuracy"])
    for name in wrong.index.unique():
        detail = f"{wrong.loc[[name]].min():.3g} to {wrong.loc[[name]].max():.3g}"
        theirs = None if name == "base" else float(wrong.loc[["base"]].mean())
        ours, runs = float(wrong.loc[[name]].mean()), len(wrong.loc[[name]])
        yield Line(f"fine-tuning, {name}: images wrong, against base", ours, theirs, "%", None, runs, detail)


ROW = Row("tips", "the tips of Keras' EfficientNet example, over three seeds", lambda settings: 15, _run)
