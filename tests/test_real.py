"""Real images: those that come with pydicom, always, and those outside the project where they are.

What a file decodes to is compared with what others make of it: pydicom with libraries that are not dcmtx's first
choice, DCMTK where the coding is DCT, GDCM for what those two do not read.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import dicom
import numpy as np
import oracle
import pydicom
import pydicom.data
import pytest
from conftest import REAL, need_real, need_tool
from images import Format, Words
from pydicom.encaps import generate_frames
from pydicom.pixels import pixel_array
from test_matrix import COMPRESSED, FIRST_OF_FAMILY, MOST_STORED, legal, name

from dcmtx import transcode
from dcmtx.errors import InputError, RefusedError, UnsupportedError
from dcmtx.syntax import BY_UID, Syntax

BUNDLED = Path(pydicom.data.__file__).parent / "test_files"
PIXEL_DATA = (b"\xe0\x7f\x10\x00", b"\x7f\xe0\x00\x10")
# Their data sets are deflated, so that the tag of Pixel Data does not show.
DEFLATED = ("image_dfl.dcm",)

# Files that are damaged, on purpose or not, and what of it is seen first.
DAMAGED = {
    "JPEG2000-embedded-sequence-delimiter.dcm": "E_GEOMETRY",
    "MR_truncated.dcm": "E_TRUNCATED",
    "badVR.dcm": "E_INCONSISTENT",
    "meta_missing_tsyntax.dcm": "E_NO_SYNTAX",
    "no_meta.dcm": "E_NOT_DICOM",
}
# Files that hold the tag of Pixel Data, but no image at top level.
NO_IMAGE = ("nested_priv_SQ.dcm",)
# It has no File Meta Information, so pydicom does not know how to decode it; GDCM does.
BY_GDCM = ("OT-PAL-8-face.dcm",)
# Its data set is Implicit VR under a compressed syntax, which only GDCM reads, slowly; the other one is it, decoded.
TWINS = {"SC_rgb_jpeg.dcm": "SC_rgb_jpeg_dcmd.dcm"}
# Files in which 32 bits are swapped as a whole in big endian, as pydicom expects; somebody has to say so.
BY_WORDS = ("rtdose_expb.dcm", "rtdose_expb_1frame.dcm")
PLUGINS = {dicom.RLE: "pydicom"}


def real_files() -> dict[str, Path]:
    """Return every file with Pixel Data by its name under one of the two places."""
    found = {}
    for root in (BUNDLED, REAL):
        for path in sorted(root.rglob("*")) if root.is_dir() else []:
            if path.is_file() and (path.name in DEFLATED or any(tag in path.read_bytes() for tag in PIXEL_DATA)):
                found[str(path.relative_to(root))] = path
    return {key: path for key, path in found.items() if path.name not in NO_IMAGE and not is_one_of_many(key)}


def is_one_of_many(key: str) -> bool:
    """Tell whether a file is one of a series of which another stands for all: the first of its directory."""
    parts = Path(key).parts
    return parts[0] == "series" and len(parts) > 2 and parts[-1] != "001.dcm"


FILES = real_files()
# Without a Sequence Delimitation Item, pydicom finds no Pixel Data: test_refusals has it read with one.
UNENDED = {"emri_small_jpeg_2k_lossless_too_short.dcm"}
SOUND = [key for key, path in FILES.items() if path.name not in DAMAGED.keys() | UNENDED]


def options(path: Path) -> dict[str, str]:
    """Return what must be said of a file for it to be read."""
    return {"word_order": "32"} if path.name in BY_WORDS else {}


def syntax_of(path: Path) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pydicom.dcmread(path, force=True, stop_before_pixels=True).file_meta.get("TransferSyntaxUID", "")


def truth(path: Path, scratch: Path) -> list[Words]:
    """Return the frames of a file as others decode them, YBR of DCT as RGB."""
    if path.name in BY_GDCM:
        return oracle.native(oracle.gdcm(path, scratch))
    if path.name in TWINS:
        return oracle.native(path.with_name(TWINS[path.name]).read_bytes())
    syntax = syntax_of(path)
    if syntax in oracle.JPEG_LOSSY:
        data = oracle.dcmtk(path, scratch)
        said = oracle.attributes(dicom.walk(data))
        # DCT overshoots: what is no value of Bits Stored is taken for the nearest one.
        return [np.clip(frame, 0, (1 << said.stored) - 1) for frame in oracle.native(data)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = pydicom.dcmread(path, force=True)
        native = syntax in oracle.NATIVE
        plugin = "" if native else PLUGINS.get(syntax, "pylibjpeg")
        frames = pixel_array(dataset, raw=True, decoding_plugin=plugin)
    return list(frames) if int(dataset.get("NumberOfFrames") or 1) > 1 else [frames]


@pytest.mark.parametrize("key", SOUND)
def test_a_file_decodes_to_what_others_see(key: str, tmp_path: Path) -> None:
    """Bit for bit; DCT within 1, for it leaves the last bit of its arithmetic to the decoder (T.81 A.3.3)."""
    path, out = FILES[key], tmp_path / "out.dcm"
    transcode(path, out, to="explicit", force=True, **options(path))
    expected, found = truth(path, tmp_path), oracle.native(out.read_bytes())
    if syntax_of(path) not in oracle.JPEG_LOSSY:
        assert not oracle.different(expected, found)
        return
    assert [frame.shape for frame in expected] == [frame.shape for frame in found]
    assert max(int(np.abs(one.astype("i4") - other).max()) for one, other in zip(expected, found, strict=True)) <= 1


@pytest.mark.parametrize("key", [key for key, path in FILES.items() if path.name in DAMAGED])
def test_a_damaged_file_is_refused(key: str, tmp_path: Path) -> None:
    out = tmp_path / "out.dcm"
    with pytest.raises(InputError) as caught:
        transcode(FILES[key], out, to="explicit", force=True, **options(FILES[key]))
    assert caught.value.code == DAMAGED[FILES[key].name]
    assert not out.exists()


LOSSLESS_SETS = ("RLE", "JPLL", "JLSL", "J2KR")


@pytest.mark.parametrize(
    "key", [key for key in SOUND if key.split("/")[:2][-1] in LOSSLESS_SETS] or ["wg04/RLE/CT1_RLE"]
)
@pytest.mark.parametrize("to", ["explicit", "implicit", "big-endian", "jpegls", "rle"])
def test_wg04_gives_its_reference(key: str, to: str, tmp_path: Path) -> None:
    """NEMA's compression samples of the lossless codes are those of the reference, bit for bit."""
    path, out = need_real(key), tmp_path / "out.dcm"
    reference = need_real(f"wg04/REF/{path.name.split('_')[0]}_UNC")
    outcome = transcode(path, out, to=to, force=True)
    assert not oracle.different(
        oracle.native(reference.read_bytes()), oracle.decoded(out.read_bytes(), outcome.encoder)
    )


