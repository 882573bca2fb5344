"""Codestreams that are lawful but odd: chroma that a tag calls shared, bytes behind the end, segments beyond a plane.

What they must decode to is known before they are written; where files that were found odd are at hand, they are tried
too.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import dicom
import imagecodecs
import images
import numpy as np
import oracle
import pytest
from conftest import ROOT
from images import Format, Words

from dcmtx import transcode
from dcmtx.errors import DcmtxError, InputError, UnsupportedError

PHOTOMETRIC = 0x00280004
NATIVE = ("explicit", "implicit", "big-endian", "deflated", "encapsulated", "deflated-frames")
TARGETS = (*NATIVE, "rle", "jpeg", "jpegls", "j2k", "htj2k")
GREY, YBR, SHARED = Format("MONOCHROME2", 8, 8), Format("YBR_FULL", 8, 8), Format("YBR_FULL_422", 8, 8)


@pytest.fixture(autouse=True)
def _without_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """None of these files must outlive the machine."""
    monkeypatch.setattr("os.fsync", int)


def photometric(path: Path) -> str:
    return dicom.walk(path.read_bytes()).elements[PHOTOMETRIC].text


def check(source: Path, out: Path, frames: Sequence[Words], said: str, **options: Any) -> tuple[str, ...]:
    """Convert a file; what comes out must hold these frames and say this of them. Return the notes."""
    outcome = transcode(source, out, force=True, **options)
    assert not oracle.different(list(frames), oracle.decoded(out.read_bytes()))
    assert photometric(out) == said
    return tuple(note.text for note in outcome.notes)


# --- files found odd -------------------------------------------------------------------------------------------

CASES = Path(os.environ.get("DCMTX_CASES", ROOT.parent / "shared" / "cases"))
FOUND = sorted(
    path.relative_to(CASES).as_posix()
    for folder in ("ybr_tag_on_lossless", "jpeg_junk_behind_eoi", "rle_padding", "odd_encapsulation")
    for path in (CASES / folder).glob("*.dcm")
    if path.with_name(f"{path.name}.npy").exists() and (folder != "odd_encapsulation" or path.stem == "space-pad")
)


@pytest.mark.parametrize("to", TARGETS)
@pytest.mark.parametrize("name", FOUND)
def test_files_that_were_found_odd_are_read_right(name: str, to: str, tmp_path: Path) -> None:
    words = np.load(CASES / f"{name}.npy")
    said = dicom.walk((CASES / name).read_bytes()).elements[PHOTOMETRIC].text
    count = oracle.attributes(dicom.walk((CASES / name).read_bytes())).frames
    frames = list(words.reshape(count, *words.shape[-3 if said.startswith("YBR") else -2 :]))
    check(CASES / name, tmp_path / "out.dcm", frames, "YBR_FULL" if said.startswith("YBR") else said, to=to)


# --- chroma that only a tag calls shared -----------------------------------------------------------------------


def without_spiff(stream: bytes) -> bytes:
    while stream[2:4] == b"\xff\xe8":
        stream = stream[:2] + stream[4 + int.from_bytes(stream[4:6], "big") :]
    return stream


def lossless_jpeg(frame: Words) -> bytes:
    space = {"colorspace": "RGB", "outcolorspace": "RGB"} if frame.ndim == 3 else {}
    return bytes(imagecodecs.jpeg8_encode(frame, lossless=True, **space))


def jpeg_ls(frame: Words) -> bytes:
    return without_spiff(bytes(imagecodecs.jpegls_encode(frame)))


def jpeg_2000(frame: Words) -> bytes:
    planar = False if frame.ndim == 3 else None
    return bytes(
        imagecodecs.jpeg2k_encode(frame, level=0, codecformat="j2k", reversible=True, mct=False, planar=planar)
    )


def htj2k(frame: Words) -> bytes:
    options = {"planar": False, "rgb": False} if frame.ndim == 3 else {}
    return bytes(imagecodecs.htj2k_encode(frame, reversible=True, **options))


def rle(frame: Words) -> bytes:
    return images.annex_g(YBR if frame.ndim == 3 else GREY, frame)


CODES: dict[str, tuple[str, Callable[[Words], bytes]]] = {
    "JPEG": (dicom.JPEG_SV1, lossless_jpeg),
    "JPEG process 14": (dicom.JPEG_P14, lossless_jpeg),
    "JPEG-LS": (dicom.JPEGLS, jpeg_ls),
    "JPEG 2000": (dicom.J2K_LOSSLESS, jpeg_2000),
    "HTJ2K": (dicom.HTJ2K_LOSSLESS, htj2k),
    "RLE": (dicom.RLE, rle),
}


def coded(streams: Sequence[bytes], syntax: str, fmt: Format, shape: tuple[int, ...], **more: Any) -> dicom.Image:
    settings: dict[str, Any] = {
        "rows": shape[0], "columns": shape[1], "samples": fmt.samples, "photometric": fmt.photometric,
        "allocated": fmt.allocated, "stored": fmt.stored,
    }  # fmt: skip
    return dicom.Image(streams, syntax=syntax, **(settings | more))


@pytest.mark.parametrize("verify", [True, False], ids=["verified", "not verified"])
@pytest.mark.parametrize("said", ["YBR_FULL", "YBR_FULL_422"])
@pytest.mark.parametrize("name", CODES)
def test_a_codestream_keeps_its_chroma_whatever_the_tag_says(
    name: str, said: str, verify: bool, tmp_path: Path
) -> None:
    """Only native cells are laid out as the tag says; samples of a codestream are as many as it has."""
    syntax, encode = CODES[name]
    frames = images.make_frames(YBR, 6, 8, 2)
    image = coded([encode(frame) for frame in frames], syntax, YBR, (6, 8), photometric=said, frames=2)
    (tmp_path / "in.dcm").write_bytes(image.encode())
    for to in TARGETS:
        notes = check(tmp_path / "in.dcm", tmp_path / "out.dcm", frames, "YBR_FULL", to=to, verify=verify)
        assert any("shares no chroma" in note for note in notes) == (said == "YBR_FULL_422")


@pytest.mark.parametrize("to", TARGETS)
@pytest.mark.parametrize("syntax", [dicom.EXPLICIT, oracle.ENCAPSULATED, oracle.DEFLATED_FRAMES])
def test_native_cells_that_share_chroma_do_so_again_where_they_stay_native(
    syntax: str, to: str, tmp_path: Path
) -> None:
    frames = images.make_frames(SHARED, 6, 8)
    (tmp_path / "native.dcm").write_bytes(images.image(SHARED, frames).encode())
    source = tmp_path / "in.dcm"
    transcode(tmp_path / "native.dcm", source, to=syntax)
    check(source, tmp_path / "out.dcm", frames, "YBR_FULL_422" if to in NATIVE else "YBR_FULL", to=to)


@pytest.mark.parametrize("syntax", [dicom.EXPLICIT, oracle.ENCAPSULATED, oracle.DEFLATED_FRAMES])
def test_a_digest_is_that_of_the_native_cells(syntax: str, tmp_path: Path) -> None:
    """Cells that share chroma are two samples a pixel, wherever they come from."""
    import hashlib

    from dcmtx.transcoding.job import job
    from dcmtx.transcoding.running import run

    image = images.image(SHARED, images.make_frames(SHARED, 6, 8))
    (tmp_path / "native.dcm").write_bytes(image.encode())
    transcode(tmp_path / "native.dcm", tmp_path / "in.dcm", to=syntax)
    outcome = run(job(tmp_path / "in.dcm", tmp_path / "out.dcm", to="rle", digest=True))
    assert isinstance(image.pixels, bytes)
    assert outcome.digest == hashlib.sha256(image.pixels).hexdigest()


def test_cells_that_share_no_chroma_are_not_cut_to_those_that_do(tmp_path: Path) -> None:
    """In a fragment as in native Pixel Data: half as many bytes again as the tag says are no padding."""
    (frame,) = images.make_frames(YBR, 6, 8)
    image = coded([images.cells(YBR, [frame])], oracle.ENCAPSULATED, SHARED, (6, 8))
    (tmp_path / "in.dcm").write_bytes(image.encode())
    with pytest.raises(InputError, match="share no chroma") as caught:
        transcode(tmp_path / "in.dcm", tmp_path / "out.dcm", to="explicit")
    assert caught.value.code == "E_INCONSISTENT"
    assert not (tmp_path / "out.dcm").exists()


@pytest.mark.parametrize(
    ("behind", "fine"), [(b"\x07", True), (bytes(20), True), (b"\0\0\0\7", False), (bytes(70), False)],
    ids=["a pad byte", "zeros", "something", "as many as two frames"],
)  # fmt: skip
def test_what_is_behind_the_cells_of_a_fragment_is_padding_or_refused(
    behind: bytes, fine: bool, tmp_path: Path
) -> None:
    (frame,) = images.make_frames(GREY, 5, 7)
    source, out = tmp_path / "in.dcm", tmp_path / "out.dcm"
    source.write_bytes(coded([frame.tobytes() + behind], oracle.ENCAPSULATED, GREY, (5, 7)).encode())
    if fine:
        check(source, out, [frame], "MONOCHROME2", to="explicit")
        return
    with pytest.raises(InputError, match="takes 35"):
        transcode(source, out, to="explicit")


# --- lossless JPEG by hand, whose components may be subsampled and have a scan each ----------------------------


def segment(marker: int, body: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, 2 + len(body)) + body


def entropy(plane: Words) -> bytes:
    """Return a component coded by predictor 1, each category having a code of five bits (T.81 H.1)."""
    values = plane.astype(int)
    predicted = np.empty_like(values)
    predicted[:, 1:] = values[:, :-1]
    predicted[1:, 0] = values[:-1, 0]
    predicted[0, 0] = 128
    bits = ""
    for difference in (values - predicted).reshape(-1).tolist():
        size = abs(difference).bit_length()
        bits += f"{size:05b}"
        if size:
            bits += f"{difference if difference > 0 else difference + (1 << size) - 1:0{size}b}"
    bits += "1" * (-len(bits) % 8)
    return int(bits, 2).to_bytes(len(bits) // 8, "big").replace(b"\xff", b"\xff\0")


def by_scans(planes: Sequence[Words], factors: Sequence[int], rows: int, columns: int, *, scans: int = 3) -> bytes:
    """Return lossless JPEG with a scan per component, these sampling factors, and only so many of its scans."""
    table = b"\0" + bytes([0, 0, 0, 0, 17, *[0] * 11]) + bytes(range(17))
    entries = b"".join(bytes([number, factor, 0]) for number, factor in enumerate(factors, start=1))
    frame = struct.pack(">BHHB", 8, rows, columns, len(planes)) + entries
    parts = [b"\xff\xd8", segment(0xC4, table), segment(0xC3, frame)]
    for number, plane in enumerate(planes[:scans], start=1):
        parts += [segment(0xDA, bytes([1, number, 0, 1, 0, 0])), entropy(plane)]
    return b"".join([*parts, b"\xff\xd9"])


def test_chroma_that_lossless_jpeg_shares_is_repeated_and_never_made_up(tmp_path: Path) -> None:
    (frame,) = images.make_frames(SHARED, 6, 8)
    planes = [frame[..., 0], frame[:, ::2, 1], frame[:, ::2, 2]]
    stream = by_scans(planes, (0x21, 0x11, 0x11), 6, 8)
    source, out = tmp_path / "in.dcm", tmp_path / "out.dcm"
    for said in ("YBR_FULL_422", "YBR_FULL"):
        source.write_bytes(coded([stream], dicom.JPEG_SV1, SHARED, (6, 8), photometric=said).encode())
        for to in TARGETS:
            notes = check(source, out, [frame], "YBR_FULL", to=to)
            assert not any("chroma" in note for note in notes)
        with pytest.raises(UnsupportedError, match="--decoder imagecodecs"):
            transcode(source, tmp_path / "none.dcm", to="explicit", decoder="pylibjpeg-libjpeg")


@pytest.mark.parametrize("verify", [True, False], ids=["verified", "not verified"])
@pytest.mark.parametrize("junk", [b"", b"abc"], ids=["nothing behind", "junk behind"])
def test_a_component_without_a_scan_is_missing(junk: bytes, verify: bool, tmp_path: Path) -> None:
    """EOI alone proves nothing: decoders fill the component with grey."""
    (frame,) = images.make_frames(YBR, 6, 8)
    source, out = tmp_path / "in.dcm", tmp_path / "out.dcm"
    for scans in (3, 2):
        stream = by_scans(list(frame.transpose(2, 0, 1)), (0x11,) * 3, 6, 8, scans=scans) + junk
        source.write_bytes(coded([stream], dicom.JPEG_SV1, YBR, (6, 8)).encode())
        if scans == 3:
            check(source, out, [frame], "YBR_FULL", to="explicit", verify=verify)
            out.unlink()
            continue
        with pytest.raises(InputError) as caught:
            transcode(source, out, to="explicit", verify=verify)
        assert (caught.value.code, out.exists()) == ("E_TRUNCATED", False)


# --- bytes behind the end --------------------------------------------------------------------------------------

PLACE = Format("MONOCHROME2", 8, 8)


def smooth(rows: int = 24, columns: int = 40) -> Words:
    y, x = np.mgrid[0:rows, 0:columns]
    return (90 + 60 * np.sin(y / 5) + 50 * np.cos(x / 7)).astype("u1")


def baseline(frame: Words) -> bytes:
    return bytes(imagecodecs.jpeg8_encode(frame, level=90))


def without_length(frame: Words) -> bytes:
    """Return JPEG 2000 whose one tile-part goes on to the end of the codestream (T.800 A.4.2: Psot 0)."""
    stream = bytearray(jpeg_2000(frame))
    place = stream.index(b"\xff\x90")
    comment = b"\xff\x64" + struct.pack(">HH", 8, 0) + b"\xff\xd9\xff\xd9"
    stream[place + 6 : place + 10] = bytes(4)
    # A comment that holds the end marker does not end the stream.
    return bytes(stream[: place + 12] + comment + stream[place + 12 :])


ENDING: dict[str, tuple[str, Callable[[Words], bytes]]] = {
    "baseline": (dicom.JPEG_BASELINE, baseline),
    "JPEG": CODES["JPEG"],
    "JPEG-LS": CODES["JPEG-LS"],
    "JPEG 2000": CODES["JPEG 2000"],
    "JPEG 2000 without lengths": (dicom.J2K_LOSSLESS, without_length),
    "HTJ2K": CODES["HTJ2K"],
}
JUNK = {
    "spaces": b"   ",
    "zeros and FF": b"\0\xff\0\xff\xff",
    "junk": bytes(range(1, 90)),
    "another end": b"\0\xff\xd9\x01",
    "an end at the end": b"ab\xff\xd9",
    "the start of another": b"\xff\xd8\xff\xe0ab",
    "a quarter megabyte": b"!" * (1 << 18),
}


@pytest.mark.parametrize("junk", JUNK.values(), ids=list(JUNK))
@pytest.mark.parametrize("name", ENDING)
def test_what_stands_behind_the_end_is_not_the_image(name: str, junk: bytes, tmp_path: Path) -> None:
    syntax, encode = ENDING[name]
    frame = smooth()
    stream = encode(frame)
    source, out = tmp_path / "in.dcm", tmp_path / "out.dcm"
    if name == "baseline":
        frame = imagecodecs.jpeg8_decode(stream)
    source.write_bytes(coded([stream + junk], syntax, PLACE, frame.shape).encode())
    for to in ("explicit", "rle", "encapsulated"):
        check(source, out, [frame], "MONOCHROME2", to=to)


@pytest.mark.parametrize("decoder", ["imagecodecs", "pylibjpeg-libjpeg", "pylibjpeg-openjpeg", "pyjpegls"])
@pytest.mark.parametrize("name", ENDING)
def test_every_decoder_gets_the_codestream_alone(name: str, decoder: str, tmp_path: Path) -> None:
    syntax, encode = ENDING[name]
    frame = smooth()
    (tmp_path / "in.dcm").write_bytes(coded([encode(frame) + b" junk"], syntax, PLACE, frame.shape).encode())
    (tmp_path / "bare.dcm").write_bytes(coded([encode(frame)], syntax, PLACE, frame.shape).encode())
    try:
        transcode(tmp_path / "bare.dcm", tmp_path / "bare-out.dcm", to="explicit", decoder=decoder)
    except UnsupportedError:
        pytest.skip(f"{decoder} does not decode it")
    transcode(tmp_path / "in.dcm", tmp_path / "out.dcm", to="explicit", decoder=decoder)
    bare, found = (oracle.native((tmp_path / name).read_bytes()) for name in ("bare-out.dcm", "out.dcm"))
    assert not oracle.different(bare, found)


@pytest.mark.parametrize("behind", [b"", b"junk", b"\xff\xd9", b"junk\xff\xd9junk", b"\xff\xd9junk\xff\xd9"],
                         ids=["nothing", "junk", "an end", "an end in junk", "two ends"])  # fmt: skip
@pytest.mark.parametrize("part", [0.5, 0.9])
@pytest.mark.parametrize("name", ENDING)
def test_what_is_missing_is_missed_whatever_stands_there(name: str, part: float, behind: bytes, tmp_path: Path) -> None:
    syntax, encode = ENDING[name]
    frame = images.noise(GREY, (24, 40), np.random.default_rng(5))
    stream = encode(frame)
    stream = stream[: int(len(stream) * part)].rstrip(b"\xff")
    (tmp_path / "in.dcm").write_bytes(coded([stream + behind], syntax, PLACE, frame.shape).encode())
    with pytest.raises(DcmtxError) as caught:
        transcode(tmp_path / "in.dcm", tmp_path / "out.dcm", to="explicit")
    assert caught.value.status in (3, 6)
    assert not (tmp_path / "out.dcm").exists()


@pytest.mark.parametrize("name", [name for name in ENDING if "JPEG 2000" not in name and name != "HTJ2K"])
def test_an_end_inside_a_thumbnail_ends_nothing(name: str, tmp_path: Path) -> None:
    """Nor does it make a truncated stream whole."""
    syntax, encode = ENDING[name]
    frame = smooth()
    stream = encode(frame)
    thumbnail = segment(0xE1, b"Exif\0\0" + baseline(frame))
    stream = stream[:2] + thumbnail + stream[2:]
    source, out = tmp_path / "in.dcm", tmp_path / "out.dcm"
    source.write_bytes(coded([stream + b"abc"], syntax, PLACE, frame.shape).encode())
    frame = frame if name != "baseline" else imagecodecs.jpeg8_decode(stream)
    check(source, out, [frame], "MONOCHROME2", to="explicit")
    source.write_bytes(coded([stream[:-40]], syntax, PLACE, frame.shape).encode())
    with pytest.raises(InputError) as caught:
        transcode(source, tmp_path / "none.dcm", to="explicit")
    assert caught.value.code == "E_TRUNCATED"


def of_length(stream: bytes, *, odd: bool) -> bytes:
    """Return the stream with a comment, if need be, so that halves of it need no pad byte between them."""
    if len(stream) % 2 == odd:
        return stream
    if stream.startswith(b"\xff\xd8"):
        return stream[:2] + segment(0xFE, b"!") + stream[2:]
    place = stream.index(b"\xff\x90")
    return stream[:place] + segment(0x64, b"\0\1!") + stream[place:]


def in_the_last_fragment(stream: bytes, junk: bytes) -> list[bytes]:
    stream = of_length(stream, odd=False)
    return [stream[:60], stream[60:] + junk]


def in_a_fragment_of_its_own(stream: bytes, junk: bytes) -> list[bytes]:
    stream = of_length(stream, odd=False)
    return [stream[:60], stream[60:], junk]


def behind_an_empty_fragment(stream: bytes, junk: bytes) -> list[bytes]:
    stream = of_length(stream, odd=False)
    return [stream[:60], stream[60:], b"", junk]


def behind_a_marker_that_is_split(stream: bytes, junk: bytes) -> list[bytes]:
    stream = of_length(stream, odd=True)
    return [stream[:-1], stream[-1:] + junk]


ARRANGED: dict[str, Callable[[bytes, bytes], list[bytes]]] = {
    function.__name__: function
    for function in (
        in_the_last_fragment, in_a_fragment_of_its_own, behind_an_empty_fragment, behind_a_marker_that_is_split,
    )
}  # fmt: skip


@pytest.mark.parametrize("arrange", ARRANGED.values(), ids=list(ARRANGED))
@pytest.mark.parametrize("name", ["JPEG", "JPEG-LS", "JPEG 2000"])
def test_frames_are_told_apart_whatever_stands_behind_them(
    name: str, arrange: Callable[[bytes, bytes], list[bytes]], tmp_path: Path
) -> None:
    syntax, encode = ENDING[name]
    frames = [smooth() + np.uint8(number) for number in range(3)]
    junk = b"!" * 30
    parts: list[bytes] = []
    for frame in frames:
        parts += arrange(encode(frame), junk)
    (tmp_path / "in.dcm").write_bytes(coded(parts, syntax, PLACE, frames[0].shape, frames=3).encode())
    check(tmp_path / "in.dcm", tmp_path / "out.dcm", frames, "MONOCHROME2", to="explicit")


def test_codestreams_that_stay_keep_what_stands_behind_them(tmp_path: Path) -> None:
    """Bit for bit: in new fragments, and through JPEG XL and back."""
    stream = baseline(smooth()) + b"abcdefg"
    source, out, back = tmp_path / "in.dcm", tmp_path / "out.dcm", tmp_path / "back.dcm"
    source.write_bytes(coded([stream], dicom.JPEG_BASELINE, PLACE, (24, 40)).encode())
    transcode(source, out, to="jpeg-baseline", lossy=True, offset_table="basic")
    assert dicom.walk(out.read_bytes()).fragments[0].rstrip(b"\0") == stream
    transcode(source, out, to="jpegxl-jpeg")
    transcode(out, back, to="jpeg-baseline")
    assert dicom.walk(back.read_bytes()).fragments[0].rstrip(b"\0") == stream


# --- segments of RLE that are longer than their plane ----------------------------------------------------------


def literal(data: bytes) -> bytes:
    return b"".join(bytes([len(data[at : at + 128]) - 1]) + data[at : at + 128] for at in range(0, len(data), 128))


def run_of(value: int, count: int) -> bytes:
    return bytes([257 - count, value])


def frame_of(segments: Sequence[bytes]) -> bytes:
    offsets = [64 + sum(map(len, segments[:number])) for number in range(len(segments))]
    return struct.pack("<16I", len(segments), *offsets, *[0] * (15 - len(segments))) + b"".join(segments)


WORDS = (np.arange(7 * 9, dtype="u2").reshape(7, 9) * 521 + 4) // 4 * 4
WORDS[-1, -5:] = 0x1234
HIGH, LOW = ((WORDS >> shift).astype("u1").tobytes() for shift in (8, 0))
PLANE, ENDS = len(HIGH), (HIGH[-1], LOW[-1])
# Both planes end in a run of five.


def plain(plane: bytes, _: int) -> bytes:
    return literal(plane)


def behind(junk: bytes) -> Callable[[bytes, int], bytes]:
    return lambda plane, _: literal(plane) + junk


def too_long(count: int, more: int) -> Callable[[bytes, int], bytes]:
    """The last `count` bytes of the plane are in a run that has `more` than those."""
    return lambda plane, last: literal(plane[:-count]) + run_of(last, count + more)


SEGMENTS: dict[str, Callable[[bytes, int], bytes]] = {
    "zeros behind": behind(bytes(6)),
    "a sector of zeros behind": behind(bytes(512)),
    "a literal behind": behind(b"\2abc"),
    "a run behind": behind(b"\xf0a"),
    "a run without its byte behind": behind(b"\xf0"),
    "a literal that breaks off behind": behind(b"\x40ab"),
    "nothing said behind": behind(b"\x80\x80\x80"),
    "nothing said between": lambda plane, _: b"\x80" + literal(plane[:20]) + b"\x80\x80" + literal(plane[20:]),
    "a literal too long": lambda plane, _: literal(plane + b"abc"),
    "a literal too long that breaks off": lambda plane, _: literal(plane + b"abcd")[:-2],
    "a run too long": too_long(5, 4),
    "a run of one too long": too_long(1, 3),
    "a run of two too long": too_long(2, 101),
}


@pytest.mark.parametrize("decoder", ["imagecodecs", "pylibjpeg-rle"])
@pytest.mark.parametrize("where", ["the first", "the last", "both"])
@pytest.mark.parametrize("name", SEGMENTS)
def test_output_beyond_a_plane_is_cut(
    name: str, where: str, decoder: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """In any segment (PS3.5 G.3.2), and without a word of the decoder's own."""
    odd = SEGMENTS[name]
    segments = [
        (odd if where in ("the first", "both") else plain)(HIGH, ENDS[0]),
        (odd if where in ("the last", "both") else plain)(LOW, ENDS[1]),
    ]
    fmt = Format("MONOCHROME2", 16, 16)
    (tmp_path / "in.dcm").write_bytes(coded([frame_of(segments)], dicom.RLE, fmt, WORDS.shape).encode())
    check(tmp_path / "in.dcm", tmp_path / "out.dcm", [WORDS], "MONOCHROME2", to="explicit", decoder=decoder)
    assert capfd.readouterr().err == ""


