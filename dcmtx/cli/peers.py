"""`dcmtx as` and `dcmtx link`: the words and the names of other converters."""

from __future__ import annotations

import os
import shlex
import sys
import sysconfig
from typing import TYPE_CHECKING

import click

from dcmtx import __version__
from dcmtx.cli import SETTINGS, outcome, say
from dcmtx.errors import OutputError, UsageError
from dcmtx.peers.catalog import MODULES, load
from dcmtx.peers.table import Peer
from dcmtx.peers.translate import Translation, depends, explained, resolved, translate

if TYPE_CHECKING:
    from dcmtx.place.bytes import Reader

# Among the arguments of a peer that is called by its name, there is no other place for it.
_STATUS = "--dcmtx-status"


_EXIT = """\b
Exit status:
  0  done
  1  it failed; dcm2dcm and dicom-transcode have others too
With --dcmtx-status, it is that of `dcmtx convert`."""


@click.command(
    "as",
    epilog=_EXIT,
    options_metavar="[OPTIONS]",
    # What is behind the name is the peer's.
    context_settings={**SETTINGS, "ignore_unknown_options": True, "allow_interspersed_args": False},
)
@click.option(_STATUS, "ours", is_flag=True, help="End with the exit status of dcmtx, not the peer's.")
@click.argument("peer", metavar="PEER", type=click.Choice(list(MODULES)))
@click.argument("arguments", metavar="[ARGS]...", nargs=-1, type=click.UNPROCESSED)
def as_peer(peer: str, arguments: tuple[str, ...], *, ours: bool) -> int:
    """Do what a command line of another converter says.

    PEER is gdcmconv, dcmconv, dcmcjpeg, dcmdjpeg, dcmcjpls, dcmdjpls, dcmcrle, dcmdrle, dcm2dcm or dicom-transcode, and
    ARGS are its own. Each of its options is done, or ignored where it changes nothing of what is written (-v says so),
    or refused with what to do instead. The exit status is the peer's, 0 or 1 for most. Called by the name of a peer,
    dcmtx does the same: `dcmtx link` makes the links. `dcmtx as PEER --help` lists what becomes of every option.

    \b
    dcmtx as gdcmconv -J ct.dcm small.dcm
    dcmtx as dcmcjpeg +eb +q 85 us.dcm us-jpeg.dcm
    dcmtx as dcmdjpeg --help
    """
    table = load(peer)
    status = outcome(lambda: _run(table, [word for word in arguments if word != _STATUS]))
    return status if ours or _STATUS in arguments else table.status(status)


def _run(peer: Peer, arguments: list[str]) -> int:
    asked = translate(peer, arguments)
    if asked.mode == "help":
        click.echo(described(peer))
        return 0
    if asked.mode == "version":
        click.echo(f"dcmtx {__version__} as {peer.name}")
        return 0
    _check_places(peer, asked)
    line = asked.line(_target(peer, asked))
    if asked.show:
        say(f"dcmtx: {peer.name} is here: {shlex.join(['dcmtx', 'convert', *line])}")
    if asked.verbose:
        for note in asked.notes:
            say(f"dcmtx: note: {note}")
    from dcmtx.cli.convert import convert

    status = convert.main(line, prog_name="dcmtx convert", standalone_mode=False)
    return status if isinstance(status, int) else 0


def _check_places(peer: Peer, asked: Translation) -> None:
    """Raise UsageError for directories where the peer takes none, or does something else with them."""
    directories = [source for source in asked.sources if source != "-" and os.path.isdir(source)]
    if not peer.several and (directories or os.path.isdir(asked.destination)):
        what = directories[0] if directories else asked.destination
        raise UsageError(f"it is a directory, and {peer.name} takes files", advice="use `dcmtx convert`", path=what)
    if directories and len(asked.sources) > 1:
        raise UsageError(
            f"{peer.name}: a directory among several sources, whose files would go into one",
            advice="convert one directory at a time",
        )
    if (directories or len(asked.sources) > 1) and not os.path.isdir(asked.destination):
        raise UsageError(f"{peer.name}: it is not a directory that exists", path=asked.destination)


