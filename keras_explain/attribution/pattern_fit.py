"""Estimates patterns, keeps them, and holds them ready for a method."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Callable
from typing import Any, ClassVar

import keras
import numpy as np
import tensorflow as tf

from keras_explain.attribution.relevance import RelevanceExplainer
from keras_explain.engine import batching, checks
from keras_explain.engine.composites import Composite
from keras_explain.engine.diagnosis import warn
from keras_explain.engine.errors import candidates, message, near
from keras_explain.engine.execution import run
from keras_explain.engine.files import write_aside
from keras_explain.engine.graph import Call, Graph
from keras_explain.engine.interception import TRACE_LOCK
from keras_explain.engine.linear import linear_maps
from keras_explain.engine.missing_rules import describe
from keras_explain.engine.recording import record
from keras_explain.engine.roles import role_of
from keras_explain.engine.rules import RELU_FAMILY
from keras_explain.engine.weight_check import refuse_broken_weights
from keras_explain.rules.pattern import Pattern, PlacedPattern, narrows
from keras_explain.rules.pattern_statistics import (
    SIGNALS,
    Collect,
    Moments,
    Seen,
    members,
    parts,
)
from keras_explain.rules.recipes import linear


class PatternExplainer(RelevanceExplainer):
    """Base of the methods that look through patterns in place of weights.

    Patterns are estimated once by `fit`, on data like those the model was
    trained on, and kept in a file by `save`; both methods read it.
    """

    # Whether weights times patterns are taken in place of patterns alone.
    attributes: ClassVar[bool]

    def __init__(
        self,
        model: keras.Model,
        *,
        signal: str = "relu_positive",
        layer: Any = None,
    ):
        super().__init__(model, layer=layer)
        if signal not in SIGNALS:
            raise ValueError(
                message(
                    "There is no such signal.",
                    f"signal={signal!r}",
                    f"Pass one of {', '.join(map(repr, SIGNALS))}.",
                )
            )
        self.signal = signal
        # Compiled functions hold these; a new fit only changes their values.
        self._patterns: dict[str, tf.Variable] = {}
        self._collectors: dict[Any, tuple[Callable, Graph]] = {}
        self._known: Graph | None = None
        self._warned = False

    @property
    def patterns(self) -> dict[str, np.ndarray]:
        """The patterns by path of the layer, each in the kernel's shape.

        A separable convolution has two; a layer that is called several times
        has one, unless its calls differ in the batch normalization next to
        them or in the nonlinearity behind.
        """
        self._check_fitted()
        return {k: np.array(v.numpy()) for k, v in self._patterns.items()}

    def fit(
        self, data: Any, batch_size: int = 32, verbose: bool | str = "auto"
    ) -> PatternExplainer:
        """Estimates the patterns from data, in one pass over them.

        Memory does not grow with the data: two float64 sums are kept for
        each weight. Some thousand samples do for most models. A new `fit`
        takes the place of the last one; one that fails changes nothing.

        Args:
            data: As for `explain`; labels are left aside.
            batch_size: Most samples in memory at once.
            verbose: Whether to show a progress bar, as for `explain`.

        Returns:
            The explainer itself.

        Raises:
            ValueError: If there are no data, if they or the weights hold NaN
                or infinity, or if the model has no layer with a kernel, or
                operations that no pattern is known for.
        """
        checks.check_built(self.model)
        refuse_broken_weights(self.model)
        found: dict[str, Moments] = {}
        graph = None
        with batching.progress(
            data, batch_size, verbose, "Estimating patterns"
        ) as advance:
            for inputs, _ in batching.batches(data, batch_size):
                inputs = checks.standardize(self.model, inputs)
                collect, graph = self._collector(inputs)
                finite, means = collect(*tf.nest.flatten(inputs))
                self._check_finite(bool(finite), "the data")
                for name, batch in means:
                    moments = found.setdefault(str(name), Moments())
                    moments.add(batch)
                advance()
        self._install(self._estimated(graph, found))
        return self

    def _collector(self, inputs: Any) -> tuple[Callable, Graph]:
        """The compiled function that returns the means over a batch."""
        specs = self._compiled_for.of(inputs)
        graph = record(self.model, specs)
        key = repr(specs), id(graph)
        if key in self._collectors:
            return self._collectors[key]
        self._look(graph)
        names: list[str] = []

        def means(*flat: tf.Tensor) -> Any:
            seen: list[Seen] = []
            rule: Any = Collect(members(graph, self.signal), seen)
            composite = Composite(((linear, rule),), folds=True)
            given = tf.nest.pack_sequence_as(specs, flat)
            run(self.model, given, rules=composite.assign(graph))
            finite = [
                tf.reduce_all(tf.math.is_finite(t))
                for t in flat
                if t.dtype.is_floating
            ]
            names[:] = [note.name for note in seen]
            return tf.reduce_all(finite), [note.means() for note in seen]

        with TRACE_LOCK:
            concrete = tf.function(means, autograph=False)
            concrete = concrete.get_concrete_function(*tf.nest.flatten(specs))

        def collect(*flat: tf.Tensor) -> Any:
            finite, found = concrete(*flat)
            return finite, zip(names, found, strict=True)

        self._collectors[key] = collect, graph
        return self._collectors[key]

    def _estimated(
        self, graph: Any, found: dict[str, Moments]
    ) -> dict[str, np.ndarray]:
        rule: Any = Pattern({}, members(graph, self.signal), self.attributes)
        rules = Composite(((linear, rule),), folds=True).assign(graph)
        patterns = {}
        for placed in rules.values():
            if not isinstance(placed, PlacedPattern):
                continue  # a batch normalization that is folded away
            maps = placed.maps(placed.layer.call, {})
            names = parts(placed.member.name, maps)
            for name, each in zip(names, maps, strict=True):
                kernel = np.asarray(each.parameters()[0], np.float64)
                patterns[name] = found[name].pattern(kernel)
                self._check_finite(
                    bool(np.all(np.isfinite(patterns[name]))),
                    f"what layer {name!r} computes",
                )
        return patterns

    def _check_finite(self, finite: bool, where: str) -> None:
        if not finite:
            raise ValueError(
                message(
                    "Patterns cannot be estimated from NaN or infinity.",
                    f"NaN or infinite values in {where}",
                    "Clean the data first: `np.nan_to_num(data)`.",
                )
            )

    def _install(self, patterns: dict[str, np.ndarray]) -> None:
        installed = {}
        for name, value in patterns.items():
            value = value.astype(np.float32)
            variable = self._patterns.get(name)
            if variable is None or tuple(variable.shape) != value.shape:
                variable = tf.Variable(value, trainable=False)
            else:
                variable.assign(value)
            installed[name] = variable
        self._patterns = installed

    def save(self, path: str | os.PathLike) -> None:
        """Writes the patterns to a `.npz` file.

        Args:
            path: File to write; an existing one is replaced.
        """
        patterns = self.patterns
        about = {"signal": self.signal, "names": list(patterns)}
        arrays: dict[str, Any] = {
            f"pattern_{k}": v for k, v in enumerate(patterns.values())
        }
        arrays["patterns"] = np.array(json.dumps(about))
        write_aside(path, lambda file: np.savez(file, **arrays))

    @classmethod
    def load(
        cls, model: keras.Model, path: str | os.PathLike, *, layer: Any = None
    ) -> PatternExplainer:
        """Makes an explainer with the patterns of a file.

        Args:
            model: The model they were estimated for.
            path: File that `save` of either method wrote.
            layer: See `Explainer`.

        Raises:
            ValueError: If the file holds no patterns, or those of another
                model; the layer is named. Of a model that does not state
                its inputs it is found out at the first call.
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                about = json.loads(str(file["patterns"]))
                patterns = {
                    name: file[f"pattern_{k}"]
                    for k, name in enumerate(about["names"])
                }
        except (zipfile.BadZipFile, KeyError, ValueError, TypeError) as error:
            raise ValueError(
                message(
                    "The file holds no patterns.",
                    f"path={os.fspath(path)!r}",
                    "Pass one that `PatternNet.save` wrote.",
                )
            ) from error
        explainer = cls(model, signal=about["signal"], layer=layer)
        checks.check_built(model)
        explainer._install(patterns)
        specs = _specs(model)
        if specs is not None:
            explainer._compare(record(model, specs))
        return explainer

    def _compare(self, graph: Graph) -> None:
        """Raises unless the patterns are those of the model's layers."""
        wanted = {}
        for index, member in members(graph, self.signal).items():
            layer = graph.calls[index].operation
            maps = linear_maps(layer, layer.call)
            for name, each in zip(parts(member.name, maps), maps, strict=True):
                wanted[name] = tuple(each.kernel().shape)
        have = {k: tuple(v.shape) for k, v in self._patterns.items()}
        for name in [*wanted, *have]:
            if wanted.get(name) != have.get(name):
                raise ValueError(
                    message(
                        "The patterns were estimated for another model: "
                        f"layer {name!r} does not fit.",
                        f"a pattern of shape {have.get(name)} for a kernel "
                        f"of shape {wanted.get(name)}",
                        f"Layers of the model: {near(name, wanted)}. Call "
                        "`fit` on data of this model.",
                    )
                )

    def _check_fitted(self) -> None:
        if not self._patterns:
            raise ValueError(
                message(
                    f"{type(self).__name__} has no patterns yet.",
                    "an explainer that was not fitted",
                    "Call `explainer.fit(data)` on training data first, or "
                    f"`{type(self).__name__}.load(model, path)`.",
                )
            )

    def _extra(
        self, inputs: Any, rows: slice | None, graph: Graph
    ) -> dict[str, Any]:
        if self._known is not graph or not self._patterns:
            self._look(graph)
            self._check_fitted()
            with tf.init_scope():
                self._compare(graph)
            self._known = graph
        return {}

    def _look(self, graph: Graph) -> None:
        """Refuses or warns about operations that are not of the theory."""
        call = self._call(graph)
        composite = self._composite(graph)
        rules = composite.assign(graph, call)
        unknown = composite.without_rule(graph, rules, call)
        if unknown:
            raise ValueError(self._unknown(unknown))
        if not any(isinstance(r, PlacedPattern) for r in rules.values()):
            raise ValueError(self._no_kernel(graph))
        other = [
            c
            for c in graph.calls
            if c.key in rules
            and role_of(c) in ("activation", "product")
            and c.kind not in RELU_FAMILY
        ]
        if other and not self._warned:
            self._warned = True
            names = candidates(list(dict.fromkeys(map(describe, other))), 6)
            warn(
                f"{type(self).__name__} is derived for networks of ReLUs, "
                f"and its paper says nothing of {names}."
            )

    def _unknown(self, calls: list[Call]) -> str:
        return message(
            f"{type(self).__name__} is for networks of layers with a kernel, "
            "pooling and ReLUs.",
            candidates(list(dict.fromkeys(map(describe, calls))), 6),
            "Use `LRP` or `IntegratedGradients`, or attribute to a `layer` "
            "behind them.",
        )

    def _rule(self, graph: Graph) -> Any:
        return Pattern(
            self._patterns,
            members(graph, self.signal),
            self.attributes,
            frozenset() if self.attributes else narrows(graph),
        )


def _specs(model: keras.Model) -> Any:
    """What the model takes, if it says so."""
    try:
        inputs = model.input
    except (AttributeError, ValueError):  # subclassed
        return None
    return tf.nest.map_structure(
        lambda t: tf.TensorSpec((None, *t.shape[1:]), t.dtype), inputs
    )
