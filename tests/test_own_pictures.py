"""A folder of photographs with broken files dropped in, from `effnet audit` to a model, a report and predictions.

Nothing but parameters and commands, as a learner would. The photographs come with scikit-image, scikit-learn and
Matplotlib; each class is made of crops of one of them.
"""

import os
import shutil
import subprocess
import sys

from effnet_helpers.course import ROOT
from effnet_helpers.data.photos import sample_photos

import numpy as np
import pandas as pd
import pytest
from PIL import Image

BROKEN = {
    "cat/cut.jpg": lambda content: content[: len(content) // 2],
    "coffee/empty.jpg": lambda content: b"",
    "rocket/page.jpg": lambda content: b"<!DOCTYPE html><title>404</title>",
}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Five classes of ten crops each, of different sizes and shapes, and three files that cannot be read."""
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


def effnet(*arguments, cwd):
    command = [sys.executable, "-m", "effnet_helpers", *map(str, arguments)]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, env={**os.environ, "COLUMNS": "200"})
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.notebooks
def test_own_pictures_go_from_audit_to_predictions_by_parameters_alone(pictures, tmp_path):
    said = effnet("audit", pictures, cwd=tmp_path)
    assert "50 of 53 pictures can be used" in said
    findings = pd.read_csv(tmp_path / "audit.csv", keep_default_na=False)
    assert set(BROKEN) == set(findings.query("severity == 'error'")["file"])

    model = tmp_path / "model.keras"
    own = {"dataset": f"folder:{pictures}", "variant": "Lite0", "image_size": 96, "resize_mode": "crop"}
    small = {"limit_per_class": 0, "batch_size": 8, "from_block": "block6a", "head_epochs": 10, "epochs": 2}
    rest = {"learning_rate": 0.0005, "trial_epochs": 0, "balance": "class_weights", "save_to": model}
    given = [f"-p{name}={value}" for name, value in (own | small | rest).items()]
    name = f"own-pictures-{os.getpid()}"
    try:
        effnet("run", "05", "--name", name, *given, cwd=tmp_path)
        metrics = (ROOT / "runs" / name / "metrics.json").read_text()
    finally:
        shutil.rmtree(ROOT / "runs" / name)
    assert '"test_accuracy"' in metrics
    assert model.exists() and model.with_suffix(".json").exists()

    said = effnet("predict", model, pictures, "--out", "predictions.csv", cwd=tmp_path)
    table = pd.read_csv(tmp_path / "predictions.csv", keep_default_na=False)
    assert len(table) == 53
    assert (table["problem"] != "").sum() == len(BROKEN)
    read = table[table["problem"] == ""]
    right = read["predicted"] == read["file"].str.split("/").str[-2]
    assert right.mean() > 0.8
    assert (tmp_path / "predictions.png").exists()
