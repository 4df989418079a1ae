"""What lies in a folder is read as its owner meant it, or refused; no file is lost on the way."""

import dataclasses
import shutil
import zipfile

from effnet_helpers import data, training
from effnet_helpers.data.audit import audit
from effnet_helpers.data.folder import list_folder, split_of

import pytest
from hostile_pictures import encoded, picture
from tiny import tiny_classifier


def fill(root, *folders, count=4, start=0, ending=".png"):
    """Writes pictures into folders, each another one."""
    for number, folder in enumerate(folders):
        path = root / folder
        path.mkdir(parents=True, exist_ok=True)
        for i in range(start, start + count):
            (path / f"{i}{ending}").write_bytes(encoded(picture(1000 * number + i + sum(map(ord, folder))), "PNG"))
    return root


def fates(listing):
    return {other.name: other.trait for other in listing.passed_over}


# splits


@pytest.mark.parametrize(
    ("name", "split"),
    [
        *(("train", "train"), ("Training", "train"), ("seg_train", "train"), ("Training Set", "train"), ("val", "val")),
        *(("valid", "val"), ("validation", "val"), ("val2017", "val"), ("images-test", "test"), ("TestSet", "test")),
        *(("trainer", None), ("test2", None), ("pred", None), ("set", None), ("train test", None), ("2017", None)),
    ],
)
def test_usual_names_of_splits_are_known(name, split):
    assert split_of(name) == split


@pytest.mark.parametrize("beside", ["annotations", "seg_pred", "__pycache__"])
def test_a_folder_beside_splits_is_named_and_no_class(tmp_path, beside):
    fill(tmp_path, "train/a", "train/b", "valid/a", "valid/b", "test/a", "test/b", beside)
    listing = list_folder(tmp_path)
    assert listing.class_names == ("a", "b")
    assert {entry.split for entry in listing.entries} == {"train", "val", "test"}
    (other,) = listing.passed_over
    assert (other.name, other.trait, other.reason) == (beside, "no_class", "unused folder, 4 files in it")


def test_splits_within_folders_of_the_same_name_are_entered(tmp_path):
    fill(tmp_path, *(f"seg_{split}/seg_{split}/{label}" for split in ("train", "test") for label in ("sea", "wood")))
    (tmp_path / "seg_train" / "notes.txt").write_text("from 2018")
    listing = list_folder(tmp_path)
    assert listing.class_names == ("sea", "wood")
    assert {entry.name.split("/")[0]: entry.split for entry in listing.entries} == {
        "seg_train": "train",
        "seg_test": "test",
    }
    assert fates(listing) == {"seg_train/notes.txt": "no_class"}


def test_pictures_without_a_class_in_a_split_are_named(tmp_path):
    fill(tmp_path, "train/a", "train/b", "test")
    listing = list_folder(tmp_path)
    assert {entry.split for entry in listing.entries} == {"train"}
    assert fates(listing) == {f"test/{i}.png": "no_class" for i in range(4)}


@pytest.mark.parametrize("classes", [("train", "bus", "car"), ("test", "control"), ("dev", "prod")])
def test_one_class_may_be_called_like_a_split(tmp_path, classes):
    assert list_folder(fill(tmp_path, *classes)).class_names == tuple(sorted(classes))


@pytest.mark.parametrize(
    ("folders", "message"),
    [
        (("train/a", "train/b", "extra"), "'train' may be a split or a class"),
        (("a", "b", "test/a", "test/b"), "'test' may be a split or a class"),
        (("val/a", "test/a", "more"), "One of them must be called train"),
        (("train/a", "training/a", "more"), "each split may be there once"),
    ],
)
def test_what_may_or_may_not_be_splits_is_refused(tmp_path, folders, message):
    with pytest.raises(ValueError, match=message) as raised:
        list_folder(fill(tmp_path, *folders))
    assert str(tmp_path) in str(raised.value)


# what systems leave behind


def test_what_systems_leave_behind_is_no_data_and_counted(tmp_path):
    fill(tmp_path, "cat", "dog")
    tops = ("#recycle", "__MACOSX", ".Spotlight-V100", "$RECYCLE.BIN", "lost+found", "cat/@eaDir", "dog/.thumbnails")
    fill(tmp_path, *(f"{top}/0.png" for top in tops), count=2)
    (tmp_path / "dog" / "Thumbs.db").write_bytes(b"\xd0\xcf")
    listing = list_folder(tmp_path)
    assert listing.class_names == ("cat", "dog")
    assert len(listing.entries) == 8
    assert fates(listing) == dict.fromkeys((*tops, "dog/Thumbs.db"), "hidden")
    reasons = {other.name: other.reason for other in listing.passed_over}
    assert reasons["cat/@eaDir"] == "hidden folder, 2 files in it"
    assert reasons["#recycle"] == "hidden folder, 2 files in it"


