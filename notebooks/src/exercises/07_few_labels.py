# %% [markdown]
# # Exercises 07 · Few labels
#
# Five exercises on small flaws, scores by region, and on what a hundred labels allow you to say: about 25 minutes. They
# practise what [lesson 07](../07_few_labels.ipynb) teaches, with small arrays and measured tables, so that every cell
# takes a moment.
#
# Put your answer in the place of the dots, run its cell, and then the cell with `check`. If you are stuck,
# `exercises.hint("07.1")` helps.

# %%
from effnet_helpers import evaluation, exercises

import numpy as np
from sklearn.decomposition import PCA

# %% [markdown]
# ## 07.1 · How much of a flaw is left in an average?
#
# *Predict first.* A feature is computed for 16 × 16 regions of an image. It varies from region to region with a
# standard deviation of 1. A flaw raises it by 8, which is a lot, in a single region.
#
# By how much does it raise the average over the image? `raised` is a number.

# %%
raised = ...
### BEGIN SOLUTION
raised = 8 / (16 * 16)
### END SOLUTION

# %% tags=["wrong", "not_diluted"]
raised = 8

# %% tags=["wrong", "sixteen_regions"]
raised = 8 / 16

# %%
exercises.check("07.1", raised)

# %% [markdown]
# Now look. Even without a flaw, the average of 256 such numbers scatters from image to image: by how much, and what of
# the maximum?

# %%
random = np.random.default_rng(0)
plain = random.normal(size=(1000, 256))  # a thousand images without a flaw
flawed = plain.copy()
flawed[:, 0] += 8
for name, pool in {"average": np.mean, "maximum": np.max}.items():
    without, with_it = pool(plain, axis=1), pool(flawed, axis=1)
    print(f"{name}: {without.mean():.3f}, scattering by {without.std():.3f}; with the flaw {with_it.mean():.3f}")

# %% [markdown]
# ## 07.2 · Between mean and maximum
#
# *Write.* The head of the lesson pools the scores of all regions, class by class, by a log-sum-exp:
#
# > log( mean over regions of exp(sharpness × score) ) / sharpness
#
# `pooled` takes scores (regions, classes) and a sharpness, and returns one number for each class, an array (classes,).
# `check` takes the function itself, and tries it with sharpnesses small and large.


# %%
def pooled(scores, sharpness):
    """Returns the log-sum-exp over regions for each class."""
    ### BEGIN SOLUTION
    return np.log(np.mean(np.exp(sharpness * scores), axis=0)) / sharpness
    ### END SOLUTION


# %% tags=["wrong", "sum_for_mean"]
def pooled(scores, sharpness):
    return np.log(np.sum(np.exp(sharpness * scores), axis=0)) / sharpness


# %% tags=["wrong", "not_divided"]
def pooled(scores, sharpness):
    return np.log(np.mean(np.exp(sharpness * scores), axis=0))


# %% tags=["wrong", "mean_of_logarithms"]
def pooled(scores, sharpness):
    return np.mean(np.log(np.exp(sharpness * scores)), axis=0) / sharpness


# %% tags=["wrong", "over_classes"]
def pooled(scores, sharpness):
    return np.log(np.mean(np.exp(sharpness * scores), axis=1)) / sharpness


# %%
exercises.check("07.2", pooled)

# %% [markdown]
# What does sharpness do? Your function on four regions with a score each, of which one stands out:

# %%
four = np.array([[0.0], [0.0], [0.0], [4.0]])
for sharpness in (0.01, 0.5, 2.0, 20.0):
    print(f"sharpness {sharpness}: {pooled(four, sharpness)}")

# %% [markdown]
# ## 07.3 · How many labels are enough?
#
# *Write.* Somebody will draw labels *once*, and wants an accuracy of at least `target` from that draw. What is measured
# are a few draws for each number of labels. Call a number of labels enough if *every* draw with that many, and every
# draw with more, reached the target.
#
# `enough` gets a table with the columns `labels`, `draw` and `accuracy`, and the target. It returns the smallest number
# of labels in the table that is enough, or 0 if none is. `check` takes the function itself, and tries it on tables of
# its own.


# %%
def enough(table, target):
    """Returns the smallest number of labels with which, and with more, every draw reached the target; 0 if none."""
    ### BEGIN SOLUTION
    failed = table[table["accuracy"] < target]["labels"].max()  # NaN if no draw failed
    left = table[~(table["labels"] <= failed)]["labels"]
    return int(left.min()) if len(left) else 0
    ### END SOLUTION


# %% tags=["wrong", "on_average"]
def enough(table, target):
    means = table.groupby("labels")["accuracy"].mean()
    return means[means >= target].index.min()


# %% tags=["wrong", "best_draw"]
def enough(table, target):
    return table[table["accuracy"] >= target]["labels"].min()


# %% tags=["wrong", "more_left_out"]
def enough(table, target):
    lowest = table.groupby("labels")["accuracy"].min()
    return lowest[lowest >= target].index.min()


# %%
exercises.check("07.3", enough)

# %% [markdown]
# And the measured draws of the lesson, at 95 %?

