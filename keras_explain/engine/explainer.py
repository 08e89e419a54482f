"""The one door of every attribution method."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any, ClassVar, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from keras_explain.engine import batching, checks, diagnosis
from keras_explain.engine.class_target import Class, as_target
from keras_explain.engine.explanation import Explanation
from keras_explain.engine.fusion import Compilation
from keras_explain.engine.graph import Call, Graph
from keras_explain.engine.interception import TRACE_LOCK
from keras_explain.engine.recording import record
from keras_explain.engine.rules import Rule
from keras_explain.engine.score import Evaluation, ScoreFunction
from keras_explain.engine.shapes import Shapes
from keras_explain.engine.targets import Target

# Compiled functions that an explainer keeps: one for each kind of input and of
# target. Those of targets without end, such as all units of a layer in turn,
# make room for each other.
_MOST_FUNCTIONS = 32


class Attribution(NamedTuple):
    """What the mathematics of a method returns.

    Attributes:
        values: The attributions, in the structure of the point or a map.
        evaluation: The run on the inputs as they are.
        delta: `(batch,)` completeness error, if the method is complete.
        notes: Tensors that `Explainer._check` wants to see.
        details: What else was found, a row for each sample: it ends up in
            `Explanation.details`.
    """

    values: Any
    evaluation: Evaluation
    delta: tf.Tensor | None = None
    notes: dict[str, tf.Tensor] = {}
    details: dict[str, Any] = {}


class Explainer:
    """Explains the score of a target by what went into it.

    Every method is used in the same two ways:

        maps = explainer(images, target=None)          # tensors
        explanation = explainer.explain(images)        # NumPy and pictures

    The model is not changed, and its weights are read at every call, so that
    an explainer follows a model that trains. The computation is compiled
    once for each rank and dtype of the inputs.

    Args:
        model: A built `keras.Model` of any kind. Not changed.
        layer: Layer, or its path (`"backbone/conv5"`, `"encoder:0"` for the
            first of several calls), to attribute to the output of; `None`
            for the inputs. A class activation map uses this layer, and with
            `None` the last feature map of the model.

    Call arguments:
        inputs: `(batch, ...)` array or tensor, as the model takes it after
            preprocessing; a list or dict for models with several inputs.
        target: `None` for the class predicted for each sample; a class
            index; an array of one for each sample; or a
            `keras_explain.Target`.

    Raises:
        TypeError: If the model is no Keras 3 model.
        ValueError: If the model is not built, the inputs do not fit it or
            hold NaN or infinity, or there is no such layer or class.
    """

    catalogue_name: ClassVar[str] = ""
    # Rows a model sees at once in methods that take many samples of a batch.
    batch_size = 32
    # Whether negative attributions speak against the target; without them a
    # picture needs one color only.
    signed = True
    # Whether inputs of each size have a trace of their own.
    each_size = False
    # Whether the completeness error takes time; then only `explain` finds it.
    delta_costs = False

    def __init__(self, model: keras.Model, *, layer: Any = None):
        checks.check_model(model)
        self.model = model
        self.layer = layer
        # With what is part of the key by identity, to keep it from being
        # taken for something new.
        self._functions: dict[Any, tuple] = {}
        self._compiled_for = Shapes(self.each_size)
        self._probabilities: bool | None = None

    # What follows is Python that traces; converting it would only be slow.
    @tf.autograph.experimental.do_not_convert
    def __call__(self, inputs: Any, target: Any = None) -> Any:
        """Returns the attributions as tensors; also inside `tf.function`."""
        wanted = "maps" if self.delta_costs else "all"
        return self._run(inputs, as_target(target), wanted=wanted)["maps"]

    def explain(
        self,
        data: Any,
        target: Any = None,
        batch_size: int = 32,
        verbose: bool | str = "auto",
    ) -> Explanation:
        """Explains data of any length in batches.

        Args:
            data: Array, list, dict, `tf.data.Dataset` or `PyDataset` of
                inputs, or of `(inputs, labels)`, which are left aside.
            target: As in a call; an array has one index for each sample.
            batch_size: Most samples in memory at once.
            verbose: Whether to show a progress bar; `"auto"` where there is
                more than one batch and someone to see it.

        Returns:
            An `Explanation`, in NumPy.
        """
        with batching.progress(data, batch_size, verbose) as advance:
            parts = []
            for part in self.stream(data, target, batch_size):
                parts.append(part)
                advance()
        return Explanation.concatenate(parts)

    def stream(
        self, data: Any, target: Any = None, batch_size: int = 32
    ) -> Iterator[Explanation]:
        """Explains data of any length, and hands out batch by batch.

        Nothing is kept, so that memory does not grow with the data.

        Args:
            data, target, batch_size: As for `explain`.

        Yields:
            An `Explanation` of each batch, in order.
        """
        target = as_target(target)
        for inputs, rows in batching.batches(data, batch_size):
            results = self._run(inputs, target.rows(rows), rows)
            layer = results.pop("layer")
            found = tf.nest.map_structure(np.asarray, results)
            yield Explanation(
                inputs=tf.nest.map_structure(np.asarray, inputs),
                attributions=found["maps"],
                target=found.get("index"),
                scores=found["score"],
                method=self.catalogue_name,
                config=self.get_config(),
                layer=layer,
                probabilities=found.get("probability"),
                delta=found.get("delta"),
                signed=self.signed,
                details=found.get("details", {}),
            )

    def __repr__(self) -> str:
        options = ", ".join(
            f"{name}={value!r}" for name, value in self.get_config().items()
        )
        return f"<{type(self).__name__} of {self.model.name!r}, {options}>"

    def get_config(self) -> dict[str, Any]:
        """Returns the options, such that JSON can hold them."""
        return {
            name: _plain(getattr(self, name)) for name in self._option_names()
        }

    @classmethod
    def from_config(
        cls, model: keras.Model, config: dict[str, Any]
    ) -> Explainer:
        """Makes an explainer of `model` with options of `get_config`."""
        return cls(model, **config)

    @classmethod
    def _option_names(cls) -> list[str]:
        parameters = inspect.signature(cls.__init__).parameters.values()
        return [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]

    # What a method defines.

    def _attribute(self, function: ScoreFunction) -> Attribution:
        """The mathematics, under trace."""
        raise NotImplementedError

    def _call(self, graph: Graph) -> Call | None:
        """The call whose output is attributed to; `None` for the inputs."""
        return None if self.layer is None else graph.find(self.layer)

    def _rules(self, graph: Graph) -> dict[tuple[str, int], Rule]:
        """The rules of the backward pass."""
        return {}

    def _extra(
        self, inputs: Any, rows: slice | None, graph: Graph
    ) -> dict[str, Any]:
        """Tensors of this batch beyond its inputs, such as a baseline."""
        return {}

    def _kept(
        self, specs: Any, graph: Graph, target: Target, extra: dict[str, Any]
    ) -> dict[str, Any]:
        """More of them, which are computed and kept from call to call."""
        return {}

    def _check(self, notes: dict[str, tf.Tensor]) -> None:
        """Raises or warns about what the computation noticed."""

    def _check_delta(self, results: dict[str, Any], graph: Graph) -> None:
        """Warns where a completeness error is larger than it should be."""

    # What the engine does with it.

    def _bind(self, function: ScoreFunction) -> ScoreFunction:
        """Returns the function seen from this method's layer and rules."""
        return function.seen_from(
            self._call(function.graph), self._rules(function.graph)
        )

    def _run(
        self,
        inputs: Any,
        target: Target,
        rows: slice | None = None,
        wanted: str = "all",
    ) -> dict[str, Any]:
        checks.check_built(self.model)
        inputs = checks.standardize(self.model, inputs)
        flat = tf.nest.flatten(inputs)
        specs = self._compiled_for.of(inputs)
        with tf.init_scope():
            graph = record(self.model, specs)
        batch = flat[0].shape[0]
        target.check(graph, batch)
        self._look_at_unknown_head(inputs, graph)
        number = tf.shape(flat[0])[0] if batch is None else batch
        parameters = target.arguments(number, graph)
        extra = self._extra(inputs, rows, graph)
        extra |= self._kept(specs, graph, target, extra)
        arguments = (inputs, parameters, extra)
        function = self._compiled(arguments, specs, graph, target, wanted)
        results = function(*tf.nest.flatten(arguments))
        if tf.executing_eagerly():
            self._check(results["notes"])
            diagnosis.diagnose(results, inputs, graph, target)
            if "delta" in results:
                self._check_delta(results, graph)
        call = self._call(graph)
        results["layer"] = None if call is None else graph.address(call)
        for private in ("finite", "notes"):
            results.pop(private)
        return results

    def _look_at_unknown_head(self, inputs: Any, graph: Graph) -> None:
        """Finds out whether outputs of an unknown head are probabilities.

        It happens where a softmax is written out by hand, so that its logits
        are in no single tensor.
        """
        unknown = any(head.kind == "unknown" for head in graph.heads)
        if not unknown or self._probabilities is not None:
            return
        if not tf.executing_eagerly():
            return
        outputs = tf.nest.flatten(self.model(inputs, training=False))
        self._probabilities = any(map(diagnosis.sums_to_one, outputs))
        if self._probabilities:
            diagnosis.warn(
                "The outputs are probabilities, but the softmax that made "
                "them cannot be seen: the log probability is explained in "
                "place of the logit. End the model in a softmax layer or op."
            )

    def _compiled(
        self,
        arguments: Any,
        specs: Any,
        graph: Graph,
        target: Target,
        wanted: str,
    ) -> Callable:
        inputs, parameters, extra = arguments
        rest = tf.nest.map_structure(_open_spec, (parameters, extra))
        key = (
            repr(specs),
            repr(rest),
            target.signature(),
            id(graph),
            self._probabilities,
            wanted,
        )
        if key in self._functions:
            return self._functions[key][0]
        structure = (specs, *rest)
        compilation = Compilation(tf.nest.flatten(inputs)[0].shape[0])

        def compute(*flat: tf.Tensor) -> dict[str, Any]:
            given, values, more = tf.nest.pack_sequence_as(structure, flat)
            function = ScoreFunction(
                model=self.model,
                graph=graph,
                inputs=given,
                target=target,
                parameters=values,
                extra=more,
                probabilities=bool(self._probabilities),
            )
            with compilation.tracing(tf.nest.flatten(given)[0]):
                return self._results(self._bind(function), wanted)

        with TRACE_LOCK, tf.init_scope():
            made = tf.function(compute, autograph=False)
            concrete = made.get_concrete_function(*tf.nest.flatten(structure))
            while len(self._functions) >= _MOST_FUNCTIONS:
                self._functions.pop(next(iter(self._functions)))
            self._functions[key] = (concrete, graph, target, compilation)
        return concrete

    def _results(self, function: ScoreFunction, wanted: str) -> dict[str, Any]:
        """The tensors a compiled function returns.

        Args:
            function: What is explained.
            wanted: `"all"`, `"maps"`, which leaves the completeness error
                out, or what else a method knows to return.
        """
        found = self._attribute(function)
        finite = [
            tf.reduce_all(tf.math.is_finite(t))
            for t in tf.nest.flatten(function.inputs)
            if t.dtype.is_floating
        ]
        results = {
            "maps": found.values,
            "score": found.evaluation.score,
            "finite": tf.reduce_all(tf.stack(finite or [tf.constant(True)])),
            "notes": dict(found.notes),
        }
        if found.details and wanted == "all":
            results["details"] = dict(found.details)
        if isinstance(function.target, Class):
            results["index"] = found.evaluation.indices[0]
            if found.evaluation.probabilities[0] is not None:
                results["probability"] = found.evaluation.probabilities[0]
        if found.delta is not None and wanted == "all":
            results["delta"] = found.delta
        return results


def _open_spec(tensor: Any) -> tf.TensorSpec:
    tensor = tf.convert_to_tensor(tensor)
    shape = tensor.shape
    open_shape = [None, *shape[1:]] if shape.rank else []
    return tf.TensorSpec(open_shape, tensor.dtype)


def _plain(value: Any) -> Any:
    if isinstance(value, Explainer):
        return {"method": value.catalogue_name, "config": value.get_config()}
    if isinstance(value, keras.Layer):
        return value.name
    if isinstance(value, np.ndarray) or tf.is_tensor(value):
        return np.asarray(value).tolist()
    if callable(value):
        return getattr(value, "__name__", repr(value))
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    return repr(value)  # such as a composite of one's own
