"""Finds the files of a series in what the user names: files, and directories with all that is in them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

from dcmtx.errors import InputError

_MAGIC = b"DICM"
_PREAMBLE = 128


def found_in(sources: Sequence[str]) -> list[str]:
    """Return the paths of files: those that are named, and the DICOM files in directories, sorted.

    Raises InputError where there is none.
    """
    paths: list[str] = []
    for source in sources:
        if os.path.isdir(source):
            found = sorted(_below(source))
            if not found:
                raise InputError("there is no DICOM file in it", code="E_NOT_DICOM", path=source)
            paths += found
        else:
            paths.append(source)
    return paths


def _below(directory: str) -> Iterator[str]:
    for folder, _, names in os.walk(directory):
        for name in names:
            path = os.path.join(folder, name)
            if name != "DICOMDIR" and not name.startswith(".") and _is_dicom(path):
                yield path


def _is_dicom(path: str) -> bool:
    if not os.path.isfile(path):
        return False
    try:
        with open(path, "rb") as file:
            return file.read(_PREAMBLE + len(_MAGIC))[_PREAMBLE:] == _MAGIC
    except OSError:
        # It is named when it is opened.
        return True
