"""Work whose memory is measured in a process of its own: `python -m bench.child TASK ARGUMENTS`, see `lab.in_child`."""

from __future__ import annotations

import json
import sys
import threading
import time
from dataclasses import replace

from effnet_helpers import data, features, models

import numpy as np
import psutil

SAMPLE_SECONDS = 0.05


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


class PeakMemory(threading.Thread):
    """Samples the memory that belongs to this process alone (USS), and keeps the most it saw."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peak = 0
        self._process = psutil.Process()
        self._stopped = threading.Event()

    def run(self) -> None:
        """Samples until the end."""
        while not self._stopped.wait(SAMPLE_SECONDS):
            self.peak = max(self.peak, self._process.memory_full_info().uss)

    def end(self) -> float:
        """Stops sampling and returns the peak in MB (2**20 bytes)."""
        self._stopped.set()
        self.join()
        return self.peak / 2**20


if __name__ == "__main__":
    memory = PeakMemory()
    memory.start()
    seconds = {"epoch": epoch, "extract": extract}[sys.argv[1]](**json.loads(sys.argv[2]))
    print(json.dumps({"seconds": seconds, "peak_mb": memory.end()}))
