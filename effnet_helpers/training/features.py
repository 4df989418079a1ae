"""What a frozen network says about a data set, computed once and kept under a key of everything it depends on.

At the pooling layer these are the features that a head is trained on; at a block's boundary fine-tuning starts there.
"""

from __future__ import annotations

import collections
import hashlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from effnet_helpers import data, machine, records
from effnet_helpers.runtime import keras
from effnet_helpers.training.processes import Processes

import numpy as np

if TYPE_CHECKING:
    import tensorflow as tf

_FORMAT = 3
"""Part of every key: raise it when what is stored for the same network and images changes."""

_IRRELEVANT = ("name", "trainable", "rate", "seed")
"""Settings of layers that do not change inference: names count up in a process, the others concern training."""


@dataclass(frozen=True)
class Features:
    """Activations of one split.

    Attributes:
        values: float16, (images, …) in the order of `dataset.batches(split)`, read-only; views one after the other.
        labels: int32, (images,).
        seconds: How long it took to compute or find them.
        reused: Whether they were found in the cache.
    """

    values: np.ndarray | Stack
    labels: np.ndarray
    seconds: float
    reused: bool

    def batches(
        self,
        batch_size: int = 32,
        *,
        shuffle: bool = False,
        balanced: bool = False,
        seed: int = 0,
        first_batch: int = 0,
        share: tuple[int, int, int] = data.WHOLE,
    ) -> tf.data.Dataset:
        """Serves them as batches, in exactly the order in which `ImageDataset.batches` serves the images.

        Args:
            batch_size: Rows in a batch; the last may have fewer.
            shuffle: Whether each epoch comes in a new order.
            balanced: Whether each epoch has as many images of one class as of another.
            seed: Decides these orders, together with the number of the epoch.
            first_batch: As in `ImageDataset.batches`.
            share: The same.

        Returns:
            Dataset of `(float32 (batch, …), int32 (batch,))`, its cardinality known unless that lies within an epoch.
        """
        order = {"shuffle": shuffle, "balanced": balanced, "seed": seed, "first_batch": first_batch, "share": share}
        return data.from_arrays(self.values, self.labels, batch_size, **order)


def extract_features(
    network: keras.Model,
    dataset: data.ImageDataset,
    splits: Sequence[str] = ("train", "val"),
    batch_size: int = 32,
    *,
    views: int = 1,
    augment: Mapping[str, object] | None = None,
    seed: int = 0,
    processes: Processes | None = None,
) -> dict[str, Features]:
    """Runs a network over splits in inference mode, or finds the results of an earlier run.

    Args:
        network: From pixels to activations, for example a backbone, or the prefix of `models.split_at_block`.
        dataset: Where the images come from.
        splits: Some of "train", "val" and "test".
        batch_size: Images at a time. It does not change the result of images as they are.
        views: How many versions of each training image: the image as it is, and augmented ones. Other splits have one.
        augment: Arguments of `preprocessing.augment`, needed for more than one view.
        seed: Of the augmentation.
        processes: Those that train together: each computes its share of each batch, and all receive all values. None
            for one alone.

    Returns:
        The `Features` of each split. Values are rounded to float16, at most 0.05 % off.

    Raises:
        ValueError: If `views` is no whole number from 1 up, or above 1 without `augment`.
        FloatingPointError: If an activation is too large for float16 or not a number.

    Example:
        >>> dataset = data.load("textile", image_size=64, limit_per_class=15)
        >>> features = training.extract_features(models.build_backbone("Lite0", image_size=64), dataset)
        >>> features["val"].values.shape
        (6, 2, 2, 1280)
    """
    check_views(views)
    if views > 1 and not augment:
        raise ValueError(f"Views other than the first are augmented, so they need `augment`. Received: {views=}")
    fingerprint = network_fingerprint(network)
    found = {}
    for split in splits:
        started, parts = time.perf_counter(), []
        for view in range(views if split == "train" else 1):
            # Which images share a draw depends on the size of batches, so that of an augmented view is in the key.
            how = json.dumps([view, seed, batch_size, augment], sort_keys=True) if view else ""
            key = hashlib.sha256(f"{fingerprint}-{dataset.fingerprint(split)}-{how}".encode()).hexdigest()[:32]
            seed_of_view = int(np.random.SeedSequence([seed, view]).generate_state(1)[0])
            options = {"augment": dict(augment), "seed": seed_of_view} if view else {}
            parts.append(_find_or_compute(network, dataset, split, batch_size, options, key, processes))
        arrays, reused = zip(*parts, strict=True)
        values, labels = arrays[0] if len(arrays) == 1 else Stack(arrays), np.tile(dataset.labels(split), len(arrays))
        found[split] = Features(values, labels, time.perf_counter() - started, all(reused))
    return found


