"""What earlier versions wrote opens in this one and says the same: a saved model, every export, a table of splits.

`golden/VERSION` holds one small file of each format; a version that changes a format adds a folder of its own.
"""

import json
from pathlib import Path

from effnet_helpers import data, export

import numpy as np
import pytest

FOLDERS = sorted(path for path in (Path(__file__).parent / "golden").iterdir() if path.is_dir())


@pytest.fixture(params=FOLDERS, ids=lambda path: path.name)
def golden(request):
    """A folder, the pixels in it, and what the version that wrote it made of them."""
    answers = json.loads((request.param / "answers.json").read_text(encoding="utf-8"))
    return request.param, np.load(request.param / "pixels.npy").astype("float32"), answers


@pytest.mark.parametrize("name", ["classifier.keras", "exported.tflite", "exported.onnx", "exported"])
def test_a_saved_or_exported_model_gives_its_answers(golden, name):
    folder, pixels, answers = golden
    predict, card = export.open_classifier(folder / name)
    np.testing.assert_allclose(predict(pixels), answers["probabilities"], atol=1e-4)
    assert (card.class_names, card.image_size, card.resize_mode) == (("cat", "dög"), 32, "pad")


def test_a_table_of_splits_gives_its_splits(golden):
    folder, _, answers = golden
    dataset = data.load(f"csv:{folder / 'splits.csv'}", image_size=32, resize_mode="pad")
    names = {split: [name.removeprefix("pictures/") for name in files.names] for split, files in dataset.splits.items()}
    assert names == answers["splits"]
