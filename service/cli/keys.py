"""keys create, list, revoke: who may call the API."""

from typing import Annotated
from uuid import UUID

import typer
from rich.markup import escape
from rich.table import Column, Table
from sqlalchemy import select

from models.moment import moment
from models.tables import ApiKey
from service.auth.keys import Scope, create_key, revoke_key
from service.cli.common import DataDir, Json, print_json, say, screen, store

keys = typer.Typer(help="API keys: create, list, revoke.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    app.add_typer(keys, name="keys")


@keys.command()
def create(
    name: Annotated[str, typer.Argument(help="What the key is for")],
    scope: Annotated[list[Scope], typer.Option(metavar="SCOPE", help=f"One of {', '.join(Scope)}; may be repeated")],
    source: Annotated[
        str | None, typer.Option(help="The only source of tickets that it posts; what it reads is not limited")
    ] = None,
    data_dir: DataDir = None,
    json: Json = False,
) -> None:
    """Makes a key and shows it, this once."""
    with store(data_dir) as session:
        row, text = create_key(session, name, list(scope), source)
    if json:
        print_json({"id": str(row.id), "name": name, "key": text, "scopes": row.scopes, "source": source})
    else:
        typer.echo(text)
        say(f"Keep it: it is not shown again. Its id is {row.id}.")


@keys.command("list")
def list_keys(data_dir: DataDir = None, json: Json = False) -> None:
    """Shows every key, without its text."""
    with store(data_dir) as session:
        rows = session.scalars(select(ApiKey).order_by(ApiKey.created_at)).all()
    names = ("name", "scopes", "source")
    items = [
        {"id": str(row.id)}
        | {name: getattr(row, name) for name in names}
        | {"created_at": moment(row.created_at), "revoked_at": moment(row.revoked_at)}
        for row in rows
    ]
    if json:
        print_json(items)
        return
    table = Table(Column("id", min_width=36), *names, "created", "revoked")  # whole, because revoke asks for it
    for item in items:
        named = (escape(item["name"]), " ".join(item["scopes"]), escape(item["source"] or ""))
        table.add_row(item["id"], *named, item["created_at"], item["revoked_at"] or "")
    screen.print(table)


@keys.command()
def revoke(key_id: Annotated[UUID, typer.Argument(help="The id from keys list")], data_dir: DataDir = None) -> None:
    """Ends a key; every API process refuses it within 30 seconds."""
    with store(data_dir) as session:
        revoke_key(session, key_id)
    typer.echo(f"Revoked {key_id}.")
