# %% [markdown]
# # Exercises 00 · Primer
#
# Kernels, losses, steps and a network that learns by heart, with your own hands: six exercises and two questions to
# [lesson 00](../00_primer.ipynb), in about 30 minutes. Put your answer in place of the dots, run its cell, then the
# check below it. `exercises.hint("00.1")` helps where you are stuck.

# %%
from effnet_helpers import exercises, plotting, runtime
from effnet_helpers.data import sample_photos
from effnet_helpers.preprocessing import load_image

import keras
import numpy as np

photos = {name: load_image(path) for name, path in sample_photos().items()}


def squares(photo, side):
    rows, columns = photo.shape[0] // side, photo.shape[1] // side
    cut = photo[: rows * side, : columns * side].reshape(rows, side, columns, side, 3)
    return cut.swapaxes(1, 2).reshape(rows * columns, side, side, 3)


# %% [markdown]
# ## 00.1 · Which loss is an alarm?
#
# *Predict first.* Four people train four networks, each for another number of classes, and tell you their loss after
# the first epoch. Whose network does worse than guessing? Decide by hand, with what you remember of logarithms, before
# you let Python compute anything. What goes into the check is a list of the numbers of classes.

# %%
first_losses = {2: 0.66, 7: 2.4, 120: 4.5, 1000: 7.1}
alarms = ...  # a list of some of 2, 7, 120, 1000
### BEGIN SOLUTION
alarms = [classes for classes, loss in first_losses.items() if loss > np.log(classes)]
### END SOLUTION

# %% tags=["wrong", "largest"]
alarms = [120, 1000]

# %% tags=["wrong", "base_10"]
alarms = [classes for classes, loss in first_losses.items() if loss > np.log10(classes)]

# %% tags=["wrong", "base_2"]
alarms = [classes for classes, loss in first_losses.items() if loss > np.log2(classes)]

# %%
exercises.check("00.1", alarms)

# %% [markdown]
# ## 00.2 · Two kernels
#
# *Write.* The first kernel blurs: each pixel becomes the mean of the nine in its square, so that a surface that is all
# the same stays as it is. The second finds detail: a pixel minus the mean of its *eight neighbours*. Both are arrays of
# three rows and three columns. What goes into the check is the pair of them.

# %%
blur, detail = ..., ...  # two arrays of shape (3, 3)
### BEGIN SOLUTION
blur = np.full((3, 3), 1 / 9)
detail = np.full((3, 3), -1 / 8)
detail[1, 1] = 1
### END SOLUTION

# %% tags=["wrong", "not_a_mean"]
blur = np.ones((3, 3))

# %% tags=["wrong", "nine_neighbours"]
detail = np.full((3, 3), -1 / 9)
detail[1, 1] = 8 / 9

# %% tags=["wrong", "sum_of_neighbours"]
detail = np.full((3, 3), -1.0)
detail[1, 1] = 8

# %%
exercises.check("00.2", (blur, detail))

# %% [markdown]
# Once both are right, this shows what they make of the cup.

# %%
grey = photos["coffee"][20:340, 60:500].mean(axis=-1)
shifted = {(i, j): grey[i : i + 318, j : j + 438] for i in range(3) for j in range(3)}
if blur is not ... and detail is not ...:
    soft, fine = (sum(kernel[at] * picture for at, picture in shifted.items()) for kernel in (blur, detail))
    pictures = [np.stack([picture] * 3, axis=-1) for picture in (soft, 255 - 4 * np.abs(fine).clip(0, 63))]
    plotting.image_grid(
        pictures, ["blurred", "detail: the darker, the more"], columns=2, heading="Two kernels", widest=4
    )

# %% [markdown]
# ## 00.3 · One step, by hand
#
# *Write.* One step of gradient descent for logistic regression. `x` holds a row of features for each example, `y` the
# labels, 0 or 1, `w` a weight for each feature. The gradient is the error of each example, p − y, times its features,
# averaged over the examples. Return the new weights. What goes into the check is the function: it tries it on numbers
# of its own, and finds out which way is down without your formula.


# %%
def probability(w, x):
    return 1 / (1 + np.exp(-x @ w))


def step(w, x, y, rate):
    """Returns the weights after one step at a learning rate."""
    ### BEGIN SOLUTION
    return w - rate * x.T @ (probability(w, x) - y) / len(y)
    ### END SOLUTION


# %% tags=["wrong", "uphill"]
def step(w, x, y, rate):
    return w + rate * x.T @ (probability(w, x) - y) / len(y)


# %% tags=["wrong", "summed"]
def step(w, x, y, rate):
    return w - rate * x.T @ (probability(w, x) - y)


# %% tags=["wrong", "no_rate"]
def step(w, x, y, rate):
    return w - x.T @ (probability(w, x) - y) / len(y)


# %%
exercises.check("00.3", step)

# %% [markdown]
# ## 00.4 · The rate from which on nothing settles
#
# *Complete.* In the lesson the walk at rate 1 settled in the valley, and the walk at rate 20 was thrown back and forth
# for ever. Between the two there is a rate from which on it no longer settles. Find it to within 2, by trying:
# `descend` returns the weights after each of 300 steps. What goes into the check is the rate, and `descend`, with which
# it looks a little below and a little above.


# %%
def brightness_and_detail(images):
    grey = images.mean(axis=-1)
    return np.stack([grey.mean(axis=(1, 2)), np.abs(np.diff(grey, axis=2)).mean(axis=(1, 2))], axis=1)


