# %% [markdown]
# # Exercises 06 · Export and serve
#
# Six exercises on what a file weighs, what goes into it, and what proves that it still says the same: about 30 minutes.
# They practise what [lesson 06](../06_export_and_serve.ipynb) teaches, with small arrays in the place of networks, so
# that every cell takes a moment.
#
# Put your answer in the place of the dots, run its cell, and then the cell with `check`. If you are stuck,
# `exercises.hint("06.1")` helps.

# %%
from effnet_helpers import exercises

import numpy as np
import pandas as pd

# %% [markdown]
# ## 06.1 · How large will the file be?
#
# *Predict first.* EfficientNetB4 has about 19 million parameters. How large is its file if each of them is stored in
# float32, in float16, and in int8? Count a megabyte as a million bytes, and leave out the little that a file says
# besides its weights.
#
# `megabytes` is a list of three numbers, in this order.

# %%
megabytes = ...
### BEGIN SOLUTION
megabytes = [19 * 4, 19 * 2, 19 * 1]  # 32 bits are four bytes
### END SOLUTION

# %% tags=["wrong", "bits"]
megabytes = [19 * 32, 19 * 16, 19 * 8]

# %% tags=["wrong", "other_order"]
megabytes = [19, 38, 76]

# %%
exercises.check("06.1", megabytes)

# %% [markdown]
# ## 06.2 · Scaling folded into the wrong axis
#
# *Find the bug.* A first convolution multiplies pixels (after the mean is subtracted) by a factor for each colour, and
# then by its kernel, whose axes are rows, columns, colours, filters. To get rid of the first multiplication, the factor
# is to go into the kernel. Somebody wrote `kernel * factor`. It runs without complaint, and gives something else:

# %%
random = np.random.default_rng(0)
factor = np.array([0.02, 0.015, 0.01])  # of red, green and blue
patch, kernel = random.uniform(-127, 127, (3, 3, 3)), random.normal(size=(3, 3, 3, 3))  # one place, three filters
wanted = np.tensordot(patch * factor, kernel, axes=3)  # the sum over rows, columns and colours, for each filter
received = np.tensordot(patch, kernel * factor, axes=3)
print(f"wanted:   {wanted.round(2)}\nreceived: {received.round(2)}")

# %% [markdown]
# Write `fold`, which returns the kernel that takes unscaled pixels and gives what was wanted. `check` takes the
# function itself, and tries it on kernels with three filters and with eight.


# %%
def fold(kernel, factor):
    """Returns a kernel of the same shape, with the factor of each colour multiplied in."""
    ### BEGIN SOLUTION
    return kernel * factor.reshape(-1, 1)  # now along the colours, the last axis but one
    ### END SOLUTION


# %% tags=["wrong", "along_the_filters"]
def fold(kernel, factor):
    return kernel * factor


# %% tags=["wrong", "divided"]
def fold(kernel, factor):
    return kernel / factor.reshape(-1, 1)


# %% tags=["wrong", "left_out"]
def fold(kernel, factor):
    return kernel


# %%
exercises.check("06.2", fold)

# %% [markdown]
# ## 06.3 · Do two models say the same?
#
# *Complete.* `expected` and `received` are probabilities (images, classes), from Keras and from a converted file. The
# file is kept if both hold:
#
# - no probability differs by more than `difference`, up or down, and
# - the share of images that get the same class, which is the one with the highest probability, is at least `agreement`.
#
# `agrees` returns True or False. `check` takes the function itself, and tries it on probabilities of its own.


# %%
def agrees(expected, received, difference, agreement):
    """Whether the answers of a converted file are close enough to Keras' answers."""
    ### BEGIN SOLUTION
    largest = np.abs(received - expected).max()
    same = np.mean(received.argmax(axis=1) == expected.argmax(axis=1))
    return bool(largest <= difference and same >= agreement)
    ### END SOLUTION


# %% tags=["wrong", "only_upwards"]
def agrees(expected, received, difference, agreement):
    same = np.mean(received.argmax(axis=1) == expected.argmax(axis=1))
    return (received - expected).max() <= difference and same >= agreement


# %% tags=["wrong", "on_average"]
def agrees(expected, received, difference, agreement):
    same = np.mean(received.argmax(axis=1) == expected.argmax(axis=1))
    return np.abs(received - expected).mean() <= difference and same >= agreement


