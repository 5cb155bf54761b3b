"""What becomes of an error: one line on stderr and an exit code (0, 1 to 8, 130, 141, 143)."""

from __future__ import annotations

import os
import re
import sys
import traceback
from types import FrameType

import click

from spdq.errors import SpdqError

INTERNAL = 1
USAGE = 2
INTERRUPTED = 130
BROKEN_PIPE = 141
TERMINATED = 143

# Names in files come from anyone: an escape sequence among them must not reach the terminal.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


class Terminated(KeyboardInterrupt):
    """SIGTERM; whatever tidies up after Ctrl-C does so after this, too."""


def terminate(signal: int, frame: FrameType | None) -> None:
    """Signal handler that raises ``Terminated``."""
    raise Terminated


def printable(text: str) -> str:
    """The text with control characters spelled out, in one line."""
    return _CONTROL.sub(lambda found: repr(found[0])[1:-1], " ".join(text.splitlines()))


def note(message: str) -> None:
    """Say something beside the data: one line on stderr."""
    click.echo(f"spdq: {printable(message)}", err=True)


def report(error: BaseException, debug: bool) -> int:
    """Tell the user about an error and return the exit code for it."""
    if debug and not isinstance(error, KeyboardInterrupt | BrokenPipeError):
        traceback.print_exception(error)
    match error:
        case SpdqError():
            note(f"error: {error}")
            return error.exit_code
        case click.exceptions.NoArgsIsHelpError():
            error.show()
            return USAGE
        case click.ClickException():
            note(f"error: {_usage(error)}")
            return USAGE
        case KeyboardInterrupt():
            note(str(error) or "interrupted")
            return TERMINATED if isinstance(error, Terminated) else INTERRUPTED
        case BrokenPipeError():
            # Python flushes stdout once more when it ends; let that go nowhere.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return BROKEN_PIPE
        case _:
            what = f"internal error: {type(error).__name__}: {error}"
            note(f"{what}; please report this; `spdq --debug ...` shows where it happened")
            return INTERNAL


def _usage(error: click.ClickException) -> str:
    context = getattr(error, "ctx", None)
    message = error.format_message().rstrip(".")
    return f"{message}. See `{context.command_path} --help`" if context else message
