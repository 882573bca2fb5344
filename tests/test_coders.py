"""Codecs that are objects: batches, who owns them, and what becomes of a frame that fails in one."""

from __future__ import annotations

import copy
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import dicom
import numpy as np
import oracle
import pytest
import works

from dcmtx import transcode
from dcmtx.codec import rle
from dcmtx.codec.row import Row, Runs
from dcmtx.codec.table import ENCODERS
from dcmtx.errors import CodecError, InputError
from dcmtx.policy import EncodingParameters
from dcmtx.transcoding import engine
from dcmtx.transcoding.encoded import EncodedFrame

FRAMES = 20
PIXELS = np.arange(FRAMES * 64, dtype="<u2").reshape(FRAMES, 8, 8)


class Device:
    """An RLE encoder of batches. It notes who calls it with what; `plan` says what becomes of a frame."""

    made: ClassVar[list[Device]] = []
    plan: ClassVar[dict[int, Any]] = {}

    def __init__(self) -> None:
        self.threads = {threading.get_ident()}
        self.batches: list[list[int]] = []
        self.closed = 0
        self.made.append(self)

    def open(self, given: Any, made: Any, parameters: EncodingParameters) -> None:
        self.threads.add(threading.get_ident())
        self.formats = (given, made, parameters)
        if "open" in self.plan:
            raise self.plan["open"]

    def code(self, batch: list[Any]) -> Any:
        self.threads.add(threading.get_ident())
        numbers = [int(words.flat[0]) // 64 for words in batch]
        self.batches.append(numbers)
        if "all" in self.plan:
            return self.plan["all"](batch)
        return [self.plan[number] if number in self.plan else self._code(words)
                for number, words in zip(numbers, batch, strict=True)]  # fmt: skip

    def _code(self, words: Any) -> bytes:
        return rle.encode_imagecodecs(words, *self.formats)

    def close(self) -> None:
        self.threads.add(threading.get_ident())
        self.closed += 1


@pytest.fixture(autouse=True)
def device() -> Iterator[None]:
    """Have the encoder in the registry: as a device, as one of threads, and as one of processes."""
    Device.made, Device.plan = [], {}
    one = Row((dicom.RLE,), "device", "test_coders:Device", batch=8, runs=Runs.DEVICE)
    rows = [one, one.replace(backend="threads", runs=Runs.THREADS), one.replace(backend="forked", runs=Runs.PROCESSES)]
    added = ENCODERS.add(rows, "tests")
    yield
    ENCODERS.remove(added)


@pytest.fixture
def src(tmp_path: Path) -> Path:
    path = tmp_path / "in.dcm"
    path.write_bytes(dicom.Image(PIXELS.tobytes(), 8, 8, frames=FRAMES).encode())
    return path


def convert(src: Path, backend: str = "device", **options: Any) -> np.ndarray[Any, Any]:
    """Return what is in the file written."""
    dst = src.with_name("out.dcm")
    transcode(src, dst, to="rle", encoder=backend, **{"workers": 3} | options)
    return np.array(oracle.decoded(dst.read_bytes(), "imagecodecs"))


def fails(src: Path, error: type[Exception] = CodecError, **options: Any) -> Any:
    with pytest.raises(error) as caught:
        convert(src, **options)
    assert not src.with_name("out.dcm").exists()
    assert [one.closed for one in Device.made] == [1] * len(Device.made)
    return caught.value


# --- batches ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 3])
def test_a_device_gets_batches_in_one_thread_that_has_it_from_first_to_last(workers: int, src: Path) -> None:
    assert np.array_equal(convert(src, workers=workers), PIXELS)
    (one,) = Device.made
    assert sorted(one.batches) == [[*range(8)], [*range(8, 16)], [*range(16, 20)]]
    assert len(one.threads) == 1
    assert threading.get_ident() not in one.threads
    assert one.closed == 1
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("dcmtx-device")]


def test_threads_have_a_codec_each(src: Path) -> None:
    assert np.array_equal(convert(src, "threads"), PIXELS)
    # One more may have been called on a few pixels, before there were threads.
    used = [one for one in Device.made if any(len(batch) > 1 for batch in one.batches)]
    assert 1 <= len(used) <= 3
    assert sorted(number for one in used for batch in one.batches for number in batch) == [*range(FRAMES)]
    assert {one.closed for one in Device.made} == {1}


