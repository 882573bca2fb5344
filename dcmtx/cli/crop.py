"""`dcmtx crop`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from dcmtx.cli import SETTINGS
from dcmtx.cli.options import (
    WORDS,
    WithBareOptions,
    chosen_target,
    named_options,
    policy_options,
    target_options,
    told_options,
)
from dcmtx.cli.work import carry_out
from dcmtx.options import Group

if TYPE_CHECKING:
    from dcmtx.transcoding.job import Job


@click.command(cls=WithBareOptions, options_metavar="[OPTIONS]", context_settings=SETTINGS)
@click.argument("paths", metavar="SRC... DST", nargs=-1)
@click.option(
    "--rows", metavar="A:B", help="Rows A up to B, counted from 0; B is not kept. Without A or B, to the border."
)
@click.option("--columns", metavar="C:D", help="Columns C up to D, in the same way.")
@click.option("--frames", metavar="E:F", help="Frames E up to F, in the same way.")
@click.option(
    "--keep-private",
    is_flag=True,
    help="Keep private elements, though what they say of places may be untrue of the part.",
)
@target_options
@policy_options(Group.LOSS, Group.CODING)
@named_options(
    "offset_table",
    "fragment_size",
    "overlays",
    "signatures",
    "unused_bits",
    "one_bit",
    "word_order",
    "verify",
    "cross_check",
    "decoder",
    "encoder",
    "device",
    "clobber",
    "sync",
    "workers",
    "memory",
    "dry_run",
    "resume",
    "fail_fast",
    "timeout",
    "isolate",
)
@told_options
def crop(paths: tuple[str, ...], to: str | None, **options: Any) -> int:
    """Keep a part of an image: rows, columns, frames.

    The part is a derived image, in a new series of the same study: with UIDs made from those of the source and the
    part, so that the same command gives the same UIDs. What is said in pixels or of frames is that of the part:
    positions in the patient, overlays, shutters, collimators, regions of ultrasound, vectors, functional groups and
    their indices.
    Smallest and largest pixel values, histograms, icons, curves and fields of view are left out, and private elements
    too, unless --keep-private is given. Whole slide images, tiled ones and mosaics are refused.

    Without --to, the transfer syntax stays, or becomes its lossless relative: what was lossy is not coded with loss
    again unless --to and --lossy ask for it. Where only frames are taken, their codestreams are copied.

    SRC and DST are those of `dcmtx convert`, and so are the exit statuses; but DST is not SRC. Of a directory, each
    image is cropped alike, and each series becomes one new series.

    \b
    dcmtx crop ct.dcm part.dcm --rows 100:356 --columns 64:448
    dcmtx crop series cropped --rows 100:356 --columns 64:448 --to jpegls
    dcmtx crop cine.dcm second.dcm --frames 30:60
    """
    ranges = {name: options.pop(name) for name in ("rows", "columns", "frames", "keep_private")}
    words = {name: options.pop(name) for name in (f"word_{word.option}" for word in WORDS)}
    target = chosen_target(to, words) if to is not None or any(words.values()) else None

    def make(src: str, dst: str, **more: Any) -> Job:
        from dcmtx.series.crop import crop_job

        return crop_job(src, dst, to=target, **ranges, **more)

    return carry_out(paths, options, make)
