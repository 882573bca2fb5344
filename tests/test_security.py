"""What dcmtx-security(7) promises: no shell, no path from a data set, no patient in a message."""

from __future__ import annotations

import ast
import os
from pathlib import Path

import batches
import dicom
import fuzz
import pytest
from batches import need_proc
from conftest import ROOT, Ran

PACKAGE = sorted((ROOT / "dcmtx").rglob("*.py"))
# What runs a command line, whoever wrote it.
SHELLS = {"os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput", "eval", "exec"}
UNPICKLERS = {"pickle.load", "pickle.loads", "marshal.loads", "shelve.open", "yaml.load"}
# What processes of ours say to one another: the answer of a child and results that wait, in files
# without names, a part of a job, and what a pool and its workers tell each other through pipes without names.
OWN = {
    ("dcmtx/pool/pipe.py", "pickle.loads"),
    ("dcmtx/pool/forked.py", "pickle.loads"),
    ("dcmtx/batch/archives.py", "pickle.load"),
    ("dcmtx/inspect/isolated.py", "pickle.load"),
    ("dcmtx/inspect/advice.py", "pickle.load"),
    ("dcmtx/planning/request.py", "pickle.loads"),
}
PATIENT = "Zzyzx^Quetzalcoatl"


def calls(path: Path) -> list[tuple[str, ast.Call]]:
    """Return the calls of a module, by the name that is called."""
    found = [node for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Call)]
    return [(ast.unparse(call.func), call) for call in found]


@pytest.mark.parametrize("path", PACKAGE, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_shell_is_ever_started_and_nothing_is_evaluated(path: Path) -> None:
    for name, call in calls(path):
        assert name not in SHELLS, f"{path}:{call.lineno}"
        assert name not in UNPICKLERS or (str(path.relative_to(ROOT)), name) in OWN, f"{path}:{call.lineno}"
        shell = [keyword.value for keyword in call.keywords if keyword.arg == "shell"]
        assert all(isinstance(value, ast.Constant) and value.value is False for value in shell), call.lineno


def test_what_is_unpickled_is_still_there() -> None:
    assert all(name in dict(calls(ROOT / path)) for path, name in OWN)


NAMES = {
    "a line end": b"a\nb.dcm",
    "a leading dash": b"-x.dcm",
    "an option": b"--force",
    "bytes that are no text": b"\xff\xfe.dcm",
    "a command": b"$(touch owned);`touch owned`.dcm",
    "a terminal's orders": b"\x1b[2J.dcm",
}


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_a_name_is_only_a_name(name: bytes, tmp_path: Path) -> None:
    directory = os.fsencode(tmp_path)
    with open(os.path.join(directory, name), "wb") as file:
        file.write(batches.image(1).encode())
    ran = batches.run("--", os.fsdecode(name), "out.dcm", "--to", "rle", cwd=tmp_path)
    # Behind `--` everything is a name, so the options are two names too.
    assert ran.status == 2 or not os.path.exists(tmp_path / "out.dcm")
    ran = batches.run("--to", "rle", "--", os.fsdecode(name), "out.dcm", cwd=tmp_path)
    assert ran == Ran(0, "", "")
    ran = batches.run("--to", "implicit", "-v", "--", os.fsdecode(name), os.fsdecode(name), cwd=tmp_path)
    assert ran.status == 0
    assert ran.line
    assert sorted(os.listdir(directory)) == sorted([name, b"out.dcm"])
    bad = os.path.join(directory, name)
    with open(bad, "wb") as file:
        file.write(b"no DICOM here" * 30)
    ran = batches.run("--to", "rle", "--", os.fsdecode(name), "new.dcm", cwd=tmp_path)
    assert ran.status == 3
    assert ran.line
    assert not os.path.exists(tmp_path / "owned")


@need_proc
@pytest.mark.timeout(300)
def test_no_patient_is_in_a_message_whatever_is_wrong_with_the_file(tmp_path: Path) -> None:
    """Nor in a report: of a data set there are tags and UIDs."""
    source = tmp_path / "in"
    source.mkdir()
    patient = dicom.element(0x00100010, "PN", PATIENT)
    whole = dicom.Image(bytes(range(128)), before={0x00100010: patient}).encode()
    (source / "whole").write_bytes(whole)
    for number in range(200):
        data = bytearray(whole)
        fuzz.MUTATIONS[number % len(fuzz.MUTATIONS)](data, fuzz.random.Random(number))
        (source / f"{number}").write_bytes(data)
    report = tmp_path / "report.jsonl"
    ran = batches.run(source, tmp_path / "out", "--to", "jpegls", "--report", report, "-v")
    said = ran.err + report.read_text()
    assert "1 refused" in said or "failed" in said
    for part in (PATIENT, *PATIENT.split("^")):
        assert part not in said
