"""A whole run: sources in, files and a manifest out."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Protocol, TypeVar

import numpy as np

from ovxai.runtime.config import MOST_PIXELS, ExplainConfig
from ovxai.runtime.explanation import Explanation
from ovxai.runtime.feed.images import ARRAY_SUFFIX, check_file_channels
from ovxai.runtime.feed.sources import Broken, Clip, Frame, Source, pictures
from ovxai.runtime.show.picture_maps import IMAGE_KEY, Key, PictureMaps
from ovxai.runtime.show.said import Said, say
from ovxai.runtime.show.truth import Verdict
from ovxai.runtime.write.manifest import Ledger
from ovxai.runtime.write.maps import Writer, WrittenFile
from ovxai.runtime.write.report import Report
from ovxai.runtime.write.video import VideoFile

B = TypeVar("B")
Made_co = TypeVar("Made_co", covariant=True)


class Works(Protocol[Made_co]):
    """The stages, ready to run; `ovxai.runtime.pipeline.Pipeline` is one."""

    def run(self, items: Iterable[Frame | Broken], /) -> Generator[Made_co | Broken, None, None]:
        """What was made of every picture, in order; a broken one stands in its place as `Broken`."""


class Explains(Protocol):
    """What a run needs of an `ovxai.Explainer`."""

    config: ExplainConfig

    @property
    def name(self) -> str:
        """Of the model, for messages."""

    @property
    def channels(self) -> int:
        """Of the pictures that the model takes: 3 (RGB), 4 (RGBA), or what no picture file holds."""

    def pipeline(self, finish: Callable[[Frame, Explanation], B]) -> Works[B]:
        """The stages from a frame to what `finish` makes of its explanation."""


@dataclass
class RunResult:
    """What came of a run.

    explained: pictures and frames. without: those of them for which nothing was predicted, so that
    no map was wanted. written: every file, in the order of the sources. videos: those of
    them that are, each behind its source. broken: what failed, and why.
    """

    explained: int = 0
    without: int = 0
    written: Ledger = field(default_factory=Ledger)
    videos: list[tuple[str, str]] = field(default_factory=list)
    broken: list[Broken] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    interrupted: bool = False


@dataclass(frozen=True)
class _Done:
    """A picture at its end: its files and its card in the report, or a video frame's overlays by their word in file names."""

    frame: Frame
    empty: bool
    notes: tuple[str, ...]
    files: tuple[WrittenFile, ...] = ()
    card: str = ""
    said: Said | None = None
    overlays: dict[str, np.ndarray] = field(default_factory=dict)


