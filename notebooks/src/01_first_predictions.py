# %% [markdown]
# # 01 · First predictions
#
# **What does an EfficientNet see in a photograph, and what has to be right for it to see it?**
#
# ## What you will learn
#
# - what EfficientNet is, and why it mattered
# - how to classify a photograph with weights learned on ImageNet, and how to read the answer
# - why pixels stay in [0, 255], and what dividing them by 255 does
# - what `include_top=False` leaves: features that any classifier can build on
# - how to try it on a photograph of your own
#
# | | |
# |---|---|
# | before you start | some Python; take a neural network as a function with many adjustable numbers |
# | takes | less than a minute and about 1 GB of memory on two CPU cores |
# | downloads | nothing: photographs and the Lite weights came with the installation; B0–B7 fetch their weights once |

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
seed: int = 0  # for everything drawn at random

# %% [markdown]
# A wrong value should fail here, with one sentence, rather than in the middle of the page.

# %%
facts = get_variant(variant)
records.expect(isinstance(top, int) and 1 <= top <= 10, "top", top, "a whole number from 1 to 10")
runtime.set_seed(seed)
photos = sample_photos() | ({"your photo": photo} if photo else {})
originals = [load_image(path) for path in photos.values()]

# %% [markdown]
# ## What EfficientNet is
#
# Until 2019 people made convolutional networks more accurate in one of three ways: more layers, more channels, or
# larger images. Tan and Le asked what happens if all three grow together, in a fixed proportion. They called that
# *compound scaling*, and the result EfficientNet ([arXiv 1905.11946](https://arxiv.org/abs/1905.11946)): eight
# networks, B0 to B7, each more accurate and more expensive than the one before, and each much cheaper than the
# networks of the same accuracy at the time.
#
# The smallest one, B0, was not drawn by hand. A search tried thousands of arrangements of one building block and kept
# the one with the best balance of accuracy and cost. The same group had done this a year earlier for phones, and
# called that network *MnasNet*; B0 is its somewhat larger sibling. The building block is the *inverted residual* of
# MobileNetV2: widen the channels, filter each channel by itself, narrow them again, add the input back.
#
# The *Lite* variants are the same idea with the parts left out that phones and microcontrollers dislike. This course
# runs on them by default for a plain reason: their ImageNet weights can be installed like any other package, so
# everything here works without a network. Notebook 02 compares the whole family.

# %%
model = models.build_imagenet_classifier(variant)
print(f"EfficientNet-{facts.name}: {model.count_params():,} parameters")
print(f"takes {model.input_shape[1:]}, a square in red, green and blue; gives {model.output_shape[1]:,} numbers")

# %% [markdown]
# Each of these numbers is the probability of one class of ImageNet: a thousand kinds of animals, plants, vehicles,
# food and household objects, learned from more than a million labelled photographs.
#
# ## Seven photographs
#
# These ship with scikit-image, scikit-learn and Matplotlib. None of them was chosen because it works.

# %%
plotting.image_grid(originals, list(photos), columns=4, heading="The photographs")

# %% [markdown]
# The network takes squares of one size. `load_image` does what the authors did when they measured their accuracy: cut
# the central square, with a small margin, and bring it to the network's size. The pixels remain numbers from 0 to
# 255.

# %%
images = np.stack([load_image(path, facts.resolution) for path in photos.values()])
print(f"{images.shape}, {images.dtype}, from {images.min():.0f} to {images.max():.0f}")

# %% [markdown]
# ## What it sees
#
# One call gives a row of probabilities for each photograph. `decode_predictions` looks up the names of the largest.

# %%
probabilities = model.predict(images, verbose=0)
predictions = models.decode_predictions(probabilities, top=top)
plotting.photos_with_predictions(list(images), list(photos), predictions)

# %% [markdown]
# Read such bars with three things in mind.
#
# - **It can only answer with what it knows.** There is no class for a person. Given one, the network names the
#   clothes.
# - **The bars add up to 1 over all classes**, so several fitting names share the probability between them, as the
#   kinds of cat do here.
# - **A long bar is not a guarantee.** It says how strongly this image resembles what the network learned under that
#   name, and nothing about whether the image was of any kind it knows.
#
# The names alone, which should come out the same on every machine:

# %% tags=["nbval-check-output"]
for name, best in zip(photos, predictions, strict=True):
    print(f"{name}: {best[0].class_name} ({best[0].wordnet_id})")

# %% [markdown]
# ## Pixels stay in [0, 255]
#
# Many networks want their input divided by 255. EfficientNet in Keras does its own scaling, in its first layers. You
# can see it there:

