"""Fine-tuning to 98 % validation accuracy: from block4a on a cached prefix, against the whole network in `fit`."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Iterator
from dataclasses import dataclass
from unittest import mock

from effnet_helpers import data, models, runtime, training
from effnet_helpers.machine import clear_cache
from effnet_helpers.runtime import keras

from . import peers
from .harness import Line, Row, Settings, Target, interleaved
from .lab import FROM_BLOCK, LESSON_05, VARIANT, as_published, in_memory, own_cache, textile

ENOUGH = 0.98
MOST_EPOCHS = 12


@dataclass(frozen=True)
class Reached:
    """When a training was good enough, or ended without being so."""

    seconds: float
    epoch: int
    accuracy: float

    @classmethod
    def of(cls, started: float, ends: list[tuple[float, float]]) -> Reached:
        """Finds the first epoch that was good enough, else the last.

        Args:
            started: when the clock started.
            ends: of each epoch, when it ended and its validation accuracy.
        """
        epochs = [cls(end - started, number, accuracy) for number, (end, accuracy) in enumerate(ends, start=1)]
        return next((epoch for epoch in epochs if epoch.is_enough), epochs[-1])

    @property
    def is_enough(self) -> bool:
        """Whether the accuracy is high enough."""
        return self.accuracy >= ENOUGH

    def __str__(self) -> str:
        return f"{self.accuracy:.3f} in epoch {self.epoch}{'' if self.is_enough else ' (not reached)'}"


class _Ends(keras.callbacks.Callback):
    """Notes when each epoch ended, its validation done, and stops as soon as that is good enough."""

    def __init__(self) -> None:
        super().__init__()
        self.ends: list[tuple[float, float]] = []

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self.ends.append((time.perf_counter(), logs["val_accuracy"]))
        self.model.stop_training = logs["val_accuracy"] >= ENOUGH


@contextlib.contextmanager
def _ends_of_our_epochs() -> Iterator[list[tuple[float, float]]]:
    """`fine_tune` takes no callbacks; its own one is watched."""
    ends = []
    method = training.KeepBest.on_epoch_end

    def watched(self: training.KeepBest, epoch: int, logs: dict[str, float] | None = None) -> None:
        ends.append((time.perf_counter(), logs["val_accuracy"]))
        method(self, epoch, logs)

    with mock.patch.object(training.KeepBest, "on_epoch_end", watched):
        yield ends


def fine_tuned(images: data.ImageDataset, seed: int) -> keras.Model:
    """Solves a head, then fine-tunes it together with the blocks of lesson 05."""
    runtime.set_seed(seed)
    model = models.add_head(models.build_backbone(VARIANT, image_size=images.image_size), images.num_classes)
    training.solve_head(model, images, seed=seed)
    models.unfreeze_blocks(model, from_block=FROM_BLOCK)
    training.fine_tune(model, images, **LESSON_05, seed=seed)
    return model


def _ours(images: data.ImageDataset, seed: int) -> Reached:
    clear_cache()
    with _ends_of_our_epochs() as ends:
        started = time.perf_counter()
        fine_tuned(images, seed)
    return Reached.of(started, ends)


def _theirs(settings: Settings, seed: int, most_epochs: int) -> Reached:
    """The peer's training, in the process `lab.as_published`."""
    runtime.set_seed(seed)
    images = textile(settings)
    backbone = models.build_backbone(VARIANT, image_size=images.image_size)
    model = peers.network_to_fine_tune(backbone, images.num_classes)
    train = peers.shuffled_batches(*in_memory(images, "train"), LESSON_05["batch_size"], seed)
    val = images.batches("val", LESSON_05["batch_size"], cache=True)
    watch = _Ends()
    started = time.perf_counter()
    model.fit(train, validation_data=val, epochs=most_epochs, verbose=0, callbacks=[watch])
    return Reached.of(started, watch.ends)


def _run(settings: Settings) -> Iterator[Line]:
    images = textile(settings)
    most_epochs = 2 if settings.tiny else MOST_EPOCHS
    reached: dict[str, list[Reached]] = {"ours": [], "theirs": []}
    seeds = {side: itertools.count() for side in reached}
    with own_cache(), as_published() as process:

        def ours() -> float:
            reached["ours"].append(_ours(images, next(seeds["ours"])))
            return reached["ours"][-1].seconds

        def theirs() -> float:
            reached["theirs"].append(process.submit(_theirs, settings, next(seeds["theirs"]), most_epochs).result())
            return reached["theirs"][-1].seconds

        measured = interleaved({"ours": ours, "theirs": theirs}, settings.trainings, warm_up=False)
    detail = "; ".join(
        f"seed {seed}: ours {one}, theirs {other}"
        for seed, (one, other) in enumerate(zip(reached["ours"], reached["theirs"], strict=True))
    )
    if not all(each.is_enough for each in reached["theirs"]):
        detail += f"; where theirs did not reach it, its time is that of {most_epochs} epochs, less than it needs"
    yield measured.compare(
        f"fine-tuning to {ENOUGH:.0%}, head and prefix included, against the whole network",
        "ours",
        "theirs",
        Target("share", 0.4),
        "s",
        detail=detail,
        as_good=all(each.is_enough for each in reached["ours"]),
    )


ROW = Row(
    "fine-tune",
    "fine-tuning from block4a on a cached prefix, against the whole network in `fit`",
    lambda settings: settings.trainings * 6,
    _run,
)
