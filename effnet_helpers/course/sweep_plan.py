"""What a sweep runs: every combination of the values that some parameters are given, and whether that has changed."""

from __future__ import annotations

import csv
import itertools
import json
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from effnet_helpers.course import CourseError, profiles
from effnet_helpers.course.places import hiding

KEPT = "sweep.json"
BRACKETS = ("()", "[]", "{}")
LIST = r"\[[^\]]*\]"
SEED = "seed"
OUTPUTS = ("save_to", "export_to")  # parameters by which a lesson writes outside its run
LONGEST_NAME, LONGEST_VALUE = 120, 40  # letters


@dataclass(frozen=True)
class Plan:
    """What is run.

    Attributes:
        notebooks: All of them in every run.
        profile: What gives the parameters that are not varied.
        values: Of each parameter that is, as they are shown: they name no place of this computer.
        texts: The same as they were given on the command line.
        given: By the name of each run, what `profiles.resolve` gave its notebooks.
    """

    notebooks: list[Path]
    profile: str
    values: dict[str, list[Any]]
    texts: dict[str, list[str]]
    given: dict[str, dict[str, dict[str, Any]]]

    def kept(self) -> dict[str, Any]:
        """Returns what `sweep.json` tells of it."""
        return {"profile": self.profile, "notebooks": [path.stem for path in self.notebooks], "parameters": self.values}

    @property
    def settings(self) -> list[str]:
        """What tells the runs apart beside the seed."""
        return [name for name, those in self.values.items() if len(those) > 1 and name != SEED]

    @property
    def seeds(self) -> int:
        """How many training seeds each setting has."""
        return len(self.values.get(SEED, [None]))

    def combinations(self) -> dict[str, dict[str, Any]]:
        """Returns by the name of each run its values."""
        return _named(self.values)

    def __str__(self) -> str:
        varied = " × ".join(f"{name} {', '.join(map(shown, those))}" for name, those in self.values.items())
        runs, stems = len(self.given), ", ".join(path.stem for path in self.notebooks)
        return f"{runs} run{'s' * (runs > 1)} of {stems}: {varied}."


def plan(root: Path, chosen: list[Path], profile: str, assignments: Sequence[str]) -> Plan:
    """Reads texts `name=value,value` and multiplies them out.

    Args:
        root: The checkout.
        chosen: The notebooks that will run.
        profile: As `profiles.resolve` takes it.
        assignments: Between commas stand several values; a text with a comma of its own stands in double quotes, and
            several lists stand in brackets.

    Raises:
        CourseError: What `profiles.resolve` says of a value; if there is none, if a parameter is named twice, or if two
            of its values would be shown alike.
    """
    if not assignments:
        raise CourseError("A sweep goes through values: -p NAME=VALUE,VALUE")
    taken = [profiles.parameters_of(path) for path in chosen]
    texts, values, paths = {}, {}, []
    for assignment in assignments:
        name, is_given, text = assignment.partition("=")
        if name in texts:
            raise CourseError(
                f"-p {name} is there twice: all its values stand in one, with commas. Received: {assignment!r}"
            )
        kinds = [parameters[name].inferred_type_name for parameters in taken if is_given and name in parameters]
        each = {}
        for piece in _split(text, kinds[0]) if kinds else [text]:
            given = profiles.resolve(root, chosen, profile, [f"{name}={piece}" if kinds else assignment])
            value = next(those[name] for those in given.values() if name in those)
            each.setdefault(json.dumps(value), (piece, value))  # a value that is written twice runs once
            paths += profiles.paths_in(given)
        texts[name], values[name] = map(list, zip(*each.values(), strict=True))
    hide = hiding(root, paths)
    shown_values = {name: [hide(value) for value in those] for name, those in values.items()}
    for name, those in shown_values.items():
        if len({json.dumps(value) for value in those}) < len(those):  # tables would take them for one
            what = f"different last names, or to be called from a folder above them. Received: {', '.join(texts[name])}"
            raise CourseError(
                f"-p {name}: paths outside this folder and yours are shown by their last names, so they need {what}"
            )
    given = {}
    for run, combination in zip(_named(shown_values), itertools.product(*texts.values()), strict=True):
        assigned = [f"{name}={text}" for name, text in zip(texts, combination, strict=True)]
        given[run] = profiles.resolve(root, chosen, profile, assigned)
    for name in OUTPUTS:
        places = [those[name] for each in given.values() for those in each.values() if those.get(name)]
        if len(set(places)) < len(places):
            raise CourseError(f"-p {name}: the runs would write over each other's. Received: {places[0]} for several")
    return Plan(chosen, profile, shown_values, texts, given)


