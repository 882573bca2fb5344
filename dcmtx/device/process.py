"""The process that owns one GPU: it codes the frames of all clients, in a few threads, until there are none.

It is forked from a supervisor, which starts another one if it dies.
"""

from __future__ import annotations

import contextlib
import os
import resource
import socket
import threading
import time
from collections.abc import Callable
from enum import IntEnum
from typing import TYPE_CHECKING, Any

from dcmtx.device import wire
from dcmtx.device.exchange import Results, frames_of
from dcmtx.device.schedule import Part, Queue, Request
from dcmtx.record import Record

if TYPE_CHECKING:
    from dcmtx.device.library import Lane

# Threads that call the library, each with its own encoders and decoders.
LANES = 4
# The most seconds for the library to be loaded.
LOAD_SECONDS = 120.0
_WATCH_SECONDS = 0.2
# How long a client may take to read an answer.
_ANSWER_SECONDS = 10.0
# A client that asks for nothing so long is let go: one that lives for ever must not keep a GPU. It may come again.
_FORGET_SECONDS = 60.0
# How long the first client may take to come.
_FIRST_CLIENT_SECONDS = 30.0


class End(IntEnum):
    """Why a device process has ended by itself: its exit status."""

    IDLE = 0  # no client was left
    HUNG = 3  # the library did not come back
    BROKEN = 4  # the GPU gives nothing any more


class Settings(Record):
    """How a device process runs: the number of its GPU, and seconds that a batch may take, and without any client."""

    gpu: int
    patience: float
    linger: float


def serve(
    listening: socket.socket, settings: Settings, *, ended: str, failed: str, begun: Callable[[], None]
) -> int:  # fmt: skip
    """Serve clients until there are none; return the exit status.

    `ended` says how the process before this one ended. With `failed`, no library is loaded, and clients are told that.
    `begun` is called when the library is loaded.
    """
    device = Device(settings, ended, failed)
    begun()
    return device.serve(listening)


