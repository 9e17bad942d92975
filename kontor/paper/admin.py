"""The operator's endpoints: planned faults, counts, price shocks. Only for callers on this machine."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from decimal import Decimal
from ipaddress import ip_address
from typing import Any, Literal

import orjson
from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from kontor.paper import rendering_orders
from kontor.paper.faults import FaultRule
from kontor.paper.house import Maintenance
from kontor.paper.hub import Hub
from kontor.paper.injection import Injection
from kontor.paper.model import VenueError
from kontor.paper.services import Services
from kontor.paper.settings import PaperAccount

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class PriceShock(BaseModel):
    """Where a market's price is moved to."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    inst_id: str
    price: Decimal = Field(gt=0)


class Deposit(BaseModel):
    """Funds moved into an account, or out when negative."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    account: str
    ccy: str
    quantity: Decimal
    to: Literal["trading", "funding"] = "trading"


class FundingChange(BaseModel):
    """Another funding rate of an instrument from now on, a payment now (of one instrument, or of all), or both."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    inst_id: str | None = None
    rate: Decimal | None = None
    now: bool = False

    @model_validator(mode="after")
    def _says_something(self) -> FundingChange:
        if self.rate is not None and self.inst_id is None:
            raise ValueError("a rate needs the inst_id it is for")
        if self.rate is None and not self.now:
            raise ValueError("give a rate, or now: true, or both")
        return self


class FeeCurrency(BaseModel):
    """What an account pays fees in: base, quote, a coin; empty for OKX's own rule."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    account: str
    fee_ccy: str = ""


class Listing(BaseModel):
    """How an instrument stands: traded or suspended, and taken off after so many seconds of venue time (0: now)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    inst_id: str
    state: Literal["live", "suspend"] | None = None
    off_in: float | None = Field(default=None, ge=0)
    stays: bool = False
    """Takes an announcement back."""


class MaintenancePlan(BaseModel):
    """Maintenance that begins in so many seconds of venue time and lasts so many."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    begin_in: float = Field(default=0, ge=0)
    seconds: float = Field(gt=0)
    title: str = "System upgrade"


class Liquidation(BaseModel):
    """Positions of an account to be liquidated, whatever its margin."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    account: str
    inst_id: str | None = None


