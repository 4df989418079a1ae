import io
import os
import shutil
import subprocess
import sys
import time

from effnet_helpers import data, runtime, specs
from effnet_helpers.data import pipeline
from effnet_helpers.preprocessing import load_image, resize

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

STRENGTHS = {"rotation": 10, "translation": 0.1, "flip": "both", "contrast": 0.2}


def picture(seed, height=40, width=52):
    """A smooth random picture: JPEG keeps it nearly as it is."""
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def write_class(folder, count, seed):
    folder.mkdir(parents=True)
    for i in range(count):
        picture(1000 * seed + i).save(folder / f"{i:02d}.jpg", quality=95)


def jpeg_bytes(image, **options):
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", **options)
    return buffer.getvalue()


@pytest.fixture
def pets(tmp_path):
    """A small folder of three classes, 12, 11 and 10 images."""
    for seed, (name, count) in enumerate({"cat": 12, "dog": 11, "emu": 10}.items()):
        write_class(tmp_path / "pets" / name, count, seed)
    return tmp_path / "pets"


def load(root, **options):
    return data.load(f"folder:{root}", **{"image_size": 24, **options})


def collect(batches):
    """Images and labels of one epoch."""
    images, labels = zip(*((images.numpy(), labels.numpy()) for images, labels in batches), strict=True)
    return np.concatenate(images), np.concatenate(labels)


# specifications


def test_specifications_are_taken_apart():
    assert specs.parse_spec("textile") == ("textile", "")
    assert specs.parse_spec("folder:/photos/C:x") == ("folder", "/photos/C:x")
    assert specs.parse_spec("stanford_dogs") == ("tfds", "stanford_dogs")
    assert specs.parse_spec("tfds:cars196:2.1.0") == ("tfds", "cars196:2.1.0")


@pytest.mark.parametrize(
    ("spec", "nearest"),
    [
        ("textil", "textile"),
        ("folders:/a", "folder"),
        ("stanford-dogs", "stanford_dogs"),
        ("folder:", "folder"),
    ],
)
def test_unknown_specifications_list_the_forms_and_the_nearest(spec, nearest):
    with pytest.raises(ValueError, match=f"Did you mean '{nearest}'") as raised:
        data.load(spec, image_size=24)
    assert all(form in str(raised.value) for form in specs.FORMS)
    assert str(raised.value).endswith(f"Received: {spec!r}")


@pytest.mark.parametrize("spec", ["", None, 3, "qqqq"])
def test_specifications_like_no_form_are_refused_without_a_guess(spec):
    with pytest.raises(ValueError, match="in one of these forms") as raised:
        specs.parse_spec(spec)
    assert "Did you mean" not in str(raised.value)


# textile


def test_textile_is_embedded_balanced_and_said_to_be_simulated():
    dataset = data.load("textile", image_size=256, resize_mode="pad", limit_per_class=500)
    assert dataset.class_names == ("global", "local", "nominal")
    assert dataset.sizes == {"train": 1000, "val": 200, "test": 300}
    assert "simulated" in dataset.provenance.note
    assert "2501.12596" in dataset.provenance.citation
    assert dataset.provenance.licence == "MIT"
    original = load_image(dataset.splits["val"].root / dataset.splits["val"].names[3])
    np.testing.assert_array_equal(dataset.image("val", 3)[3:253, 3:253], original)


# folders with odd files in them


