"""Makes single frames of multi-frame instances: the very data sets that an instance was made of, or new ones."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence

from dcmtx.dataset.compose import code_item, item, items_at, items_within, made, sequence, text
from dcmtx.dataset.element import PIXEL_DATA
from dcmtx.errors import DcmtxError, InputError, RefusedError, UnsupportedError, UsageError, VerifyError
from dcmtx.finding import Finding, Severity
from dcmtx.planning.request import BackendChoice, Request, Target, resolve
from dcmtx.policy import LOSSLESS, Policy, Signatures, Uid, Verify
from dcmtx.record import Record
from dcmtx.rules import legacy, restoring
from dcmtx.series.dataset import frame_of
from dcmtx.series.digests import digest
from dcmtx.series.emitting import Emitter, Frame
from dcmtx.series.finding import found_in, noted
from dcmtx.series.gathering import close, elements_of, open_at
from dcmtx.series.references import derived_uid, equipment_item, reference_item
from dcmtx.transcoding.decode import PlannedDecoder, decoder_of
from dcmtx.transcoding.job import Job, Outcome
from dcmtx.transcoding.running import Watch
from dcmtx.transcoding.source import Opened

_CLASSIC_TEXT = "Classic Image created from Enhanced Image"
_EXTRACTING = ("109105", "DCM", "Frame Extracting Equipment")
_EXTRACTIONS, _FRAME_LIST, _SOURCE_INSTANCE = 0x00081164, 0x00081161, 0x00081167
_REFERENCED_FRAME = 0x00081160


class Choices(Record):
    """What may be asked of a split: `frames` are numbers from 1, None for all.

    With `strict`, a frame of an instance that dcmtx made fails where it is not the original any more.
    """

    frames: tuple[tuple[int, int], ...] | None = None
    same_class: bool = False
    uid: Uid = Uid.AUTO
    strict: bool = False


def frames_asked(words: str) -> tuple[tuple[int, int], ...]:
    """Return the ranges of `1,5-9`. Raises UsageError for anything else."""
    ranges = []
    for word in words.split(","):
        first, dash, last = word.strip().partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()) or int(first) < 1:
            raise UsageError(f"--frames is {words!r}, not numbers and ranges from 1 such as 1,5-9")
        ranges.append((int(first), int(last) if dash else int(first)))
        if ranges[-1][0] > ranges[-1][1]:
            raise UsageError(f"--frames has {word.strip()}, which goes backwards")
    return tuple(ranges)


def split(
    sources: Sequence[str], dst: str, job: Job, choices: Choices, *, target: Target | None, watch: Watch | None = None
) -> Iterator[Outcome | DcmtxError]:
    """Make the frames of the sources, in the directory `dst`; yield what became of each frame, or of a source.

    With one source, its errors are raised.
    """
    if os.path.exists(dst) and not os.path.isdir(dst):
        raise UsageError(f"{dst} is a file, and frames go into a directory")
    found = found_in(sources, without=dst)
    paths, notes = found.paths, found.notes
    written: dict[str, str] = {}
    for path in paths:
        try:
            for outcome in _split_one(path, dst, job, choices, target=target, watch=watch, written=written):
                yield noted(outcome, notes)
                notes = ()
        except DcmtxError as error:
            error.path = error.path or path
            if len(paths) == 1:
                raise
            yield error
        except OSError as error:
            raise InputError(f"the system failed: {error.strerror or error}", code="E_UNREADABLE", path=path) from error


def _split_one(
    path: str,
    dst: str,
    job: Job,
    choices: Choices,
    *,
    target: Target | None,
    watch: Watch | None,
    written: dict[str, str],
) -> Iterator[Outcome]:
    """Make the frames of one source; `written` has the sources of the instances that were made, by their UIDs."""
    opened = open_at(path)
    try:
        whole = _Whole(path, opened, choices)
        emitter = Emitter(opened, job.replace(src=path), dst, target=target, uid=choices.uid, written=written)
        first = True
        try:
            for number, header, original in whole.frames():
                started = time.perf_counter()
                frames = frame_of(opened.frames, number, whole.vr(number, original=original))
                frame = Frame(header, frames, whole.notes(original=original), first=first)
                first = False
                outcome = emitter.emit(frame)
                if watch is not None:
                    watch(number + 1, whole.count)
                yield outcome.replace(seconds=time.perf_counter() - started)
        finally:
            whole.close()
    finally:
        close(opened)


class _Whole:
    """One multi-frame instance: what is of all frames, and how each frame is made."""

    def __init__(self, path: str, opened: Opened, choices: Choices) -> None:
        header, frames = opened.dataset.header, opened.frames
        if header.pixel is None:
            raise InputError("it is no image: it has no Pixel Data", code="E_NO_PIXELDATA")
        if header.pixel.tag != PIXEL_DATA:
            raise UnsupportedError("its pixels are floating point, which are no frames yet", code="E_FLOAT")
        frames.check()
        self.path = path
        self.count = len(frames)
        self._opened = opened
        self._choices = choices
        self._chosen = self._numbers(choices.frames)
        # The frames' own groups are read one at a time.
        per_frame = header.get(legacy.FRAME_GROUPS)
        if opened.dataset.encoding.implicit or opened.dataset.encoding.big_endian or per_frame is None:
            self._top = elements_of(opened)
            held = self._top.pop(legacy.FRAME_GROUPS, None)
            self._items: Callable[[], Iterator[dict[int, bytes]]] | None = None
            if held is not None:
                self._items = lambda: items_within(held)
        else:
            self._top = elements_of(opened, without=legacy.FRAME_GROUPS)
            self._items = lambda: items_at(opened.dataset.reader, per_frame)
        self._shared = next(items_within(self._top.get(legacy.SHARED_GROUPS)), {})
        self._class = text(self._top.get(legacy.SOP_CLASS))
        self._instance = text(self._top.get(legacy.SOP_INSTANCE))
        self._told = restoring.provenance(self._top)
        self._decoder: PlannedDecoder | None = None
        self._series: dict[str, str] | None = None
        self._make = self._maker()
        self.different = 0

    def close(self) -> None:
        """Close the codec."""
        if self._decoder is not None:
            self._decoder.close()

    def _numbers(self, ranges: tuple[tuple[int, int], ...] | None) -> set[int] | None:
        """Return the numbers of the frames that are asked for, 0-based; None for all."""
        if ranges is None:
            return None
        last = max(end for _, end in ranges)
        if last > self.count:
            raise RefusedError(f"there is no frame {last}; it has {self.count}", code="E_OUTSIDE")
        return {number - 1 for first, end in ranges for number in range(first, end + 1)}

    def _maker(self) -> Callable[[int, dict[int, bytes]], tuple[dict[int, bytes], bool]]:
        """Return what makes the elements of a frame, and tells whether they are the original's."""
        if self._choices.same_class:
            return self._same_class
        if self._class in legacy.CLASSIC and self._items is not None:
            return self._restored
        if self._class in restoring.ENHANCED and self._items is not None:
            return self._flattened
        if self._class in restoring.PLAIN:
            return self._alone
        if self.count == 1:
            raise RefusedError(
                "it is one image already, with nothing to split",
                advice="leave it out, or use --same-class for a new instance of it",
                code="E_IOD",
            )
        raise RefusedError(
            f"frames of its class {self._class or '(none)'} have no class of their own",
            advice="use --same-class for instances of the same class with one frame each",
            code="E_IOD",
        )

    def frames(self) -> Iterator[tuple[int, dict[int, bytes], bool]]:
        """Yield the number of each frame (0-based), its elements, and whether it is the original."""
        if self._items is None:
            for number in range(self.count):
                if self._chosen is None or number in self._chosen:
                    yield number, *self._make(number, {})
            return
        seen = 0
        for number, groups in enumerate(self._items()):
            seen = number + 1
            if number < self.count and (self._chosen is None or number in self._chosen):
                yield number, *self._make(number, groups)
        if seen != self.count:
            raise InputError(
                f"it has {self.count} frames, and functional groups of {seen}", code="E_INCONSISTENT", path=self.path
            )

    # --- kinds of frames -------------------------------------------------------------------------------------------

    def _restored(self, number: int, groups: dict[int, bytes]) -> tuple[dict[int, bytes], bool]:
        found = restoring.restored(self._top, self._shared, groups, self._told)
        if legacy.SERIES not in found:
            found[legacy.SERIES] = made(legacy.SERIES, b"UI", self._old_series(text(found.get(legacy.SOP_INSTANCE))))
        original = self._told is not None and self._is_original(number, found, self._told.of(number))
        if not original and self._told is not None and self._choices.strict:
            raise VerifyError("it is not what it was made of any more", code="E_DIGEST", frame=number)
        if original and self._choices.uid is not Uid.NEW:
            return found, True
        if self._choices.uid is not Uid.KEEP:
            self.different += not original
            self._renew(found, number, _CLASSIC_TEXT)
        return found, False

    def _flattened(self, number: int, groups: dict[int, bytes]) -> tuple[dict[int, bytes], bool]:
        found = restoring.flattened(self._top, self._shared, groups, self._class)
        self._name(found, restoring.ENHANCED[self._class], number)
        self._renew(found, number, _CLASSIC_TEXT)
        return restoring.with_plane(found, number), False

    def _alone(self, number: int, _groups: dict[int, bytes]) -> tuple[dict[int, bytes], bool]:
        found = restoring.with_plane(restoring.alone(self._top, number, self._class), number)
        self._name(found, restoring.PLAIN[self._class], number)
        self._extract(found, number)
        return found, False

    def _same_class(self, number: int, groups: dict[int, bytes]) -> tuple[dict[int, bytes], bool]:
        own = item(groups) if self._items is not None else None
        found = restoring.with_plane(restoring.same_class(self._top, own, number), number)
        for tag in legacy.BLOCK:
            if self._told is not None:
                found.pop(tag, None)
        self._name(found, self._class, number)
        self._extract(found, number)
        return found, False

    def _name(self, found: dict[int, bytes], class_uid: str, number: int) -> None:
        found[legacy.SOP_CLASS] = made(legacy.SOP_CLASS, b"UI", class_uid)
        found[legacy.INSTANCE_NUMBER] = made(legacy.INSTANCE_NUMBER, b"IS", str(number + 1))

    def _renew(self, found: dict[int, bytes], number: int, description: str) -> None:
        """Give a frame UIDs of its own, and say what it was converted from (PS3.4 C.3.5)."""
        found[legacy.SOP_INSTANCE] = made(
            legacy.SOP_INSTANCE, b"UI", derived_uid("frame", self._instance, str(number + 1))
        )
        series = text(self._top.get(legacy.SERIES))
        found[legacy.SERIES] = made(legacy.SERIES, b"UI", derived_uid("frames", self._instance, series))
        source = next(items_within(sequence(legacy.CONVERSION, reference_item(self._class, self._instance))))
        source[_REFERENCED_FRAME] = made(_REFERENCED_FRAME, b"IS", str(number + 1))
        found[legacy.CONVERSION] = sequence(legacy.CONVERSION, item(source))
        if legacy.INSTANCE_NUMBER not in found:
            found[legacy.INSTANCE_NUMBER] = made(legacy.INSTANCE_NUMBER, b"IS", str(number + 1))
        self._add_equipment(found, equipment_item(description))

    def _extract(self, found: dict[int, bytes], number: int) -> None:
        """Give a frame a UID of its own, and say where it was extracted from (PS3.4 Y.3.3)."""
        if self._choices.uid is not Uid.KEEP or self.count > 1:
            found[legacy.SOP_INSTANCE] = made(
                legacy.SOP_INSTANCE, b"UI", derived_uid("frame", self._instance, str(number + 1))
            )
        extraction = item({
            _SOURCE_INSTANCE: made(_SOURCE_INSTANCE, b"UI", self._instance),
            _FRAME_LIST: made(_FRAME_LIST, b"UL", (number + 1).to_bytes(4, "little")),
        })  # fmt: skip
        before = [item(part) for part in items_within(found.get(_EXTRACTIONS))]
        found[_EXTRACTIONS] = sequence(_EXTRACTIONS, *before, extraction)
        self._add_equipment(found, equipment_item("Frame extracted from a multi-frame image", code_item(*_EXTRACTING)))

    @staticmethod
    def _add_equipment(found: dict[int, bytes], equipment: bytes) -> None:
        before = [item(part) for part in items_within(found.get(legacy.EQUIPMENT))]
        found[legacy.EQUIPMENT] = sequence(legacy.EQUIPMENT, *before, equipment)

    def _old_series(self, instance: str) -> str:
        """Return the series that a source was in, by the references to it; our own where it is not told."""
        if self._series is None:
            self._series = {}
            for series in items_within(self._top.get(legacy.REFERENCED_SERIES)):
                for cited in items_within(series.get(legacy.INSTANCES)):
                    self._series[text(cited.get(legacy.REFERENCED_INSTANCE))] = text(series.get(legacy.SERIES))
        return self._series.get(instance) or derived_uid("frames", self._instance, text(self._top.get(legacy.SERIES)))

    # --- pixels ----------------------------------------------------------------------------------------------------

    def _is_original(self, number: int, found: dict[int, bytes], told: bytes) -> bool:
        if len(told) < legacy.DIGEST_BYTES:
            return False
        vr = b"OW" if told[0] else b"OB"
        return digest(found, vr, self._cells(number)) == told[1:]

    def _cells(self, number: int) -> bytes:
        """Return the native cells of a frame, decoded if they must be."""
        frames = self._opened.frames
        if not frames.encapsulated:
            return frames.frame(number)
        from dcmtx.codec.native import little_endian

        if self._decoder is None:
            policy = Policy(signatures=Signatures.REMOVE, uid=Uid.KEEP, verify=Verify.NONE, force=True)
            request = Request(resolve("encapsulated", LOSSLESS), policy, BackendChoice())
            self._decoder = decoder_of(self._opened, request)
        return bytes(little_endian(self._decoder(number)))

    def vr(self, number: int, *, original: bool) -> bytes:
        """Return the VR of the native pixels of a frame: that of the original, or what their width asks for."""
        if original and self._told is not None:
            return b"OW" if self._told.of(number)[0] else b"OB"
        fmt = self._opened.frames.format
        return b"OB" if fmt is not None and fmt.allocated <= 8 else b"OW"

    def notes(self, *, original: bool) -> tuple[Finding, ...]:
        """Return what is to be told of a frame."""
        if original or self._told is None or self._choices.uid is not Uid.AUTO or self._choices.same_class:
            return ()
        return (
            Finding(
                "N_NOT_ORIGINAL",
                "the frame is not what it was made of any more, so it has new UIDs",
                Severity.WARNING,
            ),
        )
