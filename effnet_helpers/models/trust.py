"""What travels with a model so that whoever uses it knows when to trust an answer."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass

from effnet_helpers.records import check, expect, listed

import numpy as np

MOST, ABOVE_1 = 100.0, 1.001  # above any entropy and distance; what probabilities and their sums are rounded to


@dataclass(frozen=True, kw_only=True)
class Trust:
    """What validation images taught about a model's answers; made by `evaluation.fit_trust`, kept in the card.

    Attributes:
        images: How many images it was learned from.
        kept_apart: Whether these chose nothing else; where images were few, they also chose between weights.
        temperature: By which log-probabilities are divided. All else refers to probabilities at this temperature.
        coverage: The share of pictures whose set of classes holds the right one.
        set_thresholds: For each class the probability from which it enters the set.
        false_marks: The share of pictures of the classes that may be marked as none of them.
        doubt: Entropy of the probabilities, in nats, above which a picture is marked.
        distance: From the nearest class centre, above which a picture is marked; None where there are no centres.
        centres: Of the classes in feature space, as base64 of float16 `(classes, channels)`.
        alarm_classes: Which must not slip through; none where no operating point was chosen.
        alarm_recall: The share of them that is to be found.
        alarm_threshold: Where their probabilities add up to this, an alarm is raised.
        alarm_promised: Whether there were images enough to promise that recall.
    """

    images: int
    kept_apart: bool
    temperature: float
    coverage: float
    set_thresholds: tuple[float, ...]
    false_marks: float
    doubt: float
    distance: float | None = None
    centres: str | None = None
    alarm_classes: tuple[str, ...] = ()
    alarm_recall: float | None = None
    alarm_threshold: float | None = None
    alarm_promised: bool | None = None

    def __post_init__(self) -> None:
        for name in ("set_thresholds", "alarm_classes"):
            object.__setattr__(self, name, tuple(getattr(self, name)))

    @property
    def most_false_marks(self) -> float:
        """The share to be expected at most: `false_marks`, or more where images are too few for each score's part."""
        scores = 1 if self.distance is None else 2
        return min(1.0, max(self.false_marks, scores / (self.images + 1)))

    def centre_array(self) -> np.ndarray | None:
        """Returns the class centres, float32 `(classes, channels)`; None where there are none."""
        if self.centres is None:
            return None
        values = np.frombuffer(base64.b64decode(self.centres), "<f2").astype(np.float32)
        return values.reshape(len(self.set_thresholds), -1)

    def check(self, class_names: Sequence[str]) -> None:
        """Raises a ValueError, with the field, where this cannot be what was learned about a model of these classes."""
        classes, thresholds, alarm = len(class_names), self.set_thresholds, self.alarm_classes
        expect(len(thresholds) == classes, "trust.set_thresholds", thresholds, f"{classes} of them, one for each class")
        has_centres = self.centres is None or self._has_centres()
        expect(has_centres, "trust.centres", self.centres, "what models.pack_centres makes of one for each class")
        known = f"some of {listed(class_names)}, not all, or none"
        expect({*class_names} > {*alarm}, "trust.alarm_classes", alarm, known)
        fields = {"images": (1, None), "temperature": (0.0, None), "coverage": (0.0, 1.0), "false_marks": (0.0, 1.0)}
        fields |= {"doubt": (0, MOST), "kept_apart": ([True, False],)}
        fields |= {"distance": (0, MOST)} if self.centres else {}
        if alarm:
            fields |= {"alarm_recall": (0.0, 1.0), "alarm_threshold": (0, ABOVE_1), "alarm_promised": ([True, False],)}
        check(**{f"trust.{name}": (getattr(self, name), *ends) for name, ends in fields.items()})
        for each in thresholds:
            check(**{"trust.set_thresholds": (each, 0, ABOVE_1)})

    def _has_centres(self) -> bool:
        try:
            centres = self.centre_array()
        except (TypeError, ValueError):  # no text, no base64, or not as many values for each class
            return False
        return centres.size > 0 and bool(np.isfinite(centres).all())


def pack_centres(centres: np.ndarray) -> str:
    """Packs class centres as text for `Trust.centres`."""
    return base64.b64encode(np.asarray(centres, dtype="<f2").tobytes()).decode("ascii")
