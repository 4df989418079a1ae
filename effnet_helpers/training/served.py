"""What a part of a network is trained on: images, or features of the part below it, in an order of their own."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from effnet_helpers.data import ImageDataset
from effnet_helpers.runtime import keras
from effnet_helpers.training.features import extract_features
from effnet_helpers.training.processes import Processes

BALANCES = (None, "class_weights", "balanced_sampling")


def balancing(dataset: ImageDataset, balance: str | None) -> tuple[dict[str, bool], dict[int, float] | None]:
    """Says what `balance` means for training: how to serve the images, and what each class weighs.

    Args:
        dataset: Images and labels.
        balance: "class_weights", "balanced_sampling" or None, see `fit_head`.

    Returns:
        Arguments for `dataset.batches` or `Features.batches`, and `class_weight` for `fit`.

    Raises:
        ValueError: If `balance` is anything else.
    """
    if balance not in BALANCES:
        raise ValueError(f"balance must be one of {', '.join(map(repr, BALANCES))}. Received: {balance!r}")
    weights = dataset.class_weights() if balance == "class_weights" else None
    return {"balanced": balance == "balanced_sampling"}, weights


@dataclass(frozen=True)
class Served:
    """What a part of a network is trained on, and how long that took to prepare.

    `rows` is how many images or features a pass over `train` and over `val` has. `sample` has the batches of `train`,
    too. Each counts its passes by itself, and that decides the order: looking at a sample must not change the order of
    training.
    """

    train: Any
    sample: Any
    val: Any
    class_weight: dict[int, float] | None
    rows: tuple[int, int] = (0, 0)
    seconds: float = 0.0
    reused: bool = False


NOTHING = Served(None, None, None, None, reused=True)  # where training is finished already


def serve_features(
    prefix: keras.Model,
    dataset: ImageDataset,
    batch_size: int,
    seed: int,
    balance: str | None,
    views: int,
    augment: Mapping[str, object] | None,
    done: int,
    processes: Processes | None = None,
) -> Served:
    """Serves what a network says about the images; `done` batches of training count as served already.

    Of several processes each serves its share of each batch.
    """
    order, weights = balancing(dataset, balance)
    how = {"views": views, "augment": augment, "seed": seed, "processes": processes}
    found = extract_features(prefix, dataset, ("train", "val"), batch_size, **how)
    share = {} if processes is None else {"share": processes.share}
    how = {"shuffle": True, **order, "seed": seed, **share}
    train, sample = (found["train"].batches(batch_size, **how, first_batch=first) for first in (done, 0))
    seconds, reused = sum(each.seconds for each in found.values()), all(each.reused for each in found.values())
    rows = len(found["train"].labels), len(found["val"].labels)
    val = found["val"].batches(batch_size, **share)
    return Served(train, sample, val, weights, rows, seconds, reused)


def serve_images(
    dataset: ImageDataset,
    batch_size: int,
    seed: int,
    balance: str | None,
    augment: Mapping[str, object] | None,
    done: int,
    processes: Processes | None = None,
) -> Served:
    """Serves the images themselves, augmented anew in each pass; of several processes each its share of each batch."""
    order, weights = balancing(dataset, balance)
    # To keep all pixels, each process would have to read all files.
    common = {"cache": True} if processes is None else {"cache": processes.count == 1, "share": processes.share}
    how = {"shuffle": True, **order, "seed": seed, "augment": augment, **common}
    train, sample = (dataset.batches("train", batch_size, **how, first_batch=first) for first in (done, 0))
    rows = dataset.sizes["train"], dataset.sizes["val"]
    return Served(train, sample, dataset.batches("val", batch_size, **common), weights, rows)
