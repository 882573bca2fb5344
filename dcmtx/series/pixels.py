"""The frames of a series: each is read from its own file, which is open only while it is read."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from dcmtx.codec.native import little_endian
from dcmtx.dataset.element import PIXEL_DATA, UNDEFINED, Element
from dcmtx.errors import DcmtxError, InputError
from dcmtx.pixel.codestream import Codestream
from dcmtx.pixel.format import PixelFormat
from dcmtx.place.bytes import Reader
from dcmtx.planning.request import BackendChoice, Request, resolve
from dcmtx.policy import LOSSLESS, Policy, Signatures, Uid, Verify
from dcmtx.series.gathering import close, open_at
from dcmtx.series.sources import Source, Sources
from dcmtx.syntax import EXPLICIT, Syntax
from dcmtx.transcoding.decode import decoder_of
from dcmtx.transcoding.frames import shrunk

# Called with the number of a frame and its native cells, whenever they are read: from several threads.
Seen = Callable[[int, bytes], None]


class Unforked:
    """A reader whose frames are read in this process: what is seen of them is kept here."""

    forks = False

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    @property
    def size(self) -> int:
        """How many bytes there are."""
        return self._reader.size

    def pread(self, length: int, offset: int) -> bytes:
        """Return `length` bytes from `offset`, fewer only at the end."""
        return self._reader.pread(length, offset)

    def close(self) -> None:
        """Close what was opened."""
        self._reader.close()


class SeriesFrames:
    """The frames of many files as those of one data set: native cells, or codestreams where all are in one syntax.

    They stand in for `transcoding.frames.Frames`. Codestreams among native frames are decoded when they are read.
    """

    def __init__(
        self,
        sources: Sources,
        order: Sequence[int],
        fmt: PixelFormat,
        *,
        reader: Reader,
        coded: Syntax | None,
        seen: Seen,
    ) -> None:
        self._sources = sources
        self._order = order
        self.reader = Unforked(reader)
        self._seen = seen
        self.format: PixelFormat | None = fmt
        self.syntax = coded or EXPLICIT
        self.fault: DcmtxError | None = None
        self.notes: tuple[Any, ...] = ()
        self.big_endian = False
        self.swap_unit = 1
        self.word_bytes: int | None = None
        self.fragments = None
        self.encapsulated = coded is not None
        self._fmt = fmt
        length = UNDEFINED if coded is not None else fmt.native_bytes + fmt.native_bytes % 2
        narrow = coded is not None or fmt.allocated <= 8
        self.pixel = Element(PIXEL_DATA, b"OB" if narrow else b"OW", 0, 0, length, 0)
        self.coded_bytes = sources.size if coded is not None else 0

    def __len__(self) -> int:
        """Return how many frames there are."""
        return self._fmt.frames

    def source(self, number: int) -> Source:
        """Return the source of a frame (0-based)."""
        return self._sources[self._order[number]]

    @property
    def native_length(self) -> int:
        """Length of native Pixel Data in bytes."""
        return 0 if self.encapsulated else self._fmt.native_bytes

    def check(self) -> None:
        """Do nothing: every source was checked when it was read."""

    def in_words(self, _word_bytes: int | None) -> SeriesFrames:
        """Return these frames: they are in little endian."""
        return self

    def frame(self, number: int) -> bytes:
        """Return the codestream or the native cells of one frame (0-based)."""
        source = self.source(number)
        with self._named(source):
            cells = self.native(number)
            self._seen(number, cells)
            return self.codestream(number) if self.encapsulated else cells

    def codestream(self, number: int) -> bytes:
        """Return the codestream of one frame."""
        opened = open_at(self.source(number).path)
        try:
            return opened.frames.frame(0)
        finally:
            close(opened)

    def native(self, number: int) -> bytes:
        """Return the native cells of one frame, decoded if they must be."""
        source = self.source(number)
        if source.value >= 0:
            return _read(source, self._fmt.frame_bytes)
        opened = open_at(source.path)
        try:
            if not opened.frames.encapsulated:
                return opened.frames.frame(0)
            policy = Policy(signatures=Signatures.REMOVE, uid=Uid.KEEP, verify=Verify.NONE, force=True)
            request = Request(resolve("explicit", LOSSLESS), policy, BackendChoice())
            with contextlib.closing(decoder_of(opened, request)) as decoder:
                return bytes(little_endian(decoder(0)))
        finally:
            close(opened)

    def opening(self, number: int) -> bytes:
        """Return the first bytes of a frame."""
        return self.codestream(number) if self.encapsulated else self.native(number)

    def native_bytes(self, offset: int, length: int) -> bytes:
        """Return native cells from an offset on."""
        size = self._fmt.frame_bytes
        parts = []
        while length > 0 and offset < self._fmt.native_bytes:
            number, start = divmod(offset, size)
            part = self.frame(number)[start : start + length]
            parts.append(part)
            offset, length = offset + len(part), length - len(part)
        return b"".join(parts)

    def first_stream(self) -> Codestream | None:
        """Return the header of the first codestream."""
        if not self.encapsulated:
            return None
        opened = open_at(self.source(0).path)
        try:
            return opened.frames.first_stream()
        finally:
            close(opened)

    def find_lost(self, first: Codestream) -> Codestream | None:
        """Return the header of a lossy codestream: each was looked at when its source was read."""
        if not first.reversible:
            return first
        for source in self._sources:
            if source.lossy:
                opened = open_at(source.path)
                try:
                    return opened.frames.first_stream()
                finally:
                    close(opened)
        return None

    @contextlib.contextmanager
    def _named(self, source: Source) -> Iterator[None]:
        try:
            yield
        except DcmtxError as error:
            error.path = error.path or source.path
            raise


def _read(source: Source, length: int) -> bytes:
    try:
        descriptor = os.open(source.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            data = os.pread(descriptor, length, source.value)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise InputError(f"it cannot be read: {error.strerror or error}", code="E_UNREADABLE") from error
    if len(data) < length:
        raise shrunk()
    return data
