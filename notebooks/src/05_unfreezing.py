# %% [markdown] tags=["slide"]
# # 05 · Unfreezing
#
# **How do you let pretrained features change without losing what they know?**
#
# ## What you will learn
#
# - to unfreeze whole blocks from the top down, and keep batch normalization frozen, with and without our helpers
# - to start from a fitted head, with a small learning rate that rises and then falls
# - to compute the frozen part once and train only the rest
# - to tell a network that has not learned from one that is measured wrongly
# - what each of these choices is worth, over paired runs on pictures unlike each other
# - to see where the network looks, to score the test split once, and to hand the model over
#
# | | |
# |---|---|
# | before you start | [04 · Head training](04_head_training.ipynb) |
# | takes | reading 16 minutes, running 3 minutes, 3 GB of memory on two CPU cores |
# | downloads | nothing |

# %%
import math
import tempfile
from pathlib import Path
from typing import Optional

from effnet_helpers import data, evaluation, models, plotting, records, runtime, training
from effnet_helpers.models import block_names, block_of, first_block_to_train, set_stochastic_depth, trainable_table

import keras
import numpy as np
import pandas as pd

print(runtime.describe())

# %% [markdown]
# What you may want to change:

# %% tags=["parameters"]
dataset: str = "textile"  # textile, folder:PATH, csv:FILE, stanford_dogs, or tfds:NAME
variant: str = "Lite0"  # which EfficientNet
image_size: int = 256  # side of the square images in pixels
resize_mode: str = "pad"  # crop, pad or squash
limit_per_class: int = 500  # use at most so many images of each class, 0 uses all
from_block: Optional[str] = None  # lowest block that trains, None goes by a rule
steps: int = 120  # of the optimizer with these blocks unfrozen
learning_rate: float = 0.0005  # its peak; set 0.0003 for 300 steps or more
group_by: Optional[str] = None  # pattern in file names of what must stay in one split, such as video[0-9]+
split_seed: int = 0  # another seed gives another split
save_to: Optional[str] = None  # path of a .keras file to keep the model in, for effnet predict
seed: int = 0  # for the head, order of images and dropout

# %%
batch_size = training.use_device()
runtime.set_seed(seed)
backbone = models.build_backbone(variant, image_size=image_size)
blocks = [None, *block_names(backbone)[1:]]
records.check(steps=(steps, 1, None), learning_rate=(learning_rate, 0.0, 1.0), from_block=(from_block, blocks))
if save_to:
    models.check_save_path(save_to)
options = {"image_size": image_size, "resize_mode": resize_mode, "split_seed": split_seed, "group_by": group_by}
images = data.load(dataset, **options, limit_per_class=limit_per_class or None)

# %% [markdown]
# The default images are *simulated* textile: nominal, shifted as a whole, or with a small local flaw.
#
# ## First the head
#
# Everything on this page starts from a fitted [head](../docs/glossary.md#head), as in notebook 04. A new head is
# random, and its first steps would send large, random corrections down into the pretrained blocks. So the head comes
# first, and only then is anything unfrozen. Its weights are put aside: every comparison below starts from them.

# %%
model = models.add_head(backbone, images.num_classes)
fit = training.fit_head(model, images, epochs=15, batch_size=batch_size, seed=seed)
fitted_weights = model.get_weights()
head_report = evaluation.evaluate(model, images, "val")
records.record("head_val_accuracy", head_report.accuracy)
print(fit)

# %% [markdown]
# ## Whole blocks, from the top down
#
# Notebook 04 left its head, and two other classifiers, with the same input: frozen features of the last layer,
# averaged over the image. All three came to about the same. Here the layers that make the features change, until even
# their average tells the classes apart. (Notebook 07 goes the other way: frozen, but earlier features, and not
# averaged.)
#
# An EfficientNet is a stack of [blocks](../docs/glossary.md#block). The first ones see edges and textures of a few
# pixels; the last ones see parts of ImageNet's objects. The further your pictures are from ImageNet, the further down
# you go. Three rules:
#
# - **Whole blocks.** Most blocks add their input to their output, so a block is the smallest part that makes sense by
#   itself. ("Unfreeze the last 20 layers", as one often reads, stops in the middle of one, but for luck.)
# - **[Batch normalization](../docs/glossary.md#batch-normalization) stays frozen**, in inference mode. Its means and
#   variances were gathered over a million images; a few batches of yours would replace them by noise.
# - **[Stochastic depth](../docs/glossary.md#stochastic-depth) acts only in blocks that train.**


