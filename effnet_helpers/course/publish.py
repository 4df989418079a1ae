"""Writes the address at which a course is published into everything that names it. Twice does no more than once."""

from __future__ import annotations

import re
from pathlib import Path

from effnet_helpers.course import CourseError, build, opening

BEGIN, END = "<!-- address: make publish writes it -->", "<!-- end of address -->"
URLS = re.compile(r'^\[project\.urls\]\nRepository = "[^"\n]*"\n\n', re.MULTILINE)
CLONE = re.compile(r"^#   git clone .*\n", re.MULTILINE)


def publish(root: Path, repository: str) -> list[Path]:
    """Writes an address into `pyproject.toml`, the README, `environment.yml` and all notebooks, whose outputs stay.

    Args:
        root: The checkout.
        repository: `owner/name` on GitHub.

    Returns:
        The files that changed.

    Raises:
        CourseError: If that is no such name, a file has lost its place for it, a notebook is to be built before, or
            exercises there have been worked in.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9-]*/[\w.-]+", repository):
        raise CourseError(f"Expected owner/name, as in the repository's address on GitHub. Received: {repository!r}")
    address = f"{opening.GITHUB}{repository.removesuffix('.git')}"
    sources = [*build.sources(root), *build.exercise_sources(root)]
    unbuilt = [source.relative_to(root).as_posix() for source in sources if not build.can_keep_outputs(source)]
    if unbuilt:
        raise CourseError(f"These were changed since they were built; effnet build first: {', '.join(unbuilt)}")
    build.refuse_answers(sources)
    changes = {root / name: change(_read(root / name), address) for name, change in PLACES.items()}
    changed = [path for path, text in changes.items() if text != _read(path)]
    for path in changed:
        path.write_text(changes[path], encoding="utf-8", newline="\n")
    for source in sources:
        paths = [build.built_path(source, form) for form in build.forms(source)]
        before = [path.read_bytes() for path in paths]
        build.keep_outputs(source)
        changed += [path for path, content in zip(paths, before, strict=True) if path.read_bytes() != content]
    return changed


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise CourseError(f"{path} is missing: an address is written into a checkout. Pass --root") from None


def _project(text: str, address: str) -> str:
    section = f'[project.urls]\nRepository = "{address}"\n\n'
    before, place, after = URLS.sub("", text).partition("[project.scripts]\n")
    return before + section + place + _found(after, "pyproject.toml", "[project.scripts]")


def _readme(text: str, address: str) -> str:
    before, _, rest = text.partition(BEGIN)
    after = _found(rest.partition(END)[2], "README.md", f"{BEGIN} … {END}")
    name = address.removeprefix(opening.GITHUB)
    row = [
        f"[![test]({address}/actions/workflows/test.yml/badge.svg)]({address}/actions/workflows/test.yml)",
        opening.badges(address, "notebooks/01_first_predictions.ipynb"),
        f"[in a codespace](https://codespaces.new/{name})",
    ]
    return f"{before}{BEGIN}\n{' '.join(row)}\n\n`git clone {address}`\n{END}{after}"


def _environment(text: str, address: str) -> str:
    before, place, after = CLONE.sub("", text).partition("#   conda env create")
    line = f"#   git clone {address} && cd {address.rpartition('/')[2]}\n"
    return before + line + place + _found(after, "environment.yml", "#   conda env create …")


def _found(after: str, name: str, place: str) -> str:
    if not after:
        raise CourseError(f"{name} has lost the place of the address: {place}")
    return after


PLACES = {"pyproject.toml": _project, "README.md": _readme, "environment.yml": _environment}
