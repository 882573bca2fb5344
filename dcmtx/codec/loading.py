"""Loads what decoding needs without calling it, so that forked children need not load it each for itself."""

from __future__ import annotations

import contextlib
import importlib

from dcmtx.codec.table import DECODERS
from dcmtx.syntax import SYNTAXES

# imagecodecs loads each codec when its function is looked for.
_FUNCTIONS = ("dicomrle_decode", "jpeg2k_decode", "jpeg8_decode", "jpegls_decode", "jpegxl_decode")


def load() -> None:
    """Import the modules of all decoders at hand, and their libraries."""
    for module in {row.call.partition(":")[0] for syntax in SYNTAXES for row in DECODERS.rows(syntax.uid)}:
        with contextlib.suppress(ImportError):
            importlib.import_module(module)
    with contextlib.suppress(ImportError):
        import imagecodecs

        for name in _FUNCTIONS:
            getattr(imagecodecs, name, None)
