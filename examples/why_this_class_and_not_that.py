"""Why does the model say "circle", and not "star"?

python examples/why_this_class_and_not_that.py [FOLDER]

Both shapes are in the picture. The difference of two classes is a target
like any other: what speaks for the one rather than the other is red, and
what speaks for the other is blue.
"""

import sys
from pathlib import Path

import numpy as np

from keras_explain import Class, HiResCAM, IntegratedGradients, plots
from keras_explain.datasets import CLASS_NAMES, demo_model, load

folder = Path(sys.argv[1] if len(sys.argv) > 1 else "explanations")
model = demo_model()
images, labels, masks = load(16, "test", distractors=1, masks=True)


def other_shape(label, shape_mask):
    """The class of the small object: what is drawn, but not the label."""
    drawn = set(np.unique(shape_mask)) - {0, label + 1}
    return drawn.pop() - 1


others = np.array([*map(other_shape, labels, masks["shape"])])
shown = [6, 9, 10]  # in these the small object counts for something
images, this, that = images[shown], labels[shown], others[shown]

target = Class(this) - Class(that)
coarse = HiResCAM(model, layer="stage3_block1_out").explain(images, target)
# What counts as "nothing there" is a picture of the mean gray.
gray = np.full(images.shape[1:], 127.5)
fine = IntegratedGradients(model, baseline=gray).explain(images, target)

columns = [images, coarse.heatmap(), fine.heatmap()]
figure = plots.grid(
    list(zip(*columns, strict=True)),
    row_labels=[
        f"{CLASS_NAMES[a]} and not {CLASS_NAMES[b]}"
        for a, b in zip(this, that, strict=True)
    ],
    column_labels=["picture", "HiResCAM", "integrated gradients"],
)
plots.save(figure, folder / "why_this_class_and_not_that.png")
for a, b, score in zip(this, that, coarse.scores, strict=True):
    print(f"{CLASS_NAMES[a]} leads {CLASS_NAMES[b]} by {score:.1f}")
