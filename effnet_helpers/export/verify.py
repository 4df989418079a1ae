"""Convert a classifier and keep what comes out only if it decides as Keras does."""

from __future__ import annotations

import importlib.metadata
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType

from effnet_helpers import evaluation, outputs
from effnet_helpers.export.contract import EXPORT, Contract, contract_path
from effnet_helpers.export.convert import convert_classifier
from effnet_helpers.export.runners import FORMATS, runner, why_unavailable
from effnet_helpers.models import ModelCard, float32_copy
from effnet_helpers.records import expect
from effnet_helpers.runtime import keras

import numpy as np


@dataclass(frozen=True)
class Parity:
    """How the answers of an exported model compare with Keras'.

    Attributes:
        largest_difference: In any probability.
        agreement: Share of the images for which both name the same class, in [0, 1].
    """

    images: int
    largest_difference: float
    agreement: float

    def __str__(self) -> str:
        difference, agreement = f"{self.largest_difference:.2g}", f"{self.agreement:.1%}"
        return f"a largest difference of {difference} and {agreement} of the decisions, on {self.images} images"


@dataclass(frozen=True)
class Bound:
    """How far an exported model may differ: in any probability, and the share of decisions that must agree."""

    difference: float
    agreement: float


# Measured with a Lite0 fine-tuned on the textile images (98 % right), on 500 images new to it, in every format.
# float32 differed by 9e-6 at most. float16 differed by 0.025, on images whose two best classes are nearly equal, and
# decided 1 of 500 otherwise. int8 differed by 0.46 on such images and decided up to 1 % otherwise, up to 2 % with
# fewer representative images. A probability near a boundary may move by anything, so there only decisions count.
BOUNDS = MappingProxyType(
    {
        "float32": Bound(difference=1e-4, agreement=0.99),
        "float16": Bound(difference=0.05, agreement=0.98),
        "int8": Bound(difference=1.0, agreement=0.95),
    }
)
# How far the similarity to the nearest class centre may differ, a cosine; int8 has none. Measured on 36 textile images
# with an untrained head: 7e-7 in float32, 1.2e-3 in float16.
SIMILARITY_BOUNDS = MappingProxyType({"float32": 1e-4, "float16": 5e-3})


@dataclass(frozen=True)
class Exported:
    """An exported model that has proved itself.

    Attributes:
        format: See `Contract`; so are `precision` and `parity`.
        megabytes: On disk, in millions of bytes.
    """

    path: Path
    format: str
    precision: str
    megabytes: float
    parity: Parity

    def __str__(self) -> str:
        return f"{self.path.name}: {self.format} in {self.precision}, {self.megabytes:.1f} MB; {self.parity}"


class ParityError(ValueError):
    """An exported model does not answer as Keras does."""