@pytest.fixture
def odd(tmp_path):
    """A folder with every kind of file that turns up in real collections; returns it and what can be read."""
    root = tmp_path / "odd"
    write_class(root / "ordinary", 5, 7)
    folder = root / "strange"
    (folder / ".ipynb_checkpoints").mkdir(parents=True)
    (folder / "more").mkdir()
    exif = Image.Exif()
    exif[0x0112] = 6
    image = picture(0)
    image.save(folder / "plain.jpg")
    image.save(folder / "progressive.JPG", progressive=True)
    image.save(folder / "plain.png")
    image.save(folder / "picture.webp", lossless=True)
    image.save(folder / "picture.bmp")
    image.save(folder / "moving.gif", save_all=True, append_images=[picture(1)])
    image.convert("L").save(folder / "grey.jpg")
    image.convert("L").save(folder / "grey.png")
    image.convert("1").save(folder / "one_bit.png")
    image.convert("P").save(folder / "palette.png")
    image.convert("RGBA").rotate(20).save(folder / "alpha.png")
    image.convert("CMYK").save(folder / "cmyk.jpg")
    image.save(folder / "rotated.jpg", exif=exif)
    image.save(folder / "jpeg_inside.png", format="JPEG")
    image.save(folder / "more" / "deeper.jpeg")
    Image.fromarray(np.arange(40 * 52, dtype=np.uint16).reshape(40, 52) * 31).save(folder / "deep.png")
    (folder / "chatty.jpg").write_bytes(jpeg_bytes(image) + b"\0\0from a camera")
    (folder / "endless.jpg").write_bytes(jpeg_bytes(image)[:-2])
    readable = {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}

    (folder / "truncated.jpg").write_bytes(jpeg_bytes(picture(2, 200, 200), quality=95)[:2000])
    (folder / "truncated.png").write_bytes((folder / "plain.png").read_bytes()[:300])
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "text.jpg").write_text("Dear reader")
    for hidden in ("._plain.jpg", ".ipynb_checkpoints/plain-checkpoint.jpg", "Thumbs.db"):
        shutil.copy(folder / "plain.jpg", folder / hidden)
    (root / ".cache").mkdir()
    (folder / "notes.txt").write_text("not an image by its ending")
    (root / "readme.txt").write_text("beside the classes")
    return root, readable


def test_unreadable_files_are_named_all_at_once_and_left_out(odd):
    root, readable = odd
    with pytest.warns(data.LeftOutWarning) as caught:
        dataset = load(root)
    (warning,) = caught
    assert warning.filename == __file__
    assert "4 of 27 images cannot be used and are left out" in str(warning.message)
    assert dict(dataset.left_out).keys() == {
        f"strange/{name}" for name in ("truncated.jpg", "truncated.png", "empty.jpg", "text.jpg")
    }
    assert all(f"{name}: {reason}" in str(warning.message) for name, reason in dataset.left_out)
    assert dict(dataset.left_out)["strange/empty.jpg"] == "zero bytes"
    assert dict(dataset.left_out)["strange/text.jpg"] == "its content is not a picture"
    assert {name for files in dataset.splits.values() for name in files.names} == readable
    assert dataset.class_names == ("ordinary", "strange")
    assert {other.name: other.trait for other in dataset.passed_over} == {
        ".cache": "hidden",
        "readme.txt": "no_class",
        "strange/._plain.jpg": "hidden",
        "strange/.ipynb_checkpoints": "hidden",
        "strange/Thumbs.db": "hidden",
        "strange/notes.txt": "other_file",
    }


@pytest.mark.filterwarnings("ignore::effnet_helpers.data.LeftOutWarning")
def test_every_readable_file_comes_out_as_load_image_reads_it(odd):
    root, _ = odd
    dataset = load(root, image_size=40, resize_mode="pad")
    for split, files in dataset.splits.items():
        images, _ = collect(dataset.batches(split, 4))
        for name, image in zip(files.names, images, strict=True):
            expected = resize(load_image(root / name), 40, "pad")
            assert np.abs(image - expected).max() <= 2, name


