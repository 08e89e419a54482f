"""The shapes as a TensorFlow Datasets builder.

Importing this module registers the data set; `keras_explain.datasets` does
not import it, because TensorFlow Datasets takes long to import:

    import keras_explain.datasets.shapes_builder
    import tensorflow_datasets as tfds

    train = tfds.load("keras_explain_shapes/distractors", split="train")

The pictures are drawn, not downloaded: no network is needed. They are those
of `keras_explain.datasets.shapes`, and the feature `"index"` says which.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from keras_explain.datasets import shapes

_DESCRIPTION = """
Textured, colored shapes on cluttered backgrounds. The label is the shape of
the largest object; color and texture are independent of it. The masks say for
each pixel whether it is on that object, and which shape, color, texture and
part of an object it shows (0 is the background, k + 1 is name k).
"""


@dataclasses.dataclass(eq=False)
class ShapesConfig(tfds.core.BuilderConfig):
    """How the pictures are drawn, and how many.

    Args:
        name: The name of the configuration, in `"keras_explain_shapes/name"`.
            Another setting needs another name: prepared files are found
            again by it.
        size: Height and width in pixels, 64 to 224.
        distractors: How many smaller objects of other classes, 0 to 4.
        seed: Integer from 0; another seed is another data set.
        num_examples: The number of pictures in each split.
    """

    size: int = 96
    distractors: int = 0
    seed: int = 0
    num_examples: dict[str, int] = dataclasses.field(
        default_factory=lambda: {
            "train": 8000,
            "validation": 1000,
            "test": 1000,
        }
    )


class KerasExplainShapes(tfds.core.GeneratorBasedBuilder):
    """The data set `keras_explain_shapes`.

    Configurations: `"single"` (the default, one object to a picture) and
    `"distractors"` (three smaller objects of other classes besides). Pass a
    `ShapesConfig` for another size or number of pictures.

    Features: `"image"` uint8 `(size, size, 3)`, `"label"` int64, `"index"`
    int64, and `"masks"`, a dictionary of uint8 `(size, size)` as in
    `keras_explain.datasets.shapes.Scene`.

    Example:

    >>> import tensorflow_datasets as tfds
    >>> from keras_explain.datasets.shapes_builder import ShapesConfig
    >>> few = ShapesConfig(name="few", size=64, num_examples={"test": 8})
    >>> builder = tfds.builder("keras_explain_shapes", config=few)
    >>> builder.info.features["image"].shape
    (64, 64, 3)
    >>> builder.download_and_prepare()  # doctest: +SKIP
    >>> pictures = builder.as_dataset(split="test")  # doctest: +SKIP
    """

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First release."}
    BUILDER_CONFIGS = [
        ShapesConfig(name="single", description="One object to a picture."),
        ShapesConfig(
            name="distractors",
            description="Three smaller objects of other classes besides.",
            distractors=3,
        ),
    ]

    # Nothing is downloaded, so no address has a checksum. Left to itself the
    # base class looks for a file of them, for which TensorFlow Datasets 4.9.10
    # needs `importlib_resources`, a package that it does not bring.
    url_infos = None

    def _info(self) -> tfds.core.DatasetInfo:
        side = self.builder_config.size
        masks = {
            name: tfds.features.Tensor(
                shape=(side, side), dtype=np.uint8, encoding="zlib"
            )
            for name in shapes.MASK_NAMES
        }
        return tfds.core.DatasetInfo(
            builder=self,
            description=_DESCRIPTION,
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(side, side, 3)),
                    "label": tfds.features.ClassLabel(
                        names=list(shapes.CLASS_NAMES)
                    ),
                    "index": np.int64,
                    "masks": masks,
                }
            ),
            supervised_keys=("image", "label"),
            # Without one, TensorFlow Datasets names a page of its catalog
            # that does not exist.
            homepage="https://www.tensorflow.org/datasets",
        )

    def _split_generators(
        self, dl_manager: tfds.download.DownloadManager
    ) -> dict[str, Iterator[tuple[int, dict[str, Any]]]]:
        return {
            split: self._generate_examples(split, num)
            for split, num in self.builder_config.num_examples.items()
        }

    def _generate_examples(
        self, split: str, num: int
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        config = self.builder_config
        for index in range(num):
            scene = shapes.make_scene(
                config.seed, index, config.size, config.distractors, split
            )
            yield index, {**scene._asdict(), "index": index}
