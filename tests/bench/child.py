"""Work whose memory is measured in a process of its own: `python -m bench.child TASK ARGUMENTS`, see `lab.in_child`."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import replace

from effnet_helpers import data, features, models

import numpy as np
from memory_of_pictures import peak_memory


def epoch(folder: str, image_size: int) -> float:
    """Loads a folder and serves its training images once, uncached; returns the seconds of both."""
    started = time.perf_counter()
    for _ in data.load(f"folder:{folder}", image_size=image_size).batches("train", shuffle=True):
        pass
    return time.perf_counter() - started


def extract(images: int, image_size: int, variant: str) -> float:
    """Computes features of so many textile images; returns the seconds of that alone, the network being ready."""
    dataset = data.load("textile", image_size=image_size, resize_mode="pad")
    files = dataset.splits["train"]
    chosen = files.take(np.linspace(0, len(files) - 1, images).astype(int))
    dataset = replace(dataset, splits=dataset.splits | {"train": chosen})
    network = models.build_backbone(variant, image_size=image_size)
    features.extract(network, dataset.with_fewer(3), "train")
    return features.extract(network, dataset, "train").seconds


if __name__ == "__main__":
    task, arguments = {"epoch": epoch, "extract": extract}[sys.argv[1]], json.loads(sys.argv[2])
    done = {}
    peak = peak_memory(lambda: done.update(seconds=task(**arguments)))
    print(json.dumps({**done, "peak_mb": peak}))
