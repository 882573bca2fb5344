"""One frame through a plan: decode, steps, encode, check.

Whatever a backend raises becomes a CodecError here, with backend and frame; nowhere else.
"""

from __future__ import annotations

from typing import Any

from dcmtx.codec import warm
from dcmtx.codec.registry import Row
from dcmtx.codec.table import DECODERS, ENCODERS
from dcmtx.errors import CodecError, DcmtxError, InputError, RefusedError, UnsupportedError, VerifyError
from dcmtx.pixel.codestream import END, KINDS, Codestream
from dcmtx.pixel.format import PixelFormat
from dcmtx.planning.plan import Plan
from dcmtx.policy import EncodingParameters, UnusedBits
from dcmtx.record import Record
from dcmtx.syntax import Kind
from dcmtx.transcoding.codestreams import call, read_colour, read_stream
from dcmtx.transcoding.frames import Frames

Frame = Any
_SOI = b"\xff\xd8"
# Entropy-coded data of no image, without a marker in it, nor with the last byte before it: a zero makes FF no marker.
_OTHER_BYTES = bytes(range(250)) * 8


class Measure(Record):
    """What verification saw of a lossy frame: smallest and largest value, sum of squared errors, largest error."""

    smallest: int
    largest: int
    squares: float
    worst: int


class EncodedFrame(Record):
    """One frame as the target holds it: its bytes, the overlays taken out of it, and what was measured.

    `words` are what the source decodes to, if they were to be kept; `cleared` says how many lost what stood outside
    Bits Stored, as the user wanted. `exact` says that a frame that might have lost something is coded without loss,
    `spare` how many bytes that takes, or would take.
    """

    data: Frame
    overlays: tuple[Frame, ...] = ()
    measure: Measure | None = None
    words: Frame = None
    cleared: int = 0
    exact: bool = False
    spare: int = 0


# Codecs that hold every sample as a number of 32 bits while they work.
_WIDE_FAMILIES = frozenset(["j2k", "htj2k", "jpegxl"])
# What measuring a loss takes for each sample: a difference of 64 bits, its square, and its absolute value.
_MEASURE_BYTES = 24


