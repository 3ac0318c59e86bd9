"""The tables of the alerts that fired, shown after the tests."""

from typing import Any

from tests.support.alerts.rig import TABLES


def pytest_terminal_summary(terminalreporter: Any) -> None:
    for table in TABLES:
        terminalreporter.section("alerts")
        for line in table:
            terminalreporter.line(line)
