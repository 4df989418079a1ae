"""Memory that is freed and asked for again: counted are the pages that the system had to clear in between."""

import os
import platform
import subprocess
import sys

from effnet_helpers import machine
from effnet_helpers.course import ROOT
from effnet_helpers.machine import allocation

import pytest

PAGES_AGAIN = """
import resource
from effnet_helpers.machine.allocation import keep_freed_memory
print(keep_freed_memory())
b"x" * 2**27  # 128 MB
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
b"x" * 2**27
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries are left as they are")


@pytest.fixture(autouse=True)
def nothing_set_by_the_user(monkeypatch):
    for name in (*allocation.SETTINGS, "MALLOC_MMAP_THRESHOLD_"):
        monkeypatch.delenv(name, raising=False)


def pages_again(**environment):
    """Whether the call keeps memory, and how many pages are cleared for an array of a size that was there before."""
    command = [sys.executable, "-c", PAGES_AGAIN]
    done = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, check=True)
    kept, pages = done.stdout.split()
    return kept == "True", int(pages)


def test_an_array_finds_the_memory_of_the_one_before():
    kept, pages = pages_again()
    assert kept
    assert pages < 100


def test_so_it_does_in_a_process_started_with_the_environment():
    kept, pages = pages_again(**machine.kernel_environment())
    assert not kept  # the variables do it, not the call
    assert pages < 100


def test_a_user_who_has_set_up_the_allocator_keeps_it():
    kept, pages = pages_again(MALLOC_TRIM_THRESHOLD_="131072")
    assert not kept
    assert pages > 10_000


def test_make_starts_kernels_with_the_same_environment(monkeypatch):
    for variable in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS"):  # of the make that runs the tests
        monkeypatch.delenv(variable, raising=False)
    recipe = ["make", "--no-print-directory", "--dry-run", f"BIN={os.path.dirname(sys.executable)}", "lab"]
    shown = subprocess.run(recipe, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    words = shown.splitlines()[-1].split()
    assert dict(word.split("=") for word in words[:3]) == machine.kernel_environment()


@pytest.mark.parametrize("name", [*allocation.SETTINGS, "MALLOC_MMAP_THRESHOLD_"])
def test_what_is_set_or_another_c_library_is_left_alone(monkeypatch, name):
    monkeypatch.setenv(name, "1")
    assert machine.kernel_environment() == {}
    monkeypatch.delenv(name)
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    assert machine.kernel_environment() == {}
    assert machine.keep_freed_memory() is False
