"""The page that `effnet train` leaves beside a model: what was chosen and why, and how good it became."""

from __future__ import annotations

import base64
import io
import os
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from effnet_helpers import data, evaluation, machine, models, outputs, plotting, runtime, training
from effnet_helpers.course import ROOT, train_trust
from effnet_helpers.course.display import duration
from effnet_helpers.course.places import hiding
from effnet_helpers.course.train_settings import Settings, option
from effnet_helpers.data import ImageDataset, printable
from effnet_helpers.specs import parse_spec

import numpy as np
import pandas as pd
from jinja2 import Environment, PackageLoader
from PIL import Image

GENERATOR = '<meta name="generator" content="effnet-helpers">'
MISTAKES, CONFUSED = 12, 10  # so many are shown at most


def _is_report(path: Path) -> bool:
    if path.suffix.lower() not in (".html", ".htm") or not path.is_file():
        return False
    with path.open("rb") as file:
        return GENERATOR.encode() in file.read(500) and machine.is_as_written(path)


REPORT = outputs.Kind("a report of a training", _is_report, machine.note_written)


@dataclass(frozen=True)
class Trained:
    """What came of the phases of a training.

    Attributes:
        head: The training of the head.
        recipe: What was chosen for fine-tuning.
        fine: The fine-tuning.
        trust: What was learned about when to trust the model.
        test: Answers on the test split.
        folds: Answers of further models on all images, each by one that has not seen them, and how many models.
        pending: How many such models are still to come.
        seconds: Of each phase, by its name.
    """

    head: training.Fit
    recipe: training.Recipe
    fine: training.Fit
    trust: models.Trust
    test: evaluation.Report
    folds: tuple[evaluation.Report, int] | None
    pending: int
    seconds: Mapping[str, float]

    @property
    def cross_validated(self) -> list[str]:
        """What the folds say, or that they are to come, in a sentence; none without folds."""
        if self.pending:
            return [
                f"{self.pending} further models, each to be scored on a part of the images that it has not seen, are "
                "still being trained; this page is written again when they are done. If that was interrupted, the "
                "command below with --resume goes on."
            ]
        if not self.folds:
            return []
        report, count = self.folds
        return [f"Trained in the same way {count} times, each time without a part of the images, on those: {report}."]

    @property
    def verdict(self) -> str:
        """What fine-tuning brought, in a sentence."""
        before, after = (f"{100 * fit.val_accuracy:.1f} %" for fit in (self.head, self.fine))
        if self.fine.best_epoch and before == after:
            return f"Fine-tuning lowered the loss on validation images; the accuracy stays the head's, {after}."
        if self.fine.best_epoch:
            return f"Fine-tuning took the head's accuracy on validation images from {before} to {after}."
        return (
            f"Fine-tuning was not better than the head alone on validation images ({before}), so the model is the head "
            "on the network as it came."
        )


