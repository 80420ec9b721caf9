"""Which confidence steps do not pay, as research judged them last.

Here: reading that verdict for the sizes of entries. Not here: the judging (`signals.steps`, by the
rule in `rules.steps`), and what a verdict does to a size (`rules.sizing`).
"""

from decimal import Decimal

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from trading_assets.database import read, verdicts
from trading_assets.rules.steps import ALL_MARKETS, UNPAID, VERDICT


def unpaid_steps(engine: Engine, profile: str) -> frozenset[Decimal]:
    """The p_buy at which those steps of `profile` begin; none before the first verdict.

    An old verdict holds until a newer one: only evidence gives a size back.
    """
    query = (
        sa.select(verdicts.c.details)
        .where(
            verdicts.c.kind == VERDICT,
            verdicts.c.market == ALL_MARKETS,
            verdicts.c.profile == profile,
        )
        .order_by(verdicts.c.decided_at.desc(), verdicts.c.id.desc())
        .limit(1)
    )
    with read(engine) as connection:
        details = connection.execute(query).scalar_one_or_none()
    return frozenset() if details is None else frozenset(Decimal(p) for p in details[UNPAID])
