"""What lossless transfer syntaxes would give for a site's own files: sizes and speeds, measured on a sample."""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from typing import Any

from dcmtx.codec.table import DECODERS, ENCODERS
from dcmtx.dataset.meta import PASSED_OVER, peek
from dcmtx.errors import CodecError, DcmtxError, RefusedError, UnsupportedError
from dcmtx.inspect.readers import readers_of
from dcmtx.inspect.ruling import files_below
from dcmtx.place.places import open_reader
from dcmtx.planning.planner import make
from dcmtx.planning.request import Request, resolve
from dcmtx.planning.routes import Route
from dcmtx.policy import LOSSLESS, Icon, Policy, Signatures, Uid, Verify
from dcmtx.record import Record
from dcmtx.syntax import Syntax
from dcmtx.transcoding.choosing import facts_of
from dcmtx.transcoding.coders import Coder
from dcmtx.transcoding.encoded import EncodedFrame
from dcmtx.transcoding.routes import work_of
from dcmtx.transcoding.source import Opened, open_source

TARGETS = ("jpegls", "htj2k", "htj2k-rpcl", "j2k", "jpegxl", "jpeg-lossless", "rle", "deflated-frames")
# Of each modality, so many files; of each file, so many frames, of so many bytes together.
FILES, FRAMES = 8, 4
_FRAME_BYTES = 64 << 20
# So many files are opened to learn their modality, evenly spread.
_MOST_OPENED = 2000
_UNREAD = frozenset(["E_MISSING", "E_UNREADABLE"])


class Figures(Record):
    """What one target makes of the frames of one file, or of many: uncompressed and coded bytes, seconds of one core.

    `refused` counts the files that it does not hold.
    """

    bytes_in: int = 0
    bytes_out: int = 0
    encode: float = 0.0
    decode: float = 0.0
    frames: int = 0
    files: int = 0
    refused: int = 0

    def plus(self, other: Figures) -> Figures:
        """Return the sum."""
        return Figures(**{name: value + getattr(other, name) for name, value in self.items()})


class Row(Record):
    """What a table says of one target for one modality. None where no file of the sample can have it.

    `ratio` is uncompressed bytes by coded ones; the speeds are MB of uncompressed pixels in a second, by one core.
    """

    modality: str
    target: str
    files: int
    refused: int
    frames: int
    ratio: float | None
    encode: float | None
    decode: float | None
    readers: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """Return it as `dcmtx advise --json` prints it."""
        return {
            "modality": self.modality, "target": self.target, "files": self.files, "refused": self.refused,
            "frames": self.frames, "ratio": self.ratio, "encode_mb_per_s": self.encode,
            "decode_mb_per_s": self.decode, "readers": list(self.readers),
        }  # fmt: skip


class Advice(Record):
    """The table, and how many files were found, measured, and left out, by reason.

    `faults` are those of files and directories that cannot be read; of the files, only the sample is read.
    """

    rows: tuple[Row, ...]
    found: int
    measured: int
    left_out: dict[str, int]
    faults: tuple[DcmtxError, ...] = ()


def advise(
    sources: Iterable[str],
    *,
    files: int = FILES,
    frames: int = FRAMES,
    targets: Sequence[str] = TARGETS,
    watch: Callable[[int, int], None] | None = None,
) -> Advice:
    """Measure what each target gives for a sample of the files below `sources`; `watch` is told of files done and all.

    Each file is measured in a process of its own, where that is possible. `targets` are some of TARGETS.
    """
    below = list(files_below(sources))
    faults: list[DcmtxError] = [one.fault for one in below if one.fault is not None]
    paths = _spread([one.path for one in below if one.fault is None], _MOST_OPENED)
    left_out: dict[str, int] = {}
    by_modality: dict[str, list[str]] = {}
    for path in paths:
        modality, why = _modality(path, faults)
        if why:
            left_out[why] = left_out.get(why, 0) + 1
        else:
            by_modality.setdefault(modality, []).append(path)
    sample = [(name, path) for name in sorted(by_modality) for path in _spread(by_modality[name], files)]
    sums: dict[tuple[str, str], Figures] = {}
    measured = 0
    for number, (modality, path) in enumerate(sample):
        try:
            found = _apart(path, frames, tuple(targets))
            measured += 1
        except DcmtxError as error:
            left_out[error.code] = left_out.get(error.code, 0) + 1
            found = {}
        for target, figures in found.items():
            sums[modality, target] = sums.get((modality, target), Figures()).plus(figures)
        if watch is not None:
            watch(number + 1, len(sample))
    rows = tuple(_row(modality, target, figures) for (modality, target), figures in sums.items())
    return Advice(rows, found=len(paths), measured=measured, left_out=left_out, faults=tuple(faults))


def _row(modality: str, target: str, sums: Figures) -> Row:
    def rate(seconds: float) -> float | None:
        return round(sums.bytes_in / 1e6 / seconds, 1) if seconds else None

    ratio = round(sums.bytes_in / sums.bytes_out, 3) if sums.bytes_out else None
    readers = tuple(f"{reader.name} {reader.version}" for reader in readers_of(target))
    return Row(
        modality, target, sums.files, refused=sums.refused, frames=sums.frames, ratio=ratio, encode=rate(sums.encode),
        decode=rate(sums.decode), readers=readers,
    )  # fmt: skip


