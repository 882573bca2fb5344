"""Plans for files whose pixels stay unchanged, and for files without pixels."""

from __future__ import annotations

from dcmtx.dataset.element import FLOAT_PIXEL_DATA, PIXEL_DATA, Element
from dcmtx.errors import InputError, RefusedError
from dcmtx.finding import Finding, Severity
from dcmtx.planning import formats
from dcmtx.planning.case import Case
from dcmtx.planning.edits import common_edits, table_edits
from dcmtx.planning.plan import Plan
from dcmtx.planning.routes import Route
from dcmtx.policy import NoPixels, WordOrder
from dcmtx.rules import image, objects
from dcmtx.syntax import EXPLICIT, Kind


def without_pixels(case: Case) -> Plan:
    """Plan for a data set without pixels, which encapsulated syntaxes do not allow (PS3.5 A.4)."""
    header = case.header
    edits = common_edits(header)
    if not header.elements:
        raise InputError("there is no data set behind its File Meta Information", code="E_TRUNCATED")
    notes: tuple[Finding, ...] = ()
    if objects.is_image(header):
        if case.source.encapsulated or case.target.encapsulated:
            raise InputError(
                "it is an image without Pixel Data; it is truncated, or was never whole",
                code="E_NO_PIXELDATA",
            )
        notes = (objects.WITHOUT_PIXELS,)
    if not case.target.encapsulated:
        return Plan(case.target, Route.NONE, edits=edits, notes=notes)
    policy = case.policy.no_pixels
    if policy is NoPixels.FAIL:
        raise RefusedError(
            f"it has no pixels, which {case.target.name} needs (PS3.5 A.4)",
            advice="use --to explicit",
            code="E_NO_PIXELDATA",
        )
    why = f"it has no pixels, so it cannot be {case.target.label}"
    if policy is NoPixels.SKIP:
        return Plan(EXPLICIT, Route.SKIP, notes=(Finding("N_NO_PIXELS", f"{why}; skipped"),))
    return Plan(
        EXPLICIT, Route.NONE, edits=edits, notes=(Finding("N_NO_PIXELS", f"{why}; written as {EXPLICIT.name}"),)
    )


def float_pixels(case: Case, pixel: Element) -> Plan:
    """Plan for floating-point pixels, which only native files can hold."""
    if case.target.kind is not Kind.NATIVE:
        raise RefusedError(
            f"its pixels are floating point, which {case.target.name} does not hold (PS3.5 8.2)",
            advice="use --to deflated",
            code="E_FLOAT",
        )
    vr = b"OF" if pixel.tag == FLOAT_PIXEL_DATA else b"OD"
    return Plan(case.target, Route.CARRY, pixel.tag, pixel_vr=vr, edits=common_edits(case.header))


def must_expand(case: Case) -> bool:
    """Tell whether native pixels share chroma illegally: YBR_FULL_422 with an odd number of columns."""
    header = case.header
    shared = header.text(image.PHOTOMETRIC_INTERPRETATION) == "YBR_FULL_422"
    return shared and (header.number(image.COLUMNS) or 0) % 2 == 1


def carry(case: Case, pixel: Element) -> Plan:
    """Plan for native cells that are copied; their attributes need not even make sense."""
    header, target = case.header, case.target
    fmt, fault = case.frames.format, case.frames.fault
    notes: tuple[Finding, ...] = ()
    if fmt is None and fault is not None:
        if fault.tag == image.NUMBER_OF_FRAMES:
            raise fault
        notes = (
            Finding(
                "N_NOT_UNDERSTOOD",
                f"the image is not understood ({fault.what}); its pixels are carried as they are",
                Severity.WARNING,
            ),
        )
    allocated = header.number(image.BITS_ALLOCATED) or 16
    vr = pixel.vr if pixel.vr in (b"OB", b"OW") else b"OW" if allocated > 8 else b"OB"
    if target.encoding.implicit:
        vr = b"OW"
    edits = common_edits(header)
    plan = Plan(
        target, Route.CARRY, PIXEL_DATA, pixel_vr=vr, source_format=fmt, target_format=fmt, edits=edits, notes=notes
    )
    if header.encoding.big_endian and target.encoding.big_endian:
        # The bytes stay in the same order, whatever the word size is.
        known = (
            not formats.is_ambiguous(header, case.source, allocated) or case.policy.word_order is not WordOrder.REFUSE
        )
        return plan.replace(order_known=known)
    return plan.replace(
        word_bytes=formats.word_bytes(header, case.source, allocated, case.policy.word_order),
        notes=notes + formats.wide_note(target, allocated, vr),
    )


def rewrap(case: Case) -> Plan:
    """Plan new fragments for unchanged codestreams: the file has the target syntax, but an option needs a rewrite."""
    fmt = case.declared()
    # Existing codestreams may exceed the worst case of our encoders: they may have padding or extra markers.
    size = max(formats.worst_case(fmt), case.frames.coded_bytes + 8 * fmt.frames)
    table, fragment_size = formats.settle_fragments(case.target, case.policy, fmt, size)
    edits = common_edits(case.header) | table_edits(table, fmt)
    return Plan(
        case.target,
        Route.REWRAP,
        PIXEL_DATA,
        pixel_vr=b"OB",
        source_format=fmt,
        target_format=fmt,
        table=table,
        fragment_size=fragment_size,
        edits=edits,
    )
