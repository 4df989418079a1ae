# %% [markdown] tags=["slide"]
# # 02 · The variant tour
#
# **Thirteen networks share the name EfficientNet. How do they differ, what does each cost, and which should you
# take?**
#
# ## What you will learn
#
# - what the block is that all thirteen repeat, and what Lite leaves out of it
# - to read the family's table, and why EfficientNet mattered: accuracy against cost
# - what compound scaling predicts, and where the published variants leave it
# - what stochastic depth is, and how to make `drop_connect_rate` take effect
# - what the networks cost on your machine, and why one architecture can have several accuracies
#
# | | |
# |---|---|
# | before you start | [01 · First predictions](01_first_predictions.ipynb) |
# | takes | reading 15 minutes, running 1 minute, 2.5 GB of memory on two CPU cores |
# | downloads | nothing: B0–B7 are built with random weights here, which is enough to count and to time them |

# %%
import time

from effnet_helpers import models, plotting, records, runtime, variants
from effnet_helpers.data import sample_photos
from effnet_helpers.preprocessing import load_image
from effnet_helpers.variants import VARIANTS, get_variant

import keras
import numpy as np
import pandas as pd

print(runtime.describe())

# %% [markdown]
# What you may want to change. The cell after it stops the page with one sentence where a value cannot work.

# %% tags=["parameters"]
tour: list[str] = ["Lite0", "Lite1", "Lite2"]  # variants to try on photographs, with their ImageNet weights
timed: list[str] = ["Lite0", "B0", "Lite2", "B2"]  # variants to time, in any order
depth_variant: str = "Lite0"  # the variant to watch stochastic depth in
repeats: int = 5  # timings of each, the median counts
seed: int = 0  # for random weights and everything else drawn at random

# %%
named = {"tour": (tour, VARIANTS), "timed": (timed, VARIANTS), "depth_variant": (depth_variant, VARIANTS)}
records.check(**named, repeats=(repeats, 1, None))
runtime.set_seed(seed)

# %% [markdown]
# ## One block, many times
#
# All thirteen networks are built alike. A first convolution, the [stem](../docs/glossary.md#stem), halves the image's
# sides. Then comes one kind of block, [MBConv](../docs/glossary.md#mbconv), 16 times in B0 and 55 times in B7, in
# seven stages; four of them halve the sides again, and each gives more channels than the one before. A last 1 × 1
# convolution makes the features, on a grid of 7 × 7 in B0, which are averaged and handed to the top.
#
# The drawing below shows the second block of B0's second stage, on a grid of 56 × 56. (If you come from the primer you
# know it; the numbers below it are new.) From left to right:
#
# - **Expand:** at every place a weighted sum of the 24 channels makes 144. This mixes channels but looks at one place
#   only, as any 1 × 1 convolution does.
# - **Depthwise:** each of the 144 channels gets its own small filter, 3 × 3 or 5 × 5. This looks at the neighbourhood
#   but mixes nothing, which makes it cheap.
# - **Squeeze-and-excite:** average each channel over the whole grid, compute from these averages a factor between 0 and
#   1 for each channel, and multiply. So a channel can be turned down by what the rest of the image shows.
# - **Project:** back to 24 channels. No [activation](../docs/glossary.md#activation) follows, since its bend would lose
#   information where there are few channels ([arXiv 1801.04381](https://arxiv.org/abs/1801.04381)).
# - **Skip:** add what came in. The block only has to learn what to change.
#
# Batch normalization follows each of the three convolutions; it is not drawn. The first block of a stage changes the
# number of channels or the grid, so there is nothing to add, and no skip. And the very first stage does not expand.
#
# How cheap is it? Below the drawing stand the block's [multiply-adds](../docs/glossary.md#multiply-adds),
# multiplications whose products are added up, beside those of one ordinary 3 × 3 convolution, which looks at the
# neighbourhood and mixes all 144 channels at the same time.

