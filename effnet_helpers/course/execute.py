"""Runs one notebook top to bottom in a fresh kernel, and tells what came of it."""

from __future__ import annotations

import contextlib
import datetime
import logging
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from effnet_helpers.course.kernels import Kernels, Usage
from effnet_helpers.course.places import Hide
from effnet_helpers.records import RECORD_MIME

import nbformat
import papermill
from nbformat import NotebookNode
from papermill.exceptions import PapermillExecutionError

ALONE = "alone"  # the tag of cells that measure time: no other kernel runs a cell meanwhile
MAX_ERROR_LENGTH = 700
KERNEL_DIED = "DeadKernelError"  # of nbclient

CellCallback = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Outcome:
    """What came of one notebook.

    Attributes:
        status: "ok" or "failed".
        seconds: From its start to its end, waiting for others included.
        executed: The notebook with its outputs, as far as it came; None if its kernel did not start.
        error: For a failed notebook one line; `cell` is the number of the code cell it ended in, counted from 1, and
            `heading` the nearest one above that cell.
    """

    notebook: str
    status: str
    seconds: float
    usage: Usage = field(default_factory=Usage)
    executed: NotebookNode | None = field(default=None, repr=False)
    error: str | None = None
    cell: int | None = None
    heading: str | None = None

    @property
    def kernel_died(self) -> bool:
        """Whether its kernel was killed or crashed, for which the notebook may be no reason: a lack of memory, say."""
        return (self.error or "").startswith(KERNEL_DIED)

    @property
    def records(self) -> dict[str, Any]:
        """What `records.record` left in the notebook; a name recorded twice keeps its last value."""
        cells = self.executed.cells if self.executed else []
        found = [output.get("data", {}).get(RECORD_MIME) for cell in cells for output in cell.get("outputs", [])]
        return {record["name"]: record["value"] for record in found if record}

    def metrics(self) -> dict[str, Any]:
        """Returns the notebook's entry of `metrics.json`."""
        memory, cpu_seconds = round(self.usage.peak_memory_mb, 1), round(self.usage.cpu_seconds, 1)
        own = {"status": self.status, "seconds": self.seconds, "cpu_seconds": cpu_seconds, "peak_memory_mb": memory}
        if self.error:
            own |= {"error": self.error, "cell": self.cell, "heading": self.heading}
        return own | self.records | own  # a record never hides what is the run's own


def execute(
    notebook: Path,
    output: Path,
    parameters: dict[str, Any],
    *,
    cwd: Path,
    log: Path,
    on_cell: CellCallback | None = None,
    kernels: Kernels | None = None,
    hide: Hide = lambda shown: shown,
) -> Outcome:
    """Runs a notebook in a fresh kernel of this Python; whatever happens, `output` keeps what was reached.

    Args:
        notebook: The notebook to run; it is not changed.
        output: Where the executed notebook is written, before each cell and at the end.
        parameters: Values that are set after the cell tagged `parameters`; may be empty.
        cwd: The folder the cells run in.
        log: The file to append to what the kernel's process writes outside its cells, and what the libraries in
            between have to say. Nothing is printed.
        on_cell: Called before each code cell with its number from 1, the number of code cells, and the nearest
            heading above it.
        kernels: Those that run side by side with this one; alone if None.
        hide: Rewrites what is kept, such as paths in it; see `places.hiding`.

    Returns:
        What came of it. A cell that fails and a kernel that dies or is stopped end the notebook, not this function.
    """
    kernels = kernels or Kernels()
    usage, started = Usage(), time.perf_counter()
    executed, reached, error = None, [], None  # the notebook and its cells up to the one that runs

    def on_notebook_start(notebook: NotebookNode) -> None:
        nonlocal executed
        executed = notebook

    def keep() -> None:
        if executed:
            nbformat.write(hide(executed), output)

    def on_cell_start(cell: NotebookNode, cell_index: int) -> None:
        reached.append(cell)
        if on_cell and _is_code(cell):
            on_cell(_count_code(reached), _count_code(executed.cells), _last_heading(reached))
        keep()
        next_turn(ALONE in cell.metadata.get("tags", []))
        cell.metadata.papermill.start_time = datetime.datetime.now(datetime.UTC).isoformat()  # after waiting

    with log.open("a", encoding="utf-8") as stream, _logging_to(stream), kernels.taking_turns() as next_turn:
        try:
            try:
                papermill.execute_notebook(
                    str(notebook).replace("{", "{{").replace("}", "}}"),  # papermill formats it
                    None,  # it would write every path
                    parameters=parameters,
                    kernel_name="python3",
                    kernel_manager_class=kernels.manager_class(stream, usage),
                    resources={"metadata": {"path": str(cwd)}},  # papermill's own `cwd` would move all threads
                    progress_bar=False,
                    record_timing=False,
                    on_notebook_start=on_notebook_start,
                    on_cell_start=on_cell_start,
                )
            finally:
                keep()
        except PapermillExecutionError as failure:
            error = _one_line(failure.ename, hide(failure.evalue))
        except Exception as failure:  # a dead kernel, a full disk: the series goes on and the table tells
            error = _one_line(type(failure).__name__, f"{hide(str(failure))} (see {log.parent.name}/{log.name})")
    said = log.read_text(encoding="utf-8", errors="replace")
    if hide(said) != said:
        log.write_text(hide(said), encoding="utf-8")

    if error and kernels.stopped:
        error = "interrupted"
    # Papermill marks cells as completed that never ran, behind sys.exit() for example; only the counts tell.
    if error is None and any(_is_code(cell) and cell.execution_count is None for cell in executed.cells):
        error = "stopped here: the cells below did not run"
    seconds = round(time.perf_counter() - started, 1)
    failure = (error, _count_code(reached), _last_heading(reached)) if error else ()
    return Outcome(notebook.stem, "failed" if error else "ok", seconds, usage, hide(executed), *failure)


def _is_code(cell: NotebookNode) -> bool:
    return cell.cell_type == "code" and bool(cell.source.strip())


def _count_code(cells: list[NotebookNode]) -> int:
    return sum(map(_is_code, cells))


def _last_heading(cells: list[NotebookNode]) -> str:
    lines = [line for cell in cells if cell.cell_type == "markdown" for line in cell.source.splitlines()]
    return next((line.lstrip("#").strip() for line in reversed(lines) if line.startswith("#")), "")


def _one_line(name: str, text: str) -> str:
    # All of it, up to a limit: what to do about an error often stands in its last lines.
    return textwrap.shorten(f"{name}: {text}" if text.strip() else name, MAX_ERROR_LENGTH, placeholder=" …")


@contextlib.contextmanager
def _logging_to(stream: IO[str]) -> Iterator[None]:
    """Sends what libraries log in this thread to a stream; other threads run other notebooks."""
    handler, thread = logging.StreamHandler(stream), threading.get_ident()
    handler.addFilter(lambda record: record.thread == thread)
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)
