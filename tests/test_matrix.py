"""Every encoder, every legal pixel format, every way between syntaxes: bit for bit, as other decoders have it.

dcmtx's own check is off where the encoders are judged, so that the oracle alone does it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import dicom
import imagecodecs
import images
import oracle
import pytest
from backends import usable
from images import Format, Words

from dcmtx import Outcome, transcode
from dcmtx.codec.table import DECODERS, ENCODERS
from dcmtx.errors import DcmtxError, RefusedError, UnsupportedError
from dcmtx.syntax import BY_UID, Syntax

NATIVE = (dicom.EXPLICIT, dicom.IMPLICIT, dicom.BIG_ENDIAN, dicom.DEFLATED)
# Every encapsulated syntax that is written without loss; JPEG recompressed, which starts from JPEG, is in test_real.
COMPRESSED = tuple(
    uid
    for uid in BY_UID
    if any(not row.lossy for row in usable(ENCODERS, uid)) and uid not in (*NATIVE, oracle.JPEG_XL_JPEG)
)


@dataclass(frozen=True)
class Beyond:
    """Formats that a row may refuse, because its library cannot do them; everything else it must do."""

    family: str
    backend: str
    reason: str
    stored: frozenset[int] = frozenset()  # with these Bits Stored
    allocated: int = 0  # with these Bits Allocated
    side: int = 0  # with a side shorter than this


# Python 3.12 and newer have an imagecodecs that writes JPEG-LS of any precision.
PRECISE = tuple(map(int, imagecodecs.__version__.split(".")[:2])) >= (2026, 10)
CONTAINERS = frozenset() if PRECISE else frozenset(range(65)) - {8, 16}
BEYOND = (
    Beyond("jpegls", "imagecodecs", "wrote the container's precision before 2026.10", CONTAINERS),
    Beyond("j2k", "imagecodecs", "OpenJPEG was measured exact to 20 bits", frozenset(range(21, 65))),
    Beyond("j2k", "pylibjpeg-openjpeg", "OpenJPEG was measured exact to 20 bits", frozenset(range(21, 65))),
    Beyond("j2k", "pylibjpeg-openjpeg", "runs out of its buffer on noise of few bits", frozenset(range(1, 8))),
    Beyond("j2k", "pylibjpeg-openjpeg", "makes six resolutions, always", side=32),
    Beyond("rle", "pylibjpeg-rle", "packs bytes, not pixels of one bit", allocated=1),
    Beyond("htj2k", "ojph", "nothing independent decodes more than 16 bits", frozenset(range(17, 65))),
    Beyond("htj2k", "imagecodecs", "nothing independent decodes more than 16 bits", frozenset(range(17, 65))),
)


# Bits Stored that some row of a family's does; where nothing is said, all that are legal.
MOST_STORED = {"j2k": 20, "htj2k": 16}


def may_refuse(syntax: Syntax, backend: str, fmt: Format, side: int) -> bool:
    rows = [row for row in BEYOND if (row.family, row.backend) == (syntax.family, backend)]
    return any(fmt.stored in row.stored or fmt.allocated == row.allocated or side < row.side for row in rows)


def formats(syntax: Syntax) -> list[Format]:
    return images.formats(syntax.legal + syntax.one_bit)


def legal(syntax: Syntax, fmt: Format) -> bool:
    return fmt in images.formats(syntax.legal + syntax.one_bit, (fmt.stored,))


def convert(source: Path, out: Path, uid: str, **options: Any) -> Outcome:
    return transcode(source, out, to=uid, one_bit="allow", **options)


def name(syntax: Syntax) -> str:
    return syntax.alias or syntax.keyword


@dataclass(frozen=True)
class Case:
    """The formats of one photometric interpretation and sign under one syntax, by one backend where it matters."""

    syntax: Syntax
    photometric: str
    signed: bool
    backend: str = ""

    @property
    def formats(self) -> list[Format]:
        return [fmt for fmt in formats(self.syntax) if (fmt.photometric, fmt.signed) == (self.photometric, self.signed)]

    def __str__(self) -> str:
        by = f" by {self.backend}" if self.backend else ""
        return f"{name(self.syntax)}{by}: {'signed ' if self.signed else ''}{self.photometric}"


def cases(uids: tuple[str, ...], *, by_backend: bool) -> list[Case]:
    found = []
    for uid in uids:
        syntax = BY_UID[uid]
        kinds = sorted({(fmt.photometric, fmt.signed) for fmt in formats(syntax)})
        backends = [row.backend for row in usable(ENCODERS, uid) if not row.lossy] if by_backend else [""]
        found += [Case(syntax, *kind, backend) for backend in backends for kind in kinds]
    return found


# One syntax of each codec; the others of a family are written by the same function.
FIRST_OF_FAMILY = (
    dicom.RLE, dicom.JPEG_SV1, dicom.JPEGLS, dicom.J2K_LOSSLESS, dicom.HTJ2K_RPCL, oracle.JPEG_XL_LOSSLESS,
    oracle.DEFLATED_FRAMES,
)  # fmt: skip
LIKE_MONOCHROME2 = ("MONOCHROME1", "PALETTE COLOR")


def turns(case: Case) -> Iterator[tuple[Format, tuple[int, int], int]]:
    """Yield every format with every shape; with two in turn where it differs from another in its name only.

    What varies besides goes by the number, the turn.
    """
    shapes = images.SHAPES
    whole = case.syntax.uid in FIRST_OF_FAMILY and case.photometric not in LIKE_MONOCHROME2
    for number, fmt in enumerate(case.formats):
        for turn in range(number, number + (len(shapes) if whole else 2)):
            yield fmt, shapes[turn % len(shapes)], turn


@pytest.mark.parametrize("case", cases(COMPRESSED, by_backend=True), ids=str)
def test_an_encoder_gives_back_every_format(case: Case, tmp_path: Path) -> None:
    """Every legal format in every shape; frames are one and three in turn, and the contents take turns too."""
    wrong, done = [], set()
    source, coded = tmp_path / "source.dcm", tmp_path / "coded.dcm"
    for fmt, shape, turn in turns(case):
        frames = images.make_frames(fmt, *shape, 1 + 2 * (turn % 2), start=turn)
        source.write_bytes(images.image(fmt, frames).encode())
        try:
            convert(source, coded, case.syntax.uid, encoder=case.backend, verify=False, workers=1)
        except UnsupportedError as error:
            if error.code != "E_LIMIT" or not may_refuse(case.syntax, case.backend, fmt, min(shape)):
                wrong.append(f"{fmt}, {shape}: {error}")
            continue
        done.add(fmt)
        fault = oracle.different(frames, oracle.decoded(coded.read_bytes(), case.backend))
        if fault:
            wrong.append(f"{fmt}, {shape}: {fault}")
    assert not wrong
    assert done, "the row does nothing of this"


NOISY = [Format(kind, 8, bits) for kind in ("MONOCHROME2", "RGB") for bits in range(1, 5)]


@pytest.mark.parametrize("side", [68, 300])
@pytest.mark.parametrize("fmt", NOISY, ids=str)
def test_noise_of_few_bits_fits_the_buffer_of_openjpeg(fmt: Format, side: int, tmp_path: Path) -> None:
    """OpenJPEG makes room for less than such noise grows to, unless it is coded as more bits."""
    source, coded = tmp_path / "source.dcm", tmp_path / "coded.dcm"
    frames = images.make_frames(fmt, side, side, start=images.CONTENTS.index(images.extremes))
    source.write_bytes(images.image(fmt, frames).encode())
    transcode(source, coded, to="j2k", verify=False)
    assert not oracle.different(frames, oracle.decoded(coded.read_bytes()))


@pytest.mark.parametrize("syntax", [BY_UID[uid] for uid in COMPRESSED], ids=name)
def test_each_legal_format_has_an_encoder_but_those_beyond_all_libraries(syntax: Syntax, tmp_path: Path) -> None:
    source, coded = tmp_path / "source.dcm", tmp_path / "coded.dcm"
    refused = set()
    for fmt in formats(syntax):
        source.write_bytes(images.image(fmt, images.make_frames(fmt, 3, 5)).encode())
        try:
            convert(source, coded, syntax.uid, verify=False, workers=1)
        except UnsupportedError as error:
            refused.add((error.code, fmt))
    most = MOST_STORED.get(syntax.family, 64)
    assert refused == {("E_LIMIT", fmt) for fmt in formats(syntax) if fmt.stored > most}


# --- back to native cells --------------------------------------------------------------------------------------


def value_of(path: Path) -> bytes:
    """Return the value of Pixel Data in a native file, in little endian, pad byte included."""
    return dicom.walk(path.read_bytes()).elements[dicom.PIXEL_DATA].value


def widened(fmt: Format) -> Format:
    """Return the format that native cells have: 24 and 40 bits become 32 and 64."""
    return replace(fmt, allocated={24: 32, 40: 64}.get(fmt.allocated, fmt.allocated))


@pytest.mark.parametrize("case", cases(COMPRESSED, by_backend=False), ids=str)
def test_native_cells_come_back_byte_for_byte(case: Case, tmp_path: Path) -> None:
    """Through every decoder; into every native syntax from one of each codec, else into them in turn."""
    wrong = []
    source, coded, back = tmp_path / "source.dcm", tmp_path / "coded.dcm", tmp_path / "back.dcm"
    for turn, fmt in enumerate(case.formats):
        frames = images.make_frames(fmt, *images.SHAPES[turn % len(images.SHAPES)], 3, start=turn)
        source.write_bytes(images.image(fmt, frames).encode())
        try:
            convert(source, coded, case.syntax.uid, verify=False, workers=1)
        except DcmtxError:
            continue  # judged above
        expected = images.cells(widened(fmt), frames)
        decoders = [row.backend for row in usable(DECODERS, case.syntax.uid)]
        whole = case.syntax.uid in FIRST_OF_FAMILY
        for number, uid in enumerate(NATIVE if whole else NATIVE[turn % 4 :][:1]):
            decoder = decoders[(turn + number) % len(decoders)]
            if not legal(BY_UID[uid], widened(fmt)):
                with pytest.raises(RefusedError):
                    transcode(coded, back, to=uid)
                continue
            transcode(coded, back, to=uid, decoder=decoder, verify=False, workers=1)
            if value_of(back) != expected:
                wrong.append(f"{fmt} by {decoder} to {BY_UID[uid].alias}")
    assert not wrong


@pytest.mark.parametrize("case", cases(NATIVE, by_backend=False), ids=str)
def test_every_native_format_is_written(case: Case, tmp_path: Path) -> None:
    """From RLE, which holds words of any width, even where it may not: only native cells may here, and must."""
    wrong = []
    source, back = tmp_path / "source.dcm", tmp_path / "back.dcm"
    decoders = [row.backend for row in usable(DECODERS, dicom.RLE)]
    for turn, fmt in enumerate(case.formats):
        if fmt.photometric == "YBR_FULL_422":
            continue  # nothing compressed decodes to it
        frames = images.make_frames(fmt, *images.SHAPES[turn % len(images.SHAPES)], 3, start=turn)
        image = images.image(fmt, frames, syntax=dicom.RLE)
        image.pixels = [images.annex_g(fmt, frame) for frame in frames]
        source.write_bytes(image.encode())
        transcode(source, back, to=case.syntax.uid, decoder=decoders[turn % 2], workers=1)
        if value_of(back) != images.cells(fmt, frames):
            wrong.append(f"{fmt}: bytes differ")
        elif oracle.different(frames, oracle.native(back.read_bytes())):
            wrong.append(f"{fmt}: attributes do not describe the bytes")
    assert not wrong


@pytest.mark.parametrize("case", cases(NATIVE, by_backend=False), ids=str)
def test_native_cells_are_carried(case: Case, tmp_path: Path) -> None:
    """From each native syntax into this one, colour by pixel and by plane."""
    wrong = []
    source, carried = tmp_path / "source.dcm", tmp_path / "carried.dcm"
    for turn, fmt in enumerate(case.formats):
        rows, columns = images.SHAPES[turn % len(images.SHAPES)]
        frames = images.make_frames(fmt, rows, columns, 3, start=turn)
        planar = turn % 2 if fmt.samples == 3 and fmt.photometric != "YBR_FULL_422" else 0
        for syntax in NATIVE:
            image = images.image(fmt, frames, planar=planar, syntax=syntax)
            source.write_bytes(image.encode())
            transcode(source, carried, to=case.syntax.uid, force=True, word_order="16")
            if value_of(carried) != image.pixels:
                wrong.append(f"{fmt} from {BY_UID[syntax].alias}: bytes differ")
            if case.syntax.uid != syntax and dicom.walk(carried.read_bytes()).syntax != case.syntax.uid:
                wrong.append(f"{fmt} from {BY_UID[syntax].alias}: the file says another syntax")
    assert not wrong


# --- from one codestream to another ----------------------------------------------------------------------------

CROSS = (
    Format("MONOCHROME1", 8, 8),
    Format("MONOCHROME2", 8, 7, signed=True),
    Format("MONOCHROME2", 16, 12),
    Format("MONOCHROME2", 16, 12, signed=True),
    Format("MONOCHROME2", 16, 16, signed=True),
    Format("PALETTE COLOR", 8, 8),
    Format("RGB", 8, 8),
    Format("RGB", 16, 16),
    Format("YBR_FULL", 8, 8),
)


@pytest.mark.parametrize("origin", [BY_UID[uid] for uid in COMPRESSED], ids=lambda syntax: f"from {name(syntax)}")
@pytest.mark.parametrize("fmt", CROSS, ids=str)
def test_codestreams_are_converted_in_one_step(origin: Syntax, fmt: Format, tmp_path: Path) -> None:
    """Each compressed syntax into each other; what the target's table does not list is refused as such."""
    source, coded, other = tmp_path / "source.dcm", tmp_path / "coded.dcm", tmp_path / "other.dcm"
    before = images.palette() if fmt.photometric == "PALETTE COLOR" else {}
    frames = images.make_frames(fmt, 7, 11, 2)
    source.write_bytes(images.image(fmt, frames, before=before).encode())
    if not legal(origin, fmt):
        with pytest.raises((RefusedError, UnsupportedError)):
            transcode(source, coded, to=origin.uid)
        return
    transcode(source, coded, to=origin.uid)
    for uid in COMPRESSED:
        target = BY_UID[uid]
        if target is origin:
            continue
        if not legal(target, fmt):
            with pytest.raises((RefusedError, UnsupportedError)):
                transcode(coded, other, to=uid)
            continue
        outcome = transcode(coded, other, to=uid)
        written = other.read_bytes()
        assert not oracle.different(frames, oracle.decoded(written, outcome.encoder)), name(target)
        walked = dicom.walk(written)
        assert walked.syntax == uid
        assert {tag: walked.elements[tag].raw for tag in before} == before, "the palette is what it was"


