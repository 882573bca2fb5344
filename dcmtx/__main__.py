"""`dcmtx`, and `python -m dcmtx`: the work is a server's if there is one, and this process's own if there is none."""

import os
import sys

from dcmtx.serve.client import hand_over


def main() -> None:
    """Run the command line and exit with its status."""
    status = hand_over(sys.argv[1:])
    if status is not None:
        # Nothing is there to be flushed or collected.
        os._exit(status)
    from dcmtx.cli import main as work

    work()


if __name__ == "__main__":
    main()
