"""Train a head on frozen features, then fine-tune whole blocks, without computing anything twice."""

import csv
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from effnet_helpers.blocks import block_names, block_of, freeze_backbone, split_after, split_at_block, trainable_table
from effnet_helpers.data import ImageDataset
from effnet_helpers.data.pipeline import from_arrays
from effnet_helpers.features import extract
from effnet_helpers.runtime import keras

import numpy as np

BALANCES = (None, "class_weights", "balanced_sampling")


@dataclass(frozen=True)
class Fit:
    """What a training run did.

    Attributes:
        history: per epoch, as Keras records it: "loss", "accuracy", "val_loss", "val_accuracy".
        best_epoch: the epoch whose weights the model has now, counted from 1: the one with the lowest validation loss.
        seconds: of training.
        preparation_seconds: of computing, or finding, what the frozen part of the network says.
        reused: whether that was found in the cache.
        trained: names of the parts that trained, from the input up.
        trained_parameters: how many values that was.
    """

    history: dict[str, list[float]]
    best_epoch: int
    seconds: float
    preparation_seconds: float
    reused: bool
    trained: tuple[str, ...]
    trained_parameters: int

    def __str__(self) -> str:
        parts = " to ".join(dict.fromkeys((self.trained[0], self.trained[-1])))
        prepared = "found in the cache" if self.reused else f"{self.preparation_seconds:.1f} s to prepare"
        return (
            f"{self.trained_parameters:,} parameters ({parts}) trained for "
            f"{len(self.history['loss'])} epochs in {self.seconds:.1f} s ({prepared}); best epoch "
            f"{self.best_epoch}, validation accuracy {self.history['val_accuracy'][self.best_epoch - 1]:.3f}"
        )


class TrainingDivergedError(ValueError):
    """The loss is no longer a finite number."""


def fit_head(
    model: keras.Model,
    dataset: ImageDataset,
    *,
    epochs: int = 25,
    batch_size: int = 32,
    learning_rate: float = 1e-3,
    patience: int | None = None,
    balance: str | None = None,
    seed: int = 0,
    checkpoint_dir: str | Path | None = None,
) -> Fit:
    """Trains the head on features of the frozen backbone that are computed once.

    The result is that of `model.fit` on the images with the backbone frozen, up to rounding of the features to
    float16; only the work that would be the same in every epoch is not repeated.

    Args:
        model: a backbone with a head of `models.add_head`. Its backbone is frozen here; its head is trained in place.
        dataset: images and labels; "train" is learned from, "val" picks the best epoch.
        epochs: at most so many passes.
        batch_size: images per step.
        learning_rate: of Adam.
        patience: stop after so many epochs without a lower validation loss; None runs them all.
        balance: for classes of different sizes: "class_weights" lets an image of a rare class weigh more, in
            "balanced_sampling" it comes more often; None treats all images alike.
        seed: of the order of images.
        checkpoint_dir: where to keep the best weights so far and the history, should the run be interrupted.

    Returns:
        A `Fit`. The model has the weights of the best epoch and is compiled.

    Raises:
        TrainingDivergedError: if the loss is not finite; the model then has the weights of the best epoch before.
    """
    freeze_backbone(model)
    backbone, head = split_after(model, "head_pool")
    prepared = _prepare(backbone, dataset, batch_size, seed, balance)
    optimizer = keras.optimizers.Adam(learning_rate)
    return _run(model, head, prepared, optimizer, epochs, KeepBest(model, patience, checkpoint_dir))


