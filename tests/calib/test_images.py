import io
import struct
import zlib

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image, ImageOps

from calib.images import MAX_PIXELS, image_size, list_images, load_image
from deploy.errors import DataError

RGB = np.random.default_rng(0).integers(0, 256, (9, 7, 3)).astype(np.uint8)
GRAY = RGB[:, :, 0]
DEEP_GRAY = np.random.default_rng(1).integers(0, 65536, (9, 7)).astype(np.uint16)
DEEP_RGB = np.random.default_rng(2).integers(0, 65536, (9, 7, 3)).astype(np.uint16)
UNIT_RGB = np.random.default_rng(3).random((9, 7, 3), dtype=np.float32)
ALPHA = np.random.default_rng(4).integers(0, 256, (9, 7, 1)).astype(np.uint8)


def in_three(gray):
    return np.repeat(gray[:, :, None], 3, axis=2)


def image_bytes(image, kind, **options):
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def png_of_16_bit_colour(pixels):
    height, width, _ = pixels.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*chunk) for chunk in chunks)


def png_chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


# name -> (what PIL saves, the RGB it stands for in 0..1)
PALETTE = Image.fromarray(RGB).convert("P", palette=Image.Palette.ADAPTIVE, colors=5)
CMYK = Image.fromarray(np.concatenate([RGB, ALPHA], axis=2), "CMYK")
LOSSLESS = {
    "rgb.png": (Image.fromarray(RGB), RGB / 255),
    "rgb.BMP": (Image.fromarray(RGB), RGB / 255),
    "rgb.Tiff": (Image.fromarray(RGB), RGB / 255),
    "gray.png": (Image.fromarray(GRAY), in_three(GRAY) / 255),
    "gray_alpha.png": (Image.fromarray(np.dstack([GRAY, ALPHA]), "LA"), in_three(GRAY) / 255),
    "rgba.png": (Image.fromarray(np.concatenate([RGB, ALPHA], axis=2)), RGB / 255),
    "palette.png": (PALETTE, np.asarray(PALETTE.convert("RGB")) / 255),
    "black_white.png": (Image.fromarray(GRAY > 127), in_three(GRAY > 127)),
    "black_white.tif": (Image.fromarray(GRAY > 127), in_three(GRAY > 127)),
    "cmyk.tif": (CMYK, np.asarray(CMYK.convert("RGB")) / 255),
    "deep_gray.png": (Image.fromarray(DEEP_GRAY), in_three(DEEP_GRAY) / 65535),
    "deep_gray.tif": (Image.fromarray(DEEP_GRAY), in_three(DEEP_GRAY) / 65535),
    "int_gray.tif": (Image.fromarray(DEEP_GRAY.astype(np.int32)), in_three(DEEP_GRAY) / 65535),
}


@pytest.mark.parametrize("name", LOSSLESS)
def test_every_mode_becomes_rgb_in_the_unit_range(tmp_path, name):
    image, expected = LOSSLESS[name]
    image.save(tmp_path / name)
    np.testing.assert_allclose(load_image(tmp_path / name), expected, atol=1e-6)


@pytest.mark.parametrize("name", LOSSLESS)
def test_every_mode_becomes_contiguous_float32(tmp_path, name):
    LOSSLESS[name][0].save(tmp_path / name)
    pixels = load_image(tmp_path / name)
    assert pixels.dtype == np.float32
    assert pixels.flags["C_CONTIGUOUS"]


def test_a_palette_with_transparency_loads_without_a_warning(tmp_path, recwarn):
    PALETTE.save(tmp_path / "x.png", transparency=bytes([0, 100, 255, 255, 255]))
    pixels = load_image(tmp_path / "x.png")
    np.testing.assert_allclose(pixels, np.asarray(PALETTE.convert("RGB")) / 255, atol=1e-6)
    assert len(recwarn) == 0


def test_lossless_webp_is_read_exactly(tmp_path):
    Image.fromarray(RGB).save(tmp_path / "x.webp", lossless=True)
    np.testing.assert_allclose(load_image(tmp_path / "x.webp"), RGB / 255, atol=1e-6)


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_jpeg_is_read_as_pillow_reads_it(tmp_path, mode):
    Image.fromarray(RGB).convert(mode).save(tmp_path / "x.jpeg")
    with Image.open(tmp_path / "x.jpeg") as image:
        expected = np.asarray(image.convert("RGB")) / 255
    np.testing.assert_allclose(load_image(tmp_path / "x.jpeg"), expected, atol=1e-6)


def test_16_bit_colour_png_is_read_to_8_bits(tmp_path):
    (tmp_path / "x.png").write_bytes(png_of_16_bit_colour(DEEP_RGB))
    np.testing.assert_allclose(load_image(tmp_path / "x.png"), DEEP_RGB / 65535, atol=1 / 255)


