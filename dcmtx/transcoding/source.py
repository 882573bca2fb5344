"""Reading: the bytes of a file, its header as an index, and its frames one by one. Never the whole Pixel Data."""

from __future__ import annotations

from array import array
from collections.abc import Iterator

from dcmtx.dataset.edit import Span
from dcmtx.dataset.element import PIXEL_DATA, UNDEFINED, Element, swap, tag_text
from dcmtx.dataset.header import Header, guess_encoding
from dcmtx.dataset.meta import FileMeta
from dcmtx.dataset.vr import SWAP_UNIT
from dcmtx.errors import InputError, UnsupportedError
from dcmtx.finding import Finding, Severity
from dcmtx.pixel import encapsulation
from dcmtx.pixel.codestream import END, KINDS, ends_frame, starts_frame
from dcmtx.pixel.format import PixelFormat
from dcmtx.place.bytes import FileBytes, Reader
from dcmtx.rules import image
from dcmtx.syntax import (
    BIG_ENDIAN,
    EXPLICIT,
    EXPLICIT_LITTLE,
    IMPLICIT,
    IMPLICIT_LITTLE,
    Encoding,
    Fragments,
    Kind,
    Syntax,
    find,
)

_PIECE = 1 << 20
_UNENDED = Finding(
    "N_DELIMITER",
    "the Sequence Delimitation Item of Pixel Data is missing at the end of the file; its fragments are whole",
    Severity.WARNING,
    tag=0x7FE00010,
)
_NUMBER_OF_FRAMES = 0x00280008
OFFSETS = 0x7FE00001
OFFSET_LENGTHS = 0x7FE00002


# Longer than the header of a codestream is, unless there are comments or profiles in it.
_OPENING = 4096


