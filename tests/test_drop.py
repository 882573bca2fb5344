"""dcmtx-drop(7): the script and the units of the page, taken from it, do what it says."""

from __future__ import annotations

import fcntl
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import dicom
import pydicom
import pytest
from conftest import PATIENCE, ROOT, need_tool, wait_until

DATA = ROOT / "testdata"
PAGE = ROOT / "man" / "dcmtx-drop.7"
CT = (DATA / "ct-explicit.dcm").read_bytes()


# Makes every file old enough.
AGE = 'for file in in/*; do [ -f "$file" ] && touch -d "2 minutes ago" "$file"; done'


def blocks() -> list[str]:
    """Return the examples of the page as they are to be typed."""
    found = re.findall(r"^\.nf\n(.*?)^\.fi$", PAGE.read_text("ascii"), re.MULTILINE | re.DOTALL)
    return [re.sub(r"^\\&", "", block, flags=re.MULTILINE).replace("\\-", "-").replace("\\e", "\\") for block in found]


def block(beginning: str) -> str:
    (found,) = [text for text in blocks() if text.startswith(beginning)]
    return found


class Place:
    """The four directories, and programs in front of those of the machine."""

    def __init__(self, root: Path) -> None:
        for tool in ("flock", "find", "mv"):
            need_tool(tool)
        self.root = root
        for name in ("in", "out", "done", "failed", "bin"):
            (root / name).mkdir()
        self.program("dcmtx", f'exec "{sys.executable}" -m dcmtx "$@"')
        self.script = self.program("dcmtx-drop", block("#!/bin/sh").partition("\n")[2])
        # Nothing is waited for: whoever sleeps finds every file old enough.
        self.program("sleep", AGE)

    def program(self, name: str, text: str) -> Path:
        path = self.root / "bin" / name
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
        return path

    def drop(self, name: str, data: bytes, *, age: float = 120) -> Path:
        """Put a file into the directory that was changed so many seconds ago."""
        path = self.root / "in" / name
        path.write_bytes(data)
        os.utime(path, (time.time() - age,) * 2)
        return path

    def start(self) -> subprocess.Popen[str]:
        environment = {"PATH": f"{self.root / 'bin'}:{os.environ['PATH']}", "DCMTX_SOCKET": ""}
        line = [self.script, "in", "out", "done", "failed", "-L"]
        return subprocess.Popen(line, cwd=self.root, env=environment, text=True, stdout=-1, stderr=-1,
                                start_new_session=True)  # fmt: skip

    def run(self) -> tuple[int, str]:
        """Run the script; return its status and all that it said."""
        process = self.start()
        try:
            out, err = process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            raise
        return process.returncode, out + err

    def names(self) -> dict[str, list[str]]:
        """Return what is in each directory, hidden or not."""
        return {name: sorted(os.listdir(self.root / name)) for name in ("in", "out", "done", "failed")}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_what_is_complete_is_converted_and_moved(place):
    names = ["a.dcm", "b c.dcm", "-d", "e'\"$(true)\n.dcm", "ü.dcm"]
    for name in names:
        place.drop(name, CT)
    place.drop(".hidden", CT[:5000])
    assert place.run() == (0, "")
    assert place.names() == {"in": [".hidden"], "out": sorted(names), "done": sorted(names), "failed": []}
    for name in names:
        assert pydicom.dcmread(place.root / "out" / name).file_meta.TransferSyntaxUID == dicom.JPEGLS
        assert (place.root / "done" / name).read_bytes() == CT
    assert place.run() == (0, "")


def test_what_is_still_being_written_waits(place):
    place.drop("new.dcm", CT, age=1)
    place.drop("old.dcm", CT)
    # It is seen to be there, and left alone, before the loop sleeps.
    place.program("dcmtx", f'[ -e sleeps ] || echo "$5" >> early\nexec "{sys.executable}" -m dcmtx "$@"')
    place.program("sleep", f"ls in >> sleeps\n{AGE}")
    assert place.run() == (0, "")
    assert (place.root / "sleeps").read_text() == "new.dcm\n"
    assert place.names()["done"] == ["new.dcm", "old.dcm"]
    assert place.names()["in"] == []


@pytest.mark.parametrize(
    ("data", "what"),
    [
        pytest.param(CT[:9000], "the file is truncated", id="damaged"),
        pytest.param(b"no DICOM" * 40, "is not a DICOM file", id="not DICOM"),
        pytest.param((DATA / "rtdose-32.dcm").read_bytes(), "Bits Allocated", id="refused"),
    ],
)
def test_what_cannot_be_converted_is_put_aside_and_told(place, data, what):
    place.drop("bad.dcm", data)
    place.drop("good.dcm", CT)
    status, told = place.run()
    assert status == 0
    assert told.startswith("dcmtx: in/bad.dcm: ")
    assert what in told
    assert told.count("\n") == 1
    assert place.names() == {"in": [], "out": ["good.dcm"], "done": ["good.dcm"], "failed": ["bad.dcm"]}
    assert (place.root / "failed" / "bad.dcm").read_bytes() == data


