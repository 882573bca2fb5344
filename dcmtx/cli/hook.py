"""`dcmtx hook`."""

from __future__ import annotations

import click

from dcmtx.cli import SETTINGS
from dcmtx.errors import RefusedError, UsageError
from dcmtx.serve.files import HOOKS


@click.command(options_metavar="[OPTIONS]", context_settings=SETTINGS)
@click.argument("hook", metavar="HOOK", type=click.Choice([*HOOKS]))
@click.option("--to", "to", metavar="SYNTAX", required=True, help="The transfer syntax; `dcmtx syntaxes` lists them.")
@click.option(
    "--command",
    metavar="PATH",
    help="What the hook starts, such as the client in C. [default: dcmtx by the Python that prints the hook]",
)
def hook(hook: str, to: str, command: str | None) -> int:
    """Print a hook for a server of images, which has it store what it receives in another transfer syntax.

    HOOK is orthanc-python, which is the best for most; orthanc-lua, where there is no Python plugin; or orthanc-c, a
    plugin for all that Orthanc transcodes, to be compiled. dcmtx-orthanc(7) tells them apart, and how they are set up.

    Nothing is lost: pixels are coded without loss and decoded again, SOP Instance UIDs stay, and if anything fails the
    instance is kept as it was received. With `dcmtx serve` for the same user a hook takes a third of the time; the one
    in C needs it.

    \b
    dcmtx hook orthanc-python --to jpegls > /etc/orthanc/dcmtx.py
    dcmtx hook orthanc-lua --to jpegls > /etc/orthanc/dcmtx.lua
    dcmtx hook orthanc-c --to jpegls > orthanc.c
    cc -O2 -shared -fPIC -o libDcmtx.so orthanc.c
    """
    from dcmtx.codec.table import ENCODERS
    from dcmtx.planning.request import resolve
    from dcmtx.policy import EncodingParameters
    from dcmtx.serve.files import hook as text

    if command is not None and hook == "orthanc-c":
        raise UsageError("--command is not for orthanc-c, which starts nothing: it speaks to dcmtx serve itself")
    target = resolve(to, EncodingParameters())
    syntax = target.syntaxes[0]
    if not any(not row.lossy for row in ENCODERS.rows(syntax.uid)):
        raise RefusedError(f"nothing is coded in {target.label} without loss, and hooks lose nothing", code="E_LOSSY")
    click.echo(text(hook, to, syntax.uid, [command] if command else None), nl=False)
    return 0
