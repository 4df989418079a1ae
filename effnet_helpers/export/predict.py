"""Say what is on pictures: files, folders or archives in, a table with a row for each file out.

Memory does not grow with the number of files: pictures are read batch by batch, one batch ahead of the model, and
`predict_to_csv` keeps no table.
"""

from __future__ import annotations

import functools
import itertools
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from effnet_helpers import evaluation, machine, outputs, preprocessing, records
from effnet_helpers.data import extract_archive, is_archive, list_pictures, scan_file
from effnet_helpers.export.contract import judge
from effnet_helpers.models import ModelCard

import numpy as np
import pandas as pd

Predict = Callable[[np.ndarray], np.ndarray]
"""From float32 pixels (images, image_size, image_size, 3) in [0, 255] to probabilities (images, classes)."""

PLAIN = ("hidden", "other_file")  # what is met in every folder and nobody takes for a picture
COLUMNS = ("file", "predicted", "probability", "problem")  # of each table, with those of the classes before the last
MARKS = ("set", "none_of_these", "alarm")  # after the probability, where the model knows when to trust it


def _is_table(path: Path) -> bool:
    *first, last = outputs.csv_header(path) or [""]
    rest = itertools.dropwhile(MARKS.__contains__, first[3:])
    return (*first[:3], last) == COLUMNS and all(name.startswith("p_") for name in rest)


PREDICTIONS = outputs.Kind(
    "a table of predictions", lambda path: _is_table(path) and machine.is_as_written(path), machine.note_written
)


@dataclass(frozen=True)
class Found:
    """Pictures to predict.

    Attributes:
        files: Where each can be read.
        names: What to call each: its path as it was given, or within the folder or archive that was given. Absolute
            ones are written from the current folder or the user's; elsewhere only their last names are.
        others: `(name, reason)` of what was passed over and may be a picture, hidden files and other kinds apart:
            because it could not be unpacked safely, say, or because an earlier prediction wrote it.
    """

    files: tuple[Path, ...]
    names: tuple[str, ...]
    others: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Summary:
    """What came of predicting.

    Attributes:
        counts: Pictures of each class, in the order of the model's outputs.
        problems: `(name, why)` of each file that could not be read.
        least_certain: `predicted` and its `probability` where that is lowest, lowest first; the index says which file.
        none_of_these: Names of files that are marked as none of the classes.
        alarms: How many pictures raise an alarm; None where the model has no operating point.
    """

    counts: dict[str, int]
    problems: tuple[tuple[str, str], ...]
    least_certain: pd.DataFrame
    none_of_these: tuple[str, ...] = ()
    alarms: int | None = None


def find_pictures(paths: Sequence[str | os.PathLike]) -> Found:
    """Finds the pictures to predict.

    What an earlier prediction wrote, a table or a contact sheet, is no picture to predict.

    Args:
        paths: Folders, which are walked; archives (zip, tar), which are unpacked into the cache and walked; and files,
            which are taken for pictures whatever their name. A leading `~` is understood.

    Returns:
        A `Found`.

    Raises:
        ValueError: If a path does not exist, an archive cannot be unpacked, or there is no picture at all.
    """
    files, names, others = [], [], []
    for path, shown in _shown(paths).items():
        place = _place(path)
        if not os.path.lexists(place):
            raise ValueError(f"There is no such file or folder. Received: {str(path)!r}")
        if is_archive(place):
            archive = extract_archive(place)
            place = archive.root
            others += [(str(shown / name), reason) for name, reason in archive.skipped]
        below = [(place, shown)]
        if place.is_dir():
            pictures, passed_over = list_pictures(place)
            below = [(place / name, shown / name) for name in pictures]
            others += [(str(shown / other.name), other.reason) for other in passed_over if other.trait not in PLAIN]
        for file, name in below:
            if outputs.is_output(file):
                others.append((str(name), "written by an earlier prediction"))
            else:
                files.append(file)
                names.append(str(name))
    if not files:
        raise ValueError(f"There are no pictures in it. Received: {', '.join(str(path) for path in paths)!r}")
    return Found(tuple(files), tuple(names), tuple(others))


