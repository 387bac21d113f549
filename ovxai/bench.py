"""Plain against explained: what the explanation costs in time, throughput, file size and memory.

The plain model is what `ovxai strip` gives back. Times are taken in one process with calls that
alternate, because the load of a machine changes from second to second and only ratios of
neighbours mean something. Half of them are taken with the plain model compiled first and half with
the explained one: whichever comes later pays for waking the worker threads, 45 us on two cores, as
much as a small model's whole explanation. Memory is taken in a process of its own for each model, because a second
compilation in one process hides what is shared and repeats what is not.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import geometric_mean, median
from typing import Any

import numpy as np
import openvino as ov

from ovxai.errors import ModelReadError, UsageError
from ovxai.graph.natives import first_reason
from ovxai.graph.picture import find_picture_input
from ovxai.graph.read import read_model
from ovxai.graph.save import save_model
from ovxai.graph.split import read_head
from ovxai.graph.surgery import strip_model
from ovxai.metadata import ExplainedInfo, ModelInfo
from ovxai.verification.pictures import feeds_for, noise, prepare, sizes_to_try

PRECISIONS = ("auto", "f32", "f16", "bf16")
#: Arrays by input index.
Feeds = dict[int, np.ndarray]
#: Properties of the device by their names.
Config = dict[str, str]


@dataclass(frozen=True)
class Cost:
    """Of one model.

    latency_ms: median of single calls. throughput: pictures per second, None where not measured. xml_bytes,
    bin_bytes: of the two files. memory_mb: at the peak of a process of its own, None where not measured.
    """

    latency_ms: float
    throughput: float | None
    xml_bytes: int
    bin_bytes: int
    memory_mb: float | None


@dataclass(frozen=True)
class Latency:
    """Medians of single calls, and of their ratios, in another precision than the report's."""

    plain_ms: float
    explained_ms: float
    ratio: float


@dataclass(frozen=True)
class BenchReport:
    """What the explanation costs.

    model: path of the explained IR. device: that ran it. precision: what it really computes in. collapse: as in
    rt_info. input_shape: of the picture as fed. calls: alternating pairs. ratio: median over them of explained / plain.
    f32: the same in f32, where the device was left to choose and chose something else. head_ms: of a split model, median of
    calls of the head; `explained` is its plain part then.
    """

    model: str
    device: str
    precision: str
    collapse: str
    input_shape: tuple[int, ...]
    calls: int
    ratio: float
    plain: Cost
    explained: Cost
    f32: Latency | None = None
    head_ms: float | None = None

    @property
    def memory_ratio(self) -> float | None:
        return _over(self.explained.memory_mb, self.plain.memory_mb)

    @property
    def throughput_ratio(self) -> float | None:
        """How much of the plain model's throughput is left."""
        return _over(self.explained.throughput, self.plain.throughput)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self) | {"memory_ratio": self.memory_ratio, "throughput_ratio": self.throughput_ratio}


