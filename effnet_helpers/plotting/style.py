"""The look of every figure: one palette, sizes for a notebook's width, and alternative text.

Colours are those of Okabe and Ito (2008, https://jfly.uni-koeln.de/color/), which readers with any kind of colour
vision can tell apart; markers and line styles carry the same distinction for print in grey.
"""

import base64
import contextlib
import html
import io
import os
import warnings
from collections.abc import Iterator

from effnet_helpers import records

import matplotlib
import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from PIL import Image

BLUE, VERMILLION, GREEN, ORANGE, PURPLE, SKY = "#0072B2", "#D55E00", "#009E73", "#E69F00", "#CC79A7", "#56B4E9"
COLORS = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY)
SERIES = tuple(zip((BLUE, VERMILLION, GREEN, "black", PURPLE, ORANGE), "osD^vX", strict=True))
GREY = "0.45"
STYLE = {
    "figure.dpi": 100,
    "savefig.dpi": 100,
    "font.size": 11,
    "axes.titlesize": 11,
    "grid.alpha": 0.3,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.constrained_layout.use": True,
    "text.parse_math": False,  # a reader's class may be called "$5"
}
styled = matplotlib.rc_context(STYLE)  # a decorator, so that the reader's own figures keep the reader's settings
MAX_PNG_BYTES = 150_000
_collecting: list[list[tuple[bytes, str]]] = []  # the innermost `collect` last


@contextlib.contextmanager
def collect() -> Iterator[list[tuple[bytes, str]]]:
    """Gathers the figures that are drawn meanwhile, as PNG with their alternative text, instead of showing them.

    Example:
        >>> with plotting.collect() as figures:
        ...     plotting.schedule([0.0, 0.1, 0.0])
        >>> figures[0][1]
        'Learning rate over 3 steps: 0 at the first, 0.1 at its peak in step 2, 0 at the last.'
    """
    collected = []
    _collecting.append(collected)
    try:
        yield collected
    finally:
        _collecting.pop()


def show(fig: Figure, alt: str) -> None:
    """Shows a figure in the notebook with its alternative text, then closes it. Outside IPython it only closes it.

    Args:
        fig: A Matplotlib figure.
        alt: What the figure shows and its main values, in words, for readers who do not see it.

    Raises:
        ValueError: If `alt` is empty.
    """
    try:
        records.expect(bool(alt.strip()), "alt", alt, "a sentence that says what the figure shows")
        if _collecting:
            _collecting[-1].append((_png(fig), alt))
        elif records.in_ipython():
            from IPython.display import display

            # As HTML, since that is the one form whose alternative text nbconvert's pages, GitHub and JupyterLab all
            # keep: the `alt` in the metadata of a PNG is read by few (jupyter/enhancement-proposals#120).
            source = f"data:image/png;base64,{base64.b64encode(_png(fig)).decode('ascii')}"
            image = f'<img src="{source}" alt="{html.escape(alt)}" style="max-width: 100%">'
            display({"text/html": image, "text/plain": alt}, raw=True)
    finally:
        plt.close(fig)


def save(fig: Figure, alt: str, path: str | os.PathLike, software: str | None = None) -> None:
    """Writes a figure as a PNG file whose description is its alternative text, then closes it.

    Args:
        fig: A Matplotlib figure.
        alt: What the figure shows and its main values, in words.
        path: Where to write; what is there is replaced.
        software: What the file says that it was written by.
    """
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Glyph")  # file names may hold letters that the font does not
            fig.savefig(path, format="png", metadata={"Software": software, "Description": alt})
    finally:
        plt.close(fig)


def _png(fig: Figure) -> bytes:
    """Renders a figure as PNG; where photographs make it large, with as many colours as keep a notebook small."""
    buffer = io.BytesIO()
    fig.savefig(buffer, format="png", metadata={"Software": None})
    image = Image.open(buffer).convert("RGB")
    for colors in (256, 128, 64, 32, 16):
        if buffer.tell() <= MAX_PNG_BYTES:
            break
        palette = image.quantize(colors, method=Image.Quantize.MAXCOVERAGE)  # keeps rare colours, such as a scale's
        buffer = io.BytesIO()
        image.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG).save(buffer, format="png", optimize=True)
    return buffer.getvalue()
