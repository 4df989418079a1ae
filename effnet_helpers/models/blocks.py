"""The blocks of an EfficientNet: their names, which of them train, and where to cut between them.

A block is the unit to freeze, unfreeze and cut at: from B1 up most blocks add their input to their output, and a cut
inside one would train half of such a sum.
"""

import math
import re

from effnet_helpers.runtime import keras

import numpy as np
import pandas as pd


def block_of(layer: keras.layers.Layer) -> str | None:
    """The block that a layer belongs to: "stem", "block1a" …, "top"; None for pixel scaling and for any head."""
    match = re.match(r"(block\d[a-z])_|(stem)_|(top)_(?:conv|bn|activation)$", layer.name)
    return match and next(group for group in match.groups() if group)


def block_names(model: keras.Model) -> list[str]:
    """Names of a model's blocks from the input up: ["stem", "block1a", …, "block7a", "top"]."""
    return list(dict.fromkeys(block for layer in model.layers if (block := block_of(layer))))


def freeze_backbone(model: keras.Model) -> None:
    """Freezes every block of the backbone and leaves the head trainable.

    Batch normalization uses and keeps its moving statistics then, and stochastic depth rests, so that the backbone
    gives the same features in training as in inference.

    Args:
        model: A backbone, with or without a head; compile it after this.

    Example:
        >>> model = models.add_head(models.build_backbone("Lite0", image_size=64), num_classes=3)
        >>> models.freeze_backbone(model)
        >>> models.trainable_table(model).query("trains").index.tolist()
        ['head']
    """
    for layer in model.layers:
        if block_of(layer):
            layer.trainable = False
            set_stochastic_depth(layer, active=False)


def unfreeze_blocks(model: keras.Model, last: int | None = None, from_block: str | None = None) -> pd.DataFrame:
    """Makes whole blocks trainable, from one block up to the last, and freezes those below.

    Batch normalization of the backbone stays frozen, in inference mode; stochastic depth acts only in trainable blocks.

    Args:
        model: A backbone, with or without a head; compile it after this.
        last: How many blocks, counted from the output ("top" is the first of them). Give this or `from_block`.
        from_block: Name of the lowest block to train, one of `block_names(model)`.

    Returns:
        A table with one row per block: layers, trainable and frozen parameters, and whether it trains.

    Raises:
        ValueError: If there is no such block, or not so many, or both arguments or neither are given.

    Example:
        >>> model = models.add_head(models.build_backbone("Lite0", image_size=64), num_classes=3)
        >>> table = models.unfreeze_blocks(model, from_block="block6d")
        >>> table.query("trains").index.tolist()
        ['block6d', 'block7a', 'top', 'head']
    """
    blocks = block_names(model)
    trained = blocks[first_block_to_train(blocks, last, from_block) :]
    for layer in model.layers:
        if block_of(layer):
            is_batch_norm = isinstance(layer, keras.layers.BatchNormalization)
            layer.trainable = block_of(layer) in trained and not is_batch_norm
            set_stochastic_depth(layer, active=block_of(layer) in trained)
    return trainable_table(model)


def first_block_to_train(blocks: list[str], last: int | None, from_block: str | None) -> int:
    """Index of the lowest block to train; `unfreeze_blocks` says what is refused."""
    if (last is None) == (from_block is None):
        raise ValueError(f"Give either `last` or `from_block`. Received: last={last!r}, from_block={from_block!r}")
    if from_block is not None:
        if from_block not in blocks:
            raise ValueError(f"Unknown block. Known: {', '.join(blocks)}. Received: from_block={from_block!r}")
        return blocks.index(from_block)
    if not isinstance(last, int | np.integer) or isinstance(last, bool) or not 1 <= last <= len(blocks):
        raise ValueError(f"`last` must be a whole number from 1 to {len(blocks)}, all blocks. Received: {last!r}")
    return len(blocks) - last