# %% tags=["wrong", "decisions_left_out"]
def agrees(expected, received, difference, agreement):
    return np.abs(received - expected).max() <= difference


# %% tags=["wrong", "one_is_enough"]
def agrees(expected, received, difference, agreement):
    same = np.mean(received.argmax(axis=1) == expected.argmax(axis=1))
    return np.abs(received - expected).max() <= difference or same >= agreement


# %%
exercises.check("06.3", agrees)

# %% [markdown]
# ## 06.4 · What does parity prove?
#
# *Judge a claim.* A float32 file was compared with its Keras model on 60 validation images: a largest difference of
# 0.000002, and every decision is the same. Which of these follow from that?
#
# - **A** On these 60 images the file is right where the Keras model is right, and wrong where it is wrong.
# - **B** The file is right about nearly all of these 60 images.
# - **C** The file scales pixels as the Keras model does, or to the same effect.
# - **D** Whoever uses the file will bring pictures to the size that it was trained on in the same way.
# - **E** On pictures from another camera the file will be right as often as on these.
#
# `follows` is a list of letters, such as `["A", "B"]`.

# %%
follows = ...
### BEGIN SOLUTION
follows = ["A", "C"]
### END SOLUTION

# %% tags=["wrong", "taken_for_accuracy"]
follows = ["A", "B", "C"]

# %% tags=["wrong", "contract_left_out"]
follows = ["A", "C", "D"]

# %% tags=["wrong", "other_pictures"]
follows = ["A", "C", "E"]

# %% tags=["wrong", "scaling_left_out"]
follows = ["A"]

# %%
exercises.check("06.4", follows)

# %% [markdown]
# ## 06.5 · Eight bits by hand
#
# *Write.* Between `low` and `high`, which count as well, there are 256 values at equal distances. `rounded` gives each
# number the nearest of them. A number outside is first cut off at `low` or `high`. It takes and returns an array of
# floats: those with which an int8 network would go on.
#
# `check` takes the function itself, and tries it on numbers inside the range and outside.


# %%
def rounded(values, low, high):
    """Returns the nearest of 256 evenly spaced values from `low` to `high` for each number."""
    ### BEGIN SOLUTION
    step = (high - low) / 255
    return low + np.round((np.clip(values, low, high) - low) / step) * step
    ### END SOLUTION


# %% tags=["wrong", "not_cut_off"]
def rounded(values, low, high):
    step = (high - low) / 255
    return low + np.round((values - low) / step) * step


# %% tags=["wrong", "one_step_too_many"]
def rounded(values, low, high):
    step = (high - low) / 256
    return low + np.round((np.clip(values, low, high) - low) / step) * step


# %% tags=["wrong", "rounded_down"]
def rounded(values, low, high):
    step = (high - low) / 255
    return low + np.floor((np.clip(values, low, high) - low) / step) * step


# %% tags=["wrong", "whole_numbers"]
def rounded(values, low, high):
    step = (high - low) / 255
    return np.round((np.clip(values, low, high) - low) / step)


# %%
exercises.check("06.5", rounded)

# %% [markdown]
# Where do `low` and `high` come from? From representative images: here 100 of them, each with 1,000 activations, drawn
# at random for this exercise from a distribution with a few large values. What do three images do, three times over, in
# the place of all?

# %%
activations = random.gamma(1.0, 1.0, (100, 1000))
chosen = {f"three images, draw {draw}": random.choice(100, 3, replace=False) for draw in (1, 2, 3)}
for name, which in {**chosen, "all images": np.arange(100)}.items():
    low, high = activations[which].min(), activations[which].max()
    outside = np.mean((activations < low) | (activations > high))
    print(f"{name}: up to {high:.2f}, steps of {(high - low) / 255:.4f}; {outside:.3%} of all are cut off")

# %% [markdown]
# More images can widen a range and never narrow it. So three images may well give finer steps than a hundred, and a
# single such draw may come out ahead. What more images buy is that nothing is cut off that the network will meet.

# %% [markdown]
# ## 06.6 · The fastest file that fits
#
# *Write.* An app has room for so many megabytes, and may lose so many percentage points of accuracy against the Keras
# model. Of the files that fit, and whose answers agreed with Keras' within their bound, it takes the one that answers
# soonest. (The table is made up for this exercise.)