def test_16_bit_colour_tiff_is_read_to_8_bits(tmp_path):
    tifffile.imwrite(tmp_path / "x.tif", DEEP_RGB, photometric="rgb")
    np.testing.assert_allclose(load_image(tmp_path / "x.tif"), DEEP_RGB / 65535, atol=1 / 255)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_float_colour_tiff_is_read_as_it_is(tmp_path, dtype):
    tifffile.imwrite(tmp_path / "x.tif", UNIT_RGB.astype(dtype), photometric="rgb")
    np.testing.assert_array_equal(load_image(tmp_path / "x.tif"), UNIT_RGB.astype(dtype))


def test_float_gray_tiff_is_repeated_over_the_channels(tmp_path):
    tifffile.imwrite(tmp_path / "x.tif", UNIT_RGB[:, :, 0])
    np.testing.assert_array_equal(load_image(tmp_path / "x.tif"), in_three(UNIT_RGB[:, :, 0]))


def test_planar_float_tiff_is_read_in_the_right_order(tmp_path):
    planes = np.moveaxis(UNIT_RGB, -1, 0)
    tifffile.imwrite(tmp_path / "x.tif", planes, photometric="rgb", planarconfig="separate")
    np.testing.assert_array_equal(load_image(tmp_path / "x.tif"), UNIT_RGB)


@pytest.mark.parametrize("value", [-0.1, 1.1, 255, np.nan, np.inf])
def test_float_values_outside_the_unit_range_are_refused_by_name(tmp_path, value):
    bad = UNIT_RGB.copy()
    bad[4, 4, 1] = value
    tifffile.imwrite(tmp_path / "x.tif", bad, photometric="rgb")
    with pytest.raises(DataError, match=r"x\.tif holds values from .* scale them to 0\.\.1"):
        load_image(tmp_path / "x.tif")


def test_integers_beyond_16_bit_are_refused_by_name(tmp_path):
    Image.fromarray(np.full((9, 7), 70000, np.int32)).save(tmp_path / "x.tif")
    with pytest.raises(DataError, match=r"x\.tif holds values from 70000"):
        load_image(tmp_path / "x.tif")


def test_a_stack_of_float_pages_is_read_by_its_first(tmp_path):
    tifffile.imwrite(tmp_path / "x.tif", np.stack([UNIT_RGB, 1 - UNIT_RGB]), photometric="rgb")
    np.testing.assert_array_equal(load_image(tmp_path / "x.tif"), UNIT_RGB)


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_honoured(tmp_path, suffix, orientation):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    path = tmp_path / f"x.{suffix}"
    Image.fromarray(RGB).save(path, exif=exif)
    with Image.open(path) as image:
        expected = np.asarray(ImageOps.exif_transpose(image).convert("RGB")) / 255
    np.testing.assert_allclose(load_image(path), expected, atol=1e-6)
    assert image_size(path) == expected.shape[:2]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_of_a_float_tiff_is_honoured_like_that_of_a_png(tmp_path, orientation):
    tag = [(274, "H", 1, orientation, True)]
    unit = (RGB / 255).astype(np.float32)
    tifffile.imwrite(tmp_path / "x.tif", unit, photometric="rgb", extratags=tag)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    Image.fromarray(RGB).save(tmp_path / "x.png", exif=exif)
    same = load_image(tmp_path / "x.png")
    np.testing.assert_allclose(load_image(tmp_path / "x.tif"), same, atol=1e-6)
    assert image_size(tmp_path / "x.tif") == same.shape[:2]


def test_the_header_and_the_pixels_agree_when_exif_data_stand_behind_the_pixels(tmp_path):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    end = png_chunk(b"IEND", b"")
    whole = image_bytes(Image.fromarray(RGB), "PNG").removesuffix(end)
    late = png_chunk(b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0"))
    (tmp_path / "x.png").write_bytes(whole + late + end)
    assert image_size(tmp_path / "x.png") == load_image(tmp_path / "x.png").shape[:2]


def test_a_size_needs_no_pixels(tmp_path):
    cut = image_bytes(Image.fromarray(RGB), "PNG")[:60]
    (tmp_path / "x.png").write_bytes(cut)
    assert image_size(tmp_path / "x.png") == (9, 7)


FILES = {
    ".png": image_bytes(Image.fromarray(RGB), "PNG"),
    ".jpg": image_bytes(Image.fromarray(RGB), "JPEG"),
    ".bmp": image_bytes(Image.fromarray(RGB), "BMP"),
    ".webp": image_bytes(Image.fromarray(RGB), "WEBP"),
    ".tif": image_bytes(Image.fromarray(RGB), "TIFF"),
}


@pytest.mark.parametrize("suffix", FILES)
def test_a_file_cut_in_half_is_refused_by_name(tmp_path, suffix):
    path = tmp_path / f"half{suffix}"
    path.write_bytes(FILES[suffix][: len(FILES[suffix]) // 2])
    with pytest.raises(DataError, match=f"half{suffix} cannot be read as an image"):
        load_image(path)


@pytest.mark.parametrize("content", [b"", b"\0" * 100, b"<svg/>", b"GIF89a"])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("read", [load_image, image_size])
def test_a_file_that_is_no_image_is_refused_by_name(tmp_path, content, suffix, read):
    path = tmp_path / f"x{suffix}"
    path.write_bytes(content)
    with pytest.raises(DataError, match=f"x{suffix} cannot be read as an image"):
        read(path)


def test_a_format_that_is_not_listed_is_refused_under_any_name(tmp_path):
    """Pillow would read it, and runs Ghostscript on some others."""
    Image.fromarray(RGB).save(tmp_path / "x.ppm")
    (tmp_path / "x.ppm").rename(tmp_path / "x.png")
    with pytest.raises(DataError, match=r"x\.png cannot be read"):
        load_image(tmp_path / "x.png")


def test_a_missing_file_is_refused_by_name(tmp_path):
    with pytest.raises(DataError, match=r"gone\.png cannot be read"):
        load_image(tmp_path / "gone.png")


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow on what it skips
@settings(deadline=None, max_examples=200)
@given(
    suffix=st.sampled_from(sorted(FILES)),
    length=st.floats(0, 1),
    changes=st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 255)), max_size=8),
)
def test_a_damaged_file_is_an_image_or_a_data_error(tmp_path_factory, suffix, length, changes):
    content = bytearray(FILES[suffix])
    for place, value in changes:
        content[place % len(content)] = value
    path = tmp_path_factory.getbasetemp() / f"damaged{suffix}"
    path.write_bytes(content[: round(len(content) * length)])
    try:
        assert load_image(path).shape == (*image_size(path), 3)
    except DataError as error:
        assert str(path) in str(error)


