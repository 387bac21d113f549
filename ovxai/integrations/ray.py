"""Explaining a Ray Data set: the class that its actors hold, with one compiled model each.

    rows = ray.data.read_binary_files("photos", include_paths=True).map_batches(
        ExplainPictures, fn_constructor_args=("model_xai.xml",), compute=ray.data.ActorPoolStrategy(size=4), batch_size=16
    )
    rows.write_parquet("maps")

Reading, spreading the work, starting dead workers again and writing are Ray's; see docs/ray.md.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ovxai.errors import OptionError, SourceError
from ovxai.explainer import Explainer
from ovxai.runtime.config import ExplainConfig
from ovxai.runtime.explanation import Explanation
from ovxai.runtime.feed.images import decode_image, read_image, to_pixels
from ovxai.runtime.feed.sources import Broken, Frame
from ovxai.runtime.show.picture_maps import Key, class_of
from ovxai.runtime.write.encode import encode_picture

try:
    import pyarrow as pa
except ImportError as error:
    raise ImportError("ovxai.integrations.ray needs Ray Data; run: pip install 'ray[data]' pyarrow") from error

#: The columns of one row that are not null.
Row = dict[str, Any]
log = logging.getLogger(__name__)

#: Where Ray's readers put pictures: read_images, read_binary_files, and lists of paths.
PICTURE_COLUMNS = ("image", "bytes", "path")
_ROW_COLUMNS = ("class", "label", "score", "map", "overlay", "error")


class ExplainPictures:
    """For `Dataset.map_batches` with an actor pool: a batch of pictures in, one row per map out.

    model: path that every node can read, explained or plain. config: what is explained, and how overlays look.
    column: which column holds the pictures: arrays [H, W, 3] u8 RGB, the bytes of picture files, or paths that
        every node can read; default: the first there is of `PICTURE_COLUMNS`.
    keep: columns that every row of a picture repeats, as an id; default: `path`, where there is one.
    overlay: also give the picture under its map, as the bytes of a PNG of the picture's size.
    skip_broken: a picture that can't be read becomes a row with `error` set; False: the run fails.
    explainer: further keywords of `ovxai.Explainer`. `threads` is the number of CPUs that Ray gives
        the actor (`num_cpus`), unless given here.

    The rows, as an Arrow table whose types depend on the model alone: `keep`'s columns; `class`, int32; `label`,
    string; `score`, float 0..1; `map`, list of h lists of w numbers, u8 0..255 or float for models inserted with
    `--raw`; `overlay`, binary or null; `error`, string or null. `class` is null where the map is that
    of the whole picture. No picture is without a row: where nothing was predicted, or the picture is broken, `map` is null.

    Raises:
        OvxaiError: as `ovxai.Explainer` does, and a SourceError for a broken picture unless `skip_broken`.
    """

    def __init__(
        self,
        model: str | Path,
        config: ExplainConfig | None = None,
        *,
        column: str | None = None,
        keep: Sequence[str] | None = None,
        overlay: bool = False,
        skip_broken: bool = True,
        **explainer: Any,
    ) -> None:
        taken = set(keep or ()) & set(_ROW_COLUMNS)
        if taken:
            raise OptionError(f"keep: {', '.join(sorted(taken))}: the rows have columns of that name; rename yours first")
        self._column = column
        self._keep = None if keep is None else tuple(keep)
        self._overlay = overlay
        self._skip_broken = skip_broken
        threads = explainer.pop("threads", None) or _cpus_from_ray()
        self._explainer = Explainer(model, config, threads=threads, **{"hint": "throughput", **explainer})
        number = pa.uint8() if self._explainer.facts.explained.scaled else pa.float32()
        self._types = dict(zip(_ROW_COLUMNS, (
            pa.int32(), pa.string(), pa.float32(), pa.list_(pa.list_(number)), pa.binary(), pa.string(),
        )))  # fmt: skip

    def __call__(self, batch: Mapping[str, np.ndarray]) -> pa.Table:
        """batch: column -> array of n values, Ray's batch format "numpy"."""
        column = self._picture_column(batch)
        kept = self._kept_columns(batch)
        names = [str(name) for name in batch["path"]] if "path" in batch else [f"row {i}" for i in range(len(batch[column]))]
        frames = (Frame(name, name, _Loader(value, name)) for value, name in zip(batch[column], names))
        results = [self._broken(found) if isinstance(found, Broken) else found for found in self._explain(frames)]
        carried = {name: pa.array([value for value, rows in zip(batch[name], results) for _ in rows]) for name in kept}
        flat = [row for rows in results for row in rows]
        own = {name: pa.array([row.get(name) for row in flat], kind) for name, kind in self._types.items()}
        return pa.table({**carried, **own})

    def _picture_column(self, batch: Mapping[str, np.ndarray]) -> str:
        wanted = (self._column,) if self._column else PICTURE_COLUMNS
        for name in wanted:
            if name in batch:
                return name
        raise OptionError(f"no column {' or '.join(wanted)} among {', '.join(batch)}; name the pictures' one with column=")

    def _kept_columns(self, batch: Mapping[str, np.ndarray]) -> tuple[str, ...]:
        if self._keep is None:
            return ("path",) if "path" in batch else ()
        missing = [name for name in self._keep if name not in batch]
        if missing:
            raise OptionError(f"keep: no column {', '.join(missing)} among {', '.join(batch)}")
        return self._keep

    def _explain(self, frames: Iterator[Frame]) -> Iterator[list[Row] | Broken]:
        """The rows of each picture, in order."""
        return self._explainer.pipeline(self._rows).run(frames)

    def _rows(self, _frame: Frame, explanation: Explanation) -> list[Row]:
        """In one of the pipeline's threads, so that overlays are encoded while the next pictures are inferred."""
        return [self._row(explanation, key) for key in explanation.raw_maps] or [{}]

    def _row(self, explanation: Explanation, key: Key) -> Row:
        return {
            "class": class_of(key),
            "label": explanation.label(key),
            "score": explanation.score(key),
            "map": explanation.raw_maps[key].tolist(),
            "overlay": encode_picture(explanation.overlay(key), "png") if self._overlay else None,
        }  # fmt: skip

    def _broken(self, item: Broken) -> list[Row]:
        if not self._skip_broken:
            raise SourceError(item.reason)
        log.warning(item.reason)
        return [{"error": item.reason}]


@dataclass(frozen=True)
class _Loader:
    """Reads one cell of the pictures' column, in a thread of the pipeline."""

    value: Any
    name: str

    def __call__(self, channels: int) -> np.ndarray:
        if isinstance(self.value, (bytes, bytearray, memoryview)):
            return decode_image(self.value, self.name, channels)
        if isinstance(self.value, (str, Path)):
            return read_image(self.value, channels)
        if isinstance(self.value, np.ndarray):
            return to_pixels(self.value, self.name, channels)
        raise SourceError(f"{self.name}: {type(self.value).__name__} is no picture; give arrays, bytes of picture files or paths")


def _cpus_from_ray() -> int | None:
    """How many CPUs this actor may use; None where this process is no actor.

    Without this bound every actor of a node would start a thread for each of the node's cores.
    """
    try:
        import ray
    except ImportError:
        return None
    if not ray.is_initialized() or ray.get_runtime_context().get_actor_id() is None:
        return None
    cpus = ray.get_runtime_context().get_assigned_resources().get("CPU", 0)
    if not cpus:
        return None
    cv2.setNumThreads(1)  # the process is this actor's, and its pipeline has threads of its own
    return max(1, int(cpus))
