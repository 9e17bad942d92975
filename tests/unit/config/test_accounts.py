"""Several accounts in one kontor.yaml: each with what is different there, and mistakes told at their place."""

from decimal import Decimal
from pathlib import Path

import pytest

from kontor.config import KontorConfig, load_config, parse_config
from kontor.errors import ConfigError
from tasks.resources import Resources

REPOSITORY = Path(__file__).parents[3]
ALL = """\
risk: {max_order_value: 100, max_exposure: 1000, position_values: {BTC/USD: 50}}
units: {risk_factor: 0.05, priority_risk_factor: 0.2}
strategies:
  trend: {use: sma_cross, symbols: [BTC/USD], capital_share_percent: 60, parameters: {fast: 5, slow: 20}}
  range: {use: range_reversion, symbols: [ETH/USD], capital_share_percent: 40}
accounts:
"""
MAIN = """\
  okx-main:
    risk: {max_order_value: 5, max_exposure: null, position_values: {ETH/USD: 7}}
    units: {risk_factor: 0.1}
    setup: {leverage: {BTC/USD:USD: 2}}
    watchlist: {restricted: [DOGE/USD]}
    strategies:
      trend: {parameters: {fast: 7}, exits: {stop_loss_percent: 3}}
      range: {enabled: false}
      mine: {use: grid, symbols: [SOL/USD], capital_share_percent: 40, parameters: {lower: 1, upper: 2}}
"""


def written(path: Path, accounts: str) -> Path:
    """A kontor.yaml with these accounts."""
    path.write_text(ALL + accounts)
    return path


def test_what_is_different_is_laid_over_what_holds_for_all(tmp_path: Path) -> None:
    """Key by key, all the way down: one that is not named is as it is for all, nothing takes a limit away."""
    path = written(tmp_path / "kontor.yaml", MAIN)
    everywhere, mine = load_config(path), load_config(path, "okx-main")
    assert load_config(path, "paper") == everywhere
    assert (everywhere.risk.max_order_value, everywhere.risk.max_exposure) == (100, 1000)
    assert (mine.risk.max_order_value, mine.risk.max_exposure, mine.risk.max_ticker_age_seconds) == (5, None, 120)
    assert mine.risk.position_values == {"BTC/USD": 50, "ETH/USD": 7}
    # Only together do they make sense: a risk factor of 0.1 is above the priority factor that is there by default.
    assert (mine.units.risk_factor, mine.units.priority_risk_factor) == (Decimal("0.1"), Decimal("0.2"))
    assert mine.setup.leverage == {"BTC/USD:USD": 2}
    assert mine.watchlist.restricted == ("DOGE/USD",)
    trend = mine.strategies["trend"]
    assert (trend.use, trend.parameters, trend.exits.stop_loss_percent) == ("sma_cross", {"fast": 7, "slow": 20}, 3)
    assert [name for name, each in mine.strategies.items() if each.enabled] == ["trend", "mine"]
    assert [name for name, each in everywhere.strategies.items() if each.enabled] == ["trend", "range"]


@pytest.mark.parametrize(
    ("account", "sentence"),
    [
        (
            "{risk: {max_order_valu: 5}}",
            "accounts.okx-main.risk.max_order_valu is not a known key; remove it",
        ),
        ("{risk: {max_order_valu: 5}}", "(did you mean max_order_value?)"),
        ("{risk: {max_order_value: -5}}", "accounts.okx-main.risk.max_order_value input should be greater than 0"),
        ("{alerts: {}}", "accounts.okx-main.alerts is not a known key"),
        ("{risk: 5}", "accounts.okx-main.risk input should be a valid dictionary"),
        ("{strategies: {mine: {symbols: [A/B]}}}", "accounts.okx-main.strategies.mine.use field required; add it"),
        (
            "{strategies: {trend: {capital_share_percent: 70}}}",
            "accounts.okx-main.strategies enabled strategies share 110 percent of the capital",
        ),
        ("{units: {risk_factor: 0.3}}", "accounts.okx-main.units priority_risk_factor must not be below risk_factor"),
    ],
)
def test_a_mistake_of_an_account_is_told_at_its_place(tmp_path: Path, account: str, sentence: str) -> None:
    """Whoever reads the file, for whichever account: half a file is not right."""
    path = written(tmp_path / "kontor.yaml", f"  okx-main: {account}\n")
    for name in (None, "okx-main", "paper"):
        with pytest.raises(ConfigError) as caught:
            load_config(path, name)
        assert str(caught.value).startswith("kontor.yaml: accounts.okx-main")
        assert sentence in str(caught.value)
        assert "\n" not in str(caught.value)


def test_an_account_is_named_as_its_block_is() -> None:
    with pytest.raises(ConfigError, match=r"accounts\.Okx Main"):
        parse_config({"accounts": {"Okx Main": {}}}, where="kontor.yaml")


def test_laying_nothing_over_the_shipped_file_changes_nothing() -> None:
    """What is read is written and read again on the way: every digit, every default."""
    shipped = load_config(REPOSITORY / "kontor.yaml")
    with_nothing = KontorConfig.model_validate({**shipped.model_dump(exclude_unset=True), "accounts": {"x": {}}})
    assert with_nothing.of("x").model_dump(exclude={"accounts"}) == shipped.model_dump(exclude={"accounts"})


async def test_a_desk_has_the_settings_of_its_account_and_an_edit_reaches_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two accounts are looked after in one process, from one file."""
    path = written(tmp_path / "kontor.yaml", MAIN)
    monkeypatch.setenv("KONTOR_CONFIG", str(path))
    resources = Resources()
    assert resources.config("okx-main").risk.max_order_value == 5
    assert resources.config("paper").risk.max_order_value == 100
    assert resources.config("okx-main") is resources.config("okx-main")
    written(path, MAIN.replace("max_order_value: 5,", "max_order_value: 6.5,"))
    assert resources.config("okx-main").risk.max_order_value == Decimal("6.5")
