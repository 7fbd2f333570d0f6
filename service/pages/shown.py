"""How values read on a page. These are the filters of the templates."""

import json
import re
import unicodedata
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from markupsafe import Markup

from models.taxonomy import Taxonomy

# Joiners are part of emoji and of some scripts; every other invisible character is made visible.
_LEFT_ALONE = "\n\t\u200c\u200d"
_UNSEEN = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}
_ASCII_TEXT = re.compile(r"[\x20-\x7e\n\t]*")


def visible(text: str | None) -> Markup:
    """Text from a stranger: escaped, with a mark in the place of each character that would not be seen."""
    plain = (text or "").replace("\r\n", "\n")
    if _ASCII_TEXT.fullmatch(plain):
        return Markup.escape(plain)
    return Markup("").join(_mark(c) if _unseen(c) else c for c in plain)


def _unseen(character: str) -> bool:
    return character not in _LEFT_ALONE and unicodedata.category(character) in _UNSEEN


def _mark(character: str) -> Markup:
    name = f"U+{ord(character):04X}"
    return Markup('<span class="unseen" title="{}">{}</span>').format(unicodedata.name(character, "control"), name)


def number(value: float | None) -> str:
    """A count with separators; what is unknown is a dash."""
    return "–" if value is None else f"{value:,.0f}"  # noqa: RUF001 (the dash that typography wants)


def percent(share: float | None) -> str:
    """A share of 0 to 1 as a percentage with one decimal."""
    return "–" if share is None else f"{share * 100:.1f} %"  # noqa: RUF001


def milliseconds(value: float | None) -> str:
    """A time as people say it."""
    if value is None:
        return "–"  # noqa: RUF001
    return duration(value / 1000) if value >= 10_000 else f"{value:,.1f} ms" if value < 100 else f"{value:,.0f} ms"


def duration(seconds: float) -> str:
    """A span in its largest two units' first."""
    for unit, size in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} seconds"


def when(value: str | datetime | None) -> str:
    """A time of ours, RFC 3339 in UTC, to the second."""
    text = value.isoformat() if isinstance(value, datetime) else value or ""
    return f"{text[:10]} {text[11:19]} UTC" if text else "–"  # noqa: RUF001


def interval(figure: dict[str, Any]) -> str:
    """A proportion with its n and 95 % interval."""
    if figure.get("value") is None:
        return "not measured"
    return f"{percent(figure['value'])} ({percent(figure['low'])} to {percent(figure['high'])}, n = {figure['n']:,})"


def chance(p_value: float | None) -> str:
    """A p-value in four decimals."""
    if p_value is None:
        return "–"  # noqa: RUF001
    return "< 0.0001" if p_value < 0.0001 else f"{p_value:.4f}"


def titles(vocabulary: Taxonomy, field: str) -> dict[str, str]:
    """What people call each label of a field."""
    found = vocabulary.field(field)
    return {label.id: label.title or label.id for label in found.labels} if found else {}


def as_json(value: Any) -> str:
    """Metadata as somebody can read it."""
    return json.dumps(value, ensure_ascii=False)


def address(given: dict[str, str]) -> str:
    """The filters of a list as the query of an address, without its place in the list."""
    return urlencode({name: value for name, value in given.items() if name != "cursor"})


FILTERS = {
    f.__name__: f for f in (visible, number, percent, milliseconds, duration, when, interval, chance, as_json, address)
}