# %%
measured = evaluation.measured("few_labels").query("scored_on == 'test'")
measured = measured.rename(columns={"nominal_accuracy": "accuracy"})
print(measured.pivot_table(index=["method", "labels"], columns="draw", values="accuracy").round(3).to_string())
for method, rows in measured.groupby("method"):
    print(f"{method}: {enough(rows, 0.95)} (0: none of these)")

# %% [markdown]
# Three draws of 24 labels: two reach the target easily, one misses it by far. Whoever had only one of the two would be
# content, and wrong.

# %% [markdown]
# ## 07.4 · Whitening by hand
#
# *Complete.* `whiten` takes features (regions, channels). Its first lines find the directions in which they vary, one
# in each column of `directions`, and the variance along each. Complete it: it returns an array of the same shape whose
# columns have mean 0 and variance 1, and no two of which are correlated. (Leave the small floor of the lesson out.)
#
# `check` takes the function itself, and tries it on correlated features.


# %%
def whiten(features):
    """Returns the features along their principal components, each divided by its standard deviation."""
    centred = features - features.mean(axis=0)
    variances, directions = np.linalg.eigh(np.cov(centred.T))
    ### BEGIN SOLUTION
    return centred @ directions / np.sqrt(variances)
    ### END SOLUTION


# %% tags=["wrong", "only_scaled"]
def whiten(features):
    centred = features - features.mean(axis=0)
    return centred / centred.std(axis=0)


# %% tags=["wrong", "only_turned"]
def whiten(features):
    centred = features - features.mean(axis=0)
    _, directions = np.linalg.eigh(np.cov(centred.T))
    return centred @ directions


# %% tags=["wrong", "divided_by_the_variance"]
def whiten(features):
    centred = features - features.mean(axis=0)
    variances, directions = np.linalg.eigh(np.cov(centred.T))
    return centred @ directions / variances


# %% tags=["wrong", "rows_for_columns"]
def whiten(features):
    centred = features - features.mean(axis=0)
    variances, directions = np.linalg.eigh(np.cov(centred.T))
    return centred @ directions.T / np.sqrt(variances)


# %%
exercises.check("07.4", whiten)

# %% [markdown]
# What is it good for? A thousand regions (made up) whose two features rise and fall together, as brightness makes them,
# and one more in which they go apart a little. How many regions lie further from the middle than that one? (`PCA` of
# scikit-learn can whiten, too.)

# %%
brightness = random.normal(size=1000)
regions = np.stack([brightness, brightness], axis=1) + random.normal(0, 0.05, (1000, 2))
with_flaw = np.concatenate([regions, [[0.3, -0.3]]])
whitened = PCA(whiten=True).fit_transform(with_flaw)
for name, features in {"as they are": with_flaw - with_flaw.mean(axis=0), "whitened": whitened}.items():
    far = np.square(features).sum(axis=-1)
    print(f"{name}: {np.sum(far > far[-1])} of 1,000")

# %% [markdown]
# ## 07.5 · Which accuracies can you believe?
#
# *Judge a claim.* Four people report the accuracy of their head on the test images of a draw:
#
# - **A** settled the number of starts on development draws, scored on validation images, and then scored other draws
#   once.
# - **B** scored ten draws, and reports the best of them: "up to 98 %".
# - **C** tried three widths of the head, took the one that was best on the test images, trained it again with another
#   seed, and reports what that gave on the same test images.
# - **D** trained from five starts, kept the one with the lowest *training* loss, and scored only that one.
#
# Whose figure was not chosen by the images that it was measured on? `honest` is a list of letters, such as `["B"]`.

# %%
honest = ...
### BEGIN SOLUTION
honest = ["A", "D"]
### END SOLUTION

# %% tags=["wrong", "best_of_ten"]
honest = ["A", "B", "D"]

# %% tags=["wrong", "another_seed"]
honest = ["A", "C", "D"]

# %% tags=["wrong", "training_loss_left_out"]
honest = ["A"]

# %%
exercises.check("07.5", honest)

# %% [markdown] tags=["quiz"]
# **Quiz 07.1** Earlier features, averaged over the image, did no better than the last layer's. What was missing?
#
# - [ ] More of them: two blocks together would have done it. — More features do not help where each of them is averaged
#   over everything that is not the flaw.
# - [x] Something that does not average over all regions before it decides. — Scored first and pooled then, the same
#   features were enough.
# - [ ] Fine-tuning: frozen features cannot tell the classes apart. — The same frozen features did, region by region.

# %% [markdown] tags=["quiz"]
# **Quiz 07.2** Why does the head of this lesson need no validation images?
#
# - [ ] Because its test images take their place. — Then they would be no test images any more.
# - [ ] Because a head with so few weights cannot overfit. — It can: it has far more weights than there are labels.
# - [x] Because its length is fixed, and the start is chosen by the training loss. — Nothing is left that would have to
#   be chosen by images of their own, once the recipe is settled elsewhere.

# %% [markdown]
# Back to [lesson 07](../07_few_labels.ipynb), or on to the [exercises of lesson 08](08_when_to_trust_it.ipynb).
