"""Saved models that cannot be used: each is refused with one message that says why and what helps."""

import errno
import json
import shutil
import zipfile
from dataclasses import asdict, replace
from pathlib import Path

from effnet_helpers import models

import keras
import numpy as np
import pytest
from tiny import tiny_classifier

GOLDEN = Path(__file__).parent / "golden" / "0.1.0"


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    model = tiny_classifier(3)
    path = tmp_path_factory.mktemp("models") / "animals.keras"
    models.save(model, path, class_names=["birds", "cats", "dogs"], resize_mode="crop", variant="Lite0")
    return path


@pytest.fixture
def copied(saved, tmp_path):
    """A saved model to damage, and a function that changes its card; `...` for a value takes it out."""
    path = tmp_path / "copy.keras"
    for suffix in (".keras", ".json"):
        shutil.copy(saved.with_suffix(suffix), path.with_suffix(suffix))

    def change(**values):
        card = json.loads(path.with_suffix(".json").read_text()) | values
        path.with_suffix(".json").write_text(json.dumps({name: value for name, value in card.items() if value != ...}))

    return path, change


def save(path):
    models.save(tiny_classifier(3), path, class_names=["birds", "cats", "dogs"], resize_mode="crop", variant="Lite0")


@pytest.mark.parametrize(
    ("name", "content"),
    [("mine.json", "{}"), ("mine.json", (GOLDEN / "exported.json").read_text()), ("mine.keras", "of another program")],
)
def test_what_is_no_saved_model_is_not_replaced(tmp_path, name, content):
    (tmp_path / name).write_text(content)
    with pytest.raises(
        ValueError, match=rf"^{name} was not written .* a saved model .* Take another name\. Received: "
    ):
        save(tmp_path / "mine.keras")
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == content


def test_a_save_that_fails_leaves_the_model_before(copied, monkeypatch):
    path, _ = copied
    before = {file.name: file.read_bytes() for file in path.parent.iterdir()}

    def full(model, target):
        Path(target).write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(keras.Model, "save", full)
        with pytest.raises(OSError, match="No space left"):
            save(path)
    assert {file.name: file.read_bytes() for file in path.parent.iterdir()} == before
    save(path)
    assert path.read_bytes() != before["copy.keras"]
    models.load(path)


def test_a_saved_model_names_no_path_of_the_machine(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    card = models.save(
        tiny_classifier(2),
        "~/deep/m.keras",
        class_names=["a", "b"],
        resize_mode="pad",
        variant="Lite0",
        weights=str(tmp_path / "weights.pth"),
        trained_on="Pets",
        tested=(90, 100),
    )
    assert (card.weights, card.trained_on, card.tested) == ("weights.pth", "Pets", (90, 100))
    with zipfile.ZipFile(tmp_path / "deep" / "m.keras") as archive:
        content = b"".join(archive.read(name) for name in archive.namelist())
    content += (tmp_path / "deep" / "m.json").read_bytes()
    for place in (tmp_path, Path.cwd(), Path(models.__file__).parents[1]):
        assert str(place).encode() not in content
    assert models.load("~/deep/m.keras")[1] == card


def test_a_model_without_its_card_is_refused(copied):
    path, _ = copied
    path.with_suffix(".json").unlink()
    with pytest.raises(ValueError, match=r"a \.keras file and a \.json file beside it\. Missing: copy\.json\."):
        models.load(path)
    with pytest.raises(ValueError, match=r"must end in '\.keras'\. Received: .*copy\.json'"):
        models.load(path.with_suffix(".json"))


def test_a_card_of_a_newer_version_is_refused_by_name(copied):
    path, change = copied
    change(colour_space="linear", versions={"effnet-helpers": "9.1", "keras": keras.__version__})
    with pytest.raises(
        ValueError,
        match=r"copy\.json was written by effnet-helpers 9\.1 and says what .* does not understand: colour_sp",
    ):
        models.load(path)


def test_a_card_of_an_older_version_without_versions_still_works(copied):
    path, change = copied
    change(versions=..., pixel_range=...)
    _, card = models.load(path)
    assert (card.pixel_range, card.versions) == ((0, 255), None)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "Expecting value"),
        ("[1, 2]", "it holds no fields"),
        ('{"class_names": ["a"]}', "it lacks image_size, resize_mode, variant, weights"),
    ],
)
def test_what_is_no_card_is_refused(copied, text, reason):
    path, _ = copied
    path.with_suffix(".json").write_text(text)
    with pytest.raises(ValueError, match=rf"copy\.json is not the card of a saved model \(.*{reason}"):
        models.load(path)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"image_size": "32"}, "image_size must be a whole number"),
        ({"resize_mode": "stretch"}, "resize_mode must be one of crop, pad, squash"),
        ({"class_names": "cats"}, "class_names must be a list of texts"),
        ({"versions": "3.15"}, "versions must be a table"),
        ({"trained_on": 3}, "trained_on must be a text"),
        ({"tested": [11, 10]}, "tested must be how many were right"),
        ({"tested": [1, 2, 3]}, "tested must be how many were right"),
        ({"tested": [0, 0]}, "tested must be how many were right"),
        ({"tested": [0.5, 1]}, "tested must be how many were right"),
    ],
)
def test_a_card_with_impossible_values_is_refused(copied, values, reason):
    path, change = copied
    change(**values)
    with pytest.raises(ValueError, match=rf"is not the card of a saved model \({reason}"):
        models.load(path)