class Run:
    """One run of an explainer over sources, into one writer's folder.

    explainer: explains the pictures. limit, every, most_pixels: see
    `ovxai.runtime.feed.sources.pictures`. report: gets a card of
    every picture that is no video's frame. judge: holds a picture's
    predictions against annotations. result: what has come of it so far, also after a run that was broken off.
    """

    def __init__(
        self,
        explainer: Explains,
        writer: Writer,
        *,
        limit: int | None = None,
        every: int = 1,
        most_pixels: int | None = MOST_PIXELS,
        report: Report | None = None,
        judge: Callable[[PictureMaps], Verdict | None] | None = None,
    ) -> None:
        self._explainer = explainer
        self._writer = writer
        self._limit = limit
        self._every = every
        self._most_pixels = most_pixels
        self._unlisted: dict[str, tuple[WrittenFile, ...]] = {}
        self.result = RunResult()
        self._report = report
        self._judge = judge
        self._clip: tuple[Clip | None, str] = (None, "")

    def __call__(
        self,
        sources: Iterable[Source | Broken],
        *,
        stop: Callable[[], bool] = lambda: False,
        progress: Callable[[], None] = lambda: None,
        tell: Callable[[Said], None] = lambda _: None,
    ) -> RunResult:
        """Explain everything. `stop` is asked before each picture, `progress` told after each.

        tell: gets what is said of every picture that is no video's frame, in order.

        Whatever goes wrong with one source is this source's failure, and the run goes on.

        Raises:
            SourceError: the model takes pictures of other channels than files hold. (A source that can't be read is
                among the result's broken ones.)
        """
        sources = list(sources)
        if not any(isinstance(one, Source) and one.name.lower().endswith(ARRAY_SUFFIX) for one in sources):
            check_file_channels(self._explainer.channels, self._explainer.name)
        result = self.result
        videos = _Videos(self._writer, result)
        found = pictures(sources, limit=self._limit, every=self._every, stop=stop, most_pixels=self._most_pixels)
        work = self._explainer.pipeline(self._finish).run(self._named(found))
        try:
            for done in work:
                self._count(result, videos, done)
                if isinstance(done, _Done) and done.said:
                    tell(done.said)
                progress()
        finally:
            work.close()  # waits for what is in flight
            for files in self._unlisted.values():
                result.written.extend(files)
            videos.close()
            result.interrupted = stop()
        return result

    def _named(self, items: Iterable[Frame | Broken]) -> Iterator[Frame | Broken]:
        """Frames with the names they have in file names. Given here, in order: the threads behind finish in any."""
        for item in items:
            if isinstance(item, Broken):
                yield item
            elif item.clip is None:
                yield replace(item, stem=self._writer.claim(item.stem))
            else:
                if item.clip is not self._clip[0]:
                    self._clip = (item.clip, self._writer.claim(item.clip.stem))
                yield replace(item, stem=self._clip[1])

    def _finish(self, frame: Frame, explanation: Explanation) -> _Done:
        if self._judge is not None and frame.clip is None:
            explanation = replace(explanation, truth=self._judge(explanation))
        done = _Done(frame, not explanation.raw_maps, explanation.notes)
        if frame.clip is None:
            files = self._writer.write(explanation, frame.stem)
            self._unlisted[frame.stem] = files
            image = files[0].image if files else frame.stem
            done = replace(done, said=say(explanation, image))
            try:
                return replace(done, files=files, card=self._report.card(explanation, image, files) if self._report else "")
            except Exception as error:
                reason = Broken.of(frame.source, error).reason
                return replace(done, files=files, notes=(*done.notes, f"not in the report: {reason}"))
        return replace(done, overlays=dict(self._overlays(explanation)))

    def _overlays(self, explanation: Explanation) -> Iterator[tuple[str, np.ndarray]]:
        """Of a video's frame: one for each class asked for; else one of the best class, or the bare picture."""
        for word, key in self._shown(explanation):
            bare = key is not None and key not in explanation.raw_maps  # this frame has no map of the class
            yield word, replace(explanation, raw_maps={}, predictions=()).overlay() if bare else explanation.overlay(key)

    def _shown(self, explanation: Explanation) -> Iterator[tuple[str, Key | None]]:
        """What frames show, by its word in names of videos."""
        if self._explainer.config.classes:
            for key in dict.fromkeys(explanation.key(wanted) for wanted in self._explainer.config.classes):
                yield f"_class_{self._writer.class_word(explanation, key)}", key
        elif IMAGE_KEY in explanation.raw_maps:
            yield "_map_per_image", IMAGE_KEY
        else:
            yield "", next(iter(explanation.best_first(worst=0.0)), None)

    def _count(self, result: RunResult, videos: _Videos, done: _Done | Broken) -> None:
        if isinstance(done, Broken):
            result.broken.append(done)
            return
        result.explained += 1
        result.without += done.empty
        result.written.extend(self._unlisted.pop(done.frame.stem, ()))
        if self._report and done.card:
            self._report.add(done.card)
        result.notes += [note for note in done.notes if note not in result.notes]
        videos.write(done)


class _Videos:
    """The videos being written; those of one clip are closed when the next begins. One that fails is its clip's failure."""

    def __init__(self, writer: Writer, result: RunResult) -> None:
        self._writer = writer
        self._result = result
        self._clip: Clip | None = None
        self._image = ""
        self._files: dict[str, VideoFile | None] = {}

    def write(self, done: _Done) -> None:
        """Append a frame's overlays; whatever is not of the clip before ends that one's videos."""
        clip, image = done.frame.clip, done.frame.stem
        if clip is not self._clip:
            self.close()
            self._clip, self._image = clip, image
        if clip is None:
            return
        for word, picture in done.overlays.items():
            try:
                if word not in self._files:
                    self._files[word] = None
                    self._files[word] = self._writer.video(f"{image}{word}_overlay", clip.rate, clip.size)
                file = self._files[word]
                if file is not None:
                    file.write(picture)
            except Exception as error:
                self._files[word] = None
                self._result.broken.append(Broken.of(clip.source, error))

    def close(self) -> None:
        """Finish what is open."""
        clip, files = self._clip, [file for file in self._files.values() if file is not None]
        self._files, self._clip = {}, None
        for file in files:
            assert clip is not None  # it opened them
            try:
                name = file.close().name
            except Exception as error:
                self._result.broken.append(Broken.of(clip.source, error))
            else:
                record = WrittenFile(name, "video", clip.source, self._image, size=clip.size)
                self._result.written.extend([record])
                self._result.videos.append((clip.source, name))


#: Asked to end: by Ctrl-C, by a supervisor, by a terminal that is closed.
_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")


@contextmanager
def stop_on_interrupt() -> Iterator[Callable[[], bool]]:
    """Ctrl-C, SIGTERM and SIGHUP ask the run to end after what is in flight; a second one breaks it off.

    Gives the function that says whether one came. Outside of the main thread, where Python
    allows no handler, none did.
    """
    pressed = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield pressed.is_set
        return

    def first(number: int, _frame: object) -> None:
        pressed.set()
        signal.signal(number, signal.default_int_handler)

    numbers = [getattr(signal, name) for name in _SIGNALS if hasattr(signal, name)]
    # One that is ignored (nohup) stays so.
    before = {number: signal.signal(number, first) for number in numbers if signal.getsignal(number) != signal.SIG_IGN}
    try:
        yield pressed.is_set
    finally:
        for number, handler in before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
