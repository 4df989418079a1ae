"""Training that is interrupted anywhere goes on, and ends as if nothing had happened."""

import contextlib
import itertools
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from effnet_helpers import data, models, training
from effnet_helpers.data import pipeline
from effnet_helpers.training import checkpoint, fit, served

import keras
import numpy as np
import pandas as pd
import psutil
import pytest
from tiny import tiny_classifier

pytestmark = pytest.mark.usefixtures("short_network")

AUGMENT = {"flip": "both", "rotation": 20}
HEAD = {"epochs": 4, "batch_size": 16, "learning_rate": 0.01}  # 3 steps a pass
TUNING = {"steps": 8, "validations": 2, "batch_size": 16, "augment": AUGMENT}  # the second begins within a pass
TRAININGS = {
    "head": (HEAD, None),
    "head on views that stops early": (
        {**HEAD, "epochs": 9, "learning_rate": 0.3, "patience": 1, "views": 2, "augment": AUGMENT},
        None,
    ),
    "head, then the part above kept views": (
        {**HEAD, "epochs": 1, "balance": "class_weights"},
        {**TUNING, "views": 2, "balance": "balanced_sampling"},
    ),
    "everything": (None, {**TUNING, "cache": False}),
}


@pytest.fixture(scope="module")
def textile():
    return data.load("textile", image_size=32, resize_mode="crop", limit_per_class=20)


def train(what, textile, folder=None, model=None):
    """Fits a head, fine-tunes or both, as a new process would: from the same weights. Gives the model and the fits."""
    head, tuning = what
    model, fits = model or tiny_classifier(), []
    if head:
        fits.append(training.fit_head(model, textile, **head, checkpoint_dir=folder))
    if tuning:
        models.unfreeze_blocks(model, last=3)
        fits.append(training.fine_tune(model, textile, **tuning, checkpoint_dir=folder))
    return model, fits


@pytest.fixture(scope="module")
def uninterrupted(textile):
    """The result of a training without checkpoints, computed once each."""
    found = {}

    def result(name):
        if name not in found:
            found[name] = train(TRAININGS[name], textile)
        return found[name]

    return result


def check_same(results, expected):
    for found, wanted in zip(results[1], expected[1], strict=True):
        assert (found.best_epoch, found.steps, list(found.history)) == (
            wanted.best_epoch,
            wanted.steps,
            list(wanted.history),
        )
        for name, values in wanted.history.items():
            np.testing.assert_allclose(found.history[name], values, rtol=1e-4, err_msg=name)
    for variable, other in zip(results[0].variables, expected[0].variables, strict=True):
        np.testing.assert_allclose(variable, other, rtol=1e-3, atol=1e-5, err_msg=variable.path)


def interrupt(monkeypatch, owner, name, before=0, after=0):
    """Has a function raise KeyboardInterrupt before, or after, so many calls."""
    real, calls = getattr(owner, name), itertools.count(1)

    def interrupted(*args, **options):
        call = next(calls)
        if call == before:
            raise KeyboardInterrupt
        result = real(*args, **options)
        if call == after:
            raise KeyboardInterrupt
        return result

    monkeypatch.setattr(owner, name, interrupted)


@pytest.mark.parametrize("name", list(TRAININGS)[1:])
def test_interrupted_after_each_epoch_it_ends_as_if_nothing_had_happened(name, textile, uninterrupted, tmp_path):
    results, interruptions = None, 0
    while results is None:
        with pytest.MonkeyPatch.context() as patch:
            interrupt(patch, checkpoint.Checkpoint, "on_epoch_end", after=1)
            if list(tmp_path.glob("fine_tune-*")):
                patch.setattr(fit, "plan_prefix", None)  # once begun, the plan stays, whatever is free on the disk
            try:
                results = train(TRAININGS[name], textile, tmp_path)
            except KeyboardInterrupt:
                interruptions += 1
    check_same(results, uninterrupted(name))
    assert interruptions == sum(len(each.history["loss"]) for each in results[1])
    assert "early" not in name or 2 <= interruptions < 9


