"""A compiled model and its requests: tensors in, named arrays out."""

from __future__ import annotations

import queue
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import openvino as ov

from ovxai.errors import OptionError, SourceError, UsageError
from ovxai.graph.natives import first_reason
from ovxai.graph.picture import PictureInput
from ovxai.runtime.feed.beside import SideInput, input_arrays, side_inputs
from ovxai.runtime.feed.geometry import Geometry
from ovxai.runtime.feed.late import Head, HeadRun, LateOutputs, fitted_head
from ovxai.runtime.feed.selfcheck import one_stream_differs, streams_of

HINTS = ("latency", "throughput")
PRECISIONS = ("f32", "f16", "bf16")


@dataclass(frozen=True)
class DeviceOptions:
    """Where and how to run.

    device: OpenVINO's name (CPU, GPU, NPU, AUTO ...). hint: "latency" or "throughput".
    precision: "f32", "f16" or "bf16"; None: the device's own choice, which is bf16 on CPUs that have it.
    batch: pictures per inference. cache_dir: where compiled models are kept for the next start.
    threads: of a CPU, at most so many; None: as many as it has cores. streams: inferences beside each other; None: by the hint.
    self_check: whether the first picture is held against a compilation with one stream; see `ovxai.runtime.feed.selfcheck`.
    """

    device: str = "CPU"
    hint: str = "latency"
    precision: str | None = None
    batch: int | None = None
    cache_dir: str | Path | None = None
    threads: int | None = None
    self_check: bool = False
    streams: int | None = None

    def __post_init__(self) -> None:
        if self.hint not in HINTS:
            raise UsageError(f"hint: there is no {self.hint!r}; choose one of {', '.join(HINTS)}")
        if self.precision is not None and self.precision not in PRECISIONS:
            raise UsageError(f"precision: there is no {self.precision!r}; choose one of {', '.join(PRECISIONS)}")
        if self.batch is not None and self.batch < 1:
            raise UsageError(f"batch: {self.batch} is below 1")
        if self.threads is not None and self.threads < 1:
            raise UsageError(f"threads: {self.threads} is below 1")

    def properties(self) -> dict[str, str]:
        """The same in OpenVINO's words."""
        found = {"PERFORMANCE_HINT": self.hint.upper()}
        if self.precision:
            found["INFERENCE_PRECISION_HINT"] = self.precision
        if self.cache_dir:
            found["CACHE_DIR"] = str(self.cache_dir)
        if self.threads and self.device.upper().startswith("CPU"):  # other devices have no such property
            found["INFERENCE_NUM_THREADS"] = str(self.threads)
        if self.streams:
            found["NUM_STREAMS"] = str(self.streams)
        return found


@dataclass(frozen=True)
class Prepared:
    """One picture on its way in: [H, W, 3] u8 RGB, its tensor without batch axis, and where that came from."""

    picture: np.ndarray
    tensor: np.ndarray
    geometry: Geometry
    source: str | None = None


@dataclass(frozen=True)
class Ticket:
    """An inference under way, to be handed to `Engine.finish` once."""

    request: ov.InferRequest
    pictures: Sequence[Prepared]


@dataclass(frozen=True)
class NamedOutput:
    """An output that is wanted. index: among the model's outputs. batched: whether its first axis counts pictures."""

    index: int
    name: str
    batched: bool


