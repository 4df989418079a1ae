"""A folder of pictures, one subfolder a class: found, read once from end to end, and listed."""

from __future__ import annotations

import hashlib
import io
import os
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from effnet_helpers.data.records import Collection, ImageFiles, Provenance
from effnet_helpers.preprocessing import FORMATS, why_unreadable

import numpy as np
from PIL import Image

SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".gif")
SYSTEM_FILES = ("thumbs.db", "desktop.ini")
FEWEST_IMAGES = 3  # of a class: one for each split
SPLIT_NAMES = {"train", "training", "val", "valid", "validation", "test", "testing"}


class LeftOutWarning(UserWarning):
    """Some image files cannot be read; the data set goes on without them."""


def find_folder(path: str | os.PathLike, name: str | None = None, provenance: Provenance | None = None) -> Collection:
    """Lists the images of `path/class/*`, subfolders of classes included.

    Every image is decoded once, so that files which cannot be read are known before training starts; they are left
    out and named in one `LeftOutWarning`. Hidden files and folders are passed over, files that are no images by their
    ending are counted. Classes and images are sorted by name.

    Args:
        path: The folder. A leading `~` is understood.
        name: What to call the set; by default the folder's name.
        provenance: Where the images come from, if that is known.

    Returns:
        A `Collection`.

    Raises:
        ValueError: If there is no such folder, it holds no two classes, or a class has no three readable images.
    """
    root = Path(path).expanduser()
    expected = 'Expected a folder with one subfolder of pictures a class, as in "folder:PATH" with PATH/cat/1.jpg'
    if not root.is_dir():
        raise ValueError(f"There is no such folder. {expected}. Received: {str(path)!r}")
    class_names = tuple(sorted(entry.name for entry in root.iterdir() if entry.is_dir() and not _is_hidden(entry.name)))
    if len(class_names) < 2:
        raise ValueError(f"Two classes or more are needed. {expected}. Received: {class_names} in {str(path)!r}")
    if SPLIT_NAMES.issuperset(name.lower() for name in class_names):
        raise ValueError(
            f"These subfolders are splits, not classes. Point at a folder whose subfolders are the classes; "
            f"the splits are made from it. Received: {class_names} in {str(path)!r}"
        )
    names, labels, ignored = [], [], 0
    for label, class_name in enumerate(class_names):
        images, others = _list_images(root / class_name)
        names += [image.relative_to(root).as_posix() for image in images]
        labels += [label] * len(images)
        ignored += others
    files, left_out = inspect(root, names, labels)

    counts = np.bincount(files.labels, minlength=len(class_names))
    too_small = [f"{name!r} has {n}" for name, n in zip(class_names, counts, strict=True) if n < FEWEST_IMAGES]
    if too_small:
        reasons = "".join(f"\n  {name}: {reason}" for name, reason in left_out)
        raise ValueError(
            f"Every class needs {FEWEST_IMAGES} readable images or more, one for each split. "
            f"Formats that work: {', '.join(FORMATS)}. Received: {', '.join(too_small)} in {str(path)!r}"
            + (f"\nUnreadable:{reasons}" if left_out else "")
        )
    name = name or root.resolve().name
    provenance = provenance or Provenance(title=name, source="your own folder", licence="not stated")
    return Collection(name, class_names, files, provenance, left_out, ignored)


def inspect(root: Path, names: list[str], labels: list[int]) -> tuple[ImageFiles, tuple[tuple[str, str], ...]]:
    """Decodes every file once and keeps those that can be read.

    Args:
        root: The folder that names are relative to.
        names: Relative names with forward slashes.
        labels: The class of each.

    Returns:
        The readable files, and `(name, reason)` for each of the others.
    """
    with warnings.catch_warnings(), ThreadPoolExecutor() as threads:
        warnings.simplefilter("ignore")  # Pillow's remarks on odd metadata do not concern the pixels
        findings = list(threads.map(_inspect_file, [root / name for name in names]))
    readable = [i for i, (_, reason) in enumerate(findings) if reason is None]
    left_out = tuple((name, reason) for name, (_, reason) in zip(names, findings, strict=True) if reason is not None)
    files = ImageFiles(
        root,
        tuple(names[i] for i in readable),
        np.array([labels[i] for i in readable], dtype=np.int32),
        tuple(findings[i][0] for i in readable),
    )
    return files, left_out


def _inspect_file(path: Path) -> tuple[str, None] | tuple[None, str]:
    """Returns a file's digest, or why it cannot be read."""
    try:
        content = path.read_bytes()
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            image.draft(image.mode, (1, 1))  # JPEG: the whole file is still parsed, but only an eighth of it computed
            image.load()
        return hashlib.sha256(content).hexdigest(), None
    except Exception as error:  # decoders raise anything from OSError to SyntaxError on damaged files
        return None, why_unreadable(path, error)


def _list_images(folder: Path) -> tuple[list[Path], int]:
    """Returns the image files below a folder, sorted, and the number of files that are no images by their ending."""
    images, others = [], 0
    for parent, subfolders, files in os.walk(folder):
        subfolders[:] = [name for name in subfolders if not _is_hidden(name)]
        for name in files:
            if _is_hidden(name):
                continue
            if name.lower().endswith(SUFFIXES):
                images.append(Path(parent, name))
            else:
                others += 1
    return sorted(images, key=lambda image: image.relative_to(folder).as_posix()), others


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name.lower() in SYSTEM_FILES
