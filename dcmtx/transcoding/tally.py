"""Totals over the written frames: sizes, errors, digests."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from dcmtx.finding import Finding, Severity
from dcmtx.planning.plan import Plan
from dcmtx.record import Record

if TYPE_CHECKING:
    from dcmtx.pixel.bits import BitPacker
    from dcmtx.transcoding.encoded import EncodedFrame, Frame


# A PSNR below this many decibels gets a warning, even if the loss was requested.
_POOR = 40


class Written(Record):
    """What is known about the written pixels: `ratio` counts from Bits Stored, `psnr` is in decibels.

    `verified` has the libraries that decoded frames for comparison, and how many each, by name.
    `needless` says that the loss saved nothing: all frames together take no more bytes without loss.
    """

    ratio: float | None = None
    psnr: float | None = None
    digest: str | None = None
    verified: tuple[tuple[str, int], ...] = ()
    digest_out: str | None = None
    needless: bool = False
    notes: tuple[Finding, ...] = ()


class Tally:
    """Adds up sizes and measures of frames."""

    def __init__(self) -> None:
        self.frames = 0
        self.coded_bytes = 0
        self.cleared = 0
        self.exact = 0
        self.spare = 0
        self._judged: dict[str, int] = {}
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
        if coded.judged:
            self._judged[coded.judged] = self._judged.get(coded.judged, 0) + 1
        measure = coded.measure
        if measure is None:
            return
        first = self._measures == 0
        self.smallest = measure.smallest if first else min(self.smallest, measure.smallest)
        self.largest = measure.largest if first else max(self.largest, measure.largest)
        self.worst = max(self.worst, measure.worst)
        self._squares += measure.squares
        self._measures += 1

    def verified(self) -> tuple[tuple[str, int], ...]:
        """Return the libraries that judged frames, by name, and how many each."""
        return tuple(sorted(self._judged.items()))

    def psnr(self, samples: int, stored: int) -> float | None:
        """Return the peak signal-to-noise ratio in decibels, infinite if nothing was lost; None if unmeasured."""
        if not self._measures:
            return None
        from dcmtx.pixel.measure import psnr

        return psnr(self._squares, samples, (1 << stored) - 1)


class Digest:
    """Hashes decoded pixels as their value in Explicit VR Little Endian, with colour by pixel."""

    def __init__(self) -> None:
        from hashlib import sha256

        self._hash = sha256()
        self._packer: BitPacker | None = None

    def copy(self) -> Digest:
        """Return another digest that has hashed the same. There is no rest of bits: such frames are not copied."""
        other = Digest()
        other._hash = self._hash.copy()
        return other

    def add(self, words: Frame, *, one_bit: bool) -> None:
        """Account for a frame of words; 1-bit frames are packed without gaps."""
        if one_bit:
            from dcmtx.pixel.bits import BitPacker

            self._packer = self._packer or BitPacker()
            self._hash.update(self._packer.pack(words))
            return
        from dcmtx.codec.native import little_endian

        self._hash.update(little_endian(words))

    def add_bytes(self, data: bytes) -> None:
        """Account for native pixel bytes in little endian, colour by pixel."""
        self._hash.update(data)

    def hexdigest(self) -> str:
        """Return the SHA-256 so far."""
        if self._packer is not None:
            self._hash.update(self._packer.flush())
        return self._hash.hexdigest()


class Digests:
    """The digests of the source's pixels, and of the destination's, which are hashed apart once they differ."""

    def __init__(self) -> None:
        self.source = Digest()
        self._target: Digest | None = None

    def add(self, words: Frame, given: Frame, *, one_bit: bool, one_bit_out: bool) -> None:
        """Account for a frame: its words in the source, and those that its encoder was given, None for the same."""
        if given is not None and self._target is None:
            self._target = Digest() if one_bit else self.source.copy()
        self.source.add(words, one_bit=one_bit)
        if self._target is not None:
            self._target.add(words if given is None else given, one_bit=one_bit_out)

    def hexdigests(self) -> tuple[str, str]:
        """Return the SHA-256 of the source's pixels, and of the destination's."""
        source = self.source.hexdigest()
        return source, source if self._target is None else self._target.hexdigest()


def cleared_notes(tally: Tally) -> tuple[Finding, ...]:
    """Return a note on content outside Bits Stored that was cleared."""
    count = tally.cleared
    return (
        (
            Finding(
                "N_UNUSED_BITS",
                f"cleared what stood outside Bits Stored, in {count} word{'s' * (count != 1)}",
                tag=0x00280101,
            ),
        )
        if count
        else ()
    )


def loss_notes(plan: Plan, tally: Tally, ratio: float, psnr: float | None) -> tuple[Finding, ...]:
    """Return notes on the loss, and on where it differs from the request."""
    notes: tuple[Finding, ...] = ()
    fmt = plan.target_format
    if psnr is not None and math.isinf(psnr):
        notes = (
            Finding(
                "N_LOSSY",
                f"lossy: ratio {ratio:.4g}, nothing was lost; called lossy all the same, as its coding is",
            ),
        )
    elif psnr is not None:
        notes = (Finding("N_LOSSY", f"lossy: ratio {ratio:.4g}, PSNR {psnr:.1f} dB, largest error {tally.worst}"),)
    if tally.exact and fmt is not None:
        notes += (
            Finding(
                "N_LOSSLESS_FRAMES",
                f"{tally.exact} of {fmt.frames} frames are coded without loss, which takes no more bytes",
            ),
        )
    asked, wanted = plan.parameters.ratio, plan.parameters.psnr
    if wanted is not None and psnr is not None and psnr < wanted - 1:
        notes += (
            Finding(
                "N_PSNR",
                f"the PSNR is {psnr:.1f} dB, not the {wanted:g} asked for: these pixels do not give it",
                Severity.WARNING,
            ),
        )
    if asked is not None and abs(ratio / asked - 1) > 0.1:
        notes += (
            Finding(
                "N_RATIO",
                f"the ratio is {ratio:.4g}, not the {asked:g} asked for: these pixels do not give it",
                Severity.WARNING,
            ),
        )
    if psnr is not None and psnr < _POOR and (asked or wanted):
        notes += (Finding("N_PSNR_LOW", f"the PSNR is below {_POOR:g} dB, where loss may be seen", Severity.WARNING),)
    return notes
