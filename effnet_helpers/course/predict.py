"""What `effnet predict` does: open a classifier, read pictures, write the table and the contact sheet, sum up."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from effnet_helpers import export, outputs, plotting, records
from effnet_helpers.course.display import count_progress
from effnet_helpers.data import printable
from effnet_helpers.models import ModelCard

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

SHEET = 20  # pictures on the contact sheet
LISTED = 10  # unreadable files that are named in the terminal; the table has all of them


def predict(model_path: Path, paths: Sequence[Path], out: Path, batch_size: int, console: Console) -> export.Summary:
    """Predicts pictures with a classifier and writes `out`, and a PNG beside it with the least certain ones.

    Args:
        model_path: See `export.open_classifier`.
        paths: See `export.find_pictures`.
        out: The table to write, ending in ".csv".
        batch_size: See `export.predict_files`.
        console: Where to show progress and the summary.

    Returns:
        The summary that was shown.

    Raises:
        ValueError: If the model or a path cannot be used, `out` has another ending, or something that is no earlier
            output of this command is where one of the two belongs.
    """
    out = out.expanduser()
    sheet = out.with_suffix(".png")
    if out.suffix.lower() != ".csv":
        raise ValueError(f"The table's name must end in .csv. Received: {str(out)!r}")
    outputs.check_free(export.PREDICTIONS, out)
    outputs.check_free(outputs.CONTACT_SHEET, sheet)
    found = export.find_pictures(paths)
    classify, card = export.open_classifier(model_path)
    with count_progress("predicting", console) as progress:
        options = {"batch_size": batch_size, "least_certain": SHEET, "progress": progress}
        summary = export.predict_to_csv(classify, card, found, out, **options)
    table = Table("predicted", Column("pictures", justify="right"))
    for name, count in summary.counts.items():
        table.add_row(escape(name), f"{count:,}")
    console.print(table)
    for line in _sentences(summary, found, out, card):
        console.print(line, soft_wrap=True, markup=False, highlight=False)
    images, titles = _least_certain(summary, found, card)
    if images:
        plotting.contact_sheet(images, titles, sheet, heading="Least certain first, as the model sees them")
        console.print(f"The {len(images)} least certain: {sheet}", soft_wrap=True, markup=False, highlight=False)
    elif outputs.CONTACT_SHEET.is_own(sheet):  # of an earlier run
        sheet.unlink()
    return summary


def _sentences(summary: export.Summary, found: export.Found, out: Path, card: ModelCard) -> Iterator[str]:
    yield f"{sum(summary.counts.values()):,} of {len(found.files):,} pictures predicted: {out}"
    if summary.alarms is not None:
        yield f"{summary.alarms:,} raise an alarm for {records.listed(map(printable, card.trust.alarm_classes))}"
    marked = [(name, "marked") for name in summary.none_of_these]
    most = f"{card.trust.most_false_marks:.0%}" if marked else ""
    none = f"may be none of the classes (so are up to {most} of those that are one)"
    for what, entries in ((none, marked), ("could not be read", summary.problems), ("passed over", found.others)):
        if entries:
            yield f"{len(entries):,} {what}:"
            yield from (f"  {printable(name)}: {reason}" for name, reason in entries[:LISTED])
        if len(entries) > LISTED:
            yield f"  … and {len(entries) - LISTED:,} more"


def _least_certain(summary: export.Summary, found: export.Found, card: ModelCard) -> tuple[list[np.ndarray], list[str]]:
    images, titles = [], []
    for answer in summary.least_certain.itertuples():
        file = found.files[answer.Index]
        try:
            images.append(export.read_pixels(card, file))
        except ValueError:  # gone since it was predicted
            continue
        name = _short(printable(file.name), 20)
        titles.append(f"{_short(answer.predicted, 14)} {answer.probability:.2f}\n{name}")
    return images, titles


def _short(text: str, width: int) -> str:
    """Cuts out the middle of what is too long: the end of a file's name often is what tells it from others."""
    return text if len(text) <= width else f"{text[: width // 2]}…{text[-(width - width // 2 - 1) :]}"
