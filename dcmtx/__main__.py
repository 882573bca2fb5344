"""The program `dcmtx`, also as `python -m dcmtx`: signals first, then the command line, which takes time to load."""

from __future__ import annotations

import os

_INTERRUPTED = 130


def main() -> None:
    """Run the command line and exit with its status."""
    try:
        from dcmtx.signals import handle_signals

        handle_signals()
    except KeyboardInterrupt:
        # Python's own handler, in the moment before ours stood.
        os._exit(_INTERRUPTED)
    from dcmtx.cli import main as run

    run()


if __name__ == "__main__":
    main()
