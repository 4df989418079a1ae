"""Checks of the exercises of lesson 07: few labels."""

from collections.abc import Callable, Sequence

from effnet_helpers.exercises.core import Exercise, Mistake, close

import numpy as np


def _pools_like(pooled: Callable, formula: Callable[[np.ndarray, float], np.ndarray]) -> bool:
    """Whether the learner's pooling gives what a formula gives, at three sharpnesses."""
    scores = np.random.default_rng(2).normal(size=(6, 3))
    return all(
        np.shape(received := pooled(scores.copy(), sharpness)) == (3,)
        and np.allclose(received, formula(scores, sharpness))
        for sharpness in (0.1, 0.5, 4.0)
    )


DRAWS = {  # accuracies of the draws by number of labels, and what is enough for 0.9
    "steady": ({10: [0.7, 0.8], 20: [0.9, 0.95], 40: [0.96, 0.97]}, 20),
    "scattered": ({10: [0.7, 0.8], 20: [0.85, 0.99], 40: [0.92, 0.97]}, 40),
    "lucky": ({10: [0.5, 0.91], 20: [0.95, 0.96]}, 20),
    "dip": ({10: [0.91, 0.92], 20: [0.89, 0.95], 40: [0.93, 0.94]}, 40),
    "never": ({10: [0.5, 0.6], 20: [0.6, 0.7]}, 0),
    "always": ({10: [0.93, 0.96], 20: [0.95, 0.97]}, 10),
}


def _enough(enough: Callable, case: str) -> int:
    import pandas as pd

    rows = [(labels, draw, right) for labels, all_ in DRAWS[case][0].items() for draw, right in enumerate(all_)]
    table = pd.DataFrame(rows, columns=["labels", "draw", "accuracy"])
    return enough(table.sample(frac=1, random_state=0), 0.9)


def _correlated() -> np.ndarray:
    mixing = np.array([[3.0, 1.0, 0.5], [0.0, 1.0, 0.8], [0.0, 0.0, 0.3]])
    return np.random.default_rng(4).normal(5.0, 1.0, (500, 3)) @ mixing


def _covariance(whiten: Callable) -> np.ndarray:
    return np.cov(np.asarray(whiten(_correlated())).T)


def _is_white(whiten: Callable) -> bool:
    means = np.asarray(whiten(_correlated())).mean(axis=0)
    return np.allclose(means, 0, atol=0.01) and np.allclose(_covariance(whiten), np.eye(3), atol=0.01)


def _varies_by(whiten: Callable, power: int) -> bool:
    """Whether the columns are uncorrelated, and vary by that power of the variances that were there."""
    wanted = np.sort(np.linalg.eigvalsh(np.cov(_correlated().T)) ** power)
    covariance = _covariance(whiten)
    order = np.argsort(np.diag(covariance))
    return np.allclose(covariance[order][:, order], np.diag(wanted), rtol=0.01, atol=0.001)


def _only(answer: Sequence[str], letters: str) -> bool:
    return set(answer) == set(letters)


EXERCISES = {
    "07.1": Exercise(
        right=lambda answer: close(answer, 0.03, 0.032),
        why="an average over 256 regions keeps a 256th of what happens in one of them",
        hint="write the average as a sum over all regions, divided by how many there are: which term grows?",
        form="a number",
        mistakes={
            "not_diluted": Mistake(
                lambda answer: close(answer, 8, 8),
                "that is what happens in the one region. All others stay as they are",
            ),
            "sixteen_regions": Mistake(
                lambda answer: close(answer, 0.5, 0.5), "16 × 16 regions are averaged, not 16 of them"
            ),
        },
    ),
    "07.2": Exercise(
        right=lambda answer: _pools_like(answer, lambda x, s: np.log(np.exp(s * x).mean(axis=0)) / s),
        why="with a small sharpness it is the mean, with a large one the maximum, and all regions have some say in it",
        hint="from the inside out: multiply, `np.exp`, `np.mean` along the regions, `np.log`, divide",
        form="a function of scores and a sharpness that returns one number for each class",
        mistakes={
            "sum_for_mean": Mistake(
                lambda answer: _pools_like(answer, lambda x, s: np.log(np.exp(s * x).sum(axis=0)) / s),
                "with a sum, the result grows with the number of regions: take the mean of the exponentials",
            ),
            "not_divided": Mistake(
                lambda answer: _pools_like(answer, lambda x, s: np.log(np.exp(s * x).mean(axis=0))),
                "divide by the sharpness at the end, or scores grow with it",
            ),
            "mean_of_logarithms": Mistake(
                lambda answer: _pools_like(answer, lambda x, s: x.mean(axis=0)),
                "this is the plain mean of the scores. The mean belongs between the exponential and the logarithm",
            ),
            "over_classes": Mistake(
                lambda answer: np.shape(answer(np.zeros((6, 3)), 1.0)) == (6,),
                "this gives a number for each region. Regions are the first axis, `axis=0`, and it is they that go",
            ),
        },
    ),
    "07.3": Exercise(
        right=lambda answer: all(_enough(answer, case) == wanted for case, (_, wanted) in DRAWS.items()),
        why="who draws once gets one of these draws, and nobody says which",
        hint="find the largest number of labels with which a draw failed: all numbers above it are enough",
        form="a function of a table and a target that returns a number of labels",
        mistakes={
            "best_draw": Mistake(
                lambda answer: _enough(answer, "lucky") == 10,
                "one lucky draw is enough for your function. Whoever draws once may be less lucky",
            ),
            "on_average": Mistake(
                lambda answer: _enough(answer, "scattered") == 20,
                "the mean of the draws reaches the target there, but one of the draws does not",
            ),
            "more_left_out": Mistake(
                lambda answer: _enough(answer, "dip") == 10,
                "with more labels a draw fails again, so the first number was luck: every larger one has to hold, too",
            ),
        },
    ),
    "07.4": Exercise(
        right=_is_white,
        why="turned to the directions in which they vary, and divided by how much, all directions count alike",
        hint="`centred @ directions` turns; then divide each column by the square root of its variance",
        form="a function of an array that returns an array of the same shape",
        mistakes={
            "only_turned": Mistake(
                lambda answer: _varies_by(answer, 1),
                "nothing is correlated any more, but the columns still differ in variance",
            ),
            "divided_by_the_variance": Mistake(
                lambda answer: _varies_by(answer, -1),
                "the columns are uncorrelated, but their variance is not 1: divide by the standard deviation",
            ),
            "only_scaled": Mistake(
                lambda answer: np.allclose(np.diag(_covariance(answer)), 1, atol=0.01),
                "each column has variance 1, but they are still correlated: turn them to `directions` first",
            ),
            "rows_for_columns": Mistake(
                lambda answer: not np.allclose(np.corrcoef(answer(_correlated()).T), np.eye(3), atol=0.01),
                "the columns are still correlated: is each direction a column of `directions`, or a row?",
            ),
        },
    ),
    "07.5": Exercise(
        right=lambda answer: _only(answer, "AD"),
        why="neither of them let a scored image decide anything: one chose on other images, one by the training loss",
        hint="ask of each what would have been reported had the test images been others",
        form="a list of letters",
        mistakes={
            "best_of_ten": Mistake(
                lambda answer: "B" in answer, "the best of ten draws was chosen by its own test images"
            ),
            "another_seed": Mistake(
                lambda answer: "C" in answer,
                "another seed changes the weights; the width was still chosen by the same test images",
            ),
            "training_loss_left_out": Mistake(
                lambda answer: _only(answer, "A"), "somebody else chose too, but without looking at any test image"
            ),
        },
    ),
}
