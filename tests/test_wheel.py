"""A wheel brings what a learner needs without a checkout, and lays it out beside what is there."""

import shutil
import subprocess
import sys
import tomllib
import zipfile

from effnet_helpers import course
from effnet_helpers.course import ROOT, build, lay_out, profiles
from effnet_helpers.course.cli import app

import mini_course
import pytest
from typer.testing import CliRunner

SERIES = "effnet_helpers/course/series/"
UNREAD = ("results", "figures")  # tables and figures of README


def tracked(*folders):
    """Returns what git would keep below folders: tracked, and new and not ignored."""
    command = ["git", "-c", "core.quotePath=off", "ls-files", "-co", "--exclude-standard", "--", *folders]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, encoding="utf-8", check=True).stdout
    return {name for name in listed.splitlines() if (ROOT / name).is_file()}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Builds the wheel of a copy, since building leaves folders, with the setuptools that is here."""
    pytest.importorskip("setuptools", minversion="77", reason="pip install setuptools")
    place, out = tmp_path_factory.mktemp("copy"), tmp_path_factory.mktemp("wheel")
    top = ["pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE", "CHANGELOG.md", "constraints.txt"]
    for name in tracked("effnet_helpers", "notebooks", "docs", *top):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, place / name)
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(place)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    (file,) = out.glob("*.whl")
    return zipfile.ZipFile(file)


def test_a_wheel_has_all_files_and_no_others(wheel):
    inside = {name for name in wheel.namelist() if ".dist-info/" not in name}
    read = {name for name in tracked("notebooks") if name.split("/")[1] not in UNREAD}
    series = {SERIES + name for name in (*read, "docs/glossary.md")}
    assert inside - tracked("effnet_helpers") == series
    assert tracked("effnet_helpers") - inside == set()


def test_the_notebooks_of_a_wheel_are_those_of_the_checkout(wheel):
    for name in sorted(set(tracked("notebooks")) & {each.removeprefix(SERIES) for each in wheel.namelist()}):
        assert wheel.read(SERIES + name) == (ROOT / name).read_bytes(), name


def test_a_wheel_knows_the_version_that_the_set_up_cell_asks_for(wheel):
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    assert f"effnet_helpers-{version}.dist-info/METADATA" in wheel.namelist()


# laid out


@pytest.fixture
def packed(tmp_path, monkeypatch):
    """A small series, as if a wheel had brought it."""
    series = tmp_path / "site-packages" / "series"
    mini_course.write_with_notebooks(series)
    (series / "docs").mkdir()
    (series / "docs" / "glossary.md").write_text("# Words\n")
    (series / "notebooks" / ".ipynb_checkpoints").mkdir()
    (series / "notebooks" / ".ipynb_checkpoints" / "01.ipynb").touch()
    monkeypatch.setattr(lay_out, "PACKED", series)
    return series


def effnet(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_notebooks_are_laid_out_and_what_is_there_stays(packed, tmp_path):
    target = tmp_path / "new" / "course"
    result = effnet("notebooks", target)
    assert result.exit_code == 0, result.output
    laid_out = {path.relative_to(target).as_posix() for path in target.rglob("*") if path.is_file()}
    assert laid_out == {
        "docs/glossary.md",
        *(f"notebooks/{name}.ipynb" for name in ("01_first", "02_second")),
        *(f"notebooks/src/{name}.py" for name in ("01_first", "02_second")),
        "notebooks/profiles/tiny.yaml",
    }
    assert "6 files written, 0 were there already." in result.output
    mine = target / "notebooks" / "01_first.ipynb"
    mine.write_text("my work")
    (target / "docs" / "glossary.md").unlink()
    result = effnet("notebooks", target)
    assert result.exit_code == 2
    assert "1 files written, 4 were there already" in result.output
    assert "other files of these names, which stay; name another folder for: notebooks/01_first.ipynb" in result.output
    assert mine.read_text() == "my work"


def test_a_folder_that_cannot_be_made_is_named(packed, tmp_path):
    (tmp_path / "file").touch()
    result = effnet("notebooks", tmp_path / "file")
    assert result.exit_code == 1
    assert str(tmp_path / "file") in result.output


def test_an_installed_course_finds_its_notebooks_from_any_folder(packed, tmp_path, monkeypatch):
    monkeypatch.setattr(course, "CHECKOUT", tmp_path / "lib")
    monkeypatch.setattr(profiles, "PACKED", packed)
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    root = course._root()
    assert root == tmp_path / "empty"  # where runs go
    assert profiles.notebooks_folder(root) == packed / "notebooks"
    assert profiles.resolve(root, profiles.notebooks(root), "tiny", []) == {"01_first": {"epochs": 1}, "02_second": {}}
    lay_out.lay_out(tmp_path / "mine")
    monkeypatch.chdir(tmp_path / "mine" / "notebooks" / "src")
    root = course._root()
    assert root == tmp_path / "mine"
    assert profiles.notebooks_folder(root) == root / "notebooks"
    assert [build.out_of_step(source) for source in build.sources(root)] == [None, None]


def test_an_installation_without_notebooks_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(lay_out, "PACKED", tmp_path)
    monkeypatch.setattr(lay_out, "CHECKOUT", tmp_path)
    result = effnet("notebooks", tmp_path / "new")
    assert result.exit_code == 2
    assert "This installation has no notebooks" in result.output
