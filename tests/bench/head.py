"""The whole head phase: a head solved on frozen features, against 25 epochs of the published recipe."""

from __future__ import annotations

from collections.abc import Iterator

from effnet_helpers import heads, models, runtime
from effnet_helpers.cache import clear_cache

from . import peers
from .harness import Line, Measured, Row, Settings, Side, Target, interleaved, timed
from .lab import VARIANT, in_memory, own_cache, textile

VIEWS = 4
EPOCH_MINUTES = 0.4
"""Of the recipe, on two CPU cores."""


def _minutes(settings: Settings) -> float:
    epochs = max(peers.EPOCHS, settings.rounds + 1)
    return (settings.rounds + 1) * 0.4 + 1.2 + epochs * EPOCH_MINUTES


def _run(settings: Settings) -> Iterator[Line]:
    runtime.set_seed(0)
    # half the images of lesson 04 for both sides, since theirs takes 25 passes
    images = textile(settings, limit_per_class=250)
    ours, theirs = (models.build_backbone(VARIANT, image_size=images.image_size) for _ in range(2))
    recipe = peers.frozen_network_with_head(theirs, images.num_classes)
    train = peers.AugmentedImages(*in_memory(images, "train"), augment=True)
    val = peers.AugmentedImages(*in_memory(images, "val"), augment=False)
    solved: dict[str, heads.Solved] = {}
    accuracies = []

    def solve(name: str, views: int = 1) -> Side:
        def work() -> None:
            model = models.add_head(ours, images.num_classes)
            augment = peers.SAME_AUGMENTATION if views > 1 else None
            solved[name] = heads.solve_head(model, images, views=views, augment=augment)

        return timed(work)

    def cold(side: Side) -> Side:
        def emptied() -> float:
            clear_cache()
            return side()

        return emptied

    def fit(epochs: int = 1) -> None:
        accuracies.extend(recipe.fit(train, validation_data=val, epochs=epochs, verbose=0).history["val_accuracy"])

    sides = {
        "ours": cold(solve("ours")),
        "second": solve("second"),  # finds the features of the one before
        "epoch": timed(fit),
    }
    with own_cache():
        measured = interleaved(sides, settings.rounds)
        views = interleaved({"views": cold(solve("views", VIEWS))}, 1, warm_up=False)
    measured = Measured({**measured.costs, **views.costs})
    epochs = 2 if settings.tiny else peers.EPOCHS
    if epochs > len(accuracies):
        fit(epochs - len(accuracies))
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
