"""Signals that come while the program loads: a status, no traceback, nothing left, wherever it is."""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import dicom
import pytest
from conftest import ROOT, contents, old_file

# Python runs this before all else. It sends a signal to the process at the moment when a module is about to be loaded,
# under the handlers that a process has which inherited none.
SITE = """
import _signal, os, sys

for number in (1, 2, 15):
    _signal.signal(number, _signal.default_int_handler if number == 2 else _signal.SIG_DFL)

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == os.environ.get("SIGNAL_AT"):
            os.environ["SIGNAL_AT"] = ""
            half = os.environ.get("SIGNAL_WITHIN")
            assert not half or not hasattr(sys.modules[half], "AtomicSink"), "it is loaded already"
            os.kill(os.getpid(), int(os.environ["SIGNAL"]))
            for _ in range(100):
                pass

sys.meta_path.insert(0, Finder())
"""
NUMBERS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
AT = ["click", "dcmtx.errors", "dcmtx.cli.convert", "dcmtx.transcoding.job", "dcmtx.transcoding.source", "numpy"]


@pytest.fixture
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("site")
    (directory / "sitecustomize.py").write_text(SITE)
    return directory


def run(
    site: Path, number: signal.Signals, at: str, *arguments: object, within: str = "", script: bool = False
) -> tuple[int, bytes, bytes]:
    """Run `dcmtx`, as a module or by its script, and send a signal when it is about to load a module."""
    path = os.pathsep.join([str(site), str(ROOT), os.environ.get("PYTHONPATH", "")])
    told = {"PYTHONPATH": path, "SIGNAL": str(int(number)), "SIGNAL_AT": at, "SIGNAL_WITHIN": within}
    program = ["-c", "from dcmtx.__main__ import main; main()"] if script else ["-m", "dcmtx"]
    line = [sys.executable, *program, *map(str, arguments)]
    ran = subprocess.run(line, capture_output=True, env=os.environ | told, timeout=60, check=False)
    return ran.returncode, ran.stdout, ran.stderr


@pytest.fixture
def src(tmp_path: Path) -> Path:
    path = tmp_path / "in.dcm"
    path.write_bytes(dicom.Image(bytes(128), 8, 8).encode())
    return path


@pytest.mark.parametrize("number", NUMBERS, ids=lambda number: number.name)
@pytest.mark.parametrize("at", AT)
def test_a_signal_while_a_module_loads(
    at: str, number: signal.Signals, src: Path, dst: Path, site: Path, tmp_path: Path
) -> None:
    old_file(dst)
    before = contents(tmp_path)
    assert run(site, number, at, src, dst, "--to", "rle") == (128 + number, b"", b"")
    assert contents(tmp_path) == before


@pytest.mark.parametrize("number", NUMBERS, ids=lambda number: number.name)
def test_a_signal_while_the_module_that_removes_files_is_half_loaded(
    number: signal.Signals, src: Path, dst: Path, site: Path
) -> None:
    ran = run(site, number, "fcntl", src, dst, "--to", "rle", within="dcmtx.place.atomic")
    assert ran == (128 + number, b"", b"")


@pytest.mark.parametrize("script", [False, True], ids=["python -m dcmtx", "the script"])
@pytest.mark.parametrize("at", ["dcmtx.signals", "dcmtx.cli"])
def test_an_interrupt_before_anything_is_loaded(at: str, script: bool, src: Path, dst: Path, site: Path) -> None:
    ran = run(site, signal.SIGINT, at, src, dst, "--to", "rle", script=script)
    assert ran == (128 + signal.SIGINT, b"", b"")


@pytest.mark.parametrize("number", NUMBERS, ids=lambda number: number.name)
def test_a_signal_while_a_batch_loads(number: signal.Signals, src: Path, tmp_path: Path, site: Path) -> None:
    for at in ("dcmtx.batch.convert", "dcmtx.pool.pipe"):
        ran = run(site, number, at, src, tmp_path / "out.dcm", "--to", "rle", "--timeout", "60")
        assert ran == (128 + number, b"", b""), at
    assert os.listdir(tmp_path) == ["in.dcm"]


def test_without_a_signal_it_would_have_done_its_work(src: Path, dst: Path, site: Path) -> None:
    """So it is the signal that ended it above."""
    assert run(site, signal.SIGINT, "no.such.module", src, dst, "--to", "rle") == (0, b"", b"")
    assert dicom.walk(dst.read_bytes()).syntax == dicom.RLE


def test_the_script_begins_where_signals_are_handled_first() -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["scripts"]
    module, _, name = scripts["dcmtx"].partition(":")
    assert (module, scripts.keys()) == ("dcmtx.__main__", {"dcmtx"})
    assert callable(getattr(importlib.import_module(module), name))
