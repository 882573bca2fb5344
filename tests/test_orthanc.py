"""The hooks for Orthanc in a real Orthanc: everything is converted, and whatever fails, no image is lost."""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import io
import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dicom
import numpy as np
import oracle
import orthancs
import pytest
from conftest import PATIENCE, ROOT, need_tool, wait_until
from orthancs import Orthanc
from servers import Server

from dcmtx import __version__
from dcmtx.serve.files import HOOKS, hook

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="dcmtx serve is for Linux")

Fails = Callable[..., str]
KEPT = {
    "orthanc-python": "is stored as it was received",
    "orthanc-lua": "stays as it was received",
    "orthanc-c": "is left to Orthanc",
}


def printed(*arguments: str) -> str:
    """Return what `dcmtx hook` prints."""
    line = [sys.executable, "-m", "dcmtx", "hook", *arguments]
    return subprocess.run(line, capture_output=True, text=True, timeout=PATIENCE, check=True).stdout


def built(source: str, directory: Path) -> Path:
    """Compile the plugin in C, without a warning."""
    if not Path("/usr/include/orthanc/OrthancCPlugin.h").exists():
        need_tool("OrthancCPlugin.h")
    (directory / "orthanc.c").write_text(source)
    for standard in ("c99", "gnu17"):
        line = [
            need_tool("cc"),
            f"-std={standard}",
            "-O2",
            "-Wall",
            "-Wextra",
            "-Werror",
            "-pedantic",
            "-shared",
            "-fPIC",
        ]
        done = subprocess.run(
            [*line, "-isystem", "/usr/include", "-o", "libDcmtx.so", "orthanc.c"],
            cwd=directory, capture_output=True, text=True, timeout=PATIENCE, check=False,
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, "")
    return directory / "libDcmtx.so"


class Site:
    """An Orthanc with a hook, the tool that the hook starts, and the server that the tool hands over to."""

    # The study of a test; each has its own.
    studies = 0

    def __init__(self, hook: str, directory: Path, **more: Any) -> None:
        self.hook = hook
        self.directory = directory
        # A name that a shell would take apart.
        self.tool = directory / "it's a tool"
        self.working()
        command = [] if hook == "orthanc-c" else ["--command", os.fspath(self.tool)]
        text = printed(hook, "--to", "jpegls", *command)
        environment = {"PATH": "/usr/bin:/bin", "DCMTX_SOCKET": os.fspath(directory / "s")}
        if hook == "orthanc-python":
            (directory / "dcmtx.py").write_text(text)
            settings = {"Plugins": [orthancs.need_python_plugin()], "PythonScript": os.fspath(directory / "dcmtx.py")}
        elif hook == "orthanc-lua":
            (directory / "dcmtx.lua").write_text(text)
            settings = {"LuaScripts": [os.fspath(directory / "dcmtx.lua")]}
        else:
            # What of Orthanc's own would do it too is left out, so that who did it is known.
            settings = {
                "Plugins": [os.fspath(built(text, directory))], "IngestTranscoding": dicom.JPEGLS,
                "BuiltinDecoderTranscoderOrder": "Disabled",
            }  # fmt: skip
        self.orthanc = Orthanc(directory, environment, **settings, **more)

        self.server: Server | None = None

    def serve(self) -> Server:
        """Have a server run where the tool looks for it."""
        if self.server is None:
            self.server = Server("--jobs", "4", directory=self.directory)
        return self.server

    def no_server(self) -> None:
        """Kill the server, if there is one, with what it does."""
        if self.server is not None:
            self.server.__exit__()
            self.server = None

    def working(self) -> None:
        """Have the tool be dcmtx."""
        self.says(orthancs.python_line() + ' "$@"')

    def says(self, line: str) -> None:
        """Have the tool be this line of a shell; in one step, for a hook may be about to start it."""
        new = self.directory / "new"
        new.write_text(f"#!/bin/sh\n{line}\n")
        new.chmod(0o755)
        new.replace(self.tool)

    def send(self, count: int, tool: str = "storescu") -> str:
        """Send images of a new study, and return its UID."""
        Site.studies += 1
        study = f"1.2.7.{os.getpid()}.{Site.studies}"
        files = []
        for number in range(1, count + 1):
            files.append(self.directory / f"{Site.studies}-{number}.dcm")
            files[-1].write_bytes(orthancs.image(study, number).encode())
        orthancs.send(tool, self.orthanc.dicom, files)
        return study

    def until(self, study: str, count: int, syntax: str) -> None:
        """Wait until so many instances are stored in a syntax; all are whole, as they were sent."""

        def there() -> bool:
            files = self.orthanc.stored(study)
            return len(files) == count and {dicom.walk(data).syntax for data in files.values()} == {syntax}

        wait_until(there, self.orthanc.said)
        self.assert_nothing_lost(study, count)

    def assert_nothing_lost(self, study: str, count: int) -> None:
        """Assert that all instances are there, whole, with the pixels and UIDs that were sent."""
        files = self.orthanc.stored(study)
        assert sorted(files) == sorted(f"{study}.1.{number}" for number in range(1, count + 1))
        for number in range(1, count + 1):
            data = files[f"{study}.1.{number}"]
            assert dicom.walk(data).elements[0x00080018].text == f"{study}.1.{number}"
            (words,) = oracle.decoded(data)
            assert np.array_equal(words, orthancs.pixels(number))

    def kept(self) -> int:
        """Return how many times Orthanc was told that an instance is kept."""
        return self.orthanc.said().count(KEPT[self.hook])

    @contextlib.contextmanager
    def keeping(self, count: int) -> Iterator[None]:
        """Wait until so many instances more were kept, each told of in one line."""
        before = self.kept()
        yield
        wait_until(lambda: self.kept() >= before + count, self.orthanc.said)
        assert self.kept() == before + count


