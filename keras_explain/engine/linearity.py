"""What the TensorFlow ops of a call do to a signal: move, mix or bend it.

A rule acts on a call as a whole. What lies between the calls, or inside a
call that no rule was written for, is passed by the plain gradient; whether
that is right can be read from the ops under trace. A gradient hands on
relevance whole where each output is one of the inputs (`"moving"`), and it
hands on DeepLIFT multipliers rightly where outputs are affine in the inputs
(`"affine"`). Anything else needs a rule (`"nonlinear"`).
"""

from __future__ import annotations

from collections.abc import Iterable

import tensorflow as tf

MOVING, AFFINE, NONLINEAR = "moving", "affine", "nonlinear"
_ORDER = (MOVING, AFFINE, NONLINEAR)

# Each value of the output is one of the values of the input, or a constant.
_MOVES = {
    "BatchToSpaceND", "BroadcastTo", "Cast", "CheckNumerics", "ConcatV2",
    "DepthToSpace", "EnsureShape", "ExpandDims", "GatherNd", "GatherV2",
    "Identity", "IdentityN", "MatrixDiagPartV3", "MirrorPad", "Pack", "Pad",
    "PadV2", "PreventGradient", "Reshape", "ResizeNearestNeighbor",
    "ReverseV2", "Roll", "Slice", "Snapshot", "SpaceToBatchND",
    "SpaceToDepth", "Split", "SplitV", "Squeeze", "StopGradient",
    "StridedSlice", "Tile", "Transpose", "Unpack", "ZerosLike", "OnesLike",
}  # fmt: skip
# Sums of inputs with constant weights.
_SUMS = {
    "Add", "AddN", "AddV2", "AvgPool", "AvgPool3D", "BiasAdd", "BiasAddV1",
    "Cumsum", "Mean", "Neg", "ResizeBicubic", "ResizeBilinear", "Sub", "Sum",
    "AccumulateNV2",
}  # fmt: skip
# Products: affine as long as one factor is a constant of the inputs.
_PRODUCTS = {
    "BatchMatMul", "BatchMatMulV2", "BatchMatMulV3", "Conv2D",
    "Conv2DBackpropInput", "Conv3D", "Conv3DBackpropInputV2",
    "DepthwiseConv2dNative", "Einsum", "MatMul", "Mul", "MulNoNan",
}  # fmt: skip
_QUOTIENTS = {"RealDiv", "Div", "DivNoNan"}
# Where a signal in floats begins behind inputs in integers.
_BEGINNINGS = {"Cast", "GatherNd", "GatherV2", "OneHot", "ResourceGather"}


class Signal:
    """Follows what depends on the inputs through a graph under trace.

    Args:
        inputs: The tensors of the model's inputs.
    """

    def __init__(self, inputs: Iterable[tf.Tensor]):
        inputs = list(inputs)
        # Values depend on the inputs; a gradient flows through floats alone.
        self._values = {t.name for t in inputs}
        self._flows = {t.name for t in inputs if t.dtype.is_floating}
        self._classes: dict[str, str] = {}

    def follow(self, operations: Iterable[tf.Operation]) -> None:
        """Looks at new ops, in the order in which they were made."""
        for op in operations:
            self._classes[op.name] = self._classify(op)

    def kind(
        self, operations: Iterable[tf.Operation]
    ) -> tuple[str, tuple[str, ...]]:
        """Returns the worst class of some ops, and the nonlinear types."""
        worst, types = MOVING, []
        for op in operations:
            found = self._classes.get(op.name, MOVING)
            if _ORDER.index(found) > _ORDER.index(worst):
                worst = found
            if found == NONLINEAR:
                types.append(op.type)
        return worst, tuple(dict.fromkeys(types))

    def affine(self, operations: Iterable[tf.Operation]) -> tuple[str, ...]:
        """Returns the types of those ops that sum or scale."""
        types = [
            op.type for op in operations if self._classes.get(op.name) == AFFINE
        ]
        return tuple(dict.fromkeys(types))

    def _classify(self, op: tf.Operation) -> str:
        depends = [t.name in self._values for t in op.inputs]
        if not any(depends) or op.type in ("Shape", "Size", "Rank"):
            return MOVING
        flowing = [t.name in self._flows for t in op.inputs]
        begins = op.type in _BEGINNINGS and op.inputs[0].dtype != tf.bool
        # Loops carry floats in lists, whose dtype is a variant.
        floats = [
            t.name
            for t in op.outputs
            if t.dtype.is_floating or t.dtype == tf.variant
        ]
        self._values.update(t.name for t in op.outputs)
        if any(flowing) or begins:
            self._flows.update(floats)
        if not any(flowing) or not floats:
            return MOVING  # no relevance takes this way
        return _class_of(op, flowing, depends)


def _class_of(
    op: tf.Operation, flowing: list[bool], depends: list[bool]
) -> str:
    """The class of an op that a signal flows through."""
    if op.type in _MOVES:
        # What is moved is the first or all; places may not depend on it.
        places = [d and not f for d, f in zip(depends, flowing, strict=True)]
        return NONLINEAR if any(places) else MOVING
    if op.type in _SUMS:
        return AFFINE
    if op.type in _PRODUCTS:
        return AFFINE if sum(depends) == 1 else NONLINEAR
    if op.type in _QUOTIENTS:
        return AFFINE if not depends[1] else NONLINEAR
    if op.type.startswith("FusedBatchNorm"):
        fixed = not op.get_attr("is_training") and not any(depends[1:])
        return AFFINE if fixed else NONLINEAR
    if op.type in ("Select", "SelectV2"):
        return MOVING if not depends[0] else NONLINEAR
    return NONLINEAR
