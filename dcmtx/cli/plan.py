"""`dcmtx plan`."""

from __future__ import annotations

import click

from dcmtx.cli import SETTINGS, say, shown
from dcmtx.errors import ExitStatus


@click.command(options_metavar="[OPTIONS]", context_settings=SETTINGS)
@click.argument("source", metavar="SRC")
@click.argument("run")
@click.option(
    "--from",
    "manifest",
    metavar="FILE",
    help="The files, instead of a walk: CSV with a header or Parquet (columns key, size, etag, bucket, as inventories "
    "have them), JSON lines, or one name on each line. Names are below SRC, or whole, and have no `..`; a file that is "
    "named twice is planned once.",
)
@click.option("--shard-bytes", metavar="SIZE", default="256MiB", show_default=True, help="The most bytes of a shard.")
@click.option(
    "--shard-files", type=click.IntRange(1), default=1000, show_default=True, help="The most files of a shard."
)
@click.option("--quiet", is_flag=True, help="No summary.")
def plan(source: str, run: str, manifest: str | None, shard_bytes: str, shard_files: int, quiet: bool) -> int:
    """Divide the files below SRC into shards, for many machines.

    SRC and RUN are directories, or prefixes in stores (s3://, gs://, az://). RUN gets plan/000000.jsonl and so on,
    each with the files of a shard, and their sizes and ETags or times: what has changed when its turn comes is not
    converted. A file of 1 GiB or more has a shard of its own. Sorted by study, a list has shards read neighbours.

    \b
    dcmtx plan s3://in/ s3://run1/
    dcmtx plan s3://in/ s3://run1/ --from inventory.parquet
    dcmtx shard s3://run1/ 0 --out s3://out/ --to htj2k-rpcl
    dcmtx report s3://run1/
    """
    from dcmtx.cluster.plan import make_plan
    from dcmtx.planning.request import memory_size

    def note(text: str) -> None:
        if not quiet:
            say(f"dcmtx: {shown(manifest or source)}: note: {text}")

    size = memory_size(shard_bytes)
    made = make_plan(source, run, manifest=manifest, shard_bytes=size, shard_files=shard_files, note=note)
    if not quiet:
        say(
            f"dcmtx: {made.files} file{'s' * (made.files != 1)} of {made.bytes} bytes in {made.shards} "
            f"shard{'s' * (made.shards != 1)}, 0 to {made.shards - 1}"
        )
    return ExitStatus.OK
