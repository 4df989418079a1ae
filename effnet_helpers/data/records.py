"""What the parts of this package hand to each other: files of images, where they come from, what a source found."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np


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

    `names` are relative to `root`, with forward slashes; `labels` int32; `digests` SHA-256 of the contents.
    """

    root: Path
    names: tuple[str, ...]
    labels: np.ndarray
    digests: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.names)

    def take(self, indices: np.ndarray) -> ImageFiles:
        """Returns the files at these positions, in this order."""
        return ImageFiles(
            self.root,
            tuple(self.names[i] for i in indices),
            self.labels[indices],
            tuple(self.digests[i] for i in indices),
        )


@dataclass(frozen=True, eq=False)
class Collection:
    """What a source found: its images before they are split.

    `left_out` holds `(name, reason)` of files that cannot be read, `ignored` counts files that are no images.
    `given_splits` says for each image which split its publishers put it in, or is None.
    """

    name: str
    class_names: tuple[str, ...]
    files: ImageFiles
    provenance: Provenance
    left_out: tuple[tuple[str, str], ...] = ()
    ignored: int = 0
    given_splits: np.ndarray | None = None
