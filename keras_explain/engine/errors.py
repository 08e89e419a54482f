"""Messages with three parts: what was received, what fits, how to mend it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ExplainWarning(UserWarning):
    """A result that was computed but may not mean what it seems to mean."""


def message(happened: str, received: str = "", mend: str = "") -> str:
    """Returns the text of an error, one line for each part that is there."""
    lines = [happened]
    if received:
        lines.append(f"Received: {received}.")
    if mend:
        lines.append(mend)
    return "\n".join(lines)


def candidates(names: Iterable[str], limit: int = 12) -> str:
    """Returns names as `'a', 'b', 'c'`, shortened in the middle."""
    quoted = [repr(name) for name in names]
    if len(quoted) > limit:
        head, tail = quoted[: limit // 2], quoted[-(limit // 2) :]
        missing = len(quoted) - len(head) - len(tail)
        quoted = [*head, f"... ({missing} more)", *tail]
    return ", ".join(quoted)


def near(name: str, names: Iterable[str]) -> str:
    """Returns the names most like `name`, or the first ones if none is.

    Upper and lower case are the same to someone who misremembers a name.
    """
    known = {k.casefold(): k for k in names}
    wanted = name.casefold()
    close = difflib.get_close_matches(wanted, known, n=5, cutoff=0.4)
    if not close:
        close = [k for k in known if k.rsplit("/", 1)[-1] == wanted][:5]
    return candidates([known[k] for k in close] or known.values())
