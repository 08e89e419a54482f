"""What a change can reach, against nets that are asked cell by cell."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from keras_explain.engine.receptive_field import Kernel, Span, share, unite


def spans(length, window, stride=1):
    low = np.arange(0, length - window + 1, stride)
    return Span(low, low + window, length)


def readers(kernel, length):
    """Whether output `o` reads input `i`, `(outputs, length)`."""
    found = np.zeros((kernel.outputs, length), bool)
    for o, j in itertools.product(range(kernel.outputs), range(kernel.size)):
        i = o * kernel.stride - kernel.before + j * kernel.dilation
        if 0 <= i < length:
            found[o, i] = True
    return found


KERNELS = [
    (size, stride, dilation, padding)
    for size, stride, dilation, padding in itertools.product(
        (1, 2, 3, 5), (1, 2, 3), (1, 2, 3), ("valid", "same", "causal")
    )
    if stride == 1 or dilation == 1
]


@pytest.mark.parametrize("length", [11, 12])
@pytest.mark.parametrize(("size", "stride", "dilation", "padding"), KERNELS)
def test_what_a_kernel_reaches_and_needs(
    length, size, stride, dilation, padding
):
    if padding == "valid" and (size - 1) * dilation >= length:
        return
    kernel = Kernel.padded(length, size, stride, dilation, padding)
    reads = readers(kernel, length)
    for window in (1, 4):
        span = spans(length, window)
        reached = kernel.reached(span)
        first, number = kernel.needed(reached)
        for k, low in enumerate(span.low):
            hit = np.flatnonzero(reads[:, low : low + window].any(1))
            start = reached.start[k]
            piece = range(start, start + reached.size)
            assert 0 <= start and piece[-1] < kernel.outputs
            assert set(hit) <= set(piece)
            if dilation == 1 and hit.size:
                # Not one more: the cells are a run without holes.
                assert (reached.low[k], reached.high[k]) == (
                    hit[0], hit[-1] + 1)  # fmt: skip
            read = np.flatnonzero(reads[list(piece)].any(0))
            assert set(read) <= set(range(first[k], first[k] + number))


@pytest.mark.parametrize("padding", ["valid", "same", "causal"])
def test_kernels_are_those_of_keras(padding):
    from keras import layers

    for length, (size, stride, dilation) in itertools.product(
        (9, 10), [(3, 1, 1), (3, 2, 1), (2, 2, 1), (4, 3, 1), (3, 1, 2)]
    ):
        layer = layers.Conv1D(
            1, size, stride, padding, dilation_rate=dilation, use_bias=False,
            kernel_initializer="ones",
        )  # fmt: skip
        eye = np.eye(length, dtype="float32")[..., None]
        found = np.asarray(layer(eye))[..., 0].T != 0
        kernel = Kernel.padded(length, size, stride, dilation, padding)
        np.testing.assert_array_equal(found, readers(kernel, length))


def test_spans_are_moved_and_joined():
    span = spans(10, 3, 3)
    assert span.size == 3
    moved = span.shifted(-2, 6)
    np.testing.assert_array_equal(moved.low, [0, 1, 4])
    np.testing.assert_array_equal(moved.high, [1, 4, 6])
    np.testing.assert_array_equal(moved.start, [0, 1, 3])
    larger = span.enlarged(2)
    np.testing.assert_array_equal(larger.start, 2 * span.start)
    assert (larger.size, larger.length) == (6, 20)
    other = Span(span.low + 1, span.high + 2, 12).clipped(10)
    (both,) = unite([(span,), (other,)])
    np.testing.assert_array_equal(both.low, span.low)
    np.testing.assert_array_equal(both.high, [5, 8, 10])
    assert share((span, spans(4, 2))) == pytest.approx(0.3 * 0.5)