# folders in folders, files beside them, names that say nothing


def test_a_file_beside_the_one_folder_is_no_obstacle(tmp_path):
    fill(tmp_path / "set", "photos/cat", "photos/dog")
    (tmp_path / "set" / "README.txt").write_text("Taken in May")
    plain = data.load(f"folder:{tmp_path / 'set'}", image_size=16)
    assert [(other.name, other.trait) for other in plain.passed_over] == [("README.txt", "no_class")]

    archive = tmp_path / "set.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in sorted((tmp_path / "set").rglob("*.*")):
            file.write(path, path.relative_to(tmp_path / "set"))
    packed = data.load(f"folder:{archive}", image_size=16)
    assert packed.class_names == plain.class_names == ("cat", "dog")
    assert [packed.splits[split].names for split in packed.splits] == [
        plain.splits[split].names for split in plain.splits
    ]


def test_a_link_that_leads_back_ends(tmp_path):
    (tmp_path / "again").symlink_to(tmp_path)
    with pytest.raises(ValueError, match="Two classes or more"):
        list_folder(tmp_path)


def test_pictures_without_an_ending_or_with_a_wrong_one_are_used(tmp_path):
    fill(tmp_path, "cat", "dog", ending="")
    fill(tmp_path, "cat", start=4, count=1, ending=".bin")
    fill(tmp_path, "cat", start=5, count=1, ending=".jpg")
    (tmp_path / "cat" / "notes").write_text("no picture")
    assert sum(data.load(f"folder:{tmp_path}", image_size=16).sizes.values()) == 10
    findings = audit(tmp_path).findings.set_index("file")["finding"]
    assert findings["cat/4.bin"] == findings["dog/0"] == "unnamed_picture"
    assert findings["cat/5.jpg"] == "wrong_extension"
    assert findings["cat/notes"] == "other_file"


def test_messages_name_the_archive_that_was_given(tmp_path):
    archive = tmp_path / "one class.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("cat/0.png", encoded(picture(0), "PNG"))
    with pytest.raises(ValueError, match=r"Received: \(\) in '.*one class\.zip'"):
        data.load(f"folder:{archive}", image_size=16)


def test_archives_work_where_the_cache_cannot_be_written(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("EFFNET_CACHE", str(tmp_path / "file" / "cache"))
    archive = shutil.make_archive(tmp_path / "pets", "tar", fill(tmp_path / "pets", "cat", "dog"))
    assert sum(data.load(f"folder:{archive}", image_size=16).sizes.values()) == 8


# accounting


def test_every_file_of_a_phone_a_nas_and_a_mac_is_accounted_for(tmp_path):
    fill(tmp_path, "Café", "strand", "strand/@eaDir/0.png", "strand/2024", ".Trashes/501", "__MACOSX/strand")
    (tmp_path / "strand" / "._0.png").write_bytes(b"\0\5\x16\7")
    (tmp_path / "strand" / "IMG_0001.HEIC").write_bytes(b"\0\0\0\x18ftypheic" + bytes(400))
    (tmp_path / "strand" / "film.mp4").write_bytes(b"\0\0\0\x20ftypisom" + bytes(200))
    (tmp_path / "strand" / "cut.jpg").write_bytes(encoded(picture(5))[:500])
    (tmp_path / ".DS_Store").write_bytes(b"\0\0\0\1Bud1")
    (tmp_path / "list.xlsx").write_bytes(b"PK\3\4")
    with pytest.warns(data.LeftOutWarning, match="2 of 14"):
        dataset = data.load(f"folder:{tmp_path}", image_size=16)
    known = {name for files in dataset.splits.values() for name in files.names}
    known |= {name for name, _ in dataset.left_out} | {other.name for other in dataset.passed_over}
    files = [path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file()]
    lost = [file for file in files if not known & {each.as_posix() for each in (file, *file.parents)}]
    assert lost == []
    assert set(dict(dataset.left_out)) == {"strand/IMG_0001.HEIC", "strand/cut.jpg"}
    report = audit(tmp_path)
    assert report.usable == sum(dataset.sizes.values())
    assert {"strand/IMG_0001.HEIC", "strand/cut.jpg", "strand/film.mp4"} <= set(report.findings["file"])
    fit = training.fit_head(tiny_classifier(2, image_size=32), dataclasses.replace(dataset, image_size=32), epochs=1)
    assert fit.trained == ("head",)
