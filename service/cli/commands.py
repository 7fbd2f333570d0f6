"""All groups of commands as one application. Loaded by `service.cli.main` when it is called, not before."""

import sys

import typer

from models.errors import TriageError
from service.cli import backup, demo, doctor, keys, llm, offline, report, running

app = typer.Typer(
    help="Reads support tickets and says which queue they belong to, how sure it is, and which llm does it better.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for group in (demo, running, keys, llm, report, offline, doctor, backup):
    group.register(app)


def run() -> None:
    """Runs the command that the arguments name: exit 2 for wrong usage, 1 for a failed job."""
    try:
        app()
    except TriageError as error:
        print(f"triage: {error.message}", file=sys.stderr)  # noqa: T201 (this is what people read)
        sys.exit(1)
