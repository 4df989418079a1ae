"""Answers to exercises are judged as they should be, and the exercises of every lesson agree with their checks."""

import functools
import re
import warnings

from effnet_helpers import exercises
from effnet_helpers.course import ROOT, CourseError, build
from effnet_helpers.course.cli import app
from effnet_helpers.exercises import Exercise, Mistake, core

import keras
import lesson_rules as rules
import matplotlib.pyplot as plt
import mini_course
import nbformat
import numpy as np
import pytest
from typer.testing import CliRunner

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


ENDLESS = []
ENDLESS.append(ENDLESS)


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
        ("77.1", ENDLESS, "not yet", "expected a number. Received: an object of type list", None),
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


# stubs and solutions from one source

SOURCE = """# %% [markdown]
# # Exercises 01 · First

# %%
numbers = [1, 2]

# %% [markdown]
# ## 01.1 · Add

# %%
total = ...  # a whole number
### BEGIN SOLUTION
total = sum(numbers)
### END SOLUTION

# %% tags=["wrong", "multiplied"]
total = 2

# %%
print(total)

# %% [markdown]
# ## 01.2 · A function


# %%
def add(values):
    \"\"\"Returns the sum.\"\"\"
    ### BEGIN SOLUTION
    total = 0
    for value in values:
        total += value
    return total
    ### END SOLUTION


print(add)

# %% [markdown] tags=["quiz"]
# **Quiz 01.1** What is one and
# two?
#
# - [ ] two — that is what
#   one times two is
# - [x] three — count on
# - [ ] four — too much
"""


@pytest.fixture
def source(tmp_path):
    mini_course.write(tmp_path)
    path = tmp_path / "notebooks" / "src" / "exercises" / "01_first.py"
    path.parent.mkdir()
    path.write_text(SOURCE, encoding="utf-8")
    return path


def cells(source, form):
    return [cell.source for cell in build.from_source(source, form).cells]


def test_answers_in_a_stub_are_not_built_over(source):
    path = build.built_path(source, build.STUB)
    path.parent.mkdir()
    stub = build.from_source(source, build.STUB)
    nbformat.write(stub, path)
    build.refuse_answers([source])
    stub.cells[3].source = stub.cells[3].source.replace("...", "7")
    nbformat.write(stub, path)
    with pytest.raises(CourseError, match=r"exercises/01_first\.ipynb has work of yours in cell 4"):
        build.refuse_answers([source])
    stub = build.from_source(source, build.STUB)
    stub.nbformat_minor = 4  # as Colab saves
    for cell in stub.cells:
        del cell["id"]
    nbformat.write(stub, path)
    with pytest.raises(CourseError, match="has work of yours in cell 1"):
        build.refuse_answers([source])


def test_a_stub_has_no_answers(source):
    assert cells(source, build.STUB)[3:7] == [
        "total = ...  # a whole number\n# your code here",
        "print(total)",
        "## 01.2 · A function",
        'def add(values):\n    """Returns the sum."""\n    ...  # your code here\n\n\nprint(add)',
    ]


def test_a_solution_has_neither_marks_nor_dots(source):
    function = "    total = 0\n    for value in values:\n        total += value\n    return total\n"
    assert cells(source, build.SOLUTION)[3:7] == [
        "total = sum(numbers)",
        "print(total)",
        "## 01.2 · A function",
        f'def add(values):\n    """Returns the sum."""\n{function}\n\nprint(add)',
    ]


@pytest.mark.parametrize("form", [build.STUB, build.SOLUTION])
def test_a_quiz_shows_its_options_and_folds_the_answers(source, form):
    question, options, summary, answers, end = cells(source, form)[-1].split("\n\n")
    assert question == "**Quiz 01.1** What is one and\ntwo?"
    assert options == "1. two\n2. three\n3. four"
    assert summary == "<details><summary>Answer</summary>"
    assert answers == "1. That is what one times two is\n2. **Right.** Count on\n3. Too much"
    assert end == "</details>"


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("    ### END SOLUTION", "    pass", "01_first.py: A mark without its other one: 'def add(values):'"),
        ("### BEGIN SOLUTION\ntotal", "total", "01_first.py: A mark without its other one: 'total = ...  # a whole"),
        ("[x]", "[ ]", "01_first.py: Expected three options or more"),
        ("[ ]", "[x]", "01_first.py: Expected three options or more"),
        (" — count on", "", "01_first.py: Expected three options or more"),
        ("# - [ ] four — too much\n", "", "01_first.py: Expected three options or more"),
    ],
)
def test_a_source_that_is_not_of_the_form_is_refused(source, before, after, said):
    source.write_text(SOURCE.replace(before, after), encoding="utf-8")
    with pytest.raises(CourseError) as refused:
        build.from_source(source, build.STUB)
    assert str(refused.value).startswith(said)


