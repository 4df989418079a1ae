"""Checks of the exercises of lesson 06: export and serve."""

from collections.abc import Callable

from effnet_helpers.exercises.core import Exercise, Mistake, close

import numpy as np


def _folds_like(fold: Callable, filters: int, change: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> bool:
    """Whether the learner's kernel responds as the kernel changed in a given way does, at one place."""
    random, factor = np.random.default_rng(1), np.array([0.5, 2.0, 3.0])
    patch, kernel = random.normal(size=(3, 3, 3)), random.normal(size=(3, 3, 3, filters))
    received, wanted = fold(kernel.copy(), factor.copy()), change(kernel, factor)
    return np.allclose(np.tensordot(patch, received, axes=3), np.tensordot(patch, wanted, axes=3))


ALIKE = np.array([[0.6, 0.2, 0.2], [0.1, 0.8, 0.1], [0.3, 0.3, 0.4], [0.5, 0.3, 0.2]])
DROPPED = np.array([[0.6, 0.2, 0.2], [0.1, 0.8, 0.1], [0.3, 0.3, 0.4], [0.2, 0.45, 0.35]])  # 0.3 down, 0.15 up
OTHERWISE = ALIKE[:, [1, 0, 2]]
NUDGED = np.array([[0.6, 0.2, 0.2], [0.1, 0.8, 0.1], [0.3, 0.37, 0.33], [0.5, 0.3, 0.2]])
CASES = {  # received, difference, agreement, whether they agree
    "itself": (ALIKE, 1e-4, 1.0, True),
    "near enough": (NUDGED, 0.1, 0.7, True),
    "down": (DROPPED, 0.2, 0.5, False),
    "decisions": (NUDGED, 0.1, 0.9, False),
    "all else": (OTHERWISE, 0.05, 0.9, False),
}


def _says(agrees: Callable, case: str) -> bool:
    received, difference, agreement, _ = CASES[case]
    return bool(agrees(ALIKE, received, difference, agreement))


def _round_trip(rounded: Callable) -> tuple[np.ndarray, np.ndarray, float]:
    """Numbers from below a range to above it, what becomes of them, and the distance of its 256 values."""
    values = np.linspace(-3.0, 12.0, 6001)
    return values, np.asarray(rounded(values.copy(), -1.0, 9.0), dtype=float), 10 / 255


def _rounds_right(rounded: Callable) -> bool:
    values, received, step = _round_trip(rounded)
    is_near = np.abs(received - np.clip(values, -1, 9)).max() <= 0.501 * step
    return is_near and len(np.unique(received.round(6))) <= 256


BUDGETS = {  # megabytes and points, and what has to be chosen
    "roomy": (20, 1, "slim"),
    "small": (5, 1, "tiny"),
    "exact": (20, 0.5, "whole"),
    "careless": (20, 9, "blunt"),
}


def _chosen(choose: Callable, budget: str) -> str:
    import pandas as pd

    rows = {
        "Keras": [17.0, 0.950, 1.0, True],
        "whole": [13.0, 0.949, 9.0, True],
        "slim": [6.0, 0.942, 5.0, True],
        "tiny": [4.0, 0.941, 6.0, True],
        "blunt": [2.0, 0.900, 3.0, True],
        "astray": [3.0, 0.948, 2.0, False],
    }
    columns = ["megabytes", "accuracy", "milliseconds", "agreed"]
    table = pd.DataFrame(rows.values(), index=list(rows), columns=columns)
    return choose(table, *BUDGETS[budget][:2])


EXERCISES = {
    "06.1": Exercise(
        right=lambda answer: len(answer) == 3 and all(close(answer[i], 72 / 2**i, 80 / 2**i) for i in range(3)),
        why="float32 takes four bytes for each parameter, float16 two, int8 one",
        hint="a byte is eight bits: how many bytes does a number of 32 bits take, and how many do 19 million of them?",
        form="a list of three numbers",
        mistakes={
            "bits": Mistake(lambda answer: close(answer[0], 576, 640), "these are bits. Eight of them make a byte"),
            "other_order": Mistake(
                lambda answer: close(answer[0], 18, 20) and close(answer[2], 72, 80),
                "the sizes are right, their order is not: float32 comes first",
            ),
        },
    ),
    "06.2": Exercise(
        right=lambda answer: all(_folds_like(answer, filters, lambda k, f: k * f.reshape(3, 1)) for filters in (3, 8)),
        why="colours are a kernel's last axis but one, and NumPy lines up the last ones unless told otherwise",
        hint="which axis of the kernel has the colours? Give `factor` a shape that lines up with that axis",
        form="a function of a kernel and a factor that returns a kernel",
        mistakes={
            "along_the_filters": Mistake(
                lambda answer: _folds_like(answer, 3, lambda k, f: k * f),
                "this multiplies each filter by a factor, not each colour: NumPy lines up the last axes",
            ),
            "divided": Mistake(
                lambda answer: _folds_like(answer, 3, lambda k, f: k / f.reshape(3, 1)),
                "the axis is right. But the pixels were multiplied by the factor, and so must the kernel be",
            ),
            "left_out": Mistake(
                lambda answer: _folds_like(answer, 3, lambda k, f: k),
                "the kernel comes back as it was: the pixels are not scaled at all then",
            ),
        },
    ),
    "06.3": Exercise(
        right=lambda answer: all(_says(answer, case) == wanted for case, (*_, wanted) in CASES.items()),
        why="a conversion that went wrong seldom fails, so both are asked: no number far off, few decisions changed",
        hint="one line for the largest absolute difference, one for the share of equal `argmax(axis=1)`, one for both",
        form="a function of two arrays and two bounds that returns True or False",
        mistakes={
            "one_is_enough": Mistake(
                lambda answer: _says(answer, "down") and _says(answer, "decisions"),
                "both conditions have to hold, not one of them",
            ),
            "decisions_left_out": Mistake(
                lambda answer: _says(answer, "decisions") and not _says(answer, "down"),
                "one of four images changes its class here at an agreement of 0.9, and your function lets it pass",
            ),
            "on_average": Mistake(
                lambda answer: _says(answer, "down") and _says(lambda e, r, d, a: answer(e, 2 * e - r, d, a), "down"),
                "one probability is far off, and your function lets it pass: a mean hides what the largest would show",
            ),
            "only_upwards": Mistake(
                lambda answer: _says(answer, "down"),
                "a probability falls by 0.3 at a bound of 0.2, and your function lets it pass. Look at differences "
                "without their sign",
            ),
        },
    ),
    "06.4": Exercise(
        right=lambda answer: set(answer) == {"A", "C"},
        why="parity says that two programs give the same answers on these images: not that the answers are right, nor "
        "that whoever uses them does as the contract says",
        hint="ask of each claim whether it could be false although the two give the same numbers for these images",
        form="a list of letters",
        mistakes={
            "taken_for_accuracy": Mistake(
                lambda answer: "B" in answer, "two programs that are wrong about the same images agree perfectly"
            ),
            "contract_left_out": Mistake(
                lambda answer: "D" in answer,
                "what happens to a picture before it enters the file was not compared; the contract is there for that",
            ),
            "other_pictures": Mistake(
                lambda answer: "E" in answer,
                "the file may answer as Keras does there, too. Whether that is right is another question",
            ),
            "scaling_left_out": Mistake(
                lambda answer: set(answer) == {"A"},
                "if the file scaled by other numbers, would its answers differ by no more than 0.000002?",
            ),
        },
    ),
    "06.5": Exercise(
        right=_rounds_right,
        why="inside the range nothing is off by more than half a step, outside by as much as it was cut",
        hint="cut with `np.clip`, count in steps from `low`, round, and go back to the scale of the numbers",
        form="a function of an array, a low and a high number that returns an array",
        mistakes={
            "whole_numbers": Mistake(
                lambda answer: np.allclose(_round_trip(answer)[1] % 1, 0) and _round_trip(answer)[1].max() > 9.5,
                "these are numbers of steps. Multiply by the step and add `low` to come back",
            ),
            "not_cut_off": Mistake(
                lambda answer: _round_trip(answer)[1].max() > 9.5, "a number above `high` comes back above `high`"
            ),
            "rounded_down": Mistake(
                lambda answer: np.abs(_round_trip(answer)[1] - np.clip(_round_trip(answer)[0], -1, 9)).max() > 0.03,
                "a number is off by almost a whole step: take the nearest value, not the next one below",
            ),
            "one_step_too_many": Mistake(
                lambda answer: len(np.unique(_round_trip(answer)[1].round(6))) > 256,
                "more than 256 different values come out. Between 256 values lie 255 steps",
            ),
        },
    ),
    "06.6": Exercise(
        right=lambda answer: all(_chosen(answer, budget) == wanted for budget, (*_, wanted) in BUDGETS.items()),
        why="what does not agree is no candidate, however small and fast; then the budget decides, and last the time",
        hint="three conditions, joined by `&`, leave some rows; of these take `idxmin` of the milliseconds",
        form="a function of a table and two numbers that returns the name of a row",
        mistakes={
            "parity_left_out": Mistake(
                lambda answer: _chosen(answer, "small") == "astray", "it takes a file whose answers did not agree"
            ),
            "most_accurate": Mistake(
                lambda answer: _chosen(answer, "roomy") == "whole",
                "it takes the most accurate file. Asked for is the fastest that loses no more than it may",
            ),
            "size_left_out": Mistake(
                lambda answer: _chosen(answer, "small") == "slim", "it takes a file that is larger than there is room"
            ),
            "points_as_shares": Mistake(
                lambda answer: (
                    _chosen(answer, "exact") == "blunt"
                    and _chosen(answer, "exact")
                    != _chosen(lambda table, size, points: answer(table, size, points / 100), "exact")
                ),
                "accuracy is a share from 0 to 1, and the budget is in percentage points: one point is 0.01",
            ),
            "accuracy_left_out": Mistake(
                lambda answer: _chosen(answer, "exact") == "blunt", "it takes a file that loses more than it may"
            ),
        },
    ),
}
