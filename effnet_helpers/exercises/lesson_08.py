"""Checks of the exercises of lesson 08: when to trust it."""

from collections.abc import Callable

from effnet_helpers.exercises.core import Exercise, Mistake, close

import numpy as np


def _cools_like(cooled: Callable, formula: Callable[[np.ndarray, float], np.ndarray]) -> bool:
    probabilities = np.random.default_rng(5).dirichlet([1.0, 2.0, 3.0], 6)
    return all(np.allclose(cooled(probabilities.copy(), t), formula(probabilities, t)) for t in (0.5, 1.5, 4.0))


def _rows_to_1(values: np.ndarray) -> np.ndarray:
    return values / values.sum(axis=1, keepdims=True)


VAL, TEST = ((np.random.default_rng(seed).permutation(size) + 1.0) / size for seed, size in ((6, 80), (7, 50)))
DEFECTIVE = {"val": VAL > 0.4, "test": TEST > 0.25}  # so the test pieces are less suspicious than those of validation


def _fifth(suspicion: np.ndarray) -> float:
    """The suspicion from which on 95 % are found, as the exercise has it."""
    return float(np.sort(suspicion)[max(int((len(suspicion) + 1) * 0.05 + 1e-9), 1) - 1])


def _judges_like(judged: Callable, chosen_on: np.ndarray, measured_on: np.ndarray) -> bool:
    threshold, recall = judged((VAL.copy(), DEFECTIVE["val"]), (TEST.copy(), DEFECTIVE["test"]))
    wanted = _fifth(chosen_on)
    return np.allclose([threshold, recall], [wanted, np.mean(measured_on >= wanted)])


def _threshold_like(threshold_for: Callable, place: Callable[[int], int | None], sizes: tuple[int, ...]) -> bool:
    """Whether the learner's threshold for 75 % stands at a place of the sorted list, counted from 0; None is 0.0."""
    for size in sizes:
        values = np.random.default_rng(size).permutation(size) / (2 * size) + 0.25
        wanted = 0.0 if place(size) is None else np.sort(values)[place(size)]
        if not np.isclose(threshold_for(values.copy(), 0.75), wanted):
            return False
    return True


def _right_place(size: int) -> int | None:
    return (size + 1) // 4 - 1 if size >= 3 else None


IN_VAL, IN_TEST = VAL[DEFECTIVE["val"]], TEST[DEFECTIVE["test"]]

