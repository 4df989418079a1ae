"""The corpus of hostile files is what it says it is, and everything that reads pictures holds on it."""

import os
import tarfile
import zipfile

from effnet_helpers.preprocessing import read_rgb

import hostile
import pytest
from hostile import LEFT_OUT, NOT_AN_IMAGE, USED

FINDINGS = {
    "unreadable", "truncated", "zero_bytes", "wrong_extension", "not_an_image", "unsupported", "exif_rotated", "cmyk",
    "bits16", "palette", "alpha", "animated", "tiny", "gigantic", "extreme_shape", "bad_name", "hidden", "link_loop",
    "duplicate", "duplicate_across_classes", "near_duplicate", "unnamed_picture", "other_file",
}  # fmt: skip


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    root = tmp_path_factory.mktemp("hostile") / "photos"
    return root, hostile.make_corpus(root)


def test_the_corpus_holds_every_file_it_names_and_every_finding(corpus):
    root, expected = corpus
    ordinary = [name for name in expected if "/ordinary_" in name]
    assert len(ordinary) == len(hostile.CLASSES) * hostile.ORDINARY
    assert len(expected) - len(ordinary) >= 65
    assert all(os.path.lexists(root / name) for name in expected)
    assert set().union(*(expectation.findings for expectation in expected.values())) == FINDINGS
    assert {expectation.fate for expectation in expected.values()} == {USED, LEFT_OUT, NOT_AN_IMAGE}


def can_be_read(path):
    try:
        return read_rgb(path).mode == "RGB"
    except ValueError:
        return False


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_what_must_be_used_can_be_read_and_what_must_be_left_out_cannot(corpus):
    root, expected = corpus
    images = {name for name, expectation in expected.items() if expectation.fate != NOT_AN_IMAGE}
    readable = {name for name in images if not (root / name).is_fifo() and can_be_read(root / name)}
    assert readable == {name for name, expectation in expected.items() if expectation.fate == USED}


def test_the_archives_hold_the_corpus_and_the_hostile_members(corpus, tmp_path):
    root, expected = corpus
    hostile.as_zip(root, tmp_path / "photos.zip")
    hostile.as_tar(root, tmp_path / "photos.tar.gz")
    regular = {f"photos/{name}" for name in expected if (root / name).is_file()}
    with tarfile.open(tmp_path / "photos.tar.gz") as archive:
        assert regular - set(archive.getnames()) <= {"photos/dogs/locked.jpg"}
    with zipfile.ZipFile(tmp_path / "photos.zip") as archive:
        assert archive.testzip() is None
        assert len(regular - set(archive.namelist())) <= 2  # locked, and a name that is not UTF-8

    hostile.hostile_zip(tmp_path / "hostile.zip")
    hostile.hostile_tar(tmp_path / "hostile.tar")
    assert (tmp_path / "hostile.zip").stat().st_size < 200_000
    with zipfile.ZipFile(tmp_path / "hostile.zip") as zipped, tarfile.open(tmp_path / "hostile.tar") as tarred:
        for names in (zipped.namelist(), tarred.getnames()):
            assert set(hostile.ESCAPES) <= set(names)
            assert names.count("photos/cats/0.jpg") == 2