@contextlib.contextmanager
def running(hook: str, **settings: Any) -> Iterator[Site]:
    """Run an Orthanc with a hook."""
    # Not below pytest's directory: the path of a socket is short.
    directory = Path(tempfile.mkdtemp(prefix="o"))
    try:
        site = Site(hook, directory, **settings)
        with site.orthanc:
            yield site
        site.no_server()
    finally:
        shutil.rmtree(directory)


@pytest.fixture(scope="module", params=HOOKS)
def site(request: pytest.FixtureRequest) -> Iterator[Site]:
    with running(request.param) as site:
        yield site


@pytest.fixture
def server(site: Site) -> Server:
    """The server that the hook's clients find: the one of the test before, unless that has ended it."""
    return site.serve()


# The plugin in C starts nothing: it speaks to the server itself.
with_tool = pytest.mark.parametrize("site", ["orthanc-python", "orthanc-lua"], indirect=True)


# --- all is well -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tool", ["storescu", "dcmsend"])
def test_every_instance_is_stored_in_the_target_syntax(site: Site, server: Server, tool: str) -> None:
    def done() -> int:
        return sum(job["status"] == 0 for job in server.events("job"))

    before = done()
    with site.keeping(0):
        study = site.send(20, tool)
        site.until(study, 20, dicom.JPEGLS)
    # By the server, and not by the tool or by Orthanc itself.
    wait_until(lambda: done() >= before + 20, site.orthanc.said)


def test_one_that_comes_in_the_target_syntax_is_kept_as_it_is(site: Site, server: Server) -> None:
    study = site.send(1)
    site.until(study, 1, dicom.JPEGLS)
    (data,) = site.orthanc.stored(study).values()
    with site.keeping(0):
        site.orthanc.get("/instances", data)
        site.until(study, 1, dicom.JPEGLS)
    assert list(site.orthanc.stored(study).values()) == [data]


@with_tool
def test_without_a_server_the_tool_does_it_alone(site: Site) -> None:
    site.no_server()
    study = site.send(1)
    site.until(study, 1, dicom.JPEGLS)


# --- what goes wrong: no image is lost --------------------------------------------------------------------------

FAILING: dict[str, str] = {
    "fails": "echo 'dcmtx: in.dcm: it is odd' >&2; exit 6",
    "fails and leaves something": "cat >/dev/null; echo half an image; echo 'dcmtx: odd' >&2; exit 7",
    "is killed": "kill -9 $$",
    "is not there": "",
    "does nothing": "exit 0",
    "writes rubbish": 'case "$2" in -) printf %0999d 7 ;; *) printf %0999d 7 >"$2" ;; esac',
}


