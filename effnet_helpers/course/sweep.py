"""Carries out a sweep: says what it will take, runs what has not run yet, and keeps a table of what has."""

from __future__ import annotations

import contextlib
import math
import re
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from effnet_helpers.course import CourseError, profiles
from effnet_helpers.course.display import duration, failure_line
from effnet_helpers.course.execute import Outcome
from effnet_helpers.course.kernels import CAN_SHARE_TURNS
from effnet_helpers.course.run import (
    MEMORY_OF_A_KERNEL,
    PARAMETERS,
    check_name,
    default_name,
    ended_well,
    lock,
    new_run_dir,
    run_series,
    write_whole,
)
from effnet_helpers.course.seeds import RUNS, STATISTICS, conclude, runs_table
from effnet_helpers.course.sweep_plan import KEPT, Plan, read_kept, refuse_other
from effnet_helpers.machine import memory_gb, usable_cores

from rich.console import Console

HEADER = re.compile(r"running (\d+) minutes?, ([\d.]+) GB of memory on two CPU cores")
CORES_OF_HEADERS = 2


@dataclass(frozen=True)
class Needs:
    """What one run takes.

    Attributes:
        memory_gb: Of the notebook that needs most.
        minutes: Of all its notebooks, one after the other on two cores; None if nobody knows.
        source: Where these are from.
    """

    memory_gb: float
    minutes: float | None
    source: str

    def at_once(self) -> int:
        """Decides how many notebooks run at once here: one a core, as far as free memory reaches."""
        if shutil.which("nvidia-smi") or not CAN_SHARE_TURNS:  # they would share a GPU; or disturb what measures time
            return 1
        return max(1, min(usable_cores(), int(memory_gb()[1] / self.memory_gb)))


def needs(planned: Plan, before: Iterable[Outcome]) -> Needs:
    """Reads what a run takes from runs of the same sweep, else from the headers of the lessons."""
    if before := list(before):
        seconds = sum(outcome.seconds for outcome in before) / len(before) * len(planned.notebooks)
        memory = max(outcome.usage.peak_memory_mb for outcome in before) / 1024
        return Needs(max(memory, 0.1), seconds / 60, "by the runs that ended before")
    cells = [profiles.read_notebook(path).cells for path in planned.notebooks]
    found = [HEADER.search(each[0].source if each else "") for each in cells]
    if not all(found):
        return Needs(MEMORY_OF_A_KERNEL, None, "assumed, as the header does not say")
    minutes = sum(float(each[1]) for each in found)
    memory = max(float(each[2]) for each in found)
    return Needs(memory, minutes if planned.profile == profiles.QUICK else None, "by the header, its own parameters")


def sweep(
    root: Path,
    planned: Plan,
    console: Console,
    name: str | None = None,
    jobs: int | None = None,
    scheduler: str | None = None,
    resume: bool = False,
) -> bool:
    """Runs what is planned, and leaves `runs/<name>` with a folder for each run, tables, charts and a page.

    Args:
        root: The checkout.
        planned: From `sweep_plan.plan` or `sweep_plan.resumed`.
        console: Where to show it.
        name: The folder under `runs/`; by default the time and the profile.
        jobs: How many notebooks at once on this machine; by default as many as have a core and memory.
        scheduler: The address of a scheduler of Dask to run them on instead.
        resume: Whether to go on with the sweep of this name.

    Returns:
        Whether all ended well.

    Raises:
        CourseError: If there is a run or a sweep of this name, another process works on it, or there is no scheduler at
            that address.
        KeyboardInterrupt: After Ctrl-C, when all workers and kernels have ended.
    """
    if scheduler and jobs:
        raise CourseError("--jobs is for this machine; how many notebooks run on a scheduler, its workers decide")
    if name and not resume and (root / "runs" / name / KEPT).is_file():
        refuse_other(name, read_kept(root / "runs" / name), planned.kept())
        raise CourseError(f"This sweep is there: --resume {name} goes on with it, another --name begins a new one")
    name = name or default_name(root, f"{planned.profile}-sweep")
    check_name(name)
    with lock(root / "runs" / name):
        return _carry_out(root, planned, console, name, jobs, scheduler, resume)


