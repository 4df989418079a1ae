"""Convert a classifier for serving: without what only training needs, with its scaling inside, in one of three formats.

The packages of a format are imported when something is converted to it, so none has to be installed for the others.
"""

from __future__ import annotations

import contextlib
import io
import logging
import re
import warnings
from collections.abc import Callable, Iterator
from itertools import takewhile
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

from effnet_helpers.export.runners import HARMLESS_LINES
from effnet_helpers.models import float32_copy
from effnet_helpers.runtime import filtered_stderr, keras

import numpy as np
import tensorflow as tf

if TYPE_CHECKING:
    import onnx

Serve = Callable[[tf.Tensor], dict[str, tf.Tensor]]
"""A `tf.function` with one input signature; see `serving_function`."""

CONVERTER_LINES = (
    *HARMLESS_LINES,
    # Options of an older converter, which the present one has no use for.
    re.compile(r"Ignored (output_format|drop_control_dependency)\."),
    re.compile(r"Skipping runtime version metadata in the model"),
    # Repeats what was asked for.
    re.compile(r"^fully_quantize: \d+, inference_type: \d+, input_inference_type: "),
)


def convert_classifier(
    model: keras.Model,
    path: Path,
    format: str,
    precision: str = "float32",
    representative: np.ndarray | None = None,
    centres: np.ndarray | None = None,
) -> None:
    """Writes a classifier in one of the `FORMATS`, quietly and without a check. See `export`."""
    if centres is not None:
        model = keras.Model(model.input, [model.output, model.get_layer("head_pool").output], name=model.name)
    serve = serving_function(serving_copy(model), centres)
    with quiet_converters():
        if format == "litert":
            path.write_bytes(to_litert(serve, precision, representative))
        elif format == "onnx":
            _write_onnx(serve, path, precision, representative)
        else:
            tf.saved_model.save(tf.Module(), str(path), signatures=serve.get_concrete_function())


def serving_copy(model: keras.Model) -> keras.Model:
    """Copies a classifier for serving: float32 throughout, its scaling folded into the first convolution.

    Scaling multiplies pixels and adds a constant. The factor goes into the kernel that comes next, where it costs
    nothing; what is left is to subtract a mean. So every step of a pixel survives quantization. It also leaves out
    Keras' `Normalization` layer, whose constants Keras' own ONNX export turns into inputs that nobody can fill.

    Args:
        model: A flat classifier of this package; it stays as it is.

    Returns:
        A model with the same answers, up to rounding.

    Example:
        >>> model = models.add_head(models.build_backbone("Lite0", image_size=64), num_classes=3)
        >>> served = export.serving_copy(model)
        >>> pixels = np.full((1, 64, 64, 3), 128, "float32")
        >>> np.allclose(served(pixels), model(pixels), atol=1e-5)
        True
    """
    factor, mean, scaling = pixel_scaling(model)
    network = float32_copy(model, without=scaling)
    kernel = network.get_layer("stem_conv").kernel
    kernel.assign(kernel * factor.reshape(-1, 1))
    pixels = keras.Input(model.input_shape[1:], name="pixels")
    return keras.Model(pixels, network(pixels - mean), name=model.name)


