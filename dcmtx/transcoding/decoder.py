"""One frame decoded: its codestream checked before, its words after."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dcmtx.codec.row import Row
from dcmtx.codec.table import DECODERS
from dcmtx.errors import CodecError, InputError, UnsupportedError
from dcmtx.pixel.codestream import END, KINDS, Codestream, Transform
from dcmtx.pixel.format import PixelFormat
from dcmtx.pixel.promise import check_promise
from dcmtx.transcoding.coders import Asking, Coder, call
from dcmtx.transcoding.codestreams import bare, read_colour
from dcmtx.transcoding.frames import Frames

if TYPE_CHECKING:
    from dcmtx.pixel.scan import Taller

_SOI = b"\xff\xd8"
# Arbitrary entropy-coded data without a marker. The first bits are not zeros, which libjpeg takes for what is missing.
_OTHER_BYTES = b"\xaa\x55" + bytes(range(250)) * 8
# Of these, behind each of many parts.
_FEW = 64


class FrameDecoder:
    """Decodes the frames of one file by one row. Safe to call from several threads.

    `held` is the format in the file, `shown` that of the words; `transform` is that of the first codestream, which all
    must share. `scans` has JPEG scans checked for their end. `option` is how messages call the
    choice of another decoder. `second` decodes each frame too, to be compared. `threads` is over how many a frame is
    spread, where the row can.
    """

    def __init__(
        self,
        frames: Frames,
        row: Row,
        transform: Transform | None,
        *,
        held: PixelFormat,
        shown: PixelFormat,
        scans: bool,
        option: str = "--decoder",
        threads: int = 1,
        second: Row | None = None,
    ) -> None:
        self.coder = Coder(DECODERS, row, held, made=shown, threads=threads)
        self._second = Coder(DECODERS, second, held, made=shown) if second is not None else None
        self._frames = frames
        self._row = row
        self._transform = transform
        self._held, self._shown = held, shown
        self._scans = scans
        self._option = option

    def words(self, data: bytes) -> Asking:
        """Return the words of a frame. Raises InputError, UnsupportedError or CodecError."""
        stream = None
        syntax = self._frames.syntax
        if syntax.family in KINDS:
            stream = read_colour(syntax, data, self._held)
            self._check(stream, len(data))
            data = bare(syntax, stream, data)
        probe = None if stream is None else self._taller(data, stream)
        complete = False
        try:
            words = yield self.coder, data if probe is None else probe.data
            if probe is not None:
                complete = probe.shows_whole(words)
                words = words[: self._shown.rows]
            check_shape(words, self._shown, self._row)
        except CodecError as error:
            others = DECODERS.others(syntax.uid, self._held, self._row.backend)
            # None is tried automatically.
            error.advise(f"try {self._option} {' or '.join(others)}" if others else "")
            raise
        if stream is not None and not complete and self._looks_at_scans(data, stream):
            yield from self._check_scan(data, stream, words)
        settled = self._settled(words, stream)
        if self._second is not None:
            yield from self._cross_check(self._second, data, stream, settled)
        return settled

    def _settled(self, words: Any, stream: Codestream | None) -> Any:
        if stream is None:
            return words
        from dcmtx.pixel import bits

        return bits.settle(words, stream, self._shown)

    def _cross_check(self, second: Coder, data: bytes, stream: Codestream | None, words: Any) -> Asking:
        """Decode by a second library too. Raises VerifyError if it gives other pixels, or none."""
        from dcmtx.transcoding import crosscheck

        rows = (self._row, second.row)
        try:
            again = yield second, data
        except (CodecError, InputError) as error:
            raise crosscheck.refused(rows, error.what) from error
        crosscheck.compare(words, self._settled(again, stream), stream, rows)

    def close(self) -> None:
        """Close the codecs."""
        self.coder.close()
        if self._second is not None:
            self._second.close()

    def reduced(self, data: bytes, least: int) -> Any | None:
        """Return the words of a frame of JPEG 2000 or HTJ2K, halved as often as leaves its longer side `least` pixels.

        None where that is not once, or where the library cannot. Raises InputError or CodecError.
        """
        stream = read_colour(self._frames.syntax, data, self._held)
        self._check(stream, len(data))
        halvings = 0
        while halvings < stream.levels and max(stream.rows, stream.columns) >> (halvings + 1) >= least:
            halvings += 1
        if not halvings:
            return None
        from dcmtx.codec import reduced
        from dcmtx.pixel import bits

        samples = call(reduced.decode, self._row, bare(self._frames.syntax, stream, data), halvings)
        if samples is None:
            return None
        rows, columns = (-(-side >> halvings) for side in (stream.rows, stream.columns))
        fmt = self._shown.replace(rows=rows, columns=columns)
        check_shape(samples, fmt, self._row)
        return bits.settle(samples, stream, fmt)

    def _check(self, stream: Codestream, size: int) -> None:
        """Refuse a stream that cannot hold its image or changes colour space, and a decoder that interpolates chroma.

        `size` is in bytes. Raises InputError or UnsupportedError.
        """
        if stream.transform is not self._transform:
            raise InputError(
                "its codestream is in another colour space than that of the first frame, and one Photometric "
                "Interpretation cannot say both",
                code="E_INCONSISTENT",
            )
        check_promise(stream, size, self._held.pixels * self._held.samples, self._held.frame_bytes)
        if stream.lossless_process and stream.subsampled and self._row.backend == "pylibjpeg-libjpeg":
            raise UnsupportedError(
                "the components of its lossless codestream are subsampled, and pylibjpeg-libjpeg would interpolate "
                "them",
                advice=f"use {self._option} imagecodecs",
                code="E_LIMIT",
            )

    def _looks_at_scans(self, data: bytes, stream: Codestream) -> bool:
        """Tell whether the scan of a codestream must be checked: libjpeg fills in what it lacks silently."""
        return self._scans and stream.kind == "jpeg" and self._row.backend == "imagecodecs" and data.startswith(_SOI)

    def _taller(self, data: bytes, stream: Codestream) -> Taller | None:
        """Return the codestream to decode instead, so that the decoder shows whether its scan is complete."""
        if not self._looks_at_scans(data, stream):
            return None
        from dcmtx.pixel.scan import taller

        return taller(data, stream)

    def _check_scan(self, data: bytes, stream: Codestream, words: Any) -> Asking:
        """Raise InputError for JPEG whose scan ends before the image.

        The test decodes again with extra bytes before EOI, and before each restart and scan. What is complete ignores
        them; what is truncated changes.
        """
        import numpy as np

        from dcmtx.pixel import ends, restarts

        if restarts.are_missing(data, stream):
            raise InputError(
                "restart intervals of its JPEG scan are missing; the pixel data is truncated or damaged",
                code="E_TRUNCATED",
            )
        # A search for the last EOI may find one in data that follows the codestream.
        end = (ends.in_scans(data, stream) or data.rfind(END) + len(END)) - len(END)
        again = yield self.coder, restarts.with_more(data, stream, end, _OTHER_BYTES[:_FEW]) + _OTHER_BYTES + END
        if not np.array_equal(again, words):
            raise InputError(
                "its JPEG scan ends before the image does; the pixel data is truncated or damaged", code="E_TRUNCATED"
            )


def check_shape(samples: Any, fmt: PixelFormat, row: Row) -> None:
    """Raise CodecError where a decoder gave samples of another shape than the format has."""
    if samples.shape != fmt.shape:
        raise CodecError(f"{row.backend} returned {samples.shape} samples instead of {fmt.shape}")
