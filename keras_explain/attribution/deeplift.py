"""DeepLIFT and DeepSHAP: the difference from a reference, divided."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_explain.attribution.background import (
    check_background,
    fit_background,
    parts_of,
)
from keras_explain.attribution.differences import (
    Difference,
    DifferenceExplainer,
    Known,
    differences,
    run_of_reference,
    stands_alone,
)
from keras_explain.attribution.kept_reference import (
    KeptReference,
    KeptReferences,
)
from keras_explain.engine import sampling
from keras_explain.engine.baselines import fit_baseline
from keras_explain.engine.catalogue import register
from keras_explain.engine.explainer import Attribution
from keras_explain.engine.graph import Graph
from keras_explain.engine.kept_part import pays
from keras_explain.engine.score import ScoreFunction
from keras_explain.engine.targets import Target
from keras_explain.rules.reveal_cancel import check_rule

_each = tf.nest.map_structure


@register(
    "deep_lift",
    family="deep_lift",
    title="DeepLIFT",
    paper="Shrikumar et al., 2017",
    cost="1.5 gradients",
)
class DeepLIFT(DifferenceExplainer):
    """The difference of the score from that of a reference, divided.

    Use it for contributions that add up at the price of one backward pass,
    also where the gradient is flat: a saturated unit still differs from the
    reference. They sum to the score of the input minus the score of the
    reference; `Explanation.delta` is what is missing. Costs a forward pass
    more than a gradient, and next to nothing more if the reference is the
    same for all samples: what the model makes of it is kept from call to
    call, activations of one sample, until a weight changes.

        contribution = (x - r) m

    where the multiplier `m` passes each nonlinearity `y = f(x)` as
    `m (f(x) - f(r)) / (x - r)` (rescale).

    Differs from the paper: products, softmax, attention, normalizations and
    maxima have exact rules of their own, each for one sample alone;
    recurrent layers get the gradient averaged on the straight line between
    both of their inputs, complete up to the quadrature. Multipliers of equal
    values are gradients. With `layer=` what passes the layer by stays as it
    is for the inputs. Models of tokens are explained at their embedding,
    with one value for each token.

    Args:
        model, layer: See `Explainer`.
        baseline: The reference, in the units of the inputs: a number; an
            array of the shape of one sample, or with one row for each
            sample; a list or dict of those for several inputs; or a function
            `inputs -> baseline`. Of tokens it is a number of the vocabulary.
        rule: `"rescale"`; `"reveal_cancel"`, which treats what raises a unit
            and what lowers it apart, wherever a nonlinearity follows a layer
            with a kernel; or `"genomics_default"`, rescale behind
            convolutions and reveal-cancel behind dense layers.

    Output shape:
        That of the inputs (or of the layer's output; `(batch, steps)` for
        tokens). Signed; units of the score.

    Raises:
        ValueError: If the baseline does not fit or equals an input, if there
            is no such `rule`, or if the model has an operation that no rule
            is known for.

    Example:

    >>> explainer = keras_explain.DeepLIFT(model, baseline=0.0)
    >>> explanation = explainer.explain(images, target=3)
    >>> bool(abs(explanation.delta).max() < 1e-4)
    True

    References:
        Shrikumar, Greenside, Kundaje, 2017. Learning Important Features
        Through Propagating Activation Differences.
        https://arxiv.org/abs/1704.02685
    """

    def __init__(
        self,
        model: keras.Model,
        *,
        baseline: Any = 0.0,
        rule: str = "rescale",
        layer: Any = None,
    ):
        super().__init__(model, layer=layer)
        self.baseline = baseline
        self.rule = check_rule(rule)
        self._references = KeptReferences()

    def _extra(
        self, inputs: Any, rows: slice | None, graph: Graph
    ) -> dict[str, Any]:
        baseline = self.baseline
        if callable(baseline):
            return {"references": _fitted(baseline(inputs), inputs, None)}
        if _is_shared(baseline, inputs):
            first = _each(lambda t: t[:1], inputs)
            return {"reference": _fitted(baseline, first, None)}
        return {"references": _fitted(baseline, inputs, rows)}

    def _kept(
        self, specs: Any, graph: Graph, target: Target, extra: dict[str, Any]
    ) -> dict[str, Any]:
        if "reference" not in extra or not tf.executing_eagerly():
            return {}
        reference = extra["reference"]

        def make() -> KeptReference | None:
            if not self._keeps(specs, graph):
                return None
            return self._kept_reference(graph, target, reference)

        key = self._run_key(graph, target, specs)
        tensors = self._references.tensors(key, graph, reference, make)
        return {} if tensors is None else {"known": tensors}

    def _run_key(self, graph: Graph, target: Target, inputs: Any) -> Any:
        """Calls of one key have runs on the reference of one structure."""
        kinds = [(str(t.shape[1:]), t.dtype) for t in tf.nest.flatten(inputs)]
        layers = tuple(target.layers())
        return tuple(kinds), id(graph), layers, self._probabilities

    def _keeps(self, specs: Any, graph: Graph) -> bool:
        """Whether a run on the reference is to be kept between calls."""
        flat = tf.nest.flatten(specs)
        return (
            all(s.dtype.is_floating for s in flat)
            and all(s.shape[1:].is_fully_defined() for s in flat)
            and stands_alone(graph, self._call(graph))
            and pays(self.model, graph)
        )

    def _kept_reference(
        self, graph: Graph, target: Target, reference: Any
    ) -> KeptReference | None:
        def run(reference: Any) -> Known:
            function = ScoreFunction(
                model=self.model,
                graph=graph,
                inputs=reference,
                target=target,
                parameters=[],
                probabilities=bool(self._probabilities),
            )
            return run_of_reference(self._bind(function))

        found = KeptReference(run, reference)
        return found if found.can_be_kept else None

    def _attribute(self, function: ScoreFunction) -> Attribution:
        extra, known = function.extra, None
        shared = "reference" in extra
        if shared:  # said where it can be seen without running
            reference = _each(_one_row, extra["reference"])
        else:
            reference = extra["references"]
        if "known" in extra:
            key = self._run_key(
                function.graph, function.target, function.inputs
            )
            known = self._references.known(key, extra["known"])
        found = differences(function, reference, shared, known)
        return self._finished(function, found)


def _one_row(tensor: tf.Tensor) -> tf.Tensor:
    return tf.ensure_shape(tensor[:1], [1, *tensor.shape[1:]])


def _parts(baseline: Any, inputs: Any) -> list[Any]:
    if not isinstance(baseline, dict) and np.isscalar(baseline):
        return [baseline] * len(tf.nest.flatten(inputs))
    return parts_of(baseline, inputs)


def _fitted(baseline: Any, inputs: Any, rows: slice | None) -> Any:
    """A baseline in the structure and shape of the inputs."""
    flat = [
        # As an array: a list would be taken for one of several inputs.
        fit_baseline(tf.convert_to_tensor(part), tensor, rows)
        for part, tensor in zip(
            _parts(baseline, inputs), tf.nest.flatten(inputs), strict=True
        )
    ]
    return tf.nest.pack_sequence_as(inputs, flat)


def _is_shared(baseline: Any, inputs: Any) -> bool:
    """Whether a baseline is the same for all samples."""
    return all(
        np.ndim(part) < tensor.shape.rank or np.shape(part)[0] == 1
        for part, tensor in zip(
            _parts(baseline, inputs), tf.nest.flatten(inputs), strict=True
        )
    )


@register(
    "deep_shap",
    family="deep_lift",
    title="DeepSHAP",
    paper="Lundberg & Lee, 2017",
    cost="1.5 gradients per reference",
)
class DeepSHAP(DifferenceExplainer):
    """`DeepLIFT` averaged over a background: approximate Shapley values.

    Use it where no single reference stands for "nothing there": the
    background shows what inputs usually look like. Contributions sum to the
    score minus the mean score of the background. Costs one and a half
    gradients for each row of the background; memory is that of one.

        contribution = mean_k DeepLIFT(x, background_k)

    Differs from the implementation of the authors as `DeepLIFT` does, and
    the sum is checked relative to what is summed.

    Args:
        model, layer: See `Explainer`.
        background: `(rows, ...)` array of inputs, or a list or dict of them
            for several inputs; 10 to 100 rows are usual. `None` is one row
            of zeros, which makes it `DeepLIFT`.

    Output shape:
        That of the inputs (or of the layer's output; `(batch, steps)` for
        tokens). Signed; units of the score.

    Raises:
        ValueError: If the background is empty or does not fit, if all of it
            equals an input, or if the model has an operation that no rule is
            known for.

    Example:

    >>> background = np.random.default_rng(0).normal(size=(5, 8, 8, 3))
    >>> explainer = keras_explain.DeepSHAP(model, background=background)
    >>> bool(abs(explainer.explain(images).delta).max() < 1e-4)
    True

    References:
        Lundberg, Lee, 2017. A Unified Approach to Interpreting Model
        Predictions. https://arxiv.org/abs/1705.07874
    """

    def __init__(
        self, model: keras.Model, *, background: Any = None, layer: Any = None
    ):
        super().__init__(model, layer=layer)
        check_background(background)
        self.background = background

    def _extra(
        self, inputs: Any, rows: slice | None, graph: Graph
    ) -> dict[str, Any]:
        return {"background": fit_background(self.background, inputs)}

    def _attribute(self, function: ScoreFunction) -> Attribution:
        at = function.seen_from(function.call, {}).evaluate()
        function = function.settled(at.indices)
        background = function.extra["background"]
        number = tf.shape(tf.nest.flatten(background)[0])[0]

        def one(ids: tf.Tensor) -> Any:
            row = _each(lambda t: _one_row(tf.gather(t, ids)), background)
            found = differences(function, row, shared=True)
            return found.values, found.start, found.distance

        # One reference at a time, whatever the batch.
        sums = sampling.accumulate(one, number, 1, tf.constant(1))
        values, start, distance = _each(
            lambda s: s / tf.cast(number, s.dtype), sums
        )
        found = Difference(values, at, start, distance)
        return self._finished(function, found)
