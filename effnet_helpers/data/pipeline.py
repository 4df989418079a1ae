"""From files to batches, stage by stage, with `tf.data`.

All randomness is drawn from `(seed, epoch)` alone: the same on every machine, whatever was seeded globally, and the
same for images, for cached images and for arrays of features computed from them.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable

from effnet_helpers import machine, preprocessing, runtime
from effnet_helpers.data.listing import ImageFiles

import numpy as np
import tensorflow as tf

ORDER, AUGMENTATION = 0, 1  # two streams of random numbers that must not repeat each other
AHEAD = 2  # batches made ready while the network works
WHOLE = (0, 1, 1)  # the share of a batch that a process gets which is alone


def from_files(
    files: ImageFiles,
    image_size: int,
    resize_mode: str = "crop",
    batch_size: int = 32,
    *,
    shuffle: bool = False,
    balanced: bool = False,
    seed: int = 0,
    first_batch: int = 0,
    share: tuple[int, int, int] = WHOLE,
) -> tf.data.Dataset:
    """Serves image files as batches: read, decoded, resized, in the order of `from_arrays`.

    Pillow decodes, not TensorFlow, whose decoders ignore EXIF orientation, know fewer formats, and refuse slightly
    damaged files that passed the scan, in the middle of an epoch.

    Args:
        files: The files.
        image_size: Side of the images in pixels.
        resize_mode: See `preprocessing.resize`.
        batch_size: Images in a batch; the last may have fewer.
        shuffle: Whether each epoch comes in a new order.
        balanced: Whether each epoch has as many images of one class as of another, see `ImageDataset.batches`.
        seed: Decides these orders, together with the number of the epoch.
        first_batch: As in `ImageDataset.batches`.
        share: The same.

    Returns:
        Dataset of `(uint8 (batch, image_size, image_size, 3), int32 (batch,))` with known cardinality. Resized pixels
        are rounded to whole numbers, so that keeping them as uint8 changes nothing.
    """

    def read(indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        images = [preprocessing.read_resized(files.path(i), image_size, resize_mode, files.bits) for i in indices]
        shape = (len(images), image_size, image_size, 3)  # np.stack refuses the empty share of a small last batch
        return np.array(images, np.uint8).reshape(shape), files.labels[indices]

    def batch(indices: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        images, labels = tf.numpy_function(read, [indices], (tf.uint8, tf.int32))
        return tf.ensure_shape(images, (None, image_size, image_size, 3)), tf.ensure_shape(labels, (None,))

    # A batch is read by one call into Python, and several batches at once: a call for each image costs as much again.
    indices = _order(files.labels, batch_size, shuffle, balanced, seed, first_batch, share)
    batches = indices.map(batch, num_parallel_calls=machine.usable_cores(), deterministic=True)
    return without_autotuning(batches.prefetch(AHEAD))


def from_arrays(
    inputs: np.ndarray,
    labels: np.ndarray,
    batch_size: int = 32,
    *,
    shuffle: bool = False,
    balanced: bool = False,
    seed: int = 0,
    first_batch: int = 0,
    share: tuple[int, int, int] = WHOLE,
) -> tf.data.Dataset:
    """Serves arrays as batches, in exactly the order in which `ImageDataset.batches` serves images.

    Rows are read batch by batch, so that `inputs` may be a `np.memmap` larger than memory.

    Args:
        inputs: Array `(n, …)` of any numeric type, such as cached features in float16.
        labels: Integer array `(n,)`.
        batch_size: Rows in a batch; the last may have fewer.
        shuffle: Whether each epoch comes in a new order.
        balanced: Whether each epoch has as many images of one class as of another, see `ImageDataset.batches`.
        seed: Decides these orders, together with the number of the epoch.
        first_batch: As in `ImageDataset.batches`.
        share: The same.

    Returns:
        Dataset of `(float32 (batch, …), int32 (batch,))` with known cardinality.
    """
    labels = np.asarray(labels, dtype=np.int32)
    if len(inputs) != len(labels):
        raise ValueError(f"Each input needs one label. Received: {len(inputs)} inputs and {len(labels)} labels")

    def read(indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        # Cast by NumPy: at the sight of float16 TensorFlow prints an error on processors that do not compute with it.
        return inputs[indices].astype(np.float32), labels[indices]

    def rows(indices: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        batch, batch_labels = tf.numpy_function(read, [indices], (np.float32, np.int32))
        return tf.ensure_shape(batch, (None, *inputs.shape[1:])), tf.ensure_shape(batch_labels, (None,))

    indices = _order(labels, batch_size, shuffle, balanced, seed, first_batch, share)
    return without_autotuning(indices.map(rows, num_parallel_calls=2, deterministic=True).prefetch(AHEAD))


def augmented(
    batches: tf.data.Dataset,
    augment: dict | Callable,
    seed: int = 0,
    device: str | None = None,
    first_batch: int = 0,
    count: int | None = None,
    rows: np.ndarray | None = None,
) -> tf.data.Dataset:
    """Augments batches, every batch of every epoch with a seed of its own.

    Args:
        batches: Dataset of `(float32 (batch, height, width, 3), labels)`.
        augment: Arguments of `preprocessing.augment` as a dictionary, or a function `(images, seed) -> images`.
        seed: Decides all seeds, together with the number of the epoch.
        device: Where `preprocessing.augment` runs, such as `"CPU:0"`; by default on the first GPU, if there is one.
            A function decides this itself.
        first_batch: The one that `batches` begins with, as in `ImageDataset.batches`.
        count: Of batches in a whole epoch, where `batches` begins within one; else its cardinality says so.
        rows: int `(count, 2)`, where `batches` has shares: for each batch of an epoch, which row of the whole batch is
            the first, and how many there are. An image is then changed as it is in the whole batch.

    Returns:
        Dataset of the same form.
    """
    device = device or ("GPU:0" if runtime.first_gpu() else "CPU:0")

    count = count or int(batches.cardinality())
    rows = np.empty((count, 0), np.int64) if rows is None else rows

    def apply(images: tf.Tensor, draw: tf.Tensor) -> tf.Tensor:
        if callable(augment):
            return augment(images, draw[:2])
        # tf.data keeps to the CPU whatever is not placed by name.
        with tf.device(device):
            return preprocessing.augment(images, seed=draw[:2], rows=draw[2:] if rows.size else None, **augment)

    def draw(random: np.random.Generator) -> np.ndarray:
        return np.concatenate([random.integers(2**31, size=(count, 2)), rows], axis=1)

    draws = _every_epoch(draw, (count, 2 + rows.shape[1]), seed, AUGMENTATION, first_batch)

    def change(batch: tuple[tf.Tensor, tf.Tensor], draw: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        images, labels = batch
        return tf.ensure_shape(apply(images, draw), images.shape), labels

    changed = tf.data.Dataset.zip(batches, draws).map(change, num_parallel_calls=2, deterministic=True)
    return without_autotuning(changed.prefetch(AHEAD))


def without_autotuning(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Keeps `tf.data` from looking for better numbers of threads and buffers by itself.

    Its thread for that sleeps 10 ms, 20 ms, 40 ms … up to a minute between two looks, and whoever lets go of an
    iterator, as `fit` does after each epoch, often waits until it wakes: up to as long again as the epoch took
    (TensorFlow 2.21). Numbers that are given are as fast, and leave nothing to look for.

    Args:
        dataset: Its stages say how many threads and buffers they take. What is built on it inherits this.

    Returns:
        Dataset of the same elements.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.with_options(options)


def images_per_second(stage: tf.data.Dataset, seconds: float = 2.0) -> float:
    """Measures how many images a stage delivers a second.

    Args:
        stage: Dataset of batches, with or without labels.
        seconds: For how long to measure at most; a stage that ends sooner is measured to its end.
    """
    elements = iter(stage)
    next(elements)  # starts threads and fills buffers, which is not what the stage costs
    images, start = 0, time.perf_counter()
    for element in elements:
        pixels = element[0] if isinstance(element, tuple) else element
        images += len(pixels)
        if time.perf_counter() - start > seconds:
            break
    return images / (time.perf_counter() - start)


def _order(
    labels: np.ndarray,
    batch_size: int,
    shuffle: bool,
    balanced: bool,
    seed: int,
    first_batch: int,
    share: tuple[int, int, int] = WHOLE,
) -> tf.data.Dataset:
    """Batches of the positions 0 to n - 1, in a new order each epoch if `shuffle`, even over the classes if `balanced`.

    Not `Dataset.shuffle`: its order depends on the global seed as well.
    """
    count = len(labels)
    if balanced and not shuffle:
        raise ValueError("balanced draws at random, so it needs shuffle=True. Received: shuffle=False")
    if not shuffle and not first_batch:
        return _shared(tf.data.Dataset.range(count).batch(batch_size), share)

    def draw(random: np.random.Generator) -> np.ndarray:
        if balanced:
            return _balanced(labels, random)
        return random.permutation(count) if shuffle else np.arange(count)

    epochs, batches = divmod(first_batch, -(-count // batch_size))  # the last batch of an epoch may have fewer
    rows = _every_epoch(draw, (count,), seed, ORDER, epochs * count + batches * batch_size)
    return _shared(rows.batch(batch_size), share)


def rows_of_share(images: int, batch_size: int, share: tuple[int, int, int]) -> np.ndarray:
    """For each batch of an epoch its first row in a share, and how many rows the whole batch has; int64 `(n, 2)`."""
    sizes, (first, _, of) = np.minimum(batch_size, images - np.arange(0, images, batch_size)), share
    return np.stack([np.where(sizes < of, 0, sizes * first // of), sizes], axis=1)


def _shared(batches: tf.data.Dataset, share: tuple[int, int, int]) -> tf.data.Dataset:
    """Of each batch of positions the rows that are this process's."""
    if share == WHOLE:
        return batches
    first, last, of = share

    def mine(rows: tf.Tensor) -> tf.Tensor:
        size = tf.size(rows)
        ends = tf.where(size < of, [0, size], [size * first // of, size * last // of])
        return rows[ends[0] : ends[1]]

    return batches.map(mine)


def _balanced(labels: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Draws as many positions as there are labels, evenly from all classes, without repeats while these last."""
    classes = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    each = -(-len(labels) // len(classes))
    drawn = [
        np.concatenate([random.permutation(members) for _ in range(-(-each // len(members)))])[:each]
        for members in classes
    ]
    return random.permutation(np.concatenate(drawn))[: len(labels)]


def _every_epoch(draw: Callable, shape: tuple[int, ...], seed: int, stream: int, first: int = 0) -> tf.data.Dataset:
    """The rows of an int64 array that is drawn anew each time the dataset is iterated.

    `first` rows count as taken already: whole epochs of them, and what remains of the next comes as the first.
    """
    begun, taken = divmod(first, shape[0])
    epochs = itertools.count(begun)

    def one_epoch() -> np.ndarray:
        epoch = next(epochs)
        rows = draw(np.random.default_rng((seed, epoch, stream)))
        return rows[taken:] if epoch == begun else rows

    # Drawn by a stateful operation each time an iterator starts. (`from_generator` would do the same, but complains on
    # stderr when an iterator over it is left half-way, as `fit` does at the end of `steps_per_epoch`.)
    drawn = tf.data.Dataset.from_tensors(0).map(lambda _: tf.numpy_function(one_epoch, [], tf.int64))
    shape_of_rows = (None, *shape[1:]) if taken else shape
    rows = drawn.flat_map(lambda values: tf.data.Dataset.from_tensor_slices(tf.ensure_shape(values, shape_of_rows)))
    return rows if taken else rows.apply(tf.data.experimental.assert_cardinality(shape[0]))