def predict_files(
    predict: Predict, card: ModelCard, paths: Sequence[str | os.PathLike], batch_size: int = 32
) -> pd.DataFrame:
    """Predicts the class of each picture.

    Args:
        predict: A classifier, from `open_classifier`.
        card: Its card, which says how pictures are brought to the model's size.
        paths: Picture files; see `find_pictures`.
        batch_size: Pictures at a time. It changes memory and speed, not the result.

    Returns:
        One row a file, in their order: `file`, `predicted` (the most probable class) and its `probability`, `p_<class>`
        for each class (float32), and `problem`. A file that cannot be read has only the first and the last of these;
        the others are None and NaN. Where the card says when to trust the model, probabilities are calibrated, and
        after `probability` come `set` (the classes it may be, so that the right one is among them as often as the card
        promises, with " | " between them and a name that holds "|" in quotes), `none_of_these` (whether it is marked as
        none of the classes) and, for a model with an operating point, `alarm`.

    Raises:
        ValueError: If there are no paths.
    """
    if not paths:
        raise ValueError("Prediction needs at least one file. Received: none")
    return pd.concat(_tables(predict, card, paths, paths, batch_size))


def predict_to_csv(
    predict: Predict,
    card: ModelCard,
    found: Found,
    path: str | os.PathLike,
    *,
    batch_size: int = 32,
    least_certain: int = 20,
    progress: Callable[[int, int], None] | None = None,
) -> Summary:
    """Predicts the class of each picture and writes the table of `predict_files` as CSV, batch by batch.

    The file replaces an earlier table that nobody changed, once it is whole. What is not UTF-8 in a name is escaped.

    Args:
        predict: See `predict_files`.
        card: See `predict_files`.
        found: The pictures.
        path: Where to write.
        batch_size: See `predict_files`.
        least_certain: How many of the least certain answers to return.
        progress: Called after each batch with the number of pictures that are done, and of all.

    Returns:
        A `Summary`.

    Raises:
        ValueError: If there is something else at the path.
    """
    path = _place(path)
    # The file begins with the mark by which Excel knows UTF-8.
    csv_file = {"encoding": "utf-8-sig", "errors": "backslashreplace", "newline": ""}
    counts, problems, marked, alarms = Counter(), [], [], 0
    doubtful = pd.DataFrame({"predicted": pd.Series(dtype=object), "probability": pd.Series(dtype=np.float32)})
    with outputs.replacing(PREDICTIONS, path) as folder, (folder / path.name).open("w", **csv_file) as file:
        for table in _tables(predict, card, found.files, found.names, batch_size):
            table.to_csv(file, index=False, header=file.tell() == 0, float_format="%.6g", lineterminator="\n")
            is_read = table["problem"] == ""
            read, unread = table[is_read], table[~is_read]
            counts.update(read["predicted"])
            problems += zip(unread["file"], unread["problem"], strict=True)
            doubtful = pd.concat([doubtful, read[doubtful.columns]]).nsmallest(least_certain, "probability")
            if card.trust:
                marked += read["file"][read["none_of_these"].astype(bool)].tolist()
                alarms += int(read["alarm"].astype(bool).sum()) if "alarm" in read else 0
            if progress:
                progress(table.index[-1] + 1, len(found.files))
    raised = alarms if card.trust and card.trust.alarm_classes else None
    by_class = {name: counts[name] for name in card.class_names}
    return Summary(by_class, tuple(problems), doubtful, tuple(marked), raised)


def read_pixels(card: ModelCard, path: str | os.PathLike) -> np.ndarray:
    """Reads a picture as the model was shown its training pictures.

    Args:
        card: Of the model: its size and resize mode apply.
        path: The file.

    Returns:
        uint8 `(image_size, image_size, 3)`: the same pixels, to the last bit, as `data.ImageDataset.batches` gives.

    Raises:
        ValueError: If there is no such file, or it cannot be read as a picture.
    """
    return preprocessing.read_resized(path, card.image_size, card.resize_mode, card.bits)


