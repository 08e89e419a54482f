"""Does the attention move while a model is fine-tuned?

python examples/watch_training.py [FOLDER]

A backbone of `keras.applications` in another model is first frozen, then
trained with small steps. The logger looks at a layer inside the backbone. As
nothing is downloaded the weights are random; pass `weights="imagenet"`.
"""

import sys
from pathlib import Path

import keras
import numpy as np
from PIL import Image

from keras_explain import plots
from keras_explain.callbacks import GradCAMLogger, PNGWriter
from keras_explain.datasets import CLASS_NAMES, load

folder = Path(sys.argv[1] if len(sys.argv) > 1 else "explanations")
pictures = folder / "watched"
keras.utils.set_random_seed(0)
(x, y), validation = load(256), load(4, "validation")

backbone = keras.applications.MobileNet(
    input_shape=(96, 96, 3), include_top=False, weights=None, alpha=0.25
)
for layer in backbone.layers:  # only for random weights: follow the data
    if isinstance(layer, keras.layers.BatchNormalization):
        layer.momentum = 0.5
inputs = keras.Input((96, 96, 3))
features = backbone(keras.layers.Rescaling(1 / 127.5, -1)(inputs))
pooled = keras.layers.GlobalAveragePooling2D()(features)
outputs = keras.layers.Dense(len(CLASS_NAMES), activation="softmax")(pooled)
model = keras.Model(inputs, outputs)
for first in range(0, 256, 32):
    model(x[first : first + 32], training=True)

layer = f"{backbone.name}/conv_pw_5_relu"
logger = GradCAMLogger(
    validation, folder / "logs", layer=layer, labels=CLASS_NAMES,
    writers=PNGWriter(pictures),
)  # fmt: skip
for trainable, step, last in ((False, 1e-2, 3), (True, 1e-3, 6)):
    backbone.trainable = trainable
    optimizer = keras.optimizers.Adam(step)
    model.compile(optimizer, "sparse_categorical_crossentropy")
    model.fit(x, y, epochs=last, initial_epoch=last - 3, callbacks=[logger])


def row(epoch):
    files = sorted((pictures / epoch).iterdir())
    return [np.asarray(Image.open(path)) for path in files]


rows = [row("epoch_003"), row("epoch_006")]
figure = plots.grid(rows, row_labels=["frozen", "fine-tuned"])
plots.save(figure, folder / "watch_training.png")
