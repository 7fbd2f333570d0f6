"""The command line `triage`: one file per group of commands. Errors are one sentence on stderr, never a traceback."""

import sys

import typer

from models.errors import TriageError
from service.cli import backup, demo, doctor, keys, offline, report, running

app = typer.Typer(
    help="Reads support tickets and says which queue they belong to, how sure it is, and which llm does it better.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for group in (demo, running, keys, report, offline, doctor, backup):
    group.register(app)


def main() -> None:
    """The entry point: exit 2 for wrong usage, 1 for a failed job."""
    try:
        app()
    except TriageError as error:
        print(f"triage: {error.message}", file=sys.stderr)  # noqa: T201 (this is what people read)
        sys.exit(1)
