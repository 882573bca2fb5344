"""The process that workers are forked from, begun before the command line is read.

Its modules take longer to load than all that a batch does until the first file is found. With a core to spare, both
are done at the same time.
"""

from __future__ import annotations

import os

from dcmtx.commands import COMMANDS, DEFAULT_COMMAND

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from dcmtx.pool.template import Begun

# What workers load before their first job.
PRELOAD = (
    "numpy", "imagecodecs", "dcmtx.batch.convert", "dcmtx.transcoding.conversion", "dcmtx.transcoding.routes",
    "dcmtx.transcoding.icons", "dcmtx.dataset.encoding", "dcmtx.pool.committer", "dcmtx.planning.recoding",
)  # fmt: skip
# So many names of files are more than a source and its destination.
_SEVERAL = 3
_begun: Begun | None = None


def begin(words: Sequence[str]) -> None:
    """Begin if these words of the command line will be a batch, most likely. Nothing else depends on that guess."""
    global _begun  # noqa: PLW0603 - a property of the process
    if not _is_batch(words):
        return
    from dcmtx.pool import machine, template

    # With one core, what is loaded twice would only take longer.
    if machine.available_cores() > 1 and template.may_fork():
        try:
            _begun = template.begin(PRELOAD)
        except OSError:
            # The pool will try again, and say so.
            return


def take() -> Begun | None:
    """Return the process that has been begun, once. It ends with this one in any case.

    A fork of this process gets none: it would share the one of its parent, which works where that does.
    """
    global _begun
    begun, _begun = _begun, None
    if begun is not None and begun.parent != os.getpid():
        begun.control.close()
        return None
    return begun


def _is_batch(words: Sequence[str]) -> bool:
    """Tell whether a directory is converted, or several files."""
    if words and words[0] in COMMANDS:
        if words[0] != DEFAULT_COMMAND:
            return False
        words = words[1:]
    return _are_many(word for word in words if not word.startswith("-"))


def _are_many(words: Iterable[str]) -> bool:
    files = 0
    for word in words:
        if os.path.isdir(word):
            return files != 1
        files += os.path.isfile(word)
        if files >= _SEVERAL:
            return True
    return False
