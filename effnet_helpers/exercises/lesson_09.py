"""Checks of the exercises of lesson 09: beyond one machine."""

import itertools
from collections.abc import Callable, Sequence

from effnet_helpers.exercises.core import Exercise, Mistake, close

import numpy as np

CUTS = ((5, 5), (7, 3), (10,), (1, 4, 4, 1))


def _adds_like(gradient: Callable, formula: Callable[[np.ndarray, int], float]) -> bool:
    """Whether what the devices add up to is what a formula of each device's parts and the global batch gives."""
    for cut in CUTS:
        x, y = np.random.default_rng(len(cut)).normal(size=(2, 10))
        ends = np.cumsum((0, *cut))
        parts = [slice(low, high) for low, high in itertools.pairwise(ends)]
        given = sum(gradient(x[part].copy(), y[part].copy(), 0.5, 10) for part in parts)
        wanted = sum(formula(2 * (0.5 * x[part] - y[part]) * x[part], 10) for part in parts)
        if not np.isclose(given, wanted):
            return False
    return True


NUMBERS = [np.random.default_rng(size).permutation(size) / size + 0.001 for size in (8, 9, 12, 2)]


def _shares_like(share: Callable, places: Callable[[np.ndarray, int, int], Sequence]) -> bool:
    """Whether each of three processes gets what a formula gives it, for several lists of numbers."""
    return all(
        np.array_equal(np.asarray(share(numbers.copy(), process, 3)), places(numbers, process, 3))
        for numbers in NUMBERS
        for process in range(3)
    )


def _all_once(share: Callable) -> bool:
    """Whether no image is lost and none is taken twice."""
    taken = [np.concatenate([share(numbers.copy(), process, 3) for process in range(3)]) for numbers in NUMBERS]
    return all(sorted(each) == [*range(len(numbers))] for each, numbers in zip(taken, NUMBERS, strict=True))


def _are(answer: Sequence[float], *bands: tuple[float, float]) -> bool:
    return len(answer) == len(bands) and all(close(each, *band) for each, band in zip(answer, bands, strict=True))


EXERCISES = {
    "09.1": Exercise(
        right=lambda answer: _adds_like(answer, lambda terms, batch: terms.sum() / batch),
        why="each row counts one tenth, wherever it is, so the sum over devices is the mean over the batch",
        hint="what should one row count for in the sum of all, and what does it count for where there are three?",
        form="a function of x, y, a weight and the global batch that returns a number",
        mistakes={
            "own_rows": Mistake(
                lambda answer: _adds_like(answer, lambda terms, batch: terms.mean()),
                "each device still divides by its own rows, so two devices come to about twice the gradient",
            ),
            "not_divided": Mistake(
                lambda answer: _adds_like(answer, lambda terms, batch: terms.sum()),
                "that is the gradient of the sum of all losses. The mean of the batch is asked for",
            ),
            "divided_twice": Mistake(
                lambda answer: _adds_like(answer, lambda terms, batch: terms.mean() / batch),
                "divided twice, by the own rows and by the batch: a sum over the own rows belongs in it",
            ),
        },
    ),
    "09.2": Exercise(
        right=lambda answer: _are(answer, (3.0, 3.15), (9.95, 10.05)),
        why="the 10 ms stay: four devices need 10 + 90 / 4 of 100 ms, and no number of them less than 10",
        hint="how long does a step take on four devices? And what is left of it with a million of them?",
        form="a list of two numbers",
        mistakes={
            "all_shared": Mistake(
                lambda answer: close(answer[0], 3.95, 4.05), "the 10 ms that are not shared out take 10 ms on each"
            ),
            "milliseconds": Mistake(
                lambda answer: close(answer[0], 32, 33), "that is how long a step takes. How many times as fast is it?"
            ),
            "share_of_the_rest": Mistake(
                lambda answer: close(answer[1], 8.9, 9.1),
                "compare with the whole step of one device, 100 ms, and not with what can be shared out",
            ),
        },
    ),
    "09.3": Exercise(
        right=lambda answer: _shares_like(answer, lambda n, mine, of: np.argsort(n)[mine::of]),
        why="nobody has to be asked: the numbers alone say whose an image is, and uneven ends take care of themselves",
        hint="`np.argsort` gives places in the order of their numbers; a slice with a step takes every third",
        form="a function of an array and two whole numbers that returns places",
        mistakes={
            "as_listed": Mistake(
                lambda answer: _shares_like(answer, lambda n, mine, of: np.arange(len(n))[mine::of]),
                "yours goes by the order in which the files are listed, and two computers may list them differently",
            ),
            "numbers_not_places": Mistake(
                lambda answer: _shares_like(answer, lambda n, mine, of: np.sort(n)[mine::of]),
                "these are the numbers themselves; their places in the array are asked for",
            ),
            "some_are_lost": Mistake(
                lambda answer: not _all_once(answer),
                "some images have no process, or two: try eight images and three processes",
            ),
        },
    ),
    "09.4": Exercise(
        right=lambda answer: _are(answer, (22.7, 22.8), (181.5, 182.5)),
        why="each part of the gradients goes around the ring twice, whatever the number of devices",
        hint="first the bytes of all gradients, four for each weight; then the factor; then divide by bytes a second",
        form="two numbers",
        mistakes={
            "bytes_of_a_weight": Mistake(
                lambda answer: close(answer[0], 5.6, 5.75), "a number in float32 takes four bytes, not one"
            ),
            "to_everybody": Mistake(
                lambda answer: close(answer[0], 90.5, 91.5),
                "that is each device sending all of its gradients to all others. Around a ring it takes less",
            ),
            "bits": Mistake(
                lambda answer: close(answer[1], 22.7, 22.8), "a byte has eight bits: take the bytes a second"
            ),
        },
    ),
    "09.5": Exercise(
        right=lambda answer: set(answer) == {"A", "E"},
        why="both give each device more to compute for the same gradients, so adding up is a smaller share",
        hint="the time of adding up hangs on the number of weights; computing hangs on images, pixels and weights",
        form="a list of letters",
        mistakes={
            "fewer_weights": Mistake(
                lambda answer: "C" in answer,
                "C shortens the adding-up, and the computing with it. Upper blocks have most weights and little "
                "computing, so what is left has an even larger share to add up",
            ),
            "disk": Mistake(lambda answer: "B" in answer, "nothing waits for input, so a faster disk changes nothing"),
            "more_processes": Mistake(
                lambda answer: "D" in answer, "there are two cores: four processes take turns, and add up among four"
            ),
            "size_left_out": Mistake(
                lambda answer: set(answer) == {"A"},
                "one more gives each device more to compute, while there is as much to add up as before",
            ),
        },
    ),
}
