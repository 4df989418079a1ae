"""The harness of `make bench`, on costs that are made up: nothing here is timed."""

import csv
import functools
import importlib
import inspect
import json
import os
import re
from dataclasses import replace

from effnet_helpers import data, evaluation, models, preprocessing, training
from effnet_helpers.course import ROOT
from effnet_helpers.models import lite
from effnet_helpers.training.fit import REESTIMATED_IMAGES
from effnet_helpers.variants import Variant

import keras
import nbformat
import numpy as np
import pandas as pd
import pytest
import tiny
from bench import __main__ as command
from bench import conformal, few_labels, lab, memory, peers, recipe_runs, recipes, series, summary, tips
from bench.fine_tune import Reached
from bench.harness import (
    COLUMNS,
    Line,
    Measured,
    Row,
    Settings,
    Target,
    interleaved,
    read_records,
    replace_row,
    to_record,
)
from PIL import Image
from typer.testing import CliRunner

TINY = Variant("Lite-tiny", 0.25, 0.25, 32, 0.2, 0, 0, 0)  # all seven stages, of one block each


def scripted(costs, log=None, name=""):
    """A side that costs what is written, one figure after the other."""
    left = iter(costs)

    def side():
        if log is not None:
            log.append(name)
        return next(left)

    return side


def line(what="a", ours=1.0, theirs=4.0, target=None, **others):
    return Line(what, ours, theirs, "s", target, rounds=5, **others)


def fake_row(name, *lines, fails=False, before=lambda: None):
    def run(settings):
        before()
        yield from lines
        if fails:
            raise OSError("the disk is full")

    return Row(name, f"title of {name}", lambda settings: settings.rounds * 2, run)


@pytest.fixture
def bench(monkeypatch, tmp_path):
    """Runs the command on made-up rows; returns its result and the lines of the file."""

    def run(rows, *arguments, out=tmp_path / "bench.csv"):
        made_up = {row.id: row for row in rows}
        monkeypatch.setattr(command, "ROWS", tuple(made_up))
        monkeypatch.setattr(command, "load", made_up.__getitem__)
        result = CliRunner().invoke(command.app, [*arguments, "--out", str(out)])
        return result, read_records(out)

    return run


# measuring


def test_sides_take_turns_after_a_warm_up_that_does_not_count():
    log = []
    sides = {"a": scripted([99, 1, 2, 3], log, "a"), "b": scripted([99, 4, 5, 9], log, "b")}
    measured = interleaved(sides, 3)
    assert log == ["a", "b"] * 4
    assert measured.costs == {"a": [1, 2, 3], "b": [4, 5, 9]}
    assert (measured.median("a"), measured.median("b")) == (2, 5)
    assert measured.spread("b") == "4 to 9"
    assert measured.cheapest(["b", "a"]) == "a"


def test_without_warm_up_the_first_measurement_counts():
    assert interleaved({"a": scripted([7])}, 1, warm_up=False).costs == {"a": [7]}


def test_no_rounds_are_refused():
    with pytest.raises(ValueError, match="Received: rounds=0"):
        interleaved({"a": scripted([1])}, 0)


def test_a_comparison_is_of_medians_and_counts_epochs():
    measured = Measured({"ours": [10, 2, 3], "epoch": [4, 6, 100]})
    compared = measured.compare("head", "ours", "epoch", Target("times", 30), "s", times=25)
    assert (compared.ours, compared.theirs, compared.ratio, compared.rounds) == (3, 150, 50, 3)
    assert compared.met
    assert compared.detail == "ours 2 to 10, theirs 4 to 100 an epoch, × 25"


# judging


