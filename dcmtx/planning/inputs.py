"""What plans are made of, as they see it: a data set and its frames, whoever has made the pair of them.

For type checkers alone: it is imported by nobody who runs, for protocols take long to make.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from dcmtx.dataset.edit import Span
from dcmtx.dataset.header import Header
from dcmtx.dataset.meta import FileMeta
from dcmtx.errors import DcmtxError
from dcmtx.pixel.codestream import Codestream
from dcmtx.pixel.format import PixelFormat
from dcmtx.syntax import Syntax


class DataSet(Protocol):
    """Elements as bytes, and what stands before them in their file."""

    @property
    def meta(self) -> FileMeta:
        """Preamble and group 0002."""

    @property
    def header(self) -> Header:
        """The index of the elements, also of those behind the pixels."""

    @property
    def syntax(self) -> Syntax:
        """The transfer syntax."""

    def pieces(self, span: Span) -> Iterator[bytes]:
        """Yield the bytes of a span, a piece at a time."""


class Frames(Protocol):
    """What is known of the pixels without decoding them."""

    @property
    def encapsulated(self) -> bool:
        """Whether Pixel Data is a sequence of fragments."""

    @property
    def format(self) -> PixelFormat | None:
        """What the data set says of its pixels; None where that makes no sense."""

    @property
    def fault(self) -> DcmtxError | None:
        """What is wrong with the format or with the frames."""

    def first_stream(self) -> Codestream | None:
        """Return the header of the first codestream. Raises InputError where it contradicts the data set."""

    def find_lost(self, first: Codestream) -> Codestream | None:
        """Return the header of the first codestream that has lost something, if any has."""

    @property
    def coded_bytes(self) -> int:
        """The bytes of all codestreams."""

    def check(self) -> None:
        """Raise what is wrong, if anything is."""
