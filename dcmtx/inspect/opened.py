"""A file whose frames are looked at: its data set, its decoder, and how it is shown."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self

from dcmtx.errors import DcmtxError, UsageError
from dcmtx.pixel.format import PixelFormat
from dcmtx.pixel.transform import Display
from dcmtx.place.bytes import Reader
from dcmtx.place.places import SourcePlace, open_reader, path_of
from dcmtx.rules import display
from dcmtx.transcoding.decode import PlannedDecoder, decoder_of, decoding_job
from dcmtx.transcoding.source import DataSet, Opened, open_source


class Pixels:
    """The frames of one file, decoded one at a time; use it in a `with` block. `dataset` is what is around them.

    `decoder` is None for a file without pixels. Raises what `dcmtx.frames` raises, but for want of pixels.
    """

    def __init__(self, src: SourcePlace) -> None:
        self.path = path_of(src) or "-"
        self._reader: Reader | None = None
        self._opened: Opened | None = None
        self.decoder: PlannedDecoder | None = None
        try:
            self._reader = open_reader(src)
            self._opened = opened = open_source(self._reader)
            self.dataset: DataSet = opened.dataset
            if opened.dataset.header.pixel is not None:
                self.decoder = decoder_of(opened, decoding_job(b"").request)
        except DcmtxError as error:
            self.close()
            error.path = error.path or self.path
            raise

    @property
    def format(self) -> PixelFormat | None:
        """The format of the decoded frames."""
        return None if self.decoder is None else self.decoder.format

    def frame(self, number: int) -> Any:
        """Return the values of one frame (0-based): what is outside Bits Stored is gone, High Bit is their highest.

        Raises UsageError where there is no such frame, and what decoding raises, with the path.
        """
        from dcmtx.pixel import bits

        words = self.words(number)
        assert self.decoder is not None
        return bits.stored_values(words, self.decoder.format)

    def words(self, number: int) -> Any:
        """Return the words of one frame, whole, as `frame` does."""
        self.check(number)
        assert self.decoder is not None
        try:
            words = self.decoder(number)
        except DcmtxError as error:
            error.path = error.path or self.path
            raise
        return words

    def check(self, number: int) -> None:
        """Raise UsageError where there is no frame of this number."""
        frames = 0 if self.decoder is None else self.decoder.format.frames
        if not 0 <= number < frames:
            raise UsageError(f"there is no frame {number + 1}; there are {frames}", path=self.path)

    def display(self, number: int) -> Display:
        """Return how one frame is shown. Raises InputError for damaged tables."""
        assert self.format is not None
        try:
            return display.read(self.dataset.header, self.format, number)
        except DcmtxError as error:
            error.path = error.path or self.path
            raise

    def close(self) -> None:
        """Close the file."""
        for one in (self.decoder, self._opened, self._reader):
            if one is not None:
                one.close()
        self.decoder = self._opened = self._reader = None

    def __enter__(self) -> Self:
        """Return the frames, which are open until the end of the block."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file."""
        self.close()
