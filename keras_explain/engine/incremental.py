"""Runs a model again where only a part of its input has changed.

The run on the input as it is leaves the output of each call. When a window
of the input changes, each convolution, pooling and elementwise operation has
to be run only on the piece of its input that the change has reached, with as
much around it as its kernel reads. What an operation that is not local gets
to see is the whole map, with the piece put into its place; from there on the
model runs as it always does, so that the result is the same for any model.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from keras_explain.engine import interception
from keras_explain.engine.graph import Graph
from keras_explain.engine.local_operations import LOWEST, Local, local
from keras_explain.engine.pieces import Chosen
from keras_explain.engine.receptive_field import Box, share
from keras_explain.engine.saving import LIMIT
from keras_explain.engine.score import ScoreFunction

_each = tf.nest.map_structure
# Ops that hand a tensor on, value by value.
_TRANSPARENT = {"Cast", "EnsureShape", "Identity"}


@dataclasses.dataclass(frozen=True)
class _Value:
    """A tensor of which a piece has changed for each window.

    Attributes:
        clean: As it was, `(1, ...)`.
        box: What can have changed; `None` for nothing.
        piece: `(k, *sizes, channels)`, the pieces as they are now.
    """

    clean: tf.Tensor
    box: Box | None = None
    piece: tf.Tensor | None = None


class Clean:
    """The run on one sample as it is.

    Args:
        function: What is explained, on the batch, its classes settled.
        row: Number of the sample.
        limit: Pieces that are at least this share of the map are not cut
            out.
    """

    def __init__(
        self, function: ScoreFunction, row: tf.Tensor, limit: float = LIMIT
    ):
        self.function = _one(function, row)
        self.limit = limit
        self.ends = _ends(function.graph)
        self.outputs: dict[Any, tf.Tensor] = {}
        recorder = _Recorder(self.outputs)
        with interception.intercept(function.model, recorder):
            self.point = self.function.evaluate().point

    def scores(
        self, number: int, values: tf.Tensor, chosen: Chosen, box: Box | None
    ) -> tf.Tensor:
        """Returns the scores with a part of the point replaced, `(k,)`.

        Args:
            number: Of the tensor of the point that changes.
            values: The new pieces `(k, *sizes, channels)`; without a box
                `(k, ...)`, the tensor as a whole.
            chosen: The windows.
            box: Where the pieces of all windows are.
        """
        run = _Run(self, chosen)
        given = tf.nest.flatten(self.point)
        tokens = [run.token(_Value(tensor)) for tensor in given]
        if box is None:
            tokens[number] = values
        else:
            tokens[number] = run.token(_Value(given[number], box, values))
        point = tf.nest.pack_sequence_as(self.point, tokens)
        many = self.function.repeated(chosen.times)
        if self.function.call is not None:
            inputs = _each(lambda t: run.token(_Value(t)), self.function.inputs)
            many = many.at(inputs)
        with interception.intercept(self.function.model, run):
            return many.evaluate(point).score


def collect(
    function: Callable[[tf.Tensor], tf.Tensor], number: int, rows: int
) -> tf.Tensor:
    """Joins `function(ids)`, one number for each id, over chunks.

    As `sampling.collect`, but traces the function once: with pieces that
    takes longer than to run it.

    Args:
        function: From `(k,)` int32 numbers to `(k,)` floats.
        number: How many there are.
        rows: Most of them at once.
    """
    parts = tf.TensorArray(
        tf.float32, -(-number // rows), infer_shape=False, element_shape=[None]
    )

    def body(step: tf.Tensor, parts: tf.TensorArray) -> tuple:
        ids = tf.range(step * rows, tf.minimum((step + 1) * rows, number))
        return step + 1, parts.write(step, function(ids))

    _, parts = tf.while_loop(
        lambda step, _: step * rows < number,
        body,
        (tf.constant(0), parts),
        parallel_iterations=1,
    )
    return tf.ensure_shape(parts.concat(), [number])


def _one(function: ScoreFunction, row: tf.Tensor) -> ScoreFunction:
    """Returns the function on one sample of the batch."""

    def chosen(tensor: tf.Tensor) -> tf.Tensor:
        tensor = tf.convert_to_tensor(tensor)
        if tensor.shape.rank == 0:
            return tensor
        return tf.gather(tensor, tf.reshape(row, [1]))

    return dataclasses.replace(
        function,
        inputs=_each(chosen, function.inputs),
        parameters=_each(chosen, function.parameters),
        extra={},
    )


def _ends(graph: Graph) -> frozenset[int]:
    """Identities of the operations that make outputs of the model.

    How the score is read off an output is seen from the op that made it, so
    that these are run as they are.
    """
    made = [graph.calls[index].operation for index in graph.calls[-1].makers]
    made += [call.operation for call in graph.calls if call.is_head]
    return frozenset(
        id(getattr(operation, "layer", operation))
        if isinstance(operation, interception.Inner)
        else id(operation)
        for operation in made
    )


class _Counter:
    """Counts the calls of each operation, to tell them apart."""

    def __init__(self) -> None:
        self._counts: dict[Any, int] = {}

    def key(self, operation: Any) -> Any:
        if isinstance(operation, interception.Inner):
            key: Any = (id(operation.layer), operation.name)
        else:
            key = id(operation)
        count = self._counts.get(key, 0)
        self._counts[key] = count + 1
        return (key, count)


class _Recorder(_Counter):
    """Keeps the outputs of calls that call nothing else."""

    def __init__(self, outputs: dict[Any, tf.Tensor]):
        super().__init__()
        self.outputs = outputs
        self.graph = tf.compat.v1.get_default_graph()
        self.calls = 0

    def __call__(
        self, operation: Any, call: Callable, *args: Any, **kwargs: Any
    ) -> Any:
        if tf.compat.v1.get_default_graph() is not self.graph:
            return call(*args, **kwargs)
        key = self.key(operation)
        fused = isinstance(operation, interception.FusedActivation)
        self.calls += not fused
        before = self.calls
        outputs = call(*args, **kwargs)
        is_leaf = self.calls == before
        if is_leaf and tf.is_tensor(outputs) and outputs.shape.rank:
            if outputs.shape[0] == 1:
                self.outputs[key] = outputs
        return outputs


class _Run(_Counter):
    """The handler of a run in which pieces have changed.

    The model is given whole tensors. Which of them are known piece by piece
    is written down beside; of a whole tensor that no one reads nothing is
    computed, since TensorFlow drops it.
    """

    def __init__(self, clean: Clean, chosen: Chosen):
        super().__init__()
        self.clean = clean
        self.chosen = chosen
        self.graph = tf.compat.v1.get_default_graph()
        self.known: dict[str, _Value] = {}

    def token(self, value: _Value) -> tf.Tensor:
        """Returns the whole tensor, and remembers what is known of it."""
        if value.box is None:
            whole = self.chosen.copies(value.clean)
        else:
            whole = self.chosen.whole(value.clean, value.piece, value.box)
        whole = tf.ensure_shape(whole, [None, *value.clean.shape[1:]])
        self.known[whole.name] = value
        return whole

    def __call__(
        self, operation: Any, call: Callable, *args: Any, **kwargs: Any
    ) -> Any:
        if tf.compat.v1.get_default_graph() is not self.graph:
            return call(*args, **kwargs)
        output = self.clean.outputs.get(self.key(operation))
        if id(operation) in self.clean.ends:
            output = None
        given = list(filter(_is_traced, tf.nest.flatten((args, kwargs))))
        found = [self._known(tensor) for tensor in given]
        values = [value for value in found if value is not None]
        if output is None or not values or len(values) < len(found):
            return call(*args, **kwargs)
        if all(value.piece is None for value in values):
            return self.token(_Value(output))
        piece = self._piece(operation, call, (args, kwargs), values, output)
        return call(*args, **kwargs) if piece is None else self.token(piece)

    def _known(self, tensor: tf.Tensor) -> _Value | None:
        if tensor.graph is not self.graph:
            return None
        dtype = tensor.dtype
        while tensor.name not in self.known:
            if tensor.op.type not in _TRANSPARENT:
                return None
            tensor = tensor.op.inputs[0]
        value = self.known[tensor.name]
        if dtype == value.clean.dtype:
            return value
        piece = None if value.piece is None else tf.cast(value.piece, dtype)
        return _Value(tf.cast(value.clean, dtype), value.box, piece)

    def _piece(
        self,
        operation: Any,
        call: Callable,
        given: tuple[Any, Any],
        values: list[_Value],
        output: tf.Tensor,
    ) -> _Value | None:
        """What becomes of the pieces; `None` if that is not local."""
        positions = {tuple(value.clean.shape[1:-1]) for value in values}
        boxes = [value.box for value in values if value.box is not None]
        if len(positions) != 1 or not _are_small(given):
            return None
        if len(boxes[0]) != len(positions.pop()):
            return None
        step = local(operation, boxes)
        if step is None or share(step.box) >= self.clean.limit:
            return None
        lengths = [span.length for span in step.box]
        if output.shape[1:-1] != lengths or output.shape[-1] is None:
            return None
        read = [self._read(value, step) for value in values]
        if step.compute is not None:
            return _Value(output, step.box, step.compute(*read[0]))
        pieces = iter(read)
        args, kwargs = _each(
            lambda x: next(pieces)[0] if _is_traced(x) else x, given
        )
        return _Value(output, step.box, call(*args, **kwargs))

    def _read(
        self, value: _Value, step: Local
    ) -> tuple[tf.Tensor, tf.Tensor | None]:
        """Cuts out what an operation reads, and says what is no padding."""
        reads = step.reads or [(span.start, span.size) for span in step.box]
        own = value.box
        if own is not None and all(
            size == span.size and np.array_equal(start, span.start)
            for (start, size), span in zip(reads, own, strict=True)
        ):
            return value.piece, None
        found = self.chosen.cut(value.clean, reads)
        if own is not None:
            found = self.chosen.put(found, reads, value.piece, own)
        inside = self.chosen.inside(reads, value.clean.shape[1:-1])
        if inside is not None:
            outside = found.dtype.min if step.padding == LOWEST else 0
            outside = tf.cast(outside, found.dtype)
            found = tf.where(inside, found, outside)
        return found, inside


def _is_traced(item: Any) -> bool:
    eager = tf.__internal__.EagerTensor
    return tf.is_tensor(item) and not isinstance(item, eager)


def _are_small(given: Any) -> bool:
    """Whether constants among the arguments are alike for all positions."""
    for item in tf.nest.flatten(given):
        if _is_traced(item) or not hasattr(item, "shape"):
            continue
        if len(item.shape) > 1:
            return False
    return True