# %%
for layer in model.layers[:4]:
    settings = {key: value for key, value in layer.get_config().items() if key in ("scale", "offset")}
    print(f"{layer.name}: {type(layer).__name__} {settings or ''}")

# %% [markdown]
# Dividing first scales twice. Nothing crashes; the network simply sees an almost black picture. This is the commonest
# mistake with EfficientNet, so models of this course say something when it happens. (In a notebook a warning appears
# in red; here it is caught and printed.)

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
# The last layer, the *top*, is made for ImageNet's thousand classes. Leave it out (`include_top=False` in Keras) and
# the network ends in a small map of features, 1,280 numbers for each region of the image in B0 and every Lite. We
# call this part the *backbone*.

# %% tags=["nbval-check-output"]
backbone = models.build_backbone(variant)
maps = backbone.predict(images, verbose=0)
features = maps.mean(axis=(1, 2))
print(f"feature maps {maps.shape}, averaged over the regions {features.shape}")

# %% [markdown]
# How much of the recognising is left to the top? Very little. It is one matrix of weights: multiply the averaged
# features by it, add a constant for each class, and turn the sums into probabilities. The next cell does that by hand
# and compares.

# %%
weights, constants = model.get_layer("predictions").get_weights()
scores = features @ weights + constants
by_hand = np.exp(scores - scores.max(axis=1, keepdims=True))
by_hand /= by_hand.sum(axis=1, keepdims=True)
difference = float(np.abs(by_hand - probabilities).max())
print(f"largest difference to the network's own probabilities: {difference:.1e}")

# %% [markdown]
# So the backbone has already turned pixels into something from which a weighted sum can tell an espresso from a cat.
# That is why it can be re-used: keep the backbone, replace the weighted sum, and you have a classifier for your own
# classes. That is *transfer learning*, and the rest of this course.
#
# What makes features useful is what they ignore. Mirror a photograph and nearly every pixel changes, but its features
# hardly do. The cosine of the angle between two feature vectors says how alike they are: 1 if they point the same
# way, near 0 if they have little in common.


# %%
def cosine(first, second):
    return (first * second).sum(axis=-1) / np.linalg.norm(first, axis=-1) / np.linalg.norm(second, axis=-1)


mirrored = backbone.predict(images[:, :, ::-1], verbose=0).mean(axis=(1, 2))
others = np.array([cosine(features[i], np.delete(features, i, axis=0)).mean() for i in range(len(features))])
pd.DataFrame({"its mirror image": cosine(features, mirrored), "the other photos": others}, index=list(photos)).round(2)

# %% [markdown]
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
# Two figures go into the record of this run, and what must hold on every machine is checked. With other variants the
# probabilities differ, so only the default is held to a number.

# %%
cat = next(iter(predictions))
cat_probability = sum(guess.probability for guess in cat if guess.class_name in ("Egyptian cat", "tiger cat", "tabby"))
records.record("cat_probability", cat_probability)
records.record("largest_difference", difference)
if facts.name == "Lite0" and top >= 3:
    records.expect(cat_probability > 0.8, "probability of a cat", cat_probability, "above 0.8 with Lite0")

# %% [markdown]
# ## Recap
#
# - EfficientNet is a family found by searching a small network and scaling depth, width and resolution together.
# - A pretrained network names ImageNet's thousand classes; read its bars as resemblance, within what it knows.
# - Pixels go in as 0 to 255. Divided by 255 they look black, and nothing tells you, unless something checks.
# - Without its top, the network gives features, and its own top is only a weighted sum of them.
# - Any photograph goes in through one parameter.
#
# **The surprise:** all that separates a thousand-class classifier from the features is one matrix.
#
# ## Exercises
#
# 1. The central square cuts off the sides. Which photographs change their answer if the whole image is squeezed into
#    a square instead? A solution follows.
# 2. Turn the cat upside down (`images[:1, ::-1]`). Does it remain a cat? Should it?
# 3. Run the page with `variant` set to "Lite2". Which answers become surer, and which less so?

# %% tags=["solution"]
from effnet_helpers.preprocessing import resize

squeezed = np.stack([resize(image, facts.resolution, "squash") for image in originals])
for name, before, after in zip(photos, predictions, models.decode_predictions(model.predict(squeezed, verbose=0), 1)):
    print(f"{name}: {before[0].class_name} → {after[0].class_name} ({after[0].probability:.2f})")

# %% [markdown]
# **Next:** [02 · Variant tour](02_variant_tour.ipynb) puts all thirteen networks side by side.
