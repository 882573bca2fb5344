"""The report: where it may be, what it replaces, and how it is carried on."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dicom
import pytest
from batches import assert_converted, by_source, image, names, plant, records, run
from conftest import Ran, contents

from dcmtx import transcode
from dcmtx.batch.report import as_record
from dcmtx.errors import InputError

Command = Callable[..., Ran]
Fails = Callable[..., str]

RECORD = {"version": 2, "source": "a", "destination": "b", "status": "converted"}


def line(**changes: Any) -> bytes:
    return json.dumps(RECORD | changes).encode() + b"\n"


# --- it is neither source nor destination ------------------------------------------------------------------------


def link(path: Path, to: Path) -> None:
    path.symlink_to(to)


def hard(path: Path, to: Path) -> None:
    path.hardlink_to(to)


# What the report is called where in.dcm is converted to out.dcm, and what is made there first.
SPELLED: dict[str, tuple[str, Callable[[Path], None]]] = {
    "as the source": ("in.dcm", lambda _: None),
    "as the destination": ("out.dcm", lambda _: None),
    "as the source by another way": ("d/../in.dcm", lambda _: None),
    "as the destination by another way": ("d/../out.dcm", lambda _: None),
    "by its whole path": ("{}/in.dcm", lambda _: None),
    "by a link to the source": ("link", lambda d: link(d / "link", d / "in.dcm")),
    "by a link to the destination": ("link", lambda d: link(d / "link", d / "out.dcm")),
    "by a link to its directory": ("link/out.dcm", lambda d: link(d / "link", d)),
    "by a hard link to the source": ("link", lambda d: hard(d / "link", d / "in.dcm")),
    "by a link that the destination is": ("else", lambda d: link(d / "out.dcm", d / "else")),
}


@pytest.mark.parametrize(
    "words",
    [
        ["in.dcm", "out.dcm", "--to", "rle", "--report", "-"],
        ["in", "out", "--to", "rle", "--report", "-"],
        ["in.dcm", "-", "--to", "rle", "--report", "-"],
        ["rewrap", "in.dcm", "out.dcm", "--report", "-"],
        ["enhance", "in", "out.dcm", "--report", "-"],
        ["audit", "report", "--proof", "-"],
    ],
    ids=" ".join,
)
def test_a_report_is_a_file(words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: Fails) -> None:
    plant(tmp_path, ["in.dcm", "in/a.dcm"])
    (tmp_path / "report").write_bytes(line())
    monkeypatch.chdir(tmp_path)
    assert "writes a file, and - is none; --json writes to standard output" in fails(2, *words)


@pytest.mark.parametrize(("name", "prepare"), SPELLED.values(), ids=list(SPELLED))
def test_a_report_that_is_a_file_of_the_conversion_is_refused(
    name: str, prepare: Callable[[Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: Fails
) -> None:
    monkeypatch.chdir(tmp_path)
    plant(tmp_path, ["in.dcm"])
    (tmp_path / "d").mkdir()
    prepare(tmp_path)
    assert "report" in fails(2, "in.dcm", "out.dcm", "--to", "rle", "--report", name.format(tmp_path))


def test_a_report_that_is_the_destination_in_a_directory_is_refused(tmp_path: Path, fails: Fails) -> None:
    (source,) = plant(tmp_path, ["in.dcm"])
    (tmp_path / "out").mkdir()
    assert "report" in fails(2, source, tmp_path / "out", "--to", "rle", "--report", tmp_path / "out" / "in.dcm")


@pytest.mark.parametrize("which", ["stdin", "stdout"])
def test_a_report_that_is_a_standard_stream_of_the_conversion_is_refused(which: str, tmp_path: Path) -> None:
    (source,) = plant(tmp_path, ["in.dcm"])
    (tmp_path / "out.dcm").touch()
    with open(source, "rb") as stdin, open(tmp_path / "out.dcm", "ab") as stdout:
        report = source if which == "stdin" else tmp_path / "out.dcm"
        before = contents(tmp_path)
        ran = run("-", "-", "--to", "rle", "--report", report, stdin=stdin, stdout=stdout)
    assert ran.status == 2
    assert "named as the report too" in ran.err
    assert contents(tmp_path) == before


# The report, and what a batch of in/a, in/s/b and one.dcm into out finds there.
PLACES = {
    "where a file of a directory goes": "out/in/a",
    "where one deeper goes": "out/in/s/b",
    "where a named file goes": "out/one.dcm",
    "by another way": "out/in/../in/s/b",
    "by a link": "link/in/a",
    "that is one of the sources": "in/../one.dcm",
}


@pytest.mark.parametrize("report", PLACES.values(), ids=list(PLACES))
def test_a_report_where_a_source_of_a_batch_goes_is_refused(
    report: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: Fails
) -> None:
    monkeypatch.chdir(tmp_path)
    plant(tmp_path, ["in/a", "in/s/b", "one.dcm"])
    (tmp_path / "out" / "in" / "s").mkdir(parents=True)
    (tmp_path / "link").symlink_to("out")
    assert "report" in fails(2, "in", "one.dcm", "out", "--to", "rle", "--report", report)


def test_a_report_where_only_a_link_inside_leads_costs_that_file_and_is_whole(tmp_path: Path) -> None:
    plant(tmp_path, ["in/s/a", "in/s/b"])
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "s").symlink_to("../elsewhere")
    report = tmp_path / "elsewhere" / "a"
    ran = run(tmp_path / "in", tmp_path / "out", "--to", "rle", "--report", report)
    assert ran.status == 9
    told = by_source(records(report.read_bytes()))
    assert (told["a"]["status"], told["a"]["error"]["code"]) == ("failed", "E_CLASH")
    assert told["b"]["status"] == "converted"
    assert_converted(tmp_path / "elsewhere" / "b", 1)


@pytest.mark.parametrize("place", ["in/report", "in/s/report"])
def test_a_report_among_the_sources_is_none_of_them(place: str, tmp_path: Path) -> None:
    plant(tmp_path, ["in/a", "in/s/b"])
    for out in ("out", "in"):
        ran = run(tmp_path / "in", tmp_path / out, "--to", "rle", "--report", tmp_path / place)
        assert ran.status == 0
        told = by_source(records((tmp_path / place).read_bytes()))
        assert {name: record["status"] for name, record in told.items()} == {
            "a": "converted", "b": "converted", "report": "skipped",
        }  # fmt: skip
        assert [note["text"] for note in told["report"]["notes"]] == ["it is the report"]
    assert names(tmp_path / "out") == {"a", "s/b"}


def test_a_report_beside_what_is_written_is_lawful(tmp_path: Path) -> None:
    plant(tmp_path, ["in/a"])
    (tmp_path / "in" / "report").write_text("not DICOM, so nothing goes to out/report\n" * 9)
    (tmp_path / "out").mkdir()
    for _ in range(2):
        assert (
            run(tmp_path / "in", tmp_path / "out", "--to", "rle", "--report", tmp_path / "out" / "report").status == 0
        )
    assert len(records((tmp_path / "out" / "report").read_bytes())) == 2


# --- what is replaced --------------------------------------------------------------------------------------------

NO_REPORTS = {
    "an image": image().encode(),
    "JSON of another kind": b'{"version": 1, "name": "package"}\n',
    "JSON on several lines": b'{\n  "version": 1\n}\n',
    "a list": b"[1]\n",
    "a number": b"1\n",
    "text": b"{ braces alone make no report }\n",
    "bytes": b"{\xff\xfe\n",
    "a report behind something else": b"\n" + line(),
    "a line that never ends": b"{" * 1000,
}
REPORTS = {
    "empty": b"",
    "of an earlier run": line() * 3,
    "of another version": line(version=1),
    "torn in its first line": line()[:30],
    "torn in its first word": line()[:3],
    "torn later": line() + line()[:40],
}


@pytest.mark.parametrize("resume", [[], ["--resume"]], ids=["anew", "resumed"])
@pytest.mark.parametrize("there", NO_REPORTS.values(), ids=list(NO_REPORTS))
def test_what_is_no_report_is_not_replaced(there: bytes, resume: list[str], tmp_path: Path, fails: Fails) -> None:
    (source,) = plant(tmp_path, ["in.dcm"])
    (tmp_path / "report").write_bytes(there)
    line = [source, tmp_path / "out.dcm", "--to", "rle", "--report", tmp_path / "report", *resume]
    assert "is no report" in fails(2, *line)


@pytest.mark.parametrize("there", REPORTS.values(), ids=list(REPORTS))
def test_a_report_is_begun_anew(there: bytes, tmp_path: Path, command: Command) -> None:
    (source,) = plant(tmp_path, ["in.dcm"])
    (tmp_path / "report").write_bytes(there)
    assert command(source, tmp_path / "out.dcm", "--to", "rle", "--report", tmp_path / "report").status == 0
    (record,) = records((tmp_path / "report").read_bytes())
    assert record["status"] == "converted"


# --- how it goes on ----------------------------------------------------------------------------------------------

GOES_ON = {
    "empty": 0,
    "of an earlier run": 3,
    "torn in its first line": 0,
    "torn in its first word": 0,
    "torn later": 1,
}


@pytest.mark.parametrize(("there", "stay"), GOES_ON.items(), ids=list(GOES_ON))
def test_a_resumed_batch_goes_on_with_its_report(there: str, stay: int, tmp_path: Path) -> None:
    plant(tmp_path, ["in/a"])
    report = tmp_path / "report"
    report.write_bytes(REPORTS[there])
    assert run(tmp_path / "in", tmp_path / "out", "--to", "rle", "--report", report, "--resume").status == 0
    found = records(report.read_bytes())
    assert found[:-1] == [RECORD] * stay
    assert found[-1]["status"] == "converted"


def test_what_was_told_stays_and_what_is_new_comes_behind(tmp_path: Path) -> None:
    plant(tmp_path, ["in/a"])
    report = tmp_path / "report"
    options = ["--to", "rle", "--report", report, "--resume"]
    assert run(tmp_path / "in", tmp_path / "out", *options).status == 0
    before = report.read_bytes()
    plant(tmp_path, ["in/b"], start=1)
    assert run(tmp_path / "in", tmp_path / "out", *options).status == 0
    assert report.read_bytes().startswith(before)
    found = [(os.path.basename(record["source"]), record["status"]) for record in records(report.read_bytes())]
    assert found[0] == ("a", "converted")
    assert sorted(found[1:]) == [("a", "skipped"), ("b", "converted")]


def test_a_torn_line_is_cut_wherever_it_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dcmtx.cli import reports

    monkeypatch.setattr(reports, "_BLOCK", 7)
    path = tmp_path / "report"
    for torn in range(40):
        path.write_bytes(line() * 2 + line()[:torn])
        with reports.open_report(os.fspath(path), goes_on=True) as file:
            file.write("{}\n")
        assert path.read_bytes() == line() * 2 + b"{}\n"


def test_a_report_of_another_version_is_not_gone_on_with(tmp_path: Path, fails: Fails) -> None:
    (source,) = plant(tmp_path, ["in.dcm"])
    (tmp_path / "report").write_bytes(line(version=1))
    line_ = [source, tmp_path / "out.dcm", "--to", "rle", "--report", tmp_path / "report", "--resume"]
    assert "version 1" in fails(2, *line_)


# --- what a record has -------------------------------------------------------------------------------------------


def test_a_record_is_strict_json_though_nothing_was_lost(tmp_path: Path) -> None:
    (source,) = plant(tmp_path, ["in.dcm"])
    outcome = transcode(source, tmp_path / "out.dcm", to="rle")
    for psnr, told in ((math.inf, None), (41.5, 41.5), (None, None)):
        assert as_record(outcome.replace(psnr=psnr), "a", "b")["psnr"] == told


# Source, options, and the plan that its record has.
PLANNED: dict[str, tuple[bytes, list[str], str, dict[str, list[str]] | None]] = {
    "a copy": (image().encode(), ["--to", "explicit"], "planned", {"steps": ["copy"], "changes": []}),
    "what is skipped": (
        dicom.file([dicom.element(0x00080016, "UI", "1.2.840.10008.5.1.4.1.1.88.11")]),
        ["--to", "rle", "--no-pixels", "skip"],
        "skipped",
        None,
    ),
}


@pytest.mark.parametrize(("data", "options", "status", "plan"), PLANNED.values(), ids=list(PLANNED))
def test_the_plan_of_a_record_of(
    data: bytes, options: list[str], status: str, plan: object, tmp_path: Path, command: Command
) -> None:
    (tmp_path / "in.dcm").write_bytes(data)
    ran = command(tmp_path / "in.dcm", tmp_path / "out.dcm", "--dry-run", "--json", *options)
    (record,) = records(ran.out)
    assert (record["status"], record["plan"]) == (status, plan)


def test_a_conversion_has_no_plan_in_its_record(tmp_path: Path, command: Command) -> None:
    (source,) = plant(tmp_path, ["in.dcm"])
    (record,) = records(command(source, tmp_path / "out.dcm", "--json", "--to", "rle").out)
    assert (record["status"], record["plan"]) == ("converted", None)


@pytest.mark.parametrize(("frame", "told"), [(0, 1), (41, 42), (None, None)])
def test_frames_are_counted_from_one_in_the_record_of_an_error(frame: int | None, told: int | None) -> None:
    error = InputError("it is damaged", code="E_TRUNCATED")
    error.frame = frame
    record = as_record(error, "a", "b")
    assert record["error"] == {
        "code": "E_TRUNCATED",
        "status": 3,
        "message": "it is damaged",
        "what": "it is damaged",
        "advice": None,
        "frame": told,
    }
