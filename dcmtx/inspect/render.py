"""One frame as a PNG file, as its data set wants it shown: enough for a report or a web page."""

from __future__ import annotations

from typing import Any

from dcmtx.codec import png
from dcmtx.errors import UnsupportedError
from dcmtx.inspect.opened import Pixels
from dcmtx.place.places import SourcePlace

# How many times larger than wanted a frame is at least decoded.
_FINER = 2


def render(src: SourcePlace, *, frame: int = 1, size: int | None = None, bits: int = 8) -> bytes:
    """Return a frame (counted from 1) as a PNG file of `bits` (8 or 16) bits a sample, grey or RGB.

    It is windowed as the data set says, and has its palette applied. With `size`, its longer side has at most so many
    pixels; JPEG 2000 and HTJ2K are then decoded at a lower resolution where the library at hand can.

    Raises what `dcmtx.frames` raises, and UsageError where there is no such frame.

    >>> import dcmtx
    >>> dcmtx.render("us-palette-8.dcm", size=64)[1:4]
    b'PNG'
    """
    with Pixels(src) as pixels:
        if pixels.decoder is None:
            raise UnsupportedError("it has no pixels to show", code="E_NO_PIXELDATA", path=pixels.path)
        return png.encode(picture(pixels, frame - 1, size=size, bits=bits))


def picture(pixels: Pixels, number: int, *, size: int | None = None, bits: int = 8, like: Pixels | None = None) -> Any:
    """Return a frame (0-based) as it is shown: grey or RGB of 8 or 16 unsigned bits.

    Where its data set does not say how, it is shown over its own range, or over that of the same frame of `like`.
    """
    from dcmtx.pixel.display import shown, smaller

    pixels.check(number)
    fmt = pixels.format
    assert fmt is not None
    assert pixels.decoder is not None
    words = None
    if size is not None and fmt.photometric != "PALETTE COLOR":
        # Means of indices are no colours. A wavelet's low resolutions are rough: the last step is a mean of pixels.
        words = pixels.decoder.reduced(number, _FINER * size)
    if words is None:
        words = pixels.frame(number)
    display = pixels.display(number)
    if like is not None and fmt.samples == 1 and not (display.window or display.voi or display.palette):
        from dcmtx.pixel.display import whole_range

        assert like.format is not None
        display = display.replace(window=whole_range(like.frame(number), like.format, like.display(number)))
    image = shown(words, fmt, display, bits)
    return image if size is None else smaller(image, size)
