"""JPEG scans that end before their image: the decoder makes up the rest, and must be seen through, at every length."""

from __future__ import annotations

import io
import itertools
import re
from collections.abc import Callable, Iterator
from typing import Any

import dicom
import imagecodecs
import images
import numpy as np
import pytest
from images import Format, Words
from PIL import Image

import dcmtx
from dcmtx.codec import jpeg
from dcmtx.errors import InputError

EOI = b"\xff\xd9"
SHAPE = (21, 34)
GREY, WIDE, COLOUR = Format("MONOCHROME2", 8, 8), Format("MONOCHROME2", 16, 12), Format("RGB", 8, 8)
CHROMA = Format("YBR_FULL_422", 8, 8)


def noise(fmt: Format) -> Words:
    (frame,) = images.make_frames(fmt, *SHAPE, 1, start=images.CONTENTS.index(images.noise))
    return frame


def dct(frame: Words, bits: int = 8, **more: Any) -> bytes:
    return bytes(imagecodecs.jpeg8_encode(frame, level=90, bitspersample=bits, **more))


def lossless(frame: Words, bits: int = 8, predictor: int = 1, **more: Any) -> bytes:
    return bytes(imagecodecs.jpeg8_encode(frame, lossless=True, predictor=predictor, bitspersample=bits, **more))


RGB = {"colorspace": "RGB", "outcolorspace": "RGB"}
YCC = {"colorspace": "RGB", "outcolorspace": "YCBCR"}
# Syntax, format and codestream of images of every kind.
STREAMS: dict[str, tuple[str, Format, bytes]] = {
    "Baseline": (dicom.JPEG_BASELINE, GREY, dct(noise(GREY))),
    "Extended": (dicom.JPEG_EXTENDED, WIDE, dct(noise(WIDE), 12)),
    "Baseline, RGB": (dicom.JPEG_BASELINE, COLOUR, dct(noise(COLOUR), subsampling="444", **RGB)),
    "Baseline, 4:4:4": (dicom.JPEG_BASELINE, CHROMA, dct(noise(COLOUR), subsampling="444", **YCC)),
    "Baseline, 4:2:2": (dicom.JPEG_BASELINE, CHROMA, dct(noise(COLOUR), subsampling="422", **YCC)),
    "Baseline, 4:2:0": (dicom.JPEG_BASELINE, CHROMA, dct(noise(COLOUR), subsampling="420", **YCC)),
    "lossless": (dicom.JPEG_SV1, GREY, lossless(noise(GREY))),
    "lossless, 12 bits": (dicom.JPEG_SV1, WIDE, lossless(noise(WIDE), 12)),
    "lossless, RGB": (dicom.JPEG_SV1, COLOUR, lossless(noise(COLOUR), **RGB)),
    **{
        f"lossless, predictor {number}": (dicom.JPEG_P14, WIDE, lossless(noise(WIDE), 12, number))
        for number in range(2, 8)
    },
    "all in the middle of the range": (dicom.JPEG_BASELINE, GREY, dct(np.full(SHAPE, 128, np.uint8), optimize=True)),
    "lossless, all in the middle of the range": (dicom.JPEG_SV1, GREY, lossless(np.full(SHAPE, 128, np.uint8))),
    "all black": (dicom.JPEG_BASELINE, GREY, dct(np.zeros(SHAPE, np.uint8))),
    "lossless, all black": (dicom.JPEG_SV1, GREY, lossless(np.zeros(SHAPE, np.uint8))),
}
# What libjpeg makes up is their image.
HARMLESS = {"all in the middle of the range", "lossless, all in the middle of the range"}
each_stream = pytest.mark.parametrize("name", STREAMS)


def file(name: str, stream: bytes) -> bytes:
    syntax, fmt, _ = STREAMS[name]
    return dicom.Image(
        [stream], *SHAPE, samples=fmt.samples, photometric=fmt.photometric, allocated=fmt.allocated, stored=fmt.stored,
        syntax=syntax,
    ).encode()  # fmt: skip


def entropy(stream: bytes) -> tuple[int, int]:
    """Return where the scan's data begin and end."""
    start = stream.index(b"\xff\xda") + 2
    return start + int.from_bytes(stream[start : start + 2], "big"), stream.rindex(EOI)


