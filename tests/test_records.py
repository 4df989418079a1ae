"""Figures that lessons leave behind, conditions they insist on, and the nearest name to a mistyped one."""

import re

from effnet_helpers import records

import numpy as np
import pytest
from nbconvert import HTMLExporter


def test_a_condition_that_does_not_hold_stops_with_one_sentence():
    records.expect(True, "epochs", 3, "a positive integer")
    with pytest.raises(ValueError, match=r"^epochs: expected a positive integer\. Received: 'three'$"):
        records.expect(False, "epochs", "three", "a positive integer")


@pytest.mark.parametrize(
    "range_",
    [
        (1, 1, None),
        (7, None, 7),
        (np.float64(0.5), 0.0, 1.0),
        (0, 0, 1.0),
        (0.9, 0, 1.0),
        (-3.5, None, 0.0),
        ("pad", ["crop", "pad"]),
        (["pad", "crop"], ("crop", "pad")),
        (None, [None, "class_weights"]),
        (5, None, None),
    ],
)
def test_a_parameter_in_its_range_passes(range_):
    records.check(parameter=range_)


@pytest.mark.parametrize(
    ("range_", "message"),
    [
        ((0, 1, None), "a whole number at least 1. Received: 0"),
        ((2.0, 1, None), "a whole number at least 1. Received: 2.0"),
        ((True, 1, None), "a whole number at least 1. Received: True"),
        ((None, 1, 8), "a whole number at least 1 and at most 8. Received: None"),
        ((9, 1, 8), "a whole number at least 1 and at most 8. Received: 9"),
        ((0.0, 0.0, 1.0), "a number above 0 and below 1. Received: 0.0"),
        ((1.0, 0, 1.0), "a number at least 0 and below 1. Received: 1.0"),
        ((float("nan"), 0.0, None), "a number above 0. Received: nan"),
        (("0.1", 0.0, None), "a number above 0. Received: '0.1'"),
        (("pda", ["crop", "pad"]), "one of crop, pad. Received: 'pda'. Did you mean 'pad'?"),
        ((["pad", "litert"], ["crop", "pad"]), "some of crop, pad. Received: ['pad', 'litert']."),
        (([], ["crop", "pad"]), "some of crop, pad. Received: []."),
    ],
)
def test_a_parameter_out_of_its_range_is_named_with_what_would_work(range_, message):
    with pytest.raises(ValueError, match=f"^second: expected {re.escape(message)}$"):
        records.check(first=(1, 1, None), second=range_)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.81253, "0.8125"),
        (1e-5, "0.00001"),
        (51234.5, "51230"),
        (3, "3"),
        ("B0", "B0"),
        (True, "True"),
        (np.float32(0.5), "0.5"),
    ],
)
def test_record_prints_outside_a_notebook(capsys, value, text):
    records.record("figure", value)
    assert capsys.readouterr().out == f"figure = {text}\n"


def test_a_notebook_keeps_records_and_its_page_does_not_show_them(run_cells):
    code = "from effnet_helpers import records; records.record('figure', 0.817359)"
    notebook = run_cells(code)
    [output] = notebook.cells[0].outputs
    assert output.data[records.RECORD_MIME] == {"name": "figure", "value": 0.817359}
    page, _ = HTMLExporter().from_notebook_node(notebook)
    assert page.count("0.817359") == 1  # the code


@pytest.mark.parametrize("value", [float("nan"), float("inf"), np.float32("nan"), None, [1], np.zeros(2), 1j])
def test_record_refuses_values_that_are_no_figure(value):
    with pytest.raises(ValueError, match=r"record 'x': expected a finite number, a string or a truth value"):
        records.record("x", value)


@pytest.mark.parametrize("name", ["val accuracy", "", "1st", 3])
def test_record_refuses_names_that_are_no_identifier(name):
    with pytest.raises(ValueError, match="name of a record: expected a Python identifier"):
        records.record(name, 1)


def test_the_nearest_known_name_is_given_if_one_is_near():
    assert records.did_you_mean("Textil", ["textile", "folder"]) == " Did you mean 'textile'?"
    assert records.did_you_mean("photos", ["textile", "tfds"]) == ""
    assert records.did_you_mean("B8", ["B0", "Lite0"], cutoff=0.4) == " Did you mean 'B0'?"


def test_names_that_are_listed_can_be_read_again():
    names = ["cats", "dogs, large", 'the "other" ones', "a | b", 'cat, dog, or "neither"']
    assert records.unlisted(records.listed(names)) == names
    assert records.unlisted(" torn,stained , ") == ["torn", "stained"]
    assert records.listed(["a", "a | b"], "|") == 'a | "a | b"'
    assert records.unlisted("") == []
