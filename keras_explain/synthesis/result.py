"""Pictures that were made, and how."""

from __future__ import annotations

import dataclasses
import io
import json
import math
import os
from typing import Any

import numpy as np

from keras_explain.engine.errors import message
from keras_explain.engine.files import write_aside

# Pictures to look at are enlarged to this many pixels a side; a strip, whose
# other side is long, up to so many.
_SMALLEST, _LONGEST = 64, 1000


@dataclasses.dataclass(frozen=True, eq=False)
class Synthesis:
    """What an optimization made.

    Attributes:
        images: `(rows, *shape)` float32, in `value_range`: what the model
            takes, or what `preprocess` takes where there is one.
        score: `(rows,)`, the score of the final pictures as they are,
            without any transform.
        history: `{"score": (steps, rows), ...}` with a key for each
            regularizer: before each step, as the model saw the pictures.
        frames: `{step: images}` for each of the `snapshots`.
        steps: How many steps were made.
        stopped: Why it ended: `"finished"`, `"callback"`, `"variance"`
            (`stop="variance"` of `restore`), `"interrupted"` or
            `"diverged"`.
        titles: A line for each row: what was maximized.
        settings: The settings, as text or numbers.
        value_range: The smallest and largest value of `images`; infinite
            ones if they have no bounds.
        state: What is needed to go on.
    """

    images: np.ndarray
    score: np.ndarray
    history: dict[str, np.ndarray]
    frames: dict[int, np.ndarray]
    steps: int
    stopped: str
    titles: list[str]
    settings: dict[str, Any]
    value_range: tuple[float, float]
    state: dict[str, np.ndarray] = dataclasses.field(repr=False)

    def __len__(self) -> int:
        return len(self.images)

    def __repr__(self) -> str:
        shape = " x ".join(map(str, self.images.shape[1:]))
        return (
            f"<Synthesis of {len(self)} ({shape}), {self.steps} steps, "
            f"{self.stopped}, score {np.mean(self.score):.4g}>"
        )

    def pictures(self, images: np.ndarray | None = None) -> list[np.ndarray]:
        """Returns `(height, width, 3)` uint8 pictures to look at.

        Signals become a strip, of at most 1000 pixels; values without bounds
        are shown from their smallest to their largest.

        Args:
            images: Others in the same range, such as one of `frames`.
        """
        values = self.images if images is None else images
        low, high = self.value_range
        return [_picture(value, low, high) for value in values]

    def show(self, *, columns: int | None = None) -> Any:
        """Returns a matplotlib figure of all pictures with their titles."""
        from keras_explain import plots

        shown = self.pictures()
        columns = columns or min(len(shown), math.ceil(math.sqrt(len(shown))))
        labels = [
            f"{title}: {score:.3g}"
            for title, score in zip(self.titles, self.score, strict=True)
        ]
        starts = range(0, len(shown), columns)
        return plots.grid(
            [shown[k : k + columns] for k in starts],
            cell_labels=[labels[k : k + columns] for k in starts],
        )

    def _repr_png_(self) -> bytes:
        from keras_explain import plots

        return plots.to_png(self.show())

    @classmethod
    def concatenate(cls, parts: list[Synthesis]) -> Synthesis:
        """Joins the rows of several; what is not common to all is left out.

        Histories end with the shortest. There is no state to go on from.
        """
        first = parts[0]
        if len(parts) == 1:
            return first
        steps = min(len(part.history["score"]) for part in parts)
        common = set.intersection(*(set(part.frames) for part in parts))
        ends = {part.stopped for part in parts} - {"finished"}
        return dataclasses.replace(
            first,
            images=np.concatenate([part.images for part in parts]),
            score=np.concatenate([part.score for part in parts]),
            history={
                name: np.concatenate(
                    [part.history[name][:steps] for part in parts], axis=1
                )
                for name in first.history
            },
            frames={
                step: np.concatenate([part.frames[step] for part in parts])
                for step in sorted(common)
            },
            steps=min(part.steps for part in parts),
            stopped=ends.pop() if ends else "finished",
            titles=[title for part in parts for title in part.titles],
            state={},
        )

    def save(self, path: str | os.PathLike) -> None:
        """Writes all of it to a `.npz` file, or the pictures to a `.png`.

        Args:
            path: File to write, aside first and then renamed.

        Raises:
            ValueError: If the name ends in something else.
            OSError: If it cannot be written there.
        """
        ending = os.path.splitext(os.fspath(path))[1].lower()
        if ending == ".png":
            write_aside(path, self._repr_png_())
            return
        if ending != ".npz":
            raise ValueError(
                message(
                    "A synthesis is saved as .npz, its pictures as .png.",
                    f"path={os.fspath(path)!r}",
                    "`save_gif` writes how they came about.",
                )
            )
        arrays: dict[str, Any] = {"images": self.images, "score": self.score}
        for name in ("history", "frames", "state"):
            for key, value in getattr(self, name).items():
                arrays[f"{name}/{key}"] = value
        about = {
            "steps": self.steps,
            "stopped": self.stopped,
            "titles": self.titles,
            "settings": self.settings,
            "value_range": list(map(float, self.value_range)),
        }
        arrays["about"] = np.array(json.dumps(about))
        write_aside(path, lambda file: np.savez_compressed(file, **arrays))

    @classmethod
    def load(cls, path: str | os.PathLike) -> Synthesis:
        """Reads what `save` wrote to a `.npz` file.

        Raises:
            ValueError: If it holds something else.
        """
        with np.load(path, allow_pickle=False) as file:
            if not {"about", "images", "score"} <= set(file.files):
                raise ValueError(
                    message(
                        "This file holds no synthesis.",
                        f"path={os.fspath(path)!r} with "
                        f"{', '.join(file.files[:8]) or 'nothing'}",
                        "Pass one that `Synthesis.save` wrote.",
                    )
                )
            about = json.loads(str(file["about"]))
            about["value_range"] = tuple(about["value_range"])
            found: dict[str, dict] = {"history": {}, "frames": {}, "state": {}}
            for name in file.files:
                group, _, key = name.partition("/")
                if key:
                    found[group][key] = file[name]
            found["frames"] = {int(k): v for k, v in found["frames"].items()}
            return cls(
                images=file["images"], score=file["score"], **about, **found
            )

    def save_gif(
        self, path: str | os.PathLike, *, milliseconds: int = 200
    ) -> None:
        """Writes the frames as a moving picture, all rows side by side.

        Args:
            path: File to write, aside first and then renamed.
            milliseconds: How long each frame is shown.

        Raises:
            ValueError: If there are no frames.
            OSError: If it cannot be written there.
        """
        from PIL import Image

        if not self.frames:
            raise ValueError(
                message(
                    "A moving picture is made of snapshots.",
                    "a synthesis without frames",
                    "Pass such as `snapshots=range(0, 512, 32)`.",
                )
            )
        frames = [self.frames[step] for step in sorted(self.frames)]
        frames.append(self.images)
        shown = [
            Image.fromarray(_side_by_side(self.pictures(frame)))
            for frame in frames
        ]
        buffer = io.BytesIO()
        shown[0].save(
            buffer, format="gif", save_all=True, append_images=shown[1:],
            duration=milliseconds, loop=0,
        )  # fmt: skip
        write_aside(path, buffer.getvalue())


