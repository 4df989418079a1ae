"""Starts the processes of a training on this machine, watches them, and ends all of them when one fails.

A process that waits for one that is gone waits for ever. So whoever is killed, stopped or hanging is named here, and
the others are ended: at once, within `STOPPED_SECONDS`, or within `HANGING_SECONDS`, in which no process took a step
and all together used less than a tenth of a core. None outlives the launcher, whatever ends it.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from effnet_helpers.course import CourseError
from effnet_helpers.machine import FIRST_PORT, PULSE, Cluster, find_cluster

import psutil

STOPPED_SECONDS = 3.0  # before TensorFlow in the others gives it up, which takes 6 to 10 seconds
HANGING_SECONDS, TOGETHER_SECONDS, POLL_SECONDS = 600.0, 2.0, 0.2
LOOK_SECONDS, BUSY = 10.0, 0.1  # how often to look at the time on cores, and what share of one counts as work
NEW_USER, NEW_NET = 0x10000000, 0x40000000  # of Linux' `unshare`
SET_FLAGS, UP = 0x8914, 0x41  # of a network interface
WHEN_PARENT_DIES = 1  # of Linux' `prctl`


@dataclass
class Worker:
    """A process, and what is known of it."""

    process: subprocess.Popen
    is_first: bool
    pulse: int
    words: BinaryIO | None
    beats: int = 0
    stopped_at: float | None = None

    def last_words(self) -> str:
        """The last line that it wrote to stderr, where that is kept."""
        if self.words is None:
            return ""
        self.words.seek(0)
        lines = self.words.read().decode(errors="replace").strip().splitlines()
        return f": {lines[-1].removeprefix('effnet: ')}" if lines else ""


def launch(command: Sequence[str], count: int, cluster: Cluster | None = None) -> int:
    """Runs a command in several processes of this machine, which train together, until all are done.

    Without named addresses they share a network of their own that nothing outside can reach, since TensorFlow's
    servers listen on all interfaces.

    Args:
        command: What each runs; `TF_CONFIG` tells it which one it is. What the first one writes is shown.
        count: How many, 2 or more.
        cluster: Their addresses, if the user named them.

    Returns:
        The exit code of the first one if it ended by itself, else 0.

    Raises:
        CourseError: If this system does not let them have a network of their own, or cannot start them at all.
        OSError: If one failed: which one, and of what. The others are ended then.
        InterruptedError: If SIGTERM came, which ends them all.
    """
    if os.name == "nt":
        raise CourseError("--processes needs Linux or macOS; elsewhere start each process with --cluster and --index")
    addresses = cluster.addresses if cluster else tuple(f"127.0.0.1:{FIRST_PORT + number}" for number in range(count))
    together, workers = Cluster(addresses, None), []
    before = signal.signal(signal.SIGTERM, _terminated)
    try:
        for index in range(count):
            first = workers[0].process.pid if workers else None
            enter = _nowhere if cluster else _new_network if first is None else _network_of(first)
            workers.append(_start(command, together.environment(index), enter, _cores(index, count), index == 0))
        return _watch(workers)
    except KeyboardInterrupt:  # which they have had, too
        with contextlib.suppress(subprocess.TimeoutExpired):
            workers[0].process.wait(TOGETHER_SECONDS)
        raise
    finally:
        signal.signal(signal.SIGTERM, before)
        for worker in workers:
            with contextlib.suppress(ProcessLookupError):
                worker.process.kill()
            worker.process.wait()
            os.close(worker.pulse)


def train_in_processes(options: dict[str, Any], count: int, addresses: str | None, index: int | None) -> int | None:
    """Starts the processes of `effnet train`, or tells this process where it is one of those.

    Args:
        options: Of the command, by their names.
        count: How many processes to start.
        addresses: Those of a cluster, or None.
        index: Which of these this process has, or None.

    Returns:
        An exit code; None where this process is to train itself.

    Raises:
        CourseError: If both are asked for; also what `launch` raises.
        OSError: What `launch` raises, and how to go on.
        ValueError: If addresses and index do not fit together.
    """
    if PULSE in os.environ:  # started by `launch`
        return None
    cluster = find_cluster(addresses, index)
    if cluster and count > 1:
        raise CourseError(f"--processes starts all on this machine, a cluster is there already: {cluster.addresses}")
    if cluster and cluster.index is not None:
        os.environ.update(cluster.environment(cluster.index))
        return None
    if not cluster and count == 1:
        return None
    arguments = ["train", options["specification"]]
    for name, value in options.items():
        if name not in ("specification", "processes", "cluster", "index") and value is not None and value is not False:
            arguments += [f"--{name.replace('_', '-')}", *([] if value is True else [str(value)])]
    try:
        return launch(own_command(arguments), len(cluster.addresses) if cluster else count, cluster)
    except OSError as error:
        if error.errno is not None:  # of the system: none was lost
            raise
        raise type(error)(f"{error}; the same command with --resume goes on") from None


def _start(
    command: Sequence[str], environment: dict[str, str], enter: Callable[[], None], cores: list[int], is_first: bool
) -> Worker:
    def before() -> None:
        enter()
        if cores:
            os.sched_setaffinity(0, cores)
        if sys.platform == "linux":  # last, since another network takes it back
            ctypes.CDLL(None).prctl(WHEN_PARENT_DIES, signal.SIGKILL)

    pulse, given = os.pipe()
    words = None if is_first else tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
    told = {**os.environ, **environment, PULSE: str(given)}
    quiet = {} if is_first else {"stdout": subprocess.DEVNULL, "stderr": words, "stdin": subprocess.DEVNULL}
    try:
        process = subprocess.Popen(command, env=told, pass_fds=(given,), preexec_fn=before, **quiet)
    except subprocess.SubprocessError:
        os.close(pulse)
        raise CourseError(
            "This system does not let the processes have a network of their own, and TensorFlow's servers listen on "
            "all interfaces: if that is right here, effnet train takes their addresses, --cluster 127.0.0.1:"
            f"{FIRST_PORT},127.0.0.1:{FIRST_PORT + 1} and so on"
        ) from None
    finally:
        os.close(given)
    os.set_blocking(pulse, False)
    return Worker(process, is_first, pulse, words)


def _watch(workers: list[Worker]) -> int:
    latest = looked = now = time.monotonic()
    used = _core_seconds(workers)
    while running := [each for each in workers if each.process.poll() is None]:
        if any(worker.process.returncode for worker in workers):
            return _ended(workers)
        asleep, now = time.monotonic() - now > LOOK_SECONDS, time.monotonic()
        if asleep:  # all of them, by Ctrl-Z
            latest = now
        for number, worker in enumerate(workers):
            with contextlib.suppress(BlockingIOError):
                if beats := len(os.read(worker.pulse, 2**16)):
                    worker.beats, latest = worker.beats + beats, now
            worker.stopped_at = (worker.stopped_at or now) if worker in running and _is_stopped(worker) else None
            if worker.stopped_at and now - worker.stopped_at > STOPPED_SECONDS:
                raise _failure(number, workers, f"has been stopped for {STOPPED_SECONDS:.0f} seconds")
        if now - looked > LOOK_SECONDS:
            before, used = used, _core_seconds(workers)
            latest = now if used - before > BUSY * (now - looked) else latest
            looked = now
        if now - latest > HANGING_SECONDS:
            least = min(each.beats for each in running)
            slowest = " or ".join(str(workers.index(each)) for each in running if each.beats == least)
            raise _failure(slowest, workers, f"hangs, for {HANGING_SECONDS:.0f} seconds now")
        time.sleep(POLL_SECONDS)
    return _ended(workers) if any(worker.process.returncode for worker in workers) else 0


def _ended(workers: list[Worker]) -> int:
    """What follows from the end of one: what the first one says itself, or an error that names it."""
    codes = [worker.process.returncode or 0 for worker in workers]
    # One that was killed counts before those that end because they lost it.
    number = next(number for number, code in enumerate(codes) if code == (min(codes) or max(codes)))
    if (code := codes[number]) > 0:  # of its own; what is wrong with all of them, the first one says, too
        with contextlib.suppress(subprocess.TimeoutExpired):
            workers[0].process.wait(TOGETHER_SECONDS)
        if (own := workers[0].process.returncode) is not None and own > 0:
            return own
    how = f"was killed ({signal.Signals(-code).name})" if code < 0 else f"failed{workers[number].last_words()}"
    raise _failure(number, workers, how)


def _terminated(*_: Any) -> None:
    raise InterruptedError("ended by SIGTERM, and all processes with it")


def _failure(number: int | str, workers: list[Worker], how: str) -> OSError:
    return OSError(f"process {number} of 0 to {len(workers) - 1} {how}; the others were ended")


def _is_stopped(worker: Worker) -> bool:
    try:
        return psutil.Process(worker.process.pid).status() == psutil.STATUS_STOPPED
    except psutil.NoSuchProcess:
        return False


def _core_seconds(workers: list[Worker]) -> float:
    """The time that all have had on cores."""
    seconds = 0.0
    for worker in workers:
        with contextlib.suppress(psutil.Error):
            times = psutil.Process(worker.process.pid).cpu_times()
            seconds += times.user + times.system
    return seconds


def _cores(index: int, count: int) -> list[int]:
    """The cores of one of the processes, where there are enough for all."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    return cores[index::count] if len(cores) >= count else []


def _nowhere() -> None:
    """Stays in the network of the machine."""


def _new_network() -> None:
    """Moves this process into a network of its own, which has only a loopback interface; Linux."""
    libc, user, group = ctypes.CDLL(None, use_errno=True), os.getuid(), os.getgid()
    if libc.unshare(NEW_USER | NEW_NET):
        raise OSError(ctypes.get_errno(), "unshare")
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
    Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
    import fcntl  # not on Windows, where `unshare` has failed before

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, SET_FLAGS, struct.pack("16sh14x", b"lo", UP))


def _network_of(process: int) -> Callable[[], None]:
    """Gives a function that moves this process into the network of another one."""

    def enter() -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        for kind, name in ((NEW_USER, "user"), (NEW_NET, "net")):
            with open(f"/proc/{process}/ns/{name}", "rb") as namespace:
                if libc.setns(namespace.fileno(), kind):
                    raise OSError(ctypes.get_errno(), "setns")

    return enter


def own_command(arguments: Sequence[str]) -> list[str]:
    """Returns the command `effnet` with these arguments, to be started in a process of its own."""
    return [sys.executable, "-m", "effnet_helpers", *arguments]
