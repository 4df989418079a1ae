"""Builds notebooks from their sources: percent scripts in, executed and cleaned notebooks out.

`notebooks/src/NN_slug.py`, or `A_slug.py` of an appendix, is edited by hand; `notebooks/NN_slug.ipynb` is made from it
and committed with its outputs.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from effnet_helpers.course.execute import CellCallback, Outcome, execute
from effnet_helpers.course.kernels import Kernels
from effnet_helpers.course.profiles import lessons_in, read_notebook, readable

import jupytext
import nbformat
from nbconvert.preprocessors import CoalesceStreamsPreprocessor
from nbformat import NotebookNode

# Nothing here depends on the machine or on the Python that builds, so that a rebuilt notebook differs in outputs only.
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def sources(root: Path) -> list[Path]:
    """Returns the percent scripts of a checkout in the order of the series."""
    return lessons_in(root / "notebooks" / "src", ".py")


def built_path(source: Path) -> Path:
    """Returns where the notebook of a source belongs."""
    return source.parent.parent / f"{source.stem}.ipynb"


def from_source(source: Path) -> NotebookNode:
    """Converts a percent script to a notebook without outputs, the same one every time."""
    with readable(source):
        notebook = jupytext.reads(source.read_text(encoding="utf-8"), fmt="py:percent")
    notebook.metadata = nbformat.from_dict(METADATA)
    notebook.nbformat, notebook.nbformat_minor = 4, 5  # the first format whose cells have ids
    taken: set[str] = set()
    for cell in notebook.cells:
        cell.metadata.pop("lines_to_next_cell", None)
        # Named by its content, so that an inserted cell does not rename those below it; longer if it is there twice.
        digest = hashlib.sha256(f"{cell.cell_type}\n{cell.source}".encode()).hexdigest()
        cell.id = next(digest[:length] for length in range(8, 65) if digest[:length] not in taken)
        taken.add(cell.id)
    return notebook


def out_of_step(source: Path) -> str | None:
    """Says in one sentence where a built notebook and its source differ first in cells, text or tags; else None."""
    path = built_path(source)
    if not path.exists():
        return f"{path.name} has not been built"
    expected, built = from_source(source).cells, read_notebook(path).cells
    for number, (ours, theirs) in enumerate(zip(expected, built, strict=False), start=1):
        if any(ours[key] != theirs.get(key) for key in ("id", "cell_type", "source", "metadata")):
            return f"{path.name} differs from its source in cell {number}: {ours.source.strip().splitlines()[:1]}"
    if len(expected) != len(built):
        return f"{path.name} has {len(built)} cells, its source {len(expected)}"
    return None


def without_source(root: Path) -> list[Path]:
    """Returns the built notebooks that no source explains."""
    known = {built_path(source) for source in sources(root)}
    return sorted(path for path in (root / "notebooks").glob("*.ipynb") if path not in known)


def build(source: Path, workdir: Path, on_cell: CellCallback | None = None, kernels: Kernels | None = None) -> Outcome:
    """Executes a source with its own default parameters and writes the cleaned notebook beside `src/`.

    The notebook there is replaced only if the new one ran through.

    Args:
        source: The percent script.
        workdir: A folder for the executed notebook and its log, which stay for a look at what went wrong.
        on_cell: See `execute`.
        kernels: See `execute`.

    Returns:
        What came of the execution.
    """
    workdir.mkdir(parents=True, exist_ok=True)
    executed, log = workdir / f"{source.stem}.ipynb", workdir / f"{source.stem}.log"
    notebook = from_source(source)
    nbformat.write(notebook, executed)
    outcome = execute(executed, executed, {}, cwd=built_path(source).parent, log=log, on_cell=on_cell, kernels=kernels)
    if outcome.status == "ok":
        nbformat.write(with_outputs(notebook, outcome.executed), built_path(source))
    return outcome


def with_outputs(notebook: NotebookNode, executed: NotebookNode) -> NotebookNode:
    """Puts the outputs of an executed notebook into one fresh from its source, which has no run's metadata.

    Neighbouring pieces of one stream, which the kernel cuts at random moments, are joined.
    """
    joined, _ = CoalesceStreamsPreprocessor().preprocess(executed, {})
    for cell, run in zip(notebook.cells, joined.cells, strict=True):
        if cell.cell_type == "code":
            cell.execution_count, cell.outputs = run.execution_count, run.outputs
    return notebook
