"""How a moment is written in JSON: RFC 3339 in UTC. Used by the answers of the API and by the report."""

from datetime import UTC, datetime


def moment(value: datetime | None) -> str | None:
    """RFC 3339 in UTC; None stays None."""
    return None if value is None else value.astimezone(UTC).isoformat().replace("+00:00", "Z")
