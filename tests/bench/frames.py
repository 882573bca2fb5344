"""Measure what dcmtx adds to each frame: `python tests/bench/frames.py [OPTIONS] [NAMES...]`.

Each case has one line in CASES. A file of many tiny frames is converted by dcmtx, and its codecs are called on the same
frames in a bare loop that reads, decodes, encodes, decodes again to compare, and writes, all by the same libraries.
Both are run with many frames and with few: the CPU time of the difference, divided by the frames of the difference, is
what a frame costs without start-up. Shown are microseconds per frame of both, medians, and what is between them: the
overhead of dcmtx. NAMES are patterns for the names of cases; the default is all.

`python frames.py --bare CASE GEOMETRY SRC DST` is the bare loop, `--make SRC ROWS COLUMNS SAMPLES FRAMES` makes a file.
"""

# ruff: noqa: T201

from __future__ import annotations

import argparse
import fnmatch
import json
import os
import struct
import sys
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median

import bench
import measure

AIM = 100.0  # microseconds of CPU per frame
FEW = 500


@dataclass(frozen=True)
class Case:
    """A conversion of frames of this size. `jobs` is how many workers dcmtx has."""

    source: str
    target: str
    side: int
    samples: int
    frames: int
    verified: bool = True
    jobs: int = 1

    @property
    def name(self) -> str:
        """What it is called."""
        size = f"{self.side}x{self.side}x{8 * self.samples}"
        return f"{self.source}-{self.target}-{size}-{'verified' if self.verified else 'unverified'}-{self.jobs}"


CASES = (
    Case("explicit", "rle", 16, 1, 100_000),
    Case("explicit", "rle", 16, 1, 100_000, verified=False),
    Case("explicit", "rle", 16, 1, 100_000, jobs=2),
    Case("explicit", "jpegls", 16, 1, 50_000),
    Case("explicit", "jpegls", 16, 1, 50_000, jobs=2),
    Case("explicit", "jpeg-lossless", 16, 3, 50_000),
    Case("rle", "explicit", 16, 1, 100_000),
    Case("rle", "explicit", 16, 1, 100_000, jobs=2),
    Case("jpegls", "explicit", 16, 1, 100_000),
    Case("rle", "jpegls", 16, 1, 50_000),
    Case("encapsulated", "explicit", 16, 1, 100_000),
    Case("explicit", "encapsulated", 16, 1, 100_000),
    Case("explicit", "jpegls", 256, 3, 1_000),
    Case("explicit", "encapsulated", 256, 3, 4_000),
    Case("encapsulated", "explicit", 256, 3, 4_000),
)

# --- the bare loop -----------------------------------------------------------------------------------------------


def codecs(rows: int, columns: int, samples: int) -> dict[str, tuple[object, object]]:
    """Return how each syntax is encoded and decoded: the calls of dcmtx, and nothing else."""
    import imagecodecs
    import numpy as np

    shape = (rows, columns) if samples == 1 else (rows, columns, samples)
    size = rows * columns * samples

    def cells(data):
        return np.frombuffer(data, np.uint8).reshape(shape)

    def rle_encode(words):
        planes = words.reshape(rows, columns, samples)
        segments = []
        for sample in range(samples):
            segment = bytes(imagecodecs.packbits_encode(planes[:, :, sample].copy(), axis=-1))
            segments.append(segment + b"\0" * (len(segment) % 2))
        offsets = [64 + sum(map(len, segments[:number])) for number in range(samples)]
        return b"".join([struct.pack("<16I", samples, *offsets, *[0] * (15 - samples)), *segments])

    def rle_decode(data):
        out = imagecodecs.dicomrle_decode(data, np.dtype("u1"), out=size)
        return np.frombuffer(out, np.uint8).reshape(samples, rows, columns).transpose(1, 2, 0).reshape(shape)

    return {
        "explicit": (lambda words: words.data, cells),
        "encapsulated": (lambda words: words.data, cells),
        "rle": (rle_encode, rle_decode),
        "jpegls": (
            lambda words: imagecodecs.jpegls_encode(words, out=bytearray(2 * words.nbytes + 1024)),
            imagecodecs.jpegls_decode,
        ),
        "jpeg-lossless": (
            lambda words: imagecodecs.jpeg_encode(words, lossless=True, predictor=1),
            imagecodecs.jpeg_decode,
        ),
    }


