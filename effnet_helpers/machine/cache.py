"""The folder for what is expensive to compute, and its removal. Nothing here needs TensorFlow."""

from __future__ import annotations

import atexit
import contextlib
import functools
import hashlib
import os
import re
import shutil
import tempfile
from pathlib import Path

from effnet_helpers.machine.facts import free_gb

import platformdirs

# A folder with this file is ours to delete. Its first line is the Cache Directory Tagging Specification's, so that
# backup programs leave the folder out as well.
TAG_FILE = "CACHEDIR.TAG"
TAG_TEXT = "Signature: 8a477f597d28d172789f06886806bc55\n# This folder was created by effnet_helpers.\n"
DEFAULT_BOUND = 0.5  # share of the disk, of what is free and what the cache holds, that its arrays may take

_used: set[Path] = set()  # arrays that this process may have mapped into its memory


def cache_dir() -> Path:
    """Returns the folder for what is expensive to compute, and creates it where that is possible.

    It is the environment variable `EFFNET_CACHE` where that is set, else the operating system's folder for caches.
    A folder that is new or empty receives a tag file, by which `clear_cache` knows that everything in it is ours.
    """
    path = _cache_path()
    with contextlib.suppress(OSError):  # then `write_array` says why, and what was asked for is computed all the same
        path.mkdir(parents=True, exist_ok=True)
        if not any(path.iterdir()):
            (path / TAG_FILE).write_text(TAG_TEXT, encoding="utf-8")
    return path


@functools.cache
def _folder_of_this_process() -> str:
    """A folder that is gone when the process ends."""
    folder = tempfile.mkdtemp(prefix="effnet-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def writable_folder(name: str) -> Path:
    """Returns a folder in the cache, or where that cannot be written one that is gone when the process ends."""
    try:
        folder = cache_dir() / name
        folder.mkdir(exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError:
        folder = Path(_folder_of_this_process(), name)
        folder.mkdir(exist_ok=True)
        return folder


def note_written(path: Path) -> None:
    """Notes in the cache that this package wrote a file, as it is now."""
    note = _note_of(path)
    with contextlib.suppress(OSError):
        note.parent.mkdir(exist_ok=True)
        note.touch()


def is_as_written(path: Path) -> bool:
    """Tells whether a file has the very bytes of one that this package wrote; so it is said where no cache can be."""
    return _note_of(path).exists() or not os.access(cache_dir(), os.W_OK)


def free_cache_gb() -> float:
    """Returns how many GB (10**9 bytes) the cache may take now; 0 where it cannot be written.

    No more than is free, and no more than its bound: older arrays make room for new ones.
    """
    try:
        return min(free_gb(cache_dir()), cache_bound_gb())
    except OSError:
        return 0.0


def cache_bound_gb() -> float:
    """Returns how many GB the arrays in the cache may take: `EFFNET_CACHE_GB`, or half of the disk that others leave.

    Raises:
        ValueError: If the environment variable is no number above 0.
    """
    chosen = os.environ.get("EFFNET_CACHE_GB")
    if not chosen:
        return DEFAULT_BOUND * (free_gb(cache_dir()) + sum(size for _, size, _ in _arrays()) / 1e9)
    if not re.fullmatch(r"\d*\.?\d+", chosen) or float(chosen) == 0:
        raise ValueError(f"EFFNET_CACHE_GB must be a number of GB above 0, such as 20. Received: {chosen!r}")
    return float(chosen)


def mark_used(path: Path) -> None:
    """Notes that an array is in use by this process, and that it was used now."""
    _used.add(path)
    with contextlib.suppress(OSError):
        os.utime(path)


def make_room(size: int) -> None:
    """Drops the arrays that were used longest ago, until so many bytes more stay within the bound of the cache.

    What this process has read or written stays, so that one run alone may go beyond it. So does whatever is no array
    by its name, and everything in a folder that `cache_dir` did not create.
    """
    if not _is_ours(_cache_path()):
        return
    arrays = sorted(_arrays())
    excess = size + sum(size for _, size, _ in arrays) - cache_bound_gb() * 1e9
    for _, bytes_of_it, path in arrays:
        if excess <= 0:
            return
        if path not in _used:
            with contextlib.suppress(OSError):  # on Windows it stays while another process has it mapped
                path.unlink()
                excess -= bytes_of_it


def _arrays() -> list[tuple[float, int, Path]]:
    """When each array in the cache was used last, how many bytes it has, and where it is."""
    found = []
    for path in _cache_path().glob("*/*.npy"):
        if re.fullmatch(r"[0-9a-f]{16,64}", path.stem):  # a digest of what it was computed from
            with contextlib.suppress(OSError):  # another process has dropped it meanwhile
                found.append((path.stat().st_mtime, path.stat().st_size, path))
    return found


def clear_cache() -> tuple[Path, int]:
    """Deletes the folder that `cache_dir` created.

    Returns:
        The folder and the number of bytes that were in it, 0 where there was none.

    Raises:
        ValueError: If the folder holds anything but was not created by `cache_dir`.
    """
    path = _cache_path()
    if not path.exists():
        return path, 0
    if any(path.iterdir()) and not _is_ours(path):
        raise ValueError(
            f"Refused to delete a folder that this course did not create (it has no {TAG_FILE} of ours). "
            f"Set EFFNET_CACHE to a folder of its own. Received: {path}"
        )
    size = sum(file.lstat().st_size for file in path.rglob("*") if not file.is_dir())
    shutil.rmtree(path)
    return path, size


def _is_ours(folder: Path) -> bool:
    tag = folder / TAG_FILE
    return tag.is_file() and tag.read_text(encoding="utf-8", errors="replace") == TAG_TEXT


def _note_of(path: Path) -> Path:
    with path.open("rb") as file:
        return cache_dir() / "written" / hashlib.file_digest(file, "sha256").hexdigest()


def _cache_path() -> Path:
    chosen = os.environ.get("EFFNET_CACHE")
    return Path(chosen).expanduser().resolve() if chosen else Path(platformdirs.user_cache_dir("effnet_helpers", False))
