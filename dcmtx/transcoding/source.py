"""Opens a file: reads its DataSet and its Frames."""

from __future__ import annotations

from collections.abc import Iterator

from dcmtx.dataset.edit import Span
from dcmtx.dataset.element import PIXEL_DATA, UNDEFINED, tag_text
from dcmtx.dataset.header import Header, guess_encoding
from dcmtx.dataset.meta import TRANSFER_SYNTAX, FileMeta, peek
from dcmtx.errors import InputError, UnsupportedError
from dcmtx.finding import Finding, Severity
from dcmtx.pixel.encapsulation import Fragments, read_fragments
from dcmtx.pixel.format import PixelFormat
from dcmtx.place.bytes import FileBytes, Reader
from dcmtx.record import Record
from dcmtx.rules import image
from dcmtx.syntax import (
    BIG_ENDIAN,
    EXPLICIT,
    EXPLICIT_LITTLE,
    IMPLICIT,
    IMPLICIT_LITTLE,
    Encoding,
    Kind,
    Syntax,
    find,
)
from dcmtx.transcoding.fragments import FragmentReader
from dcmtx.transcoding.frames import Frames, read_frames, shrunk

_PIECE = 1 << 20
_LARGEST_FIRST_GROUP = 0x0100
_UNENDED = Finding(
    "N_DELIMITER",
    "the Sequence Delimitation Item of Pixel Data is missing at the end of the file; its fragments are whole",
    Severity.WARNING,
    tag=PIXEL_DATA,
)


class DataSet(Record):
    """One data set, indexed: `meta` is what precedes it in its file, `header` the index of its elements.

    `syntax` is its transfer syntax; `encoding` is its actual encoding, which may differ. `notes` report oddities.
    """

    meta: FileMeta
    header: Header
    syntax: Syntax
    notes: tuple[Finding, ...] = ()

    @property
    def encoding(self) -> Encoding:
        """How its elements are encoded."""
        return self.header.encoding

    @property
    def reader(self) -> Reader:
        """The bytes that the offsets of the header refer to: the file, or the inflated spool."""
        return self.header.reader

    def pieces(self, span: Span) -> Iterator[bytes]:
        """Yield the bytes of a span of the data set, a piece at a time."""
        position = span.start
        while position < span.end:
            piece = self.reader.pread(min(_PIECE, span.end - position), position)
            if not piece:
                raise shrunk()
            yield piece
            position += len(piece)


class Opened(Record):
    """What `open_source` returns. `spool` has the inflated data set; the caller closes the file."""

    dataset: DataSet
    frames: Frames
    spool: FileBytes | None = None

    def close(self) -> None:
        """Close the spool of a deflated data set."""
        if self.spool is not None:
            self.spool.close()


def open_source(
    reader: Reader,
    spool_in: str | None = None,
    *,
    meta: FileMeta | None = None,
    assume: Syntax | None = None,
    forgiving: bool = False,
) -> Opened:
    """Return the data set of a file and its frames. `spool_in` is the directory for a spool.

    `meta` is the result of `peek` for the file, if the caller already has it. `assume` is the transfer syntax of a file
    that names none. With `forgiving`, damage behind pixels that are whole is a note.

    Raises InputError when it is not DICOM or is damaged, UnsupportedError when its syntax is unknown. Errors only in
    the pixels are the `fault` of the frames.
    """
    meta = meta or peek(reader)
    beginning = _decide(reader, meta, spool_in, assume)
    try:
        header = Header(beginning.spool or reader, beginning.start, beginning.encoding)
        pixel = header.pixel
        named = bool(meta.syntax or assume)
        if not named and pixel is not None and pixel.length == UNDEFINED:
            raise InputError(
                "the file names no transfer syntax, and its Pixel Data is compressed, by which codec it does not say",
                code="E_NO_SYNTAX",
            )
        fragments, notes = close_header(header, beginning.syntax, forgiving=forgiving)
        if not named:
            _check_certain(meta, header)
        frames = read_frames(header, beginning.syntax, fragments, forgiving=forgiving)
    except BaseException:
        if beginning.spool is not None:
            beginning.spool.close()
        raise
    return Opened(DataSet(meta, header, beginning.syntax, notes=beginning.notes + notes), frames, beginning.spool)


