"""Your own pictures: a folder with one subfolder a class, with or without splits, or a table of paths and labels."""

from __future__ import annotations

import os
from pathlib import Path

from effnet_helpers.data.listing import Entry, Listing, PassedOver, Provenance
from effnet_helpers.data.scan import is_hidden, list_pictures

import pandas as pd

SPLIT_NAMES = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
COLUMNS = ("path", "label", "split", "group")


def list_folder(path: str | os.PathLike, name: str | None = None, provenance: Provenance | None = None) -> Listing:
    """Lists the pictures of `path/class/*` or `path/{train,val,test}/class/*`, subfolders of classes included.

    Classes and pictures are sorted by name. Nothing is opened yet.

    Args:
        path: The folder. A leading `~` is understood.
        name: What to call the set; by default the folder's name.
        provenance: Where the images come from, if that is known.

    Returns:
        A `Listing`, which says for every other file why it is not in it.

    Raises:
        ValueError: If there is no such folder, it holds no two classes, or splits without one to train on.
    """
    root = Path(path).expanduser().absolute()
    expected = 'Expected a folder with one subfolder of pictures a class, as in "folder:PATH" with PATH/cat/1.jpg'
    if not root.is_dir():
        raise ValueError(f"There is no such folder. {expected}. Received: {str(path)!r}")
    splits = _split_folders(root)
    passed_over = []
    entries = []
    class_folders = []
    for parent, split in splits.items() or {root: None}.items():
        for child in sorted(parent.iterdir()):
            relative = child.relative_to(root).as_posix()
            if child.is_dir() and not is_hidden(child.name):
                pictures, others = list_pictures(root, relative)
                entries += [Entry(picture, child.name, split) for picture in pictures]
                passed_over += others
                class_folders.append(child.name)
            elif is_hidden(child.name):
                passed_over.append(PassedOver(relative, "hidden", "hidden"))
            else:
                passed_over.append(PassedOver(relative, "no_class", "not in the folder of a class"))
    class_names = tuple(sorted(set(class_folders)))
    if len(class_names) < 2:
        raise ValueError(f"Two classes or more are needed. {expected}. Received: {class_names} in {str(path)!r}")
    name = name or root.resolve().name
    provenance = provenance or Provenance(title=name, source="your own folder", licence="not stated")
    return Listing(name, root, class_names, tuple(entries), tuple(passed_over), provenance)


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
    file = Path(path).expanduser().absolute()
    expected = "Expected a CSV file with a header and the columns path,label and, if wanted, split and group"
    try:
        table = pd.read_csv(file, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except (OSError, UnicodeError, ValueError) as error:
        raise ValueError(f"The table cannot be read ({error}). {expected}. Received: {str(path)!r}") from None
    unknown = [column for column in table.columns if column not in COLUMNS]
    if unknown or not isinstance(table.index, pd.RangeIndex) or not {"path", "label"}.issubset(table.columns):
        raise ValueError(f"{expected}. Received: {', '.join(map(repr, table.columns))} in {str(path)!r}")

    entries, first_row = [], {}
    for row, cells in enumerate(table.to_dict("records"), start=2):
        name = cells["path"].strip().replace("\\", "/")
        if not name or not cells["label"].strip():
            raise ValueError(f"Row {row} has no path or no label. Received: {cells} in {str(path)!r}")
        if name in first_row:
            raise ValueError(
                f"Rows {first_row[name]} and {row} have the same path. Received: {name!r} in {str(path)!r}"
            )
        first_row[name] = row
        split = cells.get("split", "").strip().lower()
        if (split and split not in SPLIT_NAMES) or (not split and any(entry.split for entry in entries)):
            raise ValueError(
                f"The split in row {row} must be train, val or test, in every row or in none. "
                f"Received: {split!r} in {str(path)!r}"
            )
        group = cells.get("group", "").strip() or None
        entries.append(Entry(name, cells["label"].strip(), SPLIT_NAMES.get(split), group))
    class_names = tuple(sorted({entry.class_name for entry in entries}))
    if len(class_names) < 2:
        raise ValueError(f"Two classes or more are needed. {expected}. Received: {class_names} in {str(path)!r}")
    provenance = Provenance(title=file.stem, source="your own table", licence="not stated")
    return Listing(file.stem, file.parent, class_names, tuple(entries), (), provenance)


def _split_folders(root: Path) -> dict[Path, str]:
    """Maps subfolders to splits, if that is what all of them are; empty if they are classes."""
    folders = [child for child in sorted(root.iterdir()) if child.is_dir() and not is_hidden(child.name)]
    if not folders or not all(folder.name.lower() in SPLIT_NAMES for folder in folders):
        return {}
    splits = {folder: SPLIT_NAMES[folder.name.lower()] for folder in folders}
    names = [folder.name for folder in folders]
    if "train" not in splits.values() or len(set(splits.values())) < len(splits):
        raise ValueError(
            "These subfolders are splits. One of them must be called train, and each split may be there once. "
            f"Received: {names}"
        )
    return splits
