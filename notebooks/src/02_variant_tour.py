# %% [markdown]
# # 02 · The variant tour
#
# **Thirteen networks share the name EfficientNet. How do they differ, what does each cost, and which should you
# take?**
#
# ## What you will learn
#
# - to read the family's table: resolution, parameters, multiply-adds, accuracy, each counted here where it can be
# - what compound scaling predicts, and why the real variants leave the formula
# - what stochastic depth is, and how to make `drop_connect_rate` take effect
# - what the Lite variants leave out, and what the networks cost on your machine
# - why one architecture can have several accuracies
#
# | | |
# |---|---|
# | before you start | [01 · First predictions](01_first_predictions.ipynb) |
# | takes | about a minute and 2.5 GB of memory on two CPU cores |
# | downloads | nothing: B0–B7 are built with random weights here, which is enough to count and to time them |

# %%
import time

from effnet_helpers import models, plotting, records, runtime
from effnet_helpers.data import sample_photos
from effnet_helpers.preprocessing import load_image
from effnet_helpers.variants import COMPOUND_ALPHA, COMPOUND_BETA, COMPOUND_GAMMA, RECIPES, VARIANTS, get_variant

import keras
import numpy as np
import pandas as pd

print(runtime.describe())

# %% [markdown]
# What you may want to change:

# %% tags=["parameters"]
tour: list[str] = ["Lite0", "Lite1", "Lite2"]  # variants to try on photographs, with their ImageNet weights
timed: list[str] = ["Lite0", "Lite2", "B0", "B2"]  # variants to time, from cheap to expensive
depth_variant: str = "Lite0"  # the variant to watch stochastic depth in
repeats: int = 5  # timings of each, the median counts
seed: int = 0  # for random weights and everything else drawn at random

# %% [markdown]
# Unknown variants stop the page here, with one sentence.

# %%
for name in (*tour, *timed, depth_variant):
    get_variant(name)
records.expect(isinstance(repeats, int) and repeats >= 1, "repeats", repeats, "a whole number from 1 up")
runtime.set_seed(seed)

# %% [markdown]
# ## The family in one table
#
# Building a network costs a second and needs no weights. So rather than copy a table, we build all thirteen and
# count: parameters, and *multiply-adds*, the multiplications with addition that one image costs. Papers often call
# these FLOPs. The published figures stand beside ours.

# %%
rows, layers_of = [], {}
for name, facts in VARIANTS.items():
    model = models.build_imagenet_classifier(name, weights=None)
    multiply_adds = models.count_multiply_adds(model)
    published = (facts.published_multiply_adds, facts.published_top1)
    rows.append((name, facts.resolution, model.count_params(), multiply_adds, *published))
    layers_of[name] = [type(layer).__name__ for layer in model.layers]
family = pd.DataFrame(rows, columns=["variant", "resolution", "parameters", "multiply_adds", "published", "top1"])

# %%
shown = family.assign(
    parameters=(family["parameters"] / 1e6).round(2),
    multiply_adds=(family["multiply_adds"] / 1e9).round(3),
    published=family["published"] / 1e9,
    ratio=(family["multiply_adds"] / family["published"]).round(3),
)
shown.rename(
    columns={"parameters": "parameters, millions", "multiply_adds": "multiply-adds, billions", "top1": "top-1, %"}
)

# %% [markdown]
# *Resolution* is the side of the square input in pixels that the variant was trained and published at. *Top-1* is the
# share of ImageNet's validation photographs for which the most probable class is the right one, as published. `ratio`
# is our count divided by the published one. They agree to a few percent; the authors rounded, and counted some small
# things differently.

# %%
ratios = family["multiply_adds"] / family["published"]
print(f"counted to published multiply-adds: {ratios.min():.3f} to {ratios.max():.3f}")
records.record("largest_ratio", float(ratios.max()))
records.record("smallest_ratio", float(ratios.min()))

# %% [markdown]
# Every step up the family costs more, and on the whole gains less:

