"""What a classifier says of one picture, in the words of the page: the same functions as `effnet predict`."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from effnet_helpers import evaluation, export, models, preprocessing, records
from effnet_helpers.data import printable
from effnet_helpers.models import ModelCard
from effnet_helpers.runtime import keras

import numpy as np
from PIL import Image

MAX_BYTES = 20 * 2**20  # of a picture's file
MAX_PIXELS = 64_000_000  # of a picture: 200 MB as RGB, and some copies of it while it is read
NAMED = 12  # classes that are named, where there are more
KINDS = "JPEG, PNG, WebP, BMP and GIF"
NO_MAP = "Where the model looked can be shown for .keras files only."


@dataclass(frozen=True)
class Opened:
    """A classifier that is ready to answer.

    Attributes:
        predict: Its answers, from `export.open_classifier`.
        card: What must be known to use it.
        model: The network itself, which tells where it looked; None of an exported file, which does not.
    """

    predict: Callable[[np.ndarray], np.ndarray]
    card: ModelCard
    model: keras.Model | None = None

    @property
    def about(self) -> tuple[str, ...]:
        """What it was trained on, what it tells apart and how often it was right, in sentences."""
        card = self.card
        names = [printable(name) for name in card.class_names]
        more = f" … and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
        told = f" trained on pictures of “{printable(card.trained_on)}”" if card.trained_on else ""
        known = f"A model{told} tells {len(names):,} classes apart: {records.listed(names[:NAMED])}{more}."
        if not card.tested:
            return known, "Nobody wrote down how often it is right."
        right, images = card.tested
        low, high = evaluation.accuracy_interval(right, images)
        share = f"{right / images:.0%}, give or take what chance does: {low:.0%} to {high:.0%} (95% interval)"
        when = f", before it was exported as {card.precision}" if isinstance(card, export.Contract) else ""
        tested = f"It was right about {right:,} of {images:,} test pictures, from which it had not learned"
        return known, f"{tested}{when}: {share}."


@dataclass(frozen=True)
class Verdict:
    """Whether to trust an answer.

    Attributes:
        kind: "clear", "doubtful", "none" (of the classes) or "unknown" (the model's card does not say).
        heading: The verdict in a few words.
        reason: What it stands on, in sentences.
    """

    kind: str
    heading: str
    reason: str


@dataclass(frozen=True, eq=False)
class Answer:
    """What a classifier says of one picture.

    Attributes:
        probabilities: `(name, probability)` of each class, most probable first.
        verdict: Whether to trust it.
        alarm: A sentence where the model raises an alarm, else empty.
        picture: The picture as the model saw it, uint8 `(height, width, 3)`.
        evidence: Where in it the answer came from, float32 `(rows, columns)`, 0 and above, from `evaluation.grad_cam`;
            None where that cannot be told.
        why_no_map: Why it cannot.
    """

    probabilities: tuple[tuple[str, float], ...]
    verdict: Verdict
    alarm: str
    picture: np.ndarray
    evidence: np.ndarray | None
    why_no_map: str = ""

    def __str__(self) -> str:
        name, probability = self.probabilities[0]
        return f"{name}, {percent(probability)}. {self.verdict.heading}"

    @property
    def spotlight(self) -> np.ndarray:
        """The picture, darkened where it did not speak for the answer: uint8 `(height, width, 3)`."""
        if self.evidence is None or not self.evidence.max() > 0:
            return self.picture
        share = Image.fromarray(self.evidence / self.evidence.max())
        light = np.asarray(share.resize(self.picture.shape[1::-1], Image.Resampling.BICUBIC)).clip(0, 1)
        return np.uint8(self.picture * (0.25 + 0.75 * light[:, :, np.newaxis]))

    @property
    def brightest(self) -> str:
        """Where the evidence is strongest: "upper left", "middle"; empty where there is none."""
        if self.evidence is None or not self.evidence.max() > 0:
            return ""
        place = np.unravel_index(self.evidence.argmax(), self.evidence.shape)
        row, column = (int(3 * (at + 0.5) / length) for at, length in zip(place, self.evidence.shape, strict=True))
        words = " ".join(filter(None, (("upper", "", "lower")[row], ("left", "", "right")[column])))
        return words or "middle"


def open_model(path: str | os.PathLike) -> Opened:
    """Opens a saved or an exported classifier.

    Args:
        path: See `export.open_classifier`.

    Returns:
        An `Opened`.

    Raises:
        ValueError: See `export.open_classifier`.
        ImportError: See `export.open_classifier`.

    Example:
        >>> opened = serving.open_model("model.keras")
        >>> print(serving.look(opened, "photo.jpg"))
        cat, 98%. Only one class fits: cat
    """
    if Path(path).suffix == ".keras":
        model, card = models.load(path)
        return Opened(export.keras_classifier(model, card), card, model)
    return Opened(*export.open_classifier(path))


def look(opened: Opened, path: str | os.PathLike) -> Answer:
    """Says what is on a picture.

    Args:
        opened: From `open_model`.
        path: The picture's file.

    Returns:
        An `Answer`. Its numbers are those of `export.predict_files`.

    Raises:
        ValueError: If the file is too large, or no picture; the message is one sentence for who chose it.
    """
    card, path = opened.card, Path(path)
    if path.is_file() and path.stat().st_size > MAX_BYTES:
        raise ValueError(too_large(path.stat().st_size))
    size = preprocessing.picture_size(path)
    if size and size[0] * size[1] > MAX_PIXELS:
        pixels = f"{size[0] * size[1] / 1e6:,.0f} million pixels"
        raise ValueError(
            f"This picture has {pixels}, and at most {MAX_PIXELS / 1e6:.0f} million are read: make it smaller."
        )
    picture, problem = export.try_to_read(card, path)
    if picture is None:
        raise ValueError(f"This file cannot be read as a picture ({printable(problem)}): {KINDS} can be.")
    pixels = np.float32(picture[np.newaxis])
    probabilities, judged = export.judge(opened.predict, card, pixels)
    best, (evidence, why) = int(probabilities[0].argmax()), (None, NO_MAP)
    if opened.model is not None:
        try:
            evidence, why = evaluation.grad_cam(opened.model, pixels, best)[0], ""
        except ValueError:  # a network of another make, which has no such blocks
            why = "Where this network looked cannot be shown: it has not the layers of this course's."
    order = np.argsort(-probabilities[0], kind="stable")
    named = tuple((printable(card.class_names[index]), float(probabilities[0, index])) for index in order)
    alarm = ""
    if judged is not None and judged.alarm is not None and judged.alarm[0]:
        alarm = f"This may be {_listed(card.trust.alarm_classes)}, which must not slip through."
    return Answer(named, _verdict(card, judged, best), alarm, picture, evidence, why)


def percent(share: float) -> str:
    """Writes a probability as a percentage that claims neither certainty nor impossibility."""
    return "under 1%" if share < 0.005 else "over 99%" if share > 0.995 else f"{share:.0%}"


def too_large(size: int) -> str:
    """Says in a sentence that a file of so many bytes is not taken."""
    return f"This file has {size / 2**20:,.0f} MB, and at most {MAX_BYTES / 2**20:.0f} MB are taken: make it smaller."


def _verdict(card: ModelCard, judged: evaluation.Judged | None, best: int) -> Verdict:
    trust = card.trust
    if judged is None:
        reason = "The model's card does not say when to trust it, and a high percentage alone proves nothing."
        return Verdict("unknown", "Whether to trust this is not known", reason)
    if judged.none_of_these[0]:
        reason = (
            "It looks unlike what the model learned from, or fits no class well. Of pictures that do show one of the "
            f"classes, up to {trust.most_false_marks:.0%} are marked so by mistake."
        )
        return Verdict("none", "This may be none of the classes", reason)
    # A class may lie below its own bar and still be the most probable one; naming one more breaks no promise.
    inside = [index == best or held for index, held in enumerate(judged.sets[0])]
    names = [name for name, held in zip(card.class_names, inside, strict=True) if held]
    reason = (
        "For pictures like those it learned from, the right class is among the ones named here in "
        f"{trust.coverage:.0%} of cases."
    )
    if len(names) == 1:
        return Verdict("clear", f"Only one class fits: {printable(names[0])}", reason)
    return Verdict("doubtful", f"Doubtful: it may be {_listed(names)}", reason)


def _listed(names: list[str] | tuple[str, ...]) -> str:
    shown = [printable(name) for name in names]
    if len(shown) > NAMED:
        return f"{', '.join(shown[:NAMED])} or one of {len(shown) - NAMED:,} more"
    return " or ".join(filter(None, (", ".join(shown[:-1]), shown[-1])))
