"""Precision and batch size: the choice on made-up GPUs, and a network in mixed precision through the whole course."""

from effnet_helpers import data, evaluation, models, runtime, training
from effnet_helpers.runtime import Gpu
from effnet_helpers.training.features import network_fingerprint

import keras
import numpy as np
import pytest
import tiny


@pytest.fixture
def restored_policy():
    before = keras.config.dtype_policy()
    yield
    keras.config.set_dtype_policy(before)


@pytest.fixture
def mixed_precision(restored_policy):
    keras.config.set_dtype_policy("mixed_float16")


@pytest.mark.parametrize(
    ("gpu", "batch_size", "policy", "chosen", "said"),
    [
        (None, 0, "float32", 32, "a processor without GPU; float32, 32 images in a step"),
        (None, 16, "float32", 16, "a processor without GPU; float32, 16 images in a step"),
        (Gpu("Radeon", None), 0, "float32", 64, "Radeon; float32, 64 images in a step"),
        (Gpu("P100", (6, 0)), 0, "float32", 64, "P100; float32, 64 images in a step"),
        (Gpu("V100", [7, 0]), 12, "mixed_float16", 12, "V100; mixed_float16, from which it gains, 12 images in a step"),
        (Gpu("L4", (8, 9)), 0, "mixed_float16", 64, "L4; mixed_float16, from which it gains, 64 images in a step"),
    ],
)
def test_precision_and_batch_size_follow_the_device(
    monkeypatch, capsys, restored_policy, gpu, batch_size, policy, chosen, said
):
    monkeypatch.setattr(runtime, "first_gpu", lambda: gpu)
    assert training.use_device(batch_size) == chosen
    assert keras.config.dtype_policy().name == policy
    assert capsys.readouterr().out == f"Device: {said}.\n"


@pytest.mark.parametrize("batch_size", [-1, 1.5, True, "32", None])
def test_a_batch_size_that_is_no_number_is_refused(batch_size):
    with pytest.raises(ValueError, match=r"^batch_size: expected a whole number from 1 up, or 0 to choose"):
        training.use_device(batch_size)


def test_a_network_in_mixed_precision_is_trained_evaluated_saved_and_loaded(mixed_precision, tmp_path):
    textile = data.load("textile", image_size=32, resize_mode="crop", limit_per_class=8)
    model = tiny.tiny_classifier()
    assert model.get_layer("stem_conv").compute_dtype == "float16"
    assert model.get_layer("stem_conv").kernel.dtype == "float32"
    assert model.output.dtype == "float32"

    fit = training.fit_head(model, textile, epochs=2, batch_size=8)
    assert np.isfinite([*fit.history["loss"], *fit.history["val_loss"]]).all()
    before = {layer.name: layer.get_weights() for layer in model.layers}
    models.unfreeze_blocks(model, last=1)
    fit = training.fine_tune(model, textile, steps=5, batch_size=8, learning_rate=1e-3)
    assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    assert np.isfinite(fit.history["loss"]).all()
    changed = {
        layer.name
        for layer in model.layers
        if any(not np.array_equal(a, b) for a, b in zip(before[layer.name], layer.get_weights(), strict=True))
    }
    assert changed == {"top_conv", "head_bn", "head_probabilities"}
    assert evaluation.evaluate(model, textile, "val").accuracy == pytest.approx(fit.history["val_accuracy"][0])

    models.save(model, tmp_path / "m.keras", class_names=textile.class_names, resize_mode="crop", variant="Lite0")
    keras.config.set_dtype_policy("float32")  # as on the computer where it is loaded
    loaded, _ = models.load(tmp_path / "m.keras")
    images = next(iter(textile.batches("val", 4)))[0]
    assert {layer.compute_dtype for layer in loaded.layers} == {"float32"}
    np.testing.assert_allclose(loaded(images), model(images), atol=0.01)
    assert [layer.trainable for layer in loaded.layers] == [layer.trainable for layer in model.layers]


def test_features_in_mixed_precision_have_a_place_of_their_own_in_the_cache(mixed_precision):
    network = tiny.tiny_backbone()
    keras.config.set_dtype_policy("float32")
    same = tiny.tiny_backbone()
    same.set_weights(network.get_weights())
    assert network_fingerprint(same) != network_fingerprint(network)
