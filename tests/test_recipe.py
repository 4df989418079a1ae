"""The recipe: rules from what the head reaches and from the number of images; what is given is not chosen."""

from effnet_helpers import evaluation, models, training

import pytest
from tiny import tiny_classifier


@pytest.mark.parametrize(
    ("images", "accuracy", "block"),
    [(1000, 0.8, "block4a"), (1000, 0.97, "block6a"), (150, 0.8, "block4a"), (150, 0.97, "block6a")],
)
def test_few_blocks_train_where_the_features_fit(images, accuracy, block):
    recipe = training.choose_recipe(images, accuracy)
    assert recipe.from_block == block
    assert block in models.block_names(tiny_classifier())
    assert f"{accuracy}" in recipe.reasons["from_block"]


def test_what_was_measured_bears_the_rules_out():
    runs = evaluation.measured("recipes").query("stage == 'final'")
    means = runs.groupby(["candidate", "set"])[["head_accuracy", "accuracy", "test"]].mean()
    ours, before = means.loc["by the rule"], means.loc["lesson 05 until 2026"]
    by_rule = runs.query("candidate == 'by the rule'")
    assert (by_rule["accuracy"] >= by_rule["head_accuracy"]).all()
    assert ours.loc["textile", "test"] >= 0.99
    assert ours.loc["cats_dogs", "test"] >= 0.985
    assert ours.loc["tiles", "test"] - before.loc["tiles", "test"] >= 0.04


def test_length_is_300_steps_and_at_least_one_pass():
    for images, batch_size, steps in ((100, 32, 300), (9600, 32, 300), (9601, 32, 301), (10_000, 8, 1250)):
        assert training.choose_recipe(images, 0.5, batch_size=batch_size).steps == steps


def test_what_is_given_is_not_chosen():
    recipe = training.choose_recipe(1000, 0.5, from_block="top", learning_rate=0.01, steps=5)
    assert (recipe.from_block, recipe.learning_rate, recipe.steps) == ("top", 0.01, 5)
    assert str(recipe).count("as asked for") == 3


def test_an_accuracy_in_percent_is_refused():
    with pytest.raises(ValueError, match=r"head_accuracy: expected a share from 0 to 1\. Received: 97"):
        training.choose_recipe(1000, 97)
