"""What makes an llm's confidence true: one field's prior and temperature, and exactly what they were fitted for.

Read from cards and from the file that triage.yaml names; written by calibrate and by training; checked by workers.
"""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from models.errors import ConfigError
from models.llm.calibration_key import Key
from models.whole import whole

UNCALIBRATED, BATCH_CALIBRATED, CALIBRATED = "uncalibrated", "batch-calibrated", "calibrated"
AGAIN = "run triage calibrate again"


@dataclass(frozen=True)
class Calibration:
    """One field's, from `n` tickets; `id` names the fit. Without a temperature it is the prior alone."""

    temperature: float | None
    id: str
    n: int
    key: Key | None = None
    prior: Mapping[str, float] = field(default_factory=dict)

    @property
    def state(self) -> str:
        """Only `calibrated` may automate: a prior makes the labels comparable, and says nothing of being right."""
        return CALIBRATED if self.temperature is not None else BATCH_CALIBRATED

    def refused(self, now: Key, llm: str) -> str | None:
        """Why this does not count for the llm as it is used now; None where it counts."""
        others = self.key.others(now) if self.key is not None else []
        if self.key is not None and not others:
            return None
        return refusal(llm, now.field, others)

    def document(self) -> dict[str, Any]:
        """As it is written."""
        found = asdict(self)
        return found if self.prior else {name: value for name, value in found.items() if name != "prior"}


def refusal(llm: str, name: str, others: Sequence[str]) -> str:
    """The sentence on a calibration that was fitted for something else; `others` says for what, if that is known."""
    why = f"it was fitted for {' and '.join(others)}" if others else "it does not say what it was fitted for"
    return f"The calibration of {llm} does not count for field {name}, because {why}: {AGAIN}."


def shown(fit: Calibration | None, why: str | None) -> dict[str, Any]:
    """One field's state as JSON: what counts, of how many tickets, or why nothing does."""
    return {"state": fit.state if fit else UNCALIBRATED, "n": fit.n if fit else None, "why": why}


def told(state: Mapping[str, Any]) -> str:
    """The same in words."""
    n = f" (n {state['n']:,})" if state["n"] is not None else ""
    return f"{state['state']}{n}" + (f". {state['why']}" if state["why"] else "")


def parse(content: Mapping[str, Any]) -> dict[str, Calibration]:
    """field -> calibration, of a card or a file of its own; raises ValueError or TypeError."""
    return {str(name): _parse(**one) for name, one in content.items()}


def read(path: Path) -> dict[str, Calibration]:
    """The file of its own that an llm has which was not trained for us; nothing while it is not there yet."""
    try:
        content = json.loads(path.read_bytes())
        return parse(content["calibration"])
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ConfigError(f"The calibration {path} cannot be read ({error.strerror}).") from None
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ConfigError(f"{path} is no calibration that triage calibrate wrote ({error}).") from None


def write(path: Path, data_sha256: str, found: Mapping[str, Calibration]) -> None:
    """The file, whole or not at all; what it says of other fields stays."""
    fits = read(path) | dict(found)
    content = {"data_sha256": data_sha256, "calibration": {name: fit.document() for name, fit in fits.items()}}
    with whole(path) as part:
        part.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _parse(
    id: str,  # noqa: A002 - the card's own word
    n: int,
    temperature: float | None = None,
    key: Mapping[str, Any] | None = None,
    prior: Mapping[str, float] | None = None,
    state: str = "",
) -> Calibration:
    """Cards of before had a `state`, which says nothing any more."""
    if temperature is None and not prior:
        raise ValueError("a calibration needs a temperature or a prior")
    if temperature is not None and not 0.01 < temperature < 100:
        raise ValueError(f"temperature {temperature} is outside 0.01 to 100")
    found = {str(label): float(value) for label, value in (prior or {}).items()}
    if not all(map(math.isfinite, found.values())):
        raise ValueError("a prior holds what is no number")
    t = None if temperature is None else float(temperature)
    return Calibration(t, str(id), int(n), None if key is None else _key(**key), found)


def _key(engines: Iterable[str], **parts: str) -> Key:
    return Key(engines=tuple(map(str, engines)), **{name: str(part) for name, part in parts.items()})
