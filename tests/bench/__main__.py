"""`make bench`: measures the rows that are asked for, shows them in a table and keeps them in a CSV file."""

from __future__ import annotations

import importlib
import importlib.metadata
import traceback
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

from effnet_helpers.course import ROOT

import typer
from rich.console import Console

from .harness import Record, Row, Settings, read_records, replace_row, table, to_record
from .summary import chart

ROWS = (
    "start",
    "pipeline",
    "serving",
    "head",
    "step",
    "fine-tune",
    "accuracy",
    "few-labels",
    "conformal",
    "distributed",
    "recipes",
    "sweep",
    "tips",
    "trust",
    "memory",
    "growth",
    "series",
)
ON_REQUEST = ("conformal", "distributed", "recipes", "sweep", "tips", "trust")
"""Rows of which a second measurement tells nothing new: they add to their own table what is missing in it. And one for
which processes need a network of their own, which not every system gives them."""
OUT = ROOT / "notebooks" / "results" / "bench.csv"
CHART = ROOT / "notebooks" / "figures" / "bench.png"
TINY_OUT = ROOT / "runs" / "bench-tiny.csv"
PACKAGES = ("tensorflow", "keras", "numpy", "scikit-learn", "ai-edge-litert", "onnxruntime")
FAILED, REFUSED = 1, 2

ROWS_HELP = f"{', '.join(ROWS)}. All but {', '.join(ON_REQUEST)} if none."
Rows = Annotated[list[str] | None, typer.Argument(metavar="[ROW]...", help=ROWS_HELP)]
Rounds = Annotated[int, typer.Option(min=1, help="Measurements of each side; their median counts.")]
Seeds = Annotated[int, typer.Option(min=1, help="Seeds in the rows accuracy and few-labels, minutes each.")]
Trainings = Annotated[int, typer.Option(min=1, help="Trainings of each side in the row fine-tune, many minutes each.")]
Out = Annotated[Path | None, typer.Option(help="The CSV file.", show_default="notebooks/results/bench.csv")]
Sets = Annotated[
    Path | None, typer.Option(help="A folder of the image sets that recipes.py names.", file_okay=False, exists=True)
]
Tiny = Annotated[bool, typer.Option("--tiny", help="Only try the code, on a few images; the figures mean nothing.")]

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def bench(
    rows: Rows = None, rounds: Rounds = 5, seeds: Seeds = 5, trainings: Trainings = 1, out: Out = None,
    sets: Sets = None, tiny: Tiny = False,
) -> None:  # fmt: skip
    """Compares this package with published recipes, in turns, and says whether the ratios meet their targets."""
    console = Console()
    if unknown := [row for row in rows or () if row not in ROWS]:
        raise _refusal(console, f"There are the rows {', '.join(ROWS)}. Received: {', '.join(unknown)}")
    out = out or (TINY_OUT if tiny else OUT)
    if tiny and out.resolve() == OUT.resolve():
        raise _refusal(console, f"The figures of --tiny mean nothing and do not go to {out.name}. Name another: --out")
    try:
        read_records(out)  # a file that cannot be added to is better noticed before the minutes than after
    except ValueError as error:
        raise _refusal(console, str(error)) from None
    out.parent.mkdir(parents=True, exist_ok=True)
    counts = (1, 1, 1) if tiny else (rounds, seeds, trainings)
    settings = Settings(*counts, tiny, out.parent, sets)
    chosen = [load(name) for name in ROWS if name in (rows or set(ROWS) - set(ON_REQUEST))]
    console.print(announcement(chosen, settings), soft_wrap=True, highlight=False)
    failed = [row.id for row in chosen if not _measure(row, settings, out, console)]
    console.print(table([record for record in read_records(out) if record.row in [row.id for row in chosen]]))
    console.print(f"Wrote {out}", soft_wrap=True, markup=False, highlight=False)
    if out.resolve() == OUT.resolve():
        chart(read_records(out), CHART)
    if failed:
        console.print(f"Failed: {', '.join(failed)}", style="red")
        raise typer.Exit(FAILED)


def load(name: str) -> Row:
    """Imports the module of a row; most take TensorFlow with them."""
    return importlib.import_module(f".{name.replace('-', '_')}", __package__).ROW


def announcement(rows: list[Row], settings: Settings) -> str:
    """Says which rows will be measured, and how long that takes."""
    minutes = sum(row.minutes(settings) for row in rows)
    names = ", ".join(row.id for row in rows)
    if settings.tiny:
        return f"{names}: a try of the code; the figures mean nothing"
    return f"{names}: about {max(1, round(minutes))} min on two CPU cores without other work"


def _measure(row: Row, settings: Settings, out: Path, console: Console) -> bool:
    """Runs a row and keeps what it gives; returns whether it came to its end."""
    started = datetime.now(UTC)
    console.print(f"{started:%H:%M:%S} {row.id}: {row.title}", soft_wrap=True, markup=False, highlight=False)
    try:
        lines = list(row.run(settings))
    except Exception:  # the other rows can still be measured
        traceback.print_exc()
        return False
    machine, versions = _where()
    records = [to_record(row.id, line, f"{started:%Y-%m-%d}", machine, versions) for line in lines]
    replace_row(out, row.id, [_marked(record) if settings.tiny else record for record in records])
    return True


def _marked(record: Record) -> Record:
    return Record(**{**vars(record), "met": "", "detail": f"TINY, means nothing; {record.detail}"})


def _where() -> tuple[str, str]:
    """The machine and the versions, each as one cell of the table."""
    from effnet_helpers import runtime

    machine = runtime.describe()
    gpus = ", ".join(machine.gpus) or "no GPU"
    versions = [f"Python {machine.python}"]
    for name in PACKAGES:
        try:
            versions.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:  # runtimes are optional
            continue
    return f"{machine.system}, {machine.cores} CPU cores, {machine.memory_gb:.0f} GB, {gpus}", "; ".join(versions)


def _refusal(console: Console, message: str) -> typer.Exit:
    console.print(message, style="red", soft_wrap=True, markup=False, highlight=False)
    return typer.Exit(REFUSED)


if __name__ == "__main__":
    app(prog_name="make bench ROW=… ARGS=…")
