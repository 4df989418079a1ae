# %% [markdown]
# # 05 · Unfreezing
#
# **How do you let pretrained features change without losing what they know?**
#
# ## What you will learn
#
# - to unfreeze whole blocks from the top down, and keep batch normalization frozen
# - to start from a fitted head, with a small learning rate that rises and then falls
# - to compute the frozen part once and train only the rest
# - what each of these choices is worth, measured instead of asserted
# - what to do when there are a hundred labels and not a thousand
# - to see where the network looks, to score the test split once, and to hand the model over
#
# | | |
# |---|---|
# | before you start | [04 · Head training](04_head_training.ipynb) |
# | takes | about seven minutes and 3 GB of memory on two CPU cores |
# | downloads | nothing |

# %%
import math
import tempfile
from pathlib import Path
from typing import Optional

from effnet_helpers import data, evaluation, models, plotting, records, runtime, training
from effnet_helpers.data import draw_images, share_out_labels
from effnet_helpers.models import (
    block_names,
    block_of,
    first_block_to_train,
    guard_pixel_range,
    set_stochastic_depth,
    trainable_table,
)
from effnet_helpers.training import FLOOR

import keras
import numpy as np
import pandas as pd
from sklearn.decomposition import PCA

print(runtime.describe())

# %% [markdown]
# What you may want to change:

# %% tags=["parameters"]
dataset: str = "textile"  # textile, folder:PATH, csv:FILE, stanford_dogs, or tfds:NAME
variant: str = "Lite0"  # which EfficientNet
image_size: int = 256  # side of the square images in pixels
resize_mode: str = "pad"  # crop, pad or squash
limit_per_class: int = 500  # use at most so many images of each class, 0 uses all
batch_size: int = 32  # images in a step, 0 takes 32 on a processor and 64 on a GPU
head_epochs: int = 15  # passes over the features for the head
from_block: Optional[str] = None  # lowest block that trains, None goes by a rule
steps: int = 120  # of the optimizer with these blocks unfrozen
learning_rate: float = 0.0005  # of Adam, at its peak
trial_block: str = "block6b"  # lowest block that trains in the comparisons
trial_per_class: int = 80  # training images of each class in the comparisons
trial_steps: int = 24  # steps of each comparison, 0 leaves the comparisons out
trial_learning_rate: float = 0.0001  # peak of the learning rate in the comparisons, lower since there are few steps
few_labels: int = 100  # training labels in the section on few labels, 0 leaves it out
map_class: str = "local"  # class whose activation maps are drawn, the hardest one if there is no such class
group_by: Optional[str] = None  # pattern in file names of what must stay in one split, such as video[0-9]+
balance: Optional[str] = None  # for classes of different sizes, class_weights or balanced_sampling
split_seed: int = 0  # another seed gives another split
save_to: Optional[str] = None  # path of a .keras file to keep the model in, for effnet predict
seed: int = 0  # for the head, order of images and dropout

# %%
batch_size = training.use_device(batch_size)
if save_to:
    models.check_save_path(save_to)
records.expect(0 < learning_rate < 1, "learning_rate", learning_rate, "a number between 0 and 1")
records.expect(0 < trial_learning_rate < 1, "trial_learning_rate", trial_learning_rate, "a number between 0 and 1")
for name, value, least in (
    ("head_epochs", head_epochs, 1),
    ("steps", steps, 1),
    ("trial_steps", trial_steps, 0),
    ("few_labels", few_labels, 0),
    ("batch_size", batch_size, 2),
):
    records.expect(isinstance(value, int) and value >= least, name, value, f"a whole number from {least} up")
runtime.set_seed(seed)
options = {"image_size": image_size, "resize_mode": resize_mode, "split_seed": split_seed, "group_by": group_by}
images = data.load(dataset, **options, limit_per_class=limit_per_class or None)
backbone = models.build_backbone(variant, image_size=image_size)
for block in (from_block or trial_block, trial_block):
    records.expect(block in block_names(backbone)[1:], "block", block, f"one of {', '.join(block_names(backbone)[1:])}")

