"""Figures of pictures: predictions beside photographs, samples, class-activation maps."""

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from effnet_helpers import outputs, records
from effnet_helpers.plotting import style
from effnet_helpers.plotting.style import ORANGE, SKY, styled

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
) -> None:
    """Shows images in rows, each under its title.

    Args:
        images: Pixels `(height, width, 3)` in [0, 255], of any sizes.
        titles: One an image.
        columns: Images a row.
        heading: What the images are; it stands above them and opens the alternative text.
        detail: Side in pixels of the square to repeat enlarged below each image, pixel by pixel.
        places: The row and column around which it lies, one pair an image, and a circle marks it; else the centre.
    """
    style.show(*_image_grid(images, titles, columns, heading, detail, places))


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
) -> tuple[Figure, str]:
    middles = [(np.shape(image)[0] // 2, np.shape(image)[1] // 2) for image in images]
    _check_lengths(images=images, titles=titles, places=middles if places is None else places)
    columns = min(columns, len(images))
    rows_an_image = 1 if detail is None else 2
    rows = rows_an_image * math.ceil(len(images) / columns)
    side = min(2.0, 8 / columns)
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
    maps_before: Sequence[np.ndarray],
    maps_after: Sequence[np.ndarray],
    titles: Sequence[str],
) -> None:
    """Shows, image by image, where the evidence for a class lay before and after fine-tuning, on one colour scale.

    Args:
        images: Pixels `(height, width, 3)` in [0, 255].
        maps_before: Floats `(rows, columns)` an image, from `evaluation.class_activation_map`.
        maps_after: The same after fine-tuning.
        titles: One an image.
    """
    _check_lengths(images=images, maps_before=maps_before, maps_after=maps_after, titles=titles)
    maps = [*maps_before, *maps_after]
    scale = {"vmin": min(map(np.min, maps)), "vmax": max(map(np.max, maps)), "cmap": "cividis"}
    fig, axes = plt.subplots(len(images), 3, figsize=(6.5, 1.85 * len(images) + 0.3), squeeze=False)
    sentences = []
    for row, image, before, after, title in zip(axes, images, maps_before, maps_after, titles, strict=True):
        pixels = _pixels(image)
        row[0].imshow(pixels)
        row[0].set_ylabel(title)
        extent = (0, pixels.shape[1], pixels.shape[0], 0)
        for ax, evidence in zip(row[1:], (before, after), strict=True):
            ax.imshow(pixels.mean(axis=-1), cmap="gray", vmin=0, vmax=255)  # so that colour means evidence alone
            overlay = ax.imshow(evidence, extent=extent, alpha=0.65, interpolation="bilinear", **scale)
        sentences.append(f"{title}: before {_strongest(before)}; after {_strongest(after)}")
    for ax, name in zip(axes[0], ("image", "before fine-tuning", "after fine-tuning"), strict=True):
        ax.set_title(name)
    for ax in axes.flat:
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set_visible(False)
    fig.colorbar(overlay, ax=axes, shrink=min(1.0, 1.6 / len(images)), label="evidence (logits)").solids.set_alpha(1)
    style.show(fig, "Class-activation maps before and after fine-tuning. " + ". ".join(sentences) + ".")


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


def _strongest(evidence: np.ndarray) -> str:
    row, column = np.unravel_index(np.argmax(evidence), np.shape(evidence))
    down, right = (row + 0.5) / len(evidence), (column + 0.5) / len(evidence[0])
    return f"strongest ({np.max(evidence):.1f}) at {100 * right:.0f} % from the left, {100 * down:.0f} % from the top"
