"""The inputs of planning as protocols: a data set and its frames, from any source.

This module is for type checkers only. It is not imported at run time, because protocol classes are slow to create.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol, Self

from dcmtx.dataset.edit import Span
from dcmtx.dataset.header import Header
from dcmtx.dataset.meta import FileMeta
from dcmtx.errors import DcmtxError
from dcmtx.pixel.codestream import Codestream
from dcmtx.pixel.format import PixelFormat
from dcmtx.syntax import Syntax


class DataSet(Protocol):
    """Elements as bytes, and what precedes them in their file."""

    @property
    def meta(self) -> FileMeta:
        """Preamble and group 0002."""

    @property
    def header(self) -> Header:
        """The index of the elements, including those that follow the pixels."""

    @property
    def syntax(self) -> Syntax:
        """The transfer syntax."""

    def pieces(self, span: Span) -> Iterator[bytes]:
        """Yield the bytes of a span, a piece at a time."""


class Frames(Protocol):
    """What is known about the pixels without decoding them."""

    @property
    def encapsulated(self) -> bool:
        """Whether Pixel Data is a sequence of fragments."""

    @property
    def format(self) -> PixelFormat | None:
        """The pixel format that the data set declares; None where the attributes make no sense."""

    @property
    def fault(self) -> DcmtxError | None:
        """What is wrong with the format or with the frames."""

    def first_stream(self) -> Codestream | None:
        """Return the header of the first codestream. Raises InputError where it contradicts the data set."""

    def find_lost(self, first: Codestream) -> Codestream | None:
        """Return the header of the first lossy codestream, if there is one."""

    @property
    def coded_bytes(self) -> int:
        """The total size of all codestreams, in bytes."""

    def part(self, first: int, count: int) -> Self:
        """Return these frames from `first` on, `count` of them, as if there were no others."""

    def as_words(self, fmt: PixelFormat) -> Self:
        """Return frames of floating point as words. Raises InputError where they are not all there."""

    def check(self) -> None:
        """Raise `fault` if there is one."""
