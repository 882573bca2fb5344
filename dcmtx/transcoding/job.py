"""One file to convert, and what became of it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from enum import Enum
from typing import TYPE_CHECKING, Any

from dcmtx.errors import UsageError
from dcmtx.finding import Finding
from dcmtx.options import OPTIONS, make_policy
from dcmtx.place.places import SourcePlace, TargetPlace, name_of, path_of
from dcmtx.planning.request import (
    BackendChoice,
    Request,
    Target,
    assumed,
    check_backends,
    check_device,
    check_policy,
    memory_size,
    resolve,
)
from dcmtx.planning.site import SitePolicy
from dcmtx.policy import (
    MEMORY,
    Charset,
    Device,
    EncodingParameters,
    Icon,
    Lengths,
    NoPixels,
    OffsetTable,
    OneBit,
    Overlays,
    Removal,
    Signatures,
    Sync,
    Uid,
    UnusedBits,
    Verify,
    WordOrder,
)
from dcmtx.pool.machine import available_cores
from dcmtx.record import Record

if TYPE_CHECKING:
    from dcmtx.planning.plan import Plan


class Job(Record):
    """One file to convert. `src` and `dst` are paths, or `-`; at most `workers` frames are coded at a time.

    `fallbacks` are targets to try in order when the first is refused; `dry_run` only plans; `digest` hashes the decoded
    pixels; `parents` makes missing directories; `memory` is how many bytes all frames in progress may take; `brief`
    makes a dry run omit changes inside sequences. `site` has the rules of a site; the first one that holds
    decides.

    `source` and `target` are places without a name: bytes, binary file objects, an InMemory. Then `src` and `dst` are
    only names for messages, and the job is bound to this process: it cannot be sent to another or converted to JSON.
    """

    src: str
    dst: str
    request: Request
    fallbacks: tuple[Target, ...] = ()
    workers: int = 1
    dry_run: bool = False
    digest: bool = False
    parents: bool = False
    memory: int = MEMORY
    brief: bool = False
    site: SitePolicy | None = None
    source: Any = None
    target: Any = None

    @property
    def source_place(self) -> Any:
        """The place that the file is read from, for `place.places` to open."""
        return self.src if self.source is None else self.source

    @property
    def target_place(self) -> Any:
        """The place that the file is written to, for `place.places` to open."""
        return self.dst if self.target is None else self.target

    def to_json(self) -> str:
        """Return the job as JSON for `transcoding.form.job_from_json`. Raises UsageError if a place has no name."""
        from dcmtx.transcoding.form import job_to_json

        return job_to_json(self)


class Status(Enum):
    """The result status of a job."""

    CONVERTED = "converted"
    COPIED = "copied"  # it already had the target syntax: byte for byte
    UNCHANGED = "unchanged"  # source and destination are one file, and there was nothing to do
    SKIPPED = "skipped"  # as the policy for such objects says
    PLANNED = "planned"  # a dry run


class Outcome(Record):
    """The result of a job: syntaxes by UID, frames, bytes of both files, seconds, and notes for the user.

    `decoder` and `encoder` are backends; `plan` is the plan, in a dry run; `instance_in` and `instance_out` are SOP
    Instance UIDs; `ratio` is the compression ratio of the pixels, counted from Bits Stored, if they were encoded;
    `psnr` is in decibels. `digest` is the hexadecimal SHA-256 of the source's decoded pixels, if it was requested and
    all of them were decoded: that of Pixel Data in Explicit VR Little Endian, colour by pixel, without the pad byte.
    `digest_out` is that of the destination's, which differ where chroma, overlays or unused bits were changed; None
    after loss. `rule` is the name of the rule of a site that
    decided. `verified` has the libraries that decoded what was encoded and compared it, and how many frames each.
    """

    job: Job
    status: Status
    syntax_in: str
    syntax_out: str
    frames: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    seconds: float = 0.0
    decoder: str = ""
    encoder: str = ""
    plan: Plan | None = None
    instance_in: str = ""
    instance_out: str = ""
    ratio: float | None = None
    psnr: float | None = None
    digest: str | None = None
    verified: tuple[tuple[str, int], ...] = ()
    rule: str = ""
    digest_out: str | None = None
    notes: tuple[Finding, ...] = ()


def job(
    src: SourcePlace,
    dst: TargetPlace | None = None,
    *,
    to: str,
    lossy: bool = False,
    quality: int | None = None,
    ratio: float | None = None,
    psnr: float | None = None,
    near: int | None = None,
    subsampling: str | None = None,
    predictor: int | None = None,
    resolutions: int | None = None,
    progression: str | None = None,
    tile: int | None = None,
    code_block: int | None = None,
    tile_parts: str | None = None,
    effort: int | None = None,
    uid: str | Uid = Uid.AUTO,
    offset_table: str | OffsetTable = OffsetTable.AUTO,
    fragment_size: int | None = None,
    overlays: str | Overlays = Overlays.EXTRACT,
    icon: str | Icon = Icon.FOLLOW,
    signatures: str | Signatures = Signatures.REFUSE,
    unused_bits: str | UnusedBits = UnusedBits.REFUSE,
    one_bit: str | OneBit = OneBit.REFUSE,
    word_order: str | WordOrder = WordOrder.REFUSE,
    apply_palette: bool = False,
    photometric: str | None = None,
    planar: int | None = None,
    no_pixels: str | NoPixels = NoPixels.NATIVE,
    remove: str | Removal = Removal.NONE,
    lengths: str | Lengths = Lengths.KEEP,
    charset: str | Charset = Charset.KEEP,
    dataset_only: bool = False,
    assume: str | None = None,
    ignore_errors: bool = False,
    fallback: Iterable[str] = (),
    verify: bool | str | Verify = Verify.SAMPLED,
    cross_check: bool = False,
    skip_lossy: bool = False,
    only_native: bool = False,
    keep_if_larger: bool = False,
    force: bool = False,
    clobber: bool = True,
    sync: str | Sync = Sync.BATCH,
    decoder: str | None = None,
    encoder: str | None = None,
    device: str | Device = Device.CPU,
    workers: int | None = None,
    memory: int | str | None = None,
    site: str | os.PathLike[str] | SitePolicy | None = None,
    dry_run: bool = False,
    digest: bool = False,
) -> Job:
    """Return the job that `transcode` does with these arguments; without `dst`, its target is an InMemory.

    Raises UsageError for invalid options, RefusedError for a lossy option without consent.
    """
    policy = make_policy(
        time.time(),
        offset_table=offset_table,
        fragment_size=fragment_size,
        unused_bits=unused_bits,
        no_pixels=no_pixels,
        uid=uid,
        overlays=overlays,
        icon=icon,
        signatures=signatures,
        one_bit=one_bit,
        word_order=word_order,
        apply_palette=apply_palette,
        photometric=photometric,
        planar=planar,
        remove=remove,
        lengths=lengths,
        charset=charset,
        dataset_only=dataset_only,
        assume=assume,
        ignore_errors=ignore_errors,
        verify=verify,
        cross_check=cross_check,
        skip_lossy=skip_lossy,
        only_native=only_native,
        keep_if_larger=keep_if_larger,
        force=force,
        clobber=clobber,
        sync=sync,
    )
    OPTIONS["workers"].checked(workers)
    assumed(assume)
    backend = BackendChoice(decoder, encoder, OPTIONS["device"].checked(device))
    check_backends(backend)
    coding = EncodingParameters(
        lossy,
        quality,
        ratio,
        psnr=psnr,
        near=near,
        subsampling=subsampling,
        predictor=predictor,
        resolutions=resolutions,
        progression=progression,
        tile=tile,
        code_block=code_block,
        tile_parts=tile_parts,
        effort=effort,
    )
    on_device = backend.encodes_on_device
    target = resolve(to, coding, consents=policy.photometric is not None, on_device=on_device)
    check_policy(target, policy)
    if src is None:
        raise UsageError("there is no src", advice="give a path, bytes or a binary file object")
    source, destination = path_of(src), path_of(dst)
    if destination is None and dst is src:
        raise UsageError("src and dst are one file object", advice="give another, or none for bytes")
    request = Request(target, policy, backend, parameters=coding)
    check_device(request)
    return Job(
        name_of(src) if source is None else source,
        name_of(dst) if destination is None else destination,
        request,
        fallbacks=tuple(
            _resolve_fallback(name, coding, on_device=on_device)
            for name in ([fallback] if isinstance(fallback, str) else fallback)
        ),
        workers=workers or available_cores(),
        dry_run=dry_run,
        digest=digest,
        memory=MEMORY if memory is None else memory_size(memory),
        site=_site(site),
        source=src if source is None else None,
        target=_object(dst) if destination is None else None,
    )


def _object(dst: Any) -> Any:
    """Return a destination without a path: the file object, or an InMemory if there is none."""
    if dst is not None:
        return dst
    from dcmtx.place.stream import InMemory

    return InMemory()


def _resolve_fallback(name: str, parameters: EncodingParameters, *, on_device: bool) -> Target:
    """Return a fallback target: with consent to loss if it can lose, otherwise without."""
    for attempt in (parameters, EncodingParameters(lossy=parameters.lossy)):
        try:
            return resolve(name, attempt, on_device=on_device)
        except UsageError:
            continue
    return resolve(name, EncodingParameters())


def _site(site: str | os.PathLike[str] | SitePolicy | None) -> SitePolicy | None:
    """Return the rules of a site, read if they are named. Raises UsageError."""
    if site is None or isinstance(site, SitePolicy):
        return site
    from dcmtx.planning.site_file import read

    return read(os.fspath(site))
