"""Reads a site's policy from TOML.

    [[rule]]
    name = "ultrasound loops as they are"
    when = { modality = "US", frames = ">1" }
    do = "keep"

    [[rule]]
    name = "everything else"
    to = "htj2k-rpcl"

A rule has `when`, a table of conditions, and `to`, the target, or `do`: keep, skip or refuse. Beside `to` stand the
parameters of coding, by their names in Python.
"""

from __future__ import annotations

import re
from typing import Any

from dcmtx.errors import DcmtxError, UsageError
from dcmtx.options import LOSSY_PARAMETERS, OPTIONS, Kind
from dcmtx.planning.request import memory_size, resolve
from dcmtx.planning.site import Action, Condition, Rule, SitePolicy
from dcmtx.policy import EncodingParameters
from dcmtx.syntax import SYNTAXES

_TEXTS = ("modality", "sop_class", "syntax", "photometric", "manufacturer")
_NUMBERS = ("bits", "frames", "size")
_FLAGS = ("lossy",)
_CONDITIONS = (*_TEXTS, *_NUMBERS, *_FLAGS)
_KEYS = ("name", "when", "do", "to")
_MOST_BYTES = 1 << 24
# What makes a text a pattern; a UID (PS3.5 9.1).
_WILD = "*?["
_UID = re.compile(r"(?=.{3,64}\Z)(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*))+")


