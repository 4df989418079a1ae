"""Arrays on disk: streamed in, mapped back, and never half a one or a wrong one."""

import os
import subprocess
import sys
import time
import tracemalloc

from effnet_helpers import machine
from effnet_helpers.machine import stored_arrays

import numpy as np
import pytest

SHAPE = (50, 1000)
WHOLE = np.arange(50 * 1000, dtype="float16").reshape(SHAPE)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "features" / "key.npy"


def write(path, parts=None):
    return machine.write_array(path, SHAPE, "float16", [WHOLE[:20], WHOLE[20:]] if parts is None else parts)


def test_what_was_written_part_by_part_is_mapped_back(path):
    assert machine.read_array(path, SHAPE, "float16") is None
    for found in (write(path), machine.read_array(path, SHAPE, "float16"), np.load(path)):
        np.testing.assert_array_equal(found, WHOLE)
    assert isinstance(machine.read_array(path, SHAPE, "float16"), np.memmap)


def test_memory_does_not_grow_with_the_array(path):
    part = np.zeros((1, 2**20), "uint8")
    tracemalloc.start()
    machine.write_array(path, (50, 2**20), "uint8", (part for _ in range(50)))
    machine.read_array(path, (50, 2**20), "uint8")
    assert tracemalloc.get_traced_memory()[1] < 5 * 2**20
    tracemalloc.stop()


def flip_a_bit(content):
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


@pytest.mark.parametrize(
    "damage", [lambda content: content[:-9], lambda content: b"rubbish", lambda content: b"", flip_a_bit]
)
def test_damage_is_noticed_and_said(path, damage):
    write(path)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.warns(machine.CacheWarning, match=r"key.npy in the cache is damaged"):
        assert machine.read_array(path, SHAPE, "float16") is None


@pytest.mark.parametrize(("shape", "dtype"), [((50, 999), "float16"), (SHAPE, "uint16")])
def test_another_array_than_expected_is_not_taken(path, shape, dtype):
    write(path)
    with pytest.warns(machine.CacheWarning, match="it is not what was written"):
        assert machine.read_array(path, shape, dtype) is None


def test_a_disk_that_fills_up_costs_the_cache_and_nothing_else(path):
    def until_it_is_full():
        yield WHOLE[:20]
        raise OSError(28, "No space left on device")

    with pytest.warns(machine.CacheWarning, match=r"cannot be written.*No space left"):
        assert write(path, until_it_is_full()) is None
    assert list(path.parent.iterdir()) == []


def test_a_folder_that_cannot_be_made_costs_the_cache_and_nothing_else(tmp_path):
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "features" / "key.npy"
    assert machine.read_array(path, SHAPE, "float16") is None
    with pytest.warns(machine.CacheWarning, match=r"cannot be written") as caught:
        assert write(path) is None
    assert caught[0].filename == __file__  # not the package's own


def test_an_interrupted_writer_leaves_nothing(path):
    def until_interrupted():
        yield WHOLE[:20]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(path, until_interrupted())
    assert list(path.parent.iterdir()) == []


def python(code, path):
    code = "import os, signal, numpy as np\nfrom pathlib import Path\nfrom effnet_helpers import machine\n" + code
    return subprocess.Popen([sys.executable, "-c", code.replace("PATH", f"Path({str(path)!r})")])


@pytest.mark.posix
def test_what_a_killed_writer_leaves_goes_after_a_while(path):
    code = (
        "def parts():\n"
        "    yield np.zeros((20, 1000), 'float16')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "machine.write_array(PATH, (50, 1000), 'float16', parts())\n"
    )
    assert python(code, path).wait() == -9
    (left,) = path.parent.iterdir()
    assert machine.read_array(path, SHAPE, "float16") is None
    write(path)
    assert left.exists()  # its writer might still be at it
    long_ago = time.time() - 2 * stored_arrays.ABANDONED
    os.utime(left, (long_ago, long_ago))
    write(path)
    assert list(path.parent.iterdir()) == [path]


def test_two_writers_at_once_leave_one_whole_file(path):
    code = (
        "for value in range(40):\n"
        "    half = np.full((25, 1000), value, 'float16')\n"
        "    assert machine.write_array(PATH, (50, 1000), 'float16', [half, half]) is not None\n"
    )
    writers = [python(code, path) for _ in range(2)]
    while any(writer.poll() is None for writer in writers):
        found = machine.read_array(path, SHAPE, "float16")
        assert found is None or len(np.unique(found)) == 1
    assert [writer.returncode for writer in writers] == [0, 0]
    assert list(path.parent.iterdir()) == [path]
