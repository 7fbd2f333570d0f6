"""llm list, show, check, create, pull: the llms of triage.yaml, and what an Ollama has of them."""

import json as jsonlib
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from models.errors import ConfigError, EngineError, TriageError
from models.llm import calibration
from models.llm.card import Card, load_card, sha256
from service import settings
from service.cli.common import Json, print_json, say, screen
from service.cli.llm import cards, confidence
from service.cli.llm.verify import verify
from service.config import SERVERS, EngineConfig
from service.logs import configure
from service.settings import DEMO_LLMS, Loaded

llm = typer.Typer(help="The llms of triage.yaml: list, show, check, verify, create, pull.", no_args_is_help=True)
Name = Annotated[str, typer.Argument(help="An llm's name in triage.yaml")]


def register(app: typer.Typer) -> None:
    app.add_typer(llm, name="llm")


llm.command()(verify)


@llm.command("list")
def list_llms(json: Json = False) -> None:
    """Shows every llm: its engine, its model, whether that is there, and how far its confidence can be believed."""
    loaded = settings.load()
    items = [_item(loaded, name) for name in loaded.config.llms]
    if json:
        print_json(items)
        return
    table = Table("llm", "engine", "model", "state", "confidence")
    for item in items:
        shown = item | {"calibration": confidence.told(item["calibration"])}
        table.add_row(*(escape(str(shown[key])) for key in ("llm", "engine", "model", "state", "calibration")))
    screen.print(table)


@llm.command()
def show(name: Name, json: Json = False) -> None:
    """Shows one llm's card and state."""
    loaded = settings.load()
    item = _item(loaded, _known(loaded, name))
    described = item | _described(cards.card(loaded, name), item["calibration"])
    if json:
        print_json(described)
        return
    del described["calibration"]  # each field's stands in its own line
    for key, value in described.items():
        screen.print(f"{key:15} {value}", markup=False, highlight=False, soft_wrap=True)


@llm.command()
def check(name: Name, json: Json = False) -> None:
    """Asks Ollama whether this llm there does what Triage relies on; exit 1 if anything fails."""
    from service.cli.llm.check import Check  # only this command needs an engine
    from workers.engines.ollama_http import Server

    loaded = settings.load()
    # What the engine would log, the lines below say.
    configure(loaded.settings.model_copy(update={"log_level": "error"}))
    url, model = _in_ollama(loaded, name)
    parallel = loaded.config.engines[loaded.config.llms[name].engine].parallel
    good, lines = True, []
    with closing(Server(url)) as server:
        for line in Check(cards.asked(loaded, name), url, model, parallel, server).lines():
            good = good and line.ok
            lines.append(vars(line))
            if not json:
                mark = "ok  " if line.ok else "FAIL"
                screen.print(f"{mark}  {line.what}: {line.says}", markup=False, highlight=False, soft_wrap=True)
    if json:
        print_json(lines)
    if not good:
        raise typer.Exit(1)


@llm.command()
def create(
    name: Name, gguf: Annotated[Path | None, typer.Option(help="The GGUF [default: the file beside the card]")] = None
) -> None:
    """Makes this llm's model in Ollama from its GGUF, and notes on its card what Ollama made of the file."""
    from service.cli.llm import ollama_admin  # slow to import

    loaded = settings.load()
    url, model = _in_ollama(loaded, name)
    if loaded.config.llms[name].family is not None:
        raise ConfigError(f"The llm {name} has no card that says how to make it: run triage llm pull {name}.")
    card = load_card(loaded.model_path(name))
    file = gguf or card.path
    if not file.is_file():
        raise ConfigError(f"There is no GGUF at {file}: say where it is with --gguf.")
    if sha256(file) != card.digest:
        raise ConfigError(f"{file.name} is not the file its card describes: the SHA-256 differs.")
    with ollama_admin.admin(url) as client:
        digest = ollama_admin.create(client, model, file)
    _note(loaded.model_path(name), digest)
    say(f"Ollama has {model} (digest {digest[:12]}); triage llm check {name} tells whether it will do.")


