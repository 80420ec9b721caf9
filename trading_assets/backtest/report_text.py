"""A report in words: Markdown tables for Dagster, MLflow, docs and the terminal.

Every table names its world and its prices. Not here: what the numbers mean (docs/evaluation.md).
"""

import math
from collections.abc import Iterable, Mapping, Sequence

from trading_assets.backtest.overfitting import Overfitting
from trading_assets.backtest.report import Luck, Measured, Report, SeedSpread
from trading_assets.backtest.statistics import Interval

Row = tuple[str, ...]


def report_text(report: Report) -> str:
    """The whole report as Markdown: subject, variants, doubts, probabilities."""
    subject = report.subject
    parts = [
        f"**{subject.title}**",
        f"{', '.join(subject.markets)}; {subject.start:%Y-%m-%d %H:%M} to "
        f"{subject.end:%Y-%m-%d %H:%M} UTC; {subject.rule}.",
        variants_table(report),
        doubts_table(report),
    ]
    if report.predicted is not None:
        parts.append(skill_table(report))
    return "\n\n".join(parts)


def variants_table(report: Report) -> str:
    """The account as traded, and under other entries and costs."""
    rows = [
        ("as traded", *_measured_row(report.measured)),
        ("entry at the next open", *_measured_row(report.next_open)),
        ("entry 1 h late", *_measured_row(report.delayed)),
        *((f"round trip {v.round_trip_bp:g} bp", *_measured_row(v.measured)) for v in report.costs),
    ]
    head = ("", "trades", "a day", "hit rate", "gross bp", "net bp", "account", "draw-down",
            "invested", "Sharpe", "Sortino")  # fmt: skip
    return table(head, rows)


def doubts_table(report: Report) -> str:
    """What the result stands against: seeds, luck, lucky weeks, holding."""
    best = report.without_best
    rows: list[Row] = [
        ("seeds alone, net bp a trade", seeds_text(report.seeds)),
        (f"without the best {best.weeks} weeks, net bp", f"{signed(best.net_bp)} ({best.trades})"),
        ("same signals at the wrong time, net bp", luck_text(report.placebo)),
        ("random entries, same exits, net bp", luck_text(report.random)),
        (
            "buy and hold, equal weights",
            f"{percent(report.held.account_return)}, draw-down {percent(report.held.max_drawdown)}",
        ),
        ("trades ended by", _counts(report.measured.ends)),
        ("BUYs the trader's rules stopped", _counts(report.measured.refusals)),
        ("halts by peak loss", str(report.measured.halts)),
    ]
    if report.search is not None:
        found = report.search
        rows += [
            (
                "deflated Sharpe ratio",
                f"{found.deflated.probability:.2f} after {len(found.settings)} settings "
                f"({found.deflated.trials:.1f} independent)",
            ),
            ("probability of backtest overfitting", overfitting_text(found.overfitting)),
        ]
    return table(("doubt", "answer"), rows)


def overfitting_text(found: Overfitting | None) -> str:
    return "-" if found is None else f"{found.probability:.2f} ({found.settings} settings)"


def skill_table(report: Report) -> str:
    """How good the probabilities were, market by market."""
    assert report.predicted is not None
    rows = [
        (
            s.market,
            f"{s.rows}",
            f"{s.ratio_prior:.3f}",
            f"{s.ratio_volatility:.3f}",
            f"{s.auc_direction:.3f} [{s.auc_direction_low:.3f}, {s.auc_direction_high:.3f}]",
            f"{s.ece:.3f} ({s.ece_bound:.3f})",
            f"{s.hold_share:.1%} / {s.p_hold:.1%}",
        )
        for s in report.predicted.skill
    ]
    head = ("market", "rows", "log loss / prior", "/ volatility", "direction AUC [90 %]",
            "ECE (noise)", "HOLD happened / promised")  # fmt: skip
    return table(head, rows)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; the first column is text, the others numbers."""
    lines = [
        "| " + " | ".join(head) + " |",
        "|" + "|".join(["---", *["---:"] * (len(head) - 1)]) + "|",
    ]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def interval_text(interval: Interval, decimals: int = 0) -> str:
    """`+24 [+4, +43]`; `-` for what is not known."""
    if math.isnan(interval.value):
        return "-"
    value = signed(interval.value, decimals)
    if math.isnan(interval.low):
        return value
    return f"{value} [{signed(interval.low, decimals)}, {signed(interval.high, decimals)}]"


def signed(value: float, decimals: int = 0) -> str:
    """With its sign, `0` without one, `-` when not known."""
    if math.isnan(value):
        return "-"
    rounded = round(value, decimals)
    return f"{rounded:+.{decimals}f}" if rounded else f"{0:.{decimals}f}"


def percent(value: float, decimals: int = 1) -> str:
    return f"{100 * value:.{decimals}f} %"


def luck_text(luck: Luck | None) -> str:
    if luck is None:
        return "-"
    return (
        f"mean {signed(luck.mean)}, sd {luck.sd:.0f}, max {signed(luck.largest)} "
        f"({luck.draws} times, {luck.trades:.0f} trades, {percent(luck.reached, 0)} reached ours)"
    )


def seeds_text(seeds: SeedSpread | None) -> str:
    if seeds is None:
        return "-"
    each = ", ".join(signed(v) for v in seeds.net_bp)
    return f"mean {signed(seeds.mean)}, sd {seeds.sd:.0f} ({each})"


def _measured_row(m: Measured) -> Row:
    return (
        f"{m.trades}",
        f"{m.trades_a_day.value:.2f}",
        percent(m.hit_rate.value, 0) if m.trades else "-",
        signed(m.gross_bp.value),
        interval_text(m.net_bp),
        f"{signed(100 * m.account_return, 1)} %",
        percent(m.max_drawdown),
        percent(m.mean_exposure),
        interval_text(m.sharpe, 1),
        interval_text(m.sortino, 1),
    )


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items()) or "-"
