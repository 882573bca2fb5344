"""`dcmtx serve`: what a job is that a server does, who may have one done, and what becomes of it whatever happens."""

from __future__ import annotations

import concurrent.futures
import contextlib
import json
import os
import pty
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import batches
import dicom
import fake_codecs
import numpy as np
import pytest
from conftest import ROOT, Ran, contents, need_tool, old_file, spawn
from fake_codecs import Mood, Stage
from servers import CLIENT, NEEDED, PATIENCE, Server, wait_for, without_figures

import dcmtx
from dcmtx import __version__
from dcmtx.serve import client as clients
from dcmtx.serve import job as jobs
from dcmtx.serve.credentials import peer
from dcmtx.serve.files import client_source, units

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="SO_PEERCRED and O_ASYNC of Linux")
need_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")

Fails = Callable[..., str]
NOBODY = 65534
PIXELS = (np.arange(40 * 48, dtype=np.uint16) * 2503 % 4096).reshape(40, 48)
SOURCE = dicom.Image(PIXELS.tobytes(), rows=40, columns=48, stored=12).encode()
LOST = "dcmtx: the server's process for this job died without a status"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server("--jobs", "4") as running:
        yield running


@pytest.fixture(scope="module")
def moody(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose RLE encoder does as the first pixel says."""
    stage = Stage(tmp_path_factory.mktemp("moody"))
    environment = stage.environment()
    with Server("--jobs", "4", program=(fake_codecs.__file__,), env=environment) as running:
        running.begun = lambda: begun(stage)
        yield running


def begun(stage: Stage) -> int:
    """Return how many frames the fake encoder was given."""
    return (stage.directory / "log").read_text("ascii").count("+") if stage.counted("log") else 0


@pytest.fixture
def own() -> Iterator[Server]:
    """A server that the test may end; it does one job at a time."""
    with Server("--jobs", "1") as running:
        yield running


@pytest.fixture
def short() -> Iterator[Path]:
    """A directory of our own, whose path is short enough for sockets."""
    directory = Path(tempfile.mkdtemp(prefix="s"))
    yield directory
    shutil.rmtree(directory)


@pytest.fixture
def src(tmp_path: Path) -> Path:
    path = tmp_path / "in.dcm"
    path.write_bytes(SOURCE)
    return path


@pytest.fixture(scope="session")
def thin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The client in C, built without a warning."""
    directory = tmp_path_factory.mktemp("client")
    (directory / "client.c").write_text(client_source())
    warnings = ["-Wall", "-Wextra", "-Werror", "-pedantic"]
    for standard in ("c99", "gnu17"):
        built = subprocess.run(
            [need_tool("cc"), f"-std={standard}", "-O2", *warnings, "-o", "client", "client.c"],
            cwd=directory, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert (built.returncode, built.stderr) == (0, "")
    return directory / "client"


@pytest.fixture(params=["python", "c"])
def client(request: pytest.FixtureRequest) -> tuple[str, ...]:
    """Each of the two clients, as it is called."""
    return CLIENT if request.param == "python" else (os.fspath(request.getfixturevalue("thin")),)


@pytest.mark.parametrize("kind", ["python", "c"])
def test_a_client_called_by_the_name_of_a_peer_hands_its_words_over(kind, own, tmp_path, src, request):
    called = tmp_path / "dcmcjpls"
    if kind == "c":
        called.symlink_to(request.getfixturevalue("thin"))
    else:
        called.write_text(f"#!{sys.executable}\nfrom dcmtx.__main__ import main\nmain()\n")
        called.chmod(0o755)
    environment = own.environment(PYTHONPATH=os.fspath(ROOT))
    dst = tmp_path / "out.dcm"
    assert own.call("+el", "--", dst, client=[os.fspath(called)], env=environment).status == 1
    assert own.call(src, dst, client=[os.fspath(called)], env=environment) == Ran(0, "", "")
    jobs = own.until_done(2)
    assert [job["status"] for job in jobs] == [1, 0]
    alone = tmp_path / "alone.dcm"
    assert own.call(src, alone, client=[os.fspath(called)], env=environment | {"DCMTX_SOCKET": ""}) == Ran(0, "", "")
    assert alone.read_bytes() == dst.read_bytes()
    assert len(own.events("job")) == 2
    # A link is about the program that was called: no job.
    program = [os.fspath(request.getfixturevalue("thin"))] if kind == "c" else CLIENT
    assert own.call("link", tmp_path / "none", client=program, env=environment).status == 8
    assert len(own.events("job")) == 2


# --- the same as without a server ------------------------------------------------------------------------------

# What stands in the directory: in.dcm, jls.dcm (the same in JPEG-LS), text.dcm, tree/ with three images, old.dcm.
CASES: dict[str, tuple[list[str], int]] = {
    "compressed": (["in.dcm", "out.dcm", "--to", "jpegls"], 0),
    "decompressed": (["jls.dcm", "out.dcm", "--raw"], 0),
    "in place": (["in.dcm", "in.dcm", "--to", "j2k"], 0),
    "replacing": (["in.dcm", "old.dcm", "--to", "htj2k"], 0),
    "to standard output": (["in.dcm", "-", "--to", "rle"], 0),
    "into a directory": (["in.dcm", "tree", "--to", "rle"], 0),
    "a directory": (["tree", "out", "--to", "rle"], 0),
    "a directory with a file that fails": (["tree", "text.dcm", "out", "--to", "rle", "--report", "r.json"], 9),
    "records": (["in.dcm", "out.dcm", "--to", "jpegls", "--json"], 0),
    "told": (["in.dcm", "out.dcm", "--to", "jpegls", "-v"], 0),
    "a plan": (["in.dcm", "out.dcm", "--to", "jpegls", "--dry-run"], 0),
    "the syntaxes": (["syntaxes"], 0),
    "the version": (["--version"], 0),
    "the help": (["--help"], 0),
    "the help of a command": (["convert", "--help"], 0),
    "nothing": ([], 2),
    "no target": (["in.dcm", "out.dcm"], 2),
    "an odd argument": (["in.dcm", "out.dcm", "--to", "a\tb\nc \udcff ü"], 2),
    "a missing source": (["none.dcm", "out.dcm", "--to", "rle"], 3),
    "no DICOM": (["text.dcm", "out.dcm", "--to", "rle"], 3),
    "no such encoder": (["in.dcm", "out.dcm", "--to", "video/mpeg"], 2),
    "no codec": (["in.dcm", "out.dcm", "--to", "MPEG2MPML"], 4),
    "refused": (["in.dcm", "out.dcm", "--to", "j2k", "--ratio", "5"], 5),
    "not to be replaced": (["in.dcm", "old.dcm", "--to", "rle", "-n"], 8),
    "no such directory": (["in.dcm", "none/out.dcm", "--to", "rle"], 8),
}


def plant(directory: Path) -> Path:
    directory.mkdir()
    (directory / "in.dcm").write_bytes(SOURCE)
    (directory / "text.dcm").write_text("no image")
    dcmtx.transcode(directory / "in.dcm", directory / "jls.dcm", to="jpegls")
    batches.plant(directory / "tree", ["a", "b", "c/d"])
    old_file(directory / "old.dcm")
    return directory


# What the command alone said and left.
Done = tuple[Ran, dict[str, tuple[int, bytes]]]


@pytest.fixture(scope="module")
def by_itself(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Done]:
    """Run a command line without a server, once for all tests that ask."""
    known: dict[tuple[str, ...], Done] = {}

    def run(*arguments: str) -> Done:
        if arguments not in known:
            directory = plant(tmp_path_factory.mktemp("alone") / "files")
            ran = server.call(*arguments, cwd=directory, env=server.environment(DCMTX_SOCKET=""))
            known[arguments] = ran, left(directory)
        return known[arguments]

    return run


def left(directory: Path) -> dict[str, tuple[int, bytes]]:
    """Return all files below a directory: mode and bytes, of reports without what no two runs agree about."""
    found = {}
    for name in sorted(batches.names(directory)):
        path = directory / name
        data = path.read_bytes()
        if path.suffix == ".json":
            data = "".join(sorted(without_figures(data.decode()).splitlines(keepends=True))).encode()
        found[name] = (stat.S_IMODE(path.stat().st_mode), data)
    return found


@pytest.mark.parametrize(("arguments", "status"), CASES.values(), ids=CASES.keys())
def test_files_text_and_status_are_those_of_the_command_alone(
    arguments: list[str],
    status: int,
    server: Server,
    client: tuple[str, ...],
    by_itself: Callable[..., Done],
    tmp_path: Path,
) -> None:
    alone, files = by_itself(*arguments)
    directory = plant(tmp_path / "files")
    done = len(server.events("job"))
    served = server.call(*arguments, cwd=directory, client=client)
    assert server.until_done(done + 1)[-1]["status"] == status
    assert served.status == alone.status == status
    assert without_figures(served.out) == without_figures(alone.out)
    assert sorted(without_figures(served.err).splitlines()) == sorted(without_figures(alone.err).splitlines())
    assert left(directory) == files


def test_standard_input_to_standard_output(server: Server, client: tuple[str, ...], tmp_path: Path) -> None:
    for given, status, says in ((SOURCE, 0, ""), (SOURCE[:-9], 3, "standard input"), (b"", 3, "standard input")):
        line = [*client, "-", "-", "--to", "jpegls"]
        environments = (server.environment(), server.environment(DCMTX_SOCKET=""))
        served, alone = (
            subprocess.run(line, input=given, capture_output=True, env=each, timeout=PATIENCE, check=False)
            for each in environments
        )
        assert served.returncode == alone.returncode == status
        assert served.stdout == alone.stdout
        assert served.stderr == alone.stderr
        assert says in served.stderr.decode()


def test_a_terminal_is_one_for_the_job_too(server: Server, client: tuple[str, ...]) -> None:
    def shown(environment: dict[str, str]) -> bytes:
        ours, theirs = pty.openpty()
        with subprocess.Popen([*client, "syntaxes"], stdout=theirs, env=environment) as process:
            os.close(theirs)
            text = b""
            try:
                while piece := os.read(ours, 1 << 16):
                    text += piece
            except OSError:  # how Linux says that the other end is closed
                pass
            os.close(ours)
            assert process.wait(PATIENCE) == 0
        return text

    terminal = {"COLUMNS": "71", "TERM": "xterm", "LINES": "20"}
    served, alone = (shown(server.environment(**terminal, DCMTX_SOCKET=path)) for path in (str(server.socket), ""))
    assert served == alone
    assert b"\x1b[" in served


@pytest.mark.parametrize("closing", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_streams_that_are_closed_are_closed_for_the_job(
    closing: str, server: Server, client: tuple[str, ...], src: Path, dst: Path
) -> None:
    line = ("sh", "-c", f'exec "$@" {closing}', "sh", *client)
    assert server.call(src, dst, "--to", "rle", client=line) == Ran(0, "", "")
    assert dicom.walk(dst.read_bytes()).syntax == dicom.RLE
    assert server.call("missing.dcm", dst, "--to", "rle", client=line).status == 3
    if ">&-" in closing.split() and closing != "2>&-":
        assert server.call(src, "-", "--to", "rle", client=line).status == 8


# It takes its own words for those of a batch, so that it begins what workers are forked from.
BATCH_LIKE = """
from dcmtx.pool import early, machine
early._is_batch = lambda words: True
machine.available_cores = lambda: 2
from dcmtx.__main__ import main
main()
"""


def test_workers_of_a_batch_work_where_its_client_does(tmp_path: Path) -> None:
    """Several batches at once, whose files have the same relative names, one of them where the server is."""
    places = [tmp_path / name for name in ("serve", "a", "b", "c")]
    for number, place in enumerate(places):
        batches.plant(place / "in", ["0", "1", "2"], start=10 * number)
    with Server("--jobs", "4", program=("-c", BATCH_LIKE), cwd=places[0]) as server:
        for _ in range(2):
            started = [server.start("in", "out", "--to", "rle", "--quiet", cwd=place) for place in places]
            for process in started:
                assert (process.communicate(timeout=PATIENCE), process.returncode) == ((b"", b""), 0)
            for number, place in enumerate(places):
                for name in range(3):
                    batches.assert_converted(place / "out" / str(name), 10 * number + name)
                shutil.rmtree(place / "out")
        assert {job["status"] for job in server.until_done(8)} == {0}


def test_the_umask_is_the_clients(server: Server, client: tuple[str, ...], src: Path, tmp_path: Path) -> None:
    for mask, mode in ((0o022, 0o644), (0o077, 0o600), (0o002, 0o664)):
        path = tmp_path / f"{mask:o}.dcm"
        assert server.call(src, path, "--to", "rle", client=client, umask=mask) == Ran(0, "", "")
        assert stat.S_IMODE(path.stat().st_mode) == mode


def test_a_directory_that_is_gone_matters_to_relative_paths_only(
    server: Server, client: tuple[str, ...], src: Path, dst: Path, tmp_path: Path
) -> None:
    line = ("sh", "-c", 'mkdir gone && cd gone && rmdir ../gone && exec "$@"', "sh", *client)
    assert server.call(src, dst, "--to", "rle", client=line, cwd=tmp_path).status == 0
    assert server.call("in.dcm", dst, "--to", "rle", client=line, cwd=tmp_path).status == 3


def test_many_long_arguments_are_whole(server: Server, client: tuple[str, ...], src: Path) -> None:
    """More than a socket takes at a time."""
    missing = [f"{'x' * 200}/{number}" for number in range(4000)]
    ran = server.call(*missing, src.parent, "--to", "rle", client=client, cwd=src.parent)
    assert ran.status == 9
    assert ran.err.count("there is no such file") == 4000


# --- a hook's environment --------------------------------------------------------------------------------------


def test_a_hook_needs_nothing_and_hears_nothing_but_failures(
    server: Server, client: tuple[str, ...], src: Path, dst: Path
) -> None:
    """As a daemon starts it: an empty environment, /, no input, SIGPIPE ignored, somebody's listening socket."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        before = signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        try:
            for path in (os.fspath(server.socket), ""):
                options = {
                    "client": client, "env": NEEDED | {"DCMTX_SOCKET": path}, "cwd": "/", "restore_signals": False,
                    "pass_fds": [listening.fileno()],
                }  # fmt: skip
                assert server.call(src, dst, "--to", "jpegls", **options) == Ran(0, "", "")
                assert dicom.walk(dst.read_bytes()).syntax == dicom.JPEGLS
                failed = server.call(src.parent / "missing.dcm", dst, "--to", "jpegls", **options)
                assert failed == Ran(3, "", f"dcmtx: {src.parent}/missing.dcm: there is no such file\n")
        finally:
            signal.signal(signal.SIGPIPE, before)


# What a job finds, told by a command line of the test's own.
PROBE = """
import json, os, signal, sys, time, atexit
def command():
    what = sys.argv[1]
    if what == "report":
        names = {n: os.readlink(f"/proc/self/fd/{n}") for n in os.listdir("/proc/self/fd") if os.path.lexists(
            f"/proc/self/fd/{n}")}
        signals = {s.name: int(signal.getsignal(s)) for s in (signal.SIGTERM, signal.SIGCHLD, signal.SIGHUP,
                                                               signal.SIGINT, signal.SIGPIPE)}
        print(json.dumps({"argv": sys.argv, "environment": dict(os.environ), "files": names, "signals": signals,
            "mask": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, [])), "session": os.getsid(0) == os.getpid(),
            "timezone": time.tzname[0], "path": sys.path, "cwd": os.getcwd(),
            "threads": len(os.listdir("/proc/self/task"))}))
    elif what == "atexit":
        atexit.register(lambda: os.write(1, b"at the end"))
    elif what == "wait":
        sys.stdin.read()
    elif what == "bug":
        1 / 0
    sys.exit(int(sys.argv[2]) if len(sys.argv) > 2 else 0)
if __name__ == "__main__":
    sys.path.insert(0, "")
    import dcmtx.cli, dcmtx.cli.serve
    dcmtx.cli.serve.main = command
    dcmtx.cli.main()
"""


@pytest.fixture(scope="module")
def probe(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    program = tmp_path_factory.mktemp("probe") / "probe.py"
    program.write_text(PROBE)
    with Server("--jobs", "2", program=(os.fspath(program),), env=os.environ | {"OF": "server", "TZ": "UTC"}) as server:
        yield server


def test_nothing_of_the_clients_environment_counts_but_what_a_job_depends_on(
    probe: Server, client: tuple[str, ...], tmp_path: Path
) -> None:
    harmless = {name: f"1{name}" for name in clients.FORWARDED} | {"TZ": "XYZ3", "COLUMNS": "90", "TMPDIR": "/tmp"}
    harmful = {
        "PYTHONPATH": "/evil", "PYTHONSTARTUP": "/evil", "LD_LIBRARY_PATH": "/evil", "OF": "client", "HOME": "/evil",
        "IFS": "/evil", "LC_ALL": "C", "OPENBLAS_NUM_THREADS": "7",
    }  # fmt: skip
    environment = {"DCMTX_SOCKET": os.fspath(probe.socket), "PATH": os.environ["PATH"]} | harmless | harmful | NEEDED
    found = json.loads(probe.call("report", client=client, env=environment, cwd=tmp_path).out)
    assert harmless.items() <= found["environment"].items()
    assert not [name for name in harmful if found["environment"].get(name) == harmful[name]], found
    assert found["environment"]["OF"] == "server"
    assert found["timezone"] == "XYZ"
    assert found["cwd"] == os.fspath(tmp_path)
    bare = json.loads(probe.call("report", client=client, env=NEEDED | {"DCMTX_SOCKET": os.fspath(probe.socket)}).out)
    assert not set(clients.FORWARDED) & bare["environment"].keys()


def test_a_job_has_nothing_of_the_servers_or_of_other_jobs(probe: Server, tmp_path: Path) -> None:
    with probe.start("wait") as waiting, (tmp_path / "err").open("w") as error:
        line = [*CLIENT, "report"]
        options = {"env": probe.environment(), "timeout": PATIENCE}
        options |= {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": error}
        ran = subprocess.run(line, check=True, **options)
        waiting.kill()
    found = json.loads(ran.stdout)
    assert found["argv"] == ["dcmtx", "report"]
    names = dict(found["files"])
    assert names.pop("0") == os.devnull
    assert names.pop("1").startswith("pipe:")
    assert names.pop("2") == os.fspath(tmp_path / "err")
    # One connection, its own.
    assert [name.partition(":")[0] for name in names.values()] == ["socket"], names
    assert found["signals"] == {"SIGTERM": 0, "SIGCHLD": 0, "SIGHUP": 0, "SIGINT": 0, "SIGPIPE": 1}
    assert found["mask"] == []
    assert found["session"]
    assert found["threads"] == 1
    assert all(os.path.isabs(entry) for entry in found["path"])


def test_what_a_job_registered_for_its_end_is_done(probe: Server) -> None:
    assert probe.call("atexit", "7") == Ran(7, "at the end", "")


def test_a_bug_is_told_as_ever(probe: Server) -> None:
    ran = probe.call("bug")
    assert (ran.status, ran.out) == (1, "")
    assert ran.err.startswith("Traceback")
    assert ran.err.endswith("ZeroDivisionError: division by zero\n")


# --- many ------------------------------------------------------------------------------------------------------


def test_of_many_clients_at_a_time_nobody_is_lost(server: Server, tmp_path: Path) -> None:
    files = batches.plant(tmp_path / "in", [str(number) for number in range(32)])
    (tmp_path / "out").mkdir()
    done = len(server.events("job"))

    def convert(path: Path) -> Ran:
        return server.call(path, tmp_path / "out" / path.name, "--to", "rle")

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert set(pool.map(convert, files)) == {Ran(0, "", "")}
    for number, path in enumerate(files):
        batches.assert_converted(tmp_path / "out" / path.name, number)
    assert [event["status"] for event in server.until_done(done + 32)[done:]] == [0] * 32


def test_more_than_may_run_wait_for_their_turn(own: Server, src: Path, tmp_path: Path) -> None:
    with own.start("-", tmp_path / "first", "--to", "rle") as first:
        own.job()
        with own.start(src, tmp_path / "second", "--to", "rle") as second:
            wait_for(lambda: own.status()["waiting"] == 1)
            assert len(own.status()["running"]) == 1
            with own.start(src, tmp_path / "third", "--to", "rle") as third:
                wait_for(lambda: own.status()["waiting"] == 2)
                # Whoever loses patience leaves nothing behind.
                third.kill()
            wait_for(lambda: own.status()["waiting"] == 1)
            assert not (tmp_path / "second").exists()
            assert first.communicate(SOURCE, PATIENCE) == (b"", b"")
            assert second.communicate(None, PATIENCE) == (b"", b"")
            assert (first.returncode, second.returncode) == (0, 0)
    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()
    assert len(own.until_done(2)) == 2
    assert not (tmp_path / "third").exists()


def test_a_client_without_patience_does_it_itself(own: Server, src: Path, dst: Path) -> None:
    program = "import dcmtx.serve.client as c; c.PATIENCE = 1; from dcmtx.__main__ import main; main()"
    with own.start("-", dst.with_name("first"), "--to", "rle") as first:
        own.job()
        assert own.call(src, dst, "--to", "rle", client=(sys.executable, "-c", program)) == Ran(0, "", "")
        first.communicate(SOURCE, PATIENCE)
    assert dicom.walk(dst.read_bytes()).syntax == dicom.RLE
    assert len(own.until_done(1)) == 1


def test_the_server_stays_as_small_as_it_was_and_has_one_thread(own: Server, src: Path, dst: Path) -> None:
    def figures() -> tuple[int, int, int]:
        process = f"/proc/{own.process.pid}"
        return own.status()["memory_bytes"], len(os.listdir(f"{process}/fd")), len(os.listdir(f"{process}/task"))

    for _ in range(3):
        own.call(src, dst, "--to", "rle")
    own.until_done(3)
    memory, descriptors, threads = figures()
    for number in range(12):
        own.call(src, dst, "--to", "rle" if number % 2 else "nonsense")
    own.until_done(15)
    after = figures()
    assert after[1:] == (descriptors, threads)
    assert threads == 1
    assert after[0] <= memory + 4 * os.sysconf("SC_PAGE_SIZE") * 12


# --- who goes away ---------------------------------------------------------------------------------------------


def moody_file(directory: Path, mood: Mood) -> Path:
    path = directory / f"{mood.name.lower()}.dcm"
    path.write_bytes(fake_codecs.image(mood).encode())
    return path


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)], ids=str
)
def test_a_signal_to_a_client_is_answered_by_its_job(
    number: signal.Signals, status: int, moody: Server, client: tuple[str, ...], tmp_path: Path
) -> None:
    """Nothing is left to be cleaned up when the client has ended."""
    source = moody_file(tmp_path, Mood.SLEEP)
    dst = old_file(tmp_path / "out.dcm")
    before = contents(tmp_path)
    begun = moody.begun()
    with moody.start(source, dst, "--to", "rle", client=client) as ended:
        wait_for(lambda: moody.begun() > begun)
        ended.send_signal(number)
        assert ended.wait(PATIENCE) == status
        assert contents(tmp_path) == before
        assert ended.communicate(None, PATIENCE) == (b"", b"")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=str)
def test_a_signal_before_a_job_can_answer_it_ends_it_all_the_same(
    number: signal.Signals, probe: Server, client: tuple[str, ...]
) -> None:
    """Its command line here has no answer to signals at all."""
    with probe.start("wait", client=client) as early:
        probe.job()
        early.send_signal(number)
        # Its input stays open until then.
        assert early.wait(PATIENCE) == 128 + number
        assert early.communicate(None, PATIENCE) == (b"", b"")


def test_a_signal_that_a_client_ignores_does_not_reach_its_job(own: Server, client: tuple[str, ...], dst: Path) -> None:
    line = ("sh", "-c", 'trap "" HUP INT; exec "$@"', "sh", *client)
    with own.start("-", dst, "--to", "rle", client=line) as deaf:
        own.job()
        for number in (signal.SIGHUP, signal.SIGINT):
            deaf.send_signal(number)
        assert deaf.communicate(SOURCE, PATIENCE) == (b"", b"")
    assert deaf.returncode == 0
    assert dicom.walk(dst.read_bytes()).syntax == dicom.RLE


def test_a_client_that_goes_has_its_job_stop_and_clean_up(
    moody: Server, client: tuple[str, ...], tmp_path: Path
) -> None:
    source = moody_file(tmp_path, Mood.SLEEP)
    dst = old_file(tmp_path / "out.dcm")
    done = len(moody.events("job"))
    before = contents(tmp_path)
    begun = moody.begun()
    with moody.start(source, dst, "--to", "rle", client=client) as gone:
        wait_for(lambda: moody.begun() > begun)
        gone.kill()
        assert gone.wait(PATIENCE) == -9
        assert gone.stderr.read() == b""
    assert moody.until_done(done + 1)[-1]["status"] == 143
    assert contents(tmp_path) == before


def test_a_client_that_goes_has_a_whole_batch_stop(moody: Server, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    moody_file(tree, Mood.SLEEP)
    done = len(moody.events("job"))
    begun = moody.begun()
    with moody.start(tree, tmp_path / "out", "--to", "rle", "-j", "1") as gone:
        wait_for(lambda: moody.begun() > begun)
        gone.kill()
    assert moody.until_done(done + 1)[-1]["status"] == 143
    wait_for(lambda: not batches.parts(tmp_path))


CRASHES = {Mood.SEGFAULT: "SIGSEGV", Mood.ABORT: "SIGABRT"}


@pytest.mark.parametrize(("mood", "name"), CRASHES.items(), ids=CRASHES.values())
def test_a_crash_of_a_codec_is_one_jobs_and_is_told(
    mood: Mood, name: str, moody: Server, client: tuple[str, ...], tmp_path: Path
) -> None:
    dst = old_file(tmp_path / "out.dcm")
    before = dst.read_bytes()
    ran = moody.call(moody_file(tmp_path, mood), dst, "--to", "rle", client=client)
    assert ran.status == 6
    assert ran.line.startswith(LOST)
    assert dst.read_bytes() == before
    # A job is logged once its process has ended, which may be after the next client has come.
    (job,) = wait_for(lambda: [job for job in moody.events("job") if os.fspath(dst) in job["arguments"]])
    assert (job["status"], job["signal"]) == (None, name)
    # The next one goes on, and removes what was left.
    (tmp_path / "in.dcm").write_bytes(SOURCE)
    assert moody.call(tmp_path / "in.dcm", dst, "--to", "rle", client=client) == Ran(0, "", "")
    assert batches.parts(tmp_path) == []


def test_a_codec_that_ends_the_process_gives_its_status(moody: Server, tmp_path: Path) -> None:
    """As it would without a server: nobody else saw that status 0 is a lie."""
    served, alone = (
        moody.call(moody_file(tmp_path, Mood.EXIT), tmp_path / "out.dcm", "--to", "rle", client=line).status
        for line in (CLIENT, (sys.executable, fake_codecs.__file__))
    )
    assert served == alone


def test_a_job_is_never_done_twice(own: Server, tmp_path: Path) -> None:
    """Its process is killed, the server is gone, and still the client has what it sent done by nobody else."""
    dst = tmp_path / "out.dcm"
    with own.start("-", dst, "--to", "rle") as waiting:
        job = own.job()
        own.process.kill()
        own.process.wait()
        os.kill(job["pid"], signal.SIGKILL)
        out, err = waiting.communicate(SOURCE, PATIENCE)
    assert (waiting.returncode, out) == (6, b"")
    assert err.decode().startswith(LOST)
    assert err.count(b"\n") == 1
    assert not dst.exists()


# --- the server's end ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_server_that_is_ended_finishes_its_jobs_and_sends_those_away_that_wait(
    number: signal.Signals, own: Server, src: Path, tmp_path: Path
) -> None:
    with own.start("-", tmp_path / "first", "--to", "rle") as first:
        own.job()
        with own.start(src, tmp_path / "second", "--to", "rle") as second:
            wait_for(lambda: own.status()["waiting"] == 1)
            own.process.send_signal(number)
            assert second.communicate(None, PATIENCE) == (b"", b"")
            assert second.returncode == 0
        assert not own.socket.exists()
        assert own.call(src, tmp_path / "third", "--to", "rle") == Ran(0, "", "")
        assert own.process.poll() is None
        assert first.communicate(SOURCE, PATIENCE) == (b"", b"")
        assert first.returncode == 0
    assert own.process.wait(PATIENCE) == 0
    assert len({(tmp_path / name).read_bytes() for name in ("first", "second", "third")}) == 1
    assert [event["event"] for event in own.events()] == ["start", "job", "end"]


def test_a_second_signal_ends_the_jobs_too(tmp_path: Path, stage: Stage) -> None:
    with Server(program=(fake_codecs.__file__,), env=stage.environment()) as server:
        warmed = begun(stage)
        with server.start(moody_file(tmp_path, Mood.SLEEP), tmp_path / "out.dcm", "--to", "rle") as client:
            wait_for(lambda: begun(stage) > warmed)
            server.process.send_signal(signal.SIGTERM)
            wait_for(lambda: not server.socket.exists())
            server.process.send_signal(signal.SIGTERM)
            assert client.communicate(None, PATIENCE) == (b"", b"")
            assert client.returncode == 143
        assert server.process.wait(PATIENCE) == 0
    assert batches.names(tmp_path) == {"sleep.dcm"}


def test_a_job_outlives_a_server_that_is_killed(own: Server, src: Path, dst: Path) -> None:
    with own.start("-", dst, "--to", "rle") as client:
        own.job()
        own.process.kill()
        own.process.wait()
        # And holds nothing that the next server needs.
        with Server(directory=own.directory) as other:
            assert other.call(src, dst.with_name("other"), "--to", "rle") == Ran(0, "", "")
        assert client.communicate(SOURCE, PATIENCE) == (b"", b"")
        assert client.returncode == 0
    assert dst.read_bytes() == dst.with_name("other").read_bytes()


# --- where it listens ------------------------------------------------------------------------------------------


def test_directory_and_socket_are_the_users_alone(short: Path) -> None:
    directory = short / "new"
    line = [sys.executable, "-m", "dcmtx", "serve", "--socket", os.fspath(directory / "s")]
    before = os.umask(0)
    try:
        process = subprocess.Popen(line, stderr=subprocess.PIPE)
    finally:
        os.umask(before)
    try:
        assert b"listens" in process.stderr.readline()
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700
        assert stat.S_IMODE((directory / "s").stat().st_mode) == 0o600
    finally:
        process.terminate()
        assert process.wait(PATIENCE) == 0
        process.stderr.close()
    assert not (directory / "s").exists()


def test_a_second_server_is_refused(own: Server, src: Path, dst: Path, fails: Fails) -> None:
    line = fails(8, "serve", "--socket", own.socket)
    assert line == f"dcmtx: {own.socket}: another server listens there; end it first, or name another socket"
    assert own.call(src, dst, "--to", "rle") == Ran(0, "", "")
    assert len(own.until_done(1)) == 1


def test_somebody_who_listens_without_a_lock_is_not_pushed_aside(short: Path, fails: Fails) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(f"{short}/s")
        listening.listen()
        assert "another server" in fails(8, "serve", "--socket", short / "s")
    assert (short / "s").exists()


def test_the_socket_of_a_server_that_was_killed_is_replaced(src: Path, dst: Path) -> None:
    with Server() as first:
        assert first.end(signal.SIGKILL) == -9
        assert first.socket.exists()
        # Nobody is there: the client does it itself.
        assert first.call(src, dst, "--to", "rle") == Ran(0, "", "")
        with Server(directory=first.directory) as second:
            assert second.call(src, dst, "--to", "rle") == Ran(0, "", "")
            assert len(second.until_done(1)) == 1


def _others_enter(short: Path) -> Path:
    short.chmod(0o755)
    return short / "s"


def _a_link(short: Path) -> Path:
    (short / "real").mkdir(mode=0o700)
    (short / "link").symlink_to("real")
    return short / "link" / "s"


def _a_file(short: Path) -> Path:
    (short / "s").write_text("precious")
    return short / "s"


def _a_link_to_a_file(short: Path) -> Path:
    (short / "precious").write_text("precious")
    (short / "s").symlink_to("precious")
    return short / "s"


def _a_linked_lock(short: Path) -> Path:
    (short / "precious").write_text("precious")
    (short / "s.lock").symlink_to("precious")
    return short / "s"


PLACES: dict[str, tuple[Callable[[Path], Path], str]] = {
    "a directory where others come in": (_others_enter, "0700"),
    "a directory that is a link": (_a_link, "0700"),
    "a file": (_a_file, "no socket of yours"),
    "a link": (_a_link_to_a_file, "no socket of yours"),
    "a lock that is a link": (_a_linked_lock, "cannot be made"),
    "a directory that cannot be made": (lambda short: short / "a" / "b" / "s", "cannot be made"),
    "a long path": (lambda short: short / ("x" * 108), "107 bytes"),
}


@pytest.mark.parametrize(("make", "says"), PLACES.values(), ids=PLACES.keys())
def test_a_place_that_is_not_ours_alone_is_refused(
    make: Callable[[Path], Path], says: str, short: Path, fails: Fails
) -> None:
    path = make(short)
    before = contents(short)
    assert says in fails(8, "serve", "--socket", path)
    after = contents(short)
    after.pop("s.lock", None)
    before.pop("s.lock", None)
    assert after == before


# As systemd starts a service: the socket is descriptor 3.
ACTIVATE = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=sys.argv[2])
os.execv(sys.argv[3], sys.argv[3:])
"""


def test_systemd_may_pass_the_socket(short: Path, src: Path, dst: Path) -> None:
    """Its file stays where it is: whoever comes when the server is gone has it started again."""
    with socket.socket(socket.AF_UNIX) as listening:
        mask = os.umask(0o177)
        listening.bind(f"{short}/s")
        os.umask(mask)
        listening.listen()
        number = listening.fileno()
        line = [sys.executable, "-c", ACTIVATE, str(number), "1", sys.executable, "-m", "dcmtx", "serve"]
        for turn in (1, 2):
            with Server(line=line, directory=short, pass_fds=[number]) as server:
                assert server.call(src, dst, "--to", "rle") == Ran(0, "", "")
                assert len(server.until_done(turn)) == turn
                assert server.status()["socket"] == f"{short}/s"
                assert server.end() == 0
                assert server.socket.exists()


@need_root
def test_clients_of_a_socket_that_was_passed_see_who_serves_and_not_who_made_it(short: Path) -> None:
    """Or none would trust it: systemd makes it as root, and the server is somebody else."""
    program = (
        "import os, sys\nfrom dcmtx.serve.listen import activated\nos.dup2(int(sys.argv[1]), 3)\n"
        f"os.setgid({NOBODY}); os.setuid({NOBODY})\nos.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='1')\n"
        "listener = activated(); print(listener.path, flush=True); sys.stdin.read()"
    )

    def owner() -> int:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(f"{short}/s")
            return peer(connection)[1]

    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(f"{short}/s")
        listening.listen()
        assert owner() == 0
        line = [sys.executable, "-c", program, str(listening.fileno())]
        pipe = subprocess.PIPE
        with subprocess.Popen(line, pass_fds=[listening.fileno()], stdin=pipe, stdout=pipe, text=True) as server:
            assert server.stdout.readline() == f"{short}/s\n"
            assert owner() == NOBODY


PASSED = {"none": ("0", "0 sockets"), "two": ("2", "2 sockets"), "a file": ("1", "no Unix stream socket")}


@pytest.mark.parametrize(("count", "says"), PASSED.values(), ids=PASSED.keys())
def test_what_systemd_passes_must_be_one_socket(count: str, says: str) -> None:
    ran = spawn("serve", prefix=[sys.executable, "-c", ACTIVATE, "0", count], stdin=subprocess.DEVNULL)
    assert ran.returncode == 2
    assert says in Ran(2, ran.stdout.decode(), ran.stderr.decode()).line


# --- whom it serves, and whom clients trust --------------------------------------------------------------------


def alone(server: Server, *arguments: str | Path, client: tuple[str, ...] = CLIENT, **options: object) -> None:
    """Assert that a conversion is done, and not by the server."""
    done = len(server.events("job"))
    assert server.call(*arguments, client=client, **options) == Ran(0, "", "")
    assert len(server.events("job")) == done
    assert not server.status()["running"]


@pytest.mark.parametrize(
    ("patch", "why"),
    [
        ("import dcmtx._version; dcmtx._version.__version__ = '0.0.0'", "version"),
        ("import os; c.view = lambda: '1:2:3'", "files"),
    ],
    ids=["another version", "other files"],
)
def test_a_client_that_the_server_cannot_stand_for_does_it_itself(
    patch: str, why: str, server: Server, src: Path, dst: Path
) -> None:
    program = f"import dcmtx\n{patch.replace('c.view', 'view') if 'version' in patch else ''}\n"
    program += f"import dcmtx.serve.client as c\n{patch if 'view' in patch else ''}\n"
    program += "from dcmtx.__main__ import main; main()"
    alone(server, src, dst, "--to", "rle", client=(sys.executable, "-c", program))
    assert why in server.events("declined")[-1]["why"]


@need_root
def test_a_client_of_another_group_does_it_itself(server: Server, src: Path, dst: Path) -> None:
    alone(server, src, dst, "--to", "rle", group=NOBODY)
    assert "group" in server.events("declined")[-1]["why"]
    assert dst.stat().st_gid == NOBODY


@need_root
def test_a_client_in_other_groups_does_it_itself(server: Server, src: Path, dst: Path) -> None:
    alone(server, src, dst, "--to", "rle", extra_groups=[*os.getgroups(), NOBODY])
    assert "groups" in server.events("declined")[-1]["why"]


@need_root
def test_a_client_that_may_read_less_does_it_itself(server: Server, src: Path, dst: Path) -> None:
    line = (need_tool("setpriv"), "--bounding-set=-dac_override,-dac_read_search", *CLIENT)
    alone(server, src, dst, "--to", "rle", client=line)
    assert "capabilities" in server.events("declined")[-1]["why"]


@need_root
def test_another_user_is_refused(own: Server, src: Path, dst: Path) -> None:
    own.directory.chmod(0o755)
    own.socket.chmod(0o666)
    program = (
        "import socket, sys\ns = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1])\n"
        f"try: s.sendall(b'dcmtx {__version__} job x\\n'); print(s.recv(10))\nexcept OSError: print(b'')"
    )
    ran = own.call(own.socket, client=("python3", "-c", program), user=NOBODY, group=NOBODY, extra_groups=[])
    assert ran == Ran(0, "b''\n", "")
    assert wait_for(lambda: own.events("refused"))[0]["user"] == NOBODY
    own.socket.chmod(0o600)
    own.directory.chmod(0o700)
    assert own.call(src, dst, "--to", "rle") == Ran(0, "", "")
    assert own.status()["refused"] == 1


@need_root
@pytest.mark.parametrize("looks_right", [False, True])
def test_nothing_is_sent_to_a_socket_that_another_user_listens_on(
    looks_right: bool, short: Path, src: Path, dst: Path, client: tuple[str, ...]
) -> None:
    """Not even where the file of the socket looks as if it were ours."""
    short.chmod(0o755)
    (short / "d").mkdir()
    os.chown(short / "d", NOBODY, NOBODY)
    program = (
        "import os, socket, sys\nos.umask(0o177); s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen()\n"
        "print('ready', flush=True); c, _ = s.accept(); print(c.recv(100))"
    )
    path = os.fspath(short / "d" / "s")
    options = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
    squatter = subprocess.Popen(["python3", "-c", program, path], stdout=subprocess.PIPE, text=True, **options)
    with squatter:
        assert squatter.stdout.readline() == "ready\n"
        if looks_right:
            os.chown(short / "d", 0, 0)
            os.chown(path, 0, 0)
        ran = spawn(src, dst, "--to", "rle", env=os.environ | {"DCMTX_SOCKET": path}) if client == CLIENT else (
            subprocess.run([*client, src, dst, "--to", "rle"], env=os.environ | {"DCMTX_SOCKET": path},
                           capture_output=True, timeout=PATIENCE, check=False))  # fmt: skip
        assert (ran.returncode, ran.stdout, ran.stderr) == (0, b"", b"")
        if not looks_right:
            # It was not even connected to.
            squatter.kill()
        assert squatter.stdout.read() == ("b''\n" if looks_right else "")
    assert dicom.walk(dst.read_bytes()).syntax == dicom.RLE


def _everybodys(server: Server, short: Path) -> Path:
    server.socket.chmod(0o666)
    return server.socket


def _in_everybodys(server: Server, short: Path) -> Path:
    server.directory.chmod(0o777)
    return server.socket


def _linked(server: Server, short: Path) -> Path:
    (short / "s").symlink_to(server.socket)
    return short / "s"


def _in_a_linked(server: Server, short: Path) -> Path:
    (short / "d").symlink_to(server.directory)
    return short / "d" / "s"


def _no_socket(server: Server, short: Path) -> Path:
    (short / "s").touch(0o600)
    return short / "s"


UNTRUSTED = {
    "a socket for everybody": _everybodys, "a directory for everybody": _in_everybodys, "a link": _linked,
    "a directory that is a link": _in_a_linked, "no socket": _no_socket,
    "nothing": lambda _, short: short / "none" / "s", "an empty name": lambda *_: Path(),
}  # fmt: skip


@pytest.mark.parametrize("make", UNTRUSTED.values(), ids=UNTRUSTED.keys())
def test_a_socket_that_others_could_have_put_there_is_not_used(
    make: Callable[[Server, Path], Path], server: Server, short: Path, src: Path, dst: Path, client: tuple[str, ...]
) -> None:
    path = make(server, short)
    try:
        done = len(server.events("job"))
        environment = server.environment(DCMTX_SOCKET="" if path == Path() else os.fspath(path))
        assert server.call(src, dst, "--to", "rle", client=client, env=environment) == Ran(0, "", "")
        assert len(server.events("job")) == done
        if path != Path():
            with pytest.raises(OSError):  # noqa: PT011 - which one is the system's affair
                clients.ask(os.fspath(path), "status")
    finally:
        server.socket.chmod(0o600)
        server.directory.chmod(0o700)
    assert server.status()["running"] == []


def test_sockets_are_looked_for_where_they_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for variables, found in (
        ({}, ["/run/dcmtx/socket"]),
        ({"XDG_RUNTIME_DIR": "/run/user/7"}, ["/run/dcmtx/socket", "/run/user/7/dcmtx/socket"]),
        ({"XDG_RUNTIME_DIR": "/run/user/7", "DCMTX_SOCKET": "/a/b"}, ["/a/b"]),
        ({"XDG_RUNTIME_DIR": "/run/user/7", "DCMTX_SOCKET": ""}, []),
    ):
        for name in ("DCMTX_SOCKET", "XDG_RUNTIME_DIR"):
            monkeypatch.delenv(name, raising=False)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        assert clients.places() == found


def test_the_users_own_place_is_the_second(short: Path, src: Path, dst: Path, client: tuple[str, ...]) -> None:
    if os.path.exists("/run/dcmtx/socket"):
        pytest.skip("somebody has a server on this machine")
    environment = {name: value for name, value in os.environ.items() if name != "DCMTX_SOCKET"}
    environment["XDG_RUNTIME_DIR"] = os.fspath(short)
    (short / "dcmtx").mkdir(mode=0o700)
    line = [sys.executable, "-m", "dcmtx", "serve"]
    if os.geteuid() == 0:
        line += ["--socket", f"{short}/dcmtx/socket"]
    with Server(line=line, directory=short, env=environment) as server:
        assert server.call(src, dst, "--to", "rle", client=client, env=environment) == Ran(0, "", "")
        assert len(server.until_done(1)) == 1


# --- what is no client -----------------------------------------------------------------------------------------


def connected(server: Server) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(PATIENCE)
    connection.connect(os.fspath(server.socket))
    return connection


NOISE = {
    "a browser": b"GET / HTTP/1.1\r\n\r\n",
    "one word": b"dcmtx\n",
    "an unknown word": f"dcmtx {__version__} dance {clients.view()}\n".encode(),
    "bytes": bytes(range(256)),
    "a long line": b"x" * 5000,
    "more than was asked for": f"dcmtx {__version__} job {clients.view()}\nand more\n".encode(),
}


@pytest.mark.parametrize("noise", NOISE.values(), ids=NOISE.keys())
def test_noise_is_hung_up_on(noise: bytes, own: Server, src: Path, dst: Path) -> None:
    with connected(own) as connection:
        connection.sendall(noise)
        with contextlib.suppress(ConnectionResetError):
            assert connection.recv(100) in (b"", b"-")
    assert own.call(src, dst, "--to", "rle") == Ran(0, "", "")


def test_who_says_nothing_keeps_nobody_waiting(own: Server, src: Path, dst: Path) -> None:
    with connected(own), connected(own), connected(own) as third:
        third.sendall(b"dcmtx ")
        assert own.call(src, dst, "--to", "rle") == Ran(0, "", "")
        # Its process ends after its client has the status.
        wait_for(lambda: own.status()["running"] == [])


BAD_JOBS = {
    "nothing": b"", "a length only": b"00000010", "no length": b"zzzzzzzz", "too long": b"ffffffff",
    "no fields": b"00000003abc", "no descriptors": b"0000000c22\0\0" + b"0\0a\0b\0c\0",
}  # fmt: skip


@pytest.mark.parametrize("job", BAD_JOBS.values(), ids=BAD_JOBS.keys())
def test_what_is_no_job_is_not_begun(job: bytes, own: Server, src: Path, dst: Path) -> None:
    with connected(own) as connection:
        connection.sendall(f"dcmtx {__version__} job {clients.view()}\n".encode())
        assert connection.recv(1) == clients.GO
        connection.sendall(job)
    assert own.call(src, dst, "--to", "rle") == Ran(0, "", "")
    assert [event["status"] for event in own.until_done(2)] == [1, 0]
    assert own.events("job")[0]["arguments"] == ""


def test_a_job_that_does_not_come_is_not_waited_for() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(b"0000")
        with pytest.raises(TimeoutError):
            jobs.receive(theirs, patience=0.01)


# --- what it prints --------------------------------------------------------------------------------------------


def test_the_status_says_who_is_there_and_what_was_done(own: Server, src: Path, dst: Path) -> None:
    own.call(src, dst, "--to", "rle")
    own.call("missing", dst, "--to", "rle")
    own.until_done(2)
    with own.start("-", dst, "--to", "rle") as waiting:
        job = own.job()
        ran = own.call("serve", "--status", "--json")
        assert (ran.status, ran.err) == (0, "")
        status = json.loads(ran.out)
        assert (status["version"], status["pid"], status["jobs"]) == (__version__, own.process.pid, 1)
        assert status["done"] == {"0": 1, "3": 1}
        assert [(job["pid"], f"- {dst} --to rle")] == [(job["pid"], job["arguments"]) for job in status["running"]]
        text = own.call("serve", "--status", "--socket", own.socket, env=os.environ)
        assert (text.status, text.err) == (0, "")
        assert f"process {job['pid']}" in text.out
        assert "jobs done: 2 (1 with status 0, 1 with status 3)" in text.out
        waiting.communicate(b"", PATIENCE)


def test_no_server_no_status(short: Path, fails: Fails, monkeypatch: pytest.MonkeyPatch) -> None:
    line = fails(3, "serve", "--status", "--socket", short / "s")
    assert line.startswith(f"dcmtx: no server answers ({short}/s: ")
    monkeypatch.setenv("DCMTX_SOCKET", "")
    assert "DCMTX_SOCKET is empty" in fails(3, "serve", "--status")


USAGE = {
    "records of nothing": (["--json"], "--status"),
    "two things at a time": (["--unit", "--status"], "exclude"),
    "no jobs": (["--jobs", "0"], "jobs"),
    "an argument": (["file.dcm"], "argument"),
}


@pytest.mark.parametrize(("arguments", "says"), USAGE.values(), ids=USAGE.keys())
def test_usage_errors_of_serve(arguments: list[str], says: str, fails: Fails) -> None:
    assert says in fails(2, "serve", *arguments)


def test_the_log_of_people_has_a_line_for_each_job(short: Path, src: Path, dst: Path) -> None:
    line = [sys.executable, "-m", "dcmtx", "serve", "--socket", os.fspath(short / "s"), "--jobs", "2"]
    with subprocess.Popen(line, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr.readline() == f"dcmtx serve: listens at {short}/s, 2 jobs at a time at most\n"
        odd = dst.with_name("a\nb.dcm")
        spawn(src, odd, "--to", "rle", env=os.environ | {"DCMTX_SOCKET": f"{short}/s"})
        told = process.stderr.readline()
        assert re.fullmatch(
            r"dcmtx serve: job 1: status 0, [\d.]+ s, [\d.]+ s of CPU: [^\n]*a\\nb.dcm --to rle\n", told
        )
        process.terminate()
        assert process.stderr.read() == "dcmtx serve: ends, every job is done\n"
    assert process.returncode == 0


def test_the_units_are_in_order_for_systemd(tmp_path: Path, fails: Fails) -> None:
    text = units("/run/dcmtx/socket", "orthanc", ["--jobs", "2"])
    for name in ("dcmtx.socket", "dcmtx.service"):
        assert f"# /etc/systemd/system/{name}\n" in text
    assert f"ExecStart={sys.executable} -P -m dcmtx serve --jobs 2\n" in text
    for setting in ("ListenStream=/run/dcmtx/socket", "SocketMode=0600", "KillMode=mixed", "User=orthanc"):
        assert f"\n{setting}\n" in text
    if shutil.which("systemd-analyze") is None:
        return
    socket_unit, _, service_unit = text.partition("# /etc/systemd/system/dcmtx.service\n")
    (tmp_path / "dcmtx.socket").write_text(socket_unit.replace("orthanc", "root"))
    (tmp_path / "dcmtx.service").write_text(service_unit.replace("orthanc", "root"))
    checked = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", tmp_path / "dcmtx.socket", tmp_path / "dcmtx.service"],
        env=os.environ | {"SYSTEMD_UNIT_PATH": f"{tmp_path}:"}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert not [line for line in checked.stderr.splitlines() if "dcmtx" in line]


def test_units_and_client_are_printed(command: Callable[..., Ran]) -> None:
    ran = command("serve", "--unit", "--jobs", "3", "--socket", "/run/a b/s")
    assert (ran.status, ran.err) == (0, "")
    assert "ListenStream=/run/a b/s\n" in ran.out
    assert "serve --jobs 3 --log-format text\n" in ran.out
    assert command("serve", "--client-source") == Ran(0, client_source(), "")


def test_odd_paths_of_python_stay_what_they_are(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    odd = 'a "b"\\ c??/ü%n $x'
    monkeypatch.setattr(sys, "executable", odd)
    assert r'ExecStart="a \"b\"\\ c??/ü%%n $$x" -P -m dcmtx serve' in units("/s", "u", [])
    source = client_source()
    assert '"a \\042b\\042\\134 c\\077\\077/\\303\\274%n $x"' in source
    assert "@" not in re.sub(r"@.*@", "", source.replace("cc -O2", ""))


def test_the_client_in_c_without_a_server_is_dcmtx(thin: Path, src: Path, dst: Path) -> None:
    def run(*arguments: str | Path) -> tuple[int, str, str]:
        ran = subprocess.run(
            [thin, *arguments], env=NEEDED | {"DCMTX_SOCKET": "/none"}, cwd="/", capture_output=True, text=True,
            timeout=PATIENCE, check=False,
        )  # fmt: skip
        return ran.returncode, ran.stdout, ran.stderr

    assert run(src, dst, "--to", "rle") == (0, "", "")
    assert dicom.walk(dst.read_bytes()).syntax == dicom.RLE
    assert run(dst.parent / "none", dst, "--to", "rle")[0] == 3
    assert run("serve", "--status")[0] == 3
