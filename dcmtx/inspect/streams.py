"""What the codestreams of a file say, compared with its data set and with one another. Never decodes."""

from __future__ import annotations

from collections.abc import Iterator

from dcmtx.errors import InputError
from dcmtx.finding import Finding, Severity
from dcmtx.pixel.codestream import KINDS, Codestream, check_end, details, ends_frame, inspect
from dcmtx.pixel.format import PixelFormat
from dcmtx.record import Record
from dcmtx.rules import stream as rule
from dcmtx.rules import wrapping
from dcmtx.rules.agreement import contradictions
from dcmtx.transcoding.frames import Frames

_TAIL = 64
# What all frames of a file must have in common: one Image Pixel Module describes them.
_ALIKE = ("kind", "rows", "columns", "components", "precision", "signed", "transform")
# Kinds whose codestreams end with a marker.
_MARKED = frozenset(["jpeg", "jpegls", "j2k", "htj2k"])


class Streams(Record):
    """The first codestream and its details, the first lossy one, and what was found in all of them."""

    first: Codestream | None = None
    details: details.Details | None = None
    lost: Codestream | None = None
    findings: tuple[Finding, ...] = ()


class _Told:
    """Findings of many frames: each code once, with the number of frames that have it."""

    def __init__(self) -> None:
        self._first: dict[str, Finding] = {}
        self._more: dict[str, int] = {}

    def add(self, finding: Finding) -> None:
        """Take a finding of one frame."""
        if finding.code in self._first:
            self._more[finding.code] = self._more.get(finding.code, 0) + 1
        else:
            self._first[finding.code] = finding

    def all(self) -> Iterator[Finding]:
        """Yield the findings; of several frames with one code, that of the first frame."""
        for code, finding in self._first.items():
            more = self._more.get(code, 0)
            text = f"{finding.text} (and so {more} more frame{'s' * (more != 1)})" if more else finding.text
            yield finding.replace(text=text)


def read(frames: Frames) -> Streams:
    """Read the headers of all codestreams, and where the first, the last and all odd ones end."""
    fmt = frames.format
    if fmt is None or frames.fragments is None or frames.fault is not None:
        return Streams()
    if frames.syntax.family == "native":
        return _read_cells(frames, fmt)
    return _read_streams(frames, fmt) if frames.syntax.family in KINDS else Streams()


def _read_cells(frames: Frames, fmt: PixelFormat) -> Streams:
    told = _Told()
    for number in range(fmt.frames):
        wrong = _cells(frames, number, fmt)
        if wrong is not None:
            told.add(Finding.of_error(wrong))
    return Streams(findings=tuple(told.all()))


def _read_streams(frames: Frames, fmt: PixelFormat) -> Streams:
    found, told = Streams(), _Told()
    for number in range(fmt.frames):
        try:
            stream, data = _header(frames, number, fmt)
            for error in contradictions(frames.syntax, stream, fmt):
                raise error
            junk = _behind(frames, stream, number)
        except InputError as error:
            error.frame = number
            told.add(Finding.of_error(error))
            continue
        if junk:
            told.add(wrapping.behind(number, junk))
        if found.first is None:
            found = found.replace(first=stream, details=details.read(stream, data))
        for finding in _findings(frames, found, stream, number, fmt):
            told.add(finding)
        if found.lost is None and not stream.reversible:
            found = found.replace(lost=stream)
    return found.replace(findings=tuple(told.all()))


def _findings(frames: Frames, found: Streams, stream: Codestream, number: int, fmt: PixelFormat) -> Iterator[Finding]:
    """Yield what is wrong with a codestream: of the first all, of others what the first has not."""
    if stream is found.first:
        yield from rule.findings(frames.syntax, stream, fmt)
        return
    differing = _compare(found.first, stream, number)
    if differing is not None:
        yield differing
    if found.lost is None and not stream.reversible:
        for finding in rule.findings(frames.syntax, stream, fmt):
            if finding.code == "N_NOT_LOSSLESS":
                yield finding.replace(frame=number)


def _cells(frames: Frames, number: int, fmt: PixelFormat) -> InputError | None:
    """Return the error of a frame of native cells whose fragment has another length (PS3.5 A.4.11)."""
    assert frames.fragments is not None
    length = sum(frames.fragments.lengths[frames.starts[number] : frames.starts[number + 1]])
    if 0 <= length - fmt.frame_bytes <= 1:
        return None
    return InputError(
        f"its fragment has {length} bytes, and a frame {fmt.frame_bytes}", code="E_GEOMETRY", frame=number
    )


def _header(frames: Frames, number: int, fmt: PixelFormat) -> tuple[Codestream, bytes]:
    """Return the header of one codestream, and the bytes that were needed: the first few, or all."""
    family = frames.syntax.family
    opening = frames.opening(number)
    try:
        return inspect(family, opening, samples=fmt.samples), opening
    except InputError:
        data = frames.frame(number)
        if len(data) == len(opening):
            raise
    return inspect(family, data, samples=fmt.samples), data


def _compare(first: Codestream | None, stream: Codestream, number: int) -> Finding | None:
    """Return what a codestream has that the first has not."""
    if first is None:
        return None
    differing = [name for name in _ALIKE if getattr(first, name) != getattr(stream, name)]
    if not differing:
        return None
    return Finding(
        "N_FRAMES_DIFFER",
        f"its codestream differs from that of the first frame in {', '.join(differing)}",
        Severity.ERROR,
        frame=number,
    )


def _behind(frames: Frames, stream: Codestream, number: int) -> int:
    """Return how many bytes that are no padding follow a codestream.

    The whole frame is read if its last bytes are not its end, and where tiles may be missing.
    Raises InputError if the codestream is not complete.
    """
    if stream.kind not in _MARKED:
        return 0
    tiled = stream.kind in ("j2k", "htj2k") and number in (0, len(frames) - 1)
    if not tiled and stream.scanned >= stream.components and ends_frame(_tail(frames, number)):
        return 0
    data = frames.frame(number)
    whole = check_end(inspect(frames.syntax.family, data), data)
    return len(data[whole.end :].rstrip(b"\0\xff"))


def _tail(frames: Frames, number: int) -> bytes:
    """Return the last bytes of a frame."""
    assert frames.fragments is not None
    last = frames.starts[number + 1] - 1
    value, length = frames.fragments.values[last], frames.fragments.lengths[last]
    near = min(_TAIL, length)
    return frames.reader.pread(near, value + length - near)
