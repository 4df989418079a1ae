# %% [markdown]
# # Exercises 08 · When to trust it
#
# Six exercises on what a probability is worth, and on promises that can be kept: about 30 minutes. They practise what
# [lesson 08](../08_when_to_trust_it.ipynb) teaches, on made-up probabilities in the place of a model's, so that every
# cell takes a moment.
#
# Put your answer in the place of the dots, run its cell, and then the cell with `check`. If you are stuck,
# `exercises.hint("08.1")` helps.

# %%
from effnet_helpers import exercises

import numpy as np
import pandas as pd

# %% [markdown]
# ## 08.1 · Expected calibration error by hand
#
# *Predict first.* A hundred answers in three bins: how many there are, how sure the model was on average, and the share
# of them that was right.

# %%
bins = pd.DataFrame({"images": [20, 30, 50], "sure": [0.50, 0.75, 0.95], "right": [0.80, 0.60, 0.80]})
print(bins.to_string(index=False))

# %% [markdown]
# What is the expected calibration error? `error` is a number between 0 and 1, not in per cent.

# %%
error = ...
### BEGIN SOLUTION
error = 0.20 * 0.30 + 0.30 * 0.15 + 0.50 * 0.15
### END SOLUTION

# %% tags=["wrong", "bins_alike"]
error = (0.30 + 0.15 + 0.15) / 3

# %% tags=["wrong", "with_signs"]
error = -0.20 * 0.30 + 0.30 * 0.15 + 0.50 * 0.15

# %% tags=["wrong", "per_cent"]
error = 18

# %%
exercises.check("08.1", error)

# %% [markdown]
# ## 08.2 · One number that makes a model less sure
#
# *Write.* `cooled` takes probabilities (images, classes), all of them above 0, and a temperature. It divides their
# logarithms by the temperature and takes the softmax of each row: exponentials, divided by their sum. It returns an
# array of the same shape. `check` takes the function itself, and tries it at several temperatures.


# %%
def cooled(probabilities, temperature):
    """Returns the softmax of the logarithms over the temperature, row by row."""
    ### BEGIN SOLUTION
    raised = np.exp(np.log(probabilities) / temperature)
    return raised / raised.sum(axis=1, keepdims=True)
    ### END SOLUTION


# %% tags=["wrong", "multiplied"]
def cooled(probabilities, temperature):
    raised = np.exp(np.log(probabilities) * temperature)
    return raised / raised.sum(axis=1, keepdims=True)


# %% tags=["wrong", "not_added_up"]
def cooled(probabilities, temperature):
    return np.exp(np.log(probabilities) / temperature)


# %% tags=["wrong", "no_logarithm"]
def cooled(probabilities, temperature):
    raised = np.exp(probabilities / temperature)
    return raised / raised.sum(axis=1, keepdims=True)


# %% tags=["wrong", "nothing_changed"]
def cooled(probabilities, temperature):
    divided = probabilities / temperature
    return divided / divided.sum(axis=1, keepdims=True)


# %%
exercises.check("08.2", cooled)

# %% [markdown]
# What does it do to one answer?

# %%
for temperature in (0.7, 1.0, 2.0, 100.0):
    print(f"temperature {temperature}: {cooled(np.array([[0.90, 0.08, 0.02]]), temperature)}")

# %% [markdown]
# ## 08.3 · A recall that is too good
#
# *Find the bug.* An alarm is raised where a model's suspicion is high enough. From where on? As in the lesson, by a
# sorted list of defective pieces:


# %%
def alarm_from(suspicion_of_defective, recall):
    """Returns the suspicion from which on an alarm finds that share of pieces like these."""
    rank = int(np.floor((len(suspicion_of_defective) + 1) * (1 - recall) + 1e-9))
    return np.sort(suspicion_of_defective)[max(rank, 1) - 1]


def judged(val, test):
    suspicion, is_defective = test
    threshold = alarm_from(suspicion[is_defective], 0.95)
    return threshold, np.mean(suspicion[is_defective] >= threshold)


# %% [markdown]
# `val` and `test` are pairs of arrays: the suspicion of each piece, and whether it is defective (True or False). And
# `judged` returns a threshold and the recall that is reported for it: the share of the defective pieces that raise an
# alarm. That recall is never below 95 %, whatever the model. Something chooses and measures on the same pieces.
#
# Repair `judged`: it still returns the pair `(threshold, recall)`, and takes `alarm_from` with 0.95. `check` takes the
# function itself, and tries it on pieces of its own.


