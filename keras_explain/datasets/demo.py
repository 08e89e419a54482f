"""The small model that comes with the package, and pictures to explain."""

from __future__ import annotations

from importlib import resources

import keras
import numpy as np

from keras_explain.datasets import shapes


def demo_model() -> keras.Model:
    """Loads a small residual network that tells the shapes apart.

    It takes pictures of 0 to 255, such as those of `demo_images`, and returns
    the probability of each of `CLASS_NAMES`. It was trained by
    `examples/train_demo_model.py`; it is loaded without an optimizer, and
    nothing is downloaded.

    Returns:
        A Functional `keras.Model`, `(batch, height, width, 3)` to
        `(batch, 8)`. Its last feature map, `"stage3_block2_out"`, is an
        eighth of the picture: 12 x 12 for 96 pixels.

    Example:

    >>> from keras_explain.datasets import CLASS_NAMES, demo_images, demo_model
    >>> model = demo_model()
    >>> images, labels, masks = demo_images(num=8)
    >>> predicted = model.predict(images, verbose=0).argmax(-1)
    >>> [CLASS_NAMES[k] for k in predicted] == [CLASS_NAMES[k] for k in labels]
    True
    """
    file = resources.files("keras_explain.datasets") / "demo_model.keras"
    with resources.as_file(file) as path:
        return keras.saving.load_model(path, compile=False, safe_mode=True)


def demo_images(
    num: int = 16, seed: int = 0, distractors: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draws pictures that `demo_model` was not trained on.

    Args:
        num: How many pictures; the first 8 have one of each class, and so
            has each further run of 8.
        seed: Integer from 0; another seed gives other pictures.
        distractors: How many smaller objects of other classes to add, 0 to 4.

    Returns:
        `(images, labels, masks)`: uint8 `(num, 96, 96, 3)` in `[0, 255]`,
        int64 `(num,)`, and uint8 `(num, 96, 96)`, 1 on the object that the
        label names and 0 elsewhere.

    Raises:
        ValueError: If an argument is out of its range.
        TypeError: If an argument is not an integer.

    Example:

    >>> from keras_explain.datasets import demo_images
    >>> images, labels, masks = demo_images(num=8)
    >>> images.shape, masks.shape, sorted(labels.tolist())
    ((8, 96, 96, 3), (8, 96, 96), [0, 1, 2, 3, 4, 5, 6, 7])
    """
    images, labels, masks = shapes.load(
        num, "test", seed=seed, distractors=distractors, masks=True
    )
    return images, labels, masks["object"]
