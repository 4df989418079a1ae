"""A few images drawn from many, to see how many labels a method needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from effnet_helpers.data.dataset import ImageDataset
from effnet_helpers.data.listing import ImageFiles
from effnet_helpers.data.splits import hash_key
from effnet_helpers.records import listed

import numpy as np


def share_out_labels(
    dataset: ImageDataset, count: int, weights: Mapping[str, float], split: str = "train"
) -> dict[str, int]:
    """Shares out a number of images among the classes.

    Args:
        dataset: Where they will come from.
        count: How many in all; shares are rounded down, but to no less than one image.
        weights: Name of a class to its weight; 1 for a class that is not named.
        split: The split they will come from.

    Returns:
        Name of a class to its share: at most as many images as the split has of it.

    Raises:
        ValueError: If there is no such split.
    """
    there_are = np.bincount(dataset.labels(split), minlength=dataset.num_classes)
    parts = [weights.get(name, 1) for name in dataset.class_names]
    wanted = [max(1, int(count * part / sum(parts))) for part in parts]
    return {name: min(n, int(most)) for name, n, most in zip(dataset.class_names, wanted, there_are, strict=True)}


def draw_images(
    dataset: ImageDataset, train: Mapping[str, int], test: Mapping[str, int], seed: int = 0, score_on: str = "test"
) -> ImageDataset:
    """Draws images for training from the training split and others for testing from another split.

    So whatever else was trained and scored on these splits, no image changes sides. The test images are the same for
    any number of training images, and a larger number of these adds to a smaller one. "val" is empty: whoever has few
    labels has none to choose by.

    Args:
        dataset: Where they come from.
        train: Name of a class to the number of its training images.
        test: The same for testing.
        seed: Another seed draws other images. The same one draws the same on every machine.
        score_on: The split that the test images come from: `"val"` while a recipe is still being chosen, `"test"` once
            it is fixed.

    Returns:
        The set with other splits. Images are in the order of their names.

    Raises:
        ValueError: If there is no such class, it has too few images, or `score_on` is another split.

    Example:
        >>> textile = data.load("textile", image_size=64, limit_per_class=30)
        >>> drawn = data.draw_images(textile, train={"nominal": 4, "local": 2}, test={"nominal": 3, "local": 3})
        >>> drawn.sizes
        {'train': 6, 'val': 0, 'test': 6}
    """
    if score_on not in ("val", "test"):
        raise ValueError(f'score_on must be "val" or "test". Received: {score_on!r}')
    drawn_train = _draw(dataset, "train", train, seed)
    nothing = drawn_train.take(np.array([], dtype=int))
    return replace(dataset, splits={"train": drawn_train, "val": nothing, "test": _draw(dataset, score_on, test, seed)})


def _draw(dataset: ImageDataset, split: str, counts: Mapping[str, int], seed: int) -> ImageFiles:
    files, labels = dataset.splits[split], dataset.labels(split)
    order = sorted(range(len(labels)), key=lambda i: hash_key(f"draw/{files.names[i]}", seed))
    chosen = []
    for class_name, count in counts.items():
        if class_name not in dataset.class_names:
            raise ValueError(f"There are the classes {listed(dataset.class_names)}. Received: {class_name!r}")
        members = [i for i in order if labels[i] == dataset.class_names.index(class_name)]
        if count > len(members):
            raise ValueError(f"The split {split} has {len(members)} images of {class_name!r}. Received: {count}")
        chosen += members[:count]
    return files.take(np.array(sorted(chosen, key=files.names.__getitem__), int))
