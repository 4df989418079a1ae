"""Saved models: a `.keras` file of stock layers, and a JSON card beside it with what its user must know."""

import importlib.metadata
import json
import zipfile
from collections.abc import Sequence
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import ClassVar

from effnet_helpers.models.blocks import block_of, set_stochastic_depth, stochastic_depth_layers, without_xla
from effnet_helpers.models.guard import guard_pixel_range
from effnet_helpers.preprocessing import RESIZE_MODES, check_size
from effnet_helpers.runtime import keras
from effnet_helpers.variants import get_variant


@dataclass(frozen=True)
class ModelCard:
    """What a saved model needs to be used on pictures, kept in a JSON file beside it.

    Attributes:
        class_names: In the order of the model's outputs.
        image_size: Side of the square input in pixels.
        resize_mode: "crop", "pad" or "squash": how pictures were brought to that size; see `preprocessing.resize`.
        variant: Which EfficientNet.
        weights: What the backbone started from.
        pixel_range: What the model's input must span.
        versions: Of the libraries that wrote it.
    """

    NOUN: ClassVar[str] = "the card of a saved model"
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

    A model that was trained in mixed precision is saved in float32.

    Args:
        model: A classifier of square pictures.
        path: Where to, ending in ".keras".
        class_names: In the order of the model's outputs.
        resize_mode: How pictures were brought to the model's size.
        variant: Which EfficientNet.
        weights: What the backbone started from.

    Returns:
        The card that was written.

    Raises:
        ValueError: If the path has another ending, or the names are not as many as the outputs.
    """
    path = Path(path).expanduser()
    if path.suffix != ".keras":
        raise ValueError(f"The path must end in '.keras'. Received: {str(path)!r}")
    if len(class_names) != model.output_shape[-1]:
        raise ValueError(f"The model has {model.output_shape[-1]} outputs. Received: {len(class_names)} class names")
    versions = {name: importlib.metadata.version(name) for name in ("effnet-helpers", "keras", "tensorflow")}
    image_size = model.input_shape[1]
    card = ModelCard(tuple(class_names), image_size, resize_mode, get_variant(variant).name, weights, versions=versions)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Not the model itself: the state of its optimizer fits only what was trainable while it ran.
    copy = float32_copy(model)
    for layer, original in zip(stochastic_depth_layers(copy), stochastic_depth_layers(model), strict=True):
        # Frozen blocks rest at rate 0; a file keeps the rates they were built with, so that they can be unfrozen again.
        layer.rate = getattr(original, "full_rate", original.rate)
    copy.save(path)
    path.with_suffix(".json").write_text(json.dumps(asdict(card), indent=2) + "\n")
    return card


def float32_copy(model: keras.Model, without: Sequence[str] = ()) -> keras.Model:
    """Copies a model with its weights, to compute in float32 even if it was trained in mixed precision.

    Mixed precision pays on the GPU that a model was trained on and is slow everywhere else.

    Args:
        model: A flat model; it stays as it is.
        without: Names of layers that let everything through in the copy.

    Returns:
        A model of the same layers under the same names, not compiled.
    """

    def copied(layer: keras.Operation) -> keras.Operation:
        if layer.name in without:
            return keras.layers.Identity(name=layer.name)
        dtype = {"dtype": "float32"} if isinstance(layer, keras.layers.Layer) else {}
        return layer.__class__.from_config(layer.get_config() | dtype)

    uncompiled = keras.Model(model.input, model.output, name=model.name)
    copy = keras.models.clone_model(uncompiled, clone_function=copied)
    for layer in copy.layers:
        if layer.weights:
            layer.set_weights(model.get_layer(layer.name).get_weights())
        if isinstance(layer, keras.layers.Normalization):
            layer.finalize_state()  # it computes with constants that it makes of its weights
    return without_xla(copy)


def load(path: str | Path) -> tuple[keras.Model, ModelCard]:
    """Loads what `save` wrote.

    Args:
        path: The `.keras` file; its card must lie beside it.

    Returns:
        The model and its card.

    Raises:
        ValueError: If one of the two files is missing or damaged, was written by a version that this one does not
            understand, or does not fit the other; the message names it.
    """
    path = Path(path).expanduser()
    if path.suffix != ".keras":
        raise ValueError(f"The path must end in '.keras'. Received: {str(path)!r}")
    missing = [file.name for file in (path, path.with_suffix(".json")) if not file.is_file()]
    if missing:
        raise ValueError(
            f"A saved model is a .keras file and a .json file beside it. Missing: {' and '.join(missing)}. "
            f"Received: {str(path)!r}"
        )
    card = read_card(path.with_suffix(".json"))
    try:
        model = keras.models.load_model(path)
    except Exception as error:  # whatever a layer, a zip or an HDF5 file of another making raises
        raise ValueError(_why_not_loaded(path, card, error)) from error
    if (model.input_shape[1:3], model.output_shape[-1]) != ((card.image_size,) * 2, len(card.class_names)):
        raise ValueError(
            f"{path.with_suffix('.json').name} does not belong to {path.name}: it says {card.image_size} pixels and "
            f"{len(card.class_names)} classes. Received: a model of input {model.input_shape} and output "
            f"{model.output_shape}"
        )
    for layer in stochastic_depth_layers(model):
        set_stochastic_depth(layer, active=_trains(model, block_of(layer)))
    return guard_pixel_range(without_xla(model)), card


def read_card(path: Path, kind: type[ModelCard] = ModelCard) -> ModelCard:
    """Reads the JSON file beside a model.

    Args:
        path: The file.
        kind: `ModelCard`, or the subclass of it that the file holds.

    Raises:
        ValueError: If the file holds something else, or says what this version does not understand.
    """
    known = {field.name: field for field in fields(kind)}
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(values, dict):
            raise ValueError("it holds no fields")
        if missing := [name for name, field in known.items() if field.default is MISSING and name not in values]:
            raise ValueError(f"it lacks {', '.join(missing)}")
        unknown = sorted(values.keys() - known)
        lists_as_tuples = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
        card = kind(**{name: value for name, value in lists_as_tuples.items() if name in known})
        _check_card(card)
    except ValueError as error:
        raise ValueError(f"{path.name} is not {kind.NOUN} ({error}). Received: {str(path)!r}") from error
    if unknown:
        written, installed = _version(card, "effnet-helpers"), importlib.metadata.version("effnet-helpers")
        raise ValueError(
            f"{path.name} was written by effnet-helpers {written} and says what effnet-helpers {installed} does not "
            f"understand: {', '.join(unknown)}. Update effnet-helpers to use this model. Received: {str(path)!r}"
        )
    return card


def _check_card(card: ModelCard) -> None:
    check_size(card.image_size)
    if not (isinstance(card.class_names, tuple) and all(isinstance(name, str) for name in card.class_names)):
        raise ValueError(f"class_names must be a list of texts. Received: {card.class_names!r}")
    if card.resize_mode not in RESIZE_MODES:
        raise ValueError(f"resize_mode must be one of {', '.join(RESIZE_MODES)}. Received: {card.resize_mode!r}")
    if not isinstance(card.versions, dict | None):
        raise ValueError(f"versions must be a table of names and versions. Received: {card.versions!r}")


def _why_not_loaded(path: Path, card: ModelCard, error: Exception) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip() is not None
    except Exception:  # zipfile raises many things on a damaged file
        damaged = True
    if damaged:
        return f"{path.name} is damaged, or no .keras file. Copy or download it again. Received: {str(path)!r}"
    written, installed = _version(card, "keras"), keras.__version__
    remedy = "" if written == installed else f" Install Keras {written}, or save the model again with this one."
    reason = str(error).strip().partition("\n")[0]
    return f"{path.name} was written by Keras {written}, and Keras {installed} cannot load it: {reason}.{remedy}"


def _version(card: ModelCard, package: str) -> str:
    return str((card.versions or {}).get(package, "of unknown version"))


def _trains(model: keras.Model, block: str) -> bool:
    return any(layer.trainable_weights for layer in model.layers if block_of(layer) == block)
