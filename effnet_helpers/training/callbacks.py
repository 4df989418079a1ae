"""What watches over a training run: it keeps the best weights, and stops when the loss is no longer a number."""

from collections.abc import Mapping, Sequence

from effnet_helpers.runtime import keras

import numpy as np


class TrainingDivergedError(ValueError):
    """The loss is no longer a finite number."""


class KeepBest(keras.callbacks.Callback):
    """Restores the weights of the best epoch, and stops early or on a non-finite loss.

    From random weights the best epoch is the one with the lowest validation loss. With `start`, the weights it starts
    with count as epoch 0, and the best is the one with the highest validation accuracy, of equal ones that with the
    lowest loss: what comes out is never worse than what went in. (By the loss alone a network that got surer of its
    mistakes loses to the head, though it makes fewer. And Keras' `EarlyStopping` restores its best epoch whatever its
    `baseline`.)

    Args:
        whole: The model whose weights to keep; the one in training may be its upper part.
        start: `(loss, accuracy)` on validation of the weights it starts with, as `evaluate` gives them, or None if
            these are random and count for nothing.
        patience: Stop after so many epochs without a better one; None never stops.
    """

    def __init__(self, whole: keras.Model, start: Sequence[float] | None = None, patience: int | None = None) -> None:
        super().__init__()
        self.whole, self.patience = whole, patience
        self.best_epoch, self.history = 0, {}
        self.by_accuracy = start is not None
        self.best_loss, self.best_accuracy = (np.inf, 0.0) if start is None else start
        self.best_weights = whole.get_weights()

    def on_train_batch_end(self, batch: int, logs: Mapping[str, float] | None = None) -> None:
        """Stops where the loss is not finite, with the best weights so far back in place."""
        self._check_finite(logs["loss"], f"The loss became {logs['loss']} at step {batch + 1} of an epoch")

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        """Notes the weights if this epoch is the best so far."""
        self._check_finite(logs["val_loss"], f"The validation loss became {logs['val_loss']} in epoch {epoch + 1}")
        accuracy = logs.get("val_accuracy", 0.0)
        score, best = (accuracy, -logs["val_loss"]), (self.best_accuracy, -self.best_loss)
        if score > best if self.by_accuracy else score[1] > best[1]:
            self.best_epoch, self.best_loss, self.best_accuracy = epoch + 1, logs["val_loss"], accuracy
            self.best_weights = self.whole.get_weights()
        elif self.patience is not None and epoch + 1 - self.best_epoch >= self.patience:
            self.model.stop_training = True
        for name, value in logs.items():
            self.history.setdefault(name, []).append(float(value))

    def on_train_end(self, logs: Mapping[str, float] | None = None) -> None:
        """Puts the best weights back."""
        self.whole.set_weights(self.best_weights)

    def _check_finite(self, loss: float, what_happened: str) -> None:
        if np.isfinite(loss):
            return
        self.whole.set_weights(self.best_weights)
        rate = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
        before = f"of its best epoch, {self.best_epoch}" if self.best_epoch else "that it started with"
        raise TrainingDivergedError(
            f"{what_happened}, at a learning rate of {rate:.2g}. Try a tenth of `learning_rate`, or a longer warm-up. "
            f"The model has the weights {before}."
        )
