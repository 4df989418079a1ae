"""What in a picture an answer rests on: the evidence for a class, position by position."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from effnet_helpers import models, records, runtime
from effnet_helpers.runtime import keras

import numpy as np
from scipy.special import logit


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


def grad_cam(model: keras.Model, images: np.ndarray, class_index: int, block: str | None = None) -> np.ndarray:
    """Shows which places of a block's output speak for a class: Grad-CAM, for any block of any variant.

    Channels are weighted by how much the class's score rises with them, on average over places; what remains above 0
    of their sum is the map (Selvaraju et al. 2017, https://arxiv.org/abs/1610.02391). At the last block, under a head
    of `models.add_head`, this is the class-activation map where that is above 0, in another unit. Lower blocks give
    finer maps that say less about the class: the rest of the network still has to make something of what is there.

    Args:
        model: A flat classifier with blocks that ends in a dense layer with softmax: fresh, fine-tuned or loaded, with
            our head or ImageNet's.
        images: Float pixels `(batch, height, width, 3)` in [0, 255].
        class_index: The class.
        block: One of `models.block_names(model)`; by default the last.

    Returns:
        float32 `(batch, rows, columns)`, 0 and above: a place for each position of the block's output.

    Raises:
        ValueError: If there is no such block or class, or the model ends otherwise.
    """
    last, blocks = _last_dense(model, class_index), models.block_names(model)
    block = blocks[-1] if block is None else block
    records.expect(block in blocks, "block", block, f"one of {', '.join(blocks)}")
    layer = [layer for layer in model.layers if models.block_of(layer) == block][-1]
    prefix, tail = keras.Model(model.input, layer.output), keras.Model(layer.output, last.input)

    def score(activations: Any) -> Any:  # before softmax, which would make every gradient of a sure answer vanish
        return keras.ops.cast(tail(activations, training=False), "float32") @ last.kernel[:, class_index, None]

    activations = keras.ops.convert_to_numpy(prefix(np.asarray(images, np.float32), training=False))
    weights = runtime.gradient(score, activations).mean(axis=(1, 2), keepdims=True)
    return np.maximum((activations * weights).sum(axis=-1), 0).astype(np.float32)


def occlusion_map(
    model: keras.Model, images: np.ndarray, class_index: int, patch: int = 32, stride: int = 16, batch_size: int = 32
) -> np.ndarray:
    """Shows which places a class's answer needs: a grey patch covers one after the other, and the model looks again.

    Slow, since it takes a prediction for every place, but it asks the model itself, without a rule about its inside
    (Zeiler and Fergus 2014, https://arxiv.org/abs/1311.2901): a check on maps that are quicker.

    Args:
        model: From float pixels `(batch, height, width, 3)` in [0, 255] to probabilities.
        images: Such pixels.
        class_index: The class.
        patch: Side of the patch in pixels. It has the image's mean colour.
        stride: Pixels from one place to the next.
        batch_size: Covered images at a time.

    Returns:
        float32 `(batch, rows, columns)`: by how much the log-odds of the class fall where the patch lies; negative
        where they rise. The patch's centres are spread evenly over the image.

    Raises:
        ValueError: If the patch is larger than the image, the stride below 1, or there is no such class.
    """
    images = np.asarray(images, dtype=np.float32)
    height, width = images.shape[1:3]
    records.expect(1 <= patch <= min(height, width), "patch", patch, f"1 to {min(height, width)} pixels")
    records.expect(stride >= 1, "stride", stride, "1 pixel or more")
    classes = model.output_shape[-1]
    records.expect(0 <= class_index < classes, "class_index", class_index, f"a number from 0 to {classes - 1}")
    tops, lefts = (
        np.linspace(0, side - patch, 1 + -(-(side - patch) // stride)).round().astype(int) for side in (height, width)
    )

    def log_odds(pixels: np.ndarray) -> np.ndarray:
        return logit(
            np.clip(model.predict(pixels, batch_size, verbose=0)[:, class_index].astype(float), 1e-7, 1 - 1e-7)
        )

    maps = np.empty((len(images), len(tops), len(lefts)), np.float32)
    for image, drawn, before in zip(images, maps, log_odds(images), strict=True):
        covered = np.repeat(image[np.newaxis], drawn.size, axis=0)
        for each, (top, left) in zip(covered, itertools.product(tops, lefts), strict=True):
            each[top : top + patch, left : left + patch] = image.mean(axis=(0, 1))
        drawn[:] = (before - log_odds(covered)).reshape(drawn.shape)
    return maps


def _last_dense(model: keras.Model, class_index: int) -> keras.layers.Dense:
    last = model.layers[-1]
    is_softmax = isinstance(last, keras.layers.Dense) and last.activation is keras.activations.softmax
    records.expect(is_softmax, "last layer", type(last).__name__, "a dense layer with softmax")
    records.expect(0 <= class_index < last.units, "class_index", class_index, f"a number from 0 to {last.units - 1}")
    return last
