"""Which comparison runs, and which arm a ticket belongs to. Called by intake, workers and the report. Pure."""

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Literal

from models.errors import ConfigError
from service.config import IMPLIED, Arm, Config, ExperimentConfig


@dataclass(frozen=True, slots=True)
class Experiment:
    """A comparison of arm `a` with arm `b`. The implied one, of the policy's two llms, needs no line in triage.yaml.

    `b` is None where the policy has no fallback: nothing is compared.
    """

    name: str
    field: str
    mode: Literal["shadow", "split"]
    a: Arm
    b: Arm | None
    since: datetime | None = None
    until: datetime | None = None
    implied: bool = False

    @property
    def serves(self) -> bool:
        """Whether a ticket is served by its arm."""
        return self.mode == "split"

    @property
    def compared(self) -> list[str]:
        """The llms that answer a ticket whose coin says yes, whoever serves."""
        return list(dict.fromkeys(arm.primary for arm in (self.a, self.b) if arm is not None))

    def arm(self, unit: str) -> Literal["a", "b"]:
        """The arm of a unit: half of all units by SHA-256 of experiment and unit, the same for ever."""
        digest = hashlib.sha256(f"{self.name}\n{unit}".encode("utf-8", "surrogatepass")).digest()
        return "a" if digest[0] < 128 else "b"

    def policy(self, arm: str | None) -> Arm | None:
        """What serves tickets of this arm; None where the experiment leaves serving to the policy."""
        return {"a": self.a, "b": self.b}.get(arm or "") if self.serves else None


def unit(requester: str | None, external_id: str | None, ticket_id: str) -> str:
    """What is assigned: all tickets of a requester together, else the ticket."""
    return requester or external_id or ticket_id


def experiments(config: Config) -> list[Experiment]:
    """Those of triage.yaml in their order, the implied one last."""
    return [*map(of_config, config.experiments), implied(config)]


def implied(config: Config) -> Experiment:
    """The policy's primary against its fallback, in shadow; also what runs while no other does."""
    return _implied(config.policy.primary, config.policy.fallback)


@cache
def _implied(primary: str, fallback: str | None) -> Experiment:
    """Made once, not for every ticket at the door and in the worker."""
    b = Arm(primary=fallback) if fallback else None
    return Experiment(IMPLIED, "category", "shadow", Arm(primary=primary), b, implied=True)


def running(config: Config, now: datetime) -> Experiment:
    """What a ticket received `now` takes part in."""
    for one in experiments(config):
        if (one.since is None or one.since <= now) and (one.until is None or now < one.until):
            return one
    raise AssertionError("the implied experiment always runs")


def require_fields(config: Config, known: Collection[str]) -> None:
    """Raises ConfigError for an experiment about a field that the taxonomy does not have."""
    for one in config.experiments:
        if one.field not in known:
            raise ConfigError(
                f"experiments.{one.name}.field is {one.field!r}, which the taxonomy does not have: {', '.join(known)}."
            )


def drawn(config: Config, name: str | None) -> Experiment:
    """What a ticket took part in at intake; the implied one too where triage.yaml names it no more."""
    return next((one for one in experiments(config) if one.name == name), implied(config))


def of_config(config: ExperimentConfig) -> Experiment:
    """The experiment that a line of triage.yaml describes."""
    names = ("name", "field", "mode", "a", "b", "since", "until")
    return Experiment(**{name: getattr(config, name) for name in names})
