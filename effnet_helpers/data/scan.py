"""Files of pictures: found on disk, each read once from end to end, and what is odd about it noted.

Nothing is passed over in silence: whatever `list_pictures` meets comes back either as a picture or with the reason why
not, and whatever `scan` reads comes back with its oddities, among them those that `preprocessing.read_rgb` repairs.
"""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import stat
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, dataclass
from pathlib import Path

from effnet_helpers import outputs
from effnet_helpers.data import scan_cache
from effnet_helpers.data.listing import PassedOver
from effnet_helpers.data.similar import LOOK_SIDE, look_of
from effnet_helpers.preprocessing import FORMATS, coding_of, orientation_of, upright_rgb, why_unreadable

from PIL import Image

ENDINGS = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "PNG": (".png", ".apng"),
    "WEBP": (".webp",),
    "BMP": (".bmp",),
    "GIF": (".gif",),
}
FORMAT_OF_ENDING = {ending: name for name, endings in ENDINGS.items() for ending in endings}
# Kinds of pictures that are not read, by ending. (Pillow knows some; a lesson needs few kinds that work everywhere.)
UNSUPPORTED_ENDINGS = (
    *(".tif", ".tiff", ".heic", ".heif", ".avif", ".jxl", ".jp2", ".j2k", ".ico", ".psd", ".svg", ".eps", ".tga"),
    *(".ppm", ".pgm", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".rw2", ".raw", ".xcf", ".dcm"),
)
BEGINNINGS = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF8", b"BM")
HEIF_BEGINNINGS = tuple(b"ftyp" + brand for brand in (b"heic", b"heix", b"hevc", b"mif1", b"msf1", b"avif", b"avis"))
# What systems and devices leave behind, in small letters: Windows, macOS, Linux, Synology, QNAP.
SYSTEM_NAMES = (
    *("thumbs.db", "ehthumbs.db", "desktop.ini", "$recycle.bin", "recycler", "system volume information", "found.000"),
    *("__macosx", "lost+found", "@eadir", "@tmp", "#recycle", "#snapshot", "@recycle", "@recently-snapshot"),
    *("@__thumb", "thumbnails", "lost.dir"),
)
DEPTHS = (8, 10, 12, 14, 16)  # bits of a channel that cameras and scanners give
TINY = 32  # a shorter side than this, in pixels, leaves the last feature map of a network with one position
EXTREME_RATIO = 8  # long to short side
GIGANTIC = 89_478_485  # pixels, where Pillow begins to suspect an attack; twice as many it refuses


@dataclass(frozen=True, slots=True)
class Scanned:
    """What reading one file brought to light.

    Attributes:
        name: Relative to the folder, with forward slashes.
        traits: Findings of `audit.KINDS`: why it cannot be used, or what is odd about it.
        problem: Why it cannot be used, in words; empty if it can.
        digest: SHA-256 of its contents, empty if they could not be read.
        size: Width and height in pixels as stored, (0, 0) if it cannot be used.
        look: Perceptual hash, 64 bits: pictures that look alike differ in few of them. None if it is too small to
            look like anything.
        bits: How many bits of 16 its brightest value uses, of `DEPTHS`; 0 if it has 8 bits a channel.
    """

    name: str
    traits: tuple[str, ...] = ()
    problem: str = ""
    digest: str = ""
    size: tuple[int, int] = (0, 0)
    look: int | None = None
    bits: int = 0


def list_pictures(root: Path, below: str = "") -> tuple[list[str], list[PassedOver]]:
    """Lists the pictures in a folder and its subfolders.

    Links to folders are followed, unless they lead back to a folder on the way.

    Args:
        root: The folder that names are relative to.
        below: The subfolder to list; all of `root` if empty.

    Returns:
        The names of what is a picture by its ending or its content, sorted, and everything else that was met.
    """
    pictures: list[str] = []
    others: list[PassedOver] = []
    start = (root / below).resolve()
    _enter(root, below, frozenset({start, *start.parents}), pictures, others)
    return sorted(pictures), sorted(others, key=lambda other: other.name)


