"""The command line `triage`: a file or folder per group of commands. Errors are a sentence on stderr, no traceback."""

import gc
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

# New objects before a look for garbage, and how many looks before one at the older ones: what a start loads stays for
# ever, and looking through it again and again was a fifth of every start.
SELDOM = (50_000, 20, 50)


def main() -> None:
    """The entry point."""
    gc.set_threshold(*SELDOM)
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
