"""Figures of pictures: predictions beside photographs, samples, class-activation maps."""

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from effnet_helpers import outputs, records
from effnet_helpers.plotting import style
from effnet_helpers.plotting.style import ORANGE, SKY, VERMILLION, styled

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Rectangle
from matplotlib.patheffects import withStroke


@styled
def photos_with_predictions(
    images: Sequence[np.ndarray], titles: Sequence[str], predictions: Sequence[Sequence[Any]]
) -> None:
    """Shows each photograph beside bars of the classes it was given, two photographs a row.

    Args:
        images: Pixels `(height, width, 3)` in [0, 255], of any sizes.
        titles: One a photograph.
        predictions: For each photograph its predictions, most probable first; objects with `class_name` and
            `probability`, or pairs of these.
    """
    _check_lengths(images=images, titles=titles, predictions=predictions)
    columns = min(2, len(images))
    rows = math.ceil(len(images) / columns)
    size = 4.5 * columns, 1.75 * rows
    fig, axes = plt.subplots(rows, 2 * columns, figsize=size, squeeze=False, width_ratios=[1, 1.5] * columns)
    for ax in axes.flat:
        ax.set_axis_off()
    sentences = []
    for (photo, ax), image, title, items in zip(axes.reshape(-1, 2), images, titles, predictions, strict=False):
        pairs = [(each.class_name, each.probability) if hasattr(each, "class_name") else each for each in items]
        photo.imshow(_pixels(image))
        ax.set_title(title, loc="left", fontweight="bold")
        ax.barh(range(len(pairs)), [probability for _, probability in pairs], color=SKY, height=0.85)
        for position, (name, probability) in enumerate(pairs):
            ax.text(0.02, position, f"{probability:.2f}", va="center")
            ax.text(0.22, position, name, va="center")
        ax.set(xlim=(0, 1), ylim=(max(5, len(pairs)) - 0.4, -0.6))
        sentences.append(f"{title}: " + ", ".join(f"{name} {probability:.2f}" for name, probability in pairs))
    style.show(fig, "Photographs with their most probable classes. " + "; ".join(sentences) + ".")


@styled
def image_grid(
    images: Sequence[np.ndarray],
    titles: Sequence[str],
    columns: int = 5,
    *,
    heading: str = "Images",
    detail: int | None = None,
    places: Sequence[tuple[int, int]] | None = None,
    widest: float = 2.0,
) -> None:
    """Shows images in rows, each under its title.

    Args:
        images: Pixels `(height, width, 3)` in [0, 255], of any sizes.
        titles: One an image.
        columns: Images a row.
        heading: What the images are; it stands above them and opens the alternative text.
        detail: Side in pixels of the square to repeat enlarged below each image, pixel by pixel.
        places: The row and column around which it lies, one pair an image, and a circle marks it; else the centre.
        widest: Inches an image takes at most, for few images that deserve a closer look.
    """
    style.show(*_image_grid(images, titles, columns, heading, detail, places, widest))


@styled
def contact_sheet(
    images: Sequence[np.ndarray], titles: Sequence[str], path: str | os.PathLike, *, heading: str
) -> None:
    """Writes what `image_grid` shows to a PNG file, with its alternative text as the file's description.

    Args:
        images: Pixels `(height, width, 3)` in [0, 255], of any sizes.
        titles: One an image.
        path: Where to write; an earlier contact sheet is replaced.
        heading: What the images are.

    Raises:
        ValueError: If there is something else at the path.
    """
    path = Path(path).expanduser()
    with outputs.replacing(outputs.CONTACT_SHEET, path) as folder:
        style.save(*_image_grid(images, titles, 5, heading), folder / path.name, outputs.SOFTWARE)


