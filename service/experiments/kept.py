"""Experiments in Postgres: a name keeps its meaning, and a report outlives the lines in triage.yaml.

Stored by `up` and `migrate`; read by the API, the pages and `triage report`.
"""

from datetime import UTC, datetime

from sqlalchemy import exists, select
from sqlalchemy.orm import Session

from models.errors import ConfigError, NotFound
from models.tables import KeptExperiment, Ticket
from service.config import Config, ExperimentConfig
from service.experiments import assignment
from service.experiments.assignment import Experiment

WHENEVER = {"since": None, "until": None}  # when it runs may change, what it compares may not


def keep(session: Session, config: Config) -> None:
    """Stores what is new; raises ConfigError for a name under which tickets took part in another comparison."""
    for one in config.experiments:
        row = session.get(KeptExperiment, one.name)
        same = row is not None and _read(row) == one.model_copy(update=WHENEVER)
        if row is not None and not same and session.scalar(select(exists().where(Ticket.experiment == one.name))):
            raise ConfigError(
                f"experiments.{one.name} has tickets and compared something else when they came: "
                "give what it compares now another name."
            )
        if not same:
            definition = one.model_copy(update=WHENEVER).model_dump(mode="json")
            session.merge(KeptExperiment(name=one.name, definition=definition))


def experiments(session: Session, config: Config) -> list[Experiment]:
    """Those of triage.yaml, the implied one, then those that were taken out."""
    known = assignment.experiments(config)
    rows = session.scalars(select(KeptExperiment).order_by(KeptExperiment.created_at.desc(), KeptExperiment.name))
    names = {one.name for one in known}
    return known + [assignment.of_config(_read(row)) for row in rows if row.name not in names]


def named(session: Session, config: Config, name: str) -> Experiment:
    """The experiment of that name, in triage.yaml or taken out; raises NotFound."""
    for one in experiments(session, config):
        if one.name == name:
            return one
    raise NotFound(f"There is no experiment {name!r}; GET /v1/experiments lists them.")


def asked_for(session: Session, config: Config, name: str | None) -> Experiment:
    """The named one, without a name the one that runs now; raises NotFound."""
    return named(session, config, name) if name else assignment.running(config, datetime.now(UTC))


def _read(row: KeptExperiment) -> ExperimentConfig:
    return ExperimentConfig.model_validate(row.definition)
