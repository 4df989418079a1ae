"""A corpus of broken, odd and hostile files among ordinary pictures, made when a test asks for it.

`make_corpus` writes three classes and says of every file what must become of it; `as_zip` and `as_tar` pack them up,
`hostile_zip` and `hostile_tar` write archives that try to get out of the folder they are unpacked into.
"""

import contextlib
import io
import os
import stat
import tarfile
import warnings
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

import hostile_pictures as pictures
from hostile_pictures import LEFT_OUT, NOT_AN_IMAGE, USED, encoded

CLASSES = ("birds", "cats", "dogs")
ORDINARY = 8  # pictures of each class


@dataclass(frozen=True)
class Expectation:
    """What must become of a file.

    `fate`: "used", "left out" (named to the user), or "not an image" (passed over: hidden, or another ending).
    `findings`: exactly what an audit must say of it. "truncated" stands for every picture of a kind we take that is too
    damaged to be decoded. Of files that are alike, each carries the finding.
    """

    fate: str
    findings: frozenset[str] = field(default_factory=frozenset)


def make_corpus(root):
    """Writes `root/birds`, `root/cats`, `root/dogs`: eight ordinary pictures each, and a hundred that are not.

    What the file system or the user's rights do not allow (a name that is not UTF-8, a file that root may not read)
    is left out of the corpus and of what is returned.

    Args:
        root: A folder that is not there yet.

    Returns:
        Relative name, with forward slashes, to `Expectation`. The few bytes of a name that are not UTF-8 stand in it as
        Python's file functions give them.
    """
    new, expected = pictures.new_pictures(), {}
    root = Path(root)

    def add(name, content, fate=USED, findings=()):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as file:
            file.write(content)
        expected[name] = Expectation(fate, frozenset(findings))

    for class_name in CLASSES:
        for number in range(ORDINARY):
            add(f"{class_name}/ordinary_{number}.jpg", encoded(new()))
    families = (pictures.jpegs, pictures.pngs, pictures.other_formats, pictures.false_names)
    files = [file for family in families for file in family(new)]
    for number, (name, *rest) in enumerate(files):
        add(f"{CLASSES[number % 3]}/{name}", *rest)
    _add_odd_names(add, new)
    _add_hidden(add, new)
    _add_alike(add, new)
    _add_special(root, expected, new)
    return expected


def _add_odd_names(add, new):
    """Good pictures under names that programs trip over. What the file system refuses is passed over."""
    harmless = (
        "a b  c.jpg", " leading space.jpg", "🐈 on the mat.jpg", "it's \"quoted\".jpg", "café.jpg", "cafe\u0301.jpg",
        "-rf.jpg", "=1+2.jpg", "100% $HOME {x} [y] *.jpg", "back\\slash.jpg", "ends.here..jpg", "x" * 236 + ".jpg",
        "folder.jpg/inside.jpg", "deep/er/still.jpg",
    )  # fmt: skip
    bad = ("two\nlines.jpg", "tab\there.jpg", "\x1b[31mred.jpg", os.fsdecode(b"caf\xe9 in latin-1.jpg"))
    for name, findings in [*((name, ()) for name in harmless), *((name, ("bad_name",)) for name in bad)]:
        with contextlib.suppress(OSError):
            add(f"dogs/{name}", encoded(new()), USED, findings)


def _add_hidden(add, new):
    resource_fork = b"\0\5\x16\7\0\2\0\0Mac OS X        " + bytes(100)
    for name, content in {
        ".DS_Store": b"\0\0\0\1Bud1" + bytes(100), "Thumbs.db": b"\xd0\xcf\x11\xe0" + bytes(100),
        "._photo.jpg": resource_fork, ".hidden.jpg": encoded(new()), ".ipynb_checkpoints/x.jpg": encoded(new()),
    }.items():  # fmt: skip
        add(f"birds/{name}", content, NOT_AN_IMAGE, ("hidden",))


def _add_alike(add, new):
    """Files of the same bytes, and the same picture saved again."""
    content = encoded(new())
    for name in ("cats/twin.jpg", "cats/twin (1).jpg", "cats/more/twin.jpg"):
        add(name, content, USED, ("duplicate",))
    content = encoded(new())
    for name in ("birds/both.jpg", "dogs/both_too.jpg"):
        add(name, content, USED, ("duplicate_across_classes",))
    image = new((240, 180))
    for name, near in {
        "scene.jpg": encoded(image), "scene_small.jpg": encoded(image.resize((200, 150))),
        "scene_again.jpg": encoded(image, quality=50), "scene.png": encoded(image, "PNG"),
    }.items():  # fmt: skip
        add(f"dogs/{name}", near, USED, ("near_duplicate",))


