"""The supervisor's own small client of Prefect's API, over a transport that is a plain function."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from deployments.prefect_api import Deployment, PrefectApi, ServerRefused, ServerUnreachable

DEPLOYMENT = Deployment("d1", "execute-orders", "paper", None)


def serve(answer: Callable[[httpx.Request], httpx.Response]) -> PrefectApi:
    """A server without CSRF protection, unless the test answers for the token itself."""

    def handle(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/api/csrf-token" and not getattr(answer, "gives_tokens", False):
            return httpx.Response(422, json={"detail": "CSRF protection is disabled."})
        return answer(request)

    return PrefectApi("http://127.0.0.1:1", transport=httpx.MockTransport(handle))


def deployment(name: str, *intervals: float, active: bool = True, paused: bool = False) -> dict[str, Any]:
    schedules = [{"active": active, "schedule": {"interval": seconds}} for seconds in intervals]
    return {"id": f"id-{name}", "flow_id": "f1", "name": name, "paused": paused, "schedules": schedules}


async def test_a_deployments_interval_is_its_shortest_active_one() -> None:
    """An updater's heartbeat is judged by it; a paused deployment is not late."""
    found = [
        deployment("plain", 30, 10),
        deployment("paused", 30, paused=True),
        deployment("inactive", 30, active=False),
        deployment("unscheduled"),
    ]

    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json=[{"id": "f1", "name": "a-flow"}] if "flows" in request.url.path else found)

    async with serve(answer) as api:
        known = await api.deployments()
    intervals = {each.full_name: each.interval for each in known}
    assert {each.name for each in known if each.is_paused} == {"paused", "inactive"}
    assert intervals == {
        "a-flow/plain": timedelta(seconds=10),
        "a-flow/paused": None,
        "a-flow/inactive": None,
        "a-flow/unscheduled": None,
    }


async def test_a_long_list_is_read_page_by_page() -> None:
    """Prefect gives at most 200 at once; config-defined updaters can be more."""

    def answer(request: httpx.Request) -> httpx.Response:
        wanted = json.loads(request.content)
        names = [str(number) for number in range(wanted["offset"], min(wanted["offset"] + wanted["limit"], 450))]
        kind = [{"id": f"f{name}", "name": name} for name in names]
        return httpx.Response(200, json=kind if "flows" in request.url.path else [deployment(name) for name in names])

    async with serve(answer) as api:
        assert len({each.name for each in await api.deployments()}) == 450


async def test_a_run_is_asked_for_with_its_key_so_that_asking_again_makes_no_second_one() -> None:
    """Two executors at the start would be one too many."""
    bodies = []

    def answer(request: httpx.Request) -> httpx.Response:
        bodies.append(json.loads(request.content))
        if len(bodies) == 1:
            raise httpx.ReadTimeout("the answer was lost")
        run = {"id": "r1", "name": "n", "created": "2026-01-01T00:00:00Z", "state_type": "SCHEDULED"}
        return httpx.Response(201, json=run)

    async with serve(answer) as api:
        at = datetime(2026, 1, 1, tzinfo=UTC)
        run = await api.start_run(DEPLOYMENT, key="boot-1", at=at)
    assert not run.is_over
    assert [body["idempotency_key"] for body in bodies] == ["boot-1", "boot-1"]
    assert bodies[1]["state"]["state_details"] == {"scheduled_time": at.isoformat()}


async def test_a_server_that_is_away_is_one_sentence() -> None:
    """Not a stack of httpx frames."""

    def answer(_: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    async with serve(answer) as api:
        assert not await api.is_healthy()
        with pytest.raises(ServerUnreachable, match=r"Prefect's server at http://127\.0\.0\.1:1 does not answer"):
            await api.live_runs(DEPLOYMENT)


async def test_a_missing_block_is_none_and_any_other_refusal_is_an_error() -> None:
    """A wrong password must not look like a new desk."""
    async with serve(lambda _: httpx.Response(404, json={})) as api:
        assert await api.block_values("a-type", "a-name") is None
    async with serve(lambda _: httpx.Response(401, json={})) as api:
        with pytest.raises(ServerRefused, match=r"answered 401 to GET .*is PREFECT_API_AUTH_STRING right"):
            await api.block_values("a-type", "a-name")


async def test_a_change_carries_a_csrf_token_and_a_lapsed_one_is_replaced_without_a_word() -> None:
    """A desk runs longer than a token lives."""
    given: list[str] = []
    seen: list[tuple[str, str]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/api/csrf-token":
            given.append(request.url.params["client"])
            return httpx.Response(200, json={"token": f"token-{len(given)}"})
        seen.append((request.headers["prefect-csrf-client"], request.headers["prefect-csrf-token"]))
        if seen[-1][1] == "token-1" and len(seen) > 1:
            return httpx.Response(403, json={"detail": "Invalid CSRF token or client identifier."})
        return httpx.Response(200, json=[])

    answer.gives_tokens = True  # pyright: ignore[reportFunctionMemberAccess]
    async with serve(answer) as api:
        await api.live_runs(DEPLOYMENT)
        await api.live_runs(DEPLOYMENT)
    assert [token for _, token in seen] == ["token-1", "token-1", "token-2"]
    assert [client for client, _ in seen] == [given[0], given[0], given[1]]


async def test_the_auth_string_of_the_environment_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that is protected must not lock its own desk out."""
    monkeypatch.setenv("PREFECT_API_AUTH_STRING", "admin:a:b")
    seen = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers.get("authorization"))
        return httpx.Response(200)

    async with serve(answer) as api:
        await api.is_healthy()
    assert seen == [httpx.BasicAuth("admin", "a:b")._auth_header]
