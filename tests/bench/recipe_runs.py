"""One training with some choices, on pictures that `recipes.pack` has put into a folder.

Plain Keras on whichever backend it has, without this package and without TensorFlow, so that a machine with a GPU and
PyTorch needs nothing but the folder: `KERAS_BACKEND=torch python -m bench.recipe_runs FOLDER --out recipes.csv`.

What it repeats of the package is compared with it by tests. Four candidates that did not gain are no longer here, and
their rows stay in recipes.csv: label smoothing of 0.1, rates that fall by 0.7 from block to block, sharpness-aware
minimization with a radius of 0.05, and a fine-tuned Lite2 whose predictions make half of the targets. The code that
measured them is that of 23d3dd8.
"""

from __future__ import annotations

import csv
import functools
import io
import json
import math
import multiprocessing
import os
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import UTC, datetime
from pathlib import Path

import keras
import numpy as np
import pandas as pd
from keras import ops
from PIL import Image

BATCH, VALIDATIONS, REESTIMATED = 32, 10, 256
VIEWS = 4
SHIFT, ZOOM = 0.05, 0.1
AUGMENTATIONS = {
    "upright": {"turn": 7, "flip": ""},
    "mirrored": {"turn": 7, "flip": "x"},
    "any way up": {"turn": 180, "flip": "xy"},
}
"""As `preprocessing.AUGMENTATIONS`: degrees and mirrors, beside shifts up to `SHIFT` and zoom up to `ZOOM`."""


@dataclass(frozen=True)
class Choices:
    """What is tried.

    Attributes:
        from_block: lowest block that trains, or "rule" for what `training.choose_recipe` says.
        layers: train so many layers at the top of the backbone instead; 0 goes by the block.
        peak: of the learning rate.
        warmup: over how many steps it rises, at most half of all.
        warmup_share: over which share of the steps it rises, instead.
        passes: length in passes over the training images, instead of the steps of the stage; 0 goes by the stage.
        head_first: whether the head is fitted before.
        head_norm: statistics of the head's batch normalization: "running" averages, "re-estimated" before each
            validation, or "frozen".
        backbone_norm: batch normalization of the blocks that train: "frozen" or "live".
        keep: which weights are kept: those with the "lowest loss" on validation, or with the "highest accuracy", the
            head among them.
        augment: which pictures a picture may turn into, one of `AUGMENTATIONS`.
        stochastic_depth: whether it acts in the blocks that train.
        averaging: momentum of an average of the weights, which is what is validated and kept; 0 for none.
        mixup: parameter of the beta distribution for pairs of kept activations; 0 for none.
        batch: images a step.
        optimizer: "adam" or "rmsprop".
    """

    from_block: str = "block4a"
    layers: int = 0
    peak: float = 3e-4
    warmup: int = 30
    warmup_share: float = 0.0
    passes: int = 0
    head_first: bool = True
    head_norm: str = "re-estimated"
    backbone_norm: str = "frozen"
    keep: str = "highest accuracy"
    augment: str = ""
    stochastic_depth: bool = True
    averaging: float = 0.0
    mixup: float = 0.0
    batch: int = BATCH
    optimizer: str = "adam"


BASE = Choices()
AS_BEFORE = Choices(peak=5e-4, warmup_share=1 / 6, passes=3, head_norm="running", keep="lowest loss")
CANDIDATES = {
    "base": BASE,
    "from block6a": replace(BASE, from_block="block6a"),
    "peak 1e-4": replace(BASE, peak=1e-4),
    "peak 1e-3": replace(BASE, peak=1e-3),
    "no warm-up": replace(BASE, warmup=0),
    "head not first": replace(BASE, head_first=False),
    "live backbone norm": replace(BASE, backbone_norm="live"),
    "running head norm": replace(BASE, head_norm="running"),
    "weights averaged": replace(BASE, averaging=0.97),
    "any way up": replace(BASE, augment="any way up"),
    "mirrored": replace(BASE, augment="mirrored"),
    "last 20 layers": replace(BASE, layers=20),
    "from block5a": replace(BASE, from_block="block5a"),
    "from block2a": replace(BASE, from_block="block2a"),
    "no stochastic depth": replace(BASE, stochastic_depth=False),
    "mixup": replace(BASE, mixup=0.2),
    "longer warm-up": replace(BASE, warmup=60),
    "frozen head norm": replace(BASE, head_norm="frozen"),
    "batches of 8": replace(BASE, batch=8),
    "batches of 128": replace(BASE, batch=128),
    "RMSprop": replace(BASE, optimizer="rmsprop"),
    "by the rule": replace(BASE, from_block="rule"),
    "lesson 05 until 2026": AS_BEFORE,
}
PEAKS = ("base", "peak 1e-4", "peak 1e-3")


