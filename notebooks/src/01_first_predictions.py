# %% [markdown] tags=["slide"]
# # 01 · First predictions
#
# **What does an EfficientNet see in a photograph, and what has to be right for it to see it?**
#
# ## What you will learn
#
# - what EfficientNet is, and why it mattered
# - how to classify a photograph with weights learned on ImageNet, and how to read the answer
# - how to build EfficientNetB0 in plain Keras, with its top and without
# - why pixels stay in [0, 255], and what dividing them by 255 does
# - what features are, and what they ignore
#
# | | |
# |---|---|
# | before you start | some Python, and [00 · Primer](00_primer.ipynb) if convolution and softmax are new to you |
# | takes | reading 12 minutes, running 1 minute, 1.5 GB of memory on two CPU cores |
# | downloads | nothing: photographs and the Lite weights came with the installation; B0–B7 fetch their weights once |
#
# Words in [links to the glossary](../docs/glossary.md) are explained there.

# %% [markdown]
# The course's own package comes first: it starts TensorFlow without its start-up messages. The last line asks whether
# this computer has what the lessons need, and says what helps where it has not. In a terminal, `effnet check` shows
# every check.

# %%
import warnings
from typing import Optional

from effnet_helpers import machine, models, plotting, records, runtime
from effnet_helpers.data import sample_photos
from effnet_helpers.preprocessing import load_image
from effnet_helpers.variants import get_variant

import keras
import numpy as np
import pandas as pd

print(runtime.describe())
print(machine.check_computer())

# %% [markdown]
# Everything you may want to change is in the next cell. To run the whole page with other values, change them here, or
# from a terminal: `effnet run 01 -p variant=Lite2 -p photo=/path/to/photo.jpg`.

# %% tags=["parameters"]
variant: str = "Lite0"  # which EfficientNet, Lite0 to Lite2 work offline, B0 to B7 download once
photo: Optional[str] = None  # path of a photograph of yours, shown after the seven that come along
top: int = 5  # how many of the most probable classes to show
seed: int = 0  # for random weights, where a network is built without pretrained ones

# %% [markdown]
# A wrong value should fail here, with one sentence, rather than in the middle of the page.

# %%
records.check(top=(top, 1, 10))
facts = get_variant(variant)
runtime.set_seed(seed)
photos = sample_photos() | ({"your photo": photo} if photo else {})
originals = [load_image(path) for path in photos.values()]

# %% [markdown]
# ## What EfficientNet is
#
# Until 2019 people mostly made convolutional networks more accurate in one of three ways: more layers, more channels,
# or larger images. Tan and Le asked what happens if all three grow together, in a fixed proportion. They called that
# [compound scaling](../docs/glossary.md#compound-scaling), and the result EfficientNet
# ([arXiv 1905.11946](https://arxiv.org/abs/1905.11946)): eight networks, B0 to B7, each more accurate and more
# expensive than the one before.
#
# Why it mattered fits into two rows of table 2 of that paper (arXiv 1905.11946). ResNet-50, the workhorse of the time,
# is right on 76.0 % of ImageNet's validation photographs and takes 4.1 billion multiplications for each.
# EfficientNet-B0 is right on 77.1 % and takes 0.39 billion. Lesson 02 draws the whole comparison.
#
# B0, the smallest, was not drawn by hand. A search tried many arrangements of one building block, and kept the one with
# the best balance of accuracy and multiplications. The same group had done this a year earlier for phones, and called
# that network *MnasNet*; B0 is its somewhat larger sibling. The block, which lessons 00 and 02 draw, is the
# [inverted residual](../docs/glossary.md#inverted-residual) of MobileNetV2: widen the channels, filter each by itself,
# narrow them again, add the input.
#
# The [Lite](../docs/glossary.md#lite) variants leave out the parts that phones and microcontrollers dislike. This
# course runs on them by default for a plain reason: their ImageNet weights can be installed like any other package, so
# everything here works without a network. B0 needs one download, once, and `variant` set to "B0"; the page then runs
# with it.