def encoded(syntax: str, fmt: Format, frames: list[Words], **more: Any) -> bytes:
    before = images.palette(syntax) if fmt.photometric == "PALETTE COLOR" else {}
    return images.image(fmt, frames, syntax=syntax, before=before, **more).encode()


ODD_SOURCES = {
    "colour by plane": (Format("RGB", 8, 8), {"planar": 1}),
    "colour of 16 bits by plane": (Format("RGB", 16, 12), {"planar": 1}),
    "YBR_FULL by plane": (Format("YBR_FULL", 8, 8), {"planar": 1}),
    "YBR_FULL": (Format("YBR_FULL", 8, 8), {}),
    "8 bits in OW": (Format("MONOCHROME2", 8, 8), {"pixel_vr": "OW"}),
    "colour of 8 bits in OW": (Format("RGB", 8, 8), {"pixel_vr": "OW"}),
    "a palette of 8 bits in OW": (Format("PALETTE COLOR", 8, 8), {"pixel_vr": "OW"}),
    "a palette of 16 bits": (Format("PALETTE COLOR", 16, 16), {}),
    "MONOCHROME1": (Format("MONOCHROME1", 16, 10), {}),
    "negative values": (Format("MONOCHROME2", 16, 12, signed=True), {}),
    "32 bits, of which JPEG 2000 codes 20": (Format("MONOCHROME2", 32, 20, signed=True), {}),
}  # fmt: skip