def png_header(width, height):
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = png_chunk(b"IHDR", header) + png_chunk(b"IDAT", zlib.compress(b"\0" * 1000))
    return b"\x89PNG\r\n\x1a\n" + chunks


@pytest.mark.parametrize("side", [round(MAX_PIXELS**0.5) + 100, 60000])
@pytest.mark.parametrize("read", [load_image, image_size])
def test_a_decompression_bomb_is_refused_before_it_is_unpacked(tmp_path, recwarn, side, read):
    (tmp_path / "bomb.png").write_bytes(png_header(side, side))
    with pytest.raises(DataError, match=r"bomb\.png is too large .*cut it into smaller"):
        read(tmp_path / "bomb.png")
    assert len(recwarn) == 0


def test_a_float_tiff_that_claims_too_many_pixels_is_refused(tmp_path):
    tifffile.imwrite(tmp_path / "bomb.tif", UNIT_RGB, photometric="rgb")
    with tifffile.TiffFile(tmp_path / "bomb.tif", mode="r+") as tiff:
        tags = tiff.pages.first.tags
        tags["ImageWidth"].overwrite(60000)
        tags["ImageLength"].overwrite(60000)
    with pytest.raises(DataError, match=r"bomb\.tif is too large"):
        load_image(tmp_path / "bomb.tif")


def test_images_are_listed_recursively_in_the_order_of_their_paths(tmp_path, write_pictures):
    names = ["b.png", "a/z.JPG", "a/deep/y.bmp", "c.TIFF", "d.webp", "e.jpeg", "f.tif"]
    write_pictures(tmp_path, dict.fromkeys(names, (4, 4)))
    listed = [path.relative_to(tmp_path).as_posix() for path in list_images(tmp_path)]
    assert listed == sorted(names)


def test_other_and_hidden_files_are_not_listed(tmp_path, write_pictures):
    write_pictures(tmp_path, dict.fromkeys(["a.png", ".b.png", ".cache/c.png"], (4, 4)))
    (tmp_path / "notes.txt").touch()
    (tmp_path / "folder.png").mkdir()
    assert [path.name for path in list_images(tmp_path)] == ["a.png"]


def test_links_that_leave_the_folder_are_not_followed(tmp_path, write_pictures):
    outside = write_pictures(tmp_path / "outside", {"x.png": (4, 4)})
    inside = write_pictures(tmp_path / "inside", {"a.png": (4, 4)})
    (inside / "file.png").symlink_to(outside / "x.png")
    (inside / "folder").symlink_to(outside)
    (inside / "broken.png").symlink_to(inside / "gone.png")
    assert [path.name for path in list_images(inside)] == ["a.png"]


def test_links_inside_the_folder_are_images_too(tmp_path, write_pictures):
    write_pictures(tmp_path, {"a.png": (4, 4)})
    (tmp_path / "b.png").symlink_to("a.png")
    assert [path.name for path in list_images(tmp_path)] == ["a.png", "b.png"]


def test_a_folder_may_itself_be_a_link(tmp_path, write_pictures):
    write_pictures(tmp_path / "real", {"a.png": (4, 4)})
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert [path.name for path in list_images(tmp_path / "link")] == ["a.png"]


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(DataError, match=f"no folder {tmp_path / 'gone'}"):
        list_images(tmp_path / "gone")


def test_a_file_in_place_of_a_folder_is_named(tmp_path):
    (tmp_path / "a.png").touch()
    with pytest.raises(DataError, match=r"a\.png is a file: name the folder"):
        list_images(tmp_path / "a.png")


def test_a_folder_without_images_is_named_with_the_kinds_that_count(tmp_path):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(DataError, match=rf"no images in {tmp_path}: .*png, jpg"):
        list_images(tmp_path)
