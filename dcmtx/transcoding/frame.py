"""Carries out a plan on frames: decode, steps, encode, verify.

The work on one frame is a generator: it yields a coder with its input, and is sent the result. `coders.carry_out` runs
the generators of several frames together, so that each coder gets a batch.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from dcmtx.codec import warm
from dcmtx.codec.row import Row, Runs
from dcmtx.codec.table import DECODERS, ENCODERS
from dcmtx.errors import DcmtxError, InputError, RefusedError, VerifyError
from dcmtx.pixel.codestream import KINDS, Codestream, with_end
from dcmtx.pixel.format import PixelFormat
from dcmtx.planning.plan import Plan
from dcmtx.policy import JUDGED_EVERY, Cut, EncodingParameters, UnusedBits
from dcmtx.record import Record
from dcmtx.rules import relabel
from dcmtx.syntax import Kind
from dcmtx.transcoding.coders import Asking, Coder, Steps, call, carry_out, close_all
from dcmtx.transcoding.codestreams import bare, read_stream
from dcmtx.transcoding.decoder import FrameDecoder, check_shape
from dcmtx.transcoding.frames import Frames

Frame = Any


class Measure(Record):
    """What verification measured on a lossy frame: smallest and largest value, sum of squared errors, largest error."""

    smallest: int
    largest: int
    squares: float
    worst: int


class EncodedFrame(Record):
    """One frame as the target holds it: its bytes, the overlays extracted from it, and the measured loss.

    `judged` is the library that decoded it for comparison, empty where none did. `words` are the decoded words of the
    source, if they are kept, and `given` those that were encoded, if they are others. `cleared` is how many words had
    content outside Bits Stored that was cleared, as the user chose. `exact` says that the frame is lossless although
    loss was allowed; `spare` is how many bytes the lossless frame takes, or would take.
    """

    data: Frame
    overlays: tuple[Frame, ...] = ()
    measure: Measure | None = None
    judged: str = ""
    words: Frame = None
    given: Frame = None
    cleared: int = 0
    exact: bool = False
    spare: int = 0


# Codecs that hold every sample as a 32-bit number while they work.
_WIDE_FAMILIES = frozenset(["j2k", "htj2k", "jpegxl"])
# Memory per sample for changing colours: floating point numbers, or indices of a palette.
_CHANGE_BYTES = 24
# Memory per sample for measuring a loss: a 64-bit difference, its square, and its absolute value.
_MEASURE_BYTES = 24


def frame_memory(plan: Plan, frames: Frames) -> int:
    """Return about how many bytes one frame takes while it is processed, with all copies that exist at the same time.

    These are the frame encoded, decoded, prepared for the encoder, encoded again, and decoded for comparison.
    """
    fmt = plan.source_format
    assert fmt is not None
    encoded = -(-frames.coded_bytes // fmt.frames) if frames.encapsulated else fmt.frame_bytes
    decoded_format, encoder_format = plan.decoded_format, plan.encoder_format
    if decoded_format is None or encoder_format is None:
        return 2 * encoded
    decoded = decoded_format.pixels * decoded_format.samples * decoded_format.word_bytes
    samples = encoder_format.pixels * encoder_format.samples
    settled = samples * encoder_format.word_bytes
    total = encoded + decoded + 2 * settled
    if plan.judges.judge is not None:
        total += settled + (samples * _MEASURE_BYTES if plan.irreversible else samples)
    if plan.derived:
        total += samples * _CHANGE_BYTES
    wide = {plan.syntax.family, frames.syntax.family} & _WIDE_FAMILIES
    return total + (4 * samples if wide else 0)


def _one(results: list[Any]) -> EncodedFrame:
    """Return the only result, or raise it."""
    (result,) = results
    if isinstance(result, DcmtxError):
        raise result
    coded: EncodedFrame = result
    return coded


def _in_processes(rows: Iterable[Row]) -> bool:
    """Tell whether threads would block one another in these rows. A process that uses a device is not forked."""
    runs = {row.runs for row in rows}
    return Runs.PROCESSES in runs and Runs.DEVICE not in runs


class FrameCoder:
    """Recodes frames as a plan says. Safe to call from several threads.

    `batch` is how many frames its codecs take at once, `processes` whether threads would block one another.
    """

    def __init__(self, plan: Plan, frames: Frames, *, keep_words: bool = False, threads: int = 1) -> None:
        assert plan.decoder is not None
        assert plan.encoder is not None
        assert plan.source_format is not None
        assert plan.decoded_format is not None
        assert plan.encoder_format is not None
        assert plan.target_format is not None
        self._plan = plan
        self._frames = frames
        self._decoder, self._encoder = plan.decoder, plan.encoder
        self._threads = threads
        self._source_format, self._decoded_format = plan.source_format, plan.decoded_format
        self._encoder_format, self._target_format = plan.encoder_format, plan.target_format
        self._decode = FrameDecoder(
            frames,
            plan.decoder,
            plan.transform,
            held=self._source_format,
            shown=self._decoded_format,
            scans=plan.judges.judge is not None,
            threads=threads,
            second=plan.second,
        )
        self._encode = Coder(
            ENCODERS,
            plan.encoder,
            self._encoder_format,
            made=self._target_format,
            parameters=plan.parameters,
            threads=threads,
        )
        self._encode_exactly = self._exact_coder(plan.exact) if plan.exact else None
        self._judge = self._judging_coder(plan.judges.judge)
        self._checker = self._judging_coder(plan.judges.checker)
        # 1-bit native frames share bytes: `bits.BitPacker` packs them when they are written.
        self._packs = self._target_format.allocated == 1 and plan.syntax.kind is Kind.NATIVE
        rows = [
            row for row in (plan.decoder, plan.second, plan.encoder, plan.exact, *plan.judges.rows()) if row is not None
        ]
        self.batch = max(row.together(self._encoder_format) for row in rows)
        self.processes = frames.reader.forks and _in_processes(rows)
        self._keep_words = keep_words
        if warm.others_run():
            self.warm()

    def warm(self) -> None:
        """Call every codec of the plan once, before several threads call it."""
        plan = self._plan
        warm.decoder(self._decoder, self._source_format)
        if plan.second is not None:
            warm.decoder(plan.second, self._source_format)
        judges = plan.judges.rows()
        warm.encoder(self._encoder, self._encoder_format, self._target_format, plan.parameters, judges)
        if plan.exact is not None:
            from dcmtx.codec import rate

            warm.encoder(
                plan.exact, self._encoder_format, self._target_format, rate.without_loss(plan.parameters), judges
            )

    def close(self) -> None:
        """Close the codecs."""
        self._decode.close()
        close_all([self._encode, self._encode_exactly, self._judge, self._checker])

    def code(self, numbers: list[int]) -> list[EncodedFrame | DcmtxError]:
        """Return each frame (0-based) as the encoder of the plan writes it, or its error.

        The error is an InputError, RefusedError, CodecError or VerifyError with the frame's number.
        """
        return carry_out(numbers, self._coded)

    def begin(self, number: int) -> Steps:
        """Return the work on one frame in steps: to decode, to encode, to decode again and compare."""
        return Steps(number, self._coded(number))

    def __call__(self, number: int) -> EncodedFrame:
        """Return one frame, or raise."""
        return _one(self.code([number]))

    def _exact_coder(self, row: Row) -> Coder:
        """Return the lossless coder for frames that loss would not make smaller."""
        from dcmtx.codec import rate

        return Coder(
            ENCODERS,
            row,
            self._encoder_format,
            made=self._exact_format(),
            parameters=rate.without_loss(self._plan.parameters),
            threads=self._threads,
        )

    def _judging_coder(self, row: Row | None) -> Coder | None:
        if row is None:
            return None
        return Coder(DECODERS, row, self._target_format, made=self._encoder_format, threads=self._threads)

    def _judge_of(self, number: int) -> Coder | None:
        """Return the decoder that verifies a frame: its number alone decides, whoever codes it and with what others."""
        return self._judge if self._checker is None or number % JUDGED_EVERY == 0 else self._checker

    def _exact_format(self) -> PixelFormat:
        target_format = self._target_format
        return target_format.replace(photometric=target_format.photometric.replace("YBR_ICT", "YBR_RCT"))

    def _coded(self, number: int) -> Asking:
        words = yield from self._decode.words(self._frames.frame(number))
        decoded = self._as_native(words) if self._keep_words else None
        overlays: tuple[Frame, ...] = ()
        cut = self._plan.cut
        if cut is not None:
            words = _cut_out(words, cut, top=0 if self._decoded_format.rows == cut.rows else cut.top)
        if self._plan.overlays:
            words, overlays = self._take_overlays(words)
        words, cleared = self._settle(words)
        exact, spare = False, 0
        if self._encode_exactly is None:
            data = yield self._encode, words
        else:
            data, exact, spare = yield from self._encoded(words, self._encode_exactly)
        measure = None
        judge = self._judge_of(number)
        if judge is not None:
            stream = self._as_written(data)
            header = self._header(stream)
            measure = self._verify(words, (yield judge, stream), header, judge=judge.row, exact=exact)
        given = None if words is decoded or not self._keep_words else words
        return EncodedFrame(
            data,
            overlays=overlays,
            measure=measure,
            judged="" if judge is None else judge.row.library,
            words=decoded,
            given=given,
            cleared=cleared,
            exact=exact,
            spare=spare,
        )

    def _as_written(self, data: Frame) -> Frame:
        """Return an encoded frame as a decoder takes it: a codestream, or the cells of one frame."""
        if self._packs:
            from dcmtx.pixel.bits import BitPacker

            packer = BitPacker()
            return packer.pack(data) + packer.flush()
        return bytes(data) if self._plan.syntax.family in KINDS else data

    def _encoded(self, words: Frame, exactly: Coder) -> Asking:
        """Return encoded words, losslessly where the requested loss saves no bytes.

        Returns the bytes, whether they are lossless, and the size of the lossless frame. Lossless and lossy frames in
        colour cannot be mixed where their colour transforms differ, because the data set names only one. Then the
        writer decides for all frames together.
        """
        from dcmtx.codec import rate

        quality, out = self._plan.parameters, self._exact_format()
        may_mix = out.photometric == self._target_format.photometric
        spare = yield exactly, words
        if may_mix and _is_enough(len(spare), out, quality):
            return spare, True, len(spare)
        try:
            data = yield self._encode, words
        except RefusedError as error:
            if error.code != rate.UNREACHED or not may_mix:
                raise
            return spare, True, len(spare)
        if may_mix and len(spare) <= len(data):
            return spare, True, len(spare)
        return data, False, len(spare)

    def _as_native(self, words: Frame) -> Frame:
        """Return decoded words as native cells hold them: pixels that shared chroma share it again."""
        from dcmtx.pixel import color

        held = self._source_format
        shared = held.subsampled and self._decoded_format.photometric == "YBR_FULL" and held.columns % 2 == 0
        return color.share_422(words) if shared else words

    def _take_overlays(self, words: Frame) -> tuple[Frame, tuple[Frame, ...]]:
        """Return the words without the overlays in their unused bits, and the overlays, one byte per pixel."""
        from dcmtx.pixel import bits

        planes = [overlay.bit for overlay in self._plan.overlays]
        return bits.without_bits(words, planes, self._decoded_format), tuple(
            bits.bit_plane(words, bit) for bit in planes
        )

    def _settle(self, words: Frame) -> tuple[Frame, int]:
        """Return the words in the encoder's format, and how many had content outside Bits Stored that was cleared."""
        decoded_format, encoder_format, policy = self._decoded_format, self._encoder_format, self._plan.unused_bits
        cleared = 0
        if policy is not None and policy is not UnusedBits.KEEP:
            words, cleared = self._settle_unused(words, policy)
        words = self._recoloured(words)
        if encoder_format.allocated != decoded_format.allocated:
            words = words.astype(encoder_format.dtype, copy=False)
        if self._plan.irreversible and encoder_format.signed and self._plan.syntax.family == "jpegls":
            self._check_near(words)
        return words, cleared

    def _recoloured(self, words: Frame) -> Frame:
        """Return words in the colour of the encoder's input: by the palette, turned round, or between RGB and YBR."""
        from dcmtx.pixel import bits, color

        plan, decoded_format, given = self._plan, self._decoded_format, self._encoder_format.photometric
        shown = decoded_format.photometric
        if plan.palette is not None:
            words, shown = color.coloured(words, plan.palette), "RGB"
            decoded_format = self._encoder_format
        if plan.inverts:
            words = bits.inverted(words, decoded_format)
        if (shown, given) == ("YBR_FULL", "RGB"):
            words = color.to_rgb(words, decoded_format)
        if (shown, given) == ("RGB", "YBR_FULL"):
            words = color.to_ybr(words, decoded_format)
        return color.with_shared_chroma(words) if plan.shares else words

    def _settle_unused(self, words: Frame, policy: UnusedBits) -> tuple[Frame, int]:
        """Make High Bit legal, and clear or refuse content outside Bits Stored; return words and number changed."""
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
        """Raise RefusedError for signed values so near the ends of their range that NEAR could flip the sign."""
        from dcmtx.codec.jpegls import near

        allowed = near(self._plan.parameters, self._encoder_format.stored)
        limit = 1 << (self._encoder_format.stored - 1)
        if words.min() < allowed - limit or words.max() > limit - 1 - allowed:
            raise RefusedError(
                f"signed values within NEAR ({allowed}) of the ends of their range would change sign (PS3.5 8.2.3)",
                advice="use --to jpegls without --lossy",
                code="E_SIGN",
            )

    def _header(self, stream: Frame) -> Codestream | None:
        """Return the header of a codestream that was encoded, before it is decoded; None where there is none.

        A decoder that is fast may not stand what is no codestream. Raises VerifyError for that.
        """
        if self._plan.syntax.family not in KINDS:
            return None
        try:
            return read_stream(self._plan.syntax, stream, self._target_format)
        except InputError as error:
            raise VerifyError(
                f"{self._encoder.backend} encoded it wrongly: {error.what}; nothing was written, please report this "
                "with the file"
            ) from error

    def _verify(
        self, words: Frame, back: Frame, header: Codestream | None, *, judge: Row, exact: bool
    ) -> Measure | None:
        """Compare the words with the decoded result; if it is lossy, measure the loss instead.

        Raises VerifyError where lossless words differ or the error exceeds NEAR.
        """
        import numpy as np

        from dcmtx.pixel import bits

        check_shape(back, self._encoder_format, judge)
        if header is not None:
            back = bits.settle(back, header, self._encoder_format)
        if self._plan.irreversible and not exact:
            return self._measure(words, back)
        if not np.array_equal(back, words):
            different = int(np.count_nonzero(back != words))
            raise VerifyError(
                f"{different} of {words.size} samples differ after encoding by {self._encoder.backend}, as "
                f"{judge.library} decodes it; nothing was written, please report this with the file"
            )
        return self._measure(words, back) if exact else None

    def _measure(self, words: Frame, back: Frame) -> Measure:
        from dcmtx.pixel.measure import error

        worst, squares = error(words, back)
        if self._plan.syntax.family == "jpegls":
            from dcmtx.codec.jpegls import near

            if worst > near(self._plan.parameters, self._encoder_format.stored):
                raise VerifyError(
                    f"a sample is off by {worst}, more than NEAR; nothing was written, please report this"
                )
        return Measure(int(back.min()), int(back.max()), squares, worst=worst)


def _is_enough(length: int, fmt: PixelFormat, quality: EncodingParameters) -> bool:
    """Tell whether a lossless frame of this length meets the requested ratio, or the PSNR needs a lossless frame."""
    from dcmtx.codec import rate

    if quality.psnr is not None:
        return rate.must_be_exact(quality.psnr, fmt)
    return length * (quality.ratio or rate.DEFAULT_RATIO) <= rate.frame_bytes(fmt)


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
        return _one(self.code([number]))

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
        return _one(self.code([number]))

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


def _cut_out(words: Frame, cut: Cut, top: int) -> Frame:
    """Return the rows from `top` and the columns of a part, in words that lie together: codecs take no others."""
    import numpy as np

    return np.ascontiguousarray(words[top : top + cut.rows, cut.left : cut.right])


def _unused(where: str, holds: str) -> RefusedError:
    return RefusedError(
        f"some words hold something {where} that this codec would drop",
        advice=f"use --to {holds} which holds it, or --unused-bits keep or clear",
        code="E_UNUSED_BITS",
    )
