import math

from effnet_helpers.preprocessing import augment, load_image, read_resized, resize, resize_picture

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image


def colour_ramp(height=40, width=60):
    """A smooth picture in which no two corners are alike."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([x * 255 // (width - 1), y * 255 // (height - 1), np.full_like(x, 80)], axis=-1).astype(np.uint8)


def batch_of_ramps(count=4, height=24, width=32):
    return np.repeat(colour_ramp(height, width)[None], count, axis=0).astype(np.float32)


# load_image


@pytest.mark.parametrize(
    ("suffix", "options", "tolerance"),
    [
        ("jpg", {"quality": 95}, 12),
        ("png", {}, 0),
        ("webp", {"lossless": True}, 0),
        ("bmp", {}, 0),
        ("gif", {}, 40),
    ],
)
def test_load_image_reads_every_format(tmp_path, suffix, options, tolerance):
    path = tmp_path / f"picture.{suffix}"
    Image.fromarray(colour_ramp()).save(path, **options)
    pixels = load_image(path)
    assert pixels.dtype == np.float32
    assert pixels.shape == (40, 60, 3)
    assert np.abs(pixels - colour_ramp()).max() <= tolerance


def test_load_image_reads_grey_palette_and_cmyk(tmp_path):
    ramp = Image.fromarray(colour_ramp())
    ramp.convert("L").save(tmp_path / "grey.png")
    ramp.convert("P", palette=Image.Palette.ADAPTIVE).save(tmp_path / "palette.png")
    ramp.convert("CMYK").save(tmp_path / "cmyk.jpg", quality=95)
    grey = load_image(tmp_path / "grey.png")
    np.testing.assert_array_equal(grey, np.repeat(np.asarray(ramp.convert("L"))[..., None], 3, axis=-1))
    assert np.abs(load_image(tmp_path / "palette.png") - colour_ramp()).mean() < 12
    assert np.abs(load_image(tmp_path / "cmyk.jpg") - colour_ramp()).mean() < 6


def test_load_image_scales_sixteen_bits_without_clipping(tmp_path):
    Image.fromarray(np.array([[0, 257], [32896, 65535]], dtype=np.uint16)).save(tmp_path / "deep.png")
    np.testing.assert_array_equal(load_image(tmp_path / "deep.png")[..., 0], [[0, 1], [128, 255]])


def test_load_image_lays_transparent_pictures_on_white(tmp_path):
    pixels = np.zeros((1, 3, 4), dtype=np.uint8)
    pixels[0, :, 3] = 0, 255, 128  # black: invisible, solid, half
    Image.fromarray(pixels).save(tmp_path / "alpha.png")
    palette = Image.fromarray(np.array([[0, 1]], dtype=np.uint8), mode="P")
    palette.putpalette([10, 20, 30, 40, 50, 60])
    palette.save(tmp_path / "palette.png", transparency=0)
    assert load_image(tmp_path / "alpha.png")[0, :, 0].tolist() == [255, 0, 127]
    assert load_image(tmp_path / "palette.png")[0].tolist() == [[255, 255, 255], [40, 50, 60]]


@pytest.mark.parametrize(("orientation", "turns"), [(1, 0), (3, 2), (6, -1), (8, 1)])
def test_load_image_turns_pictures_as_exif_says(tmp_path, orientation, turns):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(colour_ramp()).save(tmp_path / "phone.png", exif=exif)
    np.testing.assert_array_equal(load_image(tmp_path / "phone.png"), np.rot90(colour_ramp(), turns))


def test_load_image_takes_the_first_frame(tmp_path):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    assert load_image(tmp_path / "moving.gif")[0, 0].tolist() == [255, 0, 0]


def test_load_image_crops_as_published(tmp_path):
    """Size 224 keeps a central square of 224/256 of the short side: 175 of 200 pixels, from (62, 12) or (63, 13)."""
    pixels = np.full((200, 300, 3), 255, dtype=np.uint8)
    pixels[13 : 13 + 175, 63 : 63 + 175] = 0
    Image.fromarray(pixels).save(tmp_path / "exact.png")
    cropped = load_image(tmp_path / "exact.png", 224)
    assert cropped.shape == (224, 224, 3)
    assert cropped.max() == 0
    pixels[13 : 13 + 175, 63] = 255
    Image.fromarray(pixels).save(tmp_path / "short.png")
    assert load_image(tmp_path / "short.png", 224)[:, 0].min() > 100


def test_load_image_resamples_as_the_evaluation_of_its_weights(tmp_path):
    """The authors' without antialiasing, by TensorFlow; timm's with it, by Pillow."""
    pixels = np.random.default_rng(0).integers(0, 256, (240, 320, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "noise.png")
    square = pixels[60:180, 100:220]  # 32 / (32 + 32) of 240 is 120
    expected = np.clip(tf.image.resize(square, (32, 32), "bicubic", antialias=False), 0, 255)
    found = load_image(tmp_path / "noise.png", 32)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-3)
    square = Image.fromarray(pixels[12:228, 52:268])  # 0.9 of 240 is 216
    expected = np.asarray(square.resize((32, 32), Image.Resampling.BICUBIC), dtype=np.float32)
    smooth = load_image(tmp_path / "noise.png", 32, weights="ra4")
    np.testing.assert_allclose(smooth, expected, atol=1.5)
    assert smooth.std() < 0.3 * found.std()  # what is averaged varies less: the two are not the same


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("missing.jpg", None, "there is no such file"),
        ("empty.jpg", b"", "zero bytes"),
        ("text.jpg", b"Dear reader", "its content is not a picture"),
    ],
)
def test_load_image_says_what_is_wrong(tmp_path, name, content, reason):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=reason) as raised:
        load_image(tmp_path / name)
    assert "JPEG, PNG, WEBP, BMP, GIF" in str(raised.value)
    assert name in str(raised.value).partition("Received")[2]


def test_load_image_refuses_truncated_files_and_folders(tmp_path):
    path = tmp_path / "cut.jpg"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:1500])
    with pytest.raises(ValueError, match="truncated or damaged"):
        load_image(path)
    with pytest.raises(ValueError, match="it is a folder"):
        load_image(tmp_path)


@pytest.mark.parametrize("size", [0, -1, 2.5, "224", True])
def test_image_size_is_checked(tmp_path, size):
    Image.fromarray(colour_ramp()).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match="Received"):
        load_image(tmp_path / "a.png", size)
    with pytest.raises(ValueError, match="Received"):
        resize(colour_ramp(), size)


# resize


@pytest.mark.parametrize("mode", ["crop", "pad", "squash"])
def test_resize_leaves_pixels_alone_where_the_size_fits(mode):
    picture = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    result = resize(picture, 32, mode)
    assert result.dtype == tf.float32
    np.testing.assert_array_equal(result, picture)


def test_crop_keeps_the_centre_at_full_height():
    picture = colour_ramp(32, 64)
    np.testing.assert_array_equal(resize(picture, 32, "crop"), picture[:, 16:48])
    by_pillow = np.asarray(Image.fromarray(picture[:, 16:48]).resize((20, 20), Image.Resampling.BICUBIC), np.float32)
    assert np.abs(resize(picture, 20, "crop") - by_pillow).max() < 1


def test_pad_never_enlarges_and_shrinks_only_what_is_larger():
    small = colour_ramp(20, 26)
    padded = resize(small, 32, "pad").numpy()
    np.testing.assert_array_equal(padded[6:26, 3:29], small)
    padded[6:26, 3:29] = 0
    assert padded.max() == 0
    shrunk = resize(np.full((100, 200, 3), 200, np.uint8), 50, "pad").numpy()
    assert np.flatnonzero(shrunk[:, 25, 0] > 100).tolist() == list(range(12, 37))
    assert resize(np.full((3, 400, 3), 200, np.uint8), 32, "pad").shape == (32, 32, 3)


def test_squash_ignores_the_aspect_ratio():
    picture = np.zeros((20, 80, 3), np.uint8)
    picture[:, 40:] = 255
    squashed = resize(picture, 16, "squash").numpy()
    assert squashed[:, :7].max() < 1
    assert squashed[:, 9:].min() > 254


def test_shrinking_is_antialiased():
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    assert np.abs(resize(stripes, 16, "crop").numpy()[:, 2:-2] - 127.5).max() < 10


@pytest.mark.parametrize("mode", ["crop", "pad", "squash"])
@pytest.mark.parametrize("shape", [(30, 47, 3), (47, 30, 3), (2, 30, 47, 3), (10, 10, 3)])
def test_resize_is_the_same_inside_tf_data_with_unknown_shape(mode, shape):
    picture = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    unknown = tf.TensorSpec((None,) * (len(shape) - 1) + (3,), tf.uint8)
    dataset = tf.data.Dataset.from_generator(lambda: [picture], output_signature=unknown)
    dataset = dataset.map(lambda image: resize(image, 24, mode))
    assert dataset.element_spec.shape[-3:] == (24, 24, 3)
    result = next(iter(dataset)).numpy()
    np.testing.assert_allclose(result, resize(picture, 24, mode), atol=1e-3)
    assert result.min() >= 0
    assert result.max() <= 255


def test_resize_names_unknown_modes():
    for tool, image in ((resize, colour_ramp()), (resize_picture, Image.fromarray(colour_ramp()))):
        with pytest.raises(ValueError, match=r'"crop", "pad" or "squash"\. Received: .stretch.'):
            tool(image, 24, "stretch")


def noise(shape):
    return np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)


def black_and_white(shape):
    """Hard edges, beside which bicubic values overshoot and are clipped."""
    return np.kron(noise((20, 20)) // 128 * 255, np.ones((5, 5, 1), np.uint8))[: shape[0], : shape[1]]


@pytest.mark.parametrize("mode", ["crop", "pad", "squash"])
@pytest.mark.parametrize("shape", [(40, 52), (52, 40), (33, 90), (7, 100), (64, 64)])
@pytest.mark.parametrize("content", [noise, black_and_white])
def test_a_picture_is_resized_as_arrays_are(content, shape, mode):
    pixels = content(shape)
    for size in (24, 64, 112):
        picture = np.asarray(resize_picture(Image.fromarray(pixels), size, mode))
        array = resize(pixels, size, mode).numpy()
        assert picture.shape == array.shape == (size, size, 3)
        difference = np.abs(picture - array)
        assert difference.max() < 2
        assert difference.mean() < 0.5
        if mode == "pad" and max(shape) <= size:
            np.testing.assert_array_equal(picture, array)
    np.testing.assert_array_equal(
        resize_picture(Image.fromarray(pixels), min(shape), "crop"), resize(pixels, min(shape))
    )


def test_large_photographs_are_decoded_at_a_smaller_scale_and_look_the_same(tmp_path):
    Image.fromarray(colour_ramp(600, 800)).save(tmp_path / "photo.jpg", quality=95)
    fast = read_resized(tmp_path / "photo.jpg", 64)
    assert np.abs(fast - resize(load_image(tmp_path / "photo.jpg"), 64)).max() < 6


# augment


def test_augment_without_strength_changes_nothing():
    images = np.random.default_rng(0).uniform(0, 255, (3, 17, 32, 3)).astype(np.float32)
    np.testing.assert_array_equal(augment(images, seed=(1, 2)), images)


@pytest.mark.parametrize(
    ("flip", "axes"), [("horizontal", [(1,)]), ("vertical", [(0,)]), ("both", [(0,), (1,), (0, 1)])]
)
def test_flips_are_exact_and_happen_half_the_time(flip, axes):
    images = batch_of_ramps(64)
    flipped = augment(images, seed=(0, 0), flip=flip).numpy()
    seen = [sum(np.array_equal(f, np.flip(images[0], axis)) for f in flipped) for axis in axes]
    unchanged = sum(np.array_equal(f, images[0]) for f in flipped)
    assert unchanged + sum(seen) == 64
    assert min(unchanged, *seen) > 64 / 2 ** len(axes) / 2


def test_shifts_move_whole_pixels_and_reflect_at_the_border():
    images = batch_of_ramps(32, 24, 24)
    shifted = augment(images, seed=(0, 1), translation=0.25).numpy()
    candidates = {}
    padded = np.pad(images[0], ((6, 6), (6, 6), (0, 0)), mode="symmetric")
    for dy in range(-6, 7):
        for dx in range(-6, 7):
            candidates[padded[6 + dy : 30 + dy, 6 + dx : 30 + dx].tobytes()] = (dy, dx)
    moves = [candidates[image.tobytes()] for image in shifted]
    assert len(set(moves)) > 20
    assert max(max(map(abs, move)) for move in moves) >= 5


def test_shifts_and_flips_are_the_same_with_and_without_interpolation():
    images = np.random.default_rng(0).integers(0, 256, (16, 25, 30, 3)).astype(np.float32)
    strengths = {"translation": 0.3, "flip": "both", "contrast": 0.2}
    nearest = augment(images, seed=(0, 1), **strengths)
    interpolated = augment(images, seed=(0, 1), zoom=1e-12, **strengths)  # too little to move anything
    np.testing.assert_allclose(nearest, interpolated, atol=0.01)


def test_rotation_and_zoom_stay_within_their_strength():
    """Follows a dot: turning moves it on a circle, zooming along its radius."""
    y, x = np.mgrid[0:65, 0:65]
    dot = np.exp(-((x - 52) ** 2 + (y - 32) ** 2) / 8).astype(np.float32) * 255  # 20 to the right of the centre
    images = np.repeat(np.stack([dot] * 3, axis=-1)[None], 40, axis=0)

    def polar(changed):
        weight = changed.numpy()[..., 0]
        dx, dy = [(weight * (axis - 32)).sum((1, 2)) / weight.sum((1, 2)) for axis in (x, y)]
        return np.degrees(np.arctan2(dy, dx)), np.hypot(dx, dy)

    angles, radii = polar(augment(images, seed=(3, 4), rotation=30))
    assert 25 < np.abs(angles).max() <= 30.5
    assert angles.min() < 0 < angles.max()
    assert np.allclose(radii, 20, atol=0.3)
    angles, radii = polar(augment(images, seed=(3, 4), zoom=0.2))
    assert np.allclose(angles, 0, atol=0.5)
    assert 15.7 < radii.min() < 17
    assert 23 < radii.max() < 24.3


def test_contrast_scales_around_the_mean_and_stays_in_range():
    images = batch_of_ramps(32) * 0.4 + 60
    changed = augment(images, seed=(5, 6), contrast=0.5).numpy()
    gains = changed.std((1, 2, 3)) / images.std((1, 2, 3))
    assert 0.5 <= gains.min() < 0.65
    assert 1.35 < gains.max() <= 1.5
    np.testing.assert_allclose(changed.mean((1, 2, 3)), images.mean((1, 2, 3)), rtol=1e-4)
    extreme = augment(batch_of_ramps(8), seed=(5, 6), contrast=0.9, rotation=20).numpy()
    assert extreme.min() >= 0
    assert extreme.max() <= 255


def test_augment_draws_for_each_image_and_repeats_with_its_seed():
    images = batch_of_ramps(8)
    strengths = {"rotation": 20, "translation": 0.1, "zoom": 0.1, "flip": "both", "contrast": 0.2}
    first = augment(images, seed=tf.constant([1, 2]), **strengths).numpy()
    assert len({image.tobytes() for image in first}) == 8
    np.testing.assert_array_equal(first, augment(images, seed=(1, 2), **strengths))
    assert np.abs(first - augment(images, seed=(1, 3), **strengths)).max() > 1
    inside = tf.data.Dataset.from_tensors(images).map(lambda x: augment(x, seed=(1, 2), **strengths))
    np.testing.assert_allclose(next(iter(inside)), first, atol=0.05)


@pytest.mark.parametrize("wrong", [{"flip": "left"}, {"zoom": 1.0}, {"zoom": -0.1}])
def test_augment_refuses_what_it_cannot_do(wrong):
    with pytest.raises(ValueError, match="Received"):
        augment(batch_of_ramps(), seed=(0, 0), **wrong)


def test_a_whole_turn_is_360_degrees():
    """A strength of 180 degrees reaches every angle; nothing is lost to a wrong unit."""
    images = batch_of_ramps(64, 25, 25)
    turned = augment(images, seed=(0, 9), rotation=180).numpy()
    corner_red = turned[:, 2, 2, 0]  # dark at the left of the ramp, bright at its right
    assert corner_red.min() < 40
    assert corner_red.max() > 200
    assert math.isclose(turned.mean(), images.mean(), rel_tol=0.1)