class HandTrade(BaseModel):
    """An order by another hand of an account: OKX's own order request."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    account: str
    order: dict[str, Any]


class Admin:
    """Answers everything under /admin."""

    def __init__(self, services: Services, hub: Hub, injection: Injection) -> None:
        self._services = services
        self._hub = hub
        self._injection = injection

    def routes(self) -> list[web.RouteDef]:
        """The paths there are."""
        return [
            web.get("/admin/faults", _guarded(self._list_faults)),
            web.post("/admin/faults", _guarded(self._plan_fault)),
            web.delete("/admin/faults", _guarded(self._clear_faults)),
            web.delete("/admin/faults/{id:\\d+}", _guarded(self._clear_faults)),
            web.get("/admin/stats", _guarded(self._stats)),
            web.post("/admin/price", _guarded(self._shock)),
            web.post("/admin/accounts", _guarded(self._open_account)),
            web.post("/admin/deposit", _guarded(self._deposit)),
            web.post("/admin/funding", _guarded(self._funding)),
            web.post("/admin/fees", _guarded(self._fees)),
            web.post("/admin/listing", _guarded(self._listing)),
            web.post("/admin/maintenance", _guarded(self._maintenance)),
            web.delete("/admin/maintenance", _guarded(self._end_maintenance)),
            web.post("/admin/liquidate", _guarded(self._liquidate)),
            web.post("/admin/trade", _guarded(self._trade)),
        ]

    async def _list_faults(self, _request: web.Request) -> web.Response:
        return _json(self._services.plan.as_json())

    async def _plan_fault(self, request: web.Request) -> web.Response:
        planned = self._services.plan.add(FaultRule.model_validate_json(await request.read()))
        if planned.rule.kind.on_websocket:
            # Those already connected need not say anything first.
            for connection in list(self._hub.connections):
                connection.befall()
        return _json(planned.as_json())

    async def _clear_faults(self, request: web.Request) -> web.Response:
        fault_id = request.match_info.get("id")
        if fault_id is None:
            # The trouble is over for those as well that it has already befallen.
            self._injection.let_go()
        return _json({"removed": self._services.plan.remove(None if fault_id is None else int(fault_id))})

    async def _stats(self, _request: web.Request) -> web.Response:
        return _json(self._services.stats.as_json())

    async def _shock(self, request: web.Request) -> web.Response:
        shock = PriceShock.model_validate_json(await request.read())
        venue = self._services.venue
        venue.set_price(shock.inst_id, shock.price)
        venue.advance()
        await self._services.commits.done()
        self._hub.poll()
        return _json({"inst_id": shock.inst_id, "last": str(venue.ticker(shock.inst_id).last)})

    async def _open_account(self, request: web.Request) -> web.Response:
        account = PaperAccount.model_validate_json(await request.read())
        info = self._services.venue.add_account(account.as_config())
        await self._services.commits.done()
        return _json({"name": info.name, "uid": info.uid})

    async def _deposit(self, request: web.Request) -> web.Response:
        deposit = Deposit.model_validate_json(await request.read())
        move = self._services.venue.deposit if deposit.to == "trading" else self._services.venue.fund
        move(deposit.account, deposit.ccy, deposit.quantity)
        await self._services.commits.done()
        return _json({"account": deposit.account, "ccy": deposit.ccy, "quantity": str(deposit.quantity)})

    async def _funding(self, request: web.Request) -> web.Response:
        change, venue = FundingChange.model_validate_json(await request.read()), self._services.venue
        if change.rate is not None and change.inst_id is not None:
            venue.set_funding_rate(change.inst_id, change.rate)
        if change.now:
            if change.inst_id is not None:
                venue.instrument(change.inst_id)
            venue.pay_funding(change.inst_id)
        await self._settled()
        rate = None if change.inst_id is None else str(venue.funding_rate(change.inst_id))
        return _json({"inst_id": change.inst_id, "rate": rate, "paid": change.now})

    async def _fees(self, request: web.Request) -> web.Response:
        wanted = FeeCurrency.model_validate_json(await request.read())
        self._services.venue.set_fee_currency(wanted.account, wanted.fee_ccy)
        await self._settled()
        return _json({"account": wanted.account, "fee_ccy": wanted.fee_ccy})

    async def _listing(self, request: web.Request) -> web.Response:
        wanted, venue = Listing.model_validate_json(await request.read()), self._services.venue
        listed = venue.instrument(wanted.inst_id)
        if wanted.state is not None:
            listed = venue.suspend(wanted.inst_id, on=wanted.state == "suspend")
        if wanted.off_in is not None:
            listed = venue.delist(wanted.inst_id, venue.now() + round(wanted.off_in * 1000))
            venue.advance()
        elif wanted.stays:
            listed = venue.delist(wanted.inst_id, None)
        await self._settled()
        return _json({"inst_id": listed.inst_id, "state": listed.state, "exp_time": listed.exp_time})

    async def _maintenance(self, request: web.Request) -> web.Response:
        plan, venue = MaintenancePlan.model_validate_json(await request.read()), self._services.venue
        begin = venue.now() + round(plan.begin_in * 1000)
        planned = Maintenance(begin, begin + round(plan.seconds * 1000), plan.title)
        venue.plan_maintenance(planned)
        await self._settled()
        return _json({"begin": planned.begin, "end": planned.end, "title": planned.title})

    async def _end_maintenance(self, _request: web.Request) -> web.Response:
        ended = self._services.venue.end_maintenance()
        await self._settled()
        return _json({"ended": ended})

    async def _liquidate(self, request: web.Request) -> web.Response:
        wanted = Liquidation.model_validate_json(await request.read())
        self._services.venue.liquidate(wanted.account, wanted.inst_id)
        await self._settled()
        return _json({"account": wanted.account, "inst_id": wanted.inst_id})

    async def _trade(self, request: web.Request) -> web.Response:
        wanted = HandTrade.model_validate_json(await request.read())
        self._services.venue.account(wanted.account)
        ack = self._services.venue.place_order(wanted.account, wanted.order)
        await self._settled()
        return _json(rendering_orders.order_ack(ack))

    async def _settled(self) -> None:
        """Everything on disk and told."""
        await self._services.commits.done()
        self._hub.poll()


def _guarded(handler: Handler) -> Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        if not request.remote or not ip_address(request.remote).is_loopback:
            return _error(403, "the admin endpoints answer on this machine only")
        if "Origin" in request.headers:
            return _error(403, "the admin endpoints do not answer to web pages")
        try:
            return await handler(request)
        except ValidationError as error:
            said = "; ".join(f"{'.'.join(map(str, item['loc'])) or 'body'}: {item['msg']}" for item in error.errors())
            return _error(400, said)
        except VenueError as error:
            return _error(400, error.message)
        except (KeyError, ValueError) as error:
            return _error(400, str(error))

    return handle


def _json(value: Any) -> web.Response:
    return web.Response(body=orjson.dumps(value), content_type="application/json")


def _error(status: int, sentence: str) -> web.Response:
    return web.Response(status=status, body=orjson.dumps({"error": sentence}), content_type="application/json")
