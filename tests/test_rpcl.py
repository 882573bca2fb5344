"""HTJ2K codestreams as PS3.5 8.2.14 and 10.18 want them, by a parse of their own markers (T.800 A, T.814 A)."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import dicom
import imagecodecs
import images
import oracle
import pytest
from backends import usable
from conftest import need_tool
from images import Format

from dcmtx import transcode
from dcmtx.codec.table import ENCODERS
from dcmtx.errors import DcmtxError, UnsupportedError, UsageError
from dcmtx.syntax import BY_UID

CAP, SIZ, COD, TLM, POC, SOT, EOC = 0xFF50, 0xFF51, 0xFF52, 0xFF55, 0xFF5F, 0xFF90, b"\xff\xd9"
LOWEST_RESOLUTION = 64
GREY = Format("MONOCHROME2", 16, 12)
COLOUR = Format("RGB", 8, 8)
# The encoders of every kind of HTJ2K that can be had here, by backend.
ENCODER_NAMES = list(dict.fromkeys(row.backend for row in usable(ENCODERS, dicom.HTJ2K_RPCL)))
each_encoder = pytest.mark.parametrize("encoder", ENCODER_NAMES)


def coded(fmt: Format, rows: int, columns: int, uid: str, scratch: Path, **options: Any) -> list[bytes]:
    """Return the codestreams of an image of two frames, noise and two levels, after a look at what they decode to."""
    source, out = scratch / "source.dcm", scratch / "out.dcm"
    frames = images.make_frames(fmt, rows, columns, 2)
    source.write_bytes(images.image(fmt, frames).encode())
    transcode(source, out, to=uid, verify=False, **options)
    assert not oracle.different(frames, oracle.decoded(out.read_bytes(), "imagecodecs"))
    return oracle.codestreams(out.read_bytes())


def tile_parts(stream: bytes) -> list[tuple[int, int]]:
    """Return tile number and length of each tile-part, walked from SOT to SOT up to EOC (T.800 A.4.2)."""
    position, found = oracle.parse(stream).body, []
    while stream[position : position + 2] != EOC:
        marker, size, tile, length = struct.unpack_from(">HHHI", stream, position)
        assert (marker, size) == (SOT, 10), f"{marker:04X} where a tile-part belongs"
        assert length >= 14
        found.append((tile, length))
        position += length
    assert stream[position:] in (EOC, EOC + b"\0"), "something stands behind EOC"
    return found


def tile_lengths(stream: bytes) -> list[tuple[int, int]]:
    """Return tile number and length of each tile-part as TLM has them (T.800 A.7.1)."""
    segments = [value for marker, value in oracle.parse(stream).segments if marker == TLM]
    assert [value[0] for value in segments] == list(range(len(segments)))
    entries = []
    for value in segments:
        style = value[1]
        number = ["", "B", "H"][style >> 4 & 3]
        entry = struct.Struct(f">{number}{'I' if style & 0x40 else 'H'}")
        for fields in entry.iter_unpack(value[2:]):
            entries.append(fields if number else (len(entries), *fields))
    return entries


@pytest.mark.parametrize("uid", sorted(oracle.HTJ2K), ids=lambda uid: BY_UID[uid].alias or BY_UID[uid].keyword)
@pytest.mark.parametrize(
    "fmt",
    [
        Format("MONOCHROME2", 8, 1), Format("MONOCHROME2", 8, 8), Format("MONOCHROME2", 8, 7, signed=True), GREY,
        Format("MONOCHROME2", 16, 12, signed=True), Format("MONOCHROME2", 16, 16), Format("MONOCHROME2", 32, 10),
        COLOUR, Format("RGB", 16, 10), Format("YBR_FULL", 8, 8),
    ],
    ids=str,
)  # fmt: skip
@each_encoder
def test_a_codestream_is_htj2k_of_the_true_precision(encoder: str, fmt: Format, uid: str, tmp_path: Path) -> None:
    """Part 15 in Rsiz and CAP, HT code-blocks in COD, and of Bits Stored, not of the words (PS3.5 8.2.14)."""
    for stream in coded(fmt, 21, 34, uid, tmp_path, encoder=encoder):
        header = oracle.parse(stream)
        (capabilities,) = struct.unpack_from(">H", header.segment(SIZ))
        (parts,) = struct.unpack_from(">I", header.segment(CAP))
        assert capabilities & 0x4000, "Rsiz announces no capabilities"
        assert parts == 1 << 32 - 15, "CAP names Part 15 and no other"
        assert header.segment(COD)[8] & 0x40, "the code-blocks are not of HT"
        assert header.segments[0][0] == SIZ
        assert (header.precision, header.signed) == (fmt.stored, fmt.signed)
        assert header.reversible
        assert header.transform == (fmt.photometric == "RGB")


SIZES = [
    (1, 1),
    (64, 64),
    (65, 64),
    (100, 5000),
    (4096, 100),
    (2048, 31),
    (2049, 31),
    (31, 4097),
    (8200, 3),
    (512, 512),
]

# Newer releases of imagecodecs halve no side below one pixel, so they cannot write these as RPCL.
TOO_THIN = [(100, 5000), (2049, 31), (31, 4097), (8200, 3)]
NEWER = tuple(map(int, imagecodecs.__version__.split(".")[:2])) >= (2026, 10)


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("fmt", [GREY, COLOUR], ids=str)
@each_encoder
def test_rpcl_satisfies_its_restrictions(encoder: str, fmt: Format, size: tuple[int, int], tmp_path: Path) -> None:
    """Progression RPCL, TLM with every tile-part, lowest resolution of 64 by 64 at most (PS3.5 10.18)."""
    if NEWER and encoder == "imagecodecs" and size in TOO_THIN:
        chosen = {} if ENCODER_NAMES == ["imagecodecs"] else {"encoder": encoder}
        with pytest.raises(UnsupportedError, match="too thin to be halved until no side is above 64") as caught:
            coded(fmt, *size, dicom.HTJ2K_RPCL, tmp_path, **chosen)
        assert caught.value.code == "E_LIMIT"
        # Another syntax is advised unless a backend was asked for.
        assert chosen or "; use --to j2k" in str(caught.value) or "; use --to htj2k" in str(caught.value)
        return
    for stream in coded(fmt, *size, dicom.HTJ2K_RPCL, tmp_path, encoder=encoder):
        check_restrictions(stream)


@pytest.mark.parametrize(
    "size", [*SIZES, (1, 3000), (1, 9), (9, 1), (3000, 2)], ids=lambda size: f"{size[0]}x{size[1]}"
)
@pytest.mark.parametrize(
    "fmt",
    [GREY, COLOUR, Format("MONOCHROME2", 8, 1), Format("MONOCHROME2", 8, 3, signed=True), Format("YBR_FULL", 8, 2)],
    ids=str,
)  # fmt: skip
@each_encoder
def test_every_image_is_halved_whatever_its_size(
    encoder: str, fmt: Format, size: tuple[int, int], tmp_path: Path
) -> None:
    """OpenJPH 0.32 codes few bits wrongly where nothing is halved, or six times; `coded` has OpenJPEG decode it."""
    for stream in coded(fmt, *size, dicom.HTJ2K_LOSSLESS, tmp_path, encoder=encoder):
        assert oracle.parse(stream).levels >= 5


# --- progression and code-blocks, which newer releases let be chosen ----------------------------------------------

newer = pytest.mark.skipif(not NEWER, reason="imagecodecs is older than 2026.10")
older = pytest.mark.skipif(NEWER, reason="imagecodecs is 2026.10 or newer")


@newer
@pytest.mark.parametrize("progression", ["LRCP", "RLCP", "RPCL", "PCRL", "CPRL"])
@pytest.mark.parametrize("fmt", [GREY, COLOUR, Format("YBR_FULL", 8, 8)], ids=str)
@each_encoder
def test_the_progression_asked_for_is_written(encoder: str, progression: str, fmt: Format, tmp_path: Path) -> None:
    for stream in coded(
        fmt, 150, 131, dicom.HTJ2K_LOSSLESS, tmp_path, encoder=encoder, progression=progression, tile=64
    ):
        assert oracle.parse(stream).progression == progression


@newer
@pytest.mark.parametrize("side", [4, 8, 16, 32, 64])
@pytest.mark.parametrize("fmt", [GREY, COLOUR], ids=str)
@each_encoder
def test_the_code_blocks_asked_for_are_written(encoder: str, side: int, fmt: Format, tmp_path: Path) -> None:
    """Exponents of width and height, less two, in COD (T.800 Table A.18)."""
    for uid in (dicom.HTJ2K_LOSSLESS, dicom.HTJ2K_RPCL):
        for stream in coded(fmt, 150, 131, uid, tmp_path, encoder=encoder, code_block=side):
            exponent = side.bit_length() - 3
            assert tuple(oracle.parse(stream).segment(COD)[6:8]) == (exponent, exponent)
            if uid == dicom.HTJ2K_RPCL:
                check_restrictions(stream)


@newer
def test_streams_with_loss_are_laid_out_as_asked_too(tmp_path: Path) -> None:
    source, out = tmp_path / "source.dcm", tmp_path / "out.dcm"
    source.write_bytes(images.image(GREY, images.make_frames(GREY, 150, 131, 1)).encode())
    transcode(source, out, to=dicom.HTJ2K, lossy=True, psnr=50, progression="PCRL", code_block=16)
    (stream,) = oracle.codestreams(out.read_bytes())
    parsed = oracle.parse(stream)
    assert (parsed.progression, parsed.reversible, tuple(parsed.segment(COD)[6:8])) == ("PCRL", False, (2, 2))


@older
@pytest.mark.parametrize("options", [{"progression": "LRCP"}, {"code_block": 32}], ids=str)
@pytest.mark.parametrize("lossy", [False, True])
def test_what_an_older_release_cannot_lay_out_is_refused_with_the_release_that_can(
    options: dict[str, Any], lossy: bool, tmp_path: Path
) -> None:
    source = tmp_path / "source.dcm"
    source.write_bytes(images.image(GREY, images.make_frames(GREY, 20, 20, 1)).encode())
    with pytest.raises(UnsupportedError, match=r"needs imagecodecs 2026\.10\.10, and .* is installed") as caught:
        transcode(source, tmp_path / "out.dcm", to=dicom.HTJ2K, lossy=lossy, **options)
    assert (caught.value.code, caught.value.status) == ("E_BACKEND", 4)
    assert not (tmp_path / "out.dcm").exists()


@pytest.mark.parametrize("progression", ["LRCP", "RLCP", "PCRL", "CPRL"])
def test_rpcl_in_another_order_is_refused(progression: str, tmp_path: Path) -> None:
    with pytest.raises(DcmtxError) as caught:
        coded(GREY, 20, 20, dicom.HTJ2K_RPCL, tmp_path, progression=progression)
    assert caught.value.code == ("E_RPCL" if NEWER else "E_BACKEND")


@pytest.mark.parametrize("side", [3, 5, 48, 65, 128])
def test_code_blocks_that_no_stream_can_have_are_refused(side: int, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--code-block is"):
        coded(GREY, 20, 20, dicom.HTJ2K_LOSSLESS, tmp_path, code_block=side)


def check_restrictions(stream: bytes) -> None:
    header = oracle.parse(stream)
    assert header.progression == "RPCL"
    scale = 1 << header.levels
    assert -(-header.rows // scale) <= LOWEST_RESOLUTION
    assert -(-header.columns // scale) <= LOWEST_RESOLUTION
    parts = tile_parts(stream)
    assert tile_lengths(stream) == parts
    assert header.body + sum(length for _, length in parts) + len(EOC) == stream.rindex(EOC) + len(EOC)
    assert header.segment(POC) is None, "another progression follows"


@pytest.mark.parametrize("tile", [64, 100, 1000])
@pytest.mark.parametrize("fmt", [GREY, COLOUR], ids=str)
@each_encoder
def test_rpcl_of_tiles_satisfies_its_restrictions(encoder: str, fmt: Format, tile: int, tmp_path: Path) -> None:
    for stream in coded(fmt, 260, 130, dicom.HTJ2K_RPCL, tmp_path, encoder=encoder, tile=tile):
        check_restrictions(stream)
        numbers = [number for number, _ in tile_parts(stream)]
        assert set(numbers) == set(range(-(-260 // tile) * -(-130 // tile)))


def test_rpcl_with_too_few_decompositions_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DcmtxError):
        coded(GREY, 512, 512, dicom.HTJ2K_RPCL, tmp_path, resolutions=3)


@each_encoder
def test_rpcl_with_more_decompositions_than_needed_is_written(encoder: str, tmp_path: Path) -> None:
    for stream in coded(GREY, 512, 512, dicom.HTJ2K_RPCL, tmp_path, encoder=encoder, resolutions=5):
        check_restrictions(stream)
        assert oracle.parse(stream).levels == 4


# --- a tile-part for each resolution -------------------------------------------------------------------------------


def at_resolution(stream: bytes, fewer: int, scratch: Path) -> tuple[tuple[int, int], bytes]:
    """Return rows and columns of an image with its sides halved so many times, and its samples.

    As OpenJPEG reads it, from the whole stream or a part.
    """
    source, out = scratch / "stream.j2k", scratch / "stream.rawl"
    source.write_bytes(stream)
    told = oracle.run(need_tool("opj_decompress"), "-r", str(fewer), "-i", source, "-o", out)
    header, scale = oracle.parse(stream), 1 << fewer
    size = (-(-header.rows // scale), -(-header.columns // scale))
    samples = out.read_bytes()
    width = 1 if header.precision <= 8 else 2
    assert len(samples) == size[0] * size[1] * width * header.components, told
    return size, samples


def check_resolutions(stream: bytes, scratch: Path) -> None:
    """What TLM says that a resolution takes is all that it takes: a reader of so many bytes has the same pixels."""
    header = oracle.parse(stream)
    parts = tile_lengths(stream)
    assert parts == tile_parts(stream)
    assert len(parts) == header.levels + 1
    end = header.body
    for resolution, (tile, length) in enumerate(parts):
        assert tile == 0
        end += length
        fewer = header.levels - resolution
        assert at_resolution(stream[:end] + EOC, fewer, scratch) == at_resolution(stream, fewer, scratch)
    assert stream[end : end + 2] == EOC


@each_encoder
@pytest.mark.parametrize("size", [(64, 64), (150, 131), (300, 700)], ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize(
    "fmt",
    [GREY, COLOUR, Format("MONOCHROME2", 16, 12, signed=True), Format("YBR_FULL", 8, 8), Format("MONOCHROME2", 8, 3)],
    ids=str,
)  # fmt: skip
def test_each_resolution_is_a_tile_part_and_can_be_read_by_itself(
    encoder: str, fmt: Format, size: tuple[int, int], tmp_path: Path
) -> None:
    """By default in RPCL; asked for, in the others."""
    (stream, _) = coded(fmt, *size, dicom.HTJ2K_RPCL, tmp_path, encoder=encoder)
    check_resolutions(stream, tmp_path)
    (stream, _) = coded(fmt, *size, dicom.HTJ2K_LOSSLESS, tmp_path, encoder=encoder, tile_parts="resolution")
    check_resolutions(stream, tmp_path)


@each_encoder
def test_a_tile_is_one_part_unless_its_resolutions_are_asked_for(encoder: str, tmp_path: Path) -> None:
    """The default of RPCL leaves tiles whole: TLM has no room for the parts of very many."""
    asked: list[tuple[str, dict[str, Any], int]] = [
        (dicom.HTJ2K_RPCL, {"tile_parts": "all"}, 1),
        (dicom.HTJ2K_RPCL, {"tile": 100}, 4),
        (dicom.HTJ2K_RPCL, {"tile": 100, "tile_parts": "resolution"}, 4 * 6),
        (dicom.HTJ2K_LOSSLESS, {}, 1),
    ]
    for uid, options, parts in asked:
        for stream in coded(GREY, 150, 131, uid, tmp_path, encoder=encoder, **options):
            assert len(tile_parts(stream)) == parts
            assert tile_lengths(stream) == tile_parts(stream)


# One TLM has room for 10,921 tile-parts. Tiles of 16 by 16 down and across, options, and the parts of all.
MOST_PARTS = 10921
MANY_PARTS: dict[str, tuple[tuple[int, int], dict[str, Any], int]] = {
    "as many tiles as fit": ((67, 163), {}, 10921),
    "one more": ((86, 127), {}, 10922),
    "as many resolutions as fit": ((35, 52), {"tile_parts": "resolution"}, 10920),
    "some more": ((38, 48), {"tile_parts": "resolution"}, 10944),
}


@pytest.mark.parametrize(("tiles", "options", "parts"), MANY_PARTS.values(), ids=MANY_PARTS)
def test_an_encoder_that_has_no_room_for_so_many_tile_parts_is_passed_over(
    tiles: tuple[int, int], options: dict[str, Any], parts: int, tmp_path: Path
) -> None:
    """Newer releases of imagecodecs write several TLM; where there is none, the file is refused."""
    fmt = Format("MONOCHROME2", 8, 8)
    source, out = tmp_path / "source.dcm", tmp_path / "out.dcm"
    frames = images.make_frames(fmt, 16 * tiles[0], 16 * tiles[1], start=images.CONTENTS.index(images.constant))
    source.write_bytes(images.image(fmt, frames).encode())
    if parts > MOST_PARTS and not NEWER:
        with pytest.raises(UnsupportedError, match=f"{parts} parts of tiles are more than {MOST_PARTS}") as caught:
            transcode(source, out, to="htj2k", tile=16, **options)
        assert caught.value.code == "E_LIMIT"
        return
    # OpenJPEG takes its time over so many tiles.
    outcome = transcode(source, out, to="htj2k", tile=16, verify=False, **options)
    assert outcome.encoder == (ENCODER_NAMES[0] if parts <= MOST_PARTS else "imagecodecs")
    (stream,) = oracle.codestreams(out.read_bytes())
    assert len(tile_parts(stream)) == parts
    assert tile_lengths(stream) == tile_parts(stream)


def test_a_stream_with_loss_has_a_tile_part_for_each_resolution_if_it_is_asked_for(tmp_path: Path) -> None:
    source, out = tmp_path / "source.dcm", tmp_path / "out.dcm"
    source.write_bytes(images.image(GREY, images.make_frames(GREY, 150, 131, 1)).encode())
    transcode(source, out, to=dicom.HTJ2K, lossy=True, psnr=40, tile_parts="resolution")
    (stream,) = oracle.codestreams(out.read_bytes())
    assert not oracle.parse(stream).reversible
    check_resolutions(stream, tmp_path)
