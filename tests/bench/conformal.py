"""Sets of answers that keep a promise: split conformal prediction on few textile images, as in a published benchmark.

Sizes are those of conformal_clip (Megahed et al., arXiv 2501.12596): 100 labels to train on, 100 more to set the
thresholds by, 100 images to score, half of them nominal, a quarter of each flaw; only "nominal" or "defective" is
known of any of them. It scored one draw; here are ten. Training images come from the training split, those that set
thresholds from the validation split, scored ones from the test split. Development draws stay within validation.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from effnet_helpers import evaluation, models, runtime, training
from effnet_helpers.data import ImageDataset, draw_images
from effnet_helpers.runtime import keras

import numpy as np
import pandas as pd
from scipy.stats import t as student
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from .few_labels import TO_BLOCK
from .harness import Line, Row, Settings, Target
from .lab import VARIANT, own_cache, textile

PROMISE = 0.9
SHARES = {"nominal": 50, "local": 25, "global": 25}
"""Images of each kind, for each of training, thresholds and scoring."""
CLASS_NAMES = ("nominal", "defective")
DEVELOPED_ON, MEASURED_ON = range(200, 203), range(20, 30)
"""Seeds of draws; none of them is used by few_labels.py."""
STARTS = 1
"""The development draws of few_labels.py showed no start that was stuck, nor do those of this table."""
OVER_ALL, BY_CLASS = "over all", "by class"
OUT = evaluation.MEASURED / "conformal.csv"
SOURCE = "conformal_clip at 1999278, results/textile/, without recalibration"
PUBLISHED = {  # accuracy; then coverage of nominal and of defective images, and labels a set: over all, and by class
    "EfficientNet-B0": (0.72, (0.94, 0.94, 1.48), (0.96, 0.84, 1.37)),
    "ResNet-50": (0.91, (1.0, 0.9, 1.14), (0.94, 0.94, 1.15)),
    "DINOv3-L": (0.89, (0.92, 0.92, 1.04), (0.92, 0.92, 1.05)),
    "CLIP ViT-L/14": (0.96, (0.98, 0.94, 1.0), (0.98, 0.96, 1.0)),
    "EVA02-E": (0.98, (1.0, 0.96, 1.0), (1.0, 0.96, 1.0)),
    "CLIP ViT-bigG/14": (0.98, (1.0, 0.96, 1.0), (1.0, 0.96, 1.0)),
}
COLUMNS = [
    *("source", "method", "scored_on", "draw", "thresholds", "coverage", "nominal", "defective", "labels_a_set"),
    *("empty_sets", "would_be_empty", "accuracy"),
]


def score(probabilities: np.ndarray, labels: np.ndarray, lowest: np.ndarray) -> dict[str, float]:
    """Coverage and size of the sets; one without any class gets the most probable, as in the published benchmark."""
    sets = evaluation.prediction_sets(probabilities, lowest)
    table = evaluation.set_coverage(sets, labels, CLASS_NAMES).set_index("class")
    return {
        "coverage": table.loc["all", "coverage"],
        **{name: table.loc[name, "coverage"] for name in CLASS_NAMES},
        "labels_a_set": table.loc["all", "mean_size"],
        "empty_sets": float(np.mean(~sets.any(axis=1))),
        "would_be_empty": float(np.mean((probabilities < lowest).all(axis=1))),
        "accuracy": float(np.mean(probabilities.argmax(axis=1) == labels)),
    }


def nominal_or_not(images: ImageDataset) -> ImageDataset:
    """The same images, of which only this is known."""
    nominal = images.class_names.index("nominal")
    splits = {
        split: replace(files, labels=(files.labels != nominal).astype(np.int32))
        for split, files in images.splits.items()
    }
    return replace(images, class_names=CLASS_NAMES, splits=splits)


def draw(images: ImageDataset, seed: int, shares: dict[str, int], scored_on: str) -> tuple[ImageDataset, ImageDataset]:
    """Two sets: "train" of the first is learned from, its "test" sets thresholds; "test" of the second is scored."""
    twice = {name: 2 * count for name, count in shares.items()}
    if scored_on == "val":  # both from the validation split, each image on one side
        both = draw_images(images, shares, twice, seed, "val")
        files, labels = both.splits["test"], both.labels("test")
        first = np.concatenate([np.flatnonzero(labels == label)[::2] for label in np.unique(labels)])
        halves = [files.take(np.sort(part)) for part in (first, np.setdiff1d(np.arange(len(labels)), first))]
        drawn = [replace(both, splits={**both.splits, "test": half}) for half in halves]
    else:
        drawn = [draw_images(images, shares, shares, seed, split) for split in ("val", "test")]
    return tuple(nominal_or_not(each) for each in drawn)


class Networks:
    """What is built, and traced, once for all draws: a region head on earlier features, the last layer averaged."""

    def __init__(self, image_size: int) -> None:
        backbone = models.build_backbone(VARIANT, image_size=image_size)
        prefix, _ = models.split_at_block(backbone, TO_BLOCK)
        self.model = training.add_region_head(prefix, len(CLASS_NAMES))  # each training overwrites its head
        self.pooled = keras.Model(backbone.input, keras.layers.GlobalAveragePooling2D()(backbone.output))

    def by_region(self, to_learn: ImageDataset, scored: ImageDataset, seed: int) -> list[np.ndarray]:
        """The method of lesson 07."""
        training.fit_region_head(self.model, to_learn, tries=STARTS, seed=seed)
        return [self.model.predict(each.batches("test", 25), verbose=0) for each in (to_learn, scored)]

    def averaged(self, to_learn: ImageDataset, scored: ImageDataset, seed: int) -> list[np.ndarray]:
        """The last layer's features, averaged over the image: what a network gives that is used as it comes."""
        train, first = training.extract_features(self.pooled, to_learn, ("train", "test")).values()
        second = training.extract_features(self.pooled, scored, ("test",))["test"]
        classifier = make_pipeline(StandardScaler(), LogisticRegression(C=0.001, max_iter=1000))
        classifier.fit(np.float32(train.values), train.labels)
        return [classifier.predict_proba(np.float32(part.values)) for part in (first, second)]


