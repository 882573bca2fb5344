"""Runs frames through codecs: batches the calls of several frames, and names the backend in errors.

This is the only module that turns whatever a backend raises into a CodecError.
"""

from __future__ import annotations

import _thread
import contextlib
import os
from collections.abc import Callable, Generator, Iterable
from typing import TYPE_CHECKING, Any

from dcmtx.codec.codec import Codec, Function, Maker
from dcmtx.codec.registry import Registry
from dcmtx.codec.row import Row, Runs
from dcmtx.errors import CodecError, DcmtxError
from dcmtx.pixel.format import PixelFormat
from dcmtx.policy import LOSSLESS, EncodingParameters

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

# The work on one frame: a generator that yields requests to coders one by one and returns the finished frame.
Asking = Generator[tuple["Coder", Any], Any, Any]


def failed(row: Row, error: BaseException | None, frames: int = 1) -> DcmtxError:
    """Return a backend's failure as an error that names the backend. None means that a frame got no result."""
    if isinstance(error, DcmtxError):
        return error
    on = f" on {frames} frames at once" if frames > 1 else ""
    if error is None:
        return CodecError(f"{row.backend} returned nothing")
    if isinstance(error, MemoryError):
        told = CodecError(f"{row.backend} ran out of memory{on}")
    else:
        reason = " ".join(str(error).split()) or type(error).__name__
        told = CodecError(f"{row.backend} failed{on}: {reason[:200]}")
    told.__cause__ = error
    return told


def call(function: Callable[..., Any], row: Row, *arguments: Any) -> Any:
    """Call a function of a backend; whatever it raises becomes a CodecError that names it."""
    try:
        return function(*arguments)
    except (DcmtxError, KeyboardInterrupt):
        raise
    except BaseException as error:
        # A panic in a Rust backend raises a BaseException that is not an Exception.
        raise failed(row, error) from error


class Coder:
    """One row of a plan, with its codecs: a shared one, one per thread, or one in its own device thread.

    Each is made and opened on first use. Safe to call from several threads, and in forked processes. `threads` is over
    how many the work on one frame is spread, where the row can.
    """

    __slots__ = (
        "_arguments", "_code", "_device", "_has_thread", "_lock", "_maker", "_one", "_opened", "_process", "row",
    )  # fmt: skip

    def __init__(
        self,
        registry: Registry,
        row: Row,
        given: PixelFormat,
        *,
        made: PixelFormat,
        parameters: EncodingParameters = LOSSLESS,
        threads: int = 1,
    ) -> None:
        self.row = row
        self._maker: Maker = registry.load(row, threads)
        self._arguments = (given, made, parameters)
        self._opened: dict[tuple[int, int], Codec] = {}
        self._lock = _thread.allocate_lock()
        self._process = os.getpid()
        self._device: ThreadPoolExecutor | None = None
        self._one: Callable[[Any], Any] = self._code_one
        self._has_thread = row.runs is Runs.DEVICE and not self._maker.for_threads
        self._code: Callable[[list[Any]], list[Any]] = self._code_on_device if self._has_thread else self._code_here
        if row.runs is not Runs.DEVICE and self._maker.stateless:
            codec = self._maker.make()
            codec.open(*self._arguments)
            self._code = codec.code
            if isinstance(codec, Function):
                self._one = codec.one

    def one(self, frame: Any) -> Any:
        """Return the result of a single frame, or raise a DcmtxError."""
        try:
            result = self._one(frame)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - it becomes the cause of a CodecError
            told = failed(self.row, error)
            raise told from told.__cause__
        if result is None:
            raise failed(self.row, None)
        return result

    def _code_one(self, frame: Any) -> Any:
        (result,) = self.code([frame])
        if isinstance(result, DcmtxError):
            raise result
        return result

    def code(self, frames: list[Any]) -> list[Any]:
        """Return the result of each frame, or its DcmtxError, in order."""
        try:
            results = self._code(frames)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - it is returned as the result of these frames
            return [failed(self.row, error, len(frames))] * len(frames)
        if len(results) != len(frames):
            wrong = CodecError(f"{self.row.backend} returned {len(results)} results for {len(frames)} frames")
            return [wrong] * len(frames)
        for result in results:
            if result is None or isinstance(result, BaseException):
                return [self._checked(one) for one in results]
        return results

    def _checked(self, result: Any) -> Any:
        return failed(self.row, result) if result is None or isinstance(result, BaseException) else result

    def _code_here(self, frames: list[Any]) -> list[Any]:
        """Code frames with the codec of this thread or process, at most `row.batch` at once."""
        codec, most = self._codec(), self.row.batch
        if len(frames) <= most:
            return list(codec.code(frames))
        results: list[Any] = []
        for start in range(0, len(frames), most):
            part = frames[start : start + most]
            done = list(codec.code(part))
            if len(done) != len(part):
                return done
            results += done
        return results

    def _code_on_device(self, frames: list[Any]) -> list[Any]:
        """Code frames in the thread that owns the codec; the thread starts on first use."""
        with self._lock:
            if self._device is None:
                from concurrent.futures import ThreadPoolExecutor

                self._device = ThreadPoolExecutor(1, "dcmtx-device")
        return self._device.submit(self._code_here, frames).result()

    def _codec(self) -> Codec:
        process = os.getpid()
        thread = 0 if self._maker.shared else _thread.get_ident()
        codec = self._opened.get((process, thread))
        if codec is not None:
            return codec
        if self._maker.shared and not self._has_thread:
            with self._lock:
                return self._opened.get((process, thread)) or self._open(process, thread)
        return self._open(process, thread)

    def _open(self, process: int, thread: int) -> Codec:
        codec = self._maker.make()
        codec.open(*self._arguments)
        self._opened[process, thread] = codec
        if process != self._process:
            # A forked child exits without calling `close`.
            from multiprocessing import util

            util.Finalize(None, codec.close, exitpriority=1)
        return codec

    def close(self) -> None:
        """Close the codecs of this process. Nothing may be coded after that."""
        device, self._device = self._device, None
        if device is not None:
            device.submit(self._close).result()
            device.shutdown()
        else:
            self._close()

    def _close(self) -> None:
        opened, self._opened = self._opened, {}
        for (process, _), codec in opened.items():
            if process == self._process:
                # Every frame is done or its failure is reported, so an error in closing no longer matters.
                with contextlib.suppress(Exception):
                    codec.close()


