"""Accuracies lie where they lay over training seeds: those in the committed notebooks, and those of a fresh run."""

import json
import os
import shutil
import subprocess
import sys

from effnet_helpers import evaluation
from effnet_helpers.course import ROOT
from effnet_helpers.records import RECORD_MIME

import nbformat
import pandas as pd
import pytest

SEEDS = pd.read_csv(ROOT / "notebooks" / "results" / "seeds.csv")
LESSONS = ("04_head_training", "05_unfreezing")
WIDER = 2
"""So many standard deviations, over the seeds, a band reaches beyond the lowest and the highest of them."""
LEAST_WIDENING = 0.01
"""A few images more or less, where all seeds agree."""


def outside_bands(notebook, figures):
    """Returns the accuracies among a notebook's figures that lie outside their band, with it."""
    rows = SEEDS[(SEEDS["notebook"] == notebook) & SEEDS["figure"].str.endswith("accuracy")].set_index("figure")
    found = {}
    for figure, row in rows.iterrows():
        margin = max(WIDER * row["standard_deviation"], LEAST_WIDENING)
        low, high = row["minimum"] - margin, row["maximum"] + margin
        if not low <= figures.get(figure, float("nan")) <= high:
            found[figure] = (figures.get(figure), round(low, 4), round(high, 4))
    return found


def committed_figures(notebook):
    cells = nbformat.read(ROOT / "notebooks" / f"{notebook}.ipynb", as_version=4).cells
    outputs = [output.get("data", {}).get(RECORD_MIME) for cell in cells for output in cell.get("outputs", [])]
    return {record["name"]: record["value"] for record in outputs if record}


@pytest.mark.parametrize("notebook", LESSONS)
def test_committed_accuracies_lie_in_their_bands(notebook):
    assert outside_bands(notebook, committed_figures(notebook)) == {}


@pytest.mark.parametrize("notebook", LESSONS)
def test_the_table_over_seeds_has_every_figure_that_the_lesson_records(notebook):
    """So it was made with the lessons' own parameters: other ones leave sections out."""
    assert set(committed_figures(notebook)) == set(SEEDS[SEEDS["notebook"] == notebook]["figure"])
    assert SEEDS["seeds"].min() >= 5


def test_an_accuracy_outside_its_band_is_noticed():
    figures = committed_figures("04_head_training")
    assert set(outside_bands("04_head_training", figures | {"val_accuracy": 0.5})) == {"val_accuracy"}
    assert "val_accuracy" in outside_bands("04_head_training", {})


def test_what_lesson_04_says_of_its_table_is_in_the_table():
    accuracies = evaluation.measured("frozen_head").groupby("input")["val_accuracy"]
    plain = accuracies.get_group("averages, images as they are")
    for versions in (2, 4):
        augmented = accuracies.get_group(f"averages, {versions} versions of each image")
        assert abs(augmented.mean() - plain.mean()) < plain.max() - plain.min()
    averages = max(each.max() for name, each in accuracies if name.startswith("averages"))
    assert accuracies.get_group("counts of 200 kinds of region").min() > averages
    assert accuracies.get_group("counts of 100 kinds, from random starts").min() < averages


@pytest.mark.release
@pytest.mark.notebooks
def test_a_fresh_run_lies_in_the_bands(tmp_path):
    name = f"test-bands-{os.getpid()}"
    command = [sys.executable, "-m", "effnet_helpers", "run", "04", "05", "--name", name]
    try:
        subprocess.run(command, check=True, env=os.environ | {"EFFNET_CACHE": str(tmp_path)}, capture_output=True)
        metrics = json.loads((ROOT / "runs" / name / "metrics.json").read_text())
    finally:
        shutil.rmtree(ROOT / "runs" / name, ignore_errors=True)
    for notebook in LESSONS:
        assert outside_bands(notebook, metrics[notebook]) == {}
