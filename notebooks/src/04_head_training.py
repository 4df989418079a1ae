# %% [markdown]
# # 04 · Training a head on a frozen backbone
#
# **How far do features learned on ImageNet carry on pictures that look like nothing in ImageNet?**
#
# ## What you will learn
#
# - to ask first what no learning at all would score
# - to put a head on a pretrained backbone, freeze the backbone, compile and fit
# - what the same network makes of the same images from random weights
# - to compute frozen features once, and train a head on them in seconds
# - to read a confusion matrix, recall with intervals, and the most confident mistakes
#
# | | |
# |---|---|
# | before you start | [03 · Data loading](03_data_loading.ipynb) |
# | takes | about two minutes and 3 GB of memory on two CPU cores |
# | downloads | nothing |

# %%
from typing import Optional

from effnet_helpers import data, evaluation, models, plotting, records, runtime, training
from effnet_helpers.models import block_of, guard_pixel_range, set_stochastic_depth

import keras
import numpy as np
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

print(runtime.describe())

# %% [markdown]
# What you may want to change:

# %% tags=["parameters"]
dataset: str = "textile"  # textile, folder:PATH, csv:FILE, stanford_dogs, or tfds:NAME
variant: str = "Lite0"  # which EfficientNet
image_size: int = 256  # side of the square images in pixels
resize_mode: str = "pad"  # crop, pad or squash
limit_per_class: int = 500  # use at most so many images of each class, 0 uses all
batch_size: int = 16  # images in a step, 0 takes 32 on a processor and 64 on a GPU
comparison_images: int = 512  # how many training images the comparison of random with pretrained weights shows to each
head_epochs: int = 25  # passes over the features in the final training of the head
learning_rate: float = 0.002  # of Adam, for the head
dropout: float = 0.2  # share of features left out at random in training
group_by: Optional[str] = None  # pattern in file names of what must stay in one split, such as video[0-9]+
balance: Optional[str] = None  # for classes of different sizes, class_weights or balanced_sampling
split_seed: int = 0  # another seed gives another split
seed: int = 0  # for random weights, order of images and dropout

