"""What is written appears whole or not at all, and never in the place of something else."""

import errno
import os

from effnet_helpers import outputs

import pytest

LETTER = outputs.Kind(
    "a letter", lambda path: (path / "part" if path.is_dir() else path).read_text().startswith("Dear")
)


@pytest.fixture
def letter(tmp_path):
    """One file that is a letter, and one beside it that is not asked about."""
    path, beside = tmp_path / "letter", tmp_path / "stamp"
    path.write_text("Dear old one")
    beside.write_text("old")
    return path, beside


def write(*paths, text="Dear new one"):
    with outputs.replacing(LETTER, *paths) as folder:
        assert list(folder.iterdir()) == []
        for path in paths:
            (folder / path.name).write_text(text)


def test_both_files_are_replaced_and_nothing_else_is_left(letter, tmp_path):
    write(*letter)
    assert [path.read_text() for path in letter] == ["Dear new one"] * 2
    assert sorted(os.listdir(tmp_path)) == ["letter", "stamp"]


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_whatever_goes_wrong_leaves_the_old_ones(letter, tmp_path, error):
    with pytest.raises(error), outputs.replacing(LETTER, *letter) as folder:
        (folder / "letter").write_text("Dea")
        raise error
    assert [path.read_text() for path in letter] == ["Dear old one", "old"]
    assert sorted(os.listdir(tmp_path)) == ["letter", "stamp"]


def test_a_folder_is_replaced_as_a_whole_or_comes_back(tmp_path, monkeypatch):
    path = tmp_path / "letters"
    path.mkdir()
    (path / "part").write_text("Dear old one")
    (path / "more").touch()
    with monkeypatch.context() as patch:
        replace = os.replace
        patch.setattr(os, "replace", lambda a, b: replace(a, b) if "new" not in a.parts else 1 / 0)
        with pytest.raises(ZeroDivisionError), outputs.replacing(LETTER, path) as folder:
            (folder / "letters").mkdir()
    assert sorted(os.listdir(path)) == ["more", "part"]
    with outputs.replacing(LETTER, path) as folder:
        (folder / "letters").mkdir()
        (folder / "letters" / "part").write_text("Dear new one")
    assert os.listdir(path) == ["part"]
    assert os.listdir(tmp_path) == ["letters"]


def test_what_came_meanwhile_stays(tmp_path):
    path = tmp_path / "letter"
    with pytest.raises(ValueError, match="letter was not written"), outputs.replacing(LETTER, path) as folder:
        (folder / "letter").write_text("Dear new one")
        path.write_text("a poem")
    assert path.read_text() == "a poem"


def test_links_and_other_files_are_refused(letter, tmp_path):
    path, beside = letter
    link = tmp_path / "link"
    link.symlink_to(path)
    for wrong in (link, beside):
        with pytest.raises(ValueError, match=rf"{wrong.name} was not written by this package as a letter, so it stays"):
            write(wrong)
    assert link.is_symlink()
    assert beside.read_text() == "old"


@pytest.mark.parametrize(
    ("name", "content", "header"),
    [
        ("a.csv", b'\xef\xbb\xbffile,"p_a\nb"\nx,1\n', ["file", "p_a\nb"]),
        ("a.csv", b"", []),
        ("a.csv", b"\xff\x00,b", ["\ufffd\x00", "b"]),
        ("a.png", b"file", []),
    ],
)
def test_the_header_of_a_table_is_read(tmp_path, name, content, header):
    (tmp_path / name).write_bytes(content)
    assert outputs.csv_header(tmp_path / name) == header
    assert outputs.csv_header(tmp_path / "nothing.csv") == outputs.csv_header(tmp_path) == []


def test_on_a_disk_without_locks_nobody_is_kept_out(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise OSError(errno.ENOLCK, "No locks available")

    refused = pytest.raises(ValueError, match=r"^Another process is at work in")
    with outputs.alone_in(tmp_path / "mine"), refused, outputs.alone_in(tmp_path / "mine"):
        pytest.fail("both are there")
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(outputs.FileLock, "acquire", refuse)
    with outputs.alone_in(tmp_path / "mine"), outputs.alone_in(tmp_path / "mine"):
        pass


def test_what_may_only_be_read_is_put_in_its_place_too(tmp_path):
    with outputs.replacing(LETTER, tmp_path / "letter") as new:
        (new / "letter").write_text("Dear one")
        (new / "letter").chmod(0o444)
    assert (tmp_path / "letter").read_text() == "Dear one"
