"""Notices pixels that were scaled twice, the commonest mistake with EfficientNet, outside the model's graph."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any

from effnet_helpers import preprocessing
from effnet_helpers.runtime import keras

import numpy as np


class ScaledPixelsWarning(UserWarning):
    """A model that takes pixels in [0, 255] was given pixels in [0, 1]."""


def guard_pixel_range(model: keras.Model) -> keras.Model:
    """Makes a model warn, once, when it is given pixels in [0, 1] instead of [0, 255].

    With pixels in [0, 1] nothing fails, the predictions are just poor. The check wraps `fit`, `evaluate` and `predict`
    of this one object and stays outside its layers, so that nothing of it is saved or exported. A batch is taken for
    scaled if its maximum is above 0 and at most 1. Generators pass unseen.

    Args:
        model: A model whose first input is images in [0, 255].

    Returns:
        The same model.
    """
    guard = PixelGuard(model.name)
    for name in ("fit", "evaluate", "predict"):
        method = getattr(model, name)
        if not isinstance(getattr(method, "guard", None), PixelGuard):
            object.__setattr__(model, name, guard.around(method))  # past Keras' tracking of attributes: it is no layer
    return model


class PixelGuard:
    """Looks at what a model of this name is given, and warns once."""

    def __init__(self, model_name: str) -> None:
        self.model_name, self.has_warned = model_name, False

    def around(self, method: Callable) -> Callable:
        """Wraps a method of the model that takes images as its first argument `x`."""

        @functools.wraps(method)
        def guarded(x: Any = None, *args: Any, **kwargs: Any) -> Any:
            # Within `fit` Keras calls `evaluate` on what `fit` was given, which has been looked at then.
            if not kwargs.get("_use_cached_eval_dataset"):
                x = self.watched(x)
            if kwargs.get("validation_data") is not None:
                kwargs["validation_data"] = self.watched(kwargs["validation_data"])
            return method(x, *args, **kwargs)

        guarded.guard = self
        return guarded

    def watched(self, x: Any) -> Any:
        """Looks at the images in `x`, and returns what the model should be given in its place."""
        if self.has_warned:
            return x
        if hasattr(x, "element_spec"):  # a dataset of tf.data: not a look at its first batch, which would use it up
            return preprocessing.watch_pixel_range(x, self.warn)
        first = x[0] if isinstance(x, keras.utils.PyDataset) else x
        images = (keras.tree.flatten(first) or [None])[0]
        if hasattr(images, "__array__") and np.size(images) and 0 < np.max(images) <= 1:
            self.warn()
        return x

    def warn(self) -> None:
        """Warns, the first time."""
        if not self.has_warned:
            self.has_warned = True
            warnings.warn(
                f"The pixels given to {self.model_name!r} lie in [0, 1]. It takes pixels in [0, 255] and scales them "
                "itself: do not divide by 255, and leave out any Rescaling before it.",
                ScaledPixelsWarning,
                stacklevel=4,
            )
