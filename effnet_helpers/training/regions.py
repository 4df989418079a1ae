"""A head that judges every region of an image by itself: for flaws that are small and labels that are few.

In the average that `models.add_head` takes over the image a small flaw is lost. Here each region is scored first, and
the scores are pooled so that the highest count most (multiple-instance learning: nobody says where the flaw is).
"""

import math

from effnet_helpers.data import ImageDataset
from effnet_helpers.models import block_of, freeze_backbone, guard_pixel_range, split_after
from effnet_helpers.runtime import keras
from effnet_helpers.training.features import extract_features

import numpy as np
from sklearn.decomposition import PCA

FLOOR = 1e-3
"""Of the largest variance: what is added to each before dividing by it, since next to no variance is mostly noise."""
PARTS = 10
"""The loss that `fit_region_head` goes by is the mean over the last of so many parts of a training."""


def add_region_head(
    backbone: keras.Model, num_classes: int, hidden: int = 128, dropout: float = 0.5, sharpness: float = 0.5
) -> keras.Model:
    """Puts a head on a backbone that scores each region and pools the scores by their log-sum-exp.

    The pooled score of a class is log(mean(exp(sharpness * scores))) / sharpness over all regions (Pinheiro and
    Collobert, arXiv 1411.6228): close to the mean of the scores where sharpness is small, to their maximum where it is
    large. With a sharp pooling only one region of each image learns, at first the wrong one.

    Args:
        backbone: A backbone, or the prefix of `models.split_at_block`, whose regions are smaller the earlier it ends.
        num_classes: How many classes, at least 2.
        hidden: Units that look at a region before it is scored.
        dropout: Rate before them, in [0, 1). A low one lets the head learn its few images by heart instead.
        sharpness: Of the pooling, above 0.

    Returns:
        One flat model from pixels to probabilities (batch, num_classes), of stock layers and operations. It shares its
        layers with `backbone`.

    Raises:
        ValueError: If `num_classes` is below 2 or `sharpness` is not above 0.

    Example:
        >>> backbone = models.build_backbone("Lite0", image_size=64)
        >>> prefix, _ = models.split_at_block(backbone, "block5a")
        >>> model = training.add_region_head(prefix, num_classes=3)
        >>> model.get_layer("head_regions").output.shape  # scores of 4 × 4 regions
        (None, 16, 3)
    """
    if num_classes < 2 or not sharpness > 0:
        raise ValueError(f"num_classes is 2 or more, sharpness above 0. Received: {num_classes}, {sharpness}")
    _, rows, columns, channels = backbone.output.shape
    x = keras.layers.Dense(channels, trainable=False, name="head_whitening")(backbone.output)
    x = keras.layers.Dropout(dropout, name="head_dropout")(x)
    x = keras.layers.Dense(hidden, activation="relu", name="head_hidden")(x)
    scores = keras.layers.Dense(num_classes, dtype="float32", name="head_scores")(x)
    scores = keras.layers.Reshape((rows * columns, num_classes), dtype="float32", name="head_regions")(scores)
    pooled = keras.ops.logsumexp(sharpness * scores, axis=1) - math.log(rows * columns)
    last = keras.layers.Softmax(dtype="float32", name="head_probabilities")
    return guard_pixel_range(keras.Model(backbone.input, last(pooled / sharpness), name=f"{backbone.name}_classifier"))


def whitening(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Finds the weighted sums of features that are uncorrelated, with variance 1: principal components, scaled.

    What singles out a flaw is often a weak feature among strong ones that all images share. Scaled alike, gradient
    descent finds it in a fraction of the steps.

    Args:
        features: (images, rows, columns, channels).

    Returns:
        Kernel (channels, channels) and bias (channels,) of a dense layer, float32.

    Example:
        >>> features = np.random.default_rng(0).normal(3.0, 2.0, (10, 4, 4, 8))
        >>> kernel, bias = training.whitening(features)
        >>> whitened = features.reshape(-1, 8) @ kernel + bias
        >>> bool(np.allclose(np.cov(whitened.T), np.eye(8), atol=0.01))
        True
    """
    regions = np.reshape(features, (-1, features.shape[-1])).astype("float32")
    found = PCA(svd_solver="covariance_eigh").fit(regions)
    variance = found.explained_variance_
    kernel = (found.components_ / np.sqrt(variance + FLOOR * variance.max())[:, np.newaxis]).T
    kernel = np.pad(kernel, [(0, 0), (0, len(kernel) - kernel.shape[1])])  # fewer regions than channels: the rest is 0
    return kernel.astype("float32"), (-found.mean_ @ kernel).astype("float32")


def fit_region_head(
    model: keras.Model,
    dataset: ImageDataset,
    *,
    tries: int = 3,
    steps: int = 300,
    batch_size: int = 100,
    learning_rate: float = 0.01,
    weight_decay: float = 0.01,
    seed: int = 0,
) -> list[float]:
    """Trains a region head on cached features, for a fixed number of steps, since few labels leave none to stop by.

    Trainings that get stuck with the wrong regions end with a higher training loss, so the head is trained from several
    starts, and the one with the lowest loss is kept. The recipe was found on draws from all of the simulated textile
    images; several starts were looked at again on draws that are scored on validation images (`make bench
    ROW=few-labels`).

    Args:
        model: A backbone with a head of `add_region_head`. Its backbone is frozen here; its head is overwritten.
        dataset: Images and labels; "train" is learned from, and nothing else is looked at.
        tries: From how many starts.
        steps: Of AdamW in each, at a rate that falls along half a cosine; 10 or more.
        batch_size: Images a step.
        learning_rate: At the start.
        weight_decay: Of AdamW.
        seed: Of the order of images, where they do not fit into one batch.

    Returns:
        The mean loss in the last tenth of each try, in their order.

    Raises:
        ValueError: If `steps` is below 10 or `tries` below 1.
    """
    if steps < PARTS or tries < 1:
        raise ValueError(f"steps is {PARTS} or more, tries 1 or more. Received: {steps=}, {tries=}")
    freeze_backbone(model)
    prefix, head = split_after(model, [layer.name for layer in model.layers if block_of(layer)][-1])
    features = extract_features(prefix, dataset, ["train"])["train"]
    whitened = whitening(features.values)
    losses, found = [], []
    for _ in range(tries):
        head = keras.models.clone_model(head)  # with new random weights
        head.get_layer("head_whitening").set_weights(whitened)
        batches = features.batches(batch_size, shuffle=True, seed=seed).repeat()
        schedule = keras.optimizers.schedules.CosineDecay(learning_rate, steps)
        head.compile(keras.optimizers.AdamW(schedule, weight_decay=weight_decay), "sparse_categorical_crossentropy")
        history = head.fit(batches, epochs=PARTS, steps_per_epoch=steps // PARTS, verbose=0).history
        losses.append(float(history["loss"][-1]))
        found.append({layer.name: layer.get_weights() for layer in head.layers if layer.weights})
    for name, weights in found[int(np.argmin(losses))].items():
        model.get_layer(name).set_weights(weights)
    return losses
