"""The corpus of hostile files goes through audit, load, a fit and predictions: no crash, and no file is lost."""

import shutil
import warnings

from effnet_helpers import data, evaluation, models, plotting, training
from effnet_helpers.course.audit_labels import suspect_labels
from effnet_helpers.course.cli import app
from effnet_helpers.data.audit import KINDS, audit
from effnet_helpers.data.scan import printable
from effnet_helpers.data.similar import similar_pairs

import hostile
import numpy as np
import pandas as pd
import pytest
from hostile_pictures import LEFT_OUT, NOT_AN_IMAGE, USED
from PIL import Image
from tiny import tiny_backbone, tiny_classifier
from typer.testing import CliRunner

LINKS = ("birds/linked.jpg", "birds/gone.jpg", "dogs/pipe.jpg")  # not unpacked from an archive


def picture(path, seed):
    path.parent.mkdir(parents=True, exist_ok=True)
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    Image.fromarray(coarse).resize((40, 40), Image.Resampling.BICUBIC).save(path)


@pytest.fixture
def films(tmp_path):
    """Two classes, in each six films of two pictures."""
    for label in ("day", "night"):
        for film in range(6):
            for frame in range(2):
                picture(tmp_path / "films" / label / f"film{film}_{frame}.png", 10 * film + frame + len(label) * 100)
    return tmp_path / "films"


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    root = tmp_path_factory.mktemp("corpus") / "pets"
    return root, hostile.make_corpus(root)


@pytest.fixture(scope="module")
def audited(corpus):
    return audit(corpus[0])


def load(spec, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", data.LeftOutWarning)
        return data.load(spec, **{"image_size": 32, **options})


def fates(dataset):
    """What became of each file, by its name."""
    used = {name: USED for files in dataset.splits.values() for name in files.names}
    left_out = {name: LEFT_OUT for name, _ in dataset.left_out}
    passed_over = {other.name: NOT_AN_IMAGE for other in dataset.passed_over}
    return used | left_out | passed_over


def fate_of(name, known):
    """A file in a hidden folder shares the folder's fate."""
    hidden = next((name[: name.index(part) + len(part)] for part in name.split("/") if part.startswith(".")), name)
    return known.get(name, known.get(hidden))


def test_every_file_meets_the_fate_it_should(corpus):
    root, expected = corpus
    known = fates(load(f"folder:{root}"))
    assert {name: fate_of(name, known) for name in expected} == {name: e.fate for name, e in expected.items()}


def test_every_finding_is_made_and_no_other(corpus, audited):
    _, expected = corpus
    found = audited.findings.groupby("file")["finding"].agg(set).to_dict()
    of_files = {name: frozenset(fate_of(printable(name), found) or ()) for name in expected}
    assert {n: set(f) for n, f in of_files.items()} == {name: set(e.findings) for name, e in expected.items()}


def test_the_corpus_has_nearly_every_kind_of_finding(audited):
    elsewhere = {
        *("unsafe", "no_class", "duplicate_across_splits", "empty_class", "too_few", "few", "imbalance"),
        *("alike_classes", "code_page", "dim16", "own_output", "suspected_label"),
    }
    assert set(KINDS) - set(audited.findings["finding"]) <= elsewhere


@pytest.mark.parametrize("pack", [hostile.as_zip, hostile.as_tar])
def test_the_same_files_in_an_archive_are_all_accounted_for(corpus, tmp_path, pack):
    root, expected = corpus
    archive = tmp_path / "pets.archive"
    pack(root, archive)
    known = fates(load(f"folder:{archive}"))
    wrong = {}
    for name, expectation in expected.items():
        if pack is hostile.as_zip and "latin-1" in name:  # names in a zip are text
            continue
        fate = fate_of(name.replace("\\", "/"), known)
        is_link = "link_loop" in expectation.findings or name in LINKS
        if fate != expectation.fate and not (is_link and fate in (None, NOT_AN_IMAGE)):
            wrong[name] = fate
    assert wrong == {}


def test_what_is_left_goes_through_training_and_prediction(corpus):
    dataset = load(f"folder:{corpus[0]}", image_size=32, val_fraction=0.2)
    model = tiny_classifier(dataset.num_classes)
    fit = training.fit_head(model, dataset, epochs=2, balance="class_weights")
    assert np.isfinite(fit.history["loss"]).all()
    assert evaluation.evaluate(model, dataset, "test").confusion.sum() == dataset.sizes["test"]


def test_an_audit_reads_tables_archives_and_specifications(films, tmp_path):
    hostile.as_zip(films, tmp_path / "films.zip")
    table = tmp_path / "labels.csv"
    load(f"folder:{films}").to_csv(table)
    counts = [audit(spec) for spec in (films, tmp_path / "films.zip", table, f"csv:{table}", f"folder:{films}")]
    assert [(a.pictures, a.usable) for a in counts] == [(24, 24)] * 5
    with pytest.raises(ValueError, match="Received: 'nowhere'"):
        audit("nowhere")


def test_classes_that_are_empty_small_or_far_smaller_are_found(tmp_path):
    for label, count in {"many": 70, "some": 21, "few": 5, "two": 2}.items():
        for i in range(count):
            picture(tmp_path / label / f"{i}.png", 100 * ord(label[1]) + i)
    (tmp_path / "none").mkdir()
    found = audit(tmp_path).findings.groupby("class")["finding"].agg(list).to_dict()
    assert {label: [f for f in kinds if f != "near_duplicate"] for label, kinds in found.items()} == {
        "few": ["few", "imbalance"],
        "none": ["empty_class"],
        "some": ["imbalance"],
        "two": ["too_few", "imbalance"],
    }


def test_copies_across_given_splits_are_found_and_named_twice(films, tmp_path):
    root = tmp_path / "split"
    for split, films_of_split in (("train", "0123"), ("test", "45")):
        for path in films.rglob("*.png"):
            if path.name[4] in films_of_split:
                target = root / split / path.relative_to(films)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, target)
    shutil.copy(root / "test/day/film4_0.png", root / "train/day/leak.png")
    findings = audit(root).findings.query("finding == 'duplicate_across_splits'")
    assert sorted(findings["file"]) == ["test/day/film4_0.png", "train/day/leak.png"]
    assert set(findings["severity"]) == {"error"}


