"""Rows written by hand, for reports over tickets that no worker has to classify: each call is one row of its table."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

LABELS = ("refunds", "top_up", "transfers")


def content(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


@dataclass
class Written:
    """Writes rows through `sql`, which runs one statement."""

    sql: Callable[..., list[Any]]
    llms: dict[str, int] = field(default_factory=dict)

    def _insert(self, table: str, values: dict[str, Any]) -> Any:
        places = ", ".join(["%s"] * len(values))
        statement = f"INSERT INTO {table} ({', '.join(values)}) VALUES ({places}) RETURNING id"
        return self.sql(statement, *values.values())[0][0]

    def llm(self, name: str, **changes: Any) -> int:
        """An llm version, once for each name."""
        if name not in self.llms:
            pin = {"name": name, "digest": f"digest-of-{name}", "engine": "llamacpp", "engine_version": "1"}
            more = {"prompt_version": "tuned-1", "calibration_id": "fitted-1", "demo": False}
            self.llms[name] = self._insert("llm_versions", pin | more | changes)
        return self.llms[name]

    def ticket(self, text: str = "a text", **changes: Any) -> UUID:
        row = {"id": uuid4(), "source": "crm", "subject": "", "body": text, "raw": b"", "content_sha256": content(text)}
        more = {"shadow": True, "shadow_rate": 1.0, "status": "done"}
        found: UUID = self._insert("tickets", row | more | changes)
        return found

    def prediction(self, ticket: UUID, llm: str, label: str, reason: str = "assigned", **changes: Any) -> None:
        role = {"assigned": "primary", "shadow": "shadow"}.get(reason, "fallback")
        row = {"ticket_id": ticket, "run": 1, "field": "category", "llm_version_id": self.llm(llm), "role": role}
        row |= {"taxonomy_version": 1, "reason": reason, "label": label, "confidence": 0.9, "raw_confidence": 0.9}
        row |= {"calibrated": True, "label_mass": 1.0, "scores": "{}", "scores_complete": True, "call_ms": 5.0}
        self._insert("predictions", row | changes)

    def triage(self, ticket: UUID, label: str | None, **changes: Any) -> None:
        row = {"ticket_id": ticket, "run": 1, "field": "category", "taxonomy_version": 1, "label": label}
        row |= {
            "confidence": 0.9,
            "calibrated": True,
            "decided_by": "cascade",
            "llms": ["primary"],
            "action": "suggest",
        }
        row |= {"reason": "no_threshold", "alternatives": "[]", "wait_ms": 1.0, "time_to_label_ms": 2.0}
        received = self.sql("SELECT received_at FROM tickets WHERE id = %s", ticket)[0][0]
        self._insert("triages", row | {"received_at": received} | changes)

    def verdict(self, ticket: UUID, label: str, source: str = "dataset", text: str = "a text", **changes: Any) -> None:
        row = {"ticket_id": ticket, "content_sha256": content(text), "field": "category", "label": label}
        self._insert("verdicts", row | {"source": source, "taxonomy_version": 1} | changes)

    def judged(self, a: str, b: str, truth: str) -> UUID:
        """A ticket that both demo llms answered because the coin said so, with its truth."""
        ticket = self.ticket()
        self.prediction(ticket, "primary", a)
        self.prediction(ticket, "fallback", b, "shadow")
        self.triage(ticket, a)
        self.verdict(ticket, truth)
        return ticket

    def served(self, arm: str, right: bool, requester: str, experiment: str = "halves", **changes: Any) -> UUID:
        """A ticket of a split, decided by its arm, with its truth."""
        ticket = self.ticket(arm=arm, requester=requester, experiment=experiment, shadow=False, **changes)
        self.triage(ticket, "refunds" if right else "top_up", served_arm=arm)
        self.verdict(ticket, "refunds")
        return ticket
