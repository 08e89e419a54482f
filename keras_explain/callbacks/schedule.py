"""When a callback looks at the model."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any

from keras_explain.engine.errors import message


class Schedule:
    """Says after which batches and epochs to look.

    Args:
        every: `"epoch"`, a number of batches, or `"train_end"`.

    Raises:
        ValueError: If it is none of these.
    """

    def __init__(self, every: Any):
        mend = "Pass `'epoch'`, `'train_end'`, or a number of batches."
        self.every: Any = every
        if isinstance(every, Integral) and not isinstance(every, bool):
            self.every = int(every)
            if self.every < 1:
                raise ValueError(
                    message(
                        "`every` is a positive number of batches.",
                        f"every={every}",
                        mend,
                    )
                )
        elif not isinstance(every, str) or every not in ("epoch", "train_end"):
            number = isinstance(every, Real) and not isinstance(every, bool)
            raise ValueError(
                message(
                    "`every` says when to look.",
                    f"every={every!r}",
                    "Batches are counted in whole numbers: pass an `int`."
                    if number
                    else mend,
                )
            )
        self._looked = 0

    @property
    def counts_batches(self) -> bool:
        return not isinstance(self.every, str)

    def start(self, batches: int) -> None:
        """Begins to count where a training begins or goes on."""
        self._looked = batches

    def is_due(self, batches: int) -> bool:
        """Whether to look, after so many batches in all.

        With several steps in one execution batches come in leaps, and the
        one that is due may lie inside of a leap.
        """
        due = batches // self.every > self._looked // self.every
        self._looked = batches
        return due
