"""`keras-explain explain` from a model and pictures to the report."""

import json
import shutil

import keras
import numpy as np
import pytest
from keras import layers
from PIL import Image

import keras_explain
from keras_explain import plots
from keras_explain.engine import catalogue
from tests.cli.conftest import save, tiny, write_picture


def results(out):
    return sorted(out.glob("*/result.json"))


def leftovers(out):
    return [p for p in out.rglob("*") if ".part" in p.name]


def test_writes_maps_explanations_and_a_report(run, model_file, pictures, out):
    code, printed, _ = run(
        "explain", model_file, pictures, "--method", "grad_cam,saliency"
    )
    assert code == 0
    assert printed.strip() == str(out / "index.html")
    assert len(results(out)) == 3
    assert not leftovers(out)
    page = (out / "index.html").read_text()
    for text in ("a.png", "b.png", "c.jpg", "Grad-CAM", "Saliency map"):
        assert text in page
    folder = results(out)[0].parent
    names = {p.name for p in folder.iterdir()}
    assert names == {
        "picture.png", "grad_cam.png", "grad_cam.npz", "saliency.png",
        "saliency.npz", "result.json",
    }  # fmt: skip


def test_saves_what_the_library_computes(run, model_file, pictures, out):
    run("explain", model_file, pictures / "a.png", "--method", "grad_cam")
    folder = results(out)[0].parent
    kept = keras_explain.Explanation.load(folder / "grad_cam.npz")
    with Image.open(pictures / "a.png") as file:
        resized = file.resize((16, 16), Image.Resampling.BICUBIC)
    inputs = np.asarray(resized, np.float32)[None]
    np.testing.assert_array_equal(kept.inputs, inputs)
    model = keras.saving.load_model(model_file)
    expected = keras_explain.GradCAM(model).explain(inputs, verbose=False)
    np.testing.assert_allclose(
        kept.attributions, expected.attributions, rtol=1e-5, atol=1e-6
    )
    drawn = plots.heatmap(expected.attributions[0], inputs[0].astype("uint8"))
    with Image.open(folder / "grad_cam.png") as file:
        difference = np.asarray(file).astype(int) - drawn
    assert np.abs(difference).max() <= 1
    (cell,) = json.loads((folder / "result.json").read_text())["cells"]
    row, column = np.unravel_index(expected.attributions[0].argmax(), (16, 16))
    assert cell["peak"] == [(column + 0.5) / 16, (row + 0.5) / 16]
    assert cell["score"] == pytest.approx(float(expected.scores[0]), rel=1e-5)
    assert cell["layer"] == "conv"


def test_finished_images_are_not_redone(run, model_file, pictures, out):
    command = ["explain", model_file, pictures, "--method", "grad_cam"]
    run(*command)
    first = {p: p.stat().st_mtime_ns for p in out.glob("*/*")}
    changed = pictures / "b.png"
    write_picture(changed, seed=7)
    write_picture(pictures / "d.png", seed=8)
    code, _, news = run(*command)
    assert code == 0
    assert "Done already: 2 of 4 images" in news
    second = {p: p.stat().st_mtime_ns for p in out.glob("*/*")}
    redone = {p.parent.name[:1] for p in second if second[p] != first.get(p)}
    assert redone == {"b", "d"}
    assert (out / "index.html").read_text().count('role="rowheader"') == 5


def test_other_options_explain_anew(run, model_file, pictures, out):
    command = ["explain", model_file, pictures / "a.png", "--method"]
    run(*command, "grad_cam,saliency")
    run(*command, "grad_cam", "--target", "1")
    (kept,) = results(out)
    cells = json.loads(kept.read_text())["cells"]
    assert [(c["method"], c["target"]) for c in cells] == [
        ("grad_cam", "class 1")
    ]
    assert not (kept.parent / "saliency.png").exists()


