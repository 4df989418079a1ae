"""What this computer is and has, asked of Python, the file system and the driver, never of the network."""

from __future__ import annotations

import importlib.metadata
import itertools
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from effnet_helpers.machine.places import keras_home, without_home

import psutil
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
DISTRIBUTION = "effnet-helpers"
INDIRECT = ("protobuf", "tensorflow-metadata")  # not asked for by name, but known to clash
IMPORT_SECONDS, DRIVER_SECONDS = 60, 5
# In a process of its own: a library that does not suit the processor kills Python while it loads.
TENSORFLOW_PROBE = """
import json, keras, tensorflow as tf
details = [tf.config.experimental.get_device_details(gpu) for gpu in tf.config.list_physical_devices("GPU")]
print(json.dumps([details, tf.sysconfig.get_build_info().get("cuda_compute_capabilities", [])]))
"""


# packages


@dataclass(frozen=True)
class Installed:
    """An installed package: its version, and the lines with which it declares what it needs."""

    version: str
    requires: tuple[str, ...] = ()


def python_version() -> str:
    """The version of this Python, for example "3.12.4"."""
    return platform.python_version()


def own_requirements() -> tuple[str, tuple[Requirement, ...]]:
    """Which versions of Python this course admits, and which packages it needs itself, extras aside.

    Both are empty where the course was not installed but only put on the path.
    """
    try:
        metadata = importlib.metadata.metadata(DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError:
        return "", ()
    return metadata["Requires-Python"] or "", applicable(metadata.get_all("Requires-Dist") or ())


def applicable(lines: Iterable[str]) -> tuple[Requirement, ...]:
    """Reads requirement lines and keeps those that hold on this computer without any extra."""
    requirements = map(Requirement, lines)
    return tuple(each for each in requirements if each.marker is None or each.marker.evaluate({"extra": ""}))


def installed(wanted: Iterable[Requirement]) -> dict[str, Installed]:
    """Maps the normalised name of each package that is there, among those wanted and `INDIRECT`, to what it is."""
    found = {}
    for name in (*(requirement.name for requirement in wanted), *INDIRECT):
        try:
            distribution = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        if distribution.metadata["Version"]:  # a removal that was interrupted leaves a package without
            found[canonicalize_name(name)] = Installed(distribution.version, tuple(distribution.requires or ()))
    return found


def tested_versions(root: Path) -> dict[str, str]:
    """Reads the versions that a checkout was tested with."""
    lines = (root / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pairs = [line.partition("==") for line in lines if not line.startswith("#")]
    return {canonicalize_name(name): version.strip() for name, separator, version in pairs if separator}


def keras_backends() -> tuple[str | None, str | None]:
    """The backends that `KERAS_BACKEND` and Keras' settings file ask for; None where they are silent."""
    try:
        configured = json.loads((keras_home() / "keras.json").read_text(encoding="utf-8")).get("backend")
    except (OSError, ValueError, AttributeError):  # Keras too ignores a file that it cannot read
        configured = None
    return os.environ.get("KERAS_BACKEND") or None, configured


@dataclass(frozen=True)
class TensorFlow:
    """Whether TensorFlow and Keras load: the names of the GPUs they see, or the last words if they do not.

    `too_new` names those GPUs of a generation that this build of TensorFlow does not know.
    """

    gpus: tuple[str, ...] = ()
    error: str = ""
    too_new: tuple[str, ...] = ()


def tensorflow() -> TensorFlow:
    """Imports TensorFlow and Keras in another process, or asks the TensorFlow that this one has loaded already."""
    loaded = sys.modules.get("tensorflow")
    if loaded is not None:
        gpus = map(loaded.config.experimental.get_device_details, loaded.config.list_physical_devices("GPU"))
        return _found(list(gpus), loaded.sysconfig.get_build_info().get("cuda_compute_capabilities", []))
    # A wrong backend is another check's affair.
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "KERAS_BACKEND": "tensorflow"}
    command = [sys.executable, "-c", TENSORFLOW_PROBE]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=IMPORT_SECONDS, env=environment)
    except subprocess.TimeoutExpired:
        return TensorFlow(error=f"still not loaded after {IMPORT_SECONDS} seconds")
    if done.returncode < 0:
        return TensorFlow(error=f"Python was killed by {signal.Signals(-done.returncode).name} while it loaded")
    if done.returncode:
        return TensorFlow(error=(done.stderr.strip().splitlines() or ["no reason given"])[-1])
    return _found(*json.loads(done.stdout.strip().splitlines()[-1]))


