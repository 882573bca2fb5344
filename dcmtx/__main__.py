"""`dcmtx`, and `python -m dcmtx`: the work is a server's if there is one, and this process's own if there is none."""

import os
import sys

_INTERRUPTED = 130


def main() -> None:
    """Run the command line and exit with its status."""
    try:
        from dcmtx.serve.client import PEERS, hand_over

        name = sys.argv[0].rpartition("/")[2]
        if name in PEERS:
            sys.argv[1:1] = ["as", name]
        status = hand_over(sys.argv[1:])
        if status is not None:
            # Nothing is there to be flushed or collected.
            os._exit(status)
        # Signals first: the command line takes time to load.
        from dcmtx.signals import handle_signals

        handle_signals()
    except KeyboardInterrupt:
        # Python's own handler, in the moment before ours stood.
        os._exit(_INTERRUPTED)
    from dcmtx.pool import early

    early.begin(sys.argv[1:])
    from dcmtx.cli import main as run

    try:
        run()
    except SystemExit as end:
        _leave(end.code)
        raise


def _leave(status: object) -> None:
    """End this process at once if nothing needs the interpreter to take itself apart, which takes 10 ms."""
    threading = sys.modules.get("threading")
    if not isinstance(status, int) or (threading is not None and threading.active_count() > 1):
        return
    if _is_watched():
        # A profiler, say, which has something to tell at the end.
        return
    import contextlib

    from dcmtx.signals import run_exit_functions

    run_exit_functions()
    for stream in (sys.stdout, sys.stderr):
        # What cannot be written is known by now, and says itself in the status.
        with contextlib.suppress(AttributeError, OSError, ValueError):
            stream.flush()
    os._exit(status)


def _is_watched() -> bool:
    hooks = [sys.getprofile(), sys.gettrace()]
    if sys.version_info >= (3, 12):
        # There are tools beside the hooks: six at most.
        hooks += [sys.monitoring.get_tool(number) for number in range(6)]
    return any(hook is not None for hook in hooks)


if __name__ == "__main__":
    main()