# %%
plotting.accuracy_versus_cost(family)

# %% [markdown]
# ## Compound scaling, and why the variants leave it
#
# The paper's rule is short. Choose a number φ. Make the network deeper by α to the power of φ, wider by β to the φ,
# and its images larger by γ to the φ. The three constants were found once, for the small network, so that α · β² · γ²
# is about 2. Then each step of φ about doubles the cost: depth counts once, while channels and pixels count squared.

# %% tags=["nbval-check-output"]
cost_per_step = COMPOUND_ALPHA * COMPOUND_BETA**2 * COMPOUND_GAMMA**2
print(
    f"α = {COMPOUND_ALPHA}, β = {COMPOUND_BETA}, γ = {COMPOUND_GAMMA}: one step costs {cost_per_step:.2f} times as much"
)

# %% [markdown]
# The published variants come with coefficients that were picked by hand. Which φ would have given them? Solve the
# rule for φ, for each of the three by itself:

# %% tags=["nbval-check-output"]
scaled = {name: facts for name, facts in VARIANTS.items() if not facts.is_lite and name != "B0"}
implied = pd.DataFrame(
    {
        "φ from depth": [np.log(v.depth) / np.log(COMPOUND_ALPHA) for v in scaled.values()],
        "φ from width": [np.log(v.width) / np.log(COMPOUND_BETA) for v in scaled.values()],
        "φ from resolution": [np.log(v.resolution / 224) / np.log(COMPOUND_GAMMA) for v in scaled.values()],
    },
    index=list(scaled),
)
print(implied.round(1))

# %% [markdown]
# If the rule had been followed, each row would hold one number three times. It does so roughly at the bottom, and
# less and less towards the top. The next figure takes whole steps of φ (half a step for B1) and draws the rule
# against what was published.

# %%
names = [name for name, facts in VARIANTS.items() if not facts.is_lite]
phi = np.array([0, 0.5, 1, 2, 3, 4, 5, 6])
plotting.compound_scaling(
    names,
    {"depth": COMPOUND_ALPHA**phi, "width": COMPOUND_BETA**phi, "resolution": 224 * COMPOUND_GAMMA**phi},
    {key: [getattr(VARIANTS[name], key) for name in names] for key in ("depth", "width", "resolution")},
)

# %% [markdown]
# Three reasons keep real networks off the curve:
#
# - **Channels come in multiples of 8**, because processors work on groups of them. A small factor may change nothing.
# - **Blocks come whole**, and the number in each stage is rounded *up*. A small factor may change a lot.
# - **Resolutions** were picked by hand so that the training fits into the memory of the accelerators at hand.
#
# The second is worth a look. B1 asks for a tenth more depth than B0. What does it get?

# %% tags=["nbval-check-output"]
repeats_in = {name: [stage.repeats for stage in VARIANTS[name].stages()] for name in ("B0", "B1")}
for name, counts in repeats_in.items():
    print(f"{name}: depth factor {VARIANTS[name].depth}, blocks in the seven stages {counts}, together {sum(counts)}")
print(f"factor asked for {VARIANTS['B1'].depth}, factor received {sum(repeats_in['B1']) / sum(repeats_in['B0']):.2f}")

# %% [markdown]
# ## Stochastic depth
#
# Very deep networks train better if, at each step, some blocks are skipped at random for each image: *stochastic
# depth* ([arXiv 1603.09382](https://arxiv.org/abs/1603.09382)). EfficientNet's code calls the rate
# `drop_connect_rate`. It rises in a line with depth: from 0 at the first block towards the given rate at the end,
# since early blocks feed all others. Nothing is skipped in inference.
#
# Many tutorials pass it to Keras' constructors. Keras 3 does not take it:

# %%
try:
    keras.applications.EfficientNetB0(weights=None, drop_connect_rate=0.4)
except (TypeError, ValueError) as error:
    print(error)

