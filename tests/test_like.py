"""`--like FILE`: the transfer syntax and the kind of offset table of another file."""

from __future__ import annotations

from pathlib import Path

import pydicom
import pytest
from click.testing import CliRunner
from conftest import ROOT

from dcmtx import transcode
from dcmtx.cli.convert import convert
from dcmtx.errors import DcmtxError

TESTDATA = ROOT / "testdata"
SOURCE = TESTDATA / "us-rgb-by-pixel.dcm"


def kind_of_table(path: Path) -> str:
    """Return which table a file has, as pydicom reads it."""
    dataset = pydicom.dcmread(path)
    if "ExtendedOffsetTable" in dataset:
        return "extended"
    return "basic" if pydicom.encaps.parse_basic_offsets(dataset.PixelData) else "empty"


def run(*arguments: object) -> int:
    result = CliRunner().invoke(convert, [*map(str, arguments)], standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    return result.return_value


@pytest.mark.parametrize("table", ["basic", "extended", "empty"])
@pytest.mark.parametrize("to", ["rle", "htj2k-rpcl"])
def test_a_file_gets_the_syntax_and_the_offset_table_of_another(to: str, table: str, tmp_path: Path) -> None:
    model, out = tmp_path / "model.dcm", tmp_path / "out.dcm"
    transcode(TESTDATA / "ct-explicit.dcm", model, to=to, offset_table=table)
    assert kind_of_table(model) == table
    assert run(SOURCE, out, "--like", model) == 0
    assert kind_of_table(out) == table
    assert pydicom.dcmread(out).file_meta.TransferSyntaxUID == pydicom.dcmread(model).file_meta.TransferSyntaxUID


def test_a_table_that_is_asked_for_is_written_all_the_same(tmp_path: Path) -> None:
    model, out = tmp_path / "model.dcm", tmp_path / "out.dcm"
    transcode(SOURCE, model, to="rle", offset_table="extended")
    assert run(SOURCE, out, "--like", model, "--offset-table", "empty") == 0
    assert kind_of_table(out) == "empty"


@pytest.mark.parametrize("name", ["ct-implicit.dcm", "mr-big-endian.dcm", "ct-deflated.dcm"])
def test_native_files_are_models_too(name: str, tmp_path: Path) -> None:
    out = tmp_path / "out.dcm"
    assert run(SOURCE, out, "--like", TESTDATA / name) == 0
    assert (
        pydicom.dcmread(out).file_meta.TransferSyntaxUID == pydicom.dcmread(TESTDATA / name).file_meta.TransferSyntaxUID
    )


def test_a_lossy_model_is_no_consent(tmp_path: Path) -> None:
    out = tmp_path / "out.dcm"
    with pytest.raises(DcmtxError) as caught:
        run(SOURCE, out, "--like", TESTDATA / "us-jpeg-baseline.dcm")
    assert caught.value.code == "E_LOSSY"
    assert not out.exists()
    assert run(SOURCE, out, "--like", TESTDATA / "us-jpeg-baseline.dcm", "--lossy") == 0


@pytest.mark.parametrize("more", [["--to", "rle"], ["--raw"]], ids=" ".join)
def test_two_targets_are_refused(more: list[str], tmp_path: Path) -> None:
    with pytest.raises(Exception, match="--like names a target, and so does another option"):
        run(SOURCE, tmp_path / "out.dcm", "--like", SOURCE, *more)


def test_a_model_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    model = tmp_path / "model.dcm"
    with pytest.raises(DcmtxError) as caught:
        run(SOURCE, tmp_path / "out.dcm", "--like", model)
    assert caught.value.path == str(model)
    assert list(tmp_path.iterdir()) == []