@pytest.mark.parametrize("syntax", NATIVE, ids=lambda uid: f"from {BY_UID[uid].alias}")
@pytest.mark.parametrize("kind", ODD_SOURCES)
def test_a_round_trip_gives_the_bytes_of_the_beginning(kind: str, syntax: str, tmp_path: Path) -> None:
    """From each native syntax into each compressed one and into each native one; frames have an odd length."""
    fmt, more = ODD_SOURCES[kind]
    source, coded, back = tmp_path / "source.dcm", tmp_path / "coded.dcm", tmp_path / "back.dcm"
    frames = images.make_frames(fmt, 5, 7, 3)
    source.write_bytes(encoded(syntax, fmt, frames, **more))
    reached, refused = 0, None
    for uid in COMPRESSED:
        if not legal(BY_UID[uid], fmt):
            continue
        try:
            outcome = transcode(source, coded, to=uid, word_order="16")
        except UnsupportedError as error:
            refused = error
            continue
        reached += 1
        assert not oracle.different(frames, oracle.decoded(coded.read_bytes(), outcome.encoder)), BY_UID[uid].keyword
        for native in NATIVE:
            transcode(coded, back, to=native)
            assert value_of(back) == images.cells(fmt, frames), (BY_UID[uid].keyword, native)
    assert reached >= 2
    assert refused is None or fmt.stored > 16


