"""What a frozen network says about a data set, computed once and kept under a key of everything it depends on.

A frozen prefix gives the same activations for an image in every epoch, so they need to be computed once: at the pooling
layer they are the features that a head is trained on, at a block's boundary they are where fine-tuning starts from.
"""

import hashlib
import json
import os
import tempfile
import time
import warnings
from dataclasses import dataclass
from pathlib import Path

from effnet_helpers.cache import cache_dir
from effnet_helpers.data import ImageDataset
from effnet_helpers.runtime import keras

import numpy as np

_FORMAT = 1
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


class CacheWarning(UserWarning):
    """The cache could not be read or written; what was asked for is computed all the same."""


def extract(network: keras.Model, dataset: ImageDataset, split: str, batch_size: int = 32) -> Features:
    """Runs a network over a split in inference mode, or finds the result of an earlier run.

    Args:
        network: from pixels to activations, for example a backbone, or the prefix of `models.split_at_block`.
        dataset: where the images come from; they are not augmented.
        split: "train", "val" or "test".
        batch_size: images at a time. It does not change the result, so it is not part of the key.

    Returns:
        The `Features`. Values are rounded to float16, at most 0.05 % off.

    Raises:
        FloatingPointError: if an activation is too large for float16 or not a number.
    """
    started = time.perf_counter()
    key = f"{network_fingerprint(network)}-{dataset.fingerprint(split)}"
    path = cache_dir() / "features" / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.npy"
    labels = dataset.labels(split)
    shape = (len(labels), *network.output_shape[1:])
    values = _read(path, shape)
    reused = values is not None
    if not reused:
        values = _compute(network, dataset, split, batch_size, shape)
        values = _write(path, values)
    return Features(values, labels, time.perf_counter() - started, reused)


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


def _compute(
    network: keras.Model, dataset: ImageDataset, split: str, batch_size: int, shape: tuple[int, ...]
) -> np.ndarray:
    values = np.empty(shape, "float16")
    position = 0
    with np.errstate(over="ignore"):
        for images, _ in dataset.batches(split, batch_size):
            activations = keras.ops.convert_to_numpy(network.predict_on_batch(images))
            values[position : position + len(activations)] = activations
            position += len(activations)
    if not np.isfinite(values).all():
        raise FloatingPointError(
            f"Activations of {network.name} on the {split} split are not finite numbers below 65,504. "
            "Check the weights, and that images are in [0, 255]."
        )
    return values


def _read(path: Path, shape: tuple[int, ...]) -> np.ndarray | None:
    if not path.exists():
        return None
    try:
        values = np.load(path, mmap_mode="r")
    except (OSError, ValueError, EOFError) as error:
        warnings.warn(
            f"{path.name} in the cache is damaged and is computed again ({error}).", CacheWarning, stacklevel=3
        )
        return None
    return values if values.shape == shape and values.dtype == np.float16 else None


def _write(path: Path, values: np.ndarray) -> np.ndarray:
    """Writes to another name first, so that a reader or a second writer never sees half a file."""
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".part", delete=False) as file:
            temporary = file.name
            np.save(file, values)
        os.replace(temporary, path)
        return np.load(path, mmap_mode="r")
    except OSError as error:
        if temporary:
            Path(temporary).unlink(missing_ok=True)
        warnings.warn(
            f"The cache cannot be written, so this is computed again next time ({error}).", CacheWarning, stacklevel=3
        )
        return values
