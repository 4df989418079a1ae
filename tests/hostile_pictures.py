"""Pictures, whole and broken, as bytes: what `hostile` writes into its corpus. Everything is made here, nothing stored.

Each family yields `(name, content, fate, findings)`. Fates are what Pillow 11 to 13 makes of the bytes.
"""

import io
import itertools
import struct
import zipfile
import zlib

import numpy as np
from PIL import Image

USED, LEFT_OUT, NOT_AN_IMAGE = "used", "left out", "not an image"
SIZE = (120, 90)
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
GREY, RGB, RGBA = 0, 2, 6  # colour types of PNG


def picture(number, size=SIZE):
    """Returns a photograph-like picture, smooth random colours with some grain; each number gives quite another one."""
    random = np.random.default_rng(number)
    patches = Image.fromarray(random.integers(0, 256, (6, 8, 3), dtype=np.uint8))
    smooth = np.asarray(patches.resize(size, Image.Resampling.BICUBIC), dtype=float)
    return Image.fromarray((smooth + random.normal(0, 8, smooth.shape)).clip(0, 255).astype(np.uint8))


def new_pictures():
    """Returns a function that gives another picture each time it is called, so that none is a duplicate by accident."""
    numbers = itertools.count()
    return lambda size=SIZE: picture(next(numbers), size)


