"""Sets of tensorflow_datasets: real builders on miniature archives, odd records, and everything that can be missing."""

import functools
import hashlib
import http.server
import io
import shutil
import socket
import tarfile
import threading
from collections import Counter

from effnet_helpers import data, imagenet, machine, models
from effnet_helpers.data import tfds, tfds_prepare
from effnet_helpers.preprocessing import load_image

import mini_tfds
import numpy as np
import pytest
from mini_tfds import downloaded, encoded
from PIL import Image

WHY_UNREACHABLE = machine.why_unreachable


@pytest.fixture(scope="session")
def dogs(tmp_path_factory):
    """The folder in which the miniature of Stanford Dogs is prepared."""
    folder = tmp_path_factory.mktemp("dogs")
    mini_tfds.prepare_stanford_dogs(folder)
    return folder


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    """Fails a test that asks the network without having said what it should find."""
    monkeypatch.setattr(machine, "why_unreachable", lambda url: pytest.fail(f"asked the network for {url}"))


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Sends tfds and our cache to empty folders; returns the one of tfds."""
    monkeypatch.setenv("EFFNET_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "prepared"))
    return tmp_path / "prepared"


def names(listing):
    return [entry.name for entry in listing.entries]


def written(place):
    """What was written out to the cache."""
    return sorted(path.name for path in (place.parent / "cache" / "published").iterdir())


def collect(batches):
    images, labels = zip(*((images.numpy(), labels.numpy()) for images, labels in batches), strict=True)
    return np.concatenate(images), np.concatenate(labels)


# --- real builders ----------------------------------------------------------------------------------------------------


def test_stanford_dogs_comes_out_of_its_real_builder_as_it_went_in(dogs, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(dogs))
    dataset = data.load("stanford_dogs", image_size=64)
    assert dataset.num_classes == 120
    assert dataset.sizes == {"train": 480, "val": 120, "test": 360}
    assert dataset.class_names[:2] == ("Chihuahua", "Japanese spaniel")
    assert dataset.class_names[-1] == "African hunting dog"
    assert list(dataset.wordnet_ids) == [folder[:9] for folder in mini_tfds.STANFORD_DOGS]
    assert "probably seen" in dataset.provenance.note
    assert "vision.stanford.edu" in dataset.provenance.source

    (archive,) = (content for url, content in mini_tfds.stanford_dogs_archives().items() if url.endswith("images.tar"))
    with tarfile.open(fileobj=io.BytesIO(archive)) as images:
        breeds = {
            hashlib.sha256(images.extractfile(member).read()).hexdigest(): member.name.split("/")[1][:9]
            for member in images
        }
    assert len(breeds) == 960
    for split, files in dataset.splits.items():
        expected = [breeds.pop(digest) for digest in files.digests]
        assert [dataset.wordnet_ids[label] for label in files.labels] == expected
        assert all(name.startswith("test/") == (split == "test") for name in files.names)
    assert not breeds


def test_all_breeds_of_stanford_dogs_are_classes_of_imagenet(dogs):
    tfds_module = tfds_prepare.import_tfds()
    labels = tfds_module.builder("stanford_dogs", data_dir=dogs).info.features["label"].names
    indices = [imagenet.class_index(label[:9]) for label in labels]
    assert len(set(indices)) == 120
    classifier = models.build_imagenet_classifier("Lite0", weights=None)
    assert models.restrict_to_wordnet_ids(classifier, [label[:9] for label in labels]).output_shape == (None, 120)


def test_a_set_with_train_only_is_cut_in_three_and_tells_its_two_stages(place, capfd):
    with downloaded("tf_flowers", place, mini_tfds.tf_flowers_archives()):
        dataset = data.load("tfds:tf_flowers", image_size=64)
    assert dataset.class_names == ("dandelion", "daisy", "tulips", "sunflowers", "roses")
    assert dataset.wordnet_ids == ()
    assert dataset.sizes == {"train": 19, "val": 5, "test": 6}
    assert all(name.startswith("train/") for files in dataset.splits.values() for name in files.names)
    assert len({name for files in dataset.splits.values() for name in files.names}) == 30
    images, labels = collect(dataset.batches("test", shuffle=True))
    assert images.shape == (6, 64, 64, 3)
    assert sorted(labels) == sorted(dataset.labels("test"))
    printed = capfd.readouterr()
    assert printed.err == ""
    first, second = printed.out.splitlines()
    assert first.startswith("tf_flowers: preparing it in ")
    assert second == "tf_flowers: writing its images to the cache, once"
    data.load("tfds:tf_flowers", image_size=64)
    assert capfd.readouterr().out == ""


def test_grey_images_come_out_exactly(place):
    with downloaded("mnist_corrupted", place, mini_tfds.mnist_corrupted_archives()):
        dataset = data.load("tfds:mnist_corrupted/identity:1.0.0", image_size=28)
    assert dataset.class_names == tuple("0123456789")
    assert dataset.sizes == {"train": 40 - 10, "val": 10, "test": 20}
    images, labels = collect(dataset.batches("test"))
    expected = {mini_tfds.mnist_image("test", i).tobytes(): i % 10 for i in range(20)}
    for image, label in zip(images, labels, strict=True):
        assert (image == image[..., :1]).all()
        assert expected.pop(image[..., 0].astype(np.uint8).tobytes()) == label
    assert not expected
    again = tfds.list_tfds("mnist_corrupted/identity:1.0.0")  # with a version given, tfds reads it without its builder
    assert names(again) == sorted(name for files in dataset.splits.values() for name in files.names)


def test_bare_wordnet_ids_get_names_and_the_validation_split_becomes_the_test_split(place):
    with downloaded("imagenette", place, mini_tfds.imagenette_archives()):
        dataset = data.load("tfds:imagenette/160px-v2", image_size=64)
    assert dataset.class_names[:3] == ("tench", "English springer", "cassette player")
    assert dataset.wordnet_ids[:2] == ("n01440764", "n02102040")
    assert dataset.sizes == {"train": 30, "val": 10, "test": 20}
    assert all(name.startswith("val/") for name in dataset.splits["test"].names)


def test_of_several_images_and_labels_those_named_for_training_are_used(place):
    with downloaded("oxford_iiit_pet", place, mini_tfds.oxford_iiit_pet_archives()):
        dataset = data.load("tfds:oxford_iiit_pet", image_size=64)
    assert dataset.num_classes == 37
    assert {dataset.class_names[label] for label in dataset.labels("train")} == set(mini_tfds.PETS)
    assert dataset.sizes == {"train": 12, "val": 3, "test": 9}
    files = dataset.splits["test"]
    assert all(name.endswith(".jpg") for name in files.names)


# --- odd sets ---------------------------------------------------------------------------------------------------------


def jpeg(number, size=(48, 40)):
    return encoded(mini_tfds.crop(0, number, size), "JPEG")


@pytest.fixture(scope="session")
def tiny_class():
    module = tfds_prepare.import_tfds()

    class EffnetTiny(module.core.GeneratorBasedBuilder):
        """A set whose splits, `{name: [(content, label), …]}`, features and address are set by a test."""

        VERSION = module.core.Version("1.0.0")
        splits = None
        url = ""
        keys = ("image", "label")
        features = None

        def _info(self):
            features = module.features.FeaturesDict(self.features)
            return module.core.DatasetInfo(builder=self, features=features, supervised_keys=self.keys)

        def _split_generators(self, dl_manager):
            if self.url:
                dl_manager.download(self.url)
            return {split: self._generate_examples(records) for split, records in self.splits.items()}

        def _generate_examples(self, records):
            for i, (content, label) in enumerate(records):
                yield i, {"image": io.BytesIO(content), "label": label}

    return EffnetTiny


@pytest.fixture
def tiny(tiny_class, place, monkeypatch):
    """Gives a function that says what is in the set `effnet_tiny`."""
    features = tfds_prepare.import_tfds().features

    def define(splits=None, *, names=("a", "b"), **attributes):
        attributes.setdefault("features", {"image": features.Image(), "label": features.ClassLabel(names=list(names))})
        attributes["splits"] = splits or {"train": [(jpeg(i), i % 2) for i in range(20)]}
        for name, value in attributes.items():
            monkeypatch.setattr(tiny_class, name, value)

    return define


def test_every_encoding_comes_out_right_under_a_suffix_of_its_own(tiny):
    picture = mini_tfds.crop(3, 1, (40, 40))
    grey = picture.convert("L")
    grey16 = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    contents = {
        ".jpg": [encoded(each, "JPEG") for each in (picture, grey, picture.convert("CMYK"))],
        ".png": [encoded(each, "PNG") for each in (picture, grey, grey16, picture.convert("RGBA"))],
        ".bmp": [encoded(picture, "BMP")],
        ".gif": [encoded(picture.quantize(), "GIF")],
        ".webp": [encoded(picture, "WEBP", lossless=True)],
        ".unknown": [encoded(picture, "TIFF")],
    }
    every = [content for each in contents.values() for content in each]
    tiny({"train": [(content, i % 2) for i, content in enumerate(every)]})
    with pytest.warns(data.LeftOutWarning):
        dataset = data.load("tfds:effnet_tiny", image_size=24)
    ((name, _),) = dataset.left_out
    assert name.endswith(".unknown")
    read = [(files.path(i), files.digests[i]) for files in dataset.splits.values() for i in range(len(files))]
    suffixes = sorted(path.suffix for path, _ in read)
    assert suffixes == sorted(suffix for suffix, each in contents.items() for _ in each if suffix != ".unknown")
    for path, digest in read:
        (content,) = (content for content in every if hashlib.sha256(content).hexdigest() == digest)
        is_grey = Image.open(io.BytesIO(content)).mode in ("L", "I;16")
        expected = np.asarray(grey.convert("RGB") if is_grey else picture, dtype=np.float32)
        tolerance = {".jpg": 12, ".gif": 12}.get(path.suffix, 0.5)
        assert np.abs(load_image(path) - expected).mean() <= tolerance, path.name


def test_records_without_a_label_are_left_out_and_counted(tiny):
    labelled = [(jpeg(i), i % 2) for i in range(20)]
    tiny({"train": [*labelled, (jpeg(90), -1)], "test": [(jpeg(i), i % 2 if i < 36 else -1) for i in range(30, 40)]})
    found = tfds.list_tfds("effnet_tiny")
    assert Counter(entry.split for entry in found.entries) == {"train": 20, "test": 6}
    assert [(each.name, each.reason) for each in found.passed_over] == [
        ("train", "1 records without a label"),
        ("test", "4 records without a label"),
    ]


def test_the_validation_split_becomes_the_test_split_where_that_has_no_labels(tiny):
    labels = {"train": (0, 1), "validation": (0, 1), "test": (-1, -1)}
    tiny({name: [(jpeg(i, (40 + len(name), 40)), pair[i % 2]) for i in range(10)] for name, pair in labels.items()})
    dataset = data.load("tfds:effnet_tiny", image_size=24)
    assert dataset.sizes == {"train": 8, "val": 2, "test": 10}
    assert all(name.startswith("val/") for name in dataset.splits["test"].names)


def test_official_splits_are_all_kept(tiny):
    tiny({name: [(jpeg(k + i), i % 2) for i in range(k + 4)] for name, k in (("train", 20), ("val", 0), ("test", 50))})
    assert data.load("tfds:effnet_tiny", image_size=24).sizes == {"train": 24, "val": 4, "test": 54}


def test_a_single_split_is_train_and_without_train_there_is_nothing_to_learn_from(tiny, place):
    tiny({"test": [(jpeg(i), i % 2) for i in range(20)]})
    assert sum(data.load("tfds:effnet_tiny", image_size=24).sizes.values()) == 20
    shutil.rmtree(place)
    tiny({"one": [(jpeg(0), 0)], "two": [(jpeg(1), 1)]})
    with pytest.raises(ValueError, match=r"no train split\. Received: the splits \['one', 'two'\]"):
        tfds.list_tfds("effnet_tiny")


def test_classes_whose_names_would_be_the_same_are_told_apart(tiny):
    tiny(names=["n02012849-crane", "n03126707-crane"])
    found = tfds.list_tfds("effnet_tiny")
    assert found.class_names == ("Crane (n02012849)", "Crane (n03126707)")
    assert found.wordnet_ids == ("n02012849", "n03126707")


@pytest.mark.parametrize("names", [("n02012849-crane", "lamp"), ("n99999999-unicorn", "n02012849-crane")])
def test_wordnet_ids_are_kept_for_all_classes_or_none(tiny, names):
    tiny(names=names)
    found = tfds.list_tfds("effnet_tiny")
    assert (found.class_names, found.wordnet_ids) == (names, ())


def test_sets_without_an_image_and_a_label_are_refused_by_their_features(tiny):
    features = tfds_prepare.import_tfds().features
    image, label = features.Image(), features.ClassLabel(num_classes=2)
    floats = features.Image(shape=(8, 8, 1), dtype=np.float32)
    refused = {
        "'caption' (Text), 'image' (Image)": {"image": image, "caption": features.Text()},
        "'label' (Sequence)": {"image": image, "label": features.Sequence(label)},
        "'label' (FeaturesDict)": {"image": image, "label": {"kind": label}},
        "'label' (Scalar)": {"image": image, "label": features.Scalar(np.int64)},
        "'image' (Video)": {"image": features.Video((None, 8, 8, 3)), "label": label},
        "'image' (Image), 'label' (ClassLabel)": {"image": floats, "label": label},
        "'left' (Image), 'right' (Image)": {"left": image, "right": image, "label": label},
    }
    for message, wrong in refused.items():
        tiny(features=wrong, keys=None)
        with pytest.raises(ValueError, match="no pair of one image") as raised:
            tfds.list_tfds("effnet_tiny")
        assert message in str(raised.value)
    tiny(features={"image": image, "label": label, "id": features.Text()}, keys=("image", "label", "id"))
    module = tfds_prepare.import_tfds()
    assert tfds._image_and_label(module, module.builder("effnet_tiny")) == ("image", "label")


def test_a_set_without_labels_to_train_on_is_refused(tiny):
    tiny({"train": [(jpeg(i), -1) for i in range(4)], "test": [(jpeg(9), 0), (jpeg(10), 1)]})
    with pytest.raises(ValueError, match="no image with a label to train on"):
        tfds.list_tfds("effnet_tiny")


@pytest.mark.parametrize("name", ["stanford_cats", "stanford_dogs:9.9.9", "mnist/nope", "a b", "kaggle:a/b"])
def test_names_that_tfds_does_not_know_are_refused_in_one_sentence(place, name):
    with pytest.raises(ValueError, match="cannot make such a set") as raised:
        data.load(f"tfds:{name}", image_size=24)
    assert str(raised.value).endswith(f"Received: {name!r}")
    assert len(str(raised.value).splitlines()) == 1


# --- limits -----------------------------------------------------------------------------------------------------------


def test_a_limit_takes_the_first_of_each_class_and_split_whether_or_not_the_whole_set_is_in_the_cache(
    dogs, monkeypatch, place
):
    monkeypatch.setenv("TFDS_DATA_DIR", str(dogs))
    limited = tfds.list_tfds("stanford_dogs", 2)
    assert len(written(place)) == 1
    assert written(place)[0].endswith("-first2")
    counts = Counter((entry.split, entry.class_name) for entry in limited.entries)
    assert len(counts) == 240
    assert set(counts.values()) == {2}

    whole = tfds.list_tfds("stanford_dogs")
    assert len(whole.entries) == 960
    first = {}
    for name in names(whole):  # numbers of records
        first.setdefault(name.rpartition("/")[0], []).append(name)
    assert names(limited) == [name for each in first.values() for name in each[:2]]

    served = tfds.list_tfds("stanford_dogs", 2)
    assert served.root == whole.root != limited.root
    assert served.entries == limited.entries
    tfds.list_tfds("stanford_dogs", 3)
    assert len(written(place)) == 2


def cut_records(folder, share):
    """Shortens the files of records in a prepared set."""
    for file in folder.rglob("*.tfrecord*"):
        content = file.read_bytes()
        file.write_bytes(content[: int(len(content) * share)])


def test_with_a_limit_reading_ends_where_every_class_is_full(tiny, place):
    tiny({"train": [(jpeg(i), i % 2) for i in range(300)]})
    tfds.list_tfds("effnet_tiny", 3)
    shutil.rmtree(place.parent / "cache")
    cut_records(place / "effnet_tiny", 0.7)
    assert len(tfds.list_tfds("effnet_tiny", 3).entries) == 6
    with pytest.raises(data.NotPreparedError, match="damaged or incomplete: DataLossError"):
        tfds.list_tfds("effnet_tiny")
    assert len(written(place)) == 1


def test_unreadable_images_count_for_a_limit(tiny):
    tiny({"train": [(b"\xff\xd8 cut" if i < 4 else jpeg(i), i % 2) for i in range(20)]})
    with pytest.warns(data.LeftOutWarning, match="of 12 images"):
        data.load("tfds:effnet_tiny", image_size=24, limit_per_class=6)


# --- what is missing, damaged or was cut short ------------------------------------------------------------------------


def test_writing_out_that_was_cut_short_is_done_again(tiny, place, monkeypatch):
    tiny()
    with monkeypatch.context() as patch:
        patch.setattr(tfds, "_records", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            data.load("tfds:effnet_tiny", image_size=24)
    assert written(place) == []
    assert sum(data.load("tfds:effnet_tiny", image_size=24).sizes.values()) == 20


def test_a_preparation_that_was_cut_short_is_resumed_without_the_network(place, monkeypatch):
    archives = mini_tfds.tf_flowers_archives()
    builder_class = type(tfds_prepare.import_tfds().builder("tf_flowers"))
    generate = builder_class._generate_examples

    def interrupted(self, images_dir_path):
        for i, example in enumerate(generate(self, images_dir_path)):
            if i == 10:
                raise KeyboardInterrupt
            yield example

    with downloaded("tf_flowers", place, archives):
        with monkeypatch.context() as patch:
            patch.setattr(builder_class, "_generate_examples", interrupted)
            with pytest.raises(KeyboardInterrupt):
                tfds.list_tfds("tf_flowers")
        left_by_a_crash = place / "tf_flowers" / "incomplete.ABC123_3.0.1"
        left_by_a_crash.mkdir(parents=True)
        (left_by_a_crash / "dataset_info.json").write_text("{}")
        (left_by_a_crash / "tf_flowers-train.tfrecord-00000-of-00001").write_bytes(b"half")
        assert len(tfds.list_tfds("tf_flowers").entries) == 30


def test_the_size_of_a_set_with_many_configurations_is_a_bound(place, monkeypatch):
    monkeypatch.setattr(machine, "why_unreachable", lambda url: f"no answer from {url}")
    with pytest.raises(data.NotPreparedError, match=r"s3\.amazonaws\.com(.|\n)*size: at most 3[0-9.]+ GiB") as raised:
        tfds.list_tfds("imagenette/160px-v2")
    assert "tfds build imagenette/160px-v2" in str(raised.value)


def test_what_was_still_arriving_is_no_archive(place, monkeypatch):
    arriving = place / "downloads" / "tf_flowers" / "x.tmp.1" / "flower_photos.tgz"
    arriving.parent.mkdir(parents=True)
    arriving.write_bytes(b"half")
    monkeypatch.setattr(machine, "why_unreachable", lambda url: "no network")
    with pytest.raises(data.NotPreparedError, match="no network"):
        tfds.list_tfds("tf_flowers")


def test_a_damaged_download_is_said_with_the_folder_to_delete(place):
    with downloaded("tf_flowers", place, mini_tfds.tf_flowers_archives()):
        (archive,) = (place / "downloads" / "tf_flowers").glob("*.tgz")
        archive.write_bytes(archive.read_bytes()[:-1000])
        with pytest.raises(
            data.NotPreparedError, match=r"could not be prepared(.|\n)*is damaged, delete it: .*"
        ) as raised:
            tfds.list_tfds("tf_flowers")
    assert str(place / "downloads" / "tf_flowers") in str(raised.value)


def test_an_archive_placed_by_hand_is_used_if_its_checksum_is_right(place, monkeypatch):
    archives = mini_tfds.tf_flowers_archives()
    (content,) = archives.values()
    with downloaded("tf_flowers", place, archives):
        shutil.rmtree(place / "downloads" / "tf_flowers")
        by_hand = place / "downloads" / "manual" / "flower_photos.tgz"
        by_hand.parent.mkdir()
        changed = bytearray(content)
        changed[len(content) // 2] ^= 1
        by_hand.write_bytes(changed)
        with pytest.raises(data.NotPreparedError, match=r"NonMatchingChecksumError: .*wrong checksum"):
            tfds.list_tfds("tf_flowers")
        by_hand.write_bytes(content)
        assert len(tfds.list_tfds("tf_flowers").entries) == 30


def url_info(content):
    from tensorflow_datasets.core.download import checksums

    return checksums.UrlInfo(len(content), hashlib.sha256(content).hexdigest(), "images.tar")


def test_a_download_that_breaks_off_or_is_not_what_was_published_is_redone_and_not_used(tiny, place, monkeypatch):
    published = b"the archive that was published" * 1000
    served = [published[:500], b"something else", published]
    announced = [len(published), 14, len(published)]  # bytes

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.send_response(200)
            self.end_headers()

        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", str(announced.pop(0)))
            self.end_headers()
            self.wfile.write(served.pop(0))

        def log_message(self, *_):
            pass

    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(machine, "why_unreachable", WHY_UNREACHABLE)
    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/images.tar"
        tiny(url=url, url_infos={url: url_info(published)})
        with pytest.raises(data.NotPreparedError, match=r"IncompleteRead|NonMatchingChecksum"):
            tfds.list_tfds("effnet_tiny")
        with pytest.raises(data.NotPreparedError, match=r"NonMatchingChecksumError: .*wrong checksum"):
            tfds.list_tfds("effnet_tiny")
        assert len(tfds.list_tfds("effnet_tiny").entries) == 20
        server.shutdown()
    assert served == []
    (kept,) = (place / "downloads" / "effnet_tiny").glob("*.tar")
    assert kept.read_bytes() == published


@pytest.mark.parametrize("harm", ["no description", "half a file", "no file", "a record less"])
def test_a_prepared_set_that_is_not_whole_is_not_trained_on(tiny, place, harm):
    tiny()
    tfds.list_tfds("effnet_tiny")
    shutil.rmtree(place.parent / "cache")
    folder = place / "effnet_tiny" / "1.0.0"
    (records,) = folder.glob("*.tfrecord*")
    if harm == "no description":
        (folder / "dataset_info.json").unlink()
    elif harm == "half a file":
        cut_records(folder, 0.5)
    elif harm == "no file":
        records.unlink()
    else:
        content = records.read_bytes()
        length = int.from_bytes(content[:8], "little") + 16  # of the first record: length, checksum, data, checksum
        records.write_bytes(content[length:])
    with pytest.raises(data.NotPreparedError, match=r"damaged or incomplete.*\nDelete this folder") as raised:
        tfds.list_tfds("effnet_tiny")
    assert str(folder) in str(raised.value)
    shutil.rmtree(folder)
    assert len(tfds.list_tfds("effnet_tiny").entries) == 20


def test_without_network_one_message_says_what_to_do(place, monkeypatch):
    monkeypatch.setattr(machine, "why_unreachable", lambda url: f"no answer from {url}")
    with pytest.raises(data.NotPreparedError) as raised:
        data.load("stanford_dogs", image_size=24)
    message = str(raised.value)
    parts = ("'stanford_dogs'", "778", "stanford_dogs/0.2.0", "tfds build", "TFDS_DATA_DIR", 'dataset="textile"')
    assert [part for part in parts if part not in message] == []
    assert len(message.splitlines()) == 6


def test_the_miniature_is_prepared_as_the_real_set_and_leaves_its_checksums_alone(place, capsys):
    builder = tfds_prepare.import_tfds().builder("stanford_dogs", data_dir=place)
    real = dict(builder.url_infos)
    data.write_miniature_dogs(place, 2, 1)
    assert dict(builder.url_infos) == real
    assert capsys.readouterr().out == ""
    builder = tfds_prepare.import_tfds().builder("stanford_dogs", data_dir=place)
    assert {name: split.num_examples for name, split in builder.info.splits.items()} == {"train": 240, "test": 120}
    records = list(builder.as_dataset("train").as_numpy_iterator())
    assert {record["label"] for record in records} == set(range(120))
    assert len({record["image"].shape for record in records}) > 5  # as in the real set
    data.write_miniature_dogs(place, 2, 1)  # is there already
    with pytest.raises(ValueError, match="data_dir: expected a folder where Stanford Dogs is not prepared in another"):
        data.write_miniature_dogs(place, 3, 1)


def test_with_half_of_the_archives_and_no_network_the_others_are_named_at_once(place, monkeypatch):
    monkeypatch.setattr(machine, "why_unreachable", lambda url: "no network")
    with downloaded("stanford_dogs", place, mini_tfds.stanford_dogs_archives(1, 1)):
        folder = place / "downloads" / "stanford_dogs"
        for archive in [*folder.glob("*imag*"), *folder.glob("*list*")]:
            archive.unlink()
        with pytest.raises(data.NotPreparedError, match=r"prepared \(ConnectionError: no network\)") as raised:
            tfds.list_tfds("stanford_dogs")
    expected = f"Missing, without network to be placed in {place / 'downloads' / 'manual'}: images.tar, lists.tar"
    assert expected in str(raised.value).splitlines()


def test_of_a_set_with_configurations_only_what_this_one_takes_is_missing(place, monkeypatch):
    monkeypatch.setattr(machine, "why_unreachable", lambda url: "no network")
    with downloaded("imagenette", place, mini_tfds.imagenette_archives()):
        with pytest.raises(data.NotPreparedError, match=r"Missing, .*manual: imagenette2-320\.tgz\n"):
            tfds.list_tfds("imagenette/320px-v2")
        assert tfds.list_tfds("imagenette/160px-v2").entries


def test_a_server_that_hangs_keeps_nobody_waiting(tiny, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/images.tar"
        tiny(url=url, url_infos={url: url_info(b"never sent")})
        monkeypatch.setattr(machine, "why_unreachable", functools.partial(WHY_UNREACHABLE, seconds=0.3))
        monkeypatch.setenv("no_proxy", "*")
        with pytest.raises(data.NotPreparedError, match=r"timed out|no answer"):
            tfds.list_tfds("effnet_tiny")


def test_a_download_that_fails_gives_the_same_message(place, monkeypatch):
    from tensorflow_datasets.core.download import downloader

    def fail(*_, **__):
        raise ConnectionError("refused")

    monkeypatch.setattr(machine, "why_unreachable", lambda url: "")
    monkeypatch.setattr(downloader._Downloader, "_sync_download", fail)
    with pytest.raises(data.NotPreparedError, match=r"ConnectionError: refused(.|\n)*Three ways forward"):
        data.load("stanford_dogs", image_size=24)


def test_a_set_to_be_downloaded_by_hand_says_which_file_goes_where(place):
    with pytest.raises(data.NotPreparedError) as raised:
        data.load("tfds:imagenet2012", image_size=24)
    message = str(raised.value)
    parts = ("ILSVRC2012_img_train.tar", "image-net.org", str(place / "downloads" / "manual"), "144.02 GiB")
    assert [part for part in parts if part not in message] == []
    assert "place these files there" in message
