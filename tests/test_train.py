"""`effnet train`: one command to a model and a page; refused in a sentence, resumed after any interruption."""

import base64
import functools
import io
import os
import re
import shutil
import signal
import subprocess
import sys
import weakref
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

from effnet_helpers import data, machine, models, outputs, runtime, training
from effnet_helpers.course import CourseError, train_state, train_trust
from effnet_helpers.course import train as course_train
from effnet_helpers.course.cli import app
from effnet_helpers.course.train import _answers_of_fold, train
from effnet_helpers.course.train_settings import Settings, estimate, shortages

import numpy as np
import psutil
import pytest
from bs4 import BeautifulSoup
from PIL import Image
from rich.console import Console
from tiny import tiny_backbone
from typer.testing import CliRunner

pytestmark = pytest.mark.usefixtures("short_network")

OPTIONS = (
    "--image-size",
    "32",
    "--augment",
    "mirrored",
    "--steps",
    "6",
    "--from-block",
    "block7a",
    "--batch-size",
    "8",
    "--folds",
    "2",
    "--alarm",
    "dark,any",
)
SETTINGS = Settings("", image_size=32, augment="mirrored", steps=6, from_block="block7a", batch_size=8, folds=2)
SETTINGS = replace(SETTINGS, alarm="dark,any")


