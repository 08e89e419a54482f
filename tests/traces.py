"""What an explainer could have changed about a model."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from keras_explain.engine import interception


def fingerprint(model: keras.Model) -> tuple:
    """All of it, to be compared by `assert_same`."""
    found: list[Any] = []
    for _, (path, operation) in interception.operations(model).items():
        state = dict(operation.__dict__)
        found.append(
            (
                path,
                sorted(state),
                state.get("call"),
                getattr(operation, "activation", None),
                len(getattr(operation, "_inbound_nodes", [])),
                len(getattr(operation, "_outbound_nodes", [])),
                getattr(operation, "trainable", None),
                str(getattr(operation, "dtype_policy", "")),
            )
        )
    weights = [w.copy() for w in model.get_weights()]
    flags = [v.trainable for v in model.variables]
    policy = keras.config.dtype_policy().name
    return found, flags, policy, weights


def assert_same(before: tuple, after: tuple) -> None:
    assert before[:3] == after[:3]
    for a, b in zip(before[3], after[3], strict=True):
        np.testing.assert_array_equal(a, b)
