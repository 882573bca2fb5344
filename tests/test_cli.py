"""The command line: how it is called, what it prints, where files go, and what streams do."""

from __future__ import annotations

import ast
import json
import os
import pty
import re
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import dicom
import numpy as np
import oracle
import pytest
from conftest import Ran, contents, old_file, spawn

import dcmtx
from dcmtx import __version__
from dcmtx.cli import cli
from dcmtx.codec.table import DECODERS, ENCODERS
from dcmtx.commands import COMMANDS
from dcmtx.peers.catalog import MODULES, load

Command = Callable[..., Ran]
Fails = Callable[..., str]

PIXELS = (np.arange(40 * 48, dtype=np.uint16) * 2503 % 4096).reshape(40, 48)
SOURCE = dicom.Image(PIXELS.tobytes(), rows=40, columns=48, stored=12).encode()
needs_linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/dev/stdout and /proc of Linux")


@pytest.fixture
def src(tmp_path: Path) -> Path:
    path = tmp_path / "in.dcm"
    path.write_bytes(SOURCE)
    return path


def syntax_of(path: Path | bytes) -> str:
    data = path if isinstance(path, bytes) else path.read_bytes()
    return dicom.walk(data).syntax


def assert_converted(path: Path | bytes, syntax: str = dicom.RLE) -> None:
    """The file has this syntax and the pixels of SOURCE."""
    data = path if isinstance(path, bytes) else path.read_bytes()
    assert syntax_of(data) == syntax
    frames = oracle.native(data) if syntax in oracle.NATIVE else oracle.decoded(data, "imagecodecs")
    assert np.array_equal(frames, [PIXELS])


# --- usage -----------------------------------------------------------------------------------------------------

USAGE: dict[str, tuple[list[str], str]] = {
    "no target": (["SRC", "DST"], "no target"),
    "two targets by --to and a word": (["SRC", "DST", "--to", "rle", "-J"], "2 targets"),
    "two targets by two words": (["SRC", "DST", "--raw", "--jpegls"], "2 targets"),
    "three targets": (["SRC", "DST", "-KRL"], "3 targets"),
    "the same target twice, by two words": (["SRC", "DST", "--to", "rle", "--rle"], "2 targets"),
    "a syntax that does not exist": (["SRC", "DST", "--to", "jpeg3000"], "'jpeg3000'"),
    "a UID that does not exist": (["SRC", "DST", "--to", "1.2.840.10008.1.2.4.999"], "4.999'"),
    "an empty syntax": (["SRC", "DST", "--to", ""], "transfer syntax"),
    "a syntax with a line end in its name": (["SRC", "DST", "--to", "rle\nrle"], r"rle\nrle"),
    "--to without a syntax": (["SRC", "DST", "--to"], "--to"),
    "no source and no destination": (["--to", "rle"], "SRC"),
    "no destination": (["SRC", "--to", "rle"], "DST"),
    "an option that does not exist": (["SRC", "DST", "--to", "rle", "--fast"], "--fast"),
    "a decoder that does not exist": (["SRC", "DST", "--to", "rle", "--decoder", "nonsense"], "nonsense"),
    "an encoder that does not exist": (["SRC", "DST", "--to", "rle", "--encoder", "nonsense"], "nonsense"),
    "a predictor beyond 7": (["SRC", "DST", "--to", "jpeg-lossless-p14", "--predictor", "8"], "predictor"),
    "a predictor that is no number": (["SRC", "DST", "--to", "jpeg-lossless-p14", "--predictor", "x"], "predictor"),
    "predictor 3 where it is 1 always": (["SRC", "DST", "--to", "jpeg-lossless", "--predictor", "3"], "p14"),
    "a predictor for RLE": (["SRC", "DST", "--to", "rle", "--predictor", "1"], "--predictor"),
    "a predictor for JPEG-LS": (["SRC", "DST", "--to", "jpegls", "--predictor", "3"], "--predictor"),
    "resolutions for JPEG": (["SRC", "DST", "--to", "jpeg", "--resolutions", "3"], "--resolutions"),
    "no resolutions": (["SRC", "DST", "--to", "j2k", "--resolutions", "0"], "resolutions"),
    "an offset table that does not exist": (["SRC", "DST", "--to", "rle", "--offset-table", "big"], "offset-table"),
    "an answer to unused bits that does not exist": (["SRC", "DST", "-R", "--unused-bits", "drop"], "unused-bits"),
    "no workers": (["SRC", "DST", "--to", "rle", "-j", "0"], "jobs"),
    "consent to loss for a syntax that cannot lose": (["SRC", "DST", "--to", "rle", "--lossy"], "--lossy"),
    "consent to loss for a native syntax": (["SRC", "DST", "--raw", "-Y"], "--lossy"),
    "a quality for JPEG 2000": (["SRC", "DST", "--to", "j2k", "-Y", "-q", "90"], "--quality"),
    "a ratio for JPEG": (["SRC", "DST", "--to", "jpeg", "-Y", "--ratio", "9"], "--ratio"),
    "a bound of errors for JPEG 2000": (["SRC", "DST", "--to", "j2k", "-Y", "--near", "2"], "--near"),
    "a quality beyond 100": (["SRC", "DST", "--to", "jpeg", "-Y", "-q", "101"], "quality"),
    "a ratio below 1": (["SRC", "DST", "--to", "j2k", "-Y", "--ratio", "0.5"], "ratio"),
    "a subsampling that does not exist": (["SRC", "DST", "--to", "jpeg", "-Y", "--subsampling", "411"], "subsampling"),
    "a fallback that does not exist": (["SRC", "DST", "--to", "rle", "--fallback", "nonsense"], "nonsense"),
    "JSON and the file on one stream": (["SRC", "-", "--to", "rle", "--json"], "--json"),
    "an option of convert for syntaxes": (["syntaxes", "--to", "rle"], "--to"),
    "an argument for syntaxes": (["syntaxes", "SRC"], "extra argument"),
}
IGNORED: dict[str, tuple[list[str], str]] = {
    "an unknown decoder where nothing is decoded": (["SRC", "DST", "-M", "--decoder", "nonsense"], "nonsense"),
    "an unknown encoder where nothing is encoded": (["SRC", "DST", "-M", "--encoder", "nonsense"], "nonsense"),
    "an unknown encoder for a copy": (["SRC", "DST", "--to", "explicit", "--encoder", "nonsense"], "nonsense"),
    "a predictor for a native target": (["SRC", "DST", "--to", "implicit", "--predictor", "3"], "--predictor"),
    "a ratio and a PSNR": (["SRC", "DST", "--to", "j2k", "-Y", "--ratio", "5", "--psnr", "60"], "--psnr"),
    "resolutions for a copy": (["SRC", "DST", "--to", "explicit", "--resolutions", "3"], "--resolutions"),
}
SUMMED_UP = "the summary of a batch of 0 files comes before the line of the usage error"
BATCHES: dict[str, tuple[list[str], str]] = {
    "several files into a file": (["SRC", "SRC", "DST", "--to", "rle"], "is a file"),
    "a directory into a file": ([".", "DST", "--to", "rle"], "is a file"),
    "standard input among several": (["-", "SRC", "DST", "--to", "rle"], "standard input"),
}
UNCHECKED = (
    "plan.make checks backend names and coding parameters only where pixels are coded; elsewhere they are ignored"
)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        *[pytest.param(*case, id=name) for name, case in USAGE.items()],
        *[pytest.param(*case, id=name) for name, case in IGNORED.items()],
        *[pytest.param(*case, id=name) for name, case in BATCHES.items()],
    ],
)
def test_usage_error(arguments: list[str], says: str, src: Path, dst: Path, fails: Fails) -> None:
    old_file(dst)
    here = {"SRC": os.fspath(src), "DST": os.fspath(dst)}
    line = fails(2, *[here.get(one, one) for one in arguments])
    assert says in line


