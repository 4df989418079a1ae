"""What the parts of this package hand to each other: files of images, where they come from, what a source found."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from pathlib import Path

import numpy as np

SPLITS = ("train", "val", "test")


def nfc(text: str) -> str:
    """Returns a text with its accents in the one normal form that this package compares; macOS likes another."""
    return unicodedata.normalize("NFC", text)


@dataclass(frozen=True)
class Provenance:
    """Where a set of images comes from and on what terms.

    `note` says what a reader of results must know, for example that the images are simulated.
    """

    title: str
    source: str
    licence: str
    citation: str = ""
    note: str = ""

    def __str__(self) -> str:
        lines = {"source": self.source, "licence": self.licence, "published in": self.citation, "note": self.note}
        return "\n".join([self.title, *(f"  {name}: {text}" for name, text in lines.items() if text)])


@dataclass(frozen=True, eq=False)
class ImageFiles:
    """Readable image files, one entry per file in every column.

    `names` are relative to `root`, with forward slashes; `labels` int32; `digests` SHA-256 of the contents; `bits` says
    how many bits the values of 16-bit pictures use, such as 12 of many X-rays; `groups` names what each belongs to and
    must not be parted from, such as a patient, a piece or a scene, and None lets each stand for itself.
    """

    root: Path
    names: tuple[str, ...]
    labels: np.ndarray
    digests: tuple[str, ...]
    bits: int = 16
    groups: tuple[str, ...] | None = None

    def __len__(self) -> int:
        return len(self.names)

    def path(self, index: int) -> Path:
        """Returns where a file lies."""
        return self.root / self.names[index]

    def take(self, indices: np.ndarray) -> ImageFiles:
        """Returns the files at these positions, in this order."""
        return ImageFiles(
            self.root,
            tuple(self.names[i] for i in indices),
            self.labels[indices],
            tuple(self.digests[i] for i in indices),
            self.bits,
            self.groups and tuple(self.groups[i] for i in indices),
        )


@dataclass(frozen=True)
class PassedOver:
    """A file or folder that is not taken for a picture, and why: `trait` is a finding of `audit.KINDS`."""

    name: str
    trait: str
    reason: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One picture of a listing, before anybody looked into it: its class, and its split and group if they are given."""

    name: str
    class_name: str
    split: str | None = None
    group: str | None = None


@dataclass(frozen=True, eq=False)
class Listing:
    """What a source says is in it, before anybody looked into its pictures.

    Attributes:
        name: What to call the set.
        root: The folder that names of entries are relative to, with forward slashes.
        class_names: Its classes, in the order of labels.
        entries: Its pictures.
        passed_over: What was met and not taken for a picture.
        provenance: Where it comes from, and on what terms.
        wordnet_ids: One id a class where the classes are ImageNet's, else empty.
        may_lack_classes: Whether a class may be without pictures, as some of published sets are.
    """

    name: str
    root: Path
    class_names: tuple[str, ...]
    entries: tuple[Entry, ...]
    passed_over: tuple[PassedOver, ...]
    provenance: Provenance
    wordnet_ids: tuple[str, ...] = ()
    may_lack_classes: bool = False
