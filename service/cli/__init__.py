"""The command line `triage`: one file per group of commands. Errors are one sentence on stderr, never a traceback."""

import sys


def main() -> None:
    """The entry point."""
    try:
        # Loading takes a second, in which a Ctrl-C should not print a traceback either.
        from service.cli.commands import run

        run()
    except KeyboardInterrupt:
        sys.exit(130)
