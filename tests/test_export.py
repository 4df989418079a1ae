"""Export: every format decides as Keras does and says what it takes, and what does not agree is not kept."""

import ast
import inspect
import json
import shutil
import tomllib

from effnet_helpers import export, models
from effnet_helpers.course import ROOT
from effnet_helpers.export import contract, convert, runners, verify
from effnet_helpers.models import ModelCard

import keras
import numpy as np
import onnx
import pytest
from ai_edge_litert.interpreter import Interpreter
from packaging.requirements import Requirement

SIZE = 32
CARD = ModelCard(("blue", "green", "red"), SIZE, "crop", "Lite0", "none")
PATHS = [(format, precision) for format, needs in export.FORMATS.items() for precision in needs.precisions]
layers = keras.layers


def network(like_b0=False):
    """All kinds of layers that Lite0 is made of, or those of B0, once each."""
    x = inputs = keras.Input((SIZE, SIZE, 3))
    act = layers.Activation if like_b0 else lambda _, name: layers.ReLU(6.0, name=name)
    if like_b0:
        x = layers.Rescaling(1 / 255, name="rescaling")(x)
        x = layers.Normalization(name="normalization")(x)
        x = layers.Rescaling([2.0, 2.1, 2.2], name="rescaling_1")(x)
    else:
        x = layers.Rescaling(1 / 128, offset=-127 / 128, name="rescaling")(x)
    x = layers.Conv2D(8, 3, strides=2, padding="same", use_bias=False, name="stem_conv")(x)
    x = act("swish", name="stem_activation")(layers.BatchNormalization(name="stem_bn")(x))
    y = layers.DepthwiseConv2D(3, padding="same", use_bias=False, name="block1a_dwconv")(x)
    y = layers.BatchNormalization(name="block1a_bn")(y)
    if like_b0:
        squeezed = layers.GlobalAveragePooling2D(keepdims=True, name="block1a_se_squeeze")(y)
        excited = layers.Conv2D(8, 1, activation="sigmoid", name="block1a_se_expand")(squeezed)
        y = layers.multiply([y, excited], name="block1a_se_excite")
    x = layers.Add(name="block1a_add")([x, layers.Dropout(0.2, noise_shape=(None, 1, 1, 1), name="block1a_drop")(y)])
    x = layers.BatchNormalization(name="top_bn")(layers.Conv2D(16, 1, use_bias=False, name="top_conv")(x))
    x = act("swish", name="top_activation")(x)
    model = models.add_head(keras.Model(inputs, x, name="small"), 3)
    if like_b0:
        normalization = model.get_layer("normalization")
        normalization.set_weights([np.float32([0.485, 0.456, 0.406]), np.float32([0.05, 0.06, 0.07]), np.int32(0)])
        normalization.finalize_state()
    return model


@pytest.fixture(scope="module")
def images():
    """Noise in which one colour prevails, one after the other."""
    noise = np.random.default_rng(0).uniform(0, 256, (48, SIZE, SIZE, 3)).astype("float32")
    noise[range(48), :, :, np.arange(48) % 3] *= 0.5
    return {"train": noise[:24], "test": noise[24:]}


@pytest.fixture(scope="module")
def model(images):
    """A small network, and a head that tells the colours apart."""
    keras.utils.set_random_seed(0)
    model = network()
    features = keras.Model(model.input, model.get_layer("head_bn").output).predict(images["train"], verbose=0)
    middle = features.mean(axis=0)
    kernel, *_ = np.linalg.lstsq(features - middle, 20 * np.tile(np.eye(3) - 1 / 3, (8, 1)), rcond=None)
    model.get_layer("head_probabilities").set_weights([kernel, -middle @ kernel])
    return model


@pytest.fixture(scope="module")
def done(tmp_path_factory, model, images):
    """This classifier in every format and precision."""
    folder, representative = tmp_path_factory.mktemp("exports"), images["train"]
    given = {"card": CARD, "images": images["test"], "representative": representative}
    paths = {pair: folder / f"{pair[1]}{export.FORMATS[pair[0]].suffix}" for pair in PATHS}
    return {pair: export.export(model, paths[pair], format=pair[0], precision=pair[1], **given) for pair in PATHS}


@pytest.fixture
def exported(tmp_path, model, images):
    """Gives a function that exports this classifier, by default as a SavedModel, which is the quickest."""

    def run(format="saved_model", precision="float32", *, model=model, **changed):
        path = tmp_path / f"colours{export.FORMATS[format].suffix}"
        arguments = {"card": CARD, "images": images["test"], **changed}
        return export.export(model, path, format=format, precision=precision, **arguments)

    return run