def carry_out(numbers: list[int], asking: Callable[[int], Asking]) -> list[Any]:
    """Return the result of each frame, or its DcmtxError, in order; `asking` starts the work on a frame.

    Frames that wait for the same coder are passed to it together. An error has the number of its frame.
    """
    if len(numbers) == 1:
        return [_alone(numbers[0], asking(numbers[0]))]
    results: dict[int, Any] = {}
    running = [(number, asking(number), None) for number in numbers]
    while running:
        waiting: dict[Coder, list[tuple[int, Asking, Any]]] = {}
        for number, work, answer in running:
            try:
                coder, frame = work.throw(answer) if isinstance(answer, DcmtxError) else work.send(answer)
            except StopIteration as done:
                results[number] = done.value
            except DcmtxError as error:
                results[number] = _of_frame(error, number)
            else:
                waiting.setdefault(coder, []).append((number, work, frame))
        running.clear()
        for coder, those in waiting.items():
            answers = coder.code([frame for _, _, frame in those])
            running += [(number, work, answer) for (number, work, _), answer in zip(those, answers, strict=True)]
    return [results[number] for number in numbers]


class Steps:
    """The work on one frame, one call of a codec at a time, so that another thread may do the next step."""

    def __init__(self, number: int, work: Asking) -> None:
        self._number = number
        self._work = work
        self._answer: Any = None

    def step(self) -> list[Any] | None:
        """Do the next step. After the last, return a list with the result of the frame, or its DcmtxError."""
        answer, self._answer = self._answer, None
        try:
            failed_before = isinstance(answer, DcmtxError)
            coder, frame = self._work.throw(answer) if failed_before else self._work.send(answer)
        except StopIteration as done:
            return [done.value]
        except DcmtxError as error:
            return [_of_frame(error, self._number)]
        try:
            self._answer = coder.one(frame)
        except DcmtxError as error:
            self._answer = error
        return None


def _alone(number: int, work: Asking) -> Any:
    """Return the result of one frame, or its DcmtxError."""
    try:
        coder, frame = work.send(None)
        while True:
            try:
                answer = coder.one(frame)
            except DcmtxError as error:
                coder, frame = work.throw(error)
            else:
                coder, frame = work.send(answer)
    except StopIteration as done:
        return done.value
    except DcmtxError as error:
        return _of_frame(error, number)


def _of_frame(error: DcmtxError, number: int) -> DcmtxError:
    """Return an error with the number of its frame."""
    if error.frame is None:
        error.frame = number
    return error


def close_all(coders: Iterable[Coder | None]) -> None:
    """Close all coders that are not None."""
    for coder in coders:
        if coder is not None:
            coder.close()
