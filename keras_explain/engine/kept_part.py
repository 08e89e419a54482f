"""What does not depend on the inputs, computed once and kept between calls.

A reference is the same at every call, and so is what a model makes of it, as
long as its weights are the same. Whether they are is looked up at each call,
as a model may train in between: a fingerprint of each variable takes one
look at it, where a layer with a kernel may use it thousands of times.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_explain.engine.graph import Graph
from keras_explain.engine.interception import TRACE_LOCK
from keras_explain.engine.linear import is_linear

# To look at a weight takes as long as to use it so often in a convolution.
WORTHWHILE = 32
# Variables of more values get fingerprints of their own, which as many
# threads can take as there are parts.
_LARGE = 1 << 16
_PARTS = 16
# These do nothing but read variables, whose fingerprints are taken.
_READING = {"ReadVariableOp", "ResourceGather", "ResourceGatherNd"}


def pays(model: keras.Model, graph: Graph) -> bool:
    """Whether a run of one sample takes longer than a look at the weights."""
    if tf.config.list_logical_devices("GPU"):
        return False  # fingerprints are taken on the processor
    uses = sum(_uses(call.operation, call.shape) for call in graph.layers)
    return uses >= WORTHWHILE * max(model.count_params(), 1)


def _uses(operation: object, shape: tuple[int | None, ...] | None) -> int:
    """How many products a layer with a kernel makes of one sample."""
    if not is_linear(operation) or shape is None:
        return 0
    first = getattr(operation, "data_format", None) == "channels_first"
    places = [n or 1 for n in (shape[2:] if first else shape[1:-1])]
    kernels = ("kernel", "depthwise_kernel", "pointwise_kernel")
    found = [getattr(operation, name, None) for name in kernels]
    size = sum(math.prod(k.shape) for k in found if k is not None)
    return size * math.prod(places)


class KeptPart:
    """A computation whose results are kept until what it reads changes.

    It holds what its variables held when they were last looked at, which takes
    no memory until they change.

    Args:
        compute: `(*tensors) -> [tensors]`, called under trace.
        tensors: What it is given first; later ones are alike.

    Attributes:
        depends_on_no_more: Whether it depends on its tensors and on variables
            alone. Not if it draws random numbers, looks into a table or
            calls Python: then its results must not be kept.
    """

    def __init__(
        self,
        compute: Callable[..., Sequence[tf.Tensor]],
        tensors: Sequence[tf.Tensor],
    ):
        specs = [tf.TensorSpec(t.shape, t.dtype) for t in tensors]
        with TRACE_LOCK, tf.init_scope():
            self._function = _traced(compute, *specs)
            variables = self._function.variables
            self._read = _traced(lambda: [v.read_value() for v in variables])
            self._look_at_tensors = _traced(_fingerprint, *specs)
            self._look_at_weights = _traced(
                lambda: _fingerprint(*[v.read_value() for v in variables])
            )
        self.depends_on_no_more = self._is_pure()
        self._lock = threading.Lock()
        self._held: list[np.ndarray] = []
        self._seen: tuple[bytes, bytes] | None = None
        self._results: list[tf.Tensor] = []

    def _is_pure(self) -> bool:
        graph = self._function.graph
        known = {id(v.handle) for v in self._function.variables}
        resources = [
            outside
            for outside, _ in graph.captures
            if outside.dtype in (tf.resource, tf.variant)
        ]
        return all(id(t) in known for t in resources) and not any(
            op.op_def.is_stateful and op.type not in _READING
            for op in graph.get_operations()
        )

    def results(self, tensors: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        """Returns what it makes of the tensors and the weights as they are."""
        with self._lock:
            # What is held is not freed: nothing else can have its address.
            read = [np.asarray(value) for value in self._read()]
            if self._seen is None or _addresses(read) != _addresses(self._held):
                weights = _bytes(self._look_at_weights())
            else:
                weights = self._seen[0]
            seen = weights, _bytes(self._look_at_tensors(*tensors))
            if seen != self._seen:
                # So that there are never two of them, and none of weights
                # that are gone if it is interrupted.
                self._seen, self._results = None, []
                self._results = list(self._function(*tensors))
            self._seen, self._held = seen, read
            return self._results

    def forget(self) -> None:
        """Lets the results go; they are computed again when asked for."""
        with self._lock:
            self._seen, self._results, self._held = None, [], []


def _traced(function: Callable, *specs: tf.TensorSpec) -> Any:
    made = tf.function(function, autograph=False)
    return made.get_concrete_function(*specs)


def _bytes(fingerprint: tf.Tensor) -> bytes:
    return fingerprint.numpy().tobytes()


def _addresses(arrays: Sequence[np.ndarray]) -> list[int]:
    return [array.__array_interface__["data"][0] for array in arrays]


def _fingerprint(*tensors: tf.Tensor) -> tf.Tensor:
    """Eight bytes for all that is in some tensors."""
    found: list[tf.Tensor] = []
    small: dict[tf.DType, list[tf.Tensor]] = {}
    for tensor in tensors:
        flat = tf.reshape(tensor, [-1])
        size = flat.shape.num_elements()
        if size is None or size < _LARGE:
            small.setdefault(tensor.dtype, []).append(flat)
            continue
        # Rows of a tensor are taken out of it without a copy.
        rows = math.gcd(size, _PARTS)
        parts = tf.reshape(flat, [rows, -1])
        found += [tf.fingerprint(parts[k : k + 1]) for k in range(rows)]
    found += [tf.fingerprint(tf.concat(s, 0)[None]) for s in small.values()]
    if not found:
        return tf.zeros([1, 8], tf.uint8)
    return tf.fingerprint(tf.reshape(tf.concat(found, 0), [1, -1]))
