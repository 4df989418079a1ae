# %% [markdown]
# # Exercises A · The Keras example
#
# Five exercises on what the Keras example takes for granted, in nothing but Keras and TensorFlow: about 25 minutes.
# They practise what [the appendix](../A_keras_example.ipynb) teaches. Weights are random, and nothing is trained.
#
# Put your answer in the place of the dots, run its cell, and then the cell with `check`. If you are stuck,
# `exercises.hint("A.1")` helps.

# %%
from effnet_helpers import exercises, runtime

import keras
import tensorflow as tf

print(runtime.describe())

# %% [markdown]
# ## A.1 · How many regions?
#
# *Predict first.* EfficientNetB2 takes images of 260 × 260 pixels. Five times, a layer halves the side, and an odd or
# broken number is rounded up. How many regions, rows times columns, has its last feature map?
#
# `regions` is a whole number.

# %%
regions = ...
### BEGIN SOLUTION
regions = 9 * 9  # 260, 130, 65, 33, 17, 9
### END SOLUTION

# %% tags=["wrong", "rounded_down"]
regions = 8 * 8

# %% tags=["wrong", "one_side"]
regions = 9

# %% tags=["wrong", "not_rounded"]
regions = (260 / 32) ** 2

# %%
exercises.check("A.1", regions)

# %% [markdown]
# Now look. (B0 halves as often as B2, and is built sooner.)

# %%
backbone = keras.applications.EfficientNetB0(include_top=False, weights=None, input_shape=(260, 260, 3))
print(backbone.output_shape)

# %% [markdown]
# ## A.2 · What trains after each line?
#
# *Predict first.* A model within a model, small enough to count by hand. A dense layer has two weights (kernel and
# bias); batch normalization has two that can train (scale and shift) and two that never do (mean and variance).


# %%
def build_nested():
    """Returns a small model within a model, and the model around it."""
    layers = [
        keras.layers.Dense(8, name="lower"),
        keras.layers.BatchNormalization(),
        keras.layers.Dense(2, name="upper"),
    ]
    inner = keras.Sequential([keras.Input((4,)), *layers])
    outer = keras.Sequential([keras.Input((4,)), inner, keras.layers.Dense(3, name="head")])
    return inner, outer


# %% [markdown]
# What is `len(outer.trainable_weights)` after each of these four lines, run one after the other?
#
# ```python
# inner.trainable = False
# inner.get_layer("upper").trainable = True
# inner.trainable = True
# inner.layers[1].trainable = False  # its batch normalization
# ```
#
# `counts` is a list of four whole numbers. Write them down before you run anything.

# %%
counts = ...
### BEGIN SOLUTION
counts = [2, 4, 8, 6]
### END SOLUTION

# %% tags=["wrong", "stays_frozen_inside"]
counts = [2, 2, 8, 6]

# %% tags=["wrong", "head_left_out"]
counts = [0, 2, 6, 4]

# %% tags=["wrong", "statistics_counted"]
counts = [2, 4, 10, 6]

# %% tags=["wrong", "choice_remembered"]
counts = [2, 4, 4, 4]

# %%
exercises.check("A.2", counts)

# %% [markdown]
# Now run the four lines:

# %%
inner, outer = build_nested()
inner.trainable = False
print(len(outer.trainable_weights))
inner.get_layer("upper").trainable = True
print(len(outer.trainable_weights))
inner.trainable = True
print(len(outer.trainable_weights))
inner.layers[1].trainable = False
print(len(outer.trainable_weights))

# %% [markdown]
# ## A.3 · Open block 7 of a backbone that is one layer
#
# *Write.* The backbone was put into the model as one layer, and frozen as a whole to train the head. Now it is to be
# opened from a block on: every layer from the first one whose name begins with `block` up to the backbone's end trains,
# except batch normalization. What lies below stays frozen, and the head goes on training.
#
# `open_from` gets the outer model and the beginning of a name, such as "block7a", and returns the outer model. The
# backbone is the one layer of it that is itself a `keras.Model`. `check` takes the function itself, and tries it on a
# small model of this kind.