# agreement


@pytest.mark.parametrize(("format", "precision"), PATHS)
def test_every_format_answers_as_keras_does(done, model, images, format, precision):
    expected = model.predict(images["test"], verbose=0)
    one = done[format, precision]
    received = export.runner(one.path)(images["test"])
    assert received.dtype == np.float32
    np.testing.assert_allclose(received, expected, atol={"float32": 1e-5, "float16": 0.01, "int8": 0.1}[precision])
    assert one.parity == export.compare_probabilities(expected, received)
    assert (one.parity.images, one.parity.agreement) == (24, 1.0)
    assert set(expected.argmax(axis=1)) == {0, 1, 2}, "a classifier that always says the same proves nothing"


@pytest.mark.parametrize("format", export.FORMATS)
def test_an_opened_classifier_answers_and_brings_its_contract(done, model, images, format):
    one = done[format, "float32"]
    predict, card = export.open_classifier(one.path)
    np.testing.assert_allclose(predict(images["test"]), model.predict(images["test"], verbose=0), atol=1e-5)
    batch = 1 if format == "litert" else None
    assert (card.class_names, card.image_size, card.resize_mode) == (CARD.class_names, SIZE, "crop")
    assert card.pixel_range == (0, 255)
    assert (card.format, card.precision) == (format, "float32")
    assert card.input == {"name": "pixels", "dtype": "float32", "shape": [batch, SIZE, SIZE, 3]}
    assert card.output == {"name": "probabilities", "dtype": "float32", "shape": [batch, 3]}
    assert card.parity["agreement"] == one.parity.agreement
    assert card.parity["bound"] == {"difference": 1e-4, "agreement": 0.99}
    assert card.versions["keras"] == keras.__version__
    assert not list(one.path.parent.glob(".*")), "nothing temporary is left"


def test_float16_halves_what_weights_take(done, model):
    details = Interpreter(model_path=str(done["litert", "float16"].path)).get_tensor_details()
    halved = sum(each["dtype"] == np.float16 and each["shape"].size > 1 for each in details)
    assert halved == sum(hasattr(layer, "kernel") for layer in model.layers)
    kinds = {weight.data_type for weight in onnx.load(done["onnx", "float16"].path).graph.initializer}
    assert onnx.TensorProto.FLOAT16 in kinds
    assert onnx.TensorProto.FLOAT not in kinds


def test_int8_computes_in_integers_and_keeps_every_step_of_a_pixel(done):
    interpreter = Interpreter(model_path=str(done["litert", "int8"].path))
    pixels = [each for each in interpreter.get_tensor_details() if tuple(each["shape"]) == (1, SIZE, SIZE, 3)]
    scales = [each["quantization"][0] for each in pixels if each["dtype"] == np.int8]
    assert len(scales) >= 2
    np.testing.assert_allclose(scales, 1.0, atol=0.01)
    kinds = [node.op_type for node in onnx.load(done["onnx", "int8"].path).graph.node]
    assert kinds.count("QuantizeLinear") > kinds.count("Conv") > 0
    assert "BatchNormalization" not in kinds


def test_normalization_leaves_no_inputs_behind_in_onnx(exported):
    """Keras' own export makes inputs of the constants of `Normalization`."""
    one = exported("onnx", model=network(like_b0=True))
    assert [each.name for each in onnx.load(one.path).graph.input] == ["pixels"]
    assert one.parity.largest_difference < 1e-5


@pytest.mark.release
def test_all_of_b0_comes_out_as_onnx(exported):
    model = models.add_head(models.build_backbone("B0", weights=None, image_size=SIZE), 3)
    model.get_layer("head_probabilities").kernel.assign_add(np.random.default_rng(0).normal(size=(1280, 3)))
    assert exported("onnx", model=model).parity.largest_difference < 1e-5


def test_a_model_in_mixed_precision_is_served_in_float32(exported, images):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        mixed = network(like_b0=True)
    finally:
        keras.config.set_dtype_policy(before)
    one = exported(model=mixed)
    plain = network(like_b0=True)
    plain.set_weights(mixed.get_weights())
    plain.get_layer("normalization").finalize_state()
    expected = plain.predict(images["test"], verbose=0)
    np.testing.assert_allclose(export.runner(one.path)(images["test"]), expected, atol=1e-5)
    np.testing.assert_allclose(models.float32_copy(mixed).predict(images["test"], verbose=0), expected, atol=1e-5)


