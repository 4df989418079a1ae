"""Memory that was freed stays with the process, so that the next batch finds it ready.

TensorFlow asks the C library for memory for every activation, and gives it back as soon as it is used. On Linux, glibc
passes blocks of that size on to the system at once, and the system clears every page before it hands it out again, for
the next activation. `make bench ROW=step` measures what that costs.

Source: `mallopt(3)` in the Linux manual pages.
"""

from __future__ import annotations

import ctypes
import os
import platform

M_TRIM_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX = -1, -4, -8
"""Parameters of `mallopt`, from glibc's `malloc.h`."""
OF_THE_USER = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_MAX_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_ARENA_MAX")
"""Environment variables by which glibc is set up from outside; who has set one of them wants it so."""


def keep_freed_memory() -> bool:
    """Makes glibc keep what this process frees; the process then holds its peak until it ends.

    Call it before TensorFlow is loaded. Where threads have allocated before, as in a notebook's kernel, later threads
    share their heaps, and large blocks go back to the system all the same: start it with `kernel_environment`.

    Returns:
        Whether it is so now: not with another C library, and not if the user has set one of `OF_THE_USER`.
    """
    if not _is_ours_to_decide():
        return False
    mallopt = ctypes.CDLL(None).mallopt
    # One heap instead of one for each thread, since those are limited to 64 MB; from it everything, nothing given back.
    return all([mallopt(M_ARENA_MAX, 1), mallopt(M_MMAP_MAX, 0), mallopt(M_TRIM_THRESHOLD, -1)])


def kernel_environment() -> dict[str, str]:
    """Variables that make glibc keep what is freed in a process that is started with them; none if that is not ours."""
    if not _is_ours_to_decide():
        return {}
    return {"MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**62)}


def _is_ours_to_decide() -> bool:
    return platform.libc_ver()[0] == "glibc" and not any(name in os.environ for name in OF_THE_USER)
