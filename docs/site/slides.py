"""Makes one deck of slides a lesson from cells tagged `slide`, in a folder that needs no network.

A tagged Markdown cell is a slide as it stands. Of a tagged code cell the outputs are shown, under the heading of their
section; tagged `slide-code`, its code as well. The prose in between becomes the speaker's notes of the slide before it.
"""

from __future__ import annotations

import argparse
import re
import shutil
import sys
from importlib import resources
from pathlib import Path

from effnet_helpers.course import ROOT, build
from effnet_helpers.records import RECORD_MIME

import nbformat
from jinja2 import FileSystemLoader
from nbconvert import SlidesExporter
from nbformat import NotebookNode
from nbformat.v4 import new_markdown_cell
from traitlets.config import Config

SLIDE, WITH_CODE = "slide", "slide-code"
REVEAL, THEME, OUTPUT_ONLY = "reveal.js", "simple", "output-only"


def deck(notebook: NotebookNode) -> NotebookNode:
    """Returns a notebook of the slides of a lesson, with the types that nbconvert reads, notes included."""
    cells, heading, said = [], "", []
    for cell in notebook.cells:
        tags = {*cell.metadata.get("tags", [])}
        if cell.cell_type == "markdown":
            headings = [line for line in cell.source.splitlines() if line.startswith("#")]
            heading = headings[-1].lstrip("# ") if headings else heading
        if not tags & {SLIDE, WITH_CODE}:
            if cell.cell_type == "markdown":
                said.append(cell.source)
            continue
        cells += _notes(said) if cells else []
        said = []
        if cell.cell_type == "markdown":
            cells.append(_typed(new_markdown_cell(cell.source), "slide"))
            continue
        cells.append(_typed(new_markdown_cell(f"## {heading}"), "slide"))
        shown = cell.copy()
        shown.outputs = [output for output in cell.outputs if RECORD_MIME not in output.get("data", {})]
        shown.metadata = nbformat.from_dict({"tags": [] if WITH_CODE in tags else [OUTPUT_ONLY]})
        cells.append(_typed(shown, "-"))
    cells += _notes(said) if cells else []
    return nbformat.from_dict({**notebook, "cells": cells})


def _notes(said: list[str]) -> list[NotebookNode]:
    return [_typed(new_markdown_cell("\n\n".join(said)), "notes")] if said else []


def _typed(cell: NotebookNode, slide_type: str) -> NotebookNode:
    cell.metadata["slideshow"] = {"slide_type": slide_type}
    return cell


def to_pages(page: str) -> str:
    """Has the links of a deck, which start from where notebooks lie, lead to the pages of the site around it."""
    page = re.sub(r'href="(\.\./docs/[\w/]+)\.md(["#])', r'href="\1.html\2', page)
    return re.sub(r'href="((?:exercises/)?(?:\d\d|[A-Z])_\w+)\.ipynb(["#])', r'href="../notebooks/\1.html\2', page)


def without_network(style: str) -> str:
    """Leaves out what a style sheet of reveal.js fetches from the network: fonts, in place of those that are here."""
    return re.sub(r"@import url\(['\"]?https?:[^)]*\);?", "", style)


def main() -> int:
    """Writes a page for each lesson that has slides, beside the files they need."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path, nargs="?", default=ROOT / "site" / "slides")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    reveal = resources.files("sphinx_revealjs") / "_static" / "revealjs"
    with resources.as_file(reveal) as files:
        shutil.copytree(files, out / REVEAL, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.map", "*.esm.js"))
    theme = out / REVEAL / "dist" / "theme" / f"{THEME}.css"
    theme.write_text(without_network(theme.read_text(encoding="utf-8")), encoding="utf-8")
    hide = {"enabled": True, "remove_input_tags": {OUTPUT_ONLY}}
    exporter = SlidesExporter(
        config=Config(TagRemovePreprocessor=hide, SlidesExporter={"reveal_url_prefix": REVEAL, "reveal_theme": THEME}),
        extra_loaders=[FileSystemLoader(Path(__file__).parent / "templates")],
        template_file="slides.html.j2",
    )
    for source in build.sources(ROOT):
        slides = deck(nbformat.read(build.built_path(source), as_version=4))
        if not slides.cells:
            continue
        page, _ = exporter.from_notebook_node(slides)
        (out / f"{source.stem}.html").write_text(to_pages(page), encoding="utf-8")
        print(f"{source.stem}: {sum(c.metadata.slideshow.slide_type == 'slide' for c in slides.cells)} slides")
    return 0


if __name__ == "__main__":
    sys.exit(main())
