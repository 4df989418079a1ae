"""Fine-tuning as in lesson 05 by one, two and four processes of one core each: images a second, and where time goes."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

from effnet_helpers.course.launch import launch

from .harness import Line, Measured, Row, Settings, Side, Target, interleaved
from .lab import own_cache

COUNTS = (1, 2, 4)
TWO_GPUS = "two GPUs of one computer: not measured, nobody had them yet"


def _trained(count: int, settings: Settings) -> dict[str, float]:
    """Trains in so many processes, and returns what `child.together` measured in the first one."""
    tests = str(Path(__file__).parents[1])
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "measured.json")
        arguments = {"out": str(out), "tiny": settings.tiny, "steps": 6 if settings.tiny else 40}
        command = [sys.executable, "-m", "bench.child", "together", json.dumps(arguments)]
        paths = os.pathsep.join(filter(None, (tests, os.environ.get("PYTHONPATH"))))
        with mock.patch.dict(os.environ, PYTHONPATH=paths):
            if count > 1:
                code = launch(command, count)
            else:
                cores = sorted(os.sched_getaffinity(0))[:1]
                code = subprocess.run(command, preexec_fn=lambda: os.sched_setaffinity(0, cores)).returncode
        if code:
            raise RuntimeError(f"{count} processes failed with exit code {code}")
        return json.loads(out.read_text())


def _run(settings: Settings) -> Iterator[Line]:
    measured: dict[str, list[dict[str, float]]] = {str(count): [] for count in COUNTS}

    def side(count: int) -> Side:
        def train() -> float:
            measured[str(count)].append(_trained(count, settings))
            return measured[str(count)][-1]["ms_per_image"]

        return train

    with own_cache():
        _trained(1, settings)  # what lies below block4a is computed here, once
        costs: Measured = interleaved({str(count): side(count) for count in COUNTS}, settings.rounds, warm_up=False)
    cores = len(os.sched_getaffinity(0))
    for count in COUNTS[1:]:
        parts = {name: statistics.median(each[name] for each in measured[str(count)]) for name in measured["1"][0]}
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
        yield costs.compare(what, str(count), "1", target, "ms/image", detail=f"{detail}; {TWO_GPUS}")


ROW = Row(
    "distributed",
    "fine-tuning by one, two and four processes of one core",
    lambda settings: 1 + settings.rounds * 3,
    _run,
)
