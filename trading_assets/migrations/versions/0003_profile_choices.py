"""Which profile the evaluation chose, and what it measured of each."""

import sqlalchemy as sa
from alembic import op

from trading_assets.database import UtcInstant

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "profile_choices",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("decided_at", UtcInstant(), nullable=False),
        sa.Column("profile", sa.String(length=20)),
        sa.Column("since", UtcInstant()),
        sa.Column("reason", sa.String(length=20), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("evaluated_at", UtcInstant()),
        sa.Column("numbers", sa.JSON(), nullable=False),
        sa.Column("run_id", sa.String(length=64)),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("profile_choices_by_time", "profile_choices", ["decided_at"])


def downgrade() -> None:
    op.drop_table("profile_choices")
