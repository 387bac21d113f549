"""Pictures through decode, infer, finish; the three overlap, results come in order, memory stays flat.

The main thread only moves jobs from one stage to the next. Every stage holds a bounded number of
jobs, and takes a new one when the oldest is handed on.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

from ovxai.runtime.explanation import Explanation, Interpreter
from ovxai.runtime.feed.engine import Engine, Prepared, Ticket
from ovxai.runtime.feed.images import to_display
from ovxai.runtime.feed.preprocess import Preprocessor
from ovxai.runtime.feed.sources import Broken, Frame
from ovxai.runtime.predict.boxes import Outputs

A = TypeVar("A")
B = TypeVar("B")
#: What a picture becomes on its way, with the frame it was.
Ready = tuple[Frame, Prepared] | Broken


@dataclass(frozen=True)
class _Job:
    """Pictures that share an inference, broken ones at their places; no ticket where none is good, or with an error."""

    chunk: list[Ready]
    ticket: Ticket | None
    error: Exception | None = None


def workers() -> int:
    """Threads for decoding and for rendering; more than a few only crowd out the inference."""
    return max(2, min(4, os.cpu_count() or 2))


def ordered(pool: ThreadPoolExecutor, work: Callable[[A], B], items: Iterable[A], ahead: int) -> Iterator[B]:
    """`work` over `items` in `pool`, at most `ahead` at a time, results in the order of the items."""
    pending: deque[Future[B]] = deque()
    for item in items:
        pending.append(pool.submit(work, item))
        if len(pending) >= ahead:
            yield pending.popleft().result()
    while pending:
        yield pending.popleft().result()


class Pipeline(Generic[B]):
    """The stages for one model. `finish` gets each explanation with its frame, in threads, out of order."""

    def __init__(
        self,
        engine: Engine,
        prepare: Preprocessor,
        interpret: Interpreter,
        finish: Callable[[Frame, Explanation], B],
    ) -> None:
        self._engine = engine
        self._prepare = prepare
        self._interpret = interpret
        self._finish = finish
        # Many threads may wait for the device, few may hold full-size renderings.
        self._rendering = threading.BoundedSemaphore(workers())

    def run(self, items: Iterable[Frame | Broken]) -> Generator[B | Broken, None, None]:
        """What `finish` returns for every picture, in order; a broken one stands in its place as `Broken`."""
        count = workers()
        ahead = count + 1
        in_flight = self._engine.parallel + count
        with ThreadPoolExecutor(count, "decode") as decoders, ThreadPoolExecutor(in_flight, "finish") as finishers:
            ready = ordered(decoders, self._decode, items, ahead + self._engine.batch)
            started = (self._start(chunk) for chunk in in_chunks(ready, self._batch))
            for results in ordered(finishers, self._complete, started, in_flight):
                yield from results

    @property
    def _batch(self) -> int:
        return self._engine.batch if self._prepare.same_size else 1

    def _decode(self, item: Frame | Broken) -> Ready:
        if isinstance(item, Broken):
            return item
        try:
            pixels = item.load(self._prepare.channels)
            tensor, geometry = self._prepare(pixels)
        except Exception as error:
            return Broken.of(item.source, error)
        return item, Prepared(to_display(pixels), tensor, geometry, item.source)

    def _start(self, chunk: list[Ready]) -> _Job:
        """Begin the inference of a chunk; its tensors are let go, its pictures are kept."""
        good = [item[1] for item in chunk if not isinstance(item, Broken)]
        try:
            return _Job(chunk, self._engine.start(good) if good else None)
        except Exception as error:
            return _Job(chunk, None, error)

    def _complete(self, job: _Job) -> list[B | Broken]:
        """What became of a chunk. A picture at which an inference fails takes no others with it."""
        try:
            if job.error is not None:
                raise job.error
            outputs = iter(self._engine.finish(job.ticket) if job.ticket else ())
        except Exception as error:
            if len(job.chunk) == 1:
                return [_broken(job.chunk[0], error)]
            return [result for item in job.chunk for result in self._complete(self._start([item]))]
        return [item if isinstance(item, Broken) else self._finished(item, next(outputs)) for item in job.chunk]

    def _finished(self, item: tuple[Frame, Prepared], outputs: Outputs) -> B | Broken:
        frame, ready = item
        try:
            with self._rendering:
                explanation = self._interpret(outputs, ready.picture, ready.geometry, frame.source)
                return self._finish(frame, explanation)
        except Exception as error:
            return Broken.of(frame.source, error)


def _broken(item: Ready, error: Exception) -> Broken:
    return item if isinstance(item, Broken) else Broken.of(item[0].source, error)


def in_chunks(items: Iterable[Ready], size: int) -> Iterator[list[Ready]]:
    """Lists with `size` good pictures each; broken ones ride along at their place."""
    chunk: list[Ready] = []
    good = 0
    for item in items:
        chunk.append(item)
        good += not isinstance(item, Broken)
        # While none is good there is nothing to wait for.
        if good == size or good == 0:
            yield chunk
            chunk, good = [], 0
    if chunk:
        yield chunk
