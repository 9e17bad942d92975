"""Where PostgreSQL cannot be had: its tests are reported as not run, with the remedy; with CI=true they fail."""

import importlib.util

import pytest

from tests.support.postgres import postgres_or_report


@pytest.fixture(autouse=True)
def no_wheel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)


def test_without_the_wheel_the_tests_are_reported_as_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """A silent skip would look like a pass."""
    monkeypatch.delenv("CI", raising=False)
    with (
        pytest.raises(pytest.skip.Exception, match=r"not run without PostgreSQL: .* pip install"),
        postgres_or_report(),
    ):
        pass


def test_in_ci_that_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """There the wheel is part of the installation."""
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="not run without PostgreSQL"), postgres_or_report():
        pass
