"""Build an EfficientNet, put a head on it, count its operations."""

import math
from collections.abc import Sequence
from pathlib import Path

from effnet_helpers.models import lite
from effnet_helpers.models import weights as pretrained
from effnet_helpers.models.blocks import set_drop_connect_rate, without_xla
from effnet_helpers.models.guard import guard_pixel_range
from effnet_helpers.runtime import keras
from effnet_helpers.variants import Variant, get_variant

import numpy as np

DROP_CONNECT_RATE = 0.2  # the published rate of stochastic depth
SMALLEST_IMAGE_SIZE = 32  # five stages halve the side


def build_imagenet_classifier(variant: str = "B0", weights: str | Path | None = "imagenet") -> keras.Model:
    """Builds a variant with its own 1,000-way classification layer, at its published resolution.

    Args:
        variant: "B0" … "B7", "Lite0" … "Lite4".
        weights: As in `build_backbone`, of a file with its classification layer.

    Returns:
        A model from pixels (batch, resolution, resolution, 3) in [0, 255] to probabilities (batch, 1000).

    Raises:
        ValueError: For an unknown variant.
        WeightsError: If the weights are not to be had or do not fit.
    """
    found = get_variant(variant)
    return guard_pixel_range(_build(found, weights, True, found.resolution, DROP_CONNECT_RATE))


def build_backbone(
    variant: str = "B0",
    weights: str | Path | None = "imagenet",
    image_size: int | None = None,
    drop_connect_rate: float = DROP_CONNECT_RATE,
) -> keras.Model:
    """Builds a variant without its classification layer (`include_top=False`).

    Keras 3's own constructors refuse `drop_connect_rate`; here it takes effect for every variant.

    Args:
        variant: "B0" … "B7", "Lite0" … "Lite4".
        weights: A recipe: "imagenet", or for B0–B7 "advprop", "noisy-student" or (B0, B1) "ra4", which are fetched once
            from the Hugging Face hub; `variants.WEIGHTS` says what belongs to each. Or the path of a file: Keras' `.h5`
            or `.weights.h5`, timm's `.safetensors`, a TensorFlow checkpoint of the authors (its folder). Where neither
            the file nor a `config.json` beside it says how pixels are scaled, the recipe goes before the path:
            "advprop:model.safetensors". None for random weights.
        image_size: Side of the square input in pixels, at least 32; by default the variant's published resolution.
        drop_connect_rate: Rate of stochastic depth, in [0, 1). It rises linearly with depth: block i of n, counted from
            0, has i / n of it (as in the authors' code; Huang et al., arXiv 1603.09382). It does not touch the weights.

    Returns:
        A model from pixels (batch, image_size, image_size, 3) in [0, 255] to the last feature map
        (batch, ⌈image_size / 32⌉, ⌈image_size / 32⌉, channels), 1,280 channels for B0 and every Lite.

    Raises:
        ValueError: For an unknown variant, an image size below 32, or a rate outside [0, 1).
        WeightsError: If the weights are not to be had or do not fit.
    """
    found = get_variant(variant)
    size = found.resolution if image_size is None else image_size
    if not isinstance(size, int | np.integer) or size < SMALLEST_IMAGE_SIZE:
        raise ValueError(f"`image_size` must be a whole number from {SMALLEST_IMAGE_SIZE} up. Received: {image_size!r}")
    if not 0 <= drop_connect_rate < 1:
        raise ValueError(f"`drop_connect_rate` must be in [0, 1). Received: {drop_connect_rate!r}")
    return guard_pixel_range(_build(found, weights, False, int(size), drop_connect_rate))


def _build(
    variant: Variant, weights: str | Path | None, include_top: bool, image_size: int, drop_connect_rate: float
) -> keras.Model:
    shape = {"include_top": include_top, "image_size": image_size}
    if variant.is_lite:
        # Layers of stochastic depth exist only where they are built with a rate above 0; it is set just after.
        model = lite.build_lite(variant, **shape, drop_connect_rate=DROP_CONNECT_RATE)
        if weights is not None:
            pretrained.load_lite(model, variant, weights)
    elif weights in (None, "imagenet"):
        model = pretrained.build_keras_application(variant, **shape, weights=weights)
    else:
        model = pretrained.build_with_weights(variant, weights, **shape)
    set_drop_connect_rate(model, drop_connect_rate)
    return without_xla(model)


def add_head(backbone: keras.Model, num_classes: int, dropout: float = 0.2) -> keras.Model:
    """Puts a new classification head on a backbone: pooling, batch normalization, dropout, softmax.

    Args:
        backbone: What `build_backbone` returns.
        num_classes: How many classes, at least 2.
        dropout: Rate before the softmax, in [0, 1).

    Returns:
        One flat model from pixels (batch, height, width, 3) in [0, 255] to probabilities (batch, num_classes). It
        shares its layers with `backbone`.

    Raises:
        ValueError: If `num_classes` is below 2.

    Example:
        >>> model = models.add_head(models.build_backbone("Lite0", image_size=64), num_classes=3)
        >>> [layer.name for layer in model.layers[-4:]]
        ['head_pool', 'head_bn', 'head_dropout', 'head_probabilities']
    """
    if num_classes < 2:
        raise ValueError(f"A classifier needs at least 2 classes. Received: num_classes={num_classes}")
    x = keras.layers.GlobalAveragePooling2D(name="head_pool")(backbone.output)
    x = keras.layers.BatchNormalization(momentum=0.9, name="head_bn")(x)
    x = keras.layers.Dropout(dropout, name="head_dropout")(x)
    # float32 whatever the rest computes in: a softmax in float16 rounds small probabilities to 0
    last = keras.layers.Dense(num_classes, activation="softmax", dtype="float32", name="head_probabilities")
    model = keras.Model(backbone.input, last(x), name=f"{backbone.name}_classifier")
    return guard_pixel_range(model)


def count_multiply_adds(model: keras.Model | Sequence[keras.layers.Layer]) -> int:
    """Counts the multiplications with addition of one forward pass over one image, in convolutions and dense layers.

    Normalization, activations, pooling and element-wise products are left out, as is usual for such figures.

    Args:
        model: A flat model, or some of its layers.
    """
    layers = model.layers if isinstance(model, keras.Model) else model
    with_kernel = [layer for layer in layers if hasattr(layer, "kernel")]
    return sum(math.prod(layer.output.shape[1:-1]) * math.prod(layer.kernel.shape) for layer in with_kernel)
