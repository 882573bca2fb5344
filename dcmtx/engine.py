"""Frames through a plan: decode, steps, encode, check, in an ordered and bounded window.

Whatever a backend raises becomes a CodecError here, with backend and frame; nowhere else.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from dcmtx.codec.registry import Row
from dcmtx.codec.table import DECODERS, ENCODERS
from dcmtx.errors import CodecError, DcmtxError, InputError, RefusedError, VerifyError
from dcmtx.pixel.codestream import KINDS, NAMES, Codestream, inspect
from dcmtx.pixel.format import PixelFormat
from dcmtx.plan import Plan, UnusedBits
from dcmtx.source import Source
from dcmtx.syntax import Syntax

Frame = Any
# Frames being worked on or waiting to be written, per worker.
_WINDOW_PER_WORKER = 2


class FrameCoder:
    """Does to one frame what a plan says. Safe to call from several threads."""

    def __init__(self, plan: Plan, source: Source) -> None:
        assert plan.decoder is not None
        assert plan.encoder is not None
        assert plan.coded_in is not None
        assert plan.plain is not None
        assert plan.given is not None
        assert plan.coded_out is not None
        self._plan = plan
        self._source = source
        self._decode = DECODERS.load(plan.decoder)
        self._encode = ENCODERS.load(plan.encoder)
        self._check = DECODERS.load(plan.verifier) if plan.verifier else None
        self._coded_in, self._plain = plan.coded_in, plan.plain
        self._given, self._coded_out = plan.given, plan.coded_out
        self._first: Codestream | None = None

    def __call__(self, number: int) -> Frame:
        """Return one frame (0-based) as the encoder of the plan writes it.

        Raises InputError, RefusedError, CodecError or VerifyError, with the frame's number.
        """
        try:
            words = self._settle(self._decoded(self._source.frame(number)))
            encoded = self._call(
                self._encode, self._plan.encoder, words, self._given, self._coded_out, self._plan.quality
            )
            if self._check is not None:
                self._verify(words, encoded)
        except DcmtxError as error:
            if error.frame is None:
                error.frame = number
            raise
        return encoded

    def _decoded(self, data: bytes) -> Frame:
        """Return the words of a frame of the source."""
        from dcmtx.pixel import bits

        if self._source.fragments is None:
            return self._call(self._decode, self._plan.decoder, data, self._coded_in, self._plain)
        stream = read_stream(self._source.syntax, data, self._coded_in)
        self._same_kind(stream)
        raw = data[stream.start : stream.end] if stream.boxed else data
        samples = self._call(self._decode, self._plan.decoder, raw, self._coded_in, self._plain)
        self._check_shape(samples, self._plain, self._plan.decoder)
        return bits.settle(samples, stream, self._plain)

    def _same_kind(self, stream: Codestream) -> None:
        """Refuse a frame that is in another colour space than the first: one data set cannot describe both."""
        first = self._first
        if first is None:
            self._first = stream
        elif stream.transform is not first.transform:
            raise InputError(
                "its codestream is in another colour space than that of another frame, and one Photometric "
                "Interpretation cannot say both",
                code="E_INCONSISTENT",
            )

    def _settle(self, words: Frame) -> Frame:
        """Make High Bit legal and deal with what lies outside Bits Stored, as the plan says."""
        from dcmtx.pixel import bits

        policy = self._plan.unused_bits
        if policy is None or policy is UnusedBits.KEEP:
            return words
        plain, given = self._plain, self._given
        if plain.high_bit != given.high_bit:
            if policy is UnusedBits.REFUSE and bits.below_high_bit(words, plain):
                raise _unused("below the lowest stored bit")
            words = bits.lower_high_bit(words, plain)
        if bits.has_unused_content(words, given):
            if policy is UnusedBits.REFUSE:
                raise _unused(f"above Bits Stored ({given.stored})")
            words = bits.clear_unused(words, given)
        return words

    def _verify(self, words: Frame, encoded: Frame) -> None:
        """Decode what was encoded and compare whole words."""
        import numpy as np

        from dcmtx.pixel import bits

        assert self._check is not None
        target = self._plan.syntax
        data = bytes(encoded) if target.encapsulated else encoded
        if target.encapsulated:
            stream = read_stream(target, data, self._coded_out)
            back = self._call(self._check, self._plan.verifier, data, self._coded_out, self._given)
            self._check_shape(back, self._given, self._plan.verifier)
            back = bits.settle(back, stream, self._given)
        elif self._coded_out.allocated == 1:
            return
        else:
            back = self._call(self._check, self._plan.verifier, data, self._coded_out, self._given)
        if not np.array_equal(back, words):
            different = int(np.count_nonzero(back != words))
            assert self._plan.encoder is not None
            raise VerifyError(
                f"{different} of {words.size} samples differ after encoding by {self._plan.encoder.backend}; nothing "
                "was written, please report this with the file"
            )

    def _check_shape(self, samples: Frame, fmt: PixelFormat, row: Row | None) -> None:
        if samples.shape != fmt.shape:
            assert row is not None
            raise CodecError(f"{row.backend} returned {samples.shape} samples instead of {fmt.shape}")

    def _call(self, function: Callable[..., Any], row: Row | None, *arguments: Any) -> Any:
        assert row is not None
        try:
            return function(*arguments)
        except DcmtxError:
            raise
        except MemoryError as error:
            raise CodecError(f"{row.backend} ran out of memory") from error
        except Exception as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            raise CodecError(f"{row.backend} failed: {reason[:200]}") from error


def _unused(where: str) -> RefusedError:
    return RefusedError(
        f"some words hold something {where} that this codec would drop; use --to rle or explicit, which hold it, or "
        "--unused-bits keep or clear",
        code="E_UNUSED_BITS",
    )


def read_stream(syntax: Syntax, data: bytes, fmt: PixelFormat) -> Codestream:
    """Return the header of a codestream after comparing it with the data set, as must be done before it is decoded.

    Raises InputError where they contradict each other.
    """
    stream = inspect(syntax.family, data, samples=fmt.samples)
    if stream.kind not in KINDS[syntax.family]:
        raise InputError(
            f"its codestream is {NAMES[stream.kind]}, but the transfer syntax is {syntax.name}", code="E_CODESTREAM"
        )
    size = (stream.rows, stream.columns)
    if size not in ((fmt.rows, fmt.columns), (0, 0)):
        raise _contradicts(f"{size[0]}x{size[1]} pixels", f"{fmt.rows}x{fmt.columns}")
    if stream.components != fmt.samples:
        raise _contradicts(f"{stream.components} components", f"Samples per Pixel {fmt.samples}")
    if stream.precision > max(8, fmt.allocated):
        raise _contradicts(f"{stream.precision} bits", f"Bits Allocated {fmt.allocated}")
    return stream


def _contradicts(stream: str, said: str) -> InputError:
    return InputError(
        f"its codestream has {stream}, the data set says {said}; correct the data set first", code="E_GEOMETRY"
    )


def run(work: Callable[[int], Frame], frames: int, workers: int) -> Iterator[Frame]:
    """Yield `work(number)` for each frame in order, by `workers` threads, with a bounded number under way."""
    if workers == 1 or frames == 1:
        yield from map(work, range(frames))
        return
    from concurrent.futures import Future, ThreadPoolExecutor

    window: deque[Future[Frame]] = deque()
    with ThreadPoolExecutor(min(workers, frames)) as pool:
        try:
            for number in range(frames):
                window.append(pool.submit(work, number))
                if len(window) > workers * _WINDOW_PER_WORKER:
                    yield window.popleft().result()
            while window:
                yield window.popleft().result()
        finally:
            for future in window:
                future.cancel()
