"""The HTML pages of a run. They render without a network: no script, style or picture comes from elsewhere."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from effnet_helpers.course.display import accuracies, duration, main_figures, short
from effnet_helpers.course.execute import Outcome
from effnet_helpers.course.opening import is_opening

from jinja2 import Environment, PackageLoader
from nbconvert import HTMLExporter
from nbformat import NotebookNode

if TYPE_CHECKING:
    from effnet_helpers.course.sweep_plan import Plan

    import pandas as pd

TEMPLATES = PackageLoader("effnet_helpers.course")


def write_page(outcome: Outcome, folder: Path, notebooks_dir: Path, kept_in: Path | None = None) -> None:
    """Writes an executed notebook as an HTML page; relative links in it start from `notebooks_dir`.

    Those to other lessons lead to their pages of the same run. The page may be moved to the folder `kept_in`.
    """
    exporter = HTMLExporter(extra_loaders=[TEMPLATES], template_file="offline.html.j2", embed_images=True)
    resources = {"metadata": {"name": outcome.notebook, "path": str(notebooks_dir)}}
    cells = [cell for cell in outcome.executed.cells if not is_opening(cell)]  # badges come from the network
    page, _ = exporter.from_notebook_node(NotebookNode(outcome.executed, cells=cells), resources=resources)
    page = re.sub(r'href="((?:\d\d|[A-Z])_\w+)\.ipynb(["#])', r'href="\1.html\2', page)
    try:
        there = Path(os.path.relpath(notebooks_dir, kept_in or folder)).as_posix()
    except ValueError:  # an installed package on another drive of Windows
        there = notebooks_dir.as_uri()
    page = re.sub(r'href="(exercises|\.\.)/', rf'href="{there}/\1/', page)
    (folder / f"{outcome.notebook}.html").write_text(page, encoding="utf-8")


def write_sweep(folder: Path, planned: Plan, runs: pd.DataFrame, charts: Sequence[str], said: str) -> None:
    """Writes the page of a sweep.

    Args:
        folder: The sweep's, in which its charts lie.
        planned: What it is.
        runs: From `seeds.runs_table`.
        charts: What each chart shows, in words.
        said: What can be told from so many seeds.
    """
    environment = Environment(loader=TEMPLATES, autoescape=True, trim_blocks=True)
    environment.filters["short"] = short
    others = [*planned.settings, *(["seed"] if "seed" in planned.values else [])]
    figures = [name for name in accuracies(bool(planned.settings)) if name in runs]
    columns = ["run", "notebook", *others, "status", "seconds", *figures, *(["error"] if "error" in runs else [])]
    rows = runs.astype(object).where(runs.notna(), "").to_dict("records")
    contents = {"planned": planned, "charts": charts, "said": said, "columns": columns, "rows": rows}
    page = environment.get_template("sweep.html.j2").render(name=folder.name, **contents)
    (folder / "index.html").write_text(page, encoding="utf-8")


def write_index(folder: Path, profile: str, outcomes: Sequence[Outcome], closing_line: str) -> None:
    """Writes the page with the run's table, a row and a link for each notebook."""
    environment = Environment(loader=TEMPLATES, autoescape=True, trim_blocks=True)
    environment.filters |= {"duration": duration, "main_figures": main_figures}
    contents = {"run": folder.name, "profile": profile, "outcomes": outcomes, "closing_line": closing_line}
    page = environment.get_template("run.html.j2").render(contents)
    (folder / "index.html").write_text(page, encoding="utf-8")
