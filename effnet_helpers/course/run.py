"""Runs notebooks, two at once where that pays, and leaves a folder: what they printed, drew, recorded and ran on."""

from __future__ import annotations

import contextlib
import datetime
import functools
import importlib.metadata
import itertools
import json
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from effnet_helpers import outputs
from effnet_helpers.course import CourseError, build, profiles
from effnet_helpers.course.execute import CellCallback, Outcome, execute
from effnet_helpers.course.kernels import Kernels, Usage
from effnet_helpers.course.pages import write_index, write_page
from effnet_helpers.course.places import Hide, hiding
from effnet_helpers.course.sweep_plan import KEPT
from effnet_helpers.course.work import Effort, run_all
from effnet_helpers.machine import memory_gb, usable_cores

from rich.console import Console

MEMORY_OF_A_KERNEL = 3  # GB (2**30 bytes)
PARAMETERS = "parameters.json"  # how a run began

EMPTY = outputs.Kind("a run", lambda folder: not any(folder.iterdir()))

RunOne = Callable[[Path, Path, dict[str, Any], Hide, CellCallback, Kernels], Outcome]


def side_by_side() -> int:
    """Decides how many notebooks run at once: two with cores and memory for both, and no GPU that they would share."""
    if shutil.which("nvidia-smi"):
        return 1
    return max(1, min(2, usable_cores(), int(memory_gb()[0] / MEMORY_OF_A_KERNEL)))


def run_series(
    root: Path,
    chosen: list[Path],
    plans: dict[str, dict[str, dict[str, Any]]],
    profile: str,
    console: Console,
    at_once: int | None = None,
    resume: bool = False,
    *,
    sweep: str | None = None,
    one: RunOne | None = None,
    cores: int | None = None,
    tell: Callable[[dict[str, Outcome], set[str]], None] = lambda outcomes, kept: None,
) -> list[list[Outcome]]:
    """Runs notebooks, each in its own kernel, once for each plan; cells tagged `alone` have the computer to themselves.

    Args:
        root: The checkout; a run goes to `runs/<name>` there.
        chosen: The notebooks.
        plans: The parameters from `profiles.resolve`, by the name of the run.
        profile: The profile's name, for the record.
        console: Where progress is shown.
        at_once: How many run side by side; by default as many as `side_by_side` says.
        resume: Whether the plans are those of runs from `profiles.resumed`: what ended well in them is not run again.
        sweep: The name of what the plans belong to, which shows and resumes them together.
        one: Runs a notebook, such as `workers.Workers.run_one`; by default in a kernel of this process.
        cores: How many there are; those of this machine by default.
        tell: Is told, whenever a notebook has ended, what came of all that have, by the names of run and notebook, and
            of which of them this was known before.

    Returns:
        For each plan what came of its notebooks.

    Raises:
        CourseError: If there is a run of this name, another process works on it, or the name cannot be one.
        KeyboardInterrupt: After Ctrl-C, when what was reached is written.
    """
    for source in build.sources(root):
        if build.built_path(source) in chosen and (difference := build.out_of_step(source)):
            console.print(f"Note: {difference}. Running it as it is; `make notebooks` rebuilds it.", markup=False)
    now, ran_on, work, labels_of = versions(root), {}, {}, {}  # what to do by label, labels by folder
    done, written, seconds_before = {}, {}, 0.0
    for name in plans:
        check_name(name)
    with contextlib.ExitStack() as locked:
        for name, given in plans.items():
            values = profiles.in_effect(chosen, given)
            hide = hiding(root, profiles.paths_in(values))
            begun = {"profile": profile, "notebooks": hide(values), "digests": profiles.digests(chosen, values)}
            if not sweep:  # which has locked its folder
                for place in (each for each in (root / "runs" / name).parents if (each / KEPT).is_file()):
                    locked.enter_context(lock(place))  # a sweep that it is in
                locked.enter_context(lock(root / "runs" / name))
            folder = root / "runs" / name if resume else new_run_dir(root, name, begun, sweep)
            labels = {path: f"{folder.name} {path.stem}" if sweep else path.stem for path in chosen}
            todo = {
                labels[path]: functools.partial(one or run_one, path, folder, given[path.stem], hide) for path in chosen
            }
            ran_on[folder], labels_of[folder] = now, todo.keys()
            if resume and (well := ended_well(folder)):
                before = json.loads((folder / "versions.json").read_text(encoding="utf-8"))
                ran_on[folder] = now | {"before": before}
                seconds_before = max(seconds_before, before["run"]["seconds"])
                done |= {labels[path]: well[path.stem] for path in chosen if path.stem in well}
                if len(well) == len(todo):  # what it leaves tells of it
                    written[folder] = [done[label] for label in todo]
            work |= todo
        if done:
            console.print(f"Not run again, since they ended well: {', '.join(done)}.", highlight=False)
            work |= {label: lambda on_cell, kernels, outcome=outcome: outcome for label, outcome in done.items()}

        def report(outcomes: dict[str, Outcome], effort: Effort) -> None:
            for folder, labels in labels_of.items():
                those = [(done | outcomes)[label] for label in labels if label in done or label in outcomes]
                if those == written.get(folder, []):
                    continue
                write_index(folder, profile, those, str(effort))
                _write_json(folder / "versions.json", ran_on[folder] | {"run": asdict(effort)})
                # Last, since what it calls ok is not run again.
                _write_json(folder / "metrics.json", {outcome.notebook: outcome.metrics() for outcome in those})
                written[folder] = those
            tell(done | outcomes, set(done))

        try:
            outcomes = run_all(work, console, at_once or side_by_side(), report, seconds_before, cores)
        finally:
            for folder, labels in () if sweep else labels_of.items():
                console.print(f"Open {folder / 'index.html'}", soft_wrap=True, markup=False, highlight=False)
                if len(ended_well(folder)) < len(labels):
                    name = folder.relative_to(root / "runs").as_posix()
                    console.print(f"`effnet run --resume {name}` goes on with it.", soft_wrap=True, highlight=False)
        return [[outcomes[label] for label in labels] for labels in labels_of.values()]


