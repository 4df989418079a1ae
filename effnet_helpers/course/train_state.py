"""The folder beside a model that is being trained: what a training keeps there, to go on with or to remove."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import time
import zipfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from effnet_helpers import outputs
from effnet_helpers.course import CourseError
from effnet_helpers.course.train_settings import Settings, option

import numpy as np

KEPT = "training.json"  # in the folder of a training: its settings and how long it took
CHECKPOINT = r"(head|fine_tune)-(\d+\.npz|history\.csv)"  # names of what `training` keeps there
SECONDS_TO_SEE = 60.0  # for which a disk over a network may show a computer a folder as it was
FOLD = r"fold-\d+((\.new)?\.npz)?"  # the folder of such a training, and what it answered


def _is_kept(path: Path) -> bool:
    try:
        return json.loads(path.read_text(encoding="utf-8")).keys() >= {"settings", "pictures", "seconds"}
    except (OSError, ValueError, AttributeError):
        return False


STATE = outputs.Kind("what a training keeps", _is_kept)


def keep(folder: Path, kept: Mapping[str, Any]) -> None:
    with outputs.replacing(STATE, folder / KEPT) as new:
        (new / KEPT).write_text(json.dumps(kept, indent=2) + "\n", encoding="utf-8")


def resumed(folder: Path, settings: Settings, resume: bool) -> dict[str, Any] | None:
    """What is kept of a training of these settings; None where there is none to go on with."""
    if not os.path.lexists(folder) or (folder.is_dir() and all(map(_is_temporary, folder.iterdir()))):
        return None
    afresh = "delete that folder to start afresh"
    if not _is_kept(folder / KEPT):
        raise CourseError(f"{folder} was not left by a training, so it stays: take another name for the model")
    if not resume:
        raise CourseError(f"{folder} is left of a training that did not end: go on with --resume, or {afresh}")
    kept = json.loads((folder / KEPT).read_text(encoding="utf-8"))
    now, before = asdict(settings), kept["settings"]
    if differing := [name for name in now if now[name] != before.get(name)]:
        listed = ", ".join(f"{option(name)} was {before.get(name)}, is {now[name]}" for name in differing)
        raise CourseError(f"The training in {folder} began with other settings ({listed}): give those, or {afresh}")
    return kept


def is_seen(folder: Path, seconds: float = SECONDS_TO_SEE) -> bool:
    """Whether what the first process keeps in a folder is there for this one, too; another computer may see it late."""
    until = time.monotonic() + seconds
    while not (folder / KEPT).is_file() and time.monotonic() < until:
        time.sleep(0.5)
    return (folder / KEPT).is_file()


def answers_kept(path: Path) -> tuple[np.ndarray, np.ndarray] | None:
    """Reads what a fold answered, probabilities and labels; None where that is not there, or damaged."""
    try:
        with path.open("rb") as file, np.load(file) as answers:
            return answers["probabilities"], answers["labels"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None


def _is_temporary(path: Path) -> bool:
    return path.name.startswith(".effnet-")  # of `outputs.replacing`, killed


def remove(folder: Path) -> None:
    """Removes what a training kept; what somebody else has put beside it stays."""
    for path in folder.iterdir():
        if _is_temporary(path) and path.is_dir():
            shutil.rmtree(path)
        elif path.is_dir() and re.fullmatch(FOLD, path.name):
            remove(path)
        elif path.name == KEPT or _is_temporary(path) or re.fullmatch(f"{CHECKPOINT}|{FOLD}", path.name):
            path.unlink()
    with contextlib.suppress(OSError):  # not empty
        folder.rmdir()