def _add_special(root, expected, new):
    """What is no regular file, and what may not be read."""
    stored = root / ".stored" / "by_digest"  # hidden: a store that class folders link into, as data managers have it
    stored.parent.mkdir()
    stored.write_bytes(encoded(new()))
    for name, target, fate, findings in (
        ("birds/linked.jpg", "../.stored/by_digest", USED, ()),
        ("birds/gone.jpg", "nowhere.jpg", LEFT_OUT, ("unreadable",)),
        ("cats/itself.jpg", "itself.jpg", LEFT_OUT, ("link_loop",)),
        ("cats/parent", "..", NOT_AN_IMAGE, ("link_loop",)),
    ):
        with contextlib.suppress(OSError):  # Windows grants links to few users
            (root / name).symlink_to(target)
            expected[name] = Expectation(fate, frozenset(findings))
    if hasattr(os, "mkfifo"):
        os.mkfifo(root / "dogs" / "pipe.jpg")  # whoever opens it waits for ever
        expected["dogs/pipe.jpg"] = Expectation(LEFT_OUT, frozenset({"unreadable"}))
    locked = root / "dogs" / "locked.jpg"
    locked.write_bytes(encoded(new()))
    locked.chmod(0)
    if os.access(locked, os.R_OK):  # as root, or on Windows
        locked.chmod(0o600)
        locked.unlink()
    else:
        expected["dogs/locked.jpg"] = Expectation(LEFT_OUT, frozenset({"unreadable"}))


def as_zip(root, path):
    """Packs what is below `root` as a zip, under a folder of its name: links as links, no pipes, no locked files.

    Names that are not UTF-8 cannot stand in a zip; they get replacement characters.
    """
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(Path(root).rglob("*")):
            name = os.fsencode(Path(root.name, file.relative_to(root)).as_posix()).decode("utf-8", "replace")
            if file.is_symlink():
                _zip_special(archive, name, stat.S_IFLNK, os.readlink(file))
            elif file.is_dir() or (file.is_file() and os.access(file, os.R_OK)):
                archive.write(file, name)


def as_tar(root, path):
    """Packs what is below `root` as a tar, compressed as the ending of `path` says, under a folder of its name."""
    with tarfile.open(path, _tar_mode(path)) as archive:
        archive.add(root, root.name, filter=lambda member: None if member.name.endswith("locked.jpg") else member)


ESCAPES = (
    "../evil.jpg",
    "photos/../../evil.jpg",
    "/evil.jpg",
    "C" + ":\\evil.jpg",
    "..\\evil.jpg",
    "//server/evil.jpg",
)


def hostile_zip(path, *, bomb_bytes=20_000_000):
    """Writes a zip with two classes of three good pictures in `photos/` and everything a zip should not hold.

    Args:
        path: Where to.
        bomb_bytes: Size of `photos/cats/bomb.jpg`, zeros that take a thousandth of it.
    """
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of duplicate names
        for name, content in _good_pictures():
            archive.writestr(name, content)
        for name in ESCAPES:
            archive.writestr(name, b"evil")
        _zip_special(archive, "photos/cats/link.jpg", stat.S_IFLNK, "/etc/passwd")
        _zip_special(archive, "photos/cats/pipe.jpg", stat.S_IFIFO, "")
        archive.writestr("photos/cats/0.jpg", b"a second member of this name")
        archive.writestr("photos/cats/0.jpg/below.jpg", b"a file in a file")
        archive.writestr("__MACOSX/photos/cats/._0.jpg", b"\0\5\x16\7")
        archive.writestr("photos/cats/bomb.jpg", bytes(bomb_bytes))


def hostile_tar(path, *, bomb_bytes=20_000_000):
    """Writes a tar as `hostile_zip` writes a zip, compressed as the ending of `path` says."""

    def add(name, kind=tarfile.REGTYPE, content=b"", target=""):
        member = tarfile.TarInfo(name)
        member.type, member.size, member.linkname = kind, len(content), target
        archive.addfile(member, io.BytesIO(content))

    with tarfile.open(path, _tar_mode(path)) as archive:
        for name, content in _good_pictures():
            add(name, content=content)
        for name in ESCAPES:
            add(name, content=b"evil")
        add("photos/cats/link.jpg", tarfile.SYMTYPE, target="/etc/passwd")
        add("photos/cats/hard.jpg", tarfile.LNKTYPE, target="../../etc/passwd")
        add("photos/out", tarfile.SYMTYPE, target="../..")
        add("photos/out/evil.jpg", content=b"through the link")
        add("photos/cats/device.jpg", tarfile.CHRTYPE)
        add("photos/cats/disk.jpg", tarfile.BLKTYPE)
        add("photos/cats/pipe.jpg", tarfile.FIFOTYPE)
        add("photos/cats/0.jpg", content=b"a second member of this name")
        add("photos/cats/0.jpg/below.jpg", content=b"a file in a file")
        add("photos/cats/bomb.jpg", content=bytes(bomb_bytes))


def _good_pictures():
    new = pictures.new_pictures()
    return [(f"photos/{name}/{number}.jpg", encoded(new())) for name in ("cats", "dogs") for number in range(3)]


def _zip_special(archive, name, kind, content):
    member = zipfile.ZipInfo(name)
    member.create_system = 3  # Unix, so that the upper half of the attributes is a file mode
    member.external_attr = (kind | 0o777) << 16
    archive.writestr(member, content)


def _tar_mode(path):
    ending = Path(path).suffix.removeprefix(".").replace("tgz", "gz")
    return f"w:{ending}" if ending in ("gz", "bz2", "xz") else "w"
