"""The pixel format that the Image Pixel Module describes, and the arithmetic of frames.

Standard library only.
"""

from __future__ import annotations

from dcmtx.record import Record

MONOCHROME = frozenset(["MONOCHROME1", "MONOCHROME2"])
# PS3.3 C.7.6.3.1.2: the number of samples of each Photometric Interpretation.
SAMPLES: dict[str, int] = {
    "MONOCHROME1": 1, "MONOCHROME2": 1, "PALETTE COLOR": 1,
    "RGB": 3, "YBR_FULL": 3, "YBR_FULL_422": 3, "YBR_RCT": 3, "YBR_ICT": 3, "YBR_PARTIAL_420": 3, "XYB": 3,
}  # fmt: skip


class PixelFormat(Record):
    """The pixels of an image: their number, size and meaning, in the terms of PS3.3 C.7.6.3.

    `rows` and `columns` are in pixels, `allocated`, `stored` and `high_bit` in bits; `planar` is Planar Configuration;
    `frames` is the number of frames.
    """

    rows: int
    columns: int
    samples: int
    photometric: str
    allocated: int
    stored: int
    high_bit: int
    signed: bool
    planar: int = 0
    frames: int = 1

    @property
    def pixels(self) -> int:
        """Pixels of one frame."""
        return self.rows * self.columns

    @property
    def subsampled(self) -> bool:
        """Whether native pixels share chroma: Y1 Y2 Cb Cr (PS3.3 C.7.6.3.1.2)."""
        return self.photometric == "YBR_FULL_422"

    @property
    def frame_bits(self) -> int:
        """Bits of one native frame (PS3.5 8.1.1): cells without gaps; two samples a pixel if chroma is shared."""
        samples = 2 if self.subsampled else self.samples
        return self.pixels * samples * self.allocated

    @property
    def frame_bytes(self) -> int:
        """Bytes of one native frame by itself; several frames of 1-bit pixels are packed more closely."""
        return (self.frame_bits + 7) // 8

    @property
    def native_bytes(self) -> int:
        """Bytes of all native frames, without the pad byte: 1-bit pixels have no gaps between frames (PS3.5 8.1.1)."""
        return (self.frame_bits * self.frames + 7) // 8

    @property
    def stored_bytes(self) -> float:
        """Bytes of all frames, counted in Bits Stored: the basis of compression ratios."""
        return self.pixels * self.samples * self.stored * self.frames / 8

    @property
    def dtype(self) -> str:
        """The NumPy dtype of one word in memory: a byte for 1-bit pixels, the next larger width for 24 and 40 bits."""
        return f"{'int' if self.signed and self.allocated > 1 else 'uint'}{8 * self.word_bytes}"

    @property
    def word_bytes(self) -> int:
        """Bytes of one word in memory."""
        return next(width for width in (1, 2, 4, 8) if 8 * width >= self.allocated)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one decoded frame: rows, columns and, in colour, samples."""
        if self.samples == 1:
            return (self.rows, self.columns)
        return (self.rows, self.columns, self.samples)

    def describe(self) -> str:
        """Return the format in a few words, for messages."""
        sign = "signed" if self.signed else "unsigned"
        return (
            f"{self.photometric}, Bits Allocated {self.allocated}, Bits Stored {self.stored}, {sign}, "
            f"{self.rows}x{self.columns}"
        )
