"""Export: every format decides as Keras does and says what it takes, and what does not agree is not kept."""

import ast
import inspect
import json
import tomllib

from effnet_helpers import export, models, training
from effnet_helpers.course import ROOT
from effnet_helpers.data.photos import sample_photos
from effnet_helpers.export import convert as converters
from effnet_helpers.export import runners
from effnet_helpers.models.files import ModelCard
from effnet_helpers.preprocessing import load_image

import keras
import numpy as np
import onnx
import pytest
from ai_edge_litert.interpreter import Interpreter
from packaging.requirements import Requirement

SIZE = 64


@pytest.fixture(scope="module")
def crops():
    """Crops of three photographs, for learning and for testing."""
    random = np.random.default_rng(0)
    photos = [load_image(path, 256) for path in list(sample_photos().values())[:3]]
    corners = random.integers(0, 256 - SIZE, (3, 32, 2))
    images = [
        photo[y : y + SIZE, x : x + SIZE] for photo, places in zip(photos, corners, strict=True) for x, y in places
    ]
    images = np.stack(images).reshape(3, 32, SIZE, SIZE, 3)
    return {"train": np.concatenate(images[:, :16]), "test": np.concatenate(images[:, 16:])}


def first_blocks():
    prefix, _ = models.split_at_block(models.build_backbone("Lite0", image_size=SIZE), "block3a")
    return models.add_head(prefix, 3, dropout=0.0)


@pytest.fixture(scope="module")
def model(crops):
    """The first blocks of Lite0, and a head that has learned to tell the photographs apart."""
    model = first_blocks()
    models.freeze_backbone(model)
    training.compile_for_labels(model, keras.optimizers.Adam(0.03))
    model.fit(crops["train"], np.repeat(range(3), 16), epochs=25, verbose=0)
    return model


CARD = ModelCard(("cat", "coffee", "rocket"), SIZE, "crop", "Lite0", "imagenet")


@pytest.fixture
def exported(tmp_path, model, crops):
    """Gives a function that exports this classifier, by default to LiteRT in float32."""

    def run(format="litert", precision="float32", *, model=model, **changed):
        path = tmp_path / f"photos{export.FORMATS[format].suffix}"
        arguments = {"card": CARD, "images": crops["test"], "representative": crops["train"], **changed}
        return export.export(model, path, format=format, precision=precision, **arguments)

    return run


# agreement


@pytest.mark.parametrize("format", export.FORMATS)
def test_every_format_answers_as_keras_does(exported, model, crops, format):
    done = exported(format)
    expected, received = model.predict(crops["test"], verbose=0), export.runner(done.path)(crops["test"])
    assert received.dtype == np.float32
    np.testing.assert_allclose(received, expected, atol=1e-4)
    assert done.parity == export.compare(expected, received)
    assert done.parity.images == len(crops["test"])
    assert done.parity.agreement == 1.0
    assert len(set(expected.argmax(axis=1))) > 1, "a classifier that always says the same proves nothing"


def test_float16_halves_what_weights_take(exported, model):
    details = Interpreter(model_path=str(exported("litert", "float16").path)).get_tensor_details()
    halved = sum(each["dtype"] == np.float16 and each["shape"].size > 1 for each in details)
    assert halved == sum(hasattr(layer, "kernel") for layer in model.layers)
    kinds = {weight.data_type for weight in onnx.load(exported("onnx", "float16").path).graph.initializer}
    assert onnx.TensorProto.FLOAT16 in kinds
    assert onnx.TensorProto.FLOAT not in kinds


def test_what_lies_beside_a_file_says_how_to_use_it(exported, tmp_path):
    for format in export.FORMATS:
        done = exported(format)
        contract = json.loads(done.path.with_name(f"{done.path.name}.json").read_text())
        assert contract["class_names"] == list(CARD.class_names)
        assert (contract["image_size"], contract["resize_mode"], contract["pixel_range"]) == (SIZE, "crop", [0, 255])
        assert (contract["format"], contract["precision"]) == (format, "float32")
        batch = 1 if format == "litert" else None
        assert contract["input"] == {"name": "pixels", "dtype": "float32", "shape": [batch, SIZE, SIZE, 3]}
        assert contract["output"] == {"name": "probabilities", "dtype": "float32", "shape": [batch, 3]}
        assert contract["parity"]["agreement"] == done.parity.agreement
        assert contract["parity"]["bound"] == {"difference": 1e-4, "agreement": 0.99}
        assert contract["versions"]["keras"] == keras.__version__
    assert not list(tmp_path.glob(".*")), "nothing temporary is left"


