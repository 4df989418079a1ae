"""A few images drawn from many, to see how many labels a method needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from effnet_helpers.data.dataset import ImageDataset
from effnet_helpers.data.listing import SPLITS
from effnet_helpers.data.splits import hash_key

import numpy as np


def share_out_labels(dataset: ImageDataset, count: int, weights: Mapping[str, float]) -> dict[str, int]:
    """Shares out a number of images among the classes.

    Args:
        dataset: Where they will come from.
        count: How many in all; shares are rounded down, but to no less than one image.
        weights: Name of a class to its weight; 1 for a class that is not named.

    Returns:
        Name of a class to its share: at most a third of its images, so that `draw_images` finds twice as many
        to test on.
    """
    labels = np.concatenate([dataset.labels(split) for split in SPLITS])
    there_are = np.bincount(labels, minlength=dataset.num_classes) // 3
    parts = [weights.get(name, 1) for name in dataset.class_names]
    wanted = [max(1, int(count * part / sum(parts))) for part in parts]
    return {name: min(n, int(most)) for name, n, most in zip(dataset.class_names, wanted, there_are, strict=True)}


def draw_images(
    dataset: ImageDataset, train: Mapping[str, int], test: Mapping[str, int], seed: int = 0
) -> ImageDataset:
    """Draws images for training and others for testing, so many of each class, from all splits together.

    The test images come first, so that they are the same for any number of training images; a larger number of these
    adds to a smaller one. "val" is empty: whoever has few labels has none to choose by.

    Args:
        dataset: Where they come from; its own splits play no part.
        train: Name of a class to the number of its training images.
        test: The same for testing.
        seed: Another seed draws other images. The same one draws the same on every machine.

    Returns:
        The set with other splits. Images are in the order of their names.

    Raises:
        ValueError: If there is no such class, or it has too few images.
    """
    names = [name for split in SPLITS for name in dataset.splits[split].names]
    labels = np.concatenate([dataset.labels(split) for split in SPLITS])
    digests = [digest for split in SPLITS for digest in dataset.splits[split].digests]
    files = replace(dataset.splits["train"], names=tuple(names), labels=labels, digests=tuple(digests))
    order = sorted(range(len(names)), key=lambda i: hash_key(f"draw/{names[i]}", seed))
    chosen = {"train": [], "val": [], "test": []}
    for class_name in {**test, **train}:
        if class_name not in dataset.class_names:
            raise ValueError(f"There are the classes {', '.join(dataset.class_names)}. Received: {class_name!r}")
        members = [i for i in order if labels[i] == dataset.class_names.index(class_name)]
        tested, trained = test.get(class_name, 0), train.get(class_name, 0)
        if tested + trained > len(members):
            raise ValueError(
                f"The class {class_name!r} has {len(members)} images in all. "
                f"Received: {trained} for training and {tested} for testing"
            )
        chosen["test"] += members[:tested]
        chosen["train"] += members[tested : tested + trained]
    splits = {split: files.take(np.array(sorted(part, key=names.__getitem__), int)) for split, part in chosen.items()}
    return replace(dataset, splits=splits)
