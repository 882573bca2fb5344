"""Where the frames of a file are, in bytes, and the resolutions in them: what HTTP range requests ask for."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Any

from dcmtx.errors import DcmtxError, InputError, UnsupportedError
from dcmtx.pixel.codestream import KINDS, Codestream, inspect
from dcmtx.place.places import SourcePlace, open_reader, path_of
from dcmtx.record import Record
from dcmtx.syntax import Kind
from dcmtx.transcoding.source import open_source

if TYPE_CHECKING:
    from dcmtx.transcoding.frames import Frames

# Offset in the file, and length, in bytes.
Range = tuple[int, int]

_TLM, _POC, _SOT = 0xFF55, 0xFF5F, 0xFF90
_EOC_BYTES = 2
# RLCP and RPCL: the parts of a tile can follow its resolutions (T.800 Table A.16).
_RESOLUTIONS_FIRST = frozenset([1, 2])


class Resolution(Record):
    """One resolution of a frame: what a reader needs who wants no finer one, and the pixels that this gives.

    `reduce` says how often the sides are halved. Behind the bytes of the ranges belongs EOC (FF D9).
    """

    reduce: int
    rows: int
    columns: int
    ranges: tuple[Range, ...]


class FrameRanges(Record):
    """One frame, counted from 1: its bytes, in order, and its resolutions, the coarsest first.

    `first_bit` is where it begins in its first byte: 1-bit pixels have no gaps between frames (PS3.5 8.1.1).
    """

    frame: int
    ranges: tuple[Range, ...]
    resolutions: tuple[Resolution, ...] = ()
    first_bit: int = 0


class Index(Record):
    """The frames of one file, which has `size` bytes."""

    path: str
    size: int
    syntax: str
    sop_instance: str
    pixels: dict[str, Any]
    frames: tuple[FrameRanges, ...]

    def as_json(self) -> dict[str, Any]:
        """Return it as `dcmtx index` prints it."""
        return {
            "path": self.path,
            "size": self.size,
            "transfer_syntax": self.syntax,
            "sop_instance_uid": self.sop_instance,
            **self.pixels,
            "frames": [_frame_record(frame) for frame in self.frames],
        }


def _frame_record(frame: FrameRanges) -> dict[str, Any]:
    record: dict[str, Any] = {"frame": frame.frame, "ranges": [list(one) for one in frame.ranges]}
    if frame.first_bit:
        record["first_bit"] = frame.first_bit
    if frame.resolutions:
        record["resolutions"] = [
            {
                "reduce": one.reduce,
                "rows": one.rows,
                "columns": one.columns,
                "ranges": [list(place) for place in one.ranges],
            }
            for one in frame.resolutions
        ]
    return record


def index(src: SourcePlace) -> Index:
    """Return where the frames of a file are. Only headers are read.

    Raises what opening a file raises; InputError without pixels; UnsupportedError where its frames have no places:
    deflated data sets, video, floating point pixels.
    """
    path = path_of(src) or "-"
    try:
        with closing(open_reader(src)) as reader, closing(open_source(reader)) as opened:
            frames = opened.frames
            _check(frames, deflated=opened.spool is not None)
            fmt = frames.format
            assert fmt is not None
            pixels = {
                "rows": fmt.rows, "columns": fmt.columns, "samples_per_pixel": fmt.samples,
                "photometric_interpretation": fmt.photometric, "bits_allocated": fmt.allocated,
                "bits_stored": fmt.stored, "pixel_representation": int(fmt.signed),
                "planar_configuration": fmt.planar,
            }  # fmt: skip
            return Index(
                path,
                reader.size,
                frames.syntax.uid,
                sop_instance=opened.dataset.header.text(0x00080018),
                pixels=pixels,
                frames=tuple(_frames(frames)),
            )
    except DcmtxError as error:
        error.path = error.path or path
        raise


def _check(frames: Frames, *, deflated: bool) -> None:
    if frames.pixel is None:
        raise InputError("it has no pixels", code="E_NO_PIXELDATA")
    if deflated:
        raise UnsupportedError(
            f"its data set is deflated as a whole ({frames.syntax.name}), so that no frame has bytes of its own",
            code="E_UNSUPPORTED_TS",
            advice="convert it first",
        )
    if frames.syntax.kind not in (Kind.FRAMES, Kind.NATIVE):
        raise UnsupportedError(f"{frames.syntax.name} has no bytes for each frame", code="E_UNSUPPORTED_TS")
    frames.check()
    if frames.format is None:
        raise UnsupportedError("its pixels are floating point, which are no frames yet", code="E_FLOAT")


def _frames(frames: Frames) -> Iterator[FrameRanges]:
    fmt = frames.format
    assert fmt is not None
    for number in range(fmt.frames):
        if frames.fragments is None:
            assert frames.pixel is not None
            first, end = number * fmt.frame_bits, (number + 1) * fmt.frame_bits
            place = (frames.pixel.value + first // 8, (end + 7) // 8 - first // 8)
            yield FrameRanges(number + 1, (place,), first_bit=first % 8)
            continue
        parts = range(frames.starts[number], frames.starts[number + 1])
        ranges = tuple((frames.fragments.values[part], frames.fragments.lengths[part]) for part in parts)
        try:
            found = tuple(_resolutions(frames, number, ranges))
        except DcmtxError as error:
            error.frame = number
            raise
        yield FrameRanges(number + 1, ranges, found)


def _resolutions(frames: Frames, number: int, ranges: tuple[Range, ...]) -> Iterator[Resolution]:
    """Yield the resolutions of a frame whose tile-parts are its resolutions, as TLM tells their lengths."""
    if frames.syntax.family not in ("j2k", "htj2k"):
        return
    data = frames.opening(number)
    try:
        stream = inspect(frames.syntax.family, data)
    except InputError:
        data = frames.frame(number)
        stream = inspect(frames.syntax.family, data)
    if stream.kind not in KINDS[frames.syntax.family]:
        return
    parts = _tile_parts(data, stream)
    levels = stream.levels
    length = sum(length for _, length in ranges)
    if parts is None or not _are_resolutions(parts, stream, length - stream.body):
        return
    x, y, x0, y0 = struct.unpack_from(">4I", data, stream.start + 8)
    for resolution in range(levels + 1):
        scale = 1 << (levels - resolution)
        wanted = _joined([(stream.start, stream.body - stream.start), *_coarse(parts, stream.body, resolution)])
        yield Resolution(
            levels - resolution,
            -(-y // scale) - -(-y0 // scale),
            -(-x // scale) - -(-x0 // scale),
            ranges=tuple(_in_file(wanted, ranges)),
        )


def _tile_parts(data: bytes, stream: Codestream) -> list[Range] | None:
    """Return tile and length of each tile-part, as TLM has them (T.800 A.7.1); None if it has not, or tells too little.

    The main header is whole, for `inspect` has walked it.
    """
    found: list[tuple[int, list[Range]]] = []
    position = stream.start + 2
    while position < stream.body:
        marker, size = struct.unpack_from(">HH", data, position)
        if marker == _POC:
            return None
        if marker == _TLM:
            entries = _entries(data[position + 4 : position + 2 + size])
            if entries is None:
                return None
            found.append((data[position + 4], entries))
        position += 2 + size
    parts = [part for _, entries in sorted(found, key=lambda one: one[0]) for part in entries]
    return parts or None


def _entries(body: bytes) -> list[Range] | None:
    """Return the entries of one TLM; without numbers of tiles in it, each tile would have one part, and no more."""
    if len(body) < 2:
        return None
    number = ["", "B", "H", ""][body[1] >> 4 & 3]
    entry = struct.Struct(f">{number}{'I' if body[1] & 0x40 else 'H'}")
    if not number or (len(body) - 2) % entry.size:
        return None
    return [(int(tile), int(length)) for tile, length in entry.iter_unpack(body[2:])]


def _are_resolutions(parts: list[Range], stream: Codestream, room: int) -> bool:
    """Tell whether every tile has a part for each resolution, and all of them fill the codestream up to EOC."""
    if stream.progression not in _RESOLUTIONS_FIRST or {tile for tile, _ in parts} != set(range(stream.tiles)):
        return False
    count = dict.fromkeys(range(stream.tiles), 0)
    for tile, _ in parts:
        count[tile] += 1
    filled = sum(length for _, length in parts) + _EOC_BYTES
    # A pad byte may follow.
    return set(count.values()) == {stream.levels + 1} and 0 <= room - filled <= 1


def _coarse(parts: list[Range], position: int, resolution: int) -> Iterator[Range]:
    """Yield the tile-parts, by their place in the codestream, of this resolution and coarser ones."""
    seen: dict[int, int] = {}
    for tile, length in parts:
        if seen.get(tile, 0) <= resolution:
            yield position, length
        seen[tile] = seen.get(tile, 0) + 1
        position += length


def _joined(ranges: list[Range]) -> list[Range]:
    """Return ranges with those joined that touch."""
    joined: list[Range] = []
    for start, length in ranges:
        if joined and sum(joined[-1]) == start:
            joined[-1] = (joined[-1][0], joined[-1][1] + length)
        else:
            joined.append((start, length))
    return joined


def _in_file(wanted: list[Range], fragments: tuple[Range, ...]) -> Iterator[Range]:
    """Yield ranges of a codestream as ranges of the file, where it lies in fragments."""
    for start, length in wanted:
        position = 0
        for offset, size in fragments:
            low, high = max(start, position), min(start + length, position + size)
            if low < high:
                yield offset + low - position, high - low
            position += size
