"""What runs of a sweep have in common over training seeds, and by how much they differ: tables, a chart, a page."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

from effnet_helpers.course.display import accuracies, seeds_table
from effnet_helpers.course.execute import Outcome
from effnet_helpers.course.pages import write_sweep
from effnet_helpers.course.run import write_whole
from effnet_helpers.course.sweep_plan import SEED, Plan, shown

import pandas as pd
from rich.console import Console

RUNS, STATISTICS = "runs.csv", "seeds.csv"


def runs_table(planned: Plan, outcomes: Mapping[str, Outcome]) -> pd.DataFrame:
    """Tells of every run that has ended.

    Args:
        planned: The sweep.
        outcomes: By the names of run and notebook.

    Returns:
        A row for each run and notebook: run, notebook, a column for each parameter, status, seconds, cpu_seconds,
        peak_memory_mb, error (and where) of those that failed, and a column for each figure that any of them recorded.
    """
    rows = []
    for run, values in planned.combinations().items():
        for path in planned.notebooks:
            if outcome := outcomes.get(f"{run} {path.stem}"):
                told = {"run": run, "notebook": path.stem} | {name: shown(value) for name, value in values.items()}
                # A figure that is called as a parameter is does not hide it.
                metrics = {f"{name} recorded" if name in told else name: v for name, v in outcome.metrics().items()}
                rows.append(told | metrics)
    return pd.DataFrame(rows)


def seed_statistics(planned: Plan, outcomes: Mapping[str, Outcome]) -> pd.DataFrame:
    """Summarises recorded numbers over training seeds.

    Args:
        planned: The sweep.
        outcomes: By the names of run and notebook.

    Returns:
        A row for each notebook, combination of the other parameters and figure: these, how many seeds, mean, sample
        standard deviation, minimum, maximum, lower and upper end of the mean's 95 % interval (see
        `evaluation.mean_interval`), and the value of each seed. Runs that failed or did not record the figure are left
        out.
    """
    from effnet_helpers.evaluation import mean_interval

    rows = []
    for run, values in planned.combinations().items():
        for path in planned.notebooks:
            outcome = outcomes.get(f"{run} {path.stem}")
            for figure, value in outcome.records.items() if outcome and outcome.status == "ok" else ():
                if isinstance(value, int | float) and not isinstance(value, bool):
                    setting = [shown(values[name]) for name in planned.settings]
                    rows.append((path.stem, *setting, figure, f"seed_{values.get(SEED, 'own')}", float(value)))
    keys = ["notebook", *planned.settings, "figure"]
    values = pd.DataFrame(rows, columns=[*keys, "run", "value"])
    measures = {"seeds": "count", "mean": "mean", "standard_deviation": "std", "minimum": "min", "maximum": "max"}
    groups = values.groupby(keys, sort=False)["value"]
    table = groups.agg(**measures)
    ends = [mean_interval(each) for _, each in groups]
    table = table.assign(low=[low for low, _ in ends], high=[high for _, high in ends])
    by_seed = values.pivot(index=keys, columns="run", values="value")
    return table.join(
        by_seed.reindex(columns=[f"seed_{seed}" for seed in planned.values.get(SEED, ["own"])])
    ).reset_index()


def conclude(planned: Plan, outcomes: Mapping[str, Outcome], folder: Path, console: Console) -> None:
    """Writes the tables, the charts and the page of a sweep, and shows the means.

    Args:
        planned: The sweep.
        outcomes: By the names of run and notebook.
        folder: Where to.
        console: Where to show them.
    """
    statistics, rows = seed_statistics(planned, outcomes), runs_table(planned, outcomes)
    write_whole(folder / STATISTICS, statistics.to_csv(index=False))
    charts = _charts(statistics, planned.settings)
    for number, (picture, _) in enumerate(charts, 1):
        write_whole(folder / f"chart-{number}.png", picture)
    said = about_seeds(planned.seeds, len(planned.given) // planned.seeds)
    write_sweep(folder, planned, rows, [alternative for _, alternative in charts], said)
    if len(statistics):
        console.print(seeds_table(statistics, planned.settings))
        console.print(said, soft_wrap=True, highlight=False)


def about_seeds(seeds: int, settings: int) -> str:
    """Says what can be told from so many seeds of each of so many settings."""
    if seeds == 1:
        said = "One run a setting: a difference may be the seed's as well. -p seed=0,1,2,3,4 repeats each over five."
    else:
        reach = f"Student's 95 % interval of such a mean reaches {_half(seeds):.1f} standard deviations to either side"
        more = next((each for each in (5, 10) if each > seeds), None)
        said = f"Means over {seeds} seeds: {reach}{f', with {more} seeds {_half(more):.1f}' if more else ''}."
        if settings > 1:
            said += " Settings share their seeds: compare them seed by seed before you go by intervals that overlap."
    if settings > 1:
        said += " Choose by validation figures: the test accuracy by which one chooses looks better than it is."
    return said


def _half(seeds: int) -> float:
    from scipy.stats import t

    return float(t.ppf(0.975, seeds - 1)) / math.sqrt(seeds)


def _charts(statistics: pd.DataFrame, settings: list[str]) -> list[tuple[bytes, str]]:
    """Draws for each notebook its first accuracy, or whatever else it recorded first."""
    from effnet_helpers import plotting

    with plotting.collect() as charts:
        for notebook, rows in statistics.groupby("notebook", sort=False):
            recorded = rows["figure"].tolist()
            figure = next((each for each in accuracies(bool(settings)) if each in recorded), recorded[0])
            values = {}
            for _, row in rows[rows["figure"] == figure].iterrows():
                setting = "\n".join(f"{name} {row[name]}" for name in settings) or "all runs"
                values[setting] = row.filter(regex="^seed_").dropna().tolist()
            plotting.over_seeds(values, f"{notebook}: {figure}")
    return charts
