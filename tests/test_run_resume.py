"""A run that was interrupted goes on: what ended well stays as it is, the rest runs as the run began."""

import contextlib
import json
import shutil
import subprocess
import sys
import time

from effnet_helpers import outputs
from effnet_helpers.course import profiles, run
from effnet_helpers.course.cli import app
from effnet_helpers.course.execute import Outcome

import mini_course
import nbformat
import psutil
import pytest
from typer.testing import CliRunner

# What the second notebook does, by the files in the folder that its parameter `dataset` names.
ACTIONS = """
import time
there = os.listdir(dataset.partition(":")[2])
if "raise" in there:
    raise ValueError("no")
if "wait" in there:
    time.sleep(60)
"""


def effnet(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    """A course with a run `x`, given in its own folder, of which the second notebook failed; not to be changed."""
    root = tmp_path_factory.mktemp("course")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mini_course, "SECOND", mini_course.SECOND.replace("import os, sys", "import os, sys" + ACTIONS))
        mini_course.write_with_notebooks(root)
        patch.chdir(root)
        pictures = root / "pictures"
        pictures.mkdir()
        (pictures / "raise").touch()
        given = ("--profile", "tiny", "-p", "rate=0.25", "-p", "dataset=folder:pictures", "--name", "x")
        result = effnet("run", *given, "--root", root)
    assert result.exit_code == 1, result.output
    assert "`effnet run --resume x` goes on with it" in result.output
    return root


@pytest.fixture
def course(begun, tmp_path, monkeypatch):
    """The same in a folder of its own, to which places are moved that the run is known by."""
    root = tmp_path / "course"
    shutil.copytree(begun, root, symlinks=True)
    monkeypatch.chdir(root)
    kept = root / "runs" / "x" / "parameters.json"
    content = json.loads(kept.read_text())
    chosen = profiles.notebooks(root)
    values = content["notebooks"]["02_second"] | {"dataset": f"folder:{root / 'pictures'}"}
    content["digests"] = profiles.digests(chosen, content["notebooks"] | {"02_second": values})
    kept.write_text(json.dumps(content))
    return root


def contents(folder, stem):
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.glob(f"{stem}.*")}


def test_a_failed_notebook_runs_again_and_the_run_is_whole(course):
    run_dir = course / "runs" / "x"
    before, earlier = contents(run_dir, "01_first"), json.loads((run_dir / "metrics.json").read_text())
    versions = json.loads((run_dir / "versions.json").read_text())
    (course / "pictures" / "raise").unlink()
    result = effnet("run", "--resume", "latest", "--root", course)
    assert result.exit_code == 0, result.output
    assert "Not run again, since they ended well: 01_first." in result.output
    assert result.output.count("│ ok") == 2
    assert "--resume" not in result.output
    assert contents(run_dir, "01_first") == before
    metrics = json.loads((run_dir / "metrics.json").read_text())
    assert list(metrics) == ["01_first", "02_second"]
    assert metrics["01_first"] == earlier["01_first"]
    assert metrics["02_second"]["status"] == "ok"
    index = (run_dir / "index.html").read_text()
    assert index.count('class="ok"') == 2
    assert "profile tiny" in index
    notebook = (run_dir / "02_second.ipynb").read_text()
    assert "folder:pictures" in notebook
    assert str(course) not in notebook
    now = json.loads((run_dir / "versions.json").read_text())
    assert now["before"] == versions
    assert now["run"]["seconds"] > versions["run"]["seconds"]
    assert now["run"]["share_of_cores_busy"] <= 1
    whole = contents(run_dir, "*")
    result = effnet("run", "--resume", "x", "--root", course)
    assert "Not run again, since they ended well: 01_first, 02_second." in result.output
    assert contents(run_dir, "*") == whole


def test_after_kill_9_the_rest_runs_as_the_run_began(course):
    run_dir, pictures = course / "runs" / "y", course / "pictures"
    (pictures / "raise").rename(pictures / "wait")
    given = ("-p", "rate=0.25", "-p", "dataset=folder:pictures", "-p", "seed=3", "--name", "y", "--jobs", "1")
    command = [sys.executable, "-m", "effnet_helpers", "run", *given, "--root", course]
    process, deadline = subprocess.Popen(command, stdout=subprocess.DEVNULL), time.time() + 60
    while not ((run_dir / "02_second.ipynb").exists() and run.ended_well(run_dir)) and time.time() < deadline:
        time.sleep(0.01)
    kernels = psutil.Process(process.pid).children(recursive=True)
    result = effnet("run", "--resume", "y", "--root", course)
    assert result.exit_code == 2
    assert f"Another process is at work in {run_dir}: wait until it has ended" in result.stderr
    process.kill()
    process.wait()
    for kernel in kernels:
        with contextlib.suppress(psutil.NoSuchProcess):  # it ends by itself, a second later
            kernel.kill()
    assert list(run.ended_well(run_dir)) == ["01_first"]
    before = contents(run_dir, "01_first")
    (pictures / "wait").unlink()
    result = effnet("run", "--resume", "y", "--root", course)
    assert result.exit_code == 0, result.output
    assert contents(run_dir, "01_first") == before
    metrics = json.loads((run_dir / "metrics.json").read_text())
    assert [each["status"] for each in metrics.values()] == ["ok", "ok"]
    assert metrics["01_first"]["accuracy"] == 0.8
    assert "rate = 0.25\nseed = 3\n" in run.profiles.read_notebook(run_dir / "01_first.ipynb").cells[3].source