def scan(root: Path, names: Sequence[str], progress: Callable[[int], None] | None = None) -> Iterator[Scanned]:
    """Reads every file once from end to end, on all cores, and decodes it as far as finding damage takes.

    What is found is kept in the cache: a file that did not change since is not read again.

    Args:
        root: The folder that names are relative to.
        names: Relative names with forward slashes.
        progress: Called with the number of files read so far, now and then.

    Yields:
        One entry a file, in their order.
    """
    known, lines, now = scan_cache.read_lines(root), {}, time.time_ns()

    def find(name: str) -> Scanned:
        key, stamp = json.dumps(name), scan_cache.stamp_of(root / name, now)
        if stamp and known.get(key, "").startswith(f"{stamp}\t"):
            lines[key] = known[key]
            return _scanned(name, *json.loads(known[key].partition("\t")[2]))
        file = scan_file(root, name)
        if stamp and file.digest:  # otherwise the system refused, and may not do so next time
            lines[key] = f"{stamp}\t{json.dumps(astuple(file)[1:])}"
        return file

    chunk = 256  # so that progress can be told, and neither futures nor findings pile up
    with ThreadPoolExecutor() as threads:
        for start in range(0, len(names), chunk):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # Pillow's remarks on odd metadata do not concern the pixels
                scanned = list(threads.map(find, names[start : start + chunk]))
            if progress:
                progress(start + len(scanned))
            yield from scanned
    if lines != known:
        scan_cache.write_lines(root, lines)


def scan_file(root: Path, name: str) -> Scanned:
    """Reads one file, see `scan`."""
    path, traits = root / name, _traits_of_name(name)
    content = b""
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # a pipe would wait for a writer forever
            return Scanned(name, (*traits, "unreadable"), "not a file but a pipe, socket or device")
        content = path.read_bytes()
        if outputs.is_contact_sheet(content):
            digest = hashlib.sha256(content).hexdigest()
            return Scanned(name, (*traits, "own_output"), "a contact sheet of an earlier prediction", digest)
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            oddities = _traits_of(image, path.suffix.lower())
            size = image.size
            # JPEG: the whole file is still parsed, but as little of it computed as will do
            image.draft(image.mode, (LOOK_SIDE, LOOK_SIDE))
            image.load()
            if "transparency" in image.info and "alpha" not in oddities:  # a GIF says so only now
                oddities += ("alpha",)
            if orientation_of(image) > 1:  # asked only now, because of a PNG it would load a part
                oddities += ("exif_rotated",)
            bits = _bits_of(image) if "bits16" in oddities else 0
            upright = upright_rgb(image, bits or 16)  # as it will be read: what fails there fails here
            look = None if "tiny" in oddities else look_of(upright)
        return Scanned(name, traits + oddities, "", hashlib.sha256(content).hexdigest(), size, look, bits)
    except Exception as error:  # decoders raise anything from OSError to SyntaxError on damaged files
        trait = _trait_of_failure(content, error, path.suffix.lower())
        kind = path.suffix.lower() if path.suffix.lower() in UNSUPPORTED_ENDINGS else "such"
        problem = f"{kind} pictures are not read" if trait == "unsupported" else why_unreadable(path, error)
        digest = hashlib.sha256(content).hexdigest() if content else ""
        return Scanned(name, (*traits, trait), problem, digest)


def _bits_of(image: Image.Image) -> int:
    """Returns how many bits of 16 a picture's brightest value uses; of colours Pillow keeps the upper 8."""
    if image.mode.startswith("I"):
        used = int(image.getextrema()[1]).bit_length()
    else:
        colours = image.getextrema()[: 1 if image.mode.startswith("L") else 3]
        used = 8 + max(high for _, high in colours).bit_length()
    return next(depth for depth in DEPTHS if depth >= min(used, 16))


def _scanned(name: str, traits: list[str], problem: str, digest: str, size: list[int], *rest: int) -> Scanned:
    return Scanned(name, tuple(traits), problem, digest, tuple(size), *rest)


def is_hidden(name: str) -> bool:
    """Says whether the name is one that file managers hide, or write themselves."""
    return name.startswith(".") or name.lower() in SYSTEM_NAMES


def count_files(folder: str | os.PathLike) -> int:
    """Counts the files in a folder and all folders below it."""
    return sum(len(files) for _, _, files in os.walk(folder))


