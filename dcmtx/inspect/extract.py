"""Frames as files of their own: the codestreams as they are, or decoded pixels."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from enum import Enum
from typing import TYPE_CHECKING, Any

from dcmtx.errors import DcmtxError, InputError, RefusedError, UnsupportedError, UsageError
from dcmtx.pixel.codestream import KINDS, Codestream, check_end, inspect, with_end
from dcmtx.place.places import SourcePlace, open_reader, path_of
from dcmtx.record import Record
from dcmtx.syntax import CELLS, Kind
from dcmtx.transcoding.source import open_source

if TYPE_CHECKING:
    from dcmtx.pixel.format import PixelFormat
    from dcmtx.transcoding.frames import Frames


class Form(Enum):
    """What becomes of a frame: its codestream as it is, or a file with its decoded pixels."""

    CODESTREAM = "codestream"
    PNG = "png"
    TIFF = "tiff"
    NPY = "npy"


class Extracted(Record):
    """One frame, counted from 1, as the contents of a file whose name ends in `ending`."""

    frame: int
    ending: str
    data: bytes


# What names of files end in, by the kind of the codestream.
_ENDINGS = {"jpeg": "jpg", "jpegls": "jls", "j2k": "j2c", "htj2k": "jph", "jpegxl": "jxl", "rle": "rle"}


def numbers(text: str, frames: int) -> list[int]:
    """Return the frames that a text such as `1,5-9` names, counted from 1, in its order; `5-` goes to the last.

    Raises UsageError for anything else, and for frames that there are not.
    """
    found: list[int] = []
    for part in text.split(","):
        first, dash, last = (word.strip() for word in part.partition("-"))
        if not first.isdecimal() or (dash and last and not last.isdecimal()):
            raise UsageError(f"--frames is {text!r}, no list of frames like 1,5-9")
        begin = int(first)
        end = (int(last) if last else frames) if dash else begin
        if not 1 <= begin <= end <= frames:
            raise UsageError(f"--frames names {part.strip()}, and the frames are 1 to {frames}")
        found += range(begin, end + 1)
    return found


def extract(src: SourcePlace, form: Form, chosen: str | None = None) -> Generator[Extracted, None, None]:
    """Yield the frames of a file that `chosen` names, all without, one after another; none is kept.

    Raises what `dcmtx.frames` raises; UsageError for frames that there are not; InputError for a codestream that ends
    early; RefusedError where a PNG cannot hold the values; UnsupportedError where a library is missing.
    """
    made = _codestreams(src, chosen) if form is Form.CODESTREAM else _decoded(src, form, chosen)
    try:
        yield from made
    except DcmtxError as error:
        error.path = error.path or path_of(src) or "-"
        raise


# --- as they are -------------------------------------------------------------------------------------------------


def _codestreams(src: SourcePlace, chosen: str | None) -> Iterator[Extracted]:
    with closing(open_reader(src)) as reader, closing(open_source(reader)) as opened:
        frames = opened.frames
        if frames.pixel is None:
            raise InputError("it has no pixels", code="E_NO_PIXELDATA")
        if frames.syntax.kind not in (Kind.FRAMES, Kind.NATIVE):
            raise UnsupportedError(f"{frames.syntax.name} has no codestream for each frame", code="E_UNSUPPORTED_TS")
        frames.check()
        if frames.format is None:
            raise UnsupportedError("its pixels are floating point, which are no frames yet", code="E_FLOAT")
        for number in _wanted(chosen, len(frames)):
            try:
                ending, data = _codestream(frames, number - 1)
            except DcmtxError as error:
                error.frame = number - 1
                raise
            yield Extracted(number, ending, data)


def _wanted(chosen: str | None, frames: int) -> Sequence[int]:
    return range(1, frames + 1) if chosen is None else numbers(chosen, frames)


def _codestream(frames: Frames, number: int) -> tuple[str, bytes]:
    """Return how a file with this frame is named, and what is in it: the frame without what follows its end."""
    data, family = frames.frame(number), frames.syntax.family
    fmt = frames.format
    assert fmt is not None
    if family in CELLS or family not in KINDS:
        return ("deflate" if family == "deflate" else "raw"), data
    stream = inspect(family, data, samples=fmt.samples)
    if stream.kind in {"rle", "jpegxl"}:
        return _ENDINGS[stream.kind], data
    stream = with_end(check_end(stream, data), data)
    if stream.boxed:
        return ("jph" if stream.kind == "htj2k" else "jp2"), data
    data = data[stream.start : stream.end]
    return _ENDINGS[stream.kind], _jph(data, stream, fmt) if stream.kind == "htj2k" else data


def _jph(data: bytes, stream: Codestream, fmt: PixelFormat) -> bytes:
    """Return an HTJ2K codestream in the boxes of a JPH file (T.814 Annex D, T.800 Annex I): .jph is no bare stream."""
    depth = stream.precision - 1 | (0x80 if stream.signed else 0)
    header = stream.rows.to_bytes(4, "big") + stream.columns.to_bytes(4, "big")
    # Compression type 7; the colour space is known; no intellectual property box.
    header += stream.components.to_bytes(2, "big") + bytes([depth, 7, 0, 0])
    space = _SPACES["YBR_FULL" if fmt.photometric.startswith("YBR_F") else "RGB" if stream.components > 1 else "grey"]
    colour = b"\x01\0\0" + space.to_bytes(4, "big")
    return b"".join([
        _box(b"jP  ", b"\r\n\x87\n"), _box(b"ftyp", b"jph \0\0\0\0jph "),
        _box(b"jp2h", _box(b"ihdr", header) + _box(b"colr", colour)), _box(b"jp2c", data),
    ])  # fmt: skip


# Enumerated colour spaces (T.800 Table I.10): sRGB, greyscale, sYCC.
_SPACES = {"RGB": 16, "grey": 17, "YBR_FULL": 18}


def _box(kind: bytes, body: bytes) -> bytes:
    return (len(body) + 8).to_bytes(4, "big") + kind + body


# --- decoded -----------------------------------------------------------------------------------------------------


def _decoded(src: SourcePlace, form: Form, chosen: str | None) -> Iterator[Extracted]:
    from dcmtx.inspect.opened import Pixels

    with Pixels(src) as pixels:
        fmt = pixels.format
        if fmt is None:
            raise InputError("it has no pixels", code="E_NO_PIXELDATA")
        if form is Form.PNG:
            _check_png(fmt)
        write = {Form.PNG: _png, Form.TIFF: _tiff, Form.NPY: _npy}[form]
        for number in _wanted(chosen, fmt.frames):
            yield Extracted(number, form.value, write(pixels.frame(number - 1), fmt))


def _check_png(fmt: PixelFormat) -> None:
    if fmt.signed or fmt.allocated > 16:
        what = "signed values" if fmt.signed else f"values of {fmt.allocated} bits"
        raise RefusedError(
            f"PNG holds no {what}", code="E_SIGN" if fmt.signed else "E_BITS", advice="use --as tiff or --as npy"
        )


def _png(words: Any, fmt: PixelFormat) -> bytes:
    from dcmtx.codec import png

    return png.encode(_rgb(words, fmt))


def _rgb(words: Any, fmt: PixelFormat) -> Any:
    """Return YBR_FULL as RGB, and all else as it is: viewers of these files know no other colours."""
    from dcmtx.pixel.color import to_rgb

    return to_rgb(words, fmt) if fmt.photometric == "YBR_FULL" else words


def _npy(words: Any, _: PixelFormat) -> bytes:
    from dcmtx.codec import npy

    return npy.encode(words)


def _tiff(words: Any, fmt: PixelFormat) -> bytes:
    from dcmtx.codec import tiff

    return tiff.encode(_rgb(words, fmt), least_is_white=fmt.photometric == "MONOCHROME1")
