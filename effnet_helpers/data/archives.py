"""Archives of pictures, unpacked once into the cache, with nothing in them able to reach past it."""

from __future__ import annotations

import errno
import functools
import hashlib
import json
import lzma
import os
import shutil
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import IO

from effnet_helpers.machine import cache_dir

MAX_BYTES = 200 * 10**9  # ImageNet-1k takes about 150
MAX_FILES = 2_000_000
RESERVE = 2**30  # bytes of the disk that are left to others
DEEPEST = 100  # folders; Python's own functions for trees of folders call themselves once a level
TAR_EXTENSIONS = (b"x", b"g", b"X", b"L", b"K")  # headers before a member's own: of pax, Solaris and GNU
LONGEST_EXTENSION = 2**20  # bytes; tarfile reads such a header into memory whole
ZIP_BEGINNINGS = (b"PK\x03\x04", b"PK\x05\x06")  # the second is that of a zip without members
MACOS_NOTES = "__MACOSX"  # resource forks that the Finder adds to every zip: hidden files, in effect
DAMAGED = (zipfile.BadZipFile, tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, ValueError)
DAMAGED_ERRNO = (None, errno.EINVAL)  # of OSErrors: from gzip and bz2; from a seek to before the beginning
FULL = (errno.ENOSPC, errno.EDQUOT)
FORMATS = "zip, tar, tar.gz, tar.bz2, tar.xz"


def extract_archive(path: str | os.PathLike, *, max_files: int = MAX_FILES, max_bytes: int = MAX_BYTES) -> Extracted:
    """Unpacks an archive into the cache, or finds it there by its content, unpacked before.

    Regular files and folders are unpacked and nothing else. What is a link, a device or a pipe, has a path that leads
    out of the archive, or a name that is taken already is skipped and listed; `__MACOSX` is passed over as hidden files
    are.

    Args:
        path: The archive, recognised by its content. A leading `~` is understood.
        max_files: How many members it may have.
        max_bytes: How much it may unpack to. A gigabyte of the disk stays free in any case.

    Returns:
        An `Extracted`.

    Raises:
        ValueError: If there is no such file, it is no such archive, is damaged or encrypted, or exceeds a bound.
    """
    path = Path(path).expanduser()
    if not (path.is_file() and os.access(path, os.R_OK)):
        raise ValueError(
            f"There is no such file, or it may not be read. Archives that work: {FORMATS}. Received: {str(path)!r}"
        )
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    archives = cache_dir() / "archives"
    home = archives / digest[:32]
    if not home.exists():
        archives.mkdir(exist_ok=True)
        # All of it appears at once under its final name: a process that is killed leaves nothing that looks whole.
        with tempfile.TemporaryDirectory(prefix="unpacking-", dir=archives, ignore_cleanup_errors=True) as temporary:
            unpacked = Path(temporary, "archive")
            with _one_clear_message(path):
                _unpack(path, unpacked, max_files, max_bytes)
            try:
                os.replace(unpacked, home)
            except OSError:
                if not home.exists():  # otherwise another process was faster
                    raise
    index = json.loads((home / "index.json").read_text(encoding="ascii"))
    return Extracted(_below_single_folders(home / "files"), tuple((name, reason) for name, reason in index["skipped"]))


def _unpack(path: Path, home: Path, max_files: int, max_bytes: int) -> None:
    """Writes what may be unpacked to `home/files`, and what was skipped to `home/index.json`."""
    root, skipped = home / "files", []
    root.mkdir(parents=True)
    spare = max(0, shutil.disk_usage(root).free - RESERVE)
    left = min(spare, max_bytes)
    bound = f"{max_bytes:,} bytes" if max_bytes <= spare else f"the {spare:,} bytes that the disk can spare"
    with path.open("rb") as file:
        is_zip = file.read(4) in ZIP_BEGINNINGS
    for count, member in enumerate(_zip_members(path) if is_zip else _tar_members(path), start=1):
        left -= member.size
        if count > max_files:
            raise _RefusedError(f"has more than {max_files:,} members")
        if left < 0:
            raise _RefusedError(f"unpacks to more than {bound}")
        reason = member.problem or _write(member, root)
        if reason:
            skipped.append((member.name, reason))
    # JSON in ASCII: names that are not UTF-8 can stand in it.
    (home / "index.json").write_text(json.dumps({"archive": path.name, "skipped": skipped}, indent=1), encoding="ascii")


