"""The picture at the top of the README and of the site.

python docs/readme_picture.py
"""

import io
from pathlib import Path

import numpy as np
from PIL import Image

from keras_explain import (
    GradCAM,
    GuidedGradCAM,
    InputXGradient,
    IntegratedGradients,
    LayerCAM,
    ScoreCAM,
    SmoothGrad,
    plots,
)
from keras_explain.datasets import CLASS_NAMES, demo_images, demo_model

PATH = Path(__file__).parent / "images" / "readme.png"
SHOWN = [1, 2, 11]

model = demo_model()
images, labels, masks = demo_images(num=16, distractors=2)
images, labels = images[SHOWN], labels[SHOWN]
gray = np.full(images.shape[1:], 127.5)
methods = {
    "Grad-CAM": GradCAM(model),
    "LayerCAM": LayerCAM(model, layer="stage2_block2_out"),
    "Score-CAM": ScoreCAM(model),
    "Integrated\ngradients": IntegratedGradients(model, baseline=gray),
    "SmoothGrad": SmoothGrad(InputXGradient(model)),
    "Guided Grad-CAM": GuidedGradCAM(model),
}
maps = [method.explain(images).heatmap() for method in methods.values()]
figure = plots.grid(
    [[image, *row] for image, *row in zip(images, *maps, strict=True)],
    row_labels=[CLASS_NAMES[label] for label in labels],
    column_labels=["picture", *methods],
    cell_size=1.3,
)
# 256 well chosen colors are enough for a page, at a third of the bytes.
picture = Image.open(io.BytesIO(plots.to_png(figure))).convert("RGB")
palette = picture.quantize(256, Image.Quantize.MEDIANCUT, kmeans=8)
picture = picture.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG)
PATH.parent.mkdir(exist_ok=True)
picture.save(PATH, optimize=True)
print(f"{PATH.name}: {picture.size}, {PATH.stat().st_size / 1e3:.0f} kB")
