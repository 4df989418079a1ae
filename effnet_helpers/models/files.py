"""Saved models: a `.keras` file of stock layers, and a card beside it with what its user must know."""

import importlib.metadata
import zipfile
from collections.abc import Sequence
from pathlib import Path

from effnet_helpers import outputs
from effnet_helpers.models.blocks import block_of, set_stochastic_depth, stochastic_depth_layers, without_xla
from effnet_helpers.models.card import ModelCard, read_card
from effnet_helpers.models.guard import guard_pixel_range
from effnet_helpers.models.trust import Trust
from effnet_helpers.models.weights import describe_weights
from effnet_helpers.runtime import keras
from effnet_helpers.variants import get_variant


def save(
    model: keras.Model,
    path: str | Path,
    *,
    class_names: Sequence[str],
    resize_mode: str,
    variant: str,
    weights: str = "imagenet",
    bits: int = 16,
    trust: Trust | None = None,
    trained_on: str = "",
    tested: tuple[int, int] | None = None,
) -> ModelCard:
    """Saves a model as a `.keras` file of stock layers, which plain Keras loads, and its card as JSON beside it.

    It is saved in float32. A model that was saved there before is replaced once both files are whole.

    Args:
        model: A classifier of square pictures.
        path: Where to, ending in ".keras".
        class_names: In the order of the model's outputs.
        resize_mode: How pictures were brought to the model's size.
        variant: Which EfficientNet.
        weights: What the backbone started from, as `build_backbone` took it; of a path, the card keeps the file's name.
        bits: How many bits the values of 16-bit training pictures use: `data.ImageDataset.bits`.
        trust: When to trust its answers, from `evaluation.fit_trust`.
        trained_on: What its pictures were, in a few words: `dataset.provenance.title`.
        tested: How many test pictures it was right about, and of how many: the `tally` of an `evaluation.Report`.

    Returns:
        The card that was written.

    Raises:
        ValueError: If the path has another ending, the names are not as many as the outputs, a field of the card cannot
            be right, or what is there, or where the card belongs, is no model saved before.
    """
    path = _keras_path(path)
    if len(class_names) != model.output_shape[-1]:
        raise ValueError(f"The model has {model.output_shape[-1]} outputs. Received: {len(class_names)} class names")
    card = ModelCard(
        class_names=tuple(class_names),
        image_size=model.input_shape[1],
        resize_mode=resize_mode,
        variant=get_variant(variant).name,
        weights=describe_weights(weights),
        bits=bits,
        trust=trust,
        trained_on=trained_on,
        tested=tested,
        versions={name: importlib.metadata.version(name) for name in ("effnet-helpers", "keras", "tensorflow")},
    )
    card.check()
    with outputs.replacing(SAVED_MODEL, path, path.with_suffix(".json")) as folder:
        # Not the model itself: the state of its optimizer fits only what was trainable while it ran.
        copy = float32_copy(model)
        for layer, original in zip(stochastic_depth_layers(copy), stochastic_depth_layers(model), strict=True):
            # Frozen blocks rest at rate 0; a file keeps the rates they were built with, so that they can be unfrozen.
            layer.rate = getattr(original, "full_rate", original.rate)
        copy.save(folder / path.name)
        card.write(folder / path.with_suffix(".json").name)
    return card


def check_save_path(path: str | Path) -> None:
    """Raises the ValueError that `save` would raise for a path, before there is anything to save."""
    path = _keras_path(path)
    outputs.check_free(SAVED_MODEL, path, path.with_suffix(".json"))


def float32_copy(model: keras.Model, without: Sequence[str] = ()) -> keras.Model:
    """Copies a model with its weights, to compute in float32: mixed precision pays only on the GPU it was trained on.

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
        ValueError: If one of the two files is missing, damaged, of a version that this one does not understand, or does
            not fit the other; the message names it.
    """
    path = _keras_path(path)
    missing = [file.name for file in (path, path.with_suffix(".json")) if not file.is_file()]
    if missing:
        raise ValueError(
            f"A saved model is a .keras file and a .json file beside it. Missing: {' and '.join(missing)}. "
            f"Received: {str(path)!r}"
        )
    card = read_card(path.with_suffix(".json"))
    _check_whole(path)
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
    trains = {block_of(layer) for layer in model.layers if layer.trainable_weights}
    for layer in stochastic_depth_layers(model):
        set_stochastic_depth(layer, active=block_of(layer) in trains)
    return guard_pixel_range(without_xla(model)), card


def _keras_path(path: str | Path) -> Path:
    path = Path(path).expanduser()
    if path.suffix != ".keras":
        raise ValueError(f"The path must end in '.keras'. Received: {str(path)!r}")
    return path


def _check_whole(path: Path) -> None:
    """Compares checksums, which Keras does not: since Python 3.12 HDF5 reads its part of the zip past them."""
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip() is not None
    except Exception:  # zipfile raises many things on a damaged file
        damaged = True
    if damaged:
        raise ValueError(
            f"{path.name} is damaged, or no .keras file. Copy or download it again. Received: {str(path)!r}"
        )


def _why_not_loaded(path: Path, card: ModelCard, error: Exception) -> str:
    written, installed = card.version("keras"), keras.__version__
    remedy = "" if written == installed else f" Install Keras {written}, or save the model again with this one."
    reason = str(error).strip().partition("\n")[0]
    return f"{path.name} was written by Keras {written}, and Keras {installed} cannot load it: {reason}.{remedy}"


def _is_saved_model(path: Path) -> bool:
    try:
        read_card(path.with_suffix(".json"))
    except (OSError, ValueError):
        return False
    return path.is_file() or not path.exists()


SAVED_MODEL = outputs.Kind("a saved model with its card", _is_saved_model)