flower, temple = (brightness_and_detail(squares(photos[name], side=32)) for name in ("flower", "temple"))
x = np.concatenate([flower, temple])
x = (x - x.mean(axis=0)) / x.std(axis=0)
y = np.repeat([0.0, 1.0], [len(flower), len(temple)])


# %%
def descend(rate, steps=300):
    path = [np.zeros(2)]
    for _ in range(steps):
        path.append(path[-1] - rate * x.T @ (1 / (1 + np.exp(-x @ path[-1])) - y) / len(y))
    return np.array(path)


limit = ...  # a number between 1 and 20
### BEGIN SOLUTION
rates = np.arange(1, 20.5, 0.5)
limit = next(rate for rate in rates if np.ptp(descend(rate)[-10:], axis=0).max() > 0.01)
### END SOLUTION

# %% tags=["wrong", "too_small"]
limit = 10

# %% tags=["wrong", "too_large"]
limit = 25

# %%
exercises.check("00.4", (limit, descend))

# %% [markdown]
# ## 00.5 · A loss that does not reach 0
#
# *Find the bug.* A network ends in softmax, so it gives probabilities. Its loss is computed as below, and something is
# wrong: answers that are right and entirely sure should cost nothing.

# %%
sure = np.eye(7, dtype="float32")  # seven images, each given its own class with probability 1
buggy = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
guesses = np.full((7, 7), 1 / 7, dtype="float32")
print(f"sure and right: {float(buggy(np.arange(7), sure)):.2f}; guessing: {float(buggy(np.arange(7), guesses)):.2f}")

# %% [markdown]
# Write the loss as it should be. What goes into the check is the loss: a function of labels and probabilities, or an
# object of Keras.

# %%
repaired = ...
### BEGIN SOLUTION
repaired = keras.losses.SparseCategoricalCrossentropy(from_logits=False)
### END SOLUTION

# %% tags=["wrong", "from_logits"]
repaired = buggy


# %% tags=["wrong", "moved_down"]
def repaired(labels, probabilities):
    return buggy(labels, probabilities) - buggy(np.arange(7), sure)


# %% tags=["wrong", "counts_errors"]
def repaired(labels, probabilities):
    return np.mean(np.argmax(probabilities, axis=-1) != labels)


# %%
exercises.check("00.5", repaired)

# %% [markdown]
# ## 00.6 · More images, or fewer units?
#
# *Judge a claim.* "Against learning by heart a smaller network helps as much as more images do: eight units instead of
# 256 are as good as 60 images of each class instead of 15." Here is the network of the lesson, to be trained for seven
# photographs with so many images of each and so many units; `learn` returns its accuracy on the training squares and on
# 60 others of each photograph.


# %%
def learn(images_per_class, units):
    runtime.set_seed(0)
    mixed = [np.random.default_rng(0).permutation(squares(photo, 16)) / 128 - 1 for photo in photos.values()]
    train = np.concatenate([each[:images_per_class] for each in mixed])
    val = np.concatenate([each[images_per_class : images_per_class + 60] for each in mixed])
    layers = [keras.layers.Flatten(), keras.layers.Dense(units, "relu"), keras.layers.Dense(7, "softmax")]
    network = keras.Sequential([keras.Input((16, 16, 3)), *layers])
    network.compile(keras.optimizers.Adam(0.002), loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    labels, val_labels = (np.repeat(range(7), number) for number in (images_per_class, 60))
    for _ in range(150):
        network.train_on_batch(train, labels)
    return network.test_on_batch(train, labels)[1], network.test_on_batch(val, val_labels)[1]


# %% [markdown]
# What goes into the check: whether the claim holds, `True` or `False`, and the two accuracies that your verdict rests
# on.

# %%
holds = ...  # True or False
with_more_images, with_fewer_units = ..., ...  # the accuracies that count, from 0 to 1
### BEGIN SOLUTION
with_more_images = learn(images_per_class=60, units=256)[1]
with_fewer_units = learn(images_per_class=15, units=8)[1]
holds = bool(with_fewer_units >= with_more_images)
print(f"60 images of each class: {with_more_images:.2f}; 8 units: {with_fewer_units:.2f}")
### END SOLUTION

# %% tags=["wrong", "on_training"]
with_more_images, with_fewer_units = 0.99, 0.68

# %% tags=["wrong", "said_it_holds"]
holds = True

# %%
exercises.check("00.6", (holds, with_more_images, with_fewer_units))

# %% [markdown] tags=["quiz"]
# **Quiz 00.1** A network gives three classes the scores 2, 1 and −1. Somebody adds 10 to each of them before softmax.
# What becomes of the probabilities?
#
# - [ ] The first comes nearer to 1 — that happens when scores are multiplied: then their differences grow.
# - [x] They stay as they are — softmax goes by the differences of scores, and these have not changed.
# - [ ] They come nearer to 1/3 each — that happens when scores are divided: then their differences shrink.

# %% [markdown] tags=["quiz"]
# **Quiz 00.2** A layer of batch normalization is frozen with `trainable = False`, and the model is trained. Which mean
# does the layer subtract?
#
# - [ ] That of the current batch, since `fit` runs in training mode — so it is with every other layer, but Keras keeps
#   a frozen batch normalization in inference mode even then.
# - [ ] None, since the layer is switched off — frozen is not switched off: it goes on normalizing.
# - [x] The one it has stored — frozen, it neither looks at the batch nor changes what it stored.

# %% [markdown]
# Back to [lesson 00](../00_primer.ipynb), or on to the [exercises 01](01_first_predictions.ipynb).
