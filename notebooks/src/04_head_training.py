# %% [markdown] tags=["slide"]
# # 04 · Training a head on a frozen backbone
#
# **How far do features learned on ImageNet carry on pictures that look like nothing in ImageNet?**
#
# ## What you will learn
#
# - to ask first what no learning at all would score
# - to put a head on a pretrained backbone, freeze the backbone, compile and fit
# - to see a network learn its images by heart, and to read that off loss and accuracy
# - to compute frozen features once, and train a head on them in seconds
# - to read a confusion matrix, recall with intervals, and the most confident mistakes
#
# | | |
# |---|---|
# | before you start | [03 · Data loading](03_data_loading.ipynb) |
# | takes | reading 18 minutes, running 2 minutes, 3 GB of memory on two CPU cores |
# | downloads | nothing |

# %%
from typing import Optional

from effnet_helpers import data, evaluation, models, plotting, records, runtime, training
from effnet_helpers.models import block_of, guard_pixel_range, set_stochastic_depth

import keras
import numpy as np
import pandas as pd
from sklearn.cluster import MiniBatchKMeans
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
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
comparison_images: int = 64  # images, at half the side, to train from random weights; 0 takes all at full size
head_epochs: int = 25  # passes over the features in the final training of the head
learning_rate: float = 0.002  # of Adam, for the head
group_by: Optional[str] = None  # pattern in file names of what must stay in one split, such as video[0-9]+
balance: Optional[str] = None  # for classes of different sizes, class_weights or balanced_sampling
split_seed: int = 0  # another seed gives another split
seed: int = 0  # for random weights, order of images and dropout

# %%
records.check(
    image_size=(image_size, 64, None),
    comparison_images=(comparison_images, 0, None),
    head_epochs=(head_epochs, 1, None),
    learning_rate=(learning_rate, 0.0, 1.0),
)
batch_size = training.use_device(0)
runtime.set_seed(seed)
options = {"image_size": image_size, "resize_mode": resize_mode, "split_seed": split_seed, "group_by": group_by}
options["limit_per_class"] = limit_per_class or None
images = data.load(dataset, **options)
print(f"{images.name}: {', '.join(images.class_names[:5])}{' …' if images.num_classes > 5 else ''}; {images.sizes}")

# %% [markdown]
# The default images are *simulated* textile, in three classes: a nominal weave, one with a shift of the whole
# pattern, and one with a small local flaw.
#
# ## What no learning would score
#
# The first [baseline](../docs/glossary.md#baseline) always answers with the most frequent class of the training images.
# Whatever you train must beat it, and by how much is easily overestimated where one class is frequent.
#
# Some sets have a second one. Where the classes are ImageNet's own, as the breeds of Stanford Dogs are, the network can
# name them as it comes: leave out its other answers. Mind what that means, though. Such a set is cut from ImageNet, so
# its *test images were probably seen* in [pre-training](../docs/glossary.md#pre-training), and every accuracy on it is
# too good.

# %%
majority = evaluation.majority_baseline(images, "val")
print(f"always the same answer: {majority}")

# %%
if images.wordnet_ids:
    classifier = models.build_imagenet_classifier(variant)
    untrained = models.restrict_to_wordnet_ids(classifier, images.wordnet_ids)
    at_its_size = data.load(dataset, **options | {"image_size": classifier.input_shape[1]})
    untrained_report = evaluation.evaluate(untrained, at_its_size, "val")
    records.record("zero_training_val_accuracy", untrained_report.accuracy)
    print(f"ImageNet's own answers, without any training: {untrained_report}")
else:
    print(f"the classes of {images.name} are not ImageNet's, so there is no second baseline here")

# %% [markdown]
# ## A head on a backbone
#
# Notebook 01 ended with the finding that the top of a network is only a weighted sum of features. So: take the
# [backbone](../docs/glossary.md#backbone), the network without its top, and put a new top on it. We call it the
# [head](../docs/glossary.md#head). It averages each feature over the image
# ([pooling](../docs/glossary.md#pooling)), brings all features to a common scale
# ([batch normalization](../docs/glossary.md#batch-normalization)), leaves some out at random in training
# ([dropout](../docs/glossary.md#dropout), which keeps it from leaning on a few), and ends in one probability for each
# class.


