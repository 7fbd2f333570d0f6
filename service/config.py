"""triage.yaml: engines, llms, policy, experiments, connections. Read by settings; ConfigError names the place."""

import itertools
import re
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from models import yamlfile
from models.llm.prices import Price

OLLAMA = "http://127.0.0.1:11434"
SERVERS = ("ollama", "openai")  # the kinds of engine that are a server at a url
IMPLIED = "primary-or-fallback"  # the experiment of the policy's own two llms, which needs no line


def _no_number(value: object) -> object:
    """By itself pydantic would take one for Unix seconds, and `since: 2026` for 1970."""
    if isinstance(value, int | float) or (isinstance(value, str) and ":" not in value):
        raise ValueError("must be a time with its zone, such as 2026-01-31T12:00:00Z")
    return value


Moment = Annotated[AwareDatetime, BeforeValidator(_no_number)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class EngineConfig(_Strict):
    """One way to reach language models.

    `llamacpp` is llama.cpp inside the worker, `ollama` a server at `url`, `linear` needs neither. `openai` is any
    server that speaks OpenAI's API below `url`; its key is in the environment, its limit in the currency of the prices.
    """

    kind: Literal["llamacpp", "ollama", "linear", "openai"]
    url: str = OLLAMA
    parallel: Annotated[int, Field(ge=1, le=64, strict=True)] = 4
    key_env: Annotated[str | None, Field(pattern=r"^[A-Z][A-Z0-9_]*$")] = None
    spend_limit_per_day: Annotated[float | None, Field(gt=0, strict=True)] = None

    @model_validator(mode="after")
    def _url_of_a_server(self) -> "EngineConfig":
        if self.kind not in SERVERS and "url" in self.model_fields_set:
            raise ValueError(f"an engine of kind {self.kind} has no url")
        path, like = (r"(/[\w./~-]*)?", "https://api.mistral.ai/v1") if self.kind == "openai" else ("/?", OLLAMA)
        if re.fullmatch(rf"https?://([\w.-]+|\[[\da-fA-F:]+\])(:\d{{1,5}})?{path}", self.url) is None:
            raise ValueError(f"url must be like {like}")
        return self

    @model_validator(mode="after")
    def _of_a_cloud(self) -> "EngineConfig":
        for name in ("key_env", "spend_limit_per_day"):
            if self.kind != "openai" and name in self.model_fields_set:
                raise ValueError(f"an engine of kind {self.kind} has no {name}")
        if self.kind == "openai" and "url" not in self.model_fields_set:
            raise ValueError("an engine of kind openai needs a url, such as https://api.mistral.ai/v1")
        return self


class LlmConfig(_Strict):
    """Weights on an engine: for llamacpp a path to a GGUF beside its card, or `demo:primary`, `demo:fallback`.

    For ollama and openai `model` is the name there, and `card` a path to the card, or one of the same two words. For
    linear it is the folder that `triage train linear` wrote. An llm that was not trained on our prompts has no card but
    a `family`, the turns it was trained on (`plain` is none: the server puts them around a message), and perhaps a
    `calibration`, the file that `triage calibrate` writes for it.
    """

    engine: str
    model: str
    card: Annotated[str | None, Field(pattern=r"^demo:\w+$|\.json$")] = None
    family: Literal["mistral", "llama3", "plain"] | None = None
    calibration: Annotated[str | None, Field(pattern=r"\.json$")] = None
    price: Price | None = None


class Arm(_Strict):
    """A policy: who is asked first, who when that one is not sure, and how the two answers become one.

    `calibration` is the file of temperatures that `triage calibrate --policy` wrote for it.
    """

    primary: str
    fallback: str | None = None
    escalate_below: Annotated[float, Field(ge=0, le=1, strict=True)] = 0.80
    combine: Literal["average", "replace"] = "average"
    calibration: Annotated[str | None, Field(pattern=r"\.json$")] = None

    @model_validator(mode="after")
    def _two_llms(self) -> "Arm":
        if self.primary == self.fallback:
            raise ValueError("fallback must be another llm than primary")
        if self.calibration is not None and self.fallback is None:
            raise ValueError("calibration is for a policy with a fallback; that of one llm stands in its card")
        return self

    @property
    def llms(self) -> list[str]:
        """The llms that this policy may ask, the primary first."""
        return [self.primary, *([self.fallback] if self.fallback else [])]


class PolicyConfig(Arm):
    """The policy that serves, and for how many tickets the compared llms all answer, whoever serves.

    `last_resort` is an llm on the CPU for tickets that neither primary nor fallback can answer.
    """

    last_resort: str | None = None

    shadow_rate: Annotated[float, Field(ge=0, le=1, strict=True)] = 0.0

    @property
    def llms(self) -> list[str]:
        return [*super().llms, *([self.last_resort] if self.last_resort else [])]


class ExperimentConfig(_Strict):
    """A comparison of two arms, for tickets received from `since` until before `until`.

    shadow: both primaries answer the tickets whose coin says yes, while the policy serves. split: each ticket is served
    by the arm that it is assigned to.
    """

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]
    field: str = "category"
    mode: Literal["shadow", "split"] = "shadow"
    a: Arm
    b: Arm
    since: Moment | None = None
    until: Moment | None = None

    @model_validator(mode="after")
    def _arms_differ(self) -> "ExperimentConfig":
        if self.a == self.b:
            raise ValueError("a and b are the same policy; there is nothing to compare")
        if self.mode == "shadow" and (self.a.fallback or self.b.fallback or self.a.primary == self.b.primary):
            raise ValueError("mode shadow compares two llms, a primary in each arm; mode split compares policies")
        if self.since and self.until and self.since >= self.until:
            raise ValueError("since must lie before until")
        return self

    def overlaps(self, other: "ExperimentConfig") -> bool:
        """Whether both would run at some moment."""
        return not (_before(self.until, other.since) or _before(other.until, self.since))


