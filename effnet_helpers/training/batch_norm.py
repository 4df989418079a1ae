"""Moving statistics of batch normalization, computed afresh where they trail behind the weights."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from effnet_helpers.runtime import keras


def reestimate_batch_norm(model: keras.Model, batches: Iterable[Any]) -> None:
    """Replaces the moving statistics of batch normalization by their average over these batches, in place.

    Moving statistics trail behind the weights: after a few hundred steps from random weights they still hold much of
    their initial values, and a network scored with them looks worse than what it has learned. Dropout and stochastic
    depth are off for the pass. No trainable weight changes, and frozen layers keep their statistics.

    Args:
        model: A built model.
        batches: Training batches `(images, …)` as `data.ImageDataset.batches` yields them; a few hundred images do.

    Raises:
        ValueError: If there is no trainable batch normalization, or no batch.
    """
    ReestimateBatchNorm(batches).apply_to(model)


class ReestimateBatchNorm(keras.callbacks.Callback):
    """Does in `fit`, before each validation, what `reestimate_batch_norm` does.

    In fine-tuning the features move faster than any running average of theirs follows. Without this, the new head's
    batch normalization looks at validation images with statistics of features that no longer exist, and validation
    collapses after the first steps, though the network has learned.

    Args:
        batches: Some training batches, of what the model in training takes; they are gone through each time.
    """

    def __init__(self, batches: Iterable[Any]) -> None:
        super().__init__()
        self.batches = batches
        self.network: keras.Model | None = None  # whose statistics: by default those of the model in training
        self.training_pass: Callable[[Any], int] | None = None

    def on_test_begin(self, logs: Mapping[str, float] | None = None) -> None:
        """Replaces the statistics of the model in training."""
        self.apply_to(self.network or self.model)

    def apply_to(self, model: keras.Model) -> None:
        """Replaces the statistics of a model; see `reestimate_batch_norm`."""
        norms = [each for each in model.layers if isinstance(each, keras.layers.BatchNormalization) and each.trainable]
        dropouts = [layer for layer in model.layers if isinstance(layer, keras.layers.Dropout)]
        if not norms:
            raise ValueError("Re-estimation needs a trainable BatchNormalization layer. Received: a model without one")
        statistics = [variable for norm in norms for variable in (norm.moving_mean, norm.moving_variance)]
        settings = [(norm, "momentum", norm.momentum) for norm in norms]
        settings += [(dropout, "rate", dropout.rate) for dropout in dropouts]
        result = [variable.numpy() for variable in statistics]
        sums, seen = [0.0] * len(statistics), 0
        try:
            for layer, setting, _ in settings:
                setattr(layer, setting, 0.0)  # without momentum the moving statistics are those of the last batch alone
            if self.training_pass is None:
                self.training_pass = _TrainingPass(model).images_in  # compiled once, with these settings
            for images, *_ in self.batches:
                count = self.training_pass(images)
                sums = [total + count * each.numpy() for total, each in zip(sums, statistics, strict=True)]
                seen += count
            if seen == 0:
                raise ValueError("Re-estimation needs at least one batch. Received: none")
            result = [total / seen for total in sums]
        finally:
            for variable, value in zip(statistics, result, strict=True):
                variable.assign(value)
            for layer, setting, value in settings:
                setattr(layer, setting, value)


class _TrainingPass(keras.Model):
    """Runs a network in training mode whatever it is asked for, with the momentum and rates of the first call.

    Its `predict_on_batch` is compiled: a network that is called directly keeps gigabytes of intermediate results.
    """

    def __init__(self, network: keras.Model) -> None:
        super().__init__(name="training_pass")  # the class name starts with an underscore, which TensorFlow refuses
        self.network = network

    def call(self, images: Any) -> Any:
        return self.network(images, training=True)

    def images_in(self, images: Any) -> int:
        """Runs on a batch; returns how many images it had."""
        self.predict_on_batch(images)
        return len(images)
