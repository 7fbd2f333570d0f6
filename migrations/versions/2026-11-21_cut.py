"""Whether an llm read a whole ticket or a part of it; not known of what was said before."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("predictions", sa.Column("cut", sa.Boolean(), comment="whether the llm read only a part of the text"))


def downgrade() -> None:
    op.drop_column("predictions", "cut")