def test_int8_computes_in_integers_and_keeps_every_step_of_a_pixel(exported):
    interpreter = Interpreter(model_path=str(exported("litert", "int8").path))
    images = [each for each in interpreter.get_tensor_details() if tuple(each["shape"]) == (1, SIZE, SIZE, 3)]
    scales = [each["quantization"][0] for each in images if each["dtype"] == np.int8]
    assert len(scales) >= 2
    np.testing.assert_allclose(scales, 1.0, atol=1e-3)
    kinds = [node.op_type for node in onnx.load(exported("onnx", "int8").path).graph.node]
    assert kinds.count("QuantizeLinear") > kinds.count("Conv") > 0
    assert "BatchNormalization" not in kinds


@pytest.mark.slow
def test_b0_comes_out_as_onnx_with_one_input_in_spite_of_its_normalization(exported):
    """Keras' own export makes inputs of the constants of `Normalization`."""
    model = models.add_head(models.build_backbone("B0", weights=None, image_size=32), 3)
    (normalization,) = [layer for layer in model.layers if isinstance(layer, keras.layers.Normalization)]
    normalization.adapt_mean.assign([0.485, 0.456, 0.406])
    normalization.adapt_variance.assign(np.square([0.229, 0.224, 0.225]))
    normalization.finalize_state()
    model.get_layer("head_probabilities").kernel.assign_add(np.random.default_rng(0).normal(size=(1280, 3)))
    images = np.random.default_rng(1).uniform(0, 255, (8, 32, 32, 3)).astype("float32")
    b0 = ModelCard(("a", "b", "c"), 32, "crop", "B0", "none")
    done = exported("onnx", model=model, card=b0, images=images, representative=None)
    assert [each.name for each in onnx.load(done.path).graph.input] == ["pixels"]
    assert done.parity.largest_difference < 1e-5


def test_a_model_trained_in_mixed_precision_is_served_in_float32(model):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        mixed = first_blocks()
    finally:
        keras.config.set_dtype_policy(before)
    mixed.set_weights(model.get_weights())
    images = np.random.default_rng(0).uniform(0, 255, (2, SIZE, SIZE, 3)).astype("float32")
    served = converters.serving_function(converters.serving_copy(mixed))(images)["probabilities"]
    np.testing.assert_allclose(served, model.predict(images, verbose=0), atol=1e-5)


@pytest.mark.parametrize("variant", ["B0", "Lite0"])
def test_scaling_is_read_off_the_layers(variant):
    backbone = models.build_backbone(variant, weights=None, image_size=32)
    factor, mean, names = converters.pixel_scaling(backbone)
    first = backbone.get_layer(names[-1])
    images = np.random.default_rng(0).uniform(0, 255, (1, 32, 32, 3)).astype("float32")
    expected = keras.Model(backbone.input, first.output).predict(images, verbose=0)
    np.testing.assert_allclose((images - mean) * factor, expected, atol=1e-5)
    assert np.ndim(mean) == 0, "one number for all channels is subtracted faster"


# refusals


def test_what_does_not_agree_is_refused_and_what_was_there_stays(exported, monkeypatch, model):
    before = exported()
    old = before.path.read_bytes()
    other = keras.models.clone_model(model)
    convert = export.convert
    monkeypatch.setattr(export, "convert", lambda model, *rest: convert(other, *rest))
    with pytest.raises(export.ParityError, match=r"nothing was written.* must agree on 99\.0% .* Received: a largest"):
        exported()
    assert before.path.read_bytes() == old
    assert sorted(path.name for path in before.path.parent.iterdir()) == ["photos.tflite", "photos.tflite.json"]
    assert exported(bound=export.Bound(difference=1.0, agreement=0.0)).parity.agreement < 1


def test_answers_that_are_no_numbers_are_refused(exported, model, tmp_path):
    broken = keras.models.clone_model(model)
    broken.get_layer("head_probabilities").bias.assign([np.nan, 0, 0])
    with pytest.raises(export.ParityError, match="a largest difference of nan"):
        exported("saved_model", model=broken)
    assert list(tmp_path.iterdir()) == []


