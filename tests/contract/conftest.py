"""The methods of the catalogue, made for a specimen of the zoo."""

from __future__ import annotations

from typing import Any

import keras
import pytest

from keras_explain.engine import catalogue
from keras_explain.engine.explainer import Explainer
from tests import zoo

# Fewer samples than the defaults: contracts hold for any number.
FAST = {
    "integrated_gradients": {"num_steps": 4},
    "smooth_grad": {"num_samples": 3},
    "square_grad": {"num_samples": 3},
    "var_grad": {"num_samples": 3},
    "gradient_shap": {"num_samples": 3},
    "rise": {"num_masks": 30},
    # A blur of less than a pixel hides nothing in so few steps.
    "extremal_perturbation": {
        "perturbation": "fade",
        "settings": {"num_steps": 20},
    },
    "meaningful_perturbation": {"settings": {"num_steps": 20}},
    "lime": {"num_samples": 64, "batch_size": 256},
    "kernel_shap": {"num_samples": 64, "batch_size": 256},
    "shapley_values": {"batch_size": 512},
    "shapley_sampling": {"num_permutations": 2, "batch_size": 256},
}


def make(entry: catalogue.Entry, specimen: zoo.Specimen) -> Explainer:
    options: dict[str, Any] = dict(FAST.get(entry.name, {}))
    if specimen.integers and entry.family != "cam":
        # Integers have no gradient: attribute to their embedding.
        if entry.wraps:
            inner = catalogue.find("gradient").cls
            return entry.cls(
                inner(specimen.model, layer=specimen.feature_map), **options
            )
        options["layer"] = specimen.feature_map
    if "affine" in entry.needs:
        # Most are affine from their last feature map on, none from its inputs.
        options["layer"] = specimen.feature_map
    made = entry.cls(specimen.model, **options)
    if hasattr(made, "fit") and applies(entry, specimen):
        made.fit(specimen.inputs, verbose=False)
    return made


def applies(entry: catalogue.Entry, specimen: zoo.Specimen) -> bool:
    """Whether the needs that the catalogue states are met."""
    needs = entry.needs
    return not (
        ("ReLU" in needs and not specimen.relu)
        or ("feature map" in needs and specimen.feature_map is None)
        or ("global average" in needs and not specimen.gap)
        or (entry.name == "score_cam" and specimen.integers)
        or ("no recurrence" in needs and specimen.integers)
        # Patterns are for networks of ReLUs.
        or (needs == "patterns" and not specimen.relu)
        or ("affine" in needs and not _ends_affine(specimen))
    )


def _ends_affine(specimen: zoo.Specimen) -> bool:
    """Whether only linear layers follow its feature map."""
    pooling = keras.layers.MaxPooling2D
    return (
        not specimen.integers
        and specimen.feature_map is not None
        and not any(isinstance(x, pooling) for x in specimen.model.layers)
    )


# Each method runs on these by default; on the others one of each kind, which
# stands for those that share its way through the model.
_COMPLETE = {"nested", "lstm"}
_ONE_OF_EACH = {
    "gradient", "integrated_gradients", "grad_cam", "guided_backprop", "lrp",
    "deep_lift",
}  # fmt: skip
# The long tests have a part of the rest: each method meets one in so many
# of the models, and each model one in so many of the methods.
_PART = 3


def pairs() -> list[Any]:
    found = []
    for k, name in enumerate(zoo.names()):
        for j, entry in enumerate(catalogue.entries()):
            default = name in _COMPLETE or entry.name in _ONE_OF_EACH
            if default or (j + k) % _PART == 0:
                mark = () if default else pytest.mark.slow
                case = f"{entry.name}-{name}"
                found.append(pytest.param(entry, name, id=case, marks=mark))
    return found