@pytest.mark.parametrize("values", [{"image_size": 64}, {"class_names": ["cats", "dogs"]}])
def test_the_card_of_another_model_is_refused(copied, values):
    path, change = copied
    change(**values)
    with pytest.raises(ValueError, match=r"copy\.json does not belong to copy\.keras.*\(None, 32, 32, 3\)"):
        models.load(path)


@pytest.mark.parametrize("content", [b"", b"<html>404</html>", "half", "changed"])
def test_a_damaged_model_is_refused(copied, content):
    path, _ = copied
    whole = path.read_bytes()
    middle = len(whole) // 2
    broken = {"half": whole[:middle], "changed": whole[:middle] + bytes(5_000) + whole[middle + 5_000 :]}
    path.write_bytes(broken.get(content, content))
    with pytest.raises(ValueError, match=r"^copy\.keras is damaged, or no \.keras file\. Copy or download it again\."):
        models.load(path)


def test_a_model_of_another_keras_is_refused_with_both_versions(copied):
    path, change = copied
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    parts["config.json"] = parts["config.json"].replace(b'"DepthwiseConv2D"', b'"FutureConv2D"')
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    change(versions={"keras": "4.2.0"})
    with pytest.raises(
        ValueError,
        match=rf"was written by Keras 4\.2\.0, and Keras {keras.__version__} cannot load it: .*FutureConv2D"
        r".*Install Keras 4\.2\.0, or save the model again with this one\.$",
    ):
        models.load(path)


def test_a_path_that_cannot_be_saved_to_is_refused_before_training(tmp_path):
    models.check_save_path(tmp_path / "new.keras")
    (tmp_path / "mine.keras").write_text("something else")
    for name, message in (("mine.keras", "so it stays"), ("model.h5", r"must end in '\.keras'")):
        with pytest.raises(ValueError, match=message):
            models.check_save_path(tmp_path / name)


TRUST = models.Trust(
    images=40, kept_apart=True, temperature=1.25, coverage=0.9, set_thresholds=(0.1, 0.2, 0.3), false_marks=0.05,
    doubt=0.5, distance=0.25, centres=models.pack_centres(np.eye(3, 5)), alarm_classes=("dogs",), alarm_recall=0.99,
    alarm_threshold=0.01, alarm_promised=False,
)  # fmt: skip


def test_a_card_carries_when_to_trust_the_model(tmp_path):
    path = tmp_path / "m.keras"
    models.save(
        tiny_classifier(3),
        path,
        class_names=["birds", "cats", "dogs"],
        resize_mode="crop",
        variant="Lite0",
        trust=TRUST,
    )
    card = models.read_card(path.with_suffix(".json"))
    assert card.trust == TRUST
    np.testing.assert_array_equal(card.trust.centre_array(), np.eye(3, 5))


def test_a_card_without_trust_is_one_that_earlier_versions_read(saved):
    assert "trust" not in json.loads(saved.with_suffix(".json").read_text())


@pytest.mark.parametrize(
    ("trust", "message"),
    [
        ({"mood": 1}, r"does not understand: trust\.mood"),
        ({"temperature": ...}, r"is not the card of a saved model \(.*temperature"),
        ({"set_thresholds": [0.1]}, r"trust.set_thresholds: expected 3 of them"),
        ({"temperature": "warm"}, r"trust\.temperature: expected a number above 0. Received: 'warm'"),
    ],
)
def test_trust_that_is_not_understood_is_refused(copied, trust, message):
    path, change = copied
    values = {name: value for name, value in (asdict(TRUST) | trust).items() if value != ...}
    change(trust=values)
    with pytest.raises(ValueError, match=message):
        models.load(path)
    change(trust="blind")
    with pytest.raises(ValueError, match="trust must be a table"):
        models.load(path)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("images", 0), ("images", 3.5), ("kept_apart", "yes"), ("temperature", 0), ("temperature", float("nan")),
        ("coverage", 90), ("set_thresholds", (0.1, 0.2)), ("set_thresholds", (0.1, 0.2, 1.3)), ("false_marks", 1),
        ("doubt", -0.1), ("doubt", float("inf")), ("centres", "???"), ("centres", models.pack_centres(np.eye(2, 5))),
        ("distance", None), ("distance", -1),
        ("alarm_classes", ("fish",)), ("alarm_classes", ("birds", "cats", "dogs")),
        ("alarm_recall", None), ("alarm_threshold", 1.5), ("alarm_promised", None),
    ],
)  # fmt: skip
def test_trust_that_cannot_be_is_not_saved(tmp_path, field, value):
    options = {"class_names": ["birds", "cats", "dogs"], "resize_mode": "crop", "variant": "Lite0"}
    with pytest.raises(ValueError, match=rf"^trust\.{field}: expected .*Received: "):
        models.save(tiny_classifier(3), tmp_path / "m.keras", **options, trust=replace(TRUST, **{field: value}))
    assert not [*tmp_path.iterdir()]


def test_a_card_that_cannot_be_read_again_is_not_saved(tmp_path):
    options = {"class_names": ["birds", "cats", "dogs"], "variant": "Lite0"}
    for wrong in ({"resize_mode": "stretch"}, {"resize_mode": "crop", "bits": 7}):
        with pytest.raises(ValueError, match=f"^{[*wrong][-1]} must be"):
            models.save(tiny_classifier(3), tmp_path / "m.keras", **options, **wrong)
