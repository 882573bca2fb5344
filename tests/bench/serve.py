"""Measure `dcmtx serve` beside gdcmconv: `python tests/bench/serve.py [--runs N] [--jobs N] [--ct FILE]`.

First one CT image to JPEG-LS, verified, as whole client processes in turn (A B C D A B C D ...): dcmtx alone, through
the server by the client in Python and by the one in C, and gdcmconv; medians of wall clock and of CPU, of the client
alone and with that of the server's process for the job. Then so many jobs from 1, 4 and 8 clients at a time: jobs a
second, failures, and the server's resident memory before and after.
"""

# ruff: noqa: T201

from __future__ import annotations

import argparse
import concurrent.futures
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections import Counter
from pathlib import Path
from statistics import median

import measure

HERE = Path(__file__).resolve().parent


class Bench:
    """A server with a log, an image, and the commands that convert it."""

    def __init__(self, directory: Path, ct: str) -> None:
        self.directory = directory
        self.source = directory / "ct.dcm"
        made = [sys.executable, str(HERE / "inputs.py"), str(directory), ct, "ct", "grey", "1", "12"]
        subprocess.run(made, check=True)
        self.log = directory / "log"
        self.environment = os.environ | {"DCMTX_SOCKET": str(directory / "s")}
        self.alone = os.environ | {"DCMTX_SOCKET": ""}
        with open(self.log, "wb") as log:
            line = [self.dcmtx, "serve", "--socket", str(directory / "s"), "--log-format", "json"]
            self.server = subprocess.Popen(line, stderr=log)
        while not self.events("start"):
            time.sleep(0.05)

    @property
    def dcmtx(self) -> str:
        """The installed command."""
        return str(Path(sysconfig.get_path("scripts")) / "dcmtx")

    def events(self, kind: str) -> list[dict[str, object]]:
        """Return what the server has logged of a kind."""
        lines = self.log.read_text("utf-8").splitlines()
        return [event for event in map(json.loads, lines) if event["event"] == kind]

    def client(self) -> str | None:
        """Build the client in C, if there is a compiler."""
        compiler = shutil.which("cc")
        if compiler is None:
            return None
        source, program = self.directory / "client.c", self.directory / "client"
        source.write_bytes(subprocess.run([self.dcmtx, "serve", "--client-source"], check=True, stdout=-1).stdout)
        subprocess.run([compiler, "-O2", "-o", str(program), str(source)], check=True)
        return str(program)

    def memory(self) -> int:
        """Return the bytes of the server that are resident."""
        pages = int(Path(f"/proc/{self.server.pid}/statm").read_text("ascii").split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def latency(self, runs: int, client: str | None) -> None:
        """Measure one conversion by each command and print a table."""
        out = str(self.directory / "out.dcm")
        ways = {
            "dcmtx, alone": ([self.dcmtx, str(self.source), out, "-L"], self.alone),
            "dcmtx, served": ([self.dcmtx, str(self.source), out, "-L"], self.environment),
        }
        if client is not None:
            ways["client in C, served"] = ([client, str(self.source), out, "-L"], self.environment)
        peer = shutil.which("gdcmconv")
        if peer is not None:
            ways["gdcmconv -L"] = ([peer, "-L", str(self.source), out], self.alone)
        found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in ways}
        for turn in range(runs + 1):
            for name, (line, environment) in ways.items():
                run, job = self._once(line, environment)
                if turn:
                    found[name].append((run.wall, run.cpu, run.cpu + job))
        print(
            f"{'one CT to JPEG-LS, verified but by gdcmconv':44} {'wall ms':>8} {'least':>6} {'cpu ms':>7} {'+ job':>6}"
        )
        for name, rows in found.items():
            wall, cpu, both = (median(column) * 1e3 for column in zip(*rows, strict=True))
            print(f"  {name:42} {wall:8.1f} {min(row[0] for row in rows) * 1e3:6.1f} {cpu:7.1f} {both:6.1f}")

    def _once(self, line: list[str], environment: dict[str, str]) -> tuple[measure.Run, float]:
        """Run a command; return its figures, and the seconds of CPU of the server's process for it."""
        before = len(self.events("job"))
        run = measure.run(line, environment, self.directory)
        if run.status != 0:
            raise SystemExit(f"{line} ended with status {run.status}")
        if environment is self.alone:
            return run, 0.0
        while len(self.events("job")) == before:
            time.sleep(0.001)
        return run, float(str(self.events("job")[-1]["cpu_seconds"]))

    def throughput(self, jobs: int, client: str) -> None:
        """Have so many jobs done by 1, 4 and 8 clients at a time and print a table."""
        print(f"{jobs} jobs from so many clients: jobs a second, statuses, resident memory before and after in kB")
        for clients in (1, 4, 8):
            before, started = self.memory(), time.perf_counter()
            with concurrent.futures.ThreadPoolExecutor(clients) as pool:
                statuses = Counter(pool.map(lambda number: self._call(client, number), range(jobs)))
            rate = jobs / (time.perf_counter() - started)
            print(f"  {clients} {rate:8.1f}  {dict(statuses)}  {before // 1024} {self.memory() // 1024}")

    def _call(self, client: str, number: int) -> int:
        out = str(self.directory / f"out-{number % 16}.dcm")
        return subprocess.call([client, str(self.source), out, "-L"], env=self.environment)

    def end(self) -> None:
        """End the server."""
        self.server.terminate()
        self.server.wait()


def main() -> None:
    """Run both parts."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--runs", type=int, default=15, help="turns of the first part")
    parser.add_argument("--jobs", type=int, default=1500, help="jobs for each number of clients")
    parser.add_argument("--ct", default="", metavar="FILE", help="a real CT image, instead of a phantom")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="s") as temporary:
        bench = Bench(Path(temporary), options.ct)
        try:
            client = bench.client()
            print(f"load {os.getloadavg()[0]:.1f}, {len(os.sched_getaffinity(0))} cores")
            bench.latency(options.runs, client)
            bench.throughput(options.jobs, client or bench.dcmtx)
        finally:
            bench.end()


if __name__ == "__main__":
    main()
