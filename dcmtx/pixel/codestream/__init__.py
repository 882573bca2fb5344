"""The headers of codestreams: size, precision, sign, components, colour, reversible or not. Never decodes.

A decoder is called only after the header has been compared with the data set: decoders trust the stream, and some
crash or allocate without bound on a damaged one. The stream also decides its colour (PS3.5 8.2.1, 8.2.3, 8.2.4).
Standard library only.

Sources: ITU-T T.81 B.2 (JPEG), T.87 C.2 (JPEG-LS), T.800 A.5, A.6 (JPEG 2000), T.814 A.3 (HTJ2K), PS3.5 G.5 (RLE).
"""

from __future__ import annotations

from dcmtx.errors import InputError
from dcmtx.pixel.codestream.header import Codestream, Transform, box

__all__ = [
    "END", "KINDS", "NAMES", "Codestream", "Transform", "check_end", "ends_frame", "inspect", "starts_frame",
    "with_end",
]  # fmt: skip


def inspect(family: str, data: bytes, *, samples: int = 1) -> Codestream:
    """Read the header of a codestream of this family (`Syntax.family`): jpeg, jpegls, j2k, htj2k, jpegxl or rle.

    The bytes decide the kind: a JPEG-LS stream under a JPEG syntax is returned as jpegls. `samples` is
    Samples per Pixel, which RLE needs to tell bytes from components.

    Raises InputError if the bytes are not a codestream, or end inside its header.
    """
    if family == "rle":
        from dcmtx.pixel.codestream.rle import read as read_rle

        return read_rle(data, samples)
    start = data[:12]
    if start[:2] == b"\xff\xd8":
        from dcmtx.pixel.codestream.jpeg import read as read_jpeg

        return read_jpeg(data)
    if start[:4] == b"\xff\x4f\xff\x51":
        from dcmtx.pixel.codestream.jpeg2000 import read as read_jpeg2000

        return read_jpeg2000(data, 0, len(data), boxed=False)
    if start == b"\x00\x00\x00\x0cjP  \r\n\x87\n":
        from dcmtx.pixel.codestream.jpeg2000 import read as read_jpeg2000

        return read_jpeg2000(data, *box(data, b"jp2c"), boxed=True)
    if start[:2] == b"\xff\x0a" or start == b"\x00\x00\x00\x0cJXL \r\n\x87\n":
        from dcmtx.pixel.codestream.jpegxl import read as read_jpegxl

        return read_jpegxl(data)
    raise InputError(
        f"the bytes {data[:4].hex(' ') or '(none)'} do not start a {NAMES.get(family, family)} codestream; "
        "the pixel data is damaged",
        code="E_CODESTREAM",
    )


NAMES = {
    "jpeg": "JPEG", "jpegls": "JPEG-LS", "j2k": "JPEG 2000", "htj2k": "HTJ2K", "rle": "RLE", "jpegxl": "JPEG XL",
}  # fmt: skip
# The kinds of codestream that each family of syntax allows.
KINDS: dict[str, frozenset[str]] = {
    "jpeg": frozenset(["jpeg"]),
    "jpegls": frozenset(["jpegls"]),
    "j2k": frozenset(["j2k"]),
    "htj2k": frozenset(["htj2k"]),
    "rle": frozenset(["rle"]),
    "jpegxl": frozenset(["jpegxl"]),
}


# EOI and EOC, which are the same two bytes.
END = b"\xff\xd9"


def starts_frame(head: bytes, family: str = "") -> bool:
    """Tell whether these first 12 bytes of a fragment begin a codestream.

    That is SOI, SOC, a JP2 or JPEG XL signature; or an RLE header, if that is the family.
    """
    if family == "rle":
        return len(head) >= 8 and 1 <= int.from_bytes(head[:4], "little") <= 15 and head[4:8] == b"\x40\x00\x00\x00"
    return (
        head[:3] == b"\xff\xd8\xff"
        or head[:4] == b"\xff\x4f\xff\x51"
        or head[:4] == b"\x00\x00\x00\x0c"
        or (head[:2] == b"\xff\x0a")
    )


def ends_frame(tail: bytes) -> bool:
    """Tell whether these last bytes of a fragment end a codestream: EOI or EOC, before padding."""
    return tail.rstrip(b"\0\xff").endswith(END)


def check_end(stream: Codestream, data: bytes) -> Codestream:
    """Return the stream with its `end`: after EOI or EOC, whatever follows (T.81 B.1.1.3, T.800 A.4.4).

    Raises InputError, E_TRUNCATED, if the stream is incomplete, because decoders silently make up missing data. JPEG
    and JPEG-LS have a scan of every component, then EOI; the tile-parts of JPEG 2000 give their lengths (T.800 A.4.2).
    """
    if stream.kind not in ("jpeg", "jpegls", "j2k", "htj2k"):
        return stream
    in_tiles = stream.kind in ("j2k", "htj2k")
    if not in_tiles and stream.scanned >= stream.components and ends_frame(data[-64:]):
        return stream
    from dcmtx.pixel import ends

    end = ends.in_tile_parts(data, stream) if in_tiles else ends.in_scans(data, stream)
    if end is None:
        raise InputError(
            f"its {NAMES[stream.kind]} codestream ends early; the pixel data is truncated", code="E_TRUNCATED"
        )
    return stream if end == stream.end else stream.replace(end=end)


def with_end(stream: Codestream, data: bytes) -> Codestream:
    """Return a complete stream with its exact `end`: the pad byte of JPEG is behind it too. `check_end` came before."""
    if stream.kind not in ("jpeg", "jpegls"):
        return stream
    from dcmtx.pixel import ends

    return stream.replace(end=ends.in_scans(data, stream) or stream.end)
