"""Train a head on frozen features, then fine-tune whole blocks, without computing anything twice."""

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from effnet_helpers.data import ImageDataset
from effnet_helpers.models import freeze_backbone, split_after, split_at_block, trainable_table
from effnet_helpers.records import check, expect
from effnet_helpers.runtime import keras
from effnet_helpers.training.batch_norm import ReestimateBatchNorm
from effnet_helpers.training.callbacks import KeepBest, TrainingDivergedError
from effnet_helpers.training.checkpoint import Checkpoint
from effnet_helpers.training.distributed import Replicas
from effnet_helpers.training.prefix import lowest_trainable_block, plan_prefix
from effnet_helpers.training.processes import Processes
from effnet_helpers.training.recipe import steps_for
from effnet_helpers.training.served import NOTHING, Served, serve_features, serve_images

REESTIMATED_IMAGES = 256


@dataclass(frozen=True)
class Fit:
    """What a training run did.

    Attributes:
        history: Per epoch, as Keras records it: "loss", "accuracy", "val_loss", "val_accuracy". In fine-tuning an epoch
            is the stretch of steps between two validations.
        best_epoch: The epoch whose weights the model has now, counted from 1; 0 means those that it came with.
        val_accuracy: Of these weights.
        steps: Of the optimizer.
        passes: Over the training images.
        seconds: Of training.
        preparation_seconds: Of computing, or finding, what the frozen part of the network says.
        reused: Whether that was found in the cache.
        trained: Names of the parts that trained, from the input up.
        trained_parameters: How many values that was.
    """

    history: dict[str, list[float]]
    best_epoch: int
    val_accuracy: float
    steps: int
    passes: float
    seconds: float
    preparation_seconds: float
    reused: bool
    trained: tuple[str, ...]
    trained_parameters: int

    def __str__(self) -> str:
        parts = " to ".join(dict.fromkeys((self.trained[0], self.trained[-1])))
        prepared = "found in the cache" if self.reused else f"{self.preparation_seconds:.1f} s to prepare"
        epochs = len(self.history["loss"])
        kept = f"best of {epochs} validations: number {self.best_epoch}"
        if not self.best_epoch:
            kept = f"none of {epochs} validations was better than the weights it started with, which are kept"
        return (
            f"{self.trained_parameters:,} parameters ({parts}) trained for {self.steps} steps ({self.passes:.1f} "
            f"passes) in {self.seconds:.1f} s ({prepared}); {kept}; validation accuracy {self.val_accuracy:.3f}"
        )


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
    augment: Mapping[str, object] | None = None,
    views: int = 1,
    checkpoint_dir: str | Path | None = None,
    processes: Processes | None = None,
) -> Fit:
    """Trains the head on features of the frozen backbone that are computed once.

    The result is that of `model.fit` on the images with the backbone frozen, up to rounding of the features to float16.

    Args:
        model: A backbone with a head of `models.add_head`. Its backbone is frozen here; its head is trained in place.
        dataset: Images and labels; "train" is learned from, "val" picks the best epoch.
        epochs: At most so many passes.
        batch_size: Images per step.
        learning_rate: Of Adam.
        patience: Stop after so many epochs without a lower validation loss; None runs them all.
        balance: For classes of different sizes: "class_weights" lets an image of a rare class weigh more, in
            "balanced_sampling" it comes more often; None treats all images alike.
        seed: Of the order of images and of augmentation.
        augment: Arguments of `preprocessing.augment`, needed for more than one view.
        views: Of how many versions of each training image features are kept: the image as it is, and augmented ones.
            An epoch shows as many images as without, of all versions mixed.
        checkpoint_dir: A folder for the state of training after each epoch, or None. Whatever interrupts it, the same
            call on the same model goes on from there and ends as if nothing had happened; once more, and it returns at
            once. `fine_tune` may be given the same folder. Several processes share it, and one of them writes.
        processes: What `join_processes` gave, to train on several devices or machines, in each of the processes alike;
            None trains on one device. Batch size, order and result stay the same.

    Returns:
        A `Fit`. The model has the weights of the best epoch and is compiled.

    Raises:
        ValueError: If `batch_size` is 1: the head's batch normalization cannot learn from a batch without variance; or
            if `checkpoint_dir` has a training of other settings.
        TrainingDivergedError: If the loss is not finite; the model then has the weights of the best epoch before.
    """
    arguments = {**locals()}
    freeze_backbone(model)
    _check_batch_size(model, batch_size)
    checkpoint = Checkpoint(checkpoint_dir, "head", model, dataset, arguments, processes)
    backbone, head = split_after(model, "head_pool")
    steps_per_pass = math.ceil(dataset.sizes["train"] / batch_size)
    served, done = NOTHING, checkpoint.epoch * steps_per_pass
    if not checkpoint.finished:
        served = serve_features(backbone, dataset, batch_size, seed, balance, views, augment, done, processes)
    compile_for_labels(head, keras.optimizers.Adam(learning_rate))
    trainer = head if processes is None else Replicas(processes, head, served.rows, batch_size)
    callbacks = [KeepBest(model, patience=patience), checkpoint]
    return _fit_part(model, head, trainer, served, callbacks, epochs, steps_per_pass, steps_per_pass)