# %% tags=["shows:effnet_helpers.models.unfreeze_blocks", "slide-code"]
def unfreeze_blocks(model: keras.Model, last: int | None = None, from_block: str | None = None) -> pd.DataFrame:
    blocks = block_names(model)
    trained = blocks[first_block_to_train(blocks, last, from_block) :]
    for layer in model.layers:
        if block_of(layer):
            is_batch_norm = isinstance(layer, keras.layers.BatchNormalization)
            layer.trainable = block_of(layer) in trained and not is_batch_norm
            set_stochastic_depth(layer, active=block_of(layer) in trained)
    return trainable_table(model)


# %% [markdown]
# How far down? The head tells. Where it is right nearly always, the features fit already, and only the upper blocks
# need to move; where it is not, the features must change. What this rule stands on is measured further down.

# %% tags=["nbval-check-output"]
recipe = training.choose_recipe(images.sizes["train"], head_report.accuracy, from_block=from_block)
from_block = recipe.from_block
table = unfreeze_blocks(model, from_block=from_block)
print(f"from_block: {from_block} ({recipe.reasons['from_block']})")
print(f"{table['trainable'].sum():,} parameters train; {table['frozen'].sum():,} stay as they are")
print(table.to_string())

# %% [markdown]
# ### The same in plain Keras
#
# Without our helpers it is a loop over layers, here on EfficientNetB0 as Keras builds it (with random weights, which
# need no download). Layers are listed from the input up, and their names begin with their block's: from the first
# layer of `block6a` on, everything trains except batch normalization. The helper must come to the same.

# %% tags=["nbval-check-output"]
plain = keras.applications.EfficientNetB0(include_top=False, weights=None, input_shape=(64, 64, 3))
reached = False
for layer in plain.layers:
    reached = reached or layer.name.startswith("block6a")
    layer.trainable = reached and not isinstance(layer, keras.layers.BatchNormalization)
ours = models.build_backbone("B0", weights=None, image_size=64)
models.unfreeze_blocks(ours, from_block="block6a")
by_hand, by_helper = ({layer.name: layer.trainable_variables for layer in each.layers} for each in (plain, ours))
names = [name for name, variables in by_hand.items() if variables]
same = names == [name for name, variables in by_helper.items() if variables]
same = same and all([v.shape for v in by_hand[name]] == [v.shape for v in by_helper[name]] for name in names)
print(f"{len(plain.trainable_variables)} variables of {len(names)} layers train; the helper opens the same: {same}")
records.expect(same, "what the helper opens", same, "the same variables as by hand")

# %% [markdown]
# There is a trap in the plain way. Many examples call the backbone like a layer, and so put a model *into* a model.
# Then `layers[-20:]` of the outer one finds the whole backbone as a single layer. And setting `trainable` on a model
# sets it on everything inside: freeze the backbone for a while, open it again, and what was chosen is gone.

# %% tags=["nbval-check-output", "slide-code"]
nested = keras.Sequential([plain, keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(3)])
print(f"the outer model lists {len(nested.layers)} layers; variables of the backbone: {len(plain.trainable_variables)}")
for choice in (False, True):
    plain.trainable = choice
    live = sum(layer.trainable for layer in plain.layers if isinstance(layer, keras.layers.BatchNormalization))
    print(f"plain.trainable = {choice}: {len(plain.trainable_variables)}, {live} batch normalizations live")

# %% [markdown]
# So choose last, layer by layer, and then call `compile`: Keras builds its training step at the first `fit` after
# `compile` and keeps it; what you freeze or open afterwards goes unnoticed. Our models are flat, which avoids the trap.
#
# ## Cut, compute the lower part once, train the upper
#
# What was done for the head in notebook 04 works at any block: below `from_block` nothing trains and nothing is
# random, so its output for each image is computed once. The part below is the
# [prefix](../docs/glossary.md#prefix), the part above the [tail](../docs/glossary.md#tail); they share their layers
# with `model`, so training the tail trains the model.

