"""Checks of the exercises to lesson 00: log K, kernels, a gradient step, learning rates, a loss, overfitting."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from effnet_helpers.exercises.core import Exercise, Mistake, close

import numpy as np

LOSSES = {2: 0.66, 7: 2.4, 120: 4.5, 1000: 7.1}  # of exercise 00.1, by the number of classes


def _alarms(log: Callable[[float], float]) -> set[int]:
    return {classes for classes, loss in LOSSES.items() if loss > log(classes)}


def _means(kernel: Any) -> tuple[float, float]:
    """What a kernel gives in the middle of a bright surface, and of a bright pixel in the dark."""
    weights = np.asarray(kernel, "float64").reshape(3, 3)
    return weights.sum(), weights[1, 1]


def _is_mean_of_nine(kernel: Any) -> bool:
    return bool(np.allclose(kernel, np.mean(kernel)) and np.isclose(_means(kernel)[0], 1))


def _is_detail(kernel: Any) -> bool:
    around = np.delete(np.asarray(kernel, "float64").ravel(), 4)
    return bool(np.allclose(around, around[0]) and np.allclose(_means(kernel), (0, 1)))


def _moved(step: Callable, rate: float) -> tuple[np.ndarray, np.ndarray]:
    """Where a step goes on a small problem, and where one against the gradient goes, found by trying."""
    drawn = np.random.default_rng(7)
    x, w = drawn.normal(size=(20, 3)), drawn.normal(size=3)
    y = (drawn.random(20) > 0.5).astype("float64")

    def loss(weights: np.ndarray) -> float:
        return float(np.mean(np.logaddexp(0, x @ weights) - y * (x @ weights)))

    nudges = 1e-5 * np.eye(3)
    downhill = np.array([loss(w - nudge) - loss(w + nudge) for nudge in nudges]) / 2e-5
    return np.asarray(step(w.copy(), x, y, rate)) - w, rate * downhill


def _goes(step: Callable, factor: float) -> bool:
    return all(np.allclose(moved, factor * down, rtol=1e-3) for moved, down in (_moved(step, 0.5), _moved(step, 0.1)))


def _settles(descend: Callable, rate: float) -> bool:
    return bool(np.ptp(np.asarray(descend(rate))[-10:], axis=0).max() < 0.01)


def _costs(loss: Callable) -> tuple[float, float]:
    """What a loss says to answers that are sure and right, and to guesses, among seven classes."""
    sure, guesses = np.eye(7, dtype="float32"), np.full((7, 7), 1 / 7, "float32")
    return tuple(float(np.mean(loss(np.arange(7), given))) for given in (sure, guesses))


EXERCISES = {
    "00.1": Exercise(
        right=lambda answer: {*answer} == _alarms(math.log),
        why="guessing among K classes costs log K: 0.69, 1.95, 4.79 and 6.91 here, and these two are above it",
        hint="compare each loss with log K: doubling the classes adds 0.69 to it, ten times the classes add 2.3",
        form="a list of numbers of classes, such as [2, 120]",
        mistakes={
            "largest": Mistake(
                lambda answer: {*answer} == {120, 1000},
                "more classes may cost more. A loss is large or small only beside log K of its own K",
            ),
            "base_10": Mistake(
                lambda answer: {*answer} == _alarms(math.log10),
                "that takes the logarithm of base 10. Losses use the natural one, which is 2.3 times as large",
            ),
            "base_2": Mistake(
                lambda answer: {*answer} == _alarms(math.log2),
                "that takes the logarithm of base 2. Losses use the natural one, which is 0.69 times as large",
            ),
        },
    ),
    "00.2": Exercise(
        right=lambda answer: _is_mean_of_nine(answer[0]) and _is_detail(answer[1]),
        why="weights that add up to 1 keep a surface as it is, weights that add up to 0 leave nothing of it",
        hint="lay each kernel over a surface where all pixels are 100: what should come out, 100 or 0?",
        form="two arrays of three rows and three columns",
        mistakes={
            "not_a_mean": Mistake(
                lambda answer: np.allclose(answer[0], 1),
                "`blur` adds nine pixels up, so a surface becomes nine times as bright. Their mean is wanted",
            ),
            "nine_neighbours": Mistake(
                lambda answer: np.isclose(_means(answer[1])[0], 0) and np.isclose(_means(answer[1])[1], 8 / 9),
                "`detail` subtracts the mean of all nine pixels. Leave the middle one out of it",
            ),
            "sum_of_neighbours": Mistake(
                lambda answer: np.isclose(_means(answer[1])[0], 0) and _means(answer[1])[1] > 1,
                "`detail` gives a multiple of it: the pixel counts once, its neighbours by their mean",
            ),
        },
    ),
    "00.3": Exercise(
        right=lambda answer: _goes(answer, 1),
        why="the weights move against the gradient, as far as the rate says; a loss tried a little to each side agrees",
        hint="compute p, then p − y, then `x.T @ (p - y)` divided by the number of examples: that is the gradient",
        form="a function of w, x, y and rate that returns the new weights",
        mistakes={
            "uphill": Mistake(
                lambda answer: _goes(answer, -1), "that goes up: the gradient points to where the loss grows"
            ),
            "summed": Mistake(
                lambda answer: _goes(answer, 20),
                "your step is too long by the number of examples: the gradient is a mean over them, not a sum",
            ),
            "no_rate": Mistake(
                lambda answer: np.allclose(_moved(answer, 0.5)[0], _moved(answer, 0.1)[0]),
                "the direction does not depend on the rate, but the length of the step should",
            ),
        },
    ),
    "00.4": Exercise(
        right=lambda answer: _settles(answer[1], answer[0] - 2) and not _settles(answer[1], answer[0] + 2),
        why="the steeper the valley's sides bend, the smaller the rate that still settles in it",
        hint="try rates in steps of 1, and look how far the last ten positions of each walk are apart",
        form="a number, and the function `descend`",
        mistakes={
            "too_small": Mistake(
                lambda answer: _settles(answer[1], answer[0] + 2), "at a rate that is larger by 2 the walk settles, too"
            ),
            "too_large": Mistake(
                lambda answer: not _settles(answer[1], answer[0] - 2),
                "at a rate that is smaller by 2 the walk does not settle either",
            ),
        },
    ),
    "00.5": Exercise(
        right=lambda answer: _costs(answer)[0] < 0.01 and abs(_costs(answer)[1] - math.log(7)) < 0.01,
        why="`from_logits=True` applies softmax once more, and softmax of probabilities is never sure",
        hint="what goes in here, scores or probabilities? One argument of the loss says which of them it will get",
        form="a loss: a function of labels and probabilities",
        mistakes={
            "from_logits": Mistake(
                lambda answer: _costs(answer)[0] > 1,
                "sure and right still costs more than 1: the loss takes the probabilities for scores",
            ),
            "counts_errors": Mistake(
                lambda answer: _costs(answer)[0] == 0 and any(np.isclose(_costs(answer)[1], [6 / 7, 1 / 7])),
                "that is the share of wrong answers, which stands still when a weight moves a little. A loss must not",
            ),
            "moved_down": Mistake(
                lambda answer: _costs(answer)[0] < 0.01 and 0.1 < _costs(answer)[1] < 1.9,
                "sure and right costs 0 now, but guessing should cost log 7. The cause is still there",
            ),
        },
    ),
    "00.6": Exercise(
        right=lambda answer: not answer[0] and close(answer[1], 0.6, 0.85) and close(answer[2], 0.25, 0.65),
        why="few units cannot learn squares by heart, but hardly what tells photographs apart either; with more images "
        "the network is able to learn, and learning by heart is harder",
        hint="train both networks, and compare what each does on squares that it has not seen",
        form="True or False, and two accuracies from 0 to 1",
        mistakes={
            "on_training": Mistake(
                lambda answer: answer[1] > 0.9,
                "that is the accuracy on the training squares, at which learning by heart is good. Look at the others",
            ),
            "said_it_holds": Mistake(
                lambda answer: answer[0] and answer[1] > answer[2],
                "your own two accuracies say otherwise: which network does better on squares it has not seen?",
            ),
        },
    ),
}
