"""Training that is interrupted anywhere goes on, and ends as if nothing had happened."""

import itertools
import json
from pathlib import Path

from effnet_helpers import data, models, training
from effnet_helpers.training import checkpoint

import numpy as np
import pytest
from tiny import tiny_classifier

AUGMENT = {"flip": "both", "rotation": 20}
# 3 steps a pass, 2 between validations
TUNING = {"steps": 8, "validations": 4, "batch_size": 16, "learning_rate": 1e-3}
TRAININGS = {
    "head": ("head", {"epochs": 4, "batch_size": 16, "learning_rate": 0.01, "balance": "class_weights"}),
    "head that stops early": ("head", {"epochs": 9, "batch_size": 16, "learning_rate": 0.3, "patience": 1}),
    "head on views": ("head", {"epochs": 3, "batch_size": 16, "views": 2, "augment": AUGMENT}),
    "kept prefix": ("fine_tune", {**TUNING, "balance": "balanced_sampling"}),
    "kept views": ("fine_tune", {**TUNING, "views": 2, "augment": AUGMENT}),
    "everything": ("fine_tune", {**TUNING, "cache": False, "augment": AUGMENT}),
}
HEAD = TRAININGS["head"]


@pytest.fixture(scope="module")
def textile():
    return data.load("textile", image_size=32, resize_mode="crop", limit_per_class=20)


def train(what, textile, folder=None, model=None):
    """Trains a model as a new process would: from the same weights. Returns what it did, and the model."""
    method, options = what
    model = model or tiny_classifier()
    if method == "fine_tune":
        models.unfreeze_blocks(model, last=2)
        return training.fine_tune(model, textile, **options, checkpoint_dir=folder), model
    return training.fit_head(model, textile, **options, checkpoint_dir=folder), model


@pytest.fixture(scope="module")
def uninterrupted(textile):
    """The result of a training without checkpoints, computed once each."""
    found = {}

    def result(what):
        key = json.dumps(what)
        if key not in found:
            found[key] = train(what, textile)
        return found[key]

    return result


def check_same(results, expected):
    (fit, model), (expected_fit, expected_model) = results, expected
    assert fit.best_epoch == expected_fit.best_epoch
    assert fit.steps == expected_fit.steps
    assert list(fit.history) == list(expected_fit.history)
    for name, values in expected_fit.history.items():
        np.testing.assert_allclose(fit.history[name], values, rtol=1e-4, err_msg=name)
    for variable, other in zip(model.variables, expected_model.variables, strict=True):
        np.testing.assert_allclose(variable, other, rtol=1e-3, atol=1e-5, err_msg=variable.path)


def interrupt_after(monkeypatch, owner, name, count=1, error=KeyboardInterrupt):
    """Raises where a function has been called so many times; before its last call where `count` is negative."""
    real, calls = getattr(owner, name), itertools.count(1)

    def interrupted(*args, **options):
        call = next(calls)
        if call == -count:
            raise error
        result = real(*args, **options)
        if call == count:
            raise error
        return result

    monkeypatch.setattr(owner, name, interrupted)


def checkpoints(folder):
    return sorted(folder.glob("*.npz"))


@pytest.mark.parametrize("name", TRAININGS)
def test_interrupted_after_each_epoch_it_ends_as_if_nothing_had_happened(name, textile, uninterrupted, tmp_path):
    what, epochs = TRAININGS[name], 0
    for _ in range(20):
        with pytest.MonkeyPatch.context() as patch:
            interrupt_after(patch, checkpoint.Checkpoint, "on_epoch_end")
            try:
                results = train(what, textile, tmp_path)
                break
            except KeyboardInterrupt:
                epochs += 1
    expected = uninterrupted(what)
    assert epochs == len(expected[0].history["loss"])
    assert "early" not in name or epochs < 9
    check_same(results, expected)


@pytest.mark.parametrize(
    ("owner", "name", "count"),
    [
        (np, "savez", -2),
        (checkpoint.os, "fsync", -3),  # the second of a history's, first a checkpoint's
        (checkpoint.os, "replace", -3),
        (checkpoint.os, "replace", 3),
        (checkpoint.os, "replace", -4),
        (Path, "unlink", -1),
    ],
)
def test_wherever_writing_is_interrupted_at_most_that_epoch_is_lost(
    owner, name, count, textile, uninterrupted, tmp_path, monkeypatch
):
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        interrupt_after(patch, owner, name, count)
        train(HEAD, textile, tmp_path)
    done = [checkpoint._read(path)[0]["epoch"] for path in checkpoints(tmp_path)]
    interrupted_in = 3 if name == "unlink" else 2
    assert max(done) >= interrupted_in - 1
    check_same(train(HEAD, textile, tmp_path), uninterrupted(HEAD))
    assert len(checkpoints(tmp_path)) == 2
    assert not list(tmp_path.glob(".*"))
