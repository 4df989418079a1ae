"""Labelled images: from a specification to batches.

`load` is all that most readers need. `splits` holds the split, `pipeline` the stages from file to batch.
"""

from __future__ import annotations

import warnings

from effnet_helpers.data.dataset import SPLITS, ImageDataset
from effnet_helpers.data.folder import LeftOutWarning
from effnet_helpers.data.records import Collection, ImageFiles, Provenance
from effnet_helpers.data.sources import find, parse_spec
from effnet_helpers.data.splits import limit_by_hash, split_by_hash
from effnet_helpers.data.tfds import NotPreparedError
from effnet_helpers.preprocessing import RESIZE_MODES, check_size

import numpy as np

__all__ = [
    "ImageDataset",
    "ImageFiles",
    "LeftOutWarning",
    "NotPreparedError",
    "Provenance",
    "load",
    "parse_spec",
    "split_by_hash",
]


def load(
    spec: str,
    *,
    image_size: int,
    resize_mode: str = "crop",
    split_seed: int = 0,
    val_fraction: float = 2 / 15,
    test_fraction: float = 0.2,
    limit_per_class: int | None = None,
) -> ImageDataset:
    """Loads a labelled set of images, split into train, val and test.

    Args:
        spec: `"textile"` (embedded, simulated), `"folder:PATH"` (your own pictures, one subfolder a class),
            `"stanford_dogs"`, or `"tfds:NAME"` (any set of tensorflow_datasets).
        image_size: Side of the images in pixels.
        resize_mode: `"crop"`, `"pad"` or `"squash"`, see `preprocessing.resize`.
        split_seed: Another seed gives another split. Not the seed of training.
        val_fraction: Share of each class for validation.
        test_fraction: Share of each class for testing. Splits that a set's publishers made are kept instead.
        limit_per_class: Uses at most so many images of each class: the first in the order of the split's hashes.

    Returns:
        An `ImageDataset`.

    Raises:
        ValueError: If an argument is not one of the above, or what `spec` names cannot be used.
        NotPreparedError: If a set of tensorflow_datasets is not there and cannot be fetched.
    """
    check_size(image_size)
    if resize_mode not in RESIZE_MODES:
        raise ValueError(f"resize_mode must be one of {', '.join(RESIZE_MODES)}. Received: {resize_mode!r}")
    collection = find(spec)
    if collection.left_out:
        reasons = "".join(f"\n  {name}: {reason}" for name, reason in collection.left_out)
        total = len(collection.left_out) + len(collection.files)
        warnings.warn(
            f"{len(collection.left_out)} of {total} images cannot be read and are left out:{reasons}",
            LeftOutWarning,
            stacklevel=2,
        )
    return ImageDataset(
        name=collection.name,
        class_names=collection.class_names,
        image_size=image_size,
        resize_mode=resize_mode,
        provenance=collection.provenance,
        splits=_split(collection, split_seed, val_fraction, test_fraction, limit_per_class),
        left_out=collection.left_out,
        ignored=collection.ignored,
    )


def _split(
    collection: Collection, seed: int, val_fraction: float, test_fraction: float, limit_per_class: int | None
) -> dict[str, ImageFiles]:
    """Keeps the splits that the publishers made, and cuts those that are missing from train."""
    files, given = collection.files, collection.given_splits
    given = np.full(len(files), "train") if given is None else given
    if limit_per_class is not None:
        # of each class in each given split
        groups = [f"{split}/{label}" for split, label in zip(given, files.labels, strict=True)]
        kept = limit_by_hash(files.names, groups, seed, limit_per_class)
        files, given = files.take(kept), given[kept]
    parts = {split: files.take(np.flatnonzero(given == split)) for split in SPLITS}
    cut = split_by_hash(
        parts["train"].names,
        parts["train"].labels.tolist(),
        seed,
        val_fraction=0.0 if len(parts["val"]) else val_fraction,
        test_fraction=0.0 if len(parts["test"]) else test_fraction,
    )
    return {split: parts["train"].take(cut[split]) if len(cut[split]) else parts[split] for split in SPLITS}
