"""Features are computed once, under a key that changes when anything they depend on does."""

from effnet_helpers import data, machine, models, training
from effnet_helpers.training import features

import numpy as np
import pytest
from tiny import tiny_backbone

SETTINGS = {"image_size": 32, "resize_mode": "crop", "limit_per_class": 6}
STRENGTHS = {"flip": "both", "translation": 0.2}


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("EFFNET_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def textile():
    return data.load("textile", **SETTINGS)


@pytest.fixture(scope="module")
def backbone():
    return tiny_backbone()


def extract(network, dataset, split="val", batch_size=3, **options):
    return training.extract_features(network, dataset, [split], batch_size, **options)[split]


def files():
    return list((machine.cache_dir() / "features").glob("*"))


def test_they_equal_the_outputs_up_to_half_precision(backbone, textile):
    found = extract(backbone, textile, "train", batch_size=5)  # the last batch has fewer
    images = np.stack([textile.image("train", i) for i in range(textile.sizes["train"])]).astype("float32")
    np.testing.assert_allclose(found.values, backbone.predict(images, verbose=0), rtol=1e-3, atol=1e-3)
    np.testing.assert_array_equal(found.labels, textile.labels("train"))
    assert found.values.dtype == np.float16
    assert not found.reused


def test_they_are_found_again_whatever_the_batch_size(backbone, textile):
    first, second = extract(backbone, textile, batch_size=2), extract(backbone, textile, batch_size=3)
    assert (first.reused, second.reused) == (False, True)
    np.testing.assert_array_equal(first.values, second.values)
    assert extract(tiny_backbone(), data.load("textile", **SETTINGS)).reused


def test_a_network_is_hashed_once_for_all_splits_and_views(backbone, textile, monkeypatch):
    hashed = []
    real = features.network_fingerprint
    monkeypatch.setattr(features, "network_fingerprint", lambda network: hashed.append(network) or real(network))
    found = training.extract_features(backbone, textile, ("train", "val", "test"), views=2, augment=STRENGTHS)
    assert hashed == [backbone]
    assert len(files()) == 4  # two views of train
    assert found["train"].values.shape[0] == 2 * textile.sizes["train"]


def test_freezing_and_stochastic_depth_change_nothing(backbone, textile):
    extract(backbone, textile)
    other = tiny_backbone(drop_connect_rate=0.4)
    models.freeze_backbone(other)
    assert extract(other, textile).reused


@pytest.mark.parametrize(
    "changed",
    [{"image_size": 33}, {"resize_mode": "squash", "image_size": 65}, {"split_seed": 1}, {"limit_per_class": 7}],
)
def test_other_images_have_another_key(textile, changed):
    assert data.load("textile", **SETTINGS | changed).fingerprint("train") != textile.fingerprint("train")


def test_other_weights_are_computed_anew(textile):
    network = tiny_backbone()
    before = extract(network, textile)
    kernel = network.get_layer("block7a_project_conv").kernel
    kernel.assign(kernel * 1.5)
    after = extract(network, textile)
    assert not after.reused
    assert not np.array_equal(before.values, after.values)


def test_another_part_of_the_network_is_computed_anew(backbone, textile):
    extract(backbone, textile)
    prefix, _ = models.split_at_block(backbone, "top")
    assert not extract(prefix, textile).reused


def test_a_damaged_file_is_said_and_computed_again(backbone, textile):
    first = np.array(extract(backbone, textile).values)
    (path,) = files()
    path.write_bytes(path.read_bytes()[:100])
    with pytest.warns(machine.CacheWarning, match=rf"{path.name} in the cache is damaged"):
        again = extract(backbone, textile)
    assert not again.reused
    np.testing.assert_array_equal(first, again.values)
    assert extract(backbone, textile).reused


def test_without_a_cache_they_are_computed_all_the_same(backbone, textile, monkeypatch):
    monkeypatch.setattr(machine, "write_array", lambda *_: None)
    assert extract(backbone, textile).values.shape == (textile.sizes["val"], 1, 1, 1280)


def test_views_differ_and_are_kept_apart(backbone, textile):
    plain = extract(backbone, textile, "train")
    assert not extract(backbone, textile, "train", views=3, augment=STRENGTHS).reused
    found = extract(backbone, textile, "train", views=3, augment=dict(reversed(STRENGTHS.items())))
    assert found.reused
    views = np.split(np.asarray(found.values), 3)
    np.testing.assert_array_equal(views[0], plain.values)
    assert not any(np.array_equal(first, second) for first, second in ((views[0], views[1]), (views[1], views[2])))
    rows = np.array([0, textile.sizes["train"], 1])
    np.testing.assert_array_equal(found.values[rows], np.asarray(found.values)[rows])
    assert not extract(backbone, textile, "train", views=2, augment=STRENGTHS, seed=1).reused
    assert not extract(backbone, textile, "train", views=2, augment={"flip": "both"}).reused


@pytest.mark.parametrize(("wrong", "message"), [({"views": 0}, "whole number"), ({"views": 2}, "need `augment`")])
def test_impossible_views_are_refused(backbone, textile, wrong, message):
    with pytest.raises(ValueError, match=message):
        extract(backbone, textile, "train", **wrong)


def test_batches_come_in_the_order_of_images(backbone, textile):
    found = extract(backbone, textile, "train")
    of_features = [labels for _, labels in found.batches(5, shuffle=True, seed=5)]
    of_images = [labels for _, labels in textile.batches("train", 5, shuffle=True, seed=5)]
    for first, second in zip(of_features, of_images, strict=True):
        np.testing.assert_array_equal(first, second)


def test_activations_too_large_for_half_precision_are_refused(textile):
    network, _ = models.split_after(tiny_backbone(), "top_bn")
    network.get_layer("top_bn").beta.assign([1e6] * 1280)
    with pytest.raises(FloatingPointError, match="not finite numbers below 65,504"):
        extract(network, textile)
