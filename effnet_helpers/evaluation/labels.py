"""Which labels to look at again: those that a model which has not seen the image finds hard to believe."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

from effnet_helpers import records
from effnet_helpers.evaluation.calibration import check_probabilities

import numpy as np
import pandas as pd


def out_of_fold_probabilities(
    features: np.ndarray,
    labels: np.ndarray,
    folds: int = 5,
    strength: float = 0.01,
    seed: int = 0,
    groups: Sequence[str] | None = None,
) -> np.ndarray:
    """Gives each image the probabilities of a linear head that was fitted without it.

    The head is the one of `training.solve_head`: features brought to mean 0 and variance 1, then logistic regression.

    Args:
        features: Floats `(images, channels)`, such as those of `training.extract_features` at the pooling layer.
        labels: Integers `(images,)`, with at least `folds` images, or groups of them, of each class that occurs.
        folds: How many heads, each fitted without one part of the images.
        strength: scikit-learn's `LogisticRegression(C=…)`.
        seed: Of the folds.
        groups: What each image must not be parted from, such as pictures of one patient: a head that has seen another
            of them knows too much. None parts all.

    Returns:
        float64 `(images, classes)`, rows that add up to 1.

    Raises:
        ValueError: If the shapes do not fit, or a class has fewer images, or groups, than there are folds, or none.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    features, labels = np.asarray(features, dtype=np.float32), np.asarray(labels)
    fits = features.ndim == 2 and labels.shape == (len(features),)
    records.expect(fits, "shape of features", features.shape, f"a row for each of {len(labels)} labels")
    units = pd.Series(range(len(labels)) if groups is None else [*groups])
    what = "images" if units.is_unique else "groups of images"
    fewest = int(units.groupby(labels).nunique().reindex(range(labels.max() + 1), fill_value=0).min())
    records.expect(fewest >= folds, f"{what} of the smallest class", fewest, f"at least {folds}, one for each fold")
    head = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=1000, tol=1e-3))
    kind, of = (StratifiedKFold, None) if units.is_unique else (StratifiedGroupKFold, units)
    parts = list(kind(folds, shuffle=True, random_state=seed).split(features, labels, of))
    whole = all(np.bincount(labels[learned], minlength=labels.max() + 1).all() for learned, _ in parts)
    records.expect(whole, "classes to learn without a fold", "one is missing", "fewer folds, or smaller groups")
    return cross_val_predict(head, features, labels, cv=parts, method="predict_proba")


def suspected_labels(probabilities: np.ndarray, labels: np.ndarray, class_names: Sequence[str]) -> pd.DataFrame:
    """Lists images whose label is probably wrong, by confident learning (Northcutt et al. 2021, arXiv 1911.00068).

    An image is suspected where another class is more probable than is usual for images of that class; so a model that
    is unsure of everything suspects little. Nothing says which side is right: look at the pictures. A label that is the
    only one of its class is not judged, and a warning says so.

    Args:
        probabilities: Floats `(images, classes)` of models that have not seen the image, from
            `out_of_fold_probabilities`.
        labels: Integers `(images,)`, as they were given.
        class_names: One name per class.

    Returns:
        A row for each suspect, surest first: index (the image's position), label, suggested (both names), quality (the
        probability of the label, low for a sure suspect).

    Raises:
        ValueError: If probabilities, labels and names do not fit.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "IProgress not found")  # of its progress bars, which we do not show
        from cleanlab.filter import find_label_issues

    values, labels = check_probabilities(probabilities, labels), np.asarray(labels)
    records.expect(values.shape[1] == len(class_names), "class_names", len(class_names), f"{values.shape[1]} of them")
    if alone := [class_names[label] for label, count in enumerate(np.bincount(labels)) if count == 1]:
        warnings.warn(
            f"The one label of {records.listed(alone)} cannot be judged: it has no other beside it", stacklevel=2
        )
    with warnings.catch_warnings(action="ignore", category=UserWarning):  # cleanlab's, of these and of classes without
        suspects = find_label_issues(labels, values, return_indices_ranked_by="self_confidence", n_jobs=1)
    names = np.array([*class_names, ""], dtype=object)[:-1]  # as objects, whatever their types
    return pd.DataFrame(
        {
            "index": suspects,
            "label": names[labels[suspects]],
            "suggested": names[values[suspects].argmax(axis=1)],
            "quality": values[suspects, labels[suspects]],
        }
    )
