"""Writes an instance whose frames come from many files: codestreams in the target syntax are copied."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dcmtx.dataset.element import swap
from dcmtx.dataset.vr import SWAP_UNIT
from dcmtx.errors import DcmtxError
from dcmtx.pixel.format import PixelFormat
from dcmtx.series.pixels import SeriesFrames
from dcmtx.transcoding.encoded import EncodedFrame
from dcmtx.transcoding.engine import Work
from dcmtx.transcoding.pixels import PixelWriter
from dcmtx.transcoding.writer import Writer


class Copying:
    """Work that copies the codestreams that are in the target syntax already, and has the others coded."""

    processes = False

    def __init__(self, work: Work, frames: SeriesFrames, copies: Callable[[int], bool]) -> None:
        self._work = work
        self._frames = frames
        self._copies = copies
        self.batch = work.batch

    def warm(self) -> None:
        """Get ready for several threads."""
        self._work.warm()

    def close(self) -> None:
        """Release everything."""
        self._work.close()

    def code(self, numbers: list[int]) -> list[EncodedFrame | DcmtxError]:
        """Return each frame (0-based), or its error."""
        coded = [number for number in numbers if not self._copies(number)]
        made: dict[int, EncodedFrame | DcmtxError] = {}
        if coded:
            made = dict(zip(coded, self._work.code(coded), strict=True))
        return [made[number] if number in made else self._copied(number) for number in numbers]

    def _copied(self, number: int) -> EncodedFrame | DcmtxError:
        try:
            self._frames.frame(number)
            return EncodedFrame(self._frames.codestream(number))
        except DcmtxError as error:
            error.frame = number
            return error


class SeriesPixels(PixelWriter):
    """Writes the pixel element of a series. Native cells go frame by frame, as their files do."""

    def _work(self, fmt: PixelFormat) -> Work:
        work = super()._work(fmt)
        frames: Any = self._frames
        if not frames.encapsulated and self._plan.syntax.encapsulated and not self._plan.irreversible:
            target = self._plan.syntax

            def copies(number: int) -> bool:
                source = frames.source(number)
                return source.syntax is target and not source.raised

            if any(copies(number) for number in range(len(frames))):
                return Copying(work, frames, copies)
        return work

    def _carry(self) -> None:
        frames, plan = self._frames, self._plan
        unit = SWAP_UNIT.get(plan.pixel_vr, 1) if self._encoding.big_endian else 1
        fmt = plan.source_format
        assert fmt is not None
        if fmt.frame_bytes % unit:
            super()._carry()
            return
        length = fmt.native_bytes
        self._pixel_header(length)
        for number in range(fmt.frames):
            data = frames.frame(number)
            if self._digest is not None:
                self._digest.source.add_bytes(data)
            self._sink.write(swap(data, unit))
            if self._watch is not None:
                self._watch(number + 1, fmt.frames)
        self._sink.write(bytes(length % 2))


class SeriesWriter(Writer):
    """Writes one instance of a series, and the digests of its sources, which are known when all were read."""

    _pixel_writer = SeriesPixels

    def fill(self, key: str, value: bytes) -> None:
        """Fill the place that the plan reserves under this key."""
        self._fill(key, value, b"\0")
