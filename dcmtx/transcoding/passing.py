"""Frames that are not decoded on their way: JPEG streams that JPEG XL recompresses, and codestreams that stay."""

from __future__ import annotations

from dcmtx.codec import warm
from dcmtx.codec.table import ENCODERS
from dcmtx.errors import DcmtxError, RefusedError
from dcmtx.pixel.codestream import KINDS, Codestream, with_end
from dcmtx.planning.plan import Plan
from dcmtx.rules import relabel
from dcmtx.transcoding.coders import Asking, Coder, call, carry_out
from dcmtx.transcoding.codestreams import bare, read_stream
from dcmtx.transcoding.encoded import EncodedFrame, only
from dcmtx.transcoding.frames import Frames


class Recompressor:
    """Recompresses the JPEG streams of frames as JPEG XL, or restores them, and proves that this is reversible."""

    processes = False

    def __init__(self, plan: Plan, frames: Frames) -> None:
        assert plan.encoder is not None
        assert plan.source_format is not None
        self._plan = plan
        self._frames = frames
        self._row = plan.encoder
        self._fmt = plan.source_format
        self._recompress = Coder(ENCODERS, plan.encoder, self._fmt, made=self._fmt)
        self.batch = plan.encoder.batch
        if warm.others_run():
            self.warm()

    def warm(self) -> None:
        """Call the codec once, before several threads call it."""
        warm.recompressor(self._row, self._fmt)

    def close(self) -> None:
        """Close the codec."""
        self._recompress.close()

    def code(self, numbers: list[int]) -> list[EncodedFrame | DcmtxError]:
        """Return each frame (0-based) in the target syntax, or its InputError or CodecError."""
        return carry_out(numbers, self._turned)

    def __call__(self, number: int) -> EncodedFrame:
        """Return one frame, or raise."""
        return only(self.code([number]))

    def _turned(self, number: int) -> Asking:
        from dcmtx.codec.jpegxl import restore

        data = self._frames.frame(number)
        read_stream(self._frames.syntax, data, self._fmt)
        if self._frames.syntax.family == "jpegxl":
            stream: bytes = call(restore, self._row, data)
            read_stream(self._plan.syntax, stream, self._fmt)
            return EncodedFrame(stream)
        bare = data.rstrip(b"\0")
        stream = bare if bare.endswith(b"\xff\xd9") else data
        # It is restored and compared as it is made.
        return EncodedFrame(bytes((yield self._recompress, stream)), judged=self._row.library)


class Rewrapper:
    """Returns the codestreams of frames unchanged, except that JP2 boxes are removed (PS3.5 A.4.4)."""

    batch = 1
    processes = False

    def __init__(self, plan: Plan, frames: Frames) -> None:
        assert plan.source_format is not None
        self._frames = frames
        self._fmt = plan.source_format
        self._trim = plan.trim
        self._target = plan.syntax

    def warm(self) -> None:
        """Do nothing: no codec is called."""

    def close(self) -> None:
        """Do nothing: no codec was called."""

    def code(self, numbers: list[int]) -> list[EncodedFrame | DcmtxError]:
        """Return each frame (0-based), or its InputError."""
        return carry_out(numbers, self._bare)

    def __call__(self, number: int) -> EncodedFrame:
        """Return one frame, or raise."""
        return only(self.code([number]))

    def _bare(self, number: int) -> Asking:
        data, syntax = self._frames.frame(number), self._frames.syntax
        if self._trim and syntax.family in KINDS:
            stream = read_stream(syntax, data, self._fmt)
            self._check_name(stream)
            data = bare(syntax, with_end(stream, data), data)
        elif syntax.family in ("j2k", "htj2k"):
            stream = read_stream(syntax, data, self._fmt)
            data = data[stream.start : stream.end] if stream.boxed else data
        return EncodedFrame(data)
        yield

    def _check_name(self, stream: Codestream) -> None:
        """Raise RefusedError where the target may not name this codestream."""
        source, target = self._frames.syntax, self._target
        why = relabel.objection(source, target, stream) if target is not source else ""
        if why:
            raise RefusedError(
                f"its codestream may not be called {target.label}: {why}",
                advice=f"use `dcmtx convert --to {target.label}`",
                code="E_RELABEL",
            )
