"""What is added up while frames are written: sizes, errors, digests."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from dcmtx.finding import Finding
from dcmtx.record import Record
from dcmtx.transcoding.frame import EncodedFrame, Frame

if TYPE_CHECKING:
    from dcmtx.pixel.bits import BitPacker


class Written(Record):
    """What is known of the pixels once they are written: `ratio` counts from Bits Stored, `psnr` is in decibels.

    `needless` says that the loss was for nothing: without any, all frames together take no more bytes.
    """

    ratio: float | None = None
    psnr: float | None = None
    digest: str | None = None
    needless: bool = False
    notes: tuple[Finding, ...] = ()


class _Tally:
    """Adds up what frames measured."""

    def __init__(self) -> None:
        self.frames = 0
        self.coded_bytes = 0
        self.cleared = 0
        self.exact = 0
        self.spare = 0
        self._measures = 0
        self._squares = 0.0
        self.worst = 0
        self.smallest = 0
        self.largest = 0

    def add(self, coded: EncodedFrame) -> None:
        """Account for a frame."""
        self.frames += 1
        self.coded_bytes += len(coded.data)
        self.cleared += coded.cleared
        self.exact += coded.exact
        self.spare += coded.spare
        measure = coded.measure
        if measure is None:
            return
        first = self._measures == 0
        self.smallest = measure.smallest if first else min(self.smallest, measure.smallest)
        self.largest = measure.largest if first else max(self.largest, measure.largest)
        self.worst = max(self.worst, measure.worst)
        self._squares += measure.squares
        self._measures += 1

    def psnr(self, samples: int, stored: int) -> float | None:
        """Return the peak signal-to-noise ratio in decibels, infinite if nothing was lost; None if unmeasured."""
        if not self._measures:
            return None
        if not self._squares:
            return math.inf
        return 10 * math.log10(((1 << stored) - 1) ** 2 * samples / self._squares)


class _Digest:
    """Hashes decoded pixels as the value that they have in Explicit VR Little Endian, colour by pixel."""

    def __init__(self) -> None:
        from hashlib import sha256

        self._hash = sha256()
        self._packer: BitPacker | None = None

    def add(self, words: Frame, *, one_bit: bool) -> None:
        """Account for a frame of words; 1-bit frames run on across bytes."""
        if one_bit:
            from dcmtx.pixel.bits import BitPacker

            self._packer = self._packer or BitPacker()
            self._hash.update(self._packer.pack(words))
            return
        from dcmtx.codec.native import little_endian

        self._hash.update(little_endian(words))

    def add_bytes(self, data: bytes) -> None:
        """Account for bytes that are native pixels as they are."""
        self._hash.update(data)

    def hexdigest(self) -> str:
        """Return the SHA-256 so far."""
        if self._packer is not None:
            self._hash.update(self._packer.flush())
        return self._hash.hexdigest()