class Device:
    """The state that all connections share."""

    def __init__(self, settings: Settings, ended: str, failed: str) -> None:
        self._settings = settings
        self._ended = ended
        self._queue = Queue()
        self._clients = 0
        self._lock = threading.Lock()
        self._loading: float | None = None
        if not failed:
            threading.Thread(target=self._watch, daemon=True).start()
            failed = self._load()
        self._failed = failed

    def _load(self) -> str:
        """Load the library and start the lanes; return why that failed, or an empty string."""
        from dcmtx.device import library

        self._loading = time.monotonic()
        complaints = library.Complaints()
        try:
            library.load(self._settings.gpu)
        except Exception as error:  # noqa: BLE001 - clients are told, whatever it is
            return " ".join(f"{error} {complaints.read()} {_limit()}".split()) or type(error).__name__
        finally:
            self._loading = None
        for number in range(LANES):
            threading.Thread(target=self._run_lane, args=(number, complaints), daemon=True).start()
        return ""

    # --- lanes -----------------------------------------------------------------------------------------------------

    def _run_lane(self, number: int, complaints: Any) -> None:
        from dcmtx.device import library

        lane = library.Lane(self._settings.gpu)
        while True:
            batch = self._queue.take(number)
            last = batch[0].last
            if batch[0].request.alone:
                batch[0].request.begun()
            if last:
                complaints.forget()
            try:
                faults = _code(lane, batch)
            except Exception as error:  # noqa: BLE001 - it is the result of these frames
                faults = [(part, place, str(error) or type(error).__name__) for part in batch for place in part.places]
            if last and faults and not lane.works():
                os._exit(End.BROKEN)
            self._settle(batch, faults, complaints.read() if last else "")
            if batch[0].request.alone:
                # What runs next may end the process.
                batch[0].request.wait_for_answer(_ANSWER_SECONDS)
            self._queue.finish(number)

    def _settle(self, batch: list[Part], faults: list[tuple[Part, int, str]], said: str) -> None:
        """Have frames that failed tried again, or report them; count all others as done."""
        for part, place, text in faults:
            if not part.last:
                self._queue.again(part.request, place)
            else:
                part.request.faults[place] = " ".join(f"{text} {said}".split())
        for part in batch:
            again = 0 if part.last else sum(one is part for one, _, _ in faults)
            part.request.settle(len(part.places) - again)

    def _watch(self) -> None:
        """End the process when the library does not come back: nothing else can end its call."""
        while True:
            time.sleep(min(_WATCH_SECONDS, self._settings.patience / 4))
            began = self._loading
            if self._queue.longest() > self._settings.patience or (
                began is not None and time.monotonic() - began > LOAD_SECONDS
            ):
                os._exit(End.HUNG)

    # --- clients ---------------------------------------------------------------------------------------------------

    def serve(self, listening: socket.socket) -> int:
        """Accept clients until there have been none for a while."""
        listening.settimeout(min(_WATCH_SECONDS, max(self._settings.linger / 4, 0.01)))
        idle_since = time.monotonic()
        # Who started it needs a moment to connect. Who was connected to one that died may be gone.
        patience = self._settings.linger if self._ended else max(self._settings.linger, _FIRST_CLIENT_SECONDS)
        while True:
            try:
                connection, _ = listening.accept()
            except TimeoutError:
                if self._clients:
                    idle_since = time.monotonic()
                elif time.monotonic() - idle_since >= patience:
                    return End.IDLE
                continue
            patience = self._settings.linger
            with self._lock:
                self._clients += 1
            idle_since = time.monotonic()
            connection.settimeout(_FORGET_SECONDS)
            threading.Thread(target=self._attend, args=(connection,), daemon=True).start()

    def _attend(self, connection: socket.socket) -> None:
        """Answer one client until it leaves."""
        try:
            with connection, contextlib.suppress(wire.Lost, TimeoutError):
                self._answer(connection)
        finally:
            with self._lock:
                self._clients -= 1

    def _answer(self, connection: socket.socket) -> None:
        memory: wire.Memory | None = None
        try:
            while True:
                message, descriptor = wire.receive(connection)
                if descriptor is not None:
                    if memory is not None:
                        memory.close()
                    memory = wire.Memory(descriptor)
                if message["do"] == "greet":
                    wire.send(connection, {"ended": self._ended, "failed": self._failed, "pid": os.getpid()})
                elif memory is not None:
                    memory.hold(message["end"])
                    self._perform(connection, message, memory)
        finally:
            if memory is not None:
                memory.close()

    def _perform(self, connection: socket.socket, message: dict[str, Any], memory: wire.Memory) -> None:
        """Have the frames of a request coded; tell where the results are, and the messages of those that failed."""

        def begun() -> None:
            # The client may be gone by now.
            with contextlib.suppress(wire.Lost):
                wire.send(connection, {"begun": True})

        results = Results(memory, message["end"], len(message["frames"]))
        request = Request(
            frames_of(message, memory),
            message["coding"],
            high_throughput=message["ht"],
            size=message["size"],
            alone=message["alone"],
            put=results.put,
            begun=begun,
        )
        self._queue.add(request)
        request.wait()
        faults = {str(place): text for place, text in request.faults.items()}
        try:
            wire.send(connection, {"results": results.places, "end": results.end, "faults": faults})
        finally:
            request.answered()


def _limit() -> str:
    """Return what is to be said of a limit that leaves no room for a context on a GPU."""
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    return "" if soft == resource.RLIM_INFINITY else f"(its address space is limited to {soft} bytes, by ulimit -v)"


def _code(lane: Lane, batch: list[Part]) -> list[tuple[Part, int, str]]:
    """Code the frames of a batch and put their results; return those that failed, with what the library returned."""
    first = batch[0].request
    those = [(part, place) for part in batch for place in part.places]
    frames = [part.request.frames[place] for part, place in those]
    results: list[Any]
    if first.coding is None:
        results = lane.decode(frames, high_throughput=first.high_throughput)
    else:
        results = lane.encode(frames, first.coding)
    faults = []
    for (part, place), result in zip(those, results, strict=True):
        if result is None or isinstance(result, str):
            faults.append((part, place, result or "it returned nothing."))
        else:
            part.request.put(place, result)
    return faults
