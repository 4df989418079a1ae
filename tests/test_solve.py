"""A head solved outright: its probabilities are those of the logistic regression that was poured into it."""

from effnet_helpers import data, evaluation, models, training

import numpy as np
import pytest
from tiny import tiny_classifier


@pytest.fixture(scope="module")
def textile():
    return data.load("textile", image_size=32, limit_per_class=30)


@pytest.fixture
def model():
    return tiny_classifier()


def mean_loss(report):
    return -np.log(report.probabilities[np.arange(len(report.labels)), report.labels]).mean()


def test_the_head_gives_the_probabilities_of_the_solution(model, textile):
    solved = training.solve_head(model, textile)
    report = evaluation.evaluate(model, textile, "val")
    assert report.accuracy == solved.val_accuracy
    assert mean_loss(report) == pytest.approx(min(solved.losses), rel=2e-3)  # features were rounded to float16
    assert solved.strength == training.STRENGTHS[int(np.argmin(solved.losses))]
    assert "4 heads solved in" in str(solved)


def test_two_classes_are_poured_as_two_outputs(textile):
    splits = {split: files.take(np.flatnonzero(files.labels < 2)) for split, files in textile.splits.items()}
    two = data.ImageDataset("two", textile.class_names[:2], 32, "crop", textile.provenance, splits)
    model = tiny_classifier(2)
    solved = training.solve_head(model, two, strengths=(0.01,))
    assert mean_loss(evaluation.evaluate(model, two, "val")) == pytest.approx(solved.losses[0], rel=2e-3)


def test_the_backbone_is_frozen_and_left_alone(model, textile):
    blocks = [layer for layer in model.layers if models.block_of(layer)]
    before = [weight.copy() for layer in blocks for weight in layer.get_weights()]
    training.solve_head(model, textile, strengths=(0.01,))
    after = [weight for layer in blocks for weight in layer.get_weights()]
    assert all(np.array_equal(old, new) for old, new in zip(before, after, strict=True))
    assert not any(layer.trainable for layer in blocks)


def test_a_second_time_it_finds_the_features_and_the_same_solution(model, textile):
    first = training.solve_head(model, textile)
    kernel = model.get_layer("head_probabilities").get_weights()[0]
    second = training.solve_head(model, textile)
    assert second.reused
    assert second.losses == first.losses
    np.testing.assert_array_equal(kernel, model.get_layer("head_probabilities").get_weights()[0])


def test_more_views_are_more_images_to_learn_from(model, textile):
    one = training.solve_head(model, textile, strengths=(0.01,))
    two = training.solve_head(model, textile, strengths=(0.01,), views=2, augment={"flip": "both"})
    assert two.losses != one.losses


@pytest.mark.parametrize(
    "wrong", [{"strengths": ()}, {"strengths": (0.1, 0)}, {"views": 0}, {"balance": "balanced_sampling"}, {"views": 2}]
)
def test_wrong_arguments_are_refused(model, textile, wrong):
    with pytest.raises(ValueError, match="Received: "):
        training.solve_head(model, textile, **wrong)
