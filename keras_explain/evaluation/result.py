"""What an evaluation found, for each sample and for all of them."""

from __future__ import annotations

import dataclasses
import json
import math
import os
from typing import Any

import numpy as np

from keras_explain.engine.errors import message
from keras_explain.engine.files import write_aside


@dataclasses.dataclass(frozen=True, eq=False)
class Evaluation:
    """What a measure says about an explainer on some data.

    Attributes:
        name: The measure.
        per_sample: `(samples,)` float64, NaN where the measure says nothing
            about a sample.
        mean: Mean over the valid samples; NaN if there are none.
        sem: Standard error of the mean: the standard deviation over the
            valid samples, with `n - 1`, over the root of their number. NaN
            for fewer than two.
        n_valid: How many samples are valid.
        curve: `None`, or a dict: `x` `(points,)`; `y` and `sem` `(points,)`,
            mean and standard error over the valid samples; `per_sample`
            `(samples, points)`; and `labels` if the points have names.
        settings: How it was measured, as text and numbers.
        details: What else was found: arrays with a row for each sample. Each
            measure says what there is.
    """

    name: str
    per_sample: np.ndarray
    mean: float
    sem: float
    n_valid: int
    curve: dict[str, Any] | None
    settings: dict[str, Any]
    details: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.per_sample)

    def __repr__(self) -> str:
        spread = "" if math.isnan(self.sem) else f" +- {self.sem:.2g}"
        valid = f"{self.n_valid} of {len(self)} samples"
        return f"<Evaluation {self.name}: {self.mean:.4g}{spread}, {valid}>"

    def to_dict(self) -> dict[str, Any]:
        """Returns all of it as lists and numbers; NaN becomes `None`."""
        return _plain(
            {
                field.name: getattr(self, field.name)
                for field in dataclasses.fields(self)
            }
        )

    def save(self, path: str | os.PathLike) -> None:
        """Writes a `.npz` or a `.json` file, aside first and then renamed.

        Args:
            path: File to write; an existing one is replaced.

        Raises:
            ValueError: If the name ends in something else.
            OSError: If it cannot be written there.
        """
        if _ending(path) == ".json":
            text = json.dumps(self.to_dict(), allow_nan=False, indent=1)
            write_aside(path, text.encode())
            return
        arrays: dict[str, Any] = {"per_sample": self.per_sample}
        for key, value in (self.curve or {}).items():
            arrays[f"curve/{key}"] = np.asarray(value)
        for key, value in self.details.items():
            arrays[f"details/{key}"] = value
        about = {
            "name": self.name,
            "mean": self.mean,
            "sem": self.sem,
            "n_valid": self.n_valid,
            "settings": self.settings,
        }
        arrays["about"] = np.array(json.dumps(about))
        write_aside(path, lambda file: np.savez_compressed(file, **arrays))

    @classmethod
    def load(cls, path: str | os.PathLike) -> Evaluation:
        """Reads what `save` wrote."""
        if _ending(path) == ".json":
            with open(path, encoding="utf-8") as file:
                found = json.load(file)
            found["per_sample"] = _array(found["per_sample"])
            found["details"] = {
                k: _array(v) for k, v in found["details"].items()
            }
            if found["curve"] is not None:
                found["curve"] = {
                    k: v if k == "labels" else _array(v)
                    for k, v in found["curve"].items()
                }
            for key in ("mean", "sem"):
                found[key] = math.nan if found[key] is None else found[key]
            return cls(**found)
        with np.load(path, allow_pickle=False) as file:
            about = json.loads(str(file["about"]))
            parts: dict[str, dict] = {"curve": {}, "details": {}}
            for name in file.files:
                group, _, key = name.partition("/")
                if key:
                    parts[group][key] = file[name]
            if "labels" in parts["curve"]:
                parts["curve"]["labels"] = parts["curve"]["labels"].tolist()
            return cls(
                per_sample=file["per_sample"],
                curve=parts["curve"] or None,
                details=parts["details"],
                **about,
            )

    def plot(self) -> Any:
        """Returns a matplotlib figure of the curve and its standard error.

        Raises:
            ValueError: If the measure has no curve.
        """
        from keras_explain.plots.canvas import new_figure

        if self.curve is None:
            raise ValueError(
                message(
                    "Only a measure with a curve can be drawn.",
                    f"the evaluation {self.name!r}",
                    "Look at `per_sample` and `mean`.",
                )
            )
        x, y, sem = (self.curve[key] for key in ("x", "y", "sem"))
        figure = new_figure(5.0, 3.2)
        axes = figure.subplots()
        axes.plot(x, y, marker="o" if len(x) < 20 else "", markersize=3)
        reach = np.nan_to_num(sem)
        axes.fill_between(x, y - reach, y + reach, alpha=0.25, linewidth=0)
        labels = self.curve.get("labels")
        if labels:
            axes.set_xticks(x, labels, rotation=60, ha="right", fontsize=7)
        axes.set_title(f"{self.name}: {self.mean:.3g}", fontsize=10)
        return figure

    def _repr_png_(self) -> bytes | None:
        if self.curve is None:
            return None
        from keras_explain.plots.files import to_png

        return to_png(self.plot())


