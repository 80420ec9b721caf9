"""Pictures of a report: each is a PNG, names its world, and says so when prices are synthetic."""

import io
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from matplotlib import image

from trading_assets.backtest.report import SYNTHETIC, Report
from trading_assets.reporting import charts as drawing
from trading_assets_tests.backtest.simulations import SUBJECT, report, simulation, trades


@pytest.fixture(scope="module")
def made() -> Report:
    return report()


def test_every_picture_is_a_png_that_is_not_empty(made: Report) -> None:
    drawn = drawing.charts(made)
    assert set(drawn) == {"equity", "trades", "months", "reliability", "deciles"}
    for png in drawn.values():
        pixels = image.imread(io.BytesIO(png))
        assert pixels.shape[0] > 300
        assert pixels.shape[1] > 800
        assert len(np.unique(pixels.reshape(-1, pixels.shape[2]), axis=0)) > 50


def test_the_pictures_of_a_report_are_small_enough_to_be_kept_every_day(made: Report) -> None:
    # Dagster keeps them in its event log, as base64, and forgets nothing.
    assert sum(len(png) for png in drawing.charts(made).values()) < 120_000


def test_the_same_report_gives_the_same_bytes(made: Report) -> None:
    assert drawing.months_chart(made) == drawing.months_chart(made)


def test_what_was_not_measured_is_not_drawn() -> None:
    quiet = simulation([1e7] * 48, trades([], [], []))
    drawn = drawing.charts(replace(report(quiet), predicted=None))
    assert set(drawn) == {"equity", "months"}


@pytest.mark.parametrize(
    "draw",
    [
        drawing.equity_chart,
        drawing.trades_chart,
        drawing.months_chart,
        drawing.reliability_chart,
        drawing.deciles_chart,
    ],
)
@pytest.mark.parametrize("prices", [SYNTHETIC, "recorded prices"])
def test_every_picture_names_its_world_and_synthetic_prices(
    made: Report, draw: object, prices: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from matplotlib.figure import Figure
    from matplotlib.text import Text

    seen: list[str] = []
    draws = Figure.savefig

    def read(figure: Figure, *args: Any, **chosen: Any) -> None:
        seen.extend(str(t.get_text()) for t in figure.findobj(Text))
        draws(figure, *args, **chosen)

    monkeypatch.setattr(Figure, "savefig", read)
    draw(replace(made, subject=replace(SUBJECT, prices=prices)))  # type: ignore[operator]
    text = "\n".join(seen)
    assert "world recorded-example-60m" in text
    assert prices in text
    assert (SYNTHETIC in seen) == (prices == SYNTHETIC)  # across the whole picture
    assert "2024-01-01 to 2024-03-01 UTC" in text
