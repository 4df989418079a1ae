# %% [markdown] tags=["slide"]
# # 00 · Primer
#
# **What is a network made of, how does it learn from pictures, and how can that go wrong?**
#
# ## What you will learn
#
# - to read a photograph as numbers, and a convolution as a small weighted sum that you can do by hand
# - how scores become probabilities and probabilities one loss, and what guessing costs: log K
# - what a gradient step is, by formula, by hand and in Keras; what a batch and an epoch are
# - to see from two curves that a network learns its images by heart
# - what batch normalization does in training and otherwise, and how the block that EfficientNet repeats is put together
#
# | | |
# |---|---|
# | before you start | some Python and NumPy; you need not have trained anything |
# | takes | reading 20 minutes, running 1 minute, 1.5 GB of memory on two CPU cores |
# | downloads | nothing |
#
# Whoever has trained networks before can go straight to [01](01_first_predictions.ipynb). All words of the course
# stand in the [glossary](../docs/glossary.md).

# %%
from effnet_helpers import plotting, records, runtime
from effnet_helpers.data import sample_photos
from effnet_helpers.preprocessing import load_image

import keras
import numpy as np
import pandas as pd
import tensorflow as tf

print(runtime.describe())

# %% [markdown]
# Everything you may want to change is in the next cell. Several cells below ask you to guess before you run them. Do:
# a wrong guess is remembered longer than a right answer that was only read. The cell after it checks your values.

# %% tags=["parameters"]
learning_rate: float = 1.0  # how far one step goes, in the part with two weights
steps: int = 30  # how many steps to take there
hidden: int = 256  # units in the network that learns by heart
images_per_class: int = 15  # training images of each class for it
epochs: int = 60  # passes over these images
seed: int = 0  # for everything drawn at random

# %%
records.check(
    learning_rate=(learning_rate, 0.0, 10.0), steps=(steps, 1, None), hidden=(hidden, 1, None),
    images_per_class=(images_per_class, 1, 200), epochs=(epochs, 2, None), seed=(seed, 0, None),
)  # fmt: skip
runtime.set_seed(seed)

# %% [markdown]
# ## A photograph is numbers
#
# Seven photographs came with the installation. Here is the middle of one. A picture is a block of numbers, one for
# each row, column and [channel](../docs/glossary.md#channel): red, green and blue, from 0 for dark to 255 for bright.
# To keep them few, we take the mean of the three channels: a grey picture, with one number a
# [pixel](../docs/glossary.md#pixel).
#
# *Before you run the next cell:* it enlarges a square of eight by eight pixels at the left rim of the white cup.
# Where in the square will the large numbers be?

# %% tags=["slide"]
photos = {name: load_image(path) for name, path in sample_photos().items()}
cup = photos["coffee"][20:340, 60:500]
print(f"{cup.shape[0]} rows, {cup.shape[1]} columns, {cup.shape[2]} channels: {cup.size:,} numbers")
grey = cup.mean(axis=-1)
top, left = 99, 110
plotting.pixel_values(grey, (top, left), side=8)

# %% [markdown]
# The saucer at the left is dark, the cup at the right is bright, and between them the numbers jump. This is all that
# a network ever gets. That there is a cup must be found in such numbers. (Most networks want them on another scale,
# such as −1 to 1. EfficientNet in Keras takes 0 to 255 and does this
# [normalization](../docs/glossary.md#normalization) itself.)
#
# ## Convolution: one small weighted sum, everywhere
#
# Here are nine [weights](../docs/glossary.md#weights). Lay them over nine pixels, multiply each pixel by the weight
# that lies on it, and add up. Such a set of weights is a [kernel](../docs/glossary.md#kernel).
#
# *Before you run the next cell:* what does this kernel give where all nine pixels are the same? And where it is dark
# on the left and bright on the right?

# %%
kernel = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]])
for name, column in (("saucer", 0), ("rim", 3), ("cup", 5)):
    pixels = grey[top : top + 3, left + column : left + column + 3]
    print(f"{name}: pixels {pixels.round().astype(int).tolist()}, weighted sum {np.sum(pixels * kernel):.0f}")