@dataclass(frozen=True)
class Stage:
    """How much work is put into a measurement.

    Attributes:
        name: in the table.
        steps: of the optimizer.
        seeds: of split and training.
        candidates: what is measured.
        with_few: what is measured where training images are few, that is, on sets called `…_NUMBER`.
    """

    name: str
    steps: int
    seeds: tuple[tuple[int, int], ...]
    candidates: tuple[str, ...]
    with_few: tuple[str, ...]

    def measures(self, candidate: str, name: str) -> bool:
        return candidate in (self.with_few if name[-1].isdigit() else self.candidates)


WITH_FEW = (*PEAKS, "from block5a", "from block6a", "weights averaged")
FINALISTS = ("by the rule", "lesson 05 until 2026")
FINAL = Stage("final", 300, tuple((split, split) for split in range(5)), FINALISTS, FINALISTS)
SCREENING = Stage("screening", 150, ((0, 0), (1, 1), (2, 2)), tuple(CANDIDATES)[:-2], WITH_FEW)
TRIAL = Stage("trial", 30, SCREENING.seeds, PEAKS, ())
"""Whether so few steps already tell which peak is best."""
STAGES = {stage.name: stage for stage in (FINAL, SCREENING, TRIAL)}


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
    engine: str
    date: str


@dataclass(frozen=True)
class Job:
    """What is to be measured."""

    stage: str
    set: str
    candidate: str
    split: int
    seed: int