def predict_in_shares(
    network: keras.Model, dataset: data.ImageDataset, split: str, batch_size: int, processes: Processes
) -> np.ndarray:
    """Runs a network over a split, of which each process takes its share; all receive float32 `(images, …)`."""
    return np.concatenate(list(_activations(network, dataset, split, batch_size, {}, processes, "float32")))


def check_views(views: int) -> None:
    """Refuses numbers of views that are none."""
    is_number = isinstance(views, int) and not isinstance(views, bool)
    records.expect(is_number and views >= 1, "views", views, "a whole number from 1 up")


class Stack:
    """Arrays of one shape and dtype, one after the other along the first axis, without a copy of them in memory."""

    def __init__(self, arrays: Sequence[np.ndarray]) -> None:
        self.arrays, self.dtype = arrays, arrays[0].dtype
        self.shape = (len(arrays) * len(arrays[0]), *arrays[0].shape[1:])

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        """Returns rows by an array of their positions."""
        which, row = np.divmod(rows, len(self.arrays[0]))
        out = np.empty((len(rows), *self.shape[1:]), self.dtype)
        for number in np.unique(which):
            out[which == number] = self.arrays[number][row[which == number]]
        return out

    def __array__(self, dtype: np.dtype | None = None, copy: bool | None = None) -> np.ndarray:
        return np.concatenate(self.arrays).astype(dtype or self.dtype, copy=False)


def network_fingerprint(network: keras.Model) -> str:
    """A digest of what a network computes in inference: its layers' settings, their order, and their weights."""
    digest = hashlib.sha256(f"format {_FORMAT}, Keras {keras.__version__}".encode())
    for layer in network.layers:
        config = {
            key: value
            for key, value in layer.get_config().items()
            if key not in _IRRELEVANT and not key.endswith(("initializer", "regularizer", "constraint"))
        }
        digest.update(f"{type(layer).__name__} {json.dumps(config, sort_keys=True, default=str)}".encode())
        for weight in layer.weights:
            digest.update(np.ascontiguousarray(keras.ops.convert_to_numpy(weight)).tobytes())
    return digest.hexdigest()


def _find_or_compute(
    network: keras.Model,
    dataset: data.ImageDataset,
    split: str,
    batch_size: int,
    options: Mapping[str, Any],
    key: str,
    processes: Processes | None,
) -> tuple[np.ndarray, bool]:
    """Returns the activations of one version of each image, and whether they were found in the cache."""
    path = machine.cache_dir() / "features" / f"{key}.npy"
    shape = (dataset.sizes[split], *network.output_shape[1:])

    values = machine.read_array(path, shape, "float16")
    if _all_have(values, processes):
        return values, True
    parts = _activations(network, dataset, split, batch_size, options, processes)
    if processes is None or processes.writes_cache:
        values = machine.write_array(path, shape, "float16", parts)
    if processes is not None:
        collections.deque(parts, maxlen=0)  # whatever this process does not write, the others need its share of it
        processes.wait()
        values = machine.read_array(path, shape, "float16") if values is None else values
    if not _all_have(values, processes):
        values = np.concatenate(list(_activations(network, dataset, split, batch_size, options, processes)))
    return values, False


def _all_have(values: np.ndarray | None, processes: Processes | None) -> bool:
    return values is not None if processes is None else processes.sum(np.array([values is None], float))[0] == 0


def _activations(
    network: keras.Model,
    dataset: data.ImageDataset,
    split: str,
    batch_size: int,
    options: Mapping[str, Any],
    processes: Processes | None,
    dtype: str = "float16",
) -> Iterator[np.ndarray]:
    """Yields arrays, a batch at a time."""
    share = data.WHOLE if processes is None else processes.share
    first, last, of = share
    rows, left = max(-(-batch_size * (last - first) // of), min(of - 1, batch_size)), dataset.sizes[split]
    for images, _ in dataset.batches(split, batch_size, **options, share=share):
        # Filled up to as many rows each time: Keras would trace the whole network again for the last, smaller one.
        missing = rows - len(images)
        batch = np.pad(images, [(0, missing), (0, 0), (0, 0), (0, 0)]) if missing else images
        values = network.predict_on_batch(batch)
        values = values[: len(images)] if processes is None else processes.join(values, min(left, batch_size))
        with np.errstate(over="ignore"):
            values = values.astype(dtype)
        left -= len(values)
        if not np.isfinite(values).all():
            limit = " below 65,504" if dtype == "float16" else ""
            raise FloatingPointError(
                f"Activations of {network.name} on the {split} split are not finite numbers{limit}. "
                "Check the weights, and that images are in [0, 255]."
            )
        yield values