def test_a_usage_error_says_where_to_read_on(fails: Fails) -> None:
    assert re.search(r"; try '.* --help'$", fails(2, "in.dcm", "out.dcm"))


def test_without_arguments_the_help_is_shown_and_the_status_is_2(command: Command) -> None:
    ran = command()
    assert ran.status == 2
    assert "Usage: dcmtx" in ran.out + ran.err


# --- which command ---------------------------------------------------------------------------------------------

FORMS: dict[str, list[str]] = {
    "convert by its name": ["convert", "SRC", "DST", "--to", "rle"],
    "no command means convert": ["SRC", "DST", "--to", "rle"],
    "options first": ["--to", "rle", "SRC", "DST"],
    "a word as target": ["SRC", "DST", "--rle"],
    "a letter as target": ["-R", "SRC", "DST"],
    "options between": ["SRC", "--to", "rle", "DST"],
    "-t": ["SRC", "DST", "-t", "rle"],
    "--to= in one": ["SRC", "DST", "--to=rle"],
    "a keyword": ["SRC", "DST", "--to", "RLELossless"],
    "a UID": ["SRC", "DST", "--to", "1.2.840.10008.1.2.5"],
    "a name in capitals": ["SRC", "DST", "--to", "RLE"],
    "arguments behind --": ["--to", "rle", "--", "SRC", "DST"],
    "-- first": ["convert", "--to", "rle", "--", "SRC", "DST"],
}


@pytest.mark.parametrize("arguments", FORMS.values(), ids=FORMS.keys())
def test_ways_to_ask_for_a_conversion(arguments: list[str], src: Path, dst: Path, command: Command) -> None:
    here = {"SRC": os.fspath(src), "DST": os.fspath(dst)}
    assert command(*[here.get(one, one) for one in arguments]) == Ran(0, "", "")
    assert_converted(dst)


@pytest.mark.parametrize(
    ("word", "syntax"),
    [
        ("--explicit", dicom.EXPLICIT), ("-X", dicom.EXPLICIT), ("--implicit", dicom.IMPLICIT), ("-M", dicom.IMPLICIT),
        ("--deflated", dicom.DEFLATED), ("-d", dicom.DEFLATED), ("--rle", dicom.RLE), ("-R", dicom.RLE),
        ("--jpeg", dicom.JPEG_SV1), ("-J", dicom.JPEG_SV1), ("--jpegls", dicom.JPEGLS), ("-L", dicom.JPEGLS),
        ("--j2k", dicom.J2K_LOSSLESS), ("-K", dicom.J2K_LOSSLESS), ("--htj2k", dicom.HTJ2K_LOSSLESS),
        ("--raw", dicom.EXPLICIT), ("-w", dicom.EXPLICIT),
    ],
)  # fmt: skip
def test_each_of_gdcmconvs_words_names_its_syntax(
    word: str, syntax: str, src: Path, dst: Path, command: Command
) -> None:
    assert command(src, dst, word) == Ran(0, "", "")
    assert_converted(dst, syntax)


def test_raw_leaves_a_native_file_in_its_own_syntax(src: Path, dst: Path, command: Command) -> None:
    src.write_bytes(dicom.Image(PIXELS.tobytes(), rows=40, columns=48, stored=12, syntax=dicom.IMPLICIT).encode())
    assert command(src, dst, "--raw") == Ran(0, "", "")
    assert dst.read_bytes() == src.read_bytes()


def test_raw_decompresses(src: Path, dst: Path, command: Command) -> None:
    command(src, dst, "--rle")
    assert command(dst, dst, "--raw") == Ran(0, "", "")
    assert_converted(dst, dicom.EXPLICIT)


