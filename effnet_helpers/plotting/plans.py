"""Figures of plans: what was measured, a little beyond it, and far beyond it, told apart."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from effnet_helpers import records
from effnet_helpers.plotting import style
from effnet_helpers.plotting.style import GREY, SERIES, styled

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter, FixedLocator, LogLocator, NullLocator

DECADE = 10
KINDS = {
    "within what was measured": {"ls": "-", "lw": 2.4, "alpha": 1.0},
    "up to ten times beyond": {"ls": (0, (4, 2)), "lw": 1.8, "alpha": 0.9},
    "extrapolated": {"ls": (0, (1, 2)), "lw": 1.5, "alpha": 0.7},
}
"""How far a line may be trusted: told apart by its dashes and its width, so also in grey."""
TIMES = {1e-3: "1 ms", 1: "1 s", 60: "1 min", 3600: "1 h", 86400: "1 day", 31_557_600: "1 year"}


@styled
def outlook(panels: Mapping[str, tuple], x: Sequence[float], x_label: str, marks: Mapping[str, tuple] = {}) -> None:
    """Draws plans on logarithmic axes: solid where there are measurements, dashed up to ten times beyond, then dotted.

    Args:
        panels: For each panel's title a triple: for each line's name its y, one for each of `x`; for some of these
            names the pair (x, y) of what was measured, drawn as points (a line without any is all dotted); and the unit
            of y: "B" for bytes, "s" for seconds, "" for none.
        x: Where the plans were made, in rising order.
        x_label: What stands below.
        marks: A text for each place (x, y) of the last panel that is to be pointed at.

    Raises:
        ValueError: If there is no panel, no line or more than six in one, or a number that is not above 0.
    """
    records.expect(bool(panels), "panels", list(panels), "one or more")
    for lines, _, _ in panels.values():
        records.expect(0 < len(lines) <= len(SERIES), "lines", [*lines], f"1 to {len(SERIES)}")
        for name, y in lines.items():
            usable = len(y) == len(x) and min(*x, *y) > 0
            records.expect(usable, f"line {name!r}", list(y), f"{len(x)} numbers above 0, one for each x above 0")
    fig, axes = plt.subplots(1, len(panels), figsize=(9, 4), squeeze=False)
    x, sentences = np.asarray(x, float), []
    for ax, (title, (lines, measured, unit)) in zip(axes.flat, panels.items(), strict=True):
        for (color, marker), (name, y) in zip(SERIES, lines.items(), strict=False):
            y = np.asarray(y, float)
            reach = max(measured[name][0]) if name in measured else 0
            ends = (0, reach, DECADE * reach, np.inf)
            for (low, high), look in zip(itertools.pairwise(ends), KINDS.values(), strict=True):
                _draw_between(ax, x, y, low, high, {**look, "color": color})
            if name in measured:
                ax.plot(*measured[name], marker, color=color, ms=7, mec="white")
            ax.plot(x[-1], y[-1], marker, color=color, mfc="white", ms=6)
            ax.plot([], [], color=color, marker=marker, mfc=color if reach else "white", label=name)
            shown = f"measured from {min(measured[name][0]):,.4g} to {reach:,.4g}" if reach else "not measured"
            sentences.append(f"{title}, {name} ({shown}): {y[0]:.3g} at {x[0]:,.4g}, {y[-1]:.3g} at {x[-1]:,.4g}")
        ax.set(xscale="log", yscale="log", xlabel=x_label, title=title)
        for axis, shown in ((ax.xaxis, ""), (ax.yaxis, unit)):
            axis.set_major_locator(LogLocator(numticks=6))
            axis.set_major_formatter(EngFormatter(shown))
            axis.set_minor_locator(NullLocator())
        if unit == "s":
            ax.yaxis.set_major_locator(FixedLocator(list(TIMES)))
            ax.yaxis.set_major_formatter(lambda seconds, _: TIMES.get(round(seconds, 3), ""))
        ax.grid()
        ax.legend(loc="upper left", fontsize=9, handlelength=1.6)
        low, high = ax.get_ylim()
        ax.set_ylim(low, high * (high / low) ** (0.14 * len(lines)))  # room for the legend
    for text, place in marks.items():
        axes.flat[-1].plot(*place, "|", color="black", ms=13, mew=1.5)
        axes.flat[-1].annotate(text, place, (0, -9), textcoords="offset points", fontsize=9, va="top")
        sentences.append(f"at {place[0]:,.4g}: {text}")
    samples = [Line2D([], [], color=GREY, label=name, **look) for name, look in KINDS.items()]
    fig.legend(handles=samples, loc="outside upper left", ncols=3, handlelength=3.5)
    style.show(fig, f"Plans by {x_label}, on logarithmic axes. {'; '.join(sentences)}.")


def _draw_between(
    ax: plt.Axes, x: Sequence[float], y: Sequence[float], low: float, high: float, look: Mapping[str, Any]
) -> None:
    """Draws the part of a line whose x lies between two values; its ends are interpolated, on logarithmic axes."""
    low, high = max(low, x[0]), min(high, x[-1])
    if low >= high:
        return
    inside = x[(x > low) & (x < high)]
    places = np.array([low, *inside, high])
    ax.plot(places, np.exp(np.interp(np.log(places), np.log(x), np.log(y))), **look)
