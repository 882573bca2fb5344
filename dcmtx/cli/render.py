"""`dcmtx render`."""

from __future__ import annotations

from typing import Any

import click

from dcmtx.cli import SETTINGS
from dcmtx.errors import ExitStatus, UsageError


@click.command(options_metavar="[OPTIONS]", context_settings=SETTINGS)
@click.argument("file", metavar="FILE")
@click.argument("out", metavar="OUT.png")
@click.option("--frame", type=click.IntRange(1), default=1, show_default=True, metavar="N", help="The frame.")
@click.option("--size", type=click.IntRange(1), metavar="N", help="At most so many pixels for the longer side.")
@click.option("--bits", type=click.Choice(["8", "16"]), default="8", show_default=True, help="Bits of a sample.")
def render(file: str, out: str, frame: int, size: int | None, bits: str) -> int:
    """Make a picture of one frame, a PNG file.

    FILE may be `-`; OUT.png may be `-`, which is standard output. Grey pixels go through the modality transform and
    the first window of the data set, or of the frame, or through its VOI LUT; where there is none, from their least to
    their greatest value. A palette is applied, YBR becomes RGB. With --size, JPEG 2000 and HTJ2K are decoded at a lower
    resolution where the library at hand can, and what is still larger is made smaller by means of pixels.

    It is a picture to look at, for a report or a web page, not for a diagnosis.

    \b
    dcmtx render ct.dcm ct.png
    dcmtx render us.dcm frame7.png --frame 7 --size 256
    dcmtx render mg.dcm - --bits 16 > mg.png
    """
    from dcmtx.cli.pictures import check_picture
    from dcmtx.place.places import is_same, open_sink

    if is_same(file, out) and out != "-":
        raise UsageError(f"{out} is FILE itself")
    if out != "-":
        check_picture(out, "OUT.png", "png")
    from dcmtx.cli.isolated import isolated

    def run() -> int:
        from dcmtx.inspect.render import render as rendered

        data = rendered(file, frame=frame, size=size, bits=int(bits))
        with open_sink(out, out) as sink:
            sink.write(data)
            sink.commit()
        return ExitStatus.OK

    return isolated(run, file)


__all__: list[Any] = ["render"]
