"""Where does the model look?

python examples/where_does_it_look.py [FOLDER]
"""

import sys
from pathlib import Path

from keras_explain import GradCAM, plots
from keras_explain.datasets import CLASS_NAMES, demo_images, demo_model

folder = Path(sys.argv[1] if len(sys.argv) > 1 else "explanations")
model = demo_model()
# Each picture has one large object, which is its class, and two small ones.
images, labels, masks = demo_images(num=4, distractors=2)

explanation = GradCAM(model).explain(images)

print(f"Grad-CAM read the layer {explanation.layer!r}.")
titles = [
    f"{CLASS_NAMES[k]}, logit {score:.1f}"
    for k, score in zip(explanation.target, explanation.scores, strict=True)
]
figure = explanation.plot(titles=titles)
plots.save(figure, folder / "where_does_it_look.png")
