"""The few decisions that an llm took part in are found without reading all others."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_triages_llms", "triages", ["llms"], postgresql_using="gin", postgresql_where=sa.text("newest"))


def downgrade() -> None:
    op.drop_index("ix_triages_llms", "triages")
