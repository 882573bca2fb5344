"""Measure the relay: `python tests/bench/relay.py [--count N] [--runs N] [--ct FILE] [ROWS...]`.

CTs are sent by storescu and arrive in a storescp that throws them away; the clock runs from the first to the moment
when nothing is left in the spool. Beside the relay, Orthanc does the same: what it stores it sends on by a script in
Lua, and removes. The processor time is that of the relay, or of Orthanc, and of the processes they have. What else is
measured is an object of 210 MB, and 50 associations that do nothing. Rows in turn, as often as there are runs; the
median counts.
"""

# ruff: noqa: T201

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from statistics import median

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import numpy as np  # noqa: E402
import pydicom  # noqa: E402
from orthancs import Orthanc  # noqa: E402
from relays import QUICK, RelayProcess, StoreScp, instance  # noqa: E402

CT = "1.2.840.10008.5.1.4.1.1.2"
LUA = """
function OnStoredInstance(id, tags, metadata, origin)
  if origin['RequestOrigin'] == 'DicomProtocol' then
    Delete(SendToModality(id, 'sink'))
  end
end
"""


def images(directory: Path, ct: str | None, count: int) -> list[Path]:
    """Write CTs of 512 by 512: copies of a real one if there is one, else made ones."""
    directory.mkdir()
    paths = []
    random = np.random.default_rng(1)
    noise = random.normal(0, 12, (512, 512))
    x = np.linspace(-1, 1, 512)
    disc = np.hypot(x[:, None], x[None, :])
    for number in range(count):
        path = directory / f"{number}.dcm"
        if ct is not None:
            dataset = pydicom.dcmread(ct)
            dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.{number}"
            dataset.save_as(path)
        else:
            values = np.where(disc < 0.9, 1000 + 200 * np.cos(9 * disc + number) + noise, 20 + noise / 4)
            image = instance(number, size=512)
            image.pixels = np.clip(values, 0, 4095).astype("<u2").tobytes()
            path.write_bytes(image.encode())
        paths.append(path)
    return paths


def seconds_of_processor(root: int) -> float:
    """Return the processor time of a process and of all below it."""
    ticks = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(stat.parent.name) == root or _is_below(int(fields[1]), root):
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def _is_below(pid: int, root: int) -> bool:
    while pid > 1:
        if pid == root:
            return True
        try:
            pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            return False
    return False


