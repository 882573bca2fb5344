"""The library: what transcode returns and raises, and what importing it costs and gives."""

from __future__ import annotations

import importlib.util
import inspect
import os
import pickle
import subprocess
import sys
import typing
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files
from pathlib import Path

import click
import dicom
import numpy as np
import oracle
import pytest
from backends import usable
from conftest import ROOT, contents, old_file

import dcmtx
from dcmtx import DcmtxError, Job, Outcome, transcode
from dcmtx.codec.table import ENCODERS
from dcmtx.errors import (
    CodecError,
    InputError,
    OutputError,
    RefusedError,
    UnsupportedError,
    UsageError,
    VerifyError,
)
from dcmtx.place.places import SourcePlace, TargetPlace
from dcmtx.policy import Uid
from dcmtx.transcoding import transcode as transcoding
from dcmtx.transcoding.job import Status
from dcmtx.transcoding.options import Options

PIXELS = (np.arange(3 * 40 * 48, dtype="<u2") * 2503 % 4096).reshape(3, 40, 48)


def image(**attributes: object) -> dicom.Image:
    fields = {"rows": 40, "columns": 48, "stored": 12, "frames": 3} | attributes
    return dicom.Image(fields.pop("pixels", PIXELS.tobytes()), **fields)


@pytest.fixture
def src(tmp_path: Path) -> Path:
    path = tmp_path / "in.dcm"
    path.write_bytes(image().encode())
    return path


# --- what is called --------------------------------------------------------------------------------------------


def test_transcode_takes_what_job_takes_and_hands_all_of_it_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """By its own signature, so that editors and generators of documentation see it."""
    mine, its = inspect.signature(transcode), inspect.signature(transcoding.job)
    assert mine.parameters == its.parameters
    assert list(mine.parameters) == list(its.parameters)
    assert (mine.return_annotation, its.return_annotation) == ("Outcome | bytes", "Job")
    assert not hasattr(transcode, "__wrapped__")
    taken = {}
    monkeypatch.setattr(transcoding, "job", lambda *args, **named: taken.update(its.bind(*args, **named).arguments))
    monkeypatch.setattr(transcoding, "run", lambda _: "the outcome")
    given = {name: object() for name in mine.parameters}
    assert transcode(**given) == "the outcome"
    assert taken == given


def test_the_types_of_what_is_public_are_true() -> None:
    hints, its = typing.get_type_hints(transcode), typing.get_type_hints(transcoding.job)
    assert (hints.pop("return"), its.pop("return")) == (Outcome | bytes, Job)
    assert hints == its
    assert hints["uid"] == str | Uid
    assert (hints["src"], hints["dst"]) == (SourcePlace, TargetPlace | None)
    assert hints["workers"] == int | None
    # The type of options that are handed on has the same, each with its type.
    options = typing.get_type_hints(Options)
    assert options == {name: hint for name, hint in hints.items() if name not in ("src", "dst", "to")}


def test_transcode_is_documented_where_it_is_written() -> None:
    assert (transcode.__module__, transcode.__name__, transcode.__qualname__) == (
        "dcmtx.transcoding.transcode",
        "transcode",
        "transcode",
    )
    assert inspect.getsource(transcode).startswith("def transcode(\n")
    assert "Raises a DcmtxError" in inspect.getdoc(transcode)


# --- what is returned ------------------------------------------------------------------------------------------


def test_a_conversion_says_what_it_did(src: Path, dst: Path) -> None:
    outcome = transcode(src, dst, to="jpegls", workers=2)
    assert isinstance(outcome, Outcome)
    assert isinstance(outcome.job, Job)
    assert outcome.status is Status.CONVERTED
    assert (outcome.job.src, outcome.job.dst, outcome.job.workers) == (str(src), str(dst), 2)
    assert (outcome.syntax_in, outcome.syntax_out) == (dicom.EXPLICIT, dicom.JPEGLS)
    assert outcome.frames == 3
    assert (outcome.bytes_in, outcome.bytes_out) == (src.stat().st_size, dst.stat().st_size)
    assert outcome.decoder == "dcmtx"
    # Of 12 bits: the older imagecodecs, for Python 3.11, cannot write them.
    assert outcome.encoder == next(row.backend for row in usable(ENCODERS, dicom.JPEGLS) if not row.limits.only_stored)
    assert (outcome.instance_in, outcome.instance_out) == ("1.2.3.4", "1.2.3.4")
    assert outcome.notes == ()
    assert outcome.seconds > 0


