"""Archives: unpacked whole or refused with one clear message, never past the cache, and nothing lost silently."""

import errno
import io
import os
import shutil
import tarfile
import zipfile
from pathlib import Path

from effnet_helpers.data import archives
from effnet_helpers.data.archives import extract_archive, is_archive

import hostile
import pytest

KINDS = ("zip", "tar", "tar.gz", "tgz", "tar.bz2", "tar.xz")
PICTURES = dict(hostile._good_pictures())


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("EFFNET_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "unpacked"


def pack(path, members):
    """Writes a zip or a tar of names and contents; a name with a slash at its end is a folder."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in members.items():
                archive.writestr(name, content)
        return path
    with tarfile.open(path, hostile._tar_mode(path)) as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size, member.type = len(content), tarfile.DIRTYPE if name.endswith("/") else tarfile.REGTYPE
            archive.addfile(member, io.BytesIO(content))
    return path


def files_below(root):
    return {file.relative_to(root).as_posix(): file.read_bytes() for file in root.rglob("*") if file.is_file()}


def pictures_of(folder):
    return {name.removeprefix(f"{folder}/"): content for name, content in PICTURES.items()}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_unpacked_once_and_found_again_by_its_content(tmp_path, cache, kind):
    path = pack(tmp_path / f"pictures.{kind}", PICTURES)
    first = extract_archive(path)
    assert first.root.name == "photos", "a single folder is descended into"
    assert files_below(first.root) == pictures_of("photos")
    assert first.skipped == ()

    (first.root / "mark").write_text("kept")
    path = path.rename(tmp_path / "under another name")
    assert (extract_archive(str(path)).root / "mark").read_text() == "kept"
    assert len(list(cache.iterdir())) == 1


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_nothing_hostile_gets_out_and_all_of_it_is_listed(tmp_path, cache, kind):
    path = tmp_path / "in" / f"hostile.{kind}"
    path.parent.mkdir()
    (hostile.hostile_zip if kind == "zip" else hostile.hostile_tar)(path, bomb_bytes=10_000)
    extracted = extract_archive(path)

    home = extracted.root
    while home.parent != cache:
        home = home.parent
    unpacked = {
        name: content
        for name, content in files_below(home / "files").items()
        if "bomb" not in name and "__MACOSX" not in name
    }
    through_the_link = {} if kind == "zip" else {"photos/out/evil.jpg": b"through the link"}
    assert unpacked == PICTURES | through_the_link, "an ordinary folder stands where the link would have been"
    assert not any(file.is_symlink() for file in home.rglob("*"))
    assert {file.name for file in tmp_path.iterdir()} == {"in", "cache"}

    reasons = {}
    for name, reason in extracted.skipped:
        reasons.setdefault(reason, set()).add(name)
    special = {f"photos/cats/{name}.jpg" for name in (("pipe",) if kind == "zip" else ("pipe", "device", "disk"))}
    links = {"photos/cats/link.jpg"} | (set() if kind == "zip" else {"photos/cats/hard.jpg", "photos/out"})
    assert reasons == {
        "its path leads out of the archive": set(hostile.ESCAPES),
        "a device or pipe": special,
        "a link": links,
        "its name is taken by another member": {"photos/cats/0.jpg", "photos/cats/0.jpg/below.jpg"},
    }
    assert extract_archive(path).skipped == extracted.skipped


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("share", [0.05, 0.5, 0.95])
def test_an_archive_cut_anywhere_is_refused_and_leaves_nothing(tmp_path, cache, kind, share):
    path = pack(tmp_path / f"whole.{kind}", PICTURES)
    content = path.read_bytes()
    used = len(content) if "." in kind or kind in ("zip", "tgz") else content.rindex(b"\xff\xd9")  # then come zeros
    (tmp_path / "cut").write_bytes(content[: int(used * share)])
    with pytest.raises(
        ValueError, match=r"is no archive, or a damaged one \(.+\)\. Archives that work: zip, .*'.*cut'"
    ):
        extract_archive(tmp_path / "cut")
    assert list(cache.iterdir()) == []


def test_a_tar_cut_between_two_members_is_refused(tmp_path):
    path = pack(tmp_path / "whole.tar", {f"{n}.jpg": bytes([n]) * 512 for n in range(1, 9)})
    (tmp_path / "cut.tar").write_bytes(path.read_bytes()[: 4 * 1024])
    with pytest.raises(ValueError, match="damaged"):
        extract_archive(tmp_path / "cut.tar")


@pytest.mark.parametrize("kind", KINDS)
def test_changed_bytes_are_found_by_checksum(tmp_path, kind):
    path = pack(tmp_path / f"whole.{kind}", PICTURES)
    content = bytearray(path.read_bytes())
    # A plain tar has checksums of its headers alone: damage one.
    position = content.index(b"photos/dogs") if kind == "tar" else len(content) // 2
    content[position] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(ValueError, match="damaged"):
        extract_archive(path)


def test_what_is_no_archive_is_refused(tmp_path):
    for name, content in {
        "empty.zip": b"",
        "page.zip": b"<html>404</html>" * 100,
        "photo.jpg": PICTURES["photos/cats/0.jpg"],
    }.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=rf"no archive, or a damaged one \(.*Received: '.*{name}'"):
            extract_archive(tmp_path / name)
    with pytest.raises(ValueError, match=r"There is no such file.*Received: '.*nowhere\.zip'"):
        extract_archive(tmp_path / "nowhere.zip")


@pytest.mark.parametrize(
    ("field", "value", "message"), [(6, 1, "is encrypted"), (8, 97, "compression method is not supported")]
)
def test_zips_with_a_password_or_by_an_unknown_method_are_refused(tmp_path, field, value, message):
    path = pack(tmp_path / "secret.zip", {"cat.jpg": b"x"})
    content = bytearray(path.read_bytes())
    content[field] = value  # in the member's own header
    content[content.index(b"PK\1\2") + field + 2] = value  # and in the directory
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"This archive is not unpacked: .*{message}.*Received: '.*secret\.zip"):
        extract_archive(path)


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_bombs_are_refused_before_they_are_written(tmp_path, cache, kind, monkeypatch):
    path = tmp_path / f"hostile.{kind}"
    (hostile.hostile_zip if kind == "zip" else hostile.hostile_tar)(path, bomb_bytes=5_000_000)
    with pytest.raises(ValueError, match=r"it unpacks to more than 1,000,000 bytes\."):
        extract_archive(path, max_bytes=1_000_000)
    with pytest.raises(ValueError, match=r"it has more than 5 members\."):
        extract_archive(path, max_files=5)
    free = shutil.disk_usage(tmp_path)._replace(free=archives.RESERVE + 2_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: free)
    with pytest.raises(ValueError, match=r"more than the 2,000,000 bytes that the disk can spare\."):
        extract_archive(path)
    assert list(cache.iterdir()) == []


def tar_with_extended_header(path, records, claimed_size=None):
    """Writes a tar whose second member has an extended header of these records, with a size of our choice."""
    body = b"".join(records)
    header = tarfile.TarInfo("header")
    header.type, header.size = tarfile.XHDTYPE, claimed_size or len(body)
    member = tarfile.TarInfo("cat.jpg")
    blocks = [each.tobuf(tarfile.GNU_FORMAT) for each in (member, header, member)]
    path.write_bytes(b"".join([*blocks[:2], body.ljust(512, b"\0"), blocks[2], bytes(10_240)]))
    return path


def test_tar_headers_that_would_hang_or_exhaust_the_reader_are_refused(tmp_path):
    backwards = tar_with_extended_header(tmp_path / "backwards.tar", [b"14 size=-2048\n"])
    with pytest.raises(ValueError, match="negative size"):
        extract_archive(backwards)
    swollen = tar_with_extended_header(tmp_path / "swollen.tar", [b"9 path=x\n"], claimed_size=8 * 10**9)
    with pytest.raises(ValueError, match="a header claims 8,000,000,000 bytes"):
        extract_archive(swollen)


def test_an_interrupted_unpacking_leaves_nothing_and_is_done_again(tmp_path, cache, monkeypatch):
    path = pack(tmp_path / "pictures.zip", PICTURES)
    copy, copied = shutil.copyfileobj, []

    def interrupted(*arguments):
        copied.append(copy(*arguments))
        if len(copied) == 3:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copyfileobj", interrupted)
        with pytest.raises(KeyboardInterrupt):
            extract_archive(path)
    assert list(cache.iterdir()) == []
    assert files_below(extract_archive(path).root) == pictures_of("photos")


def test_the_writer_that_comes_second_takes_what_the_first_wrote(tmp_path, monkeypatch):
    path, unpack = pack(tmp_path / "pictures.zip", PICTURES), archives._unpack

    def overtaken(*arguments):
        monkeypatch.setattr(archives, "_unpack", unpack)
        overtaken.root = extract_archive(path).root
        return unpack(*arguments)

    monkeypatch.setattr(archives, "_unpack", overtaken)
    assert extract_archive(path).root == overtaken.root
    assert files_below(overtaken.root) == pictures_of("photos")


def test_a_disk_that_fills_up_is_said(tmp_path, cache, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shutil, "copyfileobj", full)
    with pytest.raises(ValueError, match=r"The disk is full.*Received: '.*pictures\.zip'"):
        extract_archive(pack(tmp_path / "pictures.zip", PICTURES))
    assert list(cache.iterdir()) == []


@pytest.mark.parametrize("kind", KINDS)
def test_an_archive_is_known_by_its_content(tmp_path, kind):
    path = pack(tmp_path / f"pictures.{kind}", PICTURES).rename(tmp_path / "without an ending")
    assert is_archive(path)
    for name, content in {"x.zip": b"<html>", "empty.tar": b"", "x.tgz": PICTURES["photos/cats/0.jpg"]}.items():
        (tmp_path / name).write_bytes(content)
        assert not is_archive(tmp_path / name)
    assert not is_archive(tmp_path)


@pytest.mark.parametrize(
    ("members", "root"),
    [
        ({"set/photos/cats/1": b"", "set/photos/dogs/1": b"", "__MACOSX/set/._x": b"", ".DS_Store": b""}, "photos"),
        ({"cats/1.jpg": b"", "dogs/1.jpg": b"", "__MACOSX/cats/._1.jpg": b""}, "files"),
        ({"photos\\cats\\1.jpg": b"", "photos\\dogs\\": b""}, "photos"),
        ({"photos/1.jpg": b""}, "photos"),
        ({".": b"", "./photos/cats/1.jpg": b"", "./photos/dogs/": b""}, "photos"),
        ({}, "files"),
    ],
)  # fmt: skip
def test_the_root_is_the_first_folder_with_more_than_a_folder_in_it(tmp_path, members, root):
    extracted = extract_archive(pack(tmp_path / "pictures.zip", members))
    assert extracted.root.name == root
    assert extracted.skipped == ()


def test_names_that_no_file_can_have_are_skipped_and_listed(tmp_path):
    too_long, too_deep = "x" * 300 + ".jpg", "a/" * 500 + "x.jpg"
    latin = os.fsdecode(b"caf\xe9.jpg")
    path = pack(tmp_path / "pictures.tar", {too_long: b"1", too_deep: b"2", latin: b"3", "two\nlines.jpg": b"4"})
    extracted = extract_archive(path)
    assert extracted.skipped == (
        (too_long, "no file can have its name here"),
        (too_deep, "its path is more than 100 folders deep"),
    )
    assert (extracted.root / latin).read_bytes() == b"3"
    assert isinstance(extracted.root, Path)
