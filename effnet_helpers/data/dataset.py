"""A labelled set of images in three splits, ready to be trained on."""

from __future__ import annotations

import csv
import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from effnet_helpers import machine, outputs, preprocessing
from effnet_helpers.data import pipeline, pixels
from effnet_helpers.data.listing import SPLITS, ImageFiles, PassedOver, Provenance
from effnet_helpers.data.splits import limit_by_hash

import numpy as np
import tensorflow as tf
from sklearn.utils.class_weight import compute_class_weight

# A mark of UTF-8, which Excel wants, and every cell in quotes, so that blanks and line breaks come back.
OWN_BEGINNING = b'\xef\xbb\xbf"path","label","split"'
TABLE_OF_SPLITS = outputs.Kind(
    "a table of splits",
    lambda path: path.is_file() and path.read_bytes().startswith(OWN_BEGINNING) and machine.is_as_written(path),
    machine.note_written,
)
PIXELS_VERSION = 2  # goes up whenever this package begins to make other pixels of the same file


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
        left_out: `(name, reason)` of pictures that cannot be read, or are copies of a picture in another split.
        passed_over: What else lay there and was not taken for a picture, each with the reason.
        wordnet_ids: The id of each class where the classes are ImageNet's, else empty.
    """

    name: str
    class_names: tuple[str, ...]
    image_size: int
    resize_mode: str
    provenance: Provenance
    splits: dict[str, ImageFiles] = field(repr=False)
    left_out: tuple[tuple[str, str], ...] = ()
    passed_over: tuple[PassedOver, ...] = ()
    wordnet_ids: tuple[str, ...] = ()
    _kept: dict[str, np.ndarray | None] = field(default_factory=dict, init=False, repr=False)

    @property
    def num_classes(self) -> int:
        """The number of classes."""
        return len(self.class_names)

    @property
    def bits(self) -> int:
        """How many bits the values of its 16-bit pictures use; 16 where it has none. A model's card keeps it."""
        return self.splits["train"].bits

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
        path = self._files(split).path(index)
        return preprocessing.read_resized(path, self.image_size, self.resize_mode, self.bits)

    def batches(
        self,
        split: str,
        batch_size: int = 32,
        *,
        shuffle: bool = False,
        balanced: bool = False,
        augment: dict | Callable | None = None,
        cache: bool = False,
        seed: int = 0,
        first_batch: int = 0,
        share: tuple[int, int, int] = pipeline.WHOLE,
    ) -> tf.data.Dataset:
        """Serves a split as batches, for `fit`, `evaluate` or a loop.

        Args:
            split: `"train"`, `"val"` or `"test"`.
            batch_size: Images in a batch; the last may have fewer.
            shuffle: Whether each epoch comes in a new order, each image once. Otherwise sorted by name.
            balanced: Whether each epoch has as many images of one class as of another: of large classes a new choice in
                each epoch, of small ones the same images several times. An epoch has as many images as without; needs
                `shuffle`. For training only.
            augment: Arguments of `preprocessing.augment` as a dictionary, or a function `(images, seed) -> images`,
                applied to each batch with a seed of its own. Augment for training only.
            cache: Whether to keep the resized images as uint8 (`3 * image_size**2` bytes each) from the first such call
                on: in memory or in a file, where there is room, see `pixels.keep_pixels`. Batches are the same with and
                without.
            seed: Decides orders and augmentation of all epochs. Not the seed of the splits.
            first_batch: How many batches were served already, over all epochs: to go on where training stopped. What
                they held is not read again.
            share: `(first, last, of)`, where several devices or processes share each batch: parts `first` to `last` - 1
                of `of` equal ones, so that no image comes twice and none is lost. Only these rows are read. A batch
                with fewer images than parts goes to all of them whole: a network cannot run on no image.

        Returns:
            Dataset of `(float32 (batch, image_size, image_size, 3) in [0, 255], int32 (batch,))`. Its cardinality is
            known unless `first_batch` lies within an epoch.

        Raises:
            ValueError: If there is no such split.
        """
        files = self._files(split)
        order = {"shuffle": shuffle, "balanced": balanced, "seed": seed, "first_batch": first_batch, "share": share}
        kept = self._pixels(split) if cache else None
        if kept is not None:
            batches = pipeline.from_arrays(kept, files.labels, batch_size, **order)
        else:
            batches = pipeline.from_files(files, self.image_size, self.resize_mode, batch_size, **order)
            batches = batches.map(lambda images, labels: (tf.cast(images, tf.float32), labels))
        if augment is None:
            return batches
        count = -(-len(files) // batch_size)
        rows = None if share == pipeline.WHOLE else pipeline.rows_of_share(len(files), batch_size, share)
        return pipeline.augmented(batches, augment, seed, first_batch=first_batch, count=count, rows=rows)

    def to_csv(self, path: str | os.PathLike) -> None:
        """Writes which image is in which split, as a table that `"csv:FILE"` loads again, whatever is in the names.

        Args:
            path: The file to write, with the columns path, label and split; paths are relative to its folder, but
                not to another drive of Windows. It replaces a table that a data set wrote and nobody changed, and
                nothing else.

        Raises:
            ValueError: If there is another file of this name.
        """
        path = Path(path).expanduser().absolute()
        folder = path.parent.resolve()
        rows = [
            (_path_from(folder, files.root.resolve() / name), self.class_names[label], split)
            for split, files in self.splits.items()
            for name, label in zip(files.names, files.labels, strict=True)
        ]
        options = {"encoding": "utf-8-sig", "errors": "surrogateescape", "newline": ""}
        with (
            outputs.replacing(TABLE_OF_SPLITS, path) as temporary,
            (temporary / path.name).open("w", **options) as file,
        ):
            csv.writer(file, quoting=csv.QUOTE_ALL).writerows([("path", "label", "split"), *rows])

    def class_weights(self) -> dict[int, float]:
        """Weighs each class by how rare it is among the training images, so that all together weigh the same.

        Returns:
            Label to `n / (classes * n of the class)`, as scikit-learn's "balanced" has it; for `fit(class_weight=…)`.
        """
        labels = self._files("train").labels
        present = np.unique(labels)
        weights = compute_class_weight("balanced", classes=present, y=labels)
        return dict(zip(present.tolist(), weights.tolist(), strict=True))

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
        settings = [PIXELS_VERSION, self.image_size, self.resize_mode] + [self.bits] * (self.bits != 16)
        contents = [files.names, files.labels.tolist(), files.digests]
        return hashlib.sha256(json.dumps([settings, contents]).encode()).hexdigest()[:16]

    def _files(self, split: str) -> ImageFiles:
        if split not in self.splits:
            raise ValueError(f"There are the splits {', '.join(SPLITS)}. Received: {split!r}")
        return self.splits[split]

    def _pixels(self, split: str) -> np.ndarray | None:
        """All images of a split as `pixels.keep_pixels` keeps them, asked for once."""
        if split not in self._kept:
            self._kept[split] = pixels.keep_pixels(
                self._files(split), self.image_size, self.resize_mode, self.fingerprint(split)
            )
        return self._kept[split]


def _path_from(folder: Path, path: Path) -> str:
    """Writes a path relative to a folder, or as it is where it lies on another drive of Windows."""
    try:
        return Path(os.path.relpath(path, folder)).as_posix()
    except ValueError:
        return path.as_posix()
