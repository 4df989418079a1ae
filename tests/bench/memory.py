"""Whether a data set's size shows in memory: 1,000, 10,000 and 60,000 files, loaded and served for an epoch."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from effnet_helpers import evaluation

import conformal_clip_data
import pandas as pd

from .harness import Line, Row, Settings, Side, Target, interleaved
from .lab import in_child

IMAGES = (1_000, 10_000, 60_000)
IMAGE_SIZE = 128
NO_GROWTH = Target("share", 1.1)
"""The names and checksums of 60,000 files take some memory, and what TensorFlow takes varies from run to run."""


def _write_folder(folder: Path, count: int) -> None:
    """Writes so many textile images into a folder of classes: each once, then links to it under other names."""
    originals = sorted(Path(conformal_clip_data.textile_simulated_root()).rglob("*.jpg"))
    for number in range(count):
        round_, which = divmod(number, len(originals))
        original = originals[which * len(originals) // count if count < len(originals) else which]
        place = folder / original.parent.name
        place.mkdir(parents=True, exist_ok=True)
        if round_:
            os.link(place / f"0-{which}.jpg", place / f"{round_}-{which}.jpg")
        else:
            shutil.copyfile(original, place / f"0-{which}.jpg")


def _run(settings: Settings) -> Iterator[Line]:
    counts = (30, 60, 90) if settings.tiny else IMAGES

    def side(folder: Path) -> Side:
        return lambda: in_child("epoch", folder=str(folder), image_size=IMAGE_SIZE)["peak_mb"]

    with tempfile.TemporaryDirectory(prefix="effnet-bench-") as root:
        folders = {count: Path(root) / str(count) for count in counts}
        for count, folder in folders.items():
            _write_folder(folder, count)
        sides = {f"{count:,}": side(folder) for count, folder in folders.items()}
        measured = interleaved(sides, settings.rounds, warm_up=False)  # each is a new process
    rows = [(count, measured.median(f"{count:,}")) for count in counts]
    table = pd.DataFrame(rows, columns=["images", "peak_mb"]).round(0)
    table.to_csv((settings.folder if settings.tiny else evaluation.MEASURED) / "memory.csv", index=False)
    least, *more = sides
    for name in more:
        pixels = int(name.replace(",", "")) * IMAGE_SIZE**2 * 3 / 2**20
        detail = f"their pixels of {IMAGE_SIZE} × {IMAGE_SIZE} would be {pixels:,.0f} MB"
        what = f"peak memory, {name} files loaded and served for an epoch, against {least}"
        yield measured.compare(what, name, least, NO_GROWTH, "MB", detail=detail)


ROW = Row("memory", "peak memory of loading and serving 1,000 to 60,000 files", lambda s: s.rounds * 2.5, _run)
