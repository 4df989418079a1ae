"""A head without gradient descent: logistic regression on frozen features, poured into the layers of `add_head`."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from effnet_helpers.data import ImageDataset
from effnet_helpers.models import freeze_backbone, split_after
from effnet_helpers.runtime import keras
from effnet_helpers.training.features import extract_features

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

STRENGTHS = (0.0001, 0.001, 0.01, 0.1)
"""scikit-learn's C: the smaller, the closer to zero all weights are kept. Few images per feature want small ones."""


@dataclass(frozen=True)
class Solved:
    """What solving a head gave.

    Attributes:
        strength: The one of `strengths` with the lowest validation loss.
        losses: Validation loss of each strength, in their order.
        val_accuracy: On the validation images, with the chosen one.
        seconds: Of solving, all strengths together.
        preparation_seconds: Of computing, or finding, the features.
        reused: Whether they were found in the cache.
    """

    strength: float
    losses: tuple[float, ...]
    val_accuracy: float
    seconds: float
    preparation_seconds: float
    reused: bool

    def __str__(self) -> str:
        prepared = "found in the cache" if self.reused else f"{self.preparation_seconds:.1f} s to prepare"
        return (
            f"{len(self.losses)} heads solved in {self.seconds:.1f} s (features {prepared}); the one of strength "
            f"{self.strength:g} is best, validation accuracy {self.val_accuracy:.3f}"
        )


def solve_head(
    model: keras.Model,
    dataset: ImageDataset,
    *,
    strengths: Sequence[float] = STRENGTHS,
    views: int = 1,
    augment: dict | None = None,
    balance: str | None = None,
    batch_size: int = 32,
    seed: int = 0,
) -> Solved:
    """Finds the best weighted sum of frozen features outright instead of by steps, and leaves it in the head.

    The head's batch normalization brings each feature to mean 0 and variance 1 over the training images; the rest is
    logistic regression, whose loss has one minimum. Dropout plays no part: regularization is the strength's, which is
    chosen on the validation images.

    Args:
        model: A backbone with a head of `models.add_head`. Its backbone is frozen here; its head is overwritten.
        dataset: Images and labels; "train" is learned from, "val" picks the strength.
        strengths: Values to try, of scikit-learn's `LogisticRegression(C=…)`.
        views: How many times each training image is shown, all but the first time augmented.
        augment: Arguments of `preprocessing.augment`, needed for more than one view.
        balance: "class_weights", or None to treat all images alike.
        batch_size: Images at a time while features are computed.
        seed: Of the augmentation.

    Returns:
        A `Solved`. The model gives the solution's probabilities, up to rounding.

    Raises:
        ValueError: If an argument is not one of the above.
    """
    if not strengths or min(strengths) <= 0:
        raise ValueError(f"strengths must be numbers above 0. Received: {strengths}")
    if balance not in (None, "class_weights"):
        raise ValueError(f'balance must be None or "class_weights" where a head is solved. Received: {balance!r}')
    freeze_backbone(model)
    backbone, _ = split_after(model, "head_pool")
    found = extract_features(backbone, dataset, ("train", "val"), batch_size, views=views, augment=augment, seed=seed)
    train, val = found["train"], found["val"]
    started = time.perf_counter()
    norm, dense = model.get_layer("head_bn"), model.get_layer("head_probabilities")
    values = np.asarray(train.values, dtype="float32")
    mean, variance = values.mean(axis=0, dtype="float64"), values.var(axis=0, dtype="float64")
    scale = np.sqrt(variance + norm.epsilon)
    inputs, val_inputs = (((part - mean) / scale).astype("float32") for part in (values, val.values))
    options = {"class_weight": "balanced" if balance else None, "max_iter": 1000, "tol": 1e-3}
    solutions = [LogisticRegression(C=strength, **options).fit(inputs, train.labels) for strength in strengths]
    losses = [log_loss(val.labels, each.predict_proba(val_inputs), labels=each.classes_) for each in solutions]
    best = solutions[int(np.argmin(losses))]
    norm.set_weights([np.ones_like(mean), np.zeros_like(mean), mean, variance])
    dense.set_weights(_softmax_weights(best, dense.units))
    seconds, accuracy = time.perf_counter() - started, float(best.score(val_inputs, val.labels))
    reused = train.reused and val.reused
    return Solved(best.C, tuple(losses), accuracy, seconds, train.seconds + val.seconds, reused)


def _softmax_weights(solution: LogisticRegression, units: int) -> list[np.ndarray]:
    """Kernel and bias of a softmax layer that gives the solution's probabilities."""
    coefficients, intercepts = solution.coef_, solution.intercept_
    if len(solution.classes_) == 2:  # scikit-learn keeps the second class's advantage only; halves keep the mean at 0
        coefficients, intercepts = np.vstack([-coefficients, coefficients]) / 2, np.repeat(intercepts, 2) / 2
        intercepts[0] *= -1
    return [coefficients.T, intercepts]
