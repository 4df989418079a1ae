# %% [markdown] tags=["slide"]
# # B · A gallery of failures
#
# **What does it look like when training or serving goes wrong, and what helps?**
#
# Seven mistakes that everybody makes once. None of them raises an error, and most look like success for a while. Each
# is made here on purpose, in seconds and in a few lines; each has a *symptom* to know it by, and a *cure*. Cases stand
# by themselves: jump to yours.
#
# ## What you will learn
#
# - to tell from a symptom what may be behind it: scaling, batch normalization, leakage, choice, resizing, names,
#   background
# - to make each failure happen, and to make it go away
# - to check for each of them before it costs you a week
#
# | | |
# |---|---|
# | before you start | [04 · Head training](04_head_training.ipynb) |
# | takes | reading 10 minutes, running 1 minute, 2 GB of memory on two CPU cores |
# | downloads | nothing |

# %%
import warnings

from effnet_helpers import data, evaluation, models, plotting, preprocessing, records, runtime

import keras
import numpy as np
import tensorflow as tf
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

print(runtime.describe())

# %% [markdown]
# What you may want to change:

# %% tags=["parameters"]
dataset: str = "textile"  # textile, folder:PATH, csv:FILE, stanford_dogs, or tfds:NAME
variant: str = "Lite0"  # which EfficientNet
image_size: int = 256  # side of the square images in pixels
resize_mode: str = "pad"  # crop, pad or squash
limit_per_class: int = 100  # use at most so many images of each class, 0 uses all
split_seed: int = 0  # another seed gives another split
seed: int = 0  # of everything that is drawn

# %%
records.check(image_size=(image_size, 64, None), limit_per_class=(limit_per_class, 0, None))
options = {"image_size": image_size, "resize_mode": resize_mode, "split_seed": split_seed}
images = data.load(dataset, **options, limit_per_class=limit_per_class or None)
names, splits = images.class_names, ("train", "val", "test")
labels = {split: images.labels(split) for split in splits}
print(f"{images.name}: {images.sizes}")

# %% [markdown]
# ## Something that works
#
# First the setting in which everything is done right: frozen [features](../docs/glossary.md#feature) of a network with
# ImageNet weights, averaged over the image, and a [logistic regression](../docs/glossary.md#logistic-regression) on
# them. (The default images are *simulated* textile.) Its accuracy on validation images is what each failure below is to
# be held against.

# %%
backbone = models.build_backbone(variant, image_size=image_size)
network = keras.Model(backbone.input, keras.layers.GlobalAveragePooling2D()(backbone.output))
as_it_was, _ = backbone.get_weights(), models.guard_pixel_range(network)
pixels = {split: np.stack([images.image(split, i) for i in range(len(labels[split]))]) for split in splits}
pixels = {split: values.astype("float32") for split, values in pixels.items()}
features = {split: network.predict(values, verbose=0) for split, values in pixels.items()}


# %%
def fit(values, classes):
    return make_pipeline(StandardScaler(), LogisticRegression(C=0.001, max_iter=1000)).fit(values, classes)


def score():
    return classifier.score(network.predict(pixels["val"], verbose=0), labels["val"])


classifier = fit(features["train"], labels["train"])
healthy = score()
records.record("healthy_val_accuracy", healthy)
print(f"validation accuracy {healthy:.2f}; guessing gets {1 / len(names):.2f}")

# %% [markdown]
# ## 1 · Pixels divided by 255
#
# These networks scale pixels themselves and want 0 to 255. Whoever divides first, as other networks need it, shows them
# pictures that are nearly black. **Symptom:** nearly always the same answer, and an accuracy about that of guessing,
# from the first epoch on or after training, when the script that serves divides and the one that trained did not.

# %%
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    divided = network.predict(pixels["val"] / 255, verbose=0)
answers, most = classifier.predict(divided), np.bincount(classifier.predict(divided)).max()
print(f"accuracy {np.mean(answers == labels['val']):.2f}; the same answer to {most} of {len(answers)} images")
print(f"this course's models said: {caught[0].category.__name__ if caught else 'nothing'}")

