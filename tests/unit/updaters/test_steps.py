"""Steps, references, shapes and callables: what can be said about an updater before it runs."""

import ast
import importlib
import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from kontor.errors import ConfigError, StoreError
from kontor.exchange.reads import UNIFIED_READS
from kontor.updaters import calls
from kontor.updaters.calls import described, find_call, installed
from kontor.updaters.jsonable import MOST_BYTES, bounded, jsonable
from kontor.updaters.naming import account_of, updater_of
from kontor.updaters.shapes import Shape, fits, shapes_of, shapes_of_value, spelled
from kontor.updaters.shared import RESERVED, SETTINGS, TYPED
from kontor.updaters.step import Step, literal, nested_reference, reference

REPOSITORY = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("argument", "name", "value"),
    [
        ("$watchlist", "watchlist", "$watchlist"),
        ("$$5 off", None, "$5 off"),
        ("1m", None, "1m"),
        (1000, None, 1000),
        (None, None, None),
    ],
)
def test_a_dollar_is_a_reference_and_two_are_a_dollar(argument: Any, name: str | None, value: Any) -> None:
    assert (reference(argument), literal(argument)) == (name, value)


def test_a_reference_inside_a_list_or_object_is_found() -> None:
    """It would be taken as a text: the symbol `$watchlist` exists nowhere."""
    assert nested_reference([["BTC/USD"], {"a": ["$watchlist"]}]) == "$watchlist"
    assert nested_reference({"a": "$$watchlist"}) is None
    assert nested_reference("$watchlist") is None


