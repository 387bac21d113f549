"""Outputs that are computed when somebody asks for them: the head of a split model, run behind its plain part."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import openvino as ov

from ovxai.errors import OptionError, SourceError
from ovxai.graph.natives import first_reason


class Head:
    """A compiled head with a few requests; safe to call from several threads.

    inputs: names of the tensors of the plain part that it takes. batched: name of each output -> whether its first axis counts
    pictures.
    """

    def __init__(self, compiled: ov.CompiledModel, batched: Mapping[str, bool], parallel: int) -> None:
        self.inputs = tuple(min(port.get_names()) for port in compiled.inputs)
        self.batched = dict(batched)
        self._free: queue.SimpleQueue[ov.InferRequest] = queue.SimpleQueue()
        for _ in range(parallel):
            self._free.put(compiled.create_infer_request())

    def __call__(self, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Name -> array of every output, over a whole batch. arrays: one for each of `inputs`.

        Raises:
            SourceError: the device refused them.
        """
        request = self._free.get()
        try:
            request.infer(dict(arrays))
            return {name: np.array(request.get_tensor(name).data) for name in self.batched}
        except Exception as error:
            raise SourceError(f"the head refused what the plain part gave: {first_reason(error)}") from error
        finally:
            self._free.put(request)


class HeadRun:
    """The head over one inference of the plain part: once, for all its pictures, when the first of them asks."""

    def __init__(self, head: Head, arrays: dict[str, np.ndarray]) -> None:
        self.batched = head.batched
        self._head = head
        self._arrays = arrays
        self._found: dict[str, np.ndarray] | None = None
        self._lock = threading.Lock()

    def outputs(self) -> dict[str, np.ndarray]:
        """What `Head` gives."""
        with self._lock:
            if self._found is None:
                self._found = self._head(self._arrays)
                self._arrays = {}
            return self._found


class LateOutputs(Mapping[str, np.ndarray]):
    """One picture's outputs by name: those of the plain part, and those of the head, which runs when one is looked at."""

    def __init__(self, own: dict[str, np.ndarray], run: HeadRun, place: int) -> None:
        self._own = own
        self._run = run
        self._place = place

    def __getitem__(self, name: str) -> np.ndarray:
        if name in self._own:
            return self._own[name]
        if name not in self._run.batched:
            raise KeyError(name)
        array = self._run.outputs()[name]
        return array[self._place] if self._run.batched[name] and array.ndim else array

    def __contains__(self, name: object) -> bool:
        return name in self._own or name in self._run.batched

    def __iter__(self) -> Iterator[str]:
        yield from self._own
        yield from self._run.batched

    def __len__(self) -> int:
        return len(self._own) + len(self._run.batched)

    def __reduce__(self) -> tuple[type[dict[str, np.ndarray]], tuple[dict[str, np.ndarray]]]:
        return dict, (dict(self),)  # what travels to another process has no head there


def fitted_head(head: ov.Model, plain: ov.Model) -> ov.Model:
    """A copy of `head` that takes what `plain`, which was given another batch, hands out.

    Raises:
        OptionError: the batch is baked into it.
    """
    copy = head.clone()
    ports = {name: port for port in [*plain.inputs, *plain.outputs] for name in port.get_names()}
    names: Sequence[str] = [min(port.get_names()) for port in copy.inputs]
    shape = {name: ports[name].get_partial_shape() for name in names}
    try:
        copy.reshape(shape)
    except RuntimeError as error:
        batch = copy.inputs[0].get_partial_shape()[0]
        raise OptionError(
            f"batch: the model is made for batches of {batch} and can't be changed to {shape[names[0]][0]}"
        ) from error
    return copy
