"""The ccxt client of one account: any exchange by id, with its own throttler and retries switched off."""

import difflib
import logging
from typing import Any

import ccxt
import ccxt.async_support
import ccxt.pro

from kontor.errors import ConfigError
from kontor.exchange.venues import Venue
from kontor.exchange.wire import current_call
from kontor.ports import Clock, ExchangeSettings
from kontor.resilience.backoff import parse_retry_after
from kontor.resilience.rate_budget import RateBudget

# ccxt's own timeout ends first: it knows whether a connection existed, the deadline around it does not.
INNER_TIMEOUT = 0.9
# At debug level ccxt logs request headers, key and passphrase among them.
LOGGERS = ("ccxt.base.exchange", "ccxt.async_support.base.exchange")


class Instrumented:
    """What every client does besides what ccxt makes it do; mixed in before the exchange's own class."""

    kontor_venue: Venue
    kontor_clock: Clock
    kontor_budget: RateBudget
    # Each request costs one token, whatever weight the venue gives it.
    kontor_flat_cost: bool
    # When each request that has a limit of its own may be made again.
    kontor_due: dict[str, float]

    async def fetch2(
        self, path: Any, api: Any = None, method: str = "GET", params: Any = None, config: Any = None
    ) -> Any:
        """One request, once the rate budget lets it pass."""
        api, params, config = api or ["public"], {} if params is None else params, config or {}
        weigh = self.calculate_rate_limiter_cost  # pyright: ignore[reportAttributeAccessIssue]
        cost = 1.0 if self.kontor_flat_cost else float(weigh(api, method, path, params, config) or 0)
        await self._pass(str(path), cost)
        return await super().fetch2(path, api, method, params, config)  # pyright: ignore[reportAttributeAccessIssue]

    async def _pass(self, path: str, cost: float) -> None:
        """Wait for the rate budget.

        What has a limit of its own at the venue is spaced by itself, and pays one: in full, OKX's system/status every
        half minute kept prices waiting for ten seconds.
        """
        budget, clock = self.kontor_budget, self.kontor_clock
        if path in self.kontor_venue.own_limits:
            due, now = self.kontor_due.get(path, 0.0), clock.monotonic()
            self.kontor_due[path] = max(due, now) + cost / budget.limit
            await clock.sleep(max(due - now, 0.0))
            cost = 1.0
        await budget.acquire(current_call().priority, cost)

    async def fetch(self, url: str, method: str = "GET", headers: Any = None, body: Any = None) -> Any:
        """One request on the wire; an answer that is no JSON object or list is a BadResponse, not an empty result."""
        current_call().sent = True
        answer = await super().fetch(url, method, headers, body)  # pyright: ignore[reportAttributeAccessIssue]
        if isinstance(answer, (dict, list)):
            return answer
        raise ccxt.BadResponse(f"{method} {url} answered with something that is not JSON: {str(answer)[:100]!r}")

    def sign(self, *args: Any, **kwargs: Any) -> Any:
        """The signed request, with the moment after which the venue shall drop it."""
        request = super().sign(*args, **kwargs)  # pyright: ignore[reportAttributeAccessIssue]
        expires_at, headers_for = current_call().expires_at, self.kontor_venue.expiry_headers
        if expires_at is not None and headers_for is not None and request["method"] == "POST":
            request["headers"] = {**(request["headers"] or {}), **headers_for(expires_at)}
        return request

    def handle_errors(self, code: int, reason: Any, url: Any, method: Any, headers: Any, *rest: Any) -> Any:
        """Note the HTTP status and what it asks for, then let ccxt raise."""
        call = current_call()
        call.status = code
        asked = {str(key).lower(): value for key, value in (headers or {}).items()}.get("retry-after")
        call.retry_after = parse_retry_after(asked, self.kontor_clock.now())
        return super().handle_errors(code, reason, url, method, headers, *rest)  # pyright: ignore[reportAttributeAccessIssue]

    def parse_ohlcvs(self, ohlcvs: Any, *args: Any, **kwargs: Any) -> Any:
        """Candles as ccxt has them; for a call that wants them raw, set aside as the venue sent them."""
        call = current_call()
        if not call.wants_raw_candles:
            return super().parse_ohlcvs(ohlcvs, *args, **kwargs)  # pyright: ignore[reportAttributeAccessIssue]
        call.raw_candles = ohlcvs
        return []


