"""What is there where a picture goes: another picture of that kind is replaced, nothing else."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from batches import image
from conftest import ROOT, Ran

from dcmtx.cli.pictures import check_picture
from dcmtx.errors import UsageError

CT = ROOT / "testdata" / "ct-explicit.dcm"
PNG = imagecodecs.png_encode(np.zeros((2, 2), "u1"))
SVG = b'<?xml version="1.0" encoding="utf-8"?>\n<!DOCTYPE svg PUBLIC "x" "y">\n<svg xmlns="z"></svg>\n'
DICOM = image().encode()

THERE = {
    "nothing in it": ("png", b"", True),
    "a PNG": ("png", PNG, True),
    "a PNG in capitals": ("PNG", PNG, True),
    "an SVG": ("svg", SVG, True),
    "an SVG without declaration": ("svg", b"\xef\xbb\xbf\n<svg/>", True),
    "an SVG behind a comment": ("svg", b"<!-- made by hand --><svg/>", True),
    "an image": ("png", DICOM, False),
    "an image, where an SVG goes": ("svg", DICOM, False),
    "an image with the preamble of a PNG": ("png", PNG[:64].ljust(128, b"\0") + DICOM[128:], False),
    "an image with the preamble of an SVG": ("svg", SVG[:120].ljust(128) + DICOM[128:], False),
    "an SVG, where a PNG goes": ("png", SVG, False),
    "a PNG, where an SVG goes": ("svg", PNG, False),
    "XML of another kind": ("svg", b'<?xml version="1.0"?><html/>', False),
    "text": ("svg", b"what <svg is", False),
    "a PNG cut in its signature": ("png", PNG[:7], False),
}


@pytest.mark.parametrize(("kind", "there", "is_replaced"), THERE.values(), ids=list(THERE))
def test_a_picture_replaces_a_picture(kind: str, there: bytes, is_replaced: bool, tmp_path: Path) -> None:
    path = tmp_path / f"out.{kind}"
    path.write_bytes(there)
    if is_replaced:
        check_picture(str(path), "OUT", "png", "svg")
        return
    with pytest.raises(UsageError, match=f"exists and is no {kind.upper()} file"):
        check_picture(str(path), "OUT", "png", "svg")


def test_what_is_no_file_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    check_picture(str(tmp_path / "pipe.png"), "OUT", "png")
    check_picture(str(tmp_path / "none.png"), "OUT", "png")


@pytest.mark.parametrize(
    "words",
    [["advise", CT, "--targets", "rle", "--plot"], ["compare", CT, CT, "--image"], ["render", CT]],
    ids=lambda words: words[0],
)
def test_commands_refuse_it_before_any_work(
    words: list[str | Path], tmp_path: Path, command: Callable[..., Ran]
) -> None:
    (tmp_path / "x.dcm").write_bytes(DICOM)
    path = tmp_path / "a.png"
    path.symlink_to(tmp_path / "x.dcm")
    ran = command(*words, path)
    assert (ran.status, ran.out, ran.err.count("\n")) == (2, "", 1)
    assert "exists and is no PNG file; name another file" in ran.err
    assert path.read_bytes() == DICOM


def test_render_replaces_what_it_made(tmp_path: Path, command: Callable[..., Ran]) -> None:
    for _ in range(2):
        assert command("render", CT, tmp_path / "a.png").status == 0
    assert imagecodecs.png_decode((tmp_path / "a.png").read_bytes()).ndim == 2
