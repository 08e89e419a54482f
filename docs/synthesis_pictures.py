"""The pictures of the guide to synthesis.

python docs/synthesis_pictures.py [NAME ...]
"""

import io
import sys
from pathlib import Path

from PIL import Image

from keras_explain import plots
from keras_explain.datasets import (
    CLASS_NAMES,
    demo_images,
    demo_model,
    load,
    make_scene,
)
from keras_explain.synthesis import (
    CPPN,
    MACO,
    Fourier,
    LaplacianNormalized,
    LaplacianPyramid,
    LearnedInverter,
    Pixels,
    class_grid,
    deep_dream,
    invert_layers,
    maximize,
)
from keras_explain.synthesis.learned_inverter import up_convolutions
from keras_explain.synthesis.transforms import Crop, Noise

FOLDER = Path(__file__).parent / "images"
model = demo_model()


def save(figure, name):
    # 256 well chosen colors are enough for a page, at a third of the bytes.
    picture = Image.open(io.BytesIO(plots.to_png(figure))).convert("RGB")
    palette = picture.quantize(256, Image.Quantize.MEDIANCUT, kmeans=8)
    picture = picture.quantize(
        palette=palette, dither=Image.Dither.FLOYDSTEINBERG
    )
    path = FOLDER / f"{name}.png"
    picture.save(path, optimize=True)
    print(f"{path.name}: {picture.size}, {path.stat().st_size / 1e3:.0f} kB")


# What belongs to MACO; with other parameterizations the usual ones do well.
CROPS = [Crop(0.5, 1.0), Noise(0.05)]


def prototypes():
    made = class_grid(
        model, image=MACO(64), transforms=CROPS, steps=256, verbose=False
    )
    shown = made.pictures()
    save(
        plots.grid(
            [shown[:4], shown[4:]],
            cell_labels=[CLASS_NAMES[:4], CLASS_NAMES[4:]],
        ),
        "prototypes",
    )


def parameterizations():
    settings = {
        "Pixels()": {"image": Pixels(64)},
        "LaplacianPyramid()": {"image": LaplacianPyramid(64)},
        "Fourier()": {"image": Fourier(64)},
        "Fourier(decay=2)": {"image": Fourier(64, decay=2.0)},
        "MACO()": {
            "image": MACO(64),
            "transforms": [Crop(0.7, 1.0), Noise(0.05)],
            "steps": 384,
        },
        "CPPN()": {"image": CPPN(64), "transforms": None, "steps": 512},
    }
    classes = [0, 1, 3]
    columns = []
    for name, each in settings.items():
        made = maximize(model, classes, verbose=False, **{"steps": 256, **each})
        # The page says that each is of its class.
        sure = model.predict(made.images, verbose=0)[range(3), classes]
        print(name, made.score.round(1), sure.round(4))
        columns.append(made.pictures())
    figure = plots.grid(
        list(zip(*columns, strict=True)),
        row_labels=[CLASS_NAMES[k] for k in classes],
        column_labels=list(settings),
        cell_size=1.5,
    )
    save(figure, "parameterizations")


def dreams():
    scene = make_scene(seed=3, index=3, size=192, distractors=3)
    layers = ["stage1_block2_out", "stage2_block2_out", "stage3_block2_out"]
    shown = [scene.image]
    for layer in layers:
        made = deep_dream(
            model, scene.image, layer, octaves=4, steps=8,
            step_size=1 / 255, gradient=LaplacianNormalized(3), verbose=False,
        )  # fmt: skip
        shown += made.pictures()
    save(plots.grid([shown], column_labels=["picture", *layers]), "dreams")


def inversions():
    images, _, _ = demo_images(num=7)
    image = images[6]
    layers = [
        "stem_relu", "stage1_block2_out", "stage2_block2_out",
        "stage3_block2_out", "pool",
    ]  # fmt: skip
    made = invert_layers(model, image, layers)
    shown = [image, *(one.pictures()[0] for one in made.values())]
    figure = plots.grid([shown], column_labels=["picture", *layers])
    save(figure, "inversions")


def learned_inversions():
    pictures, _ = load(1024, "train", size=64)
    seen, _ = load(6, "test", size=64)
    rows = {"picture": seen}
    layers = {
        "stage1_block2_out": (32, 32, 16),
        "stage2_block2_out": (16, 16, 32),
    }
    for layer, sizes in layers.items():
        # Narrow, so that it learns within minutes on one core.
        decoder = up_convolutions(sizes, (64, 64, 3), width=64)
        inverter = LearnedInverter(model, layer, decoder=decoder, size=64)
        inverter.fit(pictures, batch_size=16, epochs=12, verbose=2)
        rows[layer] = inverter.invert(seen).pictures()
    figure = plots.grid(
        list(rows.values()), row_labels=list(rows), cell_size=1.5
    )
    save(figure, "learned_inversions")


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for draw in (
        prototypes,
        parameterizations,
        dreams,
        inversions,
        learned_inversions,
    ):
        if draw.__name__ in (sys.argv[1:] or draw.__name__):
            draw()
