"""Codecs of other distributions: one is installed into a directory, and does what it says, or harms nobody."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import dicom
import numpy as np
import oracle
import pytest

PIXELS = np.arange(3 * 64, dtype="<u2").reshape(3, 8, 8)
# Runs of four bytes, which no encoder that saves bytes makes, tell who wrote a stream.
TOY = '''
"""RLE as a toy: literal runs of four bytes, no others (PS3.5 G.3)."""

import struct

import numpy as np

from dcmtx.codec.row import Limits, Row, Runs

RLE = "1.2.840.10008.1.2.5"
BASELINE = "1.2.840.10008.1.2.4.50"
RUN = 4


def decoders():
    row = Row((RLE,), "toy", "toy_codec:decode", limits=Limits(samples=(1,)))
    # What no row of dcmtx takes.
    return [row, row.replace(backend="toy-wide", limits=Limits(samples=(2,)))]


class Encoder:
    def open(self, given, made, parameters):
        self.fmt = made

    def code(self, batch):
        return [self.encoded(words) for words in batch]

    def encoded(self, words):
        segments = []
        cells = words.astype(words.dtype.newbyteorder("<")).reshape(-1).view(np.uint8).reshape(-1, words.itemsize)
        for byte in reversed(range(words.itemsize)):
            # A run ends where its row does.
            rows = cells[:, byte].reshape(self.fmt.rows, self.fmt.columns)
            parts = [row[at : at + RUN].tobytes() for row in rows for at in range(0, self.fmt.columns, RUN)]
            segment = b"".join(bytes([len(part) - 1]) + part for part in parts)
            segments.append(segment + b"\\0" * (len(segment) % 2))
        offsets = [64 + sum(map(len, segments[:number])) for number in range(len(segments))]
        header = struct.pack("<16I", len(segments), *offsets, *[0] * (15 - len(segments)))
        return header + b"".join(segments)

    def close(self):
        pass


encoders = Row((RLE,), "toy", "toy_codec:Encoder", limits=Limits(samples=(1,)), batch=2, runs=Runs.DEVICE)


def decode(data, coded, decoded):
    """Return the samples of one frame."""
    count, *offsets = struct.unpack_from("<16I", data)
    ends = [*offsets[1:count], len(data)]
    planes = []
    for start, end in zip(offsets[:count], ends):
        plane = b""
        while len(plane) < coded.pixels and start < end:
            length = data[start] + 1
            if length != RUN:
                raise ValueError("this toy reads toys only")
            plane += data[start + 1 : start + 1 + length]
            start += 1 + length
        planes.append(np.frombuffer(plane, np.uint8).reshape(coded.shape))
    words = np.zeros(coded.shape, decoded.dtype)
    for plane in planes:
        words = words << 8 | plane
    return words.astype(decoded.dtype)
'''
POINTS = "[dcmtx.decoders]\ntoy = toy_codec:decoders\n\n[dcmtx.encoders]\ntoy = toy_codec:encoders\n"


class Result(NamedTuple):
    """What a run of dcmtx left."""

    status: int
    out: str
    err: str


class Place:
    """A directory with distributions in it, and a Python that has it on its path."""

    def __init__(self, directory: Path) -> None:
        self.site = directory / "site"
        self.site.mkdir()
        self.directory = directory

    def install(self, points: str = POINTS, code: str = TOY, name: str = "toy-codec") -> None:
        """Install a distribution, as pip would."""
        information = self.site / f"{name.replace('-', '_')}-1.5.dist-info"
        information.mkdir()
        (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.5\n", "utf-8")
        (information / "entry_points.txt").write_text(points, "utf-8")
        (self.site / f"{name.replace('-', '_')}.py").write_text(code, "utf-8")

    def run(self, *arguments: object, program: str = "from dcmtx.__main__ import main; main()") -> Result:
        """Run dcmtx there."""
        ran = subprocess.run(
            [sys.executable, "-c", program, *map(str, arguments)], capture_output=True, text=True, timeout=120,
            check=False, cwd=self.directory, env=os.environ | {"PYTHONPATH": os.fspath(self.site), "DCMTX_SOCKET": ""},
        )  # fmt: skip
        return Result(ran.returncode, ran.stdout, ran.stderr)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    (tmp_path / "in.dcm").write_bytes(dicom.Image(PIXELS.tobytes(), 8, 8, frames=3).encode())
    return Place(tmp_path)


# --- used ------------------------------------------------------------------------------------------------------


def test_a_codec_of_another_distribution_is_used_where_it_is_named(place: Place) -> None:
    place.install()
    assert place.run("in.dcm", "toy.dcm", "--to", "rle", "--encoder", "toy", "-j", "2") == (0, "", "")
    data = (place.directory / "toy.dcm").read_bytes()
    assert np.array_equal(oracle.decoded(data, "imagecodecs"), PIXELS)
    assert place.run("toy.dcm", "back.dcm", "--to", "explicit", "--decoder", "toy") == (0, "", "")
    assert np.array_equal(oracle.native((place.directory / "back.dcm").read_bytes()), PIXELS)


def test_it_takes_no_place_of_an_own_one_by_itself(place: Place) -> None:
    place.install()
    assert place.run("in.dcm", "own.dcm", "--to", "rle") == (0, "", "")
    ran = place.run("own.dcm", "back.dcm", "--to", "explicit", "--decoder", "toy")
    assert ran.status == 6
    assert ran.err.count("\n") == 1
    assert "frame 1: toy failed: this toy reads toys only; try --decoder imagecodecs" in ran.err


def test_it_is_not_looked_for_where_an_own_one_fits(place: Place) -> None:
    place.install(code="raise SystemExit('I was imported')")
    program = (
        "import sys; from dcmtx import transcode; transcode('in.dcm', 'out.dcm', to='rle')\n"
        "print([name for name in ('dcmtx.codec.plugins', 'toy_codec') if name in sys.modules])"
    )
    assert place.run(program=program) == (0, "[]\n", "")


def test_where_nothing_is_installed_the_machinery_for_it_is_not_loaded(place: Place) -> None:
    program = (
        "import sys\nfrom dcmtx.codec.table import ENCODERS\nbefore = set(sys.modules)\n"
        "ENCODERS.every_row()\nprint(sorted(set(sys.modules) - before))"
    )
    assert place.run(program=program) == (0, "['dcmtx.codec.plugins']\n", "")


def test_it_is_used_where_no_own_one_fits(place: Place) -> None:
    place.install()
    program = (
        "from dcmtx.codec.table import DECODERS\nfrom dcmtx.pixel.format import PixelFormat\n"
        "two = PixelFormat(8, 8, 2, photometric='RGB', allocated=8, stored=8, high_bit=7, signed=False)\n"
        "print(DECODERS.choose('1.2.840.10008.1.2.5', 'RLE', two).backend)"
    )
    assert place.run(program=program) == (0, "toy-wide\n", "")


def test_it_is_listed_with_its_distribution(place: Place) -> None:
    place.install()
    ran = place.run("syntaxes", "--json")
    assert (ran.status, ran.err) == (0, "")
    (rle,) = [syntax for syntax in json.loads(ran.out) if syntax["uid"] == dicom.RLE]
    own, *_, toy = rle["encode"]
    assert (own["distribution"], own["runs"], own["batch"]) == ("dcmtx", "threads", 1)
    assert toy == {
        "backend": "toy", "library": "toy", "package": "toy-codec", "installed": True, "needs": None, "runs": "device",
        "device": None, "batch": 2,
        "distribution": "toy-codec",
    }  # fmt: skip
    (line,) = [line for line in place.run("syntaxes").out.splitlines() if line.startswith(f"{dicom.RLE}\t")]
    assert line.endswith("\timagecodecs, pylibjpeg-rle, toy (of toy-codec)")


def test_its_version_makes_other_instances(place: Place) -> None:
    """As that of a library does: its pixels may be others."""
    place.install()
    program = (
        "from dcmtx.codec.table import ENCODERS as e\n"
        "print(next(r for r in e.every_row() if r.backend == 'toy').identity())"
    )
    assert place.run(program=program) == (0, "toy toy-codec-1.5\n", "")


# --- broken ----------------------------------------------------------------------------------------------------

ROW = "from dcmtx.codec.row import Row, Needs\n"
BROKEN = {
    "a library that is missing": ("import no_such_library", "ModuleNotFoundError: No module named 'no_such_library'"),
    "it ends the program": ("raise SystemExit('bye')", "SystemExit: bye"),
    "no such name": ("", "has no attribute 'encoders'"),
    "no row": ("encoders = [7]", "7 is no Row of dcmtx.codec.row"),
    "no rows": ("encoders = 7", "'int' object is not iterable"),
    "the function fails": ("def encoders():\n raise ValueError('not\\n today')", "ValueError: not today"),
    "another's name": (ROW + "encoders = Row(('1.2.840.10008.1.2.5',), 'imagecodecs', 'a:b')",
                       "its backend is called 'imagecodecs', as another is"),
    "an unknown syntax": (ROW + "encoders = Row(('1.2.3',), 'toy', 'a:b')", "its transfer syntax '1.2.3' is none"),
    "no call": (ROW + "encoders = Row(('1.2.840.10008.1.2.5',), 'toy', 'a')", "its row needs a call module:name"),
    "no limits": (ROW + "encoders = Row(('1.2.840.10008.1.2.5',), 'toy', 'a:b', limits=8)", "limits of its row is 8"),
}  # fmt: skip


@pytest.mark.parametrize(("code", "says"), BROKEN.values(), ids=BROKEN)
def test_what_is_broken_is_one_line_and_harms_nobody(code: str, says: str, place: Place) -> None:
    place.install(POINTS.partition("\n\n")[2], code)
    ran = place.run("in.dcm", "out.dcm", "--to", "rle", "--encoder", "toy")
    assert (ran.status, ran.out, ran.err.count("\n")) == (2, "", 1)
    assert ran.err.startswith("dcmtx: there is no encoder 'toy'; there are dcmtx, imagecodecs")
    assert "the encoder 'toy' of toy-codec is left out (" in ran.err
    assert says in ran.err
    listed = place.run("syntaxes")
    assert (listed.status, listed.err.count("\n")) == (0, 1)
    assert listed.err.startswith("dcmtx: warning: the encoder 'toy' of toy-codec is left out (")
    assert "toy" not in listed.out


@pytest.mark.parametrize(
    ("call", "needs", "says"),
    [("no_such_module:encode", "None", "not installed (No module named 'no_such_module'); pip install toy-codec"),
     ("json:no_such_name", "None", "of toy-codec is broken: module 'json' has no attribute 'no_such_name'"),
     ("json:dumps", "Needs('toy-library', 'no_such_library')",
      "not installed (No module named 'no_such_library'); pip install toy-library")],
    ids=["its module", "its name", "its library"],
)  # fmt: skip
def test_what_a_row_names_and_is_not_there_is_one_line(call: str, needs: str, says: str, place: Place) -> None:
    code = f"{ROW}encoders = Row(({dicom.RLE!r},), 'toy', {call!r}, needs={needs})"
    place.install(POINTS.partition("\n\n")[2], code)
    ran = place.run("in.dcm", "out.dcm", "--to", "rle", "--encoder", "toy")
    assert (ran.status, ran.out, ran.err.count("\n")) == (4, "", 1)
    assert ran.err.startswith("dcmtx: in.dcm: toy ")
    assert ran.err.endswith(f"{says}\n")
    assert not (place.directory / "out.dcm").exists()


def test_of_two_with_one_name_the_first_by_name_of_its_distribution_is_there(place: Place) -> None:
    points = "[dcmtx.encoders]\ntoy = {}:encoders\n"
    code = f"{ROW}encoders = Row(({dicom.RLE!r},), 'toy', 'a:b')"
    place.install(points.format("z_codec"), code, "z-codec")
    place.install(points.format("a_codec"), code, "a-codec")
    ran = place.run("syntaxes")
    assert "toy (of a-codec)" in ran.out
    assert "the encoder 'toy' of z-codec is left out (its backend is called 'toy', as another is)" in ran.err
