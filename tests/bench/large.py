"""Measure the memory that large frames take: `python tests/bench/large.py [SYNTAXES...]`.

A file of a few native frames of 4096 by 4096 by 16 is converted with several budgets; shown is the peak of all its
processes together. A frame is 32 MiB, and about five times that while it is coded.
"""

# ruff: noqa: T201

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import bench
import measure
import numpy as np
from memory import Sampler

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import dicom

SIDE, FRAMES, JOBS = 4096, 16, 8
BUDGETS = ("1", "256MiB", "512MiB", "8GiB")


def write(path: Path) -> None:
    """Write the source, whose frames are smooth with some noise."""
    random = np.random.default_rng(1)
    ramp = np.add.outer(np.arange(SIDE), np.arange(SIDE)) // 4
    frame = (ramp + random.integers(0, 8, ramp.shape)).astype("<u2")
    image = dicom.Image(frame.tobytes() * FRAMES, rows=SIDE, columns=SIDE, stored=12, frames=FRAMES)
    path.write_bytes(image.encode())


def main() -> int:
    """Convert with each budget to each syntax."""
    environment = dict(os.environ)
    with tempfile.TemporaryDirectory(prefix="dcmtx-bench-") as temporary:
        work = Path(temporary)
        write(work / "in.dcm")
        print(f"{'':12}{'memory':>10}{'MiB':>10}{'wall s':>10}")
        for syntax in sys.argv[1:] or ["rle", "jpegls", "j2k"]:
            for budget in BUDGETS:
                files = [str(work / "in.dcm"), str(work / "out.dcm")]
                line = [*bench.program(bench.OURS), *files, "--to", syntax, "-j", str(JOBS), "--memory", budget]
                child, started = measure._start(line, environment, work)
                with Sampler(child) as sampler:
                    run = measure._wait(child, started)
                failed = f"  status {run.status}" * bool(run.status)
                print(f"{syntax:12}{budget:>10}{sampler.peak / 2**20:10.0f}{run.wall:10.2f}{failed}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