@pytest.mark.parametrize(
    ("target", "ours", "theirs", "ratio", "met"),
    [
        (Target("times", 4), 1.0, 4.0, 4.0, True),
        (Target("times", 4), 1.0, 3.9, 3.9, False),
        (Target("share", 0.4), 2.0, 5.0, 0.4, True),
        (Target("share", 0.4), 2.1, 5.0, 0.42, False),
        (Target("below", 3, "s"), 2.9, None, None, True),
        (Target("below", 3, "s"), 3.0, None, None, False),
        (Target("at most", 1, "%"), 1.0, None, None, True),
        (Target("at most", 1, "%"), 1.01, None, None, False),
        (Target("times", 4), float("nan"), 4.0, float("nan"), False),
        (None, 1.0, 4.0, 4.0, None),
    ],
)
def test_targets_have_a_sense(target, ours, theirs, ratio, met):
    judged = line(ours=ours, theirs=theirs, target=target)
    assert judged.ratio == pytest.approx(ratio, nan_ok=True)
    assert judged.met is met


def test_faster_but_worse_does_not_meet_a_target():
    assert line(target=Target("times", 2)).met is True
    assert line(target=Target("times", 2), as_good=False).met is False


def test_targets_read_as_they_are_meant():
    targets = Target("times", 30), Target("share", 0.4), Target("below", 3, "s")
    assert [str(target) for target in targets] == ["≥ 30 ×", "≤ 0.4 ×", "< 3 s"]
    with pytest.raises(ValueError, match="Received: 'faster'"):
        Target("faster", 2)


def test_a_training_counts_up_to_the_epoch_that_is_good_enough():
    ends = [(103.0, 0.5), (105.0, 0.98), (107.0, 0.99)]
    assert Reached.of(100.0, ends) == Reached(5.0, 2, 0.98)
    gave_up = Reached.of(100.0, ends[:1])
    assert (gave_up.seconds, gave_up.is_enough, str(gave_up)) == (3.0, False, "0.500 in epoch 1 (not reached)")


# the file


def test_a_row_measured_again_replaces_its_lines_and_no_others(tmp_path):
    path = tmp_path / "new" / "bench.csv"

    def record(row, what, ours=1.0):
        return to_record(row, line(what, ours), "2025-01-01", "machine", "versions")

    for row, *lines in (("one", "a", "b"), ("two", "c")):
        replace_row(path, row, [record(row, what) for what in lines])
    replace_row(path, "one", [record("one", "d", ours=0.123456)])
    assert [(kept.row, kept.what, kept.ours, kept.ratio) for kept in read_records(path)] == [
        ("one", "d", "0.123", "32.4"),
        ("two", "c", "1", "4"),
    ]
    assert [file.name for file in path.parent.iterdir()] == ["bench.csv"]


def test_a_file_of_other_columns_is_refused_before_anything_is_measured(monkeypatch, tmp_path):
    path, measured = tmp_path / "bench.csv", []
    path.write_text("a,b\n1,2\n", encoding="utf-8")
    row = fake_row("one", line(), before=lambda: measured.append(True))
    monkeypatch.setattr(command, "ROWS", ("one",))
    monkeypatch.setattr(command, "load", lambda name: row)
    result = CliRunner().invoke(command.app, ["--out", str(path)])
    assert (result.exit_code, measured) == (2, [])
    assert "Expected the columns row, what, ours" in result.output
    assert "Received: a, b in bench.csv" in result.output


# what the README shows


def test_readme_shows_the_committed_results():
    records = read_records(command.OUT)
    always = tuple(row for row in command.ROWS if row not in command.ON_REQUEST)
    assert tuple(dict.fromkeys(record.row for record in records if record.row in always)) == always
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert summary.markdown(records) in readme
    assert summary.series_markdown(command.OUT.with_name("series.csv")) in readme
    step = next(record for record in records if record.row == "step")
    assert f"{step.theirs} milliseconds an image for a training step of Lite0, {step.ours} where they" in readme
    padding, cropping = [record for record in records if "decode and" in record.what][:2]
    decode = re.search(r"decoding alone (\S+) ms", padding.detail)[1]
    resize = re.search(r"bringing to size alone (\S+) ms", cropping.detail)[1]
    most = next(record for record in records if record.what.startswith("peak memory, 60,000"))
    text = " ".join(readme.split())
    assert f"60,000 files take {int(most.ours) - int(most.theirs)} MB more than 1,000" in text
    assert f"alone takes {decode} ms for a textile image, TensorFlow's {padding.theirs}, before" in text
    assert f"a bicubic resize as well, {resize} ms alone" in text


