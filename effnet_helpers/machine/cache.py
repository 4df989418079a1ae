"""The folder for what is expensive to compute, and its removal. Nothing here needs TensorFlow."""

from __future__ import annotations

import atexit
import contextlib
import functools
import hashlib
import os
import shutil
import tempfile
from pathlib import Path

from effnet_helpers.machine.facts import free_gb

import platformdirs

# A folder with this file is ours to delete. Its first line is the Cache Directory Tagging Specification's, so that
# backup programs leave the folder out as well.
TAG_FILE = "CACHEDIR.TAG"
TAG_TEXT = "Signature: 8a477f597d28d172789f06886806bc55\n# This folder was created by effnet_helpers.\n"


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
    """Returns how many GB (10**9 bytes) are free for the cache; 0 where it cannot be written."""
    try:
        return free_gb(cache_dir())
    except OSError:
        return 0.0


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
    tag = path / TAG_FILE
    if any(path.iterdir()) and not (tag.is_file() and tag.read_text(encoding="utf-8", errors="replace") == TAG_TEXT):
        raise ValueError(
            f"Refused to delete a folder that this course did not create (it has no {TAG_FILE} of ours). "
            f"Set EFFNET_CACHE to a folder of its own. Received: {path}"
        )
    size = sum(file.lstat().st_size for file in path.rglob("*") if not file.is_dir())
    shutil.rmtree(path)
    return path, size


def _note_of(path: Path) -> Path:
    with path.open("rb") as file:
        return cache_dir() / "written" / hashlib.file_digest(file, "sha256").hexdigest()


def _cache_path() -> Path:
    chosen = os.environ.get("EFFNET_CACHE")
    return Path(chosen).expanduser().resolve() if chosen else Path(platformdirs.user_cache_dir("effnet_helpers", False))
