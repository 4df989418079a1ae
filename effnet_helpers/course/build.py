"""Builds notebooks from their sources: percent scripts in, executed and cleaned notebooks out.

`notebooks/src/NN_slug.py`, or `A_slug.py` of an appendix, is edited by hand; `notebooks/NN_slug.ipynb` is made from it
and committed with its outputs. Of `notebooks/src/exercises/NN_slug.py` two are made, both in a folder of `notebooks/`:
`exercises/NN_slug.ipynb`, which a learner starts from, and `solutions/NN_slug.ipynb`, executed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from effnet_helpers.course import CourseError, exercises
from effnet_helpers.course.execute import CellCallback, Outcome, execute
from effnet_helpers.course.kernels import Kernels
from effnet_helpers.course.opening import is_opening, with_opening
from effnet_helpers.course.profiles import lessons_in, read_notebook, readable, select

import jupytext
import nbformat
from nbconvert.preprocessors import CoalesceStreamsPreprocessor
from nbformat import NotebookNode

# Nothing here depends on the machine or on the Python that builds, so that a rebuilt notebook differs in outputs only.
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
LESSON, STUB, SOLUTION = "", "exercises", "solutions"
"""The forms that a notebook may have, named by their folders in `notebooks/`."""
CHANGES = {LESSON: list, STUB: exercises.stub, SOLUTION: exercises.solution}


def sources(root: Path) -> list[Path]:
    """Returns the percent scripts of a checkout's lessons in the order of the series."""
    return lessons_in(root / "notebooks" / "src", ".py")


def exercise_sources(root: Path) -> list[Path]:
    """Returns the percent scripts of a checkout's exercises in the order of the series, written solved."""
    return lessons_in(root / "notebooks" / "src" / "exercises", ".py")


def course_of(source: Path) -> Path:
    """Returns the folder of the course that a source belongs to: the one `notebooks` is in."""
    return next(folder for folder in source.parents if folder.name == "notebooks").parent


def choose(root: Path, names: Iterable[str] = (), exercises_alone: bool = False) -> list[Path]:
    """Returns the percent scripts of the lessons named, or of all, and behind them those of their exercises.

    Args:
        root: The checkout.
        names: See `profiles.select`.
        exercises_alone: Leaves the lessons out.

    Raises:
        CourseError: If there are none.
    """
    if not sources(root):
        raise CourseError(f"No sources in {root / 'notebooks' / 'src'}. Pass --root, the folder of a checkout")
    lessons = select(sources(root), names)
    stems = [source.stem for source in lessons]
    practised = [source for source in exercise_sources(root) if source.stem in stems]
    if exercises_alone and not practised:
        raise CourseError(f"There are no exercises of {', '.join(stems)}")
    return practised if exercises_alone else [*lessons, *practised]


def forms(source: Path) -> tuple[str, ...]:
    """Returns which notebooks are made of a source; the last one is executed."""
    return (STUB, SOLUTION) if source.parent.name == "exercises" else (LESSON,)


def built_path(source: Path, form: str = LESSON) -> Path:
    """Returns where a notebook of a source belongs."""
    return source.parents[2 if form else 1] / form / f"{source.stem}.ipynb"


def from_source(source: Path, form: str = LESSON) -> NotebookNode:
    """Converts a percent script to a notebook without outputs, the same one every time, with what all begin with.

    Args:
        source: The percent script.
        form: Which of `forms`; `LESSON` leaves also exercises as they are written.
    """
    with readable(source):
        notebook = jupytext.reads(source.read_text(encoding="utf-8"), fmt="py:percent")
    try:
        notebook.cells = CHANGES[form](notebook.cells)
    except CourseError as error:
        raise CourseError(f"{source.name}: {error}") from None
    if form in forms(source):
        with_opening(notebook, built_path(source, form), course_of(source))
    notebook.metadata = nbformat.from_dict(METADATA)
    notebook.nbformat, notebook.nbformat_minor = 4, 5  # the first format whose cells have ids
    taken: set[str] = set()
    for cell in notebook.cells:
        cell.metadata.pop("lines_to_next_cell", None)
        # Named by its content, so that an inserted cell does not rename those below it; longer if it is there twice.
        digest = _digest(cell)
        cell.id = next(digest[:length] for length in range(8, 65) if digest[:length] not in taken)
        taken.add(cell.id)
    return notebook


def _digest(cell: NotebookNode) -> str:
    return hashlib.sha256(f"{cell.cell_type}\n{cell.source}".encode()).hexdigest()


def refuse_answers(chosen: Iterable[Path]) -> None:
    """Refuses to write exercises anew where somebody has worked in them.

    A cell is named by its content as built, and keeps that name while it is edited.

    Args:
        chosen: Sources; those of lessons are passed over.

    Raises:
        CourseError: If a cell of such a notebook is no longer what was built.
    """
    for source in chosen:
        path = built_path(source, STUB)
        if STUB not in forms(source) or not path.exists():
            continue
        for number, cell in enumerate(read_notebook(path).cells, start=1):
            if not _digest(cell).startswith(cell.get("id") or "none"):  # other editors may save cells without names
                raise CourseError(
                    f"{STUB}/{path.name} has work of yours in cell {number}, which building would replace. Copy the "
                    "notebook to another folder and restore it here, then build"
                )


