"""What `effnet catch-up` does: brings whoever missed the lessons before one to its start.

A lesson takes nothing from the one before it but what lies in the cache: every notebook starts on its own. So the start
of a lesson is its notebook, the frozen features that it looks for, under the very keys, and a head fitted on them.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from effnet_helpers.course import CourseError, profiles
from effnet_helpers.course.lay_out import lay_out, series
from effnet_helpers.machine import from_here

if TYPE_CHECKING:
    import keras

FOLDER = Path("runs", "catch-up")
HEAD = {"epochs": 25, "learning_rate": 0.002}  # as lesson 04 fits it


class Start(NamedTuple):
    """What the first cells of a lesson look for in the cache.

    Attributes:
        splits: Whose features, to fit a head on.
        opens_blocks: Whether also what goes into the lowest block that it trains, of the first two of these.
    """

    splits: tuple[str, ...] = ("train", "val")
    opens_blocks: bool = True


STARTS = {"05": Start(), "06": Start(), "08": Start(("train", "val", "test"), opens_blocks=False)}
"""The lessons that find something in the cache; the others compute what they need as part of the lesson, in seconds."""
NOTHING_TAKEN = "it takes nothing from the lessons before it"


def place_of(root: Path) -> Path:
    """Returns the folder whose `notebooks` a learner works in; a new folder `course` where there is none."""
    folders = (folder for folder in (root, *root.parents) if profiles.lessons_in(folder / "notebooks", ".ipynb"))
    return next(folders, root / "course")


def catch_up(lesson: str, root: Path, profile: str = profiles.QUICK, assignments: list[str] | None = None) -> str:
    """Makes ready what a lesson starts from. No file of the learner's is changed, and what is cached is not made again.

    Args:
        lesson: See `profiles.select`.
        root: A checkout, a folder that was laid out, or one in which the lesson is to be.
        profile: See `profiles.resolve`.
        assignments: The same.

    Returns:
        One sentence: what was done, and what is ready.

    Raises:
        CourseError: If there is no such lesson or parameter, or its data cannot be loaded.
    """
    started = time.monotonic()
    place = place_of(root)
    # A learner's folder may have some lessons only, and no profiles.
    origin = place if (place / "notebooks" / "profiles").is_dir() else series()
    (notebook,) = profiles.select(profiles.notebooks(origin), [lesson])
    given = profiles.resolve(origin, [notebook], profile, assignments or [])
    written = lay_out(place, notebook.stem).written
    name = Path("notebooks", notebook.name)
    # The learner may have changed some in the notebook.
    values = {key: value for path in (notebook, place / name) for key, value in _values(path, given).items()}
    start = STARTS.get(notebook.stem.partition("_")[0])
    try:
        made = _make(start, values, place / FOLDER / f"{notebook.stem}_head.keras") if start else NOTHING_TAKEN
    except ValueError as error:  # what is no data set, or somebody else's file where the head is to be
        raise CourseError(str(error)) from None
    there = "was copied for you" if name in written else "was there and stays as it is"
    return f"{notebook.stem} can start: {_shown(place / name)} {there}; {made} ({time.monotonic() - started:.0f} s)."


def _make(start: Start, values: dict[str, Any], path: Path) -> str:
    """Computes what the cache has not, fits the head and keeps it; says so in the second half of a sentence."""
    from effnet_helpers import data, models, runtime, training

    models.check_save_path(path)  # before the work
    batch_size = training.use_device()
    runtime.set_seed(values["seed"])
    options = {name: values.get(name) for name in ("image_size", "resize_mode", "split_seed", "group_by")}
    images = data.load(values["dataset"], **options, limit_per_class=values["limit_per_class"] or None)
    model = models.add_head(models.build_backbone(values["variant"], image_size=images.image_size), images.num_classes)
    found = [*training.extract_features(models.split_after(model, "head_pool")[0], images, start.splits).values()]
    how = {"batch_size": batch_size, "balance": values.get("balance"), "seed": values["seed"]}
    accuracy = training.fit_head(model, images, **HEAD, **how).val_accuracy
    cut = ""
    if start.opens_blocks:
        asked = values["from_block"]
        block = training.choose_recipe(images.sizes["train"], accuracy, from_block=asked).from_block
        found += training.extract_features(models.split_at_block(model, block)[0], images, start.splits[:2]).values()
        cut = f", and what goes into {block}"
    named = {"class_names": images.class_names, "variant": values["variant"], "bits": images.bits}
    path = keep(model, path, **named, resize_mode=values["resize_mode"])
    reused, size = sum(part.reused for part in found), sum(part.values.nbytes for part in found) / 1e6
    return (
        f"the cache has its features of {sum(images.sizes[split] for split in start.splits):,} images{cut} "
        f"({size:,.0f} MB, {reused} of {len(found)} parts were there before), and {_shown(path)} is a head fitted on "
        f"them (validation accuracy {accuracy:.3f})"
    )


def keep(model: keras.Model, path: Path, **card: Any) -> Path:
    """Saves a model beside whatever models lie there, unless the same does already; returns where it is."""
    from effnet_helpers import models

    path.parent.mkdir(parents=True, exist_ok=True)
    place, number = path, 1
    while place.exists() and not _is_kept(model, place):
        number += 1
        place = path.with_stem(f"{path.stem}_{number}")
    if not place.exists():
        models.save(model, place, **card)
    return place


def _is_kept(model: keras.Model, path: Path) -> bool:
    from effnet_helpers import models

    import numpy as np

    try:
        kept = models.load(path)[0].get_weights()
    except ValueError:  # damaged, or without its card
        return False
    return len(kept) == len(model.get_weights()) and all(map(np.array_equal, kept, model.get_weights()))


def _values(notebook: Path, given: dict[str, dict[str, Any]]) -> dict[str, Any]:
    return profiles.in_effect([notebook], given)[notebook.stem]


def _shown(path: Path) -> str:
    return from_here(path, str(path))
