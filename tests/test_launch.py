"""The launcher: whoever is killed, stopped, hangs or fails is named, and none of the others is left."""

import os
import signal
import subprocess
import sys
import time
import types

from effnet_helpers.course import CourseError, launch
from effnet_helpers.course.cli import app
from effnet_helpers.machine import Cluster

import psutil
import pytest
from typer.testing import CliRunner

pytestmark = pytest.mark.posix
HERE = Cluster(("127.0.0.1:1", "127.0.0.1:2"), None)  # named, so that no network of their own is needed
START = "import json, os, signal, sys, time; index = json.loads(os.environ['TF_CONFIG'])['task']['index']\n"


def processes(tmp_path, code, cluster=HERE):
    """Runs the code in two processes; gives what `launch` does, and checks that none is left."""
    note = f"open({str(tmp_path)!r} + f'/{{index}}', 'w').write(str(os.getpid()))\n"
    try:
        return launch.launch([sys.executable, "-c", START + note + code], 2, cluster)
    finally:
        for number in (tmp_path / "0", tmp_path / "1"):
            assert not number.exists() or not psutil.pid_exists(int(number.read_text()))


def test_it_ends_with_the_last_process(tmp_path):
    assert processes(tmp_path, "time.sleep(0.5 * index)") == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0", "1"]


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        ("os.kill(os.getpid(), signal.SIGKILL) if index else time.sleep(60)", r"process 1 .* was killed \(SIGKILL\)"),
        ("time.sleep(60) if index else os.kill(os.getpid(), signal.SIGTERM)", r"process 0 .* was killed \(SIGTERM\)"),
        (
            "os.kill(os.getpid(), signal.SIGSTOP) if index else time.sleep(60)",
            r"process 1 .* stopped for 1 second",
        ),
        ("sys.exit('effnet: no picture') if index else time.sleep(60)", r"process 1 of 0 to 1 failed: no picture; the"),
        (
            "for _ in range(6 - 3 * index): os.write(int(os.environ['EFFNET_PULSE']), b'.'); time.sleep(0.2)\n"
            "time.sleep(60)",
            r"process 1 .* hangs, for 2 seconds now; the others were ended$",
        ),
    ],
)
def test_one_that_fails_is_named_and_ends_the_others(code, sentence, tmp_path, monkeypatch):
    monkeypatch.setattr(launch, "STOPPED_SECONDS", 1.0)
    monkeypatch.setattr(launch, "HANGING_SECONDS", 2.0)
    monkeypatch.setattr(launch, "TOGETHER_SECONDS", 0.2)
    started = time.monotonic()
    with pytest.raises(OSError, match=sentence):
        processes(tmp_path, code)
    assert time.monotonic() - started < 20


def test_what_the_first_one_refuses_it_says_itself(tmp_path):
    assert processes(tmp_path, "sys.exit(2)") == 2


def test_without_named_addresses_they_share_a_network_that_nothing_else_reaches(tmp_path):
    talk = (
        "import socket\n"
        "port = int(json.loads(os.environ['TF_CONFIG'])['cluster']['worker'][0].partition(':')[2])\n"
        "if index:\n    time.sleep(0.5); socket.create_connection(('127.0.0.1', port)).sendall(b'hello')\n"
        "else:\n    server = socket.create_server(('', port)); assert server.accept()[0].recv(5) == b'hello'\n"
        "assert [line.split(':')[0].strip() for line in open('/proc/net/dev').readlines()[2:]] == ['lo']\n"
        "assert os.access(sys.executable, os.R_OK)"
    )
    try:
        assert processes(tmp_path, talk, None) == 0
    except CourseError as error:  # as in most containers
        assert "does not let the processes have a network of their own" in str(error)


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="the system shares out its cores by itself")
def test_where_there_are_cores_for_all_each_has_its_own():
    cores = sorted(os.sched_getaffinity(0))
    both = [launch._cores(index, len(cores)) for index in range(len(cores))]
    assert both == [[core] for core in cores]
    assert launch._cores(0, len(cores) + 1) == []


