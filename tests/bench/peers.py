"""The recipes we compare with, written out from their published descriptions; the code is our own.

- keras.io, code examples, "Image classification via fine-tuning with EfficientNet", in its edition with
  `keras.utils.PyDataset`: the augmentation, the data set, the frozen network with its head.
- keras.io, developer guides, "Transfer learning & fine-tuning": fine-tuning the whole network.

They get the same images, the same network and the same cores as we do. Where we deviate it is in their favour: images
are in memory at the network's size before the clock starts, and labels stay integers. Trainings run in a process of
their own, without our way to manage memory (`effnet_helpers/machine/allocation.py`).
"""

from __future__ import annotations

from collections.abc import Sequence

from effnet_helpers.data.pipeline import without_autotuning
from effnet_helpers.machine import usable_cores
from effnet_helpers.runtime import keras

import numpy as np
import tensorflow as tf

BATCH_SIZE, EPOCHS, WORKERS = 64, 25, 2

# The augmentation below as arguments of `preprocessing.augment`: Keras' factor of rotation is a share of a full turn.
SAME_AUGMENTATION = {"rotation": 0.15 * 360, "translation": 0.1, "flip": "both", "contrast": 0.1}


def augmentation_layers() -> list[keras.layers.Layer]:
    """The chain of the EfficientNet example, with its strengths."""
    return [
        keras.layers.RandomRotation(0.15),
        keras.layers.RandomTranslation(0.1, 0.1),
        keras.layers.RandomFlip(),
        keras.layers.RandomContrast(0.1),
    ]


class AugmentedImages(keras.utils.PyDataset):
    """The EfficientNet example's data set: images in memory, shuffled each epoch, augmented a batch at a time.

    As there, training images that do not fill a batch sit an epoch out, and two threads prepare batches.

    Args:
        images: uint8 (images, height, width, 3).
        labels: integers (images,).
        augment: whether to augment and shuffle, as for training.
        seed: of the order.
    """

    def __init__(self, images: np.ndarray, labels: np.ndarray, *, augment: bool, seed: int = 0) -> None:
        super().__init__(workers=WORKERS)
        self.images, self.labels = images, labels
        self.layers = augmentation_layers() if augment else []
        self.random = np.random.default_rng(seed)
        self.order = np.arange(len(labels))
        self.on_epoch_end()

    def __len__(self) -> int:
        batches, rest = divmod(len(self.order), BATCH_SIZE)
        return batches if self.layers or not rest else batches + 1  # scored are all images, by both sides

    def on_epoch_end(self) -> None:
        """Draws the order of the next epoch."""
        if self.layers:
            self.random.shuffle(self.order)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        chosen = self.order[index * BATCH_SIZE : (index + 1) * BATCH_SIZE]
        batch = self.images[chosen].astype("float32")
        for layer in self.layers:
            batch = layer(batch)
        return np.array(batch), self.labels[chosen]


def frozen_network_with_head(backbone: keras.Model, classes: int) -> keras.Model:
    """The EfficientNet example's model: the backbone frozen, a new top on it, Adam at 1e-2."""
    backbone.trainable = False
    model = _with_top(backbone, classes)
    model.compile(keras.optimizers.Adam(1e-2), loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def network_to_fine_tune(backbone: keras.Model, classes: int) -> keras.Model:
    """Plain fine-tuning: everything trains but batch normalization, which both pages keep frozen; Adam at 1e-4."""
    for layer in backbone.layers:
        layer.trainable = not isinstance(layer, keras.layers.BatchNormalization)
    model = _with_top(backbone, classes)
    model.compile(keras.optimizers.Adam(1e-4), loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def shuffled_batches(images: np.ndarray, labels: np.ndarray, batch_size: int, seed: int) -> tf.data.Dataset:
    """Images in memory, without augmentation, in a new order each epoch."""
    examples = tf.data.Dataset.from_tensor_slices((images, labels)).shuffle(len(labels), seed=seed)
    return examples.batch(batch_size).map(_as_float).prefetch(tf.data.AUTOTUNE)


def augmented_in_map(images: np.ndarray, labels: np.ndarray) -> tf.data.Dataset:
    """The same chain of layers the way the example used it before `PyDataset`: mapped over batches by `tf.data`."""
    layers = augmentation_layers()

    def augment(batch: tf.Tensor, batch_labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        for layer in layers:
            batch = layer(batch)
        return batch, batch_labels

    batches = tf.data.Dataset.from_tensor_slices((images, labels)).batch(BATCH_SIZE).map(_as_float)
    return batches.map(augment, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)


def decoded_at_full_scale(paths: Sequence[str]) -> tf.data.Dataset:
    """TensorFlow's own reading and decoding of JPEG files, in parallel, and nothing else.

    In its favour with as many threads as there are cores and without autotuning, which makes an epoch end late.
    """
    files = tf.data.Dataset.from_tensor_slices(list(paths))
    decoded = files.map(lambda path: tf.io.decode_jpeg(tf.io.read_file(path), 3), num_parallel_calls=usable_cores())
    return without_autotuning(decoded)


def _with_top(backbone: keras.Model, classes: int) -> keras.Model:
    x = keras.layers.GlobalAveragePooling2D()(backbone.output)
    x = keras.layers.BatchNormalization()(x)
    x = keras.layers.Dropout(0.2)(x)
    return keras.Model(backbone.input, keras.layers.Dense(classes, activation="softmax")(x))


def _as_float(images: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    return tf.cast(images, tf.float32), labels
