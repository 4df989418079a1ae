"""Grad-CAM and occlusion: they agree with what can be worked out, at any block, and after reloading."""

from effnet_helpers import evaluation, models, runtime
from effnet_helpers.models.lite import build_lite

import keras
import numpy as np
import pytest
from tiny import BLOCKS, TINY, tiny_backbone, tiny_classifier


@pytest.fixture(scope="module")
def model():
    """A classifier with random weights, whose head's normalization is not the identity."""
    model = tiny_classifier(3, image_size=64)
    rng = np.random.default_rng(0)
    norm = model.get_layer("head_bn")
    norm.set_weights([rng.uniform(0.5, 2.0, weight.shape) for weight in norm.get_weights()])
    return model


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(1).uniform(0, 255, (2, 64, 64, 3)).astype(np.float32)


def test_at_the_last_block_grad_cam_is_the_class_activation_map_above_zero(model, images):
    ours, theirs = (function(model, images, 1) for function in (evaluation.grad_cam, evaluation.class_activation_map))
    positions = ours.shape[1] * ours.shape[2]
    assert (theirs > 0).any()
    np.testing.assert_allclose(ours, np.maximum(theirs, 0) / positions, rtol=1e-3, atol=1e-6)


@pytest.fixture(scope="module")
def reloaded(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("maps") / "maps.keras"
    models.save(model, path, class_names=["a", "b", "c"], resize_mode="crop", variant="Lite0")
    return models.load(path)[0]


@pytest.mark.parametrize("block", ["stem", BLOCKS[4], "top"])
def test_grad_cam_of_any_block_is_the_same_after_reloading(model, reloaded, images, block):
    maps = evaluation.grad_cam(model, images, 0, block)
    layer = [layer for layer in model.layers if models.block_of(layer) == block][-1]
    assert maps.shape == (2, *layer.output.shape[1:3])
    assert maps.min() >= 0
    np.testing.assert_allclose(maps, evaluation.grad_cam(reloaded, images, 0, block), atol=1e-6)


def test_grad_cam_weighs_channels_by_how_much_the_score_rises(model, images):
    """Against differences: a channel is raised everywhere by a little, and the rest of the network runs again."""
    block, small = BLOCKS[6], 1e-2
    layer = [layer for layer in model.layers if models.block_of(layer) == block][-1]
    prefix, tail = models.split_after(model, layer.name)
    activations = prefix.predict(images[:1], verbose=0).astype(np.float64)

    def score(values):  # a logit, up to what all classes share
        return np.log(tail.predict(values, verbose=0).astype(np.float64))

    places, channels = activations.shape[1] * activations.shape[2], activations.shape[-1]
    raised = np.concatenate(
        [activations + sign * small * np.eye(channels)[i] for i in range(channels) for sign in (1, -1)]
    )
    kernel = model.layers[-1].kernel.numpy()
    # A logit alone cannot be read off probabilities, its advantage over another class's can.
    slopes = (score(raised)[::2] - score(raised)[1::2]) / (2 * small * places)
    body = keras.Model(layer.output, model.layers[-1].input)
    gradients = runtime.gradient(lambda x: body(x, training=False) @ (kernel[:, :1] - kernel[:, 1:2]), activations)
    np.testing.assert_allclose(
        gradients.mean(axis=(0, 1, 2)), slopes[:, 0] - slopes[:, 1], rtol=0.05, atol=0.02 * np.abs(slopes).max()
    )


def test_grad_cam_takes_networks_with_imagenets_head(images):
    network = build_lite(TINY, include_top=True, image_size=64, drop_connect_rate=0.2)
    for block, side in ((BLOCKS[3], 4), ("top", 2)):
        assert evaluation.grad_cam(network, images, 999, block).shape == (2, side, side)


def test_occlusion_finds_the_only_thing_that_counts():
    """A model that looks at one place: covering it is all that matters."""
    inputs = keras.Input((32, 32, 3))
    corner = keras.layers.Cropping2D(((8, 16), (20, 4)))(inputs)  # rows 8 to 16, columns 20 to 28
    x = keras.layers.GlobalAveragePooling2D()(corner)
    network = keras.Model(inputs, keras.layers.Dense(2, activation="softmax")(x))
    network.set_weights([np.array([[0.0, 0.02]] * 3), np.zeros(2)])
    image = np.zeros((1, 32, 32, 3), np.float32)
    image[0, 8:16, 20:28] = 255
    for index, sign in ((1, 1), (0, -1)):
        (evidence,) = sign * evaluation.occlusion_map(network, image, index, patch=8, stride=4, batch_size=16)
        assert evidence.shape == (7, 7)
        assert np.unravel_index(evidence.argmax(), evidence.shape) == (2, 5)
        assert evidence[4:].max() == pytest.approx(0, abs=1e-3)
        assert evidence.max() == pytest.approx(0.06 * 255 * 15 / 16, rel=1e-2)  # the patch has the mean colour


def test_what_maps_cannot_be_of_is_refused(model, images):
    with pytest.raises(ValueError, match=r"block: expected one of stem, block1a"):
        evaluation.grad_cam(model, images, 0, "block9z")
    with pytest.raises(ValueError, match=r"class_index: expected a number from 0 to 2"):
        evaluation.grad_cam(model, images, 3)
    with pytest.raises(ValueError, match="a dense layer with softmax"):
        evaluation.grad_cam(tiny_backbone(image_size=64), images, 0)
    with pytest.raises(ValueError, match=r"patch: expected 1 to 64 pixels"):
        evaluation.occlusion_map(model, images, 0, patch=65)
    with pytest.raises(ValueError, match=r"class_index: expected a number from 0 to 2"):
        evaluation.occlusion_map(model, images, -1)
