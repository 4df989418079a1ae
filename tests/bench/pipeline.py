"""From files to batches: decoding and resizing, photographs, augmentation, the cache of decoded images."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from effnet_helpers import preprocessing, runtime
from effnet_helpers.data import ImageDataset, ImageFiles, sample_photos
from effnet_helpers.data.pipeline import from_files
from effnet_helpers.machine import usable_cores

import numpy as np
import tensorflow as tf
from PIL import Image

from . import peers
from .harness import Line, Row, Settings, Side, Target, interleaved, timed
from .lab import in_memory, textile

IMAGE_SIZE = 224
PHOTO_SIDE = 2000
PHOTO_REPEATS = 8
KEPT_PICTURES = 7
"""Decoded ones, of which there may be few in memory: photographs of 2,000 pixels take 12 MB each."""
UNIT = "ms/image"


def _drain(batches: Iterable) -> None:
    for _ in batches:
        pass


def _marks(images: tf.data.Dataset) -> tf.data.Dataset:
    """One value of each image: what is timed is making images, not handing them to Python one by one."""
    return images.map(lambda image: image[0, 0, 0]).batch(64)


def _paths(files: ImageFiles) -> list[str]:
    return [str(files.root / name) for name in files.names]


def _photographs(folder: Path, repeats: int) -> ImageFiles:
    """The sample photographs as JPEG files whose long side is 2,000 pixels; enlarged, since they are smaller."""
    names = []
    for number, path in enumerate(sample_photos().values()):
        with Image.open(path) as photo:
            scale = PHOTO_SIDE / max(photo.size)
            size = (round(photo.width * scale), round(photo.height * scale))
            photo.convert("RGB").resize(size, Image.Resampling.BICUBIC).save(folder / f"{number}.jpg", quality=90)
        names.append(f"{number}.jpg")
    names *= repeats
    return ImageFiles(folder, tuple(names), np.zeros(len(names), "int32"), tuple(names))


def _decoding(files: ImageFiles, size: int, mode: str, what: str, target: Target | None, rounds: int) -> Line:
    """Ours against raw decoding; beside it Pillow alone, which sets the limit: decoding, and resizing afterwards."""
    paths, per = _paths(files), len(files) / 1000
    ours = from_files(files, size, mode).map(lambda images, labels: images[:, 0, 0, 0])
    theirs = _marks(peers.decoded_at_full_scale(paths))
    few = [preprocessing.read_rgb(path, size, mode) for path in paths[:KEPT_PICTURES]]

    def on_all_cores(work: Callable, items: Sequence, repeats: int) -> Side:
        def side() -> None:
            with ThreadPoolExecutor(usable_cores()) as pool:
                _drain(pool.map(work, list(items) * repeats))

        return timed(side, len(items) * repeats / 1000)

    sides = {
        "ours": timed(lambda: _drain(ours), per),
        "theirs": timed(lambda: _drain(theirs), per),
        "decode": on_all_cores(lambda path: preprocessing.read_rgb(path, size, mode), paths, 1),
        "resize": on_all_cores(lambda image: preprocessing.resize_picture(image, size, mode), few, 10),
    }
    measured = interleaved(sides, rounds)
    decode, resize = (f"{measured.median(side):.2g} {UNIT}" for side in ("decode", "resize"))
    detail = f"{len(files)} images; Pillow on all cores: decoding alone {decode}, bringing to size alone {resize}"
    return measured.compare(what, "ours", "theirs", target, UNIT, detail=detail)


@tf.function
def _warp(images: tf.Tensor) -> tf.Tensor:
    """The operation in the middle of `preprocessing.augment`, here a turn by 30 degrees, and nothing else."""
    cos, sin = math.cos(math.pi / 6), math.sin(math.pi / 6)
    centre = (images.shape[1] - 1) / 2
    turn = [cos, -sin, centre * (1 - cos + sin), sin, cos, centre * (1 - cos - sin), 0.0, 0.0]
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=images, transforms=[turn], output_shape=images.shape[1:3],
        fill_value=0.0, interpolation="BILINEAR", fill_mode="REFLECT",
    )  # fmt: skip


def _augmenting(images: ImageDataset, rounds: int) -> Iterator[Line]:
    count = images.sizes["train"]
    pixels, labels = in_memory(images, "train")
    recipe = peers.AugmentedImages(pixels, labels, augment=True)
    mapped = peers.augmented_in_map(pixels, labels)
    ours = images.batches("train", peers.BATCH_SIZE, shuffle=True, cache=True, augment=peers.SAME_AUGMENTATION)

    def as_fit_does() -> None:
        with ThreadPoolExecutor(peers.WORKERS) as pool:
            _drain(pool.map(recipe.__getitem__, range(len(recipe))))

    one_batch = tf.constant(pixels[: peers.BATCH_SIZE].astype("float32"))
    sides = {
        "ours": timed(lambda: _drain(ours), count / 1000),
        "warp": timed(lambda: _warp(one_batch), len(one_batch) / 1000),
        "mapped": timed(lambda: _drain(mapped), count / 1000),
        "recipe": timed(as_fit_does, len(recipe) * peers.BATCH_SIZE / 1000),
    }
    measured = interleaved(sides, rounds)
    detail = (
        f"{count} images of {images.image_size} pixels, in batches of {peers.BATCH_SIZE}; "
        f"TensorFlow's one operation for the warp alone {measured.median('warp'):.3g} {UNIT}"
    )
    for side, name, bound in (
        ("mapped", "Keras' layers in Dataset.map", 2),
        ("recipe", "Keras' layers in PyDataset", 3),
    ):
        target = Target("times", bound)
        yield measured.compare(f"augmentation, against {name}", "ours", side, target, UNIT, detail=detail)


def _run(settings: Settings) -> Iterator[Line]:
    runtime.set_seed(0)
    images = textile(settings)
    files = images.splits["train"]
    target, raw = Target("times", 0.75), "against raw tf.io.decode_jpeg"
    what = f"decode and pad to {images.image_size}, as in the lessons, {raw}"
    yield _decoding(files, images.image_size, "pad", what, target, settings.rounds)
    yield _decoding(files, IMAGE_SIZE, "crop", f"decode and crop to {IMAGE_SIZE}, {raw}", target, settings.rounds)
    with tempfile.TemporaryDirectory(prefix="effnet-bench-") as folder:
        photographs = _photographs(Path(folder), 1 if settings.tiny else PHOTO_REPEATS)
        what = f"photographs of {PHOTO_SIDE:,} pixels: decode and crop to {IMAGE_SIZE}, {raw}"
        yield _decoding(photographs, IMAGE_SIZE, "crop", what, target, settings.rounds)
    yield from _augmenting(images, settings.rounds)
    cached, uncached = (images.batches("train", shuffle=True, cache=cache) for cache in (True, False))
    per = len(files) / 1000
    sides = {"ours": timed(lambda: _drain(cached), per), "theirs": timed(lambda: _drain(uncached), per)}
    measured = interleaved(sides, settings.rounds)
    yield measured.compare("an epoch of kept images, against our own from files", "ours", "theirs", None, UNIT)


ROW = Row("pipeline", "from files to augmented batches", lambda settings: (settings.rounds + 1) * 0.45, _run)
