"""Published sets of images through `tensorflow_datasets` (tfds): its builders, its checksums, its prepared files.

What tfds has prepared is written out once more, as image files in the cache, encoded as they came. From there on such
a set is a folder like any other: one pipeline, one way to split, any image at any time.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shutil
import tempfile
from hashlib import sha256
from pathlib import Path
from types import ModuleType
from typing import Any

from effnet_helpers import network, runtime
from effnet_helpers.data.folder import inspect
from effnet_helpers.data.records import Collection, ImageFiles, Provenance

import numpy as np

WORDNET_NAME = re.compile(r"n\d{8}-(.+)")  # ImageNet's identifier, a hyphen, the name
NOTES = {
    "stanford_dogs": "Cut from ImageNet: networks trained on ImageNet have probably seen these test images.",
}


class NotPreparedError(RuntimeError):
    """A set of tensorflow_datasets is not on this computer and cannot be fetched now."""


def find_tfds(name: str) -> Collection:
    """Finds the images of a set of tensorflow_datasets; fetches and prepares it where that was never done.

    A test split and a validation split made by its publishers are kept; where there is only a validation split, it
    becomes the test split.

    Args:
        name: The set's name, with config and version if wanted: `"stanford_dogs"`, `"beans"`, `"cars196:2.1.0"`.

    Returns:
        A `Collection`.

    Raises:
        ValueError: If there is no such set, or it has no pair of an image and one class label.
        NotPreparedError: If the set is not there and cannot be fetched.
    """
    tfds = _import_tfds()
    try:
        builder = tfds.builder(name)
    except (tfds.core.DatasetNotFoundError, ValueError) as error:
        raise ValueError(
            f"tensorflow_datasets cannot make such a set: {str(error).splitlines()[0]} "
            f"The catalogue: tensorflow.org/datasets/catalog. Received: {name!r}"
        ) from None
    image_key, label_key = _image_and_label(tfds, builder)
    if not builder.data_path.exists():  # tfds moves a set to this path when it is complete, never before
        _prepare(tfds, builder)
    root, index = _unpack(tfds, builder, image_key, label_key)

    files = ImageFiles(
        root,
        tuple(index["names"]),
        np.array(index["labels"], dtype=np.int32),
        tuple(index["digests"]),
    )
    provenance = Provenance(
        title=builder.name,
        source=f"tensorflow_datasets {builder.info.full_name}, {builder.info.homepage}",
        licence=builder.info.redistribution_info.license or "not stated by tensorflow_datasets; see its homepage",
        citation=builder.info.citation,
        note=NOTES.get(builder.name, ""),
    )
    return Collection(
        name=builder.name,
        class_names=tuple(readable_name(label) for label in builder.info.features[label_key].names),
        files=files,
        provenance=provenance,
        left_out=tuple((file, reason) for file, reason in index["left_out"]),
        given_splits=np.array([file.partition("/")[0] for file in files.names]),
    )


def readable_name(label: str) -> str:
    """Turns `"n02085620-japanese_spaniel"` into `"Japanese spaniel"` and leaves other names as they are."""
    match = WORDNET_NAME.fullmatch(label)
    if not match:
        return label
    words = match[1].replace("_", " ")
    return words[0].upper() + words[1:]


def _import_tfds() -> ModuleType:
    with runtime.filtered_stderr():
        import tensorflow_datasets as tfds
    tfds.disable_progress_bar()
    return tfds


def _image_and_label(tfds: ModuleType, builder: Any) -> tuple[str, str]:
    """Returns the names of the one image and the one class label among a set's features."""
    features = builder.info.features
    items = dict(features.items()) if hasattr(features, "items") else {}
    images = [key for key, feature in items.items() if isinstance(feature, tfds.features.Image)]
    labels = [key for key, feature in items.items() if isinstance(feature, tfds.features.ClassLabel)]
    pair = builder.info.supervised_keys or (*images, *labels)
    if len(pair) == 2 and pair[0] in images and pair[1] in labels:
        return pair
    raise ValueError(
        f"{builder.name!r} has no pair of an image and one class label. Received: the features {sorted(items)}"
    )