# %% [markdown]
# **Cure:** look at the numbers that go in, `batch.min()` and `batch.max()`, and at the layers `Rescaling` and
# `Normalization` at the network's beginning: scale in one place. This course's models warn when all of a batch lies
# between 0 and 1.
#
# ## 2 · Batch normalization that stays alive
#
# [Batch normalization](../docs/glossary.md#batch-normalization) keeps running averages, and any pass with
# `training=True` moves them, whether or not weights learn. **Symptom:** a good backbone gets worse and worse in
# validation while training goes well; the smaller and the less mixed the batches, the faster. Here are passes over
# small batches of one class at a time, as an unshuffled data set gives them. No optimizer, no gradient, not one weight
# is trained.

# %%
backbone.trainable = True
one_class = pixels["train"][np.argsort(labels["train"], kind="stable")[-160:]]
in_training = tf.function(lambda batch: backbone(batch, training=True))  # compiled, which is quicker
for batch in np.array_split(one_class, 20):
    in_training(batch)
print(f"validation accuracy {healthy:.2f} before, {score():.2f} after 20 passes")

# %%
backbone.set_weights(as_it_was)
for layer in backbone.layers:
    layer.trainable = not isinstance(layer, keras.layers.BatchNormalization)
in_training = tf.function(lambda batch: backbone(batch, training=True))  # anew, to see what is frozen
for batch in np.array_split(one_class, 20):
    in_training(batch)
print(f"validation accuracy {score():.2f} after the same passes with batch normalization frozen")

# %% [markdown]
# **Cure:** `trainable = False` for every batch normalization of the backbone, whatever else trains; in Keras that also
# puts it into [inference mode](../docs/glossary.md#inference-mode). And shuffle. [Notebook 05](05_unfreezing.ipynb) has
# the rest of the story, with a loss that looks like a disaster and is none.
#
# ## 3 · The same picture on both sides
#
# Photographs taken in a burst, frames of a video, cuts of one image, a file under two names: if such twins are dealt
# out at random, a model needs only to recognise the twin. **Symptom:** validation looks too good to be true, and new
# pictures are a disappointment. To see it at its barest, the labels here are drawn by lot: there is *nothing* to learn.
# Each validation image has a twin among the training images, a trace brighter.

# %%
random = np.random.default_rng(seed)
by_lot = {split: random.integers(0, 2, len(labels[split])) for split in splits}
twins = network.predict(np.minimum(pixels["val"] + 2, 255), verbose=0)
nearest = KNeighborsClassifier(1).fit(np.concatenate([features["train"], twins]), np.r_[by_lot["train"], by_lot["val"]])
clean = KNeighborsClassifier(1).fit(features["train"], by_lot["train"])
for name, each in {"with twins": nearest, "without": clean}.items():
    print(f"{name}: {each.score(features['val'], by_lot['val']):.2f} of labels that were drawn by lot")

# %% [markdown]
# **Cure:** split by what belongs together, not by file: `group_by` in the notebooks, a column `group` in a table. Files
# with the same content never come into two splits of this course, and `effnet audit` lists pictures that look alike. A
# quick test of your own: search for each validation image its nearest training image, and look at the closest pairs.
#
# ## 4 · Chosen by the test
#
# Try many models, keep the one that does best on the test images, and report that very figure. **Symptom:** the
# reported accuracy is not reached again, and each round of "improvement" makes the gap wider. Again nothing can be
# learned here: 200 "models" that guess, scored on a small test split, and the winner once more on new images.

# %%
truth, new_truth = random.integers(0, 2, (2, 60))
guesses, new_guesses = random.integers(0, 2, (2, 200, 60))
shares = (guesses == truth).mean(axis=1)
best = int(shares.argmax())
again = (new_guesses[best] == new_truth).mean()
print(f"best of {len(shares)} on the test images: {shares[best]:.2f}; the same one on new images: {again:.2f}")

# %% [markdown]
# **Cure:** choose by validation, score the test split once, and say how many models were compared. If the test split
# has been used up, only new images help.
#
# ## 5 · Resized in another way
#
# Trained on padded pictures, served with stretched ones: nobody sees a difference by eye. **Symptom:** offline figures
# are good, the same pictures in production are worse, and not at random: what hangs on fine texture goes first. Here
# the same validation files are read in the two other ways.

# %%
files = images.splits["val"]
for mode in ("pad", "crop", "squash"):
    read = [preprocessing.read_resized(files.path(i), image_size, mode) for i in range(len(files))]
    values = network.predict(np.stack(read).astype("float32"), verbose=0)
    mark = " (as in training)" if mode == resize_mode else ""
    print(f"{mode}{mark}: accuracy {classifier.score(values, labels['val']):.2f}")

