# %% [markdown]
# # Exercises 04 · Training a head
#
# What trains in a head, in which order to prepare it, and what its figures can carry: six exercises, 30 minutes. Read
# [lesson 04](../04_head_training.ipynb) first and keep it open beside this page. Each check says "not attempted", "not
# yet" with a hint, or "right" with the reason; `exercises.hint("04.1")` gives a hint before you try.

# %%
from effnet_helpers import data, evaluation, exercises, models, plotting, runtime

import keras
import numpy as np
from sklearn.model_selection import cross_val_score
from sklearn.svm import SVC

# %% [markdown]
# The exercises share a few of the embedded images, of *simulated* woven textile, at half their size, and Lite0 with its
# ImageNet weights.

# %%
runtime.set_seed(0)
images = data.load("textile", image_size=128, resize_mode="squash", limit_per_class=60)
backbone = models.build_backbone("Lite0", image_size=128)
extractor = keras.Model(backbone.input, keras.layers.GlobalAveragePooling2D()(backbone.output))
print(images.sizes)

# %% [markdown]
# ## 04.1 · What no learning scores
#
# *Predict first, then run.* In a validation split are 300 nominal pictures, 120 with a shift and 80 with a flaw; the
# training split has the same proportions. Somebody answers without looking, the same to every picture. Write two
# numbers:
#
# - `best_accuracy`: the highest accuracy, between 0 and 1, that one answer for all can have;
# - `best_loss`: the lowest loss, as Keras computes it, that the same three probabilities for all can have. A third each
#   costs log 3. Can other probabilities do better, where some classes are rare? (To two places; `np.log` may help.)

# %%
best_accuracy = ...
best_loss = ...
### BEGIN SOLUTION
shares = np.array([300, 120, 80]) / 500
best_accuracy = shares.max()
best_loss = -np.sum(shares * np.log(shares))
### END SOLUTION

# %% tags=["wrong", "accuracy_of_guessing"]
best_accuracy, best_loss = 1 / 3, 0.94

# %% tags=["wrong", "evenly"]
best_accuracy, best_loss = 300 / 500, np.log(3)

# %% tags=["wrong", "other_logarithm"]
best_accuracy, best_loss = 300 / 500, -np.sum(np.array([0.6, 0.24, 0.16]) * np.log10([0.6, 0.24, 0.16]))

# %% tags=["wrong", "one_class_only"]
best_accuracy, best_loss = 300 / 500, -np.log(0.6)

# %% tags=["wrong", "percent"]
best_accuracy, best_loss = 60, 0.94

# %%
exercises.check("04.1", (best_accuracy, best_loss))

# %% [markdown]
# Now let NumPy count and Keras compute:

# %%
truth = np.repeat([0, 1, 2], [300, 120, 80])
print(f"accuracy of always the same answer: {', '.join(f'{np.mean(truth == answer):.2f}' for answer in (0, 1, 2))}")
for name, given in {"evenly": [1 / 3, 1 / 3, 1 / 3], "as the classes occur": [0.6, 0.24, 0.16]}.items():
    loss = np.mean(keras.losses.sparse_categorical_crossentropy(truth, np.tile(given, (len(truth), 1))))
    print(f"loss of the same probabilities for all, {name}: {loss:.2f}")

# %% [markdown]
# ## 04.2 · How many numbers train?
#
# *Predict first, then run.* Lite0 hands its head 1,280 averages. The head is that of the lesson, for *ten* classes:
# pooling, batch normalization, dropout, and a dense layer with softmax. The backbone is frozen. How many numbers does
# training change by gradients? Keras calls them trainable parameters. Write a whole number, or the sum that makes it.

# %%
trainable = ...
### BEGIN SOLUTION
trainable = 2 * 1280 + 1280 * 10 + 10
### END SOLUTION

# %% tags=["wrong", "running_averages_counted"]
trainable = 4 * 1280 + 1280 * 10 + 10

