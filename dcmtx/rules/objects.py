"""Objects that are not ordinary images, and what their definitions forbid."""

from __future__ import annotations

import re
from collections.abc import Iterator

from dcmtx.dataset.header import Header
from dcmtx.errors import RefusedError, UnsupportedError
from dcmtx.finding import Finding, Severity
from dcmtx.pixel.format import PixelFormat
from dcmtx.record import Record
from dcmtx.rules.image import COLUMNS, ROWS
from dcmtx.syntax import Syntax

SOP_CLASS_UID = 0x00080016
PROVIDER_URL = 0x00287FE0
DIRECTORY_RECORDS = 0x00041220
DIGITAL_SIGNATURES = 0xFFFAFFFA
MAC_PARAMETERS = 0x4FFE0001
SIGNATURES = (DIGITAL_SIGNATURES, MAC_PARAMETERS)
FUNCTIONAL_GROUPS = (0x52009229, 0x52009230)

WITHOUT_PIXELS = Finding("N_NO_PIXEL_DATA", "it is an image without Pixel Data", Severity.WARNING, tag=0x7FE00010)
MEDIA_STORAGE_DIRECTORY = "1.2.840.10008.1.3.10"
STORAGE = "1.2.840.10008.5.1.4.1.1"
# The pixel values of these are measurements or labels, so any change of a value changes the meaning.
QUANTITATIVE: dict[str, str] = {
    f"{STORAGE}.66.4": "a Segmentation",
    f"{STORAGE}.66.7": "a Label Map Segmentation",
    f"{STORAGE}.30": "a Parametric Map",
    f"{STORAGE}.481.2": "an RT Dose",
}


# PS3.4 B.5: the last components of the storage SOP Classes of images, which always have Pixel Data.
# An RT Dose has it only if its doses are a grid; then it has Rows and Columns too (PS3.3 A.18.3).
_IMAGES = (
    r"1(\.\d+)*|2|2\.[12]|3\.1|4|4\.[134]|6\.[12]|7|7\.[1-4]|12\.[12](\.1)?|13\.1\.\d|14\.[12]|20|30|66\.[47]|"
    r"77\.1\.(?!5\.3$)[\d.]+|128|128\.1|130|481\.1"
)


class Definition(Record):
    """The restrictions of an Information Object Definition beyond those of the transfer syntax."""

    classes: tuple[str, ...]
    section: str
    photometric: frozenset[str] = frozenset()
    allocated: frozenset[int] = frozenset()


VL = frozenset(["MONOCHROME2", "RGB", "YBR_FULL_422", "YBR_PARTIAL_420", "YBR_RCT", "YBR_ICT", "XYB"])
DEFINITIONS: tuple[Definition, ...] = (
    Definition((f"{STORAGE}.2",), "PS3.3 C.8.2.1.1", allocated=frozenset([16])),
    Definition((f"{STORAGE}.4",), "PS3.3 C.8.3.1.1", allocated=frozenset([16])),
    Definition((f"{STORAGE}.128",), "PS3.3 C.8.9.4.1", allocated=frozenset([16])),
    Definition((f"{STORAGE}.7.3",), "PS3.3 A.8.4.4", allocated=frozenset([16])),
    Definition((f"{STORAGE}.7.4",), "PS3.3 A.8.5.4", VL - {"MONOCHROME2"}),
    Definition(tuple(f"{STORAGE}.77.1.{last}" for last in ("1", "2", "3", "4", "7")), "PS3.3 C.8.12.1.1.1", VL),
    Definition((f"{STORAGE}.77.1.6",), "PS3.3 C.8.12.4.1.5", VL - {"YBR_PARTIAL_420"}),
)


def is_image(header: Header) -> bool:
    """Tell whether the object should have Pixel Data: by its SOP Class, or because it describes pixels."""
    if ROWS in header and COLUMNS in header:
        return True
    uid = header.text(SOP_CLASS_UID)
    return uid.startswith(f"{STORAGE}.") and re.fullmatch(_IMAGES, uid[len(STORAGE) + 1 :]) is not None


