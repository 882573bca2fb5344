"""`--resume`: a batch that was interrupted or killed is carried on, and nothing is done twice."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path
from typing import Any

import dicom
import fake_codecs
import pytest
from batches import (
    PART,
    Batch,
    assert_converted,
    by_source,
    decoded,
    image,
    names,
    need_proc,
    numbered,
    parts,
    plant,
    records,
    run,
)
from conftest import Ran, contents
from fake_codecs import Mood, Stage

pytestmark = [need_proc, pytest.mark.timeout(300)]


def resume(
    tree: Path, out: Path, *options: str | Path, to: str = "rle", status: int = 0, **more: Any
) -> dict[str, str]:
    """Carry a batch on; return what became of each file, by its name."""
    ran = run(tree, out, "--to", to, "--resume", "--json", *options, **more)
    assert ran.status == status, ran
    return {name: record["status"] for name, record in by_source(records(ran.out)).items()}


# --- what is done is not done again ----------------------------------------------------------------------------


def test_what_was_done_is_left_alone(tree: Path, out: Path) -> None:
    there = numbered(9)
    plant(tree, there)
    (tree / "text").write_bytes(b"no DICOM here\n" * 20)
    assert set(resume(tree, out).values()) == {"converted", "skipped"}
    before = contents(out)
    ran = run(tree, out, "--to", "rle", "--resume", "--report", "/dev/stdout")
    assert ran.status == 0
    assert re.search(r": 9 skipped \(done before\), 1 skipped \(not DICOM\)\n", ran.err)
    told = by_source(records(ran.out))
    assert {record["status"] for record in told.values()} == {"skipped"}
    assert all(told[os.path.basename(name)]["notes"][0]["text"] == "done before" for name in there)
    assert contents(out) == before


def test_another_instance_under_that_name_is_not_what_was_asked_for(tree: Path, out: Path) -> None:
    plant(tree, ["a", "b"], start=5)
    run(tree, out, "--to", "rle")
    plant(tree, ["b"], start=7)
    assert resume(tree, out) == {"a": "skipped", "b": "converted"}
    assert_converted(out / "b", 7)
    # The same where nothing but a copy is made.
    run(out, tree / "copies", "--to", "rle")
    run(tree / "b", out / "a", "--to", "rle")
    assert resume(out, tree / "copies") == {"a": "copied", "b": "skipped"}


def test_only_what_is_missing_is_done(tree: Path, out: Path) -> None:
    there = numbered(9)
    plant(tree, there)
    assert run(tree, out, "--to", "rle").status == 0
    gone = there[::3]
    for name in gone:
        (out / name).unlink()
    before = contents(out)
    told = resume(tree, out)
    for number, name in enumerate(there):
        assert told[os.path.basename(name)] == ("converted" if name in gone else "skipped")
        assert_converted(out / name, number)
    after = contents(out)
    assert {name: after[name] for name in before if name.endswith(".dcm")} == {
        name: before[name] for name in before if name.endswith(".dcm")
    }


# --- what is there is what would be written --------------------------------------------------------------------

REDONE = {
    "of another transfer syntax": image(0, syntax=dicom.IMPLICIT).encode(),
    "that is empty": b"",
    "that is not DICOM": b"no DICOM here\n" * 20,
    "that ends in its meta information": image(0).encode()[:200],
}


@pytest.mark.parametrize("there", REDONE.values(), ids=REDONE.keys())
def test_a_destination_is_replaced(there: bytes, tree: Path, out: Path) -> None:
    plant(tree, ["a"])
    out.mkdir()
    (out / "a").write_bytes(there)
    assert resume(tree, out) == {"a": "converted"}
    assert_converted(out / "a", 0)


def test_a_destination_of_another_syntax_is_kept_under_no_clobber(tree: Path, out: Path) -> None:
    plant(tree, ["a", "b"])
    assert run(tree, out, "--to", "rle").status == 0
    (out / "a").write_bytes(image(9).encode())
    before = contents(out)
    assert resume(tree, out, "-n", status=9) == {"a": "failed", "b": "skipped"}
    assert contents(out) == before


def test_a_directory_at_the_destination_is_a_fault(tree: Path, out: Path) -> None:
    plant(tree, ["a", "b"])
    (out / "a").mkdir(parents=True)
    assert resume(tree, out, status=9) == {"a": "failed", "b": "converted"}


NO_PIXELS = dicom.file([dicom.element(0x00080016, "UI", "1.2.840.10008.5.1.4.1.1.88.11")])
SIGNED = image(4, behind=[dicom.sequence(0xFFFAFFFA, [dicom.element(0x04000005, "US", 1)])]).encode()
# What is written in another syntax than the one that was named: source, options, and that syntax.
OTHER: dict[str, tuple[bytes, list[str], str]] = {
    "without pixels": (NO_PIXELS, ["--to", "rle"], dicom.EXPLICIT),
    "by a fallback": (SIGNED, ["--to", "rle", "--fallback", "implicit"], dicom.IMPLICIT),
    "native as it was, with --raw": (image(1, syntax=dicom.IMPLICIT).encode(), ["--raw"], dicom.IMPLICIT),
    "of the lossy member": (image(1).encode(), ["--to", "jpegls", "--lossy"], dicom.JPEGLS_NEAR),
}


@pytest.mark.parametrize(("source", "options", "syntax"), OTHER.values(), ids=OTHER.keys())
def test_it_is_known_what_would_be_written(
    source: bytes, options: list[str], syntax: str, tree: Path, out: Path
) -> None:
    (tree / "a").write_bytes(source)
    assert run(tree, out, *options).status == 0
    assert dicom.walk((out / "a").read_bytes()).syntax == syntax
    before = contents(out)
    (record,) = records(run(tree, out, *options, "--resume", "--json").out)
    assert (record["status"], record["notes"][0]["text"]) == ("skipped", "done before")
    assert contents(out) == before


def test_another_target_is_another_batch(tree: Path, out: Path) -> None:
    plant(tree, ["a", "b"])
    assert run(tree, out, "--to", "rle").status == 0
    assert resume(tree, out, to="jpegls") == {"a": "converted", "b": "converted"}
    for number, name in enumerate("ab"):
        assert_converted(out / name, number, dicom.JPEGLS)


def test_what_failed_is_tried_again_and_told_again(tree: Path, out: Path) -> None:
    plant(tree, ["a", "b"])
    (tree / "b").write_bytes(image(1).encode()[:-9])
    assert resume(tree, out, status=9) == {"a": "converted", "b": "failed"}
    assert resume(tree, out, status=9) == {"a": "skipped", "b": "failed"}
    (tree / "b").write_bytes(image(1).encode())
    assert resume(tree, out) == {"a": "skipped", "b": "converted"}
    assert_converted(out / "b", 1)


@pytest.mark.parametrize("there", [True, False], ids=["that was done", "that was not"])
def test_a_single_file(there: bool, tree: Path, out: Path) -> None:
    (source,) = plant(tree, ["a"])
    if there:
        assert run(source, out, "--to", "rle").status == 0
    before = contents(tree.parent)
    assert run(source, out, "--to", "rle", "--resume") == Ran(0, "", "")
    assert_converted(out, 0)
    if there:
        assert contents(tree.parent) == before


# --- after an interruption -------------------------------------------------------------------------------------

MANY = 24
PROGRAM = (fake_codecs.__file__,)


@pytest.fixture
def held(tree: Path) -> Path:
    """A tree of files that wait to be admitted."""
    for number in range(MANY):
        path = tree / str(number % 3) / f"{number:03}"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(fake_codecs.image(Mood.HELD, number).encode())
    return tree


def done(directory: Path) -> dict[str, tuple[object, ...]]:
    """Return what is known of the files at their final names."""
    found = contents(directory) if directory.exists() else {}
    return {name: of for name, of in found.items() if (directory / name).is_file() and not name.endswith(PART)}


ENDINGS = {"interrupted": signal.SIGINT, "terminated": signal.SIGTERM, "killed": signal.SIGKILL}


@pytest.mark.parametrize("place", ["elsewhere", "in place"])
@pytest.mark.parametrize("ending", ENDINGS.values(), ids=ENDINGS.keys())
def test_a_batch_is_carried_on_until_all_is_done_after_it_was(
    ending: signal.Signals, place: str, held: Path, out: Path, stage: Stage
) -> None:
    out = held if place == "in place" else out
    sources = {name: (held / name).read_bytes() for name in names(held)}
    before: dict[str, tuple[object, ...]] = {}
    for most in (5, 12):
        stage.admit(most - len(before))
        with Batch(held, out, "--to", "rle", "--resume", program=PROGRAM, env=stage.environment()) as batch:
            batch.wait_for(lambda most=most: finished(out) >= most and parts(out))
            batch.end(ending)
        # Those that waited were not admitted, and take no turn of the next run's.
        stage.admit(stage.waiting)
        now = {name: of for name, of in done(out).items() if of[-1] != sources[name]}
        assert len(now) == most
        # What was done in the run before is the same file still.
        assert {name: now[name] for name in before} == before
        before = now
    left = [] if ending != signal.SIGKILL else parts(out)
    told = resume(held, out, program=PROGRAM)
    assert len(told) == MANY
    assert {name for name, status in told.items() if status == "skipped"} == {os.path.basename(name) for name in before}
    after = done(out)
    assert {name: after[name] for name in before} == before
    assert names(out) == set(sources), left
    for name in sources:
        syntax, pixels = decoded(out / name)
        assert (syntax, pixels[:4]) == (dicom.RLE, Mood.HELD.to_bytes(2, "little") + bytes([int(name[-3:]), 0]))


def finished(directory: Path) -> int:
    """Return how many files below a directory are converted."""
    if not directory.exists():
        return 0
    return sum(dicom.RLE.encode() + b"\0" in (directory / name).read_bytes()[:400] for name in settled(directory))


def settled(directory: Path) -> list[str]:
    """Return the files at final names."""
    return [name for name in names(directory) if not name.endswith(PART)]
