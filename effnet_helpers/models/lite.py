"""The EfficientNet-Lite architecture, which Keras does not ship.

Source: the authors' `efficientnet/lite` (tensorflow/tpu repository). Against B0–B7 it leaves out squeeze-and-
excitation, replaces swish by ReLU6, and keeps the stem at 32 and the head at 1,280 channels whatever the width: choices
for phones, microcontrollers and integer arithmetic. Layers are named as Keras names those of B0–B7, so that whatever
works block by block works on both.
"""

from effnet_helpers.runtime import keras
from effnet_helpers.variants import Stage, Variant

layers = keras.layers

STEM_FILTERS = 32
TOP_FILTERS = 1280
BATCH_NORM_EPSILON = 1e-3
_SAME = {"padding": "same", "use_bias": False}


def build_lite(
    variant: Variant, *, include_top: bool, image_size: int, drop_connect_rate: float, num_classes: int = 1000
) -> keras.Model:
    """Builds an EfficientNet-Lite network with random weights.

    Returns:
        A flat model from float pixels (batch, image_size, image_size, 3) in [0, 255] to probabilities
        (batch, num_classes) or, without `include_top`, to the feature map (batch, height, width, 1280).
    """
    inputs = keras.Input((image_size, image_size, 3))
    x = layers.Rescaling(1 / 128, offset=-127 / 128, name="rescaling")(inputs)
    x = _conv_bn(x, "stem", STEM_FILTERS, kernel_size=3, strides=2)
    x = layers.ReLU(6.0, name="stem_activation")(x)

    stages = enumerate(variant.stages(), start=1)
    blocks = [(number, stage, repeat) for number, stage in stages for repeat in range(stage.repeats)]
    for index, (number, stage, repeat) in enumerate(blocks):
        rate = drop_connect_rate * index / len(blocks)
        x = _inverted_residual(x, f"block{number}{chr(ord('a') + repeat)}_", stage, repeat == 0, rate)

    x = _conv_bn(x, "top", TOP_FILTERS)
    x = layers.ReLU(6.0, name="top_activation")(x)
    if include_top:
        x = layers.GlobalAveragePooling2D(name="avg_pool")(x)
        x = layers.Dropout(variant.dropout, name="top_dropout")(x)
        x = layers.Dense(num_classes, activation="softmax", dtype="float32", name="predictions")(x)
    return keras.Model(inputs, x, name=f"efficientnet{variant.name.lower()}")


def _kernel_initializer() -> keras.initializers.Initializer:
    # A new one for every layer: one shared instance would give all layers of one shape the same values.
    return keras.initializers.VarianceScaling(2.0, mode="fan_out", distribution="truncated_normal")


def _inverted_residual(
    inputs: keras.KerasTensor, name: str, stage: Stage, first: bool, drop_rate: float
) -> keras.KerasTensor:
    """Expand, filter each channel by itself, project; add the input back where shapes allow."""
    filters_in, strides = (stage.filters_in, stage.strides) if first else (stage.filters_out, 1)
    x = inputs
    if stage.expand_ratio != 1:
        x = _conv_bn(x, f"{name}expand", filters_in * stage.expand_ratio)
        x = layers.ReLU(6.0, name=f"{name}expand_activation")(x)
    x = layers.DepthwiseConv2D(
        stage.kernel_size, strides, depthwise_initializer=_kernel_initializer(), name=f"{name}dwconv", **_SAME
    )(x)
    x = layers.BatchNormalization(epsilon=BATCH_NORM_EPSILON, name=f"{name}bn")(x)
    x = layers.ReLU(6.0, name=f"{name}activation")(x)
    x = _conv_bn(x, f"{name}project", stage.filters_out)
    if strides == 1 and filters_in == stage.filters_out:
        if drop_rate > 0:
            # One draw per image: the whole branch is dropped, which is what makes it stochastic depth.
            x = layers.Dropout(drop_rate, noise_shape=(None, 1, 1, 1), name=f"{name}drop")(x)
        x = layers.Add(name=f"{name}add")([x, inputs])
    return x


def _conv_bn(
    x: keras.KerasTensor, name: str, filters: int, kernel_size: int = 1, strides: int = 1
) -> keras.KerasTensor:
    x = layers.Conv2D(
        filters, kernel_size, strides, kernel_initializer=_kernel_initializer(), name=f"{name}_conv", **_SAME
    )(x)
    return layers.BatchNormalization(epsilon=BATCH_NORM_EPSILON, name=f"{name}_bn")(x)
