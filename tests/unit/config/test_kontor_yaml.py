"""kontor.yaml: every mistake is one sentence that names the place."""

from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kontor.config import KontorConfig, load_config, parse_config
from kontor.errors import ConfigError

REPOSITORY = Path(__file__).parents[3]


def test_the_shipped_file_is_valid_and_restricts_what_the_seed_restricted() -> None:
    config = load_config(REPOSITORY / "kontor.yaml")
    assert config.watchlist.restricted == ("BNB/USD:USD", "USDT/USD:USD")
    assert config.watchlist.filter["info.volumeUsd24h"].value == 2_000_000


def test_an_empty_file_is_a_valid_one() -> None:
    assert parse_config(None, where="kontor.yaml") == KontorConfig()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("watchlst: {}", "kontor.yaml: watchlst is not a known key; remove it or mend its spelling"),
        ("risk: {max_order_valu: 1}", "kontor.yaml: risk.max_order_valu is not a known key"),
        ("risk: {max_order_value: lots}", "kontor.yaml: risk.max_order_value input should be a valid decimal"),
        ("risk: {max_order_value: -5}", "kontor.yaml: risk.max_order_value input should be greater than 0"),
        ("candles: {timeframe: 7m}", "kontor.yaml: candles.timeframe must be one of 1m, 5m, 15m, 30m, 1h, 4h, 1d"),
        ("candles: {fan_out: 0}", "kontor.yaml: candles.fan_out input should be greater than or equal to 1"),
        ("watchlist: {filter: {a: {value: 1, type: above}}}", "watchlist.filter.a.type input should be 'smaller'"),
        ("watchlist: {filter: {a: {type: equal}}}", "watchlist.filter.a.value field required"),
        ("- a\n- b", "kontor.yaml: must hold keys and values, such as 'watchlist:'"),
        ("a: [1", "kontor.yaml line 1: expected ',' or ']'"),
        ("risk:\n  max_order_value: 1\n   bad: 2", "kontor.yaml line 3: mapping values are not allowed here"),
    ],
)
def test_each_mistake_is_one_sentence_with_its_place(tmp_path: Path, text: str, sentence: str) -> None:
    path = tmp_path / "kontor.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_says_what_to_start_from(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no such file; start from the one in the repository"):
        load_config(tmp_path / "kontor.yaml")


def test_figures_keep_every_digit() -> None:
    assert parse_config({"risk": {"max_order_value": "0.1"}}, where="x").risk.max_order_value == Decimal("0.1")


scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8)
trees = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner), max_leaves=8
)


@given(section=st.sampled_from([*KontorConfig.model_fields, "other"]), value=trees)
def test_any_content_validates_or_gives_one_sentence(section: str, value: object) -> None:
    """Never a traceback, whatever a user types."""
    try:
        parse_config({section: value}, where="kontor.yaml")
        sentence = f"kontor.yaml: {section}"
    except ConfigError as error:
        sentence = str(error)
    assert sentence.startswith(f"kontor.yaml: {section}")
    assert "\n" not in sentence
