"""The man pages: as the commands are, complete, and in order for groff and man."""

from __future__ import annotations

import importlib.util
import inspect
import os
import re
import subprocess
import sys

import click
import pytest
from conftest import ROOT, need_tool

import dcmtx
from dcmtx import errors
from dcmtx.codec.table import DECODERS, ENCODERS
from dcmtx.commands import COMMANDS
from dcmtx.options import OPTIONS, Group
from dcmtx.relay import keys
from dcmtx.relay.answers import AnswerKind
from dcmtx.rules import catalog
from dcmtx.syntax import FAMILIES, SYNTAXES

DIRECTORY = ROOT / "man"

_spec = importlib.util.spec_from_file_location("make_man", DIRECTORY / "make.py")
make = importlib.util.module_from_spec(_spec)
sys.modules["make_man"] = make
_spec.loader.exec_module(make)

PAGES = make.pages()
each_file = pytest.mark.parametrize("path", sorted(DIRECTORY.glob("*.[157]")), ids=lambda path: path.stem)
each_page = pytest.mark.parametrize("page", [pytest.param(page, id=page.title) for page in PAGES])


def text(page: str) -> str:
    """Return a page without roff's escapes."""
    return plain((DIRECTORY / f"{page}.1").read_text("ascii"))


def plain(roff: str) -> str:
    return re.sub(r"\\f[BIR]|\\:|\\&", "", roff).replace("\\-", "-").replace("\\e", "\\")


def section(page: str, name: str) -> str:
    found = re.search(rf"^\.SH {name}\n(.*?)(?=^\.SH |\Z)", text(page), re.MULTILINE | re.DOTALL)
    assert found, f"{page} has no {name}"
    return found[1]


# --- fresh -----------------------------------------------------------------------------------------------------


def test_the_pages_are_what_the_commands_say():
    assert make.stale(DIRECTORY) == [], "run python man/make.py"


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda directory: (directory / "dcmtx.1").unlink(), id="a page that is missing"),
        pytest.param(lambda directory: (directory / "dcmtx.1").write_text("old\n"), id="a page that differs"),
        pytest.param(lambda directory: (directory / "dcmtx-gone.1").write_text("\n"), id="a page of no command"),
    ],
)
def test_check_reports_and_writing_mends(tmp_path, monkeypatch, capsys, spoil):
    monkeypatch.setattr(make, "HERE", tmp_path / "man")
    make.HERE.mkdir()
    assert make.main([]) == 0
    assert make.main(["--check"]) == 0
    spoil(make.HERE)
    assert make.main(["--check"]) == 1
    assert "run python man/make.py" in capsys.readouterr().err
    assert make.main([]) == 0
    assert make.main(["--check"]) == 0


def test_there_is_a_page_for_every_command():
    assert {path.stem for path in DIRECTORY.glob("*.[157]")} == {
        *make.OTHER_PAGES,
        *make.FORMAT_PAGES,
        *make.HAND_WRITTEN,
        "dcmtx",
        *(f"dcmtx-{name}" for name in COMMANDS),
    }


def test_the_page_of_the_library_has_every_public_name_and_keyword():
    page = plain((DIRECTORY / "dcmtx-api.7").read_text("ascii"))
    for name in dcmtx.__all__:
        assert name.startswith("_") or f"\n.SS {name}\n" in page, name
    for name in inspect.signature(dcmtx.transcode).parameters:
        assert re.search(rf"\b{name}: ", page), name
    for option in OPTIONS.values():
        if option.group is not Group.BATCH:
            assert option.help.replace("`", "") in page, option.name
    for status in errors.ExitStatus:
        assert f"ExitStatus.{status.name}\n" in page
        assert status.description in page
    assert '>>> outcome = dcmtx.transcode("ct-explicit.dcm"' in page
    # What is for those who work on the package.
    assert "rules/" not in page


# --- in order --------------------------------------------------------------------------------------------------


@each_file
def test_groff_has_no_warning(path):
    done = subprocess.run(
        [need_tool("groff"), "-t", "-man", "-Tutf8", "-ww", str(path)],
        check=False, capture_output=True, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, b"")