def resumed(
    root: Path, name: str, names: list[str], profile: str | None, assignments: Sequence[str]
) -> tuple[str, Plan]:
    """Reads from a sweep's folder how it began; what is given besides has to be the same.

    Returns:
        The sweep's name, also where `latest` is given, and its plan.

    Raises:
        CourseError: If there is no such sweep, one of its runs is not there, or something is not the same.
    """
    runs = root / "runs"
    known = [path.parent.relative_to(runs).as_posix() for path in sorted(runs.rglob(KEPT))]
    name = Path(os.path.relpath((runs / name).resolve(), runs.resolve())).as_posix()
    profiles.check_known("sweep", name, [each for each in known if "/." not in f"/{each}"], "--resume")
    kept = read_kept(runs / name)
    chosen = profiles.select(profiles.notebooks(root), names or kept["notebooks"])
    asked = plan(root, chosen, profile or kept["profile"], assignments) if assignments else None
    wanted = {"notebooks": [path.stem for path in chosen], "profile": profile or kept["profile"]}
    refuse_other(name, kept, wanted | {"parameters": asked.values if asked else {}})
    values, texts, given = kept["parameters"], asked.texts if asked else {}, {}
    for run, combination in _named(values).items():
        if not (runs / name / run / "parameters.json").is_file():
            said = "it was interrupted before anything ran, or its folder is gone, so take another --name"
            raise CourseError(f"--resume: {name} cannot go on: its run {run} has not begun; {said}")
        assigned = [f"{each}={texts[each][values[each].index(combination[each])]}" for each in texts]
        *_, given[run] = profiles.resumed(root, f"{name}/{run}", [], None, assigned)
    return name, Plan(chosen, kept["profile"], values, texts, given)


def read_kept(folder: Path) -> dict[str, Any]:
    """Reads how a sweep began."""
    with profiles.readable(folder / KEPT):
        return json.loads((folder / KEPT).read_text(encoding="utf-8"))


def refuse_other(name: str, kept: dict[str, Any], wanted: dict[str, Any]) -> None:
    """Refuses a sweep that is not the one that a folder has; of parameters only those that it names are compared.

    Raises:
        CourseError: Names all that differs, with what was there and what was received.
    """
    was = {"notebooks": kept["notebooks"], "profile": kept["profile"], **kept["parameters"]}
    now = {"notebooks": wanted["notebooks"], "profile": wanted["profile"], **wanted["parameters"]}
    differing = [
        f"{each} ({_listed(was.get(each))} there, {_listed(value)} received)"
        for each, value in now.items()
        if value != was.get(each)
    ]
    if differing:
        raise CourseError(f"{name} is another sweep, so take another --name. What differs: {'; '.join(differing)}")


def shown(value: Any) -> str:
    """Writes a value as one would on the command line."""
    if isinstance(value, list):
        return f"[{', '.join(map(shown, value))}]"
    return str(value).lower() if value is None or isinstance(value, bool) else str(value)


def _listed(value: Any) -> str:
    return ", ".join(map(shown, value)) if isinstance(value, list) else value or "nothing"


def _split(text: str, annotation: str) -> list[str]:
    if annotation.startswith("list"):
        return re.findall(LIST, text) if re.fullmatch(rf"\s*{LIST}(\s*,\s*{LIST})*\s*", text) else [text]
    pieces = [each.strip() for each in next(csv.reader([text], skipinitialspace=True))] or [""]
    if (
        len(pieces) > 1
        and '"' not in text
        and any(each.count(left) != each.count(right) for each in pieces for left, right in BRACKETS)
    ):
        raise CourseError(f"A text with a comma of its own stands in double quotes: '\"one,two\"'. Received: {text}")
    return pieces


def _named(values: dict[str, list[Any]]) -> dict[str, dict[str, Any]]:
    """Names each combination by what distinguishes it, such as `steps-60_seed-1`."""
    naming = [name for name, those in values.items() if len(those) > 1 or name == SEED] or list(values)
    words = {name: _words(those) for name, those in values.items()}
    numbers = list(itertools.product(*(range(len(those)) for those in values.values())))
    combinations = [dict(zip(values, each, strict=True)) for each in numbers]
    names = ["_".join(f"{name}-{words[name][each[name]]}" for name in naming) for each in combinations]
    if max(map(len, names)) > LONGEST_NAME:
        names = [f"run-{number}" for number in range(1, len(names) + 1)]
    return {
        run: {name: values[name][place] for name, place in each.items()}
        for run, each in zip(names, combinations, strict=True)
    }


def _words(values: Iterable[Any]) -> list[str]:
    """Writes values so that they can be parts of a folder's name; those that look alike then get a number."""
    words = [re.sub(r"[^\w.-]+", "-", shown(value)).strip("-.")[:LONGEST_VALUE] for value in values]
    alike = len({word.lower() for word in words}) < len(words) or not all(words)
    return [f"{number}-{word}".rstrip("-") for number, word in enumerate(words, 1)] if alike else words
