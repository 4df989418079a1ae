"""Several answers where one is not safe: sets of classes that hold the right one as often as was promised."""

from __future__ import annotations

from collections.abc import Sequence

from effnet_helpers import records
from effnet_helpers.evaluation.calibration import check_probabilities
from effnet_helpers.evaluation.report import accuracy_interval

import numpy as np
import pandas as pd


def conformal_thresholds(
    probabilities: np.ndarray, labels: np.ndarray, coverage: float = 0.9, per_class: bool = False
) -> np.ndarray:
    """Finds how probable a class must be to enter a set, so that sets hold the right class as often as promised.

    Split conformal prediction (Vovk et al. 2005; Sadinle et al. 2019 for the score, https://arxiv.org/abs/1609.00451):
    of the probabilities that the right classes of n images got, the ⌊(n + 1)(1 − coverage)⌋-th smallest. The promise
    holds on average over draws of these images and of new ones, for any model, as long as both are of the same kind.

    Args:
        probabilities: Floats `(images, classes)`, on images that neither trained nor chose the network.
        labels: Integers `(images,)`.
        coverage: The share of new images whose set is to hold the right class, in (0, 1).
        per_class: Whether to promise it within each class, from the images of that class alone.

    Returns:
        float64 `(classes,)`: a class enters a set where its probability is at least this. It is 0, so that the class
        enters every set, where there are too few images for the promise: fewer than coverage / (1 − coverage).

    Raises:
        ValueError: If the coverage is not between 0 and 1, or probabilities and labels do not fit.

    Example:
        >>> probabilities = [[0.9, 0.1], [0.6, 0.4], [0.3, 0.7], [0.2, 0.8]]
        >>> evaluation.conformal_thresholds(probabilities, [0, 0, 1, 0], coverage=0.6).tolist()
        [0.6, 0.6]
    """
    values, labels = check_probabilities(probabilities, labels), np.asarray(labels)
    records.expect(0 < coverage < 1, "coverage", coverage, "a share between 0 and 1")
    of_the_right_class, classes = values[np.arange(len(labels)), labels], range(values.shape[1])
    groups = [of_the_right_class[labels == label] for label in classes] if per_class else [of_the_right_class]
    found = [lower_quantile(group, 1 - coverage)[0] for group in groups]
    return np.array(found if per_class else found * len(classes))


def prediction_sets(probabilities: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """Collects for each image the classes that are probable enough.

    Where none is, as happens when a model is right more often than the promise asks for, the most probable class is the
    set: an empty set would be no answer, and one more class can only raise coverage.

    Args:
        probabilities: Floats `(images, classes)`, made as those that the thresholds were found on.
        thresholds: From `conformal_thresholds`.

    Returns:
        bool `(images, classes)`, at least one True in each row.

    Raises:
        ValueError: If there is not one threshold for each class.

    Example:
        >>> evaluation.prediction_sets([[0.9, 0.1], [0.55, 0.45], [0.5, 0.5]], [0.6, 0.45]).tolist()
        [[True, False], [False, True], [False, True]]
    """
    values, thresholds = check_probabilities(probabilities), np.asarray(thresholds)
    shape = values.shape[1:]
    records.expect(thresholds.shape == shape, "shape of thresholds", thresholds.shape, f"one for each class, {shape}")
    sets = values >= thresholds
    empty = np.flatnonzero(~sets.any(axis=1))
    sets[empty, values[empty].argmax(axis=1)] = True
    return sets


def set_coverage(sets: np.ndarray, labels: np.ndarray, class_names: Sequence[str]) -> pd.DataFrame:
    """Measures what sets hold: how often the right class, and how many classes.

    Args:
        sets: bool `(images, classes)`, from `prediction_sets`.
        labels: Integers `(images,)`.
        class_names: One name per class.

    Returns:
        A row for all images (its class is "all") and one for each class that has images: class, images, coverage, low,
        high (Wilson's 95 % interval), mean_size (classes in a set), single (share of sets of one class).

    Raises:
        ValueError: If the shapes do not fit.
    """
    sets, labels = np.asarray(sets, dtype=bool), np.asarray(labels)
    shape = (len(labels), len(class_names))
    records.expect(len(labels) > 0 and sets.shape == shape, "shape of sets", sets.shape, f"{shape}, at least one image")
    rows = []
    for name, inside in [("all", labels >= 0), *((name, labels == i) for i, name in enumerate(class_names))]:
        if count := int(inside.sum()):
            held, sizes = int(sets[np.flatnonzero(inside), labels[inside]].sum()), sets[inside].sum(axis=1)
            rows.append((name, count, held / count, *accuracy_interval(held, count), sizes.mean(), (sizes == 1).mean()))
    return pd.DataFrame(rows, columns=["class", "images", "coverage", "low", "high", "mean_size", "single"])


def lower_quantile(values: np.ndarray, share: float) -> tuple[float, bool]:
    """The value below which a new one falls with at most this probability; 0 and False with too few to tell."""
    rank = int(np.floor((len(values) + 1) * share + 1e-9))  # 0.1 is not quite a tenth in binary
    return (float(np.sort(values)[rank - 1]), True) if rank else (0.0, False)
