"""Arrays on disk that may be missing, half-written or damaged without anybody noticing more than the time it takes.

An array is written while it is computed, so that memory does not grow with it, and read back memory-mapped. It is
written as a stream, since a disk that fills up under `numpy.lib.format.open_memmap` kills the process (SIGBUS).
"""

from __future__ import annotations

import contextlib
import math
import os
import shutil
import sys
import tempfile
import time
import warnings
import zlib
from collections.abc import Iterable
from pathlib import Path

from effnet_helpers.machine.cache import make_room, mark_used

import numpy as np

TRAILER = 4
"""Bytes after the array that hold its CRC-32. NumPy maps the array and never looks past its end."""
ABANDONED = 7 * 24 * 3600
"""Seconds after which an array that is still being written belongs to a writer that was killed."""


class CacheWarning(UserWarning):
    """The cache could not be read or written; what was asked for is computed all the same."""


def read_array(path: Path, shape: tuple[int, ...], dtype: str) -> np.ndarray | None:
    """Reads an array that `write_array` has stored.

    Args:
        path: The file.
        shape: What is expected in it.
        dtype: The same, such as `"uint8"`.

    Returns:
        The array, memory-mapped and read-only. None if there is no such file, or, with a `CacheWarning`, if what is in
        it is not what was written.
    """
    if not os.path.exists(path):
        return None
    expected = (shape, False, np.dtype(dtype))
    try:
        with path.open("rb") as file:  # opened once: another process may put a new file in its place meanwhile
            np.lib.format.read_magic(file)
            header = np.lib.format.read_array_header_1_0(file)
            values = np.memmap(file, dtype, "r", file.tell(), shape)
            file.seek(-TRAILER, os.SEEK_END)
            if header != expected or int.from_bytes(file.read(), "little") != zlib.crc32(values.data):
                raise ValueError(f"it is not what was written, {dtype} {shape}")
        mark_used(path)
        return values
    except (OSError, ValueError, EOFError) as error:
        _warn(f"{path.name} in the cache is damaged and is computed again ({error}).")
        return None


def write_array(path: Path, shape: tuple[int, ...], dtype: str, parts: Iterable[np.ndarray]) -> np.ndarray | None:
    """Stores an array part by part.

    What was used longest ago makes room for it, see `cache.make_room`.
    The file has another name until it is complete: a reader, a second writer or a writer that is killed never leaves
    half a file under the final one.

    Args:
        path: The file; its folder is made if need be.
        shape: Of the whole array.
        dtype: Its type, such as `"uint8"`.
        parts: Arrays of this type that make up the whole one after the other, along the first axis.

    Returns:
        The array, memory-mapped and read-only. None, with a `CacheWarning`, if it cannot be written, for example
        because the disk is full; nothing of it stays there then.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(path.parent)
        make_room(math.prod(shape) * np.dtype(dtype).itemsize)
        with tempfile.TemporaryDirectory(dir=path.parent, suffix=".part") as folder:
            part, checksum = Path(folder, path.name), 0
            with part.open("wb") as file:
                header = {"descr": np.dtype(dtype).str, "fortran_order": False, "shape": shape}
                np.lib.format.write_array_header_1_0(file, header)
                for values in parts:
                    checksum = zlib.crc32(values.data, checksum)
                    file.write(values.data)
                file.write(checksum.to_bytes(TRAILER, "little"))
            os.replace(part, path)
        mark_used(path)
        return np.load(path, mmap_mode="r")
    except OSError as error:
        _warn(f"The cache cannot be written, so this is computed again next time ({error}).")
        return None


def _remove_abandoned(folder: Path) -> None:
    for part in folder.glob("*.part"):
        with contextlib.suppress(OSError):  # its writer is done meanwhile
            if time.time() - part.stat().st_mtime > ABANDONED:
                shutil.rmtree(part)


def _warn(message: str) -> None:
    frame, level = sys._getframe(), 1
    while frame.f_back and frame.f_globals["__name__"].startswith("effnet_helpers"):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, CacheWarning, stacklevel=level)  # names whoever asked for what is cached
