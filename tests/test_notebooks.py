"""The committed notebooks keep the rules of the course, and each rule notices when it is broken."""

import base64
import inspect
from pathlib import Path
from types import SimpleNamespace

from effnet_helpers import models, records
from effnet_helpers.course import ROOT, build

import lesson_rules as rules
import nbformat
import numpy as np
import papermill
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from scipy.stats import binom

STEMS = tuple(path.stem for path in build.sources(ROOT))
TAUGHT_FUNCTIONS = {"add_head", "freeze_backbone", "unfreeze_blocks", "warmup_cosine"}

notebook_stems = pytest.mark.parametrize("stem", STEMS)


def source(stem):
    return ROOT / "notebooks" / "src" / f"{stem}.py"


def committed(stem):
    return nbformat.read(build.built_path(source(stem)), as_version=4)


# the notebooks of the course


def test_the_series_is_complete():
    numbers = [int(stem[:2]) for stem in STEMS if stem[:2].isdecimal()]
    assert {1, 2, 3, 4, 5, 6} <= {*numbers}
    assert numbers == [*range(numbers[0], numbers[0] + len(numbers))]
    assert [stem[:2] for stem in STEMS[len(numbers) :]] in ([], ["A_", "B_"])  # appendices come last
    assert build.without_source(ROOT) == []


@notebook_stems
def test_notebook_agrees_with_its_source(stem):
    assert build.out_of_step(source(stem)) is None


@notebook_stems
def test_notebook_is_built_as_a_lesson(stem):
    assert rules.lesson_problems(committed(stem)) == []


@notebook_stems
def test_first_screen_is_the_lesson_s(stem):
    problems = rules.first_screen_problems(committed(stem))
    assert problems == []


@notebook_stems
def test_notebook_has_clean_outputs(stem):
    assert rules.output_problems(committed(stem)) == []


@notebook_stems
def test_papermill_finds_every_parameter_with_its_explanation(stem):
    (cell,) = [cell for cell in committed(stem).cells if "parameters" in cell.metadata.get("tags", [])]
    written = [line.split(":")[0] for line in cell.source.splitlines() if line.strip() and not line.startswith("#")]
    found = papermill.inspect_notebook(build.built_path(source(stem)))
    assert list(found) == written
    assert all(parameter["help"] for parameter in found.values())


def test_what_the_lessons_are_about_is_taught():
    cells = [cell for stem in STEMS for cell in committed(stem).cells]
    assert {name.rpartition(".")[2] for cell in cells for name in rules.taught_functions(cell)} >= TAUGHT_FUNCTIONS


@pytest.mark.parametrize(
    ("answers", "said"),
    [("", "4 digits from 0 to 2 are wanted, 0 are there."), ("0122", "4 of 4 right"), ("0120", "3 of 4 right")],
)
def test_a_reader_who_labels_alone_is_told_what_guessing_gives(answers, said, capsys):
    (cell,) = [cell.source for cell in committed("03_data_loading").cells if cell.source.startswith('answers = ""')]
    images = SimpleNamespace(labels=lambda split: np.array([0, 1, 2, 2]))
    names = {"images": images, "asked": np.arange(4), "choices": ["a", "b", "c"], "binom": binom}
    exec(cell.replace('answers = ""', f"answers = {answers!r}"), names)
    printed = capsys.readouterr().out
    assert said in printed
    assert ("Guessing gets 1.33333 on average" in printed) == bool(answers)


# the rules


PARAMETERS = new_code_cell("epochs: int = 3  # passes over the data", metadata={"tags": ["parameters"]})
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


def lesson(*extra, title="# Title", objectives="## What you will learn", recap="## Recap", parameters=PARAMETERS):
    cells = [new_markdown_cell(text) for text in (title, objectives)]
    return new_notebook(cells=[*cells, parameters, new_markdown_cell("Prose."), *extra, new_markdown_cell(recap)])


def lines(count):
    return new_code_cell("\n".join(["# a comment and a blank line do not count", "", *["1"] * count]))


def prose():
    return new_markdown_cell("Prose.")