def test_the_ratio_counts_bits_stored(src: Path, dst: Path) -> None:
    outcome = transcode(src, dst, to="rle")
    coded = sum(map(len, dicom.walk(dst.read_bytes()).fragments))
    assert outcome.ratio == pytest.approx(PIXELS.size * 12 / 8 / coded, rel=0.01)
    assert outcome.psnr is None


@pytest.mark.parametrize("target", ["implicit", "deflated", "rle", "j2k", "explicit"])
def test_bytes_are_those_of_the_files(target: str, src: Path, dst: Path) -> None:
    outcome = transcode(src, dst, to=target)
    assert (outcome.bytes_in, outcome.bytes_out) == (src.stat().st_size, dst.stat().st_size)


def test_a_copy_says_so(src: Path, dst: Path) -> None:
    outcome = transcode(src, dst, to="explicit")
    assert outcome.status is Status.COPIED
    assert (outcome.syntax_in, outcome.syntax_out) == (dicom.EXPLICIT, dicom.EXPLICIT)
    assert (outcome.decoder, outcome.encoder, outcome.plan) == ("", "", None)
    assert dst.read_bytes() == src.read_bytes()


def test_nothing_to_do_says_so(src: Path) -> None:
    before = contents(src.parent)
    assert transcode(src, src, to="explicit").status is Status.UNCHANGED
    assert contents(src.parent) == before


def test_a_dry_run_has_a_plan_and_touches_nothing(src: Path, dst: Path) -> None:
    before = contents(src.parent)
    outcome = transcode(src, dst, to="rle", dry_run=True)
    assert outcome.status is Status.PLANNED
    assert outcome.plan is not None
    assert outcome.encoder == "imagecodecs"
    assert contents(src.parent) == before


def test_what_is_to_be_skipped_is_not_written(src: Path, dst: Path) -> None:
    src.write_bytes(dicom.file([dicom.element(0x00080016, "UI", "1.2.840.10008.5.1.4.1.1.88.11")]))
    old_file(dst)
    before = contents(src.parent)
    outcome = transcode(src, dst, to="rle", no_pixels="skip")
    assert outcome.status is Status.SKIPPED
    assert any("no pixels" in note.text for note in outcome.notes)
    assert contents(src.parent) == before


def test_a_fallback_is_told(src: Path, dst: Path) -> None:
    words = np.arange(40 * 48 * 3, dtype="<u4")
    src.write_bytes(image(pixels=words.tobytes(), allocated=32, stored=32).encode())
    outcome = transcode(src, dst, to="rle", fallback=["jpegls", "deflated"])
    assert outcome.syntax_out == dicom.DEFLATED
    refused = [note.text for note in outcome.notes if "fell back" in note.text]
    assert [("rle" in note, "jpegls" in note, "deflated" in note) for note in refused] == [
        (True, True, False), (False, True, True),
    ]  # fmt: skip
    assert np.array_equal(oracle.native(dst.read_bytes()), words.reshape(3, 40, 48))


def test_one_fallback_needs_no_list(src: Path, dst: Path) -> None:
    src.write_bytes(image(pixels=bytes(40 * 48 * 4 * 3), allocated=32, stored=32).encode())
    assert transcode(src, dst, to="rle", fallback="deflated").syntax_out == dicom.DEFLATED


def test_a_failure_that_is_no_refusal_does_not_fall_back(src: Path, dst: Path) -> None:
    src.write_bytes(src.read_bytes()[:-10])
    with pytest.raises(InputError):
        transcode(src, dst, to="rle", fallback=["deflated", "jpegls"])
    assert not dst.exists()


def test_an_outcome_does_not_change_and_goes_between_processes(src: Path, dst: Path) -> None:
    outcome = transcode(src, dst, to="rle")
    with pytest.raises(AttributeError):
        outcome.frames = 4  # type: ignore[misc]
    assert pickle.loads(pickle.dumps(outcome)) == outcome
    assert pickle.loads(pickle.dumps(outcome.job)) == outcome.job
    assert "frames=3" in repr(outcome)


