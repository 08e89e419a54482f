"""Can the model be fooled, and where does it look then?

python examples/can_it_be_fooled.py [FOLDER]

No pixel is changed by more than 4 of 255. The changed pictures look the same
to us; their saliency maps show what the model sees in them.
"""

import sys
from pathlib import Path

import numpy as np

from keras_explain import GradCAM, plots
from keras_explain.datasets import CLASS_NAMES, demo_images, demo_model
from keras_explain.synthesis import deepfool, pgd

folder = Path(sys.argv[1] if len(sys.argv) > 1 else "explanations")
model = demo_model()
images, labels, _ = demo_images(num=16)

# The bounds, 0 to 255, are read from the model, which begins by rescaling.
found = pgd(model, images, labels, epsilon=4, steps=20)
print(f"right before: {found.original_accuracy:.0%}")
print(f"right after:  {found.accuracy:.0%}")
nearest = deepfool(model, images, labels)
for name, attack in (("PGD", found), ("DeepFool", nearest)):
    lengths = attack.norm_l2[attack.success]
    print(f"{name} fooled it with changes of length {np.median(lengths):.0f}")

shown = found[found.success][:4]
explainer = GradCAM(model)
before = explainer.explain(shown.originals, shown.original_predictions)
after = explainer.explain(shown.images, shown.predictions)
factor = 127.5 / 4
rows = [
    shown.originals.astype("uint8"),
    before.heatmap(),
    np.clip(127.5 + factor * shown.difference, 0, 255).astype("uint8"),
    np.round(shown.images).astype("uint8"),
    after.heatmap(),
]
names = [CLASS_NAMES[k] for k in shown.original_predictions]
fooled = [CLASS_NAMES[k] for k in shown.predictions]
figure = plots.grid(
    list(zip(*rows, strict=True)),
    row_labels=[f"{a}, then {b}" for a, b in zip(names, fooled, strict=True)],
    column_labels=["original", "Grad-CAM", f"change x {factor:.0f}",
                   "adversarial", "Grad-CAM"],
)  # fmt: skip
plots.save(figure, folder / "can_it_be_fooled.png")
