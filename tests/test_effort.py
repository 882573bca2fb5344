"""How hard JPEG XL tries: never at the price of a pixel."""

from __future__ import annotations

from pathlib import Path

import dicom
import images
import oracle
import pytest
from images import Format

from dcmtx import transcode
from dcmtx.errors import UsageError

JPEG_XL = "1.2.840.10008.1.2.4.110"
GREY = Format("MONOCHROME2", 16, 12)
EFFORTS = range(1, 10)


def sizes(fmt: Format, tmp_path: Path, *efforts: int | None) -> list[int]:
    """Return the size of an image's first stream by each effort, after comparing all with what they must decode to."""
    source, out = tmp_path / "in.dcm", tmp_path / "out.dcm"
    frames = images.make_frames(fmt, 60, 50, len(images.CONTENTS))
    source.write_bytes(images.image(fmt, frames).encode())
    found = []
    for effort in efforts:
        outcome = transcode(source, out, to="jpegxl", effort=effort)
        assert outcome.syntax_out == JPEG_XL
        assert not oracle.different(frames, oracle.decoded(out.read_bytes()))
        found.append(len(oracle.codestreams(out.read_bytes())[images.CONTENTS.index(images.ramp)]))
    return found


@pytest.mark.parametrize(
    "fmt",
    [Format("MONOCHROME2", 8, 1), Format("MONOCHROME2", 8, 5), Format("MONOCHROME2", 8, 8), GREY,
     Format("MONOCHROME2", 16, 16), Format("RGB", 8, 8), Format("RGB", 16, 12)],
    ids=str,
)  # fmt: skip
def test_no_effort_loses_anything(fmt: Format, tmp_path: Path) -> None:
    sizes(fmt, tmp_path, *EFFORTS)


def test_more_effort_makes_it_smaller_and_3_is_the_default(tmp_path: Path) -> None:
    first, third, last, default = sizes(GREY, tmp_path, 1, 3, 9, None)
    assert first > third > last
    assert default == third


def test_djxl_reads_what_little_effort_wrote(tmp_path: Path) -> None:
    """Effort 1 has an encoder of its own in libjxl."""
    source, out = tmp_path / "in.dcm", tmp_path / "out.dcm"
    frames = images.make_frames(GREY, 60, 50, 4)
    source.write_bytes(images.image(GREY, frames).encode())
    transcode(source, out, to="jpegxl", effort=1)
    said = oracle.attributes(dicom.walk(out.read_bytes()))
    back = [oracle.djxl(stream, said, tmp_path) for stream in oracle.codestreams(out.read_bytes())]
    assert not oracle.different(frames, back)


def test_effort_goes_with_loss_too(tmp_path: Path) -> None:
    source = tmp_path / "in.dcm"
    fmt = Format("RGB", 8, 8)
    source.write_bytes(images.image(fmt, images.make_frames(fmt, 60, 50)).encode())
    streams = {effort: transcode(source, to="jpegxl", lossy=True, effort=effort) for effort in (None, 3, 7)}
    assert len(set(streams.values())) == 3


@pytest.mark.parametrize("effort", [0, 10, 2.5, True])
def test_effort_is_from_1_to_9(effort: float, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--effort is"):
        transcode(tmp_path / "in.dcm", tmp_path / "out.dcm", to="jpegxl", effort=effort)


@pytest.mark.parametrize("to", ["rle", "j2k", "jpegxl-jpeg"])
def test_no_other_codec_takes_it(to: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--effort does not go with"):
        transcode(tmp_path / "in.dcm", tmp_path / "out.dcm", to=to, effort=3)