# Copies of other images, differing in nothing that matters here; of NEMA's lossy ones, some stand for all.
COPIES = (*LOSSLESS_SETS, "98892001", "98892003", "MR700", "JLSN", "JPLY", "J2KI")
BUT = ("wg04/JLSN/NM1_JLSN", "wg04/JPLY/NM1_JPLY", "wg04/J2KI/CT1_J2KI", "wg04/J2KI/US1_J2KI")
VARIETY = [key for key in SOUND if key in BUT or not set(key.split("/")) & set(COPIES)]
LARGE = 200_000


@pytest.mark.parametrize("key", VARIETY)
def test_a_file_survives_every_lossless_codec(key: str, tmp_path: Path) -> None:
    """Into a syntax of each and, from there, back; of small images two others too, which take turns."""
    native, coded, back = (tmp_path / f"{what}.dcm" for what in ("native", "coded", "back"))
    transcode(FILES[key], native, to="explicit", force=True, **options(FILES[key]))
    walked = dicom.walk(native.read_bytes())
    said = oracle.attributes(walked)
    frames = oracle.native(native.read_bytes())
    fmt = Format(said.photometric, said.allocated, said.stored, said.signed)
    refused = set()
    others = [uid for uid in COMPRESSED if uid not in FIRST_OF_FAMILY]
    first = VARIETY.index(key) % len(others)
    turn = (others + others)[first : first + 2] if said.frames * frames[0].size < LARGE else []
    targets = [*FIRST_OF_FAMILY, *turn]
    for uid in targets:
        try:
            outcome = transcode(FILES[key], coded, to=uid, force=True, **options(FILES[key]), one_bit="allow")
        except (RefusedError, UnsupportedError):
            refused.add(uid)
            continue
        assert not oracle.different(frames, oracle.decoded(coded.read_bytes(), outcome.encoder)), name(BY_UID[uid])
        transcode(coded, back, to="explicit")
        assert not oracle.different(frames, oracle.native(back.read_bytes())), name(BY_UID[uid])
    assert refused == {uid for uid in targets if not takes(BY_UID[uid], fmt)}