# %% [markdown]
# Near 0 where nothing changes from left to right, and large on the rim: the kernel finds vertical edges. Doing the
# same at *every* place is a [convolution](../docs/glossary.md#convolution). The function below does it for nine
# weights, by moving the whole picture about: each of the nine gets a shifted copy to multiply.
#
# *Before you run the next cell:* the kernel turned on its side (`kernel.T`) finds other edges. Which ones? Where on
# the cup's rim will the two answers change places?


# %% tags=["slide-code"]
def convolve(picture, kernel):
    rows, columns = picture.shape[0] - 2, picture.shape[1] - 2
    result = np.zeros((rows, columns))
    for i in range(3):
        for j in range(3):
            result += kernel[i, j] * picture[i : i + rows, j : j + columns]
    return result


edges = {"vertical edges": convolve(grey, kernel), "horizontal edges": convolve(grey, kernel.T)}
strengths = [255 - np.abs(result)[..., np.newaxis].repeat(3, axis=-1) for result in edges.values()]
plotting.image_grid(
    strengths, list(edges), columns=2, heading="Two kernels: the darker, the stronger the edge", widest=4
)

# %% [markdown]
# The left and right rim of the cup stand out in the first picture, the near and far rim in the second. What comes out
# is again a grid of numbers, a [feature map](../docs/glossary.md#feature-map): it says where something is, here an
# edge. (The figure shows how large the sums are. They also have a sign: above 0 from dark to bright, below 0 from
# bright to dark.)
#
# Keras has the same as a layer. It holds the kernel as its weights, in the order height, width, channels in, channels
# out. Put ours in, and compare. (Keras takes several pictures at once, each with its channels, so ours gets two more
# axes of length 1. `use_bias=False` leaves out a constant that a layer can add to its sums.)

# %%
layer = keras.layers.Conv2D(filters=1, kernel_size=3, use_bias=False)
layer.build((None, None, None, 1))
layer.set_weights([kernel[:, :, np.newaxis, np.newaxis].astype("float32")])
by_keras = layer(grey[np.newaxis, :, :, np.newaxis]).numpy()[0, :, :, 0]
convolution_difference = float(np.abs(by_keras - edges["vertical edges"]).max())
print(f"largest difference to ours: {convolution_difference:.4f}, where the values reach {np.abs(by_keras).max():.0f}")

# %% [markdown]
# A network's layer differs from this in three ways. It sees *all* channels of what is below. It has many kernels,
# each of which gives a channel of its own. And nobody writes the weights down: they begin at random and are learned.
# How that works takes three more ideas: a way to state an answer, a measure of how wrong it is, and a direction in
# which to change.
#
# ## Softmax: from scores to probabilities
#
# At its end a network computes one score for each class, which may be any number. Such scores are called
# [logits](../docs/glossary.md#logits). To make them probabilities, take the exponential of each, which is positive,
# and divide by the sum, so that they add up to 1. This is [softmax](../docs/glossary.md#softmax).
#
# *Before you run the next cell:* what becomes of the probabilities if 3 is added to every score? And if every score
# is multiplied by 3?


# %% tags=["slide-code"]
def softmax(scores):
    exponentials = np.exp(scores)
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


scores = np.array([2.0, 1.0, -1.0])
for name, values in {"as they are": scores, "3 more each": scores + 3, "3 times as much": scores * 3}.items():
    print(f"{name}: scores {values}, probabilities {softmax(values).round(3)}")

# %% [markdown]
# Only differences between scores count, and larger differences make a surer answer.
#
# ## Loss: one number for how wrong that was
#
# Say the image shows the first class; that is its [label](../docs/glossary.md#label). The answer is good if the first
# probability is near 1. The usual measure is the negative logarithm of the probability *of the right class*, the
# [cross-entropy](../docs/glossary.md#cross-entropy). At probability 1 the loss is 0, and the smaller the probability,
# the larger the loss.
#
# What does a network lose that knows nothing? It gives each of K classes the probability 1/K, so its loss is
# −log(1/K), which is [log K](../docs/glossary.md#log-k). (The logarithm is the natural one, here and in Keras.)
#
# *Before you run the next cell:* guessing among two classes costs 0.69. Does guessing among a thousand cost 500 times
# as much?

