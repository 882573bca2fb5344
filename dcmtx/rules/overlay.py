"""Overlays in unused bits of the pixels. They are retired, and compression drops or damages them: extract them first.

Sources: PS3.5 8.1.2; PS3.3 C.9.2; PS3.5-2004 8.1.2.
"""

from __future__ import annotations

from collections.abc import Iterator

from dcmtx.dataset.edit import Edit, Reserve, Set
from dcmtx.dataset.header import Header
from dcmtx.errors import RefusedError
from dcmtx.finding import Finding, Severity
from dcmtx.pixel.format import PixelFormat
from dcmtx.record import Record

_GROUPS = range(0x6000, 0x6020, 2)
_ROWS, _COLUMNS, _FRAMES, _ORIGIN, _FIRST_FRAME = 0x0010, 0x0011, 0x0015, 0x0050, 0x0051
_ALLOCATED, _POSITION, _DATA = 0x0100, 0x0102, 0x3000


class Embedded(Record):
    """One overlay in the pixels: its group, and its bit in each word (0 is the lowest)."""

    group: int
    bit: int

    @property
    def key(self) -> str:
        """The name of the place reserved for its data."""
        return f"overlay-{self.group:04X}"


def find_embedded(header: Header, fmt: PixelFormat) -> list[Embedded]:
    """Return the overlays that are in bits outside Bits Stored and have no Overlay Data of their own.

    Raises RefusedError, E_OVERLAY, for an overlay in colour pixels, or whose size differs from that of the image.
    """
    found = []
    for group in _GROUPS:
        base = group << 16
        bit = header.number(base | _POSITION)
        if not bit or base | _DATA in header or bit >= fmt.allocated:
            continue
        if fmt.high_bit - fmt.stored < bit <= fmt.high_bit:
            # This bit belongs to the pixel value itself, so it is not an overlay.
            continue
        if fmt.samples > 1:
            raise RefusedError(
                f"overlay group {group:04X} is in the bits of colour pixels, which have no place for it (PS3.5 8.1.2)",
                advice="correct or remove it first",
                code="E_OVERLAY",
                tag=base | _POSITION,
            )
        size = (header.number(base | _ROWS), header.number(base | _COLUMNS))
        if size != (fmt.rows, fmt.columns):
            raise RefusedError(
                f"overlay group {group:04X} is in the pixels but {size[0]}x{size[1]}, not {fmt.rows}x{fmt.columns}",
                advice="correct or remove it first",
                code="E_OVERLAY",
                tag=base | _ROWS,
            )
        found.append(Embedded(group, bit))
    return found


def findings(header: Header, fmt: PixelFormat) -> Iterator[Finding]:
    """Yield overlays in the bits of the pixels, which are retired, and what is wrong with them."""
    try:
        found = find_embedded(header, fmt)
    except RefusedError as error:
        yield Finding("N_OVERLAY", error.what, Severity.WARNING, tag=error.tag)
        return
    for embedded in found:
        yield Finding(
            "N_OVERLAY",
            f"overlay group {embedded.group:04X} is in bit {embedded.bit} of the pixels, which is retired",
            tag=embedded.group << 16 | _POSITION,
        )


def describe(header: Header) -> Iterator[tuple[int, int | None, int | None, int | None]]:
    """Yield the overlays: group, Rows, Columns, and the bit of the pixels that holds it, None if it has data."""
    for group in _GROUPS:
        base = group << 16
        if base | _ROWS in header or base | _DATA in header:
            bit = None if base | _DATA in header else header.number(base | _POSITION)
            yield group, header.number(base | _ROWS), header.number(base | _COLUMNS), bit


def data_bytes(fmt: PixelFormat) -> int:
    """Return the size of an overlay's data in bytes: a bit per pixel, frames without gaps, padded to even length."""
    whole = (fmt.pixels * fmt.frames + 7) // 8
    return whole + whole % 2


def extraction(overlays: list[Embedded], fmt: PixelFormat) -> dict[int, Edit]:
    """Return the edits that give overlays their own Overlay Data, which is filled in as frames are decoded."""
    edits: dict[int, Edit] = {}
    for overlay in overlays:
        base = overlay.group << 16
        edits[base | _ALLOCATED] = Set(base | _ALLOCATED, b"US", b"\x01\x00")
        edits[base | _POSITION] = Set(base | _POSITION, b"US", b"\x00\x00")
        edits[base | _DATA] = Reserve(base | _DATA, b"OW", data_bytes(fmt), key=overlay.key)
        if fmt.frames > 1:
            frames = str(fmt.frames).encode("ascii")
            edits[base | _FRAMES] = Set(base | _FRAMES, b"IS", frames)
            edits[base | _FIRST_FRAME] = Set(base | _FIRST_FRAME, b"US", b"\x01\x00")
    return edits
