"""Many files from Python: what is yielded for each, what is refused before, what is left behind."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from batches import assert_converted, image, names, parts, plant
from test_executor import Here

import dcmtx
from dcmtx.batch.many import Skipped
from dcmtx.errors import DcmtxError, RefusedError, UsageError
from dcmtx.transcoding.job import Outcome, Status


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Three images, one that is cut, and a file that is none."""
    plant(tmp_path / "in", ["0", "1", "below/2"])
    (tmp_path / "in" / "cut").write_bytes(image(3).encode()[:-40])
    (tmp_path / "in" / "text").write_text("no image at all")
    return tmp_path / "in"


def sorted_by_kind(results: Any) -> tuple[set[str], dict[str, str], dict[str, str]]:
    """Return what was converted, what failed with which code, and what was skipped with which reason, by name."""
    converted, failed, skipped = set(), {}, {}
    for one in results:
        match one:
            case Outcome():
                converted.add(os.path.basename(one.job.src))
            case DcmtxError():
                assert one.path is not None
                failed[os.path.basename(one.path)] = one.code
            case Skipped():
                skipped[os.path.basename(one.src)] = one.reason
            case _:
                raise AssertionError(one)
    return converted, failed, skipped


def test_each_file_is_told_of(tree: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    converted, failed, skipped = sorted_by_kind(dcmtx.convert_many(tree, out, to="rle", workers=2))
    assert converted == {"0", "1", "2"}
    assert set(failed) == {"cut"}
    assert skipped == {"text": "not DICOM"}
    assert names(out) == {"0", "1", "below/2"}
    for number, name in enumerate(["0", "1", "below/2"]):
        assert_converted(out / name, number)


SOURCES: dict[str, tuple[list[str], str, set[str]]] = {
    "one file to a file": (["in/0"], "new", {"new"}),
    "one file into a directory": (["in/0"], "there", {"there/0"}),
    "files": (["in/0", "in/1"], "new", {"new/0", "new/1"}),
    "a directory and a file": (["in/below", "in/1"], "new", {"new/below/2", "new/1"}),
}


@pytest.mark.parametrize(("sources", "destination", "expected"), SOURCES.values(), ids=SOURCES.keys())
@pytest.mark.parametrize("kind", [str, Path])
def test_sources_go_where_the_command_has_them_go(
    sources: list[str], destination: str, expected: set[str], kind: Any, tree: Path, tmp_path: Path
) -> None:
    (tmp_path / "there").mkdir()
    before = names(tmp_path)
    given = [kind(tmp_path / source) for source in sources]
    found = list(
        dcmtx.convert_many(
            given[0] if len(given) == 1 else given, kind(tmp_path / destination), to="rle", executor=Here()
        )
    )
    assert all(isinstance(one, Outcome) for one in found)
    assert names(tmp_path) - before == expected


def test_options_are_those_of_transcode(tree: Path, tmp_path: Path) -> None:
    found = list(dcmtx.convert_many(tree / "0", tmp_path / "new", to="rle", dry_run=True, executor=Here()))
    assert [one.status for one in found if isinstance(one, Outcome)] == [Status.PLANNED]
    assert not (tmp_path / "new").exists()
    again = {"to": "rle", "executor": Here()}
    assert sorted_by_kind(dcmtx.convert_many(tree, tmp_path / "new", **again))[0] == {"0", "1", "2"}
    _, _, skipped = sorted_by_kind(dcmtx.convert_many(tree, tmp_path / "new", resume=True, **again))
    assert skipped == {"0": "done before", "1": "done before", "2": "done before", "text": "not DICOM"}


REFUSED: dict[str, tuple[list[str], dict[str, Any], type[DcmtxError]]] = {
    "no such syntax": (["in/0"], {"to": "gif"}, UsageError),
    "no time": (["in/0"], {"to": "rle", "timeout": 0}, UsageError),
    "no number": (["in/0"], {"to": "rle", "timeout": float("nan")}, UsageError),
    "no workers": (["in/0"], {"to": "rle", "workers": 0}, UsageError),
    "standard input": (["-"], {"to": "rle"}, UsageError),
    "several to one file": (["in/0", "in/1"], {"to": "rle", "destination": "in/text"}, UsageError),
    "loss without consent": (["in/0"], {"to": "jpeg", "quality": 50}, RefusedError),
}


@pytest.mark.parametrize(("sources", "options", "kind"), REFUSED.values(), ids=REFUSED.keys())
def test_it_is_refused_before_anything_is_started(
    sources: list[str], options: dict[str, Any], kind: type[DcmtxError], tree: Path, tmp_path: Path
) -> None:
    paths = [source if source == "-" else os.fspath(tmp_path / source) for source in sources]
    destination = tmp_path / options.pop("destination", "new")
    with pytest.raises(kind):
        dcmtx.convert_many(paths, destination, **options)


def test_no_sources_are_no_files(tmp_path: Path) -> None:
    assert list(dcmtx.convert_many([], tmp_path, to="rle")) == []


# A process of one's own, that has no threads: the iterator is given up after the first, or never begun.
GIVEN_UP = """
import os, sys, dcmtx
begun = dcmtx.convert_many(sys.argv[1], sys.argv[2], to="rle", workers=2)
if sys.argv[3] == "begun":
    print(type(next(begun)).__name__)
    begun.close()
try:
    print(os.waitpid(-1, os.WNOHANG))
except ChildProcessError:
    print("no child")
"""


@pytest.mark.parametrize(("way", "told"), [("begun", "Outcome\n"), ("not begun", "")])
def test_an_iterator_that_is_given_up_leaves_nothing_behind(way: str, told: str, tmp_path: Path) -> None:
    plant(tmp_path / "in", [str(number) for number in range(40)])
    line = [sys.executable, "-c", GIVEN_UP, tmp_path / "in", tmp_path / "out", way]
    ran = subprocess.run(line, capture_output=True, text=True, timeout=60, check=False)
    assert (ran.stdout, ran.stderr) == (told + "no child\n", "")
    if told:
        assert parts(tmp_path / "out") == []
        for name in names(tmp_path / "out"):
            assert_converted(tmp_path / "out" / name, int(name))
