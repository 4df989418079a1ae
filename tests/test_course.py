"""The machinery around the lessons, tried on a course of two tiny notebooks."""

import errno
import functools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from datetime import datetime
from io import StringIO
from pathlib import Path

from effnet_helpers.course import CourseError, build, places, profiles, run, seeds
from effnet_helpers.course.cli import app
from effnet_helpers.course.display import LiveProgress, main_figures, summary_table
from effnet_helpers.course.execute import Outcome, execute
from effnet_helpers.course.kernels import Kernels, Usage
from effnet_helpers.course.sweep_plan import Plan
from effnet_helpers.course.work import run_all
from effnet_helpers.records import RECORD_MIME

import lesson_rules
import mini_course
import nbformat
import psutil
import pytest
from bs4 import BeautifulSoup
from nbformat.v4 import new_code_cell, new_notebook, new_output
from rich.console import Console
from typer.testing import CliRunner


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A course of two notebooks, built; not to be changed."""
    root = tmp_path_factory.mktemp("course")
    mini_course.write(root)
    assert effnet("build", "--root", root).exit_code == 0
    return root


@pytest.fixture
def course(built, tmp_path):
    """A copy to write in."""
    return copy_of(built, tmp_path)


def copy_of(built, folder):
    shutil.copytree(built / "notebooks", folder / "notebooks")
    return folder


def effnet(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def outcome_with(records, **fields):
    outputs = [new_output("display_data", {RECORD_MIME: {"name": name, "value": records[name]}}) for name in records]
    fields = {"notebook": "04_head", "status": "ok", "seconds": 125.4, "usage": Usage(1234.5, 60.0)} | fields
    return Outcome(**fields, executed=new_notebook(cells=[new_code_cell("1", outputs=outputs)]))


# building


def test_a_built_notebook_is_clean_and_in_step(built):
    notebook = nbformat.read(built / "notebooks" / "01_first.ipynb", as_version=4)
    assert lesson_rules.output_problems(notebook) == []
    assert notebook.metadata == build.METADATA
    assert all(set(cell.metadata) <= {"tags"} for cell in notebook.cells)
    assert effnet("build", "--check", "--root", built).exit_code == 0


def test_a_source_gives_the_same_notebook_every_time(built):
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
    result = effnet("build", "--check", "--root", course)
    assert result.exit_code == 1
    assert message in result.output


def test_what_lacks_a_source_or_a_notebook_is_named(course):
    (course / "notebooks" / "01_first.ipynb").rename(course / "notebooks" / "09_stray.ipynb")
    output = effnet("build", "--check", "--root", course).output
    assert "01_first.ipynb has not been built" in output
    assert "09_stray.ipynb has no source" in output


def test_a_notebook_that_fails_does_not_replace_the_committed_one(course):
    source = build.sources(course)[1]
    source.write_text(source.read_text().replace('"none"', '"raise"'))
    before = build.built_path(source).read_bytes()
    result = effnet("build", "02", "--root", course)
    assert result.exit_code == 1
    assert "first <line>" in result.output
    assert build.built_path(source).read_bytes() == before


def test_pieces_of_a_stream_are_joined_where_they_stand(built):
    pieces = [new_output("stream", name="stdout", text=text) for text in "abc"]
    pieces.insert(2, new_output("display_data", {"text/plain": "figure"}))
    notebook = new_notebook(cells=[new_code_cell("1")])
    executed = new_notebook(cells=[new_code_cell("1", outputs=pieces, execution_count=1)])
    outputs = build.with_outputs(notebook, executed).cells[0].outputs
    assert [output.get("text", "figure") for output in outputs] == ["ab", "figure", "c"]


# running


@pytest.fixture(scope="module")
def failed_run(built, tmp_path_factory):
    """A run of two notebooks of which the second fails, and is not as its source; Jupyter's `python3` is broken."""
    root = copy_of(built, tmp_path_factory.mktemp("failed"))
    source = build.sources(root)[1]
    source.write_text(source.read_text() + "\n# %%\n1\n")
    spec = root / "kernels" / "python3" / "kernel.json"
    spec.parent.mkdir(parents=True)
    spec.write_text(json.dumps({"argv": ["false"], "display_name": "Broken", "language": "python"}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JUPYTER_PATH", str(root))
        result = effnet("run", "--root", root, "--profile", "tiny", "-p", "action=raise", "--name", "x", "--jobs", 2)
    return result, root / "runs" / "x"


def test_a_failing_notebook_is_named_and_does_not_stop_the_others(failed_run):
    result, _ = failed_run
    output = " ".join(result.output.split())
    assert result.exit_code == 1
    assert "02_second, cell 3 (The test): ValueError: first <line> second line" in output
    assert "Traceback" not in output
    assert re.search(r"01_first │ ok │ .*accuracy 0.5", output)
    assert re.search(r"0:0\d min, 2 notebooks at once, \d+% of \d+ cores? busy", output)


def test_an_outdated_notebook_is_run_with_a_note(failed_run):
    result, _ = failed_run
    output = " ".join(result.output.split())
    assert "02_second.ipynb has 5 cells, its source 6. Running it as it is" in output


def test_a_run_leaves_metrics_parameters_and_versions(failed_run):
    _, run_dir = failed_run
    first, second = json.loads((run_dir / "metrics.json").read_text()).values()
    assert list(first) == ["status", "seconds", "cpu_seconds", "peak_memory_mb", "accuracy"]
    assert (first["status"], first["accuracy"]) == ("ok", 0.5)
    assert first["peak_memory_mb"] > 20  # a kernel's own
    assert first["cpu_seconds"] > 0
    assert (second["status"], second["error"]) == ("failed", "ValueError: first <line> second line")
    assert (second["cell"], second["heading"]) == (3, "The test")
    parameters = json.loads((run_dir / "parameters.json").read_text())
    assert parameters["profile"] == "tiny"
    assert parameters["notebooks"]["01_first"]["epochs"] == 1
    assert parameters["notebooks"]["01_first"]["rate"] == 0.5
    versions = json.loads((run_dir / "versions.json").read_text())
    assert {"tensorflow", "keras", "numpy", "effnet-helpers"} <= set(versions["packages"])
    assert versions["run"]["notebooks_at_once"] == 2
    assert versions["run"]["share_of_cores_busy"] > 0


def test_partial_output_is_kept_and_latest_points_at_the_run(failed_run):
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
    first, second, index = pages
    assert [image["alt"] for image in first.find_all("img")] == ['A "red" dot']
    assert first.find("a", href="02_second.html")
    assert first.find("a", href="../../notebooks/exercises/01_first.ipynb")
    assert "before" in second.text
    assert [link["href"] for link in index.table.find_all("a")] == ["01_first.html", "02_second.html"]
    assert "accuracy 0.5" in index.table.text
    assert "ValueError: first <line> second line" in index.table.text


def test_what_a_run_leaves_names_no_folder_of_this_machine(built, tmp_path):
    course = copy_of(built, tmp_path / "co{u}rse")
    folder = tmp_path / "Tom & Zoë's" / os.fsdecode(b"p\xefcs")
    folder.mkdir(parents=True)
    given = ("-p", f"dataset=folder:{folder}", "-p", "action=open")
    assert effnet("run", "2", *given, "--root", course, "--name", "x").exit_code == 1
    left = {path.name: path.read_text() for path in (course / "runs" / "x").rglob("*.*")}
    assert {"02_second.ipynb", "02_second.html", "02_second.log", "index.html", "metrics.json"} < left.keys()
    assert [name for name, text in left.items() if str(tmp_path) in text or "Tom" in text] == []
    assert json.loads(left["parameters.json"])["notebooks"]["02_second"]["dataset"] == r"folder:…/p\udcefcs"
    assert r"…/p\udcefcs/nothing" in json.loads(left["metrics.json"])["02_second"]["error"]


def test_paths_are_shown_from_where_the_command_is_given_or_by_a_place_with_a_name(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("KERAS_HOME", "/")  # shown as it is: every path begins so
    table, photo = tmp_path / "here/../my table.csv", tmp_path / "home/me.png"
    hide = places.hiding(tmp_path / "course", [table, photo])
    for path, shown in {
        table: "../my table.csv",
        tmp_path / "my table.csv": "../my table.csv",
        tmp_path / "1.jpg": "../1.jpg",
        photo: "~/me.png",
        tmp_path / "course/notebooks": "./notebooks",
        tmp_path / "homeless": "../homeless",
    }.items():
        assert hide(f"\x1b[32m{path}:7, in '{path}'") == f"\x1b[32m{shown}:7, in '{shown}'"
    untouched = {"image/png": str(photo), "text/plain": f"https://x.org{photo} <{photo}> /a/b", "n": [1, None]}
    untouched["text/html"] = f'<img src="data:image/png;base64,iV+{tempfile.gettempdir()}+B">'
    assert hide(untouched) == untouched


@pytest.mark.parametrize(("action", "error"), [("exit", "the cells below did not run"), ("die", "Kernel died")])
def test_a_notebook_that_stops_early_has_failed(built, tmp_path, action, error):
    notebook, log = profiles.notebooks(built)[1], tmp_path / "kernel.log"
    outcome = execute(notebook, tmp_path / "out.ipynb", {"action": action}, cwd=tmp_path, log=log)
    assert outcome.status == "failed"
    assert error in outcome.error
    assert outcome.cell == 3


@pytest.mark.posix
def test_ctrl_c_ends_all_kernels_and_keeps_what_there_is(course):
    command = [sys.executable, "-m", "effnet_helpers", "run", "-p", "pause=60", "--root", course, "--name", "x"]
    # Where tests run in the background of a shell, they inherit that Ctrl-C is ignored.
    as_in_a_terminal = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen(command, preexec_fn=as_in_a_terminal, **streams)
    run_dir = course / "runs" / "x"
    executed = run_dir / "01_first.ipynb"
    deadline = time.time() + 60
    while time.time() < deadline and not (executed.exists() and '"name": "accuracy"' in executed.read_text()):
        time.sleep(0.1)
    kernels = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert re.search(r"01_first +│ failed .*interrupted", output)
    assert errors == "effnet: interrupted\n"
    assert kernels
    assert not any(kernel.is_running() for kernel in kernels)
    metrics = json.loads((run_dir / "metrics.json").read_text())
    assert (metrics["01_first"]["error"], metrics["01_first"]["accuracy"]) == ("interrupted", 0.5)
    assert (run_dir / "index.html").exists()


def test_what_has_not_begun_is_left_out_after_ctrl_c():
    def interrupt(*_):
        raise KeyboardInterrupt

    reported, console = [], Console(file=StringIO())
    work = {"first": interrupt, "second": lambda *_: pytest.fail("was begun")}
    with pytest.raises(KeyboardInterrupt):
        run_all(work, console, report=lambda outcomes, effort: reported.append(outcomes))
    assert reported == []
    assert "1 notebook at once" in console.file.getvalue()


def test_a_run_never_overwrites_another(tmp_path):
    run.new_run_dir(tmp_path, "mine", {})
    for name in ("mine", "latest", "../mine", "/mine", "", "a b"):
        with pytest.raises(CourseError, match=re.escape(f"Received: {name!r}")):
            run.new_run_dir(tmp_path, name, {})


def test_runs_of_one_second_have_names_of_their_own(tmp_path):
    names = [run.default_name(tmp_path, "quick") for _ in range(3)]
    assert len(set(names)) == 3
    assert run.new_run_dir(tmp_path, names[1], {}).is_dir()


@pytest.mark.parametrize(
    ("cores", "memory", "gpu", "expected"),
    [(8, 16, None, 2), (1, 16, None, 1), (8, 4, None, 1), (8, 16, "nvidia-smi", 1), (1, 1, None, 1)],
)
def test_two_notebooks_run_at_once_where_there_is_room(monkeypatch, cores, memory, gpu, expected):
    monkeypatch.setattr(run, "usable_cores", lambda: cores)
    monkeypatch.setattr(run, "memory_gb", lambda: (memory, memory))
    monkeypatch.setattr(run.shutil, "which", lambda name: gpu)
    assert run.side_by_side() == expected


def test_a_turn_alone_waits_for_those_begun_and_goes_before_those_that_wait():
    kernels, order, waiting, first_goes_on = Kernels(), [], threading.Event(), threading.Event()

    def first():
        with kernels.taking_turns() as next_turn:
            waiting.set()
            first_goes_on.wait()
            order.append("first cell ends")
            next_turn(False)
            order.append("next cell begins")

    def timing():
        with kernels.taking_turns() as next_turn:
            next_turn(True)
            order.append("timing begins")
            time.sleep(0.05)
            order.append("timing ends")

    threads = [threading.Thread(target=each) for each in (first, timing)]
    threads[0].start()
    waiting.wait()
    threads[1].start()
    time.sleep(0.05)  # the timing cell waits by now
    first_goes_on.set()
    for thread in threads:
        thread.join()
    assert order == ["first cell ends", "timing begins", "timing ends", "next cell begins"]


# showing


def test_a_terminal_sees_cells_headings_and_elapsed_time_of_both():
    screen = StringIO()
    console = Console(file=screen, force_terminal=True, width=100)
    with LiveProgress(["01_first", "02_second"], console) as display:
        display.begin("02_second")(1, 3, "Another")
        display.begin("01_first")(2, 5, "A [heading]")
        time.sleep(0.3)
        display.mark_ended("01_first", Outcome("01_first", "failed", 61.0, error="E: x", cell=2, heading="H"))
    assert "01_first  cell 2/5  A [heading]" in screen.getvalue()
    assert "02_second  cell 1/3  Another" in screen.getvalue()
    assert "0:00:0" in screen.getvalue()
    assert "01_first, cell 2 (H): E: x" in screen.getvalue()


def test_the_table_shows_minutes_memory_and_the_first_figures():
    outcome = outcome_with({"images": 1000, "accuracy": 0.81234, "test_accuracy": 0.9, "d": 2, "e": 3})
    shown = ["test_accuracy 0.9", "images 1000", "accuracy 0.8123", "d 2", "… 1 more in metrics.json"]
    assert main_figures(outcome) == shown
    console = Console(file=StringIO(), width=100)
    console.print(summary_table({"04_head": outcome}))
    assert re.search(r"04_head +│ ok +│ +2:05 │ +1,234 │ test_accuracy 0.9", console.file.getvalue())


def test_the_course_of_these_tests_records_as_lessons_do():
    assert RECORD_MIME in mini_course.FIRST


def test_recorded_names_cannot_replace_the_runs_own():
    metrics = outcome_with({"status": "great", "seconds": 0, "accuracy": 0.5}).metrics()
    assert (metrics["status"], metrics["seconds"], metrics["accuracy"]) == ("ok", 125.4, 0.5)


# seeds


def test_seed_statistics_leave_out_failures_and_texts():
    outcomes = {
        "seed-0 04_head": outcome_with({"accuracy": 0.4, "name": "x", "flag": True}),
        "seed-10 04_head": outcome_with({"accuracy": 0.6, "once": 1}),
        "seed-2 04_head": outcome_with({"accuracy": 0.0}, status="failed", error="E", cell=1),
    }
    planned = Plan([Path("04_head.ipynb")], "quick", {"seed": [0, 10, 2]}, {}, {})
    table = seeds.seed_statistics(planned, outcomes)
    assert list(table["figure"]) == ["accuracy", "once"]
    row = table.iloc[0]
    assert (row["seeds"], row["minimum"], row["maximum"], row["seed_10"]) == (2, 0.4, 0.6, 0.6)
    assert row["mean"] == pytest.approx(0.5)
    assert row["standard_deviation"] == pytest.approx(0.1 * 2**0.5)


def test_seeds_run_side_by_side_except_where_they_measure_time(course):
    result = effnet("seeds", "1", "--seeds", "0,2", "-p", "pause=0.3", "-j", "2", "--root", course, "--name", "s")
    assert result.exit_code == 0
    assert "0.6 ± 0.14" in result.output
    heading, row = (course / "runs" / "s" / "seeds.csv").read_text().split()
    assert heading == "notebook,figure,seeds,mean,standard_deviation,minimum,maximum,low,high,seed_0,seed_2"
    assert row.startswith("01_first,accuracy,2,0.6,0.14")
    notebooks = [nbformat.read(path, 4) for path in sorted((course / "runs" / "s").glob("seed-*/*.ipynb"))]
    spans = [
        [datetime.fromisoformat(cell.metadata.papermill[key]) for key in ("start_time", "end_time")]
        for notebook in notebooks
        for cell in notebook.cells
        if "alone" in cell.metadata.tags
    ]
    (_, earlier_end), (later_start, _) = sorted(spans)
    assert earlier_end <= later_start


def test_seeds_are_whole_numbers(built):
    assert effnet("seeds", "1", "--seeds", "a", "--root", built).exit_code == 2


# where the command is given


def test_a_console_of_any_encoding_shows_every_name(course):
    (course / "notebooks" / "09_猫.ipynb").touch()
    result = CliRunner(charset="cp1252").invoke(app, ["build", "--check", "--root", str(course)])
    assert r"09_\u732b.ipynb has no source" in result.stdout


def test_an_error_of_the_system_is_one_sentence_with_the_path(course):
    (course / "runs").write_text("a file where a folder should be")
    result = effnet("run", "--root", course)
    assert result.exit_code == 1
    assert re.fullmatch(rf"effnet: {course}/runs/\S+: Not a directory\n", result.stderr)


def test_a_table_that_cannot_be_written_is_refused_before_the_work(tmp_path):
    (tmp_path / "file").touch()
    result = effnet("audit", tmp_path / "not looked for", "--out", tmp_path / "file" / "new" / "a.csv")
    assert result.exit_code == 2
    assert f"{tmp_path / 'file'} is no folder that can be written to" in result.stderr


def test_a_full_disk_is_named(built, tmp_path, monkeypatch):
    def fill_the_disk(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("effnet_helpers.data.audit", fill_the_disk)
    result = effnet("audit", tmp_path, "--out", tmp_path / "a.csv")
    assert result.stderr == f"effnet: {tmp_path / 'a.csv'}: No space left on device\n"
    monkeypatch.setattr(run, "_write_json", fill_the_disk)
    result = effnet("run", "1", "--root", copy_of(built, tmp_path), "--name", "x")
    assert result.stderr == f"effnet: {tmp_path / 'runs' / 'x'}: No space left on device\n"


# starting


def test_the_command_starts_without_what_takes_long_to_import():
    """`make bench ROW=start` times it; a timed test would depend on what else the machine does."""
    heavy = {"tensorflow", "keras", "papermill", "pandas", "matplotlib", "sklearn", "scipy", "PIL"}
    code = f"import sys, effnet_helpers.course.cli; print({heavy} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"