# %% [markdown]
# **Cure:** keep with the model how its pictures were resized, and use the same code for both; `models.save` writes it
# down and `effnet predict` goes by it. Then compare the answers to one picture, from file to probability, on either
# side ([notebook 06](06_export_and_serve.ipynb)). On square photographs the ways may come to the same; try yours.
#
# ## 6 · Class names in another order
#
# A network answers with positions. Which name belongs to which is known only to whoever made the labels: by alphabet,
# as the folders came, as a table lists them. **Symptom:** accuracy far *below* that of guessing, and a confusion matrix
# that is clean, but not on the diagonal. A model that is merely bad is not so consistent.

# %% tags=["slide"]
probabilities = classifier.predict_proba(features["val"])
rotated = np.roll(probabilities, 1, axis=1)  # names as another program lists them
plotting.confusion(evaluation.report_from_probabilities(rotated, labels["val"], names))
print(f"accuracy {np.mean(rotated.argmax(axis=1) == labels['val']):.2f}, with the right names {healthy:.2f}")

# %% [markdown]
# **Cure:** names travel with the model, never by memory: in the JSON file beside it, in the export. And send one
# picture of each class through the finished program before anybody relies on it.
#
# ## 7 · The background gives the class away
#
# All pictures of one class come from one place, one day, one camera; a ruler, a date or a lamp is in each of them.
# **Symptom:** nearly perfect on validation, since the mark is there as well, and poor as soon as it is missing. Here a
# small bright tag is put into the corner of one class, in training and validation; the test images have none.

# %%
tagged_class = names.index("nominal") if "nominal" in names else 0
tagged = {split: values.copy() for split, values in pixels.items() if split != "test"}
for split, values in tagged.items():
    values[labels[split] == tagged_class, 8:40, 8:40] = 255
with_tag = {split: network.predict(values, verbose=0) for split, values in tagged.items()}
fooled = fit(with_tag["train"], labels["train"])

# %% tags=["slide"]
is_tagged = {split: labels[split] == tagged_class for split in splits}
on_validation = fooled.predict(with_tag["val"])[is_tagged["val"]] == tagged_class
on_test = fooled.predict(features["test"])[is_tagged["test"]] == tagged_class
print(f"recognised: {on_validation.mean():.2f} of its validation images, {on_test.mean():.2f} of its test images")
plotting.image_grid([tagged["val"][np.flatnonzero(is_tagged["val"])[0]]], [names[tagged_class]], heading="With its tag")

# %% [markdown]
# Can you find it without knowing? Cover a part of the picture and ask again: if a class falls when a *corner* without
# any object is covered, the corner is what it was recognised by. And ask how far a part of the picture alone gets you
# that should know nothing:

# %%
only_corner = {split: values[:, :48, :48].mean(axis=(1, 2)) for split, values in tagged.items()}
by_corner = fit(only_corner["train"], is_tagged["train"]).score(only_corner["val"], is_tagged["val"])
covered = tagged["val"].copy()
covered[:, :48, :48] = covered.mean(axis=(1, 2), keepdims=True)
still = fooled.predict(network.predict(covered, verbose=0))[is_tagged["val"]] == tagged_class
print(f"{names[tagged_class]} or not, by the mean colour of a corner alone: {by_corner:.2f} right")
print(f"{names[tagged_class]} recognised with the corner covered: {still.mean():.2f}")

# %% [markdown]
# **Cure:** take pictures of all classes in the same places, or of each class in many; split by place, so that
# validation has places that training has not (`group_by`); cut the mark away. [Notebook 08](08_when_to_trust_it.ipynb)
# has maps of where a network looks, and a check on them.

# %% [markdown] tags=["slide"]
# ## Recap
#
# | symptom | look first at |
# |---|---|
# | the same answer to everything | scaling of pixels |
# | validation gets worse while training goes well | live batch normalization, overfitting (notebook 04) |
# | too good to be true | twins in two splits, a background that gives the class away |
# | never as good again as reported | chosen by the test |
# | worse in production than offline | resizing, scaling, a changed camera (notebook 08) |
# | far below guessing | order of the class names |
# | a loss above log K | notebook 05 |
#
# **The surprise:** in two of the seven, labels that were drawn by lot were “recognised” far better than by guessing. A
# high figure alone proves nothing.
#
# **Where next:** [08 · When to trust it](08_when_to_trust_it.ipynb) is about models that work, and when they do not.
