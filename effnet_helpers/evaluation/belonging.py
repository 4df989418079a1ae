"""Whether a picture is any of the classes at all: softmax always names one, so something else has to be asked.

Two scores, since two kinds of picture are none of the classes. What looks like nothing the network was shown lies far
from every class in feature space, however sure the softmax is: the distance marks nearly all of it, the softmax a
third. What is much like the classes lies among them and is seldom found: the doubt of the softmax marks more left-out
flowers, the distance more textile. `evaluation.measured("belonging")` has the figures, on frozen features, and
`measured("belonging_fine_tuned")` some of before and after fine-tuning, for one network each: the distance still marks
all of other sets.
"""

from __future__ import annotations

from effnet_helpers import records
from effnet_helpers.evaluation.calibration import check_probabilities

import numpy as np
from scipy.special import entr


def class_centres(features: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Finds the direction in feature space in which each class lies: the mean of its features, brought to length 1.

    Args:
        features: Floats `(images, channels)` at the pooling layer, of training images.
        labels: Integers `(images,)`, from 0 up without a gap.

    Returns:
        float32 `(classes, channels)`.

    Raises:
        ValueError: If the shapes do not fit, or a class has no image.
    """
    features, labels = np.asarray(features, dtype=np.float32), np.asarray(labels)
    fits = features.ndim == 2 and labels.shape == (len(features),) and len(features) > 0
    records.expect(fits, "shape of features", features.shape, f"a row for each of {len(labels)} labels")
    counts = np.bincount(labels)
    records.expect(counts.min() > 0, "images by class", counts.tolist(), "at least one of each")
    return _unit(np.stack([features[labels == label].mean(axis=0) for label in range(len(counts))]))


def centre_distance(features: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Measures how far images lie from the nearest class: 1 less the cosine of the angle to its centre.

    Args:
        features: Floats `(images, channels)`.
        centres: From `class_centres`.

    Returns:
        float32 `(images,)`, from 0 to 2.

    Example:
        >>> centres = evaluation.class_centres([[2.0, 0.0], [0.0, 3.0]], [0, 1])
        >>> evaluation.centre_distance([[5.0, 0.0], [-1.0, 0.0]], centres).tolist()
        [0.0, 1.0]
    """
    return 1 - (_unit(np.asarray(features, dtype=np.float32)) @ np.asarray(centres, dtype=np.float32).T).max(axis=1)


def doubt(probabilities: np.ndarray) -> np.ndarray:
    """Measures how undecided answers are: their entropy in nats, 0 where one class has all, log K where all are equal.

    Args:
        probabilities: Floats `(images, classes)`, rows that add up to 1.

    Returns:
        float64 `(images,)`.

    Example:
        >>> evaluation.doubt([[1.0, 0.0], [0.5, 0.5]]).round(2).tolist()
        [0.0, 0.69]
    """
    return entr(check_probabilities(probabilities)).sum(axis=1)


def upper_threshold(scores: np.ndarray, share: float) -> float:
    """Finds the value that at most a stated share of new scores will exceed.

    Args:
        scores: Of validation images.
        share: Which share of pictures that do belong may be marked by mistake, in (0, 1).

    Returns:
        The ⌊(n + 1) share⌋-th largest of the n scores. With too few of them for that, the largest: about 1 in n + 1 new
        ones exceeds it then.

    Raises:
        ValueError: If there are no scores, or the share is not between 0 and 1.

    Example:
        >>> evaluation.upper_threshold(np.arange(99), 0.05)
        94.0
    """
    records.expect(0 < share < 1, "share", share, "a share between 0 and 1")
    records.expect(len(scores) > 0, "scores", 0, "at least one")
    rank = max(1, int(np.floor((len(scores) + 1) * share + 1e-9)))
    return float(np.sort(scores)[-rank])


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), np.finfo(np.float32).tiny)
