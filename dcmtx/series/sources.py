"""The sources of a series, as few bytes each: there may be many thousands."""

from __future__ import annotations

from array import array
from collections.abc import Iterator

from dcmtx.record import Record
from dcmtx.syntax import Syntax

_OFFSET, _NUMBER = "Q", "q"


class Source(Record):
    """One source: where its pixels are. `value` and `length` say where native ones lie, else `value` is -1.

    `vr` is that of Pixel Data in Explicit VR Little Endian, `stored` is Bits Stored, and `raised` says that the
    instance has more. `lossy` says that its codestream is.
    """

    path: str
    instance: str
    syntax: Syntax
    vr: bytes = b"OW"
    value: int = -1
    length: int = 0
    size: int = 0
    lossy: bool = False
    stored: int = 16
    raised: bool = False


class Sources:
    """Sources by number, from 0. `target` is Bits Stored of the instance, once it is known."""

    def __init__(self) -> None:
        self.target: int | None = None
        self._paths: list[str] = []
        self._names = bytearray()
        self._ends = array(_OFFSET)
        self._numbers = array(_NUMBER)
        self._kinds: list[tuple[Syntax, bytes, bool, int]] = []
        self._kind_of = array("H")
        self._hashes: set[int] = set()

    def append(self, source: Source) -> None:
        """Add a source."""
        kind = (source.syntax, source.vr, source.lossy, source.stored)
        if kind not in self._kinds:
            self._kinds.append(kind)
        self._kind_of.append(self._kinds.index(kind))
        self._paths.append(source.path)
        self._names += source.instance.encode("latin-1")
        self._ends.append(len(self._names))
        self._numbers.extend((source.value, source.length, source.size))
        self._hashes.add(hash(source.instance))

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._paths)

    def __iter__(self) -> Iterator[Source]:
        """Yield them in order."""
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int) -> Source:
        """Return one."""
        syntax, vr, lossy, stored = self._kinds[self._kind_of[index]]
        value, length, size = self._numbers[3 * index : 3 * index + 3]
        return Source(
            self._paths[index],
            self.instance(index),
            syntax,
            vr=vr,
            value=value,
            length=length,
            size=size,
            lossy=lossy,
            stored=stored,
            raised=self.target is not None and stored != self.target,
        )

    def instance(self, index: int) -> str:
        """Return the SOP Instance UID of one."""
        start = self._ends[index - 1] if index else 0
        return self._names[start : self._ends[index]].decode("latin-1")

    def find(self, instance: str) -> str | None:
        """Return the path of the source of this SOP Instance UID; None where there is none."""
        if hash(instance) not in self._hashes:
            return None
        found = (index for index in range(len(self)) if self.instance(index) == instance)
        return next((self._paths[index] for index in found), None)

    def gathered(self) -> None:
        """End with finding: nothing is added any more."""
        self._hashes = set()

    @property
    def syntaxes(self) -> set[str]:
        """The UIDs of all transfer syntaxes."""
        return {syntax.uid for syntax, _, _, _ in self._kinds}

    @property
    def any_raised(self) -> bool:
        """Whether Bits Stored rises in any."""
        return self.target is not None and any(stored != self.target for _, _, _, stored in self._kinds)

    @property
    def size(self) -> int:
        """How many bytes the files have."""
        return sum(self._numbers[2::3])