def test_the_chart_says_how_many_times_and_turns_shares_round(tmp_path):
    lines = [line("a", 1.0, 4.0, Target("times", 2)), line("b", 1.0, 4.0, Target("share", 0.5)), line("no target")]
    records = [to_record("one", each, "2025-01-01", "machine", "versions") for each in lines]
    summary.chart(records, tmp_path / "chart.png")
    with Image.open(tmp_path / "chart.png") as image:
        assert image.info["Description"] == "Their cost divided by ours. a: 4 times, target 2; b: 4 times, target 2."
    summary.chart(records[2:], tmp_path / "none.png")
    assert not (tmp_path / "none.png").exists()
    assert summary.markdown(records).splitlines()[2:] == [
        "| a | 1 s | 4 s | 4 × | ≥ 2 × | yes |",
        "| b | 1 s | 4 s | 0.25 × | ≤ 0.5 × | yes |",
    ]


# the command


def test_the_first_line_says_what_is_measured_and_for_how_long(bench):
    result, _ = bench([fake_row("one", line()), fake_row("two", line("b"))], "--rounds", "7")
    assert result.output.splitlines()[0] == "one, two: about 28 min on two CPU cores without other work"
    result, _ = bench([fake_row("one", line()), fake_row("two", line("b"))], "two")
    assert result.output.splitlines()[0] == "two: about 10 min on two CPU cores without other work"


def test_every_row_is_written_as_soon_as_it_is_measured(bench, tmp_path):
    seen = []
    second = fake_row("two", line("b"), before=lambda: seen.extend(read_records(tmp_path / "bench.csv")))
    result, kept = bench([fake_row("one", line(target=Target("times", 3))), second])
    assert result.exit_code == 0
    assert [record.row for record in seen] == ["one"]
    assert [(record.row, record.target, record.met) for record in kept] == [("one", "≥ 3 ×", "yes"), ("two", "", "")]
    with (tmp_path / "bench.csv").open(encoding="utf-8") as file:
        assert tuple(next(csv.reader(file))) == COLUMNS
    assert "CPU cores" in kept[0].machine
    assert f"keras {keras.__version__}" in kept[0].versions


def test_a_row_that_fails_leaves_its_old_lines_and_the_other_rows(bench):
    bench([fake_row("one", line("old"))])
    result, kept = bench([fake_row("one", line("new"), fails=True), fake_row("two", line("b"))])
    assert result.exit_code == 1
    assert "Failed: one" in result.output
    assert [record.what for record in kept] == ["old", "b"]


def test_an_unknown_row_is_refused_with_the_known_ones(bench):
    result, kept = bench([fake_row("one", line())], "won")
    assert (result.exit_code, kept) == (2, [])
    assert "There are the rows one. Received: won" in result.output


def test_a_try_is_marked_and_never_goes_to_the_real_file(bench, monkeypatch, tmp_path):
    _, kept = bench([fake_row("one", line(target=Target("times", 3)))], "--tiny")
    assert kept[0].detail.startswith("TINY, means nothing")
    assert kept[0].met == ""
    monkeypatch.setattr(command, "OUT", tmp_path / "real.csv")
    result, kept = bench([fake_row("one", line())], "--tiny", out=tmp_path / "real.csv")
    assert (result.exit_code, kept) == (2, [])


@pytest.mark.parametrize("name", command.ROWS)
def test_every_row_has_its_module_and_an_estimate(name):
    row = command.load(name)
    assert row.id == name
    assert importlib.import_module(f"bench.{name.replace('-', '_')}").ROW is row
    assert 0 < row.minutes(Settings()) < (600 if name in command.ON_REQUEST else 60)


def test_the_table_shows_what_is_missed_in_words():
    records = [to_record("one", line(target=Target("times", 9)), "", "", "")]
    shown = command.table(records)
    assert [next(iter(column.cells)) for column in shown.columns] == [
        "a",
        "1",
        "4",
        "s",
        "4",
        "≥ 9 ×",
        "[bold red]no[/]",
    ]


