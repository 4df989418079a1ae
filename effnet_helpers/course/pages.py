"""The HTML pages of a run. They render without a network: no script, style or picture comes from elsewhere."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from pathlib import Path

from effnet_helpers.course.display import duration, main_figures
from effnet_helpers.course.execute import Outcome

from jinja2 import DictLoader
from nbconvert import HTMLExporter

# nbconvert's page without the scripts it loads from the network (require.js, MathJax, Mermaid), with a way back to the
# index, with long lines wrapped (of output between words), and with the alternative text of figures, which its own
# template leaves out.
TEMPLATE = """
{%- extends 'lab/index.html.j2' -%}
{%- block html_head_js_requirejs -%}{%- endblock -%}
{%- block html_head_js_mathjax -%}{%- endblock -%}
{%- block html_head_js_mermaidjs -%}{%- endblock -%}
{%- block body_header -%}
{{ super() }}
<style>
.highlight pre { white-space: pre-wrap; overflow-wrap: anywhere; }
.jp-OutputArea-output pre { word-break: normal; overflow-wrap: anywhere; }
</style>
<nav style="margin: 1em; font: 14px system-ui, sans-serif"><a href="index.html">All notebooks of this run</a></nav>
{%- endblock -%}
{%- block data_png scoped -%}
{%- set alt = output | get_metadata('alt', 'image/png') -%}
{{ super() | replace('<img ', '<img alt="%s" ' % (alt | escape_html), 1) if alt else super() }}
{%- endblock -%}
"""

INDEX = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222; }}
table {{ border-collapse: collapse; width: 100%; }}
th, td {{ text-align: left; vertical-align: top; padding: 0.4rem 0.8rem; border-bottom: 1px solid #ccc; }}
.number {{ text-align: right; }}
.failed {{ color: #a40000; font-weight: bold; }}
</style>
</head>
<body>
<h1>{title}</h1>
<table>
<thead><tr><th>notebook</th><th>status</th><th class="number">min:s</th><th class="number">peak MB</th>
<th>main figures</th></tr></thead>
<tbody>
{rows}
</tbody>
</table>
<p>Everything that was recorded: <a href="metrics.json">metrics.json</a>. What went in:
<a href="parameters.json">parameters.json</a>. What it ran on: <a href="versions.json">versions.json</a>.</p>
</body>
</html>
"""


def write_page(executed: Path, notebooks_dir: Path) -> Path:
    """Converts an executed notebook to an HTML page beside it.

    Args:
        executed: The notebook.
        notebooks_dir: The folder that relative links to pictures in its Markdown start from.

    Returns:
        The page.
    """
    exporter = HTMLExporter(
        extra_loaders=[DictLoader({"offline.html.j2": TEMPLATE})],
        template_file="offline.html.j2",
        embed_images=True,
    )
    resources = {"metadata": {"name": executed.stem, "path": str(notebooks_dir)}}
    with executed.open(encoding="utf-8") as stream:
        page, _ = exporter.from_file(stream, resources=resources)
    page = re.sub(r'href="(\d\d_\w+)\.ipynb(["#])', r'href="\1.html\2', page)
    path = executed.with_suffix(".html")
    path.write_text(page, encoding="utf-8")
    return path


def write_index(run_dir: Path, profile: str, outcomes: Sequence[Outcome]) -> Path:
    """Writes the page with the run's table, a row and a link for each notebook."""
    title = f"EfficientNet course: run {run_dir.name}, profile {profile}"
    rows = "\n".join(_row(outcome, run_dir) for outcome in outcomes)
    path = run_dir / "index.html"
    path.write_text(INDEX.format(title=html.escape(title), rows=rows), encoding="utf-8")
    return path


def _row(outcome: Outcome, run_dir: Path) -> str:
    page = run_dir / f"{outcome.notebook}.html"
    name = f'<a href="{page.name}">{outcome.notebook}</a>' if page.exists() else outcome.notebook
    figures = "<br>".join(html.escape(figure) for figure in main_figures(outcome))
    return (
        f'<tr><td>{name}</td><td class="{outcome.status}">{outcome.status}</td>'
        f'<td class="number">{duration(outcome.seconds)}</td>'
        f'<td class="number">{outcome.peak_memory_mb:,.0f}</td><td>{figures}</td></tr>'
    )
