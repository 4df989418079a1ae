"""Decoded images are kept in memory, in a file or not at all; the batches are the same in each case."""

from effnet_helpers import data, machine
from effnet_helpers.data import pixels

import numpy as np
import pytest
from PIL import Image

SIZE = 24


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("EFFNET_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def pets(tmp_path_factory):
    root = tmp_path_factory.mktemp("pets")
    write_pictures(root, 40)
    return root


def write_pictures(root, count):
    random = np.random.default_rng(0)
    for i in range(count):
        path = root / ("cat", "dog")[i % 2] / f"{i}.jpg"
        path.parent.mkdir(exist_ok=True)
        coarse = random.integers(0, 256, (4, 5, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((30, 40), Image.Resampling.BICUBIC).save(path)


def load(root):
    return data.load(f"folder:{root}", image_size=SIZE)


def epochs(dataset, cache, count=2):
    batches = dataset.batches("train", 8, shuffle=True, augment={"translation": 0.1}, cache=cache, seed=3)
    return np.concatenate([images.numpy() for _ in range(count) for images, _ in batches])


def files():
    return list((machine.cache_dir() / "pixels").glob("*"))


@pytest.fixture
def on_disk(monkeypatch):
    monkeypatch.setattr(pixels, "MEMORY_SHARE", 0)


def test_in_memory_where_it_fits(pets):
    dataset = load(pets)
    np.testing.assert_array_equal(epochs(dataset, cache=True), epochs(dataset, cache=False))
    assert files() == []


def test_in_a_file_where_memory_is_short_and_found_by_the_next_process(pets, on_disk, monkeypatch):
    expected = epochs(load(pets), cache=False)
    np.testing.assert_array_equal(epochs(load(pets), cache=True), expected)
    (path,) = files()
    assert path.stem == load(pets).fingerprint("train")
    monkeypatch.setattr(pixels.pipeline, "from_files", None)  # nothing is decoded again
    np.testing.assert_array_equal(epochs(load(pets), cache=True), expected)


def test_not_at_all_where_the_disk_is_short_too_and_said_once(pets, on_disk, monkeypatch):
    monkeypatch.setattr(pixels, "DISK_SHARE", 0)
    dataset = load(pets)
    with pytest.warns(machine.CacheWarning, match="read anew in each epoch") as caught:
        images = [epochs(dataset, cache=True) for _ in range(2)]
    assert len(caught) == 1
    assert caught[0].filename == __file__
    for each in images:
        np.testing.assert_array_equal(each, epochs(dataset, cache=False))
    assert files() == []


def test_a_damaged_file_is_read_anew_and_said(pets, on_disk):
    expected = epochs(load(pets), cache=True)
    (path,) = files()
    whole = path.read_bytes()
    path.write_bytes(whole[:-9])
    with pytest.warns(machine.CacheWarning, match=rf"{path.name} in the cache is damaged"):
        np.testing.assert_array_equal(epochs(load(pets), cache=True), expected)
    assert path.read_bytes() == whole


def test_a_cache_that_cannot_be_made_costs_the_cache_and_nothing_else(pets, on_disk, monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("EFFNET_CACHE", str(tmp_path / "file" / "cache"))
    dataset = load(pets)
    with pytest.warns(machine.CacheWarning, match="read anew in each epoch"):
        np.testing.assert_array_equal(epochs(dataset, cache=True), epochs(dataset, cache=False))
