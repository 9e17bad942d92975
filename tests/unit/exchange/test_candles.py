"""Candle rows: read at the speed of numpy, and never differently from ccxt."""

from typing import Any

import numpy as np
import pytest

from kontor.exchange.candles import finished, from_parsed, learn_columns, parse_rows, read_rows, tidy
from kontor.exchange.client import create_client
from kontor.exchange.venues import venue_of
from kontor.ports import ExchangeSettings
from kontor.resilience.clock import VirtualClock

SPOT = {"spot": True, "type": "spot", "symbol": "BTC/USDT", "id": "BTC-USDT", "contract": False}
SWAP = {"spot": False, "swap": True, "type": "swap", "symbol": "BTC/USDT:USDT", "id": "BTC-USDT-SWAP", "contract": True}
ROW = ["1678928760000", "24341.4", "24344", "24313.2", "24323", "628", "2.5819", "62800", "1"]
LATER = ["1678928820000", "24323", "24330", "24300", "24301.1", "100", "0.4", "9720", "0"]


def client(exchange_id: str) -> Any:
    """A client that never connects."""
    return create_client(ExchangeSettings(exchange_id, "paper"), venue_of(exchange_id), VirtualClock())


@pytest.mark.parametrize(("market", "volume"), [(SPOT, 628), (SWAP, 2.5819)], ids=["spot", "swap"])
def test_the_columns_of_okx_are_learned_and_volume_is_base_currency(market: dict[str, Any], volume: float) -> None:
    """Column 5 holds contracts on swaps; the base volume stands in column 6."""
    columns = learn_columns(client("okx"), market, ROW)
    assert columns is not None
    candles = read_rows([ROW, LATER], columns)
    assert candles is not None
    assert candles[0].tolist() == [1678928760000, 24341.4, 24344, 24313.2, 24323, volume]
    assert np.array_equal(candles, parse_rows(client("okx"), market, [ROW, LATER]))


@pytest.mark.parametrize(
    ("exchange_id", "row"),
    [
        (
            "binance",
            [
                1591478520000,
                "0.02501300",
                "0.02501800",
                "0.02500000",
                "0.02500000",
                "22.19",
                1591478579999,
                "0.5",
                40,
                "10.9",
                "0.27",
                "0",
            ],
        ),
        ("kraken", [1621162800, "0.04", "0.05", "0.03", "0.041", "0.042", "12.5", 7]),
        ("bitfinex", [1457539800000, 0.02594, 0.02595, 0.02596, 0.02593, 26.2]),
    ],
)
def test_other_venues_rows_read_as_ccxt_reads_them(exchange_id: str, row: list[Any]) -> None:
    """Each has its own order of columns, and some count seconds; what can't be learned is left to ccxt."""
    exchange = client(exchange_id)
    columns = learn_columns(exchange, SPOT, row)
    assert columns is not None
    candles = read_rows([row], columns)
    assert candles is not None
    assert np.array_equal(candles, parse_rows(exchange, SPOT, [row]))


def test_rows_that_are_no_lists_are_left_to_ccxt() -> None:
    """Many venues send objects."""
    assert learn_columns(client("okx"), SPOT, {"t": 1, "o": "2"}) is None
    assert learn_columns(client("okx"), SPOT, ["1", "2"]) is None


def test_rows_that_do_not_fit_what_was_learned_are_not_read() -> None:
    """A short row or a null would shift or crash; ccxt gets them then."""
    columns = learn_columns(client("okx"), SPOT, ROW)
    assert columns is not None
    assert read_rows([ROW, ROW[:6]], columns) is None
    assert read_rows([ROW, [*ROW[:5], "", *ROW[6:]]], columns) is None


def test_a_null_volume_is_nothing_traded_and_a_null_price_is_no_candle() -> None:
    """Quiet minutes have no volume; a candle without a price says nothing."""
    candles = from_parsed([[60_000, 1, 2, 0.5, 1.5, None], [120_000, None, 2, 0.5, 1.5, 3]])
    assert candles.tolist() == [[60_000, 1, 2, 0.5, 1.5, 0]]
    assert from_parsed([]).shape == (0, 6)


def test_candles_ascend_and_come_once() -> None:
    """Venues send the newest first, and pages overlap."""
    rows = np.array([[3, 1, 1, 1, 1, 1], [1, 1, 1, 1, 1, 1], [2, 1, 1, 1, 1, 1], [3, 1, 1, 1, 1, 1.0]])
    assert tidy(rows)[:, 0].tolist() == [1, 2, 3]


def test_the_unfinished_candle_is_left_out() -> None:
    """It changes until its time is over; a candle whose last moment is now is over."""
    candles = np.array([[0, 1, 1, 1, 1, 1], [60_000, 1, 1, 1, 1, 1.0]])
    assert finished(candles, 60_000, 119_999)[:, 0].tolist() == [0]
    assert finished(candles, 60_000, 120_000)[:, 0].tolist() == [0, 60_000]