def test_a_saved_model_is_replaced_as_a_whole(exported, tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "stray").touch()
    exported("saved_model")
    assert not (tmp_path / "photos" / "stray").exists()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"format": "coreml"}, "must be one of litert, onnx, saved_model. Received: 'coreml'"),
        ({"format": "saved_model", "precision": "int8"}, "'saved_model' is written in float32. Received: precision"),
        ({"precision": "int4"}, "written in float32, float16, int8. Received: precision='int4'"),
        ({"precision": "int8", "representative": None}, "from `representative` images. Received: None"),
        ({"path": "model.onnx"}, "The path of 'litert' has .tflite. Received: 'model.onnx'"),
        ({"format": "saved_model", "path": "model.tflite"}, "has no ending, since it is a folder"),
        ({"images": np.zeros((2, 32, 32, 3))}, r"`images` must be pixels of shape \(images, 64, 64, 3\)"),
        ({"images": np.zeros((0, SIZE, SIZE, 3))}, "at least one image"),
        ({"representative": np.zeros((SIZE, SIZE, 3))}, "`representative` must be pixels of shape"),
        ({"card": ModelCard(("a", "b"), SIZE, "crop", "Lite0", "imagenet")}, "The card says 64 pixels and 2 classes"),
    ],
)
def test_a_request_that_cannot_work_says_why(changed, message, model, crops):
    arguments = {"format": "litert", "path": "model.tflite", "card": CARD, "images": crops["test"], **changed}
    with pytest.raises(ValueError, match=message):
        export.export(model, arguments.pop("path"), **arguments)


def test_a_missing_package_is_named_with_the_extra_that_installs_it(exported, monkeypatch, tmp_path):
    done = exported()
    monkeypatch.setattr(runners.importlib.util, "find_spec", lambda name: None)
    message = r'that are not installed: ai_edge_litert\. Install them with: .*"\.\[litert\]"'
    with pytest.raises(ImportError, match=message):
        exported()
    with pytest.raises(ImportError, match=message):
        export.runner(done.path)
    assert "onnx, onnxruntime, tf2onnx" in export.why_unavailable("onnx")
    assert export.why_unavailable("saved_model") is None


def test_the_extras_install_what_each_format_needs():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    for format, needs in export.FORMATS.items():
        if needs.packages:
            installed = {Requirement(line).name.replace("-", "_") for line in extras[format]}
            assert installed == set(needs.packages)
            assert set(extras[format]) <= set(extras["test"])


def test_a_runner_says_what_it_cannot_open_or_classify(exported, tmp_path):
    answer = export.runner(exported().path)
    for shape in ((SIZE, SIZE, 3), (1, 32, 32, 3), (0, SIZE, SIZE, 3)):
        with pytest.raises(ValueError, match="Expected at least one image of 64 × 64 × 3"):
            answer(np.zeros(shape))
    for name in ("nothing.tflite", "nothing", "model.keras"):
        with pytest.raises(ValueError, match=f"Expected an exported model: .*{name}"):
            export.runner(tmp_path / name)


# company


def test_importing_export_needs_none_of_the_runtimes():
    optional = {name for needs in export.FORMATS.values() for name in needs.packages}
    for module in (export, converters, runners):
        imports = [
            node for node in ast.parse(inspect.getsource(module)).body if isinstance(node, ast.Import | ast.ImportFrom)
        ]
        assert len(imports) > 3
        assert not optional & {alias.name for node in imports for alias in node.names}


@pytest.mark.slow
def test_converters_say_nothing_in_a_notebook(run_cells, tmp_path):
    notebook = run_cells(
        "from effnet_helpers import export, models\nfrom effnet_helpers.model_files import ModelCard",
        "import numpy as np\n"
        "prefix, _ = models.split_at_block(models.build_backbone('Lite0', weights=None, image_size=32), 'block2a')\n"
        "model = models.add_head(prefix, 3)\n"
        "images = np.random.default_rng(0).uniform(0, 255, (4, 32, 32, 3)).astype('float32')\n"
        "settings = {'card': ModelCard(('a', 'b', 'c'), 32, 'crop', 'Lite0', 'none'), 'images': images}\n"
        "settings |= {'representative': images, 'bound': export.Bound(1.0, 0.0)}",
        f"folder = {str(tmp_path)!r}\n"
        "for format, precision in (('litert', 'int8'), ('onnx', 'int8'), ('saved_model', 'float32')):\n"
        "    path = f'{folder}/model{export.FORMATS[format].suffix}'\n"
        "    export.export(model, path, format=format, precision=precision, **settings)",
    )
    assert [cell.outputs for cell in notebook.cells] == [[], [], [], []]
