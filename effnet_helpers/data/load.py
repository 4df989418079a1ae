"""From a specification to a data set: found, read once, copies kept apart, split."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Sequence

from effnet_helpers.data.dataset import ImageDataset
from effnet_helpers.data.listing import SPLITS, Entry, ImageFiles, Listing, nfc
from effnet_helpers.data.scan import printable, scan
from effnet_helpers.data.sources import list_files
from effnet_helpers.data.splits import (
    check_limit_per_class,
    fold_by_hash,
    groups_by_pattern,
    join_copies,
    limit_by_hash,
    split_by_hash,
)
from effnet_helpers.preprocessing import FORMATS, RESIZE_MODES, check_size
from effnet_helpers.records import expect

import numpy as np

FEWEST_IMAGES = 3  # of a class: one for each split


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
    fold: tuple[int, int] | None = None,
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
        fold: `(number, count)`: the test split is that one of `count` parts which are disjoint and together hold every
            image, counted from 0; `test_fraction` plays no part. Only where the publishers made no splits.

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
        check_limit_per_class(limit_per_class)
    listing = list_files(spec, limit_per_class)
    entries, digests, bits, left_out = _readable(listing)
    has_splits = any(entry.split for entry in entries)
    copies = copies_in_other_splits([entry.split for entry in entries], digests) if has_splits else {}
    left_out += [(entries[i].name, f"the same picture as {entries[kept].name}") for i, kept in copies.items()]
    digests = [digest for i, digest in enumerate(digests) if i not in copies]
    entries = [entry for i, entry in enumerate(entries) if i not in copies]
    _check_number_of_images(listing, entries, left_out)
    _warn_of_left_out(left_out, len(entries))
    for names in alike_names(listing.class_names):
        warnings.warn(f"Classes whose names differ only in capitals or blanks: {names}", stacklevel=2)

    label_of = {name: label for label, name in enumerate(listing.class_names)}
    labels = np.array([label_of[entry.class_name] for entry in entries], dtype=np.int32)
    names = tuple(entry.name for entry in entries)
    given = np.array([entry.split or "train" for entry in entries])
    groups = [entry.group or entry.name for entry in entries]  # a picture without a group is a group of its own
    groups = groups if group_by is None else groups_by_pattern(names, group_by)
    _check_groups_stay_whole(given, groups)
    groups = join_copies(names, digests, groups)
    files = ImageFiles(listing.root, names, labels, tuple(digests), bits, groups)
    if fold is not None:
        expect(not has_splits, "fold", fold, "None where the splits are given")
    return ImageDataset(
        name=listing.name,
        class_names=listing.class_names,
        image_size=image_size,
        resize_mode=resize_mode,
        provenance=listing.provenance,
        splits=_split(files, given, split_seed, val_fraction, test_fraction, limit_per_class, fold),
        left_out=tuple(left_out),
        passed_over=listing.passed_over,
        wordnet_ids=listing.wordnet_ids,
    )


def copies_in_other_splits(splits: Sequence[str], digests: Sequence[str]) -> dict[int, int]:
    """Finds copies that are to be left out: those of test images in val and train, those of val images in train.

    Args:
        splits: The split of each image.
        digests: A digest of each image's contents.

    Returns:
        The position of each copy to leave out, and that of the image that stays.
    """
    kept: dict[str, int] = {}
    for split in reversed(SPLITS):  # test first
        for i, digest in enumerate(digests):
            if splits[i] == split:
                kept.setdefault(digest, i)
    return {i: kept[digest] for i, digest in enumerate(digests) if splits[i] != splits[kept[digest]]}


def alike_names(class_names: Sequence[str]) -> list[list[str]]:
    """Finds names that differ only in capitals or blanks, which seldom is meant.

    Returns:
        Lists of two such names or more.
    """
    alike: dict[str, list[str]] = {}
    for name in class_names:
        alike.setdefault(" ".join(name.casefold().split()), []).append(name)
    return [names for names in alike.values() if len(names) > 1]


def _readable(listing: Listing) -> tuple[list[Entry], list[str], int, list[tuple[str, str]]]:
    """Reads every picture once, so that those that cannot be read are known before training starts.

    Returns what can be read in the order of names, a digest of each, how many bits 16-bit pictures use, and
    `(name, reason)` of what cannot be read.
    """
    entries, digests, bits, left_out = [], [], 0, []
    in_order = sorted(listing.entries, key=lambda entry: nfc(entry.name))
    for entry, file in zip(in_order, scan(listing.root, [entry.name for entry in in_order]), strict=True):
        if file.problem:
            left_out.append((file.name, file.problem))
        else:
            entries.append(entry)
            digests.append(file.digest)
            bits = max(bits, file.bits)
    return entries, digests, bits or 16, left_out


def _check_number_of_images(listing: Listing, entries: Sequence[Entry], left_out: Sequence[tuple[str, str]]) -> None:
    """Raises a ValueError if a class has too few images to be learned and scored."""
    has_splits = any(entry.split for entry in entries)
    fewest, where = (1, "in the training split") if has_splits else (FEWEST_IMAGES, "one for each split")
    counts = Counter(entry.class_name for entry in entries if not has_splits or entry.split == "train")
    needed = {entry.class_name for entry in listing.entries} if listing.may_lack_classes else {*listing.class_names}
    too_small = [f"{name!r} has {counts[name]}" for name in sorted(needed) if counts[name] < fewest]
    if too_small:
        reasons = "".join(f"\n  {printable(name)}: {reason}" for name, reason in left_out[:20])
        raise ValueError(
            f"Every class needs {fewest} readable images or more, {where}. Formats that work: {', '.join(FORMATS)}. "
            f"Received: {', '.join(too_small)} in {listing.name!r}"
            + (f"\n{len(left_out)} cannot be used:{reasons}" if reasons else "")
        )


def _warn_of_left_out(left_out: Sequence[tuple[str, str]], used: int) -> None:
    """Names what is left out in one warning, so that a notebook shows it where the data are loaded."""
    if left_out:
        reasons = "".join(f"\n  {printable(name)}: {reason}" for name, reason in left_out[:20])
        more = f"\n  … and {len(left_out) - 20} more, listed in `left_out`" if len(left_out) > 20 else ""
        warnings.warn(
            f"{len(left_out)} of {len(left_out) + used} images cannot be used and are left out:{reasons}{more}",
            LeftOutWarning,
            stacklevel=3,
        )


def _check_groups_stay_whole(given: np.ndarray, groups: Sequence[str]) -> None:
    """Raises a ValueError if a group lies in several of the given splits."""
    split_of: dict[str, str] = {}
    for split, group in zip(given.tolist(), groups, strict=True):
        if split_of.setdefault(group, split) != split:
            raise ValueError(
                f"A group must lie in one of the given splits. Received: {group!r} in {split_of[group]} and {split}"
            )


def _split(
    files: ImageFiles,
    given: np.ndarray,
    seed: int,
    val_fraction: float,
    test_fraction: float,
    limit_per_class: int | None,
    fold: tuple[int, int] | None,
) -> dict[str, ImageFiles]:
    """Keeps the splits that the publishers made, and cuts those that are missing from train."""
    if limit_per_class is not None:
        # of each class in each given split
        strata = [f"{split}/{label}" for split, label in zip(given, files.labels, strict=True)]
        kept = limit_by_hash(files.names, strata, seed, limit_per_class)
        files, given = files.take(kept), given[kept]
    if fold is not None:
        given[fold_by_hash(files.names, files.labels.tolist(), *fold, seed, files.groups)] = "test"
    parts = {split: files.take(np.flatnonzero(given == split)) for split in SPLITS}
    cut = split_by_hash(
        parts["train"].names,
        parts["train"].labels.tolist(),
        seed,
        val_fraction=0.0 if len(parts["val"]) else val_fraction,
        test_fraction=0.0 if len(parts["test"]) else test_fraction,
        groups=parts["train"].groups,
    )
    return {split: parts["train"].take(cut[split]) if len(cut[split]) else parts[split] for split in SPLITS}
