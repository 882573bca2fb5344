"""What is asked for: the target, the choices that the standard leaves, and the backends."""

from __future__ import annotations

from typing import Any

from dcmtx.codec.table import DECODERS, ENCODERS
from dcmtx.errors import RefusedError, UsageError
from dcmtx.policy import CHOICES, LOSSY_PARAMETERS, RANGES, EncodingParameters, Policy, option_name
from dcmtx.record import Record
from dcmtx.syntax import BY_UID, EXPLICIT, ROOT, Loss, Syntax, find, find_family, is_keyword

_JPEG_LOSSLESS_SV1 = f"{ROOT}.4.70"


class BackendChoice(Record):
    """The backends asked for by name; None leaves the choice to the registries."""

    decoder: str | None = None
    encoder: str | None = None


class Target(Record):
    """What was asked for: the syntaxes that the name stands for, first fit first.

    `raw` is the way out of compression, which leaves native files in their own syntax.
    """

    name: str
    syntaxes: tuple[Syntax, ...]
    raw: bool = False

    @property
    def label(self) -> str:
        """The name that messages use."""
        return self.syntaxes[0].label if len(self.syntaxes) == 1 else self.name


def resolve(name: str, quality: EncodingParameters) -> Target:
    """Return the target that a family, alias, keyword or UID names; with consent to loss, a family's lossy members.

    Raises UsageError for a name that nothing has, for a parameter that is out of range or that no encoder of the target
    takes, for consent to a loss that cannot be; RefusedError for a parameter that loses without consent.
    """
    _check_values(quality)
    _check_consent(quality)
    if name.lower() == "raw":
        target = Target("raw", (EXPLICIT,), raw=True)
    elif (family := find_family(name)) and not is_keyword(name):
        target = Target(
            family.name, tuple(BY_UID[uid] for uid in family.lossy if quality.lossy) or (BY_UID[family.lossless],)
        )
    elif syntax := find(name):
        target = Target(name, (syntax,))
    else:
        raise UsageError(f"there is no transfer syntax {name!r}; `dcmtx syntaxes` lists them")
    if quality.lossy and all(syntax.loss in (Loss.NONE, Loss.LOSSLESS) for syntax in target.syntaxes):
        raise UsageError(f"--lossy does not go with {target.label}, which cannot lose anything")
    _check_parameters(target, quality)
    return target


def _check_values(quality: EncodingParameters) -> None:
    for name, value in quality.items():
        if name == "lossy" or value is None:
            continue
        if name in CHOICES and value not in CHOICES[name]:
            raise UsageError(f"{option_name(name)} is {value!r}, not one of {', '.join(CHOICES[name])}")
        if name in RANGES and not RANGES[name][0] <= value <= RANGES[name][1]:
            low, high = RANGES[name]
            raise UsageError(f"{option_name(name)} is {value}, not in the range from {low:g} to {high:g}")
    if quality.code_block is not None and quality.code_block.bit_count() != 1:
        raise UsageError(f"--code-block is {quality.code_block}, not a power of 2 (T.800 A.6.1)")
    if quality.ratio is not None and quality.psnr is not None:
        raise UsageError("--ratio and --psnr each say how much may be lost; give one of them")


def _check_parameters(target: Target, quality: EncodingParameters) -> None:
    """Raise UsageError for a coding parameter that no encoder of the target takes."""
    lossy = quality.lossy and quality.near != 0
    if target.syntaxes[0].uid == _JPEG_LOSSLESS_SV1 and quality.predictor not in (None, 1):
        raise UsageError(f"{target.label} is predictor 1 always; use --to jpeg-lossless-p14 for another")
    strange, known = _strange(target, quality, lossy=lossy)
    strange -= {"near"} if quality.near == 0 else set()
    if strange and known:
        names = ", ".join(option_name(name) for name in sorted(strange))
        raise UsageError(f"{names} does not go with {target.label}: no encoder of it takes that")


def quality_for(target: Target, quality: EncodingParameters) -> EncodingParameters:
    """Return what was asked for, without what no encoder of this target takes, or consent that it does not need."""
    lossy = quality.lossy and any(syntax.loss in (Loss.LOSSY, Loss.BOTH) for syntax in target.syntaxes)
    strange, _ = _strange(target, quality, lossy=lossy)
    dropped: dict[str, Any] = dict.fromkeys(strange)
    return quality.replace(lossy=lossy, **dropped)


def _strange(target: Target, quality: EncodingParameters, *, lossy: bool) -> tuple[frozenset[str], bool]:
    """Return the parameters asked for that no encoder of the target takes, and whether there is an encoder at all.

    Those of other distributions are looked for where the known ones do not take all.
    """
    strange, known = quality.asked(), False
    for rows_of in (ENCODERS.rows, ENCODERS.every_row):
        rows = [row for syntax in target.syntaxes for row in rows_of(syntax.uid) if row.lossy == lossy]
        known = bool(rows)
        strange = quality.asked() - frozenset[str]().union(*(row.options for row in rows))
        if not strange:
            break
    return strange, known


def check_backends(backend: BackendChoice) -> None:
    """Raise UsageError for the name of a backend that there is not."""
    for name, registry in ((backend.decoder, DECODERS), (backend.encoder, ENCODERS)):
        if name is not None:
            registry.check_backend(name)


def _check_consent(quality: EncodingParameters) -> None:
    losing = sorted(quality.asked() & LOSSY_PARAMETERS)
    if losing and not quality.lossy:
        names = ", ".join(option_name(name) for name in losing)
        raise RefusedError(f"{names} would lose information; say --lossy to consent", code="E_LOSSY")


# Of 1000 as the SI has them, of 1024 with an i.
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
    """Everything that is asked for of one file."""

    target: Target
    policy: Policy = Policy()
    backend: BackendChoice = BackendChoice()
    quality: EncodingParameters = EncodingParameters()
