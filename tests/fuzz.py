"""Mutated files: what must never happen whatever the bytes are.

Each mutant is one file of testdata/ with one kind of damage, made from the number of the mutant alone, so that a
failure can be made again. It is converted in a batch, whose workers contain what codecs do. What comes out is an error
of the input, of the standard or of a codec; or a file that an independent reader takes apart, whose pixels have the
shape and the range that its header promises.

As a program it makes any number: `python tests/fuzz.py --count 20000 --start 0`.
"""

from __future__ import annotations

import argparse
import json
import random
import struct
import subprocess
import sys
import tempfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import dicom
import oracle

TESTDATA = Path(__file__).parent.parent / "testdata"
SEEDS = sorted(TESTDATA.glob("*.dcm"))
# An error may be the file's, the standard's, an unsupported kind or a codec's: never a bug (1) or our encoder's (7).
LAWFUL = {3, 4, 5, 6}
Dice = random.Random

# --- mutations -------------------------------------------------------------------------------------------------------


def _start_of_pixels(data: bytes) -> int:
    found = [data.find(tag) for tag in (b"\xe0\x7f\x10\x00", b"\x7f\xe0\x00\x10") if tag in data]
    # Of a deflated data set nobody can tell.
    return min(found, default=len(data) // 2)


def headers(data: bytearray, dice: Dice) -> None:
    """Change a few bytes before the pixels."""
    for _ in range(dice.randint(1, 4)):
        data[dice.randrange(128, max(_start_of_pixels(data), 129))] = dice.randrange(256)


def attributes(data: bytearray, dice: Dice) -> None:
    """Change the value of an attribute of the image."""
    numbers = [0x02, 0x06, 0x10, 0x11, 0x100, 0x101, 0x102, 0x103]
    tag = struct.pack("<HH", 0x28, dice.choice(numbers))
    place = data.find(tag)
    if place >= 0:
        value = dice.choice([0, 1, 2, 3, 4, 7, 8, 12, 15, 16, 17, 24, 32, 64, 255, 4096, 32768, 65535])
        data[place + 8 : place + 10] = struct.pack("<H", value)


def lengths(data: bytearray, dice: Dice) -> None:
    """Change the length of an element or an item."""
    tags = [
        place for place in range(132, len(data) - 8, 2) if data[place + 1] in (0, 0x7F) and data[place] in (8, 0x28)
    ]
    place = dice.choice(tags) if tags else dice.randrange(132, len(data) - 8)
    extreme = dice.choice([0, 1, 7, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFE, 0xFFFFFFFF, len(data), dice.randrange(1 << 32)])
    if dice.random() < 0.5:
        data[place + 4 : place + 8] = struct.pack("<I", extreme)
    else:
        data[place + 6 : place + 8] = struct.pack("<H", extreme & 0xFFFF)


def items(data: bytearray, dice: Dice) -> None:
    """Exchange, double or remove the tag of an item or a delimiter."""
    signs = [b"\xfe\xff\x00\xe0", b"\xfe\xff\x0d\xe0", b"\xfe\xff\xdd\xe0"]
    there = [place for sign in signs for place in _all(data, sign)]
    if not there:
        headers(data, dice)
        return
    place = dice.choice(there)
    what = dice.randrange(3)
    if what == 0:
        data[place : place + 4] = dice.choice(signs)
    elif what == 1:
        data[place:place] = data[place : place + 8]
    else:
        del data[place : place + 8]


def tables(data: bytearray, dice: Dice) -> None:
    """Change bytes where the pixels begin: offset tables, and the first fragments."""
    start = _start_of_pixels(data)
    for _ in range(dice.randint(1, 4)):
        data[min(start + dice.randrange(8, 60), len(data) - 1)] = dice.randrange(256)


def codestreams(data: bytearray, dice: Dice) -> None:
    """Change bytes of the pixels."""
    start = _start_of_pixels(data)
    for _ in range(dice.randint(1, 8)):
        data[min(dice.randrange(start, len(data)), len(data) - 1)] = dice.choice([0, 0xFF, dice.randrange(256)])


def codestream_headers(data: bytearray, dice: Dice) -> None:
    """Change bytes behind a marker of a codestream."""
    marks = [place for mark in (b"\xff\xd8\xff", b"\xff\x4f\xff\x51", b"\xff\x0a") for place in _all(data, mark)]
    start = dice.choice(marks) if marks else _start_of_pixels(data)
    for _ in range(dice.randint(1, 3)):
        data[min(start + dice.randrange(90), len(data) - 1)] = dice.randrange(256)


def nesting(data: bytearray, dice: Dice) -> None:
    """Put sequences inside sequences before the pixels, deep."""
    deep = dice.choice([3, 60, 2000])
    data[_start_of_pixels(data) : _start_of_pixels(data)] = (
        struct.pack("<HH2sHI", 0x7FDF, 0x10, b"SQ", 0, 0xFFFFFFFF) + b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
    ) * deep


def truncation(data: bytearray, dice: Dice) -> None:
    """Cut the file."""
    del data[dice.randrange(len(data)) :]


def blocks(data: bytearray, dice: Dice) -> None:
    """Put a block of the file elsewhere, or take it out."""
    size = dice.choice([1, 2, 16, 300])
    start, to = dice.randrange(len(data)), dice.randrange(128, len(data))
    block = data[start : start + size]
    if dice.random() < 0.5:
        del data[start : start + size]
    data[to:to] = block


MUTATIONS: list[Callable[[bytearray, Dice], None]] = [
    headers, attributes, lengths, items, tables, codestreams, codestream_headers, nesting, truncation, blocks,
]  # fmt: skip


def _all(data: bytearray, sign: bytes) -> Iterator[int]:
    place = data.find(sign)
    while place >= 0:
        yield place
        place = data.find(sign, place + 1)


def mutant(number: int) -> tuple[str, bytes]:
    """Return the mutant of this number, and its name."""
    seed = SEEDS[number % len(SEEDS)]
    mutate = MUTATIONS[number // len(SEEDS) % len(MUTATIONS)]
    data = bytearray(seed.read_bytes())
    mutate(data, random.Random(number))
    return f"{number:07}-{mutate.__name__}-{seed.name}", bytes(data)


# --- judgement -------------------------------------------------------------------------------------------------------


def convert(directory: Path, to: str, *options: str) -> dict[str, dict]:
    """Convert the mutants of a directory, and return the record of each by name."""
    report = directory.parent / f"{to}.jsonl"
    line = [sys.executable, "-m", "dcmtx", directory, directory.parent / to, "--to", to, "--report", report]
    ran = subprocess.run([*line, "--quiet", *options], capture_output=True, text=True, check=False)
    assert ran.returncode in (0, 9), ran.stderr[-2000:]
    assert "Traceback" not in ran.stderr, ran.stderr[-3000:]
    return {Path(record["source"]).name: record for record in map(json.loads, report.read_text().splitlines())}


def fault(record: dict, written: Path, source: bytes) -> str:
    """Return what must not be about the outcome of one mutant, or an empty string."""
    if record["status"] == "failed":
        status = record["error"]["status"]
        return "" if status in LAWFUL and not written.exists() else f"{record['error']} {written.exists()}"
    if record["status"] in ("skipped", "copied"):
        return ""
    data = written.read_bytes()
    found, why = _taken_apart(data)
    if found is None:
        # An element that stays byte for byte is as odd as it was.
        return f"what was written cannot be taken apart: {why}" if _taken_apart(source)[0] else ""
    decoded = record["decoder"] not in (None, "dcmtx")
    return _broken_promise(found, data, source) if decoded and found.syntax in oracle.NATIVE else ""


def _taken_apart(data: bytes) -> tuple[dicom.Walked | None, str]:
    """Return what an independent and strict reader finds in a file, or why it finds nothing."""
    try:
        return dicom.walk(data), ""
    except (AssertionError, LookupError, ValueError, struct.error, zlib.error) as error:
        return None, repr(error)


def _broken_promise(found: dicom.Walked, data: bytes, source: bytes) -> str:
    """Return how decoded pixels differ in shape or range from what the header says, or an empty string."""
    said = oracle.attributes(found)
    if said.allocated not in (8, 16):
        return ""
    frames = oracle.native(data)
    if len(frames) != said.frames or any(frame.shape != said.shape for frame in frames):
        return f"{len(frames)} frames of {frames[0].shape} instead of {said.frames} of {said.shape}"
    if _may_hold_more(source):
        return ""
    least, most = (-(1 << said.stored - 1), (1 << said.stored - 1) - 1) if said.signed else (0, (1 << said.stored) - 1)
    values = [int(value) for frame in frames for value in (frame.min(), frame.max())]
    return "" if least <= min(values) and max(values) <= most else f"values from {min(values)} to {max(values)}"


def _may_hold_more(source: bytes) -> bool:
    """Tell whether frames may hold something above Bits Stored: RLE always, others by a higher precision."""
    found, _ = _taken_apart(source)
    if found is None or found.syntax in oracle.RLE:
        return True
    try:
        precision = max(oracle.parse(stream).precision for stream in oracle.codestreams(source))
    except (AssertionError, LookupError, ValueError, struct.error):
        return True
    return precision > oracle.attributes(found).stored


def run(numbers: range, targets: tuple[str, ...], *options: str) -> tuple[Counter, list[str]]:
    """Judge these mutants under each target, and return how often each outcome came, and what must not be."""
    counts: Counter = Counter()
    faults: list[str] = []
    with tempfile.TemporaryDirectory() as scratch:
        directory = Path(scratch) / "in"
        directory.mkdir()
        names = []
        for number in numbers:
            name, data = mutant(number)
            (directory / name).write_bytes(data)
            names.append(name)
        for to in targets:
            records = convert(directory, to, *options)
            faults += [f"{name}: no record" for name in names if name not in records]
            for name, record in records.items():
                error = record["error"]
                counts[to, error["code"] if error else record["status"]] += 1
                what = fault(record, Path(scratch) / to / name, (directory / name).read_bytes())
                faults += [f"{to} {name}: {what}"] if what else []
    return counts, faults


def main() -> int:
    """Judge as many mutants as asked for, and print what came of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--start", type=int, default=0)
    parser.add_argument("--to", nargs="+", default=["explicit", "jpegls"])
    parser.add_argument("--options", nargs="*", default=["--timeout=60"])
    asked = parser.parse_args()
    total: Counter = Counter()
    bad: list[str] = []
    for start in range(asked.start, asked.start + asked.count, 500):
        numbers = range(start, min(start + 500, asked.start + asked.count))
        counts, faults = run(numbers, tuple(asked.to), *asked.options)
        total += counts
        bad += faults
        sys.stdout.write("".join(f"{line}\n" for line in faults))
        sys.stdout.flush()
    for (to, outcome), count in sorted(total.items()):
        sys.stdout.write(f"{to:12} {outcome:20} {count}\n")
    return int(bool(bad))


if __name__ == "__main__":
    sys.exit(main())
