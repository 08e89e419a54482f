"""How a gradient passes one operation when it is not to pass as usual.

A `Rule` gives one call another backward pass and leaves its forward pass as
it is. Methods that modify the backward pass (guided backpropagation, and the
relevance methods) are assignments of rules to calls, nothing else.
"""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import tensorflow as tf

from keras_explain.engine.folding import Fold
from keras_explain.engine.graph import Call, Graph
from keras_explain.engine.relevance import Shares, connect, cut

# Elementwise functions by the name of the class or function that computes
# them. The kinks of the first group are at zero (and at a cap): the gradient
# is a gate there, which is what guided rules act on.
RELU_FAMILY = {
    "ReLU",
    "Relu",
    "relu",
    "ReLU6",
    "Relu6",
    "relu6",
    "LeakyReLU",
    "LeakyRelu",
    "leaky_relu",
    "PReLU",
}
SMOOTH_FAMILY = {
    "ELU", "Elu", "elu", "Selu", "selu", "Celu", "celu", "Gelu", "gelu",
    "Silu", "silu", "swish", "Glu", "glu", "Softplus", "softplus",
    "Softsign", "softsign", "SoftShrink", "soft_shrink", "HardShrink",
    "hard_shrink", "Sigmoid", "sigmoid", "LogSigmoid", "log_sigmoid",
    "HardSigmoid", "hard_sigmoid", "HardSilu", "hard_silu", "hard_swish",
    "Tanh", "tanh", "HardTanh", "hard_tanh", "TanhShrink", "tanh_shrink",
    "Exponential", "exponential", "Mish", "mish", "SquarePlus",
    "squareplus", "SparsePlus", "sparse_plus", "Threshold", "threshold",
}  # fmt: skip
# The ops TensorFlow computes them with; found outside an intercepted call,
# they are out of the reach of any rule.
RAW_RELU = frozenset({"Relu", "Relu6", "LeakyRelu"})


class Place(NamedTuple):
    """Where a rule is to act.

    Attributes:
        call: The call.
        graph: The recorded run it is part of.
        fold: What is folded into it.
        reached: Indices of the calls that depend on what is attributed to,
            and of the call whose output that is (or `INPUT`).
    """

    call: Call
    graph: Graph
    fold: Fold
    reached: frozenset[int]

    @property
    def signals(self) -> tuple[bool, ...]:
        """Whether each argument depends on what is attributed to."""
        return tuple(
            not self.reached.isdisjoint(makers)
            for makers in self.call.arguments
        )


class Rule(Protocol):
    """Gives a call another backward pass.

    Attributes:
        splits: Whether the rule is for the linear part of a layer, so that
            an activation the layer holds is a call of its own.
        reads: `"proportional"` if an input of zero receives nothing,
            `"transparent"` if it does so where its output, then zero,
            receives nothing, else empty.
    """

    splits: bool
    reads: str

    def prepared(self, place: Place) -> Rule | None:
        """Returns the rule for one call, before anything runs.

        Here a rule takes what is known without running: the layer and its
        weights, what feeds it (are the inputs non-negative?), and what is
        folded into it. `None` leaves the call alone.
        """

    def apply(
        self,
        function: Callable,
        args: tuple,
        kwargs: dict[str, Any],
        sink: tf.Tensor | None = None,
    ) -> Any:
        """Returns `function(*args, **kwargs)` with a modified gradient.

        Args:
            function: The operation's own call.
            args, kwargs: Its arguments.
            sink: Takes the relevance that no input receives, see
                `engine.relevance`.
        """


class ReadyRule:
    """Base of rules that are ready to be applied at a call."""

    splits = False
    reads = ""

    def prepared(self, place: Place) -> Rule | None:
        return self  # type: ignore[return-value]  # it has `apply`


@dataclasses.dataclass(frozen=True)
class ActivationRule(ReadyRule):
    """A rule for an elementwise nonlinearity `y = f(x)`.

    Attributes:
        name: What it is called in messages.
        backward: `(upstream, x, gradient) -> downstream`, where
            `gradient(u)` is what the function itself would pass down for
            `u`. All are tensors of the shape of `x`.
        loses: Whether what is not passed down counts as lost, as it does of
            relevance.
        whole: Whether all of it is passed down where `x` is positive.
    """

    name: str
    backward: Callable[[tf.Tensor, tf.Tensor, Callable], tf.Tensor]
    loses: bool = False
    whole: bool = False

    def apply(
        self,
        function: Callable,
        args: tuple,
        kwargs: dict[str, Any],
        sink: tf.Tensor | None = None,
    ) -> tf.Tensor:
        x = cut(args[0])
        y = function(x, *args[1:], **kwargs)

        def gradient(upstream: tf.Tensor) -> tf.Tensor:
            return tf.gradients(y, x, upstream)[0]

        def backward(upstream: tf.Tensor) -> Shares:
            passed = self.backward(upstream, x, gradient)
            return Shares([passed], [upstream - passed] if self.loses else [])

        return connect(y, args[:1], backward, sink)