# %% tags=["wrong", "batch_normalization_forgotten"]
trainable = 1280 * 10 + 10

# %% tags=["wrong", "biases_forgotten"]
trainable = 2 * 1280 + 1280 * 10

# %% tags=["wrong", "frozen_counted"]
trainable = models.add_head(backbone, num_classes=10).count_params()

# %%
exercises.check("04.2", trainable)

# %% [markdown]
# And what does the network say?

# %%
model = models.add_head(backbone, num_classes=10)
models.freeze_backbone(model)
for weight in model.trainable_weights:
    print(f"{weight.path}: {int(np.prod(weight.shape)):,}")

# %% [markdown]
# ## 04.3 · Freeze and compile in the right order
#
# *Find the bug.* Here is a network as small as can be: its backbone is one convolution with batch normalization, its
# layers are named as those of the course. `small_network` has trained it for a step, with everything trainable.
# `moved_by_a_step` trains it for one step more and says which layers that changed.


# %%
def small_network():
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 3, name="block1a_conv")(inputs)
    x = keras.layers.BatchNormalization(name="block1a_bn")(x)
    x = keras.layers.GlobalAveragePooling2D(name="head_pool")(x)
    x = keras.layers.BatchNormalization(name="head_bn")(x)
    model = keras.Model(inputs, keras.layers.Dense(3, activation="softmax", name="head_probabilities")(x))
    model.compile("sgd", loss="sparse_categorical_crossentropy")
    moved_by_a_step(model)
    return model


def moved_by_a_step(model):
    before = {layer.name: layer.get_weights() for layer in model.layers}
    model.train_on_batch(np.random.default_rng(0).normal(size=(6, 8, 8, 3)), np.arange(6) % 3)
    after = {layer.name: layer.get_weights() for layer in model.layers}
    return [name for name in before if not all(map(np.array_equal, before[name], after[name]))]


# %% [markdown]
# Somebody wants to go on with the head alone. The backbone is frozen, Keras counts 23 trainable parameters, which is
# what the head has, and yet the next step changes the backbone:


# %%
def freeze_only(model):
    for layer in model.layers:
        if layer.name.startswith("block"):
            layer.trainable = False
    return model


frozen_too_late = freeze_only(small_network())
print(f"{sum(int(np.prod(weight.shape)) for weight in frozen_too_late.trainable_weights)} trainable parameters")
print(f"but a step moves {', '.join(moved_by_a_step(frozen_too_late))}")

# %% [markdown]
# Write `train_head_only`. It gets such a network, changes it so that from now on a step changes nothing but the head,
# and returns it. (Any optimizer will do.)


# %%
def train_head_only(model):
    """The same network, of which only the head trains from now on."""
    ### BEGIN SOLUTION
    for layer in model.layers:
        if layer.name.startswith("block"):
            layer.trainable = False
    model.compile("sgd", loss="sparse_categorical_crossentropy")
    return model
    ### END SOLUTION


# %% tags=["wrong", "compiled_before_freezing"]
def train_head_only(model):
    model.compile("sgd", loss="sparse_categorical_crossentropy")
    return freeze_only(model)


# %% tags=["wrong", "not_compiled_again"]
train_head_only = freeze_only


# %% tags=["wrong", "everything_frozen"]
def train_head_only(model):
    model.trainable = False
    model.compile("sgd", loss="sparse_categorical_crossentropy")
    return model


# %% tags=["wrong", "batch_normalization_left_live"]
def train_head_only(model):
    model.get_layer("block1a_conv").trainable = False
    model.compile("sgd", loss="sparse_categorical_crossentropy")
    return model


# %% tags=["wrong", "head_frozen_too"]
def train_head_only(model):
    for layer in model.layers[:-1]:
        layer.trainable = False
    model.compile("sgd", loss="sparse_categorical_crossentropy")
    return model


# %%
exercises.check("04.3", train_head_only)

# %% [markdown]
# What does a step move now?