@pytest.mark.parametrize("wrong", [{"target": "Watch List"}, {"target": "a.b"}, {"call": ""}, {"arg": []}])
def test_a_step_takes_no_other_keys_and_names(wrong: Mapping[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Step.model_validate({"call": "fetch_time", **wrong})


@pytest.mark.parametrize(
    ("annotation", "shapes"),
    [
        (str, {Shape.TEXT}),
        (bool, {Shape.TRUTH}),
        (int | None, {Shape.NUMBER, Shape.NOTHING}),
        (Decimal, {Shape.NUMBER}),
        (list[str], {Shape.TEXTS}),
        (tuple[str, ...], {Shape.TEXTS}),
        (list[dict[str, Any]], {Shape.LIST}),
        (Sequence[str], {Shape.TEXTS}),
        (Mapping[str, Any], {Shape.OBJECT}),
        (Any, {Shape.ANYTHING}),
        (inspect.Parameter.empty, {Shape.ANYTHING}),
    ],
)
def test_a_type_has_a_shape(annotation: Any, shapes: set[Shape]) -> None:
    assert shapes_of(annotation) == shapes


def test_shapes_fit_or_say_what_they_are() -> None:
    texts, text = shapes_of(list[str]), shapes_of(str)
    assert fits(texts, texts)
    assert fits(shapes_of_value([]), texts)
    assert not fits(text, texts)
    assert not fits(shapes_of(dict[str, Any]), texts)
    assert fits(shapes_of(Any), texts)
    assert spelled(shapes_of(str | None)) == "null or a text"


async def a_call(desk: Any, symbols: list[str], limit: int = 10) -> dict[str, Any]:
    """Does something.

    And more.
    """
    return {"desk": desk, "symbols": symbols, "limit": limit}


CALL = described(a_call)


def test_a_callable_is_documented_by_its_signature_and_first_line() -> None:
    assert CALL.signature == "a_call(symbols: list[str], limit: int = 10) -> dict[str, Any]"
    assert CALL.about == "Does something."


@pytest.mark.parametrize("args", [["$w", 5], {"symbols": "$w", "limit": 5}])
def test_arguments_are_bound_by_place_or_name(args: Any) -> None:
    assert CALL.bound(Step(call="a_call", args=args)) == {"symbols": "$w", "limit": 5}


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        ([], "a_call: missing a required argument: 'symbols'; it is called as a_call(symbols"),
        (["$w", 5, 6], "a_call: too many positional arguments"),
        ({"symbols": "$w", "limt": 5}, "a_call: got an unexpected keyword argument 'limt'"),
    ],
)
def test_arguments_that_do_not_fit_are_a_sentence_with_the_signature(args: Any, sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        CALL.bound(Step(call="a_call", args=args))
    assert sentence in str(caught.value)


def test_literals_are_converted_or_refused() -> None:
    assert CALL.converted("limit", "5") == 5
    with pytest.raises(ConfigError, match=r"^symbols: input should be a valid list, not 'BTC/USD'$"):
        CALL.converted("symbols", "BTC/USD")
    with pytest.raises(ConfigError, match=r"^symbols\[1\]: input should be a valid string"):
        CALL.converted("symbols", ["BTC/USD", 5])


def test_a_misspelled_call_gets_the_nearest_names() -> None:
    with pytest.raises(ConfigError, match="a_cal is nothing an updater may call; did you mean a_call"):
        find_call({"a_call": CALL}, "a_cal")


def test_every_unified_read_is_known_and_nothing_that_writes() -> None:
    """`has` of ccxt's base class lists the unified methods; what sends orders does not begin with fetch."""
    assert {"fetch_funding_rates", "fetch_order_book", "fetch_trades", "fetch_open_interest"} <= UNIFIED_READS.keys()
    assert len(UNIFIED_READS) > 90
    assert all(name.startswith("fetch_") for name in UNIFIED_READS)
    parameters = UNIFIED_READS["fetch_trades"].parameters
    assert [each.name for each in parameters] == ["symbol", "since", "limit", "params"]


def test_installed_callables_join_and_broken_ones_take_no_other_with_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """A package of the user's adds what the registry lacks; it never replaces what is there."""
    here = "tests.unit.updaters.test_steps"
    points = [
        EntryPoint("a_call", "kontor:__doc__", calls.GROUP),
        EntryPoint("missing", "no_such_module:call", calls.GROUP),
        EntryPoint("not_async", "kontor.updaters.step:literal", calls.GROUP),
        EntryPoint("spread", "kontor.updaters.calls:a_plugin", calls.GROUP),
    ]
    monkeypatch.setattr(calls, "a_plugin", a_call, raising=False)
    monkeypatch.setattr(calls, "entry_points", lambda group: points if group == calls.GROUP else [])
    found, problems = installed({"a_call": CALL})
    assert list(found) == ["spread"], here
    assert found["spread"].signature.startswith("spread(symbols")
    assert any("a_call is the name of another callable" in each for each in problems)
    assert any("cannot be loaded (ModuleNotFoundError" in each for each in problems)
    assert any("it must be an async function whose first parameter is the desk" in each for each in problems)


@dataclass(frozen=True)
class Found:
    at: datetime
    price: Decimal


def test_results_become_json() -> None:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    value = {"a": [Found(at, Decimal("1.5"))], 5: np.array([[1.0, float("nan")]]), "b": {1}}
    assert jsonable(value) == {
        "a": [{"at": "2026-01-01T00:00:00+00:00", "price": 1.5}],
        "5": [[1.0, None]],
        "b": [1],
    }
    with pytest.raises(StoreError, match="a object cannot be stored"):
        jsonable({"a": object()})


def test_a_result_too_large_for_a_row_says_what_to_ask_for_instead() -> None:
    with pytest.raises(StoreError, match=r"book: a result of \d.* MiB is more than .*; ask for fewer symbols"):
        bounded("book", "x" * (MOST_BYTES + 1))


@pytest.mark.parametrize(
    ("flow", "deployment", "parameters", "expected"),
    [
        ("update-tickers", "paper", {}, ("paper", "update-tickers")),
        ("update-tickers", "fast", {"account": "live"}, ("live", "update-tickers")),
        ("run-updater", "funding", {}, ("paper", "funding")),
        ("run-updater", "funding", {"account": "live", "name": "rates"}, ("live", "rates")),
    ],
)
def test_a_deployment_knows_its_account_and_its_updater(
    flow: str, deployment: str, parameters: Mapping[str, Any], expected: tuple[str, str]
) -> None:
    """Deployments side by side never share a lease or a heartbeat."""
    assert (account_of(flow, deployment, parameters), updater_of(flow, deployment, parameters)) == expected


def written_names() -> Iterator[tuple[str, str]]:
    """Every attribute that the source sets by a name of its own, with the module that does."""
    for folder in ("kontor", "tasks", "flows"):
        for path in sorted((REPOSITORY / folder).rglob("*.py")):
            module = ".".join(path.relative_to(REPOSITORY).with_suffix("").parts)
            for node in ast.walk(ast.parse(path.read_text())):
                if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute) or len(node.args) < 2:
                    continue
                if node.func.attr not in {"set_attribute", "increment"}:
                    continue
                name = node.args[1]
                if isinstance(name, ast.Constant):
                    yield str(name.value), module
                elif isinstance(name, ast.Name) and name.id.isupper():
                    yield str(getattr(importlib.import_module(module), name.id)), module


def test_no_updater_can_write_what_the_desk_tells_itself() -> None:
    """A target called `gate` would open the gate. Whoever adds an attribute of the desk's own reserves its name."""
    found = dict(written_names())
    assert len(found) > 5
    missing = {name: module for name, module in found.items() if name not in RESERVED}
    assert missing == {}, "add these to RESERVED in kontor/updaters/shared.py"
    assert not RESERVED & (TYPED.keys() | SETTINGS.keys())
