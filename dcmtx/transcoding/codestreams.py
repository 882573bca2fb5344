"""Checks codestreams against the data set before they are decoded."""

from __future__ import annotations

from dcmtx.codec.table import DECODERS
from dcmtx.pixel.codestream import Codestream, check_end, inspect
from dcmtx.pixel.format import PixelFormat
from dcmtx.rules.agreement import contradictions
from dcmtx.syntax import JPEG_BASELINE, JPEG_RECOMPRESSION, Syntax


def read_stream(syntax: Syntax, data: bytes, fmt: PixelFormat) -> Codestream:
    """Return the header of a codestream after comparing it with the data set; call this before decoding it.

    Raises InputError where they contradict each other.
    """
    stream = inspect(syntax.family, data, samples=fmt.samples)
    for contradiction in contradictions(syntax, stream, fmt):
        raise contradiction
    return check_end(stream, data)


def read_colour(syntax: Syntax, data: bytes, fmt: PixelFormat) -> Codestream:
    """Return the header of a codestream, as `read_stream` does; where JPEG was recompressed, that of the JPEG stream.

    Only the JPEG stream says how its colours are coded.
    """
    stream = read_stream(syntax, data, fmt)
    if syntax is not JPEG_RECOMPRESSION:
        return stream
    from dcmtx.codec.jpegxl import restore
    from dcmtx.transcoding.coders import call

    jpeg: bytes = call(restore, DECODERS.rows(syntax.uid)[0], data)
    return read_stream(JPEG_BASELINE, jpeg, fmt)


def bare(syntax: Syntax, stream: Codestream, data: bytes) -> bytes:
    """Return a codestream without boxes before it and what stands behind its end; `stream` is of `read_colour`.

    Where JPEG was recompressed, that is the header of another stream than the bytes are.
    """
    if syntax is JPEG_RECOMPRESSION or (stream.start == 0 and stream.end >= len(data)):
        return data
    return data[stream.start : stream.end]
