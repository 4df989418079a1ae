"""Which notebooks run, with which parameters: profiles, `-p name=value`, and what is refused before anything runs."""

from __future__ import annotations

import ast
import contextlib
import functools
import hashlib
import itertools
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from effnet_helpers.course import PACKED, CourseError
from effnet_helpers.course.declared import check_declared
from effnet_helpers.records import did_you_mean

import nbformat
import yaml
from nbformat import NotebookNode
from papermill.models import Parameter
from papermill.translators import PythonTranslator

QUICK = "quick"  # the notebooks' own values: the one profile without a file
PATHS = ("photo", "save_to", "export_to")  # parameters that are paths; those in `dataset` have one of these in front:
KINDS_WITH_PATH = ("folder", "csv")


def lessons_in(folder: Path, suffix: str) -> list[Path]:
    """Returns the files `04_slug` or, of an appendix, `A_slug` of a folder in the order of the series."""
    return sorted(path for start in ("[0-9][0-9]", "[A-Z]") for path in folder.glob(f"{start}_*{suffix}"))


def notebooks_folder(root: Path) -> Path:
    """Returns the folder of built notebooks of a checkout, of the one that a folder is in, or of an installed package.

    Raises:
        CourseError: If there is none.
    """
    for folder in (root, *root.parents, PACKED):
        if lessons_in(folder / "notebooks", ".ipynb"):
            return folder / "notebooks"
    raise CourseError(f"No notebooks in {root / 'notebooks'}. Pass --root, the folder of a checkout")


def notebooks(root: Path) -> list[Path]:
    """Returns the built notebooks of `notebooks_folder` in the order of the series."""
    return lessons_in(notebooks_folder(root), ".ipynb")


@contextlib.contextmanager
def readable(path: Path) -> Iterator[None]:
    """Ends in one sentence with the path what a file of another making, or a damaged one, raises when it is read."""
    try:
        yield
    except (ValueError, SyntaxError, yaml.YAMLError, nbformat.ValidationError) as error:
        reason = " ".join(str(error).split())
        raise CourseError(f"{path} cannot be read: {reason}") from None


def select(paths: list[Path], names: Iterable[str]) -> list[Path]:
    """Picks notebooks or sources by number (`4`, `04`) or letter (`A`), by the start of their name (`04_head`) or slug.

    Args:
        paths: Those to choose from.
        names: What was asked for; nothing means all.

    Returns:
        The chosen paths in the order of the series, each once.

    Raises:
        CourseError: If a name fits none, or more than one.
    """
    chosen = []
    for name in names:
        wanted = Path(name).stem if name.endswith((".ipynb", ".py")) else name
        start = f"{int(wanted):02d}_" if wanted.isdecimal() else f"{wanted.upper()}_" if len(wanted) == 1 else wanted
        names_of = {path: (path.stem, path.stem.partition("_")[2]) for path in paths}
        fitting = [path for path in paths if start and any(each.startswith(start) for each in names_of[path])]
        if len(fitting) != 1:
            known, how_many = (
                ", ".join(path.stem for path in fitting or paths),
                "Several fit" if fitting else "None fits",
            )
            raise CourseError(f"Expected the name of one notebook. {how_many}. Known: {known}. Received: {name!r}")
        chosen += fitting
    return [path for path in paths if path in chosen] if chosen else paths


def read_notebook(path: Path) -> NotebookNode:
    """Reads a notebook, once as long as its file stays the same; not to be changed."""
    status = path.stat()
    return _read(path, status.st_mtime_ns, status.st_size)


def parameters_of(notebook: Path) -> dict[str, Parameter]:
    """Reads a notebook's parameters cell, the way papermill does."""
    cells = [cell for cell in read_notebook(notebook).cells if "parameters" in cell.metadata.get("tags", [])]
    return {parameter.name: parameter for cell in cells[:1] for parameter in PythonTranslator.inspect(cell)}


