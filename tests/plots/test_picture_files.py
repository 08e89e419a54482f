import io
import os
import stat

import numpy as np
import pytest
from PIL import Image

from keras_explain.plots import heatmap, plot_heatmap, save, to_png


@pytest.fixture
def picture():
    return np.random.default_rng(0).integers(0, 256, (6, 5, 3), dtype="uint8")


def test_png_of_an_array_is_lossless(picture):
    decoded = np.asarray(Image.open(io.BytesIO(to_png(picture))))
    assert np.array_equal(decoded, picture)


def test_png_of_floats_is_what_they_look_like(picture):
    assert to_png(picture / 255) == to_png(picture)


def test_png_of_a_figure_is_deterministic():
    values = np.random.default_rng(1).normal(size=(9, 9))
    first, second = (
        to_png(plot_heatmap(values, title="cat")) for _ in range(2)
    )
    assert first == second
    assert first != to_png(plot_heatmap(-values, title="cat"))


def test_png_carries_no_software_and_no_date():
    image = Image.open(io.BytesIO(to_png(plot_heatmap(np.eye(3)))))
    assert set(image.info) <= {"dpi"}
    size = plot_heatmap(np.eye(3)).bbox.size
    np.testing.assert_allclose(image.size, size, atol=1)


def test_save_writes_the_same_bytes(tmp_path, picture):
    save(picture, tmp_path / "map.png")
    assert (tmp_path / "map.png").read_bytes() == to_png(picture)
    assert os.listdir(tmp_path) == ["map.png"]


def test_save_makes_missing_folders(tmp_path, picture):
    save(picture, str(tmp_path / "a" / "b" / "map.PNG"))
    assert (tmp_path / "a" / "b" / "map.PNG").exists()


@pytest.mark.parametrize(
    "name, start", [("map.pdf", b"%PDF"), ("map.svg", b"<?xml")]
)
def test_figures_as_vector_graphics(tmp_path, name, start):
    save(plot_heatmap(np.eye(3)), tmp_path / name)
    content = (tmp_path / name).read_bytes()
    assert content.startswith(start)
    assert b"Date" not in content


def test_saved_files_are_readable_like_any_other(tmp_path, picture):
    save(picture, tmp_path / "map.png")
    (tmp_path / "plain").write_bytes(b"")
    modes = [
        stat.S_IMODE((tmp_path / name).stat().st_mode)
        for name in ("map.png", "plain")
    ]
    assert modes[0] == modes[1]


def test_save_replaces_a_file(tmp_path, picture):
    path = tmp_path / "map.png"
    path.write_bytes(b"old")
    save(picture, path)
    assert path.read_bytes() == to_png(picture)


def test_a_bad_picture_leaves_the_old_file(tmp_path):
    path = tmp_path / "map.png"
    path.write_bytes(b"old")
    with pytest.raises(ValueError, match="NaN"):
        save(np.full((2, 2), np.nan), path)
    assert path.read_bytes() == b"old"


def test_a_failed_rename_leaves_nothing_behind(tmp_path, picture):
    # A folder in the place of the file: writing aside works, renaming cannot.
    (tmp_path / "map.png").mkdir()
    with pytest.raises(OSError, match="cannot be written.*\n.*map.png"):
        save(picture, tmp_path / "map.png")
    assert os.listdir(tmp_path) == ["map.png"]


def test_the_old_file_stays_while_the_new_one_is_written(
    tmp_path, picture, monkeypatch
):
    path = tmp_path / "map.png"
    path.write_bytes(b"old")
    seen = []

    def replace(source, target):
        seen.append((path.read_bytes(), type(path)(source).read_bytes()))
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.replace", replace)
    with pytest.raises(OSError, match="No space left on device"):
        save(picture, path)
    assert seen == [(b"old", to_png(picture))]
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["map.png"]


def test_an_unwritable_folder_is_reported(tmp_path, picture):
    # Folders without permission stop no administrator; a file in the place
    # of the folder stops everyone.
    (tmp_path / "file").write_bytes(b"")
    path = tmp_path / "file" / "map.png"
    with pytest.raises(OSError, match="(?s)cannot be written.*Choose a folder"):
        save(picture, path)


@pytest.mark.parametrize("name", ["map", "map.jpeg", "map.pdf"])
def test_other_endings_of_images_are_refused(tmp_path, picture, name):
    with pytest.raises(ValueError, match=r"(?s)ending.*may end in \.png\.$"):
        save(picture, tmp_path / name)
    assert os.listdir(tmp_path) == []


def test_other_endings_of_figures_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"\.png, \.pdf, \.svg"):
        save(plot_heatmap(np.eye(3)), tmp_path / "map.gif")


def test_heat_maps_survive_their_file(tmp_path):
    drawn = heatmap(np.random.default_rng(2).normal(size=(7, 8)))
    save(drawn, tmp_path / "map.png")
    assert np.array_equal(np.asarray(Image.open(tmp_path / "map.png")), drawn)