# %%
columns = ["megabytes", "accuracy", "milliseconds", "agreed"]
files = pd.DataFrame(
    [[17.0, 0.960, 40.0, True], [13.7, 0.960, 8.1, True], [6.9, 0.958, 8.0, True], [3.9, 0.953, 5.2, True]]
    + [[3.8, 0.941, 5.0, True], [3.7, 0.957, 4.9, False], [2.1, 0.871, 2.2, True]],
    index=["Keras", "float32", "float16", "int8", "int8, few images", "int8, dark images", "int8, half the side"],
    columns=columns,
)
files

# %% [markdown]
# `choose` gets such a table (accuracy is a share from 0 to 1, one row is called Keras), the most megabytes, and the
# most percentage points that may be lost. It returns the name of a row other than Keras, as a text. You may take for
# granted that one fits. `check` takes the function itself, and tries it on another table of the same kind.


# %%
def choose(files, most_megabytes, most_points):
    """Returns the name of the fastest file that agreed, fits, and loses at most so many points against Keras."""
    ### BEGIN SOLUTION
    lost = 100 * (files.loc["Keras", "accuracy"] - files["accuracy"])
    fits = (files["megabytes"] <= most_megabytes) & (lost <= most_points) & files["agreed"]
    return files[fits].drop(index="Keras", errors="ignore")["milliseconds"].idxmin()
    ### END SOLUTION


# %% tags=["wrong", "accuracy_left_out"]
def choose(files, most_megabytes, most_points):
    fits = (files["megabytes"] <= most_megabytes) & files["agreed"]
    return files[fits].drop(index="Keras", errors="ignore")["milliseconds"].idxmin()


# %% tags=["wrong", "size_left_out"]
def choose(files, most_megabytes, most_points):
    lost = 100 * (files.loc["Keras", "accuracy"] - files["accuracy"])
    return files[(lost <= most_points) & files["agreed"]].drop(index="Keras")["milliseconds"].idxmin()


# %% tags=["wrong", "parity_left_out"]
def choose(files, most_megabytes, most_points):
    lost = 100 * (files.loc["Keras", "accuracy"] - files["accuracy"])
    fits = (files["megabytes"] <= most_megabytes) & (lost <= most_points)
    return files[fits].drop(index="Keras", errors="ignore")["milliseconds"].idxmin()


# %% tags=["wrong", "points_as_shares"]
def choose(files, most_megabytes, most_points):
    lost = files.loc["Keras", "accuracy"] - files["accuracy"]
    fits = (files["megabytes"] <= most_megabytes) & (lost <= most_points) & files["agreed"]
    return files[fits].drop(index="Keras", errors="ignore")["milliseconds"].idxmin()


# %% tags=["wrong", "most_accurate"]
def choose(files, most_megabytes, most_points):
    fits = (files["megabytes"] <= most_megabytes) & files["agreed"]
    return files[fits].drop(index="Keras", errors="ignore")["accuracy"].idxmax()


# %%
exercises.check("06.6", choose)

# %% [markdown]
# And for this table, five megabytes and a single point?

# %%
choose(files, 5, 1)

# %% [markdown] tags=["quiz"]
# **Quiz 06.1** A converted file answers in 8 milliseconds, `model(x)` in 200. Is LiteRT 25 times as fast as TensorFlow?
#
# - [ ] Yes, both ran on the same computer and the same image. — They did, but `model(x)` spends most of its time in
#   Python, walking through the layers.
# - [x] That cannot be said before it is compared with a traced function. — `tf.function` leaves Python out, and what
#   is left to gain against it is what the runtime saves.
# - [ ] No, float16 was not tried. — That would be another file, and on a processor hardly a faster one.

# %% [markdown] tags=["quiz"]
# **Quiz 06.2** Why do the Lite variants lose so little in int8?
#
# - [ ] They have fewer parameters. — How many there are has nothing to do with how finely each is stored.
# - [ ] Their weights were rounded before they were published. — They come in float32, like all others here.
# - [x] ReLU6 lets nothing above 6 pass, so ranges are short and steps small. — Swish and squeeze-and-excitation, which
#   stretch ranges, were left out.

# %% [markdown]
# Back to [lesson 06](../06_export_and_serve.ipynb), or on to the [exercises of lesson 07](07_few_labels.ipynb).