def try_to_read(card: ModelCard, path: str | os.PathLike) -> tuple[np.ndarray | None, str]:
    """Reads a picture as `read_pixels` does, or says why it cannot be read.

    Returns:
        The pixels and an empty text, or None and the reason in a few words.
    """
    path, problem = _place(path), ""
    try:
        if path.is_file() or not path.exists():  # a pipe would wait for a writer forever
            return read_pixels(card, path), ""
    except ValueError as error:
        problem = str(error)
    except OSError as error:  # a folder on the way to it may not be entered
        return None, error.strerror
    return None, scan_file(path.parent, path.name).problem or problem  # the scan says it in fewer words


def _tables(
    predict: Predict, card: ModelCard, paths: Sequence[str | os.PathLike], names: Sequence[Any], batch_size: int
) -> Iterator[pd.DataFrame]:
    """Yields the rows of `predict_files`, a batch at a time, while the next one is read."""
    with ThreadPoolExecutor() as threads:

        def begin_to_read(start: int) -> Iterator[tuple[np.ndarray | None, str]]:
            return threads.map(functools.partial(try_to_read, card), paths[start : start + batch_size])

        ahead = begin_to_read(0)
        for start in range(0, len(paths), batch_size):
            now, ahead = ahead, begin_to_read(start + batch_size)
            pictures, problems = zip(*now, strict=True)
            is_read = np.array([picture is not None for picture in pictures])
            probabilities = np.full((len(pictures), len(card.class_names)), np.nan, np.float32)
            marks = {}
            if is_read.any():
                pixels = np.float32([picture for picture in pictures if picture is not None])
                probabilities[is_read], judged = judge(predict, card, pixels)
                marks = _marks(judged, card) if judged else {}
            best = np.array(card.class_names, object)[probabilities.argmax(axis=1)]
            rows = range(start, start + len(pictures))
            columns = {  # as objects: pandas' own type of text takes no name that is not UTF-8
                "file": pd.Series(map(str, names[start : start + batch_size]), rows, object),
                "predicted": pd.Series(np.where(is_read, best, None), rows, object),
                "probability": probabilities.max(axis=1),
                **{name: _spread(marks.get(name), is_read, rows) for name in _marks_of(card)},
                **{f"p_{name}": column for name, column in zip(card.class_names, probabilities.T, strict=True)},
                "problem": pd.Series(problems, rows, object),
            }
            yield pd.DataFrame(columns, rows)


def _marks_of(card: ModelCard) -> tuple[str, ...]:
    return MARKS[: 3 if card.trust.alarm_classes else 2] if card.trust else ()


def _marks(judged: evaluation.Judged, card: ModelCard) -> dict[str, Sequence]:
    names = np.array([*card.class_names, ""], object)[:-1]
    sets = [records.listed(names[inside], "|") for inside in judged.sets]
    marks = {"set": sets, "none_of_these": judged.none_of_these.tolist()}
    return marks if judged.alarm is None else marks | {"alarm": judged.alarm.tolist()}


def _spread(values: Sequence | None, is_read: np.ndarray, rows: range) -> pd.Series:
    """A column with a value for each picture that was read, and None for the others."""
    column = pd.Series([None] * len(rows), rows, object)
    if values is not None:
        column[is_read] = np.array([*values, ""], object)[:-1]  # as objects: a plain array would make them texts
    return column


def _shown(paths: Sequence[str | os.PathLike]) -> dict[Path, Path]:
    """Maps paths to what to call them in a table, which must not name places of this computer, and tell them apart."""
    absolute = {path for path in map(Path, paths) if path.is_absolute()}
    length = next(n for n in itertools.count(1) if len({path.parts[-n:] for path in absolute}) == len(absolute))
    names = {path: "/".join(("…", *path.parts[-length:])) for path in absolute}
    return {path: Path(machine.from_here(path, names[path]) if path in names else path) for path in map(Path, paths)}


def _place(path: str | os.PathLike) -> Path:
    """Returns an absolute path, so that a file called "~x.jpg" is not taken for a user's home further down."""
    return Path(os.path.abspath(os.path.expanduser(path)))
