"""Figures of plans: what was measured, a little beyond it, and far beyond it, told apart."""

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
def outlook(panels: Mapping[str, Mapping[str, Any]], x_label: str) -> None:
    """Draws plans on logarithmic axes: solid where there are measurements, dashed up to ten times beyond, then dotted.

    Args:
        panels: For each panel's title a mapping: `"lines"`, for each name the pair (x, y) of rising x and a plan's y;
            `"measured"`, for some of these names the pair (x, y) of what was measured, drawn as points (a name without
            any is all dotted); `"unit"` of y, such as "B" for bytes or "s" for seconds, by default none; maybe
            `"marks"`, a text for each place (x, y).
        x_label: What stands below.

    Raises:
        ValueError: If there is no panel, more than six lines in one, or a number that is not above 0.
    """
    records.expect(bool(panels), "panels", list(panels), "one or more")
    fig, axes = plt.subplots(1, len(panels), figsize=(9, 4), squeeze=False)
    sentences = []
    for ax, (title, panel) in zip(axes.flat, panels.items(), strict=True):
        measured = panel.get("measured", {})
        records.expect(0 < len(panel["lines"]) <= len(SERIES), "lines", [*panel["lines"]], f"1 to {len(SERIES)}")
        for (color, marker), (name, (x, y)) in zip(SERIES, panel["lines"].items(), strict=False):
            x, y = np.asarray(x, float), np.asarray(y, float)
            records.expect(bool((x > 0).all() and (y > 0).all()), f"line {name!r}", (x, y), "numbers above 0")
            reach = max(measured[name][0]) if name in measured else 0
            for low, high, look in zip((0, reach, DECADE * reach), (reach, DECADE * reach, np.inf), KINDS.values(),
                                       strict=True):  # fmt: skip
                _draw_between(ax, x, y, low, high, {**look, "color": color})
            if name in measured:
                ax.plot(*measured[name], marker, color=color, ms=7, mec="white")
            ax.plot(x[-1], y[-1], marker, color=color, mfc="white", ms=6)
            shown = f"measured from {min(measured[name][0]):,.4g} to {reach:,.4g}" if reach else "not measured"
            ax.plot([], [], color=color, marker=marker, mfc=color if reach else "white", label=name)
            sentences.append(f"{title}, {name} ({shown}): {y[0]:.3g} at {x[0]:,.4g}, {y[-1]:.3g} at {x[-1]:,.4g}")
        for text, place in panel.get("marks", {}).items():
            ax.plot(*place, "|", color="black", ms=13, mew=1.5)
            ax.annotate(text, place, (0, -9), textcoords="offset points", fontsize=9, ha="left", va="top")
            sentences.append(f"{title}, at {place[0]:,.4g}: {text}")
        ax.set(xscale="log", yscale="log", xlabel=x_label, title=title)
        for axis, unit in ((ax.xaxis, ""), (ax.yaxis, panel.get("unit", ""))):
            axis.set_major_locator(LogLocator(numticks=6))
            axis.set_major_formatter(EngFormatter(unit))
            axis.set_minor_locator(NullLocator())
        if panel.get("unit") == "s":
            ax.yaxis.set_major_locator(FixedLocator(list(TIMES)))
            ax.yaxis.set_major_formatter(lambda seconds, _: TIMES.get(round(seconds, 3), ""))
        ax.grid()
        ax.legend(loc="upper left", fontsize=9, handlelength=1.6)
        low, high = ax.get_ylim()
        ax.set_ylim(low, high * (high / low) ** (0.14 * len(panel["lines"])))  # room for the legend
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
