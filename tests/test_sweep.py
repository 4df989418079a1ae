"""A sweep: what is refused before it starts, what it leaves, and that whatever dies, each run is there once."""

import collections
import contextlib
import functools
import os
import re
import signal
import subprocess
import sys
import threading
import time
from io import StringIO

from effnet_helpers.course import ROOT, CourseError, build, profiles, run, seeds, sweep, sweep_plan, workers
from effnet_helpers.course.cli import app
from effnet_helpers.course.execute import Outcome
from effnet_helpers.course.kernels import Usage
from effnet_helpers.records import RECORD_MIME

import nbformat
import pandas as pd
import psutil
import pytest
from bs4 import BeautifulSoup
from distributed import Client, Security
from nbformat.v4 import new_code_cell, new_notebook, new_output
from rich.console import Console
from typer.testing import CliRunner

# Tells of each start, waits while a file says so, fails where another one does.
SOURCE = f'''# %% [markdown]
# # Tiny
#
# | | |
# |---|---|
# | takes | reading 1 minutes, running 2 minutes, 1 GB of memory on two CPU cores |

# %%
from typing import Optional

# %% tags=["parameters"]
folder: str = ""  # where it tells of itself
steps: int = 10  # of something
rate: float = 0.5  # of something
sizes: list[int] = [1, 2]  # pixels
block: Optional[str] = None  # of something
flip: bool = False  # of something
photo: Optional[str] = None  # file
save_to: Optional[str] = None  # file
seed: int = 0  # training seed

# %%
from effnet_helpers import records
records.check(steps=(steps, 1, None), rate=(rate, 0.0, 1.0), block=(block, [None, *"ab"]), sizes=(sizes, [1, 2, 3]))

# %%
import os, time
from pathlib import Path
from IPython.display import display
with open(Path(folder, "journal"), "a") as journal:
    print(f"{{rate:g}}_{{seed}}", os.getpid(), os.getppid(), file=journal, flush=True)
while Path(folder, f"wait-{{seed}}").exists():
    time.sleep(0.02)
if Path(folder, f"raise-{{seed}}").exists():
    raise ValueError("no luck")
figures = {{"val_accuracy": 0.5 + rate / 10 + seed / 100, "rate": 3, "threads": os.environ["TF_NUM_INTRAOP_THREADS"]}}
figures["hash_seed"] = os.environ.get("PYTHONHASHSEED", "none")
for name, value in figures.items():
    display({{"text/plain": "n", "{RECORD_MIME}": {{"name": name, "value": value}}}}, raw=True)
'''


