"""What the account is worth: its balance as the venue has it, coins at prices that are asked for when they are old."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal

from kontor.domain.account import Balance
from kontor.domain.intent import RiskView
from kontor.domain.outside import Transfer
from kontor.domain.portfolio import CoinPrice, Equity, RiskMarks, coins_of, equity_of, newly_priced, old_value, value_of
from kontor.errors import NotSupported
from kontor.execution.parts import Parts
from kontor.execution.view import coin_tickers, known_marks, load_markets, load_view, spot_symbols

# Transfers may be listed late: they are asked for from so long before the last look on. Counted once, they are not
# counted again.
BACK = timedelta(hours=26)
# Coins with an older price make the account's worth a guess, once they are so large a part of it.
MAX_PRICE_AGE = timedelta(minutes=5)
SIGNIFICANT_PERCENT = Decimal(1)
_TRIES = 3


@dataclass(frozen=True, slots=True)
class Valuation:
    """The account at one moment; `moved` is what transfers, and coins that have a price now, did to its worth."""

    view: RiskView
    balance: Balance
    equity: Equity
    prices: Mapping[str, CoinPrice]
    moved: Mapping[str, Decimal]
    before: RiskMarks | None
    # Coins at a price that is too old, with their value at it.
    old: Mapping[str, Decimal]

    @property
    def is_guess(self) -> bool:
        """So much is valued at old prices that losses cannot be told."""
        worth = sum(self.old.values(), Decimal(0))
        return worth > 0 and worth * 100 >= SIGNIFICANT_PERCENT * abs(self.equity.total)

    def marks(self, marks: RiskMarks) -> RiskMarks:
        """The new marks with the prices that they were made with."""
        return replace(marks, prices=self.prices, unpriced=self.equity.unpriced)


async def value_account(parts: Parts) -> Valuation:
    """The account now; the balance is asked of the venue between two looks at its transfers, which must agree."""
    known, now = await known_marks(parts), parts.clock.now()
    before = known.value if known is not None else None
    since = min(known.at if known is not None else now, now) - BACK
    balance, transfers = await _settled(parts, since)
    await parts.store.account.save_balance(parts.account, balance)
    coins = {*coins_of(balance), *(each.currency for each in transfers)} - {balance.currency}
    view = await load_view(parts, spot_symbols(await load_markets(parts), coins, balance.currency), reduces=True)
    prices = _prices(view, coins, balance.currency, before, now)
    plain = {name: each.price for name, each in prices.items()}
    moved = {each.name: value_of(each, balance.currency, plain) for each in transfers}
    for name, worth in newly_priced(before, balance, plain).items():
        moved[f"price of {name} {now.isoformat()}"] = worth
    return Valuation(
        # Exposure counts coins at the same prices.
        view=replace(view, marks={**plain, **view.marks}),
        balance=balance,
        equity=equity_of(balance, plain),
        prices=prices,
        moved=moved,
        before=before,
        old=old_value(balance, prices, now, MAX_PRICE_AGE),
    )


async def _settled(parts: Parts, since: datetime) -> tuple[Balance, Sequence[Transfer]]:
    before, balance = await _transfers(parts, since), await parts.exchange.fetch_balance()
    transfers = await _transfers(parts, since)
    for _ in range(_TRIES):
        if before == transfers:
            break
        before, balance = transfers, await parts.exchange.fetch_balance()
        transfers = await _transfers(parts, since)
    return balance, transfers


async def _transfers(parts: Parts, since: datetime) -> Sequence[Transfer]:
    """Transfers since then; none at a venue that does not list them."""
    try:
        return list(await parts.exchange.fetch_transfers(since=since))
    except NotSupported:
        return []


def _prices(
    view: RiskView, coins: Collection[str], currency: str, before: RiskMarks | None, now: datetime
) -> dict[str, CoinPrice]:
    """Prices of now, and the last known ones: what was held lately may still turn up as a transfer."""
    kept = before.prices.items() if before is not None else ()
    found = {name: each for name, each in kept if name in coins or now - each.at <= BACK}
    for name, ticker in coin_tickers(view.tickers, view.markets, currency).items():
        if ticker.last is not None and name in coins:
            found[name] = CoinPrice(ticker.last, ticker.last_at)
    return found