def test_the_command_hands_its_options_on_to_each_process_before_it_loads_anything(tmp_path, monkeypatch):
    started = []
    monkeypatch.setattr(
        launch, "launch", lambda command, count, cluster: started.append((command, count, cluster)) or 0
    )
    options = ["--out", str(tmp_path / "m.keras"), "--steps", "6", "--resume"]
    monkeypatch.setitem(sys.modules, "effnet_helpers.course.train", None)  # would fail
    assert CliRunner().invoke(app, ["train", "textile", *options, "--processes", "2"]).exit_code == 0
    (command, count, cluster), here = started.pop(), "127.0.0.1:7001,localhost:7002"
    assert (count, cluster, command[:5]) == (2, None, launch.own_command(["train", "textile"]))
    given = " ".join(command)
    assert "--steps 6" in given
    assert "--resume" in given
    assert "--processes" not in given
    assert "--folds" not in given
    assert CliRunner().invoke(app, ["train", "textile", *options, "--cluster", here]).exit_code == 0
    assert started.pop()[1:] == (2, Cluster(tuple(here.split(",")), None))
    monkeypatch.setattr(launch, "launch", lambda *_: (_ for _ in ()).throw(OSError("process 1 hangs")))
    ended = CliRunner().invoke(app, ["train", "textile", *options, "--processes", "2"])
    assert (ended.exit_code, ended.stderr) == (1, "effnet: process 1 hangs; the same command with --resume goes on\n")
    refused = CliRunner().invoke(app, ["train", "textile", *options, "--processes", "2", "--cluster", here])
    assert (refused.exit_code, "a cluster is there already" in refused.output) == (2, True)


STARTER = """
import signal
import subprocess
import sys
from effnet_helpers.course import launch
from effnet_helpers.machine import Cluster
try:
    launch.launch([sys.executable, "-c", sys.argv[1]], 2, Cluster(("127.0.0.1:1", "127.0.0.1:2"), None))
except OSError as error:
    sys.exit(str(error))
"""


@pytest.mark.parametrize(
    ("sign", "last_words"),
    [
        (signal.SIGTERM, "ended by SIGTERM, and all processes with it"),
        pytest.param(
            signal.SIGKILL, "", marks=pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells children")
        ),
    ],
)
def test_no_process_outlives_the_launcher(sign, last_words, tmp_path):
    note = f"open({str(tmp_path)!r} + f'/{{index}}', 'w').write(str(os.getpid())); time.sleep(60)"
    launcher = subprocess.Popen([sys.executable, "-c", STARTER, START + note], stderr=subprocess.PIPE, text=True)
    notes, deadline = [tmp_path / "0", tmp_path / "1"], time.monotonic() + 30
    while not all(path.exists() and path.read_text() for path in notes) and time.monotonic() < deadline:
        time.sleep(0.1)
    started = [psutil.Process(int(path.read_text())) for path in notes]
    launcher.send_signal(sign)
    assert launcher.communicate(timeout=30)[1].strip() == last_words
    _, left = psutil.wait_procs(started, timeout=10)
    assert left == []


def test_what_was_stopped_as_a_whole_and_goes_on_is_not_taken_to_hang(tmp_path, monkeypatch):
    """As by Ctrl-Z and `fg`: between two looks of the launcher an hour passes."""
    passed = []

    def sleep(seconds):
        time.sleep(seconds)
        passed[:] = [3600.0]

    clock = types.SimpleNamespace(monotonic=lambda: time.monotonic() + sum(passed), sleep=sleep)
    monkeypatch.setattr(launch, "time", clock)
    assert processes(tmp_path, "time.sleep(2)") == 0
    assert passed


def test_of_processes_that_hang_before_any_step_none_is_named_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(launch, "HANGING_SECONDS", 1.0)
    with pytest.raises(OSError, match=r"^process 0 or 1 of 0 to 1 hangs, for 1 seconds now"):
        processes(tmp_path, "time.sleep(60)")
