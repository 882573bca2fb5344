"""What shells offer after dcmtx: bash by its own completion, the others as far as they are installed."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import tomllib
import zipfile

import click
import pytest
from click.testing import CliRunner
from conftest import ROOT, need_tool

from dcmtx.cli import cli
from dcmtx.cli.completion import FILE_NAMES, SHELLS, offers, targets
from dcmtx.commands import COMMANDS
from dcmtx.planning.request import resolve
from dcmtx.policy import EncodingParameters, OffsetTable

SCRIPTS = ROOT / "man" / "completion"
WORDS = {word for command in COMMANDS for word in [command]}


def offered(line: str, directory) -> list[str]:
    """Return what bash offers at the end of a line, in this directory."""
    # As bash parts lines into words, signs of equality included.
    words = [word for part in line.split(" ") for word in (part.replace("=", " = ").split(" ") if part else [""])]
    if words[-1] == "" and words[-2:-1] == ["="]:
        words.pop()
    program = (
        f"source {shlex.quote(str(SCRIPTS / 'dcmtx.bash'))}\n"
        f"COMP_WORDS=({' '.join(map(shlex.quote, words))}) COMP_CWORD={len(words) - 1}\n"
        "_dcmtx\n"
        "((${#COMPREPLY[@]})) && printf '%s\\n' \"${COMPREPLY[@]}\"\n"
        "complete -p dcmtx"
    )
    ran = subprocess.run(
        [need_tool("bash"), "--norc", "-c", program], cwd=directory, capture_output=True, text=True, timeout=60,
        check=True, env={"PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    *found, registered = ran.stdout.splitlines()
    assert (registered, ran.stderr) == ("complete -F _dcmtx dcmtx", "")
    return found


@pytest.fixture
def directory(tmp_path):
    for name in ("ct.dcm", "ct two.dcm", "mr.dcm"):
        (tmp_path / name).touch()
    (tmp_path / "sub").mkdir()
    return tmp_path


FILES = {"ct.dcm", "ct two.dcm", "mr.dcm", "sub"}


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        pytest.param("dcmtx ", FILES | WORDS, id="a command or a file"),
        pytest.param("dcmtx conv", {"convert"}, id="a command begun"),
        pytest.param(
            "dcmtx c",
            {"convert", "compare", "completion", "crop", "ct.dcm", "ct two.dcm"},
            id="a command or a file begun",
        ),
        pytest.param("dcmtx ct", {"ct.dcm", "ct two.dcm"}, id="files, spaces too"),
        pytest.param("dcmtx ct.dcm ", FILES, id="the destination"),
        pytest.param("dcmtx convert ct.dcm m", {"mr.dcm"}, id="the destination after the command"),
        pytest.param("dcmtx ct.dcm --offs", {"--offset-table"}, id="an option without the command"),
        pytest.param("dcmtx --offs", {"--offset-table"}, id="an option at once"),
        pytest.param("dcmtx --vers", {"--version"}, id="the version"),
        pytest.param("dcmtx convert --vers", set(), id="no version of a command"),
        pytest.param(
            "dcmtx convert --no-", {"--no-verify", "--no-clobber", "--no-pixels"}, id="options with the command"
        ),
        pytest.param("dcmtx serve --st", {"--status"}, id="an option of another command"),
        pytest.param("dcmtx serve ", set(), id="no files where there are none"),
        pytest.param("dcmtx ct.dcm --to jpegls-", {"jpegls-lossless", "jpegls-near"}, id="a target"),
        pytest.param("dcmtx -t RLE", {"RLELossless"}, id="a keyword after the short option"),
        pytest.param("dcmtx ct.dcm --to=rl", {"rle"}, id="a target after a sign of equality"),
        pytest.param("dcmtx ct.dcm --to=", set(targets()), id="all targets after a sign of equality"),
        pytest.param("dcmtx ct.dcm --to ", set(targets()), id="all targets"),
        pytest.param("dcmtx a b --fallback j2k-l", {"j2k-lossless"}, id="a fallback"),
        pytest.param("dcmtx a b --offset-table ", {table.value for table in OffsetTable}, id="choices"),
        pytest.param("dcmtx a b --decoder pylibjpeg-r", {"pylibjpeg-rle"}, id="a backend"),
        pytest.param("dcmtx a b --quality ", set(), id="no files where a number is wanted"),
        pytest.param("dcmtx a b --report m", {"mr.dcm"}, id="a file after an option"),
        pytest.param("dcmtx completion ", {"bash", "zsh", "fish"}, id="shells"),
    ],
)
def test_bash_offers(line, expected, directory):
    found = offered(line, directory)
    assert len(found) == len(set(found))
    assert set(found) == expected


def test_targets_are_names_that_convert_takes():
    for name in targets():
        assert resolve(name, EncodingParameters()).syntaxes
    assert {"raw", "jpegls", "htj2k-rpcl", "JPEGLSLossless", "explicit"} <= set(targets())


# --- every option in every shell -----------------------------------------------------------------------------------


@pytest.mark.parametrize("shell", SHELLS)
def test_every_option_and_choice_of_every_command_is_in_the_script(shell):
    text = (SCRIPTS / FILE_NAMES[shell]).read_text("ascii")
    for name in COMMANDS:
        command = cli.get_command(click.Context(cli), name)
        for param in command.params:
            for flag in param.opts if isinstance(param, click.Option) else []:
                wanted = flag if shell != "fish" else f"-l {flag[2:]} " if flag.startswith("--") else f"-s {flag[1:]} "
                assert wanted in text, flag
            if isinstance(param.type, click.Choice):
                assert " ".join(map(str, param.type.choices)) in text, param.name
    assert " ".join(targets()) in text
    assert [command.name for command in offers()] == list(COMMANDS)


@pytest.mark.parametrize("shell", SHELLS)
def test_the_command_prints_the_script_that_the_package_brings(shell):
    ran = CliRunner().invoke(cli, ["completion", shell], standalone_mode=False)
    assert ran.exception is None
    assert ran.output == (SCRIPTS / FILE_NAMES[shell]).read_text("ascii")


@pytest.mark.parametrize("shell", SHELLS)
def test_a_shell_takes_the_script(shell):
    ran = subprocess.run(
        [need_tool(shell), "-n", str(SCRIPTS / FILE_NAMES[shell])],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ran.returncode, ran.stderr) == (0, "")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("dcmtx ct.dcm --to jpegls-l", ["jpegls-lossless"]),
        ("dcmtx ct.dcm --offs", ["--offset-table"]),
        ("dcmtx convert c", ["ct two.dcm", "ct.dcm"]),
        ("dcmtx serve --st", ["--status"]),
        ("dcmtx serve ", []),
        ("dcmtx completion ", ["bash", "fish", "zsh"]),
        ("dcmtx a --quality ", []),
    ],
)
def test_fish_offers(line, expected, directory):
    program = f"source {shlex.quote(str(SCRIPTS / 'dcmtx.fish'))}; complete -C {shlex.quote(line)}"
    ran = subprocess.run(
        [need_tool("fish"), "--no-config", "-c", program],
        cwd=directory, capture_output=True, text=True, timeout=60, check=True,
        env=os.environ | {"HOME": str(directory)},
    )  # fmt: skip
    assert [offer.partition("\t")[0].replace("\\", "") for offer in ran.stdout.splitlines()] == expected


# --- the package ---------------------------------------------------------------------------------------------------

SHARED = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["hatch"]["build"]["targets"]["wheel"][
    "shared-data"
]


def test_the_package_brings_every_page_and_script():
    made = [*(ROOT / "man").glob("*.[157]"), *SCRIPTS.iterdir()]
    assert set(SHARED) == {str(path.relative_to(ROOT)) for path in made}
    for source, place in SHARED.items():
        if source.endswith((".1", ".5", ".7")):
            assert place == f"share/man/man{source[-1]}/{source.removeprefix('man/')}"


def test_a_wheel_has_them(tmp_path):
    """Built without a network by what is installed, out of a copy, so that nothing is left behind."""
    builder = pytest.importorskip("hatchling.builders.wheel", reason="hatchling is not installed")
    copy = tmp_path / "source"
    ignored = shutil.ignore_patterns("__pycache__", ".*", "tests", "testdata")
    shutil.copytree(ROOT, copy, ignore=ignored)
    (path,) = builder.WheelBuilder(str(copy)).build(directory=str(tmp_path / "dist"), versions=["standard"])
    with zipfile.ZipFile(path) as wheel:
        names = set(wheel.namelist())
        (data,) = {name.partition("/")[0] for name in names if ".data/" in name}
        assert {f"{data}/data/{place}" for place in SHARED.values()} <= names
        for source, place in SHARED.items():
            assert wheel.read(f"{data}/data/{place}") == (ROOT / source).read_bytes()
    assert {"dcmtx/__init__.py", "dcmtx/py.typed", "dcmtx/cli/completion.py"} <= names