# %% tags=["slide"]
plotting.block_diagram()
b0 = models.build_backbone("B0", weights=None)
parts = {layer.name: models.count_multiply_adds([layer]) for layer in b0.layers if models.block_of(layer) == "block2b"}
print(", ".join(f"{name.removeprefix('block2b_')} {count:,}" for name, count in parts.items() if count))
block, ordinary = sum(parts.values()), 56 * 56 * 3 * 3 * 144 * 144
print(f"together {block:,}; one ordinary convolution of 144 channels {ordinary:,}, {ordinary / block:.0f} × as many")

# %% [markdown]
# ## The family in one table
#
# Building a network costs a second and needs no weights. So rather than copy a table, we build all thirteen and
# count parameters and multiply-adds. Papers often call the latter FLOPs.
#
# *Resolution* is the side of the square input in pixels that the variant was trained and published at. *Top-1* is the
# share of ImageNet's validation photographs for which the most probable class is the right one, as published. `ratio`
# is our count of multiply-adds divided by the published one. They agree to a few percent; the authors rounded, and
# counted some small things differently.

# %%
rows, layers_of = [], {}
for name, facts in VARIANTS.items():
    model = models.build_imagenet_classifier(name, weights=None)
    multiply_adds = models.count_multiply_adds(model)
    published = (facts.published_multiply_adds, facts.published_top1)
    rows.append((name, facts.resolution, model.count_params(), multiply_adds, *published))
    layers_of[name] = [type(layer).__name__ for layer in model.layers]
family = pd.DataFrame(rows, columns=["variant", "resolution", "parameters", "multiply_adds", "published", "top1"])
family["ratio"] = family["multiply_adds"] / family["published"]
records.record("smallest_ratio", float(family["ratio"].min()))
records.record("largest_ratio", float(family["ratio"].max()))

# %%
shown = family.assign(
    parameters=(family["parameters"] / 1e6).round(2),
    multiply_adds=(family["multiply_adds"] / 1e9).round(3),
    published=family["published"] / 1e9,
    ratio=family["ratio"].round(3),
)
shown.rename(
    columns={"parameters": "parameters, millions", "multiply_adds": "multiply-adds, billions", "top1": "top-1, %"}
)

# %% [markdown]
# ## Why EfficientNet mattered
#
# Set the family beside well-known networks of its time. All figures are published ones, each from one photograph shown
# once in the middle ("single crop"): those of ResNet, DenseNet, Inception, NASNet and AmoebaNet as the EfficientNet
# paper quotes them (table 2), MnasNet from [arXiv 1807.11626](https://arxiv.org/abs/1807.11626), MobileNetV2 and V3
# from [1801.04381](https://arxiv.org/abs/1801.04381) and [1905.02244](https://arxiv.org/abs/1905.02244). From one grid
# line to the next on the right, the cost grows two to two and a half times. (The table has five more with a cost, at
# 5.5 to 19 times that of the EfficientNet beside them: Xception, Inception-ResNet-v2, PolyNet, AmoebaNet-A and PNASNet.
# Their names would cover others here.)

# %% tags=["slide"]
columns = ["name", "family", "multiply_adds", "top1"]
published = [(v.name, v.published_multiply_adds, v.published_top1) for v in VARIANTS.values() if not v.is_lite]
points = [(name, "EfficientNet", *figures) for name, *figures in published]
rivals = [(other.name, other.family, other.multiply_adds, other.top1) for other in variants.CONTEMPORARIES]
plotting.accuracy_versus_cost(pd.DataFrame(points + rivals, columns=columns))
for name, _, cost, top1 in rivals:
    match, its_cost = next((name, cost) for name, cost, reached in published if reached >= top1)
    print(f"{name} costs {cost / its_cost:.1f} times as much as {match}, which is at least as accurate")

