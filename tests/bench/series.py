"""Where the time goes in the quick series: on an empty cache, and when it is run again."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from effnet_helpers.course import ROOT
from effnet_helpers.machine import usable_cores

import nbformat
import pandas as pd

from .harness import Line, Row, Settings, Target
from .lab import own_cache

WAYS = ("now", "again")
LONGEST = 900
"""Seconds that the whole series may take on two cores."""
ALL, SECONDS, BUSY = "all lessons", "seconds", "share of cores busy"


def sections(notebook: Path) -> dict[str, float]:
    """The seconds of all code cells of an executed notebook under each of its headings; "start" above the first."""
    seconds, heading = defaultdict(float), "start"
    for cell in nbformat.read(notebook, as_version=4).cells:
        if cell.cell_type == "markdown":
            headings = [line[3:].strip() for line in cell.source.splitlines() if line.startswith("## ")]
            heading = "start" if headings[-1:] == ["What you will learn"] else [heading, *headings][-1]
        else:
            seconds[heading] += cell.metadata.get("papermill", {}).get("duration") or 0.0
    return dict(seconds)


def _run_series(root: Path, name: str, arguments: list[str]) -> pd.Series:
    """Runs the series of a checkout with its own package; returns seconds by lesson and section, and for all of it."""
    environment = os.environ | {"PYTHONPATH": str(root)}
    command = [sys.executable, "-m", "effnet_helpers", "run", *arguments, "--root", str(root), "--name", name]
    started, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True)
    seconds, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise RuntimeError(f"The series {name} failed: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    working = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    executed = sorted((root / "runs" / name).glob("*.ipynb"))
    parts = {file.stem: pd.Series(sections(file)) for file in executed}
    parts[ALL] = pd.Series({SECONDS: seconds, BUSY: working / seconds / usable_cores()})
    return pd.concat(parts, names=["lesson", "section"])


def _run(settings: Settings) -> Iterator[Line]:
    arguments = ["01", "--profile", "smoke"] if settings.tiny else []
    taken = {}
    with tempfile.TemporaryDirectory(prefix="effnet-bench-") as folder:
        clone = Path(folder) / "clone"
        if subprocess.run(["git", "clone", "-q", str(ROOT), str(clone)], capture_output=True).returncode:
            raise RuntimeError("The row series runs what is committed, so it needs a git checkout.")
        with own_cache() as cache:
            taken["now"] = _run_series(clone, "now", arguments)
            kept = set(cache.rglob("*.npy"))
            taken["again"] = _run_series(clone, "again", arguments)
            new = set(cache.rglob("*.npy")) - kept
    table = pd.DataFrame(taken).reindex(columns=WAYS)
    table.round(2).to_csv(settings.folder / "series.csv")
    whole, busy = table.loc[(ALL, SECONDS)], table.loc[(ALL, BUSY)]
    detail = f"cores busy {busy['now']:.0%}; again {whole['again']:.0f} s, {busy['again']:.0%}"
    target = Target("at most", LONGEST, "s")
    yield Line("quick series, all lessons by the clock", whole["now"], None, "s", target, 1, detail)
    yield Line(
        "features and activations that a second run of the series computes", len(new), None, "files",
        Target("at most", 0, "files"), 1, f"{len(kept)} in the first run",
    )  # fmt: skip


ROW = Row("series", "where the time goes in the quick series: now and again", lambda settings: 30, _run)
