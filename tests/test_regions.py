"""The head that judges regions: what it pools, what it may look at, and that a small spot is found with few labels."""

from effnet_helpers import data, evaluation, models, training
from effnet_helpers.data import draw_images, share_out_labels

import keras
import numpy as np
import pytest
from tiny import tiny_backbone

HALVES = {"nominal": 6, "global": 3, "local": 3}
TESTED = {"nominal": 4, "global": 2, "local": 2}


@pytest.fixture(scope="module")
def textile():
    return data.load("textile", image_size=64, limit_per_class=30)


@pytest.fixture(scope="module")
def prefix():
    return models.split_at_block(tiny_backbone(image_size=64), "block3a")[0]


@pytest.fixture
def few(textile):
    return draw_images(textile, HALVES, TESTED)


@pytest.mark.parametrize(("sharpness", "pooled"), [(0.001, np.mean), (100.0, np.max)])
def test_scores_are_pooled_between_their_mean_and_their_maximum(prefix, sharpness, pooled):
    model = training.add_region_head(prefix, 3, sharpness=sharpness)
    images = np.random.default_rng(0).uniform(0, 255, (2, 64, 64, 3)).astype("float32")
    scores = keras.Model(model.input, model.get_layer("head_regions").output).predict(images, verbose=0)
    expected = keras.ops.softmax(np.stack([pooled(each, axis=0) for each in scores]))
    np.testing.assert_allclose(model.predict(images, verbose=0), expected, atol=0.02)


def test_whitened_features_have_no_correlation_and_no_mean():
    random = np.random.default_rng(0)
    features = (random.normal(size=(6, 5, 5, 4)) @ random.normal(size=(4, 4)) + 7).astype("float16")
    kernel, bias = training.whitening(features)
    whitened = features.reshape(-1, 4).astype("float32") @ kernel + bias
    np.testing.assert_allclose(whitened.mean(axis=0), 0, atol=1e-3)
    np.testing.assert_allclose(np.cov(whitened.T), np.diag(np.diag(np.cov(whitened.T))), atol=1e-2)
    assert np.cov(whitened.T)[0, 0] == pytest.approx(1, abs=0.01)


def test_few_regions_are_whitened_by_as_many_components():
    features = np.random.default_rng(0).normal(size=(1, 3, 3, 20))
    kernel, bias = training.whitening(features)
    assert kernel.shape == (20, 20) and np.isfinite(kernel).all()
    assert np.count_nonzero(np.abs(kernel).sum(axis=0)) <= 9
    assert bias.shape == (20,)


def test_it_learns_from_training_images_alone_and_the_same_each_time(prefix, textile, few):
    weights = []
    for dataset in (few, few, draw_images(textile, HALVES, TESTED, seed=1)):
        keras.utils.set_random_seed(0)
        model = training.add_region_head(prefix, 3)
        losses = training.fit_region_head(model, dataset, steps=30, tries=2)
        assert len(losses) == 2
        assert max(losses) < np.log(3)
        weights.append(model.get_layer("head_scores").get_weights()[0])
    np.testing.assert_array_equal(weights[0], weights[1])
    assert not np.array_equal(weights[0], weights[2]), "other training images"
    assert not model.get_layer("head_whitening").trainable
    assert not any(layer.trainable for layer in model.layers if layer.name.startswith("block"))


