"""Counts the results of a batch, and determines its exit status."""

from __future__ import annotations

from dcmtx.batch.convert import Done
from dcmtx.errors import DcmtxError, ExitStatus
from dcmtx.transcoding.job import Status


class Summary:
    """Counts the results of a batch, and determines its exit status."""

    def __init__(self) -> None:
        self.counts = dict.fromkeys(Status, 0)
        self.skipped: dict[str, int] = {}
        self.refused: dict[str, int] = {}
        self.failed = 0
        self.last_error: DcmtxError | None = None
        self.bytes_in = 0
        self.bytes_out = 0
        self.references = 0

    def add(self, done: Done) -> None:
        """Count a file."""
        if done.references:
            self.references += done.references
        elif done.error is not None:
            self.last_error = done.error
            if done.error.status in (ExitStatus.UNSUPPORTED, ExitStatus.REFUSED):
                self.refused[done.error.code] = self.refused.get(done.error.code, 0) + 1
            else:
                self.failed += 1
        elif done.outcome is None:
            self.skipped[done.skip] = self.skipped.get(done.skip, 0) + 1
        else:
            self.counts[done.outcome.status] += 1
            if done.outcome.status is Status.CONVERTED:
                self.bytes_in += done.outcome.bytes_in
                self.bytes_out += done.outcome.bytes_out

    @property
    def faults(self) -> int:
        """How many files failed or were refused."""
        return self.failed + sum(self.refused.values())

    @property
    def files(self) -> int:
        """How many files there were."""
        return sum(self.counts.values()) + sum(self.skipped.values()) + self.faults

    @property
    def status(self) -> ExitStatus:
        """The exit status: 9 if any file failed or was refused; skipped ones do not count."""
        return ExitStatus.SEVERAL if self.faults else ExitStatus.OK