class Packed:
    """A folder written by `recipes.pack`: pictures, splits, fitted heads, and the network in parts."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.facts = json.loads((folder / "facts.json").read_text(encoding="utf-8"))
        self.arrays, self.pixels = functools.cache(self._arrays), functools.cache(self._pixels)

    def _arrays(self, name: str) -> dict[str, np.ndarray]:
        with np.load(self.folder / f"{name}.npz") as file:
            return dict(file)

    def _pixels(self, pictures: str) -> np.ndarray:
        arrays = self.arrays(pictures)
        parts = np.split(arrays["files"], np.cumsum(arrays["lengths"])[:-1])
        return np.stack([np.asarray(Image.open(io.BytesIO(part.tobytes())).convert("RGB")) for part in parts])

    def part(self, name: str, block: str, which: str) -> keras.Model:
        """The prefix below a block or the tail from it on, with ImageNet weights; a tail has a new head."""
        facts = self.facts["sets"][name]
        model = keras.models.model_from_json(json.dumps(facts["parts"][block][which]))
        weights = self.arrays("weights")
        for layer in model.layers:
            for variable in layer.weights:
                if (key := f"{layer.name}/{variable.name}") in weights:
                    variable.assign(weights[key])
        return model


@dataclass
class Task:
    """The pictures of one run and the choices for it."""

    packed: Packed
    name: str
    split: int
    seed: int
    choices: Choices
    steps: int
    facts: dict = field(init=False)

    def __post_init__(self) -> None:
        self.facts = self.packed.facts["sets"][self.name]
        arrays = self.packed.arrays(self.name)
        self.rows = {part: arrays[f"{part}_{self.split}"] for part in ("train", "val", "test")}
        self.labels = {part: arrays["labels"][rows] for part, rows in self.rows.items()}
        self.num_classes = self.facts["num_classes"]
        if self.choices.from_block == "rule":
            block = self.facts["chosen"][f"{self.split}_{self.seed}"]
            self.choices = replace(self.choices, from_block=block)
        if self.choices.layers:  # cut below the block that the last layers end in
            block = self.facts["block_of_last"][str(self.choices.layers)]
            self.choices = replace(self.choices, from_block=block)

    def images(self, part: str) -> np.ndarray:
        return self.packed.pixels(self.facts["pictures"])[self.rows[part]].astype("float32")

    def tail(self) -> keras.Model:
        """The blocks that train, and the head, fitted or new."""
        keras.utils.set_random_seed(self.seed)
        tail = self.packed.part(self.name, self.choices.from_block, "tail")
        if self.choices.head_first:
            arrays = self.packed.arrays(self.name)
            for layer in tail.layers:
                for variable in layer.weights:
                    key = f"head_{self.split}_{self.seed}/{layer.name}/{variable.name}"
                    if key in arrays:
                        variable.assign(arrays[key])
        prepare(tail, self.choices)
        return tail


def prepare(tail: keras.Model, choices: Choices) -> None:
    """Says what of a tail trains, and how."""
    backbone = [layer for layer in tail.layers if not layer.name.startswith("head_")]
    for number, layer in enumerate(backbone):
        is_norm = isinstance(layer, keras.layers.BatchNormalization)
        trains = not choices.layers or number >= len(backbone) - choices.layers
        layer.trainable = trains and (not is_norm or choices.backbone_norm == "live")
        if isinstance(layer, keras.layers.Dropout) and not choices.stochastic_depth:
            layer.rate = 0.0
    tail.get_layer("head_bn").trainable = choices.head_norm != "frozen"


def augmented(images: np.ndarray, kind: str, rng: np.random.Generator) -> np.ndarray:
    """Each picture warped at random, reflected where something else comes into view."""
    if not kind:
        return images
    count, size = len(images), images.shape[1]
    draw = rng.uniform(-1, 1, (6, count))
    angle = np.deg2rad(draw[0] * AUGMENTATIONS[kind]["turn"])
    cos, sin = np.cos(angle) / (1 + ZOOM * draw[1]), np.sin(angle) / (1 + ZOOM * draw[1])
    mirrors = [
        np.where((draw[2 + i] < 0) & (axis in AUGMENTATIONS[kind]["flip"]), -1, 1) for i, axis in enumerate("xy")
    ]
    middle = (size - 1) / 2
    shifts = np.round(draw[4:] * SHIFT * size)
    a, b, c, d = mirrors[0] * cos, -mirrors[0] * sin, mirrors[1] * sin, mirrors[1] * cos
    left, top = middle - (a + b) * middle + shifts[0], middle - (c + d) * middle + shifts[1]
    transforms = np.stack([a, b, left, c, d, top, 0 * a, 0 * a], axis=1).astype("float32")
    warped = [
        ops.convert_to_numpy(
            ops.image.affine_transform(
                images[start : start + 64],
                transforms[start : start + 64],
                fill_mode="reflect",
                data_format="channels_last",
            )
        )
        for start in range(0, count, 64)
    ]  # fmt: skip
    return np.concatenate(warped)


def schedule(peak: float, steps: int, warmup: int) -> keras.optimizers.schedules.LearningRateSchedule:
    """As `training.warmup_cosine`."""
    if not warmup:
        return keras.optimizers.schedules.CosineDecay(peak, steps)
    return keras.optimizers.schedules.CosineDecay(0.0, steps - warmup, warmup_target=peak, warmup_steps=warmup)


class Trainer:
    """A tail on its kept activations, and what is known about each validation."""

    def __init__(self, task: Task):
        self.task, self.choices = task, task.choices
        self.tail = task.tail()
        rng = np.random.default_rng(task.seed)
        prefix = task.packed.part(task.name, task.choices.from_block, "prefix")
        views = VIEWS if self.choices.augment else 1
        train = [
            task.images("train"),
            *(augmented(task.images("train"), self.choices.augment, rng) for _ in range(views - 1)),
        ]
        self.train_inputs = ops.convert_to_tensor(np.concatenate([_predict(prefix, part) for part in train]))
        self.parts = {part: _predict(prefix, task.images(part)) for part in ("val", "test")}
        one_hot = np.eye(task.num_classes, dtype="float32")[task.labels["train"]]
        self.targets = np.tile(one_hot, (views, 1))
        self.rng = rng
        self.body = keras.Model(self.tail.input, self.tail.get_layer("head_pool").output)
        self.variables = self.tail.trainable_variables
        below, above = task.facts["multiply_adds"][task.choices.from_block]
        sizes = {part: len(rows) for part, rows in task.rows.items()}
        reestimated = REESTIMATED if self.choices.head_norm == "re-estimated" else 0
        self.cost = (
            (views * sizes["train"] + sizes["val"]) * below
            + task.steps * self.choices.batch * 3 * above
            + VALIDATIONS * (sizes["val"] + reestimated) * above
        )

    def batches(self) -> Iterator[tuple[object, np.ndarray]]:
        """Endless batches: each picture once a pass, in the version whose turn it is."""
        images = len(self.task.rows["train"])
        versions = len(self.targets) // images
        for _ in iter(int, 1):
            order = self.rng.permutation(images)
            if versions > 1:
                order = order + images * self.rng.integers(versions, size=images)
            for start in range(0, images, self.choices.batch):
                rows = order[start : start + self.choices.batch]
                if len(rows) < 2:  # batch normalization learns nothing from one
                    continue
                inputs = ops.cast(ops.take(self.train_inputs, rows.astype("int32"), axis=0), "float32")
                wanted = self.targets[rows]
                if self.choices.mixup:
                    share = float(self.rng.beta(self.choices.mixup, self.choices.mixup))
                    inputs = share * inputs + (1 - share) * ops.flip(inputs, axis=0)
                    wanted = share * wanted + (1 - share) * wanted[::-1]
                yield inputs, ops.convert_to_tensor(wanted)

    def optimizer(self) -> keras.optimizers.Optimizer:
        kind = {"adam": keras.optimizers.Adam, "rmsprop": keras.optimizers.RMSprop}[self.choices.optimizer]
        warmup = round(self.choices.warmup_share * self.task.steps) or self.choices.warmup
        optimizer = kind(schedule(self.choices.peak, self.task.steps, min(warmup, self.task.steps // 2)))
        optimizer.build(self.variables)
        return optimizer

    def step_function(self) -> Callable:
        optimizer, variables = self.optimizer(), self.variables
        self.averages = [keras.Variable(v.value, trainable=False) for v in variables] if self.choices.averaging else []
        gradients, compiled = _gradients(self.tail, variables)

        def step(inputs: object, wanted: object) -> None:
            optimizer.apply(gradients(inputs, wanted), variables)
            for average, variable in zip(self.averages, variables, strict=bool(self.averages)):
                average.assign(self.choices.averaging * average + (1 - self.choices.averaging) * variable)

        return compiled(step)

    def score(self, part: str) -> tuple[float, float]:
        """Accuracy and cross-entropy on a part, with the weights as they are."""
        labels, probabilities = self.task.labels[part], _predict(self.tail, self.parts[part], "float32")
        right = probabilities[np.arange(len(labels)), labels]
        return float((probabilities.argmax(axis=1) == labels).mean()), float(-np.log(right + 1e-12).mean())

    def validate(self) -> tuple[float, float, float, list[np.ndarray]]:
        """Accuracy, loss, test accuracy and the weights that gave them; those in training stay what they were."""
        in_training = self.tail.get_weights()
        for variable, average in zip(self.variables if self.averages else [], self.averages, strict=True):
            variable.assign(average)
        if self.choices.head_norm == "re-estimated" or self.averages:
            pooled = _predict(self.body, self.some, "float32")
            norm = self.tail.get_layer("head_bn")
            norm.moving_mean.assign(pooled.mean(axis=0))
            norm.moving_variance.assign(pooled.var(axis=0))
        result = (*self.score("val"), self.score("test")[0], self.tail.get_weights())
        self.tail.set_weights(in_training)
        return result

    def train(self) -> list[tuple[float, float, float]]:
        """Trains; the tail then has the weights that were kept. Returns a row for each validation, the head first."""
        steps = self.task.steps
        rows = np.random.default_rng(self.task.seed + 1).permutation(len(self.train_inputs))[:REESTIMATED]
        self.some = ops.convert_to_numpy(ops.take(self.train_inputs, rows.astype("int32"), axis=0))
        every = math.ceil(steps / VALIDATIONS)
        step, batches = self.step_function(), self.batches()
        scores = [(*self.score("val"), self.score("test")[0])]
        kept = self.tail.get_weights()
        for number in range(1, steps + 1):
            step(*next(batches))
            if number % every and number != steps:
                continue
            accuracy, loss, test, weights = self.validate()
            scores.append((accuracy, loss, test))
            if best_validation(scores, self.choices.keep) == len(scores) - 1:
                kept = weights
        self.best = best_validation(scores, self.choices.keep)
        self.tail.set_weights(kept)
        return scores


def _gradients(model: keras.Model, variables: list) -> tuple[Callable, Callable]:
    """How this backend finds the gradients of the mean cross-entropy, and how it compiles a step."""
    if keras.backend.backend() == "torch":
        import torch

        def gradients(inputs: object, wanted: object) -> list:
            with torch.enable_grad():
                loss = ops.mean(keras.losses.categorical_crossentropy(wanted, model(inputs, training=True)))
                return list(torch.autograd.grad(loss, [variable.value for variable in variables]))

        return gradients, torch.no_grad()
    import tensorflow as tf

    def gradients(inputs: object, wanted: object) -> list:
        with tf.GradientTape() as tape:
            loss = ops.mean(keras.losses.categorical_crossentropy(wanted, model(inputs, training=True)))
        return tape.gradient(loss, [variable.value for variable in variables])

    return gradients, tf.function(reduce_retracing=True)


def _predict(model: keras.Model, values: np.ndarray, dtype: str = "float16") -> np.ndarray:
    """What a model says of many pictures: float16 as the package keeps activations."""
    parts = [values[start : start + 64].astype("float32") for start in range(0, len(values), 64)]
    return np.concatenate([np.asarray(model.predict_on_batch(part)).astype(dtype) for part in parts])


def best_validation(scores: Sequence[Sequence[float]], keep: str) -> int:
    """Which of several `(accuracy, loss, …)` is kept; the first one is the head's."""
    if keep == "lowest loss":
        return 1 + int(np.argmin([loss for _, loss, *_ in scores[1:]]))
    return max(range(len(scores)), key=lambda number: (scores[number][0], -scores[number][1]))


