"""What in a picture an answer rests on: the evidence for a class, position by position."""

from __future__ import annotations

from collections.abc import Sequence

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


def pointing_game(
    maps: np.ndarray, places: Sequence[tuple[float, float] | None], image_size: int, tolerance: float
) -> tuple[float, float]:
    """Counts how often a map's strongest region lies at a known place, and how often a region drawn at random would.

    It goes by the order of a map's values alone, so maps of networks with different scales compare (Zhang et al. 2016,
    "Top-down Neural Attention by Excitation Backprop", https://arxiv.org/abs/1608.00507).

    Args:
        maps: Floats `(images, rows, columns)`.
        places: Row and column in pixels for each image, found without the network; None where it is not known, and the
            image does not count.
        image_size: Side of the images in pixels.
        tolerance: How far the centre of the strongest region may lie from the place, in pixels.

    Returns:
        Share of hits, and the share that guessing would have, both in [0, 1].

    Raises:
        ValueError: If no place is known, or there are not as many places as maps.

    Example:
        >>> maps = np.zeros((1, 4, 4))
        >>> maps[0, 3, 3] = 1.0
        >>> evaluation.pointing_game(maps, [(115, 110)], image_size=128, tolerance=10)
        (1.0, 0.0625)
    """
    maps = np.asarray(maps)
    records.expect(len(maps) == len(places), "places", len(places), f"one for each of {len(maps)} maps")
    records.expect(any(place is not None for place in places), "places", "none", "at least one that is known")
    down, across = ((np.arange(count) + 0.5) * image_size / count for count in maps.shape[1:])
    hits, chances = [], []
    for each, place in zip(maps, places, strict=True):
        if place is not None:
            is_near = np.hypot(down[:, np.newaxis] - place[0], across - place[1]) <= tolerance
            hits.append(is_near.flat[np.argmax(each)])
            chances.append(is_near.mean())
    return float(np.mean(hits)), float(np.mean(chances))