def _carry_out(
    root: Path, planned: Plan, console: Console, name: str, jobs: int | None, scheduler: str | None, resume: bool
) -> bool:
    folder = root / "runs" / name
    before = [each for run in planned.given for each in ended_well(folder / run).values()] if resume else []
    todo = len(planned.given) * len(planned.notebooks) - len(before)
    needed = needs(planned, before)
    at_once = min(jobs or needed.at_once(), max(1, todo))

    def say(line: str) -> None:
        console.print(line, soft_wrap=True, markup=False, highlight=False)

    for line in announcement(planned, needed, todo, at_once, scheduler):
        say(line)
    say(f"Results: {folder}")
    outcomes: dict[str, Outcome] = {}

    def tell(ended: dict[str, Outcome], kept: set[str]) -> None:
        outcomes.update(ended)
        write_whole(folder / RUNS, runs_table(planned, ended).to_csv(index=False))
        new = [outcome for label, outcome in ended.items() if label not in kept]
        if len(new) == 1 < todo and not scheduler:
            left = math.ceil((todo - 1) / at_once) * new[0].seconds
            say(f"About {duration(left)} min more, as the first one took {duration(new[0].seconds)}.")

    from effnet_helpers.course import workers

    if scheduler:
        place = workers.workers_of(scheduler, todo, say)
    else:
        place = workers.local_workers(at_once, say) if todo else contextlib.nullcontext()
    try:
        with place as there:
            if not resume:
                new_run_dir(root, name, planned.kept(), file=KEPT)
            run_series(
                root,
                planned.notebooks,
                {f"{name}/{run}": given for run, given in planned.given.items()},
                planned.profile,
                console,
                there.at_once if there else 1,
                resume,
                sweep=name,
                one=there.run_one if there else None,
                cores=there.cores if there else None,
                tell=tell,
            )
        conclude(planned, outcomes, folder, console)
    finally:
        ended = [each for run in planned.given for each in ended_well(folder / run)]
        whole = len(ended) == len(planned.given) * len(planned.notebooks)
        if (folder / KEPT).exists() and not whole:
            can_go_on = all((folder / run / PARAMETERS).is_file() for run in planned.given)
            not_begun = f"{name} cannot go on, since a run of it has no folder: take another --name."
            say(f"`effnet sweep --resume {name}` goes on with it." if can_go_on else not_begun)
    say(f"Wrote {folder / STATISTICS}, {folder / RUNS}")
    say(f"Open {folder / 'index.html'}")
    for label in (f"{run} {path.stem}" for run in planned.given for path in planned.notebooks):
        if outcomes[label].status != "ok":
            say(f"Failed: {label}, {failure_line(outcomes[label])}")
    return whole


def announcement(planned: Plan, needed: Needs, todo: int, at_once: int, scheduler: str | None) -> list[str]:
    """Says before a sweep begins what it runs, on what, and about how long that takes."""
    total = len(planned.given) * len(planned.notebooks)
    lines = [str(planned)]
    if todo < total:
        lines += [f"{total - todo} of {total} notebooks ended well before; {todo} are left."]
    if not todo:
        return lines
    if scheduler:
        return [*lines, f"They run on the workers of {scheduler}."]
    cores, share = usable_cores(), max(1, usable_cores() // at_once)
    core = f"{share} of {cores} cores" if cores > 1 else "the one core"
    free = memory_gb()[1]
    lines += [
        f"{at_once} at once, each with {core}; {needed.memory_gb:.2g} GB of memory each ({needed.source}), "
        f"{free:.2g} GB are free."
    ]
    if needed.minutes is None:
        return [*lines, "How long it takes is known when the first one has ended."]
    slower = 1 if needed.source.startswith("by the runs") else max(1, CORES_OF_HEADERS / share)
    minutes = math.ceil(todo / at_once) * needed.minutes / len(planned.notebooks) * slower
    return [*lines, f"About {max(1, round(minutes))} min in all, {needed.source}."]
