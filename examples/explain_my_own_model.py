"""How do I explain a model of my own, with a backbone inside?

python examples/explain_my_own_model.py [FOLDER]

A layer inside a nested model has an address: "backbone/stage1_block2_out".
Nothing is cut out of the model, and nothing is rebuilt.
"""

import sys
from pathlib import Path

import keras
import numpy as np
from keras import layers

from keras_explain import LayerCAM, plots
from keras_explain.datasets import COLOR_NAMES, demo_model, load

folder = Path(sys.argv[1] if len(sys.argv) > 1 else "explanations")
keras.utils.set_random_seed(0)
images, labels, masks = load(600, masks=True)
# The new task: the color of the object.
on_object = np.where(masks["object"] == 1, masks["color"], 0)
colors = on_object.max(axis=(1, 2)) - 1

# Transfer learning as usual: a frozen backbone, and a new head on it.
trained = demo_model()
features = trained.get_layer("stage1_block2_out").output
backbone = keras.Model(trained.inputs, features, name="backbone")
backbone.trainable = False
inputs = keras.Input((96, 96, 3))
x = layers.Conv2D(32, 1, activation="relu", name="mix")(backbone(inputs))
x = layers.GlobalMaxPooling2D()(x)
outputs = layers.Dense(len(COLOR_NAMES), activation="softmax")(x)
model = keras.Model(inputs, outputs)
loss = "sparse_categorical_crossentropy"
model.compile(keras.optimizers.Adam(0.01), loss, metrics=["accuracy"])
history = model.fit(images, colors, epochs=6, verbose=0)
print(f"accuracy {history.history['accuracy'][-1]:.2f}")

shown = images[:4]
addresses = ["backbone/stem_relu", "backbone/stage1_block2_out", "mix"]
columns = [shown]
for address in addresses:
    explanation = LayerCAM(model, layer=address).explain(shown)
    columns.append(explanation.heatmap())
figure = plots.grid(
    list(zip(*columns, strict=True)),
    row_labels=[COLOR_NAMES[k] for k in explanation.target],
    column_labels=["picture", *addresses],
)
plots.save(figure, folder / "explain_my_own_model.png")
