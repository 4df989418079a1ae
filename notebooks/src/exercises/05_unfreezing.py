# %% [markdown]
# # Exercises 05 · Unfreezing
#
# Five exercises on what to open, what goes wrong in training, and what a comparison shows: about 25 minutes, of which
# the computer takes half a one. They practise what [lesson 05](../05_unfreezing.ipynb) teaches.
#
# Put your answer in the place of the dots, run its cell, and then the cell with `check`. If you are stuck,
# `exercises.hint("05.1")` helps.

# %%
import math

from effnet_helpers import data, evaluation, exercises, models, runtime, training

import keras
import pandas as pd

# %% [markdown]
# What the exercises share: Lite0 with its ImageNet weights, forty training images of the *simulated* textile, and what
# the network says of them below its last block, `top`. That part stays frozen, so it is computed once.

# %%
runtime.set_seed(0)
images = data.load("textile", image_size=256, limit_per_class=20)
model = models.add_head(models.build_backbone("Lite0", image_size=256), images.num_classes)
prefix, tail = models.split_at_block(model, "top")
parts = training.extract_features(prefix, images, ("train", "val"))
train, val = ((parts[split].values.astype("float32"), images.labels(split)) for split in ("train", "val"))
print(f"training: {train[0].shape}, validation: {val[0].shape}")

# %% [markdown]
# And a fitted head, as in the lesson: everything else is frozen. Its weights are put aside.

# %%
models.freeze_backbone(model)
tail.compile(keras.optimizers.Adam(0.001), loss="sparse_categorical_crossentropy", metrics=["accuracy"])
head = tail.fit(*train, validation_data=val, batch_size=8, epochs=15, verbose=0).history
fitted = tail.get_weights()
print(f"the fitted head: validation loss {head['val_loss'][-1]:.2f}; log K is {math.log(images.num_classes):.2f}")

# %% [markdown]
# ## 05.1 · What the last 20 layers cut
#
# *Predict first.* Here is how many layers each block of Lite0 has, from the input up. (The head is not in the list.)

# %%
blocks = [models.block_of(layer) for layer in model.layers if models.block_of(layer)]
print(pd.Series(blocks).value_counts(sort=False).to_string())

# %% [markdown]
# Somebody opens the last 20 layers of this list and leaves all others frozen. The cut goes through a block. How many
# layers of *that* block stay frozen? Work it out from the table, without a loop.
#
# `left_frozen` is a whole number: 0 if the cut lies between two blocks.

# %%
left_frozen = ...
### BEGIN SOLUTION
left_frozen = 3 + 8 + 10 - 20  # top, block7a and block6d have 21 layers
### END SOLUTION

# %% tags=["wrong", "layers_opened"]
left_frozen = 20 - 3 - 8

# %% tags=["wrong", "no_cut"]
left_frozen = 0

# %%
exercises.check("05.1", left_frozen)

# %% [markdown]
# Now look: the twenty-first layer from the top, and the one above it.

# %%
stack = [layer.name for layer in model.layers if models.block_of(layer)]
print(f"frozen: {stack[-21]}; opened: {stack[-20]}")

# %% [markdown]
# ## 05.2 · Open whole blocks in plain Keras
#
# *Write.* A function that makes a model train from one block up to its end, head included: every layer from the first
# one of that block on trains, except batch normalization; every layer below is frozen. It must come to that whatever
# was frozen or open before. The model is flat, and the names of a block's layers begin with the block's name.
#
# Use nothing but Keras: `model.layers`, `layer.name`, `layer.trainable`, `keras.layers.BatchNormalization`. (In the
# backbone of the lesson the head has a batch normalization, too. To keep it simple, freeze that one as well.) The
# function returns the model. `check` takes the function itself, and tries it on small models of its own.


# %%
def open_from(model, block):
    """Lets a flat model train from the first layer of `block` up, batch normalization frozen; returns the model."""
    ### BEGIN SOLUTION
    reached = False
    for layer in model.layers:
        reached = reached or layer.name.startswith(block)
        layer.trainable = reached and not isinstance(layer, keras.layers.BatchNormalization)
    return model
    ### END SOLUTION


# %% tags=["wrong", "batch_norm_live"]
def open_from(model, block):
    reached = False
    for layer in model.layers:
        reached = reached or layer.name.startswith(block)
        layer.trainable = reached
    return model


# %% tags=["wrong", "below_left_open"]
def open_from(model, block):
    reached = False
    for layer in model.layers:
        reached = reached or layer.name.startswith(block)
        if reached:
            layer.trainable = not isinstance(layer, keras.layers.BatchNormalization)
    return model


# %% tags=["wrong", "only_that_block"]
def open_from(model, block):
    for layer in model.layers:
        is_batch_norm = isinstance(layer, keras.layers.BatchNormalization)
        layer.trainable = layer.name.startswith(block) and not is_batch_norm
    return model


# %% tags=["wrong", "never_opened"]
def open_from(model, block):
    for layer in model.layers:
        if layer.name.startswith(block):
            break
        layer.trainable = False
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = False
    return model


# %%
exercises.check("05.2", open_from)

# %% [markdown]
# ## 05.3 · A fine-tuning that collapses
#
# *Find the bug.* Somebody opens the block `top` above, and trains it together with the fitted head. It ends in
# disaster, though the training loss falls:

# %%
runtime.set_seed(0)
for layer in tail.layers:
    layer.trainable = True
