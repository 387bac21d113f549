"""Which classes the maps are of: all, the best K, or a list."""

from __future__ import annotations

import numpy as np

from ovxai.errors import UnsupportedModelError
from ovxai.verification.report import Check

#: Scores this close, relative to the largest, may change places in another fusion order.
TIE = 1e-5


def classes_of(text: str, index: np.ndarray | None, total: int) -> np.ndarray:
    """The class of every map of one picture, [K]; `index` is its row of `saliency_index`.

    Raises:
        UnsupportedModelError: rt_info's `classes` makes no sense, or `saliency_index` is missing.
    """
    if text in ("", "all"):
        return np.arange(total)
    if text.startswith("top:"):
        if index is None:
            raise UnsupportedModelError(f"rt_info says classes {text}, but there is no saliency_index output")
        return index.reshape(-1)
    try:
        return np.array([int(word) for word in text.split(",")])
    except ValueError:
        raise UnsupportedModelError(
            f"rt_info says classes {text!r}; verify knows all, top:K and 0,3,7"
        ) from None


def check_index(text: str, index: np.ndarray | None, ranking: np.ndarray | None, total: int) -> Check | None:
    """`saliency_index` [N, 1, K] names the classes with the largest `ranking` [N, C], or the list asked for."""
    title = "saliency_index"
    if index is None:
        return None
    if index.ndim != 3 or index.shape[1] != 1 or index.dtype != np.int64:
        return Check(title, False, f"is {index.dtype} of shape {list(index.shape)}, not int64 [N, 1, K]")
    if index.min() < 0 or index.max() >= total:
        return Check(title, False, f"names class {index.max()} of {total}")
    if not text.startswith("top:"):
        wanted = classes_of(text, None, total)
        ok = all(np.array_equal(row.reshape(-1), wanted) for row in index)
        return Check(
            title,
            ok,
            "the classes asked for" if ok else f"is {index[0, 0].tolist()}, asked for {wanted.tolist()}",
        )
    count = min(int(text[4:]), total)
    if index.shape[2] != count:
        return Check(title, False, f"names {index.shape[2]} classes, asked for {count}")
    for row, scores in zip(index[:, 0], ranking, strict=True):
        if problem := _not_best(row, scores):
            return Check(title, False, problem)
    return Check(title, True, f"the {count} best of {total} classes, best first")


def _not_best(row: np.ndarray, scores: np.ndarray) -> str:
    if len(set(row.tolist())) != len(row):
        return f"names a class twice: {row.tolist()}"
    best = np.sort(scores)[::-1][: len(row)]
    # Place by place, so that equal scores may stand in any order and unequal ones may not.
    off = np.abs(scores[row] - best) > TIE * max(np.abs(scores).max(), 1e-30)
    if not off.any():
        return ""
    place = int(off.argmax())
    return f"place {place + 1} is class {row[place]} ({scores[row[place]]:.6g}), the score there should be {best[place]:.6g}"
