"""Which pixels add up to the score?

python examples/which_pixels_add_up_to_the_score.py [FOLDER]

Relevance is the score, divided layer by layer. With biases left out (z+) the
pixels add up to all of it; where biases count, they keep a part for
themselves, and the trace shows at which depth.
"""

import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from keras_explain import LRP, plots
from keras_explain.datasets import CLASS_NAMES, demo_images, demo_model

folder = Path(sys.argv[1] if len(sys.argv) > 1 else "explanations")
model = demo_model()
images, labels, masks = demo_images(num=3, distractors=2)

columns = {"picture": images}
traces = {}
for name in ("z_plus", "epsilon_plus_flat"):
    explainer = LRP(model, composite=name)
    found = explainer.explain(images)
    columns[name] = found.heatmap()
    # Layers that all relevance passes, from the pixels to the score.
    sums = explainer.trace(images).sums
    traces[name] = {k: v for k, v in sums.items() if k.endswith("_out")}
    added = found.attributions.sum(axis=(1, 2, 3))
    for label, total, score, delta in zip(
        found.target, added, found.scores, found.delta, strict=True
    ):
        print(
            f"{name:18} {CLASS_NAMES[label]:9} pixels {total:6.2f}, "
            f"score {score:6.2f}, unexplained {delta:9.1e}"
        )

figure = Figure(figsize=(10, 5.5), layout="constrained")
cells = figure.subplots(
    len(images), len(columns) + 1, width_ratios=[1, 1, 1, 2]
)
for row, axes in enumerate(cells):
    for cell, (name, pictures) in zip(axes, columns.items(), strict=False):
        cell.imshow(np.asarray(pictures[row], np.uint8))
        cell.set_axis_off()
        cell.set_title(name if row == 0 else "", fontsize=9)
    for name, sums in traces.items():
        values = [100 * v[row] / found.scores[row] for v in sums.values()]
        axes[-1].plot(values, "o-", label=name)
    axes[-1].set(xticks=[], ylim=(0, 110), ylabel="% of the score")
blocks = [name.removesuffix("_out") for name in sums]
axes[-1].set_xticks(range(len(blocks)), blocks, rotation=30, ha="right")
cells[0, -1].legend(fontsize=8, loc="lower left")
cells[0, -1].set_title("relevance behind each block", fontsize=9)
plots.save(figure, folder / f"{Path(__file__).stem}.png")
