"""Which choices of fine-tuning help on pictures unlike each other: a line of recipes.csv for every run.

The training loop is written out, so that a choice can be tried before the package has it. Screening compares all
candidates on smaller images and fewer steps, over seeds of training; what wins there is measured at full size over
splits. Rules are compared on test images, too, so those of these sets are no longer untouched. The pictures other than
textile are not part of the course: see `SETS`.
"""

from __future__ import annotations

import csv
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from pathlib import Path

from effnet_helpers import data, evaluation, models, preprocessing, runtime, training
from effnet_helpers.runtime import keras

import numpy as np
import pandas as pd
import tensorflow as tf

from .harness import Line, Row, Settings, Target

OUT = evaluation.MEASURED / "recipes.csv"


@dataclass(frozen=True)
class Pictures:
    """A set to measure on.

    Attributes:
        options: of `data.load`, with the image size of the final measurements.
        screened_at: side in pixels for screening.
        source: where the pictures come from. Folders of that name are looked for in `--sets FOLDER`.
        per_class: training images of each class, or None for all.
        spec: how `data.load` finds them, if not as such a folder.
    """

    options: Mapping[str, object]
    screened_at: int
    source: str
    per_class: int | None = None
    spec: str = ""


TEXTILE = {"image_size": 256, "resize_mode": "pad", "limit_per_class": 500}
SETS = {
    "cats_dogs": Pictures(
        {"image_size": 224},
        128,
        "1,399 photographs in two classes: GitHub, ardamavi/Dog-Cat-Classifier at 9e4f1e1, Data/Train_Data, Apache-2.0",
    ),
    "tiles": Pictures(
        {"image_size": 224, "resize_mode": "pad", "group_by": "tile[0-9]+"},
        128,
        "692 grey images of magnetic tiles, five kinds of defects and none: GitHub, "
        "abin24/Magnetic-tile-defect-datasets. at cc4eb53, MT_X/Imgs without the masks, every third one of MT_Free; "
        "consecutive frames of one tile grouped",
    ),
    "pollen": Pictures(
        {"image_size": 224, "resize_mode": "pad"},
        128,
        "754 micrographs of pollen in 22 classes: GitHub, "
        "NMRL24/pollens-profiling-automated-classification-of-pollen-grains at 9d8ce12, without the copied class "
        "urochloa",
    ),
    "flowers": Pictures(
        {"image_size": 224},
        128,
        "1,292 photographs of flowers in 17 classes (Oxford 17): GitHub, 995114879/17flowers at 876e29c, without 68 "
        "re-encoded copies",
    ),
    "textile": Pictures(TEXTILE, 256, "1,500 simulated textile images in three classes, embedded", spec="textile"),
    "textile_80": Pictures(TEXTILE, 256, "the same, with 80 training images of each class", 80, "textile"),
}


@dataclass(frozen=True)
class Choices:
    """What is tried.

    Attributes:
        from_block: lowest block that trains.
        layers: train so many layers at the top of the backbone instead; 0 goes by the block.
        peak: of the learning rate.
        warmup: share of the steps over which it rises.
        passes: length in passes over the training images, instead of the steps of the stage; 0 goes by the stage.
        head_first: whether the head is fitted before.
        head_norm: statistics of the head's batch normalization: "running" averages, "re-estimated" before each
            validation, or "frozen".
        backbone_norm: batch normalization of the blocks that train: "frozen" or "live".
        keep: which weights are kept: those with the "lowest loss" on validation, or with the "highest accuracy", the
            head among them.
        augment: which pictures a picture may turn into, see `preprocessing.AUGMENTATIONS`.
        views: how many versions of each image are kept if augmented.
        stochastic_depth: whether it acts in the blocks that train.
        smoothing: of labels.
        averaging: momentum of an average of the weights, which is what is validated and kept; 0 for none.
        decay_by_block: factor of the rate for each block further down.
        mixup: parameter of the beta distribution for pairs of kept activations; 0 for none.
        sharpness: radius of sharpness-aware minimization (SAM); 0 for none.
        teacher: a variant whose fine-tuned predictions make half of the targets.
    """

    from_block: str = "block4a"
    layers: int = 0
    peak: float = 3e-4
    warmup: float = 0.1
    passes: int = 0
    head_first: bool = True
    head_norm: str = "re-estimated"
    backbone_norm: str = "frozen"
    keep: str = "highest accuracy"
    augment: str = ""
    views: int = 4
    stochastic_depth: bool = True
    smoothing: float = 0.0
    averaging: float = 0.0
    decay_by_block: float = 1.0
    mixup: float = 0.0
    sharpness: float = 0.0
    teacher: str = ""


