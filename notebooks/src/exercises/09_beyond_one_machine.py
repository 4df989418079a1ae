# %% [markdown]
# # Exercises 09 · Beyond one machine
#
# Five exercises on what devices share, what they cannot share, and what a plan can say: about 25 minutes. They practise
# what [lesson 09](../09_beyond_one_machine.ipynb) teaches, in NumPy, so that every cell takes a moment.
#
# Put your answer in the place of the dots, run its cell, and then the cell with `check`. If you are stuck,
# `exercises.hint("09.1")` helps.

# %%
from effnet_helpers import exercises

import numpy as np

# %% [markdown]
# ## 09.1 · Loss of a whole batch
#
# *Find the bug.* Two devices share a batch of ten images; one has seven of them, the other three. Each finds the
# gradient of a straight line's squared error for its rows, and the two gradients are added up. `gradient` should give
# what one device would have found for the *mean* loss of the whole batch. It does not.


# %%
def gradient(x, y, weight, global_batch):
    """What one device adds: the gradient of its rows' loss, for y = weight * x."""
    errors = weight * x - y
    return np.mean(2 * errors * x)


random = np.random.default_rng(0)
x, y = random.normal(size=(2, 10))
one_device = gradient(x, y, 0.5, 10)
two_devices = gradient(x[:7], y[:7], 0.5, 10) + gradient(x[7:], y[7:], 0.5, 10)
print(f"one device {one_device:.3f}, two devices {two_devices:.3f}")

# %% [markdown]
# Repair it: `check` takes the function itself, and tries it on rows cut in several ways. `global_batch` is how many
# rows all devices have together.


# %%
def gradient(x, y, weight, global_batch):
    """What one device adds: the gradient of its rows' loss, for y = weight * x."""
    ### BEGIN SOLUTION
    errors = weight * x - y
    return np.sum(2 * errors * x) / global_batch
    ### END SOLUTION


# %% tags=["wrong", "own_rows"]
def gradient(x, y, weight, global_batch):
    return np.mean(2 * (weight * x - y) * x)


# %% tags=["wrong", "not_divided"]
def gradient(x, y, weight, global_batch):
    return np.sum(2 * (weight * x - y) * x)


# %% tags=["wrong", "divided_twice"]
def gradient(x, y, weight, global_batch):
    return np.mean(2 * (weight * x - y) * x) / global_batch


# %%
exercises.check("09.1", gradient)

# %% [markdown]
# ## 09.2 · Amdahl's law
#
# *Predict first.* On one device a step takes 100 ms. Of these, 90 ms can be shared out; 10 ms are needed on every
# device, however many there are. How many times as fast are four devices, and how many times as fast could any number
# of them be? `speed_ups` is a list of the two numbers, such as `[3.5, 20]`; one digit after the point will do.

# %%
speed_ups = ...
### BEGIN SOLUTION
speed_ups = [100 / (10 + 90 / 4), 100 / 10]
### END SOLUTION

# %% tags=["wrong", "all_shared"]
speed_ups = [4, 10]

# %% tags=["wrong", "share_of_the_rest"]
speed_ups = [100 / (10 + 90 / 4), 9]

# %% tags=["wrong", "milliseconds"]
speed_ups = [32.5, 10]

# %%
exercises.check("09.2", speed_ups)

# %% [markdown]
# ## 09.3 · Whose rows
#
# *Write.* Images are shared out among processes by the rank of a number that belongs to each of them, so that it does
# not matter in which order a computer lists its files. `share` takes these numbers (an array, no two alike), which
# process it is, from 0, and how many there are. It returns the places (indices) of this process's images in that array:
# of the images sorted by their numbers, the first goes to process 0, the second to process 1, and so on, and around
# again. `check` takes the function itself, and looks for images that nobody has, or two have.


# %%
def share(numbers, process, processes):
    """Returns the places of the images of one process, in the order of their numbers."""
    ### BEGIN SOLUTION
    return np.argsort(numbers)[process::processes]
    ### END SOLUTION


# %% tags=["wrong", "as_listed"]
def share(numbers, process, processes):
    return np.arange(len(numbers))[process::processes]


# %% tags=["wrong", "some_are_lost"]
def share(numbers, process, processes):
    size = len(numbers) // processes
    return np.argsort(numbers)[process * size : (process + 1) * size]


# %% tags=["wrong", "numbers_not_places"]
def share(numbers, process, processes):
    return np.sort(numbers)[process::processes]


# %%
exercises.check("09.3", share)

# %% [markdown]
# Three processes, eight images. Whoever lists the files in another order has the same images:

# %%
numbers = np.array([0.61, 0.07, 0.93, 0.28, 0.44, 0.75, 0.12, 0.36])
for process in range(3):
    mine, turned = share(numbers, process, 3), share(numbers[::-1], process, 3)
    print(f"process {process}: {numbers[mine]}, listed from the end: {numbers[::-1][turned]}")

# %% [markdown]
# ## 09.4 · What goes through the network
#
# *Complete.* 3.25 million weights train, in float32, so a gradient for each of them is four bytes. They are added up
# around a ring of eight devices: each device *sends* 2 · (n − 1) / n times the bytes of all gradients. The link carries
# 1 Gbit a second, that is 125 million bytes. How many megabytes (a million bytes) does each device send in a step, and
# how many milliseconds does that take at least?

# %%
weights, devices, bytes_a_second = 3_250_000, 8, 125e6
megabytes = ...
milliseconds = ...
### BEGIN SOLUTION
megabytes = 2 * (devices - 1) / devices * 4 * weights / 1e6
milliseconds = 1000 * megabytes * 1e6 / bytes_a_second
### END SOLUTION

# %% tags=["wrong", "bytes_of_a_weight"]
megabytes = 2 * (devices - 1) / devices * weights / 1e6
milliseconds = 1000 * megabytes * 1e6 / bytes_a_second

# %% tags=["wrong", "to_everybody"]
megabytes = (devices - 1) * 4 * weights / 1e6
milliseconds = 1000 * megabytes * 1e6 / bytes_a_second

# %% tags=["wrong", "bits"]
megabytes = 2 * (devices - 1) / devices * 4 * weights / 1e6
milliseconds = 1000 * megabytes * 1e6 / 1e9

# %%
exercises.check("09.4", [megabytes, milliseconds])

# %% [markdown]
# And eight times as many devices? The bytes that each one sends hardly grow; what grows is how often they wait for each
# other:

# %%
for n in (2, 8, 64, 1024):
    print(f"{n} devices: each sends {2 * (n - 1) / n * 4 * weights / 1e6:.1f} MB, in {2 * (n - 1)} exchanges")

# %% [markdown]
# ## 09.5 · What helps
#
# *Judge a claim.* Two processes of one core each train at 1.2 times the speed of one, with 16 images in a step of both
# together. Of a step of theirs, two fifths go to adding up gradients, nothing to waiting for input. Which of these
# would bring the speed-up nearer to 2, on the same two cores?
#
# - **A** More images in a step, with a learning rate that fits.
# - **B** A faster disk.
# - **C** Fewer weights that train: a higher lowest block, and all below it computed once.
# - **D** Four processes in the place of two.
# - **E** Images of twice the side, if the pictures have so many pixels.
#
# `helpful` is a list of letters, such as `["B", "D"]`. Ask of each what it does to computing, and what to adding up.

# %%
helpful = ...
### BEGIN SOLUTION
helpful = ["A", "E"]
### END SOLUTION

# %% tags=["wrong", "fewer_weights"]
helpful = ["A", "C", "E"]

# %% tags=["wrong", "disk"]
helpful = ["A", "B", "E"]

# %% tags=["wrong", "more_processes"]
helpful = ["A", "D", "E"]

# %% tags=["wrong", "size_left_out"]
helpful = ["A"]

# %%
exercises.check("09.5", helpful)

# %% [markdown]
# E is no advice: a step of such images takes four times as long on one process, and nearly four times on two. A better
# speed-up is not the aim. Less time is.

# %% [markdown] tags=["quiz"]
# **Quiz 09.1** One device and two devices end with weights that differ by 0.000001, after steps that moved them by
# 0.01. What does that say?
#
# - [ ] The loop has a small mistake. — A mistake in how losses are divided or gradients added shows in the size of the
#   movement itself.
# - [x] Sums were rounded in another order. — Floating-point addition depends on its order, and two devices add up in
#   another one.
# - [ ] The two devices saw different images. — Then the difference would be about as large as the movement.

# %% [markdown] tags=["quiz"]
# **Quiz 09.2** A checkpoint holds the weights and the number of the step. Training goes on from it, and ends elsewhere
# than without the interruption. What is missing?
#
# - [ ] The images. — They lie where they lay, and the number of the step says which come next.
# - [ ] The learning rate. — It is a setting of the training, or follows from the number of the step.
# - [x] What the optimizer remembers. — Adam's running averages of gradients begin at zero again, so its first steps are
#   others.

# %% [markdown]
# Back to [lesson 09](../09_beyond_one_machine.ipynb), or to the [exercises of lesson 08](08_when_to_trust_it.ipynb).