def test_a_changed_model_explains_anew(run, model_file, pictures, tmp_path):
    model = tmp_path / "model.keras"
    shutil.copy(model_file, model)
    command = ["explain", model, pictures / "a.png", "--method", "grad_cam"]
    run(*command)
    save(tiny(layers.Rescaling(1 / 255), classes=4), model)
    _, _, news = run(*command)
    assert "Done already" not in news


def test_batches_give_what_single_images_give(
    run, model_file, pictures, out, tmp_path
):
    command = ["explain", model_file, pictures, "--method", "saliency"]
    run(*command)
    other = tmp_path / "other"
    run(*command, "--batch-size", "2", "--out", other, to_out=False)
    for path in out.glob("*/saliency.npz"):
        one = keras_explain.Explanation.load(path)
        two = keras_explain.Explanation.load(other / path.relative_to(out))
        np.testing.assert_allclose(
            one.attributions, two.attributions, rtol=1e-4, atol=1e-7
        )


def test_broken_images_are_skipped(run, model_file, pictures, out):
    content = (pictures / "c.jpg").read_bytes()
    (pictures / "b.png").write_bytes(b"no picture")
    (pictures / "c.jpg").write_bytes(content[: len(content) // 2])
    code, _, news = run("explain", model_file, pictures, "--method", "grad_cam")
    assert code == 1
    assert "b.png: not an image" in news
    assert "c.jpg: cannot be decoded" in news
    assert "truncated" in news.casefold()
    assert len(results(out)) == 1
    assert len(list(out.iterdir())) == 2  # one folder and the report
    page = (out / "index.html").read_text()
    assert "Left out" in page
    assert "truncated" in page.casefold()


def test_only_broken_images(run, model_file, tmp_path, out):
    path = tmp_path / "x.png"
    path.write_bytes(b"no picture")
    code, printed, news = run("explain", model_file, path)
    assert code == 1
    assert "No image could be explained" in news
    assert printed == ""
    assert not (out / "index.html").exists()


def test_methods_that_do_not_apply_are_shown(run, pictures, out, tmp_path):
    model = tiny(layers.Rescaling(1 / 255), activation="tanh")
    path = save(model, tmp_path / "smooth.keras")
    code, _, _ = run(
        "explain", path, pictures / "a.png", "--method",
        "guided_backprop,grad_cam",
    )  # fmt: skip
    assert code == 0
    page = (out / "index.html").read_text()
    assert "Not applicable: " in page
    assert (results(out)[0].parent / "grad_cam.png").exists()
    assert not (results(out)[0].parent / "guided_backprop.png").exists()


def test_a_method_named_alone_must_apply(run, pictures, out, tmp_path):
    model = keras.Sequential(
        [keras.Input((8, 8, 3)), layers.Flatten(), layers.Dense(2)]
    )
    path = save(model, tmp_path / "flat.keras")
    code, printed, news = run("explain", path, pictures, "--method", "cam")
    assert code == 2
    assert "CAM needs a model that ends in global average pooling" in news
    assert printed == ""
    assert not list(out.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("examples", [False, True])
def test_the_whole_catalogue(run, model_file, pictures, out, examples):
    """Methods that learn first are there if there is what to learn from."""
    more = ["--examples", pictures] if examples else []
    code, _, _ = run(
        "explain", model_file, pictures / "a.png", "--method", "all", *more
    )
    assert code == 0
    cells = json.loads(results(out)[0].read_text())["cells"]
    assert [c["method"] for c in cells] == [
        entry.name
        for entry in catalogue.entries()
        if examples or not hasattr(entry.cls, "fit")
    ]
    assert all(np.isfinite(c["score"]) for c in cells if not c["refused"])


def test_a_method_that_learns_says_what_from(run, model_file, pictures):
    code, _, news = run(
        "explain", model_file, pictures / "a.png", "--method", "pattern_net"
    )
    assert code == 2
    assert "--examples" in news


def test_layer_of_a_pixel_method_is_drawn_on_the_picture(
    run, model_file, pictures, out
):
    code, _, _ = run(
        "explain", model_file, pictures / "a.png", "--layer", "conv",
        "--method", "input_x_gradient,smooth_grad",
    )  # fmt: skip
    assert code == 0
    folder = results(out)[0].parent
    cells = json.loads((folder / "result.json").read_text())["cells"]
    assert [c["layer"] for c in cells] == ["conv", "conv"]
    with Image.open(folder / "input_x_gradient.png") as file:
        assert file.size == (16, 16)


def test_models_of_any_size_keep_the_size_of_the_picture(run, tmp_path, out):
    model = tiny(layers.Rescaling(1 / 255), size=None)
    path = save(model, tmp_path / "any.keras")
    assert keras.saving.load_model(path).input_shape[1] is None
    write_picture(tmp_path / "small.png", size=(30, 40))
    write_picture(tmp_path / "large.png", size=(700, 1400))
    command = ["explain", path, tmp_path / "*.png", "--method", "grad_cam"]
    assert run(*command)[0] == 0
    sizes = {
        folder.name.split("-")[0]: Image.open(folder / "grad_cam.png")
        for folder in out.iterdir()
        if folder.is_dir()
    }
    assert sizes["small"].size == (40, 30)
    assert sizes["large"].size == (512, 256)
    assert run(*command, "--size", "32")[0] == 0
    for file in out.glob("*/grad_cam.png"):
        with Image.open(file) as picture:
            assert picture.size == (32, 32)
    for picture in sizes.values():
        picture.close()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--target", "3"], "Class index out of range: the output has 3"),
        (["--target", "-1"], "Class index out of range"),
        (["--target", "cat"], "names of the classes are not known"),
        (["--method", "gradcam"], "'grad_cam'"),
        (["--layer", "cnov"], "'conv'"),
        (["--output", "x"], "no such output"),
        (["--size", "20"], "16 x 16 pixels"),
        (["--batch-size", "0"], "--batch-size"),
        (["--weights", "none"], "a model file has its own"),
        (["--preprocess", "tfs"], "invalid choice: 'tfs'"),
        (["--labels", "nowhere.txt"], "labels cannot be read"),
    ],
)
def test_wrong_options(run, model_file, pictures, out, options, said):
    code, printed, news = run("explain", model_file, pictures, *options)
    assert code == 2
    assert said in news
    assert printed == ""
    assert not list(out.glob("*/*"))


def test_labels_name_targets_and_classes(run, model_file, pictures, out):
    labels = out.parent / "labels.txt"
    labels.write_text("cat\nhot_dog\nbird\n")
    command = ["explain", model_file, pictures / "a.png"]
    command += ["--labels", labels, "--method", "grad_cam"]
    assert run(*command, "--target", "Hot Dog")[0] == 0
    (cell,) = json.loads(results(out)[0].read_text())["cells"]
    assert cell["target"] == "hot_dog"
    code, _, news = run(*command, "--target", "brd")
    assert code == 2
    assert "Near names: 'bird'" in news


def test_labels_must_be_as_many_as_classes(run, model_file, pictures, out):
    labels = out.parent / "labels.json"
    labels.write_text('["cat", "dog"]')
    code, _, news = run("explain", model_file, pictures, "--labels", labels)
    assert code == 2
    assert "2 names" in news
    assert "3 classes" in news


def test_several_outputs(run, pictures, out, tmp_path):
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, activation="relu")(inputs)
    x = layers.GlobalAveragePooling2D()(x)
    outputs = [layers.Dense(2, name="sort")(x), layers.Dense(3, name="age")(x)]
    path = save(keras.Model(inputs, outputs), tmp_path / "two.keras")
    command = ["explain", path, pictures / "a.png", "--method", "grad_cam"]
    code, _, news = run(*command)
    assert code == 2
    assert "'sort', 'age'" in news
    assert run(*command, "--output", "age", "--target", "2")[0] == 0
    code, _, news = run(*command, "--output", "sort", "--target", "2")
    assert code == 2
    assert "has 2" in news


