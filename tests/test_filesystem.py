"""What a destination keeps of the file that it replaces, who may read it meanwhile, and whether it outlasts a crash."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dicom
import pytest
from conftest import Ran, contents, need_tool, old_file, spawn

from dcmtx import transcode
from dcmtx.place import filesystem
from dcmtx.place.atomic import AtomicSink
from dcmtx.transcoding.job import Status

Command = Callable[..., Ran]
Fails = Callable[..., str]

UID, GID, OTHER_GID = 12345, 23456, 34567
ACCESS, DEFAULT = "system.posix_acl_access", "system.posix_acl_default"
need_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
# To the same syntax, a file is copied; in place, that would leave nothing to do.
TARGETS = pytest.mark.parametrize("target", ["rle", "explicit"], ids=["converted", "copied"])


@pytest.fixture
def src(tmp_path: Path) -> Path:
    path = tmp_path / "in.dcm"
    path.write_bytes(dicom.Image(bytes(128), 8, 8).encode())
    return path


def failing(number: int, only: Callable[..., bool] = lambda *_: True, real: Callable[..., Any] | None = None) -> Any:
    """A function of the operating system that fails with an error, where `only` says so."""

    def fail(*arguments: Any, **named: Any) -> Any:
        if only(*arguments):
            raise OSError(number, os.strerror(number))
        assert real is not None
        return real(*arguments, **named)

    return fail


def rights(path: Path) -> tuple[int, int, str]:
    status = path.stat()
    return status.st_uid, status.st_gid, f"{stat.S_IMODE(status.st_mode):04o}"


def is_new(path: Path) -> bool:
    return path.read_bytes()[128:132] == b"DICM"


# --- owner, group and mode -------------------------------------------------------------------------------------

MODES = [0o600, 0o640, 0o664, 0o004, 0o000, 0o4755, 0o2775]


@need_root
@TARGETS
@pytest.mark.parametrize("mode", MODES, ids="{:04o}".format)
def test_a_file_that_is_replaced_keeps_owner_group_and_mode(
    mode: int, target: str, src: Path, dst: Path, command: Command
) -> None:
    os.chown(old_file(dst), UID, GID)
    dst.chmod(mode)
    assert command(src, dst, "--to", target) == Ran(0, "", "")
    assert is_new(dst)
    assert rights(dst) == (UID, GID, f"{mode:04o}")


@need_root
def test_in_place_too(src: Path, command: Command) -> None:
    os.chown(src, UID, GID)
    src.chmod(0o640)
    assert command(src, src, "--to", "rle") == Ran(0, "", "")
    assert dicom.walk(src.read_bytes()).syntax == dicom.RLE
    assert rights(src) == (UID, GID, "0640")


@need_root
def test_what_a_link_leads_to_too(src: Path, dst: Path, tmp_path: Path, command: Command) -> None:
    real = old_file(tmp_path / "real.dcm")
    os.chown(real, UID, GID)
    dst.symlink_to("real.dcm")
    assert command(src, dst, "--to", "rle") == Ran(0, "", "")
    assert dst.is_symlink()
    assert rights(real) == (UID, GID, "0640")


def test_a_new_file_has_what_any_new_file_has(src: Path, dst: Path, tmp_path: Path, command: Command) -> None:
    other = tmp_path / "other"
    other.touch()
    assert command(src, dst, "--to", "rle") == Ran(0, "", "")
    assert rights(dst) == rights(other)


# Mode and rights of a file that cannot be given away; groups that the process is in; what becomes of it, and is told.
KEPT: dict[str, tuple[int, list[int], tuple[int, str], str]] = {
    "its group is one of ours": (0o2764, [GID], (GID, "2764"), "owner"),
    "it ran as its owner": (0o4755, [GID], (GID, "0755"), "owner"),
    "nothing is": (0o660, [OTHER_GID], (0, "0600"), "owner and group"),
    "nothing is, and all may read it": (0o664, [OTHER_GID], (0, "0644"), "owner and group"),
    "nothing is, and it ran as its group": (0o2775, [OTHER_GID], (0, "0755"), "owner and group"),
}


@need_root
@pytest.mark.parametrize(("mode", "groups", "expected", "says"), KEPT.values(), ids=KEPT.keys())
def test_what_cannot_be_kept_is_told_and_nobody_gains(
    mode: int, groups: list[int], expected: tuple[int, str], says: str, src: Path, dst: Path
) -> None:
    bound = "-chown,-fsetid"
    prefix = [
        need_tool("setpriv"),
        "--bounding-set",
        bound,
        "--inh-caps",
        bound,
        "--groups",
        ",".join(map(str, groups)),
    ]
    if subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("this process may not give up its capabilities")
    os.chown(old_file(dst), UID, GID)
    dst.chmod(mode)
    ran = spawn(src, dst, "--to", "rle", prefix=prefix)
    told = f"dcmtx: {src}: note: the {says} of the file that was replaced could not be kept\n"
    assert (ran.returncode, ran.stdout, ran.stderr.decode()) == (0, b"", told)
    assert rights(dst) == (0, *expected)


# --- access control lists and extended attributes --------------------------------------------------------------


def access_list(group: int, named: int, mask: int) -> bytes:
    """A list (acl(5)) of read and write for the owner, `group` for the group, `named` for UID, nothing for others."""
    none = 0xFFFFFFFF
    entries = [(0x01, 6, none), (0x02, named, UID), (0x04, group, none), (0x10, mask, none), (0x20, 0, none)]
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


@pytest.fixture
def attributes(tmp_path: Path) -> None:
    """Skip where files have neither extended attributes nor access control lists."""
    probe = tmp_path / "probe"
    probe.touch()
    try:
        os.setxattr(probe, "user.dcmtx", b"x")
        os.setxattr(probe, ACCESS, access_list(4, 4, 4))
    except (AttributeError, OSError):
        pytest.skip("files have no extended attributes here")
    finally:
        probe.unlink()


def all_attributes(path: Path) -> dict[str, bytes]:
    return {name: os.getxattr(path, name) for name in os.listxattr(path) if not name.startswith("security.")}


@TARGETS
@pytest.mark.usefixtures("attributes")
def test_extended_attributes_and_lists_are_kept(target: str, src: Path, dst: Path, command: Command) -> None:
    given = {
        "user.origin": b"scanner 3",
        "user.empty": b"",
        "user.bytes": bytes(range(256)),
        ACCESS: access_list(0, 6, 6),
    }
    old_file(dst)
    for name, value in given.items():
        os.setxattr(dst, name, value)
    before = rights(dst)
    assert command(src, dst, "--to", target) == Ran(0, "", "")
    assert is_new(dst)
    assert (all_attributes(dst), rights(dst)) == (given, before)


@pytest.mark.usefixtures("attributes")
def test_a_list_that_the_directory_gives_is_not_taken(src: Path, dst: Path, tmp_path: Path, command: Command) -> None:
    old_file(dst)
    os.setxattr(tmp_path, DEFAULT, access_list(0, 6, 6))
    (tmp_path / "another").touch()
    assert ACCESS in all_attributes(tmp_path / "another")
    assert command(src, dst, "--to", "rle") == Ran(0, "", "")
    assert all_attributes(dst) == {}
    assert rights(dst)[2] == "0640"


@pytest.mark.usefixtures("attributes")
@pytest.mark.parametrize("group", [0, 4, 6], ids=["nothing for the group", "reading", "writing"])
def test_without_its_list_nobody_gains(
    group: int, src: Path, dst: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    old_file(dst)
    os.setxattr(dst, ACCESS, access_list(group, 6, 6))
    assert rights(dst)[2] == "0660"
    os.setxattr(dst, "user.kept", b"x")
    monkeypatch.setattr(os, "setxattr", failing(errno.EPERM, lambda *given: given[1] == ACCESS, os.setxattr))
    ran = command(src, dst, "--to", "rle")
    told = "the access control list of the file that was replaced could not be kept"
    assert ran == Ran(0, "", f"dcmtx: {src}: note: {told}\n")
    assert (all_attributes(dst), rights(dst)[2]) == ({"user.kept": b"x"}, "0600")


@pytest.mark.usefixtures("attributes")
@pytest.mark.parametrize("number", [errno.EPERM, errno.ENOSPC, errno.ENOTSUP, errno.E2BIG], ids=errno.errorcode.get)
def test_an_attribute_that_cannot_be_kept_is_told(
    number: int, src: Path, dst: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old_file(dst)
    os.setxattr(dst, "user.one", b"1")
    os.setxattr(dst, "user.two", b"2")
    monkeypatch.setattr(os, "setxattr", failing(number))
    outcome = transcode(src, dst, to="rle")
    assert outcome.status is Status.CONVERTED
    assert [note.text for note in outcome.notes] == [
        "the attribute user.one and attribute user.two of the file that was replaced could not be kept",
    ]


def test_a_system_without_extended_attributes(
    src: Path, dst: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("listxattr", "getxattr", "setxattr", "removexattr"):
        monkeypatch.delattr(os, name, raising=False)
    old_file(dst)
    assert command(src, dst, "--to", "rle") == Ran(0, "", "")
    assert rights(dst)[2] == "0640"


@need_root
@pytest.mark.usefixtures("attributes")
def test_at_no_time_may_anybody_read_it_whom_the_old_file_was_kept_from(
    src: Path, dst: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.chown(old_file(dst), UID, GID)
    os.setxattr(dst, ACCESS, access_list(4, 4, 4))
    os.setxattr(dst, "user.x", b"x")
    seen: list[tuple[str, int, int]] = []

    def watched(name: str) -> None:
        real = getattr(os, name)

        def call(fd: int, *arguments: Any) -> Any:
            result = real(fd, *arguments)
            status = os.fstat(fd)
            if stat.S_ISREG(status.st_mode):
                seen.append((name, status.st_gid, status.st_mode & 0o077))
            return result

        monkeypatch.setattr(os, name, call)

    for name in ("fchown", "setxattr", "fchmod", "fsync"):
        watched(name)
    assert command(src, dst, "--to", "rle") == Ran(0, "", "")
    assert {name for name, _, _ in seen} == {"fchown", "setxattr", "fchmod", "fsync"}
    assert all(mode in ({0, 0o040} if group == GID else {0}) for _, group, mode in seen)
    assert seen[-1] == ("fsync", GID, 0o040)


# --- on the disk -----------------------------------------------------------------------------------------------

SYNCS = {
    errno.EINVAL: False,
    errno.ENOTSUP: False,
    errno.EOPNOTSUPP: False,
    errno.EIO: True,
    errno.ENOSPC: True,
    errno.EDQUOT: True,
    errno.EACCES: True,
}


def is_directory(fd: int) -> bool:
    return stat.S_ISDIR(os.fstat(fd).st_mode)


@TARGETS
@pytest.mark.parametrize(("number", "told"), SYNCS.items(), ids=[errno.errorcode[number] for number in SYNCS])
def test_a_directory_that_cannot_be_synced_is_told(
    number: int, told: bool, target: str, src: Path, dst: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    old_file(dst)
    monkeypatch.setattr(os, "fsync", failing(number, is_directory, os.fsync))
    ran = command(src, dst, "--to", target)
    assert (ran.status, ran.out) == (0, "")
    assert is_new(dst)
    if told:
        assert ran.line.startswith(f"dcmtx: {src}: note: ")
        assert os.strerror(number) in ran.line
        assert "may not outlast a crash" in ran.line
    else:
        assert ran.err == ""


def synced(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Return a list that grows by device and inode of what is synced."""
    found: list[tuple[int, int]] = []
    real = os.fsync

    def fsync(fd: int) -> None:
        real(fd)
        status = os.fstat(fd)
        found.append((status.st_dev, status.st_ino))

    monkeypatch.setattr(os, "fsync", fsync)
    return found