SHARE_NO_CHROMA = [
    uid
    for uid in COMPRESSED
    if legal(BY_UID[uid], Format("YBR_FULL", 8, 8)) and not legal(BY_UID[uid], Format("YBR_FULL_422", 8, 8))
]


@pytest.mark.parametrize("uid", SHARE_NO_CHROMA, ids=lambda uid: f"to {name(BY_UID[uid])}")
@pytest.mark.parametrize("syntax", NATIVE, ids=lambda uid: f"from {BY_UID[uid].alias}")
def test_shared_chroma_is_repeated(syntax: str, uid: str, tmp_path: Path) -> None:
    """No lossless codec holds YBR_FULL_422 (PS3.5 8.2.2 to 8.2.4): each two pixels get the chroma that they share."""
    fmt = Format("YBR_FULL_422", 8, 8)
    source, coded = tmp_path / "source.dcm", tmp_path / "coded.dcm"
    frames = images.make_frames(fmt, 5, 6, 3)
    source.write_bytes(images.image(fmt, frames, syntax=syntax).encode())
    outcome = transcode(source, coded, to=uid)
    assert not oracle.different(frames, oracle.decoded(coded.read_bytes(), outcome.encoder))
    assert oracle.attributes(dicom.walk(coded.read_bytes())).photometric == "YBR_FULL"


