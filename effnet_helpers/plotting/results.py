"""Figures of training and its results; the alternative text says the numbers drawn."""

import math
from collections.abc import Mapping, Sequence

from effnet_helpers import records
from effnet_helpers.evaluation import Report
from effnet_helpers.plotting import style
from effnet_helpers.plotting.style import BLUE, GREY, SERIES, SKY, VERMILLION, styled

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, NullLocator

METRICS = ("accuracy", "loss")


@styled
def learning_curves(
    histories: Mapping[str, Mapping[str, Sequence[float]]],
    x_label: str = "epoch",
    num_classes: int | None = None,
    kept: int | None = None,
) -> None:
    """Draws accuracy and, beside it, loss over the epochs of one or more runs: training dashed, validation solid.

    Args:
        histories: For each run's name its history as Keras keeps it, `{"accuracy": […], "val_accuracy": […], …}`. A
            metric that no run has is left out.
        x_label: What one entry of a history stands for, if not a pass over the data.
        num_classes: If given, the loss of guessing, its logarithm, is drawn: above it a network is worse than guessing.
        kept: Epoch whose weights were kept, counted from 1, to be marked; 0 means those that training began from.

    Raises:
        ValueError: If a run has neither metric, or there are more than six.
    """
    records.expect(0 < len(histories) <= len(SERIES), "number of runs in one figure", len(histories), "1 to 6")
    panels = {metric: {name: _curves(history, metric) for name, history in histories.items()} for metric in METRICS}
    panels = {metric: runs for metric, runs in panels.items() if any(runs.values())}
    for name, history in histories.items():
        known = any(runs[name] for runs in panels.values())
        records.expect(known, f"history of {name!r}", sorted(history), f"values of {' or '.join(METRICS)}")
    fig, axes = plt.subplots(1, len(panels), figsize=(9 if len(panels) > 1 else 6, 3.4), squeeze=False)
    sentences, drawn = [], set()
    for ax, (metric, runs) in zip(axes[0], panels.items(), strict=True):
        longest = 1
        for (color, marker), (name, curves) in zip(SERIES, runs.items(), strict=False):
            for split, values in curves.items():
                line, fill, width = ("-", color, 2.0) if split == "validation" else ("--", "white", 1.3)
                look = {"color": color, "lw": width, "marker": marker, "mfc": fill}
                ax.plot(range(1, len(values) + 1), values, line, markevery=max(1, len(values) // 12), **look)
                longest = max(longest, len(values))
            drawn.update(curves)
            said = ", ".join(f"{split} {values[0]:.3g} to {values[-1]:.3g}" for split, values in curves.items())
            sentences += [f"{metric} of {name}, {len(values)} points: {said}"] if curves else []
        ax.set_xlim((0 if kept == 0 else 1) - 0.3 - 0.02 * longest, longest + 0.3 + 0.02 * longest)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        ax.set(xlabel=x_label, ylabel=metric)
        ax.grid(axis="y")
        if metric == "loss":
            ax.set_ylim(0, None)
        if metric == "loss" and num_classes:
            guess, top = math.log(num_classes), ax.get_ylim()[1]
            if guess < 3 * top:
                ax.set_ylim(0, max(top, 1.08 * guess))
                ax.axhline(guess, color="black", ls="-.", lw=1.2)
                ax.annotate("guessing", (1.02, guess), xycoords=("axes fraction", "data"), va="center")
            else:  # far above: drawn to scale, it would flatten the curves
                ax.annotate(f"guessing:\n{guess:.2f}, far\nabove", (1.02, 1), xycoords="axes fraction", va="top")
        if kept is not None:
            side = {"ha": "center" if kept else "left", "va": "bottom"}
            ax.axvline(kept, color="black", ls=":", lw=1.5)
            ax.annotate("kept" if kept else "kept: as it began", (kept, 1), xycoords=("data", "axes fraction"), **side)
    named = zip(SERIES, histories, strict=False)
    keys = [Line2D([], [], color=color, marker=marker, label=name) for (color, marker), name in named]
    styles = [look for look in (("-", GREY, "validation"), ("--", "white", "training")) if look[2] in drawn]
    look = {"color": GREY, "marker": ".", "ms": 9}
    keys += [Line2D([], [], ls=line, mfc=fill, label=split, **look) for line, fill, split in styles]
    fig.legend(handles=keys, loc="outside upper left", ncols=4, handlelength=3)
    sentences += [f"guessing has a loss of {math.log(num_classes):.2f}"] if num_classes and "loss" in panels else []
    sentences += [f"kept is {x_label} {kept}" if kept else "kept is what it began with"] if kept is not None else []
    style.show(fig, f"Learning curves by {x_label}. " + "; ".join(sentences) + ".")


@styled
def schedule(learning_rates: Sequence[float]) -> None:
    """Draws the learning rate of every step and marks its peak.

    Args:
        learning_rates: One value a step, from the first.
    """
    records.expect(len(learning_rates) > 0, "learning_rates", learning_rates, "at least one step")
    fig, ax = plt.subplots(figsize=(7.5, 2.8))
    steps, peak, highest = len(learning_rates), int(np.argmax(learning_rates)) + 1, max(learning_rates)
    ax.plot(range(1, steps + 1), learning_rates, color=BLUE, lw=2)
    ax.plot(peak, highest, "o", color=VERMILLION)
    ax.annotate(f"{highest:.2g} at step {peak}", (peak, highest), (8, 2), textcoords="offset points")
    ax.axhline(0, color=GREY, lw=0.8)
    ax.set(xlabel="step", ylabel="learning rate")
    ax.ticklabel_format(axis="y", scilimits=(-2, 3))
    ends = f"{learning_rates[0]:.2g} at the first, {highest:.2g} at its peak in step {peak}, {learning_rates[-1]:.2g}"
    style.show(fig, f"Learning rate over {steps} steps: {ends} at the last.")


@styled
def confusion(report: Report) -> None:
    """Draws the confusion matrix: counts, shaded by their share of the true class.

    Above 20 classes the shades stand alone, since numbers and names would be too small to read.

    Args:
        report: From `evaluation.evaluate`.
    """
    counts, names = report.confusion, report.class_names
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    few = len(names) <= 20
    side = min(8.0, 2.4 + 0.55 * len(names)) if few else 7.0
    fig, ax = plt.subplots(figsize=(side + 1.0, side - 0.3))
    shades = ax.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    ax.set(xlabel="predicted class", ylabel="true class", xticks=[], yticks=[])
    if few:
        ax.set_xticks(range(len(names)), names, rotation=0 if len(names) <= 4 else 90)
        ax.set_yticks(range(len(names)), names)
        for row, column in np.ndindex(counts.shape):
            color = "white" if shares[row, column] > 0.55 else "black"
            ax.text(column, row, counts[row, column], ha="center", va="center", color=color)
    fig.colorbar(shades, ax=ax, label="share of the true class", shrink=0.8)
    errors = counts - np.diag(np.diag(counts))
    worst = [np.unravel_index(i, counts.shape) for i in np.argsort(-errors, axis=None, kind="stable")[:3]]
    said = [f"{names[t]} taken for {names[p]} {errors[t, p]} times" for t, p in worst if errors[t, p] > 0]
    frequent = ", ".join(said) or "no error"
    style.show(fig, f"Confusion matrix of {len(names)} classes, {report}. Most frequent: {frequent}.")


@styled
def per_class_recall(report: Report, most: int = 20) -> None:
    """Draws each class's recall with its 95 % interval, lowest first, and the accuracy over all classes as a line.

    Args:
        report: From `evaluation.evaluate`.
        most: How many classes at most; those of lowest recall are kept.
    """
    known = report.per_class.dropna(subset="recall").sort_values("recall", kind="stable")
    table = known.head(most)
    which = f", the {most} lowest of {len(known)}" if len(known) > most else ""
    fig, ax = plt.subplots(figsize=(7, 1.1 + 0.32 * len(table)))
    errors = [table["recall"] - table["recall_low"], table["recall_high"] - table["recall"]]
    ax.errorbar(table["recall"], range(len(table)), xerr=np.abs(errors), fmt="o", color=BLUE, capsize=3)
    ax.axvline(report.accuracy, color=GREY, ls="--")
    ax.annotate("all classes", (report.accuracy, 1), xycoords=("data", "axes fraction"), ha="center", va="bottom")
    ax.set_yticks(range(len(table)), [f"{row['class']} ({row['images']})" for _, row in table.iterrows()])
    ax.set(xlim=(-0.02, 1.02), ylim=(len(table) - 0.5, -0.5), xlabel="recall (share of the class that was found)")
    ax.grid(axis="x")
    said = [f"{row['class']} {row['recall']:.2f} of {row['images']} images" for _, row in table.iterrows()]
    title = f"Recall by class with 95 % intervals, lowest first{which}"
    style.show(fig, f"{title}: {', '.join(said)}. All classes together: {report.accuracy:.2f}.")


@styled
def accuracy_comparison(rows: Sequence[tuple[str, float, float, float]], chance: float | None = None) -> None:
    """Draws accuracies with their intervals as horizontal bars, in the order given.

    Args:
        rows: Label, accuracy, lower and upper end of its interval, all in [0, 1].
        chance: Accuracy of guessing, drawn as a dashed line.
    """
    labels, accuracies, lows, highs = zip(*rows, strict=True)
    fig, ax = plt.subplots(figsize=(7.5, 0.9 + 0.45 * len(rows)))
    errors = np.abs([np.subtract(accuracies, lows), np.subtract(highs, accuracies)])
    ax.barh(range(len(rows)), accuracies, xerr=errors, color=SKY, height=0.65, capsize=4)
    for position, (accuracy, high) in enumerate(zip(accuracies, highs, strict=True)):
        ax.text(max(accuracy, high) + 0.015, position, f"{100 * accuracy:.1f} %", va="center")
    if chance is not None:
        ax.axvline(chance, color="black", ls="--", lw=1.2)
        ax.annotate("chance", (chance, 1), xycoords=("data", "axes fraction"), ha="center", va="bottom")
    ax.set_yticks(range(len(rows)), labels)
    ax.set(xlim=(0, 1.13), ylim=(len(rows) - 0.5, -0.5), xlabel="accuracy")
    ax.set_xticks(np.arange(0, 1.01, 0.2), [f"{percent} %" for percent in range(0, 101, 20)])
    said = [f"{label} {100 * a:.1f} % ({100 * low:.1f}–{100 * high:.1f} %)" for label, a, low, high in rows]
    ending = "." if chance is None else f"; chance {100 * chance:.1f} %."
    style.show(fig, "Accuracy with 95 % intervals: " + "; ".join(said) + ending)


@styled
def label_curve(
    table: pd.DataFrame, published: Mapping[str, tuple[float, float]], again: tuple[float, float] | None = None
) -> None:
    """Draws accuracy against the number of labels: the mean over draws as a line, lowest to highest as a band.

    Args:
        table: Columns `method`, `labels`, `accuracy` in [0, 1]; one row a draw.
        published: Of each published figure its labels and accuracy, drawn as a cross with its name.
        again: Labels and accuracy of a point that was measured again, drawn as a ring.
    """
    fig, ax = plt.subplots(figsize=(7.5, 3.8))
    ends, sentences = [], []
    for (color, marker), (method, rows) in zip(SERIES, table.groupby("method", sort=False), strict=False):
        by_labels = rows.groupby("labels")["accuracy"].agg(["mean", "min", "max"])
        ax.fill_between(by_labels.index, by_labels["min"], by_labels["max"], color=color, alpha=0.18, lw=0)
        ax.plot(by_labels.index, by_labels["mean"], color=color, marker=marker, lw=2)
        ends.append((method, by_labels.index[-1], by_labels["mean"].iloc[-1], color))
        said = ", ".join(f"{labels} labels {row['mean']:.3f}" for labels, row in by_labels.iterrows())
        sentences.append(f"{method}: {said}")
    for name, (labels, accuracy) in published.items():
        ax.plot(labels, accuracy, "x", color="black", ms=8, mew=2, zorder=4)
        ax.annotate(name, (labels, accuracy), (8, -4), textcoords="offset points", va="top", fontsize=10)
        sentences.append(f"published, {name}: {accuracy:.3f} with {labels}")
    if again:
        ax.plot(*again, "o", color="black", mfc="none", ms=13, mew=1.5, zorder=4)
        sentences.append(f"measured again: {again[1]:.3f} with {again[0]}")
    ax.set_xscale("log")
    ax.set_xticks(ticks := sorted(table["labels"].unique()), [str(tick) for tick in ticks])
    ax.xaxis.set_minor_locator(NullLocator())
    _label_ends(ax, ends)
    ax.set(xlabel="labelled training images (logarithmic)", ylabel="accuracy")
    ax.grid(axis="y")
    style.show(fig, "Accuracy against the number of labels, mean over draws. " + "; ".join(sentences) + ".")


def _curves(history: Mapping[str, Sequence[float]], metric: str) -> dict[str, Sequence[float]]:
    """Picks a metric's curves out of a history: both, the one that is there, or none."""
    keys = {"training": metric, "validation": f"val_{metric}"}
    return {split: history[key] for split, key in keys.items() if len(history.get(key, ()))}


def _label_ends(ax: Axes, ends: Sequence[tuple[str, int, float, str]]) -> None:
    """Writes each curve's name to the right of the axes, level with its end, lower ones moved up on a clash."""
    low, high = ax.get_ylim()
    gap = 0.075 * (high - low)
    height = -math.inf
    for name, epoch, value, color in sorted(ends, key=lambda end: end[2]):
        height = max(value, height + gap)
        line = {"arrowstyle": "-", "color": color, "lw": 1, "ls": ":"}
        place = {"textcoords": ("axes fraction", "data"), "va": "center"}
        ax.annotate(name, (epoch, value), (1.03, height), arrowprops=line, **place)
