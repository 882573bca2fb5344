"""Finds the files of a series in what the user names: files, and directories with all that is in them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import closing

from dcmtx.dataset.meta import MAGIC, PREAMBLE, opens_as_dicom
from dcmtx.errors import DcmtxError, InputError
from dcmtx.finding import Finding
from dcmtx.place.below import Below, walk_below
from dcmtx.place.bytes import FileBytes, open_bytes
from dcmtx.transcoding.job import Outcome


class Found:
    """The files that were found, in order; `skipped` counts those in directories that are none, by reason."""

    def __init__(self) -> None:
        self.paths: list[str] = []
        self.skipped: dict[str, int] = {}

    @property
    def notes(self) -> tuple[Finding, ...]:
        """What is to be told of the files that were passed over."""
        said = ", ".join(f"{count} skipped ({why})" for why, count in sorted(self.skipped.items()))
        return (Finding("N_SKIPPED", f"of the files in directories: {said}"),) if said else ()


def found_in(sources: Sequence[str], without: str | None = None) -> Found:
    """Return the files that are named, and the DICOM files in directories, sorted.

    What is written is `without`, a file or a directory: it is passed over in other directories. What is DICOM by its
    head is found, also where it is damaged: that is told when it is opened.

    Raises InputError for a directory that has none, and for a directory or link in one that cannot be read: what is
    made would lack what is there.
    """
    avoided = None if without is None else os.path.realpath(without)
    found = Found()
    for source in sources:
        if not os.path.isdir(source):
            found.paths.append(source)
            continue
        paths = _below(source, avoided if os.path.realpath(source) != avoided else None, found.skipped)
        if not paths:
            raise InputError("there is no DICOM file in it", code="E_NOT_DICOM", path=source)
        found.paths += sorted(paths)
    return found


def noted(outcome: Outcome, notes: tuple[Finding, ...]) -> Outcome:
    """Return an outcome that tells of these too."""
    return outcome.replace(notes=(*notes, *outcome.notes)) if notes else outcome


def _below(directory: str, avoided: str | None, skipped: dict[str, int]) -> list[str]:
    paths: list[str] = []
    for below in walk_below(directory, avoided):
        if below.fault is not None:
            raise below.fault
        why = _reason_to_skip(below)
        if why:
            skipped[why] = skipped.get(why, 0) + 1
        else:
            paths.append(below.path)
    return paths


def _reason_to_skip(below: Below) -> str:
    """Return why what is in a directory is no image, or an empty string."""
    name = os.path.basename(below.path)
    if below.skip or name == "DICOMDIR":
        return below.skip or name
    try:
        with closing(open_bytes(below.path)) as file:
            if not opens_as_dicom(file) and not _ends_in_its_head(file):
                return "not DICOM"
    except DcmtxError as error:
        # What else is wrong is told when it is opened.
        return "empty" if error.code == "E_EMPTY" else ""
    return "hidden" if name.startswith(".") else ""


def _ends_in_its_head(file: FileBytes) -> bool:
    """Tell whether a file ends in the four letters behind its preamble: it is cut off."""
    begun = file.pread(len(MAGIC), PREAMBLE)
    return bool(begun) and file.size < PREAMBLE + len(MAGIC) and MAGIC.startswith(begun)
