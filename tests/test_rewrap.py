"""`dcmtx rewrap`: codestreams stay bit for bit, whatever their wrapping was, and take only names that are theirs."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import dicom
import numpy as np
import pytest
from conftest import Ran

import dcmtx

ROOT = "1.2.840.10008.1.2.4."
Run = Callable[..., Ran]


@pytest.fixture(scope="session")
def streams() -> dict[str, list[bytes]]:
    """Codestreams of two frames, by a name; made once."""
    noise = np.random.default_rng(7).integers(0, 4096, (2, 64, 64), np.uint16)
    native = dicom.Image(noise.tobytes(), rows=64, columns=64, stored=12, frames=2).encode()
    made = {}
    for name, to, options in MADE:
        made[name] = fragments_of(dcmtx.transcode(native, to=to, **options))
    eight = np.random.default_rng(8).integers(0, 256, (2, 64, 64), np.uint8)
    grey = dicom.Image(eight.tobytes(), rows=64, columns=64, allocated=8, stored=8, frames=2).encode()
    made["baseline"] = fragments_of(dcmtx.transcode(grey, to="jpeg-baseline", lossy=True))
    return made


MADE = [
    ("j2k", "j2k-lossless", {}),
    ("j2k lossy", "j2k", {"lossy": True, "ratio": 8}),
    ("htj2k", "htj2k-lossless", {}),
    ("htj2k rpcl", "htj2k-rpcl", {}),
    ("htj2k lossy", "htj2k", {"lossy": True, "ratio": 8}),
    ("jpeg predictor 1", "jpeg-lossless", {}),
    ("jpeg predictor 4", "jpeg-lossless-p14", {"predictor": 4}),
    ("jpegls", "jpegls-lossless", {}),
    ("jpegls near", "jpegls-near", {"lossy": True, "near": 3}),
    ("jpegxl", "jpegxl-lossless", {}),
    ("jpegxl lossy", "jpegxl", {"lossy": True, "quality": 80}),
]


def fragments_of(data: bytes) -> list[bytes]:
    """Return the fragments of a file, without the offset table, read by hand."""
    position = data.index(struct.pack("<HH", 0x7FE0, 0x0010) + b"OB\0\0\xff\xff\xff\xff") + 12
    found = []
    while data[position : position + 4] == b"\xfe\xff\x00\xe0":
        (length,) = struct.unpack_from("<I", data, position + 4)
        found.append(data[position + 8 : position + 8 + length])
        position += 8 + length
    assert data[position : position + 8] == b"\xfe\xff\xdd\xe0\0\0\0\0"
    return found[1:]


def table_of(data: bytes) -> list[int]:
    """Return the entries of the Basic Offset Table of a file."""
    position = data.index(struct.pack("<HH", 0x7FE0, 0x0010) + b"OB\0\0\xff\xff\xff\xff") + 12
    (length,) = struct.unpack_from("<I", data, position + 4)
    return list(struct.unpack_from(f"<{length // 4}I", data, position + 8))


def image(pixels: list[bytes], syntax: str, **more: object) -> dicom.Image:
    settings = {"rows": 64, "columns": 64, "stored": 12, "frames": 2, "syntax": syntax}
    return dicom.Image(pixels, **(settings | more))


# --- wrapping ------------------------------------------------------------------------------------------------------


def split(pixels: list[bytes]) -> list[bytes]:
    """Split every stream in three fragments of even length."""
    return [part for data in pixels for part in (data[:100], data[100:250], data[250:])]


ODD = {
    "as it should be": (lambda pixels: pixels, b""),
    "fragments of one frame apart": (split, b""),
    "a table that is false": (lambda pixels: pixels, struct.pack("<2I", 0, 12345678)),
    "junk behind the streams": (lambda pixels: [data + b"\0junk behind it" + bytes(200) for data in pixels], b""),
}


@pytest.mark.parametrize("name", ["j2k", "htj2k", "jpegls"])
@pytest.mark.parametrize(("spoil", "table"), ODD.values(), ids=ODD)
def test_whatever_the_wrapping_was_streams_are_the_same_and_the_table_is_true(
    command: Run, tmp_path: Path, streams, spoil, table, name
) -> None:
    syntax = {"j2k": "90", "htj2k": "201", "jpegls": "80"}[name]
    source = tmp_path / "odd.dcm"
    source.write_bytes(image(spoil(streams[name]), ROOT + syntax, table=table).encode())
    ran = command("rewrap", source, tmp_path / "new.dcm")
    assert ran.status == 0, ran.err
    new = (tmp_path / "new.dcm").read_bytes()
    assert [data.rstrip(b"\0") for data in fragments_of(new)] == [data.rstrip(b"\0") for data in streams[name]]
    assert table_of(new) == [0, 8 + len(fragments_of(new)[0])]
    with dcmtx.frames(source) as before, dcmtx.frames(tmp_path / "new.dcm") as after:
        assert all(np.array_equal(one, other) for one, other in zip(before, after, strict=True))


@pytest.mark.parametrize("kind", ["empty", "basic", "extended"])
def test_the_table_is_of_the_kind_that_was_asked_for(command: Run, tmp_path: Path, streams, kind) -> None:
    (tmp_path / "a.dcm").write_bytes(image(streams["j2k"], ROOT + "90").encode())
    assert command("rewrap", tmp_path / "a.dcm", tmp_path / "b.dcm", "--offset-table", kind).status == 0
    data = (tmp_path / "b.dcm").read_bytes()
    assert len(table_of(data)) == (2 if kind == "basic" else 0)
    assert (struct.pack("<HH", 0x7FE0, 0x0001) + b"OV" in data) == (kind == "extended")


def test_frames_are_split_over_fragments_of_a_size(command: Run, tmp_path: Path, streams) -> None:
    (tmp_path / "a.dcm").write_bytes(image(streams["j2k"], ROOT + "90").encode())
    assert command("rewrap", tmp_path / "a.dcm", tmp_path / "b.dcm", "--fragment-size", "1000").status == 0
    parts = fragments_of((tmp_path / "b.dcm").read_bytes())
    assert max(map(len, parts)) == 1000
    assert len(parts) == sum(-(-len(data) // 1000) for data in streams["j2k"])
    assert b"".join(parts).replace(b"\0", b"") == b"".join(streams["j2k"]).replace(b"\0", b"")
    assert command("rewrap", tmp_path / "b.dcm", tmp_path / "c.dcm").status == 0
    assert len(fragments_of((tmp_path / "c.dcm").read_bytes())) == 2


def test_a_loss_that_is_not_declared_is_declared(command: Run, tmp_path: Path, streams) -> None:
    (tmp_path / "a.dcm").write_bytes(image(streams["j2k lossy"], ROOT + "91").encode())
    ran = command("rewrap", tmp_path / "a.dcm", tmp_path / "b.dcm")
    assert ran.status == 0
    assert "Lossy Image Compression (0028,2110) is 01 now" in ran.err
    assert dicom.element(0x00282110, "CS", "01") in (tmp_path / "b.dcm").read_bytes()


def test_a_directory_is_wrapped_in_place_and_gone_on_with(command: Run, tmp_path: Path, streams) -> None:
    for number in range(3):
        (tmp_path / f"{number}.dcm").write_bytes(image(split(streams["j2k"]), ROOT + "90").encode())
    assert command("rewrap", tmp_path, tmp_path, "--quiet").status == 0
    assert all(len(fragments_of((tmp_path / f"{number}.dcm").read_bytes())) == 2 for number in range(3))
    (tmp_path / "1.dcm").write_bytes(image(split(streams["j2k"]), ROOT + "90").encode())
    ran = command("rewrap", tmp_path, tmp_path, "--resume")
    assert "1 converted, 2 skipped (done before)" in ran.err


# --- names ---------------------------------------------------------------------------------------------------------

LEGAL = [
    ("j2k", "91", "90"), ("j2k", "90", "91"), ("htj2k", "203", "201"), ("htj2k", "201", "203"),
    ("htj2k rpcl", "203", "202"), ("htj2k rpcl", "201", "202"), ("htj2k rpcl", "202", "201"),
    ("htj2k rpcl", "202", "203"), ("jpeg predictor 1", "57", "70"), ("jpeg predictor 1", "70", "57"),
    ("jpegls", "81", "80"), ("jpegls", "80", "81"), ("jpegls near", "81", "81"), ("baseline", "50", "51"),
    ("baseline", "51", "50"), ("jpegxl", "112", "110"), ("jpegxl", "110", "112"),
]  # fmt: skip
ILLEGAL = [
    ("j2k lossy", "91", "90", "it is irreversible"), ("htj2k lossy", "203", "201", "it is irreversible"),
    ("htj2k lossy", "203", "202", "it is irreversible"), ("jpeg predictor 4", "57", "70", "its predictor is 4, not 1"),
    ("jpegls near", "81", "80", "it is irreversible"), ("jpegxl lossy", "112", "110", "it is irreversible"),
    ("j2k", "90", "201", "codestreams of j2k-lossless are none of htj2k-lossless"),
    ("baseline", "50", "70", "codestreams of jpeg-baseline are none of jpeg-lossless"),
]  # fmt: skip


def settings(name: str) -> dict[str, int]:
    return {"allocated": 8, "stored": 8} if name == "baseline" else {}


@pytest.mark.parametrize(("name", "old", "new"), LEGAL, ids=lambda value: value)
def test_a_name_that_holds_the_same_codestream_is_taken(command: Run, tmp_path: Path, streams, name, old, new) -> None:
    source = image(streams[name], ROOT + old, **settings(name)).encode()
    (tmp_path / "a.dcm").write_bytes(source)
    ran = command("rewrap", tmp_path / "a.dcm", tmp_path / "b.dcm", "--relabel", ROOT + new)
    assert ran.status == 0, ran.err
    data = (tmp_path / "b.dcm").read_bytes()
    assert dicom.element(0x00020010, "UI", ROOT + new) in data
    assert [one.rstrip(b"\0") for one in fragments_of(data)] == [one.rstrip(b"\0") for one in streams[name]]


@pytest.mark.parametrize(("name", "old", "new", "why"), ILLEGAL, ids=lambda value: value)
def test_a_name_that_is_not_the_streams_is_refused(command: Run, tmp_path: Path, streams, name, old, new, why) -> None:
    (tmp_path / "a.dcm").write_bytes(image(streams[name], ROOT + old, **settings(name)).encode())
    ran = command("rewrap", tmp_path / "a.dcm", tmp_path / "b.dcm", "--relabel", ROOT + new)
    assert ran.status == 5
    assert why in ran.line
    assert not (tmp_path / "b.dcm").exists()


def test_one_frame_that_may_not_take_the_name_is_enough(command: Run, tmp_path: Path, streams) -> None:
    mixed = [streams["jpeg predictor 1"][0], streams["jpeg predictor 4"][1]]
    (tmp_path / "a.dcm").write_bytes(image(mixed, ROOT + "57").encode())
    ran = command("rewrap", tmp_path / "a.dcm", tmp_path / "b.dcm", "--relabel", "jpeg-lossless")
    assert ran.status == 5
    assert "frame 2" in ran.line
    assert not (tmp_path / "b.dcm").exists()


RPCL = {
    "another progression": (("progression", 0), "its progression is not RPCL"),
    "no TLM": (("tile_lengths", False), "it has no TLM marker segments"),
    "a lowest resolution of more than 64": (("levels", 0), "its lowest resolution has 65 samples, more than 64"),
    "irreversible": (("reversible", False), "it is irreversible"),
}


@pytest.mark.parametrize(("change", "why"), RPCL.values(), ids=RPCL)
def test_rpcl_demands_all_that_the_standard_does(change, why) -> None:
    from dcmtx.pixel.codestream import Codestream
    from dcmtx.rules.relabel import objection
    from dcmtx.syntax import BY_UID

    good = Codestream("htj2k", 65, 64, components=1, precision=12, progression=2, levels=1, tile_lengths=True)
    old, new = BY_UID[ROOT + "201"], BY_UID[ROOT + "202"]
    assert objection(old, new, good) == ""
    name, value = change
    assert objection(old, new, good.replace(**{name: value})) == why


REFUSED = {
    "native pixels": (dicom.Image(bytes(128)).encode(), [], 5, "it is explicit, which has no frames in fragments"),
    "no pixels": (dicom.file([dicom.element(0x00100010, "PN", "A")]), [], 5, "it has no pixels"),
    "a name that is none": (dicom.Image(bytes(128)).encode(), ["--relabel", "nothing"], 2, "no transfer syntax"),
    "a name of others": (dicom.Image(bytes(128)).encode(), ["--relabel", "rle"], 5, "may be called rle"),
}


@pytest.mark.parametrize(("source", "options", "status", "why"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_wrapped_anew_is_refused(command: Run, tmp_path: Path, source, options, status, why) -> None:
    (tmp_path / "a.dcm").write_bytes(source)
    ran = command("rewrap", tmp_path / "a.dcm", tmp_path / "b.dcm", *options)
    assert ran.status == status
    assert why in ran.line


def test_a_dry_run_tells_the_route_and_writes_nothing(command: Run, tmp_path: Path, streams) -> None:
    (tmp_path / "a.dcm").write_bytes(image(streams["j2k"], ROOT + "91").encode())
    ran = command("rewrap", tmp_path / "a.dcm", tmp_path / "b.dcm", "--relabel", "j2k-lossless", "--dry-run")
    assert ran.status == 0
    assert "JPEG2000 to j2k-lossless" in ran.out
    assert "rewrap: codestreams stay what they are" in ran.out
    assert not (tmp_path / "b.dcm").exists()
