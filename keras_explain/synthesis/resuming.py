"""Whether a run can go on from what was made before."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from keras_explain.engine.errors import message
from keras_explain.synthesis.result import Synthesis

# Settings that make another run, though every number fits.
_COMPARED = (
    "seed", "transforms", "optimizer", "averaging", "layer", "value_range",
)  # fmt: skip


def check_start(
    start: Any, steps: int, titles: list[str], settings: dict[str, Any]
) -> None:
    """Raises unless `start` was made with the same settings.

    Args:
        start: What was passed to go on from.
        steps: The last step that is asked for.
        titles: What is maximized now, a line for each row.
        settings: Those of now, as text or numbers.

    Raises:
        TypeError: If `start` is no `Synthesis`.
        ValueError: If it holds nothing to go on from, was made with other
            settings, or has as many steps already.
    """
    if not isinstance(start, Synthesis):
        raise TypeError(
            message(
                "A run goes on from a Synthesis.",
                f"start={type(start).__name__}",
                "Pass what `maximize` returned, or `Synthesis.load(path)`; to "
                "start from a picture, `image=Pixels(initial=picture)`.",
            )
        )
    if "step" not in start.state:
        raise ValueError(
            message(
                "This Synthesis holds nothing to go on from: it was made in "
                "parts, or not by `maximize`.",
                repr(start),
                "Start from its pictures: `image=Pixels(initial=...)`; make "
                "a grid that is to go on in one part, with a larger "
                "`rows_at_once`.",
            )
        )
    if list(start.titles) != titles:
        raise _other("target", _shortened(start.titles), _shortened(titles))
    before = start.settings
    _check_regularizers(
        list(before.get("regularizers") or ()),
        list(settings["regularizers"] or ()),
    )
    for name in _COMPARED:
        then, now = before.get(name), settings[name]
        if name in before and _plain(then) != _plain(now):
            raise _other(name, f"{name}={then!r}", f"{name}={now!r}")
    then, now = before.get("image"), settings["image"]
    if None not in (then, now) and _plain(then) != _plain(now):
        raise _other("image", f"image={then}", f"image={now}")
    if steps <= start.steps:
        raise ValueError(
            message(
                "The number of steps counts those that were made before.",
                f"steps={steps}, and a start with {start.steps} steps",
                f"Pass more, such as steps={2 * max(start.steps, 1)}.",
            )
        )


def with_earlier(
    start: Synthesis | None, steps: int, frames: dict[int, np.ndarray]
) -> dict[int, np.ndarray]:
    """Returns the frames of a run after those of the one it goes on from.

    Args:
        start: What it went on from, if it did.
        steps: How many steps there are now: a step may have been undone.
        frames: Its own, as they are handed out.
    """
    earlier = {} if start is None else start.frames
    kept = {step: f for step, f in earlier.items() if step <= steps}
    return {**kept, **frames}


def _check_regularizers(then: list, now: list) -> None:
    then, now = [_plain(r) for r in then], [_plain(r) for r in now]
    if then == now:
        return
    missing = [r for r in then if r not in now]
    added = [r for r in now if r not in then]
    received = []
    if missing:
        received.append(f"without {', '.join(missing)}")
    if added:
        received.append(f"in addition {', '.join(added)}")
    raise ValueError(
        message(
            "A run goes on with the settings it had, here regularizers.",
            "; ".join(received) or "them in another order",
            f"Pass regularizers=[{', '.join(then)}].",
        )
    )


def _other(what: str, then: str, now: str) -> ValueError:
    return ValueError(
        message(
            f"A run goes on with the settings it had, here {what}.",
            f"{now}, and a start with {then}",
            "Pass the same, or start from its pictures: "
            "`image=Pixels(initial=...)`.",
        )
    )


def _shortened(titles: list[str]) -> str:
    more = ", ..." if len(titles) > 4 else ""
    return ", ".join(titles[:4]) + more


def _plain(value: Any) -> str:
    """As text, without the addresses of objects and models' own names."""
    return re.sub(r" at 0x[0-9a-f]+| name=\w+", "", repr(value)).strip("'\"")