def _found(details: list[dict], built_for: list[str]) -> TensorFlow:
    """What TensorFlow says of its GPUs, and of the compute capabilities it was built for ("sm_89", "compute_90")."""
    newest = max((int(re.sub(r"\D", "", name)) // 10 for name in built_for), default=None)
    names = [each.get("device_name", "GPU") for each in details]
    generations = [(each.get("compute_capability") or (0,))[0] for each in details]
    is_too_new = [newest is not None and generation > newest for generation in generations]
    return TensorFlow(tuple(names), too_new=tuple(itertools.compress(names, is_too_new)))


# the computer


@dataclass(frozen=True)
class Driver:
    """NVIDIA's driver: its version and the names of the GPUs it knows, or why it does not answer."""

    version: str = ""
    gpus: tuple[str, ...] = ()
    error: str = ""


def driver() -> Driver | None:
    """Asks `nvidia-smi`; None where there is none."""
    command = shutil.which("nvidia-smi")
    if command is None:
        return None
    query = [command, "--query-gpu=driver_version,name", "--format=csv,noheader"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=DRIVER_SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        return Driver(error=type(error).__name__)
    lines = [line for line in done.stdout.strip().splitlines() if line]
    if done.returncode or not lines:
        return Driver(error=(lines or done.stderr.strip().splitlines() or ["no GPU"])[0])
    pairs = [line.partition(", ") for line in lines]
    return Driver(pairs[0][0], tuple(name for _, _, name in pairs))


def hidden_gpus() -> bool:
    """Whether `CUDA_VISIBLE_DEVICES` keeps every GPU from programs."""
    return os.environ.get("CUDA_VISIBLE_DEVICES", "0").strip() in ("", "-1")


def usable_cores() -> int:
    """Counts the cores this process may use, which can be fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)


def memory_gb() -> tuple[float, float]:
    """Memory in GB (2**30 bytes), in all and available now; a container's limit counts."""
    seen = psutil.virtual_memory()
    total = min([seen.total, *_container_limits()])
    return total / 2**30, min(seen.available, total) / 2**30


def _container_limits() -> list[int]:
    files = map(Path, ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"))
    texts = [file.read_text().strip() for file in files if file.is_file()]
    return [int(text) for text in texts if text.isdecimal()]  # without limit: "max"


# Jupyter


@dataclass(frozen=True)
class Kernel:
    """The Python that Jupyter starts for a kernel."""

    python: str
    is_this_python: bool


def kernel() -> Kernel | None:
    """What Jupyter starts for the kernel `python3`; None without such a kernel.

    With `JUPYTER_PREFER_ENV_PATH` it looks in this environment before the user's own folders, and so does this.
    """
    try:
        from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel
    except ImportError:
        return None
    try:
        command = KernelSpecManager().get_kernel_spec("python3").argv[0]
    except (NoSuchKernel, ValueError, IndexError):
        return None
    # For these bare names Jupyter takes its own Python, whatever the path says.
    is_its_own = command in ("python", "python3", f"python3.{sys.version_info.minor}")
    path = Path(sys.executable if is_its_own else shutil.which(command) or command)
    return Kernel(without_home(path, path.name), _same_python(path, Path(sys.executable)))


def _same_python(first: Path, second: Path) -> bool:
    """Two names of one Python in one folder; environments are told apart by their folders, their Python may be one."""
    return first.parent.resolve() == second.parent.resolve() and first.resolve() == second.resolve()
