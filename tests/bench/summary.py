"""What the README shows of the results: a small table and one chart, both made from the CSV file."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path

from effnet_helpers.plotting import style
from effnet_helpers.plotting.style import BLUE, GREY, VERMILLION

import matplotlib.pyplot as plt
import pandas as pd

from .harness import Record
from .series import ALL, BUSY, SECONDS, WAYS


def markdown(records: Sequence[Record]) -> str:
    """A Markdown table of the lines that have a target."""
    rows = [
        f"| {record.what} | {record.ours} {record.unit} | {_or_dash(record.theirs, record.unit)} | "
        f"{_or_dash(record.ratio, '×')} | {record.target} | {record.met} |"
        for record in records
        if record.target
    ]
    return "\n".join(["| what | ours | theirs | ratio | target | met |", "|---|---|---|---|---|---|", *rows])


def series_markdown(path: Path) -> str:
    """A Markdown table of the seconds of each lesson and of the series, from the file that the row `series` writes."""
    rows = ["| lesson | first | run again | what takes longest |", "|---|---|---|---|"]
    lessons = pd.read_csv(path).set_index(["lesson", "section"])
    for lesson, sections in lessons.drop(ALL, level="lesson").groupby(level="lesson"):
        longest = sections["now"].idxmax()[1]
        remark = f"{longest}, {sections['now'].max():.0f} s"
        rows.append(f"| {lesson.partition('_')[0]} | {_cells(sections.sum(min_count=1), '{:.0f} s')} | {remark} |")
    whole, busy = lessons.loc[(ALL, SECONDS)], lessons.loc[(ALL, BUSY)]
    rows.append(f"| all, by the clock | {_cells(whole, '{:.0f} s')} | |")
    rows.append(f"| share of two cores busy | {_cells(busy, '{:.0%}')} | |")
    return "\n".join(rows)


def _cells(values: pd.Series, form: str) -> str:
    return " | ".join("–" if pd.isna(values[way]) else form.format(values[way]) for way in WAYS)


@style.styled
def chart(records: Sequence[Record], path: Path) -> None:
    """Draws how many times each cost of ours goes into theirs, with the target as a mark, and writes it as PNG.

    Only lines whose target is for the ratio are drawn; without any, nothing is.
    """
    rows = [record for record in records if record.target.endswith("×") and record.ratio]
    if not rows:
        return
    times = [_times(record.ratio, record) for record in rows]
    targets = [_times(record.target.strip("≥≤ ×"), record) for record in rows]
    fig, ax = plt.subplots(figsize=(9, 1 + 0.5 * len(rows)))
    places = range(len(rows))
    ax.hlines(places, times, targets, color=GREY, lw=1.2, ls=":", zorder=1)
    ax.plot(targets, places, "|", color=VERMILLION, ms=18, mew=3, label="target")
    for kind, fill in (("met", BLUE), ("missed", "white")):
        of_kind = [place for place in places if (rows[place].met == "yes") == (kind == "met")]
        look = {"color": BLUE, "mfc": fill, "mew": 2, "ms": 9, "label": kind}
        ax.plot([times[place] for place in of_kind], of_kind, "o", **look)
    for place, value, target in zip(places, times, targets, strict=True):
        ax.text(max(value, target, 1) * 1.2, place, f"{value:.3g} ×", va="center")
    ax.axvline(1, color="black", lw=1)
    ax.grid(axis="y")
    ax.set_xscale("log")
    least, most = min(0.5, *(0.8 * value for value in times)), 3 * max(times)
    ticks = [tick for tick in (0.1, 0.3, 1, 3, 10, 30, 100) if least <= tick <= most]
    ax.set_xticks(ticks, [f"{tick:g} ×" for tick in ticks])
    ax.set_xticks([], minor=True)
    ax.set_yticks(places, [textwrap.fill(record.what.split(": ")[0], 36) for record in rows])
    ax.set(
        xlim=(least, most),
        ylim=(len(rows) - 0.5, -0.5),
        xlabel="their cost / ours (logarithmic): further right is better",
    )
    fig.legend(loc="outside upper right", ncols=3)
    said = (
        f"{r.what}: {value:.3g} times, target {target:.3g}"
        for r, value, target in zip(rows, times, targets, strict=True)
    )
    style.save(fig, f"Their cost divided by ours. {'; '.join(said)}.", path)


def _times(number: str, record: Record) -> float:
    """A ratio as how many times our cost goes into theirs; a share says the opposite."""
    return 1 / float(number) if record.target.startswith("≤") else float(number)


def _or_dash(number: str, unit: str) -> str:
    return f"{number} {unit}" if number else "–"
