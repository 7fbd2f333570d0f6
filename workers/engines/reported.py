"""What a server reports besides its scores, as far as a row can hold it: it may say anything. Used by the engines."""

from models.storable import storable

_LONGEST = 200  # a pin is a key of its table, which an index has to hold


def name(value: object) -> str:
    """What it calls itself, its models or its weights."""
    return storable(str(value))[:_LONGEST]
