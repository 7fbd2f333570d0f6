"""All groups of commands as one application. Loaded by `service.cli.main` when it is called, not before."""

import sys
from importlib import metadata
from typing import Annotated, NoReturn

import typer
from sqlalchemy.exc import SQLAlchemyError

from models.errors import TriageError
from service.cli import backup, doctor, init, keys, report, retention, running, runs, train
from service.cli.calibrate import command as calibrate
from service.cli.classify import command as classify
from service.cli.demo import command as demo
from service.cli.evaluate import command as evaluate
from service.cli.imports import command as imports
from service.cli.llm import command as llm
from service.cli.llm import verify as llm_verify
from service.cli.taxonomy import command as taxonomy

app = typer.Typer(
    help="Reads support tickets and says which queue they belong to, how sure it is, and which llm does it better.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for group in (
    init,
    demo,
    running,
    keys,
    imports,
    runs,
    llm,
    llm_verify,
    taxonomy,
    report,
    classify,
    evaluate,
    calibrate,
    train,
    doctor,
    retention,
    backup,
):
    group.register(app)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(metadata.version("triage"))
        raise typer.Exit


@app.callback()
def triage(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_version, help="Print the version and exit")
    ] = False,
) -> None:
    pass


def run() -> None:
    """Runs the command that the arguments name: exit 2 for wrong usage, 1 for a failed job."""
    try:
        app()
    except TriageError as error:
        _fail(error.message)
    except OSError as error:
        _fail(f"{error.filename or 'A file'}: {error.strerror or type(error).__name__}.")
    except SQLAlchemyError as error:
        # Only the kind: the text of a database error may quote a ticket or a password.
        _fail(f"The database refused ({type(error).__name__}); run triage migrate, then triage doctor.")


def _fail(sentence: str) -> NoReturn:
    print(f"triage: {sentence}", file=sys.stderr)  # noqa: T201 (this is what people read)
    sys.exit(1)
