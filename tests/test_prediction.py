"""Prediction: every file gets a row, from the same pixels as in training, whatever the file holds."""

import os
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

from effnet_helpers import data, evaluation, export, machine, models, outputs, plotting
from effnet_helpers.course import ROOT
from effnet_helpers.course.cli import app
from effnet_helpers.export import predict as prediction
from effnet_helpers.export import verify
from effnet_helpers.models import ModelCard

import hostile
import numpy as np
import pandas as pd
import pytest
from hostile_pictures import encoded, picture, with_alpha
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from tiny import tiny_classifier
from typer.testing import CliRunner

CLASSES = ("birds", "cats", "dogs, large")
SIZE = 32
GOLDEN = ROOT / "tests" / "golden" / "0.1.0"  # one model, saved and in every format
SAVED, *EXPORTED = (GOLDEN / name for name in ("classifier.keras", "exported.tflite", "exported.onnx", "exported"))
CARD = ModelCard(CLASSES, SIZE, "crop", "Lite0", "none")
EARLIER = "file,predicted,probability,p_cats,problem\n"


def classify(pixels):
    """A classifier that goes by the mean colour, in no time."""
    powers = np.exp(pixels.mean(axis=(1, 2)) / 64)
    return powers / powers.sum(axis=1, keepdims=True)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    root = tmp_path_factory.mktemp("hostile") / "photos"
    return root, hostile.make_corpus(root)


@pytest.fixture
def photos(tmp_path):
    """A folder of ten good pictures in two classes, small and large, turned, for print and transparent."""
    exif = Image.Exif()
    exif[274] = 6
    contents = {
        "large.jpg": encoded(picture(0, (700, 500))), "turned.jpg": encoded(picture(1), exif=exif),
        "print.jpg": encoded(picture(2).convert("CMYK")), "alpha.png": encoded(with_alpha(picture(3)), "PNG"),
        "small.bmp": encoded(picture(4, (20, 24)), "BMP"),
    }  # fmt: skip
    for class_name in ("cats", "dogs"):
        for name, content in contents.items():
            path = tmp_path / "photos" / class_name / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content + class_name.encode())  # behind the end: another file of the same pixels
    return tmp_path / "photos"


def effnet(*arguments):
    result = CliRunner().invoke(app, ["predict", *map(str, arguments)])
    return result.exit_code, result.output


@pytest.mark.parametrize("mode", ["crop", "pad", "squash"])
def test_pixels_are_those_of_training_to_the_last_bit(photos, mode):
    dataset = data.load(f"folder:{photos}", image_size=SIZE, resize_mode=mode)
    card = models.ModelCard(CLASSES, SIZE, mode, "Lite0", "none")
    files = dataset.splits["train"]
    (batch, _) = next(iter(dataset.batches("train", batch_size=len(files))))
    ours = np.stack([prediction.read_pixels(card, files.root / name) for name in files.names])
    assert ours.dtype == np.uint8
    np.testing.assert_array_equal(ours.astype(np.float32), batch.numpy())


@pytest.mark.parametrize("batch_size", [1, 3, 32])
def test_probabilities_are_those_of_the_data_set(photos, batch_size):
    dataset = data.load(f"folder:{photos}", image_size=SIZE)
    files = dataset.splits["train"]
    expected = np.concatenate([classify(batch.numpy()) for batch, _ in dataset.batches("train")])
    table = prediction.predict_files(classify, CARD, [files.root / name for name in files.names], batch_size)
    assert list(table) == ["file", "predicted", "probability", *(f"p_{name}" for name in CLASSES), "problem"]
    np.testing.assert_allclose(table[[f"p_{name}" for name in CLASSES]], expected, atol=1e-5)
    assert list(table["predicted"]) == [CLASSES[index] for index in expected.argmax(axis=1)]
    np.testing.assert_allclose(table["probability"], expected.max(axis=1), atol=1e-5)
    assert list(table.index) == list(range(len(files.names)))
    assert len(np.unique(expected.round(3), axis=0)) > 1, "the model tells the pictures apart"


