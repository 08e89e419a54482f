"""The tables of docs/methods_on_demo.md: every method on the demo network.

python docs/evaluation_table.py --write [--samples N] [--from FOLDER]

Without `--write` it prints them. It runs `keras-explain evaluate demo demo`
on everything in the catalogue, which takes some minutes; `--from` takes the
folder of such a run that is there already.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parent / "methods_on_demo.md"
BEGIN, END = "<!-- table:begin -->", "<!-- table:end -->"
# All that is quick enough for everything in the catalogue.
MEASURES = (
    "pointing", "energy", "boxes", "deletion", "insertion", "road",
    "sensitivity_n", "infidelity", "completeness",
)  # fmt: skip


def run(folder: str, samples: int) -> None:
    """Runs the command."""
    from keras_explain.cli.main import main

    code = main(
        ["evaluate", "demo", "demo", "--samples", str(samples), "--measures",
         ",".join(MEASURES), "--out", folder]
    )  # fmt: skip
    if code:
        raise SystemExit(code)


def tables(found: dict[str, Any]) -> str:
    """Returns the tables as Markdown."""
    columns = found["measures"]
    head = ["Method", "Mean rank"]
    for column in columns:
        better = "high" if column["higher_is_better"] else "low"
        head.append(f"{column['title']} ({better})")
    rows = [head, ["---"] + ["---:"] * (len(head) - 1)]
    rows += [_row(method, columns) for method in found["methods"]]
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    left = [
        f"- {name}: {' '.join(why.split())}"
        for name, why in found["left_out"].items()
    ]
    about = (
        f"{found['samples']} pictures, seed {found['seed']}, keras_explain "
        f"{found['version']}."
    )
    text = about + "\n\n" + "\n".join(lines)
    return text + ("\n\nLeft out:\n\n" + "\n".join(left) if left else "")


def _row(method: dict[str, Any], columns: list[dict[str, Any]]) -> list[str]:
    title = method["title"]
    title = f"*{title}*" if method["baseline"] else title
    rank = method["mean_rank"]
    cells = [title, "" if rank is None else f"{rank:.1f}"]
    for column in columns:
        result = method["measures"].get(column["name"])
        cells.append("" if result is None else _cell(result, column))
    return cells


def _cell(result: dict[str, Any], column: dict[str, Any]) -> str:
    mean, sem = result["mean"], result["sem"]
    if mean is None:
        return ""
    text = _number(mean)
    if column["ranked"] and result["best"]:
        text = f"**{text}**"
    elif column["ranked"] and result["close_to_best"]:
        text = f"**≈** {text}"
    return text if sem is None else f"{text} ± {_number(sem)}"


def _number(value: float) -> str:
    if value == 0 or 1e-3 <= abs(value) < 10:
        return f"{value:.3f}"
    return f"{value:.3g}" if abs(value) < 1e5 else f"{value:.1e}"


def main() -> None:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--samples", type=int, default=64)
    parser.add_argument("--from", dest="folder")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as aside:
        folder = arguments.folder or aside
        if arguments.folder is None:
            run(folder, arguments.samples)
        text = (Path(folder) / "evaluation.json").read_text("utf-8")
    made = tables(json.loads(text))
    if not arguments.write:
        print(made)
        return
    page = PAGE.read_text("utf-8")
    start, end = page.index(BEGIN) + len(BEGIN), page.index(END)
    aside_file = PAGE.with_suffix(".tmp")
    aside_file.write_text(f"{page[:start]}\n\n{made}\n\n{page[end:]}", "utf-8")
    os.replace(aside_file, PAGE)


if __name__ == "__main__":
    main()
