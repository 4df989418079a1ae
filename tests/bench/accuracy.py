"""Lesson 05's fine-tuning over training seeds, scored on the test images."""

from __future__ import annotations

import time
from collections.abc import Iterator

from effnet_helpers import evaluation

import numpy as np
from sklearn.metrics import log_loss

from .fine_tune import fine_tuned
from .harness import Line, Row, Settings, Target
from .lab import own_cache, textile


def _run(settings: Settings) -> Iterator[Line]:
    images = textile(settings)
    wrong, losses, seconds = [], [], []
    with own_cache():  # the frozen part is computed for the first seed and found by the others, as in `effnet seeds`
        for seed in range(settings.seeds):
            started = time.perf_counter()
            model = fine_tuned(images, seed)
            seconds.append(time.perf_counter() - started)
            report = evaluation.evaluate(model, images, "test")
            wrong.append(100 * (1 - report.accuracy))
            losses.append(log_loss(report.labels, report.probabilities, labels=range(images.num_classes)))
    detail = (
        f"{min(wrong):.3g} to {max(wrong):.3g} over {settings.seeds} seeds; test loss "
        f"{min(losses):.4f} to {max(losses):.4f}; {np.median(seconds):.0f} s a seed"
    )
    what = "test images wrong after lesson 05's fine-tuning, mean over training seeds"
    yield Line(what, float(np.mean(wrong)), None, "%", Target("at most", 1.0, "%"), settings.seeds, detail)


ROW = Row("accuracy", "test accuracy of fine-tuning over training seeds", lambda s: 1 + s.seeds * 1.5, _run)