BASE = Choices()
CANDIDATES = {
    "lesson 05 until 2026": Choices(peak=5e-4, warmup=1 / 6, passes=3, head_norm="running", keep="lowest loss"),
    "base": BASE,
    "running head norm": replace(BASE, head_norm="running"),
    "frozen head norm": replace(BASE, head_norm="frozen"),
    "peak 1e-4": replace(BASE, peak=1e-4),
    "peak 1e-3": replace(BASE, peak=1e-3),
    "from block5a": replace(BASE, from_block="block5a"),
    "from block6a": replace(BASE, from_block="block6a"),
    "from block6a, peak 1e-4": replace(BASE, from_block="block6a", peak=1e-4),
    "from block2a": replace(BASE, from_block="block2a"),
    "weights averaged": replace(BASE, averaging=0.97),
    "label smoothing": replace(BASE, smoothing=0.1),
    "mirrored": replace(BASE, augment="mirrored"),
    "any way up": replace(BASE, augment="any-way-up"),
    "no warm-up": replace(BASE, warmup=0.0),
    "longer warm-up": replace(BASE, warmup=0.2),
    "no stochastic depth": replace(BASE, stochastic_depth=False),
    "rates by block": replace(BASE, decay_by_block=0.7),
    "last 20 layers": replace(BASE, layers=20),
    "head not first": replace(BASE, head_first=False),
    "live backbone norm": replace(BASE, backbone_norm="live"),
    "mixup": replace(BASE, mixup=0.2),
    "SAM": replace(BASE, sharpness=0.05),
    "taught by Lite2": replace(BASE, teacher="Lite2"),
}


@dataclass(frozen=True)
class Stage:
    """How much work is put into a measurement: its name, steps, and over which seeds of split and of training."""

    name: str
    steps: int
    seeds: tuple[tuple[int, int], ...]
    full_size: bool
    candidates: tuple[str, ...]


SCREENING = Stage("screening", 150, ((0, 0), (1, 1), (2, 2)), False, tuple(CANDIDATES))
TRIALS = tuple(
    Stage(f"trial {steps}", steps, ((0, 0),), False, ("peak 1e-4", "base", "peak 1e-3")) for steps in (30, 50)
)
"""Whether so few steps already tell which peak is best."""
FINAL = Stage("final", 300, tuple((split, split) for split in range(5)), True, ("lesson 05 until 2026", "base"))
BATCH, VALIDATIONS, HEAD_EPOCHS, HEAD_BATCHES = 32, 10, 15, 8


@dataclass(frozen=True)
class Run:
    """A line of recipes.csv; accuracies and losses on validation unless they are called test.

    `trace` lists accuracy, loss and test accuracy at each validation, the head first: for comparing rules of choice.
    """

    stage: str
    set: str
    image_size: int
    split: int
    seed: int
    candidate: str
    choices: str
    steps: int
    train_images: int
    head_accuracy: float
    head_loss: float
    head_test: float
    first_accuracy: float
    first_loss: float
    last_accuracy: float
    last_loss: float
    best_validation: int
    accuracy: float
    loss: float
    test: float
    trace: str
    giga_multiply_adds: float
    seconds: float
    date: str