# %% [markdown]
# The default images are *simulated* textile: nominal, shifted as a whole, or with a small local flaw.
#
# ## First the head
#
# Everything on this page starts from a fitted head, as in notebook 04. A new head is random, and its first steps
# would send large, random corrections down into the pretrained blocks. So the head comes first, and only then is
# anything unfrozen.

# %%
model = models.add_head(backbone, images.num_classes)
fit = training.fit_head(model, images, epochs=head_epochs, batch_size=batch_size, balance=balance, seed=seed)
head_report = evaluation.evaluate(model, images, "val")
print(fit)
records.record("head_val_accuracy", head_report.accuracy)

# %% [markdown]
# Remember this state: the comparisons below all start from it. And remember what the network goes by now, on a few
# validation images of one class; in the default set, the one with a small flaw.

# %%
fitted_weights = model.get_weights()
recall = head_report.per_class["recall"].to_numpy()
looked_at = images.class_names.index(map_class) if map_class in images.class_names else int(recall.argmin())
wanted = [int(i) for i in np.flatnonzero(images.labels("val") == looked_at)[:3]]
pictures = np.stack([images.image("val", i) for i in wanted]).astype("float32")
maps_before = evaluation.class_activation_map(model, pictures, looked_at)
print(f"recall of {images.class_names[looked_at]} with the head alone: {recall[looked_at]:.2f}")

# %% [markdown]
# ## Whole blocks, from the top down
#
# The first blocks of a network see edges and textures of a few pixels; the last ones see parts of ImageNet's objects.
# The further your pictures are from ImageNet, the further down you must go. Three rules:
#
# - **Whole blocks.** Most blocks add their input to their output, so a block is the smallest part that makes sense by
#   itself. ("Unfreeze the last 20 layers", as one often reads, stops in the middle of one.)
# - **Batch normalization stays frozen**, in inference mode. Its means and variances were gathered over a million
#   images; a few batches of yours would replace them by noise, and all blocks above were trained to expect the old
#   ones.
# - **Stochastic depth acts only in blocks that train.**
#
# How far down, then? The head tells. Where it is right nearly always, the features fit already, and only the upper
# blocks need to move; where it is not, the features must change, if there are images enough to learn it from.

# %%
chosen = {"from_block": from_block, "learning_rate": learning_rate, "steps": steps, "batch_size": batch_size}
recipe = training.choose_recipe(images.sizes["train"], head_report.accuracy, **chosen)
from_block = recipe.from_block
print(recipe)

# %% [markdown]
# Opening blocks is a matter of `trainable`, layer by layer:


# %% tags=["shows:effnet_helpers.models.unfreeze_blocks"]
def unfreeze_blocks(model: keras.Model, last: int | None = None, from_block: str | None = None) -> pd.DataFrame:
    blocks = block_names(model)
    trained = blocks[first_block_to_train(blocks, last, from_block) :]
    for layer in model.layers:
        if block_of(layer):
            is_batch_norm = isinstance(layer, keras.layers.BatchNormalization)
            layer.trainable = block_of(layer) in trained and not is_batch_norm
            set_stochastic_depth(layer, active=block_of(layer) in trained)
    return trainable_table(model)


# %% tags=["nbval-check-output"]
table = unfreeze_blocks(model, from_block=from_block)
trained, frozen = table["trainable"].sum(), table["frozen"].sum()
print(f"{table['trains'].sum()} of {len(table)} parts train: {trained:,} parameters; {frozen:,} stay as they are")
print(table.to_string())

# %% [markdown]
# ## Cut, compute the lower part once, train the upper
#
# What was done for the head in notebook 04 works at any block: below `from_block` nothing trains and nothing is
# random, so its output for each image is computed once. Only the part above runs in every pass.

# %%
prefix, tail = models.split_at_block(model, from_block)
parts = training.extract_features(prefix, images, ("train", "val"), batch_size)
for split, part in parts.items():
    found = "found in the cache" if part.reused else f"computed in {part.seconds:.0f} s"
    print(f"{split}: {part.values.shape}, {part.values.nbytes / 1e6:.0f} MB, {found}")

# %% [markdown]
# How much of the work is saved? Count the multiplications on either side of the cut.

# %%
below, above = models.count_multiply_adds(prefix), models.count_multiply_adds(tail)
print(f"{below / (below + above):.0%} of the multiply-adds lie below {from_block}, {above / (below + above):.0%} above")

