"""What is checked is what is used: pixels as stored by phones and instruments, and counts after all was left out."""

import shutil
import struct

from effnet_helpers import data
from effnet_helpers.data.audit import audit
from effnet_helpers.data.similar import similar_pairs
from effnet_helpers.preprocessing import read_rgb

import numpy as np
import pytest
from hostile_pictures import GREY, RGB, chunk, encoded, picture, png_header, png_rows
from PIL import Image

from zlib import compress  # isort: skip


def deep_png(pixels):
    """A PNG of 16 bits a channel."""
    colour = GREY if pixels.ndim == 2 else RGB
    size = pixels.shape[1::-1]
    return png_header(size, 16, colour) + chunk(b"IDAT", compress(png_rows(pixels.astype(">u2")))) + chunk(b"IEND", b"")


def ramp(bits, colours=False, number=0):
    """All values of so many bits, more or less."""
    values = np.linspace(0, 2**bits - 1, 64 * 64).reshape(64, 64)
    values = np.roll(values, 7 * number, axis=0)
    return np.stack([values, values.T, values[::-1]], axis=-1) if colours else values


def write_deep(root, bits, colours=False):
    for number in range(8):
        path = root / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(deep_png(ramp(bits, colours, number)))
    return root


# EXIF


def exif_with(*tags):
    entries = b"".join(struct.pack("<HHI", *tag[:3]) + tag[3] for tag in tags)
    return b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + entries + bytes(4)


TURNED = (274, 3, 1, struct.pack("<HH", 6, 0))


@pytest.mark.parametrize(
    ("exif", "size"),
    [
        (exif_with(TURNED, (282, 2, 4, b"72\0\0")), (40, 64)),  # a resolution as text
        (exif_with(TURNED, (306, 3, 1, b"\1\0\0\0")), (40, 64)),  # a date as a number
        (exif_with(TURNED, (37500, 99, 1, bytes(4))), (40, 64)),  # a type that does not exist
        (exif_with((274, 2, 4, b"six\0")), (64, 40)),  # an orientation as text
        (exif_with((274, 3, 1, struct.pack("<HH", 77, 0))), (64, 40)),
        (b"Exif\0\0II*\0\xff\xff\xff\xff", (64, 40)),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_odd_tags_are_no_damage_and_the_pixels_come_upright(tmp_path, exif, size):
    for number in range(8):
        path = tmp_path / "ab"[number % 2] / f"{number}.jpg"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(encoded(picture(number, (64, 40)), exif=exif))
    dataset = data.load(f"folder:{tmp_path}", image_size=16)
    assert sum(len(labels) for split in dataset.splits for _, labels in dataset.batches(split, 4)) == 8
    assert read_rgb(path).size == size
    assert ("exif_rotated" in set(audit(tmp_path).findings["finding"])) == (size == (40, 64))


# bit depths


@pytest.mark.parametrize(("bits", "depth"), [(8, 8), (10, 10), (12, 12), (13, 14), (16, 16)])
@pytest.mark.parametrize("colours", [False, True])
def test_sixteen_bits_are_scaled_by_the_depth_that_the_whole_set_uses(tmp_path, bits, depth, colours):
    dataset = data.load(f"folder:{write_deep(tmp_path, bits, colours)}", image_size=64)
    assert dataset.bits == depth
    files = dataset.splits["train"]
    number = int(files.names[0].split("/")[1][0])
    expected = np.round(ramp(bits, colours, number) * 255 / (2**depth - 1))
    assert np.abs(dataset.image("train", 0) - (expected if colours else expected[..., None])).max() <= 1
    findings = audit(tmp_path).findings
    details = set(findings.loc[findings["finding"] == "bits16", "detail"])
    assert details == {f"scaled from the {depth} bits that the whole set uses"}


def test_another_depth_gives_other_pixels_and_another_fingerprint(tmp_path):
    before = data.load(f"folder:{write_deep(tmp_path, 12)}", image_size=64)
    (tmp_path / "a" / "0.png").write_bytes(deep_png(ramp(16)))
    after = data.load(f"folder:{tmp_path}", image_size=64)
    assert (before.bits, after.bits) == (12, 16)
    assert before.fingerprint("val") != after.fingerprint("val")
    (tmp_path / "b" / "dark.png").write_bytes(deep_png(ramp(10)))
    assert "b/dark.png" in set(audit(tmp_path).findings.query("finding == 'dim16'")["file"])


# counts


def copies_of_test_pictures(root, label, count):
    for path in sorted((root / "test" / label).iterdir())[:count]:
        (root / "train" / label).mkdir(parents=True, exist_ok=True)
        shutil.copy(path, root / "train" / label)


def test_a_class_that_leaving_out_copies_empties_is_refused_and_found(tmp_path):
    for number, folder in enumerate(("train/a", "test/a", "test/b")):
        (tmp_path / folder).mkdir(parents=True)
        for i in range(6):
            (tmp_path / folder / f"{i}.png").write_bytes(encoded(picture(10 * number + i), "PNG"))
    copies_of_test_pictures(tmp_path, "b", 6)
    with pytest.raises(
        ValueError, match=r"1 readable images or more, in the training split.*'b' has 0(.|\n)*the same picture"
    ):
        data.load(f"folder:{tmp_path}", image_size=16)
    report = audit(tmp_path)
    assert (report.pictures, report.usable) == (24, 18)
    findings = report.findings
    assert findings.query("finding == 'empty_class'")["class"].tolist() == ["b"]
    left_out = findings[findings["detail"].str.startswith("left out: the same as test/b/")]
    assert sorted(left_out["file"]) == [f"train/b/{i}.png" for i in range(6)]


# many copies


def test_thousands_of_copies_are_compared_once_each(tmp_path):
    looks = [7] * 20_000 + [8] * 20_000
    pairs = list(similar_pairs(looks))
    assert len(pairs) == 40_000
    assert {(bits, looks[one] == looks[other], one != other) for one, other, bits in pairs} == {(0, True, True)}


def test_copies_name_one_other_and_how_many_more(tmp_path):
    content = encoded(picture(1), "PNG")
    for folder, count in (("a", 3), ("b", 2)):
        (tmp_path / folder).mkdir()
        for i in range(count):
            (tmp_path / folder / f"{i}.png").write_bytes(content)
    findings = audit(tmp_path).findings
    told = {(row.finding, row.file): row.detail for row in findings.itertuples()}
    assert told["duplicate", "a/0.png"] == "the same as a/1.png and 1 more"
    assert told["duplicate", "a/2.png"] == "the same as a/0.png and 1 more"
    assert told["duplicate", "b/1.png"] == "the same as b/0.png"
    assert told["duplicate_across_classes", "a/1.png"] == "the same as b/0.png and 1 more"
    assert told["duplicate_across_classes", "b/0.png"] == "the same as a/0.png and 2 more"


def test_what_has_eight_bits_is_not_touched_by_any_depth(tmp_path):
    path = tmp_path / "x.png"
    Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16)).save(path)
    np.testing.assert_array_equal(np.asarray(read_rgb(path, bits=12)), np.asarray(read_rgb(path)))
