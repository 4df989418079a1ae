# %% [markdown]
# # Exercises 02 · The variant tour
#
# What the networks of the family are made of and what they cost, by your own reckoning: five exercises, 25 minutes.
# Read [lesson 02](../02_variant_tour.ipynb) first and keep it open beside this page. Each check says "not attempted",
# "not yet" with a hint, or "right" with the reason; `exercises.hint("02.1")` gives a hint before you try.

# %%
import time

from effnet_helpers import exercises, models
from effnet_helpers.variants import COMPOUND_ALPHA, COMPOUND_BETA, COMPOUND_GAMMA, VARIANTS

import numpy as np

# %% [markdown]
# Two networks that the exercises share, with random weights: we only count and time them.

# %%
b0 = models.build_backbone("B0", weights=None, drop_connect_rate=0.2)
lite0 = models.build_backbone("Lite0", weights=None, image_size=64)

# %% [markdown]
# ## 02.1 · Twice the side
#
# *Predict first, then run.* B0 gets images of 448 × 448 pixels instead of 224 × 224. Nothing else about it changes.
# How many times as many parameters does it have then, and how many times as many multiply-adds does an image cost?
# Write two numbers, such as 1.5 and 3; whole ones will do.

# %%
times_parameters = ...
times_multiply_adds = ...
### BEGIN SOLUTION
times_parameters = 1
times_multiply_adds = 4
### END SOLUTION

# %% tags=["wrong", "side_counted_once"]
times_parameters, times_multiply_adds = 1, 2

# %% tags=["wrong", "parameters_grow"]
times_parameters, times_multiply_adds = 4, 4

# %% tags=["wrong", "nothing_grows"]
times_parameters, times_multiply_adds = 1, 1

# %%
exercises.check("02.1", (times_parameters, times_multiply_adds))

# %% [markdown]
# You have predicted; now count.

# %%
larger = models.build_backbone("B0", weights=None, image_size=448)
print(f"parameters: {larger.count_params() / b0.count_params():.3f} times as many")
print(f"multiply-adds: {models.count_multiply_adds(larger) / models.count_multiply_adds(b0):.3f} times as many")

# %% [markdown]
# ## 02.2 · The price of a block
#
# *Complete.* The second block of B0's fifth stage works on a grid of 14 × 14. Its first convolution, 1 × 1, makes 672
# channels from 112; its depthwise convolution has filters of 5 × 5; its last, 1 × 1, leads from 672 channels back to
# 112. The multiply-adds of the first stand below, for one image. Write those of the other two, as whole numbers. (No
# convolution here adds a bias, and squeeze-and-excite is left out.)

# %%
expand = 14 * 14 * 112 * 672  # at each place, each of 672 outputs sums over 112 inputs
depthwise = ...
project = ...
### BEGIN SOLUTION
depthwise = 14 * 14 * 5 * 5 * 672
project = 14 * 14 * 672 * 112
### END SOLUTION

# %% tags=["wrong", "mixes_channels"]
depthwise, project = 14 * 14 * 5 * 5 * 672 * 672, 14 * 14 * 672 * 112

# %% tags=["wrong", "one_place_only"]
depthwise, project = 5 * 5 * 672, 672 * 112

# %% tags=["wrong", "three_by_three"]
depthwise, project = 14 * 14 * 3 * 3 * 672, 14 * 14 * 672 * 112

# %%
exercises.check("02.2", (depthwise, project))

# %% [markdown]
# What does the network itself say, squeeze-and-excite (`se`) included?

# %%
for layer in b0.layers:
    if models.block_of(layer) == "block5b" and models.count_multiply_adds([layer]):
        print(f"{layer.name}: {models.count_multiply_adds([layer]):,}")

# %% [markdown]
# ## 02.3 · Which blocks are skipped, and how often
#
# *Write.* The seven stages of B0 hold 1, 2, 2, 3, 3, 4 and 1 blocks, 16 together. With `drop_connect_rate=0.2` the
# block number *k*, counted from 0 at the input through all 16, gets *k* / 16 of that rate, if it can be skipped at all.
# The lesson says which blocks cannot. List the rates of those that can, from the input to the output: a list of
# numbers, by a loop or by hand.

# %%
rates = ...
### BEGIN SOLUTION
rates, k = [], 0
for blocks in (1, 2, 2, 3, 3, 4, 1):
    for place in range(blocks):
        if place > 0:  # the first block of a stage has no skip connection
            rates.append(0.2 * k / 16)
        k += 1
### END SOLUTION

# %% tags=["wrong", "every_block"]
rates = [0.2 * k / 16 for k in range(16)]

# %% tags=["wrong", "counted_among_the_skipped"]
rates = [0.2 * k / 9 for k in range(9)]

# %% tags=["wrong", "counted_from_one"]
rates = [0.2 * k / 16 for k in (3, 5, 7, 8, 10, 11, 13, 14, 15)]

# %% tags=["wrong", "same_for_all"]
rates = [0.2] * 9

# %%
exercises.check("02.3", rates)

# %% [markdown]
# And these are the rates that the layers of the network have:

# %%
print({layer.name: round(layer.rate, 4) for layer in b0.layers if layer.name.endswith("_drop")})

# %% [markdown]
# ## 02.4 · A stopwatch that misleads
#
# *Find the bugs.* Somebody wants to know how long a network takes to answer, once it is in use. There are two
# bugs in this function. It runs twice below, with the same network and the same image.


# %%
def average_milliseconds(step, clock):
    started = clock()
    for _ in range(5):
        step()
    return 1000 * (clock() - started) / 5