def resolve(root: Path, chosen: list[Path], profile: str, assignments: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Decides what each notebook is given on top of its own values: the profile's, then those of `-p`.

    Args:
        root: The checkout.
        chosen: The notebooks that will run.
        profile: `quick`, or the name of a file in `notebooks/profiles/`.
        assignments: `name=value` texts. Each goes to every chosen notebook that has such a parameter. Paths start
            from the current folder or, behind `~`, from the user's.

    Returns:
        For each chosen notebook's name the values that differ from, or repeat, its own.

    Raises:
        CourseError: If a name is known to none of them, or a value has the wrong type or is out of its range.
    """
    taken = {path.stem: parameters_of(path) for path in notebooks(root)}
    overlay = _read_profile(root, profile)
    for stem, values in overlay.items():
        if stem not in taken and (root / "notebooks" / "src" / f"{stem}.py").exists():
            continue  # it is written, and not built yet
        check_known("notebook", stem, taken, f"profile {profile}")
        for name, value in values.items():
            check_known("parameter", name, taken[stem], f"profile {profile}, {stem}")
            _check_type(taken[stem][name], value, f"profile {profile}, {stem}")
    given = {path.stem: dict(overlay.get(path.stem, {})) for path in chosen}
    for assignment in assignments:
        name, separator, text = assignment.partition("=")
        if not separator:
            raise CourseError(f"-p expects name=value. Received: {assignment!r}")
        takers = [stem for stem in given if name in taken[stem]]
        if not takers:
            near = did_you_mean(name, itertools.chain(*(taken[stem] for stem in given)))
            lines = [f"\n  {stem}: {', '.join(taken[stem])}" for stem in given]
            raise CourseError(f"No chosen notebook has a parameter {name!r}.{near} They take:{''.join(lines)}")
        for stem in takers:
            parameter = taken[stem][name]
            value = _parse(text, parameter.inferred_type_name)
            _check_type(parameter, value, stem)
            given[stem][name] = _from_here(name, value) if isinstance(value, str) else value
    for path in chosen:
        check_declared(read_notebook(path), path, given[path.stem])
    return given


def in_effect(chosen: list[Path], given: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Returns every parameter of every chosen notebook as it will run, defaults included."""
    return {
        path.stem: {name: ast.literal_eval(found.default) for name, found in parameters_of(path).items()}
        | given[path.stem]
        for path in chosen
    }


def digests(chosen: list[Path], values: dict[str, dict[str, Any]]) -> dict[str, dict[str, str]]:
    """Returns digests of each notebook's cells and values: they tell two of them apart and show no place."""
    return {
        path.stem: {"cells": _digest([[cell.cell_type, cell.source] for cell in read_notebook(path).cells])}
        | {name: _digest(_in_full(path.parent, name, value)) for name, value in values[path.stem].items()}
        for path in chosen
    }


def resumed(
    root: Path, name: str, names: list[str], profile: str | None, assignments: list[str]
) -> tuple[str, list[Path], str, dict[str, dict[str, Any]]]:
    """Reads from a run's `parameters.json` what it began with; what is given besides has to be the same.

    Returns:
        The run's name, also where `latest` is given, its notebooks, its profile, and what `resolve` gave them.

    Raises:
        CourseError: If there is no such run, or something is not the same, such as a notebook, or a path from here.
    """
    runs = root / "runs"
    known = [path.parent.relative_to(runs).as_posix() for path in sorted(runs.rglob("parameters.json"))]
    name = Path(os.path.relpath((runs / name).resolve(), runs.resolve())).as_posix()
    check_known("run", name, [each for each in known if "/." not in f"/{each}"], "--resume")
    with readable(runs / name / "parameters.json"):
        kept = json.loads((runs / name / "parameters.json").read_text(encoding="utf-8"))
    shown, before = kept["notebooks"], kept.get("digests", {})
    chosen = select(notebooks(root), names or shown)
    began, wanted = [kept["profile"], *shown], [profile or kept["profile"], *(path.stem for path in chosen)]
    if began != wanted:
        raise CourseError(f"--resume: {name} began with {', '.join(began)}. Received: {', '.join(wanted)}")
    given = resolve(root, chosen, kept["profile"], assignments)
    asked = [assignment.partition("=")[0] for assignment in assignments]
    for stem, values in in_effect(chosen, given).items():
        other = {each: value for each, value in shown[stem].items() if each not in asked and value != values.get(each)}
        given[stem] |= {each: _from_here(each, value) for each, value in other.items()}
    differing = {
        f"{each} (was {shown[stem][each]} where it began)" if each in shown[stem] else f"{each} of {stem}": None
        for stem, found in digests(chosen, in_effect(chosen, given)).items()
        for each in found
        if found[each] != before.get(stem, {}).get(each)
    }  # each once, in this order
    if differing:
        cure = "Go where it began, name its paths with -p, or begin another run"
        raise CourseError(f"--resume: not as when {name} began: {', '.join(differing)}. {cure}")
    return name, chosen, kept["profile"], given


def paths_in(values: dict[str, dict[str, Any]]) -> list[Path]:
    """Returns the absolute paths among the parameters of notebooks."""
    found = [_split_path(name, value)[1] for each in values.values() for name, value in each.items()]
    return [Path(path) for path in found if os.path.isabs(path)]


@functools.lru_cache
def _read(path: Path, modified: int, size: int) -> NotebookNode:
    with readable(path):
        return nbformat.read(path, as_version=4)


def _read_profile(root: Path, profile: str) -> dict[str, dict[str, Any]]:
    if profile == QUICK:
        return {}
    files = {path.stem: path for path in sorted((notebooks_folder(root) / "profiles").glob("*.yaml"))}
    check_known("profile", profile, [QUICK, *files], "--profile")
    with readable(files[profile]):
        blocks = yaml.safe_load(files[profile].read_text(encoding="utf-8")) or {}
    if not isinstance(blocks, dict) or not all(isinstance(block, dict | None) for block in blocks.values()):
        raise CourseError(f"{files[profile].name}: expected one block of `name: value` lines a notebook")
    return {str(stem): dict(block or {}) for stem, block in blocks.items()}


def check_known(kind: str, name: str, known: Iterable[str], where: str) -> None:
    """Refuses a name that is not known, with the nearest one that is."""
    if name not in known:
        known_ones = f"{did_you_mean(name, known)} Known: {', '.join(known) or 'none'}"
        raise CourseError(f"{where}: there is no {kind} {name!r}.{known_ones}")


def _split_path(name: str, value: Any) -> tuple[str, str]:
    """Splits a parameter's value into what stands before a path, as in "folder:PATH", and the path; "" if none."""
    kind, colon, path = value.partition(":") if name == "dataset" else ("", "", value)
    return (f"{kind}{colon}", path or "") if name in PATHS or kind in KINDS_WITH_PATH else (value, "")


def _in_full(folder: Path, name: str, value: Any) -> Any:
    before, path = _split_path(name, value)
    return [before, os.path.realpath(folder / path)] if path else value


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]


