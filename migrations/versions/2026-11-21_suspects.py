"""The few queued tickets that lost a worker: each claim asks for them first."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

SUSPECT = sa.text("status = 'queued' AND lost_leases > 0")


def upgrade() -> None:
    op.create_index("ix_tickets_suspect", "tickets", ["priority", "due_at"], postgresql_where=SUSPECT)


def downgrade() -> None:
    op.drop_index("ix_tickets_suspect", "tickets")