# %% [markdown]
# `build_backbone` sets it on the layers that do the skipping, for every variant. Here are their rates:

# %% tags=["nbval-check-output"]
deep = models.build_backbone(depth_variant, drop_connect_rate=0.4)
rates = {layer.name: layer.rate for layer in deep.layers if layer.name.endswith("_drop")}
print(", ".join(f"{name.removesuffix('_drop')} {rate:.3f}" for name, rate in rates.items()))

# %% [markdown]
# Does it act? Show the network the same photograph a few times in training mode, with everything else held still, and
# measure how far its features spread around their mean.

# %%
photo = load_image(sample_photos()["cat"], get_variant(depth_variant).resolution)[None]
spreads = {}
for rate in (0.0, 0.2, 0.4):
    backbone = models.build_backbone(depth_variant, drop_connect_rate=rate)
    for layer in backbone.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = False  # uses its stored statistics in training mode too
    outputs = np.array([backbone(photo, training=True) for _ in range(8)])
    spreads[rate] = float(outputs.std(axis=0).mean())

# %%
for rate, spread in spreads.items():
    print(f"drop_connect_rate {rate}: the features spread by {spread:.4f}")
records.expect(spreads[0.0] < 1e-6 < spreads[0.2] < spreads[0.4], "spreads", spreads, "0, then rising with the rate")

# %% [markdown]
# Set the rate before training: once `fit` has traced its first step, a new rate on a layer changes nothing until the
# next `compile`.
#
# ## What Lite leaves out
#
# The Lite variants were made for phones, microcontrollers and arithmetic in whole numbers. Count the kinds of layers
# in each:

# %% tags=["nbval-check-output"]
kinds = ("Conv2D", "DepthwiseConv2D", "Multiply", "Activation", "ReLU", "Add")
counts = pd.DataFrame({name: [layers_of[name].count(kind) for kind in kinds] for name in ("B0", "Lite0")}, index=kinds)
print(counts)

# %% [markdown]
# - **No squeeze-and-excitation.** In B0 each block averages its channels over the image, computes a weight for each,
#   and multiplies (`Multiply`). The average needs the whole image at once, which small accelerators do poorly.
# - **No swish.** x · sigmoid(x) needs an exponential and has no upper bound; ReLU6 (`ReLU`) cuts at 0 and 6, a range
#   that 256 whole numbers can cover.
# - **Stem and head are not scaled**, and the first and last stage are not deepened, which keeps the larger Lites
#   small and fast.
#
# What that costs in accuracy stands in the first table: Lite0 against B0. What it buys is measured below.
#
# ## The same photographs, three networks
#
# Each network gets the photographs at its own resolution.

# %%
photos = sample_photos()
answers = pd.DataFrame(index=list(photos))
for name in tour:
    classifier = models.build_imagenet_classifier(name)
    images = np.stack([load_image(path, get_variant(name).resolution) for path in photos.values()])
    best = [guesses[0] for guesses in models.decode_predictions(classifier.predict(images, verbose=0), top=1)]
    answers[name] = [f"{guess.class_name} ({guess.probability:.2f})" for guess in best]
answers

# %% [markdown]
# A network that is right more often on average is not right on every photograph, and seven photographs say nothing
# about a percent of accuracy. They do show where the networks waver: on pictures that fit several classes, or none.
#
# ## What they cost here
#
# Multiply-adds are counted, milliseconds are measured. Each network answers one image at a time, then 32 at once. The
# first call with a size compiles and is not counted, so it comes first, for all networks.


# %%
def random_images(model, batch_size):
    return np.random.default_rng(seed).uniform(0, 255, (batch_size, *model.input_shape[1:])).astype("float32")


networks = {name: models.build_imagenet_classifier(name, weights=None) for name in timed}
for model in networks.values():
    for batch_size in (1, 32):
        model.predict_on_batch(random_images(model, batch_size))

# %% [markdown]
# Now the same calls again, a few times each. The median counts, since anything else that the computer does makes some
# of them longer.