# %% [markdown]
# Is it worth it? Keeping activations costs space, and pays the more, the more often they are used. With augmented
# images there is something to weigh: a few versions of each image can be kept, and shown in turn, or the whole network
# runs on ever new ones. `plan_prefix` counts before anything is computed, and `fine_tune` goes by it.

# %%
passes = steps / math.ceil(images.sizes["train"] / batch_size)
print(training.plan_prefix(model, images, passes=passes))
print(training.plan_prefix(model, images, passes=10, augment={"flip": "both"}, views=4))

# %% [markdown]
# ## A learning rate that rises and falls
#
# The pretrained weights are good already. A large step at the start would throw them away before Adam has learned
# which way is down and how large its gradients are, so the rate rises over the first thirty steps (*warm-up*). Then it
# falls along half a cosine, so that the last steps settle instead of jumping about.


# %% tags=["shows:effnet_helpers.training.warmup_cosine"]
def warmup_cosine(peak: float, steps: int, warmup_steps: int = 0) -> keras.optimizers.schedules.LearningRateSchedule:
    if not 0 <= warmup_steps < steps:
        raise ValueError(
            f"Warm-up must be shorter than training. Received: {warmup_steps} of {steps} steps for warm-up"
        )
    if warmup_steps == 0:
        return keras.optimizers.schedules.CosineDecay(peak, steps)
    return keras.optimizers.schedules.CosineDecay(
        0.0, steps - warmup_steps, warmup_target=peak, warmup_steps=warmup_steps
    )


# %% [markdown]
# How high should the peak be? `make bench ROW=recipes` has tried three on pictures unlike each other: two sets of
# photographs, micrographs, magnetic tiles, and this textile. Here is what validation says after 30 steps, which rise
# and fall like a whole training, and after 150; one run each, so a difference of a point is nothing.

# %%
runs = evaluation.measured("recipes").query("seed == 0")
rates = {"peak 1e-4": "0.0001", "base": "0.0003", "peak 1e-3": "0.001"}
tried = runs[runs["candidate"].isin(rates) & runs["steps"].isin([30, 150])].replace({"candidate": rates})
tried.pivot_table(index="set", columns=["steps", "candidate"], values="last_accuracy", aggfunc="first").round(3)

# %% [markdown]
# After 30 steps 0.001 is last on all of them, and 0.0001 first on both sets of photographs. After 150 steps 0.001 is
# first on textile, where it had been last, and 0.0003 has overtaken 0.0001 on flowers. A short trial favours small
# steps, because it ends before the large ones pay: the *short-horizon bias*
# ([arXiv 1803.02021](https://arxiv.org/abs/1803.02021)). So the rate is not found by trying for a minute. 0.0003 is
# within 2.2 points of the best on each set, and is what `training.fine_tune` takes; with its fewer steps, this page
# takes 0.0005.

# %% [markdown]
# Keras has both halves of the schedule built in; put together for this run, they look like this:

