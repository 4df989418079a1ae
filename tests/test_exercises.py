"""Answers to exercises are judged as they should be, and the exercises of every lesson agree with their checks."""

import functools

from effnet_helpers import exercises
from effnet_helpers.exercises import Exercise, Mistake, core

import keras
import numpy as np
import pytest

# what is said to an answer

NUMBER = Exercise(
    right=lambda answer: core.close(answer, 2.5, 3.5),
    why="Two and one are three.",
    hint="add",
    form="a number",
    mistakes={"multiplied": Mistake(lambda answer: answer == 2, "that is the product")},
)
FUNCTION = Exercise(
    right=lambda answer: answer(np.arange(3)) == 3 and answer(np.ones(2)) == 2,
    why="It adds.",
    hint="try it on [1, 1]",
    form="a function of an array",
    mistakes={
        "mean": Mistake(lambda answer: answer(np.arange(4)) == 1.5, "this averages"),
        "unreached": Mistake(lambda answer: answer.no_such_thing, "never"),
    },
)


@pytest.fixture(autouse=True)
def an_exercise(request, monkeypatch):
    if "number" in request.fixturenames:
        monkeypatch.setattr(core, "exercises_of", lambda lesson: {"77.1": NUMBER, "77.2": FUNCTION})


def stub(values):
    """What it is for."""


@pytest.mark.parametrize(
    ("number", "answer", "status", "said", "mistake"),
    [
        ("77.1", 3, "right", "Two and one are three.", None),
        ("77.1", np.float32(2.9), "right", "Two", None),
        ("77.1", keras.ops.convert_to_tensor(3.0), "right", "Two", None),
        ("77.1", 2, "not yet", "that is the product", "multiplied"),
        ("77.1", 7, "not yet", "add", None),
        ("77.1", float("nan"), "not yet", "add", None),
        ("77.1", "three", "not yet", "expected a number. Received: 'three'", None),
        ("77.1", True, "not yet", "expected a number. Received: True", None),
        ("77.1", [], "not yet", "expected a number. Received: an object of type list", None),
        ("77.1", [[3], [3, 3]], "not yet", "expected a number. Received: an object of type list", None),
        ("77.1", lambda: 3, "not yet", "expected a number. Received: an object of type function", None),
        ("77.1", ..., "not attempted", "in place of the dots", None),
        ("77.1", None, "not attempted", "in place of the dots", None),
        ("77.1", [3, ...], "not attempted", "in place of the dots", None),
        ("77.1", {"sum": None}, "not attempted", "in place of the dots", None),
        ("77.2", np.sum, "right", "It adds.", None),
        ("77.2", lambda values: values.sum(), "right", "It adds.", None),
        ("77.2", np.mean, "not yet", "this averages", "mean"),
        ("77.2", functools.partial(np.max), "not yet", "try it on [1, 1]", None),
        ("77.2", stub, "not attempted", "in place of the dots", None),
        ("77.2", lambda values: (values, ...), "not attempted", "in place of the dots", None),
        ("77.2", lambda values: 1 / 0, "not yet", "your function stopped with ZeroDivisionError: division by", None),
        ("77.2", lambda: 3, "not yet", "your function stopped with TypeError", None),
        ("77.2", 3, "not yet", "expected a function of an array. Received: 3", None),
    ],
)
def test_an_answer_is_judged(number, answer, status, said, mistake, capsys):
    result = exercises.check(number, answer)
    printed = capsys.readouterr().out
    assert (result.status, result.mistake) == (status, mistake)
    assert printed.startswith(f"{number} {status}: ") and printed.count("\n") == 1
    assert said in printed


def test_a_long_error_takes_one_line():
    def fails(values):
        raise ValueError("many\nlines " * 100)

    assert len(core._judge(FUNCTION, fails).sentence) < 300


def test_a_hint_is_given_on_demand(monkeypatch, capsys):
    monkeypatch.setattr(core, "exercises_of", lambda lesson: {"77.1": NUMBER})
    exercises.hint("77.1")
    assert capsys.readouterr().out == "77.1 hint: add\n"


@pytest.mark.parametrize(("unknown", "nearest"), [("77.01", "77.1"), ("7.2", "77.2"), (77.1, "77.1"), ("77", "77.")])
def test_an_unknown_number_is_refused_with_the_nearest(unknown, nearest, monkeypatch):
    monkeypatch.setattr(core, "exercises_of", lambda lesson: {"77.1": NUMBER, "77.2": FUNCTION})
    with pytest.raises(ValueError, match=f"There is no exercise {unknown!r}. Did you mean '{nearest}"):
        exercises.check(unknown, 3)


def test_a_result_is_shown_once_in_a_notebook(run_cells):
    code = (
        "from effnet_helpers.exercises import core\n"
        "core.exercises_of = lambda lesson: {'77.1': core.Exercise(lambda a: a == 3, 'so', 'add', 'a number')}\n"
        "core.check('77.1', 3)"
    )
    (output,) = run_cells(code).cells[0].outputs
    assert output.text == "77.1 right: so.\n"
