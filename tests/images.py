"""Pixels and files by pixel format: every legal combination of attributes, with contents that are hard to code.

Independent of dcmtx's own formats and cells, so that a fault in those cannot hide.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import dicom
import numpy as np
from numpy.typing import NDArray

Words = NDArray[Any]

# Rows and columns: the smallest, odd ones, more than a code-block both ways, and nothing but a row or a column.
SHAPES = ((1, 1), (3, 5), (67, 70), (1, 17), (19, 1))
# Bits Stored that are edges of something: of bytes, of words, of what JPEG and JPEG-LS hold, of what codecs clip at.
STORED = (1, 2, 7, 8, 9, 12, 15, 16, 17, 20, 24, 31, 32, 33, 40, 63, 64)


@dataclass(frozen=True, order=True)
class Format:
    """What the attributes of the Image Pixel Module say of one sample."""

    photometric: str
    allocated: int
    stored: int
    signed: bool = False

    @property
    def samples(self) -> int:
        """Samples per Pixel."""
        return 1 if self.photometric.startswith(("MONOCHROME", "PALETTE")) else 3

    @property
    def low(self) -> int:
        """The least value. One bit by itself holds no sign, whatever Pixel Representation says."""
        return -(1 << (self.stored - 1)) if self.signed and self.allocated > 1 else 0

    @property
    def high(self) -> int:
        """The greatest value."""
        return self.low + (1 << self.stored) - 1

    @property
    def dtype(self) -> str:
        """The NumPy type of a word in memory: the next width up where NumPy has none."""
        width = next(bits for bits in (8, 16, 32, 64) if bits >= self.allocated)
        return f"{'int' if self.signed and self.allocated > 1 else 'uint'}{width}"

    def __str__(self) -> str:
        sign = " signed" if self.signed else ""
        return f"{self.photometric} {self.stored} of {self.allocated} bits{sign}"


def formats(legal: Iterable[Any], stored: Sequence[int] = STORED) -> list[Format]:
    """Return every format that some row of a syntax's legal combinations allows, in a fixed order.

    YBR_RCT and YBR_ICT are what a codestream holds, not what can be given to an encoder: RGB stands for them.
    """
    found = {
        Format(photometric, allocated, bits, signed)
        for row in legal
        for photometric in row.photometric
        if photometric not in ("YBR_RCT", "YBR_ICT")
        for allocated in row.allocated
        for bits in stored
        if row.stored[0] <= bits <= min(row.stored[1], allocated)
        for signed in ([False, True] if row.signed else [False])
    }
    return sorted(found)


# --- contents --------------------------------------------------------------------------------------------------


def noise(fmt: Format, shape: tuple[int, ...], random: np.random.Generator) -> Words:
    """Return values from the whole range."""
    return random.integers(fmt.low, fmt.high, shape, np.dtype(fmt.dtype), endpoint=True)


def extremes(fmt: Format, shape: tuple[int, ...], random: np.random.Generator) -> Words:
    """Return the least and the greatest value at random: the greatest differences there can be."""
    return np.array([fmt.low, fmt.high], fmt.dtype)[random.integers(0, 2, shape)]


def ramp(fmt: Format, shape: tuple[int, ...], random: np.random.Generator) -> Words:
    """Return values that rise from the least to the greatest."""
    last = max(1, int(np.prod(shape)) - 1)
    span = fmt.high - fmt.low
    steps = np.arange(np.prod(shape), dtype="u8")
    # As fine as 64 bits allow: the product must not wrap.
    steps = steps * span // last if span * last < 1 << 64 else steps * (span // last)
    return (steps + (fmt.low & ((1 << 64) - 1))).astype(fmt.dtype).reshape(shape)


def constant(fmt: Format, shape: tuple[int, ...], random: np.random.Generator) -> Words:
    """Return the greatest value everywhere."""
    return np.full(shape, fmt.high, fmt.dtype)


CONTENTS = (noise, extremes, ramp, constant)


def make_frames(fmt: Format, rows: int, columns: int, count: int = 1, start: int = 0) -> list[Words]:
    """Return `count` frames, each of the next of CONTENTS from the one numbered `start`; always the same ones.

    YBR_FULL_422 gets an even number of columns, and chroma that each two pixels share.
    """
    if fmt.photometric == "YBR_FULL_422":
        full = make_frames(replace(fmt, photometric="YBR_FULL"), rows, columns + columns % 2, count, start)
        return [half_chroma(frame) for frame in full]
    random = np.random.default_rng([fmt.allocated, fmt.stored, fmt.signed, rows, columns, start])
    shape = (rows, columns) if fmt.samples == 1 else (rows, columns, fmt.samples)
    return [CONTENTS[(start + number) % len(CONTENTS)](fmt, shape, random) for number in range(count)]


# --- files -----------------------------------------------------------------------------------------------------


def cells(fmt: Format, frames: Iterable[Words], planar: int = 0) -> bytes:
    """Return native little-endian cells (PS3.5 8.1.1), padded to even length; YBR_FULL_422 as Y1 Y2 Cb Cr."""
    if fmt.allocated == 1:
        packed = np.packbits(np.concatenate([frame.reshape(-1) for frame in frames]), bitorder="little").tobytes()
    else:
        packed = b"".join(_frame_cells(fmt, frame, planar) for frame in frames)
    return packed + b"\0" * (len(packed) % 2)


def _frame_cells(fmt: Format, frame: Words, planar: int) -> bytes:
    if fmt.photometric == "YBR_FULL_422":
        pairs = [frame[:, 0::2, 0], frame[:, 1::2, 0], frame[:, 0::2, 1], frame[:, 0::2, 2]]
        return np.stack(pairs, axis=-1).astype("u1").tobytes()
    if planar:
        frame = frame.transpose(2, 0, 1)
    ordered = np.ascontiguousarray(frame, np.dtype(fmt.dtype).newbyteorder("<"))
    width = fmt.allocated // 8
    return ordered.reshape(-1, 1).view("u1")[:, :width].tobytes()


def image(fmt: Format, frames: Sequence[Words], *, planar: int = 0, **more: Any) -> dicom.Image:
    """Return an image of these frames; `more` are fields of dicom.Image. Number of Frames is given where above 1."""
    rows, columns = frames[0].shape[:2]
    settings: dict[str, Any] = {
        "rows": rows, "columns": columns, "samples": fmt.samples, "photometric": fmt.photometric,
        "allocated": fmt.allocated, "stored": fmt.stored, "signed": fmt.signed, "planar": planar,
        "frames": len(frames) if len(frames) > 1 else None,
    }  # fmt: skip
    return dicom.Image(cells(fmt, frames, planar), **(settings | more))


def half_chroma(frame: Words) -> Words:
    """Return a frame of even columns in which each two pixels have the chroma of the first, as in 4:2:2."""
    shared = frame.copy()
    shared[:, 1::2, 1:] = shared[:, 0::2, 1:]
    return shared


def annex_g(fmt: Format, frame: Words) -> bytes:
    """Return a frame as RLE (PS3.5 Annex G) of literal runs only, of any width, legal or not."""
    width = np.dtype(fmt.dtype).itemsize
    bytewise = np.ascontiguousarray(frame, np.dtype(fmt.dtype).newbyteorder("<")).view("u1")
    bytewise = bytewise.reshape(*frame.shape[:2], fmt.samples, width)
    segments = []
    for sample in range(fmt.samples):
        for byte in reversed(range(width)):
            packed = bytearray()
            for row in bytewise[:, :, sample, byte]:
                for start in range(0, len(row), 128):
                    run = row[start : start + 128].tobytes()
                    packed += bytes([len(run) - 1]) + run
            segments.append(bytes(packed) + b"\0" * (len(packed) % 2))
    offsets = [64 + sum(map(len, segments[:number])) for number in range(len(segments))]
    return struct.pack("<16I", len(segments), *offsets, *[0] * (15 - len(segments))) + b"".join(segments)


def palette(syntax: str = dicom.EXPLICIT, entries: int = 256) -> dict[int, bytes]:
    """Return the elements of a palette of 16-bit entries, as Image.before takes them."""
    s = syntax if syntax in (dicom.IMPLICIT, dicom.BIG_ENDIAN) else dicom.EXPLICIT
    tables = {}
    for number in range(3):
        # 65536 entries are written as 0 (PS3.3 C.7.6.3.1.5).
        tables[0x00281101 + number] = dicom.element(0x00281101 + number, "US", [entries % 65536, 0, 16], s)
        values = (np.arange(entries) * (257 - number)).astype("<u2").tobytes()
        tables[0x00281201 + number] = dicom.element(0x00281201 + number, "OW", values, s)
    return tables
