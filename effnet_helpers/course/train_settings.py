"""What `effnet train` is asked for, and what that will take, measured and counted before it begins."""

from __future__ import annotations

import math
import re
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

from effnet_helpers import machine, models, preprocessing, records, training
from effnet_helpers.data import ImageDataset
from effnet_helpers.runtime import keras

import numpy as np
import psutil

TIMED = 3  # batches
# Measured on two cores, Lite0: what starts a fine-tuning takes so many times what compiles the network for prediction;
# a backward pass a little more than its multiplications; activations and gradients half as much again as activations.
STARTING, COST_OF_TRAINING, GRADIENTS = 12, 1.2, 1.5
VALIDATIONS, REESTIMATED_IMAGES = 10, 256  # of `training`
FOLDS, FEW_VALIDATION_IMAGES = 5, 30  # so many folds, where a class has fewer images to validate on
COPIES = 6  # of all weights on disk: two checkpoints with Adam's two averages each


@dataclass(frozen=True)
class Settings:
    """What decides the outcome of a training: the options of `effnet train`, by their names."""

    specification: str
    variant: str = "Lite0"
    image_size: int = 224
    resize_mode: str = "crop"
    augment: str = "none"
    steps: int | None = None
    from_block: str | None = None
    learning_rate: float | None = None
    batch_size: int = 0
    group_by: str | None = None
    balance: str | None = None
    limit_per_class: int | None = None
    folds: int | None = None
    alarm: str | None = None
    alarm_recall: float = 0.99
    split_seed: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        words = ("none", *preprocessing.AUGMENTATIONS)
        records.expect(self.augment in words, "--augment", self.augment, f"one of {', '.join(words)}")
        modes = preprocessing.RESIZE_MODES
        records.expect(self.resize_mode in modes, "--resize-mode", self.resize_mode, f"one of {', '.join(modes)}")
        balances = ("class_weights", "balanced_sampling")
        is_known = self.balance is None or self.balance in balances
        records.expect(is_known, "--balance", self.balance, f"one of {', '.join(balances)}")
        is_rate = self.learning_rate is None or 0 < self.learning_rate < 1
        records.expect(is_rate, "--learning-rate", self.learning_rate, "a number between 0 and 1")
        is_share = 0 < self.alarm_recall < 1
        records.expect(is_share, "--alarm-recall", self.alarm_recall, "a share between 0 and 1, such as 0.99")
        for name, least in (("steps", 1), ("limit_per_class", 3), ("seed", 0)):
            value = getattr(self, name)
            records.expect(value is None or value >= least, option(name), value, f"a whole number from {least} up")
        known = self.folds is None or self.folds == 0 or 2 <= self.folds <= 20
        records.expect(known, "--folds", self.folds, "0 for none, or 2 to 20")
        fits = self.batch_size == 0 or self.batch_size >= 2
        records.expect(fits, "--batch-size", self.batch_size, "2 or more, or 0 to choose")
        try:
            re.compile(self.group_by or "")
        except re.error as error:
            raise ValueError(
                f"--group-by: expected a regular expression ({error}). Received: {self.group_by!r}"
            ) from None

    def folds_for(self, dataset: ImageDataset) -> int:
        """How many further models are trained, each to be scored on a part of the images that it has not seen.

        Where a class has few validation images, what they say may be off by many points.
        """
        if self.folds is not None:
            return self.folds
        return FOLDS if np.bincount(dataset.labels("val")).min() < FEW_VALIDATION_IMAGES else 0

    @property
    def given(self) -> dict[str, Any]:
        """Those that differ from the defaults, but for the specification."""
        return {each.name: value for each in fields(self)[1:] if (value := getattr(self, each.name)) != each.default}


@dataclass(frozen=True)
class Estimate:
    """What a training will take, measured and counted before it begins.

    Attributes:
        seconds: If only the upper blocks need to train, and if many do.
        memory_gb: At its peak, in GB (2**30 bytes).
        disk_gb: For checkpoints, the model and the cache, in GB (10**9 bytes).
    """

    seconds: tuple[float, float]
    memory_gb: float
    disk_gb: float

    def __str__(self) -> str:
        low, high = (max(1, round(seconds / 60)) for seconds in self.seconds)
        minutes = f"{low} minute{'s' * (low > 1)}" if low == high else f"{low} to {high} minutes"
        return f"This takes about {minutes}, {self.memory_gb:.1f} GB of memory and {self.disk_gb:.1f} GB of disk."