def test_a_jpeg_cut_anywhere_is_found(tmp_path):
    write_class(tmp_path / "a", 3, 0)
    write_class(tmp_path / "b", 3, 1)
    for options in ({}, {"progressive": True}):
        whole = jpeg_bytes(picture(3, 96, 96), quality=90, **options)
        for part in (10, 100, len(whole) // 2, len(whole) * 3 // 4):
            (tmp_path / "a" / f"{len(options)}_{part}.jpg").write_bytes(whole[:part])
    with pytest.warns(data.LeftOutWarning):
        assert len(load(tmp_path).left_out) == 8


@pytest.mark.filterwarnings("ignore::effnet_helpers.data.LeftOutWarning")
def test_damaged_files_are_found_before_training_or_can_be_read(tmp_path):
    """TensorFlow's decoders refuse files that Pillow accepts, and would do so in the middle of an epoch."""
    write_class(tmp_path / "a", 3, 0)
    write_class(tmp_path / "b", 3, 1)
    random = np.random.default_rng(0)
    for suffix, options in {"jpg": {"quality": 90}, "png": {}}.items():
        buffer = io.BytesIO()
        picture(3).save(buffer, {"jpg": "JPEG", "png": "PNG"}[suffix], **options)
        for i in range(60):
            content = bytearray(buffer.getvalue())
            position = int(random.integers(2, len(content))) if i else len(content) - 1
            content[position] ^= 1 << int(random.integers(8))
            (tmp_path / "a" / f"{i}.{suffix}").write_bytes(content)
    dataset = load(tmp_path)
    served = sum(len(collect(dataset.batches(split))[1]) for split in dataset.splits)
    assert served + len(dataset.left_out) == 126
    assert 20 < len(dataset.left_out) < 100


def test_folders_that_cannot_work_are_refused_by_name(tmp_path):
    with pytest.raises(ValueError, match=r"no such folder.*Received: '.*nowhere'"):
        load(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="Two classes or more"):
        load(tmp_path)
    write_class(tmp_path / "cat", 4, 0)
    with pytest.raises(ValueError, match=r"Two classes or more.*Received: \('cat',\)"):
        load(tmp_path)
    (tmp_path / "dog").mkdir()
    write_class(tmp_path / "emu", 3, 1)
    (tmp_path / "emu" / "02.jpg").write_bytes(b"")
    with pytest.raises(ValueError, match="'dog' has 0, 'emu' has 2") as raised:
        load(tmp_path)
    assert "emu/02.jpg: zero bytes" in str(raised.value)


@pytest.mark.parametrize("wrong", [{"image_size": 0}, {"resize_mode": "stretch"}, {"limit_per_class": 2}])
def test_wrong_arguments_of_load_are_named(pets, wrong):
    with pytest.raises(ValueError, match=f"{next(iter(wrong))}.*Received: {next(iter(wrong.values()))!r}"):
        load(pets, **wrong)


# the data set


def test_labels_and_single_images_are_in_the_order_of_unshuffled_batches(pets):
    dataset = load(pets)
    assert dataset.class_names == ("cat", "dog", "emu")
    assert sum(dataset.sizes.values()) == 33
    assert dataset.num_classes == 3
    for split in ("train", "val", "test"):
        batches = dataset.batches(split, 4)
        images, labels = collect(batches)
        assert images.dtype == np.float32
        assert labels.dtype == dataset.labels(split).dtype == np.int32
        assert batches.cardinality() == -(-dataset.sizes[split] // 4)
        np.testing.assert_array_equal(labels, dataset.labels(split))
        np.testing.assert_array_equal(images, [dataset.image(split, i) for i in range(len(images))])
        folders = [name.partition("/")[0] for name in dataset.splits[split].names]
        assert [dataset.class_names[label] for label in labels] == folders
    assert dataset.image("val", -1).dtype == np.uint8
    with pytest.raises(IndexError):
        dataset.image("val", 1000)
    with pytest.raises(ValueError, match=r"train, val, test\. Received: 'validation'"):
        dataset.batches("validation")


def test_the_split_depends_on_its_seed_and_not_on_the_place_of_the_folder(pets, tmp_path):
    moved = shutil.copytree(pets, tmp_path / "elsewhere" / "pets")
    names = [load(root).splits["test"].names for root in (pets, moved)]
    assert names[0] == names[1]
    assert load(pets, split_seed=1).splits["test"].names != names[0]


def test_limit_per_class(pets):
    dataset = load(pets, limit_per_class=5)
    labels = np.concatenate([dataset.labels(split) for split in dataset.splits])
    assert np.bincount(labels).tolist() == [5, 5, 5]


def test_the_fingerprint_follows_pixels_labels_and_order_only(pets, tmp_path):
    before = load(pets).fingerprint("train")
    assert load(shutil.copytree(pets, tmp_path / "copy")).fingerprint("train") == before
    assert load(pets).fingerprint("val") != before
    changed = [load(pets, image_size=25), load(pets, resize_mode="pad"), load(pets, split_seed=1)]
    name = load(pets).splits["train"].names[0]
    picture(99).save(pets / name)
    changed.append(load(pets))
    (pets / "cat").rename(pets / "zebra")
    changed.append(load(pets))
    assert len({before, *(dataset.fingerprint("train") for dataset in changed)}) == 6


# batches


@pytest.mark.parametrize("augment", [None, STRENGTHS])
@pytest.mark.parametrize("shuffle", [False, True])
def test_cached_and_uncached_batches_are_equal_over_two_epochs(pets, shuffle, augment):
    dataset = load(pets)
    options = {"batch_size": 8, "shuffle": shuffle, "augment": augment, "seed": 5}
    plain, cached = (dataset.batches("train", cache=cache, **options) for cache in (False, True))
    assert plain.cardinality() == cached.cardinality() == 3
    assert plain.element_spec == cached.element_spec
    for _ in range(2):
        (images, labels), (cached_images, cached_labels) = collect(plain), collect(cached)
        np.testing.assert_array_equal(labels, cached_labels)
        np.testing.assert_array_equal(images, cached_images)


def test_each_epoch_has_a_new_order_with_every_image_once(pets):
    dataset = load(pets)
    batches = dataset.batches("train", 8, shuffle=True)
    epochs = [collect(batches)[0] for _ in range(3)]
    assert not np.array_equal(epochs[0], epochs[1])
    assert not np.array_equal(epochs[1], epochs[2])
    in_order, _ = collect(dataset.batches("train", 8))
    for epoch in epochs:
        assert sorted(image.tobytes() for image in epoch) == sorted(image.tobytes() for image in in_order)


def test_batches_depend_on_their_seed_and_not_on_the_global_one(pets):
    dataset = load(pets)

    def two_epochs(global_seed, seed):
        runtime.set_seed(global_seed)
        batches = dataset.batches("train", shuffle=True, augment=STRENGTHS, seed=seed)
        return np.concatenate([collect(batches)[0] for _ in range(2)])

    np.testing.assert_array_equal(two_epochs(0, 3), two_epochs(1, 3))
    assert not np.array_equal(two_epochs(0, 3), two_epochs(0, 4))


def test_augmentation_differs_from_batch_to_batch_and_from_epoch_to_epoch(pets):
    dataset = load(pets)
    drawn = []

    def note(images, seed):
        noted = tf.numpy_function(lambda seed: drawn.append(tuple(seed)) or np.float32(0), [seed], tf.float32)
        return images + noted

    batches = dataset.batches("train", 8, augment=note)
    first, second = collect(batches)[0], collect(batches)[0]
    assert len(set(drawn)) == 6
    np.testing.assert_array_equal(first, second)
    augmented = dataset.batches("train", augment={"rotation": 20})
    assert np.abs(collect(augmented)[0] - collect(augmented)[0]).max() > 1


@pytest.mark.release
def test_augmentation_runs_on_the_device_that_is_named_and_gives_back_to_the_cpu():
    """As on a GPU: without a name tf.data runs everything on the CPU."""
    script = (
        "import sys\n"
        "from effnet_helpers.data import pipeline\n"
        "import numpy as np, tensorflow as tf\n"
        "(cpu,) = tf.config.list_physical_devices('CPU')\n"
        "tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)\n"
        "tf.debugging.set_log_device_placement(True)\n"
        "batches = tf.data.Dataset.from_tensors((np.ones((4, 16, 16, 3), np.float32), np.zeros(4, np.int32)))\n"
        "for images, labels in pipeline.augmented(batches, {'rotation': 10}, device=sys.argv[1]):\n"
        "    print('given back to', images.device)\n"
    )
    command, talkative = [sys.executable, "-c", script, "CPU:1"], {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "0"}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=talkative)
    log = (done.stdout + done.stderr).splitlines()
    warps = [line.rpartition("device:")[2] for line in log if "(ImageProjectiveTransformV3)" in line]
    assert set(warps) == {"CPU:1"}
    assert any(line.startswith("given back to") and line.endswith("device:CPU:0") for line in log)


def test_augmentation_runs_on_the_gpu_where_there_is_one(monkeypatch):
    batches = tf.data.Dataset.from_tensors((np.ones((4, 16, 16, 3), np.float32), np.zeros(4, np.int32)))
    named, place = [], tf.device
    monkeypatch.setattr(pipeline.tf, "device", lambda name: named.append(name) or place("CPU:0"))
    for gpu, device in ((None, "CPU:0"), (runtime.Gpu("some", (8, 9)), "GPU:0")):
        monkeypatch.setattr(runtime, "first_gpu", lambda gpu=gpu: gpu)
        pipeline.augmented(batches, {"rotation": 10})
        assert named[-1] == device


def test_arrays_come_in_the_order_of_images(pets, tmp_path):
    dataset = load(pets)
    labels = dataset.labels("train")
    features = np.memmap(tmp_path / "features.bin", dtype=np.float16, mode="w+", shape=(len(labels), 2, 3))
    pixels, _ = collect(dataset.batches("train"))
    features[:] = pixels[:, :2, 0, :]
    arrays = pipeline.from_arrays(features, labels, 8, shuffle=True, seed=5)
    images = dataset.batches("train", 8, shuffle=True, seed=5)
    assert arrays.cardinality() == images.cardinality()
    assert arrays.element_spec[0] == tf.TensorSpec((None, 2, 3), tf.float32)
    for _ in range(2):
        (rows, row_labels), (expected, expected_labels) = collect(arrays), collect(images)
        np.testing.assert_array_equal(rows, expected[:, :2, 0, :])
        np.testing.assert_array_equal(row_labels, expected_labels)
    with pytest.raises(ValueError, match="Received: 3 inputs and 2 labels"):
        pipeline.from_arrays(np.zeros((3, 1)), [0, 1])


def test_files_are_read_once_when_cached_and_stopping_early_is_quiet(pets, capfd):
    dataset = load(pets)
    batches = dataset.batches("train", 4, cache=True, shuffle=True, augment=STRENGTHS)
    shutil.rmtree(pets)
    assert len(list(batches.take(1))) == 1
    assert len(collect(batches)[1]) == dataset.sizes["train"]
    assert capfd.readouterr().err == ""


def test_no_stage_tunes_itself(pets):
    """Whoever lets go of an iterator would wait for the thread that does, see `pipeline.without_autotuning`."""
    dataset = load(pets)
    files = dataset.splits["train"]
    features = np.zeros((len(files), 2), np.float16)
    stages = [
        pipeline.from_arrays(features, files.labels, shuffle=True),
        dataset.batches("train"),
        dataset.batches("train", shuffle=True, balanced=True, cache=True, augment=STRENGTHS),
    ]
    assert [stage.options().autotune.enabled for stage in stages] == [False] * len(stages)


def test_stages_can_be_timed(pets):
    assert pipeline.images_per_second(load(pets).batches("train", 4), seconds=0.2) > 0

    def slow():
        for _ in range(5):
            time.sleep(0.02)
            yield np.zeros((4, 2, 2, 3))

    stage = tf.data.Dataset.from_generator(slow, output_signature=tf.TensorSpec((4, 2, 2, 3)))
    assert 20 < pipeline.images_per_second(stage) < 200  # 20 images in a little over 0.1 seconds