def measure(packed: Packed, job: Job, stage: Stage) -> Run:
    """Trains once."""
    choices = CANDIDATES[job.candidate]
    train_images = len(packed.arrays(job.set)[f"train_{job.split}"])
    steps = choices.passes * math.ceil(train_images / choices.batch) or stage.steps
    task = Task(packed, job.set, job.split, job.seed, choices, steps)
    started = time.perf_counter()
    trainer = Trainer(task)
    scores = trainer.train()
    seconds = time.perf_counter() - started
    trace = np.round(scores, 4).tolist()
    (head, first, *_, last), best = trace, trainer.best
    different = {key: value for key, value in asdict(task.choices).items() if value != getattr(BASE, key)}
    return Run(
        stage.name, job.set, task.facts["image_size"], job.split, job.seed, job.candidate, json.dumps(different), steps,
        train_images, *head, *first[:2], *last[:2], best, *trace[best], json.dumps(trace),
        round(trainer.cost / 1e9, 1), round(seconds, 1), engine(), f"{datetime.now(UTC):%Y-%m-%d}",
    )  # fmt: skip


def engine() -> str:
    """What computed: Keras' backend, and on what."""
    if keras.backend.backend() == "torch":
        import torch

        device = torch.cuda.get_device_name() if torch.cuda.is_available() else platform.machine()
        return f"Keras {keras.__version__}, torch {torch.__version__}, {device}"
    return f"Keras {keras.__version__}, {keras.backend.backend()}, {platform.machine()}"


