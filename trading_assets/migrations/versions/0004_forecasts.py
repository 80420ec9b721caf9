"""What to expect of the signals of a profile, as the evaluation measured it."""

import sqlalchemy as sa
from alembic import op

from trading_assets.database import UtcInstant

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "forecasts",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("profile", sa.String(length=20), nullable=False),
        sa.Column("made_at", UtcInstant(), nullable=False),
        sa.Column("document", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("forecasts_by_profile", "forecasts", ["profile", "made_at"])


def downgrade() -> None:
    op.drop_table("forecasts")
