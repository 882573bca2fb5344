"""What dcmtx writes, as the programs of others read it: DCMTK, GDCM, OpenJPEG, FFmpeg and dicom3tools.

What one of them is known not to do stands in oracle.LIMITS; everything else it must do, bit for bit.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import dicom
import images
import oracle
import pytest
from backends import usable
from conftest import need_real, need_tool
from images import Format, Words
from pydicom.data import get_testdata_file

from dcmtx import transcode
from dcmtx.codec.table import ENCODERS
from dcmtx.errors import RefusedError, UnsupportedError
from dcmtx.syntax import BY_UID

# Every syntax that is written without loss from any pixels.
WRITTEN = tuple(
    uid for uid in BY_UID if any(not row.lossy for row in usable(ENCODERS, uid)) and uid != oracle.JPEG_XL_JPEG
)
FORMATS = (
    Format("MONOCHROME1", 16, 10),
    Format("MONOCHROME2", 8, 1),
    Format("MONOCHROME2", 8, 5, signed=True),
    Format("MONOCHROME2", 8, 8),
    Format("MONOCHROME2", 8, 8, signed=True),
    Format("MONOCHROME2", 16, 8),
    Format("MONOCHROME2", 16, 12),
    Format("MONOCHROME2", 16, 12, signed=True),
    Format("MONOCHROME2", 16, 16),
    Format("MONOCHROME2", 16, 16, signed=True),
    Format("MONOCHROME2", 32, 20, signed=True),
    Format("PALETTE COLOR", 8, 8),
    Format("PALETTE COLOR", 16, 16),
    Format("RGB", 8, 8),
    Format("RGB", 16, 12),
    Format("YBR_FULL", 8, 8),
)
# Rows, columns and frames. The class of objects of many frames is Nuclear Medicine's: GDCM heeds whether one may.
KINDS = (((31, 45), 3, "1.2.840.10008.5.1.4.1.1.20"), ((1, 1), 1, dicom.SECONDARY_CAPTURE))


def label(uid: str) -> str:
    return BY_UID[uid].alias or BY_UID[uid].keyword


def encode(fmt: Format, frames: list[Words], sop_class: str = dicom.SECONDARY_CAPTURE) -> bytes:
    palette = images.palette(entries=1 << fmt.stored) if fmt.photometric == "PALETTE COLOR" else {}
    return images.image(fmt, frames, before=palette, sop_class=sop_class).encode()


Written = dict[str, list[tuple[Path, Format, list[Words]]]]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Written:
    """Return files of every syntax that is written: each format in each kind that the syntax and a codec allow."""
    directory = tmp_path_factory.mktemp("written")
    source = directory / "source.dcm"
    found = defaultdict(list)
    for fmt in FORMATS:
        for shape, count, sop_class in KINDS:
            frames = images.make_frames(fmt, *shape, count)
            source.write_bytes(encode(fmt, frames, sop_class))
            for uid in WRITTEN:
                if fmt not in images.formats(BY_UID[uid].legal, (fmt.stored,)):
                    continue
                path = directory / f"{len(found[uid])}-{label(uid)}.dcm"
                try:
                    transcode(source, path, to=uid, force=True, verify=False, workers=1)
                except UnsupportedError:
                    continue  # judged in test_matrix
                found[uid].append((path, fmt, frames))
    return found


def able(tool: str, uids: Iterable[str] = WRITTEN) -> list[Any]:
    """Return the syntaxes about some files of which a tool can be asked."""
    wholly = {uid for one in oracle.LIMITS if one.tool == tool and one.applies is None for uid in one.syntaxes}
    return [pytest.param(tool, uid, id=f"{tool}-{label(uid)}") for uid in uids if uid not in wholly]


def asked(tool: str, uid: str, files: Written) -> list[tuple[Path, Format, list[Words]]]:
    """Return those files about which a tool can be asked."""
    found = []
    for path, fmt, frames in files[uid]:
        if oracle.limit(tool, uid, oracle.attributes(dicom.walk(path.read_bytes()))) is None:
            found.append((path, fmt, frames))
    assert found
    return found


@pytest.mark.parametrize(("tool", "uid"), [*able("dcmtk"), *able("gdcm")])
def test_toolkits_decode_it(tool: str, uid: str, written: Written, tmp_path: Path) -> None:
    wrong = []
    for path, fmt, frames in asked(tool, uid, written):
        decode = {"dcmtk": oracle.dcmtk, "gdcm": oracle.gdcm}[tool]
        native = decode(path, tmp_path)
        said = oracle.attributes(dicom.walk(native))
        found = [oracle.with_sign(frame, uid, said) for frame in oracle.native(native)]
        fault = oracle.different(frames, found)
        if fault:
            wrong.append(f"{fmt}, {frames[0].shape}: {fault}")
        assert (said.photometric, said.stored, said.signed) == (fmt.photometric, fmt.stored, fmt.signed)
    assert not wrong


@pytest.mark.parametrize(("tool", "uid"), able("opj", sorted(oracle.J2K | oracle.HTJ2K)))
def test_opj_decompress_decodes_it(tool: str, uid: str, written: Written, tmp_path: Path) -> None:
    for path, fmt, frames in asked(tool, uid, written):
        data = path.read_bytes()
        said = oracle.attributes(dicom.walk(data))
        found = [oracle.opj(stream, said, tmp_path) for stream in oracle.codestreams(data)]
        assert not oracle.different(frames, found), fmt


@pytest.mark.parametrize(("tool", "uid"), able("djxl", sorted(oracle.JPEG_XL)))
def test_djxl_decodes_it(tool: str, uid: str, written: Written, tmp_path: Path) -> None:
    for path, fmt, frames in asked(tool, uid, written):
        data = path.read_bytes()
        said = oracle.attributes(dicom.walk(data))
        found = [oracle.djxl(stream, said, tmp_path) for stream in oracle.codestreams(data)]
        assert not oracle.different(frames, found), fmt


# Everything that fits a picture of FFmpeg's, by the width of its samples: one run takes many codestreams.
PICTURES = (("MONOCHROME2", 8), ("MONOCHROME2", 16), ("RGB", 8), ("RGB", 16), ("YBR_FULL", 8), ("YBR_FULL", 16))


ENCODED = [("imagecodecs", shape) for shape in images.SHAPES] + [("pylibjpeg-openjpeg", max(images.SHAPES))]


@pytest.mark.parametrize(("backend", "shape"), ENCODED, ids=str)
@pytest.mark.parametrize(("photometric", "allocated"), PICTURES, ids=str)
def test_ffmpeg_decodes_every_precision_of_jpeg_2000(
    backend: str, photometric: str, allocated: int, shape: tuple[int, int], tmp_path: Path
) -> None:
    """FFmpeg has the one decoder here that shares nothing with OpenJPEG, which is behind all encoders of JPEG 2000."""
    source, coded = tmp_path / "source.dcm", tmp_path / "coded.dcm"
    expected, streams = [], []
    for fmt in images.formats(BY_UID[dicom.J2K_LOSSLESS].legal, range(1, 17)):
        if (fmt.photometric, fmt.allocated) != (photometric, allocated):
            continue
        # FFmpeg chooses its picture by the precision.
        if (fmt.stored > 8) != (allocated > 8):
            continue
        frames = images.make_frames(fmt, *shape, len(images.CONTENTS))
        source.write_bytes(encode(fmt, frames))
        try:
            transcode(source, coded, to="j2k", encoder=backend, verify=False)
        except UnsupportedError:
            assert backend == "pylibjpeg-openjpeg"
            assert fmt.stored < 8
            continue
        expected += frames
        streams += oracle.codestreams(coded.read_bytes())
    assert not oracle.different(expected, oracle.ffmpeg(streams, expected[0].shape))


@pytest.mark.parametrize(("tool", "uid"), [*able("dcmdump"), *able("gdcminfo")])
def test_dumpers_read_it(tool: str, uid: str, written: Written) -> None:
    program = need_tool(tool)
    options = ["-q"] if tool == "dcmdump" else []
    for path, fmt, _ in asked(tool, uid, written)[::6]:
        done = oracle.run(program, *options, path)
        assert not done.stderr, fmt
        assert done.stdout


LOSSY_JPEG = {
    "8 bits": (Format("MONOCHROME2", 8, 8), "jpeg-baseline", {}),
    "8 bits under .51": (Format("MONOCHROME1", 8, 8), "jpeg-extended", {}),
    "12 bits": (Format("MONOCHROME2", 16, 12), "jpeg-extended", {}),
    "RGB with shared chroma": (Format("RGB", 8, 8), "jpeg-baseline", {}),
    "RGB with chroma shared by four": (Format("RGB", 8, 8), "jpeg-baseline", {"subsampling": "420"}),
    "RGB as it is": (Format("RGB", 8, 8), "jpeg-baseline", {"subsampling": "444"}),
    "YBR_FULL": (Format("YBR_FULL", 8, 8), "jpeg-baseline", {}),
}


@pytest.mark.parametrize("shape", [(32, 48), (5, 7), (1, 1)], ids=lambda shape: f"{shape[0]}x{shape[1]}")
@pytest.mark.parametrize("kind", LOSSY_JPEG)
def test_dcmtk_sees_in_lossy_jpeg_what_dcmtx_sees(kind: str, shape: tuple[int, int], tmp_path: Path) -> None:
    """Within 1, for DCT leaves the last bit to the decoder (T.81 A.3.3); colour as RGB."""
    fmt, to, options = LOSSY_JPEG[kind]
    source, coded, out = (tmp_path / f"{what}.dcm" for what in ("source", "coded", "out"))
    source.write_bytes(encode(fmt, images.make_frames(fmt, *shape, 3), KINDS[0][2]))
    transcode(source, coded, to=to, lossy=True, **options)
    transcode(coded, out, to="explicit")
    theirs, ours = (oracle.native(data) for data in (oracle.dcmtk(coded, tmp_path), out.read_bytes()))
    assert [frame.shape for frame in theirs] == [frame.shape for frame in ours]
    assert max(int(abs(one.astype("i4") - other).max()) for one, other in zip(theirs, ours, strict=True)) <= 1


# --- dciodvfy --------------------------------------------------------------------------------------------------

BUNDLED = (
    "CT_small.dcm", "MR_small_bigendian.dcm", "MR_small_implicit.dcm", "MR_small_RLE.dcm", "MR_small_jp2klossless.dcm",
    "MR_small_jpeg_ls_lossless.dcm", "693_J2KI.dcm", "JPGExtended.dcm", "examples_palette.dcm", "examples_overlay.dcm",
    "examples_rgb_color.dcm", "SC_rgb_gdcm_KY.dcm", "SC_rgb_jpeg_gdcm.dcm", "SC_rgb_small_odd_jpeg.dcm",
    "SC_ybr_full_422_uncompressed.dcm", "ExplVR_BigEnd.dcm", "liver_1frame.dcm",
)  # fmt: skip
OUTSIDE = (
    "wg04/REF/CT1_UNC", "wg04/REF/NM1_UNC", "wg04/REF/US1_UNC", "wg04/JPLL/XA1_JPLL", "wg04/JLSL/MR1_JLSL",
    "wg04/J2KR/VL1_J2KR", "wg04/JPLY/NM1_JPLY", "pydicom-data/eCT_Supplemental.dcm", "pydicom-data/color-pl.dcm",
    "pydicom-data/HTJ2KLossless_08_RGB.dcm", "pydicom-data/liver_nonbyte_aligned.dcm",
    "pydicom-data/gdcm-US-ALOKA-16_big.dcm", "pydicom-data/MR-SIEMENS-DICOM-WithOverlays.dcm",
    "pylibjpeg-data/ELSCINT1_JP2vsJ2K.dcm",
)  # fmt: skip


# One syntax of each codec whose files dciodvfy reads, see oracle.LIMITS.
VALIDATED = (
    dicom.EXPLICIT, dicom.IMPLICIT, dicom.BIG_ENDIAN, dicom.RLE, dicom.JPEG_SV1, dicom.JPEGLS, dicom.J2K_LOSSLESS,
    dicom.HTJ2K_RPCL,
)  # fmt: skip


def errors(path: Path) -> set[str]:
    """Return the errors that dciodvfy finds. HTJ2K, which it does not know, is shown to it as JPEG 2000."""
    shown = path.with_suffix(".shown")
    data = path.read_bytes()
    for uid in sorted(oracle.HTJ2K):
        name = uid.encode() + b"\0" * (len(uid) % 2)
        data = data.replace(name, dicom.J2K_LOSSLESS.encode().ljust(len(name), b"\0"), 1)
    shown.write_bytes(data)
    done = oracle.run(need_tool("dciodvfy"), shown, allowed=(0, 1))
    lines = (done.stdout + done.stderr).decode("latin-1").splitlines()
    return {line for line in lines if line.startswith("Error")}


@pytest.mark.parametrize("name", [*BUNDLED, *OUTSIDE])
def test_dciodvfy_finds_no_error_that_was_not_there(name: str, tmp_path: Path) -> None:
    need_tool("dciodvfy")
    path = need_real(name) if name in OUTSIDE else Path(get_testdata_file(name, download=False))
    source, out = tmp_path / "source.dcm", tmp_path / "out.dcm"
    source.write_bytes(path.read_bytes())
    known = errors(source)
    converted = 0
    for uid in VALIDATED:
        try:
            transcode(source, out, to=uid, force=True)
        except (RefusedError, UnsupportedError):
            continue
        converted += 1
        assert errors(out) <= known, label(uid)
    assert converted


def test_nothing_is_excused_that_needs_no_excuse(written: Written) -> None:
    """Every limit of a tool that decodes holds back some file; one that does not is to be taken out of the table."""
    used = {
        oracle.limit(one.tool, uid, oracle.attributes(dicom.walk(path.read_bytes())))
        for one in oracle.LIMITS
        for uid in one.syntaxes
        for path, _, _ in written.get(uid, [])
    }
    assert set(oracle.LIMITS) <= used
