"""What a frozen network says about a data set, computed once and kept under a key of everything it depends on.

A frozen prefix gives the same activations for an image in every epoch, so they need to be computed once: at the pooling
layer they are the features that a head is trained on, at a block's boundary they are where fine-tuning starts from.
"""

import hashlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from effnet_helpers import machine
from effnet_helpers.data import ImageDataset
from effnet_helpers.machine import cache_dir
from effnet_helpers.runtime import keras

import numpy as np

_FORMAT = 2
"""Part of every key: raise it when what is stored for the same network and images changes."""

_IRRELEVANT = ("name", "trainable", "rate", "seed")
"""Settings of layers that do not change inference: names count up in a process, the others concern training."""


@dataclass(frozen=True)
class Features:
    """Activations of one split.

    Attributes:
        values: float16, (images, …) in the order of `dataset.batches(split)`; a read-only memory-mapped file.
        labels: int32, (images,).
        seconds: how long it took to compute them, or to find them.
        reused: whether they were found in the cache.
    """

    values: np.ndarray
    labels: np.ndarray
    seconds: float
    reused: bool


def extract_features(
    network: keras.Model,
    dataset: ImageDataset,
    split: str,
    batch_size: int = 32,
    *,
    view: int = 0,
    augment: Mapping[str, object] | None = None,
    seed: int = 0,
) -> Features:
    """Runs a network over a split in inference mode, or finds the result of an earlier run.

    Args:
        network: from pixels to activations, for example a backbone, or the prefix of `models.split_at_block`.
        dataset: where the images come from.
        split: "train", "val" or "test".
        batch_size: images at a time. It does not change the result, so it is not part of the key.
        view: 0 takes the images as they are, any other number augments them, each in its own way.
        augment: arguments of `preprocessing.augment`, needed for other views than 0.
        seed: of the augmentation.

    Returns:
        The `Features`. Values are rounded to float16, at most 0.05 % off.

    Raises:
        ValueError: if an augmented view is asked for and `augment` is not given.
        FloatingPointError: if an activation is too large for float16 or not a number.
    """
    if view and not augment:
        raise ValueError(f"Views other than 0 are augmented, so they need `augment`. Received: {view=}, {augment=}")
    started = time.perf_counter()
    # Which images share a draw depends on the size of batches, so that of an augmented view is part of the key.
    how = json.dumps([view, seed, batch_size, augment], sort_keys=True) if view else ""
    key = f"{network_fingerprint(network)}-{dataset.fingerprint(split)}-{how}"
    path = cache_dir() / "features" / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.npy"
    labels = dataset.labels(split)
    shape = (len(labels), *network.output_shape[1:])
    values = machine.read_array(path, shape, "float16")
    reused = values is not None
    if not reused:
        options = {"augment": dict(augment), "seed": _seed_of_view(seed, view)} if view else {}
        values = machine.write_array(path, shape, "float16", _activations(network, dataset, split, batch_size, options))
        if values is None:
            values = np.concatenate(list(_activations(network, dataset, split, batch_size, options)))
    return Features(values, labels, time.perf_counter() - started, reused)


def extract_views(
    network: keras.Model,
    dataset: ImageDataset,
    split: str,
    batch_size: int = 32,
    *,
    views: int,
    augment: Mapping[str, object] | None = None,
    seed: int = 0,
) -> Features:
    """Runs a network over several versions of each image, see `extract_features`.

    Args:
        network: from pixels to activations.
        dataset: where the images come from.
        split: "train", "val" or "test".
        batch_size: images at a time.
        views: how many versions: the images as they are, and augmented ones. A larger number adds to a smaller one.
        augment: arguments of `preprocessing.augment`, needed for more than one view.
        seed: of the augmentation.

    Returns:
        `Features` of (views * images, …), one view after the other; values are read from disk as they are asked for.
    """
    parts = [
        extract_features(network, dataset, split, batch_size, view=view, augment=augment, seed=seed)
        for view in range(views)
    ]
    return Features(
        parts[0].values if views == 1 else Stack([part.values for part in parts]),
        np.tile(parts[0].labels, views),
        sum(part.seconds for part in parts),
        all(part.reused for part in parts),
    )


class Stack:
    """Arrays of one shape, one after the other along the first axis, without a copy of them in memory.

    Args:
        arrays: of the same shape and dtype.
    """

    def __init__(self, arrays: Sequence[np.ndarray]) -> None:
        self.arrays = arrays
        self.dtype = arrays[0].dtype
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


def _seed_of_view(seed: int, view: int) -> int:
    return int(np.random.SeedSequence([seed, view]).generate_state(1)[0])


def _activations(
    network: keras.Model, dataset: ImageDataset, split: str, batch_size: int, options: Mapping[str, object]
) -> Iterator[np.ndarray]:
    """Yields float16 arrays, a batch at a time."""
    for images, _ in dataset.batches(split, batch_size, **options):
        # Filled up to a whole batch: Keras would trace the whole network again for the last, smaller one.
        missing = batch_size - len(images)
        batch = np.pad(images, [(0, missing), (0, 0), (0, 0), (0, 0)]) if missing else images
        with np.errstate(over="ignore"):
            values = network.predict_on_batch(batch)[: len(images)].astype("float16")
        if not np.isfinite(values).all():
            raise FloatingPointError(
                f"Activations of {network.name} on the {split} split are not finite numbers below 65,504. "
                "Check the weights, and that images are in [0, 255]."
            )
        yield values
