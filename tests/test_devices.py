"""Precision and batch size: the choice on made-up GPUs, and a network in mixed precision through the whole course."""

from effnet_helpers import data, evaluation, models, runtime, training
from effnet_helpers.models import lite
from effnet_helpers.runtime import Gpu
from effnet_helpers.training import devices
from effnet_helpers.training.features import network_fingerprint
from effnet_helpers.variants import Variant

import keras
import numpy as np
import pytest

GB = 2**30
L4, P100, RADEON = Gpu("NVIDIA L4", (8, 9)), Gpu("Tesla P100", (6, 0)), Gpu("Radeon", None)
TINY = Variant("Lite-tiny", 0.25, 0.25, 32, 0.2, 0, 0, 0)  # all seven stages, of one block each


def tiny_backbone():
    return lite.build_lite(TINY, include_top=False, image_size=32, drop_connect_rate=0.2)


@pytest.fixture
def restored_policy():
    before = keras.config.dtype_policy()
    yield
    keras.config.set_dtype_policy(before)


@pytest.fixture
def mixed_precision(restored_policy):
    keras.config.set_dtype_policy("mixed_float16")


def not_asked(precision, batch_size):
    raise AssertionError("nothing needs to be measured")


def took(peak, total):
    return lambda precision, batch_size: (int(peak * GB), int(total * GB))


@pytest.mark.parametrize(
    ("batch_size", "gpu", "precision", "chosen"),
    [
        (0, None, "float32", 32),
        (64, None, "float32", 64),
        (0, RADEON, "float32", 32),
        (64, P100, "float32", 64),
        (64, Gpu("Tesla V100", (7, 0)), "mixed_float16", 64),
        (12, L4, "mixed_float16", 12),
    ],
)
def test_precision_follows_the_device_and_a_batch_size_that_is_set_stays(batch_size, gpu, precision, chosen):
    settings = devices.choose(batch_size, gpu, not_asked)
    assert (settings.precision, settings.batch_size) == (precision, chosen)


@pytest.mark.parametrize(
    ("peak", "total", "chosen"),
    [
        (1, 10, 64),  # 8 * 0.8 * 10 = 64 fit
        (1, 9.99, 32),
        (1, 20, 128),
        (0.01, 80, 512),  # never more
        (9, 10, 8),  # never fewer: they were seen to fit
    ],
)
def test_the_largest_power_of_two_within_four_fifths_of_the_memory_is_chosen(peak, total, chosen):
    settings = devices.choose(0, L4, took(peak, total))
    assert settings.batch_size == chosen
    assert f"mixed_float16, and {chosen} images in a step, since 8 took {peak:.2f} of {total:.1f} GB" in settings.reason


def test_memory_is_measured_in_the_precision_that_will_be_used():
    asked = []
    for gpu in (L4, P100):
        devices.choose(0, gpu, lambda *question: asked.append(question) or (GB, 10 * GB))
    assert asked == [("mixed_float16", 8), ("float32", 8)]


def test_a_gpu_that_is_too_small_for_eight_images_says_what_would_work():
    def used_up(precision, batch_size):
        raise MemoryError

    with pytest.raises(ValueError, match=r"NVIDIA L4 has no memory .* smaller variant .* Received: 0"):
        devices.choose(0, L4, used_up)


@pytest.mark.parametrize("batch_size", [-1, 1.5, True, "32", None])
def test_a_batch_size_that_is_no_number_is_refused(batch_size):
    with pytest.raises(ValueError, match=r"^batch_size: expected a whole number from 1 up, or 0 to choose"):
        devices.use_device(batch_size, "Lite0", 64)


def test_the_chosen_precision_is_set_and_said(monkeypatch, capsys, restored_policy):
    monkeypatch.setattr(runtime, "first_gpu", lambda: L4)
    assert devices.use_device(16, "Lite0", 64) == 16
    assert keras.config.dtype_policy().name == "mixed_float16"
    assert capsys.readouterr().out == (
        "Device: NVIDIA L4 of compute capability 8.9, which gains from float16; "
        "so mixed_float16, and 16 images in a step, as set.\n"
    )


def test_a_processor_keeps_the_precision_that_it_has(monkeypatch, capsys, restored_policy):
    monkeypatch.setattr(runtime, "first_gpu", lambda: None)
    assert devices.use_device(0, "Lite0", 64) == 32
    assert keras.config.dtype_policy().name == "float32"
    assert capsys.readouterr().out == (
        "Device: a processor without GPU; so float32, and 32 images in a step, the usual size.\n"
    )


def test_what_is_measured_is_a_training_step_of_the_whole_network(monkeypatch, restored_policy):
    """Where there is no GPU, only the numbers are missing."""
    steps = []

    def peak_gpu_memory(work):
        steps.append(work())
        return GB, 10 * GB

    monkeypatch.setattr(runtime, "first_gpu", lambda: P100)
    monkeypatch.setattr(runtime, "peak_gpu_memory", peak_gpu_memory)
    inputs = keras.Input((32, 32, 3))
    backbone = keras.Model(inputs, keras.layers.Conv2D(4, 3)(inputs))
    monkeypatch.setattr(models, "build_backbone", lambda *arguments, **options: backbone)
    assert devices.use_device(0, "Lite0", 32) == 64
    (loss,) = steps
    assert 0 < loss < np.inf


def test_a_network_in_mixed_precision_is_trained_evaluated_saved_and_loaded(mixed_precision, tmp_path):
    textile = data.load("textile", image_size=32, resize_mode="crop", limit_per_class=8)
    model = models.add_head(tiny_backbone(), 3)
    assert model.get_layer("stem_conv").compute_dtype == "float16"
    assert model.get_layer("stem_conv").kernel.dtype == "float32"
    assert model.output.dtype == "float32"

    fit = training.fit_head(model, textile, epochs=2, batch_size=8)
    assert np.isfinite([*fit.history["loss"], *fit.history["val_loss"]]).all()
    before = {layer.name: layer.get_weights() for layer in model.layers}
    models.unfreeze_blocks(model, last=1)
    fit = training.fine_tune(model, textile, epochs=1, batch_size=8, learning_rate=1e-3)
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
    np.testing.assert_allclose(loaded.predict(images, verbose=0), model.predict(images, verbose=0), atol=0.01)
    assert [layer.trainable for layer in loaded.layers] == [layer.trainable for layer in model.layers]


def test_features_in_mixed_precision_have_a_place_of_their_own_in_the_cache(mixed_precision):
    network = tiny_backbone()
    keras.config.set_dtype_policy("float32")
    same = tiny_backbone()
    same.set_weights(network.get_weights())
    assert network_fingerprint(same) != network_fingerprint(network)