def test_saved_and_exported_models_give_the_same_table(photos):
    paths = export.find_pictures([photos]).files
    expected = prediction.predict_files(*export.open_classifier(SAVED), paths)
    assert expected["probability"].nunique() == 5
    for path in EXPORTED:
        table = prediction.predict_files(*export.open_classifier(path), paths)
        pd.testing.assert_frame_equal(table, expected, atol=1e-4, rtol=0)


def test_every_file_of_the_hostile_corpus_gets_a_row_and_none_stops_the_others(corpus):
    root, expected = corpus
    names = [name for name, expectation in expected.items() if expectation.fate != hostile.NOT_AN_IMAGE]
    table = prediction.predict_files(classify, CARD, [root / name for name in names])
    assert list(table["file"]) == [str(root / name) for name in names]
    for name, row in zip(names, table.itertuples(), strict=True):
        if expected[name].fate == hostile.USED:
            assert (row.problem, row.predicted in CLASSES, 0.333 < row.probability <= 1) == ("", True, True), name
        else:
            assert row.problem, name
            assert row.predicted is None
            assert np.isnan(row.probability), name


def test_pictures_are_read_one_batch_ahead_and_no_further(photos, monkeypatch):
    paths, done, furthest = [photos / "cats" / "small.bmp"] * 30, [], []
    read_pixels = prediction.read_pixels
    monkeypatch.setattr(prediction, "read_pixels", lambda *args: done.append(1) or read_pixels(*args))
    for number, table in enumerate(prediction._tables(classify, CARD, paths, paths, 4)):
        furthest.append(len(done) - 4 * number)
        assert len(table) <= 4
    assert max(furthest) <= 8
    assert len(done) == 30


def test_folders_archives_and_files_are_found_under_the_names_they_were_given(photos, tmp_path, monkeypatch):
    hostile.hostile_zip(tmp_path / "new.zip", bomb_bytes=1000)
    (photos / "notes.txt").write_text("no picture")
    (photos / "unnamed").write_bytes(encoded(picture(9)))
    (photos / "~x.jpg").write_bytes(encoded(picture(10)))
    monkeypatch.chdir(tmp_path)
    found = prediction.find_pictures(["photos", "new.zip", "photos/unnamed"])
    counts = Counter(name.partition(os.sep)[0] for name in found.names)
    assert counts == {"photos": 10 + 2 + 1, "new.zip": 6 + 1}  # among them the bomb, which is no picture
    assert any(name.endswith(os.path.join("cats", "0.jpg")) for name in found.names if name.startswith("new.zip"))
    assert found.names[-1] == os.path.join("photos", "unnamed")
    assert all(file.is_file() for file in found.files)
    reasons = {os.path.basename(name): reason for name, reason in found.others}
    assert os.path.join("photos", "unnamed") in found.names[:-1], "a picture by its content"
    assert reasons["link.jpg"] == "a link"
    assert not any("notes" in name for name in reasons)

    os.rename("new.zip", "new.backup")
    assert len(prediction.find_pictures(["new.backup"]).names) == 6 + 1, "an archive by its content"
    monkeypatch.chdir(photos)
    assert "~x.jpg" in prediction.find_pictures(["."]).names


