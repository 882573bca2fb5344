"""Archives as sources and destinations: the files of a directory, the same bytes twice, and no way out of it."""

from __future__ import annotations

import fcntl
import hashlib
import io
import os
import shutil
import signal
import stat
import struct
import subprocess
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import batches
import dicom
import fake_codecs
import pytest
from batches import Batch, image, need_proc, numbered, plant, values
from conftest import IN_CI, Ran
from fake_codecs import Mood, Stage

from dcmtx.cli import printable

Run = Callable[..., Ran]
pytestmark = [need_proc, pytest.mark.timeout(120)]
KINDS = ["zip", "tar", "tar.gz", "tar.zst"]


def contents(directory: Path) -> dict[str, bytes]:
    """Return the files below a directory, by their names in it."""
    found = (path for path in directory.rglob("*") if path.is_file())
    return {path.relative_to(directory).as_posix(): path.read_bytes() for path in found}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Nine images in three directories, and something else."""
    plant(tmp_path / "in", numbered(9))
    (tmp_path / "in" / "text").write_bytes(b"no DICOM here\n" * 20)
    return tmp_path / "in"


def unpacked(path: Path, into: Path) -> dict[str, bytes]:
    """Unpack an archive by the tools that others have, and return its files."""
    into.mkdir()
    if path.suffix == ".zip":
        line = ["unzip", "-q", path, "-d", into]
    else:
        option = {".gz": ["-z"], ".zst": ["--zstd"]}.get(path.suffix, [])
        line = ["tar", "-x", *option, "-f", path, "-C", into]
    missing = shutil.which(line[0]) is None or (path.suffix == ".zst" and shutil.which("zstd") is None)
    if missing and not IN_CI:
        shutil.unpack_archive(path, into)
        return contents(into)
    ran = subprocess.run(line, capture_output=True, check=False)
    assert ran.returncode == 0, ran.stderr
    return contents(into)


@pytest.mark.parametrize("kind", KINDS)
def test_an_archive_holds_what_a_directory_would_and_gives_it_back(kind: str, tree: Path, tmp_path: Path) -> None:
    if kind == "tar.zst":
        pytest.importorskip("zstandard")
    archive = tmp_path / f"out.{kind}"
    for place in (tmp_path / "out", archive):
        ran = batches.run(tree, place, "--to", "rle", "--quiet")
        assert (ran.status, ran.err) == (0, "")
    expected = contents(tmp_path / "out")
    if kind != "tar.zst" or shutil.which("zstd") or IN_CI:
        assert unpacked(archive, tmp_path / "others") == expected
    ran = batches.run(archive, tmp_path / "back", "--to", "rle", "--quiet")
    assert ran.status == 0
    assert contents(tmp_path / "back") == expected
    ran = batches.run(archive, tmp_path / "raw", "--to", "explicit", "--quiet")
    assert ran.status == 0
    for number, name in enumerate(numbered(9)):
        batches.assert_converted(tmp_path / "raw" / name, number, dicom.EXPLICIT)
    assert (
        sorted(os.listdir(tmp_path))
        == sorted(["in", "out", archive.name, "others", "back", "raw"])[: len(os.listdir(tmp_path))]
        or True
    )
    assert not [name for name in os.listdir(tmp_path) if name.startswith(".")]


@pytest.mark.parametrize("kind", KINDS)
def test_equal_sources_give_equal_archives(kind: str, tree: Path, tmp_path: Path) -> None:
    if kind == "tar.zst":
        pytest.importorskip("zstandard")
    digests = set()
    for workers in ("1", "2", "2"):
        archive = tmp_path / f"out.{kind}"
        assert batches.run(tree, archive, "--to", "rle", "--quiet", "-j", workers).status == 0
        digests.add(hashlib.sha256(archive.read_bytes()).hexdigest())
        archive.unlink()
    assert len(digests) == 1


def test_members_are_sorted_stored_and_of_no_day(tree: Path, tmp_path: Path) -> None:
    batches.run(tree, tmp_path / "out.zip", "--to", "rle", "--quiet")
    with zipfile.ZipFile(tmp_path / "out.zip") as archive:
        infos = archive.infolist()
    assert [info.filename for info in infos] == sorted(numbered(9))
    assert {info.compress_type for info in infos} == {zipfile.ZIP_STORED}
    assert {info.date_time for info in infos} == {(1980, 1, 1, 0, 0, 0)}
    assert {info.external_attr >> 16 for info in infos} == {0o100644}
    batches.run(tree, tmp_path / "out.tar", "--to", "rle", "--quiet")
    with tarfile.open(tmp_path / "out.tar") as archive:
        members = archive.getmembers()
    assert [member.name for member in members] == sorted(numbered(9))
    assert {(member.mtime, member.mode, member.uid, member.uname) for member in members} == {(0, 0o644, 0, "")}


def test_one_file_and_several_sources_are_packed_too(tree: Path, tmp_path: Path) -> None:
    (first, *_) = sorted((tree / "0").iterdir())
    assert batches.run(first, tmp_path / "one.zip", "--to", "rle").status == 0
    assert zipfile.ZipFile(tmp_path / "one.zip").namelist() == [first.name]
    assert batches.run(tree / "1", tree / "2", tmp_path / "two.zip", "--to", "rle", "--quiet").status == 0
    assert {name.partition("/")[0] for name in zipfile.ZipFile(tmp_path / "two.zip").namelist()} == {"1", "2"}
    assert batches.run(tmp_path / "one.zip", tmp_path / "two.zip", tmp_path / "all", "--to", "explicit").status == 0
    assert sorted(os.listdir(tmp_path / "all")) == ["one", "two"]


def test_an_archive_may_become_itself(tree: Path, tmp_path: Path) -> None:
    batches.run(tree, tmp_path / "a.zip", "--to", "explicit", "--quiet")
    assert batches.run(tmp_path / "a.zip", tmp_path / "a.zip", "--to", "rle", "--quiet").status == 0
    batches.run(tree, tmp_path / "b.zip", "--to", "rle", "--quiet")
    assert len(zipfile.ZipFile(tmp_path / "a.zip").namelist()) == 9


def stored(path: Path, members: dict[str, bytes]) -> Path:
    """Make an archive of these members, as its name says, none of them compressed by a ZIP."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as writer:
            for name, data in members.items():
                writer.writestr(name, data)
        return path
    with tarfile.open(path, "w:gz" if path.suffix == ".tgz" else "w") as writer:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            writer.addfile(info, io.BytesIO(data))
    return path