# %%
def open_from(outer, block):
    """Opens the backbone within a model from a block on, batch normalization frozen; returns the outer model."""
    ### BEGIN SOLUTION
    base = next(layer for layer in outer.layers if isinstance(layer, keras.Model))
    base.trainable = True
    reached = False
    for layer in base.layers:  # after the line above, which sets all of them
        reached = reached or layer.name.startswith(block)
        layer.trainable = reached and not isinstance(layer, keras.layers.BatchNormalization)
    return outer
    ### END SOLUTION


# %% tags=["wrong", "outer_layers"]
def open_from(outer, block):
    for layer in outer.layers[-20:]:
        if layer.name.startswith(block) and not isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = True
    return outer


# %% tags=["wrong", "whole_backbone"]
def open_from(outer, block):
    base = next(layer for layer in outer.layers if isinstance(layer, keras.Model))
    base.trainable = True
    for layer in base.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = False
    return outer


# %% tags=["wrong", "batch_norm_live"]
def open_from(outer, block):
    base = next(layer for layer in outer.layers if isinstance(layer, keras.Model))
    base.trainable = True
    reached = False
    for layer in base.layers:
        reached = reached or layer.name.startswith(block)
        layer.trainable = reached
    return outer


# %% tags=["wrong", "opened_last"]
def open_from(outer, block):
    base = next(layer for layer in outer.layers if isinstance(layer, keras.Model))
    reached = False
    for layer in base.layers:
        reached = reached or layer.name.startswith(block)
        layer.trainable = reached and not isinstance(layer, keras.layers.BatchNormalization)
    base.trainable = True
    return outer


# %%
exercises.check("A.3", open_from)

# %% [markdown]
# And on the real one:

# %%
nested = keras.Sequential([backbone, keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(120, name="pred")])
backbone.trainable = False
open_from(nested, "block7a")
print(sorted({weight.path.split("/")[-2] for weight in nested.trainable_weights}))

# %% [markdown]
# ## A.4 · Batches that lose images
#
# *Find the bug.* The page of 2023 makes all its batches like this. It never shuffles, and it loses test images:


# %%
def batches(images, batch_size, training):
    return images.batch(batch_size, drop_remainder=True).prefetch(tf.data.AUTOTUNE)


print([batch.numpy().tolist() for batch in batches(tf.data.Dataset.range(10), 4, training=False)])

# %% [markdown]
# Repair it. `images` is any `tf.data.Dataset`, here one of numbers in the place of images.
#
# - With `training=False` each image comes exactly once, in the order of the dataset.
# - With `training=True` the images come in another order in every pass, and each batch mixes images from the whole
#   set (which has fewer than 1,000). An incomplete last batch may be dropped here.
#
# `check` takes the function itself, and tries it on numbers.


# %%
def batches(images, batch_size, training):
    """Returns batches of a dataset: shuffled anew in every pass of training, complete and in order otherwise."""
    ### BEGIN SOLUTION
    if training:
        images = images.shuffle(1000)
    return images.batch(batch_size, drop_remainder=training).prefetch(tf.data.AUTOTUNE)
    ### END SOLUTION


# %% tags=["wrong", "images_lost"]
def batches(images, batch_size, training):
    images = images.shuffle(1000) if training else images
    return images.batch(batch_size, drop_remainder=True)


# %% tags=["wrong", "never_shuffled"]
def batches(images, batch_size, training):
    return images.batch(batch_size, drop_remainder=training)


# %% tags=["wrong", "always_shuffled"]
def batches(images, batch_size, training):
    return images.shuffle(1000).batch(batch_size, drop_remainder=training)


# %% tags=["wrong", "batches_shuffled"]
def batches(images, batch_size, training):
    images = images.batch(batch_size, drop_remainder=training)
    return images.shuffle(1000) if training else images


