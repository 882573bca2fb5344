"""The Photometric Interpretation of pixels after decoding and after encoding. These rules are only here.

Sources: PS3.3 C.7.6.3.1.2; PS3.5 8.2 and 8.2.1 to 8.2.4.
"""

from __future__ import annotations

from dcmtx.errors import InputError, RefusedError, UnsupportedError
from dcmtx.finding import Finding, Severity
from dcmtx.pixel.codestream import Codestream, Transform
from dcmtx.pixel.format import PixelFormat
from dcmtx.policy import EncodingParameters
from dcmtx.record import Record
from dcmtx.syntax import CELLS, JPEG_BASELINE, Legal, Syntax

_JPEG_2000 = frozenset(["j2k", "htj2k"])
_JFIF_NOTE = Finding(
    "N_JFIF",
    "Photometric Interpretation is RGB, but the codestream is JFIF, which has no RGB; taken as RGB",
    Severity.WARNING,
    tag=0x00280004,
)

_TRANSFORMED = frozenset(["YBR_RCT", "YBR_ICT"])


class Colour(Record):
    """The colour in a codestream (`coded`), the colour it decodes to by default (`plain`), and notes."""

    coded: str
    plain: str
    notes: tuple[Finding, ...] = ()


def decoded(syntax: Syntax, fmt: PixelFormat, stream: Codestream | None) -> Colour:
    """Return the colour of a source: the stream overrides the tag; the tag decides what the stream does not tell.

    Raises InputError if the tag names a colour that this syntax cannot hold and nothing tells what is meant.
    """
    declared = fmt.photometric
    if fmt.samples == 1:
        return Colour(declared, declared)
    if stream is not None and syntax.family in _JPEG_2000:
        return _jpeg_2000(declared, stream)
    if stream is not None and stream.kind == "jpeg" and not stream.lossless_process:
        return _jpeg(declared, stream)
    if syntax.family == "jpegxl":
        # A recompressed stream is JPEG, whose YBR decodes to RGB; JPEG XL itself always decodes to RGB.
        return Colour(declared, "RGB")
    if declared in _TRANSFORMED or declared in ("YBR_PARTIAL_420", "XYB"):
        raise InputError(
            f"Photometric Interpretation {declared} cannot be in {syntax.name}",
            advice="correct (0028,0004) first",
            code="E_INCONSISTENT",
            tag=0x00280004,
        )
    if declared == "YBR_FULL_422" and syntax.family in CELLS:
        # Native cells that share chroma are expanded when they are decoded (PS3.5 8.2.2 to 8.2.4 list no 4:2:2).
        return Colour(declared, "YBR_FULL")
    if declared == "YBR_FULL_422":
        return _unshared(stream)
    jfif = stream is not None and stream.jfif and declared == "RGB"
    return Colour(declared, declared, (_JFIF_NOTE,) if jfif else ())


def _unshared(stream: Codestream | None) -> Colour:
    """Return the colour of a codestream whose tag says YBR_FULL_422, but whose coding stores samples untransformed.

    Only sampling factors tell whether chroma is shared; in either case every decoded pixel has its own chroma.
    """
    if stream is not None and stream.subsampled:
        return Colour("YBR_FULL", "YBR_FULL")
    note = Finding(
        "N_PHOTOMETRIC",
        "Photometric Interpretation is YBR_FULL_422, but the codestream shares no chroma; taken as YBR_FULL",
        Severity.WARNING,
        tag=0x00280004,
    )
    return Colour("YBR_FULL", "YBR_FULL", (note,))


def _jpeg_2000(declared: str, stream: Codestream) -> Colour:
    """Return the colour by the component transform of the stream, which decoding undoes (PS3.5 8.2.4)."""
    if stream.transform is Transform.NONE:
        if declared in _TRANSFORMED:
            note = Finding(
                "N_PHOTOMETRIC",
                f"Photometric Interpretation is {declared}, but the codestream has no component transform; taken as "
                "RGB",
                Severity.WARNING,
                tag=0x00280004,
            )
            return Colour("RGB", "RGB", (note,))
        return _unshared(stream) if declared == "YBR_FULL_422" else Colour(declared, declared)
    real = "YBR_RCT" if stream.transform is Transform.RCT else "YBR_ICT"
    if declared == real:
        return Colour(real, "RGB")
    return Colour(
        real,
        "RGB",
        (
            Finding(
                "N_PHOTOMETRIC",
                f"Photometric Interpretation is {declared}, but the codestream is {real}; decoded as that",
                Severity.WARNING,
                tag=0x00280004,
            ),
        ),
    )


