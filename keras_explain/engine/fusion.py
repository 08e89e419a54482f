"""Arithmetic on large tensors in one pass over memory.

TensorFlow runs each operation on its own, so that `a * (b + c) / d` reads and
writes three tensors where one would do; on a processor that waits for memory,
rules made of such steps cost as much as convolutions. XLA makes one loop of
them. It compiles for one shape, which takes about as long as a few calls, so
a function is compiled for the batch that an explainer sees first; batches of
other sizes take the operations one by one, with the same result.
"""

from __future__ import annotations

import contextlib
import contextvars
import functools
import math
from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf

# Tensors of fewer values than this are not worth compiling for.
WORTHWHILE = 1 << 18


class Compilation:
    """What is compiled while a model is traced for its first batch.

    Args:
        rows: Number of samples of that batch, `None` if it is not known.
    """

    def __init__(self, rows: int | None):
        self.rows = rows
        self._functions: dict[Any, Callable] = {}
        self._is_first: tf.Tensor | None = None

    @contextlib.contextmanager
    def tracing(self, batch: tf.Tensor) -> Iterator[None]:
        """Within this context `in_one_pass` compiles.

        Args:
            batch: A tensor of the graph under trace whose first axis is the
                batch.
        """
        if self.rows is None or not _is_available():
            yield
            return
        self._is_first = tf.equal(tf.shape(batch)[0], self.rows)
        token = _CURRENT.set(self)
        try:
            yield
        finally:
            _CURRENT.reset(token)

    def call(
        self,
        function: Callable,
        tensors: tuple[tf.Tensor, ...],
        options: dict[str, Any],
        otherwise: Callable[[], Any],
    ) -> Any:
        """Calls a function, compiled, if it is the first batch that runs."""
        specs = tuple(tf.TensorSpec(t.shape, t.dtype) for t in tensors)
        key = (function, repr(options), specs)
        if key not in self._functions:
            plain = functools.partial(function, **options)
            made = tf.function(plain, jit_compile=True, autograph=False)
            self._functions[key] = made.get_concrete_function(*specs)
        compiled = self._functions[key]
        return tf.cond(self._is_first, lambda: compiled(*tensors), otherwise)

    def pays(self, tensors: tuple[tf.Tensor, ...]) -> bool:
        """Whether tensors are large, as far as their shapes are known."""
        shapes = [t.shape[1:] for t in tensors]
        known = all(shape.is_fully_defined() for shape in shapes)
        values = max(map(math.prod, shapes)) if known else 0
        return values * (self.rows or 0) >= WORTHWHILE


_CURRENT: contextvars.ContextVar[Compilation | None] = contextvars.ContextVar(
    "compilation", default=None
)


def in_one_pass(
    function: Callable,
    *tensors: tf.Tensor,
    otherwise: Callable[[], Any] | None = None,
    **options: Any,
) -> Any:
    """Calls a function so that it makes one pass over memory, where it pays.

    Args:
        function: Of tensors by position, and of options by name. It must
            not depend on anything else.
        tensors: Their first axis is the batch.
        otherwise: Does the same where nothing is compiled; `None` for the
            function itself.
        options: Of the function.
    """
    plain = otherwise or (lambda: function(*tensors, **options))
    compilation = _CURRENT.get()
    if compilation is None or not compilation.pays(tensors):
        return plain()
    return compilation.call(function, tensors, options, plain)


@functools.cache
def _is_available() -> bool:
    # Operations are not the bottleneck of a GPU in the same way, and XLA
    # needs tools there that TensorFlow does not come with.
    has_gpu = bool(tf.config.list_logical_devices("GPU"))
    return tf.test.is_built_with_xla() and not has_gpu