# %%
chosen = training.use_device(batch_size)
batch_size = batch_size or min(chosen, comparison_images // 4)  # the comparison below is shown in four parts
records.expect(
    comparison_images >= 4 * batch_size >= 8, "batch_size", batch_size, "2 up to a quarter of comparison_images"
)
records.expect(
    isinstance(head_epochs, int) and head_epochs >= 1, "head_epochs", head_epochs, "a whole number from 1 up"
)
records.expect(0 < learning_rate < 1, "learning_rate", learning_rate, "a number between 0 and 1")
records.expect(0 <= dropout < 1, "dropout", dropout, "a number from 0 up to, but not including, 1")
runtime.set_seed(seed)
options = {"image_size": image_size, "resize_mode": resize_mode, "split_seed": split_seed, "group_by": group_by}
images = data.load(dataset, **options, limit_per_class=limit_per_class or None)
print(f"{images.name}: {', '.join(images.class_names[:5])}{' …' if images.num_classes > 5 else ''}; {images.sizes}")

# %% [markdown]
# The default images are *simulated* textile, in three classes: a nominal weave, one with a shift of the whole
# pattern, and one with a small local flaw.
#
# ## What no learning would score
#
# The first baseline always answers with the most frequent class of the training images. Whatever you train must beat
# it, and by how much is easily overestimated where one class is frequent.

# %%
majority = evaluation.majority_baseline(images, "val")
print(f"always the same answer: {majority}")

# %% [markdown]
# Some sets have a second such baseline. Where the classes are ImageNet's own, as the breeds of Stanford Dogs are, the
# network can name them as it comes: leave out its other answers. Mind what that means, though. Such a set is cut from
# ImageNet, so its *test images were probably seen* in pretraining, and every accuracy on it is too good.

# %%
if images.wordnet_ids:
    classifier = models.build_imagenet_classifier(variant)
    untrained = models.restrict_to_wordnet_ids(classifier, images.wordnet_ids)
    size = {"image_size": classifier.input_shape[1], "limit_per_class": limit_per_class or None}
    untrained_report = evaluation.evaluate(untrained, data.load(dataset, **options | size), "val")
    records.record("zero_training_val_accuracy", untrained_report.accuracy)
    print(f"ImageNet's own answers, without any training: {untrained_report}")
else:
    print(f"the classes of {images.name} are not ImageNet's, so there is no such baseline here")

# %% [markdown]
# ## A head on a backbone
#
# Notebook 01 ended with the finding that the top of a network is only a weighted sum of features. So: take the
# backbone without its top, and put a new top on it. We call it the *head*. It averages each feature over the image,
# brings all features to a common scale (batch normalization), leaves some out at random in training (dropout, which
# keeps it from leaning on a few), and ends in one probability for each class.


# %% tags=["shows:effnet_helpers.models.add_head"]
def add_head(backbone: keras.Model, num_classes: int, dropout: float = 0.2) -> keras.Model:
    if num_classes < 2:
        raise ValueError(f"A classifier needs at least 2 classes. Received: num_classes={num_classes}")
    x = keras.layers.GlobalAveragePooling2D(name="head_pool")(backbone.output)
    x = keras.layers.BatchNormalization(momentum=0.9, name="head_bn")(x)
    x = keras.layers.Dropout(dropout, name="head_dropout")(x)
    # float32 whatever the rest computes in: a softmax in float16 rounds small probabilities to 0
    last = keras.layers.Dense(num_classes, activation="softmax", dtype="float32", name="head_probabilities")
    model = keras.Model(backbone.input, last(x), name=f"{backbone.name}_classifier")
    return guard_pixel_range(model)


# %% [markdown]
# *Freezing* means that training does not change a layer. Two kinds of layers need a second thought. Batch
# normalization that is frozen also uses the mean and variance it stored, rather than those of the batch; Keras does
# that on its own. Stochastic depth skips blocks at random even in layers that do not train, so it is put to rest
# here.


# %% tags=["shows:effnet_helpers.models.freeze_backbone"]
def freeze_backbone(model: keras.Model) -> None:
    for layer in model.layers:
        if block_of(layer):
            layer.trainable = False
            set_stochastic_depth(layer, active=False)


# %% [markdown]
# What trains now is the head alone:

# %% tags=["nbval-check-output"]
backbone = models.build_backbone(variant, image_size=image_size)
model = add_head(backbone, images.num_classes, dropout)
freeze_backbone(model)
table = models.trainable_table(model)
print(
    f"{len(model.layers)} layers; trainable {table['trainable'].sum():,}, frozen {table['frozen'].sum():,} parameters"
)

# %% [markdown]
# ## The same network, from random weights
#
# How much of what follows is due to ImageNet? The fair comparison is the same network and the same images, seen
# equally often. From random weights everything must train, so nothing is frozen, and the learning rate is a usual one
# for that.
#
# The images come in four parts, so that there is a curve to look at; Keras calls each part an epoch. Every call of
# `train_batches` starts again with the first order of images, so that both networks see the same ones in the same
# order.


# %%
def train_batches():
    return images.batches("train", batch_size, shuffle=True, seed=seed, cache=True).repeat()


schedule = {"epochs": 4, "steps_per_epoch": max(1, comparison_images // batch_size // 4), "verbose": 2}
seen = 4 * schedule["steps_per_epoch"] * batch_size
print(f"each network will see {seen:,} images, in 4 parts")

# %%
runtime.set_seed(seed)
scratch = add_head(models.build_backbone(variant, weights=None, image_size=image_size), images.num_classes, dropout)
scratch.compile(keras.optimizers.Adam(0.001), loss="sparse_categorical_crossentropy", metrics=["accuracy"])
scratch_history = scratch.fit(train_batches(), **schedule).history

# %% [markdown]
# So short a training leaves one thing behind: the running means and variances of batch normalization still hold much
# of their initial values, and a network scored with them looks worse than it is. So they are computed afresh, from
# training images, before it is scored.

# %%
training.reestimate_batch_norm(scratch, train_batches().take(max(1, 128 // batch_size)))
scratch_report = evaluation.evaluate(scratch, images, "val")
records.record("scratch_val_accuracy", scratch_report.accuracy)
print(f"from random weights, {seen:,} images seen: {scratch_report}")

# %% [markdown]
# Nobody would stop here: this network is at the start of its training, and the number says nothing about where it
# would end after a hundred times as many images. It says where it is *for this budget*.
#
# ## Pretrained and frozen, the plain way
#
# Now the pretrained backbone, with the same images in the same order, equally often. Compile *after* freezing:
# `compile` is when Keras looks at what trains.

# %%
runtime.set_seed(seed)
model = add_head(backbone, images.num_classes, dropout)
freeze_backbone(model)
model.compile(keras.optimizers.Adam(learning_rate), loss="sparse_categorical_crossentropy", metrics=["accuracy"])
plain_history = model.fit(train_batches(), **schedule).history

# %%
plain_report = evaluation.evaluate(model, images, "val")
records.record("plain_val_accuracy", plain_report.accuracy)
print(f"pretrained and frozen, {seen:,} images seen: {plain_report}")
curves = {"random weights": scratch_history, "pretrained, frozen": plain_history}
plotting.learning_curves(curves, x_label=f"part of the {seen:,} images")

# %% [markdown]
# These are accuracies on training images while they were being learned from, so they start low, and noisily: each
# part has few images.
#
# ## Features once
#
# In the training you just saw, the frozen backbone computed the same features for an image every time it came by.
# Nothing about them can change, so once is enough. Cut the model after the pooling layer: below lies everything
# frozen, above it the head.

# %%
extractor, head = models.split_after(model, "head_pool")
computed = extractor.predict(images.batches("val", batch_size), verbose=0)
print(f"{len(computed)} validation images, {computed.shape[1]:,} features each")

# %% [markdown]
# That is all there is to it: one pass of `predict`. `training.extract_features` does this pass too, and keeps what
# comes out on disk with half the usual digits, which changes next to nothing.

# %%
features = training.extract_features(extractor, images, ("train", "val"), batch_size)
for split, part in features.items():
    found = "found in the cache" if part.reused else f"computed in {part.seconds:.0f} s"
    print(f"{split}: {part.values.shape} features, {found}")
print(f"largest difference to the pass above: {np.abs(features['val'].values - computed).max():.4f}")

# %% [markdown]
# The key they are kept under is made of the network's weights and settings and the contents of the images. Change any
# of them and they are computed again; change only the head, and they are found.
#
# Is training on them the same thing? The head starts from the same weights, sees the same features in the same order,
# and drops the same ones.

# %%
runtime.set_seed(seed)
model = add_head(backbone, images.num_classes, dropout)
freeze_backbone(model)
_, head = models.split_after(model, "head_pool")
batches = features["train"].batches(batch_size, shuffle=True, seed=seed)
head.compile(keras.optimizers.Adam(learning_rate), loss="sparse_categorical_crossentropy", metrics=["accuracy"])
head.fit(batches.repeat(), **schedule | {"verbose": 0})
difference = np.abs(head.predict(features["val"].values.astype("float32"), verbose=0) - plain_report.probabilities)
print(f"probabilities of {len(difference)} validation images: they differ by {difference.mean():.4f} on average")
records.record("head_difference", float(difference.mean()))
records.expect(difference.mean() < 0.01, "difference between the two heads", float(difference.mean()), "below 0.01")

# %% [markdown]
# They are the same head, up to what rounding does on the way. And now a pass costs a fraction of a second, so the
# head may as well be trained to the end. `training.fit_head` packs the steps above, and keeps the weights of the
# epoch with the lowest loss on the validation images.

# %%
runtime.set_seed(seed)
model = add_head(backbone, images.num_classes, dropout)
fit = training.fit_head(
    model, images, epochs=head_epochs, batch_size=batch_size, learning_rate=learning_rate, balance=balance, seed=seed
)
print(fit)

# %%
plotting.learning_curves({"head": fit.history})

# %% [markdown]
# ## What it gets right, and what not

# %%
report = evaluation.evaluate(model, images, "val")
records.record("val_accuracy", report.accuracy)
print(f"head on frozen features, validation: {report}")
plotting.accuracy_comparison(
    [
        ("always the same answer", majority.accuracy, *majority.interval),
        (f"random weights, {seen:,} images", scratch_report.accuracy, *scratch_report.interval),
        (f"pretrained, {seen:,} images", plain_report.accuracy, *plain_report.interval),
        ("pretrained, head trained to the end", report.accuracy, *report.interval),
    ],
    chance=1 / images.num_classes,
)

# %% [markdown]
# The bars' whiskers are 95 % intervals. They say how far the accuracy might move on other images of the same kind;
# with a few hundred images that is several points in each direction, so small differences between two runs mean
# little.
#
# Which classes are confused?

# %%
plotting.confusion(report)

# %%
plotting.per_class_recall(report)
worst = report.per_class.sort_values("recall").iloc[0]
records.record("lowest_recall", float(worst["recall"]))
interval = f"95 % interval {worst['recall_low']:.2f} to {worst['recall_high']:.2f}"
print(f"lowest recall: {worst['class']}, {worst['recall']:.2f} ({interval})")

# %% [markdown]
# *Recall* is the share of a class's images that is recognised. An accuracy over all classes can hide a class that is
# hardly recognised at all.
#
# And these are the mistakes that the network is surest of. Look at them before you blame the network; in photographs
# of your own you will find wrong labels among them.

# %%
mistakes = report.mistakes(top=6)
titles = [f"{m.true}\ntaken for {m.predicted} ({m.confidence:.2f})" for m in mistakes]
if mistakes:
    plotting.image_grid(
        [images.image("val", m.index) for m in mistakes], titles, columns=3, heading="Most confident mistakes"
    )

# %% [markdown]
# ## Is it the head, or the features?
#
# A better classifier on the same features might do better. Two others are quickly tried. The first is *logistic
# regression*. It is the same kind of function as our head, a weighted sum of each feature brought to a common scale,
# but instead of stepping towards good weights it finds the best ones outright. Its solution can therefore be poured
# into our head: the features' mean and variance into the batch normalization, its coefficients into the last layer.
# One number remains to be chosen on the validation images, how strongly weights are kept small.

# %%
solved_model = add_head(backbone, images.num_classes, dropout)
solved = training.solve_head(solved_model, images, balance=balance if balance == "class_weights" else None)
print(solved)
records.record("solved_val_accuracy", solved.val_accuracy)
losses = [f"{strength:g}: {loss:.3f}" for strength, loss in zip(training.STRENGTHS, solved.losses)]
print(f"validation loss by strength: {', '.join(losses)}; our head's {min(fit.history['val_loss']):.3f}")

# %% [markdown]
# The second is a *support vector machine*, whose boundaries may bend.

# %%
classifier = make_pipeline(StandardScaler(), SVC(C=10))
classifier.fit(features["train"].values.astype("float32"), features["train"].labels)
accuracy = classifier.score(features["val"].values.astype("float32"), features["val"].labels)
records.record("support_vector_machine_val_accuracy", accuracy)
print(f"our head: {report.accuracy:.3f}")

# %% [markdown]
# When such different classifiers end up close together, the classifier is hardly the limit. The features are. Two
# reasons are plain on the default images:
#
# - **They were learned for something else.** A shift of the whole pattern changes the texture everywhere, and the
#   features notice. A few threads out of place in one spot never decided between cat and espresso.
# - **Pooling dilutes what is small.** A flaw that shows in two of the regions of the last map is averaged with all
#   the others.
#
# Neither is cured by a better head. The features themselves must change, and that is notebook 05.

# %%
is_default = (dataset, variant, image_size, resize_mode, limit_per_class) == ("textile", "Lite0", 256, "pad", 500)
if is_default and head_epochs >= 10 and (learning_rate, comparison_images) == (0.002, 512):
    records.expect(report.accuracy >= 0.74, "validation accuracy of the head", report.accuracy, "0.74 or more")
    records.expect(
        scratch_report.accuracy < report.accuracy, "from scratch", scratch_report.accuracy, "below the head's"
    )

# %% [markdown]
# ## Recap
#
# - The most frequent class is the first thing to beat.
# - A head is pooling, batch normalization, dropout and one weighted sum. Freeze first, then compile.
# - From random weights the same budget of images gives much less; that is what pretraining is worth, for this budget.
# - Frozen features need computing once. A head on them trains in seconds and is the same head; or it is solved
#   outright, and there is nothing left to train.
# - Intervals, recall by class and the surest mistakes say what an accuracy hides.
#
# **The surprise:** features learned on cats and coffee get most textile images right, though no textile defect was
# ever shown to them.
#
# ## Exercises
#
# 1. How many labels do these features need? A solution follows.
# 2. Set `resize_mode` to "crop" and `image_size` to 224, and compare the accuracy. Notebook 03 shows what is lost.
# 3. Set `variant` to "Lite2". Are larger features better features here?

# %% tags=["solution"]
train, val = features["train"], features["val"]
for per_class in (10, 30, 100):
    kept = np.concatenate([np.flatnonzero(train.labels == c)[:per_class] for c in range(images.num_classes)])
    classifier.fit(train.values[kept].astype("float32"), train.labels[kept])
    accuracy = classifier.score(val.values.astype("float32"), val.labels)
    print(f"{per_class} labels a class: {accuracy:.3f}")

# %% [markdown]
# **Next:** [05 · Unfreezing](05_unfreezing.ipynb) lets the features change.
