"""Makes of the solved source of exercises what a learner starts from, and the solution to compare with.

In a source, an answer stands between the marks of nbgrader, behind what the learner starts from. Cells tagged `wrong`
hold known wrong answers, for tests only; cells tagged `quiz` a question and its options.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from effnet_helpers.course import CourseError

from nbformat import NotebookNode

WRONG, QUIZ = "wrong", "quiz"  # tags
BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"
HERE = "# your code here"
BLOCK = re.compile(rf"^([ \t]*){BEGIN}[ \t]*\n(.*?)^[ \t]*{END}[ \t]*(?:\n|\Z)", re.MULTILINE | re.DOTALL)
DOTS = re.compile(r"^[ \t]*\w+(?:, \w+)* = \.\.\.(?:, \.\.\.)*[ \t]*(?:#.*)?\n", re.MULTILINE)
OPTION = re.compile(r"^- \[([ x])\] ", re.MULTILINE)


class Option(NamedTuple):
    """An answer to choose in a quiz: whether it is right, the answer, and why it is so."""

    right: bool
    text: str
    why: str


def stub(cells: list[NotebookNode]) -> list[NotebookNode]:
    """Changes cells of a source to what a learner starts from, and returns those that stay."""
    return _changed(
        cells, lambda source: BLOCK.sub(lambda block: f"{block[1]}{'...  ' * bool(block[1])}{HERE}\n", source)
    )


def solution(cells: list[NotebookNode]) -> list[NotebookNode]:
    """Changes cells of a source to the solution, and returns those that stay."""
    return _changed(cells, lambda source: BLOCK.sub(lambda block: block[2], DOTS.sub("", source)))


def quiz(text: str) -> tuple[str, list[Option]]:
    """Reads the question and the options of a cell tagged `quiz`, written `- [ ] answer — why`, the right one `[x]`.

    Raises:
        CourseError: If not exactly one of at least three options is right, or one says not why.
    """
    question, *parts = OPTION.split(text)
    options = []
    for mark, part in zip(parts[::2], parts[1::2], strict=True):
        answer, _, why = " ".join(part.split()).partition(" — ")
        options.append(Option(mark == "x", answer, why[:1].upper() + why[1:]))
    if len(options) < 3 or sum(option.right for option in options) != 1 or not all(option.why for option in options):
        wanted = "three options or more, `- [ ] answer — why`, one of them [x]"
        raise CourseError(f"Expected {wanted}. Received: {' '.join(text.split())[:80]!r}")
    return question.strip(), options


def _changed(cells: list[NotebookNode], change: Callable[[str], str]) -> list[NotebookNode]:
    kept = [cell for cell in cells if WRONG not in cell.metadata.get("tags", [])]
    for cell in kept:
        if cell.cell_type == "code" and BEGIN in cell.source:
            cell.source = change(cell.source + "\n").strip("\n")
        if BEGIN in cell.source or END in cell.source:
            raise CourseError(f"A mark without its other one: {cell.source.strip().splitlines()[0]!r}")
        if QUIZ in cell.metadata.get("tags", []):
            cell.source = _shown(*quiz(cell.source))
    return kept


def _shown(question: str, options: list[Option]) -> str:
    """Writes a question with its options in a numbered list, and what each of them is behind a fold."""
    choices = [f"{number}. {option.text}" for number, option in enumerate(options, start=1)]
    answers = [
        f"{number}. {'**Right.** ' * option.right}{option.why}" for number, option in enumerate(options, start=1)
    ]
    return "\n".join([question, "", *choices, "", "<details><summary>Answer</summary>", "", *answers, "", "</details>"])
