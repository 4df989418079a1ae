"""How many labels it takes: accuracy on draws of few textile images, against the published few-shot figures.

Whatever was chosen was chosen on development draws, which are scored on validation images. Then other draws are scored
on test images, once. Training images come from the training split in either case.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from effnet_helpers import evaluation, models, runtime, training
from effnet_helpers.data import ImageDataset, draw_images, share_out_labels
from effnet_helpers.runtime import keras

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from .harness import Line, Row, Settings, Target
from .lab import VARIANT, own_cache, textile

LABELS = (24, 48, 100, 200)
SCORED = 100
"""Labels of the published figure: 50 nominal images, 50 defective ones."""
TO_BLOCK, STARTS = "block5a", 3
"""The block was settled by earlier development, the number of starts is looked at again on development draws."""
DEVELOPED_ON, MEASURED_ON = range(100, 103), range(10, 13)
"""Seeds of draws."""
CLIP = {"ViT-L/14": 0.975, "ViT-B/32": 0.685}
"""Nominal against defective with 50 + 50 images: Megahed et al., arXiv 2501.12596."""
NOMINAL = {"nominal": 2}
"""Half of the images are nominal, a quarter of each flaw."""
COLUMNS = ["method", "labels", "draw", "scored_on", "starts", "loss", "nominal_accuracy", "three_class_accuracy"]


def _draw(images: ImageDataset, labels: int, test: int, seed: int, score_on: str) -> ImageDataset:
    smallest = min(np.bincount(images.labels(score_on), minlength=images.num_classes).tolist())
    test = min(test, 2 * smallest)  # in the same proportions
    train = share_out_labels(images, labels, NOMINAL)
    return draw_images(images, train, share_out_labels(images, test, NOMINAL, score_on), seed, score_on)


def _by_region(
    backbone: keras.Model, images: ImageDataset, seed: int, starts: int = STARTS
) -> tuple[evaluation.Report, float]:
    prefix, _ = models.split_at_block(backbone, TO_BLOCK)
    model = training.add_region_head(prefix, images.num_classes)
    losses = training.fit_region_head(model, images, tries=starts, seed=seed)
    return evaluation.evaluate(model, images, "test"), min(losses)


def _averaged(backbone: keras.Model, images: ImageDataset, strength: float = 0.001) -> evaluation.Report:
    """The last layer's features, averaged over the image, and the strength that lesson 04 found for them."""
    pooled = keras.Model(backbone.input, keras.layers.GlobalAveragePooling2D()(backbone.output))
    train, test = training.extract_features(pooled, images, ("train", "test")).values()
    classifier = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=1000))
    classifier.fit(np.float32(train.values), train.labels)
    probabilities = classifier.predict_proba(np.float32(test.values))
    return evaluation.report_from_probabilities(probabilities, test.labels, images.class_names)


def _developed(backbone: keras.Model, images: ImageDataset, test: int, seed: int) -> Iterator[tuple]:
    """Several starts, each scored by itself."""
    drawn = _draw(images, SCORED, test, seed, "val")
    runtime.set_seed(seed)
    for start in range(1, STARTS + 1):
        report, loss = _by_region(backbone, drawn, seed, starts=1)
        yield f"region head, {TO_BLOCK}, start {start}", seed, 1, loss, report


def _measured(backbone: keras.Model, images: ImageDataset, labels: int, test: int, seed: int) -> Iterator[tuple]:
    drawn = _draw(images, labels, test, seed, "test")
    runtime.set_seed(seed)
    report, loss = _by_region(backbone, drawn, seed)
    yield "region head", seed, STARTS, loss, report
    yield "averaged features", seed, 1, math.nan, _averaged(backbone, drawn)


def _row(found: tuple, labels: int, scored_on: str) -> tuple:
    method, seed, starts, loss, report = found
    return method, labels, seed, scored_on, starts, round(loss, 4), report.one_against_rest("nominal"), report.accuracy


def _run(settings: Settings) -> Iterator[Line]:
    images = textile(settings)
    backbone = models.build_backbone(VARIANT, image_size=images.image_size)
    points, test, scored = ((12, 24), 16, 24) if settings.tiny else (LABELS, 200, SCORED)
    folder = settings.folder if settings.tiny else evaluation.MEASURED
    rows = []

    def keep(found: tuple, labels: int, scored_on: str) -> None:
        rows.append(_row(found, labels, scored_on))
        print(*rows[-1], flush=True)
        pd.DataFrame(rows, columns=COLUMNS).to_csv(folder / "few_labels.csv", index=False)

    with own_cache():
        for seed in DEVELOPED_ON[: settings.seeds]:
            for found in _developed(backbone, images, test, seed):
                keep(found, SCORED, "val")
        for seed in MEASURED_ON[: settings.seeds]:
            for labels in points:
                for found in _measured(backbone, images, labels, test, seed):
                    keep(found, labels, "test")
            keras.utils.clear_session()
            backbone = models.build_backbone(VARIANT, image_size=images.image_size)
    curve = pd.DataFrame(rows, columns=COLUMNS)
    curve = curve[(curve["scored_on"] == "test") & (curve["labels"] == scored) & (curve["method"] == "region head")]
    wrong, three = 100 * (1 - curve["nominal_accuracy"]), 100 * (1 - curve["three_class_accuracy"])
    detail = (
        f"{settings.seeds} draws, {wrong.min():.3g} to {wrong.max():.3g}; of three classes {three.mean():.3g} "
        f"({three.min():.3g} to {three.max():.3g})"
    )
    for name, accuracy in CLIP.items():
        what = f"{SCORED} labels, nominal against defective: wrong answers, against few-shot CLIP {name} as published"
        target = Target("share", 1.0) if name == "ViT-L/14" else None
        yield Line(what, float(wrong.mean()), 100 * (1 - accuracy), "%", target, settings.seeds, detail)


ROW = Row("few-labels", "accuracy against the number of labels", lambda settings: settings.seeds * 4, _run)
