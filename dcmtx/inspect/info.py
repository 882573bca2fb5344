"""What one file is: transfer syntax, pixels, encapsulation, codestream, loss, and what is wrong with it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any

from dcmtx.dataset.element import FLOAT_PIXEL_DATA, tag_text
from dcmtx.dataset.header import Header
from dcmtx.dataset.items import Item, items_of
from dcmtx.dataset.meta import PASSED_OVER, FileMeta, is_tiff, peek
from dcmtx.errors import DcmtxError, InputError, RefusedError, UsageError
from dcmtx.finding import Finding, Severity
from dcmtx.inspect import streams
from dcmtx.inspect.streams import Streams
from dcmtx.pixel import tables
from dcmtx.pixel.format import PixelFormat
from dcmtx.pixel.tables import Truth
from dcmtx.place.bytes import Reader
from dcmtx.place.places import SourcePlace, open_reader, path_of
from dcmtx.record import Record
from dcmtx.rules import derivation, history, image, lossy, meta, objects, overlay, photometric, values, wrapping
from dcmtx.syntax import Syntax, find
from dcmtx.transcoding.decode import decoder_of, decoding_job
from dcmtx.transcoding.fragments import FragmentReader
from dcmtx.transcoding.source import DataSet, Opened, open_source

_ICON = 0x00880200
# Codes of files that are none of ours to describe.
_NOT_OURS = frozenset([*PASSED_OVER, "E_MISSING", "E_UNREADABLE"])
_CODED = frozenset(["jpeg", "jpegls", "j2k", "htj2k", "rle", "jpegxl"])
_TAG_OF = {"E_PI": 0x00280004, "E_BITS": image.BITS_STORED, "E_SIGN": image.PIXEL_REPRESENTATION}


class Frame(Record):
    """One decoded frame: its least and greatest value, and the SHA-256 of its words in little endian."""

    minimum: int
    maximum: int
    sha256: str


class Info(Record):
    """What a file is. `size` is in bytes; what does not apply is None or empty.

    `coded_bytes` counts the bytes of all fragments, or of native pixels. `format` is the declared format of the
    pixels; `basic` and `extended` say what the offset tables are worth. `findings` are sorted, errors first.
    """

    path: str
    size: int
    meta: FileMeta
    syntax: Syntax | None = None
    encoding: str = ""
    sop_class: str = ""
    sop_instance: str = ""
    pixel: tuple[str, str] | None = None  # tag and VR
    format: PixelFormat | None = None
    coded_bytes: int = 0
    fragments: int | None = None
    basic: Truth = Truth.ABSENT
    extended: Truth = Truth.ABSENT
    streams: Streams = Streams()
    image_type: str = ""
    loss_flag: str = ""
    losses: lossy.History = lossy.History()
    overlays: tuple[tuple[int, int | None, int | None, int | None], ...] = ()
    icons: tuple[tuple[int | None, int | None, str], ...] = ()
    signatures: int = 0
    frames: tuple[Frame, ...] | None = None
    findings: tuple[Finding, ...] = ()

    @property
    def severest(self) -> Severity | None:
        """The severity of the worst finding."""
        return self.findings[0].severity if self.findings else None

    @property
    def tiff(self) -> bool:
        """Whether the preamble makes it a TIFF file too."""
        return is_tiff(self.meta.preamble)

    @property
    def ratio(self) -> float | None:
        """How many times smaller the pixels are than their Bits Stored; None where they are not coded."""
        if self.format is None or self.fragments is None or not self.coded_bytes:
            return None
        return self.format.stored_bytes / self.coded_bytes


def look(src: SourcePlace, *, decode: bool = False) -> Info:
    """Return what the DICOM file `src` is, a path, `-`, bytes or a binary file object; nothing is decoded.

    With `decode`, every frame is decoded, and what fails is a finding.

    Raises InputError for what is missing, cannot be read or is not DICOM, with the path.

    >>> import dcmtx
    >>> info = dcmtx.look("ct-jpegls.dcm")
    >>> info.syntax.label, info.format.describe(), info.streams.first.near
    ('jpegls-lossless', 'MONOCHROME2, Bits Allocated 16, Bits Stored 12, signed, 96x96', 0)
    >>> [(finding.code, finding.severity.value) for finding in dcmtx.look("mr-overlay-bit-15.dcm").findings]
    [('N_OVERLAY', 'note')]
    """
    path = path_of(src) or "-"
    try:
        reader = open_reader(src)
        try:
            return _look(path, reader, decode=decode)
        finally:
            reader.close()
    except DcmtxError as error:
        error.path = error.path or path
        raise


def _look(path: str, reader: Reader, *, decode: bool) -> Info:
    head = peek(reader)
    info = Info(path, reader.size, head, syntax=find(head.syntax))
    damage: tuple[Finding, ...] = ()
    try:
        opened = open_source(reader, meta=head)
    except UsageError:
        raise
    except DcmtxError as error:
        if error.code in _NOT_OURS:
            raise
        damage = (Finding.of_error(error),)
        forgiven = _forgiven(reader, head)
        if forgiven is None:
            return info.replace(findings=damage)
        opened = forgiven
    try:
        try:
            info = _described(info, opened)
            info = info.replace(findings=_sorted((*damage, *info.findings)))
        except InputError as error:
            # An attribute that is read everywhere is longer than any such attribute can be.
            return info.replace(findings=(*damage, Finding.of_error(error)))
        return _decoded(info, opened) if decode and info.pixel is not None else info
    finally:
        opened.close()


def _forgiven(reader: Reader, head: FileMeta) -> Opened | None:
    """Return a file that is damaged behind an image that is whole; None for other damage."""
    try:
        return open_source(reader, meta=head, forgiving=True)
    except DcmtxError:
        return None


def _described(info: Info, opened: Opened) -> Info:
    """Return the description of an open file, with its findings."""
    dataset, frames = opened.dataset, opened.frames
    header, pixel, syntax = dataset.header, dataset.header.pixel, dataset.syntax
    fmt = frames.format or _attributes(header)
    basic = extended = Truth.ABSENT
    if frames.fragments is not None and len(frames.starts):
        basic = tables.basic(frames.fragments, frames.starts)
        table = FragmentReader(header.reader, frames.fragments, syntax).extended_table(header)
        extended = tables.extended(frames.fragments, frames.starts, table)
    found = streams.read(frames)
    icons, damaged = _items(header, _ICON)
    signatures, torn = _items(header, objects.DIGITAL_SIGNATURES)
    info = info.replace(
        syntax=syntax,
        encoding=_encoding(header),
        sop_class=header.text(objects.SOP_CLASS_UID),
        sop_instance=header.text(0x00080018),
        pixel=None if pixel is None else (tag_text(pixel.tag), pixel.vr.decode("latin-1").strip()),
        format=fmt,
        coded_bytes=frames.coded_bytes if frames.fragments is not None else frames.native_length,
        fragments=None if frames.fragments is None else len(frames.fragments.values),
        basic=basic,
        extended=extended,
        streams=found,
        image_type=header.text(derivation.IMAGE_TYPE),
        loss_flag=header.text(image.LOSSY_IMAGE_COMPRESSION),
        losses=lossy.read_history(header),
        overlays=tuple(overlay.describe(header)),
        icons=tuple(
            (icon.number(image.ROWS), icon.number(image.COLUMNS), icon.text(image.PHOTOMETRIC_INTERPRETATION))
            for icon in icons
        ),
        signatures=len(signatures),
    )
    return info.replace(findings=_sorted(chain(_findings(info, dataset, opened), damaged, torn)))


def _attributes(header: Header) -> PixelFormat | None:
    """Return the format of pixels that are not taken apart, such as video."""
    try:
        return image.read_format(header) if image.ROWS in header else None
    except InputError:
        return None


def _encoding(header: Header) -> str:
    encoding = header.encoding
    return f"{'implicit' if encoding.implicit else 'explicit'} VR {'big' if encoding.big_endian else 'little'} endian"


def _items(header: Header, tag: int) -> tuple[list[Item], list[Finding]]:
    """Return the items of a sequence, or the finding that it is damaged."""
    try:
        return list(items_of(header, tag)), []
    except InputError as error:
        return [], [Finding.of_error(error).replace(tag=tag)]


# --- findings --------------------------------------------------------------------------------------------------


def _sorted(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return findings without repetition, errors first, each in the words of those who only look."""
    order = [Severity.ERROR, Severity.WARNING, Severity.NOTE]
    told = dict.fromkeys(finding.replace(text=finding.seen or finding.text, seen="") for finding in findings)
    return tuple(sorted(told, key=lambda finding: order.index(finding.severity)))


