"""Layer-wise relevance propagation and deep Taylor decomposition."""

from __future__ import annotations

import dataclasses
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_explain.attribution.relevance import RelevanceExplainer
from keras_explain.engine.catalogue import register
from keras_explain.engine.composites import Composite
from keras_explain.engine.errors import message
from keras_explain.engine.graph import Call, Graph
from keras_explain.engine.linear_rule import LinearRule
from keras_explain.engine.rules import Observe, Rule
from keras_explain.engine.score import ScoreFunction
from keras_explain.engine.terms import Bound
from keras_explain.rules.lrp import check_box
from keras_explain.rules.recipes import as_composite

# How far outside a box a value may be, relative to the box, and pass for
# rounding.
_SLACK = 1e-4
# A scale below this maps pixels of up to 255 to small numbers.
_PIXEL_SCALE = 0.05


class _Boxed(RelevanceExplainer):
    """Base of the methods whose first layer may know bounds of its input.

    Args:
        model, layer: See `Explainer`.
        low, high: Bounds of the model's inputs.
    """

    def __init__(
        self, model: keras.Model, low: Any, high: Any, layer: Any
    ) -> None:
        super().__init__(model, layer=layer)
        check_box(low, high)
        self.low = low
        self.high = high

    def _bounds(self, graph: Graph) -> tuple[Any, Any] | None:
        """The bounds of the model's inputs, if they are known."""
        if self.low is not None:
            return self.low, self.high
        layer = graph.rescaling
        if layer is not None and np.max(np.abs(layer.scale)) < _PIXEL_SCALE:
            return 0.0, 255.0  # a model that rescales first is given pixels
        return None

    def _ready(
        self, function: ScoreFunction
    ) -> tuple[ScoreFunction, dict[str, tf.Tensor]]:
        rules, notes = dict(function.rules), {}
        plain = function.seen_from(None, {})
        for call in function.graph.calls:
            table = getattr(rules.get(call.key), "rule", None)
            bounds = _bounds_of(table)
            if bounds is None:
                continue
            low, high = bounds
            at = _before(call, plain)
            if low is None:
                low, high = self._carried(call, plain)
                rules[call.key] = _placed(rules[call.key], low, high)
            _check_fits(low, high, at)
            slack = _SLACK * (tf.cast(high, at.dtype) - low)
            outside = (at < low - slack) | (at > high + slack)
            notes["outside"] = tf.reduce_any(
                outside, list(range(1, at.shape.rank))
            )
        return dataclasses.replace(function, rules=rules), notes

    def _carried(
        self, call: Call, plain: ScoreFunction
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """The bounds of the model's inputs, carried on to a call."""
        bounds = self._bounds(plain.graph)
        if bounds is None:
            raise ValueError(
                message(
                    "The z-B rule needs the bounds of the inputs.",
                    "low=None, high=None",
                    "Pass the smallest and the largest value that the inputs "
                    "can have after preprocessing: `low=-1, high=1`.",
                )
            )
        sides = []
        for x in tf.nest.flatten(plain.inputs):
            _check_fits(*bounds, x)
        for bound in bounds:
            inputs = tf.nest.map_structure(
                lambda x, bound=bound: (
                    tf.zeros_like(x[:1]) + tf.cast(bound, x.dtype)
                ),
                plain.inputs,
            )
            sides.append(_before(call, plain.at(inputs)))
        # A rescaling may turn the box around.
        return tf.minimum(*sides), tf.maximum(*sides)

    def _check(self, notes: dict[str, tf.Tensor]) -> None:
        outside = np.nonzero(np.asarray(notes.get("outside", [])))[0]
        if outside.size:
            raise ValueError(
                message(
                    "Some inputs lie outside the box of the z-B rule, where "
                    "its relevance means nothing.",
                    f"samples {outside[:8].tolist()}, low={self.low}, "
                    f"high={self.high}",
                    "Pass bounds that hold all inputs, or clip the inputs. "
                    "Those of a `ZBox(low, high)` are for what its layer is "
                    "given; write `ZBox()` to have those of the inputs.",
                )
            )


def _check_fits(low: Any, high: Any, at: tf.Tensor) -> None:
    """Raises `ValueError` unless bounds broadcast to what they bound."""
    for bound in (low, high):
        shape = tf.TensorShape(
            bound.shape if tf.is_tensor(bound) else np.shape(bound)
        )
        try:
            found = tf.broadcast_static_shape(shape, at.shape)
        except ValueError:
            found = None
        if found is None or found.rank != at.shape.rank:
            raise ValueError(
                message(
                    "The bounds of the z-B rule do not fit the inputs.",
                    f"a bound of shape {shape} for inputs of shape {at.shape}",
                    "Pass numbers, or one value for each channel.",
                )
            )


def _bounds_of(table: Any) -> tuple[Any, Any] | None:
    if not isinstance(table, LinearRule):
        return None
    found = {
        term.inputs.upper: term.inputs.value
        for group in table.groups
        for term in group.terms
        if isinstance(term.inputs, Bound)
    }
    return (found[False], found[True]) if found else None


def _before(call: Call, function: ScoreFunction) -> tf.Tensor:
    """What a call is given."""
    kept: dict[str, Any] = {}
    function.seen_from(None, {call.key: Observe(kept, "")}).activations([])
    args, _, _ = kept[""]
    return tf.cast(args[0], tf.float32)


def _placed(placed: Any, low: tf.Tensor, high: tf.Tensor) -> Rule:
    def bounded(term: Any) -> Any:
        if not isinstance(term.inputs, Bound):
            return term
        side = high if term.inputs.upper else low
        return dataclasses.replace(
            term, inputs=dataclasses.replace(term.inputs, value=side)
        )

    groups = tuple(
        dataclasses.replace(group, terms=tuple(map(bounded, group.terms)))
        for group in placed.rule.groups
    )
    rule = dataclasses.replace(placed.rule, groups=groups)
    return dataclasses.replace(placed, rule=rule)


@register(
    "lrp",
    family="relevance",
    title="LRP",
    paper="Bach et al., 2015",
    cost="1-2 gradients",
    needs="kernels",
)
class LRP(_Boxed):
    """The score, divided among the inputs layer by layer.

    Use it for sharp, signed maps of what the network builds its decision
    from, on any architecture. What each layer passes down is chosen by a
    composite; relevance is conserved but for what biases and stabilizers
    take, and `delta` says how well. Costs one gradient with `"epsilon"`, one
    and a half with `"epsilon_plus_flat"`, two with `"alpha2_beta1"`.

        R_i = sum_j  c_ij / (sum_i c_ij)  R_j

    with contributions `c_ij` that depend on the rule (see
    `keras_explain.rules`): `x_i w_ij` for `Epsilon`, its positive part for
    `ZPlus`. Relevance starts as the explained logit.

    A batch normalization next to a layer with a kernel is folded into it.
    Attention passes relevance through its values (CP-LRP); for AttnLRP pass
    `rules.relevance_composite(..., attention="attn_lrp")`.

    Composites by name, most used first: `"epsilon_plus_flat"`,
    `"epsilon_gamma_box"`, `"epsilon_alpha2_beta1"`,
    `"epsilon_alpha2_beta1_flat"`, `"epsilon_plus"`, `"epsilon"`,
    `"alpha1_beta0"`, `"alpha2_beta1"`, `"z_plus"`, `"deep_taylor"`.

    Args:
        model, layer: See `Explainer`.
        composite: A name, or a `keras_explain.rules.Composite`.
        low, high: Bounds of the inputs for the z-B rule: numbers, or arrays
            such as one value for each channel. `None` for 0 and 255 where
            the model begins with a `Rescaling`.

    Output shape:
        That of the inputs (or of the layer's output). Signed, in units of
        the score. Of tokens one value for each.

    Raises:
        ValueError: If there is no such composite, the model has an operation
            for which no rule is known (see `rules.register`), no layer with
            a kernel, or the target is a probability.

    Example:

    >>> explainer = keras_explain.LRP(model, composite="epsilon")
    >>> found = explainer.explain(images)
    >>> found.attributions.shape
    (2, 8, 8, 3)
    >>> bool(abs(found.delta).max() < 1e-4)
    True

    References:
        Bach et al., 2015. On Pixel-Wise Explanations for Non-Linear
        Classifier Decisions by Layer-Wise Relevance Propagation.
        https://doi.org/10.1371/journal.pone.0130140
        Montavon et al., 2019. Layer-Wise Relevance Propagation: An Overview.
        https://doi.org/10.1007/978-3-030-28954-6_10
        Kohlbrenner et al., 2020. Towards Best Practice in Explaining Neural
        Network Decisions with LRP (the composites).
        https://arxiv.org/abs/1910.09840
    """

    def __init__(
        self,
        model: keras.Model,
        *,
        composite: str | Composite = "epsilon_plus_flat",
        low: Any = None,
        high: Any = None,
        layer: Any = None,
    ):
        super().__init__(model, low, high, layer)
        as_composite(composite)
        self.composite = composite

    def _composite(self, graph: Graph) -> Composite:
        return as_composite(self.composite, self._bounds(graph) is not None)


@register(
    "deep_taylor",
    family="relevance",
    title="Deep Taylor decomposition",
    paper="Montavon et al., 2017",
    cost="1.5 gradients",
    needs="kernels",
)
class DeepTaylor(_Boxed):
    """What speaks for the score, by Taylor expansion of each unit.

    Use it for a map without negative values on a network of ReLUs. It is LRP
    with the rules that the expansion gives: `ZPlus` inside, `ZBox` at inputs
    with bounds such as pixels, `WSquare` at inputs without. Costs two
    forward passes and one backward pass.

        R_i = sum_j  x_i w_ij+ / (sum_i x_i w_ij+)  R_j

    The theory is for positive scores and for biases that are not positive;
    biases are left out, so that relevance is conserved.

    Args:
        model, layer: See `Explainer`.
        low, high: Bounds of the inputs; `None` for 0 and 255 where the model
            begins with a `Rescaling`, and for no bounds elsewhere.

    Output shape:
        That of the inputs (or of the layer's output), in units of the
        score, and of its sign.

    Raises:
        ValueError: As `LRP`; or if inputs lie outside the bounds.

    Example:

    >>> explainer = keras_explain.DeepTaylor(model, low=-5, high=5)
    >>> explainer(images).shape
    TensorShape([2, 8, 8, 3])

    References:
        Montavon et al., 2017. Explaining nonlinear classification decisions
        with deep Taylor decomposition.
        https://doi.org/10.1016/j.patcog.2016.11.008
    """

    def __init__(
        self,
        model: keras.Model,
        *,
        low: Any = None,
        high: Any = None,
        layer: Any = None,
    ):
        super().__init__(model, low, high, layer)

    def _composite(self, graph: Graph) -> Composite:
        return as_composite("deep_taylor", self._bounds(graph) is not None)