def bare(source: str, target: str, geometry: str, src: str, dst: str, *, verified: bool) -> None:
    """Convert a file, pixels alone, from items or native cells to items or native cells."""
    import click  # noqa: F401 - imported because dcmtx does
    import numpy as np

    rows, columns, samples, frames, offset = map(int, geometry.split(","))
    table = codecs(rows, columns, samples)
    decode, (encode, check) = table[source][1], table[target]
    handle = os.open(src, os.O_RDONLY)
    size = rows * columns * samples
    with open(dst, "wb") as out:
        for number in range(frames):
            if source == "explicit":
                data = os.pread(handle, size, offset + number * size)
            else:
                length = int.from_bytes(os.pread(handle, 8, offset)[4:], "little")
                data = os.pread(handle, length, offset + 8)
                offset += 8 + length
            words = decode(data)
            coded = encode(words)
            if verified:
                assert np.array_equal(check(coded), words)
            if target != "explicit":
                out.write(b"\xfe\xff\0\xe0" + len(coded).to_bytes(4, "little"))
            out.write(coded)


# --- inputs ------------------------------------------------------------------------------------------------------


def make(path: str, rows: int, columns: int, samples: int, frames: int) -> None:
    """Write a native file of smooth frames, no two alike."""
    import numpy as np
    import pydicom
    from pydicom.dataset import FileMetaDataset

    dataset = pydicom.Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    dataset.SOPClassUID, dataset.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.7.2", "1.2.3.4"
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = samples, "RGB" if samples == 3 else "MONOCHROME2"
    if samples == 3:
        dataset.PlanarConfiguration = 0
    dataset.NumberOfFrames, dataset.Rows, dataset.Columns = str(frames), rows, columns
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 8, 8, 7, 0
    y, x = np.mgrid[:rows, :columns]
    smooth = (128 + 60 * np.sin(y / rows * 5) + 50 * np.cos(x / columns * 7))[..., None] + np.arange(samples) * 9
    noise = np.random.default_rng(0).integers(-3, 4, (64, rows, columns, samples))
    some = (smooth + noise).astype("u1")
    dataset.PixelData = b"".join(np.roll(some[n % 64], n, (0, 1)).tobytes() for n in range(frames))
    dataset["PixelData"].VR = "OB"
    pydicom.dcmwrite(path, dataset, implicit_vr=False, little_endian=True, enforce_file_format=True)


def first_pixel(path: Path) -> int:
    """Return where the first frame, or its item, is in a file."""
    head = path.read_bytes()[:8192] if path.stat().st_size < 1 << 20 else _head(path)
    for vr in (b"OB", b"OW"):
        at = head.find(b"\xe0\x7f\x10\0" + vr)
        if at >= 0:
            break
    value = at + 12
    if head[at + 8 : value] != b"\xff\xff\xff\xff":
        return value
    return value + 8 + int.from_bytes(head[value + 4 : value + 8], "little")


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(8192)


# --- measuring ---------------------------------------------------------------------------------------------------


@dataclass
class Overhead:
    """Seconds of CPU by run, of dcmtx and of the bare loop, with many frames and with few."""

    name: str
    frames: int
    few: int
    ours: list[float] = field(default_factory=list)
    ours_few: list[float] = field(default_factory=list)
    bare: list[float] = field(default_factory=list)
    bare_few: list[float] = field(default_factory=list)

    def per_frame(self, many: list[float], few: list[float]) -> float:
        """Return microseconds per frame."""
        return (median(many) - median(few)) / (self.frames - self.few) * 1e6

    @property
    def figures(self) -> tuple[float, float]:
        """What a frame costs dcmtx and the bare loop, in microseconds."""
        return self.per_frame(self.ours, self.ours_few), self.per_frame(self.bare, self.bare_few)


