"""What a scan finds is kept: a file is read again when it changed, and a cache that is of no use costs time alone."""

import os
import time

from effnet_helpers import data, machine
from effnet_helpers.data import scan as scan_module
from effnet_helpers.data import scan_cache
from effnet_helpers.data.audit import audit
from effnet_helpers.data.scan import scan, scan_file

import pytest
from hostile_pictures import encoded, picture


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("EFFNET_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(scan_module.scan_cache, "RACY", 0)  # these tests will not wait until their files have settled
    return tmp_path / "cache" / "scans"


@pytest.fixture
def root(tmp_path):
    for number in range(8):
        path = tmp_path / "pets" / ("cat", "dog")[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(picture(number), "PNG"))
    (tmp_path / "pets" / "dog" / "two\nlines\t.jpg").write_bytes(b"no picture")
    return tmp_path / "pets"


@pytest.fixture
def read(monkeypatch):
    """The names of the files that are read, as they are."""
    names = []
    monkeypatch.setattr(scan_module, "scan_file", lambda root, name: names.append(name) or scan_file(root, name))
    return names


def names_in(root):
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*.*"))


def test_audit_after_load_and_load_after_audit_read_no_file_again(root, read):
    with pytest.warns(data.LeftOutWarning):
        before = data.load(f"folder:{root}", image_size=32)
    assert sorted(read) == names_in(root)
    read.clear()
    findings = audit(root).findings
    with pytest.warns(data.LeftOutWarning):
        again = data.load(f"folder:{root}", image_size=32)
    assert read == []
    assert again.left_out == before.left_out
    assert again.fingerprint("train") == before.fingerprint("train")
    assert set(findings["finding"]) >= {"not_an_image", "bad_name"}


def test_what_is_kept_is_what_was_found(root):
    names = names_in(root)
    assert list(scan(root, names)) == list(scan(root, names)) == [scan_file(root, name) for name in names]


@pytest.mark.parametrize("keep_time", [False, True])
def test_a_file_that_changed_is_read_again(root, read, keep_time):
    list(scan(root, names_in(root)))
    path = root / "cat" / "0.png"
    before = path.stat()
    time.sleep(0.02)  # more than a tick of the clock of any file system here
    path.write_bytes(bytes(before.st_size))
    if keep_time:  # as programs do that copy or synchronise
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    read.clear()
    changed = {file.name: file for file in scan(root, names_in(root))}["cat/0.png"]
    assert read == ["cat/0.png"]
    assert changed.problem == "its content is not a picture"


def test_a_file_that_changed_just_now_is_not_trusted(root, read, monkeypatch):
    monkeypatch.undo()
    monkeypatch.setattr(scan_module, "scan_file", lambda root, name: read.append(name) or scan_file(root, name))
    for _ in range(2):
        list(scan(root, ["cat/0.png"]))
    assert read == ["cat/0.png"] * 2


@pytest.mark.parametrize("damage", [lambda text: text[:-9], lambda text: text.replace("[", "{"), lambda text: ""])
def test_kept_findings_that_are_damaged_are_found_anew(root, read, cache, damage):
    expected = list(scan(root, names_in(root)))
    (kept,) = cache.iterdir()
    whole = kept.read_text()
    kept.write_text(damage(whole))
    read.clear()
    assert list(scan(root, names_in(root))) == expected
    assert sorted(read) == names_in(root)
    assert sorted(kept.read_text().splitlines()[1:]) == sorted(whole.splitlines()[1:])


def test_a_cache_that_cannot_be_written_costs_time_alone(root, read, cache):
    cache.parent.mkdir(exist_ok=True)
    cache.touch()  # where its folder would be
    for _ in range(2):
        assert len(list(scan(root, names_in(root)))) == 9
    assert len(read) == 18
    assert machine.cache_dir() == cache.parent


def test_a_file_that_the_system_refused_is_tried_again(root, read):
    path = root / "cat" / "0.png"
    path.rename(root / "elsewhere")
    (missing,) = scan(root, ["cat/0.png"])
    assert missing.problem == "there is no such file"
    (root / "elsewhere").rename(path)
    (found,) = scan(root, ["cat/0.png"])
    assert not found.problem


def test_a_cache_on_a_disk_that_cannot_be_written_costs_nothing(tmp_path, monkeypatch):
    def read_only(*_, **__):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(scan_cache.tempfile, "NamedTemporaryFile", read_only)
    scan_cache.write_lines(tmp_path, {"a": "b"})
    assert scan_cache.read_lines(tmp_path) == {}
