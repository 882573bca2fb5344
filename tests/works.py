"""Work for the engine that is made of a function of one frame."""

from __future__ import annotations

from collections.abc import Callable

from dcmtx.errors import DcmtxError
from dcmtx.transcoding.encoded import EncodedFrame


class Each:
    """Does something to each frame; notes what it was given together, and whether it was closed."""

    def __init__(self, function: Callable[[int], EncodedFrame], *, batch: int = 1) -> None:
        self.batch = batch
        self.processes = False
        self.given: list[list[int]] = []
        self.closed = 0
        self._function = function

    def code(self, numbers: list[int]) -> list[EncodedFrame | DcmtxError]:
        """Return what the function makes of each frame, or the error that it raises."""
        self.given.append(numbers)
        results: list[EncodedFrame | DcmtxError] = []
        for number in numbers:
            try:
                results.append(self._function(number))
            except DcmtxError as error:
                results.append(error)
        return results

    def warm(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Note it."""
        self.closed += 1