# %% tags=["shows:effnet_helpers.models.add_head", "slide-code"]
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
# *Freezing* means that training does not change a layer. Every block of the backbone gets `trainable = False`, and
# [stochastic depth](../docs/glossary.md#stochastic-depth), which skips blocks at random in training, is put to rest:
# why that takes a line of its own, you will see in a moment.


# %% tags=["shows:effnet_helpers.models.freeze_backbone", "slide-code"]
def freeze_backbone(model: keras.Model) -> None:
    for layer in model.layers:
        if block_of(layer):
            layer.trainable = False
            set_stochastic_depth(layer, active=False)


# %% [markdown]
# ### In plain Keras
#
# Without any helper the same thing is this, on the network that the course is named after. The lines are those of the
# [well-known Keras example](https://keras.io/examples/vision/image_classification_efficientnet_fine_tuning/), but for
# two: `weights` is "imagenet" there and random here, so that nothing is downloaded, and the loss here takes plain
# labels (it comes to the same). The second cell builds the network with the helpers and compares layer by layer:
# kind, shape, settings that matter in training, and in the end the number of parameters that train.

# %%
base = keras.applications.EfficientNetB0(include_top=False, weights=None, input_shape=(224, 224, 3))
base.trainable = False
x = keras.layers.GlobalAveragePooling2D()(base.output)
x = keras.layers.Dropout(0.2)(keras.layers.BatchNormalization()(x))
plain = keras.Model(base.input, keras.layers.Dense(images.num_classes, activation="softmax")(x))
plain.compile(keras.optimizers.Adam(0.01), loss="sparse_categorical_crossentropy", metrics=["accuracy"])

# %% tags=["nbval-check-output"]
ours = add_head(models.build_backbone("B0", weights=None, image_size=224), images.num_classes)
freeze_backbone(ours)
for theirs, mine in zip(plain.layers, ours.layers, strict=True):
    same = type(theirs) is type(mine) and theirs.output.shape == mine.output.shape
    records.expect(same, "a layer of the helpers", mine.name, f"the same as {theirs.name}")
    for setting in ("rate", "momentum"):
        before, here = getattr(theirs, setting, None), getattr(mine, setting, None)
        if before != here:
            print(f"{mine.name}: {setting} is {before:.3g} in plain Keras, {here:.3g} here")
for name, network in {"plain Keras": plain, "our helpers": ours}.items():
    trained = sum(int(np.prod(weight.shape)) for weight in network.trainable_weights)
    print(f"{name}: {len(network.layers)} layers, {network.count_params():,} parameters, {trained:,} trainable")

# %% [markdown]
# The same layers, and the same few thousand numbers that train. Two settings differ, and both on purpose. The head's
# batch normalization keeps [running averages](../docs/glossary.md#batch-normalization), and with a momentum of 0.99
# these need a few hundred steps before they forget where they started; with 0.9, a few dozen. And the blocks' `rate`:
# see what `trainable = False` means to the two kinds of layers that behave in one way in training and in another in
# [inference](../docs/glossary.md#inference-mode).

# %% tags=["nbval-check-output"]
numbers = np.random.default_rng(0).normal(size=(8, 7, 7, 192)).astype("float32")
for name in ("block6d_project_bn", "block6d_drop"):
    layer = plain.get_layer(name)
    same = np.allclose(layer(numbers, training=True), layer(numbers, training=False))
    print(f"{name}, frozen: {'the same' if same else 'not the same'} in training as in inference")

# %% [markdown]
# Frozen batch normalization goes by the averages that it has stored, and no longer by those of the batch; Keras does
# that on its own. Dropout does not care whether it is frozen: with plain Keras the frozen blocks would still be skipped
# at random, and the same image would give other features in every pass. `freeze_backbone` sets their rate to 0.
#
# ## From random weights
#
# How much of what follows is due to ImageNet? Train the same network from random weights beside the frozen one: the
# same images in the same batches, equally often. From random weights everything must train, so nothing is frozen, and
# the learning rate is a usual one for that.
#
# So that there is something to see within a minute, both get few images, at half the side, many times over. Look at
# two things in every line: the *training* images, which the network learns from, and the *validation* images, which
# it never does. And keep one number in mind. To guess evenly among K classes costs a
# [loss](../docs/glossary.md#loss) of [log K](../docs/glossary.md#log-k): whoever has a loss above it would do better to
# guess.
#
# An "epoch" is four passes over the few images here. One thing needs help in so short a training from random weights:
# the running averages of batch normalization still hold much of their initial values, and a network that is scored
# with them looks worse than it is. A [callback](../docs/glossary.md#callback) computes them afresh, from training
# images, before each validation. The frozen network does without: only its head's averages move.

