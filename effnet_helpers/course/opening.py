"""What every built notebook begins with: badges where the course has an address, and a cell that sets up a bare host.

Both are put in while building. The cell is `notebooks/src/set_up.py`, the same in every notebook; the address is the
one of `[project.urls]`, which `effnet publish` sets.
"""

from __future__ import annotations

import importlib.metadata
import tomllib
from pathlib import Path

from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell

BADGES_TAG, SETUP_TAG = "badges", "setup"
BADGES = {
    "Open in Colab": (
        "https://colab.research.google.com/assets/colab-badge.svg",
        "https://colab.research.google.com/github/{repository}/blob/main/{path}",
    ),
    "Open in Kaggle": (
        "https://kaggle.com/static/images/open-in-kaggle.svg",
        "https://kaggle.com/kernels/welcome?src={address}/blob/main/{path}",
    ),
}
LINKS = {"on GitHub": "{address}/blob/main/{path}", "download": "{address}/raw/main/{path}"}
GITHUB = "https://github.com/"
PACKAGE = "effnet-helpers"


def with_opening(notebook: NotebookNode, path: Path, course: Path) -> NotebookNode:
    """Puts badges before the first cell of a notebook, and the set-up cell before its first code cell.

    Args:
        notebook: A notebook fresh from its source; it is changed.
        path: Where the notebook will be, inside the folder of the course.
        course: The folder of the course: a checkout, or what `effnet notebooks` has laid out. One without
            `notebooks/src/set_up.py` adds nothing.
    """
    set_up = course / "notebooks" / "src" / "set_up.py"
    if not set_up.exists():
        return notebook
    code_cells = [number for number, cell in enumerate(notebook.cells) if cell.cell_type == "code"]
    # Folded in JupyterLab, so that the first screen is the lesson's.
    metadata = {"tags": [SETUP_TAG], "jupyter": {"source_hidden": True}}
    code = set_up.read_text(encoding="utf-8").rstrip("\n")
    notebook.cells.insert(min(code_cells, default=len(notebook.cells)), new_code_cell(code, metadata=metadata))
    if address := repository(course):
        row = badges(address, path.relative_to(course).as_posix())
        notebook.cells.insert(0, new_markdown_cell(row, metadata={"tags": [BADGES_TAG]}))
    return notebook


def is_opening(cell: NotebookNode) -> bool:
    """Says whether a cell was put in while building, and is no part of the lesson's source."""
    return bool({BADGES_TAG, SETUP_TAG} & {*cell.metadata.get("tags", [])})


def repository(course: Path) -> str | None:
    """Returns the address at which a course is published, as `https://github.com/owner/name`; None if it is not yet."""
    file = course / "pyproject.toml"
    project = tomllib.loads(file.read_text(encoding="utf-8")).get("project", {}) if file.exists() else {}
    if project.get("name") == PACKAGE:
        return project.get("urls", {}).get("Repository")
    # Laid out by an installed package, which knows its own; maybe within a project of the user's.
    lines = importlib.metadata.metadata(PACKAGE).get_all("Project-URL") or []
    return dict(line.split(", ", 1) for line in lines).get("Repository")


def badges(address: str, path: str) -> str:
    """Writes the row of badges of a notebook as Markdown: links that open it elsewhere, and one that fetches it.

    Args:
        address: As `repository` returns it.
        path: Of the notebook, from the folder of the course.
    """
    names = {"address": address, "repository": address.removeprefix(GITHUB), "path": path}
    row = [f"[![{text}]({image})]({link.format(**names)})" for text, (image, link) in BADGES.items()]
    return " ".join([*row, *(f"[{text}]({link.format(**names)})" for text, link in LINKS.items())])
