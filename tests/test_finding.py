"""Findings: a table of codes that is true, and the records that programs read."""

from __future__ import annotations

import ast
import os
import pickle
import re
from pathlib import Path

import dicom
import pytest
from batches import by_source, image, records, run
from conftest import ROOT

from dcmtx.batch.report import as_record, skip_record
from dcmtx.finding import CODES, Finding, Severity
from dcmtx.transcoding.transcode import transcode


def made() -> dict[str, list[str]]:
    """Return the places where findings are made, by their codes."""
    found: dict[str, list[str]] = {}
    for path in sorted((ROOT / "dcmtx").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Finding":
                place = f"{path.relative_to(ROOT)}:{node.lineno}"
                code = node.args[0]
                assert isinstance(code, ast.Constant), f"{place}: a code is a literal, so that it can be looked for"
                found.setdefault(code.value, []).append(place)
    return found


def test_every_code_is_in_the_table_and_every_code_of_the_table_is_used() -> None:
    assert made().keys() == CODES.keys()


def test_codes_read_as_codes_and_are_told_of_in_one_line() -> None:
    for code, meaning in CODES.items():
        assert re.fullmatch(r"N(_[A-Z]+)+", code)
        assert meaning.isprintable()
        assert not meaning.endswith(".")
    assert len(set(CODES.values())) == len(CODES)


def test_a_finding_reads_as_its_text_and_travels_between_processes() -> None:
    finding = Finding("N_RETIRED", "it is retired", Severity.WARNING, tag=0x00020010, frame=3)
    assert str(finding) == "it is retired"
    assert pickle.loads(pickle.dumps(finding)) == finding
    assert Finding("N_RETIRED", "it is retired").severity is Severity.NOTE


def test_the_record_of_a_finding() -> None:
    (note,) = skip_record("a", "b", "not DICOM")["notes"]
    assert note == {"code": "N_SKIPPED", "severity": "note", "tag": None, "frame": None, "text": "not DICOM"}


def test_a_record_has_what_programs_need(tmp_path: Path) -> None:
    source, out = tmp_path / "in.dcm", tmp_path / "out.dcm"
    # Without Samples per Pixel, which MONOCHROME2 has one of.
    data = image(1).encode()
    at = data.index(dicom.element(0x00280002, "US", b"\1\0"))
    source.write_bytes(data[:at] + data[at + 10 :])
    outcome = transcode(source, out, to="rle")
    (note,) = as_record(outcome, "in", "out")["notes"]
    assert note.pop("text").startswith("Samples per Pixel")
    assert note == {"code": "N_SAMPLES", "severity": "warning", "tag": "(0028,0002)", "frame": None}
    frame = outcome.replace(notes=(Finding("N_SAMPLES", "odd", frame=0),))
    assert as_record(frame, "in", "out")["notes"][0]["frame"] == 1


@pytest.mark.parametrize("count", [3, 4, 7])
def test_findings_of_one_code_are_told_of_three_times_and_counted(count: int, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for number in range(count):
        # Each text is another: so many zeros behind the last element.
        padded = image(number).encode() + bytes(100 + number)
        (tmp_path / "in" / str(number)).write_bytes(padded)
    ran = run(tmp_path / "in", tmp_path / "out", "--to", "rle", "--json")
    assert ran.status == 0
    told = by_source(records(ran.out))
    assert {note["code"] for record in told.values() for note in record["notes"]} == {"N_PADDING"}
    assert len({note["text"] for record in told.values() for note in record["notes"]}) == count
    assert sum(": note: dropped " in line for line in ran.err.splitlines()) == 3
    more = [line for line in ran.err.splitlines() if "with a note like" in line]
    left = count - 3
    assert [line.split(" with")[0] for line in more] == [f"dcmtx: {left} more file{'s' * (left != 1)}"] * (left > 0)
    assert os.listdir(tmp_path / "out")
