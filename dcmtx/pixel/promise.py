"""What bytes can hold: pixels that no coding makes of so few bytes are refused before memory is taken for them.

Standard library alone.
"""

from __future__ import annotations

from dcmtx.errors import InputError
from dcmtx.pixel.codestream import Codestream

# A frame beyond this many bytes must not be more than so many times its codestream. Black images are: JPEG 2000 and
# JPEG XL code any of them in a hundred bytes. But no image that large is black.
LARGE = 1 << 30
LARGE_RATIO = 500

# Samples that a byte can stand for, at most. PackBits: two bytes are 128 (PS3.5 G.3.1). JPEG DCT: a block of 64 takes
# at least one bit (T.81 F.1.2, G.1.2); lossless JPEG: a sample takes one (T.81 H.1.2). Twice that is left, since some
# writers pad.
_RLE, _DCT, _LOSSLESS = 64, 64 * 8 * 2, 8 * 2
# JPEG-LS: a line of a component takes at least one bit (T.87 A.7.1).
_LINES = 8 * 2
_LOSSLESS_JPEG = frozenset([0xC3, 0xC7, 0xCB, 0xCF])
# Headers, and what is too small to be worth a refusal.
_SLACK = 1 << 16


def check_promise(stream: Codestream, size: int, samples: int, frame_bytes: int) -> None:
    """Raise InputError, E_BOMB, where a codestream of `size` bytes cannot be a frame of so many samples and bytes."""
    large = frame_bytes > LARGE and frame_bytes > LARGE_RATIO * size
    if large or (samples > _SLACK and not _can_hold(stream, size, samples, frame_bytes)):
        raise InputError(
            f"its codestream has {size} bytes, the image {frame_bytes}, which so few cannot hold; the pixel data is "
            "damaged",
            code="E_BOMB",
        )


def _can_hold(stream: Codestream, size: int, samples: int, frame_bytes: int) -> bool:
    """Tell whether the coding can make a frame of so few bytes; some set no limit."""
    if stream.kind == "rle":
        return frame_bytes <= _RLE * size
    if stream.kind == "jpegls":
        return stream.rows <= _LINES * size
    if stream.kind == "jpeg":
        return samples <= (_LOSSLESS if stream.process in _LOSSLESS_JPEG else _DCT) * size
    return True
