# %% [markdown]
# # Exercises 01 · First predictions
#
# What has to be right for a network to see something, and how to read its answers: five exercises and two questions to
# [lesson 01](../01_first_predictions.ipynb), in about 30 minutes. Put your answer in place of the dots, run its cell,
# then the check below it. `exercises.hint("01.1")` helps where you are stuck.

# %%
from effnet_helpers import exercises, models, runtime
from effnet_helpers.data import sample_photos
from effnet_helpers.preprocessing import load_image, resize

import keras
import numpy as np
import pandas as pd

# %% [markdown]
# All exercises use the photographs of the lesson and its network, Lite0.

# %%
photos = sample_photos()
images = np.stack([load_image(path, 224) for path in photos.values()])
classifier = models.build_imagenet_classifier("Lite0")
weights, constants = classifier.get_layer("predictions").get_weights()
every_class = [best[0].class_name for best in models.decode_predictions(np.eye(1000), top=1)]


def answers(network, images):
    best = models.decode_predictions(network(images).numpy(), top=1)
    return [f"{guess[0].class_name} ({guess[0].probability:.2f})" for guess in best]


# %% [markdown]
# ## 01.1 · The same answer to everything
#
# *Find the bug.* Somebody puts the network into a model of their own, and it gives seven different photographs nearly
# the same answer, with next to no probability. Nothing crashes, and nothing warns.

# %%
buggy = keras.Sequential([keras.Input((224, 224, 3)), keras.layers.Rescaling(1 / 255), classifier])
pd.Series(answers(buggy, images), index=list(photos))

# %% [markdown]
# Build it as it should be. What goes into the check is the model; it shows it the cat.

# %%
repaired = ...
### BEGIN SOLUTION
repaired = keras.Sequential([keras.Input((224, 224, 3)), classifier])
print(answers(repaired, images))
### END SOLUTION

# %% tags=["wrong", "divided_by_255"]
repaired = buggy

# %% tags=["wrong", "minus_one_to_one"]
scaling = keras.layers.Rescaling(1 / 127.5, offset=-1)
repaired = keras.Sequential([keras.Input((224, 224, 3)), scaling, classifier])

# %%
exercises.check("01.1", repaired)

# %% [markdown]
# ## 01.2 · The whole picture in a square
#
# *Complete.* `load_image` cuts off the sides of a picture. `resize` has other modes: it can keep the whole picture.
# Make squares of 224 pixels that show *all* of each photograph, without empty borders, even if it is squeezed. What
# goes into the check is the function; it tries it on pictures of its own.


# %%
def squeezed(picture):
    """Returns a picture of any shape as an array of shape (224, 224, 3), nothing cut off, no borders added."""
    ### BEGIN SOLUTION
    return resize(picture, 224, "squash")
    ### END SOLUTION


# %% tags=["wrong", "cropped"]
def squeezed(picture):
    return resize(picture, 224, "crop")


# %% tags=["wrong", "padded"]
def squeezed(picture):
    return resize(picture, 224, "pad")


# %%
exercises.check("01.2", squeezed)

# %% [markdown]
# Which photographs change their answer? Guess before you run the next cell, which waits for your function.

# %%
whole = [squeezed(load_image(path)) for path in photos.values()]
if whole[0] is not ... and whole[0] is not None:
    both = {"cut": answers(classifier, images), "squeezed": answers(classifier, np.stack(whole))}
    print(pd.DataFrame(both, index=list(photos)))

# %% [markdown]
# ## 01.3 · Which answers share a picture?
#
# *Write.* Some of ImageNet's thousand classes mean nearly the same thing, and then a right answer shares its
# probability with another right one. The network's last matrix gives them away: each class has a column of 1,280
# weights, and if two columns point in nearly the same direction, the two classes like the same pictures. How alike two
# directions are is their cosine: the sum of products, divided by the lengths of both.
#
# Write a function that finds the pairs of columns that are most alike. Each pair comes once, with the smaller number
# first, and no column is paired with itself. What goes into the check is the function; it tries it on small matrices.


# %%
def most_alike(matrix, count):
    """Returns the pairs (i, j) of the columns with the largest cosines, the most alike first."""
    ### BEGIN SOLUTION
    columns = matrix / np.linalg.norm(matrix, axis=0)
    cosines = np.triu(columns.T @ columns, 1) - 2 * np.tri(columns.shape[1])
    best = np.argsort(-cosines, axis=None)[:count]
    return [tuple(int(i) for i in np.unravel_index(each, cosines.shape)) for each in best]
    ### END SOLUTION


# %% tags=["wrong", "not_divided"]
def most_alike(matrix, count):
    products = np.triu(matrix.T @ matrix, 1) - 1e6 * np.tri(matrix.shape[1])
    best = np.argsort(-products, axis=None)[:count]
    return [tuple(int(i) for i in np.unravel_index(each, products.shape)) for each in best]


