"""The reports on all profiles, drawn and told to MLflow.

Not here: making a report (`backtest.profile_report`) and the run it becomes (`models.report_runs`).
"""

import json
from collections.abc import Mapping

from trading_assets.backtest.profile_report import Reports
from trading_assets.backtest.report import Report
from trading_assets.backtest.report_text import report_text
from trading_assets.models.report_runs import ReportRun, log_reports
from trading_assets.models.retrain import Workshop
from trading_assets.reporting.charts import charts

Pictures = Mapping[str, bytes]


def publish(shop: Workshop, reports: Reports) -> Mapping[str, Pictures]:
    """Log every report in MLflow; its pictures, PNG, by profile and name."""
    drawn = {report.subject.profile: charts(report) for report in reports.made}
    now = shop.clock.now()
    runs = [
        ReportRun(
            profile=report.subject.profile,
            recipe=report.subject.recipe,
            made_at=now,
            metrics=report.metrics(),
            files=_files(report, drawn[report.subject.profile]),
        )
        for report in reports.made
    ]
    if runs:
        log_reports(shop.world, shop.settings.trading_mode.value, runs)
    return drawn


def _files(report: Report, pictures: Pictures) -> dict[str, bytes]:
    return {
        "report.md": report_text(report).encode(),
        "report.json": json.dumps(report.to_json(), indent=1).encode(),
        **{f"{name}.png": png for name, png in pictures.items()},
    }
