# %% [markdown]
# # Exercises 03 · Data loading
#
# How data leaks from one split into another, and what a picture goes through on its way: five exercises, 25 minutes.
# Read [lesson 03](../03_data_loading.ipynb) first and keep it open beside this page. Each check says "not attempted",
# "not yet" with a hint, or "right" with the reason; `exercises.hint("03.1")` gives a hint before you try.

# %%
import hashlib

from effnet_helpers import data, exercises, plotting

import keras
import numpy as np

# %% [markdown]
# The exercises share the embedded images, which show *simulated* woven textile.

# %%
images = data.load("textile", image_size=256, split_seed=0)
print(images.sizes)

# %% [markdown]
# ## 03.1 · The other seed
#
# *Predict first, then run.* Somebody trains with `split_seed=0` and later, by accident, loads the test images with
# `split_seed=1`. A split puts two fifteenths of each class into validation, a fifth into the test and the rest into
# training, and another seed gives an order that has nothing to do with the first. Which share of these new test images
# has the network been *trained* on? Write a number between 0 and 1, such as 0.5; it may be off by 0.05.

# %%
trained_on = ...
### BEGIN SOLUTION
trained_on = 1 - 1 / 5 - 2 / 15
### END SOLUTION

# %% tags=["wrong", "none"]
trained_on = 0

# %% tags=["wrong", "in_both_tests"]
trained_on = 1 / 5

# %% tags=["wrong", "validation_counted"]
trained_on = 4 / 5

# %%
exercises.check("03.1", trained_on)

# %% [markdown]
# Now count. Where were the test images of the second seed under the first?

# %%
test_of_1 = set(data.load("textile", image_size=256, split_seed=1).splits["test"].names)
for split, files in images.splits.items():
    print(f"{split}: {len(test_of_1 & set(files.names)) / len(test_of_1):.3f} of them")

# %% [markdown]
# ## 03.2 · Find the leak
#
# *Write.* A split may be cut by name and leak all the same, since a picture can be there twice, under two names. Below
# are four pictures in training, two in validation and five in test. Beside each name stands a *digest*, a short text
# that is the same if, and only if, the content of the file is.
#
# Write `leaks`. It gets splits like these and returns a list of names: those of the *test* images whose content is in
# training or in validation as well.

# %%
small_splits = {
    "train": {"a/1.jpg": "9f", "a/2.jpg": "07", "b/3.jpg": "c4", "b/4.jpg": "51"},
    "val": {"a/5.jpg": "e8", "b/6.jpg": "3b"},
    "test": {"a/7.jpg": "20", "a/8.jpg": "07", "a/9.jpg": "6d", "b/10.jpg": "6d", "b/11.jpg": "3b"},
}


# %%
def leaks(splits):
    """Names of test images whose content is in another split as well."""
    ### BEGIN SOLUTION
    known = set(splits["train"].values()) | set(splits["val"].values())
    return [name for name, digest in splits["test"].items() if digest in known]
    ### END SOLUTION


# %% tags=["wrong", "by_name"]
def leaks(splits):
    return [name for name in splits["test"] if name in splits["train"] or name in splits["val"]]


# %% tags=["wrong", "validation_forgotten"]
def leaks(splits):
    return [name for name, digest in splits["test"].items() if digest in splits["train"].values()]


# %% tags=["wrong", "copies_within_the_test"]
def leaks(splits):
    digests = [digest for files in splits.values() for digest in files.values()]
    return [name for name, digest in splits["test"].items() if digests.count(digest) > 1]


# %% tags=["wrong", "digests_returned"]
def leaks(splits):
    known = set(splits["train"].values()) | set(splits["val"].values())
    return [digest for digest in splits["test"].values() if digest in known]


# %%
exercises.check("03.2", leaks)

# %% [markdown]
# Does the embedded set leak? Your function knows, once it is right.

# %%
of_textile = {split: dict(zip(files.names, files.digests)) for split, files in images.splits.items()}
print(leaks(small_splits), leaks(of_textile))