def test_interrupted_at_any_point_of_writing_it_loses_at_most_that_epoch(textile, tmp_path, monkeypatch):
    """What an epoch leaves is played here: weight, optimizer and history have its number."""
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
    points = ((Path, "open"), (np, "savez"), (os, "fsync"), (os, "replace"), (Path, "unlink"), (pd.DataFrame, "to_csv"))
    reached = 0
    for (owner, name), when, count in itertools.product(points, ("before", "after"), (1, 2, 3, 4)):
        model.set_weights([np.zeros((1, 1))])
        model.compile(keras.optimizers.SGD(), "mse")
        state, keeper = checkpoint.Checkpoint(tmp_path, "head", model, textile, {}), training.KeepBest(model)
        state.restore(model, keeper)
        epoch = state.epoch
        assert epoch in (reached - 1, reached)
        assert float(model.get_weights()[0][0, 0]) == float(keeper.best_weights[0][0, 0]) == keeper.best_epoch == epoch
        assert keeper.history.get("loss", []) == list(range(1, epoch + 1))
        state.set_params({"epochs": 1000})
        model.optimizer.build(model.trainable_variables)
        assert int(model.optimizer.iterations) == epoch
        with monkeypatch.context() as patch, contextlib.suppress(KeyboardInterrupt):
            interrupt(patch, owner, name, **{when: count})
            for reached in itertools.count(epoch + 1):
                model.set_weights([np.full((1, 1), reached)])
                model.optimizer.iterations.assign(reached)
                keeper.best_weights, keeper.best_epoch = model.get_weights(), reached
                keeper.history.setdefault("loss", []).append(reached)
                state.on_epoch_end(reached - 1)
    assert reached > 20
    assert len(list(tmp_path.glob("*.npz"))) <= 3


def test_interrupted_within_an_epoch_it_leaves_the_model_as_it_came_and_goes_on(textile, uninterrupted, tmp_path):
    model = tiny_classifier()
    before = [variable.numpy() for variable in model.variables]
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        interrupt(patch, training.KeepBest, "on_train_batch_end", after=5)
        train(TRAININGS["head"], textile, tmp_path, model)
    for old, new in zip(before, model.variables, strict=True):
        np.testing.assert_array_equal(old, new)
    assert len(list(tmp_path.glob("*.npz"))) == 1
    check_same(train(TRAININGS["head"], textile, tmp_path, model), uninterrupted("head"))


@pytest.fixture(scope="module")
def finished(textile, tmp_path_factory):
    """The folder of a finished training, and its result."""
    folder = tmp_path_factory.mktemp("finished")
    return folder, train(TRAININGS["head"], textile, folder)


@pytest.fixture
def folder(finished, tmp_path):
    """A copy of its folder."""
    return shutil.copytree(finished[0], tmp_path / "copy")


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def test_what_is_finished_comes_back_at_once(finished, folder, textile, uninterrupted, monkeypatch):
    check_same(finished[1], uninterrupted("head"))  # checkpoints change nothing
    monkeypatch.setattr(served, "extract_features", None)
    for model in (tiny_classifier(), finished[1][0]):  # a new process, or the same cell of a notebook once more
        check_same(train(TRAININGS["head"], textile, folder, model), finished[1])
    assert names_in(folder) == ["head-0003.npz", "head-0004.npz", "head-history.csv"]
    table = pd.read_csv(folder / "head-history.csv")
    assert table["epoch"].tolist() == [1, 2, 3, 4]
    np.testing.assert_allclose(table["val_loss"], finished[1][1][0].history["val_loss"])