@pytest.mark.parametrize("like_b0", [True, False])
def test_scaling_is_read_off_the_layers(images, like_b0):
    model = network(like_b0)
    factor, mean, names = export.pixel_scaling(model)
    expected = keras.Model(model.input, model.get_layer(names[-1]).output).predict(images["test"], verbose=0)
    np.testing.assert_allclose((images["test"] - mean) * factor, expected, atol=1e-4)
    assert np.ndim(mean) == like_b0, "one number for all channels is subtracted faster"


# refusals


def test_what_does_not_agree_is_refused_and_what_was_there_stays(exported, monkeypatch, model):
    old = (exported("litert").path).read_bytes()
    other = keras.models.clone_model(model)
    monkeypatch.setattr(verify, "convert_classifier", lambda _, *rest: convert.convert_classifier(other, *rest))
    with pytest.raises(export.ParityError, match=r"nothing was written.* must agree on 99\.0% .* Received: a largest"):
        exported("litert")
    bad = exported("litert", bound=export.Bound(difference=1.0, agreement=0.0))
    assert bad.parity.agreement < 1
    assert bad.path.read_bytes() != old
    assert sorted(path.name for path in bad.path.parent.iterdir()) == ["colours.tflite", "colours.tflite.json"]


def test_answers_that_are_no_numbers_are_refused(exported, model, tmp_path):
    broken = keras.models.clone_model(model)
    broken.get_layer("head_probabilities").bias.assign([np.nan, 0, 0])
    with pytest.raises(export.ParityError, match="a largest difference of nan"):
        exported(model=broken)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"format": "coreml"}, "format: expected litert or onnx or saved_model. Received: 'coreml'"),
        ({"format": "saved_model", "precision": "int8"}, "of saved_model: expected float32. Received: 'int8'"),
        ({"precision": "int4"}, "precision of litert: expected float32 or float16 or int8. Received: 'int4'"),
        ({"precision": "int8", "representative": None}, "images, from which int8 takes .* Received: None"),
        ({"path": "model.onnx"}, "path of litert: expected the ending .tflite. Received: 'model.onnx'"),
        ({"format": "saved_model", "path": "model.tflite"}, "expected the name of a folder, without ending"),
        ({"images": np.zeros((2, 64, 64, 3))}, r"images: .* of shape \(32, 32, 3\) each. Rec"),
        ({"images": np.zeros((0, SIZE, SIZE, 3))}, "images: expected at least one image"),
        ({"representative": np.zeros((SIZE, SIZE, 3))}, "representative: .* pixels of shape"),
        ({"card": ModelCard(("a", "b"), SIZE, "crop", "Lite0", "none")}, "card: expected 32 pixels and 3 classes"),
    ],
)
def test_a_request_that_cannot_work_says_why(changed, message, model, images):
    arguments = {"format": "litert", "path": "model.tflite", "card": CARD, "images": images["test"], **changed}
    with pytest.raises(ValueError, match=message):
        export.export(model, arguments.pop("path"), **arguments)


def test_a_missing_package_is_named_with_the_extra_that_installs_it(exported, done, monkeypatch):
    monkeypatch.setattr(runners.importlib.util, "find_spec", lambda name: None)
    message = r'that are not installed: ai_edge_litert\. Install them with: .*"\.\[litert\]"'
    with pytest.raises(ImportError, match=message):
        exported("litert")
    with pytest.raises(ImportError, match=message):
        export.open_classifier(done["litert", "float32"].path)
    assert "onnx, onnxruntime, tf2onnx" in export.why_unavailable("onnx")
    assert export.why_unavailable("saved_model") is None


def test_the_extras_install_what_each_format_needs():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    for format, needs in export.FORMATS.items():
        if needs.packages:
            installed = {Requirement(line).name.replace("-", "_") for line in extras[format]}
            assert installed == set(needs.packages)
            assert set(extras[format]) <= set(extras["test"])


def test_a_runner_says_what_it_cannot_open_or_classify(done, tmp_path):
    answer = export.runner(done["litert", "float32"].path)
    for shape in ((SIZE, SIZE, 3), (1, 64, 64, 3), (0, SIZE, SIZE, 3)):
        with pytest.raises(ValueError, match="Expected at least one image of 32 × 32 × 3"):
            answer(np.zeros(shape))
    for name in ("nothing.tflite", "nothing", "model.h5"):
        with pytest.raises(ValueError, match=f"Expected an exported model: .*{name}"):
            export.open_classifier(tmp_path / name)


