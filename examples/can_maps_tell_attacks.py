"""Can a classifier of saliency maps tell adversarial images from real ones?

python examples/can_maps_tell_attacks.py [FOLDER]

Here only a little better than by chance (0.5), and less for attacks that it
has not learned from. Where it works better, one who knows of the detector can
still attack it together with the model: never take it for a defense.
"""

import sys
from pathlib import Path

import numpy as np
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import roc_auc_score

from keras_explain import Saliency, plots
from keras_explain.datasets import demo_model, load
from keras_explain.synthesis import deepfool, fgsm, pgd

folder = Path(sys.argv[1] if len(sys.argv) > 1 else "explanations")
model = demo_model()
images, labels = load(160, "test", size=64)
noise = np.random.default_rng(0).choice([-4, 4], images.shape)
attacked = pgd(model, images, labels, epsilon=4, steps=5).images
explainer = Saliency(model)


def features(pictures):
    """The map of each picture in cells of 4 x 4 pixels, on a log scale."""
    maps = explainer.explain(pictures, verbose=False).attributions.max(-1)
    cells = maps.reshape(-1, 16, 4, 16, 4).mean((2, 4)).reshape(-1, 256)
    return np.log(np.sort(cells, 1) + 1e-6)


half = len(images) // 2
real, false = features(images), features(attacked)
detector = RandomForestClassifier(300, random_state=0).fit(
    np.concatenate([real[:half], false[:half]]), np.repeat([0, 1], half)
)
others = {
    "PGD, as it has learned": attacked,
    "PGD, a quarter as strong": pgd(model, images, labels, epsilon=1).images,
    "FGSM": fgsm(model, images, labels, epsilon=4).images,
    "DeepFool": deepfool(model, images, labels).images,
    "no attack, only noise": np.clip(images + noise, 0, 255),
}
areas = {}
for name, changed in others.items():
    found = [detector.predict_proba(f)[:, 1] for f in
             (real[half:], features(changed[half:]))]  # fmt: skip
    truth = np.repeat([0, 1], half)
    areas[name] = roc_auc_score(truth, np.concatenate(found))
    print(f"{name:26} area under the curve {areas[name]:.2f}")

rows = [[explainer.explain(p[:1]).heatmap()[0] for p in others.values()]]
titles = [f"{name}: {area:.2f}" for name, area in areas.items()]
plots.save(plots.grid(rows, column_labels=titles),
           folder / "can_maps_tell_attacks.png")  # fmt: skip
