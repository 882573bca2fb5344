"""Measure `dcmtx enhance` beside highdicom: `python tests/bench/series.py [--slices 400] [--side 512]`.

A CT series is made by moving the phantom of the tests' images a little from slice to slice, with noise. Each row is a
whole process, in turn: CPU and wall in seconds, peak memory in MiB. Aims: a fifth of highdicom's CPU when native, half
when JPEG-LS, a tenth of its memory.
"""

# ruff: noqa: T201

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import dicom  # noqa: E402
import series  # noqa: E402

EXPLICIT, JPEGLS = dicom.EXPLICIT, dicom.JPEGLS
# What the system counts of a child has its parent's memory in it.
PEAK = """
import atexit, sys
lines = lambda: open("/proc/self/status").read().splitlines()
atexit.register(lambda: sys.stderr.write([line.split()[1] for line in lines() if line.startswith("VmHWM")][0] + "\\n"))
"""
DCMTX = "from dcmtx.__main__ import main; main()"
HIGHDICOM = """
import sys
from pathlib import Path
import pydicom
from highdicom.legacy import LegacyConvertedEnhancedCTImage
sources = [pydicom.dcmread(path) for path in sorted(Path(sys.argv[1]).iterdir())]
LegacyConvertedEnhancedCTImage(
    sources, "1.2.5", 1, "1.2.6", 1, transfer_syntax_uid=sys.argv[3]
).save_as(sys.argv[2])
"""


def make(folder: Path, slices: int, side: int) -> None:
    """Write the series: ellipses that move, with noise of 10 units."""
    y, x = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
    random = np.random.default_rng(1)
    paths = series.write(folder, series.line(slices, 1.0), rows=side, columns=side)
    for number, path in enumerate(paths):
        shift = number / slices / 4
        body = (x / 0.8) ** 2 + (y / 0.6) ** 2 < 1
        organ = ((x - shift) / 0.3) ** 2 + ((y + shift) / 0.2) ** 2 < 1
        noise = random.normal(0, 10, (side, side))
        words = np.where(body, np.where(organ, 1100, 1040) + noise, 24).astype("<u2")
        data = path.read_bytes()
        path.write_bytes(data[: -words.nbytes] + words.tobytes())


def measured(*words: str) -> tuple[float, float, float]:
    """Return CPU and wall of a process in seconds, and its peak in MiB."""
    started = time.perf_counter()
    program, *arguments = words
    command = [sys.executable, "-c", PEAK + program, *arguments]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    said = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{words[0][:40]!r} failed with {process.returncode}")
    return usage.ru_utime + usage.ru_stime, time.perf_counter() - started, int(said.splitlines()[-1]) / 1024


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--slices", type=int, default=400)
    parser.add_argument("--side", type=int, default=512)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory) / "in"
        make(folder, asked.slices, asked.side)
        print(f"{asked.slices} slices of {asked.side} x {asked.side}\n{'':24}{'CPU s':>8}{'wall s':>8}{'MiB':>8}")
        for name, target, uid in (("native", "explicit", EXPLICIT), ("JPEG-LS", "jpegls", JPEGLS)):
            out = str(Path(directory) / "out.dcm")
            ours = measured(DCMTX, "enhance", str(folder), out, "--to", target, "--quiet")
            print(f"{name + ', dcmtx':24}" + "".join(f"{value:8.2f}" for value in ours))
            theirs = measured(HIGHDICOM, str(folder), out, uid)
            print(f"{name + ', highdicom':24}" + "".join(f"{value:8.2f}" for value in theirs))
            ratios = [own / other for own, other in zip(ours, theirs, strict=True)]
            print(f"{'':24}" + "".join(f"{ratio:7.2f}x" for ratio in ratios))
        back = measured(DCMTX, "split", out, str(Path(directory) / "back"), "--quiet")
        print(f"{'split of that':24}" + "".join(f"{value:8.2f}" for value in back))


if __name__ == "__main__":
    main()