def read(path: str) -> SitePolicy:
    """Return the policy of a file. Raises UsageError, which names the file, the rule and the key."""
    import tomllib

    try:
        with open(path, "rb") as file:
            data = file.read(_MOST_BYTES)
        tables = tomllib.loads(data.decode("utf-8"))
    except OSError as error:
        raise UsageError(f"the policy {path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"the policy {path} is not TOML: {error}") from error
    if strange := sorted(set(tables) - {"rule"}):
        raise UsageError(f"the policy {path} has {strange[0]}, which is not known", advice="it has [[rule]] tables")
    rules = tables.get("rule")
    if not isinstance(rules, list) or not rules or not all(isinstance(rule, dict) for rule in rules):
        raise UsageError(f"the policy {path} has no [[rule]]")
    read_rules = tuple(_rule(path, number, rule) for number, rule in enumerate(rules, 1))
    for number, rule in enumerate(read_rules[:-1], 1):
        if not rule.when:
            raise UsageError(
                f"{_place(path, number)}: it has no condition, so that no rule after it ever counts",
                advice="put it at the end",
            )
    return SitePolicy(path, read_rules)


def _place(path: str, number: int) -> str:
    return f"{path}: rule {number}"


def _rule(path: str, number: int, table: dict[str, Any]) -> Rule:
    place = _place(path, number)
    parameters = {key: value for key, value in table.items() if key not in _KEYS}
    if strange := sorted(set(parameters) - set(EncodingParameters._fields)):
        raise UsageError(f"{place}: there is no {strange[0]}", advice=f"there are {', '.join(_KEYS)} and parameters")
    name = table.get("name", f"rule {number}")
    when = table.get("when", {})
    if not isinstance(name, str) or not isinstance(when, dict):
        raise UsageError(f'{place}: name is a text and when a table, such as {{ modality = "CT" }}')
    conditions = tuple(_condition(place, key, value) for key, value in when.items())
    if ("to" in table) == ("do" in table):
        raise UsageError(f"{place}: it needs either to, a transfer syntax, or do: keep, skip or refuse")
    if "do" in table:
        return Rule(name, conditions, action=_action(place, table["do"], parameters))
    return _conversion(place, Rule(name, conditions), table["to"], parameters)


def _action(place: str, word: Any, parameters: dict[str, Any]) -> Action:
    if word not in ("keep", "skip", "refuse"):
        raise UsageError(f"{place}: do is {word!r}, not keep, skip or refuse")
    if parameters:
        raise UsageError(f"{place}: {min(parameters)} is for `to`, and nothing is encoded")
    return Action(word)


def _conversion(place: str, rule: Rule, to: Any, parameters: dict[str, Any]) -> Rule:
    if not isinstance(to, str):
        raise UsageError(f"{place}: to is {to!r}, not the name of a transfer syntax")
    coding = _parameters(place, parameters)
    try:
        resolve(to, coding)
    except DcmtxError as error:
        raise UsageError(f"{place}: {error.what}", advice=error.advice) from error
    return rule.replace(to=to, parameters=coding)


def _parameters(place: str, given: dict[str, Any]) -> EncodingParameters:
    """Return the parameters of coding. Raises UsageError for what is no consent to loss, or where it is missing."""
    lossy = given.get("lossy", False)
    if not isinstance(lossy, bool):
        raise UsageError(f"{place}: lossy is {lossy!r}, not true or false", advice="consent is `lossy = true`")
    # A choice such as 444 looks like a number, and nobody thinks of quotes.
    words = {
        key: str(value)
        for key, value in given.items()
        if OPTIONS[key].kind is Kind.CHOICE and isinstance(value, int) and not isinstance(value, bool)
    }
    made = EncodingParameters(**given | words)
    losing = sorted(made.asked() & LOSSY_PARAMETERS)
    if losing and not lossy:
        raise UsageError(f"{place}: {', '.join(losing)} would lose information", advice="write lossy = true to consent")
    return made


def _condition(place: str, name: str, value: Any) -> Condition:
    if name in _FLAGS:
        if not isinstance(value, bool):
            raise UsageError(f"{place}: {name} is {value!r}, not true or false")
        return Condition(name, flag=value)
    if name in _NUMBERS:
        return _bounds(place, name, value)
    if name not in _TEXTS:
        raise UsageError(f"{place}: there is no condition {name}", advice=f"there are {', '.join(_CONDITIONS)}")
    texts = value if isinstance(value, list) else [value]
    if not texts or not all(isinstance(text, str) and text.strip("!") for text in texts):
        raise UsageError(f"{place}: {name} is {value!r}, not a text or a list of texts")
    for text in texts:
        _check_known(place, name, text.removeprefix("!"))
    return Condition(
        name,
        tuple(text for text in texts if not text.startswith("!")),
        unlike=tuple(text[1:] for text in texts if text.startswith("!")),
    )


def _check_known(place: str, name: str, text: str) -> None:
    """Raise UsageError for a transfer syntax or SOP class that no file can have. A UID may be a private one."""
    if any(sign in text for sign in _WILD) or _UID.fullmatch(text):
        return
    if name == "syntax" and text.lower() not in _syntaxes():
        raise UsageError(
            f"{place}: there is no transfer syntax {text!r}", advice="`dcmtx syntaxes` lists them; or write a UID"
        )
    if name == "sop_class":
        from dcmtx.dataset.dictionary import sop_classes

        if text.lower() not in sop_classes():
            raise UsageError(
                f"{place}: there is no SOP class {text!r}", advice="write a keyword such as CTImageStorage, or a UID"
            )


def _syntaxes() -> set[str]:
    """Return the names of transfer syntaxes that conditions are compared with, in lower case."""
    return {name.lower() for row in SYNTAXES for name in (row.label, row.family, row.keyword) if name}


def _bounds(place: str, name: str, value: Any) -> Condition:
    """Return the condition of a number: 12, "12", ">8", "<=512MiB", "9..12"."""
    text = str(value).replace(" ", "")
    if ".." in text:
        return _range(place, name, text)
    try:
        if isinstance(value, bool):
            return _bounds(place, name, "a flag")
        sign = text[: len(text) - len(text.lstrip("<>="))]
        number = _number(name, text[len(sign) :])
        bounds = {"": (number, number), "=": (number, number), ">": (number + 1, None), ">=": (number, None)}
        least_most = (bounds | {"<": (None, number - 1), "<=": (None, number)})[sign]
        return Condition(name, least=least_most[0], most=least_most[1])
    except (ValueError, KeyError, UsageError):
        raise _no_bound(place, name, value) from None


def _range(place: str, name: str, text: str) -> Condition:
    first, _, last = text.partition("..")
    try:
        least, most = _number(name, first), _number(name, last)
    except (ValueError, UsageError):
        raise _no_bound(place, name, text) from None
    if least > most:
        raise UsageError(f"{place}: {name} is {text!r}, which nothing is in", advice=f'write "{last}..{first}"')
    return Condition(name, least=least, most=most)


def _no_bound(place: str, name: str, value: Any) -> UsageError:
    return UsageError(
        f"{place}: {name} is {value!r}, not a number or a bound", advice='write 12, ">8", "<=16" or "9..12"'
    )


def _number(name: str, text: str) -> int:
    if name == "size":
        return 0 if text == "0" else memory_size(text)
    return int(text)
