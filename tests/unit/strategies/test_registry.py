"""Finding strategies: shipped, installed and one's own."""

from pathlib import Path
from typing import Any

import pytest

from kontor.config import StrategySettings, parse_config
from kontor.errors import ConfigError
from kontor.strategies.registry import SHIPPED, build, known, need_of


def settings(use: str, **parameters: Any) -> StrategySettings:
    return StrategySettings.model_validate({"use": use, "symbols": ["BTC/USD:USD"], "parameters": parameters})


def test_every_shipped_strategy_can_be_made_and_says_what_it_needs() -> None:
    given = {"grid": {"lower": 1, "upper": 2}}
    for name in SHIPPED:
        assert need_of(build(settings(name, **given.get(name, {})))).candles >= 1


def test_a_package_registers_strategies_by_entry_point(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "their_package.py").write_text(
        "from kontor.strategies import DataNeed, Decision, Strategy, StrategyParameters\n"
        "class Theirs(Strategy[StrategyParameters]):\n"
        "    def needs(self): return DataNeed('1h', 10)\n"
        "    def decide(self, view): return Decision()\n"
    )
    info = tmp_path / "their_package-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: their-package\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[kontor.strategies]\ntheirs = their_package:Theirs\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert known()["theirs"] == "their_package:Theirs"
    assert need_of(build(settings("theirs"))).timeframe == "1h"


@pytest.mark.parametrize(
    ("use", "parameters", "sentence"),
    [
        ("nope", {}, "use: there is no strategy 'nope'; known are grid, range_reversion, sma_cross"),
        ("no.such:Class", {}, "use: module 'no.such' cannot be imported"),
        ("decimal:Decimal", {}, "use: decimal:Decimal is not a subclass of kontor.strategies.Strategy"),
        ("kontor.strategies:Strategy", {}, "use: kontor.strategies:Strategy lacks needs"),
        ("sma_cross", {"fats": 3}, "parameters: fats is not a known key; remove it or mend its spelling"),
        ("sma_cross", {"fast": "many"}, "parameters: fast input should be a valid integer"),
        ("grid", {"lower": 2, "upper": 1}, "parameters: (top) lower must be below upper"),
    ],
)
def test_a_mistake_is_named_with_its_key(use: str, parameters: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError) as found:
        build(settings(use, **parameters))
    assert str(found.value).startswith(sentence)


@pytest.mark.parametrize(
    ("section", "sentence"),
    [
        ({"a": {"use": "sma_cross", "symbols": []}}, "strategies.a.symbols"),
        ({"a": {"use": "sma_cross", "symbols": ["A", "A"]}}, "strategies.a.symbols names a symbol twice"),
        ({"Manual": {"use": "sma_cross", "symbols": ["A"]}}, "'Manual' is no name for a strategy"),
        ({"manual": {"use": "sma_cross", "symbols": ["A"]}}, "'manual' is no name for a strategy"),
        (
            {name: {"use": "sma_cross", "symbols": ["A"], "capital_share_percent": 60} for name in "ab"},
            "enabled strategies share 120 percent of the capital",
        ),
    ],
)
def test_kontor_yaml_names_the_strategy_that_is_wrong(section: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        parse_config({"strategies": section}, where="kontor.yaml")
