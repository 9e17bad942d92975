"""The operator's endpoints: planned faults, counts, price shocks. Only for callers on this machine."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from decimal import Decimal
from ipaddress import ip_address
from typing import Any

import orjson
from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from kontor.paper.faults import FaultRule
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
        self._services.venue.deposit(deposit.account, deposit.ccy, deposit.quantity)
        await self._services.commits.done()
        return _json({"account": deposit.account, "ccy": deposit.ccy, "quantity": str(deposit.quantity)})


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