# %% [markdown]
# ## 03.3 · Frames of one video
#
# *Find the bug.* These pictures are frames of videos, and frames of one video look much alike. The function below puts
# a fifth of the pictures into the test, in the order of a hash, as the lesson does. Every picture lands in exactly one
# of the two splits, and yet the test is worth little. The last line shows why.


# %%
def leaky_split(names):
    ranked = sorted(names, key=lambda name: hashlib.sha256(name.encode()).hexdigest())
    count = len(ranked) // 5
    return {"test": ranked[:count], "train": ranked[count:]}


def video_of(name):
    return name.split("_frame")[0]


frames = [f"video{video:02}_frame{frame}.jpg" for video in range(20) for frame in range(5)]
cut = leaky_split(frames)
videos = {split: {video_of(name) for name in part} for split, part in cut.items()}
print(f"{len(videos['test'])} videos in test, {len(videos['test'] & videos['train'])} of them in training as well")

# %% [markdown]
# Write `split`, which repairs it. It gets a list of such names and returns a dictionary as above, two lists of names
# under "test" and "train", so that
#
# - all frames of a video are in the same list, and every name is in exactly one list, once;
# - a fifth of the videos is in the test;
# - which ones looks random, but the same names give the same split on every machine, in whatever order they are listed.
#
# You may use `video_of` and `hashlib`.


