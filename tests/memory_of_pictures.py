"""Prints the peak memory, in MB, of going through sets of pictures of growing size; mapped files do not count.

    python tests/memory_of_pictures.py 1000 10000 60000

The pictures are a few small ones again and again, so that what grows can only be what is kept for each.
"""

import functools
import itertools
import sys
import tempfile
import threading
from pathlib import Path

from effnet_helpers.data import pipeline, pixels
from effnet_helpers.data.listing import ImageFiles

import numpy as np
import psutil
from PIL import Image

SIZE = 64


def peak_memory(work):
    """What `work()` takes at most, in MB: pages that are backed by no file."""
    process, done, peak = psutil.Process(), threading.Event(), 0

    def watch():
        nonlocal peak
        while not done.wait(0.02):
            memory = process.memory_info()
            peak = max(peak, memory.rss - memory.shared)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        work()
    finally:
        done.set()
        watcher.join()
    return peak // 2**20


def an_epoch(files, cached):
    if cached:
        kept = pixels.keep_pixels(files, SIZE, "pad", f"{len(files)} pictures")
        batches = pipeline.from_arrays(kept, files.labels, shuffle=True)
    else:
        batches = pipeline.from_files(files, SIZE, "pad", shuffle=True)
    assert sum(len(labels) for _, labels in batches) == len(files)


def main(counts):
    pixels.MEMORY_SHARE = 0  # a file, however few
    with tempfile.TemporaryDirectory() as folder:
        random = np.random.default_rng(0)
        for i in range(16):
            Image.fromarray(random.integers(0, 256, (48, 64, 3), dtype=np.uint8)).save(Path(folder, f"{i}.jpg"))
        for kind, count in itertools.product(("streamed", "file"), map(int, counts)):
            names = tuple(f"{i % 16}.jpg" for i in range(count))
            files = ImageFiles(Path(folder), names, np.zeros(count, np.int32), ("",) * count)
            peak = peak_memory(functools.partial(an_epoch, files, kind == "file"))
            print(kind, count, peak, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
