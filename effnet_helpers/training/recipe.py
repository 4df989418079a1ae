"""How deep, how fast and how long to fine-tune: a rule, three short trials, and a table of what was chosen and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from effnet_helpers import evaluation, models, runtime
from effnet_helpers.data import ImageDataset
from effnet_helpers.records import expect
from effnet_helpers.runtime import keras
from effnet_helpers.training.fit import REESTIMATED_IMAGES, STEPS, fine_tune
from effnet_helpers.training.prefix import multiply_adds_of_training

import pandas as pd

PEAKS = (1e-4, 3e-4, 1e-3)
DEEP, SHALLOW = "block4a", "block6a"
NEAR, FEW = 0.95, 200
"""From which accuracy of the head on, and below how many training images, only the upper blocks are opened."""
LEAST_TRIAL = 20
"""Steps of one trial; it has a tenth of all steps if that is more, and less if choosing would cost above a third."""
VALIDATIONS, VALIDATIONS_OF_TRIAL = 10, 2


@dataclass(frozen=True)
class Recipe:
    """Choices for `fine_tune`, and why.

    Attributes:
        from_block: The lowest block that trains; `models.unfreeze_blocks` has opened it in the model.
        learning_rate: The peak of the rate.
        steps: Of the optimizer.
        reasons: For each of these, a sentence.
        trials: What the peaks tried came to, one row each: "learning_rate", "val_loss", "val_accuracy", "chosen". Empty
            where the rate was given.
        curves: The histories of the trials by peak, for `plotting.learning_curves`.
        share: What choosing costs, as a share of the multiply-adds of choosing and training together.
    """

    from_block: str
    learning_rate: float
    steps: int
    reasons: Mapping[str, str]
    trials: pd.DataFrame
    curves: Mapping[str, Mapping[str, list[float]]] = field(repr=False)
    share: float

    def __str__(self) -> str:
        lines = [f"{name}: {getattr(self, name)} ({reason})" for name, reason in self.reasons.items()]
        return "\n".join([*lines, f"choosing costs {self.share:.0%} of all multiply-adds"])


def choose_recipe(
    model: keras.Model,
    dataset: ImageDataset,
    *,
    steps: int | None = None,
    from_block: str | None = None,
    learning_rate: float | None = None,
    peaks: Sequence[float] = PEAKS,
    batch_size: int = 32,
    seed: int = 0,
    **options: Any,
) -> Recipe:
    """Chooses depth, rate and length of fine-tuning for a classifier with a fitted head. What is given is not chosen.

    Depth goes by a rule from the number of training images and the head's validation accuracy. The rate is the one of
    `peaks` with the lowest validation loss after a short fine-tuning of its own, from the same head with the same order
    of images. The same seed makes the same choice.

    Args:
        model: A classifier whose head was fitted. Its blocks are opened here, and stay open; its weights stay.
        dataset: Images and labels; "val" chooses.
        steps: Of the optimizer; by default 300, or one pass over the training images if that is more.
        from_block: The lowest block to train.
        learning_rate: The peak of the rate.
        peaks: Rates to try.
        batch_size: Images per step.
        seed: Of the order of images.
        **options: More arguments of `fine_tune`, the same as for the training that follows.

    Returns:
        A `Recipe`.

    Raises:
        ValueError: If an argument is out of range, or `peaks` is empty.

    Example:
        >>> dataset = data.load("textile", image_size=64, limit_per_class=15)
        >>> model = models.add_head(models.build_backbone("Lite0", image_size=64), dataset.num_classes)
        >>> fit = training.fit_head(model, dataset, epochs=2)
        >>> recipe = training.choose_recipe(model, dataset, steps=4, learning_rate=1e-4)
        >>> fit = training.fine_tune(model, dataset, steps=recipe.steps, learning_rate=recipe.learning_rate)
    """
    expect(len(peaks) > 0, "peaks", peaks, "at least one learning rate")
    train = dataset.sizes["train"]
    reasons = {}
    accuracy = evaluation.evaluate(model, dataset, "val", batch_size).accuracy
    from_block, reasons["from_block"] = (from_block, "as asked for") if from_block else depth_for(train, accuracy)
    models.unfreeze_blocks(model, from_block=from_block)
    steps_per_pass = -(-train // batch_size)
    reasons["steps"] = "as asked for" if steps else f"{STEPS}, and at least one pass over {train:,} images"
    steps = steps or max(STEPS, steps_per_pass)
    trials, curves = [], {}
    trial_steps = max(1, min(max(LEAST_TRIAL, steps // 10), steps // (2 * len(peaks))))
    if learning_rate:
        reasons["learning_rate"] = "as asked for"
    else:
        # Dropout's streams of random numbers are variables, too: each trial starts with the same ones.
        state = [(variable, variable.numpy()) for variable in model.variables]
        for peak in peaks:
            runtime.set_seed(seed)
            how = {"steps": trial_steps, "validations": VALIDATIONS_OF_TRIAL, "batch_size": batch_size, "seed": seed}
            fit = fine_tune(model, dataset, learning_rate=peak, **how, **options)
            for variable, value in state:
                variable.assign(value)
            curves[f"{peak:g}"] = fit.history
            trials.append((peak, fit.history["val_loss"][-1], fit.history["val_accuracy"][-1]))
        learning_rate = min(trials, key=lambda trial: trial[1])[0]
        reasons["learning_rate"] = f"the lowest validation loss of {len(peaks)} after {trial_steps} steps each"
    table = pd.DataFrame(trials, columns=["learning_rate", "val_loss", "val_accuracy"])
    table["chosen"] = table["learning_rate"] == learning_rate
    each = dataset.sizes["val"] + REESTIMATED_IMAGES
    choosing = len(trials) * multiply_adds_of_training(model, trial_steps * batch_size, VALIDATIONS_OF_TRIAL * each)
    share = choosing / (choosing + multiply_adds_of_training(model, steps * batch_size, VALIDATIONS * each))
    order = ("from_block", "learning_rate", "steps")
    return Recipe(from_block, learning_rate, steps, {name: reasons[name] for name in order}, table, curves, share)


def depth_for(train_images: int, head_accuracy: float) -> tuple[str, str]:
    """The lowest block to train, and why."""
    if head_accuracy >= NEAR:
        return SHALLOW, f"the head alone reaches {head_accuracy:.3f}: the features fit, only the top need move"
    if train_images < FEW:
        return SHALLOW, f"{train_images} training images are few: the more blocks train, the more is learned by heart"
    return DEEP, f"the head alone reaches {head_accuracy:.3f} of {train_images:,} images: the features must change"
