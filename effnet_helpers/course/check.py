"""What a profile needs, read from its notebooks' parameters, and the table that `effnet check` shows."""

from __future__ import annotations

from pathlib import Path

from effnet_helpers.machine import DEFAULT, NOTE, OK, PROBLEM, Needs, Readiness
from effnet_helpers.variants import VARIANTS

from rich.markup import escape
from rich.table import Table

# Parameters that name variants whose ImageNet weights a lesson loads, with their classification layer (True) or not.
WEIGHTS = {"variant": (True, False), "tour": (True,), "depth_variant": (False,)}
COLOURS = {OK: "green", NOTE: "yellow", PROBLEM: "bold red"}


def needs(root: Path, profile: str) -> Needs:
    """Reads from a checkout which weights and data a profile uses.

    Args:
        root: The checkout. Without one only the profile of the notebooks' own values is known.
        profile: `quick`, or the name of a file in `notebooks/profiles/`.

    Raises:
        CourseError: If there is no such profile, or no checkout to read it from.
    """
    if profile == DEFAULT.profile and not (root / "notebooks").is_dir():
        return DEFAULT
    try:
        from effnet_helpers.course import profiles
    except ImportError:  # a package is missing, which is what the report will say
        return Needs(profile, (), ())
    paths = profiles.notebooks(root)
    given = profiles.in_effect(paths, profiles.resolve(root, paths, profile, []))
    weights, datasets = {}, {}  # keys alone count, in order
    for values in given.values():
        for name, tops in WEIGHTS.items():
            named = values.get(name, [])
            for variant in [named] if isinstance(named, str) else named:
                weights |= {(variant, top): None for top in tops if variant in VARIANTS}
        if "dataset" in values:
            datasets[values["dataset"]] = None
    return Needs(profile, tuple(weights), tuple(datasets))


def table(report: Readiness) -> Table:
    """One line for each finding, and one below it for what helps."""
    lines = Table.grid(padding=(0, 2, 0, 0))
    for finding in report.findings:
        remedy = f"\n[dim]→ {escape(finding.remedy)}[/]" if finding.remedy else ""
        status = f"[{COLOURS[finding.status]}]{finding.status}[/]"
        lines.add_row(status, finding.name, escape(finding.text) + remedy)
    return lines