# %%
def judged(val, test):
    """Returns a threshold for a recall of 95 %, and the recall that was measured with it."""
    ### BEGIN SOLUTION
    suspicion, is_defective = val
    threshold = alarm_from(suspicion[is_defective], 0.95)
    suspicion, is_defective = test
    return threshold, np.mean(suspicion[is_defective] >= threshold)
    ### END SOLUTION


# %% tags=["wrong", "chosen_on_test"]
def judged(val, test):
    suspicion, is_defective = test
    threshold = alarm_from(suspicion[is_defective], 0.95)
    return threshold, np.mean(suspicion[is_defective] >= threshold)


# %% tags=["wrong", "measured_on_validation"]
def judged(val, test):
    suspicion, is_defective = val
    threshold = alarm_from(suspicion[is_defective], 0.95)
    return threshold, np.mean(suspicion[is_defective] >= threshold)


# %% tags=["wrong", "chosen_on_both"]
def judged(val, test):
    both = np.concatenate([val[0][val[1]], test[0][test[1]]])
    threshold = alarm_from(both, 0.95)
    return threshold, np.mean(test[0][test[1]] >= threshold)


# %% tags=["wrong", "good_ones_too"]
def judged(val, test):
    threshold = alarm_from(val[0], 0.95)
    suspicion, is_defective = test
    return threshold, np.mean(suspicion[is_defective] >= threshold)


# %%
exercises.check("08.3", judged)

# %% [markdown]
# How large is the difference? A thousand times over, forty defective validation pieces and forty defective test pieces,
# drawn at random from one and the same distribution:

# %%
random = np.random.default_rng(0)
recalls = {"chosen on test": [], "chosen on validation": []}
for _ in range(1000):
    val, test = random.beta(4, 2, (2, 40))
    recalls["chosen on test"].append(np.mean(test >= alarm_from(test, 0.95)))
    recalls["chosen on validation"].append(np.mean(test >= alarm_from(val, 0.95)))
for name, found in recalls.items():
    print(f"{name}: {np.mean(found):.1%} on average, {np.quantile(found, 0.05):.1%} or less in a draw of twenty")

# %% [markdown]
# ## 08.4 · What a set holds
#
# *Predict first.* Six images, three classes, and the right class of each (0, 1 or 2). A class enters an image's set if
# its probability is 0.30 *or more*.

# %%
probabilities = np.array([
    [0.70, 0.20, 0.10],
    [0.45, 0.40, 0.15],
    [0.34, 0.33, 0.33],
    [0.90, 0.05, 0.05],
    [0.25, 0.45, 0.30],
    [0.05, 0.15, 0.80],
])  # fmt: skip
labels = np.array([0, 1, 2, 1, 2, 2])

# %% [markdown]
# Without a computer: what is the *coverage*, the share of images whose set holds the right class, and how many classes
# has a set on average? `held` is a list of these two numbers, such as `[0.5, 1.5]`; two digits after the point will do.

# %%
held = ...
### BEGIN SOLUTION
sets = probabilities >= 0.30
held = [sets[np.arange(6), labels].mean(), sets.sum(axis=1).mean()]
### END SOLUTION

# %% tags=["wrong", "accuracy_for_coverage"]
held = [2 / 6, 10 / 6]

# %% tags=["wrong", "edge_left_out"]
held = [4 / 6, 9 / 6]

# %% tags=["wrong", "counts"]
held = [5, 10]

# %%
exercises.check("08.4", held)

# %% [markdown]
# ## 08.5 · The threshold that keeps the promise
#
# *Write.* Given are the probabilities that a model gave to the *right* class of n images it was not trained on. Sort
# them. The threshold is the k-th *smallest*, counted from 1, with
#
# > k = (n + 1) · (1 − coverage), rounded down
#
# and 0 where k is 0: with so few images, the promise can only be kept by letting every class in. `threshold_for`
# returns that number. `check` takes the function itself, and tries it with several n.


