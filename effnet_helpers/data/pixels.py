"""Decoded and resized images kept for later epochs: in memory, in a file, or not at all, by what there is room for."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator

from effnet_helpers import machine
from effnet_helpers.data import pipeline
from effnet_helpers.data.listing import ImageFiles
from effnet_helpers.machine import CacheWarning, cache_dir

import numpy as np

MEMORY_SHARE = 0.25  # of the memory that is available now; the rest is for the network and whoever else is there
DISK_SHARE = 0.5  # of what is free on the disk of the cache


def keep_pixels(files: ImageFiles, image_size: int, resize_mode: str, key: str) -> np.ndarray | None:
    """Reads all images once and keeps them where there is room.

    They are kept in memory if they take no more than `MEMORY_SHARE` of what is available, else in a file in the cache
    if they take no more than `DISK_SHARE` of the free disk. The file serves later processes, too.

    Args:
        files: The images.
        image_size: Their side in pixels.
        resize_mode: See `preprocessing.resize`.
        key: Name of the file; it must change whenever the pixels do.

    Returns:
        uint8 `(n, image_size, image_size, 3)`, an array or a read-only memory-mapped file. None, with a
        `CacheWarning`, if there is room in neither.
    """
    shape = (len(files), image_size, image_size, 3)
    size = math.prod(shape)
    images = _batches(files, image_size, resize_mode)
    available = machine.memory_gb()[1] * 2**30
    if size <= available * MEMORY_SHARE:
        return _in_memory(images, shape)
    path = cache_dir() / "pixels" / f"{key}.npy"
    found = machine.read_array(path, shape, "uint8")
    if found is not None:
        return found
    free = machine.free_cache_gb() * 1e9
    if size <= free * DISK_SHARE:
        return machine.write_array(path, shape, "uint8", images)
    warnings.warn(
        f"{len(files):,} decoded images take {size / 2**30:,.1f} GB, too much for the memory "
        f"({available / 2**30:,.1f} GB available) and for the disk of the cache ({free / 2**30:,.1f} GB free), so they "
        "are read anew in each epoch. Smaller images, or EFFNET_CACHE on a larger disk, would help.",
        CacheWarning,
        stacklevel=4,  # whoever asked for batches
    )
    return None


def _batches(files: ImageFiles, image_size: int, resize_mode: str) -> Iterator[np.ndarray]:
    for images, _ in pipeline.from_files(files, image_size, resize_mode):
        yield images.numpy()


def _in_memory(images: Iterator[np.ndarray], shape: tuple[int, ...]) -> np.ndarray:
    kept, start = np.empty(shape, dtype=np.uint8), 0
    for batch in images:
        kept[start : start + len(batch)] = batch
        start += len(batch)
    return kept
