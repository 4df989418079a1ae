"""Where to raise an alarm: at most so many of what matters may slip through, and what that costs in false alarms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from effnet_helpers import records
from effnet_helpers.evaluation.calibration import check_probabilities
from effnet_helpers.evaluation.report import accuracy_interval
from effnet_helpers.evaluation.sets import lower_quantile

import numpy as np


@dataclass(frozen=True)
class OperatingPoint:
    """When to raise an alarm.

    Attributes:
        classes: Names of those that must not slip through.
        recall: The share of them that is to be found, in (0, 1).
        threshold: An alarm is raised where their probabilities add up to at least this.
        promised: Whether there were images enough to promise that recall; with fewer the threshold is that of the
            least suspicious of them, and new ones may well lie below.
    """

    classes: tuple[str, ...]
    recall: float
    threshold: float
    promised: bool


@dataclass(frozen=True)
class Alarms:
    """What an operating point did on labelled images.

    Attributes:
        found: Images of its classes with an alarm.
        wanted: All images of its classes.
        false: Images of other classes with an alarm.
        others: All images of other classes.
    """

    found: int
    wanted: int
    false: int
    others: int

    @property
    def recall(self) -> float:
        """Share of what matters that was found."""
        return self.found / self.wanted

    @property
    def recall_interval(self) -> tuple[float, float]:
        """Wilson's 95 % interval of it."""
        return accuracy_interval(self.found, self.wanted)

    @property
    def false_alarms(self) -> float:
        """Share of the other images that raised an alarm."""
        return self.false / self.others

    @property
    def false_alarm_interval(self) -> tuple[float, float]:
        """Wilson's 95 % interval of it."""
        return accuracy_interval(self.false, self.others)

    def __str__(self) -> str:
        parts = [
            f"{100 * share:.1f} % of {total:,} {what} (95 % interval {100 * low:.1f}–{100 * high:.1f} %)"
            for share, total, what, (low, high) in (
                (self.recall, self.wanted, "found", self.recall_interval),
                (self.false_alarms, self.others, "others raise a false alarm", self.false_alarm_interval),
            )
        ]
        return "; ".join(parts)


def choose_operating_point(
    probabilities: np.ndarray,
    labels: np.ndarray,
    class_names: Sequence[str],
    classes: Sequence[str],
    recall: float = 0.99,
) -> OperatingPoint:
    """Chooses the threshold with the fewest alarms that finds a stated share of some classes.

    As with prediction sets, the rank among n images allows for n being finite, so that the recall is to be expected of
    new images and not only reached on these.

    Args:
        probabilities: Floats `(images, classes)`, of validation images.
        labels: Integers `(images,)`.
        class_names: One name per class.
        classes: Which of them must not slip through, such as the defective ones.
        recall: The share of them that is to be found, in (0, 1).

    Returns:
        An `OperatingPoint`. Its promise takes recall / (1 − recall) images: 99 for 0.99.

    Raises:
        ValueError: If a class is unknown, all or none are given, there is no image of them, or the recall is not
            between 0 and 1.
    """
    values, wanted = check_probabilities(probabilities, labels), _wanted(class_names, classes)
    records.expect(0 < recall < 1, "recall", recall, "a share between 0 and 1")
    inside = values[np.isin(labels, wanted)][:, wanted].sum(axis=1)
    records.expect(len(inside) > 0, "images of the classes", 0, "at least one")
    threshold, promised = lower_quantile(inside, 1 - recall)
    return OperatingPoint(tuple(classes), recall, threshold if promised else float(inside.min()), promised)


def raises_alarm(point: OperatingPoint, probabilities: np.ndarray, class_names: Sequence[str]) -> np.ndarray:
    """Says for each image whether there is an alarm.

    Args:
        point: When to raise one.
        probabilities: Floats `(images, classes)`, made as those that the point was chosen on.
        class_names: One name per class.

    Returns:
        bool `(images,)`.
    """
    return check_probabilities(probabilities)[:, _wanted(class_names, point.classes)].sum(axis=1) >= point.threshold


def count_alarms(
    point: OperatingPoint, probabilities: np.ndarray, labels: np.ndarray, class_names: Sequence[str]
) -> Alarms:
    """Counts what an operating point finds on labelled images, and what it costs.

    Args:
        point: When to raise an alarm.
        probabilities: Floats `(images, classes)`.
        labels: Integers `(images,)`.
        class_names: One name per class.

    Returns:
        An `Alarms`, whose shares come with 95 % intervals.

    Raises:
        ValueError: If there is no image of its classes, or none of another.
    """
    check_probabilities(probabilities, labels)
    alarm, is_wanted = (
        raises_alarm(point, probabilities, class_names),
        np.isin(labels, _wanted(class_names, point.classes)),
    )
    both = bool(is_wanted.any() and not is_wanted.all())
    records.expect(both, "images of the classes", f"{is_wanted.sum()} of {len(is_wanted)}", "some of them, some others")
    others = ~is_wanted
    return Alarms(*map(int, ((alarm & is_wanted).sum(), is_wanted.sum(), (alarm & others).sum(), others.sum())))


def _wanted(class_names: Sequence[str], classes: Sequence[str]) -> list[int]:
    known = list(class_names)
    fits = 0 < len(classes) < len(known) and all(name in known for name in classes)
    records.expect(fits, "classes", list(classes), f"some of {records.listed(known)}, not all")
    return [known.index(name) for name in classes]
