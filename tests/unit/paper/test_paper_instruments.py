"""What the venue lists."""

from __future__ import annotations

from decimal import Decimal

import pytest

from kontor.paper.instruments import instruments_like, make_instruments


def test_the_default_list_has_the_markets_everybody_expects() -> None:
    """The first run of a desk looks for these."""
    listed = {i.inst_id: i for i in make_instruments(40)}
    assert len(listed) == 40
    assert {"BTC-USD-SWAP", "BNB-USD-SWAP", "USDT-USD-SWAP", "BTC-USD"} <= set(listed)
    assert listed["BTC-USD-SWAP"].uly == "BTC-USD"
    assert listed["BTC-USD-SWAP"].settle_ccy == "USD"


def test_contract_sizes_differ_so_that_a_mix_up_shows() -> None:
    """Quantity is base currency everywhere but here; only sizes other than 1 reveal a missing conversion."""
    sizes = {i.ct_val for i in make_instruments(40) if i.is_swap}
    assert {Decimal("0.01"), Decimal("0.1"), Decimal(1), Decimal(1000)} <= sizes


def test_two_thousand_names_are_distinct_sound_and_stable() -> None:
    """`--markets 2000` must extend the shorter list, or a restart with more markets would lose positions."""
    many = make_instruments(2000)
    assert len({i.inst_id for i in many}) == 2000
    assert many[:300] == make_instruments(300)
    for instrument in many:
        assert instrument.min_sz % instrument.lot_sz == 0
        assert instrument.max_lmt_sz % instrument.lot_sz == 0
        assert instrument.max_lmt_sz > instrument.min_sz
        assert instrument.base_price / float(instrument.tick_sz) > 1000


@pytest.mark.parametrize("count", [0, 7, 2001])
def test_a_list_of_impossible_length_is_refused(count: int) -> None:
    """Below eight, the well-known markets would be missing."""
    with pytest.raises(ValueError, match=f"{count} markets"):
        make_instruments(count)


def test_recorded_markets_are_cut_up_to_suit_their_prices() -> None:
    """A recording of BTC at today's price keeps BTC's contract; an unknown coin gets a grid that fits its price."""
    unknown, known = instruments_like({"ZZZ-USD": 0.00123, "BTC-USD-SWAP": 91_000.0})[::-1]
    assert known.ct_val == Decimal("0.01")
    assert unknown.tick_sz == Decimal("1E-7")
    with pytest.raises(ValueError, match="BTC-EUR"):
        instruments_like({"BTC-EUR": 1.0})