# %%
prefix, tail = models.split_at_block(model, from_block)
parts = training.extract_features(prefix, images, ("train", "val"), batch_size)
for split, part in parts.items():
    found = "found in the cache" if part.reused else f"computed in {part.seconds:.0f} s"
    print(f"{split}: {part.values.shape}, {part.values.nbytes / 1e6:.0f} MB, {found}")
print(training.plan_prefix(model, images, passes=steps / math.ceil(images.sizes["train"] / batch_size)))

# %% [markdown]
# ## A learning rate that rises and falls
#
# The pretrained weights are good already. A large step at the start would throw them away before
# [Adam](../docs/glossary.md#adam) has learned which way is down and how large its gradients are, so the rate rises
# over the first thirty steps ([warm-up](../docs/glossary.md#warm-up)). Then it falls along half a
# [cosine](../docs/glossary.md#cosine-decay), so that the last steps settle instead of jumping about.


# %% tags=["shows:effnet_helpers.training.warmup_cosine"]
def warmup_cosine(peak: float, steps: int, warmup_steps: int = 0) -> keras.optimizers.schedules.LearningRateSchedule:
    if not 0 <= warmup_steps < steps:
        raise ValueError(f"Warm-up must be shorter than training. Received: {warmup_steps} of {steps} steps")
    return keras.optimizers.schedules.CosineDecay(
        0.0, steps - warmup_steps, warmup_target=peak, warmup_steps=warmup_steps
    )


# %% [markdown]
# How high should the peak be? `training.fine_tune` takes 0.0003 and at least 300 steps. This page has fewer steps, to
# keep within its minutes, and takes 0.0005 by default; what other rates do is measured further down. A rate cannot be
# found by trying for a minute: few steps favour small rates, because they end before the large ones pay (the
# *short-horizon bias*, [arXiv 1803.02021](https://arxiv.org/abs/1803.02021)).