def create_client(
    settings: ExchangeSettings, venue: Venue, clock: Clock, *mixins: type, budget: RateBudget | None = None
) -> Any:
    """A ccxt client for REST and streams; opens no connection. Raises ConfigError for what cannot work.

    `mixins` are classes that go before the exchange's own. It spends from `budget`, whose limit is set to what the
    settings or the exchange say, or from one of its own.
    """
    kind = exchange_class(settings.exchange_id)
    made: Any = type(settings.exchange_id, (*mixins, Instrumented, kind), {})
    client = made(_config(settings, venue))
    client.kontor_venue, client.kontor_clock = venue, clock
    client.kontor_due = {}
    client.kontor_flat_cost = settings.requests_per_second is not None
    client.kontor_budget = budget_for(client, settings, clock, budget)
    _apply_sandbox(client, settings)
    _apply_credentials(client, settings)
    if settings.urls:
        _apply_urls(client, settings)
    for name in LOGGERS:
        logger = logging.getLogger(name)
        logger.setLevel(max(logger.level, logging.INFO))
    return client


def exchange_class(exchange_id: str) -> Any:
    """The ccxt class of an exchange, the streaming one where there is one (it serves REST as well)."""
    if exchange_id in ccxt.pro.exchanges:
        return getattr(ccxt.pro, exchange_id)
    if exchange_id in ccxt.async_support.exchanges:
        return getattr(ccxt.async_support, exchange_id)
    near = difflib.get_close_matches(exchange_id, ccxt.async_support.exchanges, n=1)
    hint = f"did you mean '{near[0]}'?" if near else "use an exchange id of ccxt, such as 'okx' or 'kraken'"
    raise ConfigError(f"there is no exchange '{exchange_id}'; {hint}", where="exchange_id")


def budget_for(client: Any, settings: ExchangeSettings, clock: Clock, known: RateBudget | None = None) -> RateBudget:
    """The settings' rate, or the exchange's own; a second's worth may go out at once. `known` gets that limit."""
    per_second = settings.requests_per_second or 1000 / max(float(client.rateLimit or 1000), 0.1)
    if known is None:
        return RateBudget(per_second, max(per_second, 1.0), clock)
    known.set_limit(per_second, max(per_second, 1.0))
    return known


def _config(settings: ExchangeSettings, venue: Venue) -> dict[str, Any]:
    return {
        "enableRateLimit": False,
        "timeout": int(settings.request_timeout.total_seconds() * 1000 * INNER_TIMEOUT),
        "options": {**venue.options, **settings.options},
    }


def _apply_urls(client: Any, settings: ExchangeSettings) -> None:
    known = client.urls["api"]
    client.urls["api"] = {**(known if isinstance(known, dict) else {}), **settings.urls}
    if all(str(url).startswith(("http://", "ws://")) for url in client.urls["api"].values()):
        # No TLS anywhere: nothing to load certificates for, and nobody who says goodbye at the end.
        client.verify = False
        client.timeout_on_exit = 0


def _apply_sandbox(client: Any, settings: ExchangeSettings) -> None:
    if not settings.sandbox:
        return
    if settings.urls:
        raise ConfigError("a sandbox has its own addresses; set either sandbox or urls", where="sandbox")
    if not client.urls.get("test"):
        raise ConfigError(
            f"{settings.exchange_id} has no sandbox; set it to false, or use the paper exchange to try things out",
            where="sandbox",
        )
    client.set_sandbox_mode(True)


def _apply_credentials(client: Any, settings: ExchangeSettings) -> None:
    needed = [name for name, is_needed in client.requiredCredentials.items() if is_needed]
    # Exchanges on a chain know a wallet and its key instead of a key and its secret.
    given = {"apiKey": settings.api_key, "secret": settings.secret, "password": settings.password}
    given |= {"walletAddress": settings.api_key, "privateKey": settings.secret}
    if not (settings.api_key or settings.secret or settings.password):
        return
    for name, value in given.items():
        if name in needed or name in {"apiKey", "secret", "password"}:
            setattr(client, name, value)
    missing = [name for name in needed if not given.get(name)]
    if missing:
        field = {"apiKey": "api_key", "walletAddress": "api_key", "privateKey": "secret"}
        names = ", ".join(str(field.get(name, name)) for name in missing)
        raise ConfigError(f"{settings.exchange_id} also needs {names}", where=f"account {settings.account}")
