"""The command line: `dcmtx`, its commands, and what becomes of errors. Each command's module is loaded when called."""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import sys
from collections.abc import Callable
from typing import Any, NoReturn

# A process that converts one file lives for a tenth of a second: collecting garbage while modules load is a loss.
gc.set_threshold(100_000, 20, 50)
# No linear algebra is done here: a thread per core, spinning, would only take the cores from the codecs.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import click  # noqa: E402

from dcmtx import __version__  # noqa: E402
from dcmtx.commands import COMMANDS, DEFAULT_COMMAND  # noqa: E402
from dcmtx.errors import DcmtxError, ExitStatus, OutputError  # noqa: E402
from dcmtx.signals import handle_signals  # noqa: E402

# Of every command.
SETTINGS: dict[str, Any] = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
_STANDARD_OUTPUT = 1
# What may be a command that is misspelt: so many letters, and so like one of them, where 1 is equal.
_SHORTEST, _ALIKE = 3, 0.75
_PRINTERS = frozenset(["click", "rich"])


class Commands(click.Group):
    """A group whose commands are loaded when called; without a command's name first, `convert` is meant."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the commands."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Load a command."""
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(module), name)
        return command

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put `convert` before arguments that name no command."""
        if args and args[0] not in COMMANDS and args[0] not in ("--help", "-h", "--version"):
            _check_first_word(args[0])
            args = [DEFAULT_COMMAND, *args]
        return super().parse_args(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without loading them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


def _check_first_word(word: str) -> None:
    """Raise UsageError for the name of no file that is nearly the name of a command."""
    if word.isalpha() and len(word) >= _SHORTEST and not os.path.lexists(word):
        from difflib import get_close_matches

        alike = get_close_matches(word.lower(), COMMANDS, 1, _ALIKE)
        if alike:
            raise click.UsageError(f"there is no command {word!r}, and no such file; there is {alike[0]}")


@click.command(
    cls=Commands,
    no_args_is_help=True,
    context_settings=SETTINGS,
    options_metavar="[OPTIONS]",
    subcommand_metavar="[convert] SRC DST --to SYNTAX",
)
@click.version_option(__version__, prog_name="dcmtx", message="%(prog)s %(version)s")
def cli() -> None:
    """Convert DICOM files between transfer syntaxes, with not one pixel or attribute harmed.

    \b
    dcmtx ct.dcm small.dcm --to jpegls        compress, losslessly
    dcmtx small.dcm ct.dcm --raw              decompress
    dcmtx mr.dcm mr.dcm --to htj2k            in place, safely
    dcmtx syntaxes                            what there is to choose from

    What is written is decoded again and compared before it replaces anything. If anything goes wrong the destination
    stays as it was, and the exit status says what: `dcmtx convert --help` lists them.
    """


def main() -> NoReturn:
    """Run the command line and exit with its status."""
    _occupy_closed_streams()
    handle_signals()
    sys.exit(finished(outcome(lambda: cli.main(prog_name="dcmtx", standalone_mode=False))))


def finished(status: int) -> int:
    """Write what is left of standard output, and return the exit status: another one if that cannot be done."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError as error:
        # What is left of the text can go nowhere; the interpreter must not try again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), _STANDARD_OUTPUT)
        if status == ExitStatus.OK and not isinstance(error, BrokenPipeError):
            say(error_line(unwritten(error)))
        status = status or ExitStatus.OUTPUT
    return status


def unwritten(error: OSError) -> OutputError:
    """Return the error for standard output that cannot be written, for a reason of the system."""
    return OutputError(f"standard output cannot be written: {error.strerror or error}")