# %%
def split(names):
    """Cuts frames of videos into test and train, videos whole."""
    ### BEGIN SOLUTION
    videos = sorted({video_of(name) for name in names}, key=lambda video: hashlib.sha256(video.encode()).hexdigest())
    chosen = set(videos[: len(videos) // 5])
    parts = {"test": [], "train": []}
    for name in names:
        parts["test" if video_of(name) in chosen else "train"].append(name)
    return parts
    ### END SOLUTION


# %% tags=["wrong", "frames_leak"]
split = leaky_split


# %% tags=["wrong", "order_of_listing"]
def split(names):
    videos = list(dict.fromkeys(video_of(name) for name in names))
    chosen = set(videos[: len(videos) // 5])
    parts = {"test": [], "train": []}
    for name in names:
        parts["test" if video_of(name) in chosen else "train"].append(name)
    return parts


# %% tags=["wrong", "first_by_name"]
def split(names):
    videos = sorted({video_of(name) for name in names})
    chosen = set(videos[: len(videos) // 5])
    parts = {"test": [], "train": []}
    for name in names:
        parts["test" if video_of(name) in chosen else "train"].append(name)
    return parts


# %% tags=["wrong", "images_lost"]
def split(names):
    parts = leaky_split(names)
    in_test = {video_of(name) for name in parts["test"]}
    parts["train"] = [name for name in parts["train"] if video_of(name) not in in_test]
    return parts


# %% tags=["wrong", "videos_not_names"]
def split(names):
    return leaky_split(sorted({video_of(name) for name in names}))


# %% tags=["wrong", "test_too_large"]
def split(names):
    in_test = {video_of(name) for name in leaky_split(names)["test"]}
    parts = {"test": [], "train": []}
    for name in names:
        parts["test" if video_of(name) in in_test else "train"].append(name)
    return parts


# %%
exercises.check("03.3", split)

# %% [markdown]
# ## 03.4 · In which unit?
#
# *Complete.* A camera above a loom sees the weave turned by up to 15 degrees either way, and shifted by up to 16 pixels
# either way in pictures of 256 × 256. The light varies, too. Keras' layers can imitate that, if they are told in
# *their* units. The cell below the check hands them your three numbers:
#
# - `rotation` for `keras.layers.RandomRotation(rotation)`;
# - `shift` for `keras.layers.RandomTranslation(shift, shift)`;
# - `brightest` for `keras.layers.RandomBrightness(0.2, value_range=(0, brightest))`, to which the pixels go in as
#   everywhere in this course.

# %%
rotation = ...
shift = ...
brightest = ...
### BEGIN SOLUTION
rotation = 15 / 360
shift = 16 / 256
brightest = 255
### END SOLUTION

# %% tags=["wrong", "degrees"]
rotation, shift, brightest = 15, 16 / 256, 255

# %% tags=["wrong", "radians"]
rotation, shift, brightest = 15 / 180 * np.pi, 16 / 256, 255

# %% tags=["wrong", "half_turns"]
rotation, shift, brightest = 15 / 180, 16 / 256, 255

# %% tags=["wrong", "pixels"]
rotation, shift, brightest = 15 / 360, 16, 255

# %% tags=["wrong", "zero_to_one"]
rotation, shift, brightest = 15 / 360, 16 / 256, 1

# %%
exercises.check("03.4", (rotation, shift, brightest))

# %% [markdown]
# Look at what your three numbers make. (Wrong ones are worth a look, too. What lies outside a picture is filled by
# mirroring, so its edge, which is white on two sides, shows as bright lines.)

# %%
if ... not in (rotation, shift, brightest):
    layers = keras.layers
    chain = [layers.RandomRotation(rotation, seed=1), layers.RandomTranslation(shift, shift, seed=2)]
    augment = keras.Sequential([*chain, layers.RandomBrightness(0.2, value_range=(0, brightest), seed=3)])
    one = images.image("train", 0)
    varied = [np.asarray(augment(one[np.newaxis], training=True))[0] for _ in range(3)]
    plotting.image_grid([one, *varied], ["original", "varied", "varied", "varied"], 4, heading="One image, augmented")

# %% [markdown]
# ## 03.5 · What the cache gains
#
# *Judge a claim.* On some machine, 300 images a second are read from files, decoded and resized. From the cache come
# 2,000 a second. The network, on a GPU, trains on 1,500 a second. "With the cache," says a colleague, "training is
# 2,000 / 300, almost seven times as fast."
#
# How many times as fast is it really, for 3,000 images and 10 epochs? While the network works on one batch the next are
# prepared, so the slower of the two sets the pace. The first epoch must read the files with the cache as well: that
# fills it. Write one number: the seconds without the cache divided by the seconds with it.

# %%
gain = ...
### BEGIN SOLUTION
without = 10 * 3000 / min(300, 1500)
with_cache = 3000 / min(300, 1500) + 9 * 3000 / min(2000, 1500)
gain = without / with_cache
### END SOLUTION

# %% tags=["wrong", "as_claimed"]
gain = 2000 / 300

# %% tags=["wrong", "first_epoch_forgotten"]
gain = 1500 / 300

# %% tags=["wrong", "network_forgotten"]
gain = (10 * 3000 / 300) / (3000 / 300 + 9 * 3000 / 2000)

# %% tags=["wrong", "times_added"]
gain = 10 * (1 / 300 + 1 / 1500) / ((1 / 300 + 1 / 1500) + 9 * (1 / 2000 + 1 / 1500))

# %% tags=["wrong", "upside_down"]
gain = (1 / 300 + 9 / 1500) / (10 / 300)

# %%
exercises.check("03.5", gain)

# %% [markdown] tags=["quiz"]
# **Quiz 03.1** You add fifty pictures to the class "dog" and split again, with the same seed. Which pictures of the
# class "cat" change their split?
#
# - [ ] About a fifth of them — that would be so with a shuffle over all images; here each class has its own order
# - [x] None — a cat's place depends on the hashes of the cats' names only
# - [ ] Those whose names follow the new ones in the alphabet — the order is that of hashes, not of names
# - [ ] All of them — the seed is the same, and so are the hashes

# %% [markdown] tags=["quiz"]
# **Quiz 03.2** You tried ten learning rates. Which accuracy do you report, and of which of the ten?
#
# - [ ] The best one on the test images — then the test has chosen, and its accuracy is a little too good
# - [ ] The best one on the validation images, as scored there — they have chosen, so the same holds for them
# - [x] On the test images, of the one that was best on validation — the test had no say in the choice
# - [ ] The mean over all ten on the test images — nobody is going to use the other nine

# %% [markdown]
# ## To go on
#
# Nothing checks these:
#
# - Load a folder of your own. Which resize mode keeps what you would look at?
# - In the lesson, raise `rotation` to half a turn. For which of your classes is that still the same class?
#
# **Back to** [lesson 03](../03_data_loading.ipynb) · **next:** [exercises 04](04_head_training.ipynb)
