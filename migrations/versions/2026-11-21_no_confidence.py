"""An llm may say a label and not how sure it is; and what an answer cost, for the limit of a day."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

SURE = ("confidence", "raw_confidence", "label_mass")


def upgrade() -> None:
    for name in SURE:
        op.alter_column("predictions", name, nullable=True)
    op.add_column("predictions", sa.Column("cost", sa.Double(), comment="in the currency of the prices"))
    op.create_index("ix_predictions_cost", "predictions", ["created_at"], postgresql_where=sa.text("cost IS NOT NULL"))


def downgrade() -> None:
    op.drop_index("ix_predictions_cost", "predictions")
    op.drop_column("predictions", "cost")
    # The older tables have no room for an answer without a confidence, and none is made up for it.
    op.execute("DELETE FROM predictions WHERE confidence IS NULL")
    for name in SURE:
        op.alter_column("predictions", name, nullable=False)