def test_a_damaged_checkpoint_is_said_and_the_one_before_used(folder, textile, uninterrupted):
    newest = folder / "head-0004.npz"
    newest.write_bytes(newest.read_bytes()[:-1000])
    with pytest.warns(
        UserWarning, match=r"^head-0004\.npz is damaged \(.*\): training goes on after head-0003\.npz\.$"
    ):
        check_same(train(TRAININGS["head"], textile, folder), uninterrupted("head"))
    assert names_in(folder) == ["head-0003.npz", "head-0005.npz", "head-history.csv"]


def test_where_all_are_damaged_training_begins_anew_and_nothing_foreign_is_touched(folder, textile, uninterrupted):
    (folder / "head-0003.npz").write_bytes(b"")
    (folder / "head-0004.npz").write_bytes(b"a poem")
    (folder / "head-0005.npz").mkdir()
    (folder / "notes.txt").write_text("mine")
    with pytest.warns(UserWarning, match=r"head-0003\.npz is damaged.*training begins anew\.$"):
        check_same(train(TRAININGS["head"], textile, folder), uninterrupted("head"))
    assert names_in(folder)[:5] == [f"head-000{number}.npz" for number in (3, 4, 5, 8, 9)]
    assert (folder / "head-0004.npz").read_bytes() == b"a poem"
    assert (folder / "notes.txt").read_text() == "mine"


def test_no_flipped_bit_goes_unnoticed(finished):
    path = finished[0] / "head-0003.npz"
    record, arrays = checkpoint._read(path)
    content, damaged, noticed = path.read_bytes(), path.parent / "flipped", 0
    for position in np.random.default_rng(0).integers(len(content), size=200):
        damaged.write_bytes(content[:position] + bytes([content[position] ^ 16]) + content[position + 1 :])
        try:
            found, others = checkpoint._read(damaged)
        except Exception:
            noticed += 1
            continue
        assert found == record
        assert all(map(np.array_equal, others, arrays))
    damaged.unlink()
    assert noticed > 150


def test_a_file_in_place_of_the_history_stays(folder, textile):
    (folder / "head-history.csv").write_text("my,table\n")
    with pytest.raises(ValueError, match=r"head-history\.csv was not written by this package as a history of training"):
        train((HEAD, None), textile, folder)
    assert (folder / "head-history.csv").read_text() == "my,table\n"
    with pytest.raises(ValueError, match=r"^checkpoint_dir: expected a folder, or the path of a new one"):
        train((HEAD, None), textile, folder / "head-history.csv")


def test_a_training_of_other_settings_is_refused_with_what_differs(folder, textile):
    model, other = tiny_classifier(), tiny_classifier(seed=1)
    loose = tiny_classifier()
    loose.get_layer("head_dropout").rate = 0.5
    fewer = textile.with_fewer(5)
    for options, images, network, differs in (
        ({"seed": 1}, textile, model, "seed 0 there, 1 now"),
        ({"epochs": 3, "batch_size": 8}, textile, model, "batch_size 16 there, 8 now; epochs 4 there, 3 now"),
        ({"learning_rate": 0.02}, textile, model, "learning_rate 0.01 there, 0.02 now"),
        ({"balance": "class_weights"}, textile, model, "balance None there, 'class_weights' now"),
        (
            {"views": 2, "augment": {"flip": "both"}},
            textile,
            model,
            "augment None there, {'flip': 'both'} now; views 1 there, 2 now",
        ),
        ({}, fewer, model, f"train_images '{textile.fingerprint('train')}' there, '{fewer.fingerprint('train')}' now"),
        ({}, textile, other, "weights_at_start '"),
        ({}, textile, loose, "dropout ["),
    ):
        with pytest.raises(ValueError, match=r"head-0004\.npz in `checkpoint_dir` is of a training with") as raised:
            train(({**HEAD, **options}, None), images, folder, network)
        assert f"other settings: {differs}" in str(raised.value)
        assert str(raised.value).count(" there, ") == 1 + differs.count(";")


