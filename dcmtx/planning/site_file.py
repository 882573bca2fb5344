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

from typing import Any

from dcmtx.errors import DcmtxError, UsageError
from dcmtx.planning.request import memory_size, resolve
from dcmtx.planning.site import Action, Condition, Rule, SitePolicy
from dcmtx.policy import EncodingParameters

_TEXTS = ("modality", "sop_class", "syntax", "photometric", "manufacturer")
_NUMBERS = ("bits", "frames", "size")
_FLAGS = ("lossy",)
_CONDITIONS = (*_TEXTS, *_NUMBERS, *_FLAGS)
_KEYS = ("name", "when", "do", "to")
_MOST_BYTES = 1 << 24


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
                f"{_place(path, number)}: it has no `when`, so that no rule after it ever counts",
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
    coding = EncodingParameters(**parameters)
    try:
        resolve(to, coding)
    except DcmtxError as error:
        raise UsageError(f"{place}: {error.what}", advice=error.advice) from error
    return rule.replace(to=to, parameters=coding)


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
    return Condition(
        name,
        tuple(text for text in texts if not text.startswith("!")),
        unlike=tuple(text[1:] for text in texts if text.startswith("!")),
    )


def _bounds(place: str, name: str, value: Any) -> Condition:
    """Return the condition of a number: 12, "12", ">8", "<=512MiB", "9..12"."""
    text = str(value).replace(" ", "")
    try:
        if isinstance(value, bool):
            return _bounds(place, name, "a flag")
        if ".." in text:
            least, _, most = text.partition("..")
            return Condition(name, least=_number(name, least), most=_number(name, most))
        sign = text[: len(text) - len(text.lstrip("<>="))]
        number = _number(name, text[len(sign) :])
        bounds = {"": (number, number), "=": (number, number), ">": (number + 1, None), ">=": (number, None)}
        least_most = (bounds | {"<": (None, number - 1), "<=": (None, number)})[sign]
        return Condition(name, least=least_most[0], most=least_most[1])
    except (ValueError, KeyError, UsageError):
        raise UsageError(
            f"{place}: {name} is {value!r}, not a number or a bound", advice='write 12, ">8", "<=16" or "9..12"'
        ) from None


def _number(name: str, text: str) -> int:
    if name == "size":
        return 0 if text == "0" else memory_size(text)
    return int(text)