# --- where the data set starts, and how it is encoded ------------------------------------------------------------


class _Beginning(Record):
    """The syntax of a data set, its actual encoding, and where it starts: in the file, or in a spool."""

    syntax: Syntax
    encoding: Encoding
    start: int
    spool: FileBytes | None = None
    notes: tuple[Finding, ...] = ()


def _decide(reader: Reader, meta: FileMeta, spool_in: str | None, assumed: Syntax | None) -> _Beginning:
    if not meta.syntax and assumed is None:
        return _decide_without_meta(reader, meta)
    notes: tuple[Finding, ...] = ()
    if not meta.preamble and meta.meta:
        notes += (
            Finding(
                "N_NO_PREAMBLE",
                "the file has no preamble; read from its File Meta Information on",
                Severity.WARNING,
                seen="the file has no preamble",
            ),
        )
    if meta.declared is not None and meta.meta and meta.dataset != _declared_end(meta):
        notes += (
            Finding(
                "N_GROUP_LENGTH",
                "File Meta Information Group Length (0002,0000) is wrong; its elements were walked",
                Severity.WARNING,
                tag=0x00020000,
            ),
        )
    syntax = find(meta.syntax) if meta.syntax else assumed
    if syntax is None:
        raise UnsupportedError(
            f"transfer syntax {meta.syntax[:64]!r} is not one of the standard's", code="E_UNSUPPORTED_TS"
        )
    start, spool = meta.dataset, None
    if syntax.deflated:
        from dcmtx.place.inflate import inflate

        spool, wrapped = inflate(reader, start, spool_in)
        start = 0
        if wrapped:
            notes += (
                Finding(
                    "N_ZLIB",
                    "the data set is wrapped by zlib, which the standard does not allow; read all the same",
                    Severity.WARNING,
                ),
            )
    encoding = syntax.encoding
    shown = guess_encoding(spool or reader, start, encoding)
    if not _is_dicom(meta) and (shown is None or not _begins_data_set(spool or reader, start, shown)):
        if spool is not None:
            spool.close()
        raise InputError(f"the file is not a data set in {syntax.name}", code="E_NOT_DICOM")
    if shown is not None and shown != encoding:
        notes += (
            Finding(
                "N_ENCODING",
                f"the data set is {_encoding_name(shown)}, but its transfer syntax is {syntax.name}"
                f"{'' if meta.syntax else ', as --assume says'}; read as it is",
                Severity.ERROR,
                tag=TRANSFER_SYNTAX,
                seen=f"the data set is {_encoding_name(shown)}, but its transfer syntax is {syntax.name}",
            ),
        )
        encoding = shown
    return _Beginning(syntax, encoding, start, spool=spool, notes=notes)


def _begins_data_set(reader: Reader, start: int, encoding: Encoding) -> bool:
    """Tell whether a first group is one that a data set begins with: text and coded data have larger numbers there."""
    return 0 < int.from_bytes(reader.pread(2, start), "big" if encoding.big_endian else "little") < _LARGEST_FIRST_GROUP


def _declared_end(meta: FileMeta) -> int:
    start = len(meta.preamble) + 4 if meta.preamble else 0
    return start + 12 + (meta.declared or 0)


def _decide_without_meta(reader: Reader, meta: FileMeta) -> _Beginning:
    """Decide for a file that names no transfer syntax: it is read only if its data set shows one for certain."""
    start = meta.dataset
    shown = guess_encoding(reader, start)
    first = reader.pread(2, start)
    # Every data set that identifies an object starts with group 0008.
    if shown is None or first != (b"\x00\x08" if shown.big_endian else b"\x08\x00"):
        what = "names no transfer syntax" if _is_dicom(meta) else "is not a DICOM file"
        raise InputError(f"the file {what}, and its bytes do not show one for certain", code=_nameless(meta))
    syntax = BIG_ENDIAN if shown.big_endian else IMPLICIT if shown.implicit else EXPLICIT
    note = Finding(
        "N_NO_SYNTAX",
        f"the file names no transfer syntax; its data set shows {syntax.name}",
        Severity.WARNING,
        tag=TRANSFER_SYNTAX,
    )
    return _Beginning(syntax, shown, start, notes=(note,))


