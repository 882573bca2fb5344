"""Measure hooks in Orthanc: `python tests/bench/orthanc.py [--count N] [--runs N] [--ct FILE]`.

One CT after the other is sent by storescu into an Orthanc of its own, which stores it in JPEG-LS by its hook; seconds
from the first to the moment when the last is stored anew, for one instance. In Lua: none, gdcmconv, dcmtx alone, with
`dcmtx serve` by the client in Python, and by the one in C; beside them the hook in Python and the plugin in C, with a
server. A row in turn, as often as there are runs; the median and the least count.
"""

# ruff: noqa: T201

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
from pathlib import Path
from statistics import median

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from orthancs import Orthanc, need_python_plugin, send  # noqa: E402
from servers import Server  # noqa: E402

import dcmtx  # noqa: E402

JPEGLS = b"1.2.840.10008.1.2.4.80"
GDCMCONV = '#!/bin/sh\n# Called as dcmtx is: SRC DST --to SYNTAX.\nexec gdcmconv -L "$1" "$2"\n'


def printed(*arguments: str) -> str:
    """Return what a command of dcmtx prints."""
    line = [sys.executable, "-m", "dcmtx", *arguments]
    return subprocess.run(line, check=True, stdout=subprocess.PIPE, text=True).stdout


def compiled(source: str, target: Path, *options: str) -> Path:
    """Compile C."""
    path = target.with_suffix(".c")
    path.write_text(source)
    subprocess.run(["cc", "-O2", *options, "-o", str(target), str(path)], check=True)
    return target


def images(directory: Path, ct: str, count: int) -> list[Path]:
    """Make so many CT images that are alike but for their UIDs and their numbers."""
    from pydicom import dcmread

    made = [sys.executable, str(HERE / "inputs.py"), str(directory), ct, "ct", "grey", "1", "12"]
    subprocess.run(made, check=True)
    dataset = dcmread(directory / "ct.dcm")
    dataset.PatientID, dataset.StudyInstanceUID, dataset.SeriesInstanceUID = "BENCH", "1.2.6", "1.2.6.1"
    paths = []
    for number in range(count):
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"1.2.6.1.{number}"
        dataset.InstanceNumber = number
        paths.append(directory / f"{number}.dcm")
        dataset.save_as(paths[-1])
    return paths


class Row:
    """One way: the settings of Orthanc, whether a server is there, and whether the result is JPEG-LS."""

    def __init__(self, settings: dict[str, object], *, served: bool = False, converts: bool = True) -> None:
        self.settings = settings
        self.served = served
        self.converts = converts


def rows(directory: Path) -> dict[str, Row]:
    """Return every way to be measured."""

    def lua(name: str, *command: str) -> dict[str, object]:
        path = directory / f"{name}.lua"
        path.write_text(printed("hook", "orthanc-lua", "--to", "jpegls", *command))
        return {"LuaScripts": [str(path)]}

    peer = directory / "gdcmconv"
    peer.write_text(GDCMCONV)
    peer.chmod(0o755)
    client = compiled(printed("serve", "--client-source"), directory / "client")
    plugin = compiled(printed("hook", "orthanc-c", "--to", "jpegls"), directory / "plugin.so", "-shared", "-fPIC")
    script = directory / "hook.py"
    script.write_text(printed("hook", "orthanc-python", "--to", "jpegls"))
    found = {
        "no hook": Row({}, converts=False),
        "Lua, gdcmconv": Row(lua("peer", "--command", str(peer))),
        "Lua, dcmtx alone": Row(lua("alone")),
        "Lua, served": Row(lua("served"), served=True),
        "Lua, client in C, served": Row(lua("client", "--command", str(client)), served=True),
        "Python, dcmtx alone": Row({"Plugins": [need_python_plugin()], "PythonScript": str(script)}),
        "Python, served": Row({"Plugins": [need_python_plugin()], "PythonScript": str(script)}, served=True),
        "plugin in C, served": Row({"Plugins": [str(plugin)], "IngestTranscoding": JPEGLS.decode()}, served=True),
    }
    if shutil.which("gdcmconv") is None:
        del found["Lua, gdcmconv"]
    return found


def seconds(row: Row, server: Server, files: list[Path]) -> float:
    """Return the seconds that one instance takes in a new Orthanc."""
    with tempfile.TemporaryDirectory() as directory:
        environment = os.environ | {"DCMTX_SOCKET": str(server.socket) if row.served else ""}
        with Orthanc(Path(directory), environment, **row.settings) as orthanc:
            started = time.perf_counter()
            send("storescu", orthanc.dicom, files)
            query = {"Level": "Instance", "Query": {"SOPInstanceUID": f"1.2.6.1.{len(files) - 1}"}}
            (last,) = json.loads(orthanc.get("/tools/find", json.dumps(query).encode()))
            while row.converts and not _is_converted(orthanc, last):
                time.sleep(0.01)
            taken = time.perf_counter() - started
            stored = orthanc.stored("1.2.6")
            assert len(stored) == len(files)
            assert all((JPEGLS in data[:600]) == row.converts for data in stored.values()), orthanc.said()
    return taken / len(files)


def _is_converted(orthanc: Orthanc, last: str) -> bool:
    """Tell whether the last instance is stored in JPEG-LS; hooks take them in their order."""
    with contextlib.suppress(urllib.error.HTTPError):
        # While it is replaced there may be none.
        return orthanc.get(f"/instances/{last}/metadata/TransferSyntax") == JPEGLS
    return False


def main() -> None:
    """Measure every way in turn and print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--count", type=int, default=40, help="images for each run")
    parser.add_argument("--runs", type=int, default=3, help="turns")
    parser.add_argument("--ct", default="", metavar="FILE", help="a real CT image, instead of a phantom")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary, Server("--jobs", "4") as server:
        directory = Path(temporary)
        files = images(directory, options.ct, options.count)
        ways = rows(directory)
        found: dict[str, list[float]] = {name: [] for name in ways}
        print(f"dcmtx {dcmtx.__version__}, load {os.getloadavg()[0]:.1f}, {len(os.sched_getaffinity(0))} cores, "
              f"{files[0].stat().st_size // 1024} kB each")  # fmt: skip
        for _ in range(options.runs):
            for name, row in ways.items():
                found[name].append(seconds(row, server, files))
        print(f"{'seconds per instance in Orthanc':34} {'median':>7} {'least':>7}")
        for name, taken in found.items():
            print(f"  {name:32} {median(taken):7.3f} {min(taken):7.3f}")
        print(f"load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
