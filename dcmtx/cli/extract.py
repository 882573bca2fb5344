"""`dcmtx frames`."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, BinaryIO

import click

from dcmtx.cli import SETTINGS, say, shown, unwritten
from dcmtx.errors import ExitStatus, UsageError

if TYPE_CHECKING:
    from dcmtx.inspect.extract import Extracted

_FORMS = ("codestream", "png", "tiff", "npy")
_DIGITS = 4


@click.command(options_metavar="[OPTIONS]", context_settings=SETTINGS)
@click.argument("file", metavar="FILE")
@click.argument("out", metavar="OUTDIR")
@click.option("--frames", "chosen", metavar="LIST", help="Frames, counted from 1, like 1,5-9 or 7-. [default: all]")
@click.option(
    "--as", "form", type=click.Choice(_FORMS), default=_FORMS[0], show_default=True,
    help="The codestream as it is, or the decoded pixels.",
)  # fmt: skip
@click.option("-n", "--no-clobber", is_flag=True, help="Do not replace files that exist.")
@click.option("--quiet", is_flag=True, help="No notes, no summary.")
def frames(file: str, out: str, chosen: str | None, form: str, no_clobber: bool, quiet: bool) -> int:
    """Write frames as files of their own, as they are or decoded.

    They are OUTDIR/NAME-0001.jls and so on: NAME is that of FILE without its ending, the number that of the frame.
    With `-` for OUTDIR, they go to standard output, one behind the other. FILE may be `-`.

    Codestreams are not touched, but for padding behind their end, which goes. They are .jpg (JPEG, of every process),
    .jls (JPEG-LS), .j2c (JPEG 2000), .jph (HTJ2K, with the boxes that a JPH file has around its codestream), .jxl (JPEG
    XL), .rle, .deflate, and .raw for uncompressed pixels as the file has them. Colours that only the data set tells of
    are not in them: a JPEG of RGB without a marker that says so is taken for YCbCr by viewers.

    With --as, values are those of the data set, without window, palette or rescale; `dcmtx render` makes pictures to
    look at. npy is for NumPy (`numpy.load`), and has YBR_FULL as it is; in PNG and TIFF, that becomes RGB. PNG holds
    unsigned values of up to 16 bits. TIFF needs `pip install dcmtx[tiff]`.

    If a frame cannot be written, those before it stay.

    \b
    dcmtx frames us.dcm frames
    dcmtx frames ct.dcm arrays --as npy
    dcmtx frames us.dcm - --frames 5-9 | ffmpeg -f mjpeg -i - loop.mp4
    """
    if out != "-" and os.path.lexists(out) and not os.path.isdir(out):
        raise UsageError(f"{out} is no directory")
    from dcmtx.cli.isolated import isolated

    def run() -> int:
        count = _write(file, out, chosen, form, clobber=not no_clobber, quiet=quiet)
        if not quiet and out != "-":
            say(f"dcmtx: {shown(file)}: {count} frame{'s' * (count != 1)} in {shown(out)}")
        return ExitStatus.OK

    return isolated(run, file)


def _write(file: str, out: str, chosen: str | None, form: str, *, clobber: bool, quiet: bool) -> int:
    """Write the frames, and return how many."""
    from contextlib import closing

    from dcmtx.inspect.extract import Form, extract
    from dcmtx.place.places import is_same, open_sink

    name = "frame" if file == "-" else os.path.splitext(os.path.basename(file.rstrip("/")))[0] or "frame"
    stdout = sys.stdout.buffer if out == "-" else None
    if stdout is None:
        _check_source(file, out, name, chosen, form)
    count = 0
    with closing(extract(file, Form(form), chosen)) as found:
        for frame in found:
            count += 1
            if stdout is not None:
                _print(stdout, frame.data)
                continue
            target = os.path.join(out, _name(name, frame))
            if is_same(file, target):
                # Under a name in other capitals, where that is the same.
                raise UsageError(f"{target} is FILE itself", advice="name another directory")
            with open_sink(target, target, clobber=clobber, parents=True) as sink:
                sink.write(frame.data)
                sink.commit()
    return count


def _print(stdout: BinaryIO, data: bytes) -> None:
    try:
        stdout.write(data)
    except BrokenPipeError:
        # Whoever reads has enough.
        raise
    except OSError as error:
        raise unwritten(error) from error


def _name(name: str, frame: Extracted) -> str:
    return f"{name}-{frame.frame:0{_DIGITS}}.{frame.ending}"


def _check_source(file: str, out: str, name: str, chosen: str | None, form: str) -> None:
    """Raise UsageError where a frame would replace the source, before any is written."""
    from contextlib import closing

    from dcmtx.inspect.extract import Form, extract

    same = _names_of(file, out, f"{name}-")
    if not same:
        return
    # Hardly ever: which frames there are, and what their names end in, is known once they are read. By that name, for
    # standard input can be read once.
    path = os.path.join(out, min(same))
    with closing(extract(path, Form(form), chosen)) as found:
        for frame in found:
            if _name(name, frame) in same:
                target = os.path.join(out, _name(name, frame))
                raise UsageError(f"{target} is FILE itself", advice="name another directory")


def _names_of(file: str, directory: str, begins: str) -> set[str]:
    """Return the names in a directory that begin so and are the file, or what standard input comes from."""
    try:
        source = os.fstat(0) if file == "-" else os.stat(file)
        with os.scandir(directory) as entries:
            return {one.name for one in entries if one.name.startswith(begins) and _is(one, source)}
    except (OSError, ValueError):
        # Places in stores, and directories that are not there yet.
        return set()


def _is(entry: os.DirEntry[str], source: os.stat_result) -> bool:
    try:
        return os.path.samestat(entry.stat(), source)
    except OSError:
        return False
