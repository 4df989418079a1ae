"""Lays out the course's pages and has Sphinx make the site of them: lessons, exercises, guide, glossary, reference.

Nothing is executed. The pages stand in the same places to each other as in the repository, so that their links hold.
"""

from __future__ import annotations

import argparse
import html
import os
import pkgutil
import shutil
import sys
from pathlib import Path

import effnet_helpers
from effnet_helpers.course import ROOT, build, opening
from effnet_helpers.course.exercises import BEGIN, QUIZ, quiz
from effnet_helpers.records import RECORD_MIME

import jupytext
import nbformat
from markdown_it import MarkdownIt

HERE = Path(__file__).parent
OURS = ".effnet-site"  # marks a site of this course: no other folder is ever replaced
NO_PAGES = {"course", "outputs", "specs", "runtime", "imagenet"}  # rooms that no lesson imports
FOLDED = "hide-cell"  # MyST-NB's tag for a cell behind a click


def lay_out(source: Path) -> None:
    """Copies what the site is made of into a folder: notebooks as they are read there, pages, settings."""
    for folder in ("notebooks/exercises", "notebooks/figures", "docs", "reference"):
        (source / folder).mkdir(parents=True)
    shutil.copytree(HERE / "_static", source / "_static")
    shutil.copy(HERE / "conf.py", source)
    for figure in (ROOT / "notebooks" / "figures").glob("*.png"):
        shutil.copy(figure, source / "notebooks" / "figures")
    for page in (page for page in (ROOT / "docs").rglob("*.md") if HERE not in page.parents):
        target = source / page.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(page, target)
    lessons = [build.built_path(lesson) for lesson in build.sources(ROOT)]
    for lesson in lessons:
        _write_lesson(lesson, source / "notebooks" / lesson.name)
        solved = ROOT / "notebooks" / "solutions" / lesson.name
        if solved.exists():
            _write_exercises(solved, source / "notebooks" / "exercises" / lesson.name)
    exercises = sorted(path.stem for path in (source / "notebooks" / "exercises").glob("*.ipynb"))
    guide = sorted(path.relative_to(source) for path in (source / "docs" / "teaching").glob("*.md"))
    rooms = [name for _, name, _ in pkgutil.iter_modules(effnet_helpers.__path__) if name not in NO_PAGES]
    for room in (name for name in rooms if not name.startswith("_")):
        text = f"# {room}\n\n```{{eval-rst}}\n.. automodule:: effnet_helpers.{room}\n```\n"
        (source / "reference" / f"{room}.md").write_text(text, encoding="utf-8")
    sections = {
        "lessons": ("Lessons", [f"notebooks/{lesson.stem}" for lesson in lessons]),
        "exercises": ("Exercises", [f"notebooks/exercises/{stem}" for stem in exercises]),
        "teaching": ("To teach it", [page.with_suffix("").as_posix() for page in guide]),
        "reference": ("Reference", [f"reference/{room}" for room in rooms if not room.startswith("_")]),
    }
    there = {name: section for name, section in sections.items() if section[1]}
    for name, (title, pages) in there.items():
        intro = (HERE / f"{name}.md").read_text(encoding="utf-8")
        (source / f"{name}.md").write_text(f"# {title}\n\n{intro}\n{_tree(pages)}", encoding="utf-8")
    words = [name for name in there if name in ("lessons", "exercises")] + ["docs/glossary"]
    last = [name for name in there if name in ("teaching", "reference")]
    front = (HERE / "front.md").read_text(encoding="utf-8")
    (source / "index.md").write_text(f"{front}\n{_tree(words + last, hidden=True)}", encoding="utf-8")


def _tree(pages: list[str], hidden: bool = False) -> str:
    lines = [":::{toctree}", *[":hidden:"][: int(hidden)], ":maxdepth: 1", "", *pages, ":::", ""]
    return "\n".join(lines)


