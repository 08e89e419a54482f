"""The same methods of other Keras libraries, where they are installed."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import keras
import lower_bound
import numpy as np
import tensorflow as tf


def ratios(case: Any, model: keras.Model, x: tf.Tensor, samples: int) -> str:
    """Returns `"xplique 1.08, tf-keras-vis 1.84"` against the same bound."""
    found = []
    for name, make in (("xplique", _xplique), ("tf-keras-vis", _tf_keras_vis)):
        try:
            work = make(case.name, model, x, samples)
        except ImportError:
            continue
        if work is not None:
            try:
                value, _ = lower_bound.ratio(work, case.bound, x, 3)
                found.append(f"{name} {value:.2f}")
            except Exception as error:
                found.append(f"{name} fails ({type(error).__name__})")
    return ", ".join(found) or "-"


def _xplique(
    name: str, model: keras.Model, x: tf.Tensor, samples: int
) -> Callable | None:
    attributions = importlib.import_module("xplique.attributions")
    classes = {
        "saliency": ("Saliency", {}),
        "input_x_gradient": ("GradientInput", {}),
        "guided_backprop": ("GuidedBackprop", {}),
        "deconvnet": ("DeconvNet", {}),
        "smooth_grad": ("SmoothGrad", {"nb_samples": samples}),
        "var_grad": ("VarGrad", {"nb_samples": samples}),
        "square_grad": ("SquareGrad", {"nb_samples": samples}),
        "integrated_gradients": ("IntegratedGradients", {"steps": samples}),
        "grad_cam": ("GradCAM", {}),
        "grad_cam_plus_plus": ("GradCAMPP", {}),
    }
    if name not in classes:
        return None
    title, options = classes[name]
    explainer = getattr(attributions, title)(model, **options)
    labels = np.eye(model.output.shape[-1], dtype="float32")[[0] * len(x)]
    return lambda inputs: explainer(inputs, labels)


def _tf_keras_vis(
    name: str, model: keras.Model, x: tf.Tensor, samples: int
) -> Callable | None:
    names = {
        "saliency": ("saliency", "Saliency", {}),
        "smooth_grad": ("saliency", "Saliency", {"smooth_samples": samples}),
        "grad_cam": ("gradcam", "Gradcam", {}),
        "grad_cam_plus_plus": ("gradcam_plus_plus", "GradcamPlusPlus", {}),
        "layer_cam": ("layercam", "Layercam", {}),
        "score_cam": ("scorecam", "Scorecam", {"max_N": samples}),
    }
    if name not in names:
        return None
    module, title, options = names[name]
    cls = getattr(importlib.import_module(f"tf_keras_vis.{module}"), title)
    scores = importlib.import_module("tf_keras_vis.utils.scores")
    modifiers = importlib.import_module("tf_keras_vis.utils.model_modifiers")
    explainer = cls(model, model_modifier=modifiers.ReplaceToLinear())
    score = scores.CategoricalScore([0] * len(x))
    return lambda inputs: explainer(score, inputs.numpy(), **options)