def _encoding_name(encoding: Encoding) -> str:
    if encoding == IMPLICIT_LITTLE:
        return "Implicit VR Little Endian"
    return "Explicit VR Little Endian" if encoding == EXPLICIT_LITTLE else "Explicit VR Big Endian"


def _is_dicom(meta: FileMeta) -> bool:
    return bool(meta.meta or meta.preamble)


def _nameless(meta: FileMeta) -> str:
    """Return the error code for a file that names no transfer syntax: it may not be DICOM at all."""
    return "E_NO_SYNTAX" if _is_dicom(meta) else "E_NOT_DICOM"


def _check_certain(meta: FileMeta, header: Header) -> None:
    """Raise InputError for a file without transfer syntax whose elements are not in order: it may not be a data set.

    The check needs all elements, so it runs after the header is closed.
    """
    tags = list(header.tags())
    if tags != sorted(tags):
        raise InputError("the file names no transfer syntax, and its elements are in disorder", code=_nameless(meta))


# --- where the data set ends -------------------------------------------------------------------------------------


def close_header(
    header: Header, syntax: Syntax, *, forgiving: bool = False
) -> tuple[Fragments | None, tuple[Finding, ...]]:
    """Find the end of the pixel element, index what follows it, and make corrections that are certain.

    With `forgiving`, damage behind the last frame is a note of the header.

    Returns the fragments, if there are any, and notes. Raises InputError where the file ends early, or Pixel Data
    contradicts the transfer syntax.
    """
    pixel = header.pixel
    if pixel is None:
        return None, ()
    encapsulated = pixel.length == UNDEFINED
    if encapsulated != syntax.encapsulated and syntax.kind in (Kind.NATIVE, Kind.FRAMES):
        has = "is encapsulated" if encapsulated else "is native"
        raise InputError(
            f"Pixel Data {has}, which transfer syntax {syntax.label} forbids; the file contradicts itself",
            code="E_ENCAPSULATION",
        )
    reader = header.reader
    if encapsulated:
        declared = header.text(image.NUMBER_OF_FRAMES)
        number = int(declared) if declared.isdecimal() else None
        fragments = read_fragments(reader.pread, pixel.value, reader.size, number, forgiving=forgiving)
        notes = (_UNENDED,) if fragments.unended else ()
        if fragments.damage:
            header.pass_over(fragments.end, fragments.damage)
        else:
            header.close(fragments.end, forgiving=forgiving)
        return fragments, notes + _correct(header, syntax, fragments)
    end = pixel.value + pixel.length
    if end > reader.size:
        there = reader.size - pixel.value
        frames = header.integer(image.NUMBER_OF_FRAMES) or 1
        within = f", it ends inside frame {there * frames // pixel.length + 1} of {frames}" if frames > 1 else ""
        raise InputError(
            f"Pixel Data {tag_text(pixel.tag)} claims {pixel.length} bytes, the file has {there}{within}; the file "
            "is truncated",
            code="E_TRUNCATED",
        )
    header.close(end, forgiving=forgiving)
    return None, _correct(header, syntax, None)


def _correct(header: Header, syntax: Syntax, fragments: Fragments | None) -> tuple[Finding, ...]:
    """Correct image attributes that are absent or illegal, where the right value is certain."""
    pixel = header.pixel
    if pixel is None or pixel.tag != PIXEL_DATA or syntax.kind not in (Kind.NATIVE, Kind.FRAMES):
        return ()

    def holds_one(fmt: PixelFormat) -> bool:
        """Tell whether Pixel Data is exactly one frame of this format."""
        if fragments is not None:
            return FragmentReader(header.reader, fragments, syntax).holds_one()
        return pixel.length == fmt.native_bytes + fmt.native_bytes % 2

    return tuple(image.correct(header, holds_one))