# %%
model = models.build_imagenet_classifier(variant)
print(f"EfficientNet-{facts.name}: {model.count_params():,} parameters")
print(f"takes {model.input_shape[1:]}, a square in red, green and blue; gives {model.output_shape[1]:,} numbers")

# %% [markdown]
# Each of the thousand numbers is the probability of one class of
# [ImageNet](../docs/glossary.md#imagenet): kinds of animals, plants, vehicles, food and household objects. The
# parameters were learned from 1.28 million photographs labelled with these classes
# ([arXiv 1409.0575](https://arxiv.org/abs/1409.0575)).
#
# ## Seven photographs
#
# These ship with scikit-image, scikit-learn and Matplotlib. None of them was chosen because it works.

# %% tags=["slide"]
plotting.image_grid(originals, list(photos), columns=4, heading="The photographs")

# %% [markdown]
# The network takes squares of one size. `load_image` does what the authors did when they measured their accuracy: cut
# out a central square, at 224 pixels seven eighths of the shorter side, and bring it to the network's size by bicubic
# interpolation, which computes each new pixel from the sixteen nearest old ones. (Where a picture shrinks, averaging
# over all the pixels that fall together looks better, and lessons 03 and later do so with your own pictures. But these
# weights were evaluated the other way.) The pixels remain numbers from 0 to 255. The photographs together are one array
# with four axes: photograph, row, column, colour.

# %%
images = np.stack([load_image(path, facts.resolution) for path in photos.values()])
print(f"{images.shape}, {images.dtype}, from {images.min():.0f} to {images.max():.0f}")

# %% [markdown]
# ## What it sees
#
# One call gives a row of probabilities for each photograph. `decode_predictions` looks up the names of the largest.

# %% tags=["slide-code"]
probabilities = model.predict(images, verbose=0)
predictions = models.decode_predictions(probabilities, top=top)
plotting.photos_with_predictions(list(images), list(photos), predictions)

# %% [markdown]
# Read such bars with three things in mind.
#
# - **It can only answer with what it knows.** Three of the thousand classes are for people: *groom*, *scuba diver* and
#   *ballplayer* ([arXiv 2103.06191](https://arxiv.org/abs/2103.06191)). Grace Hopper, admiral and author of one of the
#   first compilers, is none of them, and so the bars name what she wears, rightly or wrongly.
# - **The probabilities of all thousand classes add up to 1**, so several fitting names share what there is, as the
#   kinds of cat do here.
# - **A long bar is not a guarantee.** It says how much better this class fits than the 999 others, and nothing about
#   whether any of them fits.
#
# Here are the names alone, which should be the same on every machine. The number is the class's entry in WordNet, the
# dictionary that ImageNet took its classes from; it is there because names repeat (a *crane* is a bird or a machine).

# %% tags=["nbval-check-output"]
for name, best in zip(photos, predictions, strict=True):
    print(f"{name}: {best[0].class_name} ({best[0].wordnet_id})")

# %% [markdown]
# ## EfficientNetB0 in plain Keras
#
# So far a helper of this course has built the network, since it knows thirteen variants where Keras knows eight. You
# should be able to do without it. `keras.applications.EfficientNetB0` is the network with its weights:
# `weights="imagenet"`, the default, downloads them, and `weights=None` leaves random numbers, which is enough to look
# at it. `include_top=False` leaves out the last layers, the [top](../docs/glossary.md#top).

# %% tags=["nbval-check-output"]
b0 = keras.applications.EfficientNetB0(weights=None)
without_top = keras.applications.EfficientNetB0(weights=None, include_top=False, input_shape=(224, 224, 3))
for network in (b0, without_top):
    shapes = f"{network.input_shape[1:]} → {network.output_shape[1:]}"
    print(f"{shapes}, {len(network.layers)} layers, {network.count_params():,} parameters")

# %% [markdown]
# The top is three layers: an average over the image, [dropout](../docs/glossary.md#dropout), which acts only in
# training, and one matrix. More about it below.
#
# Is that what the helper builds? Compare kind, output shape and weight shapes of every layer. Then give both networks
# the same weights, and the same photograph.


# %%
def described(network):
    return [(type(layer).__name__, layer.output.shape, [w.shape for w in layer.weights]) for layer in network.layers]


