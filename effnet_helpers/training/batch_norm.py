"""Moving statistics of batch normalization, computed afresh where they trail behind the weights."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from effnet_helpers.runtime import keras


def reestimate_batch_norm(model: keras.Model, batches: Iterable[Any]) -> None:
    """Replaces the moving statistics of batch normalization by their average over these batches, in place.

    Moving statistics trail behind the weights. After a few hundred steps from random weights they still hold much of
    their initial values, and a network scored with them looks worse than what it has learned. Dropout and stochastic
    depth are switched off for the pass, as they are when the network is used. No trainable weight changes, and frozen
    layers keep their statistics.

    Args:
        model: A built model.
        batches: Training batches `(images, …)` as `data.ImageDataset.batches` yields them; a few hundred images do.

    Raises:
        ValueError: If there is no trainable batch normalization, or no batch.
    """
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable]
    dropouts = [layer for layer in model.layers if isinstance(layer, keras.layers.Dropout)]
    if not norms:
        raise ValueError("Re-estimation needs a trainable BatchNormalization layer. Received: a model without one")
    statistics = [variable for norm in norms for variable in (norm.moving_mean, norm.moving_variance)]
    momenta, rates = [norm.momentum for norm in norms], [dropout.rate for dropout in dropouts]
    result = [variable.numpy() for variable in statistics]
    sums, seen = [0.0] * len(statistics), 0
    try:
        for norm in norms:
            norm.momentum = 0.0  # after each batch the moving statistics are those of this batch alone
        for dropout in dropouts:
            dropout.rate = 0.0
        training_pass = _TrainingPass(model)
        for images, *_ in batches:
            training_pass.predict_on_batch(images)
            batch = [len(images) * variable.numpy() for variable in statistics]
            sums = [total + part for total, part in zip(sums, batch, strict=True)]
            seen += len(images)
        if seen == 0:
            raise ValueError("Re-estimation needs at least one batch. Received: none")
        result = [total / seen for total in sums]
    finally:
        for variable, value in zip(statistics, result, strict=True):
            variable.assign(value)
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        for dropout, rate in zip(dropouts, rates, strict=True):
            dropout.rate = rate


class _TrainingPass(keras.Model):
    """Runs a network in training mode whatever it is asked for.

    `predict_on_batch` of this model compiles the pass, with the momentum and rates that hold when it is first called.
    A network that is called directly keeps every intermediate result until its end, gigabytes of them.
    """

    def __init__(self, network: keras.Model) -> None:
        super().__init__(name="training_pass")  # the class name starts with an underscore, which TensorFlow refuses
        self.network = network

    def call(self, images: Any) -> Any:
        return self.network(images, training=True)
