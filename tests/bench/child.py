"""Work whose memory is measured in a process of its own: `python -m bench.child TASK ARGUMENTS`, see `lab.in_child`."""

from __future__ import annotations

import itertools
import json
import statistics
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

from effnet_helpers import data, models, training
from effnet_helpers.training import fit as training_fit
from effnet_helpers.training.prefix import Plan, plan_prefix

import numpy as np
import psutil
import tensorflow as tf
from memory_of_pictures import peak_memory

from .harness import Settings
from .lab import FROM_BLOCK, LESSON_05, VARIANT, textile

WARM_UP = 2
OTHER_BATCHES = (16, 64)  # beside that of lesson 05
GRADIENT_SHARES = (0.1, 0.3, 1.0)  # of all weights that train, to add up


def epoch(folder: str, image_size: int) -> float:
    """Loads a folder and serves its training images once, uncached; returns the seconds of both."""
    started = time.perf_counter()
    for _ in data.load(f"folder:{folder}", image_size=image_size).batches("train", shuffle=True):
        pass
    return time.perf_counter() - started


def extract_features(images: int, image_size: int, variant: str) -> float:
    """Computes features of so many textile images; returns the seconds of that alone, the network being ready."""
    dataset = data.load("textile", image_size=image_size, resize_mode="pad")
    files = dataset.splits["train"]
    chosen = files.take(np.linspace(0, len(files) - 1, images).astype(int))
    dataset = replace(dataset, splits=dataset.splits | {"train": chosen})
    network = models.build_backbone(variant, image_size=image_size)
    training.extract_features(network, dataset.with_fewer(3), ["train"])
    return training.extract_features(network, dataset, ["train"])["train"].seconds


def step(image_size: int, batch_size: int) -> float:
    """Trains a whole network on noise; returns the median seconds of a step, divided by the images in it."""
    network = models.add_head(models.build_backbone("Lite0", image_size=image_size), 3)
    models.unfreeze_blocks(network, from_block="block1a")
    network.compile("sgd", loss="sparse_categorical_crossentropy")
    images = np.random.default_rng(0).integers(0, 256, (batch_size, image_size, image_size, 3)).astype("float32")
    times = []
    for _ in range(WARM_UP + 8):
        started = time.perf_counter()
        network.train_on_batch(images, np.arange(batch_size) % 3)
        times.append((time.perf_counter() - started) / batch_size)
    return statistics.median(times[WARM_UP:])


def together(out: str, tiny: bool, steps: int, one_core: bool = True) -> float:
    """Fine-tunes as lesson 05 does, with the processes in `TF_CONFIG`; the first one writes what it measured."""
    if one_core:
        tf.config.threading.set_intra_op_parallelism_threads(1)
    processes, ends, taken = training.join_processes(), [], {}
    images = textile(Settings(tiny=tiny))
    model = models.add_head(models.build_backbone(VARIANT, image_size=images.image_size), images.num_classes)
    models.unfreeze_blocks(model, from_block=FROM_BLOCK)
    method = training.KeepBest.on_train_batch_end

    def watched(self: training.KeepBest, batch: int, logs: dict[str, float] | None = None) -> None:
        method(self, batch, logs)
        ends.append((batch, time.time()))

    chosen = LESSON_05["batch_size"]
    measured = {"batch_size": chosen, "steps_ms": {}, "reductions_ms": {}}
    lengths = {chosen: steps} | dict.fromkeys(OTHER_BATCHES, max(6, steps // 3))
    for batch_size, count in lengths.items():
        how = {"batch_size": batch_size, "learning_rate": LESSON_05["learning_rate"], "processes": processes}
        ends.clear()
        # So short a training would not keep what lies below the blocks, and it is the long one that is of interest.
        planned = mock.patch.object(training_fit, "plan_prefix", _as_if_long)
        with planned, mock.patch.object(training.KeepBest, "on_train_batch_end", watched):
            fit = training.fine_tune(model, images, steps=count, validations=2, warmup_steps=0, **how)
        measured.setdefault("start_s", ends[0][1] - psutil.Process().create_time())
        seconds = [end - start for (_, start), (batch, end) in itertools.pairwise(ends) if batch > 0][WARM_UP:]
        taken[batch_size] = statistics.median(seconds)
        measured["steps_ms"][batch_size] = 1000 * taken[batch_size]
    measured["ms_per_image"] = 1000 * taken[chosen] / chosen
    prefix, _ = models.split_at_block(model, FROM_BLOCK)
    features = training.extract_features(prefix, images, ["train"], chosen, processes=processes)["train"]
    share = {} if processes is None else {"share": processes.share}
    started = time.perf_counter()
    batches = sum(1 for _ in features.batches(chosen, shuffle=True, **share))
    measured["input_ms"] = 1000 * (time.perf_counter() - started) / batches
    for part in GRADIENT_SHARES if processes else ():
        gradients = np.zeros(round(part * fit.trained_parameters), "float32")
        measured["reductions_ms"][gradients.nbytes] = 1000 * _sum_seconds(processes, gradients)
    measured["reduce_ms"] = next(reversed(measured["reductions_ms"].values()), 0.0)
    if processes is None or processes.is_chief:
        Path(out).write_text(json.dumps(measured))
    return sum(seconds)


def _as_if_long(*arguments: Any, passes: float, **options: Any) -> Plan:
    return plan_prefix(*arguments, passes=100.0, **options)


def _sum_seconds(processes: training.Processes, gradients: np.ndarray) -> float:
    """The median seconds in which all processes add up such arrays."""
    reductions = []
    for _ in range(WARM_UP + 5):
        started = time.perf_counter()
        processes.sum(gradients)
        reductions.append(time.perf_counter() - started)
    return statistics.median(reductions[WARM_UP:])


TASKS = {"epoch": epoch, "extract": extract_features, "step": step, "together": together}

if __name__ == "__main__":
    task, arguments = TASKS[sys.argv[1]], json.loads(sys.argv[2])
    done = {}
    peak = peak_memory(lambda: done.update(seconds=task(**arguments)))
    print(json.dumps({**done, "peak_mb": peak}))