@pytest.fixture(params=export.FORMATS)
def copied(request, done, tmp_path):
    """A copy of an export, to damage: its path and that of its contract."""
    original = done[request.param, "float32"].path
    path = tmp_path / f"copy{original.suffix}"
    (shutil.copytree if original.is_dir() else shutil.copy)(original, path)
    shutil.copy(contract.contract_path(original), contract.contract_path(path))
    return path, contract.contract_path(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (None, r"Missing: copy.*\.json\. Received: "),
        ("half", r"copy.*\.json is not the contract of an exported model \("),
        ({"later": 1}, r"was written by effnet-helpers .* does not understand: later\. Update effnet-helpers"),
        ({"class_names": ["a", "b"]}, r"does not belong to copy.*: it says .*, 32 pixels and 2 classes\. Received: "),
        ({"format": "coreml"}, "does not belong to copy.*: it says coreml"),
    ],
)
def test_an_export_without_a_contract_that_fits_is_refused(copied, change, message):
    path, beside = copied
    text = beside.read_text()
    beside.unlink()
    if change:
        beside.write_text(text[:300] if change == "half" else json.dumps(json.loads(text) | change))
    with pytest.raises(ValueError, match=message):
        export.open_classifier(path)


def test_a_damaged_export_is_refused(copied):
    path, _ = copied
    file = path / "saved_model.pb" if path.is_dir() else path
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(ValueError, match=rf"^{path.name} is damaged, or no .* Copy or export it again\. Received: "):
        export.open_classifier(path)


# what is replaced


def files_below(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("stray", ["colours/thesis.txt", "colours/variables/notes", "colours.json", "colours"])
def test_an_export_to_where_files_of_the_user_lie_changes_none(exported, tmp_path, stray):
    (tmp_path / stray).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / stray).write_text("three years")
    for _ in range(2):
        with pytest.raises(
            ValueError, match=r"^colours\S* was not written .* Take another name\. Received: '.*colours'"
        ):
            exported()
        assert files_below(tmp_path) == {stray: b"three years"}


def test_an_earlier_export_is_replaced_but_not_with_a_file_of_the_user_in_it(exported, tmp_path):
    (tmp_path / "colours").mkdir()
    exported()
    pattern = tmp_path / "colours" / "saved_model.pb"
    pattern.write_bytes(b"older")
    exported()
    whole = pattern.read_bytes()
    assert whole != b"older"
    (tmp_path / "colours" / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match=r"colours and colours\.json was not written"):
        exported()
    assert (tmp_path / "colours" / "notes.txt").read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["colours", "colours.json"]


def test_an_export_names_no_path_of_the_machine(done):
    for one in done.values():
        content = b"".join(files_below(one.path).values()) if one.path.is_dir() else one.path.read_bytes()
        content += contract.contract_path(one.path).read_bytes()
        for place in (one.path.parent, ROOT):
            assert str(place).encode() not in content


# company


def test_importing_export_needs_none_of_the_runtimes():
    optional = {name for needs in export.FORMATS.values() for name in needs.packages}
    for module in (convert, runners):
        imports = [
            node for node in ast.parse(inspect.getsource(module)).body if isinstance(node, ast.Import | ast.ImportFrom)
        ]
        assert len(imports) > 3
        assert not optional & {alias.name for node in imports for alias in node.names}


@pytest.mark.release
def test_converters_say_nothing_in_a_notebook(run_cells, tmp_path):
    notebook = run_cells(
        "from effnet_helpers import export, models",
        "import numpy as np\n"
        "prefix, _ = models.split_at_block(models.build_backbone('Lite0', weights=None, image_size=32), 'block2a')\n"
        "model = models.add_head(prefix, 3)\n"
        "images = np.random.default_rng(0).uniform(0, 255, (4, 32, 32, 3)).astype('float32')\n"
        "settings = {'card': models.ModelCard(('a', 'b', 'c'), 32, 'crop', 'Lite0', 'none'), 'images': images}\n"
        "settings |= {'representative': images, 'bound': export.Bound(1.0, 0.0)}",
        f"folder = {str(tmp_path)!r}\n"
        "for format, precision in (('litert', 'int8'), ('onnx', 'int8'), ('saved_model', 'float32')):\n"
        "    path = f'{folder}/model{export.FORMATS[format].suffix}'\n"
        "    export.export(model, path, format=format, precision=precision, **settings)",
    )
    assert [cell.outputs for cell in notebook.cells] == [[], [], [], []]
