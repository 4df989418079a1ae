"""The examples in docstrings run: those of every function that a lesson shows, and all others that a door offers."""

import doctest
import importlib
import re

from effnet_helpers import data, evaluation, exercises, export, models, preprocessing, records, training
from effnet_helpers.course import ROOT

import numpy as np
import pandas as pd
import pytest

ROOMS = {
    room.__name__.rpartition(".")[2]: room
    for room in (data, evaluation, exercises, export, models, preprocessing, training)
}
NAMES = {**ROOMS, **vars(records), "np": np, "pd": pd}
SHOWN = sorted(
    set(re.findall(r"shows:([\w.]+)", "".join(path.read_text() for path in (ROOT / "notebooks" / "src").glob("*.py"))))
)


def examples():
    offered = {
        f"{room.__name__}.{name}": value for room in (*ROOMS.values(), records) for name, value in vars(room).items()
    }
    documented = {name for name, value in offered.items() if callable(value) and "Example:" in (value.__doc__ or "")}
    return sorted({*documented, *SHOWN})


@pytest.mark.parametrize("name", examples())
def test_an_example_runs(name):
    module, _, function = name.rpartition(".")
    function = getattr(importlib.import_module(module), function)
    (test,) = doctest.DocTestFinder(recurse=False).find(function, name, globs=dict(NAMES))
    assert test.examples, f"{name} is shown in a lesson and has no example"
    printed = []
    failed, _ = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test, out=printed.append)
    assert not failed, "".join(printed)
