"""Can this computer run the lessons? `check_computer()` says so in a sentence, and what to do where they cannot.

Nothing here imports TensorFlow, Keras or anything else that is checked, so that what is broken can be named instead of
crashing the check. Nothing asks the network either.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from effnet_helpers.machine import checks, facts, places
from effnet_helpers.machine.checks import NOTE, OK, PROBLEM, Finding

CACHE_GB = 1.0
"""Room that the cache should find: runs on the default values leave 0.13 GB there, others may leave more."""


@dataclass(frozen=True)
class Needs:
    """What a profile takes from this computer.

    Attributes:
        profile: its name; "quick" are the notebooks' own values.
        weights: variants whose ImageNet weights are loaded, each with whether its classification layer is.
        datasets: specifications of data sets, as `data.load` takes them.
    """

    profile: str
    weights: tuple[tuple[str, bool], ...]
    datasets: tuple[str, ...]


DEFAULT = Needs("quick", tuple((name, True) for name in places.PACKAGED_WEIGHTS), ("textile",))
"""What the notebooks need on their own values: everything that was installed with the package."""


def check_computer(
    needs: Needs = DEFAULT,
    root: Path = facts.ROOT,
    tensorflow: Callable[[], facts.TensorFlow] = facts.tensorflow,
) -> Readiness:
    """Looks at this computer and compares it with what the lessons need. Takes a few seconds.

    Args:
        needs: What a profile needs; by default what the notebooks' own values need.
        root: The checkout, where there is one: its tested versions count, and its `runs` folder is tried.
        tensorflow: What to ask about TensorFlow, by far the slowest question, so that it can be asked beforehand.

    Returns:
        A `Readiness`. `print` it for what is not as it should be and one sentence in summary.
    """
    return Readiness(needs.profile, tuple(_findings(needs, root, tensorflow())))


def _findings(needs: Needs, root: Path, tensorflow: facts.TensorFlow) -> Iterator[Finding]:
    is_checkout = (root / "constraints.txt").is_file()
    admitted, wanted = facts.own_requirements()
    installed = facts.installed(wanted)
    tested = facts.tested_versions(root) if is_checkout else {}
    yield checks.python(facts.python_version(), admitted)
    yield checks.packages(wanted, installed, is_checkout)
    yield checks.versions(wanted, installed, tested)
    yield from checks.combinations(installed, *facts.keras_backends())

    yield checks.tensorflow_loads(tensorflow, is_checkout)
    yield checks.gpu(facts.driver(), tensorflow, facts.hidden_gpus(), needs.profile, is_checkout)
    yield checks.processor(facts.usable_cores())
    yield checks.memory(*facts.memory_gb(), needs.profile)

    keras_files = [path for each in needs.weights if (path := places.keras_file(*each))]
    to_fetch = [path for path in keras_files if not path.is_file()]
    weights_gb = sum(places.keras_file_gb(path) for path in to_fetch)
    sets = [places.dataset(specification) for specification in needs.datasets]
    sets_gb = sum(found.download_gb for found in sets)
    yield checks.folder("cache folder", places.cache_folder(), CACHE_GB + sets_gb, "EFFNET_CACHE")
    if is_checkout:
        yield checks.folder("folder of runs", places.folder(root / "runs", "runs"), 0.1, "")
    yield checks.folder("Keras home", places.folder(places.keras_home(), "KERAS_HOME"), weights_gb, "KERAS_HOME")
    # The archive as it came, and what tensorflow_datasets makes of it.
    yield checks.folder("data folder", places.folder(places.tfds_home(), "TFDS_DATA_DIR"), 2 * sets_gb, "TFDS_DATA_DIR")

    if needs.weights:
        names = [name for name, _ in needs.weights]
        without = [name for name in names if not places.has_weights(name)]
        yield checks.weights(names, without, [path.name for path in to_fetch], weights_gb)
    if sets:
        yield checks.datasets(sets)
    yield checks.jupyter(installed["jupyterlab"].version if "jupyterlab" in installed else None, facts.kernel())


@dataclass(frozen=True)
class Readiness:
    """What `check_computer` found; `print(report)` gives what is not as it should be, and a sentence in summary.

    Attributes:
        profile: what the computer was compared with.
        findings: in the order of the checks.
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
        problems = sum(finding.status == PROBLEM for finding in self.findings)
        notes = sum(finding.status == NOTE for finding in self.findings)
        if problems:
            them = "one problem stands" if problems == 1 else f"{problems} problems stand"
            return f"This computer is not ready for the {self.profile} profile: {them} in the way."
        remarks = {0: "all fine", 1: "with one note"}.get(notes, f"with {notes} notes")
        return f"This computer is ready for the {self.profile} profile ({len(self.findings)} checks, {remarks})."

    def __str__(self) -> str:
        lines = [str(finding) for finding in self.findings if finding.status != OK]
        return "\n".join([*lines, self.summary])