class _Trainer:
    """A tail on its kept activations, and what is known about each validation."""

    def __init__(self, model: keras.Model, images: data.ImageDataset, choices: Choices, seed: int, targets: np.ndarray):
        self.model, self.choices, self.num_classes = model, choices, images.num_classes
        block = training.lowest_trainable_block(model)
        prefix, self.tail = models.split_at_block(model, block)
        augment = preprocessing.AUGMENTATIONS.get(choices.augment)
        views = choices.views if augment else 1
        splits = ("train", "val", "test")
        self.parts = training.extract_features(prefix, images, splits, BATCH, views=views, augment=augment, seed=seed)
        train = self.parts["train"]
        rows = data.from_arrays(train.values, np.arange(len(train.labels)), BATCH, shuffle=True, seed=seed).repeat()
        self.batches = iter(rows.enumerate().map(self._with_targets(tf.constant(targets), seed)).prefetch(2))
        self.some = list(train.batches(BATCH, shuffle=True, seed=seed + 1).take(HEAD_BATCHES))
        _, self.body = models.split_at_block(models.split_after(model, "head_pool")[0], block)
        self.variables = self.tail.trainable_variables
        above = models.count_multiply_adds(self.tail)
        self.cost_of_step = BATCH * (1 + 2) * above * (2 if choices.sharpness else 1)
        reestimated = BATCH * HEAD_BATCHES if choices.head_norm == "re-estimated" else 0
        self.cost_of_validation = (len(self.parts["val"].labels) + reestimated) * above
        kept = views * images.sizes["train"] + images.sizes["val"]
        self.cost_of_prefix = kept * models.count_multiply_adds(prefix)

    def _with_targets(self, targets: tf.Tensor, seed: int) -> Callable:
        smoothing, mixup = self.choices.smoothing, self.choices.mixup

        def serve(number: tf.Tensor, row: tuple[tf.Tensor, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
            inputs, index = row
            wanted = tf.gather(targets, index % len(targets))
            wanted = wanted * (1 - smoothing) + smoothing / self.num_classes
            if mixup:
                gammas = tf.random.stateless_gamma((2, 1), seed=[seed, tf.cast(number, tf.int32)], alpha=[mixup])
                share = gammas[0, 0] / (gammas[0, 0] + gammas[1, 0])
                inputs = share * inputs + (1 - share) * inputs[::-1]
                wanted = share * wanted + (1 - share) * wanted[::-1]
            return inputs, wanted

        return serve

    def optimizers(self, steps: int) -> list[tuple[keras.optimizers.Optimizer, list]]:
        """An optimizer for all variables, or one for each block with a rate of its own."""
        groups: dict[int, list] = {}
        blocks = [*models.block_names(self.model), None]
        of_layer = {variable.path: models.block_of(layer) for layer in self.tail.layers for variable in layer.variables}
        for variable in self.variables:
            below_head = len(blocks) - 1 - blocks.index(of_layer[variable.path])
            groups.setdefault(below_head if self.choices.decay_by_block != 1 else 0, []).append(variable)
        found = []
        for below_head, variables in groups.items():
            peak = self.choices.peak * self.choices.decay_by_block**below_head
            schedule = training.warmup_cosine(peak, steps, round(self.choices.warmup * steps))
            optimizer = keras.optimizers.Adam(schedule)
            optimizer.build(variables)
            found.append((optimizer, variables))
        return found

    def step_function(self, steps: int) -> Callable:
        optimizers, variables, radius = self.optimizers(steps), self.variables, self.choices.sharpness
        averages = [tf.Variable(variable) for variable in variables] if self.choices.averaging else []
        self.averages = averages

        def gradients(inputs: tf.Tensor, wanted: tf.Tensor) -> list[tf.Tensor]:
            with tf.GradientTape() as tape:
                predicted = self.tail(inputs, training=True)
                loss = tf.reduce_mean(keras.losses.categorical_crossentropy(wanted, predicted))
            return tape.gradient(loss, [variable.value for variable in variables])

        @tf.function
        def step(inputs: tf.Tensor, wanted: tf.Tensor) -> None:
            found = gradients(inputs, wanted)
            if radius:  # Foret et al., arXiv 2010.01412: the gradient at the worst point of a small ball
                scale = radius / (tf.linalg.global_norm(found) + 1e-12)
                moves = [scale * gradient for gradient in found]
                for variable, move in zip(variables, moves, strict=True):
                    variable.assign(variable + move)
                found = gradients(inputs, wanted)
                for variable, move in zip(variables, moves, strict=True):
                    variable.assign(variable - move)
            by_path = {variable.path: gradient for variable, gradient in zip(variables, found, strict=True)}
            for optimizer, group in optimizers:
                optimizer.apply([by_path[variable.path] for variable in group], group)
            for average, variable in zip(averages, variables, strict=bool(averages)):
                average.assign(self.choices.averaging * average + (1 - self.choices.averaging) * variable)

        return step

    def score(self, split: str) -> tuple[float, float]:
        """Accuracy and cross-entropy on a split, with the weights as they are."""
        part = self.parts[split]
        probabilities = self.tail.predict(part.batches(BATCH), verbose=0)
        right = probabilities[np.arange(len(part.labels)), part.labels]
        return float((probabilities.argmax(axis=1) == part.labels).mean()), float(-np.log(right + 1e-12).mean())

    def validate(self) -> tuple[float, float, float, list[np.ndarray]]:
        """Accuracy, loss, test accuracy and the weights that gave them; those in training stay what they were."""
        in_training = self.model.get_weights()
        for variable, average in zip(self.variables if self.averages else [], self.averages, strict=True):
            variable.assign(average)
        if self.choices.head_norm == "re-estimated" or self.averages:
            pooled = np.concatenate([self.body.predict_on_batch(inputs) for inputs, _ in self.some])
            norm = self.model.get_layer("head_bn")
            norm.moving_mean.assign(pooled.mean(axis=0))
            norm.moving_variance.assign(pooled.var(axis=0))
        result = (*self.score("val"), self.score("test")[0], self.model.get_weights())
        self.model.set_weights(in_training)
        return result

    def train(self, steps: int) -> pd.DataFrame:
        """Trains; the model then has the weights that were kept. Returns a row for each validation, the head first."""
        every = math.ceil(steps / VALIDATIONS)
        step = self.step_function(steps)
        scores = [(*self.score("val"), self.score("test")[0])]
        kept = self.model.get_weights()
        for number in range(1, steps + 1):
            step(*next(self.batches))
            if number % every and number != steps:
                continue
            accuracy, loss, test, weights = self.validate()
            scores.append((accuracy, loss, test))
            if best_validation(scores, self.choices.keep) == len(scores) - 1:
                kept = weights
        self.best = best_validation(scores, self.choices.keep)
        self.model.set_weights(kept)
        return pd.DataFrame(scores, columns=["accuracy", "loss", "test"])


def best_validation(scores: Sequence[Sequence[float]], keep: str) -> int:
    """Which of several `(accuracy, loss, …)` is kept; the first one is the head's."""
    if keep == "lowest loss":
        return 1 + int(np.argmin([loss for _, loss, *_ in scores[1:]]))
    return max(range(len(scores)), key=lambda number: (scores[number][0], -scores[number][1]))


def prepare(model: keras.Model, choices: Choices) -> None:
    """Says what of a model trains, and how."""
    models.unfreeze_blocks(model, from_block=choices.from_block)
    layers = [layer for layer in model.layers if models.block_of(layer)]
    for number, layer in enumerate(layers):
        is_norm = isinstance(layer, keras.layers.BatchNormalization)
        if choices.layers:
            layer.trainable = number >= len(layers) - choices.layers and not is_norm
        elif is_norm and choices.backbone_norm == "live":
            blocks = models.block_names(model)
            layer.trainable = blocks.index(models.block_of(layer)) >= blocks.index(choices.from_block)
        if isinstance(layer, keras.layers.Dropout) and not choices.stochastic_depth:
            layer.rate = 0.0
    model.get_layer("head_bn").trainable = choices.head_norm != "frozen"


def fitted(variant: str, images: data.ImageDataset, choices: Choices, seed: int) -> keras.Model:
    """A classifier with its head fitted, or new."""
    runtime.set_seed(seed)
    model = models.add_head(models.build_backbone(variant, image_size=images.image_size), images.num_classes)
    if choices.head_first:
        training.fit_head(model, images, epochs=HEAD_EPOCHS, seed=seed)
    return model


def targets(images: data.ImageDataset, choices: Choices, steps: int, seed: int) -> np.ndarray:
    """What the training images should be called: float32 (images, classes), half of it a teacher's opinion if asked."""
    one_hot = np.eye(images.num_classes, dtype="float32")[images.labels("train")]
    if not choices.teacher:
        return one_hot
    teacher = fitted(choices.teacher, images, BASE, seed)
    prepare(teacher, replace(BASE, from_block="block6a"))
    _Trainer(teacher, images, BASE, seed, one_hot).train(steps)
    return (one_hot + teacher.predict(images.batches("train", BATCH), verbose=0)) / 2


def load(name: str, folder: Path | None, image_size: int, split: int) -> data.ImageDataset:
    """Loads one of `SETS`."""
    pictures = SETS[name]
    spec = pictures.spec or f"folder:{folder / name}"
    images = data.load(spec, **{**pictures.options, "image_size": image_size}, split_seed=split)
    return images.with_fewer(pictures.per_class, seed=split) if pictures.per_class else images


def measure(stage: Stage, name: str, candidate: str, split: int, seed: int, folder: Path | None) -> Run:
    """Trains once."""
    choices, pictures = CANDIDATES[candidate], SETS[name]
    image_size = pictures.options["image_size"] if stage.full_size else pictures.screened_at
    images = load(name, folder, image_size, split)
    steps = choices.passes * math.ceil(images.sizes["train"] / BATCH) or stage.steps
    wanted = targets(images, choices, steps, seed)
    model = fitted("Lite0", images, choices, seed)
    prepare(model, choices)
    runtime.set_seed(seed)
    started = time.perf_counter()
    trainer = _Trainer(model, images, choices, seed, wanted)
    scores = trainer.train(steps)
    seconds = time.perf_counter() - started
    cost = trainer.cost_of_prefix + steps * trainer.cost_of_step + VALIDATIONS * trainer.cost_of_validation
    trace = scores.round(4).to_numpy().tolist()
    (head, first, *_, last), best = trace, trainer.best
    different = {key: value for key, value in asdict(choices).items() if value != getattr(BASE, key)}
    return Run(
        stage.name, name, image_size, split, seed, candidate, json.dumps(different), steps, images.sizes["train"],
        *head, *first[:2], *last[:2], best, *trace[best], json.dumps(trace),
        round(cost / 1e9, 1), round(seconds, 1), f"{datetime.now(UTC):%Y-%m-%d}",
    )  # fmt: skip


def read(path: Path) -> pd.DataFrame:
    """Reads what was measured so far; an empty table if there is nothing."""
    columns = [field.name for field in fields(Run)]
    return pd.read_csv(path, dtype=str)[columns] if path.exists() else pd.DataFrame(columns=columns)


def missing(stage: Stage, names: Sequence[str], done: pd.DataFrame) -> Iterator[tuple[str, str, int, int]]:
    """Yields what is not yet measured: all candidates and sets with the first seed, then with the next."""
    known = set(done[["stage", "set", "split", "seed", "candidate"]].itertuples(index=False, name=None))
    for split, seed in stage.seeds:
        for candidate in stage.candidates:
            for name in names:
                if (stage.name, name, str(split), str(seed), candidate) not in known:
                    yield name, candidate, split, seed


def append(path: Path, run: Run) -> None:
    """Adds a line, in one write."""
    new = not path.exists()
    with path.open("a", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Run)], lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerow(asdict(run))


def compared(table: pd.DataFrame, candidate: str, other: str) -> pd.DataFrame:
    """`evaluation.paired_differences` of two candidates: a row for each set, and for all."""
    return evaluation.paired_differences(table, [candidate], other).drop(columns="candidate").set_index("set")


def _run(settings: Settings) -> Iterator[Line]:
    out = settings.folder / "recipes.csv" if settings.tiny else OUT
    names = [
        name for name, pictures in SETS.items() if pictures.spec or (settings.sets and (settings.sets / name).is_dir())
    ]
    for stage in (SCREENING, *TRIALS, FINAL):
        if settings.tiny:
            stage = replace(stage, steps=2, seeds=stage.seeds[:1], candidates=stage.candidates[:2])
        for name, candidate, split, seed in missing(stage, names, read(out)):
            run = measure(stage, name, candidate, split, seed, settings.sets)
            print(
                f"{run.stage} {name} {split} {seed} {candidate}: head {run.head_accuracy}/{run.head_test}, first "
                f"{run.first_accuracy}, kept {run.accuracy}/{run.test} of {run.best_validation}, {run.seconds} s",
                flush=True,
            )
            append(out, run)
            keras.utils.clear_session()
    final = read(out).query("stage == 'final'")
    for name, scores in final.groupby("set"):
        wrong = 100 * (1 - scores.assign(test=scores["test"].astype(float)).groupby("candidate")["test"].mean())
        if {"base", "lesson 05 until 2026"} <= set(wrong.index):
            paired = compared(scores, "base", "lesson 05 until 2026").loc[name]
            yield Line(
                f"{name}: test images wrong, against lesson 05's recipe until 2026", float(wrong["base"]),
                float(wrong["lesson 05 until 2026"]), "%", Target("share", 1.0), int(paired["runs"]),
                f"points more right, paired: {paired['points']:.1f} ({paired['low']:.1f} to {paired['high']:.1f})",
            )  # fmt: skip


ROW = Row("recipes", "recipes of fine-tuning on pictures unlike each other", lambda s: 60 * s.seeds, _run)
