"""The package as it is found by those who use it and by those who work on it: names, examples, the map of the house."""

from __future__ import annotations

import doctest
import inspect
import re
import shutil

import pytest
from conftest import ROOT
from test_layers import MODULES, WINGS

import dcmtx
from dcmtx import errors

TESTDATA = ROOT / "testdata"


# --- names ---------------------------------------------------------------------------------------------------------


def test_all_exceptions_are_public():
    kinds = {name for name, value in vars(errors).items() if inspect.isclass(value) and issubclass(value, Exception)}
    assert kinds <= set(dcmtx.__all__)


def test_what_is_public_is_sorted_has_a_home_and_is_told_to_type_checkers():
    assert dcmtx.__all__ == sorted(dcmtx.__all__)
    assert set(dcmtx.__all__) == set(dcmtx._HOMES)
    text = (ROOT / "dcmtx" / "__init__.py").read_text("utf-8")
    for name, home in dcmtx._HOMES.items():
        assert f"    from {home} import {name} as {name}\n" in text
        assert getattr(dcmtx, name).__doc__
    assert set(dcmtx.__all__) <= set(dir(dcmtx))


def test_the_records_of_syntaxes_are_those_that_the_command_prints():
    records = dcmtx.syntaxes()
    assert {"uid", "decode", "encode", "aliases"} <= set(records[0])
    assert len({record["uid"] for record in records}) == len(records)


# --- examples ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["dcmtx", *(name for name in dcmtx.__all__ if ">>>" in (getattr(dcmtx, name).__doc__ or ""))]
)
def test_the_examples_do_what_they_say(name, tmp_path, monkeypatch, capsys):
    """Each with the files of testdata in the directory where it runs."""
    value = dcmtx if name == "dcmtx" else getattr(dcmtx, name)
    for path in TESTDATA.glob("*.dcm"):
        shutil.copy(path, tmp_path)
    monkeypatch.chdir(tmp_path)
    (test,) = [
        found
        for found in doctest.DocTestFinder(recurse=False).find(value, name, module=False, globs={})
        if found.examples
    ]
    result = doctest.DocTestRunner(verbose=False, optionflags=doctest.FAIL_FAST).run(test)
    assert result.attempted == len(test.examples)
    assert result.failed == 0, capsys.readouterr().out


def test_the_functions_have_examples():
    for name in dcmtx.__all__:
        if inspect.isfunction(getattr(dcmtx, name)):
            assert ">>>" in getattr(dcmtx, name).__doc__, name


# --- the map -------------------------------------------------------------------------------------------------------

MAP = re.search(r"The house, .*?\n\n(.*?)\n\n", dcmtx.__doc__, re.DOTALL)[1]
ROOMS = [line.split()[0] for line in MAP.splitlines()]


def test_every_module_is_in_a_room_of_the_map():
    rooms = {room.rstrip("/") for room in ROOMS}
    assert {module.name.partition(".")[0] for module in MODULES} - {"_version"} <= rooms


def test_every_room_of_the_map_is_there_with_what_it_is_for():
    here = ROOT / "dcmtx"
    for line in MAP.splitlines():
        room, _, about = line.strip().partition(" ")
        assert about.strip(), room
        # What is told to a reader of the map may be about to be built.
        assert (here / room).is_dir() if room.endswith("/") else (here / f"{room}.py").is_file() or room == "finding"
    assert {room.rstrip("/") for room in ROOMS} >= WINGS


def test_what_the_map_says_of_adding_something_is_there():
    adding = dcmtx.__doc__.partition("\nTo add\n")[2]
    for what in ("codec", "rule", "route", "place", "command", "option"):
        (entry,) = re.findall(rf"^    an? {what} +(.*?)(?=^    a|\Z)", adding, re.DOTALL | re.MULTILINE)
        paths = re.findall(r"\b(?:dcmtx|tests|man)/[\w/]*(?:\.py)?", entry)
        assert any(path.startswith("dcmtx/") for path in paths), what
        assert any(path.startswith("tests/") for path in paths), what
        for path in paths:
            assert (ROOT / path).exists(), path
