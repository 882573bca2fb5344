"""What a site decides once: rules in order, each with conditions on a file and what is done with it.

Pure: facts about a file in, a rule out. `site_file` reads the rules from TOML.
"""

from __future__ import annotations

from enum import Enum
from fnmatch import fnmatchcase

from dcmtx.policy import EncodingParameters
from dcmtx.record import Record


class Action(Enum):
    """What a rule does with a file."""

    CONVERT = "convert"
    KEEP = "keep"  # its bytes stay as they are
    SKIP = "skip"  # nothing is written for it
    REFUSE = "refuse"  # an error


class Facts(Record):
    """What conditions look at. Texts have their values as in the data set; numbers are 0 where there are no pixels."""

    modality: str = ""
    sop_class: tuple[str, ...] = ()  # UID, and the keyword if it is known
    syntax: tuple[str, ...] = ()  # UID, label, family and keyword
    photometric: str = ""
    manufacturer: str = ""
    bits: int = 0
    frames: int = 0
    size: int = 0
    lossy: bool = False

    def texts(self, name: str) -> tuple[str, ...]:
        """Return the values of a text."""
        value = getattr(self, name)
        return value if isinstance(value, tuple) else (value,)


class Condition(Record):
    """One condition: of a text, patterns of which one must fit and none of `unlike`; of a number, its bounds.

    Patterns have `*` and `?`, and do not tell capitals apart.
    """

    name: str
    patterns: tuple[str, ...] = ()
    unlike: tuple[str, ...] = ()
    least: float | None = None
    most: float | None = None
    flag: bool | None = None

    def holds(self, facts: Facts) -> bool:
        """Tell whether the condition holds for a file."""
        if self.flag is not None:
            return bool(getattr(facts, self.name)) is self.flag
        if self.least is not None or self.most is not None:
            value = getattr(facts, self.name)
            return (self.least is None or value >= self.least) and (self.most is None or value <= self.most)
        values = [text.lower() for text in facts.texts(self.name)]
        fits = [any(fnmatchcase(value, pattern.lower()) for value in values) for pattern in self.patterns]
        bars = [any(fnmatchcase(value, pattern.lower()) for value in values) for pattern in self.unlike]
        return (not fits or any(fits)) and not any(bars)


class Rule(Record):
    """One rule: all of `when` must hold. `to` and `parameters` are for CONVERT."""

    name: str
    when: tuple[Condition, ...] = ()
    action: Action = Action.CONVERT
    to: str = ""
    parameters: EncodingParameters = EncodingParameters()


class SitePolicy(Record):
    """The rules of a file, in order; the first that holds decides. `path` is the file."""

    path: str
    rules: tuple[Rule, ...] = ()

    def decide(self, facts: Facts) -> Rule | None:
        """Return the rule for a file, or None if none holds."""
        return next((rule for rule in self.rules if all(one.holds(facts) for one in rule.when)), None)

    @property
    def is_complete(self) -> bool:
        """Whether there is a rule for every file."""
        return any(not rule.when for rule in self.rules)
