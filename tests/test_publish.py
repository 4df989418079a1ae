"""One command writes the address of the course into everything that names it, and twice is as good as once."""

import shutil
import tomllib

from effnet_helpers.course import ROOT, build
from effnet_helpers.course.cli import app
from effnet_helpers.course.publish import URLS

import mini_course
import nbformat
import pytest
from typer.testing import CliRunner

FILES = ("pyproject.toml", "README.md", "environment.yml")


@pytest.fixture
def course(tmp_path):
    """A course of two lessons with the files of this one around it."""
    mini_course.write(tmp_path)
    for name in (*FILES, "notebooks/src/set_up.py"):
        shutil.copy(ROOT / name, tmp_path / name)
    for source in build.sources(tmp_path):
        notebook = build.from_source(source)
        for number, cell in enumerate([cell for cell in notebook.cells if cell.cell_type == "code"], start=1):
            cell.execution_count = number
            cell.outputs = [nbformat.v4.new_output("stream", text="kept\n")]
        nbformat.write(notebook, build.built_path(source))
    return tmp_path


def publish(course, repository):
    return CliRunner().invoke(app, ["publish", repository, "--root", str(course)])


def contents(course):
    return {path.relative_to(course).as_posix(): path.read_bytes() for path in course.rglob("*") if path.is_file()}


def test_an_address_comes_everywhere_and_twice_is_as_good_as_once(course):
    before = contents(course)
    result = publish(course, "ada/first-course")
    assert result.exit_code == 0, result.output
    once = contents(course)
    assert {name for name in once if once[name] != before[name]} == {
        *FILES,
        "notebooks/01_first.ipynb",
        "notebooks/02_second.ipynb",
    }
    assert "5 files changed" in result.output
    urls = tomllib.loads(once["pyproject.toml"].decode())["project"]["urls"]
    assert urls == {"Repository": "https://github.com/ada/first-course"}
    assert b"git clone https://github.com/ada/first-course" in once["README.md"]
    assert b"#   git clone https://github.com/ada/first-course && cd first-course\n" in once["environment.yml"]
    assert "0 files changed" in publish(course, "ada/first-course").output
    assert contents(course) == once


def test_another_address_replaces_the_first_one_and_outputs_stay(course):
    publish(course, "ada/first-course")
    publish(course, "grace/second")
    assert not [name for name, content in contents(course).items() if b"ada/first-course" in content]
    for source in build.sources(course):
        assert build.out_of_step(source) is None
        cells = nbformat.read(build.built_path(source), as_version=4).cells
        assert "grace/second/blob/main/notebooks/" in cells[0].source
        code = [cell for cell in cells if cell.cell_type == "code"]
        assert [len(cell.outputs) for cell in code] == [0] + [1] * (len(code) - 1)
    bare = [URLS.sub("", (place / "pyproject.toml").read_text(encoding="utf-8")) for place in (course, ROOT)]
    assert bare[0] == bare[1]


@pytest.mark.parametrize("repository", ["", "course", "https://github.com/ada/course", "ada/course/tree", "-p/x"])
def test_what_is_no_repository_is_refused(course, repository):
    before = contents(course)
    result = publish(course, repository) if not repository.startswith("-") else publish(course, "/x")
    assert result.exit_code == 2
    assert "Expected owner/name" in result.output
    assert contents(course) == before


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        (
            "notebooks/src/02_second.py",
            lambda text: text + "\n# %%\n1\n",
            "build first: notebooks/src/02",
        ),
        ("README.md", lambda text: text.replace("end of address", ""), "README.md has lost the place"),
        ("environment.yml", lambda text: "name: x\n", "environment.yml has lost the place"),
        ("pyproject.toml", lambda text: text.replace("[project.scripts]", "[x]"), "pyproject.toml has lost the place"),
    ],
)
def test_what_cannot_be_written_is_named_before_anything_is(course, name, change, said):
    path = course / name
    path.write_text(change(path.read_text(encoding="utf-8")), encoding="utf-8")
    before = contents(course)
    result = publish(course, "ada/course")
    assert result.exit_code == 2
    assert said in result.output
    assert contents(course) == before