def _measure(networks: Networks, images: ImageDataset, seed: int, shares: dict, scored_on: str) -> Iterator[dict]:
    to_learn, scored = draw(images, seed, shares, scored_on)
    for name, method in {"region head": networks.by_region, "averaged features": networks.averaged}.items():
        runtime.set_seed(seed)
        first, second = method(to_learn, scored, seed)
        for kind in (OVER_ALL, BY_CLASS):
            lowest = evaluation.conformal_thresholds(first, to_learn.labels("test"), PROMISE, kind == BY_CLASS)
            where = {"source": "ours", "method": name, "scored_on": scored_on, "draw": seed, "thresholds": kind}
            yield where | score(second, scored.labels("test"), lowest)


def published() -> pd.DataFrame:
    """The published figures, in the form of ours."""
    rows = []
    for name, (accuracy, *both) in PUBLISHED.items():
        for kind, (nominal, defective, size) in zip((OVER_ALL, BY_CLASS), both, strict=True):
            rows.append(
                {"source": SOURCE, "method": name, "scored_on": "test", "thresholds": kind, "accuracy": accuracy}
                | {"coverage": (nominal + defective) / 2, "nominal": nominal, "defective": defective}
                | {"labels_a_set": size, "empty_sets": 0.0}
            )
    return pd.DataFrame(rows, columns=COLUMNS)


def interval(values: pd.Series) -> tuple[float, float]:
    """Student's 95 % interval of the mean over draws."""
    half = student.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else 0.0
    return float(values.mean() - half), float(values.mean() + half)


def _run(settings: Settings) -> Iterator[Line]:
    images = textile(settings, **({} if settings.tiny else {"limit_per_class": None}))
    networks = Networks(images.image_size)
    shares = {name: count // 25 for name, count in SHARES.items()} if settings.tiny else SHARES
    out = settings.folder / OUT.name if settings.tiny else OUT
    table = pd.read_csv(out)[COLUMNS] if out.exists() else published()
    runs = [(seed, "val") for seed in DEVELOPED_ON] + [(seed, "test") for seed in MEASURED_ON]
    done = set(table[["draw", "scored_on"]].itertuples(index=False, name=None))
    with own_cache():
        for seed, scored_on in (runs[:1] + runs[-1:]) if settings.tiny else runs:
            if (seed, scored_on) in done:
                continue
            rows = pd.DataFrame(_measure(networks, images, seed, shares, scored_on), columns=COLUMNS).round(4)
            print(rows.drop(columns="source").to_string(index=False, header=False), flush=True)
            table = pd.concat([table.astype(object), rows], ignore_index=True)
            table.to_csv(out, index=False)
    ours = table.query(
        f"source == 'ours' and scored_on == 'test' and method == 'region head' and thresholds == '{BY_CLASS}'"
    )
    _, by_class_of_b0 = PUBLISHED["EfficientNet-B0"][1:]
    for name, theirs in zip(CLASS_NAMES, by_class_of_b0, strict=False):
        covered = ours[name].astype(float)
        low, high = interval(covered)
        detail = f"{covered.min():.3g} to {covered.max():.3g}; 95 % interval of the mean {low:.3f} to {high:.3f}"
        what = f"{name} images outside sets that promise {PROMISE:.0%}, by class, against EfficientNet-B0 as published"
        target = Target("at most", round(100 * (1 - PROMISE + high - covered.mean()), 1), "%")
        yield Line(what, 100 * (1 - covered.mean()), 100 * (1 - theirs), "%", target, len(ours), detail)
    size, empty = ours["labels_a_set"].astype(float), ours["empty_sets"].astype(float)
    detail = f"{size.min():.3g} to {size.max():.3g}; {100 * empty.mean():.3g} % empty"
    what = "labels in such a set, against EfficientNet-B0 as published"
    target = Target("at most", 1.02, "labels")
    yield Line(what, float(size.mean()), by_class_of_b0[2], "labels", target, len(ours), detail, empty.max() == 0)


ROW = Row("conformal", "sets of answers that keep a promise, on few labels", lambda settings: 8, _run)