def identity(path: Path) -> tuple[int, int]:
    return path.stat().st_dev, path.stat().st_ino


def test_directories_that_are_made_are_synced_in_those_above(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = synced(monkeypatch)
    dst = tmp_path / "a" / "b" / "c" / "out.dcm"
    with AtomicSink(str(dst), parents=True) as sink:
        assert found == [identity(tmp_path), identity(tmp_path / "a"), identity(tmp_path / "a" / "b")]
        sink.commit()
    assert found[3:] == [identity(dst), identity(dst.parent)]
    found.clear()
    with AtomicSink(str(dst), parents=True) as sink:
        sink.commit()
    assert found == [identity(dst), identity(dst.parent)]


def test_a_made_directory_that_cannot_be_synced_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", failing(errno.EIO, is_directory, os.fsync))
    with AtomicSink(str(tmp_path / "a" / "b" / "out.dcm"), parents=True) as sink:
        sink.commit()
    assert len(sink.notes) == 3
    assert all("Input/output error" in note.text for note in sink.notes)


def test_a_directory_that_somebody_else_makes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.mkdir

    def quicker(path: str, *rest: Any) -> None:
        real(path, *rest)
        real(path, *rest)

    monkeypatch.setattr(os, "mkdir", quicker)
    assert filesystem.make_directories(str(tmp_path / "a" / "b")) == []
    assert (tmp_path / "a" / "b").is_dir()


@pytest.mark.parametrize("works", [True, False], ids=["where the file system has it", "where it has not"])
def test_macos_needs_another_call(works: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = synced(monkeypatch)
    full: list[tuple[int, int]] = []

    def call(fd: int, command: int) -> None:
        full.append((fd, command))
        if not works:
            raise OSError(errno.ENOTTY, "Inappropriate ioctl for device")

    monkeypatch.setattr(fcntl, "F_FULLFSYNC", 51, raising=False)
    monkeypatch.setattr(fcntl, "fcntl", call)
    with (tmp_path / "file").open("wb") as file:
        filesystem.sync_file(file.fileno())
        assert full == [(file.fileno(), 51)]
        assert found == ([] if works else [identity(tmp_path / "file")])


# --- links that lead nowhere, and ends -------------------------------------------------------------------------


def loop_of_one(directory: Path) -> Path:
    (directory / "out.dcm").symlink_to("out.dcm")
    return directory / "out.dcm"


def loop_of_two(directory: Path) -> Path:
    (directory / "out.dcm").symlink_to("other")
    (directory / "other").symlink_to("out.dcm")
    return directory / "out.dcm"


def loop_on_the_way(directory: Path) -> Path:
    (directory / "to").symlink_to("to")
    return directory / "to" / "out.dcm"


@TARGETS
@pytest.mark.parametrize("more", [[], ["-n"], ["--dry-run"]], ids=["replacing", "not replacing", "dry run"])
@pytest.mark.parametrize("make", [loop_of_one, loop_of_two, loop_on_the_way])
def test_a_loop_of_links_is_not_replaced(
    make: Callable[[Path], Path], more: list[str], target: str, src: Path, tmp_path: Path, fails: Fails
) -> None:
    path = make(tmp_path)
    line = fails(8, src, path, "--to", target, *more)
    assert line.startswith(f"dcmtx: {path}: ")
    assert "loop" in line


def test_what_fails_when_all_is_in_place_is_no_failure(dst: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Closing:
        """A file whose close fails."""

        def __init__(self, file: Any) -> None:
            self._file = file

        def __getattr__(self, name: str) -> Any:
            return getattr(self._file, name)

        def close(self) -> None:
            self._file.close()
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    with AtomicSink(str(dst)) as sink:
        sink.write(b"new")
        sink._file = Closing(sink._file)
        sink.commit()
    assert dst.read_bytes() == b"new"


def test_a_temporary_name_that_cannot_be_removed_is_no_failure(dst: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "unlink", failing(errno.EACCES))
    with AtomicSink(str(dst), clobber=False) as sink:
        sink.write(b"new")
        sink.commit()
    assert dst.read_bytes() == b"new"


def test_a_spool_that_cannot_be_made_is_one_line(src: Path, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    import tempfile

    monkeypatch.setattr(tempfile, "TemporaryFile", failing(errno.ENOSPC))
    ran = command(src, "-", "--to", "rle")
    assert ran.status == 8
    assert "No space left on device" in ran.line


def test_nothing_else_is_touched(src: Path, dst: Path, tmp_path: Path, command: Command) -> None:
    old_file(dst)
    old_file(tmp_path / "other.dcm")
    before = contents(tmp_path)
    assert command(src, dst, "--to", "rle") == Ran(0, "", "")
    after = contents(tmp_path)
    assert {name: after[name] for name in after if name != dst.name} == {
        name: before[name] for name in before if name != dst.name
    }
