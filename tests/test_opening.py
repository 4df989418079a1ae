"""What every built notebook begins with: a set-up cell that leaves a host as it is, badges once there is an address."""

import importlib.metadata
import importlib.util
import json
import subprocess
import sys
import tomllib
from email.message import Message
from types import SimpleNamespace

from effnet_helpers.course import ROOT, build, opening, pages
from effnet_helpers.course.cli import app
from effnet_helpers.course.execute import Outcome

import lesson_rules as rules
import mini_course
import nbformat
import pytest
import test_hosts
import yaml
from packaging.requirements import Requirement
from packaging.version import Version
from typer.testing import CliRunner

SET_UP = ROOT / "notebooks" / "src" / "set_up.py"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
COLAB = {name: version for name, version in test_hosts.COLAB.items() if name != "ipykernel"}
ADDRESS = "https://github.com/ada/course"


@pytest.fixture
def set_up(monkeypatch):
    """Gives a function that runs the set-up cell on a host and returns the packages that pip was asked for."""

    def run(packages, python=(3, 12, 1), complaint=""):
        asked = []

        def pip(command, **options):
            asked.append(command)
            return SimpleNamespace(returncode=bool(complaint), stderr=complaint)

        here = [SimpleNamespace(name=name, version=version) for name, version in {**packages, "rich": "1"}.items()]
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
        monkeypatch.setattr(importlib.metadata, "distributions", lambda: [SimpleNamespace(name=None), *here])
        monkeypatch.setattr(subprocess, "run", pip)
        monkeypatch.setattr(sys, "version_info", (*python, "final", 0))
        monkeypatch.setattr(sys, "version", ".".join(map(str, python)) + " (main)")
        exec(SET_UP.read_text(encoding="utf-8"), {})
        (command,) = asked
        assert command[:4] == [sys.executable, "-m", "pip", "install"]
        return [each for each in command[4:] if not each.startswith("-")]

    return run


def test_where_the_course_is_installed_nothing_happens(monkeypatch):
    monkeypatch.setattr(subprocess, "run", lambda *_: pytest.fail("pip was called"))
    exec(SET_UP.read_text(encoding="utf-8"), {})


def test_the_course_of_this_version_is_installed_and_the_host_keeps_its_own(set_up):
    kept = {f"{name}=={version}" for name, version in COLAB.items()}
    assert set(set_up(COLAB)) == {f"{PROJECT['name']}=={PROJECT['version']}", *kept}
    assert set_up({}) == [f"{PROJECT['name']}=={PROJECT['version']}"]
    assert set_up({"keras": "3.12.0rc1"})[1:] == ["keras==3.12.0rc1"]


@pytest.mark.parametrize(
    ("changed", "python", "named"),
    [
        ({"tensorflow": "2.19.1"}, (3, 12, 1), "Python 3.12.1, tensorflow 2.19.1"),
        ({"tensorflow": "2.18.0", "keras": "3.8.0"}, (3, 11, 13), "Python 3.11.13, tensorflow 2.18.0, keras 3.8.0"),
        ({}, (3, 10, 12), "Python 3.10.12"),
        ({}, (3, 14, 0), "Python 3.14.0"),
    ],
)
def test_a_host_that_does_not_fit_is_told_in_one_sentence(set_up, changed, python, named):
    with pytest.raises(SystemExit) as stopped:
        set_up(COLAB | changed, python)
    assert str(stopped.value).endswith(f"Found: {named}")
    assert "\n" not in str(stopped.value)


def test_what_pip_says_is_passed_on(set_up):
    with pytest.raises(SystemExit, match="ERROR: No matching distribution"):
        set_up(COLAB, complaint="ERROR: No matching distribution")


def test_the_set_up_cell_asks_for_what_the_package_asks_for():
    code = SET_UP.read_text(encoding="utf-8")
    needs = {each.name: each for each in map(Requirement, PROJECT["dependencies"])}
    for name in ("tensorflow", "keras", "numpy"):
        (floor,) = [each.version for each in needs[name].specifier if each.operator == ">="]
        assert f'"{name}": {Version(floor).release}' in code
    assert PROJECT["requires-python"] == ">=3.11,<3.14", "the set-up cell says 3.11 to 3.13"
    assert rules.code_length(code) <= 15


@pytest.mark.parametrize("source", build.sources(ROOT), ids=lambda path: path.stem)
def test_every_lesson_begins_with_it_before_its_imports(source):
    cells = build.from_source(source).cells
    code = [cell for cell in cells if cell.cell_type == "code"]
    assert [opening.SETUP_TAG in cell.metadata.get("tags", []) for cell in code[:2]] == [True, False]
    assert sum(map(opening.is_opening, cells)) == 1 + bool(opening.repository(ROOT))


def test_colab_s_versions_are_the_same_wherever_they_stand():
    readme, workflow = (ROOT / "README.md", ROOT / ".github" / "workflows" / "hosts.yml")
    for path in (readme, workflow):
        text = path.read_text(encoding="utf-8").lower()
        assert [name for name, version in COLAB.items() if f"{name} {version}" not in text] == [], path.name
    needs = {each.name: each for each in map(Requirement, PROJECT["dependencies"])}
    assert all(version in needs[name].specifier for name, version in test_hosts.COLAB.items() if name in needs)