def cuts(stream: bytes) -> Iterator[bytes]:
    """Yield the stream with its scan ended after few bytes, in the middle, and after all but a few."""
    start, end = entropy(stream)
    lengths = {0, 1, 2, (end - start) // 3, (end - start) // 2, *(end - start - less for less in range(1, 12))}
    for length in sorted(length for length in lengths if 0 <= length < end - start):
        cut = stream[: start + length]
        if not cut.endswith(b"\xff"):
            yield cut + EOI


def decoded(stream: bytes, behind: bytes) -> Words:
    """Decode a stream with something behind the data of its scan, by the library itself."""
    _, end = entropy(stream)
    space = {"colorspace": "YCBCR", "outcolorspace": "YCBCR"}
    colour = {} if stream[stream.index(b"\xff\xda") + 4] == 1 else space
    return imagecodecs.jpeg8_decode(stream[:end] + behind + EOI, **colour)


def is_complete(stream: bytes) -> bool:
    """Tell whether no data behind the scan change its image, whatever they are."""
    bare = decoded(stream, b"")
    return all(np.array_equal(decoded(stream, bytes([fill, 0]) * 200), bare) for fill in (0x00, 0x55, 0xAA, 0xFE))


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return the sizes of what the decoder is given from now on."""
    sizes: list[int] = []
    decode: Callable[..., Any] = jpeg.decode_imagecodecs

    def count(data: bytes, *rest: Any) -> Any:
        sizes.append(len(data))
        return decode(data, *rest)

    monkeypatch.setattr(jpeg, "decode_imagecodecs", count)
    return sizes


def first_frame(data: bytes) -> Words:
    with dcmtx.frames(data) as frames:
        return frames[0]


def is_taken(data: bytes) -> bool:
    """Tell whether the frame is decoded, not refused as truncated."""
    try:
        first_frame(data)
    except InputError as error:
        if error.code != "E_TRUNCATED":
            raise
        return False
    return True


@each_stream
def test_a_scan_that_ends_early_is_no_image_wherever_it_ends(name: str) -> None:
    wrong, judged = [], set()
    for cut in cuts(STREAMS[name][2]):
        whole = is_complete(cut)
        judged.add(whole)
        taken = is_taken(file(name, cut))
        if taken != whole:
            wrong.append(f"{entropy(cut)[1] - entropy(cut)[0]} bytes: taken {taken}, complete {whole}")
    assert not wrong
    assert False in judged or name in HARMLESS


@each_stream
def test_a_complete_scan_is_decoded_to_what_the_library_makes_of_it(name: str) -> None:
    """The lines that are there are not changed by one more."""
    _, fmt, stream = STREAMS[name]
    space = {} if fmt.samples == 1 else RGB if fmt is COLOUR else {"colorspace": "YCBCR", "outcolorspace": "RGB"}
    assert np.array_equal(first_frame(file(name, stream)), imagecodecs.jpeg8_decode(stream, **space))


TWICE = {"Baseline, 4:2:0", "all in the middle of the range", "lossless, all in the middle of the range"}


@each_stream
def test_a_complete_scan_is_decoded_once_unless_that_proves_nothing(name: str, calls: list[int]) -> None:
    first_frame(file(name, STREAMS[name][2]))
    assert len(calls) == (2 if name in TWICE else 1)


def test_what_is_not_verified_is_decoded_as_it_is(calls: list[int]) -> None:
    """Whoever wants no verification has no scan looked at."""
    stream = STREAMS["Baseline"][2]
    dcmtx.transcode(file("Baseline", stream), to="explicit", verify=False)
    assert calls == [len(stream)]


# --- restarts ------------------------------------------------------------------------------------------------------


def restarted(blocks: list[bytes], columns: int) -> bytes:
    """Return an image with a restart before every block, made of streams of one block each with the same tables."""
    first = blocks[0]
    start, _ = entropy(first)
    header = bytearray(first[:start])
    size = header.index(b"\xff\xc0") + 5
    header[size : size + 4] = (8 * (len(blocks) // columns)).to_bytes(2, "big") + (8 * columns).to_bytes(2, "big")
    scan = header.index(b"\xff\xda")
    header[scan:scan] = b"\xff\xdd\x00\x04\x00\x01"
    data = b""
    for number, block in enumerate(blocks):
        begin, end = entropy(block)
        data += block[begin:end] + (bytes([0xFF, 0xD0 + number % 8]) if number + 1 < len(blocks) else b"")
    return bytes(header) + data + EOI


def test_scans_with_restarts_are_seen_through_too() -> None:
    rng = np.random.default_rng(3)
    frame = rng.integers(0, 256, (24, 40), np.uint8)
    blocks = [dct(np.ascontiguousarray(frame[y : y + 8, x : x + 8])) for y in range(0, 24, 8) for x in range(0, 40, 8)]
    stream = restarted(blocks, 5)
    whole = imagecodecs.jpeg8_decode(stream)
    assert np.abs(whole.astype(int) - frame).max() < 40
    image: dict[str, Any] = {"allocated": 8, "stored": 8, "syntax": dicom.JPEG_BASELINE}
    assert np.array_equal(first_frame(dicom.Image([stream], 24, 40, **image).encode()), whole)
    judged = set()
    for cut in cuts(stream):
        judged.add(is_complete(cut))
        assert is_taken(dicom.Image([cut], 24, 40, **image).encode()) == is_complete(cut)
    assert False in judged


# Full Progression, Non-Hierarchical: retired, and read.
PROGRESSIVE = "1.2.840.10008.1.2.4.55"
# What is put between the parts of a stream: rows and blocks that a restart interval has, and whether there are several
# scans.
PARTS: dict[str, dict[str, Any]] = {
    "rows": {"restart_marker_rows": 1},
    "blocks": {"restart_marker_blocks": 3},
    "scans": {"progressive": True},
    "scans and rows": {"progressive": True, "restart_marker_rows": 1},
}


@pytest.mark.parametrize("subsampling", [None, 0, 1, 2], ids=["grey", "4:4:4", "4:2:2", "4:2:0"])
@pytest.mark.parametrize("parts", PARTS)
def test_no_part_of_a_scan_may_end_early_or_be_missing(parts: str, subsampling: int | None) -> None:
    """libjpeg makes up what an interval between restarts lacks, and goes on with the next."""
    rng = np.random.default_rng(5)
    shape = (72, 61) if subsampling is None else (72, 61, 3)
    buffer = io.BytesIO()
    more = PARTS[parts] | ({} if subsampling is None else {"subsampling": subsampling})
    Image.fromarray(rng.integers(0, 256, shape, np.uint8)).save(buffer, "JPEG", quality=90, **more)
    stream = buffer.getvalue()
    attributes: dict[str, Any] = {"allocated": 8, "stored": 8, "samples": 3, "photometric": "YBR_FULL_422"}
    if subsampling is None:
        attributes = {"allocated": 8, "stored": 8}
    syntax = PROGRESSIVE if "scans" in parts else dicom.JPEG_BASELINE

    def taken(data: bytes) -> bool:
        return is_taken(dicom.Image([data], *shape[:2], syntax=syntax, **attributes).encode())

    assert taken(stream)
    # Fill before a marker is no data.
    places = [found.start() for found in re.finditer(rb"\xff[\xd0-\xd7\xda]", stream)][1:]
    assert len(places) > 3
    assert taken(stream[: places[0]] + b"\xff\xff" + stream[places[0] :])
    for place in places:
        for less in (2, 9):
            cut = stream[: place - less]
            # A scan with few bytes, or what is behind a table, is cut elsewhere.
            if "scans" not in parts and not cut.endswith(b"\xff"):
                assert not taken(cut + stream[place:]), (place, less)
    restarts = [place for place in places if 0xD0 <= stream[place + 1] <= 0xD7]
    for first, second in itertools.pairwise(restarts):
        assert not taken(stream[:first] + stream[second:]), (first, second)
    if restarts:
        assert not taken(stream[: restarts[-1]] + EOI)
    headers = [place for place in places if stream[place + 1] == 0xDA]
    for place in headers:
        # The tables of a scan stand before it, behind the data of the one before.
        start = stream.rindex(b"\xff\xda", 0, place) + 2
        start += int.from_bytes(stream[start : start + 2], "big")
        end = re.compile(rb"\xff[\xc4\xda\xdd]").search(stream, start)
        assert end is not None
        cut = stream[: end.start() - 9]
        if len(cut) > start and not cut.endswith(b"\xff"):
            assert not taken(cut + stream[end.start() :]), place