def _picture(value: np.ndarray, low: float, high: float) -> np.ndarray:
    """One sample of any rank as `(height, width, 3)` uint8."""
    if not (math.isfinite(low) and math.isfinite(high)):
        low, high = float(value.min()), float(value.max())
    value = np.clip((value - low) / max(high - low, 1e-12), 0, 1)
    if value.ndim == 1:
        value = value[np.newaxis, :, np.newaxis]
    elif value.ndim == 2:  # a signal: time from left to right
        value = value.T[..., np.newaxis]
    elif value.ndim > 3:  # a volume: its middle slice
        value = value[value.shape[0] // 2]
    if value.shape[-1] != 3:
        value = np.repeat(value[..., :1], 3, axis=-1)
    return np.round(_in_sight(value) * 255).astype(np.uint8)


def _in_sight(value: np.ndarray) -> np.ndarray:
    """Enlarges a picture too small to look at; strips become broad."""
    if min(value.shape[:2]) >= _SMALLEST:
        return value
    for axis in (0, 1):
        value = _pooled(value, axis)
    while min(value.shape[:2]) < _SMALLEST:
        for axis in (0, 1):
            if 2 * value.shape[axis] <= _LONGEST:
                value = value.repeat(2, axis=axis)
    return value


def _pooled(value: np.ndarray, axis: int) -> np.ndarray:
    """Of each block of a long axis, the value that is farthest from gray.

    The mean would show fast waves as nothing.
    """
    block = math.ceil(value.shape[axis] / _LONGEST)
    if block == 1:
        return value
    value = np.moveaxis(value, axis, 0)
    missing = -len(value) % block
    value = np.pad(value, [(0, missing), (0, 0), (0, 0)], mode="edge")
    blocks = value.reshape(-1, block, *value.shape[1:])
    farthest = np.abs(blocks - 0.5).argmax(1)[:, np.newaxis]
    found = np.take_along_axis(blocks, farthest, 1)[:, 0]
    return np.moveaxis(found, 0, axis)


def _side_by_side(pictures: list[np.ndarray]) -> np.ndarray:
    columns = math.ceil(math.sqrt(len(pictures)))
    blank = np.full_like(pictures[0], 255)
    missing = -len(pictures) % columns
    cells = [*pictures, *[blank] * missing]
    rows = [
        np.concatenate(cells[k : k + columns], axis=1)
        for k in range(0, len(cells), columns)
    ]
    return np.concatenate(rows, axis=0)
