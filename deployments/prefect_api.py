"""The few calls of Prefect's REST API that a desk's supervisor needs, without the seconds `import prefect` costs."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

import httpx
from tenacity import AsyncRetrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from deployments.credentials import AUTH_VARIABLE
from kontor.errors import KontorError
from kontor.notify.redaction import redact
from kontor.updaters.naming import account_of, updater_of

TERMINAL = frozenset({"COMPLETED", "FAILED", "CRASHED", "CANCELLED"})
LIVE = ("SCHEDULED", "PENDING", "RUNNING", "PAUSED", "CANCELLING")
PAGE = 200
NOT_FOUND, FORBIDDEN = 404, 403
# How the server answers a request for a token while its protection is off.
NO_CSRF = 422
# What Prefect puts in front of the words of an error.
EXCEPTION = "Flow run encountered an exception: "


class ServerUnreachable(KontorError):
    """Prefect's server does not answer."""


class ServerRefused(KontorError):
    """Prefect's server answered, but not with what was asked for; `status` is the HTTP status."""

    def __init__(self, status: int, request: str, answer: str) -> None:
        self.status = status
        remedy = f"; is {AUTH_VARIABLE} right?" if status in {401, FORBIDDEN} else ""
        super().__init__(f"Prefect's server answered {status} to {request}: {answer[:200]}{remedy}")


@dataclass(frozen=True, slots=True)
class Deployment:
    """A flow made runnable: `flow` / `name`, with its interval when a schedule of it is active."""

    id: str
    flow: str
    name: str
    interval: timedelta | None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    # The names of every parameter the flow has.
    accepts: tuple[str, ...] = ()
    # Whether it has a schedule that somebody has switched off: it is not late, and it does not run either.
    is_paused: bool = False

    @property
    def account(self) -> str:
        """The account it works for."""
        return account_of(self.flow, self.name, self.parameters)

    @property
    def updater(self) -> str:
        """The name its heartbeat has."""
        return updater_of(self.flow, self.name, self.parameters)

    @property
    def full_name(self) -> str:
        """As `prefect deployment run` takes it."""
        return f"{self.flow}/{self.name}"


@dataclass(frozen=True, slots=True)
class Run:
    """A flow run's state as the server has it; `ended_at` is None while it is not over."""

    id: str
    name: str
    state: str
    state_name: str
    message: str
    created_at: datetime
    ended_at: datetime | None

    @property
    def is_over(self) -> bool:
        """Whether this state is the last one."""
        return self.state in TERMINAL

    @property
    def reason(self) -> str:
        """Why it is in this state, in one line without Prefect's own words and without secrets."""
        lines = [line.strip() for line in self.message.splitlines() if line.strip()]
        return redact(lines[0].removeprefix(EXCEPTION)) if lines else ""


