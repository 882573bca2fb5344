"""A command whose codecs run in a process of their own, so that this one survives what they do to it."""

from __future__ import annotations

import sys
from collections.abc import Callable

from dcmtx.cli import finished, outcome
from dcmtx.errors import CodecError


def isolated(run: Callable[[], int], path: str) -> int:
    """Do the work of a command on a file in a child, and return its exit status; here, where that is not possible.

    Raises CodecError, E_CRASH, with the path, if the child is gone.
    """
    from dcmtx.pool import isolation

    if not isolation.is_possible():
        return run()
    sys.stdout.flush()
    try:
        return isolation.run(lambda: finished(outcome(run)))
    except CodecError as error:
        error.path = error.path or path
        raise