# %% tags=["wrong", "same_in_every_pass"]
def batches(images, batch_size, training):
    images = images.shuffle(1000, reshuffle_each_iteration=False) if training else images
    return images.batch(batch_size, drop_remainder=training)


# %%
exercises.check("A.4", batches)

# %% [markdown]
# ## A.5 · The same as a `PyDataset`
#
# *Complete.* The page of 2026 hands `fit` a `keras.utils.PyDataset`: an object that says how many batches it has
# (`__len__`) and gives the one with a certain number (`__getitem__`). Complete the two functions that do the work.
# Batches come in the order of the pictures and are numbered from 0; the last one may be smaller than the others, but no
# picture is left out.
#
# - `count` returns how many batches there are, a whole number.
# - `batch` returns the batch with a number as a pair, `(pictures, labels)`.
#
# `check` takes both functions, and tries them on a few arrays.


# %%
def count(pictures, batch_size):
    """Returns how many batches of at most `batch_size` the pictures make."""
    ### BEGIN SOLUTION
    return -(-len(pictures) // batch_size)  # rounded up
    ### END SOLUTION


def batch(pictures, labels, batch_size, number):
    """Returns the pictures and the labels of batch `number`, counted from 0."""
    ### BEGIN SOLUTION
    chosen = slice(number * batch_size, (number + 1) * batch_size)
    return pictures[chosen], labels[chosen]
    ### END SOLUTION


# %% tags=["wrong", "last_left_out"]
def count(pictures, batch_size):
    return len(pictures) // batch_size


# %% tags=["wrong", "one_too_many"]
def count(pictures, batch_size):
    return len(pictures) // batch_size + 1


# %% tags=["wrong", "counts_pictures"]
def count(pictures, batch_size):
    return len(pictures)


# %% tags=["wrong", "single_pictures"]
def batch(pictures, labels, batch_size, number):
    return pictures[number * batch_size], labels[number * batch_size]


# %% tags=["wrong", "labels_left_out"]
def batch(pictures, labels, batch_size, number):
    return pictures[number * batch_size : (number + 1) * batch_size]


# %%
exercises.check("A.5", (count, batch))

# %% [markdown]
# With them, the class is written quickly. (`fit` shuffles the order of its batches, but never the images in them. Who
# wants that, too, changes the order of the pictures after each pass, in a method `on_epoch_end`.)


# %%
class Batches(keras.utils.PyDataset):
    """Pictures and labels, arrays of the same length, in batches."""

    def __init__(self, pictures, labels, batch_size):
        super().__init__()
        self.pictures, self.labels, self.batch_size = pictures, labels, batch_size

    def __len__(self):
        return count(self.pictures, self.batch_size)

    def __getitem__(self, number):
        return batch(self.pictures, self.labels, self.batch_size, number)


# %% [markdown] tags=["quiz"]
# **Quiz A.1** All 20,580 photographs of Stanford Dogs, decoded at about 500 × 375 pixels in RGB, one byte a number: how
# much memory do they take?
#
# - [ ] 4 GB — That leaves out that each pixel has three numbers.
# - [x] 12 GB — 20,580 × 500 × 375 × 3 bytes are 11.6 GB.
# - [ ] 46 GB — So much would they take in float32, four bytes a number.

# %% [markdown] tags=["quiz"]
# **Quiz A.2** The page validates on the test images after every epoch. What is wrong with that?
#
# - [ ] The network learns from the test images. — It does not: validation changes no weight.
# - [ ] Validation takes too long with so many images. — It takes time, and that is all.
# - [x] Whatever is then chosen by these curves has been chosen by the test images. — Their accuracy is too good from
#   then on, and there are no other images to measure by.

# %% [markdown]
# Back to [the appendix](../A_keras_example.ipynb), or to the [exercises of lesson 05](05_unfreezing.ipynb).