def frame_memory(plan: Plan, frames: Frames) -> int:
    """Return about how many bytes one frame takes while a plan is carried out on it: every copy there is at once.

    Those are the frame encoded, decoded, given to the encoder, encoded again, and decoded to be compared.
    """
    fmt = plan.source_format
    assert fmt is not None
    encoded = -(-frames.coded_bytes // fmt.frames) if frames.encapsulated else fmt.frame_bytes
    decoded_format, encoder_format = plan.decoded_format, plan.encoder_format
    if decoded_format is None or encoder_format is None:
        return 2 * encoded
    samples = decoded_format.pixels * decoded_format.samples
    decoded, settled = samples * decoded_format.word_bytes, samples * encoder_format.word_bytes
    total = encoded + decoded + 2 * settled
    if plan.verifier is not None:
        total += settled + (samples * _MEASURE_BYTES if plan.irreversible else samples)
    wide = {plan.syntax.family, frames.syntax.family} & _WIDE_FAMILIES
    return total + (4 * samples if wide else 0)


class FrameCoder:
    """Does to one frame what a plan says. Safe to call from several threads."""

    def __init__(self, plan: Plan, frames: Frames, *, keep_words: bool = False) -> None:
        assert plan.decoder is not None
        assert plan.encoder is not None
        assert plan.source_format is not None
        assert plan.decoded_format is not None
        assert plan.encoder_format is not None
        assert plan.target_format is not None
        self._plan = plan
        self._frames = frames
        self._decoder, self._encoder, self._verifier = plan.decoder, plan.encoder, plan.verifier
        self._decode = DECODERS.load(plan.decoder)
        self._encode = ENCODERS.load(plan.encoder)
        self._encode_exactly = ENCODERS.load(plan.exact) if plan.exact else None
        self._check = DECODERS.load(plan.verifier) if plan.verifier else None
        self._source_format, self._decoded_format = plan.source_format, plan.decoded_format
        self._encoder_format, self._target_format = plan.encoder_format, plan.target_format
        self._keep_words = keep_words
        if warm.others_run():
            self.warm()

    def warm(self) -> None:
        """Have every codec of the plan called once before several threads call it."""
        plan = self._plan
        warm.decoder(self._decoder, self._source_format)
        warm.encoder(self._encoder, self._encoder_format, self._target_format, plan.quality, plan.verifier)
        if plan.exact is not None:
            from dcmtx.codec import rate

            warm.encoder(
                plan.exact, self._encoder_format, self._target_format, rate.without_loss(plan.quality), plan.verifier
            )

    def __call__(self, number: int) -> EncodedFrame:
        """Return one frame (0-based) as the encoder of the plan writes it.

        Raises InputError, RefusedError, CodecError or VerifyError, with the frame's number.
        """
        try:
            words = self._decoded(self._frames.frame(number))
            decoded = self._as_native(words) if self._keep_words else None
            overlays: tuple[Frame, ...] = ()
            if self._plan.overlays:
                words, overlays = self._take_overlays(words)
            words, cleared = self._settle(words)
            coded = self._encoded(words)
            measure = self._verify(words, coded.data, exact=coded.exact)
        except DcmtxError as error:
            if error.frame is None:
                error.frame = number
            raise
        return coded.replace(overlays=overlays, measure=measure, words=decoded, cleared=cleared)

    def _encoded(self, words: Frame) -> EncodedFrame:
        """Return words encoded, without loss where loss was asked for but saves no bytes.

        Frames in colour are not mixed so: the colour transform is another, and the data set names one. Then the writer
        decides on all of them together.
        """
        plan, exact = self._plan, self._plan.exact
        if exact is None or self._encode_exactly is None:
            return EncodedFrame(
                call(self._encode, self._encoder, words, self._encoder_format, self._target_format, plan.quality)
            )
        from dcmtx.codec import rate

        out = self._target_format.replace(photometric=self._target_format.photometric.replace("YBR_ICT", "YBR_RCT"))
        may_mix = out.photometric == self._target_format.photometric
        spare = call(self._encode_exactly, exact, words, self._encoder_format, out, rate.without_loss(plan.quality))
        if may_mix and _is_enough(len(spare), out, plan.quality):
            return EncodedFrame(spare, exact=True, spare=len(spare))
        try:
            data = call(self._encode, self._encoder, words, self._encoder_format, self._target_format, plan.quality)
        except RefusedError as error:
            if error.code != rate.UNREACHED or not may_mix:
                raise
            return EncodedFrame(spare, exact=True, spare=len(spare))
        if may_mix and len(spare) <= len(data):
            return EncodedFrame(spare, exact=True, spare=len(spare))
        return EncodedFrame(data, spare=len(spare))

    def _as_native(self, words: Frame) -> Frame:
        """Return decoded words as native cells have them: those that shared chroma do so again."""
        from dcmtx.pixel import color

        held = self._source_format
        shared = held.subsampled and self._decoded_format.photometric == "YBR_FULL" and held.columns % 2 == 0
        return color.share_422(words) if shared else words

    def _decoded(self, data: bytes) -> Frame:
        """Return the words of a frame of the source."""
        from dcmtx.pixel import bits

        stream = None
        if self._frames.syntax.family in KINDS:
            stream = read_colour(self._frames.syntax, data, self._source_format)
            if stream.transform is not self._plan.transform:
                raise InputError(
                    "its codestream is in another colour space than that of the first frame, and one Photometric "
                    "Interpretation cannot say both",
                    code="E_INCONSISTENT",
                )
            self._check_sharing(stream)
            if stream.start or stream.end < len(data):
                data = data[stream.start : stream.end]
        try:
            words = call(self._decode, self._decoder, data, self._source_format, self._decoded_format)
            _check_shape(words, self._decoded_format, self._decoder)
        except CodecError as error:
            error.message += self._advice()
            raise
        if self._verifier is not None and stream is not None and stream.kind == "jpeg":
            self._check_scan(data, stream, words)
        return bits.settle(words, stream, self._decoded_format) if stream is not None else words

    def _advice(self) -> str:
        """Return the end of a message that a frame cannot be decoded: what else might. Nothing is tried unasked."""
        others = DECODERS.others(self._frames.syntax.uid, self._source_format, self._decoder.backend)
        return f"; try --decoder {' or '.join(others)}" if others else ""

    def _check_sharing(self, stream: Codestream) -> None:
        """Refuse a decoder that makes up the chroma samples that a lossless stream lacks, instead of repeating them."""
        if stream.lossless_process and stream.subsampled and self._decoder.backend == "pylibjpeg-libjpeg":
            raise UnsupportedError(
                "the components of its lossless codestream are subsampled, and pylibjpeg-libjpeg would interpolate "
                "them; use --decoder imagecodecs",
                code="E_LIMIT",
            )

    def _check_scan(self, data: bytes, stream: Codestream, words: Frame) -> None:
        """Refuse JPEG whose scan ends before its image does: libjpeg makes up the rest, and the library says nothing.

        With other bytes put in before EOI, which a decoder that has all its samples skips, it would make up another.
        """
        if self._decoder.backend != "imagecodecs" or not data.startswith(_SOI):
            return
        import numpy as np

        from dcmtx.pixel import ends

        # The last EOI may stand in what is behind the first.
        end = (ends.in_scans(data, stream) or data.rfind(END) + len(END)) - len(END)
        again = call(
            self._decode, self._decoder, data[:end] + _OTHER_BYTES + END, self._source_format, self._decoded_format
        )
        if not np.array_equal(again, words):
            raise InputError(
                "its JPEG scan ends before the image does; the pixel data is truncated or damaged", code="E_TRUNCATED"
            )

    def _take_overlays(self, words: Frame) -> tuple[Frame, tuple[Frame, ...]]:
        """Return the words without the overlays in their unused bits, and those, a byte per pixel."""
        from dcmtx.pixel import bits

        planes = [overlay.bit for overlay in self._plan.overlays]
        return bits.without_bits(words, planes, self._decoded_format), tuple(
            bits.bit_plane(words, bit) for bit in planes
        )

    def _settle(self, words: Frame) -> tuple[Frame, int]:
        """Give the encoder its colour and words; return them, and how many lost what stood outside Bits Stored."""
        from dcmtx.pixel import color

        decoded_format, encoder_format, policy = self._decoded_format, self._encoder_format, self._plan.unused_bits
        cleared = 0
        if policy is not None and policy is not UnusedBits.KEEP:
            words, cleared = self._settle_unused(words, policy)
        if encoder_format.photometric == "RGB" and decoded_format.photometric == "YBR_FULL":
            words = color.to_rgb(words, decoded_format)
        if encoder_format.allocated != decoded_format.allocated:
            words = words.astype(encoder_format.dtype, copy=False)
        if self._plan.irreversible and encoder_format.signed and self._plan.syntax.family == "jpegls":
            self._check_near(words)
        return words, cleared

    def _settle_unused(self, words: Frame, policy: UnusedBits) -> tuple[Frame, int]:
        """Make High Bit legal and see to what lies outside Bits Stored; return words, and how many were changed."""
        from dcmtx.pixel import bits

        decoded_format = self._decoded_format
        cleared = 0
        if decoded_format.high_bit != decoded_format.stored - 1:
            below = bits.below_high_bit(words, decoded_format)
            if below and policy is UnusedBits.REFUSE:
                raise _unused("below the lowest stored bit", "deflated-frames or explicit")
            cleared += below
            words = bits.lower_high_bit(words, decoded_format)
        if bits.has_unused_content(words, decoded_format):
            if policy is UnusedBits.REFUSE:
                widest = 8 if decoded_format.photometric == "YBR_FULL" else 16
                holds = "rle" if decoded_format.allocated <= widest else "deflated-frames"
                raise _unused(f"above Bits Stored ({decoded_format.stored})", f"{holds} or explicit")
            bare = bits.clear_unused(words, decoded_format)
            cleared += int((bare != words).sum())
            words = bare
        return words, cleared

    def _check_near(self, words: Frame) -> None:
        """Refuse signed values so near the ends of their range that an error of NEAR would turn their sign."""
        from dcmtx.codec.jpegls import near

        allowed = near(self._plan.quality, self._encoder_format.stored)
        limit = 1 << (self._encoder_format.stored - 1)
        if words.min() < allowed - limit or words.max() > limit - 1 - allowed:
            raise RefusedError(
                f"signed values within NEAR ({allowed}) of the ends of their range would change sign (PS3.5 8.2.3); "
                "use --to jpegls without --lossy",
                code="E_SIGN",
            )

    def _verify(self, words: Frame, data: Frame, *, exact: bool) -> Measure | None:
        """Decode what was encoded and compare whole words, unless it may lose; measure what it lost then."""
        if self._check is None or self._verifier is None:
            return None
        import numpy as np

        from dcmtx.pixel import bits

        target = self._plan.syntax
        if self._target_format.allocated == 1 and target.kind is Kind.NATIVE:
            # Bits of several frames share bytes: `bits.BitPacker` packs them when they are written.
            return None
        # Cells are looked at where they are.
        data = bytes(data) if target.family in KINDS else data
        back = call(self._check, self._verifier, data, self._target_format, self._encoder_format)
        _check_shape(back, self._encoder_format, self._verifier)
        if target.family in KINDS:
            back = bits.settle(back, read_stream(target, data, self._target_format), self._encoder_format)
        if self._plan.irreversible and not exact:
            return self._measure(words, back)
        if not np.array_equal(back, words):
            different = int(np.count_nonzero(back != words))
            raise VerifyError(
                f"{different} of {words.size} samples differ after encoding by {self._encoder.backend}; nothing was "
                "written, please report this with the file"
            )
        return self._measure(words, back) if exact else None

    def _measure(self, words: Frame, back: Frame) -> Measure:
        import numpy as np

        error = np.abs(words.astype(np.int64) - back)
        worst = int(error.max())
        if self._plan.syntax.family == "jpegls":
            from dcmtx.codec.jpegls import near

            if worst > near(self._plan.quality, self._encoder_format.stored):
                raise VerifyError(
                    f"a sample is off by {worst}, more than NEAR; nothing was written, please report this"
                )
        squares = float(np.square(error, dtype=np.float64).sum())
        return Measure(int(back.min()), int(back.max()), squares, worst=worst)


def _is_enough(length: int, fmt: PixelFormat, quality: EncodingParameters) -> bool:
    """Tell whether so many bytes without loss are the ratio that loss is to reach, or only they the PSNR."""
    from dcmtx.codec import rate

    if quality.psnr is not None:
        return rate.must_be_exact(quality.psnr, fmt)
    return length * (quality.ratio or rate.DEFAULT_RATIO) <= rate.frame_bytes(fmt)


def _check_shape(samples: Frame, fmt: PixelFormat, row: Row) -> None:
    if samples.shape != fmt.shape:
        raise CodecError(f"{row.backend} returned {samples.shape} samples instead of {fmt.shape}")


class Recompressor:
    """Turns the JPEG stream of one frame into JPEG XL, or back, and proves that it can be turned again."""

    def __init__(self, plan: Plan, frames: Frames) -> None:
        assert plan.encoder is not None
        assert plan.source_format is not None
        self._plan = plan
        self._frames = frames
        self._row = plan.encoder
        self._fmt = plan.source_format
        self._recompress = ENCODERS.load(plan.encoder)
        if warm.others_run():
            self.warm()

    def warm(self) -> None:
        """Have the codec called once before several threads call it."""
        warm.recompressor(self._row, self._fmt)

    def __call__(self, number: int) -> EncodedFrame:
        """Return one frame (0-based) in the target syntax. Raises InputError or CodecError, with its number."""
        try:
            return EncodedFrame(self._turned(self._frames.frame(number)))
        except DcmtxError as error:
            if error.frame is None:
                error.frame = number
            raise

    def _turned(self, data: bytes) -> bytes:
        from dcmtx.codec.jpegxl import restore
        from dcmtx.policy import LOSSLESS

        read_stream(self._frames.syntax, data, self._fmt)
        if self._frames.syntax.family == "jpegxl":
            stream: bytes = call(restore, self._row, data)
            read_stream(self._plan.syntax, stream, self._fmt)
            return stream
        bare = data.rstrip(b"\0")
        stream = bare if bare.endswith(b"\xff\xd9") else data
        return bytes(call(self._recompress, self._row, stream, self._fmt, self._fmt, LOSSLESS))


class Rewrapper:
    """Returns the codestream of one frame as it is, but for JP2 boxes, which do not belong there (PS3.5 A.4.4)."""

    def __init__(self, plan: Plan, frames: Frames) -> None:
        assert plan.source_format is not None
        self._frames = frames
        self._fmt = plan.source_format

    def warm(self) -> None:
        """Do nothing: no codec is called."""

    def __call__(self, number: int) -> EncodedFrame:
        """Return one frame (0-based). Raises InputError with its number."""
        data = self._frames.frame(number)
        if self._frames.syntax.family not in ("j2k", "htj2k"):
            return EncodedFrame(data)
        try:
            stream = read_stream(self._frames.syntax, data, self._fmt)
        except DcmtxError as error:
            error.frame = number
            raise
        return EncodedFrame(data[stream.start : stream.end] if stream.boxed else data)


def _unused(where: str, holds: str) -> RefusedError:
    return RefusedError(
        f"some words hold something {where} that this codec would drop; use --to {holds} which holds it, or "
        "--unused-bits keep or clear",
        code="E_UNUSED_BITS",
    )
