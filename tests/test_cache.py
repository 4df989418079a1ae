"""The cache folder: created with a tag where that is possible, deleted only if it has one."""

import os

from effnet_helpers import machine
from effnet_helpers.course.cli import app

import pytest
from typer.testing import CliRunner


def test_clean_cache_deletes_only_what_the_course_created(tmp_path, monkeypatch):
    ours, theirs = tmp_path / "new" / "ours", tmp_path / "theirs"
    monkeypatch.setenv("EFFNET_CACHE", str(ours))
    assert machine.cache_dir() == ours.resolve()
    (ours / "features.npy").write_bytes(bytes(2_000_000))
    assert "Freed 2.0 MB" in CliRunner().invoke(app, ["clean-cache"]).output
    assert not ours.exists()
    assert "Freed 0.0 MB" in CliRunner().invoke(app, ["clean-cache"]).output

    theirs.mkdir()
    (theirs / "thesis.txt").write_text("precious")
    monkeypatch.setenv("EFFNET_CACHE", str(theirs))
    assert machine.cache_dir() == theirs
    with pytest.raises(ValueError, match=f"did not create.*Received: {theirs}"):
        machine.clear_cache()
    assert CliRunner().invoke(app, ["clean-cache"]).exit_code != 0
    assert os.listdir(theirs) == ["thesis.txt"]


def test_what_was_written_is_known_until_it_is_changed_and_believed_where_there_is_no_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("EFFNET_CACHE", str(tmp_path / "cache"))
    table = tmp_path / "table.csv"
    table.write_text("as written")
    assert not machine.is_as_written(table)
    machine.note_written(table)
    assert machine.is_as_written(table)
    table.write_text("changed")
    assert not machine.is_as_written(table)
    monkeypatch.setenv("EFFNET_CACHE", str(table / "cache"))
    machine.note_written(table)
    assert machine.is_as_written(table)


def test_a_cache_that_cannot_be_made_has_no_room(tmp_path, monkeypatch):
    monkeypatch.setenv("EFFNET_CACHE", str(tmp_path / "cache"))
    assert machine.free_cache_gb() > 0
    (tmp_path / "file").touch()
    monkeypatch.setenv("EFFNET_CACHE", str(tmp_path / "file" / "cache"))
    assert machine.cache_dir() == tmp_path / "file" / "cache"
    assert machine.free_cache_gb() == 0