def test_the_try_with_the_lowest_loss_is_kept(prefix, few, monkeypatch):
    kept, clone = [], keras.models.clone_model
    monkeypatch.setattr(keras.models, "clone_model", lambda head: kept.append(clone(head)) or kept[-1])
    model = training.add_region_head(prefix, 3)
    losses = training.fit_region_head(model, few, steps=20, tries=3)
    assert len(set(losses)) == len(kept) == 3
    best = kept[int(np.argmin(losses))]
    for name in ("head_whitening", "head_hidden", "head_scores"):
        for ours, theirs in zip(model.get_layer(name).get_weights(), best.get_layer(name).get_weights(), strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_a_spot_that_an_average_hides_is_found():
    """A few labels: noise, and noise with one small spot anywhere."""
    random = np.random.default_rng(0)
    images = random.normal(127, 40, (120, 64, 64, 3))
    for image in images[::2]:
        x, y = random.integers(0, 56, 2)
        image[y : y + 8, x : x + 8] = image[y : y + 8, x : x + 8].mean()
    images, labels = images.clip(0, 255).astype("float32"), np.arange(120) % 2
    prefix, _ = models.split_at_block(models.build_backbone("Lite0", image_size=64), "block3a")
    features = prefix.predict(images, verbose=0)
    model = training.add_region_head(prefix, 2)
    model.get_layer("head_whitening").set_weights(training.whitening(features[:60]))
    _, head = models.split_after(model, prefix.layers[-1].name)
    head.compile(keras.optimizers.AdamW(0.01), loss="sparse_categorical_crossentropy")
    head.fit(features[:60], labels[:60], batch_size=60, epochs=150, verbose=0)
    found = head.predict(features[60:], verbose=0).argmax(axis=1)
    assert np.mean(found == labels[60:]) > 0.9


def test_it_is_saved_and_loaded_by_plain_keras(prefix, few, tmp_path):
    model = training.add_region_head(prefix, 3)
    training.fit_region_head(model, few, steps=10)
    card = models.save(model, tmp_path / "m.keras", class_names=few.class_names, resize_mode="crop", variant="Lite0")
    again, _ = models.load(tmp_path / "m.keras")
    plain = keras.models.load_model(tmp_path / "m.keras")
    expected = evaluation.evaluate(model, few, "test").probabilities
    for other in (again, plain):
        np.testing.assert_allclose(evaluation.evaluate(other, few, "test").probabilities, expected, atol=1e-6)
    assert card.class_names == few.class_names


@pytest.mark.parametrize("wrong", [{"num_classes": 1}, {"sharpness": 0.0}])
def test_heads_that_cannot_be_are_refused(prefix, wrong):
    with pytest.raises(ValueError, match="Received: "):
        training.add_region_head(prefix, **{"num_classes": 3, **wrong})


@pytest.mark.parametrize("wrong", [{"steps": 9}, {"tries": 0}])
def test_too_few_steps_or_tries_are_refused(prefix, few, wrong):
    with pytest.raises(ValueError, match="Received: steps="):
        training.fit_region_head(training.add_region_head(prefix, 3), few, **wrong)


# draws


def test_a_draw_has_so_many_of_each_class_and_none_twice(textile, few):
    assert few.sizes == {"train": 12, "val": 0, "test": 8}
    counts = np.bincount(few.labels("train"))
    assert dict(zip(textile.class_names, counts.tolist(), strict=True)) == HALVES
    names = [name for files in few.splits.values() for name in files.names]
    assert len(set(names)) == len(names)
    for files in few.splits.values():
        assert list(files.names) == sorted(files.names)
        for name, label in zip(files.names, files.labels, strict=True):
            assert name.startswith(textile.class_names[label])


@pytest.mark.parametrize("score_on", ["val", "test"])
def test_no_image_of_a_draw_changes_sides(textile, score_on):
    drawn = draw_images(textile, HALVES, {"nominal": 2, "local": 2}, seed=3, score_on=score_on)
    assert set(drawn.splits["train"].names) < set(textile.splits["train"].names)
    assert set(drawn.splits["test"].names) < set(textile.splits[score_on].names)


def test_more_training_images_add_to_fewer_and_leave_the_test_images(textile, few):
    more = draw_images(textile, {name: 2 * count for name, count in HALVES.items()}, TESTED)
    assert more.splits["test"].names == few.splits["test"].names
    assert set(more.splits["train"].names) > set(few.splits["train"].names)
    other = draw_images(textile, HALVES, TESTED, seed=1)
    assert other.splits["test"].names != few.splits["test"].names


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"train": {"torn": 1}}, "There are the classes .* Received: 'torn'"),
        ({"train": {"local": 99}}, "The split train has 20 images of 'local'. Received: 99"),
        ({"test": {"local": 7}}, "The split test has 6 images of 'local'. Received: 7"),
        ({"score_on": "train"}, "Received: 'train'"),
    ],
)
def test_draws_that_cannot_be_are_refused(textile, wrong, message):
    with pytest.raises(ValueError, match=message):
        draw_images(textile, **{"train": {"local": 1}, "test": {"local": 1}, **wrong})


def test_shares_follow_the_weights_and_what_there_is(textile):
    assert share_out_labels(textile, 24, {"nominal": 2}) == {"global": 6, "local": 6, "nominal": 12}
    assert share_out_labels(textile, 1, {}) == {"global": 1, "local": 1, "nominal": 1}
    assert share_out_labels(textile, 24, {"nominal": 2}, "test") == {"global": 6, "local": 6, "nominal": 6}
