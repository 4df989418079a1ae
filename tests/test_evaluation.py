from effnet_helpers import evaluation, training

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from keras import layers

NAMES = ("global", "local", "nominal")
LABELS = np.array([0, 0, 1, 1, 1, 2])
PROBABILITIES = np.array(
    [[0.8, 0.1, 0.1], [0.3, 0.6, 0.1], [0.1, 0.8, 0.1], [0.0, 0.9, 0.1], [0.95, 0.05, 0.0], [0.7, 0.2, 0.1]]
)


class TinyDataset:
    """Images of one flat colour; what `evaluation` uses of `data.ImageDataset`."""

    class_names = NAMES

    def __init__(self, **labels):
        self.splits = {split: np.array(values, dtype=np.int32) for split, values in labels.items()}

    def labels(self, split):
        return self.splits[split]

    def batches(self, split, batch_size=32):
        labels = self.splits[split]
        images = np.zeros((len(labels), 4, 4, 3), np.float32)
        images[np.arange(len(labels)), :, :, labels] = 200.0
        return tf.data.Dataset.from_tensor_slices((images, labels)).batch(batch_size)


def brightest_channel_model(num_classes=3):
    """Says class i for an image whose channel i is brightest."""
    inputs = keras.Input((4, 4, 3))
    pooled = layers.GlobalAveragePooling2D()(inputs)
    model = keras.Model(inputs, layers.Dense(num_classes, activation="softmax")(pooled))
    model.set_weights([np.eye(3, num_classes) * 0.01, np.zeros(num_classes)])
    return model


def head_model(trainable_norm=True):
    """A flat model with the layer names of `models.add_head`, and random batch-norm statistics."""
    inputs = keras.Input((16, 16, 3))
    x = layers.Conv2D(5, 3, strides=2, padding="same", name="top_conv")(inputs)
    x = layers.Activation("relu", name="top_activation")(x)
    x = layers.GlobalAveragePooling2D(name="head_pool")(x)
    x = layers.BatchNormalization(name="head_bn")(x)
    x = layers.Dropout(0.5, name="head_dropout")(x)
    model = keras.Model(inputs, layers.Dense(4, activation="softmax", name="head_probabilities")(x))
    rng = np.random.default_rng(0)
    norm = model.get_layer("head_bn")
    norm.set_weights([rng.uniform(0.5, 2.0, weight.shape) for weight in norm.get_weights()])
    norm.trainable = trainable_norm
    return model


def conv_norm_model():
    """Two convolutions with batch normalization and dropout between them, and statistics far from the truth."""
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, name="first_conv")(inputs)
    x = layers.BatchNormalization(momentum=0.9, name="first_norm")(x)
    x = layers.Dropout(0.5)(layers.Activation("relu")(x))
    x = layers.Conv2D(4, 3)(x)
    model = keras.Model(inputs, layers.BatchNormalization(name="second_norm")(x))
    for name in ("first_norm", "second_norm"):
        model.get_layer(name).moving_mean.assign([7.0] * 4)
        model.get_layer(name).moving_variance.assign([50.0] * 4)
    return model


@pytest.fixture
def report():
    return evaluation.report_from_probabilities(PROBABILITIES, LABELS, NAMES)


@pytest.fixture
def images():
    return np.random.default_rng(1).uniform(0, 255, (12, 8, 8, 3)).astype(np.float32)


def test_evaluate_scores_the_split_asked_for_in_its_order():
    dataset = TinyDataset(train=[0], val=[2, 0, 1, 1, 0], test=[1])
    report = evaluation.evaluate(brightest_channel_model(), dataset, "val", batch_size=2)
    assert report.accuracy == 1.0
    assert report.labels.tolist() == [2, 0, 1, 1, 0]
    assert report.probabilities.argmax(axis=1).tolist() == [2, 0, 1, 1, 0]
    assert report.mistakes() == []


def test_evaluate_names_a_model_of_another_number_of_classes():
    with pytest.raises(ValueError, match=r"3 classes needs .*\(images, 3\)\. Received: labels \(1,\), .* \(1, 5\)"):
        evaluation.evaluate(brightest_channel_model(5), TinyDataset(val=[0]))


def test_report_counts_and_shares(report):
    assert report.accuracy == 0.5
    assert report.confusion.tolist() == [[1, 1, 0], [1, 2, 0], [1, 0, 0]]
    table = report.per_class.set_index("class")
    assert table["images"].tolist() == [2, 3, 1]
    assert table["recall"].tolist() == pytest.approx([1 / 2, 2 / 3, 0])
    assert table["precision"].tolist()[:2] == pytest.approx([1 / 3, 2 / 3])
    assert np.isnan(table.loc["nominal", "precision"])  # never predicted
    assert (table["recall_low"] <= table["recall"]).all()
    assert (table["recall_high"] >= table["recall"]).all()