@with_tool
@pytest.mark.parametrize("line", FAILING.values(), ids=FAILING.keys())
def test_a_tool_that(site: Site, line: str) -> None:
    if line:
        site.says(line)
    else:
        site.tool.unlink()
    try:
        with site.keeping(3):
            study = site.send(3)
    finally:
        site.working()
    site.until(study, 3, dicom.EXPLICIT)


@with_tool
def test_the_line_of_a_tool_that_fails_is_told(site: Site) -> None:
    site.says("echo 'dcmtx: in.dcm: it is very odd' >&2; exit 6")
    try:
        with site.keeping(1):
            site.send(1)
    finally:
        site.working()
    assert re.search(rf"{KEPT[site.hook]}: dcmtx: in.dcm: it is very odd$", site.orthanc.said(), re.MULTILINE)


def test_what_dcmtx_refuses_is_kept(site: Site, server: Server) -> None:
    """Bits above High Bit, which would be lost."""
    study = f"1.2.8.{os.getpid()}"
    path = site.directory / "refused.dcm"
    odd = dataclasses.replace(orthancs.image(study, 1), pixels=b"\xff\xff" * orthancs.ROWS * orthancs.COLUMNS)
    path.write_bytes(odd.encode())
    with site.keeping(1):
        orthancs.send("storescu", site.orthanc.dicom, [path])
    (data,) = site.orthanc.stored(study).values()
    walked = dicom.walk(data)
    assert walked.syntax == dicom.EXPLICIT
    assert walked.elements[dicom.PIXEL_DATA].value == odd.pixels


@contextlib.contextmanager
def dying(path: Path, answers: list[bytes]) -> Iterator[None]:
    """Listen where a server would, and to each client hang up after these answers, each to one thing that it said."""
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(os.fspath(path))
        path.chmod(0o600)
        listening.listen()

        def serve() -> None:
            # Until it is shut down.
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listening.accept()
                    with connection:
                        for answer in answers:
                            connection.recv(1 << 16)
                            connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join()
            path.unlink()


@pytest.mark.parametrize("syntax", [dicom.EXPLICIT, dicom.IMPLICIT], ids=["explicit", "implicit"])
def test_an_object_without_pixels_stays_what_it_is(site: Site, server: Server, syntax: str) -> None:
    Site.studies += 1
    study = f"1.2.10.{os.getpid()}.{Site.studies}"
    told = {
        0x00080016: ("UI", orthancs.SR), 0x00080018: ("UI", f"{study}.2"), 0x00080060: ("CS", "SR"),
        0x00100020: ("LO", "P"), 0x0020000D: ("UI", study), 0x0020000E: ("UI", f"{study}.1"),
        0x0040A040: ("CS", "CONTAINER"),
    }  # fmt: skip
    elements = [dicom.element(tag, vr, value, syntax) for tag, (vr, value) in told.items()]
    path = site.directory / "sr.dcm"
    path.write_bytes(dicom.file(elements, syntax, sop_class=orthancs.SR, sop_instance=f"{study}.2"))
    done = len(server.events("job"))
    # Orthanc allows the plugin one syntax, in which there can be no such object.
    with site.keeping(1 if site.hook == "orthanc-c" else 0):
        orthancs.send("storescu", site.orthanc.dicom, [path])
        server.until_done(done + 1)
    wait_until(lambda: len(site.orthanc.stored(study)) == 1, site.orthanc.said)
    walked = dicom.walk(site.orthanc.stored(study)[f"{study}.2"])
    assert walked.syntax in (dicom.EXPLICIT, dicom.IMPLICIT)
    assert [walked.elements[tag].text for tag in told] == [value for _, value in told.values()]


# What a server answers to the job itself.
ANSWERS = {"nothing": b"", "that a codec failed": b"\x06", "that it is done, which it is not": b"\0"}


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS.keys())
def test_a_server_that_takes_a_job_and_answers(site: Site, answer: bytes) -> None:
    """Where it dies in the middle, what was sent is not done again, by nobody: it could have been done."""
    site.no_server()
    with dying(site.directory / "s", [b"+", answer]), site.keeping(3):
        study = site.send(3)
    site.until(study, 3, dicom.EXPLICIT)


