"""Does it pay to compute the frozen part of a network once? Multiplications and bytes, counted before any work."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from effnet_helpers import machine
from effnet_helpers.data import ImageDataset
from effnet_helpers.models import block_names, block_of, count_multiply_adds, last_layer_below
from effnet_helpers.runtime import keras
from effnet_helpers.training.features import check_views

BACKWARD = 2
"""A backward pass takes about twice the multiplications of a forward pass: one for the inputs, one for the weights."""


@dataclass(frozen=True)
class Plan:
    """How the frozen part of a network will be run.

    Attributes:
        cached: Whether it is computed once and kept.
        block: The lowest block that trains.
        views: How many versions of each training image are kept.
        gigabytes: What that takes on disk.
        budget_gb: What it may take: half of what the cache may.
        work: Multiplications as a share of those of running the whole network in every pass.
    """

    cached: bool
    block: str
    views: int
    gigabytes: float
    budget_gb: float
    work: float

    def __str__(self) -> str:
        versions = f"{self.views} versions of each image" if self.views > 1 else "each image"
        return (
            f"Estimate: keeping what lies below {self.block} for {versions} takes {self.gigabytes:.2f} GB (of "
            f"{self.budget_gb:.0f} allowed) and {self.work:.0%} of the multiplications of running everything in every "
            f"pass; so {'it is kept' if self.cached else 'everything runs in every pass'}."
        )


def plan_prefix(
    model: keras.Model,
    dataset: ImageDataset,
    *,
    passes: float,
    augment: Mapping[str, object] | None = None,
    views: int = 4,
) -> Plan:
    """Estimates whether to keep the activations below the lowest trainable block, or to run the whole network.

    Args:
        model: A classifier some of whose blocks are trainable.
        dataset: What it will be trained on.
        passes: How many passes over the training images are planned.
        augment: Arguments of `preprocessing.augment`, or None if images do not change; then one version is enough.
        views: How many versions of each image to keep at most.

    Raises:
        ValueError: If no block is trainable, or `views` is no whole number from 1 up.
    """
    check_views(views)
    block = lowest_trainable_block(model)
    budget_gb = machine.free_cache_gb() / 2
    if block == block_names(model)[0]:
        return Plan(False, block, 1, 0.0, budget_gb, 1.0)
    views = 1 if augment is None else min(views, math.ceil(passes))
    boundary = last_layer_below(model, block)
    position = model.layers.index(boundary) + 1
    below, above = (count_multiply_adds(part) for part in (model.layers[:position], model.layers[position:]))
    train, val = dataset.sizes["train"], dataset.sizes["val"]
    upper = passes * (train * (1 + BACKWARD) + val) * above
    work = ((views * train + val) * below + upper) / (passes * (train + val) * below + upper)
    gigabytes = (views * train + val) * math.prod(boundary.output.shape[1:]) * 2 / 1e9  # float16
    return Plan(work < 1 and gigabytes <= budget_gb, block, views, gigabytes, budget_gb, work)


def lowest_trainable_block(model: keras.Model) -> str:
    """The first block from the input with anything that trains; a `ValueError` says so where there is none."""
    block = next((block_of(layer) for layer in model.layers if block_of(layer) and layer.trainable_weights), None)
    if block is None:
        raise ValueError("No block is trainable: there is nothing to fine-tune. Call `models.unfreeze_blocks` first.")
    return block
