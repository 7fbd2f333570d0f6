"""serve and worker: one process of either kind, as `up` and containers start them."""

import typer

from service import settings
from service.logs import configure


def register(app: typer.Typer) -> None:
    for command in (serve, worker):
        app.command()(command)


def serve() -> None:
    """Runs one API process."""
    import migrations  # only this command needs the schema's history
    from service.app import Schema, run  # and the web server

    loaded = settings.load()
    configure(loaded.settings)
    run(loaded, Schema(migrations.head(), migrations.older()))


def worker() -> None:
    """Runs one worker process."""
    from workers.app import run  # only this command needs engines

    loaded = settings.load()
    configure(loaded.settings)
    run(loaded)