def pixel_scaling(model: keras.Model) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Reads what a network does to pixels before its first convolution: (pixels - mean) * factor.

    Args:
        model: A flat network whose first layers are `Rescaling` or `Normalization`.

    Returns:
        The factor and the mean, float32, one value a channel or, where all channels have the same mean, one for all,
        which runtimes subtract faster; and the names of the layers.
    """
    factor, offset = np.ones(3), np.zeros(3)
    kinds = (keras.layers.Rescaling, keras.layers.Normalization)
    layers = list(takewhile(lambda layer: isinstance(layer, kinds), model.layers[1:]))
    for layer in layers:
        if isinstance(layer, keras.layers.Rescaling):
            times, plus = np.asarray(layer.scale), np.asarray(layer.offset)
        else:
            # Its weights, where it has any: in mixed precision the constants made of them are rounded to 16 bits.
            mean, variance = map(np.ravel, layer.get_weights()[:2] or (layer.mean, layer.variance))
            times = 1 / np.maximum(np.sqrt(variance), keras.config.epsilon())
            plus = -mean * times
        factor, offset = factor * times, offset * times + plus
    mean = -offset / factor
    if np.allclose(mean, mean[0]):
        mean = mean[0]
    return factor.astype("float32"), np.float32(mean), [layer.name for layer in layers]


def serving_function(network: keras.Model, centres: np.ndarray | None = None) -> Serve:
    """Makes one TensorFlow function of a network, with its weights as constants.

    Converters are several times quicker with constants than with variables, and no variable is left behind.

    Args:
        network: What `serving_copy` returns.
        centres: Of the classes in feature space, `(classes, channels)`, of a network that gives probabilities and
            features.

    Returns:
        A `tf.function` from `pixels`, float32 (any number, height, width, 3), to `{"probabilities": …}`, and with
        centres to `"similarity"` too: the cosine of the angle to the nearest of them, (any number, 1).
    """
    variables = network.trainable_variables, network.non_trainable_variables
    weights = [[variable.numpy() for variable in group] for group in variables]

    @tf.function(input_signature=[tf.TensorSpec((None, *network.input_shape[1:]), tf.float32, name="pixels")])
    def serve(pixels: tf.Tensor) -> dict[str, tf.Tensor]:
        answers, _ = network.stateless_call(*weights, pixels, training=False)
        if centres is None:
            return {"probabilities": answers}
        probabilities, features = answers
        cosines = tf.matmul(tf.math.l2_normalize(features, axis=1), centres, transpose_b=True)
        return {"probabilities": probabilities, "similarity": tf.reduce_max(cosines, axis=1, keepdims=True)}

    return serve


def to_litert(serve: Serve, precision: str = "float32", representative: np.ndarray | None = None) -> bytes:
    """Converts a network to LiteRT.

    Args:
        serve: What `serving_function` returns.
        precision: "float32", "float16" or "int8".
        representative: For "int8", pixels (images, image_size, image_size, 3) in [0, 255].

    Returns:
        The contents of a `.tflite` file. Input and output are float32; with "int8" everything in between is integer,
        with one scale a channel in the weights and one a tensor in the activations.

    Example:
        >>> model = models.add_head(models.build_backbone("Lite0", image_size=64), num_classes=3)
        >>> content = export.to_litert(export.serving_function(export.serving_copy(model)))
        >>> content[4:8]  # the name of the format, as every such file has it
        b'TFL3'
    """
    converter = tf.lite.TFLiteConverter.from_concrete_functions([serve.get_concrete_function()], tf.Module())
    if precision != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if precision == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if precision == "int8":
        converter.representative_dataset = lambda: ([np.float32(image)[np.newaxis]] for image in representative)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    return converter.convert()


def _write_onnx(serve: Serve, path: Path, precision: str, representative: np.ndarray | None) -> None:
    import onnx
    import tf2onnx

    model, _ = tf2onnx.convert.from_function(serve, input_signature=serve.input_signature)
    if precision == "float16":
        _store_weights_in_float16(model)
    onnx.save(model, str(path))
    if precision == "int8":
        _quantize_onnx(path, representative)


def _store_weights_in_float16(model: onnx.ModelProto) -> None:
    """Each weight becomes float16 and is cast back where it is used, which the runtime does once, on loading."""
    import onnx

    weights = list(model.graph.initializer)
    del model.graph.initializer[:]
    for weight in weights:
        values = onnx.numpy_helper.to_array(weight)
        if values.dtype == np.float32:
            halved = onnx.numpy_helper.from_array(values.astype(np.float16), f"{weight.name}_float16")
            cast = onnx.helper.make_node("Cast", [halved.name], [weight.name], to=onnx.TensorProto.FLOAT)
            model.graph.node.insert(0, cast)
            weight = halved
        model.graph.initializer.append(weight)


def _quantize_onnx(path: Path, representative: np.ndarray) -> None:
    from onnxruntime import quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process

    folded = path.with_name(f"folded-{path.name}")
    feeds = ({"pixels": np.float32(image)[np.newaxis]} for image in representative)
    # Batch normalization goes into the convolutions first. Rounded on its own it cost a percent of the decisions.
    quant_pre_process(str(path), str(folded), skip_symbolic_shape=True)
    quantization.quantize_static(
        str(folded),
        str(path),
        SimpleNamespace(get_next=lambda: next(feeds, None)),  # images one by one, as ONNX Runtime asks for them
        quant_format=quantization.QuantFormat.QDQ,
        activation_type=quantization.QuantType.QUInt8,
        weight_type=quantization.QuantType.QInt8,
        per_channel=True,
        # 7 bits a weight: processors without instructions for 8-bit products (VNNI) add pairs of them in 16 bits, which
        # full weights overflow. It cost 2 to 4 % of the decisions there.
        reduce_range=True,
    )
    folded.unlink()


@contextlib.contextmanager
def quiet_converters() -> Iterator[None]:
    """Keeps the remarks of converters to themselves, on standard output too; errors still pass."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    nowhere, lines = contextlib.redirect_stdout(io.StringIO()), filtered_stderr(CONVERTER_LINES)
    try:
        with warnings.catch_warnings(action="ignore"), nowhere, lines:
            yield
    finally:
        logging.disable(level)
