"""Checks codestreams against the data set before they are decoded."""

from __future__ import annotations

from dcmtx.codec.table import DECODERS
from dcmtx.errors import InputError
from dcmtx.pixel.codestream import KINDS, NAMES, Codestream, check_end, inspect
from dcmtx.pixel.format import PixelFormat
from dcmtx.syntax import JPEG_BASELINE, JPEG_RECOMPRESSION, Syntax


def read_stream(syntax: Syntax, data: bytes, fmt: PixelFormat) -> Codestream:
    """Return the header of a codestream after comparing it with the data set; call this before decoding it.

    Raises InputError where they contradict each other.
    """
    stream = inspect(syntax.family, data, samples=fmt.samples)
    if stream.kind not in KINDS[syntax.family]:
        raise InputError(
            f"its codestream is {NAMES[stream.kind]}, but the transfer syntax is {syntax.name}", code="E_CODESTREAM"
        )
    size = (stream.rows, stream.columns)
    if size not in ((fmt.rows, fmt.columns), (0, 0)):
        raise _contradicts(f"{size[0]}x{size[1]} pixels", f"{fmt.rows}x{fmt.columns}")
    if stream.components != fmt.samples:
        raise _contradicts(f"{stream.components} components", f"Samples per Pixel {fmt.samples}")
    if syntax.family in ("j2k", "htj2k") and any(factors != (1, 1) for factors in stream.sampling):
        raise InputError(
            "the components of its codestream are subsampled, which the decoders at hand do not give back exactly",
            code="E_CODESTREAM",
        )
    if stream.precision > max(8, fmt.allocated):
        raise _contradicts(f"{stream.precision} bits", f"Bits Allocated {fmt.allocated}")
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


def _contradicts(stream: str, said: str) -> InputError:
    return InputError(
        f"its codestream has {stream}, the data set says {said}", advice="correct the data set first", code="E_GEOMETRY"
    )
