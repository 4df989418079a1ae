"""What `effnet train` learns about when to trust its model, and what its page says of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from effnet_helpers import evaluation, models, records, training
from effnet_helpers.course.train_settings import Settings
from effnet_helpers.data import ImageDataset, fold_by_hash, printable
from effnet_helpers.models import Trust
from effnet_helpers.runtime import keras

import numpy as np
import pandas as pd

ENOUGH = 20  # images of each class to keep apart, and to choose by: so many promise 95 %
NEAR = 100  # training images of each class, whose mean is its centre


def keep_apart(dataset: ImageDataset) -> tuple[ImageDataset, ImageDataset]:
    """Keeps half of the validation images of each class apart, groups of them whole, where there are enough.

    Args:
        dataset: All images.

    Returns:
        The set to train with, and one whose validation images say when to trust the model: the same set where one of
        the two would have fewer than `ENOUGH` of a class.
    """
    files = dataset.splits["val"]
    halves = [
        files.take(fold_by_hash(files.names, files.labels.tolist(), part, 2, groups=files.groups)) for part in (0, 1)
    ]
    if min(np.bincount(half.labels, minlength=dataset.num_classes).min() for half in halves) < ENOUGH:
        return dataset, dataset
    first, second = (replace(dataset, splits={**dataset.splits, "val": half}) for half in halves)
    return first, second


def alarm_classes(settings: Settings, dataset: ImageDataset) -> list[str]:
    """The classes of `--alarm`; a ValueError says so where they are none, all, or without validation images."""
    names = records.unlisted(settings.alarm or "")
    known = list(dataset.class_names)
    fits = len(names) < len(known) and all(name in known for name in names)
    records.expect(fits, "--alarm", settings.alarm, f"some of {records.listed(known)}, not all, separated by commas")
    missed = bool(names) and not _of(names, known, dataset.labels("val")).any()
    records.expect(not missed, "validation images of --alarm", 0, "at least one, to set its threshold by")
    return names


def fit(
    model: keras.Model,
    dataset: ImageDataset,
    apart: ImageDataset,
    settings: Settings,
    batch_size: int,
    processes: training.Processes | None = None,
) -> Trust:
    """Learns when to trust a trained model.

    Args:
        model: With a head of `models.add_head`.
        dataset: What it was trained with; from `keep_apart`, as is the next.
        apart: Whose validation images are learned from.
        settings: Of the training.
        batch_size: Images at a time.
        processes: Of which each looks at its share of them.
    """
    both = keras.layers.Concatenate(dtype="float32")([model.output, model.get_layer("head_pool").output])
    both = models.without_xla(keras.Model(model.input, both))

    def answers(images: ImageDataset, split: str) -> tuple[np.ndarray, np.ndarray]:
        if processes is None:
            found = both.predict(images.batches(split, batch_size), verbose=0)
        else:
            found = training.predict_in_shares(both, images, split, batch_size, processes)
        return found[:, : dataset.num_classes], found[:, dataset.num_classes :]

    near = dataset.with_fewer(NEAR)
    labels, seen = near.labels("train"), {}
    probabilities, features = answers(apart, "val")
    if len(np.unique(labels)) == dataset.num_classes:  # published sets may lack a class, which has no centre then
        _, of_training = answers(near, "train")
        seen = {"features": features, "train_features": of_training, "train_labels": labels}
    return evaluation.fit_trust(
        probabilities,
        apart.labels("val"),
        dataset.class_names,
        **seen,
        alarm_classes=alarm_classes(settings, dataset),
        alarm_recall=settings.alarm_recall,
        kept_apart=apart is not dataset,
    )


@dataclass(frozen=True)
class Measured:
    """What was learned about when to trust a model, measured on test images.

    Attributes:
        sentences: Of it.
        coverage: A row for all classes together and for each: `evaluation.set_coverage`.
        reliability: Before and after the temperature: `evaluation.reliability_table`.
    """

    sentences: list[str]
    coverage: pd.DataFrame
    reliability: dict[str, pd.DataFrame]


def measure(trust: Trust, test: evaluation.Report, class_names: Sequence[str]) -> Measured:
    """Measures on test images what was learned from others.

    Args:
        trust: What was learned.
        test: The model's answers on the test split.
        class_names: As the data set has them.
    """
    judged = evaluation.apply_trust(trust, test.probabilities, class_names)
    answers = {"as it is": test.probabilities, f"temperature {trust.temperature:.2f}": judged.probabilities}
    before, after = (evaluation.calibration_error(each, test.labels) for each in answers.values())
    table = evaluation.set_coverage(judged.sets, test.labels, [printable(name) for name in class_names])
    source = "which chose nothing else" if trust.kept_apart else "which also chose between weights, since they are few"
    every = table.iloc[0]
    sentences = [
        f"Learned from {trust.images:,} validation images, {source}; measured on test images.",
        f"Confidence and accuracy lie {before} apart, with the temperature of {trust.temperature:.2f} {after}.",
        f"Of sets that are to hold the right class in {trust.coverage:.0%} of cases, {every['coverage']:.1%} do (95 % "
        f"interval {every['low']:.1%}–{every['high']:.1%}), with {every['mean_size']:.2f} classes in one.",
        "effnet predict marks pictures that may be none of the classes, by mistake up to "
        f"{trust.most_false_marks:.0%} of those that are one.",
    ]
    if point := evaluation.operating_point(trust):
        counted: object = "test images are all of these classes, or none is, so this was not measured"
        if len(np.unique(_of(point.classes, class_names, test.labels))) == 2:  # splits of the user's may lack a class
            counted = evaluation.count_alarms(point, judged.probabilities, test.labels, class_names)
        promise = "" if point.promised else ", which so few images cannot promise"
        wanted = records.listed(map(printable, point.classes))
        sentences.append(f"An alarm is to find {point.recall:.0%} of {wanted}{promise}: {counted}.")
    reliability = {name: evaluation.reliability_table(each, test.labels) for name, each in answers.items()}
    return Measured(sentences, table, reliability)


def _of(names: Sequence[str], class_names: Sequence[str], labels: np.ndarray) -> np.ndarray:
    """Which labels are of these classes."""
    return np.isin(labels, [list(class_names).index(name) for name in names])