def _write(member: _Member, root: Path) -> str | None:
    """Writes a member below `root`, or says why not."""
    path = PureWindowsPath(member.name)  # knows both separators, drives and network shares, whatever the system here
    if path.anchor or ".." in path.parts:
        return "its path leads out of the archive"
    if len(path.parts) > DEEPEST:
        return f"its path is more than {DEEPEST} folders deep"
    if not path.parts or path.parts[0] == MACOS_NOTES:
        return None
    target = root.joinpath(*path.parts)
    try:
        if member.is_folder:
            target.mkdir(parents=True, exist_ok=True)
            return None
        target.parent.mkdir(parents=True, exist_ok=True)
        file = target.open("xb")
    except (FileExistsError, NotADirectoryError):
        return "its name is taken by another member"
    except (OSError, ValueError) as error:  # a name too long, a character that the file system refuses
        if isinstance(error, OSError) and error.errno in FULL:
            raise
        return "no file can have its name here"
    with file, member.open() as content:
        shutil.copyfileobj(content, file, 2**20)
    return None


def _zip_members(path: Path) -> Iterator[_Member]:
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            if info.flag_bits & 1:
                raise _RefusedError("is encrypted")
            kind = stat.S_IFMT(info.external_attr >> 16)  # of a zip made on Unix, else 0
            problem = None if kind in (0, stat.S_IFREG, stat.S_IFDIR) else _what_it_is(kind == stat.S_IFLNK)
            is_folder = info.filename.endswith(("/", "\\"))
            # A member never unpacks to more than the size it states: zipfile stops there.
            yield _Member(info.filename, info.file_size, is_folder, problem, functools.partial(archive.open, info))


def _tar_members(path: Path) -> Iterator[_Member]:
    with tarfile.open(path, tarinfo=_StrictHeader) as archive:
        for info in archive:
            if info.size < 0:  # extended headers can say so, and send the reader backwards for ever
                raise tarfile.ReadError(f"{info.name!r} has a negative size")
            problem = None if info.isreg() or info.isdir() else _what_it_is(info.issym() or info.islnk())
            size = info.size if info.isreg() else 0
            yield _Member(info.name, size, info.isdir(), problem, functools.partial(archive.extractfile, info))
        while archive.fileobj.read(2**20):  # the checksum of gzip, bzip2 and xz is checked at their end
            pass


def _what_it_is(link: bool) -> str:
    return "a link" if link else "a device or pipe"


@contextmanager
def _one_clear_message(path: Path) -> Iterator[None]:
    """Turns whatever unpacking raises into a ValueError that names the archive."""
    try:
        yield
    except _RefusedError as error:
        problem = f"This archive {error}"
    except NotImplementedError as error:
        problem = f"This archive is packed by a method that Python cannot unpack ({error})"
    except OSError as error:
        if error.errno not in (*FULL, *DAMAGED_ERRNO):
            raise
        problem = "The disk is full" if error.errno in FULL else _damaged(error)
    except DAMAGED as error:
        problem = _damaged(error)
    else:
        return
    raise ValueError(f"{problem}. Archives that work: {FORMATS}, without a password. Received: {str(path)!r}")


def _damaged(error: Exception) -> str:
    reason = str(error).partition("\n")[0].strip(":") or "it ends too early"
    return f"This file is no archive, or a damaged one ({reason})"


def _below_single_folders(folder: Path) -> Path:
    """Descends to the first folder that holds more than one folder."""
    while True:
        entries = [entry for entry in folder.iterdir() if not entry.name.startswith(".")]
        if len(entries) != 1 or not entries[0].is_dir():
            return folder
        folder = entries[0]


class _RefusedError(Exception):
    """An archive is whole and not unpacked all the same; the message goes on after "This archive"."""


class _StrictHeader(tarfile.TarInfo):
    """A header that stops the reader where it is damaged; tarfile takes that for the end and drops what follows."""

    @classmethod
    def frombuf(cls, buf: bytes, encoding: str, errors: str) -> tarfile.TarInfo:
        try:
            header = super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError as error:
            if bytes(buf) == bytes(tarfile.BLOCKSIZE):  # the true end
                raise
            raise tarfile.ReadError(str(error)) from None
        if header.size < 0 or (header.type in TAR_EXTENSIONS and header.size > LONGEST_EXTENSION):
            raise tarfile.ReadError(f"a header claims {header.size:,} bytes")
        return header


@dataclass(frozen=True)
class Extracted:
    """An unpacked archive.

    Attributes:
        root: Where its files are: the first folder from the top that holds more than one folder alone.
        skipped: `(name, reason)` of each member that was not unpacked.
    """

    root: Path
    skipped: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class _Member:
    """What an archive says of one of its members, and how to read it; `problem` says why it must be skipped."""

    name: str
    size: int
    is_folder: bool
    problem: str | None
    open: Callable[[], IO[bytes]]