# %%
schedule = warmup_cosine(learning_rate, steps, min(30, steps // 2))
plotting.schedule([float(schedule(step)) for step in range(steps)])

# %% [markdown]
# ## Never worse than the head
#
# Length is counted in steps of the optimizer, not in passes over the images: three passes over five hundred images are
# 48 steps, over five thousand 471. Left alone, `training.fine_tune` takes 300. This page makes do with fewer, to keep
# within its minutes.
#
# Compile after unfreezing, as always, and fit. Validation comes every tenth of the way, and two callbacks go with it:
#
# - `KeepBest` counts the fitted head as epoch 0. The weights with the highest validation accuracy are put back at the
#   end, of equal ones those with the lowest loss; if none is better than the head, the head stays.
# - `ReestimateBatchNorm` computes the statistics of the head's batch normalization afresh before each validation. While
#   the blocks below learn, their features move by whole standard deviations within a few steps, and no running average
#   follows. Without it a network that has learned looks as if it had collapsed.

# %%
order, class_weight = training.balancing(images, balance)
train, sample = (parts["train"].batches(batch_size, shuffle=True, **order, seed=seed) for _ in range(2))
val = parts["val"].batches(batch_size)
tail.compile(keras.optimizers.Adam(schedule), loss="sparse_categorical_crossentropy", metrics=["accuracy"])
keep_best = training.KeepBest(model, start=tail.evaluate(val, verbose=0))
callbacks = [training.ReestimateBatchNorm(list(sample.take(8))), keep_best]

# %%
every = math.ceil(steps / 10)
length = {"epochs": math.ceil(steps / every), "steps_per_epoch": every, "class_weight": class_weight, "verbose": 2}
history = tail.fit(train.repeat(), validation_data=val, callbacks=callbacks, **length).history
kept = f"of validation {keep_best.best_epoch}" if keep_best.best_epoch else "of the head, than which none was better,"
print(f"The weights {kept} are in the model now.")

# %% [markdown]
# How it went, an epoch being the stretch between two validations, and where it ended beside where it began:

# %%
plotting.learning_curves({"fine-tuned": history})
report = evaluation.evaluate(model, images, "val")
records.record("val_accuracy", report.accuracy)
print(f"head alone:  {head_report}")
print(f"fine-tuned:  {report}")

# %% [markdown]
# The tail shares its layers with `model`, so it is `model` that has been fine-tuned, and it takes images as before.
# `training.fine_tune` packs the steps of this section for later use.
#
# ## What was each choice worth?
#
# Advice like the three rules above is easily repeated and seldom checked. So here are the comparisons, each starting
# from the same fitted head, with the same seed. They train on *fewer images* and fewer blocks, to fit into a minute
# or two, so compare them with each other and not with the result above. The head they start from has seen all images.

# %%
few = images.with_fewer(trial_per_class)
tuned_weights, trials = model.get_weights(), []


def trial(name, prepare, **extra):
    runtime.set_seed(seed)
    model.set_weights(fitted_weights)
    prepare(model)
    fit = training.fine_tune(model, few, steps=trial_steps, learning_rate=trial_learning_rate, seed=seed, **extra)
    accuracies = (fit.history["accuracy"][-1], fit.history["val_accuracy"][-1])
    trials.append((name, fit.trained_parameters, *accuracies, fit.seconds))


# %% [markdown]
# Two of the trials break a rule on purpose, and the last one augments. One lets batch normalization live in the
# blocks that train. The other starts in the middle of a block: it leaves out the lower half of the layers of the
# first block that should train.


# %%
def with_live_batch_norm(model):
    trains = set(unfreeze_blocks(model, from_block=trial_block).query("trains").index)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization) and block_of(layer) in trains:
            layer.trainable = True


def with_a_cut_inside(model):
    unfreeze_blocks(model, from_block=trial_block)
    first_block = [layer for layer in model.layers if block_of(layer) == trial_block]
    for layer in first_block[: len(first_block) // 2]:
        layer.trainable = False


# %%
if trial_steps:
    trial("only the top block", lambda model: unfreeze_blocks(model, last=1))
    trial(f"from {trial_block}", lambda model: unfreeze_blocks(model, from_block=trial_block))
    trial(f"from inside {trial_block}", with_a_cut_inside)
    trial(f"from {trial_block}, batch norm live", with_live_batch_norm)
    augment = {"flip": "both", "translation": 0.05}
    trial(
        f"from {trial_block}, augmented", lambda model: unfreeze_blocks(model, from_block=trial_block), augment=augment
    )
columns = ["what trains", "parameters", "training accuracy", "validation accuracy", "seconds"]
comparison = pd.DataFrame(trials, columns=columns).set_index("what trains")
print(f"where they all start, the head alone: {head_report}")
comparison.round({"training accuracy": 3, "validation accuracy": 3, "seconds": 1})

# %% [markdown]
# How to read the table: *training accuracy* is the mean over the last pass, while the weights were still moving.
# *Validation accuracy* is that of the last epoch, since picking the best of each would favour whatever jumps about
# most.
#
# - **Live batch normalization** falls behind. Its statistics, like those of the head, are computed afresh before each
#   validation, so no lagging average is to blame: each batch normalizes itself by its own few images, and the blocks
#   above see other values than those they were trained on, from the first step on.
# - **A cut inside a block** against one at its boundary: with other seeds sometimes the one is ahead, sometimes the
#   other. On these images the rule about whole blocks is one of tidiness: a boundary is where a network can be cut,
#   cached and named. Do not expect accuracy from it.
# - **How many blocks?** With so few images the top block alone does about as well as many, and a good deal faster.
#   With all images, above, going further down brought what the head could not reach.
# - **Augmentation** shows each image in another version every pass, so it cannot use the cached part and takes
#   longer. It pays over many passes, which these are not.
#
# Each number stands for one run, and the interval printed above the table shows how wide a few hundred validation
# images leave it. Exercise 3 repeats the runs.

# %%
model.set_weights(tuned_weights)
unfreeze_blocks(model, from_block=from_block)
for name, row in comparison.iterrows():
    records.record("trial_" + name.replace(",", "").replace(" ", "_"), round(float(row["validation accuracy"]), 4))

# %% [markdown]
# ## Where it looks
#
# Between the last feature map and the score of a class there are only an average and a weighted sum. Leave out the
# average, and there is a score for each region of the image: a *class-activation map*. Here are the maps of the class
# chosen above, before and after.

# %%
maps_after = evaluation.class_activation_map(model, pictures, looked_at)


def above_the_middle(maps):
    return maps - np.median(maps, axis=(1, 2), keepdims=True)


names = [f"{images.class_names[looked_at]} (validation {i})" for i in wanted]
plotting.activation_maps(list(pictures), list(above_the_middle(maps_before)), list(above_the_middle(maps_after)), names)

# %% [markdown]
# The maps are drawn relative to their middle region, since what matters is not how much evidence there is everywhere
# but where it stands out. How far does the strongest region stand out?

# %%
for when, maps in (("before", maps_before), ("after", maps_after)):
    peak = float(above_the_middle(maps).max(axis=(1, 2)).mean())
    records.record(f"evidence_peak_{when}", round(peak, 2))

# %% [markdown]
# On the default images and seed, the head alone finds a little evidence here and there, and after fine-tuning one
# spot stands out: look for the flaw there. With another seed the map can be flatter at the same accuracy, since a
# network may also decide by what speaks against the other classes. A map is a hint, not a proof.
#
# ## The test split, once
#
# Every choice on this page was made with the validation images. Now, and only now, the test images:

# %%
test_report = evaluation.evaluate(model, images, "test")
records.record("test_accuracy", test_report.accuracy)
print(f"test: {test_report}")
plotting.confusion(test_report)

# %%
print(test_report.per_class.round(3).to_string(index=False))

# %% [markdown]
# If this is lower than you hoped and you now go back and change something, the test split has become a second
# validation split. For an honest figure you would then need new images.
#
# ## Hand it over
#
# `models.save` writes a `.keras` file of stock layers, which loads where this package is absent, and a JSON file that
# says what the numbers mean: class names, image size, how pictures were resized. Loaded again, it must give the same
# answers. (Where a GPU trained in float16, the file is in float32 all the same, and only the rounding differs.)

# %%
with tempfile.TemporaryDirectory() as folder:
    path = Path(save_to) if save_to else Path(folder) / "classifier.keras"
    card = models.save(
        model, path, class_names=images.class_names, resize_mode=resize_mode, variant=variant, bits=images.bits
    )
    reloaded, _ = models.load(path)
    print(f"{path.name}: {path.stat().st_size / 1e6:.1f} MB")
difference = float(np.abs(reloaded.predict(pictures, verbose=0) - model.predict(pictures, verbose=0)).max())
print(f"largest difference in any probability after reloading: {difference:.1e}")
bound = 1e-5 if keras.config.dtype_policy().compute_dtype == "float32" else 0.01
records.expect(difference < bound, "difference after reloading", difference, f"below {bound}")

# %%
print({key: value for key, value in vars(card).items() if key != "versions"})

# %% [markdown]
# The parameter `save_to` keeps the two files. `effnet predict classifier.keras PATH` then applies the model to any
# folder of pictures, and shows those it is least certain of.

# %% [markdown]
# ## When labels are few
#
# All of this took a thousand labels. What if there are a hundred: fifty of the nominal images, and twenty-five of
# each kind of flaw? Fine-tuning as above becomes a gamble then. Averaged over the image, a flaw in one region moves
# the features so little that learning a hundred images by heart is easier than finding it. Three changes help, and
# none of them touches a pretrained weight:
#
# - **Earlier features.** After block 4 a region is small, and nothing has been averaged yet.
# - **Score each region, then pool the scores.** An image with a flaw must have a region that looks like one, though
#   nobody says which: *multiple-instance learning*. The log-sum-exp of the scores lies between their mean and their
#   maximum, so the highest count most, and all of them learn.
# - **Whitening.** Features are turned into uncorrelated ones of variance 1 first, or what all images share drowns
#   what singles out a flaw.


# %% tags=["shows:effnet_helpers.training.add_region_head"]
def add_region_head(
    backbone: keras.Model, num_classes: int, hidden: int = 128, dropout: float = 0.5, sharpness: float = 0.5
) -> keras.Model:
    if num_classes < 2 or not sharpness > 0:
        raise ValueError(f"num_classes is 2 or more, sharpness above 0. Received: {num_classes}, {sharpness}")
    _, rows, columns, channels = backbone.output.shape
    x = keras.layers.Dense(channels, trainable=False, name="head_whitening")(backbone.output)
    x = keras.layers.Dropout(dropout, name="head_dropout")(x)
    x = keras.layers.Dense(hidden, activation="relu", name="head_hidden")(x)
    scores = keras.layers.Dense(num_classes, dtype="float32", name="head_scores")(x)
    scores = keras.layers.Reshape((rows * columns, num_classes), dtype="float32", name="head_regions")(scores)
    pooled = keras.ops.logsumexp(sharpness * scores, axis=1) - math.log(rows * columns)
    last = keras.layers.Softmax(dtype="float32", name="head_probabilities")
    return guard_pixel_range(keras.Model(backbone.input, last(pooled / sharpness), name=f"{backbone.name}_classifier"))


# %% [markdown]
# Whitening is linear, so it can be a layer: principal components, each divided by its standard deviation. Nothing of it
# trains. The labels play no part in it, only the training images.


# %% tags=["shows:effnet_helpers.training.whitening"]
def whitening(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    regions = np.reshape(features, (-1, features.shape[-1])).astype("float32")
    found = PCA(svd_solver="covariance_eigh").fit(regions)
    variance = found.explained_variance_
    kernel = (found.components_ / np.sqrt(variance + FLOOR * variance.max())[:, np.newaxis]).T
    kernel = np.pad(kernel, [(0, 0), (0, len(kernel) - kernel.shape[1])])  # fewer regions than channels: the rest is 0
    return kernel.astype("float32"), (-found.mean_ @ kernel).astype("float32")


# %% [markdown]
# Labels are drawn at random from the whole set, in the proportions of the published benchmark of these images, and
# twice as many others to test on. There are no validation images: whoever has a hundred labels has none to spare. So
# nothing is chosen by them here, neither an epoch nor a rate; the settings were fixed on other draws. Only this: the
# head is trained from three starts, and the one with the lowest training loss is kept. A training that has got stuck
# with the wrong regions gives itself away by a loss that stays higher. (An earlier recipe with one start had got stuck
# on one of the five draws below, which is why there are three.)

# %%
if few_labels:
    everything = data.load(dataset, **options) if limit_per_class else images
    train = share_out_labels(everything, few_labels, {"nominal": 2})
    drawn = draw_images(everything, train=train, test={name: 2 * count for name, count in train.items()})
    print({split: count for split, count in drawn.sizes.items() if count})

# %%
if few_labels:
    runtime.set_seed(seed)
    lower, _ = models.split_at_block(models.build_backbone(variant, image_size=image_size), "block5a")
    few_model = add_region_head(lower, drawn.num_classes)
    losses = training.fit_region_head(few_model, drawn, seed=seed)
    few_report = evaluation.evaluate(few_model, drawn, "test")
    print(f"training loss of {len(losses)} tries: {', '.join(f'{loss:.3f}' for loss in losses)}; the lowest is kept")
    print(f"on other images: {few_report}")

# %% [markdown]
# The benchmark asks only whether an image is nominal. Here is this one draw, as a ring, in the picture of all:
# accuracy against the number of labels over five draws, for this head and for a weighted sum of averaged features, as
# in notebook 04. `make bench ROW=few-labels` measured the lines. The crosses are the published figures of few-shot
# CLIP on these images ([arXiv 2501.12596](https://arxiv.org/abs/2501.12596)).

# %%
if few_labels and dataset == "textile":
    again = few_report.one_against_rest("nominal")
    records.record("few_labels_nominal_accuracy", again)
    curve = evaluation.measured("few_labels").rename(columns={"nominal_accuracy": "accuracy"})
    clip = {"CLIP ViT-L/14": (100, 0.975), "CLIP ViT-B/32": (100, 0.685)}
    plotting.label_curve(curve, clip, again=(few_labels, again))
    scored = curve[(curve["labels"] == 100) & (curve["method"] == "region head")]
    print(
        f"100 labels, five draws: {scored['accuracy'].mean():.3f} nominal or not ({scored['accuracy'].min():.3f} to "
        f"{scored['accuracy'].max():.3f}), {scored['three_class_accuracy'].mean():.3f} of three classes"
    )

# %% [markdown]
# Does that make unfreezing superfluous? On these images, nearly: their flaws are texture, and early blocks see texture.
# Do not expect it of dogs, whose breeds no single small region tells apart.
#
# ## Before you try this on your own
#
# - **Batch size.** Larger batches are quicker on a GPU and want a higher rate. With batch normalization frozen, small
#   batches do no harm either.
# - **Larger variants** want their larger images, more memory (halve the batch if it runs out), and more dropout.
#   Their blocks have other names; `models.block_names` lists them.
# - **EMA.** The EfficientNet weights you started from are themselves an average over the last steps of their
#   training. Keras does that with `keras.optimizers.Adam(…, use_ema=True)`; the curve becomes calmer, most of all
#   with high rates.
# - **RMSprop** was the authors' optimizer, tuned for training from random weights over hundreds of passes. For a
#   short fine-tuning Adam needs less tuning.
# - **Overfitting?** Augment (`fine_tune(…, augment={…})`), unfreeze fewer blocks, stop earlier. In that order.

# %%
is_default = (dataset, variant, image_size, resize_mode, limit_per_class) == ("textile", "Lite0", 256, "pad", 500)
if is_default and batch_size == 32 and steps >= 96:
    records.expect(test_report.accuracy >= 0.93, "test accuracy", test_report.accuracy, "0.93 or more")
records.expect(report.accuracy >= head_report.accuracy, "accuracy", report.accuracy, "not below the head's")

# %% [markdown]
# ## Recap
#
# - Whole blocks from the top down; how far depends on how far your pictures are from ImageNet.
# - The head first, then a small rate that rises and falls. Batch normalization stays frozen in the blocks; the head's
#   is computed afresh before each validation.
# - What is frozen below the cut is computed once; training runs only above it.
# - With few labels: earlier features, whitened, scored region by region; pool the scores, not the features.
# - The fitted head is epoch 0: what comes out is never worse on validation than what went in.
# - Measured on few images: live batch normalization hurts; whether a block is cut in half does not show.
# - The test split was scored once. The saved model gives the same answers and carries its class names.
#
# **The surprise:** a network that learned on photographs of animals and objects becomes nearly perfect on simulated
# textile within a few minutes, without a GPU, once its features may change.
#
# ## Exercises
#
# 1. Which test images are still wrong, and how sure was the network? A solution follows.
# 2. Set `from_block` to "block6a", then to "block2a". What do you gain, and how much longer do you wait?
# 3. Repeat the comparisons with other seeds: `effnet seeds 05 --seeds 0,1,2`. Which differences survive?

# %% tags=["solution"]
mistakes = test_report.mistakes(top=6)
for mistake in mistakes:
    print(f"test image {mistake.index}: {mistake.true} taken for {mistake.predicted} ({mistake.confidence:.2f})")
print(f"{len(mistakes)} listed")

# %% [markdown]
# **Where next:** your own pictures, `effnet run 03 04 05 -p dataset=folder:/path/to/pictures -p image_size=224 -p
# resize_mode=crop -p limit_per_class=0`.