def _target(peer: Peer, asked: Translation) -> str:
    """Return what `--to` takes; the transfer syntax of SRC is read if the target depends on it."""
    if not depends(asked.target):
        return asked.target
    source = asked.sources[0]
    if source == "-":
        raise UsageError(
            f"{peer.name}: without an output transfer syntax the source must be a file, not standard input",
            advice="name the output transfer syntax",
        )
    from dcmtx.dataset.meta import peek
    from dcmtx.errors import DcmtxError
    from dcmtx.place.places import open_reader

    try:
        reader = open_reader(source)
        try:
            return resolved(asked.target, peek(reader).syntax or _shown(asked, reader))
        finally:
            reader.close()
    except DcmtxError as error:
        error.path = error.path or source
        raise


def _shown(asked: Translation, reader: Reader) -> str:
    """Return the transfer syntax of a source that names none: what the line says, or what its bytes show."""
    from dcmtx.planning.request import assumed
    from dcmtx.transcoding.source import open_source

    said = asked.arguments[asked.arguments.index("--assume") + 1] if "--assume" in asked.arguments else None
    opened = open_source(reader, assume=assumed(said))
    try:
        return opened.dataset.syntax.uid
    finally:
        opened.close()


def described(peer: Peer) -> str:
    """Return the table of a peer as text."""
    lines = [f"Usage: {peer.name} {peer.usage}", "", f"The words of {peer.about}, as dcmtx does them.", ""]
    lines += [f"  {remark}" for remark in peer.remarks]
    for group in peer.groups:
        lines += ["", f"{group.title}:"]
        for option in group.options:
            lines += [f"  {option.written}", f"      {explained(option).replace('`', '')}"]
    lines += ["", "Of dcmtx itself:", f"  {_STATUS}", "      End with the exit status of dcmtx."]
    return "\n".join(lines)


@click.command(options_metavar="[OPTIONS]", context_settings=SETTINGS)
@click.argument("directory", metavar="DIR")
@click.argument("names", metavar="[PEER]...", nargs=-1, type=click.Choice(list(MODULES)))
def link(directory: str, names: tuple[str, ...]) -> int:
    """Give dcmtx the names of other converters in a directory.

    In DIR, which must exist, symbolic links to dcmtx are made by the names of every PEER, or of those that are given.
    What has such a name already and is no link to dcmtx stays, and nothing is made. With DIR before others in PATH,
    scripts that call these programs call dcmtx.

    \b
    dcmtx link /opt/dcmtx/peers
    dcmtx link . gdcmconv dcmdjpeg
    """
    program = _program()
    made = [os.path.join(directory, name) for name in names or MODULES]
    if not os.path.isdir(directory):
        raise OutputError("there is no such directory", path=directory, advice="make it first")
    for path in made:
        if os.path.lexists(path) and not (os.path.islink(path) and os.readlink(path) == program):
            raise OutputError(
                "it exists, and is no link to this dcmtx", path=path, advice="remove it, or use another DIR"
            )
    for path in made:
        if not os.path.lexists(path):
            try:
                os.symlink(program, path)
            except OSError as error:
                raise OutputError(f"the link cannot be made: {error.strerror}", path=path) from error
    return 0


def _program() -> str:
    """Return the path of the program that runs dcmtx. Raises OutputError if it was run as a module, and has none."""
    called = os.path.abspath(sys.argv[0]) if os.sep in sys.argv[0] else ""
    for path in (called, os.path.join(sysconfig.get_path("scripts"), "dcmtx")):
        if not path.endswith(".py") and os.path.isfile(path) and os.access(path, os.X_OK):
            return path
    raise OutputError("there is no program named dcmtx to link to", advice="install dcmtx with pip or pipx")