# %%
def milliseconds_per_image(model, batch_size):
    images, seconds = random_images(model, batch_size), []
    for _ in range(repeats):
        started = time.perf_counter()
        model.predict_on_batch(images)
        seconds.append(time.perf_counter() - started)
    return 1000 * float(np.median(seconds)) / batch_size


# %% tags=["alone"]
timings = {name: {size: milliseconds_per_image(model, size) for size in (1, 32)} for name, model in networks.items()}
latency = pd.DataFrame(timings).T
plotting.latency(latency)

# %% [markdown]
# How well do multiply-adds predict the time? If they were all that counted, the last column would be the same
# everywhere.

# %%
billions = family.set_index("variant")["multiply_adds"].loc[timed] / 1e9
latency.assign(**{"ms per billion multiply-adds": latency[32] / billions}).round(1)

# %%
cheapest, dearest = timed[0], timed[-1]
alone, batched = latency.loc[cheapest]
print(f"{cheapest} takes {alone:.0f} ms for an image alone and {batched:.0f} ms in a batch on this machine;")
print(f"{dearest} takes {latency.loc[dearest, 32] / batched:.1f} times as long in a batch.")
records.record("ms_per_image", float(latency.loc[cheapest, 32]))

# %% [markdown]
# A batch keeps the processor's cores busy and pays the cost of a call once, so it is cheaper per image.
# Squeeze-and-excitation and swish move much data for few multiplications, so the same count takes longer in B0 than
# in Lite0. For *your* choice, measure on *your* machine.
#
# ## One architecture, several accuracies
#
# The table's accuracies belong to networks trained in one particular way. The authors went on training the same
# architectures in better ways, and published the weights:

# %% tags=["nbval-check-output"]
print(pd.DataFrame(RECIPES).T.to_string(na_rep="–"))

# %% [markdown]
# - **AutoAugment** searches for the augmentation that helps most. `weights="imagenet"` in Keras are these.
# - **AdvProp** also learns from images disturbed so as to mislead the network, through batch normalization layers of
#   their own.
# - **Noisy Student** labels hundreds of millions of further photographs with one network, and trains the next on them
#   under noise: dropout, stochastic depth, augmentation.
#
# The columns do not change their cost. When two papers compare "EfficientNet-B3", ask which row they mean.
#
# ## Recap
#
# - The table can be counted, not just copied, and the counts agree with the published ones to a few percent.
# - Compound scaling is a rule of thumb. Whole blocks, channels by eights and memory bend it.
# - Stochastic depth skips blocks at random in training, more often towards the end, once its rate really reaches the
#   layers.
# - Lite leaves out what small hardware dislikes. Time on your machine decides, not the count alone.
# - An accuracy belongs to weights, not to an architecture.
#
# **The surprise:** asked for 10 % more depth, B1 gets 44 % more blocks, because each stage rounds up.
#
# Which to take? Start with the smallest one that can see what matters in your images; everything in this course is
# quicker with it. Go up one or two variants when the data, not the patience, is the limit. Larger variants want
# larger images, more memory and more regularization, and gain less each time.
#
# ## Exercises
#
# 1. What does the rule give with φ at 7, and which published variant is that? A solution follows.
# 2. Set `timed` to `["B0", "B1", "B3"]`. At which batch size does B3 cost as much as two B1?
# 3. In which stage do most of B0's multiply-adds lie? (`models.split_at_block` cuts a network in two, and both parts
#    can be counted.)

# %% tags=["solution"]
phi = 7
depth, width, resolution = COMPOUND_ALPHA**phi, COMPOUND_BETA**phi, 224 * COMPOUND_GAMMA**phi
print(f"depth {depth:.1f}, width {width:.2f}, {resolution:.0f} pixels, {cost_per_step**phi:.0f} times the cost of B0")

# %% [markdown]
# **Next:** [03 · Data loading](03_data_loading.ipynb) turns labelled pictures into batches.
