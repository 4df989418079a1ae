"""Figures of when to trust an answer."""

from collections.abc import Mapping

from effnet_helpers import records
from effnet_helpers.plotting import style
from effnet_helpers.plotting.style import GREY, SERIES, styled

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd


@styled
def reliability_diagram(tables: Mapping[str, pd.DataFrame]) -> None:
    """Draws how often answers are right against how sure the model is, and below it how many answers are that sure.

    Args:
        tables: For each name, such as "before" and "after", a table of `evaluation.reliability_table`; up to three.

    Raises:
        ValueError: If there is no table, or more than three.
    """
    records.expect(0 < len(tables) <= 3, "number of tables", len(tables), "1 to 3")
    fig, (ax, below) = plt.subplots(2, 1, figsize=(5.6, 5.6), sharex=True, height_ratios=[3, 1])
    ax.plot([0, 1], [0, 1], color=GREY, ls="--", lw=1.2)
    lowest = min(table["low"].min() for table in tables.values())
    left = lowest - 0.03
    ax.annotate("below the line: surer than right", (0.98, 0.04), xycoords="axes fraction", ha="right", color=GREY)
    sentences, looks, width = [], ("-", "--", ":"), 0.8 / len(tables)
    for number, ((color, marker), look, (name, table)) in enumerate(zip(SERIES, looks, tables.items(), strict=False)):
        accuracy = table["accuracy"]
        ends = np.abs([accuracy - table["accuracy_low"], table["accuracy_high"] - accuracy])
        how = {"color": color, "marker": marker, "mfc": color if number == 0 else "white", "ls": look, "lw": 1.6}
        shift = 0.004 * (number - (len(tables) - 1) / 2)  # so that intervals stay apart
        ax.errorbar(table["confidence"] + shift, accuracy, yerr=ends, capsize=3, elinewidth=1, label=name, **how)
        size = (table["high"] - table["low"]) * width
        begin = table["low"] + (table["high"] - table["low"]) * (0.1 + number * width)
        fill = {"fc": color} if number == 0 else {"fc": "white", "hatch": ("", "//", "..")[number]}
        below.bar(begin, table["images"], size, align="edge", ec=color, **fill)
        said = ", ".join(f"{row.confidence:.2f} → {row.accuracy:.2f} of {row.images}" for row in table.itertuples())
        sentences.append(f"{name}: {said}")
    ax.set(ylabel="share that is right", xlim=(left, 1.03), ylim=(min(lowest, ax.get_ylim()[0]) - 0.02, 1.04))
    below.set(xlabel="confidence (highest probability)", ylabel="images")
    ax.grid()
    if len(tables) > 1:
        fig.legend(*ax.get_legend_handles_labels(), loc="outside upper left", ncols=3)
    title = "Reliability diagram, confidence → share that is right, with 95 % intervals"
    style.show(fig, f"{title}. {'. '.join(sentences)}.")


@styled
def robustness(table: pd.DataFrame, promised: float | None = None) -> None:
    """Draws accuracy and, below it, coverage of prediction sets, one column a change, from the images as they are on.

    Args:
        table: A row for each model, change and strength: model, change (empty for images as they are), strength (from
            the weakest on), accuracy and coverage, in [0, 1]. Six models at most.
        promised: The coverage that was promised, drawn as a dashed line.

    Raises:
        ValueError: If there is no change, no row of the images as they are, or more than six models.
    """
    known, as_it_is = list(dict.fromkeys(table["model"])), table[table["change"] == ""].set_index("model")
    changes = [change for change in dict.fromkeys(table["change"]) if change]
    complete = bool(changes) and set(as_it_is.index) == set(known) and 0 < len(known) <= len(SERIES)
    received = f"{len(known)} models, {len(changes)} changes"
    records.expect(complete, "table", received, "1 to 6 models, each with images as they are, and a change")
    size = float(np.clip(1.0 + 1.75 * len(changes), 4.5, 9)), 4.3
    fig, axes = plt.subplots(2, len(changes), figsize=size, sharex="col", sharey=True, squeeze=False)
    sentences = []
    for column, change in enumerate(changes):
        rows = table[table["change"] == change]
        strengths = list(dict.fromkeys(rows["strength"]))
        for (color, marker), name in zip(SERIES, known, strict=False):
            own = rows[rows["model"] == name].set_index("strength").loc[strengths]
            for ax, what in zip(axes[:, column], ("accuracy", "coverage"), strict=True):
                values = [as_it_is.loc[name, what], *own[what]]
                ax.plot(range(len(values)), values, color=color, marker=marker, lw=2, label=name)
                said = ", ".join(f"{value:.2f}" for value in values)
                sentences.append(f"{change}, {what} of {name}: {said}")
        axes[0, column].set_title(change)
        axes[1, column].set_xticks(range(1 + len(strengths)), ["as is", *(f"{each:g}" for each in strengths)])
    for ax in axes.flat:
        ax.set(ylim=(-0.03, 1.05), yticks=np.arange(0, 1.01, 0.25))
        ax.grid(axis="y")
    if promised is not None:
        for ax in axes[1]:
            ax.axhline(promised, color="black", ls="--", lw=1.2, label="promised")
    for ax, what in zip(axes[:, 0], ("accuracy", "coverage of sets"), strict=True):
        ax.set_ylabel(what)
    fig.legend(*axes[1, 0].get_legend_handles_labels(), loc="outside upper left", ncols=1 + len(known))
    ending = "." if promised is None else f". Promised coverage {promised:.2f}."
    style.show(fig, "From images as they are to ever stronger changes. " + "; ".join(sentences) + ending)
