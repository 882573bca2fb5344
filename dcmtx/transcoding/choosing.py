"""Does with a file what a site's policy, or an option about whole files, says of it."""

from __future__ import annotations

from contextlib import closing

from dcmtx.dataset.dictionary import uid_keyword
from dcmtx.dataset.meta import peek
from dcmtx.errors import InputError, RefusedError, UnsupportedError
from dcmtx.finding import Finding
from dcmtx.options import option_name
from dcmtx.place.bytes import Reader, is_stream
from dcmtx.place.places import directory_of
from dcmtx.planning.case import look_inside
from dcmtx.planning.request import Request, assumed, resolve
from dcmtx.planning.site import Action, Facts, Rule
from dcmtx.rules import image, objects
from dcmtx.syntax import Kind, Syntax
from dcmtx.transcoding.conversion import check_ended
from dcmtx.transcoding.job import Job, Outcome, Status
from dcmtx.transcoding.running import Cores, Watch, copy, run_open
from dcmtx.transcoding.source import Opened, open_source

_MODALITY, _MANUFACTURER = 0x00080060, 0x00080070


def chosen(job: Job, file: Reader, cores: Cores, watch: Watch | None) -> Outcome:
    """Do with an open file what is decided for it. Raises what `transcode` raises; E_POLICY if a rule refuses it."""
    policy = job.request.policy
    with closing(
        open_source(
            file,
            directory_of(job.target_place),
            meta=peek(file),
            assume=assumed(policy.assume),
            forgiving=policy.ignore_errors,
        )
    ) as opened:
        return _chosen(job, file, opened, cores, watch)


def _chosen(job: Job, file: Reader, opened: Opened, cores: Cores, watch: Watch | None) -> Outcome:
    syntax, policy = opened.dataset.syntax, job.request.policy
    facts = facts_of(opened, file.size, job.request)
    if policy.only_native and syntax.kind is not Kind.NATIVE:
        return _skipped(job, file, syntax, why="its pixels are compressed, and --only-native asks for others")
    if policy.skip_lossy and facts.lossy:
        return _skipped(job, file, syntax, why="its pixels have lost something already, and --skip-lossy leaves such")
    rule = None if job.site is None else job.site.decide(facts)
    job = job.replace(site=None)
    if rule is None:
        return _converted(job, file, opened, cores, watch)
    if rule.action is Action.CONVERT:
        target = resolve(rule.to, rule.parameters)
        job = job.replace(request=job.request.replace(target=target, parameters=rule.parameters))
        return _converted(job, file, opened, cores, watch).replace(rule=rule.name)
    return _left(job, file, opened, rule)


def _converted(job: Job, file: Reader, opened: Opened, cores: Cores, watch: Watch | None) -> Outcome:
    """Convert the file, to the smallest of several targets if that is asked for."""
    notes: tuple[Finding, ...] = ()
    if job.request.target.smallest:
        from dcmtx.transcoding.smallest import first_of, smallest

        try:
            request, notes = smallest(opened, job.request)
        except (RefusedError, UnsupportedError):
            if not job.fallbacks:
                raise
            # The first of them is refused once more, which leads to what it falls back to.
            request = job.request.replace(target=first_of(job.request.target))
        job = job.replace(request=request)
    outcome = run_open(job, file, cores, watch)
    return outcome.replace(notes=notes + outcome.notes)


def _left(job: Job, file: Reader, opened: Opened, rule: Rule) -> Outcome:
    """Leave a file as it is, or out, as a rule says.

    Raises RefusedError if the rule refuses it, or keeps what other options want changed.
    """
    syntax, policy = opened.dataset.syntax, job.request.policy
    if rule.action is Action.REFUSE:
        raise RefusedError(f"the policy refuses it ({rule.name})", code="E_POLICY")
    if rule.action is Action.SKIP:
        return _skipped(job, file, syntax, why=f"the policy passes over it ({rule.name})").replace(rule=rule.name)
    if policy.wants_changed:
        wanted = ", ".join(map(option_name, policy.wants_changed))
        raise RefusedError(f"the policy keeps it as it is ({rule.name}), and {wanted} would change it", code="E_POLICY")
    if is_stream(file):
        check_ended(opened, forgiving=policy.ignore_errors)
    return copy(job, file, syntax).replace(rule=rule.name)


def _skipped(job: Job, file: Reader, syntax: Syntax, *, why: str) -> Outcome:
    status = Status.PLANNED if job.dry_run else Status.SKIPPED
    note = Finding("N_PASSED_OVER", f"{why}; nothing is written")
    return Outcome(job, status, syntax.uid, syntax_out=syntax.uid, bytes_in=file.size, notes=(note,))


def facts_of(opened: Opened, size: int, request: Request) -> Facts:
    """Return what a policy looks at, of an open file of `size` bytes. Damage in the pixels is no fact yet."""
    header, syntax, frames = opened.dataset.header, opened.dataset.syntax, opened.frames
    fmt = frames.format
    try:
        lossy = header.text(image.LOSSY_IMAGE_COMPRESSION) == "01" or look_inside(header, frames, request).has_lost
    except InputError:
        lossy = header.text(image.LOSSY_IMAGE_COMPRESSION) == "01"
    sop_class = header.text(objects.SOP_CLASS_UID)
    return Facts(
        modality=header.text(_MODALITY),
        sop_class=tuple(filter(None, (sop_class, uid_keyword(sop_class)))),
        syntax=tuple(filter(None, (syntax.uid, syntax.label, syntax.family, syntax.keyword))),
        photometric=header.text(image.PHOTOMETRIC_INTERPRETATION),
        manufacturer=header.text(_MANUFACTURER),
        bits=fmt.stored if fmt is not None else 0,
        frames=fmt.frames if fmt is not None else 0,
        size=size,
        lossy=lossy,
    )
