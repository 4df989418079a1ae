"""The kernels of a run: who may use the computer when, what each of them takes, and an end to all of them."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from effnet_helpers.machine import kernel_environment

import psutil
from ipykernel.kernelspec import get_kernel_dict
from jupyter_client import AsyncKernelManager
from jupyter_client.kernelspec import KernelSpec

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

SAMPLE_SECONDS = 0.2
CAN_SHARE_TURNS = fcntl is not None


@dataclass
class Usage:
    """What a kernel and the processes it started took, as sampled every 0.2 seconds: a shorter peak can be missed.

    Attributes:
        peak_memory_mb: The largest sum of their resident memory, in MB (2**20 bytes); what they share counts twice.
        cpu_seconds: Their processor time, of all cores together.
    """

    peak_memory_mb: float = 0.0
    cpu_seconds: float = 0.0


class Kernels:
    """The kernels of one run, each in a thread of its own.

    They work side by side, except while one of them measures time: its turn begins when all others have ended theirs,
    and none of them begins another until it is over.

    Args:
        shared: A folder of this machine by which the kernels of several processes take turns, too; not on Windows.
    """

    def __init__(self, shared: Path | None = None) -> None:
        self.stopped = False
        self._shared = shared
        self._processes: list[psutil.Process] = []
        self._changed = threading.Condition()
        self._turns = 0  # begun and not ended
        self._alone = 0  # those of them that are alone, and those that wait to be

    @contextlib.contextmanager
    def taking_turns(self) -> Iterator[Callable[[bool], None]]:
        """Holds a turn; the function that this gives ends it and begins the next one, alone or not."""
        with contextlib.ExitStack() as turn:

            def next_turn(alone: bool) -> None:
                turn.close()
                turn.enter_context(self._turn(alone))

            next_turn(False)
            yield next_turn

    def manager_class(self, log: IO[str], usage: Usage) -> type[AsyncKernelManager]:
        """Makes the class of kernels that run this Python, whatever `python3` means to the user's Jupyter."""

        class KernelManager(AsyncKernelManager):
            @property
            def kernel_spec(self) -> KernelSpec:
                return KernelSpec(**get_kernel_dict(), env=kernel_environment())

            async def start_kernel(manager, **options: Any) -> None:  # noqa: N805
                await super().start_kernel(stdout=log, stderr=log, **options)
                process = psutil.Process(manager.provisioner.pid)
                self._processes.append(process)
                if self.stopped:
                    _kill(process)
                threading.Thread(target=_sample, args=(process, usage), daemon=True).start()

        return KernelManager

    def stop(self) -> None:
        """Kills all kernels, also those that are about to start; their threads find them dead."""
        self.stopped = True
        for process in list(self._processes):
            _kill(process)

    @contextlib.contextmanager
    def _turn(self, alone: bool) -> Iterator[None]:
        with self._changed:
            self._alone += alone
            self._changed.wait_for(lambda: not (self._turns if alone else self._alone))
            self._turns += 1
        try:
            with _turn_of_machine(self._shared, alone):
                yield
        finally:
            with self._changed:
                self._turns -= 1
                self._alone -= alone
                self._changed.notify_all()


@contextlib.contextmanager
def _turn_of_machine(folder: Path | None, alone: bool) -> Iterator[None]:
    """Holds a turn among the processes that share a folder; one that is killed gives its turn back."""
    if folder is None or fcntl is None:
        yield
        return
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "turns").open("a") as turns:
        with (folder / "gate").open("a") as gate:  # who waits to be alone holds it, so that nobody begins meanwhile
            fcntl.flock(gate, fcntl.LOCK_EX)
            fcntl.flock(turns, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        yield


def _kill(process: psutil.Process) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        for each in [*process.children(recursive=True), process]:
            with contextlib.suppress(psutil.NoSuchProcess):
                each.kill()


def _sample(process: psutil.Process, usage: Usage) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):  # the kernel has ended
        while True:
            memory, cpu_seconds = 0, 0.0
            for each in [*process.children(recursive=True), process]:
                with contextlib.suppress(psutil.Error):
                    memory += each.memory_info().rss
                    cpu_seconds += sum(each.cpu_times()[:4])  # user and system; the same of children that have ended
            usage.peak_memory_mb = max(usage.peak_memory_mb, memory / 2**20)
            usage.cpu_seconds = max(usage.cpu_seconds, cpu_seconds)
            time.sleep(SAMPLE_SECONDS)