def test_a_server_that_dies_before_it_has_a_job(site: Site) -> None:
    site.no_server()
    alone = site.hook != "orthanc-c"
    with dying(site.directory / "s", [b""]), site.keeping(0 if alone else 2):
        study = site.send(2)
        site.until(study, 2, dicom.JPEGLS if alone else dicom.EXPLICIT)


def test_a_server_that_is_gone_after_some(site: Site, server: Server) -> None:
    first = site.send(3)
    site.until(first, 3, dicom.JPEGLS)
    site.no_server()
    if site.hook == "orthanc-c":
        with site.keeping(3):
            second = site.send(3)
        site.until(second, 3, dicom.EXPLICIT)
    else:
        with site.keeping(0):
            second = site.send(3)
            site.until(second, 3, dicom.JPEGLS)
    site.until(first, 3, dicom.JPEGLS)


@pytest.mark.parametrize("site", ["orthanc-c"], indirect=True)
@pytest.mark.parametrize("syntax", [dicom.J2K_LOSSLESS, dicom.RLE, dicom.EXPLICIT])
def test_the_plugin_in_c_transcodes_what_is_asked_for(site: Site, server: Server, syntax: str) -> None:
    study = site.send(1)
    site.until(study, 1, dicom.JPEGLS)
    query = {"Level": "Study", "Query": {"StudyInstanceUID": study}}
    (found,) = json.loads(site.orthanc.get("/tools/find", json.dumps(query).encode()))
    with zipfile.ZipFile(io.BytesIO(site.orthanc.get(f"/studies/{found}/archive?transcode={syntax}"))) as archive:
        (name,) = archive.namelist()
        data = archive.read(name)
    assert dicom.walk(data).syntax == syntax
    assert dicom.walk(data).elements[0x00080018].text == f"{study}.1.1"
    assert np.array_equal(oracle.decoded(data)[0], orthancs.pixels(1))


def test_orthanc_itself_takes_over_where_the_plugin_in_c_fails(tmp_path: Path) -> None:
    text = printed("orthanc-c", "--to", "jpegls")
    settings = {"Plugins": [os.fspath(built(text, tmp_path))], "IngestTranscoding": dicom.JPEGLS}
    with Orthanc(tmp_path, {"PATH": "/usr/bin:/bin", "DCMTX_SOCKET": "/none"}, **settings) as orthanc:
        path = tmp_path / "in.dcm"
        path.write_bytes(orthancs.image("1.2.9", 1).encode())
        orthancs.send("storescu", orthanc.dicom, [path])
        (data,) = orthanc.stored("1.2.9").values()
        assert "no dcmtx serve does it" in orthanc.said()
    assert dicom.walk(data).syntax == dicom.JPEGLS
    assert np.array_equal(oracle.decoded(data)[0], orthancs.pixels(1))


def test_an_orthanc_that_does_not_overwrite_keeps_what_it_has_and_says_why() -> None:
    with running("orthanc-lua", OverwriteInstances=False) as site:
        with site.keeping(2):
            study = site.send(2)
        site.until(study, 2, dicom.EXPLICIT)
        assert "is OverwriteInstances true?" in site.orthanc.said()


def test_the_hook_in_lua_does_not_go_round_in_circles_with_orthanc() -> None:
    """Orthanc makes it what it was again, and tells the hook of another instance."""
    with running("orthanc-lua", IngestTranscoding=dicom.EXPLICIT) as site:
        site.says(f"echo called >>'{site.directory}/calls'; " + orthancs.python_line() + ' "$@"')
        site.serve()

        def replaced(study: str) -> bool:
            query = {"Level": "Instance", "Query": {"StudyInstanceUID": study}}
            found = json.loads(site.orthanc.get("/tools/find", json.dumps(query).encode()))
            origins = [site.orthanc.get(f"/instances/{each}/metadata/Origin") for each in found]
            return origins == [b"Lua"]

        study = site.send(1)
        wait_until(lambda: replaced(study), site.orthanc.said)
        # Orthanc has one queue for scripts: when the second is stored anew, it is done with what came of the first.
        other = site.send(1)
        wait_until(lambda: replaced(other), site.orthanc.said)
        assert (site.directory / "calls").read_text() == "called\n" * 2
        for each in (study, other):
            site.until(each, 1, dicom.EXPLICIT)


