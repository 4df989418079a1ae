"""The series as a learner runs it, small: other parameters, another directory, a published set, their own folder."""

import json
import os
import shutil
import subprocess
import sys

from effnet_helpers.course import ROOT
from effnet_helpers.data import sample_photos

import mini_tfds
import nbformat
import numpy as np
import pandas as pd
import pytest
from PIL import Image

pytestmark = pytest.mark.notebooks

ON_DOGS = ("dataset=stanford_dogs", "variant=Lite0", "limit_per_class=0")


@pytest.fixture(scope="module")
def effnet(tmp_path_factory):
    """Runs the command in a directory of its own, with an empty cache; what it leaves under `runs` goes afterwards."""
    elsewhere, name = tmp_path_factory.mktemp("elsewhere"), f"test-{os.getpid()}"
    variables = {"EFFNET_CACHE": str(elsewhere / "cache"), "TFDS_DATA_DIR": str(elsewhere / "tfds"), "COLUMNS": "200"}

    def run(*arguments, run_name=None):
        arguments = [*map(str, arguments), *(["--name", f"{name}/{run_name}"] if run_name else [])]
        command = [sys.executable, "-m", "effnet_helpers", *arguments]
        done = subprocess.run(command, cwd=elsewhere, capture_output=True, text=True, env=os.environ | variables)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run.folder, run.runs = elsewhere, ROOT / "runs" / name
    yield run
    shutil.rmtree(run.runs, ignore_errors=True)


def outputs_of(path):
    """Returns what a lesson printed, and what it wrote to stderr."""
    cells = nbformat.read(path, as_version=4).cells
    streams = [output for cell in cells for output in cell.get("outputs", []) if output.output_type == "stream"]
    return ["".join(stream.text for stream in streams if stream.name == name) for name in ("stdout", "stderr")]


def test_lessons_run_with_other_parameters_from_another_directory(effnet):
    effnet("run", "01", "02", "06", "09", "A", "B", "--profile", "smoke", run_name="smoke")
    metrics = json.loads((effnet.runs / "smoke" / "metrics.json").read_text())
    assert [notebook[:2] for notebook in metrics] == ["01", "02", "06", "09", "A_", "B_"]
    for path in (effnet.runs / "smoke").glob("*.ipynb"):
        assert outputs_of(path)[1] == "", path.name


def test_lessons_run_on_stanford_dogs(effnet):
    """120 breeds in miniature, prepared by tensorflow_datasets' own builder from archives in the original format."""
    mini_tfds.prepare_stanford_dogs(effnet.folder / "tfds")
    given = [f"-p{assignment}" for assignment in ON_DOGS]
    effnet("run", "03", "04", "05", "08", "--profile", "smoke", *given, run_name="dogs")
    breeds = [folder[10:].replace("_", " ").capitalize() for folder in mini_tfds.STANFORD_DOGS]
    for path in (effnet.runs / "dogs").glob("*.ipynb"):
        printed, errors = outputs_of(path)
        assert any(breed in printed for breed in breeds), path.name
        assert errors == "", path.name


BROKEN = {
    "cat/cut.jpg": lambda content: content[: len(content) // 2],
    "coffee/empty.jpg": lambda content: b"",
    "rocket/page.jpg": lambda content: b"<!DOCTYPE html><title>404</title>",
}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Five classes of ten crops of a photograph each, of different sizes and shapes, and three broken files."""
    folder, random = tmp_path_factory.mktemp("own") / "pictures", np.random.default_rng(0)
    for label in ("cat", "coffee", "rocket", "temple", "flower"):
        (folder / label).mkdir(parents=True)
        photo = Image.open(sample_photos()[label]).convert("RGB")
        for number in range(10):
            width, height = random.integers(120, 260, 2)
            left, top = random.integers(0, photo.width - width), random.integers(0, photo.height - height)
            photo.crop((left, top, left + width, top + height)).save(folder / label / f"{number}.jpg", quality=90)
    for name, spoil in BROKEN.items():
        (folder / name).write_bytes(spoil((folder / "cat" / "0.jpg").read_bytes()))
    return folder


def test_own_pictures_go_from_audit_to_predictions(effnet, pictures):
    """Nothing but parameters and commands."""
    assert "50 of 53 pictures can be used" in effnet("audit", pictures)
    findings = pd.read_csv(effnet.folder / "audit.csv", keep_default_na=False)
    assert set(BROKEN) == set(findings.query("severity == 'error'")["file"])

    model = effnet.folder / "model.keras"
    own = {"dataset": f"folder:{pictures}", "variant": "Lite0", "image_size": 96, "resize_mode": "crop"}
    small = {"limit_per_class": 0, "from_block": "block6a", "steps": 10, "save_to": model}
    effnet("run", "05", *(f"-p{name}={value}" for name, value in (own | small).items()), run_name="own")
    assert '"test_accuracy"' in (effnet.runs / "own" / "metrics.json").read_text()
    assert model.exists() and model.with_suffix(".json").exists()

    effnet("predict", model, pictures, "--out", "predictions.csv")
    table = pd.read_csv(effnet.folder / "predictions.csv", keep_default_na=False)
    assert len(table) == 53
    assert (table["problem"] != "").sum() == len(BROKEN)
    read = table[table["problem"] == ""]
    right = read["predicted"] == read["file"].str.split("/").str[-2]
    assert right.mean() > 0.8
    assert (effnet.folder / "predictions.png").exists()
