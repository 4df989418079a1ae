"""What a profile needs, read from its notebooks' parameters, and the table that `effnet check` shows."""

from __future__ import annotations

from pathlib import Path

from effnet_helpers.machine import NOTE, OK, PROBLEM, Readiness
from effnet_helpers.variants import VARIANTS

from rich.markup import escape
from rich.table import Table

# Parameters that name variants whose ImageNet weights a lesson loads, with their classification layer (True) or not.
WEIGHTS = {"variant": (True, False), "tour": (True,), "depth_variant": (False,)}
COLOURS = {OK: "green", NOTE: "yellow", PROBLEM: "bold red"}


def needs(root: Path, profile: str) -> tuple[list[tuple[str, bool]], list[str]]:
    """Reads from a checkout which weights and data a profile uses, as `machine.check_computer` takes them.

    Args:
        root: The checkout. Without one only the quick profile is known, whose weights and data are packages.
        profile: See `profiles.resolve`.

    Raises:
        CourseError: If there is no such profile, or no checkout to read it from.
    """
    try:
        from effnet_helpers.course import profiles
    except ImportError:  # a package is missing, which is what the report will say
        return [], []
    if profile == profiles.QUICK and not (root / "notebooks").is_dir():
        return [], []
    paths = profiles.notebooks(root)
    weights, datasets = [], []
    for values in profiles.in_effect(paths, profiles.resolve(root, paths, profile, [])).values():
        for name, tops in WEIGHTS.items():
            named = values.get(name, [])
            variants = [each for each in ([named] if isinstance(named, str) else named) if each in VARIANTS]
            weights += [(variant, top) for variant in variants for top in tops]
        datasets += [values["dataset"]] if "dataset" in values else []
    return list(dict.fromkeys(weights)), list(dict.fromkeys(datasets))


def table(report: Readiness) -> Table:
    """Makes one line for each finding, and one below it for what helps."""
    lines = Table.grid(padding=(0, 2, 0, 0))
    for finding in report.findings:
        remedy = f"\n[dim]→ {escape(finding.remedy)}[/]" if finding.remedy else ""
        lines.add_row(f"[{COLOURS[finding.status]}]{finding.status}[/]", finding.name, escape(finding.text) + remedy)
    return lines