image = np.zeros((1, 64, 64, 3), "float32")
for _ in range(2):
    print(f"{average_milliseconds(lambda: lite0.predict_on_batch(image), time.perf_counter):.0f} ms a call")

# %% [markdown]
# The two lines differ, and the first is far from the truth: that is one bug. The other shows only on a bad day, when
# the computer does something else during one of the five calls: then even the second line is too large. Write a
# function without either. It gets `step`, to be called without arguments, and `clock`, such as `time.perf_counter`,
# which says what time it is in seconds; it returns milliseconds a call, a number. Read the time from `clock` only: the
# check passes one that it can turn.


# %%
def typical_milliseconds(step, clock):
    """Milliseconds that a call of `step` takes once it is in use, whatever else disturbs one of five calls."""
    ### BEGIN SOLUTION
    step()  # the first call compiles
    seconds = []
    for _ in range(5):
        started = clock()
        step()
        seconds.append(clock() - started)
    return 1000 * float(np.median(seconds))
    ### END SOLUTION


# %% tags=["wrong", "first_call_counted"]
typical_milliseconds = average_milliseconds


# %% tags=["wrong", "averaged"]
def typical_milliseconds(step, clock):
    step()
    return average_milliseconds(step, clock)


# %% tags=["wrong", "in_seconds"]
def typical_milliseconds(step, clock):
    step()
    seconds = []
    for _ in range(5):
        started = clock()
        step()
        seconds.append(clock() - started)
    return np.median(seconds)


# %% tags=["wrong", "another_clock"]
def typical_milliseconds(step, clock):
    step()
    seconds = []
    for _ in range(5):
        started = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - started)
    return 1000 * np.median(seconds)


# %%
exercises.check("02.4", typical_milliseconds)

# %% [markdown]
# ## 02.5 · Six or seven?
#
# *Judge a claim.* "B7 is B0, scaled with φ = 6", say lists that go round; the paper does not tell. The rule makes depth
# α to the power of φ, width β to the φ, the images' side 224 · γ to the φ, and the cost (α · β² · γ²) to the φ times
# that of B0. Compute each for φ = 6 and for φ = 7, and compare with what is published of B7. Which of the two comes
# nearer, as a ratio? Write 6 or 7 for each of the four: a dictionary with the keys "depth", "width", "resolution" and
# "cost".

# %%
b7 = VARIANTS["B7"]
published = {"depth": b7.depth, "width": b7.width, "resolution": b7.resolution}
published["cost"] = b7.published_multiply_adds / VARIANTS["B0"].published_multiply_adds
print(COMPOUND_ALPHA, COMPOUND_BETA, COMPOUND_GAMMA, published)

# %%
nearer = ...
### BEGIN SOLUTION
steps = {"depth": COMPOUND_ALPHA, "width": COMPOUND_BETA, "resolution": COMPOUND_GAMMA}
steps["cost"] = COMPOUND_ALPHA * COMPOUND_BETA**2 * COMPOUND_GAMMA**2
at_0 = {"depth": 1, "width": 1, "resolution": 224, "cost": 1}
nearer = {}
for name, step in steps.items():
    ratios = {phi: at_0[name] * step**phi / published[name] for phi in (6, 7)}
    print(f"{name}: {ratios[6]:.2f} of what is published at φ = 6, {ratios[7]:.2f} at φ = 7")
    nearer[name] = min(ratios, key=lambda phi: abs(np.log(ratios[phi])))
### END SOLUTION

# %% tags=["wrong", "as_the_lists_say"]
nearer = dict.fromkeys(("depth", "width", "resolution", "cost"), 6)

# %% tags=["wrong", "all_alike"]
nearer = dict.fromkeys(("depth", "width", "resolution", "cost"), 7)

# %% tags=["wrong", "doubled_each_step"]
nearer = {"depth": 6, "width": 7, "resolution": 7, "cost": 6}

# %%
exercises.check("02.5", nearer)

# %% [markdown] tags=["quiz"]
# **Quiz 02.1** Two papers give 81.6 % and 84.1 % for "EfficientNet-B3" on ImageNet. How can both be right?
#
# - [ ] One of them built more layers — then it would not be B3; the name fixes the architecture
# - [x] Their weights come from different training — an accuracy belongs to weights, not to an architecture
# - [ ] One counted parameters, the other multiply-adds — neither count changes which answers are right
# - [ ] The network answers at random — in inference nothing is skipped or dropped: same image, same answer

# %% [markdown] tags=["quiz"]
# **Quiz 02.2** Lite0 and B0 have nearly the same count of multiply-adds, yet the lesson finds Lite0 quicker. Why?
#
# - [ ] Lite0 has fewer blocks — both have 16
# - [ ] Lite0 sees smaller images — both see 224 × 224
# - [x] B0 moves more data for few multiplications — squeeze-and-excite and swish cost time that the count does not see
# - [ ] Multiply-adds are counted wrongly — they agree with the published ones to a few percent

# %% [markdown]
# ## To go on
#
# Nothing checks these, and each takes a quarter of an hour:
#
# - `plotting.block_diagram(640, 3840, 3, 160)` draws the last block of B7. Which proportions are those of the block in
#   the lesson, and what has grown?
# - Set the lesson's `timed` to `["B0", "B1", "B3"]`. At which batch size does B3 cost as much as two B1?
# - In which stage do most of B0's multiply-adds lie? (`models.split_at_block` cuts a network in two, and both parts can
#   be counted.)
#
# **Back to** [lesson 02](../02_variant_tour.ipynb) · **next:** [exercises 03](03_data_loading.ipynb)