def _write_lesson(path: Path, target: Path) -> None:
    """A lesson as committed, without the cell that sets up a bare host, and with a way to fetch the notebook."""
    notebook = nbformat.read(path, as_version=4)
    notebook.cells = [cell for cell in notebook.cells if opening.SETUP_TAG not in cell.metadata.get("tags", [])]
    for cell in notebook.cells:  # records are for the runner: a page has nothing to show of them
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if RECORD_MIME not in output.get("data", {})]
    first = next(cell for cell in notebook.cells if cell.source.startswith("# "))
    _offer(path, first, "Download this notebook", target.parents[1] / "downloads" / path.name)
    nbformat.write(notebook, target)


def _offer(path: Path, cell: nbformat.NotebookNode, text: str, target: Path) -> None:
    """Has the cell with a page's title offer a file."""
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(path, target)
    title, _, rest = cell.source.partition("\n")
    place = "/" + target.relative_to(ROOT / "build" / "site").as_posix()
    cell.source = f"{title}\n\n{{download}}`{text} <{place}>`\n{rest}"


def _write_exercises(solved: Path, target: Path) -> None:
    """Solutions as committed, each behind a click, and quizzes that answer in the page."""
    notebook = nbformat.read(solved, as_version=4)
    source = jupytext.read(ROOT / "notebooks" / "src" / "exercises" / f"{solved.stem}.py", fmt="py:percent")
    quizzes = iter([cell.source for cell in source.cells if QUIZ in cell.metadata.get("tags", [])])
    answers = iter(
        cell for cell in source.cells if cell.cell_type == "code" and "wrong" not in cell.metadata.get("tags", [])
    )
    kept = []
    for cell in notebook.cells:
        tags = cell.metadata.get("tags", [])
        if opening.SETUP_TAG in tags:
            continue
        if QUIZ in tags:
            cell.source = _quiz_in_page(next(quizzes))
        elif cell.cell_type == "code" and BEGIN in next(answers).source:
            cell.metadata["tags"] = [*tags, FOLDED]
        kept.append(cell)
    notebook.cells = kept
    stub = ROOT / "notebooks" / "exercises" / solved.name
    first = next(cell for cell in notebook.cells if cell.source.startswith("# "))
    _offer(
        stub, first, "Download the notebook to practise in", target.parents[2] / "downloads" / "exercises" / solved.name
    )
    nbformat.write(notebook, target)


def _quiz_in_page(text: str) -> str:
    question, options = quiz(text)
    inline = MarkdownIt().renderInline
    listed = []
    for option in options:
        right, word = ("yes", "Right. ") if option.right else ("no", "No. ")
        listed.append(
            f'<li role="radio" aria-checked="false" tabindex="0" data-right="{right}">{inline(option.text)}'
            f'<span class="why">{word}{inline(option.why)}</span></li>'
        )
    name = html.escape(question.split("**")[1] if "**" in question else question, quote=True)
    return f'{question}\n\n<ul class="quiz" role="radiogroup" aria-label="{name}">\n' + "\n".join(listed) + "\n</ul>"


def main() -> int:
    """Builds the site; returns Sphinx' exit status, which counts warnings as errors."""
    from sphinx.cmd.build import main as sphinx_build  # of the extra `site`, which the tests of this file do without

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path, nargs="?", default=ROOT / "site")
    out = parser.parse_args().out
    if out.exists() and any(out.iterdir()) and not (out / OURS).exists():
        print(f"A site goes into a new folder, or in the place of an earlier one. Received: {os.path.relpath(out)}")
        return 2
    # MyST-NB leaves a folder beside the pages, so they are not made in their place.
    source, built = ROOT / "build" / "site", ROOT / "build" / "pages" / "html"
    for folder in (source, built.parent):
        shutil.rmtree(folder, ignore_errors=True)
    lay_out(source)
    doctrees = str(built.parent / "doctrees")
    failed = sphinx_build(["-q", "-W", "--keep-going", "-b", "html", "-d", doctrees, str(source), str(built)])
    if not failed:
        shutil.rmtree(out, ignore_errors=True)
        shutil.copytree(built, out)
        (out / OURS).touch()
    return failed


if __name__ == "__main__":
    sys.exit(main())
