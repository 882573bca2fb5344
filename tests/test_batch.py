"""Batches: what is found, where it goes, what is told of it, and the exit status."""

from __future__ import annotations

import errno
import os
import re
import socket
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, Self

import dicom
import fake_codecs
import images
import numpy as np
import oracle
import pytest
from batches import (
    Batch,
    Terminal,
    assert_converted,
    by_source,
    image,
    names,
    need_proc,
    numbered,
    parts,
    plant,
    records,
    run,
    sha256,
)
from conftest import ROOT, Ran, contents
from fake_codecs import Mood, Stage

from dcmtx.batch import walk as tree_module
from dcmtx.batch.convert import Done, Options, convert
from dcmtx.batch.summary import Summary
from dcmtx.batch.walk import plan_roots, walk
from dcmtx.transcoding.job import Status, job
from dcmtx.transcoding.transcode import transcode

pytestmark = pytest.mark.timeout(300)


def summary(err: str) -> str:
    """Return the line of a batch's summary that counts files."""
    found = re.findall(r"^dcmtx: (\d+ files? in [0-9.]+ s: .*)$", err, re.MULTILINE)
    assert len(found) == 1, err
    return re.sub(r" in [0-9.]+ s", "", found[0])


# --- what a walk finds -----------------------------------------------------------------------------------------


def test_a_tree_is_mirrored_to_any_depth(tree: Path, out: Path) -> None:
    there = ["a.dcm", "1/b.dcm", "1/2/c", "1/2/3/4/5/6/7/d.dcm", "with space/é ü.dcm", "1/.hidden", "-t"]
    plant(tree, there)
    (tree / "empty").mkdir()
    before = contents(tree)
    ran = run(tree, out, "--to", "rle")
    assert (ran.status, ran.out, summary(ran.err)) == (0, "", "7 files: 7 converted")
    assert names(out) == set(there)
    for number, name in enumerate(there):
        assert_converted(out / name, number)
    assert contents(tree) == before


def test_files_are_found_by_content_whatever_their_names(tree: Path, out: Path) -> None:
    plant(tree, ["notes.txt", "picture.png", "no-suffix", "x.DCM.bak"])
    others = {
        "text.dcm": b"I am no DICOM file\n" * 20,
        "empty.dcm": b"",
        "short.dcm": bytes(131),
        "zeros.dcm": bytes(1000),
        "late.dcm": b"\0" + image().encode(),
    }
    for name, data in others.items():
        (tree / name).write_bytes(data)
    ran = run(tree, out, "--to", "rle", "--json")
    assert (ran.status, summary(ran.err)) == (0, "9 files: 4 converted, 1 skipped (empty), 4 skipped (not DICOM)")
    assert names(out) == {"notes.txt", "picture.png", "no-suffix", "x.DCM.bak"}
    told = by_source(records(ran.out))
    assert {name for name, record in told.items() if record["status"] == "skipped"} == set(others)
    assert {name: [note["text"] for note in told[name]["notes"]] for name in others} == {
        name: ["empty" if name == "empty.dcm" else "not DICOM"] for name in others
    }


def test_links_to_files_are_followed_and_links_to_directories_are_not(tree: Path, out: Path, tmp_path: Path) -> None:
    plant(tree, ["real/a.dcm"])
    plant(tmp_path, ["elsewhere/b.dcm"], start=1)
    (tree / "to-file").symlink_to("real/a.dcm")
    (tree / "to-file-elsewhere").symlink_to(tmp_path / "elsewhere" / "b.dcm")
    (tree / "to-directory").symlink_to("real")
    (tree / "real" / "loop").symlink_to("..")
    (tree / "to-itself").symlink_to("to-itself")
    (tree / "to-nothing").symlink_to("nothing")
    (tree / "to-device").symlink_to("/dev/zero")
    ran = run(tree, out, "--to", "rle", "--json")
    assert ran.status == 9
    assert names(out) == {"real/a.dcm", "to-file", "to-file-elsewhere"}
    assert not any((out / name).is_symlink() for name in names(out))
    assert_converted(out / "to-file", 0)
    assert_converted(out / "to-file-elsewhere", 1)
    told = by_source(records(ran.out))
    assert {name: record["status"] for name, record in told.items()} == {
        "a.dcm": "converted",
        "to-file": "converted",
        "to-file-elsewhere": "converted",
        "to-directory": "skipped",
        "loop": "skipped",
        "to-itself": "failed",
        "to-nothing": "failed",
        "to-device": "skipped",
    }
    assert [told[name]["error"]["status"] for name in ("to-itself", "to-nothing")] == [3, 3]
    assert "link to a directory" in summary(ran.err)


def test_a_source_that_is_a_link_to_a_directory_is_walked(tree: Path, out: Path, tmp_path: Path) -> None:
    plant(tree, ["a.dcm"])
    (tmp_path / "link").symlink_to(tree)
    assert run(tmp_path / "link", out, "--to", "rle").status == 0
    assert names(out) == {"a.dcm"}


def test_pipes_and_sockets_are_skipped_and_nobody_waits_for_them(tree: Path, out: Path) -> None:
    plant(tree, ["a.dcm"])
    os.mkfifo(tree / "pipe.dcm")
    (tree / "to-pipe").symlink_to("pipe.dcm")
    with socket.socket(socket.AF_UNIX) as listening:
        here = os.open(tree, os.O_RDONLY)
        try:
            # The path of a socket is limited to some hundred bytes.
            listening.bind(f"/proc/self/fd/{here}/socket.dcm")
        finally:
            os.close(here)
        ran = run(tree, out, "--to", "rle")
    assert (ran.status, summary(ran.err)) == (0, "4 files: 1 converted, 3 skipped (not a regular file)")
    assert names(out) == {"a.dcm"}


ODD_NAMES = [
    b"\xff\xfe.dcm",
    b"caf\xe9.dcm",
    b"line\nbreak.dcm",
    b'quote"back\\slash.dcm',
    b"\x1b[31mred.dcm",
    b"\xc3\xa9.dcm",
]


