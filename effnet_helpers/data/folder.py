"""Your own pictures: a folder with one subfolder a class, with or without splits above them, or a table."""

from __future__ import annotations

import contextlib
import csv
import functools
import gc
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath

from effnet_helpers import outputs
from effnet_helpers.data.listing import Entry, Listing, PassedOver, Provenance, nfc
from effnet_helpers.data.scan import count_files, is_hidden, list_pictures

SPLIT_NAMES = {
    **dict.fromkeys(("train", "training", "trainset"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev", "valset"), "val"),
    **dict.fromkeys(("test", "testing", "testset"), "test"),
}
FILLERS = ("set", "data", "dataset", "images", "image", "imgs", "img", "seg", "split")  # "seg_train", "Test Images"
COLUMNS = ("path", "label", "split", "group")
EXPECTED_TABLE = "Expected a CSV file with a header and the columns path,label and, if wanted, split and group"
EXPECTED_FOLDER = 'Expected a folder with one subfolder of pictures a class, as in "folder:PATH" with PATH/cat/1.jpg'
DEEPEST = 100  # folders, each alone in the one above it; whoever gets so deep follows a link that leads back


def list_folder(
    path: str | os.PathLike, name: str | None = None, provenance: Provenance | None = None, given: str | None = None
) -> Listing:
    """Lists the pictures of `path/class/*` or `path/{train,val,test}/class/*`, subfolders of classes included.

    Classes and pictures are sorted by name. A folder in which all others lie is entered. Nothing is decoded yet.

    Args:
        path: The folder. A leading `~` is understood.
        name: What to call the set; by default the folder's name.
        provenance: Where the images come from, if that is known.
        given: What to call the folder in messages; by default its path.

    Returns:
        A `Listing`, which says for every other file or folder why it is not in it.

    Raises:
        ValueError: If there is no such folder, it holds no two classes, or what may or may not be splits.
    """
    root, given = Path(path).expanduser().absolute(), str(path) if given is None else given
    if not root.is_dir():
        raise ValueError(f"There is no such folder. {EXPECTED_FOLDER}. Received: {given!r}")
    passed_over: list[PassedOver] = []
    entries, class_names = [], set()
    for parent, split in _parents_of_classes(root, given, passed_over):
        classes = _visible_folders(parent)
        passed_over += _unused(root, parent, classes)
        for folder in classes:
            pictures, others = list_pictures(root, folder.relative_to(root).as_posix())
            entries += [Entry(picture, nfc(folder.name), split) for picture in pictures]
            passed_over += others
            class_names.add(nfc(folder.name))
    if len(class_names) < 2:
        received = f"{tuple(sorted(class_names))} in {given!r}"
        raise ValueError(f"Two classes or more are needed. {EXPECTED_FOLDER}. Received: {received}")
    name = name or root.resolve().name
    provenance = provenance or Provenance(title=name, source="your own folder", licence="not stated")
    return Listing(name, root, tuple(sorted(class_names)), tuple(entries), tuple(passed_over), provenance)


@contextlib.contextmanager
def _without_garbage_collection() -> Iterator[None]:
    """Spares Python the search for circles among all that TensorFlow has, which many new rows would set off."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@_without_garbage_collection()
def list_table(path: str | os.PathLike) -> Listing:
    """Lists the pictures of a CSV file with the columns `path,label[,split][,group]`.

    Paths are relative to the file's folder. Splits are called train, val and test, and may be missing from the table,
    as any of them but train may. Pictures of one group never come into two splits.

    Args:
        path: The file, in UTF-8. A leading `~` is understood.

    Returns:
        A `Listing`.

    Raises:
        ValueError: If there is no such file, or its rows cannot be used; the message names the first such row.
    """
    file, where = Path(path).expanduser().absolute(), f"in {str(path)!r}"
    try:
        # Other bytes than UTF-8 may stand in a path: a data set writes the names that files have. pandas has no place
        # for them in its strings.
        with file.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as lines:
            reader = csv.reader(lines, skipinitialspace=True)
            header = next(filter(None, reader))
            place = [header.index(column) if column in header else len(header) for column in COLUMNS]
            rows = list(reader)  # of blank lines, too, which are rows to whoever looks for one
    except (OSError, ValueError, csv.Error, StopIteration) as error:
        reason = getattr(error, "strerror", None) or str(error) or "it is empty"
        raise ValueError(f"The table cannot be read ({reason}). {EXPECTED_TABLE}. Received: {str(path)!r}") from None
    if not {"path", "label"} <= set(header) <= set(COLUMNS) or len(set(header)) < len(header):
        raise ValueError(f"{EXPECTED_TABLE}. Received: {', '.join(map(repr, header))} {where}")
    if row := next((row for row, cells in enumerate(rows, start=2) if len(cells) > len(header)), None):
        raise ValueError(f"Row {row} has more cells than the header. {EXPECTED_TABLE}. Received: {str(path)!r}")

    for cells in rows:
        cells += [""] * (len(header) + 1 - len(cells))  # the last stands for columns that there are none of
    has_splits, as_on_disk = any(cells[place[2]].strip() for cells in rows), _names_on_disk(file.parent)
    entries: list[Entry] = []
    row_of: dict[str, int] = {}
    for row, cells in enumerate(rows, start=2):
        written, label, split, group = (cells[i] for i in place)
        if not any(cells):
            continue
        if not written.strip() or not label.strip():
            raise ValueError(f"Row {row} has no path or no label. Received: {written!r}, {label!r} {where}")
        name = as_on_disk(written)
        if not (_is_utf8(label) or label in name) or not (_is_utf8(name) or os.path.lexists(file.parent / name)):
            raise ValueError(f"Row {row} is not in UTF-8; save the table as UTF-8. Received: {written!r} {where}")
        if row_of.setdefault(name, row) != row:
            raise ValueError(f"Rows {row_of[name]} and {row} have the same path. Received: {name!r} {where}")
        known = split_of(split) if has_splits else None
        if has_splits and known is None:
            raise ValueError(
                f"The split in row {row} must be train, val or test, in every row or in none. "
                f"Received: {split!r} {where}"
            )
        entries.append(Entry(name, nfc(label), known, nfc(group.strip()) or None))
    class_names = tuple(sorted({entry.class_name for entry in entries}))
    if len(class_names) < 2:
        raise ValueError(f"Two classes or more are needed. {EXPECTED_TABLE}. Received: {class_names} {where}")
    provenance = Provenance(title=file.stem, source="your own table", licence="not stated")
    return Listing(file.stem, file.parent, class_names, tuple(entries), (), provenance)


def split_of(name: str) -> str | None:
    """Returns the split that a name stands for, such as "seg_train", "Test Images" or "val2017"; None if none."""
    words = re.findall(r"[^\W_]+", re.sub(r"\d{4}$", "", name.lower()))
    telling = [word for word in words if word not in FILLERS]
    return SPLIT_NAMES.get(telling[0]) if len(telling) == 1 else None


def _parents_of_classes(root: Path, given: str, passed_over: list[PassedOver]) -> Iterator[tuple[Path, str | None]]:
    """Finds the folders with one subfolder a class, and their splits; what lies beside them goes to `passed_over`."""
    inner = root
    for _ in range(DEEPEST):
        folders = _visible_folders(inner)
        splits = _split_folders(inner, folders, given)
        is_alone = len(folders) == 1 and _visible_folders(folders[0])
        if splits or not is_alone:
            break
        passed_over += _unused(root, inner, folders)
        inner = folders[0]
    if not splits:
        yield inner, None
        return
    passed_over += _unused(root, inner, splits)
    for folder, split in splits.items():
        inside = _visible_folders(folder)
        while len(inside) == 1 and split_of(inside[0].name) == split:  # seg_train/seg_train, as archives have it
            passed_over += _unused(root, folder, inside)
            folder, inside = inside[0], _visible_folders(inside[0])
        yield folder, split


def _split_folders(parent: Path, folders: Sequence[Path], given: str) -> dict[Path, str]:
    """Maps subfolders to splits where some are splits, whatever lies beside them; empty where they are classes."""
    splits = {folder: split for folder in folders if (split := split_of(folder.name))}
    beside = [folder for folder in folders if folder not in splits]
    if len(splits) == 1 and beside:  # one may be a class: trains among vehicles, a test group among patients
        ((folder, split),) = splits.items()
        inside = {child.name for child in _visible_folders(folder)}
        if not inside or (split != "train" and not inside & {other.name for other in beside}):
            return {}
        if split != "train" or any(list_pictures(parent, other.name)[0] for other in beside):
            raise ValueError(
                f"{folder.name!r} may be a split or a class. If it is a split, let nothing but train, val and test lie "
                f"beside it; if it is a class, give it another name. Received: {_names(folders)} in {given!r}"
            )
    if splits and ("train" not in splits.values() or len(set(splits.values())) < len(splits)):
        raise ValueError(
            "These subfolders are splits. One of them must be called train, and each split may be there once. "
            f"Received: {_names(splits)} in {given!r}"
        )
    return splits


def _names(folders: Iterable[Path]) -> list[str]:
    return [folder.name for folder in folders]


def _visible_folders(parent: Path) -> list[Path]:
    return [child for child in sorted(parent.iterdir()) if not is_hidden(child.name) and child.is_dir()]


def _unused(root: Path, parent: Path, used: Iterable[Path]) -> Iterator[PassedOver]:
    """What is in a folder and not used: files without a class, and whole folders, each with the number of its files."""
    for child in sorted(set(parent.iterdir()) - set(used)):
        trait, reason = ("hidden", "hidden") if is_hidden(child.name) else ("no_class", "not in the folder of a class")
        if outputs.is_output(child):
            trait, reason = "own_output", "written by this package"
        if child.is_dir():
            reason = f"{'hidden' if trait == 'hidden' else 'unused'} folder, {count_files(child)} files in it"
        yield PassedOver(child.relative_to(root).as_posix(), trait, reason)


def _names_on_disk(folder: Path) -> Callable[[str], str]:
    """Gives a function that finds a path of a table below a folder: with other separators, blanks, forms of accents."""

    @functools.cache
    def spelled(parent: Path) -> dict[str, str]:
        return {nfc(name): name for name in os.listdir(parent)} if parent.is_dir() else {}

    def find(written: str) -> str:
        if "//" in written or "./" in written:  # one picture has one name
            written = PurePosixPath(written).as_posix()
        if written.isascii() and "\\" not in written and written == written.strip():
            return written
        stripped = written.strip()
        for name in (written, written.replace("\\", "/"), stripped, stripped.replace("\\", "/")):
            if os.path.lexists(folder / name):
                return name
        place = Path()
        for part in PurePosixPath(name).parts:
            place /= spelled(folder / place).get(nfc(part), part)
        return place.as_posix()

    return find


def _is_utf8(text: str) -> bool:
    return text.isascii() or not any(
        "\udc80" <= character <= "\udcff" for character in text
    )  # how Python carries other bytes
