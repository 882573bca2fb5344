"""Plans for files whose pixels are recoded, and for JPEG streams that are recompressed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dcmtx.codec import judges
from dcmtx.codec.judges import NOBODY
from dcmtx.codec.row import Row
from dcmtx.codec.table import DECODERS, ENCODERS
from dcmtx.dataset.edit import Remove
from dcmtx.dataset.element import PIXEL_DATA
from dcmtx.errors import RefusedError, UnsupportedError, UsageError
from dcmtx.finding import Finding
from dcmtx.pixel.format import PixelFormat
from dcmtx.planning import formats
from dcmtx.planning.case import Case
from dcmtx.planning.edits import check_signatures, common_edits, image_edits, signature_edits, table_edits
from dcmtx.planning.plan import Plan
from dcmtx.planning.routes import Route
from dcmtx.policy import Device, EncodingParameters, OffsetTable, Overlays, Uid, Verify
from dcmtx.rules import objects, overlay, photometric
from dcmtx.syntax import JPEG_BASELINE, JPEG_RECOMPRESSION

if TYPE_CHECKING:
    from dcmtx.planning import changes
    from dcmtx.rules import lossy


def must_encode(case: Case) -> bool:
    """Tell whether codestreams in the target syntax must be encoded again.

    They must if `force` or a coding parameter is set, or if loss is requested and they have none yet.
    """
    loses = case.irreversible and not case.has_lost
    return case.policy.force or bool(case.asked) or loses


def recompress(case: Case) -> Plan:
    """Plan to recompress whole JPEG streams as JPEG XL, or to restore them: no pixel is touched, nothing is lost."""
    header, target = case.header, case.target
    _check_recompressible(case)
    declared = case.declared()
    if case.policy.changes_pixels:
        from dcmtx.planning.changes import must_change

        if must_change(case):
            raise RefusedError(
                f"{target.name} keeps JPEG streams bit for bit, and their pixels are asked to change",
                advice="leave --apply-palette, --photometric and --planar out",
                code="E_PHOTOMETRIC",
            )
    colour = photometric.decoded(case.source, declared, case.stream)
    written = declared.replace(photometric=colour.coded)
    photometric.check_legal(target, written)
    check_signatures(header, case.policy)
    row = ENCODERS.choose(JPEG_RECOMPRESSION.uid, JPEG_RECOMPRESSION.label, declared, case.backend.encoder)
    size = max(formats.worst_case(declared), 2 * case.frames.coded_bytes)
    table, fragment_size = formats.settle_fragments(target, case.policy, declared, size)
    undeclared = undeclared_loss(case, declared)
    edits = common_edits(header) | signature_edits(header) | image_edits(header, declared, written)
    edits |= (undeclared.edits if undeclared else {}) | table_edits(table, declared)
    return Plan(
        target,
        Route.RECOMPRESS,
        PIXEL_DATA,
        pixel_vr=b"OB",
        source_format=declared,
        target_format=written,
        encoder=row,
        # What is restored is not encoded.
        judges=NOBODY if case.restores_jpeg else judges.choose(target, declared, row, case.policy.verify),
        table=table,
        fragment_size=fragment_size,
        edits=edits,
        notes=colour.notes + (undeclared.notes if undeclared else ()),
    )


def _check_recompressible(case: Case) -> None:
    """Raise RefusedError for what JPEG XL does not recompress: anything but 8-bit DCT, whatever the syntax declares."""
    stream = case.stream
    if not case.restores_jpeg and case.source is not JPEG_BASELINE:
        what = f"this file is {case.source.label}"
    elif stream is not None and (stream.reversible or stream.precision != 8):
        what = f"its codestream is {'lossless JPEG' if stream.reversible else f'of {stream.precision} bits'}"
    else:
        return
    raise RefusedError(f"{case.target.name} recompresses JPEG Baseline streams, and {what}", code="E_NEEDS_JPEG")


def recode(case: Case) -> Plan:
    """Plan to decode, encode and verify every frame, and to record the changes in the data set."""
    header, target = case.header, case.target
    declared = case.declared()
    word_bytes = formats.word_bytes(header, case.source, declared.allocated, case.policy.word_order)
    colour = photometric.decoded(case.source, declared, case.stream)
    source_format = declared.replace(photometric=colour.coded)
    decoder = _choose_decoder(case, source_format)
    decoded_format = source_format.replace(photometric=colour.plain, planar=0)
    changed, quality = _changed(case, decoded_format, colour.coded), case.quality
    plain = decoded_format
    if changed is not None:
        decoded_format, plain, quality = changed.decoded, changed.format, changed.quality
    plain = case.cropped(plain)
    if case.irreversible:
        objects.check_loss(header, plain)
    encoder_format, unused = formats.settle_bits(target, plain, case.policy.unused_bits)
    if changed is not None and changed.settles:
        unused = case.policy.unused_bits
        encoder_format = encoder_format.replace(high_bit=encoder_format.stored - 1)
    encoder_format = formats.settle_colour(target, encoder_format, irreversible=case.irreversible)
    target_format = encoder_format.replace(
        photometric=photometric.coded(target, encoder_format, source_format, quality)
    )
    if changed is not None:
        from dcmtx.planning.changes import settle_written

        target_format = settle_written(case, changed, encoder_format, target_format)
    formats.check_result(header, target, case.policy, declared=declared, target_format=target_format)
    encoder = _choose_encoder(case, target_format, quality)
    formats.check_resolutions(target, target_format, case.quality)
    formats.check_progression(target, case.quality)
    verified_by = judges.choose(target, target_format, encoder, case.policy.verify)
    second: Row | None = None
    unchecked: tuple[Finding, ...] = ()
    if case.policy.cross_check:
        from dcmtx.planning.crosscheck import settle

        second, verified_by, unchecked = settle(case, source_format, decoder, target_format, encoder)
    check_signatures(header, case.policy)
    overlays = _find_overlays(case, declared, settles=case.cut is not None or (changed is not None and changed.settles))
    undeclared = undeclared_loss(case, declared)
    table, fragment_size = OffsetTable.EMPTY, None
    if target.encapsulated:
        size = formats.worst_case(target_format, case.quality.tile)
        table, fragment_size = formats.settle_fragments(target, case.policy, target_format, size)
    edits = common_edits(header) | signature_edits(header) | image_edits(header, declared, target_format)
    edits |= overlay.extraction(overlays, target_format) | table_edits(table, target_format)
    edits |= (undeclared.edits if undeclared else {}) | (dict(changed.edits) if changed else {})
    vr = formats.pixel_vr(target, target_format)
    plan = Plan(
        target,
        Route.RECODE,
        PIXEL_DATA,
        pixel_vr=vr,
        source_format=source_format,
        decoded_format=decoded_format,
        encoder_format=encoder_format,
        target_format=target_format,
        decoder=decoder,
        encoder=encoder,
        judges=verified_by,
        second=second,
        unused_bits=unused,
        overlays=tuple(overlays),
        palette=changed.palette if changed else None,
        inverts=changed is not None and changed.inverts,
        shares=changed is not None and changed.shares,
        derived=changed.what if changed else "",
        parameters=quality,
        irreversible=case.irreversible,
        lost=case.has_lost,
        exact=_exact_encoder(case, target_format),
        transform=case.stream.transform if case.stream else None,
        word_bytes=word_bytes,
        cut=case.cut,
        table=table,
        fragment_size=fragment_size,
        edits=edits,
        notes=colour.notes
        + (undeclared.notes if undeclared else ())
        + (changed.notes if changed else ())
        + unchecked
        + formats.wide_note(target, target_format.allocated, vr),
    )
    if case.backend.device is not Device.CPU or case.policy.verify is Verify.DEVICE:
        from dcmtx.planning.device import device_notes

        plan = plan.replace(notes=plan.notes + device_notes(case, plan))
    if case.irreversible and undeclared:
        return _derive(case, plan, undeclared.history)
    return _record_change(case, plan) if plan.derived else plan


def _changed(case: Case, decoded: PixelFormat, coded: str) -> changes.Change | None:
    """Return what is asked of decoded words; None where nothing is."""
    if not case.policy.changes_pixels:
        return None
    from dcmtx.planning import changes

    return changes.change(case, changes.shown(case, decoded, coded))


def _record_change(case: Case, plan: Plan) -> Plan:
    """Return the plan with the record of a derivation that is no lossy compression."""
    from dcmtx.rules import derivation

    made = derivation.derive(case.header, case.target, case.quality, case.policy, plan.derived, deciders(plan))
    return plan.replace(edits={**plan.edits, **made.edits}, instance=made.instance, notes=plan.notes + made.notes)


def _choose_decoder(case: Case, fmt: PixelFormat) -> Row:
    if case.backend.device is not Device.CPU:
        from dcmtx.planning.device import choose_decoder

        return choose_decoder(case, fmt)
    return DECODERS.choose(case.source.uid, case.source.label, fmt, case.backend.decoder)


def _choose_encoder(case: Case, fmt: PixelFormat, quality: EncodingParameters) -> Row:
    if case.backend.device is not Device.CPU:
        from dcmtx.planning.device import choose_encoder

        return choose_encoder(case, fmt, quality)
    return ENCODERS.choose(case.target.uid, case.target.label, fmt, case.backend.encoder, quality)


def _exact_encoder(case: Case, target_format: PixelFormat) -> Row | None:
    """Return the lossless encoder for frames that loss would not make smaller; None where there is none."""
    target = case.target
    if not case.irreversible or target.family not in ("j2k", "htj2k"):
        return None
    from dcmtx.codec import rate

    quality = rate.without_loss(case.quality)
    try:
        return _choose_encoder(case, target_format, quality)
    except (UnsupportedError, UsageError):
        return None


def _derive(case: Case, plan: Plan, history: lossy.History) -> Plan:
    from dcmtx.rules import lossy

    # The identity of libraries is only needed to derive a UID.
    decided_by = () if case.policy.uid is Uid.KEEP else deciders(plan)
    if case.policy.photometric is not None:
        decided_by = (*decided_by, case.policy.photometric)
    derivation = lossy.derive(
        case.header, case.target, plan.parameters, case.policy, history, decided_by,
        # The VRs of these attributes hold 16 bits (PS3.6).
        measured=plan.judges.judge is not None and plan.encoder_format is not None and plan.encoder_format.stored <= 16,
        before=plan.derived,
    )  # fmt: skip
    # What a palette said of its indices is gone, and is not measured of colours.
    gone = {tag: edit for tag, edit in plan.edits.items() if isinstance(edit, Remove)}
    return plan.replace(
        edits={**plan.edits, **derivation.edits, **gone},
        instance=derivation.instance,
        notes=plan.notes + derivation.notes,
    )


def undeclared_loss(case: Case, fmt: PixelFormat) -> lossy.UndeclaredLoss | None:
    """Return the losses so far and how to declare them; None where there is no codestream and no loss."""
    if case.stream is None and not case.irreversible:
        return None
    from dcmtx.rules import lossy

    return lossy.undeclared_loss(case.header, case.lost, fmt, case.frames.coded_bytes)


def _find_overlays(case: Case, declared: PixelFormat, *, settles: bool) -> list[overlay.Embedded]:
    """Return the overlays to extract before compression; native targets keep them in the pixels (PS3.5 8.1.2).

    `settles` says that only Bits Stored go on, whatever the target.
    """
    if case.target.family == "native" and not settles:
        return []
    found = overlay.find_embedded(case.header, declared)
    if found and case.target.deflated:
        raise RefusedError(
            f"overlay group {found[0].group:04X} is in the pixels, which are asked to change, and a deflated data set "
            "cannot be given its data afterwards",
            advice="use --to explicit first",
            code="E_OVERLAY",
        )
    if found and case.policy.overlays is Overlays.REFUSE:
        raise RefusedError(
            f"overlay group {found[0].group:04X} is in bit {found[0].bit} of the pixels",
            advice="use --overlays extract",
            code="E_OVERLAY",
        )
    return found


def deciders(plan: Plan) -> tuple[str, ...]:
    """Return what determines the written pixels, apart from the source, the target and the encoding parameters.

    Another version of a library may decode or encode to different pixels.
    """
    backends = [row.identity() for row in (plan.decoder, plan.encoder) if row is not None]
    order = [f"{8 * plan.word_bytes}-bit words"] if plan.word_bytes else []
    derived = [plan.derived] if plan.derived else []
    return (*backends, *([plan.unused_bits.value] if plan.unused_bits else []), *order, *derived)
