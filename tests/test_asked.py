"""What is asked of a file that has the target syntax already is done, or refused; never is the file copied instead."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dicom
import images
import numpy as np
import oracle
import pytest
from batches import by_source, records, run
from conftest import contents
from images import Format
from test_lossy import (
    G8,
    G12,
    LOSSY,
    METHOD,
    RATIO,
    RGB,
    SOP_INSTANCE,
    Silent,
    make,
    scene,
    silent,
    text,
    texts,
    written,
)  # fmt: skip

from dcmtx import transcode
from dcmtx.errors import UnsupportedError


@pytest.fixture(autouse=True)
def _without_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """None of these files must outlive the machine."""
    monkeypatch.setattr("os.fsync", int)


def marker(stream: bytes, *codes: int) -> bytes:
    """Return what follows the first of these markers."""
    return min((stream[at:] for code in codes if (at := stream.find(bytes([0xFF, code]))) >= 0), key=len)


def resolutions(stream: bytes) -> int:
    """T.800 A.6.1: decomposition levels, and the image itself."""
    return marker(stream, 0x52)[9] + 1


def tile_side(stream: bytes) -> int:
    """T.800 A.5.1."""
    return int.from_bytes(marker(stream, 0x51)[22:26], "big")


def reversible(stream: bytes) -> bool:
    """T.800 A.6.1: which wavelet."""
    return marker(stream, 0x52)[13] == 1


def near(stream: bytes) -> int:
    """T.87 C.2.3: the third last byte of the scan header of one component."""
    return marker(stream, 0xDA)[7]


predictor = near  # T.81 B.2.3: lossless JPEG has it at the same place


def sampling(stream: bytes) -> int:
    """T.81 B.2.2: horizontal and vertical factor of the first component."""
    return marker(stream, 0xC0)[11]


@dataclass(frozen=True)
class Asked:
    """A file of some target and options, what is asked of it then, and what its codestream must say afterwards."""

    first: str
    fmt: Format
    options: dict[str, Any]
    measure: Callable[[bytes], Any]
    wanted: Any
    before: dict[str, Any] = field(default_factory=dict)
    to: str = ""


LOSES: dict[str, Any] = {"lossy": True}
ASKED = {
    "a ratio of what is exact": Asked("JPEG2000", G12, LOSES | {"ratio": 20}, reversible, False),
    "a ratio of what is exact, HTJ2K": Asked("HTJ2K", G12, LOSES | {"ratio": 20}, reversible, False),
    "a ratio, by the family": Asked("JPEG2000", G12, LOSES | {"ratio": 20}, reversible, False, to="j2k"),
    "a PSNR of what is exact": Asked("JPEG2000", RGB, LOSES | {"psnr": 40}, reversible, False),
    "loss of what is exact": Asked("JPEG2000", G12, LOSES, reversible, False),
    "loss of what is exact, HTJ2K": Asked("HTJ2K", RGB, LOSES, reversible, False),
    "loss of what is exact, JPEG-LS": Asked("jpegls-near", G12, LOSES, near, 2),
    "another ratio": Asked("JPEG2000", G12, LOSES | {"ratio": 40}, reversible, False, LOSES | {"ratio": 20}),
    "NEAR": Asked("jpegls-near", G12, LOSES | {"near": 5}, near, 5, LOSES | {"near": 2}),
    "NEAR 0": Asked("jpegls-near", G12, LOSES | {"near": 0}, near, 0, LOSES | {"near": 2}),
    "shared chroma": Asked("jpeg-baseline", RGB, LOSES | {"subsampling": "420"}, sampling, 0x22, LOSES),
    "a predictor": Asked("jpeg-lossless-p14", G12, {"predictor": 4}, predictor, 4),
    "resolutions": Asked("j2k", G12, {"resolutions": 3}, resolutions, 3),
    "resolutions, HTJ2K": Asked("htj2k", G12, {"resolutions": 3}, resolutions, 3),
    "tiles": Asked("htj2k-rpcl", G12, {"tile": 64}, tile_side, 64),
}  # fmt: skip


@pytest.mark.parametrize("policy", [{}, {"offset_table": "basic"}], ids=["nothing else", "a table too"])
@pytest.mark.parametrize("kind", ASKED)
def test_it_is_done(kind: str, policy: dict[str, Any], tmp_path: Path) -> None:
    """Encoded anew; where the new stream loses, there is one more loss in the record, and another instance."""
    asked = ASKED[kind]
    plain, source, out = (tmp_path / f"{name}.dcm" for name in ("plain", "source", "out"))
    transcode(make(plain, asked.fmt), source, to=asked.first, **asked.before)
    (before,) = dicom.walk(source.read_bytes()).fragments
    assert asked.measure(before) != asked.wanted or "ratio" in asked.before
    outcome = transcode(source, out, to=asked.to or asked.first, **(asked.options | policy))
    assert outcome.status.value == "converted"
    assert outcome.syntax_in == outcome.syntax_out
    (after,) = dicom.walk(out.read_bytes()).fragments
    assert asked.measure(after) == asked.wanted
    exact = not asked.options.get("lossy") or asked.options.get("near") == 0
    losses = ("lossy" in asked.before) + (not exact)
    assert len(texts(written(out)[METHOD]) if METHOD in written(out) else []) == losses
    assert (written(out)[SOP_INSTANCE].text == written(source)[SOP_INSTANCE].text) == exact
    if exact:
        assert np.array_equal(oracle.decoded(out.read_bytes())[0], oracle.decoded(source.read_bytes())[0])


@pytest.mark.parametrize("fmt", [G8, RGB], ids=str)
def test_quality_is_done(fmt: Format, tmp_path: Path) -> None:
    plain, source, out = (tmp_path / f"{name}.dcm" for name in ("plain", "source", "out"))
    transcode(make(plain, fmt), source, to="jpeg", lossy=True)
    outcome = transcode(source, out, to="jpeg", lossy=True, quality=5)
    assert outcome.bytes_out < source.stat().st_size
    assert texts(written(out)[METHOD]) == ["ISO_10918_1"] * 2


STAYS = {
    "JPEG2000": {"ratio": 20}, "HTJ2K": {"ratio": 20}, "jpegls-near": {"near": 1}, "jpeg-baseline": {},
    "1.2.840.10008.1.2.4.112": {},
}  # fmt: skip


@pytest.mark.parametrize("to", STAYS)
def test_consent_alone_does_not_lose_twice(to: str, tmp_path: Path) -> None:
    """What is lossy already is what was asked for, and stays byte for byte."""
    plain, source, out = (tmp_path / f"{name}.dcm" for name in ("plain", "source", "out"))
    transcode(make(plain, G8), source, to=to, lossy=True, **STAYS[to])
    assert transcode(source, out, to=to, lossy=True).status.value == "copied"
    assert out.read_bytes() == source.read_bytes()
    # New fragments are no new loss either.
    transcode(source, out, to=to, lossy=True, offset_table="basic")
    assert dicom.walk(out.read_bytes()).fragments == dicom.walk(source.read_bytes()).fragments


@pytest.mark.parametrize("table", [{}, {"offset_table": "basic"}], ids=["nothing else", "a table too"])
@pytest.mark.parametrize(
    ("methods", "stays"),
    [(None, True), ("ISO_10918_1\\ISO_15444_1", True), ("ISO_15444_1\\ISO_10918_1", False)],
    ids=["no method", "its own method last", "another method last"],
)
def test_consent_alone_loses_no_more_where_the_data_set_tells_of_the_loss(
    methods: str | None, stays: bool, table: dict[str, str], tmp_path: Path
) -> None:
    """A reversible wavelet whose last bits were left out has lost something, and its codestream does not say so."""
    plain, source, out = (tmp_path / f"{name}.dcm" for name in ("plain", "source", "out"))
    record = text(LOSSY, "CS", "01") | text(RATIO, "DS", "9.5 " if methods is None else "4\\9.5 ")
    record |= {} if methods is None else text(METHOD, "CS", methods)
    transcode(make(plain, before=record), source, to="JPEG2000")
    outcome = transcode(source, out, to="j2k", lossy=True, **table)
    assert (dicom.walk(out.read_bytes()).fragments == dicom.walk(source.read_bytes()).fragments) == stays
    assert (outcome.status.value == "copied") == (stays and not table)


def test_what_is_exact_under_a_syntax_that_loses_is_not_copied(tmp_path: Path) -> None:
    source = silent(tmp_path / "source.dcm", Silent("jpeg", G8, None, under=dicom.JPEG_BASELINE))
    out = tmp_path / "out.dcm"
    transcode(source, out, to="jpeg", lossy=True)
    assert (written(out)[LOSSY].text, texts(written(out)[METHOD])) == ("01", ["ISO_10918_1"])
    assert b"\xff\xc0" in dicom.walk(out.read_bytes()).fragments[0]


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.4.93", "1.2.840.10008.1.2.4.102"])
def test_what_cannot_be_done_is_refused(syntax: str, tmp_path: Path) -> None:
    """There is no encoder for these, so no parameter of one is obeyed."""
    source, out = tmp_path / "source.dcm", tmp_path / "out.dcm"
    source.write_bytes(images.image(G8, [scene(G8)]).encode())
    image = images.image(G8, [scene(G8)])
    image.syntax, image.pixels = syntax, [b"\xff\xd8stream"]
    source.write_bytes(image.encode())
    with pytest.raises(UnsupportedError):
        transcode(source, out, to=syntax, lossy=True, quality=5)
    assert not out.exists()


# --- and --resume ----------------------------------------------------------------------------------------------


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A directory of one lossless JPEG 2000 image under the syntax that may lose."""
    study = tmp_path / "study"
    study.mkdir()
    transcode(make(tmp_path / "plain.dcm"), study / "a", to="JPEG2000")
    return study