def test_a_class_without_images_has_no_recall():
    report = evaluation.report_from_probabilities(PROBABILITIES[:5], LABELS[:5], NAMES)
    assert report.per_class.loc[2, ["recall", "recall_low", "recall_high"]].isna().all()
    assert report.confusion.shape == (3, 3)


def test_report_in_one_sentence():
    probabilities = np.eye(3)[[0] * 163 + [1] * 37]
    report = evaluation.report_from_probabilities(probabilities, np.zeros(200, int), NAMES)
    assert str(report) == "81.5 % of 200 right (95 % interval 75.5–86.3 %)"


def test_mistakes_are_the_surest_first(report):
    first, second, third = report.mistakes()
    assert first == evaluation.Mistake(4, "local", "global", pytest.approx(0.95))
    assert second == evaluation.Mistake(5, "nominal", "global", pytest.approx(0.7))
    assert third.index == 1
    assert report.mistakes(top=1) == [first]


@pytest.mark.parametrize(
    ("probabilities", "labels", "message"),
    [
        (PROBABILITIES[:5], LABELS, r"labels \(6,\), probabilities \(5, 3\)"),
        (np.zeros((0, 3)), LABELS[:0], "at least one"),
        (PROBABILITIES, LABELS + 1, "Labels must lie in 0 to 2. Received: 1 to 3"),
        (PROBABILITIES * 9 - 3, LABELS, "apply softmax to logits first"),
        (PROBABILITIES * np.nan, LABELS, "add up to 1"),
    ],
)
def test_report_refuses(probabilities, labels, message):
    with pytest.raises(ValueError, match=message):
        evaluation.report_from_probabilities(probabilities, labels, NAMES)


def test_majority_baseline_answers_the_most_frequent_training_class():
    baseline = evaluation.majority_baseline(TinyDataset(train=[2, 2, 0], val=[0, 0, 0, 2], test=[2]))
    assert baseline.accuracy == 0.25
    assert baseline.probabilities.tolist() == [[0, 0, 1]] * 4


def test_accuracy_interval():
    # 163 of 200, worked by hand: centre (p + z²/2n) / (1 + z²/n), half width z·sqrt(p(1−p)/n + z²/4n²) / (1 + z²/n).
    assert evaluation.accuracy_interval(163, 200) == pytest.approx((0.7554, 0.8627), abs=1e-4)
    low, high = evaluation.accuracy_interval(10, 10)
    assert high == pytest.approx(1.0)
    assert 0.7 < low < 0.75
    with pytest.raises(ValueError, match="Received: 3 of 2"):
        evaluation.accuracy_interval(3, 2)
    with pytest.raises(ValueError, match="Received: 0 of 0"):
        evaluation.accuracy_interval(0, 0)


@pytest.mark.parametrize("class_index", [0, 3])
def test_class_activation_map_adds_up_to_the_logit(class_index):
    model = head_model()
    images = np.random.default_rng(2).uniform(0, 255, (3, 16, 16, 3)).astype(np.float32)
    maps = evaluation.class_activation_map(model, images, class_index)
    assert maps.shape == (3, 8, 8)
    assert maps.dtype == np.float32
    dense = model.get_layer("head_probabilities")
    kernel, bias = dense.get_weights()

    def logits(pooled):
        return np.asarray(model.get_layer("head_bn")(pooled, training=False)) @ kernel + bias

    pooled = keras.Model(model.inputs, model.get_layer("head_pool").output).predict(images, verbose=0)
    constant = logits(np.zeros((1, 5), np.float32))[0, class_index]  # what is left where nothing is seen
    np.testing.assert_allclose(maps.mean(axis=(1, 2)) + constant, logits(pooled)[:, class_index], rtol=1e-4)


def test_class_activation_map_points_at_what_makes_the_class():
    model = head_model()
    image = np.zeros((1, 16, 16, 3), np.float32)
    image[0, 10:12, 4:6] = 255.0  # the only thing to see
    maps = evaluation.class_activation_map(model, image, 1)[0]
    row, column = np.unravel_index(np.abs(maps).argmax(), maps.shape)
    assert (row, column) in {(4, 1), (4, 2), (5, 1), (5, 2), (4, 3), (5, 3)}


def test_class_activation_map_refuses():
    images = np.zeros((1, 16, 16, 3), np.float32)
    with pytest.raises(ValueError, match=r"class_index: expected a number from 0 to 3\. Received: 4"):
        evaluation.class_activation_map(head_model(), images, 4)
    with pytest.raises(ValueError, match=r"models\.add_head.*\['head_pool', 'head_bn', 'head_probabilities'\]"):
        evaluation.class_activation_map(conv_norm_model(), images, 0)


