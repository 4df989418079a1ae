"""From a listing to images that can be trained on: read once, sorted into readable and left out."""

from __future__ import annotations

from pathlib import Path

from effnet_helpers.data.listing import Collection, ImageFiles, Listing
from effnet_helpers.data.scan import printable, scan
from effnet_helpers.preprocessing import FORMATS

import numpy as np

FEWEST_IMAGES = 3  # of a class: one for each split


def collect(listing: Listing) -> Collection:
    """Reads every picture of a listing once, so that those that cannot be read are known before training starts.

    Args:
        listing: What a folder or table says is in it.

    Returns:
        A `Collection` of the readable ones, in the order of their names.

    Raises:
        ValueError: If a class has too few readable images.
    """
    entries = sorted(listing.entries, key=lambda entry: entry.name)
    labels = [listing.class_names.index(entry.class_name) for entry in entries]
    files, left_out = keep_readable(listing.root, [entry.name for entry in entries], labels)
    readable = set(files.names)
    entries = [entry for entry in entries if entry.name in readable]
    collection = Collection(
        listing.name,
        listing.class_names,
        files,
        listing.provenance,
        left_out,
        listing.passed_over,
        given_splits=np.array([entry.split for entry in entries]) if any(entry.split for entry in entries) else None,
        # a picture without a group is a group of its own
        groups=tuple(entry.group or entry.name for entry in entries) if any(e.group for e in entries) else None,
    )
    _check_classes(collection)
    return collection


def keep_readable(root: Path, names: list[str], labels: list[int]) -> tuple[ImageFiles, tuple[tuple[str, str], ...]]:
    """Decodes every file once and keeps those that can be read.

    Args:
        root: The folder that names are relative to.
        names: Relative names with forward slashes.
        labels: The class of each.

    Returns:
        The readable files, and `(name, reason)` for each of the others.
    """
    readable, digests, left_out = [], [], []
    for i, file in enumerate(scan(root, names)):
        if file.problem:
            left_out.append((file.name, file.problem))
        else:
            readable.append(i)
            digests.append(file.digest)
    kept_labels = np.array([labels[i] for i in readable], dtype=np.int32)
    return ImageFiles(root, tuple(names[i] for i in readable), kept_labels, tuple(digests)), tuple(left_out)


def _check_classes(collection: Collection) -> None:
    """Raises a ValueError if a class has too few images to be learned and scored."""
    given, labels = collection.given_splits, collection.files.labels
    if given is None:
        fewest, where = FEWEST_IMAGES, "one for each split"
    else:
        fewest, where, labels = 1, "in the training split", labels[given == "train"]
    counts = np.bincount(labels, minlength=len(collection.class_names))
    too_small = [f"{name!r} has {n}" for name, n in zip(collection.class_names, counts, strict=True) if n < fewest]
    if too_small:
        reasons = "".join(f"\n  {printable(name)}: {reason}" for name, reason in collection.left_out[:20])
        raise ValueError(
            f"Every class needs {fewest} readable images or more, {where}. Formats that work: {', '.join(FORMATS)}. "
            f"Received: {', '.join(too_small)} in {collection.name!r}"
            + (f"\n{len(collection.left_out)} cannot be read:{reasons}" if reasons else "")
        )