def printable(name: str) -> str:
    """Returns a name with everything escaped that cannot be printed: line breaks, bytes that are no UTF-8."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in name)


def _enter(root: Path, below: str, on_the_way: frozenset[Path], pictures: list[str], others: list[PassedOver]) -> None:
    """Adds what is in a folder to the two lists; `on_the_way` holds the folders that led here, links resolved."""
    try:
        children = list(os.scandir(root / below))
    except OSError as error:
        others.append(PassedOver(below or ".", "unreadable", f"the folder cannot be opened ({error.strerror})"))
        return
    for child in children:  # no `Path` for each: Python would intern its name, which takes as much memory again
        name = f"{below}/{child.name}" if below else child.name
        if not os.path.isdir(child.path):
            trait, reason = _why_no_picture(child)
        elif is_hidden(child.name):
            trait, reason = "hidden", f"hidden folder, {count_files(child.path)} files in it"
        elif (target := Path(child.path).resolve()) in on_the_way:
            trait, reason = "link_loop", "a link to a folder that contains it"
        else:
            _enter(root, name, on_the_way | {target}, pictures, others)
            continue
        if trait:
            others.append(PassedOver(name, trait, reason))
        else:
            pictures.append(name)


def _why_no_picture(file: os.DirEntry) -> tuple[str, str]:
    """Returns the finding and the reason why a file is not taken for a picture; empty if it is."""
    ending = os.path.splitext(file.name)[1].lower()
    if is_hidden(file.name):
        return "hidden", "hidden file"
    if ending in FORMAT_OF_ENDING or ending in UNSUPPORTED_ENDINGS:
        return "", ""
    try:
        if not file.is_file():  # a pipe would wait for a writer forever
            return "other_file", "not a file but a pipe, socket or device"
        Image.open(file.path, formats=FORMATS).close()
        return "", ""
    except Exception:  # not a picture, which is what its name says
        return "other_file", "neither name nor content is a picture's"


def _traits_of_name(name: str) -> tuple[str, ...]:
    return () if name.isprintable() else ("bad_name",)  # nor are bytes that are no UTF-8, as Python carries them


def _traits_of(image: Image.Image, ending: str) -> tuple[str, ...]:
    """What is odd about a picture that was opened but not decoded yet."""
    width, height = image.size
    is_phone_jpeg = image.format == "MPO"  # with a preview or a depth map as further "frames"
    is_named = ending in FORMAT_OF_ENDING or ending in UNSUPPORTED_ENDINGS
    true_format = "JPEG" if is_phone_jpeg else image.format
    found = {
        "unnamed_picture": not is_named,
        "wrong_extension": is_named and FORMAT_OF_ENDING.get(ending) != true_format,
        "cmyk": image.mode in ("CMYK", "YCCK"),
        "bits16": image.mode.startswith("I") or ";16" in coding_of(image),
        "palette": image.mode in ("P", "PA"),
        "alpha": image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info,
        "animated": getattr(image, "n_frames", 1) > 1 and not is_phone_jpeg,
        "tiny": min(width, height) < TINY,
        "gigantic": width * height > GIGANTIC,
        "extreme_shape": max(width, height) > EXTREME_RATIO * min(width, height),
    }
    return tuple(trait for trait, is_so in found.items() if is_so)


def _trait_of_failure(content: bytes, error: Exception, ending: str) -> str:
    """Names the finding for a file that could not be decoded."""
    if isinstance(error, Image.DecompressionBombError):
        return "gigantic"
    if isinstance(error, OSError) and error.errno == errno.ELOOP:
        return "link_loop"
    if isinstance(error, OSError) and error.errno is not None:
        return "unreadable"  # the system refused to open or read it
    if not content:
        return "zero_bytes"
    if isinstance(error, Image.UnidentifiedImageError):
        return "unsupported" if ending in UNSUPPORTED_ENDINGS else _kind_of_content(content)
    return "truncated"


def _kind_of_content(content: bytes) -> str:
    """Tells a picture of a kind that is not read from something else altogether."""
    if content.startswith(BEGINNINGS):
        return "truncated"  # or damaged so early that Pillow makes nothing of it
    if b"<svg" in content[:1000].lower() or content[4:12] in HEIF_BEGINNINGS:
        return "unsupported"
    try:
        Image.open(io.BytesIO(content)).close()
    except Exception:  # nothing that any decoder knows
        return "not_an_image"
    return "unsupported"
