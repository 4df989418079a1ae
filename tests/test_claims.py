"""Every number in a lesson's prose stands on something, and each header says what reading and running take."""

from effnet_helpers.course import ROOT, build

import claims
import lesson_rules as rules
import nbformat
import pandas as pd
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

BUILT = [path for path in map(build.built_path, build.sources(ROOT)) if path.exists()]
LESSONS = {path.stem: rules.without_opening(nbformat.read(path, as_version=4)) for path in BUILT}
MEASURED = pd.read_csv(ROOT / "notebooks" / "results" / "series.csv").groupby("lesson")["now"].sum()
lessons = pytest.mark.parametrize("stem", LESSONS)


@lessons
def test_every_number_in_prose_is_printed_cited_or_in_the_ledger(stem):
    assert claims.unfounded(stem, LESSONS[stem], claims.read_ledger()) == []


def test_the_ledger_is_of_today_and_names_its_sources():
    assert claims.outdated(LESSONS, claims.read_ledger()) == []


@lessons
def test_a_header_says_the_minutes_that_were_measured(stem):
    problems = claims.header_problems(LESSONS[stem], MEASURED.get(stem))
    assert problems == []


PRINTED = [new_output("stream", text="82 of 100, 0.8167; 1,234 images in 12.5 s; 4.2 times\n")]


def lesson(prose, outputs=(), code="batch_size = 32"):
    return new_notebook(cells=[new_markdown_cell(prose), new_code_cell(code, outputs=list(outputs))])


@pytest.mark.parametrize(
    "prose",
    [
        "It reaches 81.7 %, or 0.817, or 82 %, of 1,234 images, in 12.5 s.",
        "A batch of 32.",
        "It is four times as fast.",
        "A rise of −12.5 points.",
        "In `99 lines`, notebook 77, notebooks 44 and 55, [44](44_x.ipynb), B7, Lite0, 3x3, 1/3; in 2019.",
        "1. The first\n7. The seventh",
        "## 77 headings",
        "They say 77 % ([table](https://example.org/a)).",
        "They say 77 (arXiv 1905.11946).",
        "| | |\n|---|---|\n| takes | 77 minutes |",
        "Listed are 256 values and 88.",
    ],
)
def test_a_number_that_stands_on_something_is_accepted(prose):
    ledger = [claims.Entry("*", "256", "constant", "8 bits"), claims.Entry("06", "88", "constant", "keys")]
    assert claims.unfounded("06", lesson(prose, PRINTED), ledger) == []


@pytest.mark.parametrize(
    ("prose", "number"),
    [
        ("It reaches 83 %.", "83 %"),
        ("It reaches 0.83.", "0.83"),
        ("A batch of 32 %.", "32 %"),
        ("It is five times as fast.", "five times"),
        ("It takes 3 hours.", "3"),
        ("It reaches 77 %.\n\nAnother paragraph has a [table](https://example.org).", "77 %"),
        ("It takes 88 of 1,235 images.", "88"),
        ("Of 1,235 images.", "1,235"),
    ],
)
def test_a_number_that_stands_on_nothing_is_noticed(prose, number):
    found = claims.unfounded("06", lesson(prose, PRINTED), [claims.Entry("05", "88", "constant", "keys")])
    assert any(f"no cell prints {number}." in problem for problem in found)


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        (("06", "78", "constant", "x"), "its prose has no 78 any more"),
        (("05", "77", "constant", "x"), "its prose has no 77 any more"),
        (("*", "77", "guess", "x"), "not 'guess'"),
        (("06", "77", "constant", ""), "is no source of the kind constant"),
        (("06", "77", "published", "a book"), "is no source of the kind published"),
        (("06", "77", "measured", "notebooks/results/none.csv, row 1"), "is no source of the kind measured"),
    ],
)
def test_a_bad_row_of_the_ledger_is_noticed(entry, problem):
    notebooks = {"06": lesson("It reaches 77 %."), "05": lesson("Nothing.")}
    assert claims.outdated(notebooks, [claims.Entry("06", "77", "measured", "notebooks/results/bench.csv, head")]) == []
    (found,) = claims.outdated(notebooks, [claims.Entry(*entry)])
    assert problem in found


@pytest.mark.parametrize(
    ("takes", "seconds", "problem"),
    [
        ("reading 1 minutes, running 3 minutes, 2.5 GB of memory on two CPU cores", 170, None),
        ("reading 1 minutes, running 1 minute, 4 GB of memory on two CPU cores", 3, None),
        ("reading 1 minute, running 3 minutes, 2.5 GB of memory on two CPU cores", None, None),
        ("about three minutes", 170, "no row"),
        ("reading 1 minutes, running 2 minutes, 4 GB of memory on two CPU cores", 250, "running takes 4.2 minutes"),
        ("reading 9 minutes, running 3 minutes, 4 GB of memory on two CPU cores", 170, "reading takes 1 minutes"),
    ],
)
def test_a_header_with_other_minutes_is_noticed(takes, seconds, problem):
    found = claims.header_problems(lesson(f"# Title\n\n| | |\n|---|---|\n| takes | {takes} |"), seconds)
    assert (found == []) if problem is None else (problem in found[0])