def bench(
    model: str | Path,
    *,
    device: str = "CPU",
    precision: str = "auto",
    calls: int = 30,
    seconds: float = 60.0,
    batch: int = 1,
    size: tuple[int, int] | None = None,
    throughput: bool = True,
    memory: bool = True,
) -> BenchReport:
    """Compare the explained IR `model` with the plain model inside it.

    calls: alternating pairs, or as many as fit into `seconds` (ten at least). batch, size (H, W): where
    the model leaves them open. precision: auto lets the device choose, which on many CPUs is bf16; latencies are
    then taken in f32 as well.

    Raises:
        NotExplainedError: nothing to compare. OptionError: an unknown precision or an impossible size.
    """
    if precision not in PRECISIONS:
        raise UsageError(f"precision: there is no {precision!r}; choose one of {', '.join(PRECISIONS)}")
    path = Path(model)
    explained = read_model(path)
    head = read_head(path, explained)
    plain = strip_model(explained)
    info = ExplainedInfo.read(explained)
    feeds = probe_feeds(plain, batch, size, info)
    config: Config = {} if precision == "auto" else {"INFERENCE_PRECISION_HINT": precision}
    with tempfile.TemporaryDirectory() as folder:
        plain_path = save_model(plain, Path(folder) / "plain.xml")
        stored = Path(folder) / "feeds.npz"
        np.savez(stored, *(feeds[index] for index in sorted(feeds)))
        # Memory first: while nothing else of ours is loaded.
        used = [_peak_memory(p, stored, device, config) if memory else None for p in (plain_path, path)]
        timed = alternate([plain, explained], feeds, device, config, calls, seconds)
        exact = None
        if precision == "auto" and timed.precision != "f32":
            exact = alternate([plain, explained], feeds, device, {"INFERENCE_PRECISION_HINT": "f32"}, calls, seconds / 2)
        rates = [_throughput(m, feeds, device, config, seconds / 6) if throughput else None for m in (plain, explained)]
        alone = None if head is None else head_latency(explained, head, feeds, device, config, calls)
        sizes = [(p.stat().st_size, p.with_suffix(".bin").stat().st_size) for p in (plain_path, path)]
    costs = [Cost(median(t) * 1e3, r, *s, u) for t, r, s, u in zip(timed.times, rates, sizes, used, strict=True)]
    return BenchReport(
        model=str(path), device=device, precision=timed.precision, collapse=info.collapse if info else "",
        input_shape=tuple(next(iter(feeds.values())).shape), calls=len(timed.times[0]),
        ratio=timed.ratio, plain=costs[0], explained=costs[1], f32=None if exact is None else _latency(exact),
        head_ms=alone,
    )  # fmt: skip


@dataclass(frozen=True)
class Timed:
    """Times of two models whose calls alternate.

    halves: seconds of the calls of either model, pair by pair, for each order of compiling them.
    precision: what the device computes in.
    """

    halves: tuple[tuple[list[float], list[float]], ...]
    precision: str

    @property
    def times(self) -> tuple[list[float], list[float]]:
        """Seconds of all calls of the first model, and of the second."""
        first, second = zip(*self.halves)
        return [took for half in first for took in half], [took for half in second for took in half]

    @property
    def ratio(self) -> float:
        """The geometric mean of the halves' median ratios."""
        return geometric_mean(median(b / a for a, b in zip(*half, strict=True)) for half in self.halves)


def _latency(timed: Timed) -> Latency:
    plain, explained = (median(times) * 1e3 for times in timed.times)
    return Latency(plain, explained, timed.ratio)


def _over(above: float | None, below: float | None) -> float | None:
    return above / below if above and below else None


def probe_feeds(plain: ov.Model, batch: int, size: tuple[int, int] | None, info: ExplainedInfo | None = None) -> Feeds:
    """A smooth random picture and ones at every other input. batch, size (H, W): where the model leaves them open.

    info: what the explained model says of its picture; None: what is found.

    Raises:
        OptionError: the model takes no pictures of `size`. UnsupportedModelError: no input takes a picture.
    """
    place = find_picture_input(plain, info)
    height, width = sizes_to_try(plain, place, size)[0]
    picture = prepare(noise(0, height, width, place.channels), place, ModelInfo.read(plain))
    feeds = feeds_for(plain, place, np.repeat(picture, place.batch or batch, axis=0))
    # The picture first, so that its shape is the one to report.
    return {place.index: feeds.pop(place.index), **feeds}


def head_latency(plain: ov.Model, head: ov.Model, feeds: Feeds, device: str, config: Config, calls: int) -> float:
    """Milliseconds that one call of the head takes, on what the plain part gives: the median."""
    first, second = (_compiled(model, device, {**config, "PERFORMANCE_HINT": "LATENCY"}) for model in (plain, head))
    given, asked = first.create_infer_request(), second.create_infer_request()
    given.infer(feeds)
    for port in head.inputs:
        name = min(port.get_names())
        asked.set_tensor(name, given.get_tensor(name))
    times = []
    for _ in range(calls + 3):
        start = time.perf_counter()
        asked.infer()
        times.append(time.perf_counter() - start)
    return median(times[3:]) * 1e3


