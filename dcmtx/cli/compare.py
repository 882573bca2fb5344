"""`dcmtx compare`."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from dcmtx.cli import SETTINGS, error_line, printable, say, shown
from dcmtx.errors import CodecError, DcmtxError, ExitStatus, InputError, UsageError

if TYPE_CHECKING:
    from dcmtx.inspect.compare import Comparison
    from dcmtx.inspect.pairs import Pair

_EXIT = "\n".join([
    "\b", "Exit status:", "  0    equal, but for what conversions change", "  7    different",
    *(f"  {status.value:<3}  {status.description}" for status in (
        ExitStatus.USAGE, ExitStatus.INPUT, ExitStatus.UNSUPPORTED, ExitStatus.CODEC, ExitStatus.SEVERAL)),
])  # fmt: skip


@click.command(options_metavar="[OPTIONS]", context_settings=SETTINGS, epilog=_EXIT)
@click.argument("first", metavar="A")
@click.argument("second", metavar="B")
@click.option("--by", type=click.Choice(["path", "uid"]), default="path", show_default=True, help="What pairs files.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per pair on standard output.")
@click.option("--values", is_flag=True, help="Show the values of elements that differ; they may be a patient's.")
@click.option("--image", metavar="OUT.png", help="A picture of both frames and their difference; needs dcmtx[plot].")
@click.option("--frame", type=click.IntRange(1), metavar="N", help="The frame of the picture. [default: the worst]")
def compare(first: str, second: str, by: str, as_json: bool, values: bool, image: str | None, frame: int | None) -> int:
    """Compare two DICOM files, or two directories: their pixels and their data sets.

    Pixels are equal if they are after what the standard lets a conversion do: colour transforms, planes, signs, words
    and bits that hold no pixel. Of each frame that differs: how many samples, the largest and the mean error, PSNR,
    SSIM and the worst place. PSNR and SSIM are counted from Bits Stored. Data sets are compared by values, however they
    are encoded; elements that a conversion may change are told of apart, and make no difference.

    The files of two directories are paired by their paths below them, or by SOP Instance UID; a DICOM file without a
    partner is a difference, what is not DICOM is passed over. Directories, files and links that cannot be read fail.

    \b
    dcmtx compare ct.dcm ct-jls.dcm
    dcmtx compare us.dcm us-lossy.dcm --image loss.png
    dcmtx compare archive migrated --by uid --json
    """
    directories = [path != "-" and os.path.isdir(path) for path in (first, second)]
    if first == second == "-":
        raise UsageError("standard input can be one of two files only")
    if any(directories) and not all(directories):
        other = second if directories[0] else first
        if other != "-" and not os.path.lexists(other):
            raise InputError("there is no such directory", code="E_MISSING", path=other)
        raise UsageError(f"{first if directories[0] else second} is a directory, and the other is not")
    if image is not None and (all(directories) or "-" in (first, second)):
        raise UsageError("--image is for two files that have names")
    if image is not None:
        from dcmtx.cli.pictures import check_picture
        from dcmtx.place.places import is_same

        if is_same(first, image) or is_same(second, image):
            raise UsageError(f"{image} is one of the files")
        check_picture(image, "OUT.png", "png")
    if frame is not None and image is None:
        raise UsageError("--frame is for --image")
    show = _Json() if as_json else _Plain(values, of_files=not all(directories))
    if all(directories):
        return _directories(first, second, by, show)
    from dcmtx.cli.isolated import isolated
    from dcmtx.inspect.pairs import Pair

    pair = Pair(first, first, second)
    try:
        return isolated(partial(_one_pair, pair, show, image, frame), first)
    except CodecError as error:
        show.error(pair, error)
        return error.status


def _one_pair(pair: Pair, show: _Plain | _Json, image: str | None = None, frame: int | None = None) -> int:
    """Compare the files of a pair, and return the exit status; what cannot be compared is told."""
    from dcmtx.inspect.compare import compare as compared

    try:
        found = compared(pair.one, pair.other)
    except DcmtxError as error:
        show.error(pair, error)
        return error.status
    show.pair(found)
    if image is not None:
        _picture(pair.one, pair.other, found, image, frame)
    return ExitStatus.OK if found.equal else ExitStatus.VERIFY


def _picture(first: str, second: str, found: Comparison, out: str, frame: int | None) -> None:
    from dcmtx.inspect.picture import side_by_side
    from dcmtx.place.places import open_sink

    data = side_by_side(first, second, found, None if frame is None else frame - 1)
    with open_sink(out, out) as sink:
        sink.write(data)
        sink.commit()


def _directories(first: str, second: str, by: str, show: _Plain | _Json) -> int:
    """Compare all pairs, say how many there were, and return the exit status."""
    from dcmtx.cli.isolated import isolated
    from dcmtx.inspect import compare as _compare  # noqa: F401 - loaded for the children
    from dcmtx.inspect.isolated import prepare

    prepare()
    equal = different = failed = alone = 0
    for pair in _pairs(first, second, by):
        if pair.error is None and not (pair.one and pair.other):
            alone += 1
            show.lone(pair)
            continue
        try:
            if pair.error is not None:
                raise pair.error
            status = isolated(partial(_one_pair, pair, show), pair.one)
        except DcmtxError as error:
            failed += 1
            show.error(pair, error)
            continue
        if status == ExitStatus.OUTPUT:
            # Nobody would read of the others, and the line that says why is written.
            return status
        equal += status == ExitStatus.OK
        different += status == ExitStatus.VERIFY
        failed += status not in (ExitStatus.OK, ExitStatus.VERIFY)
    say(f"dcmtx: {equal} equal, {different} different, {alone} without a partner, {failed} failed")
    if failed:
        return ExitStatus.SEVERAL
    return ExitStatus.VERIFY if different or alone else ExitStatus.OK


def _pairs(first: str, second: str, by: str) -> Iterator[Pair]:
    from dcmtx.inspect import pairs

    return pairs.by_uid(first, second) if by == "uid" else pairs.by_path(first, second)


class _Json:
    """One JSON object per pair."""

    def pair(self, found: Comparison) -> None:
        """Write a comparison."""
        from dcmtx.inspect.told import as_record

        click.echo(json.dumps(as_record(found)))

    def lone(self, pair: Pair) -> None:
        """Write of a file without a partner."""
        from dcmtx.inspect.told import lone_record

        click.echo(json.dumps(lone_record(pair.one, pair.other)))

    def error(self, pair: Pair, error: DcmtxError) -> None:
        """Write of files that cannot be compared."""
        from dcmtx.inspect.told import error_record

        say(error_line(error))
        click.echo(json.dumps(error_record(pair.one, pair.other, error)))


class _Plain:
    """Lines of text; of directories, only what differs."""

    def __init__(self, values: bool, *, of_files: bool) -> None:
        self._values = values
        self._of_files = of_files

    def pair(self, found: Comparison) -> None:
        """Write a comparison."""
        from dcmtx.inspect.told import lines

        if found.equal and not self._of_files:
            return
        state = "equal" if found.equal else "different"
        click.echo(f"{shown(found.one)}, {shown(found.other)}: {state}")
        for label, text in lines(found, values=self._values):
            click.echo(f"  {label:<9} {printable(text)}")

    def lone(self, pair: Pair) -> None:
        """Write of a file without a partner."""
        click.echo(f"{shown(pair.one or pair.other)}: only in the {'first' if pair.one else 'second'}")

    def error(self, pair: Pair, error: DcmtxError) -> None:
        """Write of files that cannot be compared."""
        sys.stdout.flush()
        say(error_line(error))


__all__: list[Any] = ["compare"]
