"""A labelled set of images in three splits, ready to be trained on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from effnet_helpers.data import pipeline
from effnet_helpers.data.records import ImageFiles, Provenance
from effnet_helpers.data.splits import limit_by_hash

import numpy as np
import tensorflow as tf

SPLITS = ("train", "val", "test")
PIXELS_VERSION = 1  # goes up whenever this package begins to make other pixels of the same file


@dataclass(frozen=True, eq=False)
class ImageDataset:
    """Labelled images in the splits train, val and test. Made by `data.load`.

    Attributes:
        name: What the set is called.
        class_names: One name a class; a label is a position in them.
        image_size: Side of all images in pixels.
        resize_mode: How they were brought to that size, see `preprocessing.resize`.
        provenance: Where they come from, and on what terms.
        splits: The files of each split, sorted by name.
        left_out: `(name, reason)` of files that could not be read.
        ignored: How many files were passed over because they are no images.
    """

    name: str
    class_names: tuple[str, ...]
    image_size: int
    resize_mode: str
    provenance: Provenance
    splits: dict[str, ImageFiles] = field(repr=False)
    left_out: tuple[tuple[str, str], ...] = ()
    ignored: int = 0
    _kept: dict[str, np.ndarray] = field(default_factory=dict, init=False, repr=False)

    @property
    def num_classes(self) -> int:
        """The number of classes."""
        return len(self.class_names)

    @property
    def sizes(self) -> dict[str, int]:
        """The number of images in each split."""
        return {split: len(files) for split, files in self.splits.items()}

    def labels(self, split: str) -> np.ndarray:
        """Returns the labels of a split, int32 `(n,)`, in the order of its unshuffled batches."""
        return self._files(split).labels.copy()

    def image(self, split: str, index: int) -> np.ndarray:
        """Returns one image as the model sees it, uint8 `(image_size, image_size, 3)`.

        Args:
            split: `"train"`, `"val"` or `"test"`.
            index: Position in the unshuffled order.
        """
        if split in self._kept:
            return self._kept[split][index]
        one = self._files(split).take([range(self.sizes[split])[index]])
        return next(iter(pipeline.resized(one, self.image_size, self.resize_mode))).numpy()

    def batches(
        self,
        split: str,
        batch_size: int = 32,
        *,
        shuffle: bool = False,
        augment: dict | Callable | None = None,
        cache: bool = False,
        seed: int = 0,
    ) -> tf.data.Dataset:
        """Serves a split as batches, for `fit`, `evaluate` or a loop.

        Args:
            split: `"train"`, `"val"` or `"test"`.
            batch_size: Images in a batch; the last may have fewer.
            shuffle: Whether each epoch comes in a new order, each image once. Otherwise sorted by name.
            augment: Arguments of `preprocessing.augment` as a dictionary, or a function `(images, seed) -> images`,
                applied to each batch with a seed of its own. Augment for training only.
            cache: Whether to keep the resized images in memory as uint8 (`3 * image_size**2` bytes each) from the first
                such call on. Batches are the same with and without.
            seed: Decides orders and augmentation of all epochs. Not the seed of the splits.

        Returns:
            Dataset of `(float32 (batch, image_size, image_size, 3) in [0, 255], int32 (batch,))`, cardinality known.

        Raises:
            ValueError: If there is no such split.
        """
        files = self._files(split)
        if cache:
            batches = pipeline.from_arrays(self._pixels(split), files.labels, batch_size, shuffle=shuffle, seed=seed)
        else:
            batches = pipeline.from_files(
                files, self.image_size, self.resize_mode, batch_size, shuffle=shuffle, seed=seed
            )
            batches = batches.map(lambda images, labels: (tf.cast(images, tf.float32), labels))
        return batches if augment is None else pipeline.augmented(batches, augment, seed)

    def with_fewer(self, per_class: int, split: str = "train", seed: int = 0) -> ImageDataset:
        """Returns the same set with at most so many images of each class in one split; the others stay whole.

        Args:
            per_class: Images of each class to keep, 3 or more.
            split: The split to make smaller.
            seed: Another seed keeps other images.
        """
        files = self._files(split)
        kept = files.take(limit_by_hash(files.names, files.labels.tolist(), seed, per_class))
        return replace(self, splits={**self.splits, split: kept})

    def fingerprint(self, split: str) -> str:
        """Returns 16 hexadecimal digits that change whenever the pixels, labels or order of a split do.

        They depend on the contents of the files, not on where these lie or when they were written.
        """
        files = self._files(split)
        pixels = [PIXELS_VERSION, self.image_size, self.resize_mode]
        contents = [files.names, files.labels.tolist(), files.digests]
        return hashlib.sha256(json.dumps([pixels, contents]).encode()).hexdigest()[:16]

    def _files(self, split: str) -> ImageFiles:
        if split not in self.splits:
            raise ValueError(f"There are the splits {', '.join(SPLITS)}. Received: {split!r}")
        return self.splits[split]

    def _pixels(self, split: str) -> np.ndarray:
        """All images of a split, uint8 `(n, image_size, image_size, 3)`, read at the first call and then kept."""
        if split not in self._kept:
            pixels = np.empty((self.sizes[split], self.image_size, self.image_size, 3), dtype=np.uint8)
            start = 0
            for images, _ in pipeline.from_files(self._files(split), self.image_size, self.resize_mode):
                pixels[start : start + len(images)] = images
                start += len(images)
            self._kept[split] = pixels
        return self._kept[split]
