"""`keras-explain methods` and `keras-explain layers`."""

import keras
from keras import layers

from keras_explain.engine import catalogue
from tests.cli.conftest import save, tiny


def test_methods_lists_the_catalogue(run):
    code, printed, news = run("methods")
    assert (code, news) == (0, "")
    lines = printed.splitlines()
    for entry in catalogue.entries():
        (line,) = [x for x in lines if x.startswith(f"│ {entry.name} ")]
        assert entry.title in line
        assert entry.paper in line


def test_layers_says_which_a_cam_may_use(run, tmp_path):
    inner = tiny(layers.MaxPooling2D(name="half"))
    model = keras.Sequential([keras.Input((16, 16, 3)), inner], name="outer")
    path = save(model, tmp_path / "model.keras")
    code, printed, news = run("layers", path)
    assert code == 0, news
    lines = {}
    for line in printed.splitlines():
        cells = [cell.strip() for cell in line.strip("│┃").split("│")]
        if len(cells) == 4:
            lines[cells[0]] = cells[1:]
    outside = inner.name
    assert lines[f"{outside}/half"] == ["MaxPooling2D", "8 x 8 x 3", "yes"]
    assert lines[f"{outside}/conv"][2] == "automatic"
    assert lines[f"{outside}/scores"] == ["Dense", "3", ""]
    assert f"without --layer it uses {outside}/conv." in printed
    assert printed.lstrip().startswith("outer")


def test_layers_of_a_model_without_maps(run, tmp_path):
    inputs = {
        "a": keras.Input((5,), name="a"),
        "b": keras.Input((2,), name="b"),
    }
    x = layers.Concatenate()([inputs["a"], inputs["b"]])
    model = keras.Model(inputs, layers.Dense(2)(x))
    code, printed, _ = run("layers", save(model, tmp_path / "m.keras"))
    assert code == 0
    assert "No layer has positions" in printed
    assert "Concatenate" in printed


def test_layers_of_an_application(run):
    code, printed, _ = run("layers", "mobilenetv2", "--weights", "none")
    assert code == 0
    assert "it uses out_relu." in printed


def test_layers_of_nothing(run):
    code, _, news = run("layers", "vgg61")
    assert code == 2
    assert "'VGG16'" in news
