"""The JSON card beside a model: what its user must know, and what a file of another version is refused for."""

import importlib.metadata
import json
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import ClassVar

from effnet_helpers.models.trust import Trust
from effnet_helpers.preprocessing import RESIZE_MODES, check_size


@dataclass(frozen=True)
class ModelCard:
    """What a saved model needs to be used on pictures, kept in a JSON file beside it.

    Attributes:
        class_names: In the order of the model's outputs.
        image_size: Side of the square input in pixels.
        resize_mode: "crop", "pad" or "squash": how pictures were brought to that size; see `preprocessing.resize`.
        variant: Which EfficientNet.
        weights: What the backbone started from.
        pixel_range: What the model's input must span.
        bits: How many bits the values of 16-bit pictures use, by which they are scaled to that range.
        versions: Of the libraries that wrote it.
        trust: When to trust its answers; None where nothing was learned about that.
        trained_on: What its pictures were, in a few words; empty where nobody said.
        tested: How many test pictures it was right about, and how many there were; None where nobody said.
    """

    NOUN: ClassVar[str] = "the card of a saved model"
    class_names: tuple[str, ...]
    image_size: int
    resize_mode: str
    variant: str
    weights: str
    pixel_range: tuple[int, int] = (0, 255)
    bits: int = 16
    versions: dict[str, str] | None = None
    trust: Trust | None = None
    trained_on: str = ""
    tested: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        if isinstance(self.trust, dict):  # of a file, or of `asdict`
            object.__setattr__(self, "trust", Trust(**self.trust))

    def version(self, package: str) -> str:
        """Returns the version of a package that wrote it, in words where it does not say."""
        return str((self.versions or {}).get(package, "of unknown version"))

    def check(self) -> None:
        """Raises a ValueError, with the field, where the card cannot be a model's."""
        check_size(self.image_size)
        if not (isinstance(self.class_names, tuple) and all(isinstance(name, str) for name in self.class_names)):
            raise ValueError(f"class_names must be a list of texts. Received: {self.class_names!r}")
        if self.resize_mode not in RESIZE_MODES:
            raise ValueError(f"resize_mode must be one of {', '.join(RESIZE_MODES)}. Received: {self.resize_mode!r}")
        if self.bits not in range(8, 17):
            raise ValueError(f"bits must be a whole number from 8 to 16. Received: {self.bits!r}")
        if not isinstance(self.trust, Trust | None):
            raise ValueError(f"trust must be a table of what was learned. Received: {self.trust!r}")
        if self.trust:
            self.trust.check(self.class_names)
        if not isinstance(self.trained_on, str):
            raise ValueError(f"trained_on must be a text. Received: {self.trained_on!r}")
        if self.tested is not None and not _are_counts(self.tested):
            raise ValueError(f"tested must be how many were right, and of how many. Received: {self.tested!r}")
        if not isinstance(self.versions, dict | None):
            raise ValueError(f"versions must be a table of names and versions. Received: {self.versions!r}")

    def write(self, path: Path) -> None:
        """Writes the card as JSON."""
        values = asdict(self)
        for name in ("trust", "trained_on", "tested"):
            if not values[name]:  # so that earlier versions, which do not know the field, read it
                del values[name]
        path.write_text(json.dumps(values, indent=2) + "\n", encoding="ascii")


def read_card(path: Path, kind: type[ModelCard] = ModelCard) -> ModelCard:
    """Reads the JSON file beside a model.

    Args:
        path: The file.
        kind: `ModelCard`, or the subclass of it that the file holds.

    Raises:
        ValueError: If the file holds something else, or says what this version does not understand.
    """
    known = {field.name: field for field in fields(kind)}
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(values, dict):
            raise ValueError("it holds no fields")
        if missing := [name for name, field in known.items() if field.default is MISSING and name not in values]:
            raise ValueError(f"it lacks {', '.join(missing)}")
        unknown = sorted(values.keys() - known)
        if isinstance(trust := values.get("trust"), dict):
            of_trust = {field.name for field in fields(Trust)}
            unknown += sorted(f"trust.{name}" for name in trust.keys() - of_trust)
            values["trust"] = {name: trust[name] for name in of_trust & trust.keys()}
        understood = {name: values[name] for name in known.keys() & values}
        card = kind(**{name: tuple(v) if isinstance(v, list) else v for name, v in understood.items()})
        card.check()
    except (ValueError, TypeError) as error:  # the second: of a `Trust` that lacks a field
        raise ValueError(f"{path.name} is not {kind.NOUN} ({error}). Received: {str(path)!r}") from error
    if unknown:
        written, installed = card.version("effnet-helpers"), importlib.metadata.version("effnet-helpers")
        raise ValueError(
            f"{path.name} was written by effnet-helpers {written} and says what effnet-helpers {installed} does not "
            f"understand: {', '.join(unknown)}. Update effnet-helpers to use this model. Received: {str(path)!r}"
        )
    return card


def _are_counts(tested: tuple) -> bool:
    whole = len(tested) == 2 and all(type(count) is int for count in tested)
    return whole and 0 <= tested[0] <= tested[1] and tested[1] > 0
