"""Three splits that any machine cuts in the same places: by rank of a hash of each image's name."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np


def split_by_hash(
    names: Sequence[str], labels: Sequence[int], seed: int = 0, val_fraction: float = 2 / 15, test_fraction: float = 0.2
) -> dict[str, np.ndarray]:
    """Cuts images into train, val and test: disjoint, stratified, and the same on every machine.

    Within each class the images are put in the order of a hash of seed and name; the first go to test, the next to
    val, the rest to train. The order in which files are listed does not matter, and neither do files added to other
    classes. Fractions of an image are rounded so that the totals over all classes come out even.

    Args:
        names: Names of the images, unique, relative to the data set.
        labels: The class of each image.
        seed: Another seed gives another split. Not the seed of training.
        val_fraction: Share of each class for validation; at least one image unless it is 0.
        test_fraction: The same for testing.

    Returns:
        `{"train": …, "val": …, "test": …}`: int64 arrays of positions in `names`, each in the order of the names.

    Raises:
        ValueError: If a class has fewer than three images, or the fractions leave nothing to train on.
    """
    if val_fraction < 0 or test_fraction < 0 or val_fraction + test_fraction >= 1:
        raise ValueError(f"val and test must leave images to train on. Received: {val_fraction=}, {test_fraction=}")
    ranked = sorted(range(len(names)), key=lambda i: hash_key(names[i], seed))
    classes = sorted(set(labels))
    splits = {"train": [], "val": [], "test": []}
    for position, label in enumerate(classes):
        members = [i for i in ranked if labels[i] == label]
        if len(members) < 3:
            raise ValueError(f"class {label} needs 3 images or more. Received: {[names[i] for i in members]}")
        rounding = (position + 0.5) / len(classes)
        n_test = max(1, int(len(members) * test_fraction + rounding)) if test_fraction else 0
        n_test = min(n_test, len(members) - 2)
        n_val = max(1, int(len(members) * val_fraction + rounding)) if val_fraction else 0
        n_val = min(n_val, len(members) - n_test - 1)
        splits["test"] += members[:n_test]
        splits["val"] += members[n_test : n_test + n_val]
        splits["train"] += members[n_test + n_val :]
    return {name: np.array(sorted(part, key=lambda i: names[i]), dtype=np.int64) for name, part in splits.items()}


def hash_key(name: str, seed: int) -> str:
    """Returns what decides an image's place in a split: the SHA-256 hash of `"seed/name"`, 64 hexadecimal digits."""
    return hashlib.sha256(f"{seed}/{name}".encode(errors="surrogateescape")).hexdigest()


def limit_by_hash(names: Sequence[str], labels: Sequence[int], seed: int, limit_per_class: int) -> np.ndarray:
    """Keeps the first images of each class in the order that `split_by_hash` uses.

    Args:
        names: Names of the images.
        labels: The class of each image.
        seed: The seed of the split.
        limit_per_class: How many images of each class to keep at most, 3 or more.

    Returns:
        int64 array of positions in `names`, ascending.

    Raises:
        ValueError: If `limit_per_class` is below 3, the fewest that fill three splits.
    """
    if isinstance(limit_per_class, bool) or not isinstance(limit_per_class, int) or limit_per_class < 3:
        raise ValueError(f"limit_per_class must be None or an integer, 3 or more. Received: {limit_per_class!r}")
    ranked = sorted(range(len(names)), key=lambda i: hash_key(names[i], seed))
    taken = dict.fromkeys(labels, 0)
    kept = []
    for i in ranked:
        taken[labels[i]] += 1
        if taken[labels[i]] <= limit_per_class:
            kept.append(i)
    return np.array(sorted(kept), dtype=np.int64)