# %% [markdown]
# Look along a horizontal line, or read the list: for the same accuracy, the large networks shown cost from 4.1 to 17.8
# times as much. Not so the small networks for phones, at the lower left: they are relatives, made of the same kind
# of block, and the best of them lies where a still smaller EfficientNet would. (The list sets them beside B0, since
# there is no smaller one; B0 is clearly more accurate.) That is the paper's point: it takes a good small network, and a
# good way to make it larger.
#
# Two things the figure does not say. Each network was trained by its own authors in their own way, and better training
# alone lifts an old network by points. And a multiply-add is not a millisecond: what the networks cost on this machine
# is measured further below.
#
# ## Compound scaling, and where the variants leave it
#
# Why make depth, width and resolution grow together? Because B0 made about 4.5 times as expensive by more layers alone
# reaches 79.0 % in the paper, by more channels alone 78.9 %, by larger images alone 79.1 %, and by all three together
# 81.1 % (arXiv 1905.11946, table 7). Larger images show finer detail, which needs more channels to hold it, and more
# layers to see it as part of something large.
#
# The rule is short. Choose a number φ. Make the network deeper by α to the power of φ, wider by β to the φ,
# and its images larger by γ to the φ. The three constants were found once, for the small network, so that α · β² · γ²
# is about 2. Then each step of φ about doubles the cost: depth counts once, while channels and pixels count squared.
#
# Now the published variants. The paper says that they were made with different φ, and does not say which; the authors'
# code gives the three factors of each, already rounded. Readers have
# [asked](https://github.com/tensorflow/tpu/issues/390), and found values that nearly fit. So we compute: which φ would
# have given each factor?

# %% tags=["nbval-check-output"]
alpha, beta, gamma = variants.COMPOUND_ALPHA, variants.COMPOUND_BETA, variants.COMPOUND_GAMMA
cost_per_step = alpha * beta**2 * gamma**2
print(f"α = {alpha}, β = {beta}, γ = {gamma}: one step of φ costs {cost_per_step:.2f} times as much\n")
scaled = {name: facts for name, facts in VARIANTS.items() if not facts.is_lite}
implied = pd.DataFrame(
    {
        "from depth": [np.log(v.depth) / np.log(alpha) for v in scaled.values()],
        "from width": [np.log(v.width) / np.log(beta) for v in scaled.values()],
        "from resolution": [np.log(v.resolution / 224) / np.log(gamma) for v in scaled.values()],
    },
    index=list(scaled),
)
implied["mean"] = implied.mean(axis=1)
print(implied.round(1))

# %% [markdown]
# If the rule had been followed to the letter, each row would hold one and the same number. Up to B3 it nearly does, but
# for B1's channels, which do not grow at all. Further up the depth stays behind, and B7 has the φ of 7.0 in its images,
# 7.3 in its channels and 6.2 in its depth. So "B7 has φ = 7" is fair for two of the three, and no single φ gives B7.
# The next figure draws the rule, with the mean φ of each row, against what was published: at the top, less depth than
# the rule asks for, and a little more of the rest.

# %% tags=["slide"]
phi = implied["mean"]
plotting.compound_scaling(
    list(scaled),
    {"depth": alpha**phi, "width": beta**phi, "resolution": 224 * gamma**phi},
    {key: [getattr(v, key) for v in scaled.values()] for key in ("depth", "width", "resolution")},
)

# %% [markdown]
# These are the factors asked for. Two things more keep the networks themselves off the curve:
#
# - **Channels come in multiples of 8**, because processors work on groups of them. A small factor may change nothing.
# - **Blocks come whole**, and the number in each stage is rounded *up*. A small factor may change a lot.
#
# The second is worth a look. B1 asks for a tenth more depth than B0. What does it get?

# %% tags=["nbval-check-output"]
repeats_in = {name: [stage.repeats for stage in VARIANTS[name].stages()] for name in ("B0", "B1", "B7")}
for name, counts in repeats_in.items():
    more = sum(counts) / sum(repeats_in["B0"])
    print(f"{name}: depth factor {VARIANTS[name].depth}, blocks {counts}, together {sum(counts)}, {more:.2f} × B0's")

