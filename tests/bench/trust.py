"""Which score marks best what is none of the classes, and how many planted wrong labels are found: two tables.

On frozen features of Lite0 under a logistic head, on the sets of `recipes.SETS`: pictures of other sets, and classes
left out of training. Thresholds let 5 % of the validation images be marked; nothing is chosen on test images. Of the
scores in belonging.csv the package has the last one, `BOTH`: each of its two parts with half of the allowance.
The tables of November 2026 were made with 68 copies among the flowers, a copied class among the pollen, and textile at
224 pixels. A third table asks whether the scores hold after fine-tuning: smaller pictures, the network's own head
before and after it, thresholds from validation images that chose nothing where there are enough.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from effnet_helpers import data, evaluation, models, training
from effnet_helpers.course import train_trust
from effnet_helpers.runtime import keras, set_seed

import numpy as np
import pandas as pd
from scipy.special import logsumexp, softmax
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from . import recipes
from .harness import Line, Row, Settings

TABLES = ("belonging", "wrong_labels", "belonging_fine_tuned")
BELONGING, WRONG_LABELS, FINE_TUNED = (evaluation.MEASURED / f"{name}.csv" for name in TABLES)
SETS, BOTH = ("textile", "cats_dogs", "flowers", "pollen"), "centre or entropy"
SHARE, PLANTED, LEFT_OUT = 0.05, 0.05, 3
SIZE, STEPS, SEEDS = 128, 100, 2  # of fine-tuning, on pictures small enough for two cores
Parts = dict[str, tuple[np.ndarray, np.ndarray]]
Head = Callable[[np.ndarray], np.ndarray]
NAMES = ("bn", "probabilities")


def features_of(name: str, settings: Settings) -> Parts:
    """Features and labels of each split of a set."""
    images = recipes.load(recipes.SETS[name], settings.sets, 0)
    model = models.add_head(models.build_backbone("Lite0", image_size=images.image_size), images.num_classes)
    found = training.extract_features(models.split_after(model, "head_pool")[0], images, tuple(images.sizes))
    return {split: (np.asarray(each.values, np.float32), each.labels.astype(int)) for split, each in found.items()}


def logistic_head(train: np.ndarray, labels: np.ndarray) -> Head:
    """Fits a head to features; it turns others into logits."""
    head = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=1000, tol=1e-3)).fit(train, labels)

    def logits(features: np.ndarray) -> np.ndarray:
        decided = head.decision_function(features)
        return decided if decided.ndim == 2 else np.stack([-decided / 2, decided / 2], axis=1)

    return logits


def own_head(model: keras.Model) -> Head:
    """The head that a network has now, as it turns features into logits."""
    norm, last = ([np.asarray(value) for value in model.get_layer(f"head_{name}").get_weights()] for name in NAMES)
    (gamma, beta, mean, variance), (kernel, bias) = norm, last
    scale = gamma / np.sqrt(variance + model.get_layer("head_bn").epsilon)
    return lambda features: ((features - mean) * scale + beta) @ kernel + bias


def scores(
    train: np.ndarray, labels: np.ndarray, pictures: list[np.ndarray], head: Head | None = None
) -> dict[str, list[np.ndarray]]:
    """Each score of each collection of features: the higher, the less it belongs."""
    head = head or logistic_head(train, labels)
    centres, unit = evaluation.class_centres(train, labels), train / np.linalg.norm(train, axis=1, keepdims=True)

    def of(features: np.ndarray) -> dict[str, np.ndarray]:
        logits = head(features)
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
    train: np.ndarray, labels: np.ndarray, val: np.ndarray, test: np.ndarray, foreign: dict[str, np.ndarray],
    head: Head | None = None,
) -> Iterator[dict[str, object]]:  # fmt: skip
    """What each score makes of test images, and of each collection of foreign ones."""
    found = scores(train, labels, [val, test, *foreign.values()], head)
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


def _of_classes(images: data.ImageDataset, kept: Sequence[int]) -> data.ImageDataset:
    """A set of some of the classes alone."""
    splits = {}
    for split, files in images.splits.items():
        some = files.take(np.flatnonzero(np.isin(files.labels, kept)))
        splits[split] = replace(some, labels=np.searchsorted(kept, some.labels).astype(np.int32))
    return replace(images, class_names=tuple(images.class_names[label] for label in kept), splits=splits)


def _features(network: keras.Model, images: data.ImageDataset, split: str) -> np.ndarray:
    return np.float32(training.extract_features(network, images, (split,))[split].values)


def fine_tuned(
    sets: dict[str, data.ImageDataset], name: str, out: Sequence[int], seed: int, steps: int = STEPS
) -> Iterator[dict[str, object]]:
    """Rows of one training: of its features with the fitted head, and of those after fine-tuning.

    Args:
        sets: All sets at one size.
        name: Of the one to train on; pictures of the others are foreign.
        out: Labels of classes to leave out; then only these are foreign.
        seed: Of training.
        steps: Of fine-tuning.
    """
    whole = sets[name]
    known = _of_classes(whole, [label for label in range(whole.num_classes) if label not in out])
    images, apart = train_trust.keep_apart(known)
    set_seed(seed)
    model = models.add_head(models.build_backbone("Lite0", image_size=SIZE), images.num_classes)
    fit = training.fit_head(model, images, seed=seed)
    others = {other: each for other, each in sets.items() if other != name}
    foreign = {"classes left out": _of_classes(whole, sorted(out))} if len(out) else others
    for stage in ("head", "fine-tuned"):
        if stage == "fine-tuned":
            models.unfreeze_blocks(model, from_block=training.choose_recipe(1, fit.val_accuracy).from_block)
            fit = training.fine_tune(model, images, steps=steps, seed=seed)
        network, _ = models.split_after(model, "head_pool")
        near = images.with_fewer(train_trust.NEAR)
        which = ((near, "train"), (apart, "val"), (images, "test"))
        train, val, test = (_features(network, each, split) for each, split in which)
        right = (own_head(model)(test).argmax(axis=1) == images.labels("test")).mean()
        strange = {other: _features(network, each, "test") for other, each in foreign.items()}
        for row in compared(train, near.labels("train"), val, test, strange, own_head(model)):
            yield {"set": name, "without": "", "seed": seed, "features": stage, "accuracy": right} | row


def fine_tuned_table(folder: Path, steps: int = STEPS, trained_on: Sequence[str] = SETS) -> pd.DataFrame:
    """Measures what is missing in the table of fine-tuned features, training by training, and returns all of it.

    Args:
        folder: Of the sets.
        steps: Of fine-tuning.
        trained_on: Names of sets; pictures of all of `SETS` are foreign.
    """
    sets = {name: replace(recipes.load(recipes.SETS[name], folder, 0), image_size=SIZE) for name in SETS}
    done = pd.read_csv(FINE_TUNED) if FINE_TUNED.is_file() else pd.DataFrame(columns=["set", "without", "seed"])
    jobs = []
    for seed in range(SEEDS):
        for name in trained_on:
            count = sets[name].num_classes
            drawn = np.random.default_rng(seed).choice(count, LEFT_OUT, replace=False) if count > LEFT_OUT else ()
            left_out = [[each] for each in range(count)] if 2 < count <= LEFT_OUT + 1 else [sorted(drawn)] * (count > 2)
            jobs += [(turn, seed, name, out) for turn, out in enumerate([[], *left_out])]
    for _, seed, name, out in sorted(jobs):  # first of every set what all of its classes give
        without = " ".join(sets[name].class_names[label] for label in out) or "none"
        if done.query("set == @name and seed == @seed and without == @without").empty:
            rows = pd.DataFrame(fine_tuned(sets, name, out, seed, steps)).round(4).assign(without=without)
            done = pd.concat([done, rows]) if len(done) else rows
            done.to_csv(FINE_TUNED, index=False)
            print(rows.query("score == @BOTH").to_string(index=False, header=False), flush=True)
            keras.utils.clear_session()
    return done


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
        fine_tuned_table(settings.sets)
    means = tables[0].groupby("score")["marked"].mean()
    found = tables[1][["precision", "recall"]].mean()
    detail = f"wrong labels: precision {found['precision']:.2f}, recall {found['recall']:.2f}"
    yield Line(
        "foreign pictures that are marked", means[BOTH], means["confidence"], "share", None, settings.seeds, detail
    )


ROW = Row("trust", "none of the classes, and wrong labels", lambda settings: 10.0 + 60.0 * bool(settings.sets), run)
