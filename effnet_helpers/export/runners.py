"""Open an exported classifier with the runtime it is meant for, without Keras: LiteRT, ONNX Runtime, TensorFlow.

The packages of a runtime are imported when a file of its format is opened, so none has to be installed for the others.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from effnet_helpers import runtime

import numpy as np
import tensorflow as tf

HARMLESS_LINES = (
    *runtime.HARMLESS_START_UP_LINES,
    # LiteRT's fast kernels for this processor are in use, as they should be.
    re.compile(r"Created TensorFlow Lite XNNPACK delegate for CPU"),
)


@dataclass(frozen=True)
class Format:
    """What an exported model is made of.

    Attributes:
        suffix: Of its path; a SavedModel is a folder, whose name has none.
        precisions: That it can be written in.
        packages: By the names they are imported under. The extra that installs them has the format's name.
    """

    suffix: str
    precisions: tuple[str, ...]
    packages: tuple[str, ...] = ()


FORMATS = {
    "litert": Format(".tflite", ("float32", "float16", "int8"), ("ai_edge_litert",)),
    "onnx": Format(".onnx", ("float32", "float16", "int8"), ("onnx", "onnxruntime", "tf2onnx")),
    "saved_model": Format("", ("float32",)),
}


@dataclass(frozen=True)
class Runner:
    """An exported classifier, opened: call it with float32 pixels (images, height, width, 3) in [0, 255].

    It answers one image after the other, as a service that gets one request at a time does, and returns float32
    probabilities (images, classes).

    Attributes:
        input_shape: Of what the file takes, with None where any size will do; `output_shape` likewise.
        answer: The runtime's own call, for one image.
        look: From images to probabilities and to distances from the nearest class centre; None where the file does not
            know the centres.
    """

    input_shape: tuple[int | None, ...]
    output_shape: tuple[int | None, ...]
    answer: Callable[[np.ndarray], np.ndarray] = field(repr=False)
    look: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]] | None = field(default=None, repr=False)

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Classifies images.

        Raises:
            ValueError: If their shape is not that of the model's input.
        """
        images = np.asarray(images, np.float32)
        if images.ndim != 4 or images.shape[1:] != self.input_shape[1:] or len(images) == 0:
            size = " × ".join(map(str, self.input_shape[1:]))
            raise ValueError(f"Expected at least one image of {size}. Received: an array of shape {images.shape}")
        return np.concatenate([self.answer(images[i : i + 1]) for i in range(len(images))])


def why_unavailable(format: str) -> str | None:
    """Says what to install before a format, a key of `FORMATS`, can be used; None if all it needs is there."""
    missing = ", ".join(name for name in FORMATS[format].packages if importlib.util.find_spec(name) is None)
    cure = f'Install them with: pip install -c constraints.txt -e ".[{format}]"'
    return f"The format {format!r} needs packages that are not installed: {missing}. {cure}" if missing else None


def runner(path: str | Path, threads: int | None = None) -> Runner:
    """Opens an exported classifier with its runtime.

    Args:
        path: What `export.export` wrote: a `.tflite` file, an `.onnx` file, or the folder of a SavedModel.
        threads: How many LiteRT and ONNX Runtime may use; by default one a usable core. TensorFlow has one pool for the
            whole process, which this does not change.

    Returns:
        A `Runner`, to be called with images.

    Raises:
        ValueError: If there is nothing of a known format at the path, or it cannot be opened.
        ImportError: If the runtime is not installed; the message says which extra installs it.
    """
    path = Path(path).expanduser()
    format = {known.suffix: name for name, known in FORMATS.items()}.get(path.suffix)
    if format is None or not (path.is_dir() if format == "saved_model" else path.is_file()):
        known = "a .tflite file, an .onnx file, or the folder of a SavedModel"
        raise ValueError(f"Expected an exported model: {known}. Received: {str(path)!r}")
    if reason := why_unavailable(format):
        raise ImportError(reason)
    opening = {"litert": _open_litert, "onnx": _open_onnx, "saved_model": _open_saved_model}[format]
    try:
        with runtime.filtered_stderr(HARMLESS_LINES):
            return opening(path, threads or runtime.describe().cores)
    except Exception as error:  # each runtime raises its own
        reason = str(error).strip().partition("\n")[0]
        raise ValueError(
            f"{path.name} is damaged, or no {format} model from pixels to probabilities ({reason}). "
            f"Copy or export it again. Received: {str(path)!r}"
        ) from error


def _open_litert(path: Path, threads: int) -> Runner:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(path), num_threads=threads)
    interpreter.allocate_tensors()
    serve = interpreter.get_signature_runner("serving_default")
    given = serve.get_output_details()
    shapes = serve.get_input_details()["pixels"]["shape"], given["probabilities"]["shape"]

    def answer(image: np.ndarray, *names: str) -> list[np.ndarray]:
        outputs = serve(pixels=image)
        return [outputs[name] for name in names]

    return _runner(shapes, given, answer)


def _open_onnx(path: Path, threads: int) -> Runner:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    # Threads wait in a busy loop within an answer, which is fastest, but leave the cores to others after it.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    (pixels,), given = session.get_inputs(), {output.name: output for output in session.get_outputs()}
    shapes = pixels.shape, given["probabilities"].shape

    def answer(image: np.ndarray, *names: str) -> list[np.ndarray]:
        return session.run(names, {"pixels": image})

    return _runner(shapes, given, answer)


def _open_saved_model(path: Path, _threads: int) -> Runner:
    loaded = tf.saved_model.load(str(path))
    serve = loaded.signatures["serving_default"]
    given = serve.structured_outputs
    shapes = serve.structured_input_signature[1]["pixels"].shape, given["probabilities"].shape

    def answer(image: np.ndarray, *names: str, _alive: object = loaded) -> list[np.ndarray]:
        outputs = serve(pixels=tf.constant(image))  # the signature alone would not keep what was loaded
        return [outputs[name].numpy() for name in names]

    return _runner(shapes, given, answer)


def _runner(
    shapes: Iterable[Iterable[Any]], given: Container[str], answer: Callable[..., Sequence[np.ndarray]]
) -> Runner:
    """Makes a runner of a call from one image and the names of outputs to these outputs."""

    def look(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        each = [answer(images[i : i + 1], "probabilities", "similarity") for i in range(len(images))]
        probabilities, similarity = (np.concatenate(part) for part in zip(*each, strict=True))
        return probabilities, 1 - similarity[:, 0]

    return Runner(
        *map(_sizes, shapes), lambda image: answer(image, "probabilities")[0], look if "similarity" in given else None
    )


def _sizes(shape: Iterable[Any]) -> tuple[int | None, ...]:
    return tuple(int(size) if isinstance(size, int | np.integer) else None for size in shape)