def test_make_bench_runs_the_command():
    recipe = (ROOT / "Makefile").read_text(encoding="utf-8").split("\nbench: ")[1].splitlines()[1]
    assert recipe.strip() == "@PYTHONPATH=tests $(BIN)/python -m bench $(ROW) $(ARGS)"


# when to trust an answer


def test_scores_and_planted_labels_are_told_apart_on_features():
    from bench import trust

    def parts(first, classes):
        random, found = np.random.default_rng(first), {}
        for split, images in (("train", 30), ("val", 15), ("test", 15)):
            labels = np.repeat(np.arange(classes), images)
            directions = np.eye(24)[first + labels]
            found[split] = (random.normal(2 * directions, 0.2).astype(np.float32), labels)
        return found

    sets = {"few": parts(0, 3), "many": parts(8, 6)}
    rows = pd.DataFrame(trust.belonging(sets, 2))
    assert rows.groupby(["set", "foreign"])["draw"].nunique().to_dict() == {
        ("few", "many"): 1, ("few", "classes left out"): 3, ("many", "few"): 1, ("many", "classes left out"): 2,
    }  # fmt: skip
    assert rows.query("score == @trust.BOTH")["marked"].min() == 1
    assert rows["false_marks"].mean() < 0.2
    table = pd.DataFrame(trust.wrong_labels(sets, 1))
    assert table["recall"].min() > 0.8
    assert table["planted"].tolist() == [9, 18]


def test_the_head_of_a_network_is_read_as_it_computes():
    from effnet_helpers import models

    from bench import trust
    from tiny import tiny_classifier

    model = tiny_classifier(3)
    norm = model.get_layer("head_bn")
    norm.set_weights([np.random.default_rng(i).uniform(0.5, 1.5, norm.gamma.shape) for i in range(4)])
    _, head = models.split_after(model, "head_pool")
    features = np.random.default_rng(0).uniform(0, 3, (5, norm.gamma.shape[0])).astype(np.float32)
    logits = trust.own_head(model)(features)
    expected = head.predict(features, verbose=0)
    np.testing.assert_allclose(np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True), expected, atol=1e-5)


# recipes on pictures unlike each other


@pytest.fixture(scope="module")
def measured_once(tmp_path_factory, short_network):
    """Two runs of two steps on a few packed images, and the file they are in."""
    folder = tmp_path_factory.mktemp("recipes")
    path, stage = folder / "recipes.csv", recipe_runs.SCREENING
    few = recipes.Pictures({"image_size": 32, "limit_per_class": 15}, "made up", "textile")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recipes, "SETS", {"few": few})
        patch.setattr(recipes, "LAST_LAYERS", 4)
        patch.setattr(models, "build_backbone", lambda variant, image_size: tiny.tiny_backbone(image_size))
        patch.setattr(recipes, "BLOCKS", ("block4a", "block6a"))
        recipes.pack(folder / "packed", None, ["few"], [(0, 0)])
    packed = recipe_runs.Packed(folder / "packed")
    for candidate in ("from block6a", "weights averaged"):
        job = recipe_runs.Job("screening", "few", candidate, 0, 0)
        recipe_runs.append(path, recipe_runs.measure(packed, job, replace(stage, steps=2)))
    return path


def test_a_run_of_a_recipe_keeps_the_best_of_its_validations(measured_once):
    for row in recipe_runs.read(measured_once).to_dict("records"):
        trace = json.loads(row["trace"])
        assert len(trace) == 3
        assert float(row["accuracy"]) == max(accuracy for accuracy, _, _ in trace)
        assert [float(row[name]) for name in ("accuracy", "loss", "test")] == trace[int(row["best_validation"])]
        assert float(row["giga_multiply_adds"]) > 0


