"""What a lesson's one call of `records.check` says about its parameters, read without running it."""

from __future__ import annotations

import ast
import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from effnet_helpers import records
from effnet_helpers.course import CourseError

from nbformat import NotebookNode


def check_declared(notebook: NotebookNode, path: Path, values: dict[str, Any]) -> None:
    """Refuses values out of the range that a lesson declares; ranges that it computes are left to the lesson.

    Args:
        notebook: As built.
        path: Where it lies, to name it.
        values: Of some of its parameters.

    Raises:
        CourseError: Names the first parameter that does not fit, what was received and what would work.
    """
    for name, ends in _ranges(notebook):
        if name in values:
            try:
                records.check(**{name: (values[name], *ends)})
            except ValueError as error:
                raise CourseError(f"{path.stem}: {error}") from None


def _ranges(notebook: NotebookNode) -> Iterator[tuple[str, list]]:
    """Finds `check(steps=(steps, 1, None))` and gives `"steps", [1, None]`, for what is written as such literals."""
    for cell in notebook.cells:
        if cell.cell_type != "code" or "check(" not in cell.source:
            continue
        with contextlib.suppress(SyntaxError):  # a cell with a magic command
            for call in ast.walk(ast.parse(cell.source)):
                if not (isinstance(call, ast.Call) and ast.unparse(call.func) in ("records.check", "check")):
                    continue
                for keyword in call.keywords:
                    if isinstance(keyword.value, ast.Tuple) and isinstance(keyword.value.elts[0], ast.Name):
                        with contextlib.suppress(ValueError):  # an end that is computed
                            if keyword.arg == keyword.value.elts[0].id:
                                yield keyword.arg, [ast.literal_eval(end) for end in keyword.value.elts[1:]]
