"""Work whose memory is measured in a process of its own: `python -m bench.child TASK ARGUMENTS`, see `lab.in_child`."""

from __future__ import annotations

import json
import statistics
import sys
import time
from dataclasses import replace

from effnet_helpers import data, models, training

import numpy as np
from memory_of_pictures import peak_memory

WARM_UP = 2


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


if __name__ == "__main__":
    task, arguments = {"epoch": epoch, "extract": extract_features, "step": step}[sys.argv[1]], json.loads(sys.argv[2])
    done = {}
    peak = peak_memory(lambda: done.update(seconds=task(**arguments)))
    print(json.dumps({**done, "peak_mb": peak}))