def test_the_driver_repeats_of_the_package_what_the_package_does():
    defaults = {name: each.default for name, each in inspect.signature(training.fine_tune).parameters.items()}
    base = recipe_runs.BASE
    assert (base.peak, base.warmup, base.batch) == tuple(
        defaults[name] for name in ("learning_rate", "warmup_steps", "batch_size")
    )
    assert (defaults["validations"], defaults["views"]) == (recipe_runs.VALIDATIONS, recipe_runs.VIEWS)
    assert recipe_runs.REESTIMATED == REESTIMATED_IMAGES
    for warmup in (0, 7):
        ours, theirs = (make(0.01, 40, warmup) for make in (recipe_runs.schedule, training.warmup_cosine))
        assert [float(ours(step)) for step in range(41)] == [float(theirs(step)) for step in range(41)]
    mirrors = {"": None, "x": "horizontal", "xy": "both"}
    for name, known in recipe_runs.AUGMENTATIONS.items():
        there = preprocessing.AUGMENTATIONS[name.replace(" ", "-")]
        assert (there["translation"], there["zoom"]) == (recipe_runs.SHIFT, recipe_runs.ZOOM)
        assert (known["turn"], mirrors[known["flip"]]) == (there["rotation"], there.get("flip"))


def test_runs_that_are_measured_are_not_measured_again(measured_once):
    stage = replace(recipe_runs.SCREENING, seeds=((0, 0), (1, 1)), candidates=("base", "from block6a"))
    left = list(recipe_runs.missing([stage], ["few", "other"], recipe_runs.read(measured_once)))
    assert [(job.set, job.candidate, job.split) for job in left[:3]] == [
        ("few", "base", 0),
        ("other", "base", 0),
        ("other", "from block6a", 0),
    ]
    assert len(left) == 7


# the tips of Keras' example


@pytest.fixture
def few(monkeypatch, short_network):
    monkeypatch.setattr(models, "build_backbone", lambda variant, image_size: tiny.tiny_backbone(image_size))
    monkeypatch.setattr(tips, "STEPS", 5)
    return data.load("textile", image_size=32, limit_per_class=15)


def test_a_run_of_a_tip_begins_where_the_others_of_its_seed_do(few):
    begin = functools.cache(functools.partial(tips.start, few, 0))
    tuned, head = tips.measure("base", few, 0, begin)
    assert (tuned.kind, head.kind) == ("fine-tuning", "frozen head")
    assert tuned.highest_loss == max(loss for *_, loss in json.loads(tuned.trace))
    assert [run.steps for run in tips.measure("batch of 8, as many steps", few, 0, begin)] == [tuned.steps] == [5]
    assert [run.steps for run in tips.measure("batch of 8", few, 0, begin)] == [10]
    assert list(tips.measure("base", few, 0, begin))[1] == head


def test_committed_tips_are_of_today_s_choices_each_once_and_beside_its_base():
    table = evaluation.measured("tips")
    assert not table.duplicated(["kind", "choice", "seed"]).any()
    assert set(table["choice"]) <= {*tips.CHOICES, tips.SCRATCH}
    tuned = table[table["kind"] == "fine-tuning"]
    assert set(tuned["seed"]) == set(tuned.loc[tuned["choice"] == "base", "seed"])


# the peers' recipes


@pytest.fixture(scope="module")
def tiny_backbone():
    return lambda: lite.build_lite(TINY, include_top=False, image_size=32, drop_connect_rate=0.2)


def trainable(model):
    return {type(layer).__name__ for layer in model.layers if layer.trainable_weights}


def test_the_example_trains_its_top_alone(tiny_backbone):
    model = peers.frozen_network_with_head(tiny_backbone(), 3)
    assert [type(layer).__name__ for layer in model.layers[-4:]] == [
        "GlobalAveragePooling2D",
        "BatchNormalization",
        "Dropout",
        "Dense",
    ]
    assert len(model.trainable_weights) == 4  # scale and shift, kernel and bias
    assert float(model.optimizer.learning_rate) == pytest.approx(1e-2)


