"""The request: the target, the choices that the standard leaves open, and the backends."""

from __future__ import annotations

from enum import Enum
from typing import Any

from dcmtx.codec.table import DECODERS, ENCODERS
from dcmtx.errors import RefusedError, UsageError
from dcmtx.options import LOSSY_PARAMETERS, OPTIONS, option_name
from dcmtx.policy import Cut, Device, EncodingParameters, Policy, Verify
from dcmtx.record import Record
from dcmtx.syntax import BY_UID, CELLS, EXPLICIT, ROOT, Loss, Syntax, find, find_family, is_keyword

# The backend of the GPU.
NVIMGCODEC = "nvimgcodec"
_JPEG_LOSSLESS_SV1 = f"{ROOT}.4.70"


class Way(Enum):
    """Which planner plans the file."""

    CONVERT = "convert"
    REWRAP = "rewrap"
    CROP = "crop"


class BackendChoice(Record):
    """The backends requested by name, None if the registries choose; and the device, which those without a name use."""

    decoder: str | None = None
    encoder: str | None = None
    device: Device = Device.CPU

    @property
    def encodes_on_device(self) -> bool:
        """Whether an encoder of a device may be used."""
        return self.encoder == NVIMGCODEC or (self.encoder is None and self.device is not Device.CPU)


class Target(Record):
    """The requested target: the syntaxes that the name means, in order of preference.

    `raw` means uncompressed; native files then keep their own syntax. `smallest` means the one that makes the file
    smallest.
    """

    name: str
    syntaxes: tuple[Syntax, ...]
    raw: bool = False
    smallest: bool = False

    @property
    def label(self) -> str:
        """The name that messages use."""
        return self.syntaxes[0].label if len(self.syntaxes) == 1 else self.name


def resolve(name: str, parameters: EncodingParameters, *, consents: bool = False, on_device: bool = False) -> Target:
    """Return the target that a family, alias, keyword or UID names; with consent to loss, a family's lossy members.

    `consents` says that consent to loss may be for something else than the target: colours that are rounded. With
    `on_device`, the encoders of a device count too.

    Raises UsageError for an unknown name, for a parameter that is out of range or that no encoder of the target
    takes, and for consent to loss where the target cannot lose; RefusedError for a lossy parameter without consent.
    """
    _check_values(parameters)
    _check_consent(parameters)
    if name.lower() == "raw":
        target = Target("raw", (EXPLICIT,), raw=True)
    elif name.lower().partition(":")[0] == "smallest":
        target = _smallest(name)
    elif (family := find_family(name)) and not is_keyword(name):
        target = Target(
            family.name, tuple(BY_UID[uid] for uid in family.lossy if parameters.lossy) or (BY_UID[family.lossless],)
        )
    elif syntax := find(name):
        target = Target(name, (syntax,))
    else:
        raise UsageError(f"there is no transfer syntax {name!r}", advice="`dcmtx syntaxes` lists them")
    exact = all(syntax.loss in (Loss.NONE, Loss.LOSSLESS) for syntax in target.syntaxes)
    if parameters.lossy and exact and not consents:
        raise UsageError(f"--lossy does not go with {target.label}, which cannot lose anything")
    _check_parameters(target, parameters, on_device=on_device)
    return target


# Lossless codecs, the fastest to decode first.
_LOSSLESS = (
    "rle",
    "htj2k-lossless",
    "jpegls-lossless",
    "jpeg-lossless",
    "jpegxl-lossless",
    "j2k-lossless",
)


def _smallest(name: str) -> Target:
    """Return the target of `smallest`, or of `smallest:jpegls,j2k`. Raises UsageError for what is not lossless."""
    _, colon, listed = name.partition(":")
    names = [part.strip() for part in listed.split(",")] if colon else [*_LOSSLESS]
    syntaxes = []
    for one in names:
        family = find_family(one)
        syntax = BY_UID[family.lossless] if family is not None and not is_keyword(one) else find(one)
        if syntax is None or not syntax.encapsulated or not any(not row.lossy for row in ENCODERS.rows(syntax.uid)):
            raise UsageError(f"{name!r} names {one!r}, which is no codec that loses nothing")
        syntaxes.append(syntax)
    known = [syntax.uid for syntax in map(find, _LOSSLESS) if syntax is not None]
    syntaxes.sort(key=lambda syntax: known.index(syntax.uid) if syntax.uid in known else len(known))
    return Target(name, tuple(dict.fromkeys(syntaxes)), smallest=True)


