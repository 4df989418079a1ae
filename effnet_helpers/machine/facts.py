"""What this computer is and has and where things are kept, asked of the system and the driver, never of the network."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import psutil
from packaging.requirements import Requirement

KERAS_SETTINGS = {"backend": "tensorflow", "image_data_format": "channels_last", "floatx": "float32", "epsilon": 1e-7}
"""What `runtime` sets for the lessons, whatever other projects left in `keras.json`."""

# In a process of its own: a library that does not suit the processor kills Python while it loads.
PROBE = """
import json, keras, tensorflow as tf
gpus = [tf.config.experimental.get_device_details(gpu) for gpu in tf.config.list_physical_devices("GPU")]
print(json.dumps([gpus, tf.sysconfig.get_build_info().get("cuda_compute_capabilities", [])]))
"""


@dataclass(frozen=True)
class TensorFlow:
    """TensorFlow's last words if it does not load, the GPUs it sees, and those too new for this build of it."""

    error: str = ""
    gpus: tuple[str, ...] = ()
    too_new: tuple[str, ...] = ()


def usable_cores() -> int:
    """Returns how many cores this process may use, which a container or its user can have limited."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota, period = _container_limit("cpu.max") or (cores, 1)
    return max(1, min(cores, round(quota / period)))


def memory_gb() -> tuple[float, float]:
    """Returns memory in GB (2**30 bytes), in all and available now; a container's limit counts."""
    seen = psutil.virtual_memory()
    limits = _container_limit("memory.max"), _container_limit("memory/memory.limit_in_bytes")  # newer and older Linux
    total = min([seen.total, *limits[0], *limits[1]])
    return total / 2**30, min(seen.available, total) / 2**30


def _container_limit(name: str) -> list[int]:
    """The numbers in a file of the Linux kernel's control groups; none where there is no limit."""
    path = Path("/sys/fs/cgroup", name)
    words = path.read_text(encoding="ascii").split() if path.is_file() else ["max"]
    return [] if "max" in words else [int(word) for word in words]


def nvidia_smi() -> str:
    """Returns what NVIDIA's driver answers: names of GPUs, or what is wrong with it; nothing without a driver."""
    if shutil.which("nvidia-smi") is None:
        return ""
    query = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=5)
    except (OSError, subprocess.TimeoutExpired) as error:
        return type(error).__name__
    return ", ".join((done.stdout.strip() or done.stderr.strip() or "no GPU").splitlines())


def installed_version(name: str) -> str | None:
    """Returns a package's version, or None where it is not installed, or a removal of it was interrupted."""
    try:
        return importlib.metadata.metadata(name).get("Version")
    except importlib.metadata.PackageNotFoundError:
        return None


def unmet(requirements: Iterable[str]) -> dict[str, str | None]:
    """Returns which requirements, such as "keras>=3.12", are not met, each with the version that is there instead."""
    wanted = [each for each in map(Requirement, requirements) if not each.marker or each.marker.evaluate({"extra": ""})]
    versions = {each: installed_version(each.name) for each in wanted}
    return {
        f"{each.name}{each.specifier}": version
        for each, version in versions.items()
        if version is None or not each.specifier.contains(version, prereleases=True)
    }


def tensorflow() -> TensorFlow:
    """Imports TensorFlow and Keras in another process, or asks the TensorFlow that this one has loaded already."""
    tf = sys.modules.get("tensorflow")
    if tf is not None:
        gpus = map(tf.config.experimental.get_device_details, tf.config.list_physical_devices("GPU"))
        return _seen(list(gpus), tf.sysconfig.get_build_info().get("cuda_compute_capabilities", []))
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "KERAS_BACKEND": KERAS_SETTINGS["backend"]}
    done = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, env=environment)
    if done.returncode < 0:
        return TensorFlow(f"Python was killed by {signal.Signals(-done.returncode).name} while it loaded")
    if done.returncode:
        return TensorFlow((done.stderr.strip().splitlines() or ["no reason given"])[-1])
    return _seen(*json.loads(done.stdout.strip().splitlines()[-1]))