def test_a_good_lesson_has_no_problems():
    assert rules.lesson_problems(lesson(lines(6), lines(2), prose(), lines(3))) == []


@pytest.mark.parametrize(
    ("notebook", "problem"),
    [
        (lesson(title="Title"), "the first cell is not a title"),
        (lesson(objectives="## Goals"), "no heading says 'What you will learn'"),
        (lesson(recap="Recap without heading"), "no heading says 'Recap'"),
        (lesson(lines(1), lines(1), lines(1)), "three code cells in a row without prose, from cell 5"),
        (lesson(new_code_cell("1 / 0", metadata={"tags": ["raises-exception"]})), "tagged raises-exception"),
        (lesson(lines(26)), "code cell 2 has 26 lines"),
        (lesson(new_code_cell("# nothing")), "code cell 2 has 0 lines"),
        (lesson(lines(7), prose(), lines(7)), "the median code cell has 7 lines"),
        (lesson(lines(16), prose(), lines(1), lines(1), prose(), lines(1), lines(1)), "fewer than 90 %"),
        (lesson(new_code_cell("%matplotlib inline")), "code cell 2 is not plain Python"),
        (lesson(new_code_cell("from effnet_helpers import course")), "code cell 2 imports effnet_helpers.course"),
        (lesson(new_code_cell("import effnet_helpers.course.run")), "code cell 2 imports effnet_helpers.course"),
        (lesson(parameters=lines(1)), "0 cells are tagged 'parameters'"),
        (lesson(new_code_cell("1", metadata={"tags": ["parameters"]})), "2 cells are tagged 'parameters'"),
    ],
)
def test_a_broken_lesson_is_noticed(notebook, problem):
    assert any(problem in found for found in rules.lesson_problems(notebook))


THIRTEEN = new_code_cell("\n".join([PARAMETERS.source] * 13), metadata={"tags": ["parameters"]})
CHECKED = "records.check(epochs=(epochs, 1, None))"


def test_a_short_first_screen_has_no_problems():
    assert rules.first_screen_problems(lesson(new_code_cell(CHECKED), *(prose() for _ in range(38)))) == []


@pytest.mark.parametrize(
    ("notebook", "problem"),
    [
        (lesson(), "no code cell follows the parameters"),
        (lesson(new_code_cell("models.check_save_path(records)")), "one records.check(…), not at all"),
        (lesson(new_code_cell(f"{CHECKED}\nrecords.expect(True)")), "one records.check(…), not ['check', 'expect']"),
        (lesson(new_code_cell(f"{CHECKED}\n{CHECKED}")), "one records.check(…), not ['check', 'check']"),
        (lesson(new_code_cell(CHECKED), *(prose() for _ in range(39))), "45 cells, 44 at most"),
        (
            lesson(new_code_cell(CHECKED), parameters=THIRTEEN),
            "13 parameters, 12 at most",
        ),
    ],
)
def test_a_long_first_screen_is_noticed(notebook, problem):
    assert any(problem in found for found in rules.first_screen_problems(notebook))


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("epochs = 3  # passes", "not of the form"),
        ("epochs: int = 2 + rounds  # passes", "not of the form"),
        ("epochs: int  # passes", "not of the form"),
        ("epochs: int = 3; rounds: int = 2  # passes", "not of the form"),
        ("epochs: int = 3", "exactly one comment"),
        ("epochs: int = 3  # passes # really", "exactly one comment"),
        ("epochs: int = 3  # n = passes", "papermill trips over ="),
        ('data: str = "a=b"  # set', "papermill trips over ="),
        ("photo: str | None = None  # file", "the type is not"),
        ("size: Optional[list[int]] = None  # pixels", "the type is not"),
    ],
)
def test_a_parameter_that_papermill_cannot_read_is_noticed(line, problem):
    notebook = lesson(parameters=new_code_cell(line, metadata={"tags": ["parameters"]}))
    (found,) = rules.parameter_problems(notebook)
    assert problem in found


def teaching(code, name="effnet_helpers.records.expect"):
    return lesson(new_code_cell(code, metadata={"tags": [f"shows:{name}"]}))