def test_output_folder_that_cannot_be_written_to(
    run, model_file, pictures, tmp_path
):
    (tmp_path / "file").write_text("")
    code, printed, news = run(
        "explain", model_file, pictures, "--out", tmp_path / "file" / "out",
        to_out=False,
    )  # fmt: skip
    assert code == 2
    assert "output folder cannot be written to" in news
    assert printed == ""


def test_a_picture_that_is_too_small_is_skipped(run, tmp_path, out):
    inputs = keras.Input((None, None, 3))
    x = layers.Conv2D(2, 5, activation="relu")(inputs)
    x = layers.Dense(2)(layers.GlobalAveragePooling2D()(x))
    path = save(keras.Model(inputs, x), tmp_path / "model.keras")
    write_picture(tmp_path / "a.png", size=(1, 1))
    write_picture(tmp_path / "b.png", size=(9, 9))
    code, _, news = run("explain", path, tmp_path / "*.png")
    assert code == 1
    (said,) = [line for line in news.splitlines() if "a.png" in line]
    assert "egative" in said  # the size, TensorFlow says
    assert "\x1b" not in news
    assert len(results(out)) == 1


def test_a_black_picture_does_not_hide_the_others(
    run, model_file, tmp_path, out
):
    Image.new("RGB", (16, 16)).save(tmp_path / "a.png")
    write_picture(tmp_path / "b.png")
    code, _, _ = run(
        "explain", model_file, tmp_path / "*.png", "--batch-size", "2",
        "--method", "integrated_gradients,grad_cam",
    )  # fmt: skip
    assert code == 0
    black, colored = (
        json.loads(kept.read_text())["cells"] for kept in results(out)
    )
    assert "baseline" in black[0]["refused"]
    assert not black[1]["refused"]
    assert not colored[0]["refused"]