def test_absolute_paths_are_called_by_what_names_no_place_of_the_machine(photos, tmp_path, monkeypatch):
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(photos)
    for path in ("home/a.png", "one/a.png", "other/a.png"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_bytes(encoded(picture(1), "PNG"))
    inside = photos / "cats" / "small.bmp"
    found = prediction.find_pictures([inside, tmp_path / "home", tmp_path / "one", tmp_path / "other" / "a.png"])
    assert found.names == ("cats/small.bmp", "~/a.png", "…/one/a.png", "…/a.png")
    assert prediction.find_pictures([tmp_path / f"{each}/a.png" for each in ("one", "other")]).names == (
        "…/one/a.png",
        "…/other/a.png",
    )


def test_what_is_not_there_or_empty_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"There is no such file or folder\. Received: '.*nowhere'"):
        prediction.find_pictures([tmp_path / "nowhere"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"There are no pictures in it\. Received: '.*empty'"):
        prediction.find_pictures([tmp_path / "empty"])
    with pytest.raises(ValueError, match="at least one file"):
        prediction.predict_files(classify, CARD, [])


def test_the_csv_is_the_table_and_the_summary_counts_it(corpus, tmp_path):
    root, expected = corpus
    found = prediction.find_pictures([root])
    out, told = tmp_path / "new folder" / "predictions.csv", []
    summary = prediction.predict_to_csv(
        classify, CARD, found, out, least_certain=7, progress=lambda *now: told.append(now)
    )
    written = pd.read_csv(out, keep_default_na=False, na_values={"probability": [""]})
    table = prediction.predict_files(classify, CARD, found.files)
    assert len(written) == len(found.files) == len(table)
    assert [name.encode("utf-8", "backslashreplace").decode() for name in found.names] == list(written["file"])
    assert list(written["predicted"]) == list(table["predicted"].fillna(""))
    assert list(written["problem"]) == list(table["problem"])
    np.testing.assert_allclose(written["probability"], table["probability"], atol=1e-4)

    left_out = {name for name, expectation in expected.items() if expectation.fate == hostile.LEFT_OUT}
    assert {name for name, _ in summary.problems} == {os.path.join("…", root.name, name) for name in left_out}
    assert summary.counts == {name: int((table["predicted"] == name).sum()) for name in CLASSES}
    assert sum(summary.counts.values()) + len(summary.problems) == len(found.files)
    lowest = table.dropna(subset="probability").nsmallest(7, "probability")
    least_certain = summary.least_certain
    np.testing.assert_allclose(least_certain["probability"], lowest["probability"], 1e-4)
    assert list(table["predicted"][least_certain.index]) == list(least_certain["predicted"])
    assert told[-1] == (len(found.files), len(found.files))


def test_an_interrupted_run_leaves_the_earlier_table_and_nothing_else(photos, tmp_path):
    out = tmp_path / "out" / "predictions.csv"
    out.parent.mkdir()
    out.write_text(EARLIER)
    machine.note_written(out)

    def interrupt(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prediction.predict_to_csv(
            classify, CARD, prediction.find_pictures([photos]), out, batch_size=2, progress=interrupt
        )
    assert out.read_text() == EARLIER
    assert os.listdir(out.parent) == ["predictions.csv"]


def test_the_command_writes_the_table_and_the_least_certain_pictures(photos, tmp_path):
    (photos / "broken.jpg").write_bytes(b"nothing")
    (photos / "🐈 with a name that is far too long.jpg").write_bytes(encoded(picture(11)))
    out = tmp_path / "predictions.csv"
    out.write_text(EARLIER)
    machine.note_written(out)
    exit_code, output = effnet(SAVED, photos, "--out", out, "--batch-size", 4)
    assert exit_code == 0, output
    table = pd.read_csv(out)
    assert len(table) == 12
    assert f"11 of 12 pictures predicted: {out}" in output
    assert "1 could not be read:" in output
    assert "broken.jpg: its content is not a picture" in output
    for name, count in table["predicted"].value_counts().items():
        assert re.search(rf"│ {name} +│ +{count} │", output), output
    with Image.open(tmp_path / "predictions.png") as sheet:
        description = sheet.info["Description"]
        assert sheet.width >= 500
    assert description.startswith("Least certain first, as the model sees them, 11 shown: ")
    assert "large.jpg" in description
    assert f"The 11 least certain: {tmp_path / 'predictions.png'}" in output


def test_where_nothing_can_be_read_the_command_says_so_and_leaves_no_old_sheet(tmp_path):
    (tmp_path / "broken.jpg").write_bytes(b"nothing")
    plotting.contact_sheet([np.zeros((8, 8, 3))], ["black"], tmp_path / "predictions.png", heading="Of an earlier run")
    exit_code, output = effnet(EXPORTED[0], tmp_path / "broken.jpg", "--out", tmp_path / "predictions.csv")
    assert exit_code == 1
    assert "0 of 1 pictures predicted" in output
    assert not (tmp_path / "predictions.png").exists()
    assert list(pd.read_csv(tmp_path / "predictions.csv")["problem"]) == ["its content is not a picture"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["MODEL", "nowhere"], "There is no such file or folder"),
        (["nowhere.keras", "PHOTOS"], "Missing: nowhere.keras and nowhere.json"),
        (["MODEL", "PHOTOS", "--out", "predictions.xlsx"], "must end in .csv"),
    ],
)
def test_the_command_refuses_with_one_message(photos, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    exit_code, output = effnet(*({"MODEL": EXPORTED[1], "PHOTOS": photos}.get(each, each) for each in arguments))
    assert exit_code == 2
    assert message in output
    assert os.listdir(tmp_path) == ["photos"]


def files_below(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_command_run_twice_changes_no_file_of_the_user_and_reads_none_of_its_own(photos, tmp_path, monkeypatch):
    monkeypatch.chdir(photos)
    (photos / "notes.csv").write_text("file,remark\na.jpg,keep\n")
    (photos / "broken.png").write_bytes(b"half")
    (photos / "photo.png").write_bytes(encoded(picture(12), "PNG"))
    before = files_below(photos)
    for _ in range(2):
        exit_code, output = effnet(SAVED, ".")
        assert exit_code == 0, output
        for inputs, out in (("photo.png", "photo.csv"), ("broken.png", "broken.csv"), (".", "notes.csv")):
            assert effnet(EXPORTED[0], inputs, "--out", out)[0] == 2
        after = files_below(photos)
        assert {name: after[name] for name in before} == before
        assert after.keys() - before == {"predictions.csv", "predictions.png"}
        assert sorted(pd.read_csv("predictions.csv")["file"]) == sorted(before.keys() - {"notes.csv"})
    assert "predictions.png: written by an earlier prediction" in output
    with Path("predictions.csv").open("a") as table:
        table.write("mine.png,cat,1,,,\n")
    assert effnet(SAVED, ".")[0] == 2
    assert Path("predictions.csv").read_text().endswith("mine.png,cat,1,,,\n")
    exit_code, output = effnet(SAVED, *sorted(os.listdir()), "--out", "again.csv")
    assert exit_code == 0, output
    assert len(pd.read_csv("again.csv")) == len(before), "what is named one by one is a file like any other"


def test_what_is_no_earlier_output_is_refused_before_anything_is_read(tmp_path):
    (tmp_path / "photo.png").write_bytes(encoded(picture(1), "PNG"))
    exit_code, output = effnet(SAVED, tmp_path / "photo.png", "--out", tmp_path / "photo.csv")
    assert exit_code == 2
    assert "photo.png was not written by this package as a contact sheet, so it stays. Take another name. Rec" in output
    assert os.listdir(tmp_path) == ["photo.png"]


def test_a_leading_tilde_is_understood(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "photo.png").write_bytes(encoded(picture(1), "PNG"))
    exit_code, output = effnet(SAVED, "~/photo.png", "--out", "~/new/p.csv")
    assert exit_code == 0, output
    assert sorted(os.listdir(tmp_path)) == ["new", "photo.png"]
    assert sorted(os.listdir(tmp_path / "new")) == ["p.csv", "p.png"]


def test_excel_is_told_that_a_table_is_utf8(photos, tmp_path):
    prediction.predict_to_csv(classify, CARD, prediction.find_pictures([photos]), tmp_path / "p.csv")
    assert (tmp_path / "p.csv").read_bytes().startswith(b"\xef\xbb\xbffile,predicted,")


def test_a_sheet_of_version_0_1_is_known(tmp_path):
    about = PngInfo()
    about.add_text("Description", "Least certain first, as the model sees them, 1 shown: 猫.")
    Image.new("RGB", (8, 8)).save(tmp_path / "p.png", pnginfo=about)
    assert outputs.CONTACT_SHEET.is_own(tmp_path / "p.png")


def test_a_contact_sheet_replaces_an_earlier_one_and_takes_any_letters(tmp_path, recwarn):
    path = tmp_path / "sheet.png"
    plotting.contact_sheet([np.zeros((8, 8, 3))], ["black"], path, heading="One")
    plotting.contact_sheet([np.zeros((8, 8, 3)), np.full((9, 5, 3), 255)], ["🐈 cat", "犬 $5"], path, heading="Two")
    with Image.open(path) as sheet:
        assert sheet.info["Description"] == "Two, 2 shown: 🐈 cat; 犬 $5."
    assert os.listdir(tmp_path) == ["sheet.png"]
    assert [str(warning.message) for warning in recwarn] == []


# when to trust an answer


def trusting(**more):
    """Trust in three classes: sets hold what has 0.3, doubt is what is nearly undecided."""
    parts = {"temperature": 2.0, "coverage": 0.9, "set_thresholds": (0.3,) * 3, "false_marks": 0.05, "doubt": 1.05}
    return models.Trust(images=100, kept_apart=True, **(parts | more))


def test_a_card_with_trust_adds_what_an_answer_is_worth(photos, tmp_path):
    card = replace(CARD, trust=trusting(alarm_classes=("cats",), alarm_recall=0.9, alarm_threshold=0.33))
    (photos / "broken.jpg").write_bytes(b"nothing")
    found = export.find_pictures([photos])
    plain, table = (prediction.predict_files(classify, each, found.files, 4) for each in (CARD, card))
    probabilities = [f"p_{name}" for name in CLASSES]
    marks = ["set", "none_of_these", "alarm"]
    assert list(table) == [*plain.columns[:3], *marks, *probabilities, "problem"]
    is_read = (table["problem"] == "").to_numpy()
    assert table.loc[~is_read, marks].isna().all(axis=None) and not is_read.all()
    read = table[is_read]
    calibrated = evaluation.apply_temperature(plain.loc[is_read, probabilities].to_numpy(), 2.0)
    np.testing.assert_allclose(read[probabilities].to_numpy(float), calibrated, atol=1e-5)
    assert list(read["predicted"]) == list(plain.loc[is_read, "predicted"])
    for row, values in zip(read.itertuples(), calibrated, strict=True):
        assert set(row.set.split(" | ")) == {CLASSES[i] for i in np.flatnonzero(values >= 0.3)}
        assert (row.none_of_these, row.alarm) == (evaluation.doubt([values])[0] > 1.05, values[1] >= 0.33)
    summary = prediction.predict_to_csv(classify, card, found, tmp_path / "p.csv", batch_size=4)
    assert summary.alarms == list(read["alarm"]).count(True) > 1
    assert set(summary.none_of_these) == {found.names[i] for i in read.index[read["none_of_these"].astype(bool)]}
    prediction.predict_to_csv(classify, card, found, tmp_path / "p.csv")  # known as its own
    assert prediction.predict_to_csv(classify, CARD, found, tmp_path / "p.csv").alarms is None


def test_the_classes_of_a_set_can_be_told_apart_whatever_their_names(photos):
    names = ("birds", "birds | cats", 'dogs, "large"')
    card = replace(CARD, class_names=names, trust=trusting(set_thresholds=(0.0,) * 3))
    found = export.find_pictures([photos])
    table = prediction.predict_files(classify, card, found.files[:1])
    assert table["set"][0] == 'birds | "birds | cats" | "dogs, ""large"""'


@pytest.fixture(scope="module")
def trusted(tmp_path_factory):
    """A model that knows the centres of its classes, saved and exported; pixels; and its features of them."""
    folder, model = tmp_path_factory.mktemp("trusted"), tiny_classifier(3)
    pixels = np.random.default_rng(0).uniform(0, 255, (6, SIZE, SIZE, 3)).astype(np.float32)
    pixels[3:] *= np.linspace(0, 0.2, SIZE)[:, None, None]
    body, _ = models.split_after(model, "head_pool")
    features = body.predict(pixels, verbose=0)
    centres = evaluation.class_centres(features[:3], [0, 1, 2])
    trust = trusting(distance=0.012, centres=models.pack_centres(centres), doubt=9.0)
    options = {"class_names": CLASSES, "resize_mode": "crop", "variant": "Lite0", "weights": "none", "trust": trust}
    card = models.save(model, folder / "m.keras", **options)
    return folder, model, card, pixels, evaluation.centre_distance(features, trust.centre_array())


def test_a_saved_model_says_how_far_pictures_lie_from_its_classes(trusted):
    folder, _, card, pixels, distances = trusted
    classify, read = export.open_classifier(folder / "m.keras")
    assert read.trust == card.trust
    probabilities, received = classify.look(pixels)
    np.testing.assert_allclose(received, distances, atol=1e-5)
    np.testing.assert_array_equal(classify(pixels), probabilities)
    assert distances[:3].max() < 0.01 < distances[3:].min()


@pytest.mark.parametrize(("format", "name"), [("litert", "m.tflite"), ("onnx", "m.onnx"), ("saved_model", "served")])
def test_so_does_an_exported_one(trusted, format, name):
    folder, model, card, pixels, distances = trusted
    export.export(model, folder / name, card=card, images=pixels, format=format)
    classify, contract = export.open_classifier(folder / name)
    assert contract.trust == card.trust
    probabilities, received = classify.look(pixels)
    np.testing.assert_allclose(received, distances, atol=1e-4)
    np.testing.assert_allclose(probabilities, model.predict(pixels, verbose=0), atol=1e-4)


def test_an_export_that_says_otherwise_how_far_a_picture_lies_is_not_kept(trusted, tmp_path, monkeypatch):
    _, model, card, pixels, _ = trusted
    convert, written = verify.convert_classifier, []

    def converted(*arguments):
        written.append(arguments[-1])
        convert(*arguments[:-1], arguments[-1] + 0.01)

    monkeypatch.setattr(verify, "convert_classifier", converted)
    with pytest.raises(export.ParityError, match=r"how near pictures are .*nothing was written.* difference of 0"):
        export.export(model, tmp_path / "m.tflite", card=card, images=pixels)
    np.testing.assert_array_equal(written, [card.trust.centre_array()])
    assert not [*tmp_path.iterdir()]


def test_the_command_says_which_pictures_may_be_none_of_the_classes(trusted, tmp_path):
    folder, _, _, pixels, distances = trusted
    for number, each in enumerate(pixels):
        Image.fromarray(each.astype(np.uint8)).save(tmp_path / f"{number}.png")
    exit_code, output = effnet(folder / "m.keras", *sorted(tmp_path.glob("*.png")), "--out", tmp_path / "p.csv")
    assert exit_code == 0, output
    table = pd.read_csv(tmp_path / "p.csv")
    assert list(table["none_of_these"]) == [False] * 3 + [bool(each > 0.012) for each in distances[3:]]
    assert "3 may be none of the classes (so are up to 5% of those that are one):" in output


def test_eight_bits_are_not_asked_how_far_a_picture_lies(trusted, monkeypatch):
    folder, model, card, pixels, _ = trusted
    asked = []

    def convert(*arguments):
        asked.append(arguments[-1])
        raise InterruptedError

    monkeypatch.setattr(verify, "convert_classifier", convert)
    for precision in ("float16", "int8"):
        with pytest.raises(InterruptedError):
            options = {"precision": precision, "representative": pixels}
            export.export(model, folder / "8.tflite", card=card, images=pixels, **options)
    assert [centres is None for centres in asked] == [False, True]
