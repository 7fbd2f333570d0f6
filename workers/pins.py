"""Which exact llm said something: the pin, and its row. Used by llms (to make it), record and runtime (to store it)."""

import re
from dataclasses import asdict, dataclass

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from models.llm.card import Card
from models.tables import LlmVersion
from workers.engines.base import Engine


@dataclass(frozen=True, slots=True)
class Pin:
    """One combination of weights, engine, prompt and calibration."""

    name: str
    digest: str
    engine: str
    engine_version: str
    prompt_version: str
    calibration_id: str
    demo: bool


def pin_of(card: Card, engine: Engine) -> Pin:
    """The engine's version has, after its own, the digests under which it serves the weights, if it gives them any."""
    return Pin(
        name=card.name,
        digest=card.digest,
        engine=engine.kind,
        engine_version=" ".join([engine.version, *map(_short, card.served)]),
        prompt_version=card.prompt_version,
        calibration_id=",".join(fit.id for _, fit in sorted(card.calibration.items())),
        demo=card.demo,
    )


def _short(digest: str) -> str:
    """Enough of a hash; what is a name stays whole."""
    return digest[:12] if re.fullmatch(r"[0-9a-f]{64}", digest) else digest


def row_id(session: Session, pin: Pin) -> int:
    """The id of the pin's row, made when it is new.

    Asked in the transaction that uses it: a restored backup gives the same pin another id.
    """
    values = asdict(pin)
    same = select(LlmVersion.id).where(*(getattr(LlmVersion, n) == v for n, v in values.items() if n != "demo"))
    found = session.scalars(same).first()
    if found is None:
        session.execute(insert(LlmVersion).values(values).on_conflict_do_nothing())
        found = session.scalars(same).one()
    return found