def out_of_step(source: Path) -> str | None:
    """Says in one sentence where a notebook and its source differ first in cells, text or tags; None if in none."""
    return next(filter(None, (_out_of_step(source, form) for form in forms(source))), None)


def _out_of_step(source: Path, form: str) -> str | None:
    path = built_path(source, form)
    name = f"{form}/{path.name}" if form else path.name
    if not path.exists():
        return f"{name} has not been built"
    expected, built = from_source(source, form).cells, read_notebook(path).cells
    for number, (ours, theirs) in enumerate(zip(expected, built, strict=False), start=1):
        if any(ours[key] != theirs.get(key) for key in ("id", "cell_type", "source", "metadata")):
            return f"{name} differs from its source in cell {number}: {ours.source.strip().splitlines()[:1]}"
        if form == STUB and (theirs.get("outputs") or theirs.get("execution_count")):
            return f"{name} has outputs in cell {number}"
    if len(expected) != len(built):
        return f"{name} has {len(built)} cells, its source {len(expected)}"
    return None


def without_source(root: Path) -> list[Path]:
    """Returns the built notebooks that no source explains."""
    every = [*sources(root), *exercise_sources(root)]
    known = {built_path(source, form) for source in every for form in forms(source)}
    built = (path for form in CHANGES for path in (root / "notebooks" / form).glob("*.ipynb"))
    return sorted(path for path in built if path not in known)


def build(source: Path, workdir: Path, on_cell: CellCallback | None = None, kernels: Kernels | None = None) -> Outcome:
    """Executes a source with its own default parameters and writes the cleaned notebook beside `src/`.

    The notebook there is replaced only if the new one ran through. Of exercises the solution is executed, and what a
    learner starts from is written with it.

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
    *not_executed, form = forms(source)
    notebook, path = from_source(source, form), built_path(source, form)
    path.parent.mkdir(exist_ok=True)
    nbformat.write(notebook, executed)
    outcome = execute(executed, executed, {}, cwd=path.parent, log=log, on_cell=on_cell, kernels=kernels)
    if outcome.status == "ok":
        nbformat.write(with_outputs(notebook, outcome.executed), path)
        for each in not_executed:
            built_path(source, each).parent.mkdir(exist_ok=True)
            nbformat.write(from_source(source, each), built_path(source, each))
    return outcome


def can_keep_outputs(source: Path) -> bool:
    """Says whether a notebook was executed with the code of its source: all of it in this order, the set-up aside."""
    form = forms(source)[-1]
    if not built_path(source, form).exists():
        return False
    before = _run(read_notebook(built_path(source, form)))
    same = [cell.source for cell in before] == [cell.source for cell in _run(from_source(source, form))]
    return same and all(cell.execution_count is not None for cell in before)


def keep_outputs(source: Path) -> bool:
    """Writes a built notebook anew from its source without executing it: its outputs stay, its prose is the source's.

    Returns:
        Whether that could be done, see `can_keep_outputs`; if not, nothing is written, and it has to be built.
    """
    if not can_keep_outputs(source):
        return False
    *not_executed, form = forms(source)
    notebook, path = from_source(source, form), built_path(source, form)
    outputs = iter([cell.outputs for cell in _run(read_notebook(path))])
    for count, cell in enumerate((cell for cell in notebook.cells if cell.cell_type == "code"), start=1):
        cell.execution_count = count
        cell.outputs = [] if is_opening(cell) else [_counted(output, count) for output in next(outputs)]
    nbformat.write(notebook, path)
    for each in not_executed:
        nbformat.write(from_source(source, each), built_path(source, each))
    return True


def _run(notebook: NotebookNode) -> list[NotebookNode]:
    """Returns the code cells of a notebook that stand in its source."""
    return [cell for cell in notebook.cells if cell.cell_type == "code" and not is_opening(cell)]


def _counted(output: NotebookNode, count: int) -> NotebookNode:
    return nbformat.from_dict(output | {"execution_count": count}) if "execution_count" in output else output


def with_outputs(notebook: NotebookNode, executed: NotebookNode) -> NotebookNode:
    """Puts the outputs of an executed notebook into one fresh from its source, which has no run's metadata.

    Neighbouring pieces of one stream, which the kernel cuts at random moments, are joined.
    """
    joined, _ = CoalesceStreamsPreprocessor().preprocess(executed, {})
    for cell, run in zip(notebook.cells, joined.cells, strict=True):
        if cell.cell_type == "code":
            cell.execution_count, cell.outputs = run.execution_count, run.outputs
    return notebook