class Bench:
    """Where files are, and how both are run."""

    def __init__(self, work: Path) -> None:
        self.work = work
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        self.environment = environment | {"OPENBLAS_NUM_THREADS": "1"}
        self.out = work / "out"

    def run(self, *arguments: str) -> float:
        """Run a command and return its CPU time in seconds."""
        done = measure.run(arguments, self.environment, self.work)
        if done.status:
            raise RuntimeError((self.work / "stderr").read_text("utf-8", "replace")[-500:])
        return done.cpu

    def source(self, case: Case, frames: int) -> Path:
        """Return an input, made if need be."""
        stem = f"{case.side}x{case.samples}-{frames}"
        native, path = self.work / f"{stem}.explicit.dcm", self.work / f"{stem}.{case.source}.dcm"
        if not native.exists():
            numbers = map(str, (case.side, case.side, case.samples, frames))
            self.run(sys.executable, __file__, "--make", str(native), *numbers)
        if not path.exists():
            self.run(*bench.program(bench.OURS), str(native), str(path), "--to", case.source)
        return path

    def measure(self, case: Case, frames: int, runs: int) -> Overhead:
        """Run a case, dcmtx and the bare loop in turn."""
        found = Overhead(case.name, frames, min(FEW, frames // 10))
        check = [] if case.verified else ["--no-verify"]
        for count, ours, loop in (
            (found.few, found.ours_few, found.bare_few),
            (frames, found.ours, found.bare),
        ):
            src = self.source(case, count)
            geometry = f"{case.side},{case.side},{case.samples},{count},{first_pixel(src)}"
            line = [str(src), str(self.out), "--to", case.target, "-j", str(case.jobs), *check]
            for _ in range(runs):
                ours.append(self.run(*bench.program(bench.OURS), *line))
                way = [case.source, case.target, geometry, str(src), str(self.out), str(int(case.verified))]
                loop.append(self.run(sys.executable, __file__, "--bare", *way))
        self.out.unlink(missing_ok=True)
        return found


def arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", default=["*"], metavar="NAMES", help="patterns for the names of cases")
    parser.add_argument("--runs", type=int, default=3, help="turns")
    parser.add_argument("--scale", type=float, default=1.0, help="this share of the frames only")
    parser.add_argument("--json", metavar="FILE", help="write the figures of every run to a file")
    return parser.parse_args()


def main() -> int:
    """Run the cases asked for, or one of the two parts that run as processes of their own."""
    if sys.argv[1:2] == ["--make"]:
        make(sys.argv[2], *map(int, sys.argv[3:7]))
        return 0
    if sys.argv[1:2] == ["--bare"]:
        bare(*sys.argv[2:7], verified=sys.argv[7] == "1")
        return 0
    options = arguments()
    chosen = [case for case in CASES if any(fnmatch.fnmatch(case.name, name) for name in options.names)]
    entries = []
    print(f"{'CPU, microseconds per frame':44} {'frames':>8} {'dcmtx':>8} {'bare':>8} {'overhead':>9}")
    with tempfile.TemporaryDirectory(prefix="dcmtx-bench-") as temporary:
        place = Bench(Path(temporary))
        for case in chosen:
            found = place.measure(case, max(20, int(case.frames * options.scale)), options.runs)
            ours, loop = found.figures
            over = "  OVER 100" * (ours - loop > AIM)
            print(f"{case.name:44} {found.frames:8} {ours:8.1f} {loop:8.1f} {ours - loop:9.1f}{over}", flush=True)
            entries.append(asdict(found) | {"per_frame": ours, "bare_per_frame": loop, "overhead": ours - loop})
            if options.json:
                text = json.dumps(bench.machine() | {"cases": entries}, indent=1)
                Path(options.json).write_text(text + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