def test_plain_fine_tuning_trains_everything_but_batch_normalization(tiny_backbone):
    backbone = tiny_backbone()
    model = peers.network_to_fine_tune(backbone, 3)
    assert trainable(keras.Model(backbone.input, backbone.output)) == {"Conv2D", "DepthwiseConv2D"}
    kernels = [weight for weight in backbone.weights if weight.name == "kernel"]
    assert len(backbone.trainable_weights) == len(kernels) > 0
    assert model.output_shape == (None, 3)


def test_the_example_data_set_leaves_out_what_fills_no_batch_in_training_only():
    images = np.arange(70, dtype="uint8").reshape(70, 1, 1, 1) * np.ones((1, 8, 8, 3), "uint8")
    labels = np.arange(70)
    training = peers.AugmentedImages(images, labels, augment=True)
    assert [len(training[i][1]) for i in range(len(training))] == [64]
    assert training[0][0].shape == (64, 8, 8, 3)
    before = training.order.copy()
    training.on_epoch_end()
    assert (before != training.order).any()
    scoring = peers.AugmentedImages(images, labels, augment=False)
    scored = [scoring[i] for i in range(len(scoring))]
    assert np.concatenate([batch_labels for _, batch_labels in scored]).tolist() == list(range(70))
    assert np.concatenate([batch for batch, _ in scored]) == pytest.approx(images)


def test_both_sides_augment_with_the_same_strengths():
    rotation, translation, flip, contrast = peers.augmentation_layers()
    ours = peers.SAME_AUGMENTATION
    assert rotation.get_config()["factor"] == pytest.approx([-ours["rotation"] / 360, ours["rotation"] / 360])
    shifts = translation.get_config()
    assert shifts["height_factor"] == shifts["width_factor"] == ours["translation"]
    assert (flip.get_config()["mode"], ours["flip"]) == ("horizontal_and_vertical", "both")
    assert np.max(contrast.get_config()["factor"]) == ours["contrast"]  # Keras 3.15 leaves out the lower half


# sets that keep a promise


def test_a_set_without_any_class_holds_the_most_probable_one_and_is_counted():
    probabilities = np.array([[0.9, 0.1], [0.55, 0.45], [0.5, 0.5], [0.2, 0.8]])
    found = conformal.score(probabilities, np.array([0, 1, 0, 1]), np.array([0.6, 0.6]))
    assert (found["coverage"], found["nominal"], found["defective"]) == (0.75, 1.0, 0.5)
    assert (found["labels_a_set"], found["empty_sets"], found["would_be_empty"]) == (1.0, 0.0, 0.5)


@pytest.mark.parametrize("scored_on", ["val", "test"])
def test_images_to_learn_from_to_set_thresholds_by_and_to_score_are_apart(scored_on):
    images = data.load("textile", image_size=32, limit_per_class=60)
    to_learn, scored = conformal.draw(images, 0, {"nominal": 2, "local": 1, "global": 1}, scored_on)
    parts = [to_learn.splits["train"], to_learn.splits["test"], scored.splits["test"]]
    assert [np.bincount(part.labels).tolist() for part in parts] == [[2, 2]] * 3
    assert len(set().union(*(part.digests for part in parts))) == 12
    assert set(parts[2].names) <= set(images.splits[scored_on].names)


def test_committed_sets_are_of_all_draws_each_once_beside_the_published_ones():
    table = evaluation.measured("conformal")
    assert not table.duplicated(["source", "method", "draw", "thresholds", "scored_on"]).any()
    ours = table[table["source"] == "ours"]
    by_split = {split: sorted(rows["draw"].unique()) for split, rows in ours.groupby("scored_on")}
    assert by_split["val"] == [*conformal.DEVELOPED_ON]
    assert len(by_split["test"]) >= 3
    assert by_split["test"] == [*conformal.MEASURED_ON][: len(by_split["test"])]  # the row goes on where it was
    published = table[table["source"] != "ours"].reset_index(drop=True)
    pd.testing.assert_frame_equal(published[conformal.COLUMNS], conformal.published(), check_dtype=False)


