"""Counts what the rules of a site would do with files; nothing is decoded."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from typing import Any

from dcmtx.dataset.meta import PASSED_OVER, peek
from dcmtx.errors import DcmtxError
from dcmtx.place.below import Below, walk_below
from dcmtx.place.places import is_remote, open_reader
from dcmtx.planning.request import Request, resolve
from dcmtx.planning.site import Action, Rule, SitePolicy
from dcmtx.policy import LOSSLESS
from dcmtx.transcoding.choosing import facts_of
from dcmtx.transcoding.source import open_source

# For files that no rule is for, and for those that cannot be read.
NO_RULE, UNREADABLE = "no rule", "not readable"


class Counts:
    """Files and bytes by rule, in the order of the rules."""

    def __init__(self, site: SitePolicy) -> None:
        self.files: dict[str, int] = {rule.name: 0 for rule in site.rules}
        self.bytes: dict[str, int] = dict(self.files)
        self._actions = {rule.name: _does(rule) for rule in site.rules}

    def add(self, name: str, size: int) -> None:
        """Count a file."""
        self.files[name] = self.files.get(name, 0) + 1
        self.bytes[name] = self.bytes.get(name, 0) + size

    def rows(self) -> list[dict[str, Any]]:
        """Return a record for each rule, and for files that none is for."""
        return [
            {"rule": name, "does": self._actions.get(name, ""), "files": count, "bytes": self.bytes[name]}
            for name, count in self.files.items()
        ]


def _does(rule: Rule) -> str:
    lossy = " with loss" if rule.parameters.lossy else ""
    return f"to {rule.to}{lossy}" if rule.action is Action.CONVERT else rule.action.value


def count(site: SitePolicy, sources: Iterable[str], tell: Callable[[DcmtxError], None]) -> Counts:
    """Return how many files, and bytes, below `sources` each rule is for.

    `tell` is told of each file or directory that cannot be read, and of what was named and is not DICOM.
    """
    counts = Counts(site)
    sources = list(sources)
    request = Request(resolve("raw", LOSSLESS))
    for below in files_below(sources):
        size = 0
        try:
            if below.fault is not None:
                raise below.fault
            with closing(open_reader(below.path)) as file:
                size = file.size
                with closing(open_source(file, meta=peek(file))) as opened:
                    rule = site.decide(facts_of(opened, size, request))
            counts.add(NO_RULE if rule is None else rule.name, size)
        except DcmtxError as error:
            error.path = error.path or below.path
            why = PASSED_OVER.get(error.code)
            counts.add(why or UNREADABLE, size)
            if why is None or below.path in sources:
                tell(error)
    return counts


def files_below(sources: Iterable[str]) -> Iterator[Below]:
    """Yield files, and those below directories in order of their names, without temporary ones; objects likewise.

    What is no file, such as a pipe or a link to a directory, is passed over.
    """
    for source in sources:
        if is_remote(source):
            from dcmtx.place.remote import is_prefix, listing

            urls = (one.url for one in listing(source)) if is_prefix(source) else [source]
            yield from map(Below, urls)
            continue
        if not os.path.isdir(source):
            yield Below(source)
            continue
        yield from (below for below in walk_below(source) if not below.skip)