def test_other_systems_run_the_unit_tests_and_the_first_lesson_without_make():
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "hosts.yml").read_text(encoding="utf-8"))["jobs"]
    assert {system.partition("-")[0] for system in jobs["systems"]["strategy"]["matrix"]["system"]} == {
        "ubuntu",
        "macos",
        "windows",
    }
    commands = "\n".join(step.get("run", "") for step in jobs["systems"]["steps"])
    assert "effnet run 01" in commands
    assert 'pytest -n 2 --dist worksteal -m "not notebooks and not release"' in commands
    assert "make" not in commands
    assert any("tests/test_hosts.py" in step.get("run", "") for step in jobs["colab"]["steps"])


def test_a_dev_container_has_a_python_that_the_course_runs_on():
    container = json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text(encoding="utf-8"))
    assert container["image"].rpartition(":")[2] in Requirement(f"x{PROJECT['requires-python']}").specifier
    assert container["postCreateCommand"] == "make env"


# badges


@pytest.fixture
def course(tmp_path):
    mini_course.write(tmp_path)
    (tmp_path / "notebooks" / "src" / "set_up.py").write_text("import sys\n")
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "effnet-helpers"\n')
    return tmp_path


def publish(course):
    (course / "pyproject.toml").write_text(
        f'[project]\nname = "effnet-helpers"\n[project.urls]\nRepository = "{ADDRESS}"\n'
    )


def test_badges_are_there_once_there_is_an_address(course):
    source = build.sources(course)[1]
    assert build.from_source(source).cells[0].source == "# Second"
    publish(course)
    badges, title = build.from_source(source).cells[:2]
    assert title.source == "# Second"
    assert badges.metadata.tags == ["badges"]
    for link in (
        "https://colab.research.google.com/github/ada/course/blob/main/notebooks/02_second.ipynb",
        f"https://kaggle.com/kernels/welcome?src={ADDRESS}/blob/main/notebooks/02_second.ipynb",
        f"[on GitHub]({ADDRESS}/blob/main/notebooks/02_second.ipynb)",
        f"[download]({ADDRESS}/raw/main/notebooks/02_second.ipynb)",
    ):
        assert link in badges.source
    assert "[![Open in Colab](" in badges.source


def test_a_project_of_the_user_s_around_the_course_is_none_of_its_own(course, monkeypatch):
    monkeypatch.setattr(importlib.metadata, "metadata", lambda name: Message())
    for text in (
        "[tool.ruff]\n",
        '[project]\nname = "mine"\n[project.urls]\nRepository = "https://github.com/me/mine"\n',
    ):
        (course / "pyproject.toml").write_text(text)
        assert opening.repository(course) is None


# outputs that stay


def build_mini(*arguments):
    return CliRunner().invoke(app, ["build", *map(str, arguments)])


def test_outputs_stay_where_no_code_has_changed(course):
    (course / "notebooks" / "src" / "set_up.py").rename(course / "set_up.py")
    source, other = build.sources(course)
    for each in (source, other):
        notebook = build.from_source(each)
        for number, cell in enumerate([cell for cell in notebook.cells if cell.cell_type == "code"], start=1):
            cell.execution_count = number
            cell.outputs = [nbformat.v4.new_output("execute_result", {"text/plain": "1"}, execution_count=number)]
        nbformat.write(notebook, build.built_path(each))
    (course / "set_up.py").rename(course / "notebooks" / "src" / "set_up.py")
    publish(course)
    source.write_text(source.read_text().replace("Prose.", "Better prose."))
    assert build.out_of_step(source)
    assert build_mini("--keep-outputs", "--root", course).exit_code == 0
    assert [build.out_of_step(each) for each in (source, other)] == [None, None]
    cells = nbformat.read(build.built_path(source), as_version=4).cells
    code = [cell for cell in cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == [*range(1, len(code) + 1)]
    assert [[output.execution_count for output in cell.outputs] for cell in code[:3]] == [[], [2], [3]]
    assert not (course / "runs").exists()


def test_outputs_of_other_code_do_not_stay(course):
    source = build.sources(course)[1]
    nbformat.write(build.from_source(source), build.built_path(source))
    assert not build.keep_outputs(source)  # it was never run
    source.write_text(source.read_text().replace('print("after")', 'print("later")'))
    before = build.built_path(source).read_bytes()
    assert not build.keep_outputs(source)
    assert build.built_path(source).read_bytes() == before


def test_pages_of_a_run_begin_with_the_lesson(course, tmp_path):
    publish(course)
    notebook = build.from_source(build.sources(course)[0])
    pages.write_page(Outcome("01_first", "ok", 1.0, executed=notebook), tmp_path, course / "notebooks")
    page = (tmp_path / "01_first.html").read_text(encoding="utf-8")
    assert "What you will learn" in page
    assert "colab" not in page.lower()
    assert len(notebook.cells) == 9


def test_a_page_of_a_run_leads_to_other_pages_and_from_another_drive_to_exercises(tmp_path, monkeypatch):
    text = "[2](02_second.ipynb#x) [B](B_gallery.ipynb) [practise](exercises/01_first.ipynb)"
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(text)])

    def on_another_drive(*_):
        raise ValueError("path is on mount 'C:', start on mount 'D:'")

    monkeypatch.setattr(pages.os.path, "relpath", on_another_drive)
    pages.write_page(Outcome("01_first", "ok", 1.0, executed=notebook), tmp_path, tmp_path / "notebooks")
    page = (tmp_path / "01_first.html").read_text(encoding="utf-8")
    exercises = f"{(tmp_path / 'notebooks').as_uri()}/exercises/01_first.ipynb"
    for link in ("02_second.html#x", "B_gallery.html", exercises):
        assert f'href="{link}"' in page
