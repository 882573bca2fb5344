"""Writing: all of a file or nothing of it, whatever the disk, the directory or the program does meanwhile."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import sys
import threading
import zlib
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import dicom
import numpy as np
import pytest
from conftest import Ran, contents, need_modes, old_file, spawn
from hypothesis import given, settings
from hypothesis import strategies as st

from dcmtx.errors import InputError, OutputError
from dcmtx.place import atomic, filesystem, temporary
from dcmtx.place.atomic import AtomicSink, Postponing
from dcmtx.place.bytes import FIRST_BYTES, open_bytes
from dcmtx.place.deflate import Deflating
from dcmtx.place.stream import StreamSink
from dcmtx.place.temporary import is_temporary
from dcmtx.pool import children

Command = Callable[..., Ran]
Fails = Callable[..., str]

PART = ".dcmtx-part"
PIXELS = np.arange(64 * 64, dtype="<u2") % 4096
SOURCE = dicom.Image(PIXELS.tobytes(), rows=64, columns=64, stored=12).encode()


@pytest.fixture
def src(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("source") / "in.dcm"
    path.write_bytes(SOURCE)
    return path


def only_part(directory: Path) -> Path:
    """The one temporary file in a directory."""
    (part,) = [path for path in directory.iterdir() if path.name.endswith(PART)]
    return part


# --- what is written -------------------------------------------------------------------------------------------


def test_nothing_is_at_the_destination_before_commit_and_all_of_it_afterwards(dst: Path) -> None:
    with AtomicSink(str(dst)) as sink:
        sink.write(b"one ")
        sink.write(memoryview(b"two"))
        assert not dst.exists()
        sink.commit()
        assert dst.read_bytes() == b"one two"
    assert os.listdir(dst.parent) == [dst.name]
    assert sink.bytes == 7


def test_an_old_file_stays_until_commit(dst: Path) -> None:
    old = old_file(dst).read_bytes()
    with AtomicSink(str(dst)) as sink:
        sink.write(b"new")
        assert dst.read_bytes() == old
        sink.commit()
    assert dst.read_bytes() == b"new"


def test_an_empty_file(dst: Path) -> None:
    with AtomicSink(str(dst)) as sink:
        sink.commit()
    assert dst.read_bytes() == b""


def test_a_reader_of_the_old_file_goes_on_reading_it(dst: Path) -> None:
    old = old_file(dst).read_bytes()
    with dst.open("rb") as reader, AtomicSink(str(dst)) as sink:
        sink.write(b"new")
        sink.commit()
        assert reader.read() == old


@settings(derandomize=True, deadline=None, max_examples=50)
@given(
    parts=st.lists(st.binary(max_size=40), min_size=1, max_size=12),
    patches=st.lists(st.tuples(st.integers(0, 400), st.binary(max_size=20)), max_size=6),
)
def test_patches_land_where_they_belong_and_writing_goes_on_at_the_end(
    parts: list[bytes], patches: list[tuple[int, bytes]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    dst = tmp_path_factory.getbasetemp() / "patched"
    expected = bytearray()
    with AtomicSink(str(dst)) as sink:
        for number, part in enumerate(parts):
            sink.write(part)
            expected += part
            if number < len(patches):
                offset, data = patches[number]
                data = data[: max(0, len(expected) - offset)]
                sink.patch(offset, data)
                expected[offset : offset + len(data)] = data
        sink.commit()
    assert dst.read_bytes() == expected
    assert sink.bytes == len(expected)


def test_a_patch_reaches_bytes_that_left_the_buffer_long_ago(dst: Path) -> None:
    with AtomicSink(str(dst)) as sink:
        sink.write(b"12345678")
        for _ in range(5):
            sink.write(bytes(1 << 20))
        sink.patch(2, b"ab")
        sink.write(b"end")
        sink.commit()
    data = dst.read_bytes()
    assert data[:8] == b"12ab5678"
    assert data[-3:] == b"end"
    assert len(data) == 8 + 5 * (1 << 20) + 3


@pytest.mark.parametrize("size", [0, 1, 2, 100, 101, 3_000_000], ids=lambda size: f"{size} bytes")
def test_deflated_bytes_are_raw_and_even(size: int, dst: Path) -> None:
    data = np.random.default_rng(size).bytes(size // 2) + bytes(size - size // 2)
    with AtomicSink(str(dst)) as sink:
        sink.write(b"meta")
        deflating = Deflating(sink)
        for at in range(0, size, 70_001):
            deflating.write(data[at : at + 70_001])
        deflating.finish()
        assert deflating.bytes == sink.bytes
        sink.commit()
    written = dst.read_bytes()
    inflater = zlib.decompressobj(-15)
    assert written[:4] == b"meta"
    assert inflater.decompress(written[4:]) == data
    assert inflater.eof
    assert inflater.unused_data in (b"", b"\0")
    assert len(written[4:]) % 2 == 0
    assert sink.bytes == len(written)


def test_odd_deflated_streams_get_one_zero(dst: Path) -> None:
    padded = set()
    for number in range(12):
        with AtomicSink(str(dst)) as sink:
            deflating = Deflating(sink)
            deflating.write(b"x" * number)
            deflating.finish()
            sink.commit()
        inflater = zlib.decompressobj(-15)
        inflater.decompress(dst.read_bytes())
        padded.add(inflater.unused_data)
    assert padded == {b"", b"\0"}


@pytest.mark.parametrize("size", [0, 1, 65_536, 3_000_001], ids=lambda size: f"{size} bytes")
def test_copy_copies_every_byte(size: int, tmp_path: Path, dst: Path) -> None:
    data = np.random.default_rng(1).bytes(size)
    (tmp_path / "in").write_bytes(data)
    file = open_bytes(str(tmp_path / "in"))
    try:
        with AtomicSink(str(dst)) as sink:
            sink.copy(file)
            sink.commit()
    finally:
        file.close()
    assert dst.read_bytes() == data
    assert sink.bytes == size


# Systems say in many ways that they cannot: that one end is no socket, that a filter of calls forbids it.
NO_SENDFILE = [
    errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOTSOCK, errno.EPERM, errno.EACCES, errno.EBADF,
    errno.ENOTTY, errno.EOVERFLOW,
]  # fmt: skip


@pytest.mark.parametrize("error", NO_SENDFILE, ids=errno.errorcode.get)
def test_copy_where_the_kernel_does_not_copy(
    error: int, tmp_path: Path, dst: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = np.random.default_rng(2).bytes(2_500_000)
    (tmp_path / "in").write_bytes(data)
    monkeypatch.setattr(os, "sendfile", failing(error))
    file = open_bytes(str(tmp_path / "in"))
    try:
        with AtomicSink(str(dst)) as sink:
            sink.copy(file)
            sink.commit()
    finally:
        file.close()
    assert dst.read_bytes() == data


def test_copy_where_there_is_no_such_call(tmp_path: Path, dst: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "in").write_bytes(b"all of it")
    monkeypatch.delattr(os, "sendfile")
    with closing(open_bytes(str(tmp_path / "in"))) as file, AtomicSink(str(dst)) as sink:
        sink.copy(file)
        sink.commit()
    assert dst.read_bytes() == b"all of it"


@pytest.mark.parametrize("calls", [["sendfile", "write"], ["sendfile", "pread"]], ids=["writing", "reading"])
def test_a_copy_that_fails_in_any_way_is_an_error(
    calls: list[str], tmp_path: Path, dst: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "in").write_bytes(bytes(200_000))
    with closing(open_bytes(str(tmp_path / "in"))) as file, AtomicSink(str(dst)) as sink:
        for call in calls:
            monkeypatch.setattr(os, call, failing(errno.EIO))
        file._first = b""
        with pytest.raises((OutputError, InputError), match="Input/output error"):
            sink.copy(file)
    assert not dst.exists()


# --- the temporary file ----------------------------------------------------------------------------------------


def test_the_temporary_file_is_beside_the_destination_and_hidden(dst: Path) -> None:
    with AtomicSink(str(dst)):
        part = only_part(dst.parent)
        assert part.name.startswith(f".{dst.name}")
        assert is_temporary(part.name)
    assert not is_temporary(dst.name)


def left_behind(dst: Path) -> Path:
    """Make the temporary file of a process that was killed: it is there, and nobody holds its lock."""
    with AtomicSink(str(dst)):
        part = only_part(dst.parent)
    part.write_bytes(b"half of a file")
    return part


def test_what_a_killed_process_left_is_removed_by_the_next(dst: Path) -> None:
    left_behind(dst)
    with AtomicSink(str(dst)) as sink:
        assert only_part(dst.parent).stat().st_size == 0
        sink.write(b"new")
        sink.commit()
    assert os.listdir(dst.parent) == [dst.name]
    assert dst.read_bytes() == b"new"


def test_what_somebody_is_still_writing_is_left_alone(dst: Path) -> None:
    part = left_behind(dst)
    with part.open("rb") as writer:
        fcntl.flock(writer, fcntl.LOCK_EX)
        with AtomicSink(str(dst)) as sink:
            sink.write(b"new")
            sink.commit()
    assert part.read_bytes() == b"half of a file"
    assert dst.read_bytes() == b"new"


def test_a_link_of_the_temporary_name_is_not_followed(tmp_path: Path, dst: Path) -> None:
    precious = old_file(tmp_path / "precious")
    part = left_behind(dst)
    part.unlink()
    part.symlink_to("precious")
    with AtomicSink(str(dst)) as sink:
        sink.write(b"new")
        sink.commit()
    assert precious.read_bytes() == b"what was here before"
    assert dst.read_bytes() == b"new"


def test_the_temporary_file_of_a_link_is_beside_what_it_links_to(tmp_path: Path, dst: Path) -> None:
    (tmp_path / "far").mkdir()
    dst.symlink_to("far/real.dcm")
    with AtomicSink(str(dst)):
        only_part(tmp_path / "far")
        assert sorted(os.listdir(tmp_path)) == ["far", "out.dcm"]


def test_two_sinks_for_one_destination_do_not_meet(dst: Path) -> None:
    with AtomicSink(str(dst)) as one, AtomicSink(str(dst)) as other:
        one.write(b"one")
        other.write(b"other")
        one.commit()
        assert dst.read_bytes() == b"one"
        other.commit()
    assert dst.read_bytes() == b"other"
    assert os.listdir(dst.parent) == [dst.name]


LONG_NAMES = {
    "255 letters": b"x" * 255,
    "254 letters": b"x" * 254,
    "220 letters": b"x" * 220,
    "letters of two bytes": "é".encode() * 127,
    "letters of three bytes": "画".encode() * 85,
    "letters of four bytes": "🩻".encode() * 63,
    "bytes that are no UTF-8": b"\xff" * 255,
}


@pytest.mark.parametrize("name", LONG_NAMES.values(), ids=LONG_NAMES.keys())
def test_the_temporary_name_fits_whatever_the_name(name: bytes, tmp_path: Path) -> None:
    dst = tmp_path / os.fsdecode(name)
    with AtomicSink(str(dst)) as sink:
        assert len(os.fsencode(only_part(tmp_path).name)) <= 255
        sink.commit()
    assert os.listdir(os.fsencode(tmp_path)) == [name]


def test_the_temporary_file_is_locked_while_it_is_written(dst: Path) -> None:
    with AtomicSink(str(dst)), only_part(dst.parent).open("rb") as other:
        with pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_SH | fcntl.LOCK_NB)


def test_a_file_in_place_is_not_locked(dst: Path) -> None:
    with AtomicSink(str(dst)) as sink:
        sink.commit()
        with dst.open("rb") as other:
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_the_temporary_file_is_no_more_readable_than_the_file_it_will_replace(dst: Path) -> None:
    old_file(dst).chmod(0o600)
    before = os.umask(0o022)
    try:
        with AtomicSink(str(dst)):
            assert stat.S_IMODE(only_part(dst.parent).stat().st_mode) & 0o077 == 0
    finally:
        os.umask(before)


@pytest.mark.parametrize("error", [None, ValueError, KeyboardInterrupt, SystemExit, MemoryError])
def test_leaving_without_commit_leaves_nothing(error: type[BaseException] | None, dst: Path) -> None:
    old_file(dst)
    before = contents(dst.parent)

    def leave() -> None:
        with AtomicSink(str(dst)) as sink:
            sink.write(bytes(3_000_000))
            if error:
                raise error

    if error:
        with pytest.raises(error):
            leave()
    else:
        leave()
    assert contents(dst.parent) == before


def test_leaving_twice_does_no_harm(dst: Path) -> None:
    sink = AtomicSink(str(dst))
    sink.abort()
    sink.abort()
    assert os.listdir(dst.parent) == []


def test_leaving_where_the_directory_has_vanished_does_no_harm(tmp_path: Path) -> None:
    (tmp_path / "to").mkdir()
    with AtomicSink(str(tmp_path / "to" / "out.dcm")) as sink:
        sink.write(b"x")
        only_part(tmp_path / "to").unlink()
        (tmp_path / "to").rmdir()
    assert os.listdir(tmp_path) == []


# --- what fails ------------------------------------------------------------------------------------------------


def failing(number: int, only: Callable[..., bool] = lambda *_: True, real: Callable[..., object] | None = None):
    """A function of the operating system that fails with an error, where `only` says so."""

    def fail(*arguments: object, **named: object) -> object:
        if only(*arguments):
            raise OSError(number, os.strerror(number))
        assert real is not None
        return real(*arguments, **named)

    return fail


FAILING = {
    "fsync, for the disk is full": ("fsync", errno.ENOSPC),
    "fsync, for the disk is broken": ("fsync", errno.EIO),
    "rename": ("rename", errno.EXDEV),
    "rename, for a directory is in the way": ("rename", errno.EISDIR),
    "fchmod": ("fchmod", errno.EPERM),
}


@pytest.mark.parametrize(("function", "number"), FAILING.values(), ids=FAILING.keys())
def test_a_failure_of_the_system_leaves_the_old_file_and_nothing_else(
    function: str, number: int, dst: Path, src: Path, fails: Fails, monkeypatch: pytest.MonkeyPatch
) -> None:
    old_file(dst)
    monkeypatch.setattr(os, function, failing(number))
    line = fails(8, src, dst, "--to", "rle")
    assert line.startswith(f"dcmtx: {dst}: ")
    assert os.strerror(number) in line


def test_a_full_disk_says_so_and_that_nothing_was_replaced(
    dst: Path, src: Path, fails: Fails, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", failing(errno.ENOSPC))
    line = fails(8, src, dst, "--to", "rle")
    assert "free some space" in line
    assert "nothing was replaced" in line


LOST = "an exception between making the temporary file and the end of AtomicSink.__init__ reaches no __exit__"


@pytest.mark.parametrize("error", [KeyboardInterrupt(), MemoryError()], ids=repr)
def test_a_lock_that_fails_leaves_no_temporary_file(
    error: BaseException, dst: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flock(*_: object) -> None:
        raise error

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises((MemoryError, KeyboardInterrupt)), AtomicSink(str(dst)):
        pass
    assert os.listdir(dst.parent) == []


def test_a_file_system_without_locks_is_written_all_the_same(
    dst: Path, src: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fcntl, "flock", failing(errno.ENOLCK))
    assert command(src, dst, "--to", "rle") == Ran(0, "", "")


def is_directory(descriptor: int) -> bool:
    return stat.S_ISDIR(os.fstat(descriptor).st_mode)


REPLACED = "after the rename the file is in place, but a directory that cannot be opened or synced gives status 8"


@pytest.mark.parametrize("function", ["fsync", "open"])
def test_what_fails_after_the_rename_does_not_claim_that_nothing_was_written(
    function: str, dst: Path, src: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = old_file(dst).read_bytes()
    only = is_directory if function == "fsync" else lambda path, *_: os.path.isdir(path)
    monkeypatch.setattr(os, function, failing(errno.EACCES, only, getattr(os, function)))
    ran = command(src, dst, "--to", "rle")
    assert (ran.status == 0) == (dst.read_bytes() != old)


NOT_WRITABLE: dict[str, tuple[str, str]] = {
    "a directory that does not exist": ("missing/out.dcm", "No such file or directory"),
    "a file taken for a directory": ("old.dcm/out.dcm", "Not a directory"),
    "a symbolic link into a directory that does not exist": ("link.dcm", "No such file or directory"),
    "a name too long": ("x" * 256, "too long"),
    "a name too long, in bytes": ("é" * 128, "too long"),
}


@pytest.mark.parametrize(("name", "says"), NOT_WRITABLE.values(), ids=NOT_WRITABLE.keys())
@pytest.mark.parametrize("target", ["rle", "explicit"], ids=["converted", "copied"])
def test_a_destination_that_cannot_be_written(
    target: str, name: str, says: str, tmp_path: Path, src: Path, fails: Fails
) -> None:
    old_file(tmp_path / "old.dcm")
    (tmp_path / "link.dcm").symlink_to("missing/out.dcm")
    line = fails(8, src, tmp_path / name, "--to", target)
    assert line.startswith(f"dcmtx: {tmp_path / name}: ")
    assert says in line


def test_a_destination_directory_that_has_a_directory_of_that_name(tmp_path: Path, src: Path, fails: Fails) -> None:
    (tmp_path / "to" / src.name).mkdir(parents=True)
    assert "is a directory" in fails(8, src, tmp_path / "to", "--to", "rle")


def test_a_directory_that_does_not_exist_is_not_made_a_file(tmp_path: Path, src: Path, fails: Fails) -> None:
    fails(8, src, f"{tmp_path}/missing/", "--to", "rle")


@need_modes
@pytest.mark.parametrize("target", ["rle", "explicit"], ids=["converted", "copied"])
def test_a_directory_that_is_read_only(target: str, tmp_path: Path, src: Path, fails: Fails) -> None:
    old_file(tmp_path / "old.dcm")
    tmp_path.chmod(0o500)
    try:
        assert "Permission denied" in fails(8, src, tmp_path / "old.dcm", "--to", target)
        assert "Permission denied" in fails(8, src, tmp_path / "new.dcm", "--to", target)
    finally:
        tmp_path.chmod(0o700)


@need_modes
def test_a_directory_that_may_be_written_but_not_read(tmp_path: Path, src: Path, command: Command) -> None:
    (tmp_path / "drop").mkdir()
    (tmp_path / "drop").chmod(0o300)
    try:
        ran = command(src, tmp_path / "drop" / "out.dcm", "--to", "rle")
        assert ran.status == 0
        # Whoever may not read a directory may not sync it either.
        assert "note: " in ran.line
        assert "cannot be synced (Permission denied)" in ran.line
    finally:
        (tmp_path / "drop").chmod(0o700)


# --- --no-clobber ----------------------------------------------------------------------------------------------


def link_to_nothing(path: Path) -> None:
    path.symlink_to("missing")


IN_THE_WAY: dict[str, Callable[[Path], object]] = {"a file": old_file, "a symbolic link to nothing": link_to_nothing}


@pytest.mark.parametrize("make", IN_THE_WAY.values(), ids=IN_THE_WAY.keys())
@pytest.mark.parametrize("target", ["rle", "explicit"], ids=["converted", "copied"])
@pytest.mark.parametrize("option", ["-n", "--no-clobber"])
def test_no_clobber_keeps_what_is_there(
    option: str, target: str, make: Callable[[Path], object], dst: Path, src: Path, fails: Fails
) -> None:
    make(dst)
    assert "exists" in fails(8, src, dst, "--to", target, option)
    assert "exists" in fails(8, src, dst, option, "--to", target, "--force")


def test_no_clobber_keeps_the_source_where_it_is_the_destination(tmp_path: Path, fails: Fails) -> None:
    path = tmp_path / "in.dcm"
    path.write_bytes(SOURCE)
    assert "exists" in fails(8, path, path, "--to", "rle", "-n")
    assert "exists" in fails(8, path, tmp_path, "--to", "rle", "-n")


def test_no_clobber_writes_what_is_not_there(dst: Path, src: Path, command: Command) -> None:
    assert command(src, dst, "--to", "rle", "-n") == Ran(0, "", "")
    assert dicom.walk(dst.read_bytes()).syntax == dicom.RLE


def test_no_clobber_keeps_what_came_while_it_was_writing(dst: Path) -> None:
    with AtomicSink(str(dst), clobber=False) as sink:
        sink.write(b"new")
        dst.write_bytes(b"another program's")
        with pytest.raises(OutputError):
            sink.commit()
    assert dst.read_bytes() == b"another program's"
    assert os.listdir(dst.parent) == [dst.name]


# --- the disk is full ------------------------------------------------------------------------------------------

BIG = dicom.Image(np.random.default_rng(9).bytes(4 << 20), rows=1024, columns=2048, stored=16).encode()
LIMITED = ["sh", "-c", 'ulimit -f 2048; exec "$@"', "sh"]  # blocks of 512 or 1024 bytes: at most 2 MiB
WAYS: dict[str, list[str]] = {
    "converted": ["big.dcm", "out.dcm", "--to", "implicit"],
    "encoded": ["big.dcm", "out.dcm", "--to", "rle", "--no-verify"],
    "copied": ["big.dcm", "out.dcm", "--to", "explicit"],
    "deflated": ["big.dcm", "out.dcm", "--to", "deflated"],
    "in place": ["big.dcm", "big.dcm", "--to", "implicit"],
    "to standard output": ["big.dcm", "-", "--to", "implicit"],
}


@pytest.mark.parametrize("arguments", WAYS.values(), ids=WAYS.keys())
def test_where_no_more_can_be_written_the_old_file_stays(arguments: list[str], tmp_path: Path) -> None:
    (tmp_path / "big.dcm").write_bytes(BIG)
    old_file(tmp_path / "out.dcm")
    before = contents(tmp_path)
    ran = spawn(*arguments, prefix=LIMITED, cwd=tmp_path)
    assert (ran.returncode, ran.stdout) == (8, b"")
    assert ran.stderr.count(b"\n") == 1
    named = "" if arguments[1] == "-" else arguments[1]
    assert ran.stderr.startswith(f"dcmtx: {named}".encode())
    assert b"File too large" in ran.stderr
    assert contents(tmp_path) == before


def test_where_standard_input_cannot_be_spooled_the_old_file_stays(tmp_path: Path) -> None:
    old_file(tmp_path / "out.dcm")
    before = contents(tmp_path)
    ran = spawn("-", "out.dcm", "--to", "rle", prefix=LIMITED, cwd=tmp_path, input=BIG)
    assert (ran.returncode, ran.stdout) == (8, b"")
    assert ran.stderr.count(b"\n") == 1
    assert contents(tmp_path) == before


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
@pytest.mark.parametrize("way", ["as a path", "as standard output"])
def test_the_full_device(way: str, src: Path) -> None:
    with open("/dev/full", "wb") as full:
        ran = spawn(src, "/dev/full" if way == "as a path" else "-", "--to", "rle", stdout=full)
    assert ran.returncode == 8
    assert ran.stderr.count(b"\n") == 1
    assert b"No space left on device" in ran.stderr


# --- what is written into, not replaced ------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # see test_cli.py
def test_a_named_pipe_gets_nothing_before_commit(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read: list[bytes] = []
    with StreamSink(str(pipe)) as sink:
        sink.write(b"all of it, ")
        sink.patch(0, b"ALL")
        sink.write(b"at once")
        reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()), daemon=True)
        reader.start()
        sink.commit()
        reader.join(30)
    assert read == [b"ALL of it, at once"]
    assert os.listdir(tmp_path) == ["pipe"]
    assert stat.S_ISFIFO(pipe.stat().st_mode)


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # see test_cli.py
def test_a_named_pipe_gets_nothing_of_what_fails(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    descriptor = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        with StreamSink(str(pipe)) as sink:
            sink.write(b"half of it")
        assert os.read(descriptor, 100) == b""
    finally:
        os.close(descriptor)


def test_standard_output_gets_nothing_of_what_fails(src: Path) -> None:
    src.write_bytes(SOURCE[:-100])
    ran = spawn(src, "-", "--to", "rle")
    assert (ran.returncode, ran.stdout) == (3, b"")


@pytest.mark.skipif(sys.platform == "win32", reason="sockets are files on POSIX only")
def test_a_socket_cannot_be_written_into(
    tmp_path: Path, src: Path, fails: Fails, monkeypatch: pytest.MonkeyPatch
) -> None:
    import socket

    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket")
        ran = spawn(src, "socket", "--to", "rle")
    assert (ran.returncode, ran.stdout) == (8, b"")
    assert ran.stderr.count(b"\n") == 1
    assert os.listdir(tmp_path) == ["socket"]


# --- forked processes ------------------------------------------------------------------------------------------


def test_a_forked_process_reads_what_has_the_descriptor_of_a_file_that_was_closed(tmp_path: Path) -> None:
    """What is known of a temporary file may outlast its descriptor, whose number another file then has."""
    sink = AtomicSink(os.fspath(tmp_path / "left"))
    assert sink._file is not None
    number = sink._file.fileno()
    sink._file.close()
    long = tmp_path / "source"
    long.write_bytes(b"x" * (FIRST_BYTES + 4))
    with closing(open_bytes(os.fspath(long))) as source:
        assert source.fd == number
        pool, read = children.fork_pool(lambda offset: source.pread(4, offset), 1)
        with pool:
            assert pool.submit(read, FIRST_BYTES).result() == b"xxxx"
    sink.abort()


def test_a_forked_process_gives_up_the_temporary_files_of_its_parent(tmp_path: Path) -> None:
    """Its copy of the descriptor would keep the lock when the parent has died."""
    with AtomicSink(os.fspath(tmp_path / "mine")) as sink:
        assert sink._file is not None
        number = sink._file.fileno()
        pool, ask = children.fork_pool(lambda fd: (os.fstat(fd).st_rdev, temporary.unfinished), 1)
        with pool:
            assert pool.submit(ask, number).result() == (os.stat(os.devnull).st_rdev, {})


def test_a_complete_file_that_is_closed_is_known_no_more(tmp_path: Path) -> None:
    with Postponing() as files, AtomicSink(os.fspath(tmp_path / "left")) as sink:
        sink.write(b"new")
        sink.commit()
    files[0].close()
    assert not [path for path in temporary.unfinished if path.startswith(os.fspath(tmp_path))]


# --- what is written to disk before the end ------------------------------------------------------------------------


@pytest.mark.parametrize("sync", [True, False])
def test_the_disk_begins_before_the_end(sync: bool, dst: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[int, int]] = []
    monkeypatch.setattr(atomic, "begin_sync", lambda _fd, start, length: told.append((start, start + length)))
    data = os.urandom(1 << 20)
    with AtomicSink(str(dst), sync=sync) as sink:
        for number in range(20):
            sink.write(data)
            # What the system is told to write has been given to it.
            assert all(end <= os.fstat(sink._file.fileno()).st_size for _, end in told), number
        sink.patch(0, b"first")
        sink.commit()
    assert dst.read_bytes() == b"first" + (data * 20)[5:]
    # One range after the other, and nearly all of the file.
    assert [start for start, _ in told] == ([0, *(end for _, end in told[:-1])] if sync else [])
    assert not sync or told[-1][1] > 15 << 20


def test_that_the_disk_cannot_begin_is_no_error(tmp_path: Path) -> None:
    with open(tmp_path / "a", "w+b") as file:
        filesystem.begin_sync(file.fileno(), 0, 1 << 40)
        fd = file.fileno()
    filesystem.begin_sync(fd, 0, 1)
    filesystem.begin_sync(-1, -5, 1)
