"""Whether it pays to run again only what a window can reach."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from keras_explain.engine import interception
from keras_explain.engine.graph import INPUT, Call
from keras_explain.engine.local_operations import local
from keras_explain.engine.receptive_field import Box, share
from keras_explain.engine.score import ScoreFunction

# A piece that is a larger share of the map than this is not worth cutting
# out: then the model runs on as it always does.
LIMIT = 0.8
# What has to be saved for it to pay: a share of all products, and a number
# of products for each window, since cutting out takes time of its own.
_SHARE = 0.25
_PRODUCTS = 2e6


def pays(function: ScoreFunction, boxes: Sequence[Box]) -> bool:
    """Whether enough of the work is local, for windows over some inputs."""
    whole, left = 0.0, 0.0
    for box in boxes:
        more, rest = _work(function, box)
        whole, left = whole + more, left + rest
    saved = whole - left
    return saved >= _SHARE * whole and saved >= _PRODUCTS * len(boxes)


def _work(function: ScoreFunction, box: Box) -> tuple[float, float]:
    """Products of a run, and of one in which the windows have changed."""
    graph, start = function.graph, function.call
    reached: dict[int, Any] = {INPUT: box if start is None else None}
    whole = left = 0.0
    for call in graph.calls:
        if start is not None and call.index == start.index:
            reached.update(dict.fromkeys((call.index, *call.makers), box))
            continue
        if not call.leaf or not call.arguments:
            continue
        if isinstance(call.operation, interception.FusedActivation):
            continue
        found = _after(call, [reached.get(i) for i in call.parents])
        reached.update(dict.fromkeys((call.index, *call.makers), found))
        if found is None:
            continue  # not run in either way
        part = share(found) if isinstance(found, tuple) else 1.0
        products = _products(call)
        whole, left = whole + products, left + part * products
    return whole, left


def _after(call: Call, values: list[Any]) -> Any:
    """Box of an output; `None` for no change, `...` for all of it."""
    if all(value is None for value in values):
        return None
    boxes = [value for value in values if value is not None]
    if any(value is ... for value in boxes) or not all(call.direct):
        return ...
    if len({len(box) for box in boxes}) != 1:
        return ...
    step = local(call.operation, boxes)
    if step is None or share(step.box) >= LIMIT:
        return ...
    lengths = tuple(span.length for span in step.box)
    return step.box if lengths == (call.shape or ())[1:-1] else ...


def _products(call: Call) -> float:
    """Products with the weights of a layer, or the number of its outputs."""
    positions = math.prod(size or 1 for size in (call.shape or ())[1:-1])
    weights = getattr(call.operation, "weights", None) or []
    kernels = [w.shape for w in weights if len(w.shape) > 1]
    if kernels:
        return float(positions * sum(map(math.prod, kernels)))
    return float(math.prod(size or 1 for size in (call.shape or ())[1:]))