# %%
number = min(max(comparison_images, 4), images.sizes["train"]) if comparison_images else images.sizes["train"]
small = data.load(dataset, **options | {"image_size": image_size // 2 if comparison_images else image_size})
few_batch = min(batch_size, max(2, number // 4))


def first_few(batches):
    return batches.take(number // few_batch).cache() if comparison_images else batches


few = first_few(small.batches("train", few_batch, shuffle=True, seed=seed, cache=True))
schedule = {"epochs": 6, "steps_per_epoch": 4 * (number // few_batch)}
validation = small.batches("val", batch_size, cache=True)
print(f"{number:,} training images, seen 24 times each; log K is {np.log(images.num_classes):.3f}")

# %%
runtime.set_seed(seed)
scratch = add_head(models.build_backbone(variant, weights=None, image_size=small.image_size), images.num_classes)
scratch.compile(keras.optimizers.Adam(0.001), loss="sparse_categorical_crossentropy", metrics=["accuracy"])
fresh_averages = training.ReestimateBatchNorm(few if comparison_images else few.take(8))
watch = {"validation_data": validation, "verbose": 2}
scratch_history = scratch.fit(few.repeat(), callbacks=[fresh_averages], **schedule, **watch).history

# %% [markdown]
# Now the pretrained backbone, frozen. Compile *after* freezing: once a network has taken a step, Keras goes on with
# what was trainable then, until the next `compile`.

# %%
backbone = models.build_backbone(variant, image_size=small.image_size)
runtime.set_seed(seed)
model = add_head(backbone, images.num_classes)
freeze_backbone(model)
model.compile(keras.optimizers.Adam(learning_rate), loss="sparse_categorical_crossentropy", metrics=["accuracy"])
frozen_history = model.fit(few.repeat(), **schedule, **watch).history

# %% tags=["slide"]
curves = {"random weights": scratch_history, "pretrained, frozen": frozen_history}
plotting.learning_curves(curves, x_label="four passes", num_classes=images.num_classes)
for name, history in {"scratch": scratch_history, "frozen": frozen_history}.items():
    train_accuracy, val_accuracy = history["accuracy"][-1], history["val_accuracy"][-1]
    records.record(f"{name}_val_accuracy", val_accuracy)
    print(f"{name}: in the end {train_accuracy:.3f} of training and {val_accuracy:.3f} of validation images are right")

# %% [markdown]
# This is [overfitting](../docs/glossary.md#overfitting), as a curve. From random weights the training curves look like
# success: accuracy rises, and loss falls below log K. On images that the network did not train on nothing of the kind
# happens: accuracy stays far below that, for most of the way about where guessing is, and the validation loss lies
# *above* log K. It is wrong, and sure of it. It learned its images by heart, not what tells the classes apart, and the
# training curve alone would not have told you.
#
# Of the frozen network all but the head stands still, and what its features know carries over to new images. But its
# head overfits as well: while the training loss goes on falling, the validation loss turns and rises.
#
# What this does *not* say is where training from random weights would end with very many images. That is how the
# ImageNet weights came about. It says how far it comes with *these few*.
#
# ## Features once
#
# In the training you just saw, the frozen backbone computed the same features for an image every time it came by.
# Nothing about them can change, so once is enough. Cut the model after the pooling layer: below lies everything
# frozen, above it the head. `training.extract_features` is one pass of `predict` through the lower part, whose result
# is kept on disk with half the usual digits, under a key made of the network's weights and the contents of the images.
#
# Is training on them the same thing? The second cell finds out. The head starts from the same weights, sees the same
# features in the same order, and drops the same ones.

# %% tags=["slide-code"]
extractor, _ = models.split_after(model, "head_pool")
features = training.extract_features(extractor, small, ("train", "val"), batch_size)
for split, part in features.items():
    found = "found in the cache" if part.reused else f"computed in {part.seconds:.0f} s"
    print(f"{split}: {part.values.shape}, {found}")

# %%
runtime.set_seed(seed)
_, head = models.split_after(add_head(backbone, images.num_classes), "head_pool")
head.compile(keras.optimizers.Adam(learning_rate), loss="sparse_categorical_crossentropy", metrics=["accuracy"])
few_features = first_few(features["train"].batches(few_batch, shuffle=True, seed=seed))
head.fit(few_features.repeat(), **schedule, verbose=0)
of_features = head.predict(np.float32(features["val"].values), verbose=0)
difference = np.abs(of_features - model.predict(validation, verbose=0)).mean()
records.record("head_difference", difference)
print(f"probabilities of {len(of_features)} validation images differ by {difference:.5f} on average")

# %% [markdown]
# They are the same head, up to what rounding does on the way. And now a pass costs a fraction of a second, so the head
# may as well be trained on *all* training images, at their full size, to the end. `training.fit_head` packs the steps
# above, and keeps the weights of the epoch with the lowest loss on the validation images.
#
# Does [augmentation](../docs/glossary.md#augmentation) help a frozen head? Features of augmented images can be kept as
# well. The second cell keeps for each training image those of the image as it is and of one more version, mirrored at
# random.

# %% tags=["slide"]
backbone = models.build_backbone(variant, image_size=image_size)
runtime.set_seed(seed)
model = add_head(backbone, images.num_classes)
recipe = {"epochs": head_epochs, "batch_size": batch_size, "learning_rate": learning_rate, "balance": balance}
fit = training.fit_head(model, images, **recipe, seed=seed)
plotting.learning_curves({"head": fit.history}, num_classes=images.num_classes, kept=fit.best_epoch)

# %%
runtime.set_seed(seed)
mirrored = {"views": 2, "augment": {"flip": "both" if dataset == "textile" else "horizontal"}}
augmented = training.fit_head(add_head(backbone, images.num_classes), images, **recipe, seed=seed, **mirrored)
records.record("augmented_val_accuracy", augmented.val_accuracy)
print(f"validation accuracy without augmentation {fit.val_accuracy:.3f}, with it {augmented.val_accuracy:.3f}")
over_seeds = evaluation.measured("frozen_head").groupby("input", sort=False)["val_accuracy"].describe().round(3)
over_seeds.filter(like="averages", axis=0)[["count", "mean", "min", "max"]]

# %% [markdown]
# The marked epoch is the one whose weights are kept. After it the loss on training images still falls, and that on
# validation images no longer does. Both lie far below log K, which is above the frame.
#
# Does augmentation help? One pair of trainings cannot tell, so the table has what three training seeds gave on the
# default images. The differences are smaller than those between the seeds: no gain that this could show. It is not
# surprising. A frozen backbone cannot learn from new views; all that they could give the head is a better choice
# among features that are there already. And to mirror is to claim that a picture means the same both ways round,
# which need not be true of a weave (notebook 05 returns to it).
#
# ## What it gets right, and what not
#
# In a row of the [confusion matrix](../docs/glossary.md#confusion-matrix) stands a true class, in a column what it was
# taken for. An accuracy over all classes can hide a class that is hardly recognised at all, so look at each:
# [*recall*](../docs/glossary.md#recall) is the share of a class's images that is recognised. The whiskers are 95 %
# intervals. They say how far a figure might move on other images of the same kind, and with a few dozen images of a
# class that is a long way.

# %% tags=["slide"]
report = evaluation.evaluate(model, images, "val")
records.record("val_accuracy", report.accuracy)
print(f"head on frozen features, validation: {report}")
plotting.confusion(report)

# %% tags=["slide"]
plotting.per_class_recall(report)
worst = report.per_class.sort_values("recall").iloc[0]
records.record("lowest_recall", float(worst["recall"]))
interval = f"95 % interval {worst['recall_low']:.2f} to {worst['recall_high']:.2f}"
print(f"lowest recall: {worst['class']}, {worst['recall']:.2f} ({interval})")

# %% [markdown]
# And these are the mistakes that the network is surest of. Look at them before you blame the network; in photographs
# of your own you will find wrong labels among them.

# %% tags=["slide"]
mistakes = report.mistakes(top=6)
titles = [f"{m.true}\ntaken for {m.predicted} ({m.confidence:.2f})" for m in mistakes]
if mistakes:
    plotting.image_grid(
        [images.image("val", m.index) for m in mistakes], titles, columns=3, heading="Most confident mistakes"
    )

# %% [markdown]
# ## Is it the head, or what the head is given?
#
# Two other classifiers are quickly tried on the same features. The first is
# [*logistic regression*](../docs/glossary.md#logistic-regression). It is the same kind of function as our head, a
# weighted sum of each feature brought to a common scale, but instead of stepping towards good weights it finds the best
# ones outright. Its solution can be poured into our head: the features' mean and variance into the batch
# normalization, its coefficients into the last layer. How strongly weights are kept small is chosen on the validation
# images.
#
# The second is a *support vector machine*, whose boundaries may bend. It gets the features on the same scale, and its
# strength is chosen on the validation images as well. The scale matters more than it seems. Many of the features hardly
# vary at all; brought to variance 1 they would count as much as the others, and be little but noise. Batch
# normalization adds a small number, its `epsilon`, to each variance before it divides, so that they stay small.

# %%
solved_model = add_head(backbone, images.num_classes)
solved = training.solve_head(solved_model, images, balance=balance if balance == "class_weights" else None)
solved_report = evaluation.evaluate(solved_model, images, "val")
records.record("solved_val_accuracy", solved_report.accuracy)
print(solved)

# %%
features = training.extract_features(models.split_after(model, "head_pool")[0], images, ("train", "val"), batch_size)
scale = solved_model.get_layer("head_bn")
train, val = (np.asarray(scale(np.float32(part.values))) for part in features.values())
labels, val_labels = features["train"].labels, features["val"].labels
machines = [SVC(C=strength).fit(train, labels) for strength in (0.1, 1, 10, 100)]
machine = max(machines, key=lambda each: each.score(val, val_labels))
machine_right = machine.predict(val) == val_labels
records.record("support_vector_machine_val_accuracy", machine_right.mean())
below = (scale.moving_variance.numpy() < scale.epsilon).mean()
print(f"{below:.0%} of the features vary by less than epsilon; the machine's strength is {machine.C:g}")

# %% [markdown]
# So each of the three had something chosen for it on these very images, out of 25 epochs or of 4 strengths; all three
# figures are a little too good for that, and alike in it. How do they compare? Not by their accuracies alone, since
# they err on many of the same images. What tells two classifiers apart are the images that only one of them gets right.

# %%
of_head, of_solved = (each.probabilities.argmax(axis=1) == val_labels for each in (report, solved_report))
right = {"head, trained by steps": of_head, "logistic regression": of_solved, "support vector machine": machine_right}
rows = {name: [each.mean(), *evaluation.accuracy_interval(each.sum(), len(each))] for name, each in right.items()}
table = pd.DataFrame(rows, index=["accuracy", "from", "to"]).T.round(3)
table["right where the head is wrong"] = [(each & ~of_head).sum() for each in right.values()]
table["wrong where the head is right"] = [(of_head & ~each).sum() for each in right.values()]
table

# %% [markdown]
# Each lies well inside the others' interval, and each gains about as many images as it loses: with so many validation
# images they cannot be told apart. That is all the table shows. It does not show that no better classifier exists, and
# not that the network sees no more than this. But it makes another suspect worth a look, the one thing that all three
# share: **they are given averages**. A shift of the whole pattern changes every region, so also the average. A flaw
# that shows in two regions of the last map is averaged with all the others.
#
# So leave the network as it is, frozen, and the classifier too. Change only what is handed over. Half-way up, after
# block 4, the network describes each of many small regions by its own list of features. Two ways to sum up an image:
# average the lists, as before, or *count*: sort all regions into 200 kinds that are found without labels (k-means, on
# features that are [whitened](../docs/glossary.md#whitening) first), and say for each image how many of its regions
# are of which kind. What is rare keeps a number of its own. (Large counts vary more than small ones, their square
# roots about alike, so the classifier gets these.)

# %%
lower, _ = models.split_at_block(backbone, "block5a")
maps = {split: np.float32(part.values) for split, part in training.extract_features(lower, images).items()}
kernel, bias = training.whitening(maps["train"])  # no feature repeats another, and all vary alike
regions = {split: values.reshape(-1, values.shape[-1]) @ kernel + bias for split, values in maps.items()}
some = np.random.default_rng(seed).choice(regions["train"], 20_000, axis=0)
kinds = MiniBatchKMeans(200, n_init=1, random_state=seed).fit(some)


# %% tags=["slide"]
of_kind = {split: kinds.predict(values).reshape(len(maps[split]), -1) for split, values in regions.items()}
counts = {split: np.stack([np.bincount(each, minlength=200) for each in of_kind[split]]) for split in of_kind}


def classify(train_values, val_values):
    """Logistic regression as above: scaled alike, the strength chosen among the same four by validation loss."""
    spread = np.sqrt(train_values.var(axis=0) + scale.epsilon)
    x, v = ((values - train_values.mean(axis=0)) / spread for values in (train_values, val_values))
    fits = [LogisticRegression(C=strength, max_iter=1000).fit(x, labels) for strength in training.STRENGTHS]
    return min(fits, key=lambda each: log_loss(val_labels, each.predict_proba(v))).predict(v) == val_labels


right["after block 4, averaged"] = classify(*(values.mean(axis=(1, 2)) for values in maps.values()))
right["after block 4, counted"] = classify(*(np.sqrt(values) for values in counts.values()))
records.record("averaged_block4_val_accuracy", right["after block 4, averaged"].mean())
records.record("counted_block4_val_accuracy", right["after block 4, counted"].mean())
bars = {"always the same answer": majority.probabilities.argmax(axis=1) == val_labels} | right
intervals = [(name, each.mean(), *evaluation.accuracy_interval(each.sum(), len(each))) for name, each in bars.items()]
plotting.accuracy_comparison(intervals, chance=1 / images.num_classes)
over_seeds.filter(like="counts", axis=0)[["count", "mean", "min", "max"]]

# %% [markdown]
# Averages taken earlier are no better than those of the last layer. Counts of the same regions, from the same frozen
# weights, with the same classifier, are: compare the last two bars.
#
# What must be said beside it: the strength was chosen on these very images, and so was the way to sum up. We had tried
# the maximum and the spread over the regions, which did not help, and counts of fewer kinds. The table has all starts
# of k-means that we measured on the default images. With 100 kinds from random starts it depends on luck whether a kind
# is left for what is rare; with 200, from starts that lie far apart (k-means++), each of them did better than any
# classifier of averages. So it is a proof that the frozen features *hold* more than their average tells, and no recipe.
#
# So what held our three classifiers back were not the frozen features as such, but **the average over the image of
# the last layer's features**. There are two ways on. Let the features change until even their average tells the
# classes apart: notebook 05. Or keep them frozen, take earlier ones, and pool with more care, which pays most where
# labels are few: notebook 07. For photographs with one large object in the middle the average loses little (notebook
# 05 has cats and dogs), and the head you trained here may be all you need.

# %% [markdown] tags=["slide"]
# ## Recap
#
# - The most frequent class is the first thing to beat.
# - A head is pooling, batch normalization, dropout and one weighted sum. Freeze first, then compile.
# - From random weights a network learns a few images by heart. Training accuracy alone does not tell; a validation loss
#   above log K says worse than guessing.
# - Frozen features need computing once. A head on them trains in seconds and is the same head; or it is solved
#   outright, and there is nothing left to train.
# - Intervals, recall by class and the surest mistakes say what an accuracy hides, and classifiers are compared on the
#   images that only one of them gets right.
#
# **The surprise:** the frozen network, which never saw a textile, had noticed most of the flaws that its head missed.
# They were lost in the average.
#
# **Practise:** [exercises 04](exercises/04_head_training.ipynb)
#
# **Next:** [05 · Unfreezing](05_unfreezing.ipynb) lets the features change.