def _prepare(tfds: ModuleType, builder: Any) -> None:
    """Downloads and prepares a set, or says within seconds why not and what to do instead."""
    urls = builder.url_infos
    size = tfds.core.units.Size(sum(info.size for info in urls.values())) if urls else "unknown size"
    where = str(builder.data_path).replace(str(Path.home()), "~", 1)
    problem = network.why_unreachable(next(iter(urls))) if urls else ""
    if not problem:
        print(f"{builder.name}: downloading {size} and preparing it in {where}, once", flush=True)
        try:
            with contextlib.redirect_stdout(io.StringIO()):  # tfds says the same at greater length
                builder.download_and_prepare()
        except Exception as error:  # a download can fail in more ways than tfds has names for
            problem = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no details'}"
    if problem:
        raise NotPreparedError(
            f"{builder.name!r} is not on this computer and could not be fetched ({problem}).\n"
            f"Download size: {size}. Place: {where}\n"
            "Three ways forward:\n"
            f"  1. connect to the internet once and run: tfds build {builder.name}\n"
            "  2. set TFDS_DATA_DIR to a folder in which it is prepared already\n"
            '  3. use dataset="textile", which is embedded and needs no network'
        )


def _unpack(tfds: ModuleType, builder: Any, image_key: str, label_key: str) -> tuple[Path, dict]:
    """Writes a prepared set out as image files, once, and returns their folder and what is known of them."""
    # The description of a prepared set changes with its contents, so that two sets of one name are never mixed up.
    state = sha256((Path(builder.data_path) / "dataset_info.json").read_bytes()).hexdigest()[:12]
    root = runtime.cache_dir() / "tfds" / f"{builder.info.full_name.replace('/', '-')}-{state}"
    index_file = root / "index.json"
    if index_file.exists():
        return root, json.loads(index_file.read_text())
    print(f"{builder.name}: writing its images to the cache, once", flush=True)
    root.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(dir=root.parent, prefix=f"{root.name}-"))  # becomes `root` when it is complete
    try:
        names, labels = [], []
        for ours, theirs in _splits(builder.info.splits).items():
            records = builder.as_dataset(
                split=theirs,
                decoders={image_key: tfds.decode.SkipDecoding()},
                # one file of records after the other, so that an image's number is the same on every machine
                read_config=tfds.ReadConfig(interleave_cycle_length=1),
            )
            for number, record in enumerate(records.as_numpy_iterator()):
                content, label = record[image_key], int(record[label_key])
                suffix = ".png" if content.startswith(b"\x89PNG") else ".jpg"
                name = f"{ours}/{label:04d}/{number:07d}{suffix}"
                (part / name).parent.mkdir(parents=True, exist_ok=True)
                (part / name).write_bytes(content)
                names.append(name)
                labels.append(label)
        order = sorted(range(len(names)), key=names.__getitem__)
        files, left_out = inspect(part, [names[i] for i in order], [labels[i] for i in order])
        index = {
            "names": files.names,
            "labels": files.labels.tolist(),
            "digests": files.digests,
            "left_out": left_out,
        }
        (part / index_file.name).write_text(json.dumps(index))
        if not index_file.exists():  # another process may have been faster
            os.replace(part, root)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return root, json.loads(index_file.read_text())


def _splits(names: Any) -> dict[str, str]:
    """Maps train, val and test to the splits that a set has."""
    validation = next((name for name in ("validation", "valid", "val") if name in names), None)
    splits = {"train": "train", "val": validation, "test": "test" if "test" in names else None}
    if validation and "test" not in names:
        splits |= {"val": None, "test": validation}
    return {ours: theirs for ours, theirs in splits.items() if theirs}