@dataclass
class PrefectApi:
    """A client of the server at `url`; reads are repeated when they fail, and so are creations, which carry a key."""

    url: str
    timeout: timedelta = timedelta(seconds=30)
    transport: httpx.AsyncBaseTransport | None = None
    #: user:password; the environment's when nothing is given
    auth: str = field(default_factory=lambda: os.environ.get(AUTH_VARIABLE, ""), repr=False)
    _client: httpx.AsyncClient = field(init=False)
    _csrf: Mapping[str, str] | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        user, separator, password = self.auth.partition(":")
        self._client = httpx.AsyncClient(
            base_url=f"{self.url}/api",
            timeout=self.timeout.total_seconds(),
            auth=httpx.BasicAuth(user, password) if separator else None,
            # The server is on loopback: a proxy of the user's has no business between.
            trust_env=False,
            transport=self.transport,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Give the connections back."""
        await self._client.aclose()

    async def is_healthy(self) -> bool:
        """Whether the server answers."""
        try:
            return (await self._client.get("/health")).is_success
        except httpx.TransportError:
            return False

    async def deployments(self, account: str | None = None) -> Sequence[Deployment]:
        """Every deployment, or those of an account."""
        found = await self._filter("deployments", {})
        flows = {flow["id"]: flow["name"] for flow in await self._filter("flows", {})}
        every = [_deployment(each, flows.get(each["flow_id"], "")) for each in found]
        return [each for each in every if account is None or each.account == account]

    async def start_run(
        self,
        deployment: Deployment,
        *,
        key: str,
        at: datetime | None = None,
        tags: Collection[str] = (),
        parameters: Mapping[str, Any] | None = None,
    ) -> Run:
        """A run of the deployment, now or at a moment; the same key gives the same run again."""
        details = {"scheduled_time": at.isoformat()} if at else {}
        body: dict[str, Any] = {
            "state": {"type": "SCHEDULED", "state_details": details},
            "idempotency_key": key,
        }
        if parameters:
            body["parameters"] = {**deployment.parameters, **parameters}
        if tags:
            body["tags"] = list(tags)
        return _run(await self._call("POST", f"/deployments/{deployment.id}/create_flow_run", body))

    async def run(self, run_id: str) -> Run:
        """A flow run as it is now."""
        return _run(await self._call("GET", f"/flow_runs/{run_id}"))

    async def live_runs(self, deployment: Deployment) -> Sequence[Run]:
        """The deployment's runs that are not over, newest first."""
        return await self._runs(deployment, {"state": {"type": {"any_": list(LIVE)}}})

    async def planned(self) -> Sequence[datetime]:
        """When the runs are due that have not begun yet, the soonest first; up to one page of them."""
        wanted = {"flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}}, "sort": "NEXT_SCHEDULED_START_TIME_ASC"}
        found = await self._call("POST", "/flow_runs/filter", {**wanted, "limit": PAGE})
        due = (each.get("next_scheduled_start_time") for each in found)
        return [datetime.fromisoformat(moment) for moment in due if moment]

    async def last_ended(self, deployment: Deployment) -> Run | None:
        """The deployment's run that ended last."""
        ended = {"state": {"type": {"any_": sorted(TERMINAL)}}}
        runs = await self._runs(deployment, ended, sort="END_TIME_DESC", limit=1)
        return runs[0] if runs else None

    async def block_values(self, type_slug: str, name: str) -> Mapping[str, Any] | None:
        """What a block holds, its secrets in clear; None when there is none of this name."""
        path = f"/block_types/slug/{type_slug}/block_documents/name/{name}?include_secrets=true"
        try:
            return (await self._call("GET", path))["data"]
        except ServerRefused as error:
            if error.status == NOT_FOUND:
                return None
            raise

    async def _runs(
        self,
        deployment: Deployment,
        states: Mapping[str, Any],
        *,
        sort: str = "EXPECTED_START_TIME_DESC",
        limit: int = PAGE,
    ) -> Sequence[Run]:
        wanted = {"flow_runs": {"deployment_id": {"any_": [deployment.id]}, **states}, "sort": sort, "limit": limit}
        return [_run(each) for each in await self._call("POST", "/flow_runs/filter", wanted)]

    async def _filter(self, kind: str, wanted: Mapping[str, Any]) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        while True:
            page = await self._call("POST", f"/{kind}/filter", {**wanted, "limit": PAGE, "offset": len(found)})
            found += page
            if len(page) < PAGE:
                return found

    async def _call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        retrying = AsyncRetrying(
            retry=retry_if_exception(_is_passing),
            stop=stop_after_attempt(3),
            wait=wait_random_exponential(multiplier=0.2, max=2),
            reraise=True,
        )
        try:
            return await retrying(self._once, method, path, body)
        except httpx.TransportError as error:
            reason = type(error).__name__
            raise ServerUnreachable(f"Prefect's server at {self.url} does not answer ({reason})") from None
        except httpx.HTTPStatusError as error:
            raise ServerRefused(error.response.status_code, f"{method} {path}", error.response.text) from None

    async def _once(self, method: str, path: str, body: Mapping[str, Any] | None) -> Any:
        headers = {} if method == "GET" else await self._csrf_headers()
        answer = await self._client.request(method, path, json=body, headers=headers)
        if _is_stale(answer):
            self._csrf = None
        answer.raise_for_status()
        return answer.json()

    async def _csrf_headers(self) -> Mapping[str, str]:
        """What a server with CSRF protection wants to see with every change; nothing where it has none."""
        if self._csrf is None:
            client = str(uuid4())
            answer = await self._client.get("/csrf-token", params={"client": client})
            if answer.status_code == NO_CSRF:
                self._csrf = {}
            else:
                answer.raise_for_status()
                self._csrf = {"Prefect-Csrf-Token": answer.json()["token"], "Prefect-Csrf-Client": client}
        return self._csrf


def _is_stale(answer: httpx.Response) -> bool:
    """Whether the token was refused: it lapses after a while."""
    return answer.status_code == FORBIDDEN and "CSRF" in answer.text


def _is_passing(error: BaseException) -> bool:
    if isinstance(error, httpx.HTTPStatusError):
        return error.response.is_server_error or _is_stale(error.response)
    return isinstance(error, httpx.TransportError)


def _interval(schedules: Sequence[Mapping[str, Any]]) -> timedelta | None:
    spans = [float(each["schedule"]["interval"]) for each in schedules if each["schedule"].get("interval")]
    return timedelta(seconds=min(spans)) if spans else None


def _deployment(data: Mapping[str, Any], flow: str) -> Deployment:
    accepts = (data.get("parameter_openapi_schema") or {}).get("properties") or {}
    schedules = data.get("schedules") or ()
    active = [] if data.get("paused") else [each for each in schedules if each.get("active")]
    return Deployment(
        data["id"],
        flow,
        data["name"],
        _interval(active),
        data.get("parameters") or {},
        tuple(accepts),
        is_paused=bool(schedules) and not active,
    )


def _run(data: Mapping[str, Any]) -> Run:
    state = data.get("state") or {}
    return Run(
        id=data["id"],
        name=data["name"],
        state=data.get("state_type") or "",
        state_name=data.get("state_name") or "",
        message=state.get("message") or "",
        created_at=datetime.fromisoformat(data["created"]),
        ended_at=datetime.fromisoformat(data["end_time"]) if data.get("end_time") else None,
    )
