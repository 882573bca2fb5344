"""One frame through a plan: decode, steps, encode, check.

Whatever a backend raises becomes a CodecError here, with backend and frame; nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dcmtx.codec.registry import Row
from dcmtx.codec.table import DECODERS, ENCODERS
from dcmtx.errors import CodecError, DcmtxError, InputError, RefusedError, Stopped, VerifyError
from dcmtx.pixel.codestream import KINDS, NAMES, Codestream, check_end, inspect
from dcmtx.pixel.format import PixelFormat
from dcmtx.pixel.promise import check_promise
from dcmtx.plan import Plan
from dcmtx.record import Record
from dcmtx.request import UnusedBits
from dcmtx.source import PixelSource
from dcmtx.syntax import JPEG_BASELINE, JPEG_RECOMPRESSION, Kind, Syntax

Frame = Any
_SOI, _EOI = b"\xff\xd8", b"\xff\xd9"
# Entropy-coded data of no image, without a marker in it, nor with the last byte before it: a zero makes FF no marker.
_OTHER_BYTES = bytes(range(250)) * 8


class Measure(Record):
    """What verification saw of a lossy frame: smallest and largest value, sum of squared errors, largest error."""

    smallest: int
    largest: int
    squares: float
    worst: int


class Coded(Record):
    """One frame as the target holds it: its bytes, the overlays taken out of it, and what was measured.

    `words` are what the source decodes to, if they were to be kept; `cleared` says how many lost what stood outside
    Bits Stored, as the user wanted.
    """

    data: Frame
    overlays: tuple[Frame, ...] = ()
    measure: Measure | None = None
    words: Frame = None
    cleared: int = 0


class FrameCoder:
    """Does to one frame what a plan says. Safe to call from several threads."""

    def __init__(self, plan: Plan, source: PixelSource, *, keep_words: bool = False) -> None:
        assert plan.decoder is not None
        assert plan.encoder is not None
        assert plan.coded_in is not None
        assert plan.plain is not None
        assert plan.given is not None
        assert plan.coded_out is not None
        self._plan = plan
        self._source = source
        self._decoder, self._encoder, self._verifier = plan.decoder, plan.encoder, plan.verifier
        self._decode = DECODERS.load(plan.decoder)
        self._encode = ENCODERS.load(plan.encoder)
        self._check = DECODERS.load(plan.verifier) if plan.verifier else None
        self._coded_in, self._plain = plan.coded_in, plan.plain
        self._given, self._coded_out = plan.given, plan.coded_out
        self._keep_words = keep_words

    def __call__(self, number: int) -> Coded:
        """Return one frame (0-based) as the encoder of the plan writes it.

        Raises InputError, RefusedError, CodecError or VerifyError, with the frame's number.
        """
        try:
            words = self._decoded(self._source.frame(number))
            decoded = self._as_native(words) if self._keep_words else None
            overlays: tuple[Frame, ...] = ()
            if self._plan.overlays:
                words, overlays = self._take_overlays(words)
            words, cleared = self._settle(words)
            data = call(self._encode, self._encoder, words, self._given, self._coded_out, self._plan.quality)
            measure = self._verify(words, data)
        except DcmtxError as error:
            if error.frame is None:
                error.frame = number
            raise
        return Coded(data, overlays, measure, decoded, cleared)

    def _as_native(self, words: Frame) -> Frame:
        """Return decoded words as native cells have them: those that shared chroma do so again."""
        from dcmtx.pixel import color

        shared = self._source.fragments is None and self._coded_in.subsampled
        return color.share_422(words) if shared else words

    def _decoded(self, data: bytes) -> Frame:
        """Return the words of a frame of the source."""
        from dcmtx.pixel import bits

        stream = None
        if self._source.syntax.family in KINDS:
            stream = read_colour(self._source.syntax, data, self._coded_in)
            if stream.transform is not self._plan.transform:
                raise InputError(
                    "its codestream is in another colour space than that of the first frame, and one Photometric "
                    "Interpretation cannot say both",
                    code="E_INCONSISTENT",
                )
            fmt = self._coded_in
            check_promise(stream, len(data), fmt.pixels * fmt.samples, fmt.frame_bytes)
            if stream.boxed:
                data = data[stream.start : stream.end]
        words = call(self._decode, self._decoder, data, self._coded_in, self._plain)
        _check_shape(words, self._plain, self._decoder)
        if self._verifier is not None and stream is not None and stream.kind == "jpeg":
            self._check_scan(data, words)
        return bits.settle(words, stream, self._plain) if stream is not None else words

    def _check_scan(self, data: bytes, words: Frame) -> None:
        """Refuse JPEG whose scan ends before its image does: libjpeg makes up the rest, and the library says nothing.

        With other bytes put in before EOI, which a decoder that has all its samples skips, it would make up another.
        """
        end = data.rfind(_EOI)
        if self._decoder.backend != "imagecodecs" or end < 0 or not data.startswith(_SOI):
            return
        import numpy as np

        again = call(self._decode, self._decoder, data[:end] + _OTHER_BYTES + _EOI, self._coded_in, self._plain)
        if not np.array_equal(again, words):
            raise InputError(
                "its JPEG scan ends before the image does; the pixel data is truncated or damaged", code="E_TRUNCATED"
            )

    def _take_overlays(self, words: Frame) -> tuple[Frame, tuple[Frame, ...]]:
        """Return the words without the overlays in their unused bits, and those, a byte per pixel."""
        from dcmtx.pixel import bits

        planes = [overlay.bit for overlay in self._plan.overlays]
        return bits.without_bits(words, planes, self._plain), tuple(bits.bit_plane(words, bit) for bit in planes)

    def _settle(self, words: Frame) -> tuple[Frame, int]:
        """Give the encoder its colour and words; return them, and how many lost what stood outside Bits Stored."""
        from dcmtx.pixel import color

        plain, given, policy = self._plain, self._given, self._plan.unused_bits
        cleared = 0
        if policy is not None and policy is not UnusedBits.KEEP:
            words, cleared = self._settle_unused(words, policy)
        if given.photometric == "RGB" and plain.photometric == "YBR_FULL":
            words = color.to_rgb(words, plain)
        if given.allocated != plain.allocated:
            words = words.astype(given.dtype, copy=False)
        if self._plan.irreversible and given.signed and self._plan.syntax.family == "jpegls":
            self._check_near(words)
        return words, cleared

    def _settle_unused(self, words: Frame, policy: UnusedBits) -> tuple[Frame, int]:
        """Make High Bit legal and see to what lies outside Bits Stored; return words, and how many were changed."""
        from dcmtx.pixel import bits

        plain = self._plain
        cleared = 0
        if plain.high_bit != plain.stored - 1:
            below = bits.below_high_bit(words, plain)
            if below and policy is UnusedBits.REFUSE:
                raise _unused("below the lowest stored bit", "deflated-frames or explicit")
            cleared += below
            words = bits.lower_high_bit(words, plain)
        if bits.has_unused_content(words, plain):
            if policy is UnusedBits.REFUSE:
                widest = 8 if plain.photometric == "YBR_FULL" else 16
                holds = "rle" if plain.allocated <= widest else "deflated-frames"
                raise _unused(f"above Bits Stored ({plain.stored})", f"{holds} or explicit")
            bare = bits.clear_unused(words, plain)
            cleared += int((bare != words).sum())
            words = bare
        return words, cleared

    def _check_near(self, words: Frame) -> None:
        """Refuse signed values so near the ends of their range that an error of NEAR would turn their sign."""
        from dcmtx.codec.jpegls import near

        allowed = near(self._plan.quality, self._given.stored)
        limit = 1 << (self._given.stored - 1)
        if words.min() < allowed - limit or words.max() > limit - 1 - allowed:
            raise RefusedError(
                f"signed values within NEAR ({allowed}) of the ends of their range would change sign (PS3.5 8.2.3); "
                "use --to jpegls without --lossy",
                code="E_SIGN",
            )

    def _verify(self, words: Frame, data: Frame) -> Measure | None:
        """Decode what was encoded and compare whole words; with loss, keep within what was asked for."""
        if self._check is None or self._verifier is None:
            return None
        import numpy as np

        from dcmtx.pixel import bits

        target = self._plan.syntax
        if self._coded_out.allocated == 1 and target.kind is Kind.NATIVE:
            # Bits of several frames share bytes: `bits.BitPacker` packs them when they are written.
            return None
        # Cells are looked at where they are.
        data = bytes(data) if target.family in KINDS else data
        back = call(self._check, self._verifier, data, self._coded_out, self._given)
        _check_shape(back, self._given, self._verifier)
        if target.family in KINDS:
            back = bits.settle(back, read_stream(target, data, self._coded_out), self._given)
        if self._plan.irreversible:
            return self._measure(words, back)
        if not np.array_equal(back, words):
            different = int(np.count_nonzero(back != words))
            raise VerifyError(
                f"{different} of {words.size} samples differ after encoding by {self._encoder.backend}; nothing was "
                "written, please report this with the file"
            )
        return None

    def _measure(self, words: Frame, back: Frame) -> Measure:
        import numpy as np

        error = np.abs(words.astype(np.int64) - back)
        worst = int(error.max())
        if self._plan.syntax.family == "jpegls":
            from dcmtx.codec.jpegls import near

            if worst > near(self._plan.quality, self._given.stored):
                raise VerifyError(
                    f"a sample is off by {worst}, more than NEAR; nothing was written, please report this"
                )
        squares = float(np.square(error, dtype=np.float64).sum())
        return Measure(int(back.min()), int(back.max()), squares, worst)


def _check_shape(samples: Frame, fmt: PixelFormat, row: Row) -> None:
    if samples.shape != fmt.shape:
        raise CodecError(f"{row.backend} returned {samples.shape} samples instead of {fmt.shape}")


class Recompressor:
    """Turns the JPEG stream of one frame into JPEG XL, or back, and proves that it can be turned again."""

    def __init__(self, plan: Plan, source: PixelSource) -> None:
        assert plan.encoder is not None
        assert plan.coded_in is not None
        self._plan = plan
        self._source = source
        self._row = plan.encoder
        self._fmt = plan.coded_in
        self._recompress = ENCODERS.load(plan.encoder)

    def __call__(self, number: int) -> Coded:
        """Return one frame (0-based) in the target syntax. Raises InputError or CodecError, with its number."""
        try:
            return Coded(self._turned(self._source.frame(number)))
        except DcmtxError as error:
            if error.frame is None:
                error.frame = number
            raise

    def _turned(self, data: bytes) -> bytes:
        from dcmtx.codec.jpegxl import restore
        from dcmtx.codec.registry import LOSSLESS

        read_stream(self._source.syntax, data, self._fmt)
        if self._source.syntax.family == "jpegxl":
            stream: bytes = call(restore, self._row, data)
            read_stream(self._plan.syntax, stream, self._fmt)
            return stream
        bare = data.rstrip(b"\0")
        stream = bare if bare.endswith(b"\xff\xd9") else data
        return bytes(call(self._recompress, self._row, stream, self._fmt, self._fmt, LOSSLESS))


class Rewrapper:
    """Returns the codestream of one frame as it is, but for JP2 boxes, which do not belong there (PS3.5 A.4.4)."""

    def __init__(self, plan: Plan, source: PixelSource) -> None:
        assert plan.coded_in is not None
        self._source = source
        self._fmt = plan.coded_in

    def __call__(self, number: int) -> Coded:
        """Return one frame (0-based). Raises InputError with its number."""
        data = self._source.frame(number)
        if self._source.syntax.family not in ("j2k", "htj2k"):
            return Coded(data)
        try:
            stream = read_stream(self._source.syntax, data, self._fmt)
        except DcmtxError as error:
            error.frame = number
            raise
        return Coded(data[stream.start : stream.end] if stream.boxed else data)


def call(function: Callable[..., Any], row: Row, *arguments: Any) -> Any:
    """Call a backend; whatever it raises becomes a CodecError that names it."""
    try:
        return function(*arguments)
    except DcmtxError:
        raise
    except MemoryError as error:
        raise CodecError(f"{row.backend} ran out of memory") from error
    except (KeyboardInterrupt, Stopped):
        raise
    except BaseException as error:
        # What a backend written in Rust raises where it panics is no Exception.
        reason = " ".join(str(error).split()) or type(error).__name__
        raise CodecError(f"{row.backend} failed: {reason[:200]}") from error


def _unused(where: str, holds: str) -> RefusedError:
    return RefusedError(
        f"some words hold something {where} that this codec would drop; use --to {holds} which holds it, or "
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
    if syntax.family in ("j2k", "htj2k") and any(factors != (1, 1) for factors in stream.sampling):
        raise InputError(
            "the components of its codestream are subsampled, which the decoders at hand do not give back exactly",
            code="E_CODESTREAM",
        )
    if stream.precision > max(8, fmt.allocated):
        raise _contradicts(f"{stream.precision} bits", f"Bits Allocated {fmt.allocated}")
    check_end(stream, data)
    return stream


def read_colour(syntax: Syntax, data: bytes, fmt: PixelFormat) -> Codestream:
    """Return the header of a codestream, as `read_stream` does; where JPEG was recompressed, that of the JPEG stream.

    Only that says how its colours are coded.
    """
    stream = read_stream(syntax, data, fmt)
    if syntax is not JPEG_RECOMPRESSION:
        return stream
    from dcmtx.codec.jpegxl import restore

    jpeg: bytes = call(restore, DECODERS.rows(syntax.uid)[0], data)
    return read_stream(JPEG_BASELINE, jpeg, fmt)


def _contradicts(stream: str, said: str) -> InputError:
    return InputError(
        f"its codestream has {stream}, the data set says {said}; correct the data set first", code="E_GEOMETRY"
    )
