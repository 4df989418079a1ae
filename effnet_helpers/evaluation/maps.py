"""What in a picture an answer rests on: the evidence for a class, position by position."""

from __future__ import annotations

from effnet_helpers import records
from effnet_helpers.runtime import keras

import numpy as np


def class_activation_map(model: keras.Model, images: np.ndarray, class_index: int) -> np.ndarray:
    """Shows where in each image the evidence for a class lies.

    Between the last feature map and the logit there are only a mean over positions, batch normalization and one dense
    layer, and all three are affine. So the logit is a constant plus the mean over positions of a weighted sum of
    channels, and that sum is the map (Zhou et al. 2016, "Learning Deep Features for Discriminative Localization",
    https://arxiv.org/abs/1512.04150, with the batch normalization folded into the weights).

    Args:
        model: A flat model with the layers of `models.add_head`.
        images: Float pixels `(batch, height, width, 3)` in [0, 255].
        class_index: The class whose evidence is shown.

    Returns:
        float32 `(batch, rows, columns)`, in logit units, one value per position of the last feature map. Positive
        values speak for the class, negative ones against it.

    Raises:
        ValueError: If the model has no such head, or no such class.
    """
    names = {layer.name for layer in model.layers}
    if missing := [name for name in ("head_pool", "head_bn", "head_probabilities") if name not in names]:
        raise ValueError(f"A class-activation map needs a head of `models.add_head`. Received: no layers {missing}")
    kernel, _ = model.get_layer("head_probabilities").get_weights()
    last = kernel.shape[1] - 1
    records.expect(0 <= class_index <= last, "class_index", class_index, f"a number from 0 to {last}")
    norm = model.get_layer("head_bn")
    gamma, _, _, variance = norm.get_weights()
    channel_weights = kernel[:, class_index] * gamma / np.sqrt(variance + norm.epsilon)
    features = keras.Model(model.inputs, model.get_layer("head_pool").input).predict(images, verbose=0)
    return (features @ channel_weights).astype(np.float32)
