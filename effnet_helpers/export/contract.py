"""What lies beside an exported model and says how to use it; and one way to open a classifier, saved or exported."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from effnet_helpers import evaluation, models, outputs
from effnet_helpers.export.runners import FORMATS, runner
from effnet_helpers.models import ModelCard
from effnet_helpers.runtime import keras

import numpy as np

SAVED_MODEL_PART = re.compile(r"(saved_model|fingerprint)\.pb|assets|variables(/variables\.(index|data-\d+-of-\d+))?")


@dataclass(frozen=True, kw_only=True)
class Contract(ModelCard):
    """The card of an exported model, and what its file takes and gives.

    Attributes:
        format: One of `FORMATS`.
        precision: Of its weights or, for "int8", of its arithmetic.
        input: Name, dtype and shape of what it takes, with None in the shape where any size will do.
        output: The same of what it gives.
        parity: How its answers compared with Keras' when it was written, and the bound that they kept.

    Where the model knows the centres of its classes, the file gives a second output, "similarity", float32 (batch, 1):
    1 less the distance of `evaluation.centre_distance`. In "int8" it does not, so only the doubt of the softmax marks
    what is none of the classes there.
    """

    NOUN: ClassVar[str] = "the contract of an exported model"
    format: str
    precision: str
    input: dict[str, Any]
    output: dict[str, Any]
    parity: dict[str, Any]


def contract_path(path: Path) -> Path:
    """Returns where the contract of an exported model lies: `model.tflite.json` beside `model.tflite`."""
    return path.with_name(f"{path.name}.json")


@dataclass(frozen=True)
class Classifier:
    """A classifier that also says how far pictures lie from its classes: called with pixels, it gives probabilities.

    Attributes:
        look: From pixels to probabilities, and to the distances of `evaluation.centre_distance`.
    """

    look: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """Returns the probabilities alone."""
        return self.look(pixels)[0]


def open_classifier(path: str | Path) -> tuple[Callable[[np.ndarray], np.ndarray], ModelCard]:
    """Opens a saved or an exported classifier to predict with.

    Args:
        path: What `models.save` or `export.export` wrote: a `.keras`, `.tflite` or `.onnx` file, or the folder of a
            SavedModel. The JSON file that was written beside it must be there.

    Returns:
        `(predict, card)`. `predict` takes float32 pixels (images, image_size, image_size, 3) in [0, 255] and returns
        probabilities (images, classes); it is a `Classifier` where the model knows the centres of its classes. `card`
        says which classes, and how pictures are brought to that size; that of an exported model is a `Contract`.

    Raises:
        ValueError: If there is no classifier at the path, or it or the JSON file is missing or damaged, was written by
            a version that this one does not understand, or does not fit the other; the message names it.
        ImportError: If the runtime is not installed; the message says which extra installs it.
    """
    path = Path(path).expanduser()
    if path.suffix == ".keras":
        model, card = models.load(path)
        return keras_classifier(model, card), card
    served, beside = runner(path), contract_path(path)
    if not beside.is_file():
        raise ValueError(f"Beside an exported model lies its contract. Missing: {beside.name}. Received: {str(path)!r}")
    contract = models.read_card(beside, Contract)
    size, classes = contract.image_size, len(contract.class_names)
    if not _has_ending(contract, path) or (size, classes) != (served.input_shape[1], served.output_shape[-1]):
        raise ValueError(
            f"{beside.name} does not belong to {path.name}: it says {contract.format}, {size} pixels and {classes} "
            f"classes. Received: a model of input {served.input_shape} and output {served.output_shape}"
        )
    return Classifier(served.look) if served.look else served, contract


def keras_classifier(model: keras.Model, card: ModelCard) -> Callable[[np.ndarray], np.ndarray]:
    """Makes the `predict` of `open_classifier` of a model that `models.load` has loaded."""
    centres = card.trust.centre_array() if card.trust else None
    if centres is None:
        return model.predict_on_batch
    both = models.without_xla(keras.Model(model.input, [model.output, model.get_layer("head_pool").output]))

    def look(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        probabilities, features = both.predict_on_batch(pixels)
        return probabilities, evaluation.centre_distance(features, centres)

    return Classifier(look)


def judge(
    predict: Callable[[np.ndarray], np.ndarray], card: ModelCard, pixels: np.ndarray
) -> tuple[np.ndarray, evaluation.Judged | None]:
    """Says of pictures what they show, and what the card lets say about that.

    Args:
        predict: From `open_classifier`.
        card: Its card.
        pixels: float32 `(images, image_size, image_size, 3)` in [0, 255].

    Returns:
        Probabilities `(images, classes)`, calibrated where the card says when to trust the model, and what they are
        worth; None where it does not say.
    """
    probabilities, distances = predict.look(pixels) if isinstance(predict, Classifier) else (predict(pixels), None)
    if not card.trust:
        return probabilities, None
    judged = evaluation.apply_trust(card.trust, probabilities, card.class_names, distances=distances)
    return judged.probabilities, judged


def _has_ending(contract: Contract, path: Path) -> bool:
    return contract.format in FORMATS and FORMATS[contract.format].suffix == path.suffix


def _is_export(path: Path) -> bool:
    try:
        contract = models.read_card(contract_path(path), Contract)
    except (OSError, ValueError):
        return path.is_dir() and not any(path.iterdir()) and not contract_path(path).exists()
    if path.is_dir():
        parts = [part.relative_to(path).as_posix() for part in path.rglob("*")]
        return contract.format == "saved_model" and all(map(SAVED_MODEL_PART.fullmatch, parts))
    return not path.exists() or (path.is_file() and _has_ending(contract, path))


EXPORT = outputs.Kind("an exported model with its contract", _is_export)