def resumed(study: Path, out: Path, *options: str, status: int = 0) -> str:
    ran = run(study, out, "--to", "j2k", "--lossy", *options, "--resume", "--json")
    assert ran.status == status, ran
    return str(by_source(records(ran.out))["a"]["status"])


def test_a_batch_goes_on_where_it_was(study: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert [resumed(study, out, "--ratio", "20") for _ in range(2)] == ["converted", "skipped"]


def test_a_batch_in_place_loses_once(study: Path) -> None:
    """By consent alone, the second run sees that it is done."""
    assert resumed(study, study) == "converted"
    before = contents(study)
    assert resumed(study, study) == "skipped"
    assert contents(study) == before


def test_a_batch_in_place_obeys_once(study: Path) -> None:
    """What dcmtx itself has made lossy is done; what somebody else has, or nobody, is not."""
    (path,) = study.iterdir()
    assert [resumed(study, study, "--ratio", "20") for _ in range(2)] == ["converted", "skipped"]
    data = path.read_bytes()
    start = data.index(b"\x02\0\x12\0UI")
    length = int.from_bytes(data[start + 6 : start + 8], "little")
    path.write_bytes(data[: start + 8] + b"1.2".ljust(length, b"\0") + data[start + 8 + length :])
    assert [resumed(study, study, "--ratio", "40") for _ in range(2)] == ["converted", "skipped"]
    assert len(texts(written(path)[METHOD])) == 2
