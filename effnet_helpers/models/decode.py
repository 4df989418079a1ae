"""What an ImageNet classifier's probabilities mean, and a classifier cut down to some of its classes."""

from collections.abc import Sequence
from dataclasses import dataclass

from effnet_helpers import imagenet
from effnet_helpers.models.guard import guard_pixel_range
from effnet_helpers.runtime import keras

import numpy as np


@dataclass(frozen=True)
class Prediction:
    """One of the most probable ImageNet classes of an image."""

    class_name: str
    wordnet_id: str
    probability: float


def decode_predictions(probabilities: np.ndarray, top: int = 5) -> list[list[Prediction]]:
    """Names the most probable ImageNet classes, offline.

    Args:
        probabilities: (batch, 1000), as `build_imagenet_classifier` predicts.
        top: How many per image.

    Returns:
        For each image a list of `top` predictions, most probable first.

    Raises:
        ValueError: If the shape is not (batch, 1000).
    """
    probabilities = np.asarray(probabilities)
    if probabilities.ndim != 2 or probabilities.shape[1] != imagenet.NUM_CLASSES:
        raise ValueError(f"Expected probabilities of shape (batch, 1000). Received: {probabilities.shape}")
    found = []
    for row in probabilities:
        best = np.argsort(-row)[:top].tolist()
        found.append([Prediction(imagenet.class_name(i), imagenet.wordnet_id(i), float(row[i])) for i in best])
    return found


def restrict_to_wordnet_ids(classifier: keras.Model, wordnet_ids: Sequence[str]) -> keras.Model:
    """Cuts an ImageNet classifier down to some of its classes: a baseline that needs no training at all.

    The last layer keeps the weights of these classes only, so that its softmax is over them: the probabilities are
    those of the whole classifier, divided by their sum.

    Args:
        classifier: What `build_imagenet_classifier` returns; it is left as it is.
        wordnet_ids: Of the classes to keep, at least 2, in the order of the outputs; `ImageDataset.wordnet_ids`.

    Returns:
        A model from pixels to probabilities (batch, len(wordnet_ids)). It shares all layers but the last.

    Raises:
        ValueError: If an id is not one of ImageNet's 1,000, there are fewer than 2, or the classifier has another
            number of classes.
    """
    kept = [imagenet.class_index(wordnet_id) for wordnet_id in wordnet_ids]
    if unknown := [wordnet_id for wordnet_id, index in zip(wordnet_ids, kept, strict=True) if index is None]:
        raise ValueError(f"ImageNet's 1,000 classes do not include all of these. Received unknown ids: {unknown}")
    if len(wordnet_ids) < 2:
        raise ValueError(f"A classifier needs at least 2 classes. Received: wordnet_ids={tuple(wordnet_ids)}")
    if classifier.output_shape[-1] != imagenet.NUM_CLASSES:
        raise ValueError(f"Expected a classifier of 1,000 classes. Received: {classifier.output_shape[-1]} outputs")
    last = classifier.layers[-1]
    fewer = keras.layers.Dense(len(kept), activation="softmax", dtype="float32", name=last.name)
    model = keras.Model(classifier.input, fewer(last.input), name=f"{classifier.name}_{len(kept)}_classes")
    fewer.set_weights([array[..., kept] for array in last.get_weights()])  # kernel (features, 1000) and bias (1000,)
    return guard_pixel_range(model)
