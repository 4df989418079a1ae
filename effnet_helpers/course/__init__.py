"""The machinery around the lessons: builds the notebooks, runs the series, shows and stores what came of it.

Notebooks import nothing from here. Nothing here imports TensorFlow or Keras: the notebooks' kernels do.
"""

from __future__ import annotations

from pathlib import Path

# Where the checkout lies whose package this is.
ROOT = Path(__file__).resolve().parents[2]


class CourseError(Exception):
    """A request that cannot be fulfilled, with a message for the person who made it."""