def test_a_file_named_like_a_command_is_meant_with_a_path(
    src: Path, command: Command, fails: Fails, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(src.parent)
    src.rename("convert")
    assert "DST" in fails(2, "convert", "out.dcm", "--to", "rle")
    assert command("./convert", "out.dcm", "--to", "rle") == Ran(0, "", "")
    assert command("convert", "convert", "again.dcm", "--to", "rle") == Ran(0, "", "")
    assert_converted(Path("out.dcm"))
    assert_converted(Path("again.dcm"))


def test_a_file_named_like_an_option_is_meant_behind_two_dashes(
    src: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(src.parent)
    src.rename("--raw")
    assert command("--to", "rle", "--", "--raw", "-R") == Ran(0, "", "")
    assert_converted(Path("-R"))


# --- help ------------------------------------------------------------------------------------------------------


def commands() -> Iterator[tuple[str, click.Command]]:
    context = click.Context(cli)
    for name in COMMANDS:
        command = cli.get_command(context, name)  # type: ignore[attr-defined]
        assert command is not None
        yield name, command


@pytest.mark.parametrize("name", COMMANDS)
def test_help_mentions_every_option(name: str, command: Command) -> None:
    ran = command(name, "--help")
    assert (ran.status, ran.err) == (0, "")
    options = [option for parameter in dict(commands())[name].params for option in parameter.opts]
    options = [option for option in options if option.startswith("-")]
    assert "--help" in ran.out
    assert [option for option in options if not re.search(rf"(?<!\S){option}(?![\w-])", ran.out)] == []
    assert re.search(r"^Usage: dcmtx ", ran.out)


@pytest.mark.parametrize(
    ("given", "made"),
    [
        (["-t", "rle", "-F", "a"], ["--to", "rle", "--force", "a"]),
        (["--to", "-t", "a", "-v"], ["--to", "-t", "a", "--verbose"]),
        (["-t", "-t"], ["--to", "-t"]), (["-j4", "-qv", "-trle"], ["-j4", "-qv", "-trle"]),
        (["--lossy", "-t", "x"], ["--lossy", "--to", "x"]), (["--quality=3", "-t", "x"], ["--quality=3", "--to", "x"]),
        (["-t", "x", "--", "-t"], ["--to", "x", "--", "-t"]), (["-t"], ["--to"]), ([], []),
    ],
    ids=["a value and a flag", "a value like a letter", "the letter itself", "letters in one word", "behind a flag",
         "behind a value in one word", "names of files", "no value", "nothing"],
)  # fmt: skip
def test_letters_become_the_names_of_their_options_and_values_stay(given: list[str], made: list[str]) -> None:
    from dcmtx.cli.convert import convert
    from dcmtx.cli.options import _with_names

    assert _with_names(convert.params, given) == made


def test_help_of_convert_mentions_every_exit_status(command: Command) -> None:
    text = command("convert", "--help").out
    table = text[text.index("Exit status") :]
    found = {int(number) for number in re.findall(r"\b\d+\b", table)}
    assert found >= {0, 1, 2, 3, 4, 5, 6, 7, 8, 130, 143}


@pytest.mark.parametrize("option", ["--help", "-h"])
def test_help_names_every_command(option: str, command: Command) -> None:
    ran = command(option)
    assert (ran.status, ran.err) == (0, "")
    for name, (_, text) in COMMANDS.items():
        assert name in ran.out
        assert text in ran.out


@pytest.mark.parametrize("arguments", [["--help"], ["convert", "--help"]], ids=["dcmtx", "convert"])
def test_examples_in_the_help_stand_on_lines_of_their_own(arguments: list[str], command: Command) -> None:
    text = command(*arguments).out
    assert "\\b" not in text
    examples = [line for line in text.splitlines() if re.match(r"\s+dcmtx .*(--to|--raw)", line)]
    assert len(examples) >= 2
    assert all(line.count("dcmtx ") == 1 for line in examples)


def test_version(command: Command) -> None:
    assert command("--version") == Ran(0, f"dcmtx {__version__}\n", "")


# --- syntaxes --------------------------------------------------------------------------------------------------


def listed(command: Command) -> list[dict[str, object]]:
    ran = command("syntaxes", "--json")
    assert (ran.status, ran.err) == (0, "")
    return json.loads(ran.out)


def test_the_json_of_syntaxes_agrees_with_the_tables_of_codecs(command: Command) -> None:
    for row in listed(command):
        for key, registry in (("decode", DECODERS), ("encode", ENCODERS)):
            expected = list(dict.fromkeys((one.backend, one.package) for one in registry.rows(row["uid"])))
            assert [(one["backend"], one["package"]) for one in row[key]] == expected
            assert all(
                one["installed"] is True for one in row[key] if one["backend"] not in ("pyjpegls", "ojph", "nvimgcodec")
            )


def test_every_transfer_syntax_that_pydicom_knows_is_listed_by_its_keyword(command: Command) -> None:
    from pydicom.uid import AllTransferSyntaxes

    known = {str(uid): uid.keyword for uid in AllTransferSyntaxes}
    assert len(known) > 30
    found = {row["uid"]: row["keyword"] for row in listed(command)}
    assert {uid: found.get(uid) for uid in known} == known


def test_syntaxes_without_a_terminal_prints_a_line_of_five_fields_each(command: Command) -> None:
    ran = command("syntaxes")
    assert (ran.status, ran.err) == (0, "")
    heading, *lines = [line.split("\t") for line in ran.out.splitlines()]
    assert heading == ["UID", "NAMES", "LOSS", "DECODE", "ENCODE"]
    rows = listed(command)
    assert [line[0] for line in lines] == [row["uid"] for row in rows]
    for line, row in zip(lines, rows, strict=True):
        assert line[1] == (", ".join(row["aliases"]) or row["keyword"])
        assert line[2] == row["loss"]
        for field, key in ((line[3], "decode"), (line[4], "encode")):
            assert field == (", ".join(map(shown, row[key])) or "-")


def shown(entry: dict[str, Any]) -> str:
    if entry["device"] is not None:
        here = "GPU here" if entry["device"] else "no GPU here"
        return f"{entry['backend']} ({here}{'' if entry['installed'] else '; pip install dcmtx[gpu]'})"
    if not entry["installed"]:
        return f"{entry['backend']} (pip install {entry['package']})"
    return f"{entry['backend']} (more from {entry['needs']} on)" if entry["needs"] else entry["backend"]


@pytest.mark.parametrize(("version", "needs"), [("2026.3.6", "2026.10.10"), ("2026.10.10", None)])
def test_syntaxes_tells_where_a_newer_release_does_more(
    version: str, needs: str | None, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imagecodecs.__version__", version)
    encoders = {row["uid"]: {one["backend"]: one["needs"] for one in row["encode"]} for row in listed(command)}
    assert encoders[dicom.JPEGLS]["imagecodecs"] == needs
    assert encoders[dicom.HTJ2K_RPCL]["imagecodecs"] == needs
    assert encoders[dicom.J2K_LOSSLESS]["imagecodecs"] is None
    line = next(line for line in command("syntaxes").out.splitlines() if line.startswith(f"{dicom.JPEGLS}\t"))
    assert ("imagecodecs (more from 2026.10.10 on)" in line) == (needs is not None)


# Names that are a family's in small letters, and another syntax's keyword in capitals.
TAKEN = {"HTJ2K": "1.2.840.10008.1.2.4.203", "JPEGXL": "1.2.840.10008.1.2.4.112"}
ONLY_FROM_JPEG = "1.2.840.10008.1.2.4.111"


def expected_status(uid: str) -> int:
    """The exit status of a conversion from native pixels to this syntax, without consent to loss."""
    rows = ENCODERS.rows(uid)
    if not rows:
        return 4
    return 5 if uid == ONLY_FROM_JPEG or all(row.lossy for row in rows) else 0


def test_every_name_that_is_listed_is_a_target_and_only_what_has_an_encoder_is_written(
    src: Path, dst: Path, command: Command
) -> None:
    for row in listed(command):
        for name in {row["uid"], row["keyword"], *row["aliases"]} - set(TAKEN):
            ran = command(src, dst, "--to", name, "--quiet")
            assert ran.status == expected_status(row["uid"]), (name, ran)
            assert dst.exists() == (ran.status == 0)
            if ran.status == 0:
                assert syntax_of(dst) == row["uid"]
                dst.unlink()


@pytest.mark.parametrize(("name", "uid"), TAKEN.items(), ids=TAKEN.keys())
def test_a_keyword_as_the_standard_writes_it_is_that_syntax(
    name: str, uid: str, src: Path, dst: Path, command: Command
) -> None:
    assert command(src, dst, "--to", name).status == 0
    assert syntax_of(dst) == uid


def test_a_backend_that_is_not_installed_is_named_with_what_to_install(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    import importlib.metadata

    def version(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    rle = next(line for line in command("syntaxes").out.splitlines() if line.startswith(f"{dicom.RLE}\t"))
    assert "imagecodecs (pip install imagecodecs), pylibjpeg-rle (pip install pylibjpeg-rle)" in rle
    row = next(row for row in listed(command) if row["uid"] == dicom.RLE)
    assert [one["installed"] for one in row["decode"]] == [False, False]


def test_syntaxes_on_a_terminal_is_a_table() -> None:
    ours, theirs = pty.openpty()
    environment = os.environ | {"COLUMNS": "150", "TERM": "xterm", "NO_COLOR": "1"}
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", "dcmtx", "syntaxes"], stdout=theirs, stderr=subprocess.PIPE, env=environment
        )
        os.close(theirs)
        text = read_terminal(ours).decode()
        assert process.wait(60) == 0
        assert process.stderr is not None
        assert process.stderr.read() == b""
        process.stderr.close()
    finally:
        os.close(ours)
    assert "\t" not in text
    assert "…4.80" in text
    assert "jpegls" in text


def read_terminal(descriptor: int) -> bytes:
    parts = []
    while True:
        try:
            part = os.read(descriptor, 1 << 16)
        except OSError:  # how Linux says that the other end is closed
            part = b""
        if not part:
            return b"".join(parts)
        parts.append(part)


# --- what is said ----------------------------------------------------------------------------------------------


def test_a_note_goes_to_standard_error_and_the_status_is_0(src: Path, dst: Path, command: Command) -> None:
    ran = command(src, dst, "--to", "big-endian")
    assert ran.status == 0
    assert re.fullmatch(r"dcmtx: .*in\.dcm: note: .*retired.*", ran.line)
    assert_converted(dst, dicom.BIG_ENDIAN)


def test_quiet_keeps_notes_back_but_not_errors(src: Path, dst: Path, command: Command, fails: Fails) -> None:
    assert command(src, dst, "--to", "big-endian", "--quiet") == Ran(0, "", "")
    fails(8, src, dst, "--to", "rle", "--quiet", "--no-clobber")


VERBOSE: dict[str, tuple[list[str], str]] = {
    "a conversion": (["IN", "OUT", "--rle"], r"explicit to rle by dcmtx to imagecodecs, 1 frame, \d+ to \d+ bytes, "),
    "a conversion without pixels being coded": (["IN", "OUT", "--implicit"], r"explicit to implicit, 1 frame, "),
    "a copy": (["IN", "OUT", "--explicit"], "is explicit already, copied"),
    "nothing": (["IN", "IN", "--explicit"], "is explicit already, nothing to do"),
}


@pytest.mark.parametrize(("arguments", "says"), VERBOSE.values(), ids=VERBOSE.keys())
def test_verbose_says_what_was_done(arguments: list[str], says: str, src: Path, dst: Path, command: Command) -> None:
    here = {"IN": os.fspath(src), "OUT": os.fspath(dst)}
    ran = command(*[here.get(one, one) for one in arguments], "-v")
    assert ran.status == 0
    assert re.search(rf"in\.dcm: {says}", ran.line)


ODD_NAMES: dict[str, tuple[str, str]] = {
    "a space": ("an image.dcm", "an image.dcm"),
    "a line end": ("an\nimage.dcm", r"an\nimage.dcm"),
    "a control character": ("an\x1b[31mimage.dcm", r"an\x1b[31mimage.dcm"),
    "letters beyond ASCII": ("Röntgen-画像.dcm", "Röntgen-画像.dcm"),
    "bytes that are no UTF-8": (os.fsdecode(b"bild-\xfc-\xff.dcm"), r"bild-\xfc-\xff.dcm"),
    "a percent sign and braces": ("100%s{0}.dcm", "100%s{0}.dcm"),
    "as many bytes as a name may have": ("é" * 125 + "x.dcm", "é" * 125 + "x.dcm"),
    "255 bytes that are no UTF-8": (os.fsdecode(b"\xff" * 255), r"\xff" * 255),
    "a dash first": ("-.dcm", "-.dcm"),
    "a dot first": (".dcm", ".dcm"),
}


@pytest.mark.parametrize(("name", "shown"), ODD_NAMES.values(), ids=ODD_NAMES.keys())
def test_a_file_name_may_have(name: str, shown: str, tmp_path: Path, command: Command, fails: Fails) -> None:
    src, folder = tmp_path / name, tmp_path / "to"
    try:
        src.write_bytes(SOURCE)
    except (OSError, UnicodeError):
        pytest.skip("this file system takes no such name")
    folder.mkdir()
    assert command(src, folder / name, "--to", "rle") == Ran(0, "", "")
    assert os.listdir(folder) == [name]
    assert_converted(folder / name)
    assert command(src, src, "--to", "jpegls") == Ran(0, "", "")
    assert syntax_of(src) == dicom.JPEGLS
    src.write_bytes(SOURCE[:300])
    assert f"/{shown}: " in fails(3, src, folder, "--to", "rle")


# --- JSON and dry runs -----------------------------------------------------------------------------------------


def test_json_is_one_object_on_standard_output(src: Path, dst: Path, command: Command) -> None:
    ran = command(src, dst, "--to", "rle", "--json")
    assert (ran.status, ran.err) == (0, "")
    assert ran.out.count("\n") == 1
    record = json.loads(ran.out)
    assert (record["source"], record["destination"]) == (str(src), str(dst))
    assert (record["syntax_in"], record["syntax_out"]) == (dicom.EXPLICIT, dicom.RLE)
    assert (record["bytes_in"], record["bytes_out"]) == (len(SOURCE), dst.stat().st_size)
    assert (record["status"], record["frames"]) == ("converted", 1)


def test_json_of_a_failure_is_one_object_too_and_the_line_is_there_as_ever(
    src: Path, dst: Path, command: Command
) -> None:
    src.write_bytes(SOURCE[:-10])
    before = contents(src.parent)
    ran = command(src, dst, "--to", "rle", "--json")
    assert ran.status == 3
    assert re.fullmatch(r"dcmtx: [^\n]+\n", ran.err)
    record = json.loads(ran.out)
    assert (record["status"], record["error"]["status"], record["error"]["code"]) == ("failed", 3, "E_TRUNCATED")
    assert contents(src.parent) == before


@pytest.mark.parametrize("target", ["rle", "explicit", "implicit"])
@pytest.mark.parametrize("option", [[], ["--json"]], ids=["in words", "as JSON"])
def test_a_dry_run_tells_the_plan_and_touches_nothing(
    option: list[str], target: str, src: Path, dst: Path, command: Command
) -> None:
    old_file(dst)
    before = contents(src.parent)
    ran = command(src, dst, "--to", target, "--dry-run", *option)
    assert (ran.status, ran.err) == (0, "")
    assert ran.out
    assert contents(src.parent) == before
    if option:
        record = json.loads(ran.out)
        # What would be copied has the size that it has.
        assert record["status"] == "planned"
        assert record["bytes_out"] == (len(SOURCE) if target == "explicit" else None)


@pytest.mark.parametrize("target", ["rle", "explicit"])
def test_a_dry_run_says_nothing_of_what_was_not_done(target: str, src: Path, dst: Path, command: Command) -> None:
    ran = command(src, dst, "--to", target, "--dry-run", "--verbose")
    assert ran.status == 0
    assert ran.err.endswith(f" of {len(SOURCE)} bytes, planned\n")


def test_a_dry_run_of_what_is_refused_is_refused(src: Path, dst: Path, fails: Fails) -> None:
    src.write_bytes(SOURCE[:-10])
    fails(3, src, dst, "--to", "rle", "--dry-run")


# --- where files go --------------------------------------------------------------------------------------------


def test_relative_paths(src: Path, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    (src.parent / "a" / "b").mkdir(parents=True)
    monkeypatch.chdir(src.parent / "a")
    assert command("../in.dcm", "b/../out.dcm", "--to", "rle") == Ran(0, "", "")
    assert_converted(src.parent / "a" / "out.dcm")
    assert command("../in.dcm", ".", "--to", "rle") == Ran(0, "", "")
    assert_converted(src.parent / "a" / "in.dcm")
    assert src.read_bytes() == SOURCE


@pytest.mark.parametrize("slash", ["", "/"], ids=["without a slash", "with a slash"])
def test_into_a_directory_the_file_goes_under_its_own_name(
    slash: str, src: Path, tmp_path: Path, command: Command
) -> None:
    (tmp_path / "to").mkdir()
    assert command(src, f"{tmp_path}/to{slash}", "--to", "rle") == Ran(0, "", "")
    assert os.listdir(tmp_path / "to") == ["in.dcm"]
    assert_converted(tmp_path / "to" / "in.dcm")


def test_into_a_directory_by_a_symbolic_link(src: Path, tmp_path: Path, command: Command) -> None:
    (tmp_path / "to").mkdir()
    (tmp_path / "link").symlink_to("to")
    assert command(src, tmp_path / "link", "--to", "rle") == Ran(0, "", "")
    assert_converted(tmp_path / "to" / "in.dcm")


def test_the_name_in_a_directory_is_that_of_a_source_link_not_of_its_target(
    src: Path, tmp_path: Path, command: Command
) -> None:
    (tmp_path / "to").mkdir()
    (tmp_path / "link.dcm").symlink_to(src)
    assert command(tmp_path / "link.dcm", tmp_path / "to", "--to", "rle") == Ran(0, "", "")
    assert os.listdir(tmp_path / "to") == ["link.dcm"]


@pytest.mark.parametrize(
    ("umask", "mode"),
    [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664), (0o000, 0o666)],
    ids=["022", "077", "002", "000"],
)
@pytest.mark.parametrize("target", ["rle", "explicit"], ids=["converted", "copied"])
def test_a_new_file_has_the_mode_of_the_umask(
    umask: int, mode: int, target: str, src: Path, dst: Path, command: Command
) -> None:
    src.chmod(0o755)
    before = os.umask(umask)
    try:
        assert command(src, dst, "--to", target).status == 0
    finally:
        os.umask(before)
    assert stat.S_IMODE(dst.stat().st_mode) == mode


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664, 0o777, 0o444], ids=oct)
@pytest.mark.parametrize("target", ["rle", "explicit"], ids=["converted", "copied"])
def test_a_file_that_is_replaced_keeps_its_mode(mode: int, target: str, src: Path, dst: Path, command: Command) -> None:
    old_file(dst).chmod(mode)
    assert command(src, dst, "--to", target) == Ran(0, "", "")
    assert stat.S_IMODE(dst.stat().st_mode) == mode
    assert_converted(dst, dicom.RLE if target == "rle" else dicom.EXPLICIT)


def test_a_read_only_source_is_read(src: Path, dst: Path, command: Command) -> None:
    src.chmod(0o400)
    before = contents(src.parent)
    assert command(src, dst, "--to", "rle") == Ran(0, "", "")
    assert_converted(dst)
    dst.unlink()
    assert contents(src.parent) == before


def test_a_symbolic_link_at_the_destination_is_followed(src: Path, tmp_path: Path, command: Command) -> None:
    (tmp_path / "far").mkdir()
    real = old_file(tmp_path / "far" / "real.dcm")
    link = tmp_path / "link.dcm"
    link.symlink_to("far/real.dcm")
    assert command(src, link, "--to", "rle") == Ran(0, "", "")
    assert link.is_symlink()
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    assert_converted(real)


def test_a_symbolic_link_to_nothing_makes_the_file_it_names(src: Path, tmp_path: Path, command: Command) -> None:
    link = tmp_path / "link.dcm"
    link.symlink_to("new.dcm")
    assert command(src, link, "--to", "rle") == Ran(0, "", "")
    assert link.is_symlink()
    assert_converted(tmp_path / "new.dcm")


def test_a_chain_of_symbolic_links_is_followed(src: Path, tmp_path: Path, command: Command) -> None:
    for one, other in (("a", "b"), ("b", "c")):
        (tmp_path / one).symlink_to(other)
    assert command(src, tmp_path / "a", "--to", "rle") == Ran(0, "", "")
    assert (tmp_path / "a").is_symlink()
    assert (tmp_path / "b").is_symlink()
    assert_converted(tmp_path / "c")


def same_name(src: Path) -> Path:
    return src


def dotted_name(src: Path) -> Path:
    return src.parent / ".." / src.parent.name / src.name


def its_directory(src: Path) -> Path:
    return src.parent


def symbolic_link(src: Path) -> Path:
    link = src.parent / "link.dcm"
    link.symlink_to(src.name)
    return link


IN_PLACE = {
    "by its name": same_name,
    "by another spelling of its name": dotted_name,
    "by its directory": its_directory,
    "by a symbolic link to it": symbolic_link,
}


@pytest.mark.parametrize("place", IN_PLACE.values(), ids=IN_PLACE.keys())
def test_a_file_is_converted_in_place(place: Callable[[Path], Path], src: Path, command: Command) -> None:
    src.chmod(0o600)
    dst = place(src)
    names = sorted(os.listdir(src.parent))
    assert command(src, dst, "--to", "rle") == Ran(0, "", "")
    assert_converted(src)
    assert stat.S_IMODE(src.stat().st_mode) == 0o600
    assert sorted(os.listdir(src.parent)) == names
    assert command(src, dst, "--to", "jpegls") == Ran(0, "", "")
    assert_converted(src, dicom.JPEGLS)


@pytest.mark.parametrize("place", IN_PLACE.values(), ids=IN_PLACE.keys())
def test_in_place_with_nothing_to_do_touches_nothing(
    place: Callable[[Path], Path], src: Path, command: Command
) -> None:
    dst = place(src)
    before = contents(src.parent)
    assert command(src, dst, "--to", "explicit") == Ran(0, "", "")
    assert command(src, dst, "--to", "explicit", "--no-clobber") == Ran(0, "", "")
    assert contents(src.parent) == before


@pytest.mark.parametrize("place", IN_PLACE.values(), ids=IN_PLACE.keys())
def test_in_place_a_failure_leaves_the_file_as_it_was(place: Callable[[Path], Path], src: Path, fails: Fails) -> None:
    src.write_bytes(SOURCE[:-100])
    dst = place(src)
    fails(3, src, dst, "--to", "rle")


def test_a_hard_link_to_the_source_becomes_a_file_of_its_own(src: Path, dst: Path, command: Command) -> None:
    os.link(src, dst)
    assert command(src, dst, "--to", "rle") == Ran(0, "", "")
    assert src.read_bytes() == SOURCE
    assert_converted(dst)


def test_a_source_may_be_a_symbolic_link(src: Path, tmp_path: Path, dst: Path, command: Command) -> None:
    (tmp_path / "link").symlink_to(src)
    assert command(tmp_path / "link", dst, "--to", "rle") == Ran(0, "", "")
    assert_converted(dst)
    assert src.read_bytes() == SOURCE


def test_a_file_in_the_target_syntax_is_copied_byte_for_byte(src: Path, dst: Path, command: Command) -> None:
    src.write_bytes(SOURCE + b"what nobody reads")
    assert command(src, dst, "--to", "explicit") == Ran(0, "", "")
    assert dst.read_bytes() == src.read_bytes()


def test_force_writes_a_file_in_the_target_syntax_anew(src: Path, dst: Path, command: Command) -> None:
    src.write_bytes(SOURCE + dicom.element(0xFFFCFFFC, "OB", bytes(64)))
    assert command(src, dst, "--to", "explicit", "--force").status == 0
    assert dst.stat().st_size < src.stat().st_size
    assert_converted(dst, dicom.EXPLICIT)


# --- streams ---------------------------------------------------------------------------------------------------


def test_from_a_pipe_into_a_pipe() -> None:
    ran = spawn("-", "-", "--to", "rle", input=SOURCE)
    assert (ran.returncode, ran.stderr) == (0, b"")
    assert_converted(ran.stdout)


def test_a_copy_goes_through_pipes_byte_for_byte() -> None:
    ran = spawn("-", "-", "--to", "explicit", input=SOURCE)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, SOURCE, b"")


def test_much_through_a_pipe(dst: Path) -> None:
    frame = (np.arange(1024 * 1024, dtype=np.uint16) % 4096).reshape(1024, 1024)
    data = dicom.Image(frame.tobytes() * 12, rows=1024, columns=1024, stored=12, frames=12).encode()
    ran = spawn("-", "-", "--to", "implicit", input=data)
    assert (ran.returncode, ran.stderr) == (0, b"")
    value = dicom.walk(ran.stdout).elements[dicom.PIXEL_DATA].value
    assert value == frame.tobytes() * 12


def test_from_a_file_given_as_standard_input_into_the_same_file(src: Path) -> None:
    with src.open("rb") as stream:
        ran = spawn("-", src, "--to", "rle", stdin=stream)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, b"", b"")
    assert_converted(src)
    assert os.listdir(src.parent) == [src.name]


