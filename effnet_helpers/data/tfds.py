"""Published sets of images through `tensorflow_datasets` (tfds): its builders, its checksums, its prepared files.

What tfds has prepared is written out once more, as image files in the cache, encoded as they came. From there on such
a set is a folder like any other: one pipeline, one way to split, any image at any time.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from types import ModuleType
from typing import Any

from effnet_helpers import imagenet, machine
from effnet_helpers.data.listing import Entry, Listing, PassedOver, Provenance
from effnet_helpers.data.tfds_prepare import damaged, first_line, import_tfds, prepare

import numpy as np
import tensorflow as tf

INDEX = "index.json"
WORDNET_LABEL = re.compile(r"(n\d{8})(?:-(.+))?")  # ImageNet's identifier, in some sets with a hyphen and the name
SUFFIXES = {b"\xff\xd8": ".jpg", b"\x89PNG": ".png", b"GIF8": ".gif", b"BM": ".bmp", b"RIFF": ".webp"}
NOTES = {
    "stanford_dogs": "Cut from ImageNet: networks trained on ImageNet have probably seen these test images.",
}


def list_tfds(name: str, limit_per_class: int | None = None) -> Listing:
    """Lists the images of a set of tensorflow_datasets; fetches and prepares it where that was never done.

    A test split and a validation split made by its publishers are kept; where only the validation split has labels,
    it becomes the test split. A set with one split is all train, whatever that is called. Records without a label are
    counted in `passed_over`.

    Args:
        name: The set's name, with config and version if wanted: `"stanford_dogs"`, `"beans"`, `"cars196:2.1.0"`,
            `"imagenette/160px-v2"`.
        limit_per_class: Takes so many images of each class from each split, the first in the order of the records,
            which tfds shuffled when it prepared them. What comes behind them is not read.

    Returns:
        A `Listing`.

    Raises:
        ValueError: If there is no such set, or it has no pair of an image and one class label.
        NotPreparedError: If the set is not there and cannot be fetched, or is damaged.
    """
    tfds = import_tfds()
    builder = _builder(tfds, name)
    image_key, label_key = _image_and_label(tfds, builder)
    prepare(builder)
    root, index = _written_out(tfds, builder, image_key, label_key, limit_per_class)
    class_names, wordnet_ids = _classes(builder.info.features[label_key].names)
    entries, taken = [], Counter()
    for file in sorted(index["names"]):
        split, label, _ = file.split("/")
        taken[split, label] += 1
        if limit_per_class is None or taken[split, label] <= limit_per_class:
            entries.append(Entry(file, class_names[int(label)], split))
    splits = {split for split, _ in taken}
    if "train" not in splits:
        raise ValueError(f"{builder.name!r} has no image with a label to train on. Received: {name!r}")
    if "test" not in splits:
        entries = [replace(entry, split="test") if entry.split == "val" else entry for entry in entries]
    unlabelled = index["unlabelled"].items()
    return Listing(
        name=builder.name,
        root=root,
        class_names=class_names,
        entries=tuple(entries),
        passed_over=tuple(PassedOver(split, "no_class", f"{n} records without a label") for split, n in unlabelled),
        provenance=Provenance(
            title=builder.name,
            source=f"tensorflow_datasets {builder.info.full_name}, {builder.info.homepage}",
            licence=builder.info.redistribution_info.license or "not stated by tensorflow_datasets; see its homepage",
            citation=builder.info.citation,
            note=NOTES.get(builder.name, ""),
        ),
        wordnet_ids=wordnet_ids,
        may_lack_classes=True,
    )


def _builder(tfds: ModuleType, name: str) -> Any:
    folder = os.environ.get("TFDS_DATA_DIR")  # asked here, because tfds asks only once, when it is imported
    try:
        return tfds.builder(name, data_dir=Path(folder).expanduser() if folder else None)
    except Exception as error:  # anything from a set that does not exist to a package that it needs
        raise ValueError(
            f"tensorflow_datasets cannot make such a set: {first_line(error)} "
            f"The catalogue: tensorflow.org/datasets/catalog. Received: {name!r}"
        ) from None


def _image_and_label(tfds: ModuleType, builder: Any) -> tuple[str, str]:
    """Returns the names of the one image and the one class label among a set's features."""
    features = builder.info.features
    items = dict(features.items()) if hasattr(features, "items") else {"": features}
    # tfds keeps float images as four bytes a pixel that only look like a picture
    images = [k for k, item in items.items() if isinstance(item, tfds.features.Image) and item.np_dtype != np.float32]
    labels = [k for k, item in items.items() if isinstance(item, tfds.features.ClassLabel)]
    keys = builder.info.supervised_keys
    pair = keys[:2] if keys else (*images, *labels)  # a third key is a weight or a remark
    if len(pair) == 2 and pair[0] in images and pair[1] in labels:
        return pair
    kinds = ", ".join(f"{key!r} ({type(item).__name__})" for key, item in sorted(items.items()))
    raise ValueError(
        f"{builder.name!r} has no pair of one image of whole numbers and one class label. Received: the features "
        f"{kinds}; for training it names {keys}"
    )


