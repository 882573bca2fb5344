"""`dcmtx split`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import click

from dcmtx.cli import SETTINGS
from dcmtx.cli.options import WithBareOptions
from dcmtx.cli.series import carry_out, series_options

if TYPE_CHECKING:
    from dcmtx.errors import DcmtxError
    from dcmtx.planning.request import Target
    from dcmtx.transcoding.job import Job, Outcome


@click.command(cls=WithBareOptions, options_metavar="[OPTIONS]", context_settings=SETTINGS)
@click.argument("paths", metavar="SRC... OUTDIR", nargs=-1)
@click.option("--frames", metavar="LIST", help="Only these frames, from 1: numbers and ranges, such as 1,5-9.")
@click.option("--same-class", is_flag=True, help="Instances of the same class with one frame each, of any class.")
@click.option(
    "--uid", "kept", type=click.Choice(["auto", "keep", "new"]), default="auto", show_default=True,
    help="SOP Instance UIDs of frames that were instances once: the old ones if nothing has changed, always, or never.",
)  # fmt: skip
@series_options
def split(paths: tuple[str, ...], to: str | None, **options: Any) -> int:
    """Make single frames of multi-frame instances.

    SRC are files and directories. Every frame becomes a file in OUTDIR, named by its SOP Instance UID. If a directory
    or a link in it cannot be read, nothing is made.

    A Legacy Converted Enhanced instance that dcmtx made gives back the very data sets that it was made of, with
    their UIDs: a digest of each proves it. Frames that have changed since, and frames of other instances, get new
    UIDs and say what they were converted from; with --verify strict they fail. Frames of enhanced CT, MR, PET, XA
    and XRF become classic images, frames of ultrasound and secondary captures single-frame images, frames of XA,
    XRF, NM, RT Image and RT Dose images of their class. Others are split with --same-class.

    Codestreams are copied unless a target is named.

    \b
    dcmtx split volume.dcm series
    dcmtx split volume.dcm series --to jpegls
    dcmtx split us.dcm frames --frames 1,5-9
    dcmtx split wsi.dcm tiles --same-class
    """
    from dcmtx.policy import Uid
    from dcmtx.series.split import Choices, frames_asked
    from dcmtx.series.split import split as make_frames

    frames = options.pop("frames")
    choices = Choices(
        None if frames is None else frames_asked(frames),
        same_class=options.pop("same_class"),
        uid=Uid(options.pop("kept")),
        strict=options["verify"] == "strict",
    )

    def make(job: Job, target: Target | None, watch: Callable[[int, int], None]) -> Iterator[Outcome | DcmtxError]:
        return make_frames(paths[:-1], paths[-1], job, choices, target=target, watch=watch)

    return carry_out(paths, to, options, make)
