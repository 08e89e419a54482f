"""What is optimized, and how: data that the loop works on."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Protocol

import tensorflow as tf

from keras_explain.synthesis.parts import (
    Parameterization,
    Regularizer,
    Transform,
)
from keras_explain.synthesis.randomness import Randomness


class Objective(Protocol):
    """What is maximized; `ModelObjective` is one."""

    @property
    def scale(self) -> float: ...

    @property
    def can_open(self) -> bool: ...

    def score(
        self, images: tf.Tensor, *, opened: bool = False
    ) -> tf.Tensor: ...


@dataclasses.dataclass(frozen=True)
class Problem:
    """What is optimized, and how.

    Attributes:
        objective: Gives each picture a score.
        parameterization: Makes pictures of the numbers that are optimized.
        shape: Of one picture.
        random: The draws before the first step.
        transforms: Applied in turn before the model sees the pictures.
        regularizers: Penalties, and what changes gradients and pixels.
        averaging: Weight of the past in the running mean of the pictures;
            0 for none.
        warmup: Steps in which shut ReLUs are opened for silent rows.
    """

    objective: Objective
    parameterization: Parameterization
    shape: tuple[int, ...]
    random: Randomness
    transforms: Sequence[Transform] = ()
    regularizers: Sequence[Regularizer] = ()
    averaging: float = 0.0
    warmup: int = 16

    @property
    def rows(self) -> int:
        """Number of pictures."""
        return self.random.rows

    @property
    def penalties(self) -> list[str]:
        """Names of what is taken off; what occurs twice is `L2`, `L2_2`."""
        found: list[str] = []
        for name in [r.name for r in self.regularizers if r.penalizes]:
            count = sum(other.split("_")[0] == name for other in found)
            found.append(name if not count else f"{name}_{count + 1}")
        return found