def peak(pid: int) -> float:
    """Return the most memory that a process has had, in MiB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def send(port: int, files: list[Path], associations: int) -> None:
    """Send files by so many storescu at a time."""
    line = ["storescu", "-R", "-aec", "ANY", "127.0.0.1", str(port)]
    running = [
        subprocess.Popen([*line, *map(str, files[number::associations])], env=QUICK) for number in range(associations)
    ]
    for each in running:
        assert each.wait() == 0


def measured(
    pid: int, port: int, files: list[Path], *, associations: int, empty: Callable[[], bool]
) -> dict[str, float]:
    """Send files and wait until all are gone on; return images a second, and processor time for each."""
    before, began = seconds_of_processor(pid), time.monotonic()
    send(port, files, associations)
    received = time.monotonic() - began
    while not empty():
        time.sleep(0.005)
    wall = time.monotonic() - began
    cpu = seconds_of_processor(pid) - before
    return {"per s": len(files) / wall, "received per s": len(files) / received, "cpu ms": 1000 * cpu / len(files)}


def relay(files: list[Path], room: Path, associations: int, prefer: tuple[str, ...] = ()) -> dict[str, float]:
    """Measure the relay."""
    with ExitStack() as stack:
        sink = stack.enter_context(StoreScp(room / "sink", "+xa" if not prefer else "+xt", "--ignore", "--fork"))
        destination = {"address": sink.address, "prefer": list(prefer), "associations": associations}
        running = stack.enter_context(
            RelayProcess(destination, spool=room / "spool", top={"jobs": 2}, pace={"idle": 5})
        )
        send(running.port, files[:1], 1)
        running.until_empty()
        pid = running.process.pid
        found = measured(pid, running.port, files, associations=associations, empty=lambda: not running.queued())
        assert not running.held(), running.held()[0]
        return found | {"MiB": peak(pid)}


def orthanc(files: list[Path], room: Path, associations: int, prefer: tuple[str, ...] = ()) -> dict[str, float]:
    """Measure Orthanc."""
    script = room / "route.lua"
    script.write_text(LUA)
    with ExitStack() as stack:
        sink = stack.enter_context(StoreScp(room / "sink", "+xa" if not prefer else "+xt", "--ignore", "--fork"))
        settings = {"IngestTranscoding": "1.2.840.10008.1.2.4.80"} if prefer else {}
        running = stack.enter_context(
            Orthanc(room, dict(os.environ), LuaScripts=[str(script)], DicomAet="ANY", DicomCheckCalledAet=False,
                    DicomModalities={"sink": ["STORESCP", "127.0.0.1", sink.port]}, **settings)
        )  # fmt: skip
        pid = running.process.pid
        found = measured(
            pid,
            running.dicom,
            files,
            associations=associations,
            empty=lambda: not json.loads(running.get("/instances")),
        )
        return found | {"MiB": peak(pid)}


def large(room: Path) -> dict[str, float]:
    """Measure an object of 210 MB that goes through untouched: memory of the relay."""
    path = room / "large.dcm"
    image = instance(1, size=64, frames=400)
    image.rows = image.columns = 512
    image.pixels = bytes(400 * 512 * 512 * 2)
    path.write_bytes(image.encode())
    with ExitStack() as stack:
        sink = stack.enter_context(StoreScp(room / "sink", "+xa", "--ignore"))
        running = stack.enter_context(RelayProcess({"address": sink.address}, spool=room / "spool"))
        pid = running.process.pid
        at_rest = peak(pid)
        found = measured(pid, running.port, [path], associations=1, empty=lambda: not running.queued())
        return {"s": 1 / found["per s"], "MiB at rest": at_rest, "MiB": peak(pid), "cpu ms": found["cpu ms"]}


def idle(room: Path) -> dict[str, float]:
    """Measure 50 associations that do nothing: the share of a core in 5 seconds."""
    from peers import associate

    with ExitStack() as stack:
        running = stack.enter_context(RelayProcess({"address": "NOBODY@127.0.0.1:1"}, spool=room / "spool"))
        for _ in range(50):
            stack.enter_context(associate(running.port, [(CT, "1.2.840.10008.1.2.1")]))
        before = seconds_of_processor(running.process.pid)
        time.sleep(5)
        share = (seconds_of_processor(running.process.pid) - before) / 5
        return {"% of a core": 100 * share, "MiB": peak(running.process.pid)}


ROWS: dict[str, Callable[[list[Path], Path], dict[str, float]]] = {
    "relay, untouched, 1": lambda files, room: relay(files, room, 1),
    "relay, untouched, 4": lambda files, room: relay(files, room, 4),
    "relay, JPEG-LS, 1": lambda files, room: relay(files, room, 1, ("jpegls",)),
    "relay, JPEG-LS, 4": lambda files, room: relay(files, room, 4, ("jpegls",)),
    "Orthanc, untouched, 1": lambda files, room: orthanc(files, room, 1),
    "Orthanc, untouched, 4": lambda files, room: orthanc(files, room, 4),
    "Orthanc, JPEG-LS, 1": lambda files, room: orthanc(files, room, 1, ("jpegls",)),
    "relay, 210 MB": lambda _, room: large(room),
    "relay, 50 idle": lambda _, room: idle(room),
}


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--ct")
    parser.add_argument("--directory", help="where the spool is: its disk is measured too")
    parser.add_argument("rows", nargs="*", default=list(ROWS))
    given = parser.parse_args()
    rows = [name for name in ROWS if any(word in name for word in given.rows)]
    with tempfile.TemporaryDirectory(dir=given.directory) as directory:
        files = images(Path(directory) / "in", given.ct, given.count)
        found: dict[str, list[dict[str, float]]] = {name: [] for name in rows}
        for _ in range(given.runs):
            for name in rows:
                room = Path(directory) / "room"
                room.mkdir()
                found[name].append(ROWS[name](files, room))
                shutil.rmtree(room)
        for name, runs in found.items():
            figures = ", ".join(f"{median(run[key] for run in runs):.1f} {key}" for key in runs[0])
            print(f"{name:24}{figures}")


if __name__ == "__main__":
    main()