# %%
prepared = train_head_only(small_network())
if prepared is not None:
    print(f"a step moves {', '.join(moved_by_a_step(prepared))}")

# %% [markdown]
# ## 04.4 · Whose labels are these?
#
# *Find the bug.* Features are computed once, here of 120 pictures, and a support vector machine is scored on them by
# cross-validation: each third of the pictures by a machine trained on the other two. It does hardly better than
# guessing, which is 0.33. The network is not to blame. `batches` gives images and labels, and since it was made with
# `shuffle=True`, each pass over it comes in another order.


# %%
def shuffled_features(extractor, batches):
    features = np.concatenate([extractor.predict_on_batch(pixels) for pixels, _ in batches])
    labels = np.concatenate([numbers for _, numbers in batches])
    return features, labels


def score(features, labels):
    return cross_val_score(SVC(), features, labels, cv=3).mean()


batches = images.batches("train", batch_size=24, shuffle=True, seed=0)
print(f"accuracy {score(*shuffled_features(extractor, batches)):.2f}")

# %% [markdown]
# Write `features_and_labels`, which returns two arrays: the features, a row for each image, and the labels, in the same
# order. It gets the extractor and such batches, and must work with shuffled ones. (`extractor.predict_on_batch(pixels)`
# gives the features of one batch as an array.)


# %%
def features_and_labels(extractor, batches):
    """Features, a row for each image, and the labels of the same images in the same order."""
    ### BEGIN SOLUTION
    features, labels = [], []
    for pixels, numbers in batches:  # one pass for both
        features.append(extractor.predict_on_batch(pixels))
        labels.append(numbers)
    return np.concatenate(features), np.concatenate(labels)
    ### END SOLUTION


# %% tags=["wrong", "two_passes"]
features_and_labels = shuffled_features


# %% tags=["wrong", "incomplete"]
def features_and_labels(extractor, batches):
    pixels, numbers = next(iter(batches))
    return extractor.predict_on_batch(pixels), np.array(numbers)


# %% tags=["wrong", "labels_sorted"]
def features_and_labels(extractor, batches):
    features, labels = shuffled_features(extractor, batches)
    return features, np.sort(labels)


# %%
exercises.check("04.4", features_and_labels)

# %% [markdown]
# The same score again, of what your function returns:

# %%
pair = features_and_labels(extractor, batches)
if pair is not None:
    print(f"accuracy {score(*pair):.2f}")

# %% [markdown]
# ## 04.5 · Which epoch to keep
#
# *Write.* `fit` returns a history, whose `.history` is a dictionary of lists with one entry an epoch: "loss" and
# "accuracy" of the training images, "val_loss" and "val_accuracy" of the validation images. Write `epoch_to_keep`: it
# gets such a dictionary and returns the epoch whose weights the lesson would keep, a whole number, counted from 1 as
# Keras prints them.


# %%
def epoch_to_keep(history):
    """The number of an epoch, counted from 1."""
    ### BEGIN SOLUTION
    return int(np.argmin(history["val_loss"])) + 1
    ### END SOLUTION


# %% tags=["wrong", "counted_from_0"]
def epoch_to_keep(history):
    return int(np.argmin(history["val_loss"]))


# %% tags=["wrong", "training_loss"]
def epoch_to_keep(history):
    return int(np.argmin(history["loss"])) + 1


# %% tags=["wrong", "validation_accuracy"]
def epoch_to_keep(history):
    return int(np.argmax(history["val_accuracy"])) + 1


# %% tags=["wrong", "the_loss_itself"]
def epoch_to_keep(history):
    return float(min(history["val_loss"]))


# %%
exercises.check("04.5", epoch_to_keep)

# %% [markdown]
# And in a real training? This head learns from few images, so that it soon overfits.


# %%
def arrays(split):
    pooled = [extractor.predict_on_batch(pixels) for pixels, _ in images.batches(split, 24)]
    return np.concatenate(pooled), images.labels(split)


