"""Two runs of a lesson at once against one after the other: `effnet sweep` with one and with two jobs, in turns."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator

from effnet_helpers.course import ROOT

from .harness import Line, Row, Settings, Target, interleaved
from .lab import own_cache

NAME = "bench-sweep"


def _sweep(jobs: int, runs: int, lesson: str, profile: str) -> float:
    """Sweeps over so many seeds; returns the seconds from the command's start to its end."""
    folder = ROOT / "runs" / NAME
    shutil.rmtree(folder, ignore_errors=True)
    values = ["-p", f"seed={','.join(map(str, range(runs)))}", "--profile", profile, "--jobs", str(jobs)]
    command = [sys.executable, "-m", "effnet_helpers", "sweep", lesson, *values, "--name", NAME]
    started = time.perf_counter()
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    seconds = time.perf_counter() - started
    if done.returncode:
        raise RuntimeError(f"The sweep failed: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    return seconds


def _run(settings: Settings) -> Iterator[Line]:
    lesson, runs = ("01", 2) if settings.tiny else ("05", 4)
    rounds = 1 if settings.tiny else min(settings.rounds, 3)
    with own_cache():
        sides = {str(jobs): lambda jobs=jobs: _sweep(jobs, runs, lesson, "smoke") for jobs in (1, 2)}
        measured = interleaved(sides, rounds, warm_up=not settings.tiny)
    shutil.rmtree(ROOT / "runs" / NAME, ignore_errors=True)
    what = f"{runs} runs of lesson {lesson} (smoke), two at once against one after the other"
    yield measured.compare(what, "2", "1", Target("times", 1.0), "s")


ROW = Row("sweep", "two runs of a sweep at once, or one after the other", lambda settings: 12, _run)
