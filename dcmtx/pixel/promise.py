"""How many pixels a codestream can hold: impossible claims are refused before memory is allocated for them.

Standard library only.
"""

from __future__ import annotations

from dcmtx.errors import InputError
from dcmtx.pixel.codestream import Codestream

# A frame larger than LARGE must not exceed LARGE_RATIO times its codestream. JPEG 2000 and JPEG XL code an all-black
# image of any size in a hundred bytes, but no real image that large is all black.
LARGE = 1 << 30
LARGE_RATIO = 500

# The most samples that one byte can code. PackBits: two bytes code 128 (PS3.5 G.3.1). JPEG DCT: a block of 64 takes
# at least one bit (T.81 F.1.2, G.1.2). Lossless JPEG: a sample takes at least one bit (T.81 H.1.2). The JPEG limits are
# doubled, since some writers pad.
_RLE, _DCT, _LOSSLESS = 64, 64 * 8 * 2, 8 * 2
# JPEG-LS: a line of a component takes at least one bit (T.87 A.7.1).
_LINES = 8 * 2
_LOSSLESS_JPEG = frozenset([0xC3, 0xC7, 0xCB, 0xCF])
# Allows for headers; smaller images are not worth a refusal.
_SLACK = 1 << 16


def check_promise(stream: Codestream, size: int, samples: int, frame_bytes: int) -> None:
    """Raise InputError, E_BOMB, if a codestream of `size` bytes cannot hold a frame of that many samples and bytes."""
    large = frame_bytes > LARGE and frame_bytes > LARGE_RATIO * size
    if large or (samples > _SLACK and not _can_hold(stream, size, samples, frame_bytes)):
        raise InputError(
            f"its codestream has {size} bytes, the image {frame_bytes}, which so few cannot hold; the pixel data is "
            "damaged",
            code="E_BOMB",
        )


def _can_hold(stream: Codestream, size: int, samples: int, frame_bytes: int) -> bool:
    """Tell whether the coding can make the frame from so few bytes; some codings have no limit."""
    if stream.kind == "rle":
        return frame_bytes <= _RLE * size
    if stream.kind == "jpegls":
        return stream.rows <= _LINES * size
    if stream.kind == "jpeg":
        return samples <= (_LOSSLESS if stream.process in _LOSSLESS_JPEG else _DCT) * size
    return True
