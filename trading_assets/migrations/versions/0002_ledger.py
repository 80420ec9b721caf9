"""The ledger: leases, positions, orders, fills, funnel, equity, capital, halts."""

import sqlalchemy as sa
from alembic import op

from trading_assets.database import ExactDecimal, UtcInstant

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

LIVE_POSITION = sa.text("state IN ('planned', 'open')")
LIVE_ORDER = sa.text("state IN ('intended', 'sent', 'unknown', 'open')")


def upgrade() -> None:
    op.create_table(
        "capital_changes",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("at", UtcInstant(), nullable=False),
        sa.Column("kind", sa.String(length=10), nullable=False),
        sa.Column("amount", ExactDecimal(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "equity_marks",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("at", UtcInstant(), nullable=False),
        sa.Column("capital", ExactDecimal(), nullable=False),
        sa.Column("pnl", ExactDecimal(), nullable=False),
        sa.Column("peak_pnl", ExactDecimal(), nullable=False),
        sa.Column("day_start_pnl", ExactDecimal(), nullable=False),
        sa.Column("day_low_pnl", ExactDecimal(), nullable=False),
        sa.Column("exposure", ExactDecimal(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("equity_marks_by_time", "equity_marks", ["at"])
    op.create_table(
        "halts",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("started_at", UtcInstant(), nullable=False),
        sa.Column("reason", sa.String(length=40), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("resumed_at", UtcInstant()),
        sa.Column("resumed_by", sa.String(length=100)),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "leases",
        sa.Column("subject", sa.String(length=40), nullable=False),
        sa.Column("holder", sa.String(length=100), nullable=False),
        sa.Column("token", sa.Integer(), nullable=False),
        sa.Column("taken_at", UtcInstant(), nullable=False),
        sa.Column("heartbeat_at", UtcInstant(), nullable=False),
        sa.Column("progress_at", UtcInstant()),
        sa.Column("bid", ExactDecimal()),
        sa.Column("expires_at", UtcInstant(), nullable=False),
        sa.Column("released_at", UtcInstant()),
        sa.PrimaryKeyConstraint("subject"),
    )
    op.create_table(
        "positions",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("market", sa.String(length=20), nullable=False),
        sa.Column("profile", sa.String(length=20), nullable=False),
        sa.Column("signal_id", sa.Integer(), nullable=False),
        sa.Column("model_version", sa.String(length=100)),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("created_at", UtcInstant(), nullable=False),
        sa.Column("opened_at", UtcInstant()),
        sa.Column("closed_at", UtcInstant()),
        sa.Column("bought_volume", ExactDecimal(), nullable=False),
        sa.Column("bought_funds", ExactDecimal(), nullable=False),
        sa.Column("sold_volume", ExactDecimal(), nullable=False),
        sa.Column("sold_funds", ExactDecimal(), nullable=False),
        sa.Column("fees", ExactDecimal(), nullable=False),
        sa.Column("dust_volume", ExactDecimal(), nullable=False),
        sa.Column("stop_loss", ExactDecimal(), nullable=False),
        sa.Column("take_profit", ExactDecimal(), nullable=False),
        sa.Column("timeout_seconds", sa.Integer(), nullable=False),
        sa.Column("stop_price", ExactDecimal()),
        sa.Column("take_price", ExactDecimal()),
        sa.Column("deadline", UtcInstant()),
        sa.Column("exit_reason", sa.String(length=20)),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("signal_id"),
    )
    op.create_index(
        "one_live_position_a_market",
        "positions",
        ["market"],
        unique=True,
        sqlite_where=LIVE_POSITION,
        postgresql_where=LIVE_POSITION,
    )
    op.create_index("positions_by_close", "positions", ["closed_at"])
    op.create_table(
        "funnel",
        sa.Column("signal_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("market", sa.String(length=20), nullable=False),
        sa.Column("profile", sa.String(length=20), nullable=False),
        sa.Column("code", sa.String(length=30), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("needed_krw", ExactDecimal()),
        sa.Column("position_id", sa.String(length=40)),
        sa.Column("decided_at", UtcInstant(), nullable=False),
        sa.ForeignKeyConstraint(["position_id"], ["positions.id"]),
        sa.PrimaryKeyConstraint("signal_id"),
    )
    op.create_index("funnel_by_time", "funnel", ["decided_at"])
    op.create_table(
        "orders",
        sa.Column("identifier", sa.String(length=64), nullable=False),
        sa.Column("position_id", sa.String(length=40), nullable=False),
        sa.Column("leg", sa.String(length=10), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("market", sa.String(length=20), nullable=False),
        sa.Column("side", sa.String(length=3), nullable=False),
        sa.Column("order_type", sa.String(length=10), nullable=False),
        sa.Column("time_in_force", sa.String(length=10)),
        sa.Column("price", ExactDecimal()),
        sa.Column("volume", ExactDecimal(), nullable=False),
        sa.Column("reason", sa.String(length=20), nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("uuid", sa.String(length=64)),
        sa.Column("executed_volume", ExactDecimal(), nullable=False),
        sa.Column("paid_fee", ExactDecimal(), nullable=False),
        sa.Column("quote_outside", ExactDecimal()),
        sa.Column("base_outside", ExactDecimal()),
        sa.Column("sends", sa.Integer(), nullable=False),
        sa.Column("created_at", UtcInstant(), nullable=False),
        sa.Column("sent_at", UtcInstant()),
        sa.Column("unknown_since", UtcInstant()),
        sa.Column("ended_at", UtcInstant()),
        sa.ForeignKeyConstraint(["position_id"], ["positions.id"]),
        sa.PrimaryKeyConstraint("identifier"),
        sa.UniqueConstraint("position_id", "leg", "attempt"),
        sa.UniqueConstraint("uuid"),
    )
    op.create_index(
        "one_live_order_a_market",
        "orders",
        ["market"],
        unique=True,
        sqlite_where=LIVE_ORDER,
        postgresql_where=LIVE_ORDER,
    )
    op.create_table(
        "fills",
        sa.Column("uuid", sa.String(length=64), nullable=False),
        sa.Column("identifier", sa.String(length=64), nullable=False),
        sa.Column("position_id", sa.String(length=40), nullable=False),
        sa.Column("side", sa.String(length=3), nullable=False),
        sa.Column("price", ExactDecimal(), nullable=False),
        sa.Column("volume", ExactDecimal(), nullable=False),
        sa.Column("funds", ExactDecimal(), nullable=False),
        sa.Column("traded_at", UtcInstant(), nullable=False),
        sa.Column("booked_at", UtcInstant(), nullable=False),
        sa.ForeignKeyConstraint(["identifier"], ["orders.identifier"]),
        sa.ForeignKeyConstraint(["position_id"], ["positions.id"]),
        sa.PrimaryKeyConstraint("uuid"),
    )
    op.create_index("fills_by_order", "fills", ["identifier"])
    op.create_index("fills_by_position", "fills", ["position_id"])
    op.create_table(
        "order_events",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("identifier", sa.String(length=64), nullable=False),
        sa.Column("at", UtcInstant(), nullable=False),
        sa.Column("from_state", sa.String(length=10)),
        sa.Column("to_state", sa.String(length=10), nullable=False),
        sa.Column("holder", sa.String(length=100), nullable=False),
        sa.Column("token", sa.Integer(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["identifier"], ["orders.identifier"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("order_events_by_order", "order_events", ["identifier", "id"])


def downgrade() -> None:
    for table in (
        "order_events",
        "fills",
        "orders",
        "funnel",
        "positions",
        "leases",
        "halts",
        "equity_marks",
        "capital_changes",
    ):
        op.drop_table(table)