def read(path: Path) -> pd.DataFrame:
    """Reads what was measured so far; an empty table if there is nothing."""
    columns = [field.name for field in fields(Run)]
    return pd.read_csv(path, dtype=str)[columns] if path.exists() else pd.DataFrame(columns=columns)


def missing(stages: Sequence[Stage], names: Sequence[str], done: pd.DataFrame) -> Iterator[Job]:
    """Yields what is not yet measured: of each stage all candidates and sets with the first seed, then the next."""
    known = set(done[["stage", "set", "split", "seed", "candidate"]].itertuples(index=False, name=None))
    for stage in stages:
        for split, seed in stage.seeds:
            for candidate in CANDIDATES:
                for name in names:
                    if (
                        stage.measures(candidate, name)
                        and (stage.name, name, str(split), str(seed), candidate) not in known
                    ):
                        yield Job(stage.name, name, candidate, split, seed)


def append(path: Path, run: Run) -> None:
    """Adds a line, in one write."""
    new = not path.exists()
    with path.open("a", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Run)], lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerow(asdict(run))


def work(folder: Path, out: Path, jobs: list[Job], taken: object, until: float) -> None:
    """Takes one job after another until none is left or the time is up."""
    packed = Packed(folder)
    while time.time() < until:
        with taken.get_lock():
            number = taken.value
            taken.value += 1
        if number >= len(jobs):
            return
        try:
            run = measure(packed, jobs[number], STAGES[jobs[number].stage])
        except Exception as error:
            print(f"{jobs[number]}: {type(error).__name__}: {error}", flush=True)
            continue
        with taken.get_lock():
            append(out, run)
        print(f"{run.seconds:.1f} s {jobs[number]} {run.head_accuracy} {run.accuracy} {run.test}", flush=True)
        keras.utils.clear_session()


def main(folder: str, out: str, processes: int, minutes: float, stages: str, names: str) -> None:
    """Measures what is missing with several processes on one device."""
    until = time.time() + 60 * minutes
    packed, path = Packed(Path(folder)), Path(out)
    wanted = [STAGES[name] for name in stages.split(",")]
    jobs = list(missing(wanted, names.split(",") if names else list(packed.facts["sets"]), read(path)))
    print(f"{len(jobs)} runs; {engine()}; {os.cpu_count()} cores", flush=True)
    context = multiprocessing.get_context("spawn")
    taken = context.Value("i", 0)
    workers = [context.Process(target=work, args=(Path(folder), path, jobs, taken, until)) for _ in range(processes)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()


if __name__ == "__main__":
    import argparse

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder")
    parser.add_argument("--out", required=True)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--stages", default=",".join(STAGES))
    parser.add_argument("--names", default="")
    main(**vars(parser.parse_args()))
