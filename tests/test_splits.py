import random

from effnet_helpers import data
from effnet_helpers.data.splits import hash_key, join_copies, limit_by_hash, split_by_hash

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components


def three_classes(images_per_class=500):
    names = [f"{name}/{i:04d}.jpg" for name in ("global", "local", "nominal") for i in range(images_per_class)]
    return names, [0] * images_per_class + [1] * images_per_class + [2] * images_per_class


def as_names(names, splits):
    return {split: [names[i] for i in indices] for split, indices in splits.items()}


def test_the_embedded_split_has_round_totals():
    names, labels = three_classes()
    splits = split_by_hash(names, labels, 0, 2 / 15, 0.2)
    assert {split: len(indices) for split, indices in splits.items()} == {"train": 1000, "val": 200, "test": 300}
    for indices in splits.values():
        assert np.ptp(np.bincount(np.array(labels)[indices])) <= 1


def test_splits_are_disjoint_complete_and_in_the_order_of_names():
    names, labels = three_classes(41)
    splits = split_by_hash(names, labels, 3)
    assert sorted(np.concatenate(list(splits.values())).tolist()) == list(range(123))
    for part in as_names(names, splits).values():
        assert part == sorted(part)


def test_listing_order_does_not_matter():
    names, labels = three_classes(30)
    mixed = list(zip(names, labels, strict=True))
    random.Random(0).shuffle(mixed)
    mixed_names, mixed_labels = zip(*mixed, strict=True)
    expected = as_names(names, split_by_hash(names, labels))
    assert as_names(mixed_names, split_by_hash(mixed_names, mixed_labels)) == expected


def test_files_added_to_one_class_leave_the_others_alone():
    names, labels = three_classes(30)
    before = as_names(names, split_by_hash(names, labels))
    more = [*names, *(f"local/new{i}.jpg" for i in range(17))]
    after = as_names(more, split_by_hash(more, labels + [1] * 17))
    for split, part in before.items():
        assert [n for n in part if "local" not in n] == [n for n in after[split] if "local" not in n]


def test_an_added_file_moves_few_others_within_its_class():
    names, labels = three_classes(60)
    before = as_names(names, split_by_hash(names, labels))
    more = [*names, "local/new.jpg"]
    after = as_names(more, split_by_hash(more, [*labels, 1]))
    assert len(set(before["test"]) - set(after["test"])) <= 1


def test_known_places():
    """Golden values: a split that changes between versions or machines would mix training and test images."""
    assert hash_key("local/0001.jpg", 0)[:12] == "831cc975c64b"
    names, labels = three_classes(4)
    test = as_names(names, split_by_hash(names, labels))["test"]
    assert test == [
        "global/0001.jpg",
        "local/0000.jpg",
        "nominal/0003.jpg",
    ]


def test_another_seed_gives_another_split():
    names, labels = three_classes(30)
    assert as_names(names, split_by_hash(names, labels, 0)) != as_names(names, split_by_hash(names, labels, 1))


@pytest.mark.parametrize("count", [3, 4, 7])
@pytest.mark.parametrize("fractions", [(2 / 15, 0.2), (0.01, 0.01), (0.49, 0.5)])
def test_every_split_has_an_image_of_every_class(count, fractions):
    names, labels = three_classes(count)
    for indices in split_by_hash(names, labels, 0, *fractions).values():
        assert set(np.array(labels)[indices]) == {0, 1, 2}


def test_a_fraction_of_zero_leaves_its_split_empty():
    names, labels = three_classes(10)
    splits = split_by_hash(names, labels, 0, 0.2, 0.0)
    assert len(splits["test"]) == 0
    assert len(splits["val"]) == 6


def test_small_classes_and_wrong_fractions_are_named():
    with pytest.raises(ValueError, match=r"Class 1 has too few.*left for test\. Received: 2 images, such as"):
        split_by_hash(["cat/1.jpg", "cat/2.jpg", "cat/3.jpg", "dog/1.jpg", "dog/2.jpg"], [0, 0, 0, 1, 1])
    with pytest.raises(ValueError, match=r"Class 0 has too few.*left for test"):
        split_by_hash(["cat/1.jpg", "cat/2.jpg", "dog/1.jpg", "dog/2.jpg"], [0, 0, 1, 1])
    for fractions in [(0.5, 0.5), (-0.1, 0.2), (0.2, 1.0)]:
        with pytest.raises(ValueError, match="Received: val_fraction="):
            split_by_hash(*three_classes(5), 0, *fractions)


def test_limit_takes_the_same_number_of_each_class_and_smaller_limits_nest():
    names, labels = three_classes(30)
    ten = limit_by_hash(names, labels, 0, 10)
    five = limit_by_hash(names, labels, 0, 5)
    assert np.bincount(np.array(labels)[ten]).tolist() == [10, 10, 10]
    assert set(five) < set(ten)
    assert len(limit_by_hash(names, labels, 0, 1000)) == 90


@pytest.mark.parametrize("limit", [0, 2, 2.5, True, "many"])
def test_limits_that_cannot_fill_three_splits_are_refused(limit):
    with pytest.raises(ValueError, match="limit_per_class must be None or an integer, 3 or more"):
        limit_by_hash(*three_classes(5), 0, limit)


# properties that must hold for any names, classes and groups

names_of_class = st.lists(st.text("abcxyz0189-_ é", min_size=1, max_size=6), min_size=12, max_size=30, unique=True)
sets = st.lists(names_of_class, min_size=2, max_size=4).map(
    lambda classes: [(f"{label}/{name}", label) for label, names in enumerate(classes) for name in names]
)
seeds = st.integers(0, 2**32)


