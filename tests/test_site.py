"""The pages and slides made of notebooks: what is shown, what is folded, and that nothing comes from a network."""

import importlib.util
import re

from effnet_helpers.course import ROOT, build
from effnet_helpers.records import RECORD_MIME

import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

SITE = ROOT / "docs" / "site"


def script(name):
    spec = importlib.util.spec_from_file_location(f"site_{name}", SITE / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def lesson():
    figure = new_output("display_data", {"text/html": "<img alt='A figure.'>"})
    record = new_output("display_data", {RECORD_MIME: {"name": "x", "value": 1}})
    return new_notebook(
        cells=[
            new_markdown_cell("# 04 · Title", metadata={"tags": ["slide"]}),
            new_markdown_cell("## A section\n\nWhy."),
            new_code_cell("draw()", outputs=[figure, record], metadata={"tags": ["slide"]}),
            new_code_cell("not_shown()"),
            new_markdown_cell("What it showed."),
            new_code_cell("model.fit()", metadata={"tags": ["slide-code"]}),
        ]
    )


def test_tagged_cells_become_slides_and_the_prose_between_them_notes():
    slides = script("slides").deck(lesson())
    told = [(cell.metadata.slideshow.slide_type, cell.cell_type, cell.source) for cell in slides.cells]
    assert told == [
        ("slide", "markdown", "# 04 · Title"),
        ("notes", "markdown", "## A section\n\nWhy."),
        ("slide", "markdown", "## A section"),
        ("-", "code", "draw()"),
        ("notes", "markdown", "What it showed."),
        ("slide", "markdown", "## A section"),
        ("-", "code", "model.fit()"),
    ]


def test_a_figure_s_slide_hides_its_code_and_records_and_a_slide_of_code_shows_it():
    slides = script("slides")
    figure, code = (cell for cell in slides.deck(lesson()).cells if cell.cell_type == "code")
    assert figure.metadata.tags == [slides.OUTPUT_ONLY]
    assert [list(output.data) for output in figure.outputs] == [["text/html"]]
    assert code.metadata.tags == []


@pytest.mark.parametrize("source", build.sources(ROOT), ids=lambda path: path.stem)
def test_every_lesson_has_slides_that_begin_with_its_title_and_end_with_its_recap(source):
    tagged = [
        cell for cell in build.from_source(source).cells if {"slide", "slide-code"} & {*cell.metadata.get("tags", [])}
    ]
    assert tagged[0].source.startswith("# ")
    assert "## Recap" in tagged[-1].source
    assert len(tagged) >= 4


def test_links_of_slides_lead_to_the_pages_of_the_site():
    page = '<a href="../docs/glossary.md#head"> <a href="A_keras_example.ipynb"> <a href="exercises/04_x.ipynb#04.2">'
    assert re.findall('href="([^"]+)"', script("slides").to_pages(page)) == [
        "../docs/glossary.html#head",
        "../notebooks/A_keras_example.html",
        "../notebooks/exercises/04_x.html#04.2",
    ]


def test_a_style_sheet_fetches_no_fonts():
    comment, own = "/* https://x.org */\n", "\n@import url(./own.css);a{}"
    style = f"{comment}@import url(https://fonts.x.org/css?family=Lato:400,700);{own}"
    assert script("slides").without_network(style) == comment + own


def test_a_quiz_answers_in_the_page():
    text = "**Quiz 04.1** Which *one*?\n\n- [ ] this — no\n- [x] that — `yes`\n- [ ] none — no"
    page = script("build")._quiz_in_page(text)
    assert page.count("<li ") == 3
    assert page.count('data-right="yes"') == 1
    assert '<span class="why">Right. <code>yes</code></span>' in page
    assert 'aria-label="Quiz 04.1"' in page


@pytest.mark.release
def test_the_site_is_whole_without_warnings_and_loads_nothing_from_elsewhere(tmp_path):
    pytest.importorskip("sphinx")
    pytest.importorskip("sphinx_revealjs")
    import subprocess
    import sys

    for name in ("build", "slides"):
        out = tmp_path / "site" / ("slides" if name == "slides" else "")
        done = subprocess.run([sys.executable, SITE / f"{name}.py", out], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    pages = [page for page in (tmp_path / "site").rglob("*.html") if "_static" not in page.parts]  # a theme's templates
    names = {page.relative_to(tmp_path / "site").as_posix() for page in pages}
    for lesson_ in build.sources(ROOT):
        assert {f"notebooks/{lesson_.stem}.html", f"slides/{lesson_.stem}.html"} <= names
    loads = r"<(?:script|img|iframe|link)\b[^>]*(?:src|href)=\"(https?:)?//"
    assert [page.name for page in pages if re.search(loads, page.read_text(encoding="utf-8"))] == []
    texts = {page: page.read_text(encoding="utf-8") for page in pages}
    styles = {page.parent / name for page in pages for name in re.findall(r'href="([^":?]+\.css)', texts[page])}
    assert len(styles) >= 4
    fetches = r"url\(['\"]?(https?:)?//"
    assert [style for style in styles if re.search(fetches, style.read_text(encoding="utf-8"))] == []
