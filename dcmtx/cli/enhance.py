"""`dcmtx enhance`."""

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

_GROUPS = ("series", "orientation", "time", "echo", "type")


@click.command(cls=WithBareOptions, options_metavar="[OPTIONS]", context_settings=SETTINGS)
@click.argument("paths", metavar="SRC... OUT", nargs=-1)
@click.option(
    "--group", type=click.Choice(_GROUPS), help="Make an instance of each in the directory OUT: of each series, and "
    "each orientation, time, echo time or Image Type in it."
)  # fmt: skip
@click.option("--mixed", is_flag=True, help="Planes of several orientations go into one instance, a stack of each.")
@click.option(
    "--study", metavar="DIR", multiple=True,
    help="Where the instances may be that the sources refer to: their series is told of as evidence.",
)  # fmt: skip
@click.option(
    "--overlays", "graphics", type=click.Choice(["refuse", "keep"]), default="refuse", show_default=True,
    help="Overlays, curves and annotations, which such instances do not have: fail, or keep them unassigned.",
)  # fmt: skip
@click.option(
    "--max-frames", metavar="N", type=click.IntRange(1, None),
    help="At most so many frames in an instance; several, of one new series, go into the directory OUT.",
)  # fmt: skip
@series_options
def enhance(paths: tuple[str, ...], to: str | None, **options: Any) -> int:
    """Make one enhanced multi-frame instance of a series.

    SRC are files and directories of single CT, MR or PET images; OUT is a file, and a directory with --group or
    --max-frames. What is made is a Legacy Converted Enhanced instance (PS3.4 C.3.5): every attribute of every image is
    in it, and `dcmtx split` gives back the very data sets.

    In a directory, what is empty or not DICOM is passed over, and a note counts it. If a directory, a link or a DICOM
    file in it cannot be read, nothing is made: a volume would lack it.

    Without a target, codestreams that all have one transfer syntax are copied, and everything else becomes explicit.
    With one, codestreams that are in it already are copied, and what is not is coded and verified as by
    `dcmtx convert`.

    Implicit VR has no room for the VRs of private elements, so what was written in it gives back images, and not the
    very data sets.

    Images must be of one patient, study, class, size and frame of reference, and have a place in space. Frames stand in
    the order of time, then stack, then place along the normal. A volume is told of only where planes are evenly spaced
    and not sheared by a tilted gantry. UIDs are derived from those of the sources: the same images always make the same
    instance, in whatever order they are named. What was one series becomes one new series, also in several instances.

    \b
    dcmtx enhance series volume.dcm
    dcmtx enhance series volume.dcm --to jpegls
    dcmtx enhance study enhanced --group series
    dcmtx enhance fmri volumes --group time --to htj2k
    """
    from dcmtx.series.enhance import enhance as make_instances
    from dcmtx.series.grouping import Choices, Graphics, GroupBy

    group = options.pop("group")
    choices = Choices(
        None if group is None else GroupBy(group),
        mixed=options.pop("mixed"),
        study=options.pop("study"),
        overlays=Graphics(options.pop("graphics")),
        max_frames=options.pop("max_frames"),
    )

    def make(job: Job, target: Target | None, watch: Callable[[int, int], None]) -> Iterator[Outcome | DcmtxError]:
        return make_instances(paths[:-1], paths[-1], job, choices, target=target, watch=watch)

    return carry_out(paths, to, options, make)
