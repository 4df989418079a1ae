"""Training: the short cuts agree with the long way, the best epoch is kept, and what diverges says why."""

import dataclasses

from effnet_helpers import data, evaluation, machine, models, training

import keras
import numpy as np
import pytest
from tiny import tiny_classifier

pytestmark = pytest.mark.usefixtures("short_network")


@pytest.fixture(scope="module")
def textile():
    return data.load("textile", image_size=32, resize_mode="crop", limit_per_class=20)


@pytest.fixture
def model():
    return tiny_classifier()


def test_a_head_on_cached_features_is_the_head_of_plain_fit(model, textile):
    """Same start, same order, same dropout: the weights agree up to rounding of the features."""
    fit = training.fit_head(model, textile, epochs=2, batch_size=16, seed=3)
    plain = tiny_classifier()
    models.freeze_backbone(plain)
    training.compile_for_labels(plain, keras.optimizers.Adam(1e-3))
    keeper = training.KeepBest(plain)
    batches = textile.batches("train", 16, shuffle=True, seed=3)
    history = plain.fit(batches, validation_data=textile.batches("val", 16), epochs=2, verbose=0, callbacks=[keeper])
    for ours, theirs in zip(model.trainable_weights, plain.trainable_weights, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=2e-3)
    np.testing.assert_allclose(fit.history["loss"], history.history["loss"], rtol=2e-3)
    assert fit.best_epoch == keeper.best_epoch


def test_fine_tuning_agrees_with_and_without_the_cached_prefix(textile):
    losses = {}
    for cache in (True, False):
        model = tiny_classifier()
        training.fit_head(model, textile, epochs=2, seed=0)
        models.unfreeze_blocks(model, last=4)
        fit = training.fine_tune(model, textile, steps=6, batch_size=16, learning_rate=1e-4, seed=1, cache=cache)
        losses[cache] = fit.history["loss"] + fit.history["val_loss"]
        assert fit.trained == ("block6a", "block6b", "block7a", "top", "head")
    np.testing.assert_allclose(losses[True], losses[False], rtol=2e-2)


def test_fitting_a_head_changes_the_head_alone(model, textile):
    before = {layer.name: layer.get_weights() for layer in model.layers}
    fit = training.fit_head(model, textile, epochs=1)
    for layer in model.layers:
        same = all(np.array_equal(a, b) for a, b in zip(before[layer.name], layer.get_weights(), strict=True))
        assert same or layer.name.startswith("head_"), layer.name
    assert fit.trained == ("head",)
    assert fit.trained_parameters == 2 * 1280 + 1280 * 3 + 3
    assert fit.seconds > 0
    assert "6,403 parameters (head) trained for 2 steps (1.0 passes)" in str(fit)


def test_a_fitted_model_is_compiled_and_scores_what_the_history_says(model, textile):
    fit = training.fit_head(model, textile, epochs=4, learning_rate=1e-2)
    scores = model.evaluate(textile.batches("val"), verbose=0, return_dict=True)
    assert scores["accuracy"] == pytest.approx(fit.history["val_accuracy"][fit.best_epoch - 1])
    assert fit.best_epoch == 1 + int(np.argmin(fit.history["val_loss"]))


