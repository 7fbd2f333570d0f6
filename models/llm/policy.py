"""A policy's own calibration: a temperature for tickets that were escalated and one for the rest, by field, as JSON.

Written by calibrate; read by workers and doctor. It says exactly what it is valid for.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from models.errors import ConfigError
from models.llm.card import Card

Basis = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Temperatures:
    """Of one field: for tickets that the primary decided alone, and for escalated ones; None where there is none."""

    alone: float | None = None
    escalated: float | None = None


NONE = Temperatures()


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Group(_Strict):
    """A temperature from `n` tickets; `before` and `after` are the NLL of tickets that the fit had not seen."""

    temperature: Annotated[float, Field(ge=0.2, le=5)]
    n: int
    before: float
    after: float


class FieldFit(_Strict):
    """One field's temperatures; those that unseen tickets did not confirm are missing."""

    valid_for: Basis
    alone: Group | None = None
    escalated: Group | None = None


class PolicyCalibration(_Strict):
    """The file. `data_sha256` is that of the tickets which were read last."""

    data_sha256: str
    fields: dict[str, FieldFit]

    def temperatures(self, field: str, now: Basis) -> Temperatures:
        """Those of a field; ConfigError where they were fitted for something else than what is used now."""
        fit = self.fields.get(field)
        if fit is None:
            raise ConfigError(f"The policy's calibration has nothing for field {field}: run triage calibrate again.")
        changed = sorted(key for key in now.keys() | fit.valid_for.keys() if now.get(key) != fit.valid_for.get(key))
        if changed:
            raise ConfigError(
                f"The policy's calibration does not count for field {field}, because what it was fitted for has "
                f"changed ({', '.join(changed)}): run triage calibrate again."
            )
        one, other = fit.alone, fit.escalated
        return Temperatures(one.temperature if one else None, other.temperature if other else None)


def basis(primary: Card, fallback: Card, field: str, labels: Iterable[str], combine: str, below: float) -> Basis:
    """What a policy's temperature depends on: another llm, join, threshold or label makes other scores.

    An llm's calibration is named by its id, which is another one for another prior, temperature or engine.
    """
    found: Basis = {"labels": sorted(labels), "combine": combine, "escalate_below": below}
    for role, card in (("primary", primary), ("fallback", fallback)):
        fit = card.calibration.get(field)
        found |= {
            f"{role} digest": card.digest,
            f"{role} prompt": card.prompt_version,
            f"{role} codes": _hash(card, field),
            f"{role} calibration": fit.id if fit is not None else None,
        }
    return found


def _hash(card: Card, field: str) -> str:
    """Of the codes, and of what the prompt says of them."""
    content = json.dumps([card.codes.get(field, {}), card.header], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def read(path: Path) -> PolicyCalibration:
    """The file; raises ConfigError."""
    try:
        return PolicyCalibration.model_validate_json(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"The policy's calibration {path} cannot be read ({error.strerror}).") from None
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "its top"
        raise ConfigError(f"The policy's calibration {path} is wrong at {place}: {first['msg']}.") from None