ours = models.build_imagenet_classifier("B0", weights=None)
ours.set_weights(b0.get_weights())
cat_224 = load_image(photos["cat"], 224)[None]
apart = float(keras.ops.max(keras.ops.abs(ours(cat_224) - b0(cat_224))))
records.expect(described(ours) == described(b0) and apart < 1e-6, "the helper's B0", apart, "Keras' own B0")
print(f"{len(b0.layers)} layers, all of the same kind and shape; largest difference of the answers: {apart:.0e}")

# %% [markdown]
# ## Pixels stay in [0, 255]
#
# Many networks want their input divided by 255. EfficientNet in Keras does its own scaling, in its first layers. Here
# they are:

# %% tags=["nbval-check-output", "slide-code"]
for layer in b0.layers[:4]:
    settings = {key: value for key, value in layer.get_config().items() if key in ("scale", "offset")}
    print(f"{type(layer).__name__} {settings or ''}")

# %% [markdown]
# `Rescaling` multiplies by 1/255, and `Normalization` subtracts a mean from each colour and divides by a standard
# deviation, which come with the weights. Only then does the first convolution see the picture. (With
# `weights="imagenet"` Keras adds a second `Rescaling`, which makes up for a quirk of the original. It is missing if the
# same weights are loaded from a file: [issue 49930](https://github.com/tensorflow/tensorflow/issues/49930). The helper
# puts it in either way.) The Lite variants scale in a single layer, (pixel − 127) / 128.
#
# Dividing first scales twice. Nothing crashes; the network simply sees an almost black picture. The mistake is common,
# so models of this course say something when it happens. (In a notebook a warning appears in red; here it is caught
# and printed.)

# %%
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    divided = models.decode_predictions(model.predict(images / 255, verbose=0), top=1)
print(caught[0].message)

# %%
pd.DataFrame(
    {
        "pixels in [0, 255]": [f"{best[0].class_name} ({best[0].probability:.2f})" for best in predictions],
        "divided by 255": [f"{best[0].class_name} ({best[0].probability:.2f})" for best in divided],
    },
    index=list(photos),
)

# %% [markdown]
# The right-hand column is what a black picture looks like to the network: the same answer for every photograph, with
# next to no probability. An accuracy measured that way would look like a bad model, not like a bug.
#
# ## Without the top: features
#
# The top is made for ImageNet's thousand classes. Without it the network ends in a small map of features: 1,280
# numbers for each region of the image, in B0 and in every Lite. This part is called the
# [backbone](../docs/glossary.md#backbone). Averaged over the regions, which is called global average
# [pooling](../docs/glossary.md#pooling), it leaves 1,280 numbers a photograph. (In the shapes below, the first number
# counts photographs, the next two the rows and columns of regions.)

# %% tags=["nbval-check-output", "slide-code"]
backbone = models.build_backbone(variant)
maps = backbone.predict(images, verbose=0)
features = maps.mean(axis=(1, 2))
print(f"feature maps {maps.shape}, averaged over the regions {features.shape}")

# %% [markdown]
# What does the rest of the top do with them? It is a single matrix of weights: multiply the averaged features by it,
# add a constant for each class, and turn the sums into probabilities with [softmax](../docs/glossary.md#softmax). The
# next cell does that by hand and compares.

# %%
weights, constants = model.get_layer("predictions").get_weights()
scores = features @ weights + constants
by_hand = np.exp(scores - scores.max(axis=1, keepdims=True))
by_hand /= by_hand.sum(axis=1, keepdims=True)
difference = float(np.abs(by_hand - probabilities).max())
print(f"largest difference to the network's own probabilities: {difference:.1e}")

# %% [markdown]
# How large a part of the network is that? It depends on what one counts: numbers to store, or multiplications for one
# image.

# %% tags=["nbval-check-output"]
matrix = model.get_layer("predictions")
of_parameters = matrix.count_params() / model.count_params()
of_work = models.count_multiply_adds([matrix]) / models.count_multiply_adds(model)
print(f"{of_parameters:.0%} of the parameters, {of_work:.1%} of the multiplications")

