"""What a worker counts, beside its heartbeat: read by /metrics."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    figures = sa.Column(
        "figures",
        postgresql.JSONB(),
        server_default=sa.text("'{}'::jsonb"),
        nullable=False,
        comment="counted since its start",
    )
    op.add_column("workers", figures)


def downgrade() -> None:
    op.drop_column("workers", "figures")