def test_names_need_not_be_text(tree: Path, out: Path, tmp_path: Path) -> None:
    below = os.fsencode(tree) + b"/\xe9t\xe9"
    os.mkdir(below)
    for number, name in enumerate(ODD_NAMES):
        with open(below + b"/" + name, "wb") as file:
            file.write(image(number).encode())
        with open(below + b"/bad " + name, "wb") as file:
            file.write(image(number).encode()[:-10])
    report = tmp_path / "report"
    ran = run(tree, out, "--to", "rle", "--json", "--report", report)
    assert ran.status == 9
    assert sorted(os.listdir(os.fsencode(out) + b"/\xe9t\xe9")) == sorted(ODD_NAMES)
    assert report.read_bytes() == ran.out.encode()
    told = records(report.read_bytes())
    converted = {os.path.basename(os.fsencode(r["source"])) for r in told if r["status"] == "converted"}
    failed = {os.path.basename(os.fsencode(r["source"])) for r in told if r["status"] == "failed"}
    assert (converted, failed) == (set(ODD_NAMES), {b"bad " + name for name in ODD_NAMES})
    for record in told:
        assert os.path.basename(os.fsencode(record["destination"])) == os.path.basename(os.fsencode(record["source"]))
    # One line for each that failed, none of them torn or able to move the cursor.
    lines = ran.err.splitlines()
    assert len([line for line in lines if "bad " in line]) == len(ODD_NAMES)
    assert all(line.startswith("dcmtx: ") and line.isprintable() for line in lines)


def test_a_dicomdir_is_skipped_with_a_note_whatever_its_name(tree: Path, out: Path) -> None:
    plant(tree, ["a.dcm"])
    directory = dicom.file([dicom.sequence(0x00041220, [])], sop_class="1.2.840.10008.1.3.10")
    (tree / "DICOMDIR").write_bytes(directory)
    (tree / "index").write_bytes(directory)
    ran = run(tree, out, "--to", "explicit", "--json")
    assert ran.status == 0
    assert names(out) == {"a.dcm"}
    told = by_source(records(ran.out))
    for name in ("DICOMDIR", "index"):
        assert told[name]["status"] == "skipped"
        assert f"{tree / name}: skipped: a DICOMDIR" in ran.err
        assert "DICOMDIR" in told[name]["notes"][0]["text"]


def test_an_empty_tree_is_nothing_to_do(tree: Path, out: Path) -> None:
    (tree / "empty" / "emptier").mkdir(parents=True)
    ran = run(tree, out, "--to", "rle")
    assert (ran.status, ran.out, summary(ran.err)) == (0, "", "0 files: nothing")
    assert names(out) == set()


class Torn:
    """A directory whose medium fails behind its first entry."""

    def __init__(self, entries: Any) -> None:
        self._entries = entries
        self._left = 1

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> os.DirEntry[str]:
        if not self._left:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        self._left -= 1
        entry: os.DirEntry[str] = next(self._entries)
        return entry

    def close(self) -> None:
        self._entries.close()


