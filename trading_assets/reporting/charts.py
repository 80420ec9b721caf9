"""A backtest report as pictures: PNG files for Dagster, MLflow and docs.

Every figure names the world and whether its prices are synthetic, because a picture travels without
its text. matplotlib is imported inside the functions (half a second), without pyplot: no display,
no global state, the same bytes for the same report. Not here: any number; they are in the report.
"""

import io
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from trading_assets.backtest.inputs import TradeEnd
from trading_assets.backtest.report import SYNTHETIC, Bin, Report
from trading_assets.backtest.report_text import interval_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SIZE = (9.0, 4.5)
_DPI = 110
_COLOURS = 256
_GAIN, _LOSS, _QUIET, _LINE = "#2a7f62", "#b3423a", "#8a8f98", "#1f4e8c"
_ENDS = {
    TradeEnd.STOP_LOSS: "#b3423a",
    TradeEnd.TIME_LIMIT: "#8a8f98",
    TradeEnd.SELL_SIGNAL: "#c98b2b",
    TradeEnd.HALT: "#5b3f8c",
    TradeEnd.END_OF_DATA: "#cfd3da",
    TradeEnd.TAKE_PROFIT: "#2a7f62",
}


def charts(report: Report) -> dict[str, bytes]:
    """Every picture of `report` by its name (`equity`, ...), PNG; those without data are absent."""
    drawn: dict[str, Callable[[Report], bytes] | None] = {
        "equity": equity_chart,
        "trades": trades_chart if report.measured.trades else None,
        "months": months_chart,
        "reliability": reliability_chart if report.predicted else None,
        "deciles": deciles_chart if report.predicted else None,
    }
    return {name: draw(report) for name, draw in drawn.items() if draw is not None}


def equity_chart(report: Report) -> bytes:
    """The account against its start, its draw-down, and the share that was invested."""
    figure = _figure(report, "Account and draw-down", height=6.0)
    top, below, share = figure.subplots(3, 1, sharex=True, height_ratios=[3, 1.2, 0.8])
    days = np.array(report.curve.days, dtype="datetime64[D]")
    equity = np.array(report.curve.equity)
    start = equity[0] if len(equity) else 1.0
    growth = 100 * (equity / start - 1)
    fall = -100 * (1 - equity / np.maximum.accumulate(equity))
    top.plot(days, growth, color=_LINE, linewidth=1.3)
    top.axhline(0, color=_QUIET, linewidth=0.8)
    top.set_ylabel("account, %")
    m = report.measured
    top.set_title(
        f"{100 * m.account_return:+.1f} %, {m.trades} trades, net {interval_text(m.net_bp)} bp",
        fontsize=10,
        loc="left",
    )
    below.fill_between(days, fall, 0, color=_LOSS, alpha=0.6, linewidth=0)
    below.set_ylabel("draw-down, %")
    share.fill_between(
        days, 100 * np.array(report.curve.invested), color=_QUIET, alpha=0.7, linewidth=0
    )
    share.set_ylabel("invested, %")
    return _png(figure, [top, below, share])


def trades_chart(report: Report) -> bytes:
    """Trades by what they earned, stacked by how they ended."""
    figure = _figure(report, "What a trade earned")
    axes = figure.subplots()
    edges = np.array(report.histogram.edges)
    bottom = np.zeros(len(edges) - 1)
    for end, colour in _ENDS.items():
        counts = np.array(report.histogram.counts.get(end.value, np.zeros(len(bottom))))
        if counts.any():
            axes.bar(
                edges[:-1],
                counts,
                np.diff(edges),
                bottom,
                align="edge",
                color=colour,
                label=f"{end.value.replace('_', ' ')} ({counts.sum():.0f})",
            )
            bottom += counts
    axes.axvline(0, color="black", linewidth=0.8)
    net = report.measured.net_bp.value
    axes.axvline(net, color=_LINE, linewidth=1.5, linestyle="--", label=f"mean {net:+.0f} bp")
    axes.set_xlabel("net of the trade, basis points (the outermost bins hold all beyond)")
    axes.set_ylabel("trades")
    axes.legend(fontsize=8)
    return _png(figure, [axes])


