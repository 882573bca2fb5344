"""`dcmtx rewrap`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from dcmtx.cli import SETTINGS
from dcmtx.cli.options import named_options, told_options
from dcmtx.cli.work import carry_out

if TYPE_CHECKING:
    from dcmtx.transcoding.job import Job


@click.command(options_metavar="[OPTIONS]", context_settings=SETTINGS)
@click.argument("paths", metavar="SRC... DST", nargs=-1)
@click.option(
    "--relabel",
    metavar="SYNTAX",
    help="Name another transfer syntax, under which the very same codestreams are legal.",
)
@named_options(
    "offset_table",
    "fragment_size",
    "icon",
    "clobber",
    "workers",
    "memory",
    "dry_run",
    "resume",
    "fail_fast",
    "timeout",
    "isolate",
)
@told_options
def rewrap(paths: tuple[str, ...], **options: Any) -> int:
    """Wrap codestreams anew, without decoding any.

    Fragments, offset tables and File Meta Information are made anew: fragments are joined to one for each frame, or
    split, tables are true, what stands behind a codestream or in boxes around it goes, and padding is as the standard
    has it. Lengths of groups, which are retired, go. A loss that the data set does not declare is declared. Codestreams
    stay what they are, bit for bit.

    SRC and DST are those of `dcmtx convert`, and so are the exit statuses.

    With --relabel the file names another transfer syntax. Each codestream is read as far as its header, and refused if
    the other syntax does not hold it: reversible JPEG2000 as j2k-lossless and HTJ2K as htj2k-lossless, with RPCL and
    TLM as htj2k-rpcl; jpeg-lossless-p14 of predictor 1 as jpeg-lossless; jpegls-near of NEAR 0 as jpegls-lossless;
    reversible JPEGXL as jpegxl-lossless; jpeg-baseline as jpeg-extended; and each of these the other way. Icons that
    are compressed are converted to the new syntax.

    \b
    dcmtx rewrap odd.dcm good.dcm
    dcmtx rewrap archive fixed --offset-table extended
    dcmtx rewrap j2k.dcm lossless.dcm --relabel j2k-lossless
    dcmtx rewrap j2k.dcm split.dcm --fragment-size 65536
    """
    relabel = options.pop("relabel")

    def make(src: str, dst: str, **more: Any) -> Job:
        from dcmtx.inspect.rewrap import rewrap_job

        return rewrap_job(src, dst, relabel=relabel, **more)

    return carry_out(paths, options, make)
