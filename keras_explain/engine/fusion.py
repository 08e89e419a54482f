"""Arithmetic on large tensors in one pass over memory.

TensorFlow runs each operation on its own, so that `a * (b + c) / d` reads and
writes three tensors where one would do; on a processor that waits for memory,
rules made of such steps cost as much as convolutions. XLA makes one loop of
them. It compiles for one shape, which takes about as long as a few calls, so
a function is compiled for the batch that an explainer sees first; batches of
other sizes take the operations one by one, with the same result.

One rule ends in arithmetic, and the next begins with it. What the first makes
may be *absorbable*: a pass that reads it does that work as well, and reads
what it was made of. TensorFlow does not run what nobody reads, so that the
tensor between both rules is never written.
"""

from __future__ import annotations

import contextlib
import contextvars
import functools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import tensorflow as tf

# Tensors of fewer values than this are not worth compiling for: to start what
# is compiled takes as long as a few operations on so many. A long chain of them
# is worth it for a quarter of that.
WORTHWHILE = 1 << 20
# So many tensors are read in a pass, with what it absorbs.
MOST_READ = 8


class _Plan(NamedTuple):
    """What a pass computes.

    Attributes:
        function: Of tensors by position, and of options by name.
        options: Its options.
        sources: For each of its tensors the place among those that the pass
            reads, or the plan that makes it and which of its results it is.
    """

    function: Callable
    options: tuple[tuple[str, Any], ...]
    sources: tuple[int | tuple[_Plan, int], ...]

    def run(self, *read: tf.Tensor) -> Any:
        given = [
            read[source]
            if isinstance(source, int)
            else _listed(source[0].run(*read))[source[1]]
            for source in self.sources
        ]
        return self.function(*given, **dict(self.options))

    def moved(self, places: Sequence[int]) -> _Plan:
        """The same, where what it reads lies at other places."""
        sources = tuple(
            places[source]
            if isinstance(source, int)
            else (source[0].moved(places), source[1])
            for source in self.sources
        )
        return self._replace(sources=sources)


class _Made(NamedTuple):
    """How an absorbable tensor is made.

    Attributes:
        plan: Of the pass that made it.
        read: What that read.
        number: Which of the results it is.
    """

    plan: _Plan
    read: list[tf.Tensor]
    number: int


class Compilation:
    """What is compiled while a model is traced for its first batch.

    Args:
        rows: Number of samples of that batch, `None` if it is not known.
    """

    def __init__(self, rows: int | None):
        self.rows = rows
        self._functions: dict[Any, Callable] = {}
        self._is_first: tf.Tensor | None = None
        self._absorbable: dict[Any, _Made] = {}
        self._sums: dict[Any, tf.Tensor] = {}

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
            self._absorbable.clear()
            self._sums.clear()

    def call(
        self,
        plan: _Plan,
        tensors: Sequence[tf.Tensor],
        otherwise: Callable | None,
    ) -> Any:
        """Runs a plan, compiled, if it is the first batch that runs."""
        other = plan
        if otherwise is not None:
            other = plan._replace(function=otherwise, options=())
        compiled = self._compiled(plan, tensors)
        return self.choose(
            lambda: compiled(*tensors), lambda: other.run(*tensors)
        )

    def choose(self, first: Callable, other: Callable) -> Any:
        """Calls one of two functions, the first if it is the first batch."""
        return tf.cond(self._is_first, first, other)

    def compiled(
        self, function: Callable, *tensors: tf.Tensor, **options: Any
    ) -> Any:
        """Calls a function compiled, for the first batch alone."""
        plan = _plan(function, tensors, options)
        return self._compiled(plan, tensors)(*tensors)

    def _compiled(self, plan: _Plan, tensors: Sequence[tf.Tensor]) -> Callable:
        specs = tuple(tf.TensorSpec(t.shape, t.dtype) for t in tensors)
        key = (plan, specs)
        if key not in self._functions:
            made = tf.function(plan.run, jit_compile=True, autograph=False)
            self._functions[key] = made.get_concrete_function(*specs)
        return self._functions[key]

    def absorbing(
        self,
        plan: _Plan,
        tensors: Sequence[tf.Tensor],
        otherwise: Callable | None,
        absorbable: bool,
    ) -> Any:
        """Runs a plan, and what made its tensors where that is absorbable."""
        plan, read = self._widened(plan, tensors)
        results = self.call(plan, read, otherwise)
        if absorbable:
            for number, tensor in enumerate(_listed(results)):
                self._absorbable[tensor.ref()] = _Made(plan, read, number)
        return results

    def _widened(
        self, plan: _Plan, tensors: Sequence[tf.Tensor]
    ) -> tuple[_Plan, list[tf.Tensor]]:
        """A plan with what it absorbs, and the tensors that it reads."""
        read: list[tf.Tensor] = []

        def place(tensor: tf.Tensor) -> int:
            for number, known in enumerate(read):
                if known is tensor:
                    return number
            read.append(tensor)
            return len(read) - 1

        sources: list[Any] = []
        for number, tensor in enumerate(map(self._summed, tensors), 1):
            made = self._absorbable.get(tensor.ref())
            room = MOST_READ - len(read) - (len(tensors) - number)
            if made is None or len(made.read) > room:
                sources.append(place(tensor))
                continue
            places = [place(t) for t in made.read]
            sources.append((made.plan.moved(places), made.number))
        return plan._replace(sources=tuple(sources)), read

    def _summed(self, tensor: tf.Tensor) -> tf.Tensor:
        """The tensor; a sum of what is absorbable as one pass of its own.

        Which is where a tensor of the model is read twice, so that several
        passes will read the sum: it is written once, and not absorbed.
        """
        parts = _parts(tensor)
        if not any(part.ref() in self._absorbable for part in parts):
            return tensor
        if tensor.ref() not in self._sums:
            plan = _plan(_sum, parts, {})
            self._sums[tensor.ref()] = self.absorbing(plan, parts, None, False)
        return self._sums[tensor.ref()]

    def origins(self, tensor: tf.Tensor) -> list[tf.Tensor]:
        """See `origins`."""
        made = self._absorbable.get(tensor.ref())
        if made is not None:
            return made.read
        found = [o for part in _parts(tensor) for o in self.origins(part)]
        return found or [tensor]

    def pays(self, tensors: Sequence[tf.Tensor], long: bool) -> bool:
        """Whether tensors are large, as far as their shapes are known."""
        shapes = [t.shape[1:] for t in tensors]
        known = all(shape.is_fully_defined() for shape in shapes)
        values = max(map(math.prod, shapes)) if known else 0
        least = WORTHWHILE // 4 if long else WORTHWHILE
        return values * (self.rows or 0) >= least


