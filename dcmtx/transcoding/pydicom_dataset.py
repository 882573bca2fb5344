"""Converts data sets of pydicom in memory. Only this module imports pydicom, which its callers already have."""

from __future__ import annotations

import copy
import io
from typing import TYPE_CHECKING

from dcmtx.errors import InputError, UsageError
from dcmtx.transcoding.transcode import transcode

if TYPE_CHECKING:
    from typing import Unpack

    from pydicom.dataset import Dataset, FileDataset

    from dcmtx.transcoding.options import Options


def transcode_dataset(ds: Dataset, *, to: str, **options: Unpack[Options]) -> FileDataset:
    """Return a new data set: `ds` in the transfer syntax `to`, by the rules and with the options of `transcode`.

    `ds` is a data set that pydicom has read or made; its `file_meta` must name its Transfer Syntax UID. It is not
    changed. Everything happens in memory, which must hold the file twice in addition to `ds`.

    Raises UsageError for a data set that names no transfer syntax, or for `dry_run`; InputError where pydicom cannot
    write it; otherwise what `transcode` raises.

    >>> import dcmtx, pydicom
    >>> ds = dcmtx.transcode_dataset(pydicom.dcmread("ct-jpegls.dcm"), to="rle")
    >>> ds.file_meta.TransferSyntaxUID.name
    'RLE Lossless'
    """
    import pydicom

    if not isinstance(ds, pydicom.Dataset):
        raise UsageError(f"a {type(ds).__name__} is no data set of pydicom", advice="give files to transcode")
    meta = getattr(ds, "file_meta", None)
    if meta is None or not meta.get("TransferSyntaxUID"):
        raise UsageError(
            "the data set names no transfer syntax", advice="set ds.file_meta.TransferSyntaxUID to the one it has"
        )
    with io.BytesIO() as file:
        try:
            # `dcmwrite` resolves ambiguous VRs in its argument, so it gets a copy; the copy shares the bytes.
            pydicom.dcmwrite(file, copy.deepcopy(ds))
        except MemoryError:
            raise
        except Exception as error:
            # pydicom raises many kinds of errors; after the first line of the text follows a traceback.
            reason = str(error).partition("\n")[0] or type(error).__name__
            raise InputError(f"pydicom cannot write the data set: {reason[:200]}") from error
        written = file.getvalue()
    return pydicom.dcmread(io.BytesIO(transcode(written, to=to, **options)))