def encoded(image, kind="JPEG", **options):
    """Returns a picture as the bytes of a file."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **({"quality": 92} if kind == "JPEG" else {}) | options)
    return buffer.getvalue()


def patched(content, position, replacement):
    """Returns the bytes with some of them replaced."""
    return content[:position] + replacement + content[position + len(replacement) :]


def with_alpha(image):
    """Returns a picture that fades from transparent to opaque."""
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    return image


def chunk(kind, content, checksum=None):
    """Returns one chunk of a PNG file, with a wrong checksum if one is given."""
    checksum = zlib.crc32(kind + content) if checksum is None else checksum
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)


def png_header(size, bits=8, colour=RGB, interlaced=False):
    """Returns the beginning of a PNG file: signature and IHDR."""
    return PNG_SIGNATURE + chunk(b"IHDR", struct.pack(">IIBBBBB", *size, bits, colour, 0, 0, interlaced))


def png_rows(pixels):
    """Returns the rows of an array as PNG stores them, unfiltered."""
    return b"".join(b"\0" + row.tobytes() for row in pixels)


def png_16_bit(image, colour):
    """Returns a picture as a PNG of 16 bits a channel, which Pillow does not write."""
    pixels = (np.asarray(image).astype(np.uint16) * 257).astype(">u2")
    return png_header(image.size, 16, colour) + chunk(b"IDAT", zlib.compress(png_rows(pixels))) + chunk(b"IEND", b"")


def png_interlaced(image):
    """Returns a picture as a PNG in the seven passes of Adam7, which Pillow does not write."""
    pixels = np.asarray(image)
    passes = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
    rows = b"".join(png_rows(pixels[top::down, left::right]) for top, left, down, right in passes)
    return png_header(image.size, interlaced=True) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def png_of_zeros(side):
    """Returns a real black PNG of `side` × `side` pixels in a few kilobytes."""
    rows = zlib.compress(bytes((side // 8 + 1) * side), 9)
    return png_header((side, side), 1, GREY) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def jpegs(new):
    """JPEG files, from ordinary variants to damaged ones."""
    yield "baseline.jpg", encoded(new()), USED, ()
    yield "progressive.jpg", encoded(new(), progressive=True), USED, ()
    yield "grey.jpg", encoded(new().convert("L")), USED, ()
    yield "subsampled.jpeg", encoded(new(), subsampling=2, quality=40), USED, ()
    yield "restart_markers.jpe", encoded(new(), restart_marker_rows=1), USED, ()
    inverted = encoded(new().convert("CMYK"))  # Pillow writes what Adobe does: inverted, with Adobe's marker
    marker = inverted.index(b"Adobe")
    yield "cmyk_adobe.jpg", inverted, USED, ("cmyk",)
    yield "cmyk_ycck.jpg", patched(inverted, marker + 11, b"\2"), USED, ("cmyk",)
    plain = encoded(new().convert("CMYK"))
    marker = plain.index(b"\xff\xee")
    yield "cmyk.jpg", plain[:marker] + plain[marker + 16 :], USED, ("cmyk",)
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[274] = orientation
        rotated = ("exif_rotated",) if orientation > 1 else ()
        yield f"exif_{orientation}.jpg", encoded(new(), exif=exif), USED, rotated
    yield "exif_broken.jpg", encoded(new(), exif=b"Exif\0\0MM\0*\xff\xff\xff\xff broken"), USED, ()
    yield "exif_looping.jpg", encoded(new(), exif=b"Exif\0\0II*\0\x08\0\0\0" + b"\xff" * 40), USED, ()
    # A phone's portrait: two pictures in one file, which Pillow calls MPO.
    yield "portrait.jpg", encoded(new(), "MPO", save_all=True, append_images=[new()]), USED, ()
    for percent in (10, 50, 90, 99):
        content = encoded(new())
        yield f"cut_at_{percent}.jpg", content[: len(content) * percent // 100], LEFT_OUT, ("truncated",)
    content = encoded(new(), progressive=True)
    yield "cut_progressive.jpg", content[: len(content) // 2], LEFT_OUT, ("truncated",)
    yield "cut_before_the_end_marker.jpg", encoded(new())[:-2], LEFT_OUT, ("truncated",)
    yield "garbage_behind_the_end.jpg", encoded(new()) + np.random.default_rng(0).bytes(3_000), USED, ()
    # What follows is damage that no decoder notices: some blocks get wrong colours.
    content = encoded(new())
    yield "zeroed_middle.jpg", patched(content, len(content) // 2, bytes(200)), USED, ()
    content = encoded(new())
    tables = content.index(b"\xff\xc4")
    yield "wrong_huffman.jpg", patched(content, tables + 5, b"\xff" * 16), LEFT_OUT, ("truncated",)
    content = encoded(new())
    frame = content.index(b"\xff\xc0")
    yield "claims_too_much.jpg", patched(content, frame + 5, b"\xfd\xe8" * 2), LEFT_OUT, ("gigantic",)


def pngs(new):
    """PNG files: every kind of pixel, and what can be wrong with chunks."""
    yield "plain.png", encoded(new(), "PNG"), USED, ()
    yield "one_bit.png", encoded(new().convert("1"), "PNG"), USED, ()
    yield "palette.png", encoded(new().quantize(32), "PNG"), USED, ("palette",)
    yield "palette_alpha.png", encoded(new().quantize(32), "PNG", transparency=3), USED, ("palette", "alpha")
    yield "grey_alpha.png", encoded(with_alpha(new().convert("L")), "PNG"), USED, ("alpha",)
    yield "alpha.png", encoded(with_alpha(new()), "PNG"), USED, ("alpha",)
    yield "colour_key.png", encoded(new(), "PNG", transparency=(1, 2, 3)), USED, ("alpha",)
    yield "grey_16.png", png_16_bit(new().convert("L"), GREY), USED, ("bits16",)
    yield "rgb_16.png", png_16_bit(new(), RGB), USED, ("bits16",)
    yield "rgba_16.png", png_16_bit(with_alpha(new()), RGBA), USED, ("bits16", "alpha")
    yield "interlaced.png", png_interlaced(new()), USED, ()
    yield "animated.png", encoded(new(), "PNG", save_all=True, append_images=[new()]), USED, ("animated",)
    exif = Image.Exif()
    exif[274] = 6
    yield "exif.png", encoded(new(), "PNG", exif=exif), USED, ("exif_rotated",)
    content = encoded(new(), "PNG")
    yield "cut.png", content[: len(content) // 2], LEFT_OUT, ("truncated",)
    image = new()
    header, end = png_header(image.size), chunk(b"IEND", b"")
    rows = zlib.compress(png_rows(np.asarray(image)))
    yield "wrong_data_crc.png", header + chunk(b"IDAT", rows, 0) + end, USED, ()  # Pillow trusts zlib's own checksum
    rows = zlib.compress(png_rows(np.asarray(new())))
    broken = patched(rows, len(rows) // 2, bytes(40))
    yield "wrong_data.png", header + chunk(b"IDAT", broken) + end, LEFT_OUT, ("truncated",)
    content = encoded(new(), "PNG")
    for name, extra, fate, findings in (
        ("wrong_text_crc.png", chunk(b"tEXt", b"Title\0x", 0), LEFT_OUT, ("truncated",)),
        ("long_text.png", chunk(b"tEXt", b"Title\0" + b"x" * 2_000_000), USED, ()),
        # A few kilobytes that unfold to more text than Pillow takes
        ("text_bomb.png", chunk(b"zTXt", b"Title\0\0" + zlib.compress(bytes(3_000_000))), LEFT_OUT, ("truncated",)),
    ):
        yield name, content[:33] + extra + encoded(new(), "PNG")[33:], fate, findings
    yield "claims_too_much.png", png_header((60_000, 60_000)) + chunk(b"IDAT", rows) + end, LEFT_OUT, ("gigantic",)
    yield "bomb.png", png_of_zeros(16_000), LEFT_OUT, ("gigantic",)


def other_formats(new):
    """WebP, BMP and GIF files, and pictures of unusual shape."""
    yield "lossy.webp", encoded(new(), "WEBP", quality=80), USED, ()
    yield "lossless.webp", encoded(new(), "WEBP", lossless=True), USED, ()
    yield "alpha.webp", encoded(with_alpha(new()), "WEBP"), USED, ("alpha",)
    yield "animated.webp", encoded(new(), "WEBP", save_all=True, append_images=[new()]), USED, ("animated",)
    content = encoded(new(), "WEBP")
    yield "cut.webp", content[: len(content) // 2], LEFT_OUT, ("truncated",)
    yield "plain.bmp", encoded(new(), "BMP"), USED, ()
    yield "one_bit.bmp", encoded(new().convert("1"), "BMP"), USED, ()
    yield "palette.bmp", encoded(new().quantize(32), "BMP"), USED, ("palette",)
    yield "32_bit.bmp", encoded(with_alpha(new()), "BMP"), USED, ()  # the fourth byte of a plain BMP means nothing
    image = encoded(new(), "BMP")
    yield "top_down.bmp", patched(image, 22, struct.pack("<i", -SIZE[1])), USED, ()
    yield "cut.bmp", encoded(new(), "BMP")[:9_000], LEFT_OUT, ("truncated",)
    yield "still.gif", encoded(new(), "GIF"), USED, ("palette",)
    yield "alpha.gif", encoded(new(), "GIF", transparency=0), USED, ("palette", "alpha")
    yield "animated.gif", encoded(new(), "GIF", save_all=True, append_images=[new()]), USED, ("palette", "animated")
    content = encoded(new(), "GIF")
    yield "cut.gif", content[: len(content) // 2], LEFT_OUT, ("truncated",)
    yield "pixel.png", encoded(new((1, 1)), "PNG"), USED, ("tiny",)
    yield "icon.png", encoded(new((16, 16)), "PNG"), USED, ("tiny",)
    yield "31_high.jpg", encoded(new((90, 31))), USED, ("tiny",)
    yield "32_high.jpg", encoded(new((90, 32))), USED, ()
    yield "banner.jpg", encoded(new((900, 100))), USED, ("extreme_shape",)
    yield "column.png", encoded(new((40, 400)), "PNG"), USED, ("extreme_shape",)
    yield "line.png", encoded(new((1_000, 1)), "PNG"), USED, ("tiny", "extreme_shape")


def false_names(new):
    """Files whose content is not what their ending says."""
    yield "really_png.jpg", encoded(new(), "PNG"), USED, ("wrong_extension",)
    yield "really_webp.jpg", encoded(new(), "WEBP"), USED, ("wrong_extension",)
    yield "really_jpeg.png", encoded(new()), USED, ("wrong_extension",)
    yield "really_gif.bmp", encoded(new(), "GIF"), USED, ("wrong_extension", "palette")
    yield "photo.jpg.png", encoded(new(), "PNG"), USED, ()
    yield "PHOTO.JPG", encoded(new()), USED, ()
    yield "Scan.Jpeg", encoded(new()), USED, ()
    yield "photo.jpg.txt", encoded(new()), USED, ("unnamed_picture",)
    yield "photo", encoded(new()), USED, ("unnamed_picture",)
    yield "notes.txt", b"Birds on Monday, cats on Tuesday.\n", NOT_AN_IMAGE, ("other_file",)
    page = b"<!DOCTYPE html><html><head><title>404 Not Found</title></head><body>Not Found</body></html>"
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("a.txt", "a")
    for name, content in {
        "text.jpg": b"This is no picture.\n", "download.jpg": page, "random.png": np.random.default_rng(1).bytes(5_000),
        "document.jpg": b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n<<>>\nendobj\n", "archive.png": archive.getvalue(),
        "film.jpg": b"\0\0\0\x20ftypisom\0\0\2\0isomiso2avc1mp41" + bytes(200), "only_zeros.jpg": bytes(4_096),
    }.items():  # fmt: skip
        yield name, content, LEFT_OUT, ("not_an_image",)
    yield "empty.jpg", b"", LEFT_OUT, ("zero_bytes",)
    yield "empty.png", b"", LEFT_OUT, ("zero_bytes",)
    heic = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(400)
    avif = b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf" + bytes(400)
    for name, content in {
        "scan.tif": encoded(new(), "TIFF"), "scan.tiff": encoded(new(), "TIFF", compression="tiff_lzw"),
        "favicon.ico": encoded(new((64, 64)), "ICO"), "map.jp2": encoded(new(), "JPEG2000"), "phone.heic": heic,
        "web.avif": avif, "layers.psd": b"8BPS\0\1" + bytes(6) + struct.pack(">HIIHH", 3, 90, 120, 8, 3) + bytes(200),
        "drawing.svg": b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>\n',
        "really_tiff.jpg": encoded(new(), "TIFF"), "really_heic.jpg": heic + b"1", "really_avif.jpg": avif + b"1",
    }.items():  # fmt: skip
        yield name, content, LEFT_OUT, ("unsupported",)
