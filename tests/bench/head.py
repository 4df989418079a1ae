"""The whole head phase: a head solved on frozen features, against 25 epochs of the published recipe."""

from __future__ import annotations

import time
from collections.abc import Iterator

from effnet_helpers import data, models, runtime, training
from effnet_helpers.machine import clear_cache

from . import peers
from .harness import Line, Measured, Row, Settings, Side, Target, interleaved, timed
from .lab import VARIANT, as_published, in_memory, own_cache, textile

VIEWS = 4
EPOCH_MINUTES = 0.4
"""Of the recipe, on two CPU cores."""


def _minutes(settings: Settings) -> float:
    epochs = max(peers.EPOCHS, settings.rounds + 1)
    return (settings.rounds + 1) * 0.4 + 1.2 + epochs * EPOCH_MINUTES


class _Recipe:
    """The peer's training, an epoch at a time; it lives in the process `lab.as_published`."""

    trained: _Recipe

    def __init__(self, settings: Settings) -> None:
        runtime.set_seed(0)
        images = _images(settings)
        backbone = models.build_backbone(VARIANT, image_size=images.image_size)
        self.model = peers.frozen_network_with_head(backbone, images.num_classes)
        self.train = peers.AugmentedImages(*in_memory(images, "train"), augment=True)
        self.val = peers.AugmentedImages(*in_memory(images, "val"), augment=False)

    @classmethod
    def prepare(cls, settings: Settings) -> None:
        """Loads images and network, before the clock starts."""
        cls.trained = cls(settings)

    @classmethod
    def epoch(cls) -> tuple[float, float]:
        """Trains for an epoch; returns its seconds and validation accuracy."""
        started = time.perf_counter()
        history = cls.trained.model.fit(cls.trained.train, validation_data=cls.trained.val, verbose=0).history
        return time.perf_counter() - started, history["val_accuracy"][-1]


def _images(settings: Settings) -> data.ImageDataset:
    """Half the images of lesson 04 for both sides, since theirs takes 25 passes."""
    return textile(settings, limit_per_class=250)


def _run(settings: Settings) -> Iterator[Line]:
    runtime.set_seed(0)
    images = _images(settings)
    ours = models.build_backbone(VARIANT, image_size=images.image_size)
    solved: dict[str, training.Solved] = {}
    accuracies = []

    def solve(name: str, views: int = 1) -> Side:
        def work() -> None:
            model = models.add_head(ours, images.num_classes)
            augment = peers.SAME_AUGMENTATION if views > 1 else None
            solved[name] = training.solve_head(model, images, views=views, augment=augment)

        return timed(work)

    def cold(side: Side) -> Side:
        def emptied() -> float:
            clear_cache()
            return side()

        return emptied

    epochs = 2 if settings.tiny else peers.EPOCHS
    with own_cache(), as_published() as process:
        process.submit(_Recipe.prepare, settings).result()

        def epoch() -> float:
            seconds, accuracy = process.submit(_Recipe.epoch).result()
            accuracies.append(accuracy)
            return seconds

        sides = {
            "ours": cold(solve("ours")),
            "second": solve("second"),  # finds the features of the one before
            "epoch": epoch,
        }
        measured = interleaved(sides, settings.rounds)
        views = interleaved({"views": cold(solve("views", VIEWS))}, 1, warm_up=False)
        while len(accuracies) < epochs:
            epoch()
    measured = Measured({**measured.costs, **views.costs})
    best = max(accuracies)
    reached = (
        f"theirs {accuracies[-1]:.3f} after {len(accuracies)} epochs, {best:.3f} in the best of them, of one training; "
        f"its time is the median of {settings.rounds} epochs × {epochs}"
    )
    for side, what, target in (
        ("ours", f"head, features included, against {epochs} epochs", Target("times", 30)),
        ("views", f"head on {VIEWS} augmented views, against {epochs} epochs", None),
    ):
        accuracy = solved[side].val_accuracy
        detail = f"validation accuracy: ours {accuracy:.3f}, {reached}"
        as_good = accuracy >= best
        yield measured.compare(what, side, "epoch", target, "s", times=epochs, detail=detail, as_good=as_good)
    spread = f"{measured.spread('second')}; features {'found' if solved['second'].reused else 'not found'} in the cache"
    target = Target("below", 3, "s")
    yield Line(
        "second head on the same features", measured.median("second"), None, "s", target, settings.rounds, spread
    )


ROW = Row("head", "a head on frozen features, against the EfficientNet example's recipe", _minutes, _run)