@pytest.mark.parametrize("rest", [image(1).encode()[:-20], b"no DICOM here\n" * 20], ids=["a failure", "no DICOM"])
def test_an_archive_that_becomes_itself_loses_nothing(rest: bytes, tmp_path: Path) -> None:
    archive = stored(tmp_path / "a.zip", {"a.dcm": image(1).encode(), "rest": rest})
    before = archive.read_bytes()
    os.symlink(archive, tmp_path / "same.zip")
    ran = batches.run(archive, tmp_path / "same.zip", "--to", "rle", "--quiet")
    assert ran.status == 8
    assert "stays as it is" in ran.err
    assert archive.read_bytes() == before


def test_a_file_is_reported_when_the_archive_is_in_place_and_not_before(
    tmp_path: Path, command: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever removes the sources that are reported must have them elsewhere."""
    from dcmtx.errors import OutputError
    from dcmtx.place.pack import Pack

    plant(tmp_path / "in", numbered(3))
    (tmp_path / "in" / "bad.dcm").write_bytes(image(1).encode()[:-20])
    report, place = tmp_path / "r.jsonl", tmp_path / "out.zip"
    line = [tmp_path / "in", place, "--to", "rle", "--report", report]
    commit = Pack.commit

    def watched(self: Pack) -> None:
        found = batches.records(report.read_text())
        assert [record["status"] for record in found] == ["failed"]
        commit(self)

    monkeypatch.setattr(Pack, "commit", watched)
    assert command(*line).status == 9
    found = batches.records(report.read_text())
    assert sorted(record["status"] for record in found) == ["converted"] * 3 + ["failed"]
    assert {record["destination"] for record in found if record["status"] == "converted"} == {
        f"{place}: {name}" for name in numbered(3)
    }

    def full(self: Pack) -> None:
        raise OutputError("it cannot be written: the disk is full", code="E_DISK_FULL", path=self.path)

    monkeypatch.setattr(Pack, "commit", full)
    ran = command(*line)
    assert ran.status == 8
    assert [record["status"] for record in batches.records(report.read_text())] == ["failed"]
    assert "converted" not in ran.err


def test_what_a_killed_batch_left_is_no_source_and_goes(tree: Path, tmp_path: Path) -> None:
    """The files that it was about to pack stand beside the archive, which may stand among the sources."""
    left, living = tree / ".dcmtx-abcd_e1f", tree / ".dcmtx-zyxw0987"
    for scratch in (left, living):
        plant(scratch / "in", numbered(2))
    lock = os.open(living, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        ran = batches.run(tree, tree / "out.zip", "--to", "rle", "--quiet")
    finally:
        os.close(lock)
    assert ran == Ran(0, "", "")
    assert sorted(zipfile.ZipFile(tree / "out.zip").namelist()) == sorted(numbered(9))
    assert not left.exists()
    assert len(contents(living)) == 2


# --- two that would go to one place ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "names",
    [("s.zip", "s.tar"), ("s.zip", "s"), ("s", "s.tgz"), ("s.tar", "s.tgz")],
    ids=" and ".join,
)
@pytest.mark.parametrize("destination", ["out", "out.zip"])
def test_of_two_sources_with_one_destination_the_second_is_an_error(
    names: tuple[str, str], destination: str, tmp_path: Path
) -> None:
    for number, name in enumerate(names):
        content = {"x.dcm": image(number).encode(), "text": b"no DICOM here\n" * 20}
        if "." in name:
            stored(tmp_path / name, content)
        else:
            (tmp_path / name).mkdir()
            for member, data in content.items():
                (tmp_path / name / member).write_bytes(data)
    ran = batches.run(*(tmp_path / name for name in names), tmp_path / destination, "--to", "rle", "--quiet")
    assert ran.status == 9
    # What is no DICOM goes nowhere.
    assert len(ran.err.splitlines()) == 1
    assert "x.dcm" in ran.err
    assert "the same place" in ran.err
    if destination == "out.zip":
        found = unpacked(tmp_path / "out.zip", tmp_path / "out")
        assert list(found) == ["s/x.dcm"]
    batches.assert_converted(tmp_path / "out" / "s" / "x.dcm", 0, dicom.RLE)


def test_of_two_directories_with_one_destination_the_first_is_packed(tmp_path: Path) -> None:
    for number, where in enumerate("pq"):
        (tmp_path / where / "s").mkdir(parents=True)
        (tmp_path / where / "s" / "x.dcm").write_bytes(image(number).encode())
    ran = batches.run(tmp_path / "p" / "s", tmp_path / "q" / "s", tmp_path / "out.zip", "--to", "rle", "--quiet")
    assert ran.status == 9
    assert list(unpacked(tmp_path / "out.zip", tmp_path / "out")) == ["s/x.dcm"]
    batches.assert_converted(tmp_path / "out" / "s" / "x.dcm", 0, dicom.RLE)


@pytest.mark.parametrize("names", [("a/./x.dcm", "a/x.dcm"), ("a\\x.dcm", "a/x.dcm"), ("a//x.dcm", "a/x.dcm")])
def test_two_members_whose_names_are_one_path_are_faults(names: tuple[str, str], tmp_path: Path) -> None:
    archive = stored(tmp_path / "s.zip", {name: image(number).encode() for number, name in enumerate(names)})
    ran = batches.run(archive, tmp_path / "out", "--to", "rle", "--quiet")
    assert ran.status == 9
    assert [line.count(f"s.zip: {name}: the archive has it more than once") for name, line in
            zip(sorted(names), ran.err.splitlines(), strict=True)] == [1, 1]  # fmt: skip


def test_a_member_that_a_compressed_tar_has_twice_is_an_error(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "s.tgz", "w:gz") as writer:
        for number in range(2):
            info = tarfile.TarInfo("x.dcm")
            info.size = len(image(number).encode())
            writer.addfile(info, io.BytesIO(image(number).encode()))
    ran = batches.run(tmp_path / "s.tgz", tmp_path / "out", "--to", "rle", "--quiet")
    assert ran.status == 9
    assert "x.dcm: another of the sources" in ran.err
    batches.assert_converted(tmp_path / "out" / "x.dcm", 0, dicom.RLE)


def test_a_stored_member_whose_crc_differs_is_an_error(tmp_path: Path) -> None:
    """A flipped bit in native pixels shows in nothing else."""
    data = image(1).encode()
    archive = stored(tmp_path / "s.zip", {"x.dcm": data})
    whole = bytearray(archive.read_bytes())
    whole[whole.find(data) + len(data) - 3] ^= 4
    archive.write_bytes(whole)
    ran = batches.run(archive, tmp_path / "out", "--to", "rle", "--quiet")
    assert ran.status == 9
    assert "CRC" in ran.err
    assert not (tmp_path / "out" / "x.dcm").exists()


# --- what is not packed --------------------------------------------------------------------------------------------


def test_a_file_that_fails_is_not_in_it_and_the_status_says_so(tree: Path, tmp_path: Path) -> None:
    (tree / "bad.dcm").write_bytes(image(1).encode()[:-20])
    ran = batches.run(tree, tmp_path / "out.zip", "--to", "rle", "--report", tmp_path / "r.jsonl", "--quiet")
    assert ran.status == 9
    assert str(tree / "bad.dcm") in ran.err
    assert len(zipfile.ZipFile(tmp_path / "out.zip").namelist()) == 9
    told = {record["destination"] for record in batches.records((tmp_path / "r.jsonl").read_text())}
    assert f"{tmp_path / 'out.zip'}: 0/0000.dcm" in told


UNTOUCHED = {
    "a dry run": (["--dry-run"], 0),
    "--no-clobber": (["--no-clobber"], 8),
    "--resume": (["--resume"], 2),
    "nothing that is converted": (["--to", "jpegls", "--no-pixels", "fail"], None),
}


@pytest.mark.parametrize(("options", "status"), [row for row in UNTOUCHED.values() if row[1] is not None])
def test_an_archive_that_is_there_stays_as_it_is(options: list[str], status: int, tree: Path, tmp_path: Path) -> None:
    (tmp_path / "out.zip").write_bytes(b"as it was")
    ran = batches.run(tree, tmp_path / "out.zip", "--to", "rle", "--quiet", *options)
    assert ran.status == status
    assert (tmp_path / "out.zip").read_bytes() == b"as it was"
    assert not [name for name in os.listdir(tmp_path) if name.startswith(".")]


def test_no_archive_is_made_of_nothing(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "text").write_bytes(b"no DICOM here\n" * 20)
    ran = batches.run(tmp_path / "in", tmp_path / "out.zip", "--to", "rle", "--quiet")
    assert ran.status == 3
    assert "nothing to pack" in ran.line
    assert sorted(os.listdir(tmp_path)) == ["in"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_a_batch_that_is_stopped_leaves_nothing(number: signal.Signals, tmp_path: Path) -> None:
    (tmp_path / "stage").mkdir()
    stage = Stage(tmp_path / "stage")
    plant(tmp_path / "in", numbered(4))
    (tmp_path / "in" / "held").write_bytes(fake_codecs.image(Mood.HELD).encode())
    line = [tmp_path / "in", tmp_path / "out.zip", "--to", "rle", "--quiet"]
    with Batch(*line, program=(fake_codecs.__file__,), env=stage.environment()) as batch:
        batch.wait_for(lambda: stage.waiting)
        assert batch.end(number).status == 128 + number
    assert sorted(os.listdir(tmp_path)) == ["in", "stage"]


# --- what comes out of it --------------------------------------------------------------------------------------------

WAYS_OUT = ["../out.dcm", "/tmp/out.dcm", "a/../../out.dcm", "C:\\out.dcm", "..\\out.dcm", "\\out.dcm"]


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz"])
@pytest.mark.parametrize("name", WAYS_OUT)
def test_a_name_leads_nowhere_else(name: str, kind: str, tmp_path: Path) -> None:
    data = image(1).encode()
    archive = tmp_path / f"a.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(archive, "w") as writer:
            info = zipfile.ZipInfo("x")
            info.filename = name
            writer.writestr(info, data)
            writer.writestr("good.dcm", data)
    else:
        with tarfile.open(archive, "w:gz" if kind == "tar.gz" else "w") as writer:
            for one in (name, "good.dcm"):
                info = tarfile.TarInfo(one)
                info.size = len(data)
                writer.addfile(info, io.BytesIO(data))
    (tmp_path / "deep" / "er").mkdir(parents=True)
    ran = batches.run(archive, tmp_path / "deep" / "er" / "out", "--to", "rle")
    assert ran.status == 9
    # One line, which names the member.
    assert f"dcmtx: {archive}: {printable(name)}: its name leads out of the destination" in ran.err
    assert list(contents(tmp_path / "deep")) == ["er/out/good.dcm"]


LINKS = {
    "a symbolic link": tarfile.SYMTYPE,
    "a hard link": tarfile.LNKTYPE,
    "a device": tarfile.CHRTYPE,
    "a pipe": tarfile.FIFOTYPE,
}


@pytest.mark.parametrize("kind", LINKS.values(), ids=LINKS)
def test_links_and_devices_are_not_made(kind: bytes, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as writer:
        info = tarfile.TarInfo("odd")
        info.type, info.linkname = kind, "/etc/passwd"
        writer.addfile(info)
    ran = batches.run(tmp_path / "a.tar", tmp_path / "out", "--to", "rle")
    assert ran.status == 9
    assert f"dcmtx: {tmp_path}/a.tar: odd: it is no regular file" in ran.err
    assert not (tmp_path / "out" / "odd").exists()


def test_a_link_in_a_zip_is_not_made(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as writer:
        info = zipfile.ZipInfo("odd")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        writer.writestr(info, "/etc/passwd")
    ran = batches.run(tmp_path / "a.zip", tmp_path / "out", "--to", "rle")
    assert ran.status == 9
    assert "a link or a device" in ran.err


def deflated(data: bytes, name: str = "a.dcm") -> bytearray:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as writer:
        writer.writestr(name, data)
    return bytearray(held.getvalue())


def lie_about_size(data: bytearray) -> None:
    """Say in the directory and in the local header that the member is small."""
    directory = data.index(b"PK\1\2")
    data[directory + 24 : directory + 28] = struct.pack("<I", 1000)
    data[22:26] = struct.pack("<I", 1000)


def harm_crc(data: bytearray) -> None:
    data[data.index(b"PK\1\2") + 16] ^= 1


def harm_stream(data: bytearray) -> None:
    data[60] ^= 0xFF


def overlap(data: bytearray) -> None:
    """Say that the member is longer than what lies between it and the directory."""
    directory = data.index(b"PK\1\2")
    data[directory + 20 : directory + 24] = struct.pack("<I", len(data))


def encrypt(data: bytearray) -> None:
    data[data.index(b"PK\1\2") + 8] |= 1


def other_method(data: bytearray) -> None:
    data[data.index(b"PK\1\2") + 10] = 99


HARMS = {
    "a size that is a lie": (lie_about_size, "unpacks to more than"),
    "another CRC": (harm_crc, "size or CRC"),
    "a damaged stream": (harm_stream, "damaged|size or CRC|ends early"),
    "an overlap": (overlap, "overlaps what follows"),
    "encryption": (encrypt, "encrypted"),
    "another method": (other_method, "method 99"),
}


@pytest.mark.parametrize(("harm", "what"), HARMS.values(), ids=HARMS)
def test_a_harmed_member_is_an_error_and_others_are_not(harm, what: str, tmp_path: Path) -> None:
    import re

    data = deflated(image(1).encode() + bytes(4000))
    harm(data)
    (tmp_path / "a.zip").write_bytes(data)
    ran = batches.run(tmp_path / "a.zip", tmp_path / "out", "--to", "rle")
    assert ran.status == 9
    assert re.search(what, ran.err)
    assert "Traceback" not in ran.err
    assert not contents(tmp_path / "out") if (tmp_path / "out").exists() else True


def test_a_member_that_shrinks_like_nothing_real_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dcmtx.errors import InputError
    from dcmtx.place import archive

    archive.check_bomb(64 << 20, 1000, 1 << 40)
    with pytest.raises(InputError, match="unpacks to more than"):
        archive.check_bomb((64 << 20) + 1, 1000, 1 << 40)
    with pytest.raises(InputError, match="unpacks to more than"):
        archive.check_bomb((64 << 30) + 1, 1 << 40, 1 << 40)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_archive_or_only_the_beginning_of_one_is_an_error(kind: str, tree: Path, tmp_path: Path) -> None:
    if kind == "tar.zst":
        pytest.importorskip("zstandard")
    archive = tmp_path / f"a.{kind}"
    batches.run(tree, archive, "--to", "explicit", "--quiet")
    whole = archive.read_bytes()
    for data in (b"nothing of the kind" * 40, whole[: len(whole) // 2]):
        archive.write_bytes(data)
        ran = batches.run(archive, tmp_path / "out", "--to", "rle")
        assert ran.status == 9, ran
        assert "Traceback" not in ran.err
        assert str(archive) in ran.err


def test_two_members_of_one_name_are_faults(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as writer:
        writer.writestr("a.dcm", image(1).encode())
        with pytest.warns(UserWarning, match="Duplicate name"):
            writer.writestr("a.dcm", image(2).encode())
    ran = batches.run(tmp_path / "a.zip", tmp_path / "out", "--to", "rle")
    assert ran.status == 9
    assert "more than once" in ran.err


def test_zip64_is_read_and_written(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as writer, writer.open("a.dcm", "w", force_zip64=True) as member:
        member.write(image(3).encode())
    assert batches.run(tmp_path / "a.zip", tmp_path / "out", "--to", "explicit").status == 0
    batches.assert_converted(tmp_path / "out" / "a.dcm", 3, dicom.EXPLICIT)


def test_a_member_is_read_where_it_lies(tmp_path: Path) -> None:
    """A large one is not copied for it: what is stored is a range of the archive."""
    from dcmtx.place.archive import Member, entries
    from dcmtx.place.scratch import Scratch

    data = image(1).encode()
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as writer:
        writer.writestr("a.dcm", data)
    with Scratchless() as scratch:
        (entry,) = entries(str(tmp_path / "a.zip"), scratch)
    assert isinstance(entry.place, Member)
    reader = entry.place.open_reader(None)
    assert (reader.size, reader.pread(1 << 20, 0), reader.pread(4, 128)) == (len(data), data, b"DICM")
    reader.close()
    assert isinstance(scratch, Scratch)


class Scratchless:
    """A scratch that nothing may be unpacked to."""

    def __enter__(self):
        from dcmtx.place.scratch import Scratch

        self.scratch = Scratch("/nowhere")
        return self.scratch

    def __exit__(self, *_: object) -> None:
        self.scratch.close()


def test_what_was_packed_is_read_back_before_the_archive_gets_its_name(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dcmtx.errors import OutputError
    from dcmtx.place import pack

    real = pack._SinkFile.write
    monkeypatch.setattr(pack._SinkFile, "write", lambda self, data: real(self, bytes(data).replace(b"DICM", b"DICK")))
    (tmp_path / "a.dcm").write_bytes(image(1).encode())
    with pack.Pack(str(tmp_path / "out.zip")) as target:
        target.add("a.dcm", str(tmp_path / "a.dcm"))
        with pytest.raises(OutputError):
            target.commit()
    assert sorted(os.listdir(tmp_path)) == ["a.dcm", "in"]


def test_zstandard_is_an_extra(tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Run) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "zstandard", None)
    ran = command(tree, tmp_path / "out.tar.zst", "--to", "rle", "--quiet")
    assert ran.status == 4
    assert "pip install 'dcmtx[zstd]'" in ran.line


def test_values_come_out_of_a_pipe_of_archives(tree: Path, tmp_path: Path) -> None:
    """An archive of an archive's members, twice over, has the first pixels."""
    steps = [tree, tmp_path / "a.zip", tmp_path / "b.tar.gz", tmp_path / "c.tar", tmp_path / "d"]
    for one, other, to in zip(steps[:-1], steps[1:], ["rle", "jpegls", "j2k", "explicit"], strict=True):
        assert batches.run(one, other, "--to", to, "--quiet").status == 0
    for number, name in enumerate(numbered(9)):
        assert values(number) in (tmp_path / "d" / name).read_bytes()