def _findings(info: Info, dataset: DataSet, opened: Opened) -> Iterator[Finding]:
    header, frames = dataset.header, opened.frames
    yield from (*dataset.notes, *header.notes)
    yield from meta.findings(dataset.meta, header)
    yield from values.findings(header)
    yield from objects.retired(dataset.syntax)
    yield from objects.object_findings(header, frames.format)
    yield from history.findings(header)
    if frames.fault is not None:
        yield Finding.of_error(frames.fault)
    yield from frames.notes
    if header.pixel is not None:
        yield from wrapping.element(header, header.pixel, dataset.syntax)
    if frames.fragments is not None:
        yield from wrapping.items(frames.fragments)
        yield from wrapping.tables(info.basic, info.extended, frames.notes)
    if frames.format is not None:
        yield from image.findings(header, frames.format, dataset.syntax.family)
        yield from overlay.findings(header, frames.format)
        yield from info.streams.findings
        yield from _colour(info, dataset, frames.format)


def _colour(info: Info, dataset: DataSet, fmt: PixelFormat) -> Iterator[Finding]:
    """Yield what Photometric Interpretation and bits may not be, and loss that is not told of."""
    syntax, first = dataset.syntax, info.streams.first
    try:
        yield from photometric.decoded(syntax, fmt, first).notes
        if syntax.family in _CODED and syntax.legal:
            photometric.check_legal(syntax, fmt, one_bit=True)
    except InputError as error:
        yield Finding.of_error(error)
    except RefusedError as error:
        yield Finding("N_ILLEGAL", error.what, Severity.WARNING, tag=_TAG_OF.get(error.code))
    yield from lossy.undeclared_loss(dataset.header, info.streams.lost, fmt, info.coded_bytes).notes


# --- pixels ----------------------------------------------------------------------------------------------------


def _decoded(info: Info, opened: Opened) -> Info:
    """Return the description with every frame decoded; the first frame that fails is a finding."""
    found: list[Frame] = []
    failed: tuple[Finding, ...] = ()
    if opened.dataset.header.pixel is not None and opened.dataset.header.pixel.tag == FLOAT_PIXEL_DATA:
        return info
    try:
        decoder = decoder_of(opened, decoding_job(b"").request)
        try:
            found.extend(_measured(decoder(number)) for number in range(len(opened.frames)))
        finally:
            decoder.close()
    except DcmtxError as error:
        failed = (Finding.of_error(error),)
    return info.replace(frames=tuple(found), findings=_sorted((*info.findings, *failed)))


def _measured(words: Any) -> Frame:
    little = words.astype(words.dtype.newbyteorder("<"), order="C", copy=False)
    return Frame(int(words.min()), int(words.max()), hashlib.sha256(little.tobytes()).hexdigest())