# --- one bit ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("uid", NATIVE, ids=lambda uid: f"to {BY_UID[uid].alias}")
@pytest.mark.parametrize("shape", [(1, 1), (3, 3), (5, 7), (33, 35), (64, 64)], ids=str)
@pytest.mark.parametrize("count", [1, 2, 9], ids=lambda count: f"{count} frames")
def test_one_bit_frames_run_on(uid: str, shape: tuple[int, int], count: int, tmp_path: Path) -> None:
    """A frame of 1-bit pixels starts where the last one ended, within a byte (PS3.5 8.1.1)."""
    fmt = Format("MONOCHROME2", 1, 1)
    source, back = tmp_path / "source.dcm", tmp_path / "back.dcm"
    frames = images.make_frames(fmt, *shape, count)
    image = images.image(fmt, frames, syntax=dicom.RLE)
    image.pixels = [images.annex_g(fmt, frame) for frame in frames]
    source.write_bytes(image.encode())
    transcode(source, back, to=uid)
    assert value_of(back) == images.cells(fmt, frames)
    if min(shape) >= 32:
        from openjpeg.utils import encode_array

        image = images.image(fmt, frames, syntax=dicom.J2K_LOSSLESS)
        image.pixels = [bytes(encode_array(frame, bits_stored=8, photometric_interpretation=2)) for frame in frames]
        source.write_bytes(image.encode())
        transcode(source, back, to=uid)
        assert value_of(back) == images.cells(fmt, frames)


