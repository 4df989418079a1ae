"""Features are computed once, under a key that changes when anything they depend on does."""

from effnet_helpers import data, models
from effnet_helpers.machine import stored_arrays as array_store
from effnet_helpers.machine.cache import cache_dir
from effnet_helpers.training import features

import numpy as np
import pytest

SETTINGS = {"image_size": 64, "resize_mode": "crop", "limit_per_class": 6}


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("EFFNET_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def textile():
    return data.load("textile", **SETTINGS)


@pytest.fixture(scope="module")
def backbone():
    return models.build_backbone("Lite0", image_size=64)


def files():
    return list((cache_dir() / "features").glob("*"))


def test_they_equal_the_networks_outputs_up_to_half_precision(backbone, textile):
    found = features.extract_features(backbone, textile, "train", batch_size=5)
    images = np.stack([textile.image("train", i) for i in range(textile.sizes["train"])]).astype("float32")
    np.testing.assert_allclose(found.values, backbone.predict(images, verbose=0), rtol=1e-3, atol=1e-3)
    np.testing.assert_array_equal(found.labels, textile.labels("train"))
    assert found.values.dtype == np.float16
    assert not found.reused


def test_the_second_time_they_are_found_whatever_the_batch_size(backbone, textile):
    first = features.extract_features(backbone, textile, "val", batch_size=2)
    second = features.extract_features(backbone, textile, "val", batch_size=3)
    assert (first.reused, second.reused) == (False, True)
    np.testing.assert_array_equal(first.values, second.values)
    rebuilt = models.build_backbone("Lite0", image_size=64)
    assert features.extract_features(rebuilt, data.load("textile", **SETTINGS), "val").reused


def test_another_seed_of_training_or_rate_of_stochastic_depth_changes_nothing(backbone, textile):
    features.extract_features(backbone, textile, "val")
    other = models.build_backbone("Lite0", image_size=64, drop_connect_rate=0.4)
    models.freeze_backbone(other)
    assert features.extract_features(other, textile, "val").reused


@pytest.mark.parametrize(
    "changed",
    [
        {"image_size": 32},
        {"resize_mode": "squash", "image_size": 65},
        {"split_seed": 1},
        {"limit_per_class": 7},
    ],
)
def test_other_images_are_computed_anew(textile, changed):
    before = textile.fingerprint("train")
    assert data.load("textile", **SETTINGS | changed).fingerprint("train") != before


def test_other_weights_are_computed_anew(textile):
    network = models.build_backbone("Lite0", weights=None, image_size=64)
    before = features.extract_features(network, textile, "val")
    kernel = network.get_layer("block7a_project_conv").kernel
    kernel.assign(kernel * 1.5)
    after = features.extract_features(network, textile, "val")
    assert not after.reused
    assert not np.array_equal(before.values, after.values)
    assert len(files()) == 2


def test_another_part_of_the_network_is_computed_anew(backbone, textile):
    features.extract_features(backbone, textile, "val")
    prefix, _ = models.split_at_block(backbone, "top")
    assert not features.extract_features(prefix, textile, "val").reused


def flip_a_bit(content):
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


@pytest.mark.parametrize(
    "damage", [lambda content: content[:100], lambda content: b"rubbish", lambda content: b"", flip_a_bit]
)
def test_a_damaged_file_is_computed_again_and_said(backbone, textile, damage):
    first = np.array(features.extract_features(backbone, textile, "val").values)
    (path,) = files()
    path.write_bytes(damage(path.read_bytes()))
    with pytest.warns(array_store.CacheWarning, match=rf"{path.name} in the cache is damaged"):
        again = features.extract_features(backbone, textile, "val")
    assert not again.reused
    np.testing.assert_array_equal(first, again.values)
    assert features.extract_features(backbone, textile, "val").reused


def test_a_full_disk_costs_the_cache_and_nothing_else(backbone, textile, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(array_store.os, "replace", full)
    with pytest.warns(array_store.CacheWarning, match="cannot be written.*No space left"):
        found = features.extract_features(backbone, textile, "val")
    assert found.values.shape == (textile.sizes["val"], 2, 2, 1280)
    assert files() == []


def test_a_writer_that_is_killed_leaves_nothing_that_looks_whole(backbone, textile, monkeypatch):
    def killed(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(features, "_activations", killed)
    with pytest.raises(KeyboardInterrupt):
        features.extract_features(backbone, textile, "val")
    assert files() == []
    monkeypatch.undo()
    assert not features.extract_features(backbone, textile, "val").reused


def test_views_are_augmented_each_in_its_own_way_and_kept_apart(backbone, textile):
    plain = features.extract_features(backbone, textile, "val")
    strengths = {"flip": "both", "translation": 0.2}
    views = [features.extract_features(backbone, textile, "val", view=view, augment=strengths) for view in (0, 1, 2)]
    assert [view.reused for view in views] == [True, False, False]
    np.testing.assert_array_equal(views[0].values, plain.values)
    assert not any(np.array_equal(a.values, b.values) for a, b in ((views[0], views[1]), (views[1], views[2])))
    assert features.extract_features(backbone, textile, "val", view=1, augment=dict(reversed(strengths.items()))).reused
    assert not features.extract_features(backbone, textile, "val", view=1, augment=strengths, seed=1).reused
    assert not features.extract_features(backbone, textile, "val", view=1, augment={"flip": "both"}).reused
    with pytest.raises(ValueError, match="Views other than 0"):
        features.extract_features(backbone, textile, "val", view=1)


def test_activations_too_large_for_half_precision_are_refused(textile):
    network = models.build_backbone("Lite0", weights=None, image_size=64)
    network, _ = models.split_after(network, "top_bn")
    network.get_layer("top_bn").beta.assign([1e6] * 1280)
    with pytest.raises(FloatingPointError, match="not finite numbers below 65,504"):
        features.extract_features(network, textile, "val")