def _compiled(model: ov.Model, device: str, config: Config) -> ov.CompiledModel:
    try:
        return ov.Core().compile_model(model, device, config)
    except RuntimeError as error:
        raise ModelReadError(f"{device} can't compile the model: {first_reason(error)}") from error


def alternate(models: list[ov.Model], feeds: Feeds, device: str, config: Config, calls: int, seconds: float) -> Timed:
    """Times in seconds of alternating calls; who goes first changes every round, and who is compiled first halfway."""
    straight, precision = _half(models, feeds, device, config, -(-calls // 2), seconds / 2)
    turned, _ = _half(models[::-1], feeds, device, config, -(-calls // 2), seconds / 2)
    return Timed((straight, turned[::-1]), precision)


def _half(
    models: list[ov.Model], feeds: Feeds, device: str, config: Config, calls: int, seconds: float
) -> tuple[tuple[list[float], list[float]], str]:
    compiled = [_compiled(model, device, {**config, "PERFORMANCE_HINT": "LATENCY"}) for model in models]
    requests = [one.create_infer_request() for one in compiled]
    for request in requests * 3:
        request.infer(feeds)
    times: tuple[list[float], list[float]] = ([], [])
    begin = time.perf_counter()
    while len(times[0]) < calls and (len(times[0]) < 5 or time.perf_counter() - begin < seconds):
        for which in (0, 1) if len(times[0]) % 2 else (1, 0):
            start = time.perf_counter()
            requests[which].infer(feeds)
            times[which].append(time.perf_counter() - start)
    return times, _precision_of(compiled[0])


def _precision_of(compiled: ov.CompiledModel) -> str:
    try:
        return str(compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name())
    except (RuntimeError, AttributeError):
        return "unknown"


def _throughput(model: ov.Model, feeds: Feeds, device: str, config: Config, seconds: float) -> float:
    """Pictures per second with as many requests in flight as the device asks for."""
    compiled = _compiled(model, device, {**config, "PERFORMANCE_HINT": "THROUGHPUT"})
    queue = ov.AsyncInferQueue(compiled)
    for _ in range(len(queue)):
        queue.start_async(feeds)
    queue.wait_all()
    count, start = 0, time.perf_counter()
    while count < 2 * len(queue) or time.perf_counter() - start < min(seconds, 5.0):
        queue.start_async(feeds)
        count += 1
    queue.wait_all()
    return count * len(next(iter(feeds.values()))) / (time.perf_counter() - start)


def _peak_memory(model: Path, feeds: Path, device: str, config: Config) -> float | None:
    """MB at the peak of a process that reads, compiles and runs the model; None where that process failed."""
    words = [sys.executable, "-c", _MEMORY_SCRIPT, str(model), str(feeds), device, json.dumps(config)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    return float(done.stdout.split()[-1]) if done.returncode == 0 and done.stdout.strip() else None


# VmHWM rather than ru_maxrss where there is one: the latter starts at the parent's peak after vfork.
_MEMORY_SCRIPT = """
import json, pathlib, resource, sys
import numpy as np
import openvino as ov
model, feeds, device, config = sys.argv[1:]
given = {int(key.removeprefix("arr_")): value for key, value in np.load(feeds).items()}
request = ov.Core().compile_model(model, device, json.loads(config)).create_infer_request()
for _ in range(3):
    request.infer(given)
status = pathlib.Path("/proc/self/status")
lines = status.read_text().splitlines() if status.exists() else []
peak = next((int(line.split()[1]) for line in lines if line.startswith("VmHWM")), None)
usage = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print((peak or (usage / 1024 if sys.platform == "darwin" else usage)) / 1024)
"""
