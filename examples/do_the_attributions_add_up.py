"""Do the attributions add up, and how many steps does that take?

python examples/do_the_attributions_add_up.py [FOLDER]

Integrated gradients should sum to the score of the picture minus the score
of the baseline. `Explanation.delta` is what the numerical integral misses.
"""

import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from keras_explain import IntegratedGradients, plots
from keras_explain.datasets import demo_images, demo_model

folder = Path(sys.argv[1] if len(sys.argv) > 1 else "explanations")
model = demo_model()
images, labels, masks = demo_images(num=4)
gray = np.full(images.shape[1:], 127.5)

STEPS = [4, 8, 16, 32]
missed = {}
for method in ("gauss_legendre", "middle", "left"):
    missed[method] = []
    for num_steps in STEPS:
        explainer = IntegratedGradients(
            model, baseline=gray, num_steps=num_steps, method=method
        )
        explanation = explainer.explain(images)
        total = explanation.attributions.sum(axis=(1, 2, 3))
        share = np.abs(explanation.delta / (total - explanation.delta))
        missed[method].append(100 * share.mean())

figure = Figure(figsize=(6, 4), layout="constrained")
axes = figure.subplots()
for method, shares in missed.items():
    axes.loglog(STEPS, shares, "o-", label=method)
    print(f"{method:15}", "".join(f"{share:8.2f} %" for share in shares))
axes.set_xticks(STEPS, [str(num_steps) for num_steps in STEPS], minor=False)
axes.minorticks_off()
axes.set_xlabel("num_steps")
axes.set_ylabel("missed, in %")
axes.legend(title="method")
plots.save(figure, folder / "do_the_attributions_add_up.png")