def takes(syntax: Syntax, fmt: Format) -> bool:
    """Tell whether a format can be written; shared chroma as such, or repeated."""
    either = [fmt, Format("YBR_FULL", 8, 8)] if fmt.photometric == "YBR_FULL_422" else [fmt]
    return any(legal(syntax, one) for one in either) and fmt.stored <= MOST_STORED.get(syntax.family, 64)


@pytest.mark.parametrize(("option", "uid"), [("+es", "1.2.840.10008.1.2.4.53"), ("+ep", "1.2.840.10008.1.2.4.55")])
@pytest.mark.parametrize("bundled", ["examples_rgb_color.dcm", "SC_rgb_small_odd.dcm", "examples_overlay.dcm"])
def test_retired_jpeg_is_decoded(option: str, uid: str, bundled: str, tmp_path: Path) -> None:
    """Spectral selection and full progression of 8 and 12 bits, which only DCMTK still writes."""
    coded, out = tmp_path / "coded.dcm", tmp_path / "out.dcm"
    oracle.run(need_tool("dcmcjpeg"), option, BUNDLED / bundled, coded)
    walked = dicom.walk(coded.read_bytes())
    assert walked.syntax == uid
    assert {oracle.parse(stream).process for stream in walked.fragments} == {0xC2}
    transcode(coded, out, to="explicit")
    assert not oracle.different(oracle.native(oracle.dcmtk(coded, tmp_path)), oracle.native(out.read_bytes()))


# Baseline files with the Photometric Interpretations that recompression may have (PS3.5 8.2.15).
BASELINE = (
    "SC_rgb_dcmtk_+eb+cr.dcm", "SC_rgb_dcmtk_+eb+cy+np.dcm", "SC_rgb_dcmtk_+eb+cy+s2.dcm",
    "SC_jpeg_no_color_transform_2.dcm", "examples_ybr_color.dcm",
)  # fmt: skip


@pytest.mark.parametrize("bundled", BASELINE)
def test_recompressed_jpeg_comes_back(bundled: str, tmp_path: Path) -> None:
    """JPEG XL of a JPEG stream gives that stream byte for byte, by djxl too, and so the same pixels."""
    recompressed, back, out = (tmp_path / f"{what}.dcm" for what in ("recompressed", "back", "out"))
    transcode(BUNDLED / bundled, recompressed, to="jpegxl-jpeg")
    transcode(recompressed, back, to="jpeg-baseline")
    source = pydicom.dcmread(BUNDLED / bundled)
    count = int(source.get("NumberOfFrames") or 1)
    original = [stream.rstrip(b"\0") for stream in generate_frames(source.PixelData, number_of_frames=count)]
    transcode(recompressed, out, to="explicit")
    assert not oracle.different(truth(BUNDLED / bundled, tmp_path), oracle.native(out.read_bytes()))
    assert [stream.rstrip(b"\0") for stream in dicom.walk(back.read_bytes()).fragments] == original
    stream, jpeg = tmp_path / "stream.jxl", tmp_path / "stream.jpg"
    stream.write_bytes(dicom.walk(recompressed.read_bytes()).fragments[0])
    oracle.run(need_tool("djxl"), stream, jpeg)
    assert jpeg.read_bytes() == original[0]