# --- coding parameters -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("predictor", range(1, 8))
@pytest.mark.parametrize(
    "fmt", [Format("MONOCHROME2", 16, 12, signed=True), Format("RGB", 8, 8), Format("MONOCHROME2", 16, 16)], ids=str
)
def test_every_predictor_is_lossless(fmt: Format, predictor: int, tmp_path: Path) -> None:
    source, coded = tmp_path / "source.dcm", tmp_path / "coded.dcm"
    frames = images.make_frames(fmt, 21, 34, 4)
    source.write_bytes(images.image(fmt, frames).encode())
    transcode(source, coded, to="jpeg-lossless-p14", predictor=predictor, verify=False)
    written = coded.read_bytes()
    assert not oracle.different(frames, oracle.decoded(written, "imagecodecs"))
    assert {oracle.parse(stream).predictor for stream in oracle.codestreams(written)} == {predictor}


@pytest.mark.parametrize("resolutions", [2, 3, 5])
@pytest.mark.parametrize("uid", [dicom.J2K_LOSSLESS, dicom.HTJ2K_LOSSLESS], ids=["j2k", "htj2k"])
@pytest.mark.parametrize("fmt", [Format("MONOCHROME2", 16, 12, signed=True), Format("RGB", 8, 8)], ids=str)
def test_every_number_of_resolutions_is_lossless(fmt: Format, uid: str, resolutions: int, tmp_path: Path) -> None:
    """A resolution more than there are decompositions (T.800 A.6.1)."""
    source, coded = tmp_path / "source.dcm", tmp_path / "coded.dcm"
    frames = images.make_frames(fmt, 150, 130)
    source.write_bytes(images.image(fmt, frames).encode())
    outcome = transcode(source, coded, to=uid, resolutions=resolutions, verify=False)
    written = coded.read_bytes()
    assert not oracle.different(frames, oracle.decoded(written, outcome.encoder))
    (stream,) = oracle.codestreams(written)
    assert oracle.parse(stream).levels == resolutions - 1


@pytest.mark.parametrize("to", ["explicit", "rle", "jpeg", "jpegls", "j2k", "htj2k"])
def test_the_number_of_workers_changes_nothing(to: str, tmp_path: Path) -> None:
    source, one, four = tmp_path / "source.dcm", tmp_path / "one.dcm", tmp_path / "four.dcm"
    fmt = Format("MONOCHROME2", 16, 12)
    frames = images.make_frames(fmt, 30, 40, 23)
    image = images.image(fmt, frames, syntax=dicom.RLE)
    image.pixels = [images.annex_g(fmt, frame) for frame in frames]
    source.write_bytes(image.encode())
    transcode(source, one, to=to, workers=1, force=True)
    transcode(source, four, to=to, workers=4, force=True)
    assert one.read_bytes() == four.read_bytes()
    assert not oracle.different(frames, oracle.decoded(one.read_bytes()))


# --- with loss -------------------------------------------------------------------------------------------------

NEAR = 2
# How far two decoders may be apart: DCT and the irreversible wavelet leave their last bits to the decoder, and of 12
# bits on extreme contents that is more than one.
APART = {"jpeg": 3, "jpegls": 0, "j2k": 1, "htj2k": 1, "jpegxl": 0}
LOSSY = [(BY_UID[uid], row.backend) for uid in BY_UID for row in usable(ENCODERS, uid) if row.lossy]
# Formats that a lossy row may refuse besides: of one bit there is nothing to lose.
LEAST_STORED = 2


def str_or_name(value: str | Syntax) -> str:
    return value if isinstance(value, str) else name(value)


