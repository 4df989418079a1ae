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

from effnet_helpers.data.scan import is_hidden
from effnet_helpers.machine import writable_folder

MAX_BYTES = 200 * 10**9  # ImageNet-1k takes about 150
MAX_FILES = 2_000_000
RESERVE = 2**30  # bytes of the disk that are left to others
DEEPEST = 100  # folders; Python's own functions for trees of folders call themselves once a level
LONGEST_EXTENSION = 2**20  # bytes of a header before a member's own, which tarfile reads into memory whole
ZIP_BEGINNINGS = (b"PK\x03\x04", b"PK\x05\x06")  # the second is that of a zip without members
BEGINNINGS = (*ZIP_BEGINNINGS, b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0")
DAMAGED = (zipfile.BadZipFile, tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, ValueError)
FORMATS = "zip, tar, tar.gz, tar.bz2, tar.xz"
FULL = (errno.ENOSPC, errno.EDQUOT)
NO_NAME = (errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ)  # too long, or with what the file system refuses


@dataclass(frozen=True)
class Extracted:
    """An unpacked archive.

    Attributes:
        root: Where its files are: the first folder from the top that holds more than one folder alone.
        skipped: `(name, reason)` of each member that was not unpacked.
        in_cp437: Whether it is a zip whose names are not in UTF-8, and were read in the code page of DOS.
    """

    root: Path
    skipped: tuple[tuple[str, str], ...]
    in_cp437: bool = False


def is_archive(path: str | os.PathLike) -> bool:
    """Tells by a file's beginning whether it is a zip or a tar, plain or compressed."""
    if not os.path.isfile(path):
        return False
    with open(path, "rb") as file:
        beginning = file.read(tarfile.BLOCKSIZE)
    return beginning.startswith(BEGINNINGS) or beginning[257:262] == b"ustar"


def extract_archive(path: str | os.PathLike, *, max_files: int = MAX_FILES, max_bytes: int = MAX_BYTES) -> Extracted:
    """Unpacks an archive into the cache, or finds it there by its content, unpacked before.

    Regular files and folders are unpacked and nothing else. What is a link, a device or a pipe, has a path that leads
    out of the archive, or a name that is taken already is skipped and listed.

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
    archives = writable_folder("unpacked")
    home = archives / digest[:32]
    if not home.exists():
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
    return Extracted(_below_single_folders(home / "files"), tuple(map(tuple, index["skipped"])), index["in_cp437"])


def _unpack(path: Path, home: Path, max_files: int, max_bytes: int) -> None:
    """Writes what may be unpacked to `home/files`, and what was skipped to `home/index.json`."""
    root, skipped = home / "files", []
    root.mkdir(parents=True)
    spare = max(0, shutil.disk_usage(root).free - RESERVE)
    left = min(spare, max_bytes)
    bound = f"{max_bytes:,} bytes" if max_bytes <= spare else f"the {spare:,} bytes that the disk can spare"
    with path.open("rb") as file:
        is_zip = file.read(4) in ZIP_BEGINNINGS
    encoding = _zip_encoding(path) if is_zip else None
    members = _zip_members(path, encoding) if is_zip else _tar_members(path)
    for count, (member, content) in enumerate(members, start=1):
        left -= member.size
        if count > max_files:
            raise RuntimeError(f"it has more than {max_files:,} members")
        if left < 0:
            raise RuntimeError(f"it unpacks to more than {bound}")
        if reason := _write(member, content, root):
            skipped.append((member.name, reason))
    # JSON in ASCII: names that are not UTF-8 can stand in it.
    index = {"skipped": skipped, "in_cp437": encoding == "cp437"}
    (home / "index.json").write_text(json.dumps(index), encoding="ascii")


def _write(member: tarfile.TarInfo, content: Callable[[], IO[bytes]], root: Path) -> str:
    """Writes a member below `root`, or says why not. No link is written, so that none can lead a later member out."""
    path = PureWindowsPath(member.name)  # knows both separators, drives and network shares, whatever the system here
    if not (member.isreg() or member.isdir()):
        return "a link" if member.issym() or member.islnk() else "a device or pipe"
    if path.anchor or ".." in path.parts:
        return "its path leads out of the archive"
    if len(path.parts) > DEEPEST:
        return f"its path is more than {DEEPEST} folders deep"
    target = root.joinpath(*path.parts)
    if target == root:  # ".", as tar writes it
        return ""
    try:
        (target if member.isdir() else target.parent).mkdir(parents=True, exist_ok=True)
        if member.isreg():
            with target.open("xb") as file, content() as source:
                shutil.copyfileobj(source, file, 2**20)
    except (FileExistsError, NotADirectoryError):
        return "its name is taken by another member"
    except OSError as error:
        if error.errno not in NO_NAME:
            raise
        return "no file can have its name here"
    return ""


def _zip_encoding(path: Path) -> str:
    """Returns what names without the flag for UTF-8 are in: UTF-8 where that is possible, as macOS writes them."""
    try:
        zipfile.ZipFile(path, metadata_encoding="utf-8").close()
        return "utf-8"
    except UnicodeDecodeError:
        return "cp437"


def _zip_members(path: Path, encoding: str) -> Iterator[tuple[tarfile.TarInfo, Callable[[], IO[bytes]]]]:
    """Yields each member in tar's terms, and a function that opens it."""
    kinds = {0: tarfile.REGTYPE, stat.S_IFREG: tarfile.REGTYPE, stat.S_IFDIR: tarfile.DIRTYPE}  # 0: not made on Unix
    with zipfile.ZipFile(path, metadata_encoding=encoding) as archive:
        for info in archive.infolist():
            member = tarfile.TarInfo(info.filename)
            member.size = info.file_size  # and it never unpacks to more: zipfile stops there
            kind = stat.S_IFMT(info.external_attr >> 16)
            member.type = tarfile.SYMTYPE if kind == stat.S_IFLNK else kinds.get(kind, tarfile.FIFOTYPE)
            if info.filename.endswith(("/", "\\")):
                member.type = tarfile.DIRTYPE
            yield member, functools.partial(archive.open, info)


def _tar_members(path: Path) -> Iterator[tuple[tarfile.TarInfo, Callable[[], IO[bytes]]]]:
    with tarfile.open(path, tarinfo=_StrictHeader) as archive:
        for member in archive:
            if member.size < 0:  # extended headers can say so, and send the reader backwards for ever
                raise tarfile.ReadError(f"{member.name!r} has a negative size")
            yield member, functools.partial(archive.extractfile, member)
        while archive.fileobj.read(2**20):  # the checksum of gzip, bzip2 and xz is checked at their end
            pass


def _below_single_folders(folder: Path) -> Path:
    while True:
        visible = [entry for entry in folder.iterdir() if not is_hidden(entry.name)]
        if len(visible) != 1 or not visible[0].is_dir():
            return folder
        folder = visible[0]


@contextmanager
def _one_clear_message(path: Path) -> Iterator[None]:
    """Turns whatever unpacking raises into a ValueError that names the archive."""
    try:
        yield
    except RuntimeError as error:  # a bound, a password, a method that Python does not know
        problem = f"This archive is not unpacked: {error}"
    except OSError as error:
        if error.errno not in (*FULL, None, errno.EINVAL):  # None from gzip and bz2, EINVAL from a seek to before 0
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
        if header.size < 0 or (header.type in b"xgXLK" and header.size > LONGEST_EXTENSION):
            raise tarfile.ReadError(f"a header claims {header.size:,} bytes")
        return header
