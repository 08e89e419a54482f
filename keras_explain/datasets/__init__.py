"""Pictures whose truth is known, and a small model trained on them.

`shapes` draws them; nothing is downloaded. For TensorFlow Datasets,
`import keras_explain.datasets.shapes_builder` once, then
`tfds.load("keras_explain_shapes")`.
"""

from keras_explain.datasets.demo import demo_images, demo_model
from keras_explain.datasets.shapes import (
    CLASS_NAMES,
    COLOR_NAMES,
    MASK_NAMES,
    PART_NAMES,
    TEXTURE_NAMES,
    Scene,
    as_dataset,
    load,
    make_scene,
)

__all__ = [
    "CLASS_NAMES",
    "COLOR_NAMES",
    "MASK_NAMES",
    "PART_NAMES",
    "TEXTURE_NAMES",
    "Scene",
    "as_dataset",
    "demo_images",
    "demo_model",
    "load",
    "make_scene",
]
