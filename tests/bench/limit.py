"""The limit of a conversion: its codec calls alone, on all cores, warm. `python limit.py RUNS SRC [OPTIONS...]`.

Every file of SRC, a file or a directory, is planned and converted once as the OPTIONS of dcmtx say, and every call of a
codec is written down with what it was given: decoding the source, encoding, decoding again to verify. Then as many
processes as there are cores repeat these calls and do nothing else; each has made some of them before. Printed are the
seconds that each run took, and how many calls there were, as JSON. No interpreter start, no file, no data set. With
--most, only so many files of a directory of like ones are taken, and the seconds are multiplied.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from dcmtx.transcoding.coders import Coder
from dcmtx.transcoding.job import job
from dcmtx.transcoding.running import run

# A coder, the name of its method, and what it is given.
Call = tuple[Coder, str, Any]
WARM = 2


def calls_of(paths: list[Path], target: str, options: dict[str, Any]) -> list[Call]:
    """Convert files, and return the codec calls of that in order."""
    calls: list[Call] = []
    real = {name: getattr(Coder, name) for name in ("one", "code")}

    def noting(name: str) -> Any:
        def call(coder: Coder, given: Any) -> Any:
            calls.append((coder, name, given))
            return real[name](coder, given)

        return call

    for name in real:
        setattr(Coder, name, noting(name))
    try:
        with tempfile.TemporaryDirectory(prefix="dcmtx-limit-") as out:
            for path in paths:
                run(job(path, os.path.join(out, "out.dcm"), to=target, workers=1, sync="none", **options))
    finally:
        for name, method in real.items():
            setattr(Coder, name, method)
    return calls


def repeat(calls: list[Call]) -> None:
    """Make the calls. A codec that fails now has no limit that could be told."""
    for coder, name, given in calls:
        getattr(coder, name)(given)


def seconds(calls: list[Call], cores: int) -> float:
    """Return how long it takes processes on so many cores to make the calls, from a common start."""
    # Round robin: frames that were alike in their order stay alike in each share.
    shares = [calls[number::cores] for number in range(cores)]
    ready, tell_ready = os.pipe()
    go, tell_go = os.pipe()
    children = []
    for share in shares:
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                repeat(share[:WARM])
                os.close(tell_go)
                os.write(tell_ready, b"!")
                os.read(go, 1)
                repeat(share)
                status = 0
            finally:
                os._exit(status)
        children.append(pid)
    for _ in children:
        os.read(ready, 1)
    started = time.perf_counter()
    os.close(tell_go)
    failed = [pid for pid in children if os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) != 0]
    took = time.perf_counter() - started
    for descriptor in (ready, tell_ready, go):
        os.close(descriptor)
    if failed:
        raise SystemExit("a codec failed that did not fail before")
    return took


def main() -> None:
    """Measure as the command line says."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("runs", type=int)
    parser.add_argument("source", type=Path)
    parser.add_argument("--to", required=True)
    parser.add_argument("--lossy", action="store_true")
    parser.add_argument("--quality", type=int)
    parser.add_argument("--most", type=int)
    options = parser.parse_args()
    paths = sorted(options.source.iterdir()) if options.source.is_dir() else [options.source]
    taken = paths[: options.most]
    calls = calls_of(taken, options.to, {"lossy": options.lossy, "quality": options.quality})
    cores = len(os.sched_getaffinity(0))
    share = len(taken) / len(paths)
    found = [seconds(calls, cores) / share for _ in range(options.runs)] if calls else []
    json.dump({"seconds": found, "calls": len(calls), "cores": cores, "share": share}, sys.stdout)


if __name__ == "__main__":
    main()
