"""Who judges what was encoded: by number of the frame, in threads, processes and batches, as it was asked for."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import dicom
import images
import numpy as np
import pytest
from images import Format, Words

from dcmtx import job_from_json, transcode
from dcmtx.codec import judges
from dcmtx.codec.row import Row, Runs
from dcmtx.codec.table import DECODERS, ENCODERS
from dcmtx.errors import UnsupportedError, UsageError, VerifyError
from dcmtx.options import make_policy
from dcmtx.pixel import bits, codestream
from dcmtx.pixel.format import PixelFormat
from dcmtx.policy import JUDGED_EVERY, EncodingParameters, Verify
from dcmtx.syntax import BY_UID
from dcmtx.transcoding.job import job

FMT = Format("MONOCHROME2", 16, 12)
GREY = PixelFormat(24, 20, 1, photometric="MONOCHROME2", allocated=16, stored=12, high_bit=11, signed=False, frames=40)
COLOUR = GREY.replace(samples=3, photometric="YBR_RCT", allocated=8, stored=8, high_bit=7)
DEFLATED = "1.2.840.10008.1.2.8.1"
JPEG_XL = "1.2.840.10008.1.2.4.110"
FRAMES = 40
SAMPLED = sum(number % JUDGED_EVERY == 0 for number in range(FRAMES))
FAST = find_spec("ojph") is not None


# --- which decoders --------------------------------------------------------------------------------------------

# Syntax; the judge and the checker that are sampled by, the judge that is strict, each by library.
CHOSEN: dict[str, tuple[str, str, str | None, str | None]] = {
    "HTJ2K": (dicom.HTJ2K_LOSSLESS, "OpenJPEG", "OpenJPH", "OpenJPEG"),
    "HTJ2K RPCL": (dicom.HTJ2K_RPCL, "OpenJPEG", "OpenJPH", "OpenJPEG"),
    "deflated frames": (DEFLATED, "zlib", "ISA-L", "zlib"),
    "JPEG-LS": (dicom.JPEGLS, "CharLS", None, "libjpeg"),
    "JPEG lossless": (dicom.JPEG_SV1, "libjpeg-turbo", None, "libjpeg"),
    "RLE": (dicom.RLE, "imagecodecs", None, "pylibjpeg-rle"),
    "JPEG 2000": (dicom.J2K_LOSSLESS, "OpenJPEG", None, None),
    "JPEG XL": (JPEG_XL, "libjxl", None, None),
    "native": (dicom.EXPLICIT, "dcmtx", None, "dcmtx"),
}


def library(row: Row | None) -> str | None:
    return None if row is None else row.library


@pytest.mark.parametrize(("uid", "judge", "checker", "strict"), CHOSEN.values(), ids=CHOSEN)
def test_the_judges_of_an_encoder(uid: str, judge: str, checker: str | None, strict: str | None) -> None:
    syntax = BY_UID[uid]
    encoder = ENCODERS.choose(uid, syntax.label, GREY)
    found = judges.choose(syntax, GREY, encoder, Verify.SAMPLED)
    assert (library(found.judge), library(found.checker)) == (judge, checker)
    one = judges.choose(syntax, GREY.replace(frames=1), encoder, Verify.SAMPLED)
    assert (library(one.judge), one.checker) == (judge, None), "the only frame is the first"
    assert judges.choose(syntax, GREY, encoder, Verify.NONE).rows() == ()
    if strict is None:
        with pytest.raises(UnsupportedError, match=rf"--verify strict: no library but {encoder.library}, ") as caught:
            judges.choose(syntax, GREY, encoder, Verify.STRICT)
        assert (caught.value.code, caught.value.status) == ("E_BACKEND", 4)
    else:
        found = judges.choose(syntax, GREY, encoder, Verify.STRICT)
        assert (library(found.judge), found.checker) == (strict, None)


def test_a_loss_is_measured_by_the_judge_of_every_frame() -> None:
    """OpenJPH's decoder is asked only where the answer must be exact."""
    syntax, lossy = BY_UID[dicom.HTJ2K], EncodingParameters(lossy=True)
    encoder = ENCODERS.choose(syntax.uid, syntax.label, GREY, quality=lossy)
    assert judges.choose(syntax, GREY, encoder, Verify.SAMPLED).checker is None