EXERCISES = {
    "08.1": Exercise(
        right=lambda answer: close(answer, 0.1795, 0.1805),
        why="each bin counts by its images, and being too sure in one does not make up for being too unsure in another",
        hint="for each bin the distance of `sure` and `right`, without sign, times its share of the images; add up",
        form="a number between 0 and 1",
        mistakes={
            "bins_alike": Mistake(
                lambda answer: close(answer, 0.1995, 0.2005), "bins count by how many images they have, not alike"
            ),
            "with_signs": Mistake(
                lambda answer: close(answer, 0.0595, 0.0605),
                "the first bin errs the other way: distances have no sign, so nothing is made up for",
            ),
            "per_cent": Mistake(lambda answer: close(answer, 17.9, 18.1), "that is in per cent: a share is asked for"),
        },
    ),
    "08.2": Exercise(
        right=lambda answer: _cools_like(answer, lambda p, t: _rows_to_1(p ** (1 / t))),
        why="above 1 probabilities draw closer together, below 1 further apart, and their order stays",
        hint="`np.log`, divide, `np.exp`, and then divide each row by its sum, `sum(axis=1, keepdims=True)`",
        form="a function of probabilities and a temperature that returns probabilities",
        mistakes={
            "multiplied": Mistake(
                lambda answer: _cools_like(answer, lambda p, t: _rows_to_1(p**t)),
                "a high temperature makes yours surer: divide the logarithms by it",
            ),
            "not_added_up": Mistake(
                lambda answer: _cools_like(answer, lambda p, t: p ** (1 / t)),
                "the rows do not add up to 1: divide each by its sum",
            ),
            "no_logarithm": Mistake(
                lambda answer: _cools_like(answer, lambda p, t: _rows_to_1(np.exp(p / t))),
                "the softmax was taken of probabilities. It wants their logarithms",
            ),
            "nothing_changed": Mistake(
                lambda answer: _cools_like(answer, lambda p, t: p),
                "they come back as they were: what is divided and then brought to a sum of 1 is what it was",
            ),
        },
    ),
    "08.3": Exercise(
        right=lambda answer: _judges_like(answer, IN_VAL, IN_TEST),
        why="the threshold knows nothing of the test pieces, so what they say about it is worth something",
        hint="which of `val` and `test` may choose the threshold, and which may only measure what it does?",
        form="a function of two pairs of arrays that returns a threshold and a recall",
        mistakes={
            "chosen_on_test": Mistake(
                lambda answer: _judges_like(answer, IN_TEST, IN_TEST),
                "the threshold still comes from the test pieces, and so their recall cannot be below 95 %",
            ),
            "measured_on_validation": Mistake(
                lambda answer: _judges_like(answer, IN_VAL, IN_VAL),
                "now both come from validation, which is the same mistake with other pieces: measure on test",
            ),
            "chosen_on_both": Mistake(
                lambda answer: _judges_like(answer, np.concatenate([IN_VAL, IN_TEST]), IN_TEST),
                "the test pieces still have a say in the threshold. None of them may",
            ),
            "good_ones_too": Mistake(
                lambda answer: _judges_like(answer, VAL, IN_TEST),
                "the threshold comes from all validation pieces. Recall is about the defective ones alone",
            ),
        },
    ),
    "08.4": Exercise(
        right=lambda answer: close(answer[0], 0.825, 0.835) and close(answer[1], 1.66, 1.675) and len(answer) == 2,
        why="five of six sets hold the right class, and they hold ten classes together; only one image is missed",
        hint="write down the set of each image first; then ask whether it holds the label, and count its classes",
        form="a list of two numbers",
        mistakes={
            "accuracy_for_coverage": Mistake(
                lambda answer: close(answer[0], 0.33, 0.34),
                "that is the share whose *most probable* class is right. Coverage asks whether it is in the set",
            ),
            "edge_left_out": Mistake(
                lambda answer: close(answer[0], 0.66, 0.67),
                "0.30 or more: a class with exactly 0.30 is in the set",
            ),
            "counts": Mistake(
                lambda answer: close(answer, 5, 10), "these are sums over six images. Divide by how many there are"
            ),
        },
    ),
    "08.5": Exercise(
        right=lambda answer: _threshold_like(answer, _right_place, (2, 3, 7, 18, 19, 40)),
        why="the new image is one more among n, and is as likely to come at any place of the sorted list",
        hint="`np.sort`, and `int` for k; mind that Python counts from 0 where the text counts from 1",
        form="a function of an array and a coverage that returns a number",
        mistakes={
            "without_the_new_one": Mistake(
                lambda answer: _threshold_like(answer, lambda n: n // 4 - 1 if n >= 4 else None, (7, 19)),
                "n + 1, not n: the image to come is counted as well",
            ),
            "counted_from_0": Mistake(
                lambda answer: _threshold_like(answer, lambda n: (n + 1) // 4, (7, 19)),
                "yours is one place too far: the first of a sorted array has the index 0",
            ),
            "largest_first": Mistake(
                lambda answer: _threshold_like(answer, lambda n: n - (n + 1) // 4, (7, 19)),
                "counted from the largest, only a quarter of the images reach it. Count from the smallest",
            ),
            "too_few_images": Mistake(
                lambda answer: _threshold_like(answer, lambda n: max((n + 1) // 4 - 1, 0), (2, 7, 19)),
                "with two images k is 0 for a coverage of 75 %, and the threshold has to be 0",
            ),
        },
    ),
    "08.6": Exercise(
        right=lambda answer: set(answer) == {"A", "D"},
        why="the promise is about averages over draws of the same kind of pictures, and asks nothing of the model",
        hint="what was sorted, and what has to be like it? Which average is the promise about?",
        form="a list of letters",
        mistakes={
            "this_draw": Mistake(
                lambda answer: "B" in answer,
                "a single draw may miss it by a few points; the promise is about the average",
            ),
            "each_class": Mistake(
                lambda answer: "C" in answer,
                "one threshold over all may give one class too much and another too little: that takes sets by class",
            ),
            "changed_pictures": Mistake(
                lambda answer: "E" in answer, "other pictures than those that set the threshold break the promise"
            ),
            "bad_model_left_out": Mistake(
                lambda answer: set(answer) == {"A"},
                "did anything in the sorted list ask whether the model is good? It decides how large sets become",
            ),
        },
    ),
}
