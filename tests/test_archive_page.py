"""dcmtx-archive(7): every command line of the page, taken from it and run in its order, does what the page says."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import oracle
import orthancs
import pydicom
import pytest
from conftest import PATIENCE, ROOT, need_tool
from orthancs import Orthanc
from stores import BUCKET, SERVERS, Store

TESTDATA = ROOT / "testdata"
TEXT = (ROOT / "man" / "dcmtx-archive.7").read_text("ascii")
HTJ2K_RPCL, JPEG_LS = "1.2.840.10008.1.2.4.202", "1.2.840.10008.1.2.4.80"
CONVERTED = ["ct-explicit.dcm", "mr-big-endian.dcm", "us-rgb-by-plane.dcm", "sc-multiframe-odd.dcm"]
KEPT = ["us-jpeg-baseline.dcm", "seg-binary.dcm", "rtdose-32.dcm"]


def blocks(section: str) -> list[str]:
    """Return the examples of a section as they are to be typed."""
    (text,) = re.findall(rf"^\.SH {section}\n(.*?)(?=^\.SH )", TEXT, re.MULTILINE | re.DOTALL)
    found = re.findall(r"^\.nf\n(.*?)^\.fi$", text, re.MULTILINE | re.DOTALL)
    return [re.sub(r"^\\&", "", block, flags=re.MULTILINE).replace("\\-", "-").replace("\\e", "\\") for block in found]


DIRECTORY, ORTHANC, STORE = (blocks(name) for name in ("A DIRECTORY", "ORTHANC", "AN OBJECT STORE"))
(POLICY,) = [block for block in DIRECTORY if block.startswith("[[rule]]")]


class Shell:
    """A directory where the page is followed, with this dcmtx as the command."""

    def __init__(self, root: Path, **environment: str) -> None:
        self.root = root
        (root / "bin").mkdir()
        command = root / "bin" / "dcmtx"
        command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m dcmtx "$@"\n')
        command.chmod(0o755)
        path = f"{root / 'bin'}:{os.environ['PATH']}"
        self._environment = os.environ | {"PATH": path, "DCMTX_SOCKET": ""} | environment
        (root / "policy.toml").write_text(POLICY)

    def run(self, lines: str) -> subprocess.CompletedProcess[str]:
        """Type lines; that each succeeds is asserted."""
        ran = subprocess.run(
            ["sh", "-e", "-c", lines], cwd=self.root, env=self._environment, capture_output=True, text=True,
            timeout=PATIENCE, check=False,
        )  # fmt: skip
        assert ran.returncode == 0, f"{lines}\n{ran.stdout}\n{ran.stderr}"
        return ran


def syntax_of(data: bytes) -> str:
    return str(pydicom.dcmread(pydicom.filebase.DicomBytesIO(data)).file_meta.TransferSyntaxUID)


def check_moved(name: str, data: bytes, syntax: str) -> None:
    """Check that a file is what the policy says, with the pixels of testdata, as other libraries decode them."""
    before = (TESTDATA / name).read_bytes()
    if name in KEPT:
        assert data == before
        return
    assert syntax_of(data) == syntax
    assert not oracle.different(oracle.decoded(before), oracle.decoded(data, "imagecodecs"))


def test_a_directory_is_moved_step_by_step(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    archive = tmp_path / "archive"
    (archive / "deep").mkdir(parents=True)
    for name in [*CONVERTED, *KEPT]:
        shutil.copy(TESTDATA / name, archive / "deep" / name)
    (archive / "notes.txt").write_text("none of DICOM")
    told = {}
    for block in DIRECTORY:
        if block == POLICY:
            continue
        told[block] = shell.run(block).stdout
        if "--dry-run" in block:
            assert not list((tmp_path / "moved").rglob("*.dcm")), "a dry run writes nothing"
    assert "all else\tto htj2k-rpcl\t4" in next(out for line, out in told.items() if "policy check" in line)
    assert "notes.txt" in next(out for line, out in told.items() if line.startswith("grep"))
    assert not (tmp_path / "archive.old").exists()
    assert sorted(path.name for path in archive.rglob("*.dcm")) == sorted([*CONVERTED, *KEPT])
    for name in [*CONVERTED, *KEPT]:
        check_moved(name, (archive / "deep" / name).read_bytes(), HTJ2K_RPCL)


def test_the_instances_of_orthanc_are_moved(tmp_path: Path) -> None:
    for tool in ("curl", "cmp"):
        need_tool(tool)
    uid = "1.2.826.0.1.3680043.10.77"
    before = {f"{uid}.1.{number}": orthancs.image(uid, number).encode() for number in (1, 2, 3)}
    shell = Shell(tmp_path)
    with Orthanc(tmp_path, dict(os.environ)) as orthanc:
        for data in before.values():
            orthanc.get("/instances", data)
        for block in ORTHANC:
            shell.run(block.replace("localhost:8042", f"127.0.0.1:{orthanc.http}"))
        assert len(json.loads(orthanc.get("/instances"))) == 3
        now = orthanc.stored(uid)
    assert now.keys() == before.keys()
    for instance, data in now.items():
        assert syntax_of(data) == JPEG_LS
        assert not oracle.different(oracle.decoded(before[instance]), oracle.decoded(data))


@pytest.fixture
def store() -> Iterator[Store]:
    pytest.importorskip("obstore")
    with SERVERS["moto"]() as running:
        yield running


def test_the_objects_of_a_store_are_moved_and_audited(store: Store, tmp_path: Path) -> None:
    names = ["ct-explicit.dcm", "us-jpeg-baseline.dcm"]
    for name in names:
        store.put(f"archive/{name}", (TESTDATA / name).read_bytes())
    shell = Shell(tmp_path, **store.environment)
    assert BUCKET == "images"
    (block,) = STORE
    for line in block.splitlines():
        shell.run(line)
    for name in names:
        check_moved(name, store.get(f"moved/{name}"), HTJ2K_RPCL)
    # What the audit sees of a store where something has happened.
    store.put("moved/more.dcm", b"1")
    store.put("moved/us-jpeg-baseline.dcm", store.get("moved/us-jpeg-baseline.dcm") + b"\0")
    store.client.delete_object(Bucket=BUCKET, Key="moved/ct-explicit.dcm")
    with pytest.raises(AssertionError) as caught:
        shell.run("dcmtx audit moved.jsonl s3://images/moved/")
    assert "missing: s3://images/moved/ct-explicit.dcm" in str(caught.value)
    assert "changed: s3://images/moved/us-jpeg-baseline.dcm: it has 4399 bytes" in str(caught.value)
    assert "unreported: s3://images/moved/more.dcm" in str(caught.value)