def test_what_has_the_same_name_is_kept(place):
    for number in (1, 2, 3):
        place.drop("a.dcm", CT + bytes(2 * number))
        assert place.run()[0] == 0
    sizes = sorted(path.stat().st_size - len(CT) for path in (place.root / "done").iterdir())
    assert sizes == [2, 4, 6]


@pytest.mark.parametrize("line", ["exit 8", "exit 2", "kill -TERM $$"])
def test_what_is_no_fault_of_the_file_leaves_it_where_it_is(place, line):
    place.program("dcmtx", line)
    place.drop("a.dcm", CT)
    assert place.run()[0] == 1
    assert place.names() == {"in": ["a.dcm"], "out": [], "done": [], "failed": []}


@pytest.mark.parametrize("name", ["done", "failed"])
def test_a_directory_that_is_missing_loses_nothing(place, name):
    (place.root / name).rmdir()
    place.drop("a.dcm", CT if name == "done" else b"no DICOM")
    assert place.run()[0] == 1
    assert os.listdir(place.root / "in") == ["a.dcm"]


def test_two_at_once_do_nothing_twice(place):
    place.drop("a.dcm", CT)
    lock = os.open(place.root / "in", os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert place.run() == (0, "")
        assert place.names()["in"] == ["a.dcm"]
    finally:
        os.close(lock)
    assert place.run() == (0, "")
    assert place.names()["done"] == ["a.dcm"]


def test_a_run_that_is_killed_is_carried_on(place):
    place.program("dcmtx", "echo $$ > started; exec sleep 1000")
    (place.root / "bin" / "sleep").unlink()
    place.drop("a.dcm", CT)
    process = place.start()
    try:
        wait_until((place.root / "started").exists)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=PATIENCE)
    assert place.names() == {"in": ["a.dcm"], "out": [], "done": [], "failed": []}
    place.program("dcmtx", f'exec "{sys.executable}" -m dcmtx "$@"')
    place.program("sleep", AGE)
    assert place.run() == (0, "")
    assert place.names()["done"] == ["a.dcm"]


def test_the_line_for_a_tree_does_nothing_twice(place):
    (place.root / "in" / "below").mkdir()
    place.drop("below/a.dcm", CT)
    place.drop("half.dcm", CT[:9000])
    line = block("flock ")
    environment = {"PATH": f"{place.root / 'bin'}:{os.environ['PATH']}", "DCMTX_SOCKET": ""}

    def run() -> int:
        return subprocess.run(["sh", "-c", line], cwd=place.root, env=environment, check=False, timeout=PATIENCE,
                              capture_output=True).returncode  # fmt: skip

    assert run() == 9
    made = place.root / "out" / "below" / "a.dcm"
    before = made.stat()
    place.drop("half.dcm", CT)
    assert run() == 0
    assert (made.stat().st_mtime_ns, made.stat().st_ino) == (before.st_mtime_ns, before.st_ino)
    assert (place.root / "out" / "half.dcm").exists()


def test_the_units_are_in_order_for_systemd(place):
    analyze = need_tool("systemd-analyze")
    units = place.root / "units"
    units.mkdir()
    for kind in ("path", "service"):
        text = block(f"# /etc/systemd/system/dcmtx-drop.{kind}")
        # What is to be run must be there.
        (units / f"dcmtx-drop.{kind}").write_text(text.replace("/usr/local/bin/dcmtx-drop", str(place.script)))
    line = [analyze, "verify", "--man=no", *map(str, sorted(units.iterdir()))]
    ran = subprocess.run(line, capture_output=True, text=True, timeout=PATIENCE, check=False)
    mine = [told for told in ran.stderr.splitlines() if "dcmtx-drop" in told]
    assert (ran.returncode, mine) == (0, []), ran.stderr


def test_cron_runs_what_systemd_runs():
    (service,) = re.findall(
        r"^ExecStart=/usr/local/bin/(.*)$", block("# /etc/systemd/system/dcmtx-drop.service"), re.MULTILINE
    )
    path, line = block("PATH=").splitlines()
    assert "/usr/local/bin" in path
    assert re.fullmatch(r"(\S+ ){5}dicom cd /srv/dicom && (.*)", line)[2] == service


def test_the_page_is_in_order_for_groff():
    line = [need_tool("groff"), "-man", "-Tascii", "-P-c", "-rLL=78n", "-ww", os.fspath(PAGE)]
    ran = subprocess.run(line, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert max(map(len, re.sub(".\b", "", ran.stdout).splitlines())) <= 80
