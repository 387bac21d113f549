"""Random heads, mutated pictures, manifests and lists of labels."""

from __future__ import annotations

import functools
import json
from pathlib import Path

import cv2
import numpy as np

from fuzzing.mutations import damaged, in_the_head, odd
from helpers.random_heads import AFTER, LAYOUTS, MEET, WISE, Recipe
from ovxai.labels import read_labels
from ovxai.runtime.feed.images import decode_image
from ovxai.runtime.write.manifest import write_manifest
from ovxai.runtime.write.maps import WrittenFile

FORMS = (".png", ".jpg", ".bmp", ".webp", ".tif", ".gif", ".ppm", ".pgm", ".jp2", ".hdr", ".ras", ".avif")


def heads(rng: np.random.Generator, _folder: Path) -> None:
    """A random head, its collapsed maps against one masked copy at a time."""
    steps = [*WISE, *(f"to {name}" for name in LAYOUTS)]
    recipe = Recipe(
        str(rng.choice(list(LAYOUTS))), str(rng.choice(["point", "gaussian"])), int(rng.integers(1, 3)),
        [str(name) for name in rng.choice(steps, int(rng.integers(0, 7)))], str(rng.choice(list(MEET))),
        [str(name) for name in rng.choice(list(AFTER), int(rng.integers(0, 3)))],
    )  # fmt: skip
    found = recipe.outcome(4 if rng.random() < 0.3 else None)
    if not np.isfinite(found.truth).all():
        return
    assert found.deviation <= recipe.allowed(found), f"{recipe}: off by {found.deviation:.3g}; dense: {found.dense}"


def pictures(rng: np.random.Generator, _folder: Path) -> None:
    """A damaged picture file, to decode."""
    form = FORMS[int(rng.integers(len(FORMS)))]
    data = encoded(form, int(rng.integers(3)))
    if not data:
        return
    data = damaged(data, rng) if rng.random() < 0.5 else in_the_head(data, rng)
    channels = 3 if rng.random() < 0.7 else 4
    pixels = decode_image(data, f"picture{form}", channels, 1_000_000)
    assert pixels.dtype == np.uint8 and pixels.ndim == 3 and pixels.shape[2] == channels and pixels.size <= 4_000_000


@functools.cache
def encoded(form: str, kind: int) -> bytes:
    """A small picture: grey, in colours, or with transparency; b"" where OpenCV writes no such file."""
    across, down = np.meshgrid(np.arange(48), np.arange(40))
    grey = ((across * 5 + down * 3) % 256).astype(np.uint8)
    picture = (grey, np.dstack([grey, grey.T[:40, :40].repeat(2, 1)[:, :48], 255 - grey]), np.dstack([grey] * 3 + [255 - grey]))[
        kind
    ]
    values = picture.astype(np.float32) / 255 if form == ".hdr" else picture
    try:
        done, data = cv2.imencode(form, values)
    except cv2.error:
        return b""
    return data.tobytes() if done else b""


def manifests(rng: np.random.Generator, folder: Path) -> None:
    """A run into a folder whose manifest.json was damaged, or is of somebody else: it ends with a manifest that is whole."""
    record = WrittenFile("a.png", "overlay", "a.jpg", "a")
    (folder / "a.png").write_bytes(b"a")
    path = write_manifest(folder, {"path": "m.xml"}, [record], [], {"device": "CPU"})
    text = path.read_bytes()
    document = json.loads(text)
    if rng.random() < 0.5:
        text = damaged(text, rng)
    else:
        values = [
            odd(rng),
            None,
            7,
            [],
            {},
            True,
            1e300,
            [odd(rng)],
            {"path": 1},
            "\0",
            "a" * 300,
            "\ud800",
            [{"path": "\0"}],
            ["\0"],
        ]
        where = document if rng.random() < 0.6 else document["files"][0]
        where[str(rng.choice(list(where)))] = values[int(rng.integers(len(values)))]
        text = json.dumps(document).encode()
    path.write_bytes(text)
    other = WrittenFile("b.png", "overlay", "b.jpg", "b")
    found = json.loads(write_manifest(folder, {"path": "m.xml"}, [other], [("c.jpg", "broken")], {}).read_text(encoding="utf-8"))
    assert [entry["path"] for entry in found["files"]][-1] == "b.png" and found["failed"]


def labels(rng: np.random.Generator, folder: Path) -> None:
    """A damaged list of labels."""
    path = folder / "labels.txt"
    path.write_bytes(damaged("cat\ndog\nsnow leopard\nüöä\n".encode() * 3, rng))
    assert all(name.strip() for name in read_labels(path))