def test_jobs_of_one_request_share_it_between_processes_and_others_are_not_mixed_up(src: Path, dst: Path) -> None:
    one, other = (transcoding.job(src, dst, to=name) for name in ("rle", "jpegls"))
    for _ in range(2):
        sent = [pickle.dumps(each) for each in (one, other, one, one.replace(dst="elsewhere"), other)]
        received = [pickle.loads(each) for each in sent]
        assert received == [one, other, one, one.replace(dst="elsewhere"), other]
        assert received[2].request is received[3].request


PATHS: dict[str, Callable[[Path], str | os.PathLike[str]]] = {
    "a path": lambda path: path,
    "a string": str,
    "a relative string": os.path.relpath,
}


@pytest.mark.parametrize("kind", PATHS.values(), ids=PATHS.keys())
def test_paths_may_be(kind: Callable[[Path], str | os.PathLike[str]], src: Path, dst: Path) -> None:
    assert transcode(kind(src), kind(dst), to="rle").status is Status.CONVERTED
    assert dicom.walk(dst.read_bytes()).syntax == dicom.RLE


def test_enumerations_may_be_given_by_name_or_as_they_are(src: Path, dst: Path) -> None:
    from dcmtx.policy import OffsetTable

    transcode(src, dst, to="rle", offset_table="empty")
    named = dst.read_bytes()
    transcode(src, dst, to="rle", offset_table=OffsetTable.EMPTY)
    assert dst.read_bytes() == named
    assert dicom.walk(named).offset_table == []


def test_nothing_is_printed(src: Path, dst: Path, capfd: pytest.CaptureFixture[str]) -> None:
    transcode(src, dst, to="big-endian")
    with pytest.raises(InputError):
        transcode(src.parent, dst, to="rle")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("target", ["rle", "jpegls", "jpeg", "j2k", "htj2k", "deflated"])
def test_the_number_of_workers_does_not_change_a_byte(target: str, src: Path, tmp_path: Path) -> None:
    many = np.concatenate([PIXELS + number for number in range(7)])
    src.write_bytes(image(pixels=many.tobytes(), frames=len(many), stored=16).encode())
    written = set()
    for workers in (1, 2, 5, 100):
        transcode(src, tmp_path / "out.dcm", to=target, workers=workers)
        written.add((tmp_path / "out.dcm").read_bytes())
    assert len(written) == 1


def test_it_may_be_called_from_many_threads(src: Path, tmp_path: Path) -> None:
    targets = ["rle", "jpegls", "jpeg", "j2k", "htj2k", "implicit"] * 4

    def convert(number: int) -> bytes:
        dst = tmp_path / f"{number}.dcm"
        transcode(src, dst, to=targets[number], workers=2)
        return dst.read_bytes()

    with ThreadPoolExecutor(8) as pool:
        written = list(pool.map(convert, range(len(targets))))
    for number, data in enumerate(written):
        assert data == written[number % 6]
    assert np.array_equal(oracle.native(written[5]), PIXELS)
    for data in written[:5]:
        assert np.array_equal(oracle.decoded(data, "imagecodecs"), PIXELS)
    assert len(os.listdir(tmp_path)) == len(targets) + 1


# --- what is raised --------------------------------------------------------------------------------------------


def raised(src: str | Path, dst: str | Path, **options: object) -> DcmtxError:
    with pytest.raises(DcmtxError) as caught:
        transcode(src, dst, **options)
    return caught.value


def test_a_missing_source(tmp_path: Path, dst: Path) -> None:
    error = raised(tmp_path / "missing", dst, to="rle")
    assert type(error) is InputError
    assert (error.status, error.code, error.path) == (3, "E_MISSING", str(tmp_path / "missing"))
    assert (error.frame, error.tag) == (None, None)


def test_a_damaged_frame_is_counted_from_zero_and_shown_from_one(src: Path, dst: Path) -> None:
    streams = [bytes(64)] * 3
    src.write_bytes(image(pixels=streams, syntax=dicom.JPEGLS).encode())
    error = raised(src, dst, to="rle")
    assert type(error) is InputError
    assert (error.code, error.path, error.frame) == ("E_CODESTREAM", str(src), 0)
    assert str(error) == f"frame 1: {error.message}"


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("bad", [0, 1, 2])
def test_the_number_of_a_refused_frame(bad: int, workers: int, src: Path, dst: Path) -> None:
    words = PIXELS.copy()
    words[bad, 5, 5] = 0xF000
    src.write_bytes(image(pixels=words.tobytes()).encode())
    error = raised(src, dst, to="jpegls", workers=workers)
    assert type(error) is RefusedError
    assert (error.status, error.code, error.path, error.frame) == (5, "E_UNUSED_BITS", str(src), bad)