@pytest.mark.parametrize("mode", ["wb", "ab"], ids=["new", "appended to"])
def test_into_a_file_given_as_standard_output(mode: str, src: Path, dst: Path) -> None:
    dst.write_bytes(b"before")
    with dst.open(mode) as stream:
        ran = spawn(src, "-", "--to", "rle", stdout=stream)
    assert (ran.returncode, ran.stderr) == (0, b"")
    written = dst.read_bytes()
    assert_converted(written if mode == "wb" else written.removeprefix(b"before"))


@needs_linux
def test_into_dev_stdout_that_is_a_pipe(src: Path) -> None:
    ran = spawn(src, "/dev/stdout", "--to", "rle")
    assert (ran.returncode, ran.stderr) == (0, b"")
    assert_converted(ran.stdout)


@needs_linux
def test_into_dev_stdout_that_is_a_file(src: Path, dst: Path) -> None:
    with dst.open("wb") as stream:
        ran = spawn(src, "/dev/stdout", "--to", "rle", stdout=stream)
    assert (ran.returncode, ran.stderr) == (0, b"")
    assert_converted(dst)


@needs_linux
def test_from_dev_stdin(dst: Path) -> None:
    ran = spawn("/dev/stdin", dst, "--to", "rle", input=SOURCE)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, b"", b"")
    assert_converted(dst)