@pytest.fixture(scope="module", autouse=True)
def tiny_network(short_network):
    """The command on a network, and for a number of epochs, that take seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "fit_head", functools.partial(training.fit_head, epochs=4))
        patch.setattr(models, "build_backbone", lambda variant, image_size: tiny_backbone(image_size))
        yield


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Three classes of dark, bright and striped squares, one with a place where it was taken, and a broken one."""
    folder, random = tmp_path_factory.mktemp("secret") / "shells", np.random.default_rng(0)
    for name, low, high in (("dark", 0, 120), ("bright", 100, 255), ("any", 0, 255)):
        (folder / name).mkdir(parents=True)
        for number in range(15):
            exif = Image.Exif()
            exif[0x010E] = "where I live"
            pixels = random.integers(low, high, (40, 40, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.jpg", exif=exif)
    (folder / "dark" / "broken.jpg").write_bytes(b"\xff\xd8\xff half a picture")
    return folder


@pytest.fixture(scope="module")
def uninterrupted(pictures, tmp_path_factory):
    """A training that was never interrupted: its folder, what it said, its pages, networks left when one was built."""
    folder, networks, left = tmp_path_factory.mktemp("secret"), [], []

    def build(*_, image_size):
        left.append(sum(reference() is not None for reference in networks))
        network = tiny_backbone(image_size)
        networks.append(weakref.ref(network.layers[1]))
        return network

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(models, "build_backbone", build)
        pages = pages_of(patch)
        result = effnet(pictures, "--out", "shells.keras", *OPTIONS)
    assert result.exit_code == 0, result.output
    return SimpleNamespace(folder=folder, said=result.output, pages=pages, left=left)


@pytest.fixture(scope="module")
def trained(uninterrupted):
    """Its folder and what it said."""
    return uninterrupted.folder, uninterrupted.said


def pages_of(patch):
    """Gives the list of what each page is told, and whether the model is there by then."""
    pages, write = [], course_train.write_report

    def note(path, told, *rest):
        pages.append((path.with_suffix(".keras").exists(), told))
        write(path, told, *rest)

    patch.setattr(course_train, "write_report", note)
    return pages


def effnet(*arguments):
    return CliRunner().invoke(app, ["train", *map(str, arguments)])


def test_one_command_leaves_a_model_its_card_and_a_report(trained):
    folder, said = trained
    assert sorted(path.name for path in folder.iterdir()) == ["shells.html", "shells.json", "shells.keras"]
    assert re.search(r"This takes about \d minutes?, \d\.\d GB of memory and \d\.\d GB of disk\.", said)
    assert re.search(r"45 of 46 pictures can be used.*3 classes; images: 30 train, 6 val, 9 test", said, re.DOTALL)
    assert "On test images:" in said
    assert re.search(r"2 times, each time without a part of the images, on those: .* of 45 right", said)
    model, card = models.load(folder / "shells.keras")
    assert card.class_names == ("any", "bright", "dark")
    share, images = re.search(r"On test images: ([\d.]+) % of (\d+) right", said).groups()
    assert (card.trained_on, card.tested) == ("shells", (round(float(share) / 100 * int(images)), int(images)))
    assert (card.trust.images, card.trust.kept_apart, card.trust.alarm_classes) == (6, False, ("dark", "any"))
    assert card.trust.centre_array().shape == (3, model.get_layer("head_pool").output.shape[-1])
    assert model.output_shape == (None, 3)


def test_the_report_says_all_without_network_and_names_no_place(trained):
    text = (trained[0] / "shells.html").read_text(encoding="utf-8")
    page = BeautifulSoup(text, "html.parser")
    assert not re.search(r"https?:|<script|<link|secret|where I live", text)
    assert all(image["src"].startswith("data:image/") and image["alt"] for image in page.find_all("img"))
    assert page.pre.text == f"effnet train …/shells --out shells.keras {' '.join(OPTIONS)}"
    said = page.get_text(" ", strip=True)
    assert "dark/broken.jpg" in said
    chosen = ("recall", "as asked for", "fine-tuning", "what held on pictures unlike each other", "min:s")
    for part in (*chosen, "which also chose between weights", "An alarm is to find 99% of dark, any, which so few"):
        assert part in said, part


def test_thumbnails_carry_no_exif(trained):
    page = (trained[0] / "shells.html").read_text(encoding="utf-8")
    for jpeg in re.findall(r"data:image/jpeg;base64,([^\"]+)", page):
        assert not Image.open(io.BytesIO(base64.b64decode(jpeg))).getexif()


def test_few_validation_images_bring_five_folds(pictures):
    with pytest.warns(data.LeftOutWarning):
        images = data.load(f"folder:{pictures}", image_size=32)
    assert [replace(SETTINGS, folds=folds).folds_for(images) for folds in (None, 0, 3)] == [5, 0, 3]
    with pytest.raises(ValueError, match=r"--folds: expected 0 for none, or 2 to 20\. Received: 1"):
        Settings("", folds=1)


def interrupted_in(phase, monkeypatch, arguments):
    """Runs until a function of `training` has done its work, or is about to, and Ctrl-C comes."""

    def stop(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(training, phase, stop)
        with pytest.raises(KeyboardInterrupt):
            train(*arguments)


def test_what_was_interrupted_between_phases_ends_as_if_it_had_not_been(trained, pictures, tmp_path, monkeypatch):
    out, said = tmp_path / "shells.keras", io.StringIO()
    arguments = (replace(SETTINGS, specification=str(pictures)), out, Console(file=said, width=1000))
    interrupted_in("choose_recipe", monkeypatch, arguments)
    with pytest.raises(CourseError, match=r"did not end: go on with --resume, or delete that folder"):
        train(*arguments)
    with pytest.raises(CourseError, match=r"other settings \(--seed was 0, is 1\)"):
        train(replace(arguments[0], seed=1), *arguments[1:], resume=True)
    interrupted_in("fine_tune", monkeypatch, (*arguments, None, True))
    assert "the same command with --resume goes on" in said.getvalue()
    assert not out.exists()
    with (
        outputs.alone_in(out.with_suffix(".training")),
        pytest.raises(ValueError, match=r"^Another process is at work"),
    ):
        train(*arguments, resume=True)
    asked = []

    def answers_of_fold(_, number, *__):
        asked.append(number)
        if asked == [0, 1]:
            raise KeyboardInterrupt
        return np.eye(3)[[number] * 4], np.array([0, 0, 1, 2])

    monkeypatch.setattr(course_train, "_answers_of_fold", answers_of_fold)
    with pytest.raises(KeyboardInterrupt):
        train(*arguments, resume=True)
    assert models.load(out)[1].class_names == ("any", "bright", "dark")
    assert re.search(r"The model: .*shells\.keras\n.*with --resume goes on", said.getvalue(), re.DOTALL)
    page = out.with_suffix(".html")
    assert "2 further models" in page.read_text(encoding="utf-8")
    (tmp_path / "shells.training" / "thesis.txt").write_text("precious")
    train(*arguments, resume=True)
    assert asked == [0, 1, 0, 1]
    assert "further models" not in page.read_text(encoding="utf-8")
    assert "37.5 % of 8 right" in said.getvalue().splitlines()[-1]
    assert [path.name for path in (tmp_path / "shells.training").iterdir()] == ["thesis.txt"]
    shutil.rmtree(tmp_path / "shells.training")
    with pytest.raises(CourseError, match=r"shells\.keras is there and nothing is left .*: its training has ended"):
        train(*arguments, resume=True)
    ours, theirs = (models.load(folder / "shells.keras")[0].get_weights() for folder in (tmp_path, trained[0]))
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_the_model_and_its_page_come_before_the_folds(uninterrupted):
    (is_there, first), (_, last) = uninterrupted.pages
    assert (is_there, first.folds, first.pending, last.pending) == (True, None, 2, 0)
    assert "folds 2 of 2" not in first.seconds
    assert "folds 2 of 2" in last.seconds
    assert uninterrupted.said.index("The model: shells.keras") < uninterrupted.said.index("folds 1 of 2")


def test_no_network_stays_in_memory_beside_that_of_the_next_fold(uninterrupted):
    assert uninterrupted.left == [0, 0, 0]


def check_resumed_in_a_fold(uninterrupted, settings, out, monkeypatch):
    """Finds the model and its page, goes on, and compares what all folds answer."""
    card, page = out.with_suffix(".json"), out.with_suffix(".html")
    assert models.load(out)[1].class_names == ("any", "bright", "dark")
    assert "2 further models" in page.read_text(encoding="utf-8")
    assert (out.with_suffix(".training") / "fold-0.npz").exists()
    pages = pages_of(monkeypatch)
    train(settings, out, Console(file=io.StringIO()), resume=True)
    assert sorted(out.parent.iterdir()) == sorted([out, card, page])
    assert "further models" not in page.read_text(encoding="utf-8")
    (ours, count), (theirs, _) = (each[-1][1].folds for each in (pages, uninterrupted.pages))
    assert count == 2
    assert np.array_equal(ours.labels, theirs.labels)
    np.testing.assert_allclose(ours.probabilities, theirs.probabilities, atol=1e-6)


TO_BE_KILLED = """
import dataclasses, functools, os, signal, sys
from effnet_helpers import models, training
from effnet_helpers.course.cli import app
from effnet_helpers.training.checkpoint import Checkpoint
import tiny

tiny.TINY = dataclasses.replace(tiny.TINY, depth=0.3)
training.fit_head = functools.partial(training.fit_head, epochs=4)
on_epoch_end = Checkpoint.on_epoch_end

def be_killed(self, epoch, logs=None):
    on_epoch_end(self, epoch, logs)
    if (self.folder.name, self.phase, epoch) == ("fold-1", "fine_tune", 2):
        os.kill(os.getpid(), signal.SIGKILL)

Checkpoint.on_epoch_end = be_killed
models.build_backbone = lambda variant, image_size: tiny.tiny_backbone(image_size)
app(["train", *sys.argv[1:]])
"""


@pytest.mark.release
def test_what_was_killed_in_the_midst_of_a_fold_ends_as_if_it_had_not_been(
    uninterrupted, pictures, tmp_path, monkeypatch
):
    out = tmp_path / "shells.keras"
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=os.pathsep)
    command = [sys.executable, "-c", TO_BE_KILLED, pictures, "--out", out, *OPTIONS]
    assert subprocess.run(command, capture_output=True, check=False).returncode == -signal.SIGKILL
    assert list((tmp_path / "shells.training" / "fold-1").glob("fine_tune-*.npz"))
    check_resumed_in_a_fold(uninterrupted, replace(SETTINGS, specification=str(pictures)), out, monkeypatch)


def test_a_fold_starts_from_the_same_weights_whatever_ran_before(tmp_path, monkeypatch):
    begun, backbone = [], tiny_backbone(32)
    run = course_train._Run(SETTINGS, 8, tmp_path, {}, None, None, True)
    monkeypatch.setattr(models, "build_backbone", lambda *_, **__: backbone)  # it would seed by itself
    monkeypatch.setattr(training, "fit_head", lambda model, *_, **__: begun.append(model.get_weights()) or 1 / 0)
    for seed in (1, 2):
        runtime.set_seed(seed)
        with pytest.raises(ZeroDivisionError):
            _answers_of_fold(run, 1, SimpleNamespace(num_classes=3))
    assert all(np.array_equal(one, other) for one, other in zip(*begun, strict=True))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--augment", "sideways"), "--augment: expected one of none, upright, mirrored, any-way-up"),
        (("--resize-mode", "zoom"), "--resize-mode: expected one of crop, pad, squash"),
        (("--balance", "yes"), "--balance: expected one of class_weights, balanced_sampling"),
        (("--learning-rate", "30"), "--learning-rate: expected a number between 0 and 1. Received: 30.0"),
        (("--batch-size", "1"), "--batch-size: expected 2 or more"),
        (("--alarm-recall", "1"), "--alarm-recall: expected a share between 0 and 1"),
        (("--steps", "0"), "--steps: expected a whole number from 1 up"),
        (("--group-by", "("), "--group-by: expected a regular expression"),
        (("--from-block", "block9"), "--from-block: expected one of block1a, block2a"),
        (("--out", "shells.h5"), "must end in '.keras'"),
        (("--report", "notes.html"), "notes.html was not written by this package as a report of a training"),
    ],
)
def test_what_cannot_work_is_refused_in_a_sentence_before_any_work(options, sentence, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.html").write_text("mine")
    monkeypatch.setattr(data, "audit", None)
    result = effnet("textile", "--out", "shells.keras", *options)
    assert (result.exit_code, sentence in result.output) == (2, True), result.output
    assert [path.name for path in tmp_path.iterdir()] == ["notes.html"]


def test_a_folder_of_the_users_is_not_taken_for_a_training(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shells.training").mkdir()
    (tmp_path / "shells.training" / "thesis.txt").write_text("precious")
    result = effnet("textile", "--out", "shells.keras", "--resume")
    assert "was not left by a training, so it stays" in result.output


def test_what_is_left_of_a_fold_that_cannot_be_read_does_not_count(tmp_path):
    path = tmp_path / "fold-0.npz"
    assert train_state.answers_kept(path) is None
    for content in (b"", b"PK\x03\x04 cut short", b"a poem"):
        path.write_bytes(content)
        assert train_state.answers_kept(path) is None
    np.savez(path, probabilities=np.eye(2), labels=np.arange(2))
    assert train_state.answers_kept(path)[1].tolist() == [0, 1]


def test_a_folder_that_another_computer_does_not_see_is_noticed(tmp_path):
    assert not train_state.is_seen(tmp_path, seconds=0.1)
    train_state.keep(tmp_path, {"settings": {}, "pictures": {}, "seconds": {}})
    assert train_state.is_seen(tmp_path)


def test_what_it_takes_counts_processes(pictures):
    with pytest.warns(data.LeftOutWarning):
        images = data.load(f"folder:{pictures}", image_size=32)
    model = models.add_head(tiny_backbone(32), 3)
    both = SimpleNamespace(share=(0, 1, 2), of_this_machine=2, local_replicas=1)
    one, two = (estimate(model, images, SETTINGS, 8, processes=each) for each in (None, both))
    assert 1.5 < two.memory_gb / one.memory_gb < 2.1
    nothing = replace(two, memory_gb=1.9 * psutil.Process().memory_info().rss / 2**30, disk_gb=0.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(machine, "memory_gb", lambda: (16.0, 0.0))
        assert list(shortages(nothing, 8, both)) == []  # these two hold as much already
        assert "GB of memory are free" in next(shortages(nothing, 8))


def test_pictures_that_changed_since_are_no_training_to_go_on_with(pictures, tmp_path, monkeypatch):
    mine = shutil.copytree(pictures, tmp_path / "shells")
    arguments = (replace(SETTINGS, specification=str(mine)), tmp_path / "m.keras", Console(file=io.StringIO()))
    interrupted_in("fit_head", monkeypatch, arguments)
    (mine / "dark" / "3.jpg").unlink()
    with pytest.raises(CourseError, match="pictures changed since"):
        train(*arguments, resume=True)


def test_enough_validation_images_are_shared_between_choosing_and_trusting(pictures, monkeypatch):
    with pytest.warns(data.LeftOutWarning):
        images = data.load(f"folder:{pictures}", image_size=32)
    assert train_trust.keep_apart(images) == (images, images)
    monkeypatch.setattr(train_trust, "ENOUGH", 1)
    chosen, apart = train_trust.keep_apart(images)
    assert chosen.labels("val").tolist() == apart.labels("val").tolist() == [0, 1, 2]
    both = {*chosen.splits["val"].names, *apart.splits["val"].names}
    assert both == {*images.splits["val"].names}
    assert all(part.splits["train"] is images.splits["train"] for part in (chosen, apart))


def test_pictures_of_one_group_are_not_parted_between_choosing_and_trusting(pictures, monkeypatch):
    with pytest.warns(data.LeftOutWarning):
        images = data.load(f"folder:{pictures}", image_size=32)
    monkeypatch.setattr(train_trust, "ENOUGH", 1)
    val = images.splits["val"]
    in_pairs = replace(val.take(np.repeat(np.arange(len(val)), 2)), groups=tuple(np.repeat(val.names, 2)))
    parts = train_trust.keep_apart(replace(images, splits={**images.splits, "val": in_pairs}))
    chosen, apart = ({*part.splits["val"].groups} for part in parts)
    assert chosen.isdisjoint(apart) and chosen | apart == {*val.names}
    one_each = replace(in_pairs, groups=tuple(map(str, in_pairs.labels)))  # which can only be parted by class
    whole = replace(images, splits={**images.splits, "val": one_each})
    assert train_trust.keep_apart(whole) == (whole, whole)


def test_an_alarm_is_for_classes_that_there_are(pictures):
    with pytest.warns(data.LeftOutWarning):
        images = data.load(f"folder:{pictures}", image_size=32)
    assert train_trust.alarm_classes(replace(SETTINGS, alarm=" dark , any"), images) == ["dark", "any"]
    odd = replace(images, class_names=("bright", "dark, any", 'so "dark"'))
    chosen = train_trust.alarm_classes(replace(SETTINGS, alarm='so "dark", "dark, any"'), odd)
    assert chosen == ['so "dark"', "dark, any"]
    with pytest.raises(ValueError, match='--alarm: expected some of bright, "dark, any", "so ""dark""", not all'):
        train_trust.alarm_classes(replace(SETTINGS, alarm="dark, any"), odd)
    with pytest.raises(ValueError, match="--alarm: expected some of any, bright, dark, not all"):
        train_trust.alarm_classes(replace(SETTINGS, alarm="torn"), images)
    val = images.splits["val"]
    without_dark = replace(images, splits={**images.splits, "val": val.take(np.flatnonzero(val.labels != 2))})
    with pytest.raises(ValueError, match="validation images of --alarm: expected at least one"):
        train_trust.alarm_classes(replace(SETTINGS, alarm="dark"), without_dark)
