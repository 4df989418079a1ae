"""Three splits that any machine cuts in the same places: by rank of a hash of each image's name."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

from effnet_helpers.data.listing import nfc
from effnet_helpers.records import expect

import numpy as np
from scipy.cluster.hierarchy import DisjointSet


def split_by_hash(
    names: Sequence[str], labels: Sequence[int], seed: int = 0, val_fraction: float = 2 / 15,
    test_fraction: float = 0.2, groups: Sequence[str] | None = None,
) -> dict[str, np.ndarray]:  # fmt: skip
    """Cuts images into train, val and test: disjoint, stratified, groups whole, and the same on every machine.

    Within each class the groups are put in the order of a hash of seed and name; from the front they go to test, then
    to val, the rest to train. The order in which files are listed does not matter, and neither do files added to other
    classes. Fractions of an image are rounded so that the totals over all classes come out even.

    Args:
        names: Names of the images, unique, relative to the data set.
        labels: The class of each image.
        seed: Another seed gives another split. Not the seed of training.
        val_fraction: Share of each class for validation; at least one group unless it is 0.
        test_fraction: The same for testing.
        groups: What each image belongs to and must not be split from, such as a video. Each is a group of its own if
            None. Groups with images of several classes are put in order among those with images of the same classes.

    Returns:
        `{"train": …, "val": …, "test": …}`: int64 arrays of positions in `names`, each in the order of the names.

    Raises:
        ValueError: If a class has too few images or groups for all splits, or the fractions leave nothing to train on.

    Example:
        >>> names, labels = ["cat/1", "cat/2", "cat/3", "dog/1", "dog/2", "dog/3"], [0, 0, 0, 1, 1, 1]
        >>> {split: len(part) for split, part in data.split_by_hash(names, labels).items()}
        {'train': 2, 'val': 2, 'test': 2}
    """
    if val_fraction < 0 or test_fraction < 0 or val_fraction + test_fraction >= 1:
        raise ValueError(f"val and test must leave images to train on. Received: {val_fraction=}, {test_fraction=}")
    strata = _strata(names, labels, seed, groups)
    splits = {"train": [], "val": [], "test": []}
    for position, stratum in enumerate(sorted(strata)):
        units, total = strata[stratum], sum(map(len, strata[stratum]))
        rounding = (position + 0.5) / len(strata)
        for split, fraction, left in (("test", test_fraction, 1 + (val_fraction > 0)), ("val", val_fraction, 1)):
            if fraction and len(units) > left:
                splits[split] += take_units(units, max(1, int(total * fraction + rounding)), left)
        splits["train"] += [i for unit in units for i in unit]
    empty = {"val": val_fraction == 0, "test": test_fraction == 0, "train": False}
    check_classes_in_splits(names, labels, {split: part for split, part in splits.items() if not empty[split]})
    return {name: np.array(sorted(part, key=lambda i: names[i]), dtype=np.int64) for name, part in splits.items()}


def fold_by_hash(
    names: Sequence[str], labels: Sequence[int], fold: int, folds: int, seed: int = 0,
    groups: Sequence[str] | None = None,
) -> np.ndarray:  # fmt: skip
    """Takes one of several parts that are disjoint and together hold every image: stratified, groups whole.

    Args:
        names: Names of the images, unique, relative to the data set.
        labels: The class of each image.
        fold: Which part, counted from 0.
        folds: How many parts there are.
        seed: Another seed gives other parts.
        groups: What each image belongs to and must not be split from; None keeps nothing together.

    Returns:
        int64 array of positions in `names`, in the order of the names.

    Raises:
        ValueError: If there is no such part.

    Example:
        >>> names, labels = ["cat/1", "cat/2", "cat/3", "cat/4"], [0, 0, 0, 0]
        >>> sorted(i for fold in (0, 1) for i in data.fold_by_hash(names, labels, fold, 2).tolist())
        [0, 1, 2, 3]
    """
    is_part = folds >= 2 and 0 <= fold < folds
    expect(is_part, "fold", (fold, folds), "(number, count), the number from 0 and below a count of 2 or more")
    part = []
    for units in _strata(names, labels, seed, groups).values():
        total, before = sum(map(len, units)), 0
        for unit in units:
            middle = before + len(unit) / 2
            part += unit if int(folds * middle / total) == fold else []
            before += len(unit)
    return np.array(sorted(part, key=lambda i: names[i]), dtype=np.int64)


def _strata(
    names: Sequence[str], labels: Sequence[int], seed: int, groups: Sequence[str] | None
) -> dict[tuple[int, ...], list[list[int]]]:
    """Of images of the same classes the groups, in the order of a hash of seed and name."""
    groups, members, strata = names if groups is None else groups, {}, {}
    for i in sorted(range(len(names)), key=lambda i: (hash_key(groups[i], seed), names[i])):
        members.setdefault(groups[i], []).append(i)
    for unit in members.values():
        strata.setdefault(tuple(sorted({labels[i] for i in unit})), []).append(unit)
    return strata


def take_units(units: list[list[int]], room: int, left: int) -> list[int]:
    """Takes whole groups of images from the front of a list as long as they fit.

    Args:
        units: The groups, in order. What is taken is removed.
        room: How many images are wanted. A group that is larger than what remains of it is passed by; if all are, the
            smallest is taken.
        left: How many groups must be left over.

    Returns:
        The images taken.
    """
    taken, passed = [], []
    for unit in units:
        fits = len(unit) <= room and len(units) - len(taken) > left
        (taken if fits else passed).append(unit)
        room -= len(unit) if fits else 0
    if not taken:
        taken = [min(passed, key=len)]
        passed.remove(taken[0])
    units[:] = passed
    return [i for unit in taken for i in unit]


def check_classes_in_splits(names: Sequence[str], labels: Sequence[int], splits: dict[str, list[int]]) -> None:
    """Raises a ValueError if a class is missing from one of these splits."""
    present = {split: {labels[i] for i in part} for split, part in splits.items()}
    for label in sorted(set(labels)):
        missing = [split for split, found in present.items() if label not in found]
        if missing:
            received = [name for name, other in zip(names, labels, strict=True) if other == label]
            raise ValueError(
                f"Class {label} has too few images, or groups of images, for the splits {', '.join(splits)}: none is "
                f"left for {', '.join(missing)}. Received: {len(received)} images, such as {received[:3]}"
            )


def hash_key(name: str, seed: int) -> str:
    """Returns what decides an image's place in a split: the SHA-256 hash of `"seed/name"`, 64 hexadecimal digits.

    Accents count in one normal form, so that a folder that was copied between systems is split the same.
    """
    return hashlib.sha256(f"{seed}/{nfc(name)}".encode(errors="surrogateescape")).hexdigest()


def check_limit_per_class(limit_per_class: int) -> None:
    """Raises a ValueError unless `limit_per_class` is an integer, 3 or more, the fewest that fill three splits."""
    if isinstance(limit_per_class, bool) or not isinstance(limit_per_class, int) or limit_per_class < 3:
        raise ValueError(f"limit_per_class must be None or an integer, 3 or more. Received: {limit_per_class!r}")


def limit_by_hash(names: Sequence[str], labels: Sequence[int], seed: int, limit_per_class: int) -> np.ndarray:
    """Keeps the first images of each class in the order that `split_by_hash` uses for single images.

    Args:
        names: Names of the images.
        labels: The class of each image.
        seed: The seed of the split.
        limit_per_class: How many images of each class to keep at most, 3 or more.

    Returns:
        int64 array of positions in `names`, ascending.

    Raises:
        ValueError: If `limit_per_class` is below 3.
    """
    check_limit_per_class(limit_per_class)
    ranked = sorted(range(len(names)), key=lambda i: hash_key(names[i], seed))
    taken = dict.fromkeys(labels, 0)
    kept = []
    for i in ranked:
        taken[labels[i]] += 1
        if taken[labels[i]] <= limit_per_class:
            kept.append(i)
    return np.array(sorted(kept), dtype=np.int64)


def groups_by_pattern(names: Sequence[str], pattern: str) -> tuple[str, ...]:
    """Names a group for each image by what a regular expression finds in the image's name.

    Args:
        names: Names of the images.
        pattern: A regular expression; its first group, or all of it if it has none, names the group.
            `"plate[0-9]+"` finds "plate07" in "sick/plate07_patch3.png".

    Returns:
        One name an image.

    Raises:
        ValueError: If it is no regular expression, or does not occur in every name.
    """
    try:
        expression = re.compile(nfc(pattern))
    except (re.error, TypeError) as error:
        raise ValueError(f"group_by must be a regular expression ({error}). Received: {pattern!r}") from None
    found = [expression.search(nfc(name)) for name in names]
    without = [name for name, match in zip(names, found, strict=True) if match is None]
    if without:
        raise ValueError(
            f"group_by must occur in the name of every image; {len(without)} of {len(names)} are without, "
            f"such as {without[:3]}. Received: {pattern!r}"
        )
    return tuple(match[1] if expression.groups else match[0] for match in found)


def join_copies(names: Sequence[str], digests: Sequence[str], groups: Sequence[str] | None = None) -> tuple[str, ...]:
    """Names groups such that images with the same contents are in one, and what was in one group stays in one.

    Args:
        names: Names of the images.
        digests: A digest of each image's contents.
        groups: The groups so far; each image is its own if None.

    Returns:
        One name an image: that of its group, or of the first of several groups that copies join.
    """
    groups = names if groups is None else groups
    joined, holder = DisjointSet(groups), {}
    for group, digest in zip(groups, digests, strict=True):
        joined.merge(group, holder.setdefault(digest, group))
    name_of: dict[str, str] = {}
    for subset in joined.subsets():
        name_of |= dict.fromkeys(subset, min(subset))
    return tuple(name_of[group] for group in groups)