def _seen(gpus: list[dict], built_for: list[str]) -> TensorFlow:
    """What TensorFlow says of its GPUs, and of the compute capabilities it was built for ("sm_89", "compute_90")."""
    newest = max((int(re.sub(r"\D", "", name)) // 10 for name in built_for), default=10**6)
    named = [(each.get("device_name", "GPU"), (each.get("compute_capability") or (0,))[0]) for each in gpus]
    return TensorFlow("", tuple(name for name, _ in named), tuple(name for name, major in named if major > newest))


def other_kernel() -> str | None:
    """Returns the Python of Jupyter's kernel `python3` where it is another than this; None where there is no kernel.

    With `JUPYTER_PREFER_ENV_PATH` Jupyter looks in this environment before the user's own folders, and so does this.
    """
    try:
        from jupyter_client.kernelspec import KernelSpecManager

        command = KernelSpecManager().get_kernel_spec("python3").argv[0]
    except (ImportError, LookupError, ValueError):
        return None
    # For these bare names Jupyter takes its own Python, whatever the path says.
    is_its_own = command in ("python", "python3", f"python3.{sys.version_info.minor}")
    path, this = Path(sys.executable if is_its_own else shutil.which(command) or command), Path(sys.executable)
    # Environments are told apart by their folders, since their Python may be one.
    is_this = (path.parent.resolve(), path.resolve()) == (this.parent.resolve(), this.resolve())
    return "" if is_this else without_home(path, path.name)


def without_home(path: Path, otherwise: str | None = None) -> str:
    """Writes a path with `~` for the user's home folder; elsewhere it is `otherwise`, or the whole path."""
    home = os.path.expanduser("~")
    if path.is_relative_to(home):
        return (Path("~") / path.relative_to(home)).as_posix()
    return str(path) if otherwise is None else otherwise


def from_here(path: Path, otherwise: str) -> str:
    """Writes an absolute path from the current folder, or from the user's with `~`; elsewhere it is `otherwise`."""
    here = Path.cwd()
    return path.relative_to(here).as_posix() if path.is_relative_to(here) else without_home(path, otherwise)


def free_gb(path: Path) -> float:
    """Returns how many GB are free where a folder is or will be; an `OSError` says why it cannot be written."""
    nearest = next(each for each in (path, *path.parents) if each.exists())
    with tempfile.TemporaryFile(dir=nearest):
        return shutil.disk_usage(nearest).free / 1e9


def keras_home() -> Path:
    """Returns where Keras keeps its settings and downloaded weights; it looks in these places, too."""
    home = os.path.expanduser("~")
    default = os.path.join(home if os.access(home, os.W_OK) else "/tmp", ".keras")
    return Path(os.environ.get("KERAS_HOME", default)).expanduser()


def foreign_keras_settings() -> list[str]:
    """Returns which of `KERAS_SETTINGS` another project has set otherwise, each as "backend is jax in keras.json"."""
    try:
        stored = json.loads((keras_home() / "keras.json").read_text(encoding="utf-8"))
        found = {name: (stored.get(name), "keras.json") for name in KERAS_SETTINGS}
    except (OSError, ValueError, AttributeError):  # Keras too ignores a file that it cannot read
        found = {}
    if os.environ.get("KERAS_BACKEND"):
        found["backend"] = os.environ["KERAS_BACKEND"], "KERAS_BACKEND"
    differing = {name: each for name, each in found.items() if each[0] not in (None, KERAS_SETTINGS[name])}
    return [f"{name} is {value} in {place}" for name, (value, place) in differing.items()]


def tfds_home() -> Path:
    """Returns where tensorflow_datasets keeps prepared sets."""
    return Path(os.environ.get("TFDS_DATA_DIR", "~/tensorflow_datasets")).expanduser()


def is_prepared(name: str) -> bool:
    """Returns whether a set of tensorflow_datasets (NAME, NAME/CONFIG or NAME:VERSION) has been prepared here."""
    name, _, version = name.partition(":")
    return any((tfds_home() / name).glob(f"**/{version or '*'}/dataset_info.json"))


def download_gb(name: str) -> float:
    """Returns what tensorflow_datasets has on record for the size of a set's download; 0 where nobody knows."""
    package = importlib.util.find_spec("tensorflow_datasets")  # does not import it
    folder, name = Path(package.origin).parent if package else Path(), name.partition(":")[0].partition("/")[0]
    records = (folder / "datasets" / name / "checksums.tsv", folder / "url_checksums" / f"{name}.txt")
    lines = [line for path in records if path.is_file() for line in path.read_text(encoding="utf-8").splitlines()]
    return sum(int(line.split("\t")[1]) for line in lines) / 1e9
