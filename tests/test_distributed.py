"""Several devices, or several processes, train to the weights of one: same batches, same order, same draws."""

import contextlib
import functools
import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

from effnet_helpers import data, machine, models, preprocessing, training
from effnet_helpers.course import CourseError, launch
from effnet_helpers.training import processes

import numpy as np
import pytest
import tensorflow as tf
import together

TESTS = Path(__file__).parent
SECONDS_TO_END = 10  # of the launcher, from when a process is hit: 3 for one that is stopped, and a busy machine


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """Gives the results of trainings by one process on one device, each computed once."""

    @functools.cache
    def result(name):
        folder = tmp_path_factory.mktemp("alone")
        return together.result(*together.train(name, folder=folder), folder)

    return result


@pytest.fixture
def environment(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", f"{TESTS.parent}{os.pathsep}{TESTS}")


def in_processes(count, out, names, *where):
    """Trains in processes that have a network of their own: TensorFlow's servers listen on all interfaces."""
    try:
        launch.launch([sys.executable, str(TESTS / "together.py"), "processes", str(out), names, *where], count)
    except CourseError as error:
        pytest.skip(str(error))


def check_same(path, expected, rtol=1e-4, atol=1e-5, others=0.0):
    """All but a share of the numbers in each array agree."""
    with np.load(path) as found:
        assert len(found.files) == len(expected)
        for name, wanted in zip(found.files, expected, strict=True):
            assert found[name].shape == wanted.shape
            apart = ~np.isclose(found[name], wanted, rtol=rtol, atol=atol)
            assert apart.mean() <= others, (name, np.abs(found[name] - wanted).max())


def listening(process="self"):
    """The ports on which anything listens, of any address, in the network of a process."""
    tables = [Path(f"/proc/{process}/net/{kind}").read_text().splitlines()[1:] for kind in ("tcp", "tcp6")]
    lines = [line.split() for table in tables for line in table]
    return {int(line[1].rpartition(":")[2], 16) for line in lines if line[3] == "0A"}


@pytest.mark.posix
def test_two_processes_train_to_the_weights_of_one_and_nobody_else_reaches_them(
    alone, environment, tmp_path, monkeypatch
):
    real, inside, here = launch._is_stopped, set(), set()

    def look(worker):
        with contextlib.suppress(OSError):  # it ends just now
            inside.update(listening(worker.process.pid))
            here.update(listening())
        return real(worker)

    monkeypatch.setattr(launch, "_is_stopped", look)
    # The first one alone writes checkpoints: the second would be killed in the third one.
    in_processes(2, tmp_path / "out", "kept views", "writing a checkpoint", "none", "SIGKILL")
    for number in (0, 1):
        check_same(tmp_path / f"out-kept views-{number}.npz", alone("kept views"))
    ports = {machine.FIRST_PORT, machine.FIRST_PORT + 1}
    assert inside >= ports
    assert not here & ports


@pytest.mark.posix
def test_effnet_train_in_two_processes_ends_with_the_model_of_one(tmp_path, monkeypatch):
    how = ["--image-size", 32, "--limit-per-class", 20, "--steps", 4, "--from-block", "block7a", "--folds", 0]
    for count in (1, 2):
        monkeypatch.setenv("EFFNET_CACHE", str(tmp_path / f"cache-{count}"))
        command = ["train", "textile", *how, "--out", tmp_path / f"{count}.keras", "--processes", count]
        done = subprocess.run(
            [sys.executable, "-m", "effnet_helpers", *map(str, command)], capture_output=True, text=True
        )
        if count > 1 and "network of their own" in done.stderr:
            pytest.skip(done.stderr)
        assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert "2 devices share the images of each step." in done.stdout
    (one, card), (two, other) = (models.load(tmp_path / f"{count}.keras") for count in (1, 2))
    assert card.tested == other.tested
    for variable, wanted in zip(two.weights, one.weights, strict=True):
        np.testing.assert_allclose(variable, wanted, rtol=1e-3, atol=1e-4, err_msg=variable.path)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"shuffle": True, "cache": True, "first_batch": 2},
        {"shuffle": True, "balanced": True, "augment": {"flip": "both", "rotation": 20, "contrast": 0.2}, "seed": 3},
    ],
)
@pytest.mark.parametrize("batch_size", [7, 23])
def test_shares_of_each_batch_are_the_batch(options, batch_size):
    textile = data.load("textile", image_size=32, resize_mode="crop", limit_per_class=12)
    whole = textile.batches("train", batch_size, **options).repeat().take(5)
    shares = [textile.batches("train", batch_size, **options, share=(n, n + 1, 3)).repeat().take(5) for n in range(3)]
    for (images, labels), *parts in zip(whole, *shares, strict=True):
        if len(labels) < 3:  # the last one
            assert [len(part[1]) for part in parts] == [len(labels)] * 3
            parts = parts[:1]
        np.testing.assert_array_equal(np.concatenate([part[1] for part in parts]), labels)
        np.testing.assert_allclose(np.concatenate([part[0] for part in parts]), images, rtol=1e-5, atol=1e-3)


