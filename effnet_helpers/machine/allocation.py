"""Memory that was freed stays with the process, so that the next batch finds it ready.

TensorFlow asks the C library for memory for every activation, and gives it back as soon as it is used. On Linux, glibc
passes blocks of that size on to the system at once, and the system clears every page before it hands it out again, for
the next activation. `make bench ROW=step` measures what that costs. Source: `mallopt(3)` in the Linux manual pages.
"""

from __future__ import annotations

import ctypes
import os
import platform

SETTINGS = {"MALLOC_ARENA_MAX": (-8, 1), "MALLOC_MMAP_MAX_": (-4, 0), "MALLOC_TRIM_THRESHOLD_": (-1, -1)}
"""Environment variables of glibc, each with its parameter of `mallopt`, from `malloc.h`, and its value: one heap, since
those of threads are limited to 64 MB; everything from it; nothing of it given back."""


def keep_freed_memory() -> bool:
    """Makes glibc keep what this process frees; the process then holds its peak until it ends.

    Call it before TensorFlow is loaded. Where threads have allocated before, as in a notebook's kernel, large blocks go
    back to the system all the same: start such a process with `kernel_environment`.

    Returns:
        Whether it is so now: not with another C library, and not if the user has set glibc up by its variables.
    """
    if not kernel_environment():
        return False
    mallopt = ctypes.CDLL(None).mallopt
    for parameter, value in SETTINGS.values():
        mallopt(parameter, value)
    return True


def kernel_environment() -> dict[str, str]:
    """Returns variables that make glibc keep what a process frees that starts with them; none if not ours."""
    is_set = any(name in os.environ for name in (*SETTINGS, "MALLOC_MMAP_THRESHOLD_"))
    if platform.libc_ver()[0] != "glibc" or is_set:
        return {}
    return {name: str(value % 2**63) for name, (_, value) in SETTINGS.items()}