def set_stochastic_depth(layer: keras.layers.Layer, active: bool) -> None:
    """Lets a layer of stochastic depth act at the rate it was built with, or rest; leaves other layers alone.

    `trainable=False` does not stop dropout, so a frozen block would otherwise still be skipped at random in training.
    """
    if layer.name.endswith("_drop") and isinstance(layer, keras.layers.Dropout):
        layer.full_rate = getattr(layer, "full_rate", layer.rate)
        layer.rate = layer.full_rate if active else 0.0


def trainable_table(model: keras.Model) -> pd.DataFrame:
    """One row per block, and one for the head: number of layers, parameters that train, parameters that do not."""
    rows = []
    for layer in model.layers:
        part = "head" if layer.name.startswith("head_") else block_of(layer)
        counts = (
            sum(math.prod(weight.shape) for weight in weights)
            for weights in (layer.trainable_weights, layer.non_trainable_weights)
        )
        rows.append((part, 1, *counts))
    table = pd.DataFrame(rows, columns=["block", "layers", "trainable", "frozen"])
    table = table.groupby("block", sort=False).sum()  # without the layers that are neither: they have no block
    table.insert(0, "trains", table["trainable"] > 0)
    return table


def split_at_block(model: keras.Model, block: str) -> tuple[keras.Model, keras.Model]:
    """Cuts a model below a block. Both parts share their layers, so also their weights, with the model.

    Args:
        model: A flat model with blocks.
        block: Name of the first block of the second part, one of `block_names(model)` but the first.

    Returns:
        `(prefix, tail)`: from pixels to the activations that enter `block`, and from those to the model's output;
        `tail(prefix(x))` is `model(x)`.

    Raises:
        ValueError: If there is no such block, or nothing but pixel scaling below it.
    """
    return split_after(model, last_layer_below(model, block).name)


def last_layer_below(model: keras.Model, block: str) -> keras.layers.Layer:
    """The layer whose output enters a block; a `ValueError` says so where there is no such block, or none below it."""
    blocks = block_names(model)
    if block not in blocks[1:]:
        raise ValueError(f"Unknown block to cut at. Known: {', '.join(blocks[1:])}. Received: {block!r}")
    below = blocks[blocks.index(block) - 1]
    return [layer for layer in model.layers if block_of(layer) == below][-1]


def split_after(model: keras.Model, layer_name: str) -> tuple[keras.Model, keras.Model]:
    """Cuts a model after a named layer through which everything passes; otherwise like `split_at_block`."""
    activations = model.get_layer(layer_name).output
    prefix = keras.Model(model.input, activations, name=f"{model.name}_prefix")
    tail = keras.Model(activations, model.output, name=f"{model.name}_tail")
    return prefix, tail


def set_drop_connect_rate(model: keras.Model, rate: float) -> None:
    """Sets stochastic depth's rate as in `build_backbone`. Call it before compile."""
    blocks = [name for name in block_names(model) if name.startswith("block")]
    for layer in stochastic_depth_layers(model):
        layer.rate = rate * blocks.index(block_of(layer)) / len(blocks)


def without_xla(model: keras.Model) -> keras.Model:
    """Has Keras run the model, and whatever is built from its layers, as a plain graph on every device.

    Left to itself Keras compiles with XLA on a GPU and not on a processor (`jit_compile="auto"`). XLA compiles anew for
    each batch size and each `compile`, has been much slower than cuDNN at depthwise convolutions (TensorFlow issue
    59772), and rounds differently from the plain graphs in which features are computed (Keras issue 22380).

    Args:
        model: A flat model; its layers are marked.

    Returns:
        The same model.
    """
    for layer in model.layers:
        layer.supports_jit = False
    return model


def stochastic_depth_layers(model: keras.Model) -> list[keras.layers.Dropout]:
    """The layers that skip a block's branch at random in training, one per block that adds its input."""
    return [layer for layer in model.layers if re.fullmatch(r"block\d[a-z]_drop", layer.name)]
