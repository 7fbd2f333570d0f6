"""What a human decided about a ticket, kept and never overwritten. Called by the API and the pages."""

from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, StringConstraints
from sqlalchemy import select
from sqlalchemy.orm import Session

from models import taxonomy
from models.errors import InvalidRequest, NotFound
from models.tables import Ticket, Verdict
from service.intake.reading import WHOLE, Whole


class VerdictIn(BaseModel):
    """A label for a field, and where the judgement comes from."""

    model_config = ConfigDict(extra="forbid")
    field: Whole
    label: Whole
    source: Literal["review", "agent_change", "agent_final", "dataset", "import"] = "review"
    author: Annotated[str, StringConstraints(max_length=255), WHOLE] | None = None


def record(session: Session, ticket_id: UUID, given: VerdictIn) -> tuple[Verdict, bool]:
    """The verdict's row and whether it is new. The ticket's row is locked, so the same verdict twice is one row."""
    content = session.scalars(select(Ticket.content_sha256).where(Ticket.id == ticket_id).with_for_update()).first()
    if content is None:
        raise NotFound(f"There is no ticket {ticket_id}.")
    version, vocabulary = taxonomy.active(session)
    field = vocabulary.field(given.field)
    if field is None:
        raise InvalidRequest(f"field: there is none like this; there are {', '.join(vocabulary.fields_)}.")
    if field.label(given.label) is None:
        raise InvalidRequest("label: the field has none like this; see GET /v1/taxonomy.")
    same = select(Verdict).where(
        Verdict.ticket_id == ticket_id,
        Verdict.content_sha256 == content,
        Verdict.field == given.field,
        Verdict.source == given.source,
    )
    newest = session.scalars(same.order_by(Verdict.id.desc()).limit(1)).first()
    if newest is not None and newest.label == given.label:
        return newest, False
    row = Verdict(ticket_id=ticket_id, content_sha256=content, taxonomy_version=version, **given.model_dump())
    session.add(row)
    return row, True
