"""Measure two ways of doing one thing in turns, judge the ratio by a target, and keep the result in a table.

Every figure here is a cost, such as seconds, milliseconds an image or megabytes: less is better.
"""

from __future__ import annotations

import csv
import os
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from rich.box import SIMPLE
from rich.markup import escape
from rich.table import Table

Side = Callable[[], float]
"""Does its work once and returns what that cost."""


SIGNS = {"times": "≥", "share": "≤", "below": "<", "at most": "≤"}
ROUNDING = 1e-9
"""What a mean of fractions may be off by."""


@dataclass(frozen=True)
class Target:
    """What a comparison should come to, and how its two costs make the ratio.

    Attributes:
        kind: "times" wants our cost to go into theirs `value` times or more, "share" wants ours to be at most `value`
            of theirs, "below" wants ours to be under `value` whatever theirs is, "at most" wants no more than that.
        value: the bound.
        unit: of an absolute bound, for display.
    """

    kind: str
    value: float
    unit: str = ""

    def __post_init__(self) -> None:
        if self.kind not in SIGNS:
            raise ValueError(f"The kind of a target is one of {', '.join(SIGNS)}. Received: {self.kind!r}")

    def __str__(self) -> str:
        return f"{SIGNS[self.kind]} {self.value:g} {self.unit or '×'}"

    def is_met(self, ours: float, ratio: float | None) -> bool:
        """Says whether a result meets it; a figure that is not a number never does."""
        if self.kind in ("below", "at most"):
            return ours < self.value or (self.kind == "at most" and ours <= self.value + ROUNDING)
        if ratio is None:  # ours costs nothing
            return True
        return ratio >= self.value if self.kind == "times" else ratio <= self.value


@dataclass(frozen=True)
class Line:
    """One comparison.

    Attributes:
        what: is compared.
        ours: what it costs with this package.
        theirs: what it costs the other way; None where there is no other way.
        unit: of both.
        target: for the ratio, or None where the ratio is only stated: how many times ours goes into theirs.
        rounds: how many measurements a side the figures are the medians of.
        detail: what else was measured: accuracy, spread.
        as_good: whether ours is at least as good in what must not get worse, such as accuracy.
    """

    what: str
    ours: float
    theirs: float | None
    unit: str
    target: Target | None
    rounds: int
    detail: str = ""
    as_good: bool = True

    @property
    def ratio(self) -> float | None:
        """Our cost as a share of theirs where the target is a share, else how many times it goes into theirs.

        None where there is no other way, or ours costs nothing.
        """
        if self.theirs is None or not self.ours:
            return None
        is_share = self.target is not None and self.target.kind == "share"
        return self.ours / self.theirs if is_share else self.theirs / self.ours

    @property
    def met(self) -> bool | None:
        """Whether the target is met, at no loss; None without a target."""
        return None if self.target is None else self.as_good and self.target.is_met(self.ours, self.ratio)


@dataclass(frozen=True)
class Settings:
    """How to measure.

    Attributes:
        rounds: measurements of each side of a comparison.
        seeds: of training, or of draws, where accuracy is measured.
        trainings: of each side in the row fine-tune, where one takes many minutes.
        tiny: whether to try the code only.
        folder: where a row puts a table of its own, beside the CSV file of all rows.
        sets: a folder of the image sets that the row recipes names, or None for those at hand alone.
    """

    rounds: int = 5
    seeds: int = 5
    trainings: int = 1
    tiny: bool = False
    folder: Path = Path()
    sets: Path | None = None


@dataclass(frozen=True)
class Row:
    """Comparisons that are measured together.

    Attributes:
        id: to ask for it by.
        title: what it compares.
        minutes: how long it takes with default settings on two CPU cores without other work, given the settings.
        run: measures; yields each `Line` when it is known.
    """

    id: str
    title: str
    minutes: Callable[[Settings], float]
    run: Callable[[Settings], Iterator[Line]]


@dataclass(frozen=True)
class Measured:
    """The costs of each side, round by round."""

    costs: Mapping[str, Sequence[float]]

    def median(self, side: str) -> float:
        """The median cost of a side."""
        return statistics.median(self.costs[side])

    def cheapest(self, sides: Iterable[str]) -> str:
        """The one of these sides with the lowest median."""
        return min(sides, key=self.median)

    def spread(self, side: str) -> str:
        """The lowest and highest cost of a side as text."""
        return f"{_digits(min(self.costs[side]))} to {_digits(max(self.costs[side]))}"

    def compare(
        self,
        what: str,
        ours: str,
        theirs: str,
        target: Target | None,
        unit: str,
        *,
        times: float = 1,
        detail: str = "",
        as_good: bool = True,
    ) -> Line:
        """Makes a line of the medians of two sides.

        Args:
            what: is compared.
            ours: a side.
            theirs: another.
            target: for the ratio of their medians, or None.
            unit: of the costs.
            times: how many of what was measured theirs takes in all, such as 25 epochs.
            detail: what else was measured; the spread of both sides is added.
            as_good: see `Line`.
        """
        each = f" an epoch, × {times:g}" if times != 1 else ""
        spread = f"ours {self.spread(ours)}, theirs {self.spread(theirs)}{each}"
        rounds = len(self.costs[ours])
        text = "; ".join(part for part in (detail, spread) if part)
        return Line(what, self.median(ours), self.median(theirs) * times, unit, target, rounds, text, as_good)