def evaluated(
    name: str,
    per_sample: Any,
    settings: dict[str, Any],
    *,
    curve: tuple[Any, Any] | None = None,
    labels: list[str] | None = None,
    details: dict[str, Any] | None = None,
    groups: np.ndarray | None = None,
) -> Evaluation:
    """Returns the evaluation of what was found for each sample.

    Args:
        name, settings, details: See `Evaluation`.
        per_sample: `(samples,)`; what is not finite is not valid.
        curve: `(points,)` and `(samples, points)`.
        labels: Names of the points.
        groups: `(samples,)` group of each sample, to take the mean over the
            means of groups that have a valid sample.
    """
    values = np.asarray(per_sample, np.float64)
    values = np.where(np.isfinite(values), values, np.nan)
    valid = np.isfinite(values)
    counted = values[valid]
    if groups is not None:
        kinds = groups[valid]
        counted = np.array([counted[kinds == k].mean()
                            for k in np.unique(kinds)])  # fmt: skip
    mean, sem = _mean_and_error(counted[:, np.newaxis])
    found: dict[str, Any] | None = None
    if curve is not None:
        x, each = (np.asarray(part, np.float64) for part in curve)
        y, error = _mean_and_error(each[valid])
        found = {"x": x, "y": y, "sem": error, "per_sample": each}
        if labels is not None:
            found["labels"] = list(labels)
    kept = {k: np.asarray(v) for k, v in (details or {}).items()}
    return Evaluation(
        name, values, float(mean[0]), float(sem[0]), int(valid.sum()), found,
        settings, kept,
    )  # fmt: skip


def _mean_and_error(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Over what is finite along the first axis; NaN where it is too short."""
    there = np.isfinite(values)
    number = there.sum(0)
    filled = np.where(there, values, 0.0)
    mean = np.where(number > 0, filled.sum(0) / np.maximum(number, 1), np.nan)
    squares = np.where(there, (values - mean) ** 2, 0.0).sum(0)
    variance = squares / np.maximum(number - 1, 1)
    error = np.sqrt(variance / np.maximum(number, 1))
    return mean, np.where(number > 1, error, np.nan)


def _ending(path: str | os.PathLike) -> str:
    ending = os.path.splitext(os.fspath(path))[1].lower()
    if ending not in (".npz", ".json"):
        raise ValueError(
            message(
                "An evaluation is saved as .npz or .json.",
                f"path={os.fspath(path)!r}",
                "The first is smaller, the second can be read anywhere.",
            )
        )
    return ending


def _array(values: list) -> np.ndarray:
    array = np.array(values, dtype=object)
    missing = array == np.array(None)
    if missing.any():
        return np.where(missing, np.nan, array).astype(np.float64)
    return np.array(values)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, (float, np.floating)):
        return float(value) if math.isfinite(value) else None
    return value.item() if isinstance(value, np.generic) else value
