"""The registries: which backend decodes and which encodes a transfer syntax, within which limits.

A registry is a table of strings. Nothing is imported until a row is used; a library that is missing is named with
what to install. The row is chosen before any pixel moves, by syntax and pixel format alone, and nothing falls back
to another row by itself.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable
from enum import Enum
from typing import Any

from dcmtx.errors import UnsupportedError, UsageError
from dcmtx.pixel.format import PixelFormat
from dcmtx.record import Record


class Direction(Enum):
    """Which way a row codes."""

    DECODE = "decode"
    ENCODE = "encode"


class Quality(Record):
    """How to encode: the loss consented to and the coding parameters asked for; None leaves it to the codec."""

    predictor: int | None = None
    resolutions: int | None = None


Decode = Callable[[bytes, PixelFormat, PixelFormat], Any]
Encode = Callable[[Any, PixelFormat, PixelFormat, Quality], Any]


class Limits(Record):
    """What a row can code. `stored` and `allocated` are ranges of bits, ends included."""

    stored: tuple[int, int] = (1, 16)
    allocated: tuple[int, int] = (8, 16)
    samples: tuple[int, ...] = (1, 3)
    only_stored: tuple[int, ...] = ()
    smallest_side: int = 1

    def reason(self, fmt: PixelFormat) -> str:
        """Return why this format lies beyond the limits, or an empty string."""
        if fmt.samples not in self.samples:
            return f"Samples per Pixel {fmt.samples}"
        if not self.stored[0] <= fmt.stored <= self.stored[1]:
            return f"Bits Stored {fmt.stored} is not {self.stored[0]} to {self.stored[1]}"
        if self.only_stored and fmt.stored not in self.only_stored:
            return f"Bits Stored {fmt.stored} is not {' or '.join(map(str, self.only_stored))}"
        if not self.allocated[0] <= fmt.allocated <= self.allocated[1]:
            return f"Bits Allocated {fmt.allocated} is not {self.allocated[0]} to {self.allocated[1]}"
        if min(fmt.rows, fmt.columns) < self.smallest_side:
            return f"{fmt.rows}x{fmt.columns} has a side below {self.smallest_side}"
        return ""


class Row(Record):
    """One backend in one direction.

    `call` is module:function, `package` what pip installs for it, `colours` the changes of Photometric
    Interpretation that it makes itself, from and to, `frees_lock` whether other threads run while it codes,
    `options` the coding parameters that it takes.
    """

    syntaxes: tuple[str, ...]
    backend: str
    call: str
    package: str
    limits: Limits = Limits()
    colours: frozenset[tuple[str, str]] = frozenset()
    frees_lock: bool = True
    options: frozenset[str] = frozenset()

    def fits(self, fmt: PixelFormat) -> bool:
        """Tell whether the format lies within the limits."""
        return not self.limits.reason(fmt)


class Registry:
    """The rows of one direction, in the order in which they are preferred."""

    __slots__ = ("_direction", "_rows")

    def __init__(self, direction: Direction, rows: Iterable[Row]) -> None:
        self._direction = direction
        self._rows = tuple(rows)

    def rows(self, uid: str) -> tuple[Row, ...]:
        """Return the rows for a transfer syntax, preferred first; empty if it is not coded."""
        return tuple(row for row in self._rows if uid in row.syntaxes)

    def backends(self) -> list[str]:
        """Return the names of all backends."""
        return sorted({row.backend for row in self._rows})

    def choose(self, uid: str, label: str, fmt: PixelFormat, backend: str | None = None) -> Row:
        """Return the first row that codes this format under this syntax, or the one of the backend asked for.

        Raises UsageError for a backend that does not exist, UnsupportedError, with each row's reason, if none fits.
        """
        verb = self._direction.value
        rows = self.rows(uid)
        if backend is not None:
            if backend not in self.backends():
                raise UsageError(f"there is no {verb}r {backend!r}; there are {', '.join(self.backends())}")
            rows = tuple(row for row in rows if row.backend == backend)
            if not rows:
                raise UnsupportedError(f"{backend} does not {verb} {label}; `dcmtx syntaxes` shows what does")
        if not rows:
            raise UnsupportedError(
                f"dcmtx does not {verb} {label} ({uid}); `dcmtx syntaxes` shows what it does",
                code="E_UNSUPPORTED_TS",
            )
        for row in rows:
            if row.fits(fmt):
                return row
        reasons = "; ".join(f"{row.backend}: {row.limits.reason(fmt)}" for row in rows)
        raise UnsupportedError(f"no codec can {verb} it as {label}: {reasons}", code="E_LIMIT")

    def load(self, row: Row) -> Callable[..., Any]:
        """Import the backend of a row and return its function.

        Raises UnsupportedError naming the package if the library is not installed.
        """
        module, _, name = row.call.partition(":")
        try:
            function: Callable[..., Any] = getattr(importlib.import_module(module), name)
        except ImportError as error:
            raise UnsupportedError(
                f"{row.backend} is not installed ({error}); pip install {row.package}", code="E_BACKEND"
            ) from error
        return function
