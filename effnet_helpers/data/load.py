"""From a specification to a data set: found, read once, copies kept apart, split."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

from effnet_helpers.data.dataset import SPLITS, ImageDataset
from effnet_helpers.data.listing import ImageFiles
from effnet_helpers.data.scan import printable
from effnet_helpers.data.sources import find_collection
from effnet_helpers.data.splits import check_limit, groups_by_pattern, join_copies, limit_by_hash, split_by_hash
from effnet_helpers.preprocessing import RESIZE_MODES, check_size

import numpy as np


class LeftOutWarning(UserWarning):
    """Some pictures cannot be used; the data set goes on without them."""


def load(
    spec: str,
    *,
    image_size: int,
    resize_mode: str = "crop",
    split_seed: int = 0,
    val_fraction: float = 2 / 15,
    test_fraction: float = 0.2,
    limit_per_class: int | None = None,
    group_by: str | None = None,
) -> ImageDataset:
    """Loads a labelled set of images, split into train, val and test.

    Every file is read once. What cannot be read is left out, listed and counted, and training goes on without it.
    Copies of one picture never come into two splits: they are kept together where the split is made here, and where
    publishers made it, copies of test images are left out of val and train, copies of val images out of train.

    Args:
        spec: `"textile"` (embedded, simulated), `"folder:PATH"` (your own pictures, one subfolder a class, with or
            without splits above them, or a zip or tar archive of that), `"csv:FILE"` (a table with the columns
            path,label[,split][,group]), `"stanford_dogs"`, or `"tfds:NAME"` (any set of tensorflow_datasets).
        image_size: Side of the images in pixels.
        resize_mode: `"crop"`, `"pad"` or `"squash"`, see `preprocessing.resize`.
        split_seed: Another seed gives another split. Not the seed of training.
        val_fraction: Share of each class for validation.
        test_fraction: Share of each class for testing. Splits that a set's publishers made are kept instead.
        limit_per_class: Uses at most so many images of each class: the first in the order of the split's hashes, of
            large published sets the first in the order of their records.
        group_by: A regular expression that finds in an image's name what it must not be split from, such as
            `"video[0-9]+"`; see `splits.groups_by_pattern`. A table's column "group" does the same.

    Returns:
        An `ImageDataset`.

    Raises:
        ValueError: If an argument is not one of the above, or what `spec` names cannot be used.
        NotPreparedError: If a set of tensorflow_datasets is not there and cannot be fetched.
    """
    check_size(image_size)
    if resize_mode not in RESIZE_MODES:
        raise ValueError(f"resize_mode must be one of {', '.join(RESIZE_MODES)}. Received: {resize_mode!r}")
    if limit_per_class is not None:
        check_limit(limit_per_class)
    collection = find_collection(spec, limit_per_class)
    kept, copies = _without_copies(collection.files, collection.given_splits)
    files = collection.files.take(kept)
    given = None if collection.given_splits is None else collection.given_splits[kept]
    groups = None if collection.groups is None else [collection.groups[i] for i in kept]
    groups = groups if group_by is None else groups_by_pattern(files.names, group_by)
    if given is not None and groups is not None:
        _check_groups(given, groups)
    groups = join_copies(files.names, files.digests, groups)
    _warn_of_left_out((*collection.left_out, *copies), len(files))
    return ImageDataset(
        name=collection.name,
        class_names=collection.class_names,
        image_size=image_size,
        resize_mode=resize_mode,
        provenance=collection.provenance,
        splits=_split(files, given, groups, split_seed, val_fraction, test_fraction, limit_per_class),
        left_out=(*collection.left_out, *copies),
        passed_over=collection.passed_over,
        wordnet_ids=collection.wordnet_ids,
    )


def _warn_of_left_out(left_out: tuple[tuple[str, str], ...], used: int) -> None:
    """Names what is left out in one warning, so that a notebook shows it where the data are loaded."""
    if left_out:
        reasons = "".join(f"\n  {printable(name)}: {reason}" for name, reason in left_out[:20])
        more = f"\n  … and {len(left_out) - 20} more, listed in `left_out`" if len(left_out) > 20 else ""
        warnings.warn(
            f"{len(left_out)} of {len(left_out) + used} images cannot be used and are left out:{reasons}{more}",
            LeftOutWarning,
            stacklevel=3,
        )


def _without_copies(files: ImageFiles, given: np.ndarray | None) -> tuple[np.ndarray, tuple[tuple[str, str], ...]]:
    """Finds copies of one picture in several given splits; they stay where they are needed for scoring.

    Returns the positions that are kept, and `(name, reason)` of the others.
    """
    if given is None:
        return np.arange(len(files)), ()
    keeper: dict[str, int] = {}
    for split in reversed(SPLITS):  # test first
        for i in np.flatnonzero(given == split):
            keeper.setdefault(files.digests[i], i)
    kept = np.array([given[i] == given[keeper[digest]] for i, digest in enumerate(files.digests)], dtype=bool)
    copies = tuple(
        (files.names[i], f"the same picture as {files.names[keeper[files.digests[i]]]}") for i in np.flatnonzero(~kept)
    )
    return np.flatnonzero(kept), copies


def _check_groups(given: np.ndarray, groups: Sequence[str]) -> None:
    """Raises a ValueError if a group lies in several of the given splits."""
    split_of: dict[str, str] = {}
    for split, group in zip(given.tolist(), groups, strict=True):
        if split_of.setdefault(group, split) != split:
            raise ValueError(
                f"A group must lie in one of the given splits. Received: {group!r} in {split_of[group]} and {split}"
            )


def _split(
    files: ImageFiles,
    given: np.ndarray | None,
    groups: Sequence[str],
    seed: int,
    val_fraction: float,
    test_fraction: float,
    limit_per_class: int | None,
) -> dict[str, ImageFiles]:
    """Keeps the splits that the publishers made, and cuts those that are missing from train."""
    given = np.full(len(files), "train") if given is None else given
    groups = np.array(groups, dtype=object)
    if limit_per_class is not None:
        # of each class in each given split
        strata = [f"{split}/{label}" for split, label in zip(given, files.labels, strict=True)]
        kept = limit_by_hash(files.names, strata, seed, limit_per_class)
        files, given, groups = files.take(kept), given[kept], groups[kept]
    parts = {split: files.take(np.flatnonzero(given == split)) for split in SPLITS}
    cut = split_by_hash(
        parts["train"].names,
        parts["train"].labels.tolist(),
        seed,
        val_fraction=0.0 if len(parts["val"]) else val_fraction,
        test_fraction=0.0 if len(parts["test"]) else test_fraction,
        groups=groups[given == "train"].tolist(),
    )
    return {split: parts["train"].take(cut[split]) if len(cut[split]) else parts[split] for split in SPLITS}
