"""What a choice is worth: differences between runs, or answers, that have everything else in common."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from effnet_helpers import records
from effnet_helpers.evaluation.report import Report

import numpy as np
import pandas as pd
from scipy.stats import binomtest, norm, t

IN_COMMON = ("stage", "set", "image_size", "split", "seed")


def paired_differences(table: pd.DataFrame, candidates: Sequence[str], base: str = "base") -> pd.DataFrame:
    """Compares candidates with a base, run by run: same pictures, same split, same seed.

    Pairs take out what both runs share, such as an easy split, so a small difference shows in fewer runs than it would
    between two unpaired means. The interval is Student's: where the runs of a set scatter, or are few, it is wide. The
    one over all sets takes every run for a draw of its own. It speaks of these sets: runs of one set have much in
    common, so for sets that are not among them it is too narrow.

    Args:
        table: A row for each run, columns candidate, set, test (accuracy in [0, 1]), and any of stage, image_size,
            split and seed, such as `evaluation.measured("recipes")`.
        candidates: Which ones to compare; those without a pair are left out.
        base: What they are compared with.

    Returns:
        A row for each candidate and set, and one for all sets together (its set is "all"): candidate, set, runs, points
        (the mean difference, in percentage points), low and high (its 95 % interval; NaN for a single run).

    Example:
        >>> runs = pd.DataFrame({"set": list("aabb"), "candidate": ["base", "mixup"] * 2, "test": [0.8, 0.9, 0.6, 0.6]})
        >>> evaluation.paired_differences(runs, ["mixup"])[["set", "runs", "points"]].round(1).values.tolist()
        [['a', 1, 10.0], ['b', 1, 0.0], ['all', 2, 5.0]]
    """
    keys = [key for key in IN_COMMON if key in table]
    numbers = table.assign(test=pd.to_numeric(table["test"]))
    scores = numbers.pivot_table(index=keys, columns="candidate", values="test")
    rows = []
    for candidate in candidates:
        if not {candidate, base} <= set(scores.columns):
            continue
        points = 100 * (scores[candidate] - scores[base]).dropna()
        groups = [*points.groupby("set"), ("all", points)] if len(points) else []
        rows += [(candidate, name, len(values), values.mean(), *mean_interval(values)) for name, values in groups]
    return pd.DataFrame(rows, columns=["candidate", "set", "runs", "points", "low", "high"])


def mean_interval(values: Sequence[float]) -> tuple[float, float]:
    """Returns Student's 95 % interval of the mean of few repetitions, such as one run a seed; NaN for a single one.

    It takes the repetitions for draws from a normal distribution whose spread it does not know: with two it is 25
    standard errors wide, with five 5.6, with many 3.9.

    Example:
        >>> low, high = evaluation.mean_interval([0.97, 0.99, 0.98])
        >>> f"{low:.3f} to {high:.3f}"
        '0.955 to 1.005'
    """
    values = np.asarray(values, dtype=float)
    if len(values) < 2:
        return math.nan, math.nan
    half = float(t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / math.sqrt(len(values)))
    return float(values.mean() - half), float(values.mean() + half)


@dataclass(frozen=True, eq=False)
class Comparison:
    """How two models answer the same images.

    Attributes:
        both: Positions of the images that both get right.
        only_first: Of those that the first alone gets right.
        only_second: Of those that the second alone gets right.
        neither: Of those that both get wrong.
        difference: Accuracy of the second less that of the first.
        interval: Its 95 % interval.
        p_value: How often so many disagreements would fall so unevenly if neither model were better (exact McNemar).
    """

    both: np.ndarray
    only_first: np.ndarray
    only_second: np.ndarray
    neither: np.ndarray
    difference: float
    interval: tuple[float, float]
    p_value: float

    def __str__(self) -> str:
        points, low, high = (100 * each for each in (self.difference, *self.interval))
        alone = f"the first alone is right on {len(self.only_first):,}, the second alone on {len(self.only_second):,}"
        return f"{points:+.1f} points (95 % interval {low:+.1f} to {high:+.1f}, p = {self.p_value:.2g}): {alone}"


def compare_answers(first: Report, second: Report) -> Comparison:
    """Compares two models on the same images: only those that one gets right and the other wrong say which is better.

    The interval is Agresti and Min's (2005) for matched pairs: half an image is added to each of the four counts.

    Args:
        first: Of the one model.
        second: Of the other, on the same images in the same order.

    Returns:
        A `Comparison`.

    Raises:
        ValueError: If the two reports are not about the same labels and classes.

    Example:
        >>> labels, names = [0, 1, 1, 0], ["a", "b"]
        >>> first, second = (
        ...     evaluation.report_from_probabilities(np.eye(2)[answers], labels, names)
        ...     for answers in ([0, 1, 0, 0], [0, 1, 1, 1])
        ... )
        >>> found = evaluation.compare_answers(first, second)
        >>> found.only_first.tolist(), found.only_second.tolist(), found.difference
        ([3], [2], 0.0)
    """
    same = first.class_names == second.class_names and np.array_equal(first.labels, second.labels)
    said = f"{len(first.labels)} and {len(second.labels)} images of {first.class_names} and {second.class_names}"
    records.expect(same, "reports", said, "two on the same images in the same order, with the same classes")
    one, other = (report.probabilities.argmax(axis=1) == report.labels for report in (first, second))
    both, only_first, only_second, neither = map(
        np.flatnonzero, (one & other, one & ~other, other & ~one, ~one & ~other)
    )
    total, lost, won = len(one) + 2, len(only_first) + 0.5, len(only_second) + 0.5
    middle = (won - lost) / total
    half = float(norm.ppf(0.975)) * math.sqrt((won + lost) - (won - lost) ** 2 / total) / total
    disagreements = len(only_first) + len(only_second)
    p_value = float(binomtest(len(only_first), disagreements).pvalue) if disagreements else 1.0
    difference = (len(only_second) - len(only_first)) / len(one)
    return Comparison(both, only_first, only_second, neither, difference, (middle - half, middle + half), p_value)
