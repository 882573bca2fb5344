"""What cannot be read below a directory is named, and never passed over as if it were not there."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import series
from conftest import Ran

Run = Callable[..., Ran]
POLICY = '[[rule]]\nname = "all"\nto = "rle"\n'
# Commands that look at a directory, and the status where a part of it cannot be read.
COMMANDS: dict[str, tuple[tuple[str, ...], int]] = {
    "enhance": (("enhance", "in", "made"), 3),
    "enhance, of each series": (("enhance", "in", "made", "--group", "series"), 3),
    "split": (("split", "in", "made", "--same-class"), 3),
    "info": (("info", "in"), 3),
    "compare, the first": (("compare", "in", "good"), 9),
    "compare, the second": (("compare", "good", "in"), 9),
    "compare, itself": (("compare", "in", "in"), 9),
    "compare by UID": (("compare", "in", "in", "--by", "uid"), 9),
    "policy check": (("policy", "check", "site.toml", "in"), 9),
    "advise": (("advise", "in", "--targets", "rle"), 9),
}
each_command = pytest.mark.parametrize(("words", "status"), COMMANDS.values(), ids=COMMANDS)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a directory with a series in `in`, whose last slices are in a directory of their own, and in `good`."""
    for name in ("in", "good"):
        paths = series.write(tmp_path / name, series.line(4))
        (tmp_path / name / "part").mkdir()
        for path in paths[2:]:
            path.rename(tmp_path / name / "part" / path.name)
    (tmp_path / "site.toml").write_text(POLICY)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@each_command
def test_a_directory_that_cannot_be_read(words, status, place, command, monkeypatch):
    scandir = os.scandir

    def refusing(path="."):
        if os.fspath(path) == os.path.join("in", "part"):
            raise PermissionError(13, "Permission denied", os.fspath(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    ran = command(*words)
    assert ran.status == status
    assert "dcmtx: in/part: the directory cannot be read: Permission denied\n" in ran.err
    assert not (place / "made").exists()


@each_command
def test_a_link_that_leads_nowhere(words, status, place, command):
    (place / "in" / "part" / "lost.dcm").symlink_to("nothing")
    ran = command(*words)
    assert ran.status == status
    assert "dcmtx: in/part/lost.dcm: there is no such file\n" in ran.err
    assert not (place / "made").exists()


@each_command
def test_a_directory_that_can_be_read_is_no_failure(words, status, place, command):
    if words[0] != "split":
        assert command(*words).status == 0


def test_a_directory_that_is_named_and_cannot_be_read(place, command, monkeypatch):
    scandir = os.scandir

    def refusing(path="."):
        if os.fspath(path) == "in":
            raise PermissionError(13, "Permission denied", os.fspath(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    ran = command("info", "in")
    assert (ran.status, ran.err) == (3, "dcmtx: in: the directory cannot be read: Permission denied\n")


# --- files that are none -------------------------------------------------------------------------------------------


def test_what_is_no_image_is_counted_by_enhance_and_split(place, command):
    (place / "in" / "empty").touch()
    (place / "in" / "notes.txt").write_text("not DICOM")
    (place / "in" / ".hidden.dcm").write_bytes((place / "in" / "0000.dcm").read_bytes())
    (place / "in" / "link").symlink_to(place / "good", target_is_directory=True)
    os.mkfifo(place / "in" / "pipe")
    why = "1 skipped (a link to a directory), 1 skipped (empty), 1 skipped (hidden), 1 skipped (not DICOM), "
    said = f"of the files in directories: {why}1 skipped (not a regular file)\n"
    for words in (("made.dcm",), ("made", "--group", "series"), ("several", "--max-frames", "2")):
        ran = command("enhance", "in", *words)
        assert ran.status == 0
        assert ran.err.count(said) == 1
    ran = command("split", "in", "frames", "--same-class")
    assert (ran.status, ran.err.count(said)) == (0, 1)


def test_nothing_is_said_where_all_are_images(place, command):
    ran = command("enhance", "in", "made.dcm")
    assert (ran.status, ran.err) == (0, "")


@pytest.mark.parametrize("words", [("made",), ("made", "--group", "series")], ids=["one", "groups"])
@pytest.mark.parametrize("length", [130, 131, 132, 150, 700])
def test_a_slice_that_is_cut_off_refuses_the_whole(length, words, place, command):
    slice_ = place / "in" / "part" / "0003.dcm"
    slice_.write_bytes(slice_.read_bytes()[:length])
    ran = command("enhance", "in", *words)
    assert ran.status == 3
    assert ran.err.startswith("dcmtx: in/part/0003.dcm: ")
    assert not (place / "made").exists()


def test_a_slice_without_file_meta_information_is_one_too(place, command):
    """It is not passed over: it is taken or refused as one that is named."""
    slice_ = place / "in" / "part" / "0003.dcm"
    data = slice_.read_bytes()
    length = int.from_bytes(data[140:144], "little")
    slice_.write_bytes(data[144 + length :])
    ran = command("enhance", "in", "made")
    named = command("enhance", *sorted((place / "in").rglob("*.dcm")), "other")
    assert ran.status == named.status
    assert (place / "made").exists() == (place / "other").exists() == (ran.status == 0)
    assert ran.status or "skipped" not in ran.err