@llm.command()
def pull(name: Name) -> None:
    """Has Ollama fetch this llm's model from its registry."""
    from service.cli.llm import ollama_admin  # slow to import

    url, model = _in_ollama(settings.load(), name)
    with ollama_admin.admin(url) as client:
        ollama_admin.pull(client, model)
    say(f"Ollama has {model}; triage llm check {name} tells whether it will do.")


def _known(loaded: Loaded, name: str) -> str:
    if name not in loaded.config.llms:
        raise ConfigError(
            f"There is no llm {name!r} in {loaded.settings.config}; there are: {', '.join(loaded.config.llms)}. "
            "TRIAGE_CONFIG says which file is read."
        )
    return name


def _in_ollama(loaded: Loaded, name: str) -> tuple[str, str]:
    """Where the llm's Ollama is and what it is called there."""
    config = loaded.config.llms[_known(loaded, name)]
    engine = loaded.config.engines[config.engine]
    if engine.kind != "ollama":
        raise ConfigError(
            f"The llm {name} runs on {engine.kind}, not on an Ollama, so there is nothing to make or check there: "
            f"triage llm verify {name} --data F and triage doctor say whether it will do."
        )
    return engine.url, config.model


def _item(loaded: Loaded, name: str) -> dict[str, Any]:
    config = loaded.config.llms[name]
    kind = loaded.config.engines[config.engine].kind
    believed: confidence.States = {}
    try:
        card = cards.card(loaded, name)
        says = state(loaded, name, card)
        believed = confidence.states(loaded, name, card)
    except TriageError as error:
        says = error.message
    return {"llm": name, "engine": kind, "model": config.model, "state": says, "calibration": believed}


def state(loaded: Loaded, name: str, card: Card) -> str:
    """Where the llm's weights are; raises EngineError when they are not there, EngineDown when nobody can tell."""
    config = loaded.config.llms[name]
    if loaded.config.engines[config.engine].kind not in SERVERS:
        return f"{card.path.name}, SHA-256 {card.digest[:12]}"
    if loaded.config.engines[config.engine].kind == "openai":
        return _at_server(loaded.config.engines[config.engine], config.model)
    from service.cli.llm import ollama_admin  # slow to import

    url, model = _in_ollama(loaded, name)
    with ollama_admin.admin(url, timeout_s=10) as client:
        digest = ollama_admin.digest(client, model)
    if digest is None:
        how = f"triage llm create {name} or " if config.family is None else ""
        raise EngineError(f"Ollama has no {model}: run {how}triage llm pull {name}.")
    return f"{model} in Ollama, digest {digest[:12]}"


def _at_server(engine: EngineConfig, model: str) -> str:
    """Whether a server of OpenAI's API takes the key and lists the model; nothing is scored, so nothing is paid."""
    from workers.building import openai  # slow to import

    made = openai(engine, {})
    try:
        listed = made.has(model)
    finally:
        made.close()
    return f"{model} at {engine.url}" + ("" if listed else ", which does not list its models")


def _described(card: Card, believed: confidence.States) -> dict[str, Any]:
    told = {field: calibration.told(found) for field, found in believed.items()}
    return {
        "family": card.family,
        "prompt": card.prompt_version,
        "sha256": card.digest or "what the server holds",
        "served as": ", ".join(digest[:12] for digest in card.served) or "not noted",
        "demo": card.demo,
    } | {
        f"field {field}": f"{len(codes)} labels, {_temperature(card, field)}{told.get(field, 'not seen')}"
        for field, codes in card.codes.items()
    }


def _temperature(card: Card, field: str) -> str:
    fit = card.calibration.get(field)
    return f"T {fit.temperature:.4g}, " if fit is not None and fit.temperature is not None else ""


def _note(path: Path, digest: str) -> None:
    """Adds to the card under which digest Ollama holds its weights."""
    content = jsonlib.loads(path.read_text(encoding="utf-8"))
    if digest in content.get("served", []):
        return
    if DEMO_LLMS in path.resolve().parents:
        say("A shipped card stays as it is; where Ollama rewrites a GGUF, copy card and GGUF beside triage.yaml first.")
        return
    content["served"] = [*content.get("served", []), digest]
    path.write_text(jsonlib.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
