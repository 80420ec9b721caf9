"""First schema: world, signals, verdicts, heartbeats, alerts."""

import sqlalchemy as sa
from alembic import op

from trading_assets.database import ExactDecimal, UtcInstant

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "alerts",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("created_at", UtcInstant(), nullable=False),
        sa.Column("severity", sa.String(length=10), nullable=False),
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("dedupe_key", sa.String(length=200), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("sent_at", UtcInstant()),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("dedupe_key"),
    )
    op.create_table(
        "heartbeats",
        sa.Column("name", sa.String(length=60), nullable=False),
        sa.Column("beat_at", UtcInstant(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "signals",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("market", sa.String(length=20), nullable=False),
        sa.Column("profile", sa.String(length=20), nullable=False),
        sa.Column("traded", sa.Boolean(), nullable=False),
        sa.Column("candle_time", UtcInstant()),
        sa.Column("created_at", UtcInstant(), nullable=False),
        sa.Column("expires_at", UtcInstant(), nullable=False),
        sa.Column("p_sell", sa.Float()),
        sa.Column("p_hold", sa.Float()),
        sa.Column("p_buy", sa.Float()),
        sa.Column("predicted_class", sa.String(length=4)),
        sa.Column("confidence", sa.Float()),
        sa.Column("decision", sa.String(length=4), nullable=False),
        sa.Column("reason", sa.String(length=40), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("ev_net", sa.Float()),
        sa.Column("close", ExactDecimal()),
        sa.Column("sigma", sa.Float()),
        sa.Column("stop_loss", ExactDecimal()),
        sa.Column("take_profit", ExactDecimal()),
        sa.Column("timeout_seconds", sa.Integer()),
        sa.Column("model_version", sa.String(length=100)),
        sa.Column("model_trained_at", UtcInstant()),
        sa.Column("model_confirmed_at", UtcInstant()),
        sa.Column("skill", sa.Float()),
        sa.Column("run_id", sa.String(length=64)),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("signals_by_market", "signals", ["market", "profile", "created_at"])
    op.create_table(
        "verdicts",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("market", sa.String(length=20), nullable=False),
        sa.Column("profile", sa.String(length=20), nullable=False),
        sa.Column("passed", sa.Boolean(), nullable=False),
        sa.Column("reasons", sa.JSON(), nullable=False),
        sa.Column("details", sa.JSON(), nullable=False),
        sa.Column("decided_at", UtcInstant(), nullable=False),
        sa.Column("model_version", sa.String(length=100)),
        sa.Column("run_id", sa.String(length=64)),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("verdicts_by_subject", "verdicts", ["kind", "market", "profile", "decided_at"])
    op.create_table(
        "world",
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )


def downgrade() -> None:
    for table in ("world", "verdicts", "signals", "heartbeats", "alerts"):
        op.drop_table(table)