# %% tags=["slide-code"]
for k in (2, 3, 7, 120, 1000):
    guess = np.full((1, k), 1 / k)
    by_keras = keras.losses.SparseCategoricalCrossentropy()(np.array([0]), guess)
    print(f"{k} classes, {1 / k:.3f} for each: −log is {-np.log(1 / k):.2f}, Keras' loss {float(by_keras):.2f}")

# %% [markdown]
# No: the logarithm grows slowly, and a thousand classes cost 6.91. Remember log K for your own classes. At the start of
# a training the loss should be near log K. **A loss above log K is worse than guessing**: the network is sure of wrong
# answers. It is the first alarm to look for in a curve.
#
# Why not simply count wrong answers? [Accuracy](../docs/glossary.md#accuracy) is what we want in the end, but it
# stands still when a weight changes a little, and then jumps. The loss answers to every small change, so it can say
# in which direction to go.
#
# ## A task with two weights
#
# Take small squares of 32 × 32 pixels out of two photographs, flower and temple. Which of the two does a square come
# from? We give each square two [features](../docs/glossary.md#feature): how bright it is, and how much neighbouring
# pixels differ.


# %%
def squares(photo, side):
    rows, columns = photo.shape[0] // side, photo.shape[1] // side
    # from (height, width, 3) to one square after the other: (squares, side, side, 3)
    cut = photo[: rows * side, : columns * side].reshape(rows, side, columns, side, 3)
    return cut.swapaxes(1, 2).reshape(rows * columns, side, side, 3)


def brightness_and_detail(images):
    grey = images.mean(axis=-1)
    return np.stack([grey.mean(axis=(1, 2)), np.abs(np.diff(grey, axis=2)).mean(axis=(1, 2))], axis=1)


flower, temple = (brightness_and_detail(squares(photos[name], side=32)) for name in ("flower", "temple"))
x = np.concatenate([flower, temple])
x = (x - x.mean(axis=0)) / x.std(axis=0)
y = np.repeat([0.0, 1.0], [len(flower), len(temple)])
names = np.where(y == 1, "temple", "flower")
pd.DataFrame(x, columns=["brightness", "detail"]).groupby(names).agg(["size", "mean"]).round(2)

# %% [markdown]
# Both features were brought to mean 0 and standard deviation 1, so that neither counts more because of its unit.
# Squares of the temple are brighter and have more detail than those of the flower, on average. `x` holds the features
# and `y` the labels, 0 for flower and 1 for temple.
#
# The model: multiply each feature by a weight, add, and turn the sum into the probability of "temple". For two
# classes one score is enough, and softmax becomes the [sigmoid](../docs/glossary.md#sigmoid). This is
# [logistic regression](../docs/glossary.md#logistic-regression), and the last layer of every classifier in this
# course is of this kind.
#
# ## The gradient: which way is down?
#
# Both weights begin at 0, so every square gets the probability 0.5, and the loss is log 2. How much would the loss
# change if one of the weights were a little larger? These numbers, one for each weight, are the
# [gradient](../docs/glossary.md#gradient). There are three ways to them:
#
# - **Trying.** Make each weight a little larger and compute the loss again. That takes a pass over the data for every
#   weight, which for millions of weights is hopeless.
# - **A formula.** Calculus gives all of them at once. For logistic regression the derivative is short: the error of
#   each square, p − y, which is the probability it was given minus its label, times its features, averaged.
# - **A tape.** TensorFlow finds the derivative of anything it computes: the tape notes each operation, and is then
#   gone through backwards. That is what `fit` does in every step. (`from_logits=True` says that the scores go in,
#   before the sigmoid.)
#
# *Before you run the next cells:* temple squares are brighter. Should the first weight grow or shrink? So what is the
# sign of the first number?


# %% tags=["slide-code"]
def probability(w):
    return 1 / (1 + np.exp(-x @ w))


def loss(w):
    p = np.clip(probability(w), 1e-7, 1 - 1e-7)  # as Keras does, so that there is no logarithm of 0
    return -np.mean(y * np.log(p) + (1 - y) * np.log(1 - p))


def gradient(w):
    return x.T @ (probability(w) - y) / len(y)


