"""Runs of shards for tests, and an encoder that crashes, hangs or waits as its frames say, in whatever process."""

from __future__ import annotations

import gzip
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import batches
import dicom
from batches import image
from conftest import Ran
from fake_codecs import STAGE, Stage

HERE = Path(__file__).resolve().parent
_CODE = """
from dcmtx.codec.row import Row

encoders = Row(("1.2.840.10008.1.2.5",), "moody", "fake_codecs:encode")
"""
# What has frames encoded by it.
MOODY = ("--to", "rle", "--encoder", "moody", "--no-verify")


def moody(directory: Path, **wishes: Any) -> dict[str, str]:
    """Install the encoder `moody` below a directory, and return the environment in which it is there, with a stage."""
    site = directory / "site"
    information = site / "moody-1.0.dist-info"
    if not information.exists():
        information.mkdir(parents=True)
        (information / "METADATA").write_text("Metadata-Version: 2.1\nName: moody\nVersion: 1.0\n", "utf-8")
        (information / "entry_points.txt").write_text("[dcmtx.encoders]\nmoody = moody_codec:encoders\n", "utf-8")
        (site / "moody_codec.py").write_text(_CODE, "utf-8")
        (directory / "stage").mkdir()
    environment = Stage(directory / "stage").environment(**wishes)
    return environment | {
        "PYTHONPATH": f"{site}{os.pathsep}{HERE}",
        "DCMTX_SOCKET": "",
        STAGE: str(directory / "stage"),
    }


def plant(directory: Path, count: int, moods: dict[int, int] | None = None) -> list[str]:
    """Write so many images below a directory; some have a mood. Return their names."""
    from fake_codecs import image as moody_image

    names = batches.numbered(count)
    for number, name in enumerate(names):
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        mood = (moods or {}).get(number)
        path.write_bytes((image(number) if mood is None else moody_image(mood, number)).encode())
    return names


def dcmtx(*words: Any, **options: Any) -> Ran:
    """Run dcmtx to its end."""
    return batches.run(*map(str, words), **options)


def rows(run: Path, number: int) -> list[dict[str, Any]]:
    """Return the records of a shard that is done."""
    return batches.records(gzip.decompress((run / "done" / f"{number:06}.jsonl.gz").read_bytes()))


def all_rows(run: Path) -> list[dict[str, Any]]:
    """Return the records of all shards that are done."""
    names = sorted(path.name for path in (run / "done").iterdir())
    return [row for name in names for row in rows(run, int(name[:6]))]


def assert_whole(run: Path, out: Path, names: Sequence[str], syntax: str = dicom.RLE) -> None:
    """Assert that every file was made, once, whole, that reports tell so, and that nothing else is there."""
    assert batches.names(out) == set(names)
    found = all_rows(run)
    assert sorted(os.path.relpath(row["destination"], out) for row in found) == sorted(names)
    assert {row["status"] for row in found} == {"converted"}
    for number, name in enumerate(batches.numbered(len(names))):
        assert batches.decoded(out / name) == (syntax, batches.values(number))
    assert batches.parts(run) == []