class Engine:
    """A compiled model with a few requests. Every method may be called from any thread.

    batch: pictures per inference; fewer are filled up when the model's batch is static.
    outputs: what is handed out. sides: the inputs beside the picture; None: those that want its size.
    head: of a split model, whose outputs are computed when they are looked at.
    """

    def __init__(
        self,
        model: ov.Model,
        target: PictureInput,
        outputs: Sequence[NamedOutput],
        options: DeviceOptions,
        sides: Sequence[SideInput] | None = None,
        head: ov.Model | None = None,
    ) -> None:
        late = {name for port in head.outputs for name in port.get_names()} if head else set()
        self._outputs = tuple(one for one in outputs if one.name not in late)
        self._target = target
        self._sides = side_inputs(model, target) if sides is None else sides
        self.batch = options.batch or target.batch or 1
        if target.batch is not None and self.batch != target.batch:
            model = with_batch(model, target, self.batch)
            head = head and fitted_head(head, model)
        self._static = target.batch is not None
        self._compiled = compile_model(model, options)
        self.parallel = _parallel(self._compiled) + 1  # one waits while the others work
        self._head: Head | None = None
        if head is not None:
            batched = {one.name: one.batched for one in outputs if one.name in late}
            self._head = Head(compile_model(head, options), batched, self.parallel)
        self.notes: tuple[str, ...] = ()
        self._lock = threading.Lock()
        self._unchecked = (model, options) if options.self_check and streams_of(self._compiled) > 1 else None
        self._set_requests()

    def _set_requests(self) -> None:
        self._free: queue.SimpleQueue[ov.InferRequest] = queue.SimpleQueue()
        for _ in range(self.parallel):
            self._free.put(self._compiled.create_infer_request())

    def _check_once(self, inputs: dict[int, np.ndarray]) -> None:
        """Before the first inference; what was compiled wrongly is replaced."""
        with self._lock:
            if self._unchecked is None:
                return
            (model, options), self._unchecked = self._unchecked, None
            alone = replace(options, hint="latency", streams=1)
            # Every request at once: streams hold their own copies of what the plugin made of the model.
            requests = [self._free.get() for _ in range(self.parallel)]
            try:
                better, reason = one_stream_differs(
                    requests, lambda: compile_model(model, alone), inputs, [one.index for one in self._outputs]
                )
            finally:
                for request in requests:
                    self._free.put(request)
            if better is not None:
                self.notes = (reason,)
                self._compiled = better
                self._set_requests()

    def start(self, pictures: Sequence[Prepared]) -> Ticket:
        """Begin an inference over 1 to `batch` pictures; waits while all requests are busy."""
        tensors = [item.tensor for item in pictures]
        if self._static:
            tensors += [tensors[-1]] * (self.batch - len(tensors))
        inputs = input_arrays(self._target, self._sides, tensors, pictures[0].geometry.canvas)
        self._check_once(inputs)
        request = self._free.get()
        try:
            request.start_async(inputs)
        except Exception as error:
            self._free.put(request)
            raise _inference_error(pictures, error) from error
        return Ticket(request, pictures)

    def finish(self, ticket: Ticket) -> list[Mapping[str, np.ndarray]]:
        """Wait, and give each picture its outputs: name -> array without batch axis.

        Raises:
            SourceError: the device refused this input.
        """
        try:
            try:
                ticket.request.wait()
            except Exception as error:
                raise _inference_error(ticket.pictures, error) from error
            # The request's memory is used again by the next picture, hence a copy.
            tensors = ticket.request.output_tensors
            arrays = [(one, np.array(tensors[one.index].data)) for one in self._outputs]
            names = self._head.inputs if self._head else ()
            between = {name: np.array(ticket.request.get_tensor(name).data) for name in names}
        finally:
            self._free.put(ticket.request)
        own = [
            {one.name: array[i] if one.batched and array.ndim else array for one, array in arrays}
            for i in range(len(ticket.pictures))
        ]
        if self._head is None:
            return [*own]
        run = HeadRun(self._head, between)
        return [LateOutputs(each, run, i) for i, each in enumerate(own)]


def compile_model(model: ov.Model, options: DeviceOptions) -> ov.CompiledModel:
    """Compile for a device.

    Raises:
        OptionError: no such device, or it refuses the model or a property.
    """
    core = ov.Core()
    known = core.available_devices
    base = options.device.split(":")[0].split(".")[0].upper()
    if base not in ("AUTO", "MULTI", "HETERO", "BATCH") and base not in {name.split(".")[0] for name in known}:
        raise OptionError(f"device: there is no {options.device} here; there is {', '.join(known) or 'none'}")
    try:
        return core.compile_model(model, options.device.upper(), options.properties())
    except Exception as error:
        raise OptionError(f"device {options.device} refuses the model: {first_reason(error)}") from error


def with_batch(model: ov.Model, target: PictureInput, batch: int) -> ov.Model:
    """A copy of a static-batch model with another batch.

    Raises:
        OptionError: the batch is baked into the graph.
    """
    before = [port.get_partial_shape() for port in model.outputs]
    copy = model.clone()
    shapes = {}
    for i, port in enumerate(copy.inputs):
        shape = port.get_partial_shape()
        if len(shape) and shape[0] == target.batch:  # inputs beside the picture may have no batch
            shape[0] = batch
        shapes[i] = shape
    refusal = OptionError(f"batch: the model is made for batches of {target.batch} and can't be changed to {batch}")
    if not target.batched:
        raise refusal
    try:
        copy.reshape(shapes)
    except Exception as error:
        raise refusal from error
    for old, port in zip(before, copy.outputs):
        new = port.get_partial_shape()
        wanted = [ov.Dimension(batch), *list(old)[1:]]
        if len(new) != len(old) or any(a != b for a, b in zip(list(new), wanted)):
            raise refusal
    return copy


def _parallel(compiled: ov.CompiledModel) -> int:
    try:
        return max(1, int(compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS")))
    except RuntimeError:
        return 1


def _inference_error(pictures: Sequence[Prepared], error: Exception) -> SourceError:
    names = ", ".join(item.source or "array" for item in pictures)
    return SourceError(f"{names}: the model refused the picture: {first_reason(error)}")