def fine_tune(
    model: keras.Model,
    dataset: ImageDataset,
    *,
    steps: int | None = None,
    batch_size: int = 32,
    learning_rate: float = 3e-4,
    warmup_steps: int = 30,
    validations: int = 10,
    patience: int | None = None,
    balance: str | None = None,
    seed: int = 0,
    augment: Mapping[str, object] | None = None,
    views: int = 4,
    cache: bool = True,
    checkpoint_dir: str | Path | None = None,
    processes: Processes | None = None,
    verbose: int = 0,
) -> Fit:
    """Trains the head and the blocks that `models.unfreeze_blocks` opened, from the fitted head on.

    The head as it came is epoch 0, and the weights with the highest validation accuracy are kept, of equal ones those
    with the lowest loss: so the result is never worse on validation than the head.

    What lies below the lowest trainable block is by default computed once for each image or, with `augment`, for some
    versions of it, if that is less work than to run the whole network on ever new ones; `plan_prefix` decides.

    Args:
        model: A classifier whose head was fitted and some of whose blocks are trainable.
        dataset: Images and labels; "train" is learned from, "val" picks the weights that are kept.
        steps: Of the optimizer; by default 300, or one pass if that is more. What a network learns follows the number
            of steps, not of passes: three passes over 500 images are 48 steps, over 5,000 images 471.
        batch_size: Images per step.
        learning_rate: Of Adam, at its peak; `warmup_cosine` gives the schedule.
        warmup_steps: Over how many steps the rate rises, at most half of all. In steps and not as a share, since a
            short training is as fragile until Adam knows the size of its gradients: with 7 of 76 steps in place of 30
            the same fine-tuning ended at 0.65 and 0.91 instead of 0.99 and 1.00 (textile, validation, two seeds).
        validations: How many to spread over the steps.
        patience: Stop after so many validations without a better one; None trains to the end, where alone the
            rate has come down.
        balance: As in `fit_head`.
        seed: Of the order of images and of augmentation.
        augment: Arguments of `preprocessing.augment`, or None.
        views: How many versions of each image to keep at most, the image as it is among them, if augmented.
        cache: Whether the frozen part may be computed once. The results agree up to rounding to float16.
        checkpoint_dir: As in `fit_head`; an epoch is the stretch between two validations.
        processes: As in `fit_head`.
        verbose: 0 is silent, 2 prints a line for each validation.

    Returns:
        A `Fit`. The model has the weights that were kept and is compiled.

    Raises:
        ValueError: If no block is trainable, `steps` or `warmup_steps` is out of range, `batch_size` is 1 and batch
            normalization trains, as that of the head, or `checkpoint_dir` has a training of other settings.
        TrainingDivergedError: If the loss is not finite; the model then has the best weights before.
    """
    arguments = {**locals()}
    _check_batch_size(model, batch_size)
    steps_per_pass = math.ceil(dataset.sizes["train"] / batch_size)
    steps = steps_for(dataset.sizes["train"], batch_size) if steps is None else steps
    check(steps=(steps, 1, None), validations=(validations, 1, None), warmup_steps=(warmup_steps, 0, None))
    steps_per_epoch = math.ceil(steps / validations)
    epochs = math.ceil(steps / steps_per_epoch)
    steps = epochs * steps_per_epoch  # whole stretches between validations
    block, decision = lowest_trainable_block(model), "The whole network runs in every step, as asked for."
    checkpoint = Checkpoint(checkpoint_dir, "fine_tune", model, dataset, arguments, processes)
    if checkpoint.epoch:  # the same plan, though less of the disk may be free by now
        cache, views = checkpoint.record["plan"]
        decision = f"{checkpoint.epoch} of {epochs} stretches between validations are done already."
    elif cache:
        plan = plan_prefix(model, dataset, passes=steps / steps_per_pass, augment=augment, views=views)
        cache, views, decision = plan.cached, plan.views, str(plan)
        if processes is not None:  # as much of the disk may not be free everywhere
            cache, views = processes.from_chief([cache, views])
    if verbose:
        print(decision)
    checkpoint.record["plan"] = [cache, views]
    prefix, tail = split_at_block(model, block) if cache else (None, model)
    done = checkpoint.epoch * steps_per_epoch
    if checkpoint.finished:
        served = NOTHING
    elif cache:
        served = serve_features(prefix, dataset, batch_size, seed, balance, views, augment, done, processes)
    else:
        served = serve_images(dataset, batch_size, seed, balance, augment, done, processes)
    schedule = warmup_cosine(learning_rate, steps, min(warmup_steps, steps // 2))
    compile_for_labels(tail, keras.optimizers.Adam(schedule))
    trainer = tail if processes is None else Replicas(processes, tail, served.rows, batch_size)
    start = None if checkpoint.epoch else trainer.evaluate(served.val, verbose=0)
    callbacks = [KeepBest(model, start, patience), checkpoint]
    if _trainable_norms(tail) and not checkpoint.finished:
        sample = list(served.sample.take(math.ceil(REESTIMATED_IMAGES / batch_size)))
        callbacks.insert(0, ReestimateBatchNorm(sample))
    return _fit_part(model, tail, trainer, served, callbacks, epochs, steps_per_epoch, steps_per_pass, verbose)


def _trainable_norms(model: keras.Model) -> list[keras.layers.Layer]:
    return [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable]


def _check_batch_size(model: keras.Model, batch_size: int) -> None:
    least, why = (2, ", since batch normalization trains") if _trainable_norms(model) else (1, "")
    expect(batch_size >= least, "batch_size", batch_size, f"{least} or more{why}")


def warmup_cosine(peak: float, steps: int, warmup_steps: int = 0) -> keras.optimizers.schedules.LearningRateSchedule:
    """A learning rate that rises in a line from 0 to `peak`, then falls along half a cosine to 0.

    The rise keeps the first, badly aimed steps from destroying pretrained weights; the fall lets the last ones settle
    (Loshchilov and Hutter, arXiv 1608.03983).

    Args:
        peak: The highest rate.
        steps: How many steps in all.
        warmup_steps: How many of them for the rise, fewer than `steps`.

    Raises:
        ValueError: If there are no steps, or no fewer for the rise than in all.

    Example:
        >>> schedule = training.warmup_cosine(0.001, steps=100, warmup_steps=10)
        >>> [round(float(schedule(step)), 5) for step in (0, 5, 10, 100)]
        [0.0, 0.0005, 0.001, 0.0]
    """
    if not 0 <= warmup_steps < steps:
        raise ValueError(f"Warm-up must be shorter than training. Received: {warmup_steps} of {steps} steps")
    return keras.optimizers.schedules.CosineDecay(
        0.0, steps - warmup_steps, warmup_target=peak, warmup_steps=warmup_steps
    )


def _fit_part(
    model: keras.Model,
    part: keras.Model,
    trainer: keras.Model | Replicas,
    served: Served,
    callbacks: list[keras.callbacks.Callback],
    epochs: int,
    steps_per_epoch: int,
    steps_per_pass: int,
    verbose: int = 0,
) -> Fit:
    """Trains a compiled part of a model, or all of it, by the `fit` of `trainer`, and reports on the model.

    The last two callbacks keep the best weights, and the state.
    """
    *_, keeper, checkpoint = callbacks
    started = time.perf_counter() - checkpoint.seconds
    try:
        checkpoint.restore(part, keeper)
        if not checkpoint.finished:
            how = {"epochs": epochs, "initial_epoch": checkpoint.epoch, "steps_per_epoch": steps_per_epoch}
            how |= {"class_weight": served.class_weight, "callbacks": callbacks, "verbose": verbose}
            trainer.fit(served.train.repeat(), validation_data=served.val, **how)
    except BaseException as error:
        if not isinstance(error, TrainingDivergedError):
            checkpoint.undo()
        raise
    seconds, history = time.perf_counter() - started, keeper.history
    if part is not model:
        compile_for_labels(model, keras.optimizers.Adam())
    table = trainable_table(model)
    steps = len(history["loss"]) * steps_per_epoch
    trained = tuple(table.index[table["trains"]]), int(table["trainable"].sum())
    took = steps, steps / steps_per_pass, seconds, served.seconds, served.reused
    return Fit(history, keeper.best_epoch, keeper.best_accuracy, *took, *trained)


def compile_for_labels(model: keras.Model, optimizer: keras.optimizers.Optimizer) -> None:
    """Compiles a classifier for integer labels: cross-entropy to train on, accuracy to report."""
    model.compile(optimizer, loss="sparse_categorical_crossentropy", metrics=["accuracy"])