def write_report(
    path: Path, trained: Trained, settings: Settings, findings: data.Audit, dataset: ImageDataset, out: Path
) -> None:
    """Writes the page.

    Args:
        path: Where to, ending in ".html"; an earlier report that nobody changed is replaced.
        trained: What came of the training.
        settings: What was asked for.
        findings: Of the audit.
        dataset: What it was trained on.
        out: The model's file.

    Raises:
        ValueError: If there is another file at the path.
    """
    names = [printable(name) for name in dataset.class_names]  # those of folders need not be UTF-8, nor in the font
    test = evaluation.report_from_probabilities(trained.test.probabilities, trained.test.labels, names)
    val = dataset.sizes["val"]
    trust = train_trust.measure(trained.trust, trained.test, dataset.class_names)
    words = [word for name, value in settings.given.items() for word in (option(name), str(value))]
    command = shlex.join(["effnet", "train", settings.specification, "--out", str(out), *words])
    texts = {
        "title": out.stem,
        "command": command,
        "audit_command": shlex.join(["effnet", "audit", settings.specification]),
        "summary": [f"On test images: {test}.", *trained.cross_validated, trained.verdict],
        "made": f"{datetime.now():%Y-%m-%d %H:%M}, {runtime.describe()}",
        "audit": findings.headline,
        "findings": _rows(findings.summary.drop(columns="finding")),
        "left_out": [[printable(name), reason] for name, reason in dataset.left_out],
        "splits": _splits(dataset, names),
        "choices": _choices(trained.recipe, settings),
        "training": [f"Head: {trained.head}.", f"Fine-tuning: {trained.fine}."],
        "scores": [
            ["head alone", "validation", val, *_percent(trained.head.val_accuracy, val)],
            ["the model", "validation", val, *_percent(trained.fine.val_accuracy, val)],
            ["the model", "test, looked at once", len(test.labels), *_percent(test.accuracy, len(test.labels))],
            *(
                [f"{count} such models", "all, each left out once", (number := len(every.labels)),
                 *_percent(every.accuracy, number)]
                for every, count in ([trained.folds] if trained.folds else [])
            ),
        ],
        "per_class": _rows(test.per_class.round(2)),
        "confused": _confused(test),
        "trust": trust.sentences,
        "coverage": _rows(trust.coverage.drop(columns="single").round(3)),
        "minutes": [[name, duration(seconds)] for name, seconds in trained.seconds.items()],
        "total": duration(sum(trained.seconds.values())),
    }  # fmt: skip
    drawn = _figures(trained, test, trust.reliability)
    figures = {"figures": drawn, "mistakes": _mistakes(test, dataset), "generator": GENERATOR}
    environment = Environment(
        loader=PackageLoader("effnet_helpers.course"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    page = environment.get_template("train_report.html.j2").render(_hide(settings.specification, out)(texts) | figures)
    with outputs.replacing(REPORT, path) as folder:
        (folder / path.name).write_text(page, encoding="utf-8")


def _choices(recipe: training.Recipe, settings: Settings) -> list[list[str]]:
    """Every setting that is in effect: its name, its value, and why it is that."""
    values = {name: value for name, value in asdict(settings).items() if name not in recipe.reasons}
    chosen = [
        [name, value, "as asked for" if name in settings.given else "by default"]
        for name, value in list(values.items())[1:]
        if value or name in ("split_seed", "seed")
    ]
    chosen += [[name, getattr(recipe, name), why] for name, why in recipe.reasons.items()]
    return [[name.replace("_", " "), _short(value), why] for name, value, why in chosen]


def _hide(specification: str, out: Path) -> Callable[[Any], Any]:
    """Writes paths from the current folder, or so that they say nothing of this computer."""
    path = parse_spec(data.spec_of_path(specification))[1]
    given = [Path(each).expanduser() for each in (path, out) if os.path.isabs(Path(each).expanduser())]
    return hiding(ROOT, given)


def _figures(
    trained: Trained, test: evaluation.Report, reliability: Mapping[str, pd.DataFrame]
) -> dict[str, list[dict[str, str]]]:
    """Draws every figure; base64 and alternative text by where they belong."""
    fine = trained.fine
    every = fine.steps // len(fine.history["loss"])

    def curves(name: str, fit: training.Fit, x_label: str = "epoch") -> None:
        plotting.learning_curves({name: fit.history}, x_label, len(test.class_names), fit.best_epoch)

    drawn = {
        "head": lambda: curves("head", trained.head),
        "fine": lambda: curves("fine-tuned", fine, f"validation, every {every} steps"),
        "confusion": lambda: plotting.confusion(test),
        "recall": lambda: plotting.per_class_recall(test),
        "reliability": lambda: plotting.reliability_diagram(reliability),
    }
    figures = {}
    for name, draw in drawn.items():
        with plotting.collect() as collected:
            draw()
        figures[name] = [{"png": base64.b64encode(png).decode("ascii"), "alt": alt} for png, alt in collected]
    return figures


def _mistakes(test: evaluation.Report, dataset: ImageDataset) -> list[dict[str, str]]:
    """The wrong answers that the model was surest of, as thumbnails: made of pixels, they carry no EXIF."""
    shown = []
    for mistake in test.mistakes(MISTAKES):
        buffer = io.BytesIO()
        Image.fromarray(dataset.image("test", mistake.index)).save(buffer, "JPEG", quality=85)
        said = f"{mistake.true}, taken for {mistake.predicted} ({mistake.confidence:.2f})"
        name = printable(dataset.splits["test"].names[mistake.index])
        shown.append({"jpeg": base64.b64encode(buffer.getvalue()).decode("ascii"), "said": said, "name": name})
    return shown


def _splits(dataset: ImageDataset, names: Sequence[str]) -> list[list[Any]]:
    counts = [np.bincount(dataset.labels(split), minlength=dataset.num_classes) for split in dataset.sizes]
    rows = [[name, *(int(each[label]) for each in counts)] for label, name in enumerate(names)]
    return [*rows, ["all", *dataset.sizes.values()]]


def _confused(test: evaluation.Report) -> list[list[Any]]:
    errors = test.confusion - np.diag(np.diag(test.confusion))
    most = [np.unravel_index(i, errors.shape) for i in np.argsort(-errors, axis=None, kind="stable")[:CONFUSED]]
    names = test.class_names
    return [[names[true], names[taken], int(errors[true, taken])] for true, taken in most if errors[true, taken]]


def _percent(accuracy: float, images: int) -> tuple[str, str]:
    low, high = evaluation.accuracy_interval(round(accuracy * images), images)
    return f"{100 * accuracy:.1f} %", f"{100 * low:.1f}–{100 * high:.1f} %"


def _rows(table: pd.DataFrame) -> list[list[str]]:
    return [[_short(value) for value in row] for row in table.itertuples(index=False)]


def _short(value: Any) -> str:
    if isinstance(value, float | np.floating):
        return "–" if np.isnan(value) else f"{value:.3g}"
    return str(value)
