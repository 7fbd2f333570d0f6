"""What a server reports besides its scores, as far as a row can hold it: it may say anything. Used by the engines."""

from models.storable import storable
from workers.engines.base import MOST

_LONGEST = 200  # a pin is a key of its table, which an index has to hold
_DAY_MS = 86_400_000.0
_REPEATED = 12  # so many characters that stand in a prompt too are no chance


def name(value: object) -> str:
    """What it calls itself, its models or its weights."""
    return storable(str(value))[:_LONGEST]


def count(value: object) -> int | None:
    """A number of tokens; None where it is none, or absurd."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MOST else None


def milliseconds(value: object, in_one: float = 1.0) -> float | None:
    """A time in milliseconds, or in parts of which one has so many; None where it is none, or longer than a day."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _DAY_MS * in_one:
        return None
    return value / in_one


def sentence(said: str, prompt: str) -> str:
    """What it says of an error, unless that repeats the ticket: logs and pages show it, and no erasing reaches it."""
    repeats = any(said[at : at + _REPEATED] in prompt for at in range(len(said) - _REPEATED + 1))
    return "its own words repeat the ticket" if repeats else said
