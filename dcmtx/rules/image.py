"""The Image Pixel Module in a header, read and checked (PS3.3 C.7.6.3)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from dcmtx.dataset.edit import Set
from dcmtx.dataset.element import tag_text
from dcmtx.dataset.header import Header
from dcmtx.errors import InputError
from dcmtx.finding import Finding, Severity
from dcmtx.pixel.format import SAMPLES, PixelFormat

SAMPLES_PER_PIXEL = 0x00280002
PHOTOMETRIC_INTERPRETATION = 0x00280004
PLANAR_CONFIGURATION = 0x00280006
NUMBER_OF_FRAMES = 0x00280008
ROWS = 0x00280010
COLUMNS = 0x00280011
BITS_ALLOCATED = 0x00280100
BITS_STORED = 0x00280101
HIGH_BIT = 0x00280102
PIXEL_REPRESENTATION = 0x00280103
LOSSY_IMAGE_COMPRESSION = 0x00282110
_DESCRIBING = frozenset(
    [
        SAMPLES_PER_PIXEL, PHOTOMETRIC_INTERPRETATION, PLANAR_CONFIGURATION, NUMBER_OF_FRAMES, ROWS, COLUMNS,
        BITS_ALLOCATED, BITS_STORED, HIGH_BIT, PIXEL_REPRESENTATION,
    ]
)  # fmt: skip
# Families of frames that may be by plane (PS3.5 8.2): all but codestreams of interleaved components.
_BY_PLANE = frozenset(["native", "deflate", "rle"])
# Invalid values of Number of Frames that can only mean 1.
_ONE = r"0+|\+?0*1\.0*|\+?0*1(\\\+?0*1)+"


def correct(header: Header, holds: Callable[[PixelFormat], bool]) -> list[Finding]:
    """Correct attributes that are absent or illegal, if their value is certain, and return notes on them.

    Samples per Pixel is corrected if Photometric Interpretation has one sample, Number of Frames if the bytes are
    exactly one frame: `holds` tells whether the bytes match a format. Anything less certain is left as it is.
    """
    notes = []
    photometric = header.text(PHOTOMETRIC_INTERPRETATION)
    if not header.value(SAMPLES_PER_PIXEL) and SAMPLES.get(photometric) == 1:
        header.corrections[SAMPLES_PER_PIXEL] = Set(SAMPLES_PER_PIXEL, b"US", b"\1\0")
        notes.append(
            Finding(
                "N_SAMPLES",
                f"Samples per Pixel (0028,0002) is absent; taken and written as 1, since {photometric} has one",
                Severity.WARNING,
                tag=0x00280002,
                seen=f"Samples per Pixel (0028,0002) is absent; taken as 1, since {photometric} has one",
            )
        )
    declared = header.text(NUMBER_OF_FRAMES)
    # Compiled when there is something to match: most files have no Number of Frames.
    if declared and re.fullmatch(_ONE, declared):
        header.corrections[NUMBER_OF_FRAMES] = Set(NUMBER_OF_FRAMES, b"IS", b"1 ")
        if _describes(header, holds):
            notes.append(
                Finding(
                    "N_FRAME_COUNT",
                    f"Number of Frames (0028,0008) is '{declared[:16]}'; taken and written as 1, since the bytes are "
                    "one frame",
                    Severity.WARNING,
                    tag=0x00280008,
                    seen=f"Number of Frames (0028,0008) is '{declared[:16]}'; taken as 1, which the bytes are",
                )
            )
        else:
            del header.corrections[NUMBER_OF_FRAMES]
    return notes


def _describes(header: Header, holds: Callable[[PixelFormat], bool]) -> bool:
    try:
        fmt = read_format(header)
        check_format(fmt)
    except InputError:
        return False
    return holds(fmt)


def read_format(header: Header) -> PixelFormat:
    """Return the pixel format that the header describes.

    Absent High Bit, Pixel Representation, Planar Configuration and Number of Frames get the values that almost
    every writer means: Bits Stored - 1, unsigned, by pixel, one.

    Raises InputError (E_INCONSISTENT) if any other attribute is absent, or if one occurs twice.
    """
    _check_unique(header)
    samples = _need(header, SAMPLES_PER_PIXEL, "Samples per Pixel")
    stored = _need(header, BITS_STORED, "Bits Stored")
    photometric = header.text(PHOTOMETRIC_INTERPRETATION)
    if not photometric:
        raise _inconsistent("Photometric Interpretation (0028,0004) is absent", PHOTOMETRIC_INTERPRETATION)
    high_bit = header.number(HIGH_BIT)
    frames = header.integer(NUMBER_OF_FRAMES)
    return PixelFormat(
        rows=_need(header, ROWS, "Rows"),
        columns=_need(header, COLUMNS, "Columns"),
        samples=samples,
        photometric=photometric,
        allocated=_need(header, BITS_ALLOCATED, "Bits Allocated"),
        stored=stored,
        high_bit=stored - 1 if high_bit is None else high_bit,
        signed=header.number(PIXEL_REPRESENTATION) == 1,
        planar=(header.number(PLANAR_CONFIGURATION) or 0) if samples > 1 else 0,
        frames=1 if frames is None else frames,
    )


def _check_unique(header: Header) -> None:
    """Raise InputError, E_INCONSISTENT, for an attribute that occurs twice: readers differ in which one they use."""
    tags = [element.tag for element in (*header.elements, *header.tail) if element.tag in _DESCRIBING]
    for tag in tags:
        if tags.count(tag) > 1:
            raise _inconsistent(f"{tag_text(tag)} stands twice in the data set", tag)


def check_format(fmt: PixelFormat) -> None:
    """Raise InputError, E_INCONSISTENT, if the attributes do not describe an image that the standard allows."""
    if fmt.frames < 1:
        raise _inconsistent(f"Number of Frames (0028,0008) is {fmt.frames}", NUMBER_OF_FRAMES)
    if not fmt.rows or not fmt.columns:
        raise _inconsistent(f"Rows and Columns are {fmt.rows} and {fmt.columns}", ROWS)
    samples = SAMPLES.get(fmt.photometric)
    if samples is None:
        raise _inconsistent(
            f"Photometric Interpretation {fmt.photometric[:20]!r} is not one that can be coded",
            PHOTOMETRIC_INTERPRETATION,
        )
    if fmt.samples != samples:
        raise _inconsistent(
            f"Samples per Pixel is {fmt.samples}, but {fmt.photometric} has {samples}", SAMPLES_PER_PIXEL
        )
    if fmt.allocated != 1 and (fmt.allocated % 8 or not 8 <= fmt.allocated <= 64):
        raise _inconsistent(f"Bits Allocated is {fmt.allocated}, not 1 or a multiple of 8", BITS_ALLOCATED)
    if not 1 <= fmt.stored <= fmt.allocated:
        raise _inconsistent(f"Bits Stored is {fmt.stored}, Bits Allocated {fmt.allocated}", BITS_STORED)
    if not fmt.stored - 1 <= fmt.high_bit < fmt.allocated:
        raise _inconsistent(
            f"High Bit is {fmt.high_bit}, Bits Stored {fmt.stored}, Bits Allocated {fmt.allocated}", HIGH_BIT
        )
    if fmt.signed and (fmt.samples > 1 or fmt.photometric == "PALETTE COLOR"):
        raise _inconsistent(f"Pixel Representation is signed, which {fmt.photometric} cannot be", PIXEL_REPRESENTATION)
    if fmt.samples > 1 and fmt.allocated == 1:
        raise _inconsistent("Bits Allocated is 1, which colour cannot have", BITS_ALLOCATED)
    if fmt.planar not in (0, 1):
        raise _inconsistent(f"Planar Configuration is {fmt.planar}, not 0 or 1", PLANAR_CONFIGURATION)


def _need(header: Header, tag: int, name: str) -> int:
    number = header.number(tag)
    if number is None:
        raise _inconsistent(f"{name} {tag_text(tag)} is absent", tag)
    return number


def _inconsistent(what: str, tag: int) -> InputError:
    return InputError(what, advice="correct the data set first", code="E_INCONSISTENT", tag=tag)


def findings(header: Header, fmt: PixelFormat, family: str) -> Iterator[Finding]:
    """Yield attributes that are legal by themselves and not together; `family` is that of the transfer syntax."""
    if fmt.high_bit != fmt.stored - 1:
        yield Finding(
            "N_HIGH_BIT",
            f"High Bit (0028,0102) is {fmt.high_bit}, and must be Bits Stored - 1, {fmt.stored - 1}",
            Severity.WARNING,
            tag=HIGH_BIT,
        )
    planar = header.number(PLANAR_CONFIGURATION)
    if fmt.samples > 1 and planar is None:
        yield Finding(
            "N_PLANAR", "Planar Configuration (0028,0006) is absent; taken as 0", Severity.WARNING,
            tag=PLANAR_CONFIGURATION,
        )  # fmt: skip
    elif fmt.planar == 1 and family not in _BY_PLANE:
        yield Finding(
            "N_PLANAR", "Planar Configuration (0028,0006) is 1, which codestreams ignore; it must be 0",
            Severity.WARNING, tag=PLANAR_CONFIGURATION,
        )  # fmt: skip
    if fmt.subsampled and fmt.columns % 2 and family in _BY_PLANE:
        yield Finding(
            "N_ODD_COLUMNS", f"YBR_FULL_422 has pixels in pairs, and Columns is {fmt.columns}", Severity.ERROR,
            tag=COLUMNS,
        )  # fmt: skip