def test_processes_code_batches_too(src: Path) -> None:
    assert np.array_equal(convert(src, "forked"), PIXELS)
    assert {one.closed for one in Device.made} <= {1}


def test_memory_makes_batches_smaller(src: Path) -> None:
    assert np.array_equal(convert(src, memory=1), PIXELS)
    (one,) = Device.made
    assert {len(batch) for batch in one.batches} == {1}


@pytest.mark.parametrize(("batch", "lengths"), [(1, {1}), (6, {6, 2}), (50, {20})])
def test_the_engine_hands_out_batches_and_gives_frames_in_order(batch: int, lengths: set[int]) -> None:
    work = works.Each(EncodedFrame, batch=batch)
    assert [coded.data for coded in engine.run(work, 20, 2, lambda: 2)] == [*range(20)]
    assert {len(numbers) for numbers in work.given} == lengths
    assert work.closed == 1


# --- failures --------------------------------------------------------------------------------------------------

WRONG = {
    "an exception": (ValueError("no such\n thing"), "device failed: no such thing", "E_CODEC"),
    "a panic": (BaseException("aborted"), "device failed: aborted", "E_CODEC"),
    "no memory": (MemoryError(), "device ran out of memory", "E_CODEC"),
    "nothing": (None, "device returned nothing", "E_CODEC"),
    "an error of dcmtx": (InputError("it is odd", code="E_ODD"), "it is odd", "E_ODD"),
}


@pytest.mark.parametrize(("wrong", "says", "code"), WRONG.values(), ids=WRONG)
@pytest.mark.parametrize("number", [0, 5, 8, FRAMES - 1])
@pytest.mark.parametrize("workers", [1, 3])
def test_a_frame_that_fails_in_a_batch_has_its_number(
    wrong: Any, says: str, code: str, number: int, workers: int, src: Path
) -> None:
    Device.plan = {number: copy.copy(wrong)}
    error = fails(src, type(wrong) if isinstance(wrong, InputError) else CodecError, workers=workers)
    assert (str(error), error.code, error.frame) == (f"frame {number + 1}: {says}", code, number)


def test_of_several_frames_the_first_is_told_whatever_failed_first(src: Path) -> None:
    Device.plan = {13: ValueError("thirteen"), 6: ValueError("six"), 3: None, 17: None}
    assert str(fails(src)) == "frame 4: device returned nothing"


def test_an_exception_of_one_frame_is_the_cause_of_the_error(src: Path) -> None:
    Device.plan = {2: ValueError("two")}
    assert fails(src).__cause__ is Device.plan[2]


def raising(error: BaseException) -> Any:
    def code(_: object) -> Any:
        raise error

    return code


@pytest.mark.parametrize(
    ("code", "says"),
    [(raising(ValueError("gone")), "device failed on 8 frames at once: gone"),
     (raising(MemoryError()), "device ran out of memory on 8 frames at once"),
     (lambda batch: batch[1:], "device returned 7 results for 8 frames"),
     (lambda _: None, "device failed on 8 frames at once: 'NoneType' object is not iterable"),
     (lambda batch: [b"", *batch], "device returned 9 results for 8 frames")],
    ids=["raised", "no memory", "too few", "no list", "too many"],
)  # fmt: skip
def test_what_befalls_a_whole_batch_is_told_of_its_first_frame(code: Any, says: str, src: Path) -> None:
    Device.plan = {"all": code}
    assert str(fails(src)) == f"frame 1: {says}"


def test_a_codec_that_does_not_open_is_an_error_of_the_backend(src: Path) -> None:
    Device.plan = {"open": OSError("no such device")}
    with pytest.raises(CodecError, match="device failed on 8 frames at once: no such device"):
        convert(src)


def test_a_frame_that_is_wrong_in_a_batch_is_noticed(src: Path) -> None:
    """Each frame is verified by itself."""
    fmt_of = rle.encode_imagecodecs

    def harmed(batch: list[Any]) -> list[bytes]:
        (one,) = Device.made
        done = [fmt_of(words, *one.formats) for words in batch]
        numbers = one.batches[-1]
        return [done[0] if number == 11 else stream for number, stream in zip(numbers, done, strict=True)]

    Device.plan = {"all": harmed}
    with pytest.raises(Exception, match="samples differ after encoding by device") as caught:
        convert(src)
    assert caught.value.frame == 11  # type: ignore[attr-defined]