def _jpeg(declared: str, stream: Codestream) -> Colour:
    """Return the colour by the tag unless the stream contradicts it: JPEG names no colour space (PS3.5 8.2.1)."""
    rgb = declared == "RGB"
    if stream.transform is Transform.NONE and not rgb:
        note = Finding(
            "N_PHOTOMETRIC",
            f"Photometric Interpretation is {declared}, but the codestream is marked as RGB; decoded as that",
            Severity.WARNING,
            tag=0x00280004,
        )
        return Colour("RGB", "RGB", (note,))
    if rgb and stream.transform is Transform.YCC:
        note = Finding(
            "N_PHOTOMETRIC",
            "Photometric Interpretation is RGB, but the codestream is marked as YCbCr; decoded as that",
            Severity.WARNING,
            tag=0x00280004,
        )
        return Colour("YBR_FULL", "RGB", (note,))
    if rgb and stream.transform is Transform.UNSAID and stream.subsampled:
        note = Finding(
            "N_PHOTOMETRIC",
            "Photometric Interpretation is RGB, but the codestream shares chroma, so it is YCbCr; decoded as that",
            Severity.WARNING,
            tag=0x00280004,
        )
        return Colour("YBR_FULL_422", "RGB", (note,))
    return Colour(declared, "RGB", (_JFIF_NOTE,) if rgb and stream.jfif else ())


def coded(syntax: Syntax, given: PixelFormat, held: PixelFormat, quality: EncodingParameters) -> str:
    """Return the Photometric Interpretation of what an encoder of this syntax stores for pixels of format `given`.

    JPEG 2000 transforms RGB, reversibly or not. Lossy JPEG shares chroma; with subsampling 444, RGB is not transformed
    at all, because the standard's table has no other YBR. Native cells that shared chroma share it again: `held` is the
    format that the source really has, as `decoded` returns it, not what its tag says.
    """
    plain = given.photometric
    if syntax.family in _JPEG_2000 and plain == "RGB":
        return "YBR_ICT" if quality.lossy else "YBR_RCT"
    if syntax is JPEG_BASELINE and plain in ("RGB", "YBR_FULL"):
        return "RGB" if plain == "RGB" and quality.subsampling == "444" else "YBR_FULL_422"
    if syntax.family in CELLS and held.subsampled and plain == "YBR_FULL" and given.columns % 2 == 0:
        return "YBR_FULL_422"
    return plain


def check_proven(syntax: Syntax, fmt: PixelFormat) -> None:
    """Raise UnsupportedError, E_UNVERIFIED, for formats of JPEG XL that are not proven to be read alike everywhere."""
    if fmt.samples == 1 and (fmt.signed or fmt.photometric == "PALETTE COLOR" or fmt.allocated not in (8, 16)):
        what = "signed" if fmt.signed else fmt.photometric if fmt.allocated in (8, 16) else f"{fmt.allocated}-bit"
        raise UnsupportedError(
            f"{what} pixels in {syntax.name} are not proven to be read alike everywhere", code="E_UNVERIFIED"
        )


def check_legal(syntax: Syntax, fmt: PixelFormat, *, one_bit: bool = False) -> None:
    """Raise RefusedError unless a row of the standard's table for this syntax allows these attributes.

    The code is E_PI, E_BITS or E_SIGN, by the objection of the nearest row. `one_bit` admits rows that older readers do
    not expect.
    """
    legal = syntax.legal + (syntax.one_bit if one_bit else ())
    rows = [row for row in legal if fmt.photometric in row.photometric]
    if not rows:
        allowed = ", ".join(dict.fromkeys(name for row in syntax.legal for name in row.photometric))
        raise _refused(syntax, f"holds no {fmt.photometric}, only {allowed}", syntax.section, "E_PI")
    objections = [objection for row in rows if (objection := _objection(row, fmt)) is not None]
    if len(objections) < len(rows):
        return
    # The row of the same Bits Allocated, if there is one, has the most relevant objection.
    what, code, section = objections[-1 if fmt.allocated in rows[-1].allocated else 0]
    if fmt.allocated == 1 and syntax.one_bit and not one_bit:
        what += " (unless --one-bit allow)"
    raise _refused(syntax, what, section, code)


def _objection(row: Legal, fmt: PixelFormat) -> tuple[str, str, str] | None:
    if fmt.allocated not in row.allocated:
        allowed = ", ".join(map(str, row.allocated))
        return f"holds {fmt.photometric} of Bits Allocated {allowed}, not {fmt.allocated}", "E_BITS", row.section
    low, high = row.stored
    if not low <= fmt.stored <= high:
        allowed = str(low) if low == high else f"{low} to {high}"
        return f"holds {fmt.photometric} of Bits Stored {allowed}, not {fmt.stored}", "E_BITS", row.section
    if fmt.signed and not row.signed:
        return f"holds no signed {fmt.photometric}", "E_SIGN", row.section
    return None


def _refused(syntax: Syntax, what: str, section: str, code: str) -> RefusedError:
    where = section if section.startswith("PS3") else f"PS3.5 {section}"
    return RefusedError(f"{syntax.name} {what} ({where})", code=code)
