from effnet_helpers import data, evaluation, models
from effnet_helpers.training import features
from effnet_helpers.training import solve as heads

import numpy as np
import pytest


@pytest.fixture(scope="module")
def textile():
    return data.load("textile", image_size=64, limit_per_class=30)


@pytest.fixture
def model(textile):
    return models.add_head(models.build_backbone("Lite0", image_size=64), textile.num_classes)


def two_classes(textile):
    """The same set without its third class."""
    splits = {split: files.take(np.flatnonzero(files.labels < 2)) for split, files in textile.splits.items()}
    return data.ImageDataset("two", textile.class_names[:2], 64, "crop", textile.provenance, splits)


def test_the_head_gives_the_probabilities_of_the_solution(model, textile):
    solved = heads.solve_head(model, textile)
    report = evaluation.evaluate(model, textile, "val")
    assert report.accuracy == solved.val_accuracy
    loss = -np.log(report.probabilities[np.arange(len(report.labels)), report.labels]).mean()
    assert loss == pytest.approx(min(solved.losses), rel=2e-3)  # features were rounded to float16 for the solution
    assert solved.strength == heads.STRENGTHS[int(np.argmin(solved.losses))]


def test_two_classes_are_poured_as_two_outputs(textile):
    two = two_classes(textile)
    model = models.add_head(models.build_backbone("Lite0", image_size=64), 2)
    solved = heads.solve_head(model, two, strengths=(0.01,))
    report = evaluation.evaluate(model, two, "val")
    loss = -np.log(report.probabilities[np.arange(len(report.labels)), report.labels]).mean()
    assert loss == pytest.approx(solved.losses[0], rel=2e-3)


def test_a_solved_head_leaves_the_backbone_alone_and_can_be_fine_tuned(model, textile):
    before = [
        weight.copy() for layer in model.layers if not layer.name.startswith("head_") for weight in layer.get_weights()
    ]
    heads.solve_head(model, textile, strengths=(0.01,))
    after = [weight for layer in model.layers if not layer.name.startswith("head_") for weight in layer.get_weights()]
    for old, new in zip(before, after, strict=True):
        np.testing.assert_array_equal(old, new)
    assert not any(layer.trainable for layer in model.layers if layer.name.startswith("block"))


def test_solving_is_repeatable_and_reuses_features(model, textile):
    first = heads.solve_head(model, textile)
    kernel = model.get_layer("head_probabilities").get_weights()[0]
    second = heads.solve_head(model, textile)
    assert second.reused
    assert second.losses == first.losses
    np.testing.assert_array_equal(kernel, model.get_layer("head_probabilities").get_weights()[0])


def test_more_views_are_more_images_to_learn_from(model, textile):
    one = heads.solve_head(model, textile, strengths=(0.01,))
    two = heads.solve_head(model, textile, strengths=(0.01,), views=2, augment={"flip": "both"})
    assert two.losses != one.losses
    backbone, _ = models.split_after(model, "head_pool")
    views = features.extract_views(backbone, textile, "train", views=2, augment={"flip": "both"})
    assert views.reused
    assert views.values.shape == (2 * textile.sizes["train"], 1280)
    rows = np.array([0, textile.sizes["train"], 1])
    np.testing.assert_array_equal(views.values[rows], np.asarray(views.values)[rows])


@pytest.mark.parametrize(
    "wrong", [{"strengths": ()}, {"strengths": (0.1, 0)}, {"views": 0}, {"balance": "balanced_sampling"}, {"views": 2}]
)
def test_wrong_arguments_are_refused(model, textile, wrong):
    with pytest.raises(ValueError, match="Received: "):
        heads.solve_head(model, textile, **wrong)
