"""A few images drawn from many, to see how many labels a method needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from effnet_helpers.data.dataset import SPLITS, ImageDataset
from effnet_helpers.data.splits import hash_key

import numpy as np


def draw(dataset: ImageDataset, train: Mapping[str, int], test: Mapping[str, int], seed: int = 0) -> ImageDataset:
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
        for split, wanted in (("test", test.get(class_name, 0)), ("train", train.get(class_name, 0))):
            if wanted > len(members):
                raise ValueError(
                    f"The class {class_name!r} has {np.sum(labels == dataset.class_names.index(class_name))} images in "
                    f"all. Received: {train.get(class_name, 0)} for training and {test.get(class_name, 0)} for testing"
                )
            chosen[split] += members[:wanted]
            members = members[wanted:]
    splits = {split: files.take(np.array(sorted(part, key=names.__getitem__), int)) for split, part in chosen.items()}
    return replace(dataset, splits=splits)
