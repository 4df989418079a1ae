"""What a run shows in the terminal: a line per notebook while it works, and a closing table."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from effnet_helpers.course.execute import CellCallback, Outcome

from rich import progress
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

if TYPE_CHECKING:
    import pandas as pd

ACCURACIES = ("test_accuracy", "val_accuracy")  # come first
MAIN_FIGURES = 4  # as many recorded values fit a table; metrics.json has all of them


class LiveProgress(progress.Progress):
    """Shows which notebooks and cells run and for how long; where there is no terminal, a line per start and end."""

    def __init__(self, names: Iterable[str], console: Console) -> None:
        spinner, text = progress.SpinnerColumn(finished_text=" "), progress.TextColumn("{task.description}")
        super().__init__(spinner, text, progress.TimeElapsedColumn(), console=console, disable=not console.is_terminal)
        self._by_name = {name: self.add_task(f"{name}  waiting", start=False, total=1) for name in names}

    def begin(self, name: str) -> CellCallback:
        """Marks a notebook as running; the returned function is to be called at each of its code cells."""
        task = self._by_name[name]
        self.start_task(task)
        self.update(task, description=f"{name}  starting")
        self._say(f"{name} started")

        def on_cell(number: int, total: int, heading: str) -> None:
            self.update(task, description=escape(f"{name}  cell {number}/{total}  {heading}"))

        return on_cell

    def mark_ended(self, name: str, outcome: Outcome) -> None:
        """Marks a notebook as ended, and says at once why if it failed."""
        self.update(self._by_name[name], description=f"{name}  {outcome.status}", completed=1)
        memory = f"{outcome.usage.peak_memory_mb:,.0f}"
        self._say(f"{name} {outcome.status} in {duration(outcome.seconds)} min, peak memory {memory} MB")
        if outcome.error:
            self.console.print(f"{name}, {failure_line(outcome)}", style="red", markup=False, highlight=False)

    def _say(self, line: str) -> None:
        if not self.console.is_terminal:
            line = f"{time.strftime('%H:%M:%S')} {line}"
            self.console.print(line, markup=False, highlight=False, soft_wrap=True)


def duration(seconds: float) -> str:
    """Formats seconds as minutes and seconds, such as `2:05`."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def main_figures(outcome: Outcome) -> list[str]:
    """Returns the accuracies and the first few other recorded values as texts, or the error of a failed notebook."""
    if outcome.error:
        return [failure_line(outcome)]
    records = sorted(outcome.records.items(), key=lambda record: record[0] not in ACCURACIES)
    shown = [f"{name} {short(value)}" for name, value in records]
    more = len(shown) - MAIN_FIGURES
    return [*shown[:MAIN_FIGURES], f"… {more} more in metrics.json"] if more > 0 else shown


def accuracies(choosing: bool) -> tuple[str, ...]:
    """The accuracies in the order to show them; validation first where settings are compared: test does not choose."""
    return ACCURACIES[::-1] if choosing else ACCURACIES


def failure_line(outcome: Outcome) -> str:
    """Says in one line where a notebook stopped and why."""
    heading = f" ({outcome.heading})" if outcome.heading else ""
    return f"cell {outcome.cell}{heading}: {outcome.error}" if outcome.cell else str(outcome.error)


def summary_table(outcomes: dict[str, Outcome]) -> Table:
    """Returns the closing table: notebook, status, minutes, peak memory, main figures."""
    numbers = [Column(name, justify="right", no_wrap=True) for name in ("min:s", "peak MB")]
    table = Table(Column("notebook", no_wrap=True), Column("status", no_wrap=True), *numbers, "main figures")
    table.columns[-1].overflow = "fold"
    for name, outcome in outcomes.items():
        status = "[green]ok[/]" if outcome.status == "ok" else f"[bold red]{outcome.status}[/]"
        minutes, memory = duration(outcome.seconds), f"{outcome.usage.peak_memory_mb:,.0f}"
        table.add_row(name, status, minutes, memory, escape("\n".join(main_figures(outcome))))
    return table


def seeds_table(statistics: pd.DataFrame, settings: Sequence[str]) -> Table:
    """Returns the table over seeds from `seeds.seed_statistics`, in which these parameters are told apart."""
    measures = ("mean ± standard deviation", "95 % interval", "minimum … maximum", "seeds")
    table = Table("notebook", *settings, "figure", *measures)
    for _, row in statistics.iterrows():
        repeated = row["seeds"] > 1
        mean = short(row["mean"]) + (f" ± {row['standard_deviation']:.2g}" if repeated else "")
        interval = f"{short(row['low'])} … {short(row['high'])}" if repeated else "–"
        extremes = f"{short(row['minimum'])} … {short(row['maximum'])}"
        told = (row["notebook"], *row[list(settings)], row["figure"])
        table.add_row(*map(escape, told), mean, interval, extremes, str(row["seeds"]))
    return table


def audit_table(summary: pd.DataFrame) -> Table:
    """Returns the table of an audit from its summary, a line for each kind of finding."""
    table = Table("finding", Column("files", justify="right"), "for example", "what to do")
    colours = {"error": "red", "warning": "yellow", "note": "default"}
    for row in summary.itertuples():
        finding = f"[{colours[row.severity]}]{row.severity}[/] {escape(row.meaning)}"
        table.add_row(finding, f"{row.files:,}", escape(row.example), escape(row.cure))
    return table


@contextmanager
def count_progress(verb: str, console: Console) -> Iterator[Callable[[int, int], None]]:
    """Shows how many files of how many are done; where there is no terminal, nothing."""
    columns = verb, progress.BarColumn(), progress.MofNCompleteColumn(), progress.TimeRemainingColumn()
    with progress.Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as shown:
        task = shown.add_task(verb, total=None)
        yield lambda done, total: shown.update(task, completed=done, total=total)


def short(value: Any) -> str:
    """Writes a recorded value with four digits."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