def check_name(name: str) -> None:
    """Refuses names that a run cannot have; several parts may be joined by `/`."""
    if not re.fullmatch(r"[\w-][\w.-]*(/[\w-][\w.-]*)*", name) or name == "latest":
        raise CourseError(f"The name of a run has letters, digits, '.', '_' and '-' only. Received: {name!r}")


@contextlib.contextmanager
def lock(folder: Path) -> Iterator[None]:
    """Keeps other processes out of the folder of a run or a sweep, see `outputs.alone_in`."""
    with contextlib.ExitStack() as locked:
        try:
            locked.enter_context(outputs.alone_in(folder))
        except ValueError as error:
            raise CourseError(str(error)) from None
        yield


def ended_well(folder: Path) -> dict[str, Outcome]:
    """Reads what came of those notebooks of a run that its `metrics.json`, always written last and whole, calls ok."""
    path, outcomes = folder / "metrics.json", {}
    for stem, own in json.loads(path.read_text(encoding="utf-8")).items() if path.exists() else ():
        notebook = folder / f"{stem}.ipynb"
        if own["status"] == "ok" and notebook.exists() and notebook.with_suffix(".html").exists():
            usage = Usage(own["peak_memory_mb"], own["cpu_seconds"])
            outcomes[stem] = Outcome(stem, "ok", own["seconds"], usage, profiles.read_notebook(notebook))
    return outcomes


def new_run_dir(root: Path, name: str, begun: dict[str, Any], sweep: str | None = None, file: str = PARAMETERS) -> Path:
    """Creates `runs/<name>`, which may have several parts joined by `/`, and points `runs/latest` at it or its sweep.

    It comes with its `parameters.json`, or another file that tells how it began, so that it can be resumed whenever it
    is interrupted.

    Raises:
        CourseError: If the name has characters that it may not have, or is taken.
    """
    check_name(name)
    run_dir = root / "runs" / name
    try:
        with outputs.replacing(EMPTY, run_dir) as new:
            (new / run_dir.name / ("logs" if file == PARAMETERS else "")).mkdir(parents=True)
            _write_json(new / run_dir.name / file, begun)
    except ValueError:
        raise CourseError(f"There is a run of this name, which stays as it is. Received: {name!r}") from None
    with contextlib.suppress(OSError):  # Windows lets only some users make links
        link = root / "runs" / "latest"
        if link.is_symlink():  # anything else is the user's
            link.unlink()
        link.symlink_to(sweep or name, target_is_directory=True)
    return run_dir


def default_name(root: Path, kind: str) -> str:
    """Names a run by the local time and its kind, and makes its folder, so that no run of the same second has it."""
    name = stamp = f"{datetime.datetime.now():%Y-%m-%d-%H%M%S}-{kind}"
    for number in itertools.count(2):
        with contextlib.suppress(FileExistsError):
            (root / "runs" / name).mkdir(parents=True)
            break
        name = f"{stamp}-{number}"
    return name


def versions(root: Path) -> dict[str, Any]:
    """Describes what a run ran on: Python and its packages, the machine, the commit."""
    found = [(each.name, each.version) for each in importlib.metadata.distributions() if each.name]  # none if broken
    system, processor, memory = platform.platform(), platform.machine(), round(memory_gb()[0], 1)
    return {
        "python": platform.python_version(),
        "packages": dict(sorted(found, key=lambda package: package[0].lower())),
        "machine": {"system": system, "processor": processor, "cores": usable_cores(), "memory_gb": memory},
        "git_commit": _git(root, "rev-parse", "HEAD"),
        "git_changes": bool(_git(root, "status", "--porcelain")),
    }


def run_one(
    path: Path,
    folder: Path,
    given: dict[str, Any],
    hide: Hide,
    on_cell: CellCallback,
    kernels: Kernels,
    kept_in: Path | None = None,
) -> Outcome:
    """Runs one notebook and leaves it, its page and its log in a folder, from which they may move to `kept_in`."""
    options = {"cwd": path.parent, "log": folder / "logs" / f"{path.stem}.log"}
    outcome = execute(path, folder / path.name, given, on_cell=on_cell, kernels=kernels, hide=hide, **options)
    if outcome.executed:
        with kernels.taking_turns():  # a timing cell next door would notice
            write_page(outcome, folder, path.parent, kept_in)
        for written in folder.glob(f"{path.stem}.*"):
            outputs.onto_disk(written)  # before metrics.json tells of them, should the power fail
    return outcome


def write_whole(path: Path, content: str | bytes) -> None:
    """Writes a file, or replaces one, so that whatever happens there is the one or the other."""
    part = path.with_name(f".{path.name}.part")  # always the same, so that many interruptions leave only one
    part.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)
    outputs.onto_disk(part)
    os.replace(part, path)


def _write_json(path: Path, content: dict[str, Any]) -> None:
    write_whole(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def _git(root: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):  # no git, or not a checkout
        return None
    return done.stdout.strip()
