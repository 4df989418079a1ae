"""Runs one notebook top to bottom in a fresh kernel, and tells what came of it."""

from __future__ import annotations

import contextlib
import logging
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from effnet_helpers.machine import kernel_environment
from effnet_helpers.records import RECORD_MIME

import nbformat
import papermill
import psutil
from ipykernel.kernelspec import get_kernel_dict
from jupyter_client import AsyncKernelManager
from jupyter_client.kernelspec import KernelSpec
from papermill.exceptions import PapermillExecutionError

INTERRUPTED = "interrupted"
MAX_ERROR_LENGTH = 700
MEMORY_SAMPLE_SECONDS = 0.2

CellCallback = Callable[[int, int, str], None]


def execute(
    notebook: Path,
    output: Path,
    *,
    parameters: dict[str, Any],
    cwd: Path,
    log: Path,
    on_cell: CellCallback | None = None,
) -> Outcome:
    """Runs a notebook in a fresh kernel of this Python; whatever happens, `output` keeps what was reached.

    Nothing is printed here: what the kernel's process writes outside its cells, and what the libraries in between
    have to say, goes to `log`.

    Args:
        notebook: The notebook to run; it is not changed.
        output: Where the executed notebook is written, after each cell.
        parameters: Values that are set after the cell tagged `parameters`; may be empty.
        cwd: The folder the cells run in.
        log: The log file, appended to.
        on_cell: Called before each code cell with its number from 1, the number of code cells, and the nearest
            heading above it.

    Returns:
        What came of it. A cell that fails, a kernel that dies and Ctrl-C end the notebook, not this function.
    """
    cells = nbformat.read(notebook, as_version=4).cells
    total = sum(_is_code(cell) for cell in cells) + bool(parameters)
    position = _Position()

    def on_cell_start(cell: nbformat.NotebookNode, cell_index: int) -> None:
        position.enter(cell)
        if on_cell and _is_code(cell):
            on_cell(position.number, total, position.heading)

    started = time.perf_counter()
    error = None
    with log.open("a", encoding="utf-8") as stream, _logging_to(stream), _MemorySampler() as memory:
        try:
            papermill.execute_notebook(
                notebook,
                output,
                parameters=parameters,
                cwd=cwd,
                kernel_name="python3",
                kernel_manager_class=_kernel_manager_class(stream),
                progress_bar=False,
                record_timing=False,
                on_cell_start=on_cell_start,
            )
        except PapermillExecutionError as failure:
            error = _one_line(failure.ename, failure.evalue)
        except KeyboardInterrupt:
            error = INTERRUPTED
        except Exception as failure:  # a dead kernel, a full disk: the series goes on and the table tells
            error = _one_line(type(failure).__name__, f"{failure} (see {log.parent.name}/{log.name})")

    executed = nbformat.read(output, as_version=4).cells if output.exists() else []
    # Papermill marks cells as completed that never ran, behind sys.exit() for example; only the counts tell.
    if error is None and any(_is_code(cell) and cell.execution_count is None for cell in executed):
        error = "stopped here: the cells below did not run"
    return Outcome(
        notebook=notebook.stem,
        status="ok" if error is None else "failed",
        seconds=round(time.perf_counter() - started, 1),
        peak_memory_mb=round(memory.peak_mb, 1),
        records=_records(executed),
        error=error,
        cell=None if error is None else position.number,
        heading=None if error is None else position.heading,
    )


def _is_code(cell: nbformat.NotebookNode) -> bool:
    return cell.cell_type == "code" and bool(cell.source.strip())


def _one_line(name: str, text: str) -> str:
    # All of it, up to a limit: what to do about an error often stands in its last lines.
    return textwrap.shorten(f"{name}: {text}" if text.strip() else name, MAX_ERROR_LENGTH, placeholder=" …")


def _records(cells: list[nbformat.NotebookNode]) -> dict[str, Any]:
    """Gathers what `runtime.record` left; a name recorded twice keeps its last value."""
    outputs = [output for cell in cells if cell.cell_type == "code" for output in cell.outputs]
    found = [output.data[RECORD_MIME] for output in outputs if RECORD_MIME in output.get("data", {})]
    return {record["name"]: record["value"] for record in found}


def _kernel_manager_class(stream: IO[str]) -> type[AsyncKernelManager]:
    """Makes the class of kernels that run this Python, whatever `python3` means to the user's Jupyter."""

    class KernelManager(AsyncKernelManager):
        @property
        def kernel_spec(self) -> KernelSpec:
            return KernelSpec(**get_kernel_dict(), env=kernel_environment())

        async def start_kernel(self, **options: Any) -> None:
            await super().start_kernel(stdout=stream, stderr=stream, **options)

    return KernelManager


@contextlib.contextmanager
def _logging_to(stream: IO[str]) -> Iterator[None]:
    handler = logging.StreamHandler(stream)
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)


@dataclass(frozen=True)
class Outcome:
    """What came of one notebook.

    `peak_memory_mb` (2**20 bytes) is the largest sum, over this process's children, of resident memory as sampled
    every 0.2 seconds: a shorter peak can be missed, and pages that two processes share count twice. For a failed
    notebook `cell` is the number of the code cell it ended in, counted from 1, and `error` is one line.
    """

    notebook: str
    status: str
    seconds: float
    peak_memory_mb: float
    records: dict[str, Any] = field(default_factory=dict)
    error: str | None = None
    cell: int | None = None
    heading: str | None = None

    def metrics(self) -> dict[str, Any]:
        """Returns the notebook's entry of `metrics.json`."""
        run = {"status": self.status, "seconds": self.seconds, "peak_memory_mb": self.peak_memory_mb}
        failure = {"error": self.error, "cell": self.cell, "heading": self.heading} if self.error else {}
        return run | failure | {name: value for name, value in self.records.items() if name not in run | failure}


@dataclass
class _Position:
    """Where in a notebook the execution is."""

    number: int = 0
    heading: str = ""

    def enter(self, cell: nbformat.NotebookNode) -> None:
        if _is_code(cell):
            self.number += 1
        elif cell.cell_type == "markdown":
            headings = [line.lstrip("#").strip() for line in cell.source.splitlines() if line.startswith("#")]
            self.heading = headings[-1] if headings else self.heading


class _MemorySampler(threading.Thread):
    """Samples the resident memory of this process's children: the kernel and what it starts."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peak_mb = 0.0
        self._stop_sampling = threading.Event()

    def run(self) -> None:
        while not self._stop_sampling.wait(MEMORY_SAMPLE_SECONDS):
            total = 0
            for process in psutil.Process().children(recursive=True):
                with contextlib.suppress(psutil.Error):
                    total += process.memory_info().rss
            self.peak_mb = max(self.peak_mb, total / 2**20)

    def __enter__(self) -> _MemorySampler:
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop_sampling.set()
        self.join()
