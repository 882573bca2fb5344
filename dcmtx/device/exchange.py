"""Frames in shared memory: how a client puts them there, and how a device process finds them and puts its results."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from dcmtx.device import wire

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Words = NDArray[Any]


def lay_out(sizes: list[int]) -> tuple[list[int], int]:
    """Return where frames of these sizes in bytes start, and where what follows them starts."""
    starts, end = [], 0
    for size in sizes:
        starts.append(end)
        end = wire.aligned(end + size)
    return starts, end


def put_arrays(memory: wire.Memory, frames: list[Words], starts: list[int]) -> list[dict[str, Any]]:
    """Copy arrays into memory; return how a message describes them. They lie there in little endian, by rows."""
    described = []
    for frame, start in zip(frames, starts, strict=True):
        dtype = frame.dtype.newbyteorder("<")
        place: Words = np.frombuffer(memory.map, dtype, frame.size, start).reshape(frame.shape)
        place[...] = frame
        described.append({"at": start, "shape": list(frame.shape), "words": dtype.str})
    return described


def put_streams(memory: wire.Memory, streams: list[Any], starts: list[int]) -> list[dict[str, Any]]:
    """Copy codestreams into memory; return how a message describes them."""
    described = []
    for stream, start in zip(streams, starts, strict=True):
        memory.map[start : start + len(stream)] = stream
        described.append({"at": start, "length": len(stream)})
    return described


def frames_of(message: dict[str, Any], memory: wire.Memory) -> list[Any]:
    """Return the frames that a message describes: arrays that show the memory, or codestreams copied from it."""
    return [take(one, memory) for one in message["frames"]]


def take(one: dict[str, Any], memory: wire.Memory) -> Any:
    """Return what a message describes: an array that shows the memory, or bytes copied from it."""
    start = one["at"]
    if "length" in one:
        return bytes(memoryview(memory.map)[start : start + one["length"]])
    shape = tuple(one["shape"])
    count = 1
    for side in shape:
        count *= side
    array: Words = np.frombuffer(memory.map, np.dtype(one["words"]), count, start).reshape(shape)
    return array


class Results:
    """The results of one request, written behind its frames, the next at `end`; `places` describes them, or is None."""

    def __init__(self, memory: wire.Memory, end: int, count: int) -> None:
        self._memory = memory
        self.end = end
        self.places: list[dict[str, Any] | None] = [None] * count

    def put(self, place: int, result: Any) -> None:
        """Copy the result of one frame: an array, or a buffer with a codestream."""
        start = self.end
        self.end = wire.aligned(start + result.nbytes)
        self._memory.hold(self.end)
        describe = put_arrays if isinstance(result, np.ndarray) else put_streams
        (self.places[place],) = describe(self._memory, [result], [start])