# %% [markdown]
# ## Stochastic depth
#
# Very deep networks train better if, at each step, some blocks are skipped at random for each image:
# [stochastic depth](../docs/glossary.md#stochastic-depth) ([arXiv 1603.09382](https://arxiv.org/abs/1603.09382)). It is
# the skip connection of the drawing that makes this possible: drop the block, and what came in goes on unchanged. So
# only blocks with a skip connection can be skipped. EfficientNet's code calls the rate `drop_connect_rate`. It rises in
# a line with depth: from 0 at the first block towards the given rate at the end, since early blocks feed all others.
# Nothing is skipped in inference.
#
# Many tutorials pass it to Keras' constructors. Keras 3 does not take it:

# %% tags=["slide-code"]
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
# The first block of each stage is missing: it has no skip connection. Does the rate act? Show the network the same
# photograph a few times in training mode, with everything else held still, and measure how far its features spread
# around their mean.

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
    print(f"drop_connect_rate {rate}: the features spread by {spreads[rate]:.4f}")
records.expect(spreads[0.0] < 1e-6 < min(spreads[0.2], spreads[0.4]), "spreads", spreads, "0 only at a rate of 0")

# %% [markdown]
# It does: at a rate of 0 the features are the same every time, above it they are not. Set the rate before training:
# once `fit` has taken its first step, a new rate on a layer changes nothing until the next `compile`.
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
# - **The stem and the last convolution are not scaled**, and the first and last stage are not deepened, which keeps the
#   larger Lites small and fast.
#
# What that costs in accuracy stands in the published figures:

# %% tags=["slide"]
lites = [v for v in VARIANTS.values() if v.is_lite]
lite_points = [(v.name, "EfficientNet-Lite", v.published_multiply_adds, v.published_top1) for v in lites]
plotting.accuracy_versus_cost(pd.DataFrame(points + lite_points, columns=columns))

# %% [markdown]
# Lite gives away two points at the small end, and less than one at the large end, each read off at the same count. What
# it buys is measured below.
#
# ## The same photographs, several networks
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
# Multiply-adds are counted, milliseconds are measured. Each network answers one image at a time, then 32 at once,
# through Keras' `predict_on_batch`; lesson 06 compares faster ways to serve a network. The first call with a size
# compiles and is not counted, so it comes first, for all networks. From here on they stand in the order of their
# counted multiply-adds.


# %%
def random_images(model, batch_size):
    return np.random.default_rng(seed).uniform(0, 255, (batch_size, *model.input_shape[1:])).astype("float32")


counted = family.set_index("variant")["multiply_adds"] / 1e9
by_cost = sorted(timed, key=counted.get)
networks = {name: models.build_imagenet_classifier(name, weights=None) for name in by_cost}
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


# %% tags=["alone", "slide"]
timings = {name: {size: milliseconds_per_image(model, size) for size in (1, 32)} for name, model in networks.items()}
latency = pd.DataFrame(timings).T
plotting.latency(latency)
records.record("ms_per_image", float(latency.loc[by_cost[0], 32]))

# %% [markdown]
# How well do multiply-adds predict the time? If they were all that counted, the time per billion of them would be the
# same everywhere.

# %%
per_billion = {f"ms per billion, batch of {size}": latency[size] / counted.loc[by_cost] for size in latency}
latency.assign(billions=counted.loc[by_cost], **per_billion).round(2)

# %% [markdown]
# A batch keeps the processor's cores busy and pays the cost of a call once, so it is as a rule cheaper per image. Lite0
# and B0 have nearly the same count, but B0 takes longer: squeeze-and-excitation and swish move much data for few
# multiplications. That difference is what Lite buys. For *your* choice, measure on *your* machine.
#
# ## One architecture, several accuracies
#
# The table's accuracies belong to networks trained in one particular way. The authors went on training the same
# architectures in better ways, and published the weights:

