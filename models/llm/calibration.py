"""What makes an llm's confidence true: one field's temperature, and what it was fitted for. Read from cards."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Calibration:
    """One field's temperature, fitted on `n` held-out rows; `id` names the fit, `state` is fitted or stale."""

    temperature: float
    id: str
    n: int
    state: str


def parse(temperature: float, id: str, n: int, state: str) -> Calibration:  # noqa: A002 - the card's own word
    """One field's part of a card; raises ValueError or TypeError."""
    if not 0.01 < temperature < 100:
        raise ValueError(f"temperature {temperature} is outside 0.01 to 100")
    return Calibration(float(temperature), str(id), int(n), str(state))
