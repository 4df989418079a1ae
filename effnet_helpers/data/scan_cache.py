"""What was found in files, kept in the cache, so that nothing reads them again for it until they change.

One text file for each folder, with a line for each file: its name, a stamp, and what was found. A file counts as
unchanged while its size and both its times are the same, as in git's index.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
import zlib
from pathlib import Path

from effnet_helpers.machine import cache_dir

import PIL

FORMAT = 3  # goes up whenever other things are found, or kept in another way
RACY = 2 * 10**9  # nanoseconds: what changed so shortly before a scan may change again within the same tick of a clock


def read_lines(root: Path) -> dict[str, str]:
    """Reads what `write_lines` wrote for a folder, by the first field of each line; nothing if that is damaged."""
    try:
        checksum, _, body = _file(root).read_text(encoding="ascii").partition("\n")
    except (OSError, ValueError):
        return {}
    return dict(line.split("\t", 1) for line in body.splitlines()) if checksum == _checksum(body) else {}


def write_lines(root: Path, lines: dict[str, str]) -> None:
    """Writes lines of ASCII, two fields each, at once and whole. A cache that cannot be written costs time alone."""
    body, partial = "\n".join(map("\t".join, lines.items())), None
    with contextlib.suppress(OSError):
        path = _file(root)
        path.parent.mkdir(exist_ok=True)
        try:
            with tempfile.NamedTemporaryFile("w", encoding="ascii", dir=path.parent, delete=False) as file:
                partial = file.name
                file.write(f"{_checksum(body)}\n{body}")
            os.replace(partial, path)
        except OSError:
            if partial:  # on a disk that cannot be written there is none
                os.unlink(partial)


def stamp_of(path: str | os.PathLike, before: int) -> str:
    """Returns what changes whenever a file does; empty if it is not there, or changed just before a moment.

    Args:
        path: The file.
        before: The moment, in nanoseconds since 1970.
    """
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return ""
    is_settled = max(status.st_mtime_ns, status.st_ctime_ns) < before - RACY
    return f"{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}" if is_settled else ""


def _file(root: Path) -> Path:
    key = hashlib.sha256(f"{FORMAT}/{PIL.__version__}/".encode() + os.fsencode(root.resolve())).hexdigest()
    return cache_dir() / "scans" / f"{key[:32]}.txt"


def _checksum(body: str) -> str:
    return f"{zlib.crc32(body.encode('ascii')):08x}"
