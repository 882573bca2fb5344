"""One row of a registry: a backend in one direction, as strings. Nothing is imported before it is asked for."""

from __future__ import annotations

import importlib
from enum import Enum

from dcmtx.pixel.format import PixelFormat
from dcmtx.policy import EncodingParameters, option_name
from dcmtx.record import Record

# Whose rows the tables of dcmtx are.
OWN = "dcmtx"
# How many times an image is halved whatever its size.
_ALWAYS_HALVED = 5


class Runs(Enum):
    """Where the codec of a row runs, so that several frames are coded at once."""

    THREADS = "threads"  # it lets other threads run while it codes
    PROCESSES = "processes"  # it keeps the interpreter lock: one thread at a time; frames go to processes
    DEVICE = "device"  # one thread owns the codec and whatever it holds; the frames come to it in batches


class Limits(Record):
    """What a row can code. `stored` and `allocated` are ranges of bits, ends included.

    `halved_to` is how many pixels the longer side must be halved down to; more than five times only while the shorter
    side has a pixel left.
    """

    stored: tuple[int, int] = (1, 16)
    allocated: tuple[int, int] = (8, 16)
    samples: tuple[int, ...] = (1, 3)
    only_stored: tuple[int, ...] = ()
    smallest_side: int = 1
    halved_to: int | None = None

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
        if self.halved_to is not None:
            return self._halving(fmt, self.halved_to)
        return ""

    def _halving(self, fmt: PixelFormat, lowest: int) -> str:
        levels = 0
        while max(fmt.rows, fmt.columns) > lowest << levels:
            levels += 1
        if levels <= _ALWAYS_HALVED or min(fmt.rows, fmt.columns) >> levels:
            return ""
        return f"{fmt.rows}x{fmt.columns} is too thin to be halved until no side is above {lowest}"


class Needs(Record):
    """The library that a row needs: what pip installs, and what it is called when it is imported, its lightest module.

    `since` is the version of it from which on the row works, if not any, `before` that which made the row needless.
    """

    package: str
    module: str
    since: str = ""
    before: str = ""

    def is_installed(self) -> bool:
        """Tell whether the library is installed, without importing it."""
        from importlib.util import find_spec

        try:
            return find_spec(self.module) is not None
        except (ImportError, ValueError):
            return False

    def version(self) -> str | None:
        """Return the version of the library, which is imported; None if it is not installed."""
        try:
            module = importlib.import_module(self.module)
        except ImportError:
            return None
        found = getattr(module, "__version__", None)
        return found if isinstance(found, str) else version_of(self.package)


def version_of(distribution: str) -> str | None:
    """Return the version of what is installed under this name; None if nothing is."""
    from importlib import metadata

    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _numbers(text: str) -> tuple[int, ...]:
    """Return the first three numbers of a version: no library here says more by the rest."""
    import re

    return tuple(int(number) for number in re.findall(r"\d+", text)[:3])


class Row(Record):
    """One backend in one direction.

    `syntaxes` are the UIDs that it codes, `backend` the name that --decoder or --encoder gives it, `call` the codec:
    `module:function` or `module:Class` (`dcmtx.codec.registry` says what either is called with). `needs` is the library
    behind it, if there is one. `runs` says where it codes, `batch` how many frames at once it codes best. `lossy` tells
    whether it loses (an encoder does or does not), `options` names the coding parameters that it takes.
    `distribution` is what the row came with; `Registry.add` fills it in.
    """

    syntaxes: tuple[str, ...]
    backend: str
    call: str
    needs: Needs | None = None
    limits: Limits = Limits()
    runs: Runs = Runs.THREADS
    batch: int = 1
    lossy: bool = False
    options: frozenset[str] = frozenset()
    distribution: str = OWN

    @property
    def package(self) -> str:
        """What pip installs for the row: its library, or what it came with."""
        return self.needs.package if self.needs is not None else self.distribution

    @property
    def native(self) -> bool:
        """Tell whether somebody else's code codes, not dcmtx itself."""
        return self.needs is not None or self.distribution != OWN

    def identity(self) -> str:
        """Return what codes: the backend, with the version of its library and of what else it came with."""
        versions = {self.distribution: version_of(self.distribution)} if self.distribution != OWN else {}
        if self.needs is not None:
            versions[self.needs.package] = self.needs.version()
        return " ".join([self.backend, *(f"{name}-{found}" for name, found in versions.items() if found)])

    def is_installed(self) -> bool:
        """Tell whether the library of the row is installed, without importing it."""
        return self.needs is None or self.needs.is_installed()

    def too_old(self) -> str:
        """Return that the library at hand is older than the row needs, or an empty string.

        The library is imported for that. One that is missing is not too old: `Registry.make` says what to install.
        """
        needs = self.needs
        found = needs.version() if needs is not None and needs.since else None
        if needs is None or found is None or _numbers(found) >= _numbers(needs.since):
            return ""
        return f"needs {needs.package} {needs.since}, and {found} is installed"

    def superseded(self) -> bool:
        """Tell whether the library at hand, which is imported for that, is so new that another row takes its place."""
        needs = self.needs
        found = needs.version() if needs is not None and needs.before else None
        return needs is not None and found is not None and _numbers(found) >= _numbers(needs.before)

    def at_hand(self) -> bool:
        """Tell whether the row is for the version of the library at hand, if there is one."""
        return not self.too_old() and not self.superseded()

    def objection(self, fmt: PixelFormat, quality: EncodingParameters) -> str:
        """Return why this row cannot code the format as asked, or an empty string."""
        missing = sorted(quality.asked() - self.options)
        if missing:
            return f"has no {', '.join(option_name(name) for name in missing)}"
        return self.limits.reason(fmt)