@each_file
def test_man_has_no_warning(path):
    done = subprocess.run(
        [need_tool("man"), "--warnings", "-l", str(path)],
        check=False, capture_output=True, timeout=60,
        env=os.environ | {"MANWIDTH": "80", "MANPAGER": "cat", "LC_ALL": "C.UTF-8"},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"NAME" in done.stdout


@each_page
def test_no_line_of_the_synopsis_or_the_table_is_wider_than_a_terminal(page):
    done = subprocess.run(
        [need_tool("groff"), "-t", "-man", "-Tascii", "-P-c", "-rLL=78n", str(DIRECTORY / f"{page.title}.1")],
        check=True, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    lines = re.sub(".\b", "", done.stdout).splitlines()
    assert max(map(len, lines)) <= 80


# --- complete --------------------------------------------------------------------------------------------------


@each_page
def test_the_sections_are_in_their_order(page):
    found = re.findall(r"^\.SH (.*)$", text(page.title), re.MULTILINE)
    order = ["NAME", "SYNOPSIS", "DESCRIPTION", "COMMANDS", "OPTIONS", "RECORDS", "FINDINGS", "TRANSFER SYNTAXES",
             "KNOWN BY NAME ONLY", "ANSWERS OF DESTINATIONS", "METRICS", "EXIT STATUS",
             "EXAMPLES", "SEE ALSO"]  # fmt: skip
    assert found == [name for name in order if name in found]
    assert {"NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXIT STATUS", "SEE ALSO"} <= set(found)


def test_the_page_of_the_relay_has_every_answer_metric_and_key():
    told = section("dcmtx-relay", "ANSWERS OF DESTINATIONS")
    assert set(make.BECOMES) == set(AnswerKind)
    for code in ("0000, success", "A700 to A7FF", "C000 to CFFF", "0122, SOP class", "HTTP 413", "HTTP 502 to 504"):
        assert code in told, code
    metrics = section("dcmtx-relay", "METRICS")
    for name in ("received_total by calling", "delivered_total by destination, syntax", "store_seconds", "held"):
        assert f"dcmtx_relay_{name}" in re.sub(r"\\f.", "", metrics)
    page = plain((DIRECTORY / "dcmtx-relay.toml.5").read_text("ascii"))
    for table in keys.SECTIONS:
        assert not table.path or f".SH {table.header}\n" in page
        for key in table.keys:
            assert f"\n{key.name} = {key.example}\n" in page


def test_the_page_of_a_group_has_the_commands_in_it():
    assert section("dcmtx-policy", "SYNOPSIS") == "dcmtx policy check [OPTIONS] FILE [SRC]...\n"
    told = section("dcmtx-policy", "COMMANDS")
    assert "check\nCheck a policy" in told
    assert "\n--json\n" in told
    for group in (page for page in PAGES if page.name and isinstance(page.command, click.Group)):
        assert [inner.name for inner in group.inner] == list(group.command.commands)


@each_page
def test_every_option_is_there_with_its_choices(page):
    options = section(page.title, "OPTIONS")
    for param in page.command.get_params(page.context):
        if isinstance(param, click.Option) and not param.hidden:
            for name in (*param.opts, *param.secondary_opts):
                assert re.search(rf"(^|, ){name}\b", options, re.MULTILINE), name
            if isinstance(param.type, click.Choice) and param.metavar is None:
                assert "|".join(map(str, param.type.choices)) in options


def test_every_exit_status_is_there_with_its_meaning():
    found = re.findall(r"^\.TP\n(\d+)\n(.*)$", section("dcmtx-convert", "EXIT STATUS"), re.MULTILINE)
    assert found == [(str(status.value), status.description) for status in errors.ExitStatus]
    assert section("dcmtx", "EXIT STATUS") == section("dcmtx-convert", "EXIT STATUS")


def test_the_examples_are_those_of_the_help():
    for line in ("dcmtx convert ct.dcm small.dcm --to jpegls", "dcmtx convert small.dcm ct.dcm --raw"):
        assert f"\n{line}" in section("dcmtx-convert", "EXAMPLES")
        assert line not in section("dcmtx-convert", "DESCRIPTION")


def test_every_finding_is_on_the_page_of_info_with_its_section_and_its_meaning():
    page = section("dcmtx-info", "FINDINGS")
    for code, entry in catalog.ENTRIES.items():
        found = re.search(rf"^\.TP\n{code}\n(.*)$", page, re.MULTILINE)
        assert found, code
        assert re.fullmatch(rf"[A-Z0-9].{{15,}} \({re.escape(entry.section)}\)\.", found[1]), code


_ROW = re.compile(r"^T\{\n(.*)\nT\}\tT\{\n(.*)\nT\}\tT\{\n(.*)\nT\}\tT\{\n(.*)\nT\}$", re.MULTILINE)


def names(cell: str) -> list[str]:
    return cell.split(", ") if cell not in ("", "-") else []


def test_the_tables_say_what_the_registries_say():
    found = {uid: (names(read), names(made)) for _, uid, read, made in _ROW.findall(text("dcmtx-syntaxes"))}
    coders = {
        syntax.uid.removeprefix(make.ROOT): tuple(
            list(dict.fromkeys(row.backend for row in registry.rows(syntax.uid))) for registry in (DECODERS, ENCODERS)
        )
        for syntax in SYNTAXES
    }
    assert found == {uid: backends for uid, backends in coders.items() if any(backends)}


def test_every_syntax_and_every_family_is_named_once():
    page = text("dcmtx-syntaxes")
    found = [name for row in _ROW.findall(page) for name in names(row[0])]
    for known in re.findall(r"^\.TP 9\n.*\n(.*?): ", page, re.MULTILINE):
        found += names(known)
    assert sorted(found) == sorted([syntax.label for syntax in SYNTAXES] + [family.name for family in FAMILIES])


# --- commands to come ------------------------------------------------------------------------------------------


@click.command(options_metavar="[OPTIONS]", epilog="\b\nExit status:\n  0  fine     12  late\n  3  odd\nThat is all.")
@click.argument("src", metavar="SRC... DST", nargs=-1, required=True)
@click.option("-l", "--level", type=click.IntRange(0, 9), default=6, show_default=True, help="How hard to try.")
@click.option("--name", "names", multiple=True, help="A name. [default: that of SRC]")
@click.option("--ratio", type=float, help="Ratio.")
@click.option("--fast/--slow", default=False, show_default=True, help="Which way.")
@click.option("--secret", hidden=True)
def invented(**options):
    """Do it to SRC.

    .Begins with a dot, has a back\\slash, an acute \u00e9 and `code --x`.

    \b
    dcmtx invented 'a b'
    .hidden

    \b
    second block
    """


@pytest.fixture(scope="module")
def invented_page():
    context = click.Context(invented, info_name="invented", parent=PAGES[0].context)
    return make.render(make.Page(invented, context, "invented", "Do it."))


@pytest.mark.parametrize(
    "expected",
    [
        pytest.param("dcmtx\\-invented \\- do it\n", id="the line of NAME"),
        pytest.param("\\fBdcmtx invented\\fR [\\fIOPTIONS\\fR] \\fISRC\\fR... \\fIDST\\fR\n", id="the synopsis"),
        pytest.param("\nDo it to \\fISRC\\fR.\n", id="arguments in italics"),
        pytest.param("\n\\&.Begins with a dot, has a back\\eslash, an acute \\[u00E9]", id="nothing taken for roff"),
        pytest.param("\\fBcode \\-\\-x\\fR.\n", id="code in bold"),
        pytest.param("\n.nf\ndcmtx invented 'a b'\n\\&.hidden\n.fi\n", id="an example as it is"),
        pytest.param("\n.nf\nsecond block\n.fi\n", id="a second example"),
        pytest.param("\\-\\-level\\fR \\fIN\\fR\nHow hard to try. \\fIN\\fR is 0 to 9. [default: 6]\n",
                     id="a range and a default"),
        pytest.param("A name. May be given several times. [default: that of \\fISRC\\fR]\n",
                     id="a default in words stays last"),
        pytest.param("\\fB\\-\\-ratio\\fR \\fIN\\fR\n", id="a number"),
        pytest.param("\\-\\-fast\\fR, \\fB\\-\\-slow\\fR\nWhich way. [default: \\fB\\-\\-slow\\fR]\n", id="a switch"),
        pytest.param(".TP\n\\fB0\\fR\nfine\n.TP\n\\fB3\\fR\nodd\n.TP\n\\fB12\\fR\nlate\n.PP\nThat is all.\n",
                     id="exit statuses in their order"),
    ],
)  # fmt: skip
def test_a_page_of_an_invented_command_has(invented_page, expected):
    assert expected in invented_page


def test_a_page_hides_what_is_hidden(invented_page):
    assert "secret" not in invented_page


def test_groff_takes_the_page_of_an_invented_command(invented_page):
    done = subprocess.run(
        [need_tool("groff"), "-t", "-man", "-Tutf8", "-ww"],
        input=invented_page.encode("ascii"), check=False, capture_output=True, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, b"")


# --- the help itself -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", [page for page in PAGES if make.read_help(page.command.help).blocks])
def test_help_keeps_the_lines_of_examples(page):
    shown = page.command.get_help(page.context)
    assert "\\b" not in shown
    for block in make.read_help(page.command.help).blocks:
        for line in block:
            assert line.strip() in shown
