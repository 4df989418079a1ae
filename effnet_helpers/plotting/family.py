"""Figures of the family of variants, of speed and of the learning rate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from effnet_helpers import records
from effnet_helpers.plotting import style
from effnet_helpers.plotting.style import BLUE, GREEN, GREY, ORANGE, SERIES, SKY, VERMILLION, styled

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator


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
        ax.grid(axis="y", alpha=0.3)
        pairs = zip(names, formula[key], published[key], strict=True)
        sentences.append(f"{key}: " + ", ".join(f"{name} {ours:.3g} → {theirs:.3g}" for name, ours, theirs in pairs))
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside upper left", ncols=2, frameon=False)
    style.show(fig, "Compound scaling, value of the formula → published value. " + ". ".join(sentences) + ".")


@styled
def accuracy_versus_cost(table: pd.DataFrame) -> None:
    """Draws published accuracy against multiply-adds for the B and the Lite line.

    Args:
        table: Columns `variant`, `multiply_adds` (for one image) and `top1` (percent), in order of size.
    """
    fig, ax = plt.subplots(figsize=(7.5, 4.2))
    is_lite = table["variant"].str.startswith("Lite")
    sentences = []
    lines = (
        ("EfficientNet-B", table[~is_lite], *SERIES[0], "-", (0, 7), {"ha": "center"}),
        ("EfficientNet-Lite", table[is_lite], *SERIES[1], "--", (6, -6), {"va": "top"}),
    )
    for label, rows, color, marker, line_style, offset, alignment in lines:
        billions = rows["multiply_adds"] / 1e9
        ax.plot(billions, rows["top1"], line_style, color=color, marker=marker, label=label)
        for name, x, y in zip(rows["variant"], billions, rows["top1"], strict=True):
            ax.annotate(name, (x, y), offset, textcoords="offset points", fontsize=10, **alignment)
        said = zip(rows["variant"], rows["top1"], billions, strict=True)
        sentences.append(f"{label}: " + ", ".join(f"{name} {top1:g} % at {cost:.2g}" for name, top1, cost in said))
    ax.set_xscale("log")
    ax.margins(x=0.08, y=0.12)
    ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.set(xlabel="multiply-adds for one image, in billions (logarithmic)", ylabel="published ImageNet top-1 (%)")
    ax.grid(alpha=0.3)
    ax.legend(loc="lower right", frameon=False)
    style.show(fig, "Accuracy against cost in billions of multiply-adds. " + "; ".join(sentences) + ".")


@styled
def latency(table: pd.DataFrame) -> None:
    """Draws the measured time for one image, one bar a batch size, grouped by variant.

    Args:
        table: Milliseconds an image; one row a variant (the index), one column a batch size, three at most.
    """
    looks = ((BLUE, ""), (SKY, "//"), (ORANGE, ".."))
    records.expect(0 < len(table.columns) <= len(looks), "columns of the latency table", list(table.columns), "1 to 3")
    fig, ax = plt.subplots(figsize=(7.5, 3.4))
    width = 0.8 / len(table.columns)
    for number, ((color, hatch), batch_size) in enumerate(zip(looks, table.columns, strict=False)):
        places = np.arange(len(table)) + (number - (len(table.columns) - 1) / 2) * width
        label = f"batch of {batch_size}"
        bars = ax.bar(places, table[batch_size], 0.94 * width, color=color, hatch=hatch, edgecolor="white", label=label)
        ax.bar_label(bars, fmt="{:.3g}", padding=2)
    ax.set_xticks(range(len(table)), table.index)
    ax.set(ylabel="milliseconds an image")
    ax.margins(y=0.12)
    fig.legend(loc="outside upper left", ncols=3, frameon=False)
    said = [
        f"{name}: " + ", ".join(f"{row[size]:.3g} ms at batch {size}" for size in table.columns)
        for name, row in table.iterrows()
    ]
    style.show(fig, "Time for one image by variant and batch size. " + "; ".join(said) + ".")


@styled
def throughput(stages: Mapping[str, float]) -> None:
    """Draws images per second of each stage as bars; the axis is logarithmic where stages differ more than 20 times.

    Args:
        stages: Images per second by name of the stage, in the order shown.
    """
    names, rates = list(stages), list(stages.values())
    records.expect(bool(rates) and min(rates) > 0, "stages", dict(stages), "at least one, all with rates above 0")
    fig, ax = plt.subplots(figsize=(7.5, 0.8 + 0.45 * len(stages)))
    bars = ax.barh(names, rates, color=GREEN, height=0.65)
    ax.bar_label(bars, [f"{rate:,.0f}" for rate in rates], padding=4)
    ax.invert_yaxis()
    label = "images per second"
    if max(rates) > 20 * min(rates):
        ax.set_xscale("log")
        ax.set_xlim(min(rates) / 3, max(rates) * 3)
        label += " (logarithmic)"
    else:
        ax.set_xlim(0, 1.15 * max(rates))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_xlabel(label)
    said = ", ".join(f"{name} {rate:,.0f}" for name, rate in stages.items())
    style.show(fig, f"Images per second, stage by stage: {said}.")


@styled
def schedule(learning_rates: Sequence[float]) -> None:
    """Draws the learning rate of every step and marks its peak.

    Args:
        learning_rates: One value a step, from the first.
    """
    records.expect(len(learning_rates) > 0, "learning_rates", learning_rates, "at least one step")
    fig, ax = plt.subplots(figsize=(7.5, 2.8))
    peak = int(np.argmax(learning_rates))
    ax.plot(range(1, len(learning_rates) + 1), learning_rates, color=BLUE, lw=2)
    ax.plot(peak + 1, learning_rates[peak], "o", color=VERMILLION)
    ax.annotate(
        f"{learning_rates[peak]:.2g} at step {peak + 1}",
        (peak + 1, learning_rates[peak]),
        (8, 2),
        textcoords="offset points",
        color="black",
    )
    ax.axhline(0, color=GREY, lw=0.8)
    ax.set(xlabel="step", ylabel="learning rate")
    ax.ticklabel_format(axis="y", scilimits=(-2, 3))
    first, last = learning_rates[0], learning_rates[-1]
    style.show(
        fig,
        f"Learning rate over {len(learning_rates)} steps: {first:.2g} at the first, {learning_rates[peak]:.2g} at its "
        f"peak in step {peak + 1}, {last:.2g} at the last.",
    )
