"""Verification of a frame: what was encoded is decoded again and compared, or its loss is measured."""

from __future__ import annotations

from dcmtx.codec.row import Row
from dcmtx.errors import InputError, VerifyError
from dcmtx.pixel.codestream import KINDS, Codestream
from dcmtx.planning.plan import Plan
from dcmtx.transcoding.codestreams import read_stream
from dcmtx.transcoding.decoder import check_shape
from dcmtx.transcoding.encoded import Frame, Measure


class Verifier:
    """Judges the frames that the encoder of a plan made. Safe to call from several threads."""

    def __init__(self, plan: Plan) -> None:
        assert plan.encoder is not None
        assert plan.encoder_format is not None
        assert plan.target_format is not None
        self._plan = plan
        self._encoder = plan.encoder
        self._encoder_format, self._target_format = plan.encoder_format, plan.target_format

    def header(self, stream: Frame) -> Codestream | None:
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

    def verify(
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
