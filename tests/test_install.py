"""What is built: the wheel, the source distribution, and dcmtx-install(7)."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
from conftest import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
SHARED = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["shared-data"]
EXTRAS = PROJECT["project"]["optional-dependencies"]
TEXT = (ROOT / "man" / "dcmtx-install.7").read_text("ascii")


def examples() -> list[str]:
    """Return the lines of the page's examples as they are to be typed."""
    found = re.findall(r"^\.nf\n(.*?)^\.fi$", TEXT, re.MULTILINE | re.DOTALL)
    return [
        line.removeprefix("\\&").replace("\\-", "-").replace("\\e", "\\")
        for text in found
        for line in text.splitlines()
    ]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return the source distribution, and the wheel that is built from it as pip would, without a network."""
    sdist = pytest.importorskip("hatchling.builders.sdist", reason="hatchling is not installed")
    wheel = pytest.importorskip("hatchling.builders.wheel")
    place = tmp_path_factory.mktemp("built")
    (source,) = sdist.SdistBuilder(str(ROOT)).build(directory=str(place), versions=["standard"])
    with tarfile.open(source) as archive:
        archive.extractall(place, filter="data")
    (tree,) = [path for path in place.iterdir() if path.is_dir()]
    (made,) = wheel.WheelBuilder(str(tree)).build(directory=str(place), versions=["standard"])
    return Path(source), Path(made)


def test_a_wheel_from_the_source_distribution_has_all_of_the_package(built: tuple[Path, Path]) -> None:
    with zipfile.ZipFile(built[1]) as wheel:
        names = set(wheel.namelist())
    here = {str(path.relative_to(ROOT)) for path in (ROOT / "dcmtx").rglob("*") if path.is_file()}
    here = {name for name in here if "__pycache__" not in name}
    assert here <= names
    data = f"dcmtx-{re.search(r'dcmtx-([^-]+)-', built[1].name)[1]}.data/data"
    assert {f"{data}/{target}" for target in SHARED.values()} <= names


def test_every_man_page_is_installed() -> None:
    assert {source for source in SHARED if re.search(r"\.\d$", source)} == {
        f"man/{path.name}" for path in (ROOT / "man").glob("*.[1-9]")
    }


def test_the_source_distribution_has_tests_and_data_and_nothing_else(built: tuple[Path, Path]) -> None:
    with tarfile.open(built[0]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"tests/conftest.py", "testdata/ct-explicit.dcm", "man/make.py", "LICENSE", "pyproject.toml"} <= names
    tops = {name.partition("/")[0] for name in names}
    assert tops <= {
        "dcmtx", "tests", "testdata", "man", "README.md", "LICENSE", "CHANGELOG.md", "pyproject.toml", "PKG-INFO",
        ".gitignore",
    }  # fmt: skip


def test_the_command_of_an_installed_wheel_runs(built: tuple[Path, Path], tmp_path: Path) -> None:
    """As pip puts it in place: unpacked, with the entry point that the wheel names."""
    with zipfile.ZipFile(built[1]) as wheel:
        wheel.extractall(tmp_path)
    (entry,) = tmp_path.glob("*.dist-info/entry_points.txt")
    module, function = re.search(r"^dcmtx *= *([\w.]+):(\w+)$", entry.read_text(), re.MULTILINE).groups()
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from {module} import {function} as f; f()"
    line = [sys.executable, "-P", "-c", code, "convert", str(ROOT / "testdata" / "ct-explicit.dcm"), "o.dcm", "-L"]
    ran = subprocess.run(line, cwd=tmp_path, env={"DCMTX_SOCKET": ""}, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert (tmp_path / "o.dcm").stat().st_size > 0


# --- the page --------------------------------------------------------------------------------------------------------


def test_the_extras_of_the_page_are_those_of_the_package() -> None:
    told = {name for line in examples() for found in re.findall(r"\[([\w,-]+)\]", line) for name in found.split(",")}
    assert told
    assert told <= set(EXTRAS)
    listed = re.search(r"The extras are (.*)", TEXT)[1].replace("\\-", "-")
    assert set(re.findall(r"\\fB([\w-]+)\\fR", listed)) == set(EXTRAS) - {"test", "dev"}


def test_the_recipe_of_a_container_is_in_order() -> None:
    lines = examples()
    recipe = lines[lines.index("FROM docker.io/library/python:3.13-slim AS build") :]
    known = {"FROM", "COPY", "RUN", "USER", "WORKDIR", "ENTRYPOINT"}
    words = [line.split()[0] for line in recipe if line and line.split()[0].isupper()]
    assert set(words) == known
    for line in recipe:
        if line.startswith("RUN "):
            assert subprocess.run(["sh", "-n", "-c", line[4:]], check=False).returncode == 0
    assert 'ENTRYPOINT ["dcmtx"]' in recipe
    run = next(line for line in recipe if line.startswith("docker run"))
    assert shlex.split(run)[-5:] == ["convert", "in", "out", "--to", "jpegls"]


def test_the_page_says_what_was_not_tried() -> None:
    assert "This recipe was never built" in TEXT
    assert "was never run there" in TEXT