def effnet(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    """A course of one tiny notebook; runs are added to it."""
    root = tmp_path_factory.mktemp("course")
    (root / "notebooks" / "src").mkdir(parents=True)
    (source := root / "notebooks" / "src" / "01_tiny.py").write_text(SOURCE)
    nbformat.write(build.from_source(source), build.built_path(source))
    return root


@pytest.fixture(scope="module")
def two_workers():
    """Workers of this machine that outlive a sweep, since it takes seconds to start them."""
    with workers.local_workers(2, print) as those:
        yield those


@pytest.fixture
def on_two_workers(two_workers, monkeypatch):
    monkeypatch.setattr(workers, "local_workers", lambda at_once, say: contextlib.nullcontext(two_workers))
    said = []
    monkeypatch.setattr(type(two_workers), "say", property(lambda self: said.append), raising=False)
    return said


def planned(course, *assignments):
    return sweep_plan.plan(course, profiles.notebooks(course), "quick", assignments)


def journal(folder):
    lines = (folder / "journal").read_text().splitlines() if (folder / "journal").exists() else []
    return [line.split() for line in lines if line.count(" ") == 2]


# planning


@pytest.mark.parametrize(
    ("assignment", "values"),
    [
        ("rate=1e-4,3e-4", [1e-4, 3e-4]),
        ("seed=0, 1,2", [0, 1, 2]),
        ("seed=1,1,01", [1]),
        ("rate=0.5,.5", [0.5]),
        ("sizes=1,2", [[1, 2]]),
        ("sizes=[1,2],[3]", [[1, 2], [3]]),
        ("block=none,a", [None, "a"]),
        ("flip=true,false", [True, False]),
        ('folder=x,"y,z"', ["x", "y,z"]),
        ('folder="[0-9]{1,3}",b(', ["[0-9]{1,3}", "b("]),
        ("folder=a=b,c", ["a=b", "c"]),
    ],
)
def test_values_are_read_by_the_type_of_their_parameter(course, assignment, values):
    name = assignment.partition("=")[0]
    plan = planned(course, assignment)
    assert plan.values == {name: values}
    assert [given["01_tiny"][name] for given in plan.given.values()] == values


def test_all_combinations_have_names_that_say_what_they_are(course):
    plan = planned(course, "rate=0.5,1e-05", "steps=60", "seed=0,1")
    names = ["rate-0.5_seed-0", "rate-0.5_seed-1", "rate-1e-05_seed-0", "rate-1e-05_seed-1"]
    assert list(plan.given) == list(plan.combinations()) == names
    assert plan.given["rate-1e-05_seed-1"] == {"01_tiny": {"rate": 1e-5, "steps": 60, "seed": 1}}
    assert plan.settings == ["rate"]
    assert str(plan) == "4 runs of 01_tiny: rate 0.5, 1e-05 × steps 60 × seed 0, 1."
    assert list(planned(course, "folder=a/b,a-b").given) == ["folder-1-a-b", "folder-2-a-b"]
    long = [f"{name}=0.1,0.2" for name in ("rate",)] + [f"folder={'x' * 90},y", f"photo={'z' * 90},w"]
    assert all(len(name) <= sweep_plan.LONGEST_NAME for name in planned(course, *long, "block=a,b").given)


def test_places_are_not_in_names_and_not_in_what_is_kept(course, tmp_path):
    plan = planned(course, f"photo={tmp_path}/one.jpg,{tmp_path}/two.jpg")
    assert plan.values == {"photo": ["…/one.jpg", "…/two.jpg"]}
    assert [given["01_tiny"]["photo"] for given in plan.given.values()] == [
        f"{tmp_path}/{n}.jpg" for n in ("one", "two")
    ]


def test_paths_that_would_be_shown_alike_are_refused(course, tmp_path):
    """Tables would take them for one, and a resumed sweep would run the first one twice."""
    with pytest.raises(CourseError, match=r"photo: .* shown by their last names, so they need different last names"):
        planned(course, f"photo={tmp_path}/a/x.jpg,{tmp_path}/b/x.jpg")


@pytest.mark.parametrize(
    ("assignments", "message"),
    [
        (["steps=60,0"], "01_tiny: steps: expected a whole number at least 1. Received: 0"),
        (["rate=0.5,1.0"], "01_tiny: rate: expected a number above 0 and below 1. Received: 1.0"),
        (["sizes=[1],[4]"], "01_tiny: sizes: expected some of 1, 2, 3. Received: [4]"),
        (["seed=0,x"], "01_tiny: parameter 'seed' expects int. Received: 'x'"),
        (["learning_rate=1e-4,3e-4"], "No chosen notebook has a parameter 'learning_rate'."),
        (["seed"], "-p expects name=value. Received: 'seed'"),
        (["seed="], "01_tiny: parameter 'seed' expects int. Received: ''"),
        (["seed=0", "seed=1"], "-p seed is there twice: all its values stand in one, with commas. Received: 'seed=1'"),
        ([], "A sweep goes through values: -p NAME=VALUE,VALUE"),
        (["folder=video[0-9]{1,3}"], "A text with a comma of its own stands in double quotes: '\"one,two\"'."),
        (["save_to=m.keras", "seed=0,1"], "-p save_to: the runs would write over each other's. Received: "),
    ],
)
def test_what_cannot_run_is_refused_before_anything_starts(course, assignments, message):
    before = sorted(course.rglob("*"))
    result = effnet("sweep", *(word for each in assignments for word in ("-p", each)), "--root", course)
    assert result.exit_code == 2
    assert message in result.stderr
    assert sorted(course.rglob("*")) == before


def test_a_range_that_a_lesson_computes_is_left_to_the_lesson(course):
    assert planned(course, "block=z").values == {"block": ["z"]}


def test_sweeps_that_are_shown_can_be_planned():
    pages = [ROOT / "README.md", *(ROOT / "notebooks" / "src").glob("*.py"), *(ROOT / "docs").rglob("*.md")]
    lines = [line for page in pages for line in re.findall(r"effnet sweep (\d[^`#\n]*)", page.read_text("utf-8"))]
    assert len(lines) >= 2
    for line in lines:
        names, *values = re.split(r"\s-p\s", line.strip())
        chosen = profiles.select(profiles.notebooks(ROOT), names.split())
        assert len(sweep_plan.plan(ROOT, chosen, "quick", [each.strip() for each in values]).given) > 2


@pytest.mark.parametrize(
    ("cores", "free", "gpu", "expected"),
    [(8, 64, None, 8), (8, 7, None, 2), (2, 64, None, 2), (8, 2, None, 1), (8, 64, "nvidia-smi", 1)],
)
def test_as_many_run_at_once_as_have_a_core_and_memory(monkeypatch, cores, free, gpu, expected):
    monkeypatch.setattr(sweep, "usable_cores", lambda: cores)
    monkeypatch.setattr(sweep, "memory_gb", lambda: (128, free))
    monkeypatch.setattr(sweep.shutil, "which", lambda name: gpu)
    assert sweep.Needs(3, 5, "").at_once() == expected


def test_what_it_takes_is_said_by_the_header_or_by_runs_that_ended(course, monkeypatch):
    monkeypatch.setattr(sweep, "usable_cores", lambda: 4)
    monkeypatch.setattr(sweep, "memory_gb", lambda: (16, 8))
    plan = planned(course, "seed=0,1,2,3,4")
    needed = sweep.needs(plan, [])
    assert (needed.memory_gb, needed.minutes) == (1, 2)
    lines = sweep.announcement(plan, needed, 5, 4, None)
    assert lines[1].startswith("4 at once, each with 1 of 4 cores; 1 GB of memory each (by the header")
    assert lines[2].startswith("About 8 min in all")  # twice, on half of the header's cores
    ended = Outcome("01_tiny", "ok", 30.0, Usage(2048, 1))
    needed = sweep.needs(plan, [ended, ended])
    assert (needed.memory_gb, needed.minutes) == (2, 0.5)
    assert sweep.announcement(plan, needed, 3, 2, None)[1] == "2 of 5 notebooks ended well before; 3 are left."
    assert sweep.announcement(plan, needed, 3, 2, None)[3] == "About 1 min in all, by the runs that ended before."


# running


def test_a_run_that_fails_is_named_and_runs_again_on_resume(course, on_two_workers, tmp_path):
    (tmp_path / "raise-1").touch()
    values = ("-p", "rate=0.25", "-p", "seed=0,1", "-p", f"folder={tmp_path}")
    result = effnet("sweep", "1", *values, "--root", course, "--name", "fails")
    folder = course / "runs" / "fails"
    assert result.exit_code == 1, result.output
    assert "2 runs of 01_tiny: rate 0.25 × seed 0, 1" in result.output
    assert f"Results: {folder}" in result.output
    assert "Failed: seed-1 01_tiny, cell 5 (Tiny): ValueError: no luck" in result.output
    assert "`effnet sweep --resume fails` goes on with it." in result.output
    assert (course / "runs" / "latest").resolve() == folder
    assert pd.read_csv(folder / "runs.csv")["status"].tolist() == ["ok", "failed"]
    kept = {path: path.read_bytes() for path in folder.rglob("*.*") if path.is_file()}
    for other, message in [
        (("-p", "seed=0,1,2"), "What differs: seed (0, 1 there, 0, 1, 2 received)"),
        (("-p", "steps=5"), "What differs: steps (nothing there, 5 received)"),
        (("--profile", "full"), "What differs: profile (quick there, full received)"),
        (("--name", "other"), "A sweep that goes on keeps its name, fails. Received: --name other"),
        (("--seeds", "0,1,2"), "What differs: seed (0, 1 there, 0, 1, 2 received)"),
    ]:
        command = "seeds" if "--seeds" in other else "sweep"
        result = effnet(command, *other, "--resume", "fails", "--root", course)
        assert (result.exit_code, message in result.stderr) == (2, True), result.stderr
    result = effnet("sweep", "1", "-p", "rate=0.5", *values[2:], "--root", course, "--name", "fails")
    assert "fails is another sweep, so take another --name. What differs: rate (0.25 there, 0.5" in result.stderr
    result = effnet("sweep", "1", *values, "--root", course, "--name", "fails")
    assert "This sweep is there: --resume fails goes on with it" in result.stderr
    assert {path: path.read_bytes() for path in folder.rglob("*.*") if path.is_file()} == kept

    (tmp_path / "raise-1").unlink()
    with run.lock(folder):
        result = effnet("sweep", *values, "--resume", "latest", "--root", course)
    assert (result.exit_code, "Another process is at work in" in result.stderr) == (2, True), result.output
    result = effnet("sweep", *values, "--resume", "latest", "--root", course)
    assert result.exit_code == 0, result.output
    assert "1 of 2 notebooks ended well before; 1 are left." in result.output
    assert collections.Counter(each for each, *_ in journal(tmp_path)) == {"0.25_0": 1, "0.25_1": 2}
    table = pd.read_csv(folder / "runs.csv")
    assert table[["run", "status"]].values.tolist() == [["seed-0", "ok"], ["seed-1", "ok"]]
    assert set(table["threads"]) == {max(1, run.usable_cores() // 2)}
    assert "6640" not in set(map(str, table["hash_seed"]))  # which Dask sets
    means = pd.read_csv(folder / "seeds.csv").query("figure == 'val_accuracy'")
    assert means[["seeds", "mean"]].values.tolist() == [[2, pytest.approx(0.53)]]
    result = effnet("sweep", *values, "--resume", "fails", "--root", course)  # nothing is left
    assert (result.exit_code, len(journal(tmp_path))) == (0, 3), result.output


def test_what_was_interrupted_before_anything_ran_is_not_said_to_go_on(course, on_two_workers, monkeypatch):
    calls = []

    def interrupted(root, name, *rest, **how):
        calls.append(name)
        if len(calls) == 3:  # of the sweep, of its first run, of its second
            raise KeyboardInterrupt
        return new_run_dir(root, name, *rest, **how)

    new_run_dir = run.new_run_dir
    for module in (run, sweep):
        monkeypatch.setattr(module, "new_run_dir", interrupted)
    result = effnet("sweep", "1", "-p", "seed=0,1", "--root", course, "--name", "early")
    assert result.exit_code != 0
    assert "early cannot go on, since a run of it has no folder: take another --name." in result.output
    assert "--resume" not in result.output
    result = effnet("sweep", "--resume", "early", "--root", course)
    assert result.exit_code == 2
    assert "early cannot go on: its run seed-1 has not begun; it was interrupted before anything ran" in result.stderr


def outcome(status="ok", **records):
    outputs = [new_output("display_data", {RECORD_MIME: {"name": n, "value": v}}) for n, v in records.items()]
    return Outcome("01_tiny", status, 60.0, Usage(100, 1), new_notebook(cells=[new_code_cell("1", outputs=outputs)]))


def test_tables_chart_and_page_tell_the_same(course, tmp_path, capsys):
    plan = planned(course, "rate=0.5,0.25", "steps=3", "seed=0,1")
    values = {"rate-0.5_seed-0": 0.5, "rate-0.5_seed-1": 0.52, "rate-0.25_seed-0": 0.7}
    told = {"rate": 7, "test_accuracy": 0.1, "text": "x"}
    outcomes = {f"{name} 01_tiny": outcome(**told, val_accuracy=value) for name, value in values.items()}
    outcomes["rate-0.25_seed-1 01_tiny"] = outcome("failed", val_accuracy=0.1)
    seeds.conclude(plan, outcomes, tmp_path, Console(width=160))
    table = seeds.runs_table(plan, outcomes)
    assert table["run"].tolist() == list(plan.given)
    assert table["rate"].tolist() == ["0.5", "0.5", "0.25", "0.25"]
    assert table["rate recorded"].tolist()[:3] == [7] * 3  # a figure that is called as a parameter is
    means = pd.read_csv(tmp_path / "seeds.csv").query("figure == 'val_accuracy'")
    assert means[["rate", "seeds", "mean", "seed_0"]].values.tolist() == [[0.5, 2, 0.51, 0.5], [0.25, 1, 0.7, 0.7]]
    half = 12.706 * 0.02 / 2  # Student's quantile for two, and their standard error
    assert means[["low", "high"]].values[0] == pytest.approx([0.51 - half, 0.51 + half], abs=1e-4)
    assert means[["low", "high"]].isna().values[1].all()
    page = BeautifulSoup((tmp_path / "index.html").read_text(), "html.parser")
    assert "rate 0.5 0.51 (0.3829 to 0.6371, 2 seeds); rate 0.25 0.7 (one seed)." in page.img["alt"]
    assert (tmp_path / page.img["src"]).read_bytes().startswith(b"\x89PNG")
    assert [row.td.a["href"] for row in page.tbody.find_all("tr")] == [f"{name}/index.html" for name in plan.given]
    assert str(plan) in page.text
    said = " ".join(capsys.readouterr().out.split())
    assert "Means over 2 seeds: Student's 95 % interval of such a mean reaches 9.0 standard deviations" in said
    assert "Settings share their seeds" in said
    assert "Choose by validation figures: the test accuracy" in said
    assert [cell.text for cell in page.thead.find_all("th")][-2:] == ["val_accuracy", "test_accuracy"]
    assert said.split("Means over")[1].split(".", 1)[1].strip()[:10] in " ".join(page.text.split())


def test_where_all_have_failed_there_are_no_means(course, tmp_path):
    plan = planned(course, "seed=0")
    seeds.conclude(plan, {"seed-0 01_tiny": outcome("failed")}, tmp_path, Console(file=StringIO()))
    assert len(pd.read_csv(tmp_path / "seeds.csv")) == 0
    assert "failed" in (tmp_path / "index.html").read_text()


def test_what_can_be_told_goes_by_the_number_of_seeds():
    assert seeds.about_seeds(1, 2).startswith("One run a setting: a difference may be the seed's as well.")
    assert "reaches 2.5 standard deviations to either side, with 5 seeds 1.2." in seeds.about_seeds(3, 1)
    assert "with" not in seeds.about_seeds(20, 1)


def test_nobody_without_its_certificates_reaches_the_workers(two_workers):
    address = two_workers.client.scheduler.address
    assert address.startswith("tls://127.0.0.1:")
    for other, security in ((address.replace("tls", "tcp"), None), (address, Security.temporary())):
        with pytest.raises(OSError, match=r"Timed out|reset by peer|certificate"):
            Client(other, timeout=3, security=security)


@pytest.mark.posix
def test_what_is_killed_runs_again_and_counts_once(course, on_two_workers, tmp_path):
    """One run loses its worker, one its kernel."""
    for seed in (0, 1):
        (tmp_path / f"wait-{seed}").touch()

    def kill():
        for seed, victim in ((0, 2), (1, 1)):  # the worker is the kernel's parent
            deadline = time.time() + 60
            while not (pids := [int(line[victim]) for line in journal(tmp_path) if line[0] == f"0.5_{seed}"]):
                time.sleep(0.02)
                if time.time() > deadline:
                    return
            os.kill(pids[0], signal.SIGKILL)
            (tmp_path / f"wait-{seed}").unlink()

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    result = effnet("seeds", "1", "--seeds", "0,1", "-p", f"folder={tmp_path}", "--root", course, "--name", "killed")
    assert result.exit_code == 0, result.output
    killer.join()
    assert collections.Counter(each for each, *_ in journal(tmp_path)) == {"0.5_0": 2, "0.5_1": 2}
    table = pd.read_csv(course / "runs" / "killed" / "runs.csv")
    assert table[["run", "status"]].values.tolist() == [[f"seed-{seed}", "ok"] for seed in range(2)]
    means = pd.read_csv(course / "runs" / "killed" / "seeds.csv")
    assert means[means["figure"] == "val_accuracy"]["seeds"].tolist() == [2]
    again = [line for line in on_two_workers if "begins again" in line]
    assert sorted(line.split()[0] for line in again) == ["seed-0", "seed-1"]


@pytest.mark.posix
def test_a_scheduler_of_the_users_outlives_the_loss_of_a_machine(course, tmp_path, monkeypatch):
    """Two workers play machines; the one that has begun the first run is killed with its nanny, the other does both."""
    (tmp_path / "wait-0").touch()
    place = tmp_path / "scheduler.json"
    start = [sys.executable, "-m", "dask"]
    here = ["--host", "127.0.0.1", "--no-dashboard", "--scheduler-file", str(place)]
    how = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": tmp_path, "start_new_session": True}
    started = [subprocess.Popen([*start, "scheduler", "--port", "0", *here], **how)]
    started += [subprocess.Popen([*start, "worker", "--nthreads", "1", *here], **how) for _ in range(2)]

    def kill():
        try:
            while not (pids := [int(worker) for each, _, worker in journal(tmp_path) if each == "0.5_0"]):
                time.sleep(0.02)
            lost = next(each for each in started[1:] if os.getpgid(pids[0]) == each.pid)
            os.killpg(lost.pid, signal.SIGKILL)
        finally:
            (tmp_path / "wait-0").unlink()

    killer = threading.Thread(target=kill, daemon=True)
    refused = "need effnet-helpers 9, as here. Received: "
    try:
        with Client(scheduler_file=str(place), timeout=60) as client:
            client.wait_for_workers(2, timeout=60)
            address = client.scheduler.address
        values = ("-p", "seed=0,1", "-p", f"folder={tmp_path}")
        with monkeypatch.context() as patch:
            patch.setattr(workers, "_version", lambda: "9")
            other = effnet("sweep", "1", *values, "--scheduler", address, "--name", "other", "--root", course)
        assert (other.exit_code, refused in other.stderr) == (2, True), other.output
        killer.start()
        result = effnet("sweep", "1", *values, "--scheduler", address, "--name", "there", "--root", course)
    finally:
        for each in started:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(each.pid, signal.SIGKILL)
            each.wait()
    assert result.exit_code == 0, result.output
    assert f"They run on the workers of {address}." in result.output
    assert "begins again: its worker or its kernel died." in result.output
    assert collections.Counter(each for each, *_ in journal(tmp_path)) == {"0.5_0": 2, "0.5_1": 1}
    table = pd.read_csv(course / "runs" / "there" / "runs.csv")
    assert table[["run", "status"]].values.tolist() == [["seed-0", "ok"], ["seed-1", "ok"]]


@pytest.mark.posix
@pytest.mark.parametrize("how", [signal.SIGINT, pytest.param(signal.SIGKILL, marks=pytest.mark.release)])
def test_whoever_ends_a_sweep_leaves_no_process(course, tmp_path, how):
    (tmp_path / "wait-1").touch()
    values = ["-p", f"folder={tmp_path}", "-p", "seed=0,1", "--name", f"ended-{how}", "-j", "1"]
    command = [sys.executable, "-m", "effnet_helpers", "sweep", "1", *values, "--root", course]
    as_in_a_terminal = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen(command, preexec_fn=as_in_a_terminal, start_new_session=True, **streams)
    deadline = time.time() + 120
    while "0.5_1" not in {each for each, *_ in journal(tmp_path)} and time.time() < deadline:
        time.sleep(0.05)
    started = psutil.Process(process.pid).children(recursive=True)
    listening = [each for one in (psutil.Process(process.pid), *started) for each in one.net_connections("inet")]
    assert {each.laddr.ip for each in listening if each.status == "LISTEN"} == {"127.0.0.1"}
    if how == signal.SIGINT:
        os.killpg(process.pid, how)  # as a terminal does
    else:
        process.kill()
    output, errors = process.communicate(timeout=60)
    _, alive = psutil.wait_procs(started, timeout=2 if how == signal.SIGINT else 10)
    assert [each for each in alive if each.status() != psutil.STATUS_ZOMBIE] == []
    if how == signal.SIGINT:
        assert (process.returncode, errors) == (130, "effnet: interrupted\n")
        assert f"`effnet sweep --resume ended-{how}` goes on with it." in output
    (tmp_path / "wait-1").unlink()
    counts = collections.Counter(each for each, *_ in journal(tmp_path))
    assert len(run.ended_well(course / "runs" / f"ended-{how}" / "seed-0")) == counts["0.5_0"]


@pytest.mark.release
def test_a_lesson_is_swept_over_rates_and_seeds(tmp_path):
    root = tmp_path / "course"
    result = effnet("notebooks", root)
    assert result.exit_code == 0, result.output
    values = ("-p", "learning_rate=1e-4,3e-4", "-p", "seed=0,1")
    result = effnet("sweep", "05", *values, "--profile", "smoke", "--name", "rates", "--root", root)
    assert result.exit_code == 0, result.output
    folder = root / "runs" / "rates"
    table = pd.read_csv(folder / "runs.csv")
    assert table["run"].tolist() == [
        f"learning_rate-{rate}_seed-{seed}" for rate in ("0.0001", "0.0003") for seed in (0, 1)
    ]
    assert set(table["status"]) == {"ok"}
    means = pd.read_csv(folder / "seeds.csv").query("figure == 'val_accuracy'")
    assert means[["learning_rate", "seeds"]].values.tolist() == [[1e-4, 2], [3e-4, 2]]
    assert (folder / "index.html").exists()