def option(name: str) -> str:
    """Writes the name of a setting as the option of the command."""
    return f"--{name.replace('_', '-')}"


def estimate(
    model: keras.Model,
    dataset: ImageDataset,
    settings: Settings,
    batch_size: int,
    folds: int = 0,
    processes: training.Processes | None = None,
) -> Estimate:
    """Times a few batches of the whole network on this device, and counts how often what part of it will run.

    Args:
        model: The classifier; its blocks are opened and closed here, its weights stay.
        dataset: What it will be trained on.
        settings: How.
        batch_size: Images in a step.
        folds: How many further models are trained.
        processes: Whose devices share the images; memory is that of the processes of this machine.
    """
    devices = 1 if processes is None else processes.share[2]
    here = 1 if processes is None else processes.of_this_machine
    of_here = 1 if processes is None else here * processes.local_replicas / devices  # of the images in a step
    started = time.perf_counter()
    batches = [images for images, _ in dataset.batches("train", batch_size).take(TIMED)]
    reading = (time.perf_counter() - started) / sum(map(len, batches))
    images, seconds = batches[0], []
    for _ in range(1 + TIMED):
        started = time.perf_counter()
        model.predict_on_batch(images)
        seconds.append(time.perf_counter() - started)
    forward = statistics.median(seconds[1:]) / len(images)  # the first one compiles
    whole, sizes = models.count_multiply_adds(model), dataset.sizes
    steps_per_pass = math.ceil(sizes["train"] / batch_size)
    steps = settings.steps or training.steps_for(sizes["train"], batch_size)
    augment = preprocessing.AUGMENTATIONS.get(settings.augment)
    looked_at = sizes["train"] + 3 * sizes["val"] + sizes["test"]
    validated = VALIDATIONS * (sizes["val"] + REESTIMATED_IMAGES)
    times, disk, memory = [], 0.0, 0.0
    for block in [settings.from_block] if settings.from_block else [training.DEEP, training.SHALLOW]:
        models.unfreeze_blocks(model, from_block=block)
        plan = training.plan_prefix(model, dataset, passes=steps / steps_per_pass, augment=augment)
        above = model.layers[model.layers.index(models.last_layer_below(model, block)) + 1 :]
        share = models.count_multiply_adds(above) / whole
        runs_below = plan.views * sizes["train"] + sizes["val"] if plan.cached else steps * batch_size
        trained = (3 * COST_OF_TRAINING * steps * batch_size + validated) * share * forward
        passes_below = runs_below * ((1 - share) * forward + reading)
        shared = looked_at * (forward + reading) + passes_below + trained
        times.append(shared / devices + STARTING * seconds[0])
        disk = max(disk, plan.gigabytes if plan.cached else 0)
        kept = sum(math.prod(layer.output.shape[1:]) for layer in above)
        memory = max(memory, GRADIENTS * kept * batch_size * 4 * of_here)
    models.freeze_backbone(model)
    disk += COPIES * model.count_params() * 4 / 1e9
    memory += here * psutil.Process().memory_info().rss
    times = [(1 + folds) * each for each in times]
    return Estimate((min(times), max(times)), memory / 2**30, (1 + folds) * disk)


def shortages(expected: Estimate, batch_size: int, processes: training.Processes | None = None) -> Iterator[str]:
    """Says what this computer has less of."""
    here = 1 if processes is None else processes.of_this_machine
    used = here * psutil.Process().memory_info().rss / 2**30
    free = machine.memory_gb()[1] + used
    if free < expected.memory_gb:
        yield f"Note: only {free:.1f} GB of memory are free; --batch-size {max(2, batch_size // 2)} takes less."
    free = machine.free_cache_gb()
    if free < expected.disk_gb:
        yield f"Note: only {free:.1f} GB of disk are free for the cache; EFFNET_CACHE names another folder."