SHORT: dict[str, Callable[[bytes, int], bytes]] = {
    "a byte short": lambda plane, _: literal(plane[:-1]),
    "a literal that breaks off": lambda plane, _: literal(plane)[:-2],
    "a run that breaks off": lambda plane, last: literal(plane[:-5]) + run_of(last, 5)[:1],
}


@pytest.mark.parametrize("decoder", ["imagecodecs", "pylibjpeg-rle"])
@pytest.mark.parametrize("other", ["as long as its plane", "longer by as much"])
@pytest.mark.parametrize("number", [0, 1], ids=["the first", "the last"])
@pytest.mark.parametrize("name", SHORT)
def test_output_short_of_a_plane_is_an_error(
    name: str, number: int, other: str, decoder: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Also where another segment makes up for it. The last is of even length, or its pad byte would be what lacks."""
    segments = [literal(plane + (b"abcde" if other != "as long as its plane" else b"")) for plane in (HIGH, LOW)]
    segments[number] = SHORT[name]((HIGH, LOW)[number], ENDS[number])
    segments[0] = b"\x80" * (sum(map(len, segments)) % 2) + segments[0]
    fmt = Format("MONOCHROME2", 16, 16)
    (tmp_path / "in.dcm").write_bytes(coded([frame_of(segments)], dicom.RLE, fmt, WORDS.shape).encode())
    with pytest.raises(InputError, match=f"segment {number + 1} of the RLE frame") as caught:
        transcode(tmp_path / "in.dcm", tmp_path / "out.dcm", to="explicit", decoder=decoder)
    assert caught.value.code == "E_TRUNCATED"
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("decoder", ["imagecodecs", "pylibjpeg-rle"])
@pytest.mark.parametrize("shape", [(6, 9), (7, 8), (1, 9)], ids=["a row fewer", "a column fewer", "a row of them"])
@pytest.mark.parametrize("fill", [0, 3], ids=["as it is", "padded"])
def test_whole_rows_or_columns_beyond_the_plane_are_not_cut(
    fill: int, shape: tuple[int, int], decoder: str, tmp_path: Path
) -> None:
    """All segments have them: Rows or Columns is wrong, and what is cut would be part of the image."""
    segments = [literal(plane) + bytes(len(literal(plane)) % 2) for plane in (HIGH, LOW)]
    fmt = Format("MONOCHROME2", 16, 16)
    stream = frame_of(segments) + bytes(fill // 3)
    (tmp_path / "in.dcm").write_bytes(coded([stream], dicom.RLE, fmt, shape).encode())
    with pytest.raises(InputError, match="correct Rows or Columns") as caught:
        transcode(tmp_path / "in.dcm", tmp_path / "out.dcm", to="explicit", decoder=decoder)
    assert caught.value.code == "E_GEOMETRY"


@pytest.mark.parametrize("decoder", ["imagecodecs", "pylibjpeg-rle"])
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("turn", range(3))
def test_no_sample_makes_up_for_what_another_lacks(turn: int, bits: int, decoder: str, tmp_path: Path) -> None:
    """A byte short here and a byte long there is as many bytes as there are to be, each in a wrong place."""
    fmt = Format("RGB", bits, bits)
    (frame,) = images.make_frames(fmt, 7, 9)
    planes = [
        (frame[..., sample] >> shift).astype("u1").tobytes() for sample in range(3) for shift in range(bits - 8, -1, -8)
    ]
    segments = [literal(plane) for plane in planes]
    segments[turn], segments[turn - 1] = literal(planes[turn][:-1]), literal(planes[turn - 1] + b"a")
    segments[-1] += b"\x80" * (sum(map(len, segments)) % 2)
    (tmp_path / "in.dcm").write_bytes(coded([frame_of(segments)], dicom.RLE, fmt, (7, 9)).encode())
    with pytest.raises(InputError, match=f"segment {turn + 1} of the RLE frame") as caught:
        transcode(tmp_path / "in.dcm", tmp_path / "out.dcm", to="explicit", decoder=decoder)
    assert caught.value.code == "E_TRUNCATED"


@pytest.mark.parametrize("decoder", ["imagecodecs", "pylibjpeg-rle"])
def test_what_is_behind_a_plane_may_be_long_where_rows_are_coded_by_themselves(decoder: str, tmp_path: Path) -> None:
    """As PS3.5 G.3.1 has it: then nothing before it was shifted. Where they are not, much behind is damage before."""
    frame = images.noise(GREY, (7, 9), np.random.default_rng(2))
    source, out = tmp_path / "in.dcm", tmp_path / "out.dcm"
    junk = literal(bytes(range(1, 40)))
    by_rows = b"".join(literal(row.tobytes()) for row in frame)
    source.write_bytes(coded([frame_of([by_rows + junk])], dicom.RLE, GREY, (7, 9)).encode())
    check(source, out, [frame], "MONOCHROME2", to="explicit", decoder=decoder)
    source.write_bytes(coded([frame_of([literal(frame.tobytes()) + junk])], dicom.RLE, GREY, (7, 9)).encode())
    with pytest.raises(InputError) as caught:
        transcode(source, tmp_path / "none.dcm", to="explicit", decoder=decoder)
    assert caught.value.code == "E_CODESTREAM"


@pytest.mark.parametrize("decoder", ["imagecodecs", "pylibjpeg-rle"])
@pytest.mark.parametrize("count", [1, 4, 20, 100])
@pytest.mark.parametrize("place", [0.1, 0.4, 0.7])
def test_damage_that_makes_a_segment_longer_is_not_cut(place: float, count: int, decoder: str, tmp_path: Path) -> None:
    """A run put in, as a count that is wrong would: every row behind it is shifted."""
    frame = images.noise(GREY, (30, 11), np.random.default_rng(3))
    rows = [literal(row.tobytes()) for row in frame]
    rows.insert(int(place * 30), bytes([0, 7]) if count == 1 else run_of(7, count))
    (tmp_path / "in.dcm").write_bytes(coded([frame_of([b"".join(rows)])], dicom.RLE, GREY, (30, 11)).encode())
    with pytest.raises(InputError) as caught:
        transcode(tmp_path / "in.dcm", tmp_path / "out.dcm", to="explicit", decoder=decoder)
    assert caught.value.code in ("E_CODESTREAM", "E_GEOMETRY")


def test_predictive_jpeg_that_leaves_its_precision_is_damaged() -> None:
    """Its differences are of 16 bits (T.81 H.1.2.2), so that one wrong bit can lead beyond the samples there are."""
    data = bytearray((ROOT / "testdata" / "cr-jpeg-lossless.dcm").read_bytes())
    scan = data.index(b"\xff\xda") + 10
    refused = 0
    for place in range(scan, scan + 400, 29):
        harmed = bytearray(data)
        harmed[place] ^= 0x40
        try:
            out = transcode(bytes(harmed), to="explicit")
        except InputError as error:
            refused += "bits decodes to" in error.what
            continue
        words = oracle.native(out)[0]
        assert words.max() < 1 << oracle.attributes(dicom.walk(out)).stored
    assert refused