# %%
def threshold_for(of_the_right_class, coverage):
    """Returns the probability from which on a class enters the set."""
    ### BEGIN SOLUTION
    rank = int((len(of_the_right_class) + 1) * (1 - coverage))
    return np.sort(of_the_right_class)[rank - 1] if rank else 0.0
    ### END SOLUTION


# %% tags=["wrong", "without_the_new_one"]
def threshold_for(of_the_right_class, coverage):
    rank = int(len(of_the_right_class) * (1 - coverage))
    return np.sort(of_the_right_class)[rank - 1] if rank else 0.0


# %% tags=["wrong", "counted_from_0"]
def threshold_for(of_the_right_class, coverage):
    rank = int((len(of_the_right_class) + 1) * (1 - coverage))
    return np.sort(of_the_right_class)[rank] if rank else 0.0


# %% tags=["wrong", "largest_first"]
def threshold_for(of_the_right_class, coverage):
    rank = int((len(of_the_right_class) + 1) * (1 - coverage))
    return np.sort(of_the_right_class)[::-1][rank - 1] if rank else 0.0


# %% tags=["wrong", "too_few_images"]
def threshold_for(of_the_right_class, coverage):
    rank = int((len(of_the_right_class) + 1) * (1 - coverage))
    return np.sort(of_the_right_class)[max(rank, 1) - 1]


# %%
exercises.check("08.5", threshold_for)

# %% [markdown]
# Is the promise kept? Ten thousand times: 19 images set the threshold for a coverage of 75 %, and one more is tried on
# it. All 20 are drawn from one distribution, and it does not matter which.

# %%
drawn = np.sort(random.beta(2, 1, (10_000, 19)), axis=1)
new = random.beta(2, 1, 10_000)
print(f"with the fifth smallest of 19: {np.mean(new >= drawn[:, 4]):.1%}")

# %% [markdown]
# ## 08.6 · What was promised?
#
# *Judge a claim.* Sets for a coverage of 90 %, over all classes together, with a threshold from a hundred validation
# images. Which of these are promised?
#
# - **A** Averaged over many draws of validation images and new images of the same kind, at least nine sets in ten hold
#   the right class.
# - **B** Of the hundred test images that lie here, at least ninety have a set that holds the right class.
# - **C** Of the images of each class, at least nine in ten have such a set, on average over draws.
# - **D** The average of A does not hang on how good the model is; a bad one only has larger sets.
# - **E** The same holds for pictures of next year, when the lamp is a little darker.
#
# `promised` is a list of letters, such as `["B", "E"]`.

# %%
promised = ...
### BEGIN SOLUTION
promised = ["A", "D"]
### END SOLUTION

# %% tags=["wrong", "this_draw"]
promised = ["A", "B", "D"]

# %% tags=["wrong", "each_class"]
promised = ["A", "C", "D"]

# %% tags=["wrong", "changed_pictures"]
promised = ["A", "D", "E"]

# %% tags=["wrong", "bad_model_left_out"]
promised = ["A"]

# %%
exercises.check("08.6", promised)

# %% [markdown] tags=["quiz"]
# **Quiz 08.1** A model of cats and dogs calls an airliner a cat, with 0.995. Would a temperature have prevented it?
#
# - [ ] Yes: a calibrated model is sure only of what it knows. — It is calibrated for cats and dogs, and says nothing
#   about airliners.
# - [x] No: softmax shares out 1 among the classes that there are. — Whether a picture belongs to any of them is another
#   question, and takes another score, such as the distance to known features.
# - [ ] Yes, if it was fitted on test images. — On which cats and dogs it was fitted makes no difference here, and test
#   images only measure.

# %% [markdown] tags=["quiz"]
# **Quiz 08.2** All of 60 defective test pieces raise an alarm. Is a recall of at least 99 % shown?
#
# - [ ] Yes, the recall measured is 100 %. — It is, and would be so in about half of all draws at a recall of 99 %, and
#   in one of twenty even at 95 %.
# - [ ] Yes, if the threshold was chosen on validation images. — That makes the figure honest, not exact.
# - [x] No, sixty are too few. — The 95 % interval of 60 out of 60 begins near 94 %; it takes some hundreds without a
#   single miss.

# %% [markdown]
# Back to [lesson 08](../08_when_to_trust_it.ipynb), or to the [exercises of lesson 05](05_unfreezing.ipynb).
