"""Does the model look at the object, and which method says so?

python examples/does_it_look_at_the_object.py [FOLDER]

The pictures come with a mask of the object. A method scores a hit where its
strongest pixel lies on it; chance hits as often as the object is large.
"""

import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import keras_explain as ke
from keras_explain import plots
from keras_explain.datasets import demo_images, demo_model

folder = Path(sys.argv[1] if len(sys.argv) > 1 else "explanations")
model = demo_model()
images, labels, masks = demo_images(num=32, distractors=4)
gray = np.full(images.shape[1:], 127.5)
methods = {
    "Gradient": ke.Gradient(model),
    "Input x gradient": ke.InputXGradient(model),
    "SmoothGrad": ke.SmoothGrad(ke.Gradient(model), num_samples=16),
    "Integrated gradients": ke.IntegratedGradients(
        model, baseline=gray, num_steps=16
    ),
    "Guided backprop": ke.GuidedBackprop(model),
    "Grad-CAM": ke.GradCAM(model),
    "LayerCAM, stage 2": ke.LayerCAM(model, layer="stage2_block2_out"),
    "Score-CAM": ke.ScoreCAM(model, max_channels=16),
}


def peak_is_on(mask, attribution):
    values = plots.collapse_channels(attribution)
    return mask.flat[values.argmax()] == 1


shares = {"chance": masks.mean()}
for name, explainer in methods.items():
    maps = explainer.explain(images, labels).attributions
    shares[name] = np.mean([*map(peak_is_on, masks, maps)])
for name, share in shares.items():
    print(f"{name:22}{share:6.0%}")

figure = Figure(figsize=(6, 3.6), layout="constrained")
axes = figure.subplots()
bars = axes.barh(list(shares), [100 * share for share in shares.values()])
bars[0].set_color("gray")
axes.invert_yaxis()
axes.set_xlabel("strongest pixel on the object, in % of the pictures")
plots.save(figure, folder / "does_it_look_at_the_object.png")