def test_into_dev_null_nothing_is_replaced(src: Path) -> None:
    ran = spawn(src, os.devnull, "--to", "rle")
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, b"", b"")
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)


def test_from_one_named_pipe_into_another(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    os.mkfifo(one)
    os.mkfifo(other)
    read: list[bytes] = []
    threads = [
        threading.Thread(target=one.write_bytes, args=[SOURCE], daemon=True),
        threading.Thread(target=lambda: read.append(other.read_bytes()), daemon=True),
    ]
    for thread in threads:
        thread.start()
    ran = spawn(one, other, "--to", "rle")
    for thread in threads:
        thread.join(60)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, b"", b"")
    assert_converted(read[0])
    assert stat.S_ISFIFO(other.stat().st_mode)
    assert sorted(os.listdir(tmp_path)) == ["one", "other"]


STREAMED: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "standard input: the file is empty"),
    "text": (b"hello\n" * 100, "standard input: the file is not a DICOM file"),
    "a file that is cut short": (SOURCE[:-500], "standard input: Pixel Data"),
}


@pytest.mark.parametrize(("data", "says"), STREAMED.values(), ids=STREAMED.keys())
@pytest.mark.parametrize("into", ["-", "out.dcm"], ids=["a pipe", "a file"])
def test_bad_standard_input_is_named_and_nothing_is_written(data: bytes, says: str, into: str, tmp_path: Path) -> None:
    old_file(tmp_path / "out.dcm")
    before = contents(tmp_path)
    ran = spawn("-", into, "--to", "rle", input=data, cwd=tmp_path)
    assert (ran.returncode, ran.stdout) == (3, b"")
    assert re.fullmatch(rf"dcmtx: {says}.*\n", ran.stderr.decode())
    assert contents(tmp_path) == before