train, val = arrays("train"), arrays("val")

# %%
layers = [keras.layers.BatchNormalization(momentum=0.9), keras.layers.Dense(3, activation="softmax")]
head = keras.Sequential(layers)
head.compile(keras.optimizers.Adam(0.005), loss="sparse_categorical_crossentropy", metrics=["accuracy"])
history = head.fit(*train, validation_data=val, epochs=20, batch_size=24, verbose=0).history
plotting.learning_curves({"head": history}, num_classes=3)
print(f"your function would keep epoch {epoch_to_keep(history)} of {len(history['loss'])}")

# %% [markdown]
# ## 04.6 · Three points better?
#
# *Judge a claim.* On 200 test images classifier A gets 172 right and classifier B 178, that is 86 % and 89 %. "B is
# three points better," says the report. What do these two figures allow you to say of *other* images of the same kind?
#
# - "B is better"
# - "they are equally good"
# - "cannot tell"
#
# And how many test images would it take, if the shares stayed 86 % and 89 %, until the 95 % intervals of the two no
# longer overlap? Try multiples of 100 and take the first. `evaluation.accuracy_interval(correct, total)` gives the
# lower and the upper end of an interval.

# %%
for name, correct in {"A": 172, "B": 178}.items():
    low, high = evaluation.accuracy_interval(correct, 200)
    print(f"{name}: {correct / 200:.2f}, 95 % interval {low:.3f} to {high:.3f}")

# %%
verdict = ...  # one of the three sentences, in quotation marks
images_needed = ...  # a whole number
### BEGIN SOLUTION
verdict = "cannot tell"


def apart(total):
    upper_end_of_a = evaluation.accuracy_interval(round(0.86 * total), total)[1]
    return upper_end_of_a < evaluation.accuracy_interval(round(0.89 * total), total)[0]


images_needed = next(total for total in range(200, 10_000, 100) if apart(total))
### END SOLUTION

# %% tags=["wrong", "believed"]
verdict, images_needed = "B is better", 1900

# %% tags=["wrong", "called_equal"]
verdict, images_needed = "they are equally good", 1900

# %% tags=["wrong", "another_sentence"]
verdict, images_needed = "maybe", 1900

# %% tags=["wrong", "still_overlapping"]
verdict, images_needed = "cannot tell", 500

# %% tags=["wrong", "far_too_many"]
verdict, images_needed = "cannot tell", 10_000

# %%
exercises.check("04.6", (verdict, images_needed))

# %% [markdown] tags=["quiz"]
# **Quiz 04.1** The training loss falls to 0.05 and the validation loss rises to 1.6, with three classes. What has the
# network learned?
#
# - [ ] Nothing — the training loss would not have fallen
# - [x] Its training images by heart — on others it is surer of wrong answers than one who guesses
# - [ ] What tells the classes apart, but slowly — then the validation loss would fall as well, only later
# - [ ] Too little, so train longer — the validation loss has risen, and more of the same goes on in that direction

# %% [markdown] tags=["quiz"]
# **Quiz 04.2** Features of the frozen backbone are computed once and kept. When must they be computed again?
#
# - [ ] When the learning rate of the head changes — that is above the cut, and the features below do not notice
# - [ ] In every epoch — nothing below the cut changes from epoch to epoch
# - [x] When the images are resized to another size — then the backbone gets other pixels
# - [ ] When the head gets more dropout — dropout comes after the features

# %% [markdown]
# ## To go on
#
# Nothing checks these; they are the lesson with other parameters:
#
# - Set `resize_mode` to "crop" and `image_size` to 224, and compare the accuracy. Lesson 03 shows what is lost.
# - Set `variant` to "Lite2". Are larger features better features here? (Compare intervals, not only figures.)
#
# **Back to** [lesson 04](../04_head_training.ipynb) · **next:** [exercises 05](05_unfreezing.ipynb)
