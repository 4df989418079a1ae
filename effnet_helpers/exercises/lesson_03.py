"""Exercises of lesson 03, data loading: what is right, why, and which mistakes are known."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Mapping

from effnet_helpers.exercises.core import Exercise, Mistake, close

import numpy as np

TEST, VAL = 1 / 5, 2 / 15  # shares of the splits in the lesson
READ, CACHED, TRAINED, EPOCHS = 300, 2000, 1500, 10  # images a second, and epochs, as the task gives them
SMALL = {
    "train": {"x/1": "a", "x/2": "b", "y/3": "c", "y/4": "c"},
    "val": {"x/5": "d", "y/6": "e"},
    "test": {"x/7": "f", "y/8": "b", "y/9": "e", "x/10": "g", "y/11": "g", "x/12": "b"},
}


def _finds(answer: Callable, *wanted: str) -> bool:
    """Whether a function finds exactly these in splits of our own."""
    return sorted(answer({split: dict(files) for split, files in SMALL.items()})) == sorted(wanted)


def _frames(seed: int = 0) -> list[str]:
    frames = [f"video{video:02}_frame{frame}.jpg" for video in range(40) for frame in range(4)]
    random.Random(seed).shuffle(frames)
    return frames


def _videos(parts: Mapping[str, list[str]]) -> dict[str, set[str]]:
    return {split: {name.split("_frame")[0] for name in parts[split]} for split in ("test", "train")}


def _lists_videos(answer: Callable) -> bool:
    test = answer(_frames())["test"]
    return bool(test) and not any("_frame" in name for name in test)


def _leaks(answer: Callable) -> bool:
    videos = _videos(answer(_frames()))
    return bool(videos["test"] & videos["train"])


def _complete(answer: Callable) -> bool:
    parts = answer(_frames())
    return Counter([*parts["test"], *parts["train"]]) == Counter(_frames())


def _same_in_any_order(answer: Callable) -> bool:
    return len({tuple(sorted(answer(_frames(seed))["test"])) for seed in range(3)}) == 1


def _by_name(answer: Callable) -> bool:
    test = sorted(_videos(answer(_frames()))["test"])
    every = sorted(_videos({"test": _frames(), "train": []})["test"])
    return bool(test) and test in (every[: len(test)], every[-len(test) :])


def _share_of_videos(answer: Callable) -> float:
    videos = _videos(answer(_frames()))
    return len(videos["test"]) / len(videos["test"] | videos["train"])


def _splits_well(answer: Callable) -> bool:
    fair = 0.1 <= _share_of_videos(answer) <= 0.3
    return fair and _complete(answer) and not _leaks(answer) and _same_in_any_order(answer) and not _by_name(answer)


def _gain(network: float = TRAINED) -> float:
    """How many times as fast training is with the cache: the slower of the two sets the pace of each epoch."""
    first, later = 1 / min(READ, network), 1 / min(CACHED, network)
    return EPOCHS * first / (first + (EPOCHS - 1) * later)


def _near(value: float, tolerance: float = 0.01) -> Callable[[float], bool]:
    return lambda answer: close(answer, value * (1 - tolerance), value * (1 + tolerance))


EXERCISES = {
    "03.1": Exercise(
        right=lambda answer: close(answer, 1 - TEST - VAL - 0.05, 1 - TEST - VAL + 0.05),
        why="whatever is drawn anew hits training, validation and test in the proportion of their sizes. A test that "
        "was two thirds learned by heart says little: fix the seed of the split, and do not change it later.",
        hint="The new test is drawn from all images, whatever these were before. What share of all is training?",
        mistakes={
            "none": Mistake(
                lambda answer: close(answer, 0, 0.05),
                "The splits of one seed have no image in common. These are splits of two seeds.",
            ),
            "in_both_tests": Mistake(
                _near(TEST, 0.2),
                "That is the share that was in the test of the first seed, too, and which the "
                "network has not seen. How many were in training?",
            ),
            "validation_counted": Mistake(
                _near(1 - TEST, 0.07),
                "That is training and validation together. No weight was trained on validation images.",
            ),
        },
        form="a number between 0 and 1",
    ),
    "03.2": Exercise(
        right=lambda answer: _finds(answer, "y/8", "y/9", "x/12"),
        why="what counts is the content, not the name, and whatever the network or you have learned from: training and "
        "validation. Two copies within the test are a nuisance, but no leak.",
        hint="Gather the digests of training and validation in a set. Which of the test's are in it?",
        mistakes={
            "by_name": Mistake(
                lambda answer: _finds(answer),
                "Your function finds nothing where three images leak. A copy has "
                "another name: compare digests, not names.",
            ),
            "validation_forgotten": Mistake(
                lambda answer: _finds(answer, "y/8", "x/12"),
                "You have found what is in training. Choices are made by "
                "validation images, so a test image must not be there either.",
            ),
            "copies_within_the_test": Mistake(
                lambda answer: _finds(answer, "y/8", "y/9", "x/12", "x/10", "y/11"),
                "Your function also names copies that are in the test only. Nobody has learned from them.",
            ),
            "digests_returned": Mistake(
                lambda answer: set(answer(SMALL)) == {"b", "e"},
                "These are digests; the names of the images are asked for.",
            ),
        },
        form="a function of a dictionary of splits that returns a list of names",
    ),
    "03.3": Exercise(
        right=_splits_well,
        why="videos were ranked, not frames, and by a hash of their names: nothing of a test video was ever seen in "
        "training. In the course `group_by` does so; here it would be `group_by='video[0-9]+'`.",
        hint="First make a list of the videos, in the order of a hash of *their* names, and take a fifth of these. "
        "Then put each frame where its video is.",
        mistakes={
            "videos_not_names": Mistake(
                _lists_videos,
                "Your lists hold videos. The names of the pictures are asked for.",
            ),
            "images_lost": Mistake(
                lambda answer: not _complete(answer),
                "Some pictures are in neither list, or in more than one place. "
                "Every name belongs into exactly one list, once.",
            ),
            "frames_leak": Mistake(_leaks, "Some videos have frames in test and in train. Rank videos, not frames."),
            "order_of_listing": Mistake(
                lambda answer: not _same_in_any_order(answer),
                "The same names, listed in another order, give another "
                "split. Order the videos by something that depends on nothing but their names.",
            ),
            "first_by_name": Mistake(
                _by_name,
                "Your test holds the first or the last videos by name. Names often follow time and place, so "
                "such a test would be another day's. Order the videos by a hash of their names.",
            ),
            "test_too_large": Mistake(
                lambda answer: _share_of_videos(answer) > 0.3,
                "Much more than a fifth of the videos is in your test. "
                "Choose a fifth of the videos first, not every video of some chosen frames.",
            ),
        },
        form='a function of a list of names that returns {"test": [names], "train": [names]}',
    ),
    "03.4": Exercise(
        right=lambda answer: _near(15 / 360)(answer[0]) and _near(16 / 256)(answer[1]) and close(answer[2], 255, 256),
        why="rotations are in full turns, shifts in heights and widths of the image, and pixels go from 0 to 255.",
        hint="A full turn is 1, and so is a shift by the whole width. What is the largest value of a pixel?",
        mistakes={
            "degrees": Mistake(
                lambda answer: close(abs(answer[0]), 1, 360),
                "A rotation of 15 would be fifteen full turns either "
                "way: any direction at all. The unit is a full turn.",
            ),
            "radians": Mistake(
                lambda answer: _near(15 / 180 * np.pi)(answer[0]),
                "That is 15 degrees in radians. The unit here is a full turn.",
            ),
            "half_turns": Mistake(
                lambda answer: _near(15 / 180)(answer[0]), "That would be 30 degrees either way: a full turn has 360."
            ),
            "pixels": Mistake(
                lambda answer: close(abs(answer[1]), 1, 256),
                "A shift of 16 would be sixteen heights of the image. The unit is the height, or width, of the image.",
            ),
            "zero_to_one": Mistake(
                lambda answer: close(answer[2], 0.99, 1.01),
                "With a range that ends at 1, the layer cuts all brighter "
                "pixels off: of an image from 0 to 255 nothing is left but white. Pixels stay in [0, 255] here.",
            ),
        },
        form="three numbers: (rotation, shift, brightest)",
    ),
    "03.5": Exercise(
        right=_near(_gain()),
        why="with the cache it is the network that sets the pace, at 1,500 a second, and the first epoch reads "
        "the files in any case. The claim compares two speeds of the pipeline, of which the second is never reached.",
        hint="Without the cache: ten epochs at the pace of the slower. With it: one epoch as before, then nine. Which "
        "is the slower in these nine?",
        mistakes={
            "as_claimed": Mistake(
                _near(CACHED / READ, 0.05), "That is the claim itself. Can the network take 2,000 images a second?"
            ),
            "first_epoch_forgotten": Mistake(
                _near(TRAINED / READ), "So it is from the second epoch on. The first one still reads the files."
            ),
            "network_forgotten": Mistake(
                _near(_gain(network=CACHED)), "The first epoch is right. In the other nine, who waits for whom?"
            ),
            "times_added": Mistake(
                _near(EPOCHS * (1 / READ + 1 / TRAINED) / (1 / READ + 9 / CACHED + EPOCHS / TRAINED)),
                "It seems that you added the times of reading and training. "
                "They run side by side: only the slower one counts.",
            ),
            "upside_down": Mistake(
                _near(1 / _gain()), "Upside down: the seconds without the cache, divided by those with it."
            ),
        },
        form="a number",
    ),
}
