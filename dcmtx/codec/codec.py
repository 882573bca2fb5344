"""Codecs: what a row names, as an object that codes frames in batches.

A function codes one frame and keeps nothing; a class may hold what is dear to make, and code many frames at once.
"""

from __future__ import annotations

import _thread
import importlib
from collections.abc import Callable
from typing import Any, Protocol

from dcmtx.codec.row import Row, Runs
from dcmtx.errors import UnsupportedError
from dcmtx.pixel.format import PixelFormat
from dcmtx.policy import LOSSLESS, EncodingParameters


class Codec(Protocol):
    """What codes the frames of one plan. A class that a row names has these three, and is made without arguments.

    What goes in and what comes out, of a decoder: a frame's bytes, and its samples, an array of the shape and the dtype
    of the format that it comes out in. Of an encoder: such an array, and bytes.
    """

    def open(self, given: PixelFormat, made: PixelFormat, parameters: EncodingParameters) -> None:
        """Make ready for frames that go in as `given` and come out as `made`. Called once, before any frame."""

    def code(self, batch: list[Any]) -> list[Any]:
        """Return a result for each frame of the batch, in its order: what it has become, or the exception why not.

        A DcmtxError is told as it is; anything else, None too, as a failure of the backend on that frame. What is
        raised befalls the whole batch.
        """

    def close(self) -> None:
        """Let go of everything. Called once, when no frame comes any more, also after failures."""


class Function:
    """A codec of a function that codes one frame: function(frame, given, made), and the parameters for an encoder."""

    __slots__ = ("_arguments", "_function", "_takes_parameters")

    def __init__(self, function: Callable[..., Any], *, takes_parameters: bool) -> None:
        self._function = function
        self._takes_parameters = takes_parameters
        self._arguments: tuple[Any, ...] = ()

    def open(self, given: PixelFormat, made: PixelFormat, parameters: EncodingParameters) -> None:
        """Remember the formats, and the parameters if the function takes them."""
        self._arguments = (given, made, parameters) if self._takes_parameters else (given, made)

    def one(self, frame: Any) -> Any:
        """Return what the function makes of one frame."""
        return self._function(frame, *self._arguments)

    def code(self, batch: list[Any]) -> list[Any]:
        """Return what the function makes of each frame, or raises on it."""
        results: list[Any] = []
        for frame in batch:
            try:
                results.append(self.one(frame))
            except Exception as error:  # noqa: BLE001 - it is the result of this frame
                results.append(error)
        return results

    def close(self) -> None:
        """Do nothing: nothing is held."""


# One for each package that holds the interpreter lock.
_turns: dict[str, Any] = {}


class OneAtATime:
    """A codec that lets no thread in while another is inside the package.

    Holding the interpreter lock is no safety: pylibjpeg-openjpeg calls Python to read and write, and lets another
    thread in then. Two that encode so end the process.
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
    """Makes the codecs of a row, of what its `call` names, which is imported.

    `stateless` tells that it makes them of a function: one is as good as many. `shared` tells that threads may share
    one codec; else each has its own.
    Raises UnsupportedError naming the package if something that the row needs is not installed.
    """

    __slots__ = ("_named", "_row", "_takes_parameters", "shared", "stateless")

    def __init__(self, row: Row, *, takes_parameters: bool) -> None:
        module, _, name = row.call.partition(":")
        try:
            if row.needs is not None:
                importlib.import_module(row.needs.module)
            self._named: Any = getattr(importlib.import_module(module), name)
        except ImportError as error:
            raise UnsupportedError(
                f"{row.backend} is not installed ({error})", advice=f"pip install {row.package}", code="E_BACKEND"
            ) from error
        except AttributeError as error:
            raise UnsupportedError(
                f"{row.backend} of {row.distribution} is broken: {error}", code="E_BACKEND"
            ) from error
        self._row = row
        self._takes_parameters = takes_parameters
        self.stateless = not isinstance(self._named, type)
        self.shared = self.stateless or row.runs is not Runs.THREADS

    def make(self) -> Codec:
        """Return a codec, not open yet."""
        takes = self._takes_parameters
        codec: Codec = Function(self._named, takes_parameters=takes) if self.stateless else self._named()
        return OneAtATime(codec, self._row.package) if self._row.runs is Runs.PROCESSES else codec

    def once(
        self, frame: Any, given: PixelFormat, made: PixelFormat, *, parameters: EncodingParameters = LOSSLESS
    ) -> Any:
        """Return what one frame becomes, by a codec for it alone. Raises what the codec raises."""
        codec = self.make()
        codec.open(given, made, parameters)
        try:
            (result,) = codec.code([frame])
        finally:
            codec.close()
        if isinstance(result, BaseException):
            raise result
        return result