def fine_tune(
    model: keras.Model,
    dataset: ImageDataset,
    *,
    epochs: int = 5,
    batch_size: int = 32,
    learning_rate: float = 3e-4,
    warmup_epochs: float = 0.5,
    patience: int | None = None,
    balance: str | None = None,
    seed: int = 0,
    augment: Mapping[str, object] | None = None,
    cache: bool = True,
    checkpoint_dir: str | Path | None = None,
    verbose: int = 0,
) -> Fit:
    """Trains the head and the blocks that `models.unfreeze_blocks` opened, from the fitted head on.

    What lies below the lowest trainable block says the same in every epoch, so by default it is computed once and only
    the rest is run. That needs images that do not change, so with `augment` the whole network runs.

    Args:
        model: a classifier whose head was fitted and some of whose blocks are trainable.
        dataset: images and labels; "train" is learned from, "val" picks the best epoch.
        epochs: at most so many passes.
        batch_size: images per step.
        learning_rate: of Adam, at its peak; `warmup_cosine` gives the schedule.
        warmup_epochs: over how many passes the rate rises.
        patience: stop after so many epochs without a lower validation loss; None runs them all.
        balance: for classes of different sizes: "class_weights" lets an image of a rare class weigh more, in
            "balanced_sampling" it comes more often; None treats all images alike.
        seed: of the order of images and of augmentation.
        augment: arguments of `preprocessing.augment`, or None.
        cache: whether to compute the frozen part once. The results agree up to rounding to float16.
        checkpoint_dir: where to keep the best weights so far and the history, should the run be interrupted.
        verbose: 0 is silent, 2 prints a line for each epoch.

    Returns:
        A `Fit`. The model has the weights of the best epoch and is compiled.

    Raises:
        ValueError: if no block is trainable.
        TrainingDivergedError: if the loss is not finite; the model then has the weights of the best epoch before.
    """
    lowest = lowest_trainable_block(model)
    steps_per_epoch = -(-dataset.sizes["train"] // batch_size)
    schedule = warmup_cosine(learning_rate, epochs * steps_per_epoch, round(warmup_epochs * steps_per_epoch))
    optimizer = keras.optimizers.Adam(schedule)
    keeper = KeepBest(model, patience, checkpoint_dir)
    if cache and augment is None and lowest != block_names(model)[0]:
        prefix, tail = split_at_block(model, lowest)
        prepared = _prepare(prefix, dataset, batch_size, seed, balance)
        return _run(model, tail, prepared, optimizer, epochs, keeper, verbose)
    order, weights = balancing(dataset, balance)
    train = dataset.batches("train", batch_size, shuffle=True, **order, seed=seed, augment=augment, cache=True)
    prepared = _Prepared(train, dataset.batches("val", batch_size, cache=True), weights)
    return _run(model, model, prepared, optimizer, epochs, keeper, verbose)


def lowest_trainable_block(model: keras.Model) -> str:
    """The first block from the input with anything that trains; a `ValueError` says so where there is none."""
    for layer in model.layers:
        if block_of(layer) and layer.trainable_weights:
            return block_of(layer)
    raise ValueError("No block is trainable, so there is nothing to fine-tune. Call `models.unfreeze_blocks` first.")


def balancing(dataset: ImageDataset, balance: str | None) -> tuple[dict[str, bool], dict[int, float] | None]:
    """Says what `balance` means for training: how to serve the images, and what each class weighs.

    Args:
        dataset: images and labels.
        balance: "class_weights", "balanced_sampling" or None, see `fit_head`.

    Returns:
        Arguments for `dataset.batches` or `from_arrays`, and `class_weight` for `fit`.

    Raises:
        ValueError: if `balance` is anything else.
    """
    if balance not in BALANCES:
        raise ValueError(f"balance must be one of {', '.join(map(repr, BALANCES))}. Received: {balance!r}")
    weights = dataset.class_weights() if balance == "class_weights" else None
    return {"balanced": balance == "balanced_sampling"}, weights


def warmup_cosine(peak: float, steps: int, warmup_steps: int = 0) -> keras.optimizers.schedules.LearningRateSchedule:
    """A learning rate that rises in a line from 0 to `peak`, then falls along half a cosine to 0.

    The rise keeps the first, badly aimed steps from destroying pretrained weights; the fall lets the last ones settle
    (Loshchilov and Hutter, arXiv 1608.03983).

    Args:
        peak: the highest rate.
        steps: how many steps in all.
        warmup_steps: how many of them for the rise, fewer than `steps`.

    Raises:
        ValueError: if there are no steps, or no fewer for the rise than in all.
    """
    if not 0 <= warmup_steps < steps:
        raise ValueError(
            f"Warm-up must be shorter than training. Received: {warmup_steps} of {steps} steps for warm-up"
        )
    if warmup_steps == 0:
        return keras.optimizers.schedules.CosineDecay(peak, steps)
    return keras.optimizers.schedules.CosineDecay(
        0.0, steps - warmup_steps, warmup_target=peak, warmup_steps=warmup_steps
    )


@dataclass(frozen=True)
class _Prepared:
    train: Iterable
    val: Iterable
    class_weights: dict[int, float] | None
    seconds: float = 0.0
    reused: bool = False


def _prepare(prefix: keras.Model, dataset: ImageDataset, batch_size: int, seed: int, balance: str | None) -> _Prepared:
    order, weights = balancing(dataset, balance)
    train, val = (extract(prefix, dataset, split, batch_size) for split in ("train", "val"))
    return _Prepared(
        from_arrays(train.values, train.labels, batch_size, shuffle=True, **order, seed=seed),
        from_arrays(val.values, val.labels, batch_size),
        weights,
        train.seconds + val.seconds,
        train.reused and val.reused,
    )


def _run(
    model: keras.Model,
    tail: keras.Model,
    prepared: _Prepared,
    optimizer: keras.optimizers.Optimizer,
    epochs: int,
    keeper: "KeepBest",
    verbose: int = 0,
) -> Fit:
    started = time.perf_counter()
    compile_for_labels(tail, optimizer)
    history = tail.fit(
        prepared.train,
        validation_data=prepared.val,
        epochs=epochs,
        class_weight=prepared.class_weights,
        verbose=verbose,
        callbacks=[keeper],
    ).history
    seconds = time.perf_counter() - started
    if tail is not model:
        compile_for_labels(model, keras.optimizers.Adam())
    table = trainable_table(model)
    return Fit(
        history={name: [float(value) for value in values] for name, values in history.items()},
        best_epoch=keeper.best_epoch,
        seconds=seconds,
        preparation_seconds=prepared.seconds,
        reused=prepared.reused,
        trained=tuple(table.index[table["trains"]]),
        trained_parameters=int(table["trainable"].sum()),
    )


def compile_for_labels(model: keras.Model, optimizer: keras.optimizers.Optimizer) -> None:
    """Compiles a classifier for integer labels: cross-entropy to train on, accuracy to report."""
    model.compile(optimizer, loss="sparse_categorical_crossentropy", metrics=["accuracy"])


class KeepBest(keras.callbacks.Callback):
    """Restores the weights of the epoch with the lowest validation loss, and stops early or on a non-finite loss.

    Args:
        whole: the model whose weights to keep; the one in training may be its upper part.
        patience: stop after so many epochs without a lower validation loss; None never stops.
        checkpoint_dir: if given, the best weights go to `best.weights.h5` there and the history to `history.csv`.
    """

    def __init__(
        self, whole: keras.Model, patience: int | None = None, checkpoint_dir: str | Path | None = None
    ) -> None:
        super().__init__()
        self.whole, self.patience = whole, patience
        self.folder = None if checkpoint_dir is None else Path(checkpoint_dir)
        self.best_epoch, self.best_loss = 0, np.inf
        self.best_weights = whole.get_weights()

    def on_train_batch_end(self, batch: int, logs: Mapping[str, float] | None = None) -> None:
        """Stops where the loss is not finite, with the best weights so far back in place."""
        self._check_finite(logs["loss"], f"The loss became {logs['loss']} at step {batch + 1} of an epoch")

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        """Notes the weights if this epoch is the best so far."""
        self._check_finite(logs["val_loss"], f"The validation loss became {logs['val_loss']} in epoch {epoch + 1}")
        if logs["val_loss"] < self.best_loss:
            self.best_epoch, self.best_loss = epoch + 1, logs["val_loss"]
            self.best_weights = self.whole.get_weights()
            if self.folder:
                self.folder.mkdir(parents=True, exist_ok=True)
                self.whole.save_weights(self.folder / "best.weights.h5")
        elif self.patience is not None and epoch + 1 - self.best_epoch >= self.patience:
            self.model.stop_training = True
        if self.folder:
            self._write_row(epoch, logs)

    def on_train_end(self, logs: Mapping[str, float] | None = None) -> None:
        """Puts the best weights back."""
        self.whole.set_weights(self.best_weights)

    def _check_finite(self, loss: float, what_happened: str) -> None:
        if np.isfinite(loss):
            return
        self.whole.set_weights(self.best_weights)
        rate = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
        before = f"of its best epoch, {self.best_epoch}" if self.best_epoch else "that it started with"
        raise TrainingDivergedError(
            f"{what_happened}, at a learning rate of {rate:.2g}. Try a tenth of `learning_rate`, or a longer warm-up. "
            f"The model has the weights {before}."
        )

    def _write_row(self, epoch: int, logs: Mapping[str, float]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "history.csv").open("w" if epoch == 0 else "a", newline="") as file:
            writer = csv.DictWriter(file, ["epoch", *logs])
            if epoch == 0:
                writer.writeheader()
            writer.writerow({"epoch": epoch + 1, **logs})
