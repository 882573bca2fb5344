"""Finds the files of a series in what the user names: files, and directories with all that is in them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

from dcmtx.errors import InputError

_MAGIC = b"DICM"
_PREAMBLE = 128


def found_in(sources: Sequence[str], without: str | None = None) -> list[str]:
    """Return the paths of files: those that are named, and the DICOM files in directories, sorted.

    What is written is `without`, a file or a directory: it is passed over in other directories.

    Raises InputError where there is none.
    """
    avoided = None if without is None else os.path.realpath(without)
    paths: list[str] = []
    for source in sources:
        if os.path.isdir(source):
            found = sorted(_below(source, avoided if os.path.realpath(source) != avoided else None))
            if not found:
                raise InputError("there is no DICOM file in it", code="E_NOT_DICOM", path=source)
            paths += found
        else:
            paths.append(source)
    return paths


def _below(directory: str, avoided: str | None) -> Iterator[str]:
    for folder, folders, names in os.walk(directory):
        if avoided is not None:
            folders[:] = [each for each in folders if os.path.realpath(os.path.join(folder, each)) != avoided]
        for name in names:
            path = os.path.join(folder, name)
            if avoided is not None and os.path.realpath(path) == avoided:
                continue
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
