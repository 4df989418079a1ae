"""Checks of the exercises to lesson 01: double scaling, squeezing, classes that mean the same, mirroring, a head."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from typing import Any

from effnet_helpers.exercises.core import Exercise, Mistake, close

import numpy as np

FEATURES, CLASSES = 1280, 7  # of exercise 01.5


def _cat(model: Any) -> float:
    """The probability that a model gives to all kinds of cat on a photograph of one."""
    from effnet_helpers import data, models, preprocessing

    image = preprocessing.load_image(data.sample_photos()["cat"], 224)[None]
    (guesses,) = models.decode_predictions(np.asarray(model(image)), top=20)
    return sum(guess.probability for guess in guesses if guess.class_name in ("tabby", "tiger cat", "Egyptian cat"))


def _scales(model: Any) -> list[float]:
    """The factors of all layers that rescale and stand in front of the network."""
    return [layer.scale for layer in model.layers if type(layer).__name__ == "Rescaling"]


def _stripes(squeezed: Callable) -> tuple[bool, bool, bool]:
    """Whether a wide and a tall picture come out in the right shape, with their ends, and without borders."""
    shapes, ends, borders = [], [], []
    for across in (True, False):
        picture = np.full((120, 480, 3) if across else (480, 120, 3), 128, "float32")
        picture[(slice(None), slice(48)) if across else slice(48)] = 255  # the first tenth is bright
        square = np.asarray(squeezed(picture), "float32")
        shapes.append(square.shape == (224, 224, 3))
        ends.append(square.max() > 200)
        borders.append(square.min() < 100)
    return all(shapes), all(ends), any(borders)


def _matrix() -> np.ndarray:
    """Columns of which 0 and 3, then 1 and 4 point the same way, while 2 and 5 are long."""
    columns = np.random.default_rng(3).normal(size=(40, 6))
    columns[:, 3] = 0.1 * (columns[:, 0] + 0.05 * columns[:, 5])
    columns[:, 4] = 0.1 * (columns[:, 1] + 0.2 * columns[:, 5])
    columns[:, 5] += columns[:, 2]
    return columns * [1, 1, 9, 1, 1, 9]


def _by_cosine(matrix: np.ndarray) -> list[tuple[int, int]]:
    def cosine(pair: tuple[int, int]) -> float:
        first, second = matrix[:, pair[0]], matrix[:, pair[1]]
        return float(first @ second / np.linalg.norm(first) / np.linalg.norm(second))

    return sorted(combinations(range(matrix.shape[1]), 2), key=cosine, reverse=True)


def _pairs(most_alike: Callable, count: int) -> list[tuple[int, int]]:
    return [(int(i), int(j)) for i, j in most_alike(_matrix(), count)]


def _mean_of(between_different: Callable, rows: Any) -> float:
    return float(between_different(np.asarray(rows, "float64")))


EXERCISES = {
    "01.1": Exercise(
        right=lambda answer: _cat(answer) > 0.5,
        why="the network scales pixels by itself, so they go in as 0 to 255 and nothing stands in front of it",
        hint="what does the network do with its pixels first, and what has been done to them before they come to it?",
        form="a model of Keras that takes pixels",
        mistakes={
            "divided_by_255": Mistake(
                lambda answer: any(np.isclose(scale, 1 / 255) for scale in _scales(answer)),
                "pixels are divided by 255 before the network scales them once more: what it sees is almost black",
            ),
            "minus_one_to_one": Mistake(
                lambda answer: len(_scales(answer)) > 0,
                "another scaling in front is still one too many: the network expects 0 to 255",
            ),
        },
    ),
    "01.2": Exercise(
        right=lambda answer: _stripes(answer) == (True, True, False),
        why="both ends of wide and tall pictures are there, and nothing was added; what is lost is their proportion",
        hint='`resize` takes a mode: "crop", "pad" or "squash". Its docstring says what each of them does',
        form="a function of a picture that returns another of shape (224, 224, 3)",
        mistakes={
            "cropped": Mistake(
                lambda answer: not _stripes(answer)[1], "a stripe at one end of a long picture is gone: it was cut off"
            ),
            "padded": Mistake(
                lambda answer: _stripes(answer)[2], "there are borders now that no pixel of the picture is in"
            ),
        },
    ),
    "01.3": Exercise(
        right=lambda answer: all(_pairs(answer, count) == _by_cosine(_matrix())[:count] for count in (1, 2, 5)),
        why="the cosine asks for the direction alone, and two columns of one direction score the same pictures alike",
        hint="divide each column by its length first; then all cosines are one product of two matrices",
        form="a function of a matrix and a count that returns a list of pairs",
        mistakes={
            "with_itself": Mistake(
                lambda answer: any(i == j for i, j in _pairs(answer, 4)), "a column is paired with itself"
            ),
            "each_twice": Mistake(
                lambda answer: len({*_pairs(answer, 4)}) < 4, "the same pair comes twice: (i, j) and (j, i) are one"
            ),
            "not_divided": Mistake(
                lambda answer: _pairs(answer, 1) == [(2, 5)],
                "long columns win: products grow with the lengths of both. Divide by these",
            ),
        },
    ),
    "01.4": Exercise(
        right=lambda answer: (
            abs(_mean_of(answer[0], [[1, 0], [0, 2], [3, 3]]) - np.sqrt(2) / 3) < 1e-6
            and answer[1] in (False, np.False_)
        ),
        why="random weights give *all* photographs much the same features, so their mirror images, too. The learned "
        "network is the one that tells photographs apart and ignores mirroring all the same",
        hint="divide each row by its length, multiply all with all, and average what stands above the diagonal",
        form="a function of an array, and True or False",
        mistakes={
            "with_itself": Mistake(
                lambda answer: _mean_of(answer[0], np.eye(4)) > 0.2,
                "rows that have nothing in common should give 0. Each row with itself gives 1, and is among your pairs",
            ),
            "not_divided": Mistake(
                lambda answer: _mean_of(answer[0], np.full((3, 2), 5)) > 1.01,
                "a cosine is never above 1: divide by the lengths of both rows",
            ),
            "good_enough": Mistake(
                lambda answer: bool(answer[1]),
                "a network that learned nothing has such cosines, too. What does it say of two different photographs?",
            ),
        },
    ),
    "01.5": Exercise(
        right=lambda answer: close(answer, CLASSES * (FEATURES + 1), CLASSES * (FEATURES + 1)),
        why="a weight for each pair of feature and class, and a constant for each class",
        hint="how many weights does one class need? And what is added to each of its sums?",
        form="a whole number",
        mistakes={
            "no_constants": Mistake(
                lambda answer: answer == CLASSES * FEATURES, "nearly: each class also has a constant that is added"
            ),
            "one_constant": Mistake(
                lambda answer: answer == CLASSES * FEATURES + 1, "nearly: each class has a constant of its own"
            ),
            "of_imagenet": Mistake(
                lambda answer: close(answer, 1e6, 2e6),
                "that is the matrix of ImageNet's thousand classes. How many have you?",
            ),
        },
    ),
}
