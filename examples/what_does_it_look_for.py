"""What does the model look for?

python examples/what_does_it_look_for.py [FOLDER]

Pictures that the model has never seen, made to raise the score of a class or
of a channel as far as they can.
"""

import sys
from pathlib import Path

from keras_explain import plots
from keras_explain.datasets import CLASS_NAMES, demo_model
from keras_explain.synthesis import MACO, class_grid, layer_grid
from keras_explain.synthesis.transforms import Crop, Noise

folder = Path(sys.argv[1] if len(sys.argv) > 1 else "explanations")
model = demo_model()

classes = class_grid(
    model,
    range(6),
    image=MACO(64),
    transforms=[Crop(0.5, 1.0), Noise(0.05)],
    steps=192,
)
layer = "stage2_block2_out"
channels = layer_grid(model, layer, 6, size=64, steps=96)

for title, score in zip(classes.titles, classes.score, strict=True):
    print(f"{title}: {score:.1f}")
figure = plots.grid(
    [classes.pictures(), channels.pictures()],
    cell_labels=[
        CLASS_NAMES[:6],
        [f"channel {unit}" for unit in range(6)],
    ],
    row_labels=["classes", layer.replace("_", "\n")],
)
plots.save(figure, folder / "what_does_it_look_for.png")
