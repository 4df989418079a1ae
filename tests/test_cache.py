"""The cache folder: created with a tag where that is possible, deleted only if it has one."""

import os

from effnet_helpers import machine
from effnet_helpers.course.cli import app
from effnet_helpers.machine import cache

import numpy as np
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


def test_a_bounded_cache_drops_what_was_used_longest_ago_and_nothing_that_is_in_use_or_not_ours(tmp_path, monkeypatch):
    monkeypatch.setenv("EFFNET_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("EFFNET_CACHE_GB", "0.0025")  # two arrays of a MB, not three
    folder, shape = machine.cache_dir() / "features", (1, 1_000_000)

    def write(digit):
        machine.write_array(folder / f"{digit * 32}.npy", shape, "uint8", [np.zeros(shape, "uint8")])

    def in_cache():
        return sorted(path.stem[0] for path in folder.iterdir())

    def end_of_process():
        monkeypatch.setattr(cache, "_used", set())

    folder.mkdir()
    np.save(folder / "thesis.npy", np.zeros(1_000_000))
    for age, digit in enumerate("abc"):
        write(digit)
        os.utime(folder / f"{digit * 32}.npy", (age, age))
    assert in_cache() == ["a", "b", "c", "t"]  # all of this process
    end_of_process()
    assert machine.read_array(folder / f"{'a' * 32}.npy", shape, "uint8") is not None  # now younger than the others
    end_of_process()
    write("d")
    assert in_cache() == ["a", "d", "t"]
    assert machine.free_cache_gb() == 0.0025
    monkeypatch.setenv("EFFNET_CACHE_GB", "much")
    with pytest.raises(ValueError, match=r"EFFNET_CACHE_GB must be a number of GB above 0.*Received: 'much'"):
        write("e")
