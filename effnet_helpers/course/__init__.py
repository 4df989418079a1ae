"""The machinery around the lessons: builds the notebooks, runs the series, shows and stores what came of it.

Notebooks import nothing from here. Nothing here imports TensorFlow or Keras: the notebooks' kernels do.
"""

from __future__ import annotations

from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]  # if this package was not installed from a wheel
SOURCES = Path("notebooks", "src")
PACKED = Path(__file__).resolve().parent / "series"  # what such a wheel brings of the checkout


def _root() -> Path:
    """Finds the folder with the notebooks: the checkout, or what is laid out around the current folder, or this one."""
    here = Path.cwd()
    return next((folder for folder in (CHECKOUT, here, *here.parents) if (folder / SOURCES).is_dir()), here)


ROOT = _root()


class CourseError(Exception):
    """A request that cannot be fulfilled, with a message for the person who made it."""