def small_fit(keeper, epochs, losses, accuracies=None):
    """Trains a model whose validation scores at each epoch are given; returns its weight after each epoch."""
    model = keeper.whole
    model.compile(keras.optimizers.SGD(0.1), "mse")
    x = np.ones((4, 1), "float32")
    seen = []

    class Losses(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            logs["val_loss"] = losses[epoch]
            logs["val_accuracy"] = accuracies[epoch] if accuracies else 0.0
            seen.append(float(model.get_weights()[0][0, 0]))

    model.fit(x, 3 * x, epochs=epochs, verbose=0, callbacks=[Losses(), keeper])
    return seen


def linear():
    return keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")])


def test_the_best_epochs_weights_are_kept_and_patience_stops():
    model = linear()
    keeper = training.KeepBest(model, patience=2)
    seen = small_fit(keeper, 10, [3.0, 1.0, 2.0, 2.0, 0.5, 0.1, 0.1, 0.1, 0.1, 0.1])
    assert len(seen) == 4
    assert keeper.best_epoch == 2
    assert model.get_weights()[0][0, 0] == pytest.approx(seen[1])


def test_no_weights_worse_than_those_it_started_with_are_kept():
    losses, accuracies = [3.0, 0.5, 0.9, 0.8], [0.9, 0.6, 0.7, 0.9]
    for start, best in (((1.0, 0.7), 4), ((0.7, 0.9), 0), ((1.0, 0.9), 4), ((0.1, 0.95), 0), (None, 2)):
        model = linear()
        keeper = training.KeepBest(model, start)
        seen = [0.0, *small_fit(keeper, 4, losses, accuracies)]
        assert keeper.best_epoch == best
        assert model.get_weights()[0][0, 0] == pytest.approx(seen[best])
    assert keeper.best_accuracy == 0.6


def test_fine_tuning_that_only_hurts_leaves_the_head_as_it_was(model, textile):
    known = dataclasses.replace(textile, splits={**textile.splits, "val": textile.splits["train"]})
    training.fit_head(model, known, epochs=20, learning_rate=1e-2)
    before = model.get_weights()
    models.unfreeze_blocks(model, last=3)
    fit = training.fine_tune(model, known, steps=4, batch_size=8, learning_rate=0.9, warmup_steps=0)
    assert fit.best_epoch == 0
    assert "none of 4 validations was better than the weights it started with" in str(fit)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_a_loss_that_is_not_finite_stops_with_advice_and_loses_nothing(model, textile):
    training.fit_head(model, textile, epochs=1)
    before = model.get_weights()
    models.unfreeze_blocks(model, last=3)
    with pytest.raises(training.TrainingDivergedError, match=r"loss became (nan|inf).*learning rate of .*Try a tenth"):
        training.fine_tune(model, textile, steps=9, batch_size=8, learning_rate=3e38, warmup_steps=0)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_a_validation_loss_that_is_not_finite_stops_too():
    model = linear()
    keeper = training.KeepBest(model)
    with pytest.raises(training.TrainingDivergedError, match=r"validation loss became nan in epoch 2.*best epoch, 1"):
        small_fit(keeper, 3, [1.0, float("nan"), 1.0])


def test_batches_of_one_are_refused_where_batch_normalization_trains(model, textile):
    for train in (training.fit_head, training.fine_tune):
        with pytest.raises(ValueError, match=r"batch_size: expected 2 or more, since batch normalization trains"):
            train(model, textile, batch_size=1)


def test_there_must_be_something_to_fine_tune(model, textile):
    models.freeze_backbone(model)
    with pytest.raises(ValueError, match=r"No block is trainable.*`models\.unfreeze_blocks`"):
        training.fine_tune(model, textile, steps=1)


def test_augmented_fine_tuning_runs_the_whole_network(model, textile):
    models.unfreeze_blocks(model, last=1)
    fit = training.fine_tune(model, textile, steps=2, augment={"flip": "horizontal"}, seed=0)
    assert not fit.reused
    assert fit.preparation_seconds == 0
    assert np.isfinite(fit.history["val_loss"]).all()


def test_views_are_kept_where_that_is_less_work_and_shown_mixed(model, textile, monkeypatch):
    models.unfreeze_blocks(model, last=1)
    strengths = {"flip": "both"}
    plan = training.plan_prefix(model, textile, passes=4, augment=strengths, views=2)
    assert (plan.cached, plan.views, plan.block) == (True, 2, "top")
    assert 0 < plan.work < 1
    fit = training.fine_tune(model, textile, steps=8, augment=strengths, views=2)
    assert (len(fit.history["loss"]), fit.passes) == (8, 4.0)
    assert fit.preparation_seconds > 0
    again = training.fine_tune(model, textile, steps=6, augment=strengths, views=3)
    assert not again.reused  # the third view is new


def test_the_plan_says_when_everything_runs(model, textile, monkeypatch):
    models.unfreeze_blocks(model, last=1)
    for options, free, cached in (
        ({"passes": 3}, 10, True),
        ({"passes": 3}, 1e-9, False),
        ({"passes": 1, "augment": {"flip": "both"}}, 10, False),
    ):
        monkeypatch.setattr(machine, "free_cache_gb", lambda free=free: free)
        plan = training.plan_prefix(model, textile, **options)
        assert plan.cached == cached
        assert ("it is kept" in str(plan)) == cached
        assert ("everything runs in every pass;" not in str(plan)) and str(plan).endswith(".")
    models.unfreeze_blocks(model, from_block="stem")
    assert not training.plan_prefix(model, textile, passes=3).cached
    with pytest.raises(ValueError, match="views: expected a whole number"):
        training.plan_prefix(model, textile, passes=3, views=0)


def test_balance_helps_the_rare_class():
    """Where one class has four images."""
    rare = data.load("textile", image_size=32, limit_per_class=60)
    files = rare.splits["train"]
    kept = np.concatenate([np.flatnonzero(files.labels != 1), np.flatnonzero(files.labels == 1)[:4]])
    rare = dataclasses.replace(rare, splits={**rare.splits, "train": files.take(np.sort(kept))})
    model, recalls = models.add_head(models.build_backbone("Lite0", image_size=32), 3), {}
    start = model.get_weights()
    for balance in (None, "class_weights", "balanced_sampling"):
        model.set_weights(start)
        training.fit_head(model, rare, epochs=8, learning_rate=0.01, balance=balance)
        recalls[balance] = evaluation.evaluate(model, rare, "val").per_class["recall"][1]
    assert recalls["class_weights"] > recalls[None] < recalls["balanced_sampling"]


def test_other_balances_are_refused(model, textile):
    with pytest.raises(ValueError, match=r"balance must be one of None, 'class_weights'.*Received: 'smote'"):
        training.fit_head(model, textile, epochs=1, balance="smote")


def test_the_learning_rate_rises_in_a_line_and_falls_along_half_a_cosine():
    schedule = training.warmup_cosine(0.1, steps=20, warmup_steps=4)
    rates = [float(schedule(step)) for step in range(21)]
    np.testing.assert_allclose(rates[:5], [0, 0.025, 0.05, 0.075, 0.1], atol=1e-6)
    expected = 0.05 * (1 + np.cos(np.pi * np.arange(17) / 16))
    np.testing.assert_allclose(rates[4:], expected, atol=1e-6)
    assert float(training.warmup_cosine(0.1, steps=5)(0)) == pytest.approx(0.1)


@pytest.mark.parametrize(("steps", "warmup"), [(0, 0), (5, 5), (5, -1)])
def test_a_schedule_without_room_is_refused(steps, warmup):
    with pytest.raises(ValueError, match=rf"Received: {warmup} of {steps} steps"):
        training.warmup_cosine(0.1, steps, warmup)
