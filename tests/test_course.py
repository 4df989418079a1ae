"""The machinery around the lessons, tried on a course of two tiny notebooks."""

import functools
import json
import re
import signal
import subprocess
import sys
import time
from io import StringIO
from pathlib import Path

from effnet_helpers import runtime
from effnet_helpers.course import CourseError, build, profiles, rules
from effnet_helpers.course.cli import app
from effnet_helpers.course.display import live_progress, main_figures, summary_table
from effnet_helpers.course.execute import Outcome, execute
from effnet_helpers.course.run import new_run_dir, seed_statistics, versions
from effnet_helpers.records import RECORD_MIME

import mini_course
import nbformat
import psutil
import pytest
from bs4 import BeautifulSoup
from rich.console import Console
from typer.testing import CliRunner


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A course of two notebooks, built; not to be changed."""
    root = tmp_path_factory.mktemp("course")
    mini_course.write(root)
    for source in build.sources(root):
        assert build.build(source, root / "runs" / "build").status == "ok"
    return root


@pytest.fixture
def course(built, tmp_path):
    """A copy to write in."""
    subprocess.run(["cp", "-r", built / "notebooks", tmp_path / "notebooks"], check=True)
    return tmp_path


def effnet(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def notebook_of(root, stem):
    return nbformat.read(root / "notebooks" / f"{stem}.ipynb", as_version=4)


# building


def test_a_built_notebook_is_clean_and_in_step(built):
    notebook = notebook_of(built, "01_first")
    assert rules.output_problems(notebook) == []
    assert notebook.metadata == build.METADATA
    assert all(set(cell.metadata) <= {"tags"} for cell in notebook.cells)
    assert [build.out_of_step(source) for source in build.sources(built)] == [None, None]


def test_the_same_source_gives_the_same_notebook_and_unique_ids(built):
    source = build.sources(built)[0]
    assert build.from_source(source) == build.from_source(source)
    ids = [cell.id for cell in build.from_source(source).cells]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace("Prose.", "Other prose."), "differs from its source in cell 4"),
        (lambda text: text.replace('tags=["parameters"]', 'tags=["other"]'), "differs from its source in cell 3"),
        (lambda text: text + "\n# %%\n1 + 1\n", "has 7 cells, its source 8"),
    ],
)
def test_a_changed_source_is_out_of_step(course, change, message):
    source = build.sources(course)[0]
    source.write_text(change(source.read_text()))
    assert message in build.out_of_step(source)
    result = effnet("build", "--check", "--root", course)
    assert result.exit_code == 1
    assert message in result.output


def test_check_finds_notebooks_without_source_and_sources_without_notebook(course):
    (course / "notebooks" / "01_first.ipynb").rename(course / "notebooks" / "09_stray.ipynb")
    output = effnet("build", "--check", "--root", course).output
    assert "01_first.ipynb has not been built" in output
    assert "09_stray.ipynb has no source" in output


@pytest.mark.parametrize(("action", "message"), [("stderr", "text on stderr: ['chatter']"), ("raise", "first line")])
def test_a_notebook_that_fails_or_chatters_does_not_replace_the_committed_one(course, action, message):
    source = build.sources(course)[1]
    source.write_text(source.read_text().replace('"none"', f'"{action}"'))
    before = build.built_path(source).read_bytes()
    result = effnet("build", "02", "--root", course)
    assert result.exit_code != 0
    assert message in result.output
    assert build.built_path(source).read_bytes() == before


# running


@pytest.fixture(scope="module")
def failed_run(built):
    """A run of both notebooks of which the second fails."""
    result = effnet("run", "--root", built, "--profile", "tiny", "-p", "action=raise", "--name", "failing")
    return result, built / "runs" / "failing"


def test_a_failing_notebook_is_named_and_does_not_hide_the_others(failed_run):
    result, _ = failed_run
    assert result.exit_code == 1
    assert "02_second, cell 3 (The test): ValueError: first line second line" in " ".join(result.output.split())
    assert "Traceback" not in result.output
    assert re.search(r"01_first +│ ok .*accuracy 0.5", result.output)


def test_a_run_leaves_metrics_parameters_and_versions(failed_run):
    _, run_dir = failed_run
    metrics = json.loads((run_dir / "metrics.json").read_text())
    assert list(metrics["01_first"]) == ["status", "seconds", "peak_memory_mb", "accuracy"]
    assert metrics["01_first"]["status"] == "ok"
    assert metrics["01_first"]["accuracy"] == 0.5
    assert metrics["01_first"]["peak_memory_mb"] > 20  # a kernel's own
    assert metrics["02_second"]["status"] == "failed"
    assert (metrics["02_second"]["error"], metrics["02_second"]["cell"]) == ("ValueError: first line second line", 3)
    parameters = json.loads((run_dir / "parameters.json").read_text())
    assert parameters["profile"] == "tiny"
    assert parameters["notebooks"]["01_first"]["epochs"] == 1
    assert parameters["notebooks"]["01_first"]["rate"] == 0.5
    assert json.loads((run_dir / "versions.json").read_text())["packages"]["papermill"]


def test_partial_output_is_kept_and_latest_points_at_the_failed_run(failed_run):
    _, run_dir = failed_run
    cells = nbformat.read(run_dir / "02_second.ipynb", as_version=4).cells
    assert any("before" in str(cell.get("outputs")) for cell in cells)
    assert (run_dir.parent / "latest").resolve() == run_dir


def test_pages_load_nothing_from_elsewhere_and_keep_alternative_texts(failed_run):
    _, run_dir = failed_run
    pages = [BeautifulSoup(path.read_text(), "html.parser") for path in sorted(run_dir.glob("*.html"))]
    assert len(pages) == 3
    for page in pages:
        loaded = [tag.get("src") or tag.get("href") for tag in page.find_all(["script", "link", "img", "iframe"])]
        assert all(address.startswith("data:") for address in loaded if address)
        assert not page.find_all("script")
        styles = " ".join(style.text for style in page.find_all("style"))
        assert not re.search(r"@import|url\(\s*['\"]?(https?:)?//", styles)
    first, _, index = pages
    assert [image["alt"] for image in first.find_all("img")] == ['A "red" dot']
    assert first.find("a", href="02_second.html")
    assert [link["href"] for link in index.table.find_all("a")] == ["01_first.html", "02_second.html"]
    assert "accuracy 0.5" in index.table.text
    assert "ValueError: first line second line" in index.table.text


@pytest.mark.parametrize(("action", "error"), [("exit", "the cells below did not run"), ("die", "Kernel died")])
def test_a_notebook_that_stops_early_has_failed_whatever_papermill_says(built, tmp_path, action, error):
    outcome = execute(
        profiles.notebooks(built)[1],
        tmp_path / "out.ipynb",
        parameters={"action": action},
        cwd=tmp_path,
        log=tmp_path / "kernel.log",
    )
    assert outcome.status == "failed"
    assert error in outcome.error
    assert outcome.cell == 3


def test_kernels_are_quiet_and_of_this_python_whatever_python3_means_to_jupyter(built, tmp_path, monkeypatch, capfd):
    spec = tmp_path / "kernels" / "python3" / "kernel.json"
    spec.parent.mkdir(parents=True)
    spec.write_text(json.dumps({"argv": ["false"], "display_name": "Broken", "language": "python"}))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    first, out = profiles.notebooks(built)[0], tmp_path / "out.ipynb"
    outcome = execute(first, out, parameters={}, cwd=tmp_path, log=tmp_path / "kernel.log")
    assert outcome.status == "ok"
    assert "".join(capfd.readouterr()) == ""
    assert (tmp_path / "kernel.log").exists()


def test_ctrl_c_ends_kernel_and_series_keeps_what_there_is_and_exits_with_130(course):
    command = [sys.executable, "-m", "effnet_helpers", "run", "-p", "pause=60", "--root", course, "--name", "x"]
    # Where tests run in the background of a shell, they inherit that Ctrl-C is ignored.
    as_in_a_terminal = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen(command, preexec_fn=as_in_a_terminal, **streams)
    run_dir = course / "runs" / "x"
    executed = run_dir / "01_first.ipynb"
    deadline = time.time() + 60
    while time.time() < deadline and not (executed.exists() and '"name": "accuracy"' in executed.read_text()):
        time.sleep(0.2)
    kernels = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted" in output
    assert errors == "effnet: interrupted\n"
    assert kernels
    assert not any(kernel.is_running() for kernel in kernels)
    metrics = json.loads((run_dir / "metrics.json").read_text())
    assert list(metrics) == ["01_first"]
    assert (metrics["01_first"]["error"], metrics["01_first"]["accuracy"]) == ("interrupted", 0.5)
    assert (run_dir / "index.html").exists()


def test_a_run_never_overwrites_another(tmp_path):
    new_run_dir(tmp_path, "mine")
    for name in ("mine", "latest", "../mine", "/mine", "", "a b"):
        with pytest.raises(CourseError, match=re.escape(f"Received: {name!r}")):
            new_run_dir(tmp_path, name)


def test_an_outdated_notebook_is_run_with_a_note(course):
    source = build.sources(course)[1]
    source.write_text(source.read_text() + "\n# %%\n1\n")
    assert "02_second.ipynb has 5 cells, its source 6. Running it as it is" in effnet(
        "run", "2", "--root", course
    ).output.replace("\n", " ")


def test_versions_name_what_the_course_asks_for():
    found = versions(Path(__file__).parents[1])
    assert {"tensorflow", "keras", "numpy", "effnet-helpers"} <= set(found["packages"])
    assert found["machine"]["cores"] >= 1


# showing


def test_a_terminal_sees_cell_heading_and_elapsed_time():
    screen = StringIO()
    console = Console(file=screen, force_terminal=True, width=100)
    with live_progress(["01_first"], console) as display:
        display.start("01_first")(2, 5, "A [heading]")
        time.sleep(0.3)
        display.finish(Outcome("01_first", "failed", 61.0, 10.0, error="E: x", cell=2, heading="H"))
    assert "01_first  cell 2/5  A [heading]" in screen.getvalue()
    assert "0:00:0" in screen.getvalue()
    assert "01_first, cell 2 (H): E: x" in screen.getvalue()


def test_the_table_shows_minutes_memory_and_the_first_figures():
    records = {"accuracy": 0.81234, "images": 1000, "c": 1, "d": 2, "e": 3}
    outcome = Outcome("04_head", "ok", 125.4, 1234.5, records)
    assert main_figures(outcome) == ["accuracy 0.8123", "images 1000", "c 1", "d 2", "… 1 more in metrics.json"]
    console = Console(file=StringIO(), width=100)
    console.print(summary_table([outcome]))
    assert re.search(r"04_head +│ ok +│ +2:05 │ +1,234 │ accuracy 0.8123", console.file.getvalue())


def test_the_runner_harvests_what_the_notebooks_record():
    assert runtime.RECORD_MIME == RECORD_MIME
    assert RECORD_MIME in mini_course.FIRST


def test_recorded_names_cannot_replace_the_runners_own():
    assert Outcome("n", "ok", 1.0, 2.0, {"status": "great", "seconds": 0}).metrics()["status"] == "ok"


# seeds


def test_seed_statistics_leave_out_failures_and_texts():
    runs = {
        0: [Outcome("n", "ok", 1, 1, {"accuracy": 0.4, "name": "x", "flag": True})],
        1: [Outcome("n", "ok", 1, 1, {"accuracy": 0.6})],
        2: [Outcome("n", "failed", 1, 1, {"accuracy": 0.0}, error="E", cell=1)],
    }
    (row,) = seed_statistics(runs)
    assert (row["figure"], row["seeds"], row["minimum"], row["maximum"]) == ("accuracy", 2, 0.4, 0.6)
    assert row["mean"] == pytest.approx(0.5)
    assert row["standard_deviation"] == pytest.approx(0.1 * 2**0.5)


def test_seeds_repeats_a_notebook_and_writes_a_csv(course):
    result = effnet("seeds", "1", "--seeds", "0,2", "--root", course, "--name", "s")
    assert result.exit_code == 0
    assert "0.6 ± 0.14" in result.output
    heading, row = (course / "runs" / "s" / "seeds.csv").read_text().split()
    assert heading == "notebook,figure,seeds,mean,standard_deviation,minimum,maximum,seed_0,seed_2"
    assert row.startswith("01_first,accuracy,2,0.6,0.14")
    assert effnet("seeds", "1", "--seeds", "a", "--root", course).exit_code == 2


# starting


def test_the_command_starts_without_what_takes_long_to_import():
    """`make bench ROW=start` times it; a timed test would depend on what else the machine does."""
    heavy = {"tensorflow", "keras", "papermill", "pandas", "matplotlib", "sklearn", "scipy", "PIL"}
    code = f"import sys, effnet_helpers.course.cli; print({heavy} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"
