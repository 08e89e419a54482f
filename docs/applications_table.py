"""How well relevance adds up on every family of `keras.applications`.

python docs/applications_table.py --write [family ...]

Without `--write` it prints the table of docs/relevance_on_applications.md.
The weights are random, scaled such that activations stay alive (He et al.,
2015), with random biases and statistics, so that nothing cancels by chance.
"""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np

import keras_explain as ke

PAGE = Path(__file__).parent / "relevance_on_applications.md"
BEGIN, END = "<!-- table:begin -->", "<!-- table:end -->"

# The smallest member of each family, at the smallest size it takes.
MODELS = {
    "convnext": ("ConvNeXtTiny", 32),
    "densenet": ("DenseNet121", 32),
    "efficientnet": ("EfficientNetB0", 32),
    "efficientnet_v2": ("EfficientNetV2B0", 32),
    "inception_resnet_v2": ("InceptionResNetV2", 75),
    "inception_v3": ("InceptionV3", 75),
    "mobilenet": ("MobileNet", 32),
    "mobilenet_v2": ("MobileNetV2", 32),
    "mobilenet_v3": ("MobileNetV3Small", 32),
    "nasnet": ("NASNetMobile", 32),
    "resnet": ("ResNet50", 32),
    "resnet_v2": ("ResNet50V2", 32),
    "vgg16": ("VGG16", 32),
    "vgg19": ("VGG19", 32),
    "xception": ("Xception", 71),
}
METHODS = {
    "LRP `epsilon_plus_flat`": lambda m: ke.LRP(
        m, composite="epsilon_plus_flat"
    ),
    "LRP `epsilon_alpha2_beta1`": lambda m: ke.LRP(
        m, composite="epsilon_alpha2_beta1"
    ),
    "DeepLIFT rescale": lambda m: ke.DeepLIFT(m),
    "Excitation backprop": lambda m: ke.ExcitationBackprop(m),
}
# Of what is divided, this part may be left unexplained: rounding in float32
# over up to three hundred layers.
TOLERANCE = 1e-3


class Result(NamedTuple):
    """What one method found on one model, for two images.

    Attributes:
        finite: Whether all values are finite.
        error: Largest part that is unexplained, `|delta|` of what flows.
    """

    finite: bool
    error: float


def build(family: str) -> keras.Model:
    """Returns a model with random weights that keep activations alive."""
    name, size = MODELS[family]
    model = getattr(keras.applications, name)(
        weights=None, input_shape=(size, size, 3), classes=10
    )
    noise = np.random.default_rng(0)
    for variable in model.variables:
        kind = variable.path.split("/")[-1]
        shape = variable.shape
        if "kernel" in kind:
            depthwise = len(shape) == 4 and "depthwise" in variable.path
            fan_in = np.prod(shape[:2] if depthwise else shape[:-1])
            variable.assign(noise.normal(0, np.sqrt(2 / fan_in), shape))
        elif kind in ("bias", "beta", "moving_mean"):
            variable.assign(noise.normal(0, 0.1, shape))
    return model


def measure(family: str) -> dict[str, Result]:
    """Returns what each method finds on the model of a family."""
    model = build(family)
    _, size = MODELS[family]
    noise = np.random.default_rng(1)
    pixels = noise.uniform(0, 255, (2, size, size, 3)).astype("float32")
    rescales = any(
        isinstance(layer, (keras.layers.Rescaling, keras.layers.Normalization))
        for layer in model.layers
    )
    images = pixels if rescales else pixels / 127.5 - 1
    results = {}
    for name, make in METHODS.items():
        found = make(model).explain(images, 3, verbose=False)
        flow = np.abs(found.attributions).sum((1, 2, 3))
        start = 1.0 if name.startswith("Exc") else np.abs(found.scores)
        error = np.abs(found.delta) / np.maximum(start, flow)
        finite = bool(np.isfinite(found.attributions).all())
        results[name] = Result(finite, float(error.max()))
    return results


def table(families: list[str]) -> str:
    """Returns the table as Markdown."""
    head = ["Model", *METHODS]
    lines = [head, ["---"] * len(head)]
    for family in families:
        print(family, file=sys.stderr, flush=True)
        found = measure(family)
        row = [f"{found[name].error:.0e}" for name in METHODS]
        lines.append([MODELS[family][0], *row])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def main() -> None:
    warnings.simplefilter("ignore", ke.ExplainWarning)
    families = [a for a in sys.argv[1:] if a in MODELS] or list(MODELS)
    made = table(families)
    if "--write" not in sys.argv:
        print(made)
        return
    text = PAGE.read_text()
    start, end = text.index(BEGIN) + len(BEGIN), text.index(END)
    aside = PAGE.with_suffix(".tmp")
    aside.write_text(f"{text[:start]}\n\n{made}\n\n{text[end:]}")
    os.replace(aside, PAGE)


if __name__ == "__main__":
    main()