class PixelSource:
    """The pixels of one data set, frame by frame.

    `data` has the bytes that the offsets of `header` mean; `syntax` is the transfer syntax of the pixels; `notes` say
    what was odd.
    """

    def __init__(self, data: Reader, header: Header, syntax: Syntax) -> None:
        self.data = data
        self.header = header
        self.syntax = syntax
        self.notes: list[Finding] = []
        # Bytes of a word of native pixels in big endian, where their VR does not tell.
        self.word_bytes: int | None = None
        self.fragments: encapsulation.Fragments | None = None
        self._starts: array[int] | None = None
        self._format: PixelFormat | None = None

    @property
    def pixel(self) -> Element | None:
        """The pixel element at top level."""
        return self.header.pixel

    @property
    def encapsulated(self) -> bool:
        """Whether Pixel Data is a sequence of fragments."""
        return self.header.pixel is not None and self.header.pixel.length == UNDEFINED

    def close_pixels(self) -> None:
        """Find the end of the pixel element and index what stands behind it.

        Raises InputError where the file ends early, or Pixel Data contradicts the transfer syntax.
        """
        pixel = self.header.pixel
        if pixel is None:
            return
        if self.encapsulated != self.syntax.encapsulated and self.syntax.kind in (Kind.NATIVE, Kind.FRAMES):
            has = "is encapsulated" if self.encapsulated else "is native"
            raise InputError(
                f"Pixel Data {has}, which transfer syntax {self.syntax.label} forbids; the file contradicts itself",
                code="E_ENCAPSULATION",
            )
        if self.encapsulated:
            said = self.header.text(_NUMBER_OF_FRAMES)
            number = int(said) if said.isdecimal() else None
            self.fragments = encapsulation.read_fragments(self.data.pread, pixel.value, self.data.size, number)
            if self.fragments.unended:
                self.notes.append(_UNENDED)
            self.header.close(self.fragments.end)
            self._correct()
            return
        end = pixel.value + pixel.length
        if end > self.data.size:
            there = self.data.size - pixel.value
            frames = self.header.integer(_NUMBER_OF_FRAMES) or 1
            within = f", it ends inside frame {there * frames // pixel.length + 1} of {frames}" if frames > 1 else ""
            raise InputError(
                f"Pixel Data {tag_text(pixel.tag)} claims {pixel.length} bytes, the file has {there}{within}; the file "
                "is truncated",
                code="E_TRUNCATED",
            )
        self.header.close(end)
        self._correct()

    def _correct(self) -> None:
        """Take what is certain for attributes of the image that are absent or illegal."""
        pixel = self.header.pixel
        if pixel is not None and pixel.tag == PIXEL_DATA and self.syntax.kind in (Kind.NATIVE, Kind.FRAMES):
            self.notes.extend(image.correct(self.header, self._holds_one))

    def _holds_one(self, fmt: PixelFormat) -> bool:
        """Tell whether Pixel Data is exactly one frame of this format."""
        fragments, pixel = self.fragments, self.header.pixel
        if fragments is None:
            need = fmt.native_bytes
            return pixel is not None and pixel.length == need + need % 2
        if len(fragments.values) == 1:
            return True
        return self.syntax.family in KINDS and sum(map(self._starts_frame, range(len(fragments.values)))) == 1

    def map_frames(self, fmt: PixelFormat) -> None:
        """Find each of `fmt.frames` frames, so that `frame` can return it.

        Raises InputError when there are fewer bytes or fragments than frames need, or more than can be explained.
        """
        self._format = fmt
        if self.fragments is None:
            self._check_native_length(fmt)
            return
        mapping = encapsulation.map_frames(
            self.fragments,
            fmt.frames,
            self._extended_table(self.fragments),
            single=self.syntax.fragments is Fragments.ONE,
            starts_frame=self._starts_frame if self.syntax.family in KINDS else None,
        )
        self._starts = mapping.starts
        self.notes.extend(mapping.notes)

    def _extended_table(self, fragments: encapsulation.Fragments) -> encapsulation.ExtendedTable | None:
        """Return the Extended Offset Table; an empty one, which fits nothing, for more entries than fragments."""
        most = 8 * len(fragments.values)
        tables = [self.header.get(tag) for tag in (OFFSETS, OFFSET_LENGTHS)]
        if any(table is not None and most < table.length < UNDEFINED for table in tables):
            return encapsulation.ExtendedTable(array("Q"), array("Q"))
        return encapsulation.read_extended(self.header.value(OFFSETS, most), self.header.value(OFFSET_LENGTHS, most))

    def _starts_frame(self, number: int) -> bool:
        if not self._begins(number):
            return False
        return number == 0 or self.syntax.fragments is Fragments.ONE or self._ended_before(number)

    def _begins(self, number: int) -> bool:
        """Tell whether a fragment has the first bytes of a codestream."""
        fragments = self.fragments
        assert fragments is not None
        head = self.data.pread(min(12, fragments.lengths[number]), fragments.values[number])
        return starts_frame(head, self.syntax.family)

    def _ended_before(self, number: int) -> bool:
        """Tell whether a codestream ends in the fragments before this one, as far back as where one began.

        What stands behind EOI or EOC tells nothing; inside coded data neither can stand (T.81 B.1.1.5, T.800 B.10.1).
        """
        fragments = self.fragments
        assert fragments is not None
        behind = b""
        for before in range(number - 1, -1, -1):
            value, length = fragments.values[before], fragments.lengths[before]
            near = min(16, length)
            if ends_frame(self.data.pread(near, value + length - near)):
                return True
            data = self.data.pread(length, value)
            # The marker may be split between two fragments.
            if END in data + behind:
                return True
            if self._begins(before):
                return False
            behind = data[:1] or behind
        return False

    def _check_native_length(self, fmt: PixelFormat) -> None:
        pixel = self.header.pixel
        assert pixel is not None
        need = fmt.native_bytes
        if pixel.length < need:
            raise InputError(
                f"Pixel Data has {pixel.length} bytes, but {fmt.frames} frame{'s' * (fmt.frames != 1)} of "
                f"{fmt.describe()} need {need}; correct Number of Frames (0028,0008) or the attributes of the image",
                code="E_TRUNCATED",
            )
        excess = pixel.length - need
        unshared = fmt.replace(photometric="YBR_FULL").native_bytes
        if fmt.subsampled and unshared <= pixel.length <= unshared + unshared % 2:
            raise InputError(
                f"Photometric Interpretation is {fmt.photometric}, but Pixel Data has the {unshared} bytes of "
                "pixels that share no chroma; correct (0028,0004) first",
                code="E_INCONSISTENT",
            )
        if fmt.subsampled and fmt.planar == 1:
            self.notes.append(
                Finding(
                    "N_PLANAR",
                    "Planar Configuration is 1, which pixels that share chroma cannot have; read as by pixel",
                    Severity.WARNING,
                    tag=0x00280006,
                )
            )
        if excess > 1 and excess >= fmt.frame_bytes:
            raise InputError(
                f"Pixel Data has {pixel.length} bytes, but {fmt.frames} frame{'s' * (fmt.frames != 1)} of "
                f"{fmt.describe()} need only {need}; correct Number of Frames (0028,0008)",
                code="E_INCONSISTENT",
            )
        # More than a pad byte goes only if there is nothing in it.
        if excess > 1 and any(self._read(excess, pixel.value + need)):
            raise InputError(
                f"Pixel Data has {excess} bytes behind the last frame of {fmt.describe()}, and they are not zeros; "
                "correct the attributes of the image or remove them",
                code="E_INCONSISTENT",
            )
        if excess > need % 2:
            self.notes.append(
                Finding("N_PIXEL_PADDING", f"dropped {excess} bytes of padding behind the last frame", tag=0x7FE00010)
            )

    def frame(self, number: int) -> bytes:
        """Return the bytes of one frame (0-based): its codestream, or its native cells in little endian.

        A native frame of 1-bit pixels comes with the bits of its neighbours shifted out. Safe to call from several
        threads.
        """
        if self.fragments is not None:
            return self._encapsulated_frame(number)
        fmt = self._format
        assert fmt is not None
        if fmt.allocated == 1:
            return self._bit_frame(number, fmt)
        return self.native_bytes(number * fmt.frame_bytes, fmt.frame_bytes)

    def _encapsulated_frame(self, number: int) -> bytes:
        fragments, starts = self.fragments, self._starts
        assert fragments is not None
        assert starts is not None
        first, last = starts[number], starts[number + 1]
        parts = [self._read(fragments.lengths[part], fragments.values[part]) for part in range(first, last)]
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def opening(self, number: int) -> bytes:
        """Return the first bytes of an encapsulated frame, enough for the header of most codestreams."""
        fragments, starts = self.fragments, self._starts
        assert fragments is not None
        assert starts is not None
        first = starts[number]
        return self._read(min(_OPENING, fragments.lengths[first]), fragments.values[first])

    def _bit_frame(self, number: int, fmt: PixelFormat) -> bytes:
        first = number * fmt.frame_bits
        data = self.native_bytes(first // 8, (first + fmt.frame_bits + 7) // 8 - first // 8)
        if first % 8 == 0:
            return data
        shifted = int.from_bytes(data, "little") >> first % 8
        return shifted.to_bytes(len(data), "little")[: fmt.frame_bytes]

    def native_bytes(self, offset: int, length: int) -> bytes:
        """Return `length` bytes of native pixels from `offset`, in little endian.

        In big endian the words of OW are swapped, whatever Bits Allocated is, and those of OB are not (PS3.5 7.3).
        """
        pixel = self.header.pixel
        assert pixel is not None
        unit = self.swap_unit
        if unit == 1:
            return self._read(length, pixel.value + offset)
        start = offset - offset % unit
        end = min(-(-(offset + length) // unit) * unit, pixel.length)
        data = swap(self._read(end - start, pixel.value + start), unit)
        return data[offset - start : offset - start + length]

    @property
    def swap_unit(self) -> int:
        """How many bytes of native pixels make one number that big endian reverses; 1 if nothing is reversed."""
        pixel = self.header.pixel
        if pixel is None or not self.header.encoding.big_endian:
            return 1
        return self.word_bytes or SWAP_UNIT.get(pixel.vr, 1)

    def _read(self, length: int, offset: int) -> bytes:
        data = self.data.pread(length, offset)
        if len(data) < length:
            raise _shrunk()
        return data

    def pieces(self, span: Span) -> Iterator[bytes]:
        """Yield the bytes of a span of the data set, a piece at a time."""
        position = span.start
        while position < span.end:
            piece = self.data.pread(min(_PIECE, span.end - position), position)
            if not piece:
                raise _shrunk()
            yield piece
            position += len(piece)


def _shrunk() -> InputError:
    return InputError("the file became shorter while it was read", code="E_TRUNCATED")


def _encoding_name(encoding: Encoding) -> str:
    if encoding == IMPLICIT_LITTLE:
        return "Implicit VR Little Endian"
    return "Explicit VR Little Endian" if encoding == EXPLICIT_LITTLE else "Explicit VR Big Endian"


class Source(PixelSource):
    """One DICOM file, opened.

    `file` has the bytes of the file; `data` those of the data set, which are others where it was deflated. `head` is
    what stands before it. `spool_in` is the directory for a spool.

    Raises InputError when it is not DICOM or is damaged, UnsupportedError when its syntax is unknown.
    """

    def __init__(self, file: Reader, head: FileMeta, spool_in: str | None = None) -> None:
        self.file = file
        self.head = head
        self.notes: list[Finding] = []
        self._spool_in = spool_in
        self._spool: FileBytes | None = None
        syntax, encoding, start = self._decide()
        data = self._spool or file
        notes = self.notes
        super().__init__(data, Header(data, start, encoding), syntax)
        self.notes = notes

    def close(self) -> None:
        """Give up the spool of a deflated data set; the file belongs to who opened it."""
        if self._spool is not None:
            self._spool.close()

    # --- the header ------------------------------------------------------------------------------------------

    def _decide(self) -> tuple[Syntax, Encoding, int]:
        """Return the transfer syntax, the encoding that the data set really has, and where it starts."""
        head = self.head
        if not head.syntax:
            return self._decide_without_meta()
        if not head.preamble:
            self.notes.append(
                Finding(
                    "N_NO_PREAMBLE",
                    "the file has no preamble; read from its File Meta Information on",
                    Severity.WARNING,
                )
            )
        if head.declared is not None and head.meta and head.dataset != self._declared_end(head):
            self.notes.append(
                Finding(
                    "N_GROUP_LENGTH",
                    "File Meta Information Group Length (0002,0000) is wrong; its elements were walked",
                    Severity.WARNING,
                    tag=0x00020000,
                )
            )
        syntax = find(head.syntax)
        if syntax is None:
            raise UnsupportedError(
                f"transfer syntax {head.syntax[:64]!r} is not one of the standard's", code="E_UNSUPPORTED_TS"
            )
        start = head.dataset
        if syntax.deflated:
            start = self._inflate(start)
        shown = guess_encoding(self._spool or self.file, start, syntax.encoding)
        if shown is not None and shown != syntax.encoding:
            self.notes.append(
                Finding(
                    "N_ENCODING",
                    f"the data set is {_encoding_name(shown)}, but its transfer syntax is {syntax.name}; read as it is",
                    Severity.WARNING,
                    tag=0x00020010,
                )
            )
            return syntax, shown, start
        return syntax, syntax.encoding, start

    def _inflate(self, start: int) -> int:
        """Inflate the data set, and return where it starts then."""
        from dcmtx.place.inflate import inflate

        self._spool, wrapped = inflate(self.file, start, self._spool_in)
        if wrapped:
            self.notes.append(
                Finding(
                    "N_ZLIB",
                    "the data set is wrapped by zlib, which the standard does not allow; read all the same",
                    Severity.WARNING,
                )
            )
        return 0

    def _declared_end(self, head: FileMeta) -> int:
        start = len(head.preamble) + 4 if head.preamble else 0
        return start + 12 + (head.declared or 0)

    def _decide_without_meta(self) -> tuple[Syntax, Encoding, int]:
        """Decide for a file that does not name its transfer syntax: read only if its data set shows it for certain."""
        start = self.head.dataset
        shown = guess_encoding(self.file, start)
        first = self.file.pread(2, start)
        # Group 0008 opens every data set that identifies an object.
        if shown is None or first != (b"\x00\x08" if shown.big_endian else b"\x08\x00"):
            what = "names no transfer syntax" if self._is_dicom else "is not a DICOM file"
            raise InputError(f"the file {what}, and its bytes do not show one for certain", code=self._nameless)
        syntax = BIG_ENDIAN if shown.big_endian else IMPLICIT if shown.implicit else EXPLICIT
        self.notes.append(
            Finding(
                "N_NO_SYNTAX",
                f"the file names no transfer syntax; its data set shows {syntax.name}",
                Severity.WARNING,
                tag=0x00020010,
            )
        )
        return syntax, shown, start

    @property
    def _is_dicom(self) -> bool:
        return bool(self.head.meta or self.head.preamble)

    @property
    def _nameless(self) -> str:
        """The code of an error in a file that names no transfer syntax: whether it is DICOM at all is not certain."""
        return "E_NO_SYNTAX" if self._is_dicom else "E_NOT_DICOM"

    def close_pixels(self) -> None:
        """Find the end of the pixel element and index what stands behind it. Raises as that of a PixelSource does.

        Then a file that names no transfer syntax has shown all that it can show, and is refused if that is not enough.
        """
        pixel = self.header.pixel
        if not self.head.syntax and pixel is not None and pixel.length == UNDEFINED:
            raise InputError(
                "the file names no transfer syntax, and its Pixel Data is compressed, by which codec it does not say",
                code="E_NO_SYNTAX",
            )
        super().close_pixels()
        if not self.head.syntax:
            self._check_certain(self.header)

    def _check_certain(self, header: Header) -> None:
        """Refuse a file without transfer syntax whose elements do not come in order, as those of a data set do."""
        tags = list(header.tags())
        if tags != sorted(tags):
            raise InputError("the file names no transfer syntax, and its elements are in disorder", code=self._nameless)