def test_an_attribute_that_is_wrong_is_named_by_its_tag(src: Path, dst: Path) -> None:
    src.write_bytes(image(before={0x00280008: dicom.element(0x00280008, "IS", "many")}).encode())
    error = raised(src, dst, to="rle")
    assert (error.code, error.tag) == ("E_INCONSISTENT", 0x00280008)


def test_a_destination_that_cannot_be_written_is_the_path_of_the_error(src: Path, tmp_path: Path) -> None:
    dst = tmp_path / "missing" / "out.dcm"
    error = raised(src, dst, to="rle")
    assert type(error) is OutputError
    assert (error.status, error.code, error.path) == (8, "E_OUTPUT", str(dst))


def test_a_destination_that_exists(src: Path, dst: Path) -> None:
    old_file(dst)
    error = raised(src, dst, to="rle", clobber=False)
    assert (type(error), error.code, error.path) == (OutputError, "E_EXISTS", str(dst))


def test_a_directory_is_no_destination_for_the_library(src: Path, tmp_path: Path) -> None:
    error = raised(src, tmp_path, to="rle")
    assert (type(error), error.status, error.path) == (OutputError, 8, str(tmp_path))
    assert os.listdir(tmp_path) == [src.name]


def test_a_syntax_that_dcmtx_does_not_write(src: Path, dst: Path) -> None:
    error = raised(src, dst, to="MPEG4HP41")
    assert (type(error), error.status, error.code) == (UnsupportedError, 4, "E_UNSUPPORTED_TS")


