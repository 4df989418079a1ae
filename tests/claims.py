"""Which numbers of a lesson's prose stand on something: an output, its code, a source beside them, or the ledger."""

from __future__ import annotations

import csv
import html
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from effnet_helpers.course import ROOT

from nbformat import NotebookNode

LEDGER = Path(__file__).with_name("ledger.csv")
KINDS = {"constant": r"\w", "definition": r"\w", "measured": r"^[\w/]+\.csv", "published": r"https?://|arXiv"}
"""Of numbers, and what their source must hold: a measured table begins with its path in the repository."""
EVERYWHERE = "*"  # in the ledger: a number that any lesson may name
CITED = re.compile(r"\]\(https?://|\barXiv\b")
OF_NO_WEIGHT = re.compile(r"[012]|0\d")  # and the numbers of notebooks in links
WORDS = ["three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
TIMES = {word: 3 + number for number, word in enumerate(WORDS)} | {"twenty": 20, "fifty": 50, "hundred": 100}
# What looks like a number and is a name: notebooks, exercises, versions, code, addresses, list marks, dates.
NAMES = re.compile(
    r"```.*?```|`[^`]*`|\[[^\]]*\]\([^)]*\.ipynb[^)]*\)|\]\([^)]*\)|https?://\S+|<[^>]+>"
    r"|^\s*\d+\. |^#+ [^\n]*$|\b(?:notebooks?|lessons?|exercises?|seeds?|arXiv|Keras|Python|TensorFlow)[\s:]+[\d.]+"
    r"(?:(?:, | and | to |–)\d+)*|\b(?:19|20)\d\d\b",
    re.MULTILINE | re.DOTALL | re.IGNORECASE,
)
TAKES = re.compile(
    r"^\| takes \| reading (\d+) minutes?, running (\d+) minutes?, [\d.]+ GB of memory on two CPU cores \|$",
    re.MULTILINE,
)
WORDS_A_MINUTE = 200  # of prose and of code, which is read no faster
FACTOR = re.compile(rf"\b({'|'.join(TIMES)}) times\b", re.IGNORECASE)
NUMBER = re.compile(r"(?<![\w.,/·-])[−-]?\d+(?:,\d{3})*(?:\.\d+)?(?![\w/]|\.\d|-[a-z])(\s?%)?")


class Claim(NamedTuple):
    """A number in prose: as it is written, whether per cent, and the paragraph around it."""

    text: str
    percent: bool
    paragraph: str


class Entry(NamedTuple):
    """A row of the ledger: a number of a lesson, of which kind it is, and where it comes from."""

    lesson: str
    number: str
    kind: str
    source: str


def read_ledger(path: Path = LEDGER) -> list[Entry]:
    """Reads the table of numbers that are neither printed nor cited."""
    with path.open(encoding="utf-8", newline="") as file:
        return [Entry(**row) for row in csv.DictReader(file)]


def claims(notebook: NotebookNode) -> Iterator[Claim]:
    """Finds the numbers in a lesson's prose.

    Those of the opening table are left out, which has a test of its own.
    """
    for cell in notebook.cells:
        if cell.cell_type != "markdown":
            continue
        for paragraph in re.split(r"\n\s*\n", cell.source):
            if paragraph.lstrip().startswith("| | |"):
                continue
            plain = NAMES.sub(" ", paragraph)
            for found in NUMBER.finditer(plain):
                yield Claim(found[0].rstrip(" %").rstrip(), bool(found[1]), paragraph)
            for found in FACTOR.finditer(plain):
                yield Claim(" ".join(found[0].split()), False, paragraph)


def unfounded(stem: str, notebook: NotebookNode, ledger: Iterable[Entry]) -> list[str]:
    """Says which numbers of a lesson stand on nothing, and what to do."""
    listed = {entry.number for entry in ledger if entry.lesson in (stem, EVERYWHERE)}
    printed, written = numbers_shown(notebook), numbers_in_code(notebook)
    problems = []
    for text, percent, paragraph in claims(notebook):
        number = text.lstrip("−-")
        is_known = (OF_NO_WEIGHT.fullmatch(number) and not percent) or number in listed
        if is_known or CITED.search(paragraph) or _is_among(number, percent, printed, written):
            continue
        where = " ".join(paragraph.split())
        at = where.find(text)
        problems.append(
            f"{stem}, “…{where[max(0, at - 50) : at + 40]}…”: no cell prints {text}{' %' * percent}. Let one print it, "
            f"cite where it comes from in the same paragraph, or add it to {LEDGER.name}"
        )
    return problems


def outdated(notebooks: Mapping[str, NotebookNode], ledger: Iterable[Entry]) -> list[str]:
    """Says which rows of the ledger name a number that no prose has any more, or no source."""
    named = {stem: {claim.text.lstrip("−-") for claim in claims(notebook)} for stem, notebook in notebooks.items()}
    everywhere = set().union(*named.values())
    problems = []
    for entry in ledger:
        if entry.number not in (everywhere if entry.lesson == EVERYWHERE else named.get(entry.lesson, ())):
            problems.append(f"{entry.lesson}: its prose has no {entry.number} any more, take the row out")
        if entry.kind not in KINDS:
            problems.append(f"{entry.lesson}, {entry.number}: the kind is {' or '.join(KINDS)}, not {entry.kind!r}")
        elif not re.search(KINDS[entry.kind], entry.source) or (
            entry.kind == "measured" and not (ROOT / entry.source.split(",")[0]).is_file()
        ):
            problems.append(f"{entry.lesson}, {entry.number}: {entry.source!r} is no source of the kind {entry.kind}")
    return problems


def header_problems(notebook: NotebookNode, seconds: float | None) -> list[str]:
    """Holds the minutes in a lesson's header to its words, and to the seconds it was measured to run, if it was."""
    stated = TAKES.search(notebook.cells[0].source)
    if stated is None:
        return ["no row “| takes | reading … minutes, running … minutes, … GB of memory on two CPU cores |”"]
    reading, running = map(int, stated.groups())
    needed = max(1, round(sum(len(cell.source.split()) for cell in notebook.cells) / WORDS_A_MINUTE))
    problems = []
    if abs(reading - needed) > max(1, 0.15 * needed):
        problems.append(f"reading takes {needed} minutes at {WORDS_A_MINUTE} words a minute, the header says {reading}")
    if seconds is not None and abs(running - max(1, seconds / 60)) > max(0.75, 0.15 * running):
        problems.append(f"running takes {seconds / 60:.1f} minutes as measured, the header says {running}")
    return problems


def numbers_shown(notebook: NotebookNode) -> set[float]:
    """Returns all numbers that a lesson's outputs show, alternative texts of figures included."""
    shown = []
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            page = re.sub(r"data:image/[^\"']+", "", data.get("text/html", ""))
            alternative = " ".join(re.findall(r'alt="([^"]*)"', page))
            shown += [output.get("text", ""), html.unescape(re.sub(r"<[^>]+>", " ", page) + alternative)]
            shown += [data.get("text/plain", "")] if not page else []
    return {_value(found[0]) for found in re.finditer(r"\d+(?:,\d{3})*(?:\.\d+)?(?:e-?\d+)?", " ".join(shown))}


def numbers_in_code(notebook: NotebookNode) -> set[float]:
    """Returns all numbers that a lesson's code writes out."""
    code = " ".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    return {_value(found[0]) for found in re.finditer(r"(?<![\w.])\d[\d_]*(?:\.\d+)?(?:e-?\d+)?", code)}


def _is_among(number: str, percent: bool, printed: set[float], written: set[float]) -> bool:
    """Whether a number was shown: as it is, rounded to as many digits as the claim has, or as a share."""
    if number.endswith(" times"):
        return any(round(shown) == TIMES[number.split()[0].lower()] for shown in printed)
    value, decimals = _value(number), len(number.partition(".")[2])
    if (value in written and not percent) or value in printed:
        return True
    if percent:
        return any(round(100 * share, decimals) == value for share in printed if share <= 1)
    return (decimals > 0 or value >= 10) and any(round(shown, decimals) == value for shown in printed)


def _value(text: str) -> float:
    return float(text.replace(",", "").replace("_", ""))
