"""Which score marks best what is none of the classes, and how many planted wrong labels are found: two tables.

On frozen features of Lite0 under a logistic head, on the sets of `recipes.SETS`: pictures of other sets, and classes
left out of training. Thresholds let 5 % of the validation images be marked; nothing is chosen on test images. Of the
scores in belonging.csv the package has the last one, `BOTH`: each of its two parts with half of the allowance.
The tables of November 2026 were made with 68 copies among the flowers, a copied class among the pollen, and textile at
224 pixels.
"""

from __future__ import annotations

from collections.abc import Iterator

from effnet_helpers import evaluation, models, training

import numpy as np
import pandas as pd
from scipy.special import logsumexp, softmax
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from . import recipes
from .harness import Line, Row, Settings

BELONGING, WRONG_LABELS = (evaluation.MEASURED / f"{name}.csv" for name in ("belonging", "wrong_labels"))
SETS, BOTH = ("textile", "cats_dogs", "flowers", "pollen"), "centre or entropy"
SHARE, PLANTED, LEFT_OUT = 0.05, 0.05, 3
Parts = dict[str, tuple[np.ndarray, np.ndarray]]


def features_of(name: str, settings: Settings) -> Parts:
    """Features and labels of each split of a set."""
    images = recipes.load(recipes.SETS[name], settings.sets, 0)
    model = models.add_head(models.build_backbone("Lite0", image_size=images.image_size), images.num_classes)
    found = training.extract_features(models.split_after(model, "head_pool")[0], images, tuple(images.sizes))
    return {split: (np.asarray(each.values, np.float32), each.labels.astype(int)) for split, each in found.items()}


def scores(train: np.ndarray, labels: np.ndarray, pictures: list[np.ndarray]) -> dict[str, list[np.ndarray]]:
    """Each score of each collection of features: the higher, the less it belongs."""
    head = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=1000, tol=1e-3)).fit(train, labels)
    centres, unit = evaluation.class_centres(train, labels), train / np.linalg.norm(train, axis=1, keepdims=True)

    def of(features: np.ndarray) -> dict[str, np.ndarray]:
        decided = head.decision_function(features)
        logits = decided if decided.ndim == 2 else np.stack([-decided / 2, decided / 2], axis=1)
        probabilities = softmax(logits, axis=1)
        similar = np.sort(features / np.linalg.norm(features, axis=1, keepdims=True) @ unit.T, axis=1)
        return {
            "confidence": -probabilities.max(axis=1), "entropy": evaluation.doubt(probabilities),
            "energy": -logsumexp(logits, axis=1), "nearest image": -similar[:, -1], "tenth image": -similar[:, -10],
            "centre": evaluation.centre_distance(features, centres),
        }  # fmt: skip

    every = [of(features) for features in pictures]
    return {name: [each[name] for each in every] for name in every[0]}


def marks(val: np.ndarray, test: np.ndarray, foreign: np.ndarray, share: float) -> tuple[np.ndarray, np.ndarray]:
    """Which test images and which foreign ones a score marks."""
    threshold = evaluation.upper_threshold(val, share)
    return test > threshold, foreign > threshold


def compared(
    train: np.ndarray, labels: np.ndarray, val: np.ndarray, test: np.ndarray, foreign: dict[str, np.ndarray]
) -> Iterator[dict[str, object]]:
    """What each score makes of test images, and of each collection of foreign ones."""
    found = scores(train, labels, [val, test, *foreign.values()])
    for position, other in enumerate(foreign, start=2):
        answers = {name: (every[0], every[1], every[position]) for name, every in found.items()}
        for name, (_, usual, odd) in answers.items():
            auroc = roc_auc_score(np.repeat([0, 1], [len(usual), len(odd)]), np.concatenate([usual, odd]))
            wrongly, rightly = marks(*answers[name], SHARE)
            yield _row(other, name, rightly, wrongly) | {"auroc": auroc}
        parts = [marks(*answers[name], SHARE / 2) for name in ("centre", "entropy")]
        wrongly, rightly = (np.logical_or(*each) for each in zip(*parts, strict=True))
        yield _row(other, BOTH, rightly, wrongly)


def _row(foreign: str, score: str, rightly: np.ndarray, wrongly: np.ndarray) -> dict[str, object]:
    return {"foreign": foreign, "score": score, "marked": rightly.mean(), "false_marks": wrongly.mean()}


def belonging(sets: dict[str, Parts], draws: int) -> Iterator[dict[str, object]]:
    """A row for each set, what is foreign to it, draw and score."""
    for name, parts in sets.items():
        (train, labels), (val, _), (test, _) = (parts[split] for split in ("train", "val", "test"))
        others = {other: each["test"][0] for other, each in sets.items() if other != name}
        yield from ({"set": name, "draw": 0} | row for row in compared(train, labels, val, test, others))
        count = labels.max() + 1
        few = count <= LEFT_OUT + 1
        for draw in range(count if few else draws) if count > 2 else ():
            out = [draw] if few else np.random.default_rng(draw).choice(count, LEFT_OUT, replace=False)
            kept = {split: ~np.isin(of, out) for split, (_, of) in parts.items()}
            known = np.unique(labels[kept["train"]], return_inverse=True)[1]
            pictures = val[kept["val"]], test[kept["test"]], {"classes left out": test[~kept["test"]]}
            rows = compared(train[kept["train"]], known, *pictures)
            yield from ({"set": name, "draw": draw} | row for row in rows)


def wrong_labels(sets: dict[str, Parts], draws: int) -> Iterator[dict[str, object]]:
    """A row for each set and draw of planted wrong labels."""
    for name, parts in sets.items():
        features, labels = (np.concatenate([part[i] for part in parts.values()]) for i in (0, 1))
        classes = [str(label) for label in range(labels.max() + 1)]
        for draw in range(draws):
            random, given = np.random.default_rng(draw), labels.copy()
            planted = random.choice(len(labels), round(PLANTED * len(labels)), replace=False)
            given[planted] = (given[planted] + random.integers(1, len(classes), len(planted))) % len(classes)
            probabilities = evaluation.out_of_fold_probabilities(features, given, seed=draw)
            hits = evaluation.suspected_labels(probabilities, given, classes)["index"].isin(planted)
            yield {
                "set": name, "images": len(labels), "classes": len(classes), "draw": draw,
                "accuracy": (probabilities.argmax(axis=1) == labels).mean(), "planted": len(planted),
                "suspects": len(hits), "precision": hits.mean(), "recall": hits.sum() / len(planted),
            }  # fmt: skip


def run(settings: Settings) -> Iterator[Line]:
    """Measures what is at hand: textile, and the other sets where their folder is given."""
    sets = {name: features_of(name, settings) for name in (SETS if settings.sets else SETS[:1])}
    tables = pd.DataFrame(belonging(sets, settings.seeds)), pd.DataFrame(wrong_labels(sets, settings.seeds))
    if settings.sets and not settings.tiny:
        for table, path in zip(tables, (BELONGING, WRONG_LABELS), strict=True):
            table.round(4).to_csv(path, index=False)
    means = tables[0].groupby("score")["marked"].mean()
    found = tables[1][["precision", "recall"]].mean()
    detail = f"wrong labels: precision {found['precision']:.2f}, recall {found['recall']:.2f}"
    yield Line(
        "foreign pictures that are marked", means[BOTH], means["confidence"], "share", None, settings.seeds, detail
    )


ROW = Row("trust", "none of the classes, and wrong labels", lambda settings: 10.0, run)