def _from_here(name: str, text: str) -> str:
    """Completes a path that was given in the current folder: kernels run in `notebooks/`."""
    before, path = _split_path(name, text)
    return f"{before}{Path.cwd() / os.path.expanduser(path)}" if path else text


def _check_type(parameter: Parameter, value: Any, where: str) -> None:
    expected = parameter.inferred_type_name
    if not _fits(value, expected):
        raise CourseError(f"{where}: parameter {parameter.name!r} expects {expected}. Received: {value!r}")


def _parse(text: str, annotation: str) -> Any:
    """Reads a text of the command line as a type; text that does not fit is returned as it is."""
    outer, _, inner = annotation.rstrip("]").rpartition("[")
    if outer == "Optional" and text.lower() in ("none", "null"):
        return None
    if outer == "list":
        return [_parse(item.strip(" '\""), inner) for item in text.strip(" []").split(",") if item.strip()]
    if inner == "bool":
        return {"true": True, "false": False}.get(text.lower(), text)
    try:
        return {"int": int, "float": float, "str": str}[inner](text)
    except ValueError:
        return text


def _fits(value: Any, annotation: str) -> bool:
    outer, _, inner = annotation.rstrip("]").rpartition("[")
    if outer == "list":
        return isinstance(value, list) and all(_fits(item, inner) for item in value)
    if outer == "Optional" and value is None:
        return True
    types = {"int": int, "float": int | float, "str": str, "bool": bool}
    return isinstance(value, types[inner]) and isinstance(value, bool) == (inner == "bool")
