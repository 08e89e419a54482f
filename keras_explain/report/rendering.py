"""How templates become pages: pictures, numbers and times as text."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Any

import jinja2
import markupsafe
import numpy as np


def data_uri(picture: bytes) -> str:
    """Returns a picture as an address that holds it."""
    kind = "png" if picture.startswith(b"\x89PNG") else "jpeg"
    if picture.startswith(b"GIF8"):
        kind = "gif"
    return f"data:image/{kind};base64,{base64.b64encode(picture).decode()}"


def duration(seconds: float) -> str:
    """Returns a time as a person would say it."""
    if seconds < 1:
        return f"{1000 * seconds:.0f} ms"
    if seconds < 100:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min"


def percent(share: float) -> str:
    """Returns a probability in percent; never "100" for less than all."""
    if share < 0.0005:
        return "< 0.1 %"
    return "> 99.9 %" if 0.9995 <= share < 1 else f"{100 * share:.1f} %"


def number(value: float) -> str:
    """Returns three digits, without an exponent where one can do without."""
    if value == 0 or 1e-3 <= abs(value) < 1e5:
        digits = max(0, 2 - int(np.floor(np.log10(abs(value) or 1))))
        return f"{value:.{digits}f}"
    return f"{value:.2e}"


def _csp_hash(script: Any) -> markupsafe.Markup:
    digest = hashlib.sha256(str(script).encode()).digest()
    return markupsafe.Markup(base64.b64encode(digest).decode())


def environment() -> jinja2.Environment:
    """Returns what reads the templates in this folder."""
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(
        data_uri=data_uri,
        duration=duration,
        number=number,
        percent=percent,
        csp_hash=_csp_hash,
    )
    return made
