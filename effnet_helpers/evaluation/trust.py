"""Everything of this room that should travel with a model, learned from validation images and applied to new ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from effnet_helpers.evaluation.belonging import centre_distance, class_centres, doubt, upper_threshold
from effnet_helpers.evaluation.calibration import apply_temperature, fit_temperature
from effnet_helpers.evaluation.operating_point import OperatingPoint, choose_operating_point, raises_alarm
from effnet_helpers.evaluation.sets import conformal_thresholds, prediction_sets
from effnet_helpers.models import Trust, pack_centres

import numpy as np

COVERAGE, ALARM_RECALL, FALSE_MARKS = 0.9, 0.99, 0.05


@dataclass(frozen=True, eq=False)
class Judged:
    """Answers, and when to trust them.

    Attributes:
        probabilities: float64 `(images, classes)`, calibrated.
        sets: bool `(images, classes)`: the classes that it may be.
        none_of_these: bool `(images,)`: marked as none of the classes.
        alarm: bool `(images,)`, or None where the model has no operating point.
    """

    probabilities: np.ndarray
    sets: np.ndarray
    none_of_these: np.ndarray
    alarm: np.ndarray | None


def fit_trust(
    probabilities: np.ndarray,
    labels: np.ndarray,
    class_names: Sequence[str],
    *,
    features: np.ndarray | None = None,
    train_features: np.ndarray | None = None,
    train_labels: np.ndarray | None = None,
    coverage: float = COVERAGE,
    alarm_classes: Sequence[str] = (),
    alarm_recall: float = ALARM_RECALL,
    false_marks: float = FALSE_MARKS,
    kept_apart: bool = True,
) -> Trust:
    """Learns from validation images when to trust a model: temperature, sets, none of the classes, operating point.

    Sets promise their coverage within each class where each has images enough for that, and over all otherwise. The
    temperature is fitted on the same images as the thresholds: a single number, which does not move what they promise.

    Args:
        probabilities: Floats `(images, classes)`, what the model says of images it was not trained on.
        labels: Integers `(images,)`.
        class_names: One name per class.
        features: Floats `(images, channels)`, the same images at the pooling layer; without them only the doubt of the
            softmax tells what is none of the classes.
        train_features: The same of training images, whose classes' centres are what is near.
        train_labels: Their labels.
        coverage: Promised of sets.
        alarm_classes: Classes that must not slip through; none for no operating point.
        alarm_recall: Promised of these.
        false_marks: The share of pictures of the classes that may be marked as none of them; half by each score.
        kept_apart: Whether these images chose nothing else before.

    Returns:
        A `models.Trust`, for `models.save(…, trust=…)`.

    Raises:
        ValueError: If the arguments do not fit each other.
    """
    temperature, labels = fit_temperature(probabilities, labels), np.asarray(labels)
    calibrated = apply_temperature(probabilities, temperature)
    enough = np.bincount(labels, minlength=len(class_names)).min() >= coverage / (1 - coverage) - 1e-9
    share, more = false_marks / 2, {}
    if features is None:
        share = false_marks
    else:
        centres = class_centres(train_features, train_labels)
        more |= {
            "distance": upper_threshold(centre_distance(features, centres), share),
            "centres": pack_centres(centres),
        }
    if alarm_classes:
        point = choose_operating_point(calibrated, labels, class_names, alarm_classes, alarm_recall)
        more |= {"alarm_classes": point.classes, "alarm_recall": point.recall}
        more |= {"alarm_threshold": point.threshold, "alarm_promised": point.promised}
    return Trust(
        images=len(labels),
        kept_apart=kept_apart,
        temperature=temperature,
        coverage=coverage,
        set_thresholds=conformal_thresholds(calibrated, labels, coverage, per_class=bool(enough)).tolist(),
        false_marks=false_marks,
        doubt=upper_threshold(doubt(calibrated), share),
        **more,
    )


def apply_trust(
    trust: Trust,
    probabilities: np.ndarray,
    class_names: Sequence[str],
    features: np.ndarray | None = None,
    distances: np.ndarray | None = None,
) -> Judged:
    """Says of new answers what they are worth.

    Args:
        trust: From `fit_trust`, or a model's card.
        probabilities: Floats `(images, classes)`, as the model gives them.
        class_names: One name per class.
        features: Floats `(images, channels)` at the pooling layer.
        distances: What `centre_distance` makes of them, where that is known already. Without either only the doubt of
            the softmax marks what is none of the classes.

    Returns:
        A `Judged`.
    """
    calibrated = apply_temperature(probabilities, trust.temperature)
    marked, centres = doubt(calibrated) > trust.doubt, trust.centre_array()
    if distances is None and features is not None and centres is not None:
        distances = centre_distance(features, centres)
    if distances is not None and trust.distance is not None:
        marked |= distances > trust.distance
    alarm = None
    if point := operating_point(trust):
        alarm = raises_alarm(point, calibrated, class_names)
    return Judged(calibrated, prediction_sets(calibrated, np.array(trust.set_thresholds)), marked, alarm)


def operating_point(trust: Trust) -> OperatingPoint | None:
    """Returns when a model raises an alarm; None where it has no operating point."""
    if not trust.alarm_classes:
        return None
    return OperatingPoint(trust.alarm_classes, trust.alarm_recall, trust.alarm_threshold, trust.alarm_promised)
