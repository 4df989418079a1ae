"""Runs of notebooks on workers of Dask: processes of this machine, or those of a scheduler that the user names.

A run is carried out on the worker and comes back as its files, which this process writes: so the workers need no folder
in common for them, and a run whose worker was lost and that is repeated is there once.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import logging
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

from effnet_helpers.course import CourseError
from effnet_helpers.course.execute import CellCallback, Outcome
from effnet_helpers.course.kernels import Kernels
from effnet_helpers.course.places import Hide
from effnet_helpers.course.run import run_one, write_whole
from effnet_helpers.machine import usable_cores

import dask
from distributed import Client, KilledWorker, LocalCluster, Security, get_worker

TRIES = 3  # of a run whose worker or kernel dies
CONNECT_SECONDS, POLL_SECONDS = 10, 0.2
MOST_AT_ONCE = 500  # runs handed over at a time; each has a thread that waits for it
THREADS = ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")
# What Dask sets for workers that compute with arrays. Notebooks run as they do without it: with all threads of their
# share of the cores, with memory that stays with them once it is freed, with hashes of texts that nobody chose.
OF_DASK = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
OF_DASK |= {"MALLOC_TRIM_THRESHOLD_": "65536", "PYTHONHASHSEED": "6640"}
SETTINGS = {
    "distributed.nanny.pre-spawn-environ": {},
    "distributed.scheduler.allowed-failures": TRIES - 1,
    "distributed.scheduler.http.routes": [],  # ports that Dask opens in any case serve nothing
    "distributed.worker.http.routes": [],
}
IGNORE_CTRL_C = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)"  # who started them ends them

_running: list[tuple[str, Kernels]] = []  # in a worker: the kernels of the runs that it carries out


@dataclass(frozen=True)
class Workers:
    """Where runs are carried out.

    Attributes:
        client: Of the scheduler.
        at_once: How many runs are handed over at a time.
        cores: How many cores the workers have in all.
        say: Is told what happens to a worker.
        environment: What is set in each worker, or removed if None; by default what its machine suggests.
        turns: A folder by which kernels of one machine take turns; one in each machine's temporary folder by default.
    """

    client: Client
    at_once: int
    cores: int
    say: Callable[[str], None]
    environment: dict[str, str | None] | None = None
    turns: Path | None = None
    _topic: str = field(default_factory=lambda: f"effnet-{uuid4().hex}")
    _listeners: dict[str, Callable[..., None]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        def heard(event: tuple[float, tuple]) -> None:
            label, *news = event[1]
            self._listeners[label](*news)

        self.client.subscribe_topic(self._topic, heard)

    def run_one(
        self, path: Path, folder: Path, given: dict[str, Any], hide: Hide, on_cell: CellCallback, kernels: Kernels
    ) -> Outcome:
        """Runs one notebook on a worker and leaves it in a folder, as `run.run_one` does; waits for it."""
        label, begun, started = uuid4().hex, [], time.perf_counter()

        def listen(*cell: Any) -> None:
            if cell:
                on_cell(*cell)
            elif begun:
                self.say(f"{folder.name} {path.stem} begins again: its worker or its kernel died.")
            else:
                begun.append(True)

        def failed(error: str) -> Outcome:
            return Outcome(path.stem, "failed", round(time.perf_counter() - started, 1), error=error)

        self._listeners[label] = listen
        there = self.environment, self.turns, self._topic, label
        future = self.client.submit(_on_worker, path, folder, given, hide, *there, key=f"{path.stem}-{label}")
        try:
            while not future.done():
                if kernels.stopped:
                    return failed("interrupted")
                time.sleep(POLL_SECONDS)
            outcome, files = future.result()
        except KilledWorker:
            return failed(f"{TRIES} workers died while they ran it")
        except CancelledError:
            return failed("the scheduler is gone")
        except Exception as error:  # such as a notebook that is not there on the worker's machine
            return failed(hide(f"{type(error).__name__}: {error}"))
        for name, content in files.items():
            write_whole(folder / name, content)
        return outcome

    def stop(self) -> None:
        """Ends the kernels of all runs, on whatever worker."""
        with contextlib.suppress(Exception):  # there may be no worker left to tell
            self.client.run(_stop, self._topic, on_error="ignore")


@contextlib.contextmanager
def local_workers(at_once: int, say: Callable[[str], None]) -> Iterator[Workers]:
    """Starts workers that only this process can reach, each with its share of the cores, and in the end ends them."""
    cores = usable_cores()
    environment = {"PYTHONHASHSEED": None} | dict.fromkeys(THREADS, str(max(1, cores // at_once)))
    environment = {name: value for name, value in environment.items() if name not in os.environ}  # the user's own stay
    with contextlib.ExitStack() as until_the_end:
        enter = until_the_end.enter_context
        scratch = enter(tempfile.TemporaryDirectory(prefix="effnet-", ignore_cleanup_errors=True))
        enter(dask.config.set(SETTINGS))
        cluster = enter(
            LocalCluster(
                n_workers=at_once,
                threads_per_worker=1,
                host="127.0.0.1",
                dashboard_address="127.0.0.1:0",
                scheduler_kwargs={"dashboard": False},
                memory_limit=None,  # Dask would watch the worker; the memory is its kernel's
                local_directory=scratch,
                security=Security.temporary(),  # certificates that other accounts of this machine do not have
                preload=IGNORE_CTRL_C,
                silence_logs=logging.CRITICAL,
            )
        )
        workers = Workers(enter(Client(cluster)), at_once, cores, say, environment, Path(scratch))
        try:
            yield workers
        except BaseException:
            workers.stop()
            raise


@contextlib.contextmanager
def workers_of(address: str, runs: int, say: Callable[[str], None]) -> Iterator[Workers]:
    """Connects to a scheduler that runs already, and hands it all runs; its workers may come and go.

    Raises:
        CourseError: If none answers there, or a worker has not this version of the package.
    """
    try:
        client = Client(address, timeout=CONNECT_SECONDS)
    except (OSError, ValueError) as error:
        said = f"such as tcp://host:8786. {' '.join(str(error).split())}"
        raise CourseError(f"--scheduler expects the address of a Dask scheduler, {said}") from None
    here = _version()
    needed = f"The workers of {address} need effnet-helpers {here}, as here"
    with client:
        try:
            found = client.run(_cores_and_version)
        except OSError:  # the connection is lost
            raise
        except Exception as error:  # whatever a worker without the package makes of the question
            raise CourseError(f"{needed}: {error}") from None
        if others := sorted({version for _, version in found.values()} - {here}):
            raise CourseError(f"{needed}. Received: {', '.join(others)}")
        if not found:
            say("It has no worker yet: the runs begin when one comes, whatever the table says.")
        cores = sum(cores for cores, _ in found.values())
        workers = Workers(client, min(runs, MOST_AT_ONCE), cores or 1, say)
        try:
            yield workers
        except BaseException:
            workers.stop()
            raise


def _cores_and_version() -> tuple[int, str]:
    return usable_cores(), _version()


def _version() -> str:
    return importlib.metadata.version("effnet-helpers")


def _on_worker(
    path: Path,
    folder: Path,
    given: dict[str, Any],
    hide: Hide,
    environment: dict[str, str | None] | None,
    turns: Path | None,
    topic: str,
    label: str,
) -> tuple[Outcome, dict[str, bytes]]:
    """Runs a notebook here, again if its kernel dies; returns what came of it, and its files by their names."""
    worker = get_worker()
    if environment is None:
        set_by_dask = {name: None for name, value in OF_DASK.items() if os.environ.get(name) == value}
        share = max(1, usable_cores() // worker.state.nthreads)
        environment = set_by_dask | dict.fromkeys(THREADS, str(share))
    for name, value in environment.items():
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value
    for _ in range(TRIES):
        worker.log_event(topic, (label,))
        kernels = Kernels(turns or Path(tempfile.gettempdir(), topic))
        _running.append((topic, kernels))
        with tempfile.TemporaryDirectory(dir=worker.local_directory, ignore_cleanup_errors=True) as temporary:
            Path(temporary, "logs").mkdir()
            outcome = run_one(
                path,
                Path(temporary),
                given,
                hide,
                lambda *cell: worker.log_event(topic, (label, *cell)),
                kernels,
                kept_in=folder,
            )
            written = [each for each in Path(temporary).rglob("*") if each.is_file()]
            files = {each.relative_to(temporary).as_posix(): each.read_bytes() for each in written}
        _running.remove((topic, kernels))
        if not outcome.kernel_died:
            break
    return outcome, files


def _stop(topic: str) -> None:
    for of, kernels in list(_running):
        if of == topic:
            kernels.stop()