def test_only_what_the_metrics_call_ok_has_ended_well(course):
    run_dir = course / "runs" / "x"
    assert list(run.ended_well(run_dir)) == ["01_first"]
    (run_dir / ".metrics.json.part").write_text('{"02_second": {"status": "ok"')
    shutil.copy(run_dir / "01_first.ipynb", run_dir / "02_second.ipynb")
    assert list(run.ended_well(run_dir)) == ["01_first"]
    (run_dir / "01_first.html").unlink()
    assert run.ended_well(run_dir) == {}


@pytest.mark.parametrize("point", range(1, 12))
def test_after_a_kill_at_any_point_of_writing_the_run_goes_on(course, monkeypatch, point):
    executed, written, onto_disk, run_dir = [], [], outputs.onto_disk, course / "runs" / "y"

    def execute(notebook, output, *_, **__):
        executed.append(notebook.stem)
        while (
            executed == ["01_first", "02_second"] and not (run_dir / "metrics.json").exists() and len(written) < point
        ):
            time.sleep(0.001)  # until the first one is reported
        content = nbformat.read(notebook, as_version=4)
        nbformat.write(content, output)
        return Outcome(notebook.stem, "ok", 0.1, executed=content)

    def be_killed(path):
        written.append(path)
        if len(written) >= point:  # the dead write no more
            path.write_bytes(path.read_bytes()[:20])
            raise KeyboardInterrupt
        onto_disk(path)

    monkeypatch.setattr(run, "execute", execute)
    monkeypatch.setattr(run, "write_page", lambda outcome, folder, *_: (folder / f"{outcome.notebook}.html").touch())
    monkeypatch.setattr(outputs, "onto_disk", be_killed)
    assert effnet("run", "--name", "y", "-j", "1", "--root", course).exit_code == (130 if point < 11 else 0)
    monkeypatch.setattr(outputs, "onto_disk", onto_disk)
    done = list(run.ended_well(run_dir))
    assert done == ["01_first", "02_second"][: (point > 6) + (point > 10)]
    again = ("--resume", "y") if run_dir.exists() else ("--name", "y")
    assert run_dir.exists() == (point > 2)
    executed.clear()
    assert effnet("run", *again, "-j", "1", "--root", course).exit_code == 0
    assert executed == [stem for stem in ("01_first", "02_second") if stem not in done]
    assert list(run.ended_well(run_dir)) == list(json.loads((run_dir / "metrics.json").read_text()))
    assert len(run.ended_well(run_dir)) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--profile", "quick"],
            "--resume: x began with tiny, 01_first, 02_second. Received: quick, 01_first, 02_second",
        ),
        (["2"], "x began with tiny, 01_first, 02_second. Received: tiny, 02_second"),
        (["-p", "epochs=2"], "not as when x began: epochs (was 1 where it began)."),
        (["-p", "dataset=folder:other"], "dataset (was folder:pictures where it began)."),
        (["--name", "z"], "A run that goes on keeps its name, x. Received: --name z"),
        (["-p", "epoch=1"], "Did you mean 'epochs'?"),
    ],
)
def test_what_differs_from_what_the_run_began_with_is_refused(course, arguments, message):
    before = {path: path.read_bytes() for path in (course / "runs" / "x").glob("*.*")}
    result = effnet("run", *arguments, "--resume", "x", "--root", course)
    assert result.exit_code == 2
    assert message in result.stderr
    assert {path: path.read_bytes() for path in (course / "runs" / "x").glob("*.*")} == before


def test_a_run_that_does_not_exist_is_refused_with_those_there_are(course):
    result = effnet("run", "--resume", "xx", "--root", course)
    assert (result.exit_code, result.stderr.strip()) == (
        2,
        "effnet: --resume: there is no run 'xx'. Did you mean 'x'? Known: x",
    )
    for name in ("", "..", "../course"):
        assert "there is no run" in effnet("run", "--resume", name, "--root", course).stderr


def test_a_changed_notebook_is_named(course):
    path = course / "notebooks" / "02_second.ipynb"
    path.write_text(path.read_text().replace("after", "behind"))
    result = effnet("run", "--resume", "x", "--root", course)
    assert "not as when x began: cells of 02_second. " in result.stderr
    path.unlink()
    assert (
        "None fits. Known: 01_first. Received: '02_second'" in effnet("run", "--resume", "x", "--root", course).stderr
    )


def test_paths_are_the_same_from_elsewhere_or_given_again(course, tmp_path, monkeypatch):
    _, _, _, here = profiles.resumed(course, "x", [], None, [])
    monkeypatch.chdir(tmp_path)
    result = effnet("run", "--resume", "x", "--root", course)
    assert "dataset (was folder:pictures where it began). Go where it began, name its paths" in result.stderr
    _, _, profile, given = profiles.resumed(course, "x", ["first", "2"], "tiny", ["dataset=folder:course/pictures"])
    assert profile == "tiny"
    assert given == here == {
        "01_first": {"epochs": 1, "rate": 0.25},
        "02_second": {"dataset": f"folder:{course / 'pictures'}"},
    }  # fmt: skip


def test_a_profile_that_changed_since_does_not_change_the_run(course):
    (course / "notebooks" / "profiles" / "tiny.yaml").write_text("01_first:\n  epochs: 7\n  sizes: [5]\n")
    _, _, _, given = profiles.resumed(course, "x", [], None, [])
    assert given["01_first"] == {"epochs": 1, "rate": 0.25, "sizes": [1, 2]}
