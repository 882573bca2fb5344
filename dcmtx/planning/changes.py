"""Pixels that are asked to change: by their palette, in Photometric Interpretation, in Planar Configuration.

Imported only where something of that is asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from dcmtx.dataset.edit import Edit, Remove
from dcmtx.errors import RefusedError
from dcmtx.finding import Finding
from dcmtx.pixel.format import MONOCHROME, PixelFormat
from dcmtx.pixel.palette import Palette
from dcmtx.planning.case import Case
from dcmtx.policy import EncodingParameters, UnusedBits
from dcmtx.record import Record
from dcmtx.rules import derivation, inversion, objects, palette, photometric
from dcmtx.rules.derivation import EXTREMES
from dcmtx.syntax import CELLS, JPEG_BASELINE, Kind

_PALETTE = "PALETTE COLOR"
# What a coded colour is to the encoder that makes it.
_PLAIN = {"YBR_RCT": "RGB", "YBR_ICT": "RGB"}


class Change(Record):
    """What happens to decoded words: `decoded` is their format, `format` that of the changed ones.

    `palette` is applied, `inverts` turns values round, `shares` has each two pixels share their chroma; `what` says in
    words how their meaning changes, and is empty where it does not. `settles` says that only Bits Stored may be in the
    words before. `quality` has the coding parameters, with what the asked colour needs.
    """

    decoded: PixelFormat
    format: PixelFormat
    quality: EncodingParameters
    palette: Palette | None = None
    inverts: bool = False
    what: str = ""
    settles: bool = False
    shares: bool = False
    edits: Mapping[int, Edit] = MappingProxyType({})
    notes: tuple[Finding, ...] = ()


def must_change(case: Case) -> bool:
    """Tell whether something is asked that pixels are not yet; if so, they are coded anew.

    Raises RefusedError for a palette that must not be applied, InputError where the image is not described.
    """
    policy, declared = case.policy, case.declared()
    if policy.apply_palette and palette.is_supplemental(case.header, declared):
        palette.check_applicable(case.header, declared)
    if policy.apply_palette and declared.photometric == _PALETTE:
        return True
    held = photometric.decoded(case.source, declared, case.stream).coded
    if policy.photometric is not None and policy.photometric != held:
        return True
    return _wants_planes(case, declared) and policy.planar != declared.planar


def _wants_planes(case: Case, declared: PixelFormat) -> bool:
    """Tell whether Planar Configuration is asked for, of pixels that have one. Raises RefusedError where none can."""
    if case.policy.planar is None or declared.samples == 1:
        return False
    if case.target.family not in CELLS:
        raise RefusedError(
            f"--planar does not go with {case.target.name}, whose codestreams are by pixel (PS3.5 8.2)",
            advice="leave it out",
            code="E_PLANAR",
        )
    return True


def shown(case: Case, decoded: PixelFormat, coded: str) -> PixelFormat:
    """Return the format that the decoder shall give: YCbCr of lossy JPEG as it is, where that is asked for."""
    wants = case.policy.photometric == "YBR_FULL" and decoded.photometric == "RGB"
    kept = case.stream is not None and case.stream.kind == "jpeg" and coded in ("YBR_FULL", "YBR_FULL_422")
    if wants and kept and case.source.family == "jpeg":
        return decoded.replace(photometric="YBR_FULL")
    return decoded


def change(case: Case, decoded: PixelFormat) -> Change:
    """Return what happens to decoded words of this format.

    Raises RefusedError or InputError where that is unlawful, not exact without consent, or has no sense.
    """
    made = Change(decoded, decoded, case.quality)
    if case.policy.apply_palette and decoded.photometric == _PALETTE:
        made = _coloured(case, decoded)
    wanted = case.policy.photometric
    if wanted is not None:
        made = _recoloured(case, made, wanted)
    if made.what:
        # The bits of a palette's entries are those of its colours, whatever indices have.
        before = decoded.replace(allocated=0) if made.palette else decoded
        derivation.check_derived(case.header, before, made.format)
    if made.what and any(tag in case.header for tag in objects.FUNCTIONAL_GROUPS):
        raise RefusedError(
            "it has functional groups, which have no code for a derivation like that (PS3.3 C.7.6.16.2.6)",
            advice="leave --photometric out",
            code="E_PHOTOMETRIC",
        )
    if made.settles and case.policy.unused_bits is UnusedBits.KEEP:
        raise RefusedError(
            "--unused-bits keep makes whole words values, and only Bits Stored are those of its palette or its window",
            advice="use --unused-bits clear",
            code="E_UNUSED_BITS",
        )
    return made


def _coloured(case: Case, decoded: PixelFormat) -> Change:
    palette.check_applicable(case.header, decoded)
    table, notes = palette.read_palette(case.header)
    fmt = decoded.replace(
        samples=3, photometric="RGB", allocated=table.stored, stored=table.stored, high_bit=table.stored - 1
    )
    what = "palette applied, PALETTE COLOR to RGB"
    return Change(
        decoded,
        fmt,
        case.quality,
        palette=table,
        what=what,
        settles=True,
        edits=palette.palette_edits(case.header),
        notes=notes,
    )


def _recoloured(case: Case, made: Change, wanted: str) -> Change:
    """Return the change with the Photometric Interpretation that is asked for."""
    plain = made.format.photometric
    if wanted == plain:
        return _with_parameters(case, made, wanted)
    if {wanted, plain} <= MONOCHROME:
        edits = inversion.inversion_edits(case.header, made.format)
        fmt = made.format.replace(photometric=wanted)
        return made.replace(
            format=fmt, inverts=True, what=f"pixel values inverted, {plain} to {wanted}", settles=True, edits=edits
        )
    if plain == _PALETTE and made.format.samples == 1:
        raise _no_way(plain, wanted, "use --apply-palette, which makes RGB of it")
    if made.format.samples == 1 or wanted in MONOCHROME:
        raise _no_way(plain, wanted, "leave --photometric out")
    needed, shares = _needed(case, wanted, plain), _shares(case, wanted)
    if needed == plain and not shares:
        return _with_parameters(case, made, wanted)
    became = wanted if shares else needed
    if not case.consents:
        raise RefusedError(
            f"{plain} becomes {became} by rounding (PS3.3 C.7.6.3.1.2)",
            advice="say --lossy to consent, or leave --photometric out",
            code="E_LOSSY",
        )
    stale = {tag: Remove(tag) for tag in EXTREMES if tag in case.header}
    made = made.replace(
        format=made.format.replace(photometric=needed),
        what="; ".join(filter(None, [made.what, f"{plain} to {became}, rounded"])),
        shares=shares,
        settles=True,
        edits={**made.edits, **stale},
    )
    return _with_parameters(case, made, wanted)


def _needed(case: Case, wanted: str, plain: str) -> str:
    """Return the colour that the encoder must be given for the one that is asked for."""
    if wanted == "YBR_FULL_422":
        # JPEG transforms RGB by itself, and shares chroma.
        return plain if case.target is JPEG_BASELINE else "YBR_FULL"
    return _PLAIN.get(wanted, wanted)


def _shares(case: Case, wanted: str) -> bool:
    """Tell whether native pixels that have chroma of their own are asked to share it.

    Raises RefusedError, E_PI, for an odd number of columns, which cannot be paired.
    """
    declared = case.declared()
    if wanted != "YBR_FULL_422" or case.target.family not in CELLS or _shared_before(case, declared):
        return False
    if declared.columns % 2:
        raise RefusedError(
            f"{declared.columns} columns cannot share chroma in pairs (PS3.3 C.7.6.3.1.2)",
            advice="use --photometric YBR_FULL",
            code="E_PI",
        )
    return True


def _shared_before(case: Case, declared: PixelFormat) -> bool:
    return case.source.family in CELLS and declared.subsampled


def _with_parameters(case: Case, made: Change, wanted: str) -> Change:
    """Return the change with the coding parameters that this colour means: JPEG keeps RGB with subsampling 444."""
    if case.target is not JPEG_BASELINE or made.format.samples == 1:
        return made
    if wanted == "RGB":
        if case.quality.subsampling not in (None, "444"):
            raise RefusedError(
                f"--subsampling {case.quality.subsampling} shares chroma, which RGB has not",
                advice="use 444, or leave --photometric out",
                code="E_PI",
            )
        return made.replace(quality=case.quality.replace(subsampling="444"))
    return made


def settle_written(case: Case, made: Change, given: PixelFormat, written: PixelFormat) -> PixelFormat:
    """Return the format of the file: in the colour and order that are asked for; `written` is without them.

    Raises RefusedError, E_PI, where the target cannot have them.
    """
    wanted = case.policy.photometric
    if written.subsampled and case.target.family in CELLS and not _shared_before(case, case.declared()):
        # Only cells that shared chroma share it again without loss.
        written = written.replace(photometric=given.photometric)
    if made.shares:
        written = written.replace(photometric="YBR_FULL_422")
    if wanted is not None and wanted != written.photometric:
        if wanted != given.photometric:
            raise RefusedError(
                f"Photometric Interpretation in {case.target.name} would be {written.photometric}, not {wanted}",
                advice="leave --photometric out",
                code="E_PI",
            )
        written = written.replace(photometric=wanted)
    if not _wants_planes(case, written):
        # What is written anew otherwise has colour by pixel; native pixels that stay native keep their order.
        declared = case.declared()
        both = case.source.kind is Kind.NATIVE and case.target.kind is Kind.NATIVE
        keeps = both and declared.samples == written.samples
        return written.replace(planar=declared.planar) if keeps and not written.subsampled else written
    if written.subsampled and case.policy.planar == 1:
        raise RefusedError(
            "pixels that share chroma are by pixel (PS3.3 C.7.6.3.1.3)", advice="use --photometric too", code="E_PLANAR"
        )
    return written.replace(planar=case.policy.planar)


def _no_way(plain: str, wanted: str, advice: str) -> RefusedError:
    return RefusedError(f"{plain} cannot become {wanted}", advice=advice, code="E_PHOTOMETRIC")
