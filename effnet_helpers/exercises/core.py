"""What an exercise is, and what is said to an answer. What is right of each stands in `lesson_NN.py`."""

from __future__ import annotations

import functools
import importlib
import numbers
import pkgutil
import reprlib
import textwrap
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from effnet_helpers.records import did_you_mean

import numpy as np

RIGHT, NOT_YET, NOT_ATTEMPTED = "right", "not yet", "not attempted"
NOTHING_YET = "put your answer in place of the dots, run its cell, and then this one again"
LONGEST_ERROR = 200  # characters


class OtherKindError(TypeError):
    """An answer of another kind than was asked for."""


@dataclass(frozen=True)
class Mistake:
    """A wrong answer that people give.

    Attributes:
        seen: Whether an answer is of this kind.
        hint: What helps who gave it.
    """

    seen: Callable[[Any], Any]
    hint: str


@dataclass(frozen=True)
class Exercise:
    """What is asked for, and what is said to it.

    Attributes:
        right: Whether an answer is right. May call functions of the learner, which return something, and may fail on
            an answer of another kind.
        why: Why it is so, which who is right is told.
        hint: What helps, on demand and where the answer is wrong in an unknown way.
        form: What kind of answer is expected, such as "a whole number".
        mistakes: Known wrong answers by name; the first that fits is told.
    """

    right: Callable[[Any], Any]
    why: str
    hint: str
    form: str
    mistakes: Mapping[str, Mistake] = field(default_factory=dict)


@dataclass(frozen=True)
class Result:
    """What came of a check.

    Attributes:
        status: "right", "not yet" or "not attempted".
        sentence: What was said.
        mistake: Which known mistake it was, if one.
    """

    status: str
    sentence: str
    mistake: str | None = None

    def _ipython_display_(self) -> None:
        """Shows nothing below a cell: `check` has printed it."""


def check(number: str, answer: Any) -> Result:
    """Says in one sentence whether an answer to an exercise is right, and what helps where it is not.

    Args:
        number: Of the exercise, such as "04.2".
        answer: Whatever the exercise asks for. `None`, `...`, and what holds or returns one of them, is no answer yet.

    Returns:
        What came of it. No answer makes this fail, however wrong.

    Raises:
        ValueError: If there is no such exercise.

    Example:
        >>> exercises.check("00.1", ...).status
        00.1 not attempted: put your answer in place of the dots, run its cell, and then this one again.
        'not attempted'
    """
    result = _judge(_find(number), answer)
    end = "" if result.sentence.endswith((".", "?", "!")) else "."
    print(f"{number} {result.status}: {result.sentence}{end}")
    return result


def hint(number: str) -> None:
    """Prints what helps with an exercise.

    Args:
        number: Of the exercise, such as "04.2".

    Raises:
        ValueError: If there is no such exercise.

    Example:
        >>> exercises.hint("00.1")
        00.1 hint: compare each loss with log K: doubling the classes adds 0.69 to it, ten times the classes add 2.3
    """
    print(f"{number} hint: {_find(number).hint}")


def close(answer: Any, low: float, high: float) -> bool:
    """Whether a number, or each of several, lies between two bounds, which count as within.

    Args:
        answer: A number, or an array, list or tensor of them.
        low: The least.
        high: The most.

    Raises:
        OtherKindError: If it is anything else; `check` then says what is expected.

    Example:
        >>> close(0.29, 0.25, 0.35)
        True
    """
    try:
        values = np.asarray(answer)
    except (TypeError, ValueError):
        values = np.array("")
    if values.dtype.kind not in "iuf" or not values.size:
        raise OtherKindError("not a number")
    return bool(np.all((low <= values) & (values <= high)))


def exercises_of(lesson: str) -> Mapping[str, Exercise]:
    """Returns the exercises of a lesson, given its two digits or letter; empty if it has none."""
    name = f"lesson_{lesson.lower()}"
    if name not in _modules():
        return {}
    return importlib.import_module(f"{__package__}.{name}").EXERCISES


def _modules() -> list[str]:
    found = pkgutil.iter_modules([str(Path(__file__).parent)])
    return [module.name for module in found if module.name.startswith("lesson_")]


def _find(number: str) -> Exercise:
    known = exercises_of(str(number).partition(".")[0])
    if number in known:
        return known[number]
    every = known or [each for name in _modules() for each in exercises_of(name.removeprefix("lesson_"))]
    nearest = did_you_mean(str(number), every, cutoff=0)
    raise ValueError(f"There is no exercise {number!r}.{nearest}")


def _judge(exercise: Exercise, answer: Any) -> Result:
    stopped: list[Exception] = []  # what the learner's own functions raised
    watched, problem = answer, None
    try:
        watched = _watched(answer, stopped)  # in here, since a list may hold itself
        if _is_missing(answer):
            raise _NotAttemptedError
        if bool(np.all(exercise.right(watched))):
            return Result(RIGHT, exercise.why)
    except _NotAttemptedError:
        return Result(NOT_ATTEMPTED, NOTHING_YET)
    except Exception as error:
        problem = _problem(error, stopped, exercise, answer)
    for name, mistake in exercise.mistakes.items():
        try:
            if bool(np.all(mistake.seen(watched))):
                return Result(NOT_YET, mistake.hint, name)
        except Exception:
            continue  # an answer that this mistake knows nothing of
    return Result(NOT_YET, problem or exercise.hint)


class _NotAttemptedError(Exception):
    pass


def _is_missing(answer: Any) -> bool:
    parts = answer.values() if isinstance(answer, dict) else answer if isinstance(answer, list | tuple) else ()
    return answer is None or answer is ... or any(map(_is_missing, parts))


def _watched(answer: Any, stopped: list[Exception]) -> Any:
    """Has functions of the learner, also within tuples, lists and dictionaries, tell what they raise or leave out."""
    if type(answer) in (tuple, list):
        return type(answer)(_watched(each, stopped) for each in answer)
    if type(answer) is dict:
        return {key: _watched(each, stopped) for key, each in answer.items()}
    if not isinstance(answer, types.FunctionType):
        return answer

    @functools.wraps(answer)
    def call(*arguments: Any, **named: Any) -> Any:
        try:
            returned = answer(*arguments, **named)
        except Exception as error:
            stopped.append(error)
            raise
        if _is_missing(returned):
            raise _NotAttemptedError
        return returned

    return call


def _problem(error: Exception, stopped: list[Exception], exercise: Exercise, answer: Any) -> str:
    if error in stopped:
        said = " ".join(f"{type(error).__name__}: {error}".split())
        return f"your function stopped with {textwrap.shorten(said, LONGEST_ERROR, placeholder=' …')}"
    is_plain = isinstance(answer, numbers.Number | str)
    received = reprlib.repr(answer) if is_plain else f"an object of type {type(answer).__name__}"
    return f"expected {exercise.form}. Received: {received}"
