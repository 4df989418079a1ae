"""The same training on several devices and machines: one loop for all strategies of `tf.distribute`.

Keras 3's own `fit` fails under `MultiWorkerMirroredStrategy` (Keras issue 20585, open). A loop does not: each replica
takes its rows of every batch, the loss is divided by the size of the whole batch, and the optimizer adds the gradients
up. So that the result is that of one device and not only like it, batch normalization that trains looks at the whole
batch, and dropout draws for the whole batch and takes its rows of the draw.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from effnet_helpers import machine
from effnet_helpers.runtime import keras
from effnet_helpers.training.batch_norm import ReestimateBatchNorm
from effnet_helpers.training.processes import Processes

import numpy as np
import tensorflow as tf


class Replicas:
    """Trains a compiled part of a model on all devices of a strategy, by `fit` and `evaluate` as Keras names them.

    The devices train a copy. The part itself, an ordinary Keras model, receives its weights and the optimizer's state
    before each validation: callbacks, checkpoints and all that comes after need not know of strategies.

    Args:
        processes: Whose strategy to use.
        part: A flat model compiled by `compile_for_labels`.
        rows: How many images, or features of them, a pass over the training split has, and over the validation split.
        batch_size: Images per step, of all devices together.
    """

    def __init__(self, processes: Processes, part: keras.Model, rows: tuple[int, int], batch_size: int) -> None:
        self.strategy, self.processes, self.part = processes.strategy, processes, part
        self.sizes, self.val_sizes = (np.minimum(batch_size, n - np.arange(0, n, batch_size)) for n in rows)
        self.dropouts = [each for each in part.layers if isinstance(each, keras.layers.Dropout) and each.rate > 0]
        self.total = self.seeds = None  # of the step that is being traced, for the copies of these layers
        with self.strategy.scope():
            self.network = keras.models.clone_model(part, clone_function=self._copy)
            self.optimizer = keras.optimizers.deserialize(keras.optimizers.serialize(part.optimizer))
            self.optimizer.build(self.network.trainable_variables)
        if not part.optimizer.built:
            part.optimizer.build(part.trainable_variables)
        local = processes.local_replicas
        rows = [tf.TensorSpec((None, *part.input_shape[1:]), tf.float32)] * local
        labels, weights = ([tf.TensorSpec((None,), dtype)] * local for dtype in (tf.int32, tf.float32))
        draws = tf.TensorSpec((len(self.dropouts), 2), tf.int64)
        size = tf.TensorSpec((), tf.int32)
        self._step = tf.function(self._step, [rows, labels, weights, size, draws], autograph=False)
        self._score = tf.function(self._score, [rows, labels, size], autograph=False)
        self._forward = tf.function(self._forward, [rows], autograph=False)
        self._take_weights_of_chief()
        self.push()

    def fit(
        self,
        train: Iterable[tuple[tf.Tensor, tf.Tensor]],
        *,
        validation_data: Iterable[tuple[tf.Tensor, tf.Tensor]],
        class_weight: Mapping[int, float] | None,
        epochs: int,
        initial_epoch: int,
        steps_per_epoch: int,
        callbacks: Sequence[keras.callbacks.Callback],
        verbose: int = 0,
    ) -> None:
        """Trains as `keras.Model.fit` does; `train` and `validation_data` serve this process's share of each batch."""
        for callback in callbacks:
            if isinstance(callback, ReestimateBatchNorm):
                callback.network, callback.training_pass = self.network, self.training_pass
                numbered = enumerate(callback.batches)
                callback.batches = [((images, self.sizes[n % len(self.sizes)]),) for n, (images, *_) in numbered]
        show = {"verbose": verbose, "add_progbar": verbose != 0 and self.processes.is_chief}
        counts = {"epochs": epochs, "steps": steps_per_epoch}
        watching = keras.callbacks.CallbackList(callbacks, model=self.part, **show, **counts)
        self.part.stop_training, batches = False, iter(train)
        self.push()
        watching.on_train_begin()
        for epoch in range(initial_epoch, epochs):
            watching.on_epoch_begin(epoch)
            sums = np.zeros(3)
            for step in range(steps_per_epoch):
                watching.on_train_batch_begin(step)
                total = self.sizes[(epoch * steps_per_epoch + step) % len(self.sizes)]
                sums += (*self._train_on(*next(batches), total, class_weight), total)
                logs = {"loss": sums[0] / sums[2], "accuracy": sums[1] / sums[2]}
                watching.on_train_batch_end(step, logs)
            watching.on_test_begin()
            self.pull()
            loss, accuracy = self.evaluate(validation_data)
            watching.on_test_end()
            watching.on_epoch_end(epoch, logs | {"val_loss": loss, "val_accuracy": accuracy})
            if self.part.stop_training:
                break
            self.push()
        watching.on_train_end()

    def evaluate(self, batches: Iterable[tuple[tf.Tensor, tf.Tensor]], verbose: int = 0) -> tuple[float, float]:
        """Returns loss and accuracy over all images of which `batches` serves this process's share."""
        sums = np.zeros(3)
        for total, (images, labels) in zip(self.val_sizes, batches, strict=True):
            scores = self._score(*self._of_replicas(total, images, labels), tf.constant(total, tf.int32))
            sums += np.sum([each.numpy() for each in self.strategy.experimental_local_results(scores)], axis=0)
        loss, right, count = self.processes.sum(sums)
        return float(loss / count), float(right / count)

    def training_pass(self, share: tuple[tf.Tensor, int]) -> int:
        """Runs the network in training mode on a share of a batch, and returns how many images all of it has."""
        images, total = share
        machine.beat()
        with self.processes.watching():
            self._forward(*self._of_replicas(total, images))
        return int(total)

    def push(self) -> None:
        """Gives the copies on the devices the state of the part."""
        for ours, theirs in self._pairs():
            theirs.assign(ours.numpy())
        self.draws = np.array([each.seed_generator.state.numpy() for each in self.dropouts], np.int64).reshape(-1, 2)

    def pull(self) -> None:
        """Gives the part the state of the copies on the devices."""
        for ours, theirs in self._pairs():
            ours.assign(theirs.numpy())
        for layer, state in zip(self.dropouts, self.draws, strict=True):
            layer.seed_generator.state.assign(state)

    def _take_weights_of_chief(self) -> None:
        """Lets all processes start alike, though other processors round differently, or a seed was not set."""
        weights = [weight.numpy() for weight in self.part.weights]
        flat = np.concatenate([weight.ravel() for weight in weights]) * self.processes.is_chief
        ends = np.cumsum([weight.size for weight in weights])[:-1]
        for weight, values in zip(self.part.weights, np.split(self.processes.sum(flat), ends), strict=True):
            weight.assign(values.reshape(weight.shape))

    def _pairs(self) -> Iterable[tuple[keras.Variable, keras.Variable]]:
        yield from zip(self.part.weights, self.network.weights, strict=True)
        yield from zip(self.part.optimizer.variables, self.optimizer.variables, strict=True)

    def _copy(self, layer: keras.layers.Layer) -> keras.layers.Layer:
        config = layer.get_config()
        if layer in self.dropouts:
            return _DropoutOfTheWholeBatch(self, self.dropouts.index(layer), config)
        if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable:
            config["synchronized"] = True
        return type(layer).from_config(config)

    def _train_on(
        self, images: tf.Tensor, labels: tf.Tensor, total: int, class_weight: Mapping[int, float] | None
    ) -> tuple[float, float]:
        """Takes a step; returns the sum of the loss, and how many were right, over the whole batch."""
        weights = [1.0 if class_weight is None else class_weight[label] for label in labels.numpy()]
        machine.beat()
        rows = self._of_replicas(total, images, labels, tf.constant(weights, tf.float32, [len(weights)]))
        with self.processes.watching():
            sums = self._step(*rows, tf.constant(total, tf.int32), self.draws)
            sums = self.strategy.experimental_local_results(sums)[0].numpy()
        self.draws = self.draws + np.array([0, 1])
        return float(sums[0]) * total, float(sums[1])

    def _of_replicas(self, total: int, *tensors: tf.Tensor) -> list[list[tf.Tensor]]:
        """Cuts this process's rows of a batch of `total` into those of its replicas."""
        first, last, of = self.processes.share
        if total < of:
            return [[rows] * (last - first) for rows in tensors]
        cuts = [total * number // of - total * first // of for number in range(first, last + 1)]
        return [[rows[low:high] for low, high in itertools.pairwise(cuts)] for rows in tensors]

    def _counts_for(self, total: tf.Tensor) -> tf.Tensor:
        """What an image counts for: a batch with fewer images than replicas goes to all of them whole."""
        replicas = self.strategy.num_replicas_in_sync
        return tf.where(total < replicas, 1 / replicas, 1.0)

    def _here(self) -> int:
        """Which of this process's replicas is being traced."""
        number = tf.get_static_value(tf.distribute.get_replica_context().replica_id_in_sync_group)
        return int(number) - self.processes.first_replica

    def _step(
        self,
        images: list[tf.Tensor],
        labels: list[tf.Tensor],
        weights: list[tf.Tensor],
        total: tf.Tensor,
        seeds: tf.Tensor,
    ) -> Any:
        self.total, self.seeds = total, seeds

        def on_replica() -> tf.Tensor:
            mine, variables = self._here(), self.network.trainable_variables
            context = tf.distribute.get_replica_context()
            with tf.GradientTape() as tape:
                probabilities = self.network(images[mine], training=True)
                losses = weights[mine] * keras.losses.sparse_categorical_crossentropy(labels[mine], probabilities)
                loss = self._counts_for(total) * tf.reduce_sum(losses) / tf.cast(total, tf.float32)
                scaled = self.optimizer.scale_loss(loss)
            gradients = tape.gradient(scaled, [variable.value for variable in variables])
            overflown = tf.add_n([tf.cast(tf.reduce_sum(0 * each), tf.float32) for each in gradients])  # 0 or NaN
            right = self._counts_for(total) * _right(labels[mine], probabilities)
            sums = context.all_reduce(tf.distribute.ReduceOp.SUM, tf.stack([loss, right, overflown]))
            # Where one replica's gradients overflow, loss scaling must skip the step on all of them.
            self.optimizer.apply([each + tf.cast(sums[2], each.dtype) for each in gradients], variables)
            return sums[:2]

        return self.strategy.run(on_replica)

    def _score(self, images: list[tf.Tensor], labels: list[tf.Tensor], total: tf.Tensor) -> Any:
        def on_replica() -> tf.Tensor:
            mine = self._here()
            probabilities = self.network(images[mine], training=False)
            losses = keras.losses.sparse_categorical_crossentropy(labels[mine], probabilities)
            count = tf.cast(tf.size(losses), tf.float32)
            sums = tf.stack([tf.reduce_sum(losses), _right(labels[mine], probabilities), count])
            return self._counts_for(total) * sums

        return self.strategy.run(on_replica)

    def _forward(self, images: list[tf.Tensor]) -> None:
        self.strategy.run(lambda: self.network(images[self._here()], training=True))


class _DropoutOfTheWholeBatch(keras.layers.Dropout):
    """Draws as dropout on one device does, for the whole batch, and takes this replica's rows of the draw."""

    def __init__(self, replicas: Replicas, number: int, config: Mapping[str, Any]) -> None:
        super().__init__(**config)
        self._place = (lambda: (replicas.total, replicas.seeds[number]),)  # past Keras' tracking: it is no sublayer

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        if not training or self.rate == 0:
            return inputs
        total, seed = self._place[0]()
        context = tf.distribute.get_replica_context()
        number, count = context.replica_id_in_sync_group, context.num_replicas_in_sync
        first = tf.where(total < count, 0, total * number // count)
        shape = self.noise_shape or (None,) * len(inputs.shape)
        shape = [total] + [
            size if wanted is None else wanted for size, wanted in zip(inputs.shape[1:], shape[1:], strict=True)
        ]
        seed = tf.cast(tf.math.floormod(seed, tf.int32.max - 1), tf.int32)  # as Keras casts it
        drawn = tf.random.stateless_uniform(shape, seed, dtype=inputs.dtype)[first : first + tf.shape(inputs)[0]]
        return tf.where(drawn >= self.rate, inputs * tf.cast(1 / (1 - self.rate), inputs.dtype), 0)


def _right(labels: tf.Tensor, probabilities: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(tf.cast(keras.metrics.sparse_categorical_accuracy(labels, probabilities), tf.float32))
