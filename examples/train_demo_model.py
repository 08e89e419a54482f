"""How was `keras_explain.datasets.demo_model()` trained?

python examples/train_demo_model.py demo_model.keras
"""

import os
import sys
import time

import keras
import numpy as np
from keras import layers

from keras_explain.datasets import shapes

EPOCHS, BATCH, PICTURES = 6, 64, 12000


def conv(x, filters, name, size=3, strides=1):
    options = {"padding": "same", "use_bias": False, "name": f"{name}_conv"}
    x = layers.Conv2D(filters, size, strides, **options)(x)
    return layers.BatchNormalization(momentum=0.9, name=f"{name}_norm")(x)


def block(x, filters, strides, name):
    y = conv(x, filters, f"{name}_a", strides=strides)
    y = conv(layers.ReLU(name=f"{name}_a_relu")(y), filters, f"{name}_b")
    if strides > 1:
        x = conv(x, filters, f"{name}_skip", size=1, strides=strides)
    y = layers.Add(name=f"{name}_add")([y, x])
    return layers.ReLU(name=f"{name}_out")(y)


def build():
    inputs = keras.Input((None, None, 3), name="image")
    x = layers.Rescaling(1 / 127.5, offset=-1, name="rescale")(inputs)
    x = layers.ReLU(name="stem_relu")(conv(x, 16, "stem", size=5, strides=2))
    for stage, (filters, strides) in enumerate([(16, 1), (32, 2), (64, 2)], 1):
        x = block(x, filters, strides, f"stage{stage}_block1")
        x = block(x, filters, 1, f"stage{stage}_block2")
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    outputs = layers.Dense(8, activation="softmax", name="predictions")(x)
    return keras.Model(inputs, outputs, name="shapes_resnet")


path = sys.argv[1] if len(sys.argv) > 1 else "demo_model.keras"
keras.utils.set_random_seed(0)
start = time.perf_counter()
# One half has distractors, so that the network learns which object counts.
halves = [shapes.load(PICTURES // 2, seed=n, distractors=n) for n in (0, 3)]
images, labels = (np.concatenate(both) for both in zip(*halves, strict=True))
steps = EPOCHS * PICTURES // BATCH
rate = keras.optimizers.schedules.CosineDecay(
    0.0, steps, warmup_target=4e-3, warmup_steps=steps // 10
)
model = build()
loss = "sparse_categorical_crossentropy"
model.compile(keras.optimizers.AdamW(rate, 1e-3), loss, metrics=["accuracy"])
model.fit(images, labels, batch_size=BATCH, epochs=EPOCHS, verbose=2)
print(f"trained in {time.perf_counter() - start:.0f} s")
for n in (0, 3):
    pictures, answers = shapes.load(1000, "test", distractors=n)
    accuracy = model.evaluate(pictures, answers, verbose=0)[1]
    print(f"accuracy with {n} distractors: {accuracy:.3f}")
# A model built anew from the weights has no optimizer that could be saved.
trained, model = model, build()
model.set_weights(trained.get_weights())
aside = path.removesuffix(".keras") + ".partial.keras"
model.save(aside)
os.replace(aside, path)
print(f"saved {path}, {os.path.getsize(path) / 1e6:.2f} MB")
