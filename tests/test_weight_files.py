"""Files of other formats and recipes: each gives the answers that another implementation stated, or is refused.

`reference/timm.json` and `reference/authors.json` say which keys a file has, and what timm and the authors' own code
answer with weights by the rule in `reference/rule.py`.
"""

import importlib.util
import json
import socket
import time
from pathlib import Path

from effnet_helpers import data, models, training
from effnet_helpers.models import WeightsError, weights
from effnet_helpers.models.weight_files import checkpoint_prefix
from effnet_helpers.training.features import network_fingerprint
from effnet_helpers.variants import WEIGHTS, get_variant

import keras
import numpy as np
import pytest
import safetensors.numpy
import tensorflow as tf
from huggingface_hub import constants

REFERENCE = Path(__file__).parent / "reference"
STATED = {name: json.loads((REFERENCE / f"{name}.json").read_text(encoding="ascii")) for name in ("timm", "authors")}
specification = importlib.util.spec_from_file_location("rule", REFERENCE / "rule.py")
rule = importlib.util.module_from_spec(specification)
specification.loader.exec_module(rule)


def arrays_of(source, variant):
    """Fills the keys of a file by the rule."""
    shapes = {key: [int(n) for n in text.split("x") if n] for key, text in STATED[source]["keys"][variant].items()}
    return {key: rule.weight(key, shape) if shape else np.array(0) for key, shape in shapes.items()}


def write_safetensors(path, arrays):
    path.parent.mkdir(parents=True, exist_ok=True)
    safetensors.numpy.save_file(arrays, path)
    return path


def write_checkpoint(folder, arrays):
    """Writes what TensorFlow 1's `Saver` writes: variables under their names."""
    folder.mkdir()
    (folder / "checkpoint").write_text('model_checkpoint_path: "/elsewhere/model.ckpt"')
    names, values = list(arrays), [tf.constant(array) for array in arrays.values()]
    tf.raw_ops.SaveV2(
        prefix=str(folder / "model.ckpt"), tensor_names=names, shape_and_slices=[""] * len(names), tensors=values
    )
    return folder


@pytest.fixture(scope="module")
def b0_arrays():
    return arrays_of("timm", "B0")


@pytest.fixture(scope="module")
def b0_file(tmp_path_factory, b0_arrays):
    return write_safetensors(tmp_path_factory.mktemp("timm") / "model.safetensors", b0_arrays)


@pytest.fixture(scope="module")
def backbones(b0_file):
    """One file, in the networks of three recipes."""
    return {recipe: models.build_backbone("B0", f"{recipe}:{b0_file}", 64) for recipe in ("imagenet", "advprop", "ra4")}


CASES = [
    pytest.param(source, case, id=f"{case['model']}-{case['recipe']}", marks=[pytest.mark.release] * is_larger)
    for source in STATED
    for case in STATED[source]["cases"]
    for is_larger in [case["model"] in ("efficientnet_b3", "tf_efficientnet_b3", "efficientnet-b2")]
]


@pytest.mark.parametrize(("source", "case"), CASES)
def test_a_file_gives_the_answers_that_another_implementation_states(tmp_path, source, case):
    write = {"timm": write_safetensors, "authors": write_checkpoint}[source]
    path = write(tmp_path / {"timm": "b.safetensors", "authors": "b"}[source], arrays_of(source, case["variant"]))
    model = models.build_imagenet_classifier(case["variant"], f"{case['recipe']}:{path}")
    both = keras.Model(model.input, [model.get_layer("top_activation").output, model.output])
    found = rule.answers(*both(rule.pixels(case["size"])))
    assert found["shape"] == case["shape"]
    for part in ("features", "log_probabilities"):
        np.testing.assert_allclose(found[part], case[part], atol=1e-4)


def test_padding_and_recipes_make_a_difference_that_these_tests_would_see():
    tensorflow, pytorch = STATED["timm"]["cases"][:2]
    assert np.abs(np.subtract(tensorflow["features"], pytorch["features"])).max() > 0.01


def test_moving_averages_count_where_a_checkpoint_has_them(tmp_path):
    averages = arrays_of("authors", "B0")
    plain = {name: array + 1 for name, array in averages.items()}
    slots = {f"{name}/RMSProp": array for name, array in averages.items() if name.endswith("kernel")}
    smooth = {f"{name}/ExponentialMovingAverage": array for name, array in averages.items()}
    both = write_checkpoint(tmp_path / "both", plain | smooth | slots | {"global_step": np.array(1)})
    found = weights.read_weight_file(both).arrays
    assert len(found) == len(averages)
    np.testing.assert_array_equal(found["stem/conv2d/kernel"], averages["efficientnet-b0/stem/conv2d/kernel"])
    for path in (both / "model.ckpt", both / "model.ckpt.index"):
        assert weights.read_weight_file(path).arrays.keys() == found.keys()