def _known_by(place: str, kind: str, llm: LlmConfig) -> None:
    """Raises ValueError unless it is said once what the llm is: by a card, or by a family."""
    if kind == "linear" and llm.family is not None:
        raise ValueError(f"{place} has a family, which an llm on an engine of kind linear has not")
    if kind not in SERVERS and llm.card is not None:
        raise ValueError(f"{place} needs no card, because the engine finds it beside the weights")
    if kind in SERVERS and (llm.card is None) == (llm.family is None):
        raise ValueError(f"{place} needs a card, or a family if it was not trained by Triage: one of the two")
    if llm.calibration is not None and llm.family is None:
        raise ValueError(f"{place} has a calibration, which is for an llm with a family; that of others is in the card")


def _before(end: datetime | None, start: datetime | None) -> bool:
    return end is not None and start is not None and end <= start


class Config(_Strict):
    """triage.yaml."""

    taxonomy: Path = Path("taxonomy.yaml")
    engines: dict[str, EngineConfig]
    llms: dict[str, LlmConfig]
    policy: PolicyConfig
    experiments: list[ExperimentConfig] = []
    connections: list[dict[str, Any]] = []

    @model_validator(mode="after")
    def _llms_have_engines(self) -> "Config":
        for name, llm in self.llms.items():
            if llm.engine not in self.engines:
                raise ValueError(f"llms.{name}.engine is {llm.engine!r}, which is not under engines")
            kind = self.engines[llm.engine].kind
            _known_by(f"llms.{name}", kind, llm)
            if kind != "openai" and llm.price is not None:
                raise ValueError(f"llms.{name} has a price, which only an llm of an engine of kind openai has")
        return self

    @model_validator(mode="after")
    def _arms_have_llms(self) -> "Config":
        for place, arm in self.arms.items():
            for role in ("primary", "fallback"):
                name = getattr(arm, role)
                if name is not None and name not in self.llms:
                    raise ValueError(f"{place}.{role} is {name!r}, which is not under llms")
        return self

    @model_validator(mode="after")
    def _last_resort_is_here(self) -> "Config":
        name = self.policy.last_resort
        if name is None:
            return self
        if name not in self.llms:
            raise ValueError(f"policy.last_resort is {name!r}, which is not under llms")
        if name in (self.policy.primary, self.policy.fallback):
            raise ValueError("policy.last_resort must be another llm than primary and fallback")
        if (kind := self.engines[self.llms[name].engine].kind) != "linear":
            raise ValueError(f"policy.last_resort is on an engine of kind {kind}; it must be of kind linear")
        return self

    @model_validator(mode="after")
    def _one_experiment_at_a_time(self) -> "Config":
        for one, other in itertools.combinations(self.experiments, 2):
            if one.name == other.name:
                raise ValueError(f"experiments has the name {one.name!r} twice")
            if one.overlaps(other):
                raise ValueError(f"experiments {one.name!r} and {other.name!r} overlap; give them since and until")
        for one in self.experiments:
            if one.name == IMPLIED:
                raise ValueError(f"experiments has the name {IMPLIED!r}, which is that of the implied one")
            if one.mode == "shadow" and self.policy.shadow_rate == 0:
                raise ValueError(f"experiments {one.name!r} of mode shadow needs policy.shadow_rate above 0")
        return self

    @property
    def asked(self) -> list[str]:
        """Every llm that the policy or an experiment may ask, the policy's primary first."""
        return list(dict.fromkeys(name for arm in self.arms.values() for name in arm.llms))

    @property
    def arms(self) -> dict[str, Arm]:
        """The policy and the arms of experiments, by their place in the file."""
        arms: dict[str, Arm] = {"policy": self.policy}
        for one in self.experiments:
            arms |= {f"experiments.{one.name}.a": one.a, f"experiments.{one.name}.b": one.b}
        return arms


def read_config(path: Path) -> Config:
    """triage.yaml; raises ConfigError naming file and key."""
    return yamlfile.read(path, Config, hint="; run triage init or set TRIAGE_CONFIG")