def test_a_taught_function_may_differ_in_its_docstring_and_comments_only():
    code = inspect.getsource(records.expect)
    head, _, body = code.split('"""')
    assert rules.taught_problems(teaching(code)) == []
    assert rules.taught_problems(teaching(head.rstrip() + "\n    # says why" + body)) == []
    assert rules.taught_problems(teaching(inspect.getsource(models.add_head), "effnet_helpers.models.add_head")) == []
    for changed in (code.replace("not condition", "condition"), code.replace("name: str", "what: str")):
        (found,) = rules.taught_problems(teaching(changed))
        assert "the cell and the package differ" in found
    (found,) = rules.taught_problems(teaching(code + "\nexpect(True)"))
    assert "this function and nothing else" in found
    (found,) = rules.taught_problems(teaching(code, "effnet_helpers.records.no_such"))
    assert "effnet_helpers.records does not define it" in found
    (found,) = rules.taught_problems(teaching(code, "effnet_helpers.no_such.expect"))
    assert "no module effnet_helpers.no_such" in found


def ran(*outputs, count=1, source="1"):
    return new_notebook(cells=[new_code_cell(source, execution_count=count, outputs=list(outputs))])


def image(data, **metadata):
    return new_output("display_data", data, metadata=metadata)


def test_good_outputs_have_no_problems():
    shown = f'<img src="data:image/png;base64,{PIXEL}" alt="A dot"><a href="https://x.org/home/a">x</a>'
    html = new_output("display_data", {"text/html": shown})
    text = new_output("stream", name="stdout", text="notebooks/src/a.py and folder:/photos\n")
    notebook = ran(html, text)
    assert rules.output_problems(notebook) == []
    assert rules.pictures(notebook) == [base64.b64decode(PIXEL)]


def test_a_figure_in_a_cell_that_nbval_compares_is_noticed():
    notebook = ran(image({"text/html": f'<img src="data:image/png;base64,{PIXEL}" alt="A dot">'}))
    assert rules.output_problems(notebook) == []
    notebook.cells[0].metadata["tags"] = ["nbval-check-output"]
    (found,) = rules.output_problems(notebook)
    assert "nbval would compare the pixels" in found


HOME = str(Path("/") / "home" / "ada" / "dogs")  # not written out: no tracked file holds such a path


@pytest.mark.parametrize(
    ("notebook", "problem"),
    [
        (ran(count=2), "execution counts are not 1 to 1: [2]"),
        (ran(count=None), "execution counts are not 1 to 1: [None]"),
        (ran(new_output("stream", name="stderr", text="W0000 chatter")), "cell 1: text on stderr: ['W0000 chatter']"),
        (ran(new_output("stream", name="stdout", text=f"saved {HOME}")), f"a path of this machine: {HOME}"),
        (ran(new_output("stream", name="stdout", text="1/2\b\b\b2/2")), "the remains of a progress bar"),
        (ran(new_output("display_data", {"text/html": f"<b title='{HOME}'>"})), f"a path of this machine: {HOME}"),
        (ran(new_output("error", ename="ValueError", evalue="no")), "an error was left: ValueError: no"),
        (ran(image({"text/plain": "x = 1", records.RECORD_MIME: {}})), "a record is shown to the reader"),
        (ran(image({"image/png": PIXEL}, alt="A dot")), "without alternative text that pages keep"),
        (ran(image({"text/html": '<img src="data:image/jpeg;base64,x" alt="A dot">'})), "not an embedded PNG"),
        (ran(image({"text/html": '<img src="https://x.org/a.png" alt="A dot">'})), "not an embedded PNG"),
        (ran(image({"text/html": "<img src='x'>"})), "an image in HTML has no alternative text"),
        (ran(image({"text/html": '<img src="x" alt="">'})), "an image in HTML has no alternative text"),
        (ran(image({"text/plain": "A" * 1_000_000})), "1.00 MB are 1 MB or more"),
    ],
)
def test_broken_outputs_are_noticed(notebook, problem):
    assert any(problem in found for found in rules.output_problems(notebook))
