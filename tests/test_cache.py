"""The cache folder: created with a tag, deleted only if it has one."""

import os

from effnet_helpers.course.cli import app
from effnet_helpers.machine import cache

from typer.testing import CliRunner


def test_clean_cache_deletes_only_what_the_course_created(tmp_path, monkeypatch):
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    monkeypatch.setenv("EFFNET_CACHE", str(ours))
    assert cache.cache_dir() == ours
    (ours / "features.npy").write_bytes(bytes(2_000_000))
    assert "Freed 2.0 MB" in CliRunner().invoke(app, ["clean-cache"]).output
    assert not ours.exists()
    assert "Freed 0.0 MB" in CliRunner().invoke(app, ["clean-cache"]).output

    theirs.mkdir()
    (theirs / "thesis.txt").write_text("precious")
    monkeypatch.setenv("EFFNET_CACHE", str(theirs))
    assert cache.cache_dir() == theirs
    result = CliRunner().invoke(app, ["clean-cache"])
    assert result.exit_code == 2
    assert f"Received: {theirs}" in result.output
    assert os.listdir(theirs) == ["thesis.txt"]