# %% tags=["nbval-check-output"]
print(pd.DataFrame(variants.RECIPES).T.to_string(na_rep="–"))

# %% [markdown]
# - **AutoAugment** searches for the augmentation that helps most. `weights="imagenet"` in Keras are these.
# - **AdvProp** also learns from images disturbed so as to mislead the network, through batch normalization layers of
#   their own.
# - **Noisy Student** labels hundreds of millions of further photographs with one network, and trains the next on them
#   under noise: dropout, stochastic depth, augmentation.
#
# Within a column the cost is the same, and only the weights differ. When two papers compare "EfficientNet-B3", ask
# which row they mean. Which of these can you load? `weights=` takes the names below, and what belongs to each is on
# record.

# %% tags=["nbval-check-output"]
for name, record in variants.WEIGHTS.items():
    scaled = "x/127.5 − 1" if record.mean[0] == 0.5 else "(x/255 − mean)/std"
    padding = "all sides alike" if record.symmetric_padding else "as TensorFlow"
    print(f"{name:14} {', '.join(record.published_top1):32} pixels {scaled:20} pads {padding}")

# %% [markdown]
# `models.build_backbone("B0", weights="advprop")` is the network you know: the same layers under the same names. Other
# numbers are in them, and the first layers scale pixels as those numbers want it, so you go on giving it pixels from 0
# to 255. *ra4* is B0 trained anew in PyTorch, by the author of the library timm. PyTorch pads convolutions of stride 2
# on all sides alike, where TensorFlow pads an even side by one more on the right and below, and it adds less to the
# variance in batch normalization: settings of the same layers again. With one of these wrong nothing fails; the answers
# are only worse. That is why they belong to the weights.
#
# | recipe | by name | from a file |
# |---|---|---|
# | baseline preprocessing | – | the authors' checkpoint, `"imagenet:efficientnet-b0"` |
# | AutoAugment | `"imagenet"`, Keras' own download | Keras' `.h5` or `.weights.h5`; the authors' checkpoint |
# | AdvProp | `"advprop"`, from the Hugging Face hub | timm's `.safetensors`; the authors' checkpoint |
# | Noisy Student | `"noisy-student"`, the same | the same |
# | ra4 (B0, B1) | `"ra4"`, the same | timm's `.safetensors` |
#
# A file of another variant, or one that says of itself that it is of another recipe, is refused. Keras' files say it,
# and timm's with their `config.json` beside them; others need the name before the path, as in
# `"advprop:model.safetensors"`.

# %% [markdown] tags=["slide"]
# ## Recap
#
# - One block makes up all thirteen: expand, filter each channel by itself, weight the channels, project, add. Lite
#   leaves out the weighting and swish.
# - The table can be counted, not just copied, and the counts agree with the published ones to a few percent. At its
#   time, EfficientNet needed a fraction of the multiply-adds of large networks of the same accuracy.
# - Compound scaling is a rule of thumb. The published factors leave it, most of all in depth; whole blocks, and
#   channels by eights, bend it further.
# - Stochastic depth skips blocks at random in training, more often towards the end, once its rate really reaches the
#   layers.
# - Time on your machine decides, not the count alone. And an accuracy belongs to weights, not to an architecture.
#
# **The surprise:** asked for a tenth more depth, B1 gets 44 % more blocks, because each stage rounds up.
#
# Which to take? Start with the smallest one whose resolution shows what matters in your images; everything in this
# course is quicker with it. A larger one wants larger images, more memory and more
# [regularization](../docs/glossary.md#regularization), and gains less each time: take it if it is better on *your*
# validation images, not because it is in the table of ImageNet.
#
# **Practise:** [exercises 02](exercises/02_variant_tour.ipynb)
#
# **Next:** [03 · Data loading](03_data_loading.ipynb) turns labelled pictures into batches.