def interleaved(sides: Mapping[str, Side], rounds: int, *, warm_up: bool = True) -> Measured:
    """Measures sides in turns (A B A B …), so that whatever else the machine does falls on all of them alike.

    Args:
        sides: what to measure, by name; in each round one after the other, in this order.
        rounds: measurements of each side.
        warm_up: whether to run every side once before, and forget what that cost.

    Returns:
        The costs.

    Raises:
        ValueError: if there is no round.
    """
    if rounds < 1:
        raise ValueError(f"There must be one round or more. Received: rounds={rounds}")
    if warm_up:
        for side in sides.values():
            side()
    costs = {name: [] for name in sides}
    for _ in range(rounds):
        for name, side in sides.items():
            costs[name].append(side())
    return Measured(costs)


def timed(work: Callable[[], object], per: float = 1) -> Side:
    """Makes a side of some work: seconds, divided by `per`; 0.032 makes milliseconds an image of 32 images."""

    def side() -> float:
        started = time.perf_counter()
        work()
        return (time.perf_counter() - started) / per

    return side


@dataclass(frozen=True)
class Record:
    """A line of the CSV file: a `Line` as text, the row it belongs to, and where and when it was measured."""

    row: str
    what: str
    ours: str
    theirs: str
    unit: str
    ratio: str
    target: str
    met: str
    rounds: str
    detail: str
    date: str
    machine: str
    versions: str


def _digits(number: float) -> str:
    """Three significant digits and no exponent: a median of five is no more certain than that."""
    return f"{number:.0f}" if number >= 100 else f"{number:.3g}"


COLUMNS = tuple(field.name for field in fields(Record))


def to_record(row: str, line: Line, date: str, machine: str, versions: str) -> Record:
    """Writes a line out; what does not apply stays empty."""
    return Record(
        row,
        line.what,
        _digits(line.ours),
        "" if line.theirs is None else _digits(line.theirs),
        line.unit,
        "" if line.ratio is None else _digits(line.ratio),
        "" if line.target is None else str(line.target),
        {None: "", True: "yes", False: "no"}[line.met],
        str(line.rounds),
        line.detail,
        date,
        machine,
        versions,
    )


def read_records(path: Path) -> list[Record]:
    """Reads the file that `replace_row` writes; none if there is no such file.

    Raises:
        ValueError: if its columns are others.
    """
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        header, *rows = list(csv.reader(file)) or [[]]
    if tuple(header) != COLUMNS:
        raise ValueError(f"Expected the columns {', '.join(COLUMNS)}. Received: {', '.join(header)} in {path.name}")
    return [Record(*row) for row in rows]


def replace_row(path: Path, row: str, records: Sequence[Record]) -> None:
    """Puts a row's lines in the place of those it had in the file, or at the end; the others stay.

    The new file takes the old one's place once it is complete, so that a run that is killed loses nothing.
    """
    before = read_records(path)
    place = next((i for i, record in enumerate(before) if record.row == row), len(before))
    others = [record for record in before if record.row != row]
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(path.name + ".part")
    with unfinished.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(astuple(record) for record in [*others[:place], *records, *others[place:]])
    os.replace(unfinished, path)


def table(records: Sequence[Record]) -> Table:
    """What is shown in the terminal: what, ours, theirs, their unit, ratio, target, and whether it is met."""
    shown = Table(box=SIMPLE, pad_edge=False)
    shown.add_column("what", min_width=22)
    for column in ("ours", "theirs"):
        shown.add_column(column, justify="right", no_wrap=True)
    shown.add_column("unit", no_wrap=True)
    for column in ("ratio", "target"):
        shown.add_column(column, justify="right", no_wrap=True)
    shown.add_column("met", no_wrap=True)
    colours = {"yes": "green", "no": "bold red", "": "default"}
    row = None
    for record in records:
        if row not in (None, record.row):
            shown.add_section()
        row = record.row
        met = f"[{colours[record.met]}]{record.met}[/]"
        cells = (record.what, record.ours, record.theirs, record.unit, record.ratio, record.target)
        shown.add_row(*map(escape, cells), met)
    return shown
