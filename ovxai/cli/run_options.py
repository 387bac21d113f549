"""What `ovxai run` can be asked for: its options, and what came of them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import click

from ovxai.cli.options import DEVICE, HOST_METHODS, LABELS, LABELS_OFFSET, MASK_COUNT, SEED, TRUST, Method
from ovxai.runtime.config import COLORMAPS, INTERPOLATIONS, MOST_PIXELS, STYLES

WHAT = (
    click.option("--target", type=click.Choice(["image", "all", "predictions"], case_sensitive=False), default="predictions",
                 show_default=True, help="One map for the picture, one per class, or one per predicted class."),
    click.option("--class", "classes", multiple=True, metavar="NAME|INDEX",
                 help="Explain this class whatever is predicted; repeatable; instead of --target."),
    click.option("--threshold", type=click.FloatRange(0, 1),
                 help="Score over which a class counts as predicted. Where no class of a single-label model is over it, the best "
                      "one is explained all the same, and called a guess.  [default: rt_info confidence_threshold of "
                      "multi-label models and detectors, else 0.3]"),
    click.option("--top", type=click.IntRange(1), metavar="K",
                 help="The K best classes count as predicted, whatever their score; of detectors, the K best that were found."),
    click.option("--input", "inputs", multiple=True, metavar="NAME=FILE",
                 help="What to feed to an input beside the picture: a picture or .npy file; repeatable."),
    click.option("--method", type=Method(HOST_METHODS),
                 help="Maps from outside of the model, by asking it hundreds of times: for models into which nothing can be "
                      "inserted.  [default: the model's own maps]"),
    MASK_COUNT,
    SEED,
    LABELS,
    LABELS_OFFSET,
    click.option("--recursive", is_flag=True, help="Look into the folders of a folder."),
    click.option("--limit", type=click.IntRange(1), metavar="N", help="Stop after N pictures or frames."),
    click.option("--every", type=click.IntRange(1), default=1, metavar="N", help="Of videos, only each N-th frame."),
    click.option("--max-pixels", type=click.IntRange(0), default=MOST_PIXELS, show_default=True, metavar="N",
                 help="Refuse larger pictures, which may take more memory than there is; 0: of any size."),
)  # fmt: skip

LOOK = (
    click.option("--postprocess/--no-postprocess", default=True, show_default=True,
                 help="Map at the picture's size, in colour, with an overlay; or the low-resolution grey map."),
    click.option("--opacity", type=click.FloatRange(0, 1), default=0.5, show_default=True,
                 help="Share of the map in overlays, where it is hottest."),
    click.option("--colormap", type=click.Choice(COLORMAPS), default="jet", show_default=True, help="Colours of the map."),
    click.option("--interpolation", type=click.Choice(INTERPOLATIONS), default="linear", show_default=True,
                 help="How the map is brought to the picture's size."),
    click.option("--style", type=click.Choice(STYLES), default="fade", show_default=True,
                 help="Overlays as colour that fades where the map is cold, colour everywhere, or lines of equal evidence."),
    click.option("--captions/--no-captions", default=True, show_default=True,
                 help="Write class, score and colours on overlays and video frames."),
    click.option("--grid", type=click.IntRange(0), default=0, metavar="N",
                 help="Also put the best N classes side by side, explained or not."),
    click.option("--format", "form", type=click.Choice(["png", "jpeg", "webp"]), default="png", show_default=True,
                 help="Of the pictures that are written; jpeg takes a tenth of the time of png, a third with the extra `fast`."),
    click.option("--video-format", type=click.Choice(["mp4", "webm"]), default="mp4", show_default=True,
                 help="Of videos: MPEG-4, which is fast to write, or VP8, which browsers play."),
    click.option("--npy", is_flag=True, help="Also store the raw arrays."),
    click.option("--report/--no-report", default=True, show_default=True,
                 help="Also write report.html, a page to look through the pictures; videos are not in it."),
    click.option("--force", is_flag=True, help="Overwrite files of an earlier run in DIR."),
)  # fmt: skip

WHERE = (
    DEVICE,
    click.option("--hint", type=click.Choice(["latency", "throughput"]),
                 help="What the device is set up for.  [default: latency for one picture, else throughput]"),
    click.option("--precision", type=click.Choice(["f32", "f16", "bf16"]),
                 help="What the device computes in.  [default: as it likes]"),
    click.option("--batch", type=click.IntRange(1), metavar="N", help="Pictures per inference.  [default: the model's, else 1]"),
    click.option("--cache-dir", type=click.Path(path_type=Path), help="Keep compiled models here for a faster next start."),
    click.option("--self-check/--no-self-check", default=True, show_default=True,
                 help="Hold the first picture against a compilation with one stream, where there are several."),
    TRUST,
)  # fmt: skip


@dataclass(frozen=True)
class RunOptions:
    """The values of the options above and of `FEEDING`, by their names."""

    target: str
    classes: tuple[str, ...]
    threshold: float | None
    inputs: tuple[str, ...]
    method: str | None
    masks: int
    seed: int
    top: int | None
    labels: Path | None
    labels_offset: int | None
    recursive: bool
    limit: int | None
    every: int
    max_pixels: int
    postprocess: bool
    opacity: float
    colormap: str
    interpolation: str
    style: str
    captions: bool
    grid: int
    form: str
    video_format: str
    npy: bool
    report: bool
    force: bool
    device: str
    hint: str | None
    precision: str | None
    batch: int | None
    cache_dir: Path | None
    self_check: bool
    trust: bool
    mean: tuple[float, ...] | None
    scale_values: tuple[float, ...] | None
    resize_type: str | None
    pad_value: int | None
    reverse_input_channels: bool | None
    input_size: tuple[int, int] | None
    annotations: Path | None
    names: Path | None

    def settings(self) -> dict[str, object]:
        """What made the maps look as they do, as plain JSON values."""
        plain = {name: str(value) if isinstance(value, Path) else value for name, value in asdict(self).items()}
        silent = {"recursive", "force", "trust", "self_check", *(() if self.method else ("masks", "seed"))}
        return {name: value for name, value in plain.items() if value not in (None, ()) and name not in silent}
