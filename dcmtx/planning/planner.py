"""Request and header to Plan, or a refusal, before any pixel moves.

A plan says which backends decode and encode, what happens to each frame in between, and which elements of the data
set change. It is made of the header and of what the first codestream says of itself; it touches no pixel.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from dcmtx.codec.registry import Row
from dcmtx.codec.table import DECODERS, ENCODERS
from dcmtx.dataset.edit import Edit, Remove, Reserve, Set
from dcmtx.dataset.element import DOUBLE_FLOAT_PIXEL_DATA, FLOAT_PIXEL_DATA, PIXEL_DATA, TRAILING_PADDING, tag_text
from dcmtx.dataset.header import Header
from dcmtx.dataset.meta import SOP_INSTANCE_UID
from dcmtx.errors import DcmtxError, InputError, RefusedError, UnsupportedError, UsageError
from dcmtx.pixel.encapsulation import choose_table
from dcmtx.pixel.format import PixelFormat
from dcmtx.planning.plan import Contents, Plan, Route
from dcmtx.planning.request import Request, resolve
from dcmtx.policy import (
    EncodingParameters,
    Icon,
    NoPixels,
    OffsetTable,
    OneBit,
    Overlays,
    Policy,
    Signatures,
    Uid,
    UnusedBits,
    WordOrder,
)
from dcmtx.rules import identity, image, objects, overlay, photometric
from dcmtx.syntax import EXPLICIT, JPEG_BASELINE, JPEG_RECOMPRESSION, ROOT, Kind, Loss, Syntax

if TYPE_CHECKING:
    from dcmtx.rules import lossy

LARGEST_NATIVE = 0xFFFFFFFE

ICON_IMAGE_SEQUENCE = 0x00880200
_OFFSETS = 0x7FE00001
_OFFSET_LENGTHS = 0x7FE00002
_TOTAL_LENGTH = 0x7FE00003

_JPEG_EXTENDED = f"{ROOT}.4.51"
_HTJ2K_RPCL = f"{ROOT}.4.202"
# What a tile of one component takes in a codestream, whatever is in it, at most.
_TILE_BYTES = 160
# PS3.5 10.18: the lowest resolution of .202 has at most this many rows and columns.
_LOWEST_RESOLUTION = 64
_JPEG_XL = frozenset([f"{ROOT}.4.110", f"{ROOT}.4.112"])


def make(syntax_in: Syntax, header: Header, contents: Contents, request: Request) -> Plan:
    """Return the plan for one file.

    `header` is closed (its tail is indexed). Follows the decision table: the first condition that matches decides. A
    target of several syntaxes, a family with loss, is the first of them that takes the file.

    Raises InputError, UnsupportedError, RefusedError or UsageError, with the codes of the table.
    """
    errors: list[DcmtxError] = []
    for target in request.target.syntaxes:
        try:
            plan = _Planner(syntax_in, header, contents, target, request).plan()
        except (RefusedError, UnsupportedError) as error:
            errors.append(error)
            continue
        return _finish(plan, header, request)
    refusal = errors[-1 if header.number(image.SAMPLES_PER_PIXEL) == 1 else 0]
    if refusal.code in _SUGGESTED and request.backend.encoder is None:
        refusal.message += _nearest(syntax_in, header, contents, request)
    raise refusal


def check_target(syntax: Syntax, quality: EncodingParameters) -> None:
    """Raise UnsupportedError or RefusedError if no file can be written in this syntax, whatever the file."""
    if syntax.loss is Loss.LOSSY and ENCODERS.rows(syntax.uid) and not quality.lossy:
        raise RefusedError(f"{syntax.name} loses information; say --lossy to consent", code="E_LOSSY")
    if not ENCODERS.rows(syntax.uid):
        raise UnsupportedError(
            f"dcmtx does not write {syntax.name} ({syntax.uid}); `dcmtx syntaxes` shows what it writes",
            code="E_UNSUPPORTED_TS",
        )


def _finish(plan: Plan, header: Header, request: Request) -> Plan:
    """Add what does not depend on the route: a new SOP Instance UID where one was asked for, and notes."""
    notes = plan.notes
    edits = dict(plan.edits)
    instance = plan.instance
    if request.policy.uid is Uid.NEW and instance is None and plan.route is not Route.SKIP:
        old = header.text(SOP_INSTANCE_UID)
        if old:
            instance = identity.derived_uid(old, plan.syntax, request.quality, *_deciders(plan))
            edits[SOP_INSTANCE_UID] = Set(SOP_INSTANCE_UID, b"UI", instance.encode("ascii"))
    signed = _signature_edits(header)
    drops_icon = request.policy.icon is Icon.DROP and ICON_IMAGE_SEQUENCE in header
    if signed and (instance is not None or drops_icon):
        _check_signatures(header, request.policy)
        edits |= signed
    if any(tag in edits for tag in signed):
        notes += ("its digital signatures, which would not be valid any more, were removed",)
    _check_order(header, edits)
    if plan.syntax.retired:
        notes += (f"{plan.syntax.name} is retired; few programs still read it",)
    return plan.replace(notes=notes, edits=edits, instance=instance)


def _signature_edits(header: Header) -> dict[int, Edit]:
    """Return the removal of digital signatures, where there are any."""
    return {tag: Remove(tag) for tag in objects.SIGNATURES if tag in header}


def _check_signatures(header: Header, policy: Policy) -> None:
    """Raise RefusedError for a signed file whose signatures would not be valid any more, unless they may go."""
    if objects.is_signed(header) and policy.signatures is Signatures.REFUSE:
        raise RefusedError(
            "it has digital signatures, which this conversion would make invalid; use --signatures remove",
            code="E_SIGNATURE",
        )


def _check_order(header: Header, edits: Mapping[int, Edit]) -> None:
    """Refuse to change an attribute that stands behind the pixels it describes, where it would stay beside the new."""
    pixel = header.pixel
    for element in header.tail:
        edit = edits.get(element.tag)
        if pixel is not None and element.tag < pixel.tag and edit is not None and not isinstance(edit, Remove):
            raise InputError(
                f"{tag_text(element.tag)} stands behind Pixel Data; the file is in disorder, correct it first",
                code="E_INCONSISTENT",
                tag=element.tag,
            )


class _Planner:
    """Makes the plan for one syntax."""

    def __init__(self, syntax_in: Syntax, header: Header, contents: Contents, target: Syntax, request: Request) -> None:
        self._syntax_in = syntax_in
        self._header = header
        self._contents = contents
        self._target = target
        self._policy = request.policy
        self._backend = request.backend
        # NEAR 0 loses nothing.
        quality = request.quality
        self._asked = quality.asked()
        self._irreversible = quality.lossy and quality.near != 0
        self._quality = quality if self._irreversible else quality.replace(lossy=False, near=None)

    def plan(self) -> Plan:
        """Return the plan, or raise."""
        header, target = self._header, self._target
        objects.check_object(header)
        if not self._restores_jpeg():
            check_target(target, self._quality)
        if self._syntax_in.kind in (Kind.REFERENCE, Kind.FLOW, Kind.MESSAGE):
            raise UnsupportedError(
                f"dcmtx does not read {self._syntax_in.name} ({self._syntax_in.uid}); such files can only be copied",
                code="E_UNSUPPORTED_TS",
            )
        pixel = header.pixel
        if pixel is None:
            return self._without_pixels()
        if pixel.tag in (FLOAT_PIXEL_DATA, DOUBLE_FLOAT_PIXEL_DATA):
            return self._float(pixel.tag)
        if self._syntax_in is target and target.encapsulated and not self._must_encode():
            return self._rewrap()
        if self._syntax_in.kind not in (Kind.NATIVE, Kind.FRAMES):
            raise UnsupportedError(
                f"dcmtx does not decode {self._syntax_in.name} ({self._syntax_in.uid}); such files can only be copied",
                code="E_UNSUPPORTED_TS",
            )
        if self._syntax_in.kind is Kind.NATIVE and target.kind is Kind.NATIVE and not self._must_expand():
            return self._carry()
        if target is JPEG_RECOMPRESSION or self._restores_jpeg():
            return self._recompress()
        return self._recode()

    # --- objects ---------------------------------------------------------------------------------------------

    def _without_pixels(self) -> Plan:
        header = self._header
        edits = _common_edits(header)
        if not header.elements:
            raise InputError("there is no data set behind its File Meta Information", code="E_TRUNCATED")
        notes: tuple[str, ...] = ()
        if objects.is_image(header):
            if self._syntax_in.encapsulated or self._target.encapsulated:
                raise InputError(
                    "it is an image without Pixel Data; it is truncated, or was never whole",
                    code="E_NO_PIXELDATA",
                )
            notes = ("it is an image without Pixel Data",)
        if not self._target.encapsulated:
            return Plan(self._target, Route.NONE, edits=edits, notes=notes)
        policy = self._policy.no_pixels
        if policy is NoPixels.FAIL:
            raise RefusedError(
                f"it has no pixels, which {self._target.name} needs (PS3.5 A.4); use --to explicit",
                code="E_NO_PIXELDATA",
            )
        why = f"it has no pixels, so it cannot be {self._target.label}"
        if policy is NoPixels.SKIP:
            return Plan(EXPLICIT, Route.SKIP, notes=(f"{why}; skipped",))
        return Plan(EXPLICIT, Route.NONE, edits=edits, notes=(f"{why}; written as {EXPLICIT.name}",))

    def _float(self, tag: int) -> Plan:
        if self._target.kind is not Kind.NATIVE:
            raise RefusedError(
                f"its pixels are floating point, which {self._target.name} does not hold "
                "(PS3.5 8.2); use --to deflated",
                code="E_FLOAT",
            )
        vr = b"OF" if tag == FLOAT_PIXEL_DATA else b"OD"
        return Plan(self._target, Route.CARRY, tag, pixel_vr=vr, edits=_common_edits(self._header))

    # --- pixels that stay what they are ----------------------------------------------------------------------

    def _must_expand(self) -> bool:
        """Tell whether native pixels share chroma in a way that is not legal: between an odd number of columns."""
        header = self._header
        shared = header.text(image.PHOTOMETRIC_INTERPRETATION) == "YBR_FULL_422"
        return shared and (header.number(image.COLUMNS) or 0) % 2 == 1

    def _carry(self) -> Plan:
        """Plan for native cells, whose attributes need not even make sense."""
        header, target = self._header, self._target
        pixel = header.pixel
        assert pixel is not None
        fmt: PixelFormat | None
        notes: tuple[str, ...] = ()
        try:
            fmt = image.read_format(header)
            image.check_format(fmt)
        except InputError as error:
            if error.tag == image.NUMBER_OF_FRAMES:
                raise
            fmt = None
            why = error.message.split(";")[0]
            notes = (f"the image is not understood ({why}); its pixels are carried as they are",)
        allocated = header.number(image.BITS_ALLOCATED) or 16
        vr = pixel.vr if pixel.vr in (b"OB", b"OW") else b"OW" if allocated > 8 else b"OB"
        if target.encoding.implicit:
            vr = b"OW"
        edits = _common_edits(header)
        plan = Plan(
            target, Route.CARRY, PIXEL_DATA, pixel_vr=vr, source_format=fmt, target_format=fmt, edits=edits, notes=notes
        )
        if header.encoding.big_endian and target.encoding.big_endian:
            # Not a byte moves, whatever the words are.
            known = not self._is_ambiguous(allocated) or self._policy.word_order is not WordOrder.REFUSE
            return plan.replace(order_known=known)
        return plan.replace(word_bytes=self._word_bytes(allocated), notes=notes + _wide_note(target, allocated, vr))

    def _is_ambiguous(self, allocated: int) -> bool:
        """Tell whether nobody can know which bytes of native pixels big endian reversed.

        OW says 16-bit words whatever Bits Allocated is (PS3.5 7.3), but some reverse whole pixels; UN says nothing.
        """
        pixel = self._header.pixel
        assert pixel is not None
        if not self._header.encoding.big_endian or pixel.vr == b"OB" or self._syntax_in.encapsulated:
            return False
        return allocated > (16 if pixel.vr == b"OW" else 8)

    def _word_bytes(self, allocated: int) -> int | None:
        """Return the bytes of a word of a source in big endian, as the user says; None where the VR tells.

        Raises RefusedError, E_AMBIGUOUS, where nothing tells.
        """
        if not self._is_ambiguous(allocated):
            return None
        # Words of 16 bits go on from pixel to pixel, wider ones are whole pixels or halves of them.
        fitting = [
            order for order in WordOrder if order.bytes == 2 or (order.bytes and allocated % (8 * order.bytes) == 0)
        ]
        if self._policy.word_order in fitting:
            return self._policy.word_order.bytes
        raise RefusedError(
            f"Bits Allocated is {allocated} in big endian, where some writers reverse 16-bit words (PS3.5 7.3) and "
            f"some whole pixels; say which by --word-order {' or '.join(order.value for order in fitting)}",
            code="E_AMBIGUOUS",
            tag=PIXEL_DATA,
        )

    def _must_encode(self) -> bool:
        """Tell whether codestreams of the target syntax cannot stay: something was asked of them that they may not be.

        That is a coding parameter, or a loss where they have none yet.
        """
        loses = self._irreversible and not self._contents.has_lost
        return self._policy.force or bool(self._asked) or loses

    def _rewrap(self) -> Plan:
        """Plan new fragments for codestreams that stay: the file has the target syntax, but an option changes them."""
        fmt = image.read_format(self._header)
        # Codestreams may be longer than any that would be made of these pixels: padded, with markers of their own.
        size = max(worst_case(fmt), self._contents.coded_bytes + 8 * fmt.frames)
        table = choose_table(self._policy.offset_table, fmt.frames, size)
        edits = _common_edits(self._header) | _table_edits(table, fmt)
        return Plan(
            self._target,
            Route.REWRAP,
            PIXEL_DATA,
            pixel_vr=b"OB",
            source_format=fmt,
            target_format=fmt,
            table=table,
            edits=edits,
        )

    # --- JPEG recompressed -----------------------------------------------------------------------------------

    def _restores_jpeg(self) -> bool:
        return self._syntax_in is JPEG_RECOMPRESSION and self._target is JPEG_BASELINE

    def _recompress(self) -> Plan:
        """Plan the way of whole JPEG streams into JPEG XL, or back: no pixel is touched, nothing is lost."""
        header, target = self._header, self._target
        self._check_recompressible()
        declared = image.read_format(header)
        image.check_format(declared)
        colour = photometric.decoded(self._syntax_in, declared, self._contents.stream)
        written = declared.replace(photometric=colour.coded)
        photometric.check_legal(target, written)
        _check_signatures(header, self._policy)
        row = ENCODERS.choose(JPEG_RECOMPRESSION.uid, JPEG_RECOMPRESSION.label, declared, self._backend.encoder)
        size = max(worst_case(declared), 2 * self._contents.coded_bytes)
        table = choose_table(self._policy.offset_table, declared.frames, size)
        undeclared = self._undeclared_loss(declared)
        edits = _common_edits(header) | _signature_edits(header) | _image_edits(header, declared, written)
        edits |= (undeclared.edits if undeclared else {}) | _table_edits(table, declared)
        return Plan(
            target,
            Route.RECOMPRESS,
            PIXEL_DATA,
            pixel_vr=b"OB",
            source_format=declared,
            target_format=written,
            encoder=row,
            table=table,
            edits=edits,
            notes=colour.notes + (undeclared.notes if undeclared else ()),
        )

    def _check_recompressible(self) -> None:
        """Refuse what JPEG XL does not recompress: anything but the DCT of 8 bits, whatever the syntax says of it."""
        stream = self._contents.stream
        if not self._restores_jpeg() and self._syntax_in is not JPEG_BASELINE:
            what = f"this file is {self._syntax_in.label}"
        elif stream is not None and (stream.reversible or stream.precision != 8):
            what = f"its codestream is {'lossless JPEG' if stream.reversible else f'of {stream.precision} bits'}"
        else:
            return
        raise RefusedError(f"{self._target.name} recompresses JPEG Baseline streams, and {what}", code="E_NEEDS_JPEG")

    # --- everything else -------------------------------------------------------------------------------------

    def _recode(self) -> Plan:
        header, target = self._header, self._target
        declared = image.read_format(header)
        image.check_format(declared)
        word_bytes = self._word_bytes(declared.allocated)
        colour = photometric.decoded(self._syntax_in, declared, self._contents.stream)
        source_format = declared.replace(photometric=colour.coded)
        decoder = DECODERS.choose(self._syntax_in.uid, self._syntax_in.label, source_format, self._backend.decoder)
        decoded_format = source_format.replace(photometric=colour.plain, planar=0)
        if self._irreversible:
            objects.check_loss(header, decoded_format)
        encoder_format, unused = self._settle_bits(decoded_format)
        encoder_format = self._settle_colour(encoder_format)
        target_format = encoder_format.replace(
            photometric=photometric.coded(target, encoder_format, source_format, self._quality)
        )
        self._check_result(declared, target_format)
        encoder = ENCODERS.choose(target.uid, target.label, target_format, self._backend.encoder, self._quality)
        self._check_resolutions(target_format)
        self._check_progression()
        verifier = DECODERS.choose(target.uid, target.label, target_format) if self._policy.verify else None
        _check_signatures(header, self._policy)
        overlays = self._find_overlays(declared)
        undeclared = self._undeclared_loss(declared)
        table = OffsetTable.EMPTY
        if target.encapsulated:
            size = worst_case(target_format, self._quality.tile)
            table = choose_table(self._policy.offset_table, target_format.frames, size)
        edits = _common_edits(header) | _signature_edits(header) | _image_edits(header, declared, target_format)
        edits |= overlay.extraction(overlays, target_format) | _table_edits(table, target_format)
        edits |= undeclared.edits if undeclared else {}
        vr = _pixel_vr(target, target_format)
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
            verifier=verifier,
            unused_bits=unused,
            overlays=tuple(overlays),
            quality=self._quality,
            irreversible=self._irreversible,
            lost=self._contents.has_lost,
            exact=self._exact_encoder(target_format),
            transform=self._contents.stream.transform if self._contents.stream else None,
            word_bytes=word_bytes,
            table=table,
            edits=edits,
            notes=colour.notes
            + (undeclared.notes if undeclared else ())
            + _wide_note(target, target_format.allocated, vr),
        )
        return self._derive(plan, undeclared.history) if self._irreversible and undeclared else plan

    def _exact_encoder(self, target_format: PixelFormat) -> Row | None:
        """Return the row that codes without loss what loss would not make smaller; None where there is none."""
        target = self._target
        if not self._irreversible or target.family not in ("j2k", "htj2k"):
            return None
        from dcmtx.codec import rate

        quality = rate.without_loss(self._quality)
        try:
            return ENCODERS.choose(target.uid, target.label, target_format, self._backend.encoder, quality)
        except (UnsupportedError, UsageError):
            return None

    def _derive(self, plan: Plan, history: lossy.History) -> Plan:
        from dcmtx.rules import lossy

        # Nothing is asked of libraries where no UID is made of it.
        deciders = () if self._policy.uid is Uid.KEEP else _deciders(plan)
        derivation = lossy.derive(
            self._header, self._target, self._quality, self._policy, history, deciders,
            # Their VRs hold 16 bits (PS3.6).
            measured=plan.verifier is not None and plan.encoder_format is not None and plan.encoder_format.stored <= 16,
        )  # fmt: skip
        return plan.replace(
            edits={**plan.edits, **derivation.edits},
            instance=derivation.instance,
            notes=plan.notes + derivation.notes,
        )

    def _undeclared_loss(self, fmt: PixelFormat) -> lossy.UndeclaredLoss | None:
        """Return the losses so far, and what must be said of them; None where there is no codestream and no loss."""
        if self._contents.stream is None and not self._irreversible:
            return None
        from dcmtx.rules import lossy

        return lossy.undeclared_loss(self._header, self._contents.lost, fmt, self._contents.coded_bytes)

    def _find_overlays(self, declared: PixelFormat) -> list[overlay.Embedded]:
        """Return the overlays to be extracted: before any compression, native cells keep them (PS3.5 8.1.2)."""
        if self._target.family == "native":
            return []
        found = overlay.find_embedded(self._header, declared)
        if found and self._policy.overlays is Overlays.REFUSE:
            raise RefusedError(
                f"overlay group {found[0].group:04X} is in bit {found[0].bit} of the pixels; use --overlays extract",
                code="E_OVERLAY",
            )
        return found

    def _settle_bits(self, decoded_format: PixelFormat) -> tuple[PixelFormat, UnusedBits | None]:
        """Return the format that the encoder gets, and what to do with content outside Bits Stored (PS3.5 8.1.1).

        Native cells, also deflated ones, hold whole words, whatever High Bit is, and so does RLE once High Bit is Bits
        Stored - 1. Other codecs store Bits Stored only: `keep` makes that the whole word, and Bits Stored says so.
        """
        target, policy = self._target, self._policy.unused_bits
        keep = policy is UnusedBits.KEEP
        if target.family in ("native", "deflate"):
            # NumPy has no words of 24 and 40 bits.
            return decoded_format.replace(
                allocated={24: 32, 40: 64}.get(decoded_format.allocated, decoded_format.allocated)
            ), None
        if target.family == "rle" and (keep or decoded_format.high_bit == decoded_format.stored - 1):
            return decoded_format, None
        if keep and decoded_format.high_bit != decoded_format.stored - 1:
            raise RefusedError(
                f"High Bit is {decoded_format.high_bit} and Bits Stored {decoded_format.stored}, so whole words "
                "are not the values (PS3.5 8.1.1), and --unused-bits keep would change them; use --unused-bits clear, "
                "or --to explicit",
                code="E_UNUSED_BITS",
            )
        if keep and decoded_format.allocated > 1:
            return decoded_format.replace(
                stored=decoded_format.allocated, high_bit=decoded_format.allocated - 1
            ), UnusedBits.KEEP
        encoder_format = self._fit_jpeg(decoded_format.replace(high_bit=decoded_format.stored - 1))
        return encoder_format, policy

    def _fit_jpeg(self, fmt: PixelFormat) -> PixelFormat:
        """Return the format with Bits Stored as JPEG DCT has it, 8 or 12, values kept (PS3.5 8.2.1)."""
        if fmt.samples > 1 or fmt.signed:
            return fmt
        if self._target.uid == _JPEG_EXTENDED:
            if fmt.allocated == 16 and 9 <= fmt.stored <= 11:
                return fmt.replace(stored=12, high_bit=11)
            if fmt.allocated == 8:
                return fmt.replace(stored=8, high_bit=7)
        narrow = fmt.allocated == 16 and fmt.stored <= 8 and self._policy.unused_bits is UnusedBits.CLEAR
        if self._target is JPEG_BASELINE and narrow:
            return fmt.replace(allocated=8, stored=8, high_bit=7)
        return fmt

    def _settle_colour(self, encoder_format: PixelFormat) -> PixelFormat:
        """Return the format with the colour that the encoder must be given: JPEG XL takes no YBR_FULL."""
        if self._target.uid in _JPEG_XL and encoder_format.photometric == "YBR_FULL" and self._irreversible:
            return encoder_format.replace(photometric="RGB")
        return encoder_format

    def _check_resolutions(self, fmt: PixelFormat) -> None:
        """Refuse a number of resolutions that the syntax or the encoder does not have."""
        asked = self._quality.resolutions
        if asked is None or self._target.family != "htj2k":
            return
        if asked == 1:
            raise RefusedError("the encoder of HTJ2K makes 2 resolutions or more", code="E_LIMIT")
        if self._target.uid == _HTJ2K_RPCL and max(fmt.rows, fmt.columns) > _LOWEST_RESOLUTION << (asked - 1):
            raise RefusedError(
                f"{asked} resolutions leave more than {_LOWEST_RESOLUTION}x{_LOWEST_RESOLUTION} pixels in the lowest, "
                f"which {self._target.label} forbids (PS3.5 10.18); ask for more, or for none",
                code="E_RPCL",
            )

    def _check_progression(self) -> None:
        """Refuse a progression that the syntax forbids."""
        asked = self._quality.progression
        if asked not in (None, "RPCL") and self._target.uid == _HTJ2K_RPCL:
            raise RefusedError(
                f"{self._target.label} is RPCL always (PS3.5 10.18), not {asked}; use --to htj2k-lossless",
                code="E_RPCL",
            )

    def _check_result(self, declared: PixelFormat, target_format: PixelFormat) -> None:
        target = self._target
        if target.uid in _JPEG_XL:
            photometric.check_proven(target, target_format)
        photometric.check_legal(target, target_format, one_bit=self._policy.one_bit is OneBit.ALLOW)
        if target.kind is Kind.NATIVE and target_format.native_bytes > LARGEST_NATIVE:
            raise RefusedError(
                f"its pixels take {target_format.native_bytes} bytes, native Pixel Data at most {LARGEST_NATIVE} "
                "(PS3.5 8.1.1); keep it compressed, or use --to encapsulated or deflated-frames",
                code="E_SIZE",
            )
        objects.check_definition(self._header, declared, target_format)


def _pixel_vr(target: Syntax, fmt: PixelFormat) -> bytes:
    """Return the VR of Pixel Data (PS3.5 8.2, A.1, A.2, A.4)."""
    if target.encapsulated:
        return b"OB"
    return b"OW" if target.encoding.implicit or fmt.allocated > 8 else b"OB"


def _wide_note(target: Syntax, allocated: int, vr: bytes) -> tuple[str, ...]:
    """Return a note where what is written in big endian may not be read alike everywhere."""
    if not target.encoding.big_endian or allocated <= 16 or vr != b"OW":
        return ()
    return (f"Bits Allocated is {allocated} in big endian, where readers differ; written as 16-bit words (PS3.5 7.3)",)


def worst_case(fmt: PixelFormat, tile: int | None = None) -> int:
    """Return more bytes than any encoder makes of these frames, item headers included; `tile` is the side of a tile.

    Noise grows under every codec, by less than half. 1-bit pixels are coded as bytes.
    """
    # JPEG codes whole blocks, of twice the side where chroma is shared; and RLE doubles images of one column.
    pixels = (fmt.rows + 15 & ~15) * (fmt.columns + 15 & ~15)
    tiles = 0 if tile is None else -(-fmt.rows // tile) * -(-fmt.columns // tile) * fmt.samples
    return int(fmt.frames * (pixels * fmt.samples * max(fmt.allocated, 8) / 8 * 1.5 + tiles * _TILE_BYTES + 4096))


def _deciders(plan: Plan) -> tuple[str, ...]:
    """Return what decides what is written, beside the source, the target and the parameters of quality.

    Another version of a library may decode and encode other pixels.
    """
    backends = [row.identity() for row in (plan.decoder, plan.encoder) if row is not None]
    order = [f"{8 * plan.word_bytes}-bit words"] if plan.word_bytes else []
    return (*backends, *([plan.unused_bits.value] if plan.unused_bits else []), *order)


# --- edits -----------------------------------------------------------------------------------------------------


def _common_edits(header: Header) -> dict[int, Edit]:
    """Return what changes whatever the pixels do: retired group lengths and trailing padding, stale tables.

    And values that were taken for others.
    """
    stale = [tag for tag in (_OFFSETS, _OFFSET_LENGTHS, _TOTAL_LENGTH, TRAILING_PADDING) if tag in header]
    edits: dict[int, Edit] = {tag: Remove(tag) for tag in [*stale, *_group_lengths(header.tags())]}
    return edits | dict(header.corrections)


def _group_lengths(tags: Iterable[int]) -> list[int]:
    return [tag for tag in tags if tag & 0xFFFF == 0]


def _table_edits(table: OffsetTable, fmt: PixelFormat) -> dict[int, Edit]:
    """Return the places of an Extended Offset Table, which is known only when the frames are written."""
    if table is not OffsetTable.EXTENDED:
        return {}
    return {
        _OFFSETS: Reserve(_OFFSETS, b"OV", 8 * fmt.frames, key="offsets"),
        _OFFSET_LENGTHS: Reserve(_OFFSET_LENGTHS, b"OV", 8 * fmt.frames, key="lengths"),
    }


def _image_edits(header: Header, declared: PixelFormat, written: PixelFormat) -> dict[int, Edit]:
    """Return the attributes of the image that are no longer true, and only those."""
    edits: dict[int, Edit] = {}
    numbers = [
        (image.BITS_ALLOCATED, declared.allocated, written.allocated),
        (image.BITS_STORED, declared.stored, written.stored),
        (image.HIGH_BIT, declared.high_bit, written.high_bit),
    ]
    if written.samples > 1:
        planar = header.number(image.PLANAR_CONFIGURATION)
        numbers.append((image.PLANAR_CONFIGURATION, -1 if planar is None else planar, written.planar))
    for tag, old, new in numbers:
        if old != new:
            edits[tag] = Set(tag, b"US", new.to_bytes(2, "little"))
    if header.text(image.PHOTOMETRIC_INTERPRETATION) != written.photometric:
        tag = image.PHOTOMETRIC_INTERPRETATION
        edits[tag] = Set(tag, b"CS", written.photometric.encode("ascii"))
    return edits


# --- suggestions -----------------------------------------------------------------------------------------------

_SUGGESTED = frozenset(
    ["E_PI", "E_BITS", "E_SIGN", "E_LIMIT", "E_LOSSY_FORBIDDEN", "E_IOD", "E_UNVERIFIED", "E_NEEDS_JPEG"]
)
# Nearest first: what compresses about as well, then what compresses at all, then what holds everything.
_CANDIDATES = ("j2k", "htj2k", "jpegls", "jpeg", "rle", "deflated-frames", "deflated", "explicit", "jpegxl")


def _nearest(syntax_in: Syntax, header: Header, contents: Contents, request: Request) -> str:
    """Return the end of a refusal: the nearest target that takes the file, without loss."""
    refused = request.target.syntaxes
    lossless = EncodingParameters()
    names = sorted(_CANDIDATES, key=lambda name: resolve(name, lossless).syntaxes[0].family != refused[0].family)
    for name in names:
        target = resolve(name, lossless)
        if target.syntaxes[0] in refused or target.syntaxes[0] is syntax_in:
            continue
        try:
            _Planner(
                syntax_in, header, contents, target.syntaxes[0], request.replace(target=target, quality=lossless)
            ).plan()
        except DcmtxError:
            continue
        without = " without --lossy" if request.quality.lossy else ""
        return f"; use --to {name}{without}"
    return ""
