"""What runs with different seeds have in common, and by how much they differ."""

from __future__ import annotations

from effnet_helpers.course.execute import Outcome

import pandas as pd


def seed_statistics(runs: dict[int, list[Outcome]]) -> pd.DataFrame:
    """Summarises recorded numbers over runs with different seeds.

    Args:
        runs: For each seed what came of the notebooks.

    Returns:
        A row for each notebook and figure: how many seeds, mean, sample standard deviation, minimum, maximum, and the
        value of each seed. Runs that failed or did not record the figure are left out.
    """
    rows = [
        (outcome.notebook, figure, f"seed_{seed}", float(value))
        for seed, outcomes in runs.items()
        for outcome in outcomes
        for figure, value in outcome.records.items()
        if outcome.status == "ok" and isinstance(value, int | float) and not isinstance(value, bool)
    ]
    keys = ["notebook", "figure"]
    values = pd.DataFrame(rows, columns=[*keys, "seed", "value"])
    measures = {"seeds": "count", "mean": "mean", "standard_deviation": "std", "minimum": "min", "maximum": "max"}
    table = values.groupby(keys, sort=False)["value"].agg(**measures)
    by_seed = values.pivot(index=keys, columns="seed", values="value")
    return table.join(by_seed.reindex(columns=[f"seed_{seed}" for seed in runs])).reset_index()
