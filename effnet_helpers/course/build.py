"""Builds notebooks from their sources: percent scripts in, executed and cleaned notebooks out.

`notebooks/src/NN_slug.py` is edited by hand; `notebooks/NN_slug.ipynb` is made from it and committed with its outputs.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from effnet_helpers.course import CourseError, rules
from effnet_helpers.course.execute import CellCallback, Outcome, execute

import jupytext
import nbformat
from nbformat import NotebookNode

# Nothing here depends on the machine or on the Python that builds, so that a rebuilt notebook differs in outputs only.
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def sources(root: Path) -> list[Path]:
    """Returns the percent scripts of a checkout in the order of the series."""
    return sorted((root / "notebooks" / "src").glob("[0-9][0-9]_*.py"))


def built_path(source: Path) -> Path:
    """Returns where the notebook of a source belongs."""
    return source.parent.parent / f"{source.stem}.ipynb"


def from_source(source: Path) -> NotebookNode:
    """Converts a percent script to a notebook without outputs, the same one every time."""
    notebook = jupytext.reads(source.read_text(encoding="utf-8"), fmt="py:percent")
    notebook.metadata = nbformat.from_dict(METADATA)
    notebook.nbformat, notebook.nbformat_minor = 4, 5  # the first format whose cells have ids
    taken: set[str] = set()
    for cell in notebook.cells:
        cell.metadata.pop("lines_to_next_cell", None)
        cell.id = _cell_id(cell, taken)
    return notebook


def out_of_step(source: Path) -> str | None:
    """Compares a built notebook with its source: cells, order, text and tags.

    Returns:
        None if they agree, else one sentence that says where they differ first.
    """
    path = built_path(source)
    if not path.exists():
        return f"{path.name} has not been built"
    expected, built = from_source(source).cells, nbformat.read(path, as_version=4).cells
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


def problems(source: Path) -> list[str]:
    """Lists everything that is wrong with a built notebook, without running it; each entry starts with its name."""
    path = built_path(source)
    difference = out_of_step(source)
    found = [difference] if difference else []
    if path.exists():
        notebook = nbformat.read(path, as_version=4)
        complaints = rules.lesson_problems(notebook) + rules.output_problems(notebook)
        found += [f"{path.name}: {complaint}" for complaint in complaints]
    return found


def build(source: Path, workdir: Path, on_cell: CellCallback | None = None) -> Outcome:
    """Executes a source with its own default parameters and writes the cleaned notebook beside `src/`.

    The notebook there is replaced only if the new one ran through and has clean outputs. What was executed stays in
    `workdir`, with a log, for a look at what went wrong.

    Args:
        source: The percent script.
        workdir: A folder for the executed notebook and its log.
        on_cell: As in `execute`.

    Returns:
        What came of the execution.

    Raises:
        CourseError: If the notebook ran but its outputs cannot be published: text on stderr, a path of this machine,
            an image without alternative text, 1 MB or more.
    """
    workdir.mkdir(parents=True, exist_ok=True)
    executed = workdir / f"{source.stem}.ipynb"
    nbformat.write(from_source(source), executed)
    log = workdir / f"{source.stem}.log"
    outcome = execute(executed, executed, parameters={}, cwd=built_path(source).parent, log=log, on_cell=on_cell)
    if outcome.status != "ok":
        return outcome
    notebook = cleaned(from_source(source), nbformat.read(executed, as_version=4))
    problems = rules.output_problems(notebook)
    if problems:
        raise CourseError(f"{source.stem} ran, but cannot be published:\n  " + "\n  ".join(problems))
    nbformat.write(notebook, built_path(source))
    return outcome


def cleaned(notebook: NotebookNode, executed: NotebookNode) -> NotebookNode:
    """Puts the outputs of an executed notebook into one fresh from its source, which has no run's metadata."""
    for cell, run in zip(notebook.cells, executed.cells, strict=True):
        if cell.cell_type == "code":
            cell.execution_count = run.execution_count
            cell.outputs = _merged_streams(run.outputs)
    return notebook


def _cell_id(cell: NotebookNode, taken: set[str]) -> str:
    """Names a cell by its content, so that an inserted cell does not rename those below it."""
    digest = hashlib.sha256(f"{cell.cell_type}\n{cell.source}".encode()).hexdigest()
    length = 8
    while digest[:length] in taken:  # the same cell twice
        length += 1
    taken.add(digest[:length])
    return digest[:length]


def _merged_streams(outputs: list[NotebookNode]) -> list[NotebookNode]:
    """Joins neighbouring pieces of one stream, which the kernel cuts at random moments."""
    merged: list[NotebookNode] = []
    for output in outputs:
        last = merged[-1] if merged else None
        if last and output.output_type == "stream" and last.get("name") == output.name:
            last.text += output.text
        else:
            merged.append(output)
    return merged
