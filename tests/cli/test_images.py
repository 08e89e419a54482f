"""Finding and decoding images, and what bad ones are refused for."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from keras_explain.cli import images
from keras_explain.cli.failures import CommandError, ImageError
from tests.cli.conftest import write_picture


def load(path, size=None, channels=3):
    return images.load(path, size, channels)


def header_of_png(path, width, height):
    """Writes a PNG that claims a size and holds next to nothing."""

    def chunk(name, content):
        crc = zlib.crc32(name + content)
        return (
            struct.pack(">I", len(content))
            + name
            + content
            + struct.pack(">I", crc)
        )

    size = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", size)
        + chunk(b"IDAT", zlib.compress(b"\0" * 64))
        + chunk(b"IEND", b"")
    )
    return path


@pytest.mark.parametrize(
    ("width", "height"), [(30_000, 30_000), (10_001, 10_000)]
)
def test_bombs_are_refused_by_their_header(tmp_path, width, height):
    path = header_of_png(tmp_path / "bomb.png", width, height)
    with pytest.raises(ImageError, match="more than 100 million"):
        load(path)


def test_a_bomb_is_skipped(run, model_file, pictures):
    header_of_png(pictures / "bomb.png", 30_000, 30_000)
    code, _, news = run("explain", model_file, pictures)
    assert code == 1
    assert "bomb.png: has more than 100 million pixels" in news


def test_truncated_jpeg(tmp_path):
    path = write_picture(tmp_path / "a.jpg", size=(200, 200))
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(ImageError, match="truncated"):
        load(path)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_pixels_that_are_no_numbers(tmp_path, value):
    pixels = np.full((4, 4), 0.5, np.float32)
    pixels[1, 2] = value
    np.save(tmp_path / "a.npy", pixels)
    Image.fromarray(pixels).save(tmp_path / "a.tif")
    for name in ("a.npy", "a.tif"):
        with pytest.raises(ImageError, match="1 NaN or infinite pixels of 16"):
            load(tmp_path / name)


def test_pixels_out_of_range(tmp_path):
    np.save(tmp_path / "a.npy", np.full((4, 4, 3), 300.0))
    with pytest.raises(ImageError, match="from 300 to 300"):
        load(tmp_path / "a.npy")


def test_arrays_of_other_shapes(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((4, 4, 7)))
    with pytest.raises(ImageError, match=r"\(4, 4, 7\)"):
        load(tmp_path / "a.npy")


def test_arrays_of_objects_are_not_unpickled(tmp_path):
    np.save(tmp_path / "a.npy", np.array([{}]), allow_pickle=True)
    with pytest.raises(ImageError, match="cannot be decoded"):
        load(tmp_path / "a.npy")


def test_floats_up_to_one_and_bytes_are_the_same(tmp_path):
    pixels = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    np.save(tmp_path / "bytes.npy", pixels)
    np.save(tmp_path / "floats.npy", pixels / 255)
    np.testing.assert_array_equal(load(tmp_path / "bytes.npy"), pixels)
    np.testing.assert_array_equal(load(tmp_path / "floats.npy"), pixels)


def test_sixteen_bits(tmp_path):
    pixels = (np.arange(16, dtype=np.uint16) * 257).reshape(4, 4)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    gray = load(tmp_path / "a.png")[..., 0]
    np.testing.assert_array_equal(gray, pixels // 257)


def test_transparent_pixels_are_white(tmp_path):
    pixels = np.zeros((4, 4, 4), np.uint8)
    pixels[0, 0, 3] = 255
    Image.fromarray(pixels).save(tmp_path / "a.png")
    loaded = load(tmp_path / "a.png")
    assert loaded[0, 0].tolist() == [0, 0, 0]
    assert (loaded[1:] == 255).all()


def test_photos_are_turned_as_the_camera_says(tmp_path):
    picture = Image.fromarray(np.zeros((10, 30, 3), np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.save(tmp_path / "a.jpg", exif=exif)
    assert load(tmp_path / "a.jpg").shape == (30, 10, 3)


def test_resizing_keeps_the_place_of_things(tmp_path):
    pixels = np.zeros((100, 200, 3), np.uint8)
    pixels[:50, :100] = 255
    Image.fromarray(pixels).save(tmp_path / "a.png")
    small = load(tmp_path / "a.png", size=(20, 10))
    assert small.shape == (20, 10, 3)
    assert (small[:9, :4] > 200).all()
    assert (small[11:, 6:] < 50).all()


def test_files_folders_and_patterns(tmp_path):
    deep = tmp_path / "folder" / "deep"
    deep.mkdir(parents=True)
    (tmp_path / "folder" / "notes.txt").write_text("")
    for name in ("a.png", "folder/b.JPG", "folder/deep/c.webp"):
        write_picture(tmp_path / name)
    out = tmp_path / "out"

    def names(*arguments):
        arguments = [str(tmp_path / a) for a in arguments]
        return [p.name for p in images.find(arguments, out)]

    assert names("a.png", "folder") == ["a.png", "b.JPG"]
    assert names("folder/**/*.[Jw]*") == ["b.JPG", "c.webp"]
    assert names("a.png", "*.png", "folder/../a.png") == ["a.png"]


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("empty", "folder holds no image"),
        ("*.jpg", "No file fits the pattern"),
        ("no.png", "no such image"),
        ("out", "no image to explain"),
    ],
)
def test_arguments_without_an_image(tmp_path, argument, said):
    (tmp_path / "empty").mkdir()
    (tmp_path / "out").mkdir()
    write_picture(tmp_path / "out" / "map.png")
    with pytest.raises(CommandError, match=said):
        images.find([str(tmp_path / argument)], tmp_path / "out")


def test_a_folder_without_images_is_told(run, model_file, tmp_path):
    (tmp_path / "empty").mkdir()
    code, printed, news = run("explain", model_file, tmp_path / "empty")
    assert code == 2
    assert "folder holds no image" in news
    assert printed == ""


def test_a_file_with_square_brackets_is_no_pattern(tmp_path):
    path = write_picture(tmp_path / "a[1].png")
    assert images.find([str(path)], tmp_path / "out") == [path]
