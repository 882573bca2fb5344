"""Frames: the pixels of one data set, one frame at a time, never all of Pixel Data.

`read_frames` makes them from the header of a data set. It records errors in the pixels as `fault` and does not raise
them: a plan that leaves the pixels alone does not care.
"""

from __future__ import annotations

from collections.abc import Sequence

from dcmtx.dataset.element import PIXEL_DATA, UNDEFINED, Element, swap
from dcmtx.dataset.header import Header
from dcmtx.dataset.vr import SWAP_UNIT
from dcmtx.errors import DcmtxError, InputError
from dcmtx.finding import Finding, Severity
from dcmtx.pixel.codestream import KINDS, Codestream, inspect
from dcmtx.pixel.encapsulation import Fragments
from dcmtx.pixel.format import PixelFormat
from dcmtx.place.bytes import Reader
from dcmtx.record import Record
from dcmtx.rules import image
from dcmtx.syntax import Kind, Syntax
from dcmtx.transcoding.fragments import FragmentReader

# Longer than most codestream headers, unless they have comments or profiles.
_OPENING = 4096
# Families whose codestreams each tell whether they are lossy.
_MAY_LOSE = frozenset(["jpeg", "jpegls", "j2k", "htj2k", "jpegxl"])


class Frames(Record):
    """The frames of one data set; immutable, and safe to read from several threads.

    `reader` has the bytes, `pixel` is their element; `syntax` is the transfer syntax of the pixels. `format` is the
    format that the header declares, None where that makes no sense or is not read; `fault` is the error in the format
    or the frames. `word_bytes` is the word size of native big endian pixels where the VR does not tell. `first` is
    the first of native frames that are a part of those in the file; `stride` is how many bytes each has there, where it
    is a part itself, and `skip` how many of them precede it. `notes` report oddities.
    """

    reader: Reader
    syntax: Syntax
    pixel: Element | None = None
    big_endian: bool = False
    format: PixelFormat | None = None
    fault: DcmtxError | None = None
    fragments: Fragments | None = None
    # Frame i has fragments starts[i] up to, not including, starts[i + 1].
    starts: Sequence[int] = ()
    word_bytes: int | None = None
    first: int = 0
    stride: int = 0
    skip: int = 0
    notes: tuple[Finding, ...] = ()

    def __len__(self) -> int:
        """Return how many frames there are; 0 where that is unknown."""
        return self.format.frames if self.format is not None else 0

    def __bool__(self) -> bool:
        """Return True even where there is no frame."""
        return True

    @property
    def encapsulated(self) -> bool:
        """Whether Pixel Data is a sequence of fragments."""
        return self.pixel is not None and self.pixel.length == UNDEFINED

    @property
    def native_length(self) -> int:
        """Length of native Pixel Data in bytes, with everything after the last frame; 0 for encapsulated pixels."""
        return 0 if self.pixel is None or self.encapsulated else self.pixel.length

    @property
    def coded_bytes(self) -> int:
        """Bytes of all codestreams together; 0 for native pixels."""
        return sum(self.fragments.lengths) if self.fragments is not None else 0

    def part(self, first: int, count: int) -> Frames:
        """Return these frames from `first` on, `count` of them, as if there were no others."""
        fmt = self.format
        if fmt is None or (first, count) == (0, fmt.frames):
            return self
        fmt = fmt.replace(frames=count)
        fragments = self.fragments
        if fragments is None:
            return self.replace(format=fmt, first=self.first + first)
        low, high = self.starts[first], self.starts[first + count]
        fragments = fragments.replace(
            values=fragments.values[low:high], lengths=fragments.lengths[low:high], unended=False
        )
        starts = [start - low for start in self.starts[first : first + count + 1]]
        return self.replace(format=fmt, starts=starts, fragments=fragments)

    def as_words(self, fmt: PixelFormat) -> Frames:
        """Return frames of floating point as words of this format, whose bits are those of the numbers.

        Raises InputError where there are fewer bytes than the frames need.
        """
        if self.native_length < fmt.native_bytes:
            raise InputError(
                f"its floating point pixels have {self.native_length} bytes instead of {fmt.native_bytes}",
                advice="correct Number of Frames (0028,0008) or the attributes of the image",
                code="E_TRUNCATED",
            )
        return self.replace(format=fmt)

    def band(self, top: int, rows: int) -> Frames:
        """Return native frames of rows that lie together, with only these rows."""
        fmt = self.format
        if fmt is None or rows == fmt.rows:
            return self
        skip = fmt.replace(rows=top).frame_bytes
        return self.replace(format=fmt.replace(rows=rows), stride=fmt.frame_bytes, skip=skip)

    def check(self) -> None:
        """Raise `fault` if there is one."""
        if self.fault is not None:
            raise self.fault

    def in_words(self, word_bytes: int | None) -> Frames:
        """Return these frames with this word size for native big endian pixels."""
        return self.replace(word_bytes=word_bytes) if word_bytes != self.word_bytes else self

    def frame(self, number: int) -> bytes:
        """Return the bytes of one frame (0-based): its codestream, or its native cells in little endian.

        A native frame of 1-bit pixels comes with the bits of its neighbours shifted out.

        Raises InputError where the file has become shorter, or `fault` where the format is unknown.
        """
        fmt = self.format
        if fmt is None:
            raise self.fault or InputError("its frames are not known")
        if self.fragments is not None:
            return self._encapsulated_frame(self.fragments, number)
        if fmt.allocated == 1:
            return self._bit_frame(number, fmt)
        start = (self.first + number) * (self.stride or fmt.frame_bytes) + self.skip
        return self.native_bytes(start, fmt.frame_bytes)

    def _encapsulated_frame(self, fragments: Fragments, number: int) -> bytes:
        first, last = self.starts[number], self.starts[number + 1]
        parts = [_read(self.reader, fragments.lengths[part], fragments.values[part]) for part in range(first, last)]
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def opening(self, number: int) -> bytes:
        """Return the first bytes of a frame; for an encapsulated frame, enough for most codestream headers."""
        if self.fragments is None:
            return self.frame(number)[:_OPENING]
        first = self.starts[number]
        return _read(self.reader, min(_OPENING, self.fragments.lengths[first]), self.fragments.values[first])

    def first_stream(self) -> Codestream | None:
        """Return the header of the first codestream, after comparing it with the data set; None where there is none.

        Raises InputError where they contradict each other, or the file ends inside the last frame.
        """
        fmt, fragments = self.format, self.fragments
        if fmt is None or fragments is None:
            return None
        if fragments.unended:
            _check_last(self, fragments, fmt)
        if self.syntax.family not in KINDS:
            return None
        try:
            from dcmtx.transcoding.codestreams import read_colour

            return read_colour(self.syntax, self.frame(0), fmt)
        except DcmtxError as error:
            error.frame = 0
            raise

    def find_lost(self, first: Codestream) -> Codestream | None:
        """Return the header of the first lossy codestream; None if there is none.

        `first` is the header of the first frame; those of all others may be read. One lossy frame is enough (PS3.3
        C.7.6.1.1.5). Unreadable headers are skipped: decoding reports them.
        """
        if not first.reversible:
            return first
        if self.syntax.family not in _MAY_LOSE:
            return None
        for number in range(1, len(self)):
            for read in (self.opening, self.frame):
                try:
                    found = inspect(self.syntax.family, read(number))
                except InputError:
                    continue
                if not found.reversible:
                    return found
                break
        return None

    def _bit_frame(self, number: int, fmt: PixelFormat) -> bytes:
        first = (self.first + number) * fmt.frame_bits
        data = self.native_bytes(first // 8, (first + fmt.frame_bits + 7) // 8 - first // 8)
        if first % 8 == 0:
            return data
        shifted = int.from_bytes(data, "little") >> first % 8
        return shifted.to_bytes(len(data), "little")[: fmt.frame_bytes]

    def native_bytes(self, offset: int, length: int) -> bytes:
        """Return `length` bytes of native pixels from `offset`, in little endian.

        In big endian the words of OW are swapped, whatever Bits Allocated is, and those of OB are not (PS3.5 7.3).
        """
        pixel = self.pixel
        if pixel is None:
            return b""
        unit = self.swap_unit
        if unit == 1:
            return _read(self.reader, length, pixel.value + offset)
        start = offset - offset % unit
        end = min(-(-(offset + length) // unit) * unit, pixel.length)
        data = swap(_read(self.reader, end - start, pixel.value + start), unit)
        return data[offset - start : offset - start + length]

    @property
    def swap_unit(self) -> int:
        """The number of bytes that big endian reverses together in native pixels; 1 if nothing is reversed."""
        if self.pixel is None or not self.big_endian:
            return 1
        return self.word_bytes or SWAP_UNIT.get(self.pixel.vr, 1)


def shrunk() -> InputError:
    """Return the error for a file that has become shorter since it was opened."""
    return InputError("the file became shorter while it was read", code="E_TRUNCATED")


def _read(reader: Reader, length: int, offset: int) -> bytes:
    data = reader.pread(length, offset)
    if len(data) < length:
        raise shrunk()
    return data


# --- frames of a header ----------------------------------------------------------------------------------------


def read_frames(header: Header, syntax: Syntax, fragments: Fragments | None, *, forgiving: bool = False) -> Frames:
    """Return the frames of a data set whose header is closed; `fragments` are those of its pixel element, if any.

    With `forgiving`, whatever follows the last native frame is passed over.

    Errors in the pixels are not raised but recorded as `fault` of the frames.
    """
    frames = Frames(header.reader, syntax, header.pixel, big_endian=header.encoding.big_endian, fragments=fragments)
    if fragments is not None:
        return _coded(frames, header, fragments) if syntax.kind is Kind.FRAMES else frames
    if header.pixel is None or header.pixel.tag != PIXEL_DATA:
        return frames
    frames = _described(frames, header)
    if frames.format is None:
        return frames
    try:
        notes = _check_native_length(header.reader, header.pixel, frames.format, forgiving=forgiving)
        return frames.replace(notes=notes)
    except InputError as error:
        return frames.replace(fault=error)


def _described(frames: Frames, header: Header) -> Frames:
    """Return the frames with their format, or with its error as `fault`."""
    try:
        fmt = image.read_format(header)
        image.check_format(fmt)
    except InputError as error:
        return frames.replace(fault=error)
    return frames.replace(format=fmt)


def _coded(frames: Frames, header: Header, fragments: Fragments) -> Frames:
    """Return encapsulated frames with the fragments of each."""
    frames = _described(frames, header)
    fmt = frames.format
    if fmt is None:
        return frames
    try:
        mapping = FragmentReader(frames.reader, fragments, frames.syntax).map_frames(header, fmt.frames)
    except InputError as error:
        return frames.replace(fault=error)
    return frames.replace(starts=mapping.starts, notes=tuple(mapping.notes))


def _check_last(frames: Frames, fragments: Fragments, fmt: PixelFormat) -> None:
    """Raise InputError unless the last frame is whole: without a delimiter, fragments of it may be missing."""
    last = fmt.frames - 1
    try:
        if frames.syntax.family in KINDS:
            from dcmtx.transcoding.codestreams import read_stream

            read_stream(frames.syntax, frames.frame(last), fmt)
        elif len(fragments.values) > fmt.frames:
            raise InputError(
                "the file ends without a Sequence Delimitation Item, and its frames have several fragments; the file "
                "is truncated",
                code="E_TRUNCATED",
            )
    except DcmtxError as error:
        error.frame = last
        raise


def _check_native_length(
    reader: Reader, pixel: Element, fmt: PixelFormat, *, forgiving: bool = False
) -> tuple[Finding, ...]:
    """Return notes on native Pixel Data whose length differs from that of its frames.

    Raises InputError when there are fewer bytes than the frames need, or an unexplained excess.
    """
    notes: tuple[Finding, ...] = ()
    need = fmt.native_bytes
    if pixel.length < need:
        raise InputError(
            f"Pixel Data has {pixel.length} bytes, but {fmt.frames} frame{'s' * (fmt.frames != 1)} of "
            f"{fmt.describe()} need {need}",
            advice="correct Number of Frames (0028,0008) or the attributes of the image",
            code="E_TRUNCATED",
        )
    excess = pixel.length - need
    unshared = fmt.replace(photometric="YBR_FULL").native_bytes
    if fmt.subsampled and unshared <= pixel.length <= unshared + unshared % 2:
        raise InputError(
            f"Photometric Interpretation is {fmt.photometric}, but Pixel Data has the {unshared} bytes of "
            "pixels that share no chroma",
            advice="correct (0028,0004) first",
            code="E_INCONSISTENT",
        )
    if fmt.subsampled and fmt.planar == 1:
        notes = (
            Finding(
                "N_PLANAR",
                "Planar Configuration is 1, which pixels that share chroma cannot have; read as by pixel",
                Severity.WARNING,
                tag=image.PLANAR_CONFIGURATION,
            ),
        )
    if excess > 1 and excess >= fmt.frame_bytes:
        raise InputError(
            f"Pixel Data has {pixel.length} bytes, but {fmt.frames} frame{'s' * (fmt.frames != 1)} of "
            f"{fmt.describe()} need only {need}",
            advice="correct Number of Frames (0028,0008)",
            code="E_INCONSISTENT",
        )
    # An excess of more than a pad byte is dropped only if it is all zeros, or if the user says so.
    if excess > 1 and forgiving and any(_read(reader, excess, pixel.value + need)):
        return (
            *notes,
            Finding(
                "N_DAMAGED",
                f"passed over {excess} bytes behind the last frame, which are not zeros",
                Severity.WARNING,
                tag=PIXEL_DATA,
            ),
        )
    if excess > 1 and any(_read(reader, excess, pixel.value + need)):
        raise InputError(
            f"Pixel Data has {excess} bytes behind the last frame of {fmt.describe()}, and they are not zeros",
            advice="correct the attributes of the image or remove them",
            code="E_INCONSISTENT",
        )
    if excess > need % 2:
        notes += (
            Finding(
                "N_PIXEL_PADDING",
                f"dropped {excess} bytes of padding behind the last frame",
                tag=PIXEL_DATA,
                seen=f"{excess} zero bytes stand behind the last frame",
            ),
        )
    return notes
