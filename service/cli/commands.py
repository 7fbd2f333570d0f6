"""The commands, of which only the one that is asked for is loaded. Loaded by `service.cli.main` when it is called."""

import sys
from collections.abc import Iterable
from importlib import import_module, metadata
from typing import Annotated, NoReturn

import typer
from sqlalchemy.exc import SQLAlchemyError

from models.errors import TriageError

# Each room with its commands. Loading all of them takes a second, which every start of a process would pay for.
ROOMS = {
    "init": ("init",),
    "demo.command": ("demo",),
    "running": ("up", "migrate"),
    "processes": ("serve", "worker"),
    "keys": ("keys",),
    "imports.command": ("import",),
    "runs": ("reclassify", "requeue"),
    "llm.command": ("llm",),
    "taxonomy.command": ("taxonomy",),
    "report": ("report",),
    "classify.command": ("classify",),
    "evaluate.command": ("evaluate",),
    "calibrate.command": ("calibrate",),
    "train": ("train",),
    "doctor": ("doctor",),
    "retention": ("retention",),
    "backup": ("backup", "restore"),
}


def application(rooms: Iterable[str] = ROOMS) -> typer.Typer:
    """The command line with the commands of these rooms."""
    app = typer.Typer(
        help="Reads support tickets and says which queue they belong to, how sure it is, and which llm does it better.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    app.callback()(triage)
    for room in rooms:
        import_module(f"service.cli.{room}").register(app)
    return app


def needed(words: Iterable[str]) -> list[str]:
    """The room of the command that the arguments begin with; all, if that is none: for help, or a complaint."""
    command = next(iter(words), None)
    return [room for room, commands in ROOMS.items() if command in commands] or list(ROOMS)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(metadata.version("triage"))
        raise typer.Exit


def triage(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_version, help="Print the version and exit")
    ] = False,
) -> None:
    pass


def run(app: typer.Typer) -> None:
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
