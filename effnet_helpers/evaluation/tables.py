"""Measurements that took too long for a lesson, and that lessons quote: made by `make bench`, part of the package."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

MEASURED = Path(__file__).with_name("measured")


def measured(name: str) -> pd.DataFrame:
    """Returns a table of measurements.

    Args:
        name: `"few_labels"` (accuracy by method, number of labels and draw; scored on "val" while the recipe was
            looked at, on "test" once it was fixed; `make bench ROW=few-labels`),
            `"growth"` (seconds and memory by images, size and variant; `make bench ROW=growth`), `"recipes"` (a row for
            each fine-tuning of `make bench ROW=recipes`: set, choices, accuracies, multiply-adds), `"frozen_head"`
            (validation accuracy by what the classifier of lesson 04 is given, over seeds), `"conformal"` (prediction
            sets on the textile benchmark; `make bench ROW=conformal`), `"belonging"` (how many pictures of other things
            each score marks as none of the classes), `"belonging_fine_tuned"` (the same for networks before and after
            fine-tuning), `"wrong_labels"` (how many planted ones are found; all of `make bench ROW=trust`), `"tips"`
            (a row for each run of `make bench ROW=tips`, which tries the tips of Keras' example), `"memory"` (peak
            memory of loading and serving so many files; `make bench ROW=memory`) or `"distributed"` (milliseconds of a
            step, of adding up gradients, of input and of the start by number of processes of one core; `size` is images
            in a step, or bytes; `make bench ROW=distributed`).

    Raises:
        ValueError: If there is no such table.

    Example:
        >>> evaluation.measured("growth").columns.tolist()
        ['images', 'image_size', 'variant', 'seconds', 'peak_mb']
    """
    path = MEASURED / f"{name}.csv"
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in MEASURED.glob("*.csv")))
        raise ValueError(f"There are the tables {known}. Received: {name!r}")
    return pd.read_csv(path)