_CURRENT: contextvars.ContextVar[Compilation | None] = contextvars.ContextVar(
    "compilation", default=None
)


def in_one_pass(
    function: Callable,
    *tensors: tf.Tensor,
    otherwise: Callable | None = None,
    absorbing: bool = True,
    absorbable: bool = False,
    long: bool = False,
    **options: Any,
) -> Any:
    """Calls a function so that it makes one pass over memory, where it pays.

    Args:
        function: Of tensors by position, and of options by name. It must
            not depend on anything else.
        tensors: Their first axis is the batch.
        otherwise: Does the same with the tensors where nothing is compiled;
            `None` for the function itself.
        absorbing: Whether the pass does the work of absorbable ones before.
        absorbable: Whether passes that read the results may compute them
            again, for arithmetic that is done value by value.
        long: Whether it is of so many operations, or needs so much memory for
            them, that it pays for smaller tensors as well.
        options: Of the function, which can be hashed.
    """
    compilation = _CURRENT.get()
    if compilation is None or not compilation.pays(tensors, long):
        return (
            otherwise(*tensors) if otherwise else function(*tensors, **options)
        )
    plan = _plan(function, tensors, options)
    if not absorbing:
        return compilation.call(plan, tensors, otherwise)
    return compilation.absorbing(plan, tensors, otherwise, absorbable)


def for_few(
    rows: int,
    looped: Callable[[Callable, int], Any],
    otherwise: Callable[[], Any],
) -> Any:
    """Chooses between compiled functions and operations.

    Args:
        rows: Of how many samples the first batch is at the most, if compiled
            functions are to run for it.
        looped: Makes the result, with what it is given to compile with,
            `(function, *tensors, **options)`, as in `in_one_pass` but for
            tensors of any kind, and the number of samples.
        otherwise: Makes the same, where nothing is compiled.
    """
    compilation = _CURRENT.get()
    if compilation is None or (compilation.rows or 0) > rows:
        return otherwise()
    return compilation.choose(
        lambda: looped(compilation.compiled, compilation.rows or 0), otherwise
    )


def origins(tensor: tf.Tensor) -> list[tf.Tensor]:
    """What has to be there before a tensor can be.

    To wait for an absorbable tensor itself would have it made.
    """
    compilation = _CURRENT.get()
    return [tensor] if compilation is None else compilation.origins(tensor)


def _parts(gradient: tf.Tensor) -> list[tf.Tensor]:
    """What TensorFlow added up to a gradient; nothing if it is no sum."""
    summed = tf.is_symbolic_tensor(gradient) and gradient.op.type == "AddN"
    return list(gradient.op.inputs) if summed else []


def _plan(
    function: Callable, tensors: Sequence[tf.Tensor], options: dict[str, Any]
) -> _Plan:
    given = tuple(sorted(options.items()))
    return _Plan(function, given, tuple(range(len(tensors))))


def _sum(*parts: tf.Tensor) -> tf.Tensor:
    return tf.add_n(parts)


def _listed(results: Any) -> Sequence[tf.Tensor]:
    return [results] if tf.is_tensor(results) else results


@functools.cache
def _is_available() -> bool:
    # Operations are not the bottleneck of a GPU in the same way, and XLA
    # needs tools there that TensorFlow does not come with.
    has_gpu = bool(tf.config.list_logical_devices("GPU"))
    return tf.test.is_built_with_xla() and not has_gpu
