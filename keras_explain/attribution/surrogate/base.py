"""What surrogate explanations share: features, masks, scores, and maps."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar

import keras
import numpy as np
import tensorflow as tf

from keras_explain.attribution.surrogate import hidden, segments
from keras_explain.attribution.surrogate.estimates import Solution
from keras_explain.attribution.surrogate.features import Features, cut_batch
from keras_explain.engine import fills
from keras_explain.engine.errors import message
from keras_explain.engine.explainer import Attribution, Explainer
from keras_explain.engine.graph import Graph
from keras_explain.engine.masking import Masked
from keras_explain.engine.score import ScoreFunction

_each = tf.nest.map_structure


class SurrogateExplainer(Explainer):
    """Hides features together, and explains the scores by a simple model.

    A method defines which coalitions of features it looks at (`_prepare`,
    `_number`, `_coalitions`) and what it makes of their scores (`_solve`).

    Args:
        model, layer: See `Explainer`.
        segmenter: What the features are. `None` for the default: superpixels
            (or blocks) of a picture, equal pieces of a series, blocks of a
            volume, each value of a table, each token. A name:
            `"quickshift"`, `"slic"`, `"grid"` or `"each"`. A function from
            one picture to a map of integers. An array of integers, for all
            samples or with a row for each. A list or dict of them for
            several inputs, `None` for the default of one.
        fill: What takes the place of hidden features: `"zero"`, `"mean"`,
            `"blur"`, `"segment_mean"`, `"inpaint"`, a number, an array of
            the shape of one sample, or `(rows, ...)` of them as a
            background, over which the scores are averaged. `None` for the
            mean of each segment of a picture, the mean of a series or
            volume, and zero for tables, tokens and layers.
        batch_size: Most rows the model sees at once.
    """

    # About how many features the default makes of a picture.
    pieces: ClassVar[int] = 32
    # How it cuts pictures: a name, see `segments.NAMES`.
    superpixels: ClassVar[str] = "slic"
    # Names of the columns of `Solution.facts`; those with "delta" and
    # "distance" have a meaning of their own.
    _facts: ClassVar[tuple[str, ...]] = ()
    # The type of what `_prepare` returns.
    _table_type: ClassVar[tf.DType] = tf.uint8

    def __init__(
        self,
        model: keras.Model,
        *,
        segmenter: Any = None,
        fill: Any = "zero",
        batch_size: int = 32,
        layer: Any = None,
    ):
        super().__init__(model, layer=layer)
        segments.check_segmenter(segmenter)
        hidden.check_fill(fill)
        if batch_size < 1:
            raise ValueError(
                message(
                    "The model sees at least one row at once.",
                    f"batch_size={batch_size}",
                    "Pass a positive number.",
                )
            )
        self.segmenter = segmenter
        self.fill = fill
        self.batch_size = batch_size
        # What went wrong outside the graph, which TensorFlow hands on as
        # text only.
        self._failures: list[Exception] = []

    # What a method defines, all of it in NumPy but for `_coalitions`.

    def _prepare(self, count: int) -> np.ndarray:
        """Returns what is known of the coalitions of so many features.

        Its last axis is that of the features.
        """
        raise NotImplementedError

    def _number(self, features: Features) -> tf.Tensor:
        """How many coalitions there are."""
        return tf.shape(features.table)[0]

    def _coalitions(self, features: Features, ids: tf.Tensor) -> tf.Tensor:
        """Returns coalitions, `(k, 1 or batch, features)`, 1 = shown."""
        return tf.gather(features.table, ids)

    def _solve(self, scores: np.ndarray, count: int) -> Solution:
        """Returns what the scores, `(coalitions, batch)`, say."""
        raise NotImplementedError

    # What the engine asks for.

    def _run(self, *args: Any, **options: Any) -> dict[str, Any]:
        try:
            return super()._run(*args, **options)
        except tf.errors.OpError as error:
            if self._failures:
                raise self._failures.pop() from error
            raise

    def _extra(
        self, inputs: Any, rows: slice | None, graph: Graph
    ) -> dict[str, Any]:
        if self.layer is None:
            fills.check_tokens(self.fill, inputs, graph)
        extra: dict[str, Any] = {}
        if hidden.is_values(self.fill):
            extra["rows"] = hidden.background(self.fill, inputs)
        call = self._call(graph)
        if call is None:
            shapes = [tuple(t.shape) for t in tf.nest.flatten(inputs)]
        else:
            batch = tf.nest.flatten(inputs)[0].shape[0]
            # Of several outputs only the first one's shape is known.
            shapes = [(batch, *(call.shape or ())[1:])] * call.num_outputs
        keys = _keys(inputs) if call is None else list(range(len(shapes)))
        parts = segments.parts_of(self.segmenter, keys)
        for k, part in enumerate(parts):
            if isinstance(part, np.ndarray):
                extra[f"segments_{k}"] = segments.fit_map(part, shapes[k], rows)
        if call is None:
            self._hows(tf.nest.flatten(inputs), parts)  # is all installed?
        return extra

    def _check(self, notes: dict[str, tf.Tensor]) -> None:
        same = np.nonzero(np.asarray(notes["distance"]) == 0)[0]
        if same.size:
            raise ValueError(
                message(
                    "Hidden features look as the shown ones do: the fill "
                    "equals the input.",
                    f"samples {same[:8].tolist()}",
                    "Pass another `fill`: a number, rows of a background, "
                    '"blur".',
                )
            )

    def _attribute(self, function: ScoreFunction) -> Attribution:
        at = function.evaluate()
        extra = function.extra
        function = function.settled(at.indices)
        # What is given for the batch is not repeated with it.
        function = dataclasses.replace(function, extra={})
        features = self._features(at.point, extra)
        masked, distance = self._hidden(function, at, features, extra)
        scores = masked.collect(
            lambda ids: features.masks(
                self._coalitions(features, ids), at.point
            ),
            self._number(features),
            self.batch_size,
        )
        solution = self._solved(scores, features)
        facts = dict(
            zip(self._facts, tf.unstack(solution.facts, axis=1), strict=True)
        )
        delta = facts.pop("delta", None)
        values, errors = (
            features.spread(found, at.point)
            for found in (solution.values, solution.errors)
        )
        details = {
            "standard_errors": errors,
            "segments": tf.nest.pack_sequence_as(at.point, features.maps),
            "num_features": features.counts,
            **facts,
        }
        return Attribution(values, at, delta, {"distance": distance}, details)

    # The features.

    def _hows(self, point: list[tf.Tensor], parts: list[Any]) -> list[Any]:
        """How each tensor is cut: a name, a function or an array."""
        hows = []
        for tensor, part in zip(point, parts, strict=True):
            rank, floats = tensor.shape.rank, tensor.dtype.is_floating
            picture = rank == 4 and floats
            looks = callable(part) or segments.needs_scikit_image(part)
            if part is None or (looks and not picture and len(point) > 1):
                part = self._usual(rank, floats)
            if segments.needs_scikit_image(part):
                if not picture:
                    raise ValueError(
                        message(
                            "Superpixels are cut from pictures, (batch, "
                            "height, width, channels).",
                            f"segmenter={part!r} for {tensor.shape}",
                            'Pass `segmenter="grid"` or "each".',
                        )
                    )
                segments.scikit_image()
            hows.append(part)
        return hows

    def _usual(self, rank: int, floats: bool) -> str:
        """The default way to cut a tensor."""
        if rank <= 2 or (rank == 3 and (self.layer is not None or not floats)):
            return "each"
        if rank == 4 and floats and self.layer is None:
            return self.superpixels
        return "grid"

    def _features(self, point: Any, extra: Any) -> Features:
        flat = tf.nest.flatten(point)
        keys = _keys(point)
        hows = self._hows(flat, segments.parts_of(self.segmenter, keys))
        sent, shapes = [], []
        for k, (tensor, how) in enumerate(zip(flat, hows, strict=True)):
            positions = tensor.shape[: max(tensor.shape.rank - 1, 2)]
            shape = tf.shape(tensor)[: positions.rank]
            if isinstance(how, np.ndarray):
                given = extra[f"segments_{k}"]
                if given.shape.rank == tensor.shape.rank:
                    positions, shape = tensor.shape, tf.shape(tensor)
                sent.append(tf.broadcast_to(given, shape))
            elif callable(how) or segments.needs_scikit_image(how):
                sent.append(tf.cast(tensor, tf.float32))
            else:
                sent.append(shape)
            shapes.append([None, *positions[1:]])

        def work(*arrays: np.ndarray) -> list[np.ndarray]:
            maps, counts = cut_batch(hows, arrays, self.pieces)
            numbers = np.asarray(counts, np.int32)
            return [*maps, numbers, self._table(counts)]

        types = [tf.int32] * (len(flat) + 1) + [self._table_type]
        *maps, counts, table = self._on_host(work, sent, types)
        maps = [
            tf.ensure_shape(m, s) for m, s in zip(maps, shapes, strict=True)
        ]
        counts = tf.ensure_shape(counts, [None])
        table = tf.ensure_shape(table, [None, None, None])
        return Features(maps, counts, tf.reduce_max(counts), table)

    def _table(self, counts: list[int]) -> np.ndarray:
        """What `_prepare` says, `(rows, 1 or batch, features)`."""
        parts = {count: self._prepare(count) for count in set(counts)}
        kind = self._table_type.as_numpy_dtype
        if len(parts) == 1:
            return parts[counts[0]][:, np.newaxis].astype(kind)
        rows = max(len(part) for part in parts.values())
        table = np.zeros((rows, len(counts), max(counts)), kind)
        for k, count in enumerate(counts):
            table[: len(parts[count]), k, :count] = parts[count]
        return table

    # The scores.

    def _hidden(
        self, function: ScoreFunction, at: Any, features: Features, extra: Any
    ) -> tuple[Masked, tf.Tensor]:
        point = at.point
        if "rows" in extra:
            rows = hidden.at_layer(function, extra["rows"], self.batch_size)
            low, high = (hidden.distance(point, e) for e in hidden.span(rows))
            return Masked(function, at, rows=rows), tf.maximum(low, high)
        if self.fill == "inpaint":
            fill = hidden.inpainted(point)
            return Masked(function, at, fill), tf.ones([function.batch])
        flat = [
            self._values(x, m, features.size)
            for x, m in zip(tf.nest.flatten(point), features.maps, strict=True)
        ]
        fill = tf.nest.pack_sequence_as(point, flat)
        return Masked(function, at, fill), hidden.distance(point, fill)

    def _values(
        self, x: tf.Tensor, segment: tf.Tensor, size: tf.Tensor
    ) -> tf.Tensor:
        """What takes the place of the values of one tensor."""
        floats, rank, fill = x.dtype.is_floating, x.shape.rank, self.fill
        if fill is None:
            usual = {3: "mean", 4: "segment_mean", 5: "mean"}
            inputs = floats and self.layer is None
            fill = usual.get(rank, "zero") if inputs else "zero"
        if fill == "segment_mean" and floats:
            return hidden.segment_mean(x, segment, size)
        return fills.filled(fill, x)

    def _solved(self, scores: tf.Tensor, features: Features) -> Solution:
        def work(scores: np.ndarray, counts: np.ndarray) -> list[np.ndarray]:
            scores = scores.astype(np.float64)
            shape = (len(counts), counts.max())
            values, errors = np.zeros(shape), np.zeros(shape)
            facts = np.zeros((len(counts), len(self._facts)))
            for count in np.unique(counts):
                chosen = np.flatnonzero(counts == count)
                found = self._solve(scores[:, chosen], int(count))
                values[chosen, :count] = found.values
                errors[chosen, :count] = found.errors
                facts[chosen] = found.facts
            return [a.astype(np.float32) for a in (values, errors, facts)]

        found = self._on_host(work, [scores, features.counts], [tf.float32] * 3)
        values, errors, facts = found
        facts = tf.ensure_shape(facts, [None, len(self._facts)])
        return Solution(values, errors, facts)

    def _on_host(
        self, work: Callable, tensors: list[Any], types: list[tf.DType]
    ) -> list[tf.Tensor]:
        """Runs NumPy outside the graph, and keeps what goes wrong there."""

        def guarded(*arrays: np.ndarray) -> list[np.ndarray]:
            try:
                return work(*arrays)
            except Exception as error:
                self._failures[:] = [error]
                raise

        return tf.numpy_function(guarded, tensors, types)


def _keys(structure: Any) -> list[Any]:
    """The names of the tensors if they are a dict, or their numbers."""
    if isinstance(structure, dict):
        return sorted(structure)
    return list(range(len(tf.nest.flatten(structure))))
