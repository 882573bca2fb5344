"""The file that a picture goes to: what may be there already."""

from __future__ import annotations

import os

from dcmtx.errors import UsageError

_PNG = b"\x89PNG\r\n\x1a\n"
# Behind the preamble, which may be anything (PS3.10 7.1).
_DICOM, _DICOM_AT = b"DICM", 128
# Comments may stand before the element of an SVG.
_FIRST_BYTES = 1 << 12


def check_picture(path: str, name: str, *kinds: str) -> None:
    """Raise UsageError for a picture that cannot be there, before any work is done for it.

    `name` is what the picture is called in usage. Its name must end in one of `kinds`, png or svg; a file that is there
    is replaced only if it is empty, or a picture of that kind by its first bytes.
    """
    kind = next((one for one in kinds if path.lower().endswith(f".{one}")), None)
    if kind is None:
        written = " or ".join(f".{one}" for one in kinds)
        raise UsageError(f"{name} is {path}, whose name does not end in {written}; nothing else is written")
    # What is no file, such as a pipe, has nothing to lose.
    if os.path.isfile(path) and not _is_picture(path, kind):
        raise UsageError(
            f"{path} exists and is no {kind.upper()} file", advice="name another file for the picture, or remove it"
        )


def _is_picture(path: str, kind: str) -> bool:
    try:
        with open(path, "rb") as file:
            first = file.read(_FIRST_BYTES)
    except OSError as error:
        raise UsageError(
            f"{path} exists and cannot be read: {error.strerror}", advice="name another file for the picture"
        ) from error
    if not first:
        return True
    if first[_DICOM_AT : _DICOM_AT + len(_DICOM)] == _DICOM:
        return False
    if kind == "png":
        return first.startswith(_PNG)
    text = first.removeprefix(b"\xef\xbb\xbf").lstrip()
    return text.startswith((b"<?xml", b"<svg", b"<!--", b"<!DOCTYPE svg")) and b"<svg" in text