def test_standard_input_has_no_name_to_go_into_a_directory_by(tmp_path: Path) -> None:
    ran = spawn("-", tmp_path, "--to", "rle", input=SOURCE)
    assert (ran.returncode, ran.stdout) == (8, b"")
    assert re.fullmatch(r"dcmtx: .*directory.*\n", ran.stderr.decode())
    assert os.listdir(tmp_path) == []


def closed_reader(*arguments: str | Path) -> tuple[int, bytes]:
    """Run `dcmtx` with a standard output whose reader is gone already; return status and standard error."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        ran = spawn(*arguments, stdout=writer)
    finally:
        os.close(writer)
    return ran.returncode, ran.stderr


def test_a_reader_who_is_gone_is_a_destination_that_cannot_be_written(src: Path) -> None:
    status, error = closed_reader(src, "-", "--to", "rle")
    assert status == 8
    assert re.fullmatch(rb"dcmtx: [^\n]*standard output[^\n]*\n", error)


def test_standard_output_is_called_by_its_name(src: Path) -> None:
    _, error = closed_reader(src, "-", "--to", "rle")
    assert b"standard input" not in error


@pytest.mark.parametrize("arguments", [["syntaxes"], ["syntaxes", "--json"], ["--help"]], ids=" ".join)
def test_a_reader_of_text_who_is_gone_is_no_bug(arguments: list[str]) -> None:
    assert closed_reader(*arguments) == (8, b"")


CLOSED = {"standard input": ("<&-", ["-", "out.dcm"], 3), "standard output": (">&-", ["in.dcm", "-"], 8)}


@pytest.mark.parametrize(("closing", "arguments", "status"), CLOSED.values(), ids=CLOSED.keys())
def test_a_closed_stream_is_an_error_with_a_line(closing: str, arguments: list[str], status: int, src: Path) -> None:
    ran = spawn(*arguments, "--to", "rle", prefix=["sh", "-c", f'exec "$@" {closing}', "sh"], cwd=src.parent)
    assert ran.returncode == status
    assert re.fullmatch(rb"dcmtx: [^\n]+\n", ran.stderr)


@pytest.mark.parametrize(
    "arguments",
    [
        "--version", "--help", "convert --help", "syntaxes", "syntaxes --json", "info in.dcm", "index in.dcm",
        "compare in.dcm in.dcm --json", "frames in.dcm -", "render in.dcm -", "completion bash",
        "hook orthanc-lua --to rle",
        "policy check site.toml in.dcm", "in.dcm out.dcm --to rle --dry-run",
    ],
)  # fmt: skip
def test_what_is_said_to_nobody_is_not_a_success(arguments: str, src: Path) -> None:
    (src.parent / "site.toml").write_text('[[rule]]\nto = "rle"\n')
    ran = spawn(*arguments.split(), prefix=["sh", "-c", 'exec "$@" >&-', "sh"], cwd=src.parent)
    assert ran.returncode == 8
    assert b"Traceback" not in ran.stderr


@pytest.mark.parametrize("closing", ["<&- >&-", "<&- >&- 2>&-", ">&- 2>&-"])
def test_no_file_takes_the_number_of_a_stream_that_is_closed(closing: str, src: Path) -> None:
    for source, destination, status in ((src, "-", 8), ("-", src, 3), ("-", "-", 3)):
        ran = spawn(source, destination, "--to", "rle", prefix=["sh", "-c", f'exec "$@" {closing}', "sh"],
                    stdin=subprocess.DEVNULL)  # fmt: skip
        assert ran.returncode == status
    assert src.read_bytes() == SOURCE


def test_a_conversion_of_files_needs_no_stream_at_all(src: Path, dst: Path) -> None:
    ran = spawn(src, dst, "--to", "rle", prefix=["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh"])
    assert ran.returncode == 0
    assert_converted(dst)


def test_an_error_without_standard_error_keeps_its_status(dst: Path) -> None:
    ran = spawn("missing.dcm", dst, "--to", "rle", prefix=["sh", "-c", 'exec "$@" 2>&-', "sh"])
    assert ran.returncode == 3
    assert not dst.exists()


def test_no_file_is_left_open_behind_a_stream(src: Path) -> None:
    line = [sys.executable, "-X", "dev", "-W", "error", "-m", "dcmtx", os.fspath(src), "-", "--to", "rle"]
    ran = subprocess.run(line, capture_output=True, timeout=60, check=False)
    assert (ran.returncode, ran.stderr) == (0, b"")


def test_nothing_is_left_open_or_warned_of_behind_files(src: Path, dst: Path) -> None:
    line = [sys.executable, "-X", "dev", "-W", "error", "-m", "dcmtx", os.fspath(src), os.fspath(dst), "--to", "jpegls"]
    ran = subprocess.run(line, capture_output=True, timeout=60, check=False)
    assert (ran.returncode, ran.stderr) == (0, b"")


def test_a_locale_without_utf_8_changes_nothing(tmp_path: Path) -> None:
    src = tmp_path / "Röntgen.dcm"
    src.write_bytes(SOURCE)
    environment = os.environ | {"LC_ALL": "C", "PYTHONIOENCODING": "ascii", "PYTHONCOERCECLOCALE": "0"}
    ran = spawn(src, tmp_path / "ö.dcm", "--to", "rle", env=environment)
    assert (ran.returncode, ran.stderr) == (0, b"")
    assert_converted(tmp_path / "ö.dcm")
    src.write_bytes(b"text")
    ran = spawn(src, tmp_path / "ö.dcm", "--to", "rle", env=environment)
    assert ran.returncode == 3
    assert re.fullmatch(rb"dcmtx: [^\n]+\n", ran.stderr)


def test_the_installed_program_is_the_module(src: Path, dst: Path) -> None:
    program = Path(sys.executable).with_name("dcmtx")
    if not program.exists():
        pytest.skip("dcmtx is not installed beside this Python")
    ran = subprocess.run([program, src, dst, "--to", "rle"], capture_output=True, timeout=60, check=False)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, b"", b"")
    assert_converted(dst)


def test_every_option_that_is_advised_is_one() -> None:
    """Whatever a message, a help text or a unit names: an option that nobody has helps nobody."""
    # A command remembers the names that its help had first.
    context = click.Context(cli, **cli.context_settings)
    commands = [command for name in COMMANDS if (command := cli.get_command(context, name)) is not None]
    known = {
        option
        for command in [cli, *commands]
        for parameter in command.get_params(context)
        for option in [*parameter.opts, *parameter.secondary_opts]
    }
    # `systemctl enable --now`, in the unit that is printed.
    known.add("--now")
    named = {
        (option, path.name)
        for path in Path(dcmtx.__file__).parent.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
        for option in re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*[a-z0-9]", node.value)
    }
    assert len(named) > 50
    # The tables of other converters name their options too.
    tables = {path.name for path in (Path(dcmtx.__file__).parent / "peers").glob("*.py")}
    theirs = {option for peer in map(load, MODULES) for row in peer.options for option in row.names}
    assert not [
        (option, name)
        for option, name in sorted(named)
        if option not in known and not (name in tables and option in theirs)
    ]