def test_of_several_checkpoints_in_a_folder_the_one_of_the_last_step_is_taken(tmp_path):
    for step in (9, 10, 100, 20):
        (tmp_path / f"model.ckpt-{step}.index").touch()
    assert checkpoint_prefix(tmp_path) == tmp_path / "model.ckpt-100"
    assert checkpoint_prefix(tmp_path / "model.ckpt-9") == tmp_path / "model.ckpt-9"
    assert checkpoint_prefix(tmp_path / "model.ckpt-8") is None


def test_with_and_without_top_are_one_network(b0_file, b0_arrays, tmp_path, backbones):
    classifier = models.build_imagenet_classifier("B0", f"imagenet:{b0_file}")
    backbone = backbones["imagenet"]
    for layer in backbone.layers[3:]:  # the first are numbered
        for ours, theirs in zip(layer.get_weights(), classifier.get_layer(layer.name).get_weights(), strict=True):
            np.testing.assert_array_equal(ours, theirs)
    headless = {key: array for key, array in b0_arrays.items() if not key.startswith("classifier")}
    path = write_safetensors(tmp_path / "headless.safetensors", headless)
    headless = weights.read_weight_file(path)
    weights.load_weights(backbone, headless, "B0")
    with pytest.raises(
        WeightsError, match=r"headless\.safetensors .* no key 'classifier\.weight', expected .*1000, 1280"
    ):
        weights.load_weights(classifier, headless, "B0")


def test_what_changes_between_recipes_is_scaling_padding_and_epsilon(backbones):
    plain, advprop, ra4 = backbones.values()
    assert [layer.name for layer in plain.layers[3:]] == [layer.name for layer in ra4.layers[3:]]
    pixels = np.array([0.0, 127.5, 255.0]).repeat(3).reshape(1, 1, 3, 3).astype("float32") * np.ones((1, 1, 3, 1))
    for model in (advprop, ra4):
        scaled = model.layers[2](model.layers[1](pixels))
        np.testing.assert_allclose(scaled[0, 0, :, 0], [-1, 0, 1], atol=1e-6)
    assert [m.get_layer("stem_conv_pad").padding for m in (plain, ra4)] == [((0, 1), (0, 1)), ((1, 1), (1, 1))]
    assert [m.get_layer("top_bn").epsilon for m in (plain, ra4)] == [1e-3, 1e-5]
    assert plain.output_shape == ra4.output_shape


def test_cached_features_never_mix(backbones):
    assert len({network_fingerprint(model) for model in backbones.values()}) == 3


@pytest.mark.release
def test_features_head_and_fine_tuning_work_from_another_recipe(b0_file, backbones, tmp_path, monkeypatch):
    monkeypatch.setenv("EFFNET_CACHE", str(tmp_path / "cache"))
    dataset = data.load("textile", image_size=64, limit_per_class=8)
    model = models.add_head(backbones["ra4"], dataset.num_classes)
    models.freeze_backbone(model)
    training.fit_head(model, dataset, epochs=1, batch_size=8)
    models.unfreeze_blocks(model, from_block="top")
    training.fine_tune(model, dataset, steps=2, batch_size=8)
    card = models.save(
        model, tmp_path / "m.keras", class_names=dataset.class_names, resize_mode=dataset.resize_mode, variant="B0",
        weights=f"ra4:{b0_file}",
    )  # fmt: skip
    assert card.weights == "ra4:model.safetensors"
    loaded, _ = models.load(tmp_path / "m.keras")
    pixels = rule.pixels(64)
    np.testing.assert_allclose(loaded(pixels), model(pixels), atol=1e-6)


# what is refused


def test_another_variant_and_a_missing_key_are_refused_and_nothing_is_changed(b0_file, b0_arrays, tmp_path, backbones):
    def refuse(arrays, message):
        with pytest.raises(WeightsError, match=rf"x\.safetensors does not fit EfficientNet-B0: {message}"):
            file = weights.read_weight_file(write_safetensors(tmp_path / "x.safetensors", arrays))
            weights.load_weights(backbones["advprop"], file, "B0")

    before = network_fingerprint(backbones["advprop"])
    refuse(arrays_of("timm", "B3"), r"key 'conv_stem\.weight' should have shape \(32, .*Received: \(40, 3, 3, 3\)")
    b1 = b0_arrays | {"blocks.0.1.conv_dw.weight": np.zeros(3)}  # what B0 and B1 share has the same shapes
    refuse(b1, r"it holds more than the network, .*'blocks\.0\.1\.conv_dw\.weight', shape \(3,\)")
    without = {key: array for key, array in b0_arrays.items() if key != "blocks.6.0.bn3.running_var"}
    refuse(without, r"it has no key 'blocks\.6\.0\.bn3\.running_var', expected with shape \(320,\)")
    assert network_fingerprint(backbones["advprop"]) == before