# --- what is printed -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hook", HOOKS)
def test_a_hook_says_what_it_is(hook: str) -> None:
    text = printed(hook, "--to", "jpegls")
    assert __version__ in text
    assert dicom.JPEGLS in text
    assert "dcmtx-orthanc(7)" in text
    assert text.isascii()
    assert not re.findall(r"@[A-Z]+@", text)


def test_the_hooks_start_this_dcmtx(tmp_path: Path) -> None:
    (tmp_path / "in.dcm").write_bytes(orthancs.image("1.2.3", 1).encode())
    tree = ast.parse(printed("orthanc-python", "--to", "jpegls"))
    (words,) = [node.value for node in tree.body if isinstance(node, ast.Assign) and node.targets[0].id == "COMMAND"]
    line = [*ast.literal_eval(words), "in.dcm", "out.dcm", "--to", "jpegls"]
    assert subprocess.run(line, cwd=tmp_path, timeout=PATIENCE, check=False).returncode == 0
    assert dicom.walk((tmp_path / "out.dcm").read_bytes()).syntax == dicom.JPEGLS


ODD = '/a b/it\'s "ü" \\n $x'


def test_odd_paths_of_the_tool_stay_what_they_are() -> None:
    python = hook("orthanc-python", "rle", dicom.RLE, [ODD])
    (words,) = re.findall(r"^COMMAND = (.*)$", python, re.MULTILINE)
    assert ast.literal_eval(words) == [ODD]
    (text,) = re.findall(r'^local COMMAND = "(.*)"$', hook("orthanc-lua", "rle", dicom.RLE, [ODD]), re.MULTILINE)
    raw = re.sub(rb"\\(\d{3})", lambda found: bytes([int(found[1])]), text.encode("ascii"))
    assert shlex.split(raw.decode()) == [ODD]


USAGE = {
    "no syntax": (2, ["orthanc-lua"], "--to"),
    "no such hook": (2, ["orthanc-java", "--to", "rle"], "orthanc-java"),
    "no such syntax": (2, ["orthanc-lua", "--to", "zip"], "'zip'"),
    "a tool for the one that starts none": (2, ["orthanc-c", "--to", "rle", "--command", "x"], "--command"),
    "a syntax that always loses": (5, ["orthanc-lua", "--to", "JPEGBaseline8Bit"], "without loss"),
    "a syntax that nothing encodes": (5, ["orthanc-lua", "--to", "MPEG2MPML"], "without loss"),
}


@pytest.mark.parametrize(("status", "arguments", "says"), USAGE.values(), ids=USAGE.keys())
def test_what_no_hook_is_printed_for(status: int, arguments: list[str], says: str, fails: Fails) -> None:
    assert says in fails(status, "hook", *arguments)


# --- the page --------------------------------------------------------------------------------------------------

PAGE = ROOT / "man" / "dcmtx-orthanc.7"


def test_the_page_is_in_order_for_groff() -> None:
    line = [need_tool("groff"), "-man", "-Tascii", "-P-c", "-rLL=78n", "-ww", os.fspath(PAGE)]
    done = subprocess.run(line, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert max(map(len, re.sub(".\b", "", done.stdout).splitlines())) <= 80


def test_the_page_names_every_hook_and_what_each_asks_for() -> None:
    text = PAGE.read_text("ascii").replace("\\-", "-")
    for name in HOOKS:
        assert re.search(rf"^\\fB{name}\\fR$", text, re.MULTILINE)
        assert f"\ndcmtx hook {name} --to jpegls > " in text
        # What a hook says of the configuration stands there too.
        settings = re.findall(r'"[A-Z]\w+": (?:\[ "[^"]+" \]|"[^"]+"|true)', printed(name, "--to", "jpegls"))
        assert settings
        assert not [setting for setting in settings if setting not in text]
