"""The repository's own models, and the pictures that go with them."""

from __future__ import annotations

from pathlib import Path

from ovxai.quantization.measure import Pictures

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"
SHAPES = {name: FIXTURES / "shapes" / f"{name}.xml" for name in ("cnn", "vit", "detector", "instances")}
#: Name -> plain IR.
OWN = {**SHAPES, "efficientnet_lite0": FIXTURES / "imagenet" / "efficientnet_lite0.xml"}


def folder_of(model: str | Path) -> Path:
    """Pictures of a model's kind; those of the repository's photographs for one that is not its own. model: name or path."""
    ours = model in SHAPES or model in SHAPES.values()
    return FIXTURES / ("shapes/test" if ours else "photos")


def first_pictures(pictures: Pictures, count: int) -> tuple[str, ...]:
    """At most `count` paths; the shapes world keeps masks beside its pictures, which are none."""
    return tuple(path for path in pictures.paths if "mask" not in Path(path).name)[:count]