# --- the sample --------------------------------------------------------------------------------------------------


def _spread(items: Sequence[Any], most: int) -> list[Any]:
    """Return so many of these, evenly spread; all, if there are no more."""
    count = min(len(items), most)
    return [items[number * len(items) // count] for number in range(count)]


def _modality(path: str, faults: list[DcmtxError]) -> tuple[str, str]:
    """Return the modality of a file, and why it is left out, if it is. One that cannot be read is of the faults."""
    try:
        with closing(open_reader(path)) as file, closing(open_source(file, meta=peek(file))) as opened:
            if opened.dataset.header.pixel is None:
                return "", "no pixels"
            opened.frames.check()
            if opened.frames.format is None:
                return "", "pixels that are no frames"
            facts = facts_of(opened, file.size, Request(resolve("raw", LOSSLESS)))
            return facts.modality or "(none)", "lossy already" if facts.lossy else ""
    except DcmtxError as error:
        if error.code in _UNREAD:
            error.path = error.path or path
            faults.append(error)
        return "", "not DICOM" if error.code in PASSED_OVER else error.code


# --- one file ----------------------------------------------------------------------------------------------------


def _apart(path: str, frames: int, targets: tuple[str, ...]) -> dict[str, Figures]:
    """Measure a file in a process of its own. Raises what `_measure` raises, and CodecError if that process dies."""
    from dcmtx.pool import isolation

    if not isolation.is_possible():
        return _measure(path, frames, targets)
    import tempfile

    with tempfile.TemporaryFile() as box:

        def work() -> int:
            try:
                found: dict[str, Figures] | DcmtxError = _measure(path, frames, targets)
            except DcmtxError as error:
                found = error
            pickle.dump(found, box)
            box.flush()
            return 0

        isolation.run(work)
        box.seek(0)
        # Written by the child a moment ago, into a file without a name.
        found: dict[str, Figures] | DcmtxError = pickle.load(box)  # noqa: S301
    if isinstance(found, DcmtxError):
        raise found
    return found


def _measure(path: str, frames: int, targets: tuple[str, ...]) -> dict[str, Figures]:
    """Return what each target makes of some frames of a file. Raises InputError for a file that cannot be read."""
    with closing(open_reader(path)) as file, closing(open_source(file, meta=peek(file))) as opened:
        fmt = opened.frames.format
        assert fmt is not None
        most = max(1, min(frames, _FRAME_BYTES // max(fmt.frame_bytes, 1)))
        numbers = _spread(range(fmt.frames), most)
        return {target: _figures(opened, target, numbers) for target in targets}


def _figures(opened: Opened, target: str, numbers: list[int]) -> Figures:
    (syntax,) = resolve(target, LOSSLESS).syntaxes
    try:
        return _coded(opened, target, syntax, numbers)
    except (RefusedError, UnsupportedError, CodecError):
        return Figures(refused=1)


def _coded(opened: Opened, target: str, syntax: Syntax, numbers: list[int]) -> Figures:
    """Return what a target makes of these frames. Raises RefusedError, UnsupportedError or CodecError."""
    policy = Policy(signatures=Signatures.REMOVE, uid=Uid.KEEP, icon=Icon.DROP, verify=Verify.NONE, force=True)
    plan = make(opened.dataset, opened.frames, Request(resolve(target, LOSSLESS), policy), inside=False)
    encoder, given, made = plan.encoder, plan.encoder_format, plan.target_format
    if plan.route is not Route.RECODE or encoder is None or given is None or made is None:
        raise UnsupportedError("its frames are not encoded anew", code="E_UNSUPPORTED_TS")
    row = DECODERS.choose(syntax.uid, syntax.label, made)
    encode = Coder(ENCODERS, encoder, given, made=made, parameters=plan.parameters)
    decode = Coder(DECODERS, row, made, made=given)
    sums = Figures(files=1, frames=len(numbers))
    with (
        closing(work_of(plan, opened.frames.in_words(plan.word_bytes), keep_words=True)) as work,
        closing(encode),
        closing(decode),
    ):
        for number in numbers:
            # The first coding makes the codec warm; it is timed the second time.
            (first,) = work.code([number])
            if isinstance(first, DcmtxError):
                raise first
            assert isinstance(first, EncodedFrame)
            words = first.words if first.given is None else first.given
            data, seconds = _timed(encode, words)
            stream = bytes(data)
            _, back = _timed(decode, stream)
            sums = sums.plus(Figures(bytes_in=given.frame_bytes, bytes_out=len(stream), encode=seconds, decode=back))
    return sums


def _timed(coder: Coder, frame: Any) -> tuple[Any, float]:
    """Return what a coder makes of a frame, and the seconds that it took, the shorter of two times."""
    best = float("inf")
    result = None
    for _ in range(2):
        started = time.perf_counter()
        result = coder.one(frame)
        best = min(best, time.perf_counter() - started)
    return result, best
