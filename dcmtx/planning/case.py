"""One file and one request: the input of every planning rule."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dcmtx.dataset.header import Header
from dcmtx.errors import InputError
from dcmtx.pixel.codestream import Codestream
from dcmtx.pixel.format import PixelFormat
from dcmtx.planning.request import Request
from dcmtx.record import Record
from dcmtx.rules import image
from dcmtx.syntax import JPEG_BASELINE, JPEG_RECOMPRESSION, Loss, Syntax

if TYPE_CHECKING:
    from dcmtx.planning.inputs import DataSet, Frames


class Contents(Record):
    """What the codestreams declare: the header of the first, and of the first one that is lossy.

    `has_lost` is also true where only the data set declares a loss.
    """

    stream: Codestream | None = None
    lost: Codestream | None = None
    has_lost: bool = False


def look_inside(header: Header, frames: Frames, request: Request) -> Contents:
    """Return what the codestreams declare, as far as the plan depends on it.

    If the data set already declares a loss and the request adds none, the frames are not searched for one.

    Raises InputError where codestreams contradict the data set: the file is then damaged, whatever the request.
    """
    if not frames.encapsulated:
        return Contents()
    frames.check()
    stream = frames.first_stream()
    declared = header.text(image.LOSSY_IMAGE_COMPRESSION) == "01" and not request.parameters.lossy
    if stream is None or (declared and stream.reversible):
        return Contents(stream)
    lost = frames.find_lost(stream)
    has_lost = lost is not None
    if request.parameters.lossy and not has_lost:
        from dcmtx.rules.lossy import tells_of

        has_lost = tells_of(header, stream)
    return Contents(stream, lost, has_lost)


class Case:
    """One file and one target syntax: the input of every rule.

    `source` is the syntax of the file. `stream`, `lost` and `has_lost` are those of its Contents. `quality` has the
    parameters for the encoder, and `irreversible` tells whether they lose information; `consents` tells that the user
    allowed loss. `asked` has the names of the parameters that the user set. `cut` is the part of the image that is
    kept, resolved, or None.
    """

    __slots__ = (
        "asked", "backend", "consents", "cut", "frames", "has_lost", "header", "irreversible", "lost", "policy",
        "quality", "source", "stream", "target",
    )  # fmt: skip

    def __init__(
        self, dataset: DataSet, frames: Frames, contents: Contents, *, target: Syntax, request: Request
    ) -> None:
        self.source = dataset.syntax
        self.header = dataset.header
        self.frames = frames
        self.stream, self.lost, self.has_lost = contents.stream, contents.lost, contents.has_lost
        self.target = target
        self.policy = request.policy
        self.backend = request.backend
        self.cut = request.cut
        quality = request.parameters
        self.asked = quality.asked()
        self.consents = quality.lossy or request.rounds
        # NEAR 0 loses nothing. Consent for colours that are rounded may go with a target that loses nothing.
        self.irreversible = quality.lossy and quality.near != 0 and target.loss in (Loss.LOSSY, Loss.BOTH)
        self.quality = quality if self.irreversible else quality.replace(lossy=False, near=None)

    @property
    def restores_jpeg(self) -> bool:
        """Whether JPEG streams are restored from JPEG XL recompression."""
        return self.source is JPEG_RECOMPRESSION and self.target is JPEG_BASELINE

    def cropped(self, fmt: PixelFormat) -> PixelFormat:
        """Return the format of the part of the image that is asked for."""
        return fmt if self.cut is None else fmt.replace(rows=self.cut.rows, columns=self.cut.columns)

    def declared(self) -> PixelFormat:
        """Return the format of the pixels. Raises InputError where the data set does not describe it."""
        if self.frames.format is None:
            raise self.frames.fault or InputError("its pixels are not described", code="E_INCONSISTENT")
        return self.frames.format