# %% tags=["wrong", "with_itself"]
def most_alike(matrix, count):
    columns = matrix / np.linalg.norm(matrix, axis=0)
    best = np.argsort(-(columns.T @ columns), axis=None)[:count]
    return [tuple(sorted(divmod(int(each), columns.shape[1]))) for each in best]


# %% tags=["wrong", "each_twice"]
def most_alike(matrix, count):
    columns = matrix / np.linalg.norm(matrix, axis=0)
    cosines = columns.T @ columns - 2 * np.eye(columns.shape[1])
    best = np.argsort(-cosines, axis=None)[:count]
    return [tuple(sorted(divmod(int(each), columns.shape[1]))) for each in best]


# %%
exercises.check("01.3", most_alike)

# %% [markdown]
# Once it is right, this shows what ImageNet has two names for. Which of the pairs could you tell apart on a photograph?

# %%
pairs = most_alike(weights, 24)
if pairs is not ... and pairs is not None:
    print(", ".join(f"{every_class[i]} = {every_class[j]}" for i, j in pairs))

# %% [markdown]
# ## 01.4 · What has a network learned that ignores mirroring?
#
# *Judge a claim.* "The features of a photograph and of its mirror image have a cosine near 1. So the network has
# learned to ignore mirroring." Here are such cosines, of the network and of one with random weights, which has learned
# nothing:


# %%
def features(weights):
    backbone = models.build_backbone("Lite0", weights=weights, image_size=96)
    small = np.stack([load_image(path, 96) for path in photos.values()])
    return [backbone(each).numpy().mean(axis=(1, 2)) for each in (small, small[:, :, ::-1])]


def cosine(first, second):
    return (first * second).sum(axis=-1) / np.linalg.norm(first, axis=-1) / np.linalg.norm(second, axis=-1)


runtime.set_seed(0)
found = {"learned": features("imagenet"), "random": features(None)}
for name, (as_is, mirrored) in found.items():
    print(f"{name}: cosine of photograph and mirror image {cosine(as_is, mirrored).mean():.2f} on average")

# %% [markdown]
# A cosine near 1 says something only beside the cosine of photographs that have *nothing* to do with each other. Write
# a function that computes its mean over all pairs of different rows, apply it to both, and judge. What goes into the
# check: the function, and whether the reason given in the claim is good enough, `True` or `False`.


# %%
def between_different(rows):
    """Returns the mean cosine over all pairs of different rows."""
    ### BEGIN SOLUTION
    directions = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    cosines = directions @ directions.T
    return cosines[np.triu_indices(len(rows), 1)].mean()
    ### END SOLUTION


good_enough = ...  # True or False
### BEGIN SOLUTION
for name, (as_is, _) in found.items():
    print(f"{name}: cosine of different photographs {between_different(as_is):.2f} on average")
good_enough = False
### END SOLUTION


# %% tags=["wrong", "with_itself"]
def between_different(rows):
    directions = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return (directions @ directions.T).mean()


# %% tags=["wrong", "not_divided"]
def between_different(rows):
    return (rows @ rows.T)[np.triu_indices(len(rows), 1)].mean()


# %% tags=["wrong", "good_enough"]
good_enough = True

# %%
exercises.check("01.4", (between_different, good_enough))

# %% [markdown]
# ## 01.5 · A matrix for your own classes
#
# *Predict first.* Lite0 gives 1,280 features. On top of them comes a layer for the seven classes of yours, of the same
# kind as ImageNet's: a weight for each feature and class, and a constant for each class. How many numbers has it to
# learn? What goes into the check is a whole number.

# %%
to_learn = ...  # a whole number
### BEGIN SOLUTION
to_learn = 1280 * 7 + 7
### END SOLUTION

# %% tags=["wrong", "no_constants"]
to_learn = 1280 * 7

# %% tags=["wrong", "one_constant"]
to_learn = 1280 * 7 + 1

# %% tags=["wrong", "of_imagenet"]
to_learn = 1280 * 1000 + 1000

# %%
exercises.check("01.5", to_learn)

# %% [markdown] tags=["quiz"]
# **Quiz 01.1** A photograph of a laptop gets *notebook* with 0.45 and *laptop* with 0.44. What does that say?
#
# - [ ] The network is unsure what it sees — it is unsure of the name. What the two names stand for has 0.89 together.
# - [x] ImageNet has two names for it, and they share the probability — so read such answers together.
# - [ ] The second answer is a mistake — ImageNet's label may be either of the two; whoever made the list had both.

# %% [markdown] tags=["quiz"]
# **Quiz 01.2** Turned upside down, your photographs get other answers from a network than upright ones. What would make
# it give the same?
#
# - [ ] Another first convolution, which looks at the picture from both sides — a convolution treats up and down as it
#   treats left and right; what it makes of them is in its weights.
# - [x] Training on pictures that are turned upside down, with the same labels — a network learns to ignore what it is
#   shown to be of no account.
# - [ ] Pixels on another scale — that changes how bright the picture looks to the network, not which way is up.

# %% [markdown]
# Back to [lesson 01](../01_first_predictions.ipynb), or on to the [exercises 02](02_variant_tour.ipynb).
