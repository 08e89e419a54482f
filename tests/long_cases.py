"""Which cases take long enough to run with the long tests.

`long_cases.txt` names them, a line each. It is made from a run that was timed:

    python -m pytest -n auto --durations=0 -vv | python -m tests.long_cases

The first case of each test stays among those that run by default, unless it
takes very long: between them they look at all that there is.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from pathlib import Path

LIST = Path(__file__).with_suffix(".txt")
# In seconds, of a case and of one that is the first of its test.
LIMIT = 0.6
LIMIT_OF_FIRST = 5.0
_LINE = re.compile(r"^\s*([\d.]+)s\s+(?:call|setup|teardown)\s+(tests/.+)$")


def read() -> frozenset[str]:
    """Returns the names of the cases, as pytest has them."""
    return frozenset(LIST.read_text(encoding="utf-8").splitlines())


def function(case: str) -> str:
    """Returns the name of a case without its parameters."""
    return case.split("[", 1)[0]


def select(seconds: dict[str, float]) -> list[str]:
    """Returns the cases to be listed, of cases in the order in which they run.

    Args:
        seconds: `{case: seconds}`.
    """
    seen: set[str] = set()
    found = []
    for case, time in seconds.items():
        first = function(case) not in seen
        if time > (LIMIT_OF_FIRST if first else LIMIT):
            found.append(case)
        seen.add(function(case))
    return sorted(found)


def timed(lines: Iterable[str]) -> dict[str, float]:
    """Reads what pytest prints of durations, and of the order of cases."""
    seconds: dict[str, float] = {}
    for line in lines:
        found = re.search(r"PASSED\s+(tests/.+?)\s*$", line)
        if found:  # in the order in which they ran
            seconds.setdefault(found[1], 0.0)
        found = _LINE.match(line)
        if found:
            case = found[2].strip()
            seconds[case] = seconds.get(case, 0.0) + float(found[1])
    return seconds


if __name__ == "__main__":
    # Those listed before did not run, and stay.
    names = sorted({*select(timed(sys.stdin)), *read()})
    LIST.write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
    print(f"{len(names)} cases", file=sys.stderr)
