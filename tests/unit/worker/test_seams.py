"""The private names of Prefect that the worker replaces: moving the pin must fail here, not at night."""

from __future__ import annotations

import inspect
from datetime import timedelta

import pytest
from prefect import flow_engine, results
from prefect.client.schemas.schedules import IntervalSchedule
from prefect.server.api import collections
from prefect.types import _datetime

from deployments.in_process.seams import DefaultResultStorage, replacements, shared_process


def test_every_replaced_name_exists_and_is_called_the_same_way() -> None:
    """A renamed function would be replaced in vain, and every run would block the loop again."""
    for module, name, replacement in replacements(DefaultResultStorage()):
        original = getattr(module, name)
        assert inspect.signature(original).parameters.keys() == inspect.signature(replacement).parameters.keys()
        assert inspect.iscoroutinefunction(original) == inspect.iscoroutinefunction(replacement)


def test_the_replaced_names_are_the_ones_that_prefect_looks_up() -> None:
    """They must be read from the module at call time, or replacing them changes nothing."""
    engine = inspect.getsource(flow_engine)
    assert "with capture_sigterm():" in engine
    assert '_termination_intent() == "cancel"' in engine
    storage = inspect.getsource(results)
    assert "else _read_server_default_result_storage_block_id()" in storage
    assert "else await _aread_server_default_result_storage_block_id()" in storage


def test_the_servers_registry_reader_is_looked_up_when_it_is_called() -> None:
    """The launcher replaces it; a bound name would leave our worker type out of the UI's list."""
    assert "await get_collection_view(view)" in inspect.getsource(collections.read_view_content)
    assert "KNOWN_VIEWS[view]" in inspect.getsource(collections.get_collection_view)


def test_the_list_of_timezones_is_looked_up_when_it_is_called_and_still_made_anew_each_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The launcher remembers it; if Prefect remembers it by itself one day, that can go."""
    asked: list[int] = []
    monkeypatch.setattr(_datetime, "available_timezones", lambda: asked.append(1) or {"UTC"})
    for _ in range(2):
        IntervalSchedule(interval=timedelta(seconds=10), timezone="UTC")
    assert len(asked) == 2


def test_everything_is_put_back() -> None:
    """A worker inside another program leaves no trace when it ends."""
    names = [(module, name) for module, name, _ in replacements(DefaultResultStorage())]
    before = [getattr(module, name) for module, name in names]
    with shared_process(DefaultResultStorage()):
        assert all(getattr(module, name) is not old for (module, name), old in zip(names, before, strict=True))
    assert [getattr(module, name) for module, name in names] == before