def check_policy(target: Target, policy: Policy) -> None:
    """Raise UsageError for a choice that there is not, or that no syntax of the target leaves open."""
    for name in ("fragment_size", "photometric", "planar"):
        OPTIONS[name].checked(getattr(policy, name))
    if policy.fragment_size is not None and not any(syntax.encapsulated for syntax in target.syntaxes):
        raise UsageError(f"--fragment-size does not go with {target.label}, which has no fragments")
    if policy.planar is not None and not any(syntax.family in CELLS for syntax in target.syntaxes):
        raise UsageError(f"--planar does not go with {target.label}, whose codestreams are by pixel (PS3.5 8.2)")
    if policy.cross_check and policy.verify is Verify.NONE:
        raise UsageError("--cross-check compares, and --no-verify compares nothing", advice="leave one of them out")
    if policy.keep_if_larger and policy.wants_changed:
        raise UsageError(
            f"--keep-if-larger keeps a file as it is, and {option_name(policy.wants_changed[0])} would change it",
            advice="leave one of them out",
        )


def _check_values(parameters: EncodingParameters) -> None:
    for name, value in parameters.items():
        OPTIONS[name].checked(value)
    if parameters.code_block is not None and parameters.code_block.bit_count() != 1:
        raise UsageError(f"--code-block is {parameters.code_block}, not a power of 2 (T.800 A.6.1)")
    if parameters.ratio is not None and parameters.psnr is not None:
        raise UsageError("--ratio and --psnr each say how much may be lost", advice="give one of them")


def _check_parameters(target: Target, parameters: EncodingParameters, *, on_device: bool) -> None:
    """Raise UsageError for a coding parameter that no encoder of the target takes."""
    lossy = parameters.lossy and parameters.near != 0
    if target.syntaxes[0].uid == _JPEG_LOSSLESS_SV1 and parameters.predictor not in (None, 1):
        raise UsageError(f"{target.label} is predictor 1 always", advice="use --to jpeg-lossless-p14 for another")
    strange, known = _strange(target, parameters, lossy=lossy, on_device=on_device)
    strange -= {"near"} if parameters.near == 0 else set()
    if strange and known:
        names = ", ".join(option_name(name) for name in sorted(strange))
        raise UsageError(f"{names} does not go with {target.label}: no encoder of it takes that")


def parameters_for(target: Target, parameters: EncodingParameters, *, on_device: bool = False) -> EncodingParameters:
    """Return the parameters without those that no encoder of this target takes, and without unneeded consent."""
    lossy = parameters.lossy and any(syntax.loss in (Loss.LOSSY, Loss.BOTH) for syntax in target.syntaxes)
    strange, _ = _strange(target, parameters, lossy=lossy, on_device=on_device)
    dropped: dict[str, Any] = dict.fromkeys(strange)
    return parameters.replace(lossy=lossy, **dropped)


def _strange(
    target: Target, parameters: EncodingParameters, *, lossy: bool, on_device: bool
) -> tuple[frozenset[str], bool]:
    """Return the set parameters that no encoder of the target takes, and whether there is an encoder at all.

    Encoders of other distributions are searched only where the built-in ones do not take all parameters.
    """
    strange, known = parameters.asked(), False
    for rows_of in (ENCODERS.rows, ENCODERS.every_row):
        rows = [
            row
            for syntax in target.syntaxes
            for row in rows_of(syntax.uid)
            if row.lossy == lossy and (on_device or not row.named_only)
        ]
        known = bool(rows)
        strange = parameters.asked() - frozenset[str]().union(*(row.options for row in rows))
        if not strange:
            break
    return strange, known