tail.compile(keras.optimizers.Adam(0.01), loss="sparse_categorical_crossentropy", metrics=["accuracy"])
collapsed = tail.fit(*train, validation_data=val, batch_size=8, epochs=4, verbose=0).history
for name in ("loss", "val_loss"):
    print(f"{name}: {', '.join(f'{value:.2f}' for value in collapsed[name])}")

# %% [markdown]
# Two things are wrong, and either would be enough. Repair both, with the same images, batches and epochs: open `top`
# again, compile and fit. No validation loss may then lie above log K, and the block must train: to freeze it is no
# repair.
#
# `train_top` does these three steps and returns what `fit` returns. The cell with `check` puts back the weights of the
# fitted head, calls it, and hands over the model and what came back.


# %%
def train_top(tail):
    """Opens the block `top`, compiles and fits on `train`; returns what `fit` returns."""
    ### BEGIN SOLUTION
    for layer in tail.layers:
        layer.trainable = not isinstance(layer, keras.layers.BatchNormalization)
    tail.compile(keras.optimizers.Adam(0.0003), loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    return tail.fit(*train, validation_data=val, batch_size=8, epochs=4, verbose=0)
    ### END SOLUTION


# %% tags=["wrong", "batch_norm_live"]
def train_top(tail):
    for layer in tail.layers:
        layer.trainable = True
    return collapsed  # what fit returned the first time; the check looks at the model first


# %% tags=["wrong", "rate_too_high"]
def train_top(tail):
    for layer in tail.layers:
        layer.trainable = not isinstance(layer, keras.layers.BatchNormalization)
    tail.compile(keras.optimizers.Adam(0.01), loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    return tail.fit(*train, validation_data=val, batch_size=8, epochs=4, verbose=0)


# %% tags=["wrong", "block_frozen"]
def train_top(tail):
    models.freeze_backbone(tail)
    return head  # what fit returned with everything frozen


# %%
tail.set_weights(fitted)
runtime.set_seed(0)
history = train_top(tail)
exercises.check("05.3", (tail, history))

# %% [markdown]
# ## 05.4 · How long do running averages lag?
#
# *Predict first.* The head's batch normalization has a momentum of 0.9. After each step, its running mean becomes
#
# 0.9 × the running mean so far + 0.1 × the mean of this batch
#
# Fine-tuning begins, and the features move at once to where they will stay. After how many steps does *less than* one
# hundredth of the running mean still come from before? `steps` is the smallest such whole number.

# %%
steps = ...
### BEGIN SOLUTION
steps = math.ceil(math.log(0.01) / math.log(0.9))
### END SOLUTION

# %% tags=["wrong", "as_if_in_a_line"]
steps = 10

# %% tags=["wrong", "keras_default"]
steps = math.ceil(math.log(0.01) / math.log(0.99))

# %% tags=["wrong", "one_too_few"]
steps = 43

# %%
exercises.check("05.4", steps)

# %% [markdown]
# In the lesson a stretch between two validations is a tenth of its steps. Change 0.9 to see what a longer memory does.

# %%
for step in (1, 12, 24, 36, 48):
    print(f"after {step} steps {0.9**step:.1%} of the running mean are old")

# %% [markdown]
# ## 05.5 · What do these runs show?
#
# *Judge a claim.* Six choices beside the base recipe, as measured for the lesson: mean paired difference in accuracy on
# test, in percentage points, and its 95 % interval.

# %%
choices = ["live backbone norm", "last 20 layers", "head not first", "no warm-up", "peak 1e-4", "weights averaged"]
runs = evaluation.measured("recipes").query("stage == 'screening'")
worth = evaluation.paired_differences(runs, choices).query("set == 'all'")
print(worth[["candidate", "runs", "points", "low", "high"]].round(1).to_string(index=False))

# %% [markdown]
# For which of them do these runs show a difference from the base, better or worse? `shown` is a list of their names.

# %%
shown = ...
### BEGIN SOLUTION
shown = worth[(worth["low"] > 0) | (worth["high"] < 0)]["candidate"].tolist()
### END SOLUTION

# %% tags=["wrong", "by_the_mean"]
shown = worth[worth["points"].abs() > 1]["candidate"].tolist()

# %% tags=["wrong", "the_others"]
shown = ["head not first", "no warm-up", "weights averaged"]

# %% tags=["wrong", "everything"]
shown = choices

# %%
exercises.check("05.5", shown)

# %% [markdown] tags=["quiz"]
# **Quiz 05.1** A validation loss lies above log K, while the training loss falls nicely. The same weights, with the
# statistics of the head's batch normalization computed afresh, come out well below log K. What was wrong?
#
# - [ ] The network had learned its training images by heart. — Then the same weights would stay bad on validation.
# - [x] Validation measured with statistics that lag behind the features. — No weight changed between the two figures,
#   only what they are measured with.
# - [ ] The labels of the validation images were mixed up. — Fresh statistics could not repair that.

# %% [markdown] tags=["quiz"]
# **Quiz 05.2** A head and then a fine-tuning are fitted. Of ten validations none is better than the head. What does
# `KeepBest` leave in the model?
#
# - [ ] The weights of the last validation. — They would make the model worse than what it started from.
# - [ ] The best of the ten. — It is still below the head, which counts as number 0.
# - [x] The fitted head, as it came. — It is epoch 0, so what comes out is never worse on validation than what went in.

# %% [markdown]
# Back to [lesson 05](../05_unfreezing.ipynb), or on to the [exercises of lesson 06](06_export_and_serve.ipynb).
