"""Figures that lessons leave behind, conditions they insist on, and the nearest name to a mistyped one."""

from effnet_helpers import records

import numpy as np
import pytest


def test_a_condition_that_does_not_hold_stops_with_one_sentence():
    records.expect(True, "epochs", 3, "a positive integer")
    with pytest.raises(ValueError, match=r"^epochs: expected a positive integer\. Received: 'three'$"):
        records.expect(False, "epochs", "three", "a positive integer")


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
