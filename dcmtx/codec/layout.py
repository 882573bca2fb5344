"""What an encoder of JPEG 2000 or HTJ2K can do of the layout that is asked for: resolutions, tiles, code-blocks."""

from __future__ import annotations

from dcmtx.codec.htj2k import decompositions
from dcmtx.pixel.format import PixelFormat
from dcmtx.policy import EncodingParameters
from dcmtx.record import Record

# How many times JPEG 2000 is halved by default.
_USUAL = 5


class Layout(Record):
    """What an encoder can do of the layout that is asked for.

    It halves no side below one pixel, has only these sides of `code_blocks`, the first by default, tiles only whose
    sides can be halved as often as the image, and one part of each tile.
    """

    high_throughput: bool
    code_blocks: tuple[int, ...]

    def levels(self, fmt: PixelFormat, quality: EncodingParameters) -> int:
        """Return how many times the image is halved."""
        if quality.resolutions is not None:
            return quality.resolutions - 1
        wanted = decompositions(fmt, quality) if self.high_throughput else _USUAL
        return min(wanted, _most(fmt) - 1)

    def block(self, quality: EncodingParameters) -> int:
        """Return the side of a code-block."""
        return quality.code_block or self.code_blocks[0]

    def tile(self, fmt: PixelFormat, quality: EncodingParameters) -> int | None:
        """Return the side of a tile; None if one holds the whole image."""
        side = quality.tile
        return None if side is None or side >= max(fmt.rows, fmt.columns) else side

    def reason(self, fmt: PixelFormat, quality: EncodingParameters) -> str:
        """Return why the layout cannot be had, or an empty string."""
        if quality.code_block not in (None, *self.code_blocks):
            return f"--code-block {quality.code_block} is not {' or '.join(map(str, sorted(self.code_blocks)))}"
        if quality.resolutions is not None and quality.resolutions > _most(fmt):
            return f"{fmt.rows}x{fmt.columns} has at most {_most(fmt)} resolutions"
        if quality.tile_parts == "resolution":
            return "--tile-parts resolution: it makes one part of each tile"
        tile = self.tile(fmt, quality)
        if tile is None:
            return ""
        if tile > min(fmt.rows, fmt.columns):
            return f"--tile {tile} is more than a side of {fmt.rows}x{fmt.columns}"
        levels = self.levels(fmt, quality)
        if tile % (1 << levels):
            return f"--tile {tile} is no multiple of {1 << levels}, which {levels + 1} resolutions need"
        return ""


def _most(fmt: PixelFormat) -> int:
    """Return how many resolutions an image has until its shorter side is one pixel."""
    return min(fmt.rows, fmt.columns).bit_length()


# Of nvImageCodec. A code-block of JPEG 2000 takes its time whatever its size, so smaller ones keep more of a GPU busy.
NVIMGCODEC_J2K = Layout(high_throughput=False, code_blocks=(32, 64))
NVIMGCODEC_HTJ2K = Layout(high_throughput=True, code_blocks=(64, 32))