# %% [markdown]
# A good part of what the network has stored, and nearly none of what it computes: a convolution uses each of its few
# weights again at every place of the image, the matrix uses each of its many weights once.
#
# So the work of turning pixels into something from which a weighted sum can tell an espresso from a cat is done in the
# backbone. That is why it can be used again: keep the backbone, replace the weighted sum, and you have a classifier
# for your own classes. That is [transfer learning](../docs/glossary.md#transfer-learning), and the rest of this course.
#
# ## What features ignore
#
# Mirror a photograph and nearly every pixel changes, but not what it shows. Do the features change? The cosine of the
# angle between two feature vectors says how alike they are: 1 if they point the same way, near 0 if they have little
# in common. Beside the mirror image stands the photograph turned upside down, and the mean over the six others as what
# is usual between photographs that have nothing to do with each other.


# %%
def cosine(first, second):
    return (first * second).sum(axis=-1) / np.linalg.norm(first, axis=-1) / np.linalg.norm(second, axis=-1)


mirrored = backbone.predict(images[:, :, ::-1], verbose=0).mean(axis=(1, 2))
upside_down = backbone.predict(images[:, ::-1], verbose=0).mean(axis=(1, 2))
others = np.array([cosine(features[i], np.delete(features, i, axis=0)).mean() for i in range(len(features))])
alike = {"mirror image": cosine(features, mirrored), "upside down": cosine(features, upside_down), "others": others}
pd.DataFrame(alike, index=list(photos)).round(2)

# %% [markdown]
# To the network a mirror image is nearly the same. Upside down, a photograph is less like itself, though still much
# more than other photographs are. Nothing in the layers makes that difference: a convolution treats left and right no
# better than up and down. It comes from what the network was shown. In training the authors' code mirrors each
# photograph at random, with the same label, and never turns one upside down; nor do people often take such photographs.
# Variations that are shown so that the network learns to ignore them are called
# [augmentation](../docs/glossary.md#augmentation); lesson 03 makes some for your own images. (The flower is an
# exception that explains itself: it is round.)
#
# ## A photograph of yours
#
# Set `photo` in the parameters cell to a path and run the page again: JPEG, PNG, WebP and other formats, upright or
# rotated by the camera, colour or grey. A path that cannot be read gives one sentence:

# %%
try:
    load_image("no_such_photo.jpg")
except (OSError, ValueError) as error:
    print(error)

# %% [markdown]
# Last, two figures go into the record of this run, and what must hold on every machine is checked: the kinds of cat
# share most of the probability of the first photograph. Other variants differ, so only the default is held to a number.

# %%
cat = next(iter(predictions))
cat_probability = sum(guess.probability for guess in cat if guess.class_name in ("Egyptian cat", "tiger cat", "tabby"))
print(f"the kinds of cat together: {cat_probability:.2f}")
records.record("cat_probability", cat_probability)
records.record("top_share_of_parameters", of_parameters)
if facts.name == "Lite0" and top >= 3:
    records.expect(cat_probability > 0.8, "probability of a cat", cat_probability, "above 0.8 with Lite0")

# %% [markdown] tags=["slide"]
# ## Recap
#
# - EfficientNet is a family: a small network found by search, and seven that grow from it in depth, width and
#   resolution together. B0 is more accurate than ResNet-50 with a tenth of the multiplications.
# - A pretrained network names ImageNet's thousand classes. Read its bars as "fits better than the others", within what
#   it knows.
# - `keras.applications.EfficientNetB0`, with `include_top` or without, is the network; the helper builds the same.
# - Pixels go in as 0 to 255. Divided by 255 they look black, and nothing tells you, unless something checks.
# - Without its top the network gives features, and its own top is only a weighted sum of them. They ignore what
#   training taught them to ignore.
#
# **The surprise:** the last matrix holds more than a quarter of Lite0's parameters, and does 0.3 % of its work.
#
# **Practise:** [exercises 01](exercises/01_first_predictions.ipynb)
#
# **Next:** [02 · Variant tour](02_variant_tour.ipynb) puts all thirteen networks side by side.
