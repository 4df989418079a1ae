"""Figures of what networks cost: compound scaling, operations, time, memory, size on disk."""

from collections.abc import Mapping, Sequence

from effnet_helpers import records
from effnet_helpers.plotting import style
from effnet_helpers.plotting.style import BLUE, GREY, ORANGE, SERIES, SKY, VERMILLION, styled

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.ticker import LogLocator, NullLocator

BARS = ((BLUE, ""), (SKY, "//"), (ORANGE, ".."))
"""Colours and hatches of bars that stand side by side."""
LABEL_SIDES = ((-1, 1), (1, -1), (-1, 0), (-1, 1), (1, 1), (1, -1))
"""Where the names of a family's networks stand, right and up of their points, so that near points keep theirs."""


@styled
def compound_scaling(
    names: Sequence[str], formula: Mapping[str, Sequence[float]], published: Mapping[str, Sequence[float]]
) -> None:
    """Sets what the compound-scaling formula predicts beside the values the variants really have.

    Args:
        names: Variants from the smallest to the largest.
        formula: `"depth"`, `"width"` (factors) and `"resolution"` (pixels), one value a variant each.
        published: The same keys, the hand-picked values.
    """
    fig, axes = plt.subplots(1, 3, figsize=(9, 2.9))
    sentences = []
    for ax, key, unit in zip(axes, ("depth", "width", "resolution"), ("factor", "factor", "pixels"), strict=True):
        ax.plot(names, formula[key], "--", color=VERMILLION, marker="s", mfc="white", label="formula")
        ax.plot(names, published[key], "-", color=BLUE, marker="o", label="published")
        ax.set(title=f"{key} ({unit})", ylim=(0, 1.1 * max(*formula[key], *published[key])))
        ax.grid(axis="y")
        pairs = zip(names, formula[key], published[key], strict=True)
        sentences.append(f"{key}: " + ", ".join(f"{name} {ours:.3g} → {theirs:.3g}" for name, ours, theirs in pairs))
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside upper left", ncols=2)
    style.show(fig, "Compound scaling, value of the formula → published value. " + ". ".join(sentences) + ".")


@styled
def accuracy_versus_cost(table: pd.DataFrame) -> None:
    """Draws published accuracy against multiply-adds, one colour and marker a family, each network named at its point.

    Networks of a family whose name begins with "EfficientNet" are joined by a line, since one is scaled from another.

    Args:
        table: Columns `name`, `family`, `multiply_adds` (for one image) and `top1` (percent). The first family is drawn
            on top and labelled largest. Six families at most.

    Raises:
        ValueError: If there is no row, or more than six families.
    """
    families = list(dict.fromkeys(table["family"]))
    records.expect(0 < len(families) <= len(SERIES), "families", families, f"1 to {len(SERIES)} of them")
    fig, ax = plt.subplots(figsize=(9, 4.8))
    sentences = []
    for number, (family, (color, marker)) in enumerate(zip(families, SERIES, strict=False)):
        rows = table[table["family"] == family].sort_values("multiply_adds")
        costs, size = rows["multiply_adds"] / 1e9, 11 if number == 0 else 9
        line = ("-", "--")[number % 2] if family.startswith("EfficientNet") else "none"
        ax.plot(costs, rows["top1"], ls=line, color=color, marker=marker, ms=6, label=family, zorder=3 - (number > 0))
        points = list(zip(rows["name"], costs, rows["top1"], strict=True))
        right, up = LABEL_SIDES[number]
        place = {"ha": "left" if right > 0 else "right", "va": ("center", "bottom", "top")[up]}
        for name, cost, top1 in points:
            ax.annotate(name, (cost, top1), (6 * right, 3 * up), textcoords="offset points", fontsize=size, **place)
        sentences.append(f"{family}: " + ", ".join(f"{name} {top1:g} % at {cost:.2g}" for name, cost, top1 in points))
    ax.set_xscale("log")
    ax.margins(x=0.1, y=0.08)
    ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter("{x:g}")
    ax.set(xlabel="multiply-adds for one image, in billions (logarithmic)", ylabel="published ImageNet top-1 (%)")
    ax.grid()
    ax.legend(loc="lower right")
    style.show(fig, "Accuracy against cost in billions of multiply-adds. " + "; ".join(sentences) + ".")


@styled
def latency(table: pd.DataFrame) -> None:
    """Draws the measured time for one image, one bar a batch size, grouped by variant.

    Args:
        table: Milliseconds an image; one row a variant (the index), one column a batch size, three at most.
    """
    sizes = list(table.columns)
    records.expect(0 < len(sizes) <= len(BARS), "columns of the latency table", sizes, f"1 to {len(BARS)}")
    fig, ax = plt.subplots(figsize=(7.5, 3.4))
    width = 0.8 / len(sizes)
    for number, (size, (color, hatch)) in enumerate(zip(sizes, BARS, strict=False)):
        places = np.arange(len(table)) + (number - (len(sizes) - 1) / 2) * width
        look = {"color": color, "hatch": hatch, "edgecolor": "white", "label": f"batch of {size}"}
        ax.bar_label(ax.bar(places, table[size], 0.94 * width, **look), fmt="{:.3g}", padding=2)
    ax.set_xticks(range(len(table)), table.index)
    ax.set(ylabel="milliseconds an image")
    ax.margins(y=0.12)
    fig.legend(loc="outside upper left", ncols=3)
    said = [
        f"{name}: " + ", ".join(f"{row[size]:.3g} ms at batch {size}" for size in sizes)
        for name, row in table.iterrows()
    ]
    style.show(fig, "Time for one image by variant and batch size. " + "; ".join(said) + ".")


