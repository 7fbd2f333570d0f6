"""An answer that the coin asked for says so, also where it was needed besides: the report counts it by its reason."""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

COINS = """
    UPDATE predictions p SET reason = '{after}' FROM tickets t
    WHERE t.id = p.ticket_id AND t.shadow AND p.role = 'fallback' AND p.reason = '{before}'"""


def upgrade() -> None:
    op.execute(COINS.format(before="escalated", after="shadow"))


def downgrade() -> None:
    op.execute(COINS.format(before="shadow", after="escalated"))