# %% tags=["slide"]
schedule = warmup_cosine(learning_rate, steps, min(30, steps // 2))
plotting.schedule([float(schedule(step)) for step in range(steps)])

# %% [markdown]
# ## Never worse than the head
#
# Length is counted in steps of the optimizer, not in passes over the images: the same number of passes is few steps
# over few images, and many over many. Compile after unfreezing, and fit. Validation comes every tenth of the way, and
# two [callbacks](../docs/glossary.md#callback) go with it:
#
# - `KeepBest` counts the fitted head as epoch 0. The weights with the highest validation accuracy are put back at the
#   end, of equal ones those with the lowest loss; if none is better than the head, the head stays.
# - `ReestimateBatchNorm` computes the statistics of the *head's* batch normalization afresh before each validation. You
#   will see why below.
#
# `training.fine_tune` packs the steps of this section for later use; for classes of different sizes it takes `balance`,
# as in notebook 04.

# %% tags=["slide-code"]
train, sample = (parts["train"].batches(batch_size, shuffle=True, seed=seed) for _ in range(2))
val, sample = parts["val"].batches(batch_size), list(sample.take(8))
tail.compile(keras.optimizers.Adam(schedule), loss="sparse_categorical_crossentropy", metrics=["accuracy"])
keep_best = training.KeepBest(model, start=tail.evaluate(val, verbose=0))
callbacks = [training.ReestimateBatchNorm(sample), keep_best]
every = math.ceil(steps / 10)
length = {"steps_per_epoch": every, "verbose": 2}
history = tail.fit(
    train.repeat(), validation_data=val, epochs=math.ceil(steps / every), callbacks=callbacks, **length
).history

# %% [markdown]
# How it went (what Keras calls an epoch is the stretch between two validations here), and where it ended beside where
# it began. The horizontal line is the loss of guessing; more about it just below.

# %% tags=["slide"]
drawn = {"x_label": "validation", "num_classes": images.num_classes}
plotting.learning_curves({"fine-tuned": history}, **drawn, kept=keep_best.best_epoch)
print(f"The weights of validation {keep_best.best_epoch} are in the model now (0 would be those of the head).")
report = evaluation.evaluate(model, images, "val")
records.record("val_accuracy", report.accuracy)
print(f"head alone:  {head_report}\nfine-tuned:  {report}")

# %% [markdown]
# ## The alarm: a loss above log K
#
# Who guesses among K classes, and says so, has a loss of log K
# ([why](../docs/glossary.md#log-k)). **A validation loss above log K is worse than guessing.** It is an alarm, and must
# be looked into, not waited out. An earlier version of this page had one in its first epoch and passed over it. Here is
# such a training again: the same head, the same images in the same order, the same schedule, only without
# `ReestimateBatchNorm`.

# %%
tuned_weights = model.get_weights()
model.set_weights(fitted_weights)
tail.compile(keras.optimizers.Adam(schedule), loss="sparse_categorical_crossentropy", metrics=["accuracy"])
train = parts["train"].batches(batch_size, shuffle=True, seed=seed)
lagging = tail.fit(train.repeat(), validation_data=val, epochs=1, **length).history

# %% [markdown]
# Does this network not learn? On the default images its training loss is no worse than that of the first run. While it
# trains, batch normalization uses the statistics of each batch; in validation it uses running averages, and these lag
# behind. The blocks below learn, their features move away from where they were, and the head is shown features scaled
# by what they were. The test of that: keep all weights, compute the statistics afresh.

# %% tags=["slide-code"]
before = tail.evaluate(val, verbose=0)
training.reestimate_batch_norm(tail, sample)
after = tail.evaluate(val, verbose=0)
print(f"highest validation loss: {max(lagging['val_loss']):.2f}; log K: {math.log(images.num_classes):.2f}")
for name, (loss, accuracy) in {"running averages": before, "fresh statistics": after}.items():
    print(f"after {len(lagging['loss']) * every} steps, {name}: accuracy {accuracy:.3f}, loss {loss:.3f}")

# %% [markdown]
# Nothing here hangs on chance: the weights are the same, and the two figures differ by what they are measured with.
# (Let it run on, and the averages catch up. How soon, [an exercise](exercises/05_unfreezing.ipynb) asks.) When the
# alarm sounds, ask in this order: is the scaling of the pixels right, are the labels those of the images, do statistics
# lag, is the rate too high.
#
# ## What is each choice worth?
#
# Advice like the rules above is easily repeated and seldom checked. `make bench ROW=recipes` trains by a base recipe,
# 150 steps from `block4a` at a peak of 0.0003, and by the same with one choice changed, on sets of pictures unlike
# each other: two of photographs, micrographs of pollen, magnetic tiles, the textile, and some of these with few images
# (the number behind a name is that of training images in each class). Each dot is a mean of *paired* differences: same
# pictures, same split, same seed. In brackets stands how many pairs there are.

# %% tags=["slide"]
runs = evaluation.measured("recipes").query("stage == 'screening'")
choices = {
    "peak 1e-4": "peak of the rate 0.0001",
    "peak 1e-3": "peak of the rate 0.001",
    "no warm-up": "no warm-up",
    "head not first": "head not fitted first",
    "running head norm": "head's statistics lag",
    "live backbone norm": "batch norm not frozen",
    "no stochastic depth": "no stochastic depth",
    "last 20 layers": "last 20 layers",
    "from block6a": "from block6a",
    "from block5a": "from block5a",
    "from block2a": "from block2a",
}
worth = evaluation.paired_differences(runs, list(choices)).replace({"candidate": choices})
plotting.paired_differences(worth, base="the base recipe")

# %% [markdown]
# A filled dot is a difference that the runs show; a hollow one is a difference that they do not, however plausible the
# advice. The small marks are single sets, and those most like your pictures matter most to you. (An interval counts
# runs, and so speaks of *these* sets. Runs of one set resemble each other; counted by sets, which are few, all
# intervals but that of the low rate would reach zero. They are what happened here, not what must happen with yours.)
#
# - **Worse in these runs:** batch normalization that is not frozen; too few blocks where the pictures are far from
#   ImageNet (look at the textile marks of "from block6a", and then at those of the photographs, which lie about zero);
#   and a rate too low for so few steps. That is why the head decides how deep: where it is right nearly always, shallow
#   costs nothing.
# - **"Last 20 layers"** is too shallow for the textile in the same way. Whether it matters that it cuts a block in
#   half, these runs cannot tell. A boundary is where a network can be cut, cached and named: the rule is one of
#   tidiness.
# - **Deeper still,** "from block2a", shows no gain.
# - **The head first:** without it the mean leans towards worse, by less than these runs can tell from nothing.
#   **Warm-up and stochastic depth** make no difference here. All three cost little; do not expect much of them.
# - **Lagging statistics,** which looked so alarming above, make no difference that these runs show to what is kept in
#   the end, when the rate has fallen and the averages have caught up. They spoil what you see on the way, and may
#   make you stop.
#
# (These runs score test images, those of the textile set among them, and the recipe of this course follows from them.)
# The same for what else is often recommended, and below it what the recipe of `training.fine_tune` came to on whole
# sets and on small ones: test accuracy of the head alone, after fine-tuning as this course did it until 2026, and by
# the rule of today.

# %% tags=["slide"]
others = [name for name in runs["candidate"].unique() if name != "base" and name not in choices]
plotting.paired_differences(evaluation.paired_differences(runs, others), base="the base recipe")
final = evaluation.measured("recipes").query("stage == 'final'").rename(columns={"head_test": "head alone"})
by_recipe = final.pivot_table(index="set", columns="candidate", values="test")
by_recipe.insert(0, "head alone", final.groupby("set")["head alone"].mean())
by_recipe.round(3)

# %% [markdown]
# (SAM seeks weights whose neighbourhood is good as well; mixup blends pairs of images and their labels; label
# smoothing asks for a little less than certainty; "taught by Lite2" learns from the answers of a larger network;
# "rates by block" trains lower blocks more slowly.) None of these celebrated extras moves the mean by more than its
# interval, nor do larger batches, which cost in proportion. Augmentation is a claim about your pictures: "any
# way up" says that they mean the same when turned, and for a weave that is not so. And fine-tuning is no duty: where
# the head alone is right nearly always, as on cats and dogs, nothing is gained. (The column "from block6a" is what
# the rule said of few images before it was measured; NaN stands where a recipe was not run.)
#
# The tips that come with the Keras example, each with what came of it, are in
# [its appendix](A_keras_example.ipynb).
#
# ## Where it looks
#
# Between the last feature map and the score of a class there are only an average and a weighted sum. Leave out the
# average, and there is a score for each region of the image: a
# [class-activation map](../docs/glossary.md#class-activation-map). The scores of two networks have different scales, so
# each map is drawn by its own: the lines stand a third and two thirds of the way from its middle to its highest value.

# %%
recall = head_report.per_class["recall"].to_numpy()
looked_at = images.class_names.index("local") if "local" in images.class_names else int(recall.argmin())
wanted = np.flatnonzero(images.labels("val") == looked_at)[:70].tolist()
pictures = np.stack([images.image("val", i) for i in wanted]).astype("float32")
odd = [evaluation.oddest_place(each) for each in pictures] if dataset == "textile" else [None] * len(pictures)
flaws = [(place.row, place.column) if place and place.strength > 10 else None for place in odd]
maps = {}
for name, weights in {"head alone": fitted_weights, "fine-tuned": tuned_weights}.items():
    model.set_weights(weights)
    maps[name] = evaluation.class_activation_map(model, pictures, looked_at)

# %% [markdown]
# And where *is* the flaw? In these textures it can be found without any network, as the place that is roughest beside
# the rest of the picture ([notebook 03](03_data_loading.ipynb) shows how). It is the dashed box.

# %% tags=["slide"]
names = [f"{images.class_names[looked_at]}, validation {i}" for i in wanted]
plotting.activation_maps(pictures[:3], {name: each[:3] for name, each in maps.items()}, names[:3], flaws[:3])
reach = image_size / 8  # in pixels, as wide as a region of the last feature map
for name, each in maps.items() if any(flaws) else ():
    hits, chance = evaluation.pointing_game(each, flaws, image_size, reach)
    print(f"{name}: strongest region at the flaw in {hits:.0%} of {len(each)} images (by chance {chance:.0%})")

# %% [markdown]
# ("At the flaw" means that the centre of the strongest region is no further from it than a region is wide.) On the
# default images the fine-tuned network points there far more often than the head alone, but not always, though it is
# right about nearly all. The count goes by the order of regions within a map, and so it is fair to networks of
# different scale. Still, a map cannot prove that the network is right for the right reason. It shows where this
# class's score comes from, on a grid of a few regions; it does not show what speaks against the other classes, nor
# what would happen if that place looked different. On your own pictures there is no such independent measure, unless
# somebody marks the places.
#
# ## The test split, once
#
# Which weights to keep was chosen with the validation images, and so is everything that you change on this page. (The
# recipe itself comes from the runs above, which did score test images of the default set. On your own pictures
# nothing has.) Now, and only now, the test images:

# %% tags=["slide"]
test_report = evaluation.evaluate(model, images, "test")
records.record("test_accuracy", test_report.accuracy)
print(f"test: {test_report}")
print(test_report.per_class.round(3).to_string(index=False))
plotting.confusion(test_report)
records.expect(report.accuracy >= head_report.accuracy, "accuracy", report.accuracy, "not below the head's")

# %% [markdown]
# If this is lower than you hoped and you now go back and change something, the test split has become a second
# validation split. For an honest figure you would then need new images.
#
# ## Hand it over
#
# `models.save` writes a `.keras` file of stock layers, which loads where this package is absent, and a JSON file that
# says what the numbers mean: class names, image size, how pictures were resized, and how often it was right on test
# images. Loaded again, it must give the same answers. (Where a GPU trained in float16, the file is in float32 all the
# same, and only the rounding differs.)

# %%
with tempfile.TemporaryDirectory() as folder:
    path = Path(save_to) if save_to else Path(folder) / "classifier.keras"
    described = {"class_names": images.class_names, "resize_mode": resize_mode, "variant": variant, "bits": images.bits}
    tested = {"trained_on": images.provenance.title, "tested": test_report.tally}
    card = models.save(model, path, **described, **tested)
    reloaded, _ = models.load(path)
    print(f"{path.name}: {path.stat().st_size / 1e6:.1f} MB; {card.class_names}")
answers = [each.predict(pictures[:3], verbose=0) for each in (model, reloaded)]
difference = float(np.abs(answers[0] - answers[1]).max())
print(f"largest difference in any probability after reloading: {difference:.1e}")
bound = 1e-5 if keras.config.dtype_policy().compute_dtype == "float32" else 0.01
records.expect(difference < bound, "difference after reloading", difference, f"below {bound}")
is_default = (dataset, variant, image_size, resize_mode, limit_per_class) == ("textile", "Lite0", 256, "pad", 500)
if is_default and batch_size == 32 and steps >= 96:
    records.expect(test_report.accuracy >= 0.93, "test accuracy", test_report.accuracy, "0.93 or more")

# %% [markdown]
# The parameter `save_to` keeps the two files. `effnet predict classifier.keras PATH` then applies the model to any
# folder of pictures, and shows those it is least certain of.

# %% [markdown] tags=["slide"]
# ## Recap
#
# - Whole blocks from the top down, batch normalization in them frozen; by hand it is a loop over flat layers, then
#   `compile`.
# - The head first, then a small rate that rises and falls; the fitted head is epoch 0, so what comes out is never worse
#   on validation than what went in.
# - What is frozen below the cut is computed once; training runs only above it.
# - A loss above log K is an alarm. Here it was the measuring and not the learning: the head's running averages lagged.
# - What a choice is worth shows over paired runs on several sets, with an interval, or it does not show.
# - A map says where a score comes from, not that it is right. The test split was scored once. The saved model gives the
#   same answers and carries its class names.
#
# **The surprise:** a loss worse than that of guessing, from a network that had already learned. Not one weight had to
# change to show it.
#
# **Practise:** [exercises 05](exercises/05_unfreezing.ipynb)
#
# **Where next:** [06 · Export and serve](06_export_and_serve.ipynb) carries the model out of the notebook;
# [07 · Few labels](07_few_labels.ipynb) makes do with a hundred labels. Or your own pictures: `effnet run 03 04 05 -p
# dataset=folder:/path/to/pictures -p image_size=224 -p resize_mode=crop -p limit_per_class=0`.
