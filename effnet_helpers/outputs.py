"""What this package writes: at once and whole, and never in the place of what it did not write as that very output."""

from __future__ import annotations

import contextlib
import csv
import io
import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

SOFTWARE = "effnet-helpers"  # what a contact sheet says in its PNG text `Software`
BEGINNINGS = ["severity", "finding", "file"], ["file", "predicted", "probability"]  # of headers of tables
LONGEST_HEADER = 2**20  # bytes: that of a table of predictions names every class


@dataclass(frozen=True)
class Kind:
    """A kind of output.

    Attributes:
        noun: What to call one, such as "a table of predictions".
        is_own: Tells whether one is at a path.
        note: Is told of a file before it comes to its place, where `is_own` must know one that was changed by hand.
    """

    noun: str
    is_own: Callable[[Path], bool]
    note: Callable[[Path], None] | None = None


def check_free(kind: Kind, *paths: Path) -> None:
    """Refuses to write where something is that is not an earlier output of the same kind.

    Args:
        kind: What is to be written.
        paths: Where its files belong. The first is the one that `kind.is_own` is asked about.

    Raises:
        ValueError: If there is something else at one of the paths.
    """
    there = [path for path in paths if os.path.lexists(path)]
    if there and (any(path.is_symlink() for path in there) or not kind.is_own(paths[0])):
        named = " and ".join(path.name for path in there)
        since = ", or was changed since" if kind.note else ""
        reason = f"{named} was not written by this package as {kind.noun}{since}, so it stays"
        raise ValueError(f"{reason}. Take another name. Received: {str(paths[0])!r}")


@contextlib.contextmanager
def replacing(kind: Kind, *paths: Path) -> Iterator[Path]:
    """Gives a folder to write to; what is in it takes its place when all went well, at once and whole.

    Whatever goes wrong before, a full disk or Ctrl-C, leaves what was there.

    Args:
        kind: What is to be written.
        paths: Where its files, or folders, belong: all in one folder, which is made if there is none.

    Yields:
        An empty folder on the same disk. Each file is to be written into it under the name of its path.

    Raises:
        ValueError: If there is something else at one of the paths; see `check_free`.
    """
    check_free(kind, *paths)
    parent = paths[0].parent
    parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".effnet-", dir=parent, ignore_cleanup_errors=True) as temporary:
        new, old = Path(temporary, "new"), Path(temporary, "old")
        new.mkdir()
        yield new
        check_free(kind, *paths)
        if kind.note:
            kind.note(new / paths[0].name)
        for path in new.rglob("*"):  # before the name is theirs, should the power fail
            if path.is_file():
                with contextlib.suppress(PermissionError):  # a copy of a file that may only be read
                    onto_disk(path)
        for path in paths:
            if path.is_dir():  # a folder is not replaced by one call: out of the way, and back if the other will not go
                os.replace(path, old)
            try:
                os.replace(new / path.name, path)
            except BaseException:
                if old.exists():
                    os.replace(old, path)
                raise


def onto_disk(path: Path) -> None:
    """Waits until what was written to a file is on the disk."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


@contextlib.contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Keeps other processes of this package out of a folder; however this one ends, they may come.

    Args:
        folder: There need not be one yet; a hidden file beside it is locked, which a process that is killed leaves
            there. On disks without locks, and where that file is another account's, nobody is kept out.

    Raises:
        ValueError: If another one is at work there.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    path = folder.with_name(f".{folder.name}.effnet-lock")
    lock = FileLock(path, fallback_to_soft=False)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        raise ValueError(f"Another process is at work in {folder}: wait until it has ended, or end it") from None
    except (NotImplementedError, OSError):
        pass
    try:
        yield
    finally:
        if lock.is_locked:
            with contextlib.suppress(OSError):  # Windows removes it afterwards
                path.unlink()
        lock.release()


def csv_header(path: Path) -> list[str]:
    """Returns the first row of a file whose name ends in .csv; an empty list of any other and of one without."""
    try:
        text = _beginning(path, ".csv", LONGEST_HEADER).decode("utf-8-sig", "replace")
        return next(csv.reader(io.StringIO(text, newline="")), [])
    except csv.Error:
        return []


def is_contact_sheet(content: bytes) -> bool:
    """Tells by the beginning of a file's content whether it is a contact sheet that this package wrote."""
    head = content[:512]
    by_version_0_1 = b"Description\0" in head and b"Least certain first, as the model sees them" in head
    return head.startswith(b"\x89PNG") and (b"Software\0" + SOFTWARE.encode() in head or by_version_0_1)


def is_output(path: Path) -> bool:
    """Tells by a file's beginning whether it is a contact sheet or a table of findings or predictions."""
    return CONTACT_SHEET.is_own(path) or csv_header(path)[:3] in BEGINNINGS


def _beginning(path: Path, ending: str, size: int) -> bytes:
    """Returns the first bytes of a file with an ending; none of any other, and of what cannot be read."""
    try:
        if path.suffix.lower() == ending and path.is_file():  # a pipe would wait for a writer forever
            with path.open("rb") as file:
                return file.read(size)
    except OSError:
        pass
    return b""


CONTACT_SHEET = Kind("a contact sheet", lambda path: is_contact_sheet(_beginning(path, ".png", 512)))
