"""Numbers as people write them: `0-15`, `1,4,7-9`."""

from __future__ import annotations

import re

from keras_explain.cli.failures import CommandError, shown
from keras_explain.engine.errors import message

_PART = re.compile(r"(\d+)(?:-(\d+))?", re.ASCII)
# More in one run are a mistake: nobody looks at as many.
MOST = 1000


def chosen(text: str, option: str) -> list[int]:
    """Returns the numbers of a list, each once, in its order.

    Args:
        text: The list.
        option: Where it was given, for messages.

    Raises:
        CommandError: If it is no such list, or too long a one.
    """
    found: dict[int, None] = {}
    for part in text.split(","):
        match = _PART.fullmatch(part.strip())
        first = int(match[1]) if match else 0
        last = int(match[2] or first) if match else -1
        if match is None or last < first:
            raise CommandError(
                message(
                    "These are no numbers.",
                    f"{option} {shown(text)!r}",
                    "Pass such as 0-15 or 1,4,7-9.",
                )
            )
        if last - first >= MOST or len(found) >= MOST:
            raise CommandError(
                message(
                    "These are more than anyone can look at.",
                    f"{option} {shown(text)!r}",
                    f"Pass up to {MOST}.",
                )
            )
        found.update(dict.fromkeys(range(first, last + 1)))
    return list(found)


def check_below(
    numbers: list[int], size: int, option: str, things: str
) -> None:
    """Raises unless all numbers are below a size.

    Args:
        numbers: What was chosen.
        size: How many there are.
        option: Where they were given.
        things: What they count.

    Raises:
        CommandError: If one is not.
    """
    wrong = [str(number) for number in numbers if number >= size]
    if wrong:
        raise CommandError(
            message(
                f"There are {size} {things}, 0 to {size - 1}.",
                f"{option} with {', '.join(wrong[:8])}",
            )
        )