def test_reestimated_statistics_are_those_of_the_images(images):
    model = conv_norm_model()
    trainable = [weight.numpy() for weight in model.trainable_weights]
    batches = tf.data.Dataset.from_tensor_slices((images, np.zeros(12))).batch(5)  # 5, 5 and 2: unequal on purpose
    training.reestimate_batch_norm(model, batches)
    first = model.get_layer("first_conv")(images)
    norm = model.get_layer("first_norm")
    np.testing.assert_allclose(norm.moving_mean.numpy(), np.mean(first, axis=(0, 1, 2)), rtol=1e-4)
    for before, after in zip(trainable, model.trainable_weights, strict=True):
        np.testing.assert_array_equal(before, after.numpy())
    assert norm.momentum == 0.9
    assert [layer.rate for layer in model.layers if isinstance(layer, layers.Dropout)] == [0.5]


def test_inference_agrees_with_the_batch_after_one_pass(images):
    model = conv_norm_model()
    distorted = model.predict(images, verbose=0)
    training.reestimate_batch_norm(model, [(images, None)])
    outputs = model.predict(images, verbose=0)
    np.testing.assert_allclose(outputs.mean(axis=(0, 1, 2)), 0, atol=1e-4)
    np.testing.assert_allclose(outputs.std(axis=(0, 1, 2)), 1, atol=0.01)
    assert np.abs(distorted.mean(axis=(0, 1, 2))).max() > 0.5


def test_a_failing_pass_leaves_the_model_as_it_was(images):
    model = conv_norm_model()

    def broken():
        yield images, None
        raise OSError("unreadable")

    with pytest.raises(OSError, match="unreadable"):
        training.reestimate_batch_norm(model, broken())
    norm = model.get_layer("first_norm")
    assert norm.momentum == 0.9
    assert norm.moving_mean.numpy().tolist() == [7.0] * 4
    assert [layer.rate for layer in model.layers if isinstance(layer, layers.Dropout)] == [0.5]


def test_reestimation_leaves_frozen_layers_and_refuses_a_model_without_others(images):
    model = conv_norm_model()
    model.get_layer("first_norm").trainable = False
    training.reestimate_batch_norm(model, [(images, None)])
    np.testing.assert_array_equal(model.get_layer("first_norm").moving_mean.numpy(), [7.0] * 4)
    assert not np.isclose(model.get_layer("second_norm").moving_mean.numpy(), 7.0).any()
    with pytest.raises(ValueError, match="trainable BatchNormalization"):
        training.reestimate_batch_norm(head_model(trainable_norm=False), [(images, None)])
    with pytest.raises(ValueError, match="at least one batch"):
        training.reestimate_batch_norm(model, [])


def test_taking_two_others_for_each_other_is_no_mistake_about_a_third():
    report = evaluation.report_from_probabilities(np.eye(3)[[0, 1, 2, 2]], [1, 0, 2, 0], ("global", "local", "nominal"))
    assert report.one_against_rest("nominal") == 0.75
    assert report.accuracy == 0.25


def test_a_hit_is_counted_where_the_strongest_region_lies_at_the_place():
    maps = np.zeros((3, 2, 4))
    maps[0, 0, 1] = maps[1, 1, 3] = 5.0
    at = [(16, 24), (16, 24), None]  # pixels; the second map points elsewhere, the third place is not known
    assert evaluation.pointing_game(maps, at, image_size=64, tolerance=1) == (0.5, 1 / 8)
    assert evaluation.pointing_game(1000 * maps - 7, at, image_size=64, tolerance=16) == (0.5, 3 / 8)


@pytest.mark.parametrize("places", [[None], [], [(1, 1), (1, 1)]])
def test_a_pointing_game_needs_known_places(places):
    with pytest.raises(ValueError, match="places: expected"):
        evaluation.pointing_game(np.zeros((1, 2, 2)), places, image_size=64, tolerance=1)


# comparisons


def test_runs_are_compared_with_what_they_have_in_common():
    rows = [("a", 0, "x", 0.8), ("a", 0, "y", 0.7), ("a", 1, "x", 0.9), ("a", 1, "y", 0.6), ("b", 0, "x", 1.0)]
    table = pd.DataFrame(rows, columns=["set", "seed", "candidate", "test"])
    found = evaluation.paired_differences(table, ["x", "never run"], "y").set_index("set")
    assert found["runs"].to_dict() == {"a": 2, "all": 2}  # what has no counterpart does not count
    assert found.loc["a", "points"] == pytest.approx(20)
    half = 12.7062 * np.std([10, 30], ddof=1) / np.sqrt(2)  # Student's t with one degree of freedom
    assert found.loc["a", ["low", "high"]].tolist() == pytest.approx([20 - half, 20 + half], abs=1e-3)


def test_a_single_run_has_no_interval():
    table = pd.DataFrame({"set": ["a", "a"], "candidate": ["base", "x"], "test": ["0.5", "0.75"]})
    (row,) = evaluation.paired_differences(table, ["x"]).query("set == 'all'").to_dict("records")
    assert row["points"] == pytest.approx(25)
    assert np.isnan(row["low"]) and np.isnan(row["high"])