# %%
w, h = np.zeros(2), 1e-4
nudged = np.array([(loss(w + step) - loss(w)) / h for step in (np.array([h, 0]), np.array([0, h]))])
variable = tf.Variable(w, dtype="float32")
with tf.GradientTape() as tape:
    loss_on_tape = keras.losses.BinaryCrossentropy(from_logits=True)(y, tf.linalg.matvec(x, variable))
by_tape = tape.gradient(loss_on_tape, variable).numpy()
print(f"loss {loss(w):.4f}, log 2 is {np.log(2):.4f}")
print(f"gradient by trying {nudged.round(4)}, by formula {gradient(w).round(4)}, by tape {by_tape.round(4)}")

# %% [markdown]
# Three ways, one answer, and both numbers are negative: larger weights, smaller loss.
#
# ## A step, and many
#
# Now change the weights *against* the gradient. How far? By the gradient times a number that you choose, the
# [learning rate](../docs/glossary.md#learning-rate). That is one [step](../docs/glossary.md#step), and all of
# training is such steps, over and over. Two weights have the virtue that the loss can be drawn for every pair of
# them, like the height of a landscape.
#
# *Before you run the next cell:* it walks down three times, with the same number of steps: with the learning rate
# above, with a twentieth of it, and with twenty times as much. How will the three walks differ?


# %% tags=["slide"]
def descend(rate):
    path = [np.zeros(2)]
    for _ in range(steps):
        path.append(path[-1] - rate * gradient(path[-1]))
    return np.array(path)


paths = {f"rate {rate:g}": descend(rate) for rate in (20 * learning_rate, learning_rate, learning_rate / 20)}
for name, path in paths.items():
    right = np.mean((probability(path[-1]) > 0.5) == y)
    print(f"{name}: weights {path[-1].round(2)}, {right:.1%} right", end="; ")
    print("loss after 0, 1, all steps", [round(float(loss(w)), 3) for w in (path[0], path[1], path[-1])])
first, second = np.linspace(-1, 6.5, 61), np.linspace(-1, 5.5, 53)
landscape = np.array([[loss(np.array([a, b])) for a in first] for b in second])
plotting.descent(landscape, first, second, paths)

# %% [markdown]
# The small rate is on its way and has not come far. The middle one takes long steps where it is steep and short ones
# where it is flat, though the rate stays the same. The large one overshoots: it lands on the other side of the valley,
# and is thrown back and forth without settling. (All three are right about equally often, since which class comes out
# ahead depends only on the direction in which the weights lie. The loss also asks how sure the answers are.) No rate is
# right in itself; such a number, which you choose and training does not, is called a
# [hyperparameter](../docs/glossary.md#hyperparameter). Deep networks have millions of weights in place of two. Nobody
# can draw their landscape, but the walk is the same.
#
# ## Batch and epoch
#
# Each step above used all squares. With a million photographs, a single step would take very long. So a step takes
# only a few images, a [batch](../docs/glossary.md#batch): its gradient is a rough estimate of the whole one, but it
# costs so little that many can be taken. One pass over all images is an [epoch](../docs/glossary.md#epoch).
#
# Here is the same model in Keras: one *dense* layer, which is a weighted sum of all that goes in; plain gradient
# descent, which Keras calls `SGD`; and cross-entropy, for two classes `binary_crossentropy`. First with all squares in
# each batch, which must repeat our walk; then with 32 squares in a batch.
#
# *Before you run the next cell:* how many steps of 32 squares are there in 3 epochs? Will they get further than 3
# steps with all squares at once?


# %%
def fitted(batch_size, epochs):
    weighted_sum = keras.layers.Dense(1, activation="sigmoid", use_bias=False, kernel_initializer="zeros")
    model = keras.Sequential([keras.Input((2,)), weighted_sum])
    model.compile(keras.optimizers.SGD(learning_rate), loss="binary_crossentropy")
    model.fit(x, y[:, np.newaxis], batch_size=batch_size, epochs=epochs, verbose=0)
    return model.get_weights()[0][:, 0], int(model.optimizer.iterations)


walked = paths[f"rate {learning_rate:g}"]
in_keras, taken = fitted(batch_size=len(x), epochs=steps)
step_difference = float(np.abs(in_keras - walked[-1]).max())
print(f"all squares, {steps} epochs: {taken} steps, weights differ from ours by {step_difference:.0e}")
in_batches, taken = fitted(batch_size=32, epochs=3)
print(
    f"32 squares, 3 epochs: {taken} steps, loss {loss(in_batches):.3f}; ours after 3 steps {loss(walked[:4][-1]):.3f}"
)