def _output_error(error: OSError) -> OSError | None:
    """Return why standard output cannot be written, if that is what failed."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    module = "" if trace is None else trace.tb_frame.f_globals.get("__name__", "")
    # They open no files: what fails without a name is what they print to.
    if error.filename is None and module.partition(".")[0] in _PRINTERS:
        return error
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError as other:
        return other
    return None


def outcome(run: Callable[[], Any]) -> int:
    """Run a command, say what goes wrong, and return the exit status."""
    try:
        status = run()
    except (click.Abort, KeyboardInterrupt):
        status = ExitStatus.INTERRUPTED
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        status = ExitStatus.USAGE
    except click.ClickException as error:
        say(_usage_line(error))
        status = ExitStatus.USAGE
    except DcmtxError as error:
        say(error_line(error))
        status = error.status
    except MemoryError:
        say("dcmtx: there is not enough memory")
        status = ExitStatus.CODEC
    except (BrokenPipeError, SystemExit):
        # Whoever read our standard output is gone; click ends the process for that.
        status = ExitStatus.OUTPUT
    except OSError as error:
        cause = _output_error(error)
        say(f"dcmtx: the system failed: {printable(str(error))}" if cause is None else error_line(unwritten(cause)))
        status = ExitStatus.OUTPUT
    return status if isinstance(status, int) else ExitStatus.OK


def _occupy_closed_streams() -> None:
    """Give the numbers of standard streams that are closed to something that can only fail.

    Else a file that is opened gets them, and what is meant for standard output goes into it.
    """
    for number, mode in ((0, os.O_WRONLY), (1, os.O_RDONLY), (2, os.O_RDONLY)):
        try:
            os.fstat(number)
        except OSError:
            # The lowest number that is free is taken.
            os.open(os.devnull, mode)
    if sys.stdout is None:
        # What is written there must fail, as it does for a stream that breaks later.
        sys.stdout = open(_STANDARD_OUTPUT, "w", encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115


def _usage_line(error: click.ClickException) -> str:
    message = " ".join(error.format_message().split()).rstrip(".")
    if isinstance(error, click.NoSuchOption):
        # Each of its letters may be an option, and click names the first that is none.
        names = [word for word in sys.argv[1:] if word[:1] == "-" != word[1:2] and os.path.lexists(word)]
        message += f"; write ./{printable(names[0])} for the file of that name" if names else ""
    context = getattr(error, "ctx", None)
    path = context.command_path if context else "dcmtx"
    return f"dcmtx: {message[:1].lower()}{message[1:]}; try '{path} --help'"


def error_line(error: DcmtxError) -> str:
    """Return the one line that a user sees of an error."""
    message = printable(str(error))
    if error.path is None or (error.path == "-" and error.status is ExitStatus.OUTPUT):
        return f"dcmtx: {message}"
    return f"dcmtx: {shown(error.path) or repr(error.path)}: {message}"


def shown(path: str) -> str:
    """Return a source's path as it can be shown on one line: standard input has a name, odd bytes are escaped."""
    if path == "-":
        return "standard input"
    return printable(os.fsencode(path).decode("utf-8", "backslashreplace"))


def printable(text: str) -> str:
    """Return text that stays on one line, with whatever a terminal would not show escaped."""
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode("ascii") for sign in text)


class Bar:
    """What is known of a progress bar: the console that it stands on, rich's, while it does."""

    def __init__(self) -> None:
        self.standing: Any = None

    @staticmethod
    def take_away() -> None:
        """Erase a bar that may stand, and show the cursor, which it hides, for a process that ends at once."""
        if sys.stderr is not None and sys.stderr.isatty():
            with contextlib.suppress(OSError):
                os.write(sys.stderr.fileno(), b"\x1b[?25h\r\x1b[K")


bar = Bar()


def say(line: str) -> None:
    """Write a line to standard error, if there still is one; above a progress bar, if one stands there."""
    with contextlib.suppress(OSError):
        if bar.standing is None:
            click.echo(line, err=True)
        else:
            bar.standing.print(line, soft_wrap=True, markup=False, highlight=False, emoji=False)


__all__: list[Any] = [
    "bar", "cli", "error_line", "finished", "main", "outcome", "printable", "say", "shown", "unwritten",
]  # fmt: skip