def test_the_table_of_findings_is_ordered_and_can_be_written(audited, tmp_path):
    audited.to_csv(tmp_path / "audit.csv")
    table = pd.read_csv(tmp_path / "audit.csv", keep_default_na=False)
    assert list(table.columns) == ["severity", "finding", "file", "class", "split", "detail", "cure"]
    assert len(table) == len(audited.findings)
    order = [("error", "warning", "note").index(severity) for severity in table["severity"]]
    assert order == sorted(order)
    assert audited.summary["files"].sum() == len(table)
    counts = table["severity"].value_counts()
    assert f"{audited.usable} of {audited.pictures} pictures can be used; {counts['error']} errors" in str(audited)
    assert all(kind.meaning in str(audited) for name, kind in KINDS.items() if name in set(table["finding"]))


def test_progress_is_told(films):
    told = []
    audit(films, progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (24, 24)


def test_similar_pairs_are_those_of_a_comparison_of_each_with_each():
    random = np.random.default_rng(0)
    looks = random.integers(0, 2**63, 300, dtype=np.uint64)
    looks[100:150] = looks[:50] ^ (np.uint64(1) << random.integers(0, 64, 50, dtype=np.uint64))
    looks[150:180] = looks[:30] ^ np.uint64(0b1011 << 20)
    looks[180:190] = looks[:10]
    bits = np.bitwise_count(looks[:, None] ^ looks[None, :]).astype(int) + 100 * np.eye(300, dtype=int)
    expected = {i: int(bits[i].min()) for i in range(300) if bits[i].min() <= 6}
    assert {i: bits for i, _, bits in similar_pairs(looks.tolist())} == expected
    assert all(bits[i, j] == found for i, j, found in similar_pairs(looks.tolist()))
    assert list(similar_pairs([])) == []


def test_what_the_package_wrote_is_no_picture_to_learn_from_wherever_it_lies(films, monkeypatch):
    monkeypatch.chdir(films)
    for place in ("night", "."):
        plotting.contact_sheet([np.zeros((9, 9, 3), np.uint8)], ["x"], f"{place}/predictions.png", heading="Some")
    with pytest.warns(data.LeftOutWarning):
        dataset = data.load("folder:.", image_size=32)
    assert dataset.left_out == (("night/predictions.png", "a contact sheet of an earlier prediction"),)
    tables = []
    for _ in range(2):
        assert CliRunner().invoke(app, ["audit", ".", "--out", "audit.csv"]).exit_code == 0
        tables.append(pd.read_csv("audit.csv").query("finding != 'near_duplicate'"))
    assert set(tables[1].query("finding == 'own_output'")["file"]) == {
        "audit.csv", "predictions.png", "night/predictions.png",
    }  # fmt: skip
    assert "no_class" not in set(tables[1]["finding"])


def test_the_command_run_twice_changes_no_file_of_the_user(films, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.csv").write_text("mine")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    for _ in range(2):
        assert CliRunner().invoke(app, ["audit", str(films)]).exit_code == 0
        refused = CliRunner().invoke(app, ["audit", str(films), "--out", "notes.csv"])
        assert (refused.exit_code, "so it stays" in refused.output) == (2, True)
        assert CliRunner().invoke(app, ["build", "--check"]).exit_code == 0
        after = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
        assert after.pop(tmp_path / "audit.csv")
        assert after == before


# suspected labels


def test_suspected_labels_are_listed_and_nothing_is_changed(tmp_path, monkeypatch):
    monkeypatch.setattr(models, "build_backbone", lambda variant, image_size: tiny_backbone(image_size))
    random = np.random.default_rng(0)
    for number in range(20):
        for name, low, high in (("dark", 0, 90), ("bright", 160, 255)):
            is_wrong = name == "dark" and number == 7
            pixels = random.integers(*((160, 255) if is_wrong else (low, high)), (40, 40, 3)).astype(np.uint8)
            path = tmp_path / "shells" / name / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.png")}
    result = CliRunner().invoke(app, ["audit", str(tmp_path / "shells"), "--labels", "--out", str(tmp_path / "a.csv")])
    assert result.exit_code == 0, result.output
    suspects = pd.read_csv(tmp_path / "a.csv").query("finding == 'suspected_label'")
    assert suspects["file"].tolist() == ["dark/7.png"]
    assert suspects["detail"].str.startswith("looks like bright; its own class has a probability of 0.").all()
    assert "1 labels are suspected by a head that is right on 98% of pictures" in result.output.replace("\n", " ")
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.png")} == before


def test_labels_are_judged_by_a_head_that_knows_no_copy_of_the_picture(tmp_path, monkeypatch):
    seen = {}

    def remembered(features, labels, folds, groups):
        seen.update(groups=groups, folds=folds)
        return np.eye(2)[labels]

    monkeypatch.setattr(models, "build_backbone", lambda variant, image_size: tiny_backbone(image_size))
    monkeypatch.setattr(evaluation, "out_of_fold_probabilities", remembered)
    for name, start in (("dark", 0), ("bright", 128)):
        (tmp_path / "shells" / name).mkdir(parents=True)
        for number in range(9):
            grey = start + min(number, 5)  # four copies of the last
            Image.new("RGB", (40, 40), (grey, grey, 0)).save(tmp_path / "shells" / name / f"{number}.png")
    suspect_labels(tmp_path / "shells", data.audit(tmp_path / "shells"))
    assert (len(seen["groups"]), len({*seen["groups"]}), seen["folds"]) == (18, 12, 5)


def test_the_audit_is_written_where_labels_cannot_be_looked_at(tmp_path):
    for name, count in (("dark", 1), ("bright", 5)):
        (tmp_path / "shells" / name).mkdir(parents=True)
        for number in range(count):
            Image.new("RGB", (40, 40), (number, 40 * count, 0)).save(tmp_path / "shells" / name / f"{number}.png")
    result = CliRunner().invoke(app, ["audit", str(tmp_path / "shells"), "--labels", "--out", str(tmp_path / "a.csv")])
    assert (result.exit_code, "Every class needs 3 readable images" in result.output) == (2, True), result.output
    assert "too_few" in set(pd.read_csv(tmp_path / "a.csv")["finding"])


def test_suspects_stand_among_findings_of_their_severity(audited):
    more = audited.with_suspects([("b.png", "birds", "looks like cats"), ("a.png", "birds", "looks like dogs")])
    severities = more.findings["severity"].tolist()
    assert severities == sorted(severities, key=["error", "warning", "note"].index)
    assert more.findings.query("finding == 'suspected_label'")["file"].tolist() == ["b.png", "a.png"]
    assert len(more.findings) == len(audited.findings) + 2
    assert "may be of another class" in str(more)
