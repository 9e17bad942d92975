"""`kontor paper`: the paper exchange on its own."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from deployments.home import DEFAULT_PAPER_PORT, PAPER_PORT_VARIABLE, PAPER_SOURCE_VARIABLE, Home, read_port
from deployments.json_logs import configure_logging
from deployments.paper_keys import read_keys
from kontor.errors import ConfigError, KontorError

if TYPE_CHECKING:
    from kontor.paper.feed import LiveFeed
    from kontor.paper.settings import PaperAccount, PaperSettings


def paper(
    *,
    port: int | None = None,
    markets: int | None = None,
    seed: int | None = None,
    source: str | None = None,
    speed: float | None = None,
    rtt_ms: float | None = None,
    rate_limit_factor: float | None = None,
    no_persist: Annotated[bool, Parameter(negative="")] = False,
    host: str | None = None,
    keys: Path | None = None,
) -> None:
    """Run an OKX v5 exchange with play money until Ctrl-C, for ccxt or anything else that speaks OKX.

    Parameters
    ----------
    port
        Where to listen, REST and WebSocket alike; 0 takes any free port. Default: KONTOR_PAPER_PORT, else 8400.
    markets
        How many instruments there are, at most 2000.
    seed
        Seed of the synthetic prices: the same seed gives the same market.
    source
        Where prices come from: synthetic; replay:DIR with one CSV of candles a market; live:EXCHANGE, the public data
        of any exchange ccxt knows, such as live:okx; live:okx@URL, those of another paper exchange. Default:
        KONTOR_PAPER_SOURCE, else synthetic.
    speed
        Seconds that pass at the exchange in one real second.
    rtt_ms
        Milliseconds a request is on its way, there and back.
    rate_limit_factor
        Multiplies OKX's rate limits; 0 switches them off.
    no_persist
        Forget accounts and orders at the end instead of keeping them in KONTOR_HOME.
    host
        Address to listen on.
    keys
        File with the API keys of the accounts. Default: those of this home's desk, else the well-known ones.

    """
    home = Home.from_environment()
    if port is None:
        port = read_port(os.environ, PAPER_PORT_VARIABLE, DEFAULT_PAPER_PORT)
    source = source or os.environ.get(PAPER_SOURCE_VARIABLE) or None
    options = {"host": host, "port": port, "markets": markets, "seed": seed, "source": source, "speed": speed}
    options |= {"rtt_ms": rtt_ms, "rate_limit_factor": rate_limit_factor, "persist": not no_persist, "home": home.path}
    # What is not said is left to the exchange's own defaults.
    given: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
    if keys is not None or home.paper_keys_file.exists():
        given["accounts"] = _accounts(keys or home.paper_keys_file)
    _run(home, given)


def _run(home: Home, given: dict[str, Any]) -> None:
    # aiohttp and numpy cost half a second that `kontor --help` need not pay.
    from pydantic import ValidationError

    from kontor.paper.settings import PaperSettings

    configure_logging()
    try:
        settings = PaperSettings(**given)
    except ValidationError as error:
        raise ConfigError("; ".join(_mistake(each["loc"], each["msg"]) for each in error.errors())) from None
    if settings.persist:
        home.make()
    from kontor.paper.server import CannotStart, run_paper

    try:
        asyncio.run(run_paper(settings, live_feed if settings.live_exchange else None))
    except CannotStart as error:
        raise KontorError(str(error)) from None


def live_feed(settings: PaperSettings) -> LiveFeed:
    """Live prices of the exchange the settings name, by its public data; raises ConfigError where there is none."""
    # ccxt takes half a second and 100 MB: only live prices need it.
    from kontor.exchange.opening import open_exchange, open_streams
    from kontor.paper.feed import LiveFeed
    from kontor.ports import ExchangeSettings
    from kontor.resilience.clock import SystemClock
    from kontor.resilience.connection_budget import ConnectionBudget
    from kontor.resilience.connection_gate import ConnectionGate

    name, _, url = settings.live_exchange.partition("@")
    urls = {"rest": url, "ws": f"{url.replace('http', 'ws', 1)}/ws/v5"} if url else {}
    clock, where = SystemClock(), ExchangeSettings(name, "live prices", urls=urls)
    try:
        exchange = open_exchange(where, clock=clock)
        gate = ConnectionGate(f"{name} live prices", clock=clock, budget=ConnectionBudget(clock=clock))
        streams = open_streams(where, clock=clock, gate=gate, loaded=exchange)
    except ConfigError as error:
        raise ConfigError(f"--source: {error}") from None
    return LiveFeed(exchange, streams, clock, name=settings.live_exchange, tick_ms=settings.price_tick_ms)


def _accounts(file: Path) -> tuple[PaperAccount, ...]:
    """The well-known accounts, opened by the keys in the file."""
    from pydantic import SecretStr

    from kontor.paper.settings import default_accounts

    keys = read_keys(file)
    return tuple(
        account.model_copy(
            update={"api_key": key.api_key, "secret": SecretStr(key.secret), "passphrase": SecretStr(key.passphrase)}
        )
        for account in default_accounts()
        if (key := keys.get(account.name)) is not None
    )


def _mistake(place: tuple[int | str, ...], message: str) -> str:
    option = "-".join(str(part) for part in place).replace("_", "-")
    text = message.removeprefix("Value error, ")
    return f"--{option}: {text[0].lower()}{text[1:]}" if option else text
