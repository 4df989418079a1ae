"""Fine-tuning as in lesson 05 by one, two and four processes of one core each: images a second, and where time goes.

Where there are two GPUs, by one and by both of them, too.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

from effnet_helpers import evaluation
from effnet_helpers.course.launch import launch

import pandas as pd

from .harness import Line, Measured, Row, Settings, Side, Target, interleaved
from .lab import own_cache

COUNTS = (1, 2, 4)
ONE_NUMBER = ("batch_size", "start_s", "ms_per_image", "input_ms", "reduce_ms")
NOT_MEASURED = "two GPUs of one computer: not measured, nobody had them yet"


def _trained(count: int, settings: Settings, gpus: int = 0) -> dict[str, Any]:
    """Trains in so many processes of one core, or on GPUs, and returns what `child.together` measured in the first."""
    tests = str(Path(__file__).parents[1])
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "measured.json")
        arguments = {"out": str(out), "tiny": settings.tiny, "steps": 6 if settings.tiny else 40, "one_core": not gpus}
        command = [sys.executable, "-m", "bench.child", "together", json.dumps(arguments)]
        paths = os.pathsep.join(filter(None, (tests, os.environ.get("PYTHONPATH"))))
        visible = ",".join(map(str, range(gpus))) or "-1"
        with mock.patch.dict(os.environ, PYTHONPATH=paths, CUDA_VISIBLE_DEVICES=visible):
            if count > 1:
                code = launch(command, count)
            else:
                cores = sorted(os.sched_getaffinity(0))[: None if gpus else 1]
                code = subprocess.run(command, preexec_fn=lambda: os.sched_setaffinity(0, cores)).returncode
        if code:
            raise RuntimeError(f"{count} processes failed with exit code {code}")
        return json.loads(out.read_text())


def _run(settings: Settings) -> Iterator[Line]:
    measured: dict[str, list[dict[str, Any]]] = {str(count): [] for count in COUNTS}

    def side(count: int) -> Side:
        def train() -> float:
            measured[str(count)].append(_trained(count, settings))
            return measured[str(count)][-1]["ms_per_image"]

        return train

    with own_cache():
        _trained(1, settings)  # what lies below block4a is computed here, once
        costs: Measured = interleaved({str(count): side(count) for count in COUNTS}, settings.rounds, warm_up=False)
    folder = settings.folder if settings.tiny else evaluation.MEASURED
    _table(measured).to_csv(folder / "distributed.csv", index=False)
    cores = len(os.sched_getaffinity(0))
    for count in COUNTS[1:]:
        parts = {name: statistics.median(each[name] for each in measured[str(count)]) for name in ONE_NUMBER}
        step = parts["ms_per_image"] * parts["batch_size"]
        detail = (
            f"{1000 / parts['ms_per_image']:.1f} images/s; of a step of {step:.0f} ms, adding up the gradients takes "
            f"{parts['reduce_ms']:.0f} ms and input, which is read ahead, {parts['input_ms']:.0f} ms; start to the "
            f"first step {parts['start_s']:.0f} s, with one process "
            f"{statistics.median(each['start_s'] for each in measured['1']):.0f} s"
        )
        if count > cores:
            detail += f"; on {cores} cores, so oversubscribed"
        what = f"fine-tuning from block4a on a kept prefix: {count} processes of one core against one"
        target = Target("times", 1.5) if count == 2 else None
        detail += "" if _gpus() > 1 else f"; {NOT_MEASURED}"
        yield costs.compare(what, str(count), "1", target, "ms/image", detail=detail)
    if _gpus() > 1:
        on = {str(each): lambda each=each: _trained(1, settings, gpus=each)["ms_per_image"] for each in (1, 2)}
        what = "fine-tuning from block4a on a kept prefix: two GPUs of one computer against one"
        with own_cache():
            yield interleaved(on, settings.rounds).compare(what, "2", "1", None, "ms/image")


def _gpus() -> int:
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True)
    except OSError:
        return 0
    return sum(line.startswith("GPU ") for line in listed.stdout.splitlines())


def _table(measured: dict[str, list[dict[str, Any]]]) -> pd.DataFrame:
    """A row for each count of processes, each thing measured and each size of it: the median, and its range."""
    rows = []
    for count, rounds in measured.items():
        found = {("step", size): [each["steps_ms"][size] for each in rounds] for size in rounds[0]["steps_ms"]}
        found |= {
            ("all-reduce", size): [each["reductions_ms"][size] for each in rounds]
            for size in rounds[0]["reductions_ms"]
        }
        found["input", rounds[0]["batch_size"]] = [each["input_ms"] for each in rounds]
        found["start", 1] = [1000 * each["start_s"] for each in rounds]
        for (what, size), costs in found.items():
            rows.append((int(count), what, int(size), statistics.median(costs), min(costs), max(costs), len(costs)))
    columns = ["processes", "what", "size", "milliseconds", "least", "most", "rounds"]
    return pd.DataFrame(rows, columns=columns).round(2)


ROW = Row(
    "distributed",
    "fine-tuning by one, two and four processes of one core",
    lambda settings: 1 + settings.rounds * 5,
    _run,
)
