"""Codecs: the functions and classes that rows name, as objects that code frames in batches.

A function codes one frame and keeps no state. A class may hold expensive state and code many frames at once.
"""

from __future__ import annotations

import _thread
import functools
from collections.abc import Callable
from typing import Any, Protocol

from dcmtx.codec.row import Row, Runs, loaded
from dcmtx.errors import UnsupportedError
from dcmtx.pixel.format import PixelFormat
from dcmtx.policy import LOSSLESS, EncodingParameters


class Codec(Protocol):
    """The interface that codes the frames of one plan. A class in a row has these methods and takes no arguments.

    One that uses a device is called by one thread, unless it has a true attribute `for_threads`.

    A decoder takes a frame's bytes and returns its samples, an array of the shape and dtype of the output format. An
    encoder takes such an array and returns bytes.
    """

    def open(self, given: PixelFormat, made: PixelFormat, parameters: EncodingParameters) -> None:
        """Prepare for frames of input format `given` and output format `made`. Called once, before any frame."""

    def code(self, batch: list[Any]) -> list[Any]:
        """Return a result for each frame of the batch, in order: the coded frame, or the exception if it failed.

        A DcmtxError is reported as it is; any other exception, and None, as a failure of the backend on that frame. An
        exception that is raised applies to the whole batch.
        """

    def close(self) -> None:
        """Release all resources. Called once, after the last frame, also after failures."""


class Function:
    """A codec made from a function for one frame: function(frame, given, made), plus the parameters for an encoder.

    With several `threads`, the function is called with these too.
    """

    __slots__ = ("_arguments", "_function", "_takes_parameters")

    def __init__(self, function: Callable[..., Any], *, takes_parameters: bool, threads: int = 1) -> None:
        self._function = functools.partial(function, threads=threads) if threads > 1 else function
        self._takes_parameters = takes_parameters
        self._arguments: tuple[Any, ...] = ()

    def open(self, given: PixelFormat, made: PixelFormat, parameters: EncodingParameters) -> None:
        """Remember the formats, and the parameters if the function takes them."""
        self._arguments = (given, made, parameters) if self._takes_parameters else (given, made)

    def one(self, frame: Any) -> Any:
        """Return the function's result for one frame."""
        return self._function(frame, *self._arguments)

    def code(self, batch: list[Any]) -> list[Any]:
        """Return the function's result for each frame, or the exception that it raised."""
        results: list[Any] = []
        for frame in batch:
            try:
                results.append(self.one(frame))
            except Exception as error:  # noqa: BLE001 - it is the result of this frame
                results.append(error)
        return results

    def close(self) -> None:
        """Do nothing: nothing is held."""


# One lock for each package that holds the interpreter lock.
_turns: dict[str, Any] = {}


class OneAtATime:
    """A codec that admits only one thread to the package at a time.

    The interpreter lock alone is not safe: pylibjpeg-openjpeg calls Python to read and write, and another thread can
    run then. Two threads that encode this way crash the process.
    """

    __slots__ = ("_codec", "_turn")

    def __init__(self, codec: Codec, package: str) -> None:
        self._codec = codec
        self._turn = _turns.setdefault(package, _thread.allocate_lock())

    def open(self, given: PixelFormat, made: PixelFormat, parameters: EncodingParameters) -> None:
        """Open the codec, alone."""
        with self._turn:
            self._codec.open(given, made, parameters)

    def code(self, batch: list[Any]) -> list[Any]:
        """Code frames, alone."""
        with self._turn:
            return self._codec.code(batch)

    def close(self) -> None:
        """Close the codec, alone."""
        with self._turn:
            self._codec.close()


class Maker:
    """Makes the codecs of a row from the function or class that its `call` names, which is imported.

    `stateless` tells that the codec is a function, so one is enough. `shared` tells that threads may share
    one codec; otherwise each thread has its own. `for_threads` tells that several may be inside it at once, even though
    it uses a device: then no single thread owns it. `threads` is over how many its function spreads one frame, if it
    can.
    Raises UnsupportedError naming the package if something that the row needs is not installed.
    """

    __slots__ = ("_named", "_row", "_takes_parameters", "_threads", "for_threads", "shared", "stateless")

    def __init__(self, row: Row, *, takes_parameters: bool, threads: int = 1) -> None:
        module, _, name = row.call.partition(":")
        try:
            if row.needs is not None:
                row.needs.load()
            self._named: Any = getattr(loaded(module), name)
        except ImportError as error:
            raise UnsupportedError(
                f"{row.backend} is not installed ({error})", advice=f"pip install {row.install}", code="E_BACKEND"
            ) from error
        except AttributeError as error:
            raise UnsupportedError(
                f"{row.backend} of {row.distribution} is broken: {error}", code="E_BACKEND"
            ) from error
        self._row = row
        self._takes_parameters = takes_parameters
        self._threads = threads if row.spreads else 1
        self.stateless = not isinstance(self._named, type)
        self.shared = self.stateless or row.runs is not Runs.THREADS
        self.for_threads = bool(getattr(self._named, "for_threads", False))

    def make(self) -> Codec:
        """Return a codec, not open yet."""
        takes = self._takes_parameters
        codec: Codec = (
            Function(self._named, takes_parameters=takes, threads=self._threads) if self.stateless else self._named()
        )
        return OneAtATime(codec, self._row.package) if self._row.runs is Runs.PROCESSES else codec

    def once(
        self, frame: Any, given: PixelFormat, made: PixelFormat, *, parameters: EncodingParameters = LOSSLESS
    ) -> Any:
        """Return the result for one frame, coded by a codec used only for it. Raises what the codec raises."""
        codec = self.make()
        codec.open(given, made, parameters)
        try:
            (result,) = codec.code([frame])
        finally:
            codec.close()
        if isinstance(result, BaseException):
            raise result
        return result
