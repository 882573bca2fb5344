"""Losses of before: what is told of them stays, whole or not, and what a codestream is decides what it lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dicom
import images
import numpy as np
import oracle
import pytest
from conftest import REAL
from test_lossy import (
    G8,
    G12,
    LOSSY,
    METHOD,
    METHODS,
    RATIO,
    RGB,
    SOP_INSTANCE,
    Silent,
    lose,
    make,
    measured_ratio,
    scene,
    silent,
    text,
    texts,
    written,
)

from dcmtx import transcode
from dcmtx.errors import DcmtxError

CASES = REAL.parent / "cases"
NEAR, JPEG = "ISO_14495_1", "ISO_10918_1"


@pytest.fixture(autouse=True)
def _without_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """None of these files must outlive the machine."""
    monkeypatch.setattr("os.fsync", int)


# --- values that have no partner --------------------------------------------------------------------------------

# Ratios and methods of the source, and what of them is told before the new pair: of native cells, whose own method
# nothing tells, and of near-lossless JPEG-LS.
UNEVEN: dict[str, tuple[str, str, list[str], list[str], list[str]]] = {
    "a flag alone": ("", "", [], [], []),
    "a ratio alone": ("11", "", ["11"], [""], [NEAR]),
    "a ratio too many": ("7\\8", JPEG, ["7", "8"], [JPEG, ""], [JPEG, NEAR]),
    "two ratios too many": ("7\\8\\9", JPEG, ["7", "8", "9"], [JPEG, "", ""], [JPEG, "", ""]),
    "ratios alone": ("7\\8", "", ["7", "8"], ["", ""], ["", ""]),
    "an empty method": ("7\\8", f"{JPEG}\\", ["7", "8"], [JPEG, ""], [JPEG, NEAR]),
    "an empty method before another": ("7\\8", f"\\{JPEG}", ["7", "8"], ["", JPEG], ["", JPEG]),
    "a method alone": ("", JPEG, [""], [JPEG], [JPEG]),
    "a method too many": ("7", f"{JPEG}\\ISO_15444_1", ["7", ""], [JPEG, "ISO_15444_1"], [JPEG, "ISO_15444_1"]),
    "an empty ratio": ("\\8", f"{JPEG}\\{NEAR}", ["", "8"], [JPEG, NEAR], [JPEG, NEAR]),
    "ratios as long as they may be": ("7.00000000000001\\8.00000000000002", JPEG,
                                      ["7.00000000000001", "8.00000000000002"], [JPEG, ""], [JPEG, NEAR]),
}  # fmt: skip


def coded(path: Path, kind: Silent, before: dict[int, bytes]) -> Path:
    """Write the codestreams of a kind into a data set that has these elements."""
    source = silent(path.with_name("silent.dcm"), kind)
    walked = dicom.walk(source.read_bytes())
    image = images.image(kind.fmt, [scene(kind.fmt)], before=before)
    image.syntax, image.pixels = walked.syntax, walked.fragments
    image.photometric = oracle.attributes(walked).photometric
    path.write_bytes(image.encode())
    return path


@pytest.mark.parametrize("to", ["JPEG2000", "jpegls-near"])
@pytest.mark.parametrize("near", [False, True], ids=["native", "near-lossless"])
@pytest.mark.parametrize("kind", UNEVEN)
def test_no_value_is_dropped_or_moved(kind: str, near: bool, to: str, tmp_path: Path) -> None:
    """The Nth ratio is that of the Nth method, empty where one is not told (PS3.3 C.7.6.1.1.5.2)."""
    ratios, methods, told, of_native, of_near = UNEVEN[kind]
    before = text(LOSSY, "CS", "01") | text(RATIO, "DS", ratios) | text(METHOD, "CS", methods)
    path = tmp_path / "source.dcm"
    source = coded(path, Silent("jpegls-near", G12, NEAR), before) if near else make(path, before=before)
    found = written(out := lose(source, to))
    assert texts(found[RATIO])[:-1] == told
    assert texts(found[METHOD]) == [*(of_near if near else of_native), METHODS[to][0]]
    assert float(texts(found[RATIO])[-1]) == pytest.approx(measured_ratio(out, G12), rel=0.01)
    assert [found[tag].vr for tag in (RATIO, METHOD)] == ["DS", "CS"]
    assert all(len(found[tag].value) % 2 == 0 for tag in (RATIO, METHOD))
    assert max(len(value) for value in texts(found[RATIO])) <= 16


@pytest.mark.parametrize("kind", UNEVEN)
def test_lossless_work_leaves_them_as_they_are(kind: str, tmp_path: Path) -> None:
    ratios, methods, *_ = UNEVEN[kind]
    before = text(LOSSY, "CS", "01") | text(RATIO, "DS", ratios) | text(METHOD, "CS", methods)
    source, out = coded(tmp_path / "source.dcm", Silent("jpegls-near", G12, NEAR), before), tmp_path / "out.dcm"
    transcode(source, out, to="explicit")
    assert {tag: written(out)[tag].raw for tag in before} == before


# A record without the flag: ratios, methods, and what of both is told; None is the ratio of the codestream.
UNFLAGGED: dict[str, tuple[str, str, list[str | None], list[str]]] = {
    "nothing": ("", "", [None], [NEAR]),
    "a ratio": ("11", "", ["11"], [NEAR]),
    "its method": ("", NEAR, [None], [NEAR]),
    "all but the flag": ("11", NEAR, ["11"], [NEAR]),
    "a loss before it": ("7", JPEG, ["7", None], [JPEG, NEAR]),
    "a loss before it, and a ratio": ("7\\11", JPEG, ["7", "11"], [JPEG, NEAR]),
}


@pytest.mark.parametrize("flag", ["", "00"])
@pytest.mark.parametrize("kind", UNFLAGGED)
def test_a_record_without_its_flag_is_made_whole_once(kind: str, flag: str, tmp_path: Path) -> None:
    """What it tells of its own codestream is not told twice."""
    ratios, methods, told, named = UNFLAGGED[kind]
    before = text(LOSSY, "CS", flag) | text(RATIO, "DS", ratios) | text(METHOD, "CS", methods)
    source, out = coded(tmp_path / "source.dcm", Silent("jpegls-near", G12, NEAR), before), tmp_path / "out.dcm"
    outcome = transcode(source, out, to="rle")
    assert any("0028,2110" in note.text for note in outcome.notes)
    found = written(out)
    assert (found[LOSSY].text, texts(found[METHOD])) == ("01", named)
    own = measured_ratio(source, G12)
    for value, expected in zip(texts(found[RATIO]), told, strict=True):
        assert value == expected if expected else float(value) == pytest.approx(own, rel=0.01)


@pytest.mark.parametrize(
    ("name", "ratios", "methods"),
    [
        ("both", ["12.5"], [JPEG]), ("method", [""], [JPEG]), ("one", ["12.5"], [""]),
        ("two", ["12.5", "4"], [JPEG, ""]),
    ],
)  # fmt: skip
def test_histories_that_were_met(name: str, ratios: list[str], methods: list[str], tmp_path: Path) -> None:
    source = CASES / "lossy_history_without_method" / f"{name}.dcm"
    if not source.exists():
        pytest.skip("these files are not here")
    out = tmp_path / "out.dcm"
    transcode(source, out, to="jpegls-near", lossy=True)
    assert texts(written(out)[RATIO])[:-1] == ratios
    assert texts(written(out)[METHOD]) == [*methods, NEAR]
    assert np.abs(oracle.decoded(out.read_bytes())[0].astype("i4") - np.load(f"{source}.npy")).max() <= 2


# --- codestreams of another process than their syntax names -----------------------------------------------------


# Codestreams of a target under each other JPEG syntax that DICOM has: exact, or with what method.
STRANGERS = {
    f"{name} under .{under.rpartition('.')[2]}": Silent(to, fmt, method, under=under)
    for name, to, fmt, method in (
        ("lossless JPEG of 8 bits", "jpeg", G8, None), ("lossless JPEG of 12 bits", "jpeg", G12, None),
        ("lossless JPEG in colour", "jpeg", RGB, None),
        ("lossless JPEG by predictor 4", "jpeg-lossless-p14", G12, None),
        ("JPEG of 8 bits", "jpeg-baseline", G8, JPEG), ("JPEG of 12 bits", "jpeg-extended", G12, JPEG),
        ("JPEG in colour", "jpeg-baseline", RGB, JPEG),
    )
    for under in (dicom.JPEG_BASELINE, dicom.JPEG_EXTENDED, dicom.JPEG_P14, dicom.JPEG_SV1)
}  # fmt: skip


@pytest.fixture
def stranger(tmp_path: Path, request: pytest.FixtureRequest) -> tuple[Path, Silent]:
    kind = STRANGERS[request.param]
    options = {"predictor": 4} if kind.to == "jpeg-lossless-p14" else {}
    return silent(tmp_path / "source.dcm", Silent(kind.to, kind.fmt, kind.method, options, kind.under)), kind


def words(path: Path) -> list[Any]:
    """Return the frames of a native file."""
    return oracle.native(path.read_bytes())


@pytest.mark.parametrize("stranger", STRANGERS, indirect=True)
def test_the_process_of_the_codestream_decides(stranger: tuple[Path, Silent], tmp_path: Path) -> None:
    """Whether it is decoded, to what, and whether it is called lossy."""
    source, kind = stranger
    out = tmp_path / "out.dcm"
    outcome = transcode(source, out, to="explicit")
    (found,) = words(out)
    if kind.method is None:
        assert np.array_equal(found, scene(kind.fmt))
        assert not written(out).keys() & {LOSSY, RATIO, METHOD}
        assert not any("lossy" in note.text for note in outcome.notes)
    else:
        error = found.astype("f8") - scene(kind.fmt)
        assert 0 < np.sqrt(np.mean(error * error)) < 0.02 * kind.fmt.high
        assert (written(out)[LOSSY].text, written(out)[METHOD].text) == ("01", kind.method)
    assert written(out)[SOP_INSTANCE].text == "1.2.3.4"


@pytest.mark.parametrize("stranger", STRANGERS, indirect=True)
def test_what_it_is_written_as_is_what_its_syntax_names(stranger: tuple[Path, Silent], tmp_path: Path) -> None:
    """Encoded again, also under the same name, it is of the process of that name; the pixels are those of before."""
    source, _ = stranger
    plain, out = tmp_path / "plain.dcm", tmp_path / "out.dcm"
    transcode(source, plain, to="explicit")
    transcode(source, out, to="jpeg", force=True)
    (stream,) = dicom.walk(out.read_bytes()).fragments
    assert b"\xff\xc3" in stream[:400]
    assert np.array_equal(oracle.decoded(out.read_bytes())[0], words(plain)[0])


EXACT = {"jpegls-near": "jpegls", "JPEG2000": "j2k", "HTJ2K": "htj2k"}
MIXED = [
    (to, under, index) for to, under in (("jpegls-near", dicom.JPEGLS_NEAR), ("jpegls-near", dicom.JPEGLS),
     ("JPEG2000", dicom.J2K), ("HTJ2K", dicom.HTJ2K)) for index in (0, 1, 2)
]  # fmt: skip


@pytest.mark.parametrize(("to", "under", "index"), MIXED)
def test_one_frame_that_lost_something_is_enough(to: str, under: str, index: int, tmp_path: Path) -> None:
    """Wherever it is among others that are exact (PS3.3 C.7.6.1.1.5)."""
    source, out = tmp_path / "source.dcm", tmp_path / "out.dcm"
    fragments = []
    for number in range(3):
        kind = Silent(to if number == index else EXACT[to], G12, None)
        fragments += dicom.walk(silent(source, kind).read_bytes()).fragments
    image = images.image(G12, [scene(G12)] * 3)
    image.syntax, image.pixels = under, fragments
    source.write_bytes(image.encode())
    transcode(source, out, to="rle")
    assert (written(out)[LOSSY].text, written(out)[METHOD].text) == ("01", METHODS[to][0])


@pytest.mark.parametrize("name", ["lossless JPEG of 8 bits", "JPEG of 12 bits"])
def test_only_baseline_is_recompressed(name: str, tmp_path: Path) -> None:
    """JPEG XL takes no other JPEG; that is refused by its name, not left to the library."""
    kind = STRANGERS[f"{name} under .50"]
    source, out = silent(tmp_path / "source.dcm", kind), tmp_path / "out.dcm"
    with pytest.raises(DcmtxError) as caught:
        transcode(source, out, to="jpegxl-jpeg")
    assert (caught.value.code, out.exists()) == ("E_NEEDS_JPEG", False)


@pytest.mark.parametrize("name", ["sof3-under-50", "sof3-under-51", "sof3p4-under-70", "dct-under-50", "dct-under-70"])
@pytest.mark.parametrize("to", ["explicit", "jpegls"])
def test_processes_that_were_met(name: str, to: str, tmp_path: Path) -> None:
    source = CASES / "codestream_of_another_process" / f"{name}.dcm"
    if not source.exists():
        pytest.skip("these files are not here")
    out = tmp_path / "out.dcm"
    transcode(source, out, to=to)
    found = words(out) if to == "explicit" else oracle.decoded(out.read_bytes())
    if not name.startswith("dct"):
        assert np.array_equal(found[0], np.load(f"{source}.npy"))
    assert (LOSSY in written(out)) == name.startswith("dct")
