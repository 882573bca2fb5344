"""The library's `plan`: how a file would be converted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dcmtx.place.places import SourcePlace
from dcmtx.planning.plan import Plan
from dcmtx.transcoding.job import job
from dcmtx.transcoding.running import run

if TYPE_CHECKING:
    from typing import Unpack

    from dcmtx.transcoding.options import Options


def plan(src: SourcePlace, *, to: str, **options: Unpack[Options]) -> Plan | None:
    """Return how `src` would be converted to the transfer syntax `to`, as a dry run does; nothing is written.

    `src` and the options are those of `transcode`. The plan has the route of the pixels, the backends, the formats of
    the pixels, `edits` by tag, and `details` of all other changes. It is None for a file that already has the target
    syntax and would be copied byte for byte.

    Raises what `transcode` raises before it writes: InputError, UnsupportedError, RefusedError, UsageError.

    >>> import dcmtx
    >>> plan = dcmtx.plan("us-rgb-by-pixel.dcm", to="j2k")
    >>> plan.encoder.backend, plan.target_format.photometric, plan.irreversible
    ('imagecodecs', 'YBR_RCT', False)
    """
    options["dry_run"] = True
    return run(job(src, to=to, **options)).plan
