"""Drawings of what networks are made of."""

import itertools

from effnet_helpers import records
from effnet_helpers.plotting import style
from effnet_helpers.plotting.style import BLUE, GREY, ORANGE, SKY, VERMILLION, styled

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.patches import Circle, FancyBboxPatch, PathPatch, Rectangle
from matplotlib.path import Path

# Places along a block, in units of 9 pixels: what goes in, after each convolution, and after each sum or product.
INPUT, EXPANDED, FILTERED, WEIGHTED, PROJECTED, OUTPUT = 3, 22, 43, 65, 84, 97
EXPAND, DEPTHWISE, PROJECT = 12.5, 32.5, 74.5
MULTIPLY, ADD = 59.5, 91
TALLEST = 12.0  # height of the widest feature map


@styled
def block_diagram(channels: int = 24, expanded: int = 144, kernel_size: int = 3, squeezed: int = 6) -> None:
    """Draws the block that EfficientNet repeats (MBConv), and below it the one of EfficientNet-Lite.

    Bars are feature maps, as tall as they have channels; boxes are convolutions. Needs no network: a primer can call it
    as it stands, and gets the second block of the second stage of B0, which Lite0 has as well.

    Args:
        channels: Of what goes in and comes out.
        expanded: Channels between the first 1 × 1 convolution and the second, more than `channels`.
        kernel_size: Side of the depthwise filters.
        squeezed: Numbers that squeeze-and-excitation squeezes an image to.

    Raises:
        ValueError: If `expanded` is not above `channels`, or one of the others is below 1.
    """
    numbers = {"channels": channels, "expanded": expanded, "kernel_size": kernel_size, "squeezed": squeezed}
    possible = 1 <= channels < expanded and kernel_size >= 1 and squeezed >= 1
    records.expect(possible, "sizes of the block", numbers, "numbers from 1 up, expanded above channels")
    fig, ax = plt.subplots(figsize=(9, 5.5))
    ax.set(xlim=(0, 100), ylim=(-43, 18))
    ax.set_axis_off()
    rows = (
        (0, "EfficientNet-B0 to B7: MBConv", "swish", True),
        (-34, "EfficientNet-Lite: ReLU6 in place of swish, no squeeze-and-excitation", "ReLU6", False),
    )
    for y, title, activation, excites in rows:
        ax.text(0, y + 15.5, title, fontweight="bold")
        _draw_block(ax, y, numbers, activation, excites)
    words = {
        EXPAND: "mixes channels,\nmakes more of them",
        DEPTHWISE: "filters each\nchannel by itself",
        MULTIPLY - 5: "weights channels by\nwhat the image holds",
        PROJECT: "mixes channels,\nkeeps few of them",
        ADD + 2: "adds what\nwent in",
    }
    ax.text(100, 15.5, "bars: feature maps, as tall as they have channels", ha="right", fontsize=9.5, color=GREY)
    for x, text in words.items():
        ax.text(x, -12.5, text, ha="center", va="center", fontsize=9.5, style="italic", color=GREY)
    k = f"{kernel_size} × {kernel_size}"
    style.show(
        fig,
        f"Two blocks. EfficientNet's MBConv: {channels} channels are expanded to {expanded} by a 1 × 1 convolution "
        f"with swish, each is filtered by itself by a depthwise {k} convolution with swish, weighted by "
        f"squeeze-and-excitation (the average of each channel, {expanded} → {squeezed} → {expanded} numbers, "
        f"multiplied in), and projected back to {channels} by a 1 × 1 convolution without activation; the input is "
        "added. EfficientNet-Lite's block: the same with ReLU6 in place of swish, and without squeeze-and-excitation.",
    )


def _draw_block(ax: Axes, y: float, numbers: dict[str, int], activation: str, excites: bool) -> None:
    narrow, wide = numbers["channels"], numbers["expanded"]
    maps = {INPUT: narrow, EXPANDED: wide, FILTERED: wide, WEIGHTED: wide, PROJECTED: narrow, OUTPUT: narrow}
    if not excites:
        del maps[WEIGHTED]
    for start, end in itertools.pairwise(maps):
        _arrow(ax, (start + 0.9, y), (end - 0.9, y))
    for x, count in maps.items():
        height = TALLEST * count / wide
        color = ORANGE if count == wide else SKY
        ax.add_patch(Rectangle((x - 0.9, y - height / 2), 1.8, height, facecolor=color, edgecolor="black", zorder=3))
        ax.text(x, y - height / 2 - 0.7, str(count), ha="center", va="top", fontsize=10)
    k = f"{numbers['kernel_size']} × {numbers['kernel_size']}"
    _box(ax, EXPAND, y, f"expand\n1 × 1\n{activation}")
    _box(ax, DEPTHWISE, y, f"depthwise\n{k}\n{activation}")
    _box(ax, PROJECT, y, "project\n1 × 1\n(linear)")
    if excites:
        _sign(ax, MULTIPLY, y, "×")
        top = y + 8.8
        path = [(FILTERED + 3.5, y), (FILTERED + 3.5, top), (MULTIPLY, top), (MULTIPLY, y + 1.5)]
        ax.add_patch(PathPatch(Path(path), fill=False, edgecolor=VERMILLION, lw=1.5))
        text = f"squeeze-and-excite\naverage, {wide} → {numbers['squeezed']} → {wide}"
        _box(ax, (FILTERED + 3.5 + MULTIPLY) / 2, top, text, color=VERMILLION, width=22, height=5)
    _sign(ax, ADD, y, "+")
    top = y + 13.4
    skip = [(INPUT, y + TALLEST * narrow / wide / 2), (INPUT, top), (ADD, top), (ADD, y + 1.5)]
    ax.add_patch(PathPatch(Path(skip), fill=False, edgecolor=BLUE, lw=1.5, ls="--"))
    ax.text(ADD - 1, top - 0.6, "skip connection", ha="right", va="top", fontsize=10, color=BLUE)


def _box(
    ax: Axes, x: float, y: float, text: str, *, color: str = "black", width: float = 11.0, height: float = 8.0
) -> None:
    corner = (x - width / 2, y - height / 2)
    look = {"boxstyle": "round,pad=0,rounding_size=1", "facecolor": "white", "edgecolor": color, "zorder": 4}
    ax.add_patch(FancyBboxPatch(corner, width, height, **look))
    ax.text(x, y, text, ha="center", va="center", fontsize=10, zorder=5, linespacing=1.15)


def _sign(ax: Axes, x: float, y: float, text: str) -> None:
    ax.add_patch(Circle((x, y), 1.5, facecolor="white", edgecolor="black", zorder=4))
    ax.text(x, y - 0.1, text, ha="center", va="center", zorder=5)


def _arrow(ax: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    ax.annotate("", end, start, arrowprops={"arrowstyle": "->", "color": "black"}, zorder=2)
