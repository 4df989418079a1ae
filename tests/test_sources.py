"""Folders with splits, tables, archives, groups and copies: which picture may stand in which split."""

import itertools
import shutil

from effnet_helpers import data
from effnet_helpers.data.folder import list_folder
from effnet_helpers.data.sources import list_files

import hostile
import numpy as np
import pandas as pd
import pytest
from PIL import Image


def write(path, seed):
    path.parent.mkdir(parents=True, exist_ok=True)
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    Image.fromarray(coarse).resize((40, 32), Image.Resampling.BICUBIC).save(path, quality=95)


def load(spec, **options):
    return data.load(spec, **{"image_size": 16, **options})


def split_of(dataset):
    """The split of each picture, by its name."""
    return {name: split for split, files in dataset.splits.items() for name in files.names}


@pytest.fixture
def films(tmp_path):
    """Two classes, in each six films of four pictures."""
    for label in ("day", "night"):
        for film in range(6):
            for frame in range(4):
                write(
                    tmp_path / "films" / label / f"film{film}_{frame}.jpg", 100 * film + frame + 7777 * (label == "day")
                )
    return tmp_path / "films"


# folders with splits


@pytest.mark.parametrize("names", [("train", "val", "test"), ("Training", "valid", "TEST")])
def test_splits_of_a_folder_are_kept(tmp_path, names):
    seeds = itertools.count()
    for name, count in zip(names, (4, 2, 3), strict=True):
        for i, label in itertools.product(range(count), "ab"):
            write(tmp_path / name / label / f"{i}.png", next(seeds))
    dataset = load(f"folder:{tmp_path}")
    assert dataset.class_names == ("a", "b")
    assert dataset.sizes == {"train": 8, "val": 4, "test": 6}
    assert set(dataset.splits["val"].names) == {f"{names[1]}/{label}/{i}.png" for label in "ab" for i in range(2)}


def test_a_missing_split_is_cut_from_train(tmp_path):
    for i in range(15):
        for label in ("a", "b"):
            write(tmp_path / "train" / label / f"{i}.png", 2 * i + (label == "a"))
            write(tmp_path / "test" / label / f"{i}.png", 1000 + 2 * i + (label == "a"))
    dataset = load(f"folder:{tmp_path}", val_fraction=0.2)
    assert dataset.sizes == {"train": 24, "val": 6, "test": 30}
    assert all(name.startswith("train/") for name in dataset.splits["val"].names)


def test_splits_without_one_to_train_on_and_doubled_splits_are_refused(tmp_path):
    for name in ("val", "test"):
        write(tmp_path / name / "a" / "0.png", 0)
    with pytest.raises(ValueError, match=r"must be called train.*Received: \['test', 'val'\]"):
        load(f"folder:{tmp_path}")
    for name in ("train", "training"):
        write(tmp_path / name / "a" / "0.png", 0)
    with pytest.raises(ValueError, match="each split may be there once"):
        load(f"folder:{tmp_path}")


def test_a_class_that_is_missing_from_train_is_refused(tmp_path):
    for name, label in (("train/a", 0), ("train/b", 1), ("test/a", 2), ("test/c", 3)):
        for i in range(3):
            write(tmp_path / name / f"{i}.png", 10 * label + i)
    with pytest.raises(ValueError, match=r"1 readable images or more, in the training split.*'c' has 0"):
        load(f"folder:{tmp_path}")


# copies


def test_copies_stay_in_one_split(tmp_path):
    for i in range(12):
        write(tmp_path / "a" / f"{i}.png", i)
        write(tmp_path / "b" / f"{i}.png", 100 + i)
        shutil.copy(tmp_path / "a" / f"{i}.png", tmp_path / "a" / f"copy of {i}.png")
    shutil.copy(tmp_path / "a" / "0.png", tmp_path / "b" / "a copy in another class.png")
    for seed in range(5):
        split = split_of(load(f"folder:{tmp_path}", split_seed=seed))
        assert len(split) == 37
        assert all(split[f"a/{i}.png"] == split[f"a/copy of {i}.png"] for i in range(12))
        assert split["b/a copy in another class.png"] == split["a/0.png"]


