"""What a choice is worth: differences between runs that have everything else in common."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd
from scipy.stats import t

IN_COMMON = ("stage", "set", "image_size", "split", "seed")


def paired_differences(
    table: pd.DataFrame, candidates: Sequence[str], base: str = "base", column: str = "test"
) -> pd.DataFrame:
    """Compares candidates with a base, run by run: same pictures, same split, same seed.

    Pairs take out what both runs share, such as an easy split, so a small difference shows in fewer runs than it would
    between two unpaired means. The interval is Student's: where the runs of a set scatter, or are few, it is wide.

    Args:
        table: A row for each run, columns candidate, set, what `column` names, and any of stage, image_size, split and
            seed, such as `evaluation.measured("recipes")`.
        candidates: Which ones to compare; those without a pair are left out.
        base: What they are compared with.
        column: Which figure, a share in [0, 1].

    Returns:
        A row for each candidate and set, and one for all sets together (its set is "all"): candidate, set, runs, points
        (the mean difference, in percentage points), low and high (its 95 % interval; NaN for a single run).

    Example:
        >>> runs = pd.DataFrame({"set": list("aabb"), "candidate": ["base", "mixup"] * 2, "test": [0.8, 0.9, 0.6, 0.6]})
        >>> evaluation.paired_differences(runs, ["mixup"])[["set", "runs", "points"]].round(1).values.tolist()
        [['a', 1, 10.0], ['b', 1, 0.0], ['all', 2, 5.0]]
    """
    keys = [key for key in IN_COMMON if key in table]
    scores = table.assign(**{column: pd.to_numeric(table[column])}).pivot_table(
        index=keys, columns="candidate", values=column
    )
    rows = []
    for candidate in candidates:
        if not {candidate, base} <= set(scores.columns):
            continue
        points = 100 * (scores[candidate] - scores[base]).dropna()
        groups = [*points.groupby("set"), ("all", points)] if len(points) else []
        rows += [(candidate, name, len(values), values.mean(), *_interval(values)) for name, values in groups]
    return pd.DataFrame(rows, columns=["candidate", "set", "runs", "points", "low", "high"])


def _interval(values: pd.Series) -> tuple[float, float]:
    if len(values) < 2:
        return math.nan, math.nan
    half = float(t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / math.sqrt(len(values)))
    return values.mean() - half, values.mean() + half
