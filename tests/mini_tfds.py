"""Miniature archives in the publishers' own formats, for the real builders of tensorflow_datasets.

Only where bytes come from, and their registered checksums, belong to the tests: the archives are put where tfds keeps
what it has downloaded. What reads them is tfds, and it still compares them.
"""

import contextlib
import io
import os
import zipfile
from unittest import mock

from effnet_helpers.data import miniature, tfds
from effnet_helpers.data.miniature import annotation, encoded, piece, tar
from effnet_helpers.data.tfds_prepare import import_tfds

import numpy as np
from PIL import Image

STANFORD_DOGS = miniature.STANFORD_DOGS
FLOWERS = ("daisy", "dandelion", "roses", "sunflowers", "tulips")
PETS = ("Abyssinian", "beagle", "pug")  # of 37 breeds; numbers are positions in the alphabet, capitals or not
PET_NUMBERS = {"Abyssinian": 1, "beagle": 5, "pug": 26}


def prepare_stanford_dogs(data_dir, train_per_class=5, test_per_class=3):
    """Leaves Stanford Dogs in miniature, all 120 breeds, prepared by tfds in `data_dir`, a folder for TFDS_DATA_DIR.

    `EFFNET_CACHE` says where its images are written out.
    """
    archives = stanford_dogs_archives(train_per_class, test_per_class)
    with data_dir_of_tfds(data_dir), downloaded("stanford_dogs", data_dir, archives):
        return tfds.list_tfds("stanford_dogs")


@contextlib.contextmanager
def data_dir_of_tfds(data_dir):
    with mock.patch.dict(os.environ, {"TFDS_DATA_DIR": str(data_dir)}):
        yield


@contextlib.contextmanager
def downloaded(name, data_dir, archives):
    """Puts archives, `{address: bytes}`, where tfds would have downloaded them, and registers their checksums."""
    with miniature.downloaded(import_tfds().builder(name, data_dir=data_dir), archives):
        yield


# --- archives ---------------------------------------------------------------------------------------------------------


def stanford_dogs_archives(train_per_class=5, test_per_class=3):
    """images.tar, annotation.tar and lists.tar, as vision.stanford.edu has them, of small pictures and two large."""

    def draw(label, number):
        large = label < 2 and number == 0
        return crop(label, number, (500, 375) if large else (64 + 8 * (number % 5), 64 + 8 * (label % 5)))

    return miniature.stanford_dogs_archives(train_per_class, test_per_class, draw)


def tf_flowers_archives(per_class=6):
    files = {
        f"flower_photos/{name}/{number}_{name}.jpg": encoded(crop(label, number), "JPEG", quality=90)
        for label, name in enumerate(FLOWERS)
        for number in range(per_class)
    }
    files["flower_photos/LICENSE.txt"] = b"CC-BY"
    return {"http://download.tensorflow.org/example_images/flower_photos.tgz": tar(files, "w:gz")}


def mnist_corrupted_archives(train=40, test=20, corruption="identity"):
    """mnist_c.zip: arrays of grey images of 28 pixels a side, digits 0 to 9 in turn."""
    files = {}
    for split, count in {"train": train, "test": test}.items():
        images = np.stack([mnist_image(split, i) for i in range(count)])
        files[f"mnist_c/{corruption}/{split}_images.npy"] = _npy(images[..., None])
        files[f"mnist_c/{corruption}/{split}_labels.npy"] = _npy(np.arange(count) % 10)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return {"https://zenodo.org/record/3239543/files/mnist_c.zip": buffer.getvalue()}


def mnist_image(split, number):
    """The image of a split with a number, uint8 (28, 28)."""
    return np.asarray(crop(number % 10, number + 1000 * (split == "test"), (28, 28)).convert("L"))


def imagenette_archives(train_per_class=4, val_per_class=2):
    """imagenette2-160.tgz: folders with bare WordNet ids, in train and val."""
    labels = import_tfds().builder("imagenette/160px-v2").info.features["label"].names
    files = {
        f"imagenette2-160/{split}/{label}/{split}_{label}_{number}.JPEG": encoded(
            crop(i, number + 100 * (split == "val")), "JPEG"
        )
        for split, count in {"train": train_per_class, "val": val_per_class}.items()
        for i, label in enumerate(labels)
        for number in range(count)
    }
    return {"https://s3.amazonaws.com/fast-ai-imageclas/imagenette2-160.tgz": tar(files, "w:gz")}


def oxford_iiit_pet_archives(train_per_class=5, test_per_class=3):
    """images.tar.gz and annotations.tar.gz (tar, whatever their names say): breed, species, head and outline."""
    images, annotations, lists = {}, {}, {"trainval": "", "test": ""}
    for label, breed in enumerate(PETS):
        for number in range(train_per_class + test_per_class):
            name, picture = f"{breed}_{number + 300}", crop(label, number)
            images[f"images/{name}.jpg"] = encoded(picture, "JPEG")
            outline = Image.fromarray(np.ones((picture.height, picture.width), np.uint8))
            annotations[f"annotations/trimaps/{name}.png"] = encoded(outline, "PNG")
            annotations[f"annotations/xmls/{name}.xml"] = annotation(f"n00000000-{breed}", number, picture.size)
            split = "trainval" if number < train_per_class else "test"
            lists[split] += f"{name} {PET_NUMBERS[breed]} {1 if breed == 'Abyssinian' else 2} 1\n"
    annotations |= {f"annotations/{split}.txt": lines.encode() for split, lines in lists.items()}
    base = "https://thor.robots.ox.ac.uk/~vgg/data/pets/"
    return {f"{base}images.tar.gz": tar(images), f"{base}annotations.tar.gz": tar(annotations)}


# --- pieces -----------------------------------------------------------------------------------------------------------


def crop(label, number, size=(72, 64)):
    return piece(label, number, size)


def _npy(array):
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()