@dataclasses.dataclass(frozen=True)
class Observe(ReadyRule):
    """Changes nothing, and keeps what a call is given and returns.

    Attributes:
        kept: `{name: (args, kwargs, outputs)}` it is written to.
        name: Under which name.
    """

    kept: dict[Any, tuple[tuple, dict[str, Any], Any]]
    name: Any

    def apply(
        self,
        function: Callable,
        args: tuple,
        kwargs: dict[str, Any],
        sink: tf.Tensor | None = None,
    ) -> Any:
        outputs = function(*args, **kwargs)
        self.kept[self.name] = (args, kwargs, outputs)
        return outputs


@dataclasses.dataclass(frozen=True)
class Folded(ReadyRule):
    """The rule of a call that is part of the linear layer before it."""

    def apply(
        self,
        function: Callable,
        args: tuple,
        kwargs: dict[str, Any],
        sink: tf.Tensor | None = None,
    ) -> Any:
        return args[0]


def pulled(
    function: Callable[..., tf.Tensor],
    inputs: Sequence[tf.Tensor],
    given: tf.Tensor,
) -> list[tf.Tensor | None]:
    """Returns the gradient of a function, without a look at the model.

    TensorFlow looks at all that depends on what it differentiates for, which
    for a tensor of the model is the rest of the model: to trace a deep one
    would take minutes. Of copies nothing else depends. For functions whose
    gradient does not need their value, which then is not computed again.
    """
    copies = [tf.identity(x) for x in inputs]
    return tf.gradients(function(*copies), copies, given)


class Division(NamedTuple):
    """A call whose relevance is to be divided among its arguments.

    Attributes:
        inputs: Its arguments in floats, cut off from the model.
        signals: Whether each of them depends on what is attributed to.
        output: What the call made of them.
        again: `(*inputs) -> output`, the call on other arguments.
        rerun: `(inputs, **changed)`, all that the call returns with some
            of its arguments changed by name, if it has them.
    """

    inputs: list[tf.Tensor]
    signals: list[bool]
    output: tf.Tensor
    again: Callable[..., tf.Tensor]
    rerun: Callable[..., Any]

    def pull(self, given: tf.Tensor) -> list[tf.Tensor | None]:
        """What the plain gradient passes to the inputs."""
        return pulled(self.again, self.inputs, given)


class TensorRule:
    """Base of rules that divide what an output has among several inputs.

    A rule defines `divide`. What it gives to arguments that do not depend
    on what is attributed to, such as constants, goes nowhere; `divide` has to
    count it as lost.
    """

    splits = False
    reads = ""

    def prepared(self, place: Place) -> Rule | None:
        return PlacedTensorRule(self, place.signals)

    def running(self) -> contextlib.AbstractContextManager:
        """Within this context the call is run."""
        return contextlib.nullcontext()

    def finish(
        self, output: tf.Tensor, inputs: Sequence[tf.Tensor]
    ) -> tf.Tensor:
        """What the call hands on: its output, or with a ReLU folded in.

        Args:
            output: What the call made.
            inputs: Of its arguments in floats.
        """
        return output

    def divide(self, at: Division, relevance: tf.Tensor) -> Shares:
        raise NotImplementedError


@dataclasses.dataclass(frozen=True)
class PlacedTensorRule(ReadyRule):
    """A `TensorRule` at one call.

    Attributes:
        rule: The rule.
        signals: Whether each tensor argument depends on what is attributed
            to.
    """

    rule: TensorRule
    signals: tuple[bool, ...]

    def apply(
        self,
        function: Callable,
        args: tuple,
        kwargs: dict[str, Any],
        sink: tf.Tensor | None = None,
    ) -> Any:
        flat = tf.nest.flatten((args, kwargs))
        tensors = [k for k, t in enumerate(flat) if tf.is_tensor(t)]
        floats = [k for k in tensors if flat[k].dtype.is_floating]
        signals = [self.signals[tensors.index(k)] for k in floats]
        given = [flat[k] for k in floats]

        def run(inputs: Sequence[tf.Tensor], **changed: Any) -> Any:
            again = list(flat)
            for k, value in zip(floats, inputs, strict=True):
                again[k] = value
            a, k = tf.nest.pack_sequence_as((args, kwargs), again)
            if not changed:
                return function(*a, **k)
            signature = inspect.signature(function)
            bound = signature.bind(*a, **k)
            bound.arguments.update(
                {n: v for n, v in changed.items() if n in signature.parameters}
            )
            return function(*bound.args, **bound.kwargs)

        inside = [cut(tensor) for tensor in given]
        with self.rule.running():
            outputs = run(inside)

        def connected(number: int, output: Any) -> Any:
            if not (tf.is_tensor(output) and output.dtype.is_floating):
                return output

            def again(*inputs: tf.Tensor) -> tf.Tensor:
                return tf.nest.flatten(run(inputs))[number]

            at = Division(inside, signals, output, again, run)
            handed_on = self.rule.finish(output, inside)
            return connect(
                handed_on, given, lambda r: self.rule.divide(at, r), sink
            )

        made = [
            connected(number, output)
            for number, output in enumerate(tf.nest.flatten(outputs))
        ]
        return tf.nest.pack_sequence_as(outputs, made)