# %% [markdown]
# Keras repeats our walk. And three passes over the squares, in batches of 32, make 51 steps, which come much further
# than three steps of a whole pass each.
#
# ## Overfitting: learning by heart
#
# A model with two weights cannot learn much by heart. A network with many can. The task: which of the *seven*
# photographs does a square of 16 × 16 pixels come from? This time the network gets the pixels themselves.
#
# Some squares are for training, others are kept back for *validation*: the network never learns from them. They tell
# how it does on squares it has not seen ([generalization](../docs/glossary.md#generalization)), which is what counts.
#
# The network: flatten the pixels into one row; a dense layer with many *units*, each of which is a weighted sum of
# all pixels; an [activation](../docs/glossary.md#activation) that sets what is below 0 to 0 (more on that below); and
# a weighted sum for each class, with softmax. Its [optimizer](../docs/glossary.md#optimizer),
# [Adam](../docs/glossary.md#adam), is gradient descent that finds a step's length for each weight by itself, and
# `sparse_categorical_crossentropy` is cross-entropy for labels that are whole numbers.
#
# *Before you run the next cells:* think of two curves of the loss, one of training and one of validation. Which of
# the two will go on falling? Where is log 7, the loss of guessing?

# %%
drawn = np.random.default_rng(seed)
train, val = [], []
for photo in photos.values():
    mixed = drawn.permutation(squares(photo, side=16)) / 128 - 1
    train.append(mixed[:images_per_class])
    val.append(mixed[images_per_class : images_per_class + 60])
labels = np.repeat(range(len(photos)), images_per_class)
val_labels = np.repeat(range(len(photos)), 60)
layers = [keras.layers.Flatten(), keras.layers.Dense(hidden, "relu"), keras.layers.Dense(len(photos), "softmax")]
network = keras.Sequential([keras.Input((16, 16, 3)), *layers])
network.compile(keras.optimizers.Adam(0.002), loss="sparse_categorical_crossentropy", metrics=["accuracy"])
print(f"{network.count_params():,} weights, {len(labels)} squares to learn, {len(val_labels)} for validation")

# %% tags=["slide"]
pixels = {"x": np.concatenate(train), "y": labels, "validation_data": (np.concatenate(val), val_labels)}
history = network.fit(**pixels, batch_size=32, epochs=epochs, verbose=0).history
plotting.learning_curves({"network": history}, num_classes=len(photos))
lowest = int(np.argmin(history["val_loss"]))
for name, epoch in (("lowest validation loss", lowest), ("last", epochs - 1)):
    values = {key: round(history[key][epoch], 2) for key in history}
    print(f"{name}, epoch {epoch + 1}: {values}")
print(f"guessing: accuracy {1 / len(photos):.2f}, loss {np.log(len(photos)):.2f}")
records.record("overfitted_val_loss", history["val_loss"][-1])

# %% [markdown]
# Both fall at first: the network learns what distinguishes the photographs. (They begin a little above guessing,
# since random weights are sure of things that they cannot know; what matters is that this passes.) Then training goes
# on falling and validation turns and rises: from there on the network learns *these* squares, noise and all. That is
# [overfitting](../docs/glossary.md#overfitting).
#
# Compare the last epoch with guessing. In this run the validation loss ends above what guessing costs, although far
# more answers are right than a guesser's. How can that be? The network is nearly certain of everything by now, and a
# wrong answer that is certain costs more than many right ones save. (Whether certainty is deserved is called
# [calibration](../docs/glossary.md#calibration). Another `seed` draws other squares, and the curve may end lower.)
#
# What helps is the rest of the course: more images, or varied ones
# ([augmentation](../docs/glossary.md#augmentation)); fewer weights that move; stopping at the lowest validation loss
# ([early stopping](../docs/glossary.md#early-stopping)); and above all to begin with weights that learned to see on
# a million other photographs.
#
# ## Batch normalization: two modes
#
# One more layer must be understood before lesson 05, since it is the one that people trip over. Features come in all
# sizes, which makes steps hard to choose. [Batch normalization](../docs/glossary.md#batch-normalization) brings each
# channel to mean 0 and standard deviation 1, by the mean and variance *of the current batch*.