@pytest.mark.parametrize("augment", [None, AUGMENT])
@pytest.mark.parametrize("first", [2, 3, 7])
def test_batches_begin_anywhere_in_their_order(textile, augment, first):
    options = {"shuffle": True, "balanced": True, "seed": 4, "augment": augment}
    whole = textile.batches("train", 16, **options).repeat().take(12)
    rest = textile.batches("train", 16, **options, first_batch=first).repeat().take(12 - first)
    for expected, found in zip(list(whole)[first:], rest, strict=True):
        np.testing.assert_array_equal(expected[0], found[0])
        np.testing.assert_array_equal(expected[1], found[1])


def test_rows_of_batches_before_the_first_are_not_read():
    class Rows:
        shape, dtype, read = (10, 1), np.dtype("float32"), []

        def __len__(self):
            return 10

        def __getitem__(self, rows):
            self.read.extend(rows)
            return np.zeros((len(rows), 1), "float32")

    rows = Rows()
    list(pipeline.from_arrays(rows, np.arange(10), 4, first_batch=4))
    assert sorted(rows.read) == [4, 5, 6, 7, 8, 9]  # two batches are read side by side


# before a release

TO_BE_KILLED = """
import json, sys
from effnet_helpers import data, models, training
from tiny import tiny_classifier
import numpy as np

textile = data.load("textile", image_size=32, resize_mode="crop", limit_per_class=20)
model = tiny_classifier()
print("training", flush=True)
head = training.fit_head(model, textile, epochs=8, batch_size=16, checkpoint_dir=sys.argv[1])
models.unfreeze_blocks(model, last=2)
tuned = training.fine_tune(model, textile, steps=16, validations=8, batch_size=16, checkpoint_dir=sys.argv[1])
histories = [*head.history.values(), *tuned.history.values()]
np.savez(sys.argv[2], *histories, *(variable.numpy() for variable in model.variables))
"""
KILLS = 50


@pytest.mark.release
def test_killed_fifty_times_at_random_moments_all_trainings_end_equal(tmp_path, capsys):
    def start(number):
        arguments = [sys.executable, "-c", TO_BE_KILLED, tmp_path / f"run {number}", tmp_path / f"{number}.npz"]
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
        process = psutil.Popen(arguments, stdout=subprocess.PIPE, env=environment, text=True)
        assert process.stdout.readline() == "training\n"
        return process

    def run(process, most=np.inf):
        """Lets it train for so many seconds on cores, whatever else they do; gives those that it had."""
        begun = spent = sum(process.cpu_times()[:2])
        while process.poll() is None:
            with contextlib.suppress(psutil.Error):
                spent = sum(process.cpu_times()[:2])
            if spent - begun > most:
                process.kill()  # SIGKILL
                break
            time.sleep(0.01)
        assert process.wait() in (0, -signal.SIGKILL)
        return spent - begun

    longest = run(start(0))
    moments, kills, number = random.Random(0), [], 1
    while len(kills) < KILLS or not (tmp_path / f"{number}.npz").exists():
        process = start(number)
        run(process, moments.uniform(0, longest) if len(kills) < KILLS else np.inf)
        if process.returncode:
            kills.append(names_in(tmp_path / f"run {number}") if (tmp_path / f"run {number}").exists() else [])
            with capsys.disabled():
                print(f"kill {len(kills)} in run {number} after {', '.join(kills[-1]) or 'nothing'}", flush=True)
        elif len(kills) < KILLS:
            number += 1
    with np.load(tmp_path / "0.npz") as expected:
        for each in range(1, number + 1):
            with np.load(tmp_path / f"{each}.npz") as found:
                assert found.files == expected.files
                for name in found.files:
                    np.testing.assert_allclose(found[name], expected[name], rtol=1e-3, atol=1e-5)
            # Numbers count what was written: no stretch between two checkpoints was trained once more.
            kept = [path.name for path in sorted((tmp_path / f"run {each}").glob("*.npz"))]
            assert kept == [f"{phase}-000{last}.npz" for phase in ("fine_tune", "head") for last in (7, 8)]
