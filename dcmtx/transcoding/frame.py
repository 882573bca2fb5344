"""Carries out a plan on frames: decode, steps, encode, verify.

The work on one frame is a generator: it yields a coder with its input, and is sent the result. `coders.carry_out` runs
the generators of several frames together, so that each coder gets a batch.
"""

from __future__ import annotations

from collections.abc import Iterable

from dcmtx.codec import warm
from dcmtx.codec.row import Row, Runs
from dcmtx.codec.table import DECODERS, ENCODERS
from dcmtx.errors import DcmtxError, RefusedError
from dcmtx.pixel.codestream import KINDS
from dcmtx.pixel.format import PixelFormat
from dcmtx.planning.plan import Plan
from dcmtx.policy import JUDGED_EVERY, EncodingParameters
from dcmtx.syntax import Kind
from dcmtx.transcoding.coders import Asking, Coder, Steps, carry_out, close_all
from dcmtx.transcoding.decoder import FrameDecoder
from dcmtx.transcoding.encoded import EncodedFrame, Frame, only
from dcmtx.transcoding.frames import Frames
from dcmtx.transcoding.settling import Settler
from dcmtx.transcoding.verifying import Verifier


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
        self._settler, self._verifier = Settler(plan), Verifier(plan)
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
        return only(self.code([number]))

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
        decoded = self._settler.as_native(words) if self._keep_words else None
        overlays: tuple[Frame, ...] = ()
        words = self._settler.cut_out(words)
        if self._plan.overlays:
            words, overlays = self._settler.take_overlays(words)
        words, cleared = self._settler.settle(words)
        exact, spare = False, 0
        if self._encode_exactly is None:
            data = yield self._encode, words
        else:
            data, exact, spare = yield from self._encoded(words, self._encode_exactly)
        measure = None
        judge = self._judge_of(number)
        if judge is not None:
            stream = self._as_written(data)
            header = self._verifier.header(stream)
            measure = self._verifier.verify(words, (yield judge, stream), header, judge=judge.row, exact=exact)
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


def _is_enough(length: int, fmt: PixelFormat, quality: EncodingParameters) -> bool:
    """Tell whether a lossless frame of this length meets the requested ratio, or the PSNR needs a lossless frame."""
    from dcmtx.codec import rate

    if quality.psnr is not None:
        return rate.must_be_exact(quality.psnr, fmt)
    return length * (quality.ratio or rate.DEFAULT_RATIO) <= rate.frame_bytes(fmt)
