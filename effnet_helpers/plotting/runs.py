"""Figures of runs that were repeated: means with their intervals, and what a choice is worth."""

import itertools
import math
from collections.abc import Mapping, Sequence

from effnet_helpers import evaluation, records
from effnet_helpers.plotting import style
from effnet_helpers.plotting.style import BLUE, COLORS, SKY, styled

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.lines import Line2D


@styled
def over_seeds(values: Mapping[str, Sequence[float]], label: str) -> None:
    """Draws for each setting the mean over training seeds with its 95 % interval, and small circles for the seeds.

    Args:
        values: By setting the figure of each seed, one or more; drawn in this order, from the top.
        label: What the figure is.

    Raises:
        ValueError: If there is no setting, or one without a value.
    """
    received = {setting: len(each) for setting, each in values.items()}
    records.expect(bool(values) and all(received.values()), "values", received, "one or more for each setting")
    lines = 1 + max(setting.count("\n") for setting in values)
    fig, ax = plt.subplots(figsize=(8, 1.4 + (0.24 + 0.2 * lines) * len(values)))
    sentences = []
    for place, (setting, each) in enumerate(values.items()):
        mean, (low, high) = float(np.mean(each)), evaluation.mean_interval(each)
        ax.plot(each, [place + 0.2] * len(each), "o", color=SKY, mfc="none", mec=BLUE, ms=5.5, mew=1.2)
        error = None if math.isnan(low) else [[mean - low], [high - mean]]
        ax.errorbar(mean, place - 0.1, xerr=error, fmt="D", color="black", ms=7, capsize=4, zorder=5)
        interval = f"{low:.4g} to {high:.4g}, {len(each)} seeds" if error else "one seed"
        sentences.append(f"{' '.join(setting.splitlines())} {mean:.4g} ({interval})")
    ax.set_yticks(range(len(values)), values)
    ax.set(ylim=(len(values) - 0.4, -0.6), xlabel=label)
    ax.grid(axis="x")
    keys = [
        Line2D([], [], color="black", marker="D", ms=7, label="mean, 95 % interval"),
        Line2D([], [], color=BLUE, marker="o", mfc="none", ls="", label="one seed"),
    ]
    fig.legend(handles=keys, loc="outside upper left", ncols=2)
    style.show(fig, f"{label}, mean over training seeds with its 95 % interval: {'; '.join(sentences)}.")


@styled
def paired_differences(table: pd.DataFrame, base: str = "the recipe") -> None:
    """Draws what each choice is worth: a dot with its 95 % interval over all runs, small marks for single sets.

    A dot is filled where the interval leaves out zero; else the runs do not tell the choice from the base.

    Args:
        table: From `evaluation.paired_differences`; candidates are drawn in its order, from the top.
        base: What the candidates are compared with, written at zero.

    Raises:
        ValueError: If there is nothing to draw.
    """
    overall = table[table["set"] == "all"].reset_index(drop=True)
    records.expect(len(overall) > 0, "candidates", table["candidate"].unique().tolist(), "at least one with runs")
    by_set = table[table["set"] != "all"]
    styles = zip(itertools.cycle("^vsDPX*<>"), itertools.cycle(COLORS), strict=False)
    looks = dict(zip(sorted(by_set["set"].unique()), styles, strict=False))
    fig, ax = plt.subplots(figsize=(8, 1.5 + 0.42 * len(overall)))
    ax.axvline(0, color="black", lw=1)
    sentences = []
    for place, row in overall.iterrows():
        for each in by_set[by_set["candidate"] == row["candidate"]].itertuples():
            marker, color = looks[each.set]
            ax.plot(each.points, place + 0.26, marker, color=color, mfc="none", ms=5.5, mew=1.2)
        is_told = row["low"] > 0 or row["high"] < 0
        error = None if math.isnan(row["low"]) else [[row["points"] - row["low"]], [row["high"] - row["points"]]]
        look = {"color": "black", "mfc": "black" if is_told else "white", "ms": 8, "capsize": 4, "zorder": 5}
        ax.errorbar(row["points"], place - 0.08, xerr=error, fmt="o", **look)
        interval = "one run" if error is None else f"{row['low']:+.1f} to {row['high']:+.1f}"
        sentences.append(f"{row['candidate']} {row['points']:+.1f} ({interval}; {row['runs']} runs)")
    ax.set_yticks(range(len(overall)), [f"{row.candidate} ({row.runs})" for row in overall.itertuples()])
    ax.set(ylim=(len(overall) - 0.4, -0.6), xlabel=f"points of test accuracy, compared with {base}\nworse ← 0 → better")
    ax.grid(axis="y")
    keys = [Line2D([], [], color=c, marker=m, mfc="none", ms=5.5, ls="", label=name) for name, (m, c) in looks.items()]
    ends = {"color": "black", "marker": "o", "ms": 8}
    told = Line2D([], [], **ends, label="mean, 95 % interval without 0")
    untold = Line2D([], [], **ends, mfc="white", label="interval with 0")
    fig.legend(handles=[told, untold, *keys], loc="outside upper left", ncols=4, fontsize=9.5, columnspacing=1.2)
    said = f"Differences in points of test accuracy, compared with {base}, over paired runs: {'; '.join(sentences)}."
    style.show(fig, said)
