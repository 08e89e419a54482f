"""PatternNet and PatternAttribution: the signal behind what a model saw."""

from __future__ import annotations

from typing import Any

from keras_explain.attribution.pattern_fit import PatternExplainer
from keras_explain.engine.catalogue import register
from keras_explain.engine.composites import Composite, Selector, role
from keras_explain.engine.explainer import Attribution
from keras_explain.engine.graph import Graph
from keras_explain.engine.score import ScoreFunction
from keras_explain.rules.merging import Gate, Moving, Norm
from keras_explain.rules.pattern import Gated, Plain, Unscaled, narrows
from keras_explain.rules.recipes import linear
from keras_explain.rules.registry import Registered, is_registered
from keras_explain.rules.relu import Pass
from keras_explain.rules.winner import Winner


@register(
    "pattern_net",
    family="pattern",
    title="PatternNet",
    paper="Kindermans et al., 2018",
    cost="1 gradient after fit",
    needs="patterns",
)
class PatternNet(PatternExplainer):
    """The signal in the input that the score is read from.

    Use it to see what the model detects, as a picture, on a network of
    ReLUs: weights, and so gradients, also have to cancel what distracts from
    the signal. Costs one gradient, after one pass of `fit` over some
    thousand samples.

    A backward pass with patterns in place of weights, which starts with the
    explained score. The pattern of a unit `z = w x + b` is

        a = n / (w . n),   n = E+[x z] - E+[x] E[z]

    where `E+` is the mean over samples (and positions) with `z > 0` and `E`
    the mean over all. Batch normalizations are part of the layers they stand
    next to. Maxima go to the winner; ReLUs, sums and averages pass their
    gradient; a scaling is undone.

    Differs from the paper: only windows wholly inside the picture are
    counted, as padding is no data (that of a layer of its own, as in ResNet,
    is not seen); a unit that does not vary has the denominator one, which
    leaves it nothing; layers that no nonlinearity follows, such as the
    logits, are linear units, whatever `signal` says. Other nonlinearities
    pass their gradient, with a warning; attention and recurrence are
    refused. Each unit gives all of its signal back, so that signals grow
    from layer to layer; where they outgrow 1e12 the signal of a sample is
    divided by its largest value, and its map is right but for that factor.
    In DenseNets, whose layers all see each other, there is no such place,
    and a map may overflow. Patterns do not follow a model that trains on:
    call `fit` again.

    Args:
        model, layer: See `Explainer`.
        signal: When a unit in front of a nonlinearity counts as on:
            `"relu_positive"`, `"relu_negative"`, or `"linear"`, always.

    Output shape:
        That of the inputs (or of the layer's output). Signed; units of the
        inputs, times a factor for each sample.

    Raises:
        ValueError: If it is called before `fit`, or the model has
            operations that no pattern is known for.

    Example:

    >>> explainer = keras_explain.PatternNet(model).fit(images)
    >>> explainer(images, target=3).shape
    TensorShape([2, 8, 8, 3])
    >>> explainer.save("patterns.npz")
    >>> again = keras_explain.PatternNet.load(model, "patterns.npz")

    References:
        Kindermans et al., 2018. Learning how to explain neural networks:
        PatternNet and PatternAttribution. https://arxiv.org/abs/1705.05598
    """

    attributes = False
    delta_costs = False

    def _composite(self, graph: Graph) -> Composite:
        plain = Plain(narrows(graph))
        entries: tuple[tuple[Selector, Any], ...] = (
            (is_registered, Plain()),
            (linear, self._rule(graph)),
            (role("winner"), Winner),
            (role("affine", "activation", "product"), plain),
            (role("rescaling", "batch_normalization"), Unscaled),
        )
        return Composite(entries, folds=True)

    def _attribute(self, function: ScoreFunction) -> Attribution:
        # A signal adds up to nothing.
        return super()._attribute(function)._replace(delta=None)


@register(
    "pattern_attribution",
    family="pattern",
    title="PatternAttribution",
    paper="Kindermans et al., 2018",
    cost="1 gradient after fit",
    needs="patterns",
)
class PatternAttribution(PatternExplainer):
    """How much each part of the signal in the input adds to the score.

    Use it where a relevance should not depend on how a network cancels what
    distracts it. Costs one gradient, after one pass of `fit` over some
    thousand samples.

    A backward pass with weights times patterns, value by value, in place of
    weights, which starts with the explained score. As `w . a = 1` for each
    unit, relevance is conserved but for ReLUs that are closed, windows that
    reach into padding and units without a pattern; `Explanation.delta` is
    what these do not explain. For patterns, and for how this differs from
    the paper, see `PatternNet`; sums and averages divide relevance in
    proportion to what is positive: patterns do not know of branches that
    cancel.

    Args:
        model, layer: See `Explainer`.
        signal: See `PatternNet`.

    Output shape:
        That of the inputs (or of the layer's output). Signed; units of the
        score.

    Raises:
        ValueError: As `PatternNet`.

    Example:

    >>> explainer = keras_explain.PatternAttribution(model).fit(images)
    >>> explanation = explainer.explain(images, target=3)
    >>> bool(abs(explanation.delta).max() < 1e-5)
    True

    References:
        Kindermans et al., 2018. Learning how to explain neural networks:
        PatternNet and PatternAttribution. https://arxiv.org/abs/1705.05598
    """

    attributes = True

    def _composite(self, graph: Graph) -> Composite:
        entries: tuple[tuple[Selector, Any], ...] = (
            (is_registered, Registered),
            (linear, self._rule(graph)),
            (role("affine"), Norm(positive=True)),
            (role("winner"), Winner),
            (role("product"), Gate()),
            (role("activation"), Gated),
            (role("rescaling", "batch_normalization"), Pass),
            (role("moving"), Moving),
        )
        return Composite(entries, folds=True)