def export(
    model: keras.Model,
    path: str | Path,
    *,
    card: ModelCard,
    images: np.ndarray,
    format: str = "litert",
    precision: str = "float32",
    representative: np.ndarray | None = None,
    bound: Bound | None = None,
) -> Exported:
    """Writes a classifier in another format, compares its answers with Keras', and keeps it only if they agree.

    Where the card knows the centres of the classes, the file also says how near a picture is to the nearest of them,
    which is compared, too; in int8 it does not, since eight bits are too coarse for that.

    Args:
        model: A flat classifier of this package, from pixels in [0, 255] to probabilities.
        path: Where to: ends in ".tflite" for "litert", in ".onnx" for "onnx", and is a folder's name without ending
            for "saved_model". An earlier export of the same format is replaced, once the new one has proved itself.
        card: Of the model, as `models.save` and `models.load` return it.
        images: Float pixels (images, image_size, image_size, 3) in [0, 255] to compare the answers on. Take images
            like those it will serve, and none of `representative`.
        format: "litert" (extra `litert`), "onnx" (extra `onnx`) or "saved_model".
        precision: "float32"; "float16", which stores weights in half the space and computes in float32 on processors;
            "int8", which computes in 8-bit integers. A SavedModel comes in float32 only.
        representative: For "int8", pixels as in `images`, a hundred or so of the training images: the range of every
            activation is taken from them.
        bound: How far its answers may differ; by default that of `BOUNDS` for the precision.

    Returns:
        An `Exported`. Beside the path lies the contract, `<name>.json`: the card, format, precision, names, dtypes and
        shapes of input and output, the comparison, and the versions that wrote it.

    Raises:
        ValueError: If an argument does not fit, or there is something at the path, or where the contract belongs, that
            is no earlier export; the message says which.
        ImportError: If a package is missing; the message says which extra installs it.
        ParityError: If the answers, or the similarities, differ by more than their bound. Nothing is written then.
    """
    path = Path(path).expanduser()
    _check_format(path, format, precision)
    takes, gives = model.input_shape[1:], model.output_shape[-1]
    fits = (card.image_size, len(card.class_names)) == (takes[0], gives)
    expect(fits, "card", card, f"{takes[0]} pixels and {gives} classes, as the model has")
    is_ready = precision != "int8" or representative is not None
    expect(is_ready, "representative", None, "images, from which int8 takes the range of every activation")
    given = {"images": images} if representative is None else {"images": images, "representative": representative}
    for name, pixels in given.items():
        shape = np.shape(pixels)
        expect(shape[1:] == takes and len(pixels) > 0, name, shape, f"at least one image, pixels of shape {takes} each")
    bound = BOUNDS[precision] if bound is None else bound
    # Mixed precision rounds by itself, which is not the exported file's fault.
    is_mixed = any(layer.compute_dtype != "float32" for layer in model.layers)
    reference = float32_copy(model) if is_mixed else model
    with outputs.replacing(EXPORT, path, contract_path(path)) as folder:
        unproven = folder / path.name
        # Eight bits are too coarse for it: measured on a small network, off by as much as its whole range.
        has_similarity = card.trust and precision != "int8"
        centres = card.trust.centre_array() if has_similarity else None
        convert_classifier(model, unproven, format, precision, representative, centres)
        served = runner(unproven)
        if centres is None:
            expected, received = reference.predict(images, verbose=0), served(images)
        else:
            both = keras.Model(reference.input, [reference.output, reference.get_layer("head_pool").output])
            expected, features = both.predict(images, verbose=0)
            received, distances = served.look(images)
            difference = np.abs(distances - evaluation.centre_distance(features, centres)).max()
            if not difference <= SIMILARITY_BOUNDS[precision]:
                raise ParityError(
                    f"As {format} in {precision} the model does not say as Keras does how near pictures are to its "
                    f"classes, so nothing was written. A similarity may differ by {SIMILARITY_BOUNDS[precision]:g}. "
                    f"Received: a difference of {difference:.2g}"
                )
        parity = compare_probabilities(expected, received)
        if not (parity.largest_difference <= bound.difference and parity.agreement >= bound.agreement):
            raise ParityError(_refusal(format, precision, parity, bound))
        packages = ["effnet-helpers", "tensorflow", "keras"]
        packages += [name.replace("_", "-") for name in FORMATS[format].packages]
        versions = {name: importlib.metadata.version(name) for name in packages}
        contract = Contract(
            **asdict(card) | {"versions": versions},
            format=format,
            precision=precision,
            input={"name": "pixels", "dtype": "float32", "shape": served.input_shape},
            output={"name": "probabilities", "dtype": "float32", "shape": served.output_shape},
            parity={**asdict(parity), "bound": asdict(bound)},
        )
        contract.write(contract_path(unproven))
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return Exported(path, format, precision, sum(file.stat().st_size for file in files) / 1e6, parity)


def compare_probabilities(expected: np.ndarray, received: np.ndarray) -> Parity:
    """Compares the probabilities (images, classes) that two models give for the same images."""
    agreement = (expected.argmax(axis=1) == received.argmax(axis=1)).mean()
    return Parity(len(expected), float(np.abs(expected - received).max()), float(agreement))


def _check_format(path: Path, format: str, precision: str) -> None:
    expect(format in FORMATS, "format", format, " or ".join(FORMATS))
    known = FORMATS[format]
    expect(precision in known.precisions, f"precision of {format}", precision, " or ".join(known.precisions))
    if reason := why_unavailable(format):
        raise ImportError(reason)
    ending = f"the ending {known.suffix}" if known.suffix else "the name of a folder, without ending"
    expect(path.suffix == known.suffix, f"path of {format}", str(path), ending)


def _refusal(format: str, precision: str, parity: Parity, bound: Bound) -> str:
    advice = (
        "Take more or more typical `representative` images, or float16; networks with swish and squeeze-and-excitation "
        "(B0–B7) often cannot be had in int8."
        if precision == "int8"
        else "Compare on images like those the model was trained on, or state another `bound`."
    )
    return (
        f"As {format} in {precision} the model does not answer as Keras does, so nothing was written. It may differ by "
        f"{bound.difference:g} in a probability and must agree on {bound.agreement:.1%} of the decisions. "
        f"Received: {parity}. {advice}"
    )