@styled
def throughput(stages: Mapping[str, float], network: Mapping[str, float] | None = None) -> None:
    """Draws images per second as points on a logarithmic axis: the stages of a pipeline, and a network to compare.

    Args:
        stages: Images per second by name of the stage, in the order shown.
        network: Images per second by name of what a network does with them, below the stages.
    """
    rates = pd.Series({**stages, **(network or {})}, dtype=float)
    records.expect(len(rates) > 0 and min(rates) > 0, "stages", dict(rates), "at least one, all with rates above 0")
    fig, ax = plt.subplots(figsize=(7.5, 1.1 + 0.36 * len(rates)))
    kinds = (("pipeline", stages, BLUE, "o"), ("network", network or {}, VERMILLION, "s"))
    for kind, part, color, marker in kinds:
        if part:
            ax.plot([*part.values()], [*part], marker, color=color, markersize=9, label=kind)
    for name, rate in rates.items():
        ax.annotate(f"{rate:,.0f}", (rate, name), (9, 0), textcoords="offset points", va="center")
    ax.invert_yaxis()
    ax.grid()
    ax.set(xscale="log", xlim=(rates.min() / 2, 4 * rates.max()), xlabel="images per second (logarithmic)")
    ax.xaxis.set_major_formatter("{x:,g}")
    ax.xaxis.set_minor_locator(NullLocator())
    if network:
        fig.legend(loc="outside upper left", ncols=2)
    said = [f"{kind}: " + ", ".join(f"{name} {part[name]:,.0f}" for name in part) for kind, part, *_ in kinds if part]
    style.show(fig, f"Images per second of the {'; of the '.join(said)}.")


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
    known = dict(zip(("float32", "float16", "int8"), SERIES, strict=False))
    looks = {precision: known.get(precision, (GREY, "X")) for precision in table["precision"]}
    height = 1.3 + 0.38 * len(table)
    fig, axes = plt.subplots(1, 2, figsize=(9, height), sharey=True, width_ratios=(3, 2))
    for ax, column, label in zip(axes, values, ("milliseconds an image", "megabytes on disk"), strict=True):
        for precision, (color, marker) in looks.items():
            places = np.flatnonzero(table["precision"] == precision)
            ax.plot(values[column].iloc[places], places, marker, color=color, ms=9, label=precision)
        for place, value in enumerate(values[column]):
            ax.annotate(f"{value:.3g}", (value, place), (9, 0), textcoords="offset points", va="center")
        if values[column].max() > 20 * values[column].min():
            ax.set(xscale="log", xlim=(values[column].min() / 2, 3 * values[column].max()))
            ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            ax.set_xlabel(f"{label} (logarithmic)")
        else:
            ax.set(xlim=(0, 1.2 * values[column].max()), xlabel=label)
        ax.xaxis.set_major_formatter("{x:,g}")
        ax.xaxis.set_minor_locator(NullLocator())
        ax.grid()
    axes[0].set_yticks(range(len(table)), table.index)
    axes[0].set_ylim(len(table) - 0.5, -0.5)
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside upper left", ncols=len(looks))
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
    labels = {"images": "images", "image_size": "side in pixels", "variant": "variant"}
    is_common = table[list(labels)] == table[list(labels)].mode().iloc[0]
    parts = {}
    for column in labels:
        parts[column] = table[is_common.drop(columns=column).all(axis=1)].sort_values(column)
        received = parts[column][column].tolist()
        records.expect(len(received) > 1, column, received, "two values or more, all else being equal")
    fig, axes = plt.subplots(2, 3, figsize=(9, 5), sharey="row")
    sentences = []
    for (column, rows), (time, memory) in zip(parts.items(), axes.T, strict=True):
        time.plot(rows[column], rows["seconds"], "o-", color=BLUE)
        memory.plot(rows[column], rows["peak_mb"], "s--", color=ORANGE)
        first, last = rows.iloc[0], rows.iloc[-1]
        for ax, value, what in ((time, "seconds", "time"), (memory, "peak_mb", "memory")):
            times = last[value] / first[value]
            ax.set_title(f"{first[column]} → {last[column]}: {times:.1f} × the {what}", fontsize=11)
        memory.set(xlabel=labels[column], xticks=rows[column].tolist())
        time.set(xticks=rows[column].tolist(), xticklabels=[])
        said = (f"{row[column]}: {row['seconds']:.3g} s and {row['peak_mb']:.0f} MB" for _, row in rows.iterrows())
        sentences.append(f"{labels[column]}, {', '.join(said)}")
    for ax, label in zip(axes[:, 0], ("seconds", "peak memory, MB"), strict=True):
        ax.set(ylabel=label, ylim=(0, None))
    for ax in axes.flat:
        ax.grid(axis="y")
    style.show(fig, f"Cost of running a network over images, by {'; by '.join(sentences)}.")
