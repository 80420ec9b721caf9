"""For the whole test suite: shared data that was promised, and how long Hypothesis looks.

`.ci/run` sets TRADING_ASSETS_REQUIRE_SHARED when `../shared/data` exists; a test that skips because
it did not find its data then fails. `make test-deep` sets HYPOTHESIS_PROFILE=deep.
"""

import os
from collections.abc import Generator

import pytest
from hypothesis import settings

# No deadline: how long one example takes on a busy machine says nothing about the code.
settings.register_profile("default", deadline=None)
settings.register_profile("deep", deadline=None, max_examples=1000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))

REQUIRED = os.environ.get("TRADING_ASSETS_REQUIRE_SHARED") == "1"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    about_shared = item.get_closest_marker("real_data") is not None or _names_shared(report)
    if REQUIRED and report.skipped and about_shared and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped although ../shared/data exists: {report.longrepr}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    if REQUIRED and report.skipped and _names_shared(report):
        report.outcome = "failed"
        report.longrepr = f"skipped although ../shared/data exists: {report.longrepr}"
    return report


def _names_shared(report: pytest.TestReport | pytest.CollectReport) -> bool:
    return report.skipped and "../shared" in str(report.longrepr)
