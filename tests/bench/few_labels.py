"""How many labels it takes: accuracy on draws of few textile images, against the published few-shot figures."""

from __future__ import annotations

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
TO_BLOCK = "block5a"
CLIP = {"ViT-L/14": 0.975, "ViT-B/32": 0.685}
"""Nominal against defective with 50 + 50 images: Megahed et al., arXiv 2501.12596."""


NOMINAL = {"nominal": 2}
"""Half of the images are nominal, a quarter of each flaw."""


def _by_region(backbone: keras.Model, images: ImageDataset, seed: int) -> evaluation.Report:
    runtime.set_seed(seed)
    prefix, _ = models.split_at_block(backbone, TO_BLOCK)
    model = training.add_region_head(prefix, images.num_classes)
    training.fit_region_head(model, images, seed=seed)
    return evaluation.evaluate(model, images, "test")


def _averaged(backbone: keras.Model, images: ImageDataset, seed: int) -> evaluation.Report:
    """Lesson 04's features, averaged over the image, and the strength that it found for them."""
    pooled = keras.Model(backbone.input, keras.layers.GlobalAveragePooling2D()(backbone.output))
    train, test = training.extract_features(pooled, images, ("train", "test")).values()
    classifier = make_pipeline(StandardScaler(), LogisticRegression(C=0.001, max_iter=1000))
    classifier.fit(np.float32(train.values), train.labels)
    probabilities = classifier.predict_proba(np.float32(test.values))
    return evaluation.report_from_probabilities(probabilities, test.labels, images.class_names)


METHODS = {"region head": _by_region, "averaged features": _averaged}


def _run(settings: Settings) -> Iterator[Line]:
    images = textile(settings, limit_per_class=60 if settings.tiny else None)
    backbone = models.build_backbone(VARIANT, image_size=images.image_size)
    points, test = ((24, 48), 16) if settings.tiny else (LABELS, 200)
    rows = []
    with own_cache():
        for seed in range(settings.seeds):
            for labels in points:
                drawn = draw_images(
                    images, share_out_labels(images, labels, NOMINAL), share_out_labels(images, test, NOMINAL), seed
                )
                for method, learn in METHODS.items():
                    report = learn(backbone, drawn, seed)
                    rows.append((method, labels, seed, report.one_against_rest("nominal"), report.accuracy))
    columns = ["method", "labels", "draw", "nominal_accuracy", "three_class_accuracy"]
    curve = pd.DataFrame(rows, columns=columns)
    curve.to_csv((settings.folder if settings.tiny else evaluation.MEASURED) / "few_labels.csv", index=False)
    scored = curve[(curve["labels"] == (points[-1] if settings.tiny else SCORED)) & (curve["method"] == "region head")]
    wrong = 100 * (1 - scored["nominal_accuracy"])
    three = 100 * (1 - scored["three_class_accuracy"])
    detail = (
        f"{settings.seeds} draws, {wrong.min():.3g} to {wrong.max():.3g}; of three classes {three.mean():.3g} "
        f"({three.min():.3g} to {three.max():.3g})"
    )
    for name, accuracy in CLIP.items():
        what = f"{SCORED} labels, nominal against defective: wrong answers, against few-shot CLIP {name} as published"
        target = Target("share", 1.0) if name == "ViT-L/14" else None
        yield Line(what, float(wrong.mean()), 100 * (1 - accuracy), "%", target, settings.seeds, detail)


ROW = Row("few-labels", "accuracy against the number of labels", lambda settings: settings.seeds * 4, _run)
