"""The figures of lesson 06: what an answer takes and a file weighs, and how costs grow."""

from __future__ import annotations

from effnet_helpers import records
from effnet_helpers.plotting import style
from effnet_helpers.plotting.style import BLUE, GREY, ORANGE, SKY, styled

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, NullLocator

LOOKS = {"float32": (BLUE, ""), "float16": (SKY, "//"), "int8": (ORANGE, "..")}


@styled
def serving(table: pd.DataFrame) -> None:
    """Draws milliseconds an answer and megabytes on disk side by side, one row a way to serve the model.

    Args:
        table: One row a way (the index says which), columns `precision` ("float32", "float16", "int8", or anything
            else for what the others are compared with), `milliseconds` and `megabytes`.

    Raises:
        ValueError: If there is no row, or a time or size is not above 0.
    """
    values = table[["milliseconds", "megabytes"]]
    records.expect(len(table) > 0 and bool((values > 0).all(axis=None)), "table", values.to_dict(), "rows above 0")
    looks = [LOOKS.get(precision, (GREY, "\\\\")) for precision in table["precision"]]
    height = 1.3 + 0.38 * len(table)
    fig, (times, sizes) = plt.subplots(1, 2, figsize=(9, height), sharey=True, width_ratios=(3, 2))
    _bars(times, table["milliseconds"], looks, "milliseconds an image")
    _bars(sizes, table["megabytes"], looks, "megabytes on disk")
    times.set_yticks(range(len(table)), table.index)
    times.set_ylim(len(table) - 0.5, -0.5)
    drawn = dict(zip(table["precision"], looks, strict=True))
    keys = [Patch(fc=color, hatch=hatch, ec="white", label=name) for name, (color, hatch) in drawn.items()]
    fig.legend(handles=keys, loc="outside upper left", ncols=len(keys), frameon=False)
    said = [f"{name} {row.milliseconds:.3g} ms and {row.megabytes:.3g} MB" for name, row in table.iterrows()]
    style.show(fig, f"Time for one image and size of the file: {'; '.join(said)}.")


@styled
def growth(table: pd.DataFrame) -> None:
    """Draws how time and memory grow with the number of images, with their size and with the variant.

    Args:
        table: One row a measurement, columns `images`, `image_size`, `variant`, `seconds` and `peak_mb`. What was
            varied is found around the commonest value of each.

    Raises:
        ValueError: If one of them was not varied.
    """
    varied = {"images": "images", "image_size": "side in pixels", "variant": "variant"}
    common = {column: table[column].mode()[0] for column in varied}
    parts = {}
    for column in varied:
        fixed = {other: value for other, value in common.items() if other != column}
        parts[column] = table[(table[list(fixed)] == pd.Series(fixed)).all(axis=1)].sort_values(column)
        received = parts[column][column].tolist()
        records.expect(len(received) > 1, column, received, "two values or more, all else being equal")
    fig, axes = plt.subplots(2, 3, figsize=(9, 4.6), sharey="row")
    sentences = []
    for (column, label), (time, memory) in zip(varied.items(), axes.T, strict=True):
        rows = parts[column]
        time.plot(rows[column], rows["seconds"], "o-", color=BLUE)
        memory.plot(rows[column], rows["peak_mb"], "s--", color=ORANGE)
        memory.set(xlabel=label, xticks=rows[column].tolist())
        time.set(xticks=rows[column].tolist(), xticklabels=[])
        said = (f"{row[column]}: {row['seconds']:.3g} s and {row['peak_mb']:.0f} MB" for _, row in rows.iterrows())
        sentences.append(f"{label}, {', '.join(said)}")
    for ax, label in zip(axes[:, 0], ("seconds", "peak memory, MB"), strict=True):
        ax.set(ylabel=label, ylim=(0, None))
    for ax in axes.flat:
        ax.grid(axis="y", alpha=0.3)
    style.show(fig, f"Cost of running a network over images, by {'; by '.join(sentences)}.")


def _bars(ax: Axes, values: pd.Series, looks: list[tuple[str, str]], label: str) -> None:
    """Horizontal bars with their values; on a logarithmic axis where they differ more than 20 times."""
    colors, hatches = zip(*looks, strict=True)
    bars = ax.barh(np.arange(len(values)), values, height=0.7, color=colors, hatch=hatches, edgecolor="white")
    ax.bar_label(bars, [f"{value:.3g}" for value in values], padding=3)
    if values.max() > 20 * values.min():
        ax.set_xscale("log")
        ax.set_xlim(values.min() / 3, values.max() * 3)
        ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        ax.xaxis.set_minor_locator(NullLocator())
        label += " (logarithmic)"
    else:
        ax.set_xlim(0, 1.2 * values.max())
    ax.set_xlabel(label)
