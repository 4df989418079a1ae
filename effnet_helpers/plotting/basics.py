"""Figures of what networks are made of and how they learn: pixels as numbers, functions, the way downhill."""

from collections.abc import Mapping, Sequence

from effnet_helpers import records
from effnet_helpers.plotting import style
from effnet_helpers.plotting.style import GREY, ORANGE, SERIES, styled

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patches import Rectangle


@styled
def pixel_values(picture: np.ndarray, place: tuple[int, int], side: int = 8) -> None:
    """Shows a grey picture, and beside it a small square of it enlarged, each pixel with its number.

    Args:
        picture: Grey values `(height, width)` in [0, 255].
        place: Row and column of the square's upper left pixel.
        side: Of the square in pixels, at most 12, or the numbers do not fit.

    Raises:
        ValueError: If the square is larger than 12, or does not lie inside the picture.
    """
    top, left = place
    square = np.asarray(picture)[top : top + side, left : left + side]
    inside = 1 <= side <= 12 and top >= 0 and left >= 0 and square.shape == (side, side)
    records.expect(inside, "place and side", (place, side), f"a square of 1 to 12 inside {np.shape(picture)}")
    fig, (whole, detail) = plt.subplots(1, 2, figsize=(9, 3.9), width_ratios=[1.2, 1])
    for ax, grey in ((whole, picture), (detail, square)):
        ax.imshow(grey, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        ax.set_axis_off()
    mark = {"fill": False, "edgecolor": ORANGE, "lw": 2.5}
    middle = left + side / 2, top + side / 2
    whole.add_patch(Rectangle((left - 0.5, top - 0.5), side, side, **mark))
    label = {
        "bbox": {"boxstyle": "round", "fc": "white", "ec": ORANGE},
        "arrowprops": {"arrowstyle": "->", "color": ORANGE},
    }
    below = -1 if top < np.shape(picture)[0] / 4 else 1
    whole.annotate("this square", middle, (0, 34 * below), textcoords="offset points", ha="center", **label)
    detail.add_patch(Rectangle((-0.5, -0.5), side, side, **mark))
    for (row, column), value in np.ndenumerate(square):
        color = "black" if value > 127 else "white"
        detail.text(column, row, f"{value:.0f}", ha="center", va="center", fontsize=10, color=color)
    rows = "; ".join(" ".join(f"{value:.0f}" for value in row) for row in square)
    style.show(
        fig,
        f"A grey picture of {np.shape(picture)[0]} × {np.shape(picture)[1]} pixels, and a square of {side} × {side} of "
        f"them enlarged (row {top}, column {left}), with the numbers of its pixels, row by row: {rows}.",
    )


@styled
def functions(curves: Mapping[str, Sequence[float]], x: Sequence[float]) -> None:
    """Draws one or more functions of one number, each named at the end of its line.

    Args:
        curves: For each function's name its values, one for each of `x`.
        x: Where the functions were computed, in rising order.

    Raises:
        ValueError: If there is no function, more than there are line styles, or one with another number of values.
    """
    records.expect(0 < len(curves) <= len(SERIES), "number of functions", len(curves), f"1 to {len(SERIES)}")
    lengths = {name: len(values) for name, values in curves.items()}
    records.expect({*lengths.values()} == {len(x)}, "number of values", lengths, f"{len(x)} each, one for each x")
    fig, ax = plt.subplots(figsize=(7.5, 3.4))
    for number, ((color, marker), (name, values)) in enumerate(zip(SERIES, curves.items(), strict=False)):
        # Where functions agree, the markers of each keep to places of their own, and dashes let the others through.
        every = max(1, len(x) // 8)
        look = {"color": color, "ls": ("-", "--", ":")[number % 3], "lw": 2, "marker": marker}
        ax.plot(x, values, markevery=(number * every // len(curves), every), label=name, **look)
    for zero in (ax.axhline, ax.axvline):
        zero(0, color=GREY, lw=0.8, zorder=0)
    ax.set(xlabel="what goes in", ylabel="what comes out")
    ax.grid(alpha=0.3)
    fig.legend(loc="outside right center", handlelength=3)
    ends = "; ".join(f"{name} {values[0]:.3g} to {values[-1]:.3g}" for name, values in curves.items())
    style.show(fig, f"Functions of what goes in from {x[0]:.3g} to {x[-1]:.3g}: {ends}.")


@styled
def descent(
    losses: np.ndarray, first: Sequence[float], second: Sequence[float], paths: Mapping[str, np.ndarray]
) -> None:
    """Draws a loss over two weights as a map with lines of equal height, and the steps that were taken on it.

    Args:
        losses: The loss at every pair of weights, `(len(second), len(first))`.
        first: Values of the first weight, along the horizontal axis.
        second: Values of the second, along the vertical one.
        paths: For each name the weights before the first step and after each, `(steps + 1, 2)`.

    Raises:
        ValueError: If there is no path, more than there are line styles, or the losses are of another shape.
    """
    shape = (len(second), len(first))
    records.expect(np.shape(losses) == shape, "shape of losses", np.shape(losses), str(shape))
    records.expect(0 < len(paths) <= len(SERIES), "number of paths", len(paths), f"1 to {len(SERIES)}")
    fig, ax = plt.subplots(figsize=(7.5, 4.6))
    # Lines of equal loss get closer towards the bottom, where the map is flat.
    heights = np.min(losses) + (np.max(losses) - np.min(losses)) * np.linspace(0, 1, 16)[1:] ** 2
    lines = ax.contour(first, second, losses, levels=heights, colors=GREY, linewidths=0.8)
    ax.clabel(lines, fmt="%.2f", fontsize=8.5)
    sentences = []
    for (color, marker), (name, path) in zip(SERIES, paths.items(), strict=False):
        ax.plot(*np.transpose(path), color=color, marker=marker, ms=4.5, lw=1.3, label=name)
        ax.plot(*path[-1], marker=marker, ms=9, color=color, mec="black")
        sentences.append(f"{name}, {len(path) - 1} steps: ({path[0][0]:.2f}, {path[0][1]:.2f}) to "
                         f"({path[-1][0]:.2f}, {path[-1][1]:.2f})")  # fmt: skip
    row, column = np.unravel_index(np.argmin(losses), shape)
    ax.plot(first[column], second[row], "*", ms=17, color=ORANGE, mec="black", ls="none", label="lowest loss")
    ax.set(xlabel="first weight", ylabel="second weight", xlim=(first[0], first[-1]), ylim=(second[0], second[-1]))
    fig.legend(loc="outside upper left", ncols=len(paths) + 1)
    style.show(
        fig,
        f"The loss over two weights, as lines of equal height; lowest, {np.min(losses):.2f}, at ({first[column]:.2f}, "
        f"{second[row]:.2f}). " + "; ".join(sentences) + ".",
    )