def test_copies_across_given_splits_are_left_out_of_the_earlier_one(tmp_path):
    for number, name in enumerate(("train/a", "train/b", "test/a", "test/b", "val/a", "val/b")):
        for i in range(4):
            write(tmp_path / name / f"{i}.png", 10 * number + i)
    shutil.copy(tmp_path / "test/a/0.png", tmp_path / "train/a/leak.png")
    shutil.copy(tmp_path / "test/a/0.png", tmp_path / "val/b/leak.png")
    with pytest.warns(data.LeftOutWarning, match="2 of 26 images cannot be used"):
        dataset = load(f"folder:{tmp_path}")
    assert dict(dataset.left_out) == {
        "train/a/leak.png": "the same picture as test/a/0.png",
        "val/b/leak.png": "the same picture as test/a/0.png",
    }
    assert dataset.sizes == {"train": 8, "val": 8, "test": 8}


# groups


def test_a_pattern_keeps_the_frames_of_a_film_together(films):
    for seed in range(5):
        dataset = load(f"folder:{films}", group_by=r"film\d", split_seed=seed)
        split = split_of(dataset)
        films_in = {part: {name.rsplit("_", 1)[0] for name in files.names} for part, files in dataset.splits.items()}
        assert len(split) == 48
        assert all(split[name] == split[f"{name[:-5]}0.jpg"] for name in split)
        assert all(films_in.values())


def test_a_pattern_with_a_group_takes_that_and_may_join_classes(films):
    split = split_of(load(f"folder:{films}", group_by=r"film(\d)_"))
    assert all(split[name] == split[name.replace("day/", "night/")] for name in split)


@pytest.mark.parametrize(("pattern", "message"), [("film[", "regular expression"), ("^day", "24 of 48 are without")])
def test_patterns_that_cannot_work_are_refused(films, pattern, message):
    with pytest.raises(ValueError, match=message):
        load(f"folder:{films}", group_by=pattern)


# tables


def write_table(path, rows, **columns):
    pd.DataFrame(rows, columns=["path", "label", *columns]).to_csv(path, index=False)


def test_a_table_gives_labels_splits_and_groups(films):
    names = [path.relative_to(films).as_posix() for path in sorted(films.rglob("*.jpg"))]
    table = pd.DataFrame({"path": names, "label": ["dark" if "night" in name else "light" for name in names]})
    table.to_csv(films / "labels.csv", index=False)
    dataset = load(f"csv:{films / 'labels.csv'}")
    assert dataset.class_names == ("dark", "light")
    assert sum(dataset.sizes.values()) == 48

    table.assign(group=[name.split("_")[0] for name in names]).to_csv(films / "grouped.csv", index=False)
    grouped = split_of(load(f"csv:{films / 'grouped.csv'}"))
    assert grouped == split_of(load(f"folder:{films}", group_by="[a-z]+/film[0-9]"))

    given = ["train" if "film5" not in name else "test" for name in names]
    table.assign(split=given).to_csv(films / "split.csv", index=False)
    dataset = load(f"csv:{films / 'split.csv'}")
    assert set(dataset.splits["test"].names) == {name for name in names if "film5" in name}


