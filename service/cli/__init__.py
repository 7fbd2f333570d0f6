"""The command line `triage`: a file or folder per group of commands. Errors are a sentence on stderr, no traceback."""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from service.garbage import while_loading


def main() -> None:
    """The entry point."""
    while_loading()
    with _interruptible():
        from service.cli.commands import application, needed, run

        app = application(needed(sys.argv[1:]))
    try:
        run(app)
    except KeyboardInterrupt:
        sys.exit(130)


@contextmanager
def _interruptible() -> Iterator[None]:
    """While libraries load, which takes a second, a Ctrl-C ends the process as such: nothing has been begun yet.

    As an exception it would print a traceback, or be swallowed by whatever code is being loaded.
    """
    before = signal.getsignal(signal.SIGINT)
    if before is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGINT, before)