def test_each_process_reads_only_its_share_of_the_files_none_twice_and_none_is_left_out(monkeypatch):
    textile = data.load("textile", image_size=32, resize_mode="crop", limit_per_class=12)
    read, real = [], preprocessing.read_resized
    monkeypatch.setattr(preprocessing, "read_resized", lambda path, *rest: read.append(path) or real(path, *rest))
    for _ in range(5):
        for number in range(3):
            list(textile.batches("train", 10, shuffle=True, share=(number, number + 1, 3)))
    # 24 images: 3, 3 and 4 of two batches each, 1, 1 and 2 of the last
    files = textile.splits["train"]
    assert len(files) == 24
    assert sorted(read) == sorted(5 * [files.path(number) for number in range(24)])


def test_beside_a_gpu_processes_of_one_machine_are_refused(monkeypatch):
    monkeypatch.setattr(tf.config, "get_visible_devices", lambda kind: ["GPU:0"])
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind: ["GPU:0"])
    assert training.join_processes() is None
    monkeypatch.setenv(machine.PULSE, "9")
    with pytest.raises(ValueError, match=r"^--processes: expected a machine without GPUs: .*Received: '1 GPU'"):
        training.join_processes()


def test_without_a_launcher_a_process_that_never_comes_is_given_up(monkeypatch, capsys):
    addresses = ["red:1", "blue:1", "green:1"]
    spec = SimpleNamespace(job_tasks=lambda _: addresses)
    resolver = SimpleNamespace(task_id=1, cluster_spec=lambda: spec)
    extended = SimpleNamespace(worker_devices=["CPU:0"])
    joined = training.Processes(SimpleNamespace(num_replicas_in_sync=3, extended=extended, cluster_resolver=resolver))
    ended = threading.Event()
    monkeypatch.setattr(processes, "HANGING_SECONDS", 0.0)
    monkeypatch.setattr(processes.os, "_exit", lambda code: ended.set())
    with joined.watching():
        assert ended.wait(10)
    assert re.search(
        r"effnet: waited 0 seconds in a step for process 0 \(red:1\) or process 2 \(green:1\); start all",
        capsys.readouterr().err,
    )
    monkeypatch.setenv(machine.PULSE, "9")
    ended.clear()
    with joined.watching():
        assert not ended.wait(0.1)


# before a release


@pytest.mark.release
@pytest.mark.parametrize("kind", ["processes", "devices"])
def test_two_replicas_train_to_the_weights_of_one(kind, alone, environment, tmp_path):
    names = ";".join(together.TRAININGS)
    if kind == "processes":
        in_processes(2, tmp_path / "out", names)
    else:
        command = [sys.executable, TESTS / "together.py", kind, tmp_path / "out", names]
        subprocess.run(command, check=True)
    for name in together.TRAININGS:
        # Rounding turns small steps: by twice the rate, some by more than one of them.
        close = {"rtol": 0.01, "atol": 6e-3, "others": 1e-4} if name == "float16" else {}
        check_same(tmp_path / f"out-{name}-0.npz", alone(name), **close)


@pytest.mark.posix
@pytest.mark.release
@pytest.mark.parametrize("moment", together.MOMENTS)
def test_a_lost_process_ends_the_training_and_any_number_goes_on(moment, alone, environment, tmp_path):
    out, name = tmp_path / "out", "head first"
    chief_alone = {"writing a checkpoint", "a checkpoint half written"}
    hits = [("SIGKILL", 0, r"was killed \(SIGKILL\)"), ("SIGSTOP", 1, "has been stopped for 3 seconds")]
    for sign, number, how in hits:
        number = 0 if moment in chief_alone else number
        signs = [sign if each == number else "none" for each in range(2)]
        with pytest.raises(OSError, match=rf"^process {number} of 0 to 1 {how}; the others were ended$"):
            in_processes(2, out, name, moment, *signs)
        hit = float(Path(f"{out}-hit").read_text())
        assert time.time() - hit < SECONDS_TO_END
    in_processes(3 if list(together.MOMENTS).index(moment) % 2 else 2, out, name)
    check_same(f"{out}-{name}-0.npz", alone(name))


def by_hand(out, *arguments):
    """Starts two processes as on two machines, without a launcher, in a network of their own."""
    cluster, started = machine.Cluster(("127.0.0.1:29700", "127.0.0.1:29701"), None), []
    for number in range(2):
        enter = launch._network_of(started[0].pid) if started else launch._new_network
        command = [sys.executable, str(TESTS / "together.py"), "processes", str(out), *arguments]
        told = os.environ | cluster.environment(number)
        try:
            words = {"stderr": subprocess.PIPE, "text": True}
            started.append(subprocess.Popen(command, env=told, preexec_fn=enter, **words))
        except subprocess.SubprocessError:
            pytest.skip("This system does not let processes have a network of their own.")
    return started


@pytest.mark.posix
@pytest.mark.release
@pytest.mark.parametrize(("lost", "moment", "sign"), [(0, "head", "SIGKILL"), (1, "validation", "SIGSTOP")])
def test_without_a_launcher_the_other_says_who_is_lost_and_ends(lost, moment, sign, environment, tmp_path):
    signs = [sign if number == lost else "none" for number in range(2)]
    both = by_hand(tmp_path / "out", "head first", moment, *signs)
    try:
        said = both[1 - lost].communicate(timeout=600)[1]
    finally:
        for process in both:
            process.kill()
            process.wait()
    assert rf"process {lost} (127.0.0.1:2970{lost}) was killed, was stopped or cannot be reached any more" in said
    assert time.time() - float((tmp_path / "out-hit").read_text()) < 60  # some 10 of TensorFlow's on a quiet machine