def assignment(images, seed=0, **options):
    """The split of each image, by its name."""
    names, labels = [name for name, _ in images], [label for _, label in images]
    splits = split_by_hash(names, labels, seed, **options)
    assert sorted(np.concatenate(list(splits.values())).tolist()) == list(range(len(names)))  # disjoint and complete
    return {names[i]: split for split, part in splits.items() for i in part}


@given(sets, seeds, st.randoms(use_true_random=False))
def test_the_split_does_not_depend_on_the_order_of_files(images, seed, random):
    shuffled = random.sample(images, len(images))
    assert assignment(images, seed) == assignment(shuffled, seed)


@given(sets, seeds)
def test_every_class_has_its_share_of_every_split_within_one_image(images, seed):
    split = assignment(images, seed)
    for label in {label for _, label in images}:
        members = [name for name, other in images if other == label]
        for name, fraction in (("test", 0.2), ("val", 2 / 15)):
            assert abs(sum(split[member] == name for member in members) - fraction * len(members)) <= 1


@given(sets, seeds, st.text("qrs", min_size=1))
def test_a_file_added_to_one_class_changes_nothing_in_the_others(images, seed, name):
    before, after = assignment(images, seed), assignment([*images, (f"0/new {name}", 0)], seed)
    assert all(after[other] == split for other, split in before.items() if not other.startswith("0/"))


@given(sets, seeds, st.integers(3, 8), st.booleans())
def test_groups_stay_whole_whatever_their_sizes(images, seed, count, across_classes):
    groups = [
        f"{'' if across_classes else label}/{len(name) * 7 % count}{hash_key(name, 1)[0]}" for name, label in images
    ]
    try:
        split = assignment(images, seed, groups=groups)
    except ValueError as error:
        assert "has too few images, or groups" in str(error)
        return
    by_group = {}
    for (name, _), group in zip(images, groups, strict=True):
        by_group.setdefault(group, set()).add(split[name])
    assert all(len(splits) == 1 for splits in by_group.values())


@given(sets, seeds)
def test_groups_of_one_image_are_no_groups(images, seed):
    assert assignment(images, seed, groups=[name for name, _ in images]) == assignment(images, seed)


def test_groups_of_very_different_sizes_fill_all_splits():
    names = [f"{group}-{i}" for group, size in enumerate((100, 90, 80)) for i in range(size)]
    splits = split_by_hash(names, [0] * 270, groups=[name.partition("-")[0] for name in names])
    assert sorted(len(part) for part in splits.values()) == [80, 90, 100]
    assert len(splits["train"]) == 100


def joined_as_a_graph(digests, groups):
    """The definition: images are nodes, tied to the first of their group and to the first with their contents."""
    ties = [(i, values.index(value)) for values in (groups, digests) for i, value in enumerate(values)]
    rows, columns = zip(*ties, strict=True)
    _, component = connected_components(coo_array((np.ones(len(ties)), (rows, columns)), shape=(len(groups),) * 2))
    return tuple(min(groups[j] for j in np.flatnonzero(component == number)) for number in component)


@given(st.lists(st.tuples(st.sampled_from("0123456789"), st.sampled_from("abcdefghij")), min_size=1, max_size=20))
def test_groups_and_copies_are_joined_as_in_a_graph(images):
    digests, groups = zip(*images, strict=True)
    names = tuple(map(str, range(len(images))))
    assert join_copies(names, digests, groups) == joined_as_a_graph(digests, groups)
    assert join_copies(names, digests) == joined_as_a_graph(digests, names)


def test_copies_join_groups():
    names, digests = ["a", "b", "c", "d", "e"], ["1", "2", "2", "3", "4"]
    assert join_copies(names, digests) == ("a", "b", "b", "d", "e")
    assert join_copies(names, digests, ["g", "g", "h", "h", "i"]) == ("g", "g", "g", "g", "i")


def test_folds_hold_every_image_once_and_keep_groups_and_shares():
    names = [f"{label}/{number}" for label in "ab" for number in range(23)]
    labels, groups = [int(name[0] == "b") for name in names], [name[:4] for name in names]
    folds = [data.fold_by_hash(names, labels, fold, 5, seed=1, groups=groups) for fold in range(5)]
    assert sorted(np.concatenate(folds).tolist()) == list(range(46))
    for fold in folds:
        assert {groups[i] for i in fold}.isdisjoint(groups[i] for i in range(46) if i not in fold)
    single = [data.fold_by_hash(names, labels, fold, 5) for fold in range(5)]
    assert all(4 <= sum(labels[i] == label for i in fold) <= 5 for fold in single for label in (0, 1))


@pytest.mark.parametrize("fold", [(5, 5), (-1, 5), (0, 1), (1, 0)])
def test_a_fold_that_is_none_is_refused(fold):
    with pytest.raises(ValueError, match=r"fold: expected \(number, count\).*Received: "):
        data.fold_by_hash(["a/1", "a/2"], [0, 0], *fold)


def test_a_fold_is_the_test_split(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for number in range(10):
            Image.fromarray(np.full((8, 8, 3), 10 * number + (name == "a"), np.uint8)).save(
                tmp_path / name / f"{number}.png"
            )
    parts = [data.load(f"folder:{tmp_path}", image_size=8, fold=(fold, 5)) for fold in range(5)]
    tested = [name for images in parts for name in images.splits["test"].names]
    assert sorted(tested) == sorted(set(tested)) and len(tested) == 20
    assert all(images.sizes == {"train": 14, "val": 2, "test": 4} for images in parts)
