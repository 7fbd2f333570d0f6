"""What --llm may say: a name of triage.yaml, or KIND:VALUE. Used by evaluate and calibrate."""

from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path

from models.errors import ConfigError
from service.config import Config, EngineConfig, LlmConfig, PolicyConfig, read_config
from service.settings import Loaded, Settings

TRAINED = "linear"
KINDS: dict[str, Callable[[Config | None, str], tuple[EngineConfig, LlmConfig]]] = {}


def load(found: Settings, names: Collection[str], train: Callable[[], Path] | None = None) -> Loaded:
    """triage.yaml with the llms of these names; without names of its own it need not be there.

    `train` makes the folder of the llm `linear`, also where triage.yaml has one of that name.
    """
    there = (
        found.config.is_file()
        or not names
        or any(_kind(name) is None and not (train and name == TRAINED) for name in names)
    )
    config = read_config(found.config) if there else None
    llms = dict(config.llms) if config else {}
    engines = dict(config.engines) if config else {}
    for name in dict.fromkeys(names):
        form = f"linear:{train()}" if train and name == TRAINED else name
        if form not in llms:
            engine, llm = _made(config, form, found.config)
            engines[llm.engine] = engines.get(llm.engine, engine)
            llms[name] = llm
    policy = config.policy if config else PolicyConfig(primary=next(iter(llms)))
    base = config or Config(engines=engines, llms=llms, policy=policy)
    folder = found.config.resolve().parent
    return Loaded(settings=found, config=base.model_copy(update={"engines": engines, "llms": llms}), folder=folder)


def _kind(name: str) -> str | None:
    kind = name.partition(":")[0]
    return kind if ":" in name and kind in KINDS else None


def _made(config: Config | None, name: str, file: Path) -> tuple[EngineConfig, LlmConfig]:
    kind, value = _kind(name), name.partition(":")[2]
    if kind is None or not value:
        known = f"; there are: {', '.join(config.llms)}" if config else ""
        forms = ", ".join(f"{kind}:..." for kind in KINDS)
        raise ConfigError(
            f"There is no llm {name!r} in {file}{known}. TRIAGE_CONFIG says which file is read; "
            f"without one say {forms}."
        )
    return KINDS[kind](config, value)


def _llamacpp(config: Config | None, value: str) -> tuple[EngineConfig, LlmConfig]:
    path = value if value.startswith("demo:") else str(Path(value).resolve())
    name, engine = _engine(config, "llamacpp")
    if Path(path).is_file() and not Path(path).with_suffix(".json").is_file():
        raise ConfigError(
            f"There is no card beside {path}: an llm that Triage did not train is named in triage.yaml, under llms, "
            "with this model and its family (mistral, llama3 or plain), and called by its name there."
        )
    return engine, LlmConfig(engine=name, model=path)


def _linear(config: Config | None, value: str) -> tuple[EngineConfig, LlmConfig]:
    name, engine = _engine(config, "linear")
    return engine, LlmConfig(engine=name, model=str(Path(value).resolve()))


def _served(kind: str, config: Config | None, value: str) -> tuple[EngineConfig, LlmConfig]:
    """The codes and the prompt stand in the card, and only triage.yaml says where that is."""
    for llm in config.llms.values() if config else ():
        if config and config.engines[llm.engine].kind == kind and llm.model == value:
            return config.engines[llm.engine], llm
    raise ConfigError(
        f"Nobody knows the card of {kind}:{value}: name the model under llms in triage.yaml, with a card or a family."
    )


def _engine(config: Config | None, kind: str) -> tuple[str, EngineConfig]:
    """The first of that kind in triage.yaml, else one with default settings."""
    of_kind = ((name, engine) for name, engine in (config.engines if config else {}).items() if engine.kind == kind)
    return next(of_kind, (kind, EngineConfig.model_validate({"kind": kind})))


KINDS |= {
    "llamacpp": _llamacpp,
    "linear": _linear,
    "ollama": partial(_served, "ollama"),
    "openai": partial(_served, "openai"),
}