@pytest.mark.parametrize(
    ("stated", "architecture", "scale", "message"),
    [
        ("", None, 0.5, r"does not say of which recipe .*'advprop:model\.safetensors'"),
        ("advprop:", "tf_efficientnet_b0", 0.2, r"not of the recipe 'advprop'.* as TensorFlow does.*mean \[0\.2"),
        ("ra4:", "tf_efficientnet_b0", 0.5, r"not of the recipe 'ra4'.* as PyTorch does.*, tf_efficientnet_b0"),
        ("", "efficientnet_b0", 0.2, r"of no recipe known here.*mean \[0\.2.*, efficientnet_b0"),
    ],
)
def test_another_recipe_is_refused_by_what_lies_beside_the_file(
    b0_file, tmp_path, stated, architecture, scale, message
):
    path = tmp_path / "model.safetensors"
    path.symlink_to(b0_file)
    if architecture:
        config = {"architecture": architecture, "pretrained_cfg": {"mean": [scale] * 3, "std": [0.5] * 3}}
        (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(WeightsError, match=message):
        models.build_backbone("B0", f"{stated}{path}", 64)


def test_a_file_that_says_its_recipe_needs_no_name(b0_file, tmp_path):
    (tmp_path / "model.safetensors").symlink_to(b0_file)
    for architecture, scale, recipe in (("efficientnet_b0", 0.5, "ra4"), ("tf_efficientnet_b0", 0.5, "advprop")):
        config = {"architecture": architecture, "pretrained_cfg": {"mean": [scale] * 3, "std": [scale] * 3}}
        (tmp_path / "config.json").write_text(json.dumps(config))
        file = weights.read_weight_file(tmp_path / "model.safetensors")
        assert weights._record_of(file, None) is weights._record_of(file, WEIGHTS[recipe]) is WEIGHTS[recipe]
    (tmp_path / "config.json").write_text('{"model_type": "of something else"}')
    file = weights.read_weight_file(tmp_path / "model.safetensors")
    assert file.scaling is None and file.network is None


@pytest.mark.parametrize(("name", "format"), [("a.safetensors", "safetensors"), ("a.h5", "Keras"), ("a.pth", "")])
def test_a_damaged_file_is_named(tmp_path, name, format):
    (tmp_path / name).write_bytes(b"\x80\x02no weights")
    with pytest.raises(WeightsError, match=rf"{name} .*{format}"):
        models.build_backbone("B0", f"advprop:{tmp_path / name}", 64)


def test_a_damaged_checkpoint_is_named(tmp_path):
    folder = write_checkpoint(tmp_path / "b", {"efficientnet-b0/stem/conv2d/kernel": np.zeros(9, "float32")})
    (folder / "model.ckpt.data-00000-of-00001").write_bytes(b"")
    with pytest.raises(WeightsError, match=r"b cannot be read .* TensorFlow checkpoint"):
        models.build_backbone("B0", f"advprop:{folder}", 64)


# by name


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A cache of its own, empty."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


@pytest.mark.parametrize("name", ["advprop", "noisy-student", "ra4"])
def test_without_network_one_sentence_says_what_to_do_within_seconds(hub, monkeypatch, name):
    def fail(*_, **__):
        raise socket.gaierror("no network")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    start = time.monotonic()
    with pytest.raises(WeightsError) as caught:
        models.build_backbone("B0", name)
    assert time.monotonic() - start < 5
    message = str(caught.value)
    for part in ("B0", "no network", WEIGHTS[name].repositories["B0"], f"weights='{name}:<its path>'"):
        assert part in message
    assert message.count(". ") == 0


def test_a_name_takes_the_file_of_its_repository_from_the_cache(hub, monkeypatch):
    cached = hub / "models--timm--tf_efficientnet_b0.ap_in1k"
    file = cached / "snapshots" / ("0" * 40) / "model.safetensors"
    for path, content in ((cached / "refs" / "main", "0" * 40), (file, "weights")):
        path.parent.mkdir(parents=True)
        path.write_text(content)
    monkeypatch.setattr(weights.machine, "why_unreachable", lambda url: "no network is needed")
    assert weights._file_from_hub(WEIGHTS["advprop"], get_variant("B0")) == file


def test_names_that_a_variant_does_not_have_are_refused():
    with pytest.raises(WeightsError, match=r"'ra4' weights of B0, B1\. Received: variant 'B3'"):
        models.build_backbone("B3", "ra4", 64)
    with pytest.raises(WeightsError, match=r"'advprop' weights of B0, .*B7\. Received: variant 'Lite0'"):
        weights.load_lite(None, get_variant("Lite0"), "advprop")


def test_every_record_is_whole():
    for name, record in WEIGHTS.items():
        assert name == record.name
        assert record.source
        assert not record.repositories or record.repositories.keys() == record.published_top1.keys()
        assert all(get_variant(variant) and 70 < top1 < 90 for variant, top1 in record.published_top1.items())