def test_the_splits_that_were_made_can_be_written_and_loaded_again(films, tmp_path):
    dataset = load(f"folder:{films}", group_by="film[0-9]")
    (tmp_path / "elsewhere").mkdir()
    dataset.to_csv(tmp_path / "elsewhere" / "splits.csv")
    again = load(f"csv:{tmp_path / 'elsewhere' / 'splits.csv'}")
    assert again.class_names == dataset.class_names
    for split in dataset.splits:
        assert [name.split("films/")[1] for name in again.splits[split].names] == list(dataset.splits[split].names)
        np.testing.assert_array_equal(again.labels(split), dataset.labels(split))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,label\na.jpg,cat\n", "Received: 'file', 'label'"),
        ("path,label,colour\na.jpg,cat,red\n", "Received: 'path', 'label', 'colour'"),
        ("path,label\na.jpg,cat\n,dog\n", "Row 3 has no path or no label"),
        ("path,label\na.jpg,cat\n\n.//a.jpg,dog\n", "Rows 2 and 4 have the same path"),
        ("path,label,split\na.jpg,cat,train\nb.jpg,dog,later\n", "split in row 3 must be train, val or test"),
        ("path,label,split\na.jpg,cat,train\nb.jpg,dog,\n", "split in row 3 must be train, val or test"),
        ("path,label\na.jpg,cat\nb.jpg,cat\n", "Two classes or more"),
        ("", "table cannot be read"),
        ("path,label\na.jpg,cat,1,2,3\n", "Expected a CSV file"),
    ],
)
def test_tables_that_cannot_work_are_refused(tmp_path, text, message):
    (tmp_path / "labels.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        load(f"csv:{tmp_path / 'labels.csv'}")


def test_files_that_a_table_names_and_that_are_not_there_are_left_out(films):
    names = [path.relative_to(films).as_posix() for path in sorted(films.rglob("*.jpg"))]
    write_table(films / "labels.csv", [(name, name.split("/")[0]) for name in [*names, "day/lost.jpg"]])
    with pytest.warns(data.LeftOutWarning, match=r"day/lost\.jpg: there is no such file"):
        load(f"csv:{films / 'labels.csv'}")
    with pytest.raises(ValueError, match="table cannot be read"):
        load(f"csv:{films / 'nowhere.csv'}")


# archives


@pytest.mark.parametrize("pack", [hostile.as_zip, hostile.as_tar])
def test_an_archive_is_the_folder_in_it(films, tmp_path, pack):
    archive = tmp_path / ("films.zip" if pack is hostile.as_zip else "films.tar")
    pack(films, archive)
    packed, plain = load(f"folder:{archive}"), load(f"folder:{films}")
    assert (packed.name, packed.class_names, packed.sizes) == ("films", plain.class_names, plain.sizes)
    assert split_of(packed) == split_of(plain)
    assert all(packed.fingerprint(split) == plain.fingerprint(split) for split in plain.splits)


@pytest.mark.parametrize("make", [hostile.hostile_zip, hostile.hostile_tar])
def test_what_an_archive_tries_to_write_elsewhere_is_passed_over_and_said(tmp_path, make):
    archive = tmp_path / "inner" / "bad.archive"
    archive.parent.mkdir()
    make(archive)
    listing = list_files(f"folder:{archive}")
    assert len(listing.entries) >= 6
    assert any(other.trait == "unsafe" and "evil" in other.name for other in listing.passed_over)
    assert not list(tmp_path.rglob("*evil*"))


def test_links_between_class_folders_are_followed_once(films):
    (films / "day" / "all films").symlink_to(films)
    (films / "night" / "more").symlink_to(films / "day", target_is_directory=True)
    listing = list_folder(films)
    assert {other.name: other.trait for other in listing.passed_over}["day/all films"] == "link_loop"
    assert sum(entry.name.startswith("night/more/") for entry in listing.entries) == 24


def test_folders_that_link_into_each_other_end(tmp_path):
    for label, other in (("a", "b"), ("b", "a")):
        write(tmp_path / label / "0.png", 0)
        (tmp_path / label / "other").symlink_to(tmp_path / other)
    listing = list_folder(tmp_path)
    assert sorted(entry.name for entry in listing.entries) == ["a/0.png", "a/other/0.png", "b/0.png", "b/other/0.png"]
    assert {other.name for other in listing.passed_over} == {"a/other/other", "b/other/other"}
