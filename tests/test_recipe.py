"""The recipe: what is given is not chosen, choosing leaves no trace, costs little, and comes out the same again."""

from effnet_helpers import data, models, training

import numpy as np
import pytest
from tiny import tiny_classifier


@pytest.fixture(scope="module")
def textile():
    return data.load("textile", image_size=32, limit_per_class=20)


@pytest.fixture(scope="module")
def chosen(textile):
    """A model, its weights before, and two choices."""
    model = tiny_classifier()
    training.fit_head(model, textile, epochs=2)
    before = model.get_weights()
    how = {"steps": 8, "from_block": "top", "peaks": (1e-4, 1e-2), "batch_size": 8, "seed": 3}
    recipes = [training.choose_recipe(model, textile, **how) for _ in range(2)]
    return model, before, recipes


def test_the_peak_with_the_lowest_validation_loss_is_chosen(chosen):
    recipe = chosen[2][0]
    trials = recipe.trials
    best = trials["val_loss"].idxmin()
    assert recipe.learning_rate == trials["learning_rate"][best]
    assert trials["chosen"].tolist() == [row == best for row in trials.index]
    assert list(recipe.curves) == [f"{peak:g}" for peak in trials["learning_rate"]]


def test_choosing_leaves_weights_as_they_were_and_the_blocks_open(chosen):
    model, before, recipes = chosen
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    assert training.lowest_trainable_block(model) == recipes[0].from_block


def test_the_same_seed_makes_the_same_choice(chosen):
    one, other = chosen[2]
    np.testing.assert_array_equal(one.trials, other.trials)
    assert (one.from_block, one.learning_rate, one.steps) == (other.from_block, other.learning_rate, other.steps)


def test_what_is_given_is_not_chosen(textile):
    model = tiny_classifier()
    recipe = training.choose_recipe(model, textile, steps=5, from_block="top", learning_rate=0.01)
    assert (recipe.from_block, recipe.learning_rate, recipe.steps, recipe.share) == ("top", 0.01, 5, 0)
    assert recipe.trials.empty and not recipe.curves
    assert str(recipe).count("as asked for") == 3
    assert training.lowest_trainable_block(model) == "top"


def test_length_is_300_steps_and_at_least_one_pass(textile):
    model = tiny_classifier()
    for batch_size, steps in ((32, 300), (2, 300)):
        recipe = training.choose_recipe(model, textile, from_block="top", learning_rate=0.01, batch_size=batch_size)
        assert recipe.steps == steps


@pytest.mark.parametrize(
    ("images", "accuracy", "block"), [(1000, 0.8, "block4a"), (1000, 0.97, "block6a"), (100, 0.8, "block6a")]
)
def test_few_blocks_train_where_the_features_fit_or_images_are_few(images, accuracy, block):
    found, why = training.depth_for(images, accuracy)
    assert found == block
    assert found in models.block_names(tiny_classifier())
    assert f"{images:,}" in why or f"{accuracy:.3f}" in why


def test_no_peaks_are_refused(textile):
    with pytest.raises(ValueError, match="peaks: expected at least one learning rate"):
        training.choose_recipe(tiny_classifier(), textile, peaks=())