# %%
batch = np.random.default_rng(seed).normal(loc=[10, -5], scale=[4, 1], size=(32, 2)).astype("float32")
mean, variance = batch.mean(axis=0), batch.var(axis=0)
by_hand = (batch - mean) / np.sqrt(variance + 0.001)
norm = keras.layers.BatchNormalization(momentum=0.9)
norm_difference = float(np.abs(norm(batch, training=True) - by_hand).max())
print(f"mean {mean.round(2)}, variance {variance.round(2)}; Keras and by hand differ by {norm_difference:.0e}")

# %% [markdown]
# (The 0.001 keeps it from dividing by zero. Then each channel is scaled and shifted by two learned numbers, which
# begin as 1 and 0 and do nothing yet.)
#
# That is fine in training. But later the network is to answer for *one* image, and there is no batch to take a mean
# over. So the layer keeps a running average of the means and variances it sees in training (an
# [exponential moving average](../docs/glossary.md#exponential-moving-average)), and uses those when it only answers:
# [inference mode](../docs/glossary.md#inference-mode).
#
# *Before you run the next cell:* the averages begin at 0 and 1, and each batch moves them a tenth of the way towards
# its own. The layer has seen one batch so far. What will its stored mean of the first channel be? And after thirty?
# Then it gives the layer the same row of two numbers in different company. In which of the two modes does the answer
# depend on the company? What is left of a row that is alone?

# %%
print(f"after 1 batch: stored mean {norm.moving_mean.numpy().round(2)}")
for _ in range(29):
    norm(batch, training=True)
print(f"after 30 batches: stored mean {norm.moving_mean.numpy().round(2)}, the batch's own {mean.round(2)}")

company = {"with its batch": batch, "with others": np.concatenate([batch[:1], batch[1:] + 20]), "alone": batch[:1]}
inference = {name: norm(rows, training=False)[0].numpy() for name, rows in company.items()}
training = {name: norm(rows, training=True)[0].numpy() for name, rows in company.items()}
pd.DataFrame({"training mode": training, "inference mode": inference}).map(lambda row: row.round(2))

# %% [markdown]
# In training mode an answer depends on the rest of the batch, and alone nothing is left. In inference mode it depends
# on nothing but the row and what was stored. There is more: the calls in training mode have just moved the stored
# averages, towards batches that were quite unlike the first thirty. That is what happens to a pretrained network on
# new images: its stored numbers, gathered over a million photographs, are overwritten by a few batches of yours.
#
# So lessons 04 and 05 [freeze](../docs/glossary.md#frozen) these layers. In Keras, `trainable = False` on batch
# normalization does two things: scale and shift are no longer learned, and the layer stays in inference mode, even in
# training.

# %%
norm.trainable = False
stored = norm.moving_mean.numpy()
frozen_difference = float(np.abs(norm(batch, training=True) - norm(batch, training=False)).max())
moved = float(np.abs(norm.moving_mean - stored).max())
print(f"frozen: the two modes differ by {frozen_difference:g}, the stored mean has moved by {moved:g}")

# %% [markdown]
# ## The block that EfficientNet repeats
#
# You now have all parts of EfficientNet's block but three. The first is the bend between weighted sums. Without one,
# two layers in a row would be no more than one, since a weighted sum of weighted sums is a weighted sum. The simplest,
# [ReLU](../docs/glossary.md#relu), sets what is below 0 to 0. EfficientNet uses [swish](../docs/glossary.md#swish),
# x · sigmoid(x), which is smooth; its Lite variants use [ReLU6](../docs/glossary.md#relu6), which stops at 6 as well.
#
# The second part saves weights. A full convolution connects every channel with every other one, by nine weights each.
# A [depthwise convolution](../docs/glossary.md#depthwise-convolution) filters each channel by itself, and a
# convolution of 1 × 1, which looks at one pixel only, mixes the channels.
#
# *Before you run the next cell:* with 144 channels, which of the three has the most weights, and by how much? Where
# do swish and ReLU differ most?