def test_the_committed_curve_is_the_one_that_was_scored():
    curve = evaluation.measured("few_labels")
    scored = curve[(curve["scored_on"] == "test") & (curve["method"] == "region head")]
    assert {labels: [*rows["draw"]] for labels, rows in scored.groupby("labels")} == {
        labels: [*few_labels.MEASURED_ON] for labels in few_labels.LABELS
    }
    scored = scored[scored["labels"] == few_labels.SCORED]
    developed = curve[curve["scored_on"] == "val"]
    assert sorted(developed["draw"].unique()) == [*few_labels.DEVELOPED_ON]
    ours = next(record.ours for record in read_records(command.OUT) if "ViT-L/14" in record.what)
    assert float(ours) == pytest.approx(100 * (1 - scored["nominal_accuracy"].mean()), abs=0.01)


def test_seconds_of_a_notebook_are_those_of_its_sections(tmp_path):
    notebook = nbformat.v4.new_notebook()
    took = {"papermill": {"duration": 1.5}}
    for text in ("# 04", "## What you will learn", "code", "## Features once\n\nText.", "code", "More text.", "code"):
        if text == "code":
            notebook.cells.append(nbformat.v4.new_code_cell("1", metadata=took))
        else:
            notebook.cells.append(nbformat.v4.new_markdown_cell(text))
    notebook.cells.append(nbformat.v4.new_code_cell("never_run()"))
    nbformat.write(notebook, tmp_path / "04.ipynb")
    assert series.sections(tmp_path / "04.ipynb") == {"start": 1.5, "Features once": 3.0}


def test_the_table_of_the_series_adds_up_sections_and_names_the_longest(tmp_path):
    rows = [
        ("04_head", "start", 2.0, 1.5),
        ("04_head", "Features", 3.0, 1.0),
        ("06_new", "Serve", 5, None),
        (series.ALL, series.SECONDS, 8.0, 5.0),
        (series.ALL, series.BUSY, 0.91, 0.9),
    ]
    file = tmp_path / "series.csv"
    pd.DataFrame(rows, columns=["lesson", "section", *series.WAYS]).to_csv(file, index=False)
    assert summary.series_markdown(file).splitlines()[2:] == [
        "| 04 | 5 s | 2 s | Features, 3 s |",
        "| 06 | 5 s | – | Serve, 5 s |",
        "| all, by the clock | 8 s | 5 s | |",
        "| share of two cores busy | 91% | 90% | |",
    ]


# processes of their own


def test_a_process_of_its_own_loads_what_was_written_and_reports_its_memory(tmp_path):
    memory._write_folder(tmp_path, 30)
    assert len(list(tmp_path.rglob("*.jpg"))) == 30
    done = lab.in_child("epoch", folder=str(tmp_path), image_size=32)
    assert done["seconds"] > 0
    assert done["peak_mb"] > 50  # TensorFlow is in it


def test_links_stand_in_for_more_files_than_there_are(monkeypatch, tmp_path):
    source = tmp_path / "source"
    for name in ("x/1.jpg", "y/2.jpg"):
        (source / name).parent.mkdir(parents=True)
        (source / name).write_bytes(b"")
    monkeypatch.setattr(memory.conformal_clip_data, "textile_simulated_root", lambda: source)
    memory._write_folder(tmp_path / "many", 5)
    assert len(list((tmp_path / "many" / "x").iterdir())) == 3
    assert len(list((tmp_path / "many" / "y").iterdir())) == 2


def test_a_peer_trains_in_one_process_without_our_allocator(monkeypatch):
    monkeypatch.delenv("MALLOC_TRIM_THRESHOLD_", raising=False)
    with lab.as_published() as process:
        assert process.submit(os.getenv, "MALLOC_TRIM_THRESHOLD_").result() == "131072"
        assert process.submit(os.getpid).result() == process.submit(os.getpid).result() != os.getpid()
    assert "MALLOC_TRIM_THRESHOLD_" not in os.environ


def test_a_process_that_fails_says_its_last_words(tmp_path):
    with pytest.raises(RuntimeError, match="There is no such folder"):
        lab.in_child("epoch", folder=str(tmp_path / "missing"), image_size=32)
