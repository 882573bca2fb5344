"""What many files are: a row per transfer syntax, and findings grouped by code. Its memory does not grow with files."""

from __future__ import annotations

from collections.abc import Iterator

from dcmtx.errors import DcmtxError
from dcmtx.finding import Finding, Severity
from dcmtx.inspect.info import Info, look
from dcmtx.inspect.isolated import look_decoding, prepare
from dcmtx.place.below import walk_below

_EXAMPLES = 3
_ORDER = [Severity.ERROR, Severity.WARNING, Severity.NOTE]


class Row:
    """The files of one transfer syntax. `stored` and `coded` are bytes, of those that are compressed."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.files = self.frames = self.size = self.coded = self.findings = 0
        self.stored = 0.0

    def add(self, info: Info) -> None:
        """Count a file."""
        self.files += 1
        self.size += info.size
        self.findings += len(info.findings)
        if info.format is not None and info.pixel is not None:
            self.frames += info.format.frames
        if info.ratio is not None and info.format is not None:
            self.coded += info.coded_bytes
            self.stored += info.format.stored_bytes

    @property
    def ratio(self) -> float | None:
        """How many times smaller the pixels are than their Bits Stored; None where none are compressed."""
        return self.stored / self.coded if self.coded else None


class Group:
    """The findings of one code: one of them, how many files have it, and the first of these."""

    def __init__(self, finding: Finding) -> None:
        self.finding = finding
        self.files = 0
        self.paths: list[str] = []

    def add(self, path: str) -> None:
        """Count a file."""
        self.files += 1
        if len(self.paths) < _EXAMPLES:
            self.paths.append(path)


class Summary:
    """The files of a directory."""

    def __init__(self) -> None:
        self.rows: dict[str, Row] = {}
        self.skipped = 0
        self._groups: dict[str, Group] = {}

    def add(self, info: Info) -> None:
        """Count a file."""
        name = info.syntax.label if info.syntax else info.meta.syntax or "unknown"
        self.rows.setdefault(name, Row(name)).add(info)
        told: set[str] = set()
        for finding in info.findings:
            if finding.code not in told:
                told.add(finding.code)
                self._groups.setdefault(finding.code, Group(finding)).add(info.path)

    @property
    def table(self) -> list[Row]:
        """The rows, most files first."""
        return sorted(self.rows.values(), key=lambda row: (-row.files, row.name))

    @property
    def groups(self) -> list[Group]:
        """The groups, the most severe first, then those of most files."""
        return sorted(
            self._groups.values(),
            key=lambda group: (_ORDER.index(group.finding.severity), -group.files, group.finding.code),
        )


def look_below(path: str, *, decode: bool = False) -> Iterator[Info | DcmtxError]:
    """Yield what each file below a directory is, or the error of one that cannot be read or is not DICOM.

    A directory that cannot be read is an error too.
    """
    if decode:
        prepare()
    for below in walk_below(path):
        if below.skip:
            continue
        try:
            if below.fault is not None:
                raise below.fault
            yield look_decoding(below.path) if decode else look(below.path)
        except DcmtxError as error:
            yield error