# %% tags=["slide"]
convolutions = {
    "full 3 × 3": keras.layers.Conv2D(144, 3, use_bias=False),
    "depthwise 3 × 3": keras.layers.DepthwiseConv2D(3, use_bias=False),
    "1 × 1": keras.layers.Conv2D(144, 1, use_bias=False),
}
for name, layer in convolutions.items():
    layer.build((None, None, None, 144))
    print(f"{name}, 144 channels to 144: {layer.count_params():,} weights")
z = np.linspace(-5, 8, 66)
plotting.functions({"swish": z / (1 + np.exp(-z)), "ReLU": np.maximum(z, 0), "ReLU6": np.clip(z, 0, 6)}, z)

# %% [markdown]
# The last two together, which stand in for the first, have less than an eighth of its weights. Swish and ReLU differ
# most a little below −1 and a little above 1.
#
# The third part lets a block look at the whole picture:
# [squeeze-and-excitation](../docs/glossary.md#squeeze-and-excitation). Each channel is averaged over the image; a tiny
# network turns these averages into a factor between 0 and 1 for each channel; and the channel is multiplied by it.
#
# Together they make the [MBConv](../docs/glossary.md#mbconv) block. Read it from left to right. Batch normalization
# follows each of the three convolutions and is not drawn.

# %% tags=["slide"]
plotting.block_diagram()

# %% [markdown]
# In the lower row is the block of [Lite](../docs/glossary.md#lite): the same without squeeze-and-excitation, and with
# ReLU6. The dashed way round is the skip or [residual connection](../docs/glossary.md#residual-connection): what
# went in is added to what comes out, so a block needs to learn only what to change.
#
# *Before you run the next cell:* it lists the layers of the block in EfficientNet-B0 that is drawn above. Which of
# them will you find in the drawing?

# %%
b0 = keras.applications.EfficientNetB0(weights=None)
blocks = {layer.name.split("_")[0] for layer in b0.layers if layer.name.startswith("block")}
print(f"EfficientNet-B0: {len(blocks)} blocks, {len(b0.layers)} layers, {b0.count_params():,} parameters")
block = [layer for layer in b0.layers if layer.name.startswith("block2b_")]
kinds = {layer.name: (type(layer).__name__, layer.output.shape[1:], layer.count_params()) for layer in block}
pd.DataFrame(kinds, index=["layer", "rows, columns, channels", "parameters"]).T

# %% [markdown]
# `bn` is batch normalization, `se` squeeze-and-excitation, and `drop` is
# [stochastic depth](../docs/glossary.md#stochastic-depth), which lesson 02 explains. The line above the table says how
# many such blocks EfficientNet-B0 has. Add a convolution before them, one behind them, an average over the image and a
# last weighted sum, and that is the whole network.
#
# The last cell holds Keras to what was computed by hand.

# %%
for name, difference in (("convolution", convolution_difference), ("step", step_difference), ("norm", norm_difference)):
    records.record(f"{name}_difference", difference)
    records.expect(difference < 0.01, f"difference between Keras and by hand, {name}", difference, "below 0.01")
records.expect(frozen_difference == 0, "difference of modes, frozen", frozen_difference, "0")

# %% [markdown] tags=["slide"]
# ## Recap
#
# - A photograph is a block of numbers from 0 to 255. A convolution is one small weighted sum at every place, and Keras'
#   layer gives what you computed by hand.
# - Softmax makes probabilities of scores, by their differences. The loss is −log of the probability of the right class;
#   guessing among K classes costs log K, and more than that is an alarm.
# - A step moves the weights against the gradient, as far as the learning rate says. `fit` does that for each batch; an
#   epoch is one pass over all of them.
# - Training loss falls on, validation loss turns and rises: the network learns by heart.
# - Batch normalization goes by the batch in training, and by what it stored in inference; frozen, always by what it
#   stored. MBConv widens, filters each channel, weights the channels by the whole picture, narrows, and adds what went
#   in.
#
# **The surprise:** a network can be right far more often than a guesser and lose more than one: what it is wrong
# about, it is sure of.
#
# **Practise:** [exercises 00](exercises/00_primer.ipynb)
#
# **Next:** [01 · First predictions](01_first_predictions.ipynb) shows what weights can do that have learned already.