def _image_grid(
    images: Sequence[np.ndarray],
    titles: Sequence[str],
    columns: int,
    heading: str,
    detail: int | None = None,
    places: Sequence[tuple[int, int]] | None = None,
    widest: float = 2.0,
) -> tuple[Figure, str]:
    middles = [(np.shape(image)[0] // 2, np.shape(image)[1] // 2) for image in images]
    _check_lengths(images=images, titles=titles, places=middles if places is None else places)
    columns = min(columns, len(images))
    rows_an_image = 1 if detail is None else 2
    rows = rows_an_image * math.ceil(len(images) / columns)
    side = min(widest, 8 / columns)
    tallest = max(np.shape(image)[0] / np.shape(image)[1] for image in images)
    title_height = 0.17 * max(1 + title.count("\n") for title in titles) / rows_an_image
    height = (side * min(tallest, 1.5) + title_height) * rows + 0.35
    fig, axes = plt.subplots(rows, columns, figsize=(side * columns, height), squeeze=False)
    for ax in axes.flat:
        ax.set_axis_off()
    for index, (image, title) in enumerate(zip(images, titles, strict=True)):
        row, column = rows_an_image * (index // columns), index % columns
        axes[row, column].imshow(_pixels(image))
        axes[row, column].set_title(title, fontsize=10)
        if detail is not None:
            place = middles[index] if places is None else places[index]
            _enlarge(axes[row, column], axes[row + 1, column], image, detail, place, circle=places is not None)
    fig.suptitle(heading, fontsize=12)
    which = "its central" if places is None else "the circled"
    enlarged = "" if detail is None else f" Below each, {which} {detail} × {detail} pixels enlarged."
    listed = "; ".join(title.replace("\n", ", ") for title in titles)
    return fig, f"{heading}, {len(images)} shown: {listed}.{enlarged}"


@styled
def activation_maps(
    images: Sequence[np.ndarray],
    maps: Mapping[str, Sequence[np.ndarray]],
    titles: Sequence[str],
    places: Sequence[tuple[float, float] | None] | None = None,
    what: str = "Class-activation maps",
) -> None:
    """Draws where the evidence for a class lies, as contours over the pictures themselves, one column a network.

    Each map has its own scale: the outer line is at a third of the way from the map's middle to its highest value, the
    inner one at two thirds. So what is compared is where evidence stands out, not how large a network's numbers are.

    Args:
        images: Pixels `(height, width, 3)` in [0, 255].
        maps: For each column's heading the floats `(rows, columns)` of each image, such as those of
            `evaluation.class_activation_map`.
        titles: One an image.
        places: Where something is known to be: row and column in pixels for each image, or None where it is not known;
            drawn as a dashed box around it.
        what: What the maps are; opens the alternative text.
    """
    _check_lengths(images=images, titles=titles, **maps)
    places = [None] * len(images) if places is None else places
    fig, axes = plt.subplots(
        len(images), 1 + len(maps), figsize=(2.1 * (1 + len(maps)) + 0.3, 2.1 * len(images) + 0.4), squeeze=False
    )
    sentences = []
    for position, (row, image, title, place) in enumerate(zip(axes, images, titles, places, strict=True)):
        row[0].set_ylabel(title)
        said = [f"known place: {_place(place, image)}"] if place else []
        for ax, (name, evidence) in zip(row[1:], ((name, each[position]) for name, each in maps.items()), strict=True):
            _contours(ax, np.asarray(evidence, dtype=float), np.shape(image))
            said.append(f"{name} {_strongest(evidence)}")
        sentences.append(f"{title}: {'; '.join(said)}")
        for ax in row:
            ax.imshow(_pixels(image))
            if place:
                _box(ax, place, 0.2 * np.shape(image)[0])
    for ax, name in zip(axes[0], ("image", *maps), strict=True):
        ax.set_title(name)
    for ax in axes.flat:
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set_visible(False)
    style.show(fig, f"{what}, contours around what stands out. " + ". ".join(sentences) + ".")


def _contours(ax: Axes, evidence: np.ndarray, shape: tuple[int, ...]) -> None:
    """Two lines around what stands out, in white and black so that they show on any picture."""
    middle, highest = np.median(evidence), evidence.max()
    if not highest > middle:
        return
    (rows, columns), (height, width) = evidence.shape, shape[:2]
    padded = np.pad(evidence, 1, mode="edge")  # so that lines reach the border
    down = (np.arange(-1, rows + 1) + 0.5) * height / rows
    across = (np.arange(-1, columns + 1) + 0.5) * width / columns
    levels = [middle + part * (highest - middle) for part in (1 / 3, 2 / 3)]
    for line_widths, color in (((3.5, 4.5), "white"), ((1.3, 2.3), VERMILLION)):
        ax.contour(across, down, padded, levels, colors=color, linewidths=line_widths)
    ax.set(xlim=(0, width), ylim=(height, 0))


def _check_lengths(**sequences: Sequence[Any]) -> None:
    lengths = {name: len(values) for name, values in sequences.items()}
    are_equal = len(set(lengths.values())) == 1 and 0 not in lengths.values()
    records.expect(are_equal, " and ".join(lengths), lengths, "equal lengths above 0")


def _pixels(image: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)


def _enlarge(ax: Axes, detail_ax: Axes, image: np.ndarray, side: int, place: tuple[int, int], circle: bool) -> None:
    corners = zip(place, np.shape(image)[:2], strict=True)
    top, left = (max(0, min(centre - side // 2, length - side)) for centre, length in corners)
    row, column = place
    mark = Circle((column, row), side / 2) if circle else Rectangle((left - 0.5, top - 0.5), side, side)
    mark.set(fill=False, edgecolor=ORANGE, linewidth=1.5, path_effects=[withStroke(linewidth=3.5, foreground="black")])
    ax.add_patch(mark)
    detail_ax.imshow(_pixels(image)[top : top + side, left : left + side], interpolation="nearest")


def _box(ax: Axes, place: tuple[float, float], side: float) -> None:
    corner = place[1] - side / 2, place[0] - side / 2
    ax.add_patch(Rectangle(corner, side, side, fill=False, edgecolor="white", lw=3.5))
    ax.add_patch(Rectangle(corner, side, side, fill=False, edgecolor="black", lw=1.5, ls="--"))


def _place(place: tuple[float, float], image: np.ndarray) -> str:
    down, across = (100 * where / side for where, side in zip(place, np.shape(image), strict=False))
    return f"{across:.0f} % from the left, {down:.0f} % from the top"


def _strongest(evidence: np.ndarray) -> str:
    row, column = np.unravel_index(np.argmax(evidence), np.shape(evidence))
    down, right = (row + 0.5) / len(evidence), (column + 0.5) / len(evidence[0])
    return f"strongest at {100 * right:.0f} % from the left, {100 * down:.0f} % from the top"