def check_backends(backend: BackendChoice) -> None:
    """Raise UsageError for the name of a backend that does not exist."""
    for name, registry in ((backend.decoder, DECODERS), (backend.encoder, ENCODERS)):
        if name is not None:
            registry.check_backend(name)


def assumed(name: str | None) -> Syntax | None:
    """Return the transfer syntax to assume; of a family, its lossless one: all of a family are decoded alike.

    Raises UsageError for one that does not exist.
    """
    if name is None:
        return None
    family = None if is_keyword(name) else find_family(name)
    syntax = BY_UID[family.lossless] if family else find(name)
    if syntax is None:
        raise UsageError(
            f"--assume is {name!r}, and there is no such transfer syntax", advice="`dcmtx syntaxes` lists them"
        )
    return syntax


def _check_consent(parameters: EncodingParameters) -> None:
    losing = sorted(parameters.asked() & LOSSY_PARAMETERS)
    if losing and not parameters.lossy:
        names = ", ".join(option_name(name) for name in losing)
        raise RefusedError(f"{names} would lose information", advice="say --lossy to consent", code="E_LOSSY")


# SI prefixes are powers of 1000; with an i they are powers of 1024.
_UNITS: dict[str, int] = {
    "": 1, "b": 1,
    **{prefix + unit: 1000 ** power for power, prefix in enumerate("kmgt", 1) for unit in ("", "b")},
    **{prefix + unit: 1024 ** power for power, prefix in enumerate("kmgt", 1) for unit in ("i", "ib")},
}  # fmt: skip


def memory_size(value: int | str) -> int:
    """Return how many bytes `512MiB` is: a number, and a unit of 1000 (K, MB) or of 1024 (Ki, MiB) if there is one.

    Raises UsageError for anything else, and for less than one byte.
    """
    text = str(value).strip()
    number = text.rstrip("BbIiKkMmGgTt ")
    unit = _UNITS.get(text[len(number) :].strip().lower())
    try:
        size = int(float(number) * unit) if unit else 0
    except (ValueError, OverflowError):
        size = 0
    if size < 1:
        raise UsageError(f"memory is {text[:40]!r}, not a size such as 512M or 1GiB")
    return size


class Request(Record):
    """Everything that is requested for one file. `rounds` is consent to rounded colours, without other loss.

    `cut` is the part of the image to keep, where it is cropped.
    """

    target: Target
    policy: Policy = Policy()
    backend: BackendChoice = BackendChoice()
    parameters: EncodingParameters = EncodingParameters()
    way: Way = Way.CONVERT
    rounds: bool = False
    cut: Cut | None = None

    @property
    def uses_device(self) -> bool:
        """Whether a device may do some of the work."""
        named = NVIMGCODEC in (self.backend.decoder, self.backend.encoder)
        return named or self.backend.device is not Device.CPU or self.policy.verify is Verify.DEVICE

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the request as bytes that all jobs of a batch share, since each job and each result has it."""
        return _unpacked, (_packed(self),)


def check_device(request: Request) -> None:
    """Raise UnsupportedError if a device that is asked for is not here."""
    if request.uses_device:
        from dcmtx.planning import device

        device.check()


# The last request that was pickled or unpickled here, and its bytes.
_last: tuple[Request, bytes] | None = None


def _packed(request: Request) -> bytes:
    global _last  # noqa: PLW0603 - one that is replaced as a whole, so threads do no harm
    last = _last
    if last is None or last[0] is not request:
        import pickle

        last = _last = request, pickle.dumps([value for _, value in request.items()])
    return last[1]


def _unpacked(data: bytes) -> Request:
    """Return the request of these bytes: the same object as long as they are the same."""
    global _last  # noqa: PLW0603
    last = _last
    if last is None or last[1] != data:
        import pickle

        values = pickle.loads(data)  # noqa: S301 - part of what is unpickled already
        last = _last = Request(**dict(zip(Request._fields, values, strict=True))), data
    return last[0]
