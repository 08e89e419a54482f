"""Methods that change what passes back through the nonlinearities."""

from __future__ import annotations

from typing import ClassVar

from keras_explain.attribution.gradient import Gradient
from keras_explain.engine.catalogue import register
from keras_explain.engine.composites import Composite, kinds
from keras_explain.engine.diagnosis import warn
from keras_explain.engine.errors import candidates, message
from keras_explain.engine.graph import Call, Graph
from keras_explain.engine.rules import (
    RAW_RELU,
    RELU_FAMILY,
    SMOOTH_FAMILY,
    Rule,
)
from keras_explain.rules.relu import DeconvNet as DeconvNetRule
from keras_explain.rules.relu import GuidedReLU


class _ModifiedReLU(Gradient):
    """The gradient, with a rule at every ReLU."""

    composite: ClassVar[Composite]

    def _rules(self, graph: Graph) -> dict[tuple[str, int], Rule]:
        name = type(self).__name__
        _refuse_raw(graph, name)
        rules = self.composite.assign(graph)
        if not rules:
            raise ValueError(
                message(
                    f"{name} acts on ReLUs, and the model has none: the map "
                    "would be the plain gradient.",
                    f"nonlinearities {_smooth(graph) or 'none'}",
                    "Use `Gradient` or `SmoothGrad`.",
                )
            )
        others = _smooth(graph)
        if others:
            warn(
                f"{name} acts on the {len(rules)} ReLUs of the model only; "
                f"the gradient passes these as usual: {others}."
            )
        return rules


def _refuse_raw(graph: Graph, name: str) -> None:
    """A ReLU that no rule can reach would give a silently wrong map."""
    raw = [
        call.path or "the model's own `call`"
        for call in graph.calls
        if call.op_types & RAW_RELU
        and call.kind not in RELU_FAMILY | SMOOTH_FAMILY
        and call.on_path
    ]
    if raw:
        raise ValueError(
            message(
                f"{name} cannot reach a ReLU that is called as a raw op.",
                f"such calls in {candidates(dict.fromkeys(raw))}",
                "Use a layer there (`keras.layers.ReLU()`), or an "
                "`activation='relu'` argument.",
            )
        )


def _smooth(graph: Graph) -> str:
    """Names the other nonlinearities, the final one set aside."""
    found = [c for c in graph.calls if c.on_path and c.kind in SMOOTH_FAMILY]
    if any(head.kind == "sigmoid" for head in graph.heads):
        found = [c for c in found if not _is_last(c, graph)]
    return candidates(
        dict.fromkeys(f"{call.kind} of {call.path}" for call in found), 6
    )


def _is_last(call: Call, graph: Graph) -> bool:
    later = [c for c in graph.calls[call.index + 1 :] if c.on_path]
    return call.kind.lower() == "sigmoid" and all(
        call.index in c.parents or call.path.startswith(c.path) for c in later
    )


@register(
    "guided_backprop",
    family="backprop",
    title="Guided backpropagation",
    paper="Springenberg et al., 2015",
    cost="1 gradient",
    needs="ReLUs",
)
class GuidedBackprop(_ModifiedReLU):
    """The gradient along paths on which every step speaks for the class.

    Use it for sharp pictures of what the strongest units respond to. It is
    known to say more about the picture than about the class: compare it with
    another class before you believe it. Costs one forward and one backward
    pass.

        passed down = 1[x > 0] * max(0, passed from above)

    A ReLU with a slope or a cap keeps its own gradient in place of the step.
    The final softmax is set aside.

    Args:
        model, layer: See `Explainer`.

    Output shape:
        That of the inputs (or of the layer's output). Signed.

    Raises:
        ValueError: If the model has no ReLU, or one that is out of reach
            because it is called as a raw TensorFlow op.

    Example:

    >>> explainer = keras_explain.GuidedBackprop(model)
    >>> explainer(images).shape
    TensorShape([2, 8, 8, 3])

    References:
        Springenberg et al., 2015. Striving for Simplicity: The All
        Convolutional Net. https://arxiv.org/abs/1412.6806
    """

    composite = Composite(((kinds(*RELU_FAMILY), GuidedReLU),))


@register(
    "deconvnet",
    family="backprop",
    title="DeconvNet",
    paper="Zeiler & Fergus, 2014",
    cost="1 gradient",
    needs="ReLUs",
)
class DeconvNet(_ModifiedReLU):
    """The class projected back through a network of deconvolutions.

    Use it to see what a network of ReLUs and max pooling can draw of a
    class. The gate of the forward pass is ignored; the switches of max
    pooling are kept. Costs one forward and one backward pass.

        passed down = max(0, passed from above)

    The final softmax is set aside.

    Args:
        model, layer: See `Explainer`.

    Output shape:
        That of the inputs (or of the layer's output). Signed.

    Raises:
        ValueError: As `GuidedBackprop`.

    Example:

    >>> explainer = keras_explain.DeconvNet(model)
    >>> explainer(images).shape
    TensorShape([2, 8, 8, 3])

    References:
        Zeiler, Fergus, 2014. Visualizing and Understanding Convolutional
        Networks. https://arxiv.org/abs/1311.2901
    """

    composite = Composite(((kinds(*RELU_FAMILY), DeconvNetRule),))