def test_a_codec_that_fails_has_its_cause(src: Path, dst: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cause = RuntimeError("out of luck\nand of lines")

    def fail(*_: object) -> bytes:
        raise cause

    monkeypatch.setattr("dcmtx.codec.rle.encode_imagecodecs", fail)
    error = raised(src, dst, to="rle", workers=1)
    assert type(error) is CodecError
    assert (error.status, error.frame, error.path) == (6, 0, str(src))
    assert error.__cause__ is cause
    assert "imagecodecs" in error.message
    assert "\n" not in error.message


def test_a_verification_that_fails(src: Path, dst: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dcmtx.codec import rle

    encode = rle.encode_imagecodecs
    monkeypatch.setattr(rle, "encode_imagecodecs", lambda words, *rest: encode(words ^ 1, *rest))
    error = raised(src, dst, to="rle", workers=1)
    assert (type(error), error.status, error.code, error.frame) == (VerifyError, 7, "E_VERIFY", 0)
    assert not dst.exists()


SENSELESS: dict[str, dict[str, object]] = {
    "no syntax": {"to": ""},
    "a syntax that does not exist": {"to": "jpeg3000"},
    "an offset table that does not exist": {"to": "rle", "offset_table": "big"},
    "an answer to unused bits that does not exist": {"to": "rle", "unused_bits": ""},
    "a decoder that does not exist": {"to": "rle", "decoder": "nonsense"},
    "an encoder that does not exist": {"to": "rle", "encoder": "nonsense"},
    "a predictor where there is none": {"to": "rle", "predictor": 1},
    "a fallback that does not exist": {"to": "rle", "fallback": ["nonsense"]},
    "consent to loss where nothing can be lost": {"to": "rle", "lossy": True},
}
UNCHECKED: dict[str, dict[str, object]] = {
    "a predictor of 0": {"to": "jpeg-lossless-p14", "predictor": 0},
    "a predictor of 9": {"to": "jpeg-lossless-p14", "predictor": 9},
    "a predictor of -1": {"to": "jpeg-lossless-p14", "predictor": -1},
    "resolutions of 0": {"to": "j2k", "resolutions": 0},
    "resolutions of 33": {"to": "htj2k", "resolutions": 33},
    "a tile of one pixel": {"to": "htj2k", "tile": 1},
    "a quality of 0": {"to": "jpegxl", "lossy": True, "quality": 0},
    "a quality of 101": {"to": "jpegxl", "lossy": True, "quality": 101},
    "a ratio of 0": {"to": "j2k", "lossy": True, "ratio": 0},
    "a ratio that is no number": {"to": "j2k", "lossy": True, "ratio": float("nan")},
    "a negative PSNR": {"to": "j2k", "lossy": True, "psnr": -5},
    "a ratio and a PSNR": {"to": "j2k", "lossy": True, "ratio": 5, "psnr": 60},
    "a NEAR of -1": {"to": "jpegls", "lossy": True, "near": -1},
    "a NEAR of 256": {"to": "jpegls", "lossy": True, "near": 256},
    "fewer than no workers": {"to": "rle", "workers": -1},
}
ONLY_CLICK = "ranges are checked by click alone: the library passes anything on to the codecs, or raises what they do"


@pytest.mark.parametrize(
    "options",
    [
        *[pytest.param(options, id=name) for name, options in SENSELESS.items()],
        *[pytest.param(options, id=name) for name, options in UNCHECKED.items()],
    ],
)
def test_options_that_make_no_sense(options: dict[str, object], src: Path, dst: Path) -> None:
    error = raised(src, dst, **options)
    assert type(error) is UsageError
    assert error.status == 2
    assert not dst.exists()


@pytest.mark.parametrize("which", ["source", "destination"])
def test_a_path_with_a_null_character(which: str, src: Path, dst: Path) -> None:
    error = raised("a\0b" if which == "source" else src, "a\0b" if which == "destination" else dst, to="rle")
    assert error.status == (3 if which == "source" else 8)


def test_errors_go_between_processes(src: Path, dst: Path) -> None:
    words = PIXELS.copy()
    words[1, 0, 0] = 0xF000
    src.write_bytes(image(pixels=words.tobytes()).encode())
    error = raised(src, dst, to="jpegls")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert [again.message, again.code, again.path, again.frame, again.tag] == [
        error.message, error.code, error.path, error.frame, error.tag,
    ]  # fmt: skip
    assert str(again) == str(error)


# --- importing -------------------------------------------------------------------------------------------------


def test_the_public_names() -> None:
    assert set(dcmtx.__all__) >= {
        "DcmtxError", "Job", "Outcome", "__version__", "frames", "job_from_json", "plan", "transcode",
        "transcode_dataset",
    }  # fmt: skip
    for name in dcmtx.__all__:
        assert getattr(dcmtx, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        dcmtx.nonsense  # noqa: B018


def loaded_by(code: str) -> set[str]:
    """The top-level modules that are loaded after this code, in a fresh interpreter."""
    ask = f"import sys\n{code}\nprint(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    ran = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, timeout=60, check=True)
    return set(ran.stdout.split())


HEAVY = {"numpy", "pydicom", "imagecodecs", "click", "rich"}


def test_importing_loads_nothing_heavy() -> None:
    assert not loaded_by("import dcmtx") & HEAVY
    assert not loaded_by("from dcmtx import transcode, DcmtxError, Outcome, Job") & HEAVY


def test_a_copy_loads_nothing_heavy(src: Path, dst: Path) -> None:
    code = f"import dcmtx\ndcmtx.transcode({str(src)!r}, {str(dst)!r}, to='explicit')"
    assert not loaded_by(code) & HEAVY
    assert dst.read_bytes() == src.read_bytes()


def test_compression_does_not_load_pydicom(src: Path, dst: Path) -> None:
    code = f"import dcmtx\ndcmtx.transcode({str(src)!r}, {str(dst)!r}, to='rle')"
    assert loaded_by(code) & HEAVY == {"numpy", "imagecodecs"}


@pytest.mark.parametrize(
    "name", ["ct-explicit", "ct-jpegls", "mr-overlay-bit-15", "sc-ybr-full-422", "us-rgb-by-plane", "us-jpeg-baseline"]
)
def test_the_digest_is_of_the_source_whatever_it_becomes(name: str, dst: Path) -> None:
    source = ROOT / "testdata" / f"{name}.dcm"
    targets = ("explicit", "rle", "j2k", "deflated-frames", "big-endian")
    digests = {transcode(source, dst, to=to, force=True, digest=True).digest for to in targets}
    assert len(digests) == 1
    assert None not in digests


def test_every_option_of_the_command_line_is_one_of_the_library() -> None:
    from dcmtx.cli.convert import convert

    shown_only = {
        "to",
        "jobs",
        "no_clobber",
        "no_verify",
        "source",
        "named",
        "quiet",
        "verbose",
        "as_json",
        "json",
        "report",
        "resume",
        "fail_fast",
        "timeout",
        "update_references",
        "isolate",
        "cluster",
        "run",
        "progress",
        "like",
    }
    options = {
        parameter.name
        for parameter in convert.params
        if isinstance(parameter, click.Option) and not str(parameter.name).startswith("word_")
    }
    assert options - shown_only <= set(inspect.signature(transcode).parameters)


def test_defaults_are_those_of_the_command_line() -> None:
    from dcmtx.cli.convert import convert

    theirs = convert.make_context("convert", ["in.dcm", "out.dcm", "--to", "rle"]).params
    for name, parameter in inspect.signature(transcode).parameters.items():
        if name in theirs and name not in ("src", "dst", "to"):
            ours = getattr(parameter.default, "value", parameter.default)
            assert (theirs[name] or None) == (ours or None), name


SIZES: dict[int | str, int] = {
    1: 1, "4096": 4096, "64K": 64_000, "64kB": 64_000, "64KiB": 65_536, "64ki": 65_536, "256MiB": 256 << 20,
    "1.5 GiB": 3 << 29, "2g": 2 * 10**9, "1TB": 10**12, "8 b": 8,
}  # fmt: skip


@pytest.mark.parametrize(("size", "count"), SIZES.items(), ids=map(str, SIZES))
def test_memory_is_a_number_of_bytes_or_has_a_unit(size: int | str, count: int) -> None:
    from dcmtx.transcoding.job import job

    assert job("a", "b", to="rle", memory=size).memory == count


def test_memory_is_256_mib_unless_it_is_said() -> None:
    from dcmtx.transcoding.job import job

    assert job("a", "b", to="rle").memory == 256 << 20


@pytest.mark.parametrize("size", [0, -1, "", "0", "0.5", "M", "iB", "1Q", "1iB", "1 2M", "nan", "inf", "1e400", "much"])
def test_memory_that_is_no_size_is_a_usage_error(size: int | str, src: Path, dst: Path) -> None:
    with pytest.raises(UsageError, match="not a size such as"):
        transcode(src, dst, to="rle", memory=size)
    assert not dst.exists()


# --- types -----------------------------------------------------------------------------------------------------


def test_the_package_says_that_it_is_typed() -> None:
    assert files("dcmtx").joinpath("py.typed").is_file()


SAMPLE = """
import io
from pathlib import Path

import dcmtx
from dcmtx import DcmtxError, Job, Outcome, transcode

outcome: Outcome = transcode(Path("in.dcm"), "out.dcm", to="jpegls", workers=2)
frames: int = outcome.frames
notes: list[str] = [note.text for note in outcome.notes]
data: bytes = transcode("in.dcm", to="rle")
with open("out.dcm", "w+b") as file:
    outcome = transcode(data, file, to="rle", verify=False)
with dcmtx.frames(io.BytesIO(data)) as shown:
    rows: int = shown.format.rows
    shape: tuple[int, ...] = shown[0].shape
plan = dcmtx.plan(data, to="jpegls", lossy=True, near=2)
job: Job = dcmtx.job_from_json(outcome.job.to_json())
version: str = dcmtx.__version__
try:
    transcode("in.dcm", "out.dcm", to="rle", offset_table="basic")
except DcmtxError as error:
    status: int = error.status
    code: str = error.code
    path: str | None = error.path
"""
WRONG = """
transcode("in.dcm", "out.dcm")
transcode(1, "out.dcm", to="rle")
number: str = outcome.frames
given: Outcome = transcode("in.dcm", to="rle")
dcmtx.plan("in.dcm", to="rle", no_such_option=1)
"""


def test_a_program_that_uses_it_is_checked_by_mypy(tmp_path: Path) -> None:
    if importlib.util.find_spec("mypy") is None:
        pytest.skip("mypy is not installed")
    (tmp_path / "right.py").write_text(SAMPLE)
    (tmp_path / "wrong.py").write_text(SAMPLE + WRONG)
    line = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", f"--cache-dir={tmp_path / 'cache'}"]
    ran = subprocess.run(
        [*line, "right.py", "wrong.py"], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    wrong = [text.split(":")[:2] for text in ran.stdout.splitlines() if " error: " in text]
    last = len((SAMPLE + WRONG).splitlines())
    assert wrong == [["wrong.py", str(line)] for line in range(last - 4, last + 1)], ran.stdout
