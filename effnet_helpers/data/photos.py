"""Photographs that ship inside packages this course depends on anyway, for lessons that need a few real pictures."""

import importlib.util
from pathlib import Path

_PHOTOS = {
    "cat": ("skimage", "data/chelsea.png"),
    "coffee": ("skimage", "data/coffee.png"),
    "rocket": ("skimage", "data/rocket.jpg"),
    "motorcycle": ("skimage", "data/motorcycle_left.png"),
    "temple": ("sklearn", "datasets/images/china.jpg"),
    "flower": ("sklearn", "datasets/images/flower.jpg"),
    "Grace Hopper": ("matplotlib", "mpl-data/sample_data/grace_hopper.jpg"),
}


def sample_photos() -> dict[str, Path]:
    """Finds seven photographs in scikit-image, scikit-learn and Matplotlib.

    Returns:
        The path of each photograph by a short name for what it shows.
    """
    return {name: _package_folder(package) / file for name, (package, file) in _PHOTOS.items()}


def _package_folder(package: str) -> Path:
    # Found without importing the package, which would take longer than reading the picture.
    return Path(importlib.util.find_spec(package).origin).parent
