"""Plans for a part of an image: rows and columns are cut from decoded frames, or frames alone are taken."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dcmtx.codec.table import ENCODERS
from dcmtx.dataset.edit import Replace
from dcmtx.dataset.element import DOUBLE_FLOAT_PIXEL_DATA, FLOAT_PIXEL_DATA
from dcmtx.dataset.header import Header
from dcmtx.errors import InputError, RefusedError, UnsupportedError
from dcmtx.finding import Finding, Severity
from dcmtx.pixel.format import PixelFormat
from dcmtx.planning import planner
from dcmtx.planning.carrying import rewrap
from dcmtx.planning.case import Case
from dcmtx.planning.edits import check_signatures, common_edits, signature_edits
from dcmtx.planning.overlay_data import OverlayData
from dcmtx.planning.plan import Plan
from dcmtx.planning.recoding import deciders, must_encode, recode, recompress, undeclared_loss
from dcmtx.planning.request import Request, Target
from dcmtx.policy import Cut, Removal
from dcmtx.rules import crop, image, objects
from dcmtx.rules.groups import CutGroups, NewOrganizations, Ranks, group_edits, home
from dcmtx.rules.lossy import METHODS
from dcmtx.rules.overlay_cut import cut_overlays
from dcmtx.rules.part import Part
from dcmtx.rules.removal import Remover
from dcmtx.syntax import BY_UID, CELLS, JPEG_RECOMPRESSION, Kind, Loss, Syntax, find_family

if TYPE_CHECKING:
    from dcmtx.planning.inputs import DataSet, Frames

_FLOAT_VRS = {FLOAT_PIXEL_DATA: b"OF", DOUBLE_FLOAT_PIXEL_DATA: b"OD"}
_NOTHING_CUT = Finding("N_NOT_CROPPED", "the part is the whole image, so nothing is derived and no UID changes")


def make(dataset: DataSet, frames: Frames, request: Request, *, inside: bool = True) -> Plan:
    """Return the complete plan for the part of a file's image that the request names.

    The target is that of the request. Where it names none, it is the syntax of the file, or its lossless relative.

    Raises InputError for damaged pixels; RefusedError for a part that the image has not, and where none can be made.
    """
    header = dataset.header
    objects.check_object(header)
    _check_pixels(header)
    crop.check_whole(header)
    if dataset.syntax.kind not in (Kind.NATIVE, Kind.FRAMES):
        raise UnsupportedError(
            f"dcmtx does not decode {dataset.syntax.name} ({dataset.syntax.uid}); such files can only be copied",
            code="E_UNSUPPORTED_TS",
        )
    if _is_float(header):
        frames = frames.as_words(_float_format(header))
    frames.check()
    declared = frames.format
    if declared is None or request.cut is None:
        raise InputError("its pixels are not described", code="E_INCONSISTENT")
    asked = request.cut
    cut = asked.resolve(declared.rows, declared.columns, declared.frames)
    in_plane = (cut.rows, cut.columns) != (declared.rows, declared.columns)
    target = request.target
    if not target.syntaxes:
        syntax = _relative(dataset.syntax) if in_plane else dataset.syntax
        target = Target(syntax.label, (syntax,))
    request = request.replace(target=target)
    if not in_plane and cut.frames == declared.frames:
        policy = request.policy.replace(remove=Removal.NONE)
        plan = planner.make(dataset, frames, request.replace(cut=None, policy=policy), inside=inside)
        return plan.replace(notes=(*plan.notes, _NOTHING_CUT))
    if dataset.syntax.encapsulated:
        # The whole is read too: what is wrong with its end does not show in a part.
        frames.first_stream()
    job = _Cropping(dataset, asked, cut, declared=declared)
    part = frames.part(cut.first, cut.frames)
    plan = planner.make(dataset, part, request.replace(cut=cut), inside=inside, plan_case=job.plan)
    tallies = [_Told(tally) if isinstance(tally, Remover) else tally for tally in plan.tallies]
    return plan.replace(tallies=(*tallies, *job.tallies))


class _Told:
    """What is told of removed elements: nothing where there were none, since nobody asked for it."""

    def __init__(self, remover: Remover) -> None:
        self._remover = remover

    def notes(self) -> tuple[Finding, ...]:
        """Return how many elements were left out."""
        return self._remover.notes() if self._remover.count else ()


def _check_pixels(header: Header) -> None:
    """Raise RefusedError where there are no frames."""
    if header.pixel is None:
        raise RefusedError("it has no pixels, so there is nothing to crop", code="E_NO_PIXELDATA")


def _is_float(header: Header) -> bool:
    return header.pixel is not None and header.pixel.tag in _FLOAT_VRS


def _float_format(header: Header) -> PixelFormat:
    """Return the format of words that have the bits of floating point numbers (PS3.3 C.7.6.24)."""
    rows, columns = header.number(image.ROWS) or 0, header.number(image.COLUMNS) or 0
    allocated = 32 if header.pixel is not None and header.pixel.tag == FLOAT_PIXEL_DATA else 64
    fmt = PixelFormat(
        rows=rows,
        columns=columns,
        samples=1,
        photometric=header.text(image.PHOTOMETRIC_INTERPRETATION),
        allocated=allocated,
        stored=allocated,
        high_bit=allocated - 1,
        signed=False,
        frames=header.integer(image.NUMBER_OF_FRAMES) or 1,
    )
    image.check_format(fmt)
    return fmt


def _relative(source: Syntax) -> Syntax:
    """Return the syntax that pixels of a source are written in again without loss."""
    if source.loss in (Loss.NONE, Loss.LOSSLESS) and source is not JPEG_RECOMPRESSION:
        relative = source
    else:
        family = find_family(source.family)
        relative = source if family is None else BY_UID[family.lossless]
    if not ENCODERS.rows(relative.uid):
        raise UnsupportedError(
            f"dcmtx does not write {relative.name} ({relative.uid})",
            advice="name another syntax with --to",
            code="E_UNSUPPORTED_TS",
        )
    return relative


class _Cropping:
    """The planning of one part, for any target: `asked` is the part as it was named, `cut` is resolved."""

    def __init__(self, dataset: DataSet, asked: Cut, cut: Cut, *, declared: PixelFormat) -> None:
        self._dataset = dataset
        self._asked = asked
        self._cut = cut
        self._declared = declared
        self.tallies: tuple[CutGroups, ...] = ()
        self._in_plane = (cut.rows, cut.columns) != (declared.rows, declared.columns)

    def plan(self, case: Case) -> Plan:
        """Return the plan for one target syntax."""
        header, cut = case.header, self._cut
        check_signatures(header, case.policy)
        if not case.restores_jpeg:
            planner.check_target(case.target, case.quality)
        plan = self._of_pixels(case)
        target = plan.syntax.encoding
        part = self._part(case, plan)
        edits = {**common_edits(header), **plan.edits, **signature_edits(header)}
        whole = crop.Crop(header, cut, self._declared.frames, target=target)
        edits |= whole.edits()
        overlays = cut_overlays(header, cut, plan.overlays)
        edits |= overlays.edits
        edits |= {plane.tag: Replace(plane.tag, OverlayData(header, plane, target)) for plane in overlays.planes}
        fewer = cut.frames != self._declared.frames
        ranks = Ranks(header, cut) if fewer and home(header) is not None else None
        grouped = home(header) is not None
        edits |= part.edits(case.policy, ranks, whole_in_plane=not self._in_plane, grouped=grouped)
        change = CutGroups(header, cut, target, ranks=ranks, derivation=part.of_frame)
        self.tallies = (change,)
        organizations = NewOrganizations(f"dimensions {part.instance}", target) if ranks is not None else None
        edits |= group_edits(header, change, organizations)
        notes = plan.notes + whole.notes() + _damaged(overlays.damaged)
        return plan.replace(edits=edits, instance=part.instance, notes=notes, cut=cut)

    def _of_pixels(self, case: Case) -> Plan:
        """Return the plan of the pixels: codestreams are copied where only frames are taken."""
        source, target = case.source, case.target
        if not self._in_plane:
            if source is target and target.encapsulated and not must_encode(case):
                plan = rewrap(case)
                undeclared = undeclared_loss(case, case.declared())
                if undeclared is None:
                    return plan
                return plan.replace(edits={**plan.edits, **undeclared.edits}, notes=plan.notes + undeclared.notes)
            if target is JPEG_RECOMPRESSION or case.restores_jpeg:
                return recompress(case)
        if target is JPEG_RECOMPRESSION:
            raise RefusedError(
                f"{target.name} keeps JPEG streams bit for bit, and a part is not one",
                advice="use --to jpegxl",
                code="E_NEEDS_JPEG",
            )
        pixel = case.header.pixel
        if pixel is not None and pixel.tag in _FLOAT_VRS:
            if target.kind is not Kind.NATIVE:
                raise RefusedError(
                    f"its pixels are floating point, which {target.name} does not hold (PS3.5 8.2)",
                    advice="use --to deflated",
                    code="E_FLOAT",
                )
            return recode(case).replace(pixel_tag=pixel.tag, pixel_vr=_FLOAT_VRS[pixel.tag])
        plan = recode(case)
        self._check_pairs(plan)
        return self._banded(case, plan)

    def _banded(self, case: Case, plan: Plan) -> Plan:
        """Return the plan with formats that have only the rows of the part, where only these need be read."""
        fmt = self._declared
        by_plane = fmt.samples > 1 and fmt.planar == 1
        if case.source.kind is not Kind.NATIVE or fmt.allocated % 8 or by_plane or plan.overlays or fmt.columns % 2:
            return plan
        source, decoded = plan.source_format, plan.decoded_format
        if source is None or decoded is None:
            return plan
        rows = self._cut.rows
        return plan.replace(source_format=source.replace(rows=rows), decoded_format=decoded.replace(rows=rows))

    def _check_pairs(self, plan: Plan) -> None:
        """Raise RefusedError, E_PI, where pixels that share chroma in pairs would be parted."""
        source, written = plan.source_format, plan.target_format
        if source is None or written is None or plan.syntax.family not in CELLS:
            return
        shared = self._dataset.syntax.family in CELLS and source.subsampled
        if not (shared or written.subsampled) or self._cut.columns == self._declared.columns:
            return
        if self._cut.left % 2 or self._cut.columns % 2:
            raise RefusedError(
                f"columns {self._cut.left}:{self._cut.right} part pixels that share chroma in pairs",
                advice="begin and end at even columns, or use --to jpegls or j2k",
                code="E_PI",
            )

    def _part(self, case: Case, plan: Plan) -> Part:
        """Return how the part tells what it was made from."""
        inexact = case.stream is not None and not case.stream.reversible and plan.decoder is not None
        others: tuple[str, ...] = ()
        if plan.irreversible:
            parameters = ",".join(f"{name}={value}" for name, value in case.quality.items() if value is not None)
            others = (plan.syntax.uid, parameters, *deciders(plan))
        elif inexact and plan.decoder is not None:
            # Another library may decode a lossy codestream to other pixels.
            others = (plan.decoder.identity(),)
        if plan.word_bytes:
            others = (*others, f"{8 * plan.word_bytes}-bit words")
        fmt, asked = self._declared, self._asked
        name = " ".join(
            f"{start}:{'' if end is None else end}"
            for start, end in ((asked.top, asked.bottom), (asked.left, asked.right), (asked.first, asked.end))
        )
        return Part(
            case.header,
            self._cut,
            fmt.frames,
            what=crop.in_words(self._cut, fmt.rows, fmt.columns, fmt.frames),
            name=name,
            others=others,
            method=METHODS[plan.syntax.family][1] if plan.irreversible else "",
        )


def _damaged(groups: tuple[int, ...]) -> tuple[Finding, ...]:
    """Return notes on overlays that are not understood, and so cannot be cut."""
    return tuple(
        Finding(
            "N_CROP",
            f"left out overlay group {group:04X}: its data is not what its size says",
            Severity.WARNING,
            tag=group << 16 | 0x3000,
        )
        for group in groups
    )
