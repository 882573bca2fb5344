"""Patterns as the standard's queries have them: `*` is any text, `?` any one character (PS3.4 C.2.2.2.4)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache


def matches(pattern: str, text: str) -> bool:
    """Tell whether a text is what the pattern says, from its first character to its last; case matters.

    >>> matches("1.2.840.10008.1.2.4.8?", "1.2.840.10008.1.2.4.80"), matches("CT*", "MRCT")
    (True, False)
    """
    return _compiled(pattern).fullmatch(text) is not None


def matches_any(patterns: Iterable[str], text: str) -> bool:
    """Tell whether one of the patterns matches; where there are none, every text does."""
    patterns = tuple(patterns)
    return not patterns or any(matches(pattern, text) for pattern in patterns)


@lru_cache(maxsize=4096)
def _compiled(pattern: str) -> re.Pattern[str]:
    parts = (".*" if sign == "*" else "." if sign == "?" else re.escape(sign) for sign in pattern)
    return re.compile("".join(parts), re.DOTALL)