def test_warnings_of_the_library_are_told(run, model_file, pictures, out):
    code, _, news = run(
        "explain", model_file, pictures / "a.png", "--preprocess", "scale01",
        "--method", "gradient",
    )  # fmt: skip
    assert code == 0
    assert "Note: The largest pixel is" in news
    assert "The largest pixel is" in (out / "index.html").read_text()


def test_images_of_one_name_are_told_apart(run, model_file, tmp_path, out):
    for folder in ("first", "second"):
        (tmp_path / folder).mkdir()
        write_picture(tmp_path / folder / "a.png", seed=len(folder))
    write_picture(tmp_path / "b.png")
    pattern = tmp_path / "**" / "*.png"
    run("explain", model_file, pattern, "--method", "gradient")
    assert len(results(out)) == 3
    page = (out / "index.html").read_text()
    for folder in ("first", "second"):
        assert f"in</span> {tmp_path / folder}</p>" in page
    assert f"in</span> {tmp_path}</p>" not in page


def test_an_image_that_broke_leaves_the_report(run, model_file, pictures, out):
    command = ["explain", model_file, pictures, "--method", "gradient"]
    run(*command)
    (pictures / "a.png").write_bytes(b"no picture")
    assert run(*command)[0] == 1
    page = (out / "index.html").read_text()
    assert "a.png</h3>" not in page
    assert "b.png</h3>" in page


def test_a_page_of_many_images_is_cut(
    run, model_file, pictures, out, monkeypatch
):
    monkeypatch.setattr("keras_explain.cli.explain.MOST_MAPS", 4)
    command = ["explain", model_file, pictures, "--method"]
    run(*command, "gradient,saliency")
    page = (out / "index.html").read_text()
    assert "The page shows the first 2 of 3 images" in page
    assert "b.png</h3>" in page
    assert "c.jpg</h3>" not in page
