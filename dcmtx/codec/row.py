"""One row of a registry: a backend in one direction, as strings. Libraries are imported only when they are needed."""

from __future__ import annotations

import sys
import time
from enum import Enum
from functools import cache
from typing import TYPE_CHECKING, Any

from dcmtx.options import option_name
from dcmtx.pixel.format import PixelFormat
from dcmtx.policy import EncodingParameters
from dcmtx.record import Record

if TYPE_CHECKING:
    from dcmtx.codec.layout import Layout

# The distribution of the rows in dcmtx's own tables.
OWN = "dcmtx"
# How many times an image is halved whatever its size.
_ALWAYS_HALVED = 5
# The longer side that HTJ2K images are halved down to (PS3.5 10.18).
_HALVED_TO = 64


class Runs(Enum):
    """Where the codec of a row runs, so that several frames are coded at once."""

    THREADS = "threads"  # it lets other threads run while it codes
    PROCESSES = "processes"  # it keeps the interpreter lock: one thread at a time; frames go to processes
    DEVICE = "device"  # one thread owns the codec and whatever it holds; the frames come to it in batches


class Limits(Record):
    """The formats that a row can code. `stored` and `allocated` are ranges of bits, ends included.

    `signed` are the bits of signed samples, where they differ. `halved_to` is the size in pixels that the longer side
    must be halved down to. More than five halvings are possible only while the shorter side keeps at least one pixel.
    `tile_parts` is how many parts all tiles may have together.
    """

    stored: tuple[int, int] = (1, 16)
    signed: tuple[int, int] | None = None
    allocated: tuple[int, int] = (8, 16)
    samples: tuple[int, ...] = (1, 3)
    only_stored: tuple[int, ...] = ()
    smallest_side: int = 1
    halved_to: int | None = None
    tile_parts: int | None = None

    def reason(self, fmt: PixelFormat) -> str:
        """Return why this format exceeds the limits, or an empty string."""
        if fmt.samples not in self.samples:
            return f"Samples per Pixel {fmt.samples}"
        if fmt.signed and self.signed and not self.signed[0] <= fmt.stored <= self.signed[1]:
            return f"Bits Stored {fmt.stored} of signed samples is not {self.signed[0]} to {self.signed[1]}"
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

    def division(self, fmt: PixelFormat, parameters: EncodingParameters) -> str:
        """Return why tiles and their parts exceed the limits, or an empty string."""
        if self.tile_parts is None or parameters.tile is None:
            return ""
        parts = -(-fmt.rows // parameters.tile) * -(-fmt.columns // parameters.tile)
        if parameters.tile_parts == "resolution":
            parts *= parameters.resolutions or _levels(fmt, _HALVED_TO) + 1
        return f"{parts} parts of tiles are more than {self.tile_parts}" if parts > self.tile_parts else ""

    def _halving(self, fmt: PixelFormat, lowest: int) -> str:
        levels = _levels(fmt, lowest)
        if levels == _ALWAYS_HALVED or min(fmt.rows, fmt.columns) >> levels:
            return ""
        return f"{fmt.rows}x{fmt.columns} is too thin to be halved until no side is above {lowest}"


def _levels(fmt: PixelFormat, lowest: int) -> int:
    """Return how many times an image is halved until no side is longer than `lowest`, and always."""
    levels = _ALWAYS_HALVED
    while max(fmt.rows, fmt.columns) > lowest << levels:
        levels += 1
    return levels


class Needs(Record):
    """The library that a row needs: the `package` that pip installs, and the lightest `module` to import.

    `since` is the first version that works with the row, empty for any. `before` is the version that made the row
    obsolete. Where an `optional` library is not installed, the row is passed over unless it is asked for by name.
    `extra` is the extra of dcmtx that installs it and all that it needs, if there is one. `apart` are other packages
    with the same module: processes that convert never import such a library, only one that owns a device does.
    """

    package: str
    module: str
    since: str = ""
    before: str = ""
    optional: bool = False
    extra: str = ""
    apart: tuple[str, ...] = ()

    def is_installed(self) -> bool:
        """Tell whether the library is installed, without importing it."""
        if self.module in sys.modules:
            return sys.modules[self.module] is not None
        return _is_found(self.module, (*sys.path, *map(id, sys.meta_path)))

    @property
    def install(self) -> str:
        """What pip is told to install."""
        return f"{OWN}[{self.extra}]" if self.extra else self.package

    def load(self) -> None:
        """Import the library, or see that it is there if it is kept apart. Raises ImportError."""
        if not self.apart:
            loaded(self.module)
        elif not self.is_installed():
            raise ImportError(f"No module named {self.module!r}")

    def version(self) -> str | None:
        """Import the library, unless it is kept apart, and return its version; None if it is not installed."""
        if self.apart:
            return next(filter(None, map(version_of, (self.package, *self.apart))), None)
        try:
            module = loaded(self.module)
        except ImportError:
            return None
        found = getattr(module, "__version__", None)
        return found if isinstance(found, str) else version_of(self.package)


# What searches found, by module: when and where, and whether it is there.
_searches: dict[str, tuple[float, tuple[object, ...], bool]] = {}
# Seconds for which what was not found is not looked for again: somebody may install it meanwhile.
_ABSENT = 1.0


def _is_found(module: str, where: tuple[object, ...]) -> bool:
    """Tell whether there is a module. A search takes longer than all else that is asked of a row."""
    now = time.monotonic()
    then, there, found = _searches.get(module, (now, (), False))
    if there != where or (not found and now - then >= _ABSENT):
        found = _find(module)
        _searches[module] = now, where, found
    return found


def _find(module: str) -> bool:
    from importlib.util import find_spec

    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def loaded(module: str) -> Any:
    """Return a module, imported if need be: as `importlib.import_module` does, but in a tenth of the time if not."""
    __import__(module)
    return sys.modules[module]


def version_of(distribution: str) -> str | None:
    """Return the installed version of a distribution; None if it is not installed."""
    from importlib import metadata

    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


@cache
def _numbers(text: str) -> tuple[int, ...]:
    """Return the first three numbers of a version; no library here needs more."""
    import re

    return tuple(int(number) for number in re.findall(r"\d+", text)[:3])


class Row(Record):
    """One backend in one direction.

    `syntaxes` are the UIDs that it codes, `backend` its name for --decoder or --encoder, `call` the codec:
    `module:function` or `module:Class` (`dcmtx.codec.registry` describes the arguments of both). `needs` is the library
    that it uses, if any. `runs` tells where it codes, `batch` the best number of frames at once, `batch_bytes` the most
    bytes of their samples, if there is a limit. `lossy` tells whether an encoder loses data, `options` names the coding
    parameters that it takes, `layout` the Layout that limits those, as `module:name`. A row that is `named_only` is
    used only if it is named, or its device.
    `core` names the library whose code does the work, where that is not what the backend is called. `spreads` says that
    its function takes `threads`, over which it spreads the work on one frame. Of an encoder, `judge` is the decoder, by
    backend, that judges what it wrote, the first decoder if empty; `checkers` are decoders that are faster, preferred
    first, which check the frames that the judge need not see.
    `distribution` is the distribution of the row; `Registry.add` fills it in.
    """

    syntaxes: tuple[str, ...]
    backend: str
    call: str
    needs: Needs | None = None
    limits: Limits = Limits()
    runs: Runs = Runs.THREADS
    batch: int = 1
    batch_bytes: int | None = None
    lossy: bool = False
    options: frozenset[str] = frozenset()
    layout: str = ""
    named_only: bool = False
    core: str = ""
    spreads: bool = False
    judge: str = ""
    checkers: tuple[str, ...] = ()
    distribution: str = OWN

    @property
    def library(self) -> str:
        """The name of the library whose code does the work: two backends may have the same."""
        return self.core or self.backend

    @property
    def full_name(self) -> str:
        """The name of the backend, with that of its library where it is another."""
        return self.backend if self.library == self.backend else f"{self.backend} ({self.library})"

    @property
    def package(self) -> str:
        """The package that pip installs for the row: its library, or its distribution."""
        return self.needs.package if self.needs is not None else self.distribution

    @property
    def install(self) -> str:
        """What pip is told to install for the row."""
        return self.needs.install if self.needs is not None else self.distribution

    def together(self, fmt: PixelFormat) -> int:
        """Return how many frames of a format are best coded at once."""
        if self.batch_bytes is None:
            return self.batch
        return max(min(self.batch, self.batch_bytes // max(fmt.pixels * fmt.samples * fmt.word_bytes, 1)), 1)

    @property
    def native(self) -> bool:
        """Whether third-party code does the coding, not dcmtx itself."""
        return self.needs is not None or self.distribution != OWN

    def identity(self) -> str:
        """Return the backend with the versions of its library and its distribution."""
        versions = {self.distribution: version_of(self.distribution)} if self.distribution != OWN else {}
        if self.needs is not None:
            versions[self.needs.package] = self.needs.version()
        return " ".join([self.backend, *(f"{name}-{found}" for name, found in versions.items() if found)])

    def is_installed(self) -> bool:
        """Tell whether the library of the row is installed, without importing it."""
        return self.needs is None or self.needs.is_installed()

    def is_left_out(self) -> bool:
        """Tell whether the row does not count here, because its library is optional and not installed."""
        return self.needs is not None and self.needs.optional and not self.needs.is_installed()

    def too_old(self) -> str:
        """Return a message if the installed library is older than the row needs, or an empty string.

        The library is imported for that. A missing library is not too old: `Registry.load` names what to install.
        """
        needs = self.needs
        found = needs.version() if needs is not None and needs.since else None
        if needs is None or found is None or _numbers(found) >= _numbers(needs.since):
            return ""
        return f"needs {needs.package} {needs.since}, and {found} is installed"

    def superseded(self) -> bool:
        """Import the library and tell whether it is so new that another row replaces this one."""
        needs = self.needs
        found = needs.version() if needs is not None and needs.before else None
        return needs is not None and found is not None and _numbers(found) >= _numbers(needs.before)

    def at_hand(self) -> bool:
        """Tell whether the row fits the installed version of the library, if there is one."""
        return not self.too_old() and not self.superseded()

    def objection(self, fmt: PixelFormat, quality: EncodingParameters) -> str:
        """Return why this row cannot code the format as requested, or an empty string."""
        missing = sorted(quality.asked() - self.options)
        if missing:
            return f"has no {', '.join(option_name(name) for name in missing)}"
        reason = self.limits.reason(fmt) or self.limits.division(fmt, quality)
        if reason or not self.layout:
            return reason
        module, _, name = self.layout.partition(":")
        layout: Layout = getattr(loaded(module), name)
        return layout.reason(fmt, quality)
