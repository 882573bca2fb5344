"""Two files compared: their pixels after what the standard lets a conversion do, and their data sets."""

from __future__ import annotations

import math
from typing import Any

from dcmtx.dataset.header import Header
from dcmtx.errors import DcmtxError
from dcmtx.inspect.elements import Differing, differing
from dcmtx.inspect.opened import Pixels
from dcmtx.pixel.format import PixelFormat
from dcmtx.place.places import SourcePlace
from dcmtx.record import Record
from dcmtx.rules import conversion, image, lossy
from dcmtx.rules.conversion import Change

_PIXEL_DATA = 0x7FE00010
_RGB, _YBR = "RGB", "YBR_FULL"


class FrameDifference(Record):
    """One frame (0-based) that differs, and how: the fields of `dcmtx.pixel.measure.Difference`, and the PSNR."""

    frame: int
    measured: Any
    psnr: float


class Comparison(Record):
    """Two files compared.

    `reason` says why pixels cannot be compared, or is empty. `frames` counts those that were compared, `differences`
    has those that differ. `notes` tell what was passed over. `changed` are elements that differ as a conversion may
    change them, `elements` all others.
    """

    one: str
    other: str
    reason: str = ""
    frames: int = 0
    differences: tuple[FrameDifference, ...] = ()
    psnr: float | None = None
    notes: tuple[str, ...] = ()
    elements: tuple[Differing, ...] = ()
    changed: tuple[Differing, ...] = ()

    @property
    def pixels_equal(self) -> bool:
        """Whether there is nothing that differs in the pixels."""
        return not self.reason and not self.differences

    @property
    def equal(self) -> bool:
        """Whether the files are equal but for what a conversion may change."""
        return self.pixels_equal and not self.elements

    @property
    def worst(self) -> int:
        """The frame that differs most; the first where none does."""
        return min(self.differences, key=lambda one: one.psnr).frame if self.differences else 0


def compare(one: SourcePlace, other: SourcePlace) -> Comparison:
    """Compare two DICOM files, paths, bytes or binary file objects; one frame of each is held at a time.

    Raises what `dcmtx.frames` raises, with the path; and InputError where a sequence is damaged.

    >>> import dcmtx
    >>> outcome = dcmtx.transcode("us-rgb-by-pixel.dcm", "near.dcm", to="jpegls", lossy=True, near=2)
    >>> found = dcmtx.compare("us-rgb-by-pixel.dcm", "near.dcm")
    >>> found.equal, found.elements, found.differences[0].measured.largest
    (False, (), 2)
    """
    with Pixels(one) as left, Pixels(other) as right:
        found = _pixels(Comparison(left.path, right.path), left, right)
        headers = left.dataset.header, right.dataset.header
        try:
            elements = list(differing(*headers))
        except DcmtxError as error:
            error.path = error.path or left.path
            raise
        same_syntax = left.dataset.syntax is right.dataset.syntax
        allowed = [_is_allowed(element, *headers, found, same_syntax=same_syntax) for element in elements]
        return found.replace(
            elements=tuple(element for element, may in zip(elements, allowed, strict=True) if not may),
            changed=tuple(element for element, may in zip(elements, allowed, strict=True) if may),
        )


# --- pixels ----------------------------------------------------------------------------------------------------


def _pixels(found: Comparison, left: Pixels, right: Pixels) -> Comparison:
    """Return the comparison with that of the pixels."""
    first, second = left.format, right.format
    if first is None or second is None:
        same = first is second
        return found if same else found.replace(reason=f"only the {'second' if first is None else 'first'} has pixels")
    reason = _incomparable(first, second)
    if reason:
        return found.replace(reason=reason)
    peak = (1 << max(first.stored, second.stored)) - 1
    differences: list[FrameDifference] = []
    notes: dict[str, None] = {}
    squares = 0.0
    for number in range(first.frames):
        measured = _frame(left, right, number, peak, notes)
        if measured is not None:
            squares += measured.squares
            differences.append(FrameDifference(number, measured, psnr=measured.psnr(peak)))
    from dcmtx.pixel.measure import psnr

    total = first.pixels * first.samples * first.frames
    return found.replace(
        frames=first.frames,
        differences=tuple(differences),
        psnr=psnr(squares, total, peak) if differences else None,
        notes=tuple(notes),
    )


def _incomparable(one: PixelFormat, other: PixelFormat) -> str:
    """Return why frames of two formats cannot be compared, or an empty string."""
    for name, label in (("rows", "Rows"), ("columns", "Columns"), ("samples", "samples"), ("frames", "frames")):
        first, second = getattr(one, name), getattr(other, name)
        if first != second:
            return f"{label}: {first} and {second}"
    colours = {one.photometric, other.photometric}
    if len(colours) > 1 and colours != {_RGB, _YBR}:
        return f"Photometric Interpretation: {one.photometric} and {other.photometric}"
    return ""


def _frame(left: Pixels, right: Pixels, number: int, peak: int, notes: dict[str, None]) -> Any:
    """Return the difference of two frames, None if they are equal; what is passed over is added to the notes."""
    from dcmtx.pixel.measure import difference

    words = left.words(number), right.words(number)
    same_colour = _photometric(left) == _photometric(right)
    if same_colour and difference(words[0], words[1], peak) is None:
        return None
    one, other = comparable(left, right, *words)
    measured = difference(one, other, peak)
    if not same_colour:
        notes["YBR_FULL was made RGB, which rounds"] = None
    elif measured is None:
        notes["bits outside Bits Stored differ, or High Bit does"] = None
    return measured


def comparable(left: Pixels, right: Pixels, one: Any, other: Any) -> tuple[Any, Any]:
    """Return the values of two frames' words as they are compared: without unused bits, in one colour space."""
    from dcmtx.pixel import bits, color

    found = []
    to_rgb = _photometric(left) != _photometric(right)
    for side, words in ((left, one), (right, other)):
        fmt = side.format
        assert fmt is not None
        values = bits.stored_values(words, fmt)
        found.append(color.to_rgb(values, fmt) if to_rgb and fmt.photometric == _YBR else values)
    return found[0], found[1]


def _photometric(side: Pixels) -> str:
    return side.format.photometric if side.format is not None else ""


# --- elements --------------------------------------------------------------------------------------------------


def _is_allowed(element: Differing, one: Header, other: Header, found: Comparison, *, same_syntax: bool) -> bool:
    """Tell whether a conversion from one of the files to the other may have changed an element."""
    if element.path and element.tag == _PIXEL_DATA:
        # The pixels of an icon follow the transfer syntax.
        return not same_syntax
    change = conversion.CHANGES.get(element.tag)
    if change is Change.PIXELS:
        # Pixels that are not the same may still be described in other words, those of a lossy coding.
        return not found.reason and (found.pixels_equal or _lost(one, other))
    if change is Change.LOSS:
        return _lost(one, other)
    return change is not None


def _lost(one: Header, other: Header) -> bool:
    """Tell whether one of two data sets records a loss more than the other."""
    records = []
    for header in (one, other):
        history = lossy.read_history(header)
        records.append((header.text(image.LOSSY_IMAGE_COMPRESSION) == "01", len(history.ratios)))
    return records[0] != records[1]


def decibels(psnr: float | None) -> float | None:
    """Return a PSNR for JSON, which has no infinity."""
    return None if psnr is None or math.isinf(psnr) else round(psnr, 4)