def test_a_strict_judge_is_of_another_library_whoever_encodes() -> None:
    for uid in BY_UID:
        for row in ENCODERS.rows(uid):
            if not row.native or row.lossy or row.limits.reason(COLOUR) or not row.at_hand() or not row.is_installed():
                continue
            try:
                found = judges.choose(BY_UID[uid], COLOUR, row, Verify.STRICT)
            except UnsupportedError:
                assert {one.library for one in DECODERS.rows(uid) if not one.named_only} == {row.library}
            else:
                assert found.judge is not None
                assert found.judge.library != row.library


def test_every_judge_and_checker_that_a_row_names_is_a_decoder_of_its_syntaxes() -> None:
    named = 0
    for uid in BY_UID:
        for row in ENCODERS.rows(uid):
            named += len(row.checkers)
            assert {row.judge} - {""} <= {one.backend for one in DECODERS.rows(uid)}
            assert set(row.checkers) <= {one.backend for one in judges.checkers(BY_UID[uid])}
    assert named


# --- which frames ----------------------------------------------------------------------------------------------


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "in.dcm"
    path.write_bytes(images.image(FMT, numbered()).encode())
    return path


def numbered() -> list[Words]:
    """Return frames whose first pixel is their number."""
    frames = images.make_frames(FMT, 24, 20, FRAMES)
    for number, frame in enumerate(frames):
        frame.flat[0] = number
    return frames


@pytest.fixture
def planted() -> Iterator[Callable[..., None]]:
    """Return a function that puts an encoder of RLE first, judged by pylibjpeg-rle and checked by imagecodecs."""
    added: list[Row] = []

    def plant(**more: Any) -> None:
        (row,) = [row for row in ENCODERS.rows(dicom.RLE) if row.backend == "imagecodecs"]
        own = row.replace(
            syntaxes=(dicom.RLE,),
            backend="planted",
            core="imagecodecs",
            judge="pylibjpeg-rle",
            checkers=("imagecodecs",),
        )
        added.extend(ENCODERS.add([own.replace(**more)], "tests", preferred=True))

    yield plant
    ENCODERS.remove(added)


WAYS: dict[str, dict[str, Any]] = {
    "threads": {},
    "processes": {"runs": Runs.PROCESSES},
    "batches": {"batch": 7},
    "batches in processes": {"batch": 7, "runs": Runs.PROCESSES},
}


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_the_first_and_every_sixteenth_frame_is_judged_however_frames_are_done(
    way: dict[str, Any], workers: int, source: Path, tmp_path: Path, planted: Callable[..., None]
) -> None:
    planted(**way)
    outcome = transcode(source, tmp_path / "out.dcm", to="rle", workers=workers)
    assert outcome.encoder == "planted"
    assert dict(outcome.verified) == {"pylibjpeg-rle": SAMPLED, "imagecodecs": FRAMES - SAMPLED}
    outcome = transcode(source, tmp_path / "out.dcm", to="rle", workers=workers, verify="strict")
    assert dict(outcome.verified) == {"pylibjpeg-rle": FRAMES}