def is_signed(header: Header) -> bool:
    """Tell whether the data set has digital signatures (PS3.3 C.12.1.1.3)."""
    return any(tag in header for tag in SIGNATURES)


def check_object(header: Header) -> None:
    """Raise RefusedError or UnsupportedError for objects that no pixel codec can convert."""
    directory = header.text(SOP_CLASS_UID) == MEDIA_STORAGE_DIRECTORY or DIRECTORY_RECORDS in header
    if directory:
        raise RefusedError(
            "it is a DICOMDIR, always Explicit VR Little Endian, whose records point at one another by offsets in the "
            "file (PS3.10 8.6)",
            advice="make a new one instead",
            code="E_DICOMDIR",
        )
    if PROVIDER_URL in header:
        raise UnsupportedError(
            "its pixels are elsewhere, at a Pixel Data Provider URL", advice="fetch them first", code="E_UNSUPPORTED_TS"
        )


def check_loss(header: Header, fmt: PixelFormat) -> None:
    """Raise RefusedError, E_LOSSY_FORBIDDEN, if any loss would change the meaning of these pixels."""
    what = QUANTITATIVE.get(header.text(SOP_CLASS_UID))
    if what is None and fmt.photometric == "PALETTE COLOR":
        what = "PALETTE COLOR"
    if what is None and fmt.allocated == 1:
        what = "1-bit"
    if what is not None:
        raise RefusedError(
            f"it is {what}, whose values mean something only if they are exact", code="E_LOSSY_FORBIDDEN"
        )


def check_definition(header: Header, declared: PixelFormat, written: PixelFormat) -> None:
    """Raise RefusedError, E_IOD, if the object's definition forbids a value that the conversion would write."""
    check_rows(header, DEFINITIONS, declared, written)


def check_rows(
    header: Header, definitions: tuple[Definition, ...], declared: PixelFormat, written: PixelFormat
) -> None:
    """Raise RefusedError, E_IOD, if one of these definitions is the object's, and forbids a value that is new."""
    before = {name: value for name, value, _ in _restricted(declared)}
    for name, value, section in forbidden(header, written, definitions):
        if before[name] != value:
            raise RefusedError(
                f"{name} would become {value}, which its object definition does not allow ({section})", code="E_IOD"
            )


def forbidden(
    header: Header, fmt: PixelFormat, definitions: tuple[Definition, ...] | None = None
) -> Iterator[tuple[str, str | int, str]]:
    """Yield what the definition of the object forbids of a format: the attribute, its value, and the section."""
    uid = header.text(SOP_CLASS_UID)
    for row in DEFINITIONS if definitions is None else definitions:
        if uid in row.classes:
            for name, value, field in _restricted(fmt):
                allowed = getattr(row, field)
                if allowed and value not in allowed:
                    yield name, value, row.section


def _restricted(fmt: PixelFormat) -> Iterator[tuple[str, str | int, str]]:
    """Yield the attributes that definitions restrict: name, value, and the field of Definition."""
    yield "Photometric Interpretation", fmt.photometric, "photometric"
    yield "Bits Allocated", fmt.allocated, "allocated"


def object_findings(header: Header, fmt: PixelFormat | None) -> Iterator[Finding]:
    """Yield an image without pixels, and what the definition of the object does not allow."""
    if header.pixel is None and PROVIDER_URL not in header and is_image(header):
        yield WITHOUT_PIXELS
    if fmt is None:
        return
    for name, value, section in forbidden(header, fmt):
        yield Finding(
            "N_IOD", f"{name} is {value}, which its object definition does not allow ({section})", Severity.WARNING
        )


def retired(syntax: Syntax) -> tuple[Finding, ...]:
    """Return a note on a transfer syntax that is retired."""
    if not syntax.retired:
        return ()
    return (Finding("N_RETIRED", f"{syntax.name} is retired; few programs still read it"),)
