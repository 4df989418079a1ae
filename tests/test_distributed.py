"""Several devices, or several processes, train to the weights of one: same batches, same order, same draws."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

from effnet_helpers import data
from effnet_helpers.course import launch
from effnet_helpers.machine import Cluster

import numpy as np
import pytest
import together

TESTS = Path(__file__).parent


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    folder = tmp_path_factory.mktemp("alone")
    return together.result(*together.train(folder=folder), folder)


@pytest.fixture
def environment(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", f"{TESTS.parent}{os.pathsep}{TESTS}")


def free_addresses(count):
    """Addresses of this machine; not in a network of their own, which is not given everywhere."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    addresses = tuple(f"127.0.0.1:{each.getsockname()[1]}" for each in sockets)
    for each in sockets:
        each.close()
    return Cluster(addresses, None)


def check_same(path, expected):
    with np.load(path) as found:
        assert len(found.files) == len(expected)
        for name, wanted in zip(found.files, expected, strict=True):
            np.testing.assert_allclose(found[name], wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.posix
def test_two_processes_train_to_the_weights_of_one(alone, environment, tmp_path):
    out = tmp_path / "process"
    command = [sys.executable, str(TESTS / "together.py"), "processes", str(out)]
    assert launch.launch(command, 2, free_addresses(2)) == 0
    for number in (0, 1):
        check_same(f"{out}-{number}.npz", alone)


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


# before a release


@pytest.mark.release
def test_two_devices_of_one_process_train_to_the_weights_of_one(alone, environment, tmp_path):
    subprocess.run([sys.executable, TESTS / "together.py", "devices", tmp_path / "device"], check=True)
    check_same(tmp_path / "device-0.npz", alone)


def launch_and_hit(monkeypatch, out, addresses, sign=None, at=0):
    """Trains in two processes, and sends the second one a signal at its `at`-th step that both take."""
    real, beats = launch._is_stopped, [0]

    def watched(worker):
        beats[0] = max(beats[0], worker.beats)
        if sign is not None and not worker.is_first and worker.beats >= at:
            os.kill(worker.process.pid, sign)
        return real(worker)

    with monkeypatch.context() as patch:
        patch.setattr(launch, "_is_stopped", watched)
        launch.launch([sys.executable, str(TESTS / "together.py"), "processes", str(out), "head"], 2, addresses)
    return beats[0]


@pytest.mark.posix
@pytest.mark.release
@pytest.mark.parametrize("name", ["SIGKILL", "SIGSTOP"])
def test_a_lost_process_ends_the_training_and_any_number_goes_on(name, environment, tmp_path, monkeypatch):
    sign = getattr(signal, name)  # which Windows does not know
    whole = together.result(*together.train(folder=tmp_path / "alone", head=True), tmp_path / "alone")
    steps = launch_and_hit(monkeypatch, tmp_path / "whole", free_addresses(2))
    for number, share in enumerate((0.2, 0.5, 0.8)):
        out = tmp_path / f"run{number}"
        how = "was killed" if name == "SIGKILL" else "has been stopped for 3 seconds"
        with pytest.raises(OSError, match=rf"process 1 of 0 to 1 {how}.*; the others were ended"):
            launch_and_hit(monkeypatch, out, free_addresses(2), sign, max(1, round(share * steps)))
        if number % 2:
            launch_and_hit(monkeypatch, out, free_addresses(2))
            check_same(f"{out}-0.npz", whole)
        else:
            state = f"{out}-state"
            for found, wanted in zip(
                together.result(*together.train(folder=state, head=True), state), whole, strict=True
            ):
                np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)