def _classes(labels: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Returns readable names of classes, and their WordNet ids where all of them are classes of ImageNet's 1,000.

    `"n02085620-japanese_spaniel"` becomes `"Japanese spaniel"`, `"n01440764"` becomes `"tench"`.
    """
    matches = [WORDNET_LABEL.fullmatch(label) for label in labels]
    indices = [match and imagenet.class_index(match[1]) for match in matches]
    if None in indices:
        return tuple(labels), ()
    ids = tuple(match[1] for match in matches)
    given = [match[2] for match in matches]
    names = [_readable(name) if name else imagenet.class_name(i) for name, i in zip(given, indices, strict=True)]
    counts = Counter(names)  # ImageNet has a crane that flies and one that lifts
    return tuple(f"{name} ({id})" if counts[name] > 1 else name for name, id in zip(names, ids, strict=True)), ids


def _readable(name: str) -> str:
    words = name.replace("_", " ")
    return words[0].upper() + words[1:]


def _written_out(
    tfds: ModuleType, builder: Any, image_key: str, label_key: str, limit_per_class: int | None
) -> tuple[Path, dict]:
    """Writes a prepared set out as image files, once, and returns their folder, and names and counts of what is in it.

    A file's name is `split/label/number`.
    """
    # The description of a prepared set changes with its contents, so that two sets of one name are never mixed up.
    state = sha256((Path(builder.data_path) / "dataset_info.json").read_bytes()).hexdigest()[:12]
    root = machine.writable_folder("published") / f"{builder.info.full_name.replace('/', '-')}-{state}"
    if limit_per_class is not None and not (root / INDEX).exists():  # the whole set would do as well
        root = root.with_name(f"{root.name}-first{limit_per_class}")
    if not (root / INDEX).exists():
        print(f"{builder.name}: writing its images to the cache, once", flush=True)
        # becomes `root` when it is complete
        with tempfile.TemporaryDirectory(prefix=root.name, dir=root.parent, ignore_cleanup_errors=True) as temporary:
            part = Path(temporary, "set")
            _write_images(part, tfds, builder, image_key, label_key, limit_per_class)
            if not (root / INDEX).exists():  # another process may have been faster
                os.replace(part, root)
    return root, json.loads((root / INDEX).read_text(encoding="utf-8"))


def _write_images(
    folder: Path, tfds: ModuleType, builder: Any, image_key: str, label_key: str, limit_per_class: int | None
) -> None:
    names, unlabelled = [], Counter()
    features = builder.info.features
    images = [key for key in features if isinstance(features[key], tfds.features.Image)]
    decoders = dict.fromkeys(images, tfds.decode.SkipDecoding())
    for ours, theirs in _splits(builder).items():
        taken = np.zeros(features[label_key].num_classes, dtype=int)
        for number, content, label in _records(tfds, builder, theirs, decoders, image_key, label_key):
            if label < 0:  # how tfds says that there is none, as in test splits of competitions
                unlabelled[theirs] += 1
            elif limit_per_class is None or taken[label] < limit_per_class:
                taken[label] += 1
                suffix = next((suffix for start, suffix in SUFFIXES.items() if content.startswith(start)), ".unknown")
                names.append(f"{ours}/{label:04d}/{number:07d}{suffix}")
                (folder / names[-1]).parent.mkdir(parents=True, exist_ok=True)
                (folder / names[-1]).write_bytes(content)
            if limit_per_class is not None and taken.min() >= limit_per_class:
                break
    folder.mkdir(exist_ok=True)
    (folder / INDEX).write_text(json.dumps({"names": names, "unlabelled": unlabelled}))


def _records(
    tfds: ModuleType, builder: Any, split: str, decoders: Any, image_key: str, label_key: str
) -> Iterator[tuple[int, bytes, int]]:
    """Yields number, encoded image and label of each record of a split, in the same order on every machine."""
    # One file of records after the other. A cache of records would complain where not all are read.
    config = tfds.ReadConfig(interleave_cycle_length=1, try_autocache=False)
    expected, number = builder.info.splits[split].num_examples, -1
    try:
        records = builder.as_dataset(split=split, decoders=decoders, read_config=config)
        for number, record in enumerate(records.as_numpy_iterator()):
            yield number, record[image_key], int(record[label_key])
    except tf.errors.OpError as error:
        raise damaged(builder, f"{type(error).__name__} while its {split} split was read") from None
    if number + 1 != expected:
        raise damaged(builder, f"its {split} split has {number + 1} records instead of {expected}")


def _splits(builder: Any) -> dict[str, str]:
    """Maps train, val and test to the splits that a set has."""
    names = list(builder.info.splits)
    if "train" not in names and len(names) == 1:
        return {"train": names[0]}
    if "train" not in names:
        raise ValueError(f"{builder.name!r} has no train split. Received: the splits {names}")
    validation = next((name for name in ("validation", "valid", "val") if name in names), None)
    splits = {"train": "train", "val": validation, "test": "test" if "test" in names else None}
    return {ours: theirs for ours, theirs in splits.items() if theirs}
