"""How good a classifier is, how sure that figure is, and where it errs.

Every figure and table of a `Report` comes from the probabilities of one pass over a split.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from effnet_helpers.runtime import keras

import numpy as np
import pandas as pd
from scipy.stats import binomtest
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support


@dataclass(frozen=True)
class Mistake:
    """A wrong answer: the image's index in its split, both class names, the probability of the wrong one."""

    index: int
    true: str
    predicted: str
    confidence: float


@dataclass(frozen=True, eq=False)
class Report:
    """A model's answers on one split, and the figures that follow from them.

    Attributes:
        accuracy: Share of right answers, in [0, 1].
        interval: Its 95 % interval (Wilson), lower and upper end.
        confusion: Counts `(classes, classes)`; rows are true classes, columns predicted ones.
        per_class: One row a class: class, images, precision, recall, recall_low, recall_high.
        probabilities: float32 `(images, classes)`.
        labels: int32 `(images,)`.
        class_names: One name per class.
    """

    accuracy: float
    interval: tuple[float, float]
    confusion: np.ndarray
    per_class: pd.DataFrame
    probabilities: np.ndarray
    labels: np.ndarray
    class_names: tuple[str, ...]

    def __str__(self) -> str:
        low, high = self.interval
        share = f"{100 * self.accuracy:.1f} % of {len(self.labels):,} right"
        return f"{share} (95 % interval {100 * low:.1f}–{100 * high:.1f} %)"

    @property
    def tally(self) -> tuple[int, int]:
        """How many answers are right, and how many there are: what a model's card keeps of a test."""
        return int(np.trace(self.confusion)), len(self.labels)

    def one_against_rest(self, class_name: str) -> float:
        """The share of images that are rightly called this class or rightly called anything else, in [0, 1].

        Args:
            class_name: One of `class_names`; to take two others for each other is no mistake then.
        """
        position = self.class_names.index(class_name)
        return float(np.mean((self.probabilities.argmax(axis=1) == position) == (self.labels == position)))

    def mistakes(self, top: int = 6) -> list[Mistake]:
        """Returns the wrong answers that the model was surest of, surest first.

        Args:
            top: How many at most.
        """
        predicted, confidence = self.probabilities.argmax(axis=1), self.probabilities.max(axis=1)
        names = self.class_names
        wrong = np.flatnonzero(predicted != self.labels)
        surest = wrong[np.argsort(-confidence[wrong], kind="stable")][:top]
        return [Mistake(int(i), names[self.labels[i]], names[predicted[i]], float(confidence[i])) for i in surest]


def evaluate(model: keras.Model, dataset: Any, split: str = "val", batch_size: int = 32) -> Report:
    """Classifies every image of a split and reports on the answers.

    Args:
        model: Takes float32 pixels `(batch, height, width, 3)` in [0, 255], gives probabilities `(batch, classes)`.
        dataset: A `data.ImageDataset`.
        split: `"train"`, `"val"` or `"test"`. Choose between models on `"val"`; look at `"test"` once, at the end.
        batch_size: Images per step. It changes memory and speed, not the result.

    Returns:
        A `Report`.

    Raises:
        ValueError: If the model's outputs do not fit the data set's classes.
    """
    probabilities = model.predict(dataset.batches(split, batch_size), verbose=0)
    return report_from_probabilities(probabilities, dataset.labels(split), dataset.class_names)


def report_from_probabilities(probabilities: np.ndarray, labels: np.ndarray, class_names: Sequence[str]) -> Report:
    """Builds a report from the probabilities a model gave and the labels that were right.

    Args:
        probabilities: Floats `(images, classes)`, rows that add up to 1.
        labels: Integers `(images,)`, the index of the right class.
        class_names: One name per class.

    Returns:
        A `Report`. The precision of a class that was never predicted, and the recall of one without images, is NaN.

    Raises:
        ValueError: If there are no images, the shapes disagree, a label is out of range, or rows are not probabilities.
    """
    probabilities, labels = np.asarray(probabilities, dtype=np.float64), np.asarray(labels)
    count = len(class_names)
    if labels.ndim != 1 or len(labels) == 0 or probabilities.shape != (len(labels), count):
        raise ValueError(
            f"A report on {count} classes needs labels of shape (images,), at least one, and probabilities of shape "
            f"(images, {count}). Received: labels {labels.shape}, probabilities {probabilities.shape}"
        )
    if labels.min() < 0 or labels.max() >= count:
        raise ValueError(f"Labels must lie in 0 to {count - 1}. Received: {labels.min()} to {labels.max()}")
    sums = probabilities.sum(axis=1)
    if not (np.all(probabilities >= 0) and np.allclose(sums, 1.0, atol=0.01)):
        values = f"values from {probabilities.min():.4g} to {probabilities.max():.4g}"
        raise ValueError(
            f"Each row must hold probabilities that add up to 1; apply softmax to logits first. Received: {values}, "
            f"sums from {sums.min():.4g} to {sums.max():.4g}"
        )
    predicted = probabilities.argmax(axis=1)
    correct = int((predicted == labels).sum())
    return Report(
        accuracy=correct / len(labels),
        interval=accuracy_interval(correct, len(labels)),
        confusion=confusion_matrix(labels, predicted, labels=range(count)),
        per_class=_per_class_table(labels, predicted, class_names),
        probabilities=probabilities.astype(np.float32),
        labels=labels.astype(np.int32),
        class_names=tuple(class_names),
    )


def majority_baseline(dataset: Any, split: str = "val") -> Report:
    """Reports on always answering the most frequent class of the training split: what any model has to beat.

    Args:
        dataset: A `data.ImageDataset`.
        split: The split that is scored.

    Returns:
        A `Report` whose probabilities are 1 for that class.
    """
    labels = dataset.labels(split)
    answers = np.zeros((len(labels), len(dataset.class_names)))
    answers[:, np.bincount(dataset.labels("train")).argmax()] = 1
    return report_from_probabilities(answers, labels, dataset.class_names)


def accuracy_interval(correct: int, total: int) -> tuple[float, float]:
    """Returns Wilson's 95 % interval for a proportion, recommended by Brown, Cai and DasGupta 2001.

    It stays within 0 and 1 and keeps a width where every answer is right. It covers the choice of these images from all
    such images, not the spread between training runs.

    Args:
        correct: Right answers.
        total: All answers, at least 1.

    Returns:
        Lower and upper end, in [0, 1].

    Raises:
        ValueError: If the counts make no proportion.
    """
    if not 0 <= correct <= total or total == 0:
        raise ValueError(f"An interval needs 0 <= correct <= total and total > 0. Received: {correct} of {total}")
    interval = binomtest(int(correct), int(total)).proportion_ci(confidence_level=0.95, method="wilson")
    return float(interval.low), float(interval.high)


def _per_class_table(labels: np.ndarray, predicted: np.ndarray, class_names: Sequence[str]) -> pd.DataFrame:
    precision, recall, _, images = precision_recall_fscore_support(
        labels, predicted, labels=range(len(class_names)), zero_division=np.nan
    )
    names = pd.Series(class_names, dtype=object)  # that of a folder need not be UTF-8, which pandas' own texts must
    table = pd.DataFrame({"class": names, "images": images, "precision": precision, "recall": recall})
    table[["recall_low", "recall_high"]] = [
        accuracy_interval(round(share * total), total) if total else (np.nan, np.nan)
        for share, total in zip(recall, images, strict=True)
    ]
    return table