def months_chart(report: Report) -> bytes:
    """The account's return of every month."""
    figure = _figure(report, "Net by month")
    axes = figure.subplots()
    names = [month.first.strftime("%Y-%m") for month in report.months]
    values = np.array([100 * month.account_return for month in report.months])
    places = np.arange(len(names))
    axes.bar(places, values, color=np.where(values >= 0, _GAIN, _LOSS).tolist())
    axes.axhline(0, color="black", linewidth=0.8)
    step = max(1, len(names) // 14)
    axes.set_xticks(places[::step], names[::step], rotation=45, ha="right", fontsize=8)
    axes.set_ylabel("account, % in the month")
    return _png(figure, [axes])


def reliability_chart(report: Report) -> bytes:
    """Promised p_buy against how often BUY happened; on the diagonal a promise is kept."""
    assert report.predicted is not None
    figure = _figure(report, "Reliability of p_buy")
    axes = figure.subplots()
    bins = report.predicted.reliability
    promised, happened, rows = _columns(bins)
    most = float(max([*promised, *happened, 0.01])) * 1.08
    axes.plot([0, most], [0, most], color=_QUIET, linewidth=0.8, label="promise kept")
    sizes = 10 + 50 * rows / max(rows.max(initial=1), 1)
    axes.plot(promised, happened, color=_LINE, linewidth=1)
    axes.scatter(promised, happened, s=sizes, color=_LINE, label="tenths of the rows")
    axes.set_xlabel("promised probability of BUY")
    axes.set_ylabel("share of rows that were BUY")
    axes.legend(fontsize=8, loc="upper left")
    return _png(figure, [axes])


def deciles_chart(report: Report) -> bytes:
    """Mean net return of a long trade from every row, by tenths of the expected value."""
    assert report.predicted is not None
    figure = _figure(report, "Expected value against outcome, all rows")
    axes = figure.subplots()
    promised, happened, _ = _columns(report.predicted.deciles)
    places = np.arange(len(promised))
    axes.bar(places, happened, color=_QUIET, label="happened")
    axes.plot(places, promised, color=_LINE, marker="o", label="promised (EV)")
    axes.axhline(0, color="black", linewidth=0.8)
    axes.set_xticks(places, [str(n + 1) for n in places])
    axes.set_xlabel("tenth of the rows by expected value, lowest to highest")
    axes.set_ylabel("net of a long trade, basis points")
    axes.legend(fontsize=8)
    return _png(figure, [axes])


def _figure(report: Report, title: str, height: float = _SIZE[1]) -> "Figure":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(_SIZE[0], height), dpi=_DPI, layout="constrained")
    subject = report.subject
    figure.suptitle(f"{title}\n{subject.title}", fontsize=10.5, fontweight="bold")
    figure.supxlabel(
        f"{', '.join(subject.markets)}; {subject.start:%Y-%m-%d} to {subject.end:%Y-%m-%d} UTC; "
        "unseen time, after costs",
        fontsize=8,
        color=_QUIET,
    )
    if subject.prices == SYNTHETIC:
        figure.text(
            0.5, 0.5, SYNTHETIC, fontsize=38, color=_QUIET, alpha=0.18, ha="center", va="center",
            rotation=20,
        )  # fmt: skip
    return figure


def _png(figure: "Figure", every: "list[Axes]") -> bytes:
    from PIL import Image

    for axes in every:
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", alpha=0.25)
    drawn, palette = io.BytesIO(), io.BytesIO()
    # No software version or date in the file: the same report gives the same bytes.
    figure.savefig(drawn, format="png", metadata={"Software": None})
    with Image.open(drawn) as picture:
        # A palette takes a third of the bytes, and Dagster keeps every day's pictures for ever.
        few = picture.convert("RGB").quantize(
            _COLOURS, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE
        )
        few.save(palette, "PNG", optimize=True)
    return palette.getvalue()


def _columns(bins: tuple[Bin, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return (
        np.array([b.promised for b in bins]),
        np.array([b.happened for b in bins]),
        np.array([b.rows for b in bins]),
    )