def harm(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Let the encoder of deflated frames change a sample of one frame."""
    module = importlib.import_module("dcmtx.codec.deflate")
    encode = module.encode

    def harming(words: Words, *rest: Any) -> Any:
        if words.flat[0] == number:
            words = words.copy()
            words.flat[-1] ^= 1
        return encode(words, *rest)

    monkeypatch.setattr(module, "encode", harming)


@pytest.mark.parametrize("number", [0, 1, 15, 16, 17, 31, 32, 33, FRAMES - 1])
@pytest.mark.parametrize("verify", ["sampled", "strict"])
def test_no_frame_is_left_unjudged(
    verify: str, number: int, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error says who saw it."""
    harm(monkeypatch, number)
    with pytest.raises(VerifyError) as caught:
        transcode(source, tmp_path / "out.dcm", to=DEFLATED, verify=verify)
    assert caught.value.frame == number
    judge = "ISA-L" if verify == "sampled" and number % JUDGED_EVERY else "zlib"
    assert f"1 of 480 samples differ after encoding by isal, as {judge} decodes it" in str(caught.value)
    assert not (tmp_path / "out.dcm").exists()


def test_a_native_frame_of_single_bits_is_judged_too(tmp_path: Path) -> None:
    fmt = Format("MONOCHROME2", 1, 1)
    frames = images.make_frames(fmt, 5, 7, 3)
    (tmp_path / "in.dcm").write_bytes(images.image(fmt, frames).encode())
    transcode(tmp_path / "in.dcm", tmp_path / "rle.dcm", to="rle", one_bit="allow")
    outcome = transcode(tmp_path / "rle.dcm", tmp_path / "out.dcm", to="explicit")
    assert outcome.verified == (("dcmtx", 3),)
    assert np.array_equal(dicom.walk((tmp_path / "out.dcm").read_bytes()).elements[dicom.PIXEL_DATA].value,
                          dicom.walk((tmp_path / "in.dcm").read_bytes()).elements[dicom.PIXEL_DATA].value)  # fmt: skip


@pytest.mark.parametrize("workers", [1, 3])
def test_openjpeg_judges_what_openjph_wrote_and_openjph_checks_the_rest(
    workers: int, source: Path, tmp_path: Path
) -> None:
    outcome = transcode(source, tmp_path / "out.dcm", to="htj2k", workers=workers)
    assert outcome.encoder == ("ojph" if FAST else "imagecodecs")
    assert dict(outcome.verified) == {"OpenJPEG": SAMPLED, "OpenJPH": FRAMES - SAMPLED}


@pytest.mark.parametrize("checker", judges.checkers(BY_UID[dicom.HTJ2K_LOSSLESS]), ids=lambda row: row.backend)
def test_a_checker_decodes_every_format_that_is_encoded_exactly(checker: Row, tmp_path: Path) -> None:
    """As the judge does: a frame that it gets wrong would be refused, or a fault passed over."""
    if not (checker.is_installed() and checker.at_hand()):
        pytest.skip(f"{checker.package} is not installed")
    decoder, done = DECODERS.load(checker), 0
    syntax = BY_UID[dicom.HTJ2K_LOSSLESS]
    for number, fmt in enumerate(images.formats(syntax.legal + syntax.one_bit)):
        if fmt.stored > 16:
            continue
        frames = images.make_frames(fmt, *images.SHAPES[number % len(images.SHAPES)], len(images.CONTENTS))
        rows, columns = frames[0].shape[:2]
        given = GREY.replace(
            rows=rows, columns=columns, samples=fmt.samples, photometric=fmt.photometric, allocated=fmt.allocated,
            stored=fmt.stored, high_bit=fmt.stored - 1, signed=fmt.signed,
        )  # fmt: skip
        coded = given.replace(photometric="YBR_RCT") if fmt.photometric == "RGB" else given
        encoder = ENCODERS.load(ENCODERS.choose(syntax.uid, "", coded))
        for frame in frames:
            stream = encoder.once(frame, given, coded)
            back = bits.settle(decoder.once(stream, coded, given), codestream.inspect("htj2k", stream), given)
            assert np.array_equal(back, frame), fmt
            done += 1
    assert done > 100


@pytest.mark.parametrize(
    "change",
    [lambda _: b"", lambda _: b"no codestream", lambda stream: stream[:70], lambda stream: stream[: len(stream) // 2]],
    ids=["nothing", "text", "a header", "a half"],
)
def test_what_is_no_codestream_is_never_given_to_a_checker(
    change: Callable[[bytes], bytes], source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some do not stand it. Here it is the fourth frame, which a checker has."""
    encoder = ENCODERS.choose(dicom.HTJ2K_LOSSLESS, "", GREY)
    module, _, function = encoder.call.partition(":")
    encode = getattr(importlib.import_module(module), function)

    def harming(words: Words, *rest: Any) -> bytes:
        stream: bytes = encode(words, *rest)
        return change(stream) if words.flat[0] == 3 else stream

    monkeypatch.setattr(f"{module}.{function}", harming)
    with pytest.raises(VerifyError, match=f"{encoder.backend} encoded it wrongly: ") as caught:
        transcode(source, tmp_path / "out.dcm", to="htj2k")
    assert caught.value.frame == 3


def test_a_decoder_that_only_checks_is_none_to_be_asked_for(source: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no decoder 'imagecodecs-openjph'"):
        transcode(source, tmp_path / "out.dcm", to="htj2k", decoder="imagecodecs-openjph")


# --- what is told ----------------------------------------------------------------------------------------------


def test_what_is_not_encoded_is_not_verified(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.dcm"
    assert transcode(source, out, to="implicit").verified == ()
    assert transcode(source, out, to="explicit").verified == ()
    assert transcode(source, out, to="rle", verify=False).verified == ()
    assert transcode(source, out, to="rle", dry_run=True).verified == ()


def test_a_jpeg_stream_that_is_recompressed_is_restored_and_compared(tmp_path: Path) -> None:
    """By libjxl, which alone can; nothing is encoded where it is restored for good."""
    fmt = Format("RGB", 8, 8)
    source, packed = tmp_path / "in.dcm", tmp_path / "packed.dcm"
    source.write_bytes(images.image(fmt, images.make_frames(fmt, 24, 20, 3)).encode())
    transcode(source, source, to="jpeg", lossy=True)
    assert transcode(source, packed, to="jpegxl-jpeg").verified == (("libjxl", 3),)
    assert transcode(packed, tmp_path / "out.dcm", to="jpeg-baseline", lossy=True).verified == ()
    with pytest.raises(UnsupportedError, match="--verify strict: no library but libjxl"):
        transcode(source, packed, to="jpegxl-jpeg", verify="strict")


def test_the_report_says_how_many_frames_each_library_judged(source: Path, tmp_path: Path) -> None:
    from dcmtx.batch.report import as_record, verbose_line

    outcome = transcode(source, tmp_path / "out.dcm", to=DEFLATED)
    assert as_record(outcome, "", "")["verified"] == {"ISA-L": FRAMES - SAMPLED, "zlib": SAMPLED}
    assert verbose_line(outcome).endswith(f"verified: {FRAMES - SAMPLED} by ISA-L, {SAMPLED} by zlib")
    outcome = transcode(source, tmp_path / "out.dcm", to=DEFLATED, verify=False)
    assert as_record(outcome, "", "")["verified"] is None
    assert "verified" not in verbose_line(outcome)


def test_a_report_in_parquet_says_it_too(source: Path, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="an extra")
    from dcmtx.batch.report import COLUMNS, as_record
    from dcmtx.place.tables import read_records, write_parquet

    outcome = transcode(source, tmp_path / "out.dcm", to=DEFLATED)
    record = as_record(outcome, "in.dcm", "out.dcm")
    (tmp_path / "lines").write_text(json.dumps(record) + "\n", "utf-8")
    write_parquet(str(tmp_path / "lines"), str(tmp_path / "report.parquet"), COLUMNS)
    (read,) = read_records(str(tmp_path / "report.parquet"))
    assert read["verified"] == record["verified"]


def test_a_plan_says_who_will_judge(source: Path, tmp_path: Path) -> None:
    told = {
        verify: [step.describe() for step in plan.steps if step.describe().startswith("verify")]
        for verify in set(Verify) - {Verify.DEVICE}
        if (plan := transcode(source, tmp_path / "out.dcm", to=DEFLATED, verify=verify, dry_run=True).plan)
    }
    assert told == {
        Verify.SAMPLED: ["verify by zlib, all but one frame in 16 by isal (ISA-L)"],
        Verify.STRICT: ["verify by zlib"],
        Verify.CPU: ["verify by zlib"],
        Verify.NONE: [],
    }


# --- how it is asked for ---------------------------------------------------------------------------------------

SPELLED: dict[str, tuple[list[str], Verify, list[str]]] = {
    "nothing": (["a", "b"], Verify.SAMPLED, ["a", "b"]),
    "--verify before files": (["--verify", "a", "b"], Verify.SAMPLED, ["a", "b"]),
    "--verify behind files": (["a", "b", "--verify"], Verify.SAMPLED, ["a", "b"]),
    "--no-verify": (["--no-verify", "a", "b"], Verify.NONE, ["a", "b"]),
    "strict before files": (["--verify", "strict", "a", "b"], Verify.STRICT, ["a", "b"]),
    "strict with a sign": (["a", "--verify=strict", "b"], Verify.STRICT, ["a", "b"]),
    "none": (["a", "b", "--verify", "none"], Verify.NONE, ["a", "b"]),
    "the last of two": (["--no-verify", "--verify", "a", "b"], Verify.SAMPLED, ["a", "b"]),
    "the last of two, denied": (["--verify", "strict", "a", "b", "--no-verify"], Verify.NONE, ["a", "b"]),
    "a file of that name": (["--verify", "./strict", "b"], Verify.SAMPLED, ["./strict", "b"]),
    "files behind two dashes": (["--verify", "--", "strict", "--no-verify"], Verify.SAMPLED, ["strict", "--no-verify"]),
}


@pytest.mark.parametrize(("arguments", "verify", "files"), SPELLED.values(), ids=SPELLED)
def test_the_command_line_takes_it_with_a_word_and_without(
    arguments: list[str], verify: Verify, files: list[str]
) -> None:
    from dcmtx.cli.convert import convert

    context = convert.make_context("convert", ["--to", "rle", *arguments])
    assert (Verify(context.params["verify"]), list(context.params["paths"])) == (verify, files)


@pytest.mark.parametrize(
    "arguments", [["a", "b", "--verify", "Strict"], ["--verify", "stict", "a", "b"], ["a", "--verify", "nnone", "b"]]
)
def test_a_choice_that_is_misspelt_is_no_file(arguments: list[str], fails: Callable[..., str]) -> None:
    """Else it would be DST, and DST a source."""
    line = fails(2, *arguments, "--to", "rle")
    word = arguments[arguments.index("--verify") + 1]
    assert line.startswith(f"dcmtx: --verify is '{word}', not one of sampled, strict")


def test_to_compare_and_not_to_verify_is_a_contradiction(fails: Callable[..., str]) -> None:
    line = fails(2, "a", "b", "--to", "rle", "--cross-check", "--no-verify")
    assert "--cross-check compares, and --no-verify" in line


@pytest.mark.parametrize(
    ("given", "verify"),
    [(True, Verify.SAMPLED), (False, Verify.NONE), ("strict", Verify.STRICT), (Verify.STRICT, Verify.STRICT)],
)
def test_the_library_takes_it_as_a_word_and_as_true_or_false(given: Any, verify: Verify) -> None:
    assert make_policy(0, verify=given).verify is verify
    assert job("a", "b", to="rle", verify=given).request.policy.verify is verify


@pytest.mark.parametrize("given", ["thorough", "", 1, 0, 2.5])
def test_another_word_is_no_choice(given: Any) -> None:
    with pytest.raises(UsageError, match=r"--verify is .*, not one of sampled, strict, cpu, device, none"):
        job("a", "b", to="rle", verify=given)


@pytest.mark.parametrize(("given", "verify"), [(True, Verify.SAMPLED), (False, Verify.NONE), ("strict", Verify.STRICT)])
def test_a_job_written_by_an_older_release_is_read(given: Any, verify: Verify) -> None:
    form = json.loads(job("a", "b", to="rle").to_json())
    form["request"]["policy"]["verify"] = given
    assert job_from_json(json.dumps(form)).request.policy.verify is verify
    form["request"]["policy"]["verify"] = 1
    with pytest.raises(UsageError, match="verify is 1, not one of sampled, strict, cpu, device, none"):
        job_from_json(json.dumps(form))
