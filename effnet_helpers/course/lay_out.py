"""Lays out the notebooks that came with the package, for whoever has no checkout."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from effnet_helpers.course import CHECKOUT, PACKED, SOURCES, CourseError

ALSO = Path("docs", "glossary.md")  # the lessons link to it
LEFT_BY_OTHERS = {"__pycache__", ".ipynb_checkpoints"}


class LaidOut(NamedTuple):
    """Files by what became of them, as paths from the folder: new, the same as before, and left as they were."""

    written: list[Path]
    same: list[Path]
    kept: list[Path]


def series() -> Path:
    """Returns the folder that holds what is laid out: of a wheel, or the checkout.

    Raises:
        CourseError: If there is none, as in an incomplete installation.
    """
    for folder in (PACKED, CHECKOUT):
        if (folder / SOURCES).is_dir():
            return folder
    raise CourseError("This installation has no notebooks: pip install --force-reinstall --no-deps effnet-helpers")


def lay_out(folder: Path, stem: str | None = None) -> LaidOut:
    """Copies lessons, exercises, solutions, their sources and the glossary to a folder. What is there already stays.

    Args:
        folder: Where to; it is made if there is none.
        stem: The name of a lesson, such as `05_unfreezing`, to copy only that one, its exercises and the glossary.

    Returns:
        What became of each file.
    """
    origin, result = series(), LaidOut([], [], [])
    notebooks = origin / "notebooks"
    ours = sorted(notebooks.rglob("*"))
    if stem is not None:
        ours = [path for path in ours if path.name == f"{stem}.ipynb" and path.parent.name != "solutions"]
    for file in [*ours, origin / ALSO]:
        name = file.relative_to(origin)
        if file.is_dir() or LEFT_BY_OTHERS & {*name.parts}:
            continue
        target, content = folder / name, file.read_bytes()
        if os.path.lexists(target):
            is_same = target.is_file() and target.read_bytes() == content
            (result.same if is_same else result.kept).append(name)
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f".{target.name}.part")
        part.write_bytes(content)
        os.replace(part, target)  # whole or not at all, whatever interrupts it
        result.written.append(name)
    return result
