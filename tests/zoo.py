"""One small, seeded model for each way in which Keras 3 builds models."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import layers, ops

CLASSES = 10


class Standardized(layers.Conv2D):
    """A convolution that does something of its own with its kernel."""

    def convolution_op(self, inputs, kernel):
        kernel -= ops.mean(kernel, (0, 1, 2), keepdims=True)
        return super().convolution_op(inputs, kernel)


@dataclasses.dataclass
class Specimen:
    """A model, inputs it takes and what is to be expected of it.

    Attributes:
        model: Built, with random weights.
        inputs: A batch of two.
        feature_map: Address of the layer a CAM chooses; `None` if there is
            none.
        head: `"softmax"`, `"sigmoid"` or `"linear"`.
        layer: Address of a layer to attribute to; by default the feature
            map.
        relu: Whether it has a ReLU for guided rules.
        gap: Whether CAM applies.
        integers: Whether the inputs are tokens.
    """

    model: keras.Model
    inputs: Any
    feature_map: str | None
    head: str = "softmax"
    relu: bool = True
    gap: bool = True
    integers: bool = False


_BUILDERS: dict[str, Callable[[], Specimen]] = {}


def specimen(function: Callable[[], Specimen]) -> Callable[[], Specimen]:
    _BUILDERS[function.__name__] = function
    return function


def names() -> list[str]:
    return list(_BUILDERS)


def build(name: str) -> Specimen:
    keras.utils.set_random_seed(7)
    return _BUILDERS[name]()


def images(count: int, size: int = 8, channels: int = 3) -> np.ndarray:
    noise = np.random.default_rng(0)
    return noise.normal(size=(count, size, size, channels)).astype("float32")


def _backbone(name: str = "backbone", size: int = 8) -> keras.Model:
    x = inputs = keras.Input((size, size, 3))
    x = layers.Conv2D(4, 3, padding="same", name="conv1")(x)
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.ReLU(name="relu1")(x)
    x = layers.Conv2D(6, 3, padding="same", activation="relu", name="conv5")(x)
    return keras.Model(inputs, x, name=name)


def _head(x: Any, **options: Any) -> Any:
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return layers.Dense(CLASSES, name="logits", **options)(x)


@specimen
def functional() -> Specimen:
    x = inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, padding="same", activation="relu", name="conv1")(x)
    x = layers.Conv2D(6, 3, padding="same", activation="relu", name="conv2")(x)
    outputs = _head(x, activation="softmax")
    return Specimen(keras.Model(inputs, outputs), images(2), "conv2")


@specimen
def sequential() -> Specimen:
    model = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.Conv2D(4, 3, activation="relu", name="conv1"),
            layers.MaxPooling2D(2, name="pool1"),
            layers.Dropout(0.5, name="dropout"),
            layers.Flatten(name="flatten"),
            layers.Dense(CLASSES, activation="softmax", name="logits"),
        ]
    )
    return Specimen(model, images(2), "conv1", gap=False)


class Subclassed(keras.Model):
    """Layers in lists and dicts, at several depths."""

    def __init__(self):
        super().__init__()
        self.blocks = [
            layers.Conv2D(4, 3, padding="same", name="first"),
            [layers.ReLU(name="relu1")],
        ]
        self.heads = {
            "body": {"conv": layers.Conv2D(6, 3, name="second")},
            "relu": layers.Activation("relu", name="relu2"),
            "pool": layers.GlobalAveragePooling2D(name="pool"),
            "out": layers.Dense(CLASSES, name="logits"),
        }

    def call(self, x, training=False):
        x = self.blocks[1][0](self.blocks[0](x))
        x = self.heads["relu"](self.heads["body"]["conv"](x))
        # A raw op on the logits: the softmax is in no layer.
        return ops.softmax(self.heads["out"](self.heads["pool"](x)))


@specimen
def subclassed() -> Specimen:
    model = Subclassed()
    model(images(2))
    return Specimen(model, images(2), "relu2")


@specimen
def nested() -> Specimen:
    inputs = keras.Input((8, 8, 3))
    outputs = _head(_backbone()(inputs), activation="softmax")
    model = keras.Model(inputs, outputs)
    return Specimen(model, images(2), "backbone/conv5")


@specimen
def nested_twice() -> Specimen:
    middle_in = keras.Input((8, 8, 3))
    x = layers.Rescaling(1.0, name="scale")(middle_in)
    middle = keras.Model(middle_in, _backbone()(x), name="middle")
    model = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            middle,
            layers.GlobalAveragePooling2D(name="pool"),
            layers.Dense(CLASSES, activation="softmax", name="logits"),
        ]
    )
    return Specimen(model, images(2), "middle/backbone/conv5")


@specimen
def ops_nodes() -> Specimen:
    x = inputs = keras.Input((8, 8, 3))
    x = ops.relu(layers.Conv2D(4, 3, padding="same", name="conv1")(x) * 2 + 1)
    y = layers.Conv2D(4, 3, padding="same", name="conv2")(x)
    x = layers.ReLU(name="relu2")(x + y)
    x = layers.Dense(CLASSES, name="logits")(ops.mean(x, axis=(1, 2)))
    return Specimen(keras.Model(inputs, ops.softmax(x)), images(2), "relu2")


@specimen
def shared() -> Specimen:
    """One layer that is called twice."""
    inputs = keras.Input((8, 8, 3))
    encoder = layers.Conv2D(
        3, 3, padding="same", activation="relu", name="encoder"
    )
    outputs = _head(encoder(encoder(inputs)), activation="softmax")
    model = keras.Model(inputs, outputs)
    return Specimen(model, images(2), "encoder:1")


def _two_inputs() -> tuple[Any, Any, Any]:
    image = keras.Input((8, 8, 3), name="image")
    vector = keras.Input((4,), name="vector")
    x = layers.Conv2D(4, 3, activation="relu", name="conv")(image)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    y = layers.Dense(4, activation="relu", name="dense")(vector)
    x = layers.Concatenate(name="both")([x, y])
    x = layers.Dense(CLASSES, activation="softmax", name="logits")(x)
    return image, vector, x


def _vectors() -> np.ndarray:
    return np.random.default_rng(1).normal(size=(2, 4)).astype("float32")


@specimen
def inputs_list() -> Specimen:
    image, vector, x = _two_inputs()
    model = keras.Model([image, vector], x)
    return Specimen(model, [images(2), _vectors()], "conv", gap=False)


@specimen
def inputs_dict() -> Specimen:
    image, vector, x = _two_inputs()
    model = keras.Model({"image": image, "vector": vector}, x)
    inputs = {"image": images(2), "vector": _vectors()}
    return Specimen(model, inputs, "conv", gap=False)


@specimen
def softmax_layer() -> Specimen:
    inputs = keras.Input((8, 8, 3))
    x = layers.Softmax(name="softmax")(_head(_backbone()(inputs)))
    return Specimen(keras.Model(inputs, x), images(2), "backbone/conv5")


@specimen
def softmax_activation() -> Specimen:
    inputs = keras.Input((8, 8, 3))
    x = layers.Activation("softmax", name="softmax")(_head(_backbone()(inputs)))
    return Specimen(keras.Model(inputs, x), images(2), "backbone/conv5")


@specimen
def logits() -> Specimen:
    inputs = keras.Input((8, 8, 3))
    model = keras.Model(inputs, _head(_backbone()(inputs)))
    return Specimen(model, images(2), "backbone/conv5", head="linear")


@specimen
def sigmoid() -> Specimen:
    inputs = keras.Input((8, 8, 3))
    x = layers.GlobalAveragePooling2D(name="pool")(_backbone()(inputs))
    x = layers.Dense(1, activation="sigmoid", name="logits")(x)
    model = keras.Model(inputs, x)
    return Specimen(model, images(2), "backbone/conv5", head="sigmoid")


@specimen
def multi_label() -> Specimen:
    inputs = keras.Input((8, 8, 3))
    outputs = _head(_backbone()(inputs), activation="sigmoid")
    model = keras.Model(inputs, outputs)
    return Specimen(model, images(2), "backbone/conv5", head="sigmoid")


@specimen
def grey() -> Specimen:
    x = inputs = keras.Input((8, 8, 1))
    x = layers.Conv2D(4, 3, activation="relu", name="conv1")(x)
    model = keras.Model(inputs, _head(x, activation="softmax"))
    return Specimen(model, images(2, channels=1), "conv1")


@specimen
def open_size() -> Specimen:
    """Pictures of any size."""
    x = inputs = keras.Input((None, None, 3))
    x = layers.Conv2D(4, 3, activation="relu", name="conv1")(x)
    model = keras.Model(inputs, _head(x, activation="softmax"))
    return Specimen(model, images(2), "conv1")


@specimen
def series() -> Specimen:
    """One spatial axis."""
    x = inputs = keras.Input((12, 2))
    x = layers.Conv1D(4, 3, activation="relu", name="conv1")(x)
    x = layers.GlobalAveragePooling1D(name="pool")(x)
    x = layers.Dense(CLASSES, activation="softmax", name="logits")(x)
    data = np.random.default_rng(0).normal(size=(2, 12, 2)).astype("float32")
    return Specimen(keras.Model(inputs, x), data, "conv1")


@specimen
def volume() -> Specimen:
    """Three spatial axes."""
    x = inputs = keras.Input((6, 8, 8, 1))
    x = layers.Conv3D(4, 3, activation="relu", name="conv1")(x)
    x = layers.GlobalAveragePooling3D(name="pool")(x)
    x = layers.Dense(CLASSES, activation="softmax", name="logits")(x)
    data = np.random.default_rng(0).normal(size=(2, 6, 8, 8, 1))
    return Specimen(keras.Model(inputs, x), data.astype("float32"), "conv1")


@specimen
def tabular() -> Specimen:
    x = inputs = keras.Input((5,))
    x = layers.Dense(8, activation="relu", name="hidden")(x)
    x = layers.Dense(CLASSES, activation="softmax", name="logits")(x)
    data = np.random.default_rng(0).normal(size=(2, 5)).astype("float32")
    return Specimen(keras.Model(inputs, x), data, None, gap=False)


@specimen
def vision_transformer() -> Specimen:
    x = inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(8, 2, strides=2, name="patches")(x)
    x = layers.Reshape((16, 8), name="tokens")(x)
    for k in range(2):
        y = layers.LayerNormalization(name=f"norm{k}")(x)
        y = layers.MultiHeadAttention(2, 4, name=f"attention{k}")(y, y)
        x = layers.Add(name=f"residual{k}")([x, y])
        y = layers.LayerNormalization(name=f"norm{k}_mlp")(x)
        y = layers.Dense(16, activation="gelu", name=f"wide{k}")(y)
        y = layers.Dense(8, name=f"narrow{k}")(y)
        x = layers.Add(name=f"block{k}")([x, y])
    x = layers.LayerNormalization(name="final")(x)
    x = layers.GlobalAveragePooling1D(name="pool")(x)
    x = layers.Dense(CLASSES, activation="softmax", name="logits")(x)
    model = keras.Model(inputs, x)
    return Specimen(model, images(2), "final", relu=False)


@specimen
def lstm() -> Specimen:
    x = inputs = keras.Input((6,), dtype="int32", name="tokens")
    x = layers.Embedding(20, 4, mask_zero=True, name="embedding")(x)
    x = layers.LSTM(5, name="lstm")(x)
    x = layers.Dense(CLASSES, activation="softmax", name="logits")(x)
    tokens = np.array([[3, 7, 1, 0, 0, 0], [5, 2, 9, 11, 4, 2]], "int32")
    return Specimen(
        keras.Model(inputs, x),
        tokens,
        "embedding",
        relu=False,
        gap=False,
        integers=True,
    )


def two_outputs() -> tuple[keras.Model, np.ndarray]:
    """A classifier and a regression on one backbone."""
    keras.utils.set_random_seed(7)
    inputs = keras.Input((8, 8, 3))
    x = layers.GlobalAveragePooling2D(name="pool")(_backbone()(inputs))
    kind = layers.Dense(CLASSES, activation="softmax", name="kind")(x)
    age = layers.Dense(1, name="age")(x)
    return keras.Model(inputs, [kind, age]), images(2)


def segmenter() -> tuple[keras.Model, np.ndarray]:
    """A class for each pixel."""
    keras.utils.set_random_seed(7)
    x = inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, padding="same", activation="relu", name="conv")(x)
    x = layers.Conv2D(5, 1, activation="softmax", name="classes")(x)
    return keras.Model(inputs, x), images(2)
