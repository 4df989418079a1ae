"""Which choices of fine-tuning help on pictures unlike each other: a line of recipes.csv for every run.

Each set of pictures is packed into a folder, with its splits, fitted heads and the network in parts, and `recipe_runs`
trains from there: here, or with many processes on a machine with a GPU. Screening compares all candidates over seeds;
what the package does and did is measured at full length over five splits. Rules are compared on test images, too, so
those of these sets are no longer untouched. The pictures other than textile are not part of the course: see `SETS`.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from effnet_helpers import data, evaluation, machine, models, training
from effnet_helpers.runtime import keras, set_seed

import numpy as np
from PIL import Image

from . import recipe_runs
from .harness import Line, Row, Settings, Target

OUT = evaluation.MEASURED / "recipes.csv"
VARIANT = "Lite0"
BLOCKS = ("block2a", "block4a", "block5a", "block6a")
LAST_LAYERS = 20
HEAD_EPOCHS = 15


@dataclass(frozen=True)
class Pictures:
    """A set to measure on.

    Attributes:
        options: of `data.load`.
        source: where the pictures come from.
        folder: how `data.load` finds them in `--sets FOLDER`, or a specification.
        per_class: training images of each class, or None for all.
    """

    options: Mapping[str, object]
    source: str
    folder: str
    per_class: int | None = None


CATS_DOGS = (
    {"image_size": 224},
    "1,399 photographs in two classes: GitHub, ardamavi/Dog-Cat-Classifier at 9e4f1e1, Data/Train_Data, Apache-2.0",
    "cats_dogs",
)
TILES = (
    {"image_size": 224, "resize_mode": "pad", "group_by": "tile[0-9]+"},
    "710 grey images of magnetic tiles, five kinds of defects and none: GitHub, "
    "abin24/Magnetic-tile-defect-datasets. at cc4eb53, MT_X/Imgs without the masks, of MT_Free every third tile; "
    "frames of one tile, taken one after the other, grouped by tileNNNN_ before the name",
    "tiles",
)
POLLEN = (
    {"image_size": 224, "resize_mode": "pad"},
    "755 micrographs of pollen in 22 classes: GitHub, NMRL24/pollens-profiling-automated-classification-of-pollen-"
    "grains at 9d8ce12, without the copied class urochloa",
    "pollen",
)
FLOWERS = (
    {"image_size": 224},
    "1,292 photographs of flowers in 17 classes (Oxford 17): GitHub, 995114879/17flowers at 876e29c, datas/17flowers "
    "without 68 re-encoded copies",
    "flowers",
)
TEXTILE = (
    {"image_size": 256, "resize_mode": "pad", "limit_per_class": 500},
    "1,500 simulated textile images in three classes, embedded",
    "textile",
)
SETS = {
    "textile": Pictures(*TEXTILE),
    "tiles": Pictures(*TILES),
    "pollen": Pictures(*POLLEN),
    "cats_dogs": Pictures(*CATS_DOGS),
    "flowers": Pictures(*FLOWERS),
    "textile_80": Pictures(*TEXTILE, 80),
    "textile_40": Pictures(*TEXTILE, 40),
    "cats_dogs_40": Pictures(*CATS_DOGS, 40),
    "flowers_8": Pictures(*FLOWERS, 8),
}


def load(pictures: Pictures, sets: Path | None, split: int) -> data.ImageDataset:
    """Loads a set with one of its splits."""
    spec = "textile" if pictures.folder == "textile" else f"folder:{sets / pictures.folder}"
    images = data.load(spec, **pictures.options, split_seed=split)
    return images.with_fewer(pictures.per_class, seed=split) if pictures.per_class else images


def pack(folder: Path, sets: Path | None, names: Sequence[str], seeds: Sequence[tuple[int, int]]) -> None:
    """Writes what `recipe_runs` needs: for each collection of pictures and each set a file, the weights, and the facts.

    Args:
        folder: Where to; made if it is not there.
        sets: The folder that has the collections.
        names: Of `SETS`.
        seeds: Of split and training, for which heads are fitted.
    """
    folder.mkdir(parents=True, exist_ok=True)
    facts, files = {}, {}
    for name in names:
        pictures = SETS[name]
        known = files.setdefault(pictures.folder, {})
        facts[name], arrays = _pack_set(pictures, sets, seeds, known)
        np.savez(folder / f"{name}.npz", **arrays)
    for collection, known in files.items():
        encoded = list(known.values())
        lengths = np.asarray([len(file) for file in encoded])
        np.savez(folder / f"{collection}_files.npz", files=np.frombuffer(b"".join(encoded), np.uint8), lengths=lengths)
    backbone = models.build_backbone(VARIANT, image_size=224)
    np.savez(folder / "weights.npz", **_values(backbone.layers))
    (folder / "facts.json").write_text(json.dumps({"sets": facts}), encoding="utf-8")


def _pack_set(
    pictures: Pictures, sets: Path | None, seeds: Sequence[tuple[int, int]], known: dict[str, bytes]
) -> tuple[dict, dict[str, np.ndarray]]:
    arrays, labels, chosen = {}, {}, {}
    for split, seed in seeds:
        images = load(pictures, sets, split)
        for part in images.sizes:
            rows = []
            for index, label in enumerate(images.labels(part)):
                path = str(images.splits[part].path(index))
                if path not in known:
                    file = io.BytesIO()
                    Image.fromarray(images.image(part, index)).save(file, "JPEG", quality=90)
                    known[path] = file.getvalue()
                rows.append(list(known).index(path))
                labels[rows[-1]] = label
            arrays[f"{part}_{split}"] = np.asarray(rows)
        set_seed(seed)
        model = models.add_head(models.build_backbone(VARIANT, image_size=images.image_size), images.num_classes)
        fit = training.fit_head(model, images, epochs=HEAD_EPOCHS, seed=seed)
        head = [layer for layer in model.layers if not models.block_of(layer)]
        arrays |= {f"head_{split}_{seed}/{key}": value for key, value in _values(head).items()}
        print(f"{pictures.folder}, split {split}: head {fit.val_accuracy:.3f}", flush=True)
        chosen[f"{split}_{seed}"] = training.choose_recipe(images.sizes["train"], fit.val_accuracy).from_block
    arrays["labels"] = np.asarray([labels.get(row, -1) for row in range(len(known))])
    model = models.add_head(models.build_backbone(VARIANT, image_size=images.image_size), images.num_classes)
    cuts = {block: models.split_at_block(model, block) for block in BLOCKS}
    last = [models.block_of(layer) for layer in model.layers if models.block_of(layer)][-LAST_LAYERS]
    facts = {
        "pictures": f"{pictures.folder}_files",
        "image_size": images.image_size,
        "num_classes": images.num_classes,
        "chosen": chosen,
        "parts": {
            block: {"prefix": json.loads(prefix.to_json()), "tail": json.loads(tail.to_json())}
            for block, (prefix, tail) in cuts.items()
        },
        "multiply_adds": {block: [models.count_multiply_adds(part) for part in parts] for block, parts in cuts.items()},
        "block_of_last": {LAST_LAYERS: max(block for block in BLOCKS if block <= last)},
    }
    return facts, arrays


def _values(layers: Sequence[keras.layers.Layer]) -> dict[str, np.ndarray]:
    """All values of some layers, under the names of layer and variable."""
    return {
        f"{layer.name}/{variable.name}": keras.ops.convert_to_numpy(variable)
        for layer in layers
        for variable in layer.weights
    }


def _run(settings: Settings) -> Iterator[Line]:
    out = settings.folder / "recipes.csv" if settings.tiny else OUT
    names = [
        name
        for name, pictures in SETS.items()
        if pictures.folder == "textile" or (settings.sets and (settings.sets / pictures.folder).is_dir())
    ]
    stages = tuple(recipe_runs.STAGES.values())
    jobs = list(recipe_runs.missing(stages, names, recipe_runs.read(out)))
    if jobs:
        folder = machine.cache_dir() / "recipes"
        pack(folder, settings.sets, names, recipe_runs.FINAL.seeds)
        packed = recipe_runs.Packed(folder)
    for job in jobs:
        run = recipe_runs.measure(packed, job, recipe_runs.STAGES[job.stage])
        print(f"{job}: head {run.head_accuracy}, kept {run.accuracy}, test {run.test}, {run.seconds} s", flush=True)
        recipe_runs.append(out, run)
        keras.utils.clear_session()
    final = recipe_runs.read(out).query("stage == 'final'")
    for name, scores in final.groupby("set"):
        wrong = 100 * (1 - scores.assign(test=scores["test"].astype(float)).groupby("candidate")["test"].mean())
        if {"by the rule", "lesson 05 until 2026"} <= set(wrong.index):
            (paired,) = (
                evaluation.paired_differences(scores, ["by the rule"], "lesson 05 until 2026")
                .query("set != 'all'")
                .to_dict("records")
            )
            yield Line(
                f"{name}: test images wrong, against lesson 05's recipe until 2026", float(wrong["by the rule"]),
                float(wrong["lesson 05 until 2026"]), "%", Target("share", 1.0), int(paired["runs"]),
                f"points more right, paired: {paired['points']:.1f} ({paired['low']:.1f} to {paired['high']:.1f})",
            )  # fmt: skip


ROW = Row("recipes", "recipes of fine-tuning on pictures unlike each other", lambda s: 60 * s.seeds, _run)
