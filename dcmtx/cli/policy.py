"""`dcmtx policy`."""

from __future__ import annotations

import json

import click

from dcmtx.cli import SETTINGS, error_line, printable, say
from dcmtx.errors import DcmtxError, ExitStatus


@click.group(context_settings=SETTINGS)
def policy() -> None:
    """Check the rules of a site, and see what they would do.

    A policy is a file of TOML with [[rule]] tables, in order: the first whose conditions all hold decides about a file.
    `dcmtx convert --policy FILE` follows it, and so do the library, relays and clusters.

    \b
    [[rule]]
    name = "loops of ultrasound stay"
    when = { modality = "US", frames = ">1" }
    do = "keep"

    \b
    [[rule]]
    name = "pictures"
    when = { photometric = ["RGB", "YBR*"], manufacturer = "!ACME*" }
    to = "jpeg"
    lossy = true
    quality = 90

    \b
    [[rule]]
    name = "all else"
    to = "htj2k-rpcl"

    A rule has a name, `when`, and either `to`, any target of convert with its parameters (lossy, quality, ratio, psnr,
    near, resolutions, ...), or `do`: keep (its bytes), skip (write nothing) or refuse (an error). A rule without `when`
    is for every file.

    Conditions: modality, sop_class (UID or keyword), syntax (UID, name or family), photometric and manufacturer are
    texts or lists of texts, of which one must fit; `*` and `?` stand for others, `!` before a text means that it must
    not. A syntax or SOP class without those is one that there is. bits (stored), frames and size (bytes, or with kB,
    MiB, ...) are 12, ">8", "<=64MiB" or "9..12". lossy is true for pixels that have lost something already.
    """


@policy.command(context_settings=SETTINGS)
@click.argument("file")
@click.argument("sources", metavar="[SRC]...", nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="One JSON array on standard output.")
def check(file: str, sources: tuple[str, ...], as_json: bool) -> int:
    """Check a policy, and count what it would do with the files of each SRC.

    What is wrong with the policy is one line, and the exit status is 2. Nothing is decoded, and nothing written. What
    cannot be read is named, and so is a SRC that is not DICOM; the exit status is 3 then, 9 if there are others. With
    --json there is an object for each rule: "rule", "does", "files" and "bytes"; then for files with "no rule", for
    those that are "not readable", and for what is "empty" or "not DICOM", if there are any.
    """
    from dcmtx.inspect.ruling import count
    from dcmtx.planning.site_file import read

    site = read(file)
    failed: list[ExitStatus] = []

    def tell(error: DcmtxError) -> None:
        failed.append(error.status)
        say(error_line(error))

    counts = count(site, sources, tell)
    if as_json:
        click.echo(json.dumps(counts.rows(), indent=2))
    elif not sources:
        rules = len(site.rules)
        rest = "" if site.is_complete else "; what no rule is for goes to --to"
        click.echo(f"{printable(file)}: {rules} rule{'s' * (rules != 1)}{rest}")
    else:
        click.echo("RULE\tDOES\tFILES\tBYTES")
        for row in counts.rows():
            click.echo(f"{printable(row['rule'])}\t{row['does'] or '-'}\t{row['files']}\t{row['bytes']}")
    if not failed:
        return ExitStatus.OK
    return failed[0] if sum(counts.files.values()) == 1 else ExitStatus.SEVERAL
