"""How much to buy: a share of equity by p_buy, never above what is allowed or there.

Pure values in, values out, standard library only. Not here: whether to enter at all (`entry`) and
how much room the limits leave (`limits`).
"""

from collections.abc import Collection
from dataclasses import dataclass, replace
from decimal import ROUND_CEILING, ROUND_DOWN, Context, Decimal, localcontext

from trading_assets.rules.funnel import FunnelCode, Refusal

VOLUME_UNIT = Decimal("0.00000001")
# The p_buy from which each size step counts; the shares are the user's (settings).
STEP_STARTS = (Decimal("0.8"), Decimal("0.7"), Decimal("0.6"), Decimal(0))
# Far more digits than any amount of KRW or coins has, so that nothing is rounded by accident.
_WIDE = Context(prec=60)


@dataclass(frozen=True, slots=True)
class SizeStep:
    """From this p_buy on (inclusive), this share of equity."""

    p_buy: Decimal
    share: Decimal


@dataclass(frozen=True, slots=True)
class SizeRules:
    """steps: highest p_buy first, the last from 0, shares falling with p_buy.

    raise_to_minimum: what to do when a step is below the smallest order: raise it, but never above
    the next step, or else refuse. minimum_buffer: what the smallest order must have above the
    minimum that can still be sold after the stop-loss, for fee, slippage and gaps; a ratio.
    """

    steps: tuple[SizeStep, ...]
    raise_to_minimum: bool
    minimum_buffer: Decimal

    def __post_init__(self) -> None:
        if not self.steps or self.steps[-1].p_buy != 0:
            raise ValueError(f"the last size step must start at p_buy 0, steps are {self.steps}")
        for higher, lower in zip(self.steps, self.steps[1:], strict=False):
            if not (higher.p_buy > lower.p_buy and higher.share >= lower.share):
                raise ValueError(f"size steps must fall with p_buy, {higher} is before {lower}")
        if not all(0 < step.share <= 1 for step in self.steps):
            raise ValueError(f"a share must be above 0 and at most 1, steps are {self.steps}")
        if self.minimum_buffer < 0:
            raise ValueError(f"minimum_buffer must not be negative, was {self.minimum_buffer}")

    def step(self, p_buy: Decimal) -> SizeStep:
        """The step that `p_buy` (0 to 1) stands on."""
        if not 0 <= p_buy <= 1:
            raise ValueError(f"p_buy must be between 0 and 1, was {p_buy}")
        return next(step for step in self.steps if p_buy >= step.p_buy)

    def next_step(self, step: SizeStep) -> SizeStep | None:
        """The step above `step`, None above the highest."""
        place = self.steps.index(step)
        return self.steps[place - 1] if place else None


def paying_sizes(rules: SizeRules, unpaid: Collection[Decimal]) -> SizeRules:
    """`rules` where each step that does not pay has only the share of the next lower step.

    unpaid: the p_buy at which those steps begin (`rules.steps` says when one stops paying); what
    is not a step is ignored, the settings may have changed since. The lowest step has no lower one
    and stays. No share is ever raised.
    """
    steps: list[SizeStep] = []
    for step in reversed(rules.steps):
        lowered = steps and step.p_buy in unpaid
        steps.append(replace(step, share=steps[-1].share) if lowered else step)
    return replace(rules, steps=tuple(reversed(steps)))


@dataclass(frozen=True, slots=True)
class Funds:
    """What an entry may draw on, KRW.

    equity: capital and profit. room: what the exposure limit still allows. available: free cash on
    the account, locked amounts excluded.
    """

    equity: Decimal
    room: Decimal
    available: Decimal


@dataclass(frozen=True, slots=True)
class Size:
    """An order's size. volume: coins, 8 decimals. funds_krw: volume x limit price.

    cost_krw: funds and fee, what must be available. raised: the step alone was below the minimum.
    """

    volume: Decimal
    funds_krw: Decimal
    cost_krw: Decimal
    share: Decimal
    raised: bool


def truncate_volume(volume: Decimal) -> Decimal:
    """`volume` cut to the 8 decimals that Upbit takes, never rounded up."""
    return volume.quantize(VOLUME_UNIT, rounding=ROUND_DOWN, context=_WIDE)


def minimum_order(min_notional: Decimal, stop_loss: Decimal, buffer: Decimal) -> Decimal:
    """The smallest sensible buy, whole KRW: still sellable after the stop-loss, with a buffer.

    A position worth less than `min_notional` cannot be sold. 5,000 KRW with a stop of 2 % and a
    buffer of 5 % gives 5,000 x 1.05 / 0.98 = 5,357.14, so 5,358.
    """
    with localcontext(_WIDE):
        value = min_notional * (1 + buffer) / (1 - stop_loss)
        return value.to_integral_value(rounding=ROUND_CEILING)


def size_entry(
    rules: SizeRules,
    *,
    p_buy: Decimal,
    funds: Funds,
    limit_price: Decimal,
    fee_rate: Decimal,
    min_notional: Decimal,
    stop_loss: Decimal,
) -> Size | Refusal:
    """The order that `p_buy` earns, or why there is none.

    limit_price: KRW per coin, the most that is paid. min_notional: the exchange's minimum, KRW.
    stop_loss: the signal's, a ratio. The size shrinks to the room and to the cash; it never grows,
    except to the minimum under `raise_to_minimum`, and then not above the next step.
    """
    if not limit_price > 0:
        raise ValueError(f"limit_price must be above 0, was {limit_price}")
    with localcontext(_WIDE):
        step = rules.step(p_buy)
        least = minimum_order(min_notional, stop_loss, rules.minimum_buffer)
        target = step.share * funds.equity
        smallest = _smallest_volume(least, limit_price)
        raised = truncate_volume(target / limit_price) < smallest
        if raised:
            refusal = _too_small(rules, step, funds.equity, least, smallest * limit_price)
            if refusal is not None:
                return refusal
            target = smallest * limit_price
        affordable = funds.available / (1 + fee_rate)
        volume = truncate_volume(min(target, funds.room, affordable) / limit_price)
        if volume < smallest:
            return _no_room(funds, affordable, least)
        value = volume * limit_price
        return Size(volume, value, value * (1 + fee_rate), step.share, raised)


def _smallest_volume(least: Decimal, limit_price: Decimal) -> Decimal:
    return (least / limit_price).quantize(VOLUME_UNIT, rounding=ROUND_CEILING)


def _too_small(
    rules: SizeRules, step: SizeStep, equity: Decimal, least: Decimal, smallest_krw: Decimal
) -> Refusal | None:
    """Why the account is too small for `step`, or None when it may be raised to the minimum."""
    above = rules.next_step(step)
    if rules.raise_to_minimum and above is not None and smallest_krw <= above.share * equity:
        return None
    needed = (least / step.share).to_integral_value(rounding=ROUND_CEILING)
    return Refusal(
        FunnelCode.ACCOUNT_TOO_SMALL,
        f"{step.share:%} of {equity:,.0f} KRW is below the smallest order of {least:,f} KRW; "
        f"this step needs {needed:,f} KRW of equity",
        needed_krw=needed,
    )


def _no_room(funds: Funds, affordable: Decimal, least: Decimal) -> Refusal:
    if funds.room <= affordable:
        return Refusal(
            FunnelCode.MAX_EXPOSURE,
            f"{max(funds.room, Decimal(0)):,.0f} KRW may still be invested, the smallest order is "
            f"{least:,f} KRW",
        )
    return Refusal(
        FunnelCode.NO_CASH,
        f"{funds.available:,.0f} KRW are available, the smallest order with its fee needs more "
        f"than {least:,f} KRW",
    )