@pytest.mark.parametrize("near", [None, 1, 2])
@pytest.mark.parametrize("fmt", [Format("MONOCHROME2", 8, 2), Format("RGB", 16, 2)], ids=str)
def test_near_is_no_more_than_the_precision_allows(fmt: Format, near: int | None, tmp_path: Path) -> None:
    """Half the greatest value at most (T.87 C.2.3), which of 2 bits is 1: the default is less then."""
    source, coded = tmp_path / "source.dcm", tmp_path / "coded.dcm"
    frames = images.make_frames(fmt, 5, 7)
    source.write_bytes(images.image(fmt, frames).encode())
    if near == 2:
        with pytest.raises(RefusedError):
            transcode(source, coded, to="jpegls-near", lossy=True, near=near)
        return
    transcode(source, coded, to="jpegls-near", lossy=True, near=near)
    assert {oracle.parse(stream).near for stream in oracle.codestreams(coded.read_bytes())} == {1}
    assert apart(frames, oracle.decoded(coded.read_bytes())) <= 1


@pytest.mark.parametrize(("syntax", "backend"), LOSSY, ids=str_or_name)
def test_a_lossy_encoder_is_read_alike_by_all(syntax: Syntax, backend: str, tmp_path: Path) -> None:
    """Every legal grey and RGB format, shapes and contents in turn; JPEG-LS within NEAR of what it was given."""
    wrong, done = [], set()
    source, coded, back = tmp_path / "source.dcm", tmp_path / "coded.dcm", tmp_path / "back.dcm"
    for turn, fmt in enumerate(formats(syntax)):
        # YBR of DCT becomes RGB, by each decoder's own arithmetic: judged in test_interop.
        if fmt.samples == 3 and (fmt.photometric != "RGB" or syntax.family == "jpeg"):
            continue
        # Colour of 40 bits has no native cells to be compared with.
        if fmt.samples == 3 and fmt.allocated == 40:
            continue
        shape = (images.SHAPES[1], max(images.SHAPES))[turn % 2]
        frames = [inside(frame, fmt) for frame in images.make_frames(fmt, *shape, 2, start=turn)]
        source.write_bytes(images.image(fmt, frames).encode())
        # How much is lost where nobody says how much is judged in test_lossy: not every encoder reaches that.
        much = {"ratio": 10} if syntax.family in ("j2k", "htj2k") else {}
        try:
            transcode(source, coded, to=syntax.uid, lossy=True, encoder=backend, verify=False, workers=1, **much)
        except UnsupportedError as error:
            least = fmt.stored < LEAST_STORED
            if error.code != "E_LIMIT" or not (least or may_refuse(syntax, backend, fmt, min(shape))):
                wrong.append(f"{fmt}, {shape}: {error}")
            continue
        done.add(fmt)
        found = oracle.decoded(coded.read_bytes(), backend)
        if syntax.family == "jpegls" and apart(frames, found) > NEAR:
            wrong.append(f"{fmt}, {shape}: more than NEAR off")
        transcode(coded, back, to="explicit")
        if apart(found, oracle.native(back.read_bytes())) > APART[syntax.family]:
            wrong.append(f"{fmt}, {shape}: dcmtx decodes something else")
    assert not wrong
    assert done, "the row does nothing of this"


def inside(frame: Words, fmt: Format) -> Words:
    """Return signed values so far from the ends of their range that an error of NEAR changes no sign."""
    near = min(NEAR, ((1 << fmt.stored) - 1) // 2)
    return frame.clip(fmt.low + near, fmt.high - near) if fmt.signed else frame


def apart(some: list[Words], others: list[Words]) -> int:
    """Return the largest difference between samples."""
    assert [one.shape for one in some] == [other.shape for other in others]
    return max(int(abs(one.astype("i8") - other).max()) for one, other in zip(some, others, strict=True))


@pytest.mark.parametrize(
    ("to", "resolutions", "side"), [("htj2k", 1, 130), ("j2k", 20, 5)], ids=["one of HTJ2K", "twenty of a tiny image"]
)
def test_resolutions_that_cannot_be_had_are_refused(to: str, resolutions: int, side: int, tmp_path: Path) -> None:
    """The libraries write another number and say nothing."""
    source = tmp_path / "source.dcm"
    fmt = Format("MONOCHROME2", 16, 12)
    source.write_bytes(images.image(fmt, images.make_frames(fmt, side, side)).encode())
    with pytest.raises(RefusedError):
        transcode(source, tmp_path / "coded.dcm", to=to, resolutions=resolutions)
    assert not (tmp_path / "coded.dcm").exists()