def test_a_directory_that_cannot_be_read_to_its_end_is_a_fault(
    tree: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(tree, ["torn/a", "torn/b", "whole/c", "whole/d"])
    scandir = os.scandir
    torn = os.fspath(tree / "torn")
    monkeypatch.setattr(os, "scandir", lambda path: Torn(scandir(path)) if path == torn else scandir(path))
    found = list(walk(plan_roots([os.fspath(tree)], os.fspath(out)), os.fspath(out)))
    assert {os.path.basename(one.src) for one in found if one.fault is None} > {"c", "d"}
    (fault,) = [one for one in found if one.fault is not None]
    assert (fault.src, fault.fault.status) == (torn, 3)


def test_files_of_a_directory_are_taken_in_the_order_of_their_names(
    tree: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = ["b", "a", "B", "10", "9", "z/2", "z/1", "c/y/1", "c/x/1", "c/w", "é"]
    plant(tree, there)
    scandir = os.scandir

    class Backwards:
        """Whatever the file system's order is, it is another one."""

        def __init__(self, path: str) -> None:
            with scandir(path) as entries:
                self._entries = sorted(entries, key=lambda entry: entry.name, reverse=True)

        def __iter__(self) -> Iterator[os.DirEntry[str]]:
            return iter(self._entries)

        def close(self) -> None:
            pass

    wanted = ["10", "9", "B", "a", "b", "é", "c/w", "c/x/1", "c/y/1", "z/1", "z/2"]
    for listed in (scandir, Backwards):
        monkeypatch.setattr(os, "scandir", listed)
        found = walk(plan_roots([os.fspath(tree)], os.fspath(out)), os.fspath(out))
        assert [os.path.relpath(one.src, tree) for one in found] == wanted


def test_directories_of_one_name_are_walked_together_in_the_order_given(tmp_path: Path, out: Path) -> None:
    plant(tmp_path, ["2/d/a", "2/d/s/x", "1/d/a", "1/d/b", "1/d/s/x", "3/e/a", "3/d/r/y"])
    sources = [os.fspath(tmp_path / name) for name in ("2/d", "3/e", "1/d", "3/d")]
    found = list(walk(plan_roots(sources, os.fspath(out)), os.fspath(out)))
    assert [os.path.relpath(one.src, tmp_path) for one in found] == [
        "2/d/a", "1/d/a", "1/d/b", "3/d/r/y", "2/d/s/x", "1/d/s/x", "3/e/a",
    ]  # fmt: skip
    assert [os.path.relpath(one.src, tmp_path) for one in found if one.fault] == ["1/d/a", "1/d/s/x"]


@pytest.mark.parametrize("syntax", [dicom.EXPLICIT, dicom.IMPLICIT, dicom.BIG_ENDIAN])
def test_files_that_name_no_syntax_meet_like_all_others(syntax: str, tmp_path: Path, out: Path) -> None:
    for where in ("1/d", "2/d"):
        (tmp_path / where).mkdir(parents=True)
        (tmp_path / where / "x").write_bytes(b"".join(image(syntax=syntax).elements().values()))
    sources = [os.fspath(tmp_path / where) for where in ("1/d", "2/d")]
    found = list(walk(plan_roots(sources, os.fspath(out)), os.fspath(out)))
    assert [one.fault and one.fault.code for one in found] == [None, "E_CLASH"]


def test_of_directories_that_are_walked_together_only_files_are_opened(
    tmp_path: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(tmp_path, ["1/d/x", "2/d/x", "3/d/pipe"])
    for number in (1, 2):
        os.mkfifo(tmp_path / str(number) / "d" / "pipe")
    opened: list[str] = []
    is_dicom = tree_module.is_dicom
    monkeypatch.setattr(tree_module, "is_dicom", lambda path: opened.append(path) or is_dicom(path))
    sources = [os.fspath(tmp_path / str(number) / "d") for number in (1, 2, 3)]
    found = list(walk(plan_roots(sources, os.fspath(out)), os.fspath(out)))
    told = {os.path.relpath(one.src, tmp_path): one.skip or (one.fault and one.fault.code) for one in found}
    assert told == {
        "1/d/pipe": "not a regular file", "2/d/pipe": "not a regular file", "3/d/pipe": None,
        "1/d/x": None, "2/d/x": "E_CLASH",
    }  # fmt: skip
    assert {os.path.relpath(path, tmp_path) for path in opened} == {"1/d/x", "2/d/x", "3/d/pipe"}


@pytest.mark.parametrize("names", ["all of one name", "each of its own"])
def test_what_many_named_directories_take_is_in_proportion(
    names: str, tmp_path: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counted are the calls of the system that look at files, for one directory and for many."""
    calls = 0

    def count(function: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any, **options: Any) -> Any:
            nonlocal calls
            calls += 1
            return function(*arguments, **options)

        return counted

    for name in ("stat", "lstat", "scandir", "open", "readlink"):
        monkeypatch.setattr(os, name, count(getattr(os, name)))
    taken: list[float] = []
    for many in (20, 400):
        sources = [tmp_path / f"{many}/{number}/{'d' if 'one' in names else number}" for number in range(many)]
        for number, source in enumerate(sources):
            # One that all have, and one that each has alone.
            plant(source, ["same", f"own {number}"])
        calls = 0
        found = list(walk(plan_roots([os.fspath(source) for source in sources], os.fspath(out)), os.fspath(out)))
        assert len(found) == 2 * many
        assert sum(one.fault is not None for one in found) == (many - 1 if "one" in names else 0)
        taken.append(calls / many)
    assert taken[1] <= taken[0] + 1


# --- where it goes ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("there", [True, False], ids=["that is there already", "that is made on the way"])
def test_an_output_inside_the_input_is_not_converted_itself(there: bool, tree: Path) -> None:
    plant(tree, [*numbered(20), "sub/a.dcm"])
    inside = tree / "sub" / "out"
    if there:
        inside.mkdir()
    assert summary(run(tree, inside, "--to", "rle").err) == "21 files: 21 converted"
    assert names(inside) == {*numbered(20), "sub/a.dcm"}
    # And once more, now that there is something in it.
    assert summary(run(tree, inside, "--to", "rle").err) == "21 files: 21 converted"
    assert names(inside) == {*numbered(20), "sub/a.dcm"}


def test_an_output_inside_one_of_several_inputs_is_not_converted_itself(tmp_path: Path) -> None:
    plant(tmp_path, ["a/x", "b/y", "b/out/old"])
    assert run(tmp_path / "a", tmp_path / "b", tmp_path / "b" / "out", "--to", "rle").status == 0
    assert names(tmp_path / "b" / "out") == {"old", "a/x", "b/y"}


def test_a_directory_may_be_converted_in_place(tree: Path) -> None:
    there = numbered(12)
    plant(tree, there)
    assert summary(run(tree, tree, "--to", "rle").err) == "12 files: 12 converted"
    before = contents(tree)
    assert summary(run(tree, tree, "--to", "rle").err) == "12 files: 12 unchanged"
    assert contents(tree) == before
    for number, name in enumerate(there):
        assert_converted(tree / name, number)


def test_several_sources_go_under_their_own_names(tmp_path: Path, out: Path) -> None:
    plant(tmp_path, ["one.dcm", "elsewhere/two.dcm", "studies/1/a", "studies/1/b/c", "studies/2/a"])
    ran = run(
        "one.dcm", "elsewhere/two.dcm", "studies/1/", "studies/./2", out, "--to", "rle", cwd=tmp_path
    )  # fmt: skip
    assert (ran.status, summary(ran.err)) == (0, "5 files: 5 converted")
    assert names(out) == {"one.dcm", "two.dcm", "1/a", "1/b/c", "2/a"}
    for number, name in enumerate(["one.dcm", "two.dcm", "1/a", "1/b/c", "2/a"]):
        assert_converted(out / name, number)


def test_several_files_may_be_converted_in_place(tmp_path: Path) -> None:
    there = plant(tmp_path, ["a", "b"])
    (tmp_path / "link").symlink_to(tmp_path)
    for into in (tmp_path, tmp_path / "link"):
        found = list(walk(plan_roots([os.fspath(path) for path in there], os.fspath(into)), os.fspath(into)))
        assert [one.fault for one in found] == [None, None]


def test_of_two_files_with_one_destination_the_second_fails(tmp_path: Path, out: Path) -> None:
    one, other = plant(tmp_path, ["a/x.dcm", "b/x.dcm"])
    ran = run(one, other, out, "--to", "rle", "--json")
    assert ran.status == 9
    assert_converted(out / "x.dcm", 0)
    first, second = sorted(records(ran.out), key=lambda record: record["source"])
    assert (first["source"], first["status"]) == (str(one), "converted")
    assert (second["source"], second["status"], second["error"]["status"]) == (str(other), "failed", 8)
    assert f"dcmtx: {other}: " in ran.err


def test_a_named_file_that_is_not_dicom_takes_no_place(tmp_path: Path, out: Path) -> None:
    plant(tmp_path, ["b/x", "c/x"])
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x").write_text("no DICOM here\n")
    sources = [os.fspath(tmp_path / where / "x") for where in "abc"]
    found = list(walk(plan_roots(sources, os.fspath(out)), os.fspath(out)))
    # The first fails by itself.
    assert [one.fault and one.fault.code for one in found] == [None, None, "E_CLASH"]


def test_one_file_named_twice_is_converted_once(tmp_path: Path, out: Path) -> None:
    (one,) = plant(tmp_path, ["x.dcm"])
    ran = run(one, one, out, "--to", "rle")
    assert (ran.status, summary(ran.err)) == (9, "2 files: 1 converted, 1 failed")
    assert_converted(out / "x.dcm", 0)


def test_where_two_directories_of_one_name_meet_only_what_both_have_fails(tmp_path: Path, out: Path) -> None:
    plant(tmp_path, ["1/d/both", "1/d/s/both", "1/d/first", "2/d/both", "2/d/s/both", "2/d/second"])
    ran = run(tmp_path / "1" / "d", tmp_path / "2" / "d", out, "--to", "rle", "--json")
    assert ran.status == 9
    assert names(out) == {"d/both", "d/s/both", "d/first", "d/second"}
    failed = {record["source"] for record in records(ran.out) if record["status"] == "failed"}
    assert failed == {str(tmp_path / "2/d/both"), str(tmp_path / "2/d/s/both")}
    for number, name in {0: "both", 1: "s/both", 2: "first", 5: "second"}.items():
        assert_converted(out / "d" / name, number)


def test_files_that_are_not_dicom_meet_in_peace(tmp_path: Path, out: Path) -> None:
    plant(tmp_path, ["1/d/a", "2/d/b", "2/d/notes"])
    for name in ("1/d/README", "2/d/README", "1/d/notes"):
        (tmp_path / name).write_text("nothing to convert\n")
    ran = run(tmp_path / "1" / "d", tmp_path / "2" / "d", out, "--to", "rle")
    assert (ran.status, summary(ran.err)) == (0, "6 files: 3 converted, 3 skipped (not DICOM)")
    assert names(out) == {"d/a", "d/b", "d/notes"}


def test_for_one_file_no_directory_is_made_with_the_options_of_batches_either(tree: Path, out: Path) -> None:
    (source,) = plant(tree, ["a"])
    ran = run(source, out / "a", "--to", "rle", "--timeout", "60")
    assert (ran.status, out.exists()) == (8, False)


def test_a_file_where_a_directory_is_needed_fails_by_itself(tree: Path, out: Path) -> None:
    plant(tree, ["a/x", "b/y"])
    out.mkdir()
    (out / "a").write_bytes(b"in the way")
    ran = run(tree, out, "--to", "rle", "--json")
    assert ran.status == 9
    told = by_source(records(ran.out))
    assert (told["x"]["error"]["status"], told["y"]["status"]) == (8, "converted")
    assert (out / "a").read_bytes() == b"in the way"


USAGE = {
    "a batch into a file": (["in", "in/a.dcm"], "is a file"),
    "several files into a file": (["in/a.dcm", "in/b.dcm", "in/a.dcm"], "is a file"),
    "a batch to standard output": (["in", "-"], "standard"),
    "standard input among several files": (["-", "in/a.dcm", "out"], "standard"),
    "records and a file both to standard output": (["in/a.dcm", "-", "--json"], "--report"),
    "a report into a directory": (["in", "out", "--report", "in"], "report"),
    "no worker": (["in", "out", "-j", "0"], "-j"),
    "no time": (["in", "out", "--timeout", "0"], "--timeout"),
    "no memory": (["in", "out", "--memory", "0M"], "memory"),
}


@pytest.mark.parametrize(("arguments", "says"), USAGE.values(), ids=USAGE.keys())
def test_usage_errors_touch_nothing(
    arguments: list[str],
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    fails: Callable[..., str],
) -> None:
    plant(tmp_path / "in", ["a.dcm", "b.dcm"])
    monkeypatch.chdir(tmp_path)
    assert says in fails(2, *arguments, "--to", "rle")


# --- what is told ----------------------------------------------------------------------------------------------


def documented_fields() -> set[str]:
    """Return the fields of a record, as their man page has them."""
    section = (ROOT / "man" / "dcmtx-reports.7").read_text().partition(".SH FIELDS")[2].partition(".SH")[0]
    titles = re.findall(r"^\.TP\n(.*)$", section, re.MULTILINE)
    return set(re.findall(r"\\fB(\w+)\\fR", " ".join(titles)))


WORDS = np.arange(15, dtype=np.uint16).reshape(3, 5) * 4001
BYTES = (np.arange(45, dtype=np.uint32) * 40503 % 251).astype(np.uint8)


class Given(NamedTuple):
    """A source, the frames and digest that its record must have, and what decodes it."""

    image: dicom.Image
    frames: int
    digest: bytes
    decoder: str = "dcmtx"


def grey(syntax: str, pixels: bytes | list[bytes], **more: Any) -> dicom.Image:
    return dicom.Image(pixels, rows=3, columns=5, syntax=syntax, **more)


COLOUR = BYTES.reshape(3, 5, 3)
GIVEN: dict[str, Given] = {
    "explicit": Given(grey(dicom.EXPLICIT, WORDS.tobytes()), 1, WORDS.tobytes()),
    "implicit": Given(grey(dicom.IMPLICIT, WORDS.tobytes()), 1, WORDS.tobytes()),
    "deflated": Given(grey(dicom.DEFLATED, WORDS.tobytes()), 1, WORDS.tobytes()),
    "big endian": Given(grey(dicom.BIG_ENDIAN, WORDS.tobytes()), 1, WORDS.tobytes()),
    "odd bytes": Given(
        grey(dicom.EXPLICIT, BYTES[:15].tobytes() + b"\0", allocated=8, stored=8), 1, BYTES[:15].tobytes()
    ),
    "odd frames": Given(
        grey(dicom.EXPLICIT, BYTES.tobytes() + b"\0", allocated=8, stored=8, frames=3), 3, BYTES.tobytes()
    ),
    "colour by plane": Given(
        grey(
            dicom.EXPLICIT,
            np.moveaxis(COLOUR, 2, 0).tobytes() + b"\0",
            allocated=8,
            stored=8,
            samples=3,
            photometric="RGB",
            planar=1,
        ),
        1,
        COLOUR.tobytes(),
    ),
    "rle": Given(
        grey(dicom.RLE, [images.annex_g(images.Format("MONOCHROME2", 16, 16), WORDS)]),
        1,
        WORDS.tobytes(),
        "imagecodecs",
    ),
}


def test_a_record_says_what_was_done(tree: Path, out: Path, tmp_path: Path) -> None:
    for number, (name, given) in enumerate(GIVEN.items()):
        (tree / name).write_bytes(replace(given.image, sop_instance=f"1.2.3.{number}").encode())
    report = tmp_path / "report.jsonl"
    ran = run(tree, out, "--to", "jpegls", "--json", "--report", report)
    assert (ran.status, summary(ran.err)) == (0, "8 files: 8 converted")
    assert report.read_text() == ran.out
    told = by_source(records(ran.out))
    assert set(told) == set(GIVEN)
    for number, (name, given) in enumerate(GIVEN.items()):
        record = told[name]
        assert set(record) == documented_fields()
        ratio, seconds = record.pop("ratio"), record.pop("seconds")
        written = dicom.walk((out / name).read_bytes())
        pixels = written.elements[dicom.PIXEL_DATA].fragments
        assert pixels is not None
        # The fragments may be padded, which the ratio leaves out.
        assert len(given.digest) / sum(map(len, pixels[1:])) <= ratio
        assert ratio <= len(given.digest) / (sum(map(len, pixels[1:])) - given.frames)
        assert seconds > 0
        assert sum(record["verified"].values()) == given.frames
        assert record == {
            "version": 2,
            "source": str(tree / name),
            "destination": str(out / name),
            "status": "converted",
            "syntax_in": given.image.syntax,
            "syntax_out": dicom.JPEGLS,
            "decoder": given.decoder,
            "encoder": "imagecodecs",
            "frames": given.frames,
            "bytes_in": (tree / name).stat().st_size,
            "bytes_out": (out / name).stat().st_size,
            "psnr": None,
            "pixels_sha256": sha256(given.digest),
            "pixels_sha256_out": sha256(given.digest),
            "verified": record["verified"],
            "rule": None,
            "sop_instance_in": f"1.2.3.{number}",
            "sop_instance_out": f"1.2.3.{number}",
            "notes": [],
            "error": None,
            "plan": None,
        }


def test_a_record_of_loss_has_its_measure_and_the_new_sop_instance_uid(tree: Path, out: Path) -> None:
    random = np.random.default_rng(1)
    pixels = random.integers(0, 255, (64, 64), np.uint8)
    (tree / "a").write_bytes(dicom.Image(pixels.tobytes(), rows=64, columns=64, allocated=8, stored=8).encode())
    ran = run(tree, out, "--to", "jpegls", "--lossy", "--near", "2", "--report", "/dev/stdout")
    (record,) = records(ran.out)
    written = (out / "a").read_bytes()
    error = oracle.decoded(written, "imagecodecs")[0].astype(float) - pixels
    # The peak is what Bits Stored can hold.
    assert record["psnr"] == pytest.approx(10 * np.log10(255**2 / np.square(error).mean()), abs=0.5)
    assert record["sop_instance_in"] == "1.2.3.4"
    assert record["sop_instance_out"] == dicom.walk(written).elements[0x00080018].text != "1.2.3.4"
    assert (record["syntax_out"], record["pixels_sha256"]) == (dicom.JPEGLS_NEAR, sha256(pixels.tobytes()))


# A file of every kind: its bytes, and the status, error code and exit status that its record must have.
CORRUPT = image(3).encode()[:-20]
SIGNED = image(4, behind=[dicom.sequence(0xFFFAFFFA, [dicom.element(0x04000005, "US", 1)])])
VIDEO = image(5, syntax="1.2.840.10008.1.2.4.102")
KINDS: dict[str, tuple[bytes, str, int | None]] = {
    "converted": (image(1).encode(), "converted", None),
    "copied": (grey(dicom.RLE, GIVEN["rle"].image.pixels).encode(), "copied", None),
    "text": (b"no DICOM here\n" * 20, "skipped", None),
    "truncated": (CORRUPT, "failed", 3),
    "video": (replace(VIDEO, pixels=[b"\0\0\1\xb3" * 9]).encode(), "failed", 4),
    "signed": (SIGNED.encode(), "failed", 5),
    "blocked": (image(6).encode(), "failed", 8),
}


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Ran]:
    """A batch with a file of every kind: its directory, and what it left."""
    directory = tmp_path_factory.mktemp("mixed")
    (directory / "in").mkdir()
    for name, (data, _, _) in KINDS.items():
        (directory / "in" / name).write_bytes(data)
    (directory / "out" / "blocked").mkdir(parents=True)
    ran = run("in", "out", "--to", "rle", "--json", "--report", "report", cwd=directory)
    assert (directory / "report").read_text() == ran.out
    return directory, ran


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_of_every_kind_has_one_record(kind: str, mixed: tuple[Path, Ran]) -> None:
    record = by_source(records(mixed[1].out))[kind]
    _, status, exit_status = KINDS[kind]
    assert set(record) == documented_fields()
    assert (record["version"], record["source"], record["destination"]) == (2, f"in/{kind}", f"out/{kind}")
    assert record["status"] == status
    assert isinstance(record["notes"], list)
    if exit_status is None:
        assert record["error"] is None
    else:
        assert record["error"]["status"] == exit_status
        assert re.fullmatch(r"E_[A-Z_]+", record["error"]["code"])
        assert f"dcmtx: {'out' if exit_status == 8 else 'in'}/{kind}: " in mixed[1].err
        assert record["error"]["message"] in mixed[1].err
        assert set(record["error"]) == {"code", "status", "message", "what", "advice", "frame"}


def test_a_batch_of_every_kind_is_summed_up(mixed: tuple[Path, Ran]) -> None:
    directory, ran = mixed
    assert ran.status == 9
    assert names(directory / "out") == {"converted", "copied"}
    assert (directory / "out" / "copied").read_bytes() == (directory / "in" / "copied").read_bytes()
    codes = {kind: record["error"]["code"] for kind, record in by_source(records(ran.out)).items() if record["error"]}
    refused = sorted(f"1 refused ({codes[kind]})" for kind in ("video", "signed"))
    assert summary(ran.err) == ", ".join(
        ["7 files: 1 converted", "1 copied", "1 skipped (not DICOM)", *refused, "2 failed"]
    )


REPORTS = {"--report FILE": (["--report", "/dev/full"], {}), "--json": (["--json"], {"stdout": "/dev/full"})}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
@pytest.mark.parametrize(("arguments", "streams"), REPORTS.values(), ids=REPORTS.keys())
def test_a_report_that_cannot_be_written_is_told_in_a_line(
    arguments: list[str], streams: dict[str, str], tree: Path, out: Path
) -> None:
    plant(tree, numbered(5))
    with ExitStack() as stack:
        options = {name: stack.enter_context(open(path, "wb")) for name, path in streams.items()}
        ran = run(tree, out, "--to", "rle", *arguments, **options)
    assert ran.status == 8
    assert len(re.findall(r"^dcmtx: .*No space left on device", ran.err, re.MULTILINE)) == 1
    assert all(line.startswith("dcmtx: ") for line in ran.err.splitlines())
    assert parts(out) == []


def test_a_reader_of_records_who_leaves_ends_the_batch(tree: Path, out: Path) -> None:
    plant(tree, numbered(400))
    with Batch(tree, out, "--to", "rle", "--json") as batch:
        assert batch.process.stdout is not None
        assert batch.process.stdout.readline().endswith(b"\n")
        batch.process.stdout.close()
        batch.process.stdout = None
        ran = batch.end()
    assert ran.status == 8
    assert "Traceback" not in ran.err
    assert len(names(out)) < 400
    assert parts(out) == []


def test_records_can_be_read_while_the_batch_goes_on(tree: Path, out: Path, tmp_path: Path, stage: Stage) -> None:
    for number in range(30):
        (tree / f"{number:02}").write_bytes(fake_codecs.image(Mood.HELD, number).encode())
    report = tmp_path / "report"
    options = {"program": (fake_codecs.__file__,), "env": stage.environment()}
    with Batch(tree, out, "--to", "rle", "--report", report, **options) as batch:
        # It grows by and by, not by the buffer: whoever reads finds all that is done, in whole lines.
        for done in range(1, 30):
            stage.admit(1)
            batch.wait_for(lambda done=done: report.exists() and len(records(report.read_bytes())) == done)
        stage.admit()
        assert batch.end().status == 0
    assert len(records(report.read_bytes())) == 30


NO_PIXELS = dicom.file([dicom.element(0x00080016, "UI", "1.2.840.10008.5.1.4.1.1.88.11")])
EXIT: dict[str, tuple[dict[str, bytes], list[str], int]] = {
    "nothing but skipped files: 0": ({"a": KINDS["text"][0], "b": NO_PIXELS}, ["--no-pixels", "skip"], 0),
    "a directory of a single file that failed: 9": ({"a": CORRUPT}, [], 9),
    "one that is refused among many: 9": ({"a": KINDS["converted"][0], "b": SIGNED.encode()}, [], 9),
    "a refusal that falls back is none: 0": ({"a": SIGNED.encode()}, ["--fallback", "implicit"], 0),
}


@pytest.mark.parametrize(("files", "options", "status"), EXIT.values(), ids=EXIT.keys())
def test_the_exit_status_of_a_batch(
    files: dict[str, bytes], options: list[str], status: int, tree: Path, out: Path
) -> None:
    for name, data in files.items():
        (tree / name).write_bytes(data)
    assert run(tree, out, "--to", "rle", *options).status == status


def test_files_that_exist_are_kept_under_no_clobber(tree: Path, out: Path) -> None:
    plant(tree, ["a", "b"])
    out.mkdir()
    (out / "a").write_bytes(b"here before")
    ran = run(tree, out, "--to", "rle", "-n", "--json")
    assert ran.status == 9
    assert by_source(records(ran.out))["a"]["error"]["status"] == 8
    assert (out / "a").read_bytes() == b"here before"
    assert_converted(out / "b", 1)


def test_fail_fast_stops_at_the_first_failure(tree: Path, out: Path) -> None:
    for name in numbered(200):
        (tree / name).parent.mkdir(exist_ok=True)
        (tree / name).write_bytes(CORRUPT)
    ran = run(tree, out, "--to", "rle", "--fail-fast", "--json", "-j", "2")
    assert ran.status == 9
    # What else was under way may have come to its end too.
    failed = len(records(ran.out))
    assert 1 <= failed <= 6
    assert summary(ran.err) == f"{failed} file{'s' * (failed != 1)}: {failed} failed"


def test_a_dry_run_plans_every_file_and_writes_none(tree: Path, out: Path) -> None:
    plant(tree, numbered(5))
    before = contents(tree.parent)
    ran = run(tree, out, "--to", "rle", "--dry-run", "--json")
    assert (ran.status, summary(ran.err)) == (0, "5 files: 5 planned")
    assert all(record["plan"]["steps"] for record in records(ran.out))
    assert contents(tree.parent) == before


def test_a_dry_run_leaves_even_what_a_killed_run_left(tree: Path, out: Path) -> None:
    plant(tree, ["a"])
    out.mkdir()
    (out / ".b.dcmtx-part").write_bytes(b"left over")
    before = contents(out)
    assert run(tree, out, "--to", "rle", "--dry-run").status == 0
    assert contents(out) == before
    # What is no dry run takes it away.
    assert run(tree, out, "--to", "rle").status == 0
    assert names(out) == {"a"}


def test_a_file_that_was_named_is_to_be_converted_whatever_it_is(tmp_path: Path, out: Path) -> None:
    (image_,) = plant(tmp_path, ["a"])
    (tmp_path / "text").write_bytes(b"no DICOM here\n" * 20)
    (tmp_path / "empty").touch()
    ran = run(image_, tmp_path / "text", tmp_path / "empty", out, "--to", "rle", "--json")
    assert (ran.status, summary(ran.err)) == (9, "3 files: 1 converted, 2 failed")
    told = by_source(records(ran.out))
    assert {name: record["error"] and record["error"]["code"] for name, record in told.items()} == {
        "a": None, "text": "E_NOT_DICOM", "empty": "E_EMPTY",
    }  # fmt: skip


def test_the_summary_has_the_sizes_before_and_after(tree: Path, out: Path) -> None:
    flat = dicom.Image(bytes(2 * 900 * 900), rows=900, columns=900)
    for number in range(3):
        (tree / str(number)).write_bytes(replace(flat, sop_instance=f"1.2.{number}").encode())
    (tree / "text").write_bytes(bytes(1_000_000))
    err = run(tree, out, "--to", "rle").err
    before = sum((tree / str(number)).stat().st_size for number in range(3))
    after = sum(path.stat().st_size for path in out.iterdir())
    found = re.search(
        r"^dcmtx: ([0-9.]+) MB became ([0-9.]+) (kB|MB) \(ratio ([0-9.]+)\), [0-9.]+ .B/s$", err, re.MULTILINE
    )
    assert found is not None, err
    unit = {"kB": 1e3, "MB": 1e6}[found[3]]
    assert float(found[1]) == pytest.approx(before / 1e6, abs=0.06)
    assert float(found[2]) == pytest.approx(after / unit, abs=0.06)
    assert float(found[4]) == pytest.approx(before / after, abs=0.006)


def test_only_what_was_converted_counts_in_the_sizes(tree: Path, out: Path) -> None:
    (source,) = plant(tree, ["a"])
    outcome = transcode(source, tree / "b", to="rle", dry_run=True)
    summed = Summary()
    for status in Status:
        summed.add(Done("a", "b", outcome.replace(status=status, bytes_in=100, bytes_out=50)))
    assert (summed.files, summed.bytes_in, summed.bytes_out, summed.status) == (len(Status), 100, 50, 0)


def test_what_is_in_place_is_told_of_though_nobody_reads_the_rest(tree: Path, out: Path, tmp_path: Path) -> None:
    """Records go down a pipe whose reader has gone: report and summary have every file that is there."""
    plant(tree, numbered(40))
    report = tmp_path / "report.jsonl"
    reader, writer = os.pipe()
    os.close(reader)
    line = [sys.executable, "-m", "dcmtx", tree, out, "--to", "rle", "--json", "--report", report, "-j", "2"]
    ran = subprocess.run(line, stdout=writer, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    os.close(writer)
    assert ran.returncode == 8
    made = {os.fspath(path) for path in out.rglob("*") if path.is_file()}
    told = [record for record in records(report.read_text()) if record["status"] == "converted"]
    assert {record["destination"] for record in told} == made
    assert f": {len(made)} converted" in ran.stderr
    assert ran.stderr.endswith("dcmtx: standard output cannot be written: Broken pipe\n")


# --- what is shown ---------------------------------------------------------------------------------------------

SHOWN = {
    "nothing but the summary": ([], r"dcmtx: 12 files in .*: 12 converted\ndcmtx: .*B/s\n"),
    "nothing at all with --quiet": (["--quiet"], ""),
    "a line for each file with --verbose": (["-v"], r"(dcmtx: [^\n]*: .* to RLE[^\n]*\n){12}dcmtx: 12 files.*\n.*\n"),
}


@pytest.mark.parametrize(("options", "says"), SHOWN.values(), ids=SHOWN.keys())
def test_without_a_terminal_there_is(options: list[str], says: str, tree: Path, out: Path) -> None:
    plant(tree, numbered(12))
    ran = run(tree, out, "--to", "rle", *options)
    assert (ran.status, ran.out) == (0, "")
    assert re.fullmatch(says, ran.err, re.IGNORECASE), ran.err


def test_a_note_that_all_files_have_is_not_told_for_each(tree: Path, out: Path) -> None:
    for number in range(30):
        (tree / str(number)).write_bytes(NO_PIXELS)
    ran = run(tree, out, "--to", "rle", "--json")
    assert ran.status == 0
    assert len(ran.err.splitlines()) < 8
    assert all(record["notes"] for record in records(ran.out))


def on_terminal(*arguments: str | Path) -> tuple[int, str, str]:
    """Run a batch whose standard error is a terminal; return status, standard output, and what the terminal got."""
    with Terminal() as terminal, Batch(*arguments, **terminal.options) as batch:
        terminal.listen()
        ran = batch.end()
    return ran.status, ran.out, terminal.text


def test_on_a_terminal_progress_is_shown_and_taken_away(tree: Path, out: Path) -> None:
    plant(tree, numbered(150))
    (tree / "0" / "bad").write_bytes(CORRUPT)
    status, output, shown = on_terminal(tree, out, "--to", "rle")
    assert (status, output) == (9, "")
    assert "\x1b[" in shown
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown)
    assert re.search(r"\d+/151 files", plain), "files done, and how many there are"
    assert re.search(r"\d [kM]B.*\d [kM]B/s", plain), "bytes and their rate"
    assert re.search(r"\d:\d\d:\d\d", plain), "the time that is left"
    assert "1 failed" in plain, "failures so far"
    # The cursor is there again, and what stays is the summary and the error.
    assert shown.rindex("\x1b[?25h") > shown.rindex("\x1b[?25l")
    stays = plain.replace("\r", "").splitlines()
    assert sum("dcmtx: " in line for line in stays) == 3


def test_on_a_terminal_quiet_shows_nothing(tree: Path, out: Path) -> None:
    plant(tree, numbered(20))
    assert on_terminal(tree, out, "--to", "rle", "--quiet") == (0, "", "")


def test_on_a_terminal_errors_and_notes_stand_above_the_bar_each_in_one_piece(tree: Path, out: Path) -> None:
    plant(tree, numbered(40))
    faults = [f"bad {number} {'x' * 150}" for number in range(5)]
    for name in faults:
        (tree / "0" / name).write_bytes(CORRUPT)
    (tree / "1" / "note").write_bytes(NO_PIXELS)
    status, output, shown = on_terminal(tree, out, "--to", "rle", "--json")
    assert status == 9
    # Records go elsewhere, whatever the terminal shows.
    assert len(records(output)) == 46
    # Every line begins where a line does, or where the bar was erased, and ends before anything else is written.
    said = re.findall(r"(?:^|(?<=\n)|\x1b\[2K)(dcmtx: [^\x1b\r\n]*)\r\n", shown)
    assert len(said) == shown.count("dcmtx: ") == 5 + 1 + 2
    for name in faults:
        assert sum(f"{name}: Pixel Data" in line and line.endswith("truncated") for line in said) == 1


@pytest.mark.parametrize("arguments", [["--json"], ["--dry-run"], ["--report", "/dev/stdout"]], ids=lambda a: a[0])
def test_where_lines_go_to_the_terminal_no_bar_stands_among_them(arguments: list[str], tree: Path, out: Path) -> None:
    plant(tree, numbered(20))
    with Terminal() as terminal:
        options = terminal.options | {"stdout": terminal.options["stderr"]}
        with Batch(tree, out, "--to", "rle", *arguments, **options) as batch:
            terminal.listen()
            assert batch.end().status == 0
    assert "\x1b" not in terminal.text
    assert terminal.text.count("0001.dcm") >= 1


# --- how many --------------------------------------------------------------------------------------------------


@need_proc
@pytest.mark.parametrize("jobs", [1, 3])
def test_never_more_workers_than_asked(jobs: int, tree: Path, out: Path, stage: Stage) -> None:
    plant(tree, numbered(60))
    for number in range(10):
        (tree / f"held-{number}").write_bytes(fake_codecs.image(Mood.HELD, number).encode())
    options = {"program": (fake_codecs.__file__,), "env": stage.environment()}
    with Batch(tree, out, "--to", "rle", "-j", str(jobs), **options) as batch:
        for held in range(0, 10, jobs):
            # All of them have work, and there is more of it: no other is started.
            batch.wait_for(lambda held=held: stage.counted("held") == min(held + jobs, 10))
            assert len(batch.workers()) == jobs
            stage.admit(jobs)
        assert batch.end().status == 0


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tree of 20,000 tiny files in a few directories, every fortieth of them an image."""
    directory = tmp_path_factory.mktemp("many")
    (directory / "text").write_bytes(b"no DICOM here\n" * 10)
    (directory / "image").write_bytes(image(1).encode())
    for number in range(20_000):
        where = directory / "in" / str(number % 7)
        where.mkdir(parents=True, exist_ok=True)
        os.link(directory / ("text" if number % 40 else "image"), where / f"{number:05}")
    return directory


class Instantly:
    """In the place of a pool: does nothing with a job, at once, and keeps nothing."""

    def __init__(self, *_: Any, **__: Any) -> None:
        self.submitted = 0
        self._task: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def submit(self, task: Any) -> None:
        self.submitted += 1
        self._task = task

    def results(self, **_: Any) -> Iterator[tuple[Any, Done]]:
        if self._task is not None:
            task, self._task = self._task, None
            yield task, Done(task.job.src, task.job.dst, skip="in a test")

    def wake(self) -> None:
        pass

    def stop(self) -> list[Any]:
        return []


def batch_options() -> Options:
    return Options(job("a", "b", to="rle"), 2)


def test_memory_does_not_depend_on_how_many_files_there_are(many: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dcmtx.pool.workers.Pool", Instantly)
    counted: list[int] = []
    peaks: list[int] = []
    # The first is to have everything loaded, which is counted in none of the others.
    for where in ("in/0", "in/0", "in"):
        summed = Summary()
        tracemalloc.start()
        try:
            for done in convert([os.fspath(many / where)], os.fspath(many / "out"), batch_options()):
                summed.add(done)
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
        counted.append(summed.files)
    assert counted == [2858, 2858, 20_000]
    # The names of one directory are known while those of the next are read.
    assert peaks[2] < 1.6 * peaks[1]


def test_files_are_taken_as_they_are_found(many: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pools: list[Instantly] = []
    monkeypatch.setattr("dcmtx.pool.workers.Pool", lambda *_, **__: pools.append(Instantly()) or pools[0])
    opened: list[str] = []
    scandir = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: opened.append(path) or scandir(path))
    with closing(convert([os.fspath(many / "in")], os.fspath(many / "out"), batch_options())) as results:
        for _ in range(10):
            next(results)
    assert pools[0].submitted <= 20
    assert len(opened) <= 2


@need_proc
def test_no_process_grows_with_the_number_of_files(many: Path, tmp_path: Path) -> None:
    samples: list[tuple[int, int, int]] = []
    with Batch(many / "in" / "0", many / "in" / "1", tmp_path / "out", "--to", "rle", "--json") as batch:
        assert batch.process.stdout is not None
        # It runs ahead of whoever reads by as much as a pipe holds, and waits then.
        for number, _ in enumerate(batch.process.stdout):
            if number % 50 == 0 and number < 5000:
                samples.append((number, resident(batch.process.pid), max(map(resident, batch.workers()))))
        ran = batch.end()
    assert ran.status == 0
    assert summary(ran.err) == "5715 files: 143 converted, 5572 skipped (not DICOM)"
    early = [sample for sample in samples if 500 < sample[0] < 1700]
    late = [sample for sample in samples if sample[0] > 4000]
    for which in (1, 2):
        grown = max(sample[which] for sample in late) - max(sample[which] for sample in early)
        # Kilobytes: what allocators do, and less than one for each of the files in between.
        assert grown < 3000, (which, grown)


def resident(pid: int) -> int:
    """Return the resident memory of a process in kilobytes, or 0 if it is gone."""
    with suppress(OSError):
        found = re.search(r"^VmRSS:\s*(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
        return int(found[1]) if found else 0
    return 0