def effnet(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_exercises_are_built_beside_their_lesson_and_are_no_lesson(source):
    root = source.parents[3]
    assert [path.name for path in build.choose(root, ["1"])] == ["01_first.py", "01_first.py"]
    assert build.choose(root, ["01"], exercises_alone=True) == [source]
    assert effnet("build", "--exercises", "2", "--root", root).output == "effnet: There are no exercises of 02_second\n"
    assert effnet("build", "--exercises", "--root", root).exit_code == 0
    assert not (root / "notebooks" / "01_first.ipynb").exists()
    solution, stub = (nbformat.read(build.built_path(source, form), 4) for form in (build.SOLUTION, build.STUB))
    assert next(cell.outputs[0].text for cell in solution.cells if cell.get("outputs")) == "3\n"
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in stub.cells)
    assert build.out_of_step(source) is None
    assert "No notebooks in" in effnet("run", "--root", root).output

    stub.cells[1].execution_count = 1
    nbformat.write(stub, build.built_path(source, build.STUB))
    assert build.out_of_step(source) == "exercises/01_first.ipynb has outputs in cell 2"
    build.built_path(source, build.SOLUTION).unlink()
    source.with_name("01_first.py").rename(source.with_name("02_second.py"))
    output = effnet("build", "--check", "--root", root).output
    assert "exercises/02_second.ipynb has not been built" in output
    assert "01_first.ipynb has no source" in output


# the exercises of the course

WITHOUT = {"B"}  # a gallery to look things up in, which is practice itself
SOURCES = build.exercise_sources(ROOT)
every_source = pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)


def number_of(source):
    return source.stem.partition("_")[0]


def tags(cell):
    return cell.metadata.get("tags", [])


def test_every_lesson_has_exercises():
    lessons = {path.stem for path in build.sources(ROOT)}
    practised = {path.stem for path in SOURCES}
    assert practised <= lessons
    assert {stem.partition("_")[0] for stem in lessons - practised} <= WITHOUT


@every_source
def test_the_lesson_leads_to_its_exercises(source):
    text = (source.parents[1] / source.name).read_text(encoding="utf-8")
    assert f"**Practise:** [exercises {number_of(source)}](exercises/{source.stem}.ipynb)" in text
    assert "## Exercises" not in text


@every_source
def test_exercises_keep_to_the_form(source):
    assert rules.exercise_problems(build.from_source(source, build.STUB), source.stem) == []


@every_source
def test_exercises_are_built_as_written(source):
    assert build.out_of_step(source) is None
    for form in build.forms(source):
        notebook = nbformat.read(build.built_path(source, form), as_version=4)
        text = "".join(cell.source for cell in notebook.cells)
        assert not re.search("SOLUTION|tags=", text)
    assert rules.output_problems(notebook) == []


@every_source
def test_each_mistake_that_is_known_is_made(source):
    checks = core.exercises_of(number_of(source))
    known = {(number, name) for number, exercise in checks.items() for name in exercise.mistakes}
    assert sorted(known) == sorted((number, name) for number, name, _ in wrong_cells(source))


@every_source
def test_answers_get_what_belongs_to_them(source, monkeypatch):
    """The set-up runs once; what is done to its names by one answer, another does not see."""
    given = []
    check = exercises.check
    monkeypatch.setattr(exercises, "check", lambda number, answer: given.append((number, check(number, answer))))
    checks = core.exercises_of(number_of(source))
    names = {"__name__": "__main__"}
    setup, stub = before_and_from_the_first(source, build.STUB)
    run(setup, names)

    run(stub, dict(names))
    assert [(number, result.status) for number, result in given] == [(number, "not attempted") for number in checks]

    given.clear()
    solved = dict(names)
    _, written = before_and_from_the_first(source, build.LESSON)
    for place, cell in enumerate(written):
        if "wrong" not in tags(cell):
            run([cell], solved)
            continue
        checking = next(each for each in written[place:] if "exercises.check(" in each.source)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a wrong answer may well earn one
            run([cell, checking], dict(solved))
        number, result = given.pop()
        (mistake,) = set(tags(cell)) - {"wrong"}
        hint = checks[number].mistakes[mistake].hint
        assert (result.status, result.mistake, result.sentence) == ("not yet", mistake, hint), number
    assert [(number, result.status) for number, result in given] == [(number, "right") for number in checks], given
    plt.close("all")


def code(cells):
    return [cell for cell in cells if cell.cell_type == "code"]


def before_and_from_the_first(source, form):
    """The code cells before the first exercise, of which a stub has one more than its source, and the others."""
    cells = build.from_source(source, form).cells
    first = next(place for place, cell in enumerate(cells) if cell.source.startswith(f"## {number_of(source)}.1"))
    return code(cells[:first]), code(cells[first:])


def run(cells, names):
    for cell in cells:
        exec(compile(cell.source, cell.source.strip().partition("\n")[0], "exec"), names)


def wrong_cells(source):
    """Yields the exercise, the mistake and the cell of each known wrong answer."""
    cells = build.from_source(source).cells
    for place, cell in enumerate(cells):
        if "wrong" in tags(cell):
            (mistake,) = set(tags(cell)) - {"wrong"}
            checking = next(each.source for each in cells[place:] if "exercises.check(" in each.source)
            yield re.search(r'check\("([^"]+)"', checking)[1], mistake, cell
