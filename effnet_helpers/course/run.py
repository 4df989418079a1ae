"""Runs the series and leaves a folder: executed notebooks, pages, figures, the parameters and versions in use."""

from __future__ import annotations

import contextlib
import csv
import datetime
import importlib.metadata
import json
import os
import platform
import re
import statistics
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from effnet_helpers.course import CourseError, build, profiles
from effnet_helpers.course.display import live_progress
from effnet_helpers.course.execute import INTERRUPTED, Outcome, execute
from effnet_helpers.course.pages import write_index, write_page

import psutil
from rich.console import Console

DISTRIBUTION = "effnet-helpers"


def new_run_dir(root: Path, name: str) -> Path:
    """Creates `runs/<name>` and points `runs/latest` at it.

    Args:
        root: The checkout.
        name: One folder name, or several joined by `/`, of letters, digits, `.`, `_` and `-`.

    Raises:
        CourseError: If the name is not of this form or is taken.
    """
    if not re.fullmatch(r"[\w-][\w.-]*(/[\w-][\w.-]*)*", name) or name == "latest":
        raise CourseError(f"The name of a run has letters, digits, '.', '_' and '-' only. Received: {name!r}")
    run_dir = root / "runs" / name
    try:
        (run_dir / "logs").mkdir(parents=True)
    except FileExistsError:
        raise CourseError(f"There is a run of this name, which stays as it is. Received: {name!r}") from None
    with contextlib.suppress(OSError):  # Windows lets only some users make links
        link = root / "runs" / "latest"
        link.unlink(missing_ok=True)
        link.symlink_to(name, target_is_directory=True)
    return run_dir


def default_name(profile: str) -> str:
    """Names a run by the local time and the profile."""
    return f"{datetime.datetime.now():%Y-%m-%d-%H%M%S}-{profile}"


def run_series(
    root: Path,
    chosen: list[Path],
    *,
    profile: str,
    given: dict[str, dict[str, Any]],
    name: str,
    console: Console,
) -> list[Outcome]:
    """Runs notebooks one after the other, each in its own kernel; one that fails does not stop the others.

    Args:
        root: The checkout; the run goes to `runs/<name>` there.
        chosen: The notebooks.
        profile: The profile's name, for the record.
        given: The parameters from `profiles.resolve`.
        name: The run's name.
        console: Where progress is shown.

    Returns:
        What came of each. After Ctrl-C the last one's error is `INTERRUPTED` and the notebooks behind it are missing.
    """
    run_dir = new_run_dir(root, name)
    _write_json(run_dir / "parameters.json", {"profile": profile, "notebooks": profiles.in_effect(chosen, given)})
    _write_json(run_dir / "versions.json", versions(root))
    for source in build.sources(root):
        if build.built_path(source) in chosen and (difference := build.out_of_step(source)):
            console.print(f"Note: {difference}. Running it as it is; `make notebooks` rebuilds it.", markup=False)
    outcomes: list[Outcome] = []
    with live_progress([path.stem for path in chosen], console) as display:
        for path in chosen:
            executed = run_dir / path.name
            outcome = execute(
                path,
                executed,
                parameters=given[path.stem],
                cwd=path.parent,
                log=run_dir / "logs" / f"{path.stem}.log",
                on_cell=display.start(path.stem),
            )
            outcomes.append(outcome)
            if executed.exists():
                write_page(executed, path.parent)
            write_index(run_dir, profile, outcomes)
            _write_json(run_dir / "metrics.json", {each.notebook: each.metrics() for each in outcomes})
            display.finish(outcome)
            if outcome.error == INTERRUPTED:
                break
    return outcomes


def versions(root: Path) -> dict[str, Any]:
    """Describes what a run ran on: Python, the packages this course asks for, the machine, the commit."""
    required = [re.match(r"[\w.-]+", line)[0] for line in importlib.metadata.requires(DISTRIBUTION) or []]
    packages = {}
    for package in sorted({DISTRIBUTION, *required}, key=str.lower):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):  # of an extra that is not installed
            packages[package] = importlib.metadata.version(package)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "python": platform.python_version(),
        "packages": packages,
        "machine": {
            "system": platform.platform(),
            "processor": platform.machine(),
            "cores": cores,
            "memory_gb": round(psutil.virtual_memory().total / 2**30, 1),
        },
        "git_commit": _git(root, "rev-parse", "HEAD"),
        "git_changes": bool(_git(root, "status", "--porcelain")),
    }


def seed_statistics(runs: dict[int, list[Outcome]]) -> list[dict[str, Any]]:
    """Summarises recorded numbers over runs with different seeds.

    Args:
        runs: For each seed what came of the notebooks.

    Returns:
        A row for each notebook and figure: mean, sample standard deviation, minimum, maximum, and the value of each
        seed. Runs that failed or did not record the figure are left out.
    """
    values: dict[tuple[str, str], dict[int, float]] = {}
    for seed, outcomes in runs.items():
        for outcome in outcomes:
            for name, value in outcome.records.items():
                if outcome.status == "ok" and isinstance(value, int | float) and not isinstance(value, bool):
                    values.setdefault((outcome.notebook, name), {})[seed] = value
    return [
        {
            "notebook": notebook,
            "figure": figure,
            "seeds": len(by_seed),
            "mean": statistics.fmean(by_seed.values()),
            "standard_deviation": statistics.stdev(by_seed.values()) if len(by_seed) > 1 else None,
            "minimum": min(by_seed.values()),
            "maximum": max(by_seed.values()),
            **{f"seed_{seed}": by_seed.get(seed) for seed in runs},
        }
        for (notebook, figure), by_seed in values.items()
    ]


def write_csv(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Writes rows that share their keys as a CSV file with a heading line."""
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, fieldnames=list(rows[0]) if rows else [])
        writer.writeheader()
        writer.writerows(rows)


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _git(root: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):  # no git, or not a checkout
        return None
    return done.stdout.strip()
