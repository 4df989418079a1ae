"""What several rows measure on: the images of the lessons, a cache of their own, processes of their own."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from unittest import mock

from effnet_helpers import data

import numpy as np

from .harness import Settings

VARIANT = "Lite0"
LESSON_05 = {"steps": 120, "learning_rate": 5e-4, "batch_size": 32}
"""Arguments of `fine_tune`, and the block it starts from."""
FROM_BLOCK = "block4a"
ALLOCATOR_AS_IT_IS = {"MALLOC_TRIM_THRESHOLD_": "131072"}
"""glibc's default; that it is set makes `allocation` stand aside."""


def textile(settings: Settings, **options: object) -> data.ImageDataset:
    """The images of lessons 04 and 05, split as there: 1,000 for training, 200 for validation, 300 for testing."""
    if settings.tiny:
        options |= {"image_size": 64, "limit_per_class": 60}
    return data.load("textile", **{"image_size": 256, "resize_mode": "pad", "limit_per_class": 500} | options)


def in_memory(images: data.ImageDataset, split: str) -> tuple[np.ndarray, np.ndarray]:
    """All images of a split, uint8 (images, height, width, 3), and their labels (images,)."""
    pixels = [batch.numpy().astype("uint8") for batch, _ in images.batches(split)]
    return np.concatenate(pixels), images.labels(split)


@contextlib.contextmanager
def own_cache() -> Iterator[Path]:
    """An empty cache for a while, in the place of the user's."""
    with tempfile.TemporaryDirectory(prefix="effnet-bench-") as folder:
        cache = Path(folder) / "cache"
        with mock.patch.dict(os.environ, EFFNET_CACHE=str(cache)):
            yield cache


@contextlib.contextmanager
def as_published() -> Iterator[Executor]:
    """A process of its own for a peer's recipe, with memory managed as it is without this package: see `allocation`.

    The process is idle while ours works, and the other way round.
    """
    with mock.patch.dict(os.environ, ALLOCATOR_AS_IT_IS), ProcessPoolExecutor(1, get_context("spawn")) as process:
        process.submit(os.getpid).result()  # it starts now, with these variables
        yield process


def in_child(task: str, environment: dict[str, str] | None = None, **arguments: object) -> dict[str, float]:
    """Has `bench.child` do a task in a process of its own, whose memory is measured.

    Args:
        task: a function of `bench.child`.
        environment: variables to set for the process.
        arguments: its arguments.

    Returns:
        "seconds" of the task and "peak_mb", the most memory (2**20 bytes) that this process alone had at any time.

    Raises:
        RuntimeError: if the process fails; the message ends with its last words.
    """
    paths = [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))} | (environment or {})
    command = [sys.executable, "-m", "bench.child", task, json.dumps(arguments)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{task} with {arguments} failed: {done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])
